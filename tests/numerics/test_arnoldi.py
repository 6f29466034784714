import numpy as np
import pytest

from neurornn.numerics.arnoldi import leading_modes
from neurornn.numerics.eigen import eigensystem


@pytest.mark.parametrize("seed", range(6))
def test_no_mode_of_a_random_matrix_is_left_out(seed):
    # At the edge of the disc many moduli are within a percent of each other.
    matrix = np.random.default_rng(seed).standard_normal((250, 250)) / np.sqrt(250)
    expected, columns = eigensystem(matrix)
    values, right, left = leading_modes(matrix, 10)
    np.testing.assert_allclose(values[:6], expected[:6], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.abs((columns.T[:6].conj() * right[:6]).sum(axis=1)), 1, atol=1e-8)
    np.testing.assert_allclose(left @ right.T, np.eye(len(values)), atol=1e-7)


def test_repeated_and_defective_modes_are_left_to_others():
    assert leading_modes(np.diag(np.r_[2.0, 2.0, np.linspace(0, 1, 98)]), 4) is None
    block = np.diag(np.linspace(0, 1, 100))
    block[0, 0] = block[1, 1] = 2.0
    block[0, 1] = 1.0
    assert leading_modes(block, 4) is None
