"""Datasets as Zarr stores: folders of chunks, for activity that is larger than memory.

A dataset is written block by block into a folder that takes the place of an older store when it is whole.
What is not there yet as a whole is written by a `BlockStore`. How arrays lie in a store is in `zarr_arrays`,
what is asked of a dataset in `zarr_checks`, how damage is noticed in `zarr_manifest`.
"""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from neurornn import files
from neurornn.storage import tree
from neurornn.storage.storable import first_line
from neurornn.storage.zarr_arrays import Plan, arrays_along_trials, grids, groups, opened, write_trials
from neurornn.storage.zarr_blocks import BlockStore, UnfinishedStore, need_all_blocks
from neurornn.storage.zarr_checks import need_library, need_replaceable, need_store, need_zarr_storable
from neurornn.storage.zarr_manifest import damaged, need_metadata, read_manifest, write_manifest
from neurornn.vocabulary import TRIAL, InputError

__all__ = ["BlockStore", "UnfinishedStore", "read", "write"]


def write(dataset: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a dataset, or a tree of them as groups; see `neurornn.save`.

    The data is read block by block, so that a dataset that was opened with ``lazy=True`` is copied within
    little memory.
    """
    need_library()
    path = files.as_path(path)
    nodes = tree.nodes_of(dataset)
    for name, node in nodes.items():
        need_zarr_storable(node, tree.called(name))
    need_replaceable(path)
    with files.new_folder(path) as folder:
        plans = {name: Plan.of(node) for name, node in nodes.items()}
        for name, node in nodes.items():
            plans[name].create(folder, name, node)
            arrays = arrays_along_trials(folder, name)
            for first in range(0, plans[name].n_trials, plans[name].trials_per_block):
                trials = slice(first, first + plans[name].trials_per_block)
                write_trials(arrays, node.isel({TRIAL: trials}), first)
        write_manifest(folder, {})


def read(
    path: str | os.PathLike[str], *, verify: bool = True, lazy: bool = False
) -> xr.Dataset | xr.DataTree:
    """Read a dataset or a tree of them; see `neurornn.load`."""
    need_library()
    folder = need_store(path)
    verified = _verify(folder, path) if verify else False
    try:
        nodes = {name: opened(folder, name) for name, _ in groups(folder)}
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


def _verify(folder: Path, path: str | os.PathLike[str]) -> bool:
    """Refuse a store that is not whole; its values, with checksums of their own, are not read yet."""
    content = read_manifest(folder, path)
    if not content:
        return False
    need_metadata(folder, content, path)
    if "n_trials" in content:
        need_all_blocks(BlockStore(folder, content), path)
    for file in (file for grid in grids(folder) for file in grid.files()):
        if not file.is_file():
            raise files.CorruptFile(
                damaged(path, f"the chunk {file.relative_to(folder).as_posix()!r} is missing")
            )
    return True
