import gzip
import json
import pathlib

import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, InputError, storage
from neurornn.storage import schema
from neurornn.vocabulary import SCHEMA_VERSION

LAYOUTS = pathlib.Path(__file__).parent / "layouts"


def unpacked(name, folder):
    """A file that an earlier state of the package wrote, of an untrained network of 3 units."""
    path = folder / f"{name}.nc"
    path.write_bytes(gzip.decompress((LAYOUTS / f"{name}.nc.gz").read_bytes()))
    return path


def dataset_of(**told):
    return xr.Dataset(attrs={"neurornn": json.dumps(told)})


def test_every_older_layout_has_a_way_to_the_next():
    assert sorted(schema.MIGRATIONS) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize(("name", "digest_moves"), [("layout_1_first", True), ("layout_1_last", False)])
def test_files_of_the_first_layout_open_in_the_present_one(tmp_path, name, digest_moves):
    path = unpacked(name, tmp_path)
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        old = opened.load()
    told_then = json.loads(old.attrs["neurornn"])
    assert told_then["schema"] == 1
    loaded = nr.load(path)
    assert loaded.encoding["neurornn_verified"] is True
    told = schema.origin(loaded)
    assert (told["schema"], told["migrated_from_schema"]) == (SCHEMA_VERSION, 1)
    assert loaded.quantity.dims == ("state_variable",)
    assert loaded.quantity.values.tolist() == ["current"] * 3
    assert "delay" not in loaded.variables
    assert loaded.delay_duration.values.tolist() == old["delay"].values.tolist() == [3200.0, 400.0]
    assert told["task"]["parameters"]["delay"] == "Choice(200.0, 400.0, 800.0, 1600.0, 3200.0)"
    # A digest of weights under names that no network has any more says nothing about one.
    assert ("weights_sha256" in told) is not digest_moves
    kept = told["weights_sha256_schema_1" if digest_moves else "weights_sha256"]
    assert kept == told_then["weights_sha256"]
    # Nothing else has changed.
    back = loaded.drop_vars("quantity").rename(delay_duration="delay").assign_attrs(old.attrs)
    xr.testing.assert_identical(back, old)


def test_what_was_brought_up_to_date_saves_and_loads_as_it_is(tmp_path):
    loaded = nr.load(unpacked("layout_1_first", tmp_path))
    nr.save(loaded, tmp_path / "again.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "again.nc"), loaded)


def test_a_migrated_file_goes_through_the_analyses(tmp_path):
    activity = storage.load_activity(unpacked("layout_1_first", tmp_path))
    assert nr.analysis.pca(activity, n_components=2).sizes["component"] == 2


def test_a_newer_layout_is_refused_with_a_way_out(tmp_path):
    path = tmp_path / "x.nc"
    nr.save(dataset_of(schema=SCHEMA_VERSION + 1), path)
    with pytest.raises(InputError) as caught:
        nr.load(path)
    assert str(caught.value) == (
        f"{str(path)!r} has layout {SCHEMA_VERSION + 1}, and this version of neurornn knows those up "
        f"to {SCHEMA_VERSION}: update it with pip install --upgrade neurornn, or read the file with xarray "
        "itself"
    )


@pytest.mark.parametrize("version", ["2", 0, -1, 1.5, True, None])
def test_a_version_that_is_none_is_refused(tmp_path, version):
    nr.save(dataset_of(schema=version), tmp_path / "x.nc")
    with pytest.raises(
        CorruptFile, match=r"x\.nc' tells that its layout is .*, expected a whole number from 1"
    ):
        nr.load(tmp_path / "x.nc")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "a sentence", '{"version": 9}'])
def test_an_attribute_of_that_name_that_is_no_record_is_left_alone(tmp_path, text):
    dataset = xr.Dataset({"x": 1.0}, attrs={"neurornn": text})
    nr.save(dataset, tmp_path / "x.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "x.nc"), dataset)
    numbers = xr.Dataset(attrs={"neurornn": 3})
    nr.save(numbers, tmp_path / "x.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "x.nc"), numbers)


def test_each_step_is_taken_once_and_in_order(monkeypatch):
    def step(number):
        return lambda dataset, told: (dataset, {**told, "steps": [*told.get("steps", []), number]})

    monkeypatch.setattr(schema, "SCHEMA_VERSION", 4)
    monkeypatch.setattr(schema, "MIGRATIONS", {number: step(number) for number in (1, 2, 3)})
    for version in (1, 2, 3):
        told = schema.origin(schema.up_to_date(dataset_of(schema=version), "x.nc"))
        assert told == {"schema": 4, "migrated_from_schema": version, "steps": [*range(version, 4)]}
    present = dataset_of(schema=4)
    assert schema.up_to_date(present, "x.nc") is present


def test_the_nodes_of_a_tree_are_brought_up_to_date(tmp_path):
    old = xr.Dataset({"state": ("state_variable", [0.0])}, attrs=dataset_of(schema=1).attrs)
    nr.save(xr.DataTree.from_dict({"/seed_0": old, "/seed_1": old}), tmp_path / "x.nc")
    loaded = nr.load(tmp_path / "x.nc")
    assert [str(loaded[name].quantity.values[0]) for name in ("seed_0", "seed_1")] == ["current"] * 2


# What is no activity ----------------------------------------------------------------------------------------


def test_a_file_that_is_no_activity_is_refused_by_its_name_with_a_cure(tmp_path):
    path = tmp_path / "x.nc"
    rate = (("trial", "time", "unit"), np.zeros((1, 2, 3)))
    nr.save(xr.Dataset({"rates": rate}), path)
    with pytest.raises(InputError) as caught:
        storage.load_activity(path)
    assert str(caught.value) == (
        f"{str(path)!r} is no activity: it has no variable 'rate', only 'rates'; record it anew with "
        "neurornn.record, or rename yours with dataset.rename(rates='rate')"
    )
    nr.save(xr.Dataset(), path)
    with pytest.raises(InputError, match=r"no variable 'rate', only none at all; record it anew"):
        storage.load_activity(path)
    nr.save(xr.Dataset({"rate": (("trial", "time", "neuron"), rate[1])}), path)
    with pytest.raises(InputError, match=r"rates in '.*x\.nc' have the dimensions .*'neuron'\), expected"):
        storage.load_activity(path)
    nr.save(xr.Dataset({"rate": rate}), path)
    assert storage.load_activity(path).sizes == {"trial": 1, "time": 2, "unit": 3}
    with pytest.raises(InputError, match=r"has no variable 'output', only 'rate'"):
        storage.load_activity(path, variables=["rate", "output"])


def test_a_tree_is_no_activity(tmp_path):
    path = tmp_path / "x.nc"
    nr.save(xr.DataTree.from_dict({"/seed_0": xr.Dataset(), "/seed_1": xr.Dataset()}), path)
    with pytest.raises(InputError, match=r"holds a tree of 2 datasets, .*\['seed_0'\]\.to_dataset\(\)"):
        storage.load_activity(path)
