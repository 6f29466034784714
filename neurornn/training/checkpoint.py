"""Checkpoints: everything that training needs to go on, written atomically and verified when read."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from neurornn import files
from neurornn.training.run_directory import RunDirectory

UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a checkpoint raises whose content is not what the run's configuration asks for."""


def save_checkpoint(
    path: str | os.PathLike[str],
    content: dict[str, Any],
    *,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write a checkpoint of plain values and tensors in one step, and keep the one before where wanted."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.atomic_write(path, files.seal(buffer.getbuffer()), previous=previous)


def load_latest(path: Path, previous: Path) -> dict[str, Any]:
    """Read a checkpoint, or the one before where it is missing or damaged, which a warning then names.

    Raises
    ------
    InputError, CorruptFile
        Where neither can be read.
    """
    if not path.exists() and previous.exists():
        return load_checkpoint(previous)
    try:
        return load_checkpoint(path)
    except files.CorruptFile as error:
        if not previous.exists():
            raise
        content = load_checkpoint(previous)
        warnings.warn(f"{error}; the one before it, of step {content['step']}, is used", stacklevel=2)
        return content


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint after checking every byte of it; no code in it is run.

    ``torch.load`` does not compare the archive's checksums, so that a flipped bit would pass unnoticed: the
    file ends with a SHA-256 of its bytes, which must be there and agree.

    Raises
    ------
    InputError
        Where there is no such file.
    CorruptFile
        Where it is damaged.
    """
    data, verified = files.unseal(files.read_bytes(path), path)
    if not verified:
        raise files.CorruptFile(
            f"the checkpoint {str(path)!r} is cut short or none of neurornn's (no SHA-256 at its end): "
            "take another copy"
        )
    try:
        content: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        # What is no archive of plain values raises a wide range of exceptions out of pickle and torch.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise files.CorruptFile(
            f"the checkpoint {str(path)!r} cannot be read ({reason}): take another copy"
        ) from error
    if not isinstance(content, dict) or "step" not in content:
        raise files.CorruptFile(
            f"the checkpoint {str(path)!r} is none of a training (it holds {type(content).__name__}): "
            "take another copy"
        )
    return content


def does_not_fit(run: RunDirectory, error: Exception) -> files.CorruptFile:
    """Return the error that says that a run's checkpoint is not of its configuration."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return files.CorruptFile(
        f"the checkpoint in {str(run.path)!r} does not fit the run's config.toml ({reason}): take back the "
        "configuration that the run was begun with"
    )
