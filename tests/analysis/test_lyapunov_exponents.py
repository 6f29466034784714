"""Lyapunov exponents against closed forms, published values, identities and a separate decomposition."""

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import InputError
from neurornn.analysis import flow_map, lyapunov
from neurornn.numerics.exponents import Orthonormal, batch_error, dimension, interval


def network(n=20, gain=1.5, **options):
    return nr.RateRNN(3, n, 2, gain=gain, seed=3, dtype=torch.float64, **options)


NETWORKS = {
    "rate": lambda: network(),
    "leaky rate": lambda: network(tau=50, dt=10),
    "taus": lambda: network(8, tau=[20.0 + 10 * k for k in range(8)], dt=10),
    "current": lambda: network(dynamics="current", tau=50, dt=10),
    "leak inside": lambda: network(dynamics="leak_inside", tau=50, dt=10, activation="softplus"),
    "feedback": lambda: network(feedback=True),
    "layers": lambda: network(8, n_layers=2),
    "GRU": lambda: nr.GRU(3, 8, 2, seed=3, dtype=torch.float64),
    "LSTM": lambda: nr.LSTM(3, 8, 2, seed=3, dtype=torch.float64),
}


def trajectory(net, start, n_steps, drive=None):
    states = [torch.as_tensor(start)]
    with torch.no_grad():
        for t in range(n_steps):
            seen = torch.zeros(3, dtype=torch.float64) if drive is None else torch.as_tensor(drive[t])
            states.append(net.step(states[-1], seen))
    return torch.stack(states)


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_exponents_sum_to_the_mean_logarithm_of_the_determinant(name, driven):
    """By a separate LU decomposition of every Jacobian along the same trajectory."""
    net = NETWORKS[name]()
    drive = np.random.default_rng(5).standard_normal((260, 3)) if driven else None
    start = 0.3 * np.cos(np.arange(net.state_size))
    found = lyapunov(net, inputs=drive, initial_state=start, n_steps=200, n_warmup=60)
    states = trajectory(net, start, 260, drive)
    np.testing.assert_allclose(found.final_state, states[-1], atol=1e-8)
    inputs = torch.zeros(260, 3, dtype=torch.float64) if drive is None else torch.as_tensor(drive)
    with torch.no_grad():
        jacobians = net.jacobian(states[60:-1], inputs[60:])
    logs = torch.linalg.slogdet(jacobians).logabsdet
    assert float(found.lyapunov_exponent.sum()) == pytest.approx(float(logs.mean()), abs=1e-6)


@pytest.mark.parametrize("name", ["rate", "leaky rate", "current", "leak inside", "feedback"])
def test_the_product_without_a_jacobian_is_that_with_one(name):
    net = NETWORKS[name]()
    start, x = 0.3 * np.cos(np.arange(net.state_size)), np.array([0.5, -1.0, 0.2])
    found = lyapunov(net, inputs=x, initial_state=start, n_steps=50, n_warmup=20)
    step = lambda state: net.step(state, torch.as_tensor(x).expand(*state.shape[:-1], -1))  # noqa: E731
    plain = lyapunov(step, initial_state=start, n_steps=50, n_warmup=20)
    # The same trajectory and directions by two ways: 70 steps of rounding, grown by at most e^.2 a step.
    np.testing.assert_allclose(found.lyapunov_exponent, plain.lyapunov_exponent, atol=1e-7)


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues():
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((6, 6)) + 3 * np.eye(6)
    values = np.array([0.95, -0.8, 0.6, 0.5, -0.3, 0.1])
    weight = basis @ np.diag(values) @ np.linalg.inv(basis)
    net = nr.network_from_arrays(weight, activation="identity")
    found = lyapunov(net, n_steps=3000, n_warmup=300)
    # A constant of the first directions is left, which shrinks with the number of steps.
    np.testing.assert_allclose(found.lyapunov_exponent, np.log(np.abs(values)), atol=1e-3)
    assert float(found.dimension) == 0
    assert float(found.entropy) == 0


def test_henon():
    """Of a = 1.4, b = .3: the sum is ln b exactly; the first is .419 (Sprott 2003)."""

    def henon(state):
        x, y = state.unbind(-1)
        return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)

    found = lyapunov(henon, initial_state=[0.1, 0.1], n_steps=6000)
    assert float(found.lyapunov_exponent.sum()) == pytest.approx(np.log(0.3), abs=1e-9)
    assert float(found.lyapunov_exponent[0]) == pytest.approx(0.419, abs=0.02)
    assert float(found.dimension) == pytest.approx(1.258, abs=0.02)
    assert float(found.entropy) == float(found.lyapunov_exponent[0])


def test_lorenz():
    """10, 28, 8/3: .906, 0, -14.572 and a dimension of 2.062; the sum is -(10 + 1 + 8/3), the divergence."""

    def lorenz(state):
        x, y, z = state.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    step = 0.02
    found = lyapunov(flow_map(lorenz, step), initial_state=[1.0, 1.0, 20.0], n_steps=5000, dt=step)
    exponents = found.lyapunov_exponent_per_ms
    assert float(exponents.sum()) == pytest.approx(-(11 + 8 / 3), abs=0.01)
    # 100 units of time: the statistical error is some .03.
    np.testing.assert_allclose(exponents, [0.906, 0, -14.572], atol=0.1)
    assert float(found.dimension) == pytest.approx(2.062, abs=0.01)


def test_a_rectified_map_that_kills_a_direction_has_minus_infinity():
    weight = np.array([[0.5, 0.0], [0.0, -0.5]])
    net = nr.network_from_arrays(weight, None, [0.5, -1.0], activation="relu")
    found = lyapunov(net, n_steps=100, n_warmup=50)
    assert float(found.lyapunov_exponent[0]) == pytest.approx(np.log(0.5))
    assert np.isneginf(found.lyapunov_exponent[1])
    assert found.attrs["interval"] == 1


def test_a_normalised_layer_has_no_mean_to_pass_on():
    """What layer normalisation takes away is a direction that every step kills."""
    found = lyapunov(network(8, layer_norm=True), n_steps=50, n_warmup=50)
    assert np.isneginf(found.lyapunov_exponent).sum() >= 1
    assert np.isfinite(found.lyapunov_exponent[:6]).all()


def test_the_largest_alone_are_the_largest_of_all():
    net = network(60, gain=2.0)
    every = lyapunov(net, n_steps=400, n_warmup=200)
    few = lyapunov(net, n_exponents=3, n_steps=400, n_warmup=200)
    assert few.sizes["mode"] == 3
    # The trajectory is the same, the directions are others: their beginning counts 1/400.
    np.testing.assert_allclose(few.lyapunov_exponent, every.lyapunov_exponent[:3], atol=0.02)
    assert few.attrs["interval"] >= every.attrs["interval"]


def test_below_the_onset_of_chaos_the_largest_is_that_of_the_origin():
    net = nr.network_from_arrays(network(200, gain=0.8).recurrent_weight.detach())
    found = lyapunov(net, n_exponents=1, n_steps=1500)
    radius = np.abs(np.linalg.eigvals(net.recurrent_weight.detach().numpy())).max()
    assert float(found.lyapunov_exponent[0]) == pytest.approx(np.log(radius), abs=2e-3)


def test_errors_are_those_of_repeated_runs():
    net = network(40, gain=2.5)
    runs = [lyapunov(net, n_exponents=1, n_steps=1000, n_warmup=200, seed=seed) for seed in range(12)]
    spread = np.std([float(run.lyapunov_exponent[0]) for run in runs], ddof=1)
    told = np.mean([float(run.standard_error[0]) for run in runs])
    # Twelve runs know their spread to a fifth; stretches still depend on each other a little.
    assert told == pytest.approx(spread, rel=0.6)


def test_exponents_per_ms_and_the_same_numbers_again():
    net = network(10, tau=50, dt=10)
    found, again = lyapunov(net, n_steps=50), lyapunov(net, n_steps=50)
    xr.testing.assert_identical(found, again)
    np.testing.assert_allclose(found.lyapunov_exponent_per_ms, found.lyapunov_exponent / 10)
    assert "lyapunov_exponent_per_ms" not in lyapunov(network(5), n_steps=10)


def test_the_interval_keeps_the_slowest_direction():
    assert interval(np.array([[0.1, -1.5], [0.0, -0.1]]), 50) == 10
    assert interval(np.array([[0.0, 0.0]]), 50) == 50
    assert interval(np.array([[0.0, -100.0]]), 50) == 1
    assert interval(np.array([[0.0, -np.inf]]), 50) == 1
    assert interval(np.array([[-0.2]]), 50) == 50


def test_the_dimension_of_kaplan_and_yorke():
    assert dimension(np.array([-0.1, -0.2])) == 0
    assert dimension(np.array([0.5, -1.0])) == 1.5
    assert dimension(np.array([0.5, 0.0, -1.0])) == 2.5
    assert np.isnan(dimension(np.array([0.5, 0.1])))
    assert dimension(np.array([0.5, -np.inf])) == 1
    whole = lyapunov(lambda state: 1.5 * state, initial_state=[0.0, 0.0], n_steps=10, n_warmup=0)
    assert float(whole.dimension) == 2


def test_stretches_tell_the_error_of_independent_numbers():
    logs = np.random.default_rng(0).standard_normal((20_000, 2))
    # From 20 stretches the error is known to a sixth.
    np.testing.assert_allclose(batch_error(logs), 1 / np.sqrt(20_000), rtol=0.5)
    assert np.isnan(batch_error(logs[:1])).all()


def test_growth_is_told_by_directions():
    carried = Orthonormal(torch.eye(3, dtype=torch.float64)[:, :2])
    carried.directions = 4 * carried.directions
    np.testing.assert_allclose(carried.grown(), np.log([4, 4]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n_exponents": 21}, "at most the number of state variables 20, got 21"),
        ({"n_exponents": 0}, "`n_exponents` must be"),
        ({"n_steps": 0}, "`n_steps` must be"),
        ({"initial_state": [1.0]}, r"shape \(state_variable=20,\), got \(1,\)"),
        ({"initial_state": np.full(20, np.nan)}, "`initial_state` must"),
        ({"inputs": np.zeros(2)}, r"shape \(input_channel=3,\), got \(2,\)"),
        ({"inputs": np.zeros((9, 2))}, r"or \(time, input_channel=3\) for a drive, got \(9, 2\)"),
        ({"inputs": np.zeros((9, 3))}, r"drives for 9 steps, and n_warmup \+ n_steps are 3500"),
        ({"inputs": [np.nan, 0, 0]}, "`inputs` must"),
        ({"dt": -1.0}, "`dt` must be"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        lyapunov(network(), **arguments)


def test_functions_need_a_state_and_bounds():
    with pytest.raises(InputError, match="`initial_state` is needed for a function"):
        lyapunov(lambda state: state)
    with pytest.raises(InputError, match="no meaning for a function"):
        lyapunov(lambda state: state, inputs=[0.0], initial_state=[0.0])
    with pytest.raises(InputError, match="left the range of numbers after"):
        lyapunov(lambda state: 1e30 * (1 + state) ** 3, initial_state=[1.0], n_steps=100, n_warmup=0)
