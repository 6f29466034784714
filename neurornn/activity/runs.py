"""One pass of a network over some trials, interventions included, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurornn.activity.interventions import Intervention, changed_copy
from neurornn.networks import Network


@dataclass(frozen=True)
class Recorder:
    """A network, what is done to it, and what of it is kept.

    Attributes
    ----------
    network : Network
        As it is to be run: with interventions, a changed copy.
    interventions : sequence of Intervention
    dt : float
        Of the task, in ms.
    wanted : frozenset of str
        Names of variables; ``output`` is always there.
    """

    network: Network
    interventions: Sequence[Intervention]
    dt: float
    wanted: frozenset[str]

    @classmethod
    def of(
        cls, network: Network, interventions: Sequence[Intervention], dt: float, wanted: frozenset[str]
    ) -> Recorder:
        """Return a recorder of a network, which is copied where something is done to it."""
        return cls(
            changed_copy(network, interventions) if interventions else network, interventions, dt, wanted
        )

    @torch.no_grad()
    def run(self, inputs: np.ndarray, generator: torch.Generator | None) -> dict[str, np.ndarray]:
        """Run some trials in eval mode and return what is wanted of them, each (trial, time, ·)."""
        was_training = self.network.training
        self.network.eval()
        try:
            return self._run(inputs, generator)
        finally:
            self.network.train(was_training)

    def _run(self, inputs: np.ndarray, generator: torch.Generator | None) -> dict[str, np.ndarray]:
        like = self.network.output_bias
        seen = torch.as_tensor(inputs).to(like.device, like.dtype)
        for own in self.interventions:
            seen = own.change_inputs(seen, self.dt)
        begin = self.network.initial_state(len(seen))
        inner = self.wanted & set(self.network.inner_variables)
        needs_states = "state" in self.wanted or bool(inner)
        outputs, rates, states = self._pass(seen, begin, generator, needs_states)
        found: dict[str, Tensor] = {"output": outputs}
        if "rate" in self.wanted:
            assert rates is not None
            for own in self.interventions:
                rates = own.hide(self.network, rates)
            found["rate"] = rates
        if states is not None:
            if "state" in self.wanted:
                found["state"] = states
            if inner:
                before = torch.cat([begin[:, None], states[:, :-1]], 1)
                every = self.network.inner(before, states, seen)
                found |= {name: every[name] for name in inner}
        found["initial_state"] = begin
        return {name: tensor.detach().cpu().numpy() for name, tensor in found.items()}

    def _pass(
        self, inputs: Tensor, begin: Tensor, generator: torch.Generator | None, needs_states: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return outputs, rates and states, rates and states only where they are wanted."""
        n_steps = inputs.shape[1]
        acting: Mapping[int, list[Intervention]] = self._acting(n_steps)
        needs_rates = "rate" in self.wanted
        if not acting:
            found = self.network(
                inputs, begin, generator=generator, return_rates=needs_rates, return_states=needs_states
            )
            return found if needs_states else (*found, None)
        # Time is cut behind each step whose state is changed, so that the rest runs at full speed.
        network, state = self.network, begin
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        first = 0
        for last in [*sorted(acting), n_steps - 1]:
            if last < first:
                continue
            outputs, rates, states = network(
                inputs[:, first : last + 1], state, generator=generator, return_states=True
            )
            state = states[:, -1]
            if last in acting:
                for own in acting[last]:
                    state = own.change_state(network, state)
                changed = network.rates(state)
                # What is no function of the rates, noise on the outputs, stays as it was drawn.
                shift = network.readout(changed) - network.readout(rates[:, -1])
                outputs = torch.cat([outputs[:, :-1], outputs[:, -1:] + shift[:, None]], 1)
                rates = torch.cat([rates[:, :-1], changed[:, None]], 1)
                states = torch.cat([states[:, :-1], state[:, None]], 1)
            parts.append((outputs, rates, states))
            first = last + 1
        outputs, rates, states = (torch.cat(own, 1) for own in zip(*parts, strict=True))
        return outputs, rates, states

    def _acting(self, n_steps: int) -> dict[int, list[Intervention]]:
        """Return what changes the state after which steps."""
        found: dict[int, list[Intervention]] = {}
        for own in self.interventions:
            for step in own.steps(self.dt, n_steps):
                found.setdefault(step, []).append(own)
        return found
