import numpy as np
import pytest

from neurornn.numerics.arnoldi import SPARE, leading_modes, without_cut
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


def test_a_mode_of_almost_the_same_modulus_is_not_missed():
    """The real eigenvalue -1.0172 beside a pair of modulus 1.0142, which a coarse pass leaves out."""
    matrix = np.random.default_rng(5).standard_normal((320, 320)) / np.sqrt(320)
    values, _, _ = leading_modes(matrix, 4 + SPARE)
    exact = np.linalg.eigvals(matrix)
    moduli = np.sort(np.abs(exact))[::-1]
    np.testing.assert_allclose(np.abs(values[:4]), moduli[:4], rtol=1e-9)


def test_no_pair_is_cut_in_two():
    pair = np.array([2.0, 1 + 1j, 1 - 1j, 0.5])
    assert [without_cut(pair, k) for k in (1, 2, 3, 4)] == [1, 3, 3, 4]
    assert without_cut(pair[:2], 2) == 1
