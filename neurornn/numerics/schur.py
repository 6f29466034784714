"""The Schur decomposition with its eigenvalues in a given order, without which its triangle is not unique."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def ordered_schur(
    matrix: np.ndarray, size: Callable[[np.ndarray], np.ndarray] = np.abs
) -> tuple[np.ndarray, np.ndarray]:
    """Return A = Q T Q^H, T upper triangular with the largest eigenvalues first.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    size : callable
        What eigenvalues are ordered by: ``numpy.abs`` for maps, ``numpy.real`` for flows. Of equal ones the
        larger real part, then the larger imaginary part comes first.

    Returns
    -------
    triangle : ndarray of complex, shape (n, n)
    basis : ndarray of complex, shape (n, n)
        Orthonormal columns.

    Examples
    --------
    >>> triangle, basis = ordered_schur(np.array([[0.5, 5.0], [0.0, 1.0]]))
    >>> np.abs(triangle).round(6)
    array([[1. , 5. ],
           [0. , 0.5]])
    """
    from scipy.linalg import schur
    from scipy.linalg.lapack import ztrexc

    triangle, basis = schur(np.asarray(matrix, complex), output="complex")
    triangle, basis = np.asfortranarray(triangle), np.asfortranarray(basis)
    for place in range(len(triangle)):
        rest = triangle.diagonal()[place:]
        first = int(np.lexsort((-rest.imag, -rest.real.round(12), -size(rest).round(12)))[0])
        if first:
            # Swaps by rotations, in the place; LAPACK counts from 1.
            triangle, basis, _ = ztrexc(
                triangle, basis, place + first + 1, place + 1, overwrite_a=1, overwrite_q=1
            )
    return np.triu(triangle), basis
