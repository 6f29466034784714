import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.analysis.fixed_points import classification
from neurornn.analysis.fixed_points.classification import describe_points
from neurornn.analysis.maps import StateMap


def linear(matrix):
    """Return a map with one point at the origin and a matrix of one's own as its derivative."""
    matrix = torch.as_tensor(np.asarray(matrix, float))
    return lambda x: x @ matrix.T


def at_origin(matrix, n_modes=None):
    n = len(matrix)
    point = torch.zeros(1, n, dtype=torch.float64)
    return describe_points(StateMap(linear(matrix)), point, torch.tensor([True]), n_modes)


def test_the_selection_vector_says_where_a_kick_ends():
    # A flow of rates 0 and -1/2, as a map of small steps.
    flow = np.array([[0.0, 5.0], [0.0, -0.5]])
    step = np.eye(2) + 0.01 * flow
    found = at_origin(step)
    direction, selection = found["state_direction"][0, 0].real, found["selection_vector"][0, 0].real
    np.testing.assert_allclose(direction, [1, 0], atol=1e-12)
    np.testing.assert_allclose(selection, [1, 10], rtol=1e-10)
    # A kick along the second axis ends at (10, 0).
    state = np.array([0.0, 1.0])
    for _ in range(10_000):
        state = step @ state
    np.testing.assert_allclose(state, (selection @ [0, 1]) * direction, atol=1e-9)
    assert np.degrees(np.arccos(selection @ direction / np.linalg.norm(selection))) == pytest.approx(
        84.289, abs=1e-3
    )


def test_left_and_right_vectors_have_unit_overlap_and_are_those_of_the_map():
    network = nr.RateRNN(2, 20, 1, gain=1.6, tau=100.0, dt=20.0, seed=3, dtype=torch.float64)
    points = find_fixed_points(network, np.random.default_rng(0).normal(size=(50, 20)))
    jacobian = (
        network.jacobian(torch.as_tensor(points.state.values), torch.zeros(2, dtype=torch.float64))
        .detach()
        .numpy()
    )
    right = points.state_direction.values + 1j * points.state_direction_imag.values
    left = points.selection_vector.values + 1j * points.selection_vector_imag.values
    value = (points.eigenvalue_real + 1j * points.eigenvalue_imag).values[:, :3, None]
    np.testing.assert_allclose(np.einsum("pij,pmj->pmi", jacobian, right), value * right, atol=1e-10)
    np.testing.assert_allclose(np.einsum("pmi,pij->pmj", left, jacobian), value * left, atol=1e-8)
    np.testing.assert_allclose(np.einsum("pmi,pmi->pm", left, right), 1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(right, axis=2), 1)
    # The largest entry is positive, so that no sign is left to chance.
    largest = np.take_along_axis(right, np.abs(right).argmax(2)[..., None], 2)
    assert (largest.real > 0).all()
    np.testing.assert_allclose(largest.imag, 0, atol=1e-14)


@pytest.mark.parametrize("n_modes", [None, 12])
def test_leading_modes_of_a_large_network_are_those_of_the_whole_spectrum(n_modes, monkeypatch):
    n = 240
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((n, n)) / np.sqrt(n)
    network = nr.network_from_arrays(0.8 * weights + 2 / n)
    starts = rng.normal(size=(4, n)) + np.array([[0], [0], [1], [-1]])
    few = find_fixed_points(network, starts, seeding="none", n_modes=n_modes)
    assert few.sizes["mode"] < n
    monkeypatch.setattr(classification, "LARGEST_FULL_SPECTRUM", 1000)
    whole = find_fixed_points(network, starts, seeding="none")
    assert whole.sizes["mode"] == n
    np.testing.assert_array_equal(few.state, whole.state)
    assert few.kind.values.tolist() == whole.kind.values.tolist()
    np.testing.assert_array_equal(few.n_unstable, whole.n_unstable)
    for k in range(few.sizes["fixed_point"]):
        own = np.isfinite(few.eigenvalue_real[k]).values
        assert own.sum() >= max((n_modes or 4) - 1, int(few.n_unstable[k]))
        kept = dict(fixed_point=k, mode=slice(int(own.sum())))
        np.testing.assert_allclose(few.eigenvalue_real[k][own], whole.eigenvalue_real.isel(kept), atol=1e-9)
    np.testing.assert_allclose(few.selection_vector, whole.selection_vector, atol=1e-6)
    np.testing.assert_allclose(few.reactivity, whole.reactivity, rtol=1e-8)


@pytest.mark.parametrize(
    ("matrix", "kind", "n_unstable"),
    [
        (np.diag([0.5, -0.9]), "stable", 0),
        (np.diag([0.5, -1.1]), "saddle", 1),
        (np.diag([2.0, -1.1]), "unstable", 2),
        (np.diag([0.5, 1.0]), "marginal", 0),
        ([[0.0, -1.0], [1.0, 0.0]], "marginal", 0),
        # Defective: both modes at 1/2 share a vector, and no error of rounding puts them on the circle.
        ([[0.5, 1.0], [0.0, 0.5]], "stable", 0),
        ([[1.0, 1.0], [0.0, 1.0]], "marginal", 0),
        # Near to the circle beside well-conditioned modes, but not within rounding.
        (np.diag([0.5, 1 - 1e-9]), "stable", 0),
        (np.diag([0.5, 1 + 1e-9]), "saddle", 1),
        # The same where a condition number of 1e9 makes rounding as large as the distance.
        ([[0.5, 1e9], [0.0, 1 - 1e-9]], "marginal", 0),
        (np.zeros((2, 2)), "stable", 0),
    ],
)
def test_kinds(matrix, kind, n_unstable):
    found = at_origin(np.asarray(matrix, float))
    assert found["kind"].tolist() == [kind]
    if kind != "marginal":
        assert found["n_unstable"].tolist() == [n_unstable]


def test_reactivity_is_the_fastest_growth_at_first():
    # The flow [[-1, 10], [0, -2]] decays, but grows at 3.52494 at first.
    flow = np.array([[-1.0, 10.0], [0.0, -2.0]])
    network = nr.network_from_arrays(flow + np.eye(2), activation="identity", alpha=0.1)
    points = find_fixed_points(network, np.ones((1, 2)))
    assert points.kind.item() == "stable"
    assert points.reactivity.item() == pytest.approx((-3 + np.sqrt(101)) / 2, rel=1e-12)
    assert points.reactivity.item() == pytest.approx(3.52494, abs=5e-6)


def test_flow_rates_stand_beside_eigenvalues_where_there_is_a_tau():
    network = nr.RateRNN(0, 3, 0, tau=100.0, dt=10.0, recurrent_initialisation=np.diag([0.5, 0.0, -0.5]))
    points = find_fixed_points(network, np.zeros((1, 3)))
    assert points.flow_rate_real.attrs["units"] == "1/ms"
    # (w - 1) / tau.
    np.testing.assert_allclose(
        np.sort(points.flow_rate_real[0]), np.array([-1.5, -1, -0.5]) / 100, rtol=1e-12
    )
    assert "flow_rate_real" not in find_fixed_points(nr.network_from_arrays(np.eye(2) / 2), np.zeros((1, 2)))


def test_the_position_error_bounds_the_distance_to_the_true_zero():
    rng = np.random.default_rng(0)
    weights = 1.4 * rng.standard_normal((8, 8)) / np.sqrt(8)
    network = nr.network_from_arrays(weights)
    points = find_fixed_points(network, rng.normal(size=(50, 8)))
    zeros = points.isel(fixed_point=(points.kind != "slow").values)
    near = torch.as_tensor(zeros.state.values + 1e-7 * rng.standard_normal(zeros.state.shape))
    described = describe_points(StateMap(network), near, torch.ones(len(near), dtype=torch.bool))
    distance = np.linalg.norm(near.numpy() - zeros.state.values, axis=1)
    # To first order; 1e-7 is small enough.
    assert (described["position_error"] >= 0.999 * distance).all()


def test_a_jacobian_that_is_not_finite_leaves_the_rest_alone():
    def broken_at_two(x):
        # Infinitely steep at its second fixed point.
        return torch.where(x > 1, torch.sqrt(torch.abs(x - 2)) + 2, x / 2)

    points = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    found = describe_points(StateMap(broken_at_two), points, torch.tensor([True, True]))
    assert found["kind"].tolist() == ["stable", "marginal"]
    assert np.isfinite(found["position_error"][0])
