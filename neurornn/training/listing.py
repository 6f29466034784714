"""What runs there are below a folder, and how far each of them is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from neurornn import files
from neurornn.config import RunConfig, read_config
from neurornn.training.metrics import Metrics
from neurornn.training.run_directory import RunDirectory
from neurornn.vocabulary import InputError, RunFailure


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes
    ----------
    path : Path
        Its folder.
    task : str
    state : {"finished", "training", "stopped", "diverged", "unreadable"}
    step, n_steps : int
        How many gradient steps are in ``metrics.csv``, and how many there are to be at most.
    best_score : float
        Best held-out score so far; NaN where none was measured.
    note : str
        Why it diverged or cannot be read.
    """

    path: Path
    task: str
    state: str
    step: int = 0
    n_steps: int = 0
    best_score: float = float("nan")
    note: str = ""


def list_runs(folder: str | os.PathLike[str]) -> list[RunSummary]:
    """Return the runs in a folder and below it, in the order of their names.

    Raises
    ------
    InputError
        Where there is no such folder.
    """
    path = files.as_path(folder, "folder")
    if not path.is_dir():
        raise InputError(f"there is no folder {str(path)!r}: check its name")
    return [summary(RunDirectory(own.parent)) for own in sorted(path.rglob("config.toml"))]


def summary(run: RunDirectory) -> RunSummary:
    """Return how far a run is; a file of it that cannot be read is told, not raised."""
    try:
        config = read_config(run.config, RunConfig)
    except (InputError, RunFailure) as error:
        return RunSummary(run.path, "", "unreadable", note=str(error))
    state, note = "stopped", ""
    if run.is_finished:
        state = "finished"
    elif run.is_training:
        state = "training"
    elif run.failure.exists():
        state = "diverged"
        try:
            failure = json.loads(files.read_bytes(run.failure))
            note = f"the {failure['what']} became {failure['value']} at step {failure['step']}"
        except (InputError, ValueError, KeyError, TypeError):
            note = f"{run.failure.name} cannot be read"
    step, best = 0, float("nan")
    if run.metrics.exists():
        try:
            rows = Metrics.of_text(files.read_bytes(run.metrics).decode()).rows
            step = int(rows[-1]["step"]) if rows else 0
        except (InputError, ValueError, KeyError, TypeError):
            return RunSummary(run.path, config.task.name, "unreadable", note="metrics.csv cannot be read")
        best = max((row["evaluation_score"] for row in rows if "evaluation_score" in row), default=best)
    return RunSummary(run.path, config.task.name, state, step, config.training.n_steps, best, note)
