import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import LSTM, InputError, RateRNN
from neurornn.engine import Noise
from neurornn.testing import check_network

DYNAMICS = ["rate", "current", "leak_inside"]
LEAK = {"tau": 100.0, "dt": 20.0}
PLASTIC = {**LEAK, "plasticity": "mixed", "activation": "relu"}
CONSTANTS = {"facilitating": (200.0, 1500.0, 0.15), "depressing": (1500.0, 200.0, 0.45)}
"""Time constants of x and u in ms, and U, as in Masse et al. 2019."""


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(net, seed=20):
    """The network with every bias, and all else that begins at zero, moved off it."""
    with torch.no_grad():
        for k, parameter in enumerate(net.parameters()):
            parameter.add_(0.2 * draw(*parameter.shape, seed=seed + k).to(parameter.dtype))
    return net


def synapses_of(net):
    """The constants of each unit's synapses, one unit after the other."""
    kind = net.config.plasticity
    kinds = ["facilitating", "depressing"] if kind == "mixed" else [kind, kind]
    return torch.tensor([CONSTANTS[kinds[k % 2]] for k in range(net.hidden_size)], dtype=torch.float64).T


def by_hand(net, inputs, begin=None, fed=None, noise=None):
    """The design's equations step by step; ``fed(t, own)`` says what comes back for the own output."""
    weights = {name: values for name, (_, values) in net.weights().items()}
    f = {"tanh": torch.tanh, "relu": torch.relu, "softplus": torch.nn.functional.softplus}[
        net.activation.name
    ]
    n, alpha = net.hidden_size, net.alpha
    begin = net.initial_state(len(inputs)) if begin is None else begin
    state, x, u = begin[:, :n], begin[:, n : 2 * n], begin[:, 2 * n :]
    outputs, states = [], []
    for t in range(inputs.shape[1]):
        rate = heard = f(state) if net.dynamics == "current" else state
        if net.config.plasticity is not None:
            tau_x, tau_u, usage = synapses_of(net)
            dt, seconds = net.dt, net.dt / 1000
            spent = u * x * rate
            x, u = (
                (x + dt * (1 - x) / tau_x - seconds * spent).clamp(0, 1),
                (u + dt * (usage - u) / tau_u + seconds * usage * (1 - u) * rate).clamp(0, 1),
            )
            heard = u * x * rate
        total = heard @ weights["recurrent_weight"].T + inputs[:, t] @ weights["input_weight"].T
        if net.has_feedback:
            own = rate @ weights["output_weight"].T + weights["output_bias"]
            total = total + (own if fed is None else fed(t, own)) @ weights["feedback_weight"].T
        if "norm_gain" in weights:
            centred = total - total.mean(1, keepdim=True)
            total = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * weights["norm_gain"]
        total = total + weights["bias"]
        xi = 0 if noise is None else noise[t]
        if net.dynamics == "rate":
            state = (1 - alpha) * state + alpha * f(total + xi)
        elif net.dynamics == "current":
            state = (1 - alpha) * state + alpha * total + xi
        else:
            state = f((1 - alpha) * state + alpha * (total + xi))
        rate = f(state) if net.dynamics == "current" else state
        outputs.append(rate @ weights["output_weight"].T + weights["output_bias"])
        states.append(torch.cat([state, x, u], dim=1))
    return torch.stack(outputs, dim=1), torch.stack(states, dim=1)


def same_with_gradients(net, found, wanted, *leaves):
    """Both results and all gradients agree, to what float64 leaves over ten steps."""
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    pulls = [draw(*part.shape, seed=40) for part in found]
    every = [*leaves, *net.parameters()]
    # What is not used has a gradient of zero.
    ours, theirs = (
        torch.autograd.grad(
            sum((part * pull).sum() for part, pull in zip(parts, pulls, strict=True)),
            every,
            materialize_grads=True,
            retain_graph=True,
        )
        for parts in (found, wanted)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert sum(bool(own.any()) for own in theirs) >= 4, "hardly anything had a gradient"


# Feedback in open loop --------------------------------------------------------------------------------

PARTS = {
    "nothing else": {},
    "a leak": LEAK,
    "a tau for each unit": {"tau": [30.0, 40.0, 50.0, 80.0, 100.0, 200.0], "dt": 20.0},
    "trainable tau": {**LEAK, "trainable_tau": True},
    "plasticity": PLASTIC,
    "layer normalisation": {**LEAK, "layer_norm": True},
    "plasticity and layer normalisation": {**PLASTIC, "layer_norm": True},
    "low rank": {**LEAK, "rank": 2},
    "low rank and plasticity": {**PLASTIC, "rank": 2},
    "Dale's law": {**LEAK, "activation": "relu", "excitatory_fraction": 0.7},
    "everything": {
        **PLASTIC,
        "layer_norm": True,
        "excitatory_fraction": 0.7,
        "density": 0.7,
        "trainable_initial_state": True,
    },
    "weight norm": {"weight_norm": True},
    "no recurrent weights": {"recurrent": False},
}


def with_feedback(part, dynamics, **more):
    options = {"dtype": torch.float64, "gain": 0.8, "seed": 3, **PARTS[part], **more}
    return shaken(RateRNN(3, 6, 2, dynamics=dynamics, feedback=True, **options)).eval()


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("part", PARTS)
def test_fed_back_outputs_are_those_of_the_step_before(part, dynamics):
    net = with_feedback(part, dynamics)
    inputs = draw(4, 10, 3).requires_grad_()
    outputs, _, states = net(inputs, return_states=True)
    same_with_gradients(net, (outputs, states), by_hand(net, inputs), inputs)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("part", ["nothing else", "everything", "low rank"])
def test_feedback_begins_with_the_outputs_of_the_state_that_is_given(part, dynamics):
    net = with_feedback(part, dynamics)
    begin = torch.cat([draw(4, 6).abs(), torch.rand(4, 12, generator=seeded(), dtype=torch.float64)], dim=1)
    begin = begin[:, : net.state_size].requires_grad_()
    inputs = draw(4, 10, 3)
    outputs, _, states = net(inputs, begin, return_states=True)
    same_with_gradients(net, (outputs, states), by_hand(net, inputs, begin), begin)


@pytest.mark.parametrize("part", PARTS)
def test_networks_with_feedback_keep_to_what_is_asked_of_every_network(part):
    check_network(with_feedback(part, "rate"))


def test_feedback_weights_are_one_more_input_with_its_gain():
    net = RateRNN(1, 3000, 4, feedback=True, recurrent=False, input_gain=1.5, seed=2)
    weight = net.layers[0].feedback_weight
    assert weight.shape == (3000, 4)
    # 12 000 draws: the standard error of their standard deviation is less than a per cent.
    assert float(weight.detach().std()) == pytest.approx(1.5 / 2, rel=0.03)
    assert "feedback_weight" in net.weights()
    assert not RateRNN(1, 3, 4).has_feedback


# Teacher forcing --------------------------------------------------------------------------------------


def forced_by(teacher):
    """What a teacher says at every step; before the first one there is nothing but the own output."""
    return lambda t, own: own if t == 0 else teacher[:, t - 1]


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("part", PARTS)
def test_a_teacher_at_every_step_takes_the_place_of_the_outputs_one_step_later(part, dynamics):
    net = with_feedback(part, dynamics)
    inputs, teacher = draw(4, 10, 3).requires_grad_(), draw(4, 10, 2, seed=1).requires_grad_()
    outputs, _, states = net(inputs, teacher=teacher, return_states=True)
    wanted = by_hand(net, inputs, fed=forced_by(teacher))
    same_with_gradients(net, (outputs, states), wanted, inputs, teacher)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_without_recurrence_and_with_a_teacher_no_gradient_crosses_time(dynamics):
    net = with_feedback("no recurrent weights", dynamics, trainable_initial_state=True)
    inputs, teacher = draw(4, 7, 3).requires_grad_(), draw(4, 7, 2, seed=1).requires_grad_()
    outputs, _ = net(inputs, teacher=teacher)
    for t in range(7):
        by_input, by_teacher, by_first = torch.autograd.grad(
            outputs[:, t].square().sum(),
            [inputs, teacher, net.first_state],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        assert [bool(by_input[:, s].any()) for s in range(7)] == [s == t for s in range(7)]
        assert [bool(by_teacher[:, s].any()) for s in range(7)] == [s == t - 1 for s in range(7)]
        assert bool(by_first.any()) == (t == 0)
    # Without the teacher there is a way back in time: through the outputs.
    outputs, _ = net(inputs)
    (by_input,) = torch.autograd.grad(outputs[:, 6].square().sum(), inputs)
    assert all(by_input[:, s].any() for s in range(7))


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_all_steps_at_once_are_the_loop_over_them_noise_dropout_and_all(dynamics, layer_norm):
    options = {
        "dynamics": dynamics,
        "layer_norm": layer_norm,
        "noise_std": 0.3,
        "input_noise_std": 0.2,
        "output_noise_std": 0.1,
        "dropout": 0.4,
        "feedback": True,
        "dtype": torch.float64,
    }
    at_once = shaken(RateRNN(3, 6, 2, recurrent=False, **options))
    loop = RateRNN(3, 6, 2, gain=0, engine="reference", **options)
    with torch.no_grad():
        for name, values in at_once.named_parameters():
            if name in dict(loop.named_parameters()):
                loop.get_parameter(name).copy_(values)
    inputs, teacher = draw(4, 7, 3), draw(4, 7, 2, seed=1)
    for more in ({"teacher": teacher}, {}):
        found, wanted = (
            net(inputs, generator=seeded(5), return_states=True, **more) for net in (at_once, loop)
        )
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def coins_of(generator, n_trials, n_steps, probability):
    """The steps at which a trial is forced: drawn for each step and trial, and never at the first step."""
    forced = torch.rand(n_steps, n_trials, generator=generator) < probability
    forced[0] = False
    return forced


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("part", ["nothing else", "a leak", "low rank", "everything", "no recurrent weights"])
def test_a_teacher_at_some_steps_is_the_loop_that_takes_turns(part, dynamics):
    net = with_feedback(part, dynamics)
    inputs, teacher = draw(4, 10, 3).requires_grad_(), draw(4, 10, 2, seed=1)
    forced = coins_of(seeded(7), 4, 10, 0.4)

    def fed(t, own):
        return torch.where(forced[t][:, None], teacher[:, t - 1], own)

    found = net(inputs, teacher=teacher, teacher_probability=0.4, generator=seeded(7), return_states=True)
    same_with_gradients(net, (found[0], found[2]), by_hand(net, inputs, fed=fed), inputs)


def forced_share(probability, generator=None, n_trials=200, n_steps=101):
    """Which steps of an else silent unit a teacher of ones has moved."""
    net = RateRNN(0, 1, 1, feedback=True, gain=0, output_gain=0).eval()
    with torch.no_grad():
        net.layers[0].feedback_weight.fill_(1)
    return (
        net(
            torch.zeros(n_trials, n_steps, 0),
            teacher=torch.ones(n_trials, n_steps, 1),
            teacher_probability=probability,
            generator=generator,
        )[1].detach()[..., 0]
        != 0
    )


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_of_forced_steps_is_binomial_and_each_trial_has_its_own(probability):
    forced = forced_share(probability, seeded(1))
    assert not forced[:, 0].any()
    share = forced[:, 1:].double()
    # 20 000 draws; 4.5 standard errors.
    error = 4.5 * math.sqrt(probability * (1 - probability) / share.numel())
    assert float(share.mean()) == pytest.approx(probability, abs=error)
    # Independent over steps and over trials: the variance of either's sums is the binomial one, within 4.5
    # standard errors of a variance, which is sqrt(2 / n) of it.
    for axis in (0, 1):
        sums, n = share.sum(axis), share.shape[axis]
        ratio = float(sums.var()) / (n * probability * (1 - probability))
        assert ratio == pytest.approx(1, abs=4.5 * math.sqrt(2 / len(sums)))


def test_forced_steps_repeat_with_their_generator_and_none_or_all_need_none():
    assert torch.equal(forced_share(0.5, seeded(1)), forced_share(0.5, seeded(1)))
    assert not torch.equal(forced_share(0.5, seeded(1)), forced_share(0.5, seeded(2)))
    # Without one, the network's own stream, which is made from its seed: and it moves on.
    assert torch.equal(forced_share(0.5), forced_share(0.5))
    net = with_feedback("a leak", "rate")
    inputs, teacher = draw(4, 10, 3), draw(4, 10, 2, seed=1)
    first, second = (net(inputs, teacher=teacher, teacher_probability=0.5)[0] for _ in range(2))
    assert not torch.equal(first, second)
    own = net.noise_generator.get_state()
    assert torch.equal(net(inputs, teacher=teacher, teacher_probability=0)[0], net(inputs)[0])
    always = net(inputs, teacher=teacher, teacher_probability=1.0)
    assert torch.equal(always[0], net(inputs, teacher=teacher)[0])
    assert torch.equal(net.noise_generator.get_state(), own)
    assert not forced_share(0.0).any()
    assert forced_share(1.0)[:, 1:].all()


def test_a_teacher_is_never_the_future():
    net = with_feedback("a leak", "rate")
    inputs, teacher = draw(4, 10, 3), draw(4, 10, 2, seed=1)
    other = teacher.clone()
    other[:, 6:] = 9
    for p in (1.0, 0.5):
        first, second = (
            net(inputs, teacher=told, teacher_probability=p, generator=seeded())[0]
            for told in (teacher, other)
        )
        assert torch.equal(first[:, :7], second[:, :7])
        assert not torch.equal(first[:, 7:], second[:, 7:])


def test_a_teacher_that_does_not_fit_is_refused():
    net, inputs = RateRNN(1, 4, 2, feedback=True), torch.zeros(3, 5, 1)
    for wrong in (torch.zeros(3, 4, 2), torch.zeros(3, 5, 1), torch.zeros(3, 5), torch.zeros(2, 5, 2)):
        with pytest.raises(InputError, match=r"^`teacher` must have shape \(3, 5, 2\), got \("):
            net(inputs, teacher=wrong)
    with pytest.raises(InputError, match=r"`teacher` must be torch\.float32 on cpu like the network, got"):
        net(inputs, teacher=torch.zeros(3, 5, 2).double())
    with pytest.raises(InputError, match="`teacher` must be a torch tensor, got ndarray: use torch"):
        net(inputs, teacher=np.zeros((3, 5, 2)))
    with pytest.raises(InputError, match=r"`teacher` must hold finite numbers, got nan at \[0, 0, 0\]"):
        net(inputs, teacher=torch.full((3, 5, 2), math.nan))
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=rf"^`teacher_probability` must be from 0 to 1, got {p}$"):
            net(inputs, teacher=torch.zeros(3, 5, 2), teacher_probability=p)
    for other in (RateRNN(1, 4, 2), LSTM(1, 4, 2)):
        with pytest.raises(
            InputError,
            match=r"^`teacher` needs a network with output feedback, which this one does not have: build it "
            r"with feedback=True$",
        ):
            other(inputs, teacher=torch.zeros(3, 5, 2))


# Readouts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RateRNN, LSTM])
def test_softmax_outputs_are_shares_and_the_softmax_of_the_linear_ones(kind):
    linear = shaken(kind(3, 6, 4, dtype=torch.float64))
    softmax = kind(3, 6, 4, readout="softmax", dtype=torch.float64)
    softmax.load_state_dict(linear.state_dict())
    inputs = 5 * draw(4, 10, 3)
    outputs, rates = softmax(inputs)
    logits = linear(inputs)[0]
    powers = np.exp(logits.detach().numpy())
    np.testing.assert_allclose(outputs.detach(), powers / powers.sum(-1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(outputs.detach().sum(-1), 1, rtol=1e-14)
    torch.testing.assert_close(softmax.readout(rates), outputs, rtol=0, atol=1e-14)
    assert (softmax.readout_kind, linear.readout_kind) == ("softmax", "linear")
    # No output is too large for it.
    with torch.no_grad():
        softmax.output_bias[0] = 1e5
    assert softmax(inputs)[0][..., 0].eq(1).all()


SCORES = ["additive", "dot", "scaled", "bilinear"]


def naive_attention(attention, rates):
    """Scores and contexts by a loop over trials, over steps, and over all steps so far."""
    rates = rates.detach().numpy()
    weights = {name: values.detach().numpy() for name, values in attention.named_parameters()}

    def score(asked, asking):
        if attention.score == "additive":
            inside = weights["key_weight"] @ asked + weights["query_weight"] @ asking
            return float(weights["score_weight"][0] @ np.tanh(inside))
        if attention.score == "bilinear":
            return float(asked @ weights["key_weight"] @ asking)
        return float(asked @ asking) / (math.sqrt(len(asked)) if attention.score == "scaled" else 1)

    contexts = np.zeros_like(rates)
    for trial, own in enumerate(rates):
        for t in range(len(own)):
            powers = [math.exp(score(own[s], own[t])) for s in range(t + 1)]
            for s in range(t + 1):
                contexts[trial, t] += powers[s] / sum(powers) * own[s]
    return contexts, score


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kind", [RateRNN, LSTM])
def test_attention_is_the_double_loop_over_all_steps_so_far(kind, score):
    net = shaken(kind(3, 6, 2, attention=score, dtype=torch.float64))
    outputs, rates = net(draw(3, 9, 3))
    contexts, _ = naive_attention(net.attention, rates)
    np.testing.assert_allclose(net.attention(rates).detach(), contexts, rtol=0, atol=1e-12)
    wanted = contexts @ net.output_weight.detach().numpy().T + net.output_bias.detach().numpy()
    np.testing.assert_allclose(outputs.detach(), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.readout(rates), outputs, rtol=0, atol=1e-14)


@settings(max_examples=20)
@given(
    score=st.sampled_from(SCORES), n_steps=st.integers(1, 8), seed=st.integers(0, 100), size=st.floats(0, 3)
)
def test_scores_are_those_of_the_formulas_for_any_rates(score, n_steps, seed, size):
    attention = RateRNN(1, 5, 1, attention=score, seed=seed, dtype=torch.float64).attention
    rates = size * draw(2, n_steps, 5, seed=seed)
    contexts, formula = naive_attention(attention, rates)
    scores = attention.scores(rates).detach()
    assert scores.shape == (2, n_steps, n_steps)
    for trial in range(2):
        for asking in range(n_steps):
            for asked in range(n_steps):
                wanted = formula(rates[trial, asked].numpy(), rates[trial, asking].numpy())
                assert float(scores[trial, asking, asked]) == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(attention(rates).detach(), contexts, rtol=0, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_attention_never_sees_the_future(score):
    net = RateRNN(3, 6, 2, attention=score, dtype=torch.float64)
    inputs = draw(3, 9, 3)
    later = inputs.clone()
    later[:, 5:] += 10
    first, second = net(inputs)[0], net(later)[0]
    torch.testing.assert_close(second[:, :5], first[:, :5], rtol=0, atol=1e-15)
    assert (second[:, 5:] != first[:, 5:]).any()
    # At the first step there is nothing else to see, whatever the score.
    _, rates = net(inputs)
    torch.testing.assert_close(net.attention(rates)[:, 0], rates[:, 0], rtol=0, atol=1e-15)


def test_scaled_scores_are_the_dot_products_over_the_root_of_the_number_of_units():
    rates = draw(3, 9, 16)
    dot, scaled = (
        RateRNN(1, 16, 1, attention=score, dtype=torch.float64).attention.scores(rates)
        for score in ("dot", "scaled")
    )
    torch.testing.assert_close(scaled, dot / 4, rtol=1e-15, atol=0)


@pytest.mark.parametrize("score", SCORES)
def test_gradients_of_attention_are_those_of_differences(score):
    net = RateRNN(2, 3, 2, attention=score, dtype=torch.float64)
    names, weights = zip(*net.named_parameters(), strict=True)

    def run(inputs, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (inputs,))[0]

    arguments = [draw(2, 4, 2), *(w.detach().clone() for w in weights)]
    assert torch.autograd.gradcheck(run, [a.requires_grad_() for a in arguments])


def test_attention_begins_with_gaussian_weights_of_the_seed_and_has_none_for_dot_products():
    net, again = (RateRNN(1, 200, 1, attention="additive", seed=3) for _ in range(2))
    names = dict(net.attention.named_parameters())
    assert {name: tuple(own.shape) for name, own in names.items()} == {
        "key_weight": (200, 200),
        "query_weight": (200, 200),
        "score_weight": (1, 200),
    }
    for name, own in names.items():
        assert torch.equal(own, again.attention.get_parameter(name))
    # 40 000 draws: 4 standard errors of a standard deviation are 1.4 per cent.
    assert float(net.attention.key_weight.detach().std()) == pytest.approx(200**-0.5, rel=0.015)
    assert torch.equal(net.recurrent_weight, RateRNN(1, 200, 1, seed=3).recurrent_weight)
    for score in ("dot", "scaled"):
        assert not list(RateRNN(1, 4, 1, attention=score).attention.parameters())
    assert set(dict(RateRNN(1, 4, 1, attention="bilinear").attention.named_parameters())) == {"key_weight"}
    assert "attention_key_weight" in net.weights()


# Noise on inputs and outputs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leak", "factor"),
    [({}, 1.0), ({"alpha": 0.25}, math.sqrt(8)), (LEAK, math.sqrt(10)), ({"alpha": 1.0}, math.sqrt(2))],
)
def test_input_noise_has_its_scale_and_is_white(leak, factor):
    net = RateRNN(50, 50, 0, dynamics="current", gain=0, input_noise_std=0.3, dtype=torch.float64, **leak)
    net.input_weight = np.eye(50)
    inputs = draw(1, 30, 50).expand(40, 30, 50)
    # h without recurrent weights is alpha times a leaky sum of the inputs: take the sum apart again.
    states = torch.cat([torch.zeros(40, 1, 50), net(inputs, return_states=True)[2].detach()], dim=1)
    noise = (states[:, 1:] - (1 - net.alpha) * states[:, :-1]) / net.alpha - inputs
    # 60 000 draws: the standard error of a variance is 0.6 per cent, and of a correlation 0.4 per cent.
    assert float(noise.var()) == pytest.approx((0.3 * factor) ** 2, rel=0.025)
    assert float(noise.mean()) == pytest.approx(0, abs=4.5 * 0.3 * factor / 60_000**0.5)
    for one, other in (
        (noise[:, 1:], noise[:, :-1]),
        (noise[1:], noise[:-1]),
        (noise[..., 1:], noise[..., :-1]),
    ):
        assert float((one * other).mean() / noise.var()) == pytest.approx(0, abs=0.02)
    assert not torch.equal(net(inputs)[1], net(inputs)[1])
    net.eval()
    assert torch.equal(net(inputs)[1], net(inputs)[1])
    silent = by_hand_without_noise(net, inputs)
    torch.testing.assert_close(net(inputs)[1], silent, rtol=0, atol=1e-12)


def by_hand_without_noise(net, inputs):
    state, found = torch.zeros(len(inputs), net.hidden_size).double(), []
    for x in inputs.unbind(1):
        state = (1 - net.alpha) * state + net.alpha * x
        found.append(torch.tanh(state))
    return torch.stack(found, dim=1)


def test_input_noise_of_a_trained_tau_has_the_scale_of_the_moment_and_carries_no_gradient():
    net = RateRNN(2, 4, 1, input_noise_std=0.3, trainable_tau=True, dtype=torch.float64, **LEAK)
    with torch.no_grad():
        net.layers[0].leak_logit.add_(0.7)
    key = int(torch.randint(2**63 - 1, (), generator=seeded(3)))
    scale = 0.3 * math.sqrt(2 / float(net.alpha.detach()))
    inputs = draw(3, 8, 2)
    noise = Noise(key, scale).materialise((8, 3, 2), 0, inputs).transpose(0, 1)
    found, wanted = net(inputs, generator=seeded(3))[0], by_hand(net, inputs + noise)[0]
    same_with_gradients(net, (found,), (wanted,))


@pytest.mark.parametrize("kind", [RateRNN, LSTM])
@pytest.mark.parametrize("readout", ["linear", "softmax"])
def test_output_noise_is_added_to_the_outputs_in_train_mode_only(kind, readout):
    net = kind(2, 8, 5, output_noise_std=0.2, readout=readout, dtype=torch.float64)
    inputs = draw(200, 30, 2)
    outputs, rates = net(inputs)
    noise = (outputs - net.readout(rates)).detach()
    # 30 000 draws: the standard error of a variance is 0.8 per cent.
    assert float(noise.var()) == pytest.approx(0.04, rel=0.035)
    assert float(noise.mean()) == pytest.approx(0, abs=4.5 * 0.2 / 30_000**0.5)
    assert float((noise[:, 1:] * noise[:, :-1]).mean()) / 0.04 == pytest.approx(0, abs=0.03)
    evaluated, rates = net.eval()(inputs)
    torch.testing.assert_close(evaluated, net.readout(rates), rtol=0, atol=1e-12)
    assert not torch.equal(net(inputs, generator=seeded())[0], evaluated)


def test_noise_on_the_outputs_does_not_come_back_to_the_units():
    net = RateRNN(2, 8, 5, output_noise_std=0.2, feedback=True, dtype=torch.float64)
    inputs = draw(4, 6, 2)
    rates = net(inputs)[1]
    torch.testing.assert_close(rates, net.eval()(inputs)[1], rtol=0, atol=1e-13)


# Time constants ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [100.0, [30.0, 50.0, 100.0, 400.0]])
def test_a_trainable_tau_begins_where_it_was_put_and_its_alpha_is_a_sigmoid(tau):
    net = RateRNN(2, 4, 1, tau=tau, dt=20.0, trainable_tau=True, dtype=torch.float64)
    logit = net.layers[0].leak_logit
    assert isinstance(logit, torch.nn.Parameter)
    np.testing.assert_allclose(net.tau.detach(), tau, rtol=1e-12)
    np.testing.assert_allclose(net.alpha.detach(), 20 / np.array(tau), rtol=1e-12)
    with torch.no_grad():
        logit.copy_(draw(*logit.shape))
    np.testing.assert_allclose(net.alpha.detach(), 1 / (1 + np.exp(-logit.detach().numpy())), rtol=1e-14)
    np.testing.assert_allclose(net.tau.detach(), 20 * (1 + np.exp(-logit.detach().numpy())), rtol=1e-14)


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("tau", [60.0, [30.0, 50.0, 100.0, 400.0]])
def test_the_gradient_of_a_trained_tau_is_that_of_central_differences(tau, dynamics, engine):
    options = {"dynamics": dynamics, "engine": engine, "dtype": torch.float64}
    net = shaken(RateRNN(2, 4, 3, tau=tau, dt=20.0, trainable_tau=True, **options))
    inputs, logit, pull = draw(3, 8, 2), net.layers[0].leak_logit, draw(3, 8, 3, seed=1)

    def loss():
        return (net(inputs)[0] * pull).sum()

    (found,) = torch.autograd.grad(loss(), logit)
    wanted = torch.zeros_like(logit)
    with torch.no_grad():
        for k in range(logit.numel()):
            nudge = torch.zeros(logit.numel()).double().index_fill(0, torch.tensor(k), 1e-5).view(logit.shape)
            logit.add_(nudge)
            above = loss()
            logit.sub_(2 * nudge)
            wanted.view(-1)[k] = (above - loss()) / 2e-5
            logit.add_(nudge)
    assert wanted.abs().min() > 1e-3
    # The error of central differences with a nudge of 1e-5 is about 1e-10 of the third derivative.
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("direction", [-1.0, 1.0])
@pytest.mark.parametrize("tau", [100.0, [30.0, 50.0, 100.0, 400.0]])
def test_a_trained_tau_stays_finite_and_above_dt_whatever_the_optimiser_does(tau, direction):
    net = RateRNN(2, 4, 1, tau=tau, dt=20.0, trainable_tau=True)
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(500):
        optimiser.zero_grad()
        # A slope of one in the parameter itself, which no saturation can end.
        (direction * net.layers[0].leak_logit.sum()).backward()
        optimiser.step()
        assert (net.tau.detach() > 20).all()
        assert net.tau.detach().isfinite().all()
    assert net(torch.zeros(1, 3, 2))[0].isfinite().all()


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("tau", [60.0, [30.0, 50.0, 100.0, 400.0]])
def test_no_gradient_runs_from_tau_through_the_scale_of_the_noise(tau, dynamics, engine):
    options = {"dynamics": dynamics, "engine": engine, "dtype": torch.float64, "noise_std": 0.4}
    net = shaken(RateRNN(2, 4, 3, tau=tau, dt=20.0, trainable_tau=True, **options))
    inputs = draw(3, 8, 2)
    alpha = net.alpha.detach()
    scale = 0.4 * torch.sqrt(2 * alpha if dynamics == "current" else 2 / alpha)
    torch.testing.assert_close(net.noise_scale, scale, rtol=1e-15, atol=0)
    assert not net.noise_scale.requires_grad
    key = int(torch.randint(2**63 - 1, (), generator=seeded(3)))
    noise = Noise(key, scale).materialise((8, 3, 4), 0, inputs)
    found, wanted = net(inputs, generator=seeded(3))[0], by_hand(net, inputs, noise=noise)[0]
    same_with_gradients(net, (found,), (wanted,))
    # And the noise is there: without it the gradient is another one.
    logit = net.layers[0].leak_logit
    (noisy,), (silent,) = (torch.autograd.grad(own.sum(), logit) for own in (found, by_hand(net, inputs)[0]))
    assert not torch.allclose(noisy, silent, rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_every_unit_can_have_its_own_tau(dynamics, dtype):
    tau = [20.0, 30.0, 50.0, 100.0, 400.0, 4000.0]
    net = shaken(RateRNN(2, 6, 1, tau=tau, dt=20.0, dynamics=dynamics, dtype=dtype))
    inputs = draw(4, 12, 2, dtype=dtype)
    np.testing.assert_allclose(net.alpha, 20 / np.array(tau), rtol=1e-7)
    assert net.tau.tolist() == tau
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-13}[dtype]
    outputs, _, states = net(inputs, return_states=True)
    wanted = by_hand(net, inputs)
    torch.testing.assert_close(outputs, wanted[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(states, wanted[1], rtol=0, atol=tolerance)
    # Units of one tau each are the network of that tau.
    same = RateRNN(2, 6, 1, tau=[100.0] * 6, dt=20.0, dynamics=dynamics, dtype=dtype)
    one = RateRNN(2, 6, 1, tau=100.0, dt=20.0, dynamics=dynamics, dtype=dtype)
    torch.testing.assert_close(same(inputs)[0], one(inputs)[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tau": [50.0, 60.0], "dt": 20.0}, "`tau` must be one number or one for each of 4 units, got 2"),
        ({"tau": [50.0, 10.0, 60.0, 70.0], "dt": 20.0}, r"got dt = 20\.0 ms and tau = 10\.0 ms"),
        ({"tau": [50.0, -1.0, 60.0, 70.0], "dt": 20.0}, r"`tau` must be a positive number of ms, got -1\.0"),
        ({"trainable_tau": True}, "`trainable_tau` needs what it begins with: give `tau` and `dt`"),
        ({"trainable_tau": True, "alpha": 0.5}, "`trainable_tau` needs what it begins with"),
        (
            {"trainable_tau": True, "tau": 20.0, "dt": 20.0},
            "a `trainable_tau` must begin above dt and below a million of dt, where it can move both",
        ),
        (
            {"input_noise_std": 0.1, "tau": [50.0] * 4, "dt": 20.0},
            "input noise is scaled by the leak, and here every unit has another one: put the noise in the",
        ),
        ({"plasticity": "mixed"}, "short-term plasticity runs in ms: give `tau` and `dt`"),
        ({"plasticity": "mixed", "alpha": 0.5}, "short-term plasticity runs in ms: give `tau` and `dt`"),
        (
            {"plasticity": "both", **LEAK},
            "'plasticity': input should be 'facilitating', 'depressing' or 'mixed'",
        ),
        (
            {"initial_state": [1.0]},
            "`initial_state` must have one number for each of 4 state variables, got 1",
        ),
        ({"initial_state": [1.0] * 4, **PLASTIC}, "one number for each of 12 state variables, got 4"),
        (
            {"initial_state": [1.0, math.nan, 1.0, 1.0]},
            r"'initial_state\.1': input should be a finite number",
        ),
    ],
)
def test_time_constants_and_states_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        RateRNN(2, 4, 1, **{"activation": "relu", **options})


# Initial states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_given_initial_state_is_that_of_every_trial_and_can_be_learned(kind, trainable):
    first = [0.5, -0.25, 1.0, 0.0]
    options = {"dtype": torch.float64, "dynamics": "current", "alpha": 0.5}
    net = RateRNN(2, 4, 1, initial_state=kind(first), trainable_initial_state=trainable, **options)
    assert net.initial_state(3).tolist() == [first] * 3
    inputs = draw(3, 6, 2)
    wanted = by_hand(net, inputs, begin=torch.tensor(first).double().expand(3, 4))
    outputs, _, states = net(inputs, return_states=True)
    torch.testing.assert_close(outputs, wanted[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(states, wanted[1], rtol=0, atol=1e-13)
    names = dict(net.named_parameters())
    assert ("first_state" in names) == trainable
    # What is passed to a run goes before it.
    other = draw(3, 4, seed=2)
    torch.testing.assert_close(net(inputs, other)[0], by_hand(net, inputs, other)[0], rtol=0, atol=1e-13)
    if trainable:
        found, wanted = net(inputs)[0], by_hand(net, inputs)[0]
        same_with_gradients(net, (found,), (wanted,))


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_the_gradient_of_a_learned_initial_state_is_summed_over_trials(engine):
    net = shaken(RateRNN(2, 4, 1, trainable_initial_state=True, engine=engine, dtype=torch.float64))
    inputs = draw(5, 6, 2)
    (whole,) = torch.autograd.grad(net(inputs)[0].square().sum(), net.first_state)
    begin = net.first_state.detach().expand(5, 4).clone().requires_grad_()
    (each,) = torch.autograd.grad(net(inputs, begin)[0].square().sum(), begin)
    torch.testing.assert_close(whole, each.sum(0), rtol=1e-12, atol=1e-14)


# Short-term plasticity --------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("kind", ["facilitating", "depressing", "mixed"])
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_plastic_synapses_are_the_loop_written_by_hand(kind, dynamics, size):
    options = {"activation": "relu", "plasticity": kind, "dynamics": dynamics, "dtype": torch.float64, **LEAK}
    net = shaken(RateRNN(3, 5, 2, gain=0.5, **options))
    # Rates of hundreds of Hz bring resources to their ends, where they are clipped.
    inputs = (size * draw(4, 12, 3)).requires_grad_()
    outputs, rates, states = net(inputs, return_states=True)
    wanted = by_hand(net, inputs)
    scale = max(1.0, float(states.detach().abs().max()))
    torch.testing.assert_close(outputs / scale, wanted[0] / scale, rtol=0, atol=1e-13)
    torch.testing.assert_close(states / scale, wanted[1] / scale, rtol=0, atol=1e-13)
    torch.testing.assert_close(net.rates(states), rates, rtol=0, atol=1e-13 * scale)
    synapses = states[..., 5:].detach()
    assert synapses.min() >= 0
    assert synapses.max() <= 1
    if size > 1:
        assert (synapses[..., :5] == 0).any(), "nothing was clipped"
    else:
        same_with_gradients(net, (outputs, states), wanted, inputs)


def test_units_of_mixed_plasticity_take_turns_and_all_begin_at_rest():
    net = RateRNN(3, 5, 2, dtype=torch.float64, **PLASTIC)
    assert net.state_size == 15
    begin = net.initial_state(2)
    assert begin[0].tolist() == [0.0] * 5 + [1.0] * 5 + [0.15, 0.45, 0.15, 0.45, 0.15]
    # At rest nothing moves: x = 1 and u = U as long as nobody fires.
    silent = net(torch.zeros(2, 4, 3).double(), return_states=True)[2]
    torch.testing.assert_close(silent, begin[:, None].expand(2, 4, 15), rtol=0, atol=1e-15)
    for kind, usage in (("facilitating", 0.15), ("depressing", 0.45)):
        one = RateRNN(3, 4, 2, **{**PLASTIC, "plasticity": kind})
        np.testing.assert_allclose(one.initial_state(1)[0, 8:], usage, rtol=1e-7)
        assert one.state_leak.tolist() == pytest.approx(
            [0.2] * 4 + [20 / CONSTANTS[kind][0]] * 4 + [20 / CONSTANTS[kind][1]] * 4
        )


@pytest.mark.parametrize("kind", ["facilitating", "depressing"])
@pytest.mark.parametrize("rate", [1.0, 10.0, 40.0])
@pytest.mark.parametrize("dt", [20.0, 5.0])
def test_under_a_constant_rate_synapses_come_to_the_steady_state_of_the_theory(kind, rate, dt):
    tau_x, tau_u, usage = CONSTANTS[kind]
    net = RateRNN(0, 2, 0, activation="relu", plasticity=kind, tau=dt, dt=dt, gain=0, dtype=torch.float64)
    with torch.no_grad():
        net.bias.fill_(rate)
        # 15 seconds, ten times the longest time constant; what is left of it is e^-10.
        state = net.initial_state(1)
        for _ in range(round(15_000 / dt)):
            state = net.step(state, torch.zeros(1, 0).double())
    # From dx/dt = du/dt = 0, with times in seconds and rates in Hz (Tsodyks, Pawelzik & Markram 1998).
    u = usage * (1 + tau_u / 1000 * rate) / (1 + usage * tau_u / 1000 * rate)
    x = 1 / (1 + u * tau_x / 1000 * rate)
    assert state[0].tolist() == pytest.approx([rate, rate, x, x, u, u], rel=2e-4)
    if kind == "facilitating":
        assert u > usage


def test_resources_follow_the_use_of_the_step_before():
    net = RateRNN(0, 1, 0, activation="relu", plasticity="depressing", gain=0, dtype=torch.float64, **LEAK)
    after = net.step(torch.tensor([30.0, 0.8, 0.6], dtype=torch.float64), torch.zeros(0).double())
    x = 0.8 + 20 * (1 - 0.8) / 1500 - 0.02 * 0.6 * 0.8 * 30
    u = 0.6 + 20 * (0.45 - 0.6) / 200 + 0.02 * 0.45 * (1 - 0.6) * 30
    assert after.tolist() == pytest.approx([0.8 * 30, x, u], rel=1e-14)
    # What others hear is the rate of before, through the synapses of now.
    loop = RateRNN(0, 1, 0, activation="relu", plasticity="depressing", dtype=torch.float64, **LEAK)
    loop.recurrent_weight = [[2.0]]
    after = loop.step(torch.tensor([30.0, 0.8, 0.6], dtype=torch.float64), torch.zeros(0).double())
    assert float(after[0].detach()) == pytest.approx(0.8 * 30 + 0.2 * 2 * x * u * 30, rel=1e-14)


def test_plastic_synapses_are_those_of_recurrent_weights_alone():
    plastic = shaken(RateRNN(3, 5, 2, gain=0, dtype=torch.float64, **PLASTIC))
    plain = RateRNN(3, 5, 2, gain=0, dtype=torch.float64, activation="relu", **LEAK)
    plain.load_state_dict(plastic.state_dict())
    zero = np.zeros((5, 5))
    plastic.recurrent_weight = plain.recurrent_weight = zero
    inputs = draw(4, 10, 3)
    torch.testing.assert_close(plastic(inputs)[0], plain(inputs)[0], rtol=0, atol=1e-13)
