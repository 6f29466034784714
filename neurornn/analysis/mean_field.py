"""Mean-field theory of random networks: how large their activity is, and from which gain on it is chaotic.

Reads a gain g (weights of variance g^2 / N) and a gain function. Gives the self-consistent variance, the
Lyapunov exponent and the onset of chaos, for maps x <- W f(x) and flows x' = -x + W f(x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.gain_functions import GainFunction
from neurornn.numerics.gaussian import hermite_weights, normal_average
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice

SYSTEMS = ("map", "flow")
_N_LAGS = 4000


def mean_field(
    gain: float,
    activation: str | Callable[..., Any] = "tanh",
    *,
    system: str = "map",
    bias: float = 0.0,
    input_std: float = 0.0,
) -> xr.Dataset:
    """Tell from theory what a large network with random weights does.

    The weights are independent, of mean 0 and variance g^2 / N; N is large. The current x of a unit is then a
    normal variable over units and time, whose variance must give itself back.

    Parameters
    ----------
    gain : float
        g, at least 0: the standard deviation of the weights times sqrt(N).
    activation : str or callable
        The gain function f: a name, a network's ``activation``, or a torch function.
    system : {"map", "flow"}
        x <- W f(x) (networks without a leak, whose rates are f(x)), or x' = -x + W f(x) in units of tau
        (``"current"`` dynamics with short steps).
    bias : float
        A constant input to all units.
    input_std : float
        Standard deviation over units of one more input: constant in time; of a map it may as well be drawn
        anew in every step, as noise is.

    Returns
    -------
    xarray.Dataset
        ``variance`` of x about the bias and ``rate_variance``, the mean of f(x)^2 (of several self-consistent
        values the largest; infinite where an unbounded f runs away, 0 where activity dies out);
        ``lyapunov_exponent``, the largest, per step or per tau, positive in chaos; ``mean_exponent``, the
        mean of all N; ``onset_gain``, the least gain at which the largest exponent is zero with these inputs
        (infinite where there is none below 1000). Of a flow in chaos ``autocovariance (lag,)`` of x, lags in
        tau.

    Raises
    ------
    InputError
        Where a number is negative or not finite, or there is no such activation or system.

    Notes
    -----
    A map has variance D = g^2 <f^2> + s^2 and exponent ln(g^2 <f'^2>) / 2, averages over a normal variable of
    mean ``bias`` and variance D. A flow rests where g^2 <f'^2> < 1 there, with exponent g sqrt(<f'^2>) - 1;
    beyond, the autocovariance D(t) moves as a ball in a potential, D'' = D - g^2 <f f>_D - s^2, from the top
    at t = 0 to rest, and the exponent is sqrt(1 - E) - 1, E the lowest energy of -d^2/dt^2 + 1 - g^2 <f'
    f'>_D. Finite networks approach the theory slowly near the onset.

    In Methods: "The largest Lyapunov exponent was compared with that of dynamic mean-field theory for the
    measured gain g = sqrt(N Var W) (Sompolinsky et al., 1988)."

    References
    ----------
    Sompolinsky, H., Crisanti, A. & Sommers, H. J. (1988). Chaos in random neural networks. Physical Review
    Letters 61, 259-262. doi:10.1103/PhysRevLett.61.259

    Engelken, R., Wolf, F. & Abbott, L. F. (2023). Lyapunov spectra of chaotic recurrent neural networks.
    Physical Review Research 5, 043044. doi:10.1103/PhysRevResearch.5.043044

    Examples
    --------
    >>> theory = mean_field(2.0)
    >>> round(float(theory.lyapunov_exponent), 4), round(float(theory.onset_gain), 6)
    (0.1547, 1.0)

    Rectified units run away just where they would become chaotic:

    >>> round(float(mean_field(1.0, "relu").onset_gain), 6)
    1.414214
    """
    g = need_at_least_zero(gain, "gain")
    spread = need_at_least_zero(input_std, "input_std")
    need_choice(system, "system", SYSTEMS)
    if not isinstance(bias, int | float | np.integer | np.floating) or not np.isfinite(bias):
        raise InputError(f"`bias` must be a finite number, got {bias!r}")
    theory = _Theory(GainFunction(activation), float(bias), spread**2)
    variance = theory.variance(g)
    stability = theory.stability(g, variance)
    lags = None
    if system == "map":
        with np.errstate(divide="ignore"):
            exponent = float(np.log(stability) / 2)
        mean_exponent = theory.mean_exponent(g, variance)
    else:
        exponent, mean_exponent = float(np.sqrt(stability)) - 1, -1.0
        if np.isfinite(variance) and stability > 1 + 1e-9:
            variance, lags, covariance, exponent = theory.chaotic_flow(g, variance)
    result = xr.Dataset(
        {
            "variance": variance,
            "rate_variance": theory.mean_square(variance),
            "lyapunov_exponent": exponent,
            "mean_exponent": mean_exponent,
            "onset_gain": theory.onset(),
        },
        attrs={"system": system, "gain": g, "activation": theory.gain_function.name},
    )
    if lags is not None:
        result["autocovariance"] = ("lag", covariance)
        result = result.assign_coords(lag=("lag", lags, {"units": "tau"}))
    return result


class _Theory:
    """The averages of one gain function, with one bias and one variance of inputs."""

    def __init__(self, gain_function: GainFunction, bias: float, input_variance: float) -> None:
        self.gain_function = gain_function
        self.bias = bias
        self.input_variance = input_variance

    def mean_square(self, variance: float) -> float:
        """Return <f^2>."""
        if not np.isfinite(variance):
            return np.inf
        return normal_average(lambda x: self.gain_function(x) ** 2, self.bias, np.sqrt(variance))

    def variance(self, g: float) -> float:
        """Return the largest self-consistent variance of a map, or of a flow at rest."""
        from scipy.optimize import brentq

        def excess(variance: float) -> float:
            return g**2 * self.mean_square(variance) + self.input_variance - variance

        at_zero = excess(0.0)
        least = min(1e-12, at_zero / 2) if at_zero > 0 else 1e-12
        grid = np.geomspace(least, 1e12, 61)[::-1]
        above, own = grid[0], excess(grid[0])
        if own > 0:
            return np.inf
        for below in grid[1:]:
            value = excess(below)
            if value > 0:
                return float(brentq(excess, below, above, xtol=1e-300, rtol=1e-14))
            above = below
        return 0.0

    def stability(self, g: float, variance: float) -> float:
        """Return g^2 <f'^2>: how the square of a small difference grows in one step of a map."""
        return g**2 * normal_average(
            lambda x: self.gain_function.slope(x) ** 2, self.bias, _deviation(variance)
        )

    def mean_exponent(self, g: float, variance: float) -> float:
        """Return ln g - 1/2 + <ln |f'|>, the mean of all exponents of a map."""
        if g == 0:
            return -np.inf
        return float(
            np.log(g) - 0.5 + normal_average(self.gain_function.log_slope, self.bias, _deviation(variance))
        )

    def onset(self) -> float:
        """Return the least gain from which on small differences grow."""

        def grows(g: float) -> bool:
            variance = self.variance(g)
            return not np.isfinite(variance) or self.stability(g, variance) >= 1

        gains = np.geomspace(0.1, 1000, 21)
        first = next((k for k, g in enumerate(gains) if grows(g)), None)
        if first is None:
            return np.inf
        low, high = (gains[first - 1], gains[first]) if first else (0.0, gains[0])
        for _ in range(32):
            middle = (low + high) / 2
            low, high = (low, middle) if grows(middle) else (middle, high)
        return float(high)

    def chaotic_flow(self, g: float, resting: float) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Return the variance, lags, autocovariance and largest exponent of a flow in chaos."""
        from scipy.optimize import brentq

        # The variance at rest is too large; below, the ball that starts at the top comes to rest at the
        # bottom.
        high = resting
        low = resting
        for _ in range(200):
            low *= 0.95
            if _Potential(self, g, low).work > 0:
                break
            high = low
        variance = float(
            brentq(lambda own: _Potential(self, g, own).work, low, high, xtol=1e-300, rtol=1e-13)
        )
        return (variance, *_Potential(self, g, variance).orbit())


def _deviation(variance: float) -> float:
    """Return the spread at which slopes are taken: near zero, or far out, the limits are meant."""
    return float(np.sqrt(np.clip(variance, 1e-18, 1e12)))


class _Potential:
    """The force g^2 <f f>_D + s^2 - D on the autocovariance D = c variance, as a polynomial of c."""

    def __init__(self, theory: _Theory, g: float, variance: float) -> None:
        from scipy.optimize import brentq

        deviation = np.sqrt(variance)
        own = hermite_weights(theory.gain_function, theory.bias, deviation) * g**2
        own[0] += theory.input_variance
        own[1] -= variance
        self.variance = variance
        self._force = np.polynomial.Polynomial(own)
        self._energy = self._force.integ() * variance
        self._slope = np.polynomial.Polynomial(
            hermite_weights(theory.gain_function.slope, theory.bias, deviation) * g**2
        )
        # The force is convex: its minimum divides its two zeros, of which the lower one is the rest.
        change = self._force.deriv()
        bottom = float(brentq(change, 0, 1)) if change(0) < 0 < change(1) else 0.0 if change(0) >= 0 else 1.0
        self.rest: float | None
        if self._force(0.0) <= 1e-14 * variance:
            self.rest = 0.0
        elif self._force(bottom) < 0:
            self.rest = float(brentq(self._force, 0, bottom, xtol=1e-16))
        else:
            self.rest = None

    @property
    def work(self) -> float:
        """The force's work from rest to the top, zero for the orbit that connects both."""
        # Without a rest the force is positive all the way.
        return float(self._energy(1.0) - self._energy(self.rest if self.rest is not None else 0.0))

    def orbit(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return lags, the autocovariance there, and the exponent."""
        from scipy.integrate import cumulative_simpson
        from scipy.interpolate import CubicSpline

        rest = self.rest or 0.0
        width = (1 - rest) * self.variance
        # Of this parameter the lag is a smooth function at both ends.
        u = np.linspace(0, 6, 1201)
        c = rest + (1 - rest) / np.cosh(u) ** 2
        kinetic = np.maximum(self._energy(1.0) - self._energy(c), 0)
        # Towards rest the sum is told from there, so that it does not cancel.
        from_rest = np.maximum(self._energy(rest) - self._energy(c), 0)
        kinetic = np.where(c < (1 + rest) / 2, from_rest, kinetic)
        with np.errstate(divide="ignore", invalid="ignore"):
            pace = 2 * width * np.tanh(u) / np.cosh(u) ** 2 / np.sqrt(2 * kinetic)
        pace[0] = np.sqrt(2 * width / self._force(1.0))
        lag = cumulative_simpson(pace, x=u, initial=0)
        decay = np.sqrt(max(1 - self._slope(rest), 1e-12))
        # The last stretch, where nothing is left of the digits, is exponential.
        lags = np.linspace(0, lag[-1] + 12 / decay, _N_LAGS + 1)
        late = rest + (c[-1] - rest) * np.exp(-decay * (lags - lag[-1]).clip(0))
        correlation = np.where(lags <= lag[-1], CubicSpline(lag, c)(np.minimum(lags, lag[-1])), late)
        well = CubicSpline(lags, 1 - self._slope(np.clip(correlation, 0, 1)))
        energies = [_lowest_energy(well, lags[-1], n) for n in (_N_LAGS // 2, _N_LAGS)]
        # The error of the differences goes with the square of the step.
        energy = energies[1] + (energies[1] - energies[0]) / 3
        step = _N_LAGS // 400
        return lags[::step], (correlation * self.variance)[::step], float(np.sqrt(max(1 - energy, 0))) - 1


def _lowest_energy(well: Callable[[np.ndarray], np.ndarray], end: float, n: int, parity: int = 1) -> float:
    """Return the lowest eigenvalue of -d^2/dt^2 + well(t) on the line, of even (1) or odd (-1) functions."""
    from scipy.linalg import eigh_tridiagonal

    step = end / n
    diagonal = 2 / step**2 + well((np.arange(n) + 0.5) * step)
    # The neighbour across zero has the same value, or the opposite one.
    diagonal[0] -= parity / step**2
    off = np.full(n - 1, -1 / step**2)
    return float(eigh_tridiagonal(diagonal, off, eigvals_only=True, select="i", select_range=(0, 0))[0])
