"""Activity as objects of pynapple, the time series package of systems neuroscience: trials on one clock."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr

from neurornn.storage.layout import free_name, plain_name
from neurornn.storage.trial_table import Session, epoch_times, session_of, trial_columns
from neurornn.vocabulary import TIME, TRIAL, UNIT, InputError, need_dims, need_variable

_SERIES = {"rate": "rates", "state": "states", "input": "inputs", "output": "outputs", "target": "targets"}


def to_pynapple(activity: xr.Dataset) -> dict[str, Any]:
    """Return an activity as pynapple objects.

    Needs ``pip install "neurornn[pynapple]"``. Trials stand one after another on one clock, in seconds;
    padding is left out. Intervals end in the middle of their last step: pynapple's hold both of their ends,
    and so part the samples.

    Parameters
    ----------
    activity : xarray.Dataset
        With ``rate (trial, time, unit)``, equal steps, and valid steps side by side in each trial.

    Returns
    -------
    dict
        ``rates``, and where the activity has them ``states``, ``inputs``, ``outputs`` and ``targets``: a
        TsdFrame each, a column a unit or channel, with what is known of it (population, sign, area) as
        metadata, or a Tsd where there is one number a step. ``trials``: an IntervalSet with conditions,
        scores and choices as metadata. ``epochs``: a dict of IntervalSets, one an epoch, whose metadata
        ``trial`` counts the trials from 0.

    Raises
    ------
    InputError
        Where pynapple is missing, or the trials cannot stand on one clock.

    References
    ----------
    Viejo, G. et al. (2023). Pynapple, a toolbox for data analysis in neuroscience. eLife 12, RP85786.
    doi:10.7554/eLife.85786

    Examples
    --------
    >>> import neurornn as nr
    >>> activity = nr.record(nr.RateRNN(2, 16, 2, seed=0), nr.tasks.FlipFlop(n_bits=2), n_trials=4)
    >>> objects = to_pynapple(activity)
    >>> objects["rates"].restrict(objects["trials"][1]).shape
    (100, 16)
    """
    pynapple = _pynapple()
    need_dims(need_variable(activity, "rate"), (TRIAL, TIME, UNIT), "activity.rate")
    session = session_of(activity)
    trials = pynapple.IntervalSet(session.start, session.stop)
    _describe(trials, trial_columns(activity))
    objects = {"trials": trials, "epochs": _epochs(pynapple, activity, session)}
    for name, own in _SERIES.items():
        if name in activity and {TRIAL, TIME} <= set(activity[name].dims) and activity[name].ndim <= 3:
            objects[own] = _series(pynapple, activity, name, session, trials)
    return objects


def _pynapple() -> Any:
    try:
        return import_module("pynapple")
    except ImportError as error:
        raise InputError('pynapple is not installed: pip install "neurornn[pynapple]"') from error


def _series(pynapple: Any, activity: xr.Dataset, name: str, session: Session, trials: Any) -> Any:
    variable = activity[name].transpose(TRIAL, TIME, ...)
    samples, times = session.join(variable.to_numpy()), session.sample_times
    if samples.ndim == 1:
        return pynapple.Tsd(times, samples, time_support=trials)
    channel = variable.dims[2]
    labels = activity[channel].to_numpy() if channel in activity.coords else np.arange(samples.shape[1])
    frame = pynapple.TsdFrame(times, samples, columns=labels, time_support=trials)
    about = {key: own for key, own in activity.variables.items() if own.dims == (channel,) and key != channel}
    _describe(frame, {str(key): own for key, own in about.items()})
    return frame


def _describe(target: Any, variables: dict[str, xr.Variable]) -> None:
    """Give an object metadata, under names that are none of its own."""
    taken = {*dir(target), *map(str, getattr(target, "columns", ()))}
    for name, variable in variables.items():
        own = free_name(plain_name(name), taken)
        taken.add(own)
        target.set_info({own: variable.to_numpy()})


def _epochs(pynapple: Any, activity: xr.Dataset, session: Session) -> dict[str, Any]:
    parts: dict[str, list[np.ndarray]] = {}
    for name, start, stop in epoch_times(activity):
        begin, end = session.interval(start, stop)
        rows = np.column_stack([begin, end, np.arange(len(begin))])
        # A trial without a step of the epoch, or one that has no such epoch (NaN), has no interval.
        parts.setdefault(name, []).append(rows[end > begin])
    epochs = {}
    for name, several in parts.items():
        rows = np.concatenate(several)
        begin, end, trial = rows[np.argsort(rows[:, 0])].T
        epochs[name] = pynapple.IntervalSet(begin, end)
        epochs[name].set_info({"trial": trial.astype(int)})
    return epochs
