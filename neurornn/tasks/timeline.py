"""When the epochs of each trial begin and end, in steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np

from neurornn.vocabulary import InputError

Edge = int | np.ndarray
"""A number of steps: one for all trials, or an array (trial,) where they differ."""
FEW_STEPS = 2**15
"""Below this many, steps are compared as numbers of 16 bits, several times as fast as of 64."""


class Timeline:
    """Where the epochs of a batch of trials lie.

    Parameters
    ----------
    epochs : mapping of str to (start, stop)
        First step of each epoch, and the step after its last one: whole numbers where all trials share them,
        which costs less, or arrays (trial,).
    n_trials : int
    n_steps : int, optional
        Steps of the batch; by default those of the longest trial.

    Examples
    --------
    >>> timeline = Timeline.of_lengths({"stimulus": 2, "response": np.array([1, 3])}, n_trials=2)
    >>> timeline.n_steps, timeline.during("response").astype(int).tolist()
    (5, [[0, 0, 1, 0, 0], [0, 0, 1, 1, 1]])
    >>> timeline.valid.sum(axis=1).tolist()
    [3, 5]
    """

    def __init__(
        self, epochs: Mapping[str, tuple[Edge, Edge]], n_trials: int, n_steps: int | None = None
    ) -> None:
        if not epochs:
            raise InputError("these trials have no epochs, so there is no timeline")
        self._epochs = dict(epochs)
        self.n_trials = n_trials
        self._known: dict[int, np.ndarray] = {}
        self._end: Edge = reduce(_later, (stop for _, stop in self._epochs.values()))
        last = self._end if isinstance(self._end, int) else int(self._end.max())
        self.n_steps = last if n_steps is None else n_steps
        self.step = np.arange(self.n_steps)[None, :]
        """The steps' numbers, shape (1, time)."""

    @classmethod
    def of_lengths(cls, lengths: Mapping[str, Edge], n_trials: int) -> Timeline:
        """Return the timeline of epochs that follow one another, given their lengths in steps."""
        epochs: dict[str, tuple[Edge, Edge]] = {}
        now: Edge = 0
        for name, length in lengths.items():
            begin, now = now, now + _shared(length)
            epochs[name] = begin, now
        return cls(epochs, n_trials)

    @classmethod
    def of_epochs(cls, epochs: Mapping[str, tuple[Any, Any]], n_trials: int, n_steps: int) -> Timeline:
        """Return the timeline of the epochs that trials tell."""
        edges = {name: (_shared(start), _shared(stop)) for name, (start, stop) in epochs.items()}
        return cls(edges, n_trials, n_steps)

    def during(self, epoch: str, last: str | None = None) -> np.ndarray:
        """Return which steps lie in an epoch, or from one through another, shape (trial, time)."""
        start, stop = self._edges(epoch)[0], self._edges(last or epoch)[1]
        if isinstance(start, int) and isinstance(stop, int):
            steps = np.zeros((self.n_trials, self.n_steps), bool)
            steps[:, start:stop] = True
            return steps
        # Of two truth values, the greater is the one that is true alone.
        return self._before(stop) > self._before(start)

    def before(self, epoch: str) -> np.ndarray:
        """Return which steps come before an epoch begins, shape (trial, time)."""
        return self._before(self._edges(epoch)[0])

    def since(self, epoch: str) -> np.ndarray:
        """Return which steps of a trial come once an epoch has begun, shape (trial, time)."""
        return self.valid > self._before(self._edges(epoch)[0])

    def steps_since(self, epoch: str) -> np.ndarray:
        """Return how many steps ago an epoch began, negative before, shape (trial, time)."""
        return self.step - self._of_each_trial(self._edges(epoch)[0])[:, None]

    def length(self, epoch: str) -> np.ndarray:
        """Return how many steps an epoch lasts, shape (trial,)."""
        start, stop = self._edges(epoch)
        return self._of_each_trial(stop - start)

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """First step of each epoch, each of shape (trial,)."""
        return {name: self._of_each_trial(start) for name, (start, _) in self._epochs.items()}

    @cached_property
    def stop(self) -> dict[str, np.ndarray]:
        """The step after the last one of each epoch, each of shape (trial,)."""
        return {name: self._of_each_trial(stop) for name, (_, stop) in self._epochs.items()}

    @cached_property
    def end(self) -> np.ndarray:
        """The step after the last one of each trial, shape (trial,)."""
        return self._of_each_trial(self._end)

    @cached_property
    def valid(self) -> np.ndarray:
        """Which steps exist, shape (trial, time)."""
        return self._before(self._end).copy()

    @cached_property
    def shared(self) -> bool:
        """Whether all trials have the same epochs."""
        return all(isinstance(edge, int) for both in self._epochs.values() for edge in both)

    @cached_property
    def epochs(self) -> dict[str, tuple[Any, Any]]:
        """The epochs as `Trials` holds them: whole numbers where all trials share them, else arrays."""
        if self.shared:
            return self._epochs
        return {name: (self.start[name], self.stop[name]) for name in self._epochs}

    def fill(
        self, array: np.ndarray, values: np.ndarray | float, epoch: str, last: str | None = None
    ) -> None:
        """Set one channel during an epoch, or from one through another, in place.

        Parameters
        ----------
        array : ndarray, shape (trial, time)
            Such as ``inputs[..., 1]``; what lies outside the epoch stays as it is.
        values : float or ndarray, shape (trial,)
        epoch, last : str
        """
        start, stop = self._edges(epoch)[0], self._edges(last or epoch)[1]
        values = np.asarray(values, array.dtype)
        if values.ndim:
            values = values[:, None]
        if isinstance(start, int) and isinstance(stop, int):
            array[:, start:stop] = values
        else:
            np.copyto(array, values, where=self.during(epoch, last))

    def fill_before(self, array: np.ndarray, value: float, epoch: str) -> None:
        """Set one channel, shape (trial, time), before an epoch begins, in place."""
        start = self._edges(epoch)[0]
        if isinstance(start, int):
            array[:, :start] = value
        else:
            np.copyto(array, value, where=self._before(start))

    def add(
        self,
        array: np.ndarray,
        values: np.ndarray,
        epoch: str,
        last: str | None = None,
        *,
        trials: np.ndarray | None = None,
    ) -> None:
        """Add a vector to some trials' channels during an epoch, or from one through another, in place.

        Parameters
        ----------
        array : ndarray, shape (trial, time, channel)
        values : ndarray, shape (trial, channel)
        epoch, last : str
        trials : ndarray of bool, shape (trial,), optional
            Which trials; all by default.
        """
        start, stop = self._edges(epoch)[0], self._edges(last or epoch)[1]
        if trials is None or trials.all():
            trials = None
        if trials is None and isinstance(start, int) and isinstance(stop, int):
            array[:, start:stop] += values[:, None]
            return
        starts, stops = self._of_each_trial(start).tolist(), self._of_each_trial(stop).tolist()
        # Trial by trial: a truth value for every step and channel would cost several times as much.
        for trial in range(self.n_trials) if trials is None else np.flatnonzero(trials).tolist():
            array[trial, starts[trial] : stops[trial]] += values[trial]

    def turn(self, array: np.ndarray, before: np.ndarray, after: np.ndarray, epoch: str) -> None:
        """Set all channels to one vector before an epoch begins, and to another from then on, in place.

        Parameters
        ----------
        array : ndarray, shape (trial, time, channel)
        before, after : ndarray, shape (channel,) or (trial, channel)
        epoch : str
        """
        start = self._edges(epoch)[0]
        if isinstance(start, int):
            array[:, :start] = before[..., None, :]
            array[:, start:] = after[..., None, :]
            return
        shape = self.n_trials, array.shape[2]
        before, after = np.broadcast_to(before, shape), np.broadcast_to(after, shape)
        for own, step, first, second in zip(array, start.tolist(), before, after, strict=True):
            own[:step] = first
            own[step:] = second

    def _edges(self, epoch: str) -> tuple[Edge, Edge]:
        if epoch not in self._epochs:
            raise InputError(f"there is no epoch {epoch!r}: these trials have {tuple(self._epochs)}")
        return self._epochs[epoch]

    def _of_each_trial(self, edge: Edge) -> np.ndarray:
        return np.full(self.n_trials, edge) if isinstance(edge, int) else edge

    def _before(self, edge: Edge) -> np.ndarray:
        """Return which steps come before an edge; many are asked for again, so each is worked out once."""
        key = edge if isinstance(edge, int) else -id(edge)
        if key not in self._known:
            if isinstance(edge, int):
                steps = np.zeros((self.n_trials, self.n_steps), bool)
                steps[:, :edge] = True
            else:
                steps = self._counter < edge.astype(self._counter.dtype)[:, None]
            steps.setflags(write=False)
            self._known[key] = steps
        return self._known[key]

    @cached_property
    def _counter(self) -> np.ndarray:
        return self.step.astype(np.int16) if self.n_steps < FEW_STEPS else self.step


def _shared(edge: Any) -> Edge:
    """Return a number of steps as one where all trials have the same."""
    if isinstance(edge, int):
        return edge
    edge = np.asarray(edge)
    if edge.ndim == 0:
        return int(edge)
    return int(edge[0]) if edge.size and (edge == edge[0]).all() else edge


def _later(one: Edge, other: Edge) -> Edge:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    return np.maximum(one, other)
