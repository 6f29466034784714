"""What Lyapunov exponents cost beside the bare products of the derivative with as many directions.

    python benchmarks/lyapunov.py [repeats]

Random networks of gain 1.5, the 20 largest exponents, 3000 steps; the bare products carry the same directions
as far without ever making them orthonormal. Interleaved in one process on one thread; process CPU time,
medians. Goal: at most 1.3.
"""

import argparse
import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from import_time import processor

import neurornn as nr

N_EXPONENTS, N_STEPS, N_WARMUP = 20, 3000, 500


def bare(weight: torch.Tensor) -> None:
    """Step a network and carry directions along, and nothing else."""
    rng = np.random.default_rng(0)
    state = torch.as_tensor(rng.standard_normal(len(weight)))
    directions = torch.as_tensor(rng.standard_normal((len(weight), N_EXPONENTS)))
    for _ in range(N_WARMUP + N_STEPS):
        moved = weight @ directions
        state = torch.tanh(weight @ state)
        directions = moved.mul_((1 - state * state)[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repeats", nargs="?", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{processor()}; CPU ms per step, median of {repeats}; {N_EXPONENTS} exponents")
    print(f"{'units':>6}{'bare':>10}{'lyapunov':>10}{'ratio':>8}{'interval':>10}")
    for units in (64, 128, 256, 512):
        network = nr.network_from_arrays(
            1.5 * np.random.default_rng(1).standard_normal((units, units)) / units**0.5
        )
        weight = network.recurrent_weight.detach()
        times: list[tuple[float, float]] = []
        for _ in range(repeats + 1):
            begun = time.process_time()
            bare(weight)
            middle = time.process_time()
            found = nr.analysis.lyapunov(network, n_exponents=N_EXPONENTS, n_steps=N_STEPS, n_warmup=N_WARMUP)
            times.append((middle - begun, time.process_time() - middle))
        plain, whole = (
            1e3 * statistics.median(own) / (N_STEPS + N_WARMUP) for own in zip(*times[1:], strict=True)
        )
        ratio = statistics.median(own[1] / own[0] for own in times[1:])
        print(f"{units:>6}{plain:>10.3f}{whole:>10.3f}{ratio:>8.2f}{found.attrs['interval']:>10}")


if __name__ == "__main__":
    main()
