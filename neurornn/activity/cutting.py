"""The same number of steps cut out of every trial, beginning wherever each of them begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurornn.vocabulary import TIME


def cut(
    activity: xr.Dataset,
    lead: str | None,
    first: int | np.ndarray,
    counts: np.ndarray,
    coordinates: Mapping[str, xr.Variable | None] | None = None,
) -> xr.Dataset:
    """Cut the same number of steps out of each trial.

    Parameters
    ----------
    activity : xarray.Dataset
        With the dimension ``time``.
    lead : str or None
        The dimension of its trials, where there is one.
    first : int, or ndarray of int of shape (trial,)
        Step that comes first, in all trials or in each. It may lie before the recording.
    counts : ndarray of bool, shape (new time,) or (trial, new time)
        Which of the steps are wanted. Those that lie outside the recording, or are not ``valid`` in it, do
        not count all the same.
    coordinates : mapping of str to Variable or None, optional
        Coordinates that the result has in place of the recording's, None for those that it loses.

    Returns
    -------
    xarray.Dataset
        ``valid`` is there where not all steps count; what does not count holds NaN, 0 or an empty string.
        Where trials begin apart, what was on ``time`` alone is on the trials too, and a coordinate ``time``
        is lost.

    Examples
    --------
    >>> rates = xr.Dataset({"rate": (("trial", "time"), np.arange(8.0).reshape(2, 4))})
    >>> cut(rates, "trial", np.array([1, 3]), np.array([[True, True], [True, False]])).rate.values
    array([[ 1.,  2.],
           [ 7., nan]])
    """
    starts = np.asarray(first)
    if starts.ndim and len(starts) and (starts == starts[0]).all():
        starts = starts[0]
    n_steps, n_new = activity.sizes[TIME], counts.shape[-1]
    index = starts[..., None] + np.arange(n_new)
    inside = (index >= 0) & (index < n_steps)
    is_slice = not starts.ndim and bool(inside.all())
    place: dict[Any, Any] = {TIME: index.clip(0, n_steps - 1)}
    if is_slice:
        # A view of the recording, which is not to be written into.
        place = {TIME: slice(int(starts), int(starts) + n_new)}
    elif starts.ndim:
        rows = xr.Variable((lead,), np.arange(len(starts)))
        place = {lead: rows, TIME: xr.Variable((lead, TIME), place[TIME])}

    given: dict[Any, xr.Variable | None] = dict(coordinates or {})
    if starts.ndim:
        given.setdefault(TIME, None)
    variables = {name: own for name, own in activity.variables.items() if name not in given}
    for name, own in variables.items():
        if TIME in own.dims:
            variables[name] = _taken(own, place)
    valid = xr.Variable((lead, TIME) if counts.ndim > 1 else (TIME,), counts)
    there = xr.Variable((lead, TIME) if inside.ndim > 1 else (TIME,), inside)
    if not is_slice:
        valid = valid & there
    if "valid" in variables:
        valid = variables["valid"] & valid
    if not valid.values.all():
        if lead is not None:
            valid = valid.set_dims({lead: activity.sizes[lead], TIME: n_new}).transpose(lead, TIME)
        for name, own in variables.items():
            if TIME in own.dims and name not in (TIME, "valid"):
                kept = valid if set(valid.dims) <= set(own.dims) else there
                missing = own.dtype.type(0) if name == "mask" else _missing(own.dtype)
                variables[name] = _where(own, kept, missing, in_place=not is_slice)
        variables["valid"] = valid
    variables |= {name: own for name, own in given.items() if own is not None}
    named = {*activity.coords, *given} & set(variables)
    # Once, and with all that is new: what xarray does to put a dataset together costs more than the rest.
    return xr.Dataset(
        {name: own for name, own in variables.items() if name not in named},
        {name: own for name, own in variables.items() if name in named},
        activity.attrs,
    )


def _taken(variable: xr.Variable, place: dict[Any, Any]) -> xr.Variable:
    """Return the steps of a variable, in the order of dimensions that it has."""
    if len(place) > 1 and not set(place) <= set(variable.dims):
        return variable.isel({TIME: place[TIME]})
    if len(place) > 1 and isinstance(variable.data, np.ndarray):
        # As xarray would, without the time that it takes to find this out.
        first = variable.transpose(*place, ...)
        rows, steps = (own.values for own in place.values())
        taken = xr.Variable(first.dims, first.values[rows[:, None], steps], variable.attrs)
    else:
        taken = variable.isel(place)
    return taken if taken.dims == variable.dims else taken.transpose(*variable.dims)


def _where(variable: xr.Variable, kept: xr.Variable, missing: Any, *, in_place: bool) -> xr.Variable:
    """Replace what is not kept; in place where the numbers are in memory of their own."""
    if kept.values.all():
        return variable
    if not in_place or not isinstance(variable.data, np.ndarray):
        return variable.where(kept, missing).transpose(*variable.dims)
    variable.transpose(*kept.dims, ...).values[~kept.values] = missing
    return variable


def _missing(dtype: np.dtype) -> Any:
    """Return what stands where there is nothing, without changing the kind of numbers."""
    return np.array(np.nan, dtype)[()] if dtype.kind in "fc" else np.zeros((), dtype)[()]
