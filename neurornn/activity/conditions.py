"""Averages over the trials of each condition, of valid steps only: array functions, a labelled one on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurornn.vocabulary import CONDITION, TIME, TRIAL, InputError, need_choice, need_dims, need_variable

AVERAGED = ("rate", "output")
"""What is averaged where nothing is said."""
BY = "by"
"""Attribute of ``condition``: the names of the coordinates that conditions are made of."""
SPREADS = {
    "standard_deviation": "standard deviation over the trials of a condition",
    "standard_error": "standard error of the mean over the trials of a condition",
}


def condition_average(
    activity: xr.Dataset,
    by: str | Sequence[str],
    *,
    variables: str | Sequence[str] | None = None,
    spread: str | None = None,
) -> xr.Dataset:
    """Average the activity over the trials of each condition, separately for every unit and step.

    Parameters
    ----------
    activity : xarray.Dataset
        With the dimension ``trial``, as `neurornn.record` gives it.
    by : str or sequence of str
        Coordinates on ``trial``; each combination of their values that occurs is one condition.
    variables : str or sequence of str, optional
        What is averaged: variables or coordinates of numbers on ``trial``, such as ``state``, ``input`` or
        ``score``. By default ``rate`` and ``output``.
    spread : {"standard_deviation", "standard_error"}, optional
        Also how the trials of a condition differ, as ``<variable>_standard_deviation`` (ddof 1) or
        ``<variable>_standard_error``; NaN where there are fewer than two.

    Returns
    -------
    xarray.Dataset
        ``rate (condition, time, unit)``, and the others likewise, in float64. A step counts in the trials
        that have it: ``n_valid (condition, time)`` says how many these are, and where there is none, the
        average is NaN and not ``valid (condition, time)``. ``condition`` is labelled ``"coherence=6.4,
        choice=1"``, each value stands beside as a coordinate (the attribute ``by`` names these), and
        ``n_trials (condition,)`` counts. Other coordinates on ``trial`` stay where all trials of each
        condition agree in them; what has no ``trial`` stays as it is.

    Raises
    ------
    InputError
        Where a coordinate is missing or not on ``trial``, or there is nothing to average.

    Examples
    --------
    >>> activity = xr.Dataset(
    ...     {"rate": (("trial", "time", "unit"), np.arange(8.0).reshape(4, 2, 1))},
    ...     coords={"cue": ("trial", [0, 1, 0, 1])},
    ... )
    >>> condition_average(activity, "cue").rate.squeeze().values
    array([[2., 3.],
           [4., 5.]])
    """
    need_dims(activity, (TRIAL,))
    levels, member, n_trials = _conditions(activity, by)
    names = _chosen(activity, variables)
    if spread is not None:
        need_choice(spread, "spread", SPREADS)
    n_conditions = len(n_trials)
    # Of variables, since xarray makes of each `activity[name]` an array with all the labels that fit it.
    variables_of = activity.variables
    valid = variables_of.get("valid")
    by_step = None
    if valid is not None and {TRIAL, TIME} == set(valid.dims):
        by_step = valid.transpose(TRIAL, TIME).to_numpy()
    found: dict[str, xr.Variable] = {}
    n_valid = None
    for name in names:
        variable = variables_of[name]
        has_steps = TIME in variable.dims
        rest = [dim for dim in variable.dims if dim not in (TRIAL, TIME)]
        dims = [CONDITION, *([TIME] if has_steps else []), *rest]
        values = variable.transpose(TRIAL, ..., *rest).data
        counted = by_step if has_steps else None
        mean, count = group_means(values, member, n_conditions, counted)
        found[name] = xr.Variable(dims, mean, variable.attrs)
        if has_steps:
            n_valid = count
        if spread is not None:
            deviation = group_deviations(values, member, mean, count, counted)
            if spread == "standard_error":
                deviation /= np.sqrt(np.where(count > 0, count, np.nan)).reshape(
                    count.shape + (1,) * len(rest)
                )
            found[f"{name}_{spread}"] = xr.Variable(
                dims, deviation, {**_unit(variable), "long_name": SPREADS[spread]}
            )
    if n_valid is not None:
        found["n_valid"] = xr.Variable((CONDITION, TIME), n_valid, {"long_name": "trials that have the step"})
        found["valid"] = xr.Variable((CONDITION, TIME), n_valid > 0)
    coordinates = _agreeing(activity, {*levels, *found, CONDITION, TRIAL}, member, n_conditions)
    for other, own in variables_of.items():
        if TRIAL not in own.dims and other != CONDITION:
            (coordinates if other in activity.coords else found)[str(other)] = own
    for name, values in levels.items():
        coordinates[name] = xr.Variable((CONDITION,), values, variables_of[name].attrs)
    labels = [
        ", ".join(f"{name}={value}" for name, value in zip(levels, row, strict=True))
        for row in zip(*levels.values(), strict=True)
    ]
    coordinates[CONDITION] = xr.Variable((CONDITION,), labels, {BY: ", ".join(levels)})
    coordinates["n_trials"] = xr.Variable((CONDITION,), n_trials)
    return xr.Dataset(found, coordinates, activity.attrs)


def group_means(
    values: np.ndarray, group: np.ndarray, n_groups: int, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Average over the trials of each group.

    Parameters
    ----------
    values : ndarray or dask array, shape (trial, time, ...) or, without ``valid``, (trial, ...)
    group : ndarray of int, shape (trial,)
        To which group each trial belongs, from 0.
    n_groups : int
    valid : ndarray of bool, shape (trial, time), optional
        Which steps count; all by default.

    Returns
    -------
    mean : ndarray, shape (group, time, ...)
        In float64; NaN where nothing counts.
    count : ndarray of int, shape (group, time), or (group,) for values that are one number per trial

    Examples
    --------
    >>> valid = np.array([[True, True], [True, False]])
    >>> group_means(np.array([[1.0, 2.0], [3.0, 8.0]]), np.array([0, 0]), 1, valid)
    (array([[2., 2.]]), array([[2, 1]]))
    """
    total = np.zeros((n_groups, *values.shape[1:]))
    # Trial by trial into its group's sum: no copy of the values, and what is wrong in a group stays there.
    for own, g, where in _each(values, group, valid):
        np.add(total[g, ...], own, out=total[g, ...], where=where)
    count = np.zeros((n_groups, *values.shape[1:2]), dtype=np.int64)
    np.add.at(count, group, 1 if valid is None else valid.astype(np.int64))
    number = count.reshape(count.shape + (1,) * (total.ndim - count.ndim))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(total, number, out=total), count


def group_deviations(
    values: np.ndarray,
    group: np.ndarray,
    mean: np.ndarray,
    count: np.ndarray,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """Return the standard deviation (ddof 1) over the trials of each group.

    Parameters
    ----------
    values, group, valid
        As for `group_means`.
    mean, count : ndarray
        What it returned.

    Returns
    -------
    ndarray, shape (group, time, ...)
        NaN where fewer than two trials count.
    """
    total = np.zeros_like(mean)
    for own, g, where in _each(values, group, valid):
        np.add(total[g, ...], (own - mean[g]) ** 2, out=total[g, ...], where=where)
    freedom = np.where(count > 1, count - 1, np.nan).reshape(count.shape + (1,) * (total.ndim - count.ndim))
    return np.sqrt(total / freedom)


def _each(values: Any, group: np.ndarray, valid: np.ndarray | None) -> Iterator[tuple[np.ndarray, int, Any]]:
    """Yield each trial's values, its group, and which of its entries count."""
    whole = np.ones(len(values), bool) if valid is None else np.all(valid, axis=1)
    first = 0
    # What lies on the disk is read chunk by chunk, and never held whole.
    for size in values.chunks[0] if hasattr(values, "chunks") else [len(values)]:
        slab = np.asarray(values[first : first + size])
        for k, own in enumerate(slab, start=first):
            where: Any = True
            if valid is not None and not whole[k]:
                where = valid[k].reshape(-1, *(1,) * (own.ndim - 1))
            yield own, int(group[k]), where
        first += size


def _conditions(
    activity: xr.Dataset, by: str | Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the values of each condition, the condition of each trial, and how many trials each has."""
    names = [by] if isinstance(by, str) else list(by)
    if not names:
        raise InputError("`by` needs at least one coordinate on 'trial', got none")
    if activity.sizes[TRIAL] == 0:
        raise InputError("`activity` must have trials, got 0 along 'trial': record some first")
    columns = {}
    for name in names:
        column = need_variable(activity, name)
        if column.dims != (TRIAL,):
            raise InputError(f"`by` needs coordinates on 'trial' alone, got {name!r} on {column.dims}")
        values = column.to_numpy()
        # Files give strings back as objects, which NumPy sorts slowly.
        columns[name] = values.astype(str) if values.dtype.kind in "OT" else values
    levels, codes = zip(*(np.unique(column, return_inverse=True) for column in columns.values()), strict=True)
    code = np.zeros(activity.sizes[TRIAL], dtype=np.int64)
    for level, own in zip(levels, codes, strict=True):
        # Renumbered after each coordinate, so that no product of many levels overflows.
        _, code = np.unique(code * len(level) + own, return_inverse=True)
    _, first, member, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    return {name: column[first] for name, column in columns.items()}, member, count


def _chosen(activity: xr.Dataset, variables: str | Sequence[str] | None) -> list[str]:
    if variables is None:
        names = [name for name in AVERAGED if name in activity]
        if not names:
            raise InputError(
                "`activity` has neither 'rate' nor 'output': say what is to be averaged with `variables`"
            )
    else:
        names = [variables] if isinstance(variables, str) else list(variables)
        if not names:
            raise InputError("`variables` needs at least one name, got none")
    for name in names:
        own = need_variable(activity, name)
        if TRIAL not in own.dims or own.dtype.kind not in "biuf" or name == "valid":
            raise InputError(
                f"`variables` needs numbers on 'trial', got {name!r}, which is {own.dtype} on {own.dims}"
            )
    return names


def _agreeing(
    activity: xr.Dataset, taken: set[Any], member: np.ndarray, n_conditions: int
) -> dict[Any, xr.Variable]:
    """Return the coordinates on ``trial`` in which all trials of each condition agree."""
    found = {}
    first = np.full(n_conditions, -1)
    first[member[::-1]] = np.arange(len(member))[::-1]
    for name in activity.coords:
        own = activity.variables[name]
        if own.dims != (TRIAL,) or name in taken:
            continue
        values = own.to_numpy()
        shared = values[first]
        same = values == shared[member]
        if values.dtype.kind == "f":
            same |= np.isnan(values) & np.isnan(shared[member])
        if same.all():
            found[name] = xr.Variable((CONDITION,), shared, own.attrs)
    return found


def _unit(variable: xr.Variable) -> dict[str, Any]:
    return {"units": variable.attrs["units"]} if "units" in variable.attrs else {}
