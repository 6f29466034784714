import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, InputError
from neurornn.storage import tree


def seeds(n=3):
    rng = np.random.default_rng(0)
    time = xr.Dataset(
        coords={"time": ("time", np.arange(4) * 10.0, {"units": "ms"})}, attrs={"task": "flip_flop"}
    )
    runs = {
        f"/seed_{k}": xr.Dataset(
            {"rate": (("trial", "time", "unit"), rng.random((2 + k, 4, 3)).astype("f4"))},
            coords={"cue": ("trial", list("abcde")[: 2 + k]), "population": ("unit", ["é", "i", "i"])},
            attrs={"seed": k},
        )
        for k in range(n)
    }
    return xr.DataTree.from_dict({"/": time, **runs, "/seed_0/before": xr.Dataset({"score": 0.5})})


@pytest.fixture(params=[".nc", ".zarr"])
def path(request, tmp_path):
    return tmp_path / f"seeds{request.param}"


def test_a_tree_comes_back_with_what_its_children_inherit(path):
    nr.save(seeds(), path)
    loaded = nr.load(path)
    assert isinstance(loaded, xr.DataTree)
    xr.testing.assert_identical(loaded, seeds())
    xr.testing.assert_identical(loaded["seed_1"].to_dataset(), seeds()["seed_1"].to_dataset())
    assert loaded["seed_1"].rate.dtype == np.float32
    assert loaded["seed_2"].encoding["neurornn_verified"] is True


def test_a_part_of_a_tree_is_saved_by_itself_with_what_it_inherits(path):
    part = seeds()["seed_0"]
    nr.save(part, path)
    loaded = nr.load(path)
    xr.testing.assert_identical(loaded.to_dataset(), part.to_dataset())
    xr.testing.assert_identical(loaded["before"].to_dataset(), part["before"].to_dataset())


def test_one_run_of_a_tree_is_an_activity_of_its_own(path):
    nr.save(seeds(), path)
    one = nr.load(path)["seed_0"].to_dataset()
    nr.save(one, path)
    again = nr.load(path)
    assert isinstance(again, xr.Dataset)
    xr.testing.assert_identical(again, one)


def test_xarray_reads_the_file_by_itself(path):
    nr.save(seeds(), path)
    options = {"engine": "h5netcdf"} if path.suffix == ".nc" else {"engine": "zarr", "consolidated": False}
    with xr.open_datatree(path, **options) as opened:
        loaded = opened.load()
    if path.suffix == ".zarr":
        loaded = loaded.filter(lambda node: "manifest" not in node.path)
    xr.testing.assert_equal(loaded, seeds())


def test_a_tree_from_elsewhere_reads_and_is_marked_unverified(path):
    if path.suffix == ".nc":
        seeds().to_netcdf(path, engine="h5netcdf")
    else:
        seeds().to_zarr(path, consolidated=False, zarr_format=2)
    loaded = nr.load(path)
    xr.testing.assert_identical(loaded, seeds())
    assert loaded.encoding["neurornn_verified"] is False


def test_groups_that_make_no_tree_are_told(path):
    fine = {"/": xr.Dataset(coords={"x": [1, 2]}), "/child": xr.Dataset(coords={"x": [1, 2, 3]})}
    for group, dataset in fine.items():
        if path.suffix == ".nc":
            dataset.to_netcdf(path, engine="h5netcdf", group=group, mode="a")
        else:
            dataset.to_zarr(path, group=group, mode="a", consolidated=False)
    with pytest.raises(CorruptFile, match=r"the groups of '.*' do not make a tree .*xarray\.open_groups"):
        nr.load(path)


def test_what_cannot_be_a_tree_is_refused_and_nothing_is_written(path):
    refused = [
        (xr.DataTree(xr.Dataset({"x": 1})), r"no children, .*save tree\.to_dataset\(\) instead"),
        (
            xr.DataTree.from_dict({"/ a": xr.Dataset()}),
            r"the child ' a' of the dataset cannot be stored under",
        ),
        (xr.DataTree.from_dict({"/a/b\n": xr.Dataset()}), r"the child 'b\\n' of the dataset at '/a' cannot"),
        (
            xr.DataTree.from_dict({"/a": xr.Dataset({"x": ("unit", [None])})}),
            "'x' holds Python objects",
        ),
        (
            xr.DataTree.from_dict({"/a": xr.Dataset(attrs={"f": 1j})}),
            "attribute 'f' of the dataset at '/a'",
        ),
    ]
    for data, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(data, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mat", ".npz", ".csv", ".nwb"])
def test_other_formats_hold_one_dataset(tmp_path, suffix):
    with pytest.raises(InputError, match=rf"\{suffix} cannot hold a tree of datasets: use \.nc or \.zarr"):
        nr.save(seeds(), tmp_path / f"x{suffix}")


def test_the_nodes_of_a_dataset_are_itself():
    dataset = xr.Dataset({"x": 1})
    assert tree.nodes_of(dataset) == {"/": dataset}
