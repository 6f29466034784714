"""Datasets as netCDF-4 files: compressed, whole or absent, with a SHA-256 trailer that is checked first."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.vocabulary import TRIAL, InputError

VERIFIED = "neurornn_verified"
"""Key in a loaded dataset's ``encoding``: whether the file's digest was there and agreed."""

_CHUNK_BYTES = 2**20


def to_netcdf(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset; see `neurornn.save`."""
    _need_storable(dataset)
    encoding = {str(name): _encoding(variable) for name, variable in dataset.variables.items()}
    # In memory first: on a full disk the HDF5 library crashes the process, a plain write only raises.
    data = dataset.to_netcdf(None, engine="h5netcdf", encoding=encoding)
    files.atomic_write(path, files.seal(data))


def from_netcdf(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset:
    """Read a dataset; see `neurornn.load`."""
    # The digest is checked before HDF5 sees the bytes: one flipped bit can make it spin for ever.
    content, verified = files.unseal(files.read_bytes(path), path, verify=verify)
    try:
        with xr.open_dataset(io.BytesIO(content), engine="h5netcdf", decode_timedelta=False) as opened:
            dataset = opened.load()
    except Exception as error:
        # h5py, h5netcdf and xarray each have their own exceptions for what is no netCDF file.
        raise files.CorruptFile(f"{str(path)!r} is not a netCDF-4 file, or is damaged: {error}") from error
    for name, variable in dataset.variables.items():
        if variable.dtype == object:
            dataset[name] = (variable.dims, variable.to_numpy().astype(str), variable.attrs)
    dataset.encoding[VERIFIED] = verified
    return dataset


def _need_storable(dataset: xr.Dataset) -> None:
    """Refuse what netCDF would lose or change silently."""
    for name, index in dataset.indexes.items():
        if index.nlevels > 1:
            raise InputError(
                f"coordinate {name!r} is a MultiIndex, which netCDF cannot hold: "
                f"use dataset.reset_index({name!r}) first"
            )
    for name, variable in dataset.variables.items():
        kind = variable.dtype.kind
        if kind == "O" and not all(isinstance(entry, str) for entry in variable.to_numpy().ravel()):
            raise InputError(
                f"variable {name!r} holds Python objects, which netCDF cannot: make it numbers or strings"
            )
        if kind == "c":
            raise InputError(
                f"variable {name!r} is complex, which netCDF cannot hold everywhere: "
                "store its real and imaginary parts as two variables"
            )
        _need_storable_attributes(variable.attrs, f"variable {name!r}")
    _need_storable_attributes(dataset.attrs, "the dataset")


def _need_storable_attributes(attributes: dict[Any, Any], owner: str) -> None:
    for key, value in attributes.items():
        plain = isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(
            value, bool
        )
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
        # HDF5 ends a string at its first NUL and has no integer above 64 bits.
        fits = "\0" not in value if isinstance(value, str) else True
        fits = -(2**63) <= value < 2**64 if isinstance(value, int) else fits
        if not (plain or numbers) or not fits:
            raise InputError(
                f"attribute {key!r} of {owner} is {value!r}, which netCDF cannot hold: "
                "use a number or a string (json.dumps makes one of anything)"
            )


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Return compression, and chunks of whole trials, for one variable.

    zlib's own checksum comes with compression; shuffled bytes compress floats by about a sixth.
    """
    if variable.dtype.kind not in "fiub" or variable.ndim == 0 or variable.size == 0:
        return {}
    encoding: dict[str, Any] = {"zlib": True, "complevel": 1, "shuffle": True}
    if variable.dims[0] == TRIAL and variable.ndim > 1:
        per_trial = variable.nbytes // variable.shape[0]
        trials = min(max(1, _CHUNK_BYTES // max(per_trial, 1)), variable.shape[0])
        encoding["chunksizes"] = (trials, *variable.shape[1:])
    return encoding
