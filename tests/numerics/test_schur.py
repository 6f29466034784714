import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neurornn.numerics.schur import ordered_schur


@given(st.integers(1, 15), st.integers(0, 2**32 - 1), st.sampled_from([np.abs, np.real]))
def test_the_triangle_is_a_rotation_of_the_matrix_with_its_eigenvalues_in_order(n, seed, size):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    triangle, basis = ordered_schur(matrix, size)
    np.testing.assert_allclose(basis @ triangle @ basis.conj().T, matrix, atol=1e-12 * n)
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(n), atol=1e-12)
    assert (np.diff(size(triangle.diagonal())) <= 1e-10).all()


def test_order_makes_the_links_unique():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((8, 8))
    rotated = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    first, _ = ordered_schur(matrix)
    second, _ = ordered_schur(rotated @ matrix @ rotated.T)
    np.testing.assert_allclose(np.abs(first), np.abs(second), atol=1e-10)
