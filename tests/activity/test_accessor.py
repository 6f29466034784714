import subprocess
import sys

import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import InputError


@pytest.fixture(scope="module")
def activity():
    network = nr.RateRNN(2, 8, 3, activation="relu", excitatory_fraction=0.75, seed=4)
    return nr.record(network, nr.tasks.get("delayed_comparison", delay="Choice(200, 400)"), 20)


def test_methods_are_the_functions(activity):
    pairs = [
        (activity.rnn.epoch("delay"), nr.epoch(activity, "delay")),
        (activity.rnn.epoch(["stimulus_1", "delay"]), nr.epoch(activity, ["stimulus_1", "delay"])),
        (activity.rnn.align("response", before=200), nr.align(activity, "response", before=200)),
        (
            activity.rnn.condition_average("choice", variables="rate", spread="standard_error"),
            nr.condition_average(activity, "choice", variables="rate", spread="standard_error"),
        ),
        (activity.rnn.population("inhibitory"), nr.population(activity, "inhibitory")),
        (activity.rnn.population(sign=1), nr.population(activity, sign=1)),
    ]
    for one, other in pairs:
        xr.testing.assert_identical(one, other)


def test_it_tells_where_the_recording_came_from(activity):
    assert activity.rnn.origin["recording"]["n_trials"] == 20
    assert activity.rnn.task == nr.tasks.get("delayed_comparison", delay="Choice(200, 400)")
    network = activity.rnn.network
    assert torch.equal(
        network.recurrent_weight,
        nr.RateRNN(
            2, 8, 3, **{"activation": "relu", "excitatory_fraction": 0.75, "seed": 4}
        ).recurrent_weight,
    )
    # What was cut has the same origin.
    assert activity.rnn.epoch("delay").rnn.task == activity.rnn.task


def test_what_tells_nothing_says_so():
    with pytest.raises(InputError, match="does not tell where it came from"):
        _ = xr.Dataset().rnn.origin


def test_every_analysis_is_a_function_and_no_method(activity):
    public = [name for name in dir(activity.rnn) if not name.startswith("_")]
    assert public == ["align", "condition_average", "epoch", "network", "origin", "population", "task"]


def test_it_is_there_as_soon_as_the_package_is_imported():
    code = "import neurornn, xarray; print(xarray.Dataset().rnn.__class__.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "RNNAccessor"
