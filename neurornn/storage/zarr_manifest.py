"""The manifest of a Zarr store: digests of the files that describe its arrays, and a flag for each block.

It is a group of its own, `MANIFEST`, which readers that ask for arrays do not see.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from neurornn import files
from neurornn.storage.storable import first_line
from neurornn.storage.zarr_arrays import MANIFEST
from neurornn.storage.zarr_checks import METADATA
from neurornn.vocabulary import InputError

_FORMAT = 1


def write_manifest(folder: Path, content: dict[str, Any], n_blocks: int | None = None) -> None:
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


def read_manifest(folder: Path, path: str | os.PathLike[str]) -> dict[str, Any]:
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
        raise files.CorruptFile(damaged(path, f"its manifest cannot be read, {first_line(error)}")) from error
    return dict(content)


def need_metadata(folder: Path, content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuse a store of which a description is missing or is not what was written."""
    for name, digest in content["metadata"].items():
        file = folder / name
        if not file.is_file() or files.digest(file.read_bytes()) != digest:
            raise files.CorruptFile(damaged(path, f"{name!r} is not what was written"))


def damaged(path: str | os.PathLike[str], reason: str) -> str:
    """Return the sentence for a store that is damaged."""
    return f"{str(path)!r} is damaged ({reason}): take another copy, or read what is left with verify=False"
