"""Three sentences: what was found, on what evidence, and what would contradict it.

They rest on a census of the fixed points under each constant input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurornn.report.wording import counted, listed, number
from neurornn.vocabulary import (
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

LONG = 0.5
"""Share of a trial from which a time constant is long: what is held then halves in a third of the trial."""

SAME_READOUT = 0.1
"""Readouts are the same within this share of the range that the recorded outputs span."""


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
    censuses = take_censuses(activity, points)
    return (
        _mechanism(censuses),
        _evidence(activity, need_variable(pcs, "explained_variance_ratio", "pcs"), points, censuses),
        _contradiction(censuses),
    )


@dataclass(frozen=True)
class Census:
    """What was found under one constant input."""

    condition: str
    kinds: dict[str, int]
    saddles: dict[int, int]
    """Number of saddles for each number of unstable modes."""
    n_readouts: int | None
    """How many readouts the stable points have; None where that is unknown."""
    slowest: float
    """Longest time constant of a stable point."""
    turns: str
    """Frequency of that mode with its unit, where it rotates; empty where it does not."""
    trial: float
    """Length of a trial."""
    units: str
    """Of both."""
    index_sum: float
    index_sum_expected: float
    least_residual: float
    """Speed of the slowest state that a start reached; NaN where there is none."""
    per: str
    """Unit of that speed, in words."""

    @property
    def n_stable(self) -> int:
        """Number of stable fixed points."""
        return self.kinds["stable"]

    @property
    def n_zeros(self) -> int:
        """Number of fixed points of all kinds, without the slow points, which are none."""
        return sum(self.kinds.values()) - self.kinds["slow"]

    @property
    def verdict(self) -> str:
        """Key of the rule that applies, the first in the order that `describe_mechanism` tells."""
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
                parts.append(counted(self.kinds[kind], noun))
        return listed([part for part in parts if part])

    def _saddles(self) -> str:
        if not self.saddles:
            return ""
        first, *rest = sorted(self.saddles)
        modes = f"{first} unstable mode{'' if first == 1 else 's'}"
        if not rest:
            each = " each" if self.saddles[first] > 1 else ""
            return f"{counted(self.saddles[first], 'saddle')} with {modes}{each}"
        parts = [f"{self.saddles[first]} with {modes}", *(f"{self.saddles[n]} with {n}" for n in rest)]
        return f"{counted(sum(self.saddles.values()), 'saddle')} ({', '.join(parts)})"

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
            f"{counted(n, 'marginal fixed point')} {were} found{self._beside('marginal')}, with a direction "
            f"{at_each}along which the state neither decays nor grows to the precision reached: consistent "
            "with an approximately continuous attractor"
        )

    def _leaky(self) -> str:
        found = f"one stable fixed point was found{self._beside('stable')}, and its slowest mode"
        if self.turns:
            return (
                f"{found} turns at {self.turns} while it decays with a time constant of {self._slowest()}: "
                "consistent with a rotation that fades slowly, not with integration along a line"
            )
        return (
            f"{found} decays with a time constant of {self._slowest()}: consistent with leaky integration "
            "along a slow direction"
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
            f"no fixed point was found, only {counted(self.kinds['slow'], 'slow point')}, where the speed "
            "has a minimum: a state can linger there, not stay"
        )

    def _none(self) -> str:
        if not np.isfinite(self.least_residual):
            return "no fixed point was found, so that this analysis names no mechanism"
        return (
            "no fixed point was found, so that this analysis names no mechanism; the slowest state that any "
            f"start reached still moves, by {number(self.least_residual)} {self.per} in its fastest variable"
        )

    def _beside(self, kind: str) -> str:
        others = self.others(kind)
        return f", beside {others}" if others else ""

    def _slowest(self) -> str:
        share = number(self.slowest / self.trial)
        return f"{number(self.slowest)} {self.units}, {share} times the trial's length"


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
    "leaky": "one stable fixed point with a slow mode",
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
    "leaky": ("a perturbation of the slowest mode that fades much faster or slower than that",),
    "relaxing": ("states that stay away from the fixed point for much longer than that",),
    "departing": ("a stable fixed point that no start led to",),
    "slow": ("a state that stays at a slow point",),
    "none": (),
}
"""What would speak against each verdict."""


def take_censuses(activity: xr.Dataset, points: xr.Dataset) -> list[Census]:
    """Count what was found under each constant input, in the order of the conditions."""
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
    turns = _rotations(points, constants)
    units = str(constants.attrs.get("units", "steps"))
    per = "per step" if need_variable(points, "speed", "points").attrs.get("units") == "1/step" else "per tau"
    censuses = []
    for k, name in enumerate(names):
        mine = label == name
        stable = mine & (kind == "stable")
        modes, counts = np.unique(n_unstable[mine & (kind == "saddle")], return_counts=True)
        censuses.append(
            Census(
                condition=str(name),
                kinds={which: int((mine & (kind == which)).sum()) for which in FIXED_POINT_KINDS},
                saddles={int(n): int(count) for n, count in zip(modes, counts, strict=True)},
                n_readouts=_count_readouts(activity, points.isel({FIXED_POINT: stable})),
                slowest=float(slowest[stable].max()) if stable.any() else np.nan,
                turns=turns[np.flatnonzero(stable)[slowest[stable].argmax()]] if stable.any() else "",
                trial=_trial_length(activity, units),
                units=units,
                index_sum=float(index_sum[k]),
                index_sum_expected=float(expected[k]),
                least_residual=_least_residual(points, str(name)),
                per=per,
            )
        )
    return censuses


def _rotations(points: xr.Dataset, constants: xr.DataArray) -> list[str]:
    """Return how fast the slowest mode of each point turns, in words, empty where it does not."""
    if "frequency" not in points or not points.sizes[FIXED_POINT]:
        return [""] * points.sizes[FIXED_POINT]
    frequency = points["frequency"].isel(mode=constants.argmax("mode"))
    units = str(frequency.attrs.get("units", ""))
    return [f"{number(float(own))} {units}".strip() if own else "" for own in frequency.to_numpy()]


def _least_residual(points: xr.Dataset, condition: str) -> float:
    """Return the smallest residual that a start of this condition reached, NaN where none is known."""
    if "start_residual" not in points or "start_condition" not in points:
        return np.nan
    mine = points["start_condition"].to_numpy().astype(str) == condition
    residual = points["start_residual"].to_numpy()[mine]
    residual = residual[np.isfinite(residual)]
    return float(residual.min()) if residual.size else np.nan


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


def _mechanism(censuses: list[Census]) -> str:
    by_clause: dict[str, list[str]] = {}
    for census in censuses:
        by_clause.setdefault(census.clause(), []).append(f'"{census.condition}"')
    if len(by_clause) == 1:
        ((clause, names),) = by_clause.items()
        where = names[0] if len(names) == 1 else f"at each of {listed(names)}"
        return f"With the input held constant ({where}), {clause}."
    if len(by_clause) <= 3:
        parts = [f"at {listed(names)}, {clause}" for clause, names in by_clause.items()]
        return f"With the input held constant {'; '.join(parts)}."
    verdicts = [census.verdict for census in censuses]
    parts = [f"{words} in {verdicts.count(key)}" for key, words in _VERDICTS.items() if key in verdicts]
    return (
        f"With the input held constant in turn at each of {len(censuses)} values, there were {listed(parts)}."
    )


def _evidence(activity: xr.Dataset, share: xr.DataArray, points: xr.Dataset, censuses: list[Census]) -> str:
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
        over = counted(activity.sizes[TRIAL], "recorded trial")
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
    text = f"{converged} of {counted(label.size, 'start')} converged to a fixed point"
    if ended_slow:
        text += f" and {ended_slow} to a slow point"
    residual = need_variable(points, "residual", "points").to_numpy()[~slow]
    if residual.size:
        text += f" (largest residual {residual.max():.1e})"
    return text


def _index_evidence(censuses: list[Census]) -> str:
    agrees = [census.index_agrees for census in censuses]
    n, n_right, n_untested = len(censuses), agrees.count(True), agrees.count(None)
    if n_untested == n:
        return "there is no expected index sum to check completeness with"
    if n == 1:
        expected = number(censuses[0].index_sum_expected)
        verdict = "as expected" if n_right else f"where {expected} is expected"
        return f"the index sum is {number(censuses[0].index_sum)}, {verdict}"
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


def _contradiction(censuses: list[Census]) -> str:
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
    return f"{start} would be contradicted by {listed(ways, between='; ', last='; or by ')}."


def _missing(wrong: list[Census], *, alone: bool) -> str:
    """Say by how much index sums are off, and what that means."""
    if len(wrong) > 3:
        return (
            f"the index sum is not the expected one in {len(wrong)} conditions, so that fixed points are "
            "missing there and the counts are lower bounds"
        )
    parts = []
    for census in wrong:
        found, expected = number(census.index_sum), number(census.index_sum_expected)
        where = "" if alone else f' at "{census.condition}"'
        # Every point adds +1 or -1.
        n = abs(round(census.index_sum - census.index_sum_expected))
        least = f"at least {counted(n, 'fixed point')} {'is' if n == 1 else 'are'} missing"
        parts.append(f"the index sum{where} is {found} where {expected} is expected, so that {least}")
    return f"{listed(parts)}, and the counts are lower bounds"
