"""Gaussian noise for inputs: NumPy's for a few channels, the engine's counter-based generator for many."""

from __future__ import annotations

import math

import numpy as np

MANY_CHANNELS = 16
"""Channels from which on the counter-based generator is used."""
BLOCK = (8, 64)
"""Shape in which the generator leaves no gaps."""


def normals(shape: tuple[int, ...], rng: np.random.Generator, std: float) -> np.ndarray:
    """Return independent normals of mean 0 as float32.

    Few channels get NumPy's, the same to the bit on every machine. Rings of units would wait longer for them
    than for their training step: they get those of the engine's recurrent noise, of a key drawn from ``rng``,
    ten to twenty times as fast. Those are the same to the bit on one machine; on another CPU, or without the
    compiled kernel, the last digits of a number may differ.

    Parameters
    ----------
    shape : tuple of int
        Channels last.
    rng : numpy.random.Generator
        Only source of chance.
    std : float
        Standard deviation.

    Returns
    -------
    ndarray of float32

    Examples
    --------
    >>> normals((2, 3, 4), np.random.default_rng(0), std=0.1).shape
    (2, 3, 4)
    """
    if shape[-1] < MANY_CHANNELS:
        numbers = rng.standard_normal(shape, dtype=np.float32)
        numbers *= std
        return numbers
    import torch

    from neurornn.engine.noise import Noise

    key = int(rng.integers(2**64, dtype=np.uint64))
    n_numbers = math.prod(shape)
    blocks = (-(-n_numbers // math.prod(BLOCK)), *BLOCK)
    numbers = Noise(key, 1.0).normals(blocks, 0, torch.device("cpu")).numpy()
    numbers *= std
    return numbers.reshape(-1)[:n_numbers].reshape(shape)
