import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn as nr
from neurornn import InputError, RateRNN, condition_average, record
from neurornn.activity.conditions import group_deviations, group_means
from neurornn.tasks import DelayedComparison, PerceptualDecisionMaking


@pytest.fixture(scope="module")
def activity():
    rng = np.random.default_rng(0)
    valid = np.arange(8) < rng.integers(3, 9, 30)[:, None]
    return xr.Dataset(
        {
            "rate": (("trial", "time", "unit"), rng.standard_normal((30, 8, 4)).astype("f4")),
            "output": (("trial", "time", "output_channel"), rng.standard_normal((30, 8, 2))),
            "valid": (("trial", "time"), valid),
        },
        coords={
            "time": ("time", np.arange(8) * 20.0, {"units": "ms"}),
            "unit": np.arange(4),
            "coherence": ("trial", rng.choice([0.0, 6.4, 12.8], 30)),
            "cue": ("trial", rng.choice(["left", "right"], 30)),
        },
    )


def loop(activity, name, chosen):
    """Average variable over the chosen trials, one step and one channel at a time, valid steps only."""
    values, valid = activity[name].values, activity.valid.values
    result = np.full(values.shape[1:], np.nan)
    for t in range(values.shape[1]):
        for u in range(values.shape[2]):
            there = [float(values[k, t, u]) for k in chosen if valid[k, t]]
            if there:
                result[t, u] = np.mean(there)
    return result


@pytest.mark.parametrize("by", [["cue"], ["coherence", "cue"]])
def test_averages_are_those_of_a_loop_over_valid_steps(activity, by):
    averages = condition_average(activity, by)
    assert averages.rate.dims == ("condition", "time", "unit")
    assert averages.output.dims == ("condition", "time", "output_channel")
    columns = [activity[name].values for name in by]
    kinds = sorted(set(zip(*columns, strict=True)))
    assert averages.sizes["condition"] == len(kinds)
    for c, kind in enumerate(kinds):
        chosen = [
            k for k in range(30) if all(column[k] == v for column, v in zip(columns, kind, strict=True))
        ]
        assert int(averages.n_trials[c]) == len(chosen)
        for name in ("rate", "output"):
            np.testing.assert_allclose(averages[name][c], loop(activity, name, chosen), rtol=1e-6)


def test_conditions_are_labelled_and_their_values_stand_beside(activity):
    averages = condition_average(activity, ["coherence", "cue"])
    assert averages.condition.values[0] == "coherence=0.0, cue=left"
    np.testing.assert_array_equal(averages.coherence, np.repeat([0, 6.4, 12.8], 2))
    assert averages.cue.dims == ("condition",)
    assert averages.condition.attrs == {"by": "coherence, cue"}
    np.testing.assert_array_equal(averages.time, activity.time)
    assert averages.time.attrs["units"] == "ms"
    xr.testing.assert_identical(condition_average(activity, "cue"), condition_average(activity, ["cue"]))


def test_a_step_that_no_trial_has_is_nan(activity):
    valid = activity.valid.where(activity.time < 100, False)
    averages = condition_average(activity.assign(valid=valid), "cue")
    assert averages.rate.sel(time=slice(100, None)).isnull().all()
    assert averages.rate.sel(time=slice(0, 40)).notnull().all()


def test_what_stands_in_padded_steps_does_not_matter(activity):
    spoiled = activity.rate.where(activity.valid, np.nan)
    averages = condition_average(activity.assign(rate=spoiled), "cue")
    xr.testing.assert_identical(averages, condition_average(activity, "cue"))


def test_without_a_valid_variable_every_step_counts(activity):
    averages = condition_average(activity.drop_vars(["valid", "output"]), "cue")
    theirs = activity.rate.groupby("cue").mean().transpose("cue", "time", "unit")
    np.testing.assert_allclose(averages.rate, theirs, rtol=1e-5)
    assert "output" not in averages


def test_a_padded_recording_is_averaged():
    task = DelayedComparison()
    activity = record(RateRNN(2, 5, 3), task, 60)
    averages = condition_average(activity, "delay_duration")
    delays = averages.delay_duration.values
    last = averages.rate.notnull().all("unit").sum("time").values
    np.testing.assert_array_equal(last, 16 + delays / 100)


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("coherance", r"`activity` has no variable 'coherance'.*did you mean 'coherence'\?"),
        ("unit", r"`by` needs coordinates on 'trial' alone, got 'unit' on \('unit',\)"),
        ("valid", r"`by` needs coordinates on 'trial' alone, got 'valid'"),
        ([], "`by` needs at least one coordinate on 'trial', got none"),
    ],
)
def test_a_condition_that_is_none_is_refused(activity, by, sentence):
    with pytest.raises(InputError, match=sentence):
        condition_average(activity, by)


def test_the_dimension_to_rename_is_named(activity):
    with pytest.raises(InputError, match=r"needs dimension 'trial', got .*'epoch'.*rename\(epoch='trial'\)"):
        condition_average(
            activity[["output"]].rename(trial="epoch", output_channel="time2").isel(time2=0), "cue"
        )


@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(0, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=60)
def test_means_and_deviations_of_groups_are_those_of_a_loop(seed, n_trials, n_steps, n_groups, padded):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n_trials, n_steps, 2)).astype(rng.choice(["f4", "f8"]))
    group = rng.integers(0, n_groups, n_trials)
    valid = rng.random((n_trials, n_steps)) < 0.7 if padded else None
    there = np.ones((n_trials, n_steps), bool) if valid is None else valid
    values[~there] = np.nan
    mean, count = group_means(values, group, n_groups, valid)
    deviation = group_deviations(values, group, mean, count, valid)
    assert mean.dtype == deviation.dtype == np.float64
    for g in range(n_groups):
        for t in range(n_steps):
            chosen = values[(group == g) & there[:, t], t].astype(float)
            assert count[g, t] == len(chosen)
            wanted = chosen.mean(0) if len(chosen) else [np.nan] * 2
            np.testing.assert_allclose(mean[g, t], wanted, rtol=1e-12, atol=1e-15)
            spread = chosen.std(0, ddof=1) if len(chosen) > 1 else [np.nan] * 2
            np.testing.assert_allclose(deviation[g, t], spread, rtol=1e-9, atol=1e-12)


def test_a_bad_number_spoils_its_own_condition_only(activity):
    rate = activity.rate.copy()
    rate[0, 0, 0] = np.inf
    averages = condition_average(activity.assign(rate=rate), "cue")
    other = averages.rate.sel(condition=f"cue={'left' if activity.cue[0] == 'right' else 'right'}")
    assert np.isfinite(other[0]).all()
    assert np.isinf(averages.rate.sel(condition=f"cue={activity.cue.item(0)}")[0, 0])


@pytest.mark.parametrize("spread", ["standard_deviation", "standard_error"])
def test_spread_over_trials(activity, spread):
    averages = condition_average(activity, "cue", spread=spread)
    valid = activity.where(activity.valid)
    theirs = valid[["rate", "output"]].astype(float).groupby("cue").std(ddof=1)
    if spread == "standard_error":
        count = activity.valid.groupby("cue").sum()
        theirs = theirs / np.sqrt(count)
    for name in ("rate", "output"):
        own = averages[f"{name}_{spread}"]
        np.testing.assert_allclose(own, theirs[name].transpose("cue", "time", ...), rtol=1e-10)
        assert own.attrs["long_name"].startswith(spread.replace("_", " "))


def test_of_one_trial_there_is_no_spread(activity):
    averages = condition_average(activity.isel(trial=[0]), "cue", spread="standard_error")
    assert averages.rate_standard_error.isnull().all()
    assert averages.rate[0, 0].notnull().all()


def test_how_many_trials_have_each_step(activity):
    averages = condition_average(activity, "cue")
    np.testing.assert_array_equal(averages.n_valid, activity.valid.groupby("cue").sum())
    xr.testing.assert_equal(
        averages.valid.reset_coords(drop=True), (averages.n_valid > 0).reset_coords(drop=True)
    )
    assert averages.n_valid[:, 0].sum() == averages.n_trials.sum() == 30


def test_any_numbers_on_trials_are_averaged():
    activity = record(
        RateRNN(3, 5, 3, dynamics="current", tau=100.0, dt=100.0), PerceptualDecisionMaking(), 30
    )
    averages = condition_average(activity, "coherence", variables=["state", "input", "score", "target"])
    by = activity.reset_coords("score")[["state", "input", "score", "target"]].groupby("coherence").mean()
    for name in ("state", "input", "score", "target"):
        np.testing.assert_allclose(averages[name], by[name].transpose("coherence", ...), rtol=1e-5, atol=1e-6)
    assert "rate" not in averages
    assert averages.state.dims == ("condition", "time", "state_variable")
    np.testing.assert_array_equal(averages.quantity, activity.quantity)
    np.testing.assert_array_equal(condition_average(activity, "coherence", variables="score").score, by.score)


def test_labels_and_origin_are_kept():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 40)
    averages = condition_average(activity, ["delay_duration"])
    assert averages.attrs == activity.attrs
    assert averages.rate.attrs == activity.rate.attrs
    xr.testing.assert_identical(averages.unit, activity.unit)
    xr.testing.assert_identical(averages.output_channel, activity.output_channel)
    xr.testing.assert_identical(averages.parameter_bias, activity.parameter_bias)
    # All trials with one delay have the same bounds, but not the same choice.
    assert averages.delay_stop.dims == ("condition",)
    np.testing.assert_array_equal(averages.delay_stop - averages.delay_start, averages.delay_duration)
    assert averages.delay_stop.attrs["units"] == "ms"
    assert "score" not in averages.coords
    assert "trial" not in averages.dims


def test_averages_of_padded_trials_are_analysed_and_stored(tmp_path):
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 40)
    averages = condition_average(activity, "delay_duration")
    pcs = nr.analysis.pca(averages, 2)
    assert pcs.attrs["n_samples"] == int(averages.valid.sum()) < averages.valid.size
    nr.save(averages, tmp_path / "averages.nc")
    xr.testing.assert_equal(nr.load(tmp_path / "averages.nc"), averages)


def test_many_conditions_do_not_overflow():
    rng = np.random.default_rng(0)
    names = [f"c{k}" for k in range(12)]
    coords = {name: ("trial", rng.permutation(300)) for name in names}
    activity = xr.Dataset({"rate": (("trial", "time", "unit"), rng.random((300, 2, 1)))}, coords)
    averages = condition_average(activity, names)
    assert averages.sizes["condition"] == 300
    order = np.argsort(activity.c0.values)
    np.testing.assert_array_equal(averages.rate, activity.rate[order])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"variables": []}, "`variables` needs at least one name, got none"),
        ({"variables": "rates"}, r"has no variable 'rates'.*did you mean 'rate'\?"),
        ({"variables": "unit"}, r"`variables` needs numbers on 'trial', got 'unit', which is int64 on"),
        ({"variables": "valid"}, r"`variables` needs numbers on 'trial', got 'valid'"),
        ({"spread": "sem"}, r"unknown spread 'sem': expected one of 'standard_deviation', 'standard_error'"),
    ],
)
def test_what_cannot_be_averaged_is_refused(activity, options, sentence):
    with pytest.raises(InputError, match=sentence):
        condition_average(activity, "cue", **options)


def test_nothing_to_average_is_refused(activity):
    with pytest.raises(InputError, match="has neither 'rate' nor 'output': say what"):
        condition_average(activity.drop_vars(["rate", "output"]), "cue")
    with pytest.raises(InputError, match="must have trials, got 0 along 'trial'"):
        condition_average(activity.isel(trial=slice(0, 0)), "cue")
