"""How a dataset lies in a Zarr store: blocks of whole trials, chunks, groups, and the files they are in.

Every chunk ends in a CRC-32C, which any reader of Zarr checks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from neurornn.storage import tree
from neurornn.storage.storable import plain
from neurornn.vocabulary import TRIAL

if TYPE_CHECKING:
    import zarr

MANIFEST = "neurornn_manifest"
"""The group that says what a store is made of; nobody else's name in a dataset."""
CHUNK_BYTES = 4 * 2**20
"""Chunks of whole trials have up to so many bytes, where one trial has no more."""
BLOCK_BYTES = 64 * 2**20
"""A dataset that is there is written in blocks of up to so many bytes; no chunk has more."""


class Plan:
    """How a dataset's trials are cut into blocks, and these into chunks."""

    def __init__(self, n_trials: int, trials_per_block: int) -> None:
        self.n_trials = n_trials
        self.trials_per_block = trials_per_block

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return math.ceil(self.n_trials / self.trials_per_block)

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Plan:
        """Return the plan for a dataset that is there: blocks of up to 64 MiB, a power of two of trials."""
        n_trials = dataset.sizes.get(TRIAL, 0)
        per_trial = sum(own.nbytes for own in dataset.variables.values() if TRIAL in own.dims) / max(
            n_trials, 1
        )
        fit = max(1, int(BLOCK_BYTES / max(per_trial, 1)))
        return cls(n_trials, 2 ** min(fit.bit_length() - 1, max(n_trials - 1, 0).bit_length()))

    def create(self, folder: Path, group: str, dataset: xr.Dataset) -> None:
        """Write what does not go along trials, and arrays of full size without content for what does."""
        import zarr

        empty = plain(dataset.isel({TRIAL: slice(0, 0)}) if TRIAL in dataset.dims else dataset, _as_text)
        encoding = {str(name): self._encoding(variable) for name, variable in empty.variables.items()}
        empty.to_zarr(
            folder,
            group=_inside(group),
            mode="a",
            encoding=encoding,
            zarr_format=3,
            consolidated=False,
            write_empty_chunks=True,
        )
        if TRIAL not in dataset.dims:
            return
        opened = zarr.open_group(folder, path=_inside(group), mode="r+")
        for name, variable in empty.variables.items():
            if TRIAL in variable.dims:
                array = opened[str(name)]
                assert isinstance(array, zarr.Array)
                array.resize(
                    tuple(self.n_trials if dim == TRIAL else variable.sizes[dim] for dim in variable.dims)
                )

    def _encoding(self, variable: xr.Variable) -> dict[str, Any]:
        """Return compression, a checksum behind it, and chunks of whole trials."""
        from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

        chunks = {dim: max(size, 1) for dim, size in variable.sizes.items() if dim != TRIAL}
        # What is very large beside the trials, or in one of them, is halved until a chunk can be compressed.
        while math.prod(chunks.values()) * variable.dtype.itemsize > BLOCK_BYTES:
            largest = max(chunks, key=lambda dim: chunks[dim])
            chunks[largest] = math.ceil(chunks[largest] / 2)
        fit = max(1, CHUNK_BYTES // (math.prod(chunks.values()) * variable.dtype.itemsize))
        trials = next(
            k for k in range(min(fit, self.trials_per_block), 0, -1) if self.trials_per_block % k == 0
        )
        compression = BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.shuffle)
        return {
            **tree.time_encoding(variable),
            **({"_FillValue": np.iinfo("i8").min} if variable.dtype.kind in "mM" else {}),
            **({"_FillValue": None} if variable.dtype.kind in "fc" else {}),
            "compressors": [compression, Crc32cCodec()],
            "chunks": tuple(chunks.get(dim, trials) for dim in variable.dims),
        }


def _as_text(strings: np.ndarray) -> np.ndarray:
    """Return strings of any length, which Zarr holds in a form of its own and without a width."""
    return strings.astype(np.dtypes.StringDType())


def _inside(group: str) -> str | None:
    return group.strip("/") or None


def arrays_along_trials(folder: Any, group: str) -> dict[str, zarr.Array[Any]]:
    """Open a node's arrays that trials are written into; chunks of nothing but zeros are written too."""
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        arrays = dict(zarr.open_group(folder, path=_inside(group), mode="r+").arrays())
    return {name: array for name, array in arrays.items() if TRIAL in _dims(array)}


def _dims(array: zarr.Array[Any]) -> tuple[str | None, ...]:
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def write_trials(arrays: Mapping[str, zarr.Array[Any]], dataset: xr.Dataset, first: int) -> None:
    """Write some trials of a dataset into their place."""
    trials = slice(first, first + dataset.sizes[TRIAL])
    for name, array in arrays.items():
        dims = _dims(array)
        values = dataset.variables[name].transpose(*dims).to_numpy()
        if values.dtype.kind in "mM":
            # As whole numbers of their unit, of which the least stands for none.
            values = values.astype("i8")
        elif values.dtype.kind in "OTU":
            values = _as_text(values)
        array[tuple(trials if dim == TRIAL else slice(None) for dim in dims)] = values


def opened(folder: Any, group: str) -> xr.Dataset:
    """Open a node without dask and without reading its values, or keeping those that are read later."""
    return xr.open_dataset(
        folder, engine="zarr", group=_inside(group), cache=False, consolidated=False, **tree.decoding()
    )


def groups(folder: Path) -> Iterator[tuple[str, zarr.Group]]:
    """Go through the groups of a store, the manifest's left out."""
    import zarr

    def below(name: str, group: zarr.Group) -> Iterator[tuple[str, zarr.Group]]:
        yield name, group
        for child, own in sorted(group.groups()):
            if child != MANIFEST:
                yield from below(f"{name.rstrip('/')}/{child}", own)

    yield from below(tree.ROOT, zarr.open_group(folder, mode="r"))


class Grid(NamedTuple):
    """How an array is cut into files."""

    folder: Path
    dims: tuple[str | None, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]

    def files(self, trials: slice | None = None) -> Iterator[Path]:
        """Go through the array's files, or those that hold some trials."""
        places = [range(math.ceil(size / chunk)) for size, chunk in zip(self.shape, self.chunks, strict=True)]
        if trials is not None:
            axis = self.dims.index(TRIAL)
            chunk = self.chunks[axis]
            places[axis] = range(trials.start // chunk, math.ceil(trials.stop / chunk))
        for place in product(*places):
            yield self.folder.joinpath("c", *map(str, place))


def grids(folder: Path) -> list[Grid]:
    """Return the grid of every array in a store."""
    return [
        Grid(
            folder.joinpath(name.strip("/"), own),
            _dims(array),
            array.shape,
            array.chunks,
        )
        for name, group in groups(folder)
        for own, array in group.arrays()
    ]
