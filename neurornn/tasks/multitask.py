"""Several tasks for one network: their channels united by name, and an input that says which task it is."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from neurornn.tasks.noise import normals
from neurornn.tasks.task import Task
from neurornn.tasks.trials import Loss, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice, need_count

BATCHES = ("mixed", "blocked")


class TaskUnion(Task):
    """What makes one task of several; `MultiTask` is given them, presets know theirs.

    Channels of the same name are shared. A trial carries the condition ``task`` and those of its own task;
    where another task has none of that name it is NaN, or an empty word. Epochs that a trial does not have
    are empty ones at its beginning.
    """

    batches: str = "mixed"
    """Whether the trials of a batch are of any task (``"mixed"``) or all of one (``"blocked"``)."""
    rule_inputs: bool = True
    """Whether each task has an input channel that is 1 throughout its trials."""
    rule_noise_std: float = 0.0
    """Noise on those channels in units of sqrt(ms)."""

    weights: tuple[float, ...] | None = None
    """How often each task is drawn, beside the others; None: all alike."""
    names: tuple[str, ...] | None = None
    """What the tasks are called; None: what their paper, or else their class, calls them."""
    tasks: tuple[Task, ...]
    """The tasks in their order."""

    accuracy_by = ("task",)
    average_by = ("task",)

    def __post_init__(self) -> None:
        need_choice(self.batches, "batches", BATCHES)
        need_at_least_zero(self.rule_noise_std, "rule_noise_std")
        tasks = self.tasks
        if (
            not isinstance(tasks, tuple | list)
            or not tasks
            or not all(isinstance(own, Task) for own in tasks)
        ):
            raise InputError(f"`tasks` must be a tuple of at least one task, got {tasks!r}")
        for what in ("dt", "loss"):
            values = sorted({str(getattr(own, what)) for own in tasks})
            if len(values) > 1:
                raise InputError(
                    f"the tasks must have one {what}, got {' and '.join(values)}: build them with the same"
                )
        if self.names is not None and len(self.names) != len(tasks):
            raise InputError(f"`names` must be one for each of the {len(tasks)} tasks, got {self.names!r}")
        if len(set(self.task_names)) < len(tasks):
            raise InputError(f"the tasks must have different names, got {self.task_names}: pass names=")
        weights = self.weights
        if weights is not None:
            numbers = [need_at_least_zero(own, "weights") for own in weights]
            if len(numbers) != len(tasks) or not any(numbers):
                raise InputError(
                    f"`weights` must be one number for each of the {len(tasks)} tasks, not all 0, "
                    f"got {weights!r}"
                )

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """The tasks' names, as the condition ``task`` and the rule channels have them."""
        return tuple(self.names or map(_name, self.tasks))

    @property
    def dt(self) -> float:  # type: ignore[override]
        """Time step in ms, that of all tasks."""
        return self.tasks[0].dt

    @property
    def loss(self) -> Loss:  # type: ignore[override]
        """The loss of all tasks."""
        return self.tasks[0].loss

    @cached_property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels: those of the tasks, then one rule a task."""
        own = tuple(dict.fromkeys(label for task in self.tasks for label in task.input_labels))
        return own + (tuple(f"rule_{name}" for name in self.task_names) if self.rule_inputs else ())

    @cached_property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(dict.fromkeys(label for task in self.tasks for label in task.output_labels))

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels."""
        return len(self.input_labels)

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels."""
        return len(self.output_labels)

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Mean of the tasks' chance scores, weighted as they are drawn."""
        return float(np.dot(self._shares, [own.chance_score for own in self.tasks]))

    @cached_property
    def _shares(self) -> np.ndarray:
        weights = np.asarray(self.weights or [1.0] * len(self.tasks), float)
        return weights / weights.sum()

    @cached_property
    def _channels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where the input and the output channels of each task lie among all."""
        inputs = {label: k for k, label in enumerate(self.input_labels)}
        outputs = {label: k for k, label in enumerate(self.output_labels)}
        return [
            (
                np.array([inputs[label] for label in own.input_labels]),
                np.array([outputs[label] for label in own.output_labels]),
            )
            for own in self.tasks
        ]

    @cached_property
    def _examples(self) -> list[Trials]:
        """One trial of each task: which conditions and epochs it has, and of what type."""
        return [own.draw(1, np.random.default_rng(0)) for own in self.tasks]

    def held_out(self, part: str = "test") -> Self:
        """Return the same tasks mixed, so that trials of all of them are evaluated and recorded."""
        return dataclasses.replace(self, batches="mixed")  # type: ignore[type-var]

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        n_trials = need_count(n_trials, "n_trials")
        size = n_trials if self.batches == "mixed" else 1
        which = rng.choice(len(self.tasks), size=size, p=self._shares)
        which = np.broadcast_to(which, (n_trials,))
        parts = {k: self.tasks[k].draw(int((which == k).sum()), rng) for k in np.unique(which).tolist()}
        return self._unite(which, parts, rng)

    def factorial(self, rng: np.random.Generator | None = None, *, n_repeats: int = 1) -> Trials:
        """Return every condition of every task equally often, task after task.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Source of noise and durations; one of seed 0 by default.
        n_repeats : int
            Trials per condition.

        Returns
        -------
        Trials
        """
        rng = np.random.default_rng(0) if rng is None else rng
        parts = {k: own.factorial(rng, n_repeats=n_repeats) for k, own in enumerate(self.tasks)}
        which = np.repeat(np.arange(len(self.tasks)), [part.n_trials for part in parts.values()])
        return self._unite(which, parts, rng)

    def _unite(self, which: np.ndarray, parts: dict[int, Trials], rng: np.random.Generator) -> Trials:
        """Put the trials of the tasks where ``which`` says, in channels common to all."""
        united = _Union(which, parts)
        own_inputs, own_outputs = zip(*self._channels, strict=True)
        n_rules = len(self.tasks) if self.rule_inputs else 0
        inputs = united.of("inputs", own_inputs, self.n_inputs, spare=n_rules)
        valid = united.of("valid")
        if self.loss == "cross_entropy":
            targets, mask = united.of("targets", classes=own_outputs), united.of("mask")
        else:
            targets, mask = (united.of(name, own_outputs, self.n_outputs) for name in ("targets", "mask"))
        if self.rule_inputs:
            rules = inputs[..., -n_rules:]
            if self.rule_noise_std:
                rules[:] = normals(rules.shape, rng, self.rule_noise_std / math.sqrt(self.dt))
                if not valid.all():
                    rules[~valid] = 0
            else:
                rules[:] = 0
            if len(parts) == 1:
                rules[..., which[0]] += valid
            else:
                rules[np.arange(len(which)), :, which] += valid
        conditions, epochs = self._conditions(which, parts), self._epochs(which, parts)
        return Trials.of_checked(
            task=self,
            inputs=inputs,
            targets=targets,
            mask=mask,
            valid=valid,
            conditions=conditions,
            epochs=epochs,
        )

    @cached_property
    def _missing(self) -> dict[str, np.ndarray]:
        """What each condition holds where a task does not have it: NaN, or an empty word; shape ()."""
        missing = {}
        for name in dict.fromkeys(name for example in self._examples for name in example.conditions):
            kinds = [own.conditions[name].dtype for own in self._examples if name in own.conditions]
            words = [kind for kind in kinds if kind.kind == "U"]
            if len(kinds) == len(self.tasks) and len(set(kinds)) == 1:
                missing[name] = np.zeros((), kinds[0])
            else:
                missing[name] = np.array("", np.result_type(*words)) if words else np.array(np.nan)
        return missing

    def _conditions(self, which: np.ndarray, parts: dict[int, Trials]) -> dict[str, np.ndarray]:
        """Return the conditions of all tasks; what a task does not have is missing."""
        conditions: dict[str, np.ndarray] = {"task": np.asarray(self.task_names)[which]}
        conditions |= {name: np.full(len(which), none) for name, none in self._missing.items()}
        for k, part in parts.items():
            rows = _rows(which, k, parts)
            for name, values in part.conditions.items():
                conditions[name][rows] = values
        return conditions

    def _epochs(self, which: np.ndarray, parts: dict[int, Trials]) -> dict[str, tuple[Any, Any]]:
        if len(parts) == 1:
            return next(iter(parts.values())).epochs
        epochs = {}
        for name in dict.fromkeys(name for part in parts.values() for name in part.epochs):
            start, stop = np.zeros((2, len(which)), int)
            for k, part in parts.items():
                if name in part.epochs:
                    rows = _rows(which, k, parts)
                    start[rows], stop[rows] = part.epochs[name]
            epochs[name] = (start, stop)
        if all((edge == edge[0]).all() for edges in epochs.values() for edge in edges):
            return {name: (int(start[0]), int(stop[0])) for name, (start, stop) in epochs.items()}
        return epochs

    def of_task(self, trials: Trials, name: str) -> tuple[np.ndarray, Trials]:
        """Return which of the trials are of one task, and these as that task's own.

        Parameters
        ----------
        trials : Trials
            Of this task.
        name : str
            One of `task_names`.

        Returns
        -------
        positions : ndarray of int
        trials : Trials
            Of the task itself: its channels, conditions and epochs only.
        """
        k = self.task_names.index(need_choice(name, "task", self.task_names))
        rows = np.flatnonzero(trials.conditions["task"] == name)
        task, example = self.tasks[k], self._examples[k]
        own_inputs, own_outputs = self._channels[k]
        targets, mask = trials.targets[rows], trials.mask[rows]
        if self.loss == "cross_entropy":
            back = np.zeros(self.n_outputs, int)
            back[own_outputs] = np.arange(len(own_outputs))
            targets = back[targets]
        else:
            targets, mask = targets[..., own_outputs], mask[..., own_outputs]
        epochs = {
            key: (
                np.broadcast_to(start, len(trials.valid))[rows],
                np.broadcast_to(stop, len(trials.valid))[rows],
            )
            for key, (start, stop) in trials.epochs.items()
            if key in example.epochs
        }
        own = Trials(
            task,
            trials.inputs[rows][..., own_inputs],
            targets,
            mask,
            trials.valid[rows],
            {key: trials.conditions[key][rows].astype(old.dtype) for key, old in example.conditions.items()},
            epochs,
        )
        return rows, own

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return each trial's score by its own task, shape (trial,)."""
        scores = np.zeros(trials.n_trials)
        for k, name in enumerate(self.task_names):
            if not (trials.conditions["task"] == name).any():
                continue
            rows, own = self.of_task(trials, name)
            scores[rows] = self.tasks[k].score(outputs[rows][..., self._channels[k][1]], own)
        return scores

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the constant inputs of every task, each with its rule on."""
        found = {}
        for k, (name, task) in enumerate(zip(self.task_names, self.tasks, strict=True)):
            for label, constant in task.constant_inputs().items():
                inputs = np.zeros(self.n_inputs)
                inputs[self._channels[k][0]] = constant
                if self.rule_inputs:
                    inputs[len(self.input_labels) - len(self.tasks) + k] = 1
                found[f"{name}: {label}"] = inputs
        return found


@dataclass(frozen=True)
class MultiTask(TaskUnion):
    """One network, several tasks, and an input that says which.

    Story
        Each trial is of one of the tasks. Channels of the same name are shared by the tasks, so that all of
        them use one fixation cue; a rule channel for each task tells which one is on.

    Inputs
        ============= ===============================================
        channel       meaning
        ============= ===============================================
        as the tasks' united by name, those of other tasks at 0
        ``rule_NAME`` 1 throughout the trials of task NAME, otherwise 0
        ============= ===============================================

    Targets
        Those of the trial's task; outputs that only other tasks have are not asked for.

    Epochs
        Those of the trial's task.

    Scoring
        By the trial's task.

    Constant inputs
        Those of every task, with its rule on.

    Parameters
    ----------
    tasks : tuple of Task
        Tasks of one dt and one loss.
    rule_inputs : bool
        Whether there are rule channels.
    batches : {"mixed", "blocked"}
        Whether each trial of a batch draws its task, or the batch does.
    weights : tuple of float, optional
        How often each task is drawn, beside the others; all alike by default.
    names : tuple of str, optional
        Names of the tasks; by default a task's name in its paper, or its class's in snake_case.
    rule_noise_std : float
        Noise on the rule channels in units of sqrt(ms).

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2

    Examples
    --------
    >>> from neurornn.tasks import DelayedComparison, PerceptualDecisionMaking
    >>> both = MultiTask((PerceptualDecisionMaking(), DelayedComparison()))
    >>> both.input_labels[-2:]
    ('rule_perceptual_decision_making', 'rule_delayed_comparison')
    >>> trials = both.draw(6, np.random.default_rng(0))
    >>> float(both.score(trials.ideal_outputs(), trials).min())
    1.0
    """

    tasks: tuple[Task, ...]
    rule_inputs: bool = True
    batches: str = "mixed"
    weights: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None
    rule_noise_std: float = 0.0


def _rows(which: np.ndarray, k: int, parts: Mapping[int, Trials]) -> np.ndarray | slice:
    """Return the rows of a task's trials; a block of one task needs none picked out."""
    return slice(None) if len(parts) == 1 else np.flatnonzero(which == k)


class _Union:
    """The trials of several tasks, each task's in its rows of a batch."""

    def __init__(self, which: np.ndarray, parts: dict[int, Trials]) -> None:
        self._parts = parts
        self._rows = {k: _rows(which, k, parts) for k in parts}
        self._shape = len(which), max(part.n_steps for part in parts.values())

    def of(
        self,
        name: str,
        channels: Sequence[np.ndarray] | None = None,
        n_channels: int = 0,
        *,
        spare: int = 0,
        classes: Sequence[np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return the tasks' arrays of one name as one, 0 where a task has no such step or channel.

        Parameters
        ----------
        name : str
        channels : sequence of ndarray of int, optional
            Where each task's channels lie among ``n_channels``; none where the array has no channels.
        n_channels : int
        spare : int
            How many of these, the last ones, the caller sets all by itself.
        classes : sequence of ndarray of int, optional
            What each task's classes are called here.

        Returns
        -------
        ndarray, shape (trial, time) or (trial, time, channel)
            A single task's own where that is all.
        """
        arrays = {k: getattr(part, name) for k, part in self._parts.items()}
        if classes is not None:
            arrays = {k: classes[k][array] for k, array in arrays.items()}
        (k, array), *others = arrays.items()
        n_own = n_channels if channels is None else len(channels[k])
        if not others and (channels is None or np.array_equal(channels[k], np.arange(n_channels))):
            return array
        begin = np.empty if not others and n_own + spare == n_channels else np.zeros
        whole = begin(self._shape if channels is None else (*self._shape, n_channels), array.dtype)
        for k, array in arrays.items():
            if channels is None:
                whole[self._rows[k], : array.shape[1]] = array
            else:
                _put(whole, self._rows[k], channels[k], array)
        return whole


def _put(whole: np.ndarray, rows: np.ndarray | slice, channels: np.ndarray, own: np.ndarray) -> None:
    """Write a task's array (trial, time, channel) into the rows and channels of all tasks' array."""
    n_steps = own.shape[1]
    if np.array_equal(channels, np.arange(channels[0], channels[0] + len(channels))):
        # A slice is copied many times faster than places picked out one by one.
        whole[rows, :n_steps, channels[0] : channels[0] + len(channels)] = own
        return
    for k, channel in enumerate(channels):
        whole[rows, :n_steps, channel] = own[..., k]


def _name(task: Task) -> str:
    """Return a task's name in its paper, or its class's name in snake_case."""
    return task.paper_name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(task).__name__).lower()
