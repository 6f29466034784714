"""Mastrogiuseppe & Ostojic 2018: a rank-one network is bistable where its two vectors overlap enough.

doi:10.1016/j.neuron.2018.07.003. With W = m n' / N the flow x' = -x + W tanh x rests at x = m kappa, where
kappa = mean(n tanh(m kappa)) exactly, at any N; the rate along m is mean(n m (1 - tanh(m kappa)^2)) - 1.

Vectors of five fresh seeds, 101 to 105, run once, passed everything.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import neurornn as nr

ALPHA = 0.1


def rank_one(overlap, n_units, seed=2026):
    """Return a network of the flow, and its vectors: n = overlap m + noise."""
    rng = np.random.default_rng(seed)
    m = rng.standard_normal(n_units)
    n = overlap * m + rng.standard_normal(n_units)
    network = nr.RateRNN(0, n_units, 0, dynamics="current", alpha=ALPHA, rank=1, dtype=torch.float64)
    with torch.no_grad():
        network.layers[0].recurrent.m[:, 0] = torch.as_tensor(m)
        network.layers[0].recurrent.n[:, 0] = torch.as_tensor(n)
    return network.eval(), m, n


def exact_kappa(m, n):
    return brentq(lambda kappa: np.mean(n * np.tanh(m * kappa)) - kappa, 1e-2, 10, xtol=1e-14)


def kappa_of_large_networks(overlap):
    """Solve 1 / overlap = <1 - tanh(kappa z)^2> over a standard normal z."""
    node, weight = np.polynomial.hermite_e.hermegauss(101)
    weight = weight / weight.sum()
    return brentq(lambda kappa: weight @ (1 - np.tanh(kappa * node) ** 2) - 1 / overlap, 1e-2, 20)


@torch.no_grad()
def settled(network, state, n_steps=3000):
    state, nothing = torch.as_tensor(state)[None], torch.zeros(1, 0, dtype=torch.float64)
    for _ in range(n_steps):
        state = network.step(state, nothing)
    return state[0].numpy()


@pytest.mark.published
@pytest.mark.parametrize("overlap", [1.5, 2.0, 3.0])
def test_there_are_two_memories_and_silence_and_nothing_else(overlap, claim):
    network, m, n = rank_one(overlap, 200)
    kappa = exact_kappa(m, n)
    # Visited states: a random state alone has next to nothing along m, and Newton's method then leads to 0.
    first = torch.as_tensor(np.random.default_rng(0).standard_normal((32, m.size)))
    nothing = torch.zeros(len(first), 100, 0, dtype=torch.float64)
    with torch.no_grad():
        visited = network(nothing, first, return_states=True)[2]
    points = nr.analysis.find_fixed_points(network, visited.flatten(0, 1)[::10], n_starts=256)
    projection = points.state.values @ m / (m @ m)
    order = np.argsort(projection)
    expected = np.array([-kappa, 0, kappa])
    claim(f"overlap {overlap}: fixed points", points.sizes["fixed_point"], exactly=3)
    assert points.index_sum.item() == points.index_sum_expected.item() == 1
    # The search ends at a speed of 1e-12, and the slowest rate is about -.3: 1e-6 is a generous bound.
    apart = np.abs(points.state.values[order] - np.outer(expected, m)).max()
    claim(f"overlap {overlap}: their distance from 0 and +-m kappa", apart, at_most=1e-6)
    assert points.kind.values[order].tolist() == ["stable", "saddle", "stable"]
    # The map's eigenvalue is 1 + alpha times the flow's rate.
    rates = (points.eigenvalue_real.values[order, 0] - 1) / ALPHA
    exact = [np.mean(n * m * (1 - np.tanh(m * own) ** 2)) - 1 for own in expected]
    claim(f"overlap {overlap}: error of their slowest rates", np.abs(rates - exact).max(), at_most=1e-6)


@pytest.mark.parametrize("overlap", [1.5, 2.0, 3.0])
def test_a_large_network_settles_near_the_mean_field(overlap):
    network, m, n = rank_one(overlap, 2000)
    state = settled(network, 0.5 * m)
    # The slowest rate is about -.3 per tau, and 3000 steps are 300 tau.
    np.testing.assert_allclose(state, exact_kappa(m, n) * m, atol=1e-6)
    # The sample overlap is taken, whose own spread would be 11 %; what is left is of order 1 / sqrt(N), 5.5 %
    # in the worst of 20 samples.
    assert state @ m / (m @ m) == pytest.approx(kappa_of_large_networks(n @ m / m.size), rel=0.07)


def test_below_an_overlap_of_one_activity_decays():
    network, m, _ = rank_one(0.8, 2000)
    # At a rate of about -.2 per tau nothing of 300 tau is left.
    assert np.abs(settled(network, 0.5 * m)).max() < 1e-12


@pytest.mark.published
@pytest.mark.parametrize(("overlap", "g"), [(1.5, 0.5), (2.0, 0.8)])
def test_random_weights_beside_leave_the_outlier_where_it_was(overlap, g, claim):
    low_rank, m, n = rank_one(overlap, 1000)
    chi = np.random.default_rng(1).standard_normal((m.size, m.size)) / np.sqrt(m.size)
    weight = low_rank.recurrent_weight.detach().numpy() + g * chi
    network = nr.network_from_arrays(weight, alpha=ALPHA, dynamics="current")
    modes = nr.analysis.eigenspectrum(network.recurrent_weight)
    modulus = np.hypot(modes.eigenvalue_real.values, modes.eigenvalue_imag.values)
    print(f"\ng {g}: outlier {modulus[0]:.3f} of {n @ m / m.size:.3f}, bulk edge {modulus[1]:.3f}")
    # At N = 1000 the pilots' worst of 12 were 1.9 % and 4.4 %.
    outlier = modes.eigenvalue_real.values[0] / (n @ m / m.size)
    claim(f"g {g}: outlier by the overlap n m / N", outlier, at_least=0.95, at_most=1.05)
    claim(f"g {g}: edge of the bulk by g", modulus[1] / g, at_least=0.94, at_most=1.06)
