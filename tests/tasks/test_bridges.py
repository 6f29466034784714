"""Trials from other hands: arrays of one's own, and environments of neurogym's kind."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError, RateRNN, train
from neurornn.tasks import from_arrays, from_neurogym
from neurornn.testing import check_task

rng = np.random.default_rng(0)
N, T = 40, 12
INPUTS = rng.standard_normal((N, T, 3))
TARGETS = INPUTS[..., :2].cumsum(axis=1)
CLASSES = (INPUTS[..., 0] > 0).astype(int)
NUMBER = np.arange(N)


def arrays(**changes):
    given = {"inputs": INPUTS, "targets": TARGETS, "conditions": {"number": NUMBER}, "dt": 20.0}
    return from_arrays(**{**given, **changes})


def classes(**changes):
    return arrays(**{"targets": CLASSES, "loss": "cross_entropy", **changes})


# Arrays


@pytest.mark.parametrize("task", [arrays(), classes()], ids=["mse", "cross_entropy"])
def test_a_task_of_arrays_keeps_to_what_every_task_promises(task):
    check_task(task)
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 - it is our own


def test_the_trials_drawn_are_those_that_were_given():
    task = arrays()
    trials = task.draw(10, np.random.default_rng(1))
    number = trials.conditions["number"]
    np.testing.assert_array_equal(trials.inputs, INPUTS[number].astype(np.float32))
    np.testing.assert_array_equal(trials.targets, TARGETS[number].astype(np.float32))
    assert trials.valid.all()
    assert (trials.mask == 1).all()
    assert (task.n_inputs, task.n_outputs, task.dt, task.loss) == (3, 2, 20.0, "mse")
    assert task.output_labels == ("output_0", "output_1")


def test_arrays_that_change_later_do_not_change_the_task():
    own = TARGETS.astype(np.float32)
    task = arrays(targets=own)
    before = task.examples.targets.copy(), repr(task)
    own += 1
    np.testing.assert_array_equal(task.examples.targets, before[0])
    assert repr(task) == before[1]


def test_equal_arrays_make_equal_tasks_and_the_repr_tells_others():
    assert arrays() == arrays()
    assert hash(arrays()) == hash(arrays())
    for other in (
        arrays(inputs=INPUTS + 1),
        arrays(targets=TARGETS + 1),
        arrays(mask=np.full((N, T), 2.0)),
        arrays(conditions={"number": NUMBER + 1}),
        arrays(conditions={"name": NUMBER}),
        arrays(epochs={"go": (0, 3)}),
        arrays(input_labels=("a", "b", "c")),
    ):
        assert other != arrays()
        assert repr(other) != repr(arrays())
    assert "40 trials, 12 steps, 3 inputs, 2 outputs" in repr(arrays())


@given(st.integers(1, 100), st.integers(0, 2**32))
def test_no_trial_comes_twice_before_all_came_once(n_trials, seed):
    task = arrays()
    drawn = task.draw(n_trials, np.random.default_rng(seed)).conditions["number"]
    counts = np.bincount(drawn, minlength=N)
    assert set(np.flatnonzero(counts)) <= set(task.members)
    counts = counts[task.members]
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == n_trials


def test_every_trial_is_drawn_equally_often():
    task = arrays()
    drawn = [task.draw(8, np.random.default_rng(k)).conditions["number"] for k in range(700)]
    counts = np.bincount(np.concatenate(drawn), minlength=N)[task.members]
    # 28 members, 8 of them a time: mean 200, variance 700 * (2/7) * (5/7).
    assert np.abs(counts - 200).max() < 4.5 * np.sqrt(700 * 10 / 49)


def test_trials_are_kept_for_evaluation():
    task = arrays()
    parts = {own: set(task.held_out(own).members) for own in ("train", "validation", "test")}
    assert parts["train"] == set(task.members)
    assert {own: len(part) for own, part in parts.items()} == {"train": 28, "validation": 4, "test": 8}
    assert set.union(*parts.values()) == set(range(N))
    assert sum(map(len, parts.values())) == N
    assert set(task.held_out().draw(8, np.random.default_rng(0)).conditions["number"]) == parts["test"]
    assert set(arrays(seed=1).members) != parts["train"]
    whole = arrays(validation_share=0, test_share=0)
    assert len(whole.members) == len(whole.held_out().members) == N


def test_training_chooses_its_weights_by_trials_it_never_learns_from(monkeypatch):
    task, seen = arrays(), []
    draw = type(task).draw

    def watched(self, n_trials, rng):
        trials = draw(self, n_trials, rng)
        seen.append((self.split, set(trials.conditions["number"])))
        return trials

    monkeypatch.setattr(type(task), "draw", watched)
    train(RateRNN(3, 4, 2, seed=0), task, n_steps=20, batch_size=8, n_evaluation_trials=8, progress=False)
    assert [split for split, _ in seen] == ["validation"] + ["train"] * 20
    assert not set.union(*(own for split, own in seen if split == "train")) & seen[0][1]


def test_the_score_is_one_less_the_error_in_units_of_the_variance():
    task = arrays(mask=(np.arange(T) >= 4) * np.ones((N, 1)))
    trials = task.examples
    asked = TARGETS[:, 4:]
    variance = asked.reshape(-1, 2).var(axis=0).sum()
    outputs = trials.targets + 0.5 * np.random.default_rng(0).standard_normal(trials.targets.shape)
    error = ((outputs - trials.targets)[:, 4:] ** 2).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(task.score(outputs, trials), np.clip(1 - error / variance, 0, 1), rtol=1e-5)
    # Where nothing is asked, anything may be said.
    outputs[:, :4] = np.inf
    assert np.isfinite(task.score(np.where(np.isinf(outputs), 1e9, outputs), trials)).all()
    assert (task.score(trials.targets + 100, trials) == 0).all()


def test_the_score_of_classes_is_the_share_of_right_steps():
    task = classes()
    trials = task.examples
    outputs = trials.ideal_outputs()
    outputs[:, :3] = -outputs[:, :3]
    np.testing.assert_allclose(task.score(outputs, trials), 9 / 12)


def test_chance_is_what_the_best_constant_outputs_reach():
    task = classes()
    # At each step the class that is right more often; the two classes throughout are no better here.
    by_step = np.maximum(CLASSES.mean(axis=0), 1 - CLASSES.mean(axis=0)).mean()
    assert task.chance_score == pytest.approx(by_step)
    always = classes(targets=np.where(np.arange(T) < 9, 1, 0) * np.ones((N, 1), int))
    assert always.chance_score == 1
    task = arrays()
    trials = task.examples
    for said in (np.zeros((T, 2)), TARGETS.mean(axis=0), np.median(TARGETS, axis=0)):
        reached = task.score(np.broadcast_to(said, TARGETS.shape), trials).mean()
        assert reached <= task.chance_score + 1e-6


def test_targets_that_never_vary_are_right_or_wrong():
    task = arrays(targets=np.ones((N, T, 1)))
    trials = task.draw(2, np.random.default_rng(0))
    np.testing.assert_array_equal(task.score(trials.ideal_outputs(), trials), [1, 1])
    np.testing.assert_array_equal(task.score(trials.ideal_outputs() + 0.1, trials), [0, 0])


def halfway(outputs, trials):
    return np.full(trials.n_trials, 0.5)


def test_a_score_of_ones_own():
    task = arrays(score=halfway)
    trials = task.draw(3, np.random.default_rng(0))
    np.testing.assert_array_equal(task.score(trials.ideal_outputs(), trials), [0.5] * 3)
    assert "test_bridges" in repr(task)
    assert "halfway" in repr(task)
    assert "0x" not in repr(task)
    assert task.chance_score == 0.5
    wrong = arrays(score=lambda outputs, trials: 0.5)
    with pytest.raises(InputError, match=r"one number per trial, shape \(3,\), got \(\)"):
        wrong.score(trials.ideal_outputs(), trials)


def test_padding_may_hold_anything_and_is_emptied():
    lengths = rng.integers(5, T + 1, N)
    valid = np.arange(T) < lengths[:, None]
    inputs, targets = (np.where(valid[..., None], own, np.nan) for own in (INPUTS, TARGETS))
    task = arrays(inputs=inputs, targets=targets, valid=valid)
    check_task(task)
    assert not task.examples.inputs[~valid].any()
    mask = np.ones((N, T, 2))
    mask[:, 0, 1] = 0
    targets[:, 0, 1] = np.nan
    check_task(arrays(inputs=inputs, targets=targets, valid=valid, mask=mask))


def test_epochs_and_labels_are_carried_along():
    stop = rng.integers(1, T, N)
    task = classes(
        epochs={"stimulus": (0, 4), "go": (np.zeros(N, int), stop)},
        input_labels=("a", "b", "c"),
        output_labels=("no", "yes", "never"),
    )
    trials = task.draw(5, np.random.default_rng(0))
    np.testing.assert_array_equal(trials.epochs["go"][1], stop[trials.conditions["number"]])
    assert task.n_outputs == 3
    assert trials.to_dataset().input_channel.values.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"inputs": INPUTS[..., 0]},
            r"`inputs` must have shape \(trial, time, input_channel\), got \(40, 12\)",
        ),
        ({"inputs": INPUTS[..., 0]}, r"add the axis of channels, inputs\[\.\.\., None\]"),
        ({"inputs": INPUTS[0, 0]}, r"`inputs` must have shape .*, got \(3,\)$"),
        ({"inputs": INPUTS[:0]}, "`inputs` must not be empty"),
        ({"inputs": [[[1.0]], [[1.0], [2.0]]]}, "`inputs` must be one array .* pad trials to one length"),
        ({"inputs": INPUTS.astype(str)}, "`inputs` must be an array of real numbers, got <U"),
        ({"inputs": INPUTS.swapaxes(0, 1)}, r"same trials and steps, got \(12, 40\) and \(40, 12\)"),
        ({"inputs": np.where(INPUTS > 2, np.nan, INPUTS)}, "`inputs` must be finite, got nan"),
        ({"targets": TARGETS[..., 0]}, r"`targets` must have shape .*targets\[\.\.\., None\]"),
        ({"targets": TARGETS[:-1]}, r"same trials and steps, got \(40, 12\) and \(39, 12\)"),
        ({"targets": np.full_like(TARGETS, np.nan)}, "`targets` must be finite"),
        ({"targets": TARGETS, "loss": "cross_entropy"}, r"`targets` must have shape \(trial, time\), got"),
        ({"targets": CLASSES + 0.5, "loss": "cross_entropy"}, "`targets` must be whole numbers"),
        ({"targets": CLASSES - 1, "loss": "cross_entropy"}, "`targets` must be classes from 0"),
        ({"targets": np.full((N, T), np.nan), "loss": "cross_entropy"}, "`targets` must be finite"),
        (
            {"targets": CLASSES, "loss": "cross_entropy", "output_labels": ("only",)},
            "`targets` must be classes from 0 to 0, got 0 to 1",
        ),
        ({"mask": np.ones((N, 3))}, r"`mask` must have the targets' shape \(40, 12, 2\), got \(40, 3\)"),
        ({"mask": -np.ones((N, T))}, "`mask` must not be negative"),
        ({"mask": (NUMBER != 3)[:, None] * np.ones(T)}, "in every trial, got trial 3 with none"),
        ({"valid": np.ones((N, 3))}, r"`valid` must have shape \(trial, time\) = \(40, 12\), got \(40, 3\)"),
        ({"valid": np.arange(T) * np.ones((N, 1)) > 2}, "`valid` must be True first"),
        ({"conditions": {"number": NUMBER[:3]}}, r"condition 'number' must have shape \(trial,\) = \(40,\)"),
        ({"conditions": {"target": NUMBER}}, "a condition cannot be called 'target'"),
        ({"epochs": {"go": (0, 99)}}, "epoch 'go' must lie within the 12 steps"),
        ({"dt": 0}, "`dt` must be a positive number of ms, got 0"),
        ({"loss": "sme"}, "unknown loss 'sme'.*did you mean 'mse'"),
        ({"input_labels": ("a", "b")}, r"`input_labels` must be 3 different names, got \('a', 'b'\)"),
        ({"output_labels": ("a", "a")}, "`output_labels` must be 2 different names"),
        ({"test_share": 1.0}, "must leave trials to train on, got 0.1 and 1.0"),
        ({"test_share": -0.1}, "`test_share` must be a number of at least 0"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0"),
        (
            {"inputs": INPUTS[:2], "targets": TARGETS[:2], "conditions": {}},
            "more trials than are kept for evaluation, got 2: set validation_share=0",
        ),
    ],
)
def test_a_mistake_in_arrays_is_told_in_one_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        arrays(**changes)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"unknown split 'tset'.*did you mean 'test'"):
        arrays().held_out("tset")


# Environments


class Space:
    """What a gymnasium space tells of its channels."""

    def __init__(self, n=None, name=None):
        if n is not None:
            self.n = n
        if name is not None:
            self.name = name


class Environment:
    """Of neurogym's kind: a stimulus of varying length, a delay in some trials, a decision."""

    dt = 50

    def __init__(self):
        self.observation_space = Space(name={"cue": 0, "stimulus": range(1, 3)})
        self.action_space = Space(n=3, name={"wait": 0, "choice": range(1, 3)})
        # As neurogym's do: a function that holds the environment itself.
        self.timing = {"stimulus": lambda: int(self.rng.integers(3, 8))}
        self.start_ind, self.end_ind = {}, {}
        self.n_made = 0
        self.seed()

    @property
    def unwrapped(self):
        return self

    def seed(self, seed=None):
        self.rng = np.random.default_rng(seed)

    def new_trial(self):
        n = self.timing["stimulus"]()
        delay = int(self.rng.integers(2)) * 2
        side = int(self.rng.integers(1, 3))
        self.n_made += 1
        self.trial = {
            "ground_truth": side,
            "word": "ab"[side - 1],
            "state": 1.5,
            "list": [1, 2],
            "nothing": None,
        }
        if delay:
            self.trial["delay"] = delay
        self.start_ind["stimulus"], self.end_ind["stimulus"] = 0, n
        if delay:
            self.start_ind["delay"], self.end_ind["delay"] = n, n + delay
        self.start_ind["decision"], self.end_ind["decision"] = n + delay, n + delay + 1
        self.ob = np.zeros((n + delay + 1, 3), np.float32)
        self.ob[:-1, 0] = 1
        self.ob[:n, side] = 1 + 0.1 * self.rng.standard_normal(n)
        self.gt = np.zeros(n + delay + 1, int)
        self.gt[-1] = side


class Pointing(Environment):
    """The same with numbers for answers."""

    def __init__(self):
        super().__init__()
        self.action_space = Space()

    def new_trial(self):
        super().new_trial()
        self.gt = np.stack([self.gt == 1, self.gt == 2], axis=1).astype(float)


@pytest.mark.parametrize("kind", [Environment, Pointing])
def test_an_environment_keeps_to_what_every_task_promises(kind):
    task = from_neurogym(kind())
    check_task(task)
    assert task.dt == 50
    assert task.input_labels == ("cue", "stimulus_0", "stimulus_1")


def test_an_environments_trials_are_its_own():
    task, own = from_neurogym(Environment(), seed=3), Environment()
    trials = task.draw(6, np.random.default_rng(5))
    word = int(np.random.default_rng(5).integers(2**63))
    own.seed(int(np.random.SeedSequence([3, word]).generate_state(1)[0]))
    assert task.loss == "cross_entropy"
    assert task.output_labels == ("wait", "choice_0", "choice_1")
    for k in range(6):
        own.new_trial()
        n = len(own.ob)
        np.testing.assert_array_equal(trials.inputs[k, :n], own.ob)
        np.testing.assert_array_equal(trials.targets[k, :n], own.gt)
        assert trials.valid[k].sum() == n
        assert not trials.inputs[k, n:].any()
        assert not trials.mask[k, n:].any()
        assert trials.mask[k, :n].all()
        assert trials.conditions["ground_truth"][k] == own.trial["ground_truth"]
        assert trials.conditions["word"][k] == own.trial["word"]
        np.testing.assert_equal(float(trials.conditions["delay"][k]), own.trial.get("delay", np.nan))
        for epoch in ("stimulus", "decision"):
            expected = np.zeros(trials.n_steps, bool)
            expected[own.start_ind[epoch] : own.end_ind[epoch]] = True
            np.testing.assert_array_equal(trials.in_epoch(epoch)[k], expected)
        assert trials.in_epoch("delay")[k].sum() == own.trial.get("delay", 0)
    # A word that datasets use is told of in another; lists and nothing at all are left out.
    assert sorted(trials.conditions) == ["delay", "ground_truth", "state_of_trial", "word"]


def test_the_same_generator_gives_the_same_trials_whatever_was_drawn_before():
    env = Environment()
    task = from_neurogym(env)
    first = task.draw(5, np.random.default_rng(1))
    task.draw(17, np.random.default_rng(2))
    env.new_trial()
    env.timing["stimulus"] = lambda: 3
    again = task.draw(5, np.random.default_rng(1))
    for name in ("inputs", "targets", "valid"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    other = from_neurogym(Environment(), seed=1).draw(5, np.random.default_rng(1))
    assert first.inputs.shape != other.inputs.shape or not np.array_equal(first.inputs, other.inputs)
    assert env.n_made == 5


def test_the_score_is_that_of_the_decision():
    task = from_neurogym(Environment())
    trials = task.draw(50, np.random.default_rng(0))
    outputs = trials.ideal_outputs()
    decision = trials.in_epoch("decision")
    outputs[~decision] = 0
    np.testing.assert_array_equal(task.score(outputs, trials), 1)
    outputs[decision] = [9, 0, 0]
    np.testing.assert_array_equal(task.score(outputs, trials), 0)
    outputs[decision] = [0, 9, 0]
    np.testing.assert_array_equal(task.score(outputs, trials), trials.conditions["ground_truth"] == 1)
    # Either choice throughout, or what was right most often at each step of these very examples.
    examples = task.examples.conditions["ground_truth"]
    assert max(np.mean(examples == 1), np.mean(examples == 2)) <= task.chance_score < 0.75
    whole = from_neurogym(Environment(), scored_epoch="stimulus")
    assert (whole.score(trials.ideal_outputs() * ~decision[..., None], trials) == 1).all()


class AlwaysGo(Environment):
    def new_trial(self):
        super().new_trial()
        self.gt = np.minimum(self.gt, 1)


def test_where_the_decision_is_always_the_same_every_step_counts():
    task = from_neurogym(AlwaysGo())
    trials = task.draw(20, np.random.default_rng(0))
    always = np.zeros_like(trials.ideal_outputs())
    always[..., 1] = 1
    np.testing.assert_allclose(task.score(always, trials), 1 / trials.valid.sum(axis=1))


class BeyondItsActions(Environment):
    def new_trial(self):
        super().new_trial()
        self.gt[:] = self.rng.integers(7)


def test_a_ground_truth_beyond_the_actions_has_as_many_classes_as_are_seen():
    task = from_neurogym(BeyondItsActions())
    assert task.n_outputs == 7
    assert task.output_labels[-1] == "class_6"
    check_task(task)


def test_an_environment_trains():
    task = from_neurogym(Environment())
    run = train(
        RateRNN(3, 16, 3, activation="relu", seed=0), task,
        n_steps=150, batch_size=16, learning_rate=1e-2, n_evaluation_trials=64, progress=False,
    )  # fmt: skip
    assert float(run.history.evaluation_score[-1]) > 0.9


class Silent(Environment):
    def new_trial(self):
        super().new_trial()
        del self.gt


class Blind(Environment):
    def new_trial(self):
        self.trial = {}


class Broken(Environment):
    def new_trial(self):
        raise RuntimeError("needs an agent")


class Uneven(Environment):
    def new_trial(self):
        super().new_trial()
        self.gt = self.gt[:-1]


class Cubic(Environment):
    def new_trial(self):
        super().new_trial()
        self.gt = np.zeros((len(self.gt), 2, 2))


class Uncopied(Environment):
    def __init__(self):
        super().__init__()
        self.generator = (k for k in range(3))


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (Silent(), "the environment Silent gives a trial without ground truth"),
        (Blind(), "the environment Blind gives a trial without observations"),
        (Broken(), r"cannot make a whole trial by itself \(RuntimeError: needs an agent\)"),
        (Uneven(), "observations and .* steps of ground truth in one trial"),
        (Cubic(), "has a ground truth of shape"),
        (Uncopied(), "the environment Uncopied cannot be copied"),
        (object(), r"the environment object has no new_trial\(\)"),
    ],
)
def test_an_environment_that_cannot_be_trained_on_is_refused_in_one_sentence(env, sentence):
    with pytest.raises(InputError, match=sentence) as refusal:
        from_neurogym(env)
    assert "\n" not in str(refusal.value)


class SilentAfterTheFirst(Environment):
    def new_trial(self):
        before = getattr(self, "gt", None)
        super().new_trial()
        if self.n_made > 1:
            self.gt = before
            self.ob = self.ob[: len(before)] if before is not None else self.ob


def test_ground_truth_of_an_earlier_trial_is_not_taken_for_a_later_ones():
    with pytest.raises(InputError, match="without ground truth"):
        from_neurogym(SilentAfterTheFirst())


def test_other_mistakes_with_environments():
    with pytest.raises(InputError, match="'dt' can be given with an environment's name only"):
        from_neurogym(Environment(), dt=20)
    with pytest.raises(InputError, match="`seed` must be a whole number"):
        from_neurogym(Environment(), seed=-1)
    with pytest.raises(InputError, match=r"unknown epoch 'decison'.*did you mean 'decision'"):
        from_neurogym(Environment(), scored_epoch="decison")


def test_a_name_needs_neurogym(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurogym", None)
    with pytest.raises(InputError, match=r'by its name needs neurogym.*pip install "neurornn\[neurogym\]"'):
        from_neurogym("PerceptualDecisionMaking-v0")


# The real ones, where they are installed

WITHOUT_TRUTH = {"AnnubesEnv-v0", "Bandit-v0", "DawTwoStep-v0", "EconomicDecisionMaking-v0", "Null-v0"}


@pytest.mark.filterwarnings("ignore")
def test_every_environment_of_neurogym_is_a_task_or_refused_with_a_reason():
    pytest.importorskip("neurogym")
    from neurogym.envs.registration import all_envs

    refused = {}
    for name in all_envs():
        try:
            task = from_neurogym(name)
        except InputError as error:
            refused[name] = str(error)
        else:
            check_task(task, n_trials=16)
    assert set(refused) == WITHOUT_TRUTH
    assert not any("\n" in sentence for sentence in refused.values())


@pytest.mark.filterwarnings("ignore")
def test_parameters_reach_a_neurogym_environment_and_its_record():
    pytest.importorskip("neurogym")
    task = from_neurogym("PerceptualDecisionMaking-v0", dt=20)
    assert task.dt == 20
    assert "PerceptualDecisionMaking-v0" in repr(task)
    assert "dt=20" in repr(task)
    with pytest.raises(InputError, match="neurogym cannot make 'PerceptualDecison-v0'"):
        from_neurogym("PerceptualDecison-v0")
