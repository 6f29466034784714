"""Fixed points of a network under constant input: found, verified, classified, and every start accounted for.

Reads a network and states to start from. Gives states, stability and the evidence of completeness.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurornn import seeding
from neurornn.analysis import roots
from neurornn.analysis.maps import StateMap
from neurornn.numerics.eigen import eigensystem
from neurornn.vocabulary import (
    CONDITION,
    FIXED_POINT,
    INPUT_CHANNEL,
    MODE,
    START,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    need_count,
    need_dims,
    need_finite,
    need_positive,
)

LEADING_MODE = "leading_mode"
N_DIRECTIONS = 3
"""How many modes, the largest modulus first, have their direction in rate space kept."""

_RESEEDING_ROUNDS = 8
_MERGE_RADIUS = 1e-6


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
    seed: int = 0,
) -> xr.Dataset:
    """Find the fixed points of a network under constant input.

    Every start is followed by Newton's method with the analytic Jacobian in float64, steps capped and kept in
    the box that the state cannot leave; what does not converge is taken on by Levenberg-Marquardt, which ends
    in a zero or in a minimum of speed. Zeros, slow points and failures are never mixed. The search then
    begins anew from mixtures of the points found until a round adds none and the index sum agrees.

    Parameters
    ----------
    network_or_map : network or callable
        With ``step`` and, where known, ``jacobian``; or a torch function ``state (..., n) -> next state``.
    starts : xarray.Dataset, DataArray or array, shape (start, state_variable)
        A recording, of which states are drawn, or states, which are used first and in order.
    inputs : optional
        None (zero); one constant input ``(input_channel,)``; several ``(condition, input_channel)``; or a
        dictionary of them, as ``task.constant_inputs()`` gives it.
    n_starts : int
        Starts per condition that are drawn around the given ones: half mixtures of two visited states, a
        quarter visited states, a quarter Gaussian along their principal components. 512 found all 27 points
        of a 3-bit flip-flop in every network tried.
    seeding : {"auto", "none"}
        ``"none"``: the given starts alone (of a recording, ``n_starts`` states spread evenly).
    method : {"auto"}
        The solver; there is one.
    tolerance : float
        A zero has max |G| <= tolerance * (1 + max |state|), with G(x) = (F(x) - x) / alpha.
    max_seconds : float, optional
        Begin nothing new after this time; ``attrs["complete"]`` says whether it ran out.
    seed : int
        Seed of the starts that are drawn.

    Returns
    -------
    xarray.Dataset
        On ``fixed_point``: ``state``, ``rate``, ``input``, ``residual`` (max |G|), ``speed`` (2-norm of G,
        per tau), ``position_error`` (bound on the distance to the true zero), ``eigenvalue_real``,
        ``eigenvalue_imag (fixed_point, mode)`` of the map, the largest modulus first, ``time_constant`` (-dt
        / ln |eigenvalue|; negative: grows) and ``frequency``; ``rate_direction (fixed_point, leading_mode,
        unit)``; and as coordinates ``kind`` (stable, saddle, unstable, marginal, slow), ``n_unstable`` and
        ``condition`` (the label of its constant input). On ``start``: ``start_state``, ``start_label`` (-1:
        failed), ``start_residual``. On ``condition``: ``index_sum``, the sum of sign det(I - J) over the
        zeros (NaN beside marginal ones), and ``index_sum_expected`` (1 for a map of a box into itself, else
        NaN), labelled by ``condition_name``.

    Raises
    ------
    InputError
        Where sizes do not fit, a start is not finite, or ``inputs`` is left out for a recording whose inputs
        never vanish.

    Notes
    -----
    ``kind`` is decided by the map as simulated: a mode is unstable outside the unit circle, and a point is
    marginal where an eigenvalue is nearer to the circle than ten times its own error.

    The index sum is necessary, not sufficient: points can be missing in pairs.

    References
    ----------
    Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in high-dimensional
    recurrent neural networks. Neural Computation 25, 626-649. doi:10.1162/NECO_a_00409

    Nielsen, H. B. (1999). Damping parameter in Marquardt's method. IMM-REP-1999-05, Technical University of
    Denmark.

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
    for name, value, known in (("seeding", seeding, ("auto", "none")), ("method", method, ("auto",))):
        if value not in known:
            raise InputError(f"`{name}` must be one of {known}, got {value!r}")
    conditions = _conditions(network_or_map, inputs, starts)
    systems = [StateMap(network_or_map, value) for value in conditions.values()]
    states, given = _states(starts, systems[0], n_starts if seeding == "none" else None)
    results = []
    for k, (name, system) in enumerate(zip(conditions, systems, strict=True)):
        rng = _rng(seed, k)
        search = _Search(system, states.shape[1], tolerance, deadline)
        search.add(
            given if seeding == "none" else np.concatenate([given, draw_starts(states, n_starts, rng)])
        )
        if seeding == "auto":
            search.reseed(max(128, n_starts // 4), rng)
        results.append(search.result(name, _dt(system, starts)))
    combined = _combine(results)
    combined.attrs = {
        "tolerance": tolerance,
        "share_converged": float((combined["start_label"] >= 0).mean())
        if combined.sizes[START]
        else math.nan,
        "seed": int(seed),
        "complete": int(time.monotonic() <= deadline),
        "seconds": time.monotonic() - began,
    }
    return combined


def draw_starts(states: np.ndarray, n_starts: int, rng: np.random.Generator) -> np.ndarray:
    """Draw starts around visited states.

    Half are mixtures of two states, which lie where saddles between memories do; a quarter are states; a
    quarter are Gaussian along the principal components that hold 95 % of the variance, 1.5 times as wide; all
    with a little noise, so that none begins exactly on an invariant set.

    Parameters
    ----------
    states : ndarray, shape (state, state_variable)
    n_starts : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_starts, state_variable)
    """
    if n_starts == 0 or len(states) == 0:
        return np.empty((0, states.shape[1]))
    quarter = n_starts // 4

    def pick(count: int) -> np.ndarray:
        return states[rng.integers(len(states), size=count)]

    share = rng.random((n_starts - 2 * quarter, 1))
    mixed = share * pick(len(share)) + (1 - share) * pick(len(share))
    sample = pick(min(len(states), 2000))
    mean = sample.mean(axis=0)
    _, singular, axes = np.linalg.svd(sample - mean, full_matrices=False)
    power = np.cumsum(singular**2)
    n_axes = int((power < 0.95 * power[-1]).sum()) + 1
    spread = 1.5 * singular[:n_axes] / math.sqrt(len(sample))
    gaussian = mean + (rng.standard_normal((quarter, n_axes)) * spread) @ axes[:n_axes]
    drawn = np.concatenate([mixed, pick(quarter), gaussian])
    # States that are all alike say nothing of the extent of the state space: 1 is that of tanh units.
    return drawn + 0.05 * (states.std() or 1.0) * rng.standard_normal(drawn.shape)


def mix_points(points: np.ndarray, n_starts: int, rng: np.random.Generator) -> np.ndarray:
    """Draw starts between known points: half midpoints of two, half random mixtures of four."""
    half = n_starts // 2
    pair = points[rng.integers(len(points), size=(half, 2))].mean(axis=1)
    share = rng.random((n_starts - half, 4, 1))
    four = points[rng.integers(len(points), size=(n_starts - half, 4))]
    mixed = np.concatenate([pair, (share * four).sum(axis=1) / share.sum(axis=1)])
    return mixed + 0.02 * points.std() * rng.standard_normal(mixed.shape)


class _Search:
    """The points and starts of one condition."""

    def __init__(self, system: StateMap, n_variables: int, tolerance: float, deadline: float) -> None:
        self.system, self.tolerance, self.deadline = system, tolerance, deadline
        self.points = torch.empty((0, n_variables), dtype=torch.float64)
        self.is_zero = torch.empty(0, dtype=torch.bool)
        self.start_states: list[Tensor] = []
        self.start_labels: list[Tensor] = []
        self.start_residuals: list[Tensor] = []

    def add(self, starts: np.ndarray) -> int:
        """Follow more starts; return how many new zeros they led to."""
        states = torch.as_tensor(starts, dtype=torch.float64)
        ends = roots.find_roots(self.system, states, self.tolerance, self.deadline)
        known, known_zeros = self.points, self.is_zero
        zeros_before = int(known_zeros.sum())
        labels = torch.full((len(states),), -1)
        for wanted, code in ((True, roots.ZERO), (False, roots.MINIMUM)):
            member = (ends.label == code).nonzero()[:, 0]
            old = (known_zeros == wanted).nonzero()[:, 0]
            together = torch.cat([known[old], ends.states[member]])
            # A known point stands for its group, so that the numbers of points never change.
            rank = torch.cat([torch.full((len(old),), -1.0, dtype=states.dtype), ends.residual[member]])
            extent = 1 + float(together.abs().max()) if together.numel() else 1.0
            # Minima of speed are reached only linearly, so that copies of one lie further apart.
            radius = _MERGE_RADIUS * extent * (1 if wanted else 1e2)
            representative, group = roots.merge(together, rank, radius)
            number = torch.full((len(representative),), -1)
            fresh = representative >= len(old)
            if not wanted:
                minimal = [roots.is_minimum(self.system, together[k]) for k in representative[fresh]]
                fresh[fresh.clone()] = torch.tensor(minimal, dtype=torch.bool)
            is_old = representative < len(old)
            number[is_old] = old[representative[is_old]]
            count = len(known)
            number[fresh] = count + torch.arange(int(fresh.sum()))
            known = torch.cat([known, together[representative[fresh]]])
            known_zeros = torch.cat([known_zeros, torch.full((int(fresh.sum()),), wanted)])
            labels[member] = number[group[len(old) :]]
        self.points, self.is_zero = known, known_zeros
        self.start_states.append(states)
        self.start_labels.append(labels)
        self.start_residuals.append(ends.residual)
        return int(self.is_zero.sum()) - zeros_before

    def reseed(self, n_starts: int, rng: np.random.Generator) -> None:
        """Search between the points found until nothing new turns up and the index sum agrees."""
        for _ in range(_RESEEDING_ROUNDS):
            if int(self.is_zero.sum()) < 2 or time.monotonic() > self.deadline:
                return
            added = self.add(mix_points(self.points[self.is_zero].numpy(), n_starts, rng))
            if added == 0 and self._index_agrees():
                return

    def _index_agrees(self) -> bool:
        if self.system.bounds() is None:
            return True
        slope = self.system.jacobian(self.points[self.is_zero])
        sign = torch.linalg.slogdet(torch.eye(slope.shape[-1], dtype=slope.dtype) - slope)[0]
        return int(sign.sum()) == 1

    @torch.no_grad()
    def result(self, name: str, dt: float | None) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
        """Return what is known per point, per start and of this condition, labelled."""
        described = describe_points(self.system, self.points, self.is_zero)
        # Zeros before slow points, then by unstable modes, then by position.
        order = np.lexsort((*described["state"].T[::-1], described["n_unstable"], ~self.is_zero.numpy()))
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(len(order))
        labels = torch.cat(self.start_labels).numpy()
        labels = np.where(labels >= 0, place[labels], -1) if len(order) else labels
        described = {name: values[order] for name, values in described.items()}
        zeros = described["kind"] != "slow"
        marginal = bool((described["kind"] == "marginal").any())
        index_sum = math.nan if marginal else float(described["index"][zeros].sum())
        starts = xr.Dataset(
            {
                "start_state": ((START, STATE_VARIABLE), torch.cat(self.start_states).numpy()),
                "start_label": (START, labels),
                "start_residual": (START, torch.cat(self.start_residuals).numpy()),
                "start_condition": (START, np.full(len(labels), name)),
            }
        )
        completeness = xr.Dataset(
            {
                "index_sum": (CONDITION, [index_sum]),
                "index_sum_expected": (CONDITION, [1.0 if self.system.bounds() is not None else math.nan]),
                "condition_name": (CONDITION, [name]),
            }
        )
        points = _dataset(described, dt, self.system)
        points["point_condition"] = (FIXED_POINT, np.full(len(order), name))
        return points, starts, completeness


@torch.no_grad()
def describe_points(system: StateMap, points: Tensor, is_zero: Tensor) -> dict[str, np.ndarray]:
    """Measure everything about points at the points themselves.

    Parameters
    ----------
    system : StateMap
    points : Tensor, shape (fixed_point, state_variable)
    is_zero : Tensor of bool, shape (fixed_point,)

    Returns
    -------
    dict of str to ndarray
        The variables of `find_fixed_points` on ``fixed_point``, and ``index``, the sign of det(I - J).
    """
    n_points, n = points.shape
    residual = system.residual(points)
    slope = system.jacobian(points)
    residual_slope = (slope - torch.eye(n, dtype=slope.dtype)) / system.alpha[..., None]
    jacobian = slope.numpy()
    speed = residual.norm(dim=1).numpy()
    smallest = np.linalg.svd(residual_slope.numpy(), compute_uv=False)[:, -1] if n_points else speed
    rounding = np.sqrt(n) * np.finfo(float).eps * (1 + points.abs().amax(1).numpy())
    with np.errstate(divide="ignore"):
        position_error = (speed + rounding) / smallest
    eigenvalues, vectors = eigensystem(jacobian)
    newton_step = -roots.solve(residual_slope, residual)
    error = _eigenvalue_error(system, points, newton_step, slope, vectors)
    modulus = np.abs(eigenvalues)
    n_unstable = (modulus > 1).sum(axis=1)
    marginal = (np.abs(modulus - 1) < 10 * error).any(axis=1)
    kind = np.select(
        [~is_zero.numpy(), marginal, n_unstable == 0, n_unstable == n],
        ["slow", "marginal", "stable", "unstable"],
        "saddle",
    )
    return {
        "state": points.numpy(),
        "rate": system.rates(points).numpy(),
        "residual": residual.abs().amax(1).numpy(),
        "speed": speed,
        "position_error": position_error,
        "eigenvalue": eigenvalues,
        "rate_direction": _rate_directions(system, points, vectors),
        "kind": kind,
        "n_unstable": n_unstable,
        "index": np.sign(np.linalg.slogdet(np.eye(n) - jacobian)[0]),
    }


def _eigenvalue_error(
    system: StateMap, points: Tensor, newton_step: Tensor, slope: Tensor, vectors: np.ndarray
) -> np.ndarray:
    """Bound each eigenvalue's error, shape (fixed_point, mode).

    By Bauer and Fike it is at most the eigenvalue's condition number times the error of the Jacobian:
    rounding, and what the Jacobian changes over the Newton step that is still left to the true zero.
    """
    n = points.shape[1]
    moved = system.jacobian(torch.where(torch.isfinite(newton_step), points + newton_step, points))
    norm = slope.flatten(1).norm(dim=1)
    wrong = ((moved - slope).flatten(1).norm(dim=1) + n * torch.finfo(slope.dtype).eps * norm).numpy()
    condition = np.full(vectors.shape[:2], np.inf)
    for k, own in enumerate(vectors):
        if np.linalg.cond(own) < 1 / np.finfo(float).eps:
            condition[k] = np.linalg.norm(np.linalg.inv(own), axis=1)
    return condition * wrong[:, None]


def _rate_directions(system: StateMap, points: Tensor, vectors: np.ndarray) -> np.ndarray:
    """Return the leading modes' real directions in rate space, length 1, shape (fixed_point, mode, unit)."""
    count = min(N_DIRECTIONS, points.shape[1])
    # A difference, not a derivative: it is exact where rates are states, and else good to 1e-10.
    nudge = 1e-5 * torch.as_tensor(np.ascontiguousarray(vectors.real[:, :, :count].transpose(0, 2, 1)))
    moved = system.rates(points[:, None] + nudge) - system.rates(points[:, None] - nudge)
    return (moved / moved.norm(dim=2, keepdim=True).clamp_min(1e-300)).numpy()


def _dataset(described: dict[str, np.ndarray], dt: float | None, system: StateMap) -> xr.Dataset:
    eigenvalue = described["eigenvalue"]
    unit, step = ("steps", 1.0) if dt is None else ("ms", float(dt))
    with np.errstate(divide="ignore"):
        time_constant = -step / np.log(np.abs(eigenvalue))
    per = "1/step" if dt is None else "Hz"
    frequency = np.abs(np.angle(eigenvalue)) / (2 * np.pi * step) * (1.0 if dt is None else 1000.0)
    constant_input = system.input.numpy() if system.network is not None else np.empty(0)
    n_points = len(eigenvalue)
    return xr.Dataset(
        {
            "state": ((FIXED_POINT, STATE_VARIABLE), described["state"]),
            "rate": ((FIXED_POINT, UNIT), described["rate"]),
            "input": ((FIXED_POINT, INPUT_CHANNEL), np.tile(constant_input, (n_points, 1))),
            "residual": (FIXED_POINT, described["residual"]),
            "speed": (FIXED_POINT, described["speed"], {"units": "1/tau" if system.has_leak else "1/step"}),
            "position_error": (FIXED_POINT, described["position_error"]),
            "eigenvalue_real": ((FIXED_POINT, MODE), eigenvalue.real),
            "eigenvalue_imag": ((FIXED_POINT, MODE), eigenvalue.imag),
            "time_constant": ((FIXED_POINT, MODE), time_constant, {"units": unit}),
            "frequency": ((FIXED_POINT, MODE), frequency, {"units": per}),
            "rate_direction": ((FIXED_POINT, LEADING_MODE, UNIT), described["rate_direction"]),
        },
        coords={
            "kind": (FIXED_POINT, described["kind"].astype(str)),
            "n_unstable": (FIXED_POINT, described["n_unstable"]),
        },
    )


def _combine(results: list[tuple[xr.Dataset, xr.Dataset, xr.Dataset]]) -> xr.Dataset:
    """Put the conditions' points in a row; a start's label then counts through all of them."""
    offset = 0
    for points, starts, _ in results:
        starts["start_label"] = starts["start_label"].where(
            starts["start_label"] < 0, starts["start_label"] + offset
        )
        offset += points.sizes[FIXED_POINT]
    rows = zip(*results, strict=True)
    combined = xr.merge(
        [xr.concat(parts, dim=dim) for parts, dim in zip(rows, (FIXED_POINT, START, CONDITION), strict=True)]
    )
    # Named last: from here on `condition` is both a dimension and what each point belongs to.
    label = combined["point_condition"].to_numpy()
    return combined.drop_vars("point_condition").assign_coords({CONDITION: (FIXED_POINT, label)})


def _conditions(source: Any, inputs: Any, starts: Any) -> dict[str, np.ndarray | None]:
    """Return the constant inputs by label."""
    if inputs is None:
        if isinstance(starts, xr.Dataset) and "input" in starts and starts["input"].size:
            quiet = (starts["input"] == 0).all(INPUT_CHANNEL)
            if "valid" in starts:
                quiet = quiet & starts["valid"]
            if not bool(quiet.any()):
                raise InputError(
                    "`inputs` was left out, which means zero, but the recording's inputs never vanish: pass "
                    "the constant inputs that matter, for example inputs=task.constant_inputs()"
                )
        return {"zero input" if hasattr(source, "step") else "map": None}
    if isinstance(inputs, Mapping):
        if not inputs:
            raise InputError(
                "`inputs` is an empty dictionary: give at least one constant input, or None for zero"
            )
        return {str(label): _input(value, str(label)) for label, value in inputs.items()}
    if isinstance(inputs, xr.DataArray) and inputs.ndim == 2:
        need_dims(inputs, (INPUT_CHANNEL,), "inputs")
        inputs = inputs.transpose(..., INPUT_CHANNEL)
    values = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs, float)
    if values.ndim == 1:
        return {"constant input": _input(values, "inputs")}
    if values.ndim != 2 or not len(values):
        raise InputError(
            f"`inputs` must have shape (input_channel,) or (condition, input_channel), got {values.shape}"
        )
    return {f"input {k}": _input(value, "inputs") for k, value in enumerate(values)}


def _input(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, float)
    need_finite(array, name)
    return array


def _states(starts: Any, system: StateMap, evenly: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return states to draw from, and the starts that are used as they are."""
    recording = isinstance(starts, xr.Dataset)
    if recording:
        name = "state" if "state" in starts else "rate"
        dim = STATE_VARIABLE if name == "state" else UNIT
        need_dims(starts, (dim,))
        values = starts[name].transpose(..., dim)
        states = values.to_numpy().reshape(-1, values.sizes[dim])
        if "valid" in starts and {TRIAL, TIME} <= set(values.dims):
            states = states[starts["valid"].transpose(*values.dims[:-1]).to_numpy().ravel()]
    elif isinstance(starts, xr.DataArray):
        dim = STATE_VARIABLE if STATE_VARIABLE in starts.dims else UNIT
        need_dims(starts, (dim,), "starts")
        states = starts.transpose(..., dim).to_numpy().reshape(-1, starts.sizes[dim])
    else:
        states = np.asarray(starts.detach().cpu() if isinstance(starts, Tensor) else starts)
        if states.ndim != 2:
            raise InputError(f"`starts` must have shape (start, state_variable), got {states.shape}")
    states = states.astype(np.float64)
    need_finite(states, "starts")
    size = getattr(system.network, "state_size", None)
    if not len(states) or states.shape[1] == 0:
        raise InputError(f"`starts` must hold at least one state, got shape {states.shape}")
    if size is not None and states.shape[1] != size:
        raise InputError(f"`starts` must have {size} state variables like the network, got {states.shape[1]}")
    if not recording:
        return states, states
    if evenly is None:
        return states, states[:0]
    return states, states[np.linspace(0, len(states) - 1, min(evenly, len(states))).astype(int)]


def _dt(system: StateMap, starts: Any) -> float | None:
    """Return the length of a step: the network's own, or else that of the recording."""
    if system.dt is not None:
        return float(system.dt)
    if isinstance(starts, xr.Dataset) and TIME in starts.coords and starts.sizes[TIME] > 1:
        return float(starts[TIME][1] - starts[TIME][0])
    return None


def _rng(seed: int, condition: int) -> np.random.Generator:
    return seeding.numpy_stream(seed, seeding.FIXED_POINT_STARTS, condition)
