"""Oscillation: a frequency told by a constant input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution
from neurornn.tasks.task import Recipe, Task
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_count, need_positive

LEAST_INPUT = 0.25
"""What the inputs stay above, so that no frequency is told by almost no input."""
CONSTANT_INPUTS = 6
"""How many of the inputs are looked at for fixed points unless more are asked for."""


@dataclass(frozen=True)
class SineGenerator(Task):
    """Oscillate at the frequency that a constant input tells.

    Story
        Nothing happens but a constant input; its height tells with which frequency the output must
        oscillate. The network is no clock that is driven: the oscillation is its own.

    Inputs
        ========= ==============================================================
        channel   meaning
        ========= ==============================================================
        ``level`` j / n + .25 throughout, j = 1 ... n being the frequency's place
        ========= ==============================================================

    Targets
        ``sine``: sin(w_j t), with t = 0 in the first step and the w_j spread evenly from ``lowest`` to
        ``highest``: with the default parameters 51 frequencies from .1 to .6 radians per step, as in the
        paper (1.6 to 9.5 Hz at dt = 10 ms), for 100 steps.

    Epochs
        None.

    Scoring
        1 - (sum of squared errors) / (sum of the squared target) of each trial, or 0 where that is negative.
        A silent network scores 0; one that never looks at its input .1 at most with the default parameters.

    Constant inputs
        Six of the levels, the first and the last among them, by their frequency in Hz (all where there are
        no more): each has an unstable fixed point of its own. `level` gives the others.

    Recipe
        `RateRNN` of 100 tanh units with a trained initial state, tau 20 ms (so that a step is half of it) and
        gain 1.2, 1500 steps of Adam with 64 trials each, at 3e-3 and along half a cosine down to 0.

    Parameters
    ----------
    n_frequencies : int
        Number of frequencies.
    lowest, highest : float
        The first and the last angular frequency in radians per second.
    duration : float
        Length of a trial in ms.
    dt : float
        Time step in ms.

    References
    ----------
    Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in high-dimensional
    recurrent neural networks. Neural Computation 25, 626-649. doi:10.1162/NECO_a_00409

    Examples
    --------
    >>> task = SineGenerator()
    >>> trials = task.factorial()
    >>> trials.targets.shape, task.level(np.array([0, 50])).round(4).tolist()
    ((51, 100, 1), [0.2696, 1.25])
    """

    n_frequencies: int = 51
    lowest: float = 10.0
    highest: float = 60.0
    duration: float = 1000.0
    dt: float = 10.0

    n_inputs = 1
    n_outputs = 1
    accuracy_by = ("frequency",)
    chance_score = 0.1

    def __post_init__(self) -> None:
        need_count(self.n_frequencies, "n_frequencies")
        need_positive(self.dt, "dt", "ms")
        need_positive(self.duration, "duration", "ms")
        need_positive(self.lowest, "lowest", "radians per second")
        need_positive(self.highest, "highest", "radians per second")
        if self.highest < self.lowest or (self.n_frequencies > 1 and self.highest == self.lowest):
            raise InputError(
                f"`highest` must be above `lowest`, got {self.lowest} and {self.highest} radians per second: "
                "swap them, or ask for one frequency"
            )
        if self.highest * self.dt / 1000 >= math.pi:
            raise InputError(
                f"`highest` must stay below half a turn per step of dt = {self.dt} ms, got {self.highest} "
                "radians per second: lower it or choose a smaller dt"
            )
        if self.steps(self.duration) < 2:
            raise InputError(
                f"`duration` must hold at least 2 steps of dt = {self.dt} ms, got {self.duration} ms: "
                "lengthen it"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("level",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("sine",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 100,
                "activation": "tanh",
                "tau": 20.0,
                "gain": 1.2,
                "output_gain": 0.5,
                "trainable_initial_state": True,
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 3e-3, "schedule": "cosine"},
            criterion=0.95,
        )

    @property
    def angular_frequencies(self) -> np.ndarray:
        """The frequencies in radians per second, lowest first, shape (frequency,)."""
        return np.linspace(self.lowest, self.highest, self.n_frequencies)

    @property
    def chance_loss(self) -> float:
        """Mean over time of the targets' variance between frequencies: the mean sine's squared error."""
        return float(self._sines.var(axis=0).mean())

    def level(self, place: np.ndarray | int) -> np.ndarray:
        """Return the input that tells a frequency, by its place from 0 on."""
        return (np.asarray(place) + 1) / self.n_frequencies + LEAST_INPUT

    def factors(self) -> dict[str, Distribution]:
        """Return the frequency's place, from 0 on."""
        return {"place": Choice(*range(self.n_frequencies))}

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials of the given frequencies."""
        place = conditions["place"]
        targets = self._sines[place, :, None]
        inputs, mask = np.ones((2, *targets.shape), np.float32)
        inputs *= self.level(place)[:, None, None]
        return Trials(
            self,
            inputs=inputs,
            targets=targets,
            mask=mask,
            conditions={**conditions, "frequency": self.angular_frequencies[place] / (2 * math.pi)},
        )

    @cached_property
    def _sines(self) -> np.ndarray:
        """The oscillation of each frequency, made once, shape (frequency, time)."""
        seconds = np.arange(self.steps(self.duration)) * self.dt / 1000
        return np.sin(self.angular_frequencies[:, None] * seconds)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 less the squared error relative to the target's square, at least 0, shape (trial,)."""
        error = ((np.asarray(outputs, float) - trials.targets) ** 2).sum(axis=(1, 2))
        return np.maximum(1 - error / (trials.targets.astype(float) ** 2).sum(axis=(1, 2)), 0)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return some of the levels, by their frequency in Hz."""
        n_shown = min(CONSTANT_INPUTS, self.n_frequencies)
        places = np.linspace(0, self.n_frequencies - 1, n_shown).round().astype(int)
        hertz = self.angular_frequencies / (2 * math.pi)
        return {f"{hertz[place]:.4g} Hz": np.array([self.level(place)]) for place in places}
