import time

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.analysis.fixed_points import minima
from neurornn.analysis.maps import StateMap


def along(values):
    return torch.as_tensor(values, dtype=torch.float64)[:, None]


def test_zeros_minima_and_failures_are_told_apart():
    # x' = x + (x^2 + .01) beside x' = x + 1, which rests nowhere.
    ghost = minima.descend(StateMap(lambda x: x + x**2 + 0.01), along([-1.0, 2.0]), 1e-12)
    assert ghost.label.tolist() == [minima.MINIMUM] * 2
    torch.testing.assert_close(ghost.states, torch.zeros(2, 1, dtype=torch.float64), atol=1e-6, rtol=0)
    drift = minima.descend(StateMap(lambda x: x + 1.0), along([0.0]), 1e-12)
    assert drift.label.tolist() == [minima.FAILED]
    zero = minima.descend(StateMap(lambda x: torch.tanh(2 * x)), along([0.5]), 1e-12)
    assert zero.label.tolist() == [minima.ZERO]


def test_saddles_and_maxima_of_speed_are_no_minima():
    assert not minima.is_minimum(StateMap(lambda x: x + torch.cos(x)), torch.zeros(1, dtype=torch.float64))
    saddle = StateMap(lambda x: x + torch.stack([x[..., 0] ** 2 - x[..., 1] ** 2 + 1, 0 * x[..., 0]], dim=-1))
    assert not minima.is_minimum(saddle, torch.zeros(2, dtype=torch.float64))
    bowl = StateMap(lambda x: x + torch.stack([x[..., 0] ** 2 + x[..., 1] ** 2 + 1, 0 * x[..., 0]], dim=-1))
    assert minima.is_minimum(bowl, torch.zeros(2, dtype=torch.float64))


def test_a_map_that_leaves_every_bound_ends():
    for wild in (lambda x: torch.exp(x**2) * 1e200 + x, lambda x: torch.full_like(x, torch.nan)):
        found = minima.descend(StateMap(wild), along([0.5, 3.0]), 1e-12)
        assert minima.ZERO not in found.label.tolist()


def test_nothing_begins_after_the_deadline_and_work_is_bounded(monkeypatch):
    system = StateMap(lambda x: x + x**2 + 0.01)
    late = minima.descend(system, along([1.0, 2.0]), 1e-12, deadline=time.monotonic() - 1)
    assert late.label.tolist() == [minima.FAILED] * 2
    monkeypatch.setattr(minima, "_MOST_OPERATIONS", 800.0)
    some = minima.descend(system, along([1.0, 2.0, 3.0]), 1e-12)
    assert some.label.tolist() == [minima.MINIMUM, minima.FAILED, minima.FAILED]


@pytest.mark.parametrize("family", ["tanh", "GRU"])
def test_slow_points_of_networks_are_minima_of_the_speed_of_their_own_map(family):
    if family == "GRU":
        network = nr.GRU(1, 6, 1, seed=5, dtype=torch.float64)
        with torch.no_grad():
            network.layers[0].cell.weight_hh_l0 *= 6
    else:
        weights = 2 * np.random.default_rng(3).standard_normal((10, 10)) / np.sqrt(10)
        bias = np.random.default_rng(12).standard_normal(10) / 2
        network = nr.network_from_arrays(weights, bias=bias, input=np.zeros((10, 1)))
    size = network.state_size
    rng = np.random.default_rng(0)
    points = find_fixed_points(network, rng.uniform(-1, 1, (300, size)))
    slow = points.isel(fixed_point=(points.kind == "slow").values)
    assert (slow.residual > 1e-6).all()

    def speed(states):
        states = torch.as_tensor(states)
        with torch.no_grad():
            return (network.step(states, torch.zeros(1, dtype=torch.float64)) - states).norm(dim=1).numpy()

    for state, own in zip(slow.state.values, slow.speed.values, strict=True):
        around = state + 1e-3 * rng.standard_normal((200, size))
        assert (speed(around) >= own - 1e-9).all()
    if family == "tanh":
        assert slow.sizes["fixed_point"] > 0
