import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from neurornn import InputError, RateRNN, register_activation
from neurornn.networks import ACTIVATIONS
from neurornn.tasks import PerceptualDecisionMaking, Task, Trials, Uniform
from neurornn.testing import check_network, check_task


def global_numpy(task, trials):
    np.random.random()  # noqa: NPY002


def global_torch(task, trials):
    torch.rand(1)


def global_python(task, trials):
    random.random()


def nan(task, trials):
    trials.inputs[0, 0, 0] = np.nan
    Trials(task, trials.inputs, trials.targets, trials.mask)


def wrong_inputs(task, trials):
    Trials(task, trials.inputs[..., 0], trials.targets, trials.mask)


def wrong_targets(task, trials):
    Trials(task, trials.inputs, trials.targets[:, :-1], trials.mask)


def loud_padding(task, trials):
    trials.valid[0, -2:] = False


def trial_that_comes_back(task, trials):
    trials.valid[0, 3:5] = False
    trials.inputs[0, 3:5] = 0


def nothing_asked(task, trials):
    trials.mask[-1] = 0


def epoch_outside(task, trials):
    Trials(task, trials.inputs, trials.targets, trials.mask, epochs={"go": (0, 99)})


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (global_numpy, "advanced NumPy's global generator"),
        (global_torch, "advanced torch's global generator"),
        (global_python, "advanced Python's global generator"),
        (nan, "`inputs` must be finite, got nan"),
        (wrong_inputs, "`inputs` must have shape"),
        (wrong_targets, "`targets` must have shape"),
        (loud_padding, "inputs must be 0 where a trial is padded"),
        (trial_that_comes_back, "valid steps must come first"),
        (nothing_asked, "some trial asks for nothing"),
        (epoch_outside, "epoch 'go' must lie within"),
    ],
)
def test_a_fault_in_draw_is_found(echo_class, fault, sentence):
    @dataclass(frozen=True)
    class Faulty(echo_class):
        def draw(self, n_trials, rng):
            trials = super().draw(n_trials, rng)
            fault(self, trials)
            return trials

    with pytest.raises((AssertionError, InputError), match=sentence):
        check_task(Faulty())


class Hidden(PerceptualDecisionMaking):
    """Answers after a delay of any length that no input ends."""

    def show(self, conditions, timeline, rng):
        inputs = super().show(conditions, timeline, rng)
        inputs[..., 0] = 1
        return inputs


class Secretive(PerceptualDecisionMaking):
    """Asks for something that its conditions do not tell."""

    def make(self, n_trials, conditions, rng):
        trials = super().make(n_trials, conditions, rng)
        trials.targets[trials.targets > 0] = rng.integers(1, 3)
        return trials


class Unrepeatable(PerceptualDecisionMaking):
    """Its conditions do not tell what it asks for."""

    def ask(self, conditions, timeline):
        asked = super().ask(conditions, timeline)
        asked[np.random.default_rng().random(len(asked)) < 0.5] = 0
        return asked


class Deaf(PerceptualDecisionMaking):
    """Its stimulus lasts as long as it likes."""

    def durations(self, conditions):
        return {**super().durations(conditions), "stimulus": 500.0}


class Lopsided(PerceptualDecisionMaking):
    """A side that a balanced batch leaves out."""

    def factorial(self, rng=None, *, n_repeats=1):
        return super().factorial(rng, n_repeats=n_repeats).select(np.arange(9))


class Unlabelled(PerceptualDecisionMaking):
    """A factor that is no condition."""

    def complete(self, n_trials, conditions, rng):
        completed = super().complete(n_trials, conditions, rng)
        del completed["coherence"]
        return completed


class OneSided(PerceptualDecisionMaking):
    """A level that is never drawn."""

    def draw(self, n_trials, rng):
        trials = super().draw(4 * n_trials, rng)
        return trials.select(np.flatnonzero(trials.conditions["coherence"] > 0)[:n_trials])


class Generous(PerceptualDecisionMaking):
    """Gives a silent network more than chance."""

    def score(self, outputs, trials):
        return np.maximum(super().score(outputs, trials), 0.9)


class BeyondOne(PerceptualDecisionMaking):
    def score(self, outputs, trials):
        return 3 * super().score(outputs, trials) - 2


class NoConstants(PerceptualDecisionMaking):
    def constant_inputs(self):
        return {}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Hidden, "two trials have shown the same inputs and ask for different outputs"),
        (Secretive, "a perfect network must score 1|conditions and epochs do not rebuild the targets"),
        (Unrepeatable, "the same generator gave different targets"),
        (Deaf, r"'stimulus' = 700.0 ms at dt = 100.0 ms gave an epoch 'stimulus' of \[500.0, 500.0"),
        (Lopsided, r"factorial gave 9 trials for 10 conditions"),
        (Unlabelled, "the factor 'coherence' is missing among the conditions"),
        (OneSided, r"'coherence' never takes \{0.0\} in"),
        (Generous, r"a silent network scores 0.9\d\d, above chance_score = 0.500"),
        (BeyondOne, "a silent network's scores must lie between 0 and 1"),
        (NoConstants, "constant_inputs must name at least one input"),
    ],
)
def test_a_fault_in_a_task_of_epochs_is_found(kind, sentence):
    with pytest.raises((AssertionError, KeyError), match=sentence):
        check_task(kind(delay=Uniform(0, 900) if kind is Hidden else 0.0))


def fixed(self, n_trials, rng):
    return super(type(self), self).draw(n_trials, np.random.default_rng(0))


def unseeded(self, n_trials, rng):
    return super(type(self), self).draw(n_trials, np.random.default_rng())


def too_few(self, n_trials, rng):
    return super(type(self), self).draw(n_trials - 1 or 1, rng)


def bare_arrays(self, n_trials, rng):
    return np.zeros((n_trials, 3, 1))


def no_single_trial(self, n_trials, rng):
    return super(type(self), self).draw(max(n_trials, 2), rng)


@pytest.mark.parametrize(
    ("member", "value", "sentence"),
    [
        ("draw", fixed, "two generators gave the same trials: draw from rng"),
        ("draw", unseeded, "the same generator gave different inputs"),
        ("draw", too_few, r"draw\(64\) gave 63 trials"),
        ("draw", bare_arrays, "draw must return Trials, got ndarray"),
        ("draw", no_single_trial, "must be able to draw a single trial"),
        ("input_labels", (), "needs one input label per channel"),
        ("output_labels", ("a", "b"), "needs one output label per channel"),
        ("score", lambda self, outputs, trials: np.full(len(outputs), 0.9), "must score 1, got 0.9"),
        ("score", lambda self, outputs, trials: np.ones(len(outputs)), "a silent network must not score 1"),
        ("score", lambda self, outputs, trials: 1.0, r"score must have shape \(trial,\), got \(\)"),
        (
            "score",
            lambda self, outputs, trials: np.where(outputs.any(axis=(1, 2)), 1, np.nan),
            "a silent network must have a finite score",
        ),
        ("choose", lambda self, outputs, trials: np.zeros(3), r"choose must have shape \(trial,\)"),
        (
            "choose",
            lambda self, outputs, trials: np.full(len(outputs), -2),
            "choices are classes, -1 for none",
        ),
        ("ideal_choices", lambda self, trials: 1, r"ideal_choices must have shape \(trial,\)"),
        ("constant_inputs", lambda self: {"held": np.zeros(4)}, r"constant input 'held' has shape \(4,\)"),
        ("constant_inputs", lambda self: {"held": np.array([np.inf])}, "constant input 'held' is not finite"),
    ],
)
def test_a_fault_in_any_other_member_is_found(echo_class, member, value, sentence):
    faulty = dataclass(frozen=True)(type("Faulty", (echo_class,), {member: value}))
    with pytest.raises(AssertionError, match=sentence):
        check_task(faulty())


def test_a_task_must_be_a_frozen_dataclass(echo_class):
    class Plain(Task):
        n_inputs = n_outputs = 1
        dt = 10.0

    with pytest.raises(AssertionError, match="must be a dataclass"):
        check_task(Plain())

    thawed = dataclass(type("Thawed", (Task,), {**dict(vars(Plain)), "__annotations__": {"dt": float}}))
    with pytest.raises(AssertionError, match="must be frozen"):
        check_task(thawed())
    with pytest.raises(AssertionError, match="lacks something of TaskProtocol"):
        check_task(object())


def test_a_sound_task_passes_and_advances_nothing(echo_class, random_states):
    before = random_states()
    check_task(echo_class())
    assert random_states() == before


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "sigmoid"])
@pytest.mark.parametrize("leak", [{}, {"tau": 50.0, "dt": 20.0}])
def test_every_network_passes_its_checker(dynamics, activation, leak):
    network = RateRNN(
        2, 6, 3, dynamics=dynamics, activation=activation, noise_std=0.1, trainable_initial_state=True, **leak
    )
    check_network(network)
    assert network.training
    assert network.recurrent_weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("member", "sentence"),
    [("step", "step and forward differ"), ("jacobian", "jacobian differs"), ("readout", "readout")],
)
def test_a_fault_in_a_network_is_found(member, sentence):
    class Faulty(RateRNN):
        pass

    setattr(Faulty, member, lambda self, *args: 1.01 * getattr(RateRNN, member)(self, *args))
    with pytest.raises(AssertionError, match=sentence):
        check_network(Faulty(2, 4, 1, dynamics="current", alpha=0.5))


def test_a_wrong_closed_form_derivative_is_found():
    from neurornn.networks.activations import Activation

    wrong = Activation("wrong", torch.tanh, (-math.inf, math.inf), lambda u: torch.ones_like(u))
    with pytest.raises(AssertionError, match="jacobian differs"):
        check_network(RateRNN(1, 3, 1, activation=wrong))


def test_a_registered_activation_without_a_derivative_passes():
    register_activation("squared_relu", lambda u: torch.relu(u) ** 2)
    try:
        check_network(RateRNN(1, 4, 1, activation="squared_relu", dynamics="current", alpha=0.3))
    finally:
        del ACTIVATIONS["squared_relu"]
