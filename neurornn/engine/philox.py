"""Random numbers out of counters, in torch's own operations: on any device, the truth for the kernel's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDS = 10
"""Three more than pass every known test: the number that Philox's authors recommend."""
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFF_FFFF
"""A word of 32 bits, all of them one."""


def normals_by_torch(
    shape: tuple[int, int, int], key: tuple[int, int, int], device: torch.device | str
) -> Tensor:
    """Return the standard normals of a key's two words and a first step, by torch's own operations."""
    n_steps, n_trials, n_units = shape
    groups = math.ceil(n_trials / 4)

    def place(count: int, axis: int, first: int = 0) -> Tensor:
        line = torch.arange(first, first + count, device=device)
        return line.reshape([-1 if own == axis else 1 for own in range(3)])

    # Four trials in a row share a counter: one of its four words each.
    counter = [place(n_units, 2), place(groups, 1), place(n_steps, 0, key[2]), place(1, 0)]
    words = philox(counter, key[:2])
    pairs = _normal_pair(words[0], words[1]) + _normal_pair(words[2], words[3])
    return torch.stack(pairs, 2).reshape(n_steps, 4 * groups, n_units)[:, :n_trials]


def philox(counter: list[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Return the four random words of a counter of four words, each an int64 of 32 bits.

    References
    ----------
    Salmon, J. K., Moraes, M. A., Dror, R. O. & Shaw, D. E. (2011). Parallel random numbers: as easy as 1, 2,
    3. Proceedings of SC11. doi:10.1145/2063384.2063405
    """
    first, second, third, fourth = counter
    for _ in range(ROUNDS):
        high_first, low_first = _product(first, MULTIPLIERS[0])
        high_third, low_third = _product(third, MULTIPLIERS[1])
        first, second = high_third ^ second ^ key[0], low_third
        third, fourth = high_first ^ fourth ^ key[1], low_first
        key = ((key[0] + KEY_STEPS[0]) & WORD, (key[1] + KEY_STEPS[1]) & WORD)
    return list(torch.broadcast_tensors(first, second, third, fourth))


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the high and low word of a product; in halves, since int64 has a sign."""
    low, high = word * (factor & 0xFFFF), word * (factor >> 16)
    total = low + ((high & 0xFFFF) << 16)
    return (high >> 16) + (total >> 32), total & WORD


def _normal_pair(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return two standard normals of two words, by Box and Muller's method."""
    uniform = one.to(torch.float32) * 2.0**-32 + 2.0**-33
    radius = (-2 * uniform.log()).sqrt()
    # The word as a number with a sign: an angle between -pi and pi.
    angle = (other - ((other >> 31) << 32)).to(torch.float32) * (2 * math.pi * 2.0**-32)
    return radius * angle.sin(), radius * angle.cos()
