"""Networks made of torch's modules: the same outputs, and everything else that a network has."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import neurornn as nr
from neurornn import GRU, LSTM, InputError, RateRNN, network_from_arrays, network_from_torch
from neurornn.testing import check_network

FAMILIES = {nn.RNN: RateRNN, nn.GRU: GRU, nn.LSTM: LSTM}
# Float32 rounds at 1e-7 of a rate of order 1, and ten steps of a random network hardly amplify it.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def recurrent(kind, *sizes, **options):
    """Make a recurrent module; the weights are those that torch draws."""
    torch.manual_seed(1)
    return kind(*sizes, batch_first=True, **options).eval()


def inputs_like(module, size=3):
    like = next(module.parameters())
    return torch.randn(4, 10, size, generator=torch.Generator().manual_seed(2)).to(like)


def deviation(network, wanted, inputs):
    with torch.no_grad():
        outputs, rates = network(inputs)
    return float((wanted - (outputs if network.output_size else rates)).abs().max())


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(
    ("n_layers", "bidirectional", "bias"), list(itertools.product([1, 2, 3], [False, True], [True, False]))
)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_modules_give_the_same_outputs(kind, n_layers, bidirectional, bias, dtype):
    options = {"num_layers": n_layers, "bidirectional": bidirectional, "bias": bias}
    module = recurrent(kind, 3, 6, **options, dtype=dtype)
    readout = nn.Linear(6 * (1 + bidirectional), 2, bias=bias, dtype=dtype)
    network = network_from_torch(module, readout)
    assert type(network) is FAMILIES[kind]
    assert not network.training
    assert {own.dtype for own in network.parameters()} == {dtype}
    inputs = inputs_like(module)
    with torch.no_grad():
        rates = module(inputs)[0]
        assert deviation(network, readout(rates), inputs) < TOLERANCE[dtype]
    assert deviation(network_from_torch(module), rates, inputs) < TOLERANCE[dtype]
    assert network_from_torch(module).output_size == 0


@pytest.mark.parametrize("kind", FAMILIES)
def test_relu_and_a_given_first_state(kind):
    options = {"nonlinearity": "relu"} if kind is nn.RNN else {}
    module = recurrent(kind, 3, 6, num_layers=2, **options)
    inputs = inputs_like(module)
    generator = torch.Generator().manual_seed(0)
    hidden, cell = torch.randn(2, 2, 1, 6, generator=generator).expand(2, 2, 4, 6)
    start = (hidden.contiguous(), cell.contiguous()) if kind is nn.LSTM else hidden.contiguous()
    parts = [hidden[0, 0], cell[0, 0], hidden[1, 0], cell[1, 0]] if kind is nn.LSTM else list(hidden[:, 0])
    network = network_from_torch(module, initial_state=torch.cat(parts).tolist())
    with torch.no_grad():
        assert deviation(network, module(inputs, start)[0], inputs) < 1e-5
    if kind is nn.RNN:
        assert network.activation_name == "relu"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(nn.RNNCell, {}), (nn.RNNCell, {"nonlinearity": "relu"}), (nn.GRUCell, {}), (nn.LSTMCell, {})],
)
def test_cells_give_the_same_outputs(kind, options, bias):
    torch.manual_seed(1)
    cell = kind(3, 6, bias=bias, **options)
    inputs, state, wanted = inputs_like(cell), None, []
    with torch.no_grad():
        for input in inputs.unbind(1):
            state = cell(input, state)
            wanted.append(state[0] if kind is nn.LSTMCell else state)
    assert deviation(network_from_torch(cell), torch.stack(wanted, 1), inputs) < 1e-5


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("n_layers", "bidirectional"), [(1, False), (2, True)])
def test_state_dicts_do_as_the_modules_do(kind, n_layers, bidirectional):
    module = recurrent(kind, 3, 6, num_layers=n_layers, bidirectional=bidirectional)
    readout = nn.Linear(6 * (1 + bidirectional), 2)
    state = {f"rnn.{name}": own for name, own in module.state_dict().items()}
    state |= {f"fc.{name}": own for name, own in readout.state_dict().items()}
    wanted = network_from_torch(module, readout)
    for found in (
        network_from_torch(state),
        network_from_torch(state, kind=kind.__name__.lower()),
        network_from_torch({**state, "value.weight": torch.ones(1, 6)}, readout="fc"),
        network_from_torch(state, "fc", activation="tanh" if kind is nn.RNN else None),
    ):
        assert found.state_dict().keys() == wanted.state_dict().keys()
        for name, own in wanted.state_dict().items():
            assert torch.equal(found.state_dict()[name], own)
    alone = network_from_torch(module.state_dict())
    assert alone.output_size == 0
    cell = nn.GRUCell(3, 6)
    assert torch.equal(network_from_torch(cell.state_dict()).recurrent_weight, cell.weight_hh)
    relu = network_from_torch(recurrent(nn.RNN, 3, 6).state_dict(), activation="relu")
    assert relu.activation_name == "relu"


class Model(nn.Module):
    """What most people write: a recurrent part and a readout."""

    def __init__(self, kind=nn.GRU, batch_first=True, last=False, between=None):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(3, 6, batch_first=batch_first)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 2)
        self.last, self.between = last, between

    def forward(self, signal):
        rates, _ = self.rnn(signal)
        rates = self.drop(rates)
        rates = rates if self.between is None else self.between(rates)
        return (self.fc(rates[:, -1] if self.last else rates), rates)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"batch_first": False}, {"last": True}])
def test_a_module_that_holds_both_is_taken_apart_and_compared(kind, options, random_states):
    model = Model(kind, **options).train()
    model.fc.eval()
    before = random_states()
    network = network_from_torch(model)
    assert random_states() == before
    # As it was: in training, but for the one part that was not.
    assert [part.training for part in model.children()] == [True, True, False]
    model.eval()
    inputs = inputs_like(model)
    with torch.no_grad():
        rates = model.rnn(inputs if model.rnn.batch_first else inputs.transpose(0, 1))[0]
        wanted = model.fc(rates if model.rnn.batch_first else rates.transpose(0, 1))
    assert deviation(network, wanted, inputs) < 1e-5
    assert torch.equal(network_from_torch(model, "fc").output_weight, model.fc.weight)


def test_what_a_module_does_between_its_parts_is_not_guessed():
    class Own(Model):
        def forward(self, states, time):
            raise AssertionError

    for model, sentence in [
        (
            Model(between=torch.relu),
            "Model gives other outputs than its recurrent part and its readout",
        ),
        (Own(), r"Own could not be run on an array \(trial, time, input\) or \(time, trial, input\)"),
        (nn.Sequential(nn.GRU(3, 6), nn.Linear(6, 2)), "Sequential could not be run on an array"),
    ]:
        with pytest.raises(InputError, match=f"{sentence}.*pass those that you mean"):
            network_from_torch(model)
    model = Model(between=torch.relu)
    assert network_from_torch(model.rnn, readout=model.fc).output_size == 2


def test_weights_under_a_parametrisation_are_the_effective_ones():
    module = recurrent(nn.GRU, 3, 6)
    parametrizations.spectral_norm(module, "weight_hh_l0").eval()
    assert torch.equal(network_from_torch(module).recurrent_weight, module.weight_hh_l0)


def test_the_weights_are_copies():
    module = recurrent(nn.GRU, 3, 6)
    network = network_from_torch(module)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    assert network.recurrent_weight.abs().sum() > 0


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_they_are_networks_like_any_other(kind, n_layers, tmp_path, flip_flop):
    module = recurrent(kind, 2, 8, num_layers=n_layers)
    network = network_from_torch(module, nn.Linear(8, 2))
    check_network(network)
    nr.save_network(network, tmp_path / "network")
    again = nr.load_network(tmp_path / "network")
    inputs = inputs_like(module, 2)
    assert torch.equal(again(inputs)[0], network(inputs)[0])
    activity = nr.record(network, flip_flop, 6)
    with torch.no_grad():
        rates = module(torch.from_numpy(activity.input.values))[0]
    np.testing.assert_allclose(activity.rate, rates, atol=1e-5)
    assert nr.analysis.pca(activity, 2).sizes["component"] == 2
    points = nr.analysis.find_fixed_points(network, activity, n_starts=32)
    assert points.sizes["fixed_point"] >= 1
    run = nr.train(network, flip_flop, n_steps=2, batch_size=4, progress=False)
    assert run.network is network


class PrimerRNN(nn.Module):
    """The network of the Primer's notebooks, by its equation: a leak inside the rectifier."""

    def __init__(self, n_inputs, n_units, n_outputs, alpha):
        super().__init__()
        torch.manual_seed(3)
        self.input2h, self.h2h = nn.Linear(n_inputs, n_units), nn.Linear(n_units, n_units)
        self.fc, self.alpha = nn.Linear(n_units, n_outputs), alpha

    def forward(self, inputs):
        state, rates = torch.zeros(inputs.shape[1], self.h2h.out_features), []
        for input in inputs:
            driven = self.input2h(input) + self.h2h(state)
            state = torch.relu((1 - self.alpha) * state + self.alpha * driven)
            rates.append(state)
        return self.fc(torch.stack(rates)), torch.stack(rates)


@pytest.mark.parametrize("leak", [{}, {"tau": 100.0, "dt": 20.0}, {"alpha": 0.2}])
def test_the_primers_network_is_one_of_arrays(leak):
    primer = PrimerRNN(3, 16, 3, 0.2 if leak else 1.0)
    network = network_from_arrays(
        primer.h2h.weight,
        primer.input2h.weight,
        primer.input2h.bias.detach() + primer.h2h.bias.detach(),
        primer.fc.weight,
        output_bias=primer.fc.bias,
        activation="relu",
        dynamics="leak_inside",
        **leak,
    )
    inputs = inputs_like(primer)
    with torch.no_grad():
        outputs, rates = primer(inputs.transpose(0, 1))
        ours = network(inputs)
    assert (ours[0] - outputs.transpose(0, 1)).abs().max() < 1e-5
    assert (ours[1] - rates.transpose(0, 1)).abs().max() < 1e-5
    assert network.dt == leak.get("dt")
    check_network(network)
    with pytest.raises(InputError, match=r"must hold one RNN, .* got none; .*network_from_arrays"):
        network_from_torch(primer)


class PrimerEIRNN(nn.Module):
    """The Primer's excitatory-inhibitory network: its leak is on the current, its readout sees excitation."""

    def __init__(self, n_inputs, n_units, n_excitatory, n_outputs, alpha):
        super().__init__()
        torch.manual_seed(4)
        self.input2h, self.h2h = nn.Linear(n_inputs, n_units), nn.Linear(n_units, n_units)
        self.fc, self.alpha, self.n_excitatory = nn.Linear(n_excitatory, n_outputs), alpha, n_excitatory
        self.signs = torch.tensor([1.0] * n_excitatory + [-1.0] * (n_units - n_excitatory))

    def effective_weight(self):
        return self.h2h.weight.abs() * self.signs * (1 - torch.eye(len(self.signs)))

    def forward(self, inputs):
        state = rates = torch.zeros(inputs.shape[1], len(self.signs))
        found = []
        for input in inputs:
            driven = self.input2h(input) + rates @ self.effective_weight().t() + self.h2h.bias
            state = state * (1 - self.alpha) + driven * self.alpha
            rates = torch.relu(state)
            found.append(rates)
        found = torch.stack(found)
        return self.fc(found[:, :, : self.n_excitatory]), found


def test_the_primers_excitatory_inhibitory_network_has_current_dynamics():
    primer = PrimerEIRNN(3, 20, 16, 2, 0.2)
    readout = torch.zeros(2, 20)
    readout[:, :16] = primer.fc.weight.detach()
    network = network_from_arrays(
        primer.effective_weight(),
        primer.input2h.weight,
        primer.input2h.bias.detach() + primer.h2h.bias.detach(),
        readout,
        output_bias=primer.fc.bias,
        activation="relu",
        dynamics="current",
        tau=100.0,
        dt=20.0,
    )
    inputs = inputs_like(primer)
    with torch.no_grad():
        outputs, rates = primer(inputs.transpose(0, 1))
        ours = network(inputs)
    assert (ours[0] - outputs.transpose(0, 1)).abs().max() < 1e-5
    assert (ours[1] - rates.transpose(0, 1)).abs().max() < 1e-5


def test_arrays_may_bring_a_first_state_and_an_output_bias():
    network = network_from_arrays(
        np.eye(2), output=np.ones((1, 2)), output_bias=[3.0], activation="identity", initial_state=[1.0, 2.0]
    )
    outputs, rates = network(torch.zeros(1, 2, 0, dtype=torch.float64))
    np.testing.assert_array_equal(rates.detach()[0], [[1, 2], [1, 2]])
    np.testing.assert_array_equal(outputs.detach()[0], [[6], [6]])
    with pytest.raises(InputError, match=r"`output_bias` must have shape \(1\), got \(2,\)"):
        network_from_arrays(np.eye(2), output=np.ones((1, 2)), output_bias=[3.0, 1.0])
    with pytest.raises(InputError, match=r"`output_bias` must have shape \(0\), got \(1,\)"):
        network_from_arrays(np.eye(2), output_bias=[3.0])
    with pytest.raises(InputError, match="give the leak either as `alpha` or as `tau` with `dt`, got both"):
        network_from_arrays(np.eye(2), alpha=0.5, tau=10.0, dt=1.0)


def half(kind=nn.GRU):
    return recurrent(kind, 3, 6).half()


def state(**changes):
    own = {f"rnn.{name}": value for name, value in recurrent(nn.GRU, 3, 6).state_dict().items()}
    return {**own, **changes}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: network_from_torch(np.eye(3)), r"must be a torch module or a state dict, got ndarray: give"),
        (lambda: network_from_torch(nn.Linear(3, 2)), r"must hold one RNN, GRU or LSTM of torch.*got none"),
        (
            lambda: network_from_torch(nn.ModuleList([nn.GRU(3, 6), nn.RNN(6, 6)])),
            r"must hold one RNN.*got 2: GRU, RNN; pass the one that is meant",
        ),
        (
            lambda: network_from_torch(nn.LSTM(3, 6, proj_size=2)),
            r"projections \(proj_size = 2\) has no",
        ),
        (lambda: network_from_torch(nn.LSTM(3, 6, proj_size=2).state_dict()), r"projections \(weight_hr\)"),
        (lambda: network_from_torch(half()), r"float32, or all float64, got torch.float16: .*module.float"),
        (
            lambda: network_from_torch(nn.GRU(3, 6), nn.Linear(6, 2).double()),
            r"got torch.float32, torch.float64: convert",
        ),
        (
            lambda: network_from_torch(nn.GRU(3, 6), nn.Linear(5, 2)),
            r"must see the 6 units of the last",
        ),
        (
            lambda: network_from_torch(nn.GRU(3, 6, bidirectional=True), nn.Linear(6, 2)),
            r"must see the 12 units of the last layer, got weights of shape \(2, 6\)",
        ),
        (
            lambda: network_from_torch(nn.GRU(3, 6), nn.ReLU()),
            r"must be a torch.nn.Linear, got ReLU",
        ),
        (
            lambda: network_from_torch(Model(), "fd"),
            r"part of the module: 'fd': .*did you mean 'fc'\?",
        ),
        (
            lambda: network_from_torch(nn.ModuleList([nn.GRU(3, 6), nn.Linear(6, 2), nn.Linear(6, 1)])),
            r"has 2 linear layers, '1', '2': say with `readout` which one",
        ),
        (lambda: network_from_torch(nn.GRU(3, 6), kind="gru"), r"`kind` is for state dicts.*leave it out"),
        (lambda: network_from_torch(nn.RNN(3, 6), activation="tanh"), r"`activation` is for state dicts"),
        (lambda: network_from_torch(nn.GRU(3, 6), initial_state=[0.0]), r"one number for each of 6 state"),
        (lambda: network_from_torch({"a": 1}), r"maps names to tensors, and 'a' does not"),
        (lambda: network_from_torch({"a.weight": torch.ones(2, 2)}), r"must hold one RNN.*got none"),
        (
            lambda: network_from_torch(state(**{"b.weight_hh_l0": torch.ones(2, 2)})),
            r"must hold one RNN.*got 2, 'rnn', 'b'",
        ),
        (lambda: network_from_torch(state(), kind="lstm"), r"`kind` is 'lstm', but .* shapes of 'gru'"),
        (lambda: network_from_torch(state(), kind="gur"), r"unknown kind 'gur'.*did you mean 'gru'\?"),
        (
            lambda: network_from_torch(state(), activation="relu"),
            r"is for an RNN, and that of 'gru'",
        ),
        (
            lambda: network_from_torch(recurrent(nn.RNN, 3, 6).state_dict(), activation="sigmoid"),
            r"unknown activation 'sigmoid': expected one of 'relu', 'tanh'",
        ),
        (lambda: network_from_torch(state(), nn.Linear(6, 2)), r"is told by what its names begin with"),
        (lambda: network_from_torch(state(), "fc"), r"unknown readout 'fc'"),
        (
            lambda: network_from_torch(state(**{"a.weight": torch.ones(2, 6), "b.weight": torch.ones(2, 6)})),
            r"holds more than an RNN and a readout, 'a.weight', 'b.weight': say which one",
        ),
        (
            lambda: network_from_torch({"weight_hh_l0": torch.ones(3, 3)}),
            r"lacks weights of a layer, got 'weight_hh_l0': pass all of them",
        ),
        (
            lambda: network_from_torch({"weight_hh_l1": torch.ones(3, 3), "weight_ih_l1": torch.ones(3, 3)}),
            r"lacks weights of a layer",
        ),
        (
            lambda: network_from_torch({"weight_hh_l0": torch.ones(6, 3), "weight_ih_l0": torch.ones(6, 3)}),
            r"of shape \(6, 3\) are those of no RNN, GRU or LSTM: they have 1, 3 or 4 rows",
        ),
        (
            lambda: network_from_torch(state(**{"rnn.weight_ih_l0": torch.full((18, 3), torch.nan)})),
            r"`weight_ih` must be finite",
        ),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
