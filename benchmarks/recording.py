"""What recording costs beside the bare forward pass, and in how much memory a long recording is made.

    python benchmarks/recording.py [repeats]
    python benchmarks/recording.py --stream [GB] [--folder FOLDER]

Without --stream: `nr.record` of given trials beside the network's forward pass over the same inputs, both
with rates and outputs, interleaved in one process on one thread; process CPU time, medians of the ratios of
neighbours. What recording adds is the scores, the digests of the weights, and the labels. Goal: the bare pass
takes at least .8 of it.

--stream writes a recording of so many GB (4 by default) into a Zarr store batch by batch, takes its first
ten principal components from the store, and prints the largest resident memory of the process. Goal: 1 GB.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from import_time import processor

import neurornn as nr


def overhead(repeats: int) -> None:
    """Print what recording costs, for several sizes."""
    print(f"{processor()}; CPU ms, median of {repeats}")
    print(
        f"{'network':<10}{'units':>6}{'trials':>8}{'steps':>7}{'forward':>10}{'record':>10}{'forward/record':>16}"
    )
    for family, units in (("RateRNN", 64), ("RateRNN", 256), ("RateRNN", 512), ("GRU", 64), ("GRU", 256)):
        task = nr.tasks.FlipFlop(n_bits=3, duration=2000.0)
        network = getattr(nr, family)(3, units, 3).eval()
        trials = task.draw(256, np.random.default_rng(0))
        inputs = torch.from_numpy(trials.inputs)
        times: list[tuple[float, float]] = []
        for _ in range(repeats + 1):
            begun = time.process_time()
            with torch.no_grad():
                kept = network(inputs)
            middle = time.process_time()
            del kept
            between = time.process_time()
            activity = nr.record(network, trials)
            times.append((middle - begun, time.process_time() - between))
            del activity
        forward, recorded = (1e3 * statistics.median(own) for own in zip(*times[1:], strict=True))
        ratio = statistics.median(bare / whole for bare, whole in times[1:])
        print(f"{family:<10}{units:>6}{256:>8}{200:>7}{forward:>10.1f}{recorded:>10.1f}{ratio:>16.3f}")


def stream(gigabytes: float, folder: Path) -> None:
    """Record more than memory holds, and reduce it."""
    task = nr.tasks.FlipFlop(n_bits=3, duration=2000.0)
    network = nr.RateRNN(3, 256, 3, noise_std=0.1, tau=50, dt=task.dt)
    n_trials = round(gigabytes * 1e9 / (200 * 256 * 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    begun = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "long.zarr"
        activity = nr.record(network, task, n_trials, noise=True, path=path)
        written = time.perf_counter(), time.process_time()
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        pcs = nr.analysis.pca(activity, 10)
        reduced = time.perf_counter(), time.process_time()
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e9
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    moments = (begun, written), (written, reduced)
    seconds = [f"{b[0] - a[0]:.0f} s ({b[1] - a[1]:.0f} s CPU)" for a, b in moments]
    rates = activity.rate.nbytes / 1e9
    print(f"{processor()}; {n_trials} trials of 200 steps, 256 units: rates of {rates:.2f} GB")
    print(f"written in {seconds[0]}, {size:.2f} GB on the disk")
    print(f"ten components of it in {seconds[1]}")
    print(f"variance explained: {float(pcs.explained_variance_ratio.sum()):.4f}")
    print(f"resident memory at most: {before:.2f} GB before, {held:.2f} GB recording, {most:.2f} GB in all")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repeats", nargs="?", type=int, default=9)
    parser.add_argument("--stream", nargs="?", type=float, const=4.0, metavar="GB")
    parser.add_argument(
        "--folder", type=Path, help="where the store lies for the time; the system's own by default"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.stream is None:
        overhead(options.repeats)
    else:
        stream(options.stream, options.folder)


if __name__ == "__main__":
    main()
