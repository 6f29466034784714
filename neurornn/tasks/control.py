"""Control of action: to respond or to withhold, and to stop what has been begun."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform, as_distribution
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Trials
from neurornn.vocabulary import InputError, need_at_least_zero

GO = 1
"""The class of the one response of the go/no-go task."""


@dataclass(frozen=True)
class Coin(Distribution):
    """True with a probability, otherwise False.

    Parameters
    ----------
    probability : float

    Examples
    --------
    >>> Coin(0.25).levels()
    (False, True)
    """

    probability: float

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one truth value per trial, shape (trial,)."""
        return rng.random(n_trials) < self.probability

    def levels(self) -> tuple[Any, ...]:
        """Return both, once each."""
        return (False, True)

    def bounds(self) -> tuple[float, float]:
        """Return both as numbers."""
        return 0.0, 1.0


def need_share(value: object, name: str) -> None:
    """Refuse what is no number between 0 and 1, the two left out."""
    if not 0 < need_at_least_zero(value, name) < 1:
        raise InputError(f"`{name}` must lie between 0 and 1, got {value!r}: both kinds of trials are needed")


@dataclass(frozen=True)
class GoNoGo(ChoiceTask):
    """Respond after one stimulus, withhold the response after the other.

    Story
        One of two stimuli is shown, then nothing for a delay of varying length. When the fixation cue goes
        off, the response must be given if the stimulus was the go stimulus, and withheld if it was the
        other. The cue goes off in both kinds of trials, so that withholding is a choice.

    Inputs
        ============ ====================================================================
        channel      meaning
        ============ ====================================================================
        ``fixation`` 1 until the response, then 0
        ``go``       1 plus noise during the go stimulus, noise alone during the other one
        ``no_go``    1 plus noise during the no-go stimulus, noise alone during the other
        ============ ====================================================================

        Noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response; then ``go`` after the go stimulus, still ``fixate`` after the
        other.

    Epochs
        ``fixation`` 200, ``stimulus`` 500, ``delay`` 200 to 1000, ``response`` 500 ms.

    Scoring
        1 where the largest mean output of the response is the right class: ``go`` or, where it must be
        withheld, ``fixate``. Outputs before the response are not counted. A network that always withholds
        is right in every no-go trial, one that always responds in every go trial: the chance score is the
        larger share, .5 by default.

    Ideal observer
        Sums the difference of the two stimulus channels without loss and weighs it by how often each kind
        of trial comes. With the default noise it never errs.

    Constant inputs
        ``delay``: the fixation cue alone. ``response``: nothing.

    Recipe
        `RateRNN` of 64 tanh units without leak, 600 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    go_probability : float
        Share of go trials. Experiments often take more than half, to make the response a habit.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms); the default 1 is .14 per step of 50 ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Donders, F. C. (1969). On the speed of mental processes. Acta Psychologica 30, 412-431 (translated from
    the Dutch of 1868). doi:10.1016/0001-6918(69)90065-1

    Watanabe, M. (1986). Prefrontal unit activity during delayed conditional Go/No-Go discrimination in the
    monkey. I. Relation to the stimulus. Brain Research 382, 1-14. doi:10.1016/0006-8993(86)90104-6 (the form
    with a delay; there a colour shown before tells what the stimulus means)

    Examples
    --------
    >>> task = GoNoGo(go_probability=0.8)
    >>> task.chance_score
    0.8
    >>> trials = task.factorial()
    >>> trials.conditions["go"].tolist(), trials.conditions["target_choice"].tolist()
    ([False, True], [-1, 1])
    """

    go_probability: float = 0.5
    fixation: Duration = 200.0
    stimulus: Duration = 500.0
    delay: Duration = Uniform(200.0, 1000.0)
    response: Duration = 500.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 3
    n_outputs = 2
    epoch_order = ("fixation", "stimulus", "delay", "response")
    average_by = ("go",)
    accuracy_by = ("go",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_share(self.go_probability, "go_probability")

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of the more frequent kind of trials: who does always the same is right in these."""
        return max(self.go_probability, 1 - self.go_probability)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "go", "no_go")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "go")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 600, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.98,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return whether the stimulus is the go stimulus."""
        return {"go": Coin(self.go_probability)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the right choice beside the factor."""
        return {**conditions, "target_choice": np.where(conditions["go"], GO, NO_CHOICE)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the stimulus in noise."""
        inputs = self.fixating(timeline)
        timeline.fill(inputs[..., 1], conditions["go"], "stimulus")
        timeline.fill(inputs[..., 2], ~conditions["go"], "stimulus")
        self.add_noise(inputs, timeline.during("stimulus"), slice(1, 3), rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums all evidence without loss, shape (trial,)."""
        difference = (trials.inputs[..., 1].astype(float) - trials.inputs[..., 2]).sum(axis=1)
        return np.where(difference > self._least_evidence, GO, NO_CHOICE)

    @property
    def _least_evidence(self) -> float:
        """Summed difference above which go is the likelier stimulus.

        Its log-likelihood ratio is the difference over the variance of one step's noise, whatever the number
        of steps, to which the logarithm of the odds is added.
        """
        odds = self.go_probability / (1 - self.go_probability)
        return -(self.noise_std**2) / self.dt * math.log(odds)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        The summed difference has mean n after the go stimulus, -n after the other, and variance 2 n s^2 over
        the n steps of the stimulus, s being the noise of one step.
        """
        shown = conditions.get("stimulus_duration", as_distribution(self.stimulus, "stimulus").bounds()[0])
        n = self.whole_steps(np.asarray(shown, float))
        side = np.where(conditions["go"], 1, -1)
        with np.errstate(divide="ignore"):
            z = (n - side * self._least_evidence) / (self.noise_std * np.sqrt(2 * n / self.dt))
        return normal_cdf(z)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs of the delay and of the response."""
        return {"delay": np.array([1.0, 0.0, 0.0]), "response": np.zeros(3)}


@dataclass(frozen=True)
class StopSignal(ChoiceTask):
    """Prepare one of two responses, and withhold it after all if a stop signal comes.

    Story
        A go stimulus on the left or on the right tells which response to give when the fixation cue goes off.
        In some trials a stop signal comes up a varying time after the go stimulus, and the response must be
        withheld. Nothing tells beforehand which trials these are, so that the response has to be prepared.

    Inputs
        ============ ==========================================================================
        channel      meaning
        ============ ==========================================================================
        ``fixation`` 1 until the response, then 0
        ``left``     1 plus noise during ``stimulus`` and ``delay`` if the left is the go stimulus
        ``right``    the same for the right
        ``stop``     1 plus noise during ``delay`` if there is a stop signal
        ============ ==========================================================================

        The three stimulus channels have noise of standard deviation ``noise_std / sqrt(dt)`` per step during
        ``stimulus`` and ``delay``.

    Targets
        Classes ``fixate`` until the response; then ``left`` or ``right``, or still ``fixate`` after a stop
        signal.

    Epochs
        ``fixation`` 300 to 700, ``stimulus`` (from the go stimulus to the stop signal, the stop-signal delay)
        100, 200, 300 or 400, ``delay`` (from the stop signal to the response: the time left to stop) 200,
        ``response`` 300 ms. A trial without stop signal has the same epochs, so that its length tells
        nothing.

    Scoring
        1 where the largest mean output of the response is the right class: the side, or ``fixate`` after a
        stop signal. In experiments the subject chooses when to respond and stops in vain where the response
        has won the race; here the response is due at a fixed time after the stop signal, so that stopping
        is always possible, and is the harder the shorter the delay.

    Constant inputs
        ``left`` and ``right``: the go stimulus without noise before a stop signal. ``left, stop`` and
        ``right, stop``: with it.

    Recipe
        `RateRNN` of 64 tanh units without leak, 600 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    stop_probability : float
        Share of trials with a stop signal.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is the stop-signal delay.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Logan, G. D. & Cowan, W. B. (1984). On the ability to inhibit thought and action: a theory of an act of
    control. Psychological Review 91, 295-327. doi:10.1037/0033-295X.91.3.295

    Hanes, D. P. & Schall, J. D. (1995). Countermanding saccades in macaque. Visual Neuroscience 12, 929-937.
    doi:10.1017/S0952523800009482

    Examples
    --------
    >>> task = StopSignal()
    >>> trials = task.factorial()
    >>> trials.conditions["side"].tolist(), trials.conditions["stop"].tolist()
    (['left', 'left', 'right', 'right'], [False, True, False, True])
    >>> trials.conditions["target_choice"].tolist()
    [1, -1, 2, -1]
    """

    stop_probability: float = 0.25
    fixation: Duration = Uniform(300.0, 700.0)
    stimulus: Duration = Choice(100.0, 200.0, 300.0, 400.0)
    delay: Duration = 200.0
    response: Duration = 300.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 4
    n_outputs = 3
    epoch_order = ("fixation", "stimulus", "delay", "response")
    # Without a step for the stop signal, nothing would tell of it.
    empty_epochs = ("fixation",)
    average_by = ("side", "stop")
    accuracy_by = ("stop",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_share(self.stop_probability, "stop_probability")

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of what is right most often: one side, or to withhold."""
        return max(self.stop_probability, (1 - self.stop_probability) / 2)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "left", "right", "stop")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "left", "right")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 600, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the side of the go stimulus and whether a stop signal comes."""
        return {"side": Choice("left", "right"), "stop": Coin(self.stop_probability)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the right choice beside the factors."""
        side = np.where(conditions["side"] == "left", 1, 2)
        return {**conditions, "target_choice": np.where(conditions["stop"], NO_CHOICE, side)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the go stimulus and the stop signal in noise."""
        inputs, stimuli = self.fixating(timeline), timeline.during("stimulus", "delay")
        left = conditions["side"] == "left"
        for channel, shown in ((1, left), (2, ~left)):
            inputs[..., channel] = stimuli & shown[:, None]
        inputs[..., 3] = timeline.during("delay") & conditions["stop"][:, None]
        self.add_noise(inputs, stimuli, slice(1, 4), rng)
        return inputs

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return each go stimulus without and with the stop signal."""
        return {
            "left": np.array([1.0, 1.0, 0.0, 0.0]),
            "right": np.array([1.0, 0.0, 1.0, 0.0]),
            "left, stop": np.array([1.0, 1.0, 0.0, 1.0]),
            "right, stop": np.array([1.0, 0.0, 1.0, 1.0]),
        }
