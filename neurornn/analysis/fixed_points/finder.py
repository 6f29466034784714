"""Fixed points of a network under constant input: found, verified, classified, and every start accounted for.

Reads a network and states to start from. Gives states, stability and the evidence of completeness.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from neurornn import seeding as streams
from neurornn.analysis.fixed_points.conditions import read_conditions
from neurornn.analysis.fixed_points.dataset import combine, label_search
from neurornn.analysis.fixed_points.search import Search
from neurornn.analysis.fixed_points.starts import Visited, draw_starts, read_starts, settle
from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import START, TIME, InputError, need_choice, need_count, need_positive

_SEEDING = ("auto", "none")
_N_ORBITS = 64
_METHODS = ("auto", "newton", "enumeration")


def find_fixed_points(
    network_or_map: Any,
    starts: xr.Dataset | xr.DataArray | np.ndarray | Tensor,
    *,
    inputs: Any = None,
    n_starts: int = 512,
    seeding: str = "auto",
    method: str = "auto",
    tolerance: float = 1e-12,
    max_seconds: float | None = None,
    n_modes: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Find the fixed points of a network under constant input.

    What is solved is the equation at rest, without leaks and gates, in the fewest unknowns: of rate units r =
    f(W r + h), of a GRU h = n(h), of an LSTM h = o tanh(i g / (1 - f)). Starts follow Newton's method, steps
    capped and kept in the box that the state cannot leave; what does not converge is taken on with a line
    search, and then down the speed by Levenberg and Marquardt, which ends in a zero or in a minimum of speed.
    Zeros, slow points and failures are never mixed. The search then begins anew from mixtures of the points
    found until a round adds none and the index sum agrees. Rectified linear networks, where they are small or
    of low rank, are solved piece by piece instead, and completely.

    Parameters
    ----------
    network_or_map : network or callable
        With ``step`` and, where known, ``jacobian``; or a torch function ``state (..., n) -> next state``.
    starts : xarray.Dataset, DataArray or array, shape (start, state_variable)
        A recording, of which states are drawn, every condition of its trials equally often; or states, which
        are used first and in order.
    inputs : optional
        None (zero); one constant input ``(input_channel,)``; several ``(condition, input_channel)``; or a
        dictionary of them, as ``task.constant_inputs()`` gives it.
    n_starts : int
        Starts per condition that are drawn around the given ones: half mixtures of two visited states, a
        quarter visited states with noise, three sixteenths Gaussian along their principal components, the
        rest anywhere in the box. 512 found all 27 points of a 3-bit flip-flop in every network tried.
    seeding : {"auto", "none"}
        ``"none"``: the given starts alone (of a recording, ``n_starts`` states spread evenly).
    method : {"auto", "newton", "enumeration"}
        ``"enumeration"`` tries every linear piece of a rectified linear network; ``"auto"`` does so where
        there are at most 2^17 of them, and nothing needs to be drawn then.
    tolerance : float
        A zero has max |G| <= tolerance * (1 + max |state|), with G(x) = (F(x) - x) / alpha.
    max_seconds : float, optional
        Begin nothing new after this time; ``attrs["complete"]`` says whether it ran out, and
        ``search_ending`` where.
    n_modes : int, optional
        Modes of each point that are computed at least, the largest modulus first. Where it is left out, all
        up to 200 state variables, and beyond 4 and all unstable ones, since all modes take longer than all
        else.
    seed : int
        Seed of the starts that are drawn.
    progress : bool
        Whether a bar counts the starts.

    Returns
    -------
    xarray.Dataset
        On ``fixed_point``: ``state``, ``rate``, ``input``, ``residual`` (max |G|), ``speed`` (2-norm of G,
        per tau), ``position_error`` (bound on the distance to the true zero), ``eigenvalue_real``,
        ``eigenvalue_imag (fixed_point, mode)`` of the map, ``time_constant`` (-dt / ln |eigenvalue|;
        negative: grows), ``frequency``, and of a network with tau ``flow_rate_real``, ``flow_rate_imag``,
        (eigenvalue - 1) / dt; ``reactivity``, the rate at which the worst small deviation grows at first; and
        as coordinates ``kind`` (stable, saddle, unstable, marginal, slow), ``n_unstable`` and ``condition``
        (the label of its constant input).

        Of the three leading modes ``(fixed_point, leading_mode, ...)``: ``state_direction``, of length 1, and
        ``selection_vector``, scaled to unit overlap with it, so that a kick moves the state by their product
        with it along the direction once all else has decayed; ``..._imag`` beside for modes that turn; and
        ``rate_direction``, the direction in rates, real.

        On ``start``: ``start_state``, ``start_label`` (-1: failed), ``start_residual``, ``start_condition``.
        On ``condition``: ``index_sum``, the sum of sign det(I - J) over the zeros (NaN beside marginal ones),
        and ``index_sum_expected`` (1 for a map of a box into itself, else NaN); ``unseen_share``, Good and
        Turing's estimate of the share of starts that would lead to a new point; ``search_ending`` (settled,
        exhaustive, given starts, continuum, many points, round limit, time limit) and ``search_rounds``;
        labelled by ``condition_name``.

        On ``flat_piece``: connected flat sets at rest of rectified linear networks, with
        ``flat_piece_dimension``, ``flat_piece_length`` and ``flat_piece_closed``. Their corners, in order,
        are marginal points, whose ``flat_piece_of_point`` numbers the piece (-1: an isolated point); a start
        that ends on a piece has the label of the nearest corner.

    Raises
    ------
    InputError
        Where sizes do not fit, a start or a weight is not finite, or ``inputs`` is left out for a recording
        whose inputs never vanish.

    Notes
    -----
    ``kind`` is decided by the map as simulated: a mode is unstable outside the unit circle, and a point is
    marginal where an eigenvalue is nearer to the circle than ten times its own error.

    The index sum is necessary, not sufficient: points can be missing in pairs.

    References
    ----------
    Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in high-dimensional
    recurrent neural networks. Neural Computation 25, 626-649. doi:10.1162/NECO_a_00409

    Good, I. J. (1953). The population frequencies of species and the estimation of population parameters.
    Biometrika 40, 237-264. doi:10.1093/biomet/40.3-4.237

    Examples
    --------
    >>> points = find_fixed_points(lambda x: torch.tanh(2 * x), np.random.default_rng(0).normal(size=(50, 1)))
    >>> points.state.squeeze().values.round(4) + 0.0
    array([-0.9575,  0.9575,  0.    ])
    >>> points.kind.values.tolist(), float(points.index_sum.item())
    (['stable', 'stable', 'unstable'], 1.0)
    """
    began = time.monotonic()
    need_count(n_starts, "n_starts", least=0)
    need_positive(tolerance, "tolerance")
    deadline = math.inf if max_seconds is None else began + need_positive(max_seconds, "max_seconds")
    need_choice(seeding, "seeding", _SEEDING)
    need_choice(method, "method", _METHODS)
    if n_modes is not None:
        need_count(n_modes, "n_modes")
    conditions = read_conditions(network_or_map, inputs, starts)
    systems = [StateMap(network_or_map, value) for value in conditions.values()]
    size = getattr(systems[0].network, "state_size", None)
    visited, given = read_starts(starts, size, n_starts if seeding == "none" else None)
    _need_map(systems[0], visited.states[:2])
    rounds = [streams.numpy_stream(seed, streams.FIXED_POINT_STARTS, k) for k in range(len(systems))]
    results = []
    with tqdm(desc="fixed points", unit="start", disable=not progress) as bar:
        for name, system, rng in zip(conditions, systems, rounds, strict=True):
            bar.set_postfix_str(name)
            search = Search(system, visited.states.shape[1], tolerance, deadline, bar.update)
            _run(search, visited, given, n_starts if seeding == "auto" else None, method, rng)
            results.append(label_search(search, name, _dt(system, starts), n_modes))
    combined = combine(results)
    label = combined["start_label"]
    combined.attrs = {
        "tolerance": tolerance,
        "share_converged": float((label >= 0).mean()) if label.sizes[START] else math.nan,
        "seed": int(seed),
        "complete": int(time.monotonic() <= deadline),
        "seconds": time.monotonic() - began,
    }
    return combined


def _run(
    search: Search,
    visited: Visited,
    given: np.ndarray,
    n_drawn: int | None,
    method: str,
    rng: np.random.Generator,
) -> None:
    """Search under one constant input."""
    exhaustive = method != "newton" and search.enumerate()
    if method == "enumeration" and not exhaustive and not search.is_late:
        raise InputError(
            "method 'enumeration' needs a rectified linear network of at most 16 units, or of low rank: "
            "take method='auto'"
        )
    box = search.system.bounds()
    bounds = None if box is None else (box[0].numpy(), box[1].numpy())
    if n_drawn:
        visited = visited.beside(settle(search.system, visited.pick(_N_ORBITS, rng), rng))
    drawn = draw_starts(visited, n_drawn or 0, rng, bounds)
    search.follow(np.concatenate([given, drawn]), to_minima=True)
    if exhaustive:
        search.ending = "exhaustive"
    elif n_drawn is not None:
        search.walk(np.concatenate([given, drawn]), n_drawn, rng)
        search.reseed(visited, max(128, n_drawn // 4), rng)
    if search.is_late and not exhaustive:
        search.ending = "time limit"
    search.tidy()


@torch.no_grad()
def _need_map(system: StateMap, states: np.ndarray) -> None:
    """Refuse a function that does not return states like those it was given."""
    if system.network is not None:
        return
    given = torch.as_tensor(states)
    try:
        after = system.step(given)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            f"`network_or_map` failed on states of shape {tuple(given.shape)} ({error}): it must take "
            "float64 tensors (state, state_variable); check the width of `starts`"
        ) from error
    if not isinstance(after, Tensor) or after.shape != given.shape or after.dtype != given.dtype:
        came = f"{tuple(after.shape)} {after.dtype}" if isinstance(after, Tensor) else type(after).__name__
        raise InputError(
            f"`network_or_map` must return next states like those it is given, {tuple(given.shape)} "
            f"{given.dtype}, got {came}: check the width of `starts`, and that the function keeps float64"
        )


def _dt(system: StateMap, starts: Any) -> float | None:
    """Return the length of a step: the network's own, or else that of the recording."""
    if system.dt is not None:
        return float(system.dt)
    if isinstance(starts, xr.Dataset) and TIME in starts.coords and starts.sizes[TIME] > 1:
        return float(starts[TIME][1] - starts[TIME][0])
    return None
