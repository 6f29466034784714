"""The batches of a training, the next one drawn while the last one is used."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from neurornn.tasks import TaskProtocol, Trials


class Batches:
    """Batches of trials in their order, drawn by a thread of its own, or by the caller's.

    The trials are the same to the bit either way: one generator, one batch after the other, and none beyond
    the last. What goes wrong in a draw is raised by the `next` that asks for that batch. The thread ends
    with the ``with`` block, however that is left.

    Parameters
    ----------
    task : Task
    batch_size : int
    stream : numpy.random.Generator
        Nobody else may draw from it meanwhile.
    n_batches : int
    ahead : bool
        Whether the next batch is drawn while the last one is used.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> with Batches(FlipFlop(), 8, np.random.default_rng(0), n_batches=2) as batches:
    ...     batches.next().n_trials, batches.next().n_trials
    (8, 8)
    """

    def __init__(
        self,
        task: TaskProtocol,
        batch_size: int,
        stream: np.random.Generator,
        n_batches: int,
        *,
        ahead: bool = True,
    ) -> None:
        self._task, self._batch_size, self._stream = task, batch_size, stream
        self._ahead = ahead
        self._n_left = n_batches
        self._thread: ThreadPoolExecutor | None = None
        self._coming: Future[tuple[Trials, dict[str, Any]]] | None = None
        self.state = self._state()
        """State of the stream after the batch that was taken last, whatever is drawn already."""

    def __enter__(self) -> Batches:
        if self._ahead:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="neurornn trials")
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None

    def next(self) -> Trials:
        """Return the next batch."""
        if self._coming is None:
            trials, self.state = self._draw()
        else:
            trials, self.state = self._coming.result()
            self._begin()
        return trials

    def _begin(self) -> None:
        """Let the thread draw one more, where one more will be asked for."""
        self._coming = None
        if self._n_left > 0 and self._thread is not None:
            self._n_left -= 1
            self._coming = self._thread.submit(self._draw)

    def _draw(self) -> tuple[Trials, dict[str, Any]]:
        trials = self._task.draw(self._batch_size, self._stream)
        return trials, self._state()

    def _state(self) -> dict[str, Any]:
        # NumPy makes the dictionary and what is in it anew each time it is asked.
        return dict(self._stream.bit_generator.state)
