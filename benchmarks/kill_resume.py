"""Whether runs that are killed at random moments go on to the bits of a run that never was.

    python benchmarks/kill_resume.py [kills] [--seed N] [--evaluate-every N]

Small runs of several kinds are trained in processes of their own. SIGKILL ends each at a random moment of its
life; `neurornn.resume` takes the run up again, in another process, until it is finished. Its final weights,
snapshots, metrics (without ms_per_step, how long steps took, which no run repeats) and last checkpoint are
then compared, bit by bit, with those of a run that nobody killed. After each kill every checkpoint on the
disk is read. Exit status 0 where all is as it should be: no unreadable checkpoint, no differing bit, no
temporary file left by a finished run.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from import_time import processor
from killed_processes import child, ended_within

import neurornn as nr
from neurornn import CorruptFile, InputError
from neurornn.training import RunDirectory
from neurornn.training.checkpoint import load_checkpoint

TIMED = ("seconds", "seconds_at_evaluation", "ms_per_step")
"""What a checkpoint and the metrics tell of the clock."""
STAGES = [{"parameters": {"pulse_probability": 0.2}, "n_steps": 20, "score": 2.0}, {}]
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "noise": ({"noise_std": 0.1, "tau": 50.0, "dt": 10.0}, {}),
    "dropout": ({"dropout": 0.2, "input_noise_std": 0.1}, {"evaluate_with_noise": True}),
    "lstm": ({"family": "LSTM"}, {"optimiser": "RMSprop", "optimiser_options": {"momentum": 0.5}}),
    "cosine": ({}, {"schedule": "cosine", "warmup_steps": 10, "clip_value": 0.05}),
    "curriculum": ({}, {"stages": [{**STAGES[0], "trainable": ["input", "output"]}, {}]}),
    "weights": ({"noise_std": 0.1}, {"averaging": "weights", "averaging_start": 0.25}),
    "snapshots": ({}, {"averaging": "snapshots", "schedule": "cyclic", "n_snapshots": 3}),
    "plateau": (
        {"excitatory_fraction": 0.75, "activation": "relu"},
        {"schedule": "plateau", "schedule_options": {"patience": 1}, "learning_rate": 0.05},
    ),
    "importance": ({}, {"stages": STAGES, "penalties": {"elastic_weight_consolidation": 10.0}}),
    "anchor": (
        {"trainable_initial_state": True},
        {"stages": STAGES, "penalties": {"l2_anchor": 0.1, "rate_l2": 0.1}, "max_norm": 1.0},
    ),
    "prefetch": ({"noise_std": 0.1}, {"prefetch": True, "stages": STAGES, "optimiser": "SGD"}),
}
"""The network's and the training's settings."""
SMALL = {
    "n_steps": 60,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "n_evaluation_trials": 16,
    "progress": False,
}


def begin(kind: str, folder: Path, evaluate_every: int) -> None:
    """Train a run from its beginning; one that was killed before its first checkpoint is replaced."""
    of_network, of_training = KINDS[kind]
    task = nr.tasks.FlipFlop(n_bits=2, duration=200)
    network = nr.build_network({"input_size": 2, "hidden_size": 12, "output_size": 2, **of_network})
    settings = {**SMALL, "evaluate_every": evaluate_every, **of_training}
    nr.train(network, task, directory=folder, overwrite=True, **settings)


def result(folder: Path) -> dict[str, Any]:
    """Return all that two runs with one seed have in common."""
    run = RunDirectory(folder)
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json", ".toml"):
            found[str(path.relative_to(folder))] = path.read_bytes()
    with open(run.metrics, newline="") as file:
        rows = [{name: own for name, own in row.items() if name not in TIMED} for row in csv.DictReader(file)]
    found["metrics.csv"] = rows
    content = untimed(load_checkpoint(run.checkpoint))
    # The rows of the metrics are compared above; here they are one array, with the clock's column in it.
    found["checkpoint.pt"] = {name: own for name, own in content.items() if name != "metrics"}
    return found


def untimed(content: dict[str, Any]) -> dict[str, Any]:
    return {name: own for name, own in content.items() if name not in TIMED}


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return the places at which two nested values differ in a bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys(), key=str)
        missing = [f"{place}/{name}" for name in names if name not in one or name not in other]
        both = [name for name in names if name in one and name in other]
        return missing + [d for name in both for d in differences(one[name], other[name], f"{place}/{name}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for number, pair in pairs for d in differences(*pair, f"{place}/{number}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [place]


@dataclass
class Tally:
    """What was seen of the runs of one kind."""

    runs: int = 0
    kills: int = 0
    before_first: int = 0
    unreadable: int = 0
    differing: int = 0
    gaps: int = 0
    swept: int = 0
    orphans: int = 0
    places: Counter[str] = field(default_factory=Counter)

    COLUMNS = ("runs", "kills", "before_first", "unreadable", "differing", "gaps", "swept", "orphans")

    def row(self) -> str:
        return "".join(f"{getattr(self, name):>14}" for name in self.COLUMNS)


def orphans(folder: Path) -> int:
    """Return how many temporary files there are."""
    return sum(path.name.endswith(".tmp") for path in folder.rglob("*"))


def unreadable(run: RunDirectory) -> int:
    """Return how many of the checkpoints on the disk cannot be read."""
    bad = 0
    for path in (run.checkpoint, run.previous_checkpoint):
        try:
            if path.exists():
                load_checkpoint(path)
        except CorruptFile:
            bad += 1
    return bad


def has_gaps(folder: Path) -> bool:
    """Return whether a finished run's metrics lack a step, repeat one or have them in another order."""
    with open(folder / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    return steps != list(range(len(steps)))


def kill_until_finished(
    kind: str, folder: Path, seconds: float, evaluate_every: int, rng: np.random.Generator, tally: Tally
) -> None:
    """Train a run, killed at moments up to ``seconds`` after each beginning, to its end."""
    run = RunDirectory(folder)
    number = child(begin, kind, folder, evaluate_every)
    while ended_within(number, rng.uniform(0, seconds)) is None:
        tally.kills += 1
        tally.unreadable += unreadable(run)
        tally.swept += orphans(folder)
        if run.is_finished:
            break
        if run.checkpoint.exists() or run.previous_checkpoint.exists():
            number = child(lambda: nr.resume(folder, progress=False))
        else:
            tally.before_first += 1
            if run.config.exists():
                try:
                    nr.resume(folder, progress=False)
                except InputError:
                    pass
                else:
                    raise SystemExit("a run without a checkpoint was resumed")
            number = child(begin, kind, folder, evaluate_every)
    tally.runs += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kills", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--evaluate-every", type=int, default=4, help="steps from checkpoint to checkpoint")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    tallies = {kind: Tally() for kind in options.kinds}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="neurornn-kills-") as scratch:
        wanted, seconds = {}, {}
        for kind in options.kinds:
            folder = Path(scratch) / kind
            # Here, so that what compiles or is imported on first use is there for the processes that follow.
            begin(kind, folder / "first", options.evaluate_every)
            start = time.perf_counter()
            if ended_within(child(begin, kind, folder / "whole", options.evaluate_every), 600) is None:
                raise SystemExit(f"the run {kind!r} was not finished after 600 s")
            seconds[kind] = time.perf_counter() - start
            wanted[kind] = result(folder / "whole")
            if differences(result(folder / "first"), wanted[kind]):
                raise SystemExit(f"the run {kind!r} does not even repeat itself unkilled")
        kinds = iter(options.kinds * options.kills * 2)
        while sum(tally.kills for tally in tallies.values()) < options.kills:
            kind = next(kinds)
            tally = tallies[kind]
            folder = Path(scratch) / kind / str(tally.runs)
            kill_until_finished(kind, folder, seconds[kind], options.evaluate_every, rng, tally)
            found = differences(wanted[kind], result(folder))
            tally.differing += bool(found)
            tally.places.update(found)
            tally.gaps += has_gaps(folder)
            tally.orphans += orphans(folder)
    print(f"{processor()}; {time.perf_counter() - begun:.0f} s; a run takes "
          f"{min(seconds.values()):.2f} to {max(seconds.values()):.2f} s")  # fmt: skip
    print(f"{'kind':<14}" + "".join(f"{name.replace('_', ' '):>14}" for name in Tally.COLUMNS))
    for kind, tally in tallies.items():
        print(f"{kind:<14}{tally.row()}")
    sums = {name: sum(getattr(tally, name) for tally in tallies.values()) for name in Tally.COLUMNS}
    whole = Tally(**sums)
    print(f"{'all':<14}{whole.row()}")
    for kind, tally in tallies.items():
        for place, count in tally.places.most_common(5):
            print(f"{kind}: {place} differs in {count} runs")
    print("before first: killed before the first checkpoint, and begun anew")
    print("swept: temporary files that kills left and resuming removed; orphans: those left in finished runs")
    return int(bool(whole.unreadable or whole.differing or whole.gaps or whole.orphans))


if __name__ == "__main__":
    sys.exit(main())
