import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.vocabulary import InputError

# The stable zero of x = tanh(2x), to the digits that float64 holds.
ROOT = 0.9575040240772688


def starts(n_variables, n=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_variables))


def histogram(points):
    return np.bincount(points.n_unstable, minlength=points.sizes["mode"] + 1).tolist()


def test_three_bistable_units_have_all_27_points():
    points = find_fixed_points(nr.network_from_arrays(2 * np.eye(3)), starts(3))
    assert histogram(points) == [8, 12, 6, 1]
    grid = np.array(list(itertools.product([-ROOT, 0, ROOT], repeat=3)))
    distance = np.abs(points.state.values[:, None] - grid).max(axis=2)
    # Each of the 27 known points is found once, to rounding.
    assert (distance.min(axis=0) < 1e-14).all()
    assert (distance.min(axis=1) < 1e-14).all()
    assert points.index_sum.item() == points.index_sum_expected.item() == 1
    stable = points.isel(fixed_point=points.kind == "stable")
    np.testing.assert_allclose(stable.eigenvalue_real, 2 * (1 - ROOT**2), rtol=1e-12)
    assert set(points.kind.values[points.n_unstable == 3]) == {"unstable"}


def test_units_mixed_by_three_blocks_of_many_have_the_same_27_points():
    # Three blocks of 32 units that excite themselves, and a random matrix below their gap.
    n, rng = 96, np.random.default_rng(1)
    blocks = np.kron(np.eye(3), np.full((32, 32), 2 / 32))
    weights = blocks + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)
    network = nr.network_from_arrays(weights)
    states = rng.choice([-1.0, 1.0], size=(200, 3)).repeat(32, axis=1) * rng.uniform(0, 1, (200, 1))
    points = find_fixed_points(network, states)
    assert histogram(points)[:4] == [8, 12, 6, 1]
    assert points.index_sum.item() == 1
    assert float(points.residual.max()) < 1e-13


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_a_linear_network_has_one_point_and_it_solves_the_equation(n, alpha):
    rng = np.random.default_rng(n)
    weights = 0.8 * rng.standard_normal((n, n)) / np.sqrt(n)
    bias = rng.standard_normal(n)
    network = nr.network_from_arrays(weights, bias=bias, activation=lambda u: 1.0 * u, alpha=alpha)
    points = find_fixed_points(network, starts(n))
    assert points.sizes["fixed_point"] == 1
    np.testing.assert_allclose(points.state[0], np.linalg.solve(np.eye(n) - weights, bias), rtol=1e-10)
    exact = (1 - alpha) + alpha * np.linalg.eigvals(weights)
    found = points.eigenvalue_real[0].values + 1j * points.eigenvalue_imag[0].values
    # No order of complex numbers is stable under rounding: each has a partner.
    assert np.abs(found[:, None] - exact).min(axis=1).max() < 1e-10
    assert np.isnan(points.index_sum_expected).all()


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
def test_points_are_those_of_the_simulated_map(dynamics):
    network = nr.RateRNN(
        2, 30, 1, dynamics=dynamics, tau=100.0, dt=20.0, gain=1.6, seed=3, dtype=torch.float64
    )
    held = np.array([0.3, -0.2])
    points = find_fixed_points(network, starts(30), inputs=held, n_starts=128)
    states = torch.as_tensor(points.state.values)
    zeros = torch.as_tensor((points.kind != "slow").values)
    with torch.no_grad():
        moved = network.step(states, torch.as_tensor(held).expand(len(states), -1))
    assert float((moved - states)[zeros].abs().max()) < 1e-13
    np.testing.assert_allclose(points.rate, network.rates(states), atol=1e-15)
    assert points.index_sum.item() == 1
    # A stable point draws in what begins beside it; from a saddle it departs.
    for kind, shrinks in (("stable", True), ("saddle", False)):
        chosen = states[torch.as_tensor((points.kind == kind).values)]
        if not len(chosen):
            continue
        near = chosen + 1e-6 * torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0)).double()
        begin = (near - chosen).norm(dim=1)
        with torch.no_grad():
            for _ in range(400):
                near = network.step(near, torch.as_tensor(held).expand(len(near), -1))
        assert bool((((near - chosen).norm(dim=1) < begin) == shrinks).all())


def test_the_leak_changes_neither_points_nor_their_speed():
    weights = 1.8 * np.random.default_rng(5).standard_normal((12, 12)) / np.sqrt(12)
    plain = find_fixed_points(nr.network_from_arrays(weights), starts(12))
    leaky = find_fixed_points(nr.network_from_arrays(weights, alpha=0.01), starts(12))
    for one in leaky.state.values[leaky.kind != "slow"]:
        assert np.abs(plain.state.values - one).max(axis=1).min() < 1e-10
    assert (plain.kind != "slow").sum() == (leaky.kind != "slow").sum()


def test_published_points_of_shifted_ramp_weights():
    # FixedPointFinder's own test networks: W[i] = -roll(linspace(-1, 1, n), -i), with 3, 3 and 9 points.
    for n, count in ((2, 3), (3, 3), (4, 9)):
        weights = np.stack([-np.roll(np.linspace(-1, 1, n), -i) for i in range(n)])
        points = find_fixed_points(nr.network_from_arrays(weights.T), starts(n, 200))
        assert (points.kind != "slow").sum() == count
    # The largest moduli of the four-unit network's points.
    modulus = np.hypot(points.eigenvalue_real, points.eigenvalue_imag).max("mode")
    for known in (0.75156, 1.04743, 1.31596):
        assert np.abs(modulus.values - known).min() < 5e-6


def test_henon_points_from_a_plain_function():
    def henon(state):
        x, y = state[..., 0], state[..., 1]
        return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], dim=-1)

    points = find_fixed_points(henon, starts(2))
    # 1.4 x^2 + 0.7 x - 1 = 0
    exact = (-0.7 + np.array([-1, 1]) * np.sqrt(0.49 + 5.6)) / 2.8
    np.testing.assert_allclose(np.sort(points.state.values[:, 0]), exact, rtol=1e-13)
    assert (points.kind == "saddle").all()


def test_a_torch_cell_serves_as_a_function_of_its_state():
    torch.manual_seed(0)
    cell = torch.nn.GRUCell(2, 6).double()
    held = torch.tensor([0.5, -0.5], dtype=torch.float64)
    points = find_fixed_points(lambda state: cell(held.expand(len(state), -1), state), starts(6))
    # A gated cell's states stay in the unit cube; far outside it the gates close and all states seem at rest.
    points = points.isel(fixed_point=(np.abs(points.state) <= 1).all("state_variable").values)
    assert points.kind.values.tolist() == ["stable"]
    states = torch.as_tensor(points.state.values)
    with torch.no_grad():
        moved = cell(held.expand(len(states), -1), states)
    assert float((moved - states).abs().max()) < 1e-12
    exact = torch.func.jacrev(lambda state: cell(held, state))(states[0]).detach().numpy()
    found = points.eigenvalue_real[0].values + 1j * points.eigenvalue_imag[0].values
    assert np.abs(found[:, None] - np.linalg.eigvals(exact)).min(axis=1).max() < 1e-10


def test_a_map_that_forgets_its_state_has_one_point():
    points = find_fixed_points(lambda state: torch.full_like(state, 0.5), starts(2))
    assert points.kind.values.tolist() == ["stable"]
    assert (points.state == 0.5).all()
    assert not points.eigenvalue_real.any()


def test_a_ghost_is_a_slow_point_and_no_zero():
    points = find_fixed_points(lambda x: x + x**2 + 0.01, starts(1))
    assert points.kind.values.tolist() == ["slow"]
    assert points.speed.item() == pytest.approx(0.01, rel=1e-9)
    assert abs(points.state.item()) < 1e-6
    assert points.index_sum.item() == 0


def test_a_maximum_of_speed_is_not_reported():
    # G = cos(x) has its extrema, of |G|, at 0: a maximum; zeros at +-pi/2 only in reach.
    points = find_fixed_points(lambda x: x + torch.cos(x), np.zeros((3, 1)), seeding="none")
    assert points.sizes["fixed_point"] == 0
    assert (points.start_label == -1).all()


def test_a_drift_without_rest_gives_failures_and_no_points():
    points = find_fixed_points(lambda x: x + 1.0, starts(2))
    assert points.sizes["fixed_point"] == 0
    assert (points.start_label == -1).all()
    np.testing.assert_allclose(points.start_residual, 1)
    assert points.attrs["share_converged"] == 0


def test_a_point_on_the_unit_circle_is_marginal_and_the_index_unknown():
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    points = find_fixed_points(lambda x: x @ rotation.T, starts(2))
    assert points.kind.values.tolist() == ["marginal"]
    assert np.isnan(points.index_sum.item())
    # A quarter turn per step.
    np.testing.assert_allclose(points.frequency, 0.25)
    assert points.frequency.attrs["units"] == "1/step"


def test_time_constants_are_in_ms_where_dt_is_known():
    network = nr.RateRNN(1, 4, 1, tau=100.0, dt=10.0, gain=0.0, activation="tanh")
    points = find_fixed_points(network, starts(4))
    # W = 0: each step keeps 1 - dt / tau.
    np.testing.assert_allclose(points.time_constant, -10 / np.log(0.9), rtol=1e-12)
    assert points.time_constant.attrs["units"] == "ms"


def test_a_network_without_dt_takes_that_of_the_recording():
    task = nr.tasks.FlipFlop(n_bits=1, duration=100, dt=10.0)
    network = nr.RateRNN(1, 8, 1, gain=0.5)
    points = find_fixed_points(network, nr.record(network, task, 5))
    assert points.time_constant.attrs["units"] == "ms"


def test_every_start_is_accounted_for():
    network = nr.network_from_arrays(3 * np.random.default_rng(2).standard_normal((20, 20)) / np.sqrt(20))
    given = starts(20, 30)
    points = find_fixed_points(network, given, n_starts=64)
    # The given starts come first and in order.
    np.testing.assert_array_equal(points.start_state.values[:30], given)
    label, residual = points.start_label.values, points.start_residual.values
    assert label.min() >= -1
    assert label.max() < points.sizes["fixed_point"]
    zero = np.isin(label, np.flatnonzero(points.kind != "slow"))
    assert (residual[zero] <= 2e-12).all()
    assert (residual[~zero] > 1e-12).all()
    assert points.attrs["share_converged"] == pytest.approx((label >= 0).mean())


def test_without_seeding_only_the_given_starts_are_used():
    points = find_fixed_points(nr.network_from_arrays(2 * np.eye(2)), [[0.5, 0.5]], seeding="none")
    assert points.sizes["start"] == points.sizes["fixed_point"] == 1
    assert points.index_sum.item() == 1


def test_several_inputs_are_several_conditions():
    network = nr.network_from_arrays(2 * np.eye(2), input=np.eye(2))
    points = find_fixed_points(network, starts(2), inputs={"none": [0, 0], "strong": [5, 5], "half": [0, 5]})
    counts = {name: int((points.condition == name).sum()) for name in ("none", "strong", "half")}
    assert counts == {"none": 9, "strong": 1, "half": 3}
    assert points.condition_name.values.tolist() == ["none", "strong", "half"]
    assert points.index_sum.values.tolist() == [1, 1, 1]
    strong = points.isel(fixed_point=points.condition == "strong")
    np.testing.assert_array_equal(strong.input, [[5, 5]])
    # Labels count through all conditions.
    owner = points.condition.values[points.start_label.values]
    assert (owner == points.start_condition.values).all()
    as_array = find_fixed_points(network, starts(2), inputs=np.array([[0, 0], [5, 5]]))
    assert as_array.condition_name.values.tolist() == ["input 0", "input 1"]


def test_the_result_is_the_same_twice_and_survives_a_file(tmp_path):
    network = nr.network_from_arrays(1.5 * np.eye(2), input=np.eye(2))
    first, second = (
        find_fixed_points(network, starts(2), inputs={"a": [0, 0], "b": [1, 0]}) for _ in range(2)
    )
    xr.testing.assert_equal(first, second)
    nr.save(first, tmp_path / "points.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "points.nc"), first)


def test_the_network_is_left_as_it_was():
    network = nr.RateRNN(1, 6, 1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_fixed_points(network, starts(6), n_starts=16)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.requires_grad for value in network.parameters())
    assert network.recurrent_weight.dtype == torch.float32


def test_an_expired_time_limit_is_told():
    points = find_fixed_points(nr.network_from_arrays(2 * np.eye(2)), starts(2), max_seconds=1e-9)
    assert points.attrs["complete"] == 0


def test_relu_points_are_those_of_every_consistent_set_of_active_units():
    # With the active units known the network is linear: all 2^n sets are tried.
    for seed in range(4):
        rng = np.random.default_rng(seed)
        n = 6
        weights, bias = 1.3 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal(n)
        exact = []
        for active in itertools.product([0.0, 1.0], repeat=n):
            gate = np.diag(active)
            state = np.linalg.solve(np.eye(n) - gate @ weights, gate @ bias)
            if np.array_equal((weights @ state + bias > 0).astype(float), active):
                exact.append(state)
        network = nr.network_from_arrays(weights, bias=bias, activation="relu")
        points = find_fixed_points(network, 2 * np.abs(starts(n, 200)))
        found = points.state.values[points.kind != "slow"]
        assert len(found) == len(exact)
        for state in exact:
            assert np.abs(found - state).max(axis=1).min() < 1e-10


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.floats(0.2, 2.5), st.integers(0, 2**31))
def test_reported_zeros_are_zeros_and_distinct(n, gain, seed):
    weights = gain * np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)
    points = find_fixed_points(nr.network_from_arrays(weights), starts(n, 16), n_starts=64)
    zero = (points.kind != "slow").values
    states = points.state.values[zero]
    residual = np.abs(np.tanh(states @ weights.T) - states).max(axis=1)
    assert (residual <= 1e-12 * (1 + np.abs(states).max(axis=1))).all()
    np.testing.assert_allclose(points.residual.values[zero], residual, atol=1e-15)
    gaps = np.abs(states[:, None] - states).max(axis=2)[~np.eye(len(states), dtype=bool)]
    assert (gaps > 1e-7).all()
    # The origin is always one of them.
    assert np.abs(states).max(axis=1).min() < 1e-9


def recording(value):
    return xr.Dataset(
        {
            "rate": (("trial", "time", "unit"), np.zeros((2, 3, 3))),
            "input": (("trial", "time", "input_channel"), np.full((2, 3, 3), value)),
        }
    )


NETWORK = nr.network_from_arrays(np.eye(3), input=np.eye(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_fixed_points(NETWORK, recording(1.0)), "the recording's inputs never vanish"),
        (
            lambda: find_fixed_points(NETWORK, starts(4)),
            "must have 3 state variables like the network, got 4",
        ),
        (lambda: find_fixed_points(NETWORK, np.zeros(3)), r"must have shape \(start, state_variable\)"),
        (lambda: find_fixed_points(NETWORK, np.zeros((0, 3))), "at least one state"),
        (lambda: find_fixed_points(NETWORK, [[np.nan, 0, 0]]), "`starts` must be finite"),
        (lambda: find_fixed_points(NETWORK, starts(3), inputs=[1.0]), r"input_channel=3,\), got \(1,\)"),
        (lambda: find_fixed_points(NETWORK, starts(3), inputs=[np.inf, 0, 0]), "`inputs` must be finite"),
        (lambda: find_fixed_points(NETWORK, starts(3), inputs={}), "empty dictionary"),
        (
            lambda: find_fixed_points(NETWORK, starts(3), inputs=np.zeros((1, 1, 3))),
            "or .condition, input_channel",
        ),
        (
            lambda: find_fixed_points(NETWORK, starts(3), seeding="off"),
            "unknown seeding 'off': expected one of 'auto', 'none'",
        ),
        (lambda: find_fixed_points(NETWORK, starts(3), method="adam"), "unknown method 'adam'"),
        (lambda: find_fixed_points(NETWORK, starts(3), n_starts=-1), "at least 0, got -1"),
        (lambda: find_fixed_points(NETWORK, starts(3), tolerance=0), "`tolerance` must be a positive"),
        (lambda: find_fixed_points(NETWORK, starts(3), max_seconds=0), "`max_seconds` must be a positive"),
        (lambda: find_fixed_points(torch.tanh, starts(3), inputs=[0.0]), "no meaning for a function"),
        (lambda: find_fixed_points("net", starts(3)), "must be a network with a `step` method"),
        (lambda: find_fixed_points(torch.nn.GRUCell(1, 3), starts(3)), "a GRUCell has no `step"),
        (lambda: find_fixed_points(NETWORK, recording(0.0).rename(unit="cell")), "needs dimension 'unit'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_units_with_time_constants_of_their_own_have_the_points_of_the_network_without_leak():
    weights = 1.5 * np.random.default_rng(3).standard_normal((6, 6)) / np.sqrt(6)
    options = {"recurrent_initialisation": weights, "dtype": torch.float64}
    plain = find_fixed_points(nr.RateRNN(0, 6, 0, **options), starts(6))
    taus = [20.0, 50.0, 100.0, 200.0, 400.0, 800.0]
    leaky = find_fixed_points(nr.RateRNN(0, 6, 0, tau=taus, dt=10.0, **options), starts(6))
    # The residual is freed of every unit's own leak, so the same zeros are found to the same precision.
    assert (plain.kind != "slow").sum() == (leaky.kind != "slow").sum()
    for one in leaky.state.values[leaky.kind != "slow"]:
        assert np.abs(plain.state.values - one).max(1).min() < 1e-9


@pytest.mark.parametrize("family", [nr.LSTM, nr.GRU])
def test_gated_networks_are_analysed_by_their_own_jacobian(family):
    net = family(1, 5, 1, seed=2, dtype=torch.float64)
    points = find_fixed_points(net, starts(net.state_size))
    zero = points.isel(fixed_point=points.kind.values != "slow")
    assert zero.sizes["fixed_point"] >= 1
    state = torch.as_tensor(zero.state.values)
    moved = net.step(state, torch.zeros(len(state), 1, dtype=torch.float64)) - state
    assert float(moved.detach().abs().max()) < 1e-11


def test_plastic_synapses_at_rest_are_a_fixed_point():
    net = nr.RateRNN(1, 4, 1, activation="relu", plasticity="mixed", tau=100.0, dt=10.0, gain=0.1)
    points = find_fixed_points(net, net.initial_state(1).numpy())
    resting = net.initial_state(1).double().numpy()
    assert np.abs(points.state.values - resting).max(1).min() < 1e-6
