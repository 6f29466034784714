from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn as nr
from neurornn import InputError, RateRNN, align, epoch, record
from neurornn.tasks import DelayedComparison, FlipFlop, PerceptualDecisionMaking


def dataset(rng, n_trials, n_steps, dt, begin=0.0, *, valid=True, layout="trial first"):
    """Make a recording with two epochs that differ between trials and may be empty, and padded trials."""
    time = begin + np.arange(n_steps) * dt
    edges = np.sort(rng.integers(0, n_steps + 1, (n_trials, 4)), axis=1) * dt + begin
    edges[rng.random(n_trials) < 0.2, 2:] = np.nan
    rate = rng.standard_normal((n_trials, n_steps, 3)).astype("f4")
    dims = ("trial", "time", "unit")
    if layout == "time first":
        rate, dims = rate.transpose(1, 2, 0).copy(), ("time", "unit", "trial")
    variables = {
        "rate": (dims, rate, {"long_name": "firing rate"}),
        "target": (("trial", "time"), rng.integers(0, 9, (n_trials, n_steps))),
        "mask": (("trial", "time"), rng.random((n_trials, n_steps))),
        "stimulus": ("time", rng.standard_normal(n_steps)),
        "parameter_bias": ("unit", rng.standard_normal(3)),
    }
    if valid:
        lengths = rng.integers(0, n_steps + 1, n_trials)
        variables["valid"] = ("trial", "time"), np.arange(n_steps) < lengths[:, None]
    answer = np.where(rng.random(n_trials) < 0.3, np.nan, begin + n_steps * dt * rng.random(n_trials))
    coordinates = {
        "time": ("time", time, {"units": "ms"}),
        "unit": np.arange(3),
        "coherence": ("trial", rng.random(n_trials)),
        "answer": ("trial", answer),
    }
    for k, name in enumerate(("sample", "go")):
        for side in (0, 1):
            own = edges[:, 2 * k + side]
            coordinates[f"{name}_{('start', 'stop')[side]}"] = "trial", own, {"units": "ms"}
    return xr.Dataset(variables, coordinates, {"neurornn": "{}"})


@st.composite
def datasets(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return dataset(
        rng,
        draw(st.integers(1, 5)),
        draw(st.integers(2, 12)),
        draw(st.sampled_from([0.1, 1.0, 20.0, 100 / 3])),
        draw(st.sampled_from([0.0, -300.0])),
        valid=draw(st.booleans()),
        layout=draw(st.sampled_from(["trial first", "time first"])),
    )


def exists(activity):
    shape = activity.sizes["trial"], activity.sizes["time"]
    return activity.valid.values if "valid" in activity else np.ones(shape, bool)


def expected(activity, name, steps):
    """Return a variable cut to the steps of each trial (None where there is none), one number at a time."""
    values = activity[name].transpose("trial", "time", ...).values
    missing = 0 if name in ("target", "mask") else np.nan
    result = np.full((len(steps), len(steps[0]), *values.shape[2:]), missing, values.dtype)
    there = np.zeros(result.shape[:2], bool)
    for k, own in enumerate(steps):
        for j, step in enumerate(own):
            if step is not None and exists(activity)[k, step]:
                result[k, j] = values[k, step]
                there[k, j] = True
    return result, there


def compare(result, activity, steps):
    for name in ("rate", "target", "mask"):
        values, there = expected(activity, name, steps)
        own = result[name].transpose("trial", "time", ...)
        np.testing.assert_array_equal(own.values, values)
        assert own.dtype == activity[name].dtype
        assert result[name].dims == activity[name].dims
        assert result[name].attrs == activity[name].attrs
        np.testing.assert_array_equal(result.valid if "valid" in result else np.ones_like(there), there)
    # What stood on time alone is each trial's own now, where the trials are moved apart.
    stimulus = result.stimulus.broadcast_like(result.mask).transpose("trial", "time").values
    for k, own in enumerate(steps):
        for j, step in enumerate(own):
            if step is not None and there[k, j]:
                assert stimulus[k, j] == activity.stimulus.values[step]
    xr.testing.assert_identical(result.parameter_bias, activity.parameter_bias)
    xr.testing.assert_identical(result.coherence.variable, activity.coherence.variable)
    assert result.attrs == activity.attrs
    assert result.time.attrs["units"] == "ms"


@given(datasets(), st.sampled_from([["sample"], ["go"], ["sample", "go"], ["go", "sample"]]))
@settings(max_examples=60)
def test_an_epoch_is_what_a_loop_over_trials_finds(activity, names):
    time = activity.time.values
    bounds = [(activity[f"{name}_start"].values, activity[f"{name}_stop"].values) for name in names]
    inside = [
        [any(start[k] - 1e-6 <= t < stop[k] - 1e-6 for start, stop in bounds) for t in time]
        for k in range(activity.sizes["trial"])
    ]
    if not np.any(inside):
        with pytest.raises(InputError, match="no trial has a step of"):
            epoch(activity, names)
        return
    result = epoch(activity, names)
    places = [np.flatnonzero(own) for own in inside]
    longest = max(own[-1] - own[0] + 1 for own in places if len(own))
    steps = [[None] * longest for _ in places]
    for k, own in enumerate(places):
        for step in own:
            steps[k][step - own[0]] = step
    compare(result, activity, steps)
    np.testing.assert_allclose(result.time, np.arange(longest) * (time[1] - time[0]), atol=1e-9)
    begins = [time[own[0]] if len(own) else np.nan for own in places]
    np.testing.assert_array_equal(result.time_offset, begins)
    for name in ("sample", "go"):
        np.testing.assert_allclose(result[f"{name}_start"], activity[f"{name}_start"] - begins, atol=1e-9)


@given(
    datasets(),
    st.sampled_from(["sample", "go", "go_stop", "sample_start", "answer"]),
    st.none() | st.integers(-2, 14),
    st.none() | st.integers(-2, 14),
)
@settings(max_examples=80)
def test_alignment_is_what_a_loop_over_trials_finds(activity, to, before, after):
    time = activity.time.values
    n_steps, dt = len(time), time[1] - time[0]
    events = activity[f"{to}_start" if to in ("sample", "go") else to].values
    if to in ("sample", "go"):
        events = np.where(activity[f"{to}_stop"] > events, events, np.nan)
    index = [None if np.isnan(event) else int(np.floor((event - time[0]) / dt + 1e-6)) for event in events]
    index = [None if own is None or not 0 <= own <= n_steps else own for own in index]
    there = exists(activity)
    own_steps = [
        (i, np.flatnonzero(there[k])) for k, i in enumerate(index) if i is not None and there[k].any()
    ]
    reach = [
        max([0, *(i - steps[0] for i, steps in own_steps)]),
        max([0, *(steps[-1] + 1 - i for i, steps in own_steps)]),
    ]
    n_before, n_after = (own if n is None else n for own, n in zip(reach, (before, after), strict=True))
    window = {"before": before, "after": after}
    window = {side: None if n is None else n * dt for side, n in window.items()}
    if all(own is None for own in index):
        with pytest.raises(InputError, match="no trial has the event"):
            align(activity, to, **window)
        return
    if n_before + n_after < 1:
        with pytest.raises(InputError, match="no step is left"):
            align(activity, to, **window)
        return
    result = align(activity, to, **window)
    offsets = range(-n_before, n_after)
    steps = [[i + j if i is not None and 0 <= i + j < n_steps else None for j in offsets] for i in index]
    compare(result, activity, steps)
    np.testing.assert_allclose(result.time, np.array(offsets) * dt, atol=1e-9)
    moments = [np.nan if i is None else time[0] + i * dt for i in index]
    np.testing.assert_allclose(result.time_offset, moments, atol=1e-9)
    np.testing.assert_allclose(result.go_stop, activity.go_stop - moments, atol=1e-9)


@given(datasets())
@settings(max_examples=50)
def test_cutting_and_aligning_may_follow_each_other(activity):
    lasts = activity.sample_stop > activity.sample_start
    try:
        both = align(epoch(activity, "sample"), "sample_stop", after=0)
    except InputError:
        # No trial has such a step, or none has more than one.
        return
    direct = align(activity.assign_coords(end=activity.sample_stop.where(lasts)), "end", after=0)
    np.testing.assert_allclose(both.time_offset, direct.time_offset, atol=1e-9)
    step = float(activity.time[1] - activity.time[0])
    for k in np.flatnonzero(lasts):
        n_steps = round(float(activity.sample_stop[k] - activity.sample_start[k]) / step)
        one, two = (own.rate.isel(trial=k).transpose("time", "unit").values for own in (both, direct))
        kept = min(n_steps, len(one), len(two))
        np.testing.assert_array_equal(one[len(one) - kept :], two[len(two) - kept :])
        # Where one of them has more steps than the other, none of those is valid.
        assert np.isnan(one[: len(one) - kept]).all()


def test_a_moment_of_ones_own_is_one_of_the_recording_however_often_it_was_aligned():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 20)
    activity = activity.assign_coords(answer=activity.response_start + 30.0)
    direct = align(activity, "answer", before=300, after=100)
    twice = align(align(activity, "delay"), "answer", before=300, after=100)
    # The sums of the moments are rounded in another order.
    xr.testing.assert_allclose(twice, direct)
    assert float(direct.time.sel(time=0)) == 0
    np.testing.assert_array_equal(direct.time_offset, activity.response_start)


def test_shared_epochs_are_a_plain_choice_of_steps_and_a_view():
    activity = record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 8)
    chosen = epoch(activity, "stimulus")
    xr.testing.assert_identical(chosen, activity.isel(time=(activity.epoch == "stimulus").values))
    assert np.shares_memory(chosen.rate.values, activity.rate.values)
    aligned = align(activity, "stimulus", before=100, after=2000)
    assert np.shares_memory(aligned.rate.values, activity.rate.values)
    np.testing.assert_array_equal(aligned.time, np.arange(-100.0, 2000, 100))
    np.testing.assert_array_equal(aligned.time_offset, np.full(8, 100.0))
    assert aligned.epoch.values.tolist() == ["fixation"] + ["stimulus"] * 20
    assert aligned.time.attrs == {"units": "ms", "long_name": "start of the step, from stimulus"}
    assert activity.time[0] == 0


def test_between_two_shared_epochs_nothing_is_valid():
    activity = record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 8)
    both = epoch(activity, ["fixation", "response"])
    np.testing.assert_array_equal(both.valid.all("trial"), [True] + [False] * 20 + [True])
    assert both.rate.isel(time=slice(1, -1)).isnull().all()
    xr.testing.assert_identical(both.rate[:, [0, -1]], activity.rate[:, [0, -1]])
    assert activity.rate.notnull().all()
    pcs = nr.analysis.pca(both)
    assert pcs.attrs["n_samples"] == 16


def test_beyond_the_recording_there_is_nothing():
    activity = record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 4)
    around = align(activity, "response_stop", before=200, after=200)
    np.testing.assert_array_equal(around.valid, np.tile([True, True, False, False], (4, 1)))
    assert around.epoch.values.tolist() == ["stimulus", "response", "", ""]
    assert (around.mask[:, 2:] == 0).all()
    assert around.mask.dtype == activity.mask.dtype
    assert around.target.dtype == activity.target.dtype


def test_trials_moved_apart_tell_their_shared_epochs_each_by_itself():
    activity = record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 4)
    moments = np.array([500.0, np.nan, 700.0, 2150.0])
    around = align(activity.assign_coords(answer=("trial", moments, {"units": "ms"})), "answer")
    assert "epoch" not in around.coords
    moved = np.array([500.0, np.nan, 700.0, 2100.0])
    np.testing.assert_array_equal(around.stimulus_start, 100 - moved)
    np.testing.assert_array_equal(around.stimulus_stop, 2100 - moved)
    assert not around.valid[1].any()
    assert around.rate[1].isnull().all()
    stimulus = epoch(around, "stimulus")
    kept = [0, 2, 3]
    original = epoch(activity, "stimulus")
    np.testing.assert_array_equal(stimulus.rate[kept], original.rate[kept])


def test_of_an_epoch_of_one_step_the_task_tells_how_long_that_is():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 5)
    response = epoch(activity, "response")
    assert response.sizes["time"] == 1
    np.testing.assert_array_equal(align(response, "response_stop").time, [-100])
    with pytest.raises(InputError, match="has 1 step along 'time', and nothing tells how long that is"):
        align(response.assign_attrs(neurornn="{}"), "response_stop")


def test_epochs_that_overlap_are_both_told():
    @dataclass(frozen=True)
    class Overlapping(FlipFlop):
        def draw(self, n_trials, rng):
            return replace(super().draw(n_trials, rng), epochs={"cue": (0, 30), "delay": (20, 50)})

    activity = record(RateRNN(2, 5, 2), Overlapping(n_bits=2), 3)
    assert "epoch" not in activity.coords
    np.testing.assert_array_equal(epoch(activity, "cue").rate, activity.rate[:, :30])
    np.testing.assert_array_equal(epoch(activity, "delay").rate, activity.rate[:, 20:50])
    np.testing.assert_array_equal(epoch(activity, ["cue", "delay"]).rate, activity.rate[:, :50])


def test_a_trial_without_the_event_leaves_the_others_as_they_are():
    activity = record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 3)
    around = align(activity.assign_coords(x=("trial", [500.0, np.nan, 500.0])), "x", before=100, after=200)
    assert around.epoch.values.tolist() == ["stimulus"] * 3
    np.testing.assert_array_equal(around.valid, [[True] * 3, [False] * 3, [True] * 3])
    np.testing.assert_array_equal(around.rate[[0, 2]], activity.rate[[0, 2], 4:7])
    assert around.rate[1].isnull().all()
    assert activity.rate.notnull().all()


def test_averages_of_conditions_can_be_cut_too():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 60)
    first = nr.condition_average(epoch(activity, "delay"), "delay_duration")
    second = epoch(nr.condition_average(activity, "delay_duration"), "delay")
    assert second.rate.dims == ("condition", "time", "unit")
    np.testing.assert_array_equal(second.valid.sum("time") * 100.0, second.delay_duration)
    xr.testing.assert_allclose(first.rate, second.rate)
    shared = nr.condition_average(record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 30), "coherence")
    assert align(shared, "response", before=300).sizes["time"] == 4


def test_a_single_trial_without_the_dimension_works():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 5)
    alone = epoch(activity, "delay").isel(trial=3)
    one = epoch(activity.isel(trial=3), "delay")
    n_steps = one.sizes["time"]
    np.testing.assert_array_equal(one.rate, alone.rate[:n_steps])
    around = align(activity.isel(trial=3), "response")
    assert around.time_offset == activity.response_start[3]
    assert around.rate.dims == ("time", "unit")


def test_what_comes_from_a_file_is_cut_alike(tmp_path):
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 12)
    nr.save(activity, tmp_path / "activity.nc")
    again = nr.load(tmp_path / "activity.nc")
    xr.testing.assert_equal(align(again, "response", before=500), align(activity, "response", before=500))
    nr.save(epoch(activity, ["stimulus_1", "response"]), tmp_path / "cut.nc")
    xr.testing.assert_equal(nr.load(tmp_path / "cut.nc"), epoch(activity, ["stimulus_1", "response"]))


def test_the_accessor_delegates():
    activity = record(RateRNN(2, 5, 3), DelayedComparison(), 12)
    xr.testing.assert_identical(activity.rnn.epoch("delay"), epoch(activity, "delay"))


@pytest.fixture(scope="module")
def shared():
    return record(RateRNN(3, 5, 3), PerceptualDecisionMaking(), 4)


def apart():
    return dataset(np.random.default_rng(1), 4, 10, 20.0)


def with_moment(activity, moment, unit="ms"):
    return activity.assign_coords(x=("trial", [moment] * 4, {"units": unit}))


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (lambda a: epoch(a, "stimulos"), r"unknown epoch 'stimulos': .* did you mean 'stimulus'\?"),
        (lambda a: epoch(a, "delay"), r"'delay': expected one of 'fixation', 'response', 'stimulus'"),
        (lambda a: epoch(a, []), r"at least one epoch, got none: take of fixation, stimulus, response"),
        (lambda a: epoch(a.rate, "go"), r"must be an xarray Dataset, got DataArray: of an array make one"),
        (lambda a: epoch(a.drop_vars("epoch"), "go"), r"tells no epochs: give it 'epoch' on 'time', or"),
        (lambda a: epoch(a.drop_vars("time"), "go"), r"needs a coordinate 'time' in ms: add one with"),
        (lambda a: epoch(a.isel(time=0), "go"), r"`activity` needs dimension 'time', got"),
        (lambda a: epoch(a.isel(time=slice(0, 0)), "go"), r"must have steps, got 0 along 'time'"),
        (lambda a: epoch(a.assign_coords(time=np.full(22, np.nan)), "go"), r"`time` must be finite, got nan"),
        (lambda a: epoch(a.assign_coords(time=list("a" * 22)), "go"), r"'time' must be numbers of ms, got"),
        (lambda a: align(a, "respons"), r"unknown event 'respons': .* did you mean 'response'\?"),
        (lambda a: align(a, 3), r"unknown event 3: expected one of"),
        (lambda a: align(a, "rate"), r"`to` needs an epoch or a moment in ms for each trial, got 'rate'"),
        (lambda a: align(a, "response", before="1"), r"`before` must be a finite number of ms, got '1'"),
        (lambda a: align(a, "response", after=np.inf), r"`after` must be a finite number of ms, got inf"),
        (lambda a: align(a, "response", after=True), r"`after` must be a finite number of ms, got True"),
        (
            lambda a: align(a, "response", before=0, after=0),
            r"no step is left between 0 and 0 ms of 'response': `before` and `after` must leave at least one",
        ),
        (
            lambda a: align(a.isel(time=[0]).drop_attrs(), "fixation"),
            r"has 1 step along 'time', and nothing tells",
        ),
        (lambda a: align(a.isel(time=[0, 1, 5]), "fixation"), r"must be evenly spaced and ascending"),
        (lambda a: align(a.isel(time=[1, 0]), "fixation"), r"must be evenly spaced and ascending"),
        (lambda a: align(with_moment(a, 0.1, "s"), "x"), r"a moment in ms, got 'x' in 's': convert it first"),
        (lambda a: align(with_moment(a, np.nan), "x"), r"no trial has the event 'x' within its time"),
        (lambda a: align(with_moment(a, 1e9), "x"), r"no trial has the event 'x' within its time"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(shared, cut, sentence):
    with pytest.raises(InputError, match=sentence):
        cut(shared)


def test_an_epoch_that_no_trial_has_is_refused():
    activity = apart()
    activity["go_stop"] = activity.go_start
    with pytest.raises(InputError, match="no trial has a step of 'go': choose another epoch"):
        epoch(activity, "go")
    with pytest.raises(InputError, match="unknown epoch 'goo': expected one of 'go', 'sample'"):
        epoch(activity, "goo")
