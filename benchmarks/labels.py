"""What labels cost: each labelled function beside the bare array function below it, on the same numbers.

    python benchmarks/labels.py [repeats]

One thread, CPU time of the process, the two interleaved, medians. A labelled function may cost 5 % or 5 ms
more. Where an analysis has no array function of its own, the fewest lines of NumPy that give the same numbers
stand for it. Recordings are of 512 trials and 128 units, and of 64 trials and 32 units.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import platform
import statistics
import sys
import time
import warnings

import numpy as np
import torch
import xarray as xr
from import_time import processor

import neurornn as nr
from neurornn import analysis
from neurornn.activity.conditions import group_means
from neurornn.analysis.psychometric import fit_psychometric
from neurornn.analysis.spectra import left_vectors
from neurornn.numerics.binomial import wilson_interval
from neurornn.numerics.covariance import covariance
from neurornn.numerics.eigen import eigensystem

ALLOWED_SHARE, ALLOWED_MS = 0.05, 5.0


def recording(task, n_trials, n_units):
    options = {"activation": "relu", "excitatory_fraction": 0.75}
    network = nr.RateRNN(task.n_inputs, n_units, task.n_outputs, **options)
    activity = nr.record(network, task, n_trials)
    rng = np.random.default_rng(0)
    # An untrained network chooses nothing; behaviour needs somebody who does.
    choice = activity.target_choice.values
    swapped = np.where(rng.random(n_trials) < 0.2, 3 - choice, choice)
    return activity.assign_coords(
        choice=("trial", swapped), score=("trial", (swapped == choice).astype(float))
    )


def cut(values, first, counts, missing):
    """Cut steps out of each trial: what lies below `epoch` and `align` where trials begin apart."""
    index = np.clip(first[:, None] + np.arange(counts.shape[1]), 0, values.shape[1] - 1)
    result = values[np.arange(len(values))[:, None], index]
    result[~counts] = missing
    return result


def with_time(activity):
    """Return the arrays that a cut goes through."""
    return {name: own.values for name, own in activity.data_vars.items() if own.dims[:2] == ("trial", "time")}


def cut_all(arrays, first, counts):
    valid = cut(arrays["valid"], first, counts, False) & counts
    missing = {"rate": np.nan, "output": np.nan, "input": np.nan, "target": 0, "mask": 0}
    return valid, *(cut(arrays[name], first, valid, own) for name, own in missing.items())


def steps_of(activity, name):
    dt = float(activity.time[1])
    start, stop = (np.rint(activity[f"{name}_{side}"].values / dt).astype(int) for side in ("start", "stop"))
    return start, stop


def pairs_of_cuts(shared, apart):
    """Yield name, labelled function and array function of what cuts and averages."""
    arrays = with_time(shared)
    first, last = np.flatnonzero(shared.epoch.values == "stimulus")[[0, -1]]

    def slices(a, b):
        return [own[:, a:b] for own in arrays.values()]

    yield "epoch, shared", lambda: nr.epoch(shared, "stimulus"), lambda: slices(first, last + 1)
    yield (
        "align, shared",
        lambda: nr.align(shared, "response", before=500),
        lambda: slices(last - 4, last + 2),
    )
    cuts = with_time(apart)
    start, stop = steps_of(apart, "delay")
    n_steps = (stop - start).max()
    counts = np.arange(n_steps) < (stop - start)[:, None]
    yield "epoch, apart", lambda: nr.epoch(apart, "delay"), lambda: cut_all(cuts, start, counts)
    go, _ = steps_of(apart, "response")
    window = np.ones((len(go), 11), bool)
    yield (
        "align, apart",
        lambda: nr.align(apart, "response", before=1000, after=100),
        lambda: cut_all(cuts, go - 10, window),
    )
    for name, activity, by in (
        ("condition_average", shared, ["coherence", "choice"]),
        ("condition_average, padded", apart, ["delay_duration", "choice"]),
    ):
        code = np.unique(np.stack([activity[own].values for own in by]), axis=1, return_inverse=True)[
            1
        ].ravel()
        rate, output, valid = (activity[own].values for own in ("rate", "output", "valid"))
        n_groups = code.max() + 1
        yield (
            name,
            lambda activity=activity, by=by: nr.condition_average(activity, by),
            lambda rate=rate, output=output, valid=valid, code=code, n=n_groups: [
                group_means(own, code, n, valid) for own in (rate, output)
            ],
        )
    which = np.flatnonzero(shared.population.values == "inhibitory")
    weights = [shared[f"parameter_{own}"].values for own in ("recurrent_weight", "input_weight", "bias")]
    rate, begin, readout = (
        shared[own].values for own in ("rate", "initial_state", "parameter_output_weight")
    )

    def choose():
        return [
            rate[:, :, which],
            begin[:, which],
            readout[:, which],
            weights[0][np.ix_(which, which)],
            *(own[which] for own in weights[1:]),
        ]

    yield "population", lambda: nr.population(shared, "inhibitory"), choose


def pairs_of_analyses(shared, apart):
    """Yield name, labelled function and array function of what analyses."""
    for name, activity in (("pca", shared), ("pca, padded", apart)):
        rate, valid = activity.rate.values, activity.valid.values

        def components(rate=rate, valid=valid):
            samples = rate.reshape(-1, rate.shape[2])[valid.ravel()].astype(float)
            mean, spread = covariance(samples)
            variance, vectors = np.linalg.eigh(spread)
            return variance[::-1], (rate - mean) @ vectors[:, ::-1]

        yield name, lambda activity=activity: analysis.pca(activity), components
    pcs = analysis.pca(shared, 3)
    rate, mean, axes = shared.rate.values, pcs["mean"].values, pcs.component_vector.values
    yield "project", lambda: analysis.project(shared, pcs), lambda: (rate - mean) @ axes.T

    def singular():
        return np.linalg.svd(rate.reshape(-1, rate.shape[2]).astype(float), full_matrices=False)

    yield "svd", lambda: analysis.svd(shared), singular
    weight = shared.parameter_recurrent_weight
    matrix = weight.values.astype(float)

    def spectrum():
        _, right = eigensystem(matrix)
        return left_vectors(right), np.linalg.svd(matrix, compute_uv=False)

    yield "eigenspectrum", lambda: analysis.eigenspectrum(weight), spectrum
    coherence, choice, score = (shared[own].values for own in ("coherence", "choice", "score"))

    def per_level(values):
        levels, code = np.unique(coherence, return_inverse=True)
        count = np.bincount(code)
        total = np.bincount(code, values)
        return levels, total / count, wilson_interval(total, count, 0.95)

    yield "accuracy", lambda: analysis.accuracy(shared, "coherence"), lambda: per_level(score)
    yield (
        "choice_probability",
        lambda: analysis.choice_probability(shared, "coherence"),
        lambda: [per_level(choice == own) for own in (1, 2)],
    )
    signed = shared.signed_coherence.values
    yield (
        "psychometric",
        lambda: analysis.psychometric(shared, "signed_coherence", n_bootstrap=0),
        lambda: fit_psychometric(signed, choice == 2, np.ones(len(signed), int), n_bootstrap=0),
    )


def milliseconds(function):
    before = time.process_time_ns()
    function()
    return (time.process_time_ns() - before) / 1e6


def compare(labelled, bare, repeats):
    """Return the medians of both in ms, interleaved, each first in turn."""
    times = [], []
    functions = [labelled, bare]
    for k in range(repeats + 1):
        for which in (0, 1) if k % 2 else (1, 0):
            own = milliseconds(functions[which])
            if k:
                times[which].append(own)
    return map(statistics.median, times)


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    torch.set_num_threads(1)
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, xarray {xr.__version__}"
    print(f"{processor()}; {versions}; CPU time, one thread, median of {repeats}, interleaved")
    for n_trials, n_units in ((512, 128), (64, 32)):
        shared = recording(nr.tasks.get("perceptual_decision_making", dt=20.0), n_trials, n_units)
        apart = recording(nr.tasks.get("delayed_comparison"), n_trials, n_units)
        shape = " x ".join(f"{dim} {size}" for dim, size in shared.rate.sizes.items())
        print(f"\n{shape} (apart: time {apart.sizes['time']})")
        print(f"{'function':<28}{'arrays ms':>10}{'labelled ms':>13}{'over ms':>9}{'over %':>8}")
        for pairs in (pairs_of_cuts, pairs_of_analyses):
            for name, labelled, bare in pairs(shared, apart):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    one, other = compare(labelled, bare, repeats)
                over = one - other
                mark = "" if over <= ALLOWED_MS or over <= ALLOWED_SHARE * other else "  OVER"
                print(f"{name:<28}{other:>10.2f}{one:>13.2f}{over:>9.2f}{100 * over / other:>8.1f}{mark}")


if __name__ == "__main__":
    main()
