"""Low-rank networks: their few variables, where these rest, and what random weights beside leave of it.

Reads the vectors m, n of W = M N^T / N, or their overlaps. Gives fixed points, their stability, and outliers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.gain_functions import GainFunction
from neurornn.analysis.matrices import Matrix, real_array
from neurornn.numerics.eigen import by_modulus
from neurornn.numerics.gaussian import normal_average
from neurornn.vocabulary import FIXED_POINT, MODE, UNIT, InputError, need_at_least_zero, need_count

LATENT = "latent"
_ACCURACY = 1e-12
_BOX = 1e3
"""How far latent variables of networks of unbounded units are looked for."""


def low_rank_fixed_points(
    m: Matrix,
    n: Matrix,
    activation: str | Callable[..., Any] = "tanh",
    *,
    inputs: Matrix | None = None,
    n_starts: int = 512,
    seed: int = 0,
) -> xr.Dataset:
    """Find the fixed points of x' = -x + M N^T f(x) / N + I, exactly, among its few latent variables.

    Everything along other directions decays, so x = M k + I with k = N^T f(M k + I) / N: as many equations as
    the rank. For rank one they are solved on a line that is scanned from end to end, so that none is missed
    that is farther than 1/4000 of the line from the next; for higher ranks from many starts.

    Parameters
    ----------
    m, n : array, shape (unit,) or (unit, rank)
        Output and input vectors of the weights W = m n^T / N.
    activation : str or callable
        The gain function f: a name, a network's ``activation``, or a torch function.
    inputs : array, shape (unit,), optional
        A constant input; zero by default.
    n_starts : int
        For ranks above one.
    seed : int
        Of the starts.

    Returns
    -------
    xarray.Dataset
        ``latent_state (fixed_point, latent)``, ``state (fixed_point, unit)``, ``residual (fixed_point,)``;
        ``eigenvalue_real/_imag (fixed_point, mode)`` of the flow's Jacobian, per tau, as many as the rank,
        largest real part first (all others are -1), ``kind`` (``stable, saddle, unstable, marginal``; a
        network of more units than its rank has no ``unstable`` one) and ``n_unstable``; and
        ``outlier_real/_imag (mode,)``, the eigenvalues of W that are not zero, those of N^T M / N.

    Raises
    ------
    InputError
        Where shapes do not agree or an entry is not finite.

    Notes
    -----
    In Methods: "Fixed points of the rank-R network were found in its R latent variables (Mastrogiuseppe &
    Ostojic, 2018), where their stability is that of an R x R matrix."

    References
    ----------
    Mastrogiuseppe, F. & Ostojic, S. (2018). Linking connectivity, dynamics, and computations in low-rank
    recurrent neural networks. Neuron 99, 609-623. doi:10.1016/j.neuron.2018.07.003

    Examples
    --------
    One unit that excites itself twice as much as it leaks has x = 2 tanh x:

    >>> points = low_rank_fixed_points([1.0], [2.0])
    >>> points.latent_state.values.round(6).ravel() + 0
    array([-1.915008,  0.      ,  1.915008])
    >>> points.kind.values.tolist()
    ['stable', 'unstable', 'stable']
    """
    left, right = _columns(m, "m"), _columns(n, "n")
    if left.shape != right.shape:
        raise InputError(f"`m` and `n` must have one shape (unit, rank), got {left.shape} and {right.shape}")
    n_units, rank = left.shape
    drive = np.zeros(n_units) if inputs is None else real_array(inputs, "inputs")
    if drive.shape != (n_units,):
        raise InputError(f"`inputs` must have shape (unit={n_units},), got {drive.shape}")
    equations = _Equations(left, right, drive, GainFunction(activation))
    if rank == 1:
        latent = equations.on_a_line()
    else:
        latent = equations.from_starts(need_count(n_starts, "n_starts"), np.random.default_rng(seed))
    latent = latent[np.lexsort(latent.T[::-1].round(9))]
    eigenvalues = np.linalg.eigvals(equations.slope(latent)).astype(complex) - 1
    order = np.lexsort((-eigenvalues.imag, -eigenvalues.real), axis=-1)
    eigenvalues = np.take_along_axis(eigenvalues, order, axis=-1)
    n_unstable = (eigenvalues.real > 1e-9).sum(axis=1)
    is_marginal = (np.abs(eigenvalues.real) <= 1e-9).any(axis=1)
    kind = np.where(n_unstable == 0, "stable", np.where(n_unstable == n_units, "unstable", "saddle"))
    kind = np.where(is_marginal, "marginal", kind).astype("U8")
    outliers = np.linalg.eigvals(right.T @ left / n_units).astype(complex)
    outliers = outliers[by_modulus(outliers)]
    return xr.Dataset(
        {
            "latent_state": ((FIXED_POINT, LATENT), latent),
            "state": ((FIXED_POINT, UNIT), latent @ left.T + drive),
            "residual": (FIXED_POINT, np.abs(equations(latent)).max(axis=1, initial=0)),
            "eigenvalue_real": ((FIXED_POINT, MODE), eigenvalues.real),
            "eigenvalue_imag": ((FIXED_POINT, MODE), eigenvalues.imag),
            "kind": (FIXED_POINT, kind),
            "n_unstable": (FIXED_POINT, n_unstable),
            "outlier_real": (MODE, outliers.real),
            "outlier_imag": (MODE, outliers.imag),
        }
    )


def _columns(vectors: Any, name: str) -> np.ndarray:
    array = real_array(vectors, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise InputError(f"`{name}` must have shape (unit,) or (unit, rank), got {array.shape}")
    return array


class _Equations:
    """N^T f(M k + I) / N - k for many k at once, shape (start, latent)."""

    def __init__(self, left: np.ndarray, right: np.ndarray, drive: np.ndarray, gain: GainFunction) -> None:
        self.left, self.right, self.drive, self.gain = left, right, drive, gain
        # What a bounded unit can make of anything bounds the latent variables.
        ends = np.abs(gain(np.array([-1e6, 1e6]))).max()
        largest = np.abs(right).mean(axis=0)
        self.bound = largest * ends * (1 + 1e-9) if ends < 100 else np.full(left.shape[1], _BOX)

    def __call__(self, latent: np.ndarray) -> np.ndarray:
        """Return the residual."""
        rates = self.gain(latent @ self.left.T + self.drive)
        return rates @ self.right / len(self.left) - latent

    def slope(self, latent: np.ndarray) -> np.ndarray:
        """Return the derivatives of N^T f(M k + I) / N, shape (start, latent, latent)."""
        slopes = self.gain.slope(latent @ self.left.T + self.drive)
        return np.einsum("su,ur,uq->srq", slopes, self.right, self.left, optimize=True) / len(self.left)

    def on_a_line(self) -> np.ndarray:
        """Return all zeros of rank one, shape (fixed_point, 1)."""
        from scipy.optimize import brentq

        bound = float(self.bound[0]) or 1.0
        even = np.linspace(-bound, bound, 4001)
        # Far out an unbounded network is looked at by size.
        if bound == _BOX:
            near = np.geomspace(1e-6, bound, 4000)
            even = np.r_[-near[::-1], 0, near]
        values = np.concatenate([self(part)[:, 0] for part in np.array_split(even[:, None], 64)])
        zeros = list(even[values == 0])
        for k in np.flatnonzero(values[:-1] * values[1:] < 0):
            zero = brentq(lambda own: float(self(np.array([[own]]))[0, 0]), even[k], even[k + 1], xtol=1e-15)
            zeros.append(zero)
        return np.array(zeros)[:, None] if zeros else np.zeros((0, 1))

    def from_starts(self, n_starts: int, rng: np.random.Generator) -> np.ndarray:
        """Return the zeros that Newton's method reaches from points of the box that holds them all."""
        rank = self.left.shape[1]
        # Of unbounded units, at every scale.
        scale = np.where(self.bound == _BOX, 10.0 ** rng.uniform(-2, 3, (n_starts, 1)), self.bound)
        latent = np.concatenate([np.zeros((1, rank)), scale * rng.uniform(-1, 1, (n_starts, rank))])
        residual = self(latent)
        for _ in range(100):
            slope = self.slope(latent) - np.eye(rank)
            singular = np.abs(np.linalg.det(slope)) < 1e-14
            slope[singular] += 1e-6 * np.eye(rank)
            step = -np.linalg.solve(slope, residual[..., None])[..., 0]
            # Half the step, and half again, where that is what it takes to come nearer.
            size = np.abs(residual).max(axis=1)
            for share in (1.0, 0.5, 0.25, 0.1, 0.02):
                tried = latent + share * step
                after = self(tried)
                better = np.abs(after).max(axis=1) < size
                pending = better & (np.abs(residual).max(axis=1) == size)
                latent[pending], residual[pending] = tried[pending], after[pending]
            if (np.abs(residual).max(axis=1) <= _ACCURACY).all():
                break
        found = latent[np.abs(residual).max(axis=1) <= _ACCURACY * (1 + np.abs(latent).max(axis=1))]
        kept: list[np.ndarray] = []
        for point in found:
            if all(np.abs(point - other).max() > 1e-6 for other in kept):
                kept.append(point)
        return np.array(kept).reshape(-1, rank)


def low_rank_mean_field(
    overlap: float | Matrix, activation: str | Callable[..., Any] = "tanh", *, gain: float = 0.0
) -> xr.Dataset:
    """Tell from theory where a large network of low rank, with random weights beside, can rest.

    The entries of the vectors are normal, those of different m independent and of variance 1 (which any W = M
    N^T / N can be written with), and ``overlap[r, s]`` is the mean of n_r m_s. The gain function is odd.

    Parameters
    ----------
    overlap : float or array, shape (rank, rank)
        N^T M / N in the limit of large N.
    activation : str or callable
        The gain function f, odd: f(-x) = -f(x).
    gain : float
        g of independent random weights of variance g^2 / N that are added.

    Returns
    -------
    xarray.Dataset
        ``latent_state (fixed_point, latent)``: silence, and a pair along each eigenvector of the overlaps
        whose eigenvalue is real and large enough (where two are equal, of the circle through them these are
        two points); ``variance`` of x, ``eigenvalue_real/_imag (fixed_point, mode)`` per tau of the flow
        along the latent variables, NaN where random weights are there; ``bulk_edge``, the largest real part
        of all other modes, 0 and more meaning chaos; ``outlier_real/_imag (mode,)`` of W, those of the
        overlaps (which show beyond g).

    Raises
    ------
    InputError
        Where the overlaps are not square or the function is not odd.

    Notes
    -----
    k = Sigma k <f'>, so k lies along an eigenvector of the overlaps Sigma, and 1 / lambda = <f'> over a
    normal variable of variance |k|^2 + g^2 <f^2>; without random weights the flow's Jacobian there is Sigma
    (<f'> + k k^T <f'''>) - 1.

    In Methods: "Fixed points were compared with those of networks of the same overlaps in the limit of many
    units (Mastrogiuseppe & Ostojic, 2018)."

    References
    ----------
    Mastrogiuseppe, F. & Ostojic, S. (2018). Linking connectivity, dynamics, and computations in low-rank
    recurrent neural networks. Neuron 99, 609-623. doi:10.1016/j.neuron.2018.07.003

    Examples
    --------
    >>> low_rank_mean_field(2.0).latent_state.values.ravel().round(4) + 0
    array([-1.3371,  0.    ,  1.3371])

    An overlap below 1 holds nothing:

    >>> low_rank_mean_field(0.8).sizes["fixed_point"]
    1
    """
    sigma = np.atleast_2d(real_array(overlap, "overlap"))
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1]:
        raise InputError(f"`overlap` must be a number or square, shape (rank, rank), got {sigma.shape}")
    g = need_at_least_zero(gain, "gain")
    function = GainFunction(activation)
    probe = np.array([0.0, 0.3, 1.0, 2.5])
    if np.abs(function(probe) + function(-probe)).max() > 1e-12:
        raise InputError(
            f"the theory needs an odd activation, f(-x) = -f(x), got {function.name!r}: use 'tanh'"
        )
    values, vectors = np.linalg.eig(sigma)
    states, variances = [np.zeros(len(sigma))], [0.0]
    for value, vector in zip(values, vectors.T, strict=True):
        if abs(value.imag) > 1e-12 * abs(value):
            continue
        size = _latent_size(function, float(value.real), g)
        if size is None:
            continue
        # An odd function has both.
        direction = vector.real / np.linalg.norm(vector.real)
        for sign in (-1.0, 1.0):
            states.append(sign * size * direction)
            variances.append(_random_variance(function, g, size**2))
    order = np.lexsort(np.array(states).T[::-1].round(9))
    latent, variance = np.array(states)[order], np.array(variances)[order]
    slopes = np.array([_average(function.slope, own) for own in variance])
    squares = np.array([_average(lambda x: function.slope(x) ** 2, own) for own in variance])
    eigenvalues = np.full(latent.shape, np.nan, complex)
    if g == 0:
        for k, (own, slope) in enumerate(zip(latent, slopes, strict=True)):
            # Stein's lemma: variance <f'''> = <(z^2 - 1) f'>.
            bend = _average_bend(function, variance[k]) / variance[k] if variance[k] else 0.0
            rates = np.linalg.eigvals(sigma @ (slope * np.eye(len(sigma)) + bend * np.outer(own, own))) - 1
            eigenvalues[k] = rates[np.lexsort((-rates.imag, -rates.real))]
    outlier = values[by_modulus(values)]
    return xr.Dataset(
        {
            "latent_state": ((FIXED_POINT, LATENT), latent),
            "variance": (FIXED_POINT, variance),
            "eigenvalue_real": ((FIXED_POINT, MODE), eigenvalues.real),
            "eigenvalue_imag": ((FIXED_POINT, MODE), eigenvalues.imag),
            "bulk_edge": (FIXED_POINT, g * np.sqrt(squares) - 1),
            "outlier_real": (MODE, outlier.real),
            "outlier_imag": (MODE, outlier.imag),
        },
        attrs={"gain": g, "activation": function.name},
    )


def _average(function: Callable[[np.ndarray], np.ndarray], variance: float) -> float:
    return normal_average(function, 0.0, float(np.sqrt(variance)))


def _average_bend(function: GainFunction, variance: float) -> float:
    deviation = float(np.sqrt(variance))
    return normal_average(lambda x: ((x / deviation) ** 2 - 1) * function.slope(x), 0.0, deviation)


def _random_variance(function: GainFunction, g: float, structured: float) -> float:
    """Return the variance D = k^2 + g^2 <f^2> of the currents, given k^2; the largest."""
    from scipy.optimize import brentq

    if g == 0:
        return structured

    def excess(variance: float) -> float:
        return structured + g**2 * _average(lambda x: function(x) ** 2, variance) - variance

    grid = np.geomspace(max(structured, 1e-10), 1e8, 61)[::-1]
    if excess(grid[0]) > 0:
        return np.inf
    for above, below in itertools.pairwise(grid):
        if excess(below) > 0:
            return float(brentq(excess, below, above, rtol=1e-13))
    return structured


def _latent_size(function: GainFunction, overlap: float, g: float) -> float | None:
    """Return |k| of the fixed point along a direction of this overlap, None where there is none."""
    from scipy.optimize import brentq

    if overlap <= 0:
        return None

    def excess(variance: float) -> float:
        return overlap * _average(function.slope, variance) - 1

    low, high = 1e-12, 1e8
    if excess(low) <= 0 or excess(high) >= 0:
        return None
    variance = float(brentq(excess, low, high, rtol=1e-14, xtol=1e-300))
    rest = variance - g**2 * _average(lambda x: function(x) ** 2, variance)
    # Where random weights alone make more variance than that, nothing is left for the structure.
    return float(np.sqrt(rest)) if rest > 0 else None
