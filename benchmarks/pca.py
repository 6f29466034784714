"""What a PCA of a million samples costs beside the products that it cannot do without.

    python benchmarks/pca.py [samples] [units]

`nr.analysis.pca` of samples x units in float32, with a mean far from zero, ten components kept: a labelled
array as a recording has it. Beside it the bare product X'X in float32, chunk by chunk (the limit: one
symmetric rank-k update; centring and scores come on top), scikit-learn's PCA, and numpy in float64.
Interleaved, one thread, process CPU time, medians; the error of the variances against float64, relative to
the largest, and memory beyond the data. Goals: 1.3 of the limit for the components, 1e-9, bounded memory.
"""

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import xarray as xr
from import_time import processor
from sklearn.decomposition import PCA

import neurornn as nr
from neurornn.numerics.covariance import covariance

CHUNK = 4096


def limit(samples: np.ndarray) -> np.ndarray:
    """Return X'X, taken in float32 in chunks and summed in float64."""
    total = np.zeros((samples.shape[1],) * 2)
    for first in range(0, len(samples), CHUNK):
        chunk = samples[first : first + CHUNK]
        total += chunk.T @ chunk
    return total


def in_float64(samples: np.ndarray) -> np.ndarray:
    """Return the variances along the components, everything in float64."""
    total, mean = np.zeros((samples.shape[1],) * 2), samples.mean(0, dtype=np.float64)
    for first in range(0, len(samples), CHUNK):
        chunk = samples[first : first + CHUNK].astype(np.float64) - mean
        total += chunk.T @ chunk
    return np.linalg.eigvalsh(total / (len(samples) - 1))[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("samples", nargs="?", type=int, default=1_000_000)
    parser.add_argument("units", nargs="?", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((options.units, options.units)) / np.arange(1, options.units + 1)
    samples = np.empty((options.samples, options.units), np.float32)
    for first in range(0, options.samples, CHUNK):
        part = samples[first : first + CHUNK]
        part[:] = rng.standard_normal(part.shape) @ mixing + 3
    activity = xr.Dataset({"rate": (("trial", "time", "unit"), samples.reshape(-1, 200, options.units))})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found = nr.analysis.pca(activity, 10)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    works: dict[str, Callable[[], object]] = {
        "limit": lambda: limit(samples),
        "covariance": lambda: covariance(samples),
        "pca, 10 components": lambda: nr.analysis.pca(activity, 10),
        "scikit-learn": lambda: PCA(10).fit(samples),
        "float64": lambda: in_float64(samples),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.repeats):
        for name, work in works.items():
            begun = time.process_time()
            work()
            times[name].append(time.process_time() - begun)
    exact = in_float64(samples)
    print(f"{processor()}; {options.samples} x {options.units} float32; CPU s, median of {options.repeats}")
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, times["limit"], strict=True))
        print(f"{name:<20}{statistics.median(own):>8.2f}{ratio:>8.2f}")
    variances = np.linalg.eigvalsh(covariance(samples)[1])[::-1]
    peer = PCA(10).fit(samples).explained_variance_
    ours = np.abs(found.explained_variance.to_numpy() - exact[:10])
    print("error relative to the largest variance, and to each one's own:")
    for name, error, own in (
        ("the first ten", ours, exact[:10]),
        ("all", np.abs(variances - exact), exact),
        ("scikit-learn, ten", np.abs(peer - exact[:10]), exact[:10]),
    ):
        print(f"{name:<20}{error.max() / exact[0]:>10.1e}{(error / own).max():>10.1e}")
    scores = found.score.nbytes / 1e9
    print(f"memory beyond {before:.2f} GB: {after - before:.2f} GB, of which scores {scores:.2f}")


if __name__ == "__main__":
    main()
