"""One mode of a matrix from a guess of it, to rounding, by inverse iteration from both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

_FINE = 1e-11
_REFINEMENTS = 8


def refine_mode(
    matrix: np.ndarray, value: complex, right: np.ndarray
) -> tuple[complex, np.ndarray, np.ndarray] | None:
    """Bring a mode that is roughly known to rounding.

    By inverse iteration from both sides, the shift renewed where that is slow. It leads to the mode nearest
    to the value.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    value : complex
        About the eigenvalue.
    right : ndarray, shape (n,)
        About its right vector.

    Returns
    -------
    value : complex
    right, left : ndarray of complex, shape (n,)
        Of length 1.
    None
        Where the iteration does not converge.

    Examples
    --------
    >>> value, _, _ = refine_mode(np.diag([1.0, 2.0, 5.0]), 2.3, np.ones(3))
    >>> round(value.real, 12)
    2.0
    """
    import warnings

    from scipy.linalg import LinAlgWarning, lu_factor, lu_solve

    value = complex(value)
    is_real = abs(value.imag) < 1e-12
    shift: Any = value.real if is_real else value
    right = right.real if is_real and np.abs(right.real).max() > 1e-8 else right
    left = right.conj()
    scale = np.abs(matrix).sum(axis=1).max()
    for _ in range(_REFINEMENTS):
        with warnings.catch_warnings():
            # A shift that is the eigenvalue to the last digit is no failure here.
            warnings.simplefilter("ignore", LinAlgWarning)
            shifted = matrix - shift * np.eye(len(matrix))
            shifted[0, 0] += 1e-15 * scale
            factors = lu_factor(shifted, check_finite=False)
            for _ in range(3):
                right = lu_solve(factors, right, check_finite=False)
                left = lu_solve(factors, left, trans=1, check_finite=False)
                right, left = right / np.linalg.norm(right), left / np.linalg.norm(left)
        if not (np.isfinite(right).all() and np.isfinite(left).all()):
            return None
        overlap = left @ right
        moved = matrix @ right
        shift = (left @ moved) / overlap if abs(overlap) > 1e-10 else right.conj() @ moved
        wrong = np.linalg.norm(moved - shift * right) + np.linalg.norm(left @ matrix - shift * left)
        if wrong <= _FINE * scale:
            return complex(shift), right.astype(complex), left.astype(complex)
    return None
