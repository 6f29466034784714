"""What a network does beside its loss and score, measured on the held-out trials of an evaluation."""

from __future__ import annotations

from torch import Tensor

from neurornn.networks import Network
from neurornn.training.losses import Batch


class Diagnostics:
    """Measures of a network in training.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def measure(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> dict[str, float]:
        """Return the measures by the names of their columns."""
        return {}
