"""What `nr.train` costs beside a bare loop of forward, masked loss, backward and Adam.

    python benchmarks/training.py [repeats] [--steps N] [--profile]

64 tanh units, 64 trials of 200 steps, float32. The task hands out trials that were drawn before, so that
drawing is in neither; `nr.train` clips, fills its metrics, evaluates 256 held-out trials every 100 steps (at
the start too) and writes metrics and checkpoints into a folder. The bare loop has the same network, trials
and fused Adam, with its trials as tensors beforehand, and nothing else. Interleaved in one process, pinned to
one CPU; process CPU time and the clock, medians, and medians of the ratios of neighbours. Goal: at most 1.05.
--profile says in which functions the rest goes.
"""

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from import_time import processor

import neurornn as nr
from neurornn.numerics.threads import engines_alone
from neurornn.tasks import FlipFlop, Task, Trials
from neurornn.training import masked_loss

N_TRIALS, N_STEPS, N_UNITS, N_BATCHES = 64, 200, 64, 32


@dataclass(frozen=True)
class Drawn(Task):
    """Trials of a flip-flop that were drawn before, one batch after the other."""

    dt: float = 10.0

    n_inputs = 3
    n_outputs = 3

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Return the batch of this size that is next."""
        if n_trials not in STORE:
            STORE[n_trials] = [
                ORIGIN.draw(n_trials, rng) for _ in range(N_BATCHES if n_trials == N_TRIALS else 1)
            ]
        NEXT[n_trials] = (NEXT.get(n_trials, -1) + 1) % len(STORE[n_trials])
        return STORE[n_trials][NEXT[n_trials]]

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the flip-flop's score."""
        return ORIGIN.score(outputs, trials)


ORIGIN = FlipFlop(n_bits=3, duration=N_STEPS * 10.0)
STORE: dict[int, list[Trials]] = {}
NEXT: dict[int, int] = {}


class Bare:
    """The loop that everybody writes."""

    def __init__(self) -> None:
        trials = STORE[N_TRIALS]
        self.batches = [[torch.from_numpy(own) for own in (t.inputs, t.targets, t.mask)] for t in trials]

    def __call__(self, n_steps: int) -> None:
        network = nr.RateRNN(3, N_UNITS, 3, seed=0).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        with engines_alone():
            for step in range(n_steps):
                inputs, targets, mask = self.batches[step % N_BATCHES]
                outputs = network(inputs, return_rates=False)[0]
                loss = masked_loss(outputs, targets, mask, "mse")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


def whole(n_steps: int, folder: Path | None) -> None:
    """Train as a user does."""
    network = nr.RateRNN(3, N_UNITS, 3, seed=0)
    settings = {"n_steps": n_steps, "batch_size": N_TRIALS, "learning_rate": 1e-3, "progress": False}
    nr.train(network, Drawn(), directory=folder, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repeats", nargs="?", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps of a run")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    whole(3, None)
    bare = Bare()
    bare(3)
    kinds = {
        "bare": lambda: bare(options.steps),
        "no folder": lambda: whole(options.steps, None),
        "train": lambda: whole(options.steps, Path(scratch) / "run"),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(options.repeats):
        for name, work in kinds.items():
            with tempfile.TemporaryDirectory() as scratch:
                begun = time.process_time(), time.perf_counter()
                work()
                ended = time.process_time(), time.perf_counter()
            times[name].append((ended[0] - begun[0], ended[1] - begun[1]))
    print(f"{processor()}; ms per step, median of {options.repeats} runs of {options.steps} steps")
    print(f"{'':<12}{'CPU':>10}{'ratio':>8}{'clock':>10}{'ratio':>8}")
    for name, own in times.items():
        cells = ""
        for place in range(2):
            milliseconds = 1e3 * statistics.median(run[place] for run in own) / options.steps
            pairs = zip(own, times["bare"], strict=True)
            ratio = statistics.median(run[place] / plain[place] for run, plain in pairs)
            cells += f"{milliseconds:>10.3f}{ratio:>8.3f}"
        print(f"{name:<12}{cells}")
    if options.profile:
        with tempfile.TemporaryDirectory() as scratch:
            profile = cProfile.Profile(time.process_time)
            profile.runcall(whole, options.steps, Path(scratch) / "run")
        stats = pstats.Stats(profile).sort_stats("cumulative")
        stats.print_stats(
            r"training/|clip_grad|optim|files.py|score|backward|forward|zero_grad|fsync|item", 60
        )


if __name__ == "__main__":
    main()
