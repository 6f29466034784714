"""Change: a noisy stream is watched, and what matters is when it changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Duration, Exponential, Uniform, as_distribution
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Loss, Trials
from neurornn.vocabulary import InputError, need_positive

OUTCOMES = ("hit", "miss", "false alarm", "correct rejection")


@dataclass(frozen=True)
class ChangeDetection(EpochTask):
    """Report when the mean of a noisy stream changes, soon but not before (change detection).

    Story
        A stream flickers around zero. In half of the trials its mean steps up at a moment that cannot be
        foretold, by more or less; in the other half nothing happens. The change is to be reported within a
        window, and nothing where there is none: to wait costs time, to hurry costs false alarms.

    Inputs
        ============ ======================================================================
        channel      meaning
        ============ ======================================================================
        ``stimulus`` 0 before the change, the change's size after it, and noise throughout
        ============ ======================================================================

        Noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``wait``, and ``change`` from the step of the change on. A network that is trained by these
        learns the probability that the change has happened, given the stream so far.

    Epochs
        ``stimulus``, before the change, exponential of mean 1000 between 500 and 3000 ms; ``response``, the
        window, 800 ms. Trials without a change are as long as those with one, so that their end tells
        nothing.

    Scoring
        A report is the first step in which the outputs give a change at least the probability
        ``confidence``. 1 for a report within the window (hit), or for none in a trial without a change
        (correct rejection); 0 for none where there was a change (miss), and for a report before the change or
        in a trial without one (false alarm). Who never reports gets .5, and who reports at a fixed time less.

    Ideal observer
        `belief` is the exact probability that the change has happened, for an observer who knows the sizes,
        the noise and when changes come; no outputs have a smaller loss. Read like a network's outputs, it
        scores .946 with the default parameters.

    Constant inputs
        ``no change`` and ``change``: the stream without noise, before and after a change of the middle size.

    Recipe
        `RateRNN` of 64 relu units without leak, 2000 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    sizes : tuple of float
        How far the mean may step up.
    confidence : float
        Probability of a change from which on it counts as reported, above .5 and below 1.
    stimulus : float or Distribution
        Time before the change in ms.
    response : float
        Window in ms, counted from the change.
    noise_std : float
        Input noise in units of sqrt(ms); the default 2 is .28 per step of 50 ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Shiryaev, A. N. (1963). On optimum methods in quickest detection problems. Theory of Probability and Its
    Applications 8, 22-46. doi:10.1137/1108002

    Boubenec, Y., Lawlor, J., Gorska, U., Shamma, S. & Englitz, B. (2017). Detecting changes in dynamic and
    complex acoustic environments. eLife 6, e24910. doi:10.7554/eLife.24910

    Examples
    --------
    >>> task = ChangeDetection(noise_std=0)
    >>> trials = task.draw(4, np.random.default_rng(1))
    >>> trials.conditions["change_size"].tolist()
    [0.0, 0.25, 1.0, 1.0]
    >>> task.outcomes(trials.ideal_outputs(), trials)[:2].tolist()
    ['correct rejection', 'hit']
    """

    sizes: tuple[float, ...] = (0.25, 0.5, 1.0)
    confidence: float = 0.9
    stimulus: Duration = Exponential(1000.0, 500.0, 3000.0)
    response: float = 800.0
    noise_std: float = 2.0
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 1
    n_outputs = 2
    loss: ClassVar[Loss] = "cross_entropy"
    epoch_order = ("stimulus", "response")
    average_by = ("change_size",)
    accuracy_by = ("change_size",)

    def __post_init__(self) -> None:
        sizes = np.asarray(self.sizes)
        fits = sizes.ndim == 1 and sizes.size > 0 and sizes.dtype.kind in "iuf"
        if not (fits and np.isfinite(sizes).all() and (sizes > 0).all()):
            raise InputError(
                f"`sizes` must be a tuple of steps above 0, got {self.sizes!r}: trials without a change are "
                "drawn for you"
            )
        if not 0.5 < need_positive(self.confidence, "confidence") < 1:
            raise InputError(f"`confidence` must be above 0.5 and below 1, got {self.confidence!r}")
        need_positive(self.response, "response", "ms")
        super().__post_init__()

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Name of the input channel."""
        return ("stimulus",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("wait", "change")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97 * 0.946,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return whether there is a change, and how large it is if there is one."""
        return {"changes": Choice(False, True), "size": Choice(*map(float, self.sizes))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the size of the change, 0 where there is none, beside the factors."""
        return {**conditions, "change_size": conditions["size"] * conditions["changes"]}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the stream."""
        inputs = self.blank(timeline)
        timeline.fill(inputs[..., 0], conditions["change_size"], "response")
        # In padded steps as well, which `make` empties.
        self.add_noise(inputs, np.ones_like(timeline.valid), slice(0, 1), rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return 1 once the change has happened, else 0, shape (trial, time)."""
        return (timeline.since("response") & conditions["changes"][:, None]).astype(np.int64)

    def reports(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the step in which a change is reported, -1 where it never is, shape (trial,)."""
        least = math.log(self.confidence / (1 - self.confidence))
        above = (outputs[..., 1] - outputs[..., 0] >= least) & trials.valid
        return np.where(above.any(axis=1), above.argmax(axis=1), -1)

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 where a change is reported, early or in time, and -1 where none is, shape (trial,)."""
        return np.where(self.reports(outputs, trials) < 0, NO_CHOICE, 1)

    def outcomes(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return each trial's outcome: hit, miss, false alarm or correct rejection, shape (trial,)."""
        report, changes = self.reports(outputs, trials), trials.conditions["changes"]
        early = (report >= 0) & ((report < trials.timeline.start["response"]) | ~changes)
        kind = np.where(early, 2, np.where(changes, np.where(report < 0, 1, 0), 3))
        return np.asarray(OUTCOMES)[kind]

    def reaction_time(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the time in ms from the change to its report, NaN where there is no hit, shape (trial,)."""
        report = self.reports(outputs, trials)
        waited = (report - trials.timeline.start["response"]) * float(self.dt)
        return np.where(self.outcomes(outputs, trials) == "hit", waited, np.nan)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for hits and correct rejections, else 0, shape (trial,)."""
        return np.isin(self.outcomes(outputs, trials), ("hit", "correct rejection")).astype(float)

    def belief(self, trials: Trials) -> np.ndarray:
        """Return the probability that the change has happened, given the stream so far.

        Also that the trial still goes on is used: a change longer ago than the window would have ended it.

        Returns
        -------
        ndarray, shape (trial, time)
            0 in padded steps.
        """
        n_trials, n_steps = trials.n_trials, trials.n_steps
        stream = trials.inputs[..., 0].astype(float)
        if self.noise_std == 0:
            return np.where(trials.valid, np.maximum.accumulate(stream > 0, axis=1), 0).astype(float)
        variance, window = self.noise_std**2 / self.dt, self.steps(self.response)
        start = self._chance_of_start(n_steps)
        # Chance that a trial ends only after so many steps with no change in it, or will change later.
        later = 1 - np.cumsum(start)
        running = 1 - np.concatenate([np.zeros(min(window, n_steps)), np.cumsum(start)])[:n_steps]
        sizes = np.asarray(self.sizes, float)
        # How much likelier a sample is after a change of each size than before one.
        gain = np.exp((stream[..., None] * sizes - sizes**2 / 2) / variance)
        weight = np.zeros((n_trials, len(sizes), n_steps))
        belief = np.zeros((n_trials, n_steps))
        for step in range(n_steps):
            weight[..., step] = start[step] / (2 * len(sizes))
            recent = slice(max(0, step - window + 1), step + 1)
            weight[..., recent] *= gain[:, step, :, None]
            changed = weight[..., recent].sum(axis=(1, 2))
            belief[:, step] = changed / (changed + (later[step] + running[step]) / 2 + 1e-300)
        return belief * trials.valid

    def _chance_of_start(self, n_steps: int) -> np.ndarray:
        """Return the chance of a change in each step, shape (time,)."""
        before = as_distribution(self.stimulus, "stimulus")
        if isinstance(before, Exponential | Uniform):
            # A duration is floored to whole steps, with the hair's breadth that `whole_steps` forgives.
            edges = (np.arange(n_steps + 1) - 1e-9) * self.dt
            passed = (np.clip(edges, before.low, before.high) - before.low) / (before.high - before.low)
            if isinstance(before, Exponential):
                span = (before.high - before.low) / before.mean
                passed = np.expm1(-span * passed) / np.expm1(-span)
            return np.diff(passed)
        values = before.values if isinstance(before, Choice) else before.levels()
        steps = self.whole_steps(np.asarray(values, float))
        return np.bincount(steps, minlength=n_steps)[:n_steps] / len(steps)

    def belief_outputs(self, trials: Trials) -> np.ndarray:
        """Return `belief` as the outputs of a network, logits of shape (trial, time, output_channel)."""
        belief = np.clip(self.belief(trials), 1e-12, 1 - 1e-12)
        return np.log(np.stack([1 - belief, belief], axis=2))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the stream without noise, before and after a change."""
        return {"no change": np.zeros(1), "change": np.array([float(np.median(self.sizes))])}
