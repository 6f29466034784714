"""A finished or interrupted run, read back from its folder."""

from __future__ import annotations

import csv
import io
import os

import torch

from neurornn import files
from neurornn.config import RunConfig, read_config
from neurornn.networks import build_network, load_network
from neurornn.tasks import TASKS, TaskProtocol, get
from neurornn.training.checkpoint import load_checkpoint
from neurornn.training.loop import TrainingRun, history_dataset
from neurornn.training.run_directory import RunDirectory
from neurornn.vocabulary import InputError


def load_run(
    directory: str | os.PathLike[str],
    *,
    task: TaskProtocol | None = None,
    device: torch.device | str | None = None,
) -> TrainingRun:
    """Read a run from its folder.

    Parameters
    ----------
    directory : path-like
        The folder that `train` or ``neurornn study`` wrote.
    task : Task, optional
        The task, where it is one of your own: a file can name only registered ones.
    device : optional
        As in torch.

    Returns
    -------
    TrainingRun
        With the best weights; of a run that was interrupted, the best so far.

    Raises
    ------
    InputError
        Where there is no run, or its task is not registered and none was given.
    CorruptFile
        Where a file is damaged.
    """
    run = RunDirectory.open(directory)
    config = read_config(run.config, RunConfig)
    if task is None:
        if config.task.name not in TASKS:
            raise InputError(
                f"the run in {str(run.path)!r} was trained on {config.task.name!r}, which is not registered: "
                "pass the task itself, load_run(directory, task=...)"
            )
        task = get(config.task.name, **config.task.parameters)
    checkpoint = load_checkpoint(run.checkpoint)
    if run.network.with_suffix(".json").exists():
        network = load_network(run.network, device=device)
    else:
        network = build_network(config.network, device=device)
        network.load_state_dict(checkpoint["best_network"])
        network.eval()
    table = csv.DictReader(io.StringIO(files.read_bytes(run.metrics).decode()))
    rows = [{key: float(value) for key, value in row.items() if value} for row in table]
    history = history_dataset(rows, checkpoint["best_step"])
    return TrainingRun(network, task, history, config.training, run.path)
