"""Batches drawn ahead by a thread: the same numbers, the same errors, and no thread left behind."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from neurornn import RateRNN, train
from neurornn.tasks import FlipFlop
from neurornn.training.checkpoint import load_checkpoint
from neurornn.training.prefetching import Batches

SMALL = {"n_steps": 12, "batch_size": 4, "evaluate_every": 5, "n_evaluation_trials": 8, "progress": False}


def threads():
    return [own for own in threading.enumerate() if own.name.startswith("neurornn trials")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    assert threads() == []
    yield
    assert threads() == []


def trained(folder, **options):
    network = RateRNN(1, 6, 1, noise_std=0.1, alpha=0.5, seed=0)
    return train(network, FlipFlop(n_bits=1, duration=200), **SMALL, directory=folder, **options)


def test_a_run_has_the_same_numbers_with_and_without(tmp_path):
    ahead, plain = trained(tmp_path / "ahead", prefetch=True), trained(tmp_path / "plain")
    assert plain.config.prefetch is False
    assert ahead.config.prefetch is True
    for name, weight in ahead.network.state_dict().items():
        assert torch.equal(weight, plain.network.state_dict()[name]), name
    assert ahead.history.drop_vars("ms_per_step").identical(plain.history.drop_vars("ms_per_step"))
    # Training can go on from either: what was drawn ahead but not used is drawn again.
    left, right = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("ahead", "plain"))
    assert left["trial_stream"] == right["trial_stream"]


@pytest.mark.parametrize("ahead", [False, True])
def test_the_state_is_that_after_the_batch_that_was_taken(ahead):
    task, stream = FlipFlop(n_bits=1), np.random.default_rng(3)
    expected = np.random.default_rng(3)
    with Batches(task, 4, stream, 3, ahead=ahead) as batches:
        assert batches.state == expected.bit_generator.state
        for _ in range(3):
            trials, own = batches.next(), task.draw(4, expected)
            np.testing.assert_array_equal(trials.inputs, own.inputs)
            np.testing.assert_array_equal(trials.targets, own.targets)
            assert batches.state == expected.bit_generator.state
    # Not one batch beyond the last was drawn.
    assert stream.bit_generator.state == expected.bit_generator.state


@dataclass(frozen=True)
class Failing(FlipFlop):
    """Draws a few batches, then raises or dawdles."""

    good: int = 3
    how: type[BaseException] = ValueError
    seconds: float = 0.0

    n_drawn = [0]  # noqa: RUF012 - shared on purpose: the task itself is frozen

    def draw(self, n_trials, rng):
        self.n_drawn[0] += 1
        time.sleep(self.seconds)
        if self.n_drawn[0] > self.good:
            raise self.how(f"draw {self.n_drawn[0]}")
        return super().draw(n_trials, rng)


@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt])
def test_what_goes_wrong_in_a_draw_reaches_the_one_who_asks_for_that_batch(how):
    Failing.n_drawn[0] = 0
    with Batches(Failing(n_bits=1, good=3, how=how), 2, np.random.default_rng(0), 9) as batches:
        for _ in range(3):
            batches.next()
        with pytest.raises(how, match="draw 4"):
            batches.next()


def test_a_training_stops_at_the_batch_that_fails_and_its_thread_with_it():
    # The first draw is that of the evaluation trials.
    for prefetch in (False, True):
        Failing.n_drawn[0] = 0
        network = RateRNN(1, 4, 1, seed=0)
        with pytest.raises(ValueError, match="draw 5"):
            train(network, Failing(n_bits=1, duration=100, good=4), **SMALL, prefetch=prefetch)


def test_a_checkpoint_amid_training_knows_nothing_of_what_was_drawn_ahead(tmp_path):
    streams = []
    for prefetch in (False, True):
        Failing.n_drawn[0] = 0
        network, folder = RateRNN(1, 4, 1, seed=0), tmp_path / str(prefetch)
        # Draw 1 is that of the evaluation; the last checkpoint is that of step 5.
        task = Failing(n_bits=1, duration=100, good=8)
        with pytest.raises(ValueError, match="draw 9"):
            train(network, task, **SMALL, prefetch=prefetch, directory=folder)
        checkpoint = load_checkpoint(folder / "checkpoint.pt")
        assert checkpoint["step"] == 5
        streams.append(checkpoint["trial_stream"])
    assert streams[0] == streams[1]


def test_an_interrupt_ends_the_thread_and_waits_for_its_draw():
    Failing.n_drawn[0] = 0
    stream = np.random.default_rng(0)
    task = Failing(n_bits=1, good=99, seconds=0.05)

    def work():
        with Batches(task, 2, stream, 9) as batches:
            batches.next()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    before = stream.bit_generator.state
    time.sleep(0.1)
    assert stream.bit_generator.state == before
    assert task.n_drawn[0] <= 3


def test_without_a_thread_nothing_is_drawn_before_it_is_asked_for():
    stream = np.random.default_rng(0)
    before = stream.bit_generator.state
    with Batches(FlipFlop(n_bits=1), 2, stream, 5, ahead=False):
        assert threads() == []
    assert stream.bit_generator.state == before


def test_the_next_batch_is_drawn_meanwhile():
    task = Failing(n_bits=1, good=99)
    with Batches(task, 2, np.random.default_rng(0), 5) as batches:
        task.n_drawn[0] = 0
        batches.next()
        batches.next()
        deadline = time.monotonic() + 10
        while task.n_drawn[0] < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert threads()
        assert task.n_drawn[0] >= 2
