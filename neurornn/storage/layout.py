"""What arrays alone do not tell of a dataset: names, dimensions, types and attributes, as one JSON text.

Formats that hold named arrays and nothing else (.npz, .mat) keep this text beside the arrays, so that the
dataset comes back as it was.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage.storable import need_storable
from neurornn.storage.tree import fixed_width
from neurornn.vocabulary import InputError

LAYOUT_VERSION = 1
"""Version of the JSON text."""

_ARRAY = "neurornn_array"
"""Key of what stands in the JSON text for an attribute that is an array, or a number that JSON lacks."""


def without_labels(path: str | os.PathLike[str], reader: str) -> InputError:
    """Return the error for a file of arrays that is not ours, naming what reads it."""
    return InputError(
        f"{str(path)!r} holds arrays without labels: read them with {reader} and label them with "
        "neurornn.activity_from_arrays"
    )


def take_apart(dataset: xr.Dataset, holder: str, kinds: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a dataset's layout and its arrays, refusing what would not come back as it was.

    Parameters
    ----------
    dataset : xarray.Dataset
    holder : str
        What the format is called, for the sentences: ``"an .npz file"``.
    kinds : str
        The kinds of numpy types that the format holds, of ``biufcmMU``. Strings of any kind go as U.

    Returns
    -------
    layout : dict
        ``attributes`` and ``variables``; of each its ``name``, ``dims``, ``shape``, ``dtype``, whether it is
        a ``coordinate`` and ``indexed``, and ``attributes``. Plain values, as JSON has them.
    arrays : dict of str to ndarray
        By the names of the variables.

    Raises
    ------
    InputError
        Where the format cannot hold the dataset.
    """
    need_storable(dataset, holder)
    variables, arrays = [], {}
    for name, variable in dataset.variables.items():
        arrays[str(name)] = _plain_array(variable, str(name), holder, kinds)
        variables.append(
            {
                "name": name,
                "dims": list(variable.dims),
                "shape": list(variable.shape),
                "dtype": arrays[str(name)].dtype.str,
                "coordinate": name in dataset.coords,
                "indexed": name in dataset.xindexes,
                "attributes": _encoded_all(variable.attrs, f"variable {name!r}", holder),
            }
        )
    attributes = _encoded_all(dataset.attrs, "the dataset", holder)
    return {"layout": LAYOUT_VERSION, "attributes": attributes, "variables": variables}, arrays


def put_together(layout: Mapping[str, Any], array_of: Callable[[dict[str, Any]], np.ndarray]) -> xr.Dataset:
    """Return the dataset that a layout describes.

    Parameters
    ----------
    layout : mapping
        As `take_apart` gave it.
    array_of : function
        Called with each variable's entry; returns its array, of any type that holds its values.

    Raises
    ------
    ValueError
        Where a variable is missing, or is not what the layout tells.
    """
    parts: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for entry in layout["variables"]:
        try:
            array = array_of(entry).reshape(entry["shape"]).astype(entry["dtype"], copy=False)
        except (KeyError, ValueError) as error:
            raise ValueError(f"its variable {entry['name']!r} is missing or another: {error}") from error
        parts[entry["coordinate"]][entry["name"]] = (entry["dims"], array, decoded(entry["attributes"]))
    coordinates = xr.Coordinates(parts[True], indexes={})
    dataset = xr.Dataset(parts[False], coords=coordinates, attrs=decoded(layout["attributes"]))
    for entry in layout["variables"]:
        if entry["indexed"]:
            dataset = dataset.set_xindex(entry["name"])
    return dataset


def to_text(layout: Mapping[str, Any]) -> str:
    """Return a layout as JSON in ASCII, which every program reads."""
    return json.dumps(layout, allow_nan=False, indent=1)


def from_text(text: str | bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the layout of a JSON text, refusing one that a later version has written.

    Raises
    ------
    InputError
        Where this version does not know the layout.
    """
    layout: dict[str, Any] = json.loads(text)
    if layout["layout"] > LAYOUT_VERSION:
        raise InputError(
            f"{str(path)!r} has layout {layout['layout']}, and this version of neurornn knows layouts up to "
            f'{LAYOUT_VERSION}: upgrade with pip install -U "neurornn"'
        )
    return layout


def damaged(
    path: str | os.PathLike[str], kind: str, content: bytes | memoryview, error: object
) -> files.CorruptFile:
    """Return the error for a file that is of another kind than its name says, or damaged."""
    return files.CorruptFile(
        f"{str(path)!r} is not {kind}, or is damaged ({error}); it is {files.kind_of_content(content)}: "
        "check the name, or take another copy"
    )


def plain_name(name: str) -> str:
    """Return a name of ASCII letters, digits and underscores only, which every format allows."""
    return re.sub(r"[^0-9A-Za-z_]", "_", name) or "_"


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name that is not taken yet: the one that is wanted, or that with a number."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _plain_array(variable: xr.Variable, name: str, holder: str, kinds: str) -> np.ndarray:
    array = np.asarray(variable.to_numpy())
    if array.dtype.kind in "OT":
        array = fixed_width(array)
    kind = array.dtype.kind
    if kind == "c" and "c" not in kinds:
        raise InputError(
            f"variable {name!r} is complex, which {holder} cannot hold everywhere: "
            "store its real and imaginary parts as two variables"
        )
    if kind not in kinds:
        raise InputError(
            f"variable {name!r} has type {array.dtype}, which {holder} cannot hold: "
            "make it numbers or strings"
        )
    return array


def _encoded_all(attributes: Mapping[Any, Any], owner: str, holder: str) -> dict[str, Any]:
    encoded = {}
    for key, value in attributes.items():
        try:
            if not isinstance(key, str):
                raise TypeError
            encoded[key] = _encoded(value)
        except TypeError:
            raise InputError(
                f"attribute {key!r} of {owner} is {value!r}, which {holder} cannot hold under that name: "
                "use a number, a string, an array or plain lists (json.dumps makes a string of the rest)"
            ) from None
    return encoded


def _encoded(value: Any) -> Any:
    """Return a value as JSON holds it; arrays, and numbers that JSON lacks, as their bytes."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in "biufcmMU":
            raise TypeError
        return _bytes_of(array, "array" if isinstance(value, np.ndarray) else "scalar")
    if type(value) is float and not np.isfinite(value):
        return _bytes_of(np.asarray(value), "float")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_encoded(entry) for entry in value]
    if type(value) is dict and all(type(key) is str for key in value) and _ARRAY not in value:
        return {key: _encoded(entry) for key, entry in value.items()}
    raise TypeError


def _bytes_of(array: np.ndarray, form: str) -> dict[str, Any]:
    text = base64.b64encode(array.tobytes()).decode()
    return {_ARRAY: {"form": form, "dtype": array.dtype.str, "shape": list(array.shape), "base64": text}}


def decoded(value: Any) -> Any:
    """Return what `take_apart` has encoded of attributes, with every type as it was."""
    if isinstance(value, list):
        return [decoded(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY not in value:
        return {key: decoded(entry) for key, entry in value.items()}
    packed = value[_ARRAY]
    raw = np.frombuffer(base64.b64decode(packed["base64"]), dtype=packed["dtype"])
    array = raw.reshape(packed["shape"]).copy()
    if packed["form"] == "array":
        return array
    return array[()] if packed["form"] == "scalar" else float(array)
