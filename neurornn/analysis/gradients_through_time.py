"""Gradients through time: what arrives of a loss at earlier steps, and what the steps between do to it.

Reads a network and trials. Gives dL/dstate and products of Jacobians, trial by trial.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from neurornn.vocabulary import (
    INPUT_CHANNEL,
    MILLISECONDS,
    OUTPUT_CHANNEL,
    TIME,
    TRIAL,
    InputError,
    need_count,
    need_dims,
    need_variable,
)

N_TRIALS = 16
"""Trials that are looked at where nothing else is said."""


@torch.no_grad()
def gradient_flow(
    network: Any,
    activity: xr.Dataset,
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
    n_trials: int | None = None,
) -> xr.Dataset:
    """Return how long gradients are on their way back through time: vanishing, exploding, or neither.

    With J_t the derivative of the state after step t by the one before, and T a trial's last valid step::

        dL/dstate_t = D_t + J_{t+1}' dL/dstate_{t+1},      P_t = J_T J_{T-1} ... J_{t+1}

    where D_t is what the loss hears of the outputs of step t alone.

    Parameters
    ----------
    network : network
        With ``step``, ``jacobian``, ``rates`` and ``readout``; run without noise, in float64, on a copy. Of a
        run in training take `neurornn.load_run`, or any of its checkpoints' weights.
    activity : xarray.Dataset
        A recording, or ``trials.to_dataset()``: with ``input`` and, for the loss, ``target`` and ``mask``.
    loss : callable, optional
        A torch function of the outputs (trial, time, output_channel) that returns one number; by default the
        masked mean of squared errors, or of cross-entropies where targets are classes, times the number of
        trials, so that it does not depend on that.
    n_trials : int, optional
        Look at the first so many only; 16, or as many as there are, by default.

    Returns
    -------
    xarray.Dataset
        ``gradient_norm (trial, time)``, the length of dL/dstate_t; ``product_norm (trial, time)``, the
        Frobenius norm of P_t over the root of the number of state variables: by how much a gradient of random
        direction at the last step grows on its way to step t (root mean square), 1 where J is orthogonal;
        ``log_product_norm``, its natural logarithm, which neither under- nor overflows. NaN at steps that are
        not valid. ``mean_gradient_norm (time,)`` and ``mean_log_product_norm (time,)`` over trials, the
        latter by steps before the end: ``steps_back``. Attribute ``growth_per_step``: the mean slope of
        ``log_product_norm`` per step back; below 0 gradients vanish, above 0 they explode.

    Raises
    ------
    InputError
        Where the network has no step, or the recording lacks what the loss needs.

    Notes
    -----
    In Methods: "Gradient norms were obtained by multiplying the Jacobians of the update along each trial
    backwards in time (Bengio et al. 1994; Pascanu et al. 2013)."

    Training writes the first of these, averaged over the beginning and the end of trials, as it goes
    (``gradient_early`` and ``gradient_late`` in ``metrics.csv``).

    References
    ----------
    Bengio, Y., Simard, P. & Frasconi, P. (1994). Learning long-term dependencies with gradient descent is
    difficult. IEEE Transactions on Neural Networks 5, 157-166. doi:10.1109/72.279181

    Pascanu, R., Mikolov, T. & Bengio, Y. (2013). On the difficulty of training recurrent neural networks.
    ICML 28, 1310-1318. doi:10.48550/arXiv.1211.5063

    Examples
    --------
    A rotation keeps every gradient's length.

    >>> import neurornn as nr
    >>> turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    >>> net = nr.network_from_arrays(turn, np.ones((2, 1)), None, np.ones((1, 2)), activation="identity")
    >>> trials = nr.tasks.FlipFlop(n_bits=1, duration=100).draw(3, np.random.default_rng(0))
    >>> flow = gradient_flow(net, trials.to_dataset())
    >>> bool(np.allclose(flow.product_norm, 1))
    True
    """
    need_dims(activity, (TRIAL, TIME))
    if not hasattr(network, "step") or getattr(network, "is_bidirectional", False):
        raise InputError(
            "a gradient is followed through steps, and this network has none: pass one with step and "
            "jacobian that runs in one direction"
        )
    counted = min(N_TRIALS, activity.sizes[TRIAL]) if n_trials is None else need_count(n_trials, "n_trials")
    own = activity.isel({TRIAL: slice(0, counted)})
    network = copy.deepcopy(network).double().cpu().eval().requires_grad_(False)
    inputs = _tensor(need_variable(own, "input").transpose(TRIAL, TIME, INPUT_CHANNEL))
    n_taken, n_steps = inputs.shape[:2]
    every = np.ones((n_taken, n_steps), bool)
    valid = own["valid"].transpose(TRIAL, TIME).to_numpy() if "valid" in own else every

    states = _states(network, inputs)
    direct = _direct(network, states[:, 1:], loss or _loss_of(own, n_taken))
    gradients, logs = _backwards(network, inputs, states, direct, valid)
    norms = np.where(valid, gradients, np.nan)
    logs = np.where(valid, logs, np.nan)
    result = xr.Dataset(
        {
            "gradient_norm": ((TRIAL, TIME), norms),
            "product_norm": ((TRIAL, TIME), np.exp(np.clip(logs, None, 700.0))),
            "log_product_norm": ((TRIAL, TIME), logs),
            "mean_gradient_norm": (TIME, _mean(norms)),
        },
        attrs={"n_trials": n_taken},
    )
    back = np.stack([_by_steps_back(row, there) for row, there in zip(logs, valid, strict=True)])
    result["mean_log_product_norm"] = "steps_back", _mean(back)
    result.attrs["growth_per_step"] = _slope(_mean(back))
    if TIME in activity.coords:
        result = result.assign_coords({TIME: (TIME, activity[TIME].to_numpy(), {"units": MILLISECONDS})})
    return result


def _states(network: Any, inputs: Tensor) -> Tensor:
    """Return the states before the first step and after each, shape (trial, time + 1, state_variable)."""
    state = network.initial_state(len(inputs))
    states = [state]
    for now in inputs.unbind(1):
        state = network.step(state, now)
        states.append(state)
    return torch.stack(states, 1)


def _direct(network: Any, states: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what the loss hears of each state through the outputs of its own step."""
    with torch.enable_grad():
        point = states.detach().requires_grad_()
        value = loss(network.readout(network.rates(point)))
        if value.ndim or not value.requires_grad:
            raise InputError(
                f"`loss` must return one number that depends on the outputs, got shape {tuple(value.shape)}: "
                "take the sum or the mean"
            )
        (direct,) = torch.autograd.grad(value, point)
    return direct


def _backwards(
    network: Any, inputs: Tensor, states: Tensor, direct: Tensor, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of dL/dstate_t and the logarithms of the products' norms, each (trial, time)."""
    n_trials, n_steps, n = direct.shape
    gradients, logs = np.zeros((n_trials, n_steps)), np.zeros((n_trials, n_steps))
    gradient = torch.zeros(n_trials, n, dtype=torch.float64)
    product = torch.eye(n, dtype=torch.float64).repeat(n_trials, 1, 1)
    scale = torch.zeros(n_trials, dtype=torch.float64)
    # Behind a trial's last valid step nothing counts: its product begins there.
    inside = torch.as_tensor(valid)
    for t in range(n_steps - 1, -1, -1):
        gradient = gradient + direct[:, t]
        gradients[:, t] = gradient.norm(dim=1).numpy()
        size = product.flatten(1).norm(dim=1) / n**0.5
        scale = torch.where(inside[:, t], scale + size.log(), scale)
        logs[:, t] = scale.numpy()
        jacobian = network.jacobian(states[:, t], inputs[:, t])
        gradient = (gradient[:, None] @ jacobian)[:, 0]
        # Shortened at every step, so that it stays a number however long the trial; zero stays zero.
        shortened = product / size.clamp_min(1e-300)[:, None, None]
        product = torch.where(inside[:, t, None, None], shortened @ jacobian, product)
    return gradients, logs


def _loss_of(activity: xr.Dataset, n_trials: int) -> Callable[[Tensor], Tensor]:
    """Return the loss that a recording's targets and mask define, times the number of trials."""
    target, mask = need_variable(activity, "target"), need_variable(activity, "mask")
    classes = OUTPUT_CHANNEL not in target.dims
    dims = (TRIAL, TIME) if classes else (TRIAL, TIME, OUTPUT_CHANNEL)
    weight = _tensor(mask.transpose(*dims))
    wanted = torch.as_tensor(target.transpose(*dims).to_numpy())
    share = n_trials / max(int((weight > 0).sum()), 1)

    def loss(outputs: Tensor) -> Tensor:
        if classes:
            per_step = functional.cross_entropy(
                outputs.flatten(0, 1), wanted.long().flatten(), reduction="none"
            )
            return share * (weight.flatten() * per_step).sum()
        return share * (weight * torch.where(weight > 0, outputs - wanted.double(), 0) ** 2).sum()

    return loss


def _tensor(array: xr.DataArray) -> Tensor:
    return torch.as_tensor(np.array(array.to_numpy(), dtype=np.float64))


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over trials of what is there, NaN where nothing is."""
    there = np.isfinite(values)
    counts = there.sum(0)
    return np.where(there, values, 0).sum(0) / np.where(counts, counts, np.nan)


def _by_steps_back(row: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a trial's values by the number of steps before its last valid one, NaN beyond its first."""
    values = row[valid][::-1]
    return np.concatenate([values, np.full(len(row) - len(values), np.nan)])


def _slope(values: np.ndarray) -> float:
    """Return the slope of a least-squares line through finite values."""
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < 2:
        return float("nan")
    return float(np.polyfit(there, values[there], 1)[0])
