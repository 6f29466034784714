"""Weights under constraints: which connections there are, which signs they may have, which are held.

A connection keeps a raw matrix, which the optimiser changes as it likes, and makes of it the effective one,
which the network uses. The constraints lie in that step, so no change of the raw matrix can break them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neurornn.vocabulary import InputError, need_finite


class WithSettableWeights(nn.Module):
    """A module whose effective weights are properties that can be assigned to."""

    settable: ClassVar[tuple[str, ...]] = ("recurrent_weight", "input_weight")

    def __setattr__(self, name: str, value: Any) -> None:
        """Let a property take what is assigned to it, whatever kind of tensor that is."""
        if name in self.settable:
            # torch would take a Parameter for a new part of the module, and not ask the property.
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class Connection(nn.Module):
    """The weights from some channels to others, (to, from).

    Parameters
    ----------
    weight : Tensor, shape (to, from)
        Initial weights. What they lack of the constraints is imposed on them, unless ``given``.
    mask : Tensor of bool, shape (to, from), optional
        Where there is a connection; everywhere by default.
    signs : Tensor, shape (from,), optional
        +1 or -1 for each column, the sign of all its weights (Dale's law: columns are presynaptic).
    rectified : bool
        Whether a signed weight is made of the positive part of the raw one, or of its absolute value.
    fixed : Tensor, shape (to, from), optional
        Weights that are held at a value, within the other constraints; NaN where a weight is free.
    normalised : bool
        Weight normalisation: each row is a direction times a length of its own.
    given : bool
        Whether the initial weights are to be taken as they are: those that break a constraint are refused.
    name : str
        What the weights are called in sentences.

    Attributes
    ----------
    raw : Parameter, shape (to, from)
    scale : Parameter, shape (to,)
        The rows' lengths, of normalised weights only.

    References
    ----------
    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792

    Salimans, T. & Kingma, D. P. (2016). Weight normalization. arXiv:1602.07868
    """

    mask: Tensor | None
    signs: Tensor | None
    fixed: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        *,
        mask: Tensor | None = None,
        signs: Tensor | None = None,
        rectified: bool = False,
        fixed: Tensor | None = None,
        normalised: bool = False,
        given: bool = False,
        name: str = "weight",
    ) -> None:
        super().__init__()
        # Not saved with the weights: the network's configuration makes them again.
        for buffer, value in (("mask", mask), ("signs", signs), ("fixed", fixed)):
            own = value.to(weight.device) if value is not None else None
            self.register_buffer(
                buffer, own if own is None or own.dtype == torch.bool else own.to(weight.dtype), False
            )
        self.rectified, self.normalised, self.name = rectified, normalised, name
        self.raw = nn.Parameter(torch.empty_like(weight))
        if normalised:
            self.scale = nn.Parameter(weight.new_empty(len(weight)))
        self.set(weight if given else self._imposed(weight))

    @property
    def weight(self) -> Tensor:
        """The effective weights, differentiable; the raw matrix itself where nothing constrains it."""
        weight: Tensor = self.raw
        if self.normalised:
            weight = self._directions(weight) * self.scale[:, None]
        return self._constrained(weight)

    @property
    def factors(self) -> tuple[Tensor, Tensor | None]:
        """What is applied to what: the weights to all of the channels."""
        return self.weight, None

    @torch.no_grad()
    def set(self, weight: Tensor) -> None:
        """Make these the effective weights.

        Raises
        ------
        InputError
            Where they break a constraint; the sentence names the first place.
        """
        for fault, broken in self._broken(weight).items():
            places = torch.nonzero(broken)
            if len(places):
                place = tuple(places[0].tolist())
                raise InputError(f"`{self.name}`{list(place)} = {weight[place].item():g} {fault}")
        raw = weight if self.signs is None else weight.abs()
        self.raw.copy_(raw)
        if self.normalised:
            self.scale.copy_(self._present(raw).norm(dim=1))

    @torch.no_grad()
    def violations(self) -> int:
        """Return how many effective weights break a constraint: 0, whatever became of the raw ones."""
        return sum(int(broken.sum()) for broken in self._broken(self.weight).values())

    @torch.no_grad()
    def dead_share(self) -> float | None:
        """Return the share of rectified weights that are 0, where no gradient moves them, or None."""
        if not (self.rectified and self.signs is not None):
            return None
        free = self._free()
        return float((self.weight[free] == 0).double().mean()) if free.any() else 0.0

    def _constrained(self, weight: Tensor) -> Tensor:
        if self.signs is not None:
            weight = (weight.relu() if self.rectified else weight.abs()) * self.signs
        if self.mask is not None:
            # Not by a product: a raw weight that has grown beyond all numbers would come through it as NaN.
            weight = torch.where(self.mask, weight, 0)
        return weight if self.fixed is None else torch.where(self.fixed.isnan(), weight, self.fixed)

    def _imposed(self, weight: Tensor) -> Tensor:
        """Return drawn weights with the size that they have and the constraints that they lack."""
        return self._constrained(weight if self.signs is None else weight.abs())

    def _directions(self, weight: Tensor) -> Tensor:
        present = self._present(weight)
        # A row without any connection has no direction, and stays 0.
        return present / present.norm(dim=1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)

    def _present(self, weight: Tensor) -> Tensor:
        """Return what of raw weights has a part in the length of its row: those that are held have none."""
        if self.mask is None and self.fixed is None:
            return weight
        return torch.where(self._free(), weight, 0)

    def _free(self) -> Tensor:
        """Return where there is a weight that can change."""
        free = torch.ones_like(self.raw, dtype=torch.bool)
        free = free if self.mask is None else free & self.mask
        return free if self.fixed is None else free & self.fixed.isnan()

    def _broken(self, weight: Tensor) -> dict[str, Tensor]:
        """Return, under each constraint's sentence, where weights break it."""
        found = {}
        if self.fixed is not None:
            held = ~self.fixed.isnan()
            found["is held at another value by the fixed entries: give that value"] = held & (
                weight != self.fixed
            )
        if self.mask is not None:
            found["lies where the mask has no connection: set it to 0"] = ~self.mask & (weight != 0)
        if self.signs is not None:
            found[
                "has the wrong sign: by Dale's law all weights from one unit have its sign, columns are "
                "presynaptic"
            ] = weight * self.signs < 0
        return found


class LowRank(nn.Module):
    """Recurrent weights of low rank, W = m n' / N.

    Parameters
    ----------
    m, n : Tensor, shape (unit, rank)
        Initial vectors: a rate is read out along n and fed back along m.

    References
    ----------
    Mastrogiuseppe, F. & Ostojic, S. (2018). Linking connectivity, dynamics, and computations in low-rank
    recurrent neural networks. Neuron 99, 609-623. doi:10.1016/j.neuron.2018.07.003
    """

    def __init__(self, m: Tensor, n: Tensor) -> None:
        super().__init__()
        self.m, self.n = nn.Parameter(m), nn.Parameter(n)

    @property
    def weight(self) -> Tensor:
        """The effective weights, shape (unit, unit), differentiable."""
        return self.m @ self.n.t() / len(self.n)

    @property
    def factors(self) -> tuple[Tensor, Tensor | None]:
        """What is applied to what: m to the projections on n."""
        return self.m, self.n.t() / len(self.n)

    def set(self, weight: Tensor) -> None:
        """Refuse: a matrix has no one pair of factors.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "the recurrent weights have low rank, W = m n' / N: set the factors in "
            "network.layers[0].recurrent.m and .n in place"
        )

    def violations(self) -> int:
        """Return 0: a product of two thin matrices has their rank."""
        return 0

    def dead_share(self) -> None:
        """Return None: no weight is rectified."""


def need_shape(values: Tensor, like: Tensor, name: str) -> None:
    """Refuse values of another shape.

    Raises
    ------
    InputError
        The sentence names both shapes.
    """
    if values.shape != like.shape:
        raise InputError(f"`{name}` must have shape {tuple(like.shape)}, got {tuple(values.shape)}")


@torch.no_grad()
def set_values(parameter: Tensor, values: Tensor, name: str) -> None:
    """Copy values into a parameter, refusing another shape."""
    need_shape(values, parameter, name)
    parameter.copy_(values)


def as_weights(array: np.ndarray | Tensor, name: str) -> Tensor:
    """Return weights from anywhere as a tensor of their own memory, in float32 where they are that.

    Raises
    ------
    InputError
        Where they are no real and finite numbers, or no array.
    """
    if not isinstance(array, Tensor):
        # A copy in native byte order: torch wraps neither reversed nor read-only arrays.
        try:
            copied = np.array(array, order="C")
        except ValueError as error:
            raise InputError(
                f"`{name}` must be an array of numbers, and its rows have different lengths"
            ) from error
        if copied.dtype.kind not in "biuf":
            raise InputError(f"`{name}` must hold real numbers, got an array of {copied.dtype}")
        single = copied.dtype.newbyteorder("=") == np.float32
        array = torch.from_numpy(copied.astype(np.float32 if single else np.float64))
    if array.is_complex():
        raise InputError(f"`{name}` must hold real numbers, got a tensor of {array.dtype}")
    tensor = array.detach()
    need_finite(tensor.cpu().numpy(), name)
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float64)
