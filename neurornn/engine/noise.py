"""The recurrent noise, described by a key: every engine makes the same numbers of it, at any time.

A normal of the noise depends on the key, the step, the trial and the unit, and on nothing else: not on the
engine, the CPU, the number of threads, or what was drawn before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurornn.engine import fused
from neurornn.engine.philox import WORD, normals_by_torch


@dataclass(frozen=True)
class Noise:
    """Standard normals of a key, times a scale.

    Attributes
    ----------
    key : int
        64 bits; another key gives other, independent noise.
    scale : float or Tensor, shape () or (unit,)
        Standard deviation as it enters the equation; no gradient runs through it.
    """

    key: int
    scale: float | Tensor

    @property
    def key_words(self) -> tuple[int, int]:
        """The key's low and high word."""
        return self.key & WORD, self.key >> 32 & WORD

    def normals(self, shape: tuple[int, int, int], first_step: int, device: torch.device) -> Tensor:
        """Return the standard normals of (time, trial, unit) as float32."""
        if device.type == "cpu" and fused.reason_to_do_without() is None:
            from neurornn.engine.fused.kernels import normals

            return normals(shape, (*self.key_words, first_step))
        return normals_by_torch(shape, (*self.key_words, first_step), device)

    def materialise(self, shape: Sequence[int], first_step: int, like: Tensor) -> Tensor:
        """Return the noise of (time, trial, unit), scaled, of the dtype and device of another tensor."""
        scale = self.scale.detach() if isinstance(self.scale, Tensor) else self.scale
        n_steps, n_trials, width = shape
        return self.normals((n_steps, n_trials, width), first_step, like.device).to(like.dtype) * scale
