"""Files that are whole or absent, and read only after they have been checked.

Every file of the package is written and read through this module. Writing goes to a temporary file in the
same folder, is flushed to the disk and then takes the place of the old file in one step, so that a crash, a
full disk or a kill leaves either the old file or the new one. Reading checks a SHA-256 digest, because
torch, safetensors and HDF5 do not notice a flipped bit.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurornn.vocabulary import InputError, RunFailure

TEMPORARY = ".tmp"
"""How the names of files end that are not whole yet."""
_TRAILER_MARK = b"\nneurornn-sha256\n"
TRAILER_LENGTH = len(_TRAILER_MARK) + hashlib.sha256().digest_size


class CorruptFile(RunFailure):
    """A file whose content is not what was written."""


class UnwritableFile(RunFailure, OSError):
    """A file that could not be written, because the disk is full or fails; the old one is intact."""


def digest(data: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def as_path(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Return ``path`` as a Path with ``~`` expanded, refusing what is no path."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"`{name}` must be a file path, got {type(path).__name__}")
    return Path(path).expanduser()


def need_writable_folder(folder: Path) -> None:
    """Refuse a folder that files cannot be written to, creating it where it is missing.

    Raises
    ------
    InputError
        Where the folder cannot be made or written to.
    UnwritableFile
        Where the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UnwritableFile(
                f"cannot write to the folder {str(folder)!r} ({error.strerror}): make room, or choose "
                "another folder"
            ) from error
        raise InputError(
            f"cannot write to the folder {str(folder)!r} ({error.strerror or error}): "
            "choose a folder that you may write to"
        ) from error


def atomic_write(
    path: str | os.PathLike[str],
    data: bytes | memoryview,
    *,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write a file so that it holds either its old content or all of the new one.

    Parameters
    ----------
    path : path-like
        Where to; missing parent folders are made.
    data : bytes
        The whole content.
    previous : path-like, optional
        Where the old file is kept, in the same folder. There is no moment at which neither is whole.

    Raises
    ------
    InputError
        Where the folder cannot be written to.
    UnwritableFile
        Where the disk is full or fails; the old file is intact and no temporary file is left.
    """
    path = as_path(path)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder, expected a file name: choose another")
    need_writable_folder(path.parent)
    try:
        _write(path, data, previous)
    except OSError as error:
        raise UnwritableFile(
            f"cannot write {str(path)!r} ({error.strerror or error}): an older file is intact; make room, "
            "or choose another folder"
        ) from error


def _write(path: Path, data: bytes | memoryview, previous: str | os.PathLike[str] | None) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _share(temporary, 0o666)
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _share(temporary: str | os.PathLike[str], rights: int) -> None:
    """Give what `tempfile` made for its owner alone the rights of any other file or folder."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, rights & ~mask)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give out a temporary folder that takes the place of ``path`` once the block has ended well.

    A folder cannot take another's place in one step. The older one is set aside under a name of its own for
    the moment between two renames; where a kill falls into it, `whole_folder` finds what was set aside.

    Parameters
    ----------
    path : path-like
        The folder that is to be; missing parent folders are made.

    Yields
    ------
    pathlib.Path
        An empty folder beside it. It is removed where the block raises.

    Raises
    ------
    InputError
        Where the parent folder cannot be written to.
    UnwritableFile
        Where the disk is full or fails; the older folder is intact and nothing temporary is left.
    """
    path = as_path(path)
    need_writable_folder(path.parent)
    temporary = _beside(path)
    try:
        yield temporary
        flush(temporary)
        _share(temporary, 0o777)
        _put_in_place(temporary, path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, RunFailure):
            raise UnwritableFile(
                f"cannot write {str(path)!r} ({error.strerror or error}): an older one is intact; make room, "
                "or choose another folder"
            ) from error
        raise


def _beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent))


def _set_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old{TEMPORARY}")


def _put_in_place(temporary: Path, path: Path) -> None:
    aside = _set_aside(path)
    if path.exists():
        # What an earlier kill has left there is older still.
        _discard(aside, path)
        os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except BaseException:
        if aside.exists():
            os.rename(aside, path)
        raise
    _flush_folder(path.parent)
    _discard(aside, path)


def _discard(aside: Path, path: Path) -> None:
    """Remove an older folder, so that under its name it is whole or absent at every moment."""
    if aside.exists():
        rubbish = _beside(path)
        os.rename(aside, rubbish / "old")
        shutil.rmtree(rubbish, ignore_errors=True)


def whole_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder to read for ``path``: itself, or the one that a killed `new_folder` had set aside."""
    path = as_path(path)
    aside = _set_aside(path)
    return aside if aside.is_dir() and not path.exists() else path


def sweep(folder: Path) -> list[Path]:
    """Remove what a killed process has left in a folder, files and Zarr stores, and return which.

    Only where nobody else is writing there. A store that was set aside and is the only one stays.
    """
    left = []
    for own in sorted(folder.glob(f".*{TEMPORARY}")):
        if own.is_dir():
            name, ours, _ = own.name.removeprefix(".").rpartition(".zarr.")
            path = folder / f"{name}.zarr"
            if not ours or (own == _set_aside(path) and not path.exists()):
                continue
            shutil.rmtree(own, ignore_errors=True)
        else:
            own.unlink(missing_ok=True)
        left.append(own)
    return left


def flush(path: Path) -> None:
    """Make a file, or a folder with all that is in it, durable."""
    if not path.is_dir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return
    for own in path.iterdir():
        flush(own)
    _flush_folder(path)


def _flush_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets a folder be flushed."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_text(path: str | os.PathLike[str], text: str) -> None:
    """Add lines to the end of a growing text file and flush them to the disk.

    Raises
    ------
    UnwritableFile
        Where the disk is full or fails; a part of the lines may have been written.
    """
    try:
        with open(as_path(path), "a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UnwritableFile(f"cannot write {str(path)!r} ({error.strerror or error}): make room") from error


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a whole file, telling in one sentence where there is none.

    Raises
    ------
    InputError
        Where the file is missing or cannot be read.
    """
    path = as_path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {str(path)!r}: check the name and the folder") from error
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r} ({error.strerror or error})") from error


_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive (or an .npz, .pt or office file)",
    b"\x1f\x8b": "a gzip archive",
    b"CDF": "a netCDF-3 file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"MATLAB": "a MATLAB file",
    b"version https://git-lfs": "a Git LFS pointer, which stands for a file that was not fetched",
}


def kind_of_content(data: bytes | memoryview) -> str:
    """Return in words what a file's first bytes say that it is.

    Examples
    --------
    >>> kind_of_content(b"")
    'empty'
    >>> kind_of_content(b"unit,rate")
    'a text file'
    """
    head = bytes(data[:512])
    if not head:
        return "empty"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    try:
        # Step by step, since a letter of several bytes may be cut at the end.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except ValueError:
        return "of no kind known here"
    shown = text.translate(dict.fromkeys(map(ord, "\n\r\t\f")))
    return "a text file" if shown.isprintable() else "of no kind known here"


def seal(data: bytes | memoryview) -> bytes:
    """Append a trailer with the data's SHA-256; formats that know their own length (HDF5) ignore it."""
    return bytes(data) + _TRAILER_MARK + hashlib.sha256(data).digest()


def unseal(data: bytes, path: str | os.PathLike[str], *, verify: bool = True) -> tuple[memoryview, bool]:
    """Take the trailer off again and check it.

    Parameters
    ----------
    data : bytes
        A file's whole content.
    path : path-like
        Its name, for the error.
    verify : bool
        Compare the digest; False reads a damaged file all the same.

    Returns
    -------
    content : memoryview
        The data without its trailer.
    verified : bool
        Whether a trailer was there and agreed.

    Raises
    ------
    CorruptFile
        Where the digest does not agree.
    """
    view = memoryview(data)
    if len(data) < TRAILER_LENGTH:
        return view, False
    body, trailer = view[:-TRAILER_LENGTH], view[-TRAILER_LENGTH:]
    marked = bytes(trailer[: len(_TRAILER_MARK)]) == _TRAILER_MARK
    if not verify:
        return (body if marked else view), False
    agrees = hashlib.sha256(body).digest() == bytes(trailer[len(_TRAILER_MARK) :])
    if not marked and not agrees:
        return view, False
    # A digest that agrees behind a mark that does not: the damage is in the mark.
    if not (marked and agrees):
        raise CorruptFile(
            f"{str(path)!r} is damaged: its content does not have the SHA-256 that was written with it; "
            "take another copy, or read what is left with verify=False"
        )
    return body, True


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write a JSON file whose bytes depend on its content only."""
    atomic_write(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds one object."""
    data = read_bytes(path)
    try:
        content = json.loads(data.decode())
    except ValueError as error:
        raise CorruptFile(f"{str(path)!r} is not a JSON file ({error}): take another copy") from error
    if not isinstance(content, dict):
        raise CorruptFile(f"{str(path)!r} must hold one JSON object, got {type(content).__name__}")
    return content
