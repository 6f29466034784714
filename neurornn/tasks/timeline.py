"""When the epochs of each trial begin and end, in steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from neurornn.vocabulary import InputError


class Timeline:
    """Where the epochs of a batch of trials lie.

    Parameters
    ----------
    start, stop : mapping of str to ndarray of int, shape (trial,)
        First step of each epoch, and the step after its last one.
    n_steps : int, optional
        Steps of the batch; by default those of the longest trial.

    Examples
    --------
    >>> timeline = Timeline.of_lengths({"stimulus": np.array([2, 2]), "response": np.array([1, 3])})
    >>> timeline.n_steps, timeline.during("response").astype(int).tolist()
    (5, [[0, 0, 1, 0, 0], [0, 0, 1, 1, 1]])
    >>> timeline.valid.sum(axis=1).tolist()
    [3, 5]
    """

    def __init__(
        self, start: Mapping[str, np.ndarray], stop: Mapping[str, np.ndarray], n_steps: int | None = None
    ) -> None:
        self.start = dict(start)
        self.stop = dict(stop)
        self.end = np.max(list(self.stop.values()), axis=0)
        """The step after the last one of each trial, shape (trial,)."""
        self.n_trials = len(self.end)
        self.n_steps = int(self.end.max()) if n_steps is None else n_steps
        self.step = np.arange(self.n_steps)[None, :]
        """The steps' numbers, shape (1, time)."""

    @classmethod
    def of_lengths(cls, lengths: Mapping[str, np.ndarray]) -> Timeline:
        """Return the timeline of epochs that follow one another, given their lengths in steps."""
        start, stop, now = {}, {}, np.zeros_like(next(iter(lengths.values())))
        for name, length in lengths.items():
            start[name], stop[name] = now, now + length
            now = stop[name]
        return cls(start, stop)

    @classmethod
    def of_epochs(cls, epochs: Mapping[str, tuple[Any, Any]], n_trials: int, n_steps: int) -> Timeline:
        """Return the timeline of the epochs that trials tell."""
        if not epochs:
            raise InputError("these trials have no epochs, so there is no timeline")
        start, stop = (
            {name: np.broadcast_to(np.asarray(edges[side]), (n_trials,)) for name, edges in epochs.items()}
            for side in (0, 1)
        )
        return cls(start, stop, n_steps)

    def during(self, epoch: str, last: str | None = None) -> np.ndarray:
        """Return which steps lie in an epoch, or from one through another, shape (trial, time)."""
        start, stop = self._known(self.start, epoch), self._known(self.stop, last or epoch)
        return (self.step >= start[:, None]) & (self.step < stop[:, None])

    def before(self, epoch: str) -> np.ndarray:
        """Return which steps come before an epoch begins, shape (trial, time)."""
        return self.step < self._known(self.start, epoch)[:, None]

    def since(self, epoch: str) -> np.ndarray:
        """Return which steps of a trial come once an epoch has begun, shape (trial, time)."""
        return (self.step >= self._known(self.start, epoch)[:, None]) & self.valid

    def steps_since(self, epoch: str) -> np.ndarray:
        """Return how many steps ago an epoch began, negative before, shape (trial, time)."""
        return self.step - self._known(self.start, epoch)[:, None]

    def length(self, epoch: str) -> np.ndarray:
        """Return how many steps an epoch lasts, shape (trial,)."""
        return self._known(self.stop, epoch) - self.start[epoch]

    @cached_property
    def valid(self) -> np.ndarray:
        """Which steps exist, shape (trial, time)."""
        return self.step < self.end[:, None]

    @property
    def epochs(self) -> dict[str, tuple[Any, Any]]:
        """The epochs as `Trials` holds them: whole numbers where all trials share them, else arrays."""
        edges = np.array([[self.start[name], self.stop[name]] for name in self.start])
        if (edges == edges[..., :1]).all():
            return {name: tuple(own[:, 0].tolist()) for name, own in zip(self.start, edges, strict=True)}
        return {name: (own[0], own[1]) for name, own in zip(self.start, edges, strict=True)}

    @staticmethod
    def _known(edges: dict[str, np.ndarray], epoch: str) -> np.ndarray:
        if epoch not in edges:
            raise InputError(f"there is no epoch {epoch!r}: these trials have {tuple(edges)}")
        return edges[epoch]
