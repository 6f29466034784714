"""Activity from elsewhere: recorded neurons, or another program's network, as a labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.activity.origin import ORIGIN, versions
from neurornn.tasks.trials import TAKEN_NAMES
from neurornn.vocabulary import (
    INPUT_CHANNEL,
    MILLISECONDS,
    OUTPUT_CHANNEL,
    SCHEMA_VERSION,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    nearest_name,
    need_finite,
    need_positive,
)

DIMS = (TRIAL, TIME, UNIT)
SYNONYMS = {
    **dict.fromkeys(
        ("neuron", "neurons", "cell", "cells", "units", "electrode", "channel", "n", "feature"), UNIT
    ),
    **dict.fromkeys(("trials", "repeat", "rep", "epoch", "batch", "session", "condition", "k"), TRIAL),
    **dict.fromkeys(("times", "t", "step", "steps", "bin", "bins", "sample", "frame", "timepoint"), TIME),
}
"""What the field calls the three axes, and what they are called here."""
BEHAVIOUR = ("score", "choice", "ideal_score")
"""Names that a recording of ours gives, and that one from elsewhere may bring along."""


def activity_from_arrays(
    rate: np.ndarray | torch.Tensor | xr.DataArray | Sequence[np.ndarray],
    dims: Sequence[str] | None = None,
    time: np.ndarray | Sequence[float] | None = None,
    conditions: Mapping[str, Any] | None = None,
    *,
    dt: float | None = None,
    valid: np.ndarray | None = None,
    inputs: np.ndarray | Sequence[np.ndarray] | None = None,
    outputs: np.ndarray | Sequence[np.ndarray] | None = None,
    unit_labels: Mapping[str, Any] | None = None,
    epochs: Mapping[str, tuple[Any, Any]] | None = None,
) -> xr.Dataset:
    """Make an activity dataset of arrays from elsewhere, which every analysis accepts.

    Parameters
    ----------
    rate : array, or sequence of arrays
        Rates, or any numbers per unit: its dtype is kept where it is float32 or float64. Of trials of unequal
        length a sequence with one array for each, which are padded to the longest.
    dims : sequence of str, optional
        What the axes of ``rate`` are: ``"trial"``, ``"time"`` and ``"unit"``, in any order; without
        ``"trial"`` there is one. By default ``("trial", "time", "unit")``, or the names that a DataArray has.
        Of a sequence of arrays ``"trial"`` is the sequence itself.
    time : array, shape (time,), optional
        Start of each step in ms, evenly spaced. Of a sequence of arrays, as long as the longest.
    conditions : mapping of str to array, shape (trial,), optional
        What each trial is about; a pandas DataFrame with a row per trial will do. With ``choice`` (whole
        numbers, -1 for none) and ``score`` (numbers) among them, behaviour is analysed as that of a network.
    dt : float, optional
        Length of a step in ms, in place of ``time``, which then begins at 0.
    valid : array of bool, shape (trial, time), optional
        Which steps exist. By default those in which any unit has a number: trials padded with NaN are
        recognised.
    inputs, outputs : array, shape (trial, time, channel), or sequence of arrays (time, channel), optional
        What went in and came out, or what the animal saw and did.
    unit_labels : mapping of str to array, shape (unit,), optional
        What the units are, for example ``area``, or ``population``.
    epochs : mapping of str to (start, stop), optional
        Half-open stretches in ms, each edge a number, or one for each trial (NaN where a trial has none).

    Returns
    -------
    xarray.Dataset
        ``rate (trial, time, unit)``, ``valid (trial, time)``, ``input`` and ``output`` where they were given,
        with coordinates as `neurornn.record` has them.

    Raises
    ------
    InputError
        Where names, shapes or numbers do not fit; the sentence tells what to do.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spikes = rng.poisson(3.0, (50, 20, 40))
    >>> activity = activity_from_arrays(
    ...     spikes, ("unit", "trial", "time"), dt=25.0, conditions={"coherence": np.repeat([0.0, 0.5], 10)}
    ... )
    >>> dict(activity.rate.sizes), activity.time.values[:3]
    ({'trial': 20, 'time': 40, 'unit': 50}, array([ 0., 25., 50.]))
    """
    named = {} if conditions is None else dict(conditions)
    values, padding = _rates(rate, dims)
    n_trials, n_steps, n_units = values.shape
    moments = _time(time, dt, n_steps)
    there = _valid(values, padding, valid)
    values = _without(values, there)
    step = moments[1] - moments[0] if n_steps > 1 else dt
    coordinates: dict[str, Any] = {
        TIME: (TIME, moments, {"units": MILLISECONDS, "long_name": "start of the step"}),
        UNIT: np.arange(n_units),
    }
    coordinates |= _labels(named, "conditions", TRIAL, n_trials, TAKEN_NAMES - set(BEHAVIOUR))
    coordinates |= _labels(unit_labels, "unit_labels", UNIT, n_units, TAKEN_NAMES | set(named))
    _need_behaviour(coordinates)
    for name, own in _epochs(epochs, moments, step, n_trials).items():
        if name in coordinates:
            raise InputError(
                f"`epochs` make a coordinate {name!r}, which is there already: choose another name"
            )
        coordinates[name] = own
    data: dict[str, Any] = {
        "rate": (DIMS, values, {"long_name": "firing rate"}),
        "valid": ((TRIAL, TIME), there),
    }
    for name, array, channel in (("input", inputs, INPUT_CHANNEL), ("output", outputs, OUTPUT_CHANNEL)):
        if array is not None:
            channels = _channels(array, f"{name}s", n_trials, n_steps, there)
            data[name] = (TRIAL, TIME, channel), channels
            coordinates[channel] = [f"{name}_{k}" for k in range(channels.shape[2])]
    origin = {
        "schema": SCHEMA_VERSION,
        "recording": {"source": "arrays", "n_trials": n_trials},
        "versions": versions(),
    }
    attributes = {"Conventions": "CF-1.11", ORIGIN: json.dumps(origin, sort_keys=True)}
    return xr.Dataset(data, coordinates, attributes)


def _as_array(values: Any, name: str) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"`{name}` must be an array of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"`{name}` must hold real numbers, got {array.dtype}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _is_ragged(values: Any) -> bool:
    """Say whether trials come one by one: a sequence of arrays, or an array of such objects."""
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "O" and values.ndim == 1
    return isinstance(values, list | tuple) and any(
        isinstance(own, np.ndarray | torch.Tensor | xr.DataArray) and own.ndim > 0 for own in values
    )


def _padded(trials: list[np.ndarray], n_steps: int) -> np.ndarray:
    """Put arrays (time, ·) side by side, NaN behind the shorter ones."""
    kind = np.result_type(*(own.dtype for own in trials))
    result = np.full((len(trials), n_steps, trials[0].shape[1]), np.nan, dtype=kind)
    for k, own in enumerate(trials):
        result[k, : len(own)] = own
    return result


def _rates(rate: Any, dims: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rates as (trial, time, unit), and of trials that came one by one which steps they have."""
    if dims is None:
        dims = tuple(map(str, rate.dims)) if isinstance(rate, xr.DataArray) else DIMS
    if isinstance(dims, str) or not all(isinstance(own, str) for own in dims):
        raise InputError(
            f"`dims` must be a sequence of names such as ('trial', 'time', 'unit'), got {dims!r}"
        )
    names = tuple(dims)
    for name in names:
        if name not in DIMS:
            _unknown_dim(name, names)
    for name in (TIME, UNIT):
        if name not in names:
            raise InputError(
                f"`dims` needs 'time' and 'unit', got {names}: name the axes of `rate` in their order"
            )
    if len(set(names)) < len(names):
        raise InputError(f"`dims` must name each axis once, got {names}")
    if _is_ragged(rate):
        return _one_by_one(list(rate), tuple(name for name in names if name != TRIAL))
    array = _as_array(rate, "rate")
    if array.ndim != len(names):
        raise InputError(
            f"`rate` has {array.ndim} axes, of shape {array.shape}, and `dims` names {len(names)}: {names}; "
            "name every axis in its order"
        )
    if TRIAL not in names:
        array, names = array[None], (TRIAL, *names)
    array = array.transpose([names.index(name) for name in DIMS])
    for name, size in zip(DIMS, array.shape, strict=True):
        if size == 0:
            raise InputError(f"`rate` is empty: it has size 0 along {name!r}")
    return array, None


def _unknown_dim(name: str, names: tuple[str, ...]) -> None:
    meant = SYNONYMS.get(name.lower()) or nearest_name(name, DIMS)
    hint = (
        f"did you mean {meant!r}?"
        if meant and meant not in names
        else "average over it or select from it first"
    )
    raise InputError(f"`dims` must be of 'trial', 'time' and 'unit', got {name!r}: {hint}")


def _one_by_one(trials: list[Any], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for k, own in enumerate(trials):
        array = _as_array(own, f"rate[{k}]")
        if array.ndim != 2:
            raise InputError(
                f"each trial of `rate` must have the axes {names}, got shape {array.shape} in trial {k}"
            )
        arrays.append(array.transpose([names.index(name) for name in (TIME, UNIT)]))
    sizes = {own.shape[1] for own in arrays}
    if len(sizes) > 1:
        raise InputError(
            f"all trials of `rate` must have the same units, got {sorted(sizes)}: {names} are the axes"
        )
    lengths = np.array([len(own) for own in arrays])
    if lengths.max() == 0 or 0 in sizes:
        raise InputError("`rate` is empty: no trial has a step and a unit")
    return _padded(arrays, lengths.max()), np.arange(lengths.max()) < lengths[:, None]


def _time(time: Any, dt: float | None, n_steps: int) -> np.ndarray:
    if (time is None) == (dt is None):
        came = "neither" if time is None else "both"
        raise InputError(f"give `time`, the start of each step in ms, or `dt`, its length in ms; got {came}")
    if time is None:
        return np.arange(n_steps) * need_positive(dt, "dt", "ms")
    moments = _as_array(time, "time").astype(np.float64)
    if moments.shape != (n_steps,):
        raise InputError(
            f"`time` must have one moment for each of {n_steps} steps, got shape {moments.shape}"
        )
    need_finite(moments, "time")
    if n_steps > 1:
        gaps = np.diff(moments)
        step = (moments[-1] - moments[0]) / (n_steps - 1)
        # Seconds turned into ms are not even to the last bit.
        if step <= 0 or np.abs(gaps - step).max() > 1e-3 * step:
            raise InputError(
                f"`time` must be evenly spaced and ascending, in ms, got steps of {gaps.min():g} to "
                f"{gaps.max():g}: resample the rates first"
            )
    return moments


def _valid(values: np.ndarray, padding: np.ndarray | None, valid: Any) -> np.ndarray:
    """Return which steps exist, and refuse numbers that are none among them."""
    n_trials, n_steps, _ = values.shape
    if valid is None:
        there = ~np.isnan(values).all(axis=2)
    else:
        there = np.asarray(valid)
        if there.shape != (n_trials, n_steps) or there.dtype != bool:
            raise InputError(
                f"`valid` must be booleans of shape (trial, time) = {(n_trials, n_steps)}, got "
                f"{there.dtype} of {there.shape}"
            )
    if padding is not None:
        there = there & padding
    bad = ~np.isfinite(values) & there[:, :, None]
    if bad.any():
        trial, step, unit = (int(k) for k in np.argwhere(bad)[0])
        raise InputError(
            f"`rate` must be finite, got {values[trial, step, unit]} in trial {trial} at step {step} of "
            f"unit {unit}: leave the unit or the trial out, or say with `valid` which steps exist"
        )
    return there


def _without(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return an array (trial, time, ·) with NaN in the steps that do not exist."""
    return values if there.all() else np.where(there[:, :, None], values, values.dtype.type(np.nan))


def _labels(
    labels: Mapping[str, Any] | None, argument: str, dim: str, size: int, taken: set[str]
) -> dict[str, Any]:
    """Return coordinates along a dimension, as plain numbers, booleans or strings."""
    found = {}
    for name, values in ({} if labels is None else dict(labels)).items():
        if not isinstance(name, str) or name in taken:
            raise InputError(
                f"`{argument}` cannot have {name!r}, a name that datasets use: choose another name"
            )
        array = np.asarray(values)
        if array.dtype.kind == "O" and all(isinstance(own, str) for own in array.ravel()):
            array = array.astype(str)
        if array.dtype.kind not in "biufU":
            raise InputError(
                f"`{argument}` must be numbers, booleans or strings, got {array.dtype} for {name!r}: "
                "replace what is missing by a number or a word"
            )
        if array.shape != (size,):
            raise InputError(
                f"`{argument}` must have one value per {dim}, {size} in all, got {array.shape} for {name!r}"
            )
        found[name] = (dim, array)
    return found


def _need_behaviour(coordinates: dict[str, Any]) -> None:
    for name in BEHAVIOUR:
        if name not in coordinates:
            continue
        values = coordinates[name][1]
        kinds, what = ("iu", "whole numbers, -1 for none") if name == "choice" else ("biuf", "numbers")
        if values.dtype.kind not in kinds:
            raise InputError(f"{name!r} among the `conditions` must be {what}, got {values.dtype}")


def _epochs(
    epochs: Mapping[str, tuple[Any, Any]] | None, time: np.ndarray, step: float | None, n_trials: int
) -> dict[str, Any]:
    """Return the epochs as coordinates: on ``time`` where trials share them and they do not overlap."""
    edges: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, own in (epochs or {}).items():
        try:
            start, stop = (np.asarray(edge, dtype=np.float64) for edge in own)
        except (TypeError, ValueError):
            raise InputError(f"epoch {name!r} must be (start, stop) in ms, got {own!r}") from None
        if any(edge.shape not in ((), (n_trials,)) for edge in (start, stop)):
            raise InputError(f"epoch {name!r} must be (start, stop) in ms, each a number or one per trial")
        if (start > stop).any():
            raise InputError(f"epoch {name!r} must end after it begins, got {own!r}")
        edges[name] = start, stop
    shared = all(edge.ndim == 0 for both in edges.values() for edge in both)
    slack = 1e-6 * (step or 0.0)
    inside = [(time >= start - slack) & (time < stop - slack) for start, stop in edges.values() if shared]
    if edges and shared and np.sum(inside, axis=0).max() <= 1 and all(own.any() for own in inside):
        labels = np.full(len(time), "", dtype=object)
        for name, steps in zip(edges, inside, strict=True):
            labels[steps] = name
        return {"epoch": (TIME, labels.astype(str))}
    return {
        f"{name}_{side}": (TRIAL, np.broadcast_to(edge, (n_trials,)).copy(), {"units": MILLISECONDS})
        for name, both in edges.items()
        for side, edge in zip(("start", "stop"), both, strict=True)
    }


def _channels(values: Any, name: str, n_trials: int, n_steps: int, there: np.ndarray) -> np.ndarray:
    if _is_ragged(values):
        trials = [_as_array(own, f"{name}[{k}]") for k, own in enumerate(values)]
        if any(own.ndim != 2 or own.shape[1] != trials[0].shape[1] or len(own) > n_steps for own in trials):
            raise InputError(
                f"`{name}` must be one array (time, channel) for each trial, as long as its rates"
            )
        values = _padded(trials, n_steps)
    array = _as_array(values, name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[:2] != (n_trials, n_steps):
        raise InputError(
            f"`{name}` must have shape (trial, time, channel) = ({n_trials}, {n_steps}, ...), got "
            f"{array.shape}"
        )
    bad = ~np.isfinite(array) & there[:, :, None]
    if bad.any():
        raise InputError(
            f"`{name}` must be finite where the rates are, got NaN or infinity in {int(bad.sum())} places"
        )
    return _without(array, there)
