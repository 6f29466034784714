import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis.fixed_points import find_cycles
from neurornn.vocabulary import InputError


def along(n=60):
    return np.linspace(0.01, 0.99, n)[:, None]


def logistic(rate):
    return lambda x: rate * x * (1 - x)


@pytest.mark.parametrize(("period", "count"), [(2, 1), (3, 2), (4, 3), (5, 6), (6, 9)])
def test_the_logistic_map_at_four_has_as_many_cycles_as_necklaces(period, count):
    # (1/n) sum over d | n of mu(n/d) 2^d, of which one of period 1 is the point at 0.
    cycles = find_cycles(logistic(4.0), along(), period)
    assert cycles.sizes["cycle"] == count
    # Each state is sin(pi k / (2^n +- 1))^2, and every multiplier is +-2^n.
    np.testing.assert_allclose(np.abs(cycles.multiplier_real), 2.0**period, rtol=1e-9)
    assert (cycles.kind == "unstable").all()
    state = cycles.state.values[..., 0]
    np.testing.assert_allclose(4 * state * (1 - state), np.roll(state, -1, axis=1), atol=1e-10)
    # Sorted by phase, the least first, and no orbit twice.
    assert (state.argmin(axis=1) == 0).all()
    assert len(np.unique(state[:, 0].round(9))) == count


def test_the_period_two_orbit_of_henons_map():
    def henon(state):
        x, y = state[..., 0], state[..., 1]
        return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], dim=-1)

    cycles = find_cycles(henon, np.random.default_rng(0).normal(size=(60, 2)), 2)
    # 1.4^2 x^2 - 1.4 (1 - .3) x + (1 - .3)^2 - 1.4 = 0.
    exact = np.sort(np.roots([1.96, -0.98, 0.49 - 1.4]))
    assert cycles.sizes["cycle"] == 1
    np.testing.assert_allclose(cycles.state[0, :, 0], exact, atol=1e-12)
    # The product of the multipliers is the determinant over two steps.
    modes = cycles.multiplier_real[0] + 1j * cycles.multiplier_imag[0]
    assert complex(modes.prod()) == pytest.approx(0.09, rel=1e-10)


def test_a_rectified_network_has_the_cycles_of_brute_force():
    rng = np.random.default_rng(3)
    n = 3
    weights, bias = 2.2 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal(n)
    network = nr.network_from_arrays(weights, bias=bias, activation="relu")
    cycles = find_cycles(network, np.abs(rng.standard_normal((100, n))), 2)
    # All pairs of sets of active units.
    masks = [np.array([k >> j & 1 for j in range(n)], float) for k in range(2**n)]
    exact = []
    for one in masks:
        for two in masks:
            first, second = one[:, None] * weights, two[:, None] * weights
            matrix = np.eye(n) - second @ first
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            state = np.linalg.solve(matrix, second @ (one * bias) + two * bias)
            after = np.maximum(weights @ state + bias, 0)
            again = np.maximum(weights @ after + bias, 0)
            if np.abs(again - state).max() < 1e-9 and np.abs(after - state).max() > 1e-6:
                exact.append(min(tuple(state.round(8)), tuple(after.round(8))))
    assert cycles.sizes["cycle"] == len(set(exact))
    for orbit in cycles.state.values:
        assert min(np.abs(np.array(own) - orbit[0]).max() for own in exact) < 1e-6
    if exact:
        assert float(cycles.residual.max()) < 1e-12


def test_cycles_of_a_stable_alternation_are_stable():
    network = nr.network_from_arrays(-3 * np.eye(2))
    cycles = find_cycles(network, np.random.default_rng(0).normal(size=(40, 2)), 2)
    # Each unit alternates or rests, out of phase or in: (+,+), (+,-), and each alone.
    assert cycles.sizes["cycle"] == 4
    assert sorted(cycles.kind.values.tolist()) == ["saddle", "saddle", "stable", "stable"]


def test_without_cycles_there_is_an_empty_result():
    cycles = find_cycles(lambda x: x / 2, along(), 3)
    assert cycles.sizes["cycle"] == 0
    assert cycles.sizes["phase"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_cycles(logistic(4.0), along(), 1), "`period` must be a whole number of at least 2"),
        (
            lambda: find_cycles(
                nr.network_from_arrays(np.eye(2), input=np.eye(2)), np.zeros((1, 2)), 2, inputs=np.eye(2)
            ),
            "takes one constant input, got 2",
        ),
    ],
)
def test_mistakes_are_told(call, message):
    with pytest.raises(InputError, match=message):
        call()
