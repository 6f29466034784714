"""Do low-rank networks rest where their few equations say, at any size and in the limit of many units?"""

import numpy as np
import pytest
from scipy.optimize import brentq

from neurornn.analysis import eigenspectrum, low_rank_fixed_points, low_rank_mean_field
from neurornn.numerics.gaussian import normal_average
from neurornn.vocabulary import InputError


def vectors(overlap, n_units, seed):
    rng = np.random.default_rng(seed)
    m = rng.standard_normal(n_units)
    return m, overlap * m + rng.standard_normal(n_units)


@pytest.mark.parametrize("overlap", [1.5, 2.0, 3.0])
def test_rank_one_is_exact_at_any_size(overlap):
    m, n = vectors(overlap, 200, 0)
    points = low_rank_fixed_points(m, n)
    kappa = brentq(lambda own: np.mean(n * np.tanh(m * own)) - own, 1e-2, 10, xtol=1e-14)
    np.testing.assert_allclose(points.latent_state.values.ravel(), [-kappa, 0, kappa], atol=1e-12)
    np.testing.assert_allclose(points.state, np.outer([-kappa, 0, kappa], m), atol=1e-11)
    assert points.kind.values.tolist() == ["stable", "saddle", "stable"]
    # The whole Jacobian, brute force: one eigenvalue is told, all others are -1.
    weights = np.outer(m, n) / m.size
    for state, told in zip(points.state.values, points.eigenvalue_real.values[:, 0], strict=True):
        rates = np.sort(np.linalg.eigvals(weights * (1 - np.tanh(state) ** 2)).real)[::-1] - 1
        assert rates[0] == pytest.approx(told, abs=1e-9)
        np.testing.assert_allclose(rates[1:], -1, atol=1e-7)
    residual = -points.state.values + np.tanh(points.state.values) @ weights.T
    assert np.abs(residual).max() < 1e-12


@pytest.mark.parametrize(("overlap", "kappa"), [(1.5, 0.8434), (2.0, 1.3371), (3.0, 2.2223)])
def test_rank_one_of_many_units(overlap, kappa):
    theory = low_rank_mean_field(overlap)
    np.testing.assert_allclose(theory.latent_state.values.ravel(), [-kappa, 0, kappa], atol=5.1e-5)
    # One network: the sample's own overlap is taken, and what is left is of order 1 / sqrt(N).
    m, n = vectors(overlap, 2000, 1)
    sample = low_rank_mean_field(n @ m / m.size)
    found = low_rank_fixed_points(m, n).latent_state.values.max()
    assert found == pytest.approx(float(sample.latent_state.max()), rel=0.07)
    # The rate along m: overlap <z^2 f'(k z)> - 1.
    size = float(theory.latent_state.max())
    rate = overlap * normal_average(lambda z: z**2 * (1 - np.tanh(size * z) ** 2), 0.0, 1.0) - 1
    np.testing.assert_allclose(theory.eigenvalue_real.values.ravel(), [rate, overlap - 1, rate], atol=1e-9)


def test_below_an_overlap_of_one_there_is_silence():
    assert low_rank_mean_field(0.8).sizes["fixed_point"] == 1
    m, n = vectors(0.8, 2000, 0)
    points = low_rank_fixed_points(m, n)
    assert points.kind.values.tolist() == ["stable"]
    np.testing.assert_array_equal(points.state, np.zeros((1, 2000)))


@pytest.mark.parametrize(("overlap", "g"), [(1.5, 0.5), (2.0, 0.8)])
def test_random_weights_leave_the_outlier_where_it_was(overlap, g):
    m, n = vectors(overlap, 600, 2)
    random = g * np.random.default_rng(3).standard_normal((600, 600)) / np.sqrt(600)
    spectrum = eigenspectrum(np.outer(m, n) / 600 + random, 3)
    predicted = float(low_rank_fixed_points(m, n).outlier_real[0])
    assert predicted == pytest.approx(n @ m / 600, rel=1e-12)
    modulus = np.hypot(spectrum.eigenvalue_real, spectrum.eigenvalue_imag).values
    assert modulus[0] == pytest.approx(predicted, rel=0.05)
    # At 600 units a little wider than at the 1000 of the published test.
    assert modulus[1] == pytest.approx(g, rel=0.09)
    assert spectrum.is_outlier.values.tolist()[:2] == [True, False]


def test_random_weights_beside_take_from_the_structured_part():
    overlap, g = 2.0, 0.8
    theory = low_rank_mean_field(overlap, gain=g)
    variance, kappa = float(theory.variance.max()), float(theory.latent_state.max())
    deviation = np.sqrt(variance)
    assert normal_average(lambda x: 1 - np.tanh(x) ** 2, 0.0, deviation) == pytest.approx(1 / overlap)
    square = normal_average(lambda x: np.tanh(x) ** 2, 0.0, deviation)
    assert variance == pytest.approx(kappa**2 + g**2 * square)
    # A network settles there.
    rng = np.random.default_rng(4)
    m, n = vectors(overlap, 1500, 5)
    weights = np.outer(m, n) / m.size + g * rng.standard_normal((m.size, m.size)) / np.sqrt(m.size)
    state = m.copy()
    for _ in range(300):
        state += 0.2 * (-state + weights @ np.tanh(state))
    at_sample = low_rank_mean_field(n @ m / m.size, gain=g)
    assert abs(state @ m / (m @ m)) == pytest.approx(float(at_sample.latent_state.max()), rel=0.07)
    # With strong random weights nothing of it is left.
    assert low_rank_mean_field(1.2, gain=2.0).sizes["fixed_point"] == 1


def test_rank_two_rests_along_the_eigenvectors_of_its_overlaps():
    overlaps = np.array([[2.0, 0.3], [0.1, 1.5]])
    theory = low_rank_mean_field(overlaps)
    assert theory.sizes["fixed_point"] == 5
    latent = theory.latent_state.values
    for own, variance in zip(latent, theory.variance.values, strict=True):
        slope = normal_average(lambda x: 1 - np.tanh(x) ** 2, 0.0, np.sqrt(variance))
        np.testing.assert_allclose(overlaps @ own * slope, own, atol=1e-9)
    # The stronger direction is stable, the weaker one a saddle between.
    stable = (theory.eigenvalue_real < 0).all("mode").values
    assert stable.sum() == 2
    # Jacobians by differences of the equation itself.

    def flow(own):
        slope = normal_average(lambda x: 1 - np.tanh(x) ** 2, 0.0, float(np.linalg.norm(own)))
        return overlaps @ own * slope - own

    for own, told in zip(latent, theory.eigenvalue_real.values, strict=True):
        columns = [(flow(own + e) - flow(own - e)) / 2e-5 for e in 1e-5 * np.eye(2)]
        rates = np.sort(np.linalg.eigvals(np.array(columns).T).real)[::-1]
        np.testing.assert_allclose(rates, told, atol=1e-6)


def test_rank_two_of_a_finite_network_solves_the_whole_equation():
    rng = np.random.default_rng(6)
    m = rng.standard_normal((300, 2))
    n = m @ np.array([[2.0, 0.3], [0.1, 1.8]]).T + 0.3 * rng.standard_normal((300, 2))
    inputs = 0.1 * rng.standard_normal(300)
    points = low_rank_fixed_points(m, n, inputs=inputs)
    weights = m @ n.T / 300
    residual = -points.state.values + np.tanh(points.state.values) @ weights.T + inputs
    assert np.abs(residual).max() < 1e-11
    # A bounded flow: the signs of det(1 - slope) over all of its zeros sum to 1.
    eigenvalues = points.eigenvalue_real.values + 1j * points.eigenvalue_imag.values
    assert np.sign(np.prod(-eigenvalues, axis=1).real).sum() == 1
    assert points.sizes["fixed_point"] == 5
    jacobian = weights * (1 - np.tanh(points.state.values[0]) ** 2) - np.eye(300)
    leading = np.sort(np.linalg.eigvals(jacobian).real)[::-1][:2]
    np.testing.assert_allclose(points.eigenvalue_real[0], leading, atol=1e-9)


def test_rectified_units_are_solved_at_every_scale():
    # k = 2 relu(k - 1) has 0 and 2; k = relu(k / 2 + 1) has 2.
    np.testing.assert_allclose(
        low_rank_fixed_points([1.0], [2.0], "relu", inputs=[-1.0]).latent_state, [[0.0], [2.0]], atol=1e-12
    )
    np.testing.assert_allclose(
        low_rank_fixed_points([0.5], [1.0], "relu", inputs=[1.0]).latent_state, [[2.0]], atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: low_rank_fixed_points([1.0, 2.0], [1.0]),
            r"one shape \(unit, rank\), got \(2, 1\) and \(1, 1\)",
        ),
        (lambda: low_rank_fixed_points([np.inf], [1.0]), "`m` must be finite"),
        (
            lambda: low_rank_fixed_points([1.0], [1.0], inputs=[1.0, 2.0]),
            r"`inputs` must have shape \(unit=1,\)",
        ),
        (lambda: low_rank_fixed_points([], []), r"`m` must have shape \(unit,\) or \(unit, rank\)"),
        (lambda: low_rank_mean_field(2.0, "relu"), "needs an odd activation.*got 'relu': use 'tanh'"),
        (lambda: low_rank_mean_field(np.ones((2, 3))), r"`overlap` must be a number or square"),
        (lambda: low_rank_mean_field(2.0, gain=-1), "`gain` must be a number of at least 0"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
