from itertools import product

import numpy as np
import pytest

from neurornn import InputError
from neurornn.tasks import FlipFlop


@pytest.mark.parametrize("n_bits", [1, 3])
def test_flip_flop_targets_and_mask_are_those_of_a_loop(n_bits):
    task = FlipFlop(n_bits=n_bits, duration=400, pulse_probability=0.2)
    trials = task.draw(20, np.random.default_rng(1))
    assert trials.inputs.shape == trials.targets.shape == trials.mask.shape == (20, 40, n_bits)
    for trial in range(20):
        for bit in range(n_bits):
            held, since = None, None
            for step in range(40):
                pulse = trials.inputs[trial, step, bit]
                assert pulse in (-1, 0, 1)
                if pulse != 0:
                    held, since = pulse, 0
                assert trials.targets[trial, step, bit] == held
                assert trials.mask[trial, step, bit] == (since >= 2)
                since += 1


def test_flip_flop_pulses_come_as_often_and_with_the_signs_that_were_asked_for():
    task = FlipFlop(n_bits=2, pulse_probability=0.05)
    pulses = task.draw(2000, np.random.default_rng(2)).inputs[:, 1:]
    n = pulses.size
    assert np.mean(pulses != 0) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / n))
    assert np.mean(pulses[pulses != 0] > 0) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(0.05 * n))
    channels = pulses.reshape(-1, 2)
    both = np.mean((channels != 0).all(axis=1))
    assert both == pytest.approx(0.05**2, abs=4 * np.sqrt(0.05**2 / len(channels)))


def test_every_flip_flop_trial_begins_with_a_pulse_named_by_its_condition():
    trials = FlipFlop(n_bits=3).draw(200, np.random.default_rng(3))
    names = ["".join("+" if pulse > 0 else "-" for pulse in row) for row in trials.inputs[:, 0]]
    assert trials.conditions["first_pattern"].tolist() == names
    assert len(set(names)) == 8


def test_flip_flop_scores_the_share_of_right_signs():
    task = FlipFlop(n_bits=1, duration=100, pulse_probability=0.0)
    trials = task.draw(3, np.random.default_rng(0))
    outputs = 0.1 * trials.targets
    outputs[0, :4] *= -1  # two of these four steps are masked, eight are asked for
    outputs[1] = 0
    np.testing.assert_allclose(task.score(outputs, trials), [6 / 8, 0, 1])
    np.testing.assert_array_equal(task.constant_inputs()["zero input"], [0])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n_bits": 0}, "`n_bits` must be a whole number of at least 1, got 0"),
        ({"n_bits": 2.0}, "`n_bits` must be a whole number"),
        ({"n_bits": True}, "`n_bits` must be a whole number"),
        ({"dt": -10}, "`dt` must be a positive number of ms, got -10"),
        ({"dt": float("nan")}, "`dt` must be a positive number of ms, got nan"),
        (
            {"duration": 29.0},
            r"`duration` must hold at least 3 steps of dt = 10\.0 ms .* got 29\.0 ms: lengthen",
        ),
        ({"duration": float("inf")}, "`duration` must be a positive number of ms"),
        ({"pulse_probability": 1.0}, r"`pulse_probability` must be in \[0, 1\), got 1\.0"),
        ({"pulse_probability": -0.1}, "`pulse_probability` must be a number of at least 0"),
        ({"pulse_probability": "often"}, "`pulse_probability` must be a number"),
    ],
)
def test_flip_flop_refuses_parameters_out_of_range(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        FlipFlop(**parameters)


@pytest.mark.parametrize("n_trials", [0, -1, 2.5, True])
def test_a_number_of_trials_is_a_count(n_trials):
    with pytest.raises(InputError, match="`n_trials` must be a whole number of at least 1"):
        FlipFlop().draw(n_trials, np.random.default_rng(0))


@pytest.mark.parametrize("n_bits", [1, 2, 3])
def test_a_balanced_batch_begins_once_with_every_pattern(n_bits):
    task = FlipFlop(n_bits=n_bits)
    trials = task.factorial(n_repeats=2)
    expected = ["".join(signs) for signs in product("+-", repeat=n_bits) for _ in range(2)]
    assert trials.conditions["first_pattern"].tolist() == expected
    shown = [["+" if pulse > 0 else "-" for pulse in row] for row in trials.inputs[:, 0]]
    assert shown == [list(pattern) for pattern in expected]
    # What follows is drawn anew in each repeat.
    assert not np.array_equal(trials.inputs[0, 1:], trials.inputs[1, 1:])


def test_a_balanced_batch_has_the_pulses_of_any_other():
    trials = FlipFlop(n_bits=2, pulse_probability=0.1).factorial(np.random.default_rng(7), n_repeats=300)
    pulses = trials.inputs[:, 1:]
    assert np.mean(pulses != 0) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / pulses.size))
    np.testing.assert_array_equal(trials.targets[:, 0], trials.inputs[:, 0])
