import numpy as np
import pytest
import xarray as xr

from neurornn import InputError, RateRNN, condition_average, record
from neurornn.tasks import DelayedComparison


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
