"""Penalties on the effective weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from neurornn.training.losses import Batch
from neurornn.training.penalties.penalty import Penalty


class _OfWeights(Penalty):
    """Sum of a power of the effective weights of one kind."""

    matrices: ClassVar[str]
    power: ClassVar[int]

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the sum over every layer and direction."""
        if self.matrices == "output":
            weights = [self.network.output_weight]
        else:
            weights = [getattr(layer, f"{self.matrices}_weight") for layer in self.network.layers]
        sums = [own.abs().sum() if self.power == 1 else own.square().sum() for own in weights]
        return torch.stack(sums).sum()


class RecurrentL1(_OfWeights):
    """L1 penalty (lasso) on recurrent weights: the sum of ``|w|``, which makes them sparse.

    Weights are the effective ones, after masks, signs and held values, of all layers; of LSTM and GRU those
    of all gates. The program of Song et al. (2016) takes the mean in place of the sum.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792
    """

    matrices, power = "recurrent", 1


class RecurrentL2(_OfWeights):
    """L2 penalty (ridge, Tikhonov) on recurrent weights: the sum of ``w^2``, without a factor of 1/2.

    Weights are the effective ones, of all layers; of LSTM and GRU those of all gates.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "recurrent", 2


class InputL1(_OfWeights):
    """L1 penalty on input weights: the sum of ``|w|``, of upper layers on what they see of the layer below.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x
    """

    matrices, power = "input", 1


class InputL2(_OfWeights):
    """L2 penalty on input weights: the sum of ``w^2``, of upper layers on what they see of the layer below.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "input", 2


class OutputL1(_OfWeights):
    """L1 penalty on output weights: the sum of ``|w|``.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x
    """

    matrices, power = "output", 1


class OutputL2(_OfWeights):
    """L2 penalty on output weights: the sum of ``w^2``.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "output", 2
