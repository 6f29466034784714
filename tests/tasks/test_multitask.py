import numpy as np
import pytest

from neurornn import InputError, RateRNN, record, train
from neurornn.tasks import DelayedComparison, FlipFlop, MultiTask, PerceptualDecisionMaking
from neurornn.testing import check_task

DECISION, COMPARISON = PerceptualDecisionMaking(), DelayedComparison()
BITS = MultiTask((FlipFlop(n_bits=2), FlipFlop(n_bits=3)), names=("two", "three"))


@pytest.fixture(scope="module")
def both():
    return MultiTask((DECISION, COMPARISON))


def draw(task, n_trials=64, seed=0):
    return task.draw(n_trials, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "task",
    [
        MultiTask((DECISION, COMPARISON)),
        MultiTask((DECISION, COMPARISON), batches="blocked", weights=(1, 3)),
        MultiTask((DECISION, COMPARISON), rule_inputs=False),
        MultiTask((DECISION,), rule_noise_std=0.3),
        BITS,
    ],
)
def test_a_union_is_a_task(task):
    check_task(task)


def test_channels_of_the_same_name_are_shared(both):
    assert both.input_labels == (
        *("fixation", "evidence_1", "evidence_2", "stimulus"),
        *("rule_perceptual_decision_making", "rule_delayed_comparison"),
    )
    assert both.output_labels == ("fixate", "choice_1", "choice_2", "first_larger", "second_larger")
    assert both.dt == 100.0
    assert both.loss == "cross_entropy"


def test_every_trial_is_its_task_s_own_trial(both):
    trials = draw(both, 100)
    for k, name in enumerate(both.task_names):
        rows, own = both.of_task(trials, name)
        task = both.tasks[k]
        assert (trials.conditions["task"][rows] == name).all()
        np.testing.assert_array_equal(trials.inputs[rows][..., [4, 5]][..., k], trials.valid[rows])
        assert not trials.inputs[rows][..., [4, 5]][..., 1 - k].any()
        # Whoever solves the task alone solves it here: the ideal observer sees all that it needs.
        right = task.ideal_choices(own) == own.conditions["target_choice"]
        assert right.mean() > 0.8
        assert {key: values.dtype for key, values in own.conditions.items()} == {
            key: values.dtype for key, values in draw(task, 2).conditions.items()
        }
        np.testing.assert_array_equal(own.in_epoch("response"), trials.in_epoch("response")[rows])
        classes = np.array([both.output_labels.index(label) for label in task.output_labels])
        np.testing.assert_array_equal(classes[own.targets], trials.targets[rows])


def test_what_another_task_does_not_have_is_nan_or_empty(both):
    trials = draw(both)
    decision = trials.conditions["task"] == "perceptual_decision_making"
    assert np.isnan(trials.conditions["delay_duration"][decision]).all()
    assert np.isfinite(trials.conditions["delay_duration"][~decision]).all()
    words = draw(MultiTask((FlipFlop(n_bits=1, dt=100.0), RightOrWrong())))
    flip = words.conditions["task"] == "flip_flop"
    assert set(words.conditions["first_pattern"][~flip].tolist()) == {""}


class RightOrWrong(FlipFlop):
    def make(self, n_trials, conditions, rng):
        trials = super().make(n_trials, conditions, rng)
        trials.conditions.clear()
        return trials

    def __init__(self):
        super().__init__(n_bits=1, dt=100.0)


def test_a_wrong_answer_of_one_task_costs_that_task_only(both):
    trials = draw(both, 200)
    outputs = trials.ideal_outputs()
    decision = trials.conditions["task"] == "perceptual_decision_making"
    outputs[decision] = outputs[decision][..., [0, 2, 1, 3, 4]]
    score = both.score(outputs, trials)
    assert not score[decision].any()
    assert score[~decision].all()


def test_batches_mix_or_block_the_tasks_by_their_weights():
    mixed = MultiTask((DECISION, COMPARISON), weights=(1, 3))
    share = (draw(mixed, 4000).conditions["task"] == "delayed_comparison").mean()
    # Four standard errors of a share of 4000.
    assert abs(share - 0.75) < 4 * np.sqrt(0.1875 / 4000)
    blocked = MultiTask((DECISION, COMPARISON), weights=(1, 3), batches="blocked")
    kinds = [set(draw(blocked, 5, seed).conditions["task"].tolist()) for seed in range(400)]
    assert all(len(own) == 1 for own in kinds)
    share = np.mean([own == {"delayed_comparison"} for own in kinds])
    assert abs(share - 0.75) < 4 * np.sqrt(0.1875 / 400)


def test_a_balanced_batch_holds_every_condition_of_every_task(both):
    balanced = both.factorial(n_repeats=2)
    assert balanced.n_trials == 2 * (DECISION.factorial().n_trials + COMPARISON.factorial().n_trials)
    assert balanced.conditions["task"].tolist() == sorted(balanced.conditions["task"].tolist(), reverse=True)


def test_constant_inputs_are_those_of_each_task_with_its_rule(both):
    constants = both.constant_inputs()
    assert list(constants) == ["perceptual_decision_making: zero evidence", "delayed_comparison: delay"]
    assert constants["delayed_comparison: delay"].tolist() == [1, 0, 0, 0, 0, 1]


def test_outputs_of_other_tasks_are_not_asked_for():
    trials = draw(BITS)
    two = trials.conditions["task"] == "two"
    assert not trials.mask[two][..., 2].any()
    assert trials.mask[~two][..., 2].any()


def test_a_network_trains_on_it_and_its_recording_tells_the_task(both):
    network = RateRNN(both.n_inputs, 16, both.n_outputs, activation="relu", seed=0)
    train(network, both, n_steps=5, batch_size=8, n_evaluation_trials=8, progress=False)
    activity = record(network, both, n_trials=20, seed=1, progress=False)
    assert set(activity.task.values.tolist()) == set(both.task_names)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MultiTask(()), r"`tasks` must be a tuple of at least one task, got \(\)"),
        (lambda: MultiTask((3,)), r"`tasks` must be a tuple of at least one task, got \(3,\)"),
        (
            lambda: MultiTask((DECISION, PerceptualDecisionMaking(dt=20.0))),
            r"the tasks must have one dt, got 100.0 and 20.0: build them with the same",
        ),
        (
            lambda: MultiTask((DECISION, FlipFlop(dt=100.0))),
            r"one loss, got cross_entropy and mse",
        ),
        (
            lambda: MultiTask((DECISION, DECISION)),
            r"must have different names, got \('perceptual_decision_making', .*: pass names=",
        ),
        (lambda: MultiTask((DECISION,), names=("a", "b")), r"`names` must be one for each of the 1 tasks"),
        (lambda: MultiTask((DECISION,), batches="all"), r"unknown batches 'all': expected one of 'blocked'"),
        (lambda: MultiTask((DECISION,), weights=(1, 2)), r"`weights` must be one number for each of the 1"),
        (lambda: MultiTask((DECISION,), weights=(0,)), r"`weights` must be one number for each .* not all 0"),
        (lambda: MultiTask((DECISION,), weights=(-1,)), r"`weights` must be a number of at least 0, got -1"),
        (lambda: MultiTask((DECISION,), rule_noise_std=-1), r"`rule_noise_std` must be a number of at least"),
        (
            lambda: MultiTask((DECISION,)).of_task(draw(MultiTask((DECISION,))), "x"),
            r"unknown task 'x': expected one of 'perceptual_decision_making'",
        ),
    ],
)
def test_what_cannot_be_united_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)
