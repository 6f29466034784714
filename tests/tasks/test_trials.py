from dataclasses import dataclass

import numpy as np
import pytest

from neurornn import InputError
from neurornn.tasks import Task, Trials, describe


@dataclass(frozen=True)
class Regression(Task):
    dt: float = 10.0
    loss = "mse"
    n_inputs = 2
    n_outputs = 3


@dataclass(frozen=True)
class Classes(Regression):
    loss = "cross_entropy"


def regression(**changes):
    given = {"inputs": np.zeros((4, 5, 2)), "targets": np.zeros((4, 5, 3)), "mask": np.ones((4, 5, 3))}
    return Trials(Regression(), **{**given, **changes})


def classes(**changes):
    given = {"inputs": np.zeros((4, 5, 2)), "targets": np.zeros((4, 5)), "mask": np.ones((4, 5))}
    return Trials(Classes(), **{**given, **changes})


NAN = np.full((4, 5, 3), np.nan)


@pytest.mark.parametrize(
    ("make", "changes", "sentence"),
    [
        (
            regression,
            {"inputs": np.zeros((4, 5))},
            r"`inputs` must have shape \(trial, time, input_channel=2\), got \(4, 5\): put trials first",
        ),
        (regression, {"inputs": np.zeros((4, 5, 3))}, r"input_channel=2\), got \(4, 5, 3\)"),
        (regression, {"inputs": np.full((4, 5, 2), np.inf)}, r"`inputs` must be finite, got inf at index"),
        (
            regression,
            {"targets": np.zeros((4, 5))},
            r"`targets` must have shape \(trial, time, output_channel\) = \(4, 5, 3\), got \(4, 5\)",
        ),
        (regression, {"targets": NAN}, r"`targets` must be finite, got nan at index \(0, 0, 0\)"),
        (regression, {"mask": NAN}, r"`mask` must be finite"),
        (
            regression,
            {"mask": np.ones((4, 3))},
            r"`mask` must have the targets' shape \(4, 5, 3\), got \(4, 3\)",
        ),
        (regression, {"mask": -np.ones((4, 5))}, r"`mask` must not be negative, got -1\.0: use 0"),
        (regression, {"valid": np.ones((4, 4))}, r"`valid` must have shape \(trial, time\) = \(4, 5\), got"),
        (
            regression,
            {"conditions": {"cue": [1, 2]}},
            r"condition 'cue' must have shape \(trial,\) = \(4,\), got \(2,\)",
        ),
        (regression, {"conditions": {"score": np.ones(4)}}, r"a condition cannot be called 'score'"),
        (regression, {"epochs": {"go": (0, 6)}}, r"epoch 'go' must lie within the 5 steps"),
        (regression, {"epochs": {"go": (3, 2)}}, r"epoch 'go' must lie within .* end after it begins"),
        (regression, {"epochs": {"go": (-1, 2)}}, r"epoch 'go' must lie within"),
        (regression, {"epochs": {"go": (0, 2.5)}}, r"epoch 'go' must be \(start, stop\) in steps, whole"),
        (regression, {"epochs": {"go": (0, np.array([1, 2]))}}, r"epoch 'go' must be \(start, stop\)"),
        (regression, {"epochs": {"go": 3}}, r"epoch 'go' must be \(start, stop\) in steps.*got 3"),
        (
            classes,
            {"targets": np.zeros((4, 5, 3))},
            r"`targets` must have shape \(trial, time\) = \(4, 5\), got \(4, 5, 3\)",
        ),
        (classes, {"targets": np.full((4, 5), 0.5)}, r"`targets` must be whole numbers, the right class"),
        (classes, {"targets": np.full((4, 5), 3)}, r"`targets` must be classes from 0 to 2, got 3 to 3"),
        (classes, {"targets": np.full((4, 5), -1)}, r"from 0 to 2, got -1 to -1"),
        (classes, {"targets": np.full((4, 5), np.nan)}, r"`targets` must be finite"),
        (classes, {"mask": np.ones((4, 5, 3))}, r"`mask` must have the targets' shape \(4, 5\), got"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        make(**changes)


def test_a_task_with_an_unknown_loss_or_no_dt_draws_no_trials():
    class Wrong(Regression):
        loss = "mae"

    arrays = (np.zeros((4, 5, 2)), np.zeros((4, 5, 3)), np.ones((4, 5)))
    with pytest.raises(InputError, match=r"the task's loss must be one of .*'mse'.*got 'mae'"):
        Trials(Wrong(), *arrays)
    with pytest.raises(InputError, match=r"`dt` must be a positive number of ms, got 0"):
        Trials(Regression(dt=0), *arrays)


def test_arrays_are_stored_as_float32_and_classes_as_int64():
    trials = regression()
    assert {a.dtype for a in (trials.inputs, trials.targets, trials.mask)} == {np.dtype("f4")}
    assert classes().targets.dtype == np.int64
    assert trials.valid.dtype == bool
    assert trials.valid.all()


def test_a_mask_of_steps_is_spread_over_the_outputs():
    steps = np.arange(20.0).reshape(4, 5)
    np.testing.assert_array_equal(regression(mask=steps).mask, np.stack([steps] * 3, axis=2))


def test_a_padded_step_carries_no_loss():
    valid = np.arange(5) < np.array([5, 3, 4, 1])[:, None]
    np.testing.assert_array_equal(classes(valid=valid).mask, valid)
    np.testing.assert_array_equal(regression(valid=valid).mask[..., 0], valid)


def test_time_labels_the_start_of_each_step():
    np.testing.assert_array_equal(regression().time, [0, 10, 20, 30, 40])
    assert (regression().n_trials, regression().n_steps) == (4, 5)


def test_shared_epochs_label_the_time_axis():
    trials = regression(epochs={"stimulus": (0, 2), "response": (3, 5)}, conditions={"cue": list("abab")})
    dataset = trials.to_dataset()
    assert dataset.epoch.values.tolist() == ["stimulus", "stimulus", "", "response", "response"]
    assert dataset.epoch.dims == ("time",)
    assert dataset.time.attrs["units"] == "ms"
    assert dataset.cue.dims == ("trial",)
    assert dataset.input_channel.values.tolist() == ["input_0", "input_1"]
    assert dataset.output_channel.values.tolist() == ["output_0", "output_1", "output_2"]
    assert dataset.target.dims == dataset.mask.dims == ("trial", "time", "output_channel")
    assert dataset.input.dims == ("trial", "time", "input_channel")
    assert dataset.valid.dims == ("trial", "time")


def test_epochs_that_differ_are_moments_in_ms_on_the_trial_axis():
    stop = np.array([2, 3, 4, 5])
    dataset = classes(epochs={"fixation": (0, 1), "delay": (1, stop)}).to_dataset()
    assert "epoch" not in dataset.coords
    np.testing.assert_array_equal(dataset.delay_stop, stop * 10)
    np.testing.assert_array_equal(dataset.delay_start, [10] * 4)
    np.testing.assert_array_equal(dataset.fixation_stop, [10] * 4)
    assert dataset.delay_stop.attrs["units"] == "ms"
    assert dataset.target.dims == ("trial", "time")


def test_an_epoch_holds_its_valid_steps_and_no_other():
    start, stop = np.array([0, 1, 2, 3]), np.array([2, 1, 5, 5])
    valid = np.arange(5) < np.array([5, 5, 3, 5])[:, None]
    during = classes(epochs={"go": (start, stop)}, valid=valid).in_epoch("go")
    for i in range(4):
        for k in range(5):
            assert during[i, k] == (start[i] <= k < stop[i] and valid[i, k])
    with pytest.raises(InputError, match=r"there is no epoch 'delay': these trials have \('go',\)"):
        classes(epochs={"go": (0, 1)}).in_epoch("delay")


def test_ideal_outputs_are_the_targets_or_logits_of_the_right_class():
    targets = np.random.default_rng(0).standard_normal((4, 5, 3)).astype("f4")
    ideal = regression(targets=targets).ideal_outputs()
    np.testing.assert_array_equal(ideal, targets)
    ideal[:] = 7
    trials = classes(targets=np.arange(20).reshape(4, 5) % 3)
    logits = trials.ideal_outputs()
    assert logits.shape == (4, 5, 3)
    np.testing.assert_array_equal(logits.argmax(axis=2), trials.targets)
    chance = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    assert chance.max(axis=2).min() > 0.999


def test_a_duration_is_floored_to_whole_steps_but_not_by_rounding_error():
    assert Regression(dt=0.1).steps(300) == 3000
    assert Regression(dt=20).steps(199.9) == 9
    assert Regression(dt=20).steps(0) == 0


def test_a_task_describes_itself_in_plain_values():
    @dataclass(frozen=True)
    class Own(Task):
        levels: tuple = (1, 2.5)
        table: dict = None
        array: np.ndarray = None
        dt: float = 5.0

    record = describe(Own(table={1: (2,)}, array=np.arange(2)))
    assert record["class"] == "Own"
    assert record["parameters"] == {"levels": [1, 2.5], "table": {"1": [2]}, "array": [0, 1], "dt": 5.0}


def test_the_base_task_says_what_must_be_defined():
    with pytest.raises(NotImplementedError, match=r"Regression must define draw\(n_trials, rng\)"):
        Regression().draw(1, None)
    with pytest.raises(NotImplementedError, match=r"Regression must define score"):
        Regression().score(None, None)
    assert Regression().recipe.training == {}
    np.testing.assert_array_equal(Regression().constant_inputs()["zero input"], [0, 0])
