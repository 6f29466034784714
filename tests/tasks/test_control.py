import numpy as np
import pytest
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import NO_CHOICE, GoNoGo, StopSignal
from neurornn.tasks.control import Coin
from neurornn.testing import check_task


@pytest.mark.parametrize(
    "task",
    [GoNoGo(), GoNoGo(go_probability=0.8, delay=0), StopSignal(), StopSignal(stop_probability=0.6)],
    ids=repr,
)
def test_the_checker_finds_nothing(task):
    check_task(task)


def test_a_coin_falls_as_often_as_it_should():
    drawn = Coin(0.3).draw(20_000, np.random.default_rng(0))
    assert drawn.dtype == bool
    assert drawn.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 20_000))
    assert Coin(0.3).bounds() == (0.0, 1.0)


def test_go_no_go_step_by_step():
    task = GoNoGo(noise_std=0)
    trials = task.draw(40, np.random.default_rng(1))
    timeline = trials.timeline
    for k in range(40):
        go = trials.conditions["go"][k]
        for step in range(trials.n_steps):
            channels, target = [0.0, 0.0, 0.0], 0
            if step < timeline.start["response"][k]:
                channels[0] = 1.0
            if timeline.start["stimulus"][k] <= step < timeline.stop["stimulus"][k]:
                channels[1 if go else 2] = 1.0
            if timeline.start["response"][k] <= step < timeline.stop["response"][k] and go:
                target = 1
            assert trials.inputs[k, step].tolist() == channels
            if trials.valid[k, step]:
                assert trials.targets[k, step] == target
    # The cue goes off whether one must go or not.
    response = trials.in_epoch("response")
    assert not trials.inputs[response, 0].any()
    assert set(trials.conditions["go"].tolist()) == {True, False}


def test_delays_vary_from_trial_to_trial():
    delays = GoNoGo().draw(2000, np.random.default_rng(2)).conditions["delay_duration"]
    assert set(delays.tolist()) == set(np.arange(200.0, 1000.0, 50.0).tolist())


@pytest.mark.parametrize("share", [0.5, 0.8, 0.2])
def test_who_does_always_the_same_gets_the_chance_score(share):
    task = GoNoGo(go_probability=share)
    trials = task.draw(20_000, np.random.default_rng(3))
    outputs = np.zeros((*trials.inputs.shape[:2], 2), np.float32)
    error = 4 * np.sqrt(share * (1 - share) / 20_000)
    assert task.score(outputs, trials).mean() == pytest.approx(1 - share, abs=error)
    outputs[..., 1] = 1
    assert task.score(outputs, trials).mean() == pytest.approx(share, abs=error)
    assert task.chance_score == pytest.approx(max(share, 1 - share))


def test_withholding_counts_as_right_only_where_it_is():
    task = GoNoGo()
    trials = task.factorial(n_repeats=3)
    outputs = np.zeros((*trials.inputs.shape[:2], 2))
    outputs[trials.in_epoch("delay"), 1] = 5  # before the response nothing counts
    np.testing.assert_array_equal(task.score(outputs, trials), ~trials.conditions["go"])
    outputs[trials.in_epoch("response"), 1] = 1
    np.testing.assert_array_equal(task.score(outputs, trials), trials.conditions["go"])
    np.testing.assert_array_equal(trials.conditions["target_choice"], [NO_CHOICE] * 3 + [1] * 3)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_ideal_observer_does_as_the_formula_says(share):
    task = GoNoGo(go_probability=share, noise_std=20.0)
    trials = task.draw(20_000, np.random.default_rng(4))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    accuracy = task.ideal_accuracy(trials.conditions)
    # Ten steps: the difference has mean +-10 and standard deviation s sqrt(20).
    s = 20.0 / np.sqrt(50.0)
    threshold = -(s**2) * np.log(share / (1 - share))
    for go, mean in ((True, 10.0), (False, -10.0)):
        own = trials.conditions["go"] == go
        side = 1 if go else -1
        expected = norm.cdf(side * (mean - threshold) / (s * np.sqrt(20)))
        np.testing.assert_allclose(accuracy[own], expected, atol=1e-12)
        assert right[own].mean() == pytest.approx(expected, abs=3 * np.sqrt(0.25 / own.sum()))


def test_with_unequal_shares_another_threshold_is_worse():
    task = GoNoGo(go_probability=0.8, noise_std=20.0)
    trials = task.draw(20_000, np.random.default_rng(5))
    ideal = (task.ideal_choices(trials) == trials.conditions["target_choice"]).mean()
    difference = (trials.inputs[..., 1] - trials.inputs[..., 2]).sum(axis=1)
    naive = np.where(difference > 0, 1, NO_CHOICE) == trials.conditions["target_choice"]
    assert ideal > naive.mean() + 0.01


def test_the_ideal_observer_never_errs_without_noise_or_with_the_default_noise():
    for noise in (0.0, 1.0):
        task = GoNoGo(noise_std=noise)
        assert task.ideal_accuracy({"go": np.array([True, False])}) == pytest.approx([1, 1])
        trials = task.draw(500, np.random.default_rng(6))
        np.testing.assert_array_equal(task.ideal_choices(trials), trials.conditions["target_choice"])


@pytest.mark.parametrize("task", [GoNoGo(), StopSignal()], ids=["go_no_go", "stop_signal"])
def test_noise_is_on_the_stimuli_while_they_can_come(task):
    clean = type(task)(noise_std=0)
    noisy, calm = (own.draw(2000, np.random.default_rng(7)) for own in (task, clean))
    np.testing.assert_array_equal(noisy.inputs[..., 0], calm.inputs[..., 0])
    noise = (noisy.inputs - calm.inputs)[..., 1:]
    last = "delay" if isinstance(task, StopSignal) else "stimulus"
    during = noisy.timeline.during("stimulus", last)
    assert not noise[~during].any()
    assert noise[during].std() == pytest.approx(1 / np.sqrt(task.dt), rel=0.02)


def test_stop_signal_step_by_step():
    task = StopSignal(noise_std=0)
    trials = task.draw(60, np.random.default_rng(8))
    timeline = trials.timeline
    for k in range(60):
        stop, side = trials.conditions["stop"][k], trials.conditions["side"][k]
        for step in range(timeline.end[k]):
            shown = timeline.start["stimulus"][k] <= step < timeline.start["response"][k]
            stopping = bool(stop) and timeline.start["delay"][k] <= step < timeline.start["response"][k]
            responding = step >= timeline.start["response"][k]
            expected = [not responding, shown and side == "left", shown and side == "right", stopping]
            assert trials.inputs[k, step].tolist() == [float(own) for own in expected]
            answer = {"left": 1, "right": 2}[str(side)]
            assert trials.targets[k, step] == (answer if responding and not stop else 0)


def test_nothing_tells_beforehand_that_a_stop_signal_comes():
    trials = StopSignal(noise_std=0).draw(4000, np.random.default_rng(9))
    stop, lag = trials.conditions["stop"], trials.conditions["stimulus_duration"]
    assert stop.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / 4000))
    for own in (100.0, 200.0, 300.0, 400.0):
        there = lag == own
        assert stop[there].mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / there.sum()))


def test_the_chance_of_the_stop_task_is_that_of_the_most_frequent_answer():
    task = StopSignal()
    trials = task.draw(20_000, np.random.default_rng(10))
    shares = []
    for answer in range(3):
        outputs = np.zeros((*trials.inputs.shape[:2], 3), np.float32)
        outputs[..., answer] = 1
        shares.append(task.score(outputs, trials).mean())
    assert max(shares) == pytest.approx(task.chance_score, abs=0.012)
    assert shares == pytest.approx([0.25, 0.375, 0.375], abs=0.014)
    assert StopSignal(stop_probability=0.6).chance_score == 0.6


@pytest.mark.parametrize("task", [GoNoGo(), StopSignal()], ids=["go_no_go", "stop_signal"])
def test_constant_inputs_are_inputs_of_a_trial(task):
    trials = type(task)(noise_std=0).factorial()
    shown = trials.inputs[trials.valid]
    for label, constant in task.constant_inputs().items():
        assert (shown == constant).all(axis=1).any(), label


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: GoNoGo(go_probability=1.0),
            r"`go_probability` must lie between 0 and 1, got 1\.0: both kinds",
        ),
        (lambda: GoNoGo(go_probability=0.0), r"`go_probability` must lie between 0 and 1, got 0\.0"),
        (
            lambda: GoNoGo(go_probability="half"),
            "`go_probability` must be a number of at least 0, got 'half'",
        ),
        (lambda: GoNoGo(stimulus=10), "`stimulus` must last at least 1 step"),
        (lambda: StopSignal(stop_probability=0), "`stop_probability` must lie between 0 and 1, got 0: both"),
        (lambda: StopSignal(delay=0), "`delay` must last at least 1 step"),
        (lambda: StopSignal(noise_std=-1), "`noise_std` must be a number of at least 0, got -1"),
    ],
)
def test_wrong_parameters_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
