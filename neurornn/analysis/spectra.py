"""Spectra of weight matrices and Jacobians."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from neurornn.numerics.eigen import eigensystem
from neurornn.vocabulary import MODE, UNIT, InputError, need_finite


def eigenspectrum(matrix: np.ndarray | torch.Tensor | xr.DataArray) -> xr.Dataset:
    """Return eigenvalues, left and right eigenvectors and singular values of a square matrix.

    Parameters
    ----------
    matrix : ndarray, Tensor or DataArray, shape (unit, unit)
        Entry [i, j] is from unit j to unit i. Computed in float64.

    Returns
    -------
    xarray.Dataset
        ``eigenvalue_real``, ``eigenvalue_imag (mode,)``, the largest modulus first;
        ``right_vector_real/_imag (mode, unit)`` of length 1 and ``left_vector_real/_imag (mode, unit)``
        scaled so that the sum of left times right is 1 (no conjugation), NaN where the matrix is defective;
        ``condition_number (mode,)``, how far a small change of the matrix moves the eigenvalue at most;
        ``singular_value (singular_mode,)``. Attributes: ``spectral_radius``, ``spectral_abscissa``.

    Raises
    ------
    InputError
        Where the matrix is not square or an entry is not finite.

    References
    ----------
    Trefethen, L. N. & Embree, M. (2005). Spectra and Pseudospectra. Princeton University Press.

    Examples
    --------
    >>> eigenspectrum(np.array([[0.0, -2.0], [2.0, 0.0]])).eigenvalue_imag.values
    array([ 2., -2.])
    """
    if isinstance(matrix, torch.Tensor):
        matrix = matrix.detach().cpu().numpy()
    values = np.asarray(matrix)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
        raise InputError(f"`matrix` must be square, shape (unit, unit), got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise InputError(f"`matrix` must hold real numbers, got {values.dtype}")
    need_finite(values, "matrix")
    values = values.astype(np.float64)
    eigenvalues, right = eigensystem(values)
    left, condition_number = left_vectors(right)
    return xr.Dataset(
        {
            "eigenvalue_real": (MODE, eigenvalues.real),
            "eigenvalue_imag": (MODE, eigenvalues.imag),
            "right_vector_real": ((MODE, UNIT), right.T.real),
            "right_vector_imag": ((MODE, UNIT), right.T.imag),
            "left_vector_real": ((MODE, UNIT), left.real),
            "left_vector_imag": ((MODE, UNIT), left.imag),
            "condition_number": (MODE, condition_number),
            "singular_value": ("singular_mode", np.linalg.svd(values, compute_uv=False)),
        },
        attrs={
            "spectral_radius": float(np.abs(eigenvalues).max()),
            "spectral_abscissa": float(eigenvalues.real.max()),
        },
    )


def left_vectors(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return left eigenvectors, and the eigenvalues' condition numbers, from right ones.

    Parameters
    ----------
    right : ndarray of complex, shape (n, n)
        Right eigenvectors of length 1 as columns.

    Returns
    -------
    left : ndarray of complex, shape (n, n)
        Row k is the left vector of mode k, with ``left @ right`` the identity; NaN for a defective matrix.
    condition_number : ndarray, shape (n,)
        1 for a normal matrix, infinite for a defective one.
    """
    n = len(right)
    # Beyond this the vectors span less than the space to working precision: there is no left basis.
    if np.linalg.cond(right) > 1 / (n * np.finfo(float).eps):
        return np.full_like(right, np.nan), np.full(n, np.inf)
    left = np.linalg.inv(right)
    return left, np.linalg.norm(left, axis=1)
