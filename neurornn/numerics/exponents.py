"""Growth of volumes along a trajectory: products of derivatives, made orthonormal again and again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

RANGE = 16.0
"""How far, in natural logarithms, directions may grow apart between two orthonormalisations.

Beside a direction that has grown by exp(16) more, rounding (exp(-36) of float64) leaves the slowest one known
to some 1e-9; at a distance of 36 it would be lost.
"""

LOST = 30.0
"""Where a direction is so far behind, what is left of it is rounding: the map is singular there."""


class Orthonormal:
    """Directions that are carried along by derivatives, and the logarithms of what they have grown.

    Parameters
    ----------
    directions : Tensor, shape (variable, direction)
        To begin with; made orthonormal.

    Examples
    --------
    >>> carried = Orthonormal(torch.eye(2, dtype=torch.float64))
    >>> carried.directions = torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)) @ carried.directions
    >>> carried.grown().tolist() == [math.log(2), math.log(0.5)]
    True
    """

    def __init__(self, directions: Tensor) -> None:
        self.directions, _ = torch.linalg.qr(directions)

    def grown(self) -> np.ndarray:
        """Make the directions orthonormal again, and return the logarithms of how much each has grown."""
        self.directions, upper = torch.linalg.qr(self.directions)
        with np.errstate(divide="ignore"):
            logs = np.log(np.abs(upper.diagonal().numpy()))
        return np.where(logs < logs.max() - LOST, -np.inf, logs)


def interval(logs: np.ndarray, longest: int) -> int:
    """Return after how many steps directions are to be made orthonormal again.

    Parameters
    ----------
    logs : ndarray, shape (step, direction)
        How each has grown in some steps, of which the one that parts them most is what counts.
    longest : int

    Examples
    --------
    >>> interval(np.array([[0.1, -1.5], [0.2, -1.0]]), 50)
    10
    """
    if not np.isfinite(logs).all():
        # A map that is singular takes a direction at once: between two steps the others would take its place.
        return 1
    spread = float(np.ptp(logs, axis=1).max(initial=0.0))
    return max(1, min(longest, math.floor(RANGE / spread + 1e-9) if spread > 0 else longest))


def dimension(exponents: np.ndarray) -> float:
    """Return the Kaplan-Yorke dimension of exponents in descending order.

    NaN where too few are known: where all of them together do not shrink a volume, though there are others.

    Examples
    --------
    >>> dimension(np.array([0.5, 0.0, -1.0]))
    2.5
    """
    sums = np.cumsum(exponents)
    if not len(sums) or sums[0] < 0:
        return 0.0
    last = int(np.flatnonzero(sums >= 0)[-1])
    if last + 1 == len(sums):
        return math.nan
    return last + 1 + float(sums[last] / abs(exponents[last + 1]))


def batch_error(logs: np.ndarray, n_batches: int = 20) -> np.ndarray:
    """Return the standard error of a mean over time, from the means of stretches of it.

    Parameters
    ----------
    logs : ndarray, shape (time, direction)
    n_batches : int
        Stretches; fewer where there are fewer numbers, and NaN where there is but one.
    """
    n_batches = min(n_batches, len(logs))
    if n_batches < 2:
        return np.full(logs.shape[1], np.nan)
    length = len(logs) // n_batches
    means = logs[: length * n_batches].reshape(n_batches, length, -1).mean(1)
    with np.errstate(invalid="ignore"):
        return means.std(0, ddof=1) / math.sqrt(n_batches)


def stretches(n_steps: int, length: int) -> Iterator[range]:
    """Cut steps into stretches of a length, the last one of what is left.

    Examples
    --------
    >>> [len(own) for own in stretches(7, 3)]
    [3, 3, 1]
    """
    for first in range(0, n_steps, length):
        yield range(first, min(first + length, n_steps))
