import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import NO_CHOICE, Adding, Copy, DelayedXOR, Latching, TemporalOrder, Uniform
from neurornn.testing import check_task
from neurornn.training import masked_loss

N = 20_000


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    "task",
    [
        Adding(form="original"),
        Adding(stimulus=Uniform(20, 40)),
        Adding(form="original", stimulus=Uniform(20, 22)),
        Copy(delay=Uniform(1, 30), n_letters=3, sequence_length=4),
        Copy(sequence_length=1, delay=1),
        TemporalOrder(framed=False),
        TemporalOrder(stimulus=Uniform(20, 40)),
        TemporalOrder(stimulus=4),
        Latching(delay=0),
        Latching(delay=Uniform(5, 30)),
        DelayedXOR(catch_probability=0.3, delay_1=Uniform(0, 500), stimulus=Uniform(100, 300)),
    ],
    ids=repr,
)
def test_forms_that_are_not_the_defaults_pass_the_checker(task):
    check_task(task)


# Adding -------------------------------------------------------------------------------------------------


def one_by_one(task, trials, k):
    """Return the target of a trial as its inputs tell it, read step by step, and the markers' steps."""
    length = int(trials.valid[k].sum())
    values, markers = trials.inputs[k, :length].T.astype(float)
    marked = [t for t in range(length) if markers[t] == 1]
    total = sum(values[t] for t in marked)
    return (total if task.form == "unit" else 0.5 + total / 4), marked, length


@given(
    form=st.sampled_from(["unit", "original"]),
    low=st.integers(4, 60),
    spread=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_the_sum_is_that_of_the_marked_numbers(form, low, spread, seed):
    task = Adding(form=form, stimulus=Uniform(low, low + spread))
    trials = task.draw(5, rng(seed))
    for k in range(5):
        answer, marked, length = one_by_one(task, trials, k)
        assert trials.targets[k, length - 1, 0] == pytest.approx(answer, abs=1e-6)
        assert np.flatnonzero(trials.mask[k, :, 0]).tolist() == [length - 1]
        places = [int(trials.conditions[f"{name}_time"][k]) for name in ("first", "second")]
        half = length // 2
        if form == "unit":
            assert marked == places
            assert marked[0] < half <= marked[1] < length
            assert not (set(trials.inputs[k, :, 1].tolist()) - {0.0, 1.0})
        else:
            # The first step's marker gives way to that of the beginning, and its number is 0.
            assert set(marked) == set(places) - {0}
            assert trials.inputs[k, 0, 1] == trials.inputs[k, length - 1, 1] == -1
            assert (0 in places) == (trials.inputs[k, 0, 0] == 0)
            assert places[0] < min(10, half)
            assert places[1] < half
            assert places[0] != places[1]


@pytest.mark.parametrize("length", [7, 20, 50])
def test_markers_and_numbers_come_evenly(length):
    trials = Adding(stimulus=length).draw(N, rng(1))
    half = length // 2
    for name, low, n_places in (("first", 0, half), ("second", half, length - half)):
        counts = np.bincount((trials.conditions[f"{name}_time"] - low).astype(int), minlength=n_places)
        assert counts.size == n_places
        assert np.abs(counts - N / n_places).max() < 5 * math.sqrt(N / n_places)
    values = trials.inputs[..., 0]
    assert 0 <= values.min() < values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * values.size))
    assert values.var() == pytest.approx(1 / 12, rel=4 * math.sqrt(0.8 / values.size))


def test_the_original_form_places_its_markers_as_the_paper_says():
    trials = Adding(form="original", stimulus=50).draw(N, rng(2))
    first, second = (trials.conditions[f"{name}_time"].astype(int) for name in ("first", "second"))
    counts = np.bincount(first, minlength=10)
    assert counts.size == 10
    assert np.abs(counts - N / 10).max() < 5 * math.sqrt(N / 10)
    # One of the first 24 steps that the first marker leaves: the 25th where it stands among them, as it does.
    left = second - (second > first)
    counts = np.bincount(left, minlength=24)
    assert counts.size == 24
    assert np.abs(counts - N / 24).max() < 5 * math.sqrt(N / 24)
    assert trials.inputs[..., 0].min() < -0.99


@pytest.mark.parametrize(
    "task", [Adding(), Adding(form="original"), Adding(form="original", stimulus=8), Adding(tolerance=0.3)]
)
def test_the_chance_of_adding_is_that_of_saying_the_mean(task):
    trials = task.draw(4 * N, rng(3))
    answers = trials.targets[:, -1, 0].astype(float)
    mean = 1.0 if task.form == "unit" else 0.5
    assert answers.mean() == pytest.approx(mean, abs=4 * answers.std() / math.sqrt(answers.size))
    squares = (answers - mean) ** 2
    error = squares.std() / math.sqrt(squares.size)
    assert squares.mean() == pytest.approx(task.chance_loss, abs=3 * error)
    outputs = np.full(trials.targets.shape, mean)
    score = task.score(outputs, trials)
    assert score.mean() == pytest.approx(task.chance_score, abs=3 * score.std() / math.sqrt(score.size))
    # No other constant does better.
    for other in mean + np.array([-0.2, -0.1, 0.1, 0.2]):
        assert task.score(np.full(outputs.shape, other), trials).mean() < task.chance_score + 3 * error


def test_the_chance_of_adding_in_numbers():
    assert Adding().chance_loss == 1 / 6
    assert Adding(stimulus=Uniform(40, 60)).chance_loss == 1 / 6
    assert Adding().chance_score == pytest.approx(0.0784)
    blanked = 0.1 + 0.9 / 24
    assert Adding(form="original").chance_loss == pytest.approx((2 - blanked) / 48)
    assert Adding(form="original").chance_score == pytest.approx((1 - blanked) * 0.1536 + blanked * 0.16)
    varied = Adding(form="original", stimulus=Uniform(40, 60))
    assert varied.chance_loss is None
    assert varied.chance_score == pytest.approx(0.16)
    assert Adding(tolerance=5.0).chance_score == Adding(form="original", tolerance=5.0).chance_score == 1


def test_the_chance_loss_is_what_the_training_loss_gives():
    torch = pytest.importorskip("torch")
    for task, outputs in (
        (Adding(), lambda trials: np.ones(trials.targets.shape)),
        (Latching(), lambda trials: np.zeros(trials.targets.shape)),
        (TemporalOrder(), lambda trials: np.zeros((*trials.targets.shape, 4))),
        (Copy(), saying_blank_then_any_letter),
    ):
        trials = task.draw(4000, rng(4))
        targets, mask = torch.as_tensor(trials.targets), torch.as_tensor(trials.mask)
        loss = masked_loss(torch.as_tensor(outputs(trials), dtype=torch.float32), targets, mask, task.loss)
        assert float(loss) == pytest.approx(task.chance_loss, rel=0.04 if task == Adding() else 1e-4)


def saying_blank_then_any_letter(trials):
    outputs = np.zeros((*trials.targets.shape, trials.task.n_outputs))
    answering = trials.in_epoch("response")
    outputs[~answering, 0] = 30
    outputs[answering, 0] = -30
    return outputs


def test_only_the_last_step_of_adding_counts_and_the_tolerance_is_strict():
    task = Adding(stimulus=Uniform(10, 30))
    trials = task.draw(50, rng(5))
    last = trials.valid.sum(axis=1) - 1
    answers = trials.targets[np.arange(50), last, 0]
    outputs = np.full(trials.targets.shape, 77.0)
    for error, score in ((0, 1), (0.0399, 1), (-0.0399, 1), (0.0401, 0), (-0.0401, 0)):
        outputs[np.arange(50), last, 0] = answers + error
        assert (task.score(outputs, trials) == score).all()
    assert (Adding(stimulus=50, tolerance=0.5).score(np.ones((9, 50, 1)), Adding().draw(9, rng()))).sum() > 3
    few = trials.select(np.argsort(last)[:5])
    assert (task.score(few.ideal_outputs(), few) == 1).all()


# Copy ---------------------------------------------------------------------------------------------------


@given(
    n_letters=st.integers(2, 12),
    sequence_length=st.integers(1, 12),
    delay=st.integers(1, 20),
    dt=st.sampled_from([0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_what_is_copied_is_what_was_shown(n_letters, sequence_length, delay, dt, seed):
    task = Copy(n_letters=n_letters, sequence_length=sequence_length, delay=delay, dt=dt)
    trials = task.draw(3, rng(seed))
    wait = round(delay / dt)
    assert trials.n_steps == wait + 2 * sequence_length
    for k in range(3):
        symbols = [int(np.flatnonzero(step)[0]) for step in trials.inputs[k]]
        assert (trials.inputs[k].sum(axis=1) == 1).all()
        letters = symbols[:sequence_length]
        assert all(1 <= letter <= n_letters for letter in letters)
        waiting = [0] * (wait - 1) + [n_letters + 1]
        assert symbols == letters + waiting + [0] * sequence_length
        assert trials.targets[k].tolist() == [0] * (sequence_length + wait) + letters
        told = [int(trials.conditions[f"letter_{place}"][k]) for place in range(1, sequence_length + 1)]
        assert told == letters
    assert (trials.mask == 1).all()


def test_delays_of_different_length_end_with_the_delimiter():
    task = Copy(delay=Uniform(1, 30), sequence_length=3)
    trials = task.draw(40, rng(6))
    start, stop = trials.epochs["response"]
    for k in range(40):
        assert np.flatnonzero(trials.inputs[k, :, 9]).tolist() == [start[k] - 1]
        np.testing.assert_array_equal(
            trials.targets[k, start[k] : stop[k]], trials.inputs[k, :3].argmax(axis=1)
        )
        assert not trials.targets[k, : start[k]].any()
        assert not trials.mask[k, stop[k] :].any()
    assert task.chance_loss is None
    assert (task.score(trials.ideal_outputs(), trials) == 1).all()


def test_letters_are_independent_and_equally_frequent():
    trials = Copy().draw(N, rng(7))
    letters = trials.inputs[:, :10].argmax(axis=-1)
    counts = np.stack([np.bincount(own, minlength=9) for own in letters.T])
    assert not counts[:, 0].any()
    assert np.abs(counts[:, 1:] - N / 8).max() < 5 * math.sqrt(N / 8)
    correlation = np.corrcoef(letters.T)
    assert np.abs(correlation - np.eye(10)).max() < 5 / math.sqrt(N)


def test_the_score_of_copying_is_the_share_of_letters():
    task = Copy()
    trials = task.draw(6, rng(8))
    outputs = trials.ideal_outputs()
    outputs[:, :30] = 99 * np.eye(9)[5]  # what is said before the response does not count
    outputs[0, 30:33] = 0  # silence is blank, which is no letter
    outputs[1, 30] = np.roll(outputs[1, 30], 1)
    outputs[2, 30:] = np.eye(9)[0]
    np.testing.assert_allclose(task.score(outputs, trials), [0.7, 0.9, 0, 1, 1, 1])
    assert task.chance_score == 1 / 8
    always = np.zeros((N, 40, 9))
    always[..., 3] = 1
    many = task.draw(N, rng(9))
    assert task.score(always, many).mean() == pytest.approx(
        1 / 8, abs=3 * math.sqrt(7) / 8 / math.sqrt(10 * N)
    )


def test_the_baseline_of_copying_is_the_papers():
    assert Copy().chance_loss == pytest.approx(10 * math.log(8) / 40)
    assert Copy(delay=100).chance_loss == pytest.approx(10 * math.log(8) / 120)
    assert Copy(n_letters=4, sequence_length=5, delay=30).chance_loss == pytest.approx(5 * math.log(4) / 40)


# Temporal order -----------------------------------------------------------------------------------------


@given(
    framed=st.booleans(),
    low=st.integers(4, 120),
    spread=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_the_class_is_the_order_of_the_two_symbols(framed, low, spread, seed):
    task = TemporalOrder(framed=framed, stimulus=Uniform(low, low + spread))
    trials = task.draw(5, rng(seed))
    labels = task.input_labels
    for k in range(5):
        length = int(trials.valid[k].sum())
        shown = [labels[int(step.argmax())] for step in trials.inputs[k, :length]]
        assert (trials.inputs[k, :length].sum(axis=1) == 1).all()
        matter = [t for t, symbol in enumerate(shown) if symbol in "XY"]
        order = "".join(shown[t] for t in matter)
        assert task.output_labels[trials.targets[k, length - 1]] == order == trials.conditions["order"][k]
        assert matter == [trials.conditions["first_time"][k], trials.conditions["second_time"][k]]
        assert 1 <= matter[0] < matter[1] < length - 1
        if length >= 10:
            assert length // 10 <= matter[0] <= 2 * length // 10
            assert 5 * length // 10 <= matter[1] <= 6 * length // 10
        assert np.flatnonzero(trials.mask[k]).tolist() == [length - 1]
        if framed:
            assert shown[0] == "start"
            assert shown[-1] == "end"
            assert shown.count("start") == shown.count("end") == 1


def test_places_classes_and_other_symbols_come_evenly():
    task = TemporalOrder(stimulus=100)
    trials = task.draw(N, rng(10))
    for name, low in (("first", 10), ("second", 50)):
        counts = np.bincount(trials.conditions[f"{name}_time"].astype(int) - low, minlength=11)
        assert counts.size == 11
        assert np.abs(counts - N / 11).max() < 5 * math.sqrt(N / 11)
    counts = np.bincount(trials.conditions["target_choice"], minlength=4)
    assert np.abs(counts - N / 4).max() < 5 * math.sqrt(N / 4)
    share = trials.inputs[..., 2:6].sum(axis=(0, 1)) / (96 * N)
    assert np.abs(share - 0.25).max() < 5 * math.sqrt(0.25 / (96 * N))
    assert task.chance_loss == math.log(4)


def test_the_last_outputs_largest_one_is_the_class_that_is_chosen():
    task = TemporalOrder(stimulus=Uniform(10, 30))
    trials = task.draw(40, rng(11))
    last = trials.valid.sum(axis=1) - 1
    outputs = np.zeros((40, trials.n_steps, 4))
    outputs[..., 3] = 5
    outputs[np.arange(40), last] = np.eye(4)[(trials.conditions["target_choice"] + 1) % 4]
    assert not task.score(outputs, trials).any()
    outputs[:20] = 0
    outputs[np.arange(20), last[:20], trials.conditions["target_choice"][:20]] = 0.01
    np.testing.assert_array_equal(task.score(outputs, trials), np.arange(40) < 20)
    np.testing.assert_array_equal(task.choose(outputs, trials)[:20], trials.conditions["target_choice"][:20])


def test_the_channels_of_both_papers():
    assert TemporalOrder(framed=False).input_labels == ("X", "Y", "a", "b", "c", "d")
    assert TemporalOrder().input_labels[-2:] == ("start", "end")
    assert set(TemporalOrder().constant_inputs()) == {"symbol a", "symbol b", "symbol c", "symbol d"}


# Latching -----------------------------------------------------------------------------------------------


def test_the_bit_is_told_first_and_noise_follows():
    task = Latching(strength=1.5)
    trials = task.draw(N, rng(12))
    bit = trials.conditions["bit"]
    assert trials.epochs == {"stimulus": (0, 3), "delay": (3, 20)}
    np.testing.assert_array_equal(trials.inputs[:, :3, 0], 1.5 * np.repeat(bit[:, None], 3, axis=1))
    noise = trials.inputs[:, 3:, 0]
    assert noise.var() == pytest.approx(0.2, rel=4 * math.sqrt(2 / noise.size))
    assert noise.mean() == pytest.approx(0, abs=4 * math.sqrt(0.2 / noise.size))
    correlation = np.corrcoef(np.column_stack([noise, bit]).T)
    assert np.abs(correlation - np.eye(18)).max() < 5 / math.sqrt(N)
    assert abs(bit.mean()) < 4 / math.sqrt(N)
    np.testing.assert_allclose(trials.targets[:, -1, 0], 0.8 * bit, rtol=1e-6)
    assert not trials.targets[:, :-1].any()
    assert not trials.mask[:, :-1].any()
    assert (trials.mask[:, -1] == 1).all()
    assert task.chance_loss == pytest.approx(0.64)


def test_the_variance_of_the_noise_grows_with_the_rate_of_steps():
    noise = Latching(dt=0.5).draw(2000, rng(13)).inputs[:, 6:, 0]
    assert noise.shape[1] == 34
    assert noise.var() == pytest.approx(0.4, rel=5 * math.sqrt(2 / noise.size))


def test_only_the_sign_of_the_last_output_counts():
    task = Latching(delay=Uniform(1, 20))
    trials = task.draw(30, rng(14))
    last = trials.valid.sum(axis=1) - 1
    outputs = -trials.conditions["bit"][:, None, None] * np.ones(trials.targets.shape)
    assert not task.score(outputs, trials).any()
    outputs[np.arange(30), last, 0] = 0.01 * trials.conditions["bit"]
    assert task.score(outputs, trials).all()
    assert not task.score(np.zeros(outputs.shape), trials).any()


# Delayed exclusive or -----------------------------------------------------------------------------------


def test_the_answer_is_whether_the_signs_agree():
    task = DelayedXOR(noise_std=0)
    trials = task.draw(200, rng(15))
    assert trials.epochs == {
        "fixation": (0, 5),
        "stimulus_1": (5, 10),
        "delay_1": (10, 20),
        "stimulus_2": (20, 25),
        "delay_2": (25, 30),
        "response": (30, 35),
    }
    for k in range(200):
        first, second = (set(trials.inputs[k, a:b, c].tolist()) for a, b, c in ((5, 10, 1), (20, 25, 2)))
        assert first in ({1.0}, {-1.0})
        assert second in ({1.0}, {-1.0})
        assert trials.targets[k, 30:].tolist() == [1 if first == second else 2] * 5
    assert not trials.targets[:, :30].any()
    outside = np.ones(35, bool)
    outside[5:10] = outside[20:25] = False
    assert not trials.inputs[:, outside, 1:].any()
    assert (trials.inputs[..., 0] == (np.arange(35) < 30)).all()


def test_neither_stimulus_alone_tells_the_answer():
    trials = DelayedXOR().draw(N, rng(16))
    for name in ("first", "second"):
        correlation = np.corrcoef(trials.conditions[name], trials.conditions["target_choice"])[0, 1]
        assert abs(correlation) < 4 / math.sqrt(N)


@pytest.mark.parametrize(
    "task",
    [
        DelayedXOR(noise_std=20.0),
        DelayedXOR(noise_std=10.0, stimulus=100.0),
        DelayedXOR(noise_std=15.0, stimulus=Uniform(50, 400)),
        DelayedXOR(noise_std=15.0, catch_probability=0.3),
    ],
)
def test_the_ideal_observer_does_as_the_formula_says(task):
    trials = task.draw(N, rng(17))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    expected = task.ideal_accuracy(trials.conditions)
    error = math.sqrt((expected * (1 - expected)).mean() / N)
    assert right.mean() == pytest.approx(expected.mean(), abs=3 * error)
    assert 0.5 < expected.mean() < 0.95


def test_the_ideal_accuracy_in_numbers():
    conditions = DelayedXOR().factorial().conditions
    p = norm.cdf(math.sqrt(250) / 20)
    np.testing.assert_allclose(
        DelayedXOR(noise_std=20).ideal_accuracy(conditions), p * p + (1 - p) ** 2, rtol=1e-12
    )
    np.testing.assert_allclose(
        DelayedXOR(noise_std=20, dt=25).ideal_accuracy(conditions), p * p + (1 - p) ** 2, rtol=1e-12
    )
    assert (DelayedXOR(noise_std=0).ideal_accuracy(conditions) == 1).all()
    assert (DelayedXOR().ideal_accuracy(conditions) > 1 - 1e-9).all()


def test_catch_trials_ask_for_nothing():
    task = DelayedXOR(catch_probability=0.5)
    trials = task.draw(100, rng(18))
    catch = trials.conditions["catch"]
    assert 20 < catch.sum() < 80
    assert not trials.inputs[catch, :, 1:].any()
    assert (task.ideal_choices(trials)[catch] == NO_CHOICE).all()
    assert (task.ideal_accuracy(trials.conditions)[catch] == 1).all()


# Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "parameters", "sentence"),
    [
        (Adding, {"form": "orginal"}, "unknown form 'orginal'.*did you mean 'original'"),
        (Adding, {"tolerance": 0}, "`tolerance` must be a positive number, got 0"),
        (
            Adding,
            {"stimulus": 1},
            r"`stimulus` must last at least 2 steps of dt = 1\.0 ms, got 1 ms: lengthen",
        ),
        (Adding, {"stimulus": 3, "form": "original"}, "at least 4 steps of dt"),
        (Adding, {"stimulus": Uniform(1, 30)}, r"at least 2 steps .*got Uniform\(1, 30\) ms"),
        (Adding, {"dt": 0}, "`dt` must be a positive number of ms"),
        (Copy, {"n_letters": 1}, "`n_letters` must be a whole number of at least 2, got 1"),
        (Copy, {"sequence_length": 0}, "`sequence_length` must be a whole number of at least 1, got 0"),
        (Copy, {"sequence_length": 2.5}, "`sequence_length` must be a whole number"),
        (Copy, {"delay": 0}, "`delay` must last at least 1 step of dt"),
        (TemporalOrder, {"framed": 1}, "`framed` must be True or False, got 1"),
        (TemporalOrder, {"stimulus": 3}, r"`stimulus` must last at least 4 steps of dt = 1\.0 ms, got 3 ms"),
        (Latching, {"strength": -1}, "`strength` must be a positive number, got -1"),
        (Latching, {"noise_std": -1}, "`noise_std` must be a number of at least 0, got -1"),
        (Latching, {"stimulus": 0}, "`stimulus` must last at least 1 step"),
        (DelayedXOR, {"delay_1": "long"}, "`delay_1` must be a number or one of"),
        (DelayedXOR, {"catch_probability": 1.0}, r"`catch_probability` must be in \[0, 1\), got 1\.0"),
        (DelayedXOR, {"timing": "trials"}, "unknown timing 'trials'.*did you mean 'trial'"),
    ],
)
def test_parameters_out_of_range_are_refused(task, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        task(**parameters)


def test_a_duration_as_text_is_the_value():
    assert TemporalOrder(stimulus="Uniform(100, 111)") == TemporalOrder(stimulus=Uniform(100, 111))
