import re

import numpy as np
import pytest
import xarray as xr

from neurornn.analysis.behaviour import accuracy, choice_probability
from neurornn.numerics.binomial import wilson_interval
from neurornn.vocabulary import InputError


def make_activity(**coordinates):
    return xr.Dataset(coords={name: ("trial", np.asarray(values)) for name, values in coordinates.items()})


@pytest.fixture
def activity():
    """Six trials; the combination (color, 0.5) never occurs."""
    return make_activity(
        context=["motion", "motion", "color", "color", "motion", "motion"],
        coherence=[0.5, 0.5, 0.1, 0.1, 0.1, 0.5],
        score=[1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
        ideal_score=[1, 1, 1, 0, 0, 1],
        choice=[1, 0, 2, 2, -1, 1],
    )


def test_accuracy_over_all_trials(activity):
    result = accuracy(activity)
    assert result.sizes == {}
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["n_trials"] == 6
    lower, upper = wilson_interval(4, 6)
    assert result["accuracy_lower"] == pytest.approx(float(lower))
    assert result["accuracy_upper"] == pytest.approx(float(upper))
    assert result["share_of_ideal"] == pytest.approx(1.0)


def test_accuracy_by_one_condition(activity):
    result = accuracy(activity, by="context")
    assert result["accuracy"].dims == ("context",)
    assert result["accuracy"].sel(context="motion") == pytest.approx(0.5)
    assert result["ideal_accuracy"].sel(context="motion") == pytest.approx(0.75)
    assert result["share_of_ideal"].sel(context="motion") == pytest.approx(2 / 3)
    assert result["accuracy"].attrs["interval"] == "wilson"


def test_accuracy_on_a_grid_leaves_absent_combinations_empty(activity):
    result = accuracy(activity, by=["coherence", "context"])
    assert result["accuracy"].dims == ("coherence", "context")
    expected = {(0.1, "color"): (2, 1.0), (0.1, "motion"): (1, 0.0), (0.5, "motion"): (3, 2 / 3)}
    for (coherence, context), (n_trials, mean) in expected.items():
        cell = result.sel(coherence=coherence, context=context)
        assert cell["n_trials"] == n_trials
        assert cell["accuracy"] == pytest.approx(mean)
    absent = result.sel(coherence=0.5, context="color")
    assert absent["n_trials"] == 0
    assert all(np.isnan(absent[name]) for name in result if name != "n_trials")


def test_share_of_ideal_is_nan_where_the_ideal_is_never_right(activity):
    result = accuracy(activity.isel(trial=[3, 4]), by="context")
    assert np.isnan(result["share_of_ideal"]).all()


def test_without_ideal_score_nothing_is_said_of_it(activity):
    assert set(accuracy(activity.drop_vars("ideal_score"))) == {
        "accuracy",
        "accuracy_lower",
        "accuracy_upper",
        "n_trials",
    }


def test_graded_scores_have_standard_errors():
    scores = np.array([0.2, 0.4, 0.9, 0.7])
    result = accuracy(make_activity(score=scores, delay=[100, 100, 100, 200]), by="delay")
    first = scores[:3]
    half = 1.959964 * first.std(ddof=1) / np.sqrt(3)
    cell = result.sel(delay=100)
    assert result["accuracy"].attrs["interval"] == "standard_error"
    assert cell["accuracy"] == pytest.approx(first.mean())
    assert cell["accuracy_lower"] == pytest.approx(first.mean() - half)
    assert cell["accuracy_upper"] == pytest.approx(first.mean() + half)
    assert result["accuracy"].sel(delay=200) == pytest.approx(0.7)
    assert np.isnan(result["accuracy_lower"].sel(delay=200))


def test_the_order_of_trials_does_not_matter(activity):
    shuffled = activity.isel(trial=[3, 0, 5, 1, 4, 2])
    xr.testing.assert_allclose(accuracy(activity, "context"), accuracy(shuffled, "context"))
    xr.testing.assert_equal(choice_probability(activity, "context"), choice_probability(shuffled, "context"))


def test_strings_from_a_file_are_conditions_too(activity):
    as_read = activity.assign_coords(context=("trial", activity["context"].values.astype(object)))
    xr.testing.assert_identical(accuracy(as_read, "context"), accuracy(activity, "context"))


def test_an_index_on_trials_does_not_matter(activity):
    indexed = activity.assign_coords(trial=np.arange(6) + 10)
    xr.testing.assert_identical(accuracy(indexed, "context"), accuracy(activity, "context"))


def test_choice_probability(activity):
    result = choice_probability(activity, by="context")
    assert result["probability"].dims == ("context", "choice")
    np.testing.assert_array_equal(result["choice"], [0, 1, 2])
    np.testing.assert_allclose(result["probability"].sel(context="motion"), [1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(result["probability"].sel(context="color"), [0, 0, 1])
    np.testing.assert_array_equal(result["n_without_choice"].sel(context=["motion", "color"]), [1, 0])
    lower, upper = wilson_interval([1, 2, 0], 3)
    np.testing.assert_allclose(result["probability_lower"].sel(context="motion"), lower)
    np.testing.assert_allclose(result["probability_upper"].sel(context="motion"), upper)


def test_choice_probabilities_sum_to_1_or_are_nan(activity):
    result = choice_probability(activity, by=["context", "coherence"])
    total = result["probability"].sum("choice", skipna=False)
    # (motion, 0.1) has one trial, which made no choice; (color, 0.5) has none.
    xr.testing.assert_equal(total.isnull(), result["n_trials"] == 0)
    np.testing.assert_allclose(total.values[~np.isnan(total.values)], 1)
    assert result["n_without_choice"].sum() == 1


def test_choice_probability_over_all_trials(activity):
    result = choice_probability(activity)
    assert result["probability"].dims == ("choice",)
    np.testing.assert_allclose(result["probability"], [0.2, 0.4, 0.4])


def test_without_any_choice_there_is_no_probability():
    result = choice_probability(make_activity(choice=[-1, -1], coherence=[0.0, 1.0]), "coherence")
    assert result["probability"].shape == (2, 0)
    assert result["n_without_choice"].sum() == 2


def test_results_survive_netcdf(activity, tmp_path):
    for number, result in enumerate(
        [accuracy(activity, ["context", "coherence"]), choice_probability(activity, "context")]
    ):
        path = tmp_path / f"{number}.nc"
        result.to_netcdf(path, engine="h5netcdf")
        with xr.open_dataset(path, engine="h5netcdf") as read:
            xr.testing.assert_equal(read.load(), result)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda a: accuracy(a.rename(score="scores")), "`activity` has no variable 'score'"),
        (lambda a: accuracy(a, by="contxt"), "did you mean 'context'?"),
        (
            lambda a: accuracy(a, by=["context", "context"]),
            "`by` must name each coordinate once, got ['context'",
        ),
        (
            lambda a: accuracy(a.isel(trial=[])),
            "`activity` must have trials, got 0 along 'trial': record some",
        ),
        (lambda a: accuracy(a.isel(trial=0)), "`activity` needs dimension 'trial'"),
        (lambda a: accuracy(a["score"]), "`activity` must be an xarray Dataset, got DataArray"),
        (
            lambda a: accuracy(a.assign_coords(score=("trial", [1, 0, np.nan, 1, 1, 1]))),
            "`score` must be finite, got nan at index (2,)",
        ),
        (
            lambda a: accuracy(a.assign_coords(score=("trial", list("abcdef")))),
            "'score' must hold numbers, got dtype <U1: give each trial a score",
        ),
        (
            lambda a: accuracy(a.assign_coords(time=("time", [0.0, 1.0])), by="time"),
            "'time' must have one value per trial, got dimensions ('time',): choose a coordinate on 'trial'",
        ),
        (lambda a: accuracy(a, confidence=95), "`confidence` must be a number between 0 and 1, got 95"),
        (lambda a: choice_probability(a, "choice"), "`by` must name conditions other than the choice"),
        (
            lambda a: choice_probability(a, choice="score"),
            "'score' must hold whole numbers, got dtype float64: number the choices from 0, with -1 for none",
        ),
        (
            lambda a: choice_probability(a.assign_coords(choice=a["choice"] - 1)),
            "'choice' must be at least -1, got -2: number the choices from 0",
        ),
    ],
)
def test_mistakes_are_told(activity, call, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        call(activity)
