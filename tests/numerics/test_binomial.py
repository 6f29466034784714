import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neurornn.numerics.binomial import need_binomial_counts, normal_quantile, wilson_interval
from neurornn.vocabulary import InputError


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_interval_is_scipys(n, share, confidence):
    k = round(share * n)
    theirs = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="wilson")
    np.testing.assert_allclose(wilson_interval(k, n, confidence), (theirs.low, theirs.high), atol=1e-12)


def test_wilson_interval_ends_exactly_at_0_and_1_and_holds_the_fraction():
    n_success = np.arange(8)
    lower, upper = wilson_interval(n_success, 7)
    assert lower[0] == 0
    assert upper[-1] == 1
    assert np.all((lower <= n_success / 7) & (n_success / 7 <= upper))


def test_wilson_interval_keeps_the_shape_and_is_nan_without_trials():
    lower, upper = wilson_interval(np.array([[0], [3]]), np.array([0, 4]) + np.array([[0], [4]]))
    assert lower.shape == upper.shape == (2, 2)
    np.testing.assert_array_equal(np.isnan(lower), [[True, False], [False, False]])
    np.testing.assert_array_equal(np.isnan(lower), np.isnan(upper))


def test_wilson_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    lower, upper = wilson_interval(rng.binomial(2000, 0.8, 20000), 2000, 0.9)
    assert np.mean((lower <= 0.8) & (upper >= 0.8)) == pytest.approx(0.9, abs=0.015)


def test_normal_quantile_is_the_normals():
    assert normal_quantile(0.9) == pytest.approx(stats.norm.ppf(0.95))


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1, np.nan, True, "0.95", None])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(
        InputError, match=r"`confidence` must be a number between 0 and 1, got .*: give 0\.95"
    ):
        wilson_interval(1, 2, confidence)


@pytest.mark.parametrize(
    ("n_success", "n", "sentence"),
    [
        (
            [1, -2],
            [3, 3],
            "`n_success` must hold whole numbers of at least 0, got -2 at index (1,): give counts",
        ),
        ([1, 0.5], [3, 3], "`n_success` must hold whole numbers of at least 0, got 0.5 at index (1,)"),
        ([1, 2], [3, np.nan], "`n` must hold whole numbers of at least 0, got nan at index (1,)"),
        ([1, 2], [3, np.inf], "`n` must hold whole numbers of at least 0, got inf at index (1,)"),
        ([1, 4], [3, 3], "`n_success` must not exceed `n`, got 4 of 3 at index (1,): check that the two are"),
        (
            [1, 2],
            [3, 3, 3],
            "`n_success` and `n` must have the same shape, got (2,) and (3,): give one count",
        ),
        (["a"], [3], "`n_success` must be an array of counts, got dtype <U1: convert it to int"),
    ],
)
def test_what_cannot_be_counts_is_refused(n_success, n, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        need_binomial_counts(n_success, n)
