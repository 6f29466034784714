"""What an engine is given and what it gives back: one scan of a rate network over time.

Arrays are time-major here, (time, trial, ·), because the scan walks through time; the public face of the
package is batch first. An engine knows arrays, not networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

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
class ScanProblem:
    """One scan: inputs, initial state, weights and the form of the equation.

    Attributes
    ----------
    inputs : Tensor, shape (time, trial, input_channel)
    initial_state : Tensor, shape (trial, unit)
    input_weight : Tensor, shape (unit, input_channel)
    recurrent_weight : Tensor, shape (unit, unit)
        Entry [i, j] is from unit j to unit i.
    bias : Tensor, shape (unit,)
    output_weight : Tensor, shape (output_channel, unit)
    output_bias : Tensor, shape (output_channel,)
    activation : ElementwiseFunction
    dynamics : {"rate", "current", "leak_inside"}
    alpha : float
        Leak dt / tau, 1 for none.
    noise : Tensor or None, shape (time, trial, unit)
        Already scaled; added where the dynamics says. None for none.
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
    alpha: float
    noise: Tensor | None = None


TENSORS = (
    "inputs",
    "initial_state",
    "input_weight",
    "recurrent_weight",
    "bias",
    "output_weight",
    "output_bias",
)
"""What of a problem can carry a gradient, in the order of its attributes."""


class ScanResult(NamedTuple):
    """Outputs, rates and states of a scan, each (time, trial, ·); for ``rate`` dynamics rates are states."""

    outputs: Tensor
    rates: Tensor
    states: Tensor


class Engine(Protocol):
    """One implementation of the scan, forward and backward."""

    name: str

    def reason_to_refuse(self, problem: ScanProblem) -> str | None:
        """Say why this engine cannot serve the problem, or None where it can."""

    def scan(self, problem: ScanProblem) -> ScanResult:
        """Run the network through all of time; the result is differentiable by torch."""
