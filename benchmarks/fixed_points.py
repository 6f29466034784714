"""How long fixed points take, and how many are found: flip-flop networks, CPU seconds, one thread.

    python benchmarks/fixed_points.py [--fpf PATH] [--starts N ...] [NAME ...]

Networks that hold three bits are trained first; in the cube's generic case each has 27 points. The whole call
is made on the recording; then the same starts are followed by `find_fixed_points` alone (`seeding="none"`:
solve, verify, classify) and, where PATH is a checkout of FixedPointFinder (Golub & Sussillo 2018), by that
with its defaults. Of its time that of Jacobians and their decompositions is taken off. Without PATH no ratio
is claimed.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import xarray as xr
from import_time import processor

import neurornn as nr

TASK = nr.tasks.FlipFlop(n_bits=3)
NETWORKS: dict[str, tuple[Callable[[], Any], int]] = {
    "tanh-64": (lambda: nr.RateRNN(3, 64, 3, seed=0), 1000),
    "tanh-128": (lambda: nr.RateRNN(3, 128, 3, alpha=0.5, seed=0), 1000),
    "tanh-256": (lambda: nr.RateRNN(3, 256, 3, seed=0), 600),
    "gru-64": (lambda: nr.GRU(3, 64, 3, seed=0), 800),
}
"""Each network, and for how many steps it is trained."""

NEAR = 0.05
"""A point of FixedPointFinder counts as found within this distance, in the 2-norm, of one of ours."""


def trained(name: str) -> tuple[Any, xr.Dataset]:
    make, n_steps = NETWORKS[name]
    network = make()
    rate = 5e-3 if name.startswith("gru") else 2e-3
    nr.train(network, TASK, n_steps=n_steps, batch_size=64, learning_rate=rate, seed=0, progress=False)
    return network.eval(), nr.record(network, TASK, n_trials=256, seed=1)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the process's CPU seconds, which other work on the machine disturbs less than the clock."""
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def least_time(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the least time of several calls, and what one of them returned."""
    results = [timed(call) for _ in range(repeats)]
    return min(seconds for seconds, _ in results), results[0][1]


def starts_of(activity: xr.Dataset, count: int, noise: float = 0.5) -> np.ndarray:
    """Return visited states under the noise of FixedPointFinder's own example."""
    rng = np.random.default_rng(0)
    states = activity["rate"].to_numpy().reshape(-1, activity.sizes["unit"])
    chosen = states[rng.integers(len(states), size=count)]
    return (chosen + noise * rng.standard_normal(chosen.shape)).astype(np.float32)


class OneStep(torch.nn.Module):
    """A network as FixedPointFinder calls one: (trial, 1, input) and (1, trial, unit), batch first."""

    batch_first = True

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        after = self.network.step(state[0], inputs[:, 0])
        return after[:, None], after[None]


def by_fixed_point_finder(
    path: str, network: torch.nn.Module, starts: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return CPU seconds without Jacobians, and the unique points."""
    if path not in sys.path:
        sys.path.insert(0, path)
    from FixedPointFinderTorch import FixedPointFinderTorch

    finder = FixedPointFinderTorch(OneStep(network), verbose=False, do_decompose_jacobians=False)
    spent, compute = 0.0, finder._compute_recurrent_jacobians

    def watched(*arguments: Any, **named: Any) -> Any:
        nonlocal spent
        seconds, result = timed(lambda: compute(*arguments, **named))
        spent += seconds
        return result

    finder._compute_recurrent_jacobians = watched
    held = np.zeros((1, 3), np.float32)
    seconds, (unique, _) = timed(lambda: finder.find_fixed_points(starts, held))
    return seconds - spent, np.asarray(unique.xstar)


def describe(points: xr.Dataset) -> str:
    zeros = points.isel(fixed_point=(points.kind != "slow").values)
    counts = "/".join(map(str, np.bincount(zeros.n_unstable)))
    return f"{zeros.sizes['fixed_point']:3d} ({counts}), residual {float(zeros.residual.max()):.0e}"


def zeros_of(points: xr.Dataset) -> np.ndarray:
    return points.state.to_numpy()[(points.kind != "slow").values]


def compare(name: str, n_starts: list[int], path: str | None) -> None:
    network, activity = trained(name)
    print(f"\n{name}: mean score {float(activity.score.mean()):.4f}")
    # What loads or compiles on first use does so here.
    nr.analysis.find_fixed_points(network, activity, n_starts=32)
    seconds, points = least_time(lambda: nr.analysis.find_fixed_points(network, activity))
    known = zeros_of(points)
    ending = f"{points.search_ending.item()} after {points.search_rounds.item()} rounds"
    print(f"  whole call    {seconds:7.3f} s   found {describe(points)}")
    print(
        f"                {points.sizes['start']} starts, index sum {points.index_sum.item():.0f}, {ending}"
    )
    for count in n_starts:
        starts = starts_of(activity, count)
        seconds, points = least_time(
            lambda starts=starts: nr.analysis.find_fixed_points(network, starts, seeding="none")
        )
        print(f"  {count:5d} starts  {seconds:7.3f} s   found {describe(points)}")
        if path is None:
            continue
        theirs, unique = by_fixed_point_finder(path, network, starts)
        apart = np.linalg.norm(unique[:, None] - known, axis=2)
        found, false = int((apart.min(0) < NEAR).sum()), int((apart.min(1) >= NEAR).sum())
        print(
            f"  their solver  {theirs:7.3f} s   found {found:3d}, and {false} near to none of {len(unique)}"
        )
        print(f"                ratio {theirs / seconds:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--fpf", metavar="PATH", help="a checkout of FixedPointFinder")
    parser.add_argument("--starts", type=int, nargs="+", default=[128, 1024])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{processor()}; torch {torch.__version__}; CPU seconds, one thread; 3-bit flip-flop, 27 known points"
    )
    for name in options.names or list(NETWORKS):
        compare(name, options.starts, options.fpf)


if __name__ == "__main__":
    main()
