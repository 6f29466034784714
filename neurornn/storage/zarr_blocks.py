"""Zarr stores that are filled block by block, by a process that may be killed.

A block is a run of whole trials, and no chunk lies in two of them. Its flag is set once all its chunks are on
the disk, so that a process that is killed loses the block that it was writing and no other.
"""

from __future__ import annotations

import math
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import tree
from neurornn.storage.storable import first_line, kind_of, need_storable
from neurornn.storage.zarr_arrays import (
    MANIFEST,
    Grid,
    Plan,
    arrays_along_trials,
    grids,
    opened,
    write_trials,
)
from neurornn.storage.zarr_checks import MEDIUM, need_library, need_store, need_zarr_storable
from neurornn.storage.zarr_manifest import need_metadata, read_manifest, write_manifest
from neurornn.vocabulary import TRIAL, InputError, RunFailure, need_count

if TYPE_CHECKING:
    import zarr

_TOLD_RUNS = 8


class UnfinishedStore(RunFailure):
    """A store of which blocks are missing, because what wrote it was stopped."""


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
    >>> import tempfile, neurornn
    >>> block = xr.Dataset({"rate": (("trial", "unit"), np.ones((2, 3)))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = BlockStore.create(f"{folder}/x.zarr", block, 5, 2, "seed 0")
    ...     store.write(0, block)
    ...     store = BlockStore.open(f"{folder}/x.zarr", "seed 0")
    ...     print(store.missing)
    ...     store.write(1, block)
    ...     store.write(2, block.isel(trial=[0]))
    ...     store.finish()
    ...     print(dict(neurornn.load(store.path).sizes))
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
        need_library()
        path = files.as_path(path)
        if not isinstance(template, xr.Dataset) or TRIAL not in template.dims:
            raise InputError("`template` must be an xarray Dataset with the dimension 'trial'")
        plan = Plan(need_count(n_trials, "n_trials"), need_count(trials_per_block, "trials_per_block"))
        if path.exists():
            raise InputError(
                f"there is something at {str(path)!r} already: go on with it by BlockStore.open, choose "
                "another name, or remove it"
            )
        need_zarr_storable(template, "the template")
        content = {
            "fingerprint": str(fingerprint),
            "n_trials": plan.n_trials,
            "trials_per_block": plan.trials_per_block,
        }
        with files.new_folder(path) as folder:
            plan.create(folder, tree.ROOT, template)
            write_manifest(folder, content, n_blocks=plan.n_blocks)
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
        need_library()
        folder = need_store(path)
        content = read_manifest(folder, path)
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
        need_metadata(folder, content, path)
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
            write_trials(self._arrays, dataset, trials.start)
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
        need_all_blocks(self, self.path)
        # What a killed process was writing.
        for left in self.path.rglob("*.partial"):
            left.unlink(missing_ok=True)
        files.flush(self.path)

    @cached_property
    def _stored(self) -> xr.Dataset:
        """The store's variables; what they are never changes, so that it is read once."""
        return opened(self.path, tree.ROOT)

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        return arrays_along_trials(self.path, tree.ROOT)

    @cached_property
    def _along_trials(self) -> list[Grid]:
        return [grid for grid in grids(self.path) if TRIAL in grid.dims]

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


def need_all_blocks(store: BlockStore, path: str | os.PathLike[str]) -> None:
    """Refuse a store of which blocks are missing, telling which and how to go on."""
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
