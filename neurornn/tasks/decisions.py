"""Decisions: tasks in which noisy evidence is gathered and one answer given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.distributions import (
    Choice,
    Distribution,
    Duration,
    Exponential,
    Uniform,
    as_distribution,
)
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_positive


def need_coherences(coherences: object) -> None:
    """Refuse what are no strengths of evidence in percent."""
    strengths = np.asarray(coherences)
    fits = strengths.ndim == 1 and strengths.size > 0 and strengths.dtype.kind in "iuf"
    if not (fits and np.isfinite(strengths).all() and (strengths >= 0).all()):
        raise InputError(
            f"`coherences` must be strengths in percent of at least 0, got {coherences!r}: "
            "give a tuple; directions are drawn for you"
        )


def sided(conditions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the coherence with its sign, positive where it speaks for choice 2, shape (trial,)."""
    side = np.where(conditions["target_choice"] == 2, 1, -1)
    # Zero has no sign, which would be printed.
    return side * conditions["coherence"] + 0.0


def show_streams(inputs: np.ndarray, first: int, signed_coherence: np.ndarray, during: np.ndarray) -> None:
    """Show the means of two opposed streams, (1 - c / 100) / 2 and (1 + c / 100) / 2, in place.

    Parameters
    ----------
    inputs : ndarray, shape (trial, time, input_channel)
    first : int
        Channel of the stream for choice 1; the other one follows.
    signed_coherence : ndarray, shape (trial,)
        The coherence c in percent.
    during : ndarray of bool, shape (trial, time)
        What lies outside stays as it is.
    """
    for channel, side in ((first, -1), (first + 1, 1)):
        mean = (0.5 * (1 + side * signed_coherence / 100)).astype(inputs.dtype)
        np.copyto(inputs[..., channel], mean[:, None], where=during)


def steps_of(task: EpochTask, epoch: str, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how many steps an epoch lasts in these conditions, its shortest where they do not say."""
    shortest = as_distribution(getattr(task, task.duration_field(epoch) or epoch), epoch).bounds()[0]
    return task.whole_steps(np.asarray(conditions.get(f"{epoch}_duration", shortest), float))


def share_right(mean: np.ndarray, std: np.ndarray | float) -> np.ndarray:
    """Return how often a normal variable lies above 0, half of the time where its mean is 0."""
    mean, std = np.broadcast_arrays(np.asarray(mean, float), np.asarray(std, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = mean / std
    return normal_cdf(np.where(mean == 0, 0.0, z))


@dataclass(frozen=True)
class PerceptualDecisionMaking(ChoiceTask):
    """Say which of two noisy streams is the stronger (random-dot motion).

    Story
        Two streams of evidence flicker around nearly the same mean; their difference, the coherence, is
        small beside the noise of one step, so that only integration over the stimulus tells which is
        the stronger. The answer is given when the fixation cue goes off.

    Inputs
        ============== ============================================================
        channel        meaning
        ============== ============================================================
        ``fixation``   1 until the response, then 0
        ``evidence_1`` (1 - c / 100) / 2 plus noise during the stimulus, otherwise 0
        ``evidence_2`` (1 + c / 100) / 2 plus noise during the stimulus, otherwise 0
        ============== ============================================================

        c is the signed coherence in percent; noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` (c < 0) or ``choice_2`` (c > 0); at c = 0
        either, with equal chance.

    Epochs
        ``fixation`` 100, ``stimulus`` 2000, ``delay`` 0, ``response`` 100 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Sums the difference of the streams without loss. With the default parameters it is right in .8957 of
        the trials (.5 at coherence 0, .978 at 6.4, practically 1 above).

    Constant inputs
        ``zero evidence``: the stimulus at coherence 0 without noise.

    Recipe
        `RateRNN` of 64 relu units without leak, 1000 steps of Adam at 1e-2 with 64 trials each, as in the
        Primer's notebook.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms); the default 1 is .1 per step of 100 ms.
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Britten, K. H., Shadlen, M. N., Newsome, W. T. & Movshon, J. A. (1992). The analysis of visual motion: a
    comparison of neuronal and psychophysical performance. Journal of Neuroscience 12, 4745-4765.
    doi:10.1523/JNEUROSCI.12-12-04745.1992

    Yang, G. R. & Wang, X.-J. (2020). Artificial neural networks for neuroscientists: a primer. Neuron 107,
    1048-1070. doi:10.1016/j.neuron.2020.09.005 (its notebook's definition, the fixation cue on until the
    response)

    Examples
    --------
    >>> task = PerceptualDecisionMaking()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.targets[:, -1].tolist() == trials.conditions["target_choice"].tolist()
    ((4, 22, 3), True)
    >>> round(task.ideal_accuracy({"coherence": np.array(task.coherences)}).mean(), 4)
    np.float64(0.8957)
    """

    coherences: tuple[float, ...] = (0.0, 6.4, 12.8, 25.6, 51.2)
    fixation: Duration = 100.0
    stimulus: Duration = 2000.0
    delay: Duration = 0.0
    response: Duration = 100.0
    noise_std: float = 1.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 100.0

    n_inputs = 3
    n_outputs = 3
    epoch_order = ("fixation", "stimulus", "delay", "response")
    average_by = ("signed_coherence",)
    accuracy_by = ("coherence",)
    psychometric_stimulus = "signed_coherence"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_coherences(self.coherences)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "evidence_1", "evidence_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "choice_1", "choice_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training of the Primer's notebook."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-2},
            criterion=0.97 * 0.8957,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the strength of the evidence and the side that it speaks for."""
        return {"coherence": Choice(*map(float, self.coherences)), "target_choice": Choice(1, 2)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the coherence with its sign beside the factors."""
        return {**conditions, "signed_coherence": sided(conditions)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the two streams in noise."""
        inputs, stimulus = self.fixating(timeline), timeline.during("stimulus")
        show_streams(inputs, 1, conditions["signed_coherence"], stimulus)
        self.add_noise(inputs, stimulus, slice(1, 3), rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums all evidence without loss, shape (trial,)."""
        difference = (trials.inputs[..., 2].astype(float) - trials.inputs[..., 1]).sum(axis=1)
        return self.unless_held(np.where(difference > 0, 2, 1), trials)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        The summed difference has mean n c / 100 and variance 2 n s^2 over the n steps of the stimulus,
        s being the noise of one step, so that the share is Phi(c / 100 * sqrt(n / 2) / s).
        """
        n_steps = steps_of(self, "stimulus", conditions)
        coherence = np.asarray(conditions["coherence"], float)
        share = share_right(coherence / 100 * np.sqrt(n_steps / 2 * self.dt), self.noise_std)
        return np.where(conditions.get("catch", False), 1.0, share)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the stimulus at coherence 0 without noise."""
        return {"zero evidence": np.array([1.0, 0.5, 0.5])}


@dataclass(frozen=True)
class VariableDurationDecision(PerceptualDecisionMaking):
    """Say which of two noisy streams was the stronger, however long they were seen.

    Story
        As in `PerceptualDecisionMaking`, but the streams stop without warning after a time of which nothing
        can be told in advance, so that every moment's evidence must be counted as it comes. Accuracy grows
        with the time that was there for looking.

    Inputs
        ============== ============================================================
        channel        meaning
        ============== ============================================================
        ``fixation``   1 until the response, then 0
        ``evidence_1`` (1 - c / 100) / 2 plus noise during the stimulus, otherwise 0
        ``evidence_2`` (1 + c / 100) / 2 plus noise during the stimulus, otherwise 0
        ============== ============================================================

        c is the signed coherence in percent; noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` (c < 0) or ``choice_2`` (c > 0).

    Epochs
        ``fixation`` 100, ``stimulus`` exponential of mean 330 between 80 and 1500, ``delay`` 0, ``response``
        300 ms. The response begins when the streams stop. Trials are padded to the longest of their batch.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Sums the difference of the streams without loss. With the default parameters it is right in .872 of
        the trials.

    Constant inputs
        ``zero evidence``: the stimulus at coherence 0 without noise.

    Recipe
        `RateRNN` of 64 relu units with a leak of 100 ms, recurrent weights .9 times the identity at first;
        1500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions. The paper's 1, 2, 4, 8 and 16 stand
        for 3.2 times as much in its inputs, which is what is given here.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms). The paper's uncertainty is the units' own noise; here it is the
        inputs', so that there is an ideal observer.
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given; 1 / 11 in
        the paper.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Kiani, R., Hanks, T. D. & Shadlen, M. N. (2008). Bounded integration in parietal cortex underlies
    decisions even when viewing duration is dictated by the environment. Journal of Neuroscience 28,
    3017-3029. doi:10.1523/JNEUROSCI.4761-07.2008

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks: a simple and flexible framework. PLoS Computational Biology 12, e1004792.
    doi:10.1371/journal.pcbi.1004792

    Examples
    --------
    >>> task = VariableDurationDecision()
    >>> trials = task.draw(1000, np.random.default_rng(0))
    >>> shown = trials.conditions["stimulus_duration"]
    >>> bool(shown.min() >= 80), bool(shown.max() <= 1500)
    (True, True)
    """

    coherences: tuple[float, ...] = (3.2, 6.4, 12.8, 25.6, 51.2)
    fixation: Duration = 100.0
    stimulus: Duration = Exponential(330.0, 80.0, 1500.0)
    delay: Duration = 0.0
    response: Duration = 300.0
    noise_std: float = 1.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 20.0

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 64,
                "activation": "relu",
                "tau": 100.0,
                "recurrent_initialisation": "identity",
                "gain": 0.9,
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97 * 0.8718,
        )


@dataclass(frozen=True)
class ReactionTimeDecision(EpochTask):
    """Say which of two noisy streams is the stronger as soon as it is clear enough.

    Story
        Two streams of evidence begin with a start cue and go on to the trial's end. Two outputs are to rise,
        one if the first stream is the stronger, the other if the second; the answer is given when one
        crosses a threshold, early where the evidence is strong and late where it is weak. In the first
        moments nothing is asked, so that nothing hinders an early answer.

    Inputs
        ============== ===========================================================================
        channel        meaning
        ============== ===========================================================================
        ``evidence_1`` (1 - c / 100) / 2 plus noise from the stimulus to the trial's end, before it 0
        ``evidence_2`` (1 + c / 100) / 2 plus noise from the stimulus to the trial's end, before it 0
        ``start``      1 from the stimulus to the trial's end, before it 0
        ============== ===========================================================================

        c is the signed coherence in percent; noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        ``choice_1`` and ``choice_2``: both ``low`` before the stimulus; in the response the right one
        ``high`` and the other ``low``. Nothing is asked in the stimulus. An output of the least squared error
        is ``low`` plus ``high - low`` times the chance that its choice is right: with the defaults the
        threshold stands where that is .8.

    Epochs
        ``fixation`` 100, ``stimulus`` 300, ``response`` 700 ms: the evidence is on from the stimulus's
        beginning to the response's end, and what is called stimulus is its unscored beginning.

    Scoring
        1 where the first output to reach ``threshold`` after the evidence begins is the right one; 0 where
        none does before the trial ends, or where one is there already before the evidence begins. The
        reaction time is the time for which the evidence has been seen when the threshold is reached.

    Ideal observer
        Sums the difference of the streams without loss to the trial's end: who answers sooner cannot be
        right more often. With the default parameters it is right in .984 of the trials.

    Constant inputs
        ``zero evidence``: start cue on, coherence 0, no noise.

    Recipe
        `RateRNN` of 64 relu units with a leak of 100 ms; 1200 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions. The paper's 1, 2, 4, 8 and 16 stand
        for 3.2 times as much in its inputs, which is what is given here. At 0 either choice is right, with
        equal chance.
    fixation, stimulus, response : float or Distribution
        Durations in ms.
    high, low : float
        What the outputs are to be. The paper's ``high`` is 1.
    threshold : float
        What an output must reach to be an answer; between ``low`` and ``high``.
    noise_std : float
        Input noise in units of sqrt(ms). The paper's uncertainty is the units' own noise; here it is the
        inputs', so that there is an ideal observer.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Roitman, J. D. & Shadlen, M. N. (2002). Response of neurons in the lateral intraparietal area during a
    combined visual discrimination reaction time task. Journal of Neuroscience 22, 9475-9489.
    doi:10.1523/JNEUROSCI.22-21-09475.2002

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks: a simple and flexible framework. PLoS Computational Biology 12, e1004792.
    doi:10.1371/journal.pcbi.1004792

    Examples
    --------
    >>> task = ReactionTimeDecision()
    >>> trials = task.draw(3, np.random.default_rng(0))
    >>> outputs = np.full((3, trials.n_steps, 2), 0.2)
    >>> outputs[0, 14:, 1] = 1.1
    >>> task.choose(outputs, trials), task.reaction_time(outputs, trials)
    (array([ 2, -1, -1]), array([200.,  nan,  nan]))
    """

    coherences: tuple[float, ...] = (3.2, 6.4, 12.8, 25.6, 51.2)
    fixation: Duration = 100.0
    stimulus: Duration = 300.0
    response: Duration = 700.0
    high: float = 1.2
    low: float = 0.2
    threshold: float = 1.0
    noise_std: float = 0.5
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 3
    n_outputs = 2
    epoch_order = ("fixation", "stimulus", "response")
    average_by = ("signed_coherence",)
    accuracy_by = ("coherence",)
    psychometric_stimulus = "signed_coherence"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_coherences(self.coherences)
        levels = [need_at_least_zero(getattr(self, name), name) for name in ("low", "threshold", "high")]
        if not levels[0] < levels[1] < levels[2]:
            raise InputError(
                "`threshold` must lie between `low` and `high`, got "
                f"low = {self.low!r}, threshold = {self.threshold!r}, high = {self.high!r}: order them so"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("evidence_1", "evidence_2", "start")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("choice_1", "choice_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "tau": 100.0},
            training={"n_steps": 1200, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the strength of the evidence and the side that it speaks for."""
        return {"coherence": Choice(*map(float, self.coherences)), "target_choice": Choice(1, 2)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the coherence with its sign beside the factors."""
        return {**conditions, "signed_coherence": sided(conditions)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the two streams in noise and the start cue."""
        inputs, on = self.blank(timeline), timeline.since("stimulus")
        show_streams(inputs, 0, conditions["signed_coherence"], on)
        inputs[..., 2] = on
        self.add_noise(inputs, on, slice(0, 2), rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return what the two outputs are to be, shape (trial, time, output_channel)."""
        targets = np.full((timeline.n_trials, timeline.n_steps, self.n_outputs), self.low, np.float32)
        for channel in range(self.n_outputs):
            right = conditions["target_choice"] == channel + 1
            timeline.fill(targets[..., channel], np.where(right, self.high, self.low), "response")
        return targets

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: nothing is asked in the stimulus."""
        return timeline.valid & ~timeline.during("stimulus")

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the choice, 1 or 2, whose output is the first to reach the threshold, shape (trial,).

        -1 where none does, or where one has reached it before the evidence begins. Where both reach it in the
        same step, the larger is taken.
        """
        first, answered = self._crossing(outputs, trials)
        chosen = outputs[np.arange(len(outputs)), first].argmax(axis=1) + 1
        return np.where(answered, chosen, NO_CHOICE)

    def reaction_time(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return how many ms of evidence were seen at the answer, NaN without one, shape (trial,)."""
        first, answered = self._crossing(outputs, trials)
        seen = first + 1 - trials.timeline.start["stimulus"]
        return np.where(answered, seen * float(self.dt), np.nan)

    def _crossing(self, outputs: np.ndarray, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Return the first step at the threshold, and whether that is an answer, shapes (trial,)."""
        reached = (outputs >= self.threshold).any(axis=2) & trials.valid
        first = reached.argmax(axis=1)
        return first, reached.any(axis=1) & (first >= trials.timeline.start["stimulus"])

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with the right choice, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums all evidence to the trial's end, shape (trial,)."""
        difference = (trials.inputs[..., 1].astype(float) - trials.inputs[..., 0]).sum(axis=1)
        return np.where(difference > 0, 2, 1)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        That of `PerceptualDecisionMaking`, the evidence lasting as long as stimulus and response.
        """
        n_steps = steps_of(self, "stimulus", conditions) + steps_of(self, "response", conditions)
        coherence = np.asarray(conditions["coherence"], float)
        return share_right(coherence / 100 * np.sqrt(n_steps / 2 * self.dt), self.noise_std)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the stimulus at coherence 0 without noise."""
        return {"zero evidence": np.array([0.5, 0.5, 1.0])}


@dataclass(frozen=True)
class PulseDecisionMaking(ChoiceTask):
    """Count pulses on two sides and say which had more (Poisson clicks).

    Story
        Clicks come from the left and from the right, each side at random with a rate of its own, for a time
        that varies. When they stop, the side with more clicks is to be named. The evidence is there at known
        moments, so that the weight of each of them in the choice can be measured.

    Inputs
        ============ ============================================================
        channel      meaning
        ============ ============================================================
        ``fixation`` 1 until the response, then 0
        ``pulses_1`` number of pulses of side 1 in this step, in the stimulus only
        ``pulses_2`` number of pulses of side 2 in this step, in the stimulus only
        ============ ============================================================

        Numbers of pulses are Poisson, independent between steps and sides. The two rates add up to
        ``total_rate``; which side has the greater one is drawn.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` or ``choice_2``, the side that had more
        pulses; where both had as many, either, with equal chance.

    Epochs
        ``fixation`` 200, ``stimulus`` uniform between 200 and 1000, ``response`` 100 ms. The response begins
        when the stimulus ends. Trials are padded to the longest of their batch.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Counts: wrong in half of the trials with as many pulses on both sides, otherwise right. With the
        default parameters it is right in .9945 of the trials.

    Constant inputs
        ``no pulse``: fixation on, no pulse.

    Recipe
        `RateRNN` of 64 relu units without leak, recurrent weights .9 times the identity at first; 1500 steps
        of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    favoured_rates : tuple of float
        Pulses per second of the favoured side, at least half of ``total_rate`` and at most all of it.
    total_rate : float
        Pulses per second of both sides together.
    fixation, stimulus, response : float or Distribution
        Durations in ms.
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Brunton, B. W., Botvinick, M. M. & Brody, C. D. (2013). Rats and humans can optimally accumulate evidence
    for decision-making. Science 340, 95-98. doi:10.1126/science.1233912

    Examples
    --------
    >>> task = PulseDecisionMaking()
    >>> trials = task.draw(200, np.random.default_rng(0))
    >>> more = trials.conditions["pulse_difference"] > 0
    >>> bool((trials.conditions["target_choice"][more] == 2).all())
    True
    """

    favoured_rates: tuple[float, ...] = (26.0, 31.0, 37.0, 39.0)
    total_rate: float = 40.0
    fixation: Duration = 200.0
    stimulus: Duration = Uniform(200.0, 1000.0)
    response: Duration = 100.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 3
    n_outputs = 3
    epoch_order = ("fixation", "stimulus", "response")
    average_by = ("favoured_rate", "target_choice")
    accuracy_by = ("favoured_rate",)
    psychometric_stimulus = "pulse_difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self.total_rate, "total_rate", "pulses per second")
        rates = np.asarray(self.favoured_rates)
        fits = rates.ndim == 1 and rates.size > 0 and rates.dtype.kind in "iuf" and np.isfinite(rates).all()
        if not (fits and (rates >= self.total_rate / 2).all() and (rates <= self.total_rate).all()):
            raise InputError(
                "`favoured_rates` must be rates from half of total_rate to all of it, "
                f"{self.total_rate / 2:g} to {self.total_rate:g}, got {self.favoured_rates!r}: give a tuple; "
                "the favoured side is drawn for you"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "pulses_1", "pulses_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "choice_1", "choice_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 64,
                "activation": "relu",
                "recurrent_initialisation": "identity",
                "gain": 0.9,
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the rate of the favoured side, and which side that is."""
        return {"favoured_rate": Choice(*map(float, self.favoured_rates)), "favoured_side": Choice(1, 2)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the rates of both sides beside the factors."""
        favoured, other = conditions["favoured_rate"], self.total_rate - conditions["favoured_rate"]
        first = conditions["favoured_side"] == 1
        rates = {"rate_1": np.where(first, favoured, other), "rate_2": np.where(first, other, favoured)}
        return {**conditions, **rates}

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, and what follows from how long: the pulses and the right answer."""
        timeline, varied = super()._timeline(n_trials, conditions, rng)
        seconds = timeline.length("stimulus") * (self.dt / 1000)
        first, second = (rng.poisson(conditions[name] * seconds) for name in ("rate_1", "rate_2"))
        tied = rng.integers(1, 3, size=n_trials)
        counted = {
            "n_pulses_1": first,
            "n_pulses_2": second,
            "pulse_difference": second - first,
            "target_choice": np.where(first == second, tied, np.where(second > first, 2, 1)),
        }
        return timeline, {**varied, **counted}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the pulses."""
        inputs = self.fixating(timeline)
        start, stop = timeline.start["stimulus"], timeline.stop["stimulus"]
        shape = timeline.n_trials, timeline.n_steps
        for side in (1, 2):
            # Of so many pulses of a Poisson process, each falls on any step alike.
            trial = np.repeat(np.arange(shape[0]), conditions[f"n_pulses_{side}"])
            entry = trial * shape[1] + rng.integers(start[trial], stop[trial])
            inputs[..., side] = np.bincount(entry, minlength=shape[0] * shape[1]).reshape(shape)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who counts, 2 where there were as many, shape (trial,)."""
        first, second = trials.inputs[..., 1:].sum(axis=1).T
        return self.unless_held(np.where(first > second, 1, 2), trials)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        One less half the chance of a tie, which is that of a Skellam variable to be 0:
        exp(-a - b) I0(2 sqrt(a b)) with a and b the pulses expected on the two sides.
        """
        from scipy.special import ive

        seconds = steps_of(self, "stimulus", conditions) * self.dt / 1000
        favoured = np.asarray(conditions["favoured_rate"], float)
        a, b = np.sqrt(favoured * seconds), np.sqrt((self.total_rate - favoured) * seconds)
        # ive is I0 times exp(-2 a b), so that nothing overflows.
        share = 1 - np.exp(-((a - b) ** 2)) * ive(0, 2 * a * b) / 2
        return np.where(conditions.get("catch", False), 1.0, share)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input between pulses."""
        return {"no pulse": np.array([1.0, 0.0, 0.0])}
