"""Datasets as .npz files: one array a variable, and beside them their labels as a JSON text.

Any numpy reads the arrays (``numpy.load(path)["rate"]``); no pickle is written or read. A digest stands where
a zip archive has its comment.
"""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import layout as layouts
from neurornn.storage.tree import VERIFIED
from neurornn.vocabulary import InputError

LABELS = "neurornn.json"
"""The archive's member that holds the labels."""

_KINDS = "biufcmMU"
_HOLDER = "an .npz file"
_TRAILER_LENGTH = len(files.seal(b""))
_FAST = 1
"""Level of compression: the higher ones take several times as long for some percent."""


def write(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset; see `neurornn.save`.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of any numbers, booleans, dates and strings; attributes of plain values, lists and arrays.
    path : path-like

    Raises
    ------
    InputError
        Where it holds a MultiIndex, Python objects, or names that are no plain strings.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> dataset = xr.Dataset({"rate": (("trial", "unit"), np.eye(2))}, attrs={"task": "flip_flop"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "rates.npz"
    ...     write(dataset, file)
    ...     read(file).identical(dataset), np.load(file)["rate"].shape
    (True, (2, 2))
    """
    layout, arrays = layouts.take_apart(dataset, _HOLDER, _KINDS)
    buffer = io.BytesIO()
    # Members get zip's first date, not the present one, so that the same dataset makes the same bytes.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), layouts.to_text(layout), zipfile.ZIP_DEFLATED, _FAST)
        for name, array in arrays.items():
            with archive.open(_member(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        # Room for the digest, announced as a comment of its length, so that the whole is a proper archive.
        archive.comment = bytes(_TRAILER_LENGTH)
    files.atomic_write(path, files.seal(buffer.getbuffer()[:-_TRAILER_LENGTH]))


def read(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset:
    """Read a dataset; see `neurornn.load`.

    Parameters
    ----------
    path : path-like
    verify : bool
        Refuse bytes that are not those that were written.

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
    data = files.read_bytes(path)
    _, verified = files.unseal(data, path, verify=verify)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if LABELS not in archive.namelist():
                raise layouts.without_labels(path, "numpy.load")
            if verify and not verified:
                raise ValueError("its digest is missing")
            layout = layouts.from_text(archive.read(LABELS), path)
            dataset = layouts.put_together(layout, lambda entry: _array(archive, entry["name"]))
    except InputError:
        raise
    except Exception as error:
        # zipfile, zlib and numpy each have their own exceptions for what is not theirs.
        raise layouts.damaged(path, _HOLDER, data, error) from error
    dataset.encoding = {"source": str(path), VERIFIED: verified}
    return dataset


def _member(name: str) -> str:
    return f"{name}.npy"


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(_member(name)) as member:
        return np.lib.format.read_array(member, allow_pickle=False)
