"""Lines and rings along which a network is slow: traced, measured, and told from what is only nearly one.

On a slow manifold the state moves along it and nowhere else: G(x) = drift * tangent, with the tangent the
slowest mode of the Jacobian. This equation has a solution on every hyperplane across the manifold, fixed
point or not, which Newton's method finds; the drift comes out as a number with a sign.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurornn import seeding as streams
from neurornn.analysis.fixed_points.conditions import read_conditions
from neurornn.analysis.fixed_points.starts import read_starts
from neurornn.analysis.fixed_points.tracing import Line, Tracer, spread_nodes
from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import CONDITION, STATE_VARIABLE, UNIT, need_count, need_positive

NODE = "node"
MANIFOLD_KINDS = ("line", "ring", "none")
SHARE_OF_LENGTH = 0.1
"""Drift over this share of the length ends persistence."""


def find_manifold(
    network_or_map: Any,
    starts: xr.Dataset | xr.DataArray | np.ndarray | Tensor,
    *,
    inputs: Any = None,
    n_nodes: int = 51,
    max_seconds: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Trace the line or ring along which a network is slow under constant input.

    Visited states are run forward until what decays fast has decayed. From the slowest of them the manifold
    is followed both ways, as far as the network goes, and as long as deviations across it decay at least
    twice as fast as anything happens along it; where it comes back to its beginning it is a ring. Of
    rectified linear networks of which every linear piece can be tried it is the longest line of states at
    rest, exactly.

    Parameters
    ----------
    network_or_map, starts, inputs
        As for `find_fixed_points`. Of several inputs each has a manifold of its own.
    n_nodes : int
        Nodes at equal distances along it, each of which meets the equation to rounding.
    max_seconds : float, optional
        Begin nothing new after this time; ``attrs["complete"]`` says whether it ran out.
    seed : int
        Seed of the states that are drawn.

    Returns
    -------
    xarray.Dataset
        On ``(condition, node)``: ``state``, ``rate``, ``tangent`` (of length 1, along the nodes),
        ``arclength``, ``drift`` (speed along the tangent with its sign, in state per tau, or per step without
        a leak; zeros of it are fixed points), ``normal_residual`` (2-norm of G without the drift),
        ``time_constant`` along and ``normal_time_constant`` across, in ms or steps, ``normal_gap`` (how many
        times faster deviations across decay than along), ``persistence_time`` (until the drift has covered a
        tenth of the length). On ``condition``: ``manifold_kind`` (line, ring, none), ``length``,
        ``condition_name``. Where there is none, all of it is NaN.

    Raises
    ------
    InputError
        As `find_fixed_points` does.

    References
    ----------
    Seung, H. S. (1996). How the brain keeps the eyes still. Proceedings of the National Academy of Sciences
    93, 13339-13344. doi:10.1073/pnas.93.23.13339

    Mante, V., Sussillo, D., Shenoy, K. V. & Newsome, W. T. (2013). Context-dependent computation by recurrent
    dynamics in prefrontal cortex. Nature 503, 78-84. doi:10.1038/nature12742

    Examples
    --------
    >>> def ring(x):
    ...     return x + 0.2 * x * (1 - (x**2).sum(-1, keepdim=True))
    >>> found = find_manifold(ring, np.random.default_rng(0).normal(size=(50, 2)))
    >>> found.manifold_kind.item(), round(found.length.item() / (2 * np.pi), 2)
    ('ring', 1.0)
    """
    began = time.monotonic()
    need_count(n_nodes, "n_nodes", least=3)
    deadline = math.inf if max_seconds is None else began + need_positive(max_seconds, "max_seconds")
    conditions = read_conditions(network_or_map, inputs, starts)
    found = []
    for k, (name, held) in enumerate(conditions.items()):
        system = StateMap(network_or_map, held)
        visited, _ = read_starts(starts, getattr(system.network, "state_size", None), None)
        rng = streams.numpy_stream(seed, streams.FIXED_POINT_STARTS, k)
        tracer = Tracer(system, deadline)
        line = tracer.along_piece(visited.states.shape[1]) or tracer.trace(visited, rng)
        found.append(_label(system, line, n_nodes, visited.states.shape[1], name))
    combined = xr.concat(found, dim=CONDITION)
    combined.attrs = {"seed": int(seed), "complete": int(time.monotonic() <= deadline)}
    return combined


def _label(system: StateMap, line: Line | None, n_nodes: int, n_variables: int, name: str) -> xr.Dataset:
    """Return one condition's manifold at equal distances."""
    nodes, arclength, length = (
        spread_nodes(line, n_nodes) if line is not None else ([], _unknown(n_nodes), math.nan)
    )
    unit, step = ("steps", 1.0) if system.dt is None else ("ms", float(system.dt))
    per = "1/tau" if system.has_leak else "1/step"

    def column(values: list[float]) -> np.ndarray:
        return np.array(values) if nodes else _unknown(n_nodes)

    if nodes:
        state = torch.stack([node.state for node in nodes])
        tangent = torch.stack([node.tangent for node in nodes])
        with torch.no_grad():
            residual = system.residual(state)
            moved = system.step(state) - state
    else:
        state = tangent = residual = moved = torch.as_tensor(_unknown((n_nodes, n_variables)))
    along, across = column([node.along for node in nodes]), column([node.across for node in nodes])
    drift = column([node.drift for node in nodes])
    with np.errstate(divide="ignore", invalid="ignore"):
        constants = [-step / np.log(own) for own in (along, across)]
        # By the steps of the simulation, whatever the leaks are.
        pace = np.abs(np.einsum("ij,ij->i", moved.numpy(), tangent.numpy()))
        persistence = SHARE_OF_LENGTH * length / pace * step
    kind = "none" if not nodes else "ring" if line is not None and line.closed else "line"
    by_node, by_state = (CONDITION, NODE), (CONDITION, NODE, STATE_VARIABLE)
    normal = (residual - torch.as_tensor(drift)[:, None] * tangent).norm(dim=1).numpy()
    return xr.Dataset(
        {
            "state": (by_state, state.numpy()[None]),
            "rate": ((CONDITION, NODE, UNIT), _rates(system, state, bool(nodes))[None]),
            "tangent": (by_state, tangent.numpy()[None]),
            "arclength": (by_node, arclength[None]),
            "drift": (by_node, drift[None], {"units": per}),
            "normal_residual": (by_node, normal[None], {"units": per}),
            "time_constant": (by_node, constants[0][None], {"units": unit}),
            "normal_time_constant": (by_node, constants[1][None], {"units": unit}),
            "normal_gap": (by_node, column([node.gap for node in nodes])[None]),
            "persistence_time": (by_node, persistence[None], {"units": unit}),
            "manifold_kind": (CONDITION, [kind]),
            "length": (CONDITION, [length]),
            "condition_name": (CONDITION, [name]),
        }
    )


def _rates(system: StateMap, state: Tensor, known: bool) -> np.ndarray:
    with torch.no_grad():
        rates = system.rates(state if known else torch.zeros_like(state)).numpy()
    return rates if known else np.full_like(rates, np.nan)


def _unknown(shape: int | tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan)
