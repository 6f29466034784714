"""Zeros of an equation from many starts at once: capped Newton steps, groups, polish, and the rest damped.

Directions are computed in float32, residuals in float64: a direction only has to point the right way, while
the residual decides where a zero is. Every start ends with an owner, a zero, or with none.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurornn.analysis.fixed_points.equations import Equation, Memo
from neurornn.numerics.guarded import solve
from neurornn.numerics.krylov import gmres

FEWEST_FOR_KRYLOV = 96
"""Unknowns from which GMRES with a shared preconditioner beats the factorisation of every matrix."""

STEP_CAP = 0.2
"""Share of the state space's extent, per root of its dimension, that one step may cross: undamped steps of
this length converge from more starts, and to more different zeros, than a line search does."""

_CAPPED_ITERATIONS = 40
_DAMPED_ITERATIONS = 40
_MOST_DAMPED_OPERATIONS = 5e10
"""Work after which no further start is given a line search: some seconds of one core."""
_POLISH_ITERATIONS = 12
_SHORTEST_DAMPED_STEP = 2.0**-8
_NEAR = 0.05
_RESTS = 1e-10
_GROUP_RADIUS = 0.02
_CACHE_BYTES = 4 * 2**20
_BLOCK_BYTES = 2**25
_KRYLOV_ROWS = 256
_KRYLOV_STEPS = 40
_MOST_FOR_INVERSES = 400


@dataclass
class Zeros:
    """Zeros that were reached, some of them several times, and the one that each start led to.

    Attributes
    ----------
    unknowns : Tensor, shape (zero, unknown)
    owner : Tensor of int64, shape (start,)
        Number of a zero, -1 where a start led to none.
    stalled : Tensor, shape (start, unknown)
        Where the line search of a start that led to none came to its end.
    """

    unknowns: Tensor
    owner: Tensor
    stalled: Tensor


class Directions:
    """Newton's directions d, which solve (I - T') d = T(y) - y.

    Parameters
    ----------
    equation : Equation
    deadline : float
        Value of ``time.monotonic`` after which no further matrix is factorised; the directions left are NaN.
    """

    def __init__(self, equation: Equation, deadline: float = math.inf) -> None:
        self.equation, self.deadline = equation, deadline
        self._preconditioner: Tensor | None = None
        self._krylov_pays = equation.shares_slopes

    def __call__(self, residual: Tensor, memo: Memo, *, accuracy: float = 0.05) -> Tensor:
        """Return one direction for each row, shape (row, unknown)."""
        if self._krylov_pays and residual.shape[1] >= FEWEST_FOR_KRYLOV:
            return self._by_gmres(residual, memo, accuracy)
        return self.by_factorisation(residual, memo)

    def by_factorisation(self, residual: Tensor, memo: Memo) -> Tensor:
        """Return the directions by factorisation in float32."""
        n = residual.shape[1]
        # Small enough that the matrices of a chunk stay in a core's cache.
        rows = max(1, _CACHE_BYTES // (4 * n * n))
        parts = []
        for first in range(0, len(residual), rows):
            if time.monotonic() > self.deadline:
                parts.append(torch.full_like(residual[first:], torch.nan))
                break
            chosen = slice(first, first + rows)
            matrices = self.equation.matrices(select(memo, chosen), torch.float32)
            parts.append(solve(matrices, residual[chosen].float()))
        found = torch.cat([own.double() for own in parts]) if parts else residual.clone()
        # What is singular in float32 need not be so in float64.
        lost = ~torch.isfinite(found).all(1)
        if bool(lost.any()) and time.monotonic() < self.deadline:
            found[lost] = self.exact(residual[lost], select(memo, lost))
        return found

    def exact(self, residual: Tensor, memo: Memo) -> Tensor:
        """Return the directions in float64 by factorisation."""
        n = residual.shape[1]
        rows = max(1, 4 * _CACHE_BYTES // (8 * n * n))
        parts = [
            solve(self.equation.matrices(select(memo, slice(k, k + rows))), residual[k : k + rows])
            for k in range(0, len(residual), rows)
        ]
        return torch.cat(parts) if parts else residual.clone()

    def _by_gmres(self, residual: Tensor, memo: Memo, accuracy: float) -> Tensor:
        (slopes,) = (own.float() for own in memo)
        weight = -self.equation.matrices((torch.ones(1, len(slopes[0])),), torch.float32)[0]
        weight.diagonal().add_(1)
        transposed = weight.T
        n = len(weight)
        # One inverse serves all rows and costs as much as solving for a few of them: of few rows it is kept.
        if self._preconditioner is None or len(slopes) > n // 8:
            mean = self.equation.matrices((slopes.mean(0, keepdim=True),), torch.float32)[0]
            inverse, failed = torch.linalg.inv_ex(mean)
            usable = not failed and bool(torch.isfinite(inverse).all())
            self._preconditioner = (inverse if usable else torch.eye(n)).T.contiguous()
        shared = self._preconditioner
        parts = []
        for first in range(0, len(residual), _KRYLOV_ROWS):
            if time.monotonic() > self.deadline:
                parts.append(torch.full((len(residual) - first, n), torch.nan))
                break
            chosen = slice(first, first + _KRYLOV_ROWS)
            slope = slopes[chosen]

            def product(vectors: Tensor, slope: Tensor = slope) -> Tensor:
                moved = vectors @ shared
                return moved - slope * (moved @ transposed)

            found, n_steps = gmres(
                product, residual[chosen].float(), n_steps=_KRYLOV_STEPS, tolerance=accuracy
            )
            parts.append(found @ shared)
            # So many products cost more than a factorisation, which is exact too. An accuracy asked for once
            # at the end says nothing of the next directions.
            if n_steps > n // 6 and accuracy >= 0.01:
                self._krylov_pays = False
        return torch.cat(parts).double()


def select(memo: Memo, rows: slice | Tensor) -> Memo:
    """Return the rows of a memo."""
    return tuple(own[rows] for own in memo)


@torch.no_grad()
def find_zeros(
    equation: Equation, starts: Tensor, deadline: float = math.inf, *, damped: bool = True
) -> Zeros:
    """Follow every start towards a zero.

    Steps are undamped, of capped length and kept in the box, until one is small and brings the residual down
    tenfold. Starts that come so near to one another are a group: its representative is brought to the floor
    of rounding, and a member joins it where its own next step leads there. All others are brought there by
    themselves. Starts that fail begin again with a line search.

    Parameters
    ----------
    equation : Equation
    starts : Tensor of float64, shape (start, unknown)
    deadline : float
        Value of ``time.monotonic`` after which no further iteration begins.
    damped : bool
        Whether starts that fail begin again with a line search, however many they are.

    Returns
    -------
    Zeros
    """
    if len(starts) > (rows := max(256, _BLOCK_BYTES // (8 * starts.shape[1]))):
        blocks = [find_zeros(equation, block, deadline, damped=damped) for block in starts.split(rows)]
        counts = np.cumsum([0] + [len(block.unknowns) for block in blocks])
        shifted = [
            torch.where(block.owner >= 0, block.owner + int(count), -1)
            for block, count in zip(blocks, counts, strict=False)
        ]
        return Zeros(
            torch.cat([block.unknowns for block in blocks]),
            torch.cat(shifted),
            torch.cat([block.stalled for block in blocks]),
        )
    directions = Directions(equation, deadline)
    begun = starts if equation.box is None else starts.clamp(*equation.box)
    ends, near = _capped(equation, directions, begun, deadline)
    zeros, owner = _owned(equation, directions, ends, near, deadline)
    stalled = begun.clone()
    left = (owner < 0).nonzero()[:, 0]
    affordable = _MOST_DAMPED_OPERATIONS / (_DAMPED_ITERATIONS * starts.shape[1] ** 3)
    left = left[: max(1, int(affordable))]
    # A few that fail cost little; where most do, as in chaotic networks, a line search helps few of them.
    if (damped or len(left) <= len(starts) // 10) and len(left) and time.monotonic() < deadline:
        ends, near = _damped(equation, directions, begun[left], deadline)
        more, own = _owned(equation, directions, ends, near, deadline)
        owner[left] = torch.where(own >= 0, own + len(zeros), -1)
        stalled[left] = ends
        zeros = torch.cat([zeros, more])
    return Zeros(zeros, owner, stalled)


def _capped(
    equation: Equation, directions: Directions, starts: Tensor, deadline: float
) -> tuple[Tensor, Tensor]:
    """Take undamped steps of capped length; return where each start ended, and whether a zero is near."""
    n = starts.shape[1]
    root = math.sqrt(n)
    extent = extent_of(equation, starts)
    near = torch.zeros(len(starts), dtype=torch.bool)
    ends, active, current = starts.clone(), torch.arange(len(starts)), starts
    residual, memo = equation.evaluate(current)
    length = residual.norm(dim=1)
    # A start may rest already, where the derivative may be singular and leave it no direction.
    arrived = length < _RESTS * root
    near[arrived] = True
    active, current, length = active[~arrived], current[~arrived], length[~arrived]
    residual, memo = residual[~arrived], select(memo, ~arrived)
    for _ in range(_CAPPED_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        step = directions(residual, memo)
        stride = step.norm(dim=1)
        moved = current + step * (STEP_CAP * extent * root / stride.clamp_min(1e-300)).clamp_max(1)[:, None]
        if equation.box is not None:
            moved = moved.clamp(*equation.box)
        residual, memo = equation.evaluate(moved)
        after = residual.norm(dim=1)
        small = stride < _NEAR * extent * root
        arrived = (small & (after < 0.1 * length)) | (after < _RESTS * root)
        ended = arrived | ~torch.isfinite(after)
        ends[active[ended]] = moved[ended]
        near[active[arrived]] = True
        kept = ~ended
        active, current, length = active[kept], moved[kept], after[kept]
        residual, memo = residual[kept], select(memo, kept)
    return ends, near


def _damped(
    equation: Equation, directions: Directions, starts: Tensor, deadline: float
) -> tuple[Tensor, Tensor]:
    """Take Newton steps as long as the residual falls with them, by Armijo's rule."""
    near = torch.zeros(len(starts), dtype=torch.bool)
    ends, active, current = starts.clone(), torch.arange(len(starts)), starts
    residual, memo = equation.evaluate(current)
    length = residual.norm(dim=1)
    for _ in range(_DAMPED_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        step = directions.by_factorisation(residual, memo)
        share = torch.ones(len(active), dtype=starts.dtype)
        moved, after = current.clone(), length.clone()
        waiting = torch.isfinite(step).all(1).nonzero()[:, 0]
        while len(waiting):
            tried = current[waiting] + share[waiting, None] * step[waiting]
            if equation.box is not None:
                tried = tried.clamp(*equation.box)
            reached = equation.evaluate(tried)[0].norm(dim=1)
            falls = reached <= (1 - 1e-4 * share[waiting]) * length[waiting]
            taken = waiting[falls]
            moved[taken], after[taken] = tried[falls], reached[falls]
            waiting = waiting[~falls]
            share[waiting] /= 2
            waiting = waiting[share[waiting] >= _SHORTEST_DAMPED_STEP]
        arrived = (share == 1) & (after < 0.1 * length)
        ended = arrived | ~(after < length)
        ends[active] = moved
        near[active[arrived]] = True
        kept = ~ended
        active, current = active[kept], moved[kept]
        residual, memo = equation.evaluate(current)
        length = residual.norm(dim=1)
    return ends, near


def _owned(
    equation: Equation, directions: Directions, ends: Tensor, near: Tensor, deadline: float
) -> tuple[Tensor, Tensor]:
    """Bring what is near to a zero there: one of each group, its members by one step, the rest alone."""
    owner = torch.full((len(ends),), -1)
    members = near.nonzero()[:, 0]
    extent = extent_of(equation, ends[near])
    first, group = leaders(ends[members], _GROUP_RADIUS * extent * math.sqrt(ends.shape[1]))
    zeros, converged = polish(equation, directions, ends[members[first]], deadline)
    target = zeros[group]
    distance = (ends[members] - target).norm(dim=1)
    alike = converged[group] & (distance <= 1e-8 * (1 + target.norm(dim=1)))
    asked = (converged[group] & ~alike).nonzero()[:, 0]
    if len(asked):
        place = ends[members[asked]]
        if place.shape[1] <= _MOST_FOR_INVERSES:
            step = _chord_steps(equation, zeros, place, group[asked])
        else:
            step = directions(*equation.evaluate(place))
        alike[asked] = (place + step - target[asked]).norm(dim=1) <= 0.25 * distance[asked]
    alike[first] = converged
    owner[members[alike]] = group[alike]
    alone = members[~alike]
    alone = alone[~torch.isin(alone, members[first])]
    if len(alone):
        more, well = polish(equation, directions, ends[alone], deadline)
        owner[alone[well]] = len(zeros) + torch.arange(len(alone))[well]
        zeros = torch.cat([zeros, more])
    used, number = torch.unique(owner[owner >= 0], return_inverse=True)
    owner[owner >= 0] = number
    return zeros[used], owner


def _chord_steps(equation: Equation, zeros: Tensor, places: Tensor, group: Tensor) -> Tensor:
    """Return the steps of places by the derivative at their group's zero: one inverse serves all of it."""
    residual, _ = equation.evaluate(places)
    residual, steps = residual.float(), torch.empty_like(places)
    used, number = torch.unique(group, return_inverse=True)
    _, memo = equation.evaluate(zeros[used])
    inverses = torch.linalg.inv_ex(equation.matrices(memo, torch.float32))[0]
    for k, inverse in enumerate(inverses):
        own = number == k
        steps[own] = (residual[own] @ inverse.T).double()
    return steps


def polish(
    equation: Equation, directions: Directions, unknowns: Tensor, deadline: float = math.inf
) -> tuple[Tensor, Tensor]:
    """Bring what is near to a zero down to the floor of rounding.

    Returns
    -------
    unknowns : Tensor, shape (zero, unknown)
        The best of the way.
    converged : Tensor of bool, shape (zero,)
        Whether the residual is of the size of rounding, or fell to where steps no longer help.
    """
    best = unknowns.clone()
    residual, memo = equation.evaluate(best)
    size = residual.abs().amax(1) if len(best) else residual.new_empty(0)
    active = torch.arange(len(best))
    krylov = equation.shares_slopes and unknowns.shape[1] >= FEWEST_FOR_KRYLOV
    for iteration in range(_POLISH_ITERATIONS):
        if not len(active) or time.monotonic() > deadline:
            break
        # Approximate steps first where factorising is dear, exact ones for what they leave.
        approximate = krylov and iteration < _POLISH_ITERATIONS // 2
        step = directions(residual, memo, accuracy=1e-4) if approximate else directions.exact(residual, memo)
        moved = best[active] + step
        if equation.box is not None:
            moved = moved.clamp(*equation.box)
        residual, memo = equation.evaluate(moved)
        after = residual.abs().amax(1)
        better = after < size[active]
        best[active[better]] = moved[better]
        helped = after < 0.5 * size[active]
        size[active] = torch.where(better, after, size[active])
        floor = _floor(best[active])
        going = (helped | approximate) & (size[active] > floor)
        active = active[going]
        # What a step did not help goes on from its best.
        residual, memo = equation.evaluate(best[active])
    return best, size <= 1e3 * _floor(best)


def _floor(unknowns: Tensor) -> Tensor:
    """Return the size of a residual that is rounding alone."""
    if not len(unknowns):
        return unknowns.new_empty(0)
    return 4 * torch.finfo(unknowns.dtype).eps * (1 + unknowns.abs().amax(1))


def extent_of(equation: Equation, unknowns: Tensor) -> float:
    """Return the scale of one variable: half the width of the box, or the root mean square."""
    if equation.box is not None:
        return float((equation.box[1] - equation.box[0]).mean()) / 2
    size = float(unknowns.square().mean().sqrt()) if unknowns.numel() else 1.0
    return size if 0 < size < math.inf else 1.0


def leaders(points: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Group points around the first of each group.

    Parameters
    ----------
    points : Tensor, shape (point, variable)
    radius : float
        In the 2-norm.

    Returns
    -------
    first : Tensor of int64, shape (group,)
    group : Tensor of int64, shape (point,)
    """
    group = torch.full((len(points),), -1)
    first: list[int] = []
    left = torch.arange(len(points))
    while len(left):
        # Differences, not torch.cdist: that takes them through a product and errs by 4e-8.
        near = (points[left] - points[left[0]]).norm(dim=1) <= radius
        # A leader that is not finite is near to nothing, itself included.
        near[0] = True
        group[left[near]] = len(first)
        first.append(int(left[0]))
        left = left[~near]
    return torch.tensor(first, dtype=torch.long), group
