"""Minima of speed: where a map is slow without resting, told apart from zeros, and from other flat places."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from neurornn.analysis.maps import StateMap

FAILED, ZERO, MINIMUM = -1, 0, 1
"""How a start ended: nowhere, at a zero of the residual, or at a minimum of its size that is no zero."""

_ITERATIONS = 200
_CHUNK_BYTES = 2**26
_MOST_OPERATIONS = 2e11
"""Work after which no further start is followed: some ten seconds of one core. The rest counts as failed."""
# A minimum of |G| that is no zero: the gradient A'G vanishes beside |A| |G|.
_FLAT = 1e-7


@dataclass
class Descent:
    """Where each start ended: states, and the label."""

    states: Tensor
    label: Tensor


def is_zero(states: Tensor, residual: Tensor, tolerance: float) -> Tensor:
    """Return which states are zeros: max |G| <= tolerance * (1 + max |x|)."""
    return residual.abs().amax(1) <= tolerance * (1 + states.abs().amax(1))


@torch.no_grad()
def descend(system: StateMap, starts: Tensor, tolerance: float, deadline: float = math.inf) -> Descent:
    """Follow every start down the squared speed, to a zero, a minimum, or failure.

    By Levenberg and Marquardt's method, with damping adapted by Nielsen's rule. What is asked for is the
    network's own speed, so that this is the map and no equation made from it.

    Parameters
    ----------
    system : StateMap
    starts : Tensor of float64, shape (start, state_variable)
    tolerance : float
        A zero has max |G| <= tolerance * (1 + max |x|).
    deadline : float
        Value of ``time.monotonic`` after which no further iteration begins.

    Returns
    -------
    Descent
        In the order of the starts, of which the first ones are followed. ``MINIMUM`` says that the gradient
        vanishes; `is_minimum` says whether it is a minimum.

    References
    ----------
    Nielsen, H. B. (1999). Damping parameter in Marquardt's method. IMM-REP-1999-05, Technical University of
    Denmark.
    """
    states, label = starts.clone(), torch.full((len(starts),), FAILED)
    n = starts.shape[1]
    rows = max(1, _CHUNK_BYTES // (8 * n * n))
    budget = int(_MOST_OPERATIONS / (_ITERATIONS * 4.0 * n**3))
    for chunk in torch.arange(len(starts))[: max(budget, 1)].split(rows):
        if time.monotonic() > deadline:
            break
        states[chunk], label[chunk] = _descend(system, starts[chunk], tolerance, deadline)
    return Descent(states, label)


def _descend(system: StateMap, starts: Tensor, tolerance: float, deadline: float) -> tuple[Tensor, Tensor]:
    states, label = starts.clone(), torch.full((len(starts),), FAILED)
    active = torch.arange(len(starts))
    current, residual = starts.clone(), system.residual(starts)
    damping = starts.new_full((len(starts),), 1e-2)
    growth = torch.full_like(damping, 2.0)
    # The steepest slope met on the way: at a minimum in one dimension the slope itself vanishes.
    steepest = torch.zeros_like(damping)
    for _ in range(_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        slope = system.residual_slope(current)
        gradient = torch.einsum("bij,bi->bj", slope, residual)
        normal = slope.mT @ slope
        steepest = torch.maximum(steepest, normal.diagonal(dim1=1, dim2=2).sum(1).sqrt())
        zero = is_zero(current, residual, tolerance)
        flat = gradient.norm(dim=1) <= _FLAT * steepest * residual.norm(dim=1)
        minimum = flat & ~zero & (steepest > 0)
        normal.diagonal(dim1=1, dim2=2).add_(damping[:, None])
        factor, broken = torch.linalg.cholesky_ex(normal)
        step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        moved = current + step
        after = system.residual(moved)
        gained = (residual.square().sum(1) - after.square().sum(1)) / 2
        expected = (step * (damping[:, None] * step - gradient)).sum(1) / 2
        # A comparison with NaN is false: a step that leaves every bound is not taken.
        accepted = (gained > 0) & (broken == 0)
        shrink = (1 - (2 * gained / expected.clamp_min(1e-300) - 1) ** 3).clamp(min=0.1, max=1)
        damping = torch.where(accepted, damping * shrink, damping * growth).clamp_min(1e-30)
        growth = torch.where(accepted, torch.full_like(growth, 2.0), growth * 2)
        finished = zero | minimum | ~(damping < 1e14) | ~torch.isfinite(residual).all(1)
        states[active[finished]] = current[finished]
        label[active[zero]], label[active[minimum]] = ZERO, MINIMUM
        current = torch.where(accepted[:, None], moved, current)[~finished]
        residual = torch.where(accepted[:, None], after, residual)[~finished]
        active, damping, growth = active[~finished], damping[~finished], growth[~finished]
        steepest = steepest[~finished]
    states[active] = current
    return states, label


@torch.no_grad()
def is_minimum(system: StateMap, state: Tensor) -> bool:
    """Say whether |G|^2 / 2 curves upwards in every direction from a state where its gradient vanishes.

    The gradient vanishes on saddles and maxima of speed too, and Gauss and Newton's approximation of the
    curvature cannot tell: the curvature is taken from differences of the exact gradient.

    Parameters
    ----------
    system : StateMap
    state : Tensor, shape (state_variable,)
    """
    n = len(state)
    width = 1e-5 * (1 + float(state.abs().max()))
    nudges = width * torch.eye(n, dtype=state.dtype)
    rows = max(1, _CHUNK_BYTES // (8 * n * n))

    def gradient(states: Tensor) -> Tensor:
        return torch.cat(
            [
                torch.einsum("bij,bi->bj", system.residual_slope(chunk), system.residual(chunk))
                for chunk in states.split(rows)
            ]
        )

    curvature = (gradient(state + nudges) - gradient(state - nudges)) / (2 * width)
    if not torch.isfinite(curvature).all():
        return False
    bends = torch.linalg.eigvalsh((curvature + curvature.mT) / 2)
    # Differences of this width err by 1e-5 of the largest curvature at most.
    return bool(bends[-1] > 0 and bends[0] >= -1e-5 * bends[-1])
