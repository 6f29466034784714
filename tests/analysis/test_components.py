import numpy as np
import pytest
import sklearn.decomposition
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurornn.analysis import pca, project, svd
from neurornn.vocabulary import InputError


def activity(seed=0, n_trials=7, n_steps=11, n_units=5):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((n_units, n_units))
    rate = rng.standard_normal((n_trials, n_steps, n_units)) @ mixing + 3 * rng.standard_normal(n_units)
    return xr.Dataset(
        {
            "rate": (("trial", "time", "unit"), rate),
            "valid": (("trial", "time"), np.ones(rate.shape[:2], bool)),
        },
        coords={"cue": ("trial", np.arange(n_trials) % 2), "score": ("trial", np.ones(n_trials))},
    )


def test_agrees_with_scikit_learn():
    data = activity()
    pcs = pca(data)
    reference = sklearn.decomposition.PCA(svd_solver="full").fit(data.rate.values.reshape(-1, 5))
    # Both are exact methods in float64: what is left is rounding.
    np.testing.assert_allclose(pcs.explained_variance, reference.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(pcs.explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-10)
    signs = np.sign((pcs.component_vector.values * reference.components_).sum(axis=1))
    np.testing.assert_allclose(pcs.component_vector, reference.components_ * signs[:, None], atol=1e-10)
    np.testing.assert_allclose(pcs["mean"], reference.mean_, rtol=1e-12)


def test_variances_sum_to_the_total_variance():
    data = activity(1)
    total = data.rate.values.reshape(-1, 5).var(axis=0, ddof=1).sum()
    pcs = pca(data)
    assert float(pcs.explained_variance.sum()) == pytest.approx(total, rel=1e-12)
    assert float(pcs.total_variance) == pytest.approx(total, rel=1e-12)
    assert float(pcs.explained_variance_ratio.sum()) == pytest.approx(1, rel=1e-12)


def test_scores_rebuild_the_activity():
    data = activity(2)
    pcs = pca(data)
    rebuilt = xr.dot(pcs.score, pcs.component_vector, dim="component") + pcs["mean"]
    np.testing.assert_allclose(rebuilt.transpose("trial", "time", "unit"), data.rate, atol=1e-12)


def test_axes_are_orthonormal_and_their_peaks_positive():
    vectors = pca(activity(3)).component_vector.values
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e-12)
    assert (np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1) > 0).all()


def test_the_order_of_dimensions_does_not_matter():
    data = activity(4)
    turned = data.transpose("unit", "time", "trial")
    xr.testing.assert_allclose(pca(data).score, pca(turned).score.transpose("trial", "time", "component"))


def test_steps_that_do_not_exist_do_not_count():
    data = activity(5)
    padded = data.copy(deep=True)
    padded.rate[3:, 8:] = 1e6
    padded.valid[3:, 8:] = False
    samples = data.rate.values[padded.valid.values]
    reference = sklearn.decomposition.PCA(svd_solver="full").fit(samples)
    np.testing.assert_allclose(pca(padded).explained_variance, reference.explained_variance_, rtol=1e-10)
    assert "valid" in pca(padded)


def test_small_variance_beside_a_large_mean_is_not_lost():
    rng = np.random.default_rng(6)
    samples = 1e6 + rng.standard_normal((4000, 3)) * [1.0, 1e-2, 1e-4]
    pcs = pca(xr.DataArray(samples, dims=("time", "unit")))
    exact = np.linalg.svd(samples - samples.mean(0), compute_uv=False) ** 2 / 3999
    # float64 holds 1e6 to 1e-10, so that a variance of 1e-8 is known to about 1e-5.
    np.testing.assert_allclose(pcs.explained_variance, exact, rtol=1e-4)


def test_centering_by_time_removes_what_trials_share():
    data = activity(7)
    shifted = data.copy(deep=True)
    shifted["rate"] = data.rate + xr.DataArray(np.sin(np.arange(11)) * 50, dims="time")
    xr.testing.assert_allclose(
        pca(data, center="time").explained_variance, pca(shifted, center="time").explained_variance
    )


def test_centering_by_condition_removes_each_conditions_mean():
    data = activity(8)
    labelled = data.assign_coords(condition=("trial", data.cue.values))
    shifted = labelled.copy(deep=True)
    shifted["rate"] = data.rate + 100.0 * data.cue
    left, right = pca(labelled, center="condition"), pca(shifted, center="condition")
    xr.testing.assert_allclose(left.explained_variance, right.explained_variance)
    assert left["mean"].dims == ("condition", "unit")


def test_without_centering_second_moments_are_decomposed():
    data = activity(9)
    samples = data.rate.values.reshape(-1, 5)
    moments = np.linalg.eigvalsh(samples.T @ samples / (len(samples) - 1))[::-1]
    np.testing.assert_allclose(pca(data, center=None).explained_variance, moments, rtol=1e-10)


def test_averaging_first_equals_averaging_by_hand():
    data = activity(10)
    xr.testing.assert_allclose(
        pca(data, average_over="trial").explained_variance, pca(data.rate.mean("trial")).explained_variance
    )


def test_the_trials_own_score_survives_under_another_name():
    assert pca(activity()).trial_score.dims == ("trial",)


def test_projecting_the_recording_gives_its_scores():
    data = activity(11)
    pcs = pca(data, 3)
    np.testing.assert_allclose(project(data, pcs).score, pcs.score, atol=1e-12)


def test_vectors_are_projected_without_the_offset():
    pcs = pca(activity(12))
    zero = xr.DataArray(np.zeros((1, 5)), dims=("sample", "unit"))
    assert not project(zero, pcs, center=False).score.values.any()
    assert project(zero, pcs).score.values.any()


def test_singular_values_of_a_matrix():
    matrix = np.random.default_rng(13).standard_normal((4, 6))
    result = svd(matrix)
    rebuilt = result.left_vector.values @ np.diag(result.singular_value.values) @ result.right_vector.values
    np.testing.assert_allclose(rebuilt, matrix, atol=1e-12)
    np.testing.assert_allclose(result.singular_value, np.linalg.svd(matrix, compute_uv=False), rtol=1e-12)


def test_singular_values_of_centred_activity_are_the_pca():
    data = activity(14)
    result = svd(data, center=True)
    variance = result.singular_value.values**2 / (7 * 11 - 1)
    np.testing.assert_allclose(variance, pca(data).explained_variance, rtol=1e-10)
    assert result.left_vector.dims == ("trial", "time", "mode")


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 12), st.integers(1, 6)),
        elements=st.floats(-1e3, 1e3, allow_subnormal=False),
    )
)
def test_any_activity_is_rebuilt_and_its_variance_kept(samples):
    pcs = pca(xr.DataArray(samples, dims=("time", "unit")))
    rebuilt = pcs.score.values @ pcs.component_vector.values + pcs["mean"].values
    np.testing.assert_allclose(rebuilt, samples, atol=1e-9)
    np.testing.assert_allclose(
        pcs.explained_variance.sum(), samples.var(0, ddof=1).sum(), rtol=1e-9, atol=1e-9
    )
    assert (np.diff(pcs.explained_variance) <= 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: pca(d.rename(unit="neuron")), r"rename yours with activity.rename\(neuron='unit'\)"),
        (lambda d: pca(d.rate.values), "must be an xarray"),
        (lambda d: pca(d, center="units"), "`center` must be one of"),
        (lambda d: pca(d, 6), "at most the number of units 5, got 6"),
        (lambda d: pca(d, 0), "at least 1, got 0"),
        (lambda d: pca(d.rate[:1, :1]), "at least 2 samples, got 1"),
        (lambda d: pca(d.assign(rate=d.rate.where(d.rate < 0))), "must be finite, got nan"),
        (lambda d: pca(d, center="condition"), "needs a dimension or a trial coordinate 'condition'"),
        (lambda d: pca(d, average_over="epoch"), "needs dimension 'epoch'"),
        (lambda d: project(d.isel(unit=slice(3)), pca(d)), "has 3 units, the PCA has 5"),
        (lambda d: project(d, pca(d, center="time")), "centred by 'time'"),
        (lambda d: project(d, d), "no variable 'component_vector'"),
        (lambda d: svd(np.zeros(3)), "needs a matrix, got an array of shape"),
        (lambda d: svd(np.array([[1.0, np.nan]])), "must be finite"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(activity())
