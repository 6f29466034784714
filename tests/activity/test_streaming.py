"""Recordings written batch by batch: the same numbers, whatever stopped them, within little memory."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import InputError
from neurornn.activity import Clamp

pytest.importorskip("zarr")
TASK = nr.tasks.DelayedComparison()


def network(**options):
    return nr.RateRNN(TASK.n_inputs, 9, TASK.n_outputs, noise_std=0.1, seed=4, **options)


def stream(path, n_trials=50, task=TASK, net=None, **arguments):
    net = network() if net is None else net
    return nr.record(net, task, n_trials, batch_size=16, path=path, **arguments)


def test_what_is_streamed_is_what_is_recorded_batch_by_batch(tmp_path):
    net = network()
    streamed = stream(tmp_path / "long.zarr", noise=True)
    whole = streamed.load()
    assert dict(whole.sizes)["trial"] == 50
    for block in range(4):
        drawn = TASK.draw(min(16, 50 - 16 * block), nr.seeding.numpy_stream(1, "recording", block))
        own = whole.isel(trial=slice(16 * block, 16 * block + 16))
        np.testing.assert_array_equal(own.input[:, : drawn.n_steps], drawn.inputs)
        assert not own.valid[:, drawn.n_steps :].any()
        np.testing.assert_array_equal(own.delay_duration, drawn.conditions["delay_duration"])
        quiet = nr.record(net, drawn)
        assert quiet.sizes["unit"] == own.sizes["unit"]
    assert nr.reproduce(nr.load(tmp_path / "long.zarr")).is_exact
    assert nr.activity.read_origin(whole)["recording"]["conditions"] == "blocks"


def test_without_noise_the_rates_are_those_of_a_recording_of_the_same_trials(tmp_path):
    net = network()
    streamed = stream(tmp_path / "long.zarr")
    drawn = TASK.draw(16, nr.seeding.numpy_stream(1, "recording", 0)).padded(streamed.sizes["time"])
    whole = nr.record(net, drawn)
    first = streamed.isel(trial=slice(0, 16)).load()
    for name in ("rate", "output", "input", "mask", "valid", "score", "choice"):
        np.testing.assert_array_equal(first[name], whole[name])
    np.testing.assert_array_equal(first.parameter_recurrent_weight, whole.parameter_recurrent_weight)


def test_one_that_was_stopped_goes_on_by_the_same_call(tmp_path, monkeypatch):
    expected = stream(tmp_path / "whole.zarr", noise=True).load()
    done = []
    write = nr.storage.zarr.BlockStore.write

    def stop_at_the_third(self, block, dataset):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(block)
        write(self, block, dataset)

    monkeypatch.setattr(nr.storage.zarr.BlockStore, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        stream(tmp_path / "stopped.zarr", noise=True)
    with pytest.raises(nr.storage.zarr.UnfinishedStore, match=r"2 of 4 blocks .* are missing \(2 to 3\)"):
        nr.load(tmp_path / "stopped.zarr")
    monkeypatch.setattr(nr.storage.zarr.BlockStore, "write", write)
    xr.testing.assert_identical(stream(tmp_path / "stopped.zarr", noise=True).load(), expected)
    # And once more: nothing is left to do.
    xr.testing.assert_identical(stream(tmp_path / "stopped.zarr", noise=True).load(), expected)


def test_one_that_was_killed_goes_on(tmp_path):
    expected = stream(tmp_path / "whole.zarr", n_trials=400).load()
    code = (
        "import sys, neurornn as nr; task = nr.tasks.DelayedComparison(); "
        "net = nr.RateRNN(task.n_inputs, 9, task.n_outputs, noise_std=0.1, seed=4); print('go', flush=True); "
        "nr.record(net, task, 400, batch_size=16, path=sys.argv[1])"
    )
    path = tmp_path / "killed.zarr"
    for wait in (0.3, 0.6):
        command = [sys.executable, "-c", code, str(path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        child.stdout.readline()
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    xr.testing.assert_identical(stream(path, n_trials=400).load(), expected)


def test_another_recording_is_not_mixed_in(tmp_path):
    stream(tmp_path / "a.zarr")
    for other in ({"seed": 2}, {"noise": True}, {"interventions": [Clamp(0)]}, {"net": network(gain=0.5)}):
        with pytest.raises(InputError, match="was made from something else"):
            stream(tmp_path / "a.zarr", **other)


def test_interventions_variables_and_other_networks(tmp_path):
    task = nr.tasks.FlipFlop(n_bits=1, duration=200)
    net = nr.LSTM(1, 5, 1)
    streamed = stream(
        tmp_path / "a.zarr",
        task=task,
        net=net,
        variables=["state", "forget_gate"],
        interventions=[Clamp(0, 0.5, start=100)],
    )
    assert set(streamed.data_vars) >= {"state", "forget_gate"}
    assert (streamed.state.sel(time=slice(100, None)).isel(state_variable=0) == np.float32(0.5)).all()
    assert nr.reproduce(nr.load(tmp_path / "a.zarr")).is_exact


def test_what_cannot_be_streamed_is_refused_before_anything_is_written(tmp_path):
    trials = TASK.draw(3, np.random.default_rng(0))
    refused = [
        (
            lambda: nr.record(network(), trials, path=tmp_path / "a.zarr"),
            "batch by batch, at random: give a task",
        ),
        (
            lambda: nr.record(network(), TASK, conditions="factorial", path=tmp_path / "a.zarr"),
            "batch by batch, at random",
        ),
        (lambda: stream(tmp_path / "a.nc"), "must end in '.zarr'"),
        (lambda: stream(tmp_path / "a.zarr", interventions=[Clamp(99)]), "positions from 0 to 8"),
        (lambda: stream(tmp_path / "a.zarr", n_trials=0), "`n_trials` must be"),
    ]
    for call, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            call()
    assert not list(tmp_path.iterdir())


def test_components_of_a_stream_are_those_of_the_recording_in_memory(tmp_path):
    streamed = stream(tmp_path / "a.zarr", n_trials=100)
    lazy, whole = nr.analysis.pca(streamed, 3), nr.analysis.pca(streamed.compute(), 3)
    np.testing.assert_allclose(lazy.explained_variance, whole.explained_variance, rtol=1e-12)
    np.testing.assert_allclose(lazy.score, whole.score, atol=1e-12)
