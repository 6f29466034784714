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
from neurornn.engine.problem import ScanProblem, ScanResult
from neurornn.numerics import threads
from neurornn.numerics.threads import engine_threads

if TYPE_CHECKING:
    from neurornn.engine.fused.tiles import Form

ACTIVATIONS = ("tanh", "relu", "softplus", "sigmoid")
DYNAMICS = ("rate", "current")
UNSERVED = {
    "selection": "low rank",
    "plasticity": "short-term plasticity",
    "norm_gain": "layer normalisation",
    "kept_share": "dropout of rates",
    "feedback_weight": "fed-back outputs",
}
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
        for name, extra in UNSERVED.items():
            if getattr(problem, name) is not None:
                return f"its kernel has no {extra}"
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
        first_state = layout.padded(problem.initial_state, rows, width)
        first_rate = first_state
        if current:
            first_rate = layout.padded(problem.activation(problem.initial_state), rows, width)
        # Where nobody looks at them again, two steps of rates, used in turn, and one of the others suffice.
        rates = first_rate.new_empty(n_steps if keep or "rates" in problem.results else 2, rows, width)
        others_stay = problem.wants_states if current else keep and form.leaky
        others = first_rate.new_empty(n_steps if others_stay else 1, rows, width)
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
            layout.panels(weights),
            layout.along_units(problem.alpha, n_units),
            layout.along_units(0.0 if noise is None else noise.scale, n_units),
            key,
            first_rate.new_empty((rows, width) if form.noisy else (0, 0)),
            readout,
            rates,
            others,
            outputs,
        )
        size, n_slices = layout.slices(rows)
        threads.share(lambda first, last: run((first, last, size), *arguments), n_slices, engine_threads())
        if keep and rows > n_trials:
            # No gradient comes to the filling, but nothing times a rate beyond all bounds would be NaN.
            rates[:, n_trials:] = 0
            others[:, n_trials:] = 0
        states = others if current else rates
        found = {
            "outputs": outputs[:, :n_trials, :n_outputs],
            "rates": rates[:, :n_trials, :n_units],
            "states": states[:, :n_trials, :n_units],
        }
        return found, [inputs, first_rate, rates, others if form.leaky and not current else rates]

    def backward(
        self,
        problem: ScanProblem,
        kept: Sequence[Tensor],
        arriving: by_hand.Arriving,
        needs: Callable[[str], bool],
    ) -> dict[str, Tensor]:
        """Return the gradients of the tensors that need one, by name."""
        from neurornn.engine.fused import kernels, layout

        inputs, first_rate, rates, hidden = kept
        n_steps, rows, width = rates.shape
        n_trials, n_units = problem.initial_state.shape
        n_inputs, n_outputs = problem.inputs.shape[2], len(problem.output_bias)
        size, n_slices = layout.slices(rows)
        # Two at least, since each step's gradient is made of the one after it.
        depth = max(2, min(n_steps, CHUNK_ROWS // size))
        few = 0 if arriving["outputs"] is None else layout.padded_channels(n_outputs)

        def arrived(name: str, columns: int) -> Tensor:
            gradient = arriving.get(name)
            if gradient is None:
                return rates.new_zeros((n_steps, rows, 0))
            return layout.padded(gradient, n_steps, rows, columns)

        at_outputs = arrived("outputs", few)
        into_inputs = problem.input_weight if needs("inputs") else rates.new_zeros(n_units, 0)
        input_panels = layout.few_columns(layout.padded(into_inputs, n_units + 1, into_inputs.shape[1]))
        at_inputs = rates.new_empty(n_steps, rows, layout.width_of(input_panels))
        carried = rates.new_zeros(rows, width)
        at_first = rates.new_empty(rows, layout.width_of_panels(n_units))
        chunks = rates.new_empty(n_slices, depth, size, width)
        # The gradients of a slice one below the other: recurrent, input and output weight, bias.
        at_input = layout.padded_trials(n_units)
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
            layout.panels(layout.padded(problem.recurrent_weight, n_units + 1, n_units)),
            layout.panels(layout.padded(problem.output_weight[:few], few, n_units)),
            at_outputs,
            arrived("rates", width),
            arrived("states", width),
            (problem.first_step, problem.truncate or 0),
            carried,
            at_first,
            input_panels,
            at_inputs,
            chunks,
            gradients,
            (at_input, at_output, at_bias),
        )
        threads.share(lambda first, last: run((first, last, size), *arguments), n_slices, engine_threads())

        total = gradients[0]
        for part in gradients[1:]:
            total += part
        found = {
            "recurrent_weight": total[:n_units, :n_units],
            "input_weight": total[at_input : at_input + n_inputs, :n_units].t(),
            "bias": total[at_bias, :n_units],
        }
        if few:
            found["output_weight"] = total[at_output : at_output + n_outputs, :n_units]
            # By NumPy, on one thread: torch's order of summation depends on how many it has. What is infinite
            # is so because training diverged, which the loop will say.
            with np.errstate(over="ignore", invalid="ignore"):
                found["output_bias"] = torch.from_numpy(at_outputs.numpy().sum((0, 1))[:n_outputs])
        if needs("inputs"):
            found["inputs"] = at_inputs[:, :n_trials, :n_inputs]
        if needs("initial_state"):
            through = at_first[:n_trials, :n_units]
            if problem.dynamics == "current":
                through = through * problem.activation.derivative(problem.initial_state)
            through = through + carried[:n_trials, :n_units] * (1 - problem.alpha)
            found["initial_state"] = torch.zeros_like(through) if problem.leaves_window(0) else through
        return found


def _form(problem: ScanProblem) -> Form:
    """Return what of a problem is built into its kernels."""
    from neurornn.engine.fused.tiles import Form

    return Form(problem.activation.name, problem.dynamics, problem.has_leak, problem.noise is not None)
