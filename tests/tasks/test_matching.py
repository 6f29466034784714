from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import (
    ABBA,
    ABCA,
    NO_CHOICE,
    Choice,
    DelayedMatchToCategory,
    DelayedMatchToSample,
    DelayedMatchWithDistractors,
    DelayedPairedAssociation,
    DualDelayedMatchToSample,
    Uniform,
)
from neurornn.tasks.matching import draw_among
from neurornn.testing import check_task

SINGLE = (DelayedMatchToSample, DelayedMatchToCategory)
SEQUENCES = (DelayedMatchWithDistractors, ABCA, ABBA)
EVERY = (*SINGLE, DelayedPairedAssociation, DualDelayedMatchToSample, *SEQUENCES)
N = 20_000
COARSE = {"noise_std": 0.0, "dt": 100.0, "n_ring": 2}
"""For what is read from the conditions alone, which neither step nor noise nor ring changes."""


def rng(seed=0):
    return np.random.default_rng(seed)


def within(share, expected, n, errors=4.0):
    return abs(share - expected) <= errors * np.sqrt(expected * (1 - expected) / n) + 1e-9


def ring_of(direction, n_ring):
    """A bump told unit by unit."""
    if n_ring == 2:
        return np.array([np.cos(direction), np.sin(direction)])
    heights = []
    for unit in range(n_ring):
        gap = abs(direction - 2 * np.pi * unit / n_ring)
        gap = min(gap, 2 * np.pi - gap)
        heights.append(0.8 * np.exp(-0.5 * (gap / (np.pi / 8)) ** 2))
    return np.array(heights)


def span(trials, epoch, trial):
    start, stop = (np.broadcast_to(edge, trials.n_trials)[trial] for edge in trials.epochs[epoch])
    return slice(start, stop)


@pytest.mark.parametrize("kind", EVERY)
def test_the_checker_passes_other_parameters_too(kind):
    changes = {"dt": 25.0, "noise_std": 0.5, "stimulus": Uniform(300, 600)}
    if kind is not DelayedPairedAssociation:
        changes |= {"n_ring": 2, "delay": Choice(200.0, 300.0), "timing": "batch"}
    check_task(kind(**changes))


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        (DelayedMatchToSample, [6, 10, 20, 10, 10]),
        (DelayedMatchToCategory, [10, 13, 20, 13, 5]),
        (DelayedPairedAssociation, [5, 10, 40, 10, 10, 5]),
        (DualDelayedMatchToSample, [6, 10, 10, 6, 10, 6, 10, 6, 10, 6]),
        (DelayedMatchWithDistractors, [6, 8, 8, 8, 8, 8, 8, 8]),
    ],
)
def test_the_epochs_last_as_the_data_sheet_says(kind, lengths):
    trials = kind().draw(3, rng())
    assert [stop - start for start, stop in trials.epochs.values()] == lengths
    assert tuple(trials.epochs) == kind().epoch_order
    assert trials.n_steps == sum(lengths)


# One sample, one test.


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize("n_ring", [2, 8])
def test_a_match_task_shows_and_asks_what_a_plain_loop_does(kind, n_ring):
    task = kind(noise_std=0.0, n_ring=n_ring, delay=Choice(200.0, 500.0), stimulus=Uniform(100, 300))
    trials = task.draw(30, rng(1))
    conditions = trials.conditions
    for i in range(30):
        inputs, targets = np.zeros((trials.n_steps, 1 + n_ring)), np.zeros(trials.n_steps, int)
        response = span(trials, "response", i)
        inputs[: response.start, 0] = 1
        inputs[span(trials, "stimulus_1", i), 1:] = ring_of(conditions["sample_direction"][i], n_ring)
        inputs[span(trials, "stimulus_2", i), 1:] = ring_of(conditions["test_direction"][i], n_ring)
        targets[response] = 1 if conditions["match"][i] else 2
        np.testing.assert_allclose(trials.inputs[i], inputs, atol=1e-6)
        np.testing.assert_array_equal(trials.targets[i], targets)
        assert trials.valid[i].sum() == response.stop
    np.testing.assert_array_equal(trials.mask, trials.valid)


def test_a_sample_matches_itself_only_and_other_tests_come_equally_often():
    task = DelayedMatchToSample(**COARSE)
    conditions = task.draw(N, rng(2)).conditions
    sample, test = conditions["sample_direction"], conditions["test_direction"]
    np.testing.assert_array_equal(sample == test, conditions["match"])
    np.testing.assert_array_equal(conditions["target_choice"], np.where(sample == test, 1, 2))
    assert within(conditions["match"].mean(), 0.5, N)
    apart = np.rint((test - sample) / (np.pi / 4)).astype(int)[~conditions["match"]] % 8
    for steps in range(1, 8):
        assert within((apart == steps).mean(), 1 / 7, apart.size)
    for k in range(8):
        assert within((sample == k * np.pi / 4).mean(), 1 / 8, N)


def test_categories_are_the_half_turns_beside_the_boundary():
    task = DelayedMatchToCategory(**COARSE)
    conditions = task.draw(N, rng(3)).conditions
    # The boundary of 135 degrees: 150 to 300 are category 1, 330 to 120 category 2.
    for name in ("sample", "test"):
        degrees = np.rint(np.degrees(conditions[f"{name}_direction"])).astype(int)
        category = np.where(np.isin(degrees, [150, 180, 210, 240, 270, 300]), 1, 2)
        np.testing.assert_array_equal(conditions[f"{name}_category"], category)
    same = conditions["sample_category"] == conditions["test_category"]
    np.testing.assert_array_equal(same, conditions["match"])
    np.testing.assert_array_equal(conditions["target_choice"], np.where(same, 1, 2))
    assert within(same.mean(), 0.5, N)
    # Within its category a test has every direction equally often, the sample's own included.
    equal = (conditions["sample_direction"] == conditions["test_direction"])[same]
    assert within(equal.mean(), 1 / 6, equal.size)
    for direction in np.unique(conditions["test_direction"]):
        assert within((conditions["test_direction"] == direction).mean(), 1 / 12, N)


@pytest.mark.parametrize("kind", EVERY)
def test_noise_is_on_the_stimuli_only_and_as_strong_as_asked_for(kind):
    noisy, clean = (kind(noise_std=noise).draw(400, rng(4)) for noise in (2.0, 0.0))
    stimuli = np.any([noisy.in_epoch(name) for name in noisy.epochs if name.startswith("stimulus")], axis=0)
    for name, values in noisy.conditions.items():
        np.testing.assert_array_equal(values, clean.conditions[name])
    noise = noisy.inputs - clean.inputs
    assert not noise[~stimuli].any()
    assert not noise[..., 0].any()
    last = -2 if kind is DualDelayedMatchToSample else None
    inside = noise[stimuli][:, 1:last]
    expected = 2 / np.sqrt(noisy.task.dt)
    assert inside.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * inside.size))
    if last:
        assert not noise[..., last:].any()


@pytest.mark.parametrize("kind", SINGLE)
def test_a_match_task_is_scored_by_the_response_alone(kind):
    task = kind()
    trials = task.draw(200, rng(5))
    right = trials.conditions["target_choice"]
    response = trials.in_epoch("response")
    outputs = np.zeros((200, trials.n_steps, 3))
    assert (task.choose(outputs, trials) == NO_CHOICE).all()
    assert task.score(outputs, trials).max() == 0
    # Early, and wrong later: the response counts.
    outputs[~response] = np.eye(3)[right].repeat((~response).sum(axis=1), axis=0)
    assert task.score(outputs, trials).max() == 0
    outputs[response] = np.eye(3)[3 - right].repeat(response.sum(axis=1), axis=0)
    assert task.score(outputs, trials).max() == 0
    outputs[response] = np.eye(3)[right].repeat(response.sum(axis=1), axis=0)
    assert task.score(outputs, trials).min() == 1


@pytest.mark.parametrize("kind", SINGLE)
def test_in_catch_trials_nothing_is_shown_and_to_keep_still_is_right(kind):
    task = kind(catch_probability=0.3)
    trials = task.draw(2000, rng(6))
    catch = trials.conditions["catch"]
    assert within(catch.mean(), 0.3, 2000)
    assert not trials.inputs[catch, :, 1:].any()
    assert (trials.inputs[catch, :, 0] == 1).all()
    assert not trials.targets[catch].any()
    np.testing.assert_array_equal(task.ideal_choices(trials) == NO_CHOICE, catch)
    np.testing.assert_array_equal(task.score(np.zeros((2000, trials.n_steps, 3)), trials) == 1, catch)


def posterior_choice(task, trials, i):
    """The likelier answer of one trial, every pair of directions tried in turn."""
    variance = task.noise_std**2 / task.dt
    directions = 2 * np.pi * np.arange(task.n_directions) / task.n_directions
    weight = {True: 0.0, False: 0.0}
    for sample in directions:
        for test in directions:
            log = 0.0
            for direction, epoch in ((sample, "stimulus_1"), (test, "stimulus_2")):
                seen = trials.inputs[i, span(trials, epoch, i), 1:].astype(float)
                log -= ((seen - ring_of(direction, task.n_ring)) ** 2).sum() / (2 * variance)
            if isinstance(task, DelayedMatchToCategory):
                same = task.category(sample) == task.category(test)
                n_alike = task.n_directions // 2
            else:
                same, n_alike = sample == test, 1
            weight[bool(same)] += np.exp(log) / (n_alike if same else task.n_directions - n_alike)
    return 1 if weight[True] > weight[False] else 2


@pytest.mark.parametrize(
    "task",
    [
        DelayedMatchToSample(noise_std=3.0, n_directions=5, stimulus=Choice(50.0, 150.0)),
        DelayedMatchToCategory(noise_std=3.0, n_directions=6, boundary=0.2, n_ring=4, stimulus=100.0),
    ],
)
def test_the_ideal_observer_takes_the_likelier_answer(task):
    trials = task.draw(150, rng(7))
    expected = [posterior_choice(task, trials, i) for i in range(150)]
    np.testing.assert_array_equal(task.ideal_choices(trials), expected)
    right = np.mean(expected == trials.conditions["target_choice"])
    assert 0.5 < right < 0.95  # noise enough to tell the posterior from the nearest direction


def test_with_two_directions_the_ideal_observer_does_as_the_formula_says():
    # Cosines of 1 and -1: each stimulus is known with p, and two mistakes make a right answer.
    task = DelayedMatchToSample(n_directions=2, n_ring=2, noise_std=15.0)
    trials = task.draw(N, rng(8))
    p = norm.cdf(np.sqrt(10) / (15 / np.sqrt(50)))
    share = np.mean(task.ideal_choices(trials) == trials.conditions["target_choice"])
    assert 0.8 < p < 0.98
    assert within(share, p * p + (1 - p) ** 2, N, errors=3)


@pytest.mark.parametrize("kind", [*SINGLE, DelayedPairedAssociation, DualDelayedMatchToSample])
@pytest.mark.parametrize("noise_std", [0.0, 1.0])
def test_by_default_only_memory_is_hard(kind, noise_std):
    task = kind(noise_std=noise_std)
    trials = task.draw(2000, rng(9))
    np.testing.assert_array_equal(task.ideal_choices(trials), trials.conditions["target_choice"])


# Pairs.


def test_a_pair_asks_for_go_as_a_plain_loop_says():
    task = DelayedPairedAssociation(noise_std=0.0)
    trials = task.draw(40, rng(10))
    for i in range(40):
        sample, test = trials.conditions["sample"][i], trials.conditions["test"][i]
        inputs, targets = np.zeros((80, 5)), np.zeros(80, int)
        inputs[:75, 0] = 1
        inputs[5:15, sample] = 1
        inputs[55:65, 2 + test] = 1
        targets[75:] = sample == test
        np.testing.assert_array_equal(trials.inputs[i], inputs)
        np.testing.assert_array_equal(trials.targets[i], targets)
        assert trials.conditions["target_choice"][i] == (1 if sample == test else NO_CHOICE)


def test_to_go_where_there_is_no_pair_is_wrong_and_to_keep_still_right():
    task = DelayedPairedAssociation()
    trials = task.factorial()
    going, still = np.zeros((4, 80, 2)), np.zeros((4, 80, 2))
    going[:, 75:, 1] = 1
    still[:, :75, 1] = 1  # before the response nothing counts
    assert task.score(going, trials).tolist() == [1, 0, 0, 1]
    assert task.score(still, trials).tolist() == [0, 1, 1, 0]
    assert task.choose(going, trials).tolist() == [1, 1, 1, 1]
    assert task.choose(still, trials).tolist() == [NO_CHOICE] * 4


@pytest.mark.parametrize("stimulus", [1000.0, Choice(200.0, 1500.0)])
def test_the_ideal_observer_of_pairs_does_as_the_formula_says(stimulus):
    task = DelayedPairedAssociation(noise_std=20.0, stimulus=stimulus)
    trials = task.draw(N, rng(11))
    expected = task.ideal_accuracy(trials.conditions)
    assert expected.shape == (N,)
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    for level in np.unique(expected):
        chosen = expected == level
        assert within(right[chosen].mean(), level, chosen.sum(), errors=3)
    if stimulus == 1000.0:
        p = norm.cdf(np.sqrt(5) / 2)
        np.testing.assert_allclose(expected, p**2 + (1 - p) ** 2)
        # In ms, not in steps.
        finer = replace(task, dt=50.0).ideal_accuracy(trials.conditions)
        np.testing.assert_allclose(finer, expected)
    else:
        assert len(np.unique(expected)) == 3


def test_without_noise_pairs_are_never_mistaken():
    task = DelayedPairedAssociation(noise_std=0.0)
    np.testing.assert_array_equal(task.ideal_accuracy(task.factorial().conditions), np.ones(4))


# Two samples, two tests.


def test_the_dual_task_shows_and_asks_what_a_plain_loop_does():
    task = DualDelayedMatchToSample(noise_std=0.0, delay=Choice(200.0, 600.0), n_ring=5)
    trials = task.draw(60, rng(12))
    c = trials.conditions
    for i in range(60):
        inputs, targets = np.zeros((trials.n_steps, 13)), np.zeros(trials.n_steps, int)
        inputs[: trials.valid[i].sum(), 0] = 1
        for place in (1, 2):
            ring = slice(1 + 5 * (place - 1), 1 + 5 * place)
            shown = span(trials, "stimulus_1", i)
            inputs[shown, ring] = ring_of(c[f"sample_direction_{place}"][i], 5)
        for k in (1, 2):
            cue, test, response = (
                span(trials, name, i) for name in (f"cue_{k}", f"stimulus_{k + 1}", f"response_{k}")
            )
            asked = c[f"cue_{k}"][i]
            for place in (1, 2):
                ring = slice(1 + 5 * (place - 1), 1 + 5 * place)
                name = "test" if place == asked else "other"
                inputs[test, ring] = ring_of(c[f"{name}_direction_{k}"][i], 5)
            inputs[cue.start : test.stop, 10 + asked] = 1
            inputs[response, 0] = 0
            same = c[f"test_direction_{k}"][i] == c[f"sample_direction_{asked}"][i]
            assert same == c[f"match_{k}"][i]
            targets[response] = 1 if same else 2
        np.testing.assert_allclose(trials.inputs[i], inputs, atol=1e-6)
        np.testing.assert_array_equal(trials.targets[i], targets)
    np.testing.assert_array_equal(c["switched"], c["cue_1"] != c["cue_2"])


def test_the_dual_tasks_factors_are_independent_and_the_other_location_tells_nothing():
    task = DualDelayedMatchToSample(**COARSE)
    c = task.draw(N, rng(13)).conditions
    for name in ("match_1", "match_2", "switched"):
        assert within(c[name].mean(), 0.5, N)
    assert within((c["match_1"] & c["match_2"]).mean(), 0.25, N)
    assert within((c["match_1"] & c["switched"]).mean(), 0.25, N)
    for k in (1, 2):
        unasked = np.where(c[f"cue_{k}"] == 1, c["sample_direction_2"], c["sample_direction_1"])
        assert within((c[f"other_direction_{k}"] == unasked).mean(), 1 / 8, N)
        assert within((c[f"other_direction_{k}"] == c[f"test_direction_{k}"]).mean(), 1 / 8, N)


def test_both_answers_must_be_right():
    task = DualDelayedMatchToSample()
    trials = task.draw(400, rng(14))
    first, second = (trials.in_epoch(f"response_{k}") for k in (1, 2))
    answers = [np.where(trials.conditions[f"match_{k}"], 1, 2) for k in (1, 2)]

    def answered(one, other):
        outputs = np.zeros((400, trials.n_steps, 3))
        for during, classes in ((first, one), (second, other)):
            outputs += np.eye(3)[classes][:, None, :] * during[..., None]
        return outputs

    assert task.score(answered(*answers), trials).min() == 1
    assert task.score(answered(answers[0], 3 - answers[1]), trials).max() == 0
    assert task.score(answered(3 - answers[0], answers[1]), trials).max() == 0
    silent = np.zeros(400, int)
    for outputs in (answered(answers[0], silent), answered(silent, answers[1]), answered(silent, silent)):
        assert (task.choose(outputs, trials) == NO_CHOICE).all()
        assert task.score(outputs, trials).max() == 0
    always = task.score(answered(silent + 1, silent + 1), trials).mean()
    assert within(always, task.chance_score, 400)
    codes = task.choose(answered(*answers), trials)
    for code, pair in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)], start=1):
        np.testing.assert_array_equal(codes == code, (answers[0] == pair[0]) & (answers[1] == pair[1]))


def test_with_two_directions_the_dual_tasks_observer_does_as_the_formula_says():
    task = DualDelayedMatchToSample(n_directions=2, n_ring=2, noise_std=15.0)
    trials = task.draw(N, rng(15))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    p = norm.cdf(np.sqrt(10) / (15 / np.sqrt(50)))
    switched = trials.conditions["switched"]
    # Asked for twice, a mistaken sample spoils both answers or, with two mistaken tests, none.
    once, twice = (p**2 + (1 - p) ** 2) ** 2, p**3 + (1 - p) ** 3
    assert within(right[switched].mean(), once, switched.sum(), errors=3)
    assert within(right[~switched].mean(), twice, (~switched).sum(), errors=3)


# One sample, several tests.


def plain_sequence(task, trials, i):
    """Inputs, targets and mask of one trial, from what its conditions say."""
    c = trials.conditions
    inputs = np.zeros((trials.n_steps, 1 + task.n_ring))
    targets, mask = np.zeros(trials.n_steps, int), np.zeros(trials.n_steps)
    position = c["match_position"][i]
    shown = position if task.ends_with_match and position else task.n_tests
    end = span(trials, f"stimulus_{shown + 1}", i).stop
    inputs[:end, 0] = mask[:end] = 1
    inputs[span(trials, "stimulus_1", i), 1:] = ring_of(c["sample_direction"][i], task.n_ring)
    for k in range(1, task.n_tests + 1):
        test, direction = span(trials, f"stimulus_{k + 1}", i), c[f"test_direction_{k}"][i]
        if k > shown:
            assert test.start == test.stop == end
            assert direction == -1
            continue
        assert (direction == c["sample_direction"][i]) == (k == position)
        inputs[test, 0] = 0
        inputs[test, 1:] = ring_of(direction, task.n_ring)
        targets[test] = k == position
        mask[test.start : test.start + int(task.reaction // task.dt)] = 0
    return inputs, targets, mask, end


@given(
    kind=st.sampled_from(SEQUENCES),
    n_tests=st.integers(1, 5),
    n_more=st.integers(1, 4),
    n_ring=st.integers(2, 6),
    dt=st.sampled_from([25.0, 50.0, 100.0]),
    reaction=st.sampled_from([0.0, 100.0, 150.0]),
    timing=st.sampled_from(["trial", "batch"]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_a_sequence_is_what_a_plain_loop_makes(kind, n_tests, n_more, n_ring, dt, reaction, timing, seed):
    task = kind(
        n_tests=n_tests,
        n_directions=n_tests + n_more,
        n_ring=n_ring,
        dt=dt,
        reaction=reaction,
        timing=timing,
        noise_std=0.0,
        stimulus=Choice(200.0, 300.0),
        delay=Uniform(100, 400),
    )
    trials = task.draw(8, rng(seed))
    for i in range(8):
        inputs, targets, mask, end = plain_sequence(task, trials, i)
        np.testing.assert_allclose(trials.inputs[i], inputs, atol=1e-6)
        np.testing.assert_array_equal(trials.targets[i], targets)
        np.testing.assert_array_equal(trials.mask[i], mask)
        assert trials.valid[i].sum() == end
        for name in task.epoch_order[1:]:
            length = trials.timeline.length(name)[i] * dt
            assert trials.conditions[f"{name}_duration"][i] == length
    if timing == "batch":
        for name in task.epoch_order[1:]:
            there = trials.timeline.length(name)
            assert len(set(there[there > 0].tolist())) <= 1


@pytest.mark.parametrize("kind", SEQUENCES)
def test_the_match_stands_at_each_place_or_nowhere_equally_often(kind):
    c = kind(**COARSE).draw(N, rng(16)).conditions
    for position in range(4):
        assert within((c["match_position"] == position).mean(), 0.25, N)
    none = c["match_position"] == 0
    np.testing.assert_array_equal(c["target_choice"], np.where(none, NO_CHOICE, c["match_position"]))
    sample = c["sample_direction"]
    for k in (1, 2, 3):
        apart = np.rint((c[f"test_direction_{k}"] - sample) / (np.pi / 4)).astype(int)[none] % 8
        for steps in range(8):
            share = 0.0 if steps == 0 else 1 / 7
            assert within((apart == steps).mean(), share, none.sum())


def test_the_tests_of_abca_all_differ():
    c = ABCA(n_tests=5, **COARSE).draw(4000, rng(17)).conditions
    shown = np.stack([c[f"test_direction_{k}"] for k in range(1, 6)], axis=1)
    for row in shown:
        tests = row[row >= 0].tolist()
        assert len(set(tests)) == len(tests)
    assert not c["repeated"].any()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_in_abba_a_test_repeats_the_one_before_it_as_often_as_asked_for(probability):
    task = ABBA(n_tests=4, repeat_probability=probability, **COARSE)
    c = task.draw(N, rng(18)).conditions
    shown = np.stack([c[f"test_direction_{k}"] for k in range(1, 5)], axis=1)
    none = c["match_position"] == 0
    for k in (1, 2, 3):
        again = shown[none, k] == shown[none, k - 1]
        assert within(again.mean(), probability, none.sum())
    # B C B does not happen: what does not repeat the one before it is new.
    assert not ((shown[none, 0] == shown[none, 2]) & (shown[none, 0] != shown[none, 1])).any()
    for row, position, repeated in zip(shown, c["match_position"], c["repeated"], strict=True):
        tests = row[: position or 4].tolist()
        assert repeated == any(one == other for one, other in pairwise(tests))


def test_the_distractors_of_the_plain_sequence_are_drawn_one_by_one():
    task = DelayedMatchWithDistractors(**COARSE)
    c = task.draw(N, rng(19)).conditions
    none = c["match_position"] == 0
    for one, other in ((1, 2), (2, 3), (1, 3)):
        alike = (c[f"test_direction_{one}"] == c[f"test_direction_{other}"])[none]
        assert within(alike.mean(), 1 / 7, none.sum())
    # After the match the tests go on.
    assert (task.draw(50, rng(20)).valid).all()


@pytest.mark.parametrize("kind", SEQUENCES)
def test_only_the_match_may_be_answered_and_it_must_be(kind):
    task = kind()
    trials = task.draw(400, rng(21))
    position = trials.conditions["match_position"]
    tests = [trials.in_epoch(f"stimulus_{k + 1}") for k in (1, 2, 3)]

    def answering(*numbers):
        outputs = np.zeros((400, trials.n_steps, 2))
        for k in numbers:
            outputs[..., 1] += tests[k - 1]
        return outputs

    silent = task.score(answering(), trials)
    np.testing.assert_array_equal(silent == 1, position == 0)
    for k in (1, 2, 3):
        # A trial that ended before test k had a match, which was missed.
        np.testing.assert_array_equal(task.score(answering(k), trials) == 1, position == k)
        chosen = task.choose(answering(k), trials)
        seen = tests[k - 1].any(axis=1)
        np.testing.assert_array_equal(chosen, np.where(seen, k, NO_CHOICE))
    # To answer everything is right only where nothing but the match is ever shown.
    everything = task.score(answering(1, 2, 3), trials)
    np.testing.assert_array_equal(everything == 1, (position == 1) & task.ends_with_match)
    np.testing.assert_array_equal(task.choose(answering(3, 2), trials) == 2, tests[1].any(axis=1))
    assert task.score(trials.ideal_outputs(), trials).min() == 1


@pytest.mark.parametrize("kind", SEQUENCES)
def test_answers_in_delays_and_in_the_reaction_time_do_not_count(kind):
    task = kind()
    trials = task.draw(300, rng(22))
    outputs = np.zeros((300, trials.n_steps, 2))
    outputs[..., 1] = 5.0
    tests = np.any([trials.in_epoch(f"stimulus_{k + 1}") for k in (1, 2, 3)], axis=0)
    asked = tests & (trials.mask > 0)
    assert asked.sum() == 0.75 * tests.sum()  # 2 of 8 steps are masked
    outputs[..., 0] += 10.0 * asked
    assert (task.choose(outputs, trials) == NO_CHOICE).all()
    np.testing.assert_array_equal(task.score(outputs, trials) == 1, trials.conditions["match_position"] == 0)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("n_tests", [1, 2, 5])
def test_no_blind_plan_beats_the_chance_score(kind, n_tests):
    task = kind(n_tests=n_tests)
    trials = task.factorial(rng(23))
    best = 0.0
    for plan in np.ndindex(*([2] * n_tests)):
        outputs = np.zeros((trials.n_trials, trials.n_steps, 2))
        for k, answered in enumerate(plan, start=1):
            outputs[..., 1] += answered * trials.in_epoch(f"stimulus_{k + 1}")
        best = max(best, task.score(outputs, trials).mean())
    assert best == pytest.approx(task.chance_score)
    assert task.chance_score == pytest.approx(1 / (n_tests + 1))


@pytest.mark.parametrize("kind", EVERY)
def test_the_delay_is_a_constant_input_that_trials_show(kind):
    task = kind()
    trials = task.draw(3, rng(24))
    delay = next(name for name in trials.epochs if name.startswith("delay"))
    during = trials.in_epoch(delay)
    np.testing.assert_array_equal(
        trials.inputs[during], np.tile(task.constant_inputs()["delay"], (during.sum(), 1))
    )


def test_the_cues_are_constant_inputs_that_trials_show():
    task = DualDelayedMatchToSample()
    trials = task.draw(40, rng(25))
    during = trials.in_epoch("cue_1")
    for cue in (1, 2):
        chosen = trials.inputs[during & (trials.conditions["cue_1"] == cue)[:, None]]
        assert len(chosen)
        np.testing.assert_array_equal(chosen, np.tile(task.constant_inputs()[f"cue_{cue}"], (len(chosen), 1)))


def test_one_of_the_allowed_is_drawn_each_equally_often():
    allowed = np.tile([True, False, True, True], (6000, 1))
    drawn = draw_among(allowed, rng(26))
    assert set(drawn.tolist()) == {0, 2, 3}
    for place in (0, 2, 3):
        assert within((drawn == place).mean(), 1 / 3, 6000)


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (DelayedMatchToSample, {"n_directions": 1}, "`n_directions` must be a whole number of at least 2"),
        (DelayedMatchToSample, {"n_ring": 1}, "`n_ring` must be a whole number of at least 2, got 1"),
        (DelayedMatchToSample, {"stimulus": 20.0}, r"`stimulus` must last at least 1 step of dt = 50\.0 ms"),
        (DelayedMatchToSample, {"catch_probability": 1.0}, r"`catch_probability` must be in \[0, 1\)"),
        (DelayedMatchToCategory, {"n_directions": 7}, "`n_directions` must be even, .*got 7: choose 8"),
        (DelayedMatchToCategory, {"boundary": "up"}, "`boundary` must be an angle in radians, got 'up'"),
        (DelayedMatchToCategory, {"boundary": True}, "`boundary` must be an angle in radians, got True"),
        (
            DelayedMatchToCategory,
            {"boundary": float("nan")},
            "`boundary` must be an angle in radians, got nan",
        ),
        (DelayedMatchToCategory, {"boundary": np.pi}, r"`boundary` must lie between .*0\.5236 radians.*half"),
        (DelayedMatchToCategory, {"boundary": -np.pi / 6}, "`boundary` must lie between two directions"),
        (DelayedPairedAssociation, {"noise_std": -1.0}, "`noise_std` must be a number of at least 0, got -1"),
        (DelayedPairedAssociation, {"delay_1": -1.0}, "`delay_1` must be a number of ms of at least 0"),
        (
            DualDelayedMatchToSample,
            {"n_directions": 1},
            "`n_directions` must be a whole number of at least 2",
        ),
        (DualDelayedMatchToSample, {"n_ring": 0}, "`n_ring` must be a whole number of at least 2, got 0"),
        (DualDelayedMatchToSample, {"cue": 10.0}, "`cue` must last at least 1 step"),
        (ABBA, {"n_tests": 0}, "`n_tests` must be a whole number of at least 1, got 0"),
        (ABBA, {"n_tests": 8}, "`n_tests` must be below n_directions = 8, .*got 8: choose more directions"),
        (ABCA, {"n_tests": 8}, "`n_tests` must be below n_directions = 8"),
        (ABBA, {"repeat_probability": 1.1}, r"`repeat_probability` must be in \[0, 1\], got 1\.1"),
        (ABBA, {"repeat_probability": -0.1}, "`repeat_probability` must be a number of at least 0"),
        (
            ABCA,
            {"reaction": 400.0},
            r"`reaction` must end before a test does, .*400\.0 ms or more.*shorten it",
        ),
        (ABCA, {"reaction": -1.0}, "`reaction` must be a number of ms of at least 0, got -1"),
        (ABCA, {"delay": 0.0}, "`delay` must last at least 1 step"),
        (ABCA, {"stimulus": Uniform(90, 400)}, r"`reaction` must end before a test does, which lasts 90"),
        (
            DelayedMatchWithDistractors,
            {"n_directions": 1},
            "`n_directions` must be a whole number of at least",
        ),
        (DelayedMatchWithDistractors, {"n_ring": 1}, "`n_ring` must be a whole number of at least 2"),
        (DelayedMatchWithDistractors, {"timing": "step"}, "unknown timing 'step'"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        kind(**parameters)
