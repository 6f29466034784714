"""The fused kernel: a scan's matrix products, noise, activation and leak in registers, compiled by numba.

Nothing here is imported before it is needed, for numba takes half a second to load.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection

SWITCH = "NEURORNN_ENGINE"
"""Environment variable that names the fastest engine that may be used."""


def switched_off(slower: Collection[str]) -> str | None:
    """Say that the environment switches an engine off, where it names one of the slower ones."""
    named = os.environ.get(SWITCH, "")
    return f"the environment variable {SWITCH}={named} switches it off" if named in slower else None


def reason_to_do_without() -> str | None:
    """Say why compiled code is not to be used here at all, or None where it is."""
    return switched_off(("torch", "reference")) or reason_not_to_compile()


@functools.cache
def reason_not_to_compile() -> str | None:
    """Say why numba cannot be used here, or None where it can."""
    try:
        from neurornn.engine.fused import kernels
    except Exception as error:
        # Not only where numba is missing: a broken installation fails in its own way.
        return f"numba cannot be used here ({type(error).__name__}: {error})"
    return kernels.reason_not_to_compile()
