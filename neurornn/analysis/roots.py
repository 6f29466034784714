"""Zeros of a vector field from many starts at once: step-capped Newton, then Levenberg-Marquardt.

Every start ends with a label; none is dropped.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from neurornn.analysis.maps import StateMap

FAILED, ZERO, MINIMUM = -1, 0, 1
"""How a start ended: nowhere, at a zero of the residual, or at a minimum of its size that is no zero."""

_NEWTON_ITERATIONS = 60
_DAMPED_ITERATIONS = 200
_CHUNK_BYTES = 2**26
# Share of the state space's extent that one step may cross: undamped steps of this length converge from more
# starts, and to more different points, than a line search does.
_STEP_CAP = 0.2
# A minimum of |G| that is no zero: the gradient A'G vanishes beside |A| |G|.
_MINIMUM_TOLERANCE = 1e-7


@dataclass
class Roots:
    """Where each start ended: states, max |G| there, and the label."""

    states: Tensor
    residual: Tensor
    label: Tensor


@torch.no_grad()
def find_roots(system: StateMap, starts: Tensor, tolerance: float, deadline: float = math.inf) -> Roots:
    """Follow every start to a zero, a minimum of speed, or failure.

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
    Roots
        In the order of the starts.
    """
    n = starts.shape[1]
    rows = max(1, _CHUNK_BYTES // (8 * n * n))
    parts = [_follow(system, chunk, tolerance, deadline) for chunk in starts.split(rows)]
    if not parts:
        empty = starts.new_empty(0)
        return Roots(starts.clone(), empty, empty.long())
    return Roots(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("states", "residual", "label"))
    )


def _follow(system: StateMap, starts: Tensor, tolerance: float, deadline: float) -> Roots:
    box = system.bounds()
    states, done = _newton(system, starts, box, tolerance, deadline)
    label = torch.where(done, ZERO, FAILED)
    left = (~done).nonzero()[:, 0]
    if len(left):
        states[left], label[left] = _levenberg_marquardt(system, starts[left], tolerance, deadline)
    residual = system.residual(states).abs().amax(1)
    return Roots(states, residual, label)


def _is_zero(states: Tensor, residual: Tensor, tolerance: float) -> Tensor:
    return residual.abs().amax(1) <= tolerance * (1 + states.abs().amax(1))


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve many systems; a singular one gives entries that are not finite, which the caller catches."""
    return torch.linalg.solve_ex(matrices, right[..., None])[0][..., 0]


def _newton(
    system: StateMap, starts: Tensor, box: tuple[Tensor, Tensor] | None, tolerance: float, deadline: float
) -> tuple[Tensor, Tensor]:
    """Take undamped Newton steps of capped length, kept inside the box where there is one."""
    extent = (box[1] - box[0]).mean() / 2 if box is not None else starts.square().mean().sqrt()
    cap = _STEP_CAP * math.sqrt(starts.shape[1]) * float(extent if extent > 0 else 1.0)
    states, done = starts.clone(), torch.zeros(len(starts), dtype=torch.bool)
    active = torch.arange(len(starts))
    current = starts.clone() if box is None else starts.clamp(*box)
    residual = system.residual(current)
    for _ in range(_NEWTON_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        step = -solve(system.residual_slope(current), residual)
        length = step.norm(dim=1, keepdim=True)
        moved = current + step * (cap / length.clamp_min(1e-300)).clamp_max(1)
        moved = moved if box is None else moved.clamp(*box)
        after = system.residual(moved)
        was_zero = _is_zero(current, residual, tolerance)
        # One step beyond the tolerance reaches the floor of rounding; it is kept where it helped.
        worse = was_zero & ~(after.abs().amax(1) < residual.abs().amax(1))
        moved[worse], after[worse] = current[worse], residual[worse]
        finished = was_zero | ~torch.isfinite(after).all(1)
        states[active[finished]] = moved[finished]
        done[active[was_zero]] = True
        active, current, residual = active[~finished], moved[~finished], after[~finished]
    return states, done


def _levenberg_marquardt(
    system: StateMap, starts: Tensor, tolerance: float, deadline: float
) -> tuple[Tensor, Tensor]:
    """Minimise |G|^2 / 2 with damping adapted by Nielsen's rule; label zeros and minima apart."""
    states, label = starts.clone(), torch.full((len(starts),), FAILED)
    active = torch.arange(len(starts))
    current, residual = starts.clone(), system.residual(starts)
    damping = starts.new_full((len(starts),), 1e-2)
    growth = torch.full_like(damping, 2.0)
    # The steepest slope met on the way: at a minimum in one dimension the slope itself vanishes.
    steepest = torch.zeros_like(damping)
    for _ in range(_DAMPED_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        slope = system.residual_slope(current)
        gradient = torch.einsum("bij,bi->bj", slope, residual)
        normal = slope.mT @ slope
        steepest = torch.maximum(steepest, normal.diagonal(dim1=1, dim2=2).sum(1).sqrt())
        zero = _is_zero(current, residual, tolerance)
        flat = gradient.norm(dim=1) <= _MINIMUM_TOLERANCE * steepest * residual.norm(dim=1)
        minimum = flat & ~zero & (steepest > 0)
        normal.diagonal(dim1=1, dim2=2).add_(damping[:, None])
        factor, broken = torch.linalg.cholesky_ex(normal)
        step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        moved = current + step
        after = system.residual(moved)
        gained = (residual.square().sum(1) - after.square().sum(1)) / 2
        expected = (step * (damping[:, None] * step - gradient)).sum(1) / 2
        accepted = (gained > 0) & (broken == 0)
        shrink = (1 - (2 * gained / expected.clamp_min(1e-300) - 1) ** 3).clamp(min=0.1, max=1)
        damping = torch.where(accepted, damping * shrink, damping * growth).clamp_min(1e-30)
        growth = torch.where(accepted, torch.full_like(growth, 2.0), growth * 2)
        finished = zero | minimum | (damping > 1e14)
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


def merge(states: Tensor, residual: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Group states that lie within a radius of each other, the smallest residual standing for all.

    Parameters
    ----------
    states : Tensor, shape (state, state_variable)
    residual : Tensor, shape (state,)
    radius : float
        In the largest difference of any variable.

    Returns
    -------
    representatives : Tensor of int64, shape (group,)
    group : Tensor of int64, shape (state,)
    """
    group = torch.full((len(states),), -1)
    representatives: list[int] = []
    order = torch.argsort(residual, stable=True)
    for index in order.tolist():
        if group[index] >= 0:
            continue
        # Differences, not torch.cdist: that takes them through a product and errs by 4e-8.
        near = ((states - states[index]).abs().amax(1) <= radius) & (group < 0)
        group[near] = len(representatives)
        representatives.append(index)
    return torch.tensor(representatives, dtype=torch.long), group
