"""Datasets and trees of them under one roof: to a format, each is a dataset for every node.

A tree (`xarray.DataTree`) holds what belongs together but does not fit into one dataset: the activity of many
seeds, or of one network at many checkpoints, each a child by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.coders import CFDatetimeCoder, CFTimedeltaCoder

from neurornn import files
from neurornn.storage.storable import first_line, need_name
from neurornn.vocabulary import InputError

ROOT = "/"
VERIFIED = "neurornn_verified"
"""Key in a loaded dataset's ``encoding``: whether the file's digest was there and agreed."""

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def nodes_of(dataset: xr.Dataset | xr.DataTree) -> dict[str, xr.Dataset]:
    """Return a dataset for every node, by its path; of a plain dataset the one at the root.

    Raises
    ------
    InputError
        Where a tree has no child, and so could not be told from a dataset when it is read, or a child's name
        cannot be that of a group.

    Examples
    --------
    >>> one = xr.Dataset({"rate": ("unit", [1.0, 2.0])})
    >>> list(nodes_of(xr.DataTree.from_dict({"seed_0": one, "seed_1": one})))
    ['/', '/seed_0', '/seed_1']
    """
    if isinstance(dataset, xr.Dataset):
        return {ROOT: dataset}
    if not dataset.children:
        raise InputError(
            "the tree has no children, and would be read as a dataset: save tree.to_dataset() instead"
        )
    # A subtree is saved by itself: its root is the root.
    top = dataset.copy(inherit=True) if dataset.parent is not None else dataset
    nodes = {}
    for node in top.subtree:
        for name in node.children:
            need_name(name, f"the child {name!r} of {called(node.path)}")
        nodes[node.path] = node.to_dataset(inherit=False)
    return nodes


def called(name: str) -> str:
    """Return what a node is called in a sentence."""
    return "the dataset" if name == ROOT else f"the dataset at {name!r}"


def assembled(
    nodes: Mapping[str, xr.Dataset], path: str | os.PathLike[str], *, verified: bool
) -> xr.Dataset | xr.DataTree:
    """Return what was read as one dataset, or as a tree where there are several.

    Every node's ``encoding`` tells the file it came from and whether that was verified.
    """
    for node in nodes.values():
        node.encoding = {**node.encoding, "source": str(path), VERIFIED: verified}
    if list(nodes) == [ROOT]:
        return nodes[ROOT]
    try:
        return xr.DataTree.from_dict(nodes)
    except ValueError as error:
        # xarray tells with a ValueError that coordinates of a child do not fit its parent's.
        raise files.CorruptFile(
            f"the groups of {str(path)!r} do not make a tree ({first_line(error)}): read them one by one "
            "with xarray.open_groups"
        ) from error


# How values are written and read in every format of xarray's ------------------------------------------------


def decoding() -> dict[str, Any]:
    """Return how xarray is to read: dates in the unit they were written in, durations where marked as such.

    A number with the units ``ms`` stays a number.
    """
    return {
        "decode_times": CFDatetimeCoder(time_unit="s"),
        "decode_timedelta": CFTimedeltaCoder(decode_via_units=False, decode_via_dtype=True),
    }


def time_encoding(variable: xr.Variable) -> dict[str, Any]:
    """Return how dates and durations are written: as whole numbers of their own unit.

    xarray would tell the unit from the values, and those of the first trials may not tell that of the others.
    """
    if variable.dtype.kind not in "mM":
        return {}
    unit = _UNITS[np.datetime_data(variable.dtype)[0]]
    if variable.dtype.kind == "m":
        return {"units": unit, "dtype": "int64"}
    return {"units": f"{unit} since 1970-01-01", "dtype": "int64", "calendar": "proleptic_gregorian"}


def fixed_width(strings: np.ndarray) -> np.ndarray:
    """Return strings of any kind as NumPy's own, as wide as the longest."""
    # By way of objects, since NumPy tells the width of no other kind.
    return strings.astype(object).astype(str)


def with_plain_strings(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose strings are NumPy's, whatever the library below gave."""
    strings = {
        name: xr.Variable(variable.dims, fixed_width(variable.to_numpy()), variable.attrs, variable.encoding)
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "OT"
    }
    return dataset.assign(strings) if strings else dataset


def in_memory(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset with its values read, and of the kinds that were announced."""
    announced = {name: variable.dtype for name, variable in dataset.variables.items()}
    dataset = with_plain_strings(dataset.load())
    # xarray decodes durations of which there are none as seconds.
    other = {
        name: variable.astype(announced[name])
        for name, variable in dataset.variables.items()
        if variable.dtype.kind == "m" and variable.dtype != announced[name]
    }
    return dataset.assign(other) if other else dataset
