"""The leading part of spectra: the modes of largest modulus of a matrix that is too large for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

_COARSE = 1e-3
_FEWEST_VECTORS = 30
_FINE = 1e-11
_REFINEMENTS = 8


def leading_eigensystem(matrix: np.ndarray, n_modes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the modes of largest modulus with their right and left vectors.

    Arnoldi's method finds them roughly, inverse iteration from both sides brings them to rounding: the
    modulus of many is alike in random networks, and to tell those apart would take Arnoldi's method as long
    as all modes take.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    n_modes : int
        At most n - 2. A conjugate pair is never cut, so that there may be one less.

    Returns
    -------
    eigenvalues : ndarray of complex, shape (mode,)
        The largest modulus first.
    right : ndarray of complex, shape (mode, n)
        Of length 1.
    left : ndarray of complex, shape (mode, n)
        Of length 1.
    None
        Where an iteration does not converge, or two converge to the same mode.

    References
    ----------
    Lehoucq, R. B., Sorensen, D. C. & Yang, C. (1998). ARPACK users' guide. SIAM.
    doi:10.1137/1.9780898719628

    Ostrowski, A. M. (1959). On the convergence of the Rayleigh quotient iteration for the computation of the
    characteristic roots and vectors. Archive for Rational Mechanics and Analysis 3, 325-340.
    doi:10.1007/BF00284184

    Examples
    --------
    >>> values, right, left = leading_eigensystem(np.diag(np.arange(100.0)), 2)
    >>> values.real.round(9).tolist()
    [99.0, 98.0]
    """
    from scipy.sparse.linalg import ArpackError, eigs

    n = len(matrix)
    # Always from the same vector: a random one would give the last digits by chance.
    first = np.cos(np.arange(1, n + 1, dtype=float))
    n_vectors = min(n, max(_FEWEST_VECTORS, 2 * n_modes + 10))
    try:
        rough, vectors = eigs(matrix, n_modes, which="LM", v0=first, ncv=n_vectors, tol=_COARSE)
    except (ArpackError, np.linalg.LinAlgError, ValueError):
        return None
    modes: list[tuple[complex, np.ndarray, np.ndarray]] = []
    for mode in _without_cut_pair(rough):
        value = rough[mode]
        if value.imag < 0 and modes and abs(modes[-1][0] - value.conj()) < 10 * _COARSE:
            value, right, left = modes[-1]
            modes.append((value.conjugate(), right.conj(), left.conj()))
            continue
        refined = refine_mode(matrix, value, vectors[:, mode])
        if refined is None:
            return None
        modes.append(refined)
    values = np.array([value for value, _, _ in modes])
    apart = np.abs(values[:, None] - values) + np.eye(len(values))
    if (apart < 1e-8).any() or (values.imag.sum() > 1e-8):
        return None
    order = np.lexsort((-values.imag, -values.real, -np.abs(values).round(12)))
    right, left = (np.array([own[side] for own in modes])[order] for side in (1, 2))
    return values[order], right, left


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


def _without_cut_pair(values: np.ndarray) -> np.ndarray:
    """Return the order of eigenvalues by modulus, the last left out where its conjugate is not there."""
    order = np.lexsort((-values.imag, -values.real, -np.abs(values).round(6)))
    last = values[order[-1]]
    paired = last.imag == 0 or (np.abs(values - last.conj()) < _COARSE * (1 + abs(last))).any()
    return order if paired else order[:-1]
