"""Datasets as MATLAB files (version 5, which every MATLAB since 7.0 reads): arrays, axis notes, attributes.

``load activity.mat`` gives one variable per variable of the dataset, its axes in the same order; the struct
``dimensions`` has the names of each one's axes, ``attributes`` and ``dataset_attributes`` what describes
them. The text ``neurornn_layout`` keeps what MATLAB cannot say (names that are none of its own, types,
exact attributes), so that `read` gives the dataset back. The header has the SHA-256 of all that follows.
"""

from __future__ import annotations

import io
import json
import operator
import os
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import layout as layouts
from neurornn.storage.tree import VERIFIED
from neurornn.vocabulary import InputError

LAYOUT = "neurornn_layout"
DIMENSIONS = "dimensions"
ATTRIBUTES = "attributes"
DATASET_ATTRIBUTES = "dataset_attributes"

LONGEST_NAME = 63
"""Characters that MATLAB tells names apart by (its ``namelengthmax``)."""
LARGEST_VARIABLE = 2**31 - 2**16
"""Bytes that fit into one variable, which the format counts in 31 bits, with some for what describes it."""

_HOLDER = "a MATLAB file"
_KINDS = "biufU"
_BYTES_PER_CELL = 64
"""About what each string of a cell array takes beside its characters."""
_FOREIGN = re.compile("[\0\ud800-\udfff\U00010000-\U0010ffff]")
_HEADER_LENGTH = 116
_OF_EVERY_FILE = "MATLAB 5.0 MAT-file"
_HEADER = _OF_EVERY_FILE + ", neurornn, SHA-256 of the rest {}"
_KEYWORDS = frozenset(
    "break case catch classdef continue else elseif end for function global if otherwise parfor persistent "
    "return spmd switch try while".split()
)


def write(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset; see `neurornn.save`.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of real numbers, booleans and strings. Half precision is stored as single, and comes back as it was.
        Strings become cell arrays of characters, booleans logical arrays, one dimension a column.
    path : path-like

    Raises
    ------
    InputError
        Where a variable is complex, a date or holds objects, or is larger than the format can hold (2 GB).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> dataset = xr.Dataset({"rate": (("trial", "unit"), np.eye(2)), "cue": ("trial", ["a", "b"])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "rates.mat"
    ...     write(dataset, file)
    ...     read(file).identical(dataset)
    True
    """
    layout, arrays = layouts.take_apart(dataset, _HOLDER, _KINDS)
    for name, array in arrays.items():
        _need_room(name, array)
        _need_text(name, array)
    content: dict[str, Any] = {name: None for name in (LAYOUT, DIMENSIONS, ATTRIBUTES, DATASET_ATTRIBUTES)}
    dimensions, attributes = {}, {}
    for entry in layout["variables"]:
        name = entry["name"]
        own = entry["matlab_name"] = matlab_name(name, content)
        content[own] = _as_matlab(arrays[name])
        dimensions[own] = _cells(np.array(entry["dims"], dtype=str))
        if entry["attributes"]:
            attributes[own] = _struct(dataset.variables[name].attrs)
    content |= {DIMENSIONS: dimensions, ATTRIBUTES: attributes, DATASET_ATTRIBUTES: _struct(dataset.attrs)}
    content[LAYOUT] = layouts.to_text(layout)
    files.atomic_write(path, _sealed(_saved(content)))


def read(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset:
    """Read a dataset that `write` has written, or MATLAB has saved again; see `neurornn.load`.

    Parameters
    ----------
    path : path-like
    verify : bool
        Refuse bytes that are not those that were written. A file that MATLAB has saved again has no digest
        any more and is read all the same.

    Returns
    -------
    xarray.Dataset
        Identical to what was written.

    Raises
    ------
    InputError
        Where there is no such file, or one without labels.
    CorruptFile
        Where it is damaged or of another kind.
    """
    from scipy.io import loadmat

    data = files.read_bytes(path)
    verified = verify and _verified(data, path)
    try:
        content = loadmat(io.BytesIO(data), chars_as_strings=True)
        if LAYOUT not in content:
            raise layouts.without_labels(path, "scipy.io.loadmat")
        layout = layouts.from_text(str(content[LAYOUT][0]), path)
        dataset = layouts.put_together(layout, lambda entry: _from_matlab(content[entry["matlab_name"]]))
    except InputError:
        raise
    except Exception as error:
        # scipy, zlib and json each have their own exceptions for what is not theirs.
        raise layouts.damaged(path, "a MATLAB file up to version 7", data, error) from error
    dataset.encoding = {"source": str(path), VERIFIED: verified}
    return dataset


def matlab_name(name: str, taken: Collection[str] = ()) -> str:
    """Return a name as MATLAB allows it: a letter, then letters, digits and underscores, at most 63.

    Parameters
    ----------
    name : str
    taken : collection of str
        Names that are used already; the result is none of them.

    Examples
    --------
    >>> matlab_name("rate"), matlab_name("2nd cue"), matlab_name("end"), matlab_name("a.b", {"a_b"})
    ('rate', 'x2nd_cue', 'end_', 'a_b_2')
    """
    own = layouts.plain_name(name)
    if not re.match("[A-Za-z]", own):
        own = f"x{own}"
    if own in _KEYWORDS:
        own += "_"
    # Room for the number that makes it another name than those that are taken.
    short = own if len(own) <= LONGEST_NAME else own[: LONGEST_NAME - 8]
    return layouts.free_name(short if short == own else f"{short}_cut", taken)


def _need_room(name: str, array: np.ndarray) -> None:
    size = array.nbytes if array.dtype.kind != "U" else array.nbytes + _BYTES_PER_CELL * array.size
    if array.dtype.itemsize == 2 and array.dtype.kind == "f":
        size *= 2
    if size > LARGEST_VARIABLE:
        raise InputError(
            f"variable {name!r} takes {size / 2**30:.1f} GB, and a MATLAB file holds up to 2 GB a variable: "
            "save as netCDF (.nc), which MATLAB reads with ncread('activity.nc', 'rate')"
        )


def _need_text(name: str, array: np.ndarray) -> None:
    """Refuse characters that have no single unit in UTF-16, in which MATLAB counts."""
    if array.dtype.kind == "U" and _FOREIGN.search("".join(array.ravel().tolist())):
        raise InputError(
            f"variable {name!r} has a string with a character outside Unicode's basic plane, which MATLAB "
            "counts as two: replace it"
        )


def _as_matlab(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "U":
        return _cells(array)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _cells(array: np.ndarray) -> np.ndarray:
    """Return strings as the array of objects that scipy writes as a cell array."""
    return array.astype(object)


def _struct(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Return attributes as a struct that people can read; the layout keeps them exactly."""
    struct: dict[str, Any] = {}
    for key, value in attributes.items():
        struct[matlab_name(key, struct)] = value if _is_plain(value) else json.dumps(value, default=str)
    return struct


def _is_plain(value: Any) -> bool:
    """Return whether MATLAB has the like of an attribute's value."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
    if isinstance(value, str):
        return not _FOREIGN.search(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, float | np.integer | np.bool_) or type(value) is np.float32


def _saved(content: dict[str, Any]) -> memoryview:
    """Return the bytes of a MATLAB file, compressed as MATLAB itself does since version 7."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True, oned_as="column", long_field_names=True)
    return buffer.getbuffer()


def _sealed(data: memoryview) -> memoryview:
    """Put the digest of the rest into the header's text, in place of the time of day."""
    data[:_HEADER_LENGTH] = _header(data)
    return data


def _header(data: bytes | memoryview) -> bytes:
    return _HEADER.format(files.digest(memoryview(data)[_HEADER_LENGTH:])).ljust(_HEADER_LENGTH).encode()


def _verified(data: bytes, path: str | os.PathLike[str]) -> bool:
    """Return whether the digest is there and agrees; one that does not agree is refused."""
    if data[:_HEADER_LENGTH] == _header(data):
        return True
    # The words that no other program writes, most of them whole whatever bits are flipped.
    own = _HEADER.removeprefix(_OF_EVERY_FILE).format("").encode()
    if sum(map(operator.eq, data[len(_OF_EVERY_FILE) :], own)) > len(own) / 2:
        raise files.CorruptFile(
            f"{str(path)!r} is damaged: its content does not have the SHA-256 that was written with it; "
            "take another copy, or read what is left with verify=False"
        )
    return False


def _from_matlab(array: np.ndarray) -> np.ndarray:
    """Return numbers as they are, and a cell array as strings."""
    if array.dtype != object:
        return array
    # An empty string comes as an array without entries.
    return np.array([str(cell[0]) if cell.size else "" for cell in array.ravel()], dtype=str)
