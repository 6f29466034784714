"""Stretches of time by their names: an epoch cut out of every trial, trials put in time with an event.

Reads what a recording tells of its epochs: ``epoch`` on ``time`` where all trials share them,
``<epoch>_start`` and ``<epoch>_stop`` in ms on ``trial`` where they differ. The result tells it in the same
way, so that it can be cut and aligned again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurornn.activity.cutting import cut
from neurornn.activity.origin import read_origin
from neurornn.vocabulary import (
    CONDITION,
    MILLISECONDS,
    TIME,
    TRIAL,
    InputError,
    need_dims,
    need_finite,
    unknown_name,
)

EPOCH = "epoch"
TIME_OFFSET = "time_offset"
"""Coordinate: the moment of the recording, in ms, at which a trial's own axis of time has its 0."""
ROUNDING = 1e-6
"""Share of a step by which a moment may miss the start of a step that is meant."""


def epoch(activity: xr.Dataset, names: str | Sequence[str]) -> xr.Dataset:
    """Cut an epoch out of every trial.

    Parameters
    ----------
    activity : xarray.Dataset
        As `neurornn.record` gives it; also averages over trials, of a task whose trials share their epochs.
    names : str or sequence of str
        One epoch, or several: from the beginning of the first to the end of the last. Steps between them that
        belong to none are not valid, so that every statistic is that of the union, and time runs on evenly.

    Returns
    -------
    xarray.Dataset
        Every variable that has ``time``, shorter; the rest as it was. Where all trials share their epochs
        (``epoch`` on ``time``), ``time`` keeps its labels. Where they differ, each trial's own steps are put
        side by side: ``time`` counts from the epoch's first step, trials with a shorter epoch end in steps
        that are not ``valid``, the epochs' bounds are told in the new time, and ``time_offset (trial,)`` is
        the moment of the recording at which it is 0. Steps that are not valid hold NaN, 0 or an empty string.

    Raises
    ------
    InputError
        Where there is no such epoch, or no trial has a step of it.

    Examples
    --------
    >>> from neurornn import RateRNN, record
    >>> from neurornn.tasks import DelayedComparison, FlipFlop
    >>> activity = record(RateRNN(2, 5, 3), DelayedComparison(), 20)
    >>> delay = epoch(activity, "delay")
    >>> bool((delay.valid.sum("time") * 100.0 == activity.delay_stop - activity.delay_start).all())
    True
    """
    steps = _Steps.of(activity)
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise InputError(f"`names` needs at least one epoch, got none: take of {', '.join(steps.epochs)}")
    for name in wanted:
        steps.need_epoch(name)
    inside = steps.inside(wanted)
    if not inside.any():
        raise InputError(f"no trial has a step of {' or '.join(map(repr, wanted))}: choose another epoch")
    first = inside.argmax(axis=-1)
    length = inside.shape[-1] - inside[..., ::-1].argmax(axis=-1) - first
    if inside.ndim == 1:
        # A plain choice of steps, which leaves the axis of time as it is.
        chosen = inside[first : first + length]
        return cut(activity, steps.lead, int(first), chosen)
    length[~inside.any(axis=1)] = 0
    n_steps = int(length.max())
    index = np.minimum(first[:, None] + np.arange(n_steps), inside.shape[1] - 1)
    chosen = np.take_along_axis(inside, index, axis=1) & (np.arange(n_steps) < length[:, None])
    shift = np.where(length > 0, steps.time[first], np.nan)
    return steps.shifted(first, chosen, steps.time[:n_steps] - steps.time[0], shift)


def align(
    activity: xr.Dataset, to: str, *, before: float | None = None, after: float | None = None
) -> xr.Dataset:
    """Put every trial in time with an event of its own.

    Parameters
    ----------
    activity : xarray.Dataset
        As `neurornn.record` gives it; also averages over trials, of a task whose trials share their epochs.
    to : str
        What happens at 0 ms: the beginning of an epoch, by its name, or one of its bounds,
        ``"<epoch>_start"`` and ``"<epoch>_stop"``; or any coordinate on ``trial`` with a moment of the
        recording in ms, such as a response, NaN where there is none. The step that holds the moment becomes
        the one at 0 ms.
    before, after : float, optional
        How much in ms is kept before the event and from it on: steps from ``-before`` up to, but without,
        ``after``, floored to whole steps. By default all that any trial has.

    Returns
    -------
    xarray.Dataset
        Every variable that has ``time``, on the new axis; the rest as it was. ``time_offset`` is the moment
        of the recording at which it is 0. Steps that a trial does not have are not ``valid`` and hold NaN, 0
        or an empty string; so are all steps of a trial without the event. The bounds of epochs are told in
        the new time.

    Raises
    ------
    InputError
        Where nothing has that name, no trial has the event, or no step is left.

    Examples
    --------
    >>> from neurornn import RateRNN, record
    >>> from neurornn.tasks import DelayedComparison
    >>> activity = record(RateRNN(2, 5, 3), DelayedComparison(), 20)
    >>> around = align(activity, to="response", before=300, after=100)
    >>> around.time.values
    array([-300., -200., -100.,    0.])
    >>> bool((around.time_offset == activity.response_start).all())
    True
    """
    steps = _Steps.of(activity)
    event = steps.moment(to)
    step = steps.length
    index = np.floor((event - steps.time[0]) / step + ROUNDING)
    # The end of the last step is a moment of the recording too.
    index = np.where((index >= 0) & (index <= len(steps.time)), index, np.nan)
    if np.isnan(index).all():
        raise InputError(f"no trial has the event {to!r} within its time: choose another")
    valid = steps.valid
    lasts = valid.any(axis=-1)
    first_valid = np.where(lasts, valid.argmax(axis=-1), np.nan)
    end = np.where(lasts, len(steps.time) - valid[..., ::-1].argmax(axis=-1), np.nan)
    n_before = _window(before, "before", step, index - first_valid)
    n_after = _window(after, "after", step, end - index)
    if n_before + n_after < 1:
        raise InputError(
            f"no step is left between {-n_before * step:g} and {n_after * step:g} ms of {to!r}: `before` "
            "and `after` must leave at least one"
        )
    is_there = ~np.isnan(index)
    # A trial without the event goes along with the others, so that those may still share their epochs.
    first = np.where(is_there, index, np.nanmin(index)).astype(int) - n_before
    counts = np.broadcast_to(is_there[..., None], (*index.shape, n_before + n_after))
    shift = steps.time[0] + index * step
    return steps.shifted(first, counts, np.arange(-n_before, n_after) * step, shift, event=to)


def _window(length: float | None, name: str, step: float, reach: np.ndarray) -> int:
    """Return how many steps a window has on one side; all that any trial reaches where nothing is said."""
    if length is None:
        return int(max(np.nanmax(reach), 0)) if not np.isnan(reach).all() else 0
    if (
        isinstance(length, bool)
        or not isinstance(length, int | float | np.number)
        or not math.isfinite(length)
    ):
        raise InputError(f"`{name}` must be a finite number of ms, got {length!r}")
    return math.floor(float(length) / step + ROUNDING)


@dataclass(frozen=True)
class _Steps:
    """What a dataset tells of its steps and epochs.

    ``bounds`` are in ms, one number each or one per trial; ``labels`` is ``epoch`` on ``time``.
    """

    activity: xr.Dataset
    lead: str | None
    time: np.ndarray
    labels: np.ndarray | None
    bounds: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, activity: xr.Dataset) -> _Steps:
        if not isinstance(activity, xr.Dataset):
            raise InputError(
                f"`activity` must be an xarray Dataset, got {type(activity).__name__}: of an array make one "
                "with array.to_dataset(name='rate')"
            )
        need_dims(activity, [TIME])
        if TIME not in activity.coords:
            raise InputError(
                "`activity` needs a coordinate 'time' in ms: add one with "
                "activity.assign_coords(time=dt * np.arange(activity.sizes['time']))"
            )
        if activity.sizes[TIME] == 0:
            raise InputError("`activity` must have steps, got 0 along 'time'")
        variables = activity.variables
        time = variables[TIME].to_numpy()
        if time.dtype.kind not in "iuf":
            raise InputError(f"'time' must be numbers of ms, got {time.dtype}")
        need_finite(time, TIME)
        lead = next((dim for dim in (TRIAL, CONDITION) if dim in activity.dims), None)
        own = (lead,) if lead else ()
        labels = None
        if EPOCH in activity.coords and variables[EPOCH].dims == (TIME,):
            labels = variables[EPOCH].to_numpy().astype(str)
        bounds = {}
        named = {str(key) for key in activity.coords}
        for key in map(str, activity.coords):
            name = key.removesuffix("_start")
            stop = f"{name}_stop"
            if name == key or stop not in named:
                continue
            pair = variables[key], variables[stop]
            if all(edge.dims in (own, ()) and edge.dtype.kind in "iuf" for edge in pair):
                bounds[name] = pair[0].to_numpy().astype(float), pair[1].to_numpy().astype(float)
        return cls(activity, lead, time.astype(float), labels, bounds)

    @property
    def epochs(self) -> list[str]:
        """Names of the epochs, in order of time where the time axis tells them."""
        named = (
            [] if self.labels is None else list(dict.fromkeys(name for name in self.labels.tolist() if name))
        )
        return [*named, *(name for name in self.bounds if name not in named)]

    @property
    def length(self) -> float:
        """Length of a step in ms."""
        gaps = np.diff(self.time)
        if not len(gaps):
            return self._length_in_origin
        length = float(self.time[-1] - self.time[0]) / len(gaps)
        if length <= 0 or np.abs(gaps - length).max() > 1e-3 * length:
            raise InputError("'time' must be evenly spaced and ascending: align needs steps of one length")
        return length

    @property
    def _length_in_origin(self) -> float:
        """Length of a step of the task that was recorded: what a single step cannot tell."""
        try:
            return float(read_origin(self.activity)["task"]["dt"])
        except (InputError, KeyError, TypeError):
            raise InputError(
                "`activity` has 1 step along 'time', and nothing tells how long that is: pass more steps"
            ) from None

    @property
    def valid(self) -> np.ndarray:
        """Which steps exist, shape (time,) or (trial, time)."""
        shape = (self.activity.sizes[self.lead],) if self.lead else ()
        if "valid" not in self.activity.variables:
            return np.ones((*shape, len(self.time)), bool)
        valid = self.activity.variables["valid"]
        return valid.transpose(*(dim for dim in (self.lead, TIME) if dim in valid.dims)).to_numpy()

    def need_epoch(self, name: object) -> None:
        if not self.epochs:
            raise InputError(
                "`activity` tells no epochs: give it 'epoch' on 'time', or '<epoch>_start' and "
                "'<epoch>_stop' in ms on 'trial', with activity.assign_coords"
            )
        if name not in self.epochs:
            unknown_name("epoch", name, self.epochs)

    def inside(self, names: Sequence[str]) -> np.ndarray:
        """Return which steps belong to any of some epochs, shape (time,) or (trial, time)."""
        found = np.zeros(len(self.time), bool)
        for name in names:
            if self.labels is not None and name in self.labels:
                own = self.labels == name
            else:
                slack = ROUNDING * (self.time[1] - self.time[0] if len(self.time) > 1 else 1.0)
                start, stop = (edge[..., None] - slack for edge in self.bounds[name])
                # Comparisons with NaN are false: such a trial has no step of the epoch.
                own = (self.time >= start) & (self.time < stop)
            found = found | own
        return found

    def edges(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the beginning and the end of an epoch in ms, one number each or one per trial."""
        if name in self.bounds:
            return self.bounds[name]
        steps = np.flatnonzero(self.inside([name]))
        return np.asarray(self.time[steps[0]]), np.asarray(self.time[steps[-1]] + self.length)

    def moment(self, name: str) -> np.ndarray:
        """Return when something happens in ms, one number or one per trial; NaN where it does not."""
        epoch, _, side = name.rpartition("_") if isinstance(name, str) else ("", "", "")
        if name in self.epochs:
            inside = self.inside([name])
            return np.where(inside.any(axis=-1), self.time[inside.argmax(axis=-1)], np.nan)
        if side in ("start", "stop") and epoch in self.epochs:
            return self.edges(epoch)[side == "stop"]
        own = (self.lead,) if self.lead else ()
        columns = {str(key): self.activity.variables[key] for key in self.activity.coords}
        moments = [
            key
            for key, values in columns.items()
            if values.dims == own and values.dtype.kind in "iuf" and key not in (TIME_OFFSET, self.lead)
        ]
        if name not in moments:
            if isinstance(name, str) and name in self.activity.variables:
                raise InputError(
                    f"`to` needs an epoch or a moment in ms for each trial, got {name!r}, which is "
                    f"{self.activity[name].dtype} on {self.activity[name].dims}"
                )
            edges = [f"{epoch}_{side}" for epoch in self.epochs for side in ("start", "stop")]
            unknown_name("event", name, [*self.epochs, *edges, *moments])
        values = self.activity[name]
        unit = values.attrs.get("units", MILLISECONDS)
        if unit != MILLISECONDS:
            raise InputError(f"`to` needs a moment in ms, got {name!r} in {unit!r}: convert it first")
        # A coordinate of the user's own is a moment of the recording, which may have been aligned since.
        return values.to_numpy().astype(float) - self.offset

    @property
    def offset(self) -> Any:
        """Moment of the recording at which time is 0, one number or one per trial."""
        return self.activity[TIME_OFFSET].to_numpy() if TIME_OFFSET in self.activity.coords else 0.0

    def shifted(
        self,
        first: np.ndarray,
        counts: np.ndarray,
        time: np.ndarray,
        shift: np.ndarray,
        event: str | None = None,
    ) -> xr.Dataset:
        """Return the dataset on another axis of time, and tell its epochs there.

        Parameters
        ----------
        first : ndarray of int, shape () or (trial,)
            Step that comes first.
        counts : ndarray of bool, shape (..., new time)
            Which of the steps are wanted.
        time : ndarray, shape (new time,)
        shift : ndarray, shape () or (trial,)
            Moment of the old axis at which the new one has its 0.
        event : str, optional
            What happens there.
        """
        activity = self.activity
        coordinates: dict[str, xr.Variable | None] = {}
        apart = first.ndim > 0 and len(first) > 0 and bool((first != first[0]).any())
        bounds = dict(self.bounds)
        if apart and self.labels is not None:
            # Trials that are moved by different steps share no labels on time any more.
            coordinates[EPOCH] = None
            bounds |= {name: self.edges(name) for name in dict.fromkeys(self.labels.tolist()) if name}
        moments = {TIME_OFFSET: self.offset + shift}
        for name, (start, stop) in bounds.items():
            moments |= {f"{name}_start": start - shift, f"{name}_stop": stop - shift}
        dims, shape = ((self.lead,), (activity.sizes[self.lead],)) if self.lead else ((), ())
        for name, moment in moments.items():
            attributes = {"units": MILLISECONDS}
            if name == TIME_OFFSET:
                attributes["long_name"] = "moment of the recording at which time is 0"
            coordinates[name] = xr.Variable(dims, np.broadcast_to(moment, shape), attributes)
        attributes = dict(activity.variables[TIME].attrs)
        if event is not None:
            attributes["long_name"] = f"start of the step, from {event}"
        coordinates[TIME] = xr.Variable((TIME,), time, attributes)
        return cut(activity, self.lead, first, counts, coordinates)
