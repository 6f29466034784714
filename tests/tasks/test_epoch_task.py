"""Tasks made of epochs: durations, timing, noise, catch trials, balanced batches."""

import dataclasses
import math

import numpy as np
import pytest

from neurornn import InputError, tasks
from neurornn.tasks import NO_CHOICE, Choice, Exponential, Fixed, PerceptualDecisionMaking, Uniform
from neurornn.testing import check_task

VARIED = PerceptualDecisionMaking(stimulus=Uniform(300, 900), delay=Choice(0, 200, 400), dt=20.0)


def draw(task, n_trials=200, seed=0):
    return task.draw(n_trials, np.random.default_rng(seed))


def test_each_trial_has_its_own_timing_and_is_padded():
    trials = draw(VARIED)
    steps = trials.timeline.length("stimulus")
    assert len(set(steps.tolist())) > 20
    assert steps.min() >= 15
    assert steps.max() < 45
    np.testing.assert_array_equal(trials.conditions["stimulus_duration"], steps * 20.0)
    assert set(trials.conditions["delay_duration"].tolist()) == {0.0, 200.0, 400.0}
    total = sum(trials.timeline.length(epoch) for epoch in VARIED.epoch_order)
    np.testing.assert_array_equal(trials.valid.sum(axis=1), total)
    assert trials.n_steps == total.max()


def test_one_timing_a_batch_where_that_is_asked_for():
    task = dataclasses.replace(VARIED, timing="batch")
    lasted = set()
    for seed in range(30):
        trials = draw(task, 8, seed)
        assert trials.valid.all()
        assert len(set(trials.conditions["stimulus_duration"].tolist())) == 1
        lasted.add(trials.conditions["stimulus_duration"][0])
    assert len(lasted) > 10
    check_task(task)


def test_a_fixed_duration_is_no_condition():
    assert not any(name.endswith("_duration") for name in draw(PerceptualDecisionMaking()).conditions)
    one, other = PerceptualDecisionMaking(stimulus=Fixed(500)), PerceptualDecisionMaking(stimulus=500)
    assert np.array_equal(draw(one).inputs, draw(other).inputs)


def test_durations_written_as_text_are_the_same_task():
    durations = {"stimulus": "Uniform(300, 900)", "delay": "Choice(0, 200, 400)"}
    written = tasks.get("perceptual_decision_making", **durations, dt=20.0)
    assert written == VARIED
    assert repr(written) == repr(VARIED)


def test_durations_are_floored_to_whole_steps():
    trials = draw(PerceptualDecisionMaking(stimulus=330, dt=100.0), 4)
    assert trials.timeline.length("stimulus").tolist() == [3, 3, 3, 3]
    # 300 / .1 is 2999.9999... in floating point.
    assert PerceptualDecisionMaking(dt=0.1).whole_steps(np.array([300.0])).tolist() == [3000]


def test_noise_has_its_standard_deviation_only_where_it_belongs():
    task = PerceptualDecisionMaking(coherences=(0,), noise_std=2.0, dt=25.0, stimulus=Choice(500, 1500))
    trials = draw(task, 2000)
    during = trials.in_epoch("stimulus")
    noise = trials.inputs[..., 1:] - 0.5 * during[..., None]
    assert not noise[~during].any()
    n_entries = 2 * during.sum()
    # The standard error of a standard deviation is s / sqrt(2 n); four of them.
    assert abs(noise[during].std() - 0.4) < 4 * 0.4 / math.sqrt(2 * n_entries)
    assert abs(np.corrcoef(noise[during].T)[0, 1]) < 4 / math.sqrt(n_entries / 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"timing": "epoch"}, r"unknown timing 'epoch': expected one of 'batch', 'trial'"),
        ({"noise_std": -1}, r"`noise_std` must be a number of at least 0, got -1"),
        ({"dt": 0}, r"`dt` must be a positive number of ms, got 0"),
        ({"stimulus": Choice("short", "long")}, r"`stimulus` must be a duration in ms, got Choice\('short'"),
        ({"stimulus": Exponential(100)}, r"`stimulus` must have an end, got Exponential\(100, 0.0, inf\)"),
        ({"stimulus": Uniform(-100, 100)}, r"`stimulus` must be a number of ms of at least 0, got -100"),
        ({"stimulus": Uniform(10, 300)}, r"`stimulus` must last at least 1 step of dt = 100.0 ms, got U"),
        ({"stimulus": "Uniform(10"}, r"`stimulus` must be a number or one of Fixed, .*got 'Uniform\(10'"),
        ({"stimulus": True}, r"`stimulus` must be a number of ms of at least 0, got True"),
        ({"response": 50}, r"`response` must last at least 1 step of dt = 100.0 ms, got 50 ms: lengthen it"),
        ({"catch_probability": 1.0}, r"`catch_probability` must be in \[0, 1\), got 1.0"),
        ({"catch_probability": -0.1}, r"`catch_probability` must be a number of at least 0, got -0.1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        PerceptualDecisionMaking(**changes)
    assert "\n" not in str(caught.value)


def test_catch_trials_show_the_cue_to_the_end_and_ask_for_nothing():
    task = dataclasses.replace(VARIED, catch_probability=0.3)
    trials = draw(task, 4000)
    catch = trials.conditions["catch"]
    # Four standard errors of a share.
    assert abs(catch.mean() - 0.3) < 4 * math.sqrt(0.21 / 4000)
    assert not trials.inputs[catch][..., 1:].any()
    np.testing.assert_array_equal(trials.inputs[catch][..., 0], trials.valid[catch])
    assert not trials.targets[catch].any()
    assert (trials.conditions["target_choice"][catch] == NO_CHOICE).all()
    assert (trials.conditions["target_choice"][~catch] > 0).all()
    eager = np.zeros((*trials.valid.shape, 3))
    eager[..., 1] = 1
    assert not task.score(eager, trials)[catch].any()
    assert (task.ideal_choices(trials)[catch] == NO_CHOICE).all()
    assert (task.ideal_accuracy(trials.conditions)[catch] == 1).all()
    assert "catch" not in task.factorial().conditions
    check_task(task)


def test_a_balanced_batch_has_every_condition_once_and_repeats_side_by_side():
    task = PerceptualDecisionMaking(coherences=(0, 10, 20))
    once = task.factorial()
    pairs = list(zip(once.conditions["coherence"], once.conditions["target_choice"], strict=True))
    assert pairs == [(c, side) for c in (0, 10, 20) for side in (1, 2)]
    thrice = task.factorial(np.random.default_rng(3), n_repeats=3)
    np.testing.assert_array_equal(thrice.conditions["coherence"], np.repeat(once.conditions["coherence"], 3))
    assert not np.array_equal(thrice.inputs[0], thrice.inputs[1])
    assert np.array_equal(once.inputs, task.factorial().inputs)


def test_a_task_without_conditions_says_that_there_is_nothing_to_cross(echo_class):
    with pytest.raises(InputError, match=r"has no conditions to cross, every trial is drawn anew: use draw"):
        echo_class().factorial()
    with pytest.raises(InputError, match="`n_repeats` must be a whole number of at least 1, got 0"):
        PerceptualDecisionMaking().factorial(n_repeats=0)


def test_some_of_the_trials_are_trials():
    trials = draw(VARIED, 10)
    some = trials.select(np.array([7, 2]))
    assert np.array_equal(some.inputs, trials.inputs[[7, 2]])
    assert np.array_equal(some.in_epoch("response"), trials.in_epoch("response")[[7, 2]])
    assert some.conditions["coherence"].tolist() == trials.conditions["coherence"][[7, 2]].tolist()
    assert (
        trials.select(trials.conditions["coherence"] > 0).n_trials
        == (trials.conditions["coherence"] > 0).sum()
    )
