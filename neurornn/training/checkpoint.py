"""Checkpoints: everything that training needs to go on, written atomically and verified when read."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

import torch

from neurornn import files


def save_checkpoint(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write a checkpoint of plain values and tensors in one step."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.atomic_write(path, buffer.getbuffer())


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint after checking every byte of it; no code in it is run.

    ``torch.load`` does not compare the archive's checksums, so that a flipped bit would pass unnoticed.

    Raises
    ------
    InputError
        Where there is no such file.
    CorruptFile
        Where it is damaged.
    """
    data = files.read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
        if damaged is None:
            content: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
            return content
        reason = f"{damaged!r} in it does not have its checksum"
    except Exception as error:
        # Damaged archives raise a wide range of exceptions out of zipfile, pickle and torch.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise files.CorruptFile(f"the checkpoint {str(path)!r} is damaged ({reason}): take another copy")
