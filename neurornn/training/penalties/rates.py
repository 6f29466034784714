"""Penalties on the rates: their size, their change, their dimensionality."""

from __future__ import annotations

import torch
from torch import Tensor

from neurornn.training.losses import Batch
from neurornn.training.penalties.penalty import Penalty
from neurornn.vocabulary import InputError


class RateL2(Penalty):
    """Metabolic cost: the mean of ``r^2`` over units and the steps that exist, as in Song et al. (2016).

    Rates are those that the readout sees. Being a mean, it does not grow with the number of units.

    References
    ----------
    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792

    Sussillo, D., Churchland, M. M., Kaufman, M. T. & Shenoy, K. V. (2015). A neural network that finds a
    naturalistic solution for the production of muscle activity. Nature Neuroscience 18, 1025-1033.
    doi:10.1038/nn.4042
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean square."""
        return valid_mean(existing(rates, batch.valid).square(), batch.valid)


class RateL1(Penalty):
    """Metabolic cost: the mean of ``|r|`` over units and the steps that exist; it makes activity sparse.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean absolute rate."""
        return valid_mean(existing(rates, batch.valid).abs(), batch.valid)


class RateSmoothness(Penalty):
    """Temporal activation regularisation: the mean of ``(r_{t+1} - r_t)^2`` over units and pairs of steps.

    Both steps of a pair exist. The difference is that of one step, not per ms: with half the dt it is about a
    quarter.

    References
    ----------
    Merity, S., McCann, B. & Socher, R. (2017). Revisiting activation regularization for language RNNs.
    doi:10.48550/arXiv.1708.01009
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean squared difference, 0 for trials of one step."""
        valid = batch.valid
        pairs = None if valid is None else valid[:, 1:] & valid[:, :-1]
        return valid_mean(existing(rates, valid).diff(dim=1).square(), pairs)


class Dimensionality(Penalty):
    """Participation ratio of the rates, ``(sum lambda)^2 / sum lambda^2``: from 1 to the number of units.

    The lambda are the eigenvalues of the covariance between units, over all trials and steps that exist; they
    are not computed, since their sum is the trace of the covariance and that of their squares its squared
    Frobenius norm. Where nothing varies it is 0.

    References
    ----------
    Gao, P. et al. (2017). A theory of multineuronal dimensionality, dynamics and measurement. bioRxiv.
    doi:10.1101/214262
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the participation ratio; the number of samples that a covariance is divided by cancels."""
        rates = existing(rates, batch.valid)
        samples = rates.flatten(0, 1) if batch.valid is None else rates[batch.valid]
        centred = samples - samples.mean(0)
        spread = centred.t() @ centred / max(len(samples), 1)
        return spread.trace() ** 2 / spread.square().sum().clamp_min(torch.finfo(spread.dtype).tiny)


def existing(rates: Tensor | None, valid: Tensor | None) -> Tensor:
    """Return the rates, 0 beyond a trial's end, where they may be no numbers."""
    if rates is None:
        raise InputError("these penalties need the rates: run the network with return_rates=True")
    return rates if valid is None else torch.where(valid[..., None], rates, 0)


def valid_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of (trial, time, unit) over units and valid steps, 0 where there are none."""
    if valid is None:
        return values.sum() / max(values.numel(), 1)
    n = valid.sum() * values.shape[-1]
    return torch.where(valid[..., None], values, 0).sum() / n.clamp_min(1)
