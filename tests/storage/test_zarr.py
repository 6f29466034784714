import errno
import json
import os
import shutil
import sys
import tracemalloc

import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, InputError, files
from neurornn.files import UnwritableFile
from neurornn.storage import tree, zarr_arrays, zarr_blocks
from neurornn.storage import zarr as storage
from neurornn.storage.zarr import BlockStore, UnfinishedStore


def activity(n_trials=10, seed=0):
    """Everything that lies along trials, and what does not."""
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "rate": (
                ("trial", "time", "unit"),
                rng.random((n_trials, 30, 5)).astype("f4"),
                {"long_name": "rate"},
            ),
            "late": (("unit", "trial"), rng.random((5, n_trials))),
            "valid": (("trial", "time"), rng.random((n_trials, 30)) < 0.9),
            "parameter_bias": ("unit", rng.random(5)),
        },
        coords={
            "time": ("time", np.arange(30) * 10.0, {"units": "ms"}),
            "cue": ("trial", np.array(["", "é", "left", "right"])[rng.integers(0, 4, n_trials)]),
            "begun": ("trial", np.array(rng.integers(0, 2**40, n_trials), "M8[ns]")),
            "population": ("unit", ["excitatory"] * 4 + ["inhibitory"]),
        },
        attrs={"neurornn": json.dumps({"schema": 2}), "Conventions": "CF-1.11"},
    )


def blocks_of(dataset, size):
    for first in range(0, dataset.sizes["trial"], size):
        yield dataset.isel(trial=slice(first, first + size))


def names(folder):
    return sorted(own.name for own in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "activity.zarr"


# Whole datasets ---------------------------------------------------------------------------------------------


def test_a_dataset_comes_back_identical_and_verified(path):
    nr.save(activity(), path)
    loaded = nr.load(path)
    xr.testing.assert_identical(loaded, activity())
    assert loaded.encoding["neurornn_verified"] is True
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("dtype", ["f2", "c8", "c16"])
def test_it_holds_numbers_that_netcdf_lacks(path, dtype):
    dataset = xr.Dataset({"x": ("trial", np.arange(3).astype(dtype))})
    nr.save(dataset, path)
    assert nr.load(path).x.dtype == dtype
    xr.testing.assert_identical(nr.load(path), dataset)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["m8", "M8"])
def test_dates_and_durations_of_any_trial_keep_their_unit(path, kind, unit):
    # Whole days in the first trials, for which another unit would do, and none that fits the last.
    values = np.array([0, "NaT", 86400, 1, 2**37 + 1], f"{kind}[{unit}]")
    dataset = xr.Dataset({"lasted": ("trial", values)}, coords={"trial": values[::-1]})
    nr.save(dataset, path)
    xr.testing.assert_identical(nr.load(path), dataset)
    store = BlockStore.create(path.with_name("blocks.zarr"), dataset.isel(trial=[0]), 5, 1)
    for block in store.missing:
        store.write(block, dataset.isel(trial=[block]))
    loaded = nr.load(store.path)
    xr.testing.assert_identical(loaded, dataset)
    assert loaded.lasted.dtype == loaded.trial.dtype == values.dtype


def test_attributes_are_json(path):
    attributes = {
        "on": True,
        "none": None,
        "list": [1, "a"],
        "nested": {"a": {"b": 1.5}},
        "array": np.arange(3),
    }
    dataset = xr.Dataset(attrs=attributes)
    nr.save(dataset, path)
    xr.testing.assert_identical(nr.load(path), dataset)
    for value in (np.nan, [np.inf], 1j, b"x", {1: 2}, {"a": {3}}, np.array([np.nan]), object()):
        with pytest.raises(InputError, match=r"attribute 'x' of the dataset is .*cannot hold as JSON"):
            nr.save(xr.Dataset(attrs={"x": value}), path)


@pytest.mark.parametrize("name", ["neurornn_manifest", "zarr.json", "__x", "x" * 201])
def test_names_that_zarr_keeps_are_refused(path, name):
    with pytest.raises(
        InputError, match="has a name that Zarr keeps for itself, or one of more than 200 bytes"
    ):
        nr.save(xr.Dataset({name: 1}), path)
    assert names(path.parent) == []


def test_other_programs_read_it(path):
    import zarr

    nr.save(activity(), path)
    with xr.open_zarr(path, consolidated=False) as opened:
        xr.testing.assert_identical(opened.load(), activity())
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["rate"][:], activity().rate)
    assert group["rate"].metadata.dimension_names == ("trial", "time", "unit")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:.*not in the Zarr format 3 specification")
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
@pytest.mark.filterwarnings("ignore:.*[Cc]onsolidated")
def test_a_store_from_elsewhere_reads_and_is_marked_unverified(path, zarr_format):
    activity().to_zarr(path, zarr_format=zarr_format)
    loaded = nr.load(path)
    xr.testing.assert_identical(loaded, activity())
    assert loaded.encoding["neurornn_verified"] is False
    # And is replaced as one of our own.
    nr.save(activity(seed=1), path)
    xr.testing.assert_identical(nr.load(path), activity(seed=1))


def test_chunks_are_whole_trials_of_a_few_megabytes_and_no_block_is_without_its_own(path, monkeypatch):
    import zarr

    monkeypatch.setattr(zarr_arrays, "CHUNK_BYTES", 30 * 5 * 4 * 2)
    monkeypatch.setattr(zarr_arrays, "BLOCK_BYTES", 30 * 5 * 4 * 4 * 2)
    nr.save(activity(), path)
    array = zarr.open_array(path / "rate", mode="r")
    assert array.chunks == (2, 30, 5)
    assert zarr.open_array(path / "parameter_bias", mode="r").chunks == (5,)
    xr.testing.assert_identical(nr.load(path), activity())


def test_what_is_large_beside_the_trials_is_cut_too(path, monkeypatch):
    import zarr

    monkeypatch.setattr(zarr_arrays, "BLOCK_BYTES", 1000)
    large = xr.Dataset(
        {
            "weights": (("unit", "presynaptic_unit"), np.random.default_rng(0).random((30, 20))),
            "rate": (("trial", "time", "unit"), np.random.default_rng(0).random((3, 10, 30))),
        }
    )
    nr.save(large, path)
    assert zarr.open_array(path / "weights", mode="r").chunks == (8, 10)
    assert zarr.open_array(path / "rate", mode="r").chunks == (1, 10, 8)
    xr.testing.assert_identical(nr.load(path), large)
    store = BlockStore.create(path.with_name("blocks.zarr"), large.isel(trial=[0]), 3, 1)
    for block in store.missing:
        store.write(block, large.isel(trial=[block]))
    xr.testing.assert_identical(nr.load(store.path), large)


def test_no_more_than_a_few_blocks_are_in_memory_when_a_large_store_is_copied(path, monkeypatch):
    monkeypatch.setattr(zarr_arrays, "CHUNK_BYTES", 2**18)
    monkeypatch.setattr(zarr_arrays, "BLOCK_BYTES", 2**20)
    large = xr.Dataset({"rate": (("trial", "unit"), np.random.default_rng(0).random((2048, 2048)))})
    nr.save(large, path)
    lazy = nr.load(path, lazy=True)
    tracemalloc.start()
    nr.save(lazy.isel(unit=slice(0, 2000)), path.with_name("part.zarr"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert large.nbytes == 2**25
    # Of a block: its bytes, the copy that is compressed, and what the libraries hold.
    assert most < 2**23
    xr.testing.assert_identical(nr.load(path.with_name("part.zarr")), large.isel(unit=slice(0, 2000)))


# Read piece by piece ----------------------------------------------------------------------------------------


def test_lazy_leaves_values_on_the_disk_and_keeps_none(path):
    nr.save(activity(), path)
    lazy = nr.load(path, lazy=True)
    assert lazy.encoding["neurornn_verified"] is True
    assert lazy.chunks == {}
    np.testing.assert_array_equal(lazy.rate[2:4], activity().rate[2:4])
    assert not lazy.rate.variable._in_memory
    assert lazy.cue.dtype.kind == "U"
    xr.testing.assert_identical(lazy.compute(), activity())
    xr.testing.assert_identical(nr.load(path, lazy=True).load(), activity())


def test_pieces_go_to_dask_when_it_is_asked_for(path):
    pytest.importorskip("dask")
    nr.save(activity(), path)
    chunked = nr.load(path, lazy=True).chunk({"trial": 4})
    assert chunked.rate.chunks[0] == (4, 4, 2)
    np.testing.assert_allclose(chunked.rate.mean("trial"), activity().rate.mean("trial"), rtol=1e-6)


def test_what_is_damaged_is_told_when_it_is_read(path):
    nr.save(activity(), path)
    flip(path / "rate" / "c" / "0" / "0" / "0", 100, 3)
    lazy = nr.load(path, lazy=True)
    with pytest.raises(ValueError, match="checksum"):
        lazy.rate.load()


def test_a_store_larger_than_memory_is_told_how_to_be_read(path, monkeypatch):
    nr.save(activity(), path)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(tree, "in_memory", fail)
    with pytest.raises(InputError, match="does not fit into memory: read it piece by piece, with lazy=True"):
        nr.load(path)
    assert nr.load(path, lazy=True).sizes["trial"] == 10


def test_other_formats_are_read_whole(tmp_path):
    nr.save(xr.Dataset(), tmp_path / "x.nc")
    with pytest.raises(
        InputError, match=r"\.nc files are read whole: leave lazy=True out, or save .* as \.zarr"
    ):
        nr.load(tmp_path / "x.nc", lazy=True)


# Block by block ---------------------------------------------------------------------------------------------


def create(path, dataset=None, size=4, fingerprint="seed 0"):
    dataset = activity() if dataset is None else dataset
    return BlockStore.create(path, dataset.isel(trial=[0]), dataset.sizes["trial"], size, fingerprint)


@pytest.mark.parametrize("size", [1, 3, 4, 10, 16])
@pytest.mark.parametrize("backwards", [False, True])
def test_blocks_make_the_dataset_in_any_order(path, size, backwards):
    store = create(path, size=size)
    blocks = list(enumerate(blocks_of(activity(), size)))
    assert store.n_blocks == len(blocks)
    assert store.missing == list(range(len(blocks)))
    for number, block in reversed(blocks) if backwards else blocks:
        assert not store.is_done(number)
        store.write(number, block)
        assert store.is_done(number)
    store.finish()
    xr.testing.assert_identical(nr.load(path), activity())


def test_a_store_is_taken_up_where_it_was_left(path):
    blocks = list(blocks_of(activity(), 4))
    create(path).write(1, blocks[1])
    store = BlockStore.open(path, "seed 0")
    assert (store.n_trials, store.trials_per_block, store.fingerprint) == (10, 4, "seed 0")
    assert store.missing == [0, 2]
    assert [store.trials(block) for block in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 10)]
    for block in store.missing:
        store.write(block, blocks[block])
    store.finish()
    xr.testing.assert_identical(nr.load(path), activity())
    assert BlockStore.open(path).missing == []


def test_the_template_may_be_one_trial_or_none_and_its_strings_short(path):
    dataset = activity().assign_coords(cue=("trial", ["a"] * 9 + ["a very long cue"]))
    store = BlockStore.create(path, dataset.isel(trial=slice(0, 0)), 10, 5)
    for number, block in enumerate(blocks_of(dataset, 5)):
        store.write(number, block)
    xr.testing.assert_identical(nr.load(path), dataset)


def test_a_recording_larger_than_the_template_needs_no_memory_for_what_is_to_come(path):
    template = xr.Dataset({"rate": (("trial", "time", "unit"), np.zeros((1, 1000, 256), "f4"))})
    store = BlockStore.create(path, template, 10**6, 64)
    assert store.n_blocks == 15625
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 10_000


def test_no_chunk_lies_in_two_blocks(path, monkeypatch):
    import zarr

    per_trial = 30 * 5 * 4
    for limit, trials in ((per_trial * 3, 3), (per_trial * 5, 4), (per_trial // 2, 1), (10**9, 12)):
        monkeypatch.setattr(zarr_arrays, "CHUNK_BYTES", limit)
        create(path, size=12)
        assert zarr.open_array(path / "rate", mode="r").chunks == (trials, 30, 5)
        shutil.rmtree(path)


def test_an_unfinished_store_is_refused_with_what_is_missing_and_how_to_go_on(path):
    store = create(path, activity(40), size=2)
    for block in (0, 4, 5, 7, 9, 11, 13, 15, 17, 19):
        store.write(block, activity(40).isel(trial=store.trials(block)))
    sentence = (
        f"{str(path)!r} is not finished: 10 of 20 blocks of 2 trials are missing "
        "(1 to 3, 6, 8, 10, 12, 14, 16, 18); go on by the call that was writing it, with the same arguments, "
        "or read what is there with verify=False"
    )
    for attempt in (lambda: nr.load(path), lambda: nr.load(path, lazy=True), store.finish):
        with pytest.raises(UnfinishedStore) as caught:
            attempt()
        assert str(caught.value) == sentence
    there = nr.load(path, verify=False)
    np.testing.assert_array_equal(there.rate[0:2], activity(40).rate[0:2])
    assert there.encoding["neurornn_verified"] is False


def test_many_holes_are_told_in_short():
    assert zarr_blocks._runs(list(range(0, 40, 2))) == "0, 2, 4, 6, 8, 10, 12, 14, ..."


def test_a_store_of_something_else_is_refused(path):
    create(path)
    with pytest.raises(
        InputError, match=r"made from something else \(fingerprint 'seed 0', expected 'seed 1'\)"
    ):
        BlockStore.open(path, "seed 1")
    with pytest.raises(
        InputError, match=r"there is something at '.*' already: go on with it by BlockStore\.open"
    ):
        create(path)
    with pytest.raises(InputError, match=r"there is no Zarr store '.*gone\.zarr'"):
        BlockStore.open(path.with_name("gone.zarr"))
    nr.save(activity(), path)
    with pytest.raises(InputError, match=r"was not made block by block: read it with neurornn\.load"):
        BlockStore.open(path)


def test_a_block_that_does_not_fit_is_refused_and_stays_missing(path):
    store = create(path)
    block = activity().isel(trial=slice(0, 4))
    refused = [
        (block.isel(trial=slice(0, 3)), "must be an xarray Dataset with 4 trials, got {'trial': 3"),
        (np.zeros(4), "with 4 trials, got ndarray"),
        (block.drop_vars("rate"), r"the template's variables along 'trial', \['begun', 'cue', 'late', 'ra"),
        (block.assign(more=("trial", np.zeros(4))), r"got \[.* 'more', .*\]"),
        (block.assign(rate=block.rate.astype("f8")), "'rate' of the block is float64 .* is float32"),
        (block.drop_vars("parameter_bias").isel(unit=slice(0, 3)), r"with \{'unit': 5\} for each trial"),
        (block.assign_coords(cue=("trial", [1, 2, 3, 4])), "variable 'cue' of the block is int64"),
        (block.assign_coords(cue=("trial", ["a", "b", "c", "d\0e"])), r"holds the string 'd\\x00e'"),
    ]  # fmt: skip
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            store.write(0, dataset)
        assert store.missing == [0, 1, 2]
    for number in (-1, 3, 1.0, True):
        with pytest.raises(InputError, match="`block` must be"):
            store.write(number, block)
    store.write(0, block)
    with pytest.raises(InputError, match=r"block 0 of .* is written already"):
        store.write(0, block)
    # In another order of dimensions it is the same block.
    store.write(1, activity().isel(trial=slice(4, 8)).transpose("unit", "time", "trial"))
    store.write(2, activity().isel(trial=slice(8, 10)))
    xr.testing.assert_identical(nr.load(path), activity())


def test_a_template_that_cannot_be_is_refused(path):
    for template, sentence in [
        (
            xr.Dataset({"x": ("unit", [1.0])}),
            "`template` must be an xarray Dataset with the dimension 'trial'",
        ),
        (xr.Dataset({"x": ("trial", [None])}), "'x' holds Python objects"),
        (xr.Dataset({"x": ("trial", [1.0])}, attrs={"a": 1j}), "attribute 'a' of the template"),
    ]:
        with pytest.raises(InputError, match=sentence):
            BlockStore.create(path, template, 4, 2)
    for counts in ((0, 1), (1, 0), (1.5, 1)):
        with pytest.raises(InputError, match="must be a whole number of at least 1"):
            BlockStore.create(path, xr.Dataset({"x": ("trial", [1.0])}), *counts)
    assert names(path.parent) == []


# What goes wrong --------------------------------------------------------------------------------------------


def flip(file, place, bit):
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)


def test_a_block_that_could_not_be_written_is_written_later(path, monkeypatch):
    store = create(path)
    block = activity().isel(trial=slice(0, 4))

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(files, "flush", fail)
        with pytest.raises(
            UnwritableFile, match=r"cannot write block 0 of .*\(No space left on device\): the others"
        ):
            store.write(0, block)
    assert store.missing == [0, 1, 2]
    store.write(0, block)
    assert store.missing == [1, 2]


@pytest.mark.parametrize("moment", ["write_trials", "write_manifest"])
def test_a_store_that_could_not_be_written_leaves_the_old_one(path, monkeypatch, moment):
    nr.save(activity(), path)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(storage, "need_zarr_storable", lambda *_: None)
        full.setattr(storage, moment, fail)
        with pytest.raises(
            UnwritableFile, match=r"cannot write '.*' \(No space left on device\): an older one is"
        ):
            nr.save(activity(seed=1), path)
    assert names(path.parent) == [path.name]
    xr.testing.assert_identical(nr.load(path), activity())


def test_a_kill_between_the_two_renames_loses_nothing(path):
    nr.save(activity(), path)
    os.rename(path, files._set_aside(path))
    xr.testing.assert_identical(nr.load(path), activity())
    assert files.sweep(path.parent) == []
    nr.save(activity(seed=1), path)
    xr.testing.assert_identical(nr.load(path), activity(seed=1))
    assert names(path.parent) == [path.name]


def test_a_chunk_that_is_gone_is_told(path):
    nr.save(activity(), path)
    (path / "rate" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(
        CorruptFile, match=r"is damaged \(the chunk 'rate/c/0/0/0' is missing\): take another copy"
    ):
        nr.load(path)
    assert np.isnan(nr.load(path, verify=False).rate).all()


def test_metadata_that_was_changed_is_refused(path):
    nr.save(activity(), path)
    file = path / "rate" / "zarr.json"
    file.write_text(file.read_text().replace('"long_name": "rate"', '"long_name": "late"'))
    with pytest.raises(CorruptFile, match=r"is damaged \('rate/zarr\.json' is not what was written\)"):
        nr.load(path)
    assert nr.load(path, verify=False).rate.attrs == {"long_name": "late"}
    file.unlink()
    with pytest.raises(CorruptFile, match=r"'rate/zarr\.json' is not what was written"):
        nr.load(path)


def test_a_damaged_flag_is_told(path):
    store = create(path)
    store.write(0, activity().isel(trial=slice(0, 4)))
    flag = path / "neurornn_manifest" / "done" / "c" / "0"
    flip(flag, 0, 0)
    for attempt in (lambda: store.is_done(0), lambda: BlockStore.open(path).missing, lambda: nr.load(path)):
        with pytest.raises(
            CorruptFile, match=r"the flag of block 0 in .* is damaged .*remove '.*done/c/0' and write"
        ):
            attempt()
    flag.unlink()
    assert store.missing == [0, 1, 2]


def test_what_is_no_store_is_told_and_never_replaced(path, tmp_path):
    with pytest.raises(InputError, match=r"there is no Zarr store '.*activity\.zarr': check the name"):
        nr.load(path)
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(
        CorruptFile, match="is not a Zarr store, which is a folder; it is a PNG image: check the name"
    ):
        nr.load(path)
    with pytest.raises(
        InputError, match="is there and is no Zarr store: choose another name, or remove it first"
    ):
        nr.save(activity(), path)
    path.unlink()
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")
    with pytest.raises(CorruptFile, match=r"is a folder without 'zarr\.json', so no Zarr store"):
        nr.load(path)
    with pytest.raises(InputError, match="is there and is no Zarr store"):
        nr.save(activity(), path)
    assert (path / "thesis.tex").read_text() == "years of work"
    (path / "zarr.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"is damaged, or is not a Zarr store \(.*\): take another copy"):
        nr.load(path)


def test_without_the_library_a_sentence_tells_how_to_get_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    for attempt in (
        lambda: nr.save(activity(), path),
        lambda: nr.load(path),
        lambda: create(path),
        lambda: BlockStore.open(path),
    ):
        with pytest.raises(
            InputError, match=r'need the package zarr: .*pip install "neurornn\[zarr\]", or use \.nc'
        ):
            attempt()
