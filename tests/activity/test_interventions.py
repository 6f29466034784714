"""Interventions against plain loops over steps, and against what they mean in closed form."""

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import InputError
from neurornn.activity import (
    INTERVENTIONS,
    Clamp,
    Disconnection,
    InputPulse,
    Lesion,
    Pulse,
    Stimulation,
    WeightPerturbation,
)
from neurornn.activity.interventions import of_description

TASK = nr.tasks.FlipFlop(n_bits=2, duration=300)
ARGUMENTS = {"tau": 50.0, "dt": 10.0, "seed": 5, "dtype": torch.float64}
NETWORKS = {
    "rate": lambda: nr.RateRNN(2, 7, 2, **ARGUMENTS),
    "current": lambda: nr.RateRNN(2, 7, 2, dynamics="current", **ARGUMENTS),
    "leak inside": lambda: nr.RateRNN(2, 7, 2, dynamics="leak_inside", activation="sigmoid", **ARGUMENTS),
    "layers": lambda: nr.RateRNN(2, 7, 2, n_layers=2, **ARGUMENTS),
    "Dale": lambda: nr.RateRNN(2, 7, 2, excitatory_fraction=0.6, activation="relu", **ARGUMENTS),
    "feedback": lambda: nr.RateRNN(2, 7, 2, feedback=True, **ARGUMENTS),
    "plastic": lambda: nr.RateRNN(2, 7, 2, plasticity="mixed", activation="relu", **ARGUMENTS),
    "low rank": lambda: nr.RateRNN(2, 7, 2, rank=2, **ARGUMENTS),
    "GRU": lambda: nr.GRU(2, 7, 2, seed=5, dtype=torch.float64),
    "LSTM": lambda: nr.LSTM(2, 7, 2, seed=5, dtype=torch.float64),
}
EVERY = pytest.mark.parametrize("name", list(NETWORKS))


def recorded(network, *interventions, **arguments):
    return nr.record(network, TASK, 5, interventions=interventions, variables=("rate", "state"), **arguments)


def by_hand(network, change=None, drive=None):
    """Run step by step in plain torch; ``change`` looks at every state, ``drive`` at every input."""
    trials = TASK.draw(5, nr.seeding.numpy_stream(1, nr.seeding.RECORDING))
    inputs = torch.as_tensor(trials.inputs, dtype=torch.float64)
    state, states = network.initial_state(5), []
    with torch.no_grad():
        for k in range(inputs.shape[1]):
            seen = inputs[:, k] if drive is None else drive(k, inputs[:, k].clone())
            state = network.step(state, seen)
            state = state if change is None else change(k, state.clone())
            states.append(state)
        states = torch.stack(states, 1)
        rates = network.rates(states)
        return states.numpy(), rates.numpy(), network.readout(rates).numpy()


def check(activity, expected, tolerance=1e-12):
    # float64: what differs is the order of sums, over 30 steps.
    states, rates, outputs = expected
    np.testing.assert_allclose(activity.state, states, rtol=0, atol=tolerance)
    np.testing.assert_allclose(activity.rate, rates, rtol=0, atol=tolerance)
    if "output" in activity:
        np.testing.assert_allclose(activity.output, outputs, rtol=0, atol=tolerance)


@EVERY
def test_a_clamp_holds_the_state_and_all_else_follows(name):
    network = NETWORKS[name]().eval()
    first = sum(layer.state_size for layer in network.layers[:-1])

    def hold(k, state):
        if 5 <= k < 20:
            state[:, [first + 1, first + 4]] = 0.25
        return state

    check(recorded(network, Clamp([1, 4], 0.25, start=50, stop=200)), by_hand(network, hold))


@EVERY
def test_a_pulse_kicks_the_state_once(name):
    network = NETWORKS[name]().eval()
    direction = np.arange(1.0, network.state_size + 1)
    kick = torch.as_tensor(0.5 * direction / np.linalg.norm(direction))

    def along(k, state):
        return state + kick if k == 12 else state

    check(recorded(network, Pulse(0.5, at=125, direction=direction)), by_hand(network, along))
    first = sum(layer.state_size for layer in network.layers[:-1])

    def of_unit(k, state):
        if k == 0:
            state[:, first + 3] -= 2
        return state

    check(recorded(network, Pulse(-2.0, at=0, units=3)), by_hand(network, of_unit))


@EVERY
def test_an_input_pulse_is_another_input(name):
    network = NETWORKS[name]().eval()

    def add(k, seen):
        if k >= 10:
            seen[:, 1] += 0.7
        return seen

    check(recorded(network, InputPulse(1, 0.7, start=100)), by_hand(network, drive=add))


@EVERY
def test_a_lesion_is_what_is_left_when_the_units_are_not_heard(name):
    """Removing a unit's outgoing weights is the same as a network in which others hear a rate of 0."""
    network = NETWORKS[name]().eval()
    activity = nr.record(network, TASK, 5, interventions=[Lesion([0, 6])])
    assert not activity.rate.values[..., [0, 6]].any()
    kept = [1, 2, 3, 4, 5]
    whole = nr.record(network, TASK, 5)
    assert np.abs(activity.rate - whole.rate).values[..., kept].max() > 1e-6
    # The output is the readout of the rates that are recorded.
    outputs = activity.rate.values @ network.output_weight.detach().numpy().T
    np.testing.assert_allclose(activity.output, outputs + network.output_bias.detach().numpy(), atol=1e-12)


def test_a_lesioned_network_is_the_network_of_the_units_that_are_left():
    network = NETWORKS["rate"]()
    kept = np.array([1, 2, 4, 5])
    activity = nr.record(network, TASK, 5, interventions=[Lesion([0, 3, 6])])
    smaller = nr.network_from_arrays(
        network.recurrent_weight.detach().numpy()[np.ix_(kept, kept)],
        network.input_weight.detach().numpy()[kept],
        network.bias.detach().numpy()[kept],
        network.output_weight.detach().numpy()[:, kept],
        alpha=0.2,
    )
    its = nr.record(smaller, TASK, 5)
    np.testing.assert_allclose(activity.rate.values[..., kept], its.rate, rtol=0, atol=1e-12)


def test_a_lesion_of_modes_leaves_nothing_along_them():
    network = NETWORKS["rate"]()
    modes = np.random.default_rng(0).standard_normal((2, 7))
    activity = nr.record(network, TASK, 5, interventions=[Lesion(modes=modes)])
    np.testing.assert_allclose(activity.rate.values @ modes.T, 0, atol=1e-12)
    # All directions: nobody hears anybody.
    alone = nr.record(network, TASK, 5, interventions=[Lesion(modes=np.eye(7))])
    assert np.abs(alone.output - network.output_bias.detach().numpy()).max() < 1e-12


def test_a_lesion_of_a_lower_layer_takes_its_weights_to_the_layer_above():
    network = NETWORKS["layers"]().eval()
    activity = recorded(network, Lesion([2], layer=0))
    with torch.no_grad():
        for layer, weight in ((0, "recurrent_weight"), (1, "input_weight")):
            getattr(network.layers[layer], weight)[:, 2] = 0
    check(activity, by_hand(network))


def test_a_label_names_units():
    network = NETWORKS["Dale"]()
    signs = network.unit_labels["sign"]
    activity = nr.record(network, TASK, 5, interventions=[Lesion("inhibitory")])
    assert not activity.rate.values[..., signs < 0].any()
    assert activity.rate.values[..., signs > 0].any()
    with pytest.raises(InputError, match=r"unknown label of units 'inhibitry'.*did you mean 'inhibitory'"):
        nr.record(network, TASK, 5, interventions=[Lesion("inhibitry")])
    with pytest.raises(InputError, match=r"no labels, got 'inhibitory': give their positions, from 0 to 6"):
        nr.record(NETWORKS["rate"](), TASK, 5, interventions=[Lesion("inhibitory")])


@pytest.mark.parametrize("name", ["rate", "current", "leak inside", "layers", "feedback", "plastic"])
def test_stimulation_drives_units_beside_their_inputs(name):
    network = NETWORKS[name]().eval()
    activity = recorded(network, Stimulation([0, 2], 0.8, start=100, stop=150))
    layer = network.layers[0]
    bias = layer.bias.detach().clone()

    def drive(k, seen):
        with torch.no_grad():
            layer.bias.copy_(bias)
            if 10 <= k < 15:
                layer.bias[[0, 2]] += 0.8
        return seen

    check(activity, by_hand(network, drive=drive))


def test_disconnection_cuts_a_block_of_weights():
    network = NETWORKS["Dale"]().eval()
    signs = network.unit_labels["sign"]
    activity = recorded(network, Disconnection("inhibitory", "excitatory"))
    weight = network.recurrent_weight.detach().clone()
    weight[np.ix_(signs > 0, signs < 0)] = 0
    network.recurrent_weight = weight
    check(activity, by_hand(network))


def test_disconnection_cuts_all_gates():
    network = NETWORKS["GRU"]().eval()
    activity = recorded(network, Disconnection(3))
    with torch.no_grad():
        network.recurrent_weight[:, 3] = 0
    check(activity, by_hand(network))


def test_a_weight_perturbation_has_its_size_and_spares_weights_that_are_not_there():
    network = nr.RateRNN(2, 60, 2, density=0.5, seed=1)
    before = network.recurrent_weight.detach().clone()
    changed = nr.activity.interventions.changed_copy(network, [WeightPerturbation(0.1, seed=4)])
    change = (changed.recurrent_weight - before).detach().numpy()
    there = before.numpy() != 0
    assert not change[~there].any()
    size = np.sqrt((before.numpy()[there] ** 2).mean())
    # 1800 Gaussian numbers: the standard error of their size is 1.7 %.
    assert change[there].std() == pytest.approx(0.1 * size, rel=0.08)
    assert torch.equal(network.recurrent_weight, before)


def test_interventions_are_applied_together_and_in_their_order():
    network = NETWORKS["rate"]().eval()

    def change(k, state):
        if k >= 10:
            state[:, 0] = 0.5
        if k == 12:
            state[:, 0] += 1
        return state

    activity = recorded(network, Clamp(0, 0.5, start=100), Pulse(1.0, at=120, units=0))
    check(activity, by_hand(network, change))


@pytest.mark.parametrize("name", ["rate", "GRU"])
def test_noise_and_what_the_outputs_have_of_it_stay(name):
    make = {"rate": nr.RateRNN, "GRU": nr.GRU}[name]
    network = make(2, 7, 2, output_noise_std=0.1, input_noise_std=0.1, seed=3)
    plain = nr.record(network, TASK, 5, noise=True)
    held = nr.record(network, TASK, 5, noise=True, interventions=[Clamp(2, 0.3)])
    assert (held.rate.sel(unit=2) == np.float32(0.3)).all()
    readout = (
        held.rate.values @ network.output_weight.detach().numpy().T + network.output_bias.detach().numpy()
    )
    # 5 x 30 x 2 numbers of size .1.
    assert (held.output - readout).std() == pytest.approx(0.1, rel=0.2)
    again = nr.record(network, TASK, 5, noise=True, interventions=[Clamp(2, 0.3)])
    np.testing.assert_array_equal(again.output, held.output)
    assert not np.array_equal(plain.output, held.output)


def test_the_network_is_left_as_it_was():
    network = NETWORKS["Dale"]().train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    recorded(network, Lesion([1]), WeightPerturbation(1.0), Stimulation([0], 3.0), Clamp(2, 1.0))
    assert network.training
    assert network.input_size == 2
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_a_recording_tells_what_was_done():
    network = NETWORKS["rate"]()
    done = [Lesion([1, 2]), Clamp(0, 0.5, 10, 20), Pulse(1.0, 50, direction=np.ones(7))]
    activity = recorded(network, *done)
    described = nr.activity.read_origin(activity)["recording"]["interventions"]
    assert described[0] == {"kind": "Lesion", "units": [1, 2], "modes": None, "layer": -1}
    again = [of_description(own) for own in described]
    assert [own.describe() for own in again] == described
    with pytest.raises(InputError, match=r"unknown intervention 'Leson'.*did you mean 'Lesion'"):
        of_description({"kind": "Leson"})


REFUSED = [
    (Lesion(), "needs `units` or `modes`, one of both"),
    (Lesion([1], modes=np.eye(7)), "needs `units` or `modes`, one of both"),
    (Lesion([7]), r"`units` must be positions from 0 to 6, at least one, got \[7\]"),
    (Lesion([]), r"positions from 0 to 6, at least one, got \[\]"),
    (Lesion([0.5]), r"positions from 0 to 6"),
    (Lesion(modes=np.ones(3)), r"finite directions of shape \(mode, unit=7\), got \(1, 3\)"),
    (Lesion(modes=np.full((1, 7), np.nan)), r"finite directions of shape"),
    (Lesion([0], layer=1), r"`layer` must be from 0 to 0, or -1 for the last, got 1"),
    (Clamp(0, np.nan), "`value` of a Clamp must be a finite number, got nan"),
    (
        Clamp(0, 0.0, start=300),
        "a Clamp from 300 to None ms holds no step of these trials, which last from 0 to 300",
    ),
    (Clamp(0, 0.0, start=-10), "a Clamp from -10 to None ms holds no step"),
    (Clamp(0, 0.0, start=20, stop=20), "a Clamp from 20 to 20 ms holds no step"),
    (Clamp(0, 0.0, start="soon"), "`start` of a Clamp must be a finite number, got 'soon'"),
    (Pulse(np.inf, 0), "`amplitude` of a Pulse must be a finite number, got inf"),
    (Pulse(1.0, 0, units=1, direction=np.ones(7)), "takes `units` or `direction`, not both"),
    (
        Pulse(1.0, 0, direction=np.zeros(7)),
        r"vector other than zero of shape \(state_variable=7,\), got \(7,\)",
    ),
    (Pulse(1.0, 9999), "a Pulse from 9999 to None ms holds no step"),
    (InputPulse(2, 1.0), r"`channels` must be positions from 0 to 1, at least one, got 2"),
    (WeightPerturbation(-1.0), "`std` must be"),
    (WeightPerturbation(1.0, "recurent_weight"), "did you mean 'recurrent_weight'"),
    ("lesion", "must be a list of interventions such as Lesion"),
]


@pytest.mark.parametrize(("intervention", "sentence"), REFUSED, ids=lambda own: str(own)[:40])
def test_what_does_not_fit_is_refused_before_anything_is_run(intervention, sentence):
    with pytest.raises(InputError, match=sentence):
        nr.record(NETWORKS["rate"](), TASK, 2, interventions=[intervention])


def test_networks_that_cannot_be_cut_or_silenced_say_so():
    for kind, name in (({"bidirectional": True}, "second direction"), ({"attention": "dot"}, "attention")):
        with pytest.raises(InputError, match=name):
            nr.record(nr.RateRNN(2, 4, 2, **kind), TASK, 2, interventions=[Clamp(0)])
    network = nr.RateRNN(2, 4, 2, n_layers=2, residual=True)
    with pytest.raises(InputError, match=r"residual connections.*hold them with Clamp"):
        nr.record(network, TASK, 2, interventions=[Lesion([0])])
    with pytest.raises(
        InputError, match=r"a Stimulation drives rate networks.*got GRU: use a Pulse or Clamp"
    ):
        nr.record(nr.GRU(2, 4, 2), TASK, 2, interventions=[Stimulation(0, 1.0)])


def test_every_intervention_is_named():
    assert set(INTERVENTIONS) == {own for own in nr.activity.__all__ if own in INTERVENTIONS}
