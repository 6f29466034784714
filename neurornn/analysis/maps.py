"""Any network, cell or function as a map of states under one constant input, in float64.

The analyses know a network by this alone: a step and, where it is known, its derivative. Of a network of rate
units they also know the equation, `RateForm`, so that its leak can be taken off exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from neurornn.vocabulary import InputError

_CHUNK_BYTES = 2**26


class StateMap:
    """A map state -> next state under one constant input, with its Jacobian.

    Parameters
    ----------
    source : network or callable
        A network with ``step(state, input)`` and, if it has one, ``jacobian(state, input)``; or a torch
        function of states ``(..., state_variable)`` alone, which acts on every state by itself.
    constant_input : ndarray, shape (input_channel,), optional
        Of a network only; zero by default.

    Attributes
    ----------
    network : object or None
        A float64 copy of the network; None for a function.
    form : RateForm or None
        The equation of a network of rate units; None where the map is known by its step alone.
    """

    def __init__(self, source: Any, constant_input: np.ndarray | None = None) -> None:
        self.network = None
        self.form: RateForm | None = None
        self.dt: float | None = None
        self.alpha = torch.ones((), dtype=torch.float64)
        if isinstance(source, torch.nn.Module):
            # A copy: the caller's network keeps its precision, its device and its mode.
            source = copy.deepcopy(source).double().cpu().eval().requires_grad_(False)
            _need_finite_weights(source)
        if hasattr(source, "step"):
            self.network = source
            self.dt = getattr(source, "dt", None)
            leak = getattr(source, "state_leak", getattr(source, "alpha", 1.0))
            self.alpha = torch.as_tensor(leak, dtype=torch.float64).detach()
            size = int(source.input_size)
            values = np.zeros(size) if constant_input is None else np.asarray(constant_input, float)
            if values.shape != (size,):
                raise InputError(
                    f"a constant input of this network must have shape (input_channel={size},), "
                    f"got {values.shape}"
                )
            self.input = torch.as_tensor(values)
            self._step: Callable[[Tensor], Tensor] = lambda state: source.step(state, self.input)
            self.form = _rate_form(source, self.input, self.alpha)
        elif isinstance(source, torch.nn.Module):
            raise InputError(
                f"a {type(source).__name__} has no `step(state, input)` method: pass it as a function of "
                "states in float64, for example lambda state: cell(held.expand(len(state), -1), state)"
            )
        elif callable(source):
            if constant_input is not None:
                raise InputError("`inputs` has no meaning for a function of the state alone: leave it out")
            self._step = source
        else:
            raise InputError(
                "`network_or_map` must be a network with a `step` method or a torch function "
                f"state -> next state, got {type(source).__name__}"
            )

    @property
    def has_leak(self) -> bool:
        """Whether any state variable keeps a share of itself in every step."""
        return bool((self.alpha != 1).any())

    def step(self, states: Tensor) -> Tensor:
        """Return the next states, shape (state, state_variable)."""
        return self._step(states)

    def jacobian(self, states: Tensor) -> Tensor:
        """Return the derivatives, shape (state, state_variable, state_variable)."""
        n = states.shape[1]
        if self.network is not None and hasattr(self.network, "jacobian"):
            return self.network.jacobian(states, self.input)
        # A graph holds the pulls of every variable through every intermediate result: a few at a time.
        rows = max(1, _CHUNK_BYTES // (64 * n * n))
        parts = [_differentiate(self._step, chunk) for chunk in states.split(rows)]
        return torch.cat(parts) if parts else states.new_zeros((0, n, n))

    def rates(self, states: Tensor) -> Tensor:
        """Return what the readout sees of the states, shape (state, unit)."""
        rates = getattr(self.network, "rates", None)
        return states if rates is None else rates(states)

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself, or None where none is known."""
        known = getattr(self.network, "state_bounds", None)
        return known(self.input) if known is not None else None

    def residual(self, states: Tensor) -> Tensor:
        """Return G(x) = (F(x) - x) / alpha: where the map leads, freed of the leak.

        Its zeros are the fixed points, and its size is the speed per tau whatever the length of a step. Where
        the equation is known no difference is taken, whose rounding a small alpha would make large.
        """
        if self.form is not None and self.form.is_flow:
            return self.form.flow(states)
        return (self.step(states) - states) / self.alpha

    def residual_slope(self, states: Tensor) -> Tensor:
        """Return the derivative of G, (J - I) / alpha, shape (state, state_variable, state_variable)."""
        slope = self.jacobian(states)
        slope.diagonal(dim1=-2, dim2=-1).sub_(1)
        return slope.div_(self.alpha[..., None])


@dataclass(frozen=True)
class RateForm:
    """The equation of a network of rate units: f, W and the constant drive h.

    ``"rate"`` and ``"leak_inside"`` dynamics rest where r = f(W r + h), the latter with the leak inside f;
    ``"current"`` dynamics rest at h_i = (W f(h) + h)_i, which is the same equation for r = f(h).

    Attributes
    ----------
    weight : Tensor, shape (unit, unit)
    drive : Tensor, shape (unit,)
        All that does not come from the units: bias and constant input.
    activation : callable
        With ``derivative`` and ``bounds``.
    dynamics : {"rate", "current", "leak_inside"}
    alpha : Tensor, shape () or (unit,)
    """

    weight: Tensor
    drive: Tensor
    activation: Any
    dynamics: str
    alpha: Tensor

    @property
    def is_flow(self) -> bool:
        """Whether the leak stands outside, so that the step is a share alpha of a way."""
        return self.dynamics in ("rate", "current")

    @property
    def is_rectified_linear(self) -> bool:
        """Whether the activation is max(u, 0): then points, in rates, are those of linear pieces."""
        return getattr(self.activation, "name", "") == "relu"

    def flow(self, states: Tensor) -> Tensor:
        """Return the way that a step of a leaky network goes a share of."""
        if self.dynamics == "current":
            return linear(self.activation(states), self.weight, self.drive) - states
        return self.activation(linear(states, self.weight, self.drive)) - states

    def step(self, states: Tensor) -> Tensor:
        """Return the next states."""
        if self.is_flow:
            return states + self.alpha * self.flow(states)
        driven = linear(states, self.weight, self.drive)
        return self.activation((1 - self.alpha) * states + self.alpha * driven)


_SMOOTH = frozenset({"tanh", "softplus", "sigmoid", "identity", "elu", "swish", "softsign", "bent_identity"})
"""Activations whose slope has no jump."""


def is_smooth(activation: Any) -> bool:
    """Return whether an activation's slope is known to have no jump."""
    return str(getattr(activation, "name", "")).partition("(")[0] in _SMOOTH


def _rate_form(network: Any, constant_input: Tensor, alpha: Tensor) -> RateForm | None:
    """Return the equation of a network where its parts are those of one and make its step, else None."""
    activation, dynamics = getattr(network, "activation", None), getattr(network, "dynamics", None)
    layers: Any = getattr(network, "layers", ())
    if not hasattr(activation, "derivative") or not hasattr(activation, "bounds") or len(layers) != 1:
        return None
    weight, drive = network.recurrent_weight, network.bias
    if weight.shape != (network.state_size,) * 2:
        return None
    drive = drive + network.input_weight @ constant_input
    back = getattr(layers[0], "feedback_weight", None)
    if back is not None:
        weight, drive = weight + back @ network.output_weight, drive + back @ network.output_bias
    form = RateForm(weight.detach(), drive.detach(), activation, str(dynamics), alpha)
    # What the parts do not tell, such as a normalisation, shows in the step: then the step alone is used.
    extent = np.linspace(-1, 1, 3)[:, None] + np.cos(np.arange(len(drive)))
    probe = torch.as_tensor(extent)
    wrong = (form.step(probe) - network.step(probe, constant_input)).abs().max()
    return form if float(wrong) <= 1e-10 * (1 + float(form.step(probe).abs().max())) else None


def _need_finite_weights(module: torch.nn.Module) -> None:
    for name, values in module.named_parameters():
        if not bool(torch.isfinite(values).all()):
            raise InputError(
                f"the network's `{name}` must be finite, but {int((~torch.isfinite(values)).sum())} of "
                f"{values.numel()} entries are not: its training failed; load earlier weights"
            )


def _differentiate(function: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """Return the derivative of a map that acts on every state by itself, shape (state, variable, variable).

    One backward pass per variable then serves all states at once, and the function sees whole batches only,
    which is all that many cells can take.
    """
    n_states, n = states.shape
    with torch.enable_grad():
        point = states.detach().requires_grad_()
        after = function(point)
    if not after.requires_grad:
        return states.new_zeros((n_states, n, n))
    pulls = torch.eye(n, dtype=states.dtype)[:, None].expand(n, n_states, n)
    try:
        (rows,) = torch.autograd.grad(after, point, pulls, is_grads_batched=True, retain_graph=True)
    except RuntimeError:
        # Some operations, those written by hand above all, cannot be pulled by many vectors at once.
        rows = torch.stack(
            [torch.autograd.grad(after, point, pulls[k], retain_graph=True)[0] for k in range(n)]
        )
    return rows.transpose(0, 1).contiguous()
