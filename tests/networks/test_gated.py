import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurornn import GRU, LSTM, InputError, RateRNN, build_network, load_network, save_network
from neurornn.networks.gated import GRULayer, LSTMLayer
from neurornn.testing import check_network

FAMILIES = {"LSTM": LSTM, "GRU": GRU}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
"""What the same operations in another order leave of rounding, over 12 steps and up to 3 layers."""


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def shaken(net, seed=0):
    """The network with every bias, and all else that begins at zero, moved off it."""
    with torch.no_grad():
        for k, parameter in enumerate(net.parameters()):
            parameter.add_(0.1 * draw(*parameter.shape, seed=seed + k).to(parameter.dtype))
    return net


# Torch's own networks, weight for weight --------------------------------------------------------------


def torchs_names(n_layers, bidirectional):
    """The endings of torch's parameters, in the order of our layers."""
    return [f"l{k}{end}" for k in range(n_layers) for end in ["", "_reverse"][: 1 + bidirectional]]


def twin_of(net, module, pairs):
    """Torch's own module and readout with the network's numbers, and all pairs of parameters."""
    readout = nn.Linear(net.rate_size, net.output_size, dtype=net.output_bias.dtype)
    pairs = [*pairs, (net.output.raw, readout.weight), (net.output_bias, readout.bias)]
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(ours)
    assert sum(theirs.numel() for _, theirs in pairs) == sum(
        p.numel() for p in (*module.parameters(), *readout.parameters()) if p.requires_grad
    )
    return readout, pairs


def agree(net, module, readout, pairs, begin, theirs_begin, dtype):
    """Outputs, activity and every gradient, on random inputs from a random state."""
    inputs = draw(5, 12, 3, dtype=dtype)
    outputs, rates = net(inputs, begin)
    hidden, _ = module(inputs, theirs_begin)
    wanted = readout(hidden)
    pull = draw(*wanted.shape, seed=1, dtype=dtype) / wanted.numel()
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(rates, hidden, **tolerance)
    torch.testing.assert_close(outputs, wanted, **tolerance)
    (outputs * pull).sum().backward()
    (wanted * pull).sum().backward()
    for ours, theirs in pairs:
        assert theirs.grad.abs().max() > 0
        torch.testing.assert_close(ours.grad, theirs.grad, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("engine", ["auto", "torch", "reference"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gated_networks_are_torchs_weight_for_weight(family, n_layers, bidirectional, dtype, engine):
    options = {"n_layers": n_layers, "bidirectional": bidirectional, "dtype": dtype}
    net = shaken(FAMILIES[family](3, 7, 2, engine=engine, seed=2, **options))
    module = getattr(nn, family)(3, 7, n_layers, batch_first=True, bidirectional=bidirectional, dtype=dtype)
    pairs = [
        (getattr(layer.cell, f"{kind}_l0"), getattr(module, f"{kind}_{end}"))
        for layer, end in zip(net.layers, torchs_names(n_layers, bidirectional), strict=True)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    readout, pairs = twin_of(net, module, pairs)
    begin = draw(5, net.state_size, seed=3, dtype=dtype)
    # Ours is one vector, layer by layer; an LSTM's layer has h before c.
    by_layer = begin.view(5, len(net.layers), -1).transpose(0, 1).contiguous()
    parts = tuple(part.contiguous() for part in by_layer.split(7, dim=-1))
    agree(net, module, readout, pairs, begin, parts if family == "LSTM" else parts[0], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_stacked_rate_networks_without_leak_are_torchs_rnn(
    nonlinearity, n_layers, bidirectional, dtype, engine
):
    options = {"n_layers": n_layers, "bidirectional": bidirectional, "dtype": dtype}
    net = shaken(RateRNN(3, 7, 2, activation=nonlinearity, engine=engine, seed=2, **options))
    module = nn.RNN(
        3, 7, n_layers, nonlinearity=nonlinearity, batch_first=True, bidirectional=bidirectional, dtype=dtype
    )
    pairs = []
    for layer, end in zip(net.layers, torchs_names(n_layers, bidirectional), strict=True):
        pairs += [
            (layer.input.raw, getattr(module, f"weight_ih_{end}")),
            (layer.recurrent.raw, getattr(module, f"weight_hh_{end}")),
            (layer.bias, getattr(module, f"bias_ih_{end}")),
        ]
        # A rate layer has one bias, torch's has two.
        nn.init.zeros_(getattr(module, f"bias_hh_{end}")).requires_grad_(False)
    readout, pairs = twin_of(net, module, pairs)
    begin = draw(5, net.state_size, seed=3, dtype=dtype)
    by_layer = begin.view(5, len(net.layers), 7).transpose(0, 1).contiguous()
    agree(net, module, readout, pairs, begin, by_layer, dtype)


# The reference loop is the fused kernel ---------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"n_layers": 2, "residual": True, "bidirectional": True}])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_engine_equals_the_fused_one_in_outputs_and_gradients(family, options):
    net = shaken(FAMILIES[family](3, 6, 2, dtype=torch.float64, **options))
    inputs, results = draw(4, 9, 3), []
    for engine in ("torch", "reference"):
        net.engine = engine
        leaves = [inputs.clone().requires_grad_(), draw(4, net.state_size, seed=1).requires_grad_()]
        outputs, rates = net(*leaves)
        loss = outputs.square().sum() + rates.sin().sum()
        gradients = torch.autograd.grad(loss, [*leaves, *net.parameters()])
        results.append([outputs, rates, *gradients])
    for fused, looped in zip(*results, strict=True):
        torch.testing.assert_close(fused, looped, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_engine_is_a_loop_of_steps_and_the_others_are_torchs_kernel(family, monkeypatch):
    net, inputs, called = FAMILIES[family](3, 6, 2), torch.zeros(2, 5, 3), []
    layer = net.layers[0]
    step, fused = layer.step, layer._fused
    monkeypatch.setattr(layer, "step", lambda *a: called.append("step") or step(*a), raising=False)
    monkeypatch.setattr(layer, "_fused", lambda *a: called.append("kernel") or fused(*a), raising=False)
    for engine, wanted in (("auto", ["kernel"]), ("torch", ["kernel"]), ("reference", ["step"] * 5)):
        called.clear()
        net.engine = engine
        net(inputs)
        assert called == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_asking_for_states_changes_nothing_else_and_they_are_those_of_step(family):
    net = shaken(FAMILIES[family](3, 6, 2, n_layers=2, dtype=torch.float64))
    inputs, state = draw(4, 9, 3), draw(4, net.state_size, seed=1)
    outputs, rates, states = net(inputs, state, return_states=True)
    alone = net(inputs, state)
    torch.testing.assert_close(alone[0], outputs, rtol=0, atol=1e-13)
    torch.testing.assert_close(alone[1], rates, rtol=0, atol=1e-13)
    for t in range(9):
        state = net.step(state, inputs[:, t])
        torch.testing.assert_close(state, states[:, t], rtol=0, atol=1e-13)
        torch.testing.assert_close(net.rates(state), rates[:, t], rtol=0, atol=1e-13)
    torch.testing.assert_close(net.readout(rates), outputs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_gated_networks_run_without_steps_trials_or_outputs(family, shape):
    net = FAMILIES[family](3, 6, 2)
    outputs, rates, states = net(torch.zeros(shape), return_states=True)
    assert (outputs.shape, rates.shape) == ((*shape[:2], 2), (*shape[:2], 6))
    assert states.shape == (*shape[:2], net.state_size)
    assert net(torch.zeros(shape))[1].shape == (*shape[:2], 6)
    assert FAMILIES[family](3, 6, 0)(torch.zeros(2, 4, 3))[0].shape == (2, 4, 0)


# The equations of both cells --------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_the_equation_of_the_docstring_gate_by_gate(family):
    net = shaken(FAMILIES[family](3, 4, 2, dtype=torch.float64))
    weights = {name: values.detach().numpy() for name, (_, values) in net.weights().items()}
    state, x = draw(net.state_size, seed=5).numpy(), draw(3, seed=6).numpy()
    h = state[:4]
    outside = weights["input_weight"] @ x + weights["bias"]
    inside = weights["recurrent_weight"] @ h + weights["recurrent_bias"]
    if family == "LSTM":
        i, f, g, o = (outside + inside).reshape(4, 4)
        c = sigmoid(f) * state[4:] + sigmoid(i) * np.tanh(g)
        wanted = np.concatenate([sigmoid(o) * np.tanh(c), c])
    else:
        r, z = (outside + inside).reshape(3, 4)[:2]
        n = np.tanh(outside[8:] + sigmoid(r) * inside[8:])
        wanted = (1 - sigmoid(z)) * n + sigmoid(z) * h
    found = net.step(torch.tensor(state), torch.tensor(x))
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-13, atol=1e-14)


def test_an_lstm_whose_forget_gate_is_open_carries_its_error_a_thousand_steps_unchanged():
    net = LSTM(1, 3, 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        # In torch's order: input gate shut, forget gate open, nothing new, output gate half open.
        net.bias.copy_(torch.tensor([-40.0, 40.0, 0.0, 0.0]).repeat_interleave(3))
    begin = draw(1, 6, seed=2).requires_grad_()
    states = net(torch.zeros(1, 1000, 1).double(), begin, return_states=True)[2]
    for unit in range(3):
        (slope,) = torch.autograd.grad(states[0, -1, 3 + unit], begin, retain_graph=True)
        wanted = np.zeros(6)
        wanted[3 + unit] = 1
        np.testing.assert_allclose(slope[0], wanted, rtol=0, atol=1e-9)
    # And a forget gate that is not quite open forgets by its power: sigmoid(5)^1000.
    with torch.no_grad():
        net.bias[3:6] = 5
    states = net(torch.zeros(1, 1000, 1).double(), begin, return_states=True)[2]
    (slope,) = torch.autograd.grad(states[0, -1, 3], begin)
    assert float(slope[0, 3]) == pytest.approx(sigmoid(5.0) ** 1000, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_jacobian_in_closed_form_is_that_of_automatic_differentiation(family, scale):
    net = shaken(FAMILIES[family](2, 5, 1, dtype=torch.float64, seed=3))
    with torch.no_grad():
        net.layers[0].recurrent_weight.mul_(scale)
    states, inputs = scale * draw(6, net.state_size), draw(6, 2, seed=1)
    wanted = torch.stack(
        [torch.func.jacrev(net.step)(state, input) for state, input in zip(states, inputs, strict=True)]
    )
    torch.testing.assert_close(net.jacobian(states, inputs), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.jacobian(states[0], inputs[0]), wanted[0], rtol=0, atol=1e-12)
    batched = net.jacobian(states.view(2, 3, -1), inputs.view(2, 3, 2))
    torch.testing.assert_close(batched.flatten(0, 1), wanted, rtol=0, atol=1e-12)
    # One input for many states, and one state for many inputs.
    held = torch.stack([torch.func.jacrev(net.step)(state, inputs[0]) for state in states])
    torch.testing.assert_close(net.jacobian(states, inputs[0]), held, rtol=0, atol=1e-12)
    assert net.jacobian(states[0], inputs).shape == wanted.shape


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_jacobian_of_a_stack_is_that_of_automatic_differentiation(family, residual):
    net = shaken(FAMILIES[family](2, 3, 1, n_layers=3, residual=residual, dtype=torch.float64))
    state, input = draw(net.state_size), draw(2, seed=1)
    wanted = torch.func.jacrev(net.step)(state, input)
    torch.testing.assert_close(net.jacobian(state, input), wanted, rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), scale=st.floats(0, 30), drive=st.floats(0, 30))
def test_a_gru_never_leaves_its_bounds(seed, scale, drive):
    net = GRU(2, 6, 1, seed=seed, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    held = drive * draw(2, seed=seed)
    low, high = net.state_bounds(held)
    share = torch.rand(100, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # Corners of the box too.
    state = low + (high - low) * torch.cat([share, (share > 0.5).double()])
    for _ in range(5):
        state = net.step(state, held.expand(len(state), 2))
        assert (state >= low - 1e-12).all()
        assert (state <= high + 1e-12).all()


def test_bounds_are_known_only_of_a_single_gru():
    assert [bound.tolist() for bound in GRU(1, 2, 1).state_bounds(torch.zeros(1))] == [[-1, -1], [1, 1]]
    # A memory cell has no bound: it adds up.
    assert LSTM(1, 2, 1).state_bounds(torch.zeros(1)) is None
    assert GRU(1, 2, 1, n_layers=2).state_bounds(torch.zeros(1)) is None
    assert GRU(1, 2, 1, bidirectional=True).state_bounds(torch.zeros(1)) is None


# Initial weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_first_weights_have_torchs_distribution_and_follow_the_seed(family):
    net = FAMILIES[family](20, 64, 10, seed=1)
    for parameter in net.layers[0].parameters():
        # Uniform within 1 / sqrt(64): the largest of thousands is near the edge, biases are 192 or more.
        assert float(parameter.detach().abs().max()) == pytest.approx(1 / 8, rel=0.03)
        assert float(parameter.detach().double().mean()) == pytest.approx(
            0, abs=4 * 0.125 / 3**0.5 / 192**0.5
        )
    assert float(net.recurrent_weight.detach().std()) == pytest.approx(0.125 / 3**0.5, rel=0.03)
    assert torch.equal(FAMILIES[family](20, 64, 10, seed=1).recurrent_weight, net.recurrent_weight)
    assert not torch.equal(FAMILIES[family](20, 64, 10, seed=2).recurrent_weight, net.recurrent_weight)
    double = FAMILIES[family](20, 64, 10, seed=1, dtype=torch.float64)
    assert torch.equal(double.recurrent_weight.float(), net.recurrent_weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_building_and_running_advances_no_global_generator(family, random_states):
    before = random_states()
    net = FAMILIES[family](
        2, 8, 2, n_layers=2, bidirectional=True, dropout=0.3, input_noise_std=0.1, output_noise_std=0.1
    )
    net(torch.zeros(2, 3, 2))[0].sum().backward()
    copy.deepcopy(net)
    assert random_states() == before


def test_the_forget_bias_is_the_whole_bias_of_the_forget_gates_and_moves_nothing_else():
    drawn, given_one = LSTM(2, 5, 1, n_layers=2, seed=3), LSTM(2, 5, 1, n_layers=2, seed=3, forget_bias=1.5)
    for plain, own in zip(drawn.layers, given_one.layers, strict=True):
        assert (own.bias + own.recurrent_bias)[5:10].tolist() == [1.5] * 5
        others = torch.ones(20, dtype=torch.bool)
        others[5:10] = False
        assert torch.equal(own.bias[others], plain.bias[others])
        assert torch.equal(own.recurrent_bias[others], plain.recurrent_bias[others])
        assert torch.equal(own.recurrent_weight, plain.recurrent_weight)
        assert plain.bias[5:10].abs().min() > 0
    assert torch.equal(drawn.output_weight, given_one.output_weight)
    zero = LSTM(2, 5, 1, forget_bias=0)
    assert not (zero.layers[0].bias + zero.layers[0].recurrent_bias)[5:10].any()


def test_weights_are_set_by_their_names_and_those_of_another_shape_refused():
    net, donor = LSTM(2, 3, 1, seed=1), LSTM(2, 3, 1, seed=2)
    names = [name for name, _ in net.named_parameters()]
    net.recurrent_weight, net.input_weight = donor.recurrent_weight, donor.input_weight.detach().numpy()
    net.bias, net.output_weight = donor.bias, donor.output_weight
    for name in ("recurrent_weight", "input_weight", "bias", "output_weight"):
        assert torch.equal(getattr(net, name), getattr(donor, name))
    assert [name for name, _ in net.named_parameters()] == names
    with pytest.raises(InputError, match=r"`recurrent_weight` must have shape \(12, 3\), got \(3, 3\)"):
        net.recurrent_weight = np.zeros((3, 3))
    with pytest.raises(InputError, match=r"`input_weight` must have shape \(12, 2\), got \(3, 2\)"):
        net.input_weight = np.zeros((3, 2))
    with pytest.raises(InputError, match=r"`bias` must have shape \(12,\), got \(3,\)"):
        net.bias = np.zeros(3)
    with pytest.raises(
        InputError, match="this network has 2 layers and directions with weights of their own"
    ):
        GRU(2, 3, 1, bidirectional=True).recurrent_weight  # noqa: B018 - reading it is what is refused
    net.layers[0].recurrent_weight = nn.Parameter(torch.ones(12, 3))
    assert torch.equal(net.recurrent_weight, torch.ones(12, 3))


def test_weights_are_named_with_their_dimensions():
    net = GRU(2, 3, 1, n_layers=2, bidirectional=True)
    found = {name: (dims, tuple(values.shape)) for name, (dims, values) in net.weights().items()}
    assert found["layer_0_recurrent_weight"] == (("gated_unit", "unit"), (9, 3))
    assert found["layer_1_backward_input_weight"] == (("gated_unit", "input_channel"), (9, 6))
    assert found["layer_1_backward_bias"] == found["layer_0_recurrent_bias"] == (("gated_unit",), (9,))
    assert found["output_weight"] == (("output_channel", "unit"), (1, 6))
    assert len(found) == 4 * 4 + 2


# Residual connections and dropout ---------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("family", ["RateRNN", *FAMILIES])
def test_residual_connections_are_those_of_a_stack_written_by_hand(family, bidirectional):
    kinds = {"RateRNN": RateRNN, **FAMILIES}
    options = {"n_layers": 3, "residual": True, "bidirectional": bidirectional, "dtype": torch.float64}
    net = shaken(kinds[family](3, 5, 2, **options))
    inputs = draw(4, 8, 3)

    def run(layer, signal):
        state, found = layer.resting_state().expand(4, -1), []
        for x in signal.unbind(1):
            state = layer.step(state, x)
            found.append(layer.rates(state))
        return torch.stack(found, dim=1)

    signal, two = inputs, 1 + bidirectional
    for k in range(3):
        found = [run(net.layers[two * k], signal)]
        if bidirectional:
            found.append(run(net.layers[two * k + 1], signal.flip(1)).flip(1))
        rates = torch.cat(found, dim=-1)
        # From the second layer on: the first one sees channels, not units.
        signal = rates if k == 0 else rates + signal
    outputs, rates = net(inputs)
    torch.testing.assert_close(rates, signal, rtol=0, atol=1e-12)
    wanted = signal @ net.output_weight.T + net.output_bias
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=1e-12)
    states = net(inputs, return_states=True)[2]
    torch.testing.assert_close(net.rates(states), signal, rtol=0, atol=1e-12)


def test_residual_connections_need_a_second_layer():
    for family in (RateRNN, LSTM, GRU):
        with pytest.raises(
            InputError,
            match=r"^residual connections lead from one layer to the next: give `n_layers` of at least 2$",
        ):
            family(2, 3, 1, residual=True)


def heard_share(net, inputs):
    """What the readout hears of each rate, as a factor: read off outputs of an identity."""
    net.output_weight = np.eye(net.rate_size)
    outputs, rates = net(inputs)
    return (outputs / rates).detach()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("family", ["RateRNN", *FAMILIES])
def test_dropout_silences_a_unit_for_all_of_a_trial_in_train_mode_only(family, bidirectional):
    kinds = {"RateRNN": RateRNN, **FAMILIES}
    n = 50 * (1 + bidirectional)
    net = kinds[family](2, 50, n, dropout=0.3, bidirectional=bidirectional, dtype=torch.float64)
    inputs = draw(200, 4, 2)
    share = heard_share(net, inputs)
    # The same at every step of a trial, 0 or 1 / (1 - 0.3), and another one in every trial.
    torch.testing.assert_close(share, share[:, :1].expand_as(share), rtol=1e-9, atol=1e-9)
    silent = share[:, 0].abs() < 1e-9
    torch.testing.assert_close(share[:, 0][~silent], torch.full_like(share[:, 0][~silent], 1 / 0.7))
    assert len(torch.unique(silent, dim=0)) == 200
    # 10 000 draws or more: 4 standard errors of their mean are less than 0.02.
    assert float(silent.double().mean()) == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(silent, heard_share(net, inputs)[:, 0].abs() < 1e-9)
    evaluated = heard_share(net.eval(), inputs)
    torch.testing.assert_close(evaluated, torch.ones_like(evaluated))
    # A generator brings noise to eval mode, but no dropout.
    assert torch.equal(net(inputs)[0], net(inputs, generator=torch.Generator())[0])


@pytest.mark.parametrize("family", ["RateRNN", *FAMILIES])
def test_dropout_preserves_the_mean_of_what_is_heard_and_returns_whole_rates(family):
    kinds = {"RateRNN": RateRNN, **FAMILIES}
    options = {"recurrent": False} if family == "RateRNN" else {}
    net = kinds[family](2, 40, 1, dropout=0.5, dtype=torch.float64, **options)
    inputs = draw(1, 3, 2).expand(4000, 3, 2)
    outputs, rates = net(inputs)
    whole, all_rates = net.eval()(inputs[:1])
    # Without a way back, or with one inside torch's kernel, the rates are not touched.
    torch.testing.assert_close(rates, all_rates.expand_as(rates), rtol=0, atol=1e-12)
    terms = (net.output_weight * all_rates[0, -1]).detach()
    # A factor that is 0 or 2 has variance 1: the mean over 4000 trials is within 4.5 standard errors.
    error = 4.5 * float(terms.square().sum().sqrt()) / 4000**0.5
    assert float(outputs[:, -1].mean().detach()) == pytest.approx(float(whole[0, -1, 0].detach()), abs=error)


def test_the_recurrent_weights_of_a_rate_network_hear_what_dropout_leaves():
    net = RateRNN(0, 3, 3, dropout=0.5, dtype=torch.float64, activation="relu", alpha=0.5)
    net.output_weight = np.eye(3)
    begin = torch.ones(20, 3).double()
    outputs, rates = net(torch.zeros(20, 2, 0).double(), begin)
    kept = (outputs / rates.clamp_min(1e-300)).detach()[:, 1].round()
    assert set(kept.flatten().tolist()) == {0, 2}
    state = begin
    for t in range(2):
        state = 0.5 * state + 0.5 * torch.relu((state * kept) @ net.recurrent_weight.T)
        torch.testing.assert_close(rates[:, t], state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", ["RateRNN", *FAMILIES])
def test_a_generator_repeats_dropout_and_noise(family):
    kinds = {"RateRNN": RateRNN, **FAMILIES}
    net = kinds[family](2, 8, 2, dropout=0.4, n_layers=2, input_noise_std=0.1, output_noise_std=0.1)
    inputs = torch.zeros(3, 5, 2)
    first, again, other = (net(inputs, generator=torch.Generator().manual_seed(k))[0] for k in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_that_is_no_probability_is_refused(dropout):
    for family in (RateRNN, LSTM, GRU):
        with pytest.raises(InputError, match="'dropout': input should be"):
            family(2, 3, 1, dropout=dropout)


# What they are not ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_gated_network_cannot_do_is_said(family):
    kind, inputs = FAMILIES[family], torch.zeros(1, 3, 2)
    with pytest.raises(
        InputError,
        match=r"^engine 'numba' cannot serve this network: it runs rate networks only; use engine='auto'$",
    ):
        kind(2, 3, 1, engine="numba")(inputs)
    for option in ("truncate", "checkpoint_every"):
        with pytest.raises(
            InputError,
            match=r"^`truncate` and `checkpoint_every` are there for rate networks only: leave them out$",
        ):
            kind(2, 3, 1)(inputs, **{option: 2})
    with pytest.raises(
        InputError, match="`teacher` needs a network with output feedback, which this one does"
    ):
        kind(2, 3, 1)(inputs, teacher=torch.zeros(1, 3, 1))
    both = kind(2, 3, 1, bidirectional=True)
    state = both.initial_state(1)[0]
    for method in (both.step, both.jacobian):
        with pytest.raises(
            InputError,
            match=r"^a bidirectional network has no step: its rates depend on what is still to come; run it "
            "over a whole trial$",
        ):
            method(state, torch.zeros(2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'tau'"):
        kind(2, 3, 1, tau=100.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'activation'"):
        kind(2, 3, 1, activation="relu")
    with pytest.raises(TypeError, match="unexpected keyword argument 'noise_std'"):
        kind(2, 3, 1, noise_std=0.1)
    net = kind(2, 3, 1)
    assert (net.tau, net.dt, net.alpha, net.has_feedback) == (None, None, 1.0, False)
    assert net.violations() == 0
    assert net.dead_share() is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"readout": "softmx"}, "'readout': input should be 'linear' or 'softmax', got 'softmx'"),
        ({"attention": "dots"}, "'attention': input should be 'additive', 'dot', 'scaled' or 'bilinear'"),
        ({"n_layers": 0}, "'n_layers': input should be greater than or equal to 1, got 0"),
        ({"input_noise_std": -1.0}, r"`input_noise_std` must be a number of at least 0, got -1\.0"),
        ({"output_noise_std": None}, "`output_noise_std` must be a number of at least 0, got None"),
        ({"engine": "trch"}, r"unknown engine 'trch': .*did you mean 'torch'\?"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0, got -1"),
        (
            {"initial_state": [1.0]},
            "`initial_state` must have one number for each of [36] state variables, got 1",
        ),
        ({"dtype": torch.float16}, "'dtype': input should be 'float32' or 'float64', got 'float16'"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_options_out_of_range_are_refused(family, options, sentence):
    with pytest.raises(InputError, match=sentence):
        FAMILIES[family](2, 3, 1, **options)


@pytest.mark.parametrize("sizes", [(-1, 3, 1), (0, 3, 1), (2, 0, 1), (2, 3, 1.5), (2, True, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_that_is_no_count_is_refused(family, sizes):
    with pytest.raises(InputError, match=r"_size` must be a whole number of at least [01], got"):
        FAMILIES[family](*sizes)


def test_a_forget_bias_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="LSTM: 'forget_bias': input should be a finite number, got nan"):
        LSTM(2, 3, 1, forget_bias=float("nan"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'forget_bias'"):
        GRU(2, 3, 1, forget_bias=1.0)


# Configurations and files -----------------------------------------------------------------------------

EVERYTHING = {
    "n_layers": 2,
    "bidirectional": True,
    "residual": True,
    "readout": "softmax",
    "attention": "bilinear",
    "dropout": 0.1,
    "input_noise_std": 0.2,
    "output_noise_std": 0.3,
    "trainable_initial_state": True,
    "engine": "reference",
    "seed": 7,
}


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"initial_state": None, "dtype": torch.float64}])
@pytest.mark.parametrize(
    ("family", "own"),
    [("LSTM", {}), ("LSTM", {"forget_bias": 1.0}), ("LSTM", {"forget_bias": 0.0}), ("GRU", {})],
)
def test_a_configuration_rebuilds_the_same_bits_and_files_bring_back_the_trained_ones(
    family, own, options, tmp_path
):
    net = FAMILIES[family](2, 4, 3, **own, **options)
    for config in (net.config, net.config.to_dict()):
        twin = build_network(config)
        assert type(twin) is type(net)
        assert twin.config == net.config
        for (name, ours), (other, theirs) in zip(
            net.named_parameters(), twin.named_parameters(), strict=True
        ):
            assert name == other
            assert torch.equal(ours, theirs)
    assert net.config.to_dict().get("forget_bias") == own.get("forget_bias")
    shaken(net).eval()
    save_network(net, tmp_path / "network")
    loaded = load_network(tmp_path / "network")
    assert loaded.config == net.config
    inputs = draw(3, 5, 2).to(net.output_bias.dtype)
    assert torch.equal(loaded(inputs)[0], net(inputs)[0])
    assert repr(loaded) == repr(net)


def test_a_given_initial_state_comes_back_from_the_configuration():
    net = LSTM(2, 3, 1, initial_state=np.arange(6.0))
    assert build_network(net.config.to_dict()).initial_state(2).tolist() == [list(range(6))] * 2
    state = net.step(torch.arange(6.0), torch.zeros(2))
    torch.testing.assert_close(net(torch.zeros(1, 1, 2), return_states=True)[2][0, 0], state)


def test_the_repr_tells_the_options():
    assert repr(LSTM(1, 2, 3, forget_bias=1.0, n_layers=2)) == "LSTM(1, 2, 3, n_layers=2, forget_bias=1.0)"
    assert repr(GRU(1, 2, 3, seed=4)) == "GRU(1, 2, 3, seed=4)"


def test_what_a_family_does_not_have_is_one_sentence_about_a_configuration():
    sizes = {"input_size": 1, "hidden_size": 2, "output_size": 1}
    with pytest.raises(
        InputError,
        match=r"^the network's configuration: unknown key 'tau': expected one of 'family', 'input_size', .*"
        "'forget_bias'$",
    ):
        build_network({"family": "LSTM", **sizes, "tau": 3})
    with pytest.raises(InputError, match=r"unknown key 'forget_bais': did you mean 'forget_bias'\?$"):
        build_network({"family": "LSTM", **sizes, "forget_bais": 3})
    with pytest.raises(InputError, match="'hidden_size' is missing: add it"):
        build_network({"family": "GRU", "input_size": 1, "output_size": 1})
    with pytest.raises(
        InputError,
        match=r"^unknown network family 'LTSM': expected one of 'GRU', 'LSTM', 'RateRNN'; did you mean "
        r"'LSTM'\?$",
    ):
        build_network({"family": "LTSM", **sizes})
    # None is named where none is near.
    with pytest.raises(InputError, match=r"unknown network family 'Hopfield': .*; choose one of those"):
        build_network({"family": "Hopfield", **sizes})
    assert isinstance(build_network(sizes), RateRNN)


@pytest.mark.parametrize("options", [{}, EVERYTHING])
@pytest.mark.parametrize("family", FAMILIES)
def test_gated_networks_keep_to_what_is_asked_of_every_network(family, options):
    check_network(FAMILIES[family](2, 4, 3, **options))


def test_a_layer_keeps_torchs_names_and_says_what_it_is():
    net = LSTM(2, 3, 1)
    layer = net.layers[0]
    assert isinstance(layer, LSTMLayer)
    assert isinstance(layer.cell, nn.LSTM)
    assert isinstance(GRU(2, 3, 1).layers[0], GRULayer)
    assert not layer.states_are_rates
    assert GRU(2, 3, 1).states_are_rates
    assert net.state_leak.tolist() == [1] * 6
    assert set(dict(net.named_parameters())) == {
        "output_bias",
        "output.raw",
        *(f"layers.0.cell.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
    }


def test_the_device_is_passed_through():
    net = GRU(2, 4, 1, device="meta")
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
    assert LSTM(2, 4, 1, device=torch.device("cpu")).bias.device.type == "cpu"


@pytest.mark.parametrize("family", [RateRNN, LSTM, GRU])
def test_rates_are_whole_where_what_others_hear_of_them_is_dropped(family):
    net = family(2, 6, 1, n_layers=3, residual=True, dropout=0.5, seed=1).train()
    generator = torch.Generator().manual_seed(0)
    _, rates, states = net(torch.ones(3, 4, 2), generator=generator, return_states=True)
    torch.testing.assert_close(rates, net.rates(states), rtol=0, atol=1e-6)
    assert (rates != 0).all()
