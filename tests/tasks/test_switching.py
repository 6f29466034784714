from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import NO_CHOICE, Choice, ReversalLearning, TaskSwitching, Uniform
from neurornn.testing import check_task


def rng(seed=0):
    return np.random.default_rng(seed)


def steps_of(trials, trial, epoch):
    """The steps of an epoch in one trial, from its edges."""
    start, stop = (np.broadcast_to(edge, trials.n_trials)[trial] for edge in trials.epochs[epoch])
    return range(int(start), int(stop))


def rounds(conditions, name, numbers):
    return np.stack([conditions[f"{name}_{k}"] for k in numbers], axis=1)


VARIED = {"fixation": Choice(0.0, 100.0), "response": Uniform(50, 150)}


# --- task switching --------------------------------------------------------------------------------------


@pytest.mark.parametrize("varied", [{}, {**VARIED, "cue": Choice(50.0, 200.0), "stimulus": Uniform(50, 200)}])
def test_switching_shows_and_asks_what_a_plain_loop_says(varied):
    task = TaskSwitching(n_rounds=4, strength=0.5, noise_std=0, **varied)
    trials = task.draw(30, rng(1))
    for trial in range(30):
        inputs = np.zeros((trials.n_steps, 5))
        inputs[: int(trials.valid[trial].sum()), 0] = 1
        targets = np.zeros(trials.n_steps, int)
        for k in range(1, 5):
            rule, colour, shape = (
                trials.conditions[f"{name}_{k}"][trial] for name in ("rule", "colour", "shape")
            )
            inputs[steps_of(trials, trial, f"cue_{k}"), 1 if rule == "colour" else 2] = 1
            inputs[steps_of(trials, trial, f"stimulus_{k}"), 3:] = [0.5 * colour, 0.5 * shape]
            response = steps_of(trials, trial, f"response_{k}")
            inputs[response, 0] = 0
            counts = colour if rule == "colour" else shape
            targets[response] = 2 if counts > 0 else 1
            assert trials.conditions[f"congruent_{k}"][trial] == (colour == shape)
            if k > 1:
                before = trials.conditions[f"rule_{k - 1}"][trial]
                assert trials.conditions[f"switch_{k}"][trial] == (rule != before)
        np.testing.assert_array_equal(trials.inputs[trial], inputs)
        np.testing.assert_array_equal(trials.targets[trial], targets)
    np.testing.assert_array_equal(trials.mask, trials.valid)
    switches = rounds(trials.conditions, "switch", (2, 3, 4)).sum(axis=1)
    np.testing.assert_array_equal(trials.conditions["n_switches"], switches)


def test_rules_and_stimuli_of_all_rounds_are_even_and_independent():
    conditions = TaskSwitching().draw(20_000, rng(2)).conditions
    signs = np.concatenate(
        [
            np.where(rounds(conditions, "rule", range(1, 7)) == "shape", 1, -1),
            rounds(conditions, "colour", range(1, 7)),
            rounds(conditions, "shape", range(1, 7)),
        ],
        axis=1,
    )
    assert np.abs(signs.mean(axis=0)).max() < 4.5 / np.sqrt(20_000)
    assert np.abs(signs.T @ signs / 20_000 - np.eye(18)).max() < 4.5 / np.sqrt(20_000)


def test_the_last_round_is_crossed_and_the_others_are_drawn():
    trials = TaskSwitching(n_rounds=3).factorial(n_repeats=500)
    last = [trials.conditions[f"{name}_3"] for name in ("rule", "switch", "colour", "shape")]
    cells = {cell: 0 for cell in zip(*(own.tolist() for own in last), strict=True)}
    for cell in zip(*(own.tolist() for own in last), strict=True):
        cells[cell] += 1
    assert len(cells) == 16
    assert set(cells.values()) == {500}
    changed = trials.conditions["rule_2"] != trials.conditions["rule_3"]
    np.testing.assert_array_equal(changed, trials.conditions["switch_3"])
    assert trials.conditions["switch_2"].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(8000))


def test_switching_scores_the_share_of_rounds():
    task = TaskSwitching(n_rounds=4)
    trials = task.draw(200, rng(3))
    right = trials.ideal_outputs()
    assert (task.score(right, trials) == 1).all()
    assert not task.score(0 * right, trials).any()
    one_wrong = right.copy()
    one_wrong[:, slice(*trials.epochs["response_3"])] *= -1
    np.testing.assert_allclose(task.score(one_wrong, trials), 0.75)
    always_left = 0 * right
    always_left[..., 1] = 1
    assert task.score(always_left, trials).mean() == pytest.approx(0.5, abs=4 * 0.25 / np.sqrt(200))


def test_who_heeds_the_colour_only_is_right_in_three_quarters():
    task = TaskSwitching()
    trials = task.draw(5000, rng(4))
    outputs = np.zeros((*trials.valid.shape, 3))
    for k in range(1, 7):
        during = trials.in_epoch(f"response_{k}")
        side = np.where(trials.conditions[f"colour_{k}"] > 0, 2, 1)
        outputs[during] = np.eye(3)[np.repeat(side, 2)]
    assert task.score(outputs, trials).mean() == pytest.approx(0.75, abs=4 * 0.433 / np.sqrt(30_000))


@pytest.mark.parametrize("strength", [0.1, 0.2])
def test_the_ideal_observer_of_switching_does_as_the_formula_says(strength):
    task = TaskSwitching(n_rounds=2, strength=strength)
    trials = task.draw(20_000, rng(5))
    share = norm.cdf(strength * np.sqrt(100) / 1.5)
    np.testing.assert_allclose(task.ideal_accuracy(trials.conditions), share)
    right = task.ideal_answers(trials) == task.due(trials.conditions)
    assert right.mean() == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 40_000))


def test_the_ideal_accuracy_follows_the_durations_that_were_drawn():
    task = TaskSwitching(n_rounds=2, strength=0.1, stimulus=Choice(50.0, 400.0))
    trials = task.draw(20_000, rng(6))
    shares = norm.cdf(
        0.1 * np.sqrt(rounds(trials.conditions, "stimulus", ["1_duration", "2_duration"])) / 1.5
    )
    np.testing.assert_allclose(task.ideal_accuracy(trials.conditions), shares.mean(axis=1))
    right = (task.ideal_answers(trials) == task.due(trials.conditions)).mean(axis=1)
    assert right.mean() == pytest.approx(shares.mean(), abs=3 * 0.36 / np.sqrt(20_000))
    assert round(float(TaskSwitching().ideal_accuracy({"n_switches": np.zeros(1)})[0]), 4) == 0.9996
    assert TaskSwitching(noise_std=0).ideal_accuracy({"n_switches": np.zeros(2)}).tolist() == [1, 1]


def test_noise_lies_on_the_stimuli_only():
    task = TaskSwitching(noise_std=1.5)
    trials = task.draw(2000, rng(7))
    shown = np.any([trials.in_epoch(f"stimulus_{k}") for k in range(1, 7)], axis=0)
    assert not trials.inputs[~shown][:, 3:].any()
    assert np.abs(trials.inputs[shown][:, 3:]).mean() > 0.4
    size = trials.inputs[shown][:, 3:].var()
    assert size == pytest.approx(0.5**2 + 1.5**2 / 50, rel=0.02)
    assert set(np.unique(trials.inputs[..., :3])) == {0, 1}


# --- reversal learning -----------------------------------------------------------------------------------


def posterior_by_enumeration(task, rewarded):
    """Probability that side 2 is good in the round after some feedback, summed over all histories."""
    n = len(rewarded) + 1
    weight = np.zeros(2)
    for history in np.ndindex(*[2] * n):
        chance = 0.5
        for now, following in pairwise(history):
            chance *= task.reversal_probability if now != following else 1 - task.reversal_probability
        for good, seen in zip(history[:-1], rewarded, strict=True):
            chance *= task.reward_probability if good + 1 == seen else 1 - task.reward_probability
        weight[history[-1]] += chance
    return weight[1] / weight.sum()


@pytest.mark.parametrize(("reward", "reversal"), [(0.75, 0.05), (0.9, 0.3), (1.0, 0.1)])
def test_the_belief_is_that_of_all_histories_summed(reward, reversal):
    task = ReversalLearning(n_rounds=6, reward_probability=reward, reversal_probability=reversal)
    trials = task.draw(40, rng(8))
    belief = task.belief(trials.conditions)
    rewarded = rounds(trials.conditions, "rewarded", range(1, 6))
    for trial in range(40):
        for k in range(6):
            expected = posterior_by_enumeration(task, rewarded[trial, :k])
            assert belief[trial, k] == pytest.approx(expected, abs=1e-12)
    due = task.due(trials.conditions)
    assert not due[:, 0].any()
    np.testing.assert_array_equal(due[:, 1:], np.where(belief[:, 1:] > 0.5, 2, 1))


@pytest.mark.parametrize("varied", [{}, {**VARIED, "feedback": Choice(50.0, 200.0)}])
def test_reversal_shows_and_asks_what_a_plain_loop_says(varied):
    task = ReversalLearning(n_rounds=5, noise_std=0, **varied)
    trials = task.draw(30, rng(9))
    due = task.due(trials.conditions)
    for trial in range(30):
        inputs = np.zeros((trials.n_steps, 3))
        inputs[: int(trials.valid[trial].sum()), 0] = 1
        targets = np.zeros(trials.n_steps, int)
        mask = trials.valid[trial].astype(float)
        for k in range(1, 6):
            response = steps_of(trials, trial, f"response_{k}")
            inputs[response, 0] = 0
            targets[response] = due[trial, k - 1]
            mask[response] = k > 1
            if k < 5:
                side = trials.conditions[f"rewarded_{k}"][trial]
                inputs[steps_of(trials, trial, f"feedback_{k}"), side] = 1
        np.testing.assert_array_equal(trials.inputs[trial], inputs)
        np.testing.assert_array_equal(trials.targets[trial], targets)
        np.testing.assert_array_equal(trials.mask[trial], mask)
    assert list(trials.epochs)[-1] == "response_5"


def test_sides_are_rewarded_and_reversed_as_often_as_asked_for():
    task = ReversalLearning(reward_probability=0.8, reversal_probability=0.1)
    conditions = task.draw(20_000, rng(10)).conditions
    good = rounds(conditions, "good_side", range(1, 13))
    rewarded = rounds(conditions, "rewarded", range(1, 12))
    reversals = good[:, 1:] != good[:, :-1]
    np.testing.assert_allclose(reversals.mean(axis=0), 0.1, atol=4 * 0.3 / np.sqrt(20_000))
    np.testing.assert_allclose((rewarded == good[:, :-1]).mean(axis=0), 0.8, atol=4 * 0.4 / np.sqrt(20_000))
    np.testing.assert_allclose((good == 2).mean(axis=0), 0.5, atol=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_array_equal(conditions["n_reversals"], reversals.sum(axis=1))


def test_the_data_sheet_tells_the_scores_of_simple_observers():
    task = ReversalLearning()
    trials = task.draw(40_000, rng(11))
    due = task.due(trials.conditions)[:, 1:]
    last = rounds(trials.conditions, "rewarded", range(1, 12))
    good = rounds(trials.conditions, "good_side", range(2, 13))
    assert (last == due).mean() == pytest.approx(0.834, abs=0.003)
    assert (good == due).mean() == pytest.approx(0.782, abs=0.003)
    assert (due == 1).mean() == pytest.approx(0.5, abs=0.01)


def test_the_belief_is_calibrated():
    task = ReversalLearning(reward_probability=0.7, reversal_probability=0.1, noise_std=10.0)
    trials = task.draw(20_000, rng(12))
    good = rounds(trials.conditions, "good_side", range(1, 13)) == 2
    for belief in (task.belief(trials.conditions), task.ideal_belief(trials)):
        for low in np.arange(0.1, 0.9, 0.1):
            inside = (belief >= low) & (belief < low + 0.1)
            # Rounds of one trial are alike, so that they are worth fewer than they are.
            error = 0.5 / np.sqrt(inside.sum() / 12)
            assert good[inside].mean() == pytest.approx(belief[inside].mean(), abs=3 * error + 1e-3)


def test_the_observer_of_the_inputs_is_that_of_the_rewards_where_noise_is_small():
    for noise_std in (0.0, 0.5):
        task = ReversalLearning(noise_std=noise_std)
        trials = task.draw(500, rng(13))
        answers = task.ideal_answers(trials)
        assert (answers[:, 0] == NO_CHOICE).all()
        np.testing.assert_array_equal(answers[:, 1:], task.due(trials.conditions)[:, 1:])
        np.testing.assert_allclose(task.ideal_belief(trials), task.belief(trials.conditions), atol=1e-9)


def test_the_observer_of_the_inputs_heeds_their_noise():
    # One round: what was seen is rewarded_2 with this probability, by Bayes' rule for two Gaussians.
    task = ReversalLearning(n_rounds=2, noise_std=8.0)
    trials = task.draw(300, rng(14))
    steps = slice(*trials.epochs["feedback_1"])
    seen = trials.inputs[:, steps, 1:].astype(float)
    likelihood = [norm.pdf(seen, np.eye(2)[side], 8 / np.sqrt(50)).prod(axis=(1, 2)) for side in (0, 1)]
    side_2 = likelihood[1] / (likelihood[0] + likelihood[1])
    good_2 = 0.75 * side_2 + 0.25 * (1 - side_2)
    expected = 0.95 * good_2 + 0.05 * (1 - good_2)
    np.testing.assert_allclose(task.ideal_belief(trials)[:, 1], expected, atol=1e-6)


def test_reversal_scores_all_but_the_first_response():
    task = ReversalLearning(n_rounds=5)
    trials = task.draw(60, rng(15))
    right = trials.ideal_outputs()
    assert (task.score(right, trials) == 1).all()
    assert not task.score(0 * right, trials).any()
    right[:, slice(*trials.epochs["response_1"])] = [0, 9, 0]
    assert (task.score(right, trials) == 1).all()
    right[:, slice(*trials.epochs["response_5"])] *= -1
    np.testing.assert_allclose(task.score(right, trials), 0.75)


def test_what_a_belief_cannot_decide_is_not_asked_for():
    # With this reward probability, two rewards of side 1 are outweighed exactly by one of side 2: the belief
    # after them, which has leaked, is as far from one half as a single reward carries it.
    def after_two(reward):
        task = ReversalLearning(4, reward, 0.1)
        return task.belief({f"rewarded_{k}": np.array([1]) for k in (1, 2, 3)})[0, 2] - (1 - reward)

    reward = brentq(after_two, 0.6, 0.99, xtol=1e-15)
    task = ReversalLearning(4, reward, 0.1, noise_std=0)
    trials = task.draw(200, rng(17))
    rewarded = rounds(trials.conditions, "rewarded", (1, 2, 3))
    tied = (rewarded[:, 0] == rewarded[:, 1]) & (rewarded[:, 1] != rewarded[:, 2])
    assert tied.any()
    np.testing.assert_array_equal(task.due(trials.conditions)[:, 3] == 0, tied)
    last = trials.mask[:, slice(*trials.epochs["response_4"])]
    np.testing.assert_array_equal(last.any(axis=1), ~tied)
    assert (task.score(trials.ideal_outputs(), trials) == 1).all()
    assert (task.ideal_answers(trials)[tied, 3] == NO_CHOICE).all()


# --- both ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [TaskSwitching(), ReversalLearning()])
def test_the_chance_loss_is_one_bit_for_each_answer(task):
    trials = task.draw(10, rng(16))
    probability = np.zeros((*trials.valid.shape, 3))
    probability[..., 0] = 1
    responding = np.any([trials.in_epoch(name) for name in trials.epochs if "response" in name], axis=0)
    probability[responding] = [0, 0.5, 0.5]
    right = np.take_along_axis(probability, trials.targets[..., None], axis=2)[..., 0]
    assert -np.log(right[trials.mask > 0]).mean() == pytest.approx(task.chance_loss)


@pytest.mark.parametrize(
    "task",
    [
        TaskSwitching(n_rounds=2, **VARIED),
        TaskSwitching(cue=Uniform(50, 200), timing="batch"),
        ReversalLearning(n_rounds=2, **VARIED),
        ReversalLearning(reward_probability=1.0, dt=25.0),
    ],
)
def test_other_parameters_keep_to_the_contract_too(task):
    check_task(task)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TaskSwitching(n_rounds=1), "`n_rounds` must be a whole number of at least 2, got 1"),
        (lambda: TaskSwitching(strength=0), "`strength` must be a positive number, got 0"),
        (lambda: TaskSwitching(cue=20), r"`cue` must last at least 1 step of dt = 50\.0 ms, got 20 ms"),
        (lambda: TaskSwitching(noise_std=-1), "`noise_std` must be a number of at least 0, got -1"),
        (
            lambda: ReversalLearning(n_rounds=True),
            "`n_rounds` must be a whole number of at least 2, got True",
        ),
        (
            lambda: ReversalLearning(reward_probability=0.5),
            r"`reward_probability` must be above 0\.5 and at most 1, got 0\.5: the good side",
        ),
        (lambda: ReversalLearning(reward_probability=1.1), "`reward_probability` must be above"),
        (
            lambda: ReversalLearning(reversal_probability=0.5),
            r"`reversal_probability` must be below 0\.5, got 0\.5: otherwise the past",
        ),
        (
            lambda: ReversalLearning(reversal_probability=0),
            "`reversal_probability` must be a positive number, got 0",
        ),
        (lambda: ReversalLearning(feedback=0), "`feedback` must last at least 1 step"),
    ],
)
def test_parameters_out_of_range_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
