"""What the eigenvalues of large random matrices are, to hold those of a network against.

The circular law (entries alike) and the law of Rajan and Abbott (columns of two kinds, as under Dale's law).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from neurornn.analysis.matrices import real_array, scaled
from neurornn.vocabulary import InputError, need_finite

CONFIDENCE = 0.99
"""Share of random matrices of which no eigenvalue lies beyond `edge`."""


class Bulk(NamedTuple):
    """Radii of the disc that a random matrix's eigenvalues fill, and beyond which one is an outlier.

    Attributes
    ----------
    circular : float
        sqrt(n v), v the variance of all entries.
    rajan_abbott : float
        sqrt(n sum_k f_k v_k) over the kinds k of columns, f_k the share of a kind and v_k the variance of its
        entries about their own mean. Where all columns are of one kind the two are the same.
    outlier : float
        What eigenvalues of matrices of this size stay below, but for one matrix in a hundred: `edge`.
    """

    circular: float
    rajan_abbott: float
    outlier: float


def bulk_of(matrix: np.ndarray, signs: np.ndarray | None = None) -> Bulk:
    """Return the disc that eigenvalues of a random matrix with entries of the same variances fill.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    signs : ndarray, shape (n,), optional
        The kind of each column, such as 1 for excitatory and -1 for inhibitory; by default what the entries
        tell, columns without any being of a kind of their own.

    Notes
    -----
    Next to the border of the disc the eigenvalues of columns of different variances v lie less dense than
    those of columns alike, by the factor <v^2> / <v>^2 (as `radial_law` tells): they reach as far as those of
    a matrix that is smaller by that.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = np.abs(rng.standard_normal((400, 400))) * np.where(np.arange(400) < 320, 1, -4) / 20
    >>> np.round(bulk_of(weights), 2)
    array([2.  , 1.2 , 1.38])
    """
    values, scale = scaled(matrix)
    n = len(values)
    kinds = column_signs(matrix) if signs is None else signs
    parts = [values[:, kinds == kind] for kind in np.unique(kinds)]
    sizes, variances = np.array([part.shape[1] for part in parts]), np.array([part.var() for part in parts])
    total = float(sizes @ variances)
    n_alike = total**2 / float(sizes @ variances**2) if total > 0 else n
    radius = float(np.sqrt(total))
    # What rounding makes of a zero is no outlier of a matrix without spread.
    outlier = radius * edge(max(1, round(n_alike))) + n * np.finfo(float).eps * float(np.abs(values).max())
    return Bulk(float(np.sqrt(n * values.var())) * scale, radius * scale, outlier * scale)


def column_signs(matrix: np.ndarray) -> np.ndarray:
    """Return 1 for columns without a negative entry, -1 for those without a positive one, else 0.

    All columns are 0 where any has entries of both signs: then there is no Dale's law to go by.

    Examples
    --------
    >>> column_signs(np.array([[1.0, -1.0], [2.0, 0.0]]))
    array([ 1, -1])
    """
    is_positive, is_negative = (matrix >= 0).all(axis=0), (matrix <= 0).all(axis=0)
    if not (is_positive | is_negative).all():
        return np.zeros(matrix.shape[1], dtype=int)
    # A column of zeros is of either kind; it is told by none of its own.
    return is_positive.astype(int) - is_negative.astype(int)


@cache
def edge(n: int) -> float:
    """Return how far the eigenvalues of a random matrix of finite size reach, by the radius of its disc.

    Of complex Gaussian matrices the squared moduli are, as a set, independent gamma variables of shapes 1 to
    n. Of real ones about half as many are free, the others being their conjugates; and those on the real line
    reach further, of which the expected number beyond a point is known exactly.

    Parameters
    ----------
    n : int
        Size of the matrix.

    Returns
    -------
    float
        What the largest modulus stays below in a share of about `CONFIDENCE` of matrices; tends to 1 with n.

    References
    ----------
    Kostlan, E. (1992). On the spectra of Gaussian matrices. Linear Algebra and its Applications 162-164,
    385-388. doi:10.1016/0024-3795(92)90386-O

    Edelman, A., Kostlan, E. & Shub, M. (1994). How many eigenvalues of a random matrix are real? Journal of
    the American Mathematical Society 7, 247-267. doi:10.1090/S0894-0347-1994-1231689-0

    Examples
    --------
    >>> round(edge(100), 2), round(edge(10000), 2)
    (1.17, 1.02)
    """
    from scipy.optimize import brentq
    from scipy.special import gammainc, gammaincc, gammaln

    # Shapes far below n do not reach the edge.
    shapes = np.arange(max(1, n - int(20 * np.sqrt(n)) - 20), n + 1)
    node, weight = np.polynomial.legendre.leggauss(64)

    def excess(radius: float) -> float:
        within = gammainc(shapes, n * radius**2)
        # The density of real eigenvalues, in units of an entry's standard deviation, over the next 12 units.
        x = radius * np.sqrt(n) + 6 * (1 + node)
        power = (n - 1) * np.log(x) - x**2 / 2 - gammaln(n / 2) - n / 2 * np.log(2)
        density = gammaincc(n - 1, x**2) / np.sqrt(2 * np.pi)
        density = density + np.exp(power) * gammainc((n - 1) / 2, x**2 / 2)
        n_real = 2 * 6 * weight @ density
        free = 0.5 * np.log(np.maximum(within, 1e-300)).sum()
        return float(free - n_real - np.log(CONFIDENCE))

    return float(brentq(excess, 1e-2, 1 + 10 / np.sqrt(n)))


def radial_law(radius: Any, variances: Any, shares: Any = 1.0) -> np.ndarray:
    """Return the share of a large random matrix's eigenvalues whose modulus is at most a radius.

    Parameters
    ----------
    radius : float or ndarray
        At least 0.
    variances : float or ndarray, shape (kind,)
        Of the entries in columns of each kind, times the number of units.
    shares : float or ndarray, shape (kind,)
        Which part of the columns is of each kind; they sum to 1.

    Returns
    -------
    ndarray
        Of the shape of ``radius``: 1 - h, h the solution of sum_k f_k v_k / (r^2 + v_k h) = 1.

    Raises
    ------
    InputError
        Where a radius or variance is negative, or the shares do not sum to 1.

    Notes
    -----
    In Methods: "The share of eigenvalues within a radius was compared with that of random matrices whose
    columns have the variances of the excitatory and inhibitory weights (Rajan & Abbott, 2006)."

    References
    ----------
    Rajan, K. & Abbott, L. F. (2006). Eigenvalue spectra of random matrices for neural networks. Physical
    Review Letters 97, 188104. doi:10.1103/PhysRevLett.97.188104

    Examples
    --------
    Alike columns fill the disc evenly; weak excitation and strong inhibition crowd towards the middle:

    >>> float(radial_law(0.5, 1.0))
    0.25
    >>> radial_law([0.25, 0.5, 0.75, 0.9], [0.25, 4.0], [0.8, 0.2]).round(3)
    array([0.193, 0.597, 0.841, 0.939])
    """
    radii = real_array(radius, "radius")
    spread, share = np.broadcast_arrays(
        np.atleast_1d(real_array(variances, "variances")), np.atleast_1d(real_array(shares, "shares"))
    )
    if (radii < 0).any() or (spread < 0).any():
        raise InputError("`radius` and `variances` must be at least 0, got a negative number")
    if (share < 0).any() or abs(share.sum() - 1) > 1e-9:
        raise InputError(f"`shares` must be at least 0 and sum to 1, got {share.tolist()}")
    squares = radii[..., None] ** 2
    need_finite(squares, "radius")
    # The sum falls with h: between h = 0 and 1 by bisection, to the last digit and for all radii at once.
    low, high = np.zeros(radii.shape), np.ones(radii.shape)
    inside = squares[..., 0] < (share * spread).sum()
    for _ in range(60):
        middle = (low + high) / 2
        below = squares + spread * middle[..., None]
        too_small = (share * spread / np.where(below > 0, below, np.inf)).sum(-1) > 1
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    return np.where(inside, 1 - (low + high) / 2, 1.0)
