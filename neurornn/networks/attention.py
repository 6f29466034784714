"""An attention readout: at each step, a mean of the rates of all steps so far, weighed by a score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurornn.networks.initialisation import gaussian


class Attention(nn.Module):
    """Soft attention over the past, r_t -> sum over s <= t of softmax_s(score(r_s, r_t)) r_s.

    Memory grows with the square of the number of steps; for additive scores, times the number of units.

    Parameters
    ----------
    size : int
        Number of units N.
    score : {"additive", "dot", "scaled", "bilinear"}
        ``v' tanh(W r_s + U r_t)``, ``r_s' r_t``, the same over the square root of N, or ``r_s' W r_t``.
    generator, dtype
        Of the initial weights.

    References
    ----------
    Bahdanau, D., Cho, K. & Bengio, Y. (2015). Neural machine translation by jointly learning to align and
    translate. arXiv:1409.0473

    Luong, M.-T., Pham, H. & Manning, C. D. (2015). Effective approaches to attention-based neural machine
    translation. arXiv:1508.04025

    Vaswani, A. et al. (2017). Attention is all you need. arXiv:1706.03762
    """

    def __init__(self, size: int, score: str, *, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.score = score

        def weight(rows: int) -> nn.Parameter:
            return nn.Parameter(gaussian(rows, size, gain=1.0, generator=generator, dtype=dtype))

        if score in ("additive", "bilinear"):
            self.key_weight = weight(size)
        if score == "additive":
            self.query_weight = weight(size)
            self.score_weight = weight(1)

    def forward(self, rates: Tensor) -> Tensor:
        """Return the context of every step, of the shape (..., time, unit) that the rates have."""
        n_steps = rates.shape[-2]
        future = torch.ones(n_steps, n_steps, dtype=torch.bool, device=rates.device).triu(1)
        # (query, key): the step that asks comes first.
        return self.scores(rates).masked_fill(future, -torch.inf).softmax(-1) @ rates

    def scores(self, rates: Tensor) -> Tensor:
        """Return the score of every step for every other, shape (..., time that asks, time)."""
        if self.score == "additive":
            keys, queries = rates @ self.key_weight.t(), rates @ self.query_weight.t()
            matched = torch.tanh(queries[..., :, None, :] + keys[..., None, :, :])
            return matched @ self.score_weight[0]
        keys = rates @ self.key_weight if self.score == "bilinear" else rates
        found = rates @ keys.transpose(-1, -2)
        return found / math.sqrt(rates.shape[-1]) if self.score == "scaled" else found
