"""A finished or interrupted run, read back from its folder."""

from __future__ import annotations

import os

import torch

from neurornn.config import RunConfig, read_config
from neurornn.networks import build_network, load_network
from neurornn.tasks import TASKS, TaskProtocol, get
from neurornn.training.averaging import Ensemble
from neurornn.training.checkpoint import UNFIT, does_not_fit, load_latest
from neurornn.training.metrics import Metrics
from neurornn.training.run_directory import RunDirectory
from neurornn.training.trainer import TrainingRun
from neurornn.vocabulary import InputError, need_choice


def load_run(
    directory: str | os.PathLike[str],
    *,
    task: TaskProtocol | None = None,
    weights: str = "best",
    device: torch.device | str | None = None,
) -> TrainingRun:
    """Read a run from its folder.

    Parameters
    ----------
    directory : path-like
        The folder that `train` or ``neurornn study`` wrote.
    task : Task, optional
        The task, where it is one of your own: a file can name only registered ones.
    weights : {"best", "last"}
        Which weights the network has: those of the lowest held-out loss, or of the last checkpoint.
    device : optional
        As in torch.

    Returns
    -------
    TrainingRun
        Of a run that was interrupted, what there is so far.

    Raises
    ------
    InputError
        Where there is no run, or its task is not registered and none was given.
    CorruptFile
        Where a file is damaged.
    """
    run = RunDirectory.open(directory)
    need_choice(weights, "weights", ("best", "last"))
    config = read_config(run.config, RunConfig)
    task = task_of(config, run, task)
    run.need_checkpoint()
    checkpoint = load_latest(run.checkpoint, run.previous_checkpoint)
    network = build_network(config.network, device=device)
    try:
        # metrics.csv may be some steps ahead of the checkpoint that a killed process has left.
        metrics = Metrics.of_state(checkpoint["metrics"])
        history = metrics.history(checkpoint["best_step"], checkpoint["stopped_by"])
        network.load_state_dict(checkpoint["best_network" if weights == "best" else "network"])
    except UNFIT as error:
        raise does_not_fit(run, error) from error
    if weights == "best" and run.is_finished:
        network = load_network(run.network, device=device)
    network.eval()
    members = sorted(run.snapshots.glob("snapshot_*.json"))
    ensemble = None
    if members:
        networks = [load_network(own.with_suffix(""), device=device) for own in members]
        ensemble = Ensemble(networks, task.loss)
    return TrainingRun(network, task, history, config.training, run.path, ensemble)


def task_of(config: RunConfig, run: RunDirectory, task: TaskProtocol | None) -> TaskProtocol:
    """Return the task of a run: the one that is given, or the registered one that its configuration names.

    Raises
    ------
    InputError
        Where it is not registered and none is given.
    """
    if task is not None:
        return task
    if config.task.name not in TASKS:
        raise InputError(
            f"the run in {str(run.path)!r} was trained on {config.task.name!r}, which is not registered: "
            "pass the task itself, task=..."
        )
    return get(config.task.name, **config.task.parameters)
