import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import Choice, Exponential, MotorTiming, OneTwoThreeGo, ReadySetGo, Uniform
from neurornn.testing import check_task

TASKS = (ReadySetGo, MotorTiming, OneTwoThreeGo)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"dt": 20.0, "interval": Uniform(400, 900)},
        {"interval": 777.0, "timing": "batch"},
        {"interval": "Exponential(200, 300, 1200)", "pulse": 120.0, "tolerance": 0.05},
    ],
)
def test_variants_keep_to_what_every_task_must(kind, parameters):
    check_task(kind(**parameters))


def plain_trial(starts, interval, wanted, n_steps, dt):
    """What a trial of one channel per pulse and its ramp must be, by a loop over the steps."""
    pulses, ramp = np.zeros(n_steps), np.zeros(n_steps)
    for step in range(n_steps):
        now = step * dt
        for start in starts:
            pulses[step] += start <= now < start + 50
        ramp[step] = max(0.0, (now - starts[-1]) / wanted)
    return pulses, ramp


def test_ready_and_set_are_an_interval_apart_and_the_ramp_reaches_1_after_gain_times_it():
    task = ReadySetGo(noise_std=0)
    trials = task.draw(50, np.random.default_rng(1))
    for k in range(50):
        n = trials.valid[k].sum()
        interval, gain = trials.conditions["interval_duration"][k], trials.conditions["gain"][k]
        ready = trials.conditions["fixation_duration"][k]
        pulses, ramp = plain_trial([ready, ready + interval], interval, gain * interval, n, 50)
        np.testing.assert_array_equal(trials.inputs[k, :n, :2].sum(axis=1), pulses)
        assert np.flatnonzero(trials.inputs[k, :, 0])[0] * 50 == ready
        assert np.flatnonzero(trials.inputs[k, :, 1])[0] * 50 == ready + interval
        assert (trials.inputs[k, :n, 2] == np.float32(gain)).all()
        np.testing.assert_allclose(trials.targets[k, :n, 0], ramp, atol=1e-6)
        assert n * 50 == ready + interval + gain * interval + 300
        assert not trials.targets[k, n:].any()
    assert trials.conditions["production_interval"].max() == 1500
    assert set(task.factorial().conditions["gain"].tolist()) == {1.0, 1.5}
    assert task.factorial().n_trials == 12


def test_the_cue_tells_the_interval_in_seconds_and_set_begins_it():
    task = MotorTiming(noise_std=0, interval=Choice(300.0, 800.0, 1500.0))
    trials = task.draw(50, np.random.default_rng(2))
    for k in range(50):
        n, interval = trials.valid[k].sum(), trials.conditions["interval_duration"][k]
        start = 100 + trials.conditions["stimulus_duration"][k]
        pulses, ramp = plain_trial([start], interval, interval, n, 50)
        np.testing.assert_array_equal(trials.inputs[k, :n, 1], pulses)
        assert not trials.inputs[k, :2, 0].any()
        np.testing.assert_allclose(trials.inputs[k, 2:n, 0], interval / 1000, rtol=1e-6)
        np.testing.assert_allclose(trials.targets[k, :n, 0], ramp, atol=1e-6)
    assert list(task.constant_inputs()) == ["300 ms", "800 ms", "1500 ms"]
    np.testing.assert_allclose(task.constant_inputs()["800 ms"], [0.8, 0])


def test_three_beats_at_equal_distances_then_the_ramp():
    task = OneTwoThreeGo(noise_std=0)
    trials = task.draw(50, np.random.default_rng(3))
    for k in range(50):
        n, interval = trials.valid[k].sum(), trials.conditions["interval_duration"][k]
        start = trials.conditions["fixation_duration"][k] + interval * np.arange(3)
        pulses, ramp = plain_trial(start, interval, interval, n, 50)
        np.testing.assert_array_equal(trials.inputs[k, :n, 0], pulses)
        np.testing.assert_allclose(trials.targets[k, :n, 0], ramp, atol=1e-6)
    assert task.output_labels == ("ramp",)


@pytest.mark.parametrize("kind", TASKS)
def test_noise_has_the_standard_deviation_that_was_asked_for_in_every_valid_step(kind):
    noisy, plain = kind(noise_std=3.0), kind(noise_std=0)
    trials, without = (task.draw(400, np.random.default_rng(4)) for task in (noisy, plain))
    np.testing.assert_array_equal(trials.valid, without.valid)
    noise = (trials.inputs - without.inputs)[trials.valid]
    assert noise.std() == pytest.approx(3 / np.sqrt(50), rel=4 / np.sqrt(2 * noise.size))
    assert not trials.inputs[~trials.valid].any()


def test_a_production_is_timed_between_steps_by_a_straight_line():
    task = ReadySetGo(interval=600, gains=(1.0,), fixation=100, noise_std=0)
    trials = task.draw(1, np.random.default_rng(0))
    go = trials.epochs["go"][0]
    assert go == 14
    outputs = np.zeros((1, trials.n_steps, 1))
    outputs[0, go + 10 :] = 0.5
    assert np.isnan(task.production_time(outputs, trials)).all()
    assert task.score(outputs, trials) == 0
    outputs[0, go + 11 :] = 2.5
    # From .5 at 500 ms to 2.5 at 550 ms: 1 is reached a quarter of the way.
    assert task.production_time(outputs, trials) == pytest.approx(512.5)
    assert task.score(outputs, trials) == 1
    # What happens after the first crossing does not count.
    outputs[0, go + 12 :] = -5
    assert task.production_time(outputs, trials) == pytest.approx(512.5)


def test_a_movement_before_set_or_after_the_trial_is_none():
    task = ReadySetGo(interval=600, gains=(1.0,), fixation=100, noise_std=0)
    trials = task.draw(1, np.random.default_rng(0))
    go = trials.epochs["go"][0]
    early = trials.ideal_outputs()
    early[0, go - 1] = 1
    assert np.isnan(task.production_time(early, trials)).all()
    assert task.score(early, trials) == 0
    at_once = np.zeros_like(early)
    at_once[0, go:] = 1
    assert task.production_time(at_once, trials) == 0
    assert task.score(at_once, trials) == 0
    assert np.isnan(task.production_time(0.5 * early, trials)).all()


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("share", [0.84, 0.86, 1.0, 1.14, 1.16])
def test_a_production_counts_within_fifteen_percent_of_the_interval(kind, share):
    task = kind()
    trials = task.draw(40, np.random.default_rng(5))
    outputs = trials.targets.astype(float) / share
    np.testing.assert_allclose(
        task.production_time(outputs, trials), share * trials.conditions["production_interval"], rtol=1e-5
    )
    assert (task.score(outputs, trials) == (0.85 < share < 1.15)).all()


@given(
    interval=st.floats(100, 2000),
    gain=st.floats(0.3, 3),
    dt=st.sampled_from([1.0, 7.0, 10.0, 20.0, 33.3, 50.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_targets_reach_the_threshold_in_time_though_the_response_lasts_one_step(interval, gain, dt):
    task = ReadySetGo(interval=interval, gains=(gain,), pulse=1.0, dt=dt, response=dt, noise_std=0)
    trials = task.draw(2, np.random.default_rng(0))
    wanted = trials.conditions["production_interval"]
    assert (np.abs(wanted - gain * interval) <= gain * dt * (1 + 1e-6)).all()
    np.testing.assert_allclose(task.production_time(trials.ideal_outputs(), trials), wanted, rtol=1e-5)
    assert (task.score(trials.ideal_outputs(), trials) == 1).all()


@pytest.mark.parametrize("kind", TASKS)
def test_chance_is_the_best_fixed_time(kind):
    task = kind()
    trials = task.draw(4000, np.random.default_rng(0))
    go = trials.timeline.start["go"] * 50.0
    wanted = trials.conditions["production_interval"]
    right = [(np.abs(time - go - wanted) <= 0.15 * wanted + 1e-6).mean() for time in np.arange(0, 4000, 2.5)]
    assert max(right) <= task.chance_score + 1e-12
    assert max(right) == pytest.approx(task.chance_score, abs=0.03)


def test_chance_is_1_where_there_is_one_interval_at_one_time():
    assert ReadySetGo(interval=700, gains=(1,), fixation=100).chance_score == 1


def test_the_shown_interval_has_scalar_noise_and_the_true_one_is_asked_for():
    task = ReadySetGo(interval=Choice(400.0, 1600.0), gains=(1.0,), weber_fraction=0.1, dt=5.0, noise_std=0)
    trials = task.draw(4000, np.random.default_rng(6))
    shown, true = trials.conditions["measured_interval"], trials.conditions["interval_duration"]
    for level in (400.0, 1600.0):
        own = shown[true == level]
        assert own.std() == pytest.approx(0.1 * level, rel=4 / np.sqrt(2 * own.size))
        assert own.mean() == pytest.approx(level, abs=4 * 0.1 * level / np.sqrt(own.size))
    np.testing.assert_array_equal(trials.conditions["production_interval"], true)
    np.testing.assert_array_equal(trials.timeline.length("stimulus") * 5.0, shown)
    assert (task.score(trials.ideal_outputs(), trials) == 1).all()
    wild = ReadySetGo(weber_fraction=2.0, pulse=100.0).draw(500, np.random.default_rng(7))
    assert wild.conditions["measured_interval"].min() == 100


@pytest.mark.parametrize("measured", [350.0, 500.0, 741.0, 1000.0, 1300.0])
def test_bayes_least_squares_is_the_posterior_mean(measured):
    task = ReadySetGo(interval=Uniform(500, 1000), weber_fraction=0.15)

    def likelihood(t):
        return norm.pdf(measured, t, 0.15 * t)

    mean = quad(lambda t: t * likelihood(t), 500, 1000)[0] / quad(likelihood, 500, 1000)[0]
    assert task.bayes_least_squares(np.array(measured)) == pytest.approx(mean, rel=1e-5)
    falling = ReadySetGo(interval=Exponential(100, 500, 1000), weber_fraction=0.15)

    def posterior(t):
        return likelihood(t) * np.exp(-t / 100)

    mean = quad(lambda t: t * posterior(t), 500, 1000)[0] / quad(posterior, 500, 1000)[0]
    assert falling.bayes_least_squares(np.array(measured)) == pytest.approx(mean, rel=1e-4)


def test_bayes_least_squares_of_two_intervals_is_their_weighted_mean():
    task = ReadySetGo(interval=Choice(600.0, 900.0, 900.0), weber_fraction=0.1)
    weight = np.array([1 / 3, 2 / 3]) * norm.pdf(700, [600, 900], [60, 90])
    expected = (weight * [600, 900]).sum() / weight.sum()
    assert task.bayes_least_squares(np.array([700.0])) == pytest.approx([expected])
    # Far from all intervals no likelihood may underflow to 0 / 0.
    assert np.isfinite(task.bayes_least_squares(np.array([0.0, 1e5]))).all()
    assert ReadySetGo().bayes_least_squares(np.array([500.0])) == 500
    fixed = ReadySetGo(interval=610.0, weber_fraction=0.1)
    assert fixed.bayes_least_squares(np.array([300.0])) == pytest.approx(600)


def test_no_other_function_of_the_shown_interval_does_better_than_bayes_least_squares():
    task = ReadySetGo(interval=Uniform(500, 1000), weber_fraction=0.1, dt=1.0, noise_std=0, response=1.0)
    rng = np.random.default_rng(8)
    conditions = task.complete(20_000, {"interval": rng.uniform(500, 1000, 20_000)}, rng)
    shown, true = conditions["measured_interval"], conditions["interval_duration"]
    own = ((task.bayes_least_squares(shown) - true) ** 2).mean()
    line = np.polynomial.Polynomial.fit(shown, true, 1)(shown)
    assert own < ((line - true) ** 2).mean()
    assert own < 0.95 * ((shown - true) ** 2).mean()
    # The best there is, without any model: the mean of the true intervals in each bin of shown ones.
    places = np.digitize(shown, np.quantile(shown, np.linspace(0, 1, 41)[1:-1]))
    binned = np.array([true[places == k].mean() for k in range(40)])[places]
    assert own == pytest.approx(((binned - true) ** 2).mean(), rel=0.02)


def test_constant_inputs_are_those_between_pulses():
    assert list(ReadySetGo().constant_inputs()) == ["gain 1", "gain 1.5"]
    trials = ReadySetGo(noise_std=0, gains=(1.5,)).draw(1, np.random.default_rng(0))
    np.testing.assert_array_equal(ReadySetGo().constant_inputs()["gain 1.5"], trials.inputs[0, 0])
    np.testing.assert_array_equal(OneTwoThreeGo().constant_inputs()["between beats"], [0])


def test_an_interval_written_as_text_becomes_its_value():
    assert ReadySetGo(interval="Uniform(500, 900)") == ReadySetGo(interval=Uniform(500, 900))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"interval": 40.0}, r"`interval` must last at least 1 step of dt = 50\.0 ms"),
        (
            {"interval": Uniform(100, 500), "pulse": 150.0},
            r"`pulse` must be at most the shortest interval, 100",
        ),
        ({"interval": Exponential(100, 100)}, "`interval` must have an end"),
        ({"interval": "soon"}, "`interval` must be a number or one of"),
        ({"pulse": 0.0}, "`pulse` must be a positive number of ms, got 0"),
        ({"tolerance": 0.0}, "`tolerance` must be a positive number"),
        ({"tolerance": 15.0}, r"`tolerance` must be a share in \(0, 1\) of the interval, got 15\.0: \.15 is"),
        ({"response": 10.0}, "`response` must last at least 1 step"),
        ({"gains": ()}, r"`gains` must be positive factors, got \(\): give a tuple"),
        ({"gains": (1.0, 0.0)}, "`gains` must be positive factors"),
        ({"gains": 1.5}, "`gains` must be positive factors"),
        ({"gains": ("much",)}, "`gains` must be positive factors"),
        ({"gains": (float("inf"),)}, "`gains` must be positive factors"),
        ({"weber_fraction": -0.1}, "`weber_fraction` must be a number of at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        ReadySetGo(**parameters)
