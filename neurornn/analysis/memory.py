"""How much of their past input networks hold: Fisher memory of linear ones, memory capacity of any.

Reads weights, or a network that steps. Gives memory by delay and in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.analysis.gain_functions import GainFunction
from neurornn.analysis.maps import StateMap
from neurornn.analysis.matrices import Matrix, real_array, square_matrix
from neurornn.vocabulary import UNIT, InputError, need_at_least_zero, need_choice, need_count, need_positive

DELAY = "delay"
_CUT = 1e-14
"""Singular values of the states, by the largest, that rounding leaves nothing of."""
_DELAYS_AT_ONCE = 128


def fisher_memory(
    matrix: Matrix | Any, input_weight: Matrix, *, noise_std: float = 1.0, n_delays: int | None = None
) -> xr.Dataset:
    """Measure how well a noisy linear network's state tells a signal that came some steps ago.

    The network is x(t) = W x(t-1) + v s(t) + noise, the noise independent in every unit and step.

    Parameters
    ----------
    matrix : array or network, shape (unit, unit)
        W, with all eigenvalues within the unit circle; of a network its recurrent weights. For a nonlinear
        one pass its Jacobian at a fixed point.
    input_weight : array, shape (unit,) or (unit, 1)
        v.
    noise_std : float
        Standard deviation of the noise. Memory goes with |v|^2 / noise_std^2, the signal-to-noise ratio.
    n_delays : int, optional
        Delays to tell, from 0; by default five times the number of units.

    Returns
    -------
    xarray.Dataset
        ``fisher_memory (delay,)``: J(k) = v^T W^k^T C^-1 W^k v, C the covariance of the noise that has piled
        up; ``total_memory``, the sum over all delays (of endless ones, not of those told alone), 1 for normal
        W, |v| = 1 and unit noise, and at most the number of units for any; ``best_input (unit,)``, the v of
        length 1 of most memory, and ``best_total_memory``.

    Raises
    ------
    InputError
        Where shapes do not agree, an entry is not finite, or W has an eigenvalue on or beyond the unit
        circle.

    Notes
    -----
    In Methods: "Memory was measured by the Fisher information that the state at time t holds of the signal k
    steps before, J(k), and its sum over delays, J_tot (Ganguli et al., 2008)."

    References
    ----------
    Ganguli, S., Huh, D. & Sompolinsky, H. (2008). Memory traces in dynamical systems. Proceedings of the
    National Academy of Sciences 105, 18970-18975. doi:10.1073/pnas.0804451105

    Examples
    --------
    A delay line passes the signal on from unit to unit, and its noise too: J(k) = 1 / (k + 1).

    >>> found = fisher_memory(np.diag([1.0, 1.0], -1), [1.0, 0.0, 0.0], n_delays=4)
    >>> found.fisher_memory.values.round(4), round(float(found.total_memory), 4)
    (array([1.    , 0.5   , 0.3333, 0.    ]), 1.8333)
    """
    from scipy.linalg import cho_factor, cho_solve

    weights = square_matrix(matrix)
    n = len(weights)
    vector = real_array(input_weight, "input_weight")
    vector = vector[:, 0] if vector.ndim == 2 and vector.shape[1] == 1 else vector
    if vector.shape != (n,):
        raise InputError(f"`input_weight` must have shape (unit={n},), got {vector.shape}")
    noise = need_positive(noise_std, "noise_std")
    count = need_count(5 * n if n_delays is None else n_delays, "n_delays")
    radius = float(np.abs(np.linalg.eigvals(weights)).max())
    # A defective zero, as of a delay line, comes out some way off; but nothing near 1.
    if radius >= 1:
        raise InputError(
            f"the noise of a network piles up without end where an eigenvalue has modulus 1 or more, got "
            f"{radius:.6g}: scale the matrix down, or pass the Jacobian at a stable fixed point"
        )
    covariance = _piled_up(weights, np.eye(n))
    factor = cho_factor(covariance)
    precision = cho_solve(factor, np.eye(n))
    total = _piled_up(weights.T, (precision + precision.T) / 2)
    memory, signal = np.empty(count), vector
    for k in range(count):
        memory[k] = signal @ cho_solve(factor, signal)
        signal = weights @ signal
    best, inputs = np.linalg.eigh(total)
    sign = np.sign(inputs[np.abs(inputs[:, -1]).argmax(), -1])
    return xr.Dataset(
        {
            "fisher_memory": (DELAY, memory / noise**2),
            "total_memory": float(vector @ total @ vector) / noise**2,
            "best_input": (UNIT, inputs[:, -1] * sign),
            "best_total_memory": float(best[-1]) / noise**2,
        },
        coords={DELAY: (DELAY, np.arange(count), {"units": "steps"})},
    )


def _piled_up(weights: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return the sum over k of W^k S W^k^T by doubling: of what is positive nothing cancels."""
    total, power = source, weights
    for _ in range(64):
        more = power @ total @ power.T
        total = total + (more + more.T) / 2
        power = power @ power
        if np.abs(power).max() == 0 or np.linalg.norm(more) <= 1e-17 * np.linalg.norm(total):
            break
    return total


def memory_capacity(
    network_or_matrix: Any,
    input_weight: Matrix | None = None,
    *,
    activation: str | Callable[..., Any] = "identity",
    input_gain: float = 1.0,
    distribution: str = "uniform",
    channel: int = 0,
    n_delays: int | None = None,
    n_steps: int = 20_000,
    n_warmup: int = 500,
    noise_std: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Measure how much of its past input can be read out of a network's state by linear readouts.

    The network is driven by one independent random number per step, s(t); for every delay k a readout is
    fitted to s(t - k) on the first half of the steps and scored on the other.

    Parameters
    ----------
    network_or_matrix : network or array, shape (unit, unit)
        Anything with ``step(state, input)``; or weights, for x <- f(W x + v s).
    input_weight : array, shape (unit,), optional
        v, with weights only.
    activation : str or callable
        f, with weights only.
    input_gain : float
        What the input is multiplied with: small, units with a smooth f are nearly linear.
    distribution : {"uniform", "normal"}
        Of the input: between -1 and 1, or of variance 1.
    channel : int
        Which input channel of a network is driven; the others are zero.
    n_delays : int, optional
        Delays 0, 1, ... that are read out, 0 being the input that the state has just seen; by default five
        times the number of state variables (too few miss part of the capacity).
    n_steps, n_warmup : int
        Steps that are used, and steps before them.
    noise_std : float
        Of independent noise that is added to what is read out. Without any, a linear network holds what it
        holds down to the last digit.
    seed : int
        Of inputs and noise.

    Returns
    -------
    xarray.Dataset
        ``capacity (delay,)``, the squared correlation between readout and past input on held-out steps;
        ``memory_capacity``, the sum over delays: at most the number of state variables, which linear networks
        in general position have (sums that leave delay 0 out have up to one less).

    Raises
    ------
    InputError
        Where shapes do not agree, there are too few steps, or the state does not stay finite.

    Notes
    -----
    Of short recordings each delay without memory still has 2 / n_steps by chance.

    In Methods: "Memory capacity was the sum, over delays k up to 5 N, of the squared correlation between the
    input k steps before and its least-squares readout from the state, on held-out steps (Jaeger, 2001)."

    References
    ----------
    Jaeger, H. (2001). Short term memory in echo state networks. GMD Report 152.

    Ballarin, G., Grigoryeva, L. & Ortega, J.-P. (2023). Memory of recurrent networks: do we compute it right?
    arXiv:2305.01457

    Examples
    --------
    A line of four units that pass on what they get holds what came now and up to three steps ago:

    >>> line = memory_capacity(np.diag(np.ones(3), -1), [1, 0, 0, 0], n_steps=2000, n_delays=6)
    >>> line.capacity.values.round(1)
    array([1., 1., 1., 1., 0., 0.])
    """
    need_choice(distribution, "distribution", ("uniform", "normal"))
    count, warmup = need_count(n_steps, "n_steps"), need_count(n_warmup, "n_warmup", least=0)
    gain, noise = need_at_least_zero(input_gain, "input_gain"), need_at_least_zero(noise_std, "noise_std")
    rng = np.random.default_rng(seed)
    is_network = hasattr(network_or_matrix, "step")
    if is_network:
        size = int(network_or_matrix.state_size)
    else:
        weights = square_matrix(network_or_matrix)
        size = len(weights)
        if input_weight is None:
            raise InputError("`input_weight` is needed with a matrix: pass v, shape (unit,)")
        vector = real_array(input_weight, "input_weight").ravel()
        if vector.shape != (size,):
            raise InputError(f"`input_weight` must have shape (unit={size},), got {vector.shape}")
    n_back = need_count(5 * size if n_delays is None else n_delays, "n_delays")
    if count < 4 * size:
        raise InputError(
            f"`n_steps` must be at least 4 times the {size} state variables, {4 * size}, got {count}: "
            "readouts would fit chance"
        )
    n_all = warmup + n_back + count
    signal = rng.uniform(-1, 1, n_all) if distribution == "uniform" else rng.standard_normal(n_all)
    if is_network:
        states = _network_states(network_or_matrix, gain * signal, channel)
    else:
        states = _matrix_states(weights, vector, GainFunction(activation), gain * signal)
    if not np.isfinite(states).all():
        raise InputError(
            "the network's state must stay finite under random input, but it ran away: scale its weights down"
        )
    states = states[warmup + n_back :] + noise * rng.standard_normal((count, size))
    capacity = _held_out(states, signal, n_back)
    return xr.Dataset(
        {"capacity": (DELAY, capacity), "memory_capacity": capacity.sum()},
        coords={DELAY: (DELAY, np.arange(n_back), {"units": "steps"})},
        attrs={"n_steps": count, "input_gain": gain},
    )


def _held_out(states: np.ndarray, signal: np.ndarray, n_back: int) -> np.ndarray:
    """Return the squared correlation of each past input with its readout, fitted to the first half."""
    count, n_all = len(states), len(signal)
    half = count // 2
    # Scaled alike, so that what is small beside rounding in one direction is cut, not what is small by its
    # units.
    centre, spread = states[:half].mean(axis=0), states[:half].std(axis=0)
    scaled = (states - centre) / np.where(spread > 0, spread, 1)
    left, singular, right = np.linalg.svd(scaled[:half], full_matrices=False)
    kept = singular > _CUT * max(singular[0], np.finfo(float).tiny)
    to_readout = right[kept].T / singular[kept]
    capacity = np.empty(n_back)
    # So many delays at once that their past inputs take little memory beside the states.
    for first in range(0, n_back, _DELAYS_AT_ONCE):
        delays = range(first, min(first + _DELAYS_AT_ONCE, n_back))
        past = np.stack([signal[n_all - count - k : n_all - k] for k in delays], axis=1)
        readout = to_readout @ (left[:, kept].T @ (past[:half] - past[:half].mean(axis=0)))
        told = scaled[half:] @ readout
        told, true = told - told.mean(axis=0), past[half:] - past[half:].mean(axis=0)
        lengths = (told**2).sum(axis=0) * (true**2).sum(axis=0)
        shared = (told * true).sum(axis=0) ** 2
        capacity[delays.start : delays.stop] = shared / np.where(lengths > 0, lengths, 1)
    return capacity


def _matrix_states(
    weights: np.ndarray, vector: np.ndarray, function: GainFunction, signal: np.ndarray
) -> np.ndarray:
    states, state = np.empty((len(signal), len(weights))), np.zeros(len(weights))
    is_linear = function.name == "identity"
    drive = signal[:, None] * vector
    with np.errstate(over="ignore", invalid="ignore"):
        for k, own in enumerate(drive):
            state = weights @ state + own
            state = state if is_linear else function(state)
            states[k] = state
    return states


@torch.no_grad()
def _network_states(network: Any, signal: np.ndarray, channel: int) -> np.ndarray:
    # A copy in float64: the caller's network keeps its precision and its mode.
    own: Any = StateMap(network).network
    n_channels = int(own.input_size)
    if need_count(channel, "channel", least=0) >= n_channels:
        raise InputError(f"`channel` must be below the number of input channels, {n_channels}, got {channel}")
    inputs = torch.zeros(len(signal), 1, n_channels, dtype=torch.float64)
    inputs[:, 0, channel] = torch.as_tensor(signal)
    state = own.initial_state(1) if hasattr(own, "initial_state") else torch.zeros(1, own.state_size)
    state = state.double()
    states = np.empty((len(signal), state.shape[-1]))
    for k in range(len(signal)):
        state = own.step(state, inputs[k])
        states[k] = state[0].numpy()
    return states
