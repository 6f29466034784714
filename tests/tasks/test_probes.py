import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import DelayedReconstruction, WhiteNoise
from neurornn.testing import check_task


def test_each_output_is_the_input_of_so_many_steps_ago():
    task = DelayedReconstruction(n_delays=7)
    trials = task.draw(3, np.random.default_rng(0))
    for trial in range(3):
        for step in range(100):
            for k in range(1, 8):
                assert trials.mask[trial, step, k - 1] == (step >= 7)
                if step >= k:
                    assert trials.targets[trial, step, k - 1] == trials.inputs[trial, step - k, 0]
    assert task.output_labels == ("delay_1", "delay_2", "delay_3", "delay_4", "delay_5", "delay_6", "delay_7")


def test_inputs_are_uniform_and_independent():
    values = DelayedReconstruction(amplitude=2.0).draw(500, np.random.default_rng(1)).inputs[..., 0]
    assert values.min() >= -2
    assert values.max() <= 2
    assert values.var() == pytest.approx(4 / 3, rel=4 / np.sqrt(values.size))
    assert DelayedReconstruction(amplitude=2.0).chance_loss == pytest.approx(4 / 3)
    for lag in (1, 2, 9):
        correlation = np.corrcoef(values[:, lag:].ravel(), values[:, :-lag].ravel())[0, 1]
        assert abs(correlation) < 4.5 / np.sqrt(values.size)


def test_the_score_is_the_mean_squared_correlation():
    task = DelayedReconstruction(n_delays=4, duration=300)
    trials = task.draw(3, np.random.default_rng(2))
    outputs = np.random.default_rng(3).standard_normal(trials.targets.shape) + trials.targets
    expected = [
        np.mean([np.corrcoef(outputs[i, 4:, k], trials.targets[i, 4:, k])[0, 1] ** 2 for k in range(4)])
        for i in range(3)
    ]
    np.testing.assert_allclose(task.score(outputs, trials), expected)
    pooled = [
        np.corrcoef(outputs[:, 4:, k].ravel(), trials.targets[:, 4:, k].ravel())[0, 1] ** 2 for k in range(4)
    ]
    assert task.memory_capacity(outputs, trials) == pytest.approx(sum(pooled))
    # The masked steps do not count, nor do an output's scale and mean.
    changed = 3 - 2 * outputs
    changed[:, :4] = 1e6
    np.testing.assert_allclose(task.score(changed, trials), expected)


def test_a_silent_output_scores_nothing_and_half_the_outputs_half():
    task = DelayedReconstruction(n_delays=4)
    trials = task.draw(5, np.random.default_rng(4))
    assert not task.score(np.ones_like(trials.targets), trials).any()
    half = trials.ideal_outputs()
    half[..., 2:] = 0.3
    np.testing.assert_allclose(task.score(half, trials), 0.5)
    assert task.memory_capacity(half, trials) == pytest.approx(2)


def test_an_output_that_never_saw_the_input_scores_chance_on_average():
    task = DelayedReconstruction(n_delays=5, duration=250)
    trials = task.draw(20_000, np.random.default_rng(5))
    ramp = np.broadcast_to(np.linspace(-1, 1, 25)[None, :, None] ** 3, trials.targets.shape)
    score = task.score(ramp, trials)
    assert task.chance_score == 1 / 19
    assert score.mean() == pytest.approx(1 / 19, abs=4 * score.std() / np.sqrt(20_000))


def test_a_delay_line_of_n_units_has_a_capacity_of_n():
    """Jaeger's bound, met by the network that is known to meet it: a chain of units, read out linearly."""
    task = DelayedReconstruction(n_delays=12, duration=2000)
    trials = task.draw(100, np.random.default_rng(6))
    n_units = 8
    state = np.zeros((100, n_units))
    states = np.empty((100, trials.n_steps, n_units))
    for step in range(trials.n_steps):
        states[:, step] = state = np.concatenate([trials.inputs[:, step], state[:, :-1]], axis=1)
    late = states[:, 12:].reshape(-1, n_units)
    weights = np.linalg.lstsq(late, trials.targets[:, 12:].reshape(-1, 12), rcond=None)[0]
    # Unit 0 holds the input of this very step, which no output asks for: 7 of the 8 are of use.
    assert task.memory_capacity(states @ weights, trials) == pytest.approx(7, abs=0.01)


@given(n_delays=st.integers(1, 12), extra=st.integers(3, 30))
@settings(max_examples=30, deadline=None)
def test_the_ideal_outputs_have_all_the_capacity(n_delays, extra):
    task = DelayedReconstruction(n_delays=n_delays, duration=10.0 * (n_delays + extra))
    trials = task.draw(4, np.random.default_rng(0))
    assert task.memory_capacity(trials.ideal_outputs(), trials) == pytest.approx(n_delays)
    np.testing.assert_allclose(task.score(trials.ideal_outputs(), trials), 1)
    assert 0 < task.chance_score <= 0.5


def test_white_noise_is_white_and_as_strong_as_was_asked_for():
    task = WhiteNoise(n_channels=2, strength=3.0)
    inputs = task.draw(500, np.random.default_rng(7)).inputs
    per_step = 3 / np.sqrt(20)
    assert inputs.std() == pytest.approx(per_step, rel=4 / np.sqrt(2 * inputs.size))
    power = (np.abs(np.fft.rfft(inputs[..., 0], axis=1)) ** 2).mean(axis=0)[1:-1] / 100
    np.testing.assert_allclose(power, per_step**2, rtol=5 / np.sqrt(500))
    assert abs(np.corrcoef(inputs[..., 0].ravel(), inputs[..., 1].ravel())[0, 1]) < 4.5 / np.sqrt(50_000)


def test_the_target_is_the_exponential_filter_by_a_plain_loop():
    task = WhiteNoise(n_channels=3, time_constant=60.0, dt=10.0, duration=300)
    trials = task.draw(2, np.random.default_rng(8))
    keep = np.exp(-10 / 60)
    y = np.zeros((2, 3))
    for step in range(30):
        y = keep * y + np.sqrt(1 - keep**2) * trials.inputs[:, step]
        np.testing.assert_allclose(trials.targets[:, step], y, atol=1e-5)


def test_the_target_settles_at_the_variance_of_the_input():
    task = WhiteNoise(n_channels=1)
    targets = task.draw(20_000, np.random.default_rng(9)).targets[..., 0]
    assert targets[:, -1].var() == pytest.approx(4.5**2 / 20, rel=4.5 * np.sqrt(2 / 20_000))
    assert task.chance_loss == pytest.approx((targets.astype(float) ** 2).mean(), rel=0.01)


def test_the_white_noise_score_is_one_less_the_relative_squared_error():
    task = WhiteNoise()
    trials = task.draw(10, np.random.default_rng(10))
    np.testing.assert_allclose(task.score(0.5 * trials.targets, trials), 0.75, atol=1e-6)
    assert not task.score(np.zeros_like(trials.targets), trials).any()
    assert not task.score(-trials.targets, trials).any()
    only_one = trials.targets.copy()
    only_one[..., 1] = 0
    power = (trials.targets.astype(float) ** 2).sum(axis=1)
    np.testing.assert_allclose(task.score(only_one, trials), power[:, 0] / power.sum(axis=1), rtol=1e-6)


def test_no_fixed_output_beats_the_chance_of_white_noise():
    task = WhiteNoise()
    trials = task.draw(4000, np.random.default_rng(11))
    first = trials.targets[..., 0].astype(float)
    # The direction in which targets vary most is the one in which a guess is right most often.
    shape = np.linalg.eigh(first.T @ first)[1][:, -1]
    for size in np.linspace(0.5, 6, 12):
        guess = np.broadcast_to((size * shape)[None, :, None], trials.targets.shape)
        assert task.score(guess, trials).mean() < task.chance_score


@pytest.mark.parametrize(
    "task",
    [
        DelayedReconstruction(n_delays=1, duration=40),
        DelayedReconstruction(n_delays=30, dt=5.0),
        WhiteNoise(n_channels=1, time_constant=1.0),
        WhiteNoise(n_channels=5, dt=1.0, duration=50),
    ],
)
def test_variants_keep_to_what_every_task_must(task):
    check_task(task)


def test_constant_inputs_are_the_mean():
    np.testing.assert_array_equal(DelayedReconstruction().constant_inputs()["mean input"], [0])
    np.testing.assert_array_equal(WhiteNoise(n_channels=3).constant_inputs()["mean input"], [0, 0, 0])


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (DelayedReconstruction, {"n_delays": 0}, "`n_delays` must be a whole number of at least 1"),
        (DelayedReconstruction, {"amplitude": 0.0}, "`amplitude` must be a positive number"),
        (DelayedReconstruction, {"n_delays": 98}, "`duration` must hold at least 101 steps .* lengthen it"),
        (DelayedReconstruction, {"duration": 0.0}, "`duration` must be a positive number of ms"),
        (DelayedReconstruction, {"dt": -1.0}, "`dt` must be a positive number of ms"),
        (WhiteNoise, {"n_channels": 0}, "`n_channels` must be a whole number of at least 1"),
        (WhiteNoise, {"strength": 0.0}, "`strength` must be a positive number"),
        (WhiteNoise, {"time_constant": 0.0}, "`time_constant` must be a positive number of ms"),
        (WhiteNoise, {"duration": 10.0}, "`duration` must hold at least 1 step .* lengthen it"),
        (WhiteNoise, {"duration": float("nan")}, "`duration` must be a positive number of ms"),
        (WhiteNoise, {"dt": 0.0}, "`dt` must be a positive number of ms"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        kind(**parameters)
