"""Datasets to files and back, the format told by the file's ending. One format a file.

A format is a module with two functions, ``write(dataset, path)`` and ``read(path, *, verify=True)``, and an
entry here. It is imported on first use; what it needs beyond the package's own dependencies it asks for in a
sentence.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import xarray as xr

from neurornn import files
from neurornn.storage import schema
from neurornn.storage.nwb import export_nwb
from neurornn.storage.pynapple_objects import to_pynapple
from neurornn.vocabulary import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["export_nwb", "load", "load_activity", "save", "to_pynapple"]

FORMATS = {
    ".csv": "conditions_csv",
    ".mat": "matlab",
    ".nc": "netcdf",
    ".npz": "npz",
    ".nwb": "nwb",
    ".zarr": "zarr",
}
"""For every ending of a file the module that writes and reads it."""
_TREES = (".nc", ".zarr")
"""Endings of what holds a tree of datasets."""
_LAZY = (".zarr",)
"""Endings of what is read piece by piece."""
_ONE_WAY = (".csv",)
"""Endings of what holds too little to be read again."""


def save(dataset: xr.Dataset | xr.DataTree | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a dataset, or a tree of datasets, to a file.

    The file holds the old content or all of the new, never a part. What the format would lose or change is
    refused before anything is written.

    Parameters
    ----------
    dataset : xarray.Dataset or xarray.DataTree
        What to write. A tree holds several datasets by name, for example of many seeds; only netCDF and Zarr
        take one.
    path : path-like
        Its ending names the format:

        ========= ==================================================================================
        ``.nc``   netCDF-4, one file; a SHA-256 of its bytes stands at the end, where others do not look
        ``.zarr`` Zarr, a folder of chunks, each with a checksum; for what is larger than memory
        ``.nwb``  Neurodata Without Borders, for experimentalists' tools
        ``.mat``  MATLAB
        ``.npz``  NumPy arrays
        ``.csv``  a table of the trials' conditions, written only
        ========= ==================================================================================

    Raises
    ------
    InputError
        Where the ending is unknown, the folder cannot be written to, or the dataset holds what the format
        cannot (a MultiIndex, Python objects, in netCDF complex numbers and attributes that are no number or
        string).
    UnwritableFile
        Where the disk is full or fails; an older file is intact.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "rates.nc"
    ...     save(xr.Dataset({"rate": ("unit", [1.0, 2.0])}), file)
    ...     load(file).rate.values
    array([1., 2.])
    """
    if isinstance(dataset, xr.DataArray):
        dataset = dataset.to_dataset(name=dataset.name or "value")
    if not isinstance(dataset, xr.Dataset | xr.DataTree):
        raise InputError(f"`dataset` must be an xarray Dataset or DataTree, got {type(dataset).__name__}")
    path = files.as_path(path)
    module = _format(path)
    if isinstance(dataset, xr.DataTree) and path.suffix not in _TREES:
        raise InputError(
            f"{path.suffix} cannot hold a tree of datasets: use {' or '.join(_TREES)}, or save one of them, "
            "for example tree['seed_0'].to_dataset()"
        )
    module.write(dataset, path)


def load(path: str | os.PathLike[str], *, verify: bool = True, lazy: bool = False) -> Any:
    """Read a dataset, or a tree of datasets, from a file.

    Datasets of an older version of the package come in the present layout (`neurornn.storage.schema`).

    Parameters
    ----------
    path : path-like
        With one of the endings that `save` knows.
    verify : bool
        Refuse a file whose bytes are not those that `save` wrote. A file from elsewhere has no digest and is
        read all the same; ``dataset.encoding["neurornn_verified"]`` says which it was.
    lazy : bool
        Leave the values of a Zarr store on the disk until they are asked for, piece by piece, so that it can
        be larger than memory; ``dataset.chunk({"trial": 256})`` then hands the pieces to dask. That every
        chunk is there is checked now, its content when it is read.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        What the file holds; in memory unless ``lazy``.

    Raises
    ------
    InputError
        Where there is no such file, its ending is unknown, or a newer version of the package wrote it.
    CorruptFile
        Where it is damaged, or is a file of another kind.
    """
    path = files.as_path(path)
    module = _format(path)
    if path.suffix in _ONE_WAY:
        raise InputError(
            f"{path.suffix} files are written only: load the .nc or .zarr file of the same activity"
        )
    if lazy and path.suffix not in _LAZY:
        raise InputError(
            f"{path.suffix} files are read whole: leave lazy=True out, or save the dataset as {_LAZY[0]} "
            "first"
        )
    options = {"lazy": True} if lazy else {}
    found = module.read(path, verify=verify, **options)
    if isinstance(found, xr.DataTree):
        return found.map_over_datasets(lambda node: schema.up_to_date(node, path))
    return schema.up_to_date(found, path)


def load_activity(
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    lazy: bool = False,
    variables: Iterable[str] = ("rate",),
) -> xr.Dataset:
    """Read an activity from a file, and refuse a file that holds something else.

    Parameters
    ----------
    path, verify, lazy
        As `load` takes them.
    variables : iterable of str
        What must be there. ``rate`` must have the dimensions trial, time and unit.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InputError
        As `load`, and where the file holds a tree, or a variable or dimension is missing.
    CorruptFile
        As `load`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "rates.nc"
    ...     save(xr.Dataset({"rate": (("trial", "time", "unit"), [[[0.5]]])}), file)
    ...     dict(load_activity(file).sizes)
    {'trial': 1, 'time': 1, 'unit': 1}
    """
    return schema.need_activity(load(path, verify=verify, lazy=lazy), path, variables)


def _format(path: os.PathLike[str]) -> ModuleType:
    suffix = files.as_path(path).suffix
    if suffix not in FORMATS:
        unknown_name("file ending", suffix, FORMATS)
    return importlib.import_module(f"{__name__}.{FORMATS[suffix]}")
