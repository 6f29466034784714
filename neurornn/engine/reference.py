"""The reference engine: a plain loop over time under autograd. Any dtype, any device, any activation.

It is the truth that faster engines are tested against, so it is written as the equation reads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from neurornn.engine.problem import ScanProblem, ScanResult


class ReferenceEngine:
    """The scan as a loop of one matrix product per step."""

    name = "reference"

    def reason_to_refuse(self, problem: ScanProblem) -> None:
        """Return None: it serves everything."""

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time."""
        p = problem
        f, alpha, n_units = p.activation, p.alpha, len(p.bias)
        # A layer norm comes between the weighted sum and the bias.
        bias = p.bias if p.norm_gain is None else None
        drive = linear(p.inputs, p.input_weight, bias)
        noise = p.materialised_noise()
        state, *synapses = p.initial_state.split(n_units, dim=1)
        states: list[Tensor] = []
        # unbind, not drive[t]: the backward pass of each indexing would fill all of (time, trial, unit).
        for t, driven in enumerate(drive.unbind(0)):
            if p.leaves_window(t):
                state, *synapses = (own.detach() for own in (state, *synapses))
            rate = f(state) if p.dynamics == "current" else state
            seen = rate if p.kept_share is None else rate * p.kept_share
            now = driven
            if p.feedback_weight is not None:
                assert p.feedback is not None
                put_out = linear(seen, p.output_weight, p.output_bias)
                fed_back = torch.where(p.feedback.forced[t][:, None], p.feedback.teacher[t], put_out)
                now = now + linear(fed_back, p.feedback_weight)
            if p.plasticity is not None:
                resources, use = p.plasticity.step(synapses[0], synapses[1], seen)
                synapses, seen = [resources, use], use * resources * seen
            if p.selection is not None:
                seen = linear(seen, p.selection)
            now = torch.addmm(now, seen, p.recurrent_weight.t())
            if p.norm_gain is not None:
                now = layer_norm(now, (n_units,), p.norm_gain, p.bias)
            if noise is not None and p.dynamics != "current":
                now = now + noise[t]
            if p.dynamics == "rate":
                now = f(now)
            state = (1 - alpha) * state + alpha * now if p.has_leak else now
            if p.dynamics == "leak_inside":
                state = f(state)
            if noise is not None and p.dynamics == "current":
                state = state + noise[t]
            states.append(torch.cat([state, *synapses], dim=1) if synapses else state)
        stacked = torch.stack(states) if states else p.initial_state.new_empty((0, *p.initial_state.shape))
        own = stacked[..., :n_units]
        rates = f(own) if p.dynamics == "current" else own
        seen = rates if p.kept_share is None else rates * p.kept_share
        return ScanResult(
            linear(seen, p.output_weight, p.output_bias),
            rates if p.wants_rates or (p.wants_states and p.states_are_rates) else None,
            stacked if p.wants_states else None,
        )
