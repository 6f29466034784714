"""Random words out of counters, in the kernel: the Philox generator on the lanes of a register."""

from __future__ import annotations

from typing import Any

from neurornn.engine.fused.vectors import Words, splat
from neurornn.engine.philox import KEY_STEPS, MULTIPLIERS, ROUNDS


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[Any, Any]) -> tuple[Words, ...]:
    """Return four random words per lane, of a counter of four words and a key of two scalars.

    References
    ----------
    Salmon, J. K., Moraes, M. A., Dror, R. O. & Shaw, D. E. (2011). Parallel random numbers: as easy as 1, 2,
    3. Proceedings of SC11. doi:10.1145/2063384.2063405
    """
    first, second, third, fourth = counter
    builder, lanes = first.builder, first.lanes
    for _ in range(ROUNDS):
        high_first, low_first = first.product(MULTIPLIERS[0])
        high_third, low_third = third.product(MULTIPLIERS[1])
        keys = [Words(builder, splat(builder, part, lanes)) for part in key]
        first, second = high_third ^ second ^ keys[0], low_third
        third, fourth = high_first ^ fourth ^ keys[1], low_first
        key = tuple(builder.add(part, part.type(step)) for part, step in zip(key, KEY_STEPS, strict=True))
    return first, second, third, fourth
