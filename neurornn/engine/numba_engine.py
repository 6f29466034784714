"""The numba engine: the two passes of backpropagation through time in the fused kernel, on the CPU.

Trials are cut into slices that go through all of time on their own, on as many threads as torch may use. How
they are cut, and the order in which the slices' gradients are added, depends on the number of trials alone:
results have the same bits whatever the number of threads.

The kernel works on whole tiles: trials and units are padded to multiples of a tile's sides in memory, and
what is returned is a view without the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neurornn.engine import by_hand, fused
from neurornn.engine.problem import Plasticity, ScanProblem, ScanResult
from neurornn.numerics import threads
from neurornn.numerics.threads import engine_threads

if TYPE_CHECKING:
    from neurornn.engine.fused.tiles import Form

ACTIVATIONS = ("tanh", "relu", "softplus", "sigmoid")
DYNAMICS = ("rate", "current")
SERVED = ("selection", "plasticity")
"""Optional parts of a problem that the kernel has."""
CHUNK_ROWS = 256
"""Rows, steps times trials, over which the weights' gradients are summed at once: what the caches hold."""


class NumbaEngine:
    """The scan as one compiled kernel each way: float32 on the CPU."""

    name = "numba"

    def reason_to_refuse(self, problem: ScanProblem) -> str | None:
        """Refuse what the kernel was not written for."""
        if problem.dynamics not in DYNAMICS:
            return f"its kernel has the dynamics 'rate' and 'current', not {problem.dynamics!r}"
        if problem.activation.name not in ACTIVATIONS:
            name = repr(problem.activation.name) if problem.activation.name else "a callable"
            return f"its kernel has the activations {', '.join(map(repr, ACTIVATIONS))}, not {name}"
        if (part := problem.first_part_but(SERVED)) is not None:
            return f"its kernel has no {part}"
        for name, tensor in problem.tensors.items():
            if tensor.dtype != torch.float32:
                return f"it serves float32 only, and `{name}` is {str(tensor.dtype).removeprefix('torch.')}"
            if tensor.device.type != "cpu":
                return f"it serves the CPU only, and `{name}` is on {tensor.device}"
        if isinstance(problem.alpha, Tensor) and problem.alpha.requires_grad:
            return "its kernel has no gradient of the leak, which is trainable here"
        return by_hand.reason_to_refuse() or fused.reason_not_to_compile()

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time."""
        return by_hand.scan_by_hand(self, problem)

    def forward(self, problem: ScanProblem, keep: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the results by name, and what the backward pass wants."""
        from neurornn.engine.fused import kernels, layout

        form, current = _form(problem), problem.dynamics == "current"
        n_steps, n_trials = problem.inputs.shape[:2]
        n_units, n_outputs = len(problem.bias), len(problem.output_bias)
        rows, width = layout.padded_trials(n_trials), layout.padded_units(n_units)
        inputs = layout.whole_rows(problem.inputs)
        own_state, *own_synapses = problem.initial_state.split(n_units, dim=1)
        first_state = layout.padded(own_state, rows, width)
        own_rate = problem.activation(own_state) if current else own_state
        first_rate = layout.padded(own_rate, rows, width) if current else first_state
        # Where nobody looks at them again, two steps of rates, used in turn, and one of the others suffice.
        rates_stay = keep or problem.wants_rates or (problem.wants_states and not current)
        rates = first_rate.new_empty(n_steps if rates_stay else 2, rows, width)
        others_stay = problem.wants_states if current else keep and form.leaky
        others = first_rate.new_empty(n_steps if others_stay else 1, rows, width)
        if problem.plasticity is None:
            synapses = first_rate.new_empty(0, 3, rows, width)
        else:
            n_slots = n_steps + 1 if keep or problem.wants_states else 2
            synapses = first_rate.new_empty(n_slots, 3, rows, width)
            first_synapses = _first_synapses(problem.plasticity, own_synapses, own_rate)
            synapses[0] = layout.padded(torch.stack(first_synapses), 3, rows, width)
        selection = layout.projection(None if problem.selection is None else problem.selection.t())
        selected = first_rate.new_empty(n_steps if keep else 1, rows, layout.width_of(selection))
        input_rows = layout.padded(problem.input_weight.t(), inputs.shape[2], n_units)
        weights = torch.cat([problem.recurrent_weight.t(), input_rows, problem.bias[None]])
        readout = layout.few_columns(torch.cat([problem.output_weight.t(), problem.output_bias[None]]))
        outputs = first_rate.new_empty(n_steps, rows, layout.width_of(readout))
        noise = problem.noise
        key = (0, 0, 0) if noise is None else (*noise.key_words, problem.first_step)
        run = kernels.forward_kernel(form)
        arguments = layout.for_numba(
            inputs,
            first_state,
            first_rate,
            selection,
            layout.panels(weights),
            layout.along_units(problem.alpha, n_units),
            layout.along_units(0.0 if noise is None else noise.scale, n_units),
            key,
            first_rate.new_empty((rows, width) if form.noisy else (0, 0)),
            readout,
            rates,
            others,
            outputs,
            selected,
            synapses,
            _constants(problem),
        )
        size, n_slices = layout.slices(rows)
        threads.share(lambda first, last: run((first, last, size), *arguments), n_slices, engine_threads())
        if keep and rows > n_trials:
            # No gradient comes to the filling, but nothing times a rate beyond all bounds would be NaN.
            for activity in (rates, others, selected, synapses):
                activity[..., n_trials:, :] = 0
        states = (others if current else rates)[:, :n_trials, :n_units]
        if problem.plasticity is not None and problem.wants_states:
            both = synapses[:n_steps, :2, :n_trials, :n_units]
            states = torch.cat([states, *both.unbind(1)], dim=2)
        found = {
            "outputs": outputs[:, :n_trials, :n_outputs],
            "rates": rates[:, :n_trials, :n_units],
            "states": states,
        }
        hidden = others if form.leaky and not current else rates
        return found, [inputs, first_rate, rates, hidden, selected, synapses]

    def backward(
        self,
        problem: ScanProblem,
        kept: Sequence[Tensor],
        arriving: by_hand.Arriving,
        needs: Callable[[str], bool],
    ) -> dict[str, Tensor]:
        """Return the gradients of the tensors that need one, by name."""
        from neurornn.engine.fused import kernels, layout

        inputs, first_rate, rates, hidden, selected, synapses = kept
        n_steps, rows, width = rates.shape
        n_trials, n_units = len(problem.initial_state), len(problem.bias)
        n_inputs, n_outputs = problem.inputs.shape[2], len(problem.output_bias)
        size, n_slices = layout.slices(rows)
        # Two at least, since each step's gradient is made of the one after it.
        depth = max(2, min(n_steps, CHUNK_ROWS // size))
        few = 0 if arriving["outputs"] is None else layout.padded_channels(n_outputs)

        def arrived(gradient: Tensor | None, *shape: int) -> Tensor:
            return rates.new_zeros(*shape[:-1], 0) if gradient is None else layout.padded(gradient, *shape)

        at_outputs = arrived(arriving["outputs"], n_steps, rows, few)
        at_states, at_synapses = arriving.get("states"), None
        if problem.plasticity is not None and at_states is not None:
            at_states, *both = at_states.split(n_units, dim=2)
            at_synapses = torch.stack(both, 1)
        n_selected = selected.shape[2]
        # Of low rank what comes back goes through the recurrent weight first, then through the selection.
        onto_seen, spread = problem.recurrent_weight, None
        if problem.selection is not None:
            onto_seen, spread = problem.selection, problem.recurrent_weight
        input_panels = layout.projection(problem.input_weight if needs("inputs") else None)
        at_inputs = rates.new_empty(n_steps, rows, layout.width_of(input_panels))
        carried = rates.new_zeros(rows, width)
        synapses_carried = rates.new_zeros(2, rows, width if len(synapses) else 0)
        at_first = rates.new_empty(rows, layout.width_of_panels(n_units))
        chunks = rates.new_empty(n_slices, depth, size, width)
        # The gradients of a slice one below the other: recurrent, input and output weight, bias.
        at_input = 2 * n_selected if n_selected else layout.padded_trials(len(onto_seen))
        at_output = at_input + layout.padded_channels(n_inputs)
        at_bias = at_output + few
        gradients = rates.new_zeros(n_slices, at_bias + 1, width)
        run = kernels.backward_kernel(_form(problem))
        arguments = layout.for_numba(
            inputs,
            first_rate,
            layout.along_units(problem.alpha, n_units),
            rates,
            hidden,
            layout.panels(layout.with_zeros(onto_seen)),
            layout.projection(spread),
            layout.panels(layout.padded(problem.output_weight[:few], few, n_units)),
            selected,
            synapses,
            _constants(problem),
            at_outputs,
            arrived(arriving.get("rates"), n_steps, rows, width),
            arrived(at_states, n_steps, rows, width),
            arrived(at_synapses, n_steps, 2, rows, width),
            (problem.first_step, problem.truncate or 0),
            carried,
            synapses_carried,
            at_first,
            input_panels,
            at_inputs,
            chunks,
            rates.new_empty(n_slices, depth, size, n_selected),
            gradients,
            (at_input, at_output, at_bias),
        )
        threads.share(lambda first, last: run((first, last, size), *arguments), n_slices, engine_threads())

        total = gradients[0]
        for part in gradients[1:]:
            total += part
        found = {
            "input_weight": total[at_input : at_input + n_inputs, :n_units].t(),
            "bias": total[at_bias, :n_units],
        }
        if problem.selection is None:
            found["recurrent_weight"] = total[:n_units, :n_units]
        else:
            rank = len(problem.selection)
            found["recurrent_weight"] = total[:rank, :n_units].t()
            found["selection"] = total[n_selected : n_selected + rank, :n_units]
        if few:
            found["output_weight"] = total[at_output : at_output + n_outputs, :n_units]
            # By NumPy, on one thread: torch's order of summation depends on how many it has. What is infinite
            # is so because training diverged, which the loop will say.
            with np.errstate(over="ignore", invalid="ignore"):
                found["output_bias"] = torch.from_numpy(at_outputs.numpy().sum((0, 1))[:n_outputs])
        if needs("inputs"):
            found["inputs"] = at_inputs[:, :n_trials, :n_inputs]
        if needs("initial_state"):
            if problem.leaves_window(0):
                found["initial_state"] = torch.zeros_like(problem.initial_state)
            else:
                found["initial_state"] = _at_initial_state(
                    problem,
                    at_first[:n_trials, :n_units],
                    carried[:n_trials, :n_units],
                    synapses_carried[:, :n_trials, :n_units],
                )
        return found


def _constants(problem: ScanProblem) -> Tensor:
    """Return what does not change about plastic synapses, (4, unit): the kernel's `Synapses`."""
    from neurornn.engine.fused import layout

    plasticity = problem.plasticity
    if plasticity is None:
        return problem.bias.new_zeros(4, 0)
    constants = (plasticity.usage, plasticity.recovery, plasticity.relaxation, plasticity.seconds)
    return torch.stack([layout.along_units(own, len(problem.bias)) for own in constants])


def _first_synapses(
    plasticity: Plasticity, synapses: Sequence[Tensor], rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x and u of the first step and what they let through, each (trial, unit)."""
    resources, use = plasticity.step(synapses[0], synapses[1], rate)
    return resources, use, use * resources * rate


def _at_initial_state(problem: ScanProblem, at_seen: Tensor, carried: Tensor, at_synapses: Tensor) -> Tensor:
    """Return the gradient of the initial state from those of what the first step was made of.

    That is of what it saw and of the state before it, (trial, unit), and of its x and u, (2, trial, unit).
    """
    state, *synapses = problem.initial_state.split(len(problem.bias), dim=1)
    rate = problem.activation(state) if problem.dynamics == "current" else state
    at_both: Sequence[Tensor] = ()
    at_rate = at_seen
    if problem.plasticity is not None:
        with torch.enable_grad():
            *before, rate = [own.detach().requires_grad_() for own in (*synapses, rate)]
            after = _first_synapses(problem.plasticity, before, rate)
        *at_both, at_rate = torch.autograd.grad(after, [*before, rate], [*at_synapses, at_seen])
    if problem.dynamics == "current":
        at_rate = at_rate * problem.activation.derivative(state)
    return torch.cat([at_rate + carried * (1 - problem.alpha), *at_both], dim=1)


def _form(problem: ScanProblem) -> Form:
    """Return what of a problem is built into its kernels."""
    from neurornn.engine.fused.tiles import Form

    return Form(
        problem.activation.name,
        problem.dynamics,
        problem.has_leak,
        problem.noise is not None,
        problem.plasticity is not None,
    )
