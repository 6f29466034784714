"""Datasets to files and back, the format told by the file's ending. One format a file."""

from __future__ import annotations

import os
from collections.abc import Callable

import xarray as xr

from neurornn import files
from neurornn.storage.netcdf import from_netcdf, to_netcdf
from neurornn.vocabulary import InputError, unknown_name

__all__ = ["load", "save"]

WRITERS: dict[str, Callable[[xr.Dataset, str | os.PathLike[str]], None]] = {".nc": to_netcdf}


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset to a file.

    The file holds the old content or all of the new, never a part; a SHA-256 of its bytes stands at its end,
    where other programs do not look.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of real numbers, booleans and strings.
    path : path-like
        Ending in ``.nc`` (netCDF-4).

    Raises
    ------
    InputError
        Where the ending is unknown, the folder cannot be written to, or the dataset holds what the format
        cannot (complex numbers, Python objects, a MultiIndex, attributes that are no number or string).

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
    if not isinstance(dataset, xr.Dataset):
        raise InputError(f"`dataset` must be an xarray Dataset, got {type(dataset).__name__}")
    path = files.as_path(path)
    if path.suffix not in WRITERS:
        unknown_name("file ending", path.suffix, WRITERS)
    WRITERS[path.suffix](dataset, path)


def load(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset:
    """Read a dataset from a file.

    Parameters
    ----------
    path : path-like
        Ending in ``.nc``.
    verify : bool
        Refuse a file whose bytes are not those that `save` wrote. A file from elsewhere has no digest and is
        read all the same; ``dataset.encoding["neurornn_verified"]`` says which it was.

    Returns
    -------
    xarray.Dataset
        In memory.

    Raises
    ------
    InputError
        Where there is no such file or its ending is unknown.
    CorruptFile
        Where it is damaged.
    """
    path = files.as_path(path)
    if path.suffix not in WRITERS:
        unknown_name("file ending", path.suffix, WRITERS)
    return from_netcdf(path, verify=verify)
