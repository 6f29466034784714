"""Means and covariances of many samples, in float64 whatever the data's precision."""

from __future__ import annotations

import numpy as np

CHUNK_BYTES = 4 * 2**20
"""Size of a chunk: small enough to stay in a core's cache."""


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

    Notes
    -----
    Centring each chunk before its product avoids the cancellation that E[xx'] - E[x]E[x]' suffers where the
    mean is large beside the spread.

    Examples
    --------
    >>> mean, spread = covariance(np.array([[0.0, 1.0], [2.0, 5.0]]))
    >>> mean, spread
    (array([1., 3.]), array([[2., 4.],
           [4., 8.]]))
    """
    n_samples, n_variables = samples.shape
    mean = samples.mean(axis=0, dtype=np.float64) if center else np.zeros(n_variables)
    total = np.zeros((n_variables, n_variables))
    rows = max(1, CHUNK_BYTES // (8 * max(n_variables, 1)))
    for first in range(0, n_samples, rows):
        chunk = samples[first : first + rows].astype(np.float64) - mean
        total += chunk.T @ chunk
    return mean, total / (n_samples - 1)
