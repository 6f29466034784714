import sys

import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import InputError
from neurornn.storage.pynapple_objects import to_pynapple

pynapple = pytest.importorskip("pynapple")


@pytest.fixture(scope="module")
def activity():
    """Trials of several lengths, by a network that follows Dale's law."""
    task = nr.tasks.get("delayed_match_to_sample", delay="Uniform(300, 700)", stimulus="Uniform(200, 400)")
    network = nr.RateRNN(
        task.n_inputs,
        20,
        task.n_outputs,
        activation="relu",
        excitatory_fraction=0.8,
        dynamics="current",
        seed=0,
    )
    recorded = nr.record(network, task, 15)
    assert not recorded.valid.all()
    return recorded


@pytest.fixture(scope="module")
def objects(activity):
    return to_pynapple(activity)


def test_every_trial_has_its_own_samples(activity, objects):
    assert set(objects) == {"rates", "states", "inputs", "outputs", "targets", "trials", "epochs"}
    pairs = {"rates": "rate", "states": "state", "inputs": "input", "outputs": "output", "targets": "target"}
    for name, variable in pairs.items():
        for k in range(activity.sizes["trial"]):
            expected = activity[variable][k].values[activity.valid[k].values]
            np.testing.assert_array_equal(objects[name].restrict(objects["trials"][k]).values, expected)
        assert len(objects[name]) == activity.valid.sum()


def test_steps_are_as_long_as_the_tasks_in_seconds(activity, objects):
    step = float(activity.time[1]) / 1e3
    # pynapple rounds times to nanoseconds.
    np.testing.assert_allclose(np.diff(objects["rates"].t), step, atol=2e-9)
    length = objects["trials"].end - objects["trials"].start
    np.testing.assert_allclose(length, (activity.valid.sum("time") - 0.5) * step, atol=2e-9)


def test_epochs_hold_their_steps_trial_by_trial(activity, objects):
    assert set(objects["epochs"]) == {"fixation", "stimulus_1", "delay", "stimulus_2", "response"}
    for name, epochs in objects["epochs"].items():
        assert epochs["trial"].tolist() == list(range(activity.sizes["trial"]))
        for k in range(activity.sizes["trial"]):
            inside = (activity.time >= activity[f"{name}_start"][k]) & (
                activity.time < activity[f"{name}_stop"][k]
            )
            expected = activity.rate[k].values[inside.values]
            np.testing.assert_array_equal(objects["rates"].restrict(epochs[k]).values, expected)


def test_what_is_known_of_trials_units_and_channels_comes_along(activity, objects):
    for name in ("score", "choice", "sample_direction"):
        np.testing.assert_array_equal(objects["trials"][name], activity[name])
    assert objects["rates"].get_info("population").tolist() == activity.population.values.tolist()
    assert objects["rates"].get_info("sign").tolist() == activity.sign.values.tolist()
    assert list(objects["inputs"].columns) == activity.input_channel.values.tolist()


def small(**coordinates):
    rate = (("trial", "time", "unit"), np.arange(12.0).reshape(2, 3, 2))
    return xr.Dataset({"rate": rate}, coords={"time": [0.0, 20.0, 40.0], **coordinates})


def test_epochs_shared_by_all_trials_and_names_that_pynapple_has_itself():
    labels = ("time", ["go", "", "go"])
    objects = to_pynapple(
        small(epoch=labels, start=("trial", [5, 6]), rate_=("unit", [1, 2]), d=("unit", ["a", "b"]))
    )
    assert objects["epochs"]["go"]["trial"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(objects["epochs"]["go"].start, [0, 0.04, 0.06, 0.1])
    # `start` is the intervals' own, and so is `d` a frame's.
    assert objects["trials"]["start_2"].tolist() == [5, 6]
    assert objects["rates"].get_info("d_2").tolist() == ["a", "b"]


def test_a_trial_without_an_epoch_has_no_interval():
    edges = {"go_start": ("trial", [20.0, np.nan]), "go_stop": ("trial", [40.0, np.nan])}
    epochs = to_pynapple(small(**edges))["epochs"]
    assert epochs["go"]["trial"].tolist() == [0]
    assert to_pynapple(small(**edges).isel(trial=[1]))["epochs"]["go"].shape == (0, 2)


def test_what_cannot_stand_on_a_clock_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"`activity` has no variable 'rate'"):
        to_pynapple(xr.Dataset({"rates": ("unit", [1.0])}))
    with pytest.raises(InputError, match=r"`activity\.rate` needs dimension 'trial'"):
        to_pynapple(small().isel(trial=0))
    with pytest.raises(InputError, match=r"`time` must rise in equal steps"):
        to_pynapple(small().isel(time=[0, 2, 1]))
    monkeypatch.setitem(sys.modules, "pynapple", None)
    with pytest.raises(InputError, match=r'pip install "neurornn\[pynapple\]"'):
        to_pynapple(small())
