"""The layout of the package's datasets through the versions of the package.

Every dataset that the package makes carries one JSON text, ``attrs["neurornn"]``, which tells where it came
from and under ``"schema"`` the version of its layout. An older layout is brought up to the present one when a
file is read; a newer one is refused. What has no such text is somebody else's, and is read as it is.

Layouts
-------
1. The first. States that are not the rates have no ``quantity``. The condition ``delay`` of delayed
   comparison has the name of an epoch. Weights are digested under names that networks have no more.
2. ``quantity`` on ``state_variable``, where states are not the rates; ``delay_duration``; digests of weights
   under their present names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.vocabulary import SCHEMA_VERSION, STATE_VARIABLE, TIME, TRIAL, UNIT, InputError, nearest_name

ATTRIBUTE = "neurornn"
_SCHEMA = "schema"

Migration = Callable[[xr.Dataset, dict[str, Any]], tuple[xr.Dataset, dict[str, Any]]]


def origin(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what a dataset tells of where it came from; empty where it tells nothing.

    Examples
    --------
    >>> origin(xr.Dataset(attrs={"neurornn": '{"schema": 2}'}))
    {'schema': 2}
    >>> origin(xr.Dataset())
    {}
    """
    try:
        told = json.loads(dataset.attrs.get(ATTRIBUTE, "{}"))
    except (TypeError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def up_to_date(dataset: xr.Dataset, path: str | os.PathLike[str]) -> xr.Dataset:
    """Return a dataset in the present layout.

    Parameters
    ----------
    dataset : xarray.Dataset
        As it was read.
    path : path-like
        The file it came from, for the error.

    Raises
    ------
    InputError
        Where a newer version of the package wrote it.
    CorruptFile
        Where the version is no version.
    """
    told = origin(dataset)
    if _SCHEMA not in told:
        return dataset
    version = told[_SCHEMA]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise files.CorruptFile(
            f"{str(path)!r} tells that its layout is {version!r}, expected a whole number from 1 to "
            f"{SCHEMA_VERSION}: take another copy, or read it with xarray itself"
        )
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{str(path)!r} has layout {version}, and this version of neurornn knows those up to "
            f"{SCHEMA_VERSION}: update it with pip install --upgrade neurornn, or read the file with xarray "
            "itself"
        )
    for step in range(version, SCHEMA_VERSION):
        dataset, told = MIGRATIONS[step](dataset, {**told})
    if version == SCHEMA_VERSION:
        return dataset
    told |= {_SCHEMA: SCHEMA_VERSION, "migrated_from_schema": version}
    return dataset.assign_attrs({ATTRIBUTE: json.dumps(told, sort_keys=True)})


def _from_1(dataset: xr.Dataset, told: dict[str, Any]) -> tuple[xr.Dataset, dict[str, Any]]:
    """Bring the first layout up to the second. Its last writers had some of the second already."""
    if (
        "state" in dataset.variables
        and "quantity" not in dataset.variables
        and STATE_VARIABLE in dataset.dims
    ):
        # Before quantities had names, only current dynamics had states that are not the rates.
        quantity = np.full(dataset.sizes[STATE_VARIABLE], "current")
        dataset = dataset.assign_coords(quantity=(STATE_VARIABLE, quantity))
    task = told.get("task")
    if isinstance(task, dict) and task.get("class") == "DelayedComparison":
        if "delay" in dataset.coords and "delay_duration" not in dataset.variables:
            dataset = dataset.rename(delay="delay_duration")
        parameters = task.get("parameters", {})
        if "delays" in parameters:
            parameters["delay"] = f"Choice({', '.join(map(repr, parameters.pop('delays')))})"
    network = told.get("network")
    if isinstance(network, dict) and "n_layers" not in network and "weights_sha256" in told:
        told["weights_sha256_schema_1"] = told.pop("weights_sha256")
    return dataset, told


MIGRATIONS: dict[int, Migration] = {1: _from_1}
"""For every older version what brings it up to the next one."""


def need_activity(
    dataset: xr.Dataset | xr.DataTree, path: str | os.PathLike[str], variables: Iterable[str] = ("rate",)
) -> xr.Dataset:
    """Return a dataset that was read from a file, refusing one that is no activity.

    Parameters
    ----------
    dataset : xarray.Dataset or xarray.DataTree
        What the file holds.
    path : path-like
        The file, for the error.
    variables : iterable of str
        What the caller needs of it. ``rate`` must have the dimensions trial, time and unit.

    Raises
    ------
    InputError
        Where it is a tree, or a variable or a dimension is missing; the sentence names file and cure.

    Examples
    --------
    >>> need_activity(xr.Dataset({"rates": ("unit", [1.0])}), "x.nc")
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: 'x.nc' is no activity: it has no variable 'rate', only 'rates'; record it
    \
anew with neurornn.record, or rename yours with dataset.rename(rates='rate')
    """
    if isinstance(dataset, xr.DataTree):
        children = list(dataset.children)
        raise InputError(
            f"{str(path)!r} holds a tree of {len(children)} datasets, expected one activity: take one of "
            f"them, for example neurornn.load({str(path)!r})[{children[0]!r}].to_dataset()"
        )
    for name in variables:
        if name not in dataset.variables:
            known = [str(own) for own in dataset.variables]
            near = nearest_name(name, known)
            cure = (
                f", or rename yours with dataset.rename({near}={name!r})"
                if near and near.isidentifier()
                else ""
            )
            raise InputError(
                f"{str(path)!r} is no activity: it has no variable {name!r}, only "
                f"{', '.join(map(repr, known)) or 'none at all'}; record it anew with neurornn.record{cure}"
            )
    if "rate" in dataset.variables:
        missing = [dim for dim in (TRIAL, TIME, UNIT) if dim not in dataset["rate"].dims]
        if missing:
            raise InputError(
                f"the rates in {str(path)!r} have the dimensions {dataset['rate'].dims}, expected 'trial', "
                f"'time' and 'unit': rename yours with dataset.rename, or add {missing[0]!r} with "
                f"dataset.expand_dims({missing[0]!r})"
            )
    return dataset
