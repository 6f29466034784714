"""Where searches begin: states around those that a network visits, and mixtures of the points it rests at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import STATE_VARIABLE, TIME, TRIAL, UNIT, InputError, need_dims, need_finite

_MOST_VALUES = 32
_PCA_STATES = 2000
_TIME_CONSTANTS = 30
_MOST_STEPS = 500
_FAR = 1e6


class Visited:
    """States that a network visited, by the condition of their trial.

    Parameters
    ----------
    states : ndarray, shape (state, state_variable)
    group : ndarray of int, shape (state,), optional
        Condition of each; all one where it is left out.
    settling : ndarray, shape (other state, state_variable), optional
        States on the way to rest under the constant input, of which half of all draws are made.
    """

    def __init__(
        self, states: np.ndarray, group: np.ndarray | None = None, settling: np.ndarray | None = None
    ) -> None:
        self.states = states
        self.group = group
        self.settling = settling if settling is not None and len(settling) else None
        group = np.zeros(len(states), int) if group is None else np.unique(group, return_inverse=True)[1]
        self._order = np.argsort(group, kind="stable")
        self._count = np.bincount(group)
        self._first = np.cumsum(self._count) - self._count

    def pick(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw states, every condition equally often: a rare one has points of its own."""
        group = rng.integers(len(self._count), size=count)
        states = self.states[self._order[self._first[group] + rng.integers(self._count[group])]]
        if self.settling is not None:
            settling = self.settling[rng.integers(len(self.settling), size=count)]
            states = np.where(rng.random((count, 1)) < 0.5, settling, states)
        return states

    def beside(self, settling: np.ndarray) -> Visited:
        """Return the same states with others on the way to rest."""
        return Visited(self.states, self.group, settling)


def draw_starts(
    visited: Visited | np.ndarray,
    n_starts: int,
    rng: np.random.Generator,
    box: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Draw starts around visited states.

    Half are mixtures of two states, which lie where saddles between memories do; a quarter are states, half
    of these under strong noise; three sixteenths are Gaussian along the principal components that hold 95 %
    of the variance, 1.5 times as wide; the rest fill the box. All have a little noise, so that none begins
    exactly on an invariant set.

    Parameters
    ----------
    visited : Visited or ndarray, shape (state, state_variable)
    n_starts : int
    rng : numpy.random.Generator
    box : (ndarray, ndarray), optional
        What the state cannot leave; that of the states, half as wide again, where none is known.

    Returns
    -------
    ndarray, shape (n_starts, state_variable)

    Examples
    --------
    >>> draw_starts(np.eye(3), 8, np.random.default_rng(0)).shape
    (8, 3)
    """
    visited = Visited(visited) if isinstance(visited, np.ndarray) else visited
    states = visited.states
    if n_starts == 0 or len(states) == 0:
        return np.empty((0, states.shape[1]))
    n_states, n_gaussian, n_box = n_starts // 4, 3 * n_starts // 16, n_starts // 16
    n_mixed = n_starts - n_states - n_gaussian - n_box
    # States that are all alike say nothing of the extent of the state space: 1 is that of tanh units.
    spread = float(states.std()) or 1.0

    share = rng.random((n_mixed, 1))
    mixed = share * visited.pick(n_mixed, rng) + (1 - share) * visited.pick(n_mixed, rng)
    alone = visited.pick(n_states, rng)
    noisy = alone[n_states // 2 :]
    noisy += 0.5 * spread * rng.standard_normal(noisy.shape)
    sample = visited.pick(min(len(states), _PCA_STATES), rng)
    mean = sample.mean(axis=0)
    # Variances ascend; rounding leaves some a little below zero.
    variance, axes = np.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    variance = variance.clip(min=0)[::-1]
    power = np.cumsum(variance)
    n_axes = int((power < 0.95 * power[-1]).sum()) + 1
    width = 1.5 * np.sqrt(variance[:n_axes])
    gaussian = mean + (rng.standard_normal((n_gaussian, n_axes)) * width) @ axes.T[::-1][:n_axes]
    low, high = _box(states, box)
    filled = low + (high - low) * rng.random((n_box, states.shape[1]))
    drawn = np.concatenate([mixed, alone, gaussian, filled])
    return drawn + 0.05 * spread * rng.standard_normal(drawn.shape)


def mix_points(points: np.ndarray, n_starts: int, rng: np.random.Generator) -> np.ndarray:
    """Draw starts between and beside known points.

    A third are midpoints of two, where saddles between memories lie; a third complete a parallelogram of
    three, which leads to memories outside of those known; the rest are random mixtures of four.

    Parameters
    ----------
    points : ndarray, shape (fixed_point, state_variable)
        At least one.
    n_starts : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_starts, state_variable)

    Examples
    --------
    >>> mix_points(np.array([[0.0], [1.0]]), 6, np.random.default_rng(0)).shape
    (6, 1)
    """
    third = n_starts // 3
    middle = points[rng.integers(len(points), size=(third, 2))].mean(axis=1)
    one, two, three = (points[rng.integers(len(points), size=third)] for _ in range(3))
    share = rng.random((n_starts - 2 * third, 4, 1))
    four = points[rng.integers(len(points), size=(n_starts - 2 * third, 4))]
    mixed = (share * four).sum(axis=1) / share.sum(axis=1)
    drawn = np.concatenate([middle, one + two - three, mixed])
    return drawn + 0.02 * points.std() * rng.standard_normal(drawn.shape)


@torch.no_grad()
def settle(system: StateMap, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return states along the orbits of some: whatever attracts is approached so.

    Parameters
    ----------
    system : StateMap
    states : ndarray, shape (state, state_variable)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (other state, state_variable)
        Eight for each at most, at times that double up to 30 of the network's time constants. What leaves
        every bound is left out.
    """
    slowest = float(system.alpha.min())
    n_steps = min(_MOST_STEPS, math.ceil(_TIME_CONSTANTS / max(slowest, 1e-6)))
    times = {round(n_steps / 2**k) for k in range(8)}
    current = torch.as_tensor(states, dtype=torch.float64)
    # A little apart from each other and from whatever invariant set they lie on.
    current = current + 1e-2 * (float(current.std()) or 1.0) * torch.as_tensor(
        rng.standard_normal(states.shape)
    )
    along = []
    for step in range(1, n_steps + 1):
        current = system.step(current)
        if step in times:
            current = current[torch.isfinite(current).all(1) & (current.abs().amax(1) < _FAR)]
            along.append(current)
            if not len(current):
                break
    return torch.cat(along).numpy()


def _box(states: np.ndarray, box: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    if box is not None and np.isfinite(box).all():
        return box
    low, high = states.min(axis=0), states.max(axis=0)
    return low - (high - low) / 4, high + (high - low) / 4


def read_starts(starts: Any, state_size: int | None, evenly: int | None) -> tuple[Visited, np.ndarray]:
    """Return states to draw from, and the starts that are used as they are.

    Parameters
    ----------
    starts : Dataset, DataArray or array
        A recording, of which all valid states are visited ones, or states.
    state_size : int or None
        The network's, where it tells it.
    evenly : int or None
        Of a recording, how many of its states are used as they are, evenly spread.

    Raises
    ------
    InputError
        Where there is no state, one is not finite, or a size does not fit.
    """
    recording = isinstance(starts, xr.Dataset)
    group = None
    if recording:
        name = "state" if "state" in starts else "rate"
        dim = STATE_VARIABLE if name == "state" else UNIT
        need_dims(starts, (dim,))
        values = starts[name].transpose(..., dim)
        states = values.to_numpy().reshape(-1, values.sizes[dim])
        group = _groups(starts, values.dims[:-1])
        if "valid" in starts and {TRIAL, TIME} <= set(values.dims):
            valid = starts["valid"].transpose(*values.dims[:-1]).to_numpy().ravel()
            states, group = states[valid], None if group is None else group[valid]
    elif isinstance(starts, xr.DataArray):
        dim = STATE_VARIABLE if STATE_VARIABLE in starts.dims else UNIT
        need_dims(starts, (dim,), "starts")
        states = starts.transpose(..., dim).to_numpy().reshape(-1, starts.sizes[dim])
    else:
        states = np.asarray(starts.detach().cpu() if isinstance(starts, Tensor) else starts)
        if states.ndim != 2:
            raise InputError(f"`starts` must have shape (start, state_variable), got {states.shape}")
    if states.dtype.kind not in "biuf":
        raise InputError(f"`starts` must hold real numbers, got dtype {states.dtype}: convert it to float")
    states = states.astype(np.float64)
    need_finite(states, "starts")
    if not len(states) or states.shape[1] == 0:
        raise InputError(f"`starts` must hold at least one state, got shape {states.shape}")
    if state_size is not None and states.shape[1] != state_size:
        raise InputError(
            f"`starts` must have {state_size} state variables like the network, got {states.shape[1]}"
        )
    visited = Visited(states, group)
    if not recording:
        return visited, states
    if evenly is None:
        return visited, states[:0]
    return visited, states[np.linspace(0, len(states) - 1, min(evenly, len(states))).astype(int)]


def _groups(recording: xr.Dataset, dims: tuple[Any, ...]) -> np.ndarray | None:
    """Return the number of the condition of each state of a recording, None where it tells of none.

    A condition is what a trial's labels say together, of those with few values.
    """
    if TRIAL not in dims:
        return None
    columns = [
        np.unique(own.to_numpy(), return_inverse=True)[1]
        for name, own in recording.coords.items()
        if own.dims == (TRIAL,) and "score" not in str(name) and name != TRIAL
    ]
    columns = [own for own in columns if 1 < own.max() + 1 <= _MOST_VALUES]
    if not columns:
        return None
    group = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()
    shape = [1] * len(dims)
    shape[dims.index(TRIAL)] = len(group)
    sizes = [recording.sizes[dim] for dim in dims]
    return np.broadcast_to(group.reshape(shape), sizes).ravel()
