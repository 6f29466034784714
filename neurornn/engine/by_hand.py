"""Backpropagation through time by hand, as one function of autograd, whoever computes its two passes.

With K_t = dL/d(W_r r_{t-1} + W_x x_t + b), G_t what arrives at the rates and S_t at the states::

    rate         D_t = G_t + S_t + (1 - alpha) D_{t+1} + W_r' K_{t+1},            K_t = alpha f'(u_t) D_t
    current      D_t = S_t + f'(h_t) (G_t + W_r' K_{t+1}) + (1 - alpha) D_{t+1},  K_t = alpha D_t
    leak_inside  D_t = f'(v_t) (G_t + S_t + (1 - alpha) D_{t+1} + W_r' K_{t+1}),  K_t = alpha D_t

The gradient of each weight is a sum of K_t's outer products with what the weight was applied to. Of low rank
W_r is a recurrent weight M times a selection N: M's gradient sums products of K_t and N r_{t-1}, and N's
those of M' K_t and r_{t-1}. Where synapses are plastic, what comes back from W_r is the gradient of what they
let through: it becomes that of r, x and u, and x and u carry theirs on to the step before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from neurornn.engine.problem import ScanProblem, ScanResult
from neurornn.engine.reference import ReferenceEngine

Arriving = Mapping[str, Tensor | None]
"""The gradients that arrive at a scan's results, by name; None where nothing does. Nobody writes to them."""


class Passes(Protocol):
    """The two passes of a scan, on tensors that autograd does not watch."""

    def forward(self, problem: ScanProblem, keep: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the results by name, and what the backward pass will want if it comes (``keep``)."""

    def backward(
        self,
        problem: ScanProblem,
        kept: Sequence[Tensor],
        arriving: Arriving,
        needs: Callable[[str], bool],
    ) -> dict[str, Tensor]:
        """Return the gradients of the tensors that need one, by name."""


def reason_to_refuse() -> str | None:
    """Say why only autograd can follow a scan now, or None where gradients by hand are whole."""
    if torch._C._are_functorch_transforms_active():
        return "torch.func transforms the scan itself, which only the reference engine allows"
    if any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda")):
        return "autocast chooses the precision of each operation, which only the reference engine allows"
    return None


def scan_by_hand(passes: Passes, problem: ScanProblem) -> ScanResult:
    """Run a problem with these passes; the result is differentiable by torch, twice and more."""
    if not len(problem.inputs) or not len(problem.initial_state):
        return ReferenceEngine().scan(problem)
    tensors = problem.tensors.values()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return ScanResult.of(problem, _Scan.apply(*tensors, problem, passes))
    with torch.no_grad():
        results, _ = passes.forward(problem, keep=False)
    return ScanResult.of(problem, (results[name] for name in problem.results))


class _Scan(torch.autograd.Function):
    """Forward and backward of one scan: the tensors are its arguments, the rest comes in the problem."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, problem, passes = arguments
        results, kept = passes.forward(problem, keep=True)
        ctx.problem, ctx.passes = problem, passes
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *kept)
        return tuple(results[name] for name in problem.results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        names = list(ctx.problem.tensors)
        saved, kept = ctx.saved_tensors[: len(names)], ctx.saved_tensors[len(names) :]
        problem = ctx.problem.with_tensors(dict(zip(names, saved, strict=True)))
        arriving = dict(zip(problem.results, gradients, strict=True))
        needs = dict(zip(names, ctx.needs_input_grad, strict=False))
        if torch.is_grad_enabled():
            # Somebody will differentiate this gradient: let autograd derive it from the plain loop.
            found = _differentiable_gradients(problem, arriving, [name for name in names if needs[name]])
        else:
            found = ctx.passes.backward(problem, kept, arriving, lambda name: needs.get(name, False))
        return (*(found.get(name) if needs[name] else None for name in names), None, None)


def _differentiable_gradients(
    problem: ScanProblem, arriving: Arriving, wanted: list[str]
) -> dict[str, Tensor | None]:
    """Return the gradients as autograd derives them from the reference engine, to be differentiated again."""
    # Views, so that a tensor that is made of another one among them does not lend it its gradient.
    views = {name: tensor.view_as(tensor) for name, tensor in problem.tensors.items()}
    result = ReferenceEngine().scan(problem.with_tensors(views))
    reached = [(getattr(result, name), own) for name, own in arriving.items() if own is not None]
    derived = torch.autograd.grad(
        [array for array, _ in reached],
        [views[name] for name in wanted],
        [own for _, own in reached],
        create_graph=True,
        allow_unused=True,
    )
    return dict(zip(wanted, derived, strict=True))
