import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat, whosmat

from neurornn import CorruptFile, InputError
from neurornn.storage import layout, matlab, npz


@settings(max_examples=100)
@given(names=st.lists(st.text(max_size=70) | st.sampled_from(["end", "end_", "1", "a" * 80]), unique=True))
def test_every_name_becomes_one_that_matlab_allows_and_no_two_the_same(names):
    taken = []
    for name in names:
        own = matlab.matlab_name(name, taken)
        assert own.isidentifier()
        assert own.isascii()
        assert own[0].isalpha()
        assert len(own) <= 63
        assert own not in matlab._KEYWORDS
        assert own not in taken
        taken.append(own)


@pytest.fixture
def activity():
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "rate": (("trial", "time", "unit"), rng.random((4, 30, 5)).astype("f4"), {"long_name": "rate"}),
            "valid": (("trial", "time"), rng.random((4, 30)) < 0.5),
            "end": ("unit", np.arange(5, dtype="i8")),
        },
        coords={
            "time": ("time", np.arange(30) * 10.0, {"units": "ms"}),
            "2nd cue": ("trial", ["left", "", "right ", "left"]),
        },
        attrs={"neurornn": '{"a": 1}', "sizes": [1, 2], "note": None, "trained": True},
    )


@pytest.fixture
def saved(activity, tmp_path):
    path = tmp_path / "activity.mat"
    matlab.write(activity, path)
    return activity, path


def test_another_program_finds_arrays_names_of_axes_and_attributes(saved):
    dataset, path = saved
    content = loadmat(path, simplify_cells=True)
    np.testing.assert_array_equal(content["rate"], dataset.rate)
    assert content["rate"].dtype == np.float32
    assert content["dimensions"]["rate"].tolist() == ["trial", "time", "unit"]
    assert content["attributes"]["time"] == {"units": "ms"}
    about = content["dataset_attributes"]
    assert about == {"neurornn": '{"a": 1}', "sizes": "[1, 2]", "note": "null", "trained": 1}
    assert content["end_"].tolist() == [0, 1, 2, 3, 4]
    assert content["x2nd_cue"][2] == "right "
    classes = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    assert classes["valid"] == ((4, 30), "logical")
    assert classes["end_"] == ((5, 1), "int64")
    assert classes["x2nd_cue"] == ((4, 1), "cell")


@pytest.mark.skipif(
    shutil.which("octave-cli") is None, reason="Octave reads MATLAB files; it is not installed"
)
def test_octave_reads_what_was_written(saved):
    dataset, path = saved
    say = (
        "load('activity.mat'); printf('%s,', class(rate), class(valid), class(x2nd_cue)); "
        "printf('%s,', dimensions.rate{:}); "
        "printf('%s,', attributes.time.units, x2nd_cue{:}); "
        "printf('%d,', size(rate), size(end_), ischar(neurornn_layout)); "
        "printf('%.9g,', rate(2, 3, 4), time(30));"
    )
    done = subprocess.run(
        ["octave-cli", "--norc", "--eval", say], cwd=path.parent, capture_output=True, text=True, timeout=60
    )
    words = done.stdout.split(",")
    assert words[:10] == "single,logical,cell,trial,time,unit,ms,left,,right ".split(",")
    assert words[11:17] == ["4", "30", "5", "5", "1", "1"]
    assert np.float32(words[17]) == dataset.rate[1, 2, 3]
    assert float(words[18]) == 290


def test_a_file_that_another_program_saved_again_is_read_and_marked_unverified(saved, assert_exact):
    dataset, path = saved
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    # MATLAB drops trailing axes of length 1; shapes are kept in the layout.
    savemat(path, content)
    again = matlab.read(path)
    assert_exact(again, dataset)
    assert again.encoding["neurornn_verified"] is False


def test_a_missing_variable_and_another_are_told(saved):
    _, path = saved
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, content | {"rate": np.zeros(3)})
    with pytest.raises(CorruptFile, match=r"its variable 'rate' is missing or another: .*reshape"):
        matlab.read(path)
    del content["rate"]
    savemat(path, content)
    with pytest.raises(CorruptFile, match=r"its variable 'rate' is missing or another: 'rate'"):
        matlab.read(path)


def test_trailing_axes_that_matlab_drops_come_back(tmp_path, assert_exact):
    path = tmp_path / "x.mat"
    rate = xr.Variable(("trial", "time", "unit"), np.ones((2, 3, 1)), {"units": "Hz"})
    dataset = xr.Dataset({"rate": rate}, attrs={"task": "flip_flop"})
    matlab.write(dataset, path)
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, content | {"rate": content["rate"][:, :, 0]})
    assert_exact(matlab.read(path), dataset)


def test_saving_twice_gives_the_same_bytes(saved):
    dataset, path = saved
    matlab.write(dataset, path.with_name("again.mat"))
    assert path.read_bytes() == path.with_name("again.mat").read_bytes()


def test_a_flipped_bit_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for place in np.unique([*range(0, 128, 2), *np.linspace(128, len(data) - 1, 140).astype(int)]):
        damaged = bytearray(data)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"is damaged: .*verify=False"):
            matlab.read(path)


def test_a_truncated_file_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 200).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptFile, match=r"is damaged|is not a MATLAB file up to version 7"):
            matlab.read(path)


def test_what_is_left_of_a_damaged_file_is_read_where_verification_is_declined(saved):
    dataset, path = saved
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    again = matlab.read(path, verify=False)
    xr.testing.assert_identical(again, dataset)
    assert again.encoding["neurornn_verified"] is False


def test_files_of_other_kinds_are_told(tmp_path, saved):
    path = tmp_path / "x.mat"
    savemat(path, {"rate": np.zeros(3)})
    with pytest.raises(InputError, match=r"arrays without labels: .*scipy\.io\.loadmat.*from_arrays"):
        matlab.read(path)
    path.write_text("trial,score\n0,1\n" * 20)
    with pytest.raises(CorruptFile, match="is not a MATLAB file up to version 7, or is damaged"):
        matlab.read(path)
    npz.write(saved[0], path)
    with pytest.raises(CorruptFile, match="is not a MATLAB file up to version 7, or is damaged"):
        matlab.read(path)
    with pytest.raises(InputError, match=r"there is no file .*gone\.mat"):
        matlab.read(tmp_path / "gone.mat")


def test_a_layout_of_a_later_version_is_told(saved, monkeypatch):
    dataset, path = saved
    with monkeypatch.context() as later:
        later.setattr(layout, "LAYOUT_VERSION", 2)
        matlab.write(dataset, path)
    with pytest.raises(InputError, match=r"has layout 2, .* up to 1: upgrade"):
        matlab.read(path)


def test_what_matlab_cannot_hold_is_refused_with_a_way_out_and_nothing_is_written(tmp_path):
    # Arrays that are seen 3 times 10^8 times over, and held once.
    large = xr.Dataset({"rate": (("trial", "time"), np.broadcast_to(np.float64(1), (3, 10**8)))})
    halves = xr.Dataset({"x": ("trial", np.broadcast_to(np.float16(1), 6 * 10**8))})
    refused = [
        (large, r"'rate' takes 2\.2 GB, and a MATLAB file holds up to 2 GB.*as netCDF.*ncread"),
        (halves, r"'x' takes 2\.2 GB"),
        (xr.Dataset({"x": ("unit", [1 + 2j])}), r"'x' is complex, which a MATLAB file.*real and imaginary"),
        (xr.Dataset({"x": ("unit", np.array(["2020"], "M8[ns]"))}), r"'x' has type datetime64\[ns\]"),
        (xr.Dataset({"x": ("unit", [1.0]), "y": ("unit", ["a\0b"])}), r"'y' holds the string 'a\\x00b'"),
        (xr.Dataset({"y": ("unit", ["\U0001f9e0"])}), r"'y' has a string .*outside Unicode's basic plane"),
        (xr.Dataset({"x": ("unit", np.array([None]))}), r"'x' holds Python objects, which a MATLAB file"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            matlab.write(dataset, tmp_path / "x.mat")
    assert list(tmp_path.iterdir()) == []
