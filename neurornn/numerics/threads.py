"""Threads: how many torch may use for one operation, how many engines may, and work shared among our own."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_for_engines: ContextVar[int | None] = ContextVar("threads for engines", default=None)


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads per operation within the block, then as many as before.

    Parameters
    ----------
    count : int
        At least 1.

    Examples
    --------
    >>> with intra_op_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if count == before:
        # Torch makes a pool anew whenever it is told a number.
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def engine_threads() -> int:
    """Return how many threads an engine may use: torch's, unless `engines_alone` says otherwise."""
    count = _for_engines.get()
    return torch.get_num_threads() if count is None else count


@contextmanager
def engines_alone() -> Iterator[None]:
    """Leave torch's threads to the engines within the block, and one to every other operation.

    What training does beside the scan is small. One thread sums in one order, so that the result has the same
    bits on any machine; and torch's threads, which spin for milliseconds after each operation, take no core
    from the engine's.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with engines_alone():
    ...     engine_threads() == before, torch.get_num_threads()
    (True, 1)
    """
    token = _for_engines.set(engine_threads())
    try:
        with intra_op_threads(1):
            yield
    finally:
        _for_engines.reset(token)


def share(work: Callable[[int, int], object], count: int, n_threads: int) -> None:
    """Call ``work`` with the first and the last of ``count`` things: all at once, or one by one on threads.

    Examples
    --------
    >>> squares = [0, 0, 0]
    >>> def work(first, last):
    ...     for k in range(first, last):
    ...         squares[k] = k * k
    >>> share(work, 3, n_threads=2)
    >>> squares
    [0, 1, 4]
    """
    n_threads = min(n_threads, count)
    if n_threads <= 1:
        work(0, count)
        return
    # A thread takes the next thing when it is done with one, so that none waits for a core that is busy.
    numbers = itertools.count()

    def take() -> None:
        while (number := next(numbers)) < count:
            work(number, number + 1)

    helpers = [_pool(n_threads - 1).submit(take) for _ in range(n_threads - 1)]
    try:
        take()
    finally:
        # Whatever happened here, nobody may still write into arrays that are about to go.
        failures = [helper.exception() for helper in helpers]
    for failure in failures:
        if failure is not None:
            raise failure


@functools.cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="neurornn")


# A forked process has the pool's object but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
