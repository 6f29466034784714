"""Penalties that hold weights near to what they were: at the beginning, or after an earlier stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurornn.networks import Network
from neurornn.training.losses import Batch
from neurornn.training.penalties.penalty import Penalty
from neurornn.vocabulary import InputError


class _Anchored(Penalty):
    """A pull of every parameter to where it was; nothing while there is no anchor."""

    factor: ClassVar[float] = 1.0

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.anchor: dict[str, Tensor] = {}
        self.importance: dict[str, Tensor] = {}

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the weighed sum of the squared distances."""
        if not self.anchor:
            return outputs.new_zeros(())
        sums = []
        for name, parameter in self.network.named_parameters():
            distance = (parameter - self.anchor[name]).square()
            sums.append((distance * self.importance[name] if self.importance else distance).sum())
        return self.factor * torch.stack(sums).sum()

    def take_anchor(self) -> None:
        self.anchor = {name: own.detach().clone() for name, own in self.network.named_parameters()}

    def state(self) -> dict[str, Any]:
        """Return the anchor, and the importance where there is one."""
        return {"anchor": dict(self.anchor), "importance": dict(self.importance)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, beside the network."""
        parameters = dict(self.network.named_parameters())
        for part in ("anchor", "importance"):
            kept = {name: values.to(parameters[name]) for name, values in state[part].items()}
            setattr(self, part, kept)


class InitialWeightsL2(_Anchored):
    """L2 distance from where training began: the sum of ``(p - p_0)^2`` over all parameters (L2-SP).

    Parameters are the raw ones that the optimiser changes; those that are not trained add nothing, since they
    stay. It keeps a network in the lazy regime, or near the weights that it was given.

    References
    ----------
    Li, X., Grandvalet, Y. & Davoine, F. (2018). Explicit inductive bias for transfer learning with
    convolutional networks. ICML 80, 2825-2834. doi:10.48550/arXiv.1802.01483
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.take_anchor()


class L2Anchor(_Anchored):
    """Continual learning: ``1/2 sum (p - p*)^2`` to the parameters p* at the end of the stage before.

    Until a first stage has ended it is 0. It is what elastic weight consolidation is compared with: the same
    pull on all parameters.

    References
    ----------
    Kirkpatrick, J. et al. (2017). Overcoming catastrophic forgetting in neural networks. Proceedings of the
    National Academy of Sciences 114, 3521-3526. doi:10.1073/pnas.1611835114
    """

    factor = 0.5

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Let the present parameters be those that are pulled to; no trial is looked at."""
        self.take_anchor()


class ElasticWeightConsolidation(_Anchored):
    """Continual learning: ``1/2 sum F (p - p*)^2``, F the importance of each parameter for earlier stages.

    F is the diagonal of the empirical Fisher information at the end of a stage: the mean over trials of the
    squared gradient of a trial's own loss, for all parameters, be they trained in that stage or not. Where
    that loss is the mean over the steps that are asked for, so is the likelihood that F belongs to. The
    gradients are those of the loss alone, without noise and penalties.

    The pulls of several stages are kept as one, which is exact but for a constant: importances add up, and
    the anchor is the mean of the stages' parameters, weighed by their importances.

    References
    ----------
    Kirkpatrick, J. et al. (2017). Overcoming catastrophic forgetting in neural networks. Proceedings of the
    National Academy of Sciences 114, 3521-3526. doi:10.1073/pnas.1611835114
    """

    factor = 0.5

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Measure the importances on trials of the finished stage, one pass for each trial.

        Raises
        ------
        InputError
            Where there is no trial.
        """
        fisher = self._fisher(batches)
        before, weighed = self.anchor, self.importance
        self.take_anchor()
        if before:
            for name, own in fisher.items():
                total = own + weighed[name]
                # Where no stage needs a parameter the anchor holds nothing, and is the last one.
                share = own / torch.where(total > 0, total, 1)
                share = torch.where(total > 0, share, 1)
                self.anchor[name] = torch.lerp(before[name], self.anchor[name], share)
                fisher[name] = total
        self.importance = fisher

    def _fisher(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        network, was_training = self.network, self.network.training
        parameters = dict(network.named_parameters())
        were_trained = {name: own.requires_grad for name, own in parameters.items()}
        sums = {name: torch.zeros_like(own) for name, own in parameters.items()}
        n_trials = 0
        try:
            network.eval().requires_grad_(True)
            for batch in batches:
                for trial in batch.each_trial():
                    # cuDNN gives no gradient in eval mode.
                    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                        loss = trial.loss(network(trial.inputs, return_rates=False)[0])
                        pulls = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                    for total, pull in zip(sums.values(), pulls, strict=True):
                        if pull is not None:
                            total += pull.square()
                    n_trials += 1
        finally:
            network.train(was_training)
            for name, own in parameters.items():
                own.requires_grad_(were_trained[name])
        if not n_trials:
            raise InputError(
                "elastic weight consolidation needs trials of the finished stage, got none: give at least "
                "one batch"
            )
        return {name: own / n_trials for name, own in sums.items()}
