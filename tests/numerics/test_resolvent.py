import numpy as np
import pytest

from neurornn.numerics.resolvent import COARSE, Resolvent


def brute_force(matrix, points):
    n = len(matrix)
    return np.array([np.linalg.svd(z * np.eye(n) - matrix, compute_uv=False)[-1] for z in points])


@pytest.mark.parametrize("n", [1, 5, 64, 65, 120])
def test_smallest_singular_values_are_those_of_lapack(n):
    rng = np.random.default_rng(n)
    matrix = rng.standard_normal((n, n)) / np.sqrt(n)
    points = rng.uniform(-2, 2, 12) + 1j * rng.uniform(-2, 2, 12)
    resolvent, expected = Resolvent(matrix), brute_force(matrix, points)
    np.testing.assert_allclose(resolvent.smallest_singular_value(points), expected, rtol=1e-9)
    # A first look is from above: a Ritz value is never beyond what it stands for.
    rough = resolvent.smallest_singular_value(points, accuracy=COARSE)
    assert (rough >= expected * (1 - 1e-9)).all()
    np.testing.assert_allclose(rough, expected, rtol=0.01)


def test_matrices_far_from_normal():
    # Grcar's matrix, whose pseudospectra are famous.
    n = 100
    matrix = sum(np.diag(np.ones(n - k), k) for k in range(4)) - np.diag(np.ones(n - 1), -1)
    points = np.array([0, 0.5 + 1j, 1 + 2j, 1.5 + 2.5j, -1.0, 3.0])
    found = Resolvent(matrix).smallest_singular_value(points)
    # Below rounding, 1e-14 or so, only the order of magnitude is told by either.
    np.testing.assert_allclose(found, brute_force(matrix, points), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("n", [10, 80])
def test_at_an_eigenvalue_it_is_zero_and_points_keep_their_shape(n):
    resolvent = Resolvent(np.diag(np.arange(n, dtype=float)))
    found = resolvent.smallest_singular_value(np.array([[3.0, 3.25], [1j, -2.0]]))
    np.testing.assert_allclose(found, [[0, 0.25], [1, 2]], atol=1e-12)
