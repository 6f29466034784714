"""Recorded neurons from files made here with pynwb, against counts and means taken one by one."""

import datetime
import json
import sys

import numpy as np
import pytest

import neurornn as nr
from neurornn import CorruptFile, InputError
from neurornn.activity import epoch
from neurornn.activity.from_nwb import activity_from_nwb
from neurornn.storage import nwb

pynwb = pytest.importorskip("pynwb")
common = pytest.importorskip("hdmf.common")

N_TRIALS, N_UNITS = 12, 6


def new_file():
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return pynwb.NWBFile(session_description="x", identifier="session-7", session_start_time=moment)


def add_trials(file, start, stop):
    file.add_trial_column("coherence", "strength")
    file.add_trial_column("choice", "what the animal chose")
    file.add_trial_column("rewarded", "whether")
    file.add_trial_column("go_cue_time", "when the cue came")
    file.add_trial_column("delay_start_time", "begin of the delay")
    file.add_trial_column("delay_stop_time", "end of the delay")
    file.add_trial_column("licks", "several a trial", index=True)
    for k, (a, b) in enumerate(zip(start, stop, strict=True)):
        file.add_trial(
            start_time=a,
            stop_time=b,
            coherence=0.1 * k,
            choice=["left", "right"][k % 2],
            rewarded=bool(k % 3),
            go_cue_time=a + 0.3,
            delay_start_time=a + 0.1 if k else np.nan,
            delay_stop_time=a + 0.3 if k else np.nan,
            licks=[a, a + 0.1],
        )


def written(file, path):
    with pynwb.NWBHDF5IO(path, "w") as writer:
        writer.write(file)
    return path


@pytest.fixture(scope="module")
def times():
    rng = np.random.default_rng(0)
    start = np.cumsum(rng.uniform(1.5, 2.5, N_TRIALS))
    return start, start + rng.uniform(0.5, 1.2, N_TRIALS)


@pytest.fixture(scope="module")
def spikes():
    rng = np.random.default_rng(1)
    return [np.sort(rng.uniform(0, 32, rng.integers(50, 400))) for _ in range(N_UNITS)]


@pytest.fixture(scope="module")
def sorted_units(tmp_path_factory, times, spikes):
    """A session with spike times, electrodes and trials."""
    file = new_file()
    device = file.create_device("probe")
    groups = [file.create_electrode_group(f"shank{k}", "x", f"area {k}", device) for k in range(2)]
    file.add_electrode_column("depth", "in micrometres")
    for k in range(8):
        file.add_electrode(location=f"area {k % 2}", group=groups[k % 2], depth=10.0 * k)
    file.add_unit_column("quality", "of the sorting")
    file.add_unit_column("waveform_shape", "a vector a unit")
    for k, own in enumerate(spikes):
        file.add_unit(
            id=100 + k,
            spike_times=own,
            electrodes=[k % 2, k % 2 + 2],
            quality="good",
            waveform_shape=[1.0, 2.0],
        )
    add_trials(file, *times)
    return written(file, tmp_path_factory.mktemp("nwb") / "units.nwb")


def test_spikes_are_counted_in_bins_of_each_trial(sorted_units, times, spikes):
    activity = activity_from_nwb(sorted_units, bin_width=50)
    n_bins = [int((b - a) / 0.05) for a, b in zip(*times, strict=True)]
    assert dict(activity.rate.sizes) == {"trial": N_TRIALS, "time": max(n_bins), "unit": N_UNITS}
    assert activity.valid.sum("time").values.tolist() == n_bins
    np.testing.assert_allclose(activity.time, np.arange(max(n_bins)) * 50.0)
    for trial, start in enumerate(times[0]):
        for unit, own in enumerate(spikes):
            counts, _ = np.histogram(own, start + 0.05 * np.arange(n_bins[trial] + 1))
            np.testing.assert_allclose(activity.rate[trial, : n_bins[trial], unit], counts / 0.05, rtol=1e-6)
    assert activity.rate.attrs["units"] == "spikes/s"
    assert activity.rate.dtype == np.float32
    assert activity.unit.values.tolist() == list(range(100, 100 + N_UNITS))


def test_columns_become_coordinates_and_moments_are_told_from_the_trials_start(sorted_units, times):
    activity = activity_from_nwb(sorted_units, bin_width=50)
    np.testing.assert_allclose(activity.coherence, 0.1 * np.arange(N_TRIALS))
    assert activity.rewarded.dtype == bool
    np.testing.assert_allclose(activity.start_time, times[0])
    # A network's choices are whole numbers, this animal's are words.
    assert activity.recorded_choice.values.tolist() == ["left", "right"] * (N_TRIALS // 2)
    np.testing.assert_allclose(activity.go_cue, 300.0)
    assert activity.go_cue.attrs["units"] == "ms"
    np.testing.assert_allclose(activity.delay_start[1:], 100.0)
    np.testing.assert_allclose(activity.delay_stop[1:], 300.0)
    assert np.isnan(activity.delay_start[0])
    assert activity.quality.values.tolist() == ["good"] * N_UNITS
    assert activity.electrode_location.values.tolist() == ["area 0", "area 1"] * (N_UNITS // 2)
    told = json.loads(activity.attrs["neurornn"])["recording"]
    assert told["identifier"] == "session-7"
    assert (told["series"], told["intervals"], told["bin_width"]) == ("units", "trials", 50)
    assert told["left_out"] == {
        "columns of trials": ["licks"],
        "columns of units": ["waveform_shape"],
        "columns of electrodes": ["group", "depth"],
    }


def test_recorded_neurons_enter_the_same_analyses_and_files(sorted_units, tmp_path):
    activity = activity_from_nwb(sorted_units, bin_width=50, smoothing=60)
    pcs = nr.analysis.pca(activity, n_components=2)
    assert pcs.sizes["unit"] == N_UNITS
    delay = epoch(activity.isel(trial=slice(1, None)), "delay")
    assert delay.sizes["time"] == 4
    assert nr.condition_average(activity, "rewarded").sizes["condition"] == 2
    nr.save(activity, tmp_path / "x.nc")
    assert nr.load(tmp_path / "x.nc").rate.equals(activity.rate)


def test_smoothing_is_a_weighted_mean_over_the_trials_own_bins(sorted_units):
    plain = activity_from_nwb(sorted_units, bin_width=50)
    smooth = activity_from_nwb(sorted_units, bin_width=50, smoothing=80)
    for trial in range(N_TRIALS):
        rate = plain.rate[trial].values[plain.valid[trial].values].astype(float)
        lag = np.subtract.outer(np.arange(len(rate)), np.arange(len(rate))) * 50.0
        # The kernel ends at four standard deviations.
        weights = np.where(np.abs(lag) <= 320 + 25, np.exp(-0.5 * (lag / 80) ** 2), 0)
        expected = weights @ rate / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(smooth.rate[trial, : len(rate)], expected, rtol=1e-4, atol=1e-4)


def test_units_that_were_not_observed_throughout_are_left_out_and_told(tmp_path, times, spikes):
    file = new_file()
    for k, own in enumerate(spikes):
        spans = [[0.0, 40.0]] if k % 2 else [[0.0, times[1][3] + 0.1], [times[0][5], 40.0]]
        file.add_unit(spike_times=own, obs_intervals=spans)
    add_trials(file, *times)
    path = written(file, tmp_path / "x.nwb")
    with pytest.warns(
        UserWarning, match=r"3 units were not observed throughout the trials.*left out: 0, 2, 4"
    ):
        activity = activity_from_nwb(path, bin_width=50)
    assert activity.unit.values.tolist() == [1, 3, 5]
    assert json.loads(activity.attrs["neurornn"])["recording"]["left_out"]["units"] == ["0", "2", "4"]


def test_columns_with_a_missing_sample_are_left_out_and_told(tmp_path, times, samples):
    holed = samples.copy()
    holed[[0, 1000], [3, 2]] = np.nan
    # Sample 1000 is at 20.5 s.
    trials = times[0], np.maximum(times[1], 20.6 * (times[0] < 20.5))
    path = with_series(tmp_path / "x.nwb", trials, holed, rate=50.0, starting_time=0.5)
    with pytest.warns(UserWarning, match=r"1 units were not observed throughout the trials .*left out: 2"):
        activity = activity_from_nwb(path)
    # Sample 0 is in no trial.
    assert activity.unit.values.tolist() == [0, 1, 3, 4, 5]


def test_two_moments_in_the_wrong_order_are_no_epoch(tmp_path, times, spikes):
    file = new_file()
    file.add_unit(spike_times=spikes[0])
    for name in ("lick_start_time", "lick_stop_time"):
        file.add_trial_column(name, "x")
    for a, b in zip(*times, strict=True):
        file.add_trial(start_time=a, stop_time=b, lick_start_time=a + 0.2, lick_stop_time=a + 0.1)
    activity = activity_from_nwb(written(file, tmp_path / "x.nwb"), bin_width=50)
    np.testing.assert_allclose(activity.lick_stop, 100.0)


# Time series ------------------------------------------------------------------------------------------------


def with_series(path, times, samples, **timing):
    file = new_file()
    add_trials(file, *times)
    module = file.create_processing_module("ophys", "x")
    module.add(pynwb.TimeSeries(name="rates", data=samples, unit="Hz", conversion=2.0, offset=1.0, **timing))
    return written(file, path)


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(2).standard_normal((1700, N_UNITS)).astype("f4")


def test_samples_are_steps_where_no_bin_is_asked_for(tmp_path, times, samples):
    path = with_series(tmp_path / "x.nwb", times, samples, rate=50.0, starting_time=0.5)
    activity = activity_from_nwb(path)
    moments = 0.5 + np.arange(len(samples)) / 50.0
    for trial, (start, stop) in enumerate(zip(*times, strict=True)):
        inside = (moments >= start) & (moments < stop)
        expected = samples[inside] * np.float32(2) + np.float32(1)
        np.testing.assert_array_equal(activity.rate[trial].values[activity.valid[trial].values], expected)
    assert float(activity.time[1]) == 20.0
    assert activity.rate.attrs["units"] == "Hz"


def test_samples_with_times_are_the_same_and_a_gap_is_told(tmp_path, times, samples):
    moments = 0.5 + np.arange(len(samples)) / 50.0
    even = activity_from_nwb(with_series(tmp_path / "a.nwb", times, samples, rate=50.0, starting_time=0.5))
    timed = activity_from_nwb(with_series(tmp_path / "b.nwb", times, samples, timestamps=moments))
    assert timed.rate.equals(even.rate)
    gap = moments + 0.1 * (moments > times[0][4] + 0.2)
    path = with_series(tmp_path / "c.nwb", times, samples, timestamps=gap)
    with pytest.raises(InputError, match=r"samples of 'rates' are not evenly spaced in trial 4: .*bin_width"):
        activity_from_nwb(path)
    with pytest.raises(
        InputError, match=r"bin \d+ of trial 4 has no sample of 'rates', .*20 ms apart: give a larger"
    ):
        activity_from_nwb(path, bin_width=50)
    assert activity_from_nwb(path, bin_width=150).rate.notnull().any()


def test_samples_are_averaged_in_bins(tmp_path, times, samples):
    path = with_series(tmp_path / "x.nwb", times, samples, rate=50.0, starting_time=0.5)
    activity = activity_from_nwb(path, bin_width=70)
    moments = 0.5 + np.arange(len(samples)) / 50.0
    for trial, (start, stop) in enumerate(zip(*times, strict=True)):
        n_bins = int((stop - start) / 0.07)
        assert int(activity.valid[trial].sum()) == n_bins
        for k in range(n_bins):
            inside = (moments >= start + 0.07 * k) & (moments < start + 0.07 * (k + 1))
            np.testing.assert_allclose(
                activity.rate[trial, k], 2 * samples[inside].mean(axis=0) + 1, rtol=1e-5, atol=1e-5
            )


def test_trials_without_times_or_beyond_the_recording_are_left_out_and_told(tmp_path, samples):
    start = np.array([-0.1, 1.0, np.nan, 3.0, 4.0, 33.0])
    stop = np.array([0.7, 2.0, 2.5, np.nan, 4.001, 40.0])
    path = with_series(tmp_path / "x.nwb", (start, stop), samples, rate=50.0, starting_time=0.0)
    with pytest.warns(UserWarning, match=r"4 trials have no whole step.*are left out: 0, 2, 3, 5"):
        activity = activity_from_nwb(path)
    np.testing.assert_allclose(activity.coherence, [0.1, 0.4])
    with pytest.warns(UserWarning, match=r"5 trials .*: 0, 2, 3, 4, 5"):
        activity_from_nwb(path, bin_width=100)
    with pytest.raises(InputError, match=r"no trial has a whole step of 2000 ms within .*from 0 to 34 s"):
        activity_from_nwb(path, bin_width=2000)


def test_regions_of_interest_are_told(tmp_path, times, samples):
    file = new_file()
    add_trials(file, *times)
    device = file.create_device("microscope")
    channel = pynwb.ophys.OpticalChannel(name="green", description="x", emission_lambda=500.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="x", device=device, excitation_lambda=600.0,
        indicator="GCaMP", location="V1", imaging_rate=50.0,
    )  # fmt: skip
    segments = pynwb.ophys.PlaneSegmentation(name="cells", description="x", imaging_plane=plane)
    segments.add_column("kind", "of the cell")
    for k in range(N_UNITS + 2):
        segments.add_roi(pixel_mask=[(k, k, 1.0)], kind="pyramidal" if k % 2 else "interneuron", id=20 + k)
    module = file.create_processing_module("ophys", "x")
    images = pynwb.ophys.ImageSegmentation()
    images.add_plane_segmentation(segments)
    module.add(images)
    region = segments.create_roi_table_region("x", region=list(range(2, N_UNITS + 2)))
    series = pynwb.ophys.RoiResponseSeries(
        name="dff", data=samples, rois=region, unit="a.u.", rate=50.0, starting_time=0.0
    )
    module.add(series)
    activity = activity_from_nwb(written(file, tmp_path / "x.nwb"))
    assert activity.unit.values.tolist() == list(range(22, 22 + N_UNITS))
    assert activity.roi_kind.values.tolist() == ["interneuron", "pyramidal"] * (N_UNITS // 2)


def test_an_activity_that_was_exported_comes_back_as_recorded_neurons_would(tmp_path):
    task = nr.tasks.get("delayed_match_to_sample", delay="Uniform(300, 700)")
    network = nr.RateRNN(
        task.n_inputs, 16, task.n_outputs, excitatory_fraction=0.75, activation="relu", seed=0
    )
    activity = nr.record(network, task, 20)
    nwb.write(activity, tmp_path / "x.nwb")
    again = activity_from_nwb(tmp_path / "x.nwb", series="firing_rates")
    assert (again.valid.values == activity.valid.values).all()
    np.testing.assert_array_equal(
        again.rate.values[again.valid.values], activity.rate.values[activity.valid.values]
    )
    assert again.population.values.tolist() == activity.population.values.tolist()
    np.testing.assert_array_equal(again.time, activity.time)
    for name in ("score", "choice", "delay_start", "delay_stop", "sample_direction"):
        np.testing.assert_array_equal(again[name], activity[name])
    damaged = bytearray((tmp_path / "x.nwb").read_bytes())
    damaged[len(damaged) // 2] ^= 4
    (tmp_path / "x.nwb").write_bytes(damaged)
    with pytest.raises(CorruptFile, match="is damaged: its content does not have the SHA-256"):
        activity_from_nwb(tmp_path / "x.nwb", series="firing_rates")


# Mistakes ---------------------------------------------------------------------------------------------------


def test_what_is_meant_must_be_clear(tmp_path, sorted_units, times, samples):
    with pytest.raises(InputError, match=r"spikes are counted in bins: give bin_width in ms"):
        activity_from_nwb(sorted_units)
    with pytest.raises(InputError, match=r"unknown series 'unts'.*did you mean 'units'"):
        activity_from_nwb(sorted_units, series="unts", bin_width=20)
    with pytest.raises(InputError, match=r"unknown table of intervals 'trails'.*did you mean 'trials'"):
        activity_from_nwb(sorted_units, trials="trails", bin_width=20)
    for name in ("bin_width", "smoothing"):
        with pytest.raises(InputError, match=rf"`{name}` must be a positive number of ms, got -1"):
            activity_from_nwb(sorted_units, **{"bin_width": 20, name: -1})
    file = new_file()
    add_trials(file, *times)
    for name in ("a", "b"):
        module = file.create_processing_module(name, "x")
        module.add(pynwb.TimeSeries(name="rates", data=samples, unit="Hz", rate=50.0, starting_time=0.0))
    path = written(file, tmp_path / "x.nwb")
    with pytest.raises(
        InputError, match=r"time series .* several \('a/rates', 'b/rates'\): say which with series="
    ):
        activity_from_nwb(path)
    assert activity_from_nwb(path, series="b/rates").sizes["unit"] == N_UNITS
    file = new_file()
    add_trials(file, *times)
    path = written(file, tmp_path / "y.nwb")
    with pytest.raises(
        InputError, match=r"no spike times, and of time series .* none: there is nothing to read"
    ):
        activity_from_nwb(path)
    path = written(new_file(), tmp_path / "z.nwb")
    with pytest.raises(InputError, match=r"has no table of trials or other intervals"):
        activity_from_nwb(path)


def test_files_of_other_kinds_are_told(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"there is no file .*gone\.nwb"):
        activity_from_nwb(tmp_path / "gone.nwb")
    with pytest.raises(InputError, match=r"is a folder, expected an NWB file in HDF5"):
        activity_from_nwb(tmp_path)
    (tmp_path / "x.nwb").write_text("trial,score\n")
    with pytest.raises(CorruptFile, match=r"is not an NWB file in HDF5, .*it is a text file"):
        activity_from_nwb(tmp_path / "x.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(InputError, match=r'pip install "neurornn\[nwb\]"'):
        activity_from_nwb(tmp_path / "x.nwb")
