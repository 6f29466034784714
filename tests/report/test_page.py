"""Does the page hold everything in one file, as text?"""

import base64
import io
from html.parser import HTMLParser

import pytest
from matplotlib.image import imread

from neurornn.report import ReportTable, write_report
from neurornn.vocabulary import InputError

SENTENCES = ("What was found.", "On what evidence.", "What would contradict it.")


class Page(HTMLParser):
    """Collects what a page consists of, and checks that its tags are balanced."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.images = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def test_the_page_is_whole_and_needs_nothing_else(everything, tmp_path):
    figures, tables = everything
    path = tmp_path / "deep" / "report.html"
    arguments = {
        "title": "Flip-flop",
        "mechanism": SENTENCES,
        "figures": figures,
        "tables": tables,
        "facts": {"Task": "FlipFlop(n_bits=3)"},
        "setup": "import neurornn",
        "settings": "[task]\nn_bits = 3",
        "versions": {"neurornn": "0.1.0"},
    }
    write_report(path, **arguments)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert "@import" not in text
    assert "url(" not in text
    order = [
        page.text.index(part) for part in (*SENTENCES, "FlipFlop(n_bits=3)", "Figures", "Numbers", "Settings")
    ]
    assert order == sorted(order)
    assert len(page.images) == len(figures)
    for image, figure in zip(page.images, figures, strict=True):
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert imread(io.BytesIO(png), format="png").ndim == 3
        assert image["alt"] == figure.caption
        assert figure.call in page.text
    assert "n_bits = 3" in page.text
    assert "0.1.0" in page.text
    first = path.read_bytes()
    write_report(path, **arguments)
    assert path.read_bytes() == first


def test_what_looks_like_markup_is_text(tmp_path):
    evil = '<script>alert("x")</script> & "quotes"'
    path = tmp_path / "report.html"
    write_report(
        path,
        title=evil,
        mechanism=(evil, evil, evil),
        tables=[ReportTable(evil, (evil,), [(evil,)], evil)],
        facts={evil: evil},
        setup=evil,
        settings=evil,
        versions={evil: evil},
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.text.count(evil) == 1 + 1 + 3 + 2 + 4 + 1 + 2


def test_a_page_of_three_sentences_alone(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, title="Bare", mechanism=SENTENCES)
    page = Page(path.read_text(encoding="utf-8"))
    assert not {"h2", "dl", "figure", "table", "details"} & set(page.tags)


@pytest.mark.parametrize("mechanism", ["one sentence", ("a", "b")])
def test_a_report_needs_three_sentences(mechanism, tmp_path):
    with pytest.raises(InputError, match="`mechanism` must hold three sentences"):
        write_report(tmp_path / "report.html", title="x", mechanism=mechanism)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_is_no_report(tmp_path):
    with pytest.raises(InputError, match="is a folder, expected a file name"):
        write_report(tmp_path, title="x", mechanism=SENTENCES)
