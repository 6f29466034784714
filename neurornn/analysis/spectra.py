"""Spectra of weight matrices and Jacobians: modes, how sure they are, and which chance would not give.

Reads (..., unit, unit). Gives eigenvalues, left and right vectors, condition numbers, singular values, and
the disc that the eigenvalues of a random matrix with entries of the same variances fill.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.analysis.matrices import Matrix, real_array, scaled
from neurornn.analysis.random_matrices import bulk_of
from neurornn.numerics.arnoldi import SPARE, leading_modes, without_cut
from neurornn.numerics.eigen import eigensystem
from neurornn.numerics.guarded import each_alone_on_failure
from neurornn.vocabulary import MODE, UNIT, InputError, need_count

SMALL = 200
"""Up to this size all modes cost no more than the leading ones."""


def eigenspectrum(
    matrix: Matrix | Any, n_eigenvalues: int | None = None, *, signs: np.ndarray | None = None
) -> xr.Dataset:
    """Return eigenvalues, left and right eigenvectors and singular values of a square matrix.

    Parameters
    ----------
    matrix : ndarray, Tensor, DataArray or network, shape (..., unit, unit)
        Entry [i, j] is from unit j to unit i; of a network, ``recurrent_weight``. Of several matrices, the
        last two dimensions are the units'; the others keep their names (``matrix`` where there is none).
        Computed in float64.
    n_eigenvalues : int, optional
        How many of largest modulus to find, of one matrix; all by default. A conjugate pair is never cut, so
        there may be one more. Above 200 units Arnoldi's method finds them, which is much faster; where it
        does not converge it is asked for more, and then all are computed after all.
    signs : array of int, shape (unit,), optional
        The kind of each presynaptic unit, such as 1 and -1, for the law of Rajan and Abbott; by default what
        the columns' signs tell.

    Returns
    -------
    xarray.Dataset
        ``eigenvalue_real``, ``eigenvalue_imag (mode,)``, the largest modulus first;
        ``right_vector_real/_imag (mode, unit)`` of length 1 and ``left_vector_real/_imag (mode, unit)``
        scaled so that the sum of left times right is 1 (no conjugation), NaN where a mode is defective;
        ``condition_number (mode,)``, how far a small change of the matrix moves the eigenvalue at most;
        ``singular_value (singular_mode,)``.

        Against chance: ``circular_radius``, the radius of the disc that eigenvalues of a random matrix with
        entries of this variance fill; ``bulk_radius``, the same with the variance told for each kind of
        column (Rajan & Abbott); ``outlier_radius``, which eigenvalues of random matrices of this size stay
        within, but for one matrix in a hundred; ``is_outlier (mode,)``, whether the eigenvalue is beyond.

        Of one matrix, attributes ``spectral_radius``, ``spectral_abscissa``; of several, variables. A matrix
        on which LAPACK fails has NaN, and does not take the others down.

    Raises
    ------
    InputError
        Where the matrix is not square or an entry is not finite.

    Notes
    -----
    An outlier is told under the assumption that the rest is random, and independent from entry to entry.

    In Methods: "Eigenvalues of the recurrent weights were compared with the disc of radius
    sqrt(N (f_E var_E + f_I var_I)) that those of random weights with the same variances fill (Girko, 1985;
    Rajan & Abbott, 2006); eigenvalues beyond the reach of 99 % of random matrices of this size were called
    outliers."

    References
    ----------
    Trefethen, L. N. & Embree, M. (2005). Spectra and Pseudospectra. Princeton University Press.

    Girko, V. L. (1985). Circular law. Theory of Probability and its Applications 29, 694-706.
    doi:10.1137/1129095

    Rajan, K. & Abbott, L. F. (2006). Eigenvalue spectra of random matrices for neural networks. Physical
    Review Letters 97, 188104. doi:10.1103/PhysRevLett.97.188104

    Examples
    --------
    >>> eigenspectrum(np.array([[0.0, -2.0], [2.0, 0.0]])).eigenvalue_imag.values
    array([ 2., -2.])

    Random weights with g = 1.5, and 3 of structure in one direction:

    >>> n = 200
    >>> random = 1.5 * np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n)
    >>> spectrum = eigenspectrum(random + 3 / n)
    >>> round(float(spectrum.bulk_radius), 1), int(spectrum.is_outlier.sum())
    (1.5, 1)
    """
    values, dims, coords = _stack(matrix)
    n = values.shape[-1]
    batch = values.shape[:-2]
    kinds = None if signs is None else _kinds(signs, n)
    # Each matrix in its own power of two, so that no square of an entry is beyond float64.
    pairs = [scaled(own) for own in values.reshape(-1, n, n)]
    matrices, scale = np.array([own for own, _ in pairs]), np.array([own for _, own in pairs])[:, None]
    if n_eigenvalues is None:
        eigenvalues, right, left, condition, singular = _all_modes(matrices)
    else:
        if batch:
            raise InputError(
                f"`n_eigenvalues` is for one matrix, shape (unit, unit), got {values.shape}: leave it out, "
                "or pass the matrices one by one"
            )
        n_wanted = need_count(n_eigenvalues, "n_eigenvalues")
        if n_wanted > n:
            raise InputError(f"`n_eigenvalues` must be at most the number of units {n}, got {n_wanted}")
        eigenvalues, right, left, condition, singular = _leading_modes(matrices[0], n_wanted)
    radii = np.array([bulk_of(own, kinds) for own in matrices])
    is_outlier = np.abs(eigenvalues) > radii[:, 2:]
    eigenvalues, singular, radii = eigenvalues * scale, singular * scale, radii * scale
    modulus = np.abs(eigenvalues)

    def shaped(array: np.ndarray) -> np.ndarray:
        return array.reshape((*batch, *array.shape[1:]))

    result = xr.Dataset(
        {
            "eigenvalue_real": ((*dims, MODE), shaped(eigenvalues.real)),
            "eigenvalue_imag": ((*dims, MODE), shaped(eigenvalues.imag)),
            "right_vector_real": ((*dims, MODE, UNIT), shaped(right.real)),
            "right_vector_imag": ((*dims, MODE, UNIT), shaped(right.imag)),
            "left_vector_real": ((*dims, MODE, UNIT), shaped(left.real)),
            "left_vector_imag": ((*dims, MODE, UNIT), shaped(left.imag)),
            "condition_number": ((*dims, MODE), shaped(condition)),
            "singular_value": ((*dims, "singular_mode"), shaped(singular)),
            "circular_radius": (dims, shaped(radii[:, 0])),
            "bulk_radius": (dims, shaped(radii[:, 1])),
            "outlier_radius": (dims, shaped(radii[:, 2])),
            "is_outlier": ((*dims, MODE), shaped(is_outlier)),
        },
        coords=coords,
    )
    extremes = {"spectral_radius": modulus.max(axis=1), "spectral_abscissa": eigenvalues.real.max(axis=1)}
    for name, own in extremes.items():
        if batch:
            result[name] = (dims, shaped(own))
        else:
            result.attrs[name] = float(own[0])
    return result


def _stack(matrix: Any) -> tuple[np.ndarray, tuple[str, ...], dict[str, Any]]:
    """Return the matrices, the names of the dimensions before the last two, and their coordinates."""
    matrix = getattr(matrix, "recurrent_weight", matrix)
    values = real_array(matrix, "matrix")
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or not values.size:
        raise InputError(f"`matrix` must be square, shape (unit, unit), got {values.shape}")
    n_before = values.ndim - 2
    if not isinstance(matrix, xr.DataArray):
        names = ("matrix",) if n_before == 1 else tuple(f"matrix_{k}" for k in range(n_before))
        return values, names, {}
    dims = tuple(map(str, matrix.dims))
    clash = {MODE, UNIT, "singular_mode"} & set(dims[:-2])
    if clash:
        raise InputError(
            f"`matrix` must have the units as its last two dimensions, got {dims}: rename "
            f"{sorted(clash)[0]!r}"
        )
    kept = {name: own.variable for name, own in matrix.coords.items() if set(own.dims) <= set(dims[:-2])}
    return values, dims[:-2], {str(name): own for name, own in kept.items()}


def _kinds(signs: Any, n: int) -> np.ndarray:
    kinds = np.asarray(signs.detach().cpu() if isinstance(signs, torch.Tensor) else signs)
    if kinds.shape != (n,):
        raise InputError(f"`signs` must have shape (unit={n},), got {kinds.shape}")
    return kinds


_Modes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _all_modes(matrices: np.ndarray) -> _Modes:
    """Return eigenvalues, right and left vectors as rows, condition numbers and singular values of each."""
    eigenvalues, columns = each_alone_on_failure(eigensystem, matrices)
    (singular,) = each_alone_on_failure(lambda own: np.linalg.svd(own, compute_uv=False), matrices)
    left, condition = np.empty_like(columns), np.empty(eigenvalues.shape)
    for k, own in enumerate(columns):
        left[k], condition[k] = left_vectors(own, matrices[k])
    return eigenvalues, columns.swapaxes(-1, -2), left, condition, singular


def _leading_modes(matrix: np.ndarray, n_wanted: int) -> _Modes:
    """Return what `_all_modes` does, of the modes of largest modulus only."""
    n = len(matrix)
    found = None
    # More than are wanted, so that of several with almost one modulus none is missed; then more and more.
    for n_asked in (n_wanted + SPARE, 2 * n_wanted + 10, 4 * n_wanted + 20):
        if n <= SMALL or 4 * n_asked > n:
            break
        found = leading_modes(matrix, n_asked)
        if found is not None:
            break
    if found is None:
        *modes, singular = _all_modes(matrix[None])
        kept = without_cut(modes[0][0], n_wanted)
        eigenvalues, right, left, condition = (part[:, :kept] for part in modes)
        return eigenvalues, right, left, condition, singular[:, :n_wanted]
    from scipy.sparse.linalg import svds

    values, right, left = found
    kept = without_cut(values, n_wanted)
    first = np.cos(np.arange(1, n + 1, dtype=float))
    singular = np.sort(svds(matrix, n_wanted, v0=first, return_singular_vectors=False))[::-1]
    condition = np.linalg.norm(left, axis=1)
    return values[None, :kept], right[None, :kept], left[None, :kept], condition[None, :kept], singular[None]


def left_vectors(right: np.ndarray, matrix: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return left eigenvectors, and the eigenvalues' condition numbers, from right ones.

    Parameters
    ----------
    right : ndarray of complex, shape (n, n)
        Right eigenvectors of length 1 as columns.
    matrix : ndarray, shape (n, n), optional
        What they belong to: where the right vectors do not span the space, the modes that are not defective
        are then found by themselves.

    Returns
    -------
    left : ndarray of complex, shape (n, n)
        Row k is the left vector of mode k, with ``left @ right`` the identity; NaN for a defective mode.
    condition_number : ndarray, shape (n,)
        1 for a normal matrix, infinite for a defective mode.

    Examples
    --------
    >>> left_vectors(np.array([[1, 0.6], [0, 0.8]], complex))[0].real
    array([[ 1.  , -0.75],
           [ 0.  ,  1.25]])
    """
    n = len(right)
    if not np.isfinite(right).all():
        return np.full_like(right, np.nan), np.full(n, np.nan)
    try:
        left = np.linalg.inv(right)
    except np.linalg.LinAlgError:
        left = np.full_like(right, np.inf)
    # Beyond this the vectors span less than the space to working precision: there is no left basis.
    if np.linalg.norm(left) * np.linalg.norm(right) <= 1 / np.finfo(float).eps:
        return left, np.linalg.norm(left, axis=1)
    left, overlap = np.full_like(right, np.nan), np.zeros(n, complex)
    if matrix is not None:
        _, columns = eigensystem(matrix.T)
        # Both come in the order of the eigenvalues, which a matrix and its transpose share.
        overlap = (columns.T * right.T).sum(axis=1)
        usable = np.abs(overlap) > np.sqrt(n * np.finfo(float).eps)
        left[usable] = columns.T[usable] / overlap[usable, None]
    condition = np.linalg.norm(left, axis=1)
    return left, np.where(np.isnan(condition), np.inf, condition)
