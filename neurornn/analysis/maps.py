"""Any network, cell or function as a map of states under one constant input, in float64.

The analyses know a network by this alone: a step and, where it is known, its derivative.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurornn.vocabulary import InputError


class StateMap:
    """A map state -> next state under one constant input, with its Jacobian.

    Parameters
    ----------
    source : network or callable
        A network with ``step(state, input)`` and, if it has one, ``jacobian(state, input)``; or a torch
        function of states ``(..., state_variable)`` alone, which acts on every state by itself.
    constant_input : ndarray, shape (input_channel,), optional
        Of a network only; zero by default.
    """

    def __init__(self, source: Any, constant_input: np.ndarray | None = None) -> None:
        self.network = None
        self.dt: float | None = None
        self.alpha = torch.ones((), dtype=torch.float64)
        if isinstance(source, torch.nn.Module):
            # A copy: the caller's network keeps its precision, its device and its mode.
            source = copy.deepcopy(source).double().cpu().eval().requires_grad_(False)
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
        if self.network is not None and hasattr(self.network, "jacobian"):
            return self.network.jacobian(states, self.input)
        # Each state is mapped by itself, so that one backward pass per variable serves all states at once;
        # the function sees whole batches only, which is all that many cells can take.
        n_states, n = states.shape
        with torch.enable_grad():
            point = states.detach().requires_grad_()
            after = self._step(point)
        if not after.requires_grad:
            return states.new_zeros((n_states, n, n))
        pulls = torch.eye(n, dtype=states.dtype)[:, None].expand(n, n_states, n)
        (rows,) = torch.autograd.grad(after, point, pulls, is_grads_batched=True)
        return rows.transpose(0, 1).contiguous()

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

        Its zeros are the fixed points, and its size is the speed per tau whatever the length of a step.
        """
        return (self.step(states) - states) / self.alpha

    def residual_slope(self, states: Tensor) -> Tensor:
        """Return the derivative of G, (J - I) / alpha, shape (state, state_variable, state_variable)."""
        slope = self.jacobian(states)
        slope.diagonal(dim1=-2, dim2=-1).sub_(1)
        return slope.div_(self.alpha[..., None])
