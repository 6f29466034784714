import datetime
import json
import sys

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import neurornn as nr
from neurornn import CorruptFile, InputError
from neurornn.storage import layout, npz, nwb

pynwb = pytest.importorskip("pynwb")


def record(task, network_options=None, n_trials=40):
    network = nr.RateRNN(
        task.n_inputs, 20, task.n_outputs, dt=task.dt, tau=5 * task.dt, seed=0, **(network_options or {})
    )
    return nr.record(network, task, n_trials, seed=3)


@pytest.fixture(scope="module")
def activities():
    """Of three tasks: no epochs; epochs and conditions shared; trials of several lengths and Dale's law."""
    delayed = nr.tasks.get("delayed_match_to_sample", delay="Uniform(300, 700)", stimulus="Uniform(200, 400)")
    activities = {
        "flip_flop": record(nr.tasks.FlipFlop(n_bits=2, duration=300)),
        "perceptual_decision_making": record(nr.tasks.get("perceptual_decision_making")),
        "delayed_match_to_sample": record(
            delayed, {"excitatory_fraction": 0.8, "activation": "relu", "dynamics": "current"}
        ),
    }
    assert "epoch" in activities["perceptual_decision_making"].coords
    assert not activities["delayed_match_to_sample"].valid.all()
    return activities


TASKS = ("flip_flop", "perceptual_decision_making", "delayed_match_to_sample")


@pytest.fixture(scope="module")
def saved(activities, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nwb")
    for name, activity in activities.items():
        nwb.write(activity, folder / f"{name}.nwb")
    return folder


def without_padding(activity):
    """What comes back of an activity: 0 or NaN where there is no valid step, told again in a plain loop."""
    result = activity.copy(deep=True)
    if "valid" not in activity:
        return result
    for name, variable in activity.variables.items():
        if name == "valid" or not {"trial", "time"} <= set(variable.dims) or variable.dtype.kind not in "iuf":
            continue
        fill = np.nan if variable.dtype.kind == "f" and name not in ("input", "target", "mask") else 0
        ordered = result.variables[name].transpose("trial", "time", ...)
        values = ordered.to_numpy().copy()
        for trial, steps in enumerate(activity.valid.transpose("trial", "time").to_numpy()):
            for step, there in enumerate(steps):
                if not there:
                    values[trial, step] = fill
        result[name] = xr.Variable(ordered.dims, values, ordered.attrs).transpose(*variable.dims)
    return result


@pytest.mark.parametrize("task", TASKS)
def test_who_checks_nwb_files_finds_no_fault(task, saved):
    inspector = pytest.importorskip("nwbinspector")
    messages = list(inspector.inspect_nwbfile(nwbfile_path=saved / f"{task}.nwb"))
    assert messages == []
    assert pynwb.validate(path=str(saved / f"{task}.nwb")) == []


@pytest.mark.parametrize("task", TASKS)
def test_an_activity_comes_back(task, activities, saved, assert_exact):
    again = nwb.read(saved / f"{task}.nwb")
    assert_exact(again, without_padding(activities[task]))
    assert again.encoding["neurornn_verified"] is True
    assert json.loads(again.attrs["neurornn"]) == json.loads(activities[task].attrs["neurornn"])


def test_others_find_series_tables_and_trials_in_seconds(activities, saved):
    activity = activities["delayed_match_to_sample"]
    with pynwb.NWBHDF5IO(saved / "delayed_match_to_sample.nwb", "r") as reader:
        file = reader.read()
        module = file.processing["misc"]
        rates = module["firing_rates"]
        assert (rates.unit, rates.rate, rates.starting_time) == ("a.u.", 1000 / 50, 0.0)
        assert set(module.data_interfaces) == {
            *("firing_rates", "network_states", "network_inputs", "network_outputs", "network_targets"),
            *("network_mask", "network_units", "network_state_variables", "network_input_channels"),
            "network_output_channels",
        }
        units = module["network_units"].to_dataframe()
        assert units.population.tolist() == activity.population.values.tolist()
        assert units.sign.tolist() == activity.sign.values.tolist()
        trials = file.trials.to_dataframe()
        assert {"score", "choice", "delay_duration"} <= set(trials.columns)
        # Trial by trial: its samples are its valid steps, and lie between its start and its stop.
        moments = np.arange(rates.data.shape[0]) / rates.rate
        for k, row in enumerate(trials.itertuples()):
            inside = (moments >= row.start_time) & (moments <= row.stop_time)
            expected = activity.rate[k].values[activity.valid[k].values]
            np.testing.assert_array_equal(rates.data[:][inside], expected)
            assert inside.sum() == row.n_steps
            assert inside.argmax() == row.first_sample
            delay = (moments >= row.delay_start_time) & (moments <= row.delay_stop_time)
            assert delay.sum() * 50.0 == activity.delay_stop[k] - activity.delay_start[k]
            assert row.delay_start_time - row.start_time == pytest.approx(activity.delay_start[k] / 1e3)
        assert file.subject.species == "In silico"
        assert file.subject.subject_id.endswith(json.loads(activity.attrs["neurornn"])["weights_sha256"][:12])


def test_epochs_that_all_trials_share_are_columns_of_the_trials(activities, saved):
    activity = activities["perceptual_decision_making"]
    with pynwb.NWBHDF5IO(saved / "perceptual_decision_making.nwb", "r") as reader:
        trials = reader.read().trials.to_dataframe()
    step = float(activity.time[1])
    for name in ("fixation", "stimulus", "response"):
        steps = np.flatnonzero(activity.epoch == name)
        since = (trials[f"{name}_start_time"] - trials.start_time) * 1e3
        np.testing.assert_allclose(since, steps[0] * step, atol=1e-9)
        until = (trials[f"{name}_stop_time"] - trials.start_time) * 1e3
        np.testing.assert_allclose(until, (steps[-1] + 0.5) * step, atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_pynapple_reads_rates_and_trials(task, activities, saved):
    pynapple = pytest.importorskip("pynapple")
    activity = activities[task]
    file = pynapple.load_file(str(saved / f"{task}.nwb"))
    rates, trials = file["firing_rates"], file["trials"]
    assert len(trials) == activity.sizes["trial"]
    np.testing.assert_array_equal(trials["score"], activity.score)
    for k in range(len(trials)):
        expected = activity.rate[k].values[activity.valid[k].values]
        np.testing.assert_array_equal(rates.restrict(trials[k]).values, expected)


def test_hdf5_alone_reads_a_sealed_file(activities, saved):
    with h5py.File(saved / "flip_flop.nwb") as file:
        rates = file["processing/misc/firing_rates/data"]
        assert rates.compression == "gzip"
        np.testing.assert_array_equal(rates[:], activities["flip_flop"].rate.values.reshape(rates.shape))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
odd_texts = st.text(st.sampled_from("a\0\ud800 é"), max_size=5)
own_names = st.one_of(
    st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True),
    st.sampled_from(
        ["name", "start_time", "id", "tags", "a:b", "a.b", "n_steps", "delay_start", "firing_rates"]
    ),
)
TAKEN = {"trial", "time", "unit", "input_channel", "rate", "valid", "epoch", "delay", "extra"}


@st.composite
def recordings(draw):
    """Activities of any shape: padding before and behind, conditions of any kind, axes in any order."""
    n_trials, n_steps, n_units = (draw(st.integers(1, 4)) for _ in range(3))
    sizes = {"trial": n_trials, "time": n_steps + 1, "unit": n_units, "input_channel": 2}
    first = draw(hnp.arrays("i8", n_trials, elements=st.integers(0, n_steps)))
    steps = np.arange(sizes["time"])
    length = draw(hnp.arrays("i8", n_trials, elements=st.integers(1, n_steps + 1)))
    valid = (steps >= first[:, None]) & (steps < (first + length)[:, None])
    data = {"valid": (("trial", "time"), valid)} if draw(st.booleans()) else {}

    def array(dims, kinds=("f4", "f8", "i4", "i8", "u1", "?", "text")):
        kind, shape = draw(st.sampled_from(kinds)), [sizes[dim] for dim in dims]
        if kind == "text":
            entries = draw(st.lists(texts, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
            return np.array(entries, dtype=object).reshape(shape).astype(str)
        return draw(hnp.arrays(kind, shape))

    dims = draw(st.permutations(["trial", "time", "unit"]))
    data["rate"] = (dims, array(dims, ("f4", "f8")), {"units": draw(st.sampled_from(["Hz", ""]))})
    choices = [["trial"], ["trial"], ["unit"], ["time"], ["trial", "time"], ["unit", "input_channel"], []]
    choices += [["time", "input_channel", "trial"], ["trial", "input_channel"], ["trial", "unit", "time"]]
    names = draw(st.lists(own_names.filter(lambda name: name not in TAKEN), max_size=5, unique=True))
    coords = {"time": draw(st.sampled_from([-20.0, 0.0])) + draw(st.sampled_from([0.1, 20.0])) * steps}
    for name in names:
        own = draw(st.sampled_from(choices))
        target = coords if draw(st.booleans()) else data
        target[name] = (own, array(own), {"units": draw(texts), "long_name": draw(odd_texts)})
    if draw(st.booleans()):
        data["mask"] = (["trial", "time"], array(["trial", "time"], ("f4",)))
    if draw(st.booleans()):
        coords["epoch"] = (
            "time",
            draw(st.lists(st.sampled_from(["", "go", "a b"]), min_size=n_steps + 1, max_size=n_steps + 1)),
        )
    return xr.Dataset(data, coords=coords, attrs={"neurornn": "{}", "list": [1, "a"], "none": None})


@pytest.mark.parametrize("n_recordings", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_any_recording_comes_back(n_recordings, assert_exact, tmp_path):
    @settings(max_examples=n_recordings)
    @given(activity=recordings())
    def comes_back(activity):
        nwb.write(activity, tmp_path / "x.nwb")
        again = nwb.read(tmp_path / "x.nwb")
        assert_exact(again, without_padding(activity))

    comes_back()


# Metadata ---------------------------------------------------------------------------------------------------


def test_metadata_are_replaced_by_those_that_are_given(activities, tmp_path):
    path = tmp_path / "x.nwb"
    nwb.export_nwb(
        activities["flip_flop"],
        path,
        subject={"subject_id": "network-7", "strain": "tanh"},
        experimenter="Doe, Jane",
        keywords="attractors",
        institution="University of Somewhere",
        session_start_time="2026-11-20T12:00+01:00",
        session_description="A test",
    )
    with pynwb.NWBHDF5IO(path, "r") as reader:
        file = reader.read()
        assert file.experimenter == ("Doe, Jane",)
        assert list(file.keywords[:]) == ["attractors"]
        assert file.institution == "University of Somewhere"
        assert file.session_start_time == datetime.datetime.fromisoformat("2026-11-20T12:00+01:00")
        assert file.session_description == "A test"
        assert (file.subject.subject_id, file.subject.strain, file.subject.sex) == ("network-7", "tanh", "U")
    nwb.export_nwb(activities["flip_flop"], path, session_start_time=datetime.datetime(2026, 11, 20, 12))
    with pynwb.NWBHDF5IO(path, "r") as reader:
        # A moment without a time zone is of this computer's.
        assert reader.read().session_start_time.tzinfo is not None


def test_nothing_is_claimed_of_recorded_neurons(tmp_path):
    rate = np.random.default_rng(0).random((5, 40, 3))
    recorded = nr.activity_from_arrays(rate, dt=20.0, conditions={"cue": list("ababa")})
    nwb.write(recorded, tmp_path / "x.nwb")
    nwb.export_nwb(recorded, tmp_path / "y.nwb", subject={"subject_id": "M7", "species": "Mus musculus"})
    xr.testing.assert_identical(nwb.read(tmp_path / "x.nwb"), recorded)
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "r") as reader:
        file = reader.read()
        assert file.subject is None
        assert file.institution is None
        assert "imulat" not in str(file.session_description)
    with pynwb.NWBHDF5IO(tmp_path / "y.nwb", "r") as reader:
        assert reader.read().subject.species == "Mus musculus"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"experimentor": "x"}, r"unknown field of an NWB file 'experimentor'.*did you mean 'experimenter'"),
        ({"subject": {"specis": "x"}}, r"unknown field of the subject 'specis'.*did you mean 'species'"),
        ({"session_start_time": "noon"}, r"must be a datetime or ISO text like .*, got 'noon'"),
        ({"session_start_time": 12}, r"NWB does not accept this metadata: .*session_start_time"),
        ({"institution": 3}, r"NWB does not accept this metadata: .*institution"),
        ({"subject": {"sex": 3}}, r"NWB does not accept this metadata: .*sex"),
    ],
)
def test_metadata_that_nwb_does_not_know_are_refused(given, sentence, activities, tmp_path):
    with pytest.raises(InputError, match=sentence):
        nwb.export_nwb(activities["flip_flop"], tmp_path / "x.nwb", **given)
    assert list(tmp_path.iterdir()) == []


# What NWB cannot hold ---------------------------------------------------------------------------------------


def small(**changes):
    rate = xr.DataArray(np.zeros((2, 3, 2), "f4"), dims=("trial", "time", "unit"))
    return xr.Dataset({"rate": rate}, coords={"time": [0.0, 20.0, 40.0]}).assign(changes)


def valid(*rows):
    return (("trial", "time"), np.array(rows, bool))


def test_what_nwb_cannot_hold_is_refused_with_a_way_out_and_nothing_is_written(tmp_path):
    time = ("time", [0.0, 20.0, 50.0])
    refused = [
        (xr.Dataset({"score": ("component", [1.0])}), r"`activity` has no variable 'rate'"),
        (xr.Dataset({"rate": ("unit", [1.0])}), r"`activity\.rate` needs dimension 'trial'"),
        (small().isel(trial=[]), r"each trial must have a valid step.*there are no trials"),
        (
            small(valid=valid([1, 1, 1], [0, 0, 0])),
            r"trial 1 has none: leave such trials out with activity\.isel",
        ),
        (small(valid=valid([1, 1, 1], [1, 0, 1])), r"side by side, and trial 1 has a gap"),
        (small().assign_coords(time=time), r"`time` must rise in equal steps"),
        (small().assign_coords(time=("time", [0.0, 0.0, 0.0])), r"`time` must rise in equal steps"),
        (small().isel(time=[0]), r"`time` must rise in equal steps"),
        (small().drop_vars("time"), r"needs a coordinate 'time' with the start of each step in ms"),
        (
            small().assign_coords(time=(*time, {"units": "days"})),
            r"`time` must be in 'ms' or 's', got units 'days'",
        ),
        (small(x=("trial", [1j, 2])), r"'x' is complex, which an NWB file"),
        (
            small(x=("trial", np.zeros(2, "f2"))),
            r"'x' has type float16, which NWB cannot hold: use .*float32",
        ),
        (
            small(x=("trial", np.array(["2020", "2021"], "M8[s]"))),
            r"'x' has type datetime64\[s\], which an NWB",
        ),
        (small(x=("trial", ["a\0b", ""])), r"'x' holds the string 'a\\x00b', which an NWB file cannot"),
        (small(x=("trial", np.array([None, 1]))), r"'x' holds Python objects, which an NWB file cannot"),
        (small().assign_attrs(x=(1, 2)), r"attribute 'x' of the dataset is \(1, 2\), which an NWB file"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nwb.write(dataset, tmp_path / "x.nwb")
    assert list(tmp_path.iterdir()) == []


def test_a_step_has_the_length_of_its_task_where_it_is_the_only_one(activities, tmp_path, assert_exact):
    one = activities["flip_flop"].isel(time=[0])
    nwb.write(one, tmp_path / "x.nwb")
    assert_exact(nwb.read(tmp_path / "x.nwb"), one)
    with h5py.File(tmp_path / "x.nwb") as file:
        assert file["processing/misc/firing_rates/starting_time"].attrs["rate"] == 1000 / 10


def test_without_pynwb_a_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    for act in (lambda: nwb.write(small(), tmp_path / "x.nwb"), lambda: nwb.read(tmp_path / "x.nwb")):
        with pytest.raises(InputError, match=r'pip install "neurornn\[nwb\]"'):
            act()


# Damage -----------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_refused_before_hdf5_opens_the_file(saved, tmp_path, monkeypatch):
    data = (saved / "flip_flop.nwb").read_bytes()
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("HDF5 saw the damaged bytes"))
    path = tmp_path / "x.nwb"
    for place in np.linspace(0, len(data) - 1, 200).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match="is damaged"):
            nwb.read(path)


def test_a_truncated_file_is_refused_or_whole_but_for_its_digest(activities, saved, tmp_path, assert_exact):
    data = (saved / "flip_flop.nwb").read_bytes()
    path = tmp_path / "x.nwb"
    for length in np.linspace(0, len(data) - 50, 200).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptFile, match=r"is not an NWB file, or is damaged"):
            nwb.read(path)
    path.write_bytes(data[:-20])
    again = nwb.read(path)
    assert_exact(again, activities["flip_flop"])
    assert again.encoding["neurornn_verified"] is False


def test_files_of_other_kinds_are_told(saved, activities, tmp_path):
    path = tmp_path / "x.nwb"
    path.write_text("trial,score\n0,1\n")
    with pytest.raises(CorruptFile, match=r"is not an NWB file, .*it is a text file: check the name"):
        nwb.read(path)
    npz.write(activities["flip_flop"], path)
    with pytest.raises(CorruptFile, match=r"is not an NWB file"):
        nwb.read(path)
    activities["flip_flop"].to_netcdf(path, engine="h5netcdf")
    with pytest.raises(CorruptFile, match=r"is not an NWB file"):
        nwb.read(path)
    with pytest.raises(InputError, match=r"there is no file .*gone\.nwb"):
        nwb.read(tmp_path / "gone.nwb")


def test_recorded_neurons_are_read_by_another_function(tmp_path):
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=moment)
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "w") as writer:
        writer.write(file)
    with pytest.raises(InputError, match=r"was not written by neurornn: .*activity_from_nwb"):
        nwb.read(tmp_path / "x.nwb")


def test_a_file_to_which_another_program_has_added_is_read_and_marked_unverified(
    activities, saved, tmp_path, assert_exact
):
    path = tmp_path / "x.nwb"
    path.write_bytes((saved / "flip_flop.nwb").read_bytes())
    with pynwb.NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.processing["misc"].add(pynwb.TimeSeries(name="mean", data=[1.0, 2.0], unit="a.u.", rate=1.0))
        io.write(file)
    again = nwb.read(path)
    assert_exact(again, activities["flip_flop"])
    assert again.encoding["neurornn_verified"] is False


def test_a_missing_variable_is_told(saved, tmp_path):
    path = tmp_path / "x.nwb"
    path.write_bytes((saved / "flip_flop.nwb").read_bytes())
    with h5py.File(path, "a") as file:
        del file["processing/misc/network_outputs"]
    with pytest.raises(CorruptFile, match=r"its variable 'output' is missing or another: .*network_outputs"):
        nwb.read(path)


def test_a_layout_of_a_later_version_is_told(activities, tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(layout, "LAYOUT_VERSION", 2)
        nwb.write(activities["flip_flop"], tmp_path / "x.nwb")
    with pytest.raises(InputError, match=r"has layout 2, .* up to 1: upgrade"):
        nwb.read(tmp_path / "x.nwb")


def test_saving_and_loading_by_the_ending(activities, tmp_path, assert_exact):
    nr.save(activities["flip_flop"], tmp_path / "x.nwb")
    assert_exact(nr.load(tmp_path / "x.nwb"), activities["flip_flop"])
