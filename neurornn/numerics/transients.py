"""How much a stable linear system amplifies before it decays: its transient peak and its Kreiss constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from neurornn.numerics.resolvent import COARSE, FINE, Resolvent

_PER_WINDOW = 32
"""Least number of times looked at between one time and its double."""
_MOST_PER_WINDOW = 1024
_GROWTH_PER_STEP = 0.1
_N_SLOW = 16
"""Slowest modes at whose resonances a Kreiss constant is looked for."""


def flow_peak(matrix: np.ndarray, growth: float) -> tuple[float, np.ndarray]:
    """Return when, and as what matrix, exp(A t) of a stable flow has its largest norm.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Without an eigenvalue of positive real part.
    growth : float
        The numerical abscissa: the norm cannot grow at a higher rate, which tells how close the times must
        lie.

    Returns
    -------
    time : float
        Infinite where the norm grows for ever, as it does, slowly, where a mode that does not decay is
        defective.
    propagator : ndarray, shape (n, n)

    Notes
    -----
    The search ends for good where the norm falls below 1: what comes later is a product of that and something
    that was there before. On the way norms are taken at times so close that no peak between two of them is
    more than 10 % higher (where that takes no more than 1024 between one time and its double), and the
    highest is then refined.
    """
    from scipy.linalg import expm
    from scipy.optimize import minimize_scalar

    n = len(matrix)
    highest, time, step = 1.0, 0.0, 0.0
    if growth <= 0:
        return 0.0, np.eye(n)
    vector = np.cos(np.arange(1, n + 1, dtype=float))
    times, norms = [], []
    for now, width, propagator in _flow(matrix, growth):
        # From the vector that was amplified most just before, two rounds of the power method are enough to go
        # by; singular values at every time would take longer than all the rest.
        for _ in range(2):
            vector = propagator.T @ (propagator @ (vector / np.linalg.norm(vector)))
        norm = float(np.linalg.norm(vector)) ** 0.5
        times.append(now)
        norms.append(norm)
        if norm > highest:
            highest, time, step = norm, now, width
    if step == 0:
        return 0.0, np.eye(n)
    if _grows_on(times, norms):
        return np.inf, propagator
    fine = minimize_scalar(
        lambda t: -np.linalg.norm(expm(t * matrix), 2),
        bounds=(max(0.0, time - step), time + step),
        method="bounded",
        # The norm is flat there: its error is of the order of the square.
        options={"xatol": 1e-6 * time},
    )
    return float(fine.x), expm(fine.x * matrix)


def _flow(matrix: np.ndarray, growth: float) -> Iterator[tuple[float, float, np.ndarray]]:
    """Go through times, one window being as long as all before, until the norm is below 1."""
    from scipy.linalg import expm

    end = 1e-2 / np.abs(matrix).sum(axis=1).max()
    propagator, time = np.eye(len(matrix)), 0.0
    # No end is in sight of a mode that does not decay.
    for window in range(50):
        n_steps = int(
            np.clip(np.ceil((end - time) * growth / _GROWTH_PER_STEP), _PER_WINDOW, _MOST_PER_WINDOW)
        )
        n_steps = n_steps if window else 8
        step = (end - time) / n_steps
        factor = expm(step * matrix)
        for k in range(1, n_steps + 1):
            propagator = propagator @ factor
            yield time + k * step, step, propagator
        time, end = end, 2 * end
        # The Frobenius norm bounds the other.
        if np.linalg.norm(propagator) < 1 or not np.isfinite(propagator).all():
            return


def map_peak(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """Return after how many steps, and as what matrix, the powers of a stable map have their largest norm.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Without an eigenvalue outside the unit circle.

    Returns
    -------
    step : float
        Infinite where the norm grows for ever.
    power : ndarray, shape (n, n)

    Notes
    -----
    The search ends for good where the norm falls below 1. Up to 2048 every power is looked at, then 1024
    between one time and its double.
    """
    best_norm, best_step, best = 1.0, 0.0, np.eye(len(matrix))
    power, stride, n_steps = np.eye(len(matrix)), 1, 0
    factor = matrix
    times, norms = [], []
    for _ in range(40 * _MOST_PER_WINDOW):
        power = power @ factor
        n_steps += stride
        size = float(np.linalg.norm(power))
        times.append(n_steps)
        norms.append(size)
        if size > best_norm:
            norm = float(np.linalg.norm(power, 2))
            if norm > best_norm:
                best_norm, best_step, best = norm, float(n_steps), power
        if size < 1 or not np.isfinite(size):
            break
        if n_steps == 2 * _MOST_PER_WINDOW * stride:
            factor, stride = factor @ factor, 2 * stride
    return np.inf if _grows_on(times, norms) else best_step, best


def _grows_on(times: Sequence[float], norms: Sequence[float]) -> bool:
    """Return whether a norm that has not fallen below 1 has grown by half in the last half of the time."""
    middle = int(np.searchsorted(times, times[-1] / 2))
    return bool(norms[-1] >= 1 and not norms[-1] <= 1.5 * norms[middle])


def flow_kreiss(matrix: np.ndarray, growth: float) -> tuple[float, complex]:
    """Return the supremum of Re z / smallest singular value of z - A over Re z > 0, and where it is.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Without an eigenvalue of positive real part.
    growth : float
        The numerical abscissa.

    Returns
    -------
    constant : float
        At least 1, the limit far away; then the place is infinite.
    place : complex
    """
    if growth <= 0:
        return 1.0, complex(np.inf)
    resolvent = Resolvent(matrix)
    real, imaginary = resolvent.eigenvalues.real, resolvent.eigenvalues.imag
    height = float(np.linalg.norm((matrix - matrix.T) / 2, 2))
    nearest = max(float(-real.max()), 1e-5 * growth)
    distances = np.geomspace(min(1e-2 * nearest, 0.1 * growth), 100 * growth, 18)
    # Resonances are at the heights of the slowest modes; a real matrix is alike above and below the axis.
    slow = np.abs(imaginary[np.argsort(-real)][:_N_SLOW])
    heights = np.unique(np.r_[np.linspace(0, height, 7), slow])

    def value(log_distance: Any, at: Any, accuracy: float) -> np.ndarray:
        distance = np.exp(log_distance)
        points = distance + 1j * at
        return distance / resolvent.smallest_singular_value(points, accuracy=accuracy)

    constant, (log_distance, at) = _highest(value, np.log(distances), heights, max(height, growth))
    return max(constant, 1.0), complex(np.exp(log_distance), abs(at))


def map_kreiss(matrix: np.ndarray, radius: float) -> tuple[float, complex]:
    """Return the supremum of (|z| - 1) / smallest singular value of z - A over |z| > 1, and where it is.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Without an eigenvalue outside the unit circle.
    radius : float
        The numerical radius: farther out the resolvent is that of a contraction.

    Returns
    -------
    constant : float
        At least 1, the limit far away; then the place is infinite.
    place : complex
    """
    if radius <= 1:
        return 1.0, complex(np.inf)
    resolvent = Resolvent(matrix)
    modulus, angle = np.abs(resolvent.eigenvalues), np.abs(np.angle(resolvent.eigenvalues))
    nearest = max(float(1 - modulus.max()), 1e-5)
    distances = np.geomspace(min(1e-2 * nearest, 0.1 * (radius - 1)), 100 * radius, 18)
    slow = angle[np.argsort(-modulus)][:_N_SLOW]
    angles = np.unique(np.r_[np.linspace(0, np.pi, 9), slow])

    def value(log_distance: Any, at: Any, accuracy: float) -> np.ndarray:
        distance = np.exp(log_distance)
        points = (1 + distance) * np.exp(1j * at)
        return distance / resolvent.smallest_singular_value(points, accuracy=accuracy)

    constant, (log_distance, at) = _highest(value, np.log(distances), angles, 1.0)
    return max(constant, 1.0), complex((1 + np.exp(log_distance)) * np.exp(1j * abs(at)))


def _highest(
    value: Callable[[Any, Any, float], np.ndarray],
    first: np.ndarray,
    second: np.ndarray,
    scale: float,
    n_refined: int = 3,
) -> tuple[float, tuple[float, float]]:
    """Return the maximum of a function of two numbers, the best peaks of a grid refined, and where it is."""
    from scipy.optimize import minimize

    grid = value(first[:, None] + 0 * second, second + 0 * first[:, None], COARSE)
    padded = np.pad(grid, 1, constant_values=-np.inf)
    n, m = grid.shape
    around = [padded[a : a + n, b : b + m] for a in range(3) for b in range(3)]
    peaks = np.argwhere(np.all([grid >= own for own in around], axis=0))
    peaks = peaks[np.argsort(-grid[tuple(peaks.T)])]
    best, place = -np.inf, (0.0, 0.0)
    for k, j in peaks[:n_refined]:
        # So much lower than another it will not come out on top.
        if grid[k, j] < 0.9 * grid.max():
            break
        start = np.array([first[k], second[j] / scale])
        found = minimize(
            lambda point: -float(value(point[0], point[1] * scale, FINE)),
            start,
            method="Nelder-Mead",
            options={
                "initial_simplex": start + np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.05]]),
                "xatol": 1e-4,
                "fatol": 1e-11,
                "maxfev": 200,
            },
        )
        if -found.fun > best:
            best, place = float(-found.fun), (float(found.x[0]), float(found.x[1] * scale))
    return best, place
