"""The page: the sentences, figures and tables in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import importlib.resources
import os
from collections.abc import Mapping, Sequence

from neurornn.files import atomic_write
from neurornn.report.figures import ReportFigure
from neurornn.report.tables import ReportTable
from neurornn.vocabulary import InputError


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    mechanism: tuple[str, str, str],
    figures: Sequence[ReportFigure] = (),
    tables: Sequence[ReportTable] = (),
    facts: Mapping[str, str] | None = None,
    setup: str = "",
    settings: str = "",
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write the report as one HTML file that needs no other file and no network.

    The page depends on the arguments only: written twice, it has the same bytes.

    Parameters
    ----------
    path : path-like
        Where to; it appears whole or not at all.
    title : str
        Heading of the page.
    mechanism : tuple of str
        The three sentences of `describe_mechanism`.
    figures, tables : sequence of ReportFigure, ReportTable
        In the order in which they are to be read.
    facts : mapping of str to str, optional
        What the reader wants at a glance: task, network, seed, time of training.
    setup : str
        Lines of Python that make the names in the figures' calls, so that the calls can be run.
    settings : str
        The run's configuration as TOML text.
    versions : mapping of str to str, optional
        Packages and their versions.

    Raises
    ------
    InputError
        Where ``mechanism`` does not hold three sentences, or the folder cannot be written to.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "report.html")
    >>> write_report(path, title="A run", mechanism=("Found.", "Seen.", "Else."))
    >>> "Found." in path.read_text()
    True
    """
    if isinstance(mechanism, str) or len(mechanism) != 3:
        raise InputError(
            f"`mechanism` must hold three sentences (mechanism, evidence, contradiction), got {mechanism!r}: "
            "take those of describe_mechanism"
        )
    import jinja2

    template = importlib.resources.files("neurornn.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(template).render(
        title=title,
        sentences=dict(zip(("Mechanism", "Evidence", "What would contradict it"), mechanism, strict=True)),
        facts=facts or {},
        setup=setup,
        figures=[
            {
                "name": figure.name,
                "caption": figure.caption,
                "call": figure.call,
                "width": round(96 * figure.figure.get_figwidth()),
                "data": base64.b64encode(figure.png()).decode("ascii"),
            }
            for figure in figures
        ],
        tables=tables,
        settings=settings,
        versions=versions or {},
    )
    atomic_write(path, page.encode())
