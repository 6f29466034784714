"""Trials that are already there, as arrays: one's own stimuli, or those of an experiment."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from neurornn import seeding
from neurornn.tasks.bridges import BridgedTask
from neurornn.tasks.trials import LOSSES, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice, need_count

SPLITS = ("train", "validation", "test")
SPLIT_STREAM = "split of recorded trials"

Score = Callable[[np.ndarray, Trials], np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """Arrays of trials. Two are equal where their content is; the repr tells their sizes and their digest.

    Attributes
    ----------
    inputs, targets, mask, valid : ndarray
        As `Trials` has them.
    conditions, epochs : dict
    input_labels, output_labels : tuple of str
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    conditions: Mapping[str, np.ndarray]
    epochs: Mapping[str, tuple[Any, Any]]
    input_labels: tuple[str, ...]
    output_labels: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything, 64 hexadecimal digits."""
        total = hashlib.sha256()

        def add(name: str, values: Any) -> None:
            array = np.ascontiguousarray(values)
            total.update(f"{name} {array.dtype} {array.shape} ".encode())
            total.update(array.tobytes() if array.dtype != object else repr(array.tolist()).encode())

        for name in ("inputs", "targets", "mask", "valid", "input_labels", "output_labels"):
            add(name, getattr(self, name))
        for kind in (self.conditions, self.epochs):
            for name, values in kind.items():
                for part in values if isinstance(values, tuple) else (values,):
                    add(name, part)
        return total.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        n_trials, n_steps, n_inputs = self.inputs.shape
        return (
            f"Recording({n_trials} trials, {n_steps} steps, {n_inputs} inputs, "
            f"{len(self.output_labels)} outputs, sha256 {self.digest[:12]})"
        )


@dataclass(frozen=True)
class GivenScore:
    """A user's own score, whose repr is its name and not a place in memory."""

    function: Score

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"{getattr(self.function, '__module__', None)}.{name}"


@dataclass(frozen=True)
class RecordedTask(BridgedTask):
    """Trials from arrays, as `from_arrays` makes them.

    A batch holds no trial twice, unless more are asked for than there are: then every one comes equally
    often, give or take one. Some trials are kept for evaluation (`held_out`).

    Parameters
    ----------
    recording : Recording
    dt : float
        Time step in ms.
    loss : {"mse", "cross_entropy"}
    validation_share, test_share : float
        Shares of the trials that training does not draw from.
    split_seed : int
        Which trials these are.
    split : {"train", "validation", "test"}
        Of which part trials are drawn.
    given_score : GivenScore, optional
    """

    recording: Recording
    dt: float
    loss: str = "mse"  # type: ignore[misc, assignment]
    validation_share: float = 0.1
    test_share: float = 0.2
    split_seed: int = 0
    split: str = "train"
    given_score: GivenScore | None = field(default=None)

    def __post_init__(self) -> None:
        need_choice(self.loss, "loss", LOSSES)
        need_choice(self.split, "split", SPLITS)
        need_count(self.split_seed, "seed", least=0)
        kept = 0.0
        for name in ("validation_share", "test_share"):
            kept += need_at_least_zero(getattr(self, name), name)
        if kept >= 1:
            raise InputError(
                "`validation_share` and `test_share` must leave trials to train on, "
                f"got {self.validation_share} and {self.test_share}: make them smaller"
            )
        # Trials looks at every array and says what is wrong with it.
        asked = np.any(self.examples.mask.reshape(len(self.recording.inputs), -1) > 0, axis=1)
        if not asked.all():
            raise InputError(
                f"`mask` must ask for something in every trial, got trial {int(np.argmin(asked))} with none: "
                "leave out such trials"
            )
        if not len(self._members("train")):
            raise InputError(
                f"`inputs` must hold more trials than are kept for evaluation, got {asked.size}: "
                "set validation_share=0 and test_share=0"
            )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels."""
        return len(self.recording.input_labels)

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels, or of classes."""
        return len(self.recording.output_labels)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return self.recording.input_labels

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return self.recording.output_labels

    @cached_property
    def examples(self) -> Trials:
        """All trials, in the order in which they were given."""
        arrays = self.recording
        return Trials(
            self,
            arrays.inputs,
            arrays.targets,
            arrays.mask,
            arrays.valid,
            dict(arrays.conditions),
            dict(arrays.epochs),
        )

    @cached_property
    def members(self) -> np.ndarray:
        """Which of the given trials are drawn from, as sorted positions."""
        # A part of which nothing was kept is all that there is.
        own = self._members(self.split)
        return own if len(own) else self._members("train")

    def _members(self, split: str) -> np.ndarray:
        n_trials = len(self.recording.inputs)
        sizes = [
            max(1, round(share * n_trials)) if share else 0
            for share in (self.validation_share, self.test_share)
        ]
        order = seeding.numpy_stream(self.split_seed, SPLIT_STREAM).permutation(n_trials)
        parts = np.split(order, np.cumsum(sizes))
        return np.sort(dict(zip(("validation", "test", "train"), parts, strict=True))[split])

    def held_out(self, part: str = "test") -> RecordedTask:
        """Return the task that draws from the trials kept for evaluation, all of them where none are."""
        return dataclasses.replace(self, split=part)

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for which."""
        n_trials, members = need_count(n_trials, "n_trials"), self.members
        whole, rest = divmod(n_trials, len(members))
        rounds = [rng.permutation(members) for _ in range(whole)]
        return self.examples.select(np.concatenate([*rounds, rng.permutation(members)[:rest]]))

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return one score per trial, 1 for a perfect one, shape (trial,)."""
        if self.given_score is None:
            return super().score(outputs, trials)
        scores = np.asarray(self.given_score.function(outputs, trials), float)
        if scores.shape != (trials.n_trials,):
            raise InputError(
                f"`score` must return one number per trial, shape ({trials.n_trials},), got {scores.shape}"
            )
        return scores


def from_arrays(
    inputs: Any,
    targets: Any,
    mask: Any = None,
    conditions: Mapping[str, Any] | None = None,
    *,
    dt: float,
    loss: str = "mse",
    valid: Any = None,
    epochs: Mapping[str, tuple[Any, Any]] | None = None,
    input_labels: Sequence[str] | None = None,
    output_labels: Sequence[str] | None = None,
    score: Score | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
) -> RecordedTask:
    """Make a task of trials that you have as arrays, such as an experiment's.

    Parameters
    ----------
    inputs : array, shape (trial, time, input_channel)
    targets : array
        Shape (trial, time, output_channel) for ``"mse"``; whole numbers (trial, time), the right class at
        each step, for ``"cross_entropy"``.
    mask : array, shape of ``targets`` or (trial, time), optional
        Weight of each entry in the loss, 0 where nothing is asked; by default 1 at every valid step.
        Targets may be NaN where it is 0.
    conditions : mapping of str to array (trial,), optional
        What each trial is about.
    dt : float
        Time step in ms.
    loss : {"mse", "cross_entropy"}
    valid : array of bool, shape (trial, time), optional
        Steps that exist; those of a shorter trial come first. Arrays may be NaN elsewhere.
    epochs : mapping of str to (start, stop), optional
        Half-open ranges in steps; whole numbers, or arrays (trial,).
    input_labels, output_labels : sequence of str, optional
        Names of the channels; of the classes for ``"cross_entropy"``, where there are as many as the largest
        target says by default.
    score : function (outputs, trials) -> (trial,), optional
        Your own score, from 0 to 1. By default, over the entries with a mask above 0: for ``"mse"``
        1 - squared error / variance of the targets in all trials, and 0 where that is below 0; for
        ``"cross_entropy"`` the share of steps at which the largest output is the right class.
    validation_share, test_share : float
        Shares of the trials that training does not draw from: by the first it chooses its best weights
        (``task.held_out("validation")``), the second are for you (``task.held_out()``).
    seed : int
        Which trials these are.

    Returns
    -------
    RecordedTask

    Raises
    ------
    InputError
        Where shapes disagree or a number is missing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.standard_normal((50, 30, 2))
    >>> task = from_arrays(inputs, inputs.cumsum(axis=1), dt=10.0)
    >>> task.draw(8, rng).targets.shape, len(task.members), len(task.held_out().members)
    ((8, 30, 2), 35, 10)
    """
    need_choice(loss, "loss", LOSSES)
    shown = _array(inputs, "inputs", ("trial", "time", "input_channel"))
    axes = ("trial", "time") if loss == "cross_entropy" else ("trial", "time", "output_channel")
    asked = _array(targets, "targets", axes)
    if asked.shape[:2] != shown.shape[:2]:
        raise InputError(
            f"`inputs` and `targets` must have the same trials and steps, got {shown.shape[:2]} and "
            f"{asked.shape[:2]}: put trials first, then time"
        )
    exists = np.ones(shown.shape[:2], bool) if valid is None else np.array(valid)
    if exists.shape != shown.shape[:2] or exists.dtype.kind not in "biuf":
        raise InputError(f"`valid` must have shape (trial, time) = {shown.shape[:2]}, got {exists.shape}")
    exists = exists.astype(bool)
    if (np.diff(exists.astype(int), axis=1) > 0).any():
        raise InputError(
            "`valid` must be True first and False after a trial's end: move a trial's steps first"
        )
    weight = np.ones(shown.shape[:2]) if mask is None else np.array(mask, float)
    if weight.shape not in (asked.shape, shown.shape[:2]):
        raise InputError(f"`mask` must have the targets' shape {asked.shape}, got {weight.shape}")
    if weight.ndim < asked.ndim:
        weight = np.repeat(weight[:, :, None], asked.shape[2], axis=2)
    shown = np.where(exists[..., None], shown, 0)
    counts = (weight != 0) & (exists if asked.ndim == 2 else exists[..., None])
    asked = np.where(counts, asked, 0)
    if loss == "mse":
        n_outputs = asked.shape[2]
    elif output_labels is None:
        n_outputs = 1 + int(np.max(asked, initial=0, where=np.isfinite(asked)))
    else:
        n_outputs = len(output_labels)
    recording = Recording(
        shown.astype(np.float32),
        asked,
        weight,
        exists,
        {name: np.array(values) for name, values in (conditions or {}).items()},
        dict(epochs or {}),
        _labels(input_labels, "input", shown.shape[2]),
        _labels(output_labels, "output", n_outputs),
    )
    return RecordedTask(
        recording,
        dt,
        loss,
        validation_share,
        test_share,
        seed,
        given_score=None if score is None else GivenScore(score),
    )


def _array(values: Any, name: str, axes: tuple[str, ...]) -> np.ndarray:
    """Return a copy of what came as an array of numbers with these axes."""
    try:
        array = np.array(values)
    except ValueError as error:
        raise InputError(
            f"`{name}` must be one array ({error}): pad trials to one length and pass valid="
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"`{name}` must be an array of real numbers, got {array.dtype}: convert it to float")
    if array.ndim != len(axes):
        hint = f": add the axis of channels, {name}[..., None]" if array.ndim == len(axes) - 1 == 2 else ""
        raise InputError(f"`{name}` must have shape ({', '.join(axes)}), got {array.shape}{hint}")
    if array.size == 0:
        raise InputError(f"`{name}` must not be empty, got shape {array.shape}")
    return array


def _labels(labels: Sequence[str] | None, side: str, count: int) -> tuple[str, ...]:
    """Return the channels' names, or those that a task without names has."""
    if labels is None:
        return tuple(f"{side}_{k}" for k in range(count))
    names = (labels,) if isinstance(labels, str) else tuple(map(str, labels))
    if len(names) != count or len(set(names)) < count:
        raise InputError(f"`{side}_labels` must be {count} different names, got {names}")
    return names
