import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import neurornn as nr
from neurornn import CorruptFile, InputError

strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
dtypes = st.sampled_from(["f4", "f8", "i1", "i4", "i8", "u2", "u8", "?"])
sizes = st.fixed_dictionaries(
    {"trial": st.integers(0, 3), "time": st.integers(0, 4), "unit": st.integers(1, 3)}
)
attributes = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
    st.one_of(
        strings,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        hnp.arrays("f8", st.integers(2, 4)),
    ),
    max_size=3,
)


@st.composite
def datasets(draw):
    shape = draw(sizes)
    data = {}
    for k in range(draw(st.integers(1, 4))):
        dims = draw(st.permutations(list(shape)))[: draw(st.integers(0, 3))]
        array = draw(hnp.arrays(draw(dtypes), [shape[dim] for dim in dims]))
        data[f"variable_{k}"] = (dims, array, draw(attributes))
    label = draw(st.lists(strings, min_size=shape["unit"], max_size=shape["unit"]))
    coords = {"time": np.arange(shape["time"]) * 0.1, "population": ("unit", np.array(label, dtype=str))}
    return xr.Dataset(data, coords=coords, attrs=draw(attributes))


@settings(max_examples=30)
@given(dataset=datasets())
def test_a_dataset_comes_back_identical(dataset, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "dataset.nc"
    nr.save(dataset, path)
    again = nr.load(path)
    xr.testing.assert_identical(again, dataset)
    for name, variable in dataset.variables.items():
        same_kind = again[name].dtype == variable.dtype or variable.dtype.kind == "U"
        assert same_kind, f"{name}: {variable.dtype} came back as {again[name].dtype}"
    assert again.encoding["neurornn_verified"] is True


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
    with pytest.raises(CorruptFile, match="is not a netCDF-4 file, or is damaged"):
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
        (np.zeros(3), "`dataset` must be an xarray Dataset, got ndarray"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(dataset, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_offers_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"unknown file ending '\.ncc': .*did you mean '\.nc'"):
        nr.save(xr.Dataset(), tmp_path / "x.ncc")
    with pytest.raises(InputError, match=r"unknown file ending ''"):
        nr.load(tmp_path / "x")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*gone\.nc"):
        nr.load(tmp_path / "gone.nc")
