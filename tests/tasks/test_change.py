import numpy as np
import pytest
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import ChangeDetection, Choice, Exponential, Fixed, Uniform
from neurornn.testing import check_task


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def drawn():
    task = ChangeDetection()
    return task, task.draw(20_000, rng(1))


def outputs_with(trials, reports, logit=3.0):
    """Outputs that give a change the probability of a logit at one step of each trial, -1 for at none."""
    outputs = np.zeros((*trials.valid.shape, 2))
    reporting = np.flatnonzero(reports >= 0)
    outputs[reporting, reports[reporting], 1] = logit
    return outputs


def test_the_stream_steps_up_at_the_change_and_only_in_half_of_the_trials(drawn):
    task, trials = drawn
    conditions = trials.conditions
    clean = np.where(trials.in_epoch("response"), conditions["change_size"][:, None], 0)
    noise = (trials.inputs[..., 0] - clean)[trials.valid]
    assert noise.std() == pytest.approx(2 / np.sqrt(50), rel=4 / np.sqrt(2 * noise.size))
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size)
    assert conditions["changes"].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_array_equal(conditions["change_size"], conditions["size"] * conditions["changes"])
    for size in task.sizes:
        assert np.mean(conditions["size"] == size) == pytest.approx(1 / 3, abs=4 * 0.47 / np.sqrt(20_000))
    np.testing.assert_array_equal(
        trials.targets, trials.in_epoch("response") & conditions["changes"][:, None]
    )
    np.testing.assert_array_equal(trials.mask, trials.valid)


def test_a_trial_is_as_long_with_a_change_as_without(drawn):
    _, trials = drawn
    length = trials.valid.sum(axis=1)
    changes = trials.conditions["changes"]
    np.testing.assert_array_equal(length, trials.conditions["stimulus_duration"] / 50 + 16)
    error = length.std() * np.sqrt(4 / 20_000)
    assert length[changes].mean() == pytest.approx(length[~changes].mean(), abs=4 * error)


@pytest.mark.parametrize("stimulus", [Exponential(1000, 500, 3000), Uniform(480, 900), Choice(500, 500, 730)])
def test_the_chance_of_a_change_in_each_step_is_that_of_what_is_drawn(stimulus):
    task = ChangeDetection(stimulus=stimulus)
    chance = task._chance_of_start(80)
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    steps = task.draw(40_000, rng(2)).timeline.start["response"]
    share = np.bincount(steps, minlength=80) / 40_000
    np.testing.assert_allclose(share, chance, atol=5 * np.sqrt(chance.max() / 40_000))
    assert not share[chance == 0].any()


def test_a_fixed_time_is_certain():
    for stimulus in (600.0, Fixed(600.0)):
        chance = ChangeDetection(stimulus=stimulus)._chance_of_start(30)
        assert chance.tolist() == [float(k == 12) for k in range(30)]


def test_an_exponential_change_cannot_be_foretold():
    # The chance of a change, given that there was none, is the same at all steps but near the cut.
    chance = ChangeDetection(stimulus=Exponential(1000, 500, 100_000))._chance_of_start(60)
    hazard = chance[10:] / (1 - np.concatenate([[0], np.cumsum(chance[10:])[:-1]]))
    np.testing.assert_allclose(hazard, 1 - np.exp(-50 / 1000), rtol=1e-6)


def belief_by_loops(task, trials, trial):
    """Bayes' rule over every history, one after the other."""
    deviation, window = task.noise_std / np.sqrt(task.dt), task.steps(task.response)
    steps = int(trials.valid[trial].sum())
    stream = trials.inputs[trial, :, 0].astype(float)
    chance = task._chance_of_start(trials.n_steps)
    beliefs = []
    for now in range(steps):
        happened = still = 0.0
        for start, prior in enumerate(chance):
            if prior == 0 or start + window <= now:
                continue  # such a trial would be over
            for size in task.sizes:
                mean = size * (np.arange(now + 1) >= start)
                changed = norm.logpdf(stream[: now + 1], mean, deviation).sum()
                steady = norm.logpdf(stream[: now + 1], 0, deviation).sum()
                weight = prior / 2 / len(task.sizes)
                # The same moment in a trial without a change, and in one with a change.
                still += weight * np.exp(steady)
                if start <= now:
                    happened += weight * np.exp(changed)
                else:
                    still += weight * np.exp(steady)
        beliefs.append(happened / (happened + still))
    return np.array(beliefs)


@pytest.mark.parametrize("stimulus", [Exponential(300, 100, 700), Choice(100.0, 400.0), 300.0])
def test_the_belief_is_that_of_all_histories_summed(stimulus):
    task = ChangeDetection(sizes=(0.3, 0.6), stimulus=stimulus, response=300.0)
    trials = task.draw(6, rng(3))
    belief = task.belief(trials)
    for trial in range(6):
        expected = belief_by_loops(task, trials, trial)
        np.testing.assert_allclose(belief[trial, : len(expected)], expected, atol=1e-9)
        assert not belief[trial, len(expected) :].any()


def test_the_belief_is_calibrated_and_scores_what_the_data_sheet_tells(drawn):
    task, trials = drawn
    trials = trials.select(np.arange(6000))
    belief, changed = task.belief(trials), trials.targets == 1
    for low in np.arange(0, 1, 0.1):
        inside = (belief >= low) & (belief < low + 0.1) & trials.valid
        # Steps of one trial are alike: as many independent ones as there are trials in the bin, or so.
        error = np.sqrt(0.25 / inside.any(axis=1).sum())
        assert changed[inside].mean() == pytest.approx(belief[inside].mean(), abs=3 * error)
    score = task.score(task.belief_outputs(trials), trials)
    assert score.mean() == pytest.approx(0.946, abs=3 * score.std() / np.sqrt(6000))


def test_without_noise_the_belief_is_certain():
    task = ChangeDetection(noise_std=0)
    trials = task.draw(50, rng(4))
    np.testing.assert_array_equal(task.belief(trials), trials.targets)
    assert (task.score(task.belief_outputs(trials), trials) == 1).all()


def test_outcomes_are_those_of_the_step_of_the_first_report():
    task = ChangeDetection(sizes=(1.0,), stimulus=600.0, response=500.0)
    trials = task.factorial(n_repeats=6)
    assert trials.conditions["changes"].tolist() == [False] * 6 + [True] * 6
    reports = np.array([-1, 0, 11, 12, 21, -1, -1, 0, 11, 12, 21, 15])
    outputs = outputs_with(trials, reports)
    np.testing.assert_array_equal(task.reports(outputs, trials), reports)
    alarm, rejection = "false alarm", "correct rejection"
    outcomes = [rejection, alarm, alarm, alarm, alarm, rejection, "miss", alarm, alarm, "hit", "hit", "hit"]
    assert task.outcomes(outputs, trials).tolist() == outcomes
    expected = [own in ("hit", "correct rejection") for own in outcomes]
    np.testing.assert_array_equal(task.score(outputs, trials), expected)
    np.testing.assert_array_equal(task.choose(outputs, trials), np.where(reports < 0, -1, 1))
    np.testing.assert_array_equal(task.reaction_time(outputs, trials)[-3:], [0, 450, 150])
    assert np.isnan(task.reaction_time(outputs, trials)[:-3]).all()
    # What comes after the first report changes nothing.
    outputs[..., 1] = np.maximum.accumulate(outputs[..., 1], axis=1)
    assert task.outcomes(outputs, trials).tolist() == outcomes


def test_a_report_needs_the_confidence_that_was_asked_for():
    task = ChangeDetection(stimulus=600.0, confidence=0.9)
    trials = task.draw(1, rng(5))
    for probability, reported in ((0.899, False), (0.901, True)):
        outputs = outputs_with(trials, np.array([3]), np.log(probability / (1 - probability)))
        assert (task.reports(outputs, trials) == 3).all() == reported


def test_reports_in_padded_steps_do_not_count():
    task = ChangeDetection()
    trials = task.draw(64, rng(6))
    outputs = np.zeros((*trials.valid.shape, 2))
    outputs[~trials.valid, 1] = 9
    assert (task.reports(outputs, trials) == -1).all()


def test_no_report_at_a_fixed_time_beats_silence(drawn):
    task, trials = drawn
    silent = np.zeros((*trials.valid.shape, 2))
    assert task.score(silent, trials).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(20_000))
    best = max(
        task.score(outputs_with(trials, np.full(20_000, step)), trials).mean() for step in range(8, 40, 4)
    )
    assert best < 0.5


@pytest.mark.parametrize(
    "task",
    [
        ChangeDetection(sizes=(1,), stimulus=400.0),
        ChangeDetection(dt=20.0),
        ChangeDetection(stimulus="Uniform(200, 500)", timing="batch"),
    ],
)
def test_other_parameters_keep_to_the_contract_too(task):
    check_task(task)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"sizes": ()}, r"`sizes` must be a tuple of steps above 0, got \(\): trials without"),
        ({"sizes": (0.0, 0.5)}, "`sizes` must be a tuple of steps above 0"),
        ({"sizes": 0.5}, r"`sizes` must be a tuple of steps above 0, got 0\.5"),
        ({"sizes": (float("inf"),)}, "`sizes` must be a tuple of steps above 0"),
        ({"sizes": ("large",)}, "`sizes` must be a tuple"),
        ({"confidence": 0.5}, r"`confidence` must be above 0\.5 and below 1, got 0\.5"),
        ({"confidence": 1.0}, r"`confidence` must be above 0\.5 and below 1, got 1\.0"),
        ({"response": Uniform(300, 500)}, r"`response` must be a positive number of ms, got Uniform"),
        ({"response": 0}, "`response` must be a positive number of ms, got 0"),
        ({"response": 20.0}, r"`response` must last at least 1 step of dt = 50\.0 ms"),
        ({"stimulus": Exponential(500)}, "`stimulus` must have an end"),
        ({"noise_std": -1}, "`noise_std` must be a number of at least 0, got -1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        ChangeDetection(**parameters)
