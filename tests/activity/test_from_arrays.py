import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn as nr
from neurornn import InputError, RateRNN, activity_from_arrays, record
from neurornn.tasks import PerceptualDecisionMaking

RNG = np.random.default_rng(0)
RATE = RNG.random((6, 10, 4))


@pytest.mark.parametrize("order", list(itertools.permutations(("trial", "time", "unit"))))
def test_axes_come_in_any_order(order):
    wanted = activity_from_arrays(RATE, dt=20.0)
    turned = RATE.transpose([("trial", "time", "unit").index(name) for name in order])
    xr.testing.assert_identical(activity_from_arrays(turned, order, dt=20.0), wanted)
    named = xr.DataArray(turned, dims=order)
    xr.testing.assert_identical(activity_from_arrays(named, dt=20.0), wanted)
    assert wanted.rate.dims == ("trial", "time", "unit")
    np.testing.assert_array_equal(wanted.rate, RATE)


def test_it_has_the_layout_of_a_recording():
    activity = activity_from_arrays(
        RATE.astype("f4"),
        time=np.arange(10) * 20.0 - 100,
        conditions={"coherence": np.repeat([0.0, 0.5], 3), "cue": list("ababab"), "late": [True, False] * 3},
        inputs=RATE[..., :2],
        outputs=RATE[..., 0],
        unit_labels={"area": ["V1", "V1", "PFC", "PFC"]},
        epochs={"stimulus": (-100, 0), "go": (0, 100)},
    )
    ours = record(RateRNN(3, 4, 3), PerceptualDecisionMaking(), 6)
    for name in ("rate", "valid", "input", "output"):
        assert activity[name].dims == ours[name].dims
        assert activity[name].dtype == ours[name].dtype or name in ("input", "output")
    assert activity.time.attrs == ours.time.attrs
    assert activity.rate.attrs == ours.rate.attrs
    assert activity.epoch.values.tolist() == ["stimulus"] * 5 + ["go"] * 5
    assert activity.input_channel.values.tolist() == ["input_0", "input_1"]
    assert activity.output_channel.values.tolist() == ["output_0"]
    assert activity.cue.dtype.kind == "U"
    assert activity.late.dtype == bool
    origin = json.loads(activity.attrs["neurornn"])
    assert origin["recording"] == {"source": "arrays", "n_trials": 6}
    assert set(activity.attrs) == set(ours.attrs)


@pytest.mark.parametrize(
    ("rate", "dtype"),
    [
        (RATE.astype("f4"), "f4"),
        (RATE, "f8"),
        (RATE > 0.5, "f8"),
        ((10 * RATE).astype("u2"), "f8"),
        (RATE.astype(">f8"), "f8"),
        (torch.from_numpy(RATE).float().requires_grad_(), "f4"),
        (RATE.tolist(), "f8"),
    ],
)
def test_numbers_of_any_kind_are_rates(rate, dtype):
    activity = activity_from_arrays(rate, dt=20.0)
    assert activity.rate.dtype == np.dtype(dtype)
    wanted = rate.detach() if isinstance(rate, torch.Tensor) else rate
    np.testing.assert_array_equal(activity.rate, np.asarray(wanted, dtype))


def test_without_trials_there_is_one():
    activity = activity_from_arrays(RATE[0].T, ("unit", "time"), dt=20.0)
    np.testing.assert_array_equal(activity.rate, RATE[:1])


@given(
    st.integers(0, 2**32), st.lists(st.integers(0, 6), min_size=1, max_size=5), st.booleans(), st.booleans()
)
@settings(max_examples=40)
def test_trials_of_unequal_length_are_padded(seed, lengths, unit_first, as_objects):
    if max(lengths) == 0:
        return
    rng = np.random.default_rng(seed)
    trials = [rng.random((n, 3)) for n in lengths]
    came = [own.T for own in trials] if unit_first else trials
    if as_objects and len(set(lengths)) > 1:
        array = np.empty(len(came), object)
        array[:] = came
        came = array
    dims = ("unit", "time") if unit_first else ("trial", "time", "unit")
    activity = activity_from_arrays(came, dims, dt=20.0, inputs=[own[:, :1] for own in trials])
    assert activity.rate.shape == (len(lengths), max(lengths), 3)
    for k, (own, n) in enumerate(zip(trials, lengths, strict=True)):
        np.testing.assert_array_equal(activity.rate[k, :n], own)
        np.testing.assert_array_equal(activity.input[k, :n, 0], own[:, 0])
        assert activity.rate[k, n:].isnull().all()
        np.testing.assert_array_equal(activity.valid[k], np.arange(max(lengths)) < n)
    # Arrays that are padded with NaN already say the same.
    xr.testing.assert_identical(activity_from_arrays(activity.rate.values, dt=20.0).valid, activity.valid)


def test_what_does_not_exist_may_hold_anything():
    valid = np.arange(10) < np.array([10, 5, 3, 10, 1, 9])[:, None]
    spoiled = np.where(valid[..., None], RATE, np.inf)
    activity = activity_from_arrays(spoiled, dt=20.0, valid=valid, inputs=spoiled)
    np.testing.assert_array_equal(activity.valid, valid)
    np.testing.assert_allclose(
        nr.analysis.pca(activity).explained_variance,
        nr.analysis.pca(activity_from_arrays(RATE, dt=20.0, valid=valid)).explained_variance,
    )


def test_epochs_of_each_trial_are_told_by_their_bounds():
    start = np.array([0.0, 20, 40, 60, np.nan, 0])
    activity = activity_from_arrays(RATE, dt=20.0, epochs={"delay": (start, start + 60), "go": (100, 200)})
    np.testing.assert_array_equal(activity.delay_start, start)
    np.testing.assert_array_equal(activity.go_stop, [200] * 6)
    delay = nr.epoch(activity, "delay")
    for k in (0, 1, 2, 3, 5):
        np.testing.assert_array_equal(delay.rate[k], RATE[k, int(start[k] / 20) : int(start[k] / 20) + 3])
    assert not delay.valid[4].any()
    overlapping = activity_from_arrays(RATE, dt=20.0, epochs={"cue": (0, 60), "delay": (40, 100)})
    assert nr.epoch(overlapping, "cue").sizes["time"] == nr.epoch(overlapping, "delay").sizes["time"] == 3


def test_every_analysis_takes_it(tmp_path):
    rng = np.random.default_rng(1)
    coherence = np.repeat([-0.5, -0.1, 0.1, 0.5], 50)
    choice = (rng.random(200) < 1 / (1 + np.exp(-8 * coherence))).astype(int)
    lengths = rng.integers(15, 31, 200)
    trials = [rng.random((n, 8)) + coherence[k] for k, n in enumerate(lengths)]
    activity = activity_from_arrays(
        trials,
        time=np.arange(lengths.max()) * 25.0,
        conditions=pd.DataFrame(
            {
                "signed_coherence": coherence,
                "choice": choice,
                "score": (choice == (coherence > 0)).astype(float),
                "reaction_time": lengths * 25.0 - 30,
                "animal": ["A", "B"] * 100,
            }
        ),
        unit_labels={"area": np.repeat(["LIP", "FEF"], 4), "population": ["excitatory", "inhibitory"] * 4},
        epochs={"fixation": (0, 100), "stimulus": (100, lengths * 25.0)},
    )
    analysis = nr.analysis
    assert analysis.pca(activity, 2).attrs["n_samples"] == lengths.sum()
    assert analysis.project(activity, analysis.pca(activity, 2)).score.sizes["component"] == 2
    assert analysis.svd(activity).sizes["mode"] == 8
    assert analysis.accuracy(activity, "animal").accuracy.min() > 0.7
    assert analysis.choice_probability(activity, "signed_coherence").probability.shape == (4, 2)
    assert analysis.psychometric(activity, stimulus="signed_coherence").sizes
    averages = nr.condition_average(activity, ["signed_coherence", "choice"])
    assert averages.sizes["condition"] == len(set(zip(coherence, choice, strict=True)))
    around = nr.align(activity, "reaction_time", before=200, after=25)
    assert around.valid.all()
    assert nr.population(around, "excitatory", area="LIP").sizes["unit"] == 2
    assert nr.plots.plot_activity_heatmap(activity) is not None
    nr.save(activity, tmp_path / "activity.nc")
    xr.testing.assert_equal(nr.load(tmp_path / "activity.nc"), activity)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"dims": ("trial", "time", "neuron")},
            r"'trial', 'time' and 'unit', got 'neuron': did you mean 'unit'\?",
        ),
        ({"dims": ("trials", "time", "unit")}, r"got 'trials': did you mean 'trial'\?"),
        ({"dims": ("trial", "timme", "unit")}, r"got 'timme': did you mean 'time'\?"),
        ({"dims": ("trial", "time", "unit", "cell")}, r"got 'cell': average over it or select from it first"),
        ({"dims": ("trial", "time")}, r"`dims` needs 'time' and 'unit', got \('trial', 'time'\)"),
        ({"dims": ("time", "unit")}, r"`rate` has 3 axes, of shape \(6, 10, 4\), and `dims` names 2"),
        ({"dims": ("time", "time", "unit")}, r"`dims` must name each axis once"),
        (
            {"dims": "unit"},
            r"`dims` must be a sequence of names such as \('trial', 'time', 'unit'\), got 'unit'",
        ),
        ({"rate": RATE * 1j}, r"`rate` must hold real numbers, got complex128"),
        ({"rate": [[1, 2], [3]]}, r"`rate` must be an array of numbers"),
        ({"rate": RATE[:0]}, r"`rate` is empty: it has size 0 along 'trial'"),
        ({"rate": [np.ones((2, 3)), np.ones((2, 4))]}, r"must have the same units, got \[3, 4\]"),
        (
            {"rate": [np.ones((2, 3)), np.ones(2)]},
            r"must have the axes \('time', 'unit'\), got shape \(2,\) in tr",
        ),
        ({"rate": [np.ones((0, 3))]}, r"`rate` is empty: no trial has a step and a unit"),
        ({"dt": None}, r"give `time`, .* or `dt`, its length in ms; got neither"),
        ({"time": np.arange(10)}, r"give `time`, .* or `dt`, its length in ms; got both"),
        ({"dt": 0}, r"`dt` must be a positive number of ms, got 0"),
        ({"dt": None, "time": np.arange(9)}, r"one moment for each of 10 steps, got shape \(9,\)"),
        (
            {"dt": None, "time": np.arange(10) ** 2},
            r"evenly spaced and ascending, in ms, got steps of 1 to 17",
        ),
        ({"dt": None, "time": -np.arange(10)}, r"evenly spaced and ascending"),
        ({"dt": None, "time": np.full(10, np.nan)}, r"`time` must be finite"),
        (
            {"valid": np.ones((6, 9), bool)},
            r"booleans of shape \(trial, time\) = \(6, 10\), got bool of \(6, 9\)",
        ),
        ({"valid": np.ones((6, 10))}, r"`valid` must be booleans .* got float64 of \(6, 10\)"),
        (
            {"rate": np.where(np.arange(4) == 2, np.nan, RATE)},
            r"must be finite, got nan in trial 0 at step 0 of unit 2: leave the unit or the trial out",
        ),
        ({"conditions": {"rate": np.ones(6)}}, r"`conditions` cannot have 'rate', a name that datasets use"),
        ({"conditions": {"cue": np.ones(5)}}, r"one value per trial, 6 in all, got \(5,\) for 'cue'"),
        ({"conditions": {"cue": [None] * 6}}, r"got object for 'cue': replace what is missing"),
        (
            {"conditions": {"choice": np.ones(6)}},
            r"'choice' among the `conditions` must be whole numbers, -1",
        ),
        (
            {"conditions": {"score": list("abcdef")}},
            r"'score' among the `conditions` must be numbers, got <U1",
        ),
        ({"unit_labels": {"area": ["V1"]}}, r"one value per unit, 4 in all, got \(1,\) for 'area'"),
        ({"unit_labels": {"score": np.ones(4)}}, r"`unit_labels` cannot have 'score'"),
        ({"epochs": {"go": 3}}, r"epoch 'go' must be \(start, stop\) in ms, got 3"),
        ({"epochs": {"go": (0, "x")}}, r"epoch 'go' must be \(start, stop\) in ms"),
        ({"epochs": {"go": (0, [1, 2])}}, r"epoch 'go' must be .*, each a number or one per trial"),
        ({"epochs": {"go": (5, 2)}}, r"epoch 'go' must end after it begins, got \(5, 2\)"),
        (
            {"epochs": {"go": (0, np.ones(6))}, "conditions": {"go_stop": np.ones(6)}},
            r"`epochs` make a coordinate 'go_stop', which is there already",
        ),
        (
            {"inputs": np.ones((6, 9, 2))},
            r"`inputs` must have shape \(trial, time, channel\) = \(6, 10, ...\)",
        ),
        ({"outputs": np.full((6, 10, 1), np.nan)}, r"`outputs` must be finite where the rates are, got NaN"),
        ({"inputs": [np.ones((11, 1))] * 6}, r"`inputs` must be one array \(time, channel\) for each trial"),
        ({"inputs": np.ones((6, 10), "U1")}, r"`inputs` must hold real numbers, got <U1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, sentence):
    with pytest.raises(InputError, match=sentence):
        activity_from_arrays(**{"rate": RATE, "dt": 20.0, **given})
