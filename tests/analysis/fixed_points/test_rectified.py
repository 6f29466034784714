import itertools
import time

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.analysis.fixed_points import rectified
from neurornn.vocabulary import InputError

SQRT2 = np.sqrt(2)


def by_brute_force(weights, drive):
    """Return the rates at rest of all 2^n sets of active units, one by one."""
    found = []
    for active in itertools.product([0.0, 1.0], repeat=len(drive)):
        gate = np.diag(active)
        state = np.linalg.solve(np.eye(len(drive)) - gate @ weights, gate @ drive)
        if np.array_equal((weights @ state + drive > 0).astype(float), active):
            found.append(state)
    return np.array(found).reshape(-1, len(drive))


def as_sets(one, other):
    one, other = np.asarray(one), np.asarray(other)
    assert len(one) == len(other)
    for state in other:
        assert np.abs(one - state).max(axis=1).min() < 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [4, 9])
def test_small_networks_have_the_points_of_brute_force(n, seed):
    rng = np.random.default_rng(seed)
    weights, drive = 1.5 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal(n)
    found = rectified.enumerate_points(torch.as_tensor(weights), torch.as_tensor(drive))
    assert found.complete
    assert not found.pieces
    as_sets(found.points, by_brute_force(weights, drive))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_low_rank_networks_have_the_points_of_brute_force(rank, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    n = 11
    weights = 2 * rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n)) / np.sqrt(n)
    drive = rng.standard_normal(n)
    exact = by_brute_force(weights, drive)
    # By corners of the arrangement of thresholds, as networks of more units are done.
    monkeypatch.setattr(rectified, "MOST_UNITS", 3)
    found = rectified.enumerate_points(torch.as_tensor(weights), torch.as_tensor(drive))
    as_sets(found.points, exact)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_regions_are_those_of_a_dense_sample(rank):
    rng = np.random.default_rng(rank)
    n = 9
    onto, drive = torch.as_tensor(rng.standard_normal((n, rank))), torch.as_tensor(rng.standard_normal(n))
    masks = {tuple(own) for own in rectified._regions(onto, drive).tolist()}
    place = torch.as_tensor(rng.standard_normal((200_000, rank)) * rng.exponential(3, (200_000, 1)))
    sampled = {tuple(own) for own in torch.unique(place @ onto.T + drive > 0, dim=0).tolist()}
    assert sampled <= masks
    # Zaslavsky's number for thresholds in general position.
    regions = {1: 1 + 9, 2: 1 + 9 + 36, 3: 1 + 9 + 36 + 84}[rank]
    assert len(masks) == regions


def test_without_a_drive_all_thresholds_meet_and_no_region_is_lost():
    rng = np.random.default_rng(0)
    onto = torch.as_tensor(rng.standard_normal((8, 2)))
    masks = {tuple(own) for own in rectified._regions(onto, torch.zeros(8, dtype=torch.float64)).tolist()}
    angle = torch.linspace(0, 2 * torch.pi, 20_001, dtype=torch.float64)
    place = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert {tuple(own) for own in torch.unique(place @ onto.T > 0, dim=0).tolist()} <= masks


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("dynamics", ["rate", "leak_inside"])
def test_the_line_attractor_is_one_segment_with_both_ends(alpha, dynamics):
    network = nr.network_from_arrays(
        np.array([[0.0, -1.0], [-1.0, 0.0]]),
        bias=np.ones(2),
        activation="relu",
        alpha=alpha,
        dynamics=dynamics,
    )
    starts = np.random.default_rng(0).uniform(0, 2, (200, 2))
    points = find_fixed_points(network, starts)
    as_sets(points.state, [[0, 1], [1, 0]])
    assert points.sizes["flat_piece"] == 1
    assert points.flat_piece_length.item() == pytest.approx(SQRT2, rel=1e-14)
    assert points.flat_piece_dimension.item() == 1
    assert not points.flat_piece_closed.item()
    assert points.flat_piece_of_point.values.tolist() == [0, 0]
    assert (points.kind == "marginal").all()
    assert float(points.residual.max()) < 1e-14
    # Along (1, -1) nothing happens; across, a deviation is undone: 1 - 2 alpha.
    np.testing.assert_allclose(np.sort(points.eigenvalue_real, axis=1), [[1 - 2 * alpha, 1]] * 2, atol=1e-12)
    assert points.search_ending.item() == "exhaustive"
    assert np.isnan(points.index_sum.item())
    # Every start ends on it and is given to the nearer end.
    assert (points.start_label >= 0).all()


def ring(n, excitation, inhibition=-2.4):
    angle = 2 * np.pi * np.arange(n) / n
    return (inhibition + excitation * np.cos(angle[:, None] - angle)) / n


@pytest.mark.parametrize(
    ("n", "excitation", "active"), [(6, 4.0, 3), (6, 2.4, 4), (8, 4.0, 4), (8, 8 / 3, 5)]
)
@pytest.mark.parametrize("dynamics", ["rate", "current"])
def test_the_threshold_linear_ring_is_one_closed_object(n, excitation, active, dynamics):
    network = nr.network_from_arrays(
        ring(n, excitation), bias=np.ones(n), activation="relu", alpha=0.1, dynamics=dynamics
    )
    starts = np.random.default_rng(0).uniform(0, 2, (100, n))
    points = find_fixed_points(network, starts)
    assert points.sizes["flat_piece"] == 1
    assert points.flat_piece_closed.item()
    on_ring = points.isel(fixed_point=points.flat_piece_of_point >= 0)
    assert on_ring.sizes["fixed_point"] == n
    assert float(points.residual.max()) < 1e-12
    # One zero mode all along, the next well within the circle, and one hump that goes around.
    assert (np.abs(on_ring.eigenvalue_real[:, 0] - 1) < 1e-12).all()
    assert (np.hypot(on_ring.eigenvalue_real, on_ring.eigenvalue_imag)[:, 1] < 0.99).all()
    assert set((on_ring.rate > 1e-9).sum("unit").values.tolist()) <= {active - 1, active}
    assert sorted(on_ring.rate.argmax("unit").values.tolist()) != [0] * n
    # Corners come in order: neighbours are nearer than others.
    corners = on_ring.state.values
    steps = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-8)
    assert points.flat_piece_length.item() == pytest.approx(steps.sum(), rel=1e-12)


def test_a_perturbed_ring_breaks_into_points():
    weights = ring(6, 4.0) + 1e-3 * np.random.default_rng(0).standard_normal((6, 6))
    network = nr.network_from_arrays(weights, bias=np.ones(6), activation="relu", alpha=0.1)
    points = find_fixed_points(network, np.random.default_rng(0).uniform(0, 2, (100, 6)))
    assert points.sizes["flat_piece"] == 0
    # Alternating nodes and saddles.
    around_it = points.isel(fixed_point=points.n_unstable <= 1)
    assert (around_it.n_unstable == 0).sum() == (around_it.n_unstable == 1).sum() >= 1


def test_a_plane_of_rest_is_a_piece_of_two_dimensions():
    # r = max(W r + h, 0) with W = I - 1 1'/3: all r >= 0 with sum 1 rest, a triangle.
    weights = np.eye(3) - np.ones((3, 3)) / 3
    network = nr.network_from_arrays(weights, bias=np.full(3, 1 / 3), activation="relu")
    points = find_fixed_points(network, np.random.default_rng(0).uniform(0, 1, (20, 3)))
    assert points.flat_piece_dimension.values.tolist() == [2]
    assert np.isnan(points.flat_piece_length.item())
    as_sets(points.state, np.eye(3))


def test_a_ray_of_rest_is_unbounded():
    network = nr.network_from_arrays(np.eye(1), activation="relu")
    points = find_fixed_points(network, np.array([[1.0], [3.0]]))
    assert points.flat_piece_length.values.tolist() == [np.inf]
    assert 0 in points.state.values


def test_beyond_enumeration_regions_are_walked():
    rng = np.random.default_rng(4)
    n = 40
    weights, drive = 1.1 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal(n)
    assert not rectified.can_enumerate(torch.as_tensor(weights))
    masks = torch.as_tensor(rng.random((300, n)) < 0.5)
    found = rectified.walk(torch.as_tensor(weights), torch.as_tensor(drive), masks).numpy()
    residual = np.maximum(found @ weights.T + drive, 0) - found
    assert np.abs(residual).max(initial=0) < 1e-12
    network = nr.network_from_arrays(weights, bias=drive, activation="relu")
    points = find_fixed_points(network, np.abs(rng.standard_normal((30, n))))
    zeros = points.state.values[points.kind != "slow"]
    for state in found:
        assert np.abs(zeros - state).max(axis=1).min() < 1e-9
    assert points.search_ending.item() != "exhaustive"


def test_a_line_in_a_network_too_large_to_enumerate_is_found_by_the_search():
    # The pair of the line attractor among forty units that hold their own.
    rng = np.random.default_rng(0)
    n = 42
    weights = 0.5 * rng.standard_normal((n, n)) / np.sqrt(n)
    weights[:2] = 0
    weights[:2, :2] = [[0, -1], [-1, 0]]
    network = nr.network_from_arrays(weights, bias=np.r_[1, 1, rng.standard_normal(40)], activation="relu")
    assert not rectified.can_enumerate(network.recurrent_weight)
    points = find_fixed_points(network, rng.uniform(0, 2, (60, n)), n_starts=64)
    assert points.sizes["flat_piece"] == 1
    ends = points.state.values[points.flat_piece_of_point.values == 0]
    as_sets(ends[[0, -1], :2], [[0, 1], [1, 0]])
    assert (points.kind.values != "slow").sum() == len(ends)


def test_enumeration_stops_in_time_and_says_so():
    weights = torch.as_tensor(np.random.default_rng(0).standard_normal((14, 14)))
    found = rectified.enumerate_points(weights, torch.ones(14).double(), deadline=time.monotonic() - 1)
    assert not found.complete


def test_enumeration_refuses_what_it_cannot_enumerate():
    for network in (nr.RateRNN(0, 40, 0, activation="relu"), nr.RateRNN(0, 4, 0)):
        with pytest.raises(InputError, match="'enumeration' needs a rectified linear network of at most 16"):
            find_fixed_points(network, np.zeros((1, network.hidden_size)), method="enumeration")
