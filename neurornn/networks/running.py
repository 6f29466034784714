"""How a network is run once: what of it, on which engine, with which noise and which teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Where the random numbers of one run come from; false where it has none."""

    generator: Callable[[], torch.Generator] | None

    def __bool__(self) -> bool:
        """Say whether there is noise."""
        return self.generator is not None

    def key(self) -> int:
        """Draw the key of one noise; the engine makes the numbers of it."""
        assert self.generator is not None
        generator = self.generator()
        return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))

    def kept_share(self, shape: tuple[int, int], dropout: float, like: Tensor) -> Tensor:
        """Draw which rates are dropped, and by how much the others grow."""
        assert self.generator is not None
        generator = self.generator()
        kept = torch.rand(shape, generator=generator, device=generator.device) >= dropout
        return kept.to(like) / (1 - dropout)


@dataclass(frozen=True)
class Teaching:
    """Teacher forcing: the wanted outputs, and the steps at which they are fed back (None: all).

    Attributes
    ----------
    wanted : Tensor, shape (time, trial, output_channel)
    forced : Tensor of bool, shape (time, trial), or None
    """

    wanted: Tensor
    forced: Tensor | None


@dataclass(frozen=True)
class Running:
    """The options of one run that reach every layer.

    Attributes
    ----------
    engine : str
    draws : Draws
    teaching : Teaching or None
    kept_share : Tensor, shape (trial, unit), or None
        Dropout, as a factor on what others see of each rate.
    truncate, checkpoint_every : int or None
    wants_rates, wants_states : bool
    readout : (Tensor, Tensor) or None
        Weight and bias of the outputs that this layer's scan takes along.
    """

    engine: str
    draws: Draws
    teaching: Teaching | None = None
    kept_share: Tensor | None = None
    truncate: int | None = None
    checkpoint_every: int | None = None
    wants_rates: bool = True
    wants_states: bool = False
    readout: tuple[Tensor, Tensor] | None = None
