"""Networks whose fixed points are all known: closed forms, brute force, reduced equations, dense scans."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import neurornn as nr
from neurornn.analysis import find_fixed_points


def starts(n_variables, n=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_variables))


def zeros_of(points):
    return points.isel(fixed_point=(points.kind != "slow").values)


def as_sets(found, exact, atol):
    """Both hold the same states: each known one is found once, and nothing else is."""
    assert len(found) == len(exact)
    distance = np.abs(found[:, None] - exact).max(axis=2)
    assert (distance.min(axis=0) <= atol).all()
    assert (distance.min(axis=1) <= atol).all()


@pytest.mark.parametrize("gain", [1.05, 1.5, 3.0, 10.0])
@pytest.mark.parametrize("n", [4, 5, 6])
def test_product_networks_have_three_points_to_the_power_of_their_units(n, gain):
    root = brentq(lambda x: np.tanh(gain * x) - x, 0.05, 1, xtol=1e-15)
    points = find_fixed_points(nr.network_from_arrays(gain * np.eye(n)), starts(n))
    # At a gain of 1.05 the slope of tanh(gain x) - x at its root is -.1: rounding is 10 times as large there.
    as_sets(points.state.values, np.array(list(itertools.product([-root, 0, root], repeat=n))), atol=2e-14)
    counts = np.bincount(points.n_unstable, minlength=n + 1)
    # Of 3^n points, C(n, k) 2^(n - k) have k unstable modes.
    assert counts.tolist() == [
        len(list(itertools.combinations(range(n), k))) * 2 ** (n - k) for k in range(n + 1)
    ]
    assert points.index_sum.item() == points.index_sum_expected.item() == 1
    assert points.search_ending.item() == "settled"
    assert points.attrs["share_converged"] > 0.95


@pytest.mark.parametrize("n_bits", [1, 2, 3])
@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_a_cube_of_bits_in_many_units_has_three_points_per_bit(n_bits, alpha):
    block = 24
    n = n_bits * block
    blocks = np.kron(np.eye(n_bits), np.full((block, block), 2 / block))
    weights = blocks + 0.2 * np.random.default_rng(1).standard_normal((n, n)) / np.sqrt(n)
    points = find_fixed_points(nr.network_from_arrays(weights, alpha=alpha), starts(n))
    expected = [
        len(list(itertools.combinations(range(n_bits), k))) * 2 ** (n_bits - k) for k in range(n_bits + 1)
    ]
    assert np.bincount(points.n_unstable).tolist() == expected
    assert points.index_sum.item() == 1
    assert float(points.residual.max()) < 1e-13


TWO_UNITS = {
    "mutual excitation": ([[0.0, 1.8], [1.8, 0.0]], [0.0, 0.0]),
    "mutual inhibition": ([[0.0, -2.0], [-2.0, 0.0]], [0.1, 0.0]),
    "oscillator": ([[2.0, -2.0], [2.0, 2.0]], [0.0, 0.0]),
    "self-excitation with a bias": ([[3.0, 0.4], [-0.6, 2.5]], [0.2, -0.1]),
    "strong": ([[6.0, -4.0], [5.0, 7.0]], [0.3, -0.4]),
    "random": ([[1.3, -2.1], [0.9, 2.4]], [-0.3, 0.2]),
}


@pytest.mark.parametrize("name", TWO_UNITS)
def test_two_unit_systems_have_the_roots_of_a_dense_scan(name):
    weights, bias = (np.array(own) for own in TWO_UNITS[name])
    # On each curve where unit 1 rests, x2 = (atanh x1 - w11 x1 - b1) / w12: one function of x1, scanned.
    edge = 1 - 1e-12
    first = np.concatenate([np.tanh(np.linspace(-14, 14, 1_000_001)), np.linspace(-edge, edge, 1_000_001)])
    first = np.unique(first)

    def second(x):
        return (np.arctanh(x) - weights[0, 0] * x - bias[0]) / weights[0, 1]

    def wrong(x):
        return np.tanh(weights[1, 0] * x + weights[1, 1] * second(x) + bias[1]) - second(x)

    sign = np.sign(wrong(first))
    places = np.flatnonzero(sign[:-1] * sign[1:] < 0)
    roots = [brentq(wrong, first[k], first[k + 1], xtol=1e-15) for k in places] + list(first[sign == 0])
    exact = np.array([[x, second(x)] for x in roots])
    points = zeros_of(find_fixed_points(nr.network_from_arrays(weights, bias=bias), starts(2)))
    # Where x1 is near to 1 the inverse of tanh loses digits.
    as_sets(points.state.values, exact, atol=1e-6)
    assert points.index_sum.item() == 1


def test_a_hopfield_network_of_three_patterns_has_the_fifteen_points_of_its_reduced_problem():
    n, n_patterns, gain = 64, 3, 1.5
    patterns = np.random.default_rng(0).choice([-1.0, 1.0], size=(n_patterns, n))
    points = find_fixed_points(nr.network_from_arrays(gain * patterns.T @ patterns / n), starts(n))
    # r = tanh(gain P' m), m = P r / n: three equations, solved from a dense grid of overlaps.
    grid = torch.as_tensor(np.array(list(itertools.product(np.linspace(-1, 1, 13), repeat=n_patterns))))
    pattern = torch.as_tensor(patterns)
    m = grid.clone()
    for _ in range(200):
        rate = torch.tanh(gain * m @ pattern)
        slope = torch.einsum("bi,ki,li->bkl", gain * (1 - rate**2), pattern, pattern) / n
        step = torch.linalg.solve(torch.eye(3) - slope, rate @ pattern.T / n - m)
        m = (m + 0.3 * step / step.norm(dim=1, keepdim=True).clamp_min(0.3)).clamp(-1, 1)
    rest = (torch.tanh(gain * m @ pattern) @ pattern.T / n - m).abs().amax(1) < 1e-10
    exact = np.unique(m[rest].numpy().round(8), axis=0)
    assert len(exact) == 15
    as_sets(points.state.values @ patterns.T / n, exact, atol=1e-7)
    assert points.index_sum.item() == 1


@pytest.mark.parametrize("overlap", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("dynamics", ["rate", "current"])
def test_rank_one_networks_rest_where_the_equation_of_their_overlap_does(overlap, dynamics):
    rng = np.random.default_rng(2026)
    n = 200
    m = rng.standard_normal(n)
    selection = overlap * m + rng.standard_normal(n)
    network = nr.network_from_arrays(np.outer(m, selection) / n, alpha=0.1, dynamics=dynamics)
    points = find_fixed_points(network, starts(n))
    # kappa = mean(n tanh(m kappa)), exactly, at any number of units.
    kappa = brentq(lambda own: np.mean(selection * np.tanh(m * own)) - own, 1e-2, 10, xtol=1e-14)
    current = np.outer([-kappa, 0, kappa], m)
    exact = current if dynamics == "current" else np.tanh(current)
    as_sets(points.state.values, exact, atol=1e-9)
    order = np.argsort(points.state.values @ m)
    assert points.kind.values[order].tolist() == ["stable", "saddle", "stable"]
    rates = (points.eigenvalue_real.values[order, 0] - 1) / 0.1
    slow = [np.mean(selection * m * (1 - np.tanh(m * own) ** 2)) - 1 for own in (-kappa, 0, kappa)]
    np.testing.assert_allclose(rates, slow, atol=1e-6)


@pytest.mark.parametrize(("n", "count"), [(2, 3), (3, 3), (4, 9)])
def test_points_of_fixed_point_finders_own_test_networks(n, count):
    # tanh(x W) with W[i] = -roll(linspace(-1, 1, n), -i).
    weights = np.stack([-np.roll(np.linspace(-1, 1, n), -i) for i in range(n)])
    points = zeros_of(find_fixed_points(nr.network_from_arrays(weights.T), starts(n, 200)))
    known = {
        2: [[0.957504, -0.957504]],
        3: [[0.949796, -0.425502, -0.879894]],
        4: [
            [0.775516, -0.775516, 0.775516, -0.775516],
            [0.962892, 0.525235, -0.962892, -0.525235],
            [0.877263, -0.569696, 0.339745, -0.789648],
            [0.339745, -0.789648, 0.877263, -0.569696],
        ],
    }[n]
    exact = np.array([np.zeros(n), *known, *(-np.array(own) for own in known)])
    assert len(exact) == count
    as_sets(points.state.values, exact, atol=1e-6)
    modulus = np.hypot(points.eigenvalue_real, points.eigenvalue_imag).max("mode").values
    if n == 3:
        # Near to the circle, but known to be off it.
        assert np.abs(modulus - 1.00641).min() < 5e-6
        assert "marginal" not in points.kind.values


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
def test_a_linear_network_rests_where_the_equation_says(dynamics):
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((30, 30)) / np.sqrt(30), rng.standard_normal(30)
    network = nr.network_from_arrays(weights, bias=bias, activation="identity", alpha=0.2, dynamics=dynamics)
    points = find_fixed_points(network, starts(30))
    exact = np.linalg.solve(np.eye(30) - weights, bias)
    assert points.sizes["fixed_point"] == 1
    np.testing.assert_allclose(points.state[0], exact, atol=1e-11 * np.abs(exact).max())


def test_zeros_are_never_false_and_never_twice_over_many_networks():
    kinds = itertools.cycle(
        [
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=g, seed=s),
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=g, seed=s, dynamics="current", alpha=0.1),
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=0.6 * g, seed=s, activation="relu", alpha=0.2),
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=g, seed=s, activation="sigmoid", dynamics="leak_inside"),
            lambda n, g, s: nr.GRU(1, n, 1, seed=s),
            lambda n, g, s: nr.LSTM(1, n, 1, seed=s),
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=3 * g, seed=s, activation="hard_tanh"),
            lambda n, g, s: nr.RateRNN(1, n, 1, gain=g, seed=s, rank=2),
        ]
    )
    rng = np.random.default_rng(0)
    for seed, kind in zip(range(50), kinds, strict=False):
        network = kind(int(rng.integers(3, 12)), float(rng.uniform(0.5, 2.5)), seed)
        held = rng.standard_normal(1)
        size = network.state_size
        points = find_fixed_points(network, starts(size, 32, seed), inputs=held, n_starts=64)
        zeros = zeros_of(points)
        state = torch.as_tensor(zeros.state.values)
        with torch.no_grad():
            moved = network.double().step(state, torch.as_tensor(held)) - state
        leak = network.state_leak.double().numpy()
        # What the simulation itself does at each zero, beside the rounding of its own arithmetic.
        bound = 1e-12 * (1 + np.abs(state.numpy()).max(axis=1, initial=0)) + 1e-15 / leak.min()
        assert (np.abs(moved.numpy() / leak).max(axis=1, initial=0) <= bound).all()
        apart = np.linalg.norm(state[:, None] - state, axis=2) + 1e9 * np.eye(len(state))
        error = zeros.position_error.values
        assert (apart > np.minimum(error[:, None] + error, 1e-4)).all()
        slow = points.isel(fixed_point=(points.kind == "slow").values)
        assert (slow.residual > 1e-12 * (1 + np.abs(slow.state).max("state_variable"))).all()
        label = points.start_label.values
        assert label.min() >= -1
        assert label.max() < points.sizes["fixed_point"]
