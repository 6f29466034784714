"""Cycles: states that a map brings back after several steps, and not before."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurornn import seeding as streams
from neurornn.analysis.fixed_points.classification import describe_points
from neurornn.analysis.fixed_points.conditions import read_conditions
from neurornn.analysis.fixed_points.equations import MapEquation
from neurornn.analysis.fixed_points.search import Search
from neurornn.analysis.fixed_points.starts import draw_starts, read_starts, settle
from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import MODE, STATE_VARIABLE, UNIT, InputError, need_count, need_positive

CYCLE = "cycle"
PHASE = "phase"

_N_ORBITS = 64
_MOST_ROUNDS = 4
_SAME = 1e-6


def find_cycles(
    network_or_map: Any,
    starts: xr.Dataset | xr.DataArray | np.ndarray | Tensor,
    period: int,
    *,
    inputs: Any = None,
    n_starts: int = 512,
    tolerance: float = 1e-12,
    max_seconds: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Find the cycles of one period: the fixed points of the map applied so many times, once for each orbit.

    Parameters
    ----------
    network_or_map, starts, inputs, n_starts, tolerance, max_seconds, seed
        As for `find_fixed_points`, with one constant input. Of a rectified linear network each step of
        Newton's method goes to the solution of the sequence of linear pieces that the orbit passes through.
    period : int
        Steps after which a state comes back, at least 2. States that come back earlier are left out.

    Returns
    -------
    xarray.Dataset
        ``state (cycle, phase, state_variable)`` and ``rate (cycle, phase, unit)``, beginning with the phase
        whose first variable is least; ``residual (cycle,)``, the largest miss after one round, per leak;
        ``multiplier_real/_imag (cycle, mode)``, eigenvalues of the Jacobian over one round; and as
        coordinates ``kind`` and ``n_unstable``, by the multipliers. Attributes: ``period``, ``tolerance``,
        ``seed``, ``complete``.

    Raises
    ------
    InputError
        As `find_fixed_points` does, or where several inputs are given.

    References
    ----------
    Eisenmann, L., Monfared, Z., Göring, N. & Durstewitz, D. (2023). Bifurcations and loss jumps in RNN
    training. Advances in Neural Information Processing Systems 36. arXiv:2310.17561

    Examples
    --------
    >>> cycles = find_cycles(lambda x: torch.tanh(-3 * x), np.linspace(-1, 1, 9)[:, None], 2)
    >>> cycles.state.values.round(4).tolist(), cycles.kind.values.tolist()
    ([[[-0.9949], [0.9949]]], ['stable'])
    """
    began = time.monotonic()
    need_count(period, "period", least=2)
    need_count(n_starts, "n_starts", least=0)
    need_positive(tolerance, "tolerance")
    deadline = math.inf if max_seconds is None else began + need_positive(max_seconds, "max_seconds")
    conditions = read_conditions(network_or_map, inputs, starts)
    if len(conditions) > 1:
        raise InputError(
            f"find_cycles takes one constant input, got {len(conditions)}: call it once for each"
        )
    single = StateMap(network_or_map, next(iter(conditions.values())))
    visited, given = read_starts(starts, getattr(single.network, "state_size", None), None)
    rng = streams.numpy_stream(seed, streams.FIXED_POINT_STARTS, period)
    system = _Repeated(single, period)
    search = Search(system, visited.states.shape[1], tolerance, deadline)
    search.equation = MapEquation(system)
    visited = visited.beside(settle(single, visited.pick(_N_ORBITS, rng), rng))
    search.follow(np.concatenate([given, draw_starts(visited, n_starts, rng)]), to_minima=False)
    for _ in range(_MOST_ROUNDS):
        before = len(search.points)
        search.follow(draw_starts(visited, n_starts // 2, rng), to_minima=False)
        if len(search.points) == before or search.is_late:
            break
    orbits = _orbits(single, search.points, period)
    return _label(system, orbits, tolerance, seed, complete=time.monotonic() <= deadline)


class _Repeated(StateMap):
    """A map applied several times, as one map."""

    def __init__(self, single: StateMap, times: int) -> None:
        self.single, self.times = single, times
        self.network, self.dt, self.form = None, None, None
        self.alpha = single.alpha

    def step(self, states: Tensor) -> Tensor:
        """Return the states after one round."""
        for _ in range(self.times):
            states = self.single.step(states)
        return states

    def jacobian(self, states: Tensor) -> Tensor:
        """Return the derivatives over one round, the product of those of its steps."""
        product = torch.eye(states.shape[1], dtype=states.dtype).expand(len(states), -1, -1)
        for _ in range(self.times):
            product = self.single.jacobian(states) @ product
            states = self.single.step(states)
        return product.contiguous()

    def rates(self, states: Tensor) -> Tensor:
        """Return what the readout sees of the states."""
        return self.single.rates(states)

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Return the box that one step takes into itself."""
        return self.single.bounds()


@torch.no_grad()
def _orbits(single: StateMap, points: Tensor, period: int) -> Tensor:
    """Return each orbit of exactly the period once, shape (cycle, phase, state_variable)."""
    along = [points]
    for _ in range(period - 1):
        along.append(single.step(along[-1]))
    orbits = torch.stack(along, dim=1)
    # A state that comes back earlier comes back after a divisor of the period.
    apart = (orbits[:, 1:] - orbits[:, :1]).abs().amax(2)
    width = _SAME * (1 + points.abs().amax(1)) if len(points) else points.new_empty(0)
    orbits, width = (own[(apart > width[:, None]).all(1)] for own in (orbits, width))
    kept: list[Tensor] = []
    for orbit, own in zip(orbits, width, strict=True):
        first = int(orbit[:, 0].argmin())
        orbit = orbit.roll(-first, dims=0)
        if all(float((orbit[0] - other).abs().amax(1).min()) > own for other in kept):
            kept.append(orbit)
    return torch.stack(kept) if kept else points.new_empty((0, period, points.shape[1]))


def _label(system: _Repeated, orbits: Tensor, tolerance: float, seed: int, complete: bool) -> xr.Dataset:
    first = orbits[:, 0]
    described = describe_points(system, first, torch.ones(len(first), dtype=torch.bool))
    multiplier = described["eigenvalue"]
    with torch.no_grad():
        rate = system.rates(orbits)
    return xr.Dataset(
        {
            "state": ((CYCLE, PHASE, STATE_VARIABLE), orbits.numpy()),
            "rate": ((CYCLE, PHASE, UNIT), rate.numpy()),
            "residual": (CYCLE, described["residual"]),
            "multiplier_real": ((CYCLE, MODE), multiplier.real),
            "multiplier_imag": ((CYCLE, MODE), multiplier.imag),
        },
        coords={
            "kind": (CYCLE, described["kind"].astype(str)),
            "n_unstable": (CYCLE, described["n_unstable"]),
        },
        attrs={"period": system.times, "tolerance": tolerance, "seed": int(seed), "complete": int(complete)},
    )
