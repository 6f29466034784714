"""Plots of activity: all units in one trial, and one unit in every condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from neurornn.plots.canvas import (
    GREY,
    axes_for,
    colour_values,
    label_with_units,
    legend_beside,
    mark_epochs,
    one_trial,
    time_axis,
)
from neurornn.vocabulary import CONDITION, TIME, TRIAL, UNIT, InputError, need_count, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_activity_heatmap(
    activity: xr.Dataset, trial: int = 0, *, order_by: Literal["peak"] | None = "peak", ax: Axes | None = None
) -> Axes:
    """Draw the rates of all units in one trial, one row a unit.

    Parameters
    ----------
    activity : xarray.Dataset
        ``rate (trial, time, unit)``, and ``valid (trial, time)`` where trials are padded.
    trial : int
        Position of the trial, from 0.
    order_by : "peak" or None
        Sort the units by the time of their highest rate, the earliest on top, or leave them as they are.
        Sorted rates look like a sequence even where there is none: judge one on trials that did not sort it.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Colours diverge from white at zero where any rate is negative, and begin with white at zero otherwise.

    Raises
    ------
    InputError
        Where a dimension, ``rate`` or the trial is missing, or ``order_by`` is neither.

    Examples
    --------
    >>> rate = np.random.default_rng(0).random((2, 30, 8))
    >>> activity = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    >>> plot_activity_heatmap(activity).get_ylabel()
    'unit, ordered by time of peak'
    """
    need_dims(activity, (TRIAL, TIME, UNIT))
    need_variable(activity, "rate")
    if order_by not in ("peak", None):
        raise InputError(f"`order_by` must be 'peak' or None, got {order_by!r}")
    one = one_trial(activity, trial)
    rate = one["rate"].transpose(UNIT, TIME).to_numpy().astype(float)
    if order_by == "peak":
        rate = rate[np.argsort(rate.argmax(axis=1), kind="stable")]
    largest = float(np.nanmax(np.abs(rate))) or 1.0
    signed = bool((rate < 0).any())

    ax = axes_for(ax, (6.4, 4.2))
    start, step, time_label = time_axis(one)
    image = ax.imshow(
        rate,
        extent=(start[0], start[-1] + step, len(rate), 0),
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if signed else "Greys",
        vmin=-largest if signed else 0.0,
        vmax=largest,
    )
    mark_epochs(ax, one)
    ax.set(xlabel=time_label, ylabel="unit, ordered by time of peak" if order_by else "unit")
    ax.get_figure(root=True).colorbar(image, ax=ax, label=label_with_units("rate", one["rate"]), pad=0.02)  # type: ignore[union-attr]
    return ax


def plot_condition_averages(averages: xr.Dataset, *, unit: int | str, ax: Axes | None = None) -> Axes:
    """Draw the mean rate of one unit in every condition.

    Parameters
    ----------
    averages : xarray.Dataset
        From `neurornn.activity.condition_average`: ``rate (condition, time, unit)``, ``condition`` labelled.
        Where the conditions are the values of a single quantity, colours follow that quantity.
    unit : int or str
        Label of the unit; its position where units have no labels.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        Where a dimension, ``rate`` or the unit is missing.

    See Also
    --------
    most_modulated_units : Which units are worth a look.

    Examples
    --------
    >>> rate = np.random.default_rng(0).random((2, 30, 8))
    >>> averages = xr.Dataset(
    ...     {"rate": (("condition", "time", "unit"), rate)}, coords={"condition": ["cue=left", "cue=right"]}
    ... )
    >>> ax = plot_condition_averages(averages, unit=3)
    >>> ax.get_legend_handles_labels()[1]
    ['cue=left', 'cue=right']
    """
    rate = _averaged_rates(averages)
    units = rate[UNIT].to_numpy()
    place = np.flatnonzero(units == unit)
    if place.size != 1:
        raise InputError(
            f"`unit` must be one of the {units.size} units from {units[0]} to {units[-1]}, got {unit!r}"
        )
    traces = rate.isel({UNIT: int(place[0])}).to_numpy()
    names = [str(label) for label in rate[CONDITION].to_numpy()]
    quantity = _quantity(averages)
    # By rank, because the values of a design often crowd around zero.
    colouring = colour_values(
        np.array(names) if quantity is None else _signed_ranks(averages[quantity].to_numpy())
    )
    if quantity is not None:
        names = [str(value) for value in averages[quantity].to_numpy()]

    ax = axes_for(ax, (6.4, 3.6))
    start, step, time_label = time_axis(averages)
    for trace, colour, style, name in zip(traces, colouring.colours, colouring.styles, names, strict=True):
        # The value of a step belongs to the whole of it, so that its middle is drawn.
        ax.plot(start + step / 2, trace, color=colour, linestyle=style, linewidth=1.4, label=name)
    mark_epochs(ax, averages)
    ax.set(xlabel=time_label, ylabel=label_with_units(f"rate of unit {unit}", averages["rate"]))
    if (rate < 0).any():
        ax.axhline(0, color=GREY, linewidth=0.5, zorder=-1, label="_zero")
    ax.set_xlim(start[0], start[-1] + step)
    legend_beside(ax, title=quantity)
    return ax


def most_modulated_units(averages: xr.Dataset, n_units: int = 6) -> list[int | str]:
    """Return the units whose rate differs most between conditions.

    Parameters
    ----------
    averages : xarray.Dataset
        As for `plot_condition_averages`.
    n_units : int, default 6
        How many; fewer where there are not so many. Six fill a page legibly.

    Returns
    -------
    list
        Labels (positions where there are none), by the variance across conditions, averaged over time, the
        largest first.

    Raises
    ------
    InputError
        Where a dimension or ``rate`` is missing.

    Examples
    --------
    >>> rate = np.zeros((2, 5, 3))
    >>> rate[0, :, 1] = 1.0
    >>> most_modulated_units(xr.Dataset({"rate": (("condition", "time", "unit"), rate)}), 1)
    [1]
    """
    rate = _averaged_rates(averages)
    n_units = need_count(n_units, "n_units")
    modulation = rate.var(CONDITION).mean(TIME).to_numpy()
    order = np.argsort(-np.nan_to_num(modulation), kind="stable")[:n_units]
    return rate[UNIT].to_numpy()[order].tolist()


def _averaged_rates(averages: xr.Dataset) -> xr.DataArray:
    need_dims(averages, (CONDITION, TIME, UNIT), "averages")
    return need_variable(averages, "rate", "averages").transpose(CONDITION, TIME, UNIT)


def _quantity(averages: xr.Dataset) -> str | None:
    """Return the one coordinate of numbers that tells the conditions apart, if it alone does."""
    by = averages[CONDITION].attrs.get("by")
    beside = [
        str(name)
        for name, coordinate in averages.coords.items()
        if coordinate.dims == (CONDITION,) and name not in (CONDITION, "n_trials")
    ]
    # Averages tell what their conditions are made of; other coordinates may have come along with it.
    beside = by.split(", ") if by else beside
    numeric = len(beside) == 1 and averages[beside[0]].dtype.kind in "iufb"
    return beside[0] if numeric else None


def _signed_ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each magnitude with the value's sign, as numbers for a colour map."""
    magnitude = np.abs(values.astype(float))
    distinct = np.unique(np.append(magnitude, 0.0))
    return np.sign(values.astype(float)) * np.searchsorted(distinct, magnitude).astype(float)
