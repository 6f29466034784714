"""Means and covariances of many samples, chunk by chunk, in float64 whatever the data's precision."""

from __future__ import annotations

import numpy as np

CHUNK = 512
"""Samples of a chunk: few enough that their products add up in float32 without much rounding."""
MANY = 100_000
"""Samples of float32 from which on the products are taken in float32 too: their errors average out."""


class Scatter:
    """The sum of samples and of their products, which grows with the samples that are taken in.

    Everything is told about a point near the mean, that of the first samples, so that nothing cancels where
    the mean is large beside the spread: what E[xx'] - E[x]E[x]' suffers from.

    Parameters
    ----------
    n_variables : int
    single : bool
        Whether the products of float32 samples within a chunk are taken in float32. Twice as fast; of a
        million samples the variances are off by some 1e-8 of the largest one.

    Examples
    --------
    >>> scatter = Scatter(2)
    >>> scatter.add(np.array([[0.0, 1.0]]))
    >>> scatter.add(np.array([[2.0, 5.0]]))
    >>> scatter.mean, scatter.covariance()
    (array([1., 3.]), array([[2., 4.],
           [4., 8.]]))
    """

    def __init__(self, n_variables: int, *, single: bool = False) -> None:
        self.n_samples = 0
        self._single = single
        self._shift: np.ndarray | None = None
        self._sum = np.zeros(n_variables)
        self._products = np.zeros((n_variables, n_variables))

    def add(self, samples: np.ndarray) -> None:
        """Take in samples, shape (sample, variable)."""
        single = self._single and samples.dtype == np.float32
        dtype = np.float32 if single else np.float64
        if self._shift is None and len(samples):
            self._shift = samples[:CHUNK].mean(axis=0, dtype=np.float64).astype(dtype)
        if self._shift is None:
            return
        shift = self._shift.astype(dtype)
        space, ones = np.empty((CHUNK, len(self._sum)), dtype), np.ones(CHUNK, dtype)
        for first in range(0, len(samples), CHUNK):
            part = samples[first : first + CHUNK]
            chunk = np.subtract(part, shift, out=space[: len(part)], dtype=dtype)
            self._sum += np.asarray(ones[: len(part)] @ chunk, np.float64)
            self._products += chunk.T @ chunk
        self.n_samples += len(samples)

    @property
    def is_finite(self) -> bool:
        """Whether every sample, and every product, was a finite number."""
        return bool(np.isfinite(self._products).all() and np.isfinite(self._sum).all())

    @property
    def mean(self) -> np.ndarray:
        """The mean, shape (variable,)."""
        shift = 0.0 if self._shift is None else self._shift.astype(np.float64)
        return shift + self._sum / max(self.n_samples, 1)

    def covariance(self, *, center: bool = True) -> np.ndarray:
        """Return the covariance, or without centring the second moments about zero.

        Returns
        -------
        ndarray, shape (variable, variable)
            Divided by the number of samples less 1.
        """
        n = max(self.n_samples, 1)
        about_mean = self._products - np.outer(self._sum, self._sum) / n
        if not center:
            about_mean += n * np.outer(self.mean, self.mean)
        return about_mean / max(n - 1, 1)


def covariance(samples: np.ndarray, *, center: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the covariance of samples.

    Parameters
    ----------
    samples : ndarray, shape (sample, variable)
        At least two samples.
    center : bool
        Whether the mean is taken off; without, second moments about zero are returned and the mean is 0.

    Returns
    -------
    mean : ndarray, shape (variable,)
    covariance : ndarray, shape (variable, variable)
        Divided by the number of samples less 1.

    Examples
    --------
    >>> mean, spread = covariance(np.array([[0.0, 1.0], [2.0, 5.0]]))
    >>> mean, spread
    (array([1., 3.]), array([[2., 4.],
           [4., 8.]]))
    """
    scatter = Scatter(samples.shape[1], single=len(samples) >= MANY)
    scatter.add(samples)
    mean = scatter.mean if center else np.zeros(samples.shape[1])
    return mean, scatter.covariance(center=center)
