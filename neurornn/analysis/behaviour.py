"""Behaviour of a network: how often it is right, and what it chooses, in each condition.

Reads the coordinates on ``trial`` of an activity dataset. Gives fractions on the grid of conditions, with
intervals and numbers of trials. Maths: binomial proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurornn.numerics.binomial import normal_quantile, wilson_interval
from neurornn.vocabulary import TRIAL, InputError, need_dims, need_finite, need_variable


def accuracy(
    activity: xr.Dataset, by: str | Sequence[str] | None = None, *, confidence: float = 0.95
) -> xr.Dataset:
    """Return the mean score in each condition.

    Parameters
    ----------
    activity : xarray.Dataset
        Recorded activity with the coordinate ``score`` on ``trial``, and ``ideal_score`` where the task knows
        whether an ideal observer was right on that very trial.
    by : str or sequence of str, optional
        Coordinates on ``trial`` whose values are the conditions. By default all trials are one condition.
    confidence : float, default 0.95
        Of the intervals; 0.95 is the field's habit.

    Returns
    -------
    xarray.Dataset
        On a grid with one dimension for each name in ``by``, its coordinate the values that occur:
        ``accuracy``, the mean score; ``accuracy_lower`` and ``accuracy_upper``, Wilson's interval where all
        scores are 0 or 1, otherwise the mean -/+ standard errors (the attribute ``interval`` of ``accuracy``
        says ``"wilson"`` or ``"standard_error"``); ``n_trials``. A combination that has no trial is NaN,
        and so is a standard error from one trial. With ``ideal_score``, the same for ``ideal_accuracy``,
        and ``share_of_ideal``, the quotient of the two accuracies.

    Raises
    ------
    InputError
        Where a coordinate is missing, is not one value per trial, or holds NaN.

    Examples
    --------
    >>> activity = xr.Dataset(
    ...     coords={
    ...         "score": ("trial", [1.0, 0.0, 1.0, 1.0]),
    ...         "context": ("trial", ["motion", "motion", "color", "color"]),
    ...     }
    ... )
    >>> accuracy(activity, by="context")["accuracy"].sel(context="motion").item()
    0.5
    """
    score = _scores(activity, "score")
    cells = _Cells.from_activity(activity, by)
    variables, intervals = {"n_trials": cells.count()}, {}
    scores = {"accuracy": score}
    if "ideal_score" in activity.variables:
        scores["ideal_accuracy"] = _scores(activity, "ideal_score")
    for name, own in scores.items():
        measured, intervals[name] = _mean_score(cells, name, own, confidence)
        variables |= measured
    if "ideal_accuracy" in variables:
        variables["share_of_ideal"] = _quotient(variables["accuracy"], variables["ideal_accuracy"])
    result = cells.dataset(variables).assign_attrs(confidence=float(confidence))
    for name, kind in intervals.items():
        result.variables[name].attrs["interval"] = kind
    return result


def choice_probability(
    activity: xr.Dataset,
    by: str | Sequence[str] | None = None,
    *,
    choice: str = "choice",
    confidence: float = 0.95,
) -> xr.Dataset:
    """Return how often each choice is made in each condition, among the trials with a choice.

    Parameters
    ----------
    activity : xarray.Dataset
        Recorded activity; only its coordinates on ``trial`` are read.
    by : str or sequence of str, optional
        Coordinates on ``trial`` whose values are the conditions. By default all trials are one condition.
    choice : str, default "choice"
        Coordinate on ``trial`` with the choice, a whole number; -1 means that none was made.
    confidence : float, default 0.95
        Of the intervals; 0.95 is the field's habit.

    Returns
    -------
    xarray.Dataset
        On the grid of conditions: ``n_trials`` with a choice, and ``n_without_choice``. With the dimension
        ``choice`` beside, its coordinate the choices that occur: ``probability`` and Wilson's interval
        ``probability_lower``, ``probability_upper``, NaN where no trial has a choice.

    Raises
    ------
    InputError
        Where a coordinate is missing or does not fit, or ``by`` names the choice itself.

    Examples
    --------
    >>> activity = xr.Dataset(
    ...     coords={"choice": ("trial", [0, 1, 1, -1]), "coherence": ("trial", [0.0, 0.0, 0.5, 0.5])}
    ... )
    >>> choice_probability(activity, "coherence")["probability"].sel(choice=1).values
    array([0.5, 1. ])
    """
    choices = trial_choices(activity, choice)
    cells = _Cells.from_activity(activity, by)
    if {"choice", choice} & set(cells.levels):
        raise InputError(
            f"`by` must name conditions other than the choice, got {list(cells.levels)}: leave the choice "
            "out, it is a dimension of the result"
        )
    made = choices >= 0
    occurring = np.unique(choices[made])
    n_trials = cells.count(made)
    n_chosen = (
        np.stack([cells.count(choices == value) for value in occurring], axis=-1)
        if made.any()
        else (np.zeros((*n_trials.shape, 0)))
    )
    lower, upper = wilson_interval(n_chosen, n_trials[..., np.newaxis], confidence)
    result = cells.dataset({"n_trials": n_trials, "n_without_choice": cells.count(~made)})
    dims = (*cells.levels, "choice")
    return (
        result.assign(
            probability=(dims, _quotient(n_chosen, n_trials[..., np.newaxis])),
            probability_lower=(dims, lower),
            probability_upper=(dims, upper),
        )
        .assign_coords(choice=occurring)
        .assign_attrs(confidence=float(confidence))
    )


def trial_values(activity: xr.Dataset, name: str) -> np.ndarray:
    """Return a coordinate's values, one per trial.

    Parameters
    ----------
    activity : xarray.Dataset
        A dataset with the dimension ``trial``.
    name : str
        Its coordinate.

    Returns
    -------
    numpy.ndarray, shape (trial,)

    Raises
    ------
    InputError
        Where the coordinate is missing, has other dimensions, or holds NaN, or there are no trials.
    """
    variable = need_variable(activity, name)
    need_dims(activity, [TRIAL])
    if variable.dims != (TRIAL,):
        raise InputError(
            f"{name!r} must have one value per trial, got dimensions {variable.dims}: choose a "
            "coordinate on 'trial'"
        )
    if variable.size == 0:
        raise InputError("`activity` must have trials, got 0 along 'trial': record some first")
    values = variable.values
    # Files give strings back as objects, which NumPy sorts slowly and netCDF writes reluctantly.
    values = values.astype(str) if values.dtype.kind in "OT" else values
    need_finite(values, name)
    return values


def trial_choices(activity: xr.Dataset, name: str = "choice") -> np.ndarray:
    """Return the choice of each trial, -1 where none was made.

    Parameters
    ----------
    activity : xarray.Dataset
        A dataset with the dimension ``trial``.
    name : str, default "choice"
        Its coordinate of choices.

    Returns
    -------
    numpy.ndarray of int, shape (trial,)

    Raises
    ------
    InputError
        As `trial_values` does, and where the values are no whole numbers of at least -1.
    """
    values = trial_values(activity, name)
    if values.dtype.kind not in "iu":
        raise InputError(
            f"{name!r} must hold whole numbers, got dtype {values.dtype}: number the choices from 0, with "
            "-1 for none"
        )
    if values.min() < -1:
        raise InputError(
            f"{name!r} must be at least -1, got {values.min()}: number the choices from 0, with -1 for none"
        )
    return values


@dataclass(frozen=True)
class _Cells:
    """The grid of conditions, and the cell of it in which each trial lies."""

    levels: dict[str, np.ndarray]
    """Values that occur, ascending, for each dimension of the grid."""
    index: np.ndarray
    """Place of each trial in the flattened grid."""

    @classmethod
    def from_activity(cls, activity: xr.Dataset, by: str | Sequence[str] | None) -> _Cells:
        names = [] if by is None else [by] if isinstance(by, str) else list(by)
        if len(set(names)) < len(names):
            raise InputError(f"`by` must name each coordinate once, got {names}: leave the repeats out")
        levels = {}
        index = np.zeros(activity.sizes[TRIAL], dtype=np.intp)
        for name in names:
            levels[name], place = np.unique(trial_values(activity, name), return_inverse=True)
            index = index * levels[name].size + place
        return cls(levels, index)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(values.size for values in self.levels.values())

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of a value over each cell's trials."""
        n_cells = int(np.prod(self.shape, dtype=int))
        return np.bincount(self.index, values, n_cells).reshape(self.shape)

    def count(self, which: np.ndarray | None = None) -> np.ndarray:
        """Return the number of each cell's trials, or of some of them."""
        return self.total(np.ones(self.index.size) if which is None else which).astype(np.int64)

    def dataset(self, variables: dict[str, np.ndarray]) -> xr.Dataset:
        """Return arrays on the grid, labelled."""
        dims = tuple(self.levels)
        return xr.Dataset(
            {name: (dims, values) for name, values in variables.items()},
            coords={name: (name, values) for name, values in self.levels.items()},
        )


def _scores(activity: xr.Dataset, name: str) -> np.ndarray:
    scores = trial_values(activity, name)
    if scores.dtype.kind not in "biuf":
        raise InputError(f"{name!r} must hold numbers, got dtype {scores.dtype}: give each trial a score")
    return scores.astype(np.float64)


def _mean_score(
    cells: _Cells, name: str, score: np.ndarray, confidence: float
) -> tuple[dict[str, np.ndarray], str]:
    """Return a score's mean on the grid and its bounds, under a name, and what kind of bounds they are."""
    n_trials = cells.count()
    mean = _quotient(cells.total(score), n_trials)
    if np.isin(score, (0.0, 1.0)).all():
        interval = "wilson"
        lower, upper = wilson_interval(cells.total(score), n_trials, confidence)
    else:
        interval = "standard_error"
        squares = cells.total((score - mean.ravel()[cells.index]) ** 2)
        half = normal_quantile(confidence) * np.sqrt(_quotient(_quotient(squares, n_trials - 1), n_trials))
        lower, upper = mean - half, mean + half
    return {name: mean, f"{name}_lower": lower, f"{name}_upper": upper}, interval


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide by counts; NaN where the count is not above 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)
