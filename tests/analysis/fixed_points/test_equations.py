import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.analysis.fixed_points.equations import (
    GRUEquation,
    LSTMEquation,
    MapEquation,
    RateEquation,
    equation_of,
)
from neurornn.analysis.maps import StateMap

HELD = np.array([0.4, -0.3])

NETWORKS = {
    "rate": lambda: nr.RateRNN(2, 7, 1, gain=1.5, tau=100.0, dt=20.0, seed=1),
    "current": lambda: nr.RateRNN(2, 7, 1, gain=1.5, dynamics="current", alpha=0.05, seed=1),
    "leak_inside": lambda: nr.RateRNN(2, 7, 1, gain=1.5, dynamics="leak_inside", alpha=0.3, seed=1),
    "tau each": lambda: nr.RateRNN(2, 3, 1, gain=1.5, tau=[20.0, 50.0, 400.0], dt=10.0, seed=1),
    "current, tau each": lambda: nr.RateRNN(
        2, 3, 1, gain=1.5, dynamics="current", tau=[20.0, 50.0, 400.0], dt=10.0, seed=1
    ),
    "leak_inside, tau each": lambda: nr.RateRNN(
        2, 3, 1, gain=1.5, dynamics="leak_inside", tau=[20.0, 50.0, 400.0], dt=10.0, seed=1
    ),
    "feedback": lambda: nr.RateRNN(2, 7, 1, feedback=True, alpha=0.2, seed=1),
    "softplus": lambda: nr.RateRNN(2, 7, 1, activation="softplus", gain=0.5, seed=1),
    "relu, leak_inside": lambda: nr.RateRNN(
        2, 7, 1, activation="relu", dynamics="leak_inside", alpha=0.3, gain=0.7, seed=1
    ),
    "low rank": lambda: nr.RateRNN(2, 7, 1, rank=2, gain=2.0, seed=1),
    "GRU": lambda: nr.GRU(2, 7, 1, seed=1),
    "LSTM": lambda: nr.LSTM(2, 7, 1, seed=1),
    "normalised": lambda: nr.RateRNN(2, 7, 1, layer_norm=True, seed=1),
    "two layers": lambda: nr.RateRNN(2, 4, 1, n_layers=2, seed=1),
    "two GRU layers": lambda: nr.GRU(2, 4, 1, n_layers=2, seed=1),
    "plastic": lambda: nr.RateRNN(2, 4, 1, activation="sigmoid", plasticity="mixed", tau=100.0, dt=10.0),
}
FORMS = {"GRU": GRUEquation, "LSTM": LSTMEquation}
ONLY_MAPS = {"normalised", "two layers", "two GRU layers", "plastic"}


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def system(name):
    return StateMap(NETWORKS[name](), HELD)


def probe(system, equation, n=4):
    states = torch.as_tensor(np.random.default_rng(0).uniform(-0.9, 0.9, (n, system.network.state_size)))
    return equation.unknowns(states)


def test_the_form_is_recognised(name, system):
    expected = MapEquation if name in ONLY_MAPS else FORMS.get(name, RateEquation)
    assert type(equation_of(system)) is expected


def test_the_matrices_are_the_derivative(name, system):
    equation = equation_of(system)
    unknowns = probe(system, equation)
    memo = equation.evaluate(unknowns)[1]
    exact = torch.stack(
        [torch.func.jacrev(lambda one: equation.evaluate(one[None])[0][0])(own) for own in unknowns]
    )
    # Two derivations of one matrix, to rounding.
    torch.testing.assert_close(equation.matrices(memo), -exact, rtol=1e-11, atol=1e-12)
    # In float32 they point the same way.
    torch.testing.assert_close(equation.matrices(memo, torch.float32).double(), -exact, rtol=1e-4, atol=1e-5)


def test_solutions_are_the_states_at_rest_and_states_at_rest_are_solutions(name, system):
    equation = equation_of(system)
    starts = np.random.default_rng(1).uniform(-0.9, 0.9, (20, system.network.state_size))
    points = find_fixed_points(NETWORKS[name](), starts, inputs=HELD, n_starts=64)
    states = torch.as_tensor(points.state.values[(points.kind != "slow").values])
    assert len(states)
    # By the step of the simulation, not by the equation.
    assert float((system.step(states) - states).abs().max()) < 1e-12
    unknowns = equation.unknowns(states)
    assert float(equation.evaluate(unknowns)[0].abs().max()) < 1e-12
    torch.testing.assert_close(equation.states(unknowns), states, rtol=1e-11, atol=1e-11)


def test_the_sum_of_indices_is_that_of_the_whole_map(name, system):
    equation = equation_of(system)
    starts = np.random.default_rng(1).uniform(-0.9, 0.9, (20, system.network.state_size))
    points = find_fixed_points(NETWORKS[name](), starts, inputs=HELD, n_starts=64)
    states = torch.as_tensor(points.state.values[(points.kind != "slow").values])
    reduced = torch.linalg.slogdet(equation.matrices(equation.evaluate(equation.unknowns(states))[1]))[0]
    jacobian = system.jacobian(states)
    whole = torch.linalg.slogdet(torch.eye(jacobian.shape[-1], dtype=torch.float64) - jacobian)[0]
    assert reduced.tolist() == whole.tolist()


def test_the_update_gate_of_a_gru_does_not_enter():
    network = nr.GRU(2, 5, 1, seed=3, dtype=torch.float64)
    other = nr.GRU(2, 5, 1, seed=3, dtype=torch.float64)
    with torch.no_grad():
        other.layers[0].cell.weight_hh_l0[5:10] += 0.7
        other.layers[0].cell.bias_ih_l0[5:10] += 3.0
    starts = np.random.default_rng(0).uniform(-1, 1, (20, 5))
    one, two = (find_fixed_points(net, starts, inputs=HELD) for net in (network, other))
    np.testing.assert_allclose(one.state, two.state, atol=1e-12)
    # How fast they are approached does change.
    assert float(abs(one.eigenvalue_real - two.eigenvalue_real).max()) > 0.05


def test_a_cell_whose_forget_gate_is_shut_to_1e_minus_18_still_has_its_cells():
    network = nr.LSTM(2, 3, 1, seed=0, dtype=torch.float64)
    with torch.no_grad():
        network.layers[0].cell.bias_ih_l0[3:6] = 41.0
    equation = equation_of(StateMap(network, HELD))
    hidden = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    states = equation.states(hidden)
    assert bool(torch.isfinite(states).all())
    # 1 - sigmoid(41) is 0 in float64, sigmoid(-41) is not.
    assert float(states[:, 3:].abs().max()) > 1e15


def test_a_small_alpha_costs_no_digits():
    weights = 1.5 * np.random.default_rng(0).standard_normal((6, 6)) / np.sqrt(6)
    starts = np.random.default_rng(1).normal(size=(40, 6))
    for dynamics in ("rate", "current"):
        network = nr.network_from_arrays(weights, bias=np.full(6, 0.1), alpha=1e-6, dynamics=dynamics)
        points = find_fixed_points(network, starts)
        # (F(x) - x) / alpha would be wrong by 1e-16 / 1e-6.
        assert float(points.residual.max()) < 1e-14
        assert points.attrs["share_converged"] > 0.9


def test_weights_that_are_not_finite_are_refused():
    network = nr.RateRNN(2, 4, 1)
    with torch.no_grad():
        network.bias[1] = np.nan
    with pytest.raises(nr.vocabulary.InputError, match=r"`layers.0.bias` must be finite, but 1 of 4"):
        find_fixed_points(network, np.zeros((1, 4)))


class _ByHand(torch.autograd.Function):
    """A function that torch cannot pull by many vectors at once."""

    @staticmethod
    def forward(ctx, state):
        ctx.save_for_backward(state)
        return torch.tanh(2 * state)

    @staticmethod
    def backward(ctx, pull):
        (state,) = ctx.saved_tensors
        # Through numpy, which no transformation of torch sees into.
        slope = 2 * (1 - np.tanh(2 * state.numpy()) ** 2)
        return torch.as_tensor(pull.numpy() * slope)


def test_a_function_with_a_derivative_written_by_hand_is_differentiated_all_the_same():
    jacobian = StateMap(_ByHand.apply).jacobian(torch.zeros(3, 2, dtype=torch.float64))
    np.testing.assert_allclose(jacobian, np.tile(2 * np.eye(2), (3, 1, 1)))
