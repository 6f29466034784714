import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, skellam

from neurornn import InputError
from neurornn.tasks import (
    NO_CHOICE,
    PerceptualDecisionMaking,
    PulseDecisionMaking,
    ReactionTimeDecision,
    VariableDurationDecision,
)
from neurornn.testing import check_task


def at(task, coherence):
    return task.ideal_accuracy({"coherence": np.asarray(coherence)})


def agrees(task, trials):
    """Whether the ideal observer is as often right as the formula says, within 3 standard errors."""
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    share = task.ideal_accuracy(trials.conditions)
    assert share.shape == right.shape
    error = np.sqrt((share * (1 - share)).sum()) / len(share)
    return abs(right.mean() - share.mean()) <= 3 * error + 1e-12


@pytest.fixture(scope="module")
def drawn():
    task = PerceptualDecisionMaking()
    return task, task.draw(20_000, np.random.default_rng(11))


def test_the_epochs_are_those_of_the_primer(drawn):
    task, trials = drawn
    assert trials.epochs == {"fixation": (0, 1), "stimulus": (1, 21), "delay": (21, 21), "response": (21, 22)}
    assert trials.n_steps == 22
    assert task.input_labels == ("fixation", "evidence_1", "evidence_2")


def test_the_fixation_cue_is_on_until_the_response_and_the_target_0_until_then(drawn):
    _, trials = drawn
    assert (trials.inputs[:, :21, 0] == 1).all()
    assert (trials.inputs[:, 21:, 0] == 0).all()
    assert (trials.targets[:, :21] == 0).all()
    np.testing.assert_array_equal(trials.targets[:, 21], trials.conditions["target_choice"])
    assert (trials.mask == 1).all()


def test_the_evidence_has_the_means_and_the_noise_that_were_asked_for(drawn):
    _, trials = drawn
    outside = np.ones(22, bool)
    outside[1:21] = False
    assert not trials.inputs[:, outside, 1:].any()
    signed = trials.conditions["signed_coherence"][:, None]
    for channel, sign in ((1, -1), (2, 1)):
        noise = trials.inputs[:, 1:21, channel] - 0.5 * (1 + sign * signed / 100)
        assert noise.std() == pytest.approx(0.1, rel=4 / np.sqrt(2 * noise.size))
        assert abs(noise.mean()) < 4 * 0.1 / np.sqrt(noise.size)
    # White: neither steps nor channels share any noise.
    noise = trials.inputs[:, 1:21, 1:] - 0.5 * (1 + signed[..., None] / 100 * np.array([-1, 1]))
    correlation = np.corrcoef(noise.reshape(len(noise), -1).T)
    assert np.abs(correlation - np.eye(40)).max() < 5.5 / np.sqrt(20_000)


def test_coherences_and_directions_come_equally_often(drawn):
    task, trials = drawn
    n = trials.n_trials
    coherence, signed = trials.conditions["coherence"], trials.conditions["signed_coherence"]
    for strength in task.coherences:
        assert np.mean(coherence == strength) == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / n))
    assert np.mean(trials.conditions["target_choice"] == 1) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    np.testing.assert_array_equal(np.abs(signed), coherence)
    nonzero = signed != 0
    np.testing.assert_array_equal(
        trials.conditions["target_choice"][nonzero], np.where(signed > 0, 2, 1)[nonzero]
    )


def test_the_ideal_observer_does_as_the_formula_says():
    task = PerceptualDecisionMaking(coherences=(0.0, 1.6, 3.2, 6.4, 12.8))
    trials = task.draw(60_000, np.random.default_rng(12))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    for coherence in task.coherences:
        shown = trials.conditions["coherence"] == coherence
        share = norm.cdf(coherence / 100 * np.sqrt(20 / 2) / 0.1)
        assert at(task, coherence) == pytest.approx(share, abs=1e-12)
        error = np.sqrt(share * (1 - share) / shown.sum())
        assert right[shown].mean() == pytest.approx(share, abs=4 * error + 1e-9)


def test_the_ideal_accuracy_of_the_default_task_is_8957():
    task = PerceptualDecisionMaking()
    accuracies = at(task, task.coherences)
    assert np.mean(accuracies) == pytest.approx(0.8957, abs=5e-5)
    assert accuracies[0] == 0.5
    assert accuracies[1] == pytest.approx(0.978, abs=1e-3)


def test_the_ideal_accuracy_does_not_depend_on_the_step():
    finer = PerceptualDecisionMaking(dt=10.0)
    assert at(finer, 6.4) == pytest.approx(at(PerceptualDecisionMaking(), 6.4))
    assert at(PerceptualDecisionMaking(noise_std=0), 6.4) == 1
    assert at(PerceptualDecisionMaking(noise_std=0), 0) == 0.5


def test_a_delay_is_silent_with_the_fixation_cue_on():
    task = PerceptualDecisionMaking(delay=300)
    trials = task.draw(5, np.random.default_rng(0))
    during = trials.in_epoch("delay")
    assert during.sum() == 15
    np.testing.assert_array_equal(trials.inputs[during], np.tile([1, 0, 0], (15, 1)))


def test_a_choice_is_the_largest_mean_output_of_the_response():
    task = PerceptualDecisionMaking(response=300)
    trials = task.draw(4, np.random.default_rng(0))
    outputs = np.zeros((4, trials.n_steps, 3))
    outputs[:, :21] = [0, 0, 100]  # before the response nothing counts
    outputs[0, 21:, 1] = [3, -1, -1]
    outputs[1, 21:, 2] = [-1, 1, 1]
    outputs[2, 21:, 0] = 1
    np.testing.assert_array_equal(task.choose(outputs, trials), [1, 2, NO_CHOICE, NO_CHOICE])
    right = trials.conditions["target_choice"]
    np.testing.assert_array_equal(task.score(outputs, trials), [right[0] == 1, right[1] == 2, 0, 0])


def test_zero_evidence_is_the_stimulus_without_noise():
    task = PerceptualDecisionMaking(coherences=(0.0,), noise_std=0)
    trials = task.draw(1, np.random.default_rng(0))
    np.testing.assert_array_equal(task.constant_inputs()["zero evidence"], trials.inputs[0, 5])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"coherences": (-6.4, 6.4)},
            r"`coherences` must be strengths in percent of at least 0, .*directions",
        ),
        ({"coherences": ()}, "`coherences` must be strengths in percent"),
        ({"coherences": 6.4}, r"`coherences` must be strengths .* got 6\.4: give a tuple"),
        ({"coherences": (float("nan"),)}, "`coherences` must be strengths"),
        ({"coherences": ("weak",)}, "`coherences` must be strengths"),
        ({"noise_std": -0.1}, r"`noise_std` must be a number of at least 0, got -0\.1"),
        ({"noise_std": float("nan")}, "`noise_std` must be a number of at least 0, got nan"),
        ({"stimulus": 99.0}, r"`stimulus` must last at least 1 step of dt = 100\.0 ms, got 99\.0 ms"),
        ({"delay": float("inf")}, "`delay` must be a number of ms of at least 0, got inf"),
        ({"fixation": "long"}, "`fixation` must be a number or one of Fixed, .*, got 'long'"),
        ({"dt": 0.0}, "`dt` must be a positive number of ms"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        PerceptualDecisionMaking(**parameters)


def test_catch_trials_hold_the_cue_and_ask_for_nothing():
    task = PerceptualDecisionMaking(catch_probability=0.3)
    trials = task.draw(20_000, np.random.default_rng(3))
    catch = trials.conditions["catch"]
    assert catch.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 20_000))
    assert (trials.inputs[catch] == [1, 0, 0]).all()
    assert not trials.targets[catch].any()
    assert (trials.conditions["target_choice"][catch] == NO_CHOICE).all()
    assert (task.ideal_choices(trials)[catch] == NO_CHOICE).all()
    assert (task.ideal_accuracy(trials.conditions)[catch] == 1).all()
    assert agrees(task, trials)


@pytest.mark.parametrize(
    "task",
    [
        VariableDurationDecision(),
        VariableDurationDecision(catch_probability=1 / 11),
        VariableDurationDecision(timing="batch"),
        ReactionTimeDecision(),
        PulseDecisionMaking(),
        PulseDecisionMaking(catch_probability=0.2, favoured_rates=(20.0, 22.0), stimulus=150),
    ],
    ids=repr,
)
def test_further_decisions_pass_the_checker_and_their_observer_does_as_the_formula_says(task):
    check_task(task)
    assert agrees(task, task.draw(20_000, np.random.default_rng(1)))


def test_variable_durations_fall_exponentially_between_their_ends():
    task = VariableDurationDecision(dt=10.0)
    shown = task.draw(20_000, np.random.default_rng(0)).conditions["stimulus_duration"]
    assert shown.min() == 80
    assert 1300 < shown.max() < 1500
    # The share below x of an exponential of mean 330 cut to 80 to 1500.
    for x in (100, 200, 400, 800):
        share = np.expm1(-(x - 80) / 330) / np.expm1(-(1500 - 80) / 330)
        assert np.mean(shown < x) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))


def test_the_longer_the_stimulus_the_better_the_observer_of_variable_durations():
    task = VariableDurationDecision(coherences=(6.4,))
    trials = task.draw(20_000, np.random.default_rng(0))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    shown = trials.conditions["stimulus_duration"]
    for low, high in ((80, 200), (200, 500), (500, 1500)):
        these = (shown >= low) & (shown < high)
        share = norm.cdf(0.064 * np.sqrt(shown[these] / 2))
        error = np.sqrt((share * (1 - share)).sum()) / these.sum()
        assert right[these].mean() == pytest.approx(share.mean(), abs=3.5 * error)
    assert right[shown > 500].mean() > right[shown < 200].mean() + 0.1


def test_the_response_of_a_variable_decision_begins_when_the_streams_stop():
    trials = VariableDurationDecision().draw(50, np.random.default_rng(0))
    for trial in range(50):
        n = int(trials.valid[trial].sum())
        go = n - 15
        assert (trials.inputs[trial, :go, 0] == 1).all()
        assert not trials.inputs[trial, go:, :].any()
        assert trials.inputs[trial, 5:go, 1:].all()
        assert (trials.targets[trial, go:n] == trials.conditions["target_choice"][trial]).all()


def test_the_evidence_and_the_start_cue_of_a_reaction_time_stay_to_the_end():
    task = ReactionTimeDecision()
    trials = task.draw(20_000, np.random.default_rng(0))
    assert trials.epochs == {"fixation": (0, 5), "stimulus": (5, 20), "response": (20, 55)}
    assert not trials.inputs[:, :5].any()
    assert (trials.inputs[:, 5:, 2] == 1).all()
    signed = trials.conditions["signed_coherence"]
    noise = trials.inputs[:, 5:, :2] - 0.5 * (1 + signed[:, None, None] / 100 * np.array([-1, 1]))
    assert noise.std() == pytest.approx(0.5 / np.sqrt(20), rel=4 / np.sqrt(2 * noise.size))
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size)


def test_the_targets_of_a_reaction_time_are_high_for_the_right_output_only():
    task = ReactionTimeDecision(high=2.0, low=0.1)
    trials = task.draw(30, np.random.default_rng(0))
    for trial in range(30):
        right = trials.conditions["target_choice"][trial] - 1
        for step in range(trials.n_steps):
            for output in (0, 1):
                risen = step >= 20 and output == right
                assert trials.targets[trial, step, output] == np.float32(2.0 if risen else 0.1)
                assert trials.mask[trial, step, output] == (not 5 <= step < 20)


def test_a_reaction_time_is_the_evidence_seen_until_the_first_output_reaches_the_threshold():
    task = ReactionTimeDecision()
    trials = task.draw(7, np.random.default_rng(0))
    outputs = np.full((7, trials.n_steps, 2), 0.2)
    outputs[0, 30:, 0] = 1.0  # at the threshold counts
    outputs[1, 5:, 1] = 1.5  # with the first step of evidence
    outputs[2, 54, 1] = 1.5  # with the last
    outputs[3, 4, 0] = 1.5  # before there is any evidence
    outputs[4, 10:, 0], outputs[4, 9:, 1] = 3.0, 1.1  # the first, not the largest
    outputs[5, 10, :] = 1.2, 1.3  # the larger, where both come at once
    outputs[6, 10:, 0] = 0.999
    np.testing.assert_array_equal(task.choose(outputs, trials), [1, 2, 2, NO_CHOICE, 2, 2, NO_CHOICE])
    expected = [520, 20, 1000, np.nan, 100, 120, np.nan]
    np.testing.assert_array_equal(task.reaction_time(outputs, trials), expected)
    right = trials.conditions["target_choice"]
    expected = [right[0] == 1, right[1] == 2, right[2] == 2, 0, right[4] == 2, right[5] == 2, 0]
    np.testing.assert_array_equal(task.score(outputs, trials), expected)


def test_padding_is_no_answer():
    task = ReactionTimeDecision(response="Choice(100, 700)")
    trials = task.draw(20, np.random.default_rng(0))
    outputs = np.where(trials.valid[..., None], 0.2, 5.0).repeat(2, axis=2)
    assert (task.choose(outputs, trials) == NO_CHOICE).all()
    assert np.isnan(task.reaction_time(outputs, trials)).all()


@given(step=st.integers(5, 54), choice=st.integers(1, 2), dt=st.sampled_from([10.0, 20.0]))
def test_every_crossing_is_found(step, choice, dt):
    task = ReactionTimeDecision(dt=dt)
    trials = task.draw(1, np.random.default_rng(0))
    step = int(step * 20 / dt)
    outputs = np.zeros((1, trials.n_steps, 2))
    outputs[0, step:, choice - 1] = 1.1
    assert task.choose(outputs, trials) == choice
    assert task.reaction_time(outputs, trials) == (step + 1) * dt - 100


def test_an_observer_who_answers_sooner_is_right_less_often():
    task = ReactionTimeDecision(coherences=(3.2,))
    trials = task.draw(20_000, np.random.default_rng(0))
    # A running posterior, scaled as the least squared error has it.
    evidence = (trials.inputs[..., 1] - trials.inputs[..., 0]).cumsum(axis=1)
    second = 1 / (1 + np.exp(-2 * evidence * 0.032 / (2 * 0.25 / 20)))
    outputs = 0.2 + np.stack([1 - second, second], axis=2)
    right = task.score(outputs, trials)
    assert right.mean() < task.ideal_accuracy(trials.conditions).mean()
    answered = task.choose(outputs, trials) > 0
    # The chance to be right at the crossing is a little more than the threshold's .8.
    assert 0.8 < right[answered].mean() < 0.87
    times = task.reaction_time(outputs, trials)
    assert np.isnan(times[~answered]).all()
    assert (times[answered] >= 20).all()


def test_zero_evidence_of_a_reaction_time_is_the_stimulus_without_noise():
    task = ReactionTimeDecision(coherences=(0.0,), noise_std=0)
    trials = task.draw(1, np.random.default_rng(0))
    np.testing.assert_array_equal(task.constant_inputs()["zero evidence"], trials.inputs[0, 5])


def test_pulses_are_poisson_at_their_rates_whatever_the_step():
    for dt in (10.0, 20.0):
        task = PulseDecisionMaking(stimulus=500, dt=dt)
        trials = task.draw(20_000, np.random.default_rng(2))
        conditions = trials.conditions
        for side in (1, 2):
            for rate in (1.0, 3.0, 9.0, 14.0, 26.0, 31.0, 37.0, 39.0):
                these = conditions[f"rate_{side}"] == rate
                counted = conditions[f"n_pulses_{side}"][these]
                expected = rate * 0.5
                n = len(counted)
                assert counted.mean() == pytest.approx(expected, abs=4.5 * np.sqrt(expected / n))
                # The variance of a Poisson variable's sample variance is (m + 2 m^2) / n.
                spread = np.sqrt((expected + 2 * expected**2) / n)
                assert counted.var() == pytest.approx(expected, abs=4.5 * spread)
        np.testing.assert_array_equal(conditions["rate_1"] + conditions["rate_2"], 40)


def test_the_side_with_more_pulses_is_right():
    trials = PulseDecisionMaking().draw(500, np.random.default_rng(2))
    tied = []
    for trial in range(500):
        first, second = (int(trials.inputs[trial, :, channel].sum()) for channel in (1, 2))
        right = trials.conditions["target_choice"][trial]
        assert trials.conditions["n_pulses_1"][trial] == first
        assert trials.conditions["n_pulses_2"][trial] == second
        assert trials.conditions["pulse_difference"][trial] == second - first
        if first != second:
            assert right == (1 if first > second else 2)
        else:
            tied.append(right)
        go = int(trials.valid[trial].sum()) - 5
        assert (trials.targets[trial, go : go + 5] == right).all()
        assert not trials.targets[trial, :go].any()
    ties = PulseDecisionMaking(favoured_rates=(20.0,), stimulus=100)
    trials = ties.draw(20_000, np.random.default_rng(0))
    tied = trials.conditions["target_choice"][trials.conditions["pulse_difference"] == 0]
    assert np.mean(tied == 1) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(tied)))


def test_pulses_come_in_the_stimulus_only():
    trials = PulseDecisionMaking().draw(200, np.random.default_rng(0))
    assert not trials.inputs[~trials.in_epoch("stimulus")][:, 1:].any()
    np.testing.assert_array_equal(trials.inputs, trials.inputs.round())
    assert trials.inputs[..., 1:].max() > 1


@pytest.mark.parametrize("duration", [20.0, 200.0, 1000.0])
def test_the_chance_of_a_tie_is_that_of_the_skellam_distribution(duration):
    task = PulseDecisionMaking(stimulus=duration)
    rates = np.array([20.0, 26.0, 31.0, 37.0, 39.0, 40.0])
    share = task.ideal_accuracy({"favoured_rate": rates})
    for rate, own in zip(rates[:-1], share, strict=False):
        tie = skellam.pmf(0, rate * duration / 1000, (40 - rate) * duration / 1000)
        assert own == pytest.approx(1 - tie / 2, abs=1e-12)
    # One silent side ties with the other only where that is silent too.
    assert share[-1] == pytest.approx(1 - np.exp(-40 * duration / 1000) / 2)


def test_the_constant_input_of_pulses_is_that_between_them():
    np.testing.assert_array_equal(PulseDecisionMaking().constant_inputs()["no pulse"], [1, 0, 0])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"coherences": (-1.0,)}, "`coherences` must be strengths in percent of at least 0"),
        ({"threshold": 1.2}, r"`threshold` must lie between `low` and `high`, got low = 0\.2, .*order them"),
        ({"low": 1.0}, "`threshold` must lie between `low` and `high`"),
        ({"low": -0.1}, r"`low` must be a number of at least 0, got -0\.1"),
        ({"high": float("inf")}, "`high` must be a number of at least 0, got inf"),
        ({"stimulus": 10.0}, r"`stimulus` must last at least 1 step of dt = 20\.0 ms"),
    ],
)
def test_parameters_of_a_reaction_time_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        ReactionTimeDecision(**parameters)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"favoured_rates": (19.0,)}, r"`favoured_rates` must be rates .*, 20 to 40, got \(19\.0,\): give a"),
        ({"favoured_rates": (41.0,)}, "`favoured_rates` must be rates"),
        ({"favoured_rates": ()}, "`favoured_rates` must be rates"),
        ({"favoured_rates": 30.0}, "`favoured_rates` must be rates"),
        ({"favoured_rates": (float("nan"),)}, "`favoured_rates` must be rates"),
        ({"total_rate": 0.0}, "`total_rate` must be a positive number of pulses per second, got 0"),
        ({"catch_probability": 1.0}, r"`catch_probability` must be in \[0, 1\)"),
    ],
)
def test_parameters_of_pulses_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        PulseDecisionMaking(**parameters)


def test_the_criteria_are_shares_of_the_ideal_observers():
    fifths = (np.arange(2000) + 0.5) / 2000
    task = VariableDurationDecision()
    durations = 80 - 330 * np.log1p(fifths * np.expm1(-1420 / 330))
    grid = np.meshgrid(task.coherences, durations)
    share = task.ideal_accuracy({"coherence": grid[0], "stimulus_duration": grid[1]})
    assert share.mean() == pytest.approx(0.8718, abs=1e-4)
    assert at(ReactionTimeDecision(), ReactionTimeDecision().coherences).mean() == pytest.approx(
        0.984, abs=5e-4
    )
    task = PulseDecisionMaking()
    grid = np.meshgrid(task.favoured_rates, 200 + 800 * fifths)
    share = task.ideal_accuracy({"favoured_rate": grid[0], "stimulus_duration": grid[1]})
    assert share.mean() == pytest.approx(0.9945, abs=1e-4)
