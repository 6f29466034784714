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
        noise = p.materialised_noise()
        # Noise inside the nonlinearity belongs to the drive; only the current's is added after the leak.
        if noise is not None and p.dynamics != "current":
            drive, noise = drive + noise, None
        recurrent = p.recurrent_weight.t()
        state = p.initial_state
        states: list[Tensor] = []
        # unbind, not drive[t]: the backward pass of each indexing would fill all of (time, trial, unit).
        for t, driven in enumerate(drive.unbind(0)):
            if p.leaves_window(t):
                state = state.detach()
            now = torch.addmm(driven, f(state) if p.dynamics == "current" else state, recurrent)
            if p.dynamics == "rate":
                now = f(now)
            state = (1 - alpha) * state + alpha * now if p.has_leak else now
            if p.dynamics == "leak_inside":
                state = f(state)
            if noise is not None:
                state = state + noise[t]
            states.append(state)
        stacked = torch.stack(states) if states else p.initial_state.new_empty((0, *p.initial_state.shape))
        rates = f(stacked) if p.dynamics == "current" else stacked
        return ScanResult(
            linear(rates, p.output_weight, p.output_bias),
            rates if "rates" in p.results else None,
            stacked if p.wants_states else None,
        )
