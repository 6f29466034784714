"""Recordings made again from what they tell: equal to the bit, in this process and in others."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import InputError
from neurornn.activity import Clamp, Lesion, WeightPerturbation, rebuild_network, rebuild_task
from neurornn.networks import weights_digest
from neurornn.networks.options import OPTIONS

TASK = nr.tasks.DelayedComparison()


def network(kind="RateRNN", **options):
    return getattr(nr, kind)(TASK.n_inputs, 9, TASK.n_outputs, seed=4, **options)


@pytest.mark.parametrize("task", list(nr.tasks.TASKS))
def test_every_task_is_drawn_again(task):
    task = nr.tasks.get(task)
    net = nr.RateRNN(task.n_inputs, 8, task.n_outputs, noise_std=0.1)
    found = nr.reproduce(nr.record(net, task, 5, noise=True))
    assert found.is_exact, found.summary()


@dataclass(frozen=True)
class Echo(nr.Task):
    """Three inputs and two outputs, which the examples of options are made for."""

    dt: float = 20.0
    n_inputs = 3
    n_outputs = 2

    def draw(self, n_trials, rng):
        inputs = rng.standard_normal((n_trials, 12, 3))
        return nr.Trials(self, inputs, inputs[..., :2], np.ones((n_trials, 12)))

    def score(self, outputs, trials):
        return -np.abs(outputs - trials.targets).mean((1, 2))


@pytest.mark.parametrize("option", list(OPTIONS))
def test_every_option_of_networks_is_built_again(option):
    net = nr.RateRNN(3, 8, 2, seed=4, **OPTIONS[option].example)
    with torch.no_grad():
        for own in net.parameters():
            own.add_(
                0.01 * torch.randn(own.shape, generator=torch.Generator().manual_seed(1), dtype=own.dtype)
            )
    activity = nr.record(net, Echo(), 5, noise=True)
    assert weights_digest(rebuild_network(activity)) == weights_digest(net)
    assert nr.reproduce(activity, task=Echo()).is_exact


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("settings", [{}, {"n_layers": 2}, {"bidirectional": True}, {"attention": "dot"}])
def test_gated_networks_are_built_again(kind, settings):
    assert nr.reproduce(nr.record(network(kind, **settings), TASK, 5)).is_exact


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("engine", ["torch", "reference", "auto"])
def test_engines_and_dtypes_are_part_of_it(engine, dtype):
    activity = nr.record(network(engine=engine, dtype=dtype), TASK, 5)
    assert nr.reproduce(activity).is_exact


def test_batches_conditions_variables_and_interventions_are_part_of_it():
    net = network(noise_std=0.2)
    activity = nr.record(
        net,
        TASK,
        conditions="factorial",
        noise=True,
        batch_size=50,
        variables=("rate", "output"),
        interventions=[Lesion([2]), Clamp(0, 0.5, 100, 300), WeightPerturbation(0.1, seed=3)],
    )
    assert nr.reproduce(activity).is_exact


def test_trials_that_were_given_are_taken_from_the_recording():
    for task in (TASK, nr.tasks.DelayedMatchToSample(), nr.tasks.FlipFlop()):
        trials = task.draw(6, np.random.default_rng(77))
        net = nr.RateRNN(task.n_inputs, 5, task.n_outputs)
        activity = nr.record(net, trials)
        assert nr.reproduce(activity).is_exact
        with pytest.raises(InputError, match="lacks mask: record them too"):
            nr.reproduce(activity.drop_vars("mask"))


def test_a_file_is_reproduced_in_another_process_on_other_threads(tmp_path):
    activity = nr.record(network(noise_std=0.1), TASK, 20, noise=True)
    nr.save(activity, tmp_path / "activity.nc")
    code = "import torch, sys, neurornn; torch.set_num_threads(int(sys.argv[2])); "
    code += "print(neurornn.reproduce(neurornn.load(sys.argv[1])).is_exact)"
    for threads in (1, 2, 3):
        command = [sys.executable, "-c", code, str(tmp_path / "activity.nc"), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == "True"


def test_what_differs_is_told_with_its_size():
    activity = nr.record(network(), TASK, 5)
    changed = activity.copy(deep=True)
    changed["rate"].values[0, 3, 2] += 0.25
    changed = changed.drop_vars("target").assign_coords(score=("trial", np.full(5, np.nan)))
    found = nr.reproduce(changed)
    assert not found.is_exact
    assert found.differences["rate"] == pytest.approx(0.25, rel=1e-6)
    assert found.differences["target"] == np.inf
    assert found.differences["score"] == np.inf
    text = found.summary()
    assert "not the same: 3 of" in text
    assert "rate: by at most 0.25" in text
    assert "target: wholly" in text
    assert "all" in nr.reproduce(activity).summary()


def test_versions_and_machine_that_changed_are_told():
    activity = nr.record(network(), TASK, 5)
    origin = json.loads(activity.attrs["neurornn"])
    origin["versions"]["torch"], origin["machine"]["processor"] = "2.9.0", "another"
    found = nr.reproduce(activity.assign_attrs(neurornn=json.dumps(origin)))
    assert found.is_exact
    assert found.changed["torch"] == ("2.9.0", torch.__version__)
    assert "processor was another" in found.summary()


def test_weights_that_were_changed_are_refused():
    activity = nr.record(network(), TASK, 5)
    changed = activity.copy(deep=True)
    changed["parameter_bias"].values[0] += 1e-6
    with pytest.raises(InputError, match=r"SHA-256 .* was recorded: they were changed since"):
        nr.reproduce(changed)
    with pytest.raises(InputError, match="lacks its weights 'parameter_bias': take another copy"):
        nr.reproduce(activity.drop_vars("parameter_bias"))
    with pytest.raises(InputError, match="do not fit its network"):
        nr.reproduce(activity.drop_vars("parameter_bias").assign(parameter_bias=("unit_", np.zeros(3))))


def test_what_cannot_be_made_again_says_why():
    with pytest.raises(InputError, match="does not tell where it came from"):
        nr.reproduce(xr.Dataset())
    with pytest.raises(InputError, match="weights did not travel with this recording"):
        nr.reproduce(nr.record(network(), TASK, 5, embed_network=False))
    activity = nr.record(network(), TASK, 5)
    origin = nr.activity.read_origin(activity)
    origin.pop("tensors")
    with pytest.raises(InputError, match="by an earlier version of neurornn"):
        nr.reproduce(activity.assign_attrs(neurornn=json.dumps(origin)))
    with pytest.raises(InputError, match="no registered name"):
        nr.reproduce(nr.record(network(activation=torch.sin), TASK, 5))


def test_a_part_of_a_recording_is_not_made_again():
    activity = nr.record(network(), TASK, 5)
    for part in (activity.isel(trial=[0, 1]), nr.epoch(activity, "delay")):
        with pytest.raises(InputError, match="a part of a recording of 5 trials, chosen or cut"):
            nr.reproduce(part)


def test_a_task_of_ones_own_is_passed():
    class Own(type(TASK)):
        pass

    activity = nr.record(network(), Own(), 5)
    with pytest.raises(InputError, match="Own, a task that is not registered: pass it as task="):
        nr.reproduce(activity)
    assert nr.reproduce(activity, task=Own()).is_exact
    assert rebuild_task(nr.record(network(), TASK, 5)) == TASK
