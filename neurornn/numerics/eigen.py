"""Eigenvalues and eigenvectors of many matrices, in one order."""

from __future__ import annotations

import numpy as np


def by_modulus(eigenvalues: np.ndarray) -> np.ndarray:
    """Return the order of eigenvalues along the last axis, the largest modulus first.

    Conjugate pairs have one modulus: the sign of the imaginary part settles their order.

    Examples
    --------
    >>> by_modulus(np.array([0.5, 1 - 1j, 1 + 1j])).tolist()
    [2, 1, 0]
    """
    return np.lexsort((-eigenvalues.imag, -eigenvalues.real, -np.abs(eigenvalues).round(12)), axis=-1)


def eigensystem(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and right eigenvectors, the largest modulus first.

    Parameters
    ----------
    matrices : ndarray, shape (..., n, n)

    Returns
    -------
    eigenvalues : ndarray of complex, shape (..., n)
    vectors : ndarray of complex, shape (..., n, n)
        Column [..., :, k] belongs to eigenvalue k and has length 1.
    """
    eigenvalues, vectors = np.linalg.eig(matrices)
    eigenvalues, vectors = eigenvalues.astype(complex), vectors.astype(complex)
    order = by_modulus(eigenvalues)
    eigenvalues = np.take_along_axis(eigenvalues, order, axis=-1)
    return eigenvalues, np.take_along_axis(vectors, order[..., None, :], axis=-1)
