"""Eigenvalues of the Jacobian along trajectories: how stability changes as the state moves.

Reads a network and a recording. Gives the spectrum of every step's derivative.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.numerics.arnoldi import SPARE, leading_modes
from neurornn.numerics.eigen import by_modulus
from neurornn.numerics.guarded import each_alone_on_failure
from neurornn.vocabulary import (
    INPUT_CHANNEL,
    MODE,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    InputError,
    need_count,
    need_dims,
    need_variable,
)

LARGE = 200
"""Variables from which on a few leading eigenvalues are found without all of them."""
_BATCH_BYTES = 2**26


@torch.no_grad()
def spectrum_along(
    network: Any, activity: xr.Dataset, *, n_eigenvalues: int | None = None, every: int = 1
) -> xr.Dataset:
    """Return the eigenvalues of the derivative of every step along recorded trajectories.

    At step t it is the derivative of the state after the step by the one before, under the input of step t,
    without noise.

    Parameters
    ----------
    network : network
        With ``step`` and ``jacobian``; looked at in float64, on a copy.
    activity : xarray.Dataset
        A recording of it, with ``input``, ``initial_state`` and the states: ``state``, or ``rate`` where that
        is all of the state.
    n_eigenvalues : int, optional
        Keep those of largest modulus only. Of 200 variables or more, up to a tenth of all are found by
        Arnoldi's method, which is then five to thirty times as fast as all of them.
    every : int
        Look at every so many steps.

    Returns
    -------
    xarray.Dataset
        ``eigenvalue_real``, ``eigenvalue_imag (trial, time, mode)``, the largest modulus first;
        ``spectral_radius (trial, time)``, the largest modulus, and ``n_unstable``, how many lie outside the
        unit circle (of those that are kept). NaN, and -1, at steps that are not valid and where LAPACK does
        not converge.

    Raises
    ------
    InputError
        Where the recording is not of such a network, or lacks its states.

    Notes
    -----
    In Methods: "The update was linearised at every step of the recorded trajectories, and the eigenvalues of
    its Jacobian were computed."

    Away from fixed points a modulus above 1 says that neighbours part for this one step; whether they do in
    the long run is told by `lyapunov`.

    Examples
    --------
    >>> import neurornn as nr
    >>> task, net = nr.tasks.FlipFlop(n_bits=1, duration=50), nr.RateRNN(1, 4, 1, activation="identity")
    >>> along = spectrum_along(net, nr.record(net, task, 2))
    >>> radius = np.abs(np.linalg.eigvals(net.recurrent_weight.detach().numpy())).max()
    >>> bool(np.allclose(along.spectral_radius, radius))
    True
    """
    need_dims(activity, (TRIAL, TIME))
    if not hasattr(network, "jacobian") or getattr(network, "is_bidirectional", False):
        raise InputError(
            "the spectrum is that of the derivative of a step, and this network has no step: pass one with "
            "step and jacobian that runs in one direction"
        )
    every = need_count(every, "every")
    network = copy.deepcopy(network).double().cpu().eval().requires_grad_(False)
    n = int(network.state_size)
    kept = n if n_eigenvalues is None else need_count(n_eigenvalues, "n_eigenvalues")
    if kept > n:
        raise InputError(f"`n_eigenvalues` must be at most the number of state variables {n}, got {kept}")
    before = _states_before(activity, n)
    inputs = need_variable(activity, "input").transpose(TRIAL, TIME, INPUT_CHANNEL).to_numpy()
    if inputs.shape[2] != network.input_size:
        raise InputError(
            f"the recording has {inputs.shape[2]} input channels and the network {network.input_size}: pass "
            "the network that was recorded"
        )
    valid = activity["valid"].transpose(TRIAL, TIME).to_numpy() if "valid" in activity else None
    before, inputs = before[:, ::every], inputs[:, ::every]
    shape = before.shape[:2]
    wanted = np.ones(shape, bool) if valid is None else valid[:, ::every]
    values = np.full((*shape, kept), np.nan, complex)
    states, seen = before[wanted].astype(float), inputs[wanted].astype(float)
    found = np.empty((len(states), kept), complex)
    rows = max(1, _BATCH_BYTES // (8 * n * n))
    for first in range(0, len(states), rows):
        part = slice(first, first + rows)
        jacobians = network.jacobian(torch.as_tensor(states[part]), torch.as_tensor(seen[part])).numpy()
        found[part] = _eigenvalues(jacobians, kept)
    values[wanted] = found
    modulus = np.abs(values)
    result = xr.Dataset(
        {
            "eigenvalue_real": ((TRIAL, TIME, MODE), values.real),
            "eigenvalue_imag": ((TRIAL, TIME, MODE), values.imag),
            "spectral_radius": ((TRIAL, TIME), modulus[..., 0]),
            "n_unstable": ((TRIAL, TIME), np.where(np.isnan(modulus[..., 0]), -1, (modulus > 1).sum(-1))),
        },
        coords={MODE: np.arange(kept)},
    )
    along = {name: own for name, own in activity.isel({TIME: slice(None, None, every)}).coords.items()}
    return result.assign_coords(
        {name: own.variable for name, own in along.items() if set(own.dims) <= {TRIAL, TIME}}
    )


def _states_before(activity: xr.Dataset, n: int) -> np.ndarray:
    """Return the state before every step, shape (trial, time, state_variable)."""
    name = "state" if "state" in activity else "rate"
    states = need_variable(activity, name)
    last = STATE_VARIABLE if STATE_VARIABLE in states.dims else states.dims[-1]
    values = states.transpose(TRIAL, TIME, last).to_numpy()
    if values.shape[2] != n:
        raise InputError(
            f"the recording has {values.shape[2]} values of {name!r} for each step and the network "
            f"{n} state variables: pass the network that was recorded, and record its 'state'"
        )
    first = need_variable(activity, "initial_state").transpose(TRIAL, STATE_VARIABLE).to_numpy()
    return np.concatenate([first[:, None], values[:, :-1]], axis=1)


def _eigenvalues(jacobians: np.ndarray, kept: int) -> np.ndarray:
    """Return the eigenvalues of largest modulus of each matrix, NaN where none are found."""
    n = jacobians.shape[-1]
    if n >= LARGE and kept <= n // 10:
        leading = [_leading(matrix, kept) for matrix in jacobians]
        return np.stack(leading)
    (values,) = each_alone_on_failure(np.linalg.eigvals, jacobians)
    return _sorted(values.astype(complex))[:, :kept]


def _leading(matrix: np.ndarray, kept: int) -> np.ndarray:
    """Return the leading eigenvalues by Arnoldi's method, or by all of them where that does not converge."""
    found = leading_modes(matrix, kept + SPARE)
    if found is not None and len(found[0]) >= kept:
        return found[0][:kept]
    (values,) = each_alone_on_failure(np.linalg.eigvals, matrix[None])
    return _sorted(values.astype(complex))[0, :kept]


def _sorted(values: np.ndarray) -> np.ndarray:
    """Return eigenvalues by modulus, of a conjugate pair the one above the axis first."""
    return np.take_along_axis(values, by_modulus(values), axis=-1)
