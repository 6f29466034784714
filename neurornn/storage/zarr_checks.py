"""What is asked of a dataset, a folder and an installation before a Zarr store is written or read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import tree
from neurornn.storage.storable import need_storable, rehearse
from neurornn.storage.zarr_arrays import MANIFEST, Plan, arrays_along_trials, opened, write_trials
from neurornn.vocabulary import InputError

MEDIUM = "Zarr"
METADATA = "zarr.json"
"""The file that describes an array or a group."""
_LONGEST_NAME = 200


def need_library() -> None:
    """Refuse to go on without the package zarr."""
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise InputError(
            'Zarr stores need the package zarr: install it with pip install "neurornn[zarr]", or use .nc'
        ) from error


def need_zarr_storable(dataset: xr.Dataset, where: str) -> None:
    """Refuse what Zarr would lose or change silently; ``where`` is what the dataset is called."""
    need_storable(dataset, MEDIUM, where)
    for name, variable in dataset.variables.items():
        _need_attributes(variable.attrs, f"variable {name!r}")
    _need_attributes(dataset.attrs, where)
    for name in dataset.variables:
        long = len(str(name).encode()) > _LONGEST_NAME
        if name in (MANIFEST, METADATA) or str(name).startswith("__") or long:
            raise InputError(
                f"variable {str(name)[:40]!r} of {where} has a name that Zarr keeps for itself, or one of "
                f"more than {_LONGEST_NAME} bytes: rename it"
            )
    rehearse(dataset, _there_and_back, MEDIUM, where)


def _need_attributes(attributes: dict[Any, Any], owner: str) -> None:
    """Refuse attributes that are not JSON, or of which JSON would make something else."""
    for key, value in attributes.items():
        bare = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        try:
            same = json.loads(json.dumps({key: bare}, allow_nan=False)) == {key: bare}
        except (TypeError, ValueError, RecursionError):
            same = False
        if not same:
            raise InputError(
                f"attribute {key!r} of {owner} is {value!r}, which Zarr cannot hold as JSON: use finite "
                "numbers, strings, or lists and dicts of these"
            )


def _there_and_back(dataset: xr.Dataset) -> xr.Dataset:
    from zarr.storage import MemoryStore

    store: Any = MemoryStore()
    plan = Plan.of(dataset)
    plan.create(store, tree.ROOT, dataset)
    if plan.n_trials:
        write_trials(arrays_along_trials(store, tree.ROOT), dataset, 0)
    return tree.in_memory(opened(store, tree.ROOT))


def _is_store(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (METADATA, ".zgroup", ".zarray"))


def need_replaceable(path: Path) -> None:
    """Refuse to put a store where something else is, such as a folder of other files."""
    if path.exists() and not (path.is_dir() and _is_store(path)):
        raise InputError(
            f"{str(path)!r} is there and is no Zarr store: choose another name, or remove it first"
        )


def need_store(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a store that is there, refusing what is none."""
    folder = files.whole_folder(path)
    if not folder.exists():
        raise InputError(f"there is no Zarr store {str(path)!r}: check the name and the folder")
    if folder.is_file():
        kind = files.kind_of_content(files.read_bytes(folder))
        raise files.CorruptFile(
            f"{str(path)!r} is not a Zarr store, which is a folder; it is {kind}: check the name"
        )
    if not _is_store(folder):
        raise files.CorruptFile(
            f"{str(path)!r} is a folder without {METADATA!r}, so no Zarr store, or a damaged one: check the "
            "name, or take another copy"
        )
    return folder
