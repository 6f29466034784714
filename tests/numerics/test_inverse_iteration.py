import numpy as np
import pytest

from neurornn.numerics.inverse_iteration import refine_mode


@pytest.mark.parametrize("seed", range(4))
def test_a_guess_becomes_the_mode_that_it_was_near_to(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((60, 60)) / np.sqrt(60)
    exact, columns = np.linalg.eig(matrix)
    for k in (0, 17, 40):
        guess = columns[:, k] + 1e-3 * rng.standard_normal(60)
        value, right, left = refine_mode(matrix, exact[k] + 1e-4, guess)
        assert abs(value - exact[k]) < 1e-10
        np.testing.assert_allclose(matrix @ right, value * right, atol=1e-10)
        np.testing.assert_allclose(left @ matrix, value * left, atol=1e-10)
        assert np.linalg.norm(right) == pytest.approx(1)
        assert np.linalg.norm(left) == pytest.approx(1)


def test_a_matrix_that_is_no_number_is_given_back():
    assert refine_mode(np.full((4, 4), np.inf), 1.0, np.ones(4)) is None
