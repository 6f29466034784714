"""What evaluations measure beside loss and score, against closed forms, brute force and each other."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import GRU, LSTM, InputError, RateRNN, train
from neurornn.tasks import DelayedComparison, MultiTask, PerceptualDecisionMaking, Task, Trials
from neurornn.training import diagnostics, gradient_profile
from neurornn.training.diagnostics import Diagnostics
from neurornn.training.losses import Batch

SHIPPED = tuple(nr.networks.ACTIVATIONS)
"""Before any test registers one of its own."""

DOUBLE = torch.float64


@dataclass(frozen=True)
class Follow(Task):
    """Real targets at some steps of some trials: enough to tell every index from every other."""

    n_steps: int = 12
    padded: bool = False
    last_only: bool = False
    dt: float = 10.0
    n_inputs = 2
    n_outputs = 2
    accuracy_by: ClassVar[tuple[str, ...]] = ("cue",)

    def draw(self, n_trials, rng):
        shape = n_trials, self.n_steps, 2
        inputs, targets = rng.standard_normal(shape), rng.standard_normal(shape)
        mask = rng.integers(0, 3, shape).astype(float)
        if self.last_only:
            mask[:, :-1], mask[:, -1] = 0, 1
        valid = np.ones(shape[:2], bool)
        if self.padded:
            valid[0, self.n_steps - 5 :] = False
            valid[:, self.n_steps - 2 :] = False
        return Trials(self, inputs, targets, mask, valid, {"cue": np.arange(n_trials) % 3})

    def score(self, outputs, trials):
        return (np.sign(outputs) == np.sign(trials.targets)).mean((1, 2))


def drawn(n_trials=3, seed=0, **options):
    return Follow(**options).draw(n_trials, np.random.default_rng(seed))


def small(family=RateRNN, n=5, **options):
    options = {"dtype": DOUBLE, "seed": 1, **options}
    # Parameters of an activation get the dtype only here.
    return family(2, n, 2, **options).to(options["dtype"])


def batch_of(trials, network):
    return Batch(trials, network.output_bias)


def measured(network, trials, **scores):
    """The measures of a network on trials, without scores unless they are given."""
    batch = batch_of(trials, network)
    with torch.no_grad():
        rates = network.eval()(batch.inputs)[1]
    return Diagnostics(network).measure(batch, rates, scores)


# Gradients through time ---------------------------------------------------------------------------------

RATE_OPTIONS = {
    "plain": {},
    "leak": {"alpha": 0.4},
    "leak of each unit": {"tau": [20.0, 30.0, 40.0, 50.0, 60.0], "dt": 10.0},
    "trained leak": {"tau": 50.0, "dt": 10.0, "trainable_tau": True},
    "initial state": {"alpha": 0.4, "initial_state": [0.1, -0.2, 0.3, 0.0, 0.5]},
    "Dale": {"excitatory_fraction": 0.6, "activation": "relu"},
    "low rank": {"rank": 2, "alpha": 0.3},
    "feedback": {"feedback": True, "alpha": 0.3},
    "low rank with feedback": {"feedback": True, "rank": 1},
    "no recurrent weights": {"recurrent": False},
    "three layers": {"n_layers": 3, "alpha": 0.4},
    "three residual layers": {"n_layers": 3, "alpha": 0.4, "residual": True},
    "softmax": {"readout": "softmax"},
    "attention": {"attention": "dot"},
    "weight norm": {"weight_norm": True},
    "trained activation": {"activation": "parametric_relu", "n_layers": 2},
}
OTHERS = {
    "LSTM": (LSTM, {}),
    "LSTM of two residual layers": (LSTM, {"n_layers": 2, "residual": True}),
    "GRU": (GRU, {}),
    "GRU of two layers": (GRU, {"n_layers": 2}),
    "layer norm": (RateRNN, {"layer_norm": True, "alpha": 0.4}),
    "plasticity": (RateRNN, {"plasticity": "mixed", "tau": 50.0, "dt": 10.0, "activation": "sigmoid"}),
}


def by_both(network, trials):
    batch = batch_of(trials, network.eval())
    with torch.no_grad():
        return diagnostics._by_recursion(network, batch), diagnostics._by_autograd(network, batch)


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
@pytest.mark.parametrize("options", RATE_OPTIONS.values(), ids=RATE_OPTIONS)
def test_the_recursion_is_the_derivative_that_autograd_takes(dynamics, options):
    network = small(dynamics=dynamics, **{"activation": "softplus", **options})
    with torch.no_grad():
        for bias in (network.output_bias, *(layer.bias for layer in network.layers)):
            bias += torch.linspace(-0.5, 0.5, len(bias), dtype=DOUBLE)
    assert diagnostics._has_recursion(network)
    recursion, autograd = by_both(network, drawn(padded=True))
    assert np.abs(autograd).max() > 1e-3
    # Sums of a few hundred terms below 1, each rounded to 1e-16.
    np.testing.assert_allclose(recursion, autograd, rtol=1e-10, atol=1e-12)


def test_the_recursion_holds_for_every_activation_and_in_float32():
    for activation in SHIPPED:
        recursion, autograd = by_both(small(activation=activation, alpha=0.5), drawn())
        np.testing.assert_allclose(recursion, autograd, rtol=1e-10, atol=1e-12, err_msg=activation)
    recursion, autograd = by_both(small(n=32, dtype=torch.float32, gain=1.5), drawn(n_steps=40))
    # Forty steps, each of which rounds to 1e-7 and lets errors grow a little.
    np.testing.assert_allclose(recursion, autograd, rtol=1e-3, atol=1e-5 * np.abs(autograd).max())


def loss_from(network, batch, states, t, state):
    """The loss where the state of step t is replaced, and all later ones follow from it."""
    path = [*states[:t], state]
    for now in batch.inputs.unbind(1)[t + 1 :]:
        path.append(network.step(path[-1], now))
    return batch.loss(network.readout(network.rates(torch.stack(path, 1))))


@pytest.mark.parametrize(
    ("family", "options"),
    [*OTHERS.values(), (RateRNN, {"n_layers": 2, "residual": True, "dynamics": "current"})],
    ids=[*OTHERS, "two residual layers"],
)
def test_the_profile_is_what_moving_a_state_does_to_the_loss(family, options):
    network = small(family, **options).eval()
    trials = drawn(n_steps=5)
    batch, step = batch_of(trials, network), 1e-5
    norms = np.zeros((3, 5))
    with torch.no_grad():
        states = [network.step(network.initial_state(3), batch.inputs[:, 0])]
        for now in batch.inputs.unbind(1)[1:]:
            states.append(network.step(states[-1], now))
        for t in range(5):
            moved = torch.zeros_like(states[t])
            for place in np.ndindex(moved.shape):
                change = torch.zeros_like(moved)
                change[place] = step
                ends = [loss_from(network, batch, states, t, states[t] + sign * change) for sign in (1, -1)]
                moved[place] = (ends[0] - ends[1]) / (2 * step)
            norms[:, t] = 3 * moved.norm(dim=1)
    # A central difference errs by 1e-10 of its third derivative and by 1e-11 of rounding.
    np.testing.assert_allclose(gradient_profile(network, trials).gradient_norm, norms.mean(0), rtol=1e-6)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_orthogonal_weights_change_the_length_of_a_gradient_by_their_gain(factor):
    n_steps = 30
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)))[0]
    network = small(n=6, activation="identity", recurrent_initialisation=factor * rotation)
    trials = drawn(n_steps=n_steps, last_only=True)
    profile = gradient_profile(network, trials)
    norm = profile.gradient_norm.values
    np.testing.assert_allclose(norm, norm[-1] * factor ** np.arange(n_steps - 1, -1, -1), rtol=1e-10)
    ratio = profile.attrs["gradient_early"] / profile.attrs["gradient_late"]
    assert ratio == pytest.approx(factor ** (n_steps - 3), rel=1e-10)
    outputs = network(batch_of(trials, network).inputs)[0][:, -1].detach().numpy()
    pull = 2 * (outputs - trials.targets[:, -1]) / 2 @ network.output_weight.detach().numpy()
    assert norm[-1] == pytest.approx(np.linalg.norm(pull, axis=1).mean(), rel=1e-10)


def test_a_gradient_that_leaves_the_range_of_numbers_is_infinite_and_warns_of_nothing(recwarn):
    # Fifty steps, each of which makes it 1e8 times as long; without inputs the states stay at zero.
    weights = 1e8 * torch.eye(5, dtype=DOUBLE)
    network = small(activation="identity", recurrent_initialisation=weights)
    trials = drawn(n_steps=50, last_only=True)
    trials.inputs[:] = 0
    profile = gradient_profile(network, trials)
    assert np.isinf(profile.gradient_norm[0])
    assert np.isfinite(profile.gradient_norm[-1])
    assert measured(network, trials)["gradient_early"] == math.inf
    assert not recwarn.list


def test_the_profile_does_not_depend_on_how_many_trials_there_are():
    network, trials = small(alpha=0.3), drawn(1)
    many = trials.select(np.zeros(7, int))
    one, seven = gradient_profile(network, trials), gradient_profile(network, many)
    np.testing.assert_allclose(one.gradient_norm, seven.gradient_norm, rtol=1e-12)
    assert seven.attrs["n_trials"] == 7
    assert one.gradient_norm.dims == ("time",)
    np.testing.assert_array_equal(one.time, 10.0 * np.arange(12))


def test_padding_counts_in_no_mean():
    network, trials = small(), drawn(padded=True)
    batch = batch_of(trials, network.eval())
    with torch.no_grad():
        norms = 3 * np.linalg.norm(diagnostics._by_autograd(network, batch), axis=2)
    profile = gradient_profile(network, trials)
    wanted = np.r_[norms[:, :7].mean(0), norms[1:, 7:10].mean(0), np.nan, np.nan]
    np.testing.assert_allclose(profile.gradient_norm, wanted, rtol=1e-10)
    asked = (trials.mask > 0).any(2)
    ends = [int(np.flatnonzero(own)[-1]) + 1 for own in asked]
    assert ends[0] <= 7 < max(ends) <= 10
    # A tenth of at most ten steps is one step.
    late = np.mean([norm[end - 1] for norm, end in zip(norms, ends, strict=True)])
    assert profile.attrs["gradient_early"] == pytest.approx(norms[:, 0].mean(), rel=1e-10)
    assert profile.attrs["gradient_late"] == pytest.approx(late, rel=1e-10)


def test_trials_that_ask_nothing_have_no_ends():
    trials = drawn()
    silent = Trials(trials.task, trials.inputs, trials.targets, np.zeros_like(trials.mask))
    profile = gradient_profile(small(), silent)
    assert np.isnan([profile.attrs["gradient_early"], profile.attrs["gradient_late"]]).all()
    assert not {"gradient_early", "gradient_late"} & measured(small(), silent).keys()


def test_the_profile_is_without_noise_and_leaves_the_network_as_it_is():
    trials = drawn()
    noisy = small(noise_std=0.5, input_noise_std=0.5, dropout=0.5, seed=1).train()
    before = noisy.noise_generator.get_state()
    profile = gradient_profile(noisy, trials)
    assert noisy.training
    assert torch.equal(before, noisy.noise_generator.get_state())
    assert all(own.grad is None and own.requires_grad for own in noisy.parameters())
    np.testing.assert_array_equal(profile.gradient_norm, gradient_profile(small(), trials).gradient_norm)
    frozen = small(LSTM)
    wanted = gradient_profile(frozen, trials).gradient_norm
    np.testing.assert_array_equal(
        gradient_profile(frozen.requires_grad_(False), trials).gradient_norm, wanted
    )


def test_the_profile_takes_other_losses():
    network, trials = small(), drawn()
    wanted = gradient_profile(network, trials).gradient_norm
    own = gradient_profile(network, trials, loss=lambda y, t: 3 * (y - t) ** 2).gradient_norm
    np.testing.assert_allclose(own, 3 * wanted, rtol=1e-12)
    share = (trials.mask > 0).mean()
    spread = gradient_profile(network, trials, normalise="all").gradient_norm
    np.testing.assert_allclose(spread, share * wanted, rtol=1e-12)


def test_a_profile_can_be_saved(tmp_path):
    profile = gradient_profile(small(), drawn())
    nr.save(profile, tmp_path / "profile.nc")
    assert nr.load(tmp_path / "profile.nc").gradient_norm.equals(profile.gradient_norm)


def test_what_has_no_profile_is_told():
    with pytest.raises(InputError, match="one direction"):
        gradient_profile(small(bidirectional=True), drawn())
    with pytest.raises(InputError, match="classes"):
        gradient_profile(small(), drawn(), loss="cross_entropy")
    with pytest.raises(InputError, match="inputs"):
        gradient_profile(RateRNN(3, 4, 2, dtype=DOUBLE), drawn())
    with pytest.raises(InputError, match="input"):
        gradient_profile(LSTM(3, 4, 2, dtype=DOUBLE), drawn())


@pytest.mark.parametrize("family", [RateRNN, LSTM])
def test_the_columns_are_the_ends_of_the_profile_of_the_first_trials(family):
    network, trials = small(family), drawn(10)
    found = measured(network, trials)
    few = trials.select(np.arange(diagnostics.N_PROFILE_TRIALS))
    profile = gradient_profile(network, few)
    for name in ("gradient_early", "gradient_late"):
        assert found[name] == profile.attrs[name] > 0


def test_plastic_and_bidirectional_networks_have_no_columns_of_it():
    plastic = small(plasticity="mixed", tau=50.0, dt=10.0, activation="relu")
    for network in (plastic, small(bidirectional=True), small(LSTM, bidirectional=True)):
        assert not any(name.startswith("gradient") for name in measured(network, drawn()))


# Scores by condition ------------------------------------------------------------------------------------


def grouped(conditions, score, by=None):
    """The columns of a score for trials of some conditions."""
    n = len(score)
    trials = drawn(n)

    @dataclass(frozen=True)
    class Own(Follow):
        accuracy_by: ClassVar[tuple[str, ...]] = tuple(conditions) if by is None else by

    own = Trials(Own(), trials.inputs, trials.targets, trials.mask, trials.valid, conditions)
    found = measured(small(), own, score=np.asarray(score, float))
    return {name: value for name, value in found.items() if name.startswith("score")}


def test_scores_are_means_over_the_trials_of_each_value():
    task = PerceptualDecisionMaking(coherences=(0.0, 6.4, 51.2))
    network = RateRNN(task.n_inputs, 8, task.n_outputs, seed=0)
    trials = task.draw(60, np.random.default_rng(0))
    score, noisy = np.random.default_rng(1).random((2, 60))
    found = measured(network, trials, score=score, noisy_score=noisy)
    for coherence, label in ((0.0, "0"), (6.4, "6.4"), (51.2, "51.2")):
        rows = np.isclose(trials.conditions["coherence"], coherence)
        assert found[f"score_coherence_{label}"] == pytest.approx(score[rows].mean(), rel=1e-12)
        assert found[f"noisy_score_coherence_{label}"] == pytest.approx(noisy[rows].mean(), rel=1e-12)
    assert sum("score" in name for name in found) == 6


def test_each_task_of_several_has_its_score():
    task = MultiTask((PerceptualDecisionMaking(dt=20.0), DelayedComparison(dt=20.0)), names=("a/b", "second"))
    trials = task.held_out().draw(12, np.random.default_rng(0))
    score = np.arange(12.0)
    found = measured(RateRNN(task.n_inputs, 4, task.n_outputs), trials, score=score)
    for name, column in (("a/b", "score_task_a_b"), ("second", "score_task_second")):
        assert found[column] == pytest.approx(score[trials.conditions["task"] == name].mean())


def test_all_tasks_have_a_column_and_other_conditions_as_long_as_there_is_room():
    n = diagnostics.LARGEST_NUMBER_OF_GROUPS
    score = np.arange(2.0 * n)
    many = np.array([f"task{k}" for k in range(2 * n)])
    assert len(grouped({"task": many}, score)) == 2 * n
    assert len(grouped({"angle": score % n}, score)) == n
    assert grouped({"angle": score}, score) == {}
    half = {"angle": score % (n // 2), "cue": score % (n // 2 + 1), "side": score % 2 > 0}
    found = grouped(half, score)
    assert len(found) == n // 2 + 2
    assert not any("cue" in name for name in found)


def test_names_are_plain_words_and_missing_values_are_no_group():
    conditions = {
        "signed": np.array([-0.0, 0.0, 1e-5, np.nan]),
        "go": np.array([True, False, True, True]),
        "rule": np.array(["go/no go", "", "go/no go", " pro"]),
        "same": np.ones(4),
    }
    found = grouped(conditions, [1.0, 2.0, 3.0, 4.0])
    assert found == {
        "score_signed_0": 1.5,
        "score_signed_1e-05": 3.0,
        "score_go_false": 2.0,
        "score_go_true": pytest.approx(8 / 3),
        "score_rule__pro": 4.0,
        "score_rule_go_no_go": 2.0,
    }


def test_values_that_read_the_same_are_one_group():
    found = grouped({"level": np.array([0.3, 0.1 + 0.2, 1.0])}, [0.0, 1.0, 1.0])
    assert found == {"score_level_0.3": 0.5, "score_level_1": 1.0}


def test_conditions_that_the_trials_lack_are_passed_over():
    assert grouped({"cue": np.arange(3)}, [1.0] * 3, by=("depth",)) == {}
    assert len(grouped({"cue": np.arange(3)}, [1.0] * 3, by="cue")) == 3


def test_other_trials_make_other_groups():
    network = small()
    measures = Diagnostics(network)
    found = []
    for n_trials in (2, 5):
        batch = batch_of(drawn(n_trials), network)
        rates = network.eval()(batch.inputs)[1].detach()
        found.append(measures.measure(batch, rates, {"score": np.ones(n_trials)}))
    assert "score_cue_2" in found[1]
    assert "score_cue_2" not in found[0]


# Weights and units --------------------------------------------------------------------------------------


def test_the_spectral_radius_of_a_rotation_is_its_gain():
    turn = 1.5 * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=DOUBLE)
    found = measured(small(n=2, recurrent_initialisation=turn), drawn())
    assert found["spectral_radius"] == pytest.approx(1.5, rel=1e-12)


def test_each_layer_and_direction_has_a_spectral_radius_under_the_name_of_its_weights():
    network = small(n_layers=2, bidirectional=True)
    found = measured(network, drawn())
    weights = {name: own for name, (_, own) in network.weights().items() if name.endswith("recurrent_weight")}
    assert len(weights) == 4
    for name, own in weights.items():
        radius = torch.linalg.eigvals(own.detach()).abs().max().item()
        column = name.replace("recurrent_weight", "spectral_radius")
        assert found[column] == pytest.approx(radius, rel=1e-10)


def test_some_networks_have_no_spectral_radius(monkeypatch):
    for network in (small(LSTM), small(GRU), small(recurrent=False)):
        assert not any("radius" in name for name in measured(network, drawn()))
    monkeypatch.setattr(diagnostics, "LARGEST_SPECTRUM", 4)
    assert not any("radius" in name for name in measured(small(), drawn()))


def at_rates(network, rates, trials=None):
    """The measures where the network's rates are given numbers, (trial, time, unit)."""
    n_trials, n_steps, _ = rates.shape
    trials = drawn(n_trials, n_steps=n_steps) if trials is None else trials
    return Diagnostics(network).measure(batch_of(trials, network), torch.as_tensor(rates), {})


def test_silent_units_are_those_without_a_rate_at_any_valid_step():
    network = small(n=4, activation="relu", recurrent_initialisation=torch.zeros(4, 4))
    network.bias = [-1e3, 1.0, -1e3, 1.0]
    assert measured(network, drawn())["silent_units"] == 0.5
    rates = np.zeros((80, 12, 4))
    rates[0, 0, 0] = 0.1
    rates[79, 11, 1] = -0.1
    rates[:, :, 2] = 1e-7
    assert at_rates(network, rates)["silent_units"] == 0.5
    padded = drawn(80, padded=True)
    assert at_rates(network, rates, padded)["silent_units"] == 0.75
    assert "silent_units" not in Diagnostics(network).measure(batch_of(padded, network), None, {})


def test_saturated_units_are_near_a_bound_at_more_than_nearly_all_steps():
    network = small(n=5, activation="tanh")
    rates = np.zeros((2, 50, 5))
    rates[:, :, 0] = 0.97
    rates[:, ::2, 1], rates[:, 1::2, 1] = -0.97, 1.0
    rates[:, :, 2] = 0.95
    rates.reshape(100, 5)[:95, 3] = 1.0
    rates.reshape(100, 5)[:96, 4] = 1.0
    assert at_rates(network, rates)["saturated_units"] == pytest.approx(3 / 5)
    sigmoid = small(n=5, activation="sigmoid")
    rates = np.full((2, 50, 5), [0.019, 0.5, 0.981, 0.979, 0.021])
    assert at_rates(sigmoid, rates)["saturated_units"] == pytest.approx(2 / 5)


def test_saturation_is_looked_for_at_valid_steps():
    network, trials = small(n=2, activation="tanh"), drawn(padded=True)
    rates = np.ones((3, 12, 2))
    rates[~trials.valid] = 0
    assert at_rates(network, rates, trials)["saturated_units"] == 1
    rates[1, 2, 0] = rates[1, 3, 0] = 0
    assert at_rates(network, rates, trials)["saturated_units"] == 0.5


@pytest.mark.parametrize(
    ("options", "has"),
    [
        ({"activation": "relu"}, False),
        ({"activation": "elu"}, False),
        ({"activation": "hard_tanh"}, True),
        ({"n_layers": 2}, True),
        ({"n_layers": 2, "residual": True}, False),
        ({"bidirectional": True}, True),
    ],
)
def test_only_units_between_two_bounds_saturate(options, has):
    assert ("saturated_units" in measured(small(**options), drawn())) == has
    assert "saturated_units" in measured(small(GRU), drawn())


# In a training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [RateRNN, LSTM])
def test_every_evaluation_of_a_training_has_the_same_columns(tmp_path, family):
    task = PerceptualDecisionMaking(coherences=(0.0, 6.4))
    network = family(task.n_inputs, 8, task.n_outputs, seed=0, input_noise_std=0.1)
    settings = {"n_steps": 4, "batch_size": 4, "evaluate_every": 2, "n_evaluation_trials": 24}
    history = train(network, task, learning_rate=1e-2, progress=False, **settings).history
    names = ["score_coherence_0", "score_coherence_6.4", "noisy_score_coherence_0", "silent_units"]
    names += ["saturated_units", "gradient_early", "gradient_late"]
    names += ["spectral_radius"] if family is RateRNN else []
    for name in names:
        assert history[name].dims == ("evaluation",)
        assert np.isfinite(history[name]).all(), name
    groups = ("score_coherence_0", "score_coherence_6.4")
    low, high = (history[list(groups)].to_array().reduce(f, "variable") for f in (np.min, np.max))
    assert ((low <= history.evaluation_score) & (history.evaluation_score <= high)).all()
    nr.save(history, tmp_path / "history.nc")
    assert set(names) <= set(nr.load(tmp_path / "history.nc").data_vars)
    bare = train(network, task, progress=False, diagnostics=False, **settings).history
    assert not set(names) & set(bare.data_vars)


def test_measuring_changes_no_weights():
    task = PerceptualDecisionMaking()
    weights = []
    for looks in (True, False):
        network = RateRNN(task.n_inputs, 8, task.n_outputs, seed=0, noise_std=0.1)
        train(
            network,
            task,
            n_steps=4,
            batch_size=4,
            evaluate_every=1,
            n_evaluation_trials=16,
            learning_rate=1e-2,
            progress=False,
            diagnostics=looks,
        )
        weights.append(network.state_dict())
    assert all(torch.equal(own, weights[1][name]) for name, own in weights[0].items())
    assert not any(math.isnan(float(own.sum())) for own in weights[0].values())
