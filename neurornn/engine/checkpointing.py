"""A scan in segments: only the state at the start of each is kept, and each is run again for its gradient.

Memory is that of one segment and of the states between them, for the price of one more forward pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurornn.engine import by_hand
from neurornn.engine.problem import ScanProblem, ScanResult
from neurornn.vocabulary import InputError

Scan = Callable[[ScanProblem], ScanResult]


def scan_in_segments(problem: ScanProblem, scan: Scan) -> ScanResult:
    """Run a problem segment by segment; ``scan`` runs one of them.

    A problem of one segment is run whole, and so is one under ``torch.func`` or autocast, which need the
    graph.

    Raises
    ------
    InputError
        Where a gradient is to be differentiated again.
    """
    if by_hand.reason_to_refuse() or len(problem.inputs) <= (problem.checkpoint_every or 0):
        return scan(dataclasses.replace(problem, checkpoint_every=None))
    return ScanResult.of(problem, _Segments.apply(*problem.tensors.values(), problem, scan))


def _segment(problem: ScanProblem, first: int, state: Tensor) -> ScanProblem:
    """Return the problem of one segment, which hands its last state on."""
    assert problem.checkpoint_every is not None
    part = problem.segment(first, first + problem.checkpoint_every, state)
    return dataclasses.replace(part, checkpoint_every=None, wants_states=True)


class _Segments(torch.autograd.Function):
    """Forward over all segments, and backward over them from the last to the first."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, problem, scan = arguments
        starts, state = [], problem.initial_state
        found: dict[str, list[Tensor]] = {name: [] for name in problem.results}
        for first in range(0, len(problem.inputs), problem.checkpoint_every):
            starts.append(state)
            result = scan(_segment(problem, first, state))
            for name, parts in found.items():
                parts.append(getattr(result, name))
            # A copy, since a view would keep all of the segment alive; and gone before the next one is made.
            state = result.states[-1].clone()
            del result
        ctx.problem, ctx.scan = problem, scan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *starts[1:])
        return tuple(torch.cat(parts) for parts in found.values())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise InputError(
                "`checkpoint_every` keeps no graph to differentiate a second time: leave it out for second "
                "derivatives"
            )
        names = list(ctx.problem.tensors)
        saved = dict(zip(names, ctx.saved_tensors, strict=False))
        problem = ctx.problem.with_tensors(saved)
        starts = [problem.initial_state, *ctx.saved_tensors[len(names) :]]
        arriving = dict(zip(problem.results, gradients, strict=True))
        needs = dict(zip(names, ctx.needs_input_grad, strict=False))
        every = problem.checkpoint_every
        assert every is not None
        total: dict[str, Tensor] = {}
        at_inputs: list[Tensor] = []
        at_state: Tensor | None = None
        for first, start in reversed(list(zip(range(0, len(problem.inputs), every), starts, strict=True))):
            segment = _segment(problem, first, start)
            # Leaves of this segment's own, so that its gradient stops where it begins.
            leaves = {name: own.detach() for name, own in segment.tensors.items()}
            for name, leaf in leaves.items():
                leaf.requires_grad_(needs[name] or name == "initial_state")
            with torch.enable_grad():
                result = ctx.scan(segment.with_tensors(leaves))
                assert result.states is not None
                pairs = [
                    (getattr(result, name), own[first : first + every])
                    for name, own in arriving.items()
                    if own is not None
                ]
                if at_state is not None:
                    pairs.append((result.states[-1], at_state))
            wanted = [name for name, leaf in leaves.items() if leaf.requires_grad]
            if not pairs:
                continue
            derived = torch.autograd.grad(
                [array for array, _ in pairs],
                [leaves[name] for name in wanted],
                [own for _, own in pairs],
                allow_unused=True,
            )
            found = {name: own for name, own in zip(wanted, derived, strict=True) if own is not None}
            at_state = found.pop("initial_state", None)
            if "inputs" in found:
                at_inputs.append(found.pop("inputs"))
            for name, own in found.items():
                total[name] = total[name] + own if name in total else own
            # The segment's activity goes before the next one's is computed.
            del result, pairs, derived, found
        if at_inputs:
            total["inputs"] = torch.cat(at_inputs[::-1])
        if at_state is not None:
            total["initial_state"] = at_state
        return (*(total.get(name) if needs[name] else None for name in names), None, None)
