import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis.fixed_points import find_manifold
from neurornn.vocabulary import InputError


def around(n, count=100, seed=0, spread=1.0):
    return spread * np.random.default_rng(seed).normal(size=(count, n))


def ring_map(pull=0.2, turns=0, strength=0.0):
    """Return a map with a ring of radius 1, along which it moves by strength * sin(turns * angle)."""

    def step(x):
        radius = x.norm(dim=-1, keepdim=True)
        angle = torch.atan2(x[..., 1:], x[..., :1])
        radius = radius + pull * radius * (1 - radius**2)
        angle = angle + strength * torch.sin(turns * angle)
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)

    return step


def test_a_ring_is_closed_and_as_long_as_it_is():
    found = find_manifold(ring_map(), around(2), n_nodes=20).isel(condition=0)
    assert found.manifold_kind.item() == "ring"
    np.testing.assert_allclose(found.state.values[:, 0] ** 2 + found.state.values[:, 1] ** 2, 1, atol=1e-10)
    # Chords of some 60 steps: 1 - (pi / 60)^2 / 6.
    assert found.length.item() == pytest.approx(2 * np.pi, rel=2e-3)
    np.testing.assert_allclose(np.diff(found.arclength), found.length.item() / 20)
    # No way along it, and 1 - 2 pull across.
    np.testing.assert_allclose(found.drift, 0, atol=1e-10)
    np.testing.assert_allclose(found.normal_time_constant, -1 / np.log(0.6), rtol=1e-8)
    assert (found.normal_gap > 1e6).all()
    assert (found.persistence_time > 1e8).all()
    # Tangents go around with the nodes.
    onward = np.diff(found.state.values, axis=0)
    assert (np.einsum("ij,ij->i", onward, found.tangent.values[:-1]) > 0).all()


def test_a_ring_that_is_nearly_one_drifts_as_it_was_told():
    strength, turns = 2e-3, 3
    found = find_manifold(ring_map(0.2, turns, strength), around(2), n_nodes=31).isel(condition=0)
    assert found.manifold_kind.item() == "ring"
    angle = np.arctan2(found.state.values[:, 1], found.state.values[:, 0])
    sense = np.sign(found.tangent.values[:, 1] * np.cos(angle) - found.tangent.values[:, 0] * np.sin(angle))
    np.testing.assert_allclose(found.drift, sense * strength * np.sin(turns * angle), atol=2e-6)
    np.testing.assert_allclose(
        found.persistence_time, 0.1 * found.length.item() / np.abs(found.drift), rtol=1e-3, atol=1.0
    )
    # Three stable and three unstable places, where the drift changes its sign.
    assert (np.diff(np.sign(np.r_[found.drift, found.drift[:1]])) != 0).sum() == 6


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_the_rectified_line_has_the_length_of_its_segment(alpha):
    weights = np.array([[0.0, -1.0], [-1.0, 0.0]])
    network = nr.network_from_arrays(weights, bias=np.ones(2), activation="relu", alpha=alpha)
    found = find_manifold(network, np.random.default_rng(0).uniform(0, 2, (100, 2))).isel(condition=0)
    assert found.manifold_kind.item() == "line"
    assert found.length.item() == pytest.approx(np.sqrt(2), rel=1e-13)
    np.testing.assert_allclose(np.sort(found.state.values[[0, -1]], axis=0), [[0, 0], [1, 1]], atol=1e-13)
    np.testing.assert_allclose(found.state.sum("state_variable"), 1, atol=1e-13)
    np.testing.assert_array_equal(found.drift, 0)


@pytest.mark.parametrize(("n", "excitation"), [(6, 4.0), (8, 4.0)])
def test_the_threshold_linear_ring_is_one_closed_object(n, excitation):
    angle = 2 * np.pi * np.arange(n) / n
    weights = (-2.4 + excitation * np.cos(angle[:, None] - angle)) / n
    network = nr.network_from_arrays(
        weights, bias=np.ones(n), activation="relu", dynamics="current", alpha=0.1
    )
    found = find_manifold(network, np.random.default_rng(0).uniform(0, 2, (100, n))).isel(condition=0)
    assert found.manifold_kind.item() == "ring"
    assert float(found.normal_residual.max()) < 1e-12
    # As fast across as the next mode of h' = -h + W [h] is.
    assert (found.normal_gap > 1e6).all()


def test_a_line_between_two_attractors_drifts_towards_them():
    # x' = x + .01 (x - x^3) beside two modes that decay at once.
    def step(x):
        first = x[..., :1] + 0.01 * (x[..., :1] - x[..., :1] ** 3)
        return torch.cat([first, 0.5 * x[..., 1:]], dim=-1)

    found = find_manifold(step, around(3, spread=0.6)).isel(condition=0)
    assert found.manifold_kind.item() == "line"
    place = found.state.values[:, 0]
    assert place.min() < -0.9
    assert place.max() > 0.9
    np.testing.assert_allclose(found.state[:, 1:], 0, atol=1e-12)
    sense = found.tangent.values[:, 0]
    np.testing.assert_allclose(found.drift * sense, 0.01 * (place - place**3), atol=1e-12)
    np.testing.assert_allclose(found.time_constant, -1 / np.log(1 + 0.01 * (1 - 3 * place**2)), rtol=1e-8)
    np.testing.assert_allclose(found.normal_time_constant, -1 / np.log(0.5), rtol=1e-10)
    assert float(found.normal_residual.max()) < 1e-12


def test_a_curved_manifold_of_a_network_meets_its_equation_at_every_node():
    # Two nearly marginal groups of units: activity moves slowly from group to group.
    rng = np.random.default_rng(0)
    m = rng.standard_normal(40)
    weights = 1.02 * np.outer(m, m) / (m @ m) + 0.2 * rng.standard_normal((40, 40)) / np.sqrt(40)
    network = nr.network_from_arrays(weights, alpha=0.2)
    found = find_manifold(network, around(40, spread=0.5)).isel(condition=0)
    assert found.manifold_kind.item() == "line"
    states = torch.as_tensor(found.state.values)
    with torch.no_grad():
        way = (network.step(states, torch.zeros(0, dtype=torch.float64)) - states).numpy() / 0.2
    np.testing.assert_allclose(way, found.drift.values[:, None] * found.tangent.values, atol=1e-10)
    assert (found.normal_gap >= 1.9).all()
    assert found.drift.attrs["units"] == "1/tau"


def test_each_input_has_its_own_and_where_there_is_none_it_says_so(tmp_path):
    # The input switches one mode between nearly marginal and none at all.
    network = nr.network_from_arrays(np.diag([1.05, 0.3]), input=np.array([[1.0], [0.0]]))
    found = find_manifold(network, around(2), inputs={"off": [0.0], "on": [5.0]}, n_nodes=11)
    assert found.condition_name.values.tolist() == ["off", "on"]
    assert found.manifold_kind.values.tolist() == ["line", "none"]
    assert np.isnan(found.length[1])
    assert np.isnan(found.state[1]).all()
    nr.save(found, tmp_path / "manifold.nc")
    assert nr.load(tmp_path / "manifold.nc").equals(found)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: 0.5 * x,
        lambda x: x + 1.0,
        lambda x: 3 * x,
        lambda x: torch.full_like(x, torch.nan),
        lambda x: x @ torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64),
    ],
    ids=["decays", "drifts", "explodes", "nan", "turns"],
)
def test_maps_without_a_slow_line_have_none(step):
    found = find_manifold(step, around(2), n_nodes=5)
    assert found.manifold_kind.values.tolist() == ["none"]
    assert found.sizes["node"] == 5


def test_the_time_limit_is_told():
    found = find_manifold(ring_map(), around(2), max_seconds=1e-9)
    assert found.attrs["complete"] == 0


def test_mistakes_are_told():
    with pytest.raises(InputError, match="`n_nodes` must be a whole number of at least 3"):
        find_manifold(ring_map(), around(2), n_nodes=2)
