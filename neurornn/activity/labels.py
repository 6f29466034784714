"""Activity by its labels: functions Dataset -> Dataset that keep labels and use valid steps only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from neurornn.vocabulary import CONDITION, TIME, TRIAL, InputError, need_dims, need_variable


def condition_average(activity: xr.Dataset, by: str | Sequence[str]) -> xr.Dataset:
    """Average the activity over the trials of each condition, separately for every unit and step.

    Parameters
    ----------
    activity : xarray.Dataset
        With dimensions ``trial`` and ``time``, as `neurornn.record` gives it.
    by : str or sequence of str
        Coordinates on ``trial``; each combination of their values that occurs is one condition.

    Returns
    -------
    xarray.Dataset
        ``rate (condition, time, unit)``, and ``output`` likewise; steps that exist in no trial of a condition
        are NaN. ``condition`` is labelled ``"coherence=6.4, choice=1"``, each value stands beside as a
        coordinate, and ``n_trials (condition,)`` counts.

    Raises
    ------
    InputError
        Where a coordinate is missing or not on ``trial``.

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
    need_dims(activity, (TRIAL, TIME))
    names = [by] if isinstance(by, str) else list(by)
    if not names:
        raise InputError("`by` needs at least one coordinate on 'trial', got none")
    columns = []
    for name in names:
        column = need_variable(activity, name)
        if column.dims != (TRIAL,):
            raise InputError(f"`by` needs coordinates on 'trial' alone, got {name!r} on {column.dims}")
        columns.append(column.to_numpy())
    levels, codes = zip(*(np.unique(column, return_inverse=True) for column in columns), strict=True)
    code = np.ravel_multi_index(codes, [len(level) for level in levels])
    present, member, count = np.unique(code, return_inverse=True, return_counts=True)
    values = np.unravel_index(present, [len(level) for level in levels])
    chosen = [level[value] for level, value in zip(levels, values, strict=True)]

    # Averages as one product with the matrix of memberships: no loop over conditions or trials.
    belongs = xr.DataArray(np.eye(len(present))[member], dims=(TRIAL, CONDITION))
    valid = activity["valid"] if "valid" in activity else xr.ones_like(activity[TRIAL], bool)
    weight = (belongs * valid).sum(TRIAL)
    averages = {
        name: xr.dot(activity[name].where(valid, 0).astype(float), belongs, dim=TRIAL)
        / weight.where(weight > 0)
        for name in ("rate", "output")
        if name in activity
    }
    result = xr.Dataset(averages).transpose(CONDITION, TIME, ...)
    labels = [
        ", ".join(f"{name}={value}" for name, value in zip(names, row, strict=True))
        for row in zip(*chosen, strict=True)
    ]
    for name, value in zip(names, chosen, strict=True):
        result = result.assign_coords({name: (CONDITION, value)})
    result = result.assign_coords({CONDITION: labels, "n_trials": (CONDITION, count)})
    # xarray's dot drops what describes a coordinate.
    result[TIME].attrs |= activity[TIME].attrs if TIME in activity.coords else {}
    return result
