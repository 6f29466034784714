"""What is known of each trial (conditions, scores, when its epochs begin and end), and trials on one clock.

A recording has an axis of trials, each of which begins at time zero. Experimenters' formats have one clock
that runs through the session: here the trials are laid one after another on it, in seconds, padding left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurornn.storage.schema import origin
from neurornn.vocabulary import MILLISECONDS, TIME, TRIAL, InputError, need_dims

_ROUNDING = 1e-6
"""Share of a step by which a moment may miss the start of a step that is meant."""
_SECONDS_PER = {MILLISECONDS: 1e-3, "s": 1.0}


def trial_columns(activity: xr.Dataset) -> dict[str, xr.Variable]:
    """Return what has one value a trial, by name.

    Examples
    --------
    >>> list(trial_columns(xr.Dataset({"rate": ("time", [1.0])}, coords={"cue": ("trial", [1, 2])})))
    ['cue']
    """
    return {str(name): own for name, own in activity.variables.items() if own.dims == (TRIAL,)}


def epoch_times(activity: xr.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, begin and end of each epoch, for every trial, in the units of ``time``.

    Those that differ between trials stand in pairs of coordinates ``<epoch>_start`` and ``<epoch>_stop``,
    those that all trials share in the labels ``epoch`` of the steps. A label that comes back after another
    one gives several epochs of the same name.

    Examples
    --------
    >>> labels = ("time", ["stimulus", "stimulus", "", "response"])
    >>> trials = xr.Dataset(coords={"time": [0.0, 10.0, 20.0, 30.0], "epoch": labels, "trial": [0]})
    >>> for name, start, stop in epoch_times(trials):
    ...     print(name, start, stop)
    stimulus [0.] [20.]
    response [30.] [40.]
    """
    columns = trial_columns(activity)
    own = set()
    for column, start in columns.items():
        name = column.removesuffix("_start")
        stop = columns.get(f"{name}_stop")
        if name != column and stop is not None and start.dtype.kind in "iuf" and stop.dtype.kind in "iuf":
            own.add(name)
            yield name, start.to_numpy().astype(float), stop.to_numpy().astype(float)
    labels = activity.variables.get("epoch")
    if labels is None or labels.dims != (TIME,) or TIME not in activity.coords:
        return
    names, time = labels.to_numpy().astype(str), activity[TIME].to_numpy().astype(float)
    # Where each run of equal labels begins; the last one ends a step behind the last step.
    begins = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.array([], int)
    edges = np.r_[time, time[-1] + (time[-1] - time[-2] if len(time) > 1 else 0)] if len(time) else time
    for first, after in zip(begins, np.r_[begins[1:], len(names)], strict=True):
        name = str(names[first])
        if name and name not in own:
            every = np.ones(activity.sizes.get(TRIAL, 0))
            yield name, edges[first] * every, edges[after] * every


@dataclass(frozen=True)
class Session:
    """Trials one after another on one clock, which begins with the first trial.

    Attributes
    ----------
    rate : float
        Steps per second.
    scale : float
        Seconds per unit of the recording's own time.
    valid : ndarray of bool, shape (trial, time)
    time : ndarray, shape (time,)
        Start of each step, as recorded.
    """

    rate: float
    scale: float
    valid: np.ndarray
    time: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """First valid step of each trial."""
        return self.valid.argmax(axis=1)

    @property
    def n_steps(self) -> np.ndarray:
        """Valid steps of each trial."""
        return self.valid.sum(axis=1)

    @property
    def first_sample(self) -> np.ndarray:
        """Where each trial begins in the joined series."""
        return np.cumsum(self.n_steps) - self.n_steps

    @property
    def sample_times(self) -> np.ndarray:
        """Start of each sample of the joined series in seconds."""
        return np.arange(int(self.valid.sum())) / self.rate

    @property
    def start(self) -> np.ndarray:
        """Begin of each trial's first step in seconds."""
        return self.first_sample / self.rate

    @property
    def stop(self) -> np.ndarray:
        """End of each trial in seconds: the middle of its last step.

        Half a step before the next trial begins, so that intervals which hold both of their ends, as many
        programs have them, hold the trial's own samples and no other's, however times are rounded.
        """
        return (self.first_sample + self.n_steps - 0.5) / self.rate

    def interval(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return begin and end (trial,) of a part of each trial in seconds, cut to what the trial has of it.

        ``start`` and ``stop`` are in units of the trials' own time. The end is the middle of the last step,
        as of trials; it equals the begin where the trial has no step of the part.
        """
        begin, end = (self._on_clock(moments) for moments in (start, stop))
        return begin, np.maximum(begin, end - 0.5 / self.rate)

    def _on_clock(self, moments: np.ndarray) -> np.ndarray:
        steps = np.clip((moments - self.time[self.first]) * self.scale * self.rate, 0.0, self.n_steps)
        # On the very time of a sample where it is meant, so that comparing the two finds it.
        whole = np.rint(steps)
        return (self.first_sample + np.where(np.abs(steps - whole) < _ROUNDING, whole, steps)) / self.rate

    def join(self, array: np.ndarray) -> np.ndarray:
        """Return the valid steps of an array (trial, time, ...) as (sample, ...)."""
        return array[self.valid]

    def cut(self, samples: np.ndarray, padding: object) -> np.ndarray:
        """Return samples as (trial, time, ...) again, with ``padding`` where there is no valid step."""
        array = np.full((*self.valid.shape, *samples.shape[1:]), padding, dtype=samples.dtype)
        array[self.valid] = samples
        return array


def session_of(activity: xr.Dataset) -> Session:
    """Return how an activity's trials lie on one clock.

    Raises
    ------
    InputError
        Where there are no trials, a trial has no valid step or a gap among them, or steps differ in length.
    """
    need_dims(activity, (TRIAL, TIME))
    shape = (activity.sizes[TRIAL], activity.sizes[TIME])
    valid = np.ones(shape, bool)
    if "valid" in activity:
        need_dims(activity["valid"], (TRIAL, TIME), "activity.valid")
        valid = activity["valid"].transpose(TRIAL, TIME).to_numpy().astype(bool)
    counts = valid.sum(axis=1)
    if shape[0] == 0 or not counts.all():
        which = f"trial {int((counts == 0).argmax())} has none" if shape[0] else "there are no trials"
        raise InputError(
            f"each trial must have a valid step to stand on a clock, and {which}: leave such trials out with "
            "activity.isel(trial=activity.valid.any('time'))"
        )
    last = shape[1] - valid[:, ::-1].argmax(axis=1)
    gaps = last - valid.argmax(axis=1) != counts
    if gaps.any():
        raise InputError(
            f"the valid steps of a trial must lie side by side, and trial {int(gaps.argmax())} has a gap: "
            "select the steps before or after it"
        )
    time = activity[TIME].to_numpy().astype(float)
    unit = activity[TIME].attrs.get("units", MILLISECONDS)
    if unit not in _SECONDS_PER:
        raise InputError(
            f"`time` must be in 'ms' or 's', got units {unit!r}: set activity.time.attrs['units'] to what "
            "it is in"
        )
    step = _step(activity, time)
    return Session(1 / (step * _SECONDS_PER[unit]), _SECONDS_PER[unit], valid, time)


def _step(activity: xr.Dataset, time: np.ndarray) -> float:
    """Return the length of a step in units of ``time``."""
    if TIME not in activity.coords:
        raise InputError(
            "`activity` needs a coordinate 'time' with the start of each step in ms: add it with "
            "activity.assign_coords(time=dt * numpy.arange(n_steps))"
        )
    if len(time) == 1:
        # One step has no length of its own; the recording says which dt its task had.
        task = origin(activity).get("task")
        step = float(task.get("dt", 0.0)) if isinstance(task, dict) else 0.0
    else:
        step = (time[-1] - time[0]) / (len(time) - 1)
    regular = np.isfinite(step) and step > 0
    if not regular or not np.allclose(np.diff(time), step, rtol=1e-6, atol=0):
        raise InputError(
            "`time` must rise in equal steps to stand on a clock: average or select steps so that it does"
        )
    # Differences carry rounding, which a length that people have chosen does not.
    return float(f"{step:.12g}")
