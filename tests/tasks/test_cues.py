from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import ProbabilisticReasoning, Uniform
from neurornn.testing import check_task


@pytest.fixture(scope="module")
def drawn():
    task = ProbabilisticReasoning()
    return task, task.draw(20_000, np.random.default_rng(11))


@pytest.mark.parametrize(
    "task",
    [
        ProbabilisticReasoning(),
        ProbabilisticReasoning(shapes_stay=True, weights=(-0.5, 0.0, 0.5), n_shown=3),
        ProbabilisticReasoning(stimulus=Uniform(200, 600), n_shown=2, noise_std=0.1),
        ProbabilisticReasoning(n_shown=1, delay=0.0),
    ],
    ids=repr,
)
def test_it_passes_the_checker(task):
    check_task(task)


def test_each_shape_is_on_in_its_epoch_alone(drawn):
    trials = drawn[1].select(np.arange(50))
    response = trials.in_epoch("response")
    for trial in range(50):
        for step in range(trials.n_steps):
            expected = np.zeros(11)
            if 10 <= step < 50:
                expected[trials.conditions[f"shape_{step // 10}"][trial]] = 1
            expected[0] = trials.valid[trial, step] and not response[trial, step]
            np.testing.assert_array_equal(trials.inputs[trial, step], expected)


def test_shapes_that_stay_add_up_until_the_delay():
    trials = ProbabilisticReasoning(shapes_stay=True).draw(30, np.random.default_rng(0))
    for trial, step in product(range(30), range(trials.n_steps)):
        expected = np.zeros(10)
        if 10 <= step < 50:
            for k in range(1, step // 10 + 1):
                expected[trials.conditions[f"shape_{k}"][trial] - 1] += 1
        np.testing.assert_array_equal(trials.inputs[trial, step, 1:], expected)


def test_shapes_are_drawn_evenly_and_independently(drawn):
    _, trials = drawn
    shapes = np.stack([trials.conditions[f"shape_{k}"] for k in range(1, 5)], axis=1)
    for place, shape in product(range(4), range(1, 11)):
        assert (shapes[:, place] == shape).mean() == pytest.approx(0.1, abs=4.5 * 0.3 / np.sqrt(20_000))
    together = np.corrcoef(shapes.T) - np.eye(4)
    assert np.abs(together).max() < 4.5 / np.sqrt(20_000)


def test_the_log_odds_are_the_summed_weights_and_draw_the_reward(drawn):
    task, trials = drawn
    log_odds = trials.conditions["log_odds"]
    for trial in range(300):
        total = sum(task.weights[trials.conditions[f"shape_{k}"][trial] - 1] for k in range(1, 5))
        assert log_odds[trial] == pytest.approx(total, abs=1e-9)
    second = trials.conditions["target_choice"] == 2
    for total in (-1.0, -0.4, 0.0, 0.2, 0.8):
        these = log_odds == total
        share = 10**total / (1 + 10**total)
        assert these.sum() > 50
        error = np.sqrt(share * (1 - share) / these.sum())
        assert second[these].mean() == pytest.approx(share, abs=4 * error)
    assert second[log_odds > 5].all()
    assert not second[log_odds < -5].any()


def test_weights_that_cancel_leave_no_dust_of_floating_point():
    task = ProbabilisticReasoning(weights=(0.1, 0.2, -0.3), n_shown=3)
    conditions = task.factorial().conditions
    mixed = [sorted(conditions[f"shape_{k}"][i] for k in (1, 2, 3)) == [1, 2, 3] for i in range(27)]
    assert (conditions["log_odds"][mixed] == 0).all()
    assert not np.signbit(conditions["log_odds"][mixed]).any()


@pytest.mark.parametrize("stay", [False, True])
def test_the_observer_adds_the_weights_and_is_rewarded_as_the_formula_says(stay):
    task = ProbabilisticReasoning(shapes_stay=stay)
    trials = task.draw(20_000, np.random.default_rng(12))
    choices = task.ideal_choices(trials)
    np.testing.assert_array_equal(choices, np.where(trials.conditions["log_odds"] >= 0, 2, 1))
    right = choices == trials.conditions["target_choice"]
    share = task.ideal_accuracy(trials.conditions)
    error = np.sqrt((share * (1 - share)).sum()) / 20_000
    assert right.mean() == pytest.approx(share.mean(), abs=3 * error)
    exact = task.expected_accuracy()
    assert right.mean() == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / 20_000))


def test_the_observer_sees_through_noise_that_is_small():
    task = ProbabilisticReasoning(noise_std=1.0)
    trials = task.draw(500, np.random.default_rng(12))
    during = trials.in_epoch("stimulus_2")
    silent = trials.inputs[during][:, 1:].ravel()
    silent = silent[np.abs(silent) < 0.5]
    assert silent.std() == pytest.approx(1 / np.sqrt(50), rel=0.05)
    clean = np.where(trials.conditions["log_odds"] >= 0, 2, 1)
    np.testing.assert_array_equal(task.ideal_choices(trials), clean)


@given(
    weights=st.lists(st.floats(-2, 2), min_size=1, max_size=5),
    n_shown=st.integers(1, 3),
)
def test_the_expected_accuracy_is_the_mean_over_all_sequences(weights, n_shown):
    task = ProbabilisticReasoning(weights=tuple(weights), n_shown=n_shown)
    share = [1 / (1 + 10 ** -abs(sum(sequence))) for sequence in product(weights, repeat=n_shown)]
    assert task.expected_accuracy() == pytest.approx(np.mean(share), abs=1e-8)


def test_the_expected_accuracy_of_the_default_task_is_9155():
    task = ProbabilisticReasoning()
    share = [max(1 / (1 + 10**-w), 1 / (1 + 10**w)) for w in map(sum, product(task.weights, repeat=4))]
    assert len(share) == 10_000
    assert task.expected_accuracy() == pytest.approx(np.mean(share), abs=1e-12)
    assert np.mean(share) == pytest.approx(0.9155, abs=5e-5)
    assert task.ideal_accuracy(task.factorial().conditions).mean() == pytest.approx(np.mean(share), abs=1e-9)


def test_huge_weights_do_not_overflow():
    task = ProbabilisticReasoning(weights=(-1e4, 1e4))
    trials = task.draw(100, np.random.default_rng(0))
    decided = trials.conditions["log_odds"] != 0
    right = np.where(trials.conditions["log_odds"] > 0, 2, 1)
    np.testing.assert_array_equal(trials.conditions["target_choice"][decided], right[decided])


def test_the_score_is_the_rewarded_choice(drawn):
    task, trials = drawn
    few = trials.select(np.arange(3))
    outputs = few.ideal_outputs()
    response = few.in_epoch("response")
    outputs[1][response[1]] = outputs[1][response[1]][:, [0, 2, 1]]
    outputs[2][response[2]] = [5, 0, 0]
    np.testing.assert_array_equal(task.score(outputs, few), [1, 0, 0])


def test_the_constant_input_is_the_delay(drawn):
    task, trials = drawn
    delay = trials.inputs[trials.in_epoch("delay")]
    np.testing.assert_array_equal(delay, np.tile(task.constant_inputs()["delay"], (len(delay), 1)))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"weights": ()}, r"`weights` must be finite numbers in log10 units, .* got \(\): write 10"),
        ({"weights": (float("inf"), 1.0)}, "`weights` must be finite numbers"),
        ({"weights": ("heavy",)}, "`weights` must be finite numbers"),
        ({"n_shown": 0}, "`n_shown` must be a whole number of at least 1, got 0"),
        ({"shapes_stay": 1}, "`shapes_stay` must be True or False, got 1"),
        ({"noise_std": -1.0}, "`noise_std` must be a number of at least 0"),
        ({"stimulus": 10.0}, r"`stimulus` must last at least 1 step of dt = 50\.0 ms"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        ProbabilisticReasoning(**parameters)
