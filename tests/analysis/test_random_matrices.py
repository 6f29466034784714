"""Are the laws of large random matrices right, and do matrices drawn at random keep to them?"""

import numpy as np
import pytest

from neurornn.analysis import eigenspectrum, radial_law
from neurornn.analysis.random_matrices import CONFIDENCE, bulk_of, column_signs, edge
from neurornn.vocabulary import InputError

SHARE, DEVIATIONS = 0.8, (0.5, 2.0)
"""Of excitatory columns, and the two kinds' standard deviations: Rajan and Abbott's radius is exactly 1."""


def two_kinds(n, rng, mean=0.0, balanced=False):
    """Return weights of the two kinds, their means excitatory mean / sqrt(n) and as much inhibition."""
    is_excitatory = np.arange(n) < SHARE * n
    random = rng.standard_normal((n, n)) * np.where(is_excitatory, *DEVIATIONS) / np.sqrt(n)
    if balanced:
        random -= random.mean(axis=1, keepdims=True)
    means = np.where(is_excitatory, mean, -mean * SHARE / (1 - SHARE)) / np.sqrt(n)
    return random + means, is_excitatory


def test_columns_alike_fill_the_disc_evenly():
    radius = np.linspace(0, 2, 41)
    np.testing.assert_allclose(radial_law(radius, 1.0), np.minimum(radius**2, 1), atol=1e-12)
    np.testing.assert_allclose(
        radial_law(radius, [1.0, 1.0], [0.3, 0.7]), np.minimum(radius**2, 1), atol=1e-12
    )


def test_the_radial_law_of_two_kinds_and_eigenvalues_that_keep_to_it():
    radius = np.array([0.25, 0.5, 0.75, 0.9])
    theory = radial_law(radius, np.square(DEVIATIONS), [SHARE, 1 - SHARE])
    np.testing.assert_allclose(theory, [0.193, 0.597, 0.841, 0.939], atol=5e-4)
    rng = np.random.default_rng(0)
    moduli = np.concatenate([np.abs(np.linalg.eigvals(two_kinds(400, rng)[0])) for _ in range(3)])
    # 1200 eigenvalues, which repel each other: far less spread than that of independent ones, 0.014.
    np.testing.assert_allclose([(moduli <= own).mean() for own in radius], theory, atol=0.02)


def test_balance_keeps_eigenvalues_in_the_disc_that_opposed_means_alone_do_not():
    rng = np.random.default_rng(1)
    reach = {True: [], False: []}
    for balanced in reach:
        for _ in range(4):
            weights, is_excitatory = two_kinds(300, rng, mean=1.0, balanced=balanced)
            spectrum = eigenspectrum(weights, signs=is_excitatory)
            assert float(spectrum.bulk_radius) == pytest.approx(1, rel=0.03)
            reach[balanced].append(spectrum.attrs["spectral_radius"] / float(spectrum.bulk_radius))
    assert 0.97 <= min(reach[True])
    assert max(reach[True]) <= 1.12
    assert np.mean(reach[False]) >= 1.2


def test_radii_from_entries():
    rng = np.random.default_rng(2)
    n = 500
    weights = np.abs(rng.standard_normal((n, n))) * np.where(np.arange(n) < 400, 1, -4) / np.sqrt(n)
    variance = 1 - 2 / np.pi
    circular, by_kind, outlier = bulk_of(weights)
    assert by_kind == pytest.approx(np.sqrt(variance * (0.8 + 0.2 * 16)), rel=0.01)
    # All entries about one mean, which is zero here: 0.8 - 0.2 * 4.
    assert circular == pytest.approx(np.sqrt(0.8 + 0.2 * 16), rel=0.01)
    assert by_kind < outlier < 1.2 * by_kind
    # Without Dale's law both are one.
    gaussian = rng.standard_normal((n, n))
    assert bulk_of(gaussian).circular == pytest.approx(bulk_of(gaussian).rajan_abbott, rel=1e-12)
    np.testing.assert_allclose(bulk_of(1e200 * gaussian), 1e200 * np.array(bulk_of(gaussian)))


def test_signs_of_columns():
    np.testing.assert_array_equal(column_signs(np.array([[1.0, -2.0, 0.0], [0.0, -1.0, 0.0]])), [1, -1, 0])
    np.testing.assert_array_equal(column_signs(np.array([[1.0, -2.0], [-1.0, -1.0]])), [0, 0])


@pytest.mark.parametrize(("n", "n_matrices"), [(2, 3000), (20, 1500)])
def test_one_random_matrix_in_a_hundred_has_an_eigenvalue_beyond_the_edge(n, n_matrices):
    matrices = np.random.default_rng(3).standard_normal((n_matrices, n, n)) / np.sqrt(n)
    beyond = (np.abs(np.linalg.eigvals(matrices)).max(axis=1) > edge(n)).sum()
    # Three standard deviations of a binomial count, and the assumption that conjugates are all that is
    # shared.
    expected = n_matrices * (1 - CONFIDENCE)
    assert abs(beyond - expected) <= 3 * np.sqrt(expected) + 0.2 * expected


def test_columns_of_two_kinds_reach_farther_and_are_no_outliers_for_that():
    rng = np.random.default_rng(4)
    n_matrices, beyond = 1000, 0
    for _ in range(n_matrices):
        weights, is_excitatory = two_kinds(40, rng)
        beyond += np.abs(np.linalg.eigvals(weights)).max() > bulk_of(weights, is_excitatory).outlier
    expected = n_matrices * (1 - CONFIDENCE)
    assert abs(beyond - expected) <= 3 * np.sqrt(expected) + 0.2 * expected


def test_the_edge_tends_to_one():
    edges = [edge(n) for n in (1, 10, 100, 1000, 10_000)]
    assert (np.diff(edges) < 0).all()
    assert 1 < edges[-1] < 1.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0), "must be at least 0, got a negative number"),
        ((1.0, [1.0, 2.0], [0.5, 0.6]), r"`shares` must be at least 0 and sum to 1, got \[0.5, 0.6\]"),
        ((np.nan, 1.0), "`radius` must be finite"),
        ((1.0, "wide"), "`variances` must hold real numbers"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        radial_law(*arguments)
