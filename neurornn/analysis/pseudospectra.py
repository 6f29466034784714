"""Pseudospectra: where the eigenvalues of a matrix go when it changes a little.

Reads (unit, unit). Gives the smallest singular value of z - A over a part of the complex plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.matrices import Matrix, square_matrix
from neurornn.numerics.resolvent import Resolvent
from neurornn.vocabulary import MODE, InputError, need_count


def pseudospectrum(
    matrix: Matrix | Any, *, extent: Sequence[float] | None = None, n_points: int = 80
) -> xr.Dataset:
    """Return how small a change of a matrix makes any point of the complex plane an eigenvalue.

    Parameters
    ----------
    matrix : ndarray, Tensor, DataArray or network, shape (unit, unit)
        Entry [i, j] is from unit j to unit i. Computed in float64.
    extent : (float, float, float, float), optional
        Lowest and highest real part, lowest and highest imaginary part; by default a square about the
        eigenvalues, half as wide again as they are, and wider for matrices far from normal.
    n_points : int
        Points along each side. 80 make smooth contours; the time goes with their square, and with the
        square of the number of units.

    Returns
    -------
    xarray.Dataset
        ``smallest_singular_value (imaginary_part, real_part)`` of z - A, one over the norm of the resolvent:
        the epsilon-pseudospectrum is where it is at most epsilon. Coordinates ``real_part``,
        ``imaginary_part``; and ``eigenvalue_real``, ``eigenvalue_imag (mode,)``, the largest modulus first.

    Raises
    ------
    InputError
        Where the matrix is not square or an entry is not finite, or the extent has no area.

    Notes
    -----
    In Methods: "The epsilon-pseudospectra of the Jacobian A, the sets of z with smallest singular value of
    z - A below epsilon, were computed on a grid after one Schur decomposition (Trefethen & Embree, 2005)."

    References
    ----------
    Trefethen, L. N. & Embree, M. (2005). Spectra and Pseudospectra. Princeton University Press.

    Trefethen, L. N. (1999). Computation of pseudospectra. Acta Numerica 8, 247-295.
    doi:10.1017/S0962492900002932

    Examples
    --------
    Of a normal matrix it is the distance from the nearest eigenvalue:

    >>> found = pseudospectrum(np.diag([-1.0, 1.0]), extent=(-2, 2, -2, 2), n_points=5)
    >>> found.smallest_singular_value.sel(imaginary_part=0).values
    array([1., 0., 1., 0., 1.])
    """
    values = square_matrix(matrix)
    count = need_count(n_points, "n_points", least=2)
    resolvent = Resolvent(values)
    eigenvalues = resolvent.eigenvalues
    left, right, bottom, top = _extent(resolvent, extent)
    real, imaginary = np.linspace(left, right, count), np.linspace(bottom, top, count)
    if bottom == -top:
        # Exactly, so that of a real matrix only one half has to be computed.
        half = np.linspace(bottom, top, count)[: (count + 1) // 2]
        imaginary = np.r_[half, -half[: count // 2][::-1]]
        if count % 2:
            imaginary[count // 2] = 0.0
        lower = resolvent.smallest_singular_value(real + 1j * imaginary[: len(half), None])
        smallest = np.concatenate([lower, lower[: count // 2][::-1]])
    else:
        smallest = resolvent.smallest_singular_value(real + 1j * imaginary[:, None])
    order = np.lexsort((-eigenvalues.imag, -eigenvalues.real.round(12), -np.abs(eigenvalues).round(12)))
    return xr.Dataset(
        {
            "smallest_singular_value": (("imaginary_part", "real_part"), smallest),
            "eigenvalue_real": (MODE, eigenvalues.real[order]),
            "eigenvalue_imag": (MODE, eigenvalues.imag[order]),
        },
        coords={"real_part": real, "imaginary_part": imaginary},
    )


def _extent(resolvent: Resolvent, extent: Sequence[float] | None) -> tuple[float, float, float, float]:
    if extent is not None:
        edges = np.asarray(extent, dtype=float)
        if (
            edges.shape != (4,)
            or not np.isfinite(edges).all()
            or edges[0] >= edges[1]
            or edges[2] >= edges[3]
        ):
            raise InputError(
                "`extent` must be four numbers, lowest and highest real part, lowest and highest imaginary "
                f"part, got {extent!r}"
            )
        return float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])
    eigenvalues = resolvent.eigenvalues
    real = eigenvalues.real
    middle = float(real.max() + real.min()) / 2
    width = max(float(np.ptp(real)) / 2, float(np.abs(eigenvalues.imag).max()))
    # Far from normal, a matrix has pseudospectra that reach far beyond its eigenvalues.
    width = max(width, min(resolvent.departure, float(np.abs(eigenvalues).max())))
    # All in one place: the size of the matrix's only eigenvalue, or 1.
    width = 1.5 * (width or abs(middle) or 1.0)
    return middle - width, middle + width, -width, width
