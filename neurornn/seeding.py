"""One seed, many named streams of random numbers.

A run has one seed. Each purpose (initial weights, trials, noise, evaluation) draws from a stream of its
own that depends on that seed and on the purpose's name only, so that drawing more of one thing never
changes another. No global generator is read or advanced anywhere in the package.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from neurornn.vocabulary import InputError

INITIAL_WEIGHTS = "initial weights"
TRIALS = "trials"
NOISE = "noise"
EVALUATION = "evaluation"
IMPORTANCE = "importance"
RECORDING = "recording"
CONNECTIONS = "connections"
FIXED_POINT_STARTS = "fixed point starts"
BOOTSTRAP = "bootstrap"
INTERVENTION = "intervention"
LYAPUNOV = "lyapunov"


def stream_sequence(seed: int, name: str, *position: int) -> np.random.SeedSequence:
    """Return the seed sequence of one named stream.

    Parameters
    ----------
    seed : int
        The run's seed, 0 or above.
    name : str
        The stream's purpose; a different name gives an independent stream.
    *position : int
        Where in the stream to begin, for example the number of steps already trained.

    Returns
    -------
    numpy.random.SeedSequence
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"`seed` must be a whole number of at least 0, got {seed!r}")
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[k : k + 4], "little") for k in range(0, 16, 4)]
    return np.random.SeedSequence(int(seed), spawn_key=(*words, *position))


def numpy_stream(seed: int, name: str, *position: int) -> np.random.Generator:
    """Return a NumPy generator for one named stream.

    Examples
    --------
    >>> numpy_stream(0, "trials").integers(100) == numpy_stream(0, "trials").integers(100)
    np.True_
    >>> numpy_stream(0, "trials").random() == numpy_stream(0, "noise").random()
    False
    """
    return np.random.default_rng(stream_sequence(seed, name, *position))


def torch_stream(seed: int, name: str, *position: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one named stream on a device."""
    generator = torch.Generator(device=device)
    state = stream_sequence(seed, name, *position).generate_state(1, np.uint64)[0]
    generator.manual_seed(int(state) & 0x7FFF_FFFF_FFFF_FFFF)
    return generator
