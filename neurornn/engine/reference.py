"""The reference engine: a plain loop over time under autograd. Any dtype, any device, any activation.

It is the truth that faster engines are tested against, so it is written as the equation reads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from neurornn.engine.problem import ScanProblem, ScanResult


class ReferenceEngine:
    """The scan as a loop of one matrix product per step."""

    name = "reference"

    def reason_to_refuse(self, problem: ScanProblem) -> None:
        """Return None: it serves everything."""

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time."""
        p = problem
        f, alpha = p.activation, p.alpha
        drive = linear(p.inputs, p.input_weight, p.bias)
        # Noise inside the nonlinearity belongs to the drive; only the current's is added after the leak.
        outside = p.noise if p.dynamics == "current" else None
        if p.noise is not None and outside is None:
            drive = drive + p.noise
        # unbind, not drive[t]: the backward pass of each indexing would fill all of (time, trial, unit).
        drives = drive.unbind(0)
        added = outside.unbind(0) if outside is not None else None
        recurrent = p.recurrent_weight.t()
        state = p.initial_state
        states: list[Tensor] = []
        for t, driven in enumerate(drives):
            if p.dynamics == "rate":
                now = f(torch.addmm(driven, state, recurrent))
                state = now if alpha == 1 else torch.lerp(state, now, alpha)
            elif p.dynamics == "current":
                now = torch.addmm(driven, f(state), recurrent)
                state = now if alpha == 1 else torch.lerp(state, now, alpha)
                state = state if added is None else state + added[t]
            else:
                now = torch.addmm(driven, state, recurrent)
                state = f(now if alpha == 1 else torch.lerp(state, now, alpha))
            states.append(state)
        stacked = torch.stack(states) if states else p.initial_state.new_empty((0, *p.initial_state.shape))
        rates = f(stacked) if p.dynamics == "current" else stacked
        return ScanResult(linear(rates, p.output_weight, p.output_bias), rates, stacked)
