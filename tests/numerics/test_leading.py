import numpy as np
import pytest

from neurornn.numerics.eigen import eigensystem
from neurornn.numerics.leading import leading_eigensystem


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_modes", [3, 8])
def test_leading_modes_are_those_of_the_whole_spectrum(seed, n_modes):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((120, 120)) / np.sqrt(120)
    values, right, left = leading_eigensystem(matrix, n_modes)
    exact, _ = eigensystem(matrix)
    assert len(values) in (n_modes - 1, n_modes)
    np.testing.assert_allclose(values, exact[: len(values)], atol=1e-11)
    np.testing.assert_allclose(matrix @ right.T, right.T * values, atol=1e-10)
    np.testing.assert_allclose(left @ matrix, values[:, None] * left, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 1)
    # A pair is never cut.
    assert abs(values.imag.sum()) < 1e-12


def test_the_same_matrix_gives_the_same_bits():
    matrix = np.random.default_rng(0).standard_normal((80, 80))
    first, second = (leading_eigensystem(matrix, 4) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_matrix_without_a_basis_of_its_own_is_given_back():
    # All modes are zero, and there is one vector for all of them.
    assert leading_eigensystem(np.eye(50, k=1), 4) is None
