"""The moving parts of a training: its steps, evaluations, stages, and what of them a checkpoint holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from neurornn import files, seeding
from neurornn.config import TrainingConfig
from neurornn.networks import Network, build_network, save_network
from neurornn.numerics.threads import engines_alone
from neurornn.tasks import TaskProtocol, describe
from neurornn.training.averaging import AveragedWeights, Ensemble
from neurornn.training.checkpoint import save_checkpoint
from neurornn.training.curriculum import Stage
from neurornn.training.diagnostics import Diagnostics
from neurornn.training.interruption import Interruption
from neurornn.training.losses import Batch
from neurornn.training.metrics import PENALTY, Metrics
from neurornn.training.optimisers import Schedule, build_optimiser, clip
from neurornn.training.penalties import Penalties, apply_max_norm
from neurornn.training.prefetching import Batches
from neurornn.training.run_directory import RunDirectory
from neurornn.training.tensorboard import TensorBoard
from neurornn.vocabulary import RunFailure

N_IMPORTANCE_BATCHES = 8
"""Batches of a finished stage from which the importance of its weights is taken."""
CHECKPOINT_FORMAT = 1
"""Changes when older checkpoints cannot be taken up any more."""
PLAIN = (
    *("step", "first_step", "stage_number", "steps_in_stage", "stage_is_reached", "stopped_by"),
    *("seconds", "seconds_at_evaluation", "last_evaluation", "n_reached", "n_without_gain"),
    *("best_loss", "best_step", "best_network", "snapshots"),
)
"""Attributes of a trainer that a checkpoint holds as they are."""


class DivergedTraining(RunFailure):
    """A loss or gradient that is no longer a number."""


class InterruptedTraining(RunFailure):
    """A training that was asked to stop, and can go on from its checkpoint."""


@dataclass(frozen=True)
class TrainingRun:
    """What `train` gives back.

    Attributes
    ----------
    network : RateRNN, LSTM or GRU
        With the best weights, in eval mode.
    task : Task
    history : xarray.Dataset
        ``loss`` and ``gradient_norm`` (before clipping) and the other columns of ``metrics.csv`` that every
        step fills on ``step``; ``evaluation_loss``, ``evaluation_score`` and what else evaluations measure on
        ``evaluation``, whose coordinate is the step after which it was made. ``attrs["stopped_by"]`` says
        what ended the training.
    config : TrainingConfig
    directory : Path or None
    ensemble : Ensemble or None
        The snapshots, where they were taken.
    """

    network: Network
    task: TaskProtocol
    history: xr.Dataset
    config: TrainingConfig
    directory: Path | None
    ensemble: Ensemble | None = None


@dataclass
class TrainingState:
    """What callbacks see after each evaluation.

    Attributes
    ----------
    step : int
        Gradient steps taken so far.
    network : RateRNN, LSTM or GRU
    task : Task
        That of the stage.
    metrics : dict of str to float
        The last row of ``metrics.csv``.
    """

    step: int
    network: Network
    task: TaskProtocol
    metrics: dict[str, float]
    stopped: bool = False

    def stop(self) -> None:
        """End the training after this evaluation."""
        self.stopped = True


Callback = Callable[[TrainingState], object]
Loss = str | Callable[[Tensor, Tensor], Tensor]


class Trainer:
    """The moving parts of one training.

    `run` takes it to its end; `content` is what a checkpoint holds, and `restore` takes it up again, so that
    what follows has the same bits as if nothing had come between.
    """

    def __init__(
        self,
        network: Network,
        config: TrainingConfig,
        stages: Sequence[Stage],
        loss: Loss | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.network, self.config, self.stages = network, config, stages
        self.loss = config.loss if loss is None else loss
        self.callbacks = callbacks
        self.directory: RunDirectory | None = None
        self.step = self.first_step = int(network.training_record.get("steps_trained", 0))
        self.stage_number = self.steps_in_stage = 0
        self.stage_is_reached = False
        self.seconds = self.seconds_at_evaluation = self._begun = 0.0
        self.last_evaluation = self.step
        self.metrics = Metrics()
        self.tensorboard: TensorBoard | None = None
        self.best_loss, self.best_step, self.best_network = math.inf, self.step, self.weights()
        self.n_reached = self.n_without_gain = 0
        self.stopped_by = ""
        self.snapshots: list[dict[str, Tensor]] = []
        self._trained = {name: own for name, own in network.named_parameters() if own.requires_grad}
        self.optimiser = build_optimiser(config, self._trained.values())
        self.schedule = Schedule(self.optimiser, config)
        self.penalties = Penalties(config.penalties, network)
        self.averaged = AveragedWeights(network) if config.averaging == "weights" else None
        self.diagnostics = Diagnostics(network) if config.diagnostics else None
        self._is_noisy = network.is_noisy
        # Where training goes on, the stream begins at its own place, so that no trial is seen twice.
        position = (self.step,) if self.step else ()
        self._stream = seeding.numpy_stream(config.seed, seeding.TRIALS, *position)
        self._begin_stage()

    # Stages -------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The stage that training is in."""
        return self.stages[self.stage_number]

    def _begin_stage(self) -> None:
        """Draw the stage's held-out trials, and let only its weights ask for a gradient."""
        position = (self.stage_number,) if self.stage_number else ()
        held_out = seeding.numpy_stream(self.config.seed, seeding.EVALUATION, *position)
        unseen = self.stage.task.held_out("validation")
        self.evaluation = self.batch(unseen.draw(self.config.n_evaluation_trials, held_out))
        for name, own in self._trained.items():
            own.requires_grad_(self.stage.trainable is None or name in self.stage.trainable)
        self.batches = Batches(
            self.stage.task, self.config.batch_size, self._stream, self._n_left, ahead=self.config.prefetch
        )

    def _next_stage(self) -> None:
        """Go on to the next stage; what was best in the one before is no measure any more."""
        draws = seeding.numpy_stream(self.config.seed, seeding.IMPORTANCE, self.stage_number)
        drawn = (self.stage.task.draw(self.config.batch_size, draws) for _ in range(N_IMPORTANCE_BATCHES))
        self.penalties.end_stage(self.batch(trials) for trials in drawn)
        # A batch that was drawn ahead is not used: the stream goes on from the last one that was.
        self._stream.bit_generator.state = self.batches.state
        self.stage_number += 1
        self.steps_in_stage, self.stage_is_reached = 0, False
        self.n_reached = self.n_without_gain = 0
        self.best_loss, self.best_step, self.best_network = math.inf, self.step, self.weights()
        self._begin_stage()

    @property
    def n_steps(self) -> int:
        """The step after which training ends at the latest."""
        steps, trials = self.config.n_steps, self.config.max_trials
        if trials is not None:
            steps = min(steps, math.ceil(trials / self.config.batch_size))
        return self.first_step + steps

    @property
    def _n_left(self) -> int:
        """Steps that are left of the training, or of the stage if that is shorter."""
        left, own = self.n_steps - self.step, self.stage.n_steps
        return left if own is None else min(left, own - self.steps_in_stage)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.stopped_by) or self.step >= self.n_steps

    # The way through ----------------------------------------------------------------------------------

    def run(self, directory: RunDirectory | None, progress: bool) -> TrainingRun:
        """Train to the end, writing into a folder where there is one."""
        self.directory = directory
        with ExitStack() as stack:
            if directory is not None and self.config.tensorboard:
                self.tensorboard = TensorBoard(directory.tensorboard, self.step, len(self.metrics.rows))
                stack.callback(self.tensorboard.close)
            stack.enter_context(engines_alone())
            # Whoever calls from within `torch.no_grad` wants to train all the same.
            stack.enter_context(torch.enable_grad())
            stack.callback(self._let_all_ask_for_gradients)
            interruption = None
            if directory is not None:
                stack.enter_context(directory.hold())
                interruption = stack.enter_context(Interruption())
            bar = stack.enter_context(
                tqdm(total=self.n_steps, initial=self.step, desc="train", unit="step", disable=not progress)
            )
            self._begun = time.perf_counter()
            try:
                if not self.metrics.rows:
                    self.metrics.add({"step": self.step})
                    self.evaluate()
                while not self.is_over:
                    self._run_stage(bar, interruption)
            except KeyboardInterrupt:
                self._take_best()
                raise
        return self.finish()

    def _run_stage(self, bar: Any, interruption: Interruption | None) -> None:
        """Train to the end of a stage, or of the training."""
        config = self.config
        with self.batches:
            while self._n_left > 0 and not (self.stage_is_reached or self.stopped_by):
                self.advance()
                if config.max_seconds is not None and self._seconds_so_far() >= config.max_seconds:
                    self.stopped_by = "seconds"
                due = (self.step - self.first_step) % config.evaluate_every == 0
                if due or self.stopped_by or self._n_left == 0:
                    self.evaluate()
                    bar.set_postfix_str(self.summary(), refresh=False)
                bar.update()
                if interruption is not None and interruption.asked and not self.is_over:
                    self._interrupt(interruption.asked)
        if not self.is_over:
            self._next_stage()

    def _interrupt(self, signal: str) -> None:
        assert self.directory is not None
        self._count_seconds()
        self.write()
        self._take_best()
        folder = str(self.directory.path)
        raise InterruptedTraining(
            f"stopped by {signal} after step {self.step} of {self.n_steps}; everything is in the checkpoint: "
            f"go on with `neurornn resume {folder}` (in Python: neurornn.resume({folder!r}))"
        )

    def _let_all_ask_for_gradients(self) -> None:
        for own in self._trained.values():
            own.requires_grad_(True)

    def _take_best(self) -> None:
        """Put the best weights into the network."""
        self.network.load_state_dict(self.best_network)
        self.network.eval()

    def _seconds_so_far(self) -> float:
        return self.seconds + time.perf_counter() - self._begun

    def _count_seconds(self) -> None:
        """Take the time since training began, or since the last evaluation, into that of the run."""
        self.seconds, self._begun = self._seconds_so_far(), time.perf_counter()

    # Steps --------------------------------------------------------------------------------------------

    def batch(self, trials: Any) -> Batch:
        """Return trials as tensors beside the network."""
        return Batch(trials, self.network.output_bias, self.config.normalise, loss=self.loss)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def advance(self) -> None:
        """Take one gradient step."""
        network, config = self.network, self.config
        if not network.training:
            network.train()
        batch = self.batch(self.batches.next())
        row: dict[str, float] = {
            "step": self.step + 1,
            "stage": self.stage_number + 1,
            "trials": (self.step + 1 - self.first_step) * config.batch_size,
            "learning_rate": self.schedule.learning_rate,
        }

        def closure() -> float:
            outputs, rates = network(
                batch.inputs,
                teacher=batch.teacher() if config.teacher else None,
                teacher_probability=config.teacher,
                return_rates=self.penalties.needs_rates,
                truncate=config.truncate,
                checkpoint_every=config.checkpoint_every,
            )[:2]
            for own in self._trained.values():
                own.grad = None
            total = loss = batch.loss(outputs)
            parts = self.penalties(batch, outputs, rates) if config.penalties else {}
            for part in parts.values():
                total = total + part
            total.backward()
            row["loss"] = loss.item()
            row.update({PENALTY + name: part.item() for name, part in parts.items()})
            row["gradient_norm"], row["gradient_norm_clipped"] = clip(self._trained.values(), config)
            for name, value in row.items():
                if not math.isfinite(value):
                    self._stop_diverged(name.replace("_", " "), value, self.step + 1)
            return total.item() if parts else row["loss"]

        if isinstance(self.optimiser, torch.optim.LBFGS):
            # It looks at the loss of one batch several times; what is reported is the last look.
            self.optimiser.step(closure)
        else:
            closure()
            self.optimiser.step()
        if config.max_norm is not None:
            apply_max_norm(network, config.max_norm)
        self.step += 1
        self.steps_in_stage += 1
        self.schedule.step()
        taken = self.step - self.first_step
        if self.averaged is not None and taken > config.averaging_start * config.n_steps:
            self.averaged.update(network)
        if config.averaging == "snapshots" and self.schedule.ends_cycle:
            self.snapshots.append(self.weights())
        self.metrics.add(row)

    def _stop_diverged(self, what: str, value: float, step: int) -> None:
        self._take_best()
        kept = f"the weights of step {self.best_step}, the best so far, are in the network"
        if self.directory is not None and self.directory.checkpoint.exists():
            kept += f" and the last good checkpoint is {str(self.directory.checkpoint)!r}"
            files.write_json(self.directory.failure, {"step": step, "what": what, "value": str(value)})
        raise DivergedTraining(
            f"the {what} became {value} at step {step}: {kept}; train with a smaller learning_rate or "
            "clip_norm"
        )

    # Evaluations --------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self) -> None:
        """Measure the held-out loss and score, keep the best weights, decide, and write."""
        self._count_seconds()
        elapsed = self.seconds - self.seconds_at_evaluation
        network, config = self.network, self.config
        values, score, rates = self._measured(network, "evaluation", with_rates=config.diagnostics)
        scores = {"score": score}
        loss, network_loss = values["evaluation_loss"], values["evaluation_loss"]
        if not math.isfinite(loss):
            self._stop_diverged("held-out loss", loss, self.step)
        if network.has_feedback:
            forced = network(self.evaluation.inputs, teacher=self.evaluation.teacher(), return_rates=False)[0]
            values["evaluation_loss_forced"] = float(self.evaluation.loss(forced))
        if self._is_noisy:
            noisy, scores["noisy_score"], _ = self._measured(network, "noisy", with_noise=True)
            values |= noisy
            loss = noisy["noisy_loss"] if config.evaluate_with_noise else loss
        dead = network.dead_share()
        if dead is not None:
            values["dead_weights"] = dead
        if self.diagnostics is not None:
            values |= self.diagnostics.measure(self.evaluation, rates, scores)
        candidates = [(loss, self.weights)]
        if self.averaged is not None and self.averaged.n_averaged:
            with_noise = self._is_noisy and config.evaluate_with_noise
            own, _, _ = self._measured(self.averaged.network, "averaged", with_noise=with_noise)
            values |= own
            candidates.append((own["averaged_loss"], self._averaged_weights))
        n_since = self.step - self.last_evaluation
        if n_since:
            values["ms_per_step"] = 1e3 * elapsed / n_since
        self.last_evaluation, self.seconds_at_evaluation = self.step, self.seconds
        self.metrics.amend(values)
        self.schedule.evaluated(network_loss)
        self._decide(candidates, values["evaluation_score"])
        self._call_back()
        self.write()
        self._begun = time.perf_counter()

    def _measured(
        self,
        network: Network,
        name: str,
        *,
        with_rates: bool = False,
        with_noise: bool = False,
    ) -> tuple[dict[str, float], np.ndarray, Tensor | None]:
        """Return held-out loss and score under a name, the score of each trial, and the rates."""
        inputs, generator = self.evaluation.inputs, None
        if with_noise:
            # The same noise at every evaluation, so that these differ by their weights only.
            generator = seeding.torch_stream(self.config.seed, seeding.EVALUATION, 0, device=inputs.device)
        outputs, rates = network.eval()(inputs, return_rates=with_rates, generator=generator)[:2]
        score = self.stage.task.score(outputs.cpu().numpy(), self.evaluation.trials)
        loss = float(self.evaluation.loss(outputs))
        return {f"{name}_loss": loss, f"{name}_score": float(np.mean(score))}, np.asarray(score), rates

    def _averaged_weights(self) -> dict[str, Tensor]:
        assert self.averaged is not None
        return {name: own.detach().cpu().clone() for name, own in self.averaged.network.state_dict().items()}

    def _decide(self, candidates: list[tuple[float, Callable[[], dict[str, Tensor]]]], score: float) -> None:
        """Keep the weights where they are the best so far, and stop where the settings say so."""
        config = self.config
        loss, weights = min(candidates, key=lambda own: own[0])
        self.n_without_gain += 1
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best_network = loss, self.step, weights()
            self.n_without_gain = 0
        is_last = self.stage_number == len(self.stages) - 1
        wanted = self.stage.score
        if wanted is None and is_last:
            wanted = config.stop_score
        self.n_reached = self.n_reached + 1 if wanted is not None and score >= wanted else 0
        if self.n_reached >= config.stop_after:
            self.stage_is_reached = True
        if is_last and self.stage_is_reached:
            self.stopped_by = "score"
        elif is_last and config.patience is not None and self.n_without_gain >= config.patience:
            self.stopped_by = "patience"
        elif is_last and self.stage.n_steps is not None and self.steps_in_stage >= self.stage.n_steps:
            self.stopped_by = "stages"
        elif self.step >= self.n_steps:
            self.stopped_by = "steps" if self.step == self.first_step + config.n_steps else "trials"

    def _call_back(self) -> None:
        if not self.callbacks:
            return
        state = TrainingState(self.step, self.network, self.stage.task, dict(self.metrics.rows[-1]))
        with torch.enable_grad():
            for callback in self.callbacks:
                callback(state)
        if state.stopped:
            self.stopped_by = "callback"

    def summary(self) -> str:
        """Return the end of the line on the terminal."""
        last = self.metrics.rows[-1]
        text = f"held-out loss {last['evaluation_loss']:.3g}, score {last['evaluation_score']:.4f}"
        return f"stage {self.stage_number + 1}/{len(self.stages)}, {text}" if len(self.stages) > 1 else text

    # Files --------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Bring the folder up to date: metrics first, then the checkpoint, which knows as many of them."""
        if self.directory is not None:
            self.metrics.write(self.directory.metrics)
            if self.tensorboard is not None:
                self.tensorboard.write(self.metrics)
            previous = self.directory.previous_checkpoint
            save_checkpoint(self.directory.checkpoint, self.content(), previous=previous)

    def content(self) -> dict[str, Any]:
        """Return everything that training needs to go on, as tensors and plain values."""
        return {
            "format": CHECKPOINT_FORMAT,
            **{name: getattr(self, name) for name in PLAIN},
            "network": self.weights(),
            "optimizer": self.optimiser.state_dict(),
            "schedule": self.schedule.state(),
            "penalties": self.penalties.state(),
            "averaged": None if self.averaged is None else self.averaged.state(),
            "trial_stream": self.batches.state,
            "noise_stream": self.network.noise_generator.get_state(),
            "metrics": self.metrics.state(),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what a checkpoint holds; the network and the settings must be those that wrote it.

        Raises
        ------
        KeyError, RuntimeError, TypeError, ValueError
            Where they are not.
        """
        for name in PLAIN:
            setattr(self, name, content[name])
        # The best ones will be needed at the end: they are tried on while it can still be told.
        self.network.load_state_dict(content["best_network"])
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimizer"])
        self.schedule.restore(content["schedule"])
        self.penalties.restore(content["penalties"])
        if self.averaged is not None:
            self.averaged.restore(content["averaged"])
        self._stream.bit_generator.state = content["trial_stream"]
        self.network.noise_generator.set_state(content["noise_stream"])
        self.metrics = Metrics.of_state(content["metrics"])
        self._begin_stage()

    def finish(self) -> TrainingRun:
        """Put the best weights into the network and write it."""
        network = self.network
        self._take_best()
        network.training_record = {
            "steps_trained": self.step,
            "best_step": self.best_step,
            "task": describe(self.stage.task),
            "config": self.config.to_dict(),
        }
        ensemble = self._ensemble()
        if self.directory is not None:
            for number, member in enumerate(ensemble.networks if ensemble else (), start=1):
                save_network(member, self.directory.snapshots / f"snapshot_{number}")
            save_network(network, self.directory.network)
        history = self.metrics.history(self.best_step, self.stopped_by)
        path = self.directory.path if self.directory else None
        return TrainingRun(network, self.stage.task, history, self.config, path, ensemble)

    def _ensemble(self) -> Ensemble | None:
        if not self.snapshots:
            return None
        members = []
        for weights in self.snapshots:
            members.append(build_network(self.network.config, device=self.network.output_bias.device))
            members[-1].load_state_dict(weights)
        return Ensemble(members, self.stage.task.loss)
