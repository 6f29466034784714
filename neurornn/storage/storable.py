"""What every format refuses to write: better a sentence before than another dataset after.

Rules that depend on the content are asked of all of it. What xarray and the libraries below make of unusual
names, attributes and kinds of numbers depends on them alone, so it is rehearsed: a small part of the dataset
is written and read in memory and must come back identical.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from neurornn.vocabulary import InputError

_DECODING = frozenset(
    {
        *("_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "units", "calendar"),
        *("coordinates", "_Unsigned", "DIMENSION_LIST", "_Netcdf4Dimid", "CLASS", "NAME", "REFERENCE_LIST"),
    }
)
"""Attributes of variables that mean something to the libraries below."""
_FAMILIAR_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,99}")
_SAMPLE = 2
"""Entries along each dimension of what is rehearsed."""


def need_storable(dataset: xr.Dataset, medium: str, where: str = "the dataset") -> None:
    """Refuse what no format holds.

    Parameters
    ----------
    dataset : xarray.Dataset
        What is to be written.
    medium : str
        What the format is called, for the sentence.
    where : str
        What the dataset is called.

    Raises
    ------
    InputError
        For a MultiIndex, Python objects, strings that are no text, and names that files cannot have.
    """
    for name, index in dataset.xindexes.items():
        if isinstance(index, xr.indexes.PandasMultiIndex):
            raise InputError(
                f"coordinate {name!r} is a MultiIndex, which {medium} cannot hold: "
                f"use dataset.reset_index({name!r}) first"
            )
        if type(index) is not xr.indexes.PandasIndex or dataset.variables[name].dims != (name,):
            raise InputError(
                f"coordinate {name!r} has an index of its own, which {medium} cannot hold: "
                f"use dataset.drop_indexes({name!r}) first"
            )
    for name, variable in dataset.coords.variables.items():
        if variable.dims == (name,) and name not in dataset.xindexes:
            raise InputError(
                f"coordinate {name!r} has no index, and would come back with one: "
                f"use dataset.set_xindex({name!r}) first"
            )
    for kind, names in (("variable", dataset.variables), ("dimension", dataset.dims)):
        for name in names:
            need_name(name, f"{kind} {name!r} of {where}")
    for name, variable in dataset.variables.items():
        _need_plain(str(name), variable, medium)


def need_name(name: object, what: str) -> None:
    """Refuse a name that files or other programs cannot have."""
    plain = isinstance(name, str) and name != "" and name.isprintable() and name == name.strip()
    if not plain or any(sign in str(name) for sign in "/\\") or set(str(name)) == {"."}:
        raise InputError(
            f"{what} cannot be stored under that name: rename it to a string of printable characters without "
            "slashes, neither beginning nor ending in a space"
        )


def _need_plain(name: str, variable: xr.Variable, medium: str) -> None:
    dtype: Any = variable.dtype
    if not isinstance(dtype, np.dtype):
        raise InputError(
            f"variable {name!r} holds {dtype} as pandas does, which {medium} cannot: make it plain numbers "
            f"or strings, for example with dataset[{name!r}].astype(str)"
        )
    if dtype.kind in "SV":
        raise InputError(
            f"variable {name!r} holds {dtype}, which {medium} cannot hold for every reader: make it numbers "
            "or strings"
        )
    if dtype.kind == "M" and _is_beyond_the_calendar(variable.to_numpy()):
        raise InputError(
            f"variable {name!r} holds dates outside the years 0 to 9999, which {medium} cannot: "
            "make them numbers"
        )
    if dtype.kind not in "OTU":
        return
    if not is_text(variable):
        raise InputError(
            f"variable {name!r} holds Python objects, which {medium} cannot: make it numbers or strings"
        )
    bad = next((text for text in variable.to_numpy().ravel().tolist() if not _is_clean(text)), None)
    if bad is not None:
        raise InputError(
            f"variable {name!r} holds the string {bad!r}, which {medium} cannot: remove what is no character "
            "of text (NUL, half of a surrogate pair)"
        )


def _is_beyond_the_calendar(dates: np.ndarray) -> bool:
    there = dates[~np.isnat(dates)].astype("M8[Y]")
    return bool(np.any((there < np.datetime64("0000", "Y")) | (there > np.datetime64("9999", "Y"))))


def is_text(variable: xr.Variable) -> bool:
    """Return whether a variable holds strings and nothing else."""
    if variable.dtype.kind == "U":
        return True
    return variable.dtype.kind in "OT" and all(
        isinstance(entry, str) for entry in variable.to_numpy().astype(object).ravel()
    )


def _is_clean(text: str) -> bool:
    # Most strings are ASCII, of which only NUL is no text.
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def plain(dataset: xr.Dataset, as_strings: Callable[[np.ndarray], np.ndarray]) -> xr.Dataset:
    """Return a dataset as it is written: without indexes and what an earlier file has left as its encoding.

    Parameters
    ----------
    dataset : xarray.Dataset
        Storable.
    as_strings : callable
        What the format makes of an array of strings.
    """
    bare = {}
    for name, variable in dataset.variables.items():
        own = variable.to_base_variable().drop_encoding()
        if own.dtype.kind in "OTU":
            own = xr.Variable(own.dims, as_strings(own.to_numpy()), own.attrs)
        bare[name] = own
    coords = xr.Coordinates({name: bare.pop(name) for name in dataset.coords}, indexes={})
    return xr.Dataset(bare, coords=coords, attrs=dataset.attrs)


def rehearse(
    dataset: xr.Dataset,
    there_and_back: Callable[[xr.Dataset], xr.Dataset],
    medium: str,
    where: str = "the dataset",
) -> None:
    """Refuse an unusual dataset of which a small part does not come back identical.

    Parameters
    ----------
    dataset : xarray.Dataset
        What is to be written; `need_storable` has passed.
    there_and_back : callable
        Writes and reads a dataset in memory.
    medium, where : str
        What the format and the dataset are called, for the sentence.

    Raises
    ------
    InputError
        Naming what the format refuses or would change.
    """
    if _is_familiar(dataset):
        return
    sample = dataset.isel({dim: slice(0, _SAMPLE) for dim in dataset.dims}).load()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = there_and_back(sample)
    except Exception as error:
        # Every library on the way has exceptions of its own.
        told = first_line(error)
        raise InputError(f"{medium} cannot hold {where} ({told}): {_cure(dataset, told)}") from error
    changed = difference(sample, again)
    if changed:
        raise InputError(f"{medium} would change {changed} of {where}: {_cure(dataset, changed)}")


def _is_familiar(dataset: xr.Dataset) -> bool:
    """Return whether a dataset has only such names, attributes and kinds as are known to come back.

    Of those that the package makes, all have; a rehearsal costs about as much as writing a small file.
    """
    names = [*dataset.variables, *dataset.dims]
    owners = [dataset.attrs, *(variable.attrs for variable in dataset.variables.values())]
    return (
        all(_FAMILIAR_NAME.fullmatch(str(name)) for name in names)
        and all(
            variable.dtype.kind in "biuU" or variable.dtype.str[1:] in ("f4", "f8")
            for variable in dataset.variables.values()
        )
        and all(dataset.variables[name].ndim == 1 for name in dataset.dims if name in dataset.variables)
        and all(_is_familiar_attribute(key, value) for owner in owners for key, value in owner.items())
    )


def _is_familiar_attribute(key: object, value: object) -> bool:
    if not isinstance(key, str) or not _FAMILIAR_NAME.fullmatch(key) or key in _DECODING - {"units"}:
        return False
    if isinstance(value, str):
        # Of units, those of dates make something else of a number.
        return (key != "units" or "since" not in value) and _is_clean(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def first_line(error: BaseException) -> str:
    """Return what an error of another library says, as a part of a sentence."""
    return str(error).strip().splitlines()[0].rstrip(".:") if str(error).strip() else type(error).__name__


def _cure(dataset: xr.Dataset, told: str) -> str:
    """Return what to change where a library refuses: most often an attribute that it knows itself."""
    known = [
        (key, name)
        for name, variable in dataset.variables.items()
        for key in variable.attrs
        if key in _DECODING
    ]
    # The one that is spoken of, as far as that can be told.
    known.sort(key=lambda own: (repr(own[1]) not in told) + (str(own[0]) not in told))
    if not known:
        return "rename or drop it first"
    key, name = known[0]
    return f"attribute {key!r} of variable {name!r} tells readers how to decode it, rename it"


def difference(one: xr.Dataset, other: xr.Dataset) -> str | None:
    """Return in words the first thing in which two datasets differ, None where they are identical.

    Two kinds of strings are one kind here, and so are two orders of a number's bytes.
    """
    for name in [*one.variables, *other.variables]:
        if name not in one.variables or name not in other.variables:
            return f"variable {name!r}"
        mine, its = one.variables[name], other.variables[name]
        if (name in one.coords) != (name in other.coords):
            return f"the coordinate {name!r}"
        if mine.dims != its.dims:
            return f"the dimensions of variable {name!r}"
        if kind_of(mine) != kind_of(its):
            return f"the kind of numbers of variable {name!r} ({mine.dtype}, which comes back as {its.dtype})"
        if not mine.equals(its):
            return f"the values of variable {name!r}"
        changed = _different_attribute(mine.attrs, its.attrs)
        if changed is not None:
            return f"attribute {changed!r} of variable {name!r}"
    changed = _different_attribute(one.attrs, other.attrs)
    return None if changed is None else f"attribute {changed!r}"


def kind_of(variable: xr.Variable) -> Any:
    """Return a variable's kind of values: one for all strings, else the dtype without its order of bytes."""
    return "strings" if variable.dtype.kind in "OTU" else variable.dtype.newbyteorder("=")


def _different_attribute(one: dict[Any, Any], other: dict[Any, Any]) -> Any:
    for key in [*one, *other]:
        here = xr.Dataset(attrs={key: one[key]} if key in one else {})
        if not here.identical(xr.Dataset(attrs={key: other[key]} if key in other else {})):
            return key
    return None
