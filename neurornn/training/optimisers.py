"""Optimisers, learning-rate schedules and clipping, through torch's own."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurornn.config import TrainingConfig
from neurornn.vocabulary import InputError, unknown_name

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}
"""The optimisers of the installed torch, by name."""
REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What torch raises where it cannot do with a value."""
RESERVED = ("params", "lr", "foreach", "fused", "capturable", "differentiable")
"""Keyword arguments that are not for `optimiser_options`."""


def build_optimiser(config: TrainingConfig, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Return the optimiser that a configuration names, for these parameters.

    Raises
    ------
    InputError
        Where there is none of that name, or it does not take these options or parameters.
    """
    if config.optimiser not in OPTIMISERS:
        unknown_name("optimiser", config.optimiser, OPTIMISERS)
    kind, options = OPTIMISERS[config.optimiser], dict(config.optimiser_options)
    known = [name for name in inspect.signature(kind).parameters if name not in RESERVED]
    for name in options:
        if name not in known:
            unknown_name(f"option of {config.optimiser}", name, known)
        if isinstance(options[name], list):
            options[name] = tuple(options[name])
    if "fused" in inspect.signature(kind).parameters and not options.get("maximize"):
        # One pass over all weights; the sums are those of the plain form.
        options["fused"] = True
    try:
        options["lr"] = config.learning_rate
        return kind(list(parameters), **options)
    except REFUSALS as error:
        raise InputError(
            f"torch's {config.optimiser} refuses its options {config.optimiser_options} or these weights "
            f"({_first_sentence(error)}): change `optimiser_options`, or take another optimiser"
        ) from error


def need_optimiser(config: TrainingConfig, parameters: Iterable[Tensor]) -> None:
    """Refuse an optimiser or schedule that cannot take a step, by taking one with copies of the parameters.

    Raises
    ------
    InputError
        The sentence says what torch says.
    """
    copies = [nn.Parameter(own.detach().clone()) for own in parameters]
    if not copies:
        return
    optimiser = build_optimiser(config, copies)
    Schedule(optimiser, config).need_steps()
    for own in copies:
        own.grad = torch.ones_like(own)
    try:
        optimiser.step(lambda: 0.0)
    except REFUSALS as error:
        raise InputError(
            f"torch's {config.optimiser} cannot train these weights ({_first_sentence(error)}): take another "
            "optimiser, such as 'Adam'"
        ) from error


class Schedule:
    """The learning rate over a training: a rise at the beginning, then a scheduler of torch's.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
    config : TrainingConfig

    Examples
    --------
    >>> weight = nn.Parameter(torch.ones(1))
    >>> config = TrainingConfig(n_steps=4, schedule="cosine", learning_rate=1.0)
    >>> optimiser = build_optimiser(config, [weight])
    >>> schedule, rates = Schedule(optimiser, config), []
    >>> for _ in range(4):
    ...     rates.append(round(schedule.learning_rate, 3))
    ...     schedule.step()
    >>> rates
    [1.0, 0.854, 0.5, 0.146]
    """

    _kinds: ClassVar[dict[str, Any]] = {
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR,
        "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau,
        "cyclic": torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
    }

    def __init__(self, optimiser: torch.optim.Optimizer, config: TrainingConfig) -> None:
        self._optimiser, self._config = optimiser, config
        self._n_taken = 0
        schedulers = torch.optim.lr_scheduler
        n_left = max(config.n_steps - config.warmup_steps, 1)
        lengths = {"cosine": {"T_max": n_left}, "plateau": {}, "cyclic": {"T_0": self.cycle(config)}}
        self._main: Any = None
        if config.schedule != "constant":
            kind, own = self._kinds[config.schedule], lengths[config.schedule]
            known = [name for name in inspect.signature(kind).parameters if name != "optimizer"]
            for name in config.schedule_options:
                if name not in known:
                    unknown_name(f"option of the {config.schedule} schedule", name, known)
            try:
                self._main = kind(optimiser, **{**own, **config.schedule_options})
            except REFUSALS as error:
                raise self._refused(error) from error
        elif config.schedule_options:
            raise InputError(
                f"`schedule_options` = {config.schedule_options} are for a schedule, and the constant one "
                "has none: choose schedule='cosine', 'plateau' or 'cyclic'"
            )
        self._warmup: Any = None
        if config.warmup_steps:
            first = 1 / (config.warmup_steps + 1)
            self._warmup = schedulers.LinearLR(optimiser, first, total_iters=config.warmup_steps)

    def _refused(self, error: Exception) -> InputError:
        kind = self._kinds[self._config.schedule]
        return InputError(
            f"torch's {kind.__name__} refuses `schedule_options` = {self._config.schedule_options} "
            f"({_first_sentence(error)}): change them"
        )

    def need_steps(self) -> None:
        """Refuse options that torch looks at in a step only, by taking some, which wears the schedule out."""
        try:
            for loss in (1.0, 2.0, 3.0):
                if self._config.schedule == "plateau":
                    self._main.step(loss)
                elif self._main is not None:
                    self._quietly(self._main)
        except REFUSALS as error:
            raise self._refused(error) from error

    @staticmethod
    def cycle(config: TrainingConfig) -> int:
        """Return how many steps one cycle of the cyclic schedule lasts."""
        return max((config.n_steps - config.warmup_steps) // config.n_snapshots, 1)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimiser.param_groups[0]["lr"])

    @property
    def ends_cycle(self) -> bool:
        """Whether the step taken last was the last one of a cycle of the cyclic schedule."""
        taken = self._n_taken - self._config.warmup_steps
        return taken > 0 and taken % self.cycle(self._config) == 0

    def step(self) -> None:
        """Count one step of the optimiser."""
        self._n_taken += 1
        if self._n_taken <= self._config.warmup_steps:
            self._quietly(self._warmup)
        elif self._config.schedule in ("cosine", "cyclic"):
            self._quietly(self._main)

    def evaluated(self, loss: float) -> None:
        """Tell the plateau schedule the held-out loss."""
        if self._config.schedule == "plateau" and self._n_taken >= self._config.warmup_steps:
            self._main.step(loss)

    @staticmethod
    def _quietly(scheduler: Any) -> None:
        with warnings.catch_warnings():
            # torch looks for a call of `optimizer.step` that its own wrapper may not have seen.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            scheduler.step()

    def state(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        parts = {"main": self._main, "warmup": self._warmup}
        states = {name: own.state_dict() for name, own in parts.items() if own is not None}
        return {"n_taken": self._n_taken, **states}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self._n_taken = state["n_taken"]
        for name, own in (("main", self._main), ("warmup", self._warmup)):
            if own is not None:
                own.load_state_dict(state[name])


def clip(parameters: Iterable[Tensor], config: TrainingConfig) -> tuple[float, float]:
    """Shorten a gradient in place as a configuration says.

    Entries are cut to ``clip_value`` first, then the whole is shortened to the global norm ``clip_norm``.

    Returns
    -------
    before, after : float
        The gradient's global norm.
    """
    gradients = [own.grad for own in parameters if own.grad is not None]
    before = norm = _global_norm(gradients)
    if config.clip_value:
        for gradient in gradients:
            gradient.clamp_(-config.clip_value, config.clip_value)
        norm = _global_norm(gradients)
    if config.clip_norm and norm > config.clip_norm:
        for gradient in gradients:
            gradient.mul_(config.clip_norm / norm)
        norm = config.clip_norm
    return before, norm


def _global_norm(gradients: list[Tensor]) -> float:
    # One copy and one sum: torch.nn.utils.clip_grad_norm_ asks for some ten operations, which take longer
    # than a small network's whole step of the optimiser.
    return float(torch.linalg.vector_norm(nn.utils.parameters_to_vector(gradients))) if gradients else 0.0


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
