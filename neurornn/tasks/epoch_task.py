"""What tasks made of epochs share: durations as small values, timing per trial or per batch, and noise.

Such a task is told in parts: what is drawn (`factors`, `complete`), when things happen (`epoch_order` and the
fields of the same names), what is shown (`show`), asked (`ask`) and weighed (`weigh`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from neurornn.tasks.distributions import Distribution, Fixed, as_distribution
from neurornn.tasks.noise import MANY_CHANNELS, normals
from neurornn.tasks.task import Task
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice, need_positive

TIMINGS = ("trial", "batch")
FEW_CHANNELS = 5
"""Below this many, channels are cleared one by one; from here on, trials are."""


class EpochTask(Task):
    """A task whose trials are epochs that follow one another.

    A subclass is a frozen dataclass. Each name of `epoch_order` has a field with its duration in ms: a
    number, or a `Distribution`; one field ``stimulus`` serves ``stimulus_1`` and ``stimulus_2`` where these
    have none of their own.

    Examples
    --------
    A task of one's own, whose trial shows a number and, after a delay, asks for it:

    >>> from dataclasses import dataclass
    >>> from neurornn.tasks import Choice, Duration, Uniform
    >>> @dataclass(frozen=True)
    ... class Recall(EpochTask):
    ...     stimulus: Duration = 100.0
    ...     delay: Duration = Uniform(200, 400)
    ...     response: Duration = 100.0
    ...     noise_std: float = 0.1
    ...     timing: str = "trial"
    ...     dt: float = 20.0
    ...     n_inputs = 2
    ...     n_outputs = 1
    ...     epoch_order = ("stimulus", "delay", "response")
    ...
    ...     def factors(self):
    ...         return {"number": Choice(-1.0, -0.5, 0.5, 1.0)}
    ...
    ...     def show(self, conditions, timeline, rng):
    ...         inputs, stimulus = self.blank(timeline), timeline.during("stimulus")
    ...         inputs[..., 0] = conditions["number"][:, None] * stimulus
    ...         inputs[..., 1] = timeline.since("response")
    ...         self.add_noise(inputs, stimulus, slice(0, 1), rng)
    ...         return inputs
    ...
    ...     def ask(self, conditions, timeline):
    ...         return (conditions["number"][:, None] * timeline.since("response"))[..., None]
    ...
    ...     def score(self, outputs, trials):
    ...         error = np.abs(outputs - trials.targets)[..., 0]
    ...         return ((error < 0.2) | ~trials.in_epoch("response")).all(axis=1).astype(float)
    >>> Recall().factorial().conditions["number"].tolist()
    [-1.0, -0.5, 0.5, 1.0]
    """

    epoch_order: ClassVar[tuple[str, ...]] = ()
    """The epochs of a trial in the order in which they happen."""
    empty_epochs: ClassVar[tuple[str, ...]] = ("fixation", "delay", "delay_1", "delay_2")
    """Epochs that may last no step at all."""
    noise_std: float = 0.0
    """Input noise in units of sqrt(ms)."""
    timing: str = "trial"
    """Whether varied durations are drawn for each trial, or once for all trials of a batch."""

    def __post_init__(self) -> None:
        need_positive(self.dt, "dt", "ms")
        need_at_least_zero(self.noise_std, "noise_std")
        need_choice(self.timing, "timing", TIMINGS)
        for epoch in self.epoch_order:
            name = self.duration_field(epoch)
            if name is None:
                continue
            value = getattr(self, name)
            if isinstance(value, str):
                # Text, as configuration files give it, becomes the value, so that the two are equal.
                object.__setattr__(self, name, as_distribution(value, name))
            self._need_duration(name, least_steps=0 if epoch in self.empty_epochs else 1)

    def _need_duration(self, name: str, *, least_steps: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Distribution):
            need_at_least_zero(value, name, "ms")
        distribution = as_distribution(value, name)
        if any(isinstance(level, str | bool) for level in distribution.levels()):
            raise InputError(f"`{name}` must be a duration in ms, got {value!r}: give numbers")
        shortest, longest = distribution.bounds()
        need_at_least_zero(shortest, name, "ms")
        if not math.isfinite(longest):
            raise InputError(
                f"`{name}` must have an end, got {value!r}: give Exponential(mean, low, high) its high"
            )
        if self.steps(shortest) < least_steps:
            raise InputError(
                f"`{name}` must last at least {least_steps} step of dt = {self.dt} ms, "
                f"got {value!r} ms: lengthen it or choose a smaller dt"
            )

    @classmethod
    def duration_field(cls, epoch: str) -> str | None:
        """Return the field with the duration of an epoch, or None where `durations` works it out."""
        fields = getattr(cls, "__dataclass_fields__", {})
        for name in (epoch, epoch.rsplit("_", 1)[0]):
            if name in fields:
                return name
        return None

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch in ms: a number, a distribution, or an array (trial,)."""
        return dict(self._given_durations)

    @cached_property
    def _given_durations(self) -> dict[str, Any]:
        """The durations that are fields."""
        named = {epoch: self.duration_field(epoch) for epoch in self.epoch_order}
        return {epoch: getattr(self, name) for epoch, name in named.items() if name is not None}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the conditions with what follows from the factors, by rule or by chance."""
        return conditions

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the inputs, shape (trial, time, input_channel)."""
        raise NotImplementedError(f"{type(self).__name__} must define show(conditions, timeline, rng)")

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the targets; without ``rng``, so that conditions and epochs suffice to rebuild them."""
        raise NotImplementedError(f"{type(self).__name__} must define ask(conditions, timeline)")

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask; by default 1 at every step of a trial."""
        return timeline.valid

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials of the factors' values, arrays (trial,); chance decides the rest."""
        conditions = self.complete(n_trials, dict(conditions), rng)
        timeline, varied = self._timeline(n_trials, conditions, rng)
        conditions |= varied
        inputs = self.show(conditions, timeline, rng)
        if not timeline.shared:
            self._clear_padding(inputs, timeline)
        return Trials(
            self,
            inputs=inputs,
            targets=self.ask(conditions, timeline),
            mask=self.weigh(conditions, timeline),
            valid=timeline.valid,
            conditions=conditions,
            epochs=timeline.epochs,
        )

    @staticmethod
    def _clear_padding(inputs: np.ndarray, timeline: Timeline) -> None:
        """Set what comes after the end of each trial to zero, in place."""
        if inputs.shape[2] < FEW_CHANNELS:
            late = slice(int(timeline.end.min()), None)
            for k in range(inputs.shape[2]):
                np.copyto(inputs[:, late, k], 0, where=~timeline.valid[:, late])
        else:
            for own, end in zip(inputs, timeline.end.tolist(), strict=True):
                own[end:] = 0

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, and the realised durations in ms of those drawn here."""
        lengths: dict[str, Any] = {}
        varied = {}
        durations = self.durations(conditions)
        for epoch in self.epoch_order:
            duration = durations[epoch]
            if isinstance(duration, Distribution) and not isinstance(duration, Fixed):
                n_drawn = 1 if self.timing == "batch" else n_trials
                lengths[epoch] = self.whole_steps(duration.draw(n_drawn, rng))
                realised = lengths[epoch] * float(self.dt)
                varied[f"{epoch}_duration"] = np.repeat(realised, n_trials // n_drawn)
            elif isinstance(duration, np.ndarray):
                lengths[epoch] = self.whole_steps(duration)
            else:
                lengths[epoch] = self.steps(duration.value if isinstance(duration, Fixed) else duration)
        return Timeline.of_lengths(lengths, n_trials), varied

    def whole_steps(self, durations: np.ndarray) -> np.ndarray:
        """Return how many whole steps fit into durations in ms, as `steps` does for one."""
        # Durations are never negative, so that cutting the fraction off is flooring.
        return (durations / self.dt + 1e-9).astype(int)

    @property
    def step_noise(self) -> float:
        """Standard deviation of one step's input noise."""
        return self.noise_std / math.sqrt(self.dt)

    def blank(self, timeline: Timeline) -> np.ndarray:
        """Return inputs at zero, shape (trial, time, input_channel), to be filled."""
        return np.zeros((timeline.n_trials, timeline.n_steps, self.n_inputs), np.float32)

    def add_noise(
        self, inputs: np.ndarray, during: np.ndarray, channels: slice, rng: np.random.Generator
    ) -> None:
        """Add Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` to some channels, in place.

        Parameters
        ----------
        inputs : ndarray, shape (trial, time, input_channel)
        during : ndarray of bool, shape (trial, time)
            Steps with noise.
        channels : slice
            Channels with noise, each with its own.
        rng : numpy.random.Generator
        """
        if self.noise_std == 0:
            return
        extent = slice(None)
        if not during.all():
            somewhere = np.flatnonzero(during.any(axis=0))
            if somewhere.size == 0:
                return
            extent = slice(somewhere[0], somewhere[-1] + 1)
        noisy, heard = inputs[:, extent, channels], during[:, extent]
        noise, always = normals(noisy.shape, rng, self.step_noise), bool(heard.all())
        if noisy.shape[2] >= MANY_CHANNELS:
            if not always:
                noise[~heard] = 0
            noisy += noise
            return
        # Channel by channel, since NumPy takes its time over rows as short as the channels are few.
        for k in range(noisy.shape[2]):
            np.add(noisy[..., k], noise[..., k], out=noisy[..., k], where=always or heard)
