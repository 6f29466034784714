"""Fixtures that several rooms' tests share; the figures' backend is set before anything can import one."""

import os
import signal

os.environ["MPLBACKEND"] = "Agg"

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import settings

from neurornn import RateRNN, train
from neurornn.tasks import FlipFlop, Task, Trials

# Small networks are fastest on one thread, and sums in one order make the same numbers everywhere.
torch.set_num_threads(1)

# The same examples on every run and machine, and no time limit on a busy one.
settings.register_profile("neurornn", derandomize=True, deadline=None, database=None)
settings.load_profile("neurornn")


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C raise KeyboardInterrupt, which a process among several that test together ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def random_states():
    """Return a function that reads every global generator, to see that nobody advances them."""
    import random

    def read():
        numpys = repr(np.random.get_state())  # noqa: NPY002
        return random.getstate(), numpys, torch.random.get_rng_state().tolist()

    return read


@pytest.fixture(scope="session")
def flip_flop():
    """A two-bit flip-flop of 30 steps."""
    return FlipFlop(n_bits=2, duration=300)


@pytest.fixture(scope="session")
def trained(flip_flop, tmp_path_factory):
    """A run of 60 steps on the two-bit flip-flop, with its folder: for reading only."""
    network = RateRNN(2, 16, 2, seed=0)
    return train(
        network,
        flip_flop,
        n_steps=60,
        batch_size=16,
        learning_rate=5e-3,
        evaluate_every=20,
        n_evaluation_trials=32,
        directory=tmp_path_factory.mktemp("runs") / "flip_flop",
        progress=False,
    )


@dataclass(frozen=True)
class Echo(Task):
    """A user's own task: say on the next step what came in."""

    gain: float = 1.0
    dt: float = 20.0

    n_inputs = 1
    n_outputs = 1

    def draw(self, n_trials, rng):
        inputs = rng.standard_normal((n_trials, 10, 1))
        mask = np.ones_like(inputs)
        mask[:, 0] = 0
        return Trials(self, inputs, self.gain * np.roll(inputs, 1, axis=1), mask)

    def score(self, outputs, trials):
        return (np.sign(outputs) == np.sign(trials.targets))[:, 1:].mean(axis=(1, 2))


@pytest.fixture
def echo_class():
    """The class of a task that is not registered."""
    return Echo
