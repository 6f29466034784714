"""What an engine is given and what it gives back: one scan of a rate network over time.

Arrays are time-major here, (time, trial, ·), because the scan walks through time; the public face of the
package is batch first. An engine knows arrays, not networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from neurornn.engine.noise import Noise
from neurornn.vocabulary import InputError

Dynamics = Literal["rate", "current", "leak_inside"]
DYNAMICS = ("rate", "current", "leak_inside")


class ElementwiseFunction(Protocol):
    """The nonlinearity f and its derivative, each acting on every entry by itself."""

    @property
    def name(self) -> str:
        """Its registered name, empty where there is none."""

    def __call__(self, preactivation: Tensor, /) -> Tensor:
        """Return f(u)."""

    @property
    def derivative(self) -> Callable[[Tensor], Tensor]:
        """The function f'."""


@dataclass(frozen=True)
class Plasticity:
    """Short-term plasticity of every unit's outgoing synapses: one step, from the unit's rate r in Hz.

    With x the resources that are available and u the share of them that a spike uses, both in [0, 1]::

        x_t = clip(x_{t-1} + recovery (1 - x_{t-1}) - seconds u_{t-1} x_{t-1} r_{t-1})
        u_t = clip(u_{t-1} + relaxation (U - u_{t-1}) + seconds U (1 - u_{t-1}) r_{t-1})

    and what other units receive at step t is ``u_t x_t r_{t-1}``.

    Attributes
    ----------
    usage : Tensor, shape (unit,)
        U, what u comes back to.
    recovery, relaxation : Tensor, shape (unit,)
        The step over the time constants of x and of u.
    seconds : float
        The step in seconds.
    """

    usage: Tensor
    recovery: Tensor
    relaxation: Tensor
    seconds: float

    def step(self, resources: Tensor, use: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and u one step later, each of the shape (..., unit) that they have."""
        spent = self.seconds * rate
        later_resources = resources + self.recovery * (1 - resources) - use * resources * spent
        later_use = use + self.relaxation * (self.usage - use) + self.usage * (1 - use) * spent
        return later_resources.clamp(0, 1), later_use.clamp(0, 1)


@dataclass(frozen=True)
class Feedback:
    """What the readout put out a step before, fed back to the units; or the truth in its place.

    Attributes
    ----------
    teacher : Tensor, shape (time, trial, output_channel)
        What is fed back at a step where the trial is forced.
    forced : Tensor of bool, shape (time, trial)
    """

    teacher: Tensor
    forced: Tensor


@dataclass(frozen=True)
class ScanProblem:
    """One scan: inputs, initial state, weights and the form of the equation.

    Attributes
    ----------
    inputs : Tensor, shape (time, trial, input_channel)
    initial_state : Tensor, shape (trial, unit)
        With plasticity (trial, 3 unit): the state of the equation, x and u.
    input_weight : Tensor, shape (unit, input_channel)
    recurrent_weight : Tensor, shape (unit, unit)
        Entry [i, j] is from unit j to unit i. With a selection (unit, rank).
    bias : Tensor, shape (unit,)
    output_weight : Tensor, shape (output_channel, unit)
    output_bias : Tensor, shape (output_channel,)
    activation : ElementwiseFunction
    dynamics : {"rate", "current", "leak_inside"}
    alpha : float or Tensor, shape () or (unit,)
        Leak dt / tau, 1 for none.
    noise : Noise or None
        Added where the dynamics says.
    selection : Tensor, shape (rank, unit), or None
        Low rank: what of the rates the recurrent weight is applied to, W = recurrent_weight @ selection.
    plasticity : Plasticity or None
        Of the synapses that the recurrent weight stands for.
    norm_gain : Tensor, shape (unit,), or None
        Layer normalisation of the weighted sum over units, times this gain, before bias and noise.
    kept_share : Tensor, shape (trial, unit), or None
        Dropout: what the recurrent weight and the readout see of each rate, as a factor.
    feedback_weight : Tensor, shape (unit, output_channel), or None
    feedback : Feedback or None
        There where the weight is.
    first_step : int
        Number of the first step, from which noise and windows are counted.
    truncate : int or None
        Length of the windows, counted from step 0, that no gradient leaves towards the past.
    checkpoint_every : int or None
        Length of the segments of which only the first state is kept; each is run again for its gradient.
    wants_rates, wants_states : bool
        Whether rates and states are asked for, or the outputs alone.
    """

    inputs: Tensor
    initial_state: Tensor
    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    activation: ElementwiseFunction
    dynamics: Dynamics
    alpha: float | Tensor
    noise: Noise | None = None
    selection: Tensor | None = None
    plasticity: Plasticity | None = None
    norm_gain: Tensor | None = None
    kept_share: Tensor | None = None
    feedback_weight: Tensor | None = None
    feedback: Feedback | None = None
    first_step: int = 0
    truncate: int | None = None
    checkpoint_every: int | None = None
    wants_rates: bool = True
    wants_states: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit: compiled code would read past the end of an array.

        Raises
        ------
        InputError
            The sentence names the array.
        """
        if self.inputs.ndim != 3:
            raise InputError(f"`inputs` must be (time, trial, input_channel), got {tuple(self.inputs.shape)}")
        n_steps, n_trials, n_inputs = self.inputs.shape
        n_units, n_outputs = self.bias.numel(), self.output_bias.numel()
        rank = n_units if self.selection is None else len(self.selection)
        shapes: dict[str, tuple[int, ...]] = {
            "initial_state": (n_trials, n_units if self.plasticity is None else 3 * n_units),
            "input_weight": (n_units, n_inputs),
            "recurrent_weight": (n_units, rank),
            "bias": (n_units,),
            "output_weight": (n_outputs, n_units),
            "output_bias": (n_outputs,),
            "selection": (rank, n_units),
            "norm_gain": (n_units,),
            "kept_share": (n_trials, n_units),
            "feedback_weight": (n_units, n_outputs),
        }
        given = {name: (getattr(self, name), shape) for name, shape in shapes.items()}
        if self.feedback is not None:
            given["teacher"] = self.feedback.teacher, (n_steps, n_trials, n_outputs)
        if self.plasticity is not None:
            for name in ("usage", "recovery", "relaxation"):
                given[name] = getattr(self.plasticity, name), (n_units,)
        for name, (tensor, shape) in given.items():
            if tensor is None:
                continue
            if tensor.shape != shape:
                raise InputError(f"`{name}` must have shape {shape}, got {tuple(tensor.shape)}")
            if tensor.dtype != self.inputs.dtype or tensor.device != self.inputs.device:
                raise InputError(
                    f"`{name}` must be {self.inputs.dtype} on {self.inputs.device} like `inputs`, got "
                    f"{tensor.dtype} on {tensor.device}"
                )
        _need_leak(self.alpha, n_units)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What can carry a gradient, by name."""
        every = {name: getattr(self, name) for name in TENSORS}
        return {name: value for name, value in every.items() if isinstance(value, Tensor)}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> ScanProblem:
        """Return the same problem with other tensors."""
        changes: dict[str, Any] = dict(tensors)
        return dataclasses.replace(self, **changes)

    @property
    def has_leak(self) -> bool:
        """Whether anything of the state before stays in the next one."""
        return isinstance(self.alpha, Tensor) or self.alpha != 1

    @property
    def states_are_rates(self) -> bool:
        """Whether the state before and after a step is nothing but the rates."""
        return self.dynamics != "current" and self.plasticity is None

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the distinct arrays that are asked for: states may be the rates."""
        same = self.states_are_rates
        rates = self.wants_rates or (self.wants_states and same)
        return ("outputs", *["rates"] * rates, *["states"] * (self.wants_states and not same))

    def first_part_but(self, served: Collection[str]) -> str | None:
        """Return in words the first of the optional parts that is there and not served, None without one."""
        there = (name for name in PARTS if getattr(self, name) is not None)
        return next((PARTS[name] for name in there if name not in served), None)

    def materialised_noise(self) -> Tensor | None:
        """Return the noise of (time, trial, unit), or None where there is none."""
        if self.noise is None:
            return None
        n_steps, n_trials, _ = self.inputs.shape
        return self.noise.materialise((n_steps, n_trials, len(self.bias)), self.first_step, self.bias)

    def segment(self, first: int, stop: int, state: Tensor) -> ScanProblem:
        """Return the part of the scan from step ``first`` to before ``stop``, which begins in a state."""
        feedback = self.feedback
        if feedback is not None:
            feedback = Feedback(feedback.teacher[first:stop], feedback.forced[first:stop])
        return dataclasses.replace(
            self,
            inputs=self.inputs[first:stop],
            initial_state=state,
            feedback=feedback,
            first_step=self.first_step + first,
        )

    def leaves_window(self, t: int) -> bool:
        """Say whether the state before step ``t`` of this scan lies in an earlier window."""
        step = self.first_step + t
        return self.truncate is not None and step > 0 and step % self.truncate == 0


def _need_leak(alpha: float | Tensor, n_units: int) -> None:
    """Refuse a leak of another shape than the units', or outside (0, 1]."""
    wrong: float | None = None
    if not isinstance(alpha, Tensor):
        wrong = None if 0 < alpha <= 1 else alpha
    elif alpha.shape not in ((), (n_units,)):
        raise InputError(f"`alpha` must be one number or have shape {(n_units,)}, got {tuple(alpha.shape)}")
    elif not (alpha.is_meta or torch._C._are_functorch_transforms_active()):
        outside = alpha.detach().flatten()
        outside = outside[~((outside > 0) & (outside <= 1))]
        wrong = float(outside[0]) if len(outside) else None
    if wrong is not None:
        raise InputError(f"`alpha` must be above 0 and at most 1, got {wrong}")


TENSORS = (
    "inputs",
    "initial_state",
    "input_weight",
    "recurrent_weight",
    "bias",
    "output_weight",
    "output_bias",
    "alpha",
    "selection",
    "norm_gain",
    "feedback_weight",
)
"""What of a problem can carry a gradient, in the order of its attributes."""


PARTS = {
    "selection": "low rank",
    "plasticity": "short-term plasticity",
    "norm_gain": "layer normalisation",
    "kept_share": "dropout of rates",
    "feedback_weight": "outputs fed back",
}
"""What a problem may have or not, and not every engine serves, by the attribute that is None without it."""


class ScanResult(NamedTuple):
    """Outputs, rates and states of a scan, each (time, trial, ·).

    States are the rates unless dynamics are current or synapses plastic. Both are None where the problem
    does not want them.
    """

    outputs: Tensor
    rates: Tensor | None = None
    states: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> ScanResult:
        """Return the result with each array that is there changed."""
        return ScanResult(*(None if array is None else change(array) for array in self))  # type: ignore[arg-type]

    @classmethod
    def of(cls, problem: ScanProblem, arrays: Iterable[Tensor]) -> ScanResult:
        """Return the result whose distinct arrays are these, in the order of `ScanProblem.results`."""
        found = dict(zip(problem.results, arrays, strict=True))
        states = found.get("rates" if problem.states_are_rates else "states")
        return cls(found["outputs"], found.get("rates"), states)


class Engine(Protocol):
    """One implementation of the scan, forward and backward."""

    name: str

    def reason_to_refuse(self, problem: ScanProblem) -> str | None:
        """Say why this engine cannot serve the problem, or None where it can."""

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time; the result is differentiable by torch."""


def need_finite(tensor: Tensor, name: str) -> None:
    """Refuse NaN and infinity, which would spread through all of the network.

    Raises
    ------
    InputError
        The sentence names the first place.
    """
    if tensor.is_meta or torch._C._are_functorch_transforms_active():
        return
    # A sum is quick and finite for all but huge numbers; only where it is not are the entries looked at.
    if torch.isfinite(tensor.detach().sum()):
        return
    places = torch.nonzero(~torch.isfinite(tensor.detach()))
    if len(places):
        place = tuple(places[0].tolist())
        raise InputError(
            f"`{name}` must hold finite numbers, got {tensor[place].item()} at {list(place)}: "
            "clean the data first"
        )
