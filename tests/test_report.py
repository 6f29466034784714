"""Does the report say what the data say, no more, and hold everything in one file?"""

from __future__ import annotations

import base64
import io
import itertools
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.image import imread

from neurornn.activity import condition_average
from neurornn.analysis import accuracy, eigenspectrum, find_fixed_points, pca
from neurornn.analysis.psychometric import fit_psychometric
from neurornn.report import ReportTable, describe_mechanism, draw_figures, make_tables, write_report
from neurornn.tasks import FlipFlop
from neurornn.vocabulary import InputError

SENTENCES = ("What was found.", "On what evidence.", "What would contradict it.")


def activity(n_units=3, n_trials=10):
    """Return 1000 ms of flip-flop trials whose units settle at corners of a cube."""
    task = FlipFlop(n_bits=3)
    trials = task.draw(n_trials, np.random.default_rng(0))
    data = trials.to_dataset()
    noise = np.random.default_rng(1).standard_normal((n_trials, 100, n_units))
    rate = np.tile(data.target.to_numpy(), (1, 1, 1))[..., :n_units] + 0.05 * noise
    data["rate"] = (("trial", "time", "unit"), rate)
    data["output"] = (("trial", "time", "output_channel"), data.target.to_numpy() * 0.95)
    return data.assign_coords(
        score=("trial", np.r_[np.ones(n_trials - 1), 0.5]), side=("trial", np.arange(n_trials) % 2)
    )


def points(
    kinds, *, n_unstable=None, conditions=None, index=None, expected=None, slowest=50.0, rates=None, failed=0
):
    """Return a dataset as `find_fixed_points` makes it, of one point for each kind named."""
    n = len(kinds)
    if n_unstable is None:
        n_unstable = [1 if kind == "saddle" else 3 if kind == "unstable" else 0 for kind in kinds]
    label = np.array(conditions if conditions is not None else ["zero input"] * n, dtype="<U20")
    names = list(dict.fromkeys(label.tolist())) or ["zero input"]
    eigenvalue = np.where(np.arange(3) < np.array(n_unstable, dtype=int).reshape(n, 1), 1.5, 0.5)
    data = xr.Dataset(
        {
            "rate": (
                ("fixed_point", "unit"),
                np.zeros((n, 3)) if rates is None else np.asarray(rates, float),
            ),
            "rate_direction": (("fixed_point", "leading_mode", "unit"), np.tile(np.eye(3), (n, 1, 1))),
            "residual": ("fixed_point", np.full(n, 2e-15)),
            "eigenvalue_real": (("fixed_point", "mode"), eigenvalue),
            "eigenvalue_imag": (("fixed_point", "mode"), np.zeros((n, 3))),
            "time_constant": (
                ("fixed_point", "mode"),
                np.where(eigenvalue > 1, -20.0, slowest),
                {"units": "ms"},
            ),
            "start_label": ("start", np.r_[np.arange(n), np.full(failed, -1)].astype(int)),
            "index_sum": ("condition", np.full(len(names), 1.0) if index is None else np.array(index, float)),
            "index_sum_expected": (
                "condition",
                np.full(len(names), 1.0) if expected is None else np.array(expected, float),
            ),
            "condition_name": ("condition", names),
        },
        coords={
            "kind": ("fixed_point", np.array(kinds, dtype="<U8")),
            "n_unstable": ("fixed_point", np.array(n_unstable, dtype=int)),
        },
    )
    return data.assign_coords(condition=("fixed_point", label))


def describe(found, data=None):
    data = activity() if data is None else data
    sentences = describe_mechanism(data, pca(data), found)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert "  " not in sentence
        assert "nan" not in sentence
    return sentences


CORNERS = list(itertools.product([-1.0, 1.0], repeat=3))


def cube(**more):
    kinds = ["stable"] * 8 + ["saddle"] * 19
    n_unstable = [0] * 8 + [1] * 12 + [2] * 6 + [3]
    return points(kinds, n_unstable=n_unstable, rates=CORNERS + [(0, 0, 0)] * 19, **more)


def test_several_stable_points_are_discrete_attractors():
    mechanism, evidence, contradiction = describe(cube())
    assert mechanism == (
        'With the input held constant ("zero input"), 8 stable fixed points were found, beside 19 saddles '
        "(12 with 1 unstable mode, 6 with 2, 1 with 3): discrete attractors, each of which can hold one "
        "state."
    )
    assert "27 of 27 starts converged to a fixed point (largest residual 2.0e-15)" in evidence
    assert "the index sum is 1, as expected" in evidence
    assert "the mean score over 10 recorded trials is 0.9500" in evidence
    assert "3 principal components hold 100% of the variance" in evidence
    assert "saddle's unstable direction" in contradiction
    assert "in pairs that leave the index sum as it is" in contradiction
    assert "other seeds" in contradiction


def test_recorded_states_near_and_far_from_the_stable_points_are_told_apart():
    # Noise of .05 in each of 3 units is .08 long in the median, and the cube's corners are sqrt(3) out.
    near = describe(cube())[1]
    assert "recorded states lie at a median distance of 4% of their spread" in near
    far = cube()
    far["rate"] = far.rate * 0 + 1e3
    found = re.search(r"median distance of (\d+)% of their spread", describe(far)[1])
    # 1000 in each of 3 units, against a spread of at most sqrt(3).
    assert int(found[1]) > 90_000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (CORNERS, "each with its own readout"),
        ([(1, 1, z) for z in np.linspace(0, 0.01, 8)], "all with the same readout"),
        ([(x, y, 1) for x, y, _ in CORNERS], "with 4 distinct readouts"),
    ],
)
def test_readouts_are_counted(rows, words):
    data = activity()
    data["parameter_output_weight"] = (("output_channel", "unit"), np.eye(3))
    data["parameter_output_bias"] = ("output_channel", np.full(3, 0.2))
    assert words in describe(points(["stable"] * 8, rates=rows), data)[0]


def test_readouts_of_classes_are_the_classes():
    data = activity()
    data["target"] = data.target.isel(output_channel=0, drop=True).astype(int)
    data["parameter_output_weight"] = (("output_channel", "unit"), np.eye(3))
    found = points(["stable"] * 3, rates=[(1, 0, 0), (0.4, 0, 0), (0, 1, 0)])
    assert "3 stable fixed points were found, with 2 distinct readouts:" in describe(found, data)[0]


def test_one_slow_stable_point_is_leaky_integration():
    mechanism, _, contradiction = describe(points(["stable"], slowest=1500.0))
    assert (
        "one stable fixed point was found, and its slowest mode decays with a time constant of 1500 ms"
        in mechanism
    )
    assert "1.5 times the trial's length" in mechanism
    assert "consistent with leaky integration" in mechanism
    assert "fades much faster or slower" in contradiction


def test_one_fast_stable_point_holds_no_memory():
    mechanism, _, contradiction = describe(
        points(["stable", "saddle"], slowest=20.0, index=[0], expected=[np.nan])
    )
    assert "one stable fixed point was found, beside one saddle with 1 unstable mode, to which" in mechanism
    assert (
        "at most 20 ms, 0.02 times the trial's length: memory that outlasts this return is not held"
        in mechanism
    )
    assert "for much longer than that" in contradiction


def test_the_trial_is_measured_in_steps_where_the_points_are():
    found = points(["stable"], slowest=60.0)
    found["time_constant"].attrs["units"] = "steps"
    assert "60 steps, 0.6 times the trial's length: consistent with leaky integration" in describe(found)[0]


def test_padding_does_not_lengthen_the_trial():
    data = activity()
    data["valid"][:, 40:] = False
    assert "consistent with leaky integration" in describe(points(["stable"], slowest=250.0), data)[0]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["marginal"], "one marginal fixed point was found, with a direction along which the state neither"),
        (
            ["marginal"] * 4 + ["stable"],
            "4 marginal fixed points were found, beside one stable fixed point, with a direction at each",
        ),
    ],
)
def test_marginal_points_are_consistent_with_a_continuous_attractor(kinds, words):
    mechanism, evidence, contradiction = describe(points(kinds, index=[np.nan]))
    assert words in mechanism
    assert "consistent with an approximately continuous attractor" in mechanism
    assert "there is no expected index sum to check completeness with" in evidence
    assert contradiction.startswith("Completeness could not be tested; the account would be contradicted by")


def test_saddles_alone_settle_nothing():
    mechanism, _, contradiction = describe(points(["saddle", "saddle", "unstable"], index=[-1]))
    assert (
        "no stable fixed point was found, only 2 saddles with 1 unstable mode each and one unstable point"
        in mechanism
    )
    assert "not among the points found" in mechanism
    # Expected 1, found -1: two short.
    assert (
        "the index sum is -1 where 1 is expected, so that at least 2 fixed points are missing"
        in contradiction
    )


def test_slow_points_are_not_fixed_points():
    mechanism, evidence, _ = describe(points(["slow", "slow"], index=[0], expected=[np.nan], failed=2))
    assert "no fixed point was found, only 2 slow points, where the speed has a minimum" in mechanism
    assert evidence.startswith("0 of 4 starts converged to a fixed point and 2 to a slow point;")
    beside = describe(points(["stable", "stable", "slow"]))
    assert "2 stable fixed points were found, beside one slow point:" in beside[0]
    assert beside[1].startswith(
        "2 of 3 starts converged to a fixed point and 1 to a slow point (largest residual"
    )


def test_nothing_found_names_no_mechanism():
    mechanism, evidence, contradiction = describe(points([], index=[0], expected=[np.nan], failed=5))
    assert mechanism.endswith("no fixed point was found, so that this analysis names no mechanism.")
    assert evidence.startswith("0 of 5 starts converged to a fixed point;")
    assert "fixed points that no start led to" in contradiction


def test_a_wrong_index_sum_contradicts_completeness_already():
    _, evidence, contradiction = describe(points(["stable", "stable"], index=[2]))
    assert "the index sum is 2, where 1 is expected" in evidence
    assert contradiction.startswith(
        "Completeness is contradicted already: the index sum is 2 where 1 is expected, so that at least one "
        "fixed point is missing, and the counts are lower bounds; the account itself would be contradicted by"
    )
    assert "in pairs" not in contradiction


def test_conditions_that_agree_are_told_together():
    found = points(["stable", "saddle", "stable"] * 2, conditions=["motion"] * 3 + ["colour"] * 3)
    mechanism, evidence, _ = describe(found)
    assert mechanism.startswith(
        'With the input held constant (at each of "motion" and "colour"), 2 stable fixed points were found, '
    )
    assert "the index sum is the expected one in all 2 conditions" in evidence


def test_conditions_that_differ_are_told_apart():
    found = points(
        ["stable", "stable", "stable", "saddle"],
        conditions=["motion", "motion", "colour", "colour"],
        slowest=2000.0,
        index=[2, np.nan],
    )
    mechanism, evidence, contradiction = describe(found)
    assert 'held constant at "motion", 2 stable fixed points' in mechanism
    assert (
        '; at "colour", one stable fixed point was found, beside one saddle with 1 unstable mode, and'
        in mechanism
    )
    assert (
        "the index sum is the expected one in 0 of 2 conditions, and has none to compare with in 1"
        in evidence
    )
    assert 'contradicted already: the index sum at "motion" is 2 where 1 is expected' in contradiction
    assert "settle at none" in contradiction
    assert "fades much faster" in contradiction


def test_many_conditions_are_summed_up():
    kinds, conditions = [], []
    for k in range(8):
        kinds += ["stable"] * (k + 1)
        conditions += [f"input {k}"] * (k + 1)
    found = points(kinds, conditions=conditions, index=np.arange(1, 9))
    mechanism, _, contradiction = describe(found)
    assert mechanism == (
        "With the input held constant in turn at each of 8 values, there were several stable fixed points "
        "(discrete attractors) in 7 and one stable fixed point without a slow mode in 1."
    )
    assert "the index sum is not the expected one in 7 conditions" in contradiction


def test_an_ideal_observer_is_named_beside_the_score():
    data = activity().assign_coords(ideal_score=("trial", np.full(10, 0.97)))
    assert "is 0.9500 (an ideal observer's: 0.9700)" in describe(cube(), data)[1]


def test_the_sentences_follow_from_a_real_search():
    # Two decoupled bistable units: 4 stable points, 4 saddles, 1 unstable one.
    rate = np.tanh(np.random.default_rng(0).normal(size=(5, 40, 2)))
    data = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    found = find_fixed_points(lambda x: torch.tanh(2 * x), rate.reshape(-1, 2))
    mechanism, evidence, _ = describe(found, data)
    assert (
        "4 stable fixed points were found, beside 4 saddles with 1 unstable mode each and one unstable"
        in mechanism
    )
    assert "there is no expected index sum" in evidence
    assert "2 principal components hold 100% of the variance" in evidence


def test_describe_mechanism_refuses():
    data = activity()
    with pytest.raises(InputError, match="needs dimension 'unit'"):
        describe_mechanism(data.rename(unit="neuron"), pca(data), cube())
    with pytest.raises(InputError, match="`pcs` has no variable 'explained_variance_ratio'"):
        describe_mechanism(data, data, cube())
    with pytest.raises(InputError, match="`points` needs dimension 'fixed_point'"):
        describe_mechanism(data, pca(data), data)
    with pytest.raises(InputError, match="`points` has no variable 'index_sum'"):
        describe_mechanism(data, pca(data), cube().drop_vars("index_sum"))
    with pytest.raises(InputError, match="`points` must hold every point that its starts led to, 27, got 8"):
        describe_mechanism(data, pca(data), cube().isel(fixed_point=slice(8)))


@pytest.fixture(scope="module")
def everything():
    data = activity()
    fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False, n_bootstrap=10)
    history = xr.Dataset({"loss": ("step", 0.9 ** np.arange(50))}, coords={"step": np.arange(1, 51)})
    pcs = pca(data)
    figures = draw_figures(
        data,
        history=history,
        pcs=pcs,
        points=cube(),
        spectrum=eigenspectrum(np.eye(3)),
        averages=condition_average(data, "side"),
        psychometric=fit,
        color_by="side",
    )
    tables = make_tables(data, pcs=pcs, points=cube(), accuracy=accuracy(data, "side"), psychometric=fit)
    return figures, tables


def test_figures_are_drawn_for_what_is_given_and_none_stays_open(everything):
    figures, _ = everything
    assert [figure.name for figure in figures] == [
        "learning_curve",
        "trial",
        "trajectories",
        "eigenvalues",
        "recurrent_spectrum",
        "activity",
        "condition_averages",
        "psychometric",
    ]
    assert not plt.get_fignums()
    assert len(figures[-2].figure.axes) == 3
    calls = {figure.name: figure.call for figure in figures}
    assert (
        calls["trajectories"]
        == "neurornn.plots.plot_trajectories(pcs, neurornn.analysis.project(points, pcs), color_by='side')"
    )
    for call in calls.values():
        compile(call, "call", "eval")


def test_without_points_the_figures_do_without():
    names = [figure.name for figure in draw_figures(activity(), points=points([]), pcs=pca(activity(), 2))]
    assert names == ["trial", "trajectories", "activity"]


def test_a_figure_gives_the_same_bytes_twice(everything):
    assert everything[0][1].png() == everything[0][1].png()


def test_tables_hold_the_numbers(everything):
    tables = {table.title: table for table in everything[1]}
    assert list(tables) == [
        "Performance",
        "Performance by condition",
        "Variance explained",
        "Fixed points",
        "Index sum",
        "Leading modes",
        "Psychometric curve",
    ]
    assert tables["Performance"].rows[0] == ("mean score", "0.9500 ± 0.0500", "10")
    by_side = tables["Performance by condition"]
    assert by_side.columns == ("side", "mean score", "95% interval", "trials")
    assert [row[:2] + row[-1:] for row in by_side.rows] == [("0", "1.0000", "5"), ("1", "0.9000", "5")]
    assert [row[1:4] for row in tables["Fixed points"].rows] == [
        ("stable", "0", "8"),
        ("saddle", "1", "12"),
        ("saddle", "2", "6"),
        ("saddle", "3", "1"),
    ]
    assert tables["Index sum"].rows == [("zero input", "1", "1", "agrees")]
    assert tables["Leading modes"].rows[0] == ("zero input", "stable", "0.5000", "0.5000", "50")
    assert tables["Leading modes"].rows[-1][2:] == ("1.5000", "1.5000", "-20")
    assert tables["Variance explained"].rows[-1][-1] == "100.0%"
    assert [row[0] for row in tables["Psychometric curve"].rows] == [
        "bias",
        "width",
        "lapse low",
        "lapse high",
    ]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_tables_of_nothing_found():
    tables = {table.title: table for table in make_tables(activity(), points=points([], index=[0]))}
    assert tables["Fixed points"].note == "None was found."
    assert tables["Index sum"].rows == [("zero input", "0", "1", "contradicts completeness")]
    assert "Leading modes" not in tables
    undefined = make_tables(activity(), points=points(["marginal"], index=[np.nan], expected=[np.nan]))
    assert undefined[2].rows == [("zero input", "undefined", "none", "nothing to compare")]


def test_a_long_table_of_points_is_cut_and_says_so():
    found = points(["stable"] * 40)
    modes = next(table for table in make_tables(activity(), points=found) if table.title == "Leading modes")
    assert len(modes.rows) == 30
    assert "The first 30 of 40 points." in modes.note


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
