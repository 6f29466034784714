"""The activations that the kernel knows, their slopes and what is below them; and plastic synapses.

Each function takes and returns the lanes of a register and errs by a few units in the last place of float32.
NaN goes in and comes out: training that diverged must show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neurornn.engine.fused.vectors import Floats, Words, polynomial

LN_2_HIGH, LN_2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts: the product of the first one with a small whole number is exact."""


def tanh(u: Floats) -> Floats:
    """Return tanh(u), by a ratio of polynomials that stays 2.4e-7 below 1."""
    u = u.at_most(7.90531110763549805).at_least(-7.90531110763549805)
    square = u * u
    odd = polynomial(
        square,
        (
            -2.76076847742355e-16,
            2.00018790482477e-13,
            -8.60467152213735e-11,
            5.12229709037114e-08,
            1.48572235717979e-05,
            6.37261928875436e-04,
            4.89352455891786e-03,
        ),
    )
    even = polynomial(
        square, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
    )
    return u * odd / even


def exponential_minus_one(u: Floats) -> tuple[Floats, Floats]:
    """Return s (exp(r) - 1) and s, of exp(u) = s exp(r) with s a power of two and |r| <= ln 2 / 2."""
    u = u.at_most(88.0).at_least(-87.0)
    exponent = (u * 1.44269504088896341).rounded()
    rest = exponent.times_plus(-LN_2_HIGH, u)
    rest = exponent.times_plus(-LN_2_LOW, rest)
    inner = polynomial(
        rest,
        (
            1.9875691500e-4,
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ),
    )
    grown = (rest * rest).times_plus(inner, rest)
    scale = ((exponent.whole() + 127) << 23).floats()
    return scale * grown, scale


def exponential(u: Floats) -> Floats:
    """Return exp(u)."""
    grown, scale = exponential_minus_one(u)
    return grown + scale


def logarithm(u: Floats) -> Floats:
    """Return ln(u) of u > 0."""
    bits = u.bits()
    # Such that the mantissa lies between sqrt(1/2) and sqrt(2).
    exponent = (bits - 0x3F3504F3).arithmetic_shift(23)
    part = (bits - (exponent << 23)).floats() - 1.0
    inner = polynomial(
        part,
        (
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        ),
    )
    square = part * part
    small = (square * part).times_plus(inner, square * -0.5) + part
    return exponent.signed().times_plus(0.693147180559945, small)


def sigmoid(u: Floats) -> Floats:
    """Return 1 / (1 + exp(-u))."""
    return u.like(1.0) / (exponential(-u) + 1.0)


def softplus(u: Floats) -> Floats:
    """Return ln(1 + exp(u)), which float32 cannot tell from u above 20."""
    small = exponential(-u.magnitude())
    # ln(1 + z) = 2 artanh(z / (2 + z)): no digit is lost where z is small.
    ratio = small / (small + 2.0)
    square = ratio * ratio
    series = polynomial(square, (1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0))
    return (ratio * 2.0).times_plus(series, u.at_least(0.0))


def relu(u: Floats) -> Floats:
    """Return u where it is positive, 0 elsewhere."""
    return u.at_least(0.0)


def _softplus_slope(value: Floats) -> Floats:
    # 1 - exp(-f) without the cancellation: f is small where the unit is silent.
    grown, scale = exponential_minus_one(-value)
    return (1.0 - scale) - grown


ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "tanh": (tanh, lambda value: (-value).times_plus(value, 1.0)),
    "relu": (relu, lambda value: value.choose(">", 0.0, 1.0, 0.0)),
    "sigmoid": (sigmoid, lambda value: value * (1.0 - value)),
    "softplus": (softplus, _softplus_slope),
}
"""By name: f, and f'(u) as a function of f(u)."""


@dataclass(frozen=True)
class Synapses:
    """Short-term plasticity in one register of units, with the equations of the engines' `Plasticity`."""

    usage: Floats
    recovery: Floats
    relaxation: Floats
    seconds: Floats

    def unclipped(self, resources: Floats, use: Floats, rate: Floats) -> tuple[Floats, Floats]:
        """Return x and u one step later, before they are clipped."""
        spent = self.seconds * rate
        recovered = (1.0 - resources).times_plus(self.recovery, resources)
        relaxed = (self.usage - use).times_plus(self.relaxation, use)
        return (
            (-(use * resources)).times_plus(spent, recovered),
            (self.usage * (1.0 - use)).times_plus(spent, relaxed),
        )

    def back(
        self,
        before: tuple[Floats, Floats, Floats],
        at_resources: Floats,
        at_use: Floats,
        at_sent: Floats,
    ) -> tuple[Floats, Floats, Floats]:
        """Return the gradients of x, u and the rate from those of x, u and u x rate one step later.

        Each is of all that it goes into one step later; ``before`` are x, u and the rate themselves.
        """
        resources, use, rate = before
        wide_resources, wide_use = self.unclipped(resources, use, rate)
        later_resources, later_use = clipped(wide_resources), clipped(wide_use)
        at_resources = _where_unclipped(wide_resources, (at_sent * later_use).times_plus(rate, at_resources))
        at_use = _where_unclipped(wide_use, (at_sent * later_resources).times_plus(rate, at_use))
        spent = self.seconds * rate
        taken = self.seconds * at_resources
        given = self.seconds * self.usage * at_use
        at_rate = (-(use * resources)).times_plus(taken, at_sent * later_use * later_resources)
        return (
            at_resources * ((1.0 - self.recovery) - use * spent),
            (-(resources * rate)).times_plus(taken, at_use * ((1.0 - self.relaxation) - self.usage * spent)),
            (1.0 - use).times_plus(given, at_rate),
        )


def clipped(share: Floats) -> Floats:
    """Return a share, held between 0 and 1."""
    return share.at_most(1.0).at_least(0.0)


def _where_unclipped(share: Floats, gradient: Floats) -> Floats:
    """Return a clipped share's gradient as one of what was clipped: with the bounds, as torch has it."""
    return share.choose(">=", 0.0, share.choose("<=", 1.0, gradient, 0.0), 0.0)


def normal_pair(one: Words, other: Words) -> tuple[Floats, Floats]:
    """Return two independent standard normals per lane from two uniform words, by Box and Muller's method.

    References
    ----------
    Box, G. E. P. & Muller, M. E. (1958). A note on the generation of random normal deviates. Annals of
    Mathematical Statistics 29, 610-611. doi:10.1214/aoms/1177706645
    """
    # All 32 bits and half a unit, so that the smallest is not 0 and the tail reaches 6.76.
    uniform = one.unsigned().times_plus(2.0**-32, 2.0**-33)
    radius = (logarithm(uniform) * -2.0).square_root()
    # Half the angle, in units of pi between -1/2 and 1/2, where short polynomials, interpolated at
    # Chebyshev's nodes, reach float32's precision; then doubled.
    half = other.signed() * 2.0**-32
    square = half * half
    sine = half * polynomial(
        square, (0.0776559122727, -0.598290411283, 2.55007738653, -5.16771007667, 3.14159264008)
    )
    cosine = polynomial(
        square, (-0.0243959321261, 0.234937068608, -1.33521194939, 4.05870915476, -4.93480213693, 1.0)
    )
    twice = sine + sine
    return radius * (twice * cosine), radius * (-twice).times_plus(sine, 1.0)
