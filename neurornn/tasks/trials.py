"""Trials, and what a task must offer to be trained, recorded and scored.

A task is a frozen dataclass, so that its ``repr`` is its record. It draws batches of trials as labelled
numpy arrays, axis order (trial, time, channel), and says how outputs are scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from neurornn.vocabulary import (
    COMPONENT,
    CONDITION,
    INPUT_CHANNEL,
    MILLISECONDS,
    OUTPUT_CHANNEL,
    PRESYNAPTIC_UNIT,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    need_finite,
    need_positive,
)

Loss = Literal["mse", "cross_entropy"]
LOSSES = ("mse", "cross_entropy")
NO_CHOICE = -1
"""The choice of a trial in which the network chose nothing."""
TAKEN_NAMES = {
    *(
        TRIAL,
        TIME,
        UNIT,
        INPUT_CHANNEL,
        OUTPUT_CHANNEL,
        STATE_VARIABLE,
        PRESYNAPTIC_UNIT,
        CONDITION,
        COMPONENT,
    ),
    *("input", "output", "target", "mask", "valid", "rate", "state", "initial_state", "epoch"),
    *("score", "choice", "ideal_score"),
}
"""What a condition cannot be called, because a recording has a dimension or variable of that name."""
IDEAL_LOGIT = 10.0
"""How far a perfect network's logit for the right class stands above the others."""


@dataclass(frozen=True)
class Recipe:
    """Network and training that reach a task's criterion.

    Attributes
    ----------
    network : mapping
        Keyword arguments of the network, without the sizes that the task sets.
    training : mapping
        Keyword arguments of `neurornn.train`.
    criterion : float
        Mean score on held-out trials that the recipe reaches.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    criterion: float = 0.0


@runtime_checkable
class TaskProtocol(Protocol):
    """What the package asks of a task; inheriting from `Task` supplies most of it."""

    @property
    def n_inputs(self) -> int: ...  # noqa: D102
    @property
    def n_outputs(self) -> int: ...  # noqa: D102
    @property
    def dt(self) -> float: ...  # noqa: D102
    @property
    def loss(self) -> str: ...  # noqa: D102
    @property
    def input_labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def output_labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def recipe(self) -> Recipe: ...  # noqa: D102
    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials: ...  # noqa: D102
    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray: ...  # noqa: D102
    def constant_inputs(self) -> dict[str, np.ndarray]: ...  # noqa: D102


class Task:
    """Base of the package's tasks and of those written in a notebook.

    A subclass is a frozen dataclass with fields ``dt`` (ms) and its own parameters, the two sizes, `draw`
    and `score`; everything else has a default.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Echo(Task):
    ...     dt: float = 20.0
    ...     n_inputs = 1
    ...     n_outputs = 1
    ...
    ...     def draw(self, n_trials, rng):
    ...         inputs = rng.standard_normal((n_trials, 30, 1))
    ...         targets = np.roll(inputs, 1, axis=1)
    ...         mask = np.ones_like(targets)
    ...         mask[:, 0] = 0
    ...         return Trials(self, inputs, targets, mask)
    ...
    ...     def score(self, outputs, trials):
    ...         return (np.sign(outputs) == np.sign(trials.targets))[:, 1:].mean(axis=(1, 2))
    >>> Echo().draw(8, np.random.default_rng(0)).inputs.shape
    (8, 30, 1)
    """

    n_inputs: int
    n_outputs: int
    dt: float
    loss: ClassVar[Loss] = "mse"
    average_by: ClassVar[tuple[str, ...]] = ()
    """Conditions by which a report averages the units' rates."""
    accuracy_by: ClassVar[tuple[str, ...]] = ()
    """Conditions by which a report splits the score."""
    psychometric_stimulus: ClassVar[str | None] = None
    """Condition with the signed stimulus of a psychometric curve, above 0 where choice 2 is right."""

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return tuple(f"input_{k}" for k in range(self.n_inputs))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(f"output_{k}" for k in range(self.n_outputs))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the task's criterion."""
        return Recipe()

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials."""
        raise NotImplementedError(f"{type(self).__name__} must define draw(n_trials, rng) -> Trials")

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return one score per trial, 1 for a perfect one."""
        raise NotImplementedError(f"{type(self).__name__} must define score(outputs, trials) -> (trial,)")

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs under which fixed points mean something; by default all channels at zero."""
        return {"zero input": np.zeros(self.n_inputs)}

    def steps(self, duration: float) -> int:
        """Return how many whole steps fit into a duration in ms.

        A duration that is no multiple of dt is floored; a hair's breadth (1e-9 steps) is forgiven, because
        300 ms / 0.1 ms is 2999.9999... in floating point.
        """
        return int(np.floor(duration / self.dt + 1e-9))


def describe(task: TaskProtocol) -> dict[str, Any]:
    """Return a task's record in plain values: its class, its ``repr`` and the fields of its dataclass."""
    fields: tuple[dataclasses.Field[Any], ...] = ()
    if dataclasses.is_dataclass(task):
        fields = dataclasses.fields(task)
    parameters = {entry.name: _plain(getattr(task, entry.name)) for entry in fields}
    return {"class": type(task).__name__, "repr": repr(task), "parameters": parameters}


def _plain(value: Any) -> Any:
    """Return a value as JSON and TOML can hold it; what they cannot becomes its ``repr``."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value if isinstance(value, str | int | float) else repr(value)


@dataclass(frozen=True, eq=False)
class Trials:
    """A batch of trials: what goes in, what should come out, and what each trial is about.

    Attributes
    ----------
    task : Task
        The task that drew them; supplies dt, loss and the channels' names.
    inputs : ndarray, shape (trial, time, input_channel)
        Stored as float32.
    targets : ndarray
        Shape (trial, time, output_channel), stored as float32, where the task's loss is ``"mse"``; shape
        (trial, time), whole numbers, the right class at each step, where it is ``"cross_entropy"``.
    mask : ndarray, shape of targets
        Weight of each entry in the loss, 0 where nothing is asked; shape (trial, time) is spread over the
        output channels.
    valid : ndarray of bool, shape (trial, time), optional
        Steps that exist; trials shorter than the longest are padded. All True by default.
    conditions : dict of str to ndarray, shape (trial,)
        What each trial is about: coherence, delay, right answer.
    epochs : dict of str to (start, stop)
        Half-open ranges in steps; whole numbers, or arrays (trial,) where they differ between trials.

    Raises
    ------
    InputError
        Where shapes disagree, a number is NaN, or a class does not exist.
    """

    task: TaskProtocol
    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    valid: np.ndarray = None  # type: ignore[assignment]
    conditions: dict[str, np.ndarray] = field(default_factory=dict)
    epochs: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        task = self.task
        if task.loss not in LOSSES:
            raise InputError(f"the task's loss must be one of {LOSSES}, got {task.loss!r}")
        need_positive(task.dt, "dt", "ms")
        inputs = np.ascontiguousarray(self.inputs, dtype=np.float32)
        if inputs.ndim != 3 or inputs.shape[2] != task.n_inputs:
            raise InputError(
                f"`inputs` must have shape (trial, time, input_channel={task.n_inputs}), got {inputs.shape}: "
                "put trials first and channels last"
            )
        classes = task.loss == "cross_entropy"
        expected = inputs.shape[:2] if classes else (*inputs.shape[:2], task.n_outputs)
        targets = np.asarray(self.targets)
        if targets.shape != expected:
            axes = "(trial, time)" if classes else "(trial, time, output_channel)"
            raise InputError(f"`targets` must have shape {axes} = {expected}, got {targets.shape}")
        if classes:
            targets = _as_classes(targets, task.n_outputs)
        else:
            targets = np.ascontiguousarray(targets, dtype=np.float32)
        mask = np.asarray(self.mask, dtype=np.float32)
        if not classes and mask.shape == expected[:2]:
            mask = np.repeat(mask[:, :, None], task.n_outputs, axis=2)
        if mask.shape != expected:
            raise InputError(f"`mask` must have the targets' shape {expected}, got {mask.shape}")
        valid = np.ones(expected[:2], bool) if self.valid is None else np.asarray(self.valid, bool)
        if valid.shape != expected[:2]:
            raise InputError(f"`valid` must have shape (trial, time) = {expected[:2]}, got {valid.shape}")
        for name, array in (("inputs", inputs), ("targets", targets), ("mask", mask)):
            need_finite(array, name)
        if (mask < 0).any():
            raise InputError(f"`mask` must not be negative, got {mask.min()}: use 0 where nothing is asked")
        conditions = {name: np.asarray(values) for name, values in self.conditions.items()}
        for name, values in conditions.items():
            if name in TAKEN_NAMES:
                raise InputError(
                    f"a condition cannot be called {name!r}, which datasets use: choose another name"
                )
            if values.shape != expected[:1]:
                raise InputError(
                    f"condition {name!r} must have shape (trial,) = {expected[:1]}, got {values.shape}"
                )
        for name, edges in self.epochs.items():
            _need_epoch(name, edges, *expected[:2])
        # A padded step exists in no trial, so that it can carry no loss either.
        mask = mask * (valid if classes else valid[:, :, None])
        for name, array in (("inputs", inputs), ("targets", targets), ("mask", mask), ("valid", valid)):
            object.__setattr__(self, name, array)
        object.__setattr__(self, "conditions", conditions)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.inputs.shape[0]

    @property
    def n_steps(self) -> int:
        """Number of time steps, padding included."""
        return self.inputs.shape[1]

    @property
    def time(self) -> np.ndarray:
        """Start of each step in ms."""
        return np.arange(self.n_steps) * float(self.task.dt)

    def in_epoch(self, name: str) -> np.ndarray:
        """Return which valid steps belong to an epoch, shape (trial, time)."""
        if name not in self.epochs:
            raise InputError(f"there is no epoch {name!r}: these trials have {tuple(self.epochs)}")
        start, stop = (np.broadcast_to(np.asarray(edge), (self.n_trials,)) for edge in self.epochs[name])
        step = np.arange(self.n_steps)
        return (step >= start[:, None]) & (step < stop[:, None]) & self.valid

    def ideal_outputs(self) -> np.ndarray:
        """Return what a perfect network puts out, shape (trial, time, output_channel).

        The targets themselves, or logits that favour the right class for the cross-entropy.
        """
        if self.task.loss == "mse":
            return self.targets.copy()
        return IDEAL_LOGIT * np.eye(self.task.n_outputs, dtype=np.float32)[self.targets]

    def to_dataset(self) -> xr.Dataset:
        """Return the trials with every axis labelled.

        Returns
        -------
        xarray.Dataset
            ``input``, ``target``, ``mask``, ``valid``; conditions as coordinates on ``trial``; ``epoch`` on
            ``time`` where all trials share it, else ``<epoch>_start`` and ``<epoch>_stop`` in ms on
            ``trial``.
        """
        task = self.task
        per_target = (TRIAL, TIME) if task.loss == "cross_entropy" else (TRIAL, TIME, OUTPUT_CHANNEL)
        coords: dict[str, Any] = {
            TIME: (TIME, self.time, {"units": MILLISECONDS, "long_name": "start of the step"}),
            INPUT_CHANNEL: (INPUT_CHANNEL, list(task.input_labels)),
            OUTPUT_CHANNEL: (OUTPUT_CHANNEL, list(task.output_labels)),
        }
        coords |= {name: (TRIAL, values) for name, values in self.conditions.items()}
        coords |= self._epoch_coordinates()
        return xr.Dataset(
            {
                "input": ((TRIAL, TIME, INPUT_CHANNEL), self.inputs),
                "target": (per_target, self.targets),
                "mask": (per_target, self.mask),
                "valid": ((TRIAL, TIME), self.valid),
            },
            coords=coords,
        )

    def _epoch_coordinates(self) -> dict[str, Any]:
        if not self.epochs:
            return {}
        shared = all(np.ndim(edge) == 0 for edges in self.epochs.values() for edge in edges)
        if shared:
            labels = np.full(self.n_steps, "", dtype=object)
            for name, (start, stop) in self.epochs.items():
                labels[int(start) : int(stop)] = name
            return {"epoch": (TIME, labels.astype(str))}
        coords: dict[str, Any] = {}
        for name, edges in self.epochs.items():
            for side, edge in zip(("start", "stop"), edges, strict=True):
                moments = np.broadcast_to(np.asarray(edge), (self.n_trials,)) * float(self.task.dt)
                coords[f"{name}_{side}"] = (TRIAL, moments, {"units": MILLISECONDS})
        return coords


def _need_epoch(name: str, edges: Any, n_trials: int, n_steps: int) -> None:
    """Refuse an epoch that is no half-open range of steps within the trials."""
    sides = [np.asarray(edge) for edge in edges] if isinstance(edges, tuple | list) else []
    whole = all(side.dtype.kind in "iu" and side.shape in ((), (n_trials,)) for side in sides)
    if len(sides) != 2 or not whole:
        raise InputError(
            f"epoch {name!r} must be (start, stop) in steps, whole numbers or arrays (trial,) of them, "
            f"got {edges!r}"
        )
    start, stop = sides
    if (start < 0).any() or (start > stop).any() or (stop > n_steps).any():
        raise InputError(
            f"epoch {name!r} must lie within the {n_steps} steps and end after it begins, got {edges!r}"
        )


def _as_classes(targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Return targets as int64 classes, refusing fractions and classes that do not exist."""
    need_finite(targets, "targets")
    whole = targets.astype(np.int64)
    if not np.array_equal(whole, targets):
        raise InputError("`targets` must be whole numbers, the right class at each step, for cross-entropy")
    if whole.size and (whole.min() < 0 or whole.max() >= n_classes):
        raise InputError(
            f"`targets` must be classes from 0 to {n_classes - 1}, got {whole.min()} to {whole.max()}"
        )
    return whole
