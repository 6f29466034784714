"""Training: backpropagation through time on fresh trials, the weights that do best on held-out ones kept."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from neurornn import files, seeding
from neurornn.config import RecordingConfig, RunConfig, TaskConfig, TrainingConfig, write_toml
from neurornn.networks import Network, save_network
from neurornn.numerics.threads import engines_alone
from neurornn.tasks import TaskProtocol, describe, registered_name
from neurornn.training.checkpoint import save_checkpoint
from neurornn.training.losses import Batch
from neurornn.training.prefetching import Batches
from neurornn.training.run_directory import RunDirectory
from neurornn.vocabulary import VERSION, InputError, RunFailure

METRICS = ("step", "loss", "gradient_norm", "evaluation_loss", "evaluation_score")
EXTRAS = ("evaluation_loss_forced", "dead_weights")
"""What an evaluation has of some networks only: those with output feedback, and with rectified weights."""


class DivergedTraining(RunFailure):
    """A loss or gradient that is no longer a number."""


@dataclass(frozen=True)
class TrainingRun:
    """What `train` gives back.

    Attributes
    ----------
    network : RateRNN, LSTM or GRU
        With the best weights, in eval mode.
    task : Task
    history : xarray.Dataset
        ``loss`` and ``gradient_norm`` (before clipping) on ``step``; ``evaluation_loss`` and
        ``evaluation_score`` on ``evaluation``, whose coordinate is the step after which it was made. Of a
        network with output feedback that is the open loop, and ``evaluation_loss_forced`` is beside it; of
        one with rectified weights there is ``dead_weights``, the share of those at 0.
    config : TrainingConfig
    directory : Path or None
    """

    network: Network
    task: TaskProtocol
    history: xr.Dataset
    config: TrainingConfig
    directory: Path | None


def train(
    network: Network,
    task: TaskProtocol,
    *,
    n_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    clip_norm: float | None = None,
    normalise: str | None = None,
    evaluate_every: int | None = None,
    n_evaluation_trials: int | None = None,
    teacher: float | None = None,
    truncate: int | None = None,
    checkpoint_every: int | None = None,
    prefetch: bool | None = None,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    recording: RecordingConfig | None = None,
    progress: bool = True,
) -> TrainingRun:
    """Train a network on a task by backpropagation through time, in place.

    Every step draws fresh trials and takes one step of Adam. Every ``evaluate_every`` steps the loss and the
    score on a fixed set of held-out trials are measured without recurrent noise; the weights with the lowest
    held-out loss are left in the network at the end. Training a network again continues: its steps are
    counted on, and its trials are fresh ones (Adam's running means begin anew).

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Changed in place.
    task : Task
        Registered or not.
    n_steps, batch_size, learning_rate : optional
        Gradient steps, trials per step, Adam's step size. These and the next ones, up to ``seed``, are taken
        from ``task.recipe`` where they are left out, or else from `neurornn.config.TrainingConfig`.
    clip_norm : float, optional
        Largest global norm of the gradient; the default 1 keeps one rare trial from throwing the network out
        of its basin, 0 means no limit.
    normalise : {"mask", "all"}, optional
        Divide the loss by the number of entries with ``mask > 0`` (the default), or of all valid ones.
    evaluate_every, n_evaluation_trials : int, optional
        How often (100 steps by default), and on how many trials (256), to evaluate.
    teacher : float, optional
        Teacher forcing of a network with output feedback: the share of steps, drawn for each trial, at which
        the wanted outputs are fed back in place of the network's own. 0, the default, is the open loop, 1
        forces always; the evaluation reports both.
    truncate : int, optional
        Truncated backpropagation: time is cut into windows of so many steps, and no gradient goes back from
        one into the one before. By default gradients go through the whole trial.
    checkpoint_every : int, optional
        For trials too long for memory: hold the activity of so many steps only, and compute it again for the
        gradient, which is the same.
    prefetch : bool, optional
        Whether a thread draws the next batch while the network learns from the last one. The numbers are the
        same; it pays where trials are slow to draw and a core is free, and costs time elsewhere, so that it
        is off by default.
    seed : int
        Seed of the training and of the evaluation trials, independent streams.
    directory : path-like, optional
        Folder of the run: configuration, metrics, checkpoint, final weights. Nothing is written without it.
    overwrite : bool
        Whether an earlier run in the folder is replaced.
    recording : RecordingConfig, optional
        Kept in the run's configuration for the recording that follows.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    TrainingRun

    Raises
    ------
    InputError
        Before anything is done: the sizes or dt of network and task differ, the engine cannot serve, a
        setting is out of range, the folder holds a run.
    DivergedTraining
        Where the loss or its gradient is no longer a number; the best weights so far are left in the network
        and the last good checkpoint on the disk.

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
    given = {
        "n_steps": n_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "clip_norm": clip_norm,
        "normalise": normalise,
        "evaluate_every": evaluate_every,
        "n_evaluation_trials": n_evaluation_trials,
        "teacher": teacher,
        "truncate": truncate,
        "checkpoint_every": checkpoint_every,
        "prefetch": prefetch,
        "seed": seed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    config = TrainingConfig.from_dict({**task.recipe.training, **given}, source="the training settings")
    _need_trainable(network, task, config)
    # The task draws its held-out trials before an earlier run's folder is touched: it may refuse.
    state = _Training(network, task, config)
    if directory is not None:
        state.run = _begin_directory(directory, network, task, config, recording, overwrite)
    bar = tqdm(total=config.n_steps, desc="train", unit="step", disable=not progress)
    with engines_alone(), bar, state.batches:
        state.evaluate()
        for k in range(1, config.n_steps + 1):
            state.advance()
            if k % config.evaluate_every == 0 or k == config.n_steps:
                state.evaluate()
                bar.set_postfix_str(state.summary(), refresh=False)
            bar.update()
    return state.finish()


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


def _need_trainable(network: Network, task: TaskProtocol, config: TrainingConfig) -> None:
    """Refuse a teacher nobody listens to, a loss that the readout is not for, an engine that cannot serve."""
    if config.teacher and not network.has_feedback:
        raise InputError(
            f"`teacher` = {config.teacher} needs a network with output feedback, which this one has not: "
            "build it with feedback=True"
        )
    if task.loss == "cross_entropy" and network.readout_kind == "softmax":
        raise InputError(
            "the cross-entropy takes the softmax itself: build the network with readout='linear'"
        )
    # One step of one trial, with a generator of its own: the network's noise stream must not move on.
    inputs, was_training = network.example_inputs(), network.training
    try:
        network.train()(
            inputs,
            generator=torch.Generator(inputs.device),
            teacher=inputs.new_zeros(1, 1, network.output_size) if config.teacher else None,
            teacher_probability=config.teacher,
            return_rates=False,
            truncate=config.truncate,
            checkpoint_every=config.checkpoint_every,
        )
    finally:
        network.train(was_training)


def need_same_dt(network: Network, dt: float) -> None:
    """Refuse a network with a time step of its own that is not the task's."""
    if network.dt is not None and network.dt != dt:
        raise InputError(
            f"the network's dt is {network.dt} ms but the task's is {dt} ms: there is one dt, the task's; "
            "build the network with dt=task.dt or use network.with_dt(task.dt)"
        )


@dataclass
class _Training:
    """The moving parts of one training."""

    network: Network
    task: TaskProtocol
    config: TrainingConfig
    run: RunDirectory | None = None
    step: int = field(init=False)
    rows: list[dict[str, float]] = field(default_factory=list)
    n_written: int = 0
    best_loss: float = math.inf

    def __post_init__(self) -> None:
        config = self.config
        self.step = int(self.network.training_record.get("steps_trained", 0))
        # Where training goes on, the stream begins at its own place, so that no trial is seen twice.
        position = (self.step,) if self.step else ()
        stream = seeding.numpy_stream(config.seed, seeding.TRIALS, *position)
        self.batches = Batches(self.task, config.batch_size, stream, config.n_steps, ahead=config.prefetch)
        held_out = seeding.numpy_stream(config.seed, seeding.EVALUATION)
        unseen = self.task.held_out("validation")
        self.evaluation = self.batch(unseen.draw(config.n_evaluation_trials, held_out))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self.best_step = self.step
        self.best_weights = self.weights()

    def batch(self, trials: Any) -> Batch:
        return Batch(trials, self.network.output_bias, self.config.normalise)

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def advance(self) -> None:
        """Take one gradient step."""
        network, config = self.network.train(), self.config
        batch = self.batch(self.batches.next())
        outputs = network(
            batch.inputs,
            teacher=batch.teacher() if config.teacher else None,
            teacher_probability=config.teacher,
            return_rates=False,
            truncate=config.truncate,
            checkpoint_every=config.checkpoint_every,
        )[0]
        self.optimizer.zero_grad()
        loss = batch.loss(outputs)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm or math.inf)
        row = {"step": self.step + 1, "loss": loss.item(), "gradient_norm": norm.item()}
        for what in ("loss", "gradient_norm"):
            if not math.isfinite(row[what]):
                self.stop_diverged(what.replace("_", " "), row[what], self.step + 1)
        self.optimizer.step()
        self.step += 1
        self.rows.append(row)

    def stop_diverged(self, what: str, value: float, step: int) -> None:
        self.network.load_state_dict(self.best_weights)
        self.network.eval()
        kept = f"the weights of step {self.best_step}, the best so far, are in the network"
        if self.run is not None and self.run.checkpoint.exists():
            kept += f" and the last good checkpoint is {str(self.run.checkpoint)!r}"
        raise DivergedTraining(
            f"the {what} became {value} at step {step}: {kept}; train with a smaller learning_rate or "
            "clip_norm"
        )

    @torch.no_grad()
    def evaluate(self) -> None:
        """Measure the held-out loss and score, keep the weights where they are the best, and write."""
        outputs = self.network.eval()(self.evaluation.inputs, return_rates=False)[0]
        loss = float(self.evaluation.loss(outputs))
        if not math.isfinite(loss):
            self.stop_diverged("held-out loss", loss, self.step)
        score = self.task.score(outputs.cpu().numpy(), self.evaluation.trials)
        if not self.rows:
            self.rows.append({"step": self.step})
        self.rows[-1] |= {"evaluation_loss": loss, "evaluation_score": float(np.mean(score))}
        if self.network.has_feedback:
            forced = self.network(
                self.evaluation.inputs, teacher=self.evaluation.teacher(), return_rates=False
            )[0]
            self.rows[-1]["evaluation_loss_forced"] = float(self.evaluation.loss(forced))
        dead = self.network.dead_share()
        if dead is not None:
            self.rows[-1]["dead_weights"] = dead
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best_weights = loss, self.step, self.weights()
        if self.run is not None:
            self.write(self.run)

    def write(self, run: RunDirectory) -> None:
        buffer = io.StringIO()
        columns = (*METRICS, *(name for name in EXTRAS if name in self.rows[0]))
        table = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        if self.n_written == 0:
            table.writeheader()
        table.writerows(self.rows[self.n_written :])
        files.append_text(run.metrics, buffer.getvalue())
        self.n_written = len(self.rows)
        save_checkpoint(
            run.checkpoint,
            {
                "step": self.step,
                "network": self.weights(),
                "optimizer": self.optimizer.state_dict(),
                "best_step": self.best_step,
                "best_loss": self.best_loss,
                "best_network": self.best_weights,
                "trial_stream": self.batches.state,
                "noise_stream": self.network.noise_generator.get_state(),
                "metrics": self.rows,
            },
        )

    def summary(self) -> str:
        last = self.rows[-1]
        return f"held-out loss {last['evaluation_loss']:.3g}, score {last['evaluation_score']:.4f}"

    def finish(self) -> TrainingRun:
        """Put the best weights into the network and write it."""
        network = self.network
        network.load_state_dict(self.best_weights)
        network.eval()
        network.training_record = {
            "steps_trained": self.step,
            "best_step": self.best_step,
            "task": describe(self.task),
            "config": self.config.to_dict(),
        }
        if self.run is not None:
            save_network(network, self.run.network)
        history = history_dataset(self.rows, self.best_step)
        return TrainingRun(network, self.task, history, self.config, self.run.path if self.run else None)


def history_dataset(rows: list[dict[str, float]], best_step: int) -> xr.Dataset:
    """Return rows of metrics as a labelled history."""
    steps = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "evaluation_loss" in row]
    return xr.Dataset(
        {
            "loss": ("step", [row["loss"] for row in steps]),
            "gradient_norm": ("step", [row["gradient_norm"] for row in steps]),
            "evaluation_loss": ("evaluation", [row["evaluation_loss"] for row in evaluations]),
            "evaluation_score": ("evaluation", [row["evaluation_score"] for row in evaluations]),
            **{
                name: ("evaluation", [row[name] for row in evaluations])
                for name in EXTRAS
                if evaluations and all(name in row for row in evaluations)
            },
        },
        coords={
            "step": ("step", np.array([row["step"] for row in steps], dtype=int)),
            "evaluation": ("evaluation", np.array([row["step"] for row in evaluations], dtype=int)),
        },
        attrs={"best_step": best_step},
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
