"""Rectified linear networks rest where one of their linear pieces does: every piece, or a walk among them.

With the active units known, r = max(W r + h, 0) is linear. Where its matrix is singular and its right side
fits, a whole flat set of states is at rest: it is returned as a piece with its ends.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

MOST_UNITS = 16
"""Units up to which all 2^N sets of active units are tried."""

MOST_REGIONS = 2**17
"""Regions beyond which a low-rank network is searched, not enumerated."""

_SINGULAR = 1e-9
_CHUNK_BYTES = 2**25
_WALK_STEPS = 60


@dataclass
class FlatPiece:
    """A connected flat set of rates at rest: the part of an affine space that lies in one or more regions.

    Attributes
    ----------
    vertices : Tensor, shape (vertex, unit)
        Its ends; of a line along several regions all corners, in order along it.
    dimension : int
    bounded : bool
    closed : bool
        Whether a line comes back to where it began.
    regions : list of Region
        One for each region that it crosses, in order.
    """

    vertices: Tensor
    dimension: int
    bounded: bool = True
    closed: bool = False
    regions: list[Region] = field(default_factory=list)

    def holds(self, rates: Tensor, width: float) -> Tensor:
        """Return which rates at rest lie on it, shape (state,)."""
        found = torch.zeros(len(rates), dtype=torch.bool)
        for region in self.regions:
            found |= region.holds(rates, width)
        return found

    def inside(self, vertex: int) -> Tensor:
        """Return rates in the interior beside a vertex, where derivatives are those of the piece."""
        return self.regions[min(vertex, len(self.regions) - 1)].centre

    @property
    def length(self) -> float:
        """Length in rates: NaN for more than one dimension, infinite for a ray or a whole line."""
        if self.dimension != 1:
            return math.nan
        if not self.bounded:
            return math.inf
        around = torch.cat([self.vertices, self.vertices[:1]]) if self.closed else self.vertices
        return float(around.diff(dim=0).norm(dim=1).sum())


@dataclass
class Region:
    """A set of active units and the flat set of rates at rest within it."""

    active: Tensor
    centre: Tensor
    basis: Tensor
    """Shape (unit, dimension), orthonormal."""

    def holds(self, rates: Tensor, width: float) -> Tensor:
        """Return which rates lie in the affine space, and are silent where the region is."""
        apart = rates - self.centre
        off = (apart - (apart @ self.basis) @ self.basis.T).abs().amax(1)
        return (off <= width) & ((rates > width) <= self.active).all(1)


@dataclass
class Enumeration:
    """What all regions of a network hold.

    Attributes
    ----------
    points : Tensor, shape (point, unit)
        Isolated rates at rest.
    pieces : list of FlatPiece
    complete : bool
        False where time ran out.
    """

    points: Tensor
    pieces: list[FlatPiece]
    complete: bool


def can_enumerate(weight: Tensor) -> bool:
    """Return whether a network is small or of low enough rank for every region to be tried."""
    n = len(weight)
    if n <= MOST_UNITS:
        return True
    rank = len(_factors(weight)[0].T)
    return math.comb(n, rank) * 2**rank <= MOST_REGIONS


def enumerate_points(weight: Tensor, drive: Tensor, deadline: float = math.inf) -> Enumeration:
    """Find every state at rest of r = max(W r + h, 0).

    Up to 16 units every set of active units is tried. A network of rank R has W r in a space of R dimensions,
    which the units' thresholds cut into at most sum C(N, k), k <= R, regions; each has a corner, where R
    thresholds meet, so that the regions around all corners are all there are.

    Parameters
    ----------
    weight : Tensor, shape (unit, unit)
        With `can_enumerate`.
    drive : Tensor, shape (unit,)
    deadline : float
        Value of ``time.monotonic`` after which no further region is tried.

    Returns
    -------
    Enumeration

    Examples
    --------
    >>> line = enumerate_points(torch.tensor([[0.0, -1.0], [-1.0, 0.0]]).double(), torch.ones(2).double())
    >>> len(line.points), len(line.pieces), round(line.pieces[0].length, 6)
    (0, 1, 1.414214)
    """
    onto, along = _factors(weight)
    masks = _all_masks(len(weight)) if len(weight) <= MOST_UNITS else _regions(onto, drive)
    rank = onto.shape[1]
    rows = max(1, _CHUNK_BYTES // (8 * max(rank * rank, len(weight))))
    points = [torch.empty((0, len(weight)), dtype=weight.dtype)]
    pieces: list[FlatPiece] = []
    for chunk in masks.split(rows):
        if time.monotonic() > deadline:
            return Enumeration(torch.cat(points), joined(pieces), complete=False)
        found, singular = _solve_regions(onto, along, drive, chunk)
        points.append(_finished(weight, drive, found))
        for active in singular:
            piece = flat_piece(weight, drive, active)
            if piece is not None:
                pieces.append(piece)
    lines = joined(pieces)
    return Enumeration(_without_pieces(torch.cat(points), lines), lines, complete=True)


def walk(weight: Tensor, drive: Tensor, masks: Tensor, deadline: float = math.inf) -> Tensor:
    """Walk from region to region, each time to that in which the last one's solution lies.

    A walk ends where a solution lies in its own region, or after 60 regions.

    Parameters
    ----------
    weight : Tensor, shape (unit, unit)
    drive : Tensor, shape (unit,)
    masks : Tensor of bool, shape (walk, unit)
        Active units to begin with.
    deadline : float
        Value of ``time.monotonic`` after which no further step is taken.

    Returns
    -------
    Tensor, shape (found, unit)
        Rates at rest, some of them several times.

    References
    ----------
    Eisenmann, L., Monfared, Z., Goring, N. & Durstewitz, D. (2023). Bifurcations and loss jumps in RNN
    training. Advances in Neural Information Processing Systems 36. arXiv:2310.17561
    """
    n = len(weight)
    rows = max(1, _CHUNK_BYTES // (8 * n * n))
    found = [weight.new_empty((0, n))]
    for _ in range(_WALK_STEPS):
        following = []
        for chunk in masks.split(rows):
            if time.monotonic() > deadline:
                return torch.cat(found)
            matrices = torch.eye(n, dtype=weight.dtype) - chunk[:, :, None] * weight
            rates, failed = torch.linalg.solve_ex(matrices, (chunk * drive)[..., None])
            rates = rates[..., 0]
            active = rates @ weight.T + drive > 0
            there = (active == chunk).all(1) & (failed == 0)
            found.append(rates[there].clamp_min(0))
            following.append(active[~there & (failed == 0) & torch.isfinite(rates).all(1)])
        masks = torch.unique(torch.cat(following), dim=0)
        if not len(masks):
            break
    return torch.cat(found)


def flat_piece(weight: Tensor, drive: Tensor, active: Tensor) -> FlatPiece | None:
    """Return the flat set at rest within one region, or None where there is none of one dimension or more.

    Parameters
    ----------
    weight : Tensor, shape (unit, unit)
    drive : Tensor, shape (unit,)
    active : Tensor of bool, shape (unit,)
    """
    on = active.nonzero()[:, 0]
    if not len(on):
        return None
    matrix = torch.eye(len(on), dtype=weight.dtype) - weight[on][:, on]
    left, size, right = torch.linalg.svd(matrix)
    null = size <= _SINGULAR * max(1.0, float(size[0]))
    dimension = int(null.sum())
    scale = 1 + float(drive.abs().max())
    if not dimension or (left.T[null] @ drive[on]).abs().max() > _SINGULAR * scale:
        return None
    particular = torch.zeros_like(drive)
    particular[on] = right[~null].T @ ((left.T[~null] @ drive[on]) / size[~null])
    basis = torch.zeros((len(drive), dimension), dtype=weight.dtype)
    basis[on] = right[null].T
    # Rates of active units, and what silent units are short of their threshold, are both not negative.
    slope, room = basis.clone(), particular.clone()
    slope[~active] = -(weight @ basis)[~active]
    room[~active] = -(weight @ particular + drive)[~active]
    corners, bounded = _corners(slope.numpy(), room.numpy(), scale)
    if corners is None or len(corners) == 0:
        return None
    place = torch.as_tensor(corners)
    vertices = (particular + place @ basis.T).clamp_min(0)
    centre = particular + basis @ place.mean(0)
    return FlatPiece(vertices, dimension, bounded, regions=[Region(active, centre, basis)])


def _corners(slope: np.ndarray, room: np.ndarray, scale: float) -> tuple[np.ndarray | None, bool]:
    """Return the corners of {t: slope t + room >= 0}, cut off far away where it has no end."""
    dimension = slope.shape[1]
    far = 1e3 * scale
    width = 1e-9 * scale
    if dimension == 1:
        rate = slope[:, 0]
        moving = np.abs(rate) > 1e-12
        if (room[~moving] < -width).any():
            return None, True
        ends = -room[moving] / rate[moving]
        low = max(ends[rate[moving] > 0], default=-math.inf)
        high = min(ends[rate[moving] < 0], default=math.inf)
        # Of a ray, an end and a place beyond it; of a point there is no piece.
        bounded = math.isfinite(low) and math.isfinite(high)
        if high - low <= width:
            return None, True
        first = low if math.isfinite(low) else (high if math.isfinite(high) else 0.0) - scale
        last = high if math.isfinite(high) else first + (scale if math.isfinite(low) else 2 * scale)
        return np.array([[first], [last]]), bounded
    from scipy.optimize import linprog
    from scipy.spatial import HalfspaceIntersection, QhullError

    length = np.linalg.norm(slope, axis=1)
    moving = length > 1e-12
    if (room[~moving] < -width).any():
        return None, True
    # The widest ball within, in a cube that gives every set an end.
    cube = np.concatenate([np.eye(dimension), -np.eye(dimension)])
    normals = -np.concatenate([slope[moving], cube])
    limits = np.concatenate([room[moving], np.full(2 * dimension, far)])
    reach = np.linalg.norm(normals, axis=1)
    ball = linprog(
        np.r_[np.zeros(dimension), -1.0],
        np.c_[normals, reach],
        limits,
        bounds=[(None, None)] * (dimension + 1),
    )
    if ball.status != 0 or ball.x[-1] <= width:
        return None, True
    try:
        corners = HalfspaceIntersection(np.c_[normals, -limits], ball.x[:-1]).intersections
    except QhullError:
        return None, True
    corners = np.unique(corners.round(12), axis=0)
    return corners, bool(np.abs(corners).max() < 0.999 * far)


def joined(pieces: list[FlatPiece]) -> list[FlatPiece]:
    """Join lines that meet at an end into one, in order along it, and leave out what is part of another.

    The edge of a plane piece is a line in the region beside it, and a piece on the border of two regions is
    found in both.

    Parameters
    ----------
    pieces : list of FlatPiece

    Returns
    -------
    list of FlatPiece
        New ones for those that were joined.
    """
    pieces = _without_parts(pieces)
    lines = [replace(own) for own in pieces if own.dimension == 1 and own.bounded and not own.closed]
    whole = [own for own in pieces if not (own.dimension == 1 and own.bounded and not own.closed)]
    while lines:
        line = lines.pop(0)
        while (found := _neighbour(line, lines)) is not None:
            k, at_last, reverse = found
            other = lines.pop(k)
            corners = other.vertices.flip(0) if reverse else other.vertices
            if at_last:
                line.vertices = torch.cat([line.vertices, corners[1:]])
                line.regions = line.regions + (other.regions[::-1] if reverse else other.regions)
            else:
                line.vertices = torch.cat([corners[:-1], line.vertices])
                line.regions = (other.regions[::-1] if reverse else other.regions) + line.regions
        if len(line.regions) > 2 and _meet(line.vertices[0], line.vertices[-1]):
            line.vertices, line.closed = line.vertices[:-1], True
        whole.append(line)
    return whole


def _without_parts(pieces: list[FlatPiece]) -> list[FlatPiece]:
    kept: list[FlatPiece] = []
    for piece in sorted(pieces, key=lambda own: -own.dimension):
        places = torch.cat([piece.vertices, *(region.centre[None] for region in piece.regions)])
        width = 1e-8 * (1 + float(places.abs().max()))
        if not any(bool(other.holds(places, width).all()) for other in kept):
            kept.append(piece)
    return kept


def _neighbour(line: FlatPiece, others: list[FlatPiece]) -> tuple[int, bool, bool] | None:
    """Return which other line meets an end of one: its number, whether at the last end, whether reversed."""
    for k, other in enumerate(others):
        first, last = other.vertices[0], other.vertices[-1]
        if _meet(line.vertices[-1], first):
            return k, True, False
        if _meet(line.vertices[-1], last):
            return k, True, True
        if _meet(line.vertices[0], last):
            return k, False, False
        if _meet(line.vertices[0], first):
            return k, False, True
    return None


def _meet(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-8 * (1 + one.abs().max()))


def _without_pieces(points: Tensor, pieces: list[FlatPiece]) -> Tensor:
    for piece in pieces:
        points = points[~piece.holds(points, 1e-8 * (1 + float(points.abs().max()) if len(points) else 1.0))]
    return points


def _factors(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return m and n, of as few columns as the rank, with W = m n'."""
    left, size, right = torch.linalg.svd(weight)
    rank = int((size > 1e-12 * size[0]).sum()) if len(size) and size[0] > 0 else 0
    return left[:, :rank] * size[:rank], right[:rank].T


def _all_masks(n: int) -> Tensor:
    return (torch.arange(2**n)[:, None] >> torch.arange(n)) % 2 == 1


def _regions(onto: Tensor, drive: Tensor) -> Tensor:
    """Return the sets of active units of all regions, shape (region, unit)."""
    n, rank = onto.shape
    if rank == 0:
        return (drive > 0)[None]
    subsets = torch.tensor(list(itertools.combinations(range(n), rank)))
    # Where more thresholds meet than there are dimensions, as all do without a drive, the regions around a
    # corner are more than its own thresholds make: a nudge takes such corners apart and keeps every region.
    nudge = torch.cos(torch.arange(1, n + 1, dtype=drive.dtype) ** 2)
    masks = [
        _around_corners(onto, moved, subsets)
        for moved in (drive, drive + 1e-7 * (1 + drive.abs().max()) * nudge)
    ]
    return torch.unique(torch.cat(masks), dim=0)


def _around_corners(onto: Tensor, drive: Tensor, subsets: Tensor) -> Tensor:
    rank = onto.shape[1]
    sides = _all_masks(rank)
    found = []
    for chunk in subsets.split(max(1, _CHUNK_BYTES // (8 * (rank * rank + len(drive))))):
        corner, failed = torch.linalg.solve_ex(onto[chunk], -drive[chunk][..., None])
        corner = corner[..., 0]
        usable = (failed == 0) & torch.isfinite(corner).all(1)
        active = corner[usable] @ onto.T + drive > 0
        masks = active[:, None].repeat(1, len(sides), 1)
        masks.scatter_(
            2, chunk[usable][:, None].expand(-1, len(sides), -1), sides.expand(len(active), -1, -1)
        )
        found.append(torch.unique(masks.flatten(0, 1), dim=0))
    return torch.cat(found)


def _solve_regions(onto: Tensor, along: Tensor, drive: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return rates that rest in their own region, and the regions whose equation is singular."""
    rank = onto.shape[1]
    gate = masks.to(onto.dtype)
    # kappa = n' r with r = D (m kappa + h): one small system for each region.
    products = (along[:, :, None] * onto[:, None, :]).flatten(1)
    matrices = torch.eye(rank, dtype=onto.dtype) - (gate @ products).unflatten(1, (rank, rank))
    right = (gate * drive) @ along
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrices)
    diagonal = factors.diagonal(dim1=1, dim2=2).abs()
    largest = matrices.flatten(1).abs().amax(1).clamp_min(1.0) if rank else right.new_ones(len(masks))
    singular = (diagonal <= _SINGULAR * largest[:, None]).any(1)
    regular = ~singular
    kappa = torch.linalg.lu_solve(factors[regular], pivots[regular], right[regular][..., None])[..., 0]
    driven = kappa @ onto.T + drive
    width = 1e-9 * (1 + driven.abs().amax(1, keepdim=True))
    there = ((driven >= -width) & masks[regular] | (driven <= width) & ~masks[regular]).all(1)
    return (gate[regular][there] * driven[there]).clamp_min(0), masks[singular]


def _finished(weight: Tensor, drive: Tensor, rates: Tensor) -> Tensor:
    """Return candidates at the floor of rounding: the rank's cut and a kink leave some 1e-12."""
    for _ in range(2):
        active = rates @ weight.T + drive > 0
        matrices = torch.eye(len(weight), dtype=weight.dtype) - active[:, :, None] * weight
        better, failed = torch.linalg.solve_ex(matrices, (active * drive)[..., None])
        better = better[..., 0].clamp_min(0)
        before = (torch.relu(rates @ weight.T + drive) - rates).abs().amax(1)
        after = (torch.relu(better @ weight.T + drive) - better).abs().amax(1)
        rates = torch.where(((after < before) & (failed == 0))[:, None], better, rates)
    return rates
