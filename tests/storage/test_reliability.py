"""Files that are killed, damaged, cut short, of another kind, or on a full disk."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, files
from neurornn.files import UnwritableFile
from neurornn.storage import netcdf
from neurornn.storage.zarr import BlockStore

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def activity(trained):
    return nr.record(trained.network, trained.task, n_trials=12)


@pytest.fixture(params=[".nc", ".zarr"])
def saved(request, activity, tmp_path):
    path = tmp_path / f"activity{request.param}"
    nr.save(activity, path)
    return path


def contents(path):
    """The files of a store, or the one file, with their bytes."""
    inside = sorted(own for own in path.rglob("*") if own.is_file()) if path.is_dir() else [path]
    return {own: own.read_bytes() for own in inside}


def flip(data, place, bit):
    damaged = bytearray(data)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def loaded_or_refused(path):
    try:
        return nr.load(path)
    except CorruptFile as error:
        told = str(error)
    assert str(path) in told
    return None


# Damage -----------------------------------------------------------------------------------------------------


def test_none_of_five_hundred_flipped_bits_in_a_netcdf_file_is_read_silently(activity, tmp_path, monkeypatch):
    path = tmp_path / "activity.nc"
    nr.save(activity, path)
    data = path.read_bytes()
    # HDF5 can spin for ever on what it is given: it is never given what is damaged.
    monkeypatch.setattr(netcdf, "_decoded", lambda _: pytest.fail("HDF5 saw the damaged bytes"))
    rng = np.random.default_rng(0)
    for place, bit in zip(rng.integers(0, len(data), 500), rng.integers(0, 8, 500), strict=True):
        path.write_bytes(flip(data, place, bit))
        with pytest.raises(CorruptFile, match=r"activity\.nc' is damaged: .*take another copy"):
            nr.load(path)


def test_none_of_two_hundred_flipped_bits_in_a_zarr_store_is_read_silently(activity, tmp_path):
    path = tmp_path / "activity.zarr"
    activity = activity[["rate", "valid", "parameter_bias"]]
    nr.save(activity, path)
    whole = contents(path)
    places = [(own, place) for own, data in whole.items() for place in range(len(data))]
    rng = np.random.default_rng(0)
    told = 0
    for number in range(200):
        # Every file once, and then anywhere.
        own, place = places[rng.integers(len(places))]
        if number < len(whole):
            own = list(whole)[number]
            place = rng.integers(len(whole[own]))
        own.write_bytes(flip(whole[own], place, rng.integers(8)))
        loaded = loaded_or_refused(path)
        told += loaded is None
        if loaded is not None:
            # Of the manifest, what nobody reads may change: the values are what they were.
            assert own.parent.name == "neurornn_manifest"
            xr.testing.assert_identical(loaded, activity)
        own.write_bytes(whole[own])
    assert told >= 195
    xr.testing.assert_identical(nr.load(path), activity)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_short_is_refused(saved, share):
    largest = max(contents(saved).items(), key=lambda own: len(own[1]))
    largest[0].write_bytes(largest[1][: int(share * len(largest[1]))])
    with pytest.raises(CorruptFile, match=rf"{saved.name}' is .*take another copy"):
        nr.load(saved)


def test_a_hole_of_a_page_is_refused(saved):
    # What a crash of the machine leaves where the disk was told of a length before it was given the data.
    own, data = max(contents(saved).items(), key=lambda own: len(own[1]))
    for place in range(0, len(data), 4096):
        damaged = bytearray(data)
        damaged[place : place + 4096] = bytes(len(damaged[place : place + 4096]))
        if damaged != data:
            own.write_bytes(damaged)
            with pytest.raises(CorruptFile, match=rf"{saved.name}' is damaged"):
                nr.load(saved)


def test_a_digest_that_was_wiped_is_missed(activity, tmp_path):
    path = tmp_path / "activity.nc"
    nr.save(activity, path)
    data = path.read_bytes()
    path.write_bytes(data[: -files.TRAILER_LENGTH] + bytes(files.TRAILER_LENGTH))
    with pytest.raises(CorruptFile, match=r"is damaged: the digest behind its content was overwritten; take"):
        nr.load(path)
    xr.testing.assert_identical(nr.load(path, verify=False), activity)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"unit,rate\n1,0.5\n", "a text file"),
        ("día\t0.5\n".encode() * 100, "a text file"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (bytes(range(128, 256)), "of no kind known here"),
    ],
)
def test_a_file_of_another_kind_is_told_what_it_is(tmp_path, content, kind):
    path = tmp_path / "activity.nc"
    path.write_bytes(content)
    with pytest.raises(CorruptFile) as caught:
        nr.load(path)
    told = str(caught.value)
    assert told.startswith(f"{str(path)!r} is not a netCDF-4 file, or is damaged ({kind}")
    assert told.endswith("take another copy" if kind == "empty" else "check the name")


def test_a_netcdf_file_of_the_older_kind_is_told_how_to_be_read(tmp_path):
    path = tmp_path / "theirs.nc"
    dataset = xr.Dataset({"rate": ("unit", [1.0, 2.0])})
    dataset.to_netcdf(path, engine="scipy")
    with pytest.raises(
        CorruptFile, match=r"\(a netCDF-3 file\): write it anew with neurornn\.save\(xarray\.open"
    ):
        nr.load(path)
    nr.save(xr.open_dataset(path, engine="scipy"), tmp_path / "ours.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "ours.nc"), dataset)


def test_an_hdf5_file_that_is_no_netcdf_file_is_read_or_told(tmp_path):
    import h5py

    path = tmp_path / "x.nc"
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros(2, dtype=[("a", "f4"), ("b", "S3")])
    loaded = loaded_or_refused(path)
    assert loaded is None or loaded.sizes


# A full disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small file system can be made here: {error}")
    if made.returncode:
        pytest.skip(f"no small file system can be made here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def of_size(kilobytes, seed=0):
    rng = np.random.default_rng(seed)
    return xr.Dataset({"rate": (("trial", "unit"), rng.random((16, kilobytes * 8)))}, attrs={"seed": seed})


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("kilobytes", [200, 600])
def test_a_full_disk_keeps_the_old_file_and_nothing_else(small_disk, suffix, kilobytes):
    path = small_disk / f"x{suffix}"
    nr.save(of_size(80), path)
    # The one fits without the old file only, the other not at all.
    with pytest.raises(
        UnwritableFile, match=rf"cannot write '.*x\{suffix}' \(No space left on device\): an older"
    ):
        nr.save(of_size(kilobytes, seed=1), path)
    xr.testing.assert_identical(nr.load(path), of_size(80))
    assert [own.name for own in small_disk.iterdir()] == [path.name]
    # Less of it fits.
    nr.save(of_size(50, seed=2), path)
    xr.testing.assert_identical(nr.load(path), of_size(50, seed=2))


def test_a_disk_that_fills_up_block_by_block_keeps_the_blocks(small_disk, tmp_path):
    path = small_disk / "x.zarr"
    whole = of_size(400)

    def fill(store):
        for block in store.missing:
            store.write(block, whole.isel(trial=store.trials(block)))

    full = BlockStore.create(path, whole.isel(trial=[0]), 16, 2)
    with pytest.raises(
        UnwritableFile, match=r"cannot write block \d of .*: the others are intact; make room"
    ):
        fill(full)
    assert 0 < len(BlockStore.open(path).missing) < 8
    # On a larger disk it goes on.
    roomy = tmp_path / "x.zarr"
    shutil.copytree(path, roomy)
    store = BlockStore.open(roomy)
    fill(store)
    store.finish()
    xr.testing.assert_identical(nr.load(roomy), whole)
    assert not list(roomy.rglob("*.partial"))


# Kills ------------------------------------------------------------------------------------------------------


def test_ten_kills_while_saving_leave_the_old_file_or_the_new_one():
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    command = [sys.executable, "benchmarks/kill_export.py", "10", "--backends", ".nc", ".zarr", "blocks"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    for backend in (".nc", ".zarr", "blocks"):
        kills, _, _, _, torn, _, _ = map(int, rows[backend])
        assert (kills, torn) == (10, 0)
