"""Do measures of dimension find the dimensions that were put in?"""

import numpy as np
import pytest
import xarray as xr

from neurornn.analysis import cross_validated_dimensionality, noise_floor, participation_ratio, pca
from neurornn.analysis.dimensionality import _hard_threshold
from neurornn.vocabulary import InputError


def shared_signals(n_samples, n_units, n_signals, noise, seed=0):
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((n_samples, n_signals)) @ rng.standard_normal((n_signals, n_units))
    return signals + noise * rng.standard_normal((n_samples, n_units))


def recording(samples, n_trials):
    rate = samples.reshape(n_trials, -1, samples.shape[1])
    return xr.Dataset({"rate": (("trial", "time", "unit"), rate)})


def test_participation_ratio_from_samples_variances_and_components():
    samples = shared_signals(200, 12, 3, 0.3)
    variances = np.linalg.eigvalsh(np.cov(samples.T))
    expected = variances.sum() ** 2 / (variances**2).sum()
    activity = recording(samples, 10)
    for data in (
        samples,
        variances,
        activity,
        activity.rate.transpose("unit", "time", "trial"),
        pca(activity),
    ):
        assert participation_ratio(data) == pytest.approx(expected, rel=1e-12)
    # Alike along k directions it is k.
    assert participation_ratio(np.r_[np.ones(7), np.zeros(5)]) == pytest.approx(7)
    assert participation_ratio(np.linspace(0, 1, 9)[:, None] * np.arange(1.0, 5.0)) == pytest.approx(1)


def test_steps_that_only_pad_do_not_count():
    activity = recording(shared_signals(60, 5, 2, 0.1), 6)
    valid = np.arange(10) < np.arange(5, 11)[:, None]
    kept = activity.rate.values[valid]
    activity["rate"] = activity.rate.where(xr.DataArray(valid, dims=("trial", "time")))
    activity["valid"] = (("trial", "time"), valid)
    assert participation_ratio(activity) == pytest.approx(participation_ratio(kept), rel=1e-12)


@pytest.mark.parametrize("n_signals", [0, 1, 4, 8])
def test_cross_validation_finds_the_number_of_signals(n_signals):
    samples = shared_signals(600, 40, n_signals, 1.0)
    found = cross_validated_dimensionality(samples)
    assert int(found.dimensionality) == n_signals
    error = found.held_out_error.values
    assert error[0] == pytest.approx(1, abs=0.02)
    # Components of noise add error.
    assert error[-1] > error[n_signals]


def test_cross_validation_without_noise_stops_at_the_last_signal():
    found = cross_validated_dimensionality(shared_signals(100, 20, 5, 0.0))
    assert int(found.dimensionality) == 5
    assert float(found.held_out_error[5]) < 1e-12


def test_cross_validation_is_what_its_definition_says():
    samples = shared_signals(90, 12, 2, 0.7) + 5
    found = cross_validated_dimensionality(samples, n_folds=3, n_unit_folds=3, seed=1)
    groups = np.array_split(np.random.default_rng(1).permutation(12), 3)
    error, size = np.zeros(found.sizes["n_components"]), 0.0
    for rows in np.array_split(np.arange(90), 3):
        others = np.setdiff1d(np.arange(90), rows)
        centred = samples - samples[others].mean(axis=0)
        for out in groups:
            held_in = np.setdiff1d(np.arange(12), out)
            left, singular, right = np.linalg.svd(centred[np.ix_(others, held_in)], full_matrices=False)
            truth = centred[np.ix_(rows, out)]
            size += (truth**2).sum()
            for k in range(len(error)):
                inverse = right[:k].T / singular[:k] @ left[:, :k].T
                told = centred[np.ix_(rows, held_in)] @ inverse @ centred[np.ix_(others, out)]
                error[k] += ((truth - told) ** 2).sum()
    np.testing.assert_allclose(found.held_out_error, error / size, rtol=1e-9)


@pytest.mark.parametrize("method", ["shift", "shuffle", "gavish_donoho"])
def test_signals_stand_above_the_floor_and_noise_does_not(method):
    found = noise_floor(shared_signals(500, 30, 3, 1.0), method=method, n_surrogates=30)
    assert int(found.n_above) == 3
    assert int(noise_floor(shared_signals(500, 30, 0, 1.0), method=method, n_surrogates=60).n_above) <= 1
    variances = np.linalg.eigvalsh(np.cov(shared_signals(500, 30, 3, 1.0).T))[::-1]
    np.testing.assert_allclose(found.explained_variance, variances, rtol=1e-10)


def test_slow_activity_needs_surrogates_that_are_as_slow():
    # Twenty units drift on their own: few independent samples, and leading components out of nothing.
    rng = np.random.default_rng(0)
    samples = np.zeros((600, 20))
    for k in range(1, 600):
        samples[k] = 0.98 * samples[k - 1] + rng.standard_normal(20)
    by_shift = int(noise_floor(samples, method="shift", n_surrogates=40).n_above)
    by_shuffle = int(noise_floor(samples, method="shuffle", n_surrogates=40).n_above)
    assert by_shift <= 1 < by_shuffle


def test_the_published_threshold():
    # Gavish and Donoho: 2.858 for square matrices, and their fit 0.56 b^3 - 0.95 b^2 + 1.82 b + 1.43.
    assert _hard_threshold(1.0) == pytest.approx(2.858, abs=5e-4)
    for beta in (0.05, 0.3, 0.7, 1 / 0.4):
        own = min(beta, 1 / beta)
        fit = 0.56 * own**3 - 0.95 * own**2 + 1.82 * own + 1.43
        assert _hard_threshold(beta) == pytest.approx(fit, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: participation_ratio(np.array([1.0, -1.0])), "must hold variances of at least 0, got -1.0"),
        (lambda: participation_ratio(np.zeros(3)), "must vary, but every variance is zero"),
        (lambda: participation_ratio(np.ones((1, 3))), "needs at least 2 samples, got 1: record more"),
        (
            lambda: participation_ratio(pca(recording(shared_signals(20, 5, 2, 1), 2), 2)),
            "holds 2 components and not",
        ),
        (
            lambda: participation_ratio(xr.DataArray(np.ones((2, 3)), dims=("time", "neuron"))),
            "needs dimension 'unit'",
        ),
        (
            lambda: cross_validated_dimensionality(np.ones((5, 9))),
            "needs at least 2 samples for each of 5 folds",
        ),
        (
            lambda: cross_validated_dimensionality(shared_signals(12, 20, 1, 1), max_components=10),
            "must be at most 8, what the units and samples held in allow, got 10: record more",
        ),
        (lambda: cross_validated_dimensionality(np.ones((50, 9))), "must vary, but every unit is constant"),
        (lambda: cross_validated_dimensionality(np.full((50, 9), np.nan)), "must be finite, got nan"),
        (
            lambda: noise_floor(np.ones((50, 9)), method="shifts"),
            "unknown method 'shifts'.*did you mean 'shift'",
        ),
        (lambda: noise_floor(np.ones((50, 9)), quantile=95), "`quantile` must be between 0 and 1, got 95"),
        (lambda: noise_floor(np.ones((0, 9))), "`activity` has no samples"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
