"""The torch engine: backpropagation through time by hand, as one autograd function.

Autograd records and replays several operations per step; here each step costs one matrix product and three
elementwise operations each way, and the gradient of each weight is a single product over time and trials.

With K_t = dL/d(W_r r_{t-1} + W_x x_t + b), G_t what arrives at the rates and S_t at the states::

    rate         D_t = G_t + S_t + (1 - alpha) D_{t+1} + W_r' K_{t+1},            K_t = alpha f'(u_t) D_t
    current      D_t = S_t + f'(h_t) (G_t + W_r' K_{t+1}) + (1 - alpha) D_{t+1},  K_t = alpha D_t
    leak_inside  D_t = f'(v_t) (G_t + S_t + (1 - alpha) D_{t+1} + W_r' K_{t+1}),  K_t = alpha D_t
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from neurornn.engine.problem import TENSORS, ElementwiseFunction, ScanProblem, ScanResult
from neurornn.engine.reference import ReferenceEngine


class TorchEngine:
    """The scan with gradients derived by hand; any dtype, device and activation."""

    name = "torch"

    def reason_to_refuse(self, problem: ScanProblem) -> str | None:
        """Refuse what only autograd can follow, rather than give a gradient that lacks something."""
        if torch._C._are_functorch_transforms_active():
            return "torch.func transforms the scan itself, which only the reference engine allows"
        if _has_parameters(problem.activation, problem.bias):
            return "the activation has trainable parameters of its own"
        return None

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time."""
        if not len(problem.inputs):
            return ReferenceEngine().scan(problem)
        outputs, rates, *states = _Scan.apply(*(getattr(problem, name) for name in TENSORS), problem)
        return ScanResult(outputs, rates, states[0] if states else rates)


_INTO: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": lambda source, out: torch.clamp_min(source, 0, out=out),
}
"""Activations that can write into a given tensor."""


def _apply(activation: ElementwiseFunction, source: Tensor, out: Tensor) -> None:
    """Write f(source) into ``out``, which may be ``source`` itself."""
    into = _INTO.get(activation.name)
    if into is None:
        out.copy_(activation(source))
    else:
        into(source, out=out)


def _has_parameters(activation: ElementwiseFunction, like: Tensor) -> bool:
    """Say whether the value of f needs a gradient although what it is applied to does not."""
    if activation.name in _SLOPE_FROM_VALUE:
        return False
    with torch.enable_grad():
        return activation(like.new_zeros(1)).requires_grad


_SLOPE_FROM_VALUE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda value: value.square().neg_().add_(1),
    "sigmoid": lambda value: value * (1 - value),
    "relu": lambda value: (value > 0).to(value.dtype),
    # 1 - exp(-f), but exactly 1 where torch's softplus is linear.
    "softplus": lambda value: value.neg().expm1_().neg_().masked_fill_(value > 20, 1),
}
"""f'(u) from f(u), as a new tensor, of activations for which u itself need not be kept."""


class _Scan(torch.autograd.Function):
    """Forward and backward of one scan: the tensors are its arguments, the rest comes in the problem."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, problem = arguments
        inputs, state, input_weight, recurrent_weight, bias, output_weight, output_bias = tensors
        f, alpha, dynamics = problem.activation, problem.alpha, problem.dynamics
        known = f.name in _SLOPE_FROM_VALUE
        drive = linear(inputs, input_weight, bias)
        if problem.noise is not None and dynamics != "current":
            drive += problem.noise
        # The drive's memory is used again for what it turns into, where nothing needs the drive any more.
        if dynamics == "current":
            states, rates = drive, torch.empty_like(drive)
        else:
            states = drive if known and (alpha == 1 or dynamics == "leak_inside") else torch.empty_like(drive)
            rates = states
        recurrent = recurrent_weight.t()
        seen = f(state) if dynamics == "current" else state
        for t, (driven, now, rate) in enumerate(
            zip(drive.unbind(), states.unbind(), rates.unbind(), strict=True)
        ):
            driven.addmm_(seen, recurrent)
            if dynamics == "rate" and alpha == 1:
                _apply(f, driven, out=now)
            elif dynamics == "rate":
                value = driven if known else torch.empty_like(driven)
                _apply(f, driven, out=value)
                torch.lerp(state, value, alpha, out=now)
            else:
                if alpha != 1:
                    torch.lerp(state, driven, alpha, out=driven)
                if dynamics == "current" and problem.noise is not None:
                    driven += problem.noise[t]
                _apply(f, driven, out=rate)
            state, seen = now, rate
        outputs = linear(rates, output_weight, output_bias)

        # From what the slope of f is told later: its value, or what it was applied to.
        if known:
            hidden = drive if dynamics == "rate" and alpha != 1 else rates
        else:
            hidden = drive
        ctx.problem = problem
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, rates, hidden)
        return (outputs, rates, states) if dynamics == "current" else (outputs, rates)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, rates, hidden = ctx.saved_tensors
        if torch.is_grad_enabled():
            # Somebody will differentiate this gradient: let autograd derive it from the plain loop.
            return (*_differentiable_gradients(ctx, tensors, gradients), None)
        inputs, first, input_weight, recurrent_weight, _, output_weight, _ = tensors
        problem: ScanProblem = ctx.problem
        f, alpha, dynamics = problem.activation, problem.alpha, problem.dynamics
        at_outputs, at_rates, at_states = (*gradients, None)[:3]
        n_steps, n_trials, n_units = rates.shape
        told = _SLOPE_FROM_VALUE.get(f.name)
        slope = f.derivative(hidden) if told is None else told(hidden)

        # Each step's K takes the place of its slope, which nothing needs after that step.
        onward: Tensor | None = None
        carried: Tensor | None = None
        for t in range(n_steps - 1, -1, -1):
            # Into a tensor of our own: what arrives may be shared and is never written to.
            arriving = torch.mm(at_outputs[t], output_weight) if at_outputs is not None else None
            if at_rates is not None:
                arriving = at_rates[t].clone() if arriving is None else arriving.add_(at_rates[t])
            if arriving is None:
                arriving = rates.new_zeros((n_trials, n_units))
            if onward is not None:
                arriving.addmm_(onward, recurrent_weight)
            if dynamics == "current":
                arriving.mul_(slope[t])
                if at_states is not None:
                    arriving.add_(at_states[t])
            if carried is not None and alpha != 1:
                arriving.add_(carried, alpha=1 - alpha)
            if dynamics == "leak_inside":
                arriving.mul_(slope[t])
            carried, onward = arriving, slope[t]
            if dynamics == "rate":
                onward.mul_(arriving)
            else:
                onward.copy_(arriving)
            if alpha != 1:
                onward.mul_(alpha)
        assert carried is not None
        assert onward is not None

        needed = ctx.needs_input_grad
        at_drive, steps = slope.flatten(0, 1), slope
        found: list[Tensor | None] = [None] * len(tensors)
        if needed[0]:
            found[0] = torch.matmul(steps, input_weight)
        if needed[1]:
            through = torch.mm(onward, recurrent_weight)
            through = through * f.derivative(first) if dynamics == "current" else through
            found[1] = through.add_(carried, alpha=1 - alpha)
        if needed[2]:
            found[2] = at_drive.t() @ inputs.flatten(0, 1)
        if needed[3]:
            before = f(first) if dynamics == "current" else first
            found[3] = (at_drive[n_trials:].t() @ rates[:-1].flatten(0, 1)).addmm_(onward.t(), before)
        if needed[4]:
            found[4] = at_drive.sum(0)
        if at_outputs is not None:
            flat = at_outputs.flatten(0, 1)
            found[5] = flat.t() @ rates.flatten(0, 1) if needed[5] else None
            found[6] = flat.sum(0) if needed[6] else None
        return (*found, None)


def _differentiable_gradients(
    ctx: Any, tensors: list[Tensor], gradients: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Return the gradients as autograd derives them from the reference engine, to be differentiated again."""
    # Views, so that a tensor that is made of another one among them does not lend it its gradient.
    views = [tensor.view_as(tensor) for tensor in tensors]
    problem = dataclasses.replace(ctx.problem, **dict(zip(TENSORS, views, strict=True)))
    results = ReferenceEngine().scan(problem)
    reached = [(result, own) for result, own in zip(results, gradients, strict=False) if own is not None]
    wanted = [view for view, needs in zip(views, ctx.needs_input_grad, strict=False) if needs]
    derived = torch.autograd.grad(
        [result for result, _ in reached],
        wanted,
        [own for _, own in reached],
        create_graph=True,
        allow_unused=True,
    )
    left = iter(derived)
    return [next(left) if needs else None for needs in ctx.needs_input_grad[: len(tensors)]]
