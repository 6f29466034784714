"""Training: backpropagation through time on fresh trials, the weights that do best on held-out ones kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from neurornn.config import (
    RecordingConfig,
    RunConfig,
    StageConfig,
    TaskConfig,
    TrainingConfig,
    read_config,
    write_toml,
)
from neurornn.networks import Network, build_network
from neurornn.tasks import TASKS, TaskProtocol, describe, registered_name
from neurornn.training.averaging import need_averaging
from neurornn.training.checkpoint import UNFIT, does_not_fit, load_latest
from neurornn.training.curriculum import build_stages, take_tasks
from neurornn.training.loading import task_of
from neurornn.training.losses import need_loss
from neurornn.training.optimisers import need_optimiser
from neurornn.training.penalties import Penalties, need_max_norm
from neurornn.training.run_directory import RunDirectory
from neurornn.training.tensorboard import need_tensorboard
from neurornn.training.trainer import CHECKPOINT_FORMAT, Callback, Loss, Trainer, TrainingRun
from neurornn.vocabulary import VERSION, InputError

OWN = "own: "
"""What the name of a loss begins with that is a function of the user's."""


def train(
    network: Network,
    task: TaskProtocol,
    *,
    n_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    loss: Loss | None = None,
    stages: Sequence[Mapping[str, Any] | StageConfig] | None = None,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    recording: RecordingConfig | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    **settings: Any,
) -> TrainingRun:
    """Train a network on a task by backpropagation through time, in place.

    Every step draws fresh trials and takes one step of the optimiser. Every ``evaluate_every`` steps the loss
    and the score on a fixed set of held-out trials are measured without recurrent noise; the weights with the
    lowest held-out loss are left in the network at the end. Training a network again continues: its steps
    are counted on, and its trials are fresh ones (the optimiser's running means begin anew).

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Changed in place.
    task : Task
        Registered or not.
    n_steps, batch_size, learning_rate : optional
        Gradient steps at most, trials per step, the optimiser's step size. These and all settings below are
        taken from ``task.recipe`` where they are left out, or else from `neurornn.config.TrainingConfig`.
    loss : str or callable, optional
        A name in `neurornn.training.LOSSES`, or a function of outputs and targets; the task's own by default.
    stages : sequence of mapping, optional
        A curriculum: for each stage a table of ``task`` (another one, or its registered name),
        ``parameters`` (fields of the task that differ), ``n_steps`` and ``score`` (whichever comes first ends
        the stage) and ``trainable``. The best weights are those of the last stage.
    seed : int
        Seed of the training and of the evaluation trials, independent streams.
    directory : path-like, optional
        Folder of the run: configuration, metrics, checkpoint, final weights. Nothing is written without it.
        With it, Ctrl-C and SIGTERM stop the training between two steps, to be taken up by `resume`.
    overwrite : bool
        Whether an earlier run in the folder is replaced.
    recording : RecordingConfig, optional
        Kept in the run's configuration for the recording that follows.
    callbacks : sequence of callable
        Each is called after every evaluation with a `neurornn.training.TrainingState`: step, network, task,
        the row of metrics, and ``stop()``.
    progress : bool
        Whether to show a progress bar.
    **settings
        Any other field of `neurornn.config.TrainingConfig`.

        Loss
            ``normalise`` ("mask": divide by the number of entries with ``mask > 0``; "all": of all valid
            ones), ``penalties`` (names in `neurornn.training.PENALTIES` and their coefficients), ``max_norm``
            (of a unit's incoming recurrent weights), ``teacher`` (share of steps at which the wanted outputs
            are fed back to a network with output feedback; 0, the default, is the open loop).
        Weights
            ``trainable``: what is trained alone, such as ``["input", "recurrent"]`` or names of parameters.
        Optimiser
            ``optimiser`` (a name in ``torch.optim``, "Adam" by default), ``optimiser_options``, ``schedule``
            ("constant", "cosine", "plateau", "cyclic"), ``schedule_options``, ``warmup_steps``, ``clip_norm``
            (1 by default, which keeps one rare trial from throwing the network out of its basin; 0: no
            limit), ``clip_value``, ``averaging`` ("weights" or "snapshots"), ``averaging_start``,
            ``n_snapshots``.
        Stopping
            ``max_trials``, ``max_seconds``, ``stop_score`` reached in ``stop_after`` evaluations in a row,
            ``patience`` (evaluations without a lower held-out loss).
        Evaluation
            ``evaluate_every`` (100 steps), ``n_evaluation_trials`` (256), ``evaluate_with_noise`` (whether
            the best weights are those of the lowest loss with the network's noise), ``diagnostics``,
            ``tensorboard``.
        Memory
            ``truncate`` (steps of the windows that no gradient leaves towards the past),
            ``checkpoint_every`` (steps whose activity is held at once), ``prefetch`` (draw the next batch
            while the network learns; it pays where a core is free).

    Returns
    -------
    TrainingRun

    Raises
    ------
    InputError
        Before anything is done: the sizes or dt of network and task differ, the engine cannot serve, a
        setting is unknown or out of range, the folder holds a run.
    DivergedTraining
        Where the loss or its gradient is no longer a number; the best weights so far are left in the network
        and the last good checkpoint on the disk.
    InterruptedTraining
        After Ctrl-C or SIGTERM, where there is a folder.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> task = FlipFlop(n_bits=1, duration=200)
    >>> net = RateRNN(1, 8, 1, seed=0)
    >>> run = train(net, task, n_steps=20, batch_size=8, learning_rate=1e-2, progress=False)
    >>> bool(run.history.evaluation_loss[-1] < run.history.evaluation_loss[0])
    True
    """
    need_matching(network, task)
    given: dict[str, Any] = {
        "n_steps": n_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "loss": OWN + getattr(loss, "__name__", type(loss).__name__) if callable(loss) else loss,
        "seed": seed,
        **settings,
    }
    given = {name: value for name, value in given.items() if value is not None}
    own_tasks: list[TaskProtocol | None] = []
    if stages is not None:
        given["stages"], own_tasks = take_tasks(stages)
    config = TrainingConfig.from_dict({**task.recipe.training, **given}, source="the training settings")
    trainer = _prepared(network, task, config, own_tasks, loss if callable(loss) else None, callbacks)
    run = None
    if directory is not None:
        run = _begin_directory(directory, network, task, config, recording, overwrite)
    return trainer.run(run, progress)


def resume(
    directory: str | os.PathLike[str],
    *,
    task: TaskProtocol | None = None,
    stages: Sequence[Mapping[str, Any] | StageConfig] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    device: torch.device | str | None = None,
    progress: bool = True,
) -> TrainingRun:
    """Go on with a training that was interrupted, to the same bits as if it had not been.

    Parameters
    ----------
    directory : path-like
        Folder of the run.
    task, stages, loss : optional
        What a file cannot hold must be given again: a task, stages with a task, or a loss of one's own.
    callbacks : sequence of callable
        As for `train`.
    device : optional
        As in torch.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    TrainingRun

    Raises
    ------
    InputError
        Where there is no run, it is finished, or another process is training there.
    CorruptFile
        Where neither the checkpoint nor the one before it can be read.

    Examples
    --------
    A run that is stopped after its first evaluation, by an error in a callback, and then resumed:

    >>> import tempfile
    >>> from neurornn.networks import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> def fail(state):
    ...     if state.step == 10:
    ...         raise RuntimeError("the power went off")
    >>> task, folder = FlipFlop(n_bits=1, duration=200), tempfile.mkdtemp() + "/run"
    >>> settings = {"n_steps": 20, "batch_size": 4, "evaluate_every": 10, "progress": False}
    >>> train(RateRNN(1, 8, 1, seed=0), task, directory=folder, callbacks=[fail], **settings)
    Traceback (most recent call last):
    RuntimeError: the power went off
    >>> run = resume(folder, progress=False)
    >>> run.history.step.values[[0, -1]].tolist(), run.history.attrs["stopped_by"]
    ([1, 20], 'steps')
    """
    run = RunDirectory.open(directory)
    if run.is_finished:
        raise InputError(
            f"the run in {str(run.path)!r} is finished: load it with neurornn.load_run and train it on, or "
            "start another"
        )
    run.need_idle()
    config = read_config(run.config, RunConfig)
    run.need_checkpoint()
    named = config.training.loss or ""
    if named.startswith(OWN) and not callable(loss):
        raise InputError(
            f"the run in {str(run.path)!r} was trained with a loss of your own, {named.removeprefix(OWN)!r}: "
            "pass it, resume(directory, loss=...)"
        )
    task = task_of(config, run, task)
    own_tasks = take_tasks(stages)[1] if stages is not None else []
    for number, stage in enumerate(config.training.stages, start=1):
        known = stage.task is None or stage.task in TASKS
        if not known and not any(own is not None for own in own_tasks[number - 1 : number]):
            raise InputError(
                f"stage {number} of the run in {str(run.path)!r} was trained on {stage.task!r}, which is not "
                "registered: pass the stages as you gave them to train, stages=..."
            )
    content = load_latest(run.checkpoint, run.previous_checkpoint)
    if content.get("format") != CHECKPOINT_FORMAT:
        raise InputError(
            f"the checkpoint in {str(run.path)!r} is of another version of neurornn "
            f"({config.neurornn_version or 'unknown'}): resume it with that one"
        )
    network = build_network(config.network, device=device)
    own_loss = loss if callable(loss) else None
    trainer = _prepared(network, task, config.training, own_tasks, own_loss, callbacks)
    try:
        trainer.restore(content)
    except UNFIT as error:
        raise does_not_fit(run, error) from error
    run.sweep()
    run.failure.unlink(missing_ok=True)
    return trainer.run(run, progress)


def _prepared(
    network: Network,
    task: TaskProtocol,
    config: TrainingConfig,
    own_tasks: Sequence[TaskProtocol | None],
    loss: Loss | None,
    callbacks: Sequence[Callback],
) -> Trainer:
    """Return what trains, after refusing all that could not be done; nothing is written for that."""
    if (config.loss or "").startswith(OWN) and loss is None:
        raise InputError(
            f"`loss` = {config.loss!r} is a function, which no file can hold: train from Python, with "
            "loss=..."
        )
    for callback in callbacks:
        if not callable(callback):
            raise InputError(f"`callbacks` must be functions of the training's state, got {callback!r}")
    stages = build_stages(config, task, network, own_tasks)
    for stage in stages:
        need_matching(network, stage.task)
        need_loss(config.loss if loss is None else loss, stage.task, network)
    _need_trainable(network, config)
    # The task draws its held-out trials before an earlier run's folder is touched: it may refuse.
    return Trainer(network, config, stages, loss, callbacks)


def _need_trainable(network: Network, config: TrainingConfig) -> None:
    """Refuse settings that this network cannot be trained with: by name, or by trying one step."""
    if config.teacher and not network.has_feedback:
        raise InputError(
            f"`teacher` = {config.teacher} needs a network with output feedback, which this one has not: "
            "build it with feedback=True"
        )
    need_averaging(config)
    if config.tensorboard:
        need_tensorboard()
    need_optimiser(config, [own for own in network.parameters() if own.requires_grad])
    needs_rates = Penalties(config.penalties, network).needs_rates
    if config.max_norm is not None:
        need_max_norm(network, config.max_norm)
    # One step of one trial, with a generator of its own: the network's noise stream must not move on.
    inputs, was_training = network.example_inputs(), network.training
    try:
        network.train()(
            inputs,
            generator=torch.Generator(inputs.device),
            teacher=inputs.new_zeros(1, 1, network.output_size) if config.teacher else None,
            teacher_probability=config.teacher,
            return_rates=needs_rates,
            truncate=config.truncate,
            checkpoint_every=config.checkpoint_every,
        )
    finally:
        network.train(was_training)


def need_matching(network: Network, task: TaskProtocol) -> None:
    """Refuse a network whose sizes or dt are not the task's.

    Raises
    ------
    InputError
        The sentence names both sides.
    """
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"`network` must be a network, got {type(network).__name__}: build a RateRNN")
    if not isinstance(task, TaskProtocol):
        raise InputError(
            f"`task` must be a task, got {type(task).__name__}: take one with neurornn.tasks.get(name), or "
            "inherit from neurornn.Task"
        )
    for own, other in (("input_size", "n_inputs"), ("output_size", "n_outputs")):
        has, needs = getattr(network, own), getattr(task, other)
        if has != needs:
            raise InputError(
                f"the network's {own} is {has} but the task's {other} is {needs}: "
                f"build the network with {own}=task.{other}"
            )
    need_same_dt(network, task.dt)


def need_same_dt(network: Network, dt: float) -> None:
    """Refuse a network with a time step of its own that is not the task's."""
    if network.dt is not None and network.dt != dt:
        raise InputError(
            f"the network's dt is {network.dt} ms but the task's is {dt} ms: there is one dt, the task's; "
            "build the network with dt=task.dt or use network.with_dt(task.dt)"
        )


def _begin_directory(
    directory: str | os.PathLike[str],
    network: Network,
    task: TaskProtocol,
    config: TrainingConfig,
    recording: RecordingConfig | None,
    overwrite: bool,
) -> RunDirectory:
    """Write the configuration before the first step; what cannot be written is refused before any is."""
    name = registered_name(task)
    record = describe(task)
    run_config = RunConfig(
        task=TaskConfig(name=name or record["class"], parameters=record["parameters"]),
        network=network.config,  # type: ignore[arg-type]
        training=config,
        recording=recording or RecordingConfig(),
        neurornn_version=VERSION,
    )
    run = RunDirectory.create(directory, overwrite=overwrite)
    write_toml(run.config, run_config)
    return run
