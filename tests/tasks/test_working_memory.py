import numpy as np
import pytest

from neurornn import InputError
from neurornn.tasks import DelayedComparison, FlipFlop


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


@pytest.mark.parametrize("task", [FlipFlop(), DelayedComparison()])
@pytest.mark.parametrize("n_trials", [0, -1, 2.5, True])
def test_a_number_of_trials_is_a_count(task, n_trials):
    with pytest.raises(InputError, match="`n_trials` must be a whole number of at least 1"):
        task.draw(n_trials, np.random.default_rng(0))


@pytest.fixture(scope="module")
def comparison():
    task = DelayedComparison()
    return task, task.draw(4000, np.random.default_rng(4))


def test_delayed_comparison_pads_every_trial_to_the_longest(comparison):
    _, trials = comparison
    length = 500 / 100 + 500 / 100 + trials.conditions["delay"] / 100 + 500 / 100 + 1
    np.testing.assert_array_equal(trials.valid.sum(axis=1), length)
    assert trials.n_steps == length.max()
    assert (np.diff(trials.valid.astype(int), axis=1) <= 0).all()
    np.testing.assert_array_equal(trials.mask, trials.valid)
    assert not trials.inputs[~trials.valid].any()
    assert not trials.targets[~trials.valid].any()


def test_delayed_comparison_shows_both_values_of_a_pair_around_the_delay(comparison):
    _, trials = comparison
    conditions = trials.conditions
    for which, name in (("first", "stimulus_1"), ("second", "stimulus_2")):
        during = trials.in_epoch(name)
        assert (during.sum(axis=1) == 5).all()
        seen = (trials.inputs[..., 1] * during).sum(axis=1) / 5
        value = (1 + (conditions[which] - 10) / 24) / 2
        error = seen - value
        assert error.std() == pytest.approx(0.1 / np.sqrt(5), rel=0.05)
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))
    pairs = {(min(a, b), max(a, b)) for a, b in zip(conditions["first"], conditions["second"], strict=True)}
    assert pairs == {(10, 18), (14, 22), (18, 26), (22, 30), (26, 34)}
    np.testing.assert_array_equal(conditions["difference"], conditions["second"] - conditions["first"])
    assert set(conditions["delay"]) == {200, 400, 800, 1600, 3200}
    assert np.mean(conditions["target_choice"] == 1) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))


def test_delayed_comparison_is_silent_in_the_delay_and_noisy_only_with_a_stimulus(comparison):
    _, trials = comparison
    stimulus = trials.in_epoch("stimulus_1") | trials.in_epoch("stimulus_2")
    assert not trials.inputs[~stimulus][:, 1].any()
    calm = trials.in_epoch("delay") | trials.in_epoch("fixation")
    assert (trials.inputs[calm][:, 0] == 1).all()
    assert not trials.inputs[trials.in_epoch("response")].any()
    cue = trials.inputs[stimulus][:, 0] - 1
    assert cue.std() == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(DelayedComparison().constant_inputs()["delay"], trials.inputs[0, 10])


def test_delayed_comparison_targets_fixate_until_the_response(comparison):
    _, trials = comparison
    response = trials.in_epoch("response")
    right = np.where(trials.conditions["first"] > trials.conditions["second"], 1, 2)
    np.testing.assert_array_equal(trials.targets, np.where(response, right[:, None], 0))
    np.testing.assert_array_equal(trials.conditions["target_choice"], right)


def test_the_ideal_observer_of_delayed_comparison_beats_the_difference_rule():
    task = DelayedComparison()
    trials = task.draw(40_000, np.random.default_rng(5))
    right = trials.conditions["target_choice"]
    means = [
        (trials.inputs[..., 1] * trials.in_epoch(name)).sum(axis=1) / 5
        for name in ("stimulus_1", "stimulus_2")
    ]
    difference = np.mean(np.where(means[0] > means[1], 1, 2) == right)
    ideal = np.mean(task.ideal_choices(trials) == right)
    assert ideal >= difference
    # The difference rule errs where noise of both stimuli exceeds the distance of a pair, 8 / 48.
    from scipy.stats import norm

    assert difference == pytest.approx(
        norm.cdf(8 / 48 / (0.1 * np.sqrt(2 / 5))), abs=4 * np.sqrt(0.004 / 40_000)
    )
    assert ideal == pytest.approx(0.996, abs=0.0015)


def test_the_ideal_observer_without_noise_is_always_right():
    task = DelayedComparison(noise_std=0)
    trials = task.draw(200, np.random.default_rng(6))
    np.testing.assert_array_equal(task.ideal_choices(trials), trials.conditions["target_choice"])
    stimulus = trials.in_epoch("stimulus_1")
    seen = trials.inputs[..., 1][stimulus].reshape(200, 5)
    np.testing.assert_allclose(seen, task.scaled(trials.conditions["first"])[:, None] * np.ones(5), rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"stimulus": 50}, r"`stimulus` must last at least 1 step of dt = 100\.0 ms, got 50 ms: lengthen it"),
        ({"response": 0}, "`response` must last at least 1 step"),
        ({"fixation": -1}, "`fixation` must be a number of ms of at least 0, got -1"),
        ({"delays": (100.0, float("nan"))}, "`delays` must be a number of ms of at least 0, got nan"),
        ({"delays": ()}, r"`delays` must be a tuple of at least one duration in ms, got \(\)"),
        ({"delays": 200.0}, r"`delays` must be a tuple of at least one duration in ms, got 200\.0"),
        ({"pairs": ()}, r"`pairs` must hold pairs of two different values, got \(\)"),
        ({"pairs": ((10, 10),)}, "`pairs` must hold pairs of two different values"),
        ({"pairs": ((10, 12, 14),)}, "`pairs` must hold pairs"),
        ({"pairs": ((10, float("nan")),)}, "`pairs` must hold pairs"),
        ({"noise_std": -1.0}, "`noise_std` must be a number of at least 0, got -1"),
        ({"noise_std": float("nan")}, "`noise_std` must be a number of at least 0, got nan"),
        ({"dt": 0}, "`dt` must be a positive number of ms, got 0"),
    ],
)
def test_delayed_comparison_refuses_parameters_out_of_range(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        DelayedComparison(**parameters)
