"""Units by what they are: rates, states and weights of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurornn.vocabulary import (
    GATED_UNIT,
    PRESYNAPTIC_UNIT,
    STATE_VARIABLE,
    UNIT,
    InputError,
    need_dims,
    unknown_name,
)

UNIT_OF_STATE = "unit_of_state"
"""Coordinate: the unit that a state variable belongs to; -1 where it is of a lower layer."""


def population(
    activity: xr.Dataset, name: str | Sequence[str] | None = None, /, **coordinates: Any
) -> xr.Dataset:
    """Return the activity of some of the units.

    Parameters
    ----------
    activity : xarray.Dataset
        With the dimension ``unit``.
    name : str or sequence of str, optional
        What the units are called in any of their coordinates: ``"excitatory"``, the name of an area,
        ``"backward"``. Several names: units that are one of these.
    **coordinates
        Values, or sequences of values, by the coordinate on ``unit`` that they stand in: ``area="PFC"``,
        ``sign=-1``. Units must fit all that is said.

    Returns
    -------
    xarray.Dataset
        Everything on ``unit`` for these units. The state variables are theirs, told by ``unit_of_state``; of
        a network of several layers, those of the topmost one, whose units these are. Weights are those among
        the units: ``parameter_recurrent_weight`` loses rows and columns. Weights that a network of several
        layers has on dimensions of each layer's own stay whole, and so does what has no units.

    Raises
    ------
    InputError
        Where a name or a coordinate is unknown, a name stands in more than one coordinate, no unit is left,
        or it cannot be told which state variables belong to which units.

    Examples
    --------
    >>> from neurornn import RateRNN, record
    >>> from neurornn.tasks import FlipFlop
    >>> dale = RateRNN(3, 10, 3, activation="relu", excitatory_fraction=0.8)
    >>> inhibitory = population(record(dale, FlipFlop(), 4), "inhibitory")
    >>> dict(inhibitory.rate.sizes), inhibitory.parameter_recurrent_weight.shape
    ({'trial': 4, 'time': 100, 'unit': 2}, (2, 2))
    """
    if not isinstance(activity, xr.Dataset):
        raise InputError(
            f"`activity` must be an xarray Dataset, got {type(activity).__name__}: of an array make one with "
            "array.to_dataset(name='rate')"
        )
    need_dims(activity, [UNIT])
    if name is None and not coordinates:
        raise InputError("population needs a name, or a coordinate and its value, got neither")
    fits = np.ones(activity.sizes[UNIT], dtype=bool)
    if name is not None:
        fits &= _called(activity, [name] if isinstance(name, str) else list(name))
    for coordinate, wanted in coordinates.items():
        fits &= _having(activity, coordinate, wanted)
    units = np.flatnonzero(fits)
    if not len(units):
        raise InputError("no unit fits all that was asked for: ask for less")
    return _of_units(activity, units)


def _labels(activity: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the coordinates on ``unit``, strings as strings."""
    found = {}
    for name in activity.coords:
        own = activity.variables[name]
        if own.dims == (UNIT,):
            values = own.to_numpy()
            found[str(name)] = values.astype(str) if values.dtype.kind in "OT" else values
    return found


def _called(activity: xr.Dataset, names: list[str]) -> np.ndarray:
    """Return which units have one of the names in any of their coordinates."""
    words = {key: values for key, values in _labels(activity).items() if values.dtype.kind == "U"}
    if not words:
        raise InputError(
            "`activity` says nothing of its units: give them labels with "
            "activity.assign_coords(population=('unit', labels))"
        )
    fits = np.zeros(activity.sizes[UNIT], dtype=bool)
    for name in names:
        places = [key for key, values in words.items() if (values == name).any()]
        if not places:
            unknown_name(
                "population", name, sorted({word for values in words.values() for word in values.tolist()})
            )
        if len(places) > 1:
            choices = " or ".join(f"{place}={name!r}" for place in places)
            raise InputError(f"{name!r} stands in more than one coordinate of the units: say {choices}")
        fits |= words[places[0]] == name
    return fits


def _having(activity: xr.Dataset, coordinate: str, wanted: Any) -> np.ndarray:
    """Return which units have one of the values in a coordinate."""
    labels = _labels(activity)
    if coordinate not in labels:
        unknown_name("coordinate of units", coordinate, labels)
    choices = [wanted] if isinstance(wanted, str) or np.ndim(wanted) == 0 else list(wanted)
    known = labels[coordinate]
    fits = np.zeros(len(known), dtype=bool)
    for value in choices:
        equal = np.asarray(known == value)
        if equal.shape != known.shape or not equal.any():
            unknown_name(f"value of {coordinate!r}:", value, {str(own) for own in known.tolist()})
        fits |= equal
    return fits


def _of_units(activity: xr.Dataset, units: np.ndarray) -> xr.Dataset:
    n_units = activity.sizes[UNIT]
    place: dict[Any, np.ndarray] = {UNIT: units}
    if activity.sizes.get(PRESYNAPTIC_UNIT) == n_units:
        place[PRESYNAPTIC_UNIT] = units
    n_gated = activity.sizes.get(GATED_UNIT, 0)
    if n_gated and n_gated % n_units == 0:
        # Gate by gate, as torch has them.
        place[GATED_UNIT] = (np.arange(0, n_gated, n_units)[:, None] + units).ravel()
    variables = dict(activity.variables)
    named = set(activity.coords)
    if STATE_VARIABLE in activity.dims:
        owner = _units_of_states(activity)
        place[STATE_VARIABLE] = np.flatnonzero(np.isin(owner, activity[UNIT].to_numpy()[units]))
        variables[UNIT_OF_STATE] = xr.Variable((STATE_VARIABLE,), owner)
        named.add(UNIT_OF_STATE)
    chosen = {
        name: own.isel({dim: place[dim] for dim in own.dims if dim in place})
        for name, own in variables.items()
    }
    # At once: what xarray does to put a dataset together costs more than the rest.
    return xr.Dataset(
        {name: own for name, own in chosen.items() if name not in named},
        {name: own for name, own in chosen.items() if name in named},
        activity.attrs,
    )


def _units_of_states(activity: xr.Dataset) -> np.ndarray:
    """Return the label of the unit that each state variable belongs to, -1 for those of lower layers.

    States lie layer by layer, in a layer the forward direction first, in a direction quantity by quantity.
    """
    if UNIT_OF_STATE in activity.coords:
        return activity[UNIT_OF_STATE].to_numpy()
    labels = activity[UNIT].to_numpy()
    n_states, n_units = activity.sizes[STATE_VARIABLE], len(labels)
    layer = activity["layer"].to_numpy() if "layer" in activity.coords else np.zeros(n_states, int)
    top = np.flatnonzero(layer == layer.max())
    n_directions = len(np.unique(activity["direction"])) if "direction" in activity.coords else 1
    # Without a word on what each state variable is, only one for each unit can be meant.
    is_told = "quantity" in activity.coords or n_states == n_units
    if not is_told or len(top) % n_units or n_units % n_directions or labels.dtype.kind not in "iu":
        raise InputError(
            f"`activity` has {n_states} state variables and {n_units} units, and does not tell which belong "
            "together: choose the population before single units, or leave the states out with "
            "activity.drop_dims('state_variable')"
        )
    owner = np.full(n_states, -1)
    each = labels.reshape(n_directions, 1, -1)
    owner[top] = np.broadcast_to(each, (n_directions, len(top) // n_units, each.shape[2])).ravel()
    return owner
