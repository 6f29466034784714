import numpy as np
import pytest
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import NO_CHOICE, PerceptualDecisionMaking


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
        assert task.ideal_accuracy(coherence) == pytest.approx(share, abs=1e-12)
        error = np.sqrt(share * (1 - share) / shown.sum())
        assert right[shown].mean() == pytest.approx(share, abs=4 * error + 1e-9)


def test_the_ideal_accuracy_of_the_default_task_is_8957():
    task = PerceptualDecisionMaking()
    accuracies = [task.ideal_accuracy(coherence) for coherence in task.coherences]
    assert np.mean(accuracies) == pytest.approx(0.8957, abs=5e-5)
    assert accuracies[0] == 0.5
    assert accuracies[1] == pytest.approx(0.978, abs=1e-3)


def test_the_ideal_accuracy_does_not_depend_on_the_step():
    finer = PerceptualDecisionMaking(dt=10.0)
    assert finer.ideal_accuracy(6.4) == pytest.approx(PerceptualDecisionMaking().ideal_accuracy(6.4))
    assert PerceptualDecisionMaking(noise_std=0).ideal_accuracy(6.4) == 1
    assert PerceptualDecisionMaking(noise_std=0).ideal_accuracy(0) == 0.5


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
        ({"fixation": "long"}, "`fixation` must be a number of ms of at least 0, got 'long'"),
        ({"dt": 0.0}, "`dt` must be a positive number of ms"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        PerceptualDecisionMaking(**parameters)
