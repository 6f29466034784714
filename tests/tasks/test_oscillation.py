import math

import numpy as np
import pytest

from neurornn import InputError
from neurornn.tasks import SineGenerator
from neurornn.testing import check_task


def test_the_default_is_the_paper_in_radians_per_step():
    task = SineGenerator()
    trials = task.factorial()
    assert trials.n_trials == 51
    assert trials.n_steps == 100
    for j in range(1, 52):
        omega = 0.1 + 0.5 * (j - 1) / 50
        np.testing.assert_allclose(trials.inputs[j - 1, :, 0], j / 51 + 0.25, rtol=1e-6)
        expected = [math.sin(omega * step) for step in range(100)]
        np.testing.assert_allclose(trials.targets[j - 1, :, 0], expected, atol=1e-6)
        assert trials.conditions["frequency"][j - 1] == pytest.approx(omega / (2 * math.pi) / 0.01)
    assert (trials.mask == 1).all()


def test_the_frequencies_in_hertz_do_not_depend_on_the_step():
    trials = [SineGenerator(dt=dt, n_frequencies=3).factorial() for dt in (10.0, 5.0)]
    np.testing.assert_array_equal(trials[0].conditions["frequency"], trials[1].conditions["frequency"])
    np.testing.assert_allclose(trials[0].targets, trials[1].targets[:, ::2], atol=1e-6)


def test_every_frequency_is_drawn_equally_often():
    places = (
        SineGenerator(n_frequencies=5, duration=50).draw(20_000, np.random.default_rng(0)).conditions["place"]
    )
    counts = np.bincount(places, minlength=5)
    assert np.abs(counts - 4000).max() < 4.5 * math.sqrt(20_000 * 0.16)


def test_the_score_is_one_less_the_relative_squared_error():
    task = SineGenerator()
    trials = task.factorial()
    np.testing.assert_allclose(task.score(0.5 * trials.targets, trials), 0.75, atol=1e-6)
    np.testing.assert_allclose(task.score(1.1 * trials.targets, trials), 0.99, atol=1e-6)
    assert (task.score(np.zeros_like(trials.targets), trials) == 0).all()
    # The opposite is worse than silence, but no score is below 0.
    assert (task.score(-trials.targets, trials) == 0).all()
    quarter = np.cos(0.01 * 10 * np.arange(100))[None, :, None]
    one = trials.select(np.array([0]))
    expected = 1 - ((quarter - one.targets) ** 2).sum() / (one.targets**2).sum()
    assert task.score(quarter, one) == pytest.approx(max(expected, 0))


def test_no_fixed_output_beats_chance():
    task = SineGenerator()
    sines = task.factorial()
    # Each frequency in its turn, and their weighted mean: the best there is but for the cut at 0.
    guesses = [*sines.targets, sines.targets.mean(axis=0)]
    scores = [task.score(np.broadcast_to(guess, sines.targets.shape), sines).mean() for guess in guesses]
    assert 0.03 < max(scores) < task.chance_score


def test_the_chance_loss_is_the_error_of_the_mean_sine():
    task = SineGenerator(n_frequencies=7)
    targets = task.factorial().targets
    error = ((targets - targets.mean(axis=0)) ** 2).mean()
    assert task.chance_loss == pytest.approx(error, rel=1e-5)


def test_constant_inputs_are_levels_named_by_their_frequency():
    constant = SineGenerator().constant_inputs()
    assert len(constant) == 6
    assert constant["1.592 Hz"] == pytest.approx([1 / 51 + 0.25])
    assert constant["9.549 Hz"] == pytest.approx([1.25])
    assert len(SineGenerator(n_frequencies=3).constant_inputs()) == 3


@pytest.mark.parametrize(
    "parameters", [{"n_frequencies": 1, "highest": 10.0}, {"dt": 25.0, "duration": 900}, {"n_frequencies": 4}]
)
def test_variants_keep_to_what_every_task_must(parameters):
    if parameters.get("n_frequencies") == 1:
        # One frequency is the same in every trial, and nothing is drawn.
        trials = SineGenerator(**parameters).draw(3, np.random.default_rng(0))
        assert (trials.targets == trials.targets[:1]).all()
        assert SineGenerator(**parameters).level(0) == 1.25
    else:
        check_task(SineGenerator(**parameters))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n_frequencies": 0}, "`n_frequencies` must be a whole number of at least 1"),
        ({"lowest": 0.0}, "`lowest` must be a positive number of radians per second"),
        ({"highest": -1.0}, "`highest` must be a positive number of radians per second"),
        ({"lowest": 60.0, "highest": 10.0}, r"`highest` must be above `lowest`, got 60\.0 and 10\.0"),
        ({"lowest": 60.0}, "`highest` must be above `lowest`"),
        ({"dt": 60.0}, r"`highest` must stay below half a turn per step of dt = 60\.0 ms"),
        ({"duration": 10.0}, "`duration` must hold at least 2 steps"),
        ({"duration": -10.0}, "`duration` must be a positive number of ms"),
        ({"dt": 0.0}, "`dt` must be a positive number of ms"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        SineGenerator(**parameters)
