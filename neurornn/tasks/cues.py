"""Decisions from cues, each of which only makes an answer more or less likely."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform
from neurornn.tasks.sequences import SerialTask, stacked
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_count


@dataclass(frozen=True)
class ProbabilisticReasoning(ChoiceTask, SerialTask):
    """Add up what several shapes say about where the reward is (weather prediction).

    Story
        Four shapes are shown one after the other. Each of the ten shapes that there are has a weight, which
        is never told: by so much, in log10 units, it raises or lowers the odds that choice 2 will be
        rewarded. Where the reward is, is then drawn by the summed weights, so that even who adds them
        perfectly is not always right.

    Inputs
        ============ ====================================================================
        channel      meaning
        ============ ====================================================================
        ``fixation`` 1 until the response, then 0
        ``shape_k``  1 while shape k is on, otherwise 0 (with ``shapes_stay`` the number
                     of such shapes on the screen)
        ============ ====================================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the shapes' channels while shapes are
        shown, none by default.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` or ``choice_2``, the one that is rewarded:
        choice 2 with the chance 1 / (1 + 10^-w), w being the sum of the weights (condition ``log_odds``).

    Epochs
        ``fixation`` 500, ``stimulus_1`` to ``stimulus_4`` 500 each, ``delay`` uniform between 450 and 550,
        ``response`` 500 ms.

    Scoring
        1 where the largest output in the response is the rewarded choice.

    Ideal observer
        Adds the weights without error and takes the likelier choice. With the default parameters it is
        rewarded in .9155 of the trials, a sum over all 10 000 sequences (`expected_accuracy`).

    Constant inputs
        ``delay``: fixation on, no shape.

    Recipe
        `RateRNN` of 64 relu units without leak, recurrent weights the identity at first; 1500 steps of Adam
        at 2e-3 with 64 trials each.

    Parameters
    ----------
    weights : tuple of float
        The shapes' weights in log10 units. The paper's two surest shapes have infinite weights, for which 10
        and -10 stand, as in NeuroGym.
    n_shown : int
        Shapes in a trial, drawn with replacement.
    shapes_stay : bool
        Whether shapes stay on until the delay, as in the paper, where they appear one after the other at
        places of their own; by default each goes when the next comes, so that they must be added from memory.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of each shape.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, T. & Shadlen, M. N. (2007). Probabilistic reasoning by neurons. Nature 447, 1075-1080.
    doi:10.1038/nature05852

    Examples
    --------
    >>> task = ProbabilisticReasoning()
    >>> trials = task.draw(5, np.random.default_rng(0))
    >>> trials.inputs.shape[2], round(task.expected_accuracy(), 4)
    (11, 0.9155)
    """

    weights: tuple[float, ...] = (-10.0, -0.9, -0.7, -0.5, -0.3, 0.3, 0.5, 0.7, 0.9, 10.0)
    n_shown: int = 4
    shapes_stay: bool = False
    fixation: Duration = 500.0
    stimulus: Duration = 500.0
    delay: Duration = Uniform(450.0, 550.0)
    response: Duration = 500.0
    noise_std: float = 0.0
    timing: str = "trial"
    dt: float = 50.0

    n_outputs = 3
    average_by = ("target_choice",)
    psychometric_stimulus = "log_odds"

    def __post_init__(self) -> None:
        need_count(self.n_shown, "n_shown")
        super().__post_init__()
        weights = np.asarray(self.weights)
        fits = weights.ndim == 1 and weights.size > 0 and weights.dtype.kind in "iuf"
        if not (fits and np.isfinite(weights).all()):
            raise InputError(
                f"`weights` must be finite numbers in log10 units, one for each shape, got {self.weights!r}: "
                "write 10 where a shape decides alone"
            )
        if not isinstance(self.shapes_stay, bool):
            raise InputError(f"`shapes_stay` must be True or False, got {self.shapes_stay!r}")

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial in the order in which they happen."""
        return ("fixation", *self._shows, "delay", "response")

    @cached_property
    def _shows(self) -> tuple[str, ...]:
        return tuple(f"stimulus_{k}" for k in range(1, self.n_shown + 1))

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and one per shape."""
        return 1 + len(self.weights)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *(f"shape_{k}" for k in range(1, self.n_inputs)))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "choice_1", "choice_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97 * 0.9155,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return which shape is shown first, second and so on, numbered from 1."""
        return {f"shape_{k}": Choice(*range(1, self.n_inputs)) for k in range(1, self.n_shown + 1)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the summed weights, and the choice that is rewarded."""
        log_odds = self._summed(stacked(conditions, "shape", self.n_shown))
        second = rng.random(n_trials) < self._chance(log_odds)
        return {**conditions, "log_odds": log_odds, "target_choice": np.where(second, 2, 1)}

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.asarray(self.weights, float)

    def _summed(self, shapes: np.ndarray) -> np.ndarray:
        """Return the sums of the weights of shapes numbered from 1, arrays (trial, shape)."""
        # Adding 0 makes -0 to 0; without rounding, the sum of .3, .7 and -1 is not quite 0.
        return self._weights[shapes - 1].sum(axis=1).round(9) + 0.0

    @staticmethod
    def _chance(log_odds: np.ndarray) -> np.ndarray:
        """Return the chance that choice 2 is rewarded, 1 / (1 + 10^-w), in a form that cannot overflow."""
        return (1 + np.tanh(math.log(10) / 2 * log_odds)) / 2

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the shapes."""
        table, trial = self.table(timeline.n_trials, self.n_inputs), np.arange(timeline.n_trials)[:, None]
        table[..., 0] = 1
        table[:, self.places("response"), 0] = 0
        places = self.places("stimulus")
        table[trial, places, stacked(conditions, "shape", self.n_shown)] = 1
        if self.shapes_stay:
            table[:, places, 1:] = table[:, places, 1:].cumsum(axis=1)
        inputs = self.over_time(table, timeline)
        self.add_noise(inputs, timeline.during(self._shows[0], self._shows[-1]), slice(1, None), rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who adds the weights, 2 where they cancel, shape (trial,).

        A shape is taken to be the one whose channel rose most; without noise that is no guess.
        """
        seen, before = [], np.zeros((trials.n_trials, len(self.weights)))
        for epoch in self._shows:
            during = trials.in_epoch(epoch)[..., None]
            mean = (trials.inputs[..., 1:] * during).sum(axis=1) / during.sum(axis=1)
            seen.append((mean - before).argmax(axis=1) + 1)
            before = mean if self.shapes_stay else before
        return np.where(self._summed(np.stack(seen, axis=1)) >= 0, 2, 1)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return how often the ideal observer is rewarded in trials of these conditions, shape (trial,)."""
        return self._chance(np.abs(conditions["log_odds"]))

    def expected_accuracy(self) -> float:
        """Return how often the ideal observer is rewarded, a sum over all sequences of shapes."""
        # Sequences with the same sum are kept as one: there are fewer sums than sequences.
        sums = {0.0: 1.0}
        for _ in range(self.n_shown):
            longer: dict[float, float] = {}
            for total, share in sums.items():
                for weight in self.weights:
                    key = round(total + weight, 9)
                    longer[key] = longer.get(key, 0.0) + share / len(self.weights)
            sums = longer
        totals = np.array(list(sums))
        return float(self._chance(np.abs(totals)) @ np.array(list(sums.values())))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay."""
        return {"delay": np.eye(self.n_inputs)[0]}
