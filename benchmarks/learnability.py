"""Train every registered task by its recipe, and print which reach their criterion.

    python benchmarks/learnability.py                     all tasks, one seed each
    python benchmarks/learnability.py go_no_go copy       some
    python benchmarks/learnability.py --seed 3 --save benchmarks/results/learnability.csv

The score is the mean over fresh trials that neither training nor the choice of the best weights has seen,
without recurrent noise. With ``--save``, rows of the tasks that were run replace theirs in the table.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from neurornn import pipeline, seeding, tasks
from neurornn.networks import build_network
from neurornn.training import train

COLUMNS = ("task", "units", "steps", "batch", "seconds", "score", "criterion", "reached", "seed")
N_TRIALS = 2000
CHUNK = 250


def measure(name: str, seed: int) -> dict[str, object]:
    task = tasks.get(name)
    plan = pipeline.plan(name, seed=seed)
    network = build_network(plan.network)
    begin = time.process_time()
    train(network, task, **plan.training.model_dump(), progress=False)
    seconds = time.process_time() - begin
    fresh = seeding.numpy_stream(seed, seeding.RECORDING)
    scores = []
    with torch.no_grad():
        for _ in range(N_TRIALS // CHUNK):
            trials = task.held_out().draw(CHUNK, fresh)
            outputs = network(torch.as_tensor(trials.inputs), return_rates=False)[0]
            scores.append(task.score(outputs.numpy(), trials))
    score = float(np.mean(scores))
    return {
        "task": name,
        "units": plan.network.hidden_size,
        "steps": plan.training.n_steps,
        "batch": plan.training.batch_size,
        "seconds": f"{seconds:.0f}",
        "score": f"{score:.4f}",
        "criterion": f"{task.recipe.criterion:.4f}",
        "reached": "yes" if score >= task.recipe.criterion else "no",
        "seed": seed,
    }


def save(path: Path, row: dict[str, object]) -> None:
    """Put a row in the place of the task's earlier one; rows stay in alphabetical order."""
    rows = {}
    if path.exists():
        with path.open(newline="") as file:
            rows = {own["task"]: own for own in csv.DictReader(file)}
    rows[str(row["task"])] = row
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows[name] for name in sorted(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="registered names; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="CSV file to write the rows into")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    names = options.names or sorted(tasks.TASKS)
    width = max(map(len, names))
    print("  ".join(f"{own:>9}" if own != "task" else f"{own:<{width}}" for own in COLUMNS))
    missed = []
    for name in names:
        row = measure(name, options.seed)
        cells = [f"{row[own]!s:>9}" if own != "task" else f"{name:<{width}}" for own in COLUMNS]
        print("  ".join(cells), flush=True)
        if options.save:
            save(options.save, row)
        if row["reached"] == "no":
            missed.append(name)
    print(f"{len(names) - len(missed)} of {len(names)} reach their criterion; short: {missed or 'none'}")


if __name__ == "__main__":
    main()
