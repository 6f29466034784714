"""Losses over masked entries: sum(mask * l) / sum(mask > 0), the mask weighing after l is taken."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from neurornn.tasks import Trials
from neurornn.tasks.trials import shared_by_all
from neurornn.vocabulary import need_choice


def masked_loss(
    outputs: Tensor, targets: Tensor, mask: Tensor, kind: str, *, n_entries: Tensor | None = None
) -> Tensor:
    """Return the mean loss of the entries that the mask asks for.

    Parameters
    ----------
    outputs : Tensor, shape (trial, time, output_channel)
    targets : Tensor
        Shape of ``outputs`` for ``"mse"``; classes, shape (trial, time), for ``"cross_entropy"``.
    mask : Tensor, shape of ``targets``
        Weight of each entry, applied to the squared error or the cross-entropy (so a weight of 5 on the error
        before squaring is 25 here).
    kind : {"mse", "cross_entropy"}
    n_entries : Tensor, optional
        What the sum is divided by; the number of entries with ``mask > 0`` by default.

    Returns
    -------
    Tensor, shape ()

    Examples
    --------
    >>> outputs, targets = torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 2, 1)
    >>> masked_loss(outputs, targets, torch.tensor([[[4.0], [0.0]]]), "mse")
    tensor(4.)
    """
    need_choice(kind, "loss", ("mse", "cross_entropy"))
    asked = mask > 0
    # A padded step may hold anything: where nothing is asked, the outputs are put aside before the loss is
    # taken, so that an infinite one adds neither 0 * inf to the sum nor NaN to the gradient.
    if kind == "mse":
        per_entry = (torch.where(asked, outputs, targets) - targets) ** 2
    else:
        outputs = torch.where(asked[..., None], outputs, torch.zeros_like(outputs))
        per_entry = cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none").view_as(mask)
    return (mask * per_entry).sum() / (asked.sum() if n_entries is None else n_entries).clamp_min(1)


class Batch:
    """A batch of trials as tensors beside a network, and the loss of outputs on it."""

    def __init__(self, trials: Trials, like: Tensor, normalise: str = "mask") -> None:
        self.trials = trials
        self.kind = trials.task.loss

        def tensor(array: np.ndarray) -> Tensor:
            # What all trials share is held once here too.
            shared = shared_by_all(array)
            moved = torch.as_tensor(array[:1].copy() if shared else array)
            moved = moved.to(like.device, like.dtype if moved.is_floating_point() else None)
            return moved.expand(array.shape) if shared else moved

        self.inputs = tensor(trials.inputs)
        self.targets = tensor(trials.targets)
        self.mask = tensor(trials.mask)
        self._tensor = tensor
        self.n_entries = None
        if normalise == "all":
            per_step = trials.task.n_outputs if self.kind == "mse" else 1
            self.n_entries = torch.as_tensor(trials.valid.sum() * per_step, device=like.device)

    def teacher(self) -> Tensor:
        """Return what a perfect network puts out, shape (trial, time, output_channel)."""
        return self._tensor(self.trials.ideal_outputs())

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the loss of outputs, shape ()."""
        return masked_loss(outputs, self.targets, self.mask, self.kind, n_entries=self.n_entries)
