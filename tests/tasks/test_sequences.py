import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import NO_CHOICE, Choice, DelayedCopy, NBack, SequenceRecall, Uniform
from neurornn.testing import check_task


def rng(seed=0):
    return np.random.default_rng(seed)


def steps_of(trials, trial, epoch):
    """The steps of an epoch in one trial, from its edges."""
    start, stop = (np.broadcast_to(edge, trials.n_trials)[trial] for edge in trials.epochs[epoch])
    return range(int(start), int(stop))


def mean_loss(trials, probability):
    """Cross-entropy of class probabilities (trial, time, class), averaged over the steps asked for."""
    right = np.take_along_axis(probability, trials.targets[..., None], axis=2)[..., 0]
    return -np.log(right[trials.mask > 0]).mean()


VARIED = {
    "fixation": Choice(0.0, 100.0),
    "stimulus": Uniform(50, 200),
    "response": Choice(50.0, 150.0),
}


# --- serial recall ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("varied", [{}, {**VARIED, "gap": Uniform(50, 150), "delay": Choice(0.0, 300.0)}])
def test_recall_shows_and_asks_what_a_plain_loop_says(varied):
    task = SequenceRecall(n_items=4, alphabet=3, noise_std=0, **varied)
    trials = task.draw(30, rng(1))
    for trial in range(30):
        inputs = np.zeros((trials.n_steps, 5))
        targets = np.zeros(trials.n_steps, int)
        first = steps_of(trials, trial, "response_1")[0]
        inputs[:first, 0] = 1
        for k in range(1, 5):
            item = trials.conditions[f"item_{k}"][trial]
            inputs[steps_of(trials, trial, f"stimulus_{k}"), 1 + item] = 1
            response = steps_of(trials, trial, f"response_{k}")
            inputs[response[0], 1] = 1
            targets[response] = item
        np.testing.assert_array_equal(trials.inputs[trial], inputs)
        np.testing.assert_array_equal(trials.targets[trial], targets)
    np.testing.assert_array_equal(trials.mask, trials.valid)


def test_recall_has_the_epochs_of_its_data_sheet():
    trials = SequenceRecall(n_items=2).draw(1, rng())
    assert trials.epochs == {
        "fixation": (0, 2),
        "stimulus_1": (2, 4),
        "gap_1": (4, 6),
        "stimulus_2": (6, 8),
        "delay": (8, 18),
        "response_1": (18, 20),
        "response_2": (20, 22),
    }


def test_items_come_equally_often_and_tell_nothing_of_one_another():
    task = SequenceRecall()
    items = task.due(task.draw(20_000, rng(2)).conditions)
    counts = np.zeros((5, 5))
    np.add.at(counts, (items[:, 0] - 1, items[:, 2] - 1), 1)
    np.testing.assert_allclose(counts / 20_000, 1 / 25, atol=4.5 * np.sqrt(0.04 * 0.96 / 20_000))


def test_recall_names_how_many_items_differ():
    trials = SequenceRecall(n_items=3, alphabet=3).factorial()
    items = np.stack([trials.conditions[f"item_{k}"] for k in (1, 2, 3)], axis=1)
    assert trials.conditions["n_different"].tolist() == [len(set(row)) for row in items.tolist()]
    assert trials.n_trials == 27


def test_noise_lies_on_the_items_until_the_recall():
    task = SequenceRecall(noise_std=0.5)
    trials = task.draw(2000, rng(3))
    before = trials.timeline.before("response_1")
    clean = task.show(trials.conditions, trials.timeline, rng()) * 0
    clean[..., 2:] = trials.inputs[..., 2:] > 0.5
    noise = (trials.inputs - clean)[before][:, 2:]
    assert noise.std() == pytest.approx(0.5 / np.sqrt(50), rel=4 / np.sqrt(2 * noise.size))
    assert set(np.unique(trials.inputs[..., :2])) == {0, 1}
    assert not trials.inputs[~before][:, 2:].any()


def test_recall_scores_the_share_of_positions():
    task = SequenceRecall(n_items=3, alphabet=4)
    trials = task.factorial()
    items = task.due(trials.conditions)
    right = trials.ideal_outputs()
    np.testing.assert_array_equal(task.answers(right, trials), items)
    assert (task.score(right, trials) == 1).all()
    assert not task.score(0 * right, trials).any()
    assert (task.answers(0 * right, trials) == NO_CHOICE).all()

    # One position later than it is due: right only where two neighbours are equal.
    late = np.roll(right, 2, axis=1)
    expected = (np.pad(items[:, :-1], ((0, 0), (1, 0))) == items).mean(axis=1)
    np.testing.assert_allclose(task.score(late, trials), expected)

    # Before the recall nothing counts, and within a response the mean decides.
    early = right.copy()
    early[:, : trials.epochs["response_1"][0]] = 7
    assert (task.score(early, trials) == 1).all()
    half = right.copy()
    half[:, trials.epochs["response_2"][0], :] *= -0.5
    assert (task.score(half, trials) == 1).all()
    half[:, trials.epochs["response_2"][0], :] *= 4
    np.testing.assert_allclose(task.score(half, trials), 2 / 3)


def test_the_best_guess_at_recall_is_one_over_the_alphabet():
    task = SequenceRecall(n_items=2, alphabet=4)
    trials = task.factorial()
    outputs = np.zeros((*trials.valid.shape, 5))
    outputs[..., 3] = 1
    assert task.score(outputs, trials).mean() == task.chance_score == 0.25


@pytest.mark.parametrize("task", [SequenceRecall(), NBack(), NBack(n_items=12, match_share=0.3)])
def test_the_chance_loss_is_that_of_knowing_only_how_often_each_answer_comes(task):
    trials = task.draw(3000, rng(4))
    probability = np.zeros((*trials.valid.shape, task.n_outputs))
    for step in range(trials.n_steps):
        counts = np.bincount(trials.targets[:, step], minlength=task.n_outputs)
        probability[:, step] = counts / counts.sum()
    assert mean_loss(trials, probability) == pytest.approx(task.chance_loss, rel=3e-3)


def test_there_is_no_chance_loss_in_closed_form_where_durations_are_drawn():
    assert SequenceRecall(delay=Uniform(100, 200)).chance_loss is None
    assert DelayedCopy(response=Choice(100, 200)).chance_loss is None


# --- n-back ----------------------------------------------------------------------------------------------


@given(
    n_back=st.integers(1, 3),
    more=st.integers(2, 8),
    alphabet=st.integers(2, 5),
    share=st.floats(0.3, 0.7),
    varied=st.sampled_from([{}, VARIED]),
)
def test_n_back_shows_and_asks_what_a_plain_loop_says(n_back, more, alphabet, share, varied):
    n_items = n_back + more
    if not 0 < round(share * more) < more:
        return
    task = NBack(n_back, n_items, alphabet, share, noise_std=0, **varied)
    trials = task.draw(8, rng(5))
    for trial in range(8):
        inputs = np.zeros((trials.n_steps, 1 + alphabet))
        inputs[: int(trials.valid[trial].sum()), 0] = 1
        targets = np.zeros(trials.n_steps, int)
        mask = trials.valid[trial].astype(float)
        items = [int(trials.conditions[f"item_{k + 1}"][trial]) for k in range(n_items)]
        n_matches = 0
        for k, item in enumerate(items):
            inputs[steps_of(trials, trial, f"stimulus_{k + 1}"), item] = 1
            response = steps_of(trials, trial, f"response_{k + 1}")
            inputs[response, 0] = 0
            if k < n_back:
                mask[response] = 0
                continue
            match = items[k - n_back] == item
            n_matches += match
            assert trials.conditions[f"match_{k + 1}"][trial] == match
            targets[response] = 2 if match else 1
        assert n_matches == round(share * more)
        np.testing.assert_array_equal(trials.inputs[trial], inputs)
        np.testing.assert_array_equal(trials.targets[trial], targets)
        np.testing.assert_array_equal(trials.mask[trial], mask)


def test_matches_are_anywhere_and_other_items_any_other():
    task = NBack(n_back=2, n_items=10, alphabet=4)
    conditions = task.draw(20_000, rng(6)).conditions
    match = np.stack([conditions[f"match_{k}"] for k in range(3, 11)], axis=1)
    np.testing.assert_allclose(match.mean(axis=0), 0.5, atol=4 * 0.5 / np.sqrt(20_000))
    items = np.stack([conditions[f"item_{k}"] for k in range(1, 11)], axis=1)
    for k in range(10):
        np.testing.assert_allclose(np.bincount(items[:, k])[1:] / 20_000, 0.25, atol=0.014)
    away = (items[:, 2:] - items[:, :-2])[~match] % 4
    np.testing.assert_allclose(
        np.bincount(away, minlength=4) / away.size, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.01
    )


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_who_always_gives_the_same_answer_gets_one_half(share):
    task = NBack(n_items=10, match_share=share)
    trials = task.draw(20, rng(7))
    for answer, expected in ((0, 0.0), (1, 0.5), (2, 0.5)):
        outputs = np.zeros((*trials.valid.shape, 3))
        outputs[..., answer] = 1
        assert (task.score(outputs, trials) == expected).all()


def test_n_back_weighs_misses_and_false_alarms_by_their_kind():
    task = NBack(n_back=1, n_items=9, match_share=0.25)
    trials = task.draw(50, rng(8))
    outputs = trials.ideal_outputs()
    assert (task.score(outputs, trials) == 1).all()
    # The first answer is not asked for, whatever it is.
    outputs[:, slice(*trials.epochs["response_1"])] = [0, 0, 9]
    assert (task.score(outputs, trials) == 1).all()
    outputs[:, slice(*trials.epochs["response_5"])] *= -1
    missed = trials.conditions["match_5"]
    np.testing.assert_allclose(task.score(outputs, trials), np.where(missed, 1 - 1 / 4, 1 - 1 / 12))
    assert 0 < missed.sum() < 50


# --- delayed copy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["continuous", "binary"])
@pytest.mark.parametrize("varied", [{}, {**VARIED, "gap": Uniform(50, 150), "delay": Choice(0.0, 300.0)}])
def test_copy_shows_and_asks_what_a_plain_loop_says(kind, varied):
    task = DelayedCopy(n_items=3, n_channels=2, kind=kind, noise_std=0, **varied)
    trials = task.draw(20, rng(9))
    for trial in range(20):
        inputs = np.zeros((trials.n_steps, 3))
        targets = np.zeros((trials.n_steps, 2))
        for item in (1, 2, 3):
            vector = [trials.conditions[f"value_{item}_{k}"][trial] for k in (1, 2)]
            inputs[steps_of(trials, trial, f"stimulus_{item}"), 1:] = vector
            response = steps_of(trials, trial, f"response_{item}")
            inputs[response[0], 0] = 1
            targets[response] = vector
        np.testing.assert_allclose(trials.inputs[trial], inputs, atol=1e-6)
        np.testing.assert_allclose(trials.targets[trial], targets, atol=1e-6)


def test_values_are_even_between_their_ends_or_at_them():
    values = DelayedCopy().values(DelayedCopy().draw(5000, rng(10)).conditions).ravel()
    assert values.min() > -1
    assert values.max() < 1
    np.testing.assert_allclose(np.histogram(values, 10, (-1, 1))[0] / values.size, 0.1, atol=0.008)
    task = DelayedCopy(kind="binary")
    values = task.values(task.draw(5000, rng(11)).conditions).ravel()
    assert set(values) == {-1.0, 1.0}
    assert abs(values.mean()) < 4 / np.sqrt(values.size)


def test_copy_is_noisy_only_while_a_vector_is_shown():
    task = DelayedCopy(noise_std=1.0)
    trials = task.draw(3000, rng(12))
    shown = np.any([trials.in_epoch(f"stimulus_{k}") for k in (1, 2, 3)], axis=0)
    clean = task.over_time(np.zeros((3000, len(task.epoch_order), 3)), trials.timeline)
    for k in (1, 2, 3):
        clean[trials.in_epoch(f"stimulus_{k}"), 1:] = np.repeat(
            task.values(trials.conditions)[:, k - 1], 2, 0
        )
    noise = (trials.inputs - clean)[shown][:, 1:]
    assert noise.std() == pytest.approx(1 / np.sqrt(50), rel=4 / np.sqrt(2 * noise.size))
    assert not trials.inputs[~shown][:, 1:].any()


def test_copy_counts_the_numbers_within_the_tolerance():
    task = DelayedCopy(n_items=2, n_channels=2, tolerance=0.2)
    trials = task.draw(40, rng(13))
    ideal = trials.ideal_outputs()
    for error, expected in ((0.19, 1.0), (0.21, 0.5), (-0.21, 0.5)):
        outputs = ideal.copy()
        outputs[..., 0] += error
        assert (task.score(outputs, trials) == expected).all()
    # The mean over a response counts, not each of its steps.
    outputs = ideal.copy()
    for k in (1, 2):
        start, _ = trials.epochs[f"response_{k}"]
        outputs[:, start] += 0.5
        outputs[:, start + 1] -= 0.5
    assert (task.score(outputs, trials) == 1).all()
    # Swapped in time, both vectors are wrong where they differ enough.
    swapped = np.concatenate([ideal[:, :-4], ideal[:, -2:], ideal[:, -4:-2]], axis=1)
    values = task.values(trials.conditions)
    near = np.abs(values[:, 0] - values[:, 1]) < 0.2
    np.testing.assert_allclose(task.score(swapped, trials), near.mean(axis=1))


@pytest.mark.parametrize(("kind", "constant"), [("continuous", 0.3), ("continuous", 0.0), ("binary", 1.0)])
def test_the_best_constant_output_reaches_the_chance_score(kind, constant):
    task = DelayedCopy(kind=kind, tolerance=0.3)
    trials = task.draw(20_000, rng(14))
    score = task.score(np.full_like(trials.targets, constant), trials)
    assert score.mean() == pytest.approx(task.chance_score, abs=3.5 * score.std() / np.sqrt(20_000))


@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_the_chance_loss_of_copy_is_the_variance_of_what_is_asked(kind):
    task = DelayedCopy(kind=kind)
    trials = task.draw(5000, rng(15))
    assert (trials.targets**2).mean() == pytest.approx(task.chance_loss, rel=0.02)


def test_copy_has_no_conditions_to_cross():
    with pytest.raises(InputError, match="DelayedCopy has no conditions to cross"):
        DelayedCopy().factorial()


# --- all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task",
    [
        SequenceRecall(n_items=1, alphabet=2),
        SequenceRecall(**VARIED, gap=Uniform(50, 150), timing="batch"),
        NBack(n_back=1, n_items=3),
        NBack(**VARIED),
        DelayedCopy(n_items=1, n_channels=1, kind="binary"),
        DelayedCopy(**VARIED, dt=25.0),
    ],
)
def test_other_parameters_keep_to_the_contract_too(task):
    check_task(task)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SequenceRecall(n_items=0), "`n_items` must be a whole number of at least 1, got 0"),
        (lambda: SequenceRecall(alphabet=1), "`alphabet` must be a whole number of at least 2, got 1"),
        (lambda: SequenceRecall(gap=0), r"`gap` must last at least 1 step of dt = 50\.0 ms, got 0 ms"),
        (lambda: SequenceRecall(noise_std=-1), "`noise_std` must be a number of at least 0, got -1"),
        (lambda: NBack(n_back=0), "`n_back` must be a whole number of at least 1, got 0"),
        (lambda: NBack(n_back=3, n_items=4), "`n_items` must be a whole number of at least 5, got 4"),
        (lambda: NBack(alphabet=1), "`alphabet` must be a whole number of at least 2, got 1"),
        (lambda: NBack(match_share=0.0), "`match_share` must be a positive number, got 0"),
        (
            lambda: NBack(match_share=0.99),
            r"`match_share` must leave at least one match and one non-match among 8 answers, got 0\.99",
        ),
        (lambda: NBack(match_share=0.01), "`match_share` must leave at least one match"),
        (lambda: NBack(response=10), r"`response` must last at least 1 step of dt = 50\.0 ms, got 10 ms"),
        (lambda: DelayedCopy(n_items=2.0), "`n_items` must be a whole number of at least 1, got 2"),
        (lambda: DelayedCopy(n_channels=0), "`n_channels` must be a whole number of at least 1, got 0"),
        (lambda: DelayedCopy(kind="binry"), "unknown kind 'binry'.*did you mean 'binary'"),
        (lambda: DelayedCopy(tolerance=0), "`tolerance` must be a positive number, got 0"),
        (lambda: DelayedCopy(tolerance=1.0), r"`tolerance` must be below 1, .*got 1\.0"),
    ],
)
def test_parameters_out_of_range_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
