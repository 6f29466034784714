"""Interval timing: measure an interval, or be told one, and produce it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Duration, Exponential, Uniform, as_distribution
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_positive

THRESHOLD = 1.0
"""Output at which the movement is made."""
ROUNDING = 1e-6
"""How far below the threshold single precision may put an output that has reached it."""
CHANCE_TRIALS = 4000
"""Trials that are drawn to find how well one can do by moving at a fixed time of the trial."""
PRIOR_GRID = 2001
"""Points that stand for a continuous distribution of intervals."""


class IntervalTask(EpochTask):
    """A task answered by a ramp that reaches a threshold when an interval since the epoch ``go`` has passed.

    A subclass has the fields ``interval``, ``pulse`` and ``tolerance``, an epoch ``go`` that lasts as long as
    the interval to be produced (condition ``production_interval``), and an epoch ``response`` after it, in
    which the ramp goes on, so that what comes a little late is still seen.
    """

    interval: Duration
    """Interval in ms that is shown or asked for."""
    pulse: float
    """Length of a pulse in ms."""
    tolerance: float
    """Largest error of a right production, as a share of the interval to be produced."""
    response: Duration
    n_outputs = 1
    average_by = ("interval_duration",)
    accuracy_by = ("interval_duration",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.interval, str):
            # Text, as configuration files give it, becomes the value, so that the two are equal.
            object.__setattr__(self, "interval", as_distribution(self.interval, "interval"))
        self._need_duration("interval", least_steps=1)
        need_positive(self.pulse, "pulse", "ms")
        shortest = as_distribution(self.interval, "interval").bounds()[0]
        if self.pulse > shortest:
            raise InputError(
                f"`pulse` must be at most the shortest interval, {shortest} ms, got {self.pulse} ms: "
                "shorten it"
            )
        if need_positive(self.tolerance, "tolerance") >= 1:
            raise InputError(
                f"`tolerance` must be a share in (0, 1) of the interval, got {self.tolerance!r}: .15 is 15 %"
            )

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("ramp",)

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Largest share of trials that a movement at one fixed time of the trial gets right."""
        trials = self.draw(CHANCE_TRIALS, np.random.default_rng(0))
        interval = trials.conditions["production_interval"]
        go = trials.timeline.start["go"] * float(self.dt)
        earliest = np.sort(go + (1 - self.tolerance) * interval)
        latest = np.sort(go + (1 + self.tolerance) * interval)
        # A best time can be moved back to where the last of its windows opens.
        opened = np.arange(1, CHANCE_TRIALS + 1)
        return float((opened - np.searchsorted(latest, earliest, side="left")).max() / CHANCE_TRIALS)

    def factors(self) -> dict[str, Distribution]:
        """Return the interval."""
        return {"interval": as_distribution(self.interval, "interval")}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the interval in whole steps of time, and the one to be produced."""
        interval = self.whole_steps(np.asarray(conditions["interval"], float)) * float(self.dt)
        gain = conditions.get("gain", 1.0)
        return {**conditions, "interval_duration": interval, "production_interval": gain * interval}

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch: shown intervals and the production are as long as they are."""
        known = super().durations(conditions)
        known["go"] = np.ceil(conditions["production_interval"] / self.dt - 1e-9) * self.dt
        shown = conditions.get("measured_interval", conditions["interval_duration"])
        return {epoch: known.get(epoch, shown) for epoch in self.epoch_order}

    def show_pulses(self, inputs: np.ndarray, timeline: Timeline, channels: Mapping[str, int]) -> None:
        """Show the pulses with which epochs begin, each epoch's on its input channel, in place."""
        trial, pulse = np.arange(timeline.n_trials)[:, None], np.arange(max(1, self.steps(self.pulse)))
        # A pulse ends with its trial at the latest.
        last = timeline.end[:, None] - 1
        for epoch, channel in channels.items():
            inputs[trial, np.minimum(timeline.start[epoch][:, None] + pulse, last), channel] = 1

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return 0 until the epoch ``go``, then a line that reaches 1 after the interval and goes on."""
        # In single precision from the first: whole numbers of steps are exact in it.
        start = timeline.start["go"].astype(np.float32)
        n_steps = (conditions["production_interval"] / (self.dt * THRESHOLD)).astype(np.float32)
        ramp = np.maximum(timeline.step.astype(np.float32) - start[:, None], 0)
        ramp /= n_steps[:, None]
        ramp *= timeline.valid
        return ramp[..., None]

    def production_time(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return when the output first reaches the threshold, in ms since ``go`` began, shape (trial,).

        Between two steps the output is taken as a straight line. NaN where it never reaches the threshold,
        or did so before ``go``.
        """
        ramp = np.asarray(outputs, float)[..., 0]
        reached = (ramp >= THRESHOLD - ROUNDING) & trials.valid
        trial, first = np.arange(trials.n_trials), reached.argmax(axis=1)
        start = trials.timeline.start["go"]
        before = np.maximum(first - 1, 0)
        low, high = ramp[trial, before], ramp[trial, first]
        crosses = reached[trial, first] & (first > start)
        share = np.divide(THRESHOLD - low, high - low, out=np.zeros_like(low), where=crosses)
        moment = np.where(crosses, before + share, first)
        produced = reached[trial, first] & (first >= start)
        return np.where(produced, (moment - start) * float(self.dt), np.nan)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial produced within the tolerance, else 0, shape (trial,)."""
        wanted = trials.conditions["production_interval"]
        error = np.abs(self.production_time(outputs, trials) - wanted)
        # Single precision must not decide at the tolerance's edge; NaN is no production and wrong.
        return (error <= self.tolerance * wanted * (1 + ROUNDING)).astype(float)


@dataclass(frozen=True)
class ReadySetGo(IntervalTask):
    """Measure the interval between two pulses and produce it, or a multiple of it.

    Story
        Two brief pulses, Ready and Set, mark an interval. A movement must be made when, counted from Set, the
        same interval has passed, times a gain that a second input tells throughout the trial.

    Inputs
        ========= ======================================
        channel   meaning
        ========= ======================================
        ``ready`` 1 during the Ready pulse, otherwise 0
        ``set``   1 during the Set pulse, otherwise 0
        ``gain``  the gain, throughout the trial
        ========= ======================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on all channels.

    Targets
        ``ramp``: 0 until Set, then a straight line that reaches 1, the threshold of the movement, when the
        interval to be produced has passed, and goes on to the trial's end.

    Epochs
        ``fixation`` 100 to 400 ms, ``stimulus`` (from Ready to Set) and ``go`` (from Set to the movement) as
        long as the two intervals, ``response`` 300 ms, which leaves room for a late movement.

    Scoring
        1 where the output first reaches the threshold after Set and within ``tolerance`` of the interval to
        be produced (`production_time`), else 0. An output at the threshold before Set is wrong, as is one
        that never reaches it. Chance is the share right of a movement at the best fixed time of a trial.

    Ideal observer
        With ``weber_fraction`` above 0 the interval is shown with scalar noise: Set comes at (1 + w z) times
        the interval, z normal, in whole steps, and the interval without noise must be produced.
        `bayes_least_squares` gives the production of least squared error from the interval that was shown.

    Constant inputs
        ``gain g`` for each gain: the input between pulses.

    Recipe
        `RateRNN` of 100 tanh units, tau 100 ms, 1500 steps of Adam at 3e-3 with 64 trials each.

    Parameters
    ----------
    interval : float or Distribution
        Interval between Ready and Set in ms, in whole steps.
    gains : tuple of float
        Factors on the interval to be produced, equally likely; 1 and 1.5 as in Remington et al.
    fixation, response : float or Distribution
        Durations in ms.
    pulse : float
        Length of a pulse in ms.
    tolerance : float
        Largest error of a right production, as a share of the interval.
    weber_fraction : float
        Standard deviation of the shown interval divided by the interval.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Jazayeri, M. & Shadlen, M. N. (2010). Temporal context calibrates interval timing. Nature Neuroscience
    13, 1020-1026. doi:10.1038/nn.2590

    Remington, E. D., Narain, D., Hosseini, E. A. & Jazayeri, M. (2018). Flexible sensorimotor computations
    through rapid reconfiguration of cortical dynamics. Neuron 98, 1005-1019.
    doi:10.1016/j.neuron.2018.05.020

    Examples
    --------
    >>> task = ReadySetGo(interval=800, gains=(1.5,))
    >>> trials = task.draw(3, np.random.default_rng(0))
    >>> task.production_time(trials.ideal_outputs(), trials).round(1).tolist()
    [1200.0, 1200.0, 1200.0]
    """

    interval: Duration = Choice(500.0, 600.0, 700.0, 800.0, 900.0, 1000.0)
    gains: tuple[float, ...] = (1.0, 1.5)
    fixation: Duration = Uniform(100.0, 400.0)
    response: Duration = 300.0
    pulse: float = 50.0
    tolerance: float = 0.15
    weber_fraction: float = 0.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 3
    epoch_order = ("fixation", "stimulus", "go", "response")

    def __post_init__(self) -> None:
        super().__post_init__()
        need_at_least_zero(self.weber_fraction, "weber_fraction")
        gains = np.asarray(self.gains)
        fits = gains.ndim == 1 and gains.size > 0 and gains.dtype.kind in "iuf"
        if not (fits and np.isfinite(gains).all() and (gains > 0).all()):
            raise InputError(
                f"`gains` must be positive factors, got {self.gains!r}: give a tuple, as (1, 1.5)"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("ready", "set", "gain")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 100, "activation": "tanh", "tau": 100.0},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 3e-3},
            criterion=0.95,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the interval and the gain."""
        return {**super().factors(), "gain": Choice(*map(float, self.gains))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the intervals in whole steps: as it is, as it is shown, and as it is to be produced."""
        conditions = super().complete(n_trials, conditions, rng)
        shown = conditions["interval_duration"]
        if self.weber_fraction > 0:
            shown = shown * (1 + self.weber_fraction * rng.standard_normal(n_trials))
            shown = np.maximum(np.rint(shown / self.dt), max(1, self.steps(self.pulse))) * self.dt
        return {**conditions, "measured_interval": shown}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the two pulses and the gain in noise."""
        inputs = self.blank(timeline)
        self.show_pulses(inputs, timeline, {"stimulus": 0, "go": 1})
        inputs[..., 2] = conditions["gain"][:, None]
        # In padded steps as well, which `make` empties.
        self.add_noise(inputs, np.ones_like(timeline.valid), slice(0, 3), rng)
        return inputs

    def bayes_least_squares(self, measured: np.ndarray) -> np.ndarray:
        """Return the mean of the intervals that may have been meant, given those that were shown.

        The measured interval is taken as normal around the true one t with standard deviation
        ``weber_fraction`` * t, and the true one as drawn from ``interval`` (Jazayeri & Shadlen's Bayes least
        squares estimator); that Set falls on whole steps is left aside.

        Parameters
        ----------
        measured : ndarray
            Shown intervals in ms.

        Returns
        -------
        ndarray, shape of ``measured``
            Estimates in ms, to be multiplied by the gain.

        Examples
        --------
        >>> task = ReadySetGo(interval="Uniform(500, 1000)", weber_fraction=0.1)
        >>> task.bayes_least_squares(np.array([500.0, 750.0, 1000.0])).round(1).tolist()
        [548.6, 763.4, 931.5]
        """
        measured = np.asarray(measured, float)
        if self.weber_fraction == 0:
            return measured.copy()
        interval, prior = self._prior()
        spread = self.weber_fraction * interval
        distance = (measured[..., None] - interval) / spread
        log_weight = np.log(prior) - np.log(spread) - 0.5 * distance**2
        # The greatest is put at 1, so that none underflows where the shown interval is far from all.
        weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
        return (weight * interval).sum(axis=-1) / weight.sum(axis=-1)

    def _prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Return intervals in ms and how likely they are relative to one another."""
        interval = as_distribution(self.interval, "interval")
        if not isinstance(interval, Uniform | Exponential):
            values, counts = np.unique(getattr(interval, "values", interval.levels()), return_counts=True)
            return self.whole_steps(values) * float(self.dt), counts.astype(float)
        low, high = interval.bounds()
        grid = low + (high - low) * (np.arange(PRIOR_GRID) + 0.5) / PRIOR_GRID
        if isinstance(interval, Exponential):
            return grid, np.exp(-(grid - low) / interval.mean)
        return grid, np.ones(PRIOR_GRID)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input between pulses, for each gain."""
        return {f"gain {gain:g}": np.array([0.0, 0.0, gain]) for gain in self.gains}


@dataclass(frozen=True)
class MotorTiming(IntervalTask):
    """Produce the interval that the height of a cue tells (cue, set, go).

    Story
        A constant cue comes on, whose height tells how long to wait. After a while a brief pulse, Set, starts
        the interval, at whose end the movement must be made.

    Inputs
        ======= ==================================================================
        channel meaning
        ======= ==================================================================
        ``cue`` the interval in seconds from the cue's onset to the trial's end
        ``set`` 1 during the Set pulse, otherwise 0
        ======= ==================================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on both channels.

    Targets
        ``ramp``: 0 until Set, then a straight line that reaches 1, the threshold of the movement, when the
        interval has passed, and goes on to the trial's end.

    Epochs
        ``fixation`` 100 (nothing is shown), ``stimulus`` 300 to 700 (the cue alone), ``go`` (from Set to the
        movement) as long as the interval, ``response`` 300 ms, which leaves room for a late movement.

    Scoring
        1 where the output first reaches the threshold after Set and within ``tolerance`` of the interval
        (`production_time`), else 0. An output at the threshold before Set is wrong, as is one that never
        reaches it. Chance is the share right of a movement at the best fixed time of a trial.

    Constant inputs
        ``t ms`` for each interval: the cue alone.

    Recipe
        `RateRNN` of 64 tanh units, tau 100 ms, 1000 steps of Adam at 3e-3 with 64 trials each.

    Parameters
    ----------
    interval : float or Distribution
        Interval to be produced in ms, in whole steps; 800 and 1500 as in the paper.
    fixation, stimulus, response : float or Distribution
        Durations in ms.
    pulse : float
        Length of the Set pulse in ms.
    tolerance : float
        Largest error of a right production, as a share of the interval.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Wang, J., Narain, D., Hosseini, E. A. & Jazayeri, M. (2018). Flexible timing by temporal scaling of
    cortical responses. Nature Neuroscience 21, 102-110. doi:10.1038/s41593-017-0028-6

    Examples
    --------
    >>> trials = MotorTiming(noise_std=0).factorial()
    >>> trials.conditions["interval"].tolist(), trials.inputs.max(axis=1).round(1).tolist()
    ([800.0, 1500.0], [[0.800000011920929, 1.0], [1.5, 1.0]])
    """

    interval: Duration = Choice(800.0, 1500.0)
    fixation: Duration = 100.0
    stimulus: Duration = Uniform(300.0, 700.0)
    response: Duration = 300.0
    pulse: float = 50.0
    tolerance: float = 0.15
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 2
    epoch_order = ("fixation", "stimulus", "go", "response")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("cue", "set")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh", "tau": 100.0},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 3e-3},
            criterion=0.95,
        )

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the cue and the Set pulse in noise."""
        inputs = self.blank(timeline)
        seconds = (conditions["interval_duration"] / 1000).astype(np.float32)
        np.copyto(inputs[..., 0], seconds[:, None], where=timeline.since("stimulus"))
        self.show_pulses(inputs, timeline, {"go": 1})
        # In padded steps as well, which `make` empties.
        self.add_noise(inputs, np.ones_like(timeline.valid), slice(0, 2), rng)
        return inputs

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the cue alone, for each interval."""
        levels = np.asarray(as_distribution(self.interval, "interval").levels(), float)
        shown = self.whole_steps(levels) * float(self.dt)
        return {f"{level:g} ms": np.array([level / 1000, 0.0]) for level in shown}


@dataclass(frozen=True)
class OneTwoThreeGo(IntervalTask):
    """Go on with a rhythm: after three beats, move when the fourth is due.

    Story
        Three brief beats follow one another at the same distance; the first two intervals tell the rhythm,
        and the movement must be made one interval after the third beat.

    Inputs
        ======== ===============================
        channel  meaning
        ======== ===============================
        ``beat`` 1 during a beat, otherwise 0
        ======== ===============================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)``.

    Targets
        ``ramp``: 0 until the third beat, then a straight line that reaches 1, the threshold of the movement,
        when the interval has passed, and goes on to the trial's end.

    Epochs
        ``fixation`` 100 to 400, ``stimulus_1`` (first to second beat), ``stimulus_2`` (second to third) and
        ``go`` (third beat to the movement) as long as the interval, ``response`` 300 ms, which leaves room
        for a late movement.

    Scoring
        1 where the output first reaches the threshold after the third beat and within ``tolerance`` of the
        interval (`production_time`), else 0. An output at the threshold before the third beat is wrong, as is
        one that never reaches it. Chance is the share right of a movement at the best fixed time of a trial.

    Constant inputs
        ``between beats``: zero.

    Recipe
        `RateRNN` of 100 tanh units, tau 100 ms, 1500 steps of Adam at 3e-3 with 64 trials each.

    Parameters
    ----------
    interval : float or Distribution
        Interval between beats in ms, in whole steps.
    fixation, response : float or Distribution
        Durations in ms.
    pulse : float
        Length of a beat in ms.
    tolerance : float
        Largest error of a right production, as a share of the interval.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Egger, S. W., Remington, E. D., Chang, C.-J. & Jazayeri, M. (2019). Internal models of sensorimotor
    integration regulate cortical dynamics. Nature Neuroscience 22, 1871-1882.
    doi:10.1038/s41593-019-0500-6

    Examples
    --------
    >>> trials = OneTwoThreeGo(interval=600, fixation=100, noise_std=0).draw(1, np.random.default_rng(0))
    >>> (50 * np.flatnonzero(trials.inputs[0, :, 0])).tolist()
    [100, 700, 1300]
    """

    interval: Duration = Choice(600.0, 700.0, 800.0, 900.0, 1000.0)
    fixation: Duration = Uniform(100.0, 400.0)
    response: Duration = 300.0
    pulse: float = 50.0
    tolerance: float = 0.15
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 1
    epoch_order = ("fixation", "stimulus_1", "stimulus_2", "go", "response")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("beat",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 100, "activation": "tanh", "tau": 100.0},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 3e-3},
            criterion=0.95,
        )

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the three beats in noise."""
        inputs = self.blank(timeline)
        self.show_pulses(inputs, timeline, {"stimulus_1": 0, "stimulus_2": 0, "go": 0})
        # In padded steps as well, which `make` empties.
        self.add_noise(inputs, np.ones_like(timeline.valid), slice(0, 1), rng)
        return inputs

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input between beats."""
        return {"between beats": np.zeros(1)}
