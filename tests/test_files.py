import errno
import os
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import files
from neurornn.files import CorruptFile, UnwritableFile
from neurornn.vocabulary import InputError, RunFailure


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_holds_the_bytes_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    files.atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    files.atomic_write(str(path), memoryview(b"newer"))
    assert files.read_bytes(path) == b"newer"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.bin"
    files.atomic_write(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(UnwritableFile) as caught:
        files.atomic_write(path, b"new")
    assert str(caught.value) == (
        f"cannot write {str(path)!r} (No space left on device): an older file is intact; make room, "
        "or choose another folder"
    )
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.bin"]


def test_what_cannot_be_written_is_a_failure_of_the_run_and_of_the_system():
    assert issubclass(UnwritableFile, RunFailure)
    assert issubclass(UnwritableFile, OSError)


# What was there before --------------------------------------------------------------------------------------


def test_the_file_before_is_kept_where_it_is_asked_for(tmp_path):
    path, previous = tmp_path / "file", tmp_path / "before"
    for number in range(3):
        files.atomic_write(path, b"%d" % number, previous=previous)
        assert path.read_bytes() == b"%d" % number
        assert previous.exists() == (number > 0)
        if number:
            assert previous.read_bytes() == b"%d" % (number - 1)
    assert names(tmp_path) == ["before", "file"]


@pytest.mark.parametrize("fatal", [1, 2])
def test_there_is_no_moment_without_a_whole_file(tmp_path, monkeypatch, fatal):
    path, previous = tmp_path / "file", tmp_path / "before"
    files.atomic_write(path, b"1", previous=previous)
    files.atomic_write(path, b"2", previous=previous)
    plain, calls = os.replace, []

    def die(*names):
        calls.append(names)
        # What a kill is: nothing of the process runs on, not even what would tidy up.
        whole = [own.read_bytes() for own in (path, previous) if own.exists()]
        assert whole
        assert set(whole) <= {b"1", b"2"}
        if len(calls) == fatal:
            raise OSError(errno.EIO, "Input/output error")
        plain(*names)

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(UnwritableFile, match=r"cannot write '.*file' \(Input/output error\)"):
        files.atomic_write(path, b"3", previous=previous)
    latest = path if path.exists() else previous
    assert latest.read_bytes() == b"2"
    assert not [own for own in names(tmp_path) if own.endswith(files.TEMPORARY)]


def test_what_a_killed_process_has_left_is_swept(tmp_path):
    files.atomic_write(tmp_path / "file", b"whole")
    for name in (".file.ab12.tmp", ".other.tmp"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("mine.tmp", ".hidden", ".tmpfile"):
        (tmp_path / name).write_bytes(b"kept")
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / ".file.ab12.tmp").write_bytes(b"another folder's")
    swept = files.sweep(tmp_path)
    assert sorted(own.name for own in swept) == [".file.ab12.tmp", ".other.tmp"]
    assert names(tmp_path) == sorted(["file", "mine.tmp", ".hidden", ".tmpfile", ".folder.tmp", "deeper"])
    assert names(tmp_path / "deeper") == [".file.ab12.tmp"]
    assert files.sweep(tmp_path) == files.sweep(tmp_path / "missing") == []


# Folders ----------------------------------------------------------------------------------------------------


def fill(folder, text):
    (folder / "deeper").mkdir()
    (folder / "deeper" / "file").write_text(text)


def test_a_folder_takes_the_place_of_an_older_one_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "x.zarr"
    for text in ("old", "new"):
        with files.new_folder(path) as folder:
            assert folder.parent == path.parent
            fill(folder, text)
            assert not path.exists() or (path / "deeper" / "file").read_text() == "old"
        assert (path / "deeper" / "file").read_text() == text
        assert names(path.parent) == ["x.zarr"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()]
)
def test_a_folder_that_is_not_finished_leaves_the_older_one(tmp_path, error):
    path = tmp_path / "x.zarr"
    with files.new_folder(path) as folder:
        fill(folder, "old")
    told = UnwritableFile if isinstance(error, OSError) else type(error)

    def write():
        with files.new_folder(path) as folder:
            fill(folder, "new")
            raise error

    with pytest.raises(told):
        write()
    assert (path / "deeper" / "file").read_text() == "old"
    assert names(tmp_path) == ["x.zarr"]


@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_there_is_no_moment_without_a_whole_folder(tmp_path, monkeypatch, fatal):
    path = tmp_path / "x.zarr"
    with files.new_folder(path) as folder:
        fill(folder, "old")
    plain, calls = os.rename, []

    class Killed(BaseException):
        pass

    def die(*places):
        calls.append(places)
        if len(calls) == fatal:
            # Nothing of a killed process runs on, not even what would tidy up.
            monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
            monkeypatch.setattr(os, "rename", lambda *_: None)
            raise Killed
        plain(*places)

    def write():
        with files.new_folder(path) as folder:
            fill(folder, "new")

    with monkeypatch.context() as patched:
        monkeypatch = patched
        patched.setattr(os, "rename", die)
        with pytest.raises(Killed):
            write()
    text = (files.whole_folder(path) / "deeper" / "file").read_text()
    assert text == ("new" if fatal == 3 else "old")
    # The next one tidies up what matters, and a sweep the rest.
    with files.new_folder(path) as folder:
        fill(folder, "newer")
    files.sweep(tmp_path)
    assert (path / "deeper" / "file").read_text() == "newer"
    assert names(tmp_path) == ["x.zarr"]


def test_what_was_set_aside_and_is_the_only_one_is_not_swept(tmp_path):
    path = tmp_path / "x.zarr"
    aside = tmp_path / ".x.zarr.old.tmp"
    aside.mkdir()
    assert files.whole_folder(path) == aside
    assert files.sweep(tmp_path) == []
    path.mkdir()
    assert files.whole_folder(path) == path
    (tmp_path / ".x.zarr.ab12.tmp").mkdir()
    assert files.sweep(tmp_path) == [tmp_path / ".x.zarr.ab12.tmp", aside]
    assert names(tmp_path) == ["x.zarr"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"CDF\x01", "a netCDF-3 file"),
        (b"MATLAB 5.0", "a MATLAB file"),
        (b"a,b\r\n1,2\t", "a text file"),
        (b"x" + ("é" * 300).encode(), "a text file"),
        (b"\0\1\2", "of no kind known here"),
        (b"\xff\xfe", "of no kind known here"),
    ],
)
def test_a_file_is_known_by_how_it_begins(content, kind):
    assert files.kind_of_content(content) == kind


def test_a_killed_write_leaves_the_old_file_and_one_temporary(tmp_path):
    path = tmp_path / "file"
    files.atomic_write(path, b"old")
    code = (
        "import os, signal, sys\n"
        "from neurornn import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.atomic_write(sys.argv[1], b'new')\n"
    )
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("this system has no SIGKILL")
    done = subprocess.run([sys.executable, "-c", code, path])
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = files.sweep(tmp_path)
    assert left.name.startswith(".file.")
    assert names(tmp_path) == ["file"]


def test_a_disk_without_room_for_a_name_is_full_and_not_forbidden(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", fail)
    with pytest.raises(
        UnwritableFile, match=r"cannot write to the folder '.*' \(No space left on device\): make"
    ):
        files.atomic_write(tmp_path / "file", b"")


def test_appending_to_a_full_disk_is_told(tmp_path):
    full = files.Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(
        UnwritableFile, match=r"cannot write '/dev/full' \(No space left on device\): make room"
    ):
        files.append_text(full, "a line\n")


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    files.atomic_write(path, b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.bin"]


def test_a_written_file_has_the_rights_of_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    files.atomic_write(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"cannot write to the folder .*: choose a folder that you may write"
    ):
        files.atomic_write(tmp_path / "file" / "inside", b"")
    with pytest.raises(InputError, match=r"is a folder, expected a file name"):
        files.atomic_write(tmp_path, b"")

    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", deny)
    with pytest.raises(InputError, match=r"cannot write to the folder .*\(Permission denied\)"):
        files.need_writable_folder(tmp_path)


def test_a_path_is_expanded_and_what_is_none_is_refused():
    assert files.as_path("~/x") == files.Path.home() / "x"
    with pytest.raises(InputError, match="`path` must be a file path, got int"):
        files.as_path(3)


def test_a_missing_or_unreadable_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file '.*gone': check the name and the folder"):
        files.read_bytes(tmp_path / "gone")
    with pytest.raises(InputError, match=r"there is no file '.*gone'"):
        files.read_json(tmp_path / "gone")
    with pytest.raises(InputError, match=r"cannot read .*\(Is a directory\)"):
        files.read_bytes(tmp_path)


def test_appended_text_stands_at_the_end(tmp_path):
    files.append_text(tmp_path / "log", "a\n")
    files.append_text(tmp_path / "log", "ü\n")
    assert (tmp_path / "log").read_bytes() == "a\nü\n".encode()


@given(st.binary(max_size=200))
def test_a_seal_comes_off_again(data):
    content, verified = files.unseal(files.seal(data), "x")
    assert bytes(content) == data
    assert verified


@pytest.mark.parametrize("bit", range(8))
def test_one_flipped_bit_anywhere_in_a_sealed_file_is_refused(bit):
    sealed = files.seal(b"weights of a network")
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1 << bit
        with pytest.raises(CorruptFile, match=r"'x\.nc' is damaged: its content does not have the SHA-256"):
            files.unseal(bytes(damaged), "x.nc")


def test_a_damaged_file_is_given_out_where_verification_is_declined():
    damaged = bytearray(files.seal(b"weights"))
    damaged[0] ^= 1
    content, verified = files.unseal(bytes(damaged), "x", verify=False)
    assert bytes(content) == b"veights"
    assert not verified


@given(st.binary(max_size=200))
def test_a_file_from_elsewhere_is_read_whole_and_unverified(data):
    content, verified = files.unseal(data, "x")
    assert bytes(content) == data
    assert not verified


def test_json_bytes_depend_on_the_content_only(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None, "ü"]})
    files.write_json(tmp_path / "b.json", {"a": [1.5, None, "ü"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.read_json(tmp_path / "a.json") == {"a": [1.5, None, "ü"], "b": 1}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"{", "is not a JSON file"), (b"\xff", "is not a JSON file"), (b"[1]", "one JSON object, got list")],
)
def test_what_is_no_json_object_is_refused(tmp_path, content, sentence):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CorruptFile, match=sentence):
        files.read_json(tmp_path / "x.json")
