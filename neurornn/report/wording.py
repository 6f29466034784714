"""What the sentences and the tables say alike: counts, numbers, lists in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def counted(n: int, noun: str) -> str:
    """Return a number of things, one of them as a word."""
    return f"one {noun}" if n == 1 else f"{n} {noun}s"


def number(value: float) -> str:
    """Return three digits, without an exponent where a reader would stumble over one."""
    if not np.isfinite(value):
        return "infinite" if value > 0 else "-infinite" if value < 0 else "unknown"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def listed(parts: Sequence[str], between: str = ", ", last: str = " and ") -> str:
    """Return the parts as a sentence holds them, the last after "and"."""
    return "".join([between.join(parts[:-1]), last, parts[-1]]) if len(parts) > 1 else "".join(parts)
