import numpy as np
import pytest
from scipy.special import erf

from neurornn.numerics.gaussian import hermite_weights, normal_average, normal_nodes


def gain(x):
    """An error function whose averages are arcsines."""
    return erf(np.sqrt(np.pi) / 2 * x)


@pytest.mark.parametrize("variance", [1e-6, 0.1, 1.0, 100.0, 1e6])
def test_averages_of_an_error_function_are_arcsines_however_steep(variance):
    scaled = np.pi / 2 * variance
    expected = 2 / np.pi * np.arcsin(scaled / (1 + scaled))
    found = normal_average(lambda x: gain(x) ** 2, 0.0, np.sqrt(variance))
    assert found == pytest.approx(expected, rel=1e-12)


def test_averages_of_corners_wherever_they_lie():
    # Closed forms of the rectified normal variable.
    for mean, deviation in [(0.0, 3.0), (-2.0, 0.7), (5.0, 1.0)]:
        ratio = mean / deviation
        density, below = np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(ratio / np.sqrt(2))) / 2
        expected = mean * below + deviation * density
        found = normal_average(lambda x: np.maximum(x, 0), mean, deviation)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_constant_variable_is_one_point():
    points, weights = normal_nodes(3.0, 0.0)
    assert points.tolist() == [3.0]
    assert weights.tolist() == [1.0]


@pytest.mark.parametrize("variance", [0.1, 1.0, 25.0])
def test_pairs_by_their_correlation(variance):
    weights = hermite_weights(gain, 0.0, np.sqrt(variance))
    correlation = np.array([0.0, 0.2, 0.7, 0.95, 1.0])
    scaled = np.pi / 2 * variance
    expected = 2 / np.pi * np.arcsin(scaled * correlation / (1 + scaled))
    found = np.polynomial.polynomial.polyval(correlation, weights)
    # 300 terms leave 1e-5 of the steepest one for correlations next to 1.
    np.testing.assert_allclose(found, expected, atol=1e-5 if variance > 10 else 1e-12)


def test_pairs_of_rectified_variables_follow_the_arc_cosine_kernel():
    correlation = np.array([0.0, 0.2, 0.7, 1.0])
    angle = np.arccos(correlation)
    expected = (np.sin(angle) + (np.pi - angle) * correlation) / (2 * np.pi)
    weights = hermite_weights(lambda x: np.maximum(x, 0), 0.0, 1.0)
    np.testing.assert_allclose(np.polynomial.polynomial.polyval(correlation, weights), expected, atol=1e-7)
