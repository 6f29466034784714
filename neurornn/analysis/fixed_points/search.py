"""The search under one constant input: starts followed, ends merged, begun anew between points."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neurornn.analysis.fixed_points import minima, rectified
from neurornn.analysis.fixed_points.equations import RateEquation, equation_of
from neurornn.analysis.fixed_points.newton import Directions, find_zeros, leaders, polish
from neurornn.analysis.fixed_points.starts import Visited, draw_starts, mix_points, settle
from neurornn.analysis.maps import StateMap
from neurornn.numerics.guarded import Factorised

MOST_ROUNDS = 60
"""Rounds of reseeding after which a search ends although it has not settled."""

MOST_IDLE_ROUNDS = 6
"""Rounds in a row without a new point after which it ends although, by the index sum, some are missing."""

LEAST_ROUNDS = 4
MOST_UNSEEN = 0.1
"""Share of starts that lead to a new point, after some rounds, at which it ends: there are more points than
it can count, as in chaotic networks, where their number grows exponentially with that of units."""

ENDINGS = ("settled", "exhaustive", "given starts", "continuum", "many points", "round limit", "time limit")
"""How a search can end: nothing new and the index sum as expected, every region tried, only given starts
asked for, most zeros parts of a continuum that no number of starts exhausts, more points than can be counted,
too many rounds, or no time left."""

_SAME = 1e-9
_FARTHEST_SAME = 1e-4
_SAME_MINIMUM = 1e-4

Tick = Callable[[int], object]


class Search:
    """The points and starts of one condition.

    Parameters
    ----------
    system : StateMap
    n_variables : int
        Number of state variables.
    tolerance : float
        A zero has max |G| <= tolerance * (1 + max |state|).
    deadline : float
        Value of ``time.monotonic`` after which nothing new begins.
    tick : callable
        Told of the number of starts that are done.

    Attributes
    ----------
    points : Tensor, shape (fixed_point, state_variable)
        In the order in which they were found.
    is_zero : Tensor of bool, shape (fixed_point,)
        The others are minima of speed.
    piece_of : Tensor of int64, shape (fixed_point,)
        Number of the flat piece on which a point is a vertex, -1 for an isolated one.
    pieces : list of rectified.FlatPiece
    ending : str
        One of `ENDINGS`.
    """

    def __init__(
        self,
        system: StateMap,
        n_variables: int,
        tolerance: float,
        deadline: float = math.inf,
        tick: Tick = lambda count: None,
    ) -> None:
        self.system, self.tolerance, self.deadline, self.tick = system, tolerance, deadline, tick
        self.equation = equation_of(system)
        self.points = torch.empty((0, n_variables), dtype=torch.float64)
        self.is_zero = torch.empty(0, dtype=torch.bool)
        self.piece_of = torch.empty(0, dtype=torch.int64)
        self.seen_from = self.points
        self.pieces: list[rectified.FlatPiece] = []
        self.ending = "given starts"
        self.n_rounds = 0
        self._error = torch.empty(0, dtype=torch.float64)
        self._index = torch.empty(0, dtype=torch.float64)
        self._starts = [self.points]
        self._labels = [self.piece_of]
        self._residuals = [self._error]

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    @property
    def index_expected(self) -> float:
        """What the sum of sign det(I - J) must be: 1 for a map of a box into itself, else NaN, not known."""
        return 1.0 if self.equation.box is not None or self.system.bounds() is not None else math.nan

    def index_sum(self) -> float:
        """Return the sum of sign det(I - J) over the zeros found."""
        return float(self._index[self.is_zero].sum())

    def starts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return every start, the number of the point that it led to (-1: none), and the residual there."""
        return torch.cat(self._starts), torch.cat(self._labels), torch.cat(self._residuals)

    def unseen_share(self) -> float:
        """Return Good and Turing's estimate of the share of starts that would lead to a new point."""
        _, label, _ = self.starts()
        zero = label[label >= 0]
        zero = zero[self.is_zero[zero]]
        if not len(zero):
            return math.nan
        return float((torch.bincount(zero) == 1).sum()) / len(zero)

    # The parts of a search --------------------------------------------------------------------------------

    def enumerate(self) -> bool:
        """Try every piece of a rectified linear network, where they are few; return whether all were."""
        form = self._rectified_form()
        if form is None or not rectified.can_enumerate(form.weight):
            return False
        found = rectified.enumerate_points(form.weight, form.drive, self.deadline)
        for piece in found.pieces:
            self._add_piece(piece)
        self._merge(self.equation.states(found.points))
        return found.complete

    @torch.no_grad()
    def follow(self, starts: np.ndarray, *, to_minima: bool) -> None:
        """Follow starts to the zeros that they lead to.

        Parameters
        ----------
        starts : ndarray, shape (start, state_variable)
        to_minima : bool
            Whether what leads to no zero is followed down the speed.
        """
        states = torch.as_tensor(starts, dtype=torch.float64)
        found = find_zeros(self.equation, self.equation.unknowns(states), self.deadline, damped=to_minima)
        ends, owner = self.equation.states(found.unknowns), found.owner
        genuine = self._are_zeros(ends)
        owner[owner >= 0] = torch.where(genuine[owner[owner >= 0]], owner[owner >= 0], -1)
        number = torch.full((len(ends),), -1)
        number[genuine] = self._merge(ends[genuine])
        labels = torch.where(owner >= 0, number[owner.clamp_min(0)] if len(ends) else -1, -1)
        # Where the line search stalled the derivative is singular, as it is at a minimum of speed.
        reached = self.equation.states(found.stalled)
        reached = torch.where(torch.isfinite(reached).all(1, keepdim=True), reached, states)
        left = (labels < 0).nonzero()[:, 0]
        if to_minima and len(left) and not self.is_late:
            order = left[torch.argsort(self.system.residual(reached[left]).norm(dim=1), stable=True)]
            reached[order], labels[order] = self._descend(reached[order])
        if len(self.points):
            reached = torch.where(labels[:, None] >= 0, self.points[labels.clamp_min(0)], reached)
        self._starts.append(states)
        self._labels.append(labels)
        self._residuals.append(self.system.residual(reached).abs().amax(1))
        self.tick(len(states))

    def walk(self, starts: np.ndarray, n_random: int, rng: np.random.Generator) -> None:
        """Walk through the regions of a rectified linear network to zeros."""
        form = self._rectified_form()
        if form is None:
            return
        rates = self.equation.unknowns(torch.as_tensor(starts, dtype=torch.float64))
        from_starts = rates @ form.weight.T + form.drive > 0
        at_random = torch.as_tensor(rng.random((n_random, len(form.drive))) < rng.random((n_random, 1)))
        masks = torch.unique(torch.cat([from_starts, at_random]), dim=0)
        found = rectified.walk(form.weight, form.drive, masks, self.deadline)
        ends = self.equation.states(torch.unique(found, dim=0))
        self._merge(ends[self._are_zeros(ends)])

    def tidy(self) -> None:
        """Join flat pieces that meet, and count a point that lies on one for the nearest of its ends.

        A search meets pieces one by one, and may have met a place on one before the piece itself.
        """
        if not self.pieces:
            return
        pieces, old, labels = rectified.joined(self.pieces), self.points, self._labels
        isolated = self.piece_of < 0
        rates = self.equation.unknowns(old)
        width = 1e-7 * (1 + float(rates.abs().max()))
        for piece in pieces:
            isolated &= ~(piece.holds(rates, width) & self.is_zero)
        number = torch.full((len(old),), -1)
        number[isolated] = torch.arange(int(isolated.sum()))
        for name in ("points", "seen_from", "is_zero", "piece_of", "_error", "_index"):
            setattr(self, name, getattr(self, name)[isolated])
        self.pieces = []
        for piece in pieces:
            self._add_piece(piece)
        number[~isolated] = self._merge(old[~isolated])
        self._labels = [torch.where(own >= 0, number[own.clamp_min(0)], -1) for own in labels]

    def reseed(self, visited: Visited, n_starts: int, rng: np.random.Generator) -> None:
        """Search between the points found until nothing new turns up and the index sum agrees."""
        self.ending = "round limit"
        box = self.system.bounds()
        bounds = None if box is None else (box[0].numpy(), box[1].numpy())
        idle = 0
        while self.n_rounds < MOST_ROUNDS and idle < MOST_IDLE_ROUNDS:
            if self.is_late:
                self.ending = "time limit"
                return
            zeros = self.points[self.is_zero & ~self._is_degenerate()]
            n_zeros = int(self.is_zero.sum())
            if n_zeros >= 8 and len(zeros) < n_zeros / 2:
                self.ending = "continuum"
                return
            if self.n_rounds >= LEAST_ROUNDS and self.unseen_share() > MOST_UNSEEN:
                self.ending = "many points"
                return
            agrees = self._index_agrees()
            if len(zeros) < 2 and agrees:
                self.ending = "settled"
                return
            # Of many points, each pair's midpoint should have its turn.
            count = max(n_starts, 2 * len(zeros))
            mixed = mix_points(zeros.numpy(), count, rng) if len(zeros) else zeros.numpy()
            # Where the index sum says that points are missing, they may lie off the known ones' hull.
            fresh = [mixed]
            if not agrees:
                fresh.append(draw_starts(visited, n_starts, rng, bounds))
                fresh.append(settle(self.system, fresh[-1][: n_starts // 4], rng)[-n_starts:])
            self.n_rounds += 1
            known = len(self.points)
            self.follow(np.concatenate(fresh), to_minima=False)
            self.walk(mixed, n_starts, rng)
            added = int((~self._is_degenerate()[known:]).sum())
            idle = 0 if added else idle + 1
            if added == 0 and self._index_agrees():
                self.ending = "settled"
                return

    # Their parts ------------------------------------------------------------------------------------------

    def _rectified_form(self) -> RateEquation | None:
        equation = self.equation
        return equation if isinstance(equation, RateEquation) and equation.form.is_rectified_linear else None

    def _are_zeros(self, states: Tensor) -> Tensor:
        return minima.is_zero(states, self.system.residual(states), self.tolerance)

    def _is_degenerate(self) -> Tensor:
        """Return which zeros are so uncertain in place that they may be parts of a continuum."""
        extent = 1 + float(self.points.abs().max()) if len(self.points) else 1.0
        return self.is_zero & ~(self._error <= _FARTHEST_SAME * extent)

    def _index_agrees(self) -> bool:
        return math.isnan(self.index_expected) or round(self.index_sum()) == self.index_expected

    @torch.no_grad()
    def _merge(self, zeros: Tensor) -> Tensor:
        """Enter zeros among the known ones, where they are new; return their numbers."""
        number = torch.full((len(zeros),), -1)
        if not len(zeros):
            return number
        extent = 1 + float(zeros.abs().max())
        for k, piece in enumerate(self.pieces):
            rates = self.equation.unknowns(zeros)
            on = piece.holds(rates, 1e-7 * (1 + float(rates.abs().max()))) & (number < 0)
            vertices = (self.piece_of == k).nonzero()[:, 0]
            # A place on the piece counts for the nearest of its ends.
            apart = (zeros[on][:, None] - self.points[vertices]).norm(dim=2)
            number[on] = vertices[apart.argmin(1)] if len(vertices) else -1
        left = (number < 0).nonzero()[:, 0]
        # What lies within rounding is one before its error is asked for.
        first, group = leaders(zeros[left], _SAME * extent * zeros.shape[1] ** 0.5)
        chosen = zeros[left[first]]
        if len(chosen) and (form := self._rectified_form()) is not None:
            unknown = self._piece_through(form, chosen)
            if unknown is not None:
                self._add_piece(unknown)
                return self._merge(zeros)
        error, index = self._certainty(chosen)
        names = torch.empty(len(chosen), dtype=torch.int64)
        for k, state in enumerate(chosen):
            distance = (self.points - state).norm(dim=1)
            within = (10 * (self._error + error[k])).clamp(_SAME * extent, _FARTHEST_SAME * extent)
            same = (self.is_zero & (distance <= within)).nonzero()[:, 0]
            if len(same):
                names[k] = same[distance[same].argmin()]
            else:
                names[k] = len(self.points)
                self._enter(state, is_zero=True, error=error[k], index=index[k])
        number[left] = names[group]
        return number

    def _certainty(self, zeros: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds on the distance of each to its true zero, and sign det(I - J)."""
        if not len(zeros):
            return zeros.new_empty(0), zeros.new_empty(0)
        unknowns = self.equation.unknowns(zeros)
        n = unknowns.shape[1]
        errors, signs = [], []
        for chunk in unknowns.split(max(1, 2**25 // (8 * n * n))):
            residual, memo = self.equation.evaluate(chunk)
            matrices = self.equation.matrices(memo)
            size = residual.norm(dim=1) + n**0.5 * torch.finfo(chunk.dtype).eps * (1 + chunk.abs().amax(1))
            factors = Factorised(matrices)
            errors.append(size * factors.inverse_norm())
            signs.append(factors.sign())
        return torch.cat(errors), torch.cat(signs)

    def _descend(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Follow states down the speed; return where they came and the number of the point there."""
        found = minima.descend(self.system, states, self.tolerance, self.deadline)
        labels = torch.full((len(states),), -1)
        zero = (found.label == minima.ZERO).nonzero()[:, 0]
        if len(zero):
            directions = Directions(self.equation, self.deadline)
            better = self.equation.states(
                polish(self.equation, directions, self.equation.unknowns(found.states[zero]), self.deadline)[
                    0
                ]
            )
            # What cannot be brought nearer, as on a line of zeros, is a zero all the same.
            near = (better - found.states[zero]).abs().amax(1) <= 1e-3 * (
                1 + found.states[zero].abs().amax(1)
            )
            better = torch.where((near & self._are_zeros(better))[:, None], better, found.states[zero])
            labels[zero] = self._merge(better)
        minimum = (found.label == minima.MINIMUM).nonzero()[:, 0]
        if len(minimum):
            labels[minimum] = self._merge_minima(found.states[minimum])
        return found.states, labels

    def _merge_minima(self, states: Tensor) -> Tensor:
        speed = self.system.residual(states).norm(dim=1)
        order = torch.argsort(speed, stable=True)
        extent = 1 + float(states.abs().max())
        # Minima are reached only linearly, so that copies of one lie further apart than those of a zero.
        radius = _SAME_MINIMUM * extent
        first, group = leaders(states[order], radius)
        names = torch.full((len(first),), -1)
        for k, place in enumerate(order[first]):
            state = states[place]
            known = (~self.is_zero & ((self.points - state).norm(dim=1) <= radius)).nonzero()[:, 0]
            if len(known):
                names[k] = known[0]
            elif not self.is_late and minima.is_minimum(self.system, state):
                names[k] = len(self.points)
                self._enter(state, is_zero=False)
        number = torch.empty(len(states), dtype=torch.int64)
        number[order] = names[group]
        return number

    def _piece_through(self, equation: RateEquation, zeros: Tensor) -> rectified.FlatPiece | None:
        """Return a flat piece on which one of some zeros lies, where there is one that is not known."""
        rates = equation.unknowns(zeros)
        active = rates @ equation.weight.T + equation.drive > 0
        slopes = active.to(rates.dtype)
        for own, slope in zip(active, slopes, strict=True):
            if any(bool((region.active == own).all()) for piece in self.pieces for region in piece.regions):
                continue
            matrix = equation.matrices((slope[None],))[0]
            factors = torch.linalg.lu_factor_ex(matrix)[0]
            diagonal = factors.diagonal().abs()
            if diagonal.min() > 1e-8 * diagonal.max():
                continue
            piece = rectified.flat_piece(equation.weight, equation.drive, own)
            if piece is not None:
                return piece
        return None

    def _add_piece(self, piece: rectified.FlatPiece) -> None:
        name = len(self.pieces)
        self.pieces.append(piece)
        for k, state in enumerate(self.equation.states(piece.vertices)):
            inside = self.equation.states(piece.inside(k)[None])[0]
            self._enter(state, is_zero=True, piece=name, seen_from=inside)

    def _enter(
        self,
        state: Tensor,
        *,
        is_zero: bool,
        error: Tensor | float = math.inf,
        index: Tensor | float = 0.0,
        piece: int = -1,
        seen_from: Tensor | None = None,
    ) -> None:
        def longer(column: Tensor, value: Tensor | float | bool) -> Tensor:
            return torch.cat([column, torch.as_tensor(value, dtype=column.dtype)[None]])

        self.points = longer(self.points, state)
        self.seen_from = longer(self.seen_from, state if seen_from is None else seen_from)
        self.is_zero = longer(self.is_zero, is_zero)
        self.piece_of = longer(self.piece_of, piece)
        self._error, self._index = longer(self._error, error), longer(self._index, index)
