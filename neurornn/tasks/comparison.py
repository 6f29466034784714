"""Comparison of two stimuli: which was the larger, which lasted longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform
from neurornn.tasks.matching import blocks, show_in_noise
from neurornn.tasks.noise import normals
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError

COLOURS = ("red", "blue")


@dataclass(frozen=True)
class DelayedComparison(ChoiceTask):
    """Compare two stimuli that are separated by a delay (parametric working memory).

    Story
        A vibration is felt, remembered through a delay of varying length, and compared with a second one:
        was the first or the second the larger?

    Inputs
        ============ ==============================================================
        channel      meaning
        ============ ==============================================================
        ``fixation`` 1 until the response, then 0
        ``stimulus`` (1 + (v - 10) / 24) / 2 while a stimulus of value v is on
        ============ ==============================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on both channels while a stimulus is on.

    Targets
        Classes ``fixate`` until the response, then ``first_larger`` or ``second_larger``.

    Epochs
        ``fixation`` 500, ``stimulus_1`` 500, ``delay`` 200, 400, 800, 1600 or 3200, ``stimulus_2`` 500,
        ``response`` 100 ms. Trials are padded to the longest of their batch.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Knows the pairs and the noise, averages each stimulus and takes the likelier answer.

    Constant inputs
        The delay: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak, 2000 steps of Adam at 1e-3 with 32 trials each.

    Parameters
    ----------
    pairs : tuple of (float, float)
        The two values of a trial, shown in either order.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of both stimuli.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Romo, R., Brody, C. D., Hernandez, A. & Lemus, L. (1999). Neuronal correlates of parametric working
    memory in the prefrontal cortex. Nature 399, 470-473. doi:10.1038/20939

    Yang, G. R. & Wang, X.-J. (2020). Artificial neural networks for neuroscientists: a primer. Neuron 107,
    1048-1070. doi:10.1016/j.neuron.2020.09.005

    Examples
    --------
    >>> task = DelayedComparison()
    >>> trials = task.draw(100, np.random.default_rng(0))
    >>> sorted(set(trials.conditions["delay_duration"].tolist()))
    [200.0, 400.0, 800.0, 1600.0, 3200.0]
    """

    pairs: tuple[tuple[float, float], ...] = ((18, 10), (22, 14), (26, 18), (30, 22), (34, 26))
    fixation: Duration = 500.0
    stimulus: Duration = 500.0
    delay: Duration = Choice(200.0, 400.0, 800.0, 1600.0, 3200.0)
    response: Duration = 100.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 100.0

    n_inputs = 2
    n_outputs = 3
    epoch_order = ("fixation", "stimulus_1", "delay", "stimulus_2", "response")
    average_by = ("first",)
    accuracy_by = ("delay_duration",)
    psychometric_stimulus = "difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = np.asarray(self.pairs)
        fits = pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs) > 0 and pairs.dtype.kind in "iuf"
        if not (fits and np.isfinite(pairs).all() and (pairs[:, 0] != pairs[:, 1]).all()):
            raise InputError(f"`pairs` must hold pairs of two different values, got {self.pairs!r}")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "stimulus")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "first_larger", "second_larger")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 2000, "batch_size": 32, "learning_rate": 1e-3},
            criterion=0.95,
        )

    @cached_property
    def _pairs(self) -> np.ndarray:
        return np.asarray(self.pairs, float)

    def factors(self) -> dict[str, Distribution]:
        """Return which pair is shown, and which of its values first."""
        return {"pair": Choice(*range(len(self.pairs))), "swapped": Choice(False, True)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the two values, their difference and the right answer."""
        pair = self._pairs[conditions["pair"]]
        first, second = np.where(conditions["swapped"][:, None], pair[:, ::-1], pair).T
        return {
            **conditions,
            "first": first,
            "second": second,
            "difference": second - first,
            "target_choice": np.where(first > second, 1, 2),
        }

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the two stimuli in noise."""
        inputs = self.fixating(timeline)
        first, second = np.ones((2, timeline.n_trials, 2))
        first[:, 1] = self.scaled(conditions["first"])
        second[:, 1] = self.scaled(conditions["second"])
        stimuli = [(first, blocks(timeline, "stimulus_1")), (second, blocks(timeline, "stimulus_2"))]
        show_in_noise(inputs, slice(0, 2), stimuli, self.step_noise, rng)
        return inputs

    @staticmethod
    def scaled(value: np.ndarray) -> np.ndarray:
        """Return the input that stands for a stimulus value."""
        return (1 + (value - 10) / 24) / 2

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who knows the pairs and the noise, shape (trial,)."""
        seen = []
        for epoch in ("stimulus_1", "stimulus_2"):
            during = trials.in_epoch(epoch)
            seen.append((trials.inputs[..., 1] * during).sum(axis=1) / during.sum(axis=1))
        pairs = self.scaled(self._pairs)
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        distance = (np.stack(seen, axis=1)[:, None, :] - pairs) ** 2
        if self.noise_std == 0:
            return np.where(seen[0] > seen[1], 1, 2)
        shown = np.stack([trials.in_epoch(epoch).sum(axis=1) for epoch in ("stimulus_1", "stimulus_2")], 1)
        variance = self.noise_std**2 / self.dt / shown
        log_likelihood = -(distance / (2 * variance[:, None, :])).sum(axis=2)
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        first_larger = likelihood[:, pairs[:, 0] > pairs[:, 1]].sum(axis=1)
        return np.where(2 * first_larger > likelihood.sum(axis=1), 1, 2)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay."""
        return {"delay": np.array([1.0, 0.0])}


@dataclass(frozen=True)
class IntervalDiscrimination(ChoiceTask):
    """Say which of two stimuli lasted longer (interval discrimination).

    Story
        A red and a blue stimulus appear one after the other, in either order, each for a time of its own.
        When the fixation cue goes off, the one that lasted longer is to be named, by its colour: both the
        order of the durations and the colours must be remembered.

    Inputs
        ============ ==================================
        channel      meaning
        ============ ==================================
        ``fixation`` 1 until the response, then 0
        ``red``      1 while the red stimulus is on, else 0
        ``blue``     1 while the blue stimulus is on, else 0
        ============ ==================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on a stimulus's channel while it is on.

    Targets
        Classes ``fixate`` until the response, then ``red_longer`` or ``blue_longer``.

    Epochs
        ``fixation`` 400 to 800, ``stimulus_1`` and ``stimulus_2`` 200 to 1200 in steps of 200 (never the
        same), ``delay_1`` 400 or 800 between them, ``delay_2`` 0, 400 or 800, ``response`` 100 ms. Trials are
        padded to the longest of their batch.

    Scoring
        1 where the largest output in the response is the right class. Who knows only how long the second
        stimulus lasted, and says that it was the longer one if it was longer than half of the others, is
        right in .8 of the trials.

    Ideal observer
        Counts the steps in which each channel is not 0, and is always right: noise does not hide when a
        stimulus is on, so that errors are the network's own.

    Constant inputs
        ``delay``: the fixation cue only. ``red``, ``blue``: either stimulus without noise.

    Recipe
        `RateRNN` of 64 relu units without leak, 2000 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    intervals : tuple of float
        Durations in ms that a stimulus may have; every ordered pair of different ones is shown.
    fixation, delay_1, delay_2, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations of these four are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Genovesio, A., Tsujimoto, S. & Wise, S. P. (2009). Feature- and order-based timing representations in the
    frontal cortex. Neuron 63, 254-266. doi:10.1016/j.neuron.2009.06.018

    Examples
    --------
    >>> task = IntervalDiscrimination(intervals=(200, 400))
    >>> trials = task.factorial()
    >>> list(zip(trials.conditions["first"].tolist(), trials.conditions["first_colour"].tolist()))
    [(200.0, 'red'), (200.0, 'blue'), (400.0, 'red'), (400.0, 'blue')]
    >>> [task.output_labels[choice] for choice in trials.conditions["target_choice"]]
    ['blue_longer', 'red_longer', 'red_longer', 'blue_longer']
    """

    intervals: tuple[float, ...] = (200.0, 400.0, 600.0, 800.0, 1000.0, 1200.0)
    fixation: Duration = Uniform(400.0, 800.0)
    delay_1: Duration = Choice(400.0, 800.0)
    delay_2: Duration = Choice(0.0, 400.0, 800.0)
    response: Duration = 100.0
    noise_std: float = 0.5
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 3
    n_outputs = 3
    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    average_by = ("first",)
    accuracy_by = ("distance",)
    psychometric_stimulus = "difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        intervals = np.asarray(self.intervals)
        fits = intervals.ndim == 1 and len(intervals) > 1 and intervals.dtype.kind in "iuf"
        steps = self.whole_steps(intervals) if fits and np.isfinite(intervals).all() else np.zeros(1)
        if steps.min() < 1 or len(np.unique(steps)) < len(steps):
            raise InputError(
                f"`intervals` must be at least two durations in ms that differ by whole steps of "
                f"dt = {self.dt} ms, got {self.intervals!r}: spread them or choose a smaller dt"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *COLOURS)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "red_longer", "blue_longer")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    @cached_property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """The ordered pairs of different durations."""
        return tuple(permutations(self.intervals, 2))

    @cached_property
    def _shown(self) -> np.ndarray:
        """The pairs' durations in ms as they are shown, in whole steps."""
        return self.whole_steps(np.asarray(self.pairs, float)) * float(self.dt)

    def factors(self) -> dict[str, Distribution]:
        """Return which pair of durations is shown, and which colour first."""
        return {"pair": Choice(*range(len(self.pairs))), "first_colour": Choice(*COLOURS)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return both durations in ms, how much longer blue was, and the right answer."""
        first, second = self._shown[conditions["pair"]].T
        difference = np.where(conditions["first_colour"] == "red", second - first, first - second)
        return {
            **conditions,
            "first": first,
            "second": second,
            "difference": difference,
            "distance": np.abs(difference),
            "target_choice": np.where(difference > 0, 2, 1),
        }

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch in ms; those of the stimuli are conditions."""
        known = super().durations(conditions)
        known |= {"stimulus_1": conditions["first"], "stimulus_2": conditions["second"]}
        return {epoch: known[epoch] for epoch in self.epoch_order}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the two stimuli in noise."""
        inputs = self.fixating(timeline)
        red_first = conditions["first_colour"] == "red"
        edges = [(timeline.start[epoch], timeline.stop[epoch]) for epoch in ("stimulus_1", "stimulus_2")]
        of_colour = {
            "red": tuple(np.where(red_first, *both) for both in zip(*edges, strict=True)),
            "blue": tuple(np.where(red_first, *both[::-1]) for both in zip(*edges, strict=True)),
        }
        colours = Timeline(of_colour, timeline.n_trials, timeline.n_steps)
        level = np.ones((timeline.n_trials, timeline.n_steps, 1), np.float32)
        if self.noise_std:
            # One number a step serves both channels, as no two stimuli are on at once.
            level += normals(level.shape, rng, self.step_noise)
        for channel, colour in enumerate(COLOURS, start=1):
            np.copyto(inputs[..., channel], level[..., 0], where=colours.during(colour))
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who counts the steps of each stimulus, shape (trial,)."""
        red, blue = (trials.inputs[..., 1:] != 0).sum(axis=1).T
        return np.where(blue > red, 2, 1)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return 1: the observer is right in every trial, shape (trial,)."""
        return np.ones(len(conditions["first"]))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delays, and of either stimulus."""
        held = np.array([1.0, 0, 0])
        return {"delay": held, "red": held + np.eye(3)[1], "blue": held + np.eye(3)[2]}
