"""Datasets as Zarr stores: folders of chunks, for activity that is larger than memory.

A store is made of blocks of whole trials, and no chunk lies across two of them. `BlockStore` is filled block
by block: each has a flag that is set once all its chunks are on the disk, so that a process that is killed
loses the block that it was writing and no other. `write` does the same for a dataset that is there, in a
folder that takes the place of an older store when it is whole.

Every chunk ends in a CRC-32C, which any reader of Zarr checks. The files that describe the arrays have
SHA-256 digests in a group of their own, ``neurornn_manifest``, which lists them and holds the flags.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import tree
from neurornn.storage.storable import first_line, kind_of, need_storable, plain, rehearse
from neurornn.vocabulary import TRIAL, InputError, RunFailure, need_count

if TYPE_CHECKING:
    import zarr

MEDIUM = "Zarr"
MANIFEST = "neurornn_manifest"
"""The group that says what a store is made of; nobody else's name in a dataset."""
METADATA = "zarr.json"
_FORMAT = 1
_CHUNK_BYTES = 4 * 2**20
_BLOCK_BYTES = 64 * 2**20
_LONGEST_NAME = 200
_TOLD_RUNS = 8


class UnfinishedStore(RunFailure):
    """A store of which blocks are missing, because what wrote it was stopped."""


def write(dataset: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a dataset, or a tree of them as groups; see `neurornn.save`.

    The data is read block by block, so that a dataset that was opened with ``lazy=True`` is copied within
    little memory.
    """
    _need_library()
    path = files.as_path(path)
    nodes = tree.nodes_of(dataset)
    for name, node in nodes.items():
        _need_storable(node, tree.called(name))
    _need_replaceable(path)
    with files.new_folder(path) as folder:
        plans = {name: _Plan.of(node) for name, node in nodes.items()}
        for name, node in nodes.items():
            plans[name].create(folder, name, node)
            arrays = _arrays_along_trials(folder, name)
            for first in range(0, plans[name].n_trials, plans[name].trials_per_block):
                trials = slice(first, first + plans[name].trials_per_block)
                _write_trials(arrays, node.isel({TRIAL: trials}), first)
        _write_manifest(folder, {})


def read(
    path: str | os.PathLike[str], *, verify: bool = True, lazy: bool = False
) -> xr.Dataset | xr.DataTree:
    """Read a dataset or a tree of them; see `neurornn.load`."""
    _need_library()
    folder = _need_store(path)
    verified = _verify(folder, path) if verify else False
    try:
        nodes = {name: _opened(folder, name) for name, _ in _nodes(folder)}
        finish = tree.with_plain_strings if lazy else tree.in_memory
        nodes = {name: finish(node) for name, node in nodes.items()}
    except MemoryError as error:
        raise InputError(
            f"{str(path)!r} does not fit into memory: read it piece by piece, with lazy=True"
        ) from error
    except Exception as error:
        # zarr, its codecs and xarray each have their own exceptions for what is not as it was written.
        raise files.CorruptFile(
            f"{str(path)!r} is damaged, or is not a Zarr store ({first_line(error)}): take another copy, or "
            "record again"
        ) from error
    return tree.assembled(nodes, path, verified=verified)


class BlockStore:
    """A Zarr store that is filled block by block, by a process that may be killed at any moment.

    Made by `create`, taken up again by `open`. A block is a run of trials; only the last may be shorter.

    Attributes
    ----------
    path : pathlib.Path
        The store's folder.
    n_trials : int
        Trials in all blocks.
    trials_per_block : int
        Trials in each but the last.
    fingerprint : str
        What the data depends on, as the maker told it.

    Examples
    --------
    >>> import tempfile
    >>> block = xr.Dataset({"rate": (("trial", "unit"), np.ones((2, 3)))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = BlockStore.create(f"{folder}/x.zarr", block, 5, 2, "seed 0")
    ...     store.write(0, block)
    ...     store = BlockStore.open(f"{folder}/x.zarr", "seed 0")
    ...     print(store.missing)
    ...     store.write(1, block)
    ...     store.write(2, block.isel(trial=[0]))
    ...     store.finish()
    ...     print(dict(read(store.path).sizes))
    [1, 2]
    {'trial': 5, 'unit': 3}
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.n_trials = int(content["n_trials"])
        self.trials_per_block = int(content["trials_per_block"])
        self.fingerprint = str(content["fingerprint"])

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        template: xr.Dataset,
        n_trials: int,
        trials_per_block: int,
        fingerprint: str = "",
    ) -> BlockStore:
        """Make a store in which every block is missing.

        Parameters
        ----------
        path : path-like
            Ending in ``.zarr``; there must be nothing there yet.
        template : xarray.Dataset
            Any number of trials, for example the first block or one trial. Variables without the dimension
            ``trial`` are stored now; of the others it gives names, dimensions, dtypes and attributes.
        n_trials : int
            How many trials there will be.
        trials_per_block : int
            How many are written at once. Chunks hold a number of trials that divides it, of up to 4 MiB, so
            that a number with many divisors is best.
        fingerprint : str
            What the data depends on (task, weights, seeds), so that a store is never filled from two
            recordings.

        Returns
        -------
        BlockStore

        Raises
        ------
        InputError
            Where there is something at ``path``, or Zarr cannot hold the template.
        UnwritableFile
            Where the disk is full or fails.
        """
        _need_library()
        path = files.as_path(path)
        if not isinstance(template, xr.Dataset) or TRIAL not in template.dims:
            raise InputError("`template` must be an xarray Dataset with the dimension 'trial'")
        plan = _Plan(need_count(n_trials, "n_trials"), need_count(trials_per_block, "trials_per_block"))
        if path.exists():
            raise InputError(
                f"there is something at {str(path)!r} already: go on with it by BlockStore.open, choose "
                "another name, or remove it"
            )
        _need_storable(template, "the template")
        content = {
            "fingerprint": str(fingerprint),
            "n_trials": plan.n_trials,
            "trials_per_block": plan.trials_per_block,
        }
        with files.new_folder(path) as folder:
            plan.create(folder, tree.ROOT, template)
            _write_manifest(folder, content, n_blocks=plan.n_blocks)
        return cls(path, content)

    @classmethod
    def open(cls, path: str | os.PathLike[str], fingerprint: str | None = None) -> BlockStore:
        """Take up a store again.

        Parameters
        ----------
        path : path-like
            What `create` was given.
        fingerprint : str, optional
            Refuse a store that was made with another one.

        Raises
        ------
        InputError
            Where there is no such store, or it was made from something else.
        CorruptFile
            Where it is damaged.
        """
        _need_library()
        folder = _need_store(path)
        content = _manifest(folder, path)
        if "n_trials" not in content:
            raise InputError(
                f"{str(path)!r} was not made block by block: read it with neurornn.load, or choose another "
                "name"
            )
        store = cls(folder, content)
        if fingerprint is not None and fingerprint != store.fingerprint:
            raise InputError(
                f"{str(path)!r} was made from something else (fingerprint {store.fingerprint!r}, expected "
                f"{fingerprint!r}): choose another name, or remove it first"
            )
        _need_metadata(folder, content, path)
        return store

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return math.ceil(self.n_trials / self.trials_per_block)

    @property
    def missing(self) -> list[int]:
        """Numbers of the blocks that are not written yet."""
        try:
            done = np.asarray(self._flags[:])
        except Exception:
            # One by one, so that the damaged one is told.
            return [block for block in range(self.n_blocks) if not self.is_done(block)]
        return [block for block in range(self.n_blocks) if not done[block]]

    def trials(self, block: int) -> slice:
        """Return which trials a block is made of."""
        block = need_count(block, "block", least=0)
        if block >= self.n_blocks:
            raise InputError(f"`block` must be from 0 to {self.n_blocks - 1}, got {block}")
        first = block * self.trials_per_block
        return slice(first, min(first + self.trials_per_block, self.n_trials))

    def is_done(self, block: int) -> bool:
        """Return whether a block is written.

        Raises
        ------
        CorruptFile
            Where its flag is damaged.
        """
        self.trials(block)
        if not self._flag(block).exists():
            return False
        try:
            return bool(self._flags[block])
        except Exception as error:
            raise files.CorruptFile(
                f"the flag of block {block} in {str(self.path)!r} is damaged ({first_line(error)}): remove "
                f"{str(self._flag(block))!r} and write the block again"
            ) from error

    def write(self, block: int, dataset: xr.Dataset) -> None:
        """Write a block, whole or not at all.

        Parameters
        ----------
        block : int
            Its number.
        dataset : xarray.Dataset
            The block's trials, with the template's variables. Those without the dimension ``trial`` are
            stored already and are not looked at.

        Raises
        ------
        InputError
            Where the block is written already, or is not like the template.
        UnwritableFile
            Where the disk is full or fails; the block is missing as before, and can be written again.
        """
        trials = self.trials(block)
        if self.is_done(block):
            raise InputError(
                f"block {block} of {str(self.path)!r} is written already: write those in `missing`"
            )
        self._need_fitting(dataset, trials.stop - trials.start)
        try:
            _write_trials(self._arrays, dataset, trials.start)
            for grid in self._along_trials:
                for chunk in grid.files(trials):
                    files.flush(chunk)
            self._flags[block] = True
            files.flush(self._flag(block))
        except OSError as error:
            raise files.UnwritableFile(
                f"cannot write block {block} of {str(self.path)!r} ({error.strerror or error}): the others "
                "are intact; make room and go on"
            ) from error

    def finish(self) -> None:
        """Make sure that the store is whole and durable.

        Raises
        ------
        UnfinishedStore
            Where blocks are missing.
        """
        _need_all_blocks(self, self.path)
        # What a killed process was writing.
        for left in self.path.rglob("*.partial"):
            left.unlink(missing_ok=True)
        files.flush(self.path)

    @cached_property
    def _stored(self) -> xr.Dataset:
        """The store's variables; what they are never changes, so that it is read once."""
        return _opened(self.path, tree.ROOT)

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        return _arrays_along_trials(self.path, tree.ROOT)

    @cached_property
    def _along_trials(self) -> list[_Grid]:
        return [grid for grid in _grids(self.path) if TRIAL in grid.dims]

    @cached_property
    def _flags(self) -> zarr.Array[Any]:
        import zarr

        return zarr.open_array(self.path / MANIFEST / "done", mode="r+")

    def _flag(self, block: int) -> Path:
        return self.path / MANIFEST / "done" / "c" / str(block)

    def _need_fitting(self, dataset: xr.Dataset, n_trials: int) -> None:
        """Refuse a block that is not like the template."""
        if not isinstance(dataset, xr.Dataset) or dataset.sizes.get(TRIAL) != n_trials:
            came = dict(dataset.sizes) if isinstance(dataset, xr.Dataset) else type(dataset).__name__
            raise InputError(f"a block must be an xarray Dataset with {n_trials} trials, got {came}")
        stored = self._stored
        wanted = {str(name) for name, own in stored.variables.items() if TRIAL in own.dims}
        came_names = {str(name) for name, own in dataset.variables.items() if TRIAL in own.dims}
        if wanted != came_names:
            raise InputError(
                f"a block must have the template's variables along 'trial', {sorted(wanted)}, got "
                f"{sorted(came_names)}"
            )
        need_storable(dataset[sorted(wanted)], MEDIUM, "the block")
        for name in sorted(wanted):
            own, its = dataset.variables[name], stored.variables[name]
            others = {dim: size for dim, size in its.sizes.items() if dim != TRIAL}
            mine = {dim: size for dim, size in own.sizes.items() if dim != TRIAL}
            if kind_of(own) != kind_of(its) or mine != others:
                raise InputError(
                    f"variable {name!r} of the block is {own.dtype} {dict(own.sizes)}, and the template's is "
                    f"{its.dtype} with {others} for each trial"
                )


# How a dataset lies in a store ------------------------------------------------------------------------------


class _Plan:
    """How a dataset's trials are cut into blocks, and these into chunks."""

    def __init__(self, n_trials: int, trials_per_block: int) -> None:
        self.n_trials = n_trials
        self.trials_per_block = trials_per_block

    @property
    def n_blocks(self) -> int:
        return math.ceil(self.n_trials / self.trials_per_block)

    @classmethod
    def of(cls, dataset: xr.Dataset) -> _Plan:
        """Return the plan for a dataset that is there: blocks of up to 64 MiB, a power of two of trials."""
        n_trials = dataset.sizes.get(TRIAL, 0)
        per_trial = sum(own.nbytes for own in dataset.variables.values() if TRIAL in own.dims) / max(
            n_trials, 1
        )
        fit = max(1, int(_BLOCK_BYTES / max(per_trial, 1)))
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
        while math.prod(chunks.values()) * variable.dtype.itemsize > _BLOCK_BYTES:
            largest = max(chunks, key=lambda dim: chunks[dim])
            chunks[largest] = math.ceil(chunks[largest] / 2)
        fit = max(1, _CHUNK_BYTES // (math.prod(chunks.values()) * variable.dtype.itemsize))
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


def _arrays_along_trials(folder: Any, group: str) -> dict[str, zarr.Array[Any]]:
    """Open a node's arrays that trials are written into; chunks of nothing but zeros are written too."""
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        arrays = dict(zarr.open_group(folder, path=_inside(group), mode="r+").arrays())
    return {name: array for name, array in arrays.items() if TRIAL in _dims(array)}


def _dims(array: zarr.Array[Any]) -> tuple[str | None, ...]:
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def _write_trials(arrays: Mapping[str, zarr.Array[Any]], dataset: xr.Dataset, first: int) -> None:
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


def _opened(folder: Any, group: str) -> xr.Dataset:
    """Open a node without dask and without reading its values, or keeping those that are read later."""
    return xr.open_dataset(
        folder, engine="zarr", group=_inside(group), cache=False, consolidated=False, **tree.decoding()
    )


def _nodes(folder: Path) -> Iterator[tuple[str, zarr.Group]]:
    """Go through the groups of a store, the manifest's left out."""
    import zarr

    def below(name: str, group: zarr.Group) -> Iterator[tuple[str, zarr.Group]]:
        yield name, group
        for child, own in sorted(group.groups()):
            if child != MANIFEST:
                yield from below(f"{name.rstrip('/')}/{child}", own)

    yield from below(tree.ROOT, zarr.open_group(folder, mode="r"))


class _Grid(NamedTuple):
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


def _grids(folder: Path) -> list[_Grid]:
    """Return the grid of every array in a store."""
    return [
        _Grid(
            folder.joinpath(name.strip("/"), own),
            _dims(array),
            array.shape,
            array.chunks,
        )
        for name, group in _nodes(folder)
        for own, array in group.arrays()
    ]


# What is asked before and after -----------------------------------------------------------------------------


def _need_library() -> None:
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise InputError(
            'Zarr stores need the package zarr: install it with pip install "neurornn[zarr]", or use .nc'
        ) from error


def _need_storable(dataset: xr.Dataset, where: str) -> None:
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
    plan = _Plan.of(dataset)
    plan.create(store, tree.ROOT, dataset)
    if plan.n_trials:
        _write_trials(_arrays_along_trials(store, tree.ROOT), dataset, 0)
    return tree.in_memory(_opened(store, tree.ROOT))


def _is_store(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (METADATA, ".zgroup", ".zarray"))


def _need_replaceable(path: Path) -> None:
    if path.exists() and not (path.is_dir() and _is_store(path)):
        raise InputError(
            f"{str(path)!r} is there and is no Zarr store: choose another name, or remove it first"
        )


def _need_store(path: str | os.PathLike[str]) -> Path:
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


def _write_manifest(folder: Path, content: dict[str, Any], n_blocks: int | None = None) -> None:
    """Say what a store is made of, and make a flag for each block."""
    import zarr
    from zarr.codecs import Crc32cCodec

    group = zarr.open_group(folder, mode="r+").create_group(MANIFEST)
    if n_blocks is not None:
        group.create_array(
            "done",
            shape=(n_blocks,),
            chunks=(1,),
            dtype="bool",
            fill_value=False,
            compressors=[Crc32cCodec()],
        )
    digests = {
        file.relative_to(folder).as_posix(): files.digest(file.read_bytes())
        for file in sorted(folder.rglob(METADATA))
        if file != folder / MANIFEST / METADATA
    }
    text = json.dumps({"format": _FORMAT, **content, "metadata": digests}, sort_keys=True)
    group.attrs.put({"content": text, "sha256": files.digest(text.encode())})


def _manifest(folder: Path, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a store says that it is made of; empty where it was made by others."""
    file = folder / MANIFEST / METADATA
    if not file.parent.exists():
        return {}
    try:
        attributes = files.read_json(file)["attributes"]
        text = attributes["content"]
        if files.digest(text.encode()) != attributes["sha256"]:
            raise ValueError("its digest does not agree")
        content = json.loads(text)
    except (InputError, files.CorruptFile, KeyError, TypeError, ValueError, AttributeError) as error:
        raise files.CorruptFile(
            _damaged(path, f"its manifest cannot be read, {first_line(error)}")
        ) from error
    return dict(content)


def _need_metadata(folder: Path, content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    for name, digest in content["metadata"].items():
        file = folder / name
        if not file.is_file() or files.digest(file.read_bytes()) != digest:
            raise files.CorruptFile(_damaged(path, f"{name!r} is not what was written"))


def _verify(folder: Path, path: str | os.PathLike[str]) -> bool:
    """Refuse a store that is not whole; its values, with checksums of their own, are not read yet."""
    content = _manifest(folder, path)
    if not content:
        return False
    _need_metadata(folder, content, path)
    if "n_trials" in content:
        _need_all_blocks(BlockStore(folder, content), path)
    for file in (file for grid in _grids(folder) for file in grid.files()):
        if not file.is_file():
            raise files.CorruptFile(
                _damaged(path, f"the chunk {file.relative_to(folder).as_posix()!r} is missing")
            )
    return True


def _need_all_blocks(store: BlockStore, path: str | os.PathLike[str]) -> None:
    missing = store.missing
    if missing:
        raise UnfinishedStore(
            f"{str(path)!r} is not finished: {len(missing)} of {store.n_blocks} blocks of "
            f"{store.trials_per_block} trials are missing ({_runs(missing)}); go on by the call that was "
            "writing it, with the same arguments, or read what is there with verify=False"
        )


def _runs(numbers: list[int]) -> str:
    """Return ascending numbers in words, runs of them by their ends."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    told = [f"{first} to {last}" if last > first else str(first) for first, last in ends[:_TOLD_RUNS]]
    return ", ".join(told) + (", ..." if len(ends) > _TOLD_RUNS else "")


def _damaged(path: str | os.PathLike[str], reason: str) -> str:
    return f"{str(path)!r} is damaged ({reason}): take another copy, or read what is left with verify=False"
