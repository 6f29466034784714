"""Are angles, alignment, trustworthiness and continuity what they are defined to be?"""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness as of_sklearn

from neurornn.analysis import alignment_index, continuity, pca, subspace_angles, trustworthiness
from neurornn.vocabulary import InputError


def recording(seed=0, n_units=6, n_trials=4, n_steps=15):
    rng = np.random.default_rng(seed)
    rate = rng.standard_normal((n_trials, n_steps, n_units)) * np.geomspace(1, 4, n_units)
    return xr.Dataset({"rate": (("trial", "time", "unit"), rate)})


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_angles_are_those_that_were_built_in(n_first, n_second, seed):
    rng = np.random.default_rng(seed)
    n_shared = min(n_first, n_second)
    basis = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    angles = np.sort(rng.uniform(0, np.pi / 2, n_shared))
    first = basis[:, :n_first]
    turned = basis[:, :n_shared] * np.cos(angles) + basis[:, 4 : 4 + n_shared] * np.sin(angles)
    second = np.concatenate([turned, basis[:, 8 : 8 + n_second - n_shared]], axis=1)
    # Any axes of the same subspaces.
    mixed = (first @ rng.standard_normal((n_first, n_first))).T
    found = subspace_angles(mixed, second.T)
    np.testing.assert_allclose(found.principal_angle, angles, atol=1e-6)
    assert float(found.overlap) == pytest.approx((np.cos(angles) ** 2).mean(), abs=1e-6)


def test_components_come_as_a_dataset_or_as_labelled_axes():
    pcs, other = pca(recording(0), 2), pca(recording(1), 3)
    by_dataset = subspace_angles(pcs, other)
    by_axes = subspace_angles(pcs.component_vector.T, other.component_vector.values)
    np.testing.assert_array_equal(by_dataset.principal_angle, by_axes.principal_angle)
    assert by_dataset.principal_angle.attrs["units"] == "rad"
    np.testing.assert_allclose(subspace_angles(pcs, pcs).principal_angle, 0, atol=1e-7)


def test_alignment_of_activity_with_its_own_components_is_one():
    activity = recording()
    for k in (1, 3, 6):
        assert float(alignment_index(activity, pca(activity, k)).alignment_index) == pytest.approx(
            1, abs=1e-12
        )
    # With the smallest components, the least.
    worst = alignment_index(activity, pca(activity).component_vector[-2:])
    variance = pca(activity).explained_variance.values
    assert float(worst.alignment_index) == pytest.approx(variance[-2:].sum() / variance[:2].sum())


def test_alignment_with_subspaces_at_random():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((400, 50)) * np.geomspace(1, 3, 50)
    drawn = [alignment_index(samples, rng.standard_normal((5, 50))) for _ in range(200)]
    mean = np.mean([float(own.alignment_index) for own in drawn])
    assert mean == pytest.approx(float(drawn[0].expected_at_random), rel=0.03)
    # Activity alike in all directions is aligned with any of them.
    alike = np.r_[np.eye(4), -np.eye(4)]
    assert float(alignment_index(alike, rng.standard_normal((2, 4))).expected_at_random) == pytest.approx(1)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_an_identity_embedding_is_trusted_exactly(metric):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 5))
    # Trials that begin in one state: equal points, whose neighbours are ties.
    points[::6] = points[0]
    for measure in (trustworthiness, continuity):
        assert measure(points, points, 7, metric=metric) == 1.0
        # Sizes alone do not matter to the cosine, nor a scale to either.
        assert measure(points, 2 * points, 7, metric=metric) == 1.0
    sizes = rng.uniform(1, 2, (60, 1))
    assert trustworthiness(points, sizes * points, 7, metric="cosine") > 0.999
    assert trustworthiness(points, sizes * points, 7) < 1


@pytest.mark.parametrize("n_neighbors", [1, 5, 20])
def test_as_scikit_learn_where_points_are_all_different(n_neighbors):
    rng = np.random.default_rng(1)
    points, embedding = rng.standard_normal((80, 6)), rng.standard_normal((80, 2))
    embedding += points[:, :2]
    expected = of_sklearn(points, embedding, n_neighbors=n_neighbors)
    assert trustworthiness(points, embedding, n_neighbors) == pytest.approx(expected, abs=1e-12)
    mirrored = of_sklearn(embedding, points, n_neighbors=n_neighbors)
    assert continuity(points, embedding, n_neighbors) == pytest.approx(mirrored, abs=1e-12)
    # On the sphere, chords are ordered as angles are.
    sphere, circle = (own / np.linalg.norm(own, axis=1, keepdims=True) for own in (points, embedding))
    expected = of_sklearn(sphere, circle, n_neighbors=n_neighbors)
    assert trustworthiness(points, embedding, n_neighbors, metric="cosine") == pytest.approx(
        expected, abs=1e-12
    )


def test_a_recording_and_its_scores():
    activity = recording()
    pcs = pca(activity, 2)
    samples = activity.rate.values.reshape(-1, 6)
    expected = of_sklearn(samples, pcs.score.values.reshape(-1, 2), n_neighbors=5)
    assert trustworthiness(activity, pcs) == pytest.approx(expected, abs=1e-12)
    assert trustworthiness(activity, pca(activity)) == pytest.approx(1, abs=1e-12)
    # Of many points a part is drawn, the same in both.
    assert trustworthiness(activity, activity.rate, max_samples=40) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subspace_angles(np.eye(3), np.eye(2)), "both must have the same units, got 3 and 2"),
        (
            lambda: subspace_angles(np.ones((2, 3)), np.eye(3)),
            "`first` must be independent axes, but 2 of 3 units",
        ),
        (
            lambda: subspace_angles(np.zeros((0, 3)), np.eye(3)),
            r"`first` must have shape \(component, unit\)",
        ),
        (lambda: subspace_angles(xr.Dataset(), np.eye(3)), "`first` has no variable 'component_vector'"),
        (
            lambda: alignment_index(np.ones((2, 3)), np.eye(3)),
            "needs more samples than the subspace has dimensions, 3",
        ),
        (lambda: alignment_index(np.ones((9, 3)), np.eye(3)[:1]), "must vary, but every unit is constant"),
        (lambda: trustworthiness(np.ones((9, 3)), np.ones((8, 2))), "the same points, got 9 and 8"),
        (lambda: trustworthiness(np.ones((9, 3)), np.ones((9, 2))), "less than half of the 9 points, got 5"),
        (lambda: trustworthiness(np.ones((9, 3)), np.ones((9, 2)), metric="cosin"), "did you mean 'cosine'"),
        (
            lambda: trustworthiness(np.zeros((9, 3)), np.ones((9, 2)), 2, metric="cosine"),
            "the origin has no direction",
        ),
        (
            lambda: trustworthiness(np.ones(9), np.ones((9, 2))),
            "needs samples and variables, at least 2 axes",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
