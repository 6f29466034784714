"""The report of a run: one self-contained HTML page.

It opens with three sentences: what was found, on what evidence, what would contradict it. Reads labelled
datasets. Gives the sentences, figures, tables, and the page that holds them.
"""

from __future__ import annotations

import base64
import importlib.resources
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn import plots
from neurornn.analysis.components import project
from neurornn.files import atomic_write
from neurornn.plots.behaviour import parameter_rows
from neurornn.plots.trials import trial_height
from neurornn.vocabulary import (
    COMPONENT,
    CONDITION,
    FIXED_POINT,
    FIXED_POINT_KINDS,
    OUTPUT_CHANNEL,
    START,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    need_dims,
    need_variable,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONG = 0.5
"""Share of a trial from which a time constant is long: what is held then halves in a third of the trial."""

SAME_READOUT = 0.1
"""Readouts are the same within this share of the range that the recorded outputs span."""

MOST_ROWS = 30
"""Fixed points beyond which a table of each one is no longer read."""

PIXELS_PER_INCH = 150
"""Sharp on a dense screen and in print."""


# -- What was found -----------------------------------------------------------------------------------------


def describe_mechanism(activity: xr.Dataset, pcs: xr.Dataset, points: xr.Dataset) -> tuple[str, str, str]:
    """Say in three sentences what was found, on what evidence, and what would contradict it.

    The rules know no task. In each condition (constant input), in this order: at least two stable points are
    discrete attractors; marginal points are consistent with a continuous attractor; a single stable point
    whose slowest time constant is at least half a trial is consistent with leaky integration, a faster one
    merely attracts; without a stable point, saddles or slow points are told for what they are.

    Parameters
    ----------
    activity : xarray.Dataset
        ``rate (trial, time, unit)``, ``valid`` where trials are padded; ``score`` and ``ideal_score`` on
        ``trial`` where known; ``output``, ``target`` and the embedded weights ``parameter_output_weight`` and
        ``parameter_output_bias``, from which readouts are told apart.
    pcs : xarray.Dataset
        From `neurornn.analysis.pca`: ``explained_variance_ratio (component,)``.
    points : xarray.Dataset
        From `neurornn.analysis.find_fixed_points`; it may be empty and may hold several conditions.

    Returns
    -------
    tuple of str
        Mechanism, evidence, contradiction.

    Raises
    ------
    InputError
        Where a dimension or variable is missing.

    Examples
    --------
    >>> import torch
    >>> from neurornn.analysis import find_fixed_points, pca
    >>> rate = np.tanh(np.random.default_rng(0).normal(size=(4, 50, 1)))
    >>> activity = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    >>> points = find_fixed_points(lambda x: torch.tanh(2 * x), rate.reshape(-1, 1))
    >>> print(describe_mechanism(activity, pca(activity), points)[0])
    With the input held constant ("map"), 2 stable fixed points were found, beside one unstable point: \
discrete attractors, each of which can hold one state.
    """
    need_dims(activity, (TRIAL, TIME, UNIT))
    need_variable(activity, "rate")
    censuses = _take_censuses(activity, points)
    return (
        _mechanism(censuses),
        _evidence(activity, need_variable(pcs, "explained_variance_ratio", "pcs"), points, censuses),
        _contradiction(censuses),
    )


@dataclass(frozen=True)
class _Census:
    """What was found under one constant input."""

    condition: str
    kinds: dict[str, int]
    saddles: dict[int, int]
    """Number of saddles for each number of unstable modes."""
    n_readouts: int | None
    """How many readouts the stable points have; None where that is unknown."""
    slowest: float
    """Longest time constant of a stable point."""
    trial: float
    """Length of a trial."""
    units: str
    """Of both."""
    index_sum: float
    index_sum_expected: float

    @property
    def n_stable(self) -> int:
        return self.kinds["stable"]

    @property
    def n_zeros(self) -> int:
        return sum(self.kinds.values()) - self.kinds["slow"]

    @property
    def verdict(self) -> str:
        if self.n_stable >= 2:
            return "discrete"
        if self.kinds["marginal"]:
            return "continuous"
        if self.n_stable == 1:
            return "leaky" if self.slowest >= LONG * self.trial else "relaxing"
        if self.n_zeros:
            return "departing"
        return "slow" if self.kinds["slow"] else "none"

    @property
    def index_agrees(self) -> bool | None:
        """Whether the index sum is the expected one; None where there is nothing to compare."""
        if not np.isfinite([self.index_sum, self.index_sum_expected]).all():
            return None
        return round(self.index_sum) == round(self.index_sum_expected)

    def others(self, without: str) -> str:
        """Return the points of all kinds but one in words, empty where there are none."""
        parts = [self._saddles()]
        for kind, noun in _NOUNS.items():
            if kind != without and self.kinds[kind]:
                parts.append(_count(self.kinds[kind], noun))
        return _list([part for part in parts if part])

    def _saddles(self) -> str:
        if not self.saddles:
            return ""
        first, *rest = sorted(self.saddles)
        modes = f"{first} unstable mode{'' if first == 1 else 's'}"
        if not rest:
            each = " each" if self.saddles[first] > 1 else ""
            return f"{_count(self.saddles[first], 'saddle')} with {modes}{each}"
        parts = [f"{self.saddles[first]} with {modes}", *(f"{self.saddles[n]} with {n}" for n in rest)]
        return f"{_count(sum(self.saddles.values()), 'saddle')} ({', '.join(parts)})"

    def clause(self) -> str:
        """Return what was found as the second half of a sentence."""
        return str(getattr(self, f"_{self.verdict}")())

    def _discrete(self) -> str:
        same = {None: "", self.n_stable: ", each with its own readout", 1: ", all with the same readout"}
        readouts = same.get(self.n_readouts, f", with {self.n_readouts} distinct readouts")
        return (
            f"{self.n_stable} stable fixed points were found{readouts}{self._beside('stable')}: discrete "
            "attractors, each of which can hold one state"
        )

    def _continuous(self) -> str:
        n = self.kinds["marginal"]
        were, at_each = ("was", "") if n == 1 else ("were", "at each ")
        return (
            f"{_count(n, 'marginal fixed point')} {were} found{self._beside('marginal')}, with a direction "
            f"{at_each}along which the state neither decays nor grows to the precision reached: consistent "
            "with an approximately continuous attractor"
        )

    def _leaky(self) -> str:
        return (
            f"one stable fixed point was found{self._beside('stable')}, and its slowest mode decays with a "
            f"time constant of {self._slowest()}: consistent with leaky integration along a slow direction"
        )

    def _relaxing(self) -> str:
        return (
            f"one stable fixed point was found{self._beside('stable')}, to which nearby states return with a "
            f"time constant of at most {self._slowest()}: memory that outlasts this return is not held in "
            "fixed points"
        )

    def _departing(self) -> str:
        return (
            f"no stable fixed point was found, only {self.others('stable')}: what the network settles to, if "
            "anything, is not among the points found"
        )

    def _slow(self) -> str:
        return (
            f"no fixed point was found, only {_count(self.kinds['slow'], 'slow point')}, where the speed has "
            "a minimum: a state can linger there, not stay"
        )

    def _none(self) -> str:
        return "no fixed point was found, so that this analysis names no mechanism"

    def _beside(self, kind: str) -> str:
        others = self.others(kind)
        return f", beside {others}" if others else ""

    def _slowest(self) -> str:
        share = _number(self.slowest / self.trial)
        return f"{_number(self.slowest)} {self.units}, {share} times the trial's length"


_NOUNS = {
    "stable": "stable fixed point",
    "unstable": "unstable point",
    "marginal": "marginal point",
    "slow": "slow point",
}
"""What each kind is called; saddles are told apart by their unstable modes."""

_VERDICTS = {
    "discrete": "several stable fixed points (discrete attractors)",
    "continuous": "marginal fixed points (consistent with an approximately continuous attractor)",
    "leaky": "one stable fixed point with a slow mode (consistent with leaky integration)",
    "relaxing": "one stable fixed point without a slow mode",
    "departing": "fixed points of which none is stable",
    "slow": "slow points only",
    "none": "no fixed point",
}
"""What each verdict is called where there are too many conditions to tell one by one."""

_CONTRADICTIONS = {
    "discrete": ("trials that settle at none of the stable points",),
    "continuous": (
        "states along the marginal direction that drift together or apart within a trial",
        "a more precise computation that moves its eigenvalue off the unit circle",
    ),
    "leaky": ("a perturbation along the slow direction that fades much faster or slower than that",),
    "relaxing": ("states that stay away from the fixed point for much longer than that",),
    "departing": ("a stable fixed point that no start led to",),
    "slow": ("a state that stays at a slow point",),
    "none": (),
}
"""What would speak against each verdict."""


def _take_censuses(activity: xr.Dataset, points: xr.Dataset) -> list[_Census]:
    need_dims(points, (FIXED_POINT, CONDITION), "points")
    kind = need_variable(points, "kind", "points").to_numpy().astype(str)
    n_unstable = need_variable(points, "n_unstable", "points").to_numpy()
    label = need_variable(points, CONDITION, "points").to_numpy().astype(str)
    names = need_variable(points, "condition_name", "points").to_numpy().astype(str)
    index_sum, expected = (
        need_variable(points, name, "points").to_numpy() for name in ("index_sum", "index_sum_expected")
    )
    constants = need_variable(points, "time_constant", "points")
    slowest = constants.max("mode").to_numpy() if points.sizes[FIXED_POINT] else np.empty(0)
    units = str(constants.attrs.get("units", "steps"))
    censuses = []
    for k, name in enumerate(names):
        mine = label == name
        stable = mine & (kind == "stable")
        modes, counts = np.unique(n_unstable[mine & (kind == "saddle")], return_counts=True)
        censuses.append(
            _Census(
                condition=str(name),
                kinds={which: int((mine & (kind == which)).sum()) for which in FIXED_POINT_KINDS},
                saddles={int(n): int(count) for n, count in zip(modes, counts, strict=True)},
                n_readouts=_count_readouts(activity, points.isel({FIXED_POINT: stable})),
                slowest=float(slowest[stable].max()) if stable.any() else np.nan,
                trial=_trial_length(activity, units),
                units=units,
                index_sum=float(index_sum[k]),
                index_sum_expected=float(expected[k]),
            )
        )
    return censuses


def _trial_length(activity: xr.Dataset, units: str) -> float:
    """Return the median length of a trial in the units of the time constants."""
    n_steps = (
        float(activity["valid"].sum(TIME).median()) if "valid" in activity else float(activity.sizes[TIME])
    )
    in_time = units != "steps" and TIME in activity.coords and activity.sizes[TIME] > 1
    return n_steps * float(activity[TIME].diff(TIME).median()) if in_time else n_steps


def _count_readouts(activity: xr.Dataset, points: xr.Dataset) -> int | None:
    """Return how many different readouts points have, or None where the recording lacks the weights."""
    if "parameter_output_weight" not in activity or "output" not in activity or "rate" not in points:
        return None
    weight = activity["parameter_output_weight"].transpose(OUTPUT_CHANNEL, UNIT).to_numpy().astype(float)
    readouts = points["rate"].transpose(FIXED_POINT, UNIT).to_numpy() @ weight.T
    if "parameter_output_bias" in activity:
        readouts = readouts + activity["parameter_output_bias"].to_numpy()
    if "target" in activity and OUTPUT_CHANNEL not in activity["target"].dims:
        return len(np.unique(readouts.argmax(axis=1)))
    outputs = activity["output"].where(activity["valid"]) if "valid" in activity else activity["output"]
    same = SAME_READOUT * float(outputs.max() - outputs.min())
    distinct: list[np.ndarray] = []
    for readout in readouts:
        if all(np.abs(readout - other).max() > same for other in distinct):
            distinct.append(readout)
    return len(distinct)


def _mechanism(censuses: list[_Census]) -> str:
    by_clause: dict[str, list[str]] = {}
    for census in censuses:
        by_clause.setdefault(census.clause(), []).append(f'"{census.condition}"')
    if len(by_clause) == 1:
        ((clause, names),) = by_clause.items()
        where = names[0] if len(names) == 1 else f"at each of {_list(names)}"
        return f"With the input held constant ({where}), {clause}."
    if len(by_clause) <= 3:
        parts = [f"at {_list(names)}, {clause}" for clause, names in by_clause.items()]
        return f"With the input held constant {'; '.join(parts)}."
    verdicts = [census.verdict for census in censuses]
    parts = [f"{words} in {verdicts.count(key)}" for key, words in _VERDICTS.items() if key in verdicts]
    return (
        f"With the input held constant in turn at each of {len(censuses)} values, there were {_list(parts)}."
    )


def _evidence(activity: xr.Dataset, share: xr.DataArray, points: xr.Dataset, censuses: list[_Census]) -> str:
    parts = [_search_evidence(points), _index_evidence(censuses)]
    if any(census.verdict == "discrete" for census in censuses):
        distance = _distance_to_stable(activity, points)
        parts.append(
            f"recorded states lie at a median distance of {distance:.0%} of their spread from the nearest "
            "stable fixed point"
        )
    leading = share.to_numpy()[:3]
    hold = "component holds" if leading.size == 1 else "components hold"
    parts.append(f"{leading.size} principal {hold} {leading.sum():.0%} of the variance")
    if "score" in activity.coords:
        over = _count(activity.sizes[TRIAL], "recorded trial")
        score = f"the mean score over {over} is {float(activity['score'].mean()):.4f}"
        if "ideal_score" in activity.coords:
            score += f" (an ideal observer's: {float(activity['ideal_score'].mean()):.4f})"
        parts.append(score)
    return f"{'; '.join(parts)}."


def _search_evidence(points: xr.Dataset) -> str:
    need_dims(points, (START,), "points")
    label = need_variable(points, "start_label", "points").to_numpy()
    slow = points["kind"].to_numpy().astype(str) == "slow"
    if label.max(initial=-1) >= slow.size:
        raise InputError(
            f"`points` must hold every point that its starts led to, {label.max() + 1}, got {slow.size}: "
            "pass what find_fixed_points returned, without a selection"
        )
    ended_slow = int(slow[label[label >= 0]].sum())
    converged = int((label >= 0).sum()) - ended_slow
    text = f"{converged} of {_count(label.size, 'start')} converged to a fixed point"
    if ended_slow:
        text += f" and {ended_slow} to a slow point"
    residual = need_variable(points, "residual", "points").to_numpy()[~slow]
    if residual.size:
        text += f" (largest residual {residual.max():.1e})"
    return text


def _index_evidence(censuses: list[_Census]) -> str:
    agrees = [census.index_agrees for census in censuses]
    n, n_right, n_untested = len(censuses), agrees.count(True), agrees.count(None)
    if n_untested == n:
        return "there is no expected index sum to check completeness with"
    if n == 1:
        expected = _number(censuses[0].index_sum_expected)
        verdict = "as expected" if n_right else f"where {expected} is expected"
        return f"the index sum is {_number(censuses[0].index_sum)}, {verdict}"
    found = (
        f"the index sum is the expected one in {'all' if n_right == n else f'{n_right} of'} {n} conditions"
    )
    return found + (f", and has none to compare with in {n_untested}" if n_untested else "")


def _distance_to_stable(activity: xr.Dataset, points: xr.Dataset) -> float:
    """Return the median distance of recorded states to the nearest stable point, relative to their spread."""
    rate = activity["rate"].transpose(TRIAL, TIME, UNIT).to_numpy().astype(float)
    if "valid" in activity:
        rate = rate[activity["valid"].transpose(TRIAL, TIME).to_numpy().astype(bool)]
    rate = rate.reshape(-1, rate.shape[-1])
    # A few thousand, evenly spread, give the median as well as all do.
    rate = rate[:: -(-len(rate) // 4000)]
    stable = need_variable(points, "rate", "points").transpose(FIXED_POINT, UNIT).to_numpy()
    stable = stable[points["kind"].to_numpy().astype(str) == "stable"]
    nearest = np.min([np.linalg.norm(rate - point, axis=1) for point in stable], axis=0)
    spread = np.sqrt(((rate - rate.mean(axis=0)) ** 2).sum(axis=1).mean())
    return float(np.median(nearest) / spread) if spread > 0 else 0.0


def _contradiction(censuses: list[_Census]) -> str:
    verdicts = list(dict.fromkeys(census.verdict for census in censuses))
    ways = list(dict.fromkeys(way for verdict in verdicts for way in _CONTRADICTIONS[verdict]))
    if any(census.verdict == "discrete" and census.saddles for census in censuses):
        ways.append(
            "small pushes along a saddle's unstable direction that do not end at neighbouring stable points"
        )
    wrong = [census for census in censuses if census.index_agrees is False]
    untested = sum(census.index_agrees is None for census in censuses)
    if wrong:
        found = _missing(wrong, alone=len(censuses) == 1)
        start = f"Completeness is contradicted already: {found}; the account itself"
    elif untested:
        where = "" if untested == len(censuses) else f" in {untested} of {len(censuses)} conditions"
        ways.append("fixed points that no start led to")
        start = f"Completeness could not be tested{where}; the account"
    else:
        ways.append("fixed points that no start led to, in pairs that leave the index sum as it is")
        start = "The account"
    ways.append("networks trained from other seeds that do otherwise, since this is one network")
    return f"{start} would be contradicted by {_list(ways, between='; ', last='; or by ')}."


def _missing(wrong: list[_Census], *, alone: bool) -> str:
    """Say by how much index sums are off, and what that means."""
    if len(wrong) > 3:
        return (
            f"the index sum is not the expected one in {len(wrong)} conditions, so that fixed points are "
            "missing there and the counts are lower bounds"
        )
    parts = []
    for census in wrong:
        found, expected = _number(census.index_sum), _number(census.index_sum_expected)
        where = "" if alone else f' at "{census.condition}"'
        # Every point adds +1 or -1.
        n = abs(round(census.index_sum - census.index_sum_expected))
        least = f"at least {_count(n, 'fixed point')} {'is' if n == 1 else 'are'} missing"
        parts.append(f"the index sum{where} is {found} where {expected} is expected, so that {least}")
    return f"{_list(parts)}, and the counts are lower bounds"


def _count(n: int, noun: str) -> str:
    return f"one {noun}" if n == 1 else f"{n} {noun}s"


def _number(value: float) -> str:
    """Return three digits, without an exponent where a reader would stumble over one."""
    if not np.isfinite(value):
        return "infinite" if value > 0 else "-infinite" if value < 0 else "unknown"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _list(parts: Sequence[str], between: str = ", ", last: str = " and ") -> str:
    return "".join([between.join(parts[:-1]), last, parts[-1]]) if len(parts) > 1 else "".join(parts)


# -- Figures and tables -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes
    ----------
    name : str
        Stem of its file, should it be saved beside the report.
    figure : matplotlib.figure.Figure
    caption : str
        What it shows.
    call : str
        The Python expression that draws it.
    """

    name: str
    figure: Figure
    caption: str
    call: str

    def png(self) -> bytes:
        """Return the figure as a PNG file whose bytes depend on the figure only."""
        # A layout found anew at every drawing begins where the last one ended, and moves by a hair.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer, format="png", dpi=PIXELS_PER_INCH, facecolor="white", metadata={"Software": None}
        )
        return buffer.getvalue()


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


def draw_figures(
    activity: xr.Dataset,
    *,
    history: xr.Dataset | None = None,
    pcs: xr.Dataset | None = None,
    points: xr.Dataset | None = None,
    spectrum: xr.Dataset | None = None,
    averages: xr.Dataset | None = None,
    psychometric: xr.Dataset | None = None,
    color_by: str | None = None,
) -> list[ReportFigure]:
    """Draw the figures of the report, those that the given datasets allow.

    Each caption names the call that draws it, in terms of the names of these arguments.

    Parameters
    ----------
    activity : xarray.Dataset
        As for `neurornn.plots.plot_trial`.
    history, pcs, points, spectrum, averages, psychometric : xarray.Dataset, optional
        From `neurornn.train`, `neurornn.analysis.pca`, `find_fixed_points`, `eigenspectrum`,
        `neurornn.condition_average` and `neurornn.analysis.psychometric`.
    color_by : str, optional
        Coordinate on ``trial`` that colours the trajectories.

    Returns
    -------
    list of ReportFigure
        Unknown to pyplot, so that none needs to be closed.

    Raises
    ------
    InputError
        Where a dataset lacks what its plot needs.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> activity = FlipFlop().draw(3, np.random.default_rng(0)).to_dataset()
    >>> activity["output"] = activity.target
    >>> activity["rate"] = activity.input.rename(input_channel="unit")
    >>> [figure.name for figure in draw_figures(activity)]
    ['trial', 'activity']
    """
    figures = []

    def add(name: str, ax: Axes, caption: str, call: str) -> None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        figures.append(ReportFigure(name, figure, caption, f"neurornn.plots.{call}"))

    if history is not None and history.sizes.get("step", 0):
        add(
            "learning_curve",
            plots.plot_learning_curve(history, ax=_axes(7.0, 3.6)),
            "Loss of each training step, its running median, and the loss on held-out trials.",
            "plot_learning_curve(history)",
        )
    add(
        "trial",
        plots.plot_trial(activity, ax=_axes(7.0, trial_height(activity))),
        "One trial: what the network put out, what was asked, and what it was shown.",
        "plot_trial(activity)",
    )
    some_points = points is not None and points.sizes[FIXED_POINT] > 0
    if pcs is not None and pcs.sizes[COMPONENT] >= 2:
        spatial = pcs.sizes[COMPONENT] >= 3
        call, caption = "plot_trajectories(pcs", "Trials along the first principal components"
        if points is not None and some_points:
            call += ", neurornn.analysis.project(points, pcs)"
            caption += ", with the fixed points and their unstable directions"
        add(
            "trajectories",
            plots.plot_trajectories(
                pcs,
                project(points, pcs) if points is not None and some_points else None,
                color_by=color_by,
                ax=_axes(7.0, 5.2 if spatial else 4.6, projection="3d" if spatial else None),
            ),
            caption + "; each path begins at its dot.",
            call + (f", color_by={color_by!r})" if color_by else ")"),
        )
    if points is not None and some_points:
        add(
            "eigenvalues",
            plots.plot_eigenvalues(points, ax=_axes(7.0, 4.2)),
            "Eigenvalues of the map at its fixed points; modes outside the unit circle grow.",
            "plot_eigenvalues(points)",
        )
    if spectrum is not None:
        add(
            "recurrent_spectrum",
            plots.plot_eigenvalues(spectrum, ax=_axes(7.0, 4.2)),
            "Eigenvalues of the recurrent weights, and the unit circle.",
            "plot_eigenvalues(spectrum)",
        )
    add(
        "activity",
        plots.plot_activity_heatmap(activity, ax=_axes(7.0, 4.2)),
        "Rates of all units in one trial, sorted by the time of their peak in that very trial.",
        "plot_activity_heatmap(activity)",
    )
    if averages is not None:
        units = plots.most_modulated_units(averages)
        add(
            "condition_averages",
            _draw_averages(averages, units),
            "Mean rate in each condition of the units that differ most between conditions.",
            f"plot_condition_averages(averages, unit={units[0]!r})",
        )
    if psychometric is not None:
        add(
            "psychometric",
            plots.plot_psychometric(psychometric, ax=_axes(7.0, 3.8)),
            "How often the choice was made at each stimulus, with intervals, and the fitted curve.",
            "plot_psychometric(psychometric)",
        )
    return figures


def _axes(width: float, height: float, projection: str | None = None) -> Axes:
    """Return axes of a figure that pyplot does not know of, so that none is left open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot(projection=projection)


def _draw_averages(averages: xr.Dataset, units: list[int | str]) -> Axes:
    """Draw one unit a panel, three panels a row, with one legend for all."""
    from matplotlib.figure import Figure

    n_rows = -(-len(units) // 3)
    figure = Figure(figsize=(10.0, 0.8 + 2.3 * n_rows), layout="constrained")
    panels = [figure.add_subplot(n_rows, min(3, len(units)), k + 1) for k in range(len(units))]
    for k, (panel, unit) in enumerate(zip(panels, units, strict=True)):
        plots.plot_condition_averages(averages, unit=unit, ax=panel)
        legend = panel.get_legend()
        if legend is not None and k != min(2, len(units) - 1):
            legend.remove()
        if k < len(units) - 3:
            panel.set_xlabel("")
    return panels[0]


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
        tables += _point_tables(points, _take_censuses(activity, points))
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


def _point_tables(points: xr.Dataset, censuses: list[_Census]) -> list[ReportTable]:
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
            _number(census.index_sum) if np.isfinite(census.index_sum) else "undefined",
            _number(census.index_sum_expected) if np.isfinite(census.index_sum_expected) else "none",
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
            (label[k], kind[k], value, f"{np.hypot(real, imaginary):.4f}", _number(float(constant[k])))
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


# -- The page -----------------------------------------------------------------------------------------------


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

    template = importlib.resources.files("neurornn").joinpath("report.html").read_text(encoding="utf-8")
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
