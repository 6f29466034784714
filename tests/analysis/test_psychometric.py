import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neurornn.analysis.psychometric import (
    LARGEST_WIDTH,
    SMALLEST_WIDTH,
    fit_psychometric,
    psychometric,
    psychometric_function,
)
from neurornn.vocabulary import InputError

COHERENCES = np.array([-0.512, -0.256, -0.128, -0.064, -0.032, 0, 0.032, 0.064, 0.128, 0.256, 0.512])
FUNCTIONS = ("logistic", "cumulative_gaussian")


def log_likelihood(n_chosen, n_trials, probability):
    """Return the likelihood of the single choices by SciPy: the binomial one without its coefficients."""
    coefficients = stats.binom.logpmf(n_chosen, n_trials, 0.5) + n_trials * np.log(2)
    return np.sum(stats.binom.logpmf(n_chosen, n_trials, probability) - coefficients)


def estimate(fit):
    return fit["estimate"].values


def make_activity(**coordinates):
    return xr.Dataset(coords={name: ("trial", np.asarray(values)) for name, values in coordinates.items()})


# The curve itself.


def test_the_gaussian_curve_is_the_normals_with_the_width_as_standard_deviation():
    curve = psychometric_function(COHERENCES, 0.1, 0.2, function="cumulative_gaussian")
    np.testing.assert_allclose(curve, stats.norm.cdf(COHERENCES, 0.1, 0.2))


def test_the_logistic_curve_has_the_width_as_scale():
    np.testing.assert_allclose(
        psychometric_function(COHERENCES, 0.1, 0.2), stats.logistic.cdf(COHERENCES, 0.1, 0.2)
    )


def test_lapses_are_the_asymptotes():
    np.testing.assert_allclose(psychometric_function([-1e6, 0, 1e6], 0, 1, 0.1, 0.03), [0.1, 0.535, 0.97])


# The fit.


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "truth", [(0.03, 0.06, 0.05, 0.1), (-0.05, 0.1, 0.02, 0.04), (0.06, 0.03, 0.1, 0.02)]
)
def test_known_parameters_are_recovered(function, truth):
    n_trials = np.full(COHERENCES.size, 400_000)
    probability = psychometric_function(COHERENCES, *truth, function=function)
    n_chosen = np.random.default_rng(1).binomial(n_trials, probability)
    fit = fit_psychometric(COHERENCES, n_chosen, n_trials, function=function, n_bootstrap=0)
    np.testing.assert_allclose(estimate(fit), truth, rtol=0.05)
    assert not fit["at_bound"].any()
    assert fit["converged"]
    assert fit["r_squared"] > 0.9999
    # The deviance of a right model is about chi-squared with (levels - parameters) degrees of freedom.
    assert fit["deviance"] < stats.chi2.ppf(0.9999, COHERENCES.size - 4)
    assert fit["log_likelihood"] == pytest.approx(log_likelihood(n_chosen, n_trials, fit["fitted"].values))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_known_parameters_are_recovered_without_lapses(function):
    n_trials = np.full(COHERENCES.size, 100_000)
    probability = psychometric_function(COHERENCES, 0.03, 0.08, function=function)
    n_chosen = np.random.default_rng(2).binomial(n_trials, probability)
    fit = fit_psychometric(COHERENCES, n_chosen, n_trials, function=function, lapse=False, n_bootstrap=0)
    np.testing.assert_allclose(estimate(fit)[:2], (0.03, 0.08), rtol=0.05)
    np.testing.assert_array_equal(estimate(fit)[2:], 0)


def test_ignored_lapses_make_the_width_wrong():
    n_trials = np.full(COHERENCES.size, 10_000)
    n_chosen = np.round(n_trials * psychometric_function(COHERENCES, 0, 0.05, 0.05, 0.05))
    with_lapses = fit_psychometric(COHERENCES, n_chosen, n_trials, n_bootstrap=0)
    without = fit_psychometric(COHERENCES, n_chosen, n_trials, lapse=False, n_bootstrap=0)
    assert estimate(with_lapses)[1] == pytest.approx(0.05, rel=0.02)
    assert estimate(without)[1] > 0.07


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    function=st.sampled_from(FUNCTIONS),
    n=st.sampled_from([5, 50, 1000]),
    truth=st.tuples(st.floats(-0.1, 0.1), st.floats(0.02, 0.3), st.floats(0.0, 0.1), st.floats(0.0, 0.1)),
)
def test_nothing_known_is_likelier_than_the_fit(seed, function, n, truth):
    n_trials = np.full(COHERENCES.size, n)
    probability = psychometric_function(COHERENCES, *truth, function=function)
    n_chosen = np.random.default_rng(seed).binomial(n_trials, probability)
    fit = fit_psychometric(COHERENCES, n_chosen, n_trials, function=function, n_bootstrap=0)
    assert fit["log_likelihood"] >= log_likelihood(n_chosen, n_trials, probability) - 1e-4
    assert fit["deviance"] >= 0
    assert np.all((estimate(fit)[2:] >= 0) & (estimate(fit)[2:] <= 0.2))


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
    function=st.sampled_from(FUNCTIONS),
    n_chosen=st.sampled_from([[1, 3, 9, 15, 19], [4, 6, 10, 17, 18], [0, 0, 20, 20, 20]]),
)
def test_the_stimulus_unit_and_origin_do_not_matter(scale, shift, function, n_chosen):
    levels, n_trials = np.array([-2.0, -1.0, 0.0, 1.0, 3.0]), np.full(5, 20)
    fit = fit_psychometric(levels, n_chosen, n_trials, function=function, n_bootstrap=0)
    moved = fit_psychometric(scale * (levels + shift), n_chosen, n_trials, function=function, n_bootstrap=0)
    bias, width, *lapses = estimate(fit)
    expected = [scale * (bias + shift), scale * width, *lapses]
    np.testing.assert_allclose(estimate(moved), expected, rtol=1e-3, atol=1e-4 * max(scale, 1))
    assert moved["log_likelihood"] == pytest.approx(float(fit["log_likelihood"]), abs=1e-6)
    np.testing.assert_array_equal(moved["at_bound"], fit["at_bound"])


def test_the_other_choice_mirrors_the_curve():
    n_trials = np.full(5, 50)
    n_chosen = np.array([3, 10, 30, 42, 48])
    fit = fit_psychometric([-2, -1, 0, 1, 2], n_chosen, n_trials, n_bootstrap=0)
    mirrored = fit_psychometric([2, 1, 0, -1, -2], n_trials - n_chosen, n_trials, n_bootstrap=0)
    bias, width, low, high = estimate(fit)
    np.testing.assert_allclose(estimate(mirrored), [-bias, width, high, low], atol=1e-4)


def test_grouping_and_order_of_trials_do_not_matter():
    levels, n_chosen, n_trials = np.array([-1.0, 0.0, 1.0, 2.0]), [1, 4, 9, 10], [10, 10, 10, 10]
    fit = fit_psychometric(levels, n_chosen, n_trials)
    stimulus = np.repeat(levels, 10)
    chosen = np.concatenate([np.arange(10) < k for k in n_chosen])
    order = np.random.default_rng(0).permutation(40)
    single = fit_psychometric(stimulus[order], chosen[order], np.ones(40, dtype=int))
    xr.testing.assert_identical(single, fit)


def test_levels_without_trials_are_left_out():
    fit = fit_psychometric([-1, 0, 1, 5], [1, 5, 9, 0], [10, 10, 10, 0], n_bootstrap=0)
    np.testing.assert_array_equal(fit["stimulus"], [-1, 0, 1])


def test_a_stimulus_that_is_new_in_every_trial_can_be_fitted():
    rng = np.random.default_rng(3)
    stimulus = rng.normal(size=3000)
    chosen = rng.random(3000) < psychometric_function(stimulus, 0.2, 0.3)
    fit = fit_psychometric(stimulus, chosen, np.ones(3000, dtype=int), lapse=False, n_bootstrap=0)
    np.testing.assert_allclose(estimate(fit)[:2], (0.2, 0.3), atol=0.05)


# Data that do not determine the curve.


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("lapse", [True, False])
def test_a_step_has_the_narrowest_width_and_its_bias_within_the_gap(function, lapse):
    fit = fit_psychometric([-2, -1, 0, 1, 3], [0, 0, 0, 50, 50], [50] * 5, function=function, lapse=lapse)
    np.testing.assert_allclose(estimate(fit), [0.5, SMALLEST_WIDTH, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(fit["at_bound"], [False, True, False, False])
    assert np.isnan(fit["lower"].values[:2]).all()
    assert np.isnan(fit["upper"].values[:2]).all()
    assert fit["deviance"] < 0.02
    np.testing.assert_allclose(fit["fitted"], fit["fraction_chosen"], atol=1e-3)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_step_with_lapses_keeps_the_lapses_intervals(function):
    fit = fit_psychometric([-2, -1, 0, 1, 2], [10, 12, 8, 95, 95], [100] * 5, function=function)
    np.testing.assert_allclose(estimate(fit)[2:], [0.1, 0.05], atol=0.002)
    np.testing.assert_array_equal(fit["at_bound"], [False, True, False, False])
    assert np.all(fit["lower"].values[2:] < estimate(fit)[2:])
    assert np.all(fit["upper"].values[2:] > estimate(fit)[2:])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("lapse", [True, False])
@pytest.mark.parametrize(("n_chosen", "bias"), [(20, -6.0), (0, 6.0)])
def test_a_choice_made_always_or_never_puts_the_bias_one_range_away(function, lapse, n_chosen, bias):
    fit = fit_psychometric([-2, 0, 1, 2], [n_chosen] * 4, [20] * 4, function=function, lapse=lapse)
    assert estimate(fit)[0] == pytest.approx(bias)
    np.testing.assert_array_equal(fit["at_bound"], [True, True, False, False])
    np.testing.assert_array_equal(estimate(fit)[2:], 0)
    assert np.isnan(fit["r_squared"])
    assert fit["log_likelihood"] == pytest.approx(0, abs=1e-9)


def test_a_falling_curve_ends_at_the_largest_width_and_is_flagged():
    fit = fit_psychometric([-2, -1, 0, 1, 2], [95, 80, 50, 20, 5], [100] * 5)
    assert estimate(fit)[1] == pytest.approx(4 * LARGEST_WIDTH)
    assert fit["at_bound"].sel(parameter="width")


# The intervals.


def test_the_interval_is_the_same_for_the_same_seed_only():
    counts = ([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5)
    xr.testing.assert_identical(fit_psychometric(*counts, seed=3), fit_psychometric(*counts, seed=3))
    one, other = fit_psychometric(*counts, seed=3), fit_psychometric(*counts, seed=4)
    np.testing.assert_array_equal(estimate(one), estimate(other))
    assert not np.array_equal(one["lower"], other["lower"])


def test_without_a_bootstrap_there_is_no_interval():
    fit = fit_psychometric([-1, 0, 1], [1, 5, 9], [10] * 3, n_bootstrap=0)
    assert fit["lower"].isnull().all()
    assert fit["upper"].isnull().all()


def test_the_interval_is_as_wide_as_the_information_says():
    # With many trials and no lapses, estimates scatter by the inverse of Fisher's information.
    bias, width, n = 0.05, 0.1, 5000
    probability = psychometric_function(COHERENCES, bias, width)
    u = (COHERENCES - bias) / width
    score = np.stack([np.full_like(u, -1 / width), -u / width])
    covariance = np.linalg.inv(n * (score * probability * (1 - probability)) @ score.T)
    n_trials = np.full(COHERENCES.size, n)
    fit = fit_psychometric(COHERENCES, np.round(n * probability), n_trials, lapse=False, n_bootstrap=1000)
    half = (fit["upper"] - fit["lower"]).values[:2] / 2
    np.testing.assert_allclose(half, 1.96 * np.sqrt(np.diag(covariance)), rtol=0.1)


def coverage(function, truth, n_data_sets, n_bootstrap):
    """Return how often each parameter's 90 percent interval holds the truth."""
    rng = np.random.default_rng(5)
    n_trials = np.full(COHERENCES.size, 300)
    probability = psychometric_function(COHERENCES, *truth, function=function)
    held = np.zeros(4)
    for seed in range(n_data_sets):
        n_chosen = rng.binomial(n_trials, probability)
        fit = fit_psychometric(
            COHERENCES,
            n_chosen,
            n_trials,
            function=function,
            lapse=truth[2] > 0,
            confidence=0.9,
            n_bootstrap=n_bootstrap,
            seed=seed,
        )
        held += (fit["lower"].values <= truth) & (truth <= fit["upper"].values)
    return held / n_data_sets


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = coverage("logistic", (0.02, 0.06, 0.0, 0.0), n_data_sets=30, n_bootstrap=100)
    assert np.all(held[:2] >= 0.75)
    assert np.all(held[:2] <= 1)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_intervals_with_lapses_hold_the_truth_as_often_as_they_say(function):
    held = coverage(function, (0.02, 0.06, 0.08, 0.06), n_data_sets=300, n_bootstrap=300)
    np.testing.assert_allclose(held, 0.9, atol=0.06)


# The result.


def test_the_layout_of_the_result():
    fit = fit_psychometric([-1, 0, 2], [1, 5, 9], [10] * 3)
    assert fit.sizes == {"parameter": 4, "stimulus": 3, "stimulus_grid": 201}
    assert list(fit["parameter"].values) == ["bias", "width", "lapse_low", "lapse_high"]
    assert {str(name): variable.dims for name, variable in fit.data_vars.items()} == {
        **dict.fromkeys(["estimate", "lower", "upper", "at_bound"], ("parameter",)),
        **dict.fromkeys(
            ["n_trials", "fraction_chosen", "fraction_lower", "fraction_upper", "fitted"], ("stimulus",)
        ),
        "curve": ("stimulus_grid",),
        **dict.fromkeys(["log_likelihood", "deviance", "r_squared", "converged"], ()),
    }
    np.testing.assert_allclose(fit["curve"][[0, -1]], fit["fitted"][[0, -1]])
    interval = stats.binomtest(1, 10).proportion_ci(method="wilson")
    np.testing.assert_allclose((fit["fraction_lower"][0], fit["fraction_upper"][0]), interval)


def test_the_result_survives_netcdf(tmp_path):
    activity = make_activity(x=[-1.0, 0.0, 0.0, 1.0, 1.0], choice=[0, 0, 1, 1, -1])
    fit = psychometric(activity, "x", n_bootstrap=5)
    fit.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "fit.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), fit)


# From recorded trials.


def test_recorded_trials_give_the_fit_of_their_counts():
    rng = np.random.default_rng(0)
    signed = rng.choice(COHERENCES, 3000)
    choice = (rng.random(3000) < psychometric_function(signed, 0.02, 0.08)).astype(int)
    choice[::10] = -1
    fit = psychometric(make_activity(signed_coherence=signed, choice=choice), "signed_coherence")
    made = choice >= 0
    n_trials = [np.sum(signed[made] == level) for level in COHERENCES]
    n_chosen = [np.sum(choice[signed == level] == 1) for level in COHERENCES]
    by_hand = fit_psychometric(COHERENCES, n_chosen, n_trials)
    xr.testing.assert_equal(fit.drop_vars("n_without_choice"), by_hand)
    assert fit["n_without_choice"] == 300
    assert fit.attrs["chosen"] == 1
    assert fit.attrs["stimulus_name"] == "signed_coherence"


def test_chosen_is_the_largest_choice_unless_told():
    activity = make_activity(x=np.repeat([-1.0, 0.0, 1.0], 20), response=np.repeat([5, 4, 3, 3, 5, 5], 10))
    fit = psychometric(activity, "x", choice="response", n_bootstrap=0)
    assert fit.attrs["chosen"] == 5
    np.testing.assert_allclose(fit["fraction_chosen"], [0.5, 0, 1])
    told = psychometric(activity, "x", choice="response", chosen=3, n_bootstrap=0)
    np.testing.assert_allclose(told["fraction_chosen"], [0, 1, 0])


def test_a_choice_that_never_occurs_can_be_asked_for():
    activity = make_activity(x=[-1.0, 0.0, 1.0], choice=[0, 0, 0])
    np.testing.assert_array_equal(psychometric(activity, "x", chosen=1, n_bootstrap=0)["fraction_chosen"], 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"n_chosen": [-1, 5, 9]},
            "`n_chosen` must hold whole numbers of at least 0, got -1 at index (0,): give counts",
        ),
        ({"n_chosen": [0.1, 0.5, 0.9]}, "`n_chosen` must hold whole numbers of at least 0, got 0.1"),
        ({"n_chosen": [1, 5, 11]}, "`n_chosen` must not exceed `n_trials`, got 11 of 10 at index (2,)"),
        ({"n_chosen": [1, 5]}, "`n_chosen` and `n_trials` must have the same shape, got (2,) and (3,)"),
        (
            {"stimulus": [-1, 0, 1, 2]},
            "`stimulus`, `n_chosen` and `n_trials` must be equally long, got 4 stimuli and counts of",
        ),
        ({"stimulus": [-1, np.nan, 1]}, "`stimulus` must be finite, got nan at index (1,)"),
        (
            {"stimulus": ["a", "b", "c"]},
            "`stimulus` must be a one-dimensional array of numbers, got shape (3,)",
        ),
        (
            {"stimulus": [[-1, 0, 1]]},
            "`stimulus` must be a one-dimensional array of numbers, got shape (1, 3)",
        ),
        (
            {"stimulus": [0, 0, 1]},
            "`stimulus` must have at least 3 different levels with trials, got 2: add levels, or fit with",
        ),
        (
            {"stimulus": [1, 1, 1], "lapse": False},
            "`stimulus` must have at least 2 different levels with trials, got 1: add levels",
        ),
        ({"n_trials": [0, 0, 0], "n_chosen": [0, 0, 0]}, "at least 3 different levels with trials, got 0"),
        (
            {"function": "logit"},
            "unknown function 'logit': expected one of 'cumulative_gaussian', 'logistic'",
        ),
        ({"lapse": 0.05}, "`lapse` must be True (fit both lapses) or False (both are 0), got 0.05"),
        (
            {"confidence": 95},
            "`confidence` must be a number between 0 and 1, got 95: give 0.95 for 95 percent",
        ),
        ({"n_bootstrap": -1}, "`n_bootstrap` must be a whole number of at least 0, got -1"),
        ({"seed": -1, "n_bootstrap": 0}, "`seed` must be a whole number of at least 0, got -1"),
    ],
)
def test_mistakes_on_arrays_are_told(changes, sentence):
    arguments = {"stimulus": [-1, 0, 1], "n_chosen": [1, 5, 9], "n_trials": [10, 10, 10]} | changes
    with pytest.raises(InputError, match=re.escape(sentence)):
        fit_psychometric(**arguments)


@pytest.mark.parametrize("width", [0, -1.0, np.nan])
def test_a_width_that_is_not_above_0_is_refused(width):
    with pytest.raises(
        InputError, match=r"`width` must be above 0, got .*: for a falling curve fit the other"
    ):
        psychometric_function([0.0], 0.0, width)


@pytest.mark.parametrize(
    ("stimulus", "options", "sentence"),
    [
        ("signed_coherense", {}, "did you mean 'signed_coherence'?"),
        ("context", {}, "`stimulus` must name a coordinate of numbers, got 'context' of dtype <U1"),
        (
            "signed_coherence",
            {"choice": "none"},
            "`activity` must have trials with a choice, got -1 in all of 'none'",
        ),
        (
            "signed_coherence",
            {"choice": "same"},
            "`chosen` must be given where only one choice occurs, got 2 in all",
        ),
        ("signed_coherence", {"choice": "context"}, "'context' must hold whole numbers, got dtype <U1"),
        ("signed_coherence", {"chosen": -1}, "`chosen` must be a whole number of at least 0, got -1"),
    ],
)
def test_mistakes_on_datasets_are_told(stimulus, options, sentence):
    activity = make_activity(
        signed_coherence=[-1.0, 0.0, 1.0],
        choice=[0, 1, 1],
        context=["a", "b", "a"],
        none=[-1, -1, -1],
        same=[2, 2, 2],
    )
    with pytest.raises(InputError, match=re.escape(sentence)):
        psychometric(activity, stimulus, **options)
