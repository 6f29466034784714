"""Initial weights, drawn on the CPU from a named stream so that every device begins alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return independent Gaussian weights of variance gain^2 / columns, shape (rows, columns).

    With ``columns`` the number of presynaptic units, the summed input of a unit has variance gain^2 times
    the mean square of what it receives, whatever the network's size; for a recurrent matrix the
    eigenvalues fill a disc of radius ``gain`` (Girko's law).

    References
    ----------
    Sompolinsky, H., Crisanti, A. & Sommers, H. J. (1988). Chaos in random neural networks. Physical Review
    Letters 61, 259-262. doi:10.1103/PhysRevLett.61.259
    """
    # Drawn in float64 and rounded, so that a float32 and a float64 network of one seed are the same network.
    weights = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return (weights * (gain / math.sqrt(max(columns, 1)))).to(dtype)
