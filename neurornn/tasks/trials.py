"""A batch of trials: checked, labelled numpy arrays, axis order (trial, time, channel)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from neurornn.tasks.timeline import Timeline
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

if TYPE_CHECKING:
    from neurornn.tasks.task import TaskProtocol

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
    *("input", "output", "target", "mask", "valid", "rate", "state", "initial_state", "epoch", "time_offset"),
    *("score", "choice", "ideal_score"),
}
"""What a condition cannot be called, because a recording has a dimension or variable of that name."""
IDEAL_LOGIT = 10.0
"""How far a perfect network's logit for the right class stands above the others."""


def shared_by_all(array: np.ndarray) -> bool:
    """Return whether an array (trial, ...) holds one trial's numbers only, which all trials look at.

    Examples
    --------
    >>> shared_by_all(np.broadcast_to(np.ones((1, 5)), (3, 5))), shared_by_all(np.ones((3, 5)))
    (True, False)
    """
    return array.ndim > 0 and array.shape[0] > 1 and array.strides[0] == 0


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
        output channels. One that all trials share may be held once, as `numpy.broadcast_to` makes it.
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
        # One of shape (trial, time) is looked at before it is spread over the output channels.
        spread = not classes and mask.shape == expected[:2]
        if mask.shape != expected and not spread:
            raise InputError(f"`mask` must have the targets' shape {expected}, got {mask.shape}")
        valid = np.ones(expected[:2], bool) if self.valid is None else np.asarray(self.valid, bool)
        if valid.shape != expected[:2]:
            raise InputError(f"`valid` must have shape (trial, time) = {expected[:2]}, got {valid.shape}")
        held = mask[:1] if shared_by_all(mask) else mask
        for name, array in (("inputs", inputs), ("targets", targets), ("mask", held)):
            need_finite(array, name)
        if held.size and held.min() < 0:
            raise InputError(f"`mask` must not be negative, got {mask.min()}: use 0 where nothing is asked")
        conditions = {name: np.asarray(values) for name, values in self.conditions.items()}
        for name, values in conditions.items():
            if name in TAKEN_NAMES:
                raise InputError(
                    f"a condition cannot be called {name!r}, which datasets use: choose another name"
                )
            epoch, _, side = name.rpartition("_")
            if side in ("start", "stop") and epoch in self.epochs:
                raise InputError(
                    f"a condition cannot be called {name!r} beside an epoch {epoch!r}, whose bound is called "
                    "so: choose another name"
                )
            if values.shape != expected[:1]:
                raise InputError(
                    f"condition {name!r} must have shape (trial,) = {expected[:1]}, got {values.shape}"
                )
        _need_epochs(self.epochs, *expected[:2])
        if not valid.all():
            # A padded step exists in no trial, so that it can carry no loss either.
            if mask.ndim == 2:
                mask = mask * valid
            elif mask[~valid].any():
                mask = np.where(valid[:, :, None], mask, np.float32(0))
        if spread:
            mask = (
                mask[:, :, None]
                if task.n_outputs == 1
                else np.repeat(mask[:, :, None], task.n_outputs, axis=2)
            )
        for name, array in (("inputs", inputs), ("targets", targets), ("mask", mask), ("valid", valid)):
            object.__setattr__(self, name, array)
        object.__setattr__(self, "conditions", conditions)

    @classmethod
    def of_checked(cls, **parts: Any) -> Trials:
        """Return trials of arrays that are as `Trials` makes them, because they come out of other trials."""
        trials = object.__new__(cls)
        trials.__dict__.update(parts)
        return trials

    @classmethod
    def of_dataset(cls, dataset: xr.Dataset, task: TaskProtocol) -> Trials:
        """Return the trials that a dataset holds, as `to_dataset` and a recording of them do.

        Parameters
        ----------
        dataset : xarray.Dataset
            With ``input``, ``target``, ``mask`` and ``valid``.
        task : Task
            What they are trials of.

        Raises
        ------
        InputError
            Where a variable is missing.

        Examples
        --------
        >>> from neurornn.tasks import FlipFlop
        >>> trials = FlipFlop().draw(4, np.random.default_rng(0))
        >>> again = Trials.of_dataset(trials.to_dataset(), FlipFlop())
        >>> np.array_equal(again.inputs, trials.inputs)
        True
        """
        needed = ("input", "target", "mask", "valid")
        missing = [name for name in needed if name not in dataset]
        if missing:
            raise InputError(
                f"trials need the variables {', '.join(needed)}, and this dataset lacks "
                f"{', '.join(missing)}: record them too"
            )
        inputs, targets, mask, valid = (dataset[name].to_numpy() for name in needed)
        epochs = cls._epochs_of(dataset, float(task.dt))
        bounds = {f"{name}_{side}" for name in epochs for side in ("start", "stop")}
        conditions = {
            str(name): own.to_numpy()
            for name, own in dataset.coords.items()
            if own.dims == (TRIAL,) and name not in TAKEN_NAMES | bounds
        }
        return cls(task, inputs, targets, mask, valid, conditions, epochs)

    @staticmethod
    def _epochs_of(dataset: xr.Dataset, dt: float) -> dict[str, tuple[Any, Any]]:
        """Return the epochs that a dataset tells, in steps."""
        if "epoch" in dataset.coords:
            labels = dataset["epoch"].to_numpy()
            named = dict.fromkeys(labels[labels != ""].tolist())
            places = {name: np.flatnonzero(labels == name) for name in named}
            return {name: (int(at[0]), int(at[-1]) + 1) for name, at in places.items()}
        coords = {str(name): own for name, own in dataset.coords.items()}
        names = [name.removesuffix("_start") for name in coords if name.endswith("_start")]
        return {
            name: tuple(
                np.rint(coords[f"{name}_{side}"].to_numpy() / dt).astype(int) for side in ("start", "stop")
            )
            for name in names
            if f"{name}_stop" in coords
        }

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

    @property
    def timeline(self) -> Timeline:
        """Where the epochs lie, as steps of each trial."""
        return Timeline.of_epochs(self.epochs, self.n_trials, self.n_steps)

    def select(self, trials: np.ndarray) -> Trials:
        """Return some of the trials, by their positions or by a truth value for each.

        Parameters
        ----------
        trials : ndarray of int or bool

        Returns
        -------
        Trials
            As long as before, whatever the longest of them is.

        Examples
        --------
        >>> from neurornn.tasks import FlipFlop
        >>> FlipFlop().draw(8, np.random.default_rng(0)).select(np.arange(3)).n_trials
        3
        """
        edges = {
            name: tuple(edge if np.ndim(edge) == 0 else np.asarray(edge)[trials] for edge in both)
            for name, both in self.epochs.items()
        }
        return Trials(
            self.task,
            self.inputs[trials],
            self.targets[trials],
            self.mask[trials],
            self.valid[trials],
            {name: values[trials] for name, values in self.conditions.items()},
            edges,
        )

    def padded(self, n_steps: int) -> Trials:
        """Return the trials with steps behind them that do not exist, up to ``n_steps`` in all."""
        more = n_steps - self.n_steps

        def behind(array: np.ndarray) -> np.ndarray:
            return np.pad(array, [(0, 0), (0, more), *[(0, 0)] * (array.ndim - 2)])

        parts = {name: behind(getattr(self, name)) for name in ("inputs", "targets", "mask", "valid")}
        return Trials.of_checked(**self.__dict__ | parts) if more else self

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
            ``time`` where all trials share epochs that do not overlap, else ``<epoch>_start`` and
            ``<epoch>_stop`` in ms on ``trial``.
        """
        return xr.Dataset(*self.labelled())

    def labelled(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `to_dataset` is made of: variables and coordinates, each with its dimensions."""
        task = self.task
        per_target = (TRIAL, TIME) if task.loss == "cross_entropy" else (TRIAL, TIME, OUTPUT_CHANNEL)
        coords: dict[str, Any] = {
            TIME: (TIME, self.time, {"units": MILLISECONDS, "long_name": "start of the step"}),
            INPUT_CHANNEL: (INPUT_CHANNEL, list(task.input_labels)),
            OUTPUT_CHANNEL: (OUTPUT_CHANNEL, list(task.output_labels)),
        }
        coords |= {name: (TRIAL, values) for name, values in self.conditions.items()}
        coords |= self._epoch_coordinates()
        variables = {
            "input": ((TRIAL, TIME, INPUT_CHANNEL), self.inputs),
            "target": (per_target, self.targets),
            "mask": (per_target, self.mask),
            "valid": ((TRIAL, TIME), self.valid),
        }
        return variables, coords

    def _epoch_coordinates(self) -> dict[str, Any]:
        if not self.epochs:
            return {}
        shared = all(np.ndim(edge) == 0 for edges in self.epochs.values() for edge in edges)
        if shared:
            labels = np.full(self.n_steps, "", dtype=object)
            n_inside = 0
            for name, (start, stop) in self.epochs.items():
                labels[int(start) : int(stop)] = name
                n_inside += int(stop) - int(start)
            # A step has one label; where epochs overlap, their bounds tell.
            if np.count_nonzero(labels) == n_inside:
                return {"epoch": (TIME, labels.astype(str))}
        coords: dict[str, Any] = {}
        for name, edges in self.epochs.items():
            for side, edge in zip(("start", "stop"), edges, strict=True):
                moments = np.broadcast_to(np.asarray(edge), (self.n_trials,)) * float(self.task.dt)
                coords[f"{name}_{side}"] = (TRIAL, moments, {"units": MILLISECONDS})
        return coords


def _need_epochs(epochs: dict[str, tuple[Any, Any]], n_trials: int, n_steps: int) -> None:
    """Refuse an epoch that is no half-open range of steps within the trials."""
    varying: dict[str, list[np.ndarray]] = {}
    for name, own in epochs.items():
        if isinstance(own, tuple | list) and len(own) == 2 and type(own[0]) is type(own[1]) is int:
            if not 0 <= own[0] <= own[1] <= n_steps:
                raise _outside(name, own, n_steps)
            continue
        sides = [np.asarray(edge) for edge in own] if isinstance(own, tuple | list) else []
        whole = all(side.dtype.kind in "iu" and side.shape in ((), (n_trials,)) for side in sides)
        if len(sides) != 2 or not whole:
            raise InputError(
                f"epoch {name!r} must be (start, stop) in steps, whole numbers or arrays (trial,) of them, "
                f"got {own!r}"
            )
        varying[name] = [side if side.ndim else np.full(n_trials, side) for side in sides]
    if varying:
        # All epochs at once; which of them is wrong is asked only where one is.
        edges = np.array(list(varying.values()))
        outside = (edges[:, 0] < 0) | (edges[:, 0] > edges[:, 1]) | (edges[:, 1] > n_steps)
        if outside.any():
            name = list(varying)[int(outside.any(axis=1).argmax())]
            raise _outside(name, epochs[name], n_steps)


def _outside(name: str, epoch: object, n_steps: int) -> InputError:
    return InputError(
        f"epoch {name!r} must lie within the {n_steps} steps and end after it begins, got {epoch!r}"
    )


def _as_classes(targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Return targets as int64 classes, refusing fractions and classes that do not exist."""
    need_finite(targets, "targets")
    whole = targets.astype(np.int64, copy=False)
    if targets.dtype.kind not in "iub" and not np.array_equal(whole, targets):
        raise InputError("`targets` must be whole numbers, the right class at each step, for cross-entropy")
    if whole.size:
        least, most = whole.min(), whole.max()
        if least < 0 or most >= n_classes:
            raise InputError(f"`targets` must be classes from 0 to {n_classes - 1}, got {least} to {most}")
    return whole
