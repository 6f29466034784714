"""More than one set of weights: their running mean, or an ensemble of snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from neurornn.config import TrainingConfig
from neurornn.networks import Network, build_network
from neurornn.vocabulary import InputError


def need_averaging(config: TrainingConfig) -> None:
    """Refuse settings of averaging that do not go together."""
    if config.averaging == "snapshots" and config.schedule != "cyclic":
        raise InputError(
            f"snapshots are taken at the end of each cycle of the learning rate, and the schedule is "
            f"{config.schedule!r}: train with schedule='cyclic' and n_snapshots"
        )
    if config.averaging == "snapshots" and config.n_steps - config.warmup_steps < config.n_snapshots:
        raise InputError(
            f"{config.n_snapshots} snapshots need at least as many steps, got n_steps = {config.n_steps}: "
            "train longer, or with fewer snapshots"
        )


class AveragedWeights:
    """The mean of the weights of all steps since averaging began (stochastic weight averaging).

    Parameters
    ----------
    network : RateRNN, LSTM or GRU

    References
    ----------
    Izmailov, P., Podoprikhin, D., Garipov, T., Vetrov, D. & Wilson, A. G. (2018). Averaging weights leads to
    wider optima and better generalization. UAI 2018. arXiv:1803.05407
    """

    def __init__(self, network: Network) -> None:
        copy = build_network(network.config, device=network.output_bias.device)
        copy.load_state_dict(network.state_dict())
        self._mean = AveragedModel(copy)
        # A mean of Dale's raw weights keeps their signs, as a mean of masked ones keeps the masks.
        self.network: Network = self._mean.module.eval()  # type: ignore[assignment]

    @property
    def n_averaged(self) -> int:
        """How many steps' weights are in the mean."""
        return int(self._mean.n_averaged)

    def update(self, network: Network) -> None:
        """Take the weights of one more step into the mean."""
        self._mean.update_parameters(network)

    def state(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"n_averaged": self.n_averaged, "weights": self.network.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self._mean.n_averaged.fill_(state["n_averaged"])
        self.network.load_state_dict(state["weights"])


class Ensemble:
    """Several networks for one task, whose predictions are averaged.

    Attributes
    ----------
    networks : list of RateRNN, LSTM or GRU
        In eval mode.

    References
    ----------
    Huang, G., Li, Y., Pleiss, G., Liu, Z., Hopcroft, J. E. & Weinberger, K. Q. (2017). Snapshot ensembles:
    train 1, get M for free. ICLR 2017. arXiv:1704.00109

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> pair = Ensemble([RateRNN(1, 4, 2, seed=seed) for seed in (0, 1)], loss="mse")
    >>> pair.predict(torch.zeros(3, 5, 1)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, networks: Sequence[Network], loss: str) -> None:
        if not networks:
            raise InputError("an ensemble needs at least one network, got none")
        self.networks = [network.eval() for network in networks]
        self._loss = loss

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the mean prediction, shape (trial, time, output_channel).

        Parameters
        ----------
        inputs : Tensor, shape (trial, time, input_channel)

        Returns
        -------
        Tensor
            The mean of the outputs; where outputs are logits of classes, the logarithm of the classes' mean
            probability, which is scored like logits.
        """
        outputs = [network(inputs, return_rates=False)[0] for network in self.networks]
        if self._loss != "cross_entropy":
            return torch.stack(outputs).mean(0)
        return torch.stack([own.log_softmax(-1) for own in outputs]).logsumexp(0) - torch.tensor(
            float(len(outputs))
        ).log().to(outputs[0])

    def __len__(self) -> int:
        return len(self.networks)
