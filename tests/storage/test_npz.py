import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurornn import CorruptFile, InputError
from neurornn.storage import layout, npz


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {"rate": (("trial", "time", "unit"), rng.random((4, 30, 5)).astype("f4"))},
        coords={"time": ("time", np.arange(30) * 10.0, {"units": "ms"}), "cue": ("trial", list("abab"))},
        attrs={"neurornn": "{}", "spectrum": np.array([1 + 2j, np.nan]), "note": None},
    )
    path = tmp_path / "activity.npz"
    npz.write(dataset, path)
    return dataset, path


def test_any_numpy_reads_the_arrays_and_any_program_the_labels(saved):
    dataset, path = saved
    with np.load(path) as arrays:
        assert set(arrays) == {"rate", "time", "cue", "neurornn.json"}
        np.testing.assert_array_equal(arrays["rate"], dataset.rate)
        labels = json.loads(arrays["neurornn.json"], parse_constant=pytest.fail)
    dims = {entry["name"]: entry["dims"] for entry in labels["variables"]}
    assert dims == {"time": ["time"], "cue": ["trial"], "rate": ["trial", "time", "unit"]}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        # The digest is an archive's comment, so that nothing stands behind the archive's end.
        assert archive.comment.startswith(b"\nneurornn-sha256\n")
        assert len(archive.comment) == 49


def test_saving_twice_gives_the_same_bytes(saved):
    dataset, path = saved
    npz.write(dataset, path.with_name("again.npz"))
    assert path.read_bytes() == path.with_name("again.npz").read_bytes()


def test_a_flipped_bit_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for place in np.linspace(0, len(data) - 1, 200).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"activity\.npz' is"):
            npz.read(path)


def test_a_truncated_file_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 200).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptFile, match=r"is not an .npz file, or is damaged \(.*take another copy"):
            npz.read(path)


def test_what_is_left_of_a_damaged_file_is_read_where_verification_is_declined(saved):
    dataset, path = saved
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptFile, match="verify=False"):
        npz.read(path)
    again = npz.read(path, verify=False)
    xr.testing.assert_identical(again, dataset)
    assert again.encoding["neurornn_verified"] is False


def test_files_of_other_kinds_are_told(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, rate=np.zeros(3))
    with pytest.raises(InputError, match=r"holds arrays without labels: .*numpy\.load.*activity_from_arrays"):
        npz.read(path)
    path.write_text("trial,score\n0,1\n")
    with pytest.raises(CorruptFile, match=r"is damaged \(File is not a zip file\); it is a text file: check"):
        npz.read(path)
    with pytest.raises(InputError, match=r"there is no file .*gone\.npz"):
        npz.read(tmp_path / "gone.npz")


def test_a_layout_of_a_later_version_is_told(saved, monkeypatch):
    dataset, path = saved
    with monkeypatch.context() as later:
        later.setattr(layout, "LAYOUT_VERSION", 2)
        npz.write(dataset, path)
    with pytest.raises(InputError, match=r"has layout 2, .* up to 1: upgrade"):
        npz.read(path)


def with_rate(path, rate):
    """Replace the rates in an archive, or remove them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(rate), allow_pickle=True)
    members["rate.npy"] = content.getvalue()
    if rate is None:
        del members["rate.npy"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_pickle_is_never_read(saved):
    _, path = saved
    with_rate(path, np.array([{}]))
    with pytest.raises(CorruptFile, match="allow_pickle=False"):
        npz.read(path, verify=False)


def test_a_missing_variable_and_another_are_told(saved):
    _, path = saved
    with_rate(path, np.zeros(3))
    with pytest.raises(CorruptFile, match=r"its digest is missing"):
        npz.read(path)
    with pytest.raises(CorruptFile, match=r"its variable 'rate' is missing or another: .*reshape"):
        npz.read(path, verify=False)
    with_rate(path, None)
    with pytest.raises(CorruptFile, match=r"its variable 'rate' is missing or another: .*rate\.npy"):
        npz.read(path, verify=False)


def test_what_an_archive_cannot_hold_is_refused_with_a_way_out_and_nothing_is_written(tmp_path):
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=("cue", "pulse"))
    stacked = xr.Dataset({"x": ("trial", np.zeros(4))})
    stacked = stacked.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "trial"))
    one = ("unit", [1.0])
    refused = [
        (stacked, r"'trial' is a MultiIndex, which an .npz file.*dataset\.reset_index\('trial'\)"),
        (xr.Dataset({"x": ("unit", np.array([None, "a"]))}), r"'x' holds Python objects, which an .npz"),
        (xr.Dataset({"x": ("unit", np.array(["a\0"], object))}), r"'x' holds the string 'a\\x00', which an"),
        (xr.Dataset({"x": ("unit", np.zeros(1, "i4,f4"))}), r"'x' holds \[.*make it numbers or strings"),
        (xr.Dataset({"x": ("unit", pd.Categorical(["a"]))}), r"'x' holds category.*\['x'\]\.astype\(str\)"),
        (xr.Dataset({1: one}), r"variable 1 of the dataset cannot be stored under that name: rename it"),
        (xr.Dataset({"a/b": one}), r"variable 'a/b' of the dataset cannot be stored under that name"),
        (xr.Dataset({"x": one}, attrs={"seen": (1, 2)}), r"'seen' of the dataset is \(1, 2\).*json\.dumps"),
        (xr.Dataset({"x": (*one, {"seen": {1}})}), r"attribute 'seen' of variable 'x' is \{1\}"),
        (xr.Dataset({"x": one}, attrs={3: 1}), "attribute 3 of the dataset is 1"),
        (xr.Dataset({"x": one}, attrs={"x": np.array([None])}), "attribute 'x' of the dataset"),
        (xr.Dataset({"x": one}, attrs={"x": {"neurornn_array": 1}}), "attribute 'x' of the dataset"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            npz.write(dataset, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []
