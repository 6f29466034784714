"""The modes of largest modulus of a large matrix, with none left out, by Arnoldi's method to its end."""

from __future__ import annotations

import numpy as np

from neurornn.numerics.eigen import by_modulus

SPARE = 4
"""Modes to ask for beyond those that are wanted: of several with almost one modulus none is missed so."""
_ACCURACY = 1e-11


def leading_modes(matrix: np.ndarray, n_modes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return eigenvalues of largest modulus, the largest first, and their right and left vectors.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    n_modes : int
        At most n - 2. The last of them may be half of a conjugate pair.

    Returns
    -------
    eigenvalues : ndarray of complex, shape (mode,)
    right : ndarray of complex, shape (mode, n)
        Of length 1.
    left : ndarray of complex, shape (mode, n)
        Scaled so that the sum of left times right is 1.
    None
        Where the method does not converge, or left and right modes cannot be told to be the same.

    References
    ----------
    Lehoucq, R. B., Sorensen, D. C. & Yang, C. (1998). ARPACK users' guide. SIAM.
    doi:10.1137/1.9780898719628

    Examples
    --------
    >>> values, right, left = leading_modes(np.diag(np.arange(100.0)), 2)
    >>> values.real.round(9).tolist()
    [99.0, 98.0]
    """
    from scipy.sparse.linalg import ArpackError, eigs

    n = len(matrix)
    # Always from the same vector: a random one would give the last digits by chance.
    first = np.cos(np.arange(1, n + 1, dtype=float))
    n_vectors = min(n, max(40, 3 * n_modes))
    sides = []
    for own in (matrix, matrix.T):
        try:
            values, vectors = eigs(
                own, n_modes, which="LM", v0=first, ncv=n_vectors, tol=_ACCURACY, maxiter=300
            )
        except (ArpackError, np.linalg.LinAlgError):
            return None
        order = by_modulus(values)
        sides.append((values[order].astype(complex), vectors[:, order].T.astype(complex)))
    (values, right), (others, left) = sides
    # Conjugates at the end may be cut differently; what is left over has no partner.
    apart = np.abs(values[:, None] - others)
    partner = apart.argmin(axis=1)
    matched = apart[np.arange(len(values)), partner] <= 1e-8 * np.abs(values[0])
    n_matched = len(values) if matched.all() else int(matched.argmin())
    if n_matched < n_modes - 1:
        return None
    values, right, left = values[:n_matched], right[:n_matched], left[partner[:n_matched]]
    overlap = left @ right.T
    scale = overlap.diagonal().copy()
    # Modes of one eigenvalue, and defective ones, need more care than this.
    across = np.abs(overlap - np.diag(scale)).max(initial=0)
    if np.abs(scale).min(initial=1) < 1e-7 or across > 1e-7:
        return None
    return values, right, left / scale[:, None]


def without_cut(values: np.ndarray, n_wanted: int) -> int:
    """Return how many leading modes to keep, so that no conjugate pair is cut in two.

    Examples
    --------
    >>> without_cut(np.array([2.0, 1 + 1j, 1 - 1j, 0.5]), 2)
    3
    >>> without_cut(np.array([2.0, 1 + 1j]), 2)
    1
    """
    if n_wanted < len(values):
        return n_wanted + int(values[n_wanted - 1].imag > 0)
    kept = len(values)
    return kept - 1 if kept and values[-1].imag > 0 else kept
