import io
import itertools
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from neurornn import CorruptFile, InputError, RateRNN, files, load_run, resume, train
from neurornn.files import UnwritableFile
from neurornn.training.checkpoint import load_checkpoint, load_latest, save_checkpoint


class Hostile:
    """What it unpickles to is a file on the reader's disk."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def saved(tmp_path):
    content = {
        "step": 3,
        "network": {"bias": torch.arange(40.0), "weight": torch.eye(3, dtype=torch.float64)},
        "best_loss": float("inf"),
        "trial_stream": np.random.default_rng(0).bit_generator.state,
        "metrics": [{"step": 1, "loss": 0.5}],
    }
    save_checkpoint(tmp_path / "checkpoint.pt", content)
    return content, tmp_path / "checkpoint.pt"


def test_a_checkpoint_comes_back_as_it_was(saved):
    content, path = saved
    again = load_checkpoint(path)
    assert again.keys() == content.keys()
    for name, tensor in content["network"].items():
        assert torch.equal(again["network"][name], tensor)
    for key in ("step", "best_loss", "trial_stream", "metrics"):
        assert again[key] == content[key]


def test_one_flipped_bit_anywhere_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"checkpoint\.pt'"):
            load_checkpoint(path)


@pytest.mark.parametrize("cut", [1, 40, 60, 500, None])
def test_a_truncated_checkpoint_is_refused(saved, cut):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"")
    with pytest.raises(CorruptFile, match=r"the checkpoint .* is cut short or none of neurornn's"):
        load_checkpoint(path)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    planted = tmp_path / "planted"
    buffer = io.BytesIO()
    torch.save({"network": Hostile(planted)}, buffer)
    for data in (buffer.getvalue(), pickle.dumps(Hostile(planted))):
        files.atomic_write(tmp_path / "checkpoint.pt", files.seal(data))
        with pytest.raises(CorruptFile, match=r"the checkpoint .* cannot be read \(.+\): take another copy"):
            load_checkpoint(tmp_path / "checkpoint.pt")
    assert not planted.exists()


def test_a_missing_checkpoint_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*checkpoint\.pt"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_torch_itself_reads_a_checkpoint(saved):
    content, path = saved
    assert torch.load(path, weights_only=True)["step"] == content["step"]


# A run's own checkpoint -----------------------------------------------------------------------------------


def test_no_random_flip_of_500_in_a_runs_checkpoint_is_accepted(trained, tmp_path):
    data = (trained.directory / "checkpoint.pt").read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "checkpoint.pt"
    for place, bit in zip(rng.integers(len(data), size=500), rng.integers(8, size=500), strict=True):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(bit)
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_truncation_of_200_of_a_runs_checkpoint_is_accepted(trained, tmp_path):
    data = (trained.directory / "checkpoint.pt").read_bytes()
    path = tmp_path / "checkpoint.pt"
    cuts = [*range(1, 60), *np.random.default_rng(0).integers(1, len(data), size=140), len(data)]
    assert len(cuts) == 200
    for cut in cuts:
        path.write_bytes(data[: len(data) - cut])
        with pytest.raises(CorruptFile) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)


# Hostile files ----------------------------------------------------------------------------------------------


def plain(value):
    """A value's opcodes, without the protocol before and the stop behind."""
    return pickle.dumps(value, 2)[2:-1]


def word(text):
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def by_reduce(module, name, arguments):
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + plain(arguments) + b"R."


def by_inst(module, name, arguments):
    return b"\x80\x02(" + b"".join(map(plain, arguments)) + b"i" + f"{module}\n{name}\n".encode() + b"."


def by_obj(module, name, arguments):
    return b"\x80\x02(c" + f"{module}\n{name}\n".encode() + b"".join(map(plain, arguments)) + b"o."


def by_stack_global(module, name, arguments):
    return b"\x80\x04" + word(module) + word(name) + b"\x93" + plain(arguments) + b"R."


def as_it_is(code):
    return code


def in_archive(code):
    """Torch's own format of today: a zip file whose ``data.pkl`` is the pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (("data.pkl", code), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def in_legacy(code):
    """Torch's format before: pickles one after the other, the content fourth."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    return b"".join(pickle.dumps(own, 2) for own in head) + code + pickle.dumps([], 2)


OPCODES = (by_reduce, by_inst, by_obj, by_stack_global)
CONTAINERS = (as_it_is, in_archive, in_legacy)


def weapons(trap):
    """What each leaves in a folder is the proof that it was run."""
    file = str(trap / "planted")
    return [
        ("os", "system", (f"touch {file}",)),
        ("builtins", "open", (file, "w")),
        ("builtins", "eval", (f"open({file!r}, 'w').close()",)),
        ("builtins", "exec", (f"open({file!r}, 'w').close()",)),
        ("os", "mkdir", (file,)),
        ("os", "symlink", ("/nowhere", file)),
        ("subprocess", "call", (["touch", file],)),
        ("numpy", "save", (file, 0)),
        ("torch", "save", ({}, file)),
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="some weapons are of POSIX")
def test_of_100_hostile_pickles_none_is_run(tmp_path):
    trap, path, seen = tmp_path / "trap", tmp_path / "checkpoint.pt", 0
    trap.mkdir()
    for weapon, code in itertools.product(weapons(trap), OPCODES):
        made = code(*weapon)
        # The weapon works: a reader that runs code is caught by it.
        pickle.loads(made)  # noqa: S301
        (planted,) = trap.iterdir()
        planted.rmdir() if planted.is_dir() and not planted.is_symlink() else planted.unlink()
        for container in CONTAINERS:
            files.atomic_write(path, files.seal(container(made)))
            with pytest.raises(CorruptFile) as caught:
                load_checkpoint(path)
            told = str(caught.value)
            assert told.startswith(f"the checkpoint {str(path)!r} cannot be read (")
            assert "\n" not in told
            assert list(trap.iterdir()) == []
            seen += 1
    assert seen == 108


@pytest.mark.parametrize("container", [in_archive, in_legacy])
def test_the_containers_of_the_hostile_pickles_are_read_where_they_hold_plain_values(container, tmp_path):
    # Otherwise what was refused above might have been the wrapping.
    files.atomic_write(tmp_path / "c.pt", files.seal(container(pickle.dumps({"step": 3}, 2))))
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 3}


@pytest.mark.parametrize("content", [[1, 2], 3, "text", None, {}, {"steps": 3}, torch.ones(3)])
def test_a_sealed_file_that_is_no_checkpoint_is_told(tmp_path, content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.atomic_write(tmp_path / "c.pt", files.seal(buffer.getvalue()))
    with pytest.raises(
        CorruptFile, match=r"the checkpoint '.*c\.pt' is none of a training \(it holds \w+\): tak"
    ):
        load_checkpoint(tmp_path / "c.pt")


# The one before ---------------------------------------------------------------------------------------------


def test_the_checkpoint_before_is_kept(tmp_path):
    path, previous = tmp_path / "c.pt", tmp_path / "c.previous.pt"
    for step in range(3):
        save_checkpoint(path, {"step": step}, previous=previous)
        assert load_checkpoint(path) == {"step": step}
        assert load_checkpoint(previous)["step"] == step - 1 if step else not previous.exists()
    assert sorted(own.name for own in tmp_path.iterdir()) == ["c.previous.pt", "c.pt"]


def test_the_latest_that_can_be_read_is_taken(tmp_path):
    path, previous = tmp_path / "c.pt", tmp_path / "c.previous.pt"
    with pytest.raises(InputError, match=r"there is no file '.*c\.pt'"):
        load_latest(path, previous)
    for step in (1, 2):
        save_checkpoint(path, {"step": step}, previous=previous)
    assert load_latest(path, previous)["step"] == 2
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"c\.pt' is cut short .*; the one before it, of step 1, is used"):
        assert load_latest(path, previous)["step"] == 1
    path.unlink()
    # Killed between the two renames: nothing is wrong with what is there.
    assert load_latest(path, previous)["step"] == 1
    previous.write_bytes(b"")
    with pytest.raises(CorruptFile, match=r"c\.previous\.pt' is cut short"):
        load_latest(path, previous)
    path.write_bytes(b"")
    previous.unlink()
    with pytest.raises(CorruptFile, match=r"c\.pt' is cut short"):
        load_latest(path, previous)


# A full disk ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 KiB of its own, and what makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True
        )
    except OSError as error:
        pytest.skip(f"no small file system can be made here: {error}")
    if made.returncode:
        pytest.skip(f"no small file system can be made here: {made.stderr.strip()}")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)

    yield folder, enlarge
    subprocess.run(["umount", folder], check=True)


SETTINGS = {"n_steps": 60, "batch_size": 4, "evaluate_every": 5, "n_evaluation_trials": 8, "progress": False}


def test_a_disk_that_is_full_loses_nothing_and_the_run_goes_on_when_there_is_room(
    small_disk, flip_flop, tmp_path
):
    disk, enlarge = small_disk
    train(RateRNN(2, 48, 2, seed=0), flip_flop, directory=tmp_path / "whole", **SETTINGS)
    folder = disk / "run"
    with pytest.raises(UnwritableFile, match=r"cannot write '.*' \(No space left on device\)") as caught:
        train(RateRNN(2, 48, 2, seed=0), flip_flop, directory=folder, **SETTINGS)
    told = str(caught.value)
    assert "checkpoint.pt" in told or "metrics.csv" in told
    assert "make room" in told
    assert not [own for own in folder.iterdir() if own.name.endswith(files.TEMPORARY)]
    step = load_checkpoint(folder / "checkpoint.pt")["step"]
    assert load_run(folder).history.step.values.tolist() == list(range(1, step + 1))
    enlarge()
    resume(folder, progress=False)
    for name in ("network.safetensors", "network.json", "config.toml"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_disk_that_has_been_full_all_the_while_is_told_and_the_old_file_is_intact(small_disk):
    disk, _ = small_disk
    files.atomic_write(disk / "old", b"old")
    with pytest.raises(UnwritableFile) as caught:
        files.atomic_write(disk / "old", bytes(2**18), previous=disk / "older")
    assert str(caught.value) == (
        f"cannot write {str(disk / 'old')!r} (No space left on device): an older file is intact; make room, "
        "or choose another folder"
    )
    assert (disk / "old").read_bytes() == b"old"
    assert [own.name for own in disk.iterdir()] == ["old"]
