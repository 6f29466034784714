"""Following a slow manifold of a map from place to place, and how it looks at each."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neurornn.analysis.fixed_points.search import Search
from neurornn.analysis.fixed_points.starts import Visited
from neurornn.analysis.maps import StateMap
from neurornn.numerics.inverse_iteration import refine_mode

LEAST_GAP = 2.0
"""How many times faster than along the manifold a deviation across it must decay: less is no manifold."""

_N_ORBITS = 256
_N_CANDIDATES = 24
_STEPS_ACROSS = 60
_MOST_STEPS = 400
_MOST_SETTLING = 3000
_CORRECTIONS = 20
_BISECTIONS = 12
_LEAST_SPREAD = 1e-2


@dataclass
class Node:
    """A place on the manifold: where, the tangent there, the drift along it, and the modes' moduli."""

    state: Tensor
    tangent: Tensor
    drift: float
    along: float
    across: float

    @property
    def gap(self) -> float:
        """How many times faster deviations across decay than what is along grows or decays."""
        if self.across >= 1 or self.along <= 0:
            return 0.0
        slow = abs(math.log(self.along))
        # A modulus of 0 decays at once.
        fast = -math.log(max(self.across, 1e-300))
        return fast / slow if slow > 0 else math.inf


@dataclass
class Line:
    """Nodes in order, and whether the last is followed by the first."""

    nodes: list[Node]
    closed: bool
    tracer: Tracer | None
    """What brings a place between two nodes onto the manifold; None where their connection is straight."""


class Tracer:
    """Follows the slow manifold of a map.

    Parameters
    ----------
    system : StateMap
    deadline : float
        Value of ``time.monotonic`` after which no further step is taken.
    """

    def __init__(self, system: StateMap, deadline: float) -> None:
        self.system, self.deadline = system, deadline

    def along_piece(self, n_variables: int) -> Line | None:
        """Return the longest line of a rectified linear network's flat pieces, where all can be tried."""
        search = Search(self.system, n_variables, 1e-12, self.deadline)
        search.enumerate()
        lines = [own for own in search.pieces if own.dimension == 1 and own.bounded]
        if not lines:
            return None
        piece = max(lines, key=lambda own: own.length)
        corners = search.equation.states(piece.vertices)
        ends = corners.roll(-1, 0) if piece.closed else corners[1:]
        nodes = []
        for begin, end in zip(corners, ends, strict=False):
            heading = (end - begin) / (end - begin).norm()
            # Derivatives are those within the piece, not on the kink at its end.
            slow = self._slow_mode((begin + end) / 2, heading)
            along, across = (1.0, 1.0) if slow is None else slow[2:]
            nodes.append(Node(begin, heading, 0.0, along, across))
        if not piece.closed:
            last = nodes[-1]
            nodes.append(Node(corners[-1], last.tangent, 0.0, last.along, last.across))
        return Line(nodes, piece.closed, None)

    @torch.no_grad()
    def trace(self, visited: Visited, rng: np.random.Generator) -> Line | None:
        """Return the manifold to which visited states lead, as far as they reach, or None."""
        states = torch.as_tensor(visited.pick(_N_ORBITS, rng))
        before = _extent(states)
        states = self._run(states, math.ceil(10 / max(float(self.system.alpha.min()), 1e-2)))
        first = self._slowest(states)
        if first is None:
            return None
        # What lies across has decayed a hundredfold; along the manifold the states are still spread.
        settling = -5 / math.log(first.across) if 0 < first.across < 1 else 1
        cloud = self._run(states, min(_MOST_SETTLING, math.ceil(settling)))
        extent = _extent(cloud)
        if extent <= _LEAST_SPREAD * before:
            return None
        stride = 2 * extent / _STEPS_ACROSS
        onward, closed = self._follow(first, stride, cloud, first)
        if closed:
            return Line(onward[:-1], True, self)
        turned = Node(first.state, -first.tangent, -first.drift, first.along, first.across)
        back, _ = self._follow(turned, stride, cloud, None)
        for node in back:
            node.tangent, node.drift = -node.tangent, -node.drift
        nodes = back[:0:-1] + onward
        return Line(nodes, False, self) if len(nodes) > 3 else None

    def _run(self, states: Tensor, n_steps: int) -> Tensor:
        for _ in range(n_steps):
            if time.monotonic() > self.deadline:
                break
            states = self.system.step(states)
        return states[torch.isfinite(states).all(1)]

    def _slowest(self, states: Tensor) -> Node | None:
        """Return the slowest place on a manifold that some states lead to."""
        best = None
        for state in states[:: max(1, len(states) // _N_CANDIDATES)]:
            if time.monotonic() > self.deadline:
                break
            node = self.correct(state, None)
            if node is None or node.gap < LEAST_GAP:
                continue
            if best is None or abs(node.drift) < abs(best.drift):
                best = node
        return best

    def correct(self, state: Tensor, beside: Node | None) -> Node | None:
        """Return where the manifold crosses the hyperplane across it through a state, None where it does not.

        Parameters
        ----------
        state : Tensor, shape (state_variable,)
        beside : Node or None
            A node near by, whose tangent is continued; else the slowest mode's is taken, in either sense.
        """
        if beside is None:
            slow = self._slow_mode(state, None)
            mode = None if slow is None else slow[:3]
        else:
            mode = self._continued(state, beside.tangent, beside.along)
        if mode is None:
            return None
        tangent, selection, along = mode
        n = len(state)
        bordered = torch.zeros((n + 1, n + 1), dtype=state.dtype)
        drift, first = 0.0, state
        for iteration in range(_CORRECTIONS):
            residual = self.system.residual(state[None])[0]
            wrong = torch.cat([residual - drift * tangent, (selection @ (state - first))[None]])
            bordered[:n, :n] = self.system.residual_slope(state[None])[0]
            bordered[:n, n], bordered[n, :n] = -tangent, selection
            step, failed = torch.linalg.solve_ex(bordered, wrong[:, None])
            step = step[:, 0]
            if failed or not bool(torch.isfinite(step).all()):
                return None
            state, drift = state - step[:n], drift - float(step[n])
            size = float(step[:n].norm())
            if size > 2 * (1 + float(first.norm())):
                return None
            # The tangent is that of the place itself, not of where the search for it began.
            mode = self._continued(state, tangent, along)
            if mode is None:
                return None
            turned = float((mode[0] - tangent).norm())
            tangent, selection, along = mode
            # At rest the tangent does not enter: on a kink it may flip between those of both sides.
            rests = float(self.system.residual(state[None]).norm()) <= 1e-12 * (1 + float(state.norm()))
            settled = size <= 1e-12 * (1 + float(state.norm())) and (turned <= 1e-8 or rests)
            roughly = iteration == _CORRECTIONS - 1 and size <= 1e-6 * (1 + float(state.norm()))
            if (settled and iteration) or roughly:
                whole = self._slow_mode(state, tangent)
                return None if whole is None else Node(state, whole[0], drift, whole[2], whole[3])
        return None

    def _continued(self, state: Tensor, tangent: Tensor, along: float) -> tuple[Tensor, Tensor, float] | None:
        """Return direction, selection vector and modulus of the mode that continues another."""
        jacobian = self.system.jacobian(state[None])[0].numpy()
        found = refine_mode(jacobian, along, tangent.numpy()) if np.isfinite(jacobian).all() else None
        if found is not None and abs(found[0].imag) < 1e-9:
            own, selection = (torch.as_tensor(np.ascontiguousarray(part.real)) for part in found[1:])
            overlap = float(own @ tangent)
            if abs(overlap) > 0.5:
                own = own * math.copysign(1.0, overlap)
                return own, selection / (selection @ own), found[0].real
        slow = self._slow_mode(state, tangent)
        return None if slow is None else slow[:3]

    def _slow_mode(self, state: Tensor, heading: Tensor | None) -> tuple[Tensor, Tensor, float, float] | None:
        """Return the slowest real mode's direction and selection vector, its modulus, and the next one's."""
        jacobian = self.system.jacobian(state[None])[0].numpy()
        if not np.isfinite(jacobian).all():
            return None
        try:
            values, right = np.linalg.eig(jacobian)
            left = np.linalg.inv(right)
        except np.linalg.LinAlgError:
            return None
        real = np.abs(values.imag) < 1e-9
        if not real.any():
            return None
        slowness = np.where(real, np.abs(values - 1), np.inf)
        k = int(slowness.argmin())
        tangent = torch.as_tensor(np.ascontiguousarray(right[:, k].real))
        selection = torch.as_tensor(np.ascontiguousarray(left[k].real))
        length = tangent.norm()
        tangent, selection = tangent / length, selection * length
        if heading is not None and tangent @ heading < 0:
            tangent, selection = -tangent, -selection
        others = np.abs(np.delete(values, k))
        return tangent, selection, float(values[k].real), float(others.max(initial=0.0))

    def _follow(
        self, first: Node, stride: float, cloud: Tensor, beginning: Node | None
    ) -> tuple[list[Node], bool]:
        """Return nodes from one on, and whether they came back to the beginning, which is then the last."""
        nodes = [first]
        while len(nodes) < _MOST_STEPS and time.monotonic() < self.deadline:
            node = self._next(nodes[-1], stride, cloud)
            if node is None:
                # The end lies within this step: half of it, and again.
                own = stride
                for _ in range(_BISECTIONS):
                    own /= 2
                    nearer = self._next(nodes[-1], own, cloud)
                    if nearer is not None:
                        nodes.append(nearer)
                break
            nodes.append(node)
            if beginning is not None and len(nodes) > 4:
                apart = float((node.state - beginning.state).norm())
                if apart < 0.75 * stride and float(node.tangent @ beginning.tangent) > 0.5:
                    return nodes, True
        return nodes, False

    def _next(self, node: Node, stride: float, cloud: Tensor) -> Node | None:
        found = self.correct(node.state + stride * node.tangent, node)
        if found is None or found.gap < LEAST_GAP:
            return None
        way = found.state - node.state
        # Nor may the correction have led elsewhere, or beyond where the network goes.
        if not 0.3 * stride < float(way.norm()) < 3 * stride or float(way @ node.tangent) <= 0:
            return None
        nearest = float((cloud - found.state).norm(dim=1).min())
        widest = 2 * math.pi / _STEPS_ACROSS * _extent(cloud)
        return found if nearest <= 4 * widest else None


def _extent(states: Tensor) -> float:
    """Return the largest distance from the mean."""
    return float((states - states.mean(0)).norm(dim=1).max()) if len(states) else 0.0


def spread_nodes(line: Line, n_nodes: int) -> tuple[list[Node], np.ndarray, float]:
    """Return nodes at equal distances, each brought onto the manifold again, with distances and length.

    Parameters
    ----------
    line : Line
    n_nodes : int

    Returns
    -------
    nodes : list of Node
    arclength : ndarray, shape (node,)
    length : float
        Of the whole line, the way back to the first node included where it is closed.
    """
    nodes = [*line.nodes, line.nodes[0]] if line.closed else line.nodes
    states = torch.stack([node.state for node in nodes]).numpy()
    arclength = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(states, axis=0), axis=1))])
    wanted = np.linspace(0, arclength[-1], n_nodes + line.closed)[:n_nodes]
    spread = []
    for place in wanted:
        k = int(np.clip(np.searchsorted(arclength, place, side="right") - 1, 0, len(nodes) - 2))
        share = (place - arclength[k]) / max(arclength[k + 1] - arclength[k], 1e-300)
        begin = torch.as_tensor((1 - share) * states[k] + share * states[k + 1])
        if line.tracer is None:
            spread.append(replace(nodes[k], state=begin))
            continue
        node = line.tracer.correct(begin, nodes[k])
        # On a kink the equation may have no solution on this hyperplane: then the next node stands for it.
        holds = node is not None and node.gap >= LEAST_GAP
        spread.append(node if holds and node is not None else nodes[k if share < 0.5 else k + 1])
    return spread, wanted, float(arclength[-1])
