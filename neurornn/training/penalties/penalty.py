"""What a penalty is: one term beside the loss, with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from neurornn.networks import Network
from neurornn.training.losses import Batch


class Penalty:
    """One term beside the loss, as yet without its coefficient.

    Parameters
    ----------
    network : Network
        As it is when training begins.
    """

    needs_rates: ClassVar[bool] = False

    def __init__(self, network: Network) -> None:
        self.network = network

    @classmethod
    def reason_to_refuse(cls, network: Network) -> str | None:
        """Say which network the penalty needs that this one is not, or None where it serves."""
        return None

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the term, shape (), differentiable."""
        raise NotImplementedError

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Take over what the term needs to know of a finished stage."""

    def state(self) -> dict[str, Any]:
        """Return what has to be kept for a training to go on."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
