"""Datasets as netCDF-4 files: compressed, whole or absent, with a SHA-256 trailer that is checked first."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import tree
from neurornn.storage.storable import first_line, need_storable, plain, rehearse
from neurornn.vocabulary import TRIAL, InputError

MEDIUM = "netCDF"
_CHUNK_BYTES = 2**20


def write(dataset: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a dataset, or a tree of them as groups; see `neurornn.save`."""
    nodes = tree.nodes_of(dataset)
    for name, node in nodes.items():
        where = tree.called(name)
        need_storable(node, MEDIUM, where)
        _need_kinds(node, where)
        rehearse(node, _there_and_back, MEDIUM, where)
    # In memory first: on a full disk the HDF5 library crashes the process, a plain write only raises.
    files.atomic_write(path, files.seal(_encoded(nodes)))


def read(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset | xr.DataTree:
    """Read a dataset or a tree of them; see `neurornn.load`."""
    # The digest is checked before HDF5 sees the bytes: one flipped bit can make it spin for ever.
    content, verified = files.unseal(files.read_bytes(path), path, verify=verify)
    if not verified:
        _need_whole(content, path, verify)
    try:
        nodes = _decoded(content)
    except MemoryError:
        raise
    except Exception as error:
        # h5py, h5netcdf and xarray each have their own exceptions for what is no netCDF file.
        raise files.CorruptFile(_what_is_wrong(path, content, first_line(error))) from error
    return tree.assembled(nodes, path, verified=verified)


def _what_is_wrong(path: str | os.PathLike[str], content: memoryview, reason: str) -> str:
    kind = files.kind_of_content(content)
    cure = "check the name"
    if "HDF5" in kind:
        kind, cure = reason, "take another copy"
    elif "netCDF-3" in kind:
        opened = f"xarray.open_dataset({str(path)!r}, engine='scipy')"
        cure = f"write it anew with neurornn.save({opened}, 'NAME.nc')"
    elif kind == "empty":
        cure = "take another copy"
    return f"{str(path)!r} is not a netCDF-4 file, or is damaged ({kind}): {cure}"


def _need_whole(content: memoryview, path: str | os.PathLike[str], verify: bool) -> None:
    """Refuse a file without a digest that is shorter than it says, or from which the digest was wiped."""
    end = _end(content)
    if end is not None and len(content) < end:
        raise files.CorruptFile(
            f"{str(path)!r} is cut short, or is damaged ({len(content)} of {end} bytes are there): take "
            "another copy"
        )
    if verify and end is not None and len(content) == end + files.TRAILER_LENGTH:
        raise files.CorruptFile(
            f"{str(path)!r} is damaged: the digest behind its content was overwritten; take another copy, or "
            "read what is left with verify=False"
        )


def _end(content: memoryview) -> int | None:
    """Return where an HDF5 file says that it ends; None where its beginning says nothing.

    By the superblock, versions 0 to 3, of the HDF5 file format specification.
    """
    if bytes(content[:8]) != b"\x89HDF\r\n\x1a\n" or len(content) < 48:
        return None
    version = content[8]
    place = {0: (13, 40), 1: (13, 44), 2: (9, 28), 3: (9, 28)}.get(version)
    if place is None or content[place[0]] != 8:
        return None
    return int.from_bytes(content[place[1] : place[1] + 8], "little")


# Bytes and back ---------------------------------------------------------------------------------------------


def _encoded(nodes: dict[str, xr.Dataset]) -> memoryview:
    bare = {name: plain(node, tree.fixed_width) for name, node in nodes.items()}
    encodings = {
        name: {str(own): _encoding(variable) for own, variable in node.variables.items()}
        for name, node in bare.items()
    }
    if list(bare) == [tree.ROOT]:
        return bare[tree.ROOT].to_netcdf(None, engine="h5netcdf", encoding=encodings[tree.ROOT])
    return xr.DataTree.from_dict(bare).to_netcdf(None, engine="h5netcdf", encoding=encodings)


def _decoded(content: bytes | memoryview) -> dict[str, xr.Dataset]:
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        has_groups = any(isinstance(own, h5py.Group) for own in file.values())
    options = tree.decoding()
    if not has_groups:
        with xr.open_dataset(io.BytesIO(content), engine="h5netcdf", **options) as opened:
            return {tree.ROOT: tree.in_memory(opened)}
    groups = xr.open_groups(io.BytesIO(content), engine="h5netcdf", **options)
    try:
        return {name: tree.in_memory(group) for name, group in groups.items()}
    finally:
        for group in groups.values():
            group.close()


def _there_and_back(dataset: xr.Dataset) -> xr.Dataset:
    return _decoded(_encoded({tree.ROOT: dataset}))[tree.ROOT]


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Return compression, and chunks of whole trials, for one variable.

    zlib's own checksum comes with compression; shuffled bytes compress floats by about a sixth.
    """
    encoding = tree.time_encoding(variable)
    if variable.dtype.kind == "f":
        # NaN is itself; a coordinate with a fill value would break the convention that `Conventions` names.
        encoding["_FillValue"] = None
    if variable.dtype.kind not in "fiub" or variable.ndim == 0 or variable.size == 0:
        return encoding
    encoding |= {"zlib": True, "complevel": 1, "shuffle": True}
    if variable.dims[0] == TRIAL and variable.ndim > 1:
        per_trial = variable.nbytes // variable.shape[0]
        trials = min(max(1, _CHUNK_BYTES // max(per_trial, 1)), variable.shape[0])
        encoding["chunksizes"] = (trials, *variable.shape[1:])
    return encoding


# What netCDF lacks ------------------------------------------------------------------------------------------


def _need_kinds(dataset: xr.Dataset, where: str) -> None:
    """Refuse kinds of numbers and attributes that netCDF-4 does not have, although HDF5 may."""
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "c":
            raise InputError(
                f"variable {name!r} is complex, which netCDF cannot hold everywhere: "
                "store its real and imaginary parts as two variables"
            )
        if variable.dtype.kind == "f" and variable.dtype.itemsize not in (4, 8):
            raise InputError(
                f"variable {name!r} is {variable.dtype}, which netCDF does not have: "
                f"use dataset[{name!r}].astype('float32') or 'float64'"
            )
        _need_attributes(variable.attrs, f"variable {name!r}")
    _need_attributes(dataset.attrs, where)


def _need_attributes(attributes: dict[Any, Any], owner: str) -> None:
    for key, value in attributes.items():
        plain_value = isinstance(value, str | int | float | np.integer | np.floating)
        plain_value &= not isinstance(value, bool)
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
        # HDF5 ends a string at its first NUL and has no integer above 64 bits.
        fits = "\0" not in value if isinstance(value, str) else True
        fits = -(2**63) <= value < 2**64 if isinstance(value, int) else fits
        if not (plain_value or numbers) or not fits:
            raise InputError(
                f"attribute {key!r} of {owner} is {value!r}, which netCDF cannot hold: "
                "use a number or a string (json.dumps makes one of anything)"
            )
