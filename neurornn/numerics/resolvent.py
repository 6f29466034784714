"""The smallest singular value of z - A at many points of the complex plane, as pseudospectra need it."""

from __future__ import annotations

import numpy as np

_SMALL = 64
"""Up to this size LAPACK's singular values of many matrices cost less than iterations."""
_MOST_STEPS = 60
FINE = 1e-7
"""Values to rounding."""
COARSE = 0.03
"""Values to about one in a thousand, for a first look."""


class Resolvent:
    """The norm of (z - A)^-1, after one Schur decomposition.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)

    References
    ----------
    Trefethen, L. N. (1999). Computation of pseudospectra. Acta Numerica 8, 247-295.
    doi:10.1017/S0962492900002932

    Examples
    --------
    Of a normal matrix it is one over the distance from the nearest eigenvalue:

    >>> Resolvent(np.diag([1.0, 2.0])).smallest_singular_value(np.array([4.0, 1j])).round(6)
    array([2.      , 1.414214])
    """

    def __init__(self, matrix: np.ndarray) -> None:
        from scipy.linalg import schur

        self._triangle = np.asfortranarray(schur(np.asarray(matrix, complex), output="complex")[0])
        self.eigenvalues = self._triangle.diagonal().copy()
        # Henrici's: the size of what a normal matrix does not have.
        self.departure = float(np.linalg.norm(np.triu(self._triangle, 1)))
        # Always the same: a random start would give the last digits by chance.
        n = len(self._triangle)
        start = np.exp(1j * np.arange(1, n + 1) ** 2)
        self._start = start / np.linalg.norm(start)

    def smallest_singular_value(self, points: np.ndarray, *, accuracy: float = FINE) -> np.ndarray:
        """Return the smallest singular value of z - A for each point z, in the shape of the points.

        The relative residual of each singular vector is at most ``accuracy``, the error of the value of the
        order of its square.
        """
        flat = np.asarray(points, complex).ravel()
        n = len(self._triangle)
        values = np.empty(flat.size)
        if n <= _SMALL:
            rows = max(1, 2**20 // n**2)
            for first in range(0, flat.size, rows):
                shifted = flat[first : first + rows, None, None] * np.eye(n) - self._triangle
                values[first : first + rows] = np.linalg.svd(shifted, compute_uv=False)[:, -1]
        else:
            shifted = self._triangle.copy(order="F")
            for k, point in enumerate(flat):
                np.fill_diagonal(shifted, self.eigenvalues - point)
                values[k] = self._smallest(shifted, accuracy)
        return values.reshape(np.shape(points))

    def _smallest(self, triangle: np.ndarray, accuracy: float) -> float:
        """Return a triangle's smallest singular value by Lanczos' method on its inverse."""
        from scipy.linalg.lapack import ztrtrs

        if np.abs(triangle.diagonal()).min() < 1e-140:
            return 0.0
        alpha, beta = np.zeros(_MOST_STEPS), np.zeros(_MOST_STEPS)
        before, vector, length = np.zeros_like(self._start), self._start, 0.0
        for step in range(_MOST_STEPS):
            product, _ = ztrtrs(triangle, vector, trans=2)
            product, _ = ztrtrs(triangle, product)
            alpha[step] = np.vdot(vector, product).real
            product = product - alpha[step] * vector - length * before
            length = float(np.linalg.norm(product))
            beta[step] = length
            if step % 2:
                m = step + 1
                small = np.diag(alpha[:m]) + np.diag(beta[:step], -1)
                ritz, weights = np.linalg.eigh(small)
                if length * abs(weights[-1, -1]) <= accuracy * ritz[-1]:
                    return float(ritz[-1] ** -0.5)
            if length <= 1e-14 * abs(alpha[0]):
                break
            before, vector = vector, product / length
        return float(np.linalg.svd(triangle, compute_uv=False)[-1])
