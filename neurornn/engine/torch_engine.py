"""The torch engine: the two passes of backpropagation through time in torch's own operations.

Autograd records and replays several operations per step; here each step costs one matrix product (two of low
rank) and three elementwise operations each way, and the gradient of each weight is a single product over time
and trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from neurornn.engine import by_hand
from neurornn.engine.problem import ElementwiseFunction, ScanProblem, ScanResult
from neurornn.numerics.threads import engine_threads, intra_op_threads

_SMALL_STEP = 2**19
"""Products of a time step, recurrent weights * trials, up to which a second thread gains little."""

SERVED = ("selection", "kept_share")
"""Optional parts of a problem that there are gradients by hand of."""


class TorchEngine:
    """The scan with gradients derived by hand; any dtype, device and activation."""

    name = "torch"

    def reason_to_refuse(self, problem: ScanProblem) -> str | None:
        """Refuse what only autograd can follow, rather than give a gradient that lacks something."""
        if (part := problem.first_part_but(SERVED)) is not None:
            return f"it has no gradient by hand of {part}"
        if _has_parameters(problem.activation, problem.bias):
            return "the activation has trainable parameters of its own"
        return by_hand.reason_to_refuse()

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time."""
        return by_hand.scan_by_hand(self, problem)

    def forward(self, problem: ScanProblem, keep: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the results by name, and what the backward pass wants."""
        with intra_op_threads(_threads(problem)):
            return _forward(problem)

    def backward(
        self,
        problem: ScanProblem,
        kept: Sequence[Tensor],
        arriving: by_hand.Arriving,
        needs: Callable[[str], bool],
    ) -> dict[str, Tensor]:
        """Return the gradients of the tensors that need one, by name."""
        with intra_op_threads(_threads(problem)):
            return _backward(problem, kept, arriving, needs)


def _threads(problem: ScanProblem) -> int:
    """Return how many threads an operation may use.

    For 64 units and 64 trials a second thread shortens a step by an eighth on a quiet machine, and makes it
    eight times as long on a busy one, where the threads wait for each other after each of a thousand
    operations: in training, where all else has one thread, small networks have one too.
    """
    small = problem.recurrent_weight.numel() * len(problem.initial_state) <= _SMALL_STEP
    return torch.get_num_threads() if small else engine_threads()


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
    if activation.name in _BACK_FROM_VALUE:
        return False
    with torch.enable_grad():
        return activation(like.new_zeros(1)).requires_grad


_aten = torch.ops.aten
_BACK_FROM_VALUE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tanh": lambda gradient, value, out: _aten.tanh_backward.grad_input(gradient, value, grad_input=out),
    "sigmoid": lambda gradient, value, out: _aten.sigmoid_backward.grad_input(
        gradient, value, grad_input=out
    ),
    "relu": lambda gradient, value, out: _aten.threshold_backward.grad_input(
        gradient, value, 0, grad_input=out
    ),
    # 1 - exp(-f), but exactly 1 where torch's softplus is linear.
    "softplus": lambda gradient, value, out: torch.mul(
        gradient, value.neg().expm1_().neg_().masked_fill_(value > 20, 1), out=out
    ),
}
"""Write f'(u) times a gradient, told f(u), of activations for which u itself need not be kept.

What is written to may be the gradient itself.
"""


def _times(gradient: Tensor, slope: Tensor, out: Tensor) -> Tensor:
    return torch.mul(gradient, slope, out=out)


def _told_by_value(problem: ScanProblem) -> bool:
    """Say whether f(u) alone is kept, and u not."""
    # Where the leak stands around u, the leak's own gradient is made of it.
    leak_needs_it = problem.dynamics != "rate" and isinstance(problem.alpha, Tensor)
    return problem.activation.name in _BACK_FROM_VALUE and not leak_needs_it


def _seen(problem: ScanProblem, rates: Tensor) -> Tensor:
    """Return what the recurrent weight and the readout see of rates (..., trial, unit)."""
    return rates if problem.kept_share is None else rates * problem.kept_share


def _selected(problem: ScanProblem, seen: Tensor) -> Tensor:
    """Return what the recurrent weight is applied to: of low rank (..., rank) instead of (..., unit)."""
    return seen if problem.selection is None else seen @ problem.selection.t()


def _add_recurrent(problem: ScanProblem, gradient: Tensor, onward: Tensor) -> None:
    """Add to the gradient of rates what comes back from the drive one step later; both (trial, unit)."""
    weight = problem.recurrent_weight
    if problem.selection is not None:
        onward, weight = onward @ weight, problem.selection
    if problem.kept_share is None:
        gradient.addmm_(onward, weight)
    else:
        gradient.addcmul_(onward @ weight, problem.kept_share)


def _forward(problem: ScanProblem) -> tuple[dict[str, Tensor], list[Tensor]]:
    f, alpha, dynamics, leak = problem.activation, problem.alpha, problem.dynamics, problem.has_leak
    state, known = problem.initial_state, _told_by_value(problem)
    drive = linear(problem.inputs, problem.input_weight, problem.bias)
    noise = problem.materialised_noise()
    if noise is not None and dynamics != "current":
        drive, noise = drive.add_(noise), None
    # The drive's memory is used again for what it turns into, where nothing needs the drive any more.
    if dynamics == "current":
        states, rates = drive, torch.empty_like(drive)
    else:
        states = drive if known and (not leak or dynamics == "leak_inside") else torch.empty_like(drive)
        rates = states
    recurrent = problem.recurrent_weight.t()
    last = f(state) if dynamics == "current" else state
    for t, (driven, now, rate) in enumerate(
        zip(drive.unbind(), states.unbind(), rates.unbind(), strict=True)
    ):
        driven.addmm_(_selected(problem, _seen(problem, last)), recurrent)
        if dynamics == "rate" and not leak:
            _apply(f, driven, out=now)
        elif dynamics == "rate":
            value = driven if known else torch.empty_like(driven)
            _apply(f, driven, out=value)
            torch.lerp(state, value, alpha, out=now)
        else:
            if leak:
                torch.lerp(state, driven, alpha, out=driven)
            if noise is not None:
                driven += noise[t]
            _apply(f, driven, out=rate)
        state, last = now, rate
    outputs = linear(_seen(problem, rates), problem.output_weight, problem.output_bias)
    # From what the slope of f is told later: its value, or what it was applied to.
    hidden = drive if not known or (dynamics == "rate" and leak) else rates
    return {"outputs": outputs, "rates": rates, "states": states}, [rates, hidden]


def _backward(
    problem: ScanProblem,
    kept: Sequence[Tensor],
    arriving: by_hand.Arriving,
    needs: Callable[[str], bool],
) -> dict[str, Tensor]:
    rates, hidden = kept
    f, alpha, dynamics, leak = problem.activation, problem.alpha, problem.dynamics, problem.has_leak
    first = problem.initial_state
    at_outputs, at_rates, at_states = (arriving.get(name) for name in ("outputs", "rates", "states"))
    n_trials, n_units = first.shape
    # What takes a gradient back through f, and what it is told: f(u), or the slope itself.
    if _told_by_value(problem):
        through, told = _BACK_FROM_VALUE[f.name], hidden
    else:
        through, told = _times, f.derivative(hidden)
    pull = _leak_pull(problem, rates, hidden) if needs("alpha") else None
    at_alpha = rates.new_zeros(n_units)

    # What arrives at the rates of a step turns into that step's K where it is.
    if at_outputs is None:
        drives = torch.zeros_like(rates)
    else:
        drives = _seen(problem, torch.matmul(at_outputs, problem.output_weight))
    if at_rates is not None:
        drives += at_rates
    carried = torch.zeros_like(first)
    onward: Tensor | None = None
    for t, gradient in reversed(list(enumerate(drives.unbind()))):
        if onward is not None:
            _add_recurrent(problem, gradient, onward)
        if dynamics == "current":
            through(gradient, told[t], gradient)
            if at_states is not None:
                gradient += at_states[t]
        if leak and dynamics == "leak_inside":
            through(gradient.add_(carried.mul_(1 - alpha)), told[t], carried)
        elif leak:
            carried.mul_(1 - alpha).add_(gradient)
        if pull is not None:
            at_alpha += (carried * pull[t]).sum(0)
        if dynamics == "rate":
            through(carried if leak else gradient, told[t], gradient)
            if leak:
                gradient.mul_(alpha)
        elif leak:
            torch.mul(carried, alpha, out=gradient)
        elif dynamics == "leak_inside":
            through(gradient, told[t], gradient)
        onward = gradient
        if problem.leaves_window(t):
            onward = None
            carried.zero_()

    flat = drives.flatten(0, 1)
    found: dict[str, Tensor] = {}
    if needs("inputs"):
        found["inputs"] = torch.matmul(drives, problem.input_weight)
    if needs("initial_state"):
        back = torch.zeros_like(first)
        if onward is not None:
            _add_recurrent(problem, back, onward)
        back = back * f.derivative(first) if dynamics == "current" else back
        found["initial_state"] = back.add_(carried.mul_(1 - alpha))
    if needs("input_weight"):
        found["input_weight"] = flat.t() @ problem.inputs.flatten(0, 1)
    seen = _seen(problem, rates).flatten(0, 1)
    first_seen = _seen(problem, f(first) if dynamics == "current" else first)
    if needs("recurrent_weight"):
        found["recurrent_weight"] = _summed(
            flat, _selected(problem, first_seen), _selected(problem, seen[:-n_trials])
        )
    if problem.selection is not None and needs("selection"):
        found["selection"] = _summed(flat @ problem.recurrent_weight, first_seen, seen[:-n_trials])
    if needs("bias"):
        found["bias"] = flat.sum(0)
    if isinstance(alpha, Tensor) and needs("alpha"):
        found["alpha"] = at_alpha.sum_to_size(alpha.shape)
    if at_outputs is not None:
        pulled = at_outputs.flatten(0, 1)
        if needs("output_weight"):
            found["output_weight"] = pulled.t() @ seen
        if needs("output_bias"):
            found["output_bias"] = pulled.sum(0)
    return found


def _summed(left: Tensor, first: Tensor, later: Tensor) -> Tensor:
    """Return left' @ right over all steps and trials; of the right one the first step lies apart."""
    n_trials = len(first)
    return (left[n_trials:].t() @ later).addmm_(left[:n_trials].t(), first)


def _leak_pull(problem: ScanProblem, rates: Tensor, hidden: Tensor) -> Tensor:
    """Return how the state moves as the leak grows, (time, trial, unit): its move in a step over alpha."""
    moved = rates if problem.dynamics == "rate" else hidden
    states = hidden if problem.dynamics == "current" else rates
    noise = problem.materialised_noise() if problem.dynamics == "current" else None
    moved = moved if noise is None else moved - noise
    return (moved - torch.cat([problem.initial_state[None], states[:-1]])) / problem.alpha
