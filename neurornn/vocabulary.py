"""The package's words: names of dimensions, units, and the wording of errors.

Every room above uses these names, so that an array is addressed by what its axes mean and never by
their order, and so that every mistake is told in the same way: what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import xarray as xr

TRIAL = "trial"
TIME = "time"
UNIT = "unit"
PRESYNAPTIC_UNIT = "presynaptic_unit"
GATED_UNIT = "gated_unit"
INPUT_CHANNEL = "input_channel"
OUTPUT_CHANNEL = "output_channel"
STATE_VARIABLE = "state_variable"
COMPONENT = "component"
FIXED_POINT = "fixed_point"
MODE = "mode"
START = "start"
CONDITION = "condition"
LESION = "lesion"

DIMENSIONS = frozenset(
    {
        *(TRIAL, TIME, UNIT, PRESYNAPTIC_UNIT, GATED_UNIT, INPUT_CHANNEL, OUTPUT_CHANNEL, STATE_VARIABLE),
        *(COMPONENT, FIXED_POINT, MODE, START, CONDITION, LESION),
    }
)
"""Every name of a dimension that the package gives."""

MILLISECONDS = "ms"

EPOCHS = ("fixation", "stimulus", "stimulus_1", "stimulus_2", "delay", "delay_1", "go", "response")
"""Names a task gives to the stretches of a trial; a new task prefers these to words of its own."""

FIXED_POINT_KINDS = ("stable", "saddle", "unstable", "marginal", "slow")

VERSION = "0.1.0"
"""Version of the package."""

SCHEMA_VERSION = 2
"""Version of the datasets' layout, written into every file."""


class InputError(ValueError):
    """A user's mistake, told in one sentence: what was expected, what came, what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class RunFailure(RuntimeError):
    """A computation or a file that went wrong although it was asked for rightly.

    The command line prints its sentence without a traceback and exits with status 1.
    """


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelled most like ``name``, or None where none is near."""
    folded = {word.lower().replace("-", "_"): word for word in known}
    found = difflib.get_close_matches(str(name).lower().replace("-", "_"), folded, n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def unknown_name(kind: str, name: object, known: Iterable[str]) -> NoReturn:
    """Raise the error for a name that is not among the known ones, offering the nearest.

    Parameters
    ----------
    kind : str
        What the name stands for, as it begins the sentence: ``"task"``, ``"activation"``.
    name : object
        What came.
    known : iterable of str
        The names that exist.

    Raises
    ------
    InputError
        Always.
    """
    known = sorted(known)
    near = nearest_name(str(name), known)
    hint = f"did you mean {near!r}?" if near else "choose one of those"
    raise InputError(f"unknown {kind} {name!r}: expected one of {', '.join(map(repr, known))}; {hint}")


def need_dims(
    data: xr.Dataset | xr.DataArray,
    dims: Iterable[str],
    name: str = "activity",
) -> None:
    """Refuse labelled data that lacks a dimension.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
        What came.
    dims : iterable of str
        The dimensions that it must have, in any order.
    name : str
        What the caller calls the argument, for the sentence.

    Raises
    ------
    InputError
        Where a dimension is missing; the sentence names the likeliest one to rename.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> need_dims(xr.DataArray(np.zeros((2, 3)), dims=("time", "neuron")), ["unit"])
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: `activity` needs dimension 'unit', got ('time', 'neuron'): rename \
yours with activity.rename(neuron='unit')
    """
    if not isinstance(data, xr.Dataset | xr.DataArray):
        raise InputError(
            f"`{name}` must be an xarray Dataset or DataArray, got {type(data).__name__}: "
            "label the axes first, for example xarray.DataArray(array, dims=('trial', 'time', 'unit'))"
        )
    present = tuple(str(dim) for dim in data.dims)
    for dim in dims:
        if dim in present:
            continue
        # A dimension that already has one of the package's names is not the missing one under another.
        unknown = [own for own in present if own not in DIMENSIONS and own.isidentifier()]
        if unknown:
            advice = f"rename yours with {name}.rename({unknown[-1]}={dim!r})"
        else:
            advice = f"pass a dataset that has it, or add it with {name}.expand_dims({dim!r})"
        raise InputError(f"`{name}` needs dimension {dim!r}, got {present}: {advice}")


def need_variable(data: xr.Dataset, variable: str, name: str = "activity") -> xr.DataArray:
    """Return a dataset's variable or coordinate, or raise an error that lists what is there."""
    if not isinstance(data, xr.Dataset):
        raise InputError(f"`{name}` must be an xarray Dataset, got {type(data).__name__}")
    if variable not in data.variables:
        known = [str(key) for key in data.variables]
        near = nearest_name(variable, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"`{name}` has no variable {variable!r}: it has {', '.join(map(repr, known))}{hint}")
    return data[variable]


FEW_ENTRIES = 2**17
"""So many numbers stay near enough to be looked at twice."""


def _has_finite_ends(array: np.ndarray) -> bool:
    """Return whether the least and the greatest number are finite; NaN is both where it stands among them.

    As telling as a look at each number, and several times as fast.
    """
    blocks = [array]
    if array.size > FEW_ENTRIES and array.flags.c_contiguous:
        flat = array.reshape(-1)
        blocks = [flat[first : first + FEW_ENTRIES] for first in range(0, flat.size, FEW_ENTRIES)]
    return all(np.isfinite(block.min()) and np.isfinite(block.max()) for block in blocks)


def need_finite(array: np.ndarray, name: str) -> None:
    """Refuse numbers that are NaN or infinite, naming the first place.

    Raises
    ------
    InputError
        Where an entry is not finite.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fc" or array.size == 0:
        return
    if array.dtype.kind == "f" and _has_finite_ends(array):
        return
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(k) for k in np.argwhere(bad)[0])
        raise InputError(
            f"`{name}` must be finite, got {array[place]} at index {place} ({int(bad.sum())} of "
            f"{array.size} entries): remove or mask them first"
        )


def need_count(value: object, name: str, *, least: int = 1) -> int:
    """Return ``value`` as an int, refusing what is no whole number or is below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"`{name}` must be a whole number of at least {least}, got {value!r}")
    return int(value)


def need_positive(value: object, name: str, unit: str = "") -> float:
    """Return ``value`` as a float, refusing what is not finite and above zero."""
    number = _as_number(value)
    if not 0 < number < np.inf:
        unit = f" of {unit}" if unit else ""
        raise InputError(f"`{name}` must be a positive number{unit}, got {value!r}")
    return number


def need_at_least_zero(value: object, name: str, unit: str = "") -> float:
    """Return ``value`` as a float, refusing what is not finite or is below zero."""
    number = _as_number(value)
    if not 0 <= number < np.inf:
        unit = f" of {unit}" if unit else ""
        raise InputError(f"`{name}` must be a number{unit} of at least 0, got {value!r}")
    return number


def _as_number(value: object) -> float:
    """Return a number as a float, and NaN, which no range holds, for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return np.nan
    return float(value)


def need_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return ``value`` where it is one of ``choices``; otherwise offer the nearest."""
    choices = tuple(choices)
    if value not in choices:
        unknown_name(name, value, choices)
    return str(value)
