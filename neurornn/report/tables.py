"""The numbers of the report in tables, as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from neurornn.plots.behaviour import parameter_rows
from neurornn.report.mechanism import Census, take_censuses
from neurornn.report.wording import number
from neurornn.vocabulary import CONDITION, FIXED_POINT_KINDS, need_variable

MOST_ROWS = 30
"""Fixed points beyond which a table of each one is no longer read."""


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Attributes
    ----------
    title : str
    columns : sequence of str
        Headings.
    rows : sequence of sequences of str
        As they are printed.
    note : str
        What a reader must know to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    note: str = ""


def make_tables(
    activity: xr.Dataset,
    *,
    pcs: xr.Dataset | None = None,
    points: xr.Dataset | None = None,
    accuracy: xr.Dataset | None = None,
    psychometric: xr.Dataset | None = None,
) -> list[ReportTable]:
    """Put the numbers of the report into tables, those that the given datasets allow.

    Parameters
    ----------
    activity : xarray.Dataset
        ``score``, ``ideal_score`` and ``choice`` on ``trial``, where known.
    pcs, points, accuracy, psychometric : xarray.Dataset, optional
        From `neurornn.analysis.pca`, `find_fixed_points`, `accuracy` and `psychometric`.

    Returns
    -------
    list of ReportTable

    Raises
    ------
    InputError
        Where a dataset lacks a variable.

    Examples
    --------
    >>> activity = xr.Dataset(coords={"score": ("trial", [1.0, 0.0])})
    >>> make_tables(activity)[0].rows
    [('mean score', '0.5000 ± 0.5000', '2')]
    """
    tables = []
    if "score" in activity.coords:
        tables.append(_score_table(activity))
    if accuracy is not None and accuracy.sizes:
        tables.append(_accuracy_table(accuracy))
    if pcs is not None:
        share = need_variable(pcs, "explained_variance_ratio", "pcs").to_numpy()[:10]
        rows = [(str(k + 1), f"{own:.1%}", f"{sum(share[: k + 1]):.1%}") for k, own in enumerate(share)]
        tables.append(ReportTable("Variance explained", ("component", "share", "together"), rows))
    if points is not None:
        tables += _point_tables(points, take_censuses(activity, points))
    if psychometric is not None:
        tables.append(_psychometric_table(psychometric))
    return tables


def _score_table(activity: xr.Dataset) -> ReportTable:
    rows = []
    for name, words in (("score", "mean score"), ("ideal_score", "an ideal observer's")):
        if name in activity.coords:
            values = activity[name].to_numpy().astype(float)
            error = f" ± {values.std(ddof=1) / np.sqrt(values.size):.4f}" if values.size > 1 else ""
            rows.append((words, f"{values.mean():.4f}{error}", str(values.size)))
    if "choice" in activity.coords:
        made = activity["choice"].to_numpy() >= 0
        rows.append(("share of trials with a choice", f"{made.mean():.4f}", str(made.size)))
    return ReportTable("Performance", ("", "value", "trials"), rows, "± one standard error.")


def _accuracy_table(accuracy: xr.Dataset) -> ReportTable:
    """Return one row for each condition that has trials."""
    need_variable(accuracy, "accuracy", "accuracy")
    by = [str(dim) for dim in accuracy.sizes]
    ideal = "ideal_accuracy" in accuracy
    rows = []
    cells = accuracy.stack(cell=by)
    for k in np.flatnonzero(cells["n_trials"].to_numpy() > 0):
        cell = cells.isel(cell=int(k))
        low, high = float(cell["accuracy_lower"]), float(cell["accuracy_upper"])
        rows.append(
            (
                *(str(cell[name].item()) for name in by),
                f"{float(cell['accuracy']):.4f}",
                f"[{low:.4f}, {high:.4f}]" if np.isfinite([low, high]).all() else "",
                *((f"{float(cell['ideal_accuracy']):.4f}",) if ideal else ()),
                str(int(cell["n_trials"])),
            )
        )
    confidence = f"{accuracy.attrs['confidence']:.0%} " if "confidence" in accuracy.attrs else ""
    names = [name.replace("_", " ") for name in by]
    columns = (
        *names,
        "mean score",
        f"{confidence}interval",
        *(("ideal observer",) if ideal else ()),
        "trials",
    )
    return ReportTable("Performance by condition", columns, rows)


def _point_tables(points: xr.Dataset, censuses: list[Census]) -> list[ReportTable]:
    kind = points["kind"].to_numpy().astype(str)
    n_unstable = points["n_unstable"].to_numpy()
    label = points[CONDITION].to_numpy().astype(str)
    residual = need_variable(points, "residual", "points").to_numpy()
    by_kind = []
    for census in censuses:
        for which in FIXED_POINT_KINDS:
            for n in np.unique(n_unstable[(label == census.condition) & (kind == which)]):
                mine = (label == census.condition) & (kind == which) & (n_unstable == n)
                row = (census.condition, which, str(n), str(int(mine.sum())), f"{residual[mine].max():.1e}")
                by_kind.append(row)
    columns = ("constant input", "kind", "unstable modes", "number", "largest residual")
    tables = [ReportTable("Fixed points", columns, by_kind, "" if by_kind else "None was found.")]

    words = {True: "agrees", False: "contradicts completeness", None: "nothing to compare"}
    index = [
        (
            census.condition,
            number(census.index_sum) if np.isfinite(census.index_sum) else "undefined",
            number(census.index_sum_expected) if np.isfinite(census.index_sum_expected) else "none",
            words[census.index_agrees],
        )
        for census in censuses
    ]
    note = "Necessary for completeness, not sufficient: points can be missing in pairs."
    tables.append(ReportTable("Index sum", ("constant input", "found", "expected", "verdict"), index, note))
    if kind.size:
        tables.append(_leading_modes(points, kind, label))
    return tables


def _leading_modes(points: xr.Dataset, kind: np.ndarray, label: np.ndarray) -> ReportTable:
    leading = points.isel(mode=0)
    constant = leading["time_constant"]
    rows = []
    for k in range(min(kind.size, MOST_ROWS)):
        real, imaginary = float(leading["eigenvalue_real"][k]), float(leading["eigenvalue_imag"][k])
        value = f"{real:.4f}" + (f" ± {abs(imaginary):.4f}i" if imaginary else "")
        rows.append(
            (label[k], kind[k], value, f"{np.hypot(real, imaginary):.4f}", number(float(constant[k])))
        )
    units = constant.attrs.get("units", "steps")
    note = "The mode of largest modulus at each point; a negative time constant is that of growth."
    if kind.size > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {kind.size} points."
    columns = ("constant input", "kind", "eigenvalue", "modulus", f"time constant ({units})")
    return ReportTable("Leading modes", columns, rows, note)


def _psychometric_table(fit: xr.Dataset) -> ReportTable:
    rows = [(row["parameter"], row["estimate"], row["interval"].strip()) for row in parameter_rows(fit)]
    confidence = f"{fit.attrs['confidence']:.0%} " if "confidence" in fit.attrs else ""
    return ReportTable("Psychometric curve", ("parameter", "estimate", f"{confidence}interval"), rows)
