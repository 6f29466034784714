"""The max-norm constraint on incoming recurrent weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurornn.networks import Network
from neurornn.networks.connectivity import Connection, LowRank
from neurornn.vocabulary import InputError, need_positive


@torch.no_grad()
def apply_max_norm(network: Network, limit: float) -> None:
    """Shrink each unit's incoming recurrent weights to at most a length, after a step of the optimiser.

    What is rescaled are rows of the effective weights, each as a whole, so that signs, masks and ranks stay;
    of LSTM and GRU each gate of a unit has a row. Held weights count but do not change.

    Parameters
    ----------
    network : Network
        Changed in place, all of its layers.
    limit : float
        The largest Euclidean norm of a row; infinity leaves everything as it is.

    Raises
    ------
    InputError
        Where `need_max_norm` refuses.

    References
    ----------
    Srebro, N. & Shraibman, A. (2005). Rank, trace-norm and max-norm. COLT, 545-560.
    doi:10.1007/11503415_37

    Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I. & Salakhutdinov, R. (2014). Dropout: a simple
    way to prevent neural networks from overfitting. Journal of Machine Learning Research 15, 1929-1958.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> net = RateRNN(1, 8, 1, seed=0)
    >>> apply_max_norm(net, 0.5)
    >>> bool((net.recurrent_weight.norm(dim=1) <= 0.5 + 1e-6).all())
    True
    """
    need_max_norm(network, limit)
    for layer in network.layers:
        recurrent, weight, held = getattr(layer, "recurrent", None), layer.recurrent_weight, _held(layer)
        length, most = weight.norm(dim=1), weight.new_tensor(limit)
        if held is not None:
            length, most = (weight - held).norm(dim=1), (limit**2 - held.square().sum(1)).clamp_min(0).sqrt()
        # A row without weights stays as it is.
        share = (most / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        # Effective rows are proportional to what lies under them, so that this is scaled.
        if isinstance(recurrent, LowRank):
            recurrent.m.mul_(share[:, None])
        elif isinstance(recurrent, Connection) and recurrent.normalised:
            recurrent.scale.mul_(share)
        elif isinstance(recurrent, Connection):
            recurrent.raw.mul_(share[:, None])
        else:
            weight.mul_(share[:, None])


@torch.no_grad()
def need_max_norm(network: Network, limit: float) -> None:
    """Refuse a limit that `apply_max_norm` cannot keep; nothing is changed.

    Parameters
    ----------
    network : Network
    limit : float

    Raises
    ------
    InputError
        Where the limit is not above 0, or held weights alone are longer.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> need_max_norm(RateRNN(1, 8, 1), 0.0)
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: `max_norm` must be a positive number, got 0.0
    """
    if limit != math.inf:
        need_positive(limit, "max_norm")
    for layer in network.layers:
        held = _held(layer)
        if held is not None and (held.norm(dim=1) > limit).any():
            length, unit = held.norm(dim=1).max(0)
            raise InputError(
                f"`max_norm` = {limit:g} is less than the {length.item():g} of held recurrent weights into "
                f"unit {unit.item()}: take a larger one"
            )


def _held(layer: Any) -> Tensor | None:
    """Return a layer's recurrent weights that are held, 0 where they are free; None where all of them are."""
    recurrent = getattr(layer, "recurrent", None)
    if not isinstance(recurrent, Connection) or recurrent.fixed is None:
        return None
    return torch.where(recurrent.fixed.isnan(), 0, recurrent.weight)
