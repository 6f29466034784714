import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, InputError
from neurornn.storage import netcdf


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {"rate": (("trial", "time", "unit"), rng.random((4, 30, 5)).astype("f4"))},
        coords={"time": ("time", np.arange(30) * 10.0, {"units": "ms"}), "cue": ("trial", list("abab"))},
        attrs={"neurornn": "{}", "Conventions": "CF-1.11"},
    )
    path = tmp_path / "activity.nc"
    nr.save(dataset, path)
    return dataset, path


def test_saving_twice_gives_the_same_bytes(saved):
    dataset, path = saved
    nr.save(dataset, path.with_name("again.nc"))
    assert path.read_bytes() == path.with_name("again.nc").read_bytes()


def test_what_was_loaded_cut_and_changed_saves_again(saved):
    _, path = saved
    part = nr.load(path).isel(trial=slice(1, 3), unit=[0]).assign(rate=lambda d: d.rate.astype("f8"))
    nr.save(part, path)
    xr.testing.assert_identical(nr.load(path), part)


def test_other_programs_read_a_sealed_file(saved):
    dataset, path = saved
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        xr.testing.assert_equal(opened.load(), dataset)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["rate"][()], dataset.rate)


def test_a_flipped_bit_is_refused_before_hdf5_opens_the_file(saved, monkeypatch):
    _, path = saved
    data = path.read_bytes()
    monkeypatch.setattr(xr, "open_dataset", lambda *_, **__: pytest.fail("HDF5 saw the damaged bytes"))
    for place in np.linspace(0, len(data) - 1, 100).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match="is damaged"):
            nr.load(path)


def test_a_damaged_number_is_read_where_verification_is_declined(tmp_path):
    path = tmp_path / "x.nc"
    # A single number is stored as it is, so that its bytes can be found in the file.
    nr.save(xr.Dataset({"value": 1.2345}), path)
    place = path.read_bytes().index(np.float64(1.2345).tobytes())
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptFile):
        nr.load(path)
    loaded = nr.load(path, verify=False)
    assert float(loaded.value) == pytest.approx(1.2345)
    assert float(loaded.value) != 1.2345
    assert loaded.encoding["neurornn_verified"] is False


def test_a_file_from_elsewhere_reads_and_is_marked_unverified(tmp_path, saved):
    dataset, _ = saved
    dataset.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    loaded = nr.load(tmp_path / "theirs.nc")
    xr.testing.assert_identical(loaded, dataset)
    assert loaded.encoding["neurornn_verified"] is False


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.98])
def test_a_truncated_file_is_refused(saved, share):
    _, path = saved
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(
        CorruptFile, match=r"is (not a netCDF-4 file|cut short), or is damaged .*take another copy"
    ):
        nr.load(path)


def test_a_file_that_lost_its_digest_alone_is_whole_but_unverified(saved):
    dataset, path = saved
    path.write_bytes(path.read_bytes()[:-10])
    loaded = nr.load(path)
    xr.testing.assert_identical(loaded, dataset)
    assert loaded.encoding["neurornn_verified"] is False


def test_units_are_never_turned_into_another_type(tmp_path):
    dataset = xr.Dataset({"delay": ("trial", [1.0, 2.0], {"units": "milliseconds"})})
    nr.save(dataset, tmp_path / "x.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "x.nc"), dataset)


def test_a_data_array_is_saved_under_its_name(tmp_path):
    nr.save(xr.DataArray([1.0], dims="unit", name="rate"), tmp_path / "x.nc")
    assert nr.load(tmp_path / "x.nc").rate.values.tolist() == [1.0]
    nr.save(xr.DataArray([1.0], dims="unit"), tmp_path / "x.nc")
    assert list(nr.load(tmp_path / "x.nc")) == ["value"]


def test_what_netcdf_cannot_hold_is_refused_with_a_way_out_and_nothing_is_written(tmp_path):
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=("cue", "pulse"))
    stacked = xr.Dataset({"x": ("trial", np.zeros(4))})
    stacked = stacked.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "trial"))
    one = ("unit", [1.0])
    refused = [
        (stacked, r"'trial' is a MultiIndex.*dataset\.reset_index\('trial'\)"),
        (xr.Dataset({"x": ("unit", [1 + 2j])}), r"'x' is complex.*real and imaginary parts"),
        (xr.Dataset({"x": ("unit", np.array([None, "a"]))}), r"'x' holds Python objects"),
        (xr.Dataset({"x": one}, attrs={"note": None}), r"attribute 'note' of the dataset is None"),
        (xr.Dataset({"x": one}, attrs={"on": True}), r"'on' of the dataset is True, which netCDF cannot"),
        (xr.Dataset({"x": one}, attrs={"on": np.True_}), r"attribute 'on'"),
        (xr.Dataset({"x": (*one, {"seen": [1, 2]})}), r"'seen' of variable 'x' is \[1, 2\].*json\.dumps"),
        (xr.Dataset({"x": one}, attrs={"config": {"a": 1}}), r"attribute 'config'"),
        (xr.Dataset({"x": one}, attrs={"z": 1j}), r"attribute 'z'"),
        (xr.Dataset({"x": one}, attrs={"z": np.array([1j])}), r"attribute 'z'"),
        (xr.Dataset({"x": one}, attrs={"z": np.array(["a", "b"])}), r"attribute 'z'"),
        (xr.Dataset({"x": one}, attrs={"z": np.array([True])}), r"attribute 'z'"),
        (xr.Dataset({"x": one}, attrs={"z": 2**70}), r"attribute 'z'"),
        (xr.Dataset({"x": one}, attrs={"z": "a\0b"}), r"attribute 'z'"),
        (np.zeros(3), "`dataset` must be an xarray Dataset or DataTree, got ndarray"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(dataset, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_names_and_indexes_that_no_file_keeps_are_refused_with_a_way_out(tmp_path):
    one = ("unit", [1.0])
    bare = xr.Dataset(coords=xr.Coordinates({"unit": one}, indexes={}))
    refused = [
        (
            xr.Dataset({"a/b": one}),
            r"variable 'a/b' of the dataset cannot be stored under that name: rename it to",
        ),
        (xr.Dataset({3: one}), "variable 3 of the dataset cannot be stored"),
        (xr.Dataset({"x": ("a\n", [1.0])}), r"dimension 'a\\n' of the dataset cannot be stored"),
        (bare, r"'unit' has no index, and would come back with one: use dataset\.set_xindex\('unit'\) first"),
        (
            xr.Dataset(coords=xr.Coordinates.from_xindex(xr.indexes.RangeIndex.arange(3.0, dim="time"))),
            "'time' has an index of its own",
        ),
        (
            xr.Dataset(coords={"day": pd.date_range("2000", periods=2, tz="UTC")}),
            "'day' holds datetime64.* as pandas",
        ),
        (xr.Dataset(coords={"day": pd.period_range("2000", periods=2, freq="D")}), "'day' holds period"),
        (
            xr.Dataset(coords={"cue": ("trial", ["a"])}).set_xindex("cue"),
            r"'cue' has an index of its own, which netCDF cannot hold: use dataset\.drop_indexes\('cue'\)",
        ),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(dataset, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_values_that_other_readers_lack_or_would_lose_are_refused(tmp_path):
    refused = [
        (
            np.zeros(2, "f2"),
            r"'x' is float16, which netCDF does not have: use dataset\['x'\]\.astype\('float32'\)",
        ),
        (np.array([b"a"]), r"'x' holds \|S1, which netCDF cannot hold for every reader"),
        (np.array(["a\0b"]), r"'x' holds the string 'a\\x00b', which netCDF cannot"),
        (np.array(["\ud800"]), r"'x' holds the string '\\ud800'"),
        (
            np.array([0, 0, 2**40], "M8[s]"),
            r"'x' holds dates outside the years 0 to 9999, which netCDF cannot",
        ),
        (np.array([-(2**40), "NaT"], "M8[s]"), r"'x' holds dates outside the years 0 to 9999"),
        (pd.Categorical(["a"]), r"'x' holds category as pandas does"),
        (pd.array([1, None]), r"'x' holds Int64 as pandas does"),
    ]
    for values, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(xr.Dataset({"x": ("unit", values)}), tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("_FillValue", 0, "i4"),
        ("missing_value", 1, "i4"),
        ("scale_factor", 2.0, "i2"),
        ("add_offset", 1.0, "f4"),
        ("units", "days since 2000-01-01", "i8"),
        ("dtype", "bool", "i1"),
        ("coordinates", "time", "f4"),
        ("CLASS", "DIMENSION_SCALE", "f4"),
    ],
)
def test_an_attribute_that_would_make_readers_change_the_values_is_refused(tmp_path, key, value, kind):
    dataset = xr.Dataset({"x": ("unit", np.arange(3).astype(kind), {key: value})})
    with pytest.raises(
        InputError, match=rf"netCDF (cannot hold|would change) .*attribute '{key}' of variable 'x'"
    ):
        nr.save(dataset, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_units_that_are_no_date_stay(tmp_path):
    dataset = xr.Dataset({"x": ("unit", np.arange(3), {"units": "ms", "valid_range": np.arange(2)})})
    nr.save(dataset, tmp_path / "x.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "x.nc"), dataset)


def test_what_an_earlier_file_has_left_as_encoding_is_forgotten(tmp_path):
    packed = xr.Dataset({"x": ("unit", [0.1, 0.2, 0.30001])})
    packed.x.encoding = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1, "chunksizes": (2,)}
    packed.encoding = {"unlimited_dims": {"unit"}}
    packed.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    theirs = nr.load(tmp_path / "theirs.nc").assign(x=lambda own: own.x + 0.01)
    nr.save(theirs, tmp_path / "ours.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "ours.nc"), theirs)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("values", [[], ["NaT"], [5, "NaT"], [-(2**33), 2**33]])
def test_dates_and_durations_keep_their_unit(tmp_path, unit, values):
    dataset = xr.Dataset(
        {
            "begun": ("trial", np.array(values, f"M8[{unit}]")),
            "lasted": ("trial", np.array(values, f"m8[{unit}]")),
        }
    )
    nr.save(dataset, tmp_path / "x.nc")
    loaded = nr.load(tmp_path / "x.nc")
    xr.testing.assert_identical(loaded, dataset)
    assert (loaded.begun.dtype, loaded.lasted.dtype) == (f"M8[{unit}]", f"m8[{unit}]")


def test_strings_of_every_kind_come_back_as_one(tmp_path):
    words = ["", "é", "left", "\U0001f40b"]
    kinds = {
        "fixed": np.array(words),
        "objects": np.array(words, dtype=object),
        "of_any_length": np.array(words, dtype=np.dtypes.StringDType()),
        "pandas": pd.Series(words),
    }
    dataset = xr.Dataset({name: ("trial", own) for name, own in kinds.items()}, coords={"trial": words})
    nr.save(dataset, tmp_path / "x.nc")
    loaded = nr.load(tmp_path / "x.nc")
    for name in (*kinds, "trial"):
        assert loaded[name].dtype.kind == "U"
        assert loaded[name].values.tolist() == words


def test_a_variable_named_like_one_of_its_dimensions_comes_back(tmp_path):
    dataset = xr.Dataset({"unit": (("unit", "component"), np.ones((3, 2)))})
    nr.save(dataset, tmp_path / "x.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "x.nc"), dataset)


def test_what_is_usual_is_not_rehearsed(saved, tmp_path, monkeypatch):
    dataset, path = saved
    monkeypatch.setattr(netcdf, "_there_and_back", lambda _: pytest.fail("rehearsed"))
    nr.save(dataset, tmp_path / "again.nc")
    assert (tmp_path / "again.nc").read_bytes() == path.read_bytes()


def test_a_format_loads_its_library_on_first_use():
    libraries = ("zarr", "dask", "pynwb", "h5py", "h5netcdf")
    code = f"import sys, neurornn.storage; print([name for name in {libraries} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_of_conditions_is_written_only(tmp_path):
    with pytest.raises(InputError, match=r"\.csv files are written only: load the \.nc or \.zarr file"):
        nr.load(tmp_path / "x.csv")


def test_an_unknown_ending_offers_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"unknown file ending '\.ncc': .*did you mean '\.nc'"):
        nr.save(xr.Dataset(), tmp_path / "x.ncc")
    with pytest.raises(InputError, match=r"unknown file ending ''"):
        nr.load(tmp_path / "x")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*gone\.nc"):
        nr.load(tmp_path / "gone.nc")
