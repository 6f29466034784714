"""Are pseudospectra what singular values say, point by point?"""

import numpy as np
import pytest

from neurornn.analysis import pseudospectrum
from neurornn.vocabulary import InputError


def brute_force(matrix, real, imaginary):
    z = (real + 1j * imaginary[:, None])[..., None, None]
    return np.linalg.svd(z * np.eye(len(matrix)) - matrix, compute_uv=False)[..., -1]


@pytest.mark.parametrize("n_points", [6, 7])
@pytest.mark.parametrize("extent", [None, (-1, 2, -0.5, 1)])
def test_every_point_is_the_smallest_singular_value(n_points, extent):
    matrix = np.random.default_rng(0).standard_normal((9, 9))
    found = pseudospectrum(matrix, n_points=n_points, extent=extent)
    expected = brute_force(matrix, found.real_part.values, found.imaginary_part.values)
    np.testing.assert_allclose(found.smallest_singular_value, expected, atol=1e-13)


def test_a_step_into_the_unstable_half():
    # Of this stable cascade a change of 0.2 suffices: the distance to instability, sigma_min(i y - A) at y =
    # 0.
    matrix = np.array([[-1.0, 10.0], [0.0, -2.0]])
    found = pseudospectrum(matrix, extent=(-3, 3, -3, 3), n_points=7)
    at_zero = float(found.smallest_singular_value.sel(real_part=0, imaginary_part=0))
    assert at_zero == pytest.approx(np.linalg.svd(matrix, compute_uv=False)[-1])
    assert at_zero < 0.2
    np.testing.assert_array_equal(found.eigenvalue_real, [-2, -1])


def test_the_default_extent_holds_all_eigenvalues():
    for matrix in (np.eye(3), np.zeros((2, 2)), np.random.default_rng(1).standard_normal((20, 20))):
        found = pseudospectrum(matrix, n_points=4)
        assert found.real_part[0] < found.eigenvalue_real.min()
        assert found.real_part[-1] > found.eigenvalue_real.max()
        assert found.imaginary_part[-1] > found.eigenvalue_imag.max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": np.zeros((2, 3))}, "must be square"),
        ({"matrix": np.eye(2), "extent": (1, 0, 0, 1)}, "`extent` must be four numbers, lowest and highest"),
        ({"matrix": np.eye(2), "extent": (0, 1)}, "`extent` must be four numbers"),
        ({"matrix": np.eye(2), "n_points": 1}, "`n_points` must be a whole number of at least 2, got 1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        pseudospectrum(**arguments)
