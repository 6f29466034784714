import numpy as np
import pytest
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import (
    NO_CHOICE,
    Choice,
    DelayedComparison,
    Exponential,
    IntervalDiscrimination,
    Uniform,
)
from neurornn.testing import check_task


@pytest.fixture(scope="module")
def comparison():
    task = DelayedComparison()
    return task, task.draw(4000, np.random.default_rng(4))


def test_delayed_comparison_pads_every_trial_to_the_longest(comparison):
    _, trials = comparison
    length = 500 / 100 + 500 / 100 + trials.conditions["delay_duration"] / 100 + 500 / 100 + 1
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
    assert set(conditions["delay_duration"]) == {200, 400, 800, 1600, 3200}
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


def test_a_delay_may_be_fixed_or_drawn_from_a_range():
    fixed = DelayedComparison(delay=300.0).draw(5, np.random.default_rng(0))
    assert fixed.epochs["delay"] == (10, 13)
    assert "delay_duration" not in fixed.conditions
    drawn = DelayedComparison(delay=Uniform(0.0, 600.0)).draw(500, np.random.default_rng(0))
    assert set(drawn.conditions["delay_duration"]) == {0, 100, 200, 300, 400, 500}
    np.testing.assert_array_equal(drawn.timeline.length("delay") * 100.0, drawn.conditions["delay_duration"])
    assert DelayedComparison(delay="Choice(200.0, 400.0)") == DelayedComparison(delay=Choice(200.0, 400.0))


def test_a_balanced_comparison_shows_each_pair_in_either_order():
    conditions = DelayedComparison(pairs=((18, 10), (22, 14))).factorial().conditions
    assert conditions["first"].tolist() == [18, 10, 22, 14]
    assert conditions["second"].tolist() == [10, 18, 14, 22]


@pytest.mark.parametrize("n_trials", [0, -1, 2.5, True])
def test_a_number_of_trials_is_a_count(n_trials):
    with pytest.raises(InputError, match="`n_trials` must be a whole number of at least 1"):
        DelayedComparison().draw(n_trials, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"stimulus": 50}, r"`stimulus` must last at least 1 step of dt = 100\.0 ms, got 50 ms: lengthen it"),
        ({"response": 0}, "`response` must last at least 1 step"),
        ({"fixation": -1}, "`fixation` must be a number of ms of at least 0, got -1"),
        ({"delay": float("nan")}, "`delay` must be a number of ms of at least 0, got nan"),
        ({"delay": (200.0, 400.0)}, r"`delay` must be a number of ms of at least 0, got \(200\.0, 400\.0\)"),
        ({"delay": True}, "`delay` must be a number of ms of at least 0, got True"),
        ({"delay": Choice("short", "long")}, r"`delay` must be a duration in ms, .*: give numbers"),
        ({"delay": Choice(-100.0, 200.0)}, r"`delay` must be a number of ms of at least 0, got -100\.0"),
        ({"delay": Exponential(300.0)}, r"`delay` must have an end, .*: give Exponential\(mean, low, high\)"),
        ({"delay": "Choise(200, 400)"}, r"`delay` must be a number or one of .*did you mean Choice\?"),
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


@pytest.fixture(scope="module")
def intervals():
    task = IntervalDiscrimination()
    return task, task.draw(6000, np.random.default_rng(8))


def test_stimuli_last_as_long_as_their_conditions_say(intervals):
    _, trials = intervals
    conditions = trials.conditions
    for which, epoch in (("first", "stimulus_1"), ("second", "stimulus_2")):
        np.testing.assert_array_equal(trials.in_epoch(epoch).sum(axis=1) * 50, conditions[which])
    for epoch in ("fixation", "delay_1", "delay_2"):
        length = trials.in_epoch(epoch).sum(axis=1) * 50
        np.testing.assert_array_equal(length, conditions[f"{epoch}_duration"])
    assert set(conditions["delay_1_duration"]) == {400, 800}
    assert set(conditions["delay_2_duration"]) == {0, 400, 800}
    assert set(conditions["fixation_duration"]) == set(range(400, 800, 50))
    assert list(trials.epochs) == list(IntervalDiscrimination.epoch_order)


def test_every_ordered_pair_of_intervals_comes_equally_often_in_either_colour(intervals):
    task, trials = intervals
    conditions = trials.conditions
    cells = np.stack([conditions["first"], conditions["second"], conditions["first_colour"] == "red"], axis=1)
    found, counts = np.unique(cells, axis=0, return_counts=True)
    assert len(found) == 60
    assert (found[:, 0] != found[:, 1]).all()
    np.testing.assert_allclose(counts, 100, atol=4.5 * np.sqrt(100))
    assert task.factorial().n_trials == 60


def test_each_colour_is_on_while_its_stimulus_is(intervals):
    _, trials = intervals
    red_first = (trials.conditions["first_colour"] == "red")[:, None]
    first, second = trials.in_epoch("stimulus_1"), trials.in_epoch("stimulus_2")
    for channel, own, other in ((1, first, second), (2, second, first)):
        shown = np.where(red_first, own, other)
        assert not trials.inputs[~shown][:, channel].any()
        seen = trials.inputs[shown][:, channel]
        assert seen.mean() == pytest.approx(1, abs=4 * 0.071 / np.sqrt(seen.size))
        assert seen.std() == pytest.approx(0.5 / np.sqrt(50), rel=4 / np.sqrt(2 * seen.size))
    before = trials.timeline.before("response")
    np.testing.assert_array_equal(trials.inputs[..., 0], before)


def test_the_colour_that_lasted_longer_is_the_answer(intervals):
    _, trials = intervals
    conditions = trials.conditions
    red_first = conditions["first_colour"] == "red"
    red = np.where(red_first, conditions["first"], conditions["second"])
    blue = np.where(red_first, conditions["second"], conditions["first"])
    np.testing.assert_array_equal(conditions["target_choice"], np.where(red > blue, 1, 2))
    np.testing.assert_array_equal(conditions["difference"], blue - red)
    np.testing.assert_array_equal(conditions["distance"], np.abs(blue - red))
    response = trials.in_epoch("response")
    np.testing.assert_array_equal(trials.targets, np.where(response, conditions["target_choice"][:, None], 0))


def test_the_observer_of_intervals_is_always_right(intervals):
    task, trials = intervals
    np.testing.assert_array_equal(task.ideal_choices(trials), trials.conditions["target_choice"])
    assert (task.ideal_accuracy(trials.conditions) == 1).all()
    quiet = IntervalDiscrimination(noise_std=0).draw(200, np.random.default_rng(9))
    np.testing.assert_array_equal(quiet.task.ideal_choices(quiet), quiet.conditions["target_choice"])


def test_the_second_interval_alone_is_right_in_four_fifths(intervals):
    _, trials = intervals
    conditions = trials.conditions
    second_longer = conditions["second"] > conditions["first"]
    share = np.mean((conditions["second"] > 700) == second_longer)
    assert share == pytest.approx(0.8, abs=4 * 0.4 / np.sqrt(6000))


def test_intervals_are_scored_by_the_response_only(intervals):
    task, trials = intervals
    outputs = trials.ideal_outputs()
    outputs[trials.timeline.before("response")] = [0, 9, 0]
    assert (task.score(outputs, trials) == 1).all()
    silent = np.zeros_like(outputs)
    assert not task.score(silent, trials).any()
    assert (task.choose(silent, trials) == NO_CHOICE).all()
    early = np.where(trials.timeline.before("response")[..., None], outputs, 0)
    assert not task.score(early, trials).any()


@pytest.mark.parametrize(
    "task",
    [
        IntervalDiscrimination(intervals=(300, 400)),
        IntervalDiscrimination(timing="batch", dt=100.0),
        IntervalDiscrimination(delay_1=0.0, delay_2=0.0, fixation=0.0),
    ],
)
def test_other_intervals_keep_to_the_contract_too(task):
    check_task(task)


def test_intervals_are_floored_to_whole_steps():
    conditions = IntervalDiscrimination(intervals=(220, 449)).factorial().conditions
    assert set(conditions["first"]) == {200, 400}
    assert set(conditions["distance"]) == {200}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"intervals": (200.0,)}, r"`intervals` must be at least two durations .*got \(200\.0,\): spread"),
        ({"intervals": (200, 240)}, r"`intervals` must .* differ by whole steps of dt = 50\.0 ms"),
        ({"intervals": (0, 200)}, "`intervals` must be at least two durations"),
        ({"intervals": (-200, 200)}, "`intervals` must be at least two durations"),
        ({"intervals": (float("nan"), 200)}, "`intervals` must be at least two durations"),
        ({"intervals": 200}, "`intervals` must be at least two durations"),
        ({"intervals": ("short", "long")}, "`intervals` must be at least two durations"),
        ({"delay_1": -1}, "`delay_1` must be a number of ms of at least 0, got -1"),
        ({"response": 20}, "`response` must last at least 1 step"),
        ({"noise_std": -1}, "`noise_std` must be a number of at least 0, got -1"),
    ],
)
def test_interval_discrimination_refuses_parameters_out_of_range(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        IntervalDiscrimination(**parameters)
