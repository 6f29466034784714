"""Decisions in which more than one stream counts: a context, a second sense, a hidden rule, confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import FIXATION, ChoiceTask
from neurornn.tasks.decisions import need_coherences, share_right, show_streams, sided, steps_of
from neurornn.tasks.distributions import Choice, Distribution, Duration, Exponential, Fixed, Uniform
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.matching import blocks, show_in_noise
from neurornn.tasks.sequences import SerialTask, stacked
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Loss, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_count, need_positive

CONTEXTS = ("motion", "color")
MODALITIES = ("visual", "auditory", "both")
TOWARD, AWAY = 1, 2
RULES = ("short_toward", "long_toward")


@dataclass(frozen=True)
class ContextDecisionMaking(EpochTask):
    """Say the direction of motion or the color, as the context asks, and ignore the other.

    Story
        Two noisy streams are shown at once, the motion and the color of the same dots. A cue that is on
        throughout says which of the two is to be judged; the other speaks for the same answer or for the
        opposite one, and must not count. The noise is so large that the relevant stream must be integrated.

    Inputs
        =================== ================================================================
        channel             meaning
        =================== ================================================================
        ``motion``          motion coherence / 100 plus noise in the stimulus, otherwise 0
        ``color``           color coherence / 100 plus noise in the stimulus, otherwise 0
        ``motion_context``  1 throughout where motion is to be judged, otherwise 0
        ``color_context``   1 throughout where color is to be judged, otherwise 0
        =================== ================================================================

        Coherences are signed; noise has standard deviation ``noise_std / sqrt(dt)`` per step, .6 by default.

    Targets
        ``choice``: 0 in the fixation, and in the response -1 or 1, the sign of the relevant coherence.
        Nothing is asked in between. There is no go cue, as in the paper's network, and none is needed: the
        answer may begin at any time after the evidence has, and only has to be there in the response, so
        that it need not be known when the response begins, even where durations vary.

    Epochs
        ``fixation`` 100, ``stimulus`` 800, ``delay`` 0, ``response`` 200 ms.

    Scoring
        1 where the mean output in the response has the right sign.

    Ideal observer
        Sums the relevant stream without loss. With the default parameters it is right in .881 of the trials
        (.701, .943 and 1 at 5, 15 and 50).

    Constant inputs
        ``motion context`` and ``color context``: the cue on, no evidence.

    Recipe
        `RateRNN` of 100 tanh units with a leak of 100 ms, noise of .02 and gain .8; 1500 steps of Adam at
        1e-3 with 64 trials each.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions, independently in both streams. At 0
        either choice is right, with equal chance.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .6 per step of 20 ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Mante, V., Sussillo, D., Shenoy, K. V. & Newsome, W. T. (2013). Context-dependent computation by recurrent
    dynamics in prefrontal cortex. Nature 503, 78-84. doi:10.1038/nature12742

    Examples
    --------
    >>> task = ContextDecisionMaking()
    >>> trials = task.factorial()
    >>> trials.inputs.shape
    (72, 55, 4)
    >>> relevant = {"relevant_coherence": np.array([5.0, 15.0, 50.0])}
    >>> task.ideal_accuracy(relevant).round(3)
    array([0.701, 0.943, 1.   ])
    """

    coherences: tuple[float, ...] = (5.0, 15.0, 50.0)
    fixation: Duration = 100.0
    stimulus: Duration = 800.0
    delay: Duration = 0.0
    response: Duration = 200.0
    noise_std: float = 0.6 * math.sqrt(20.0)
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 4
    n_outputs = 1
    epoch_order = ("fixation", "stimulus", "delay", "response")
    average_by = ("context", "relevant_coherence")
    accuracy_by = ("context", "coherence")
    psychometric_stimulus = "relevant_coherence"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_coherences(self.coherences)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("motion", "color", "motion_context", "color_context")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("choice",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 100,
                "activation": "tanh",
                "tau": 100.0,
                "gain": 0.8,
                "output_gain": 0.3,
                "noise_std": 0.02,
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.85,
        )

    @property
    def chance_loss(self) -> float | None:
        """Loss of an output of 0: the response's share of the scored steps, where durations do not vary."""
        fixation, response = (getattr(self, name) for name in ("fixation", "response"))
        if any(isinstance(own, Distribution) and not isinstance(own, Fixed) for own in (fixation, response)):
            return None
        scored = [self.steps(own.value if isinstance(own, Fixed) else own) for own in (fixation, response)]
        return scored[1] / sum(scored)

    def factors(self) -> dict[str, Distribution]:
        """Return the context and the signed coherences of both streams."""
        # Zero has no sign, which would be printed.
        signed = [side * float(own) + 0.0 for own in self.coherences for side in (-1, 1)]
        return {
            "context": Choice(*CONTEXTS),
            "motion_coherence": Choice(*signed),
            "color_coherence": Choice(*signed),
        }

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return which coherence is relevant and which is not, and the right answer."""
        both = conditions["motion_coherence"], conditions["color_coherence"]
        motion = conditions["context"] == "motion"
        relevant, irrelevant = np.where(motion, *both), np.where(motion, *both[::-1])
        right = np.where(relevant > 0, 2, 1)
        if (relevant == 0).any():
            right = np.where(relevant == 0, rng.integers(1, 3, size=n_trials), right)
        return {
            **conditions,
            "relevant_coherence": relevant,
            "irrelevant_coherence": irrelevant,
            "coherence": np.abs(relevant),
            "target_choice": right,
        }

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the two streams in noise and the context's cue."""
        inputs = self.blank(timeline)
        for channel, name in enumerate(CONTEXTS):
            timeline.fill(inputs[..., channel], conditions[f"{name}_coherence"] / 100, "stimulus")
            inputs[..., 2 + channel] = (conditions["context"] == name)[:, None]
        self.add_noise(inputs, timeline.during("stimulus"), slice(0, 2), rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the answer's sign in the response, 0 before it, shape (trial, time, 1)."""
        targets = np.zeros((timeline.n_trials, timeline.n_steps, 1), np.float32)
        sign = np.where(conditions["target_choice"] == 2, 1, -1)
        timeline.fill(targets[..., 0], sign, "response")
        return targets

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: nothing is asked between fixation and response."""
        return timeline.during("fixation") | timeline.during("response")

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 2 where the mean output of the response is above 0, 1 below, -1 at 0, shape (trial,)."""
        during = trials.in_epoch("response")
        mean = (outputs[..., 0] * during).sum(axis=1) / during.sum(axis=1)
        return np.where(mean == 0, NO_CHOICE, np.where(mean > 0, 2, 1))

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with the right choice, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums the relevant stream without loss, shape (trial,)."""
        relevant = np.where(trials.inputs[:, 0, 2] > 0.5, 0, 1)
        summed = trials.inputs[..., :2].sum(axis=1, dtype=float)
        return np.where(summed[np.arange(len(summed)), relevant] > 0, 2, 1)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        The relevant stream's sum has mean n c / 100 and variance n s^2 over the n steps of the stimulus, s
        being the noise of one step, so that the share is Phi(c / 100 * sqrt(n) / s).
        """
        n_steps = steps_of(self, "stimulus", conditions)
        coherence = np.abs(np.asarray(conditions["relevant_coherence"], float))
        return share_right(coherence / 100 * np.sqrt(n_steps * self.dt), self.noise_std)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return each context's cue without evidence."""
        return {
            "motion context": np.array([0.0, 0.0, 1.0, 0.0]),
            "color context": np.array([0.0, 0.0, 0.0, 1.0]),
        }


@dataclass(frozen=True)
class MultisensoryIntegration(ChoiceTask):
    """Say whether events come at a high or a low rate, seen, heard or both.

    Story
        A stream of events, flashes or clicks or both together, has a rate above or below a boundary. Each
        sense is noisy by itself, so that who hears and sees at once is right more often, if both are added.

    Inputs
        ================= ====================================================================
        channel           meaning
        ================= ====================================================================
        ``fixation``      1 until the response, then 0
        ``visual_low``    (1 - d) / 2 plus noise in the stimulus where it is seen, otherwise 0
        ``visual_high``   (1 + d) / 2 plus noise in the stimulus where it is seen, otherwise 0
        ``auditory_low``  (1 - d) / 2 plus noise in the stimulus where it is heard, otherwise 0
        ``auditory_high`` (1 + d) / 2 plus noise in the stimulus where it is heard, otherwise 0
        ================= ====================================================================

        d = (rate - boundary) / boundary; noise has standard deviation ``noise_std / sqrt(dt)`` per step,
        independent between channels.

    Targets
        Classes ``fixate`` until the response, then ``low`` or ``high``; at the boundary either, with equal
        chance.

    Epochs
        ``fixation`` 100, ``stimulus`` 1000, ``response`` 300 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Sums the differences of high and low of all that is shown. With the default parameters it is right
        in .836 of the trials with one sense and in .885 of those with both.

    Constant inputs
        ``visual boundary``, ``auditory boundary``, ``both boundary``: the stimulus at the boundary without
        noise.

    Recipe
        `RateRNN` of 64 relu units with a leak of 100 ms; 1500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    rates : tuple of float
        Events per second.
    boundary : float
        The rate between low and high, in events per second.
    fixation, stimulus, response : float or Distribution
        Durations in ms.
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    noise_std : float
        Input noise in units of sqrt(ms), the same for both senses. Song et al. have the units' own noise
        instead.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Raposo, D., Kaufman, M. T. & Churchland, A. K. (2014). A category-free neural population supports evolving
    demands during decision-making. Nature Neuroscience 17, 1784-1792. doi:10.1038/nn.3865

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks: a simple and flexible framework. PLoS Computational Biology 12, e1004792.
    doi:10.1371/journal.pcbi.1004792

    Examples
    --------
    >>> task = MultisensoryIntegration()
    >>> share = task.ideal_accuracy(task.factorial().conditions)
    >>> share.reshape(3, 8).mean(axis=1).round(3)
    array([0.836, 0.836, 0.885])
    """

    rates: tuple[float, ...] = (9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0)
    boundary: float = 12.5
    fixation: Duration = 100.0
    stimulus: Duration = 1000.0
    response: Duration = 300.0
    catch_probability: float = 0.0
    noise_std: float = 3.0
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 5
    n_outputs = 3
    epoch_order = ("fixation", "stimulus", "response")
    average_by = ("modality", "event_rate")
    accuracy_by = ("modality",)
    psychometric_stimulus = "rate_difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self.boundary, "boundary", "events per second")
        rates = np.asarray(self.rates)
        fits = rates.ndim == 1 and rates.size > 0 and rates.dtype.kind in "iuf"
        if not (fits and np.isfinite(rates).all() and (rates >= 0).all()):
            raise InputError(
                f"`rates` must be events per second of at least 0, got {self.rates!r}: give a tuple"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "visual_low", "visual_high", "auditory_low", "auditory_high")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "low", "high")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "tau": 100.0},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97 * 0.8526,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return which senses are served, and the rate."""
        return {"modality": Choice(*MODALITIES), "event_rate": Choice(*map(float, self.rates))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return how far the rate is above the boundary, and the right answer."""
        difference = conditions["event_rate"] - self.boundary
        right = np.where(difference > 0, 2, 1)
        if (difference == 0).any():
            right = np.where(difference == 0, rng.integers(1, 3, size=n_trials), right)
        return {**conditions, "rate_difference": difference, "target_choice": right}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the streams of the senses that are served, in noise."""
        inputs = self.fixating(timeline)
        signed = conditions["rate_difference"] / self.boundary
        means = np.stack([(1 - signed) / 2, (1 + signed) / 2], axis=1)
        for first, other in ((1, "auditory"), (3, "visual")):
            served = blocks(timeline, "stimulus", conditions["modality"] != other)
            show_in_noise(inputs, slice(first, first + 2), [(means, served)], self.step_noise, rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums all evidence of both senses, shape (trial,)."""
        summed = trials.inputs[..., 1:].sum(axis=1, dtype=float)
        return self.unless_held(np.where(summed @ [-1.0, 1.0, -1.0, 1.0] > 0, 2, 1), trials)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        The sum of the differences has mean m n d and variance 2 m n s^2 over the n steps of the stimulus,
        m being the number of senses and s the noise of one step: the share is Phi(d sqrt(m n / 2) / s).
        """
        n_steps = steps_of(self, "stimulus", conditions)
        n_senses = np.where(conditions["modality"] == "both", 2, 1)
        distance = np.abs(np.asarray(conditions["event_rate"], float) - self.boundary) / self.boundary
        share = share_right(distance * np.sqrt(n_senses * n_steps / 2 * self.dt), self.noise_std)
        return np.where(conditions.get("catch", False), 1.0, share)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the stimulus at the boundary without noise, for each of the senses and both."""
        return {
            "visual boundary": np.array([1.0, 0.5, 0.5, 0.0, 0.0]),
            "auditory boundary": np.array([1.0, 0.0, 0.0, 0.5, 0.5]),
            "both boundary": np.array([1.0, 0.5, 0.5, 0.5, 0.5]),
        }


@dataclass(frozen=True)
class PostDecisionWager(ChoiceTask):
    """Decide between two noisy streams, or take a small but sure reward instead (confidence).

    Story
        Two streams of evidence are seen for a short time that varies, and remembered. In half of the trials
        a third target then appears that brings a sure but smaller reward. Who wants most reward takes it
        where the evidence leaves too much doubt, and decides otherwise.

    Inputs
        ============== ============================================================
        channel        meaning
        ============== ============================================================
        ``fixation``   1 until the response, then 0
        ``evidence_1`` (1 - c / 100) / 2 plus noise during the stimulus, otherwise 0
        ``evidence_2`` (1 + c / 100) / 2 plus noise during the stimulus, otherwise 0
        ``sure``       1 from ``delay_2`` to the end where the sure target is offered, otherwise 0
        ============== ============================================================

        c is the signed coherence in percent; noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` (c < 0), ``choice_2`` (c > 0; either at 0) or
        ``sure``. Sure is right where it is offered and the evidence that was shown, summed without loss,
        makes the likelier direction right with a chance below ``sure_reward``. It is the noisy evidence of
        the very trial that decides, not the coherence, which nobody sees: weak motion can be seen clearly,
        and strong motion badly. Conditions ``evidence``, the summed difference of the streams, and
        ``confidence``, that chance.

    Epochs
        ``fixation`` 100, ``stimulus`` exponential of mean 180 beyond 100 and up to 900, ``delay_1`` and
        ``delay_2`` each uniform between 500 and 750, ``response`` 100 ms. Trials are padded to the longest of
        their batch.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Sums the difference of the streams without loss, knows the coherences, the noise and for how long it
        looked. With the default parameters it is right in .865 of the trials, and of those with a
        sure target it takes that in .36.

    Constant inputs
        ``delay``: fixation on, no evidence; ``sure target``: the same with the sure target.

    Recipe
        `RateRNN` of 64 relu units without leak, recurrent weights the identity at first; 3000 steps of Adam
        at 2e-3 with 64 trials each.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions.
    sure_reward : float
        Reward of the sure target where a right answer brings 1 and a wrong one nothing, between .5 and 1;
        .7 as in NeuroGym.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``delay`` is that of both delays, before and after the sure target appears.
    catch_probability : float
        Share of trials without evidence, the fixation cue on to the end, in which no answer must be given.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Kiani, R. & Shadlen, M. N. (2009). Representation of confidence associated with a decision by neurons in
    the parietal cortex. Science 324, 759-764. doi:10.1126/science.1169405

    Examples
    --------
    >>> task = PostDecisionWager()
    >>> conditions = task.draw(500, np.random.default_rng(0)).conditions
    >>> sure = conditions["target_choice"] == task.SURE
    >>> bool(conditions["confidence"][sure].max() < task.sure_reward), bool(conditions["offered"][sure].all())
    (True, True)
    """

    coherences: tuple[float, ...] = (0.0, 3.2, 6.4, 12.8, 25.6, 51.2)
    sure_reward: float = 0.7
    fixation: Duration = 100.0
    stimulus: Duration = Exponential(180.0, 100.0, 900.0)
    delay: Duration = Uniform(500.0, 750.0)
    response: Duration = 100.0
    catch_probability: float = 0.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    SURE: ClassVar[int] = 3
    """The class of the sure target."""
    n_inputs = 4
    n_outputs = 4
    epoch_order = ("fixation", "stimulus", "delay_1", "delay_2", "response")
    average_by = ("signed_coherence", "offered")
    accuracy_by = ("coherence", "offered")

    def __post_init__(self) -> None:
        super().__post_init__()
        need_coherences(self.coherences)
        if not 0.5 < need_positive(self.sure_reward, "sure_reward") < 1:
            raise InputError(
                f"`sure_reward` must lie between 0.5 (a guess) and 1 (a right answer), "
                f"got {self.sure_reward!r}"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "evidence_1", "evidence_2", "sure")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "choice_1", "choice_2", "sure")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 3000, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.82,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the strength and the side of the evidence, and whether the sure target is offered."""
        return {
            "coherence": Choice(*map(float, self.coherences)),
            "direction": Choice(1, 2),
            "offered": Choice(False, True),
        }

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the coherence with its sign, and the answer where there is no sure target."""
        conditions = {**conditions, "target_choice": conditions["direction"]}
        return {**conditions, "signed_coherence": sided(conditions)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the two streams in noise and the sure target."""
        inputs, stimulus = self.fixating(timeline), timeline.during("stimulus")
        show_streams(inputs, 1, conditions["signed_coherence"], stimulus)
        self.add_noise(inputs, stimulus, slice(1, 3), rng)
        timeline.fill(inputs[..., self.SURE], conditions["offered"], "delay_2", "response")
        return inputs

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials of the factors' values, arrays (trial,); the noise that fell decides what is right."""
        trials = super().make(n_trials, conditions, rng)
        evidence, confidence = self._confidence(trials)
        taken = trials.conditions["offered"] & (confidence < self.sure_reward)
        # Nobody has seen these trials yet, so that they may be completed where they are.
        trials.targets[taken] = np.where(trials.targets[taken] == FIXATION, FIXATION, self.SURE)
        trials.conditions["target_choice"] = np.where(taken, self.SURE, trials.conditions["direction"])
        trials.conditions["evidence"] = evidence
        trials.conditions["confidence"] = confidence
        return trials

    def _confidence(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed evidence and the chance that its side is right, shapes (trial,)."""
        evidence = (trials.inputs[..., 2].astype(float) - trials.inputs[..., 1]).sum(axis=1)
        start, stop = trials.epochs["stimulus"]
        log_odds = self._log_odds(np.abs(evidence), stop - start)
        return evidence, 1 / (1 + np.exp(-log_odds))

    def _log_odds(self, evidence: np.ndarray, n_steps: np.ndarray | int) -> np.ndarray:
        """Return the log odds that the side of summed evidence of this size is the right one.

        The sum is normal, of mean n c / 100 and variance 2 n s^2 in n steps with noise s; the coherences c,
        equally likely, are summed out.
        """
        variance = self.noise_std**2 / self.dt
        if variance == 0:
            return np.where(evidence > 1e-6, np.inf, 0.0)
        strengths = np.asarray(self.coherences, float)[:, None] / 100
        pull = evidence * strengths / (2 * variance)
        loss = n_steps * strengths**2 / (4 * variance)
        right, wrong = np.logaddexp.reduce([pull - loss, -pull - loss], axis=1)
        return right - wrong

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices that bring the ideal observer most reward, shape (trial,)."""
        evidence, confidence = self._confidence(trials)
        taken = (trials.inputs[..., self.SURE] > 0.5).any(axis=1) & (confidence < self.sure_reward)
        return self.unless_held(np.where(taken, self.SURE, np.where(evidence > 0, 2, 1)), trials)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        Phi(m / d) where no sure target is offered, m and d being mean and standard deviation of the summed
        evidence; with it, only evidence beyond the bound b for the wrong side misleads: Phi((m + b) / d). b
        is where the chance to be right is the sure reward.
        """
        coherence = np.asarray(conditions["coherence"], float)
        n_steps = np.broadcast_to(steps_of(self, "stimulus", conditions), coherence.shape)
        mean = n_steps * coherence / 100
        std = self.noise_std * np.sqrt(2 * n_steps / self.dt)
        share = share_right(mean, std)
        with np.errstate(divide="ignore", invalid="ignore"):
            offered = (
                normal_cdf((mean + self._bound(n_steps)) / std) if self.noise_std else np.ones(mean.shape)
            )
        share = np.where(conditions["offered"], offered, share)
        return np.where(conditions.get("catch", False), 1.0, share)

    def _bound(self, n_steps: np.ndarray) -> np.ndarray:
        """Return the summed evidence with which the chance to be right is the sure reward, by bisection."""
        if not any(self.coherences):
            return np.full(n_steps.shape, np.inf)
        needed = math.log(self.sure_reward / (1 - self.sure_reward))
        low, high = np.zeros(n_steps.shape), np.ones(n_steps.shape)
        while (short := self._log_odds(high, n_steps) < needed).any():
            high = np.where(short, 2 * high, high)
        for _ in range(60):
            middle = (low + high) / 2
            short = self._log_odds(middle, n_steps) < needed
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return high

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay, without and with the sure target."""
        return {"delay": np.array([1.0, 0.0, 0.0, 0.0]), "sure target": np.array([1.0, 0.0, 0.0, 1.0])}


@dataclass(frozen=True)
class HierarchicalReasoning(SerialTask):
    """Judge intervals and answer by a rule that switches unannounced (hierarchical reasoning).

    Story
        One trial is a sequence of attempts. In each, two flashes are separated by an interval, and the answer
        is to look toward the flashes or away from them. By the rule ``short_toward`` the answer to a short
        interval is toward and to a long one away; by ``long_toward`` the reverse. No cue tells the rule.
        After each answer the right one is shown, from which the rule can be told if the interval was judged
        well; after an error either the judgement was wrong or the rule has switched, and which of the two it
        was must be reasoned from how clear the interval seemed.

    Inputs
        =================== ==================================================================
        channel             meaning
        =================== ==================================================================
        ``fixation``        1 but for the responses
        ``flash``           1 in the two flashes of an attempt, otherwise 0
        ``feedback_toward`` 1 in the feedback of an attempt in which toward was right, otherwise 0
        ``feedback_away``   1 in the feedback of an attempt in which away was right, otherwise 0
        =================== ==================================================================

    Targets
        Classes ``fixate``, and in each response ``toward`` or ``away``. Nothing is asked in the first
        response, since nothing has told the rule. In the paper an attempt is a trial of its own, the flashes
        are on the left or on the right, and feedback says whether the animal's own answer was rewarded. Here
        answers are told relative to the flashes, and the right one is shown: together with the answer given
        it says the same, and trials can be drawn before anybody answers.

    Epochs
        For each attempt k: ``fixation_k`` 100, ``stimulus_(2k-1)`` 100 (the first flash), ``delay_k`` the
        interval, ``stimulus_(2k)`` 100 (the second flash), ``response_k`` 100, ``feedback_k`` 100 ms. The
        interval shown is the one that is judged times 1 plus ``interval_noise`` times a standard normal
        number, in whole steps, at least one.

    Scoring
        Share of the responses, from the second on, in which the mean output is largest for the
        right answer.

    Ideal observer
        Weighs, after each feedback, every course that the rule may have taken, knowing the intervals, their
        noise and when rules may switch (`ideal_answers`). With the default parameters it is right in
        .797 of the responses.

    Constant inputs
        ``fixation``: fixation on, no flash.

    Recipe
        `RateRNN` of 128 relu units without leak, recurrent weights the identity at first; 2000 steps of Adam
        at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_attempts : int
        Attempts of a sequence, at least 2.
    intervals : tuple of float
        The intervals to be judged in ms, none of them on the boundary.
    boundary : float
        The interval in ms between short and long.
    interval_noise : float
        Standard deviation of the interval shown, as a share of the one that is judged (Weber fraction).
    switches : tuple of int
        The attempt before which the rule switches, one of them drawn for each sequence; 0 for no switch.
    fixation, stimulus, response, feedback : float or Distribution
        Durations in ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Sarafyazd, M. & Jazayeri, M. (2019). Hierarchical reasoning by neural circuits in the frontal cortex.
    Science 364, eaav8911. doi:10.1126/science.aav8911

    Examples
    --------
    >>> task = HierarchicalReasoning()
    >>> trials = task.draw(500, np.random.default_rng(0))
    >>> sorted(set(trials.conditions["switch"].tolist()))
    [0, 3, 4, 5, 6]
    >>> task.choices_in_turn(trials.ideal_outputs(), trials).shape
    (500, 6)
    """

    n_attempts: int = 6
    intervals: tuple[float, ...] = (500.0, 600.0, 700.0, 900.0, 1000.0, 1100.0)
    boundary: float = 800.0
    interval_noise: float = 0.1
    switches: tuple[int, ...] = (0, 3, 4, 5, 6)
    fixation: Duration = 100.0
    stimulus: Duration = 100.0
    response: Duration = 100.0
    feedback: Duration = 100.0
    timing: str = "trial"
    dt: float = 100.0

    n_inputs = 4
    n_outputs = 3
    loss: ClassVar[Loss] = "cross_entropy"
    average_by = ("first_rule", "switch")
    accuracy_by = ("switch",)

    def __post_init__(self) -> None:
        need_count(self.n_attempts, "n_attempts", least=2)
        super().__post_init__()
        need_positive(self.boundary, "boundary", "ms")
        need_at_least_zero(self.interval_noise, "interval_noise")
        intervals = np.asarray(self.intervals)
        fits = intervals.ndim == 1 and intervals.size > 0 and intervals.dtype.kind in "iuf"
        if not (fits and np.isfinite(intervals).all() and (intervals >= self.dt).all()):
            raise InputError(
                f"`intervals` must be durations of at least one step of dt = {self.dt} ms, got "
                f"{self.intervals!r}: give a tuple"
            )
        if (intervals == self.boundary).any():
            raise InputError(
                f"`intervals` must be shorter or longer than the boundary of {self.boundary:g} ms, got "
                f"{self.intervals!r}: leave it out"
            )
        known = isinstance(self.switches, tuple) and len(self.switches) > 0
        if not (known and set(self.switches) <= {0, *range(2, self.n_attempts + 1)}):
            raise InputError(
                f"`switches` must be attempts from 2 to {self.n_attempts}, or 0 for no switch, got "
                f"{self.switches!r}: give a tuple"
            )

    # The intervals are conditions, drawn for each trial.
    _fixed_epochs: ClassVar[None] = None

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial in the order in which they happen."""
        return tuple(
            epoch
            for k in range(1, self.n_attempts + 1)
            for epoch in (
                f"fixation_{k}",
                f"stimulus_{2 * k - 1}",
                f"delay_{k}",
                f"stimulus_{2 * k}",
                f"response_{k}",
                f"feedback_{k}",
            )
        )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "flash", "feedback_toward", "feedback_away")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "toward", "away")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 128, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95 * 0.797,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the rule of the first attempt, and before which attempt it switches."""
        return {"first_rule": Choice(*RULES), "switch": Choice(*self.switches)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return each attempt's rule, interval as judged and as shown, and answer."""
        shape = (n_trials, self.n_attempts)
        short_toward = self._is_short_toward(conditions["first_rule"], conditions["switch"])
        interval = np.asarray(self.intervals, float)[rng.integers(len(self.intervals), size=shape)]
        shown = interval * (1 + self.interval_noise * rng.standard_normal(shape))
        shown = np.maximum(self.whole_steps(shown), 1) * float(self.dt)
        answer = np.where(short_toward == (interval < self.boundary), TOWARD, AWAY)
        rule = np.where(short_toward, *RULES)
        for k in range(self.n_attempts):
            conditions |= {
                f"rule_{k + 1}": rule[:, k],
                f"interval_{k + 1}": interval[:, k],
                f"interval_shown_{k + 1}": shown[:, k],
                f"target_choice_{k + 1}": answer[:, k],
            }
        return conditions

    def _is_short_toward(self, first_rule: np.ndarray, switch: np.ndarray) -> np.ndarray:
        """Return whether each attempt's rule is that of short toward, shape (trial, attempt)."""
        attempt = np.arange(1, self.n_attempts + 1)
        switched = (switch[:, None] > 0) & (attempt >= switch[:, None])
        return (first_rule == RULES[0])[:, None] ^ switched

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch in ms; the delays are the intervals shown."""
        return {
            epoch: conditions[name] if name in conditions else getattr(self, name)
            for epoch, name in self._told_by.items()
        }

    @cached_property
    def _told_by(self) -> dict[str, str]:
        """The field, or else the condition, that holds the duration of each epoch."""
        return {
            epoch: self.duration_field(epoch) or epoch.replace("delay", "interval_shown")
            for epoch in self.epoch_order
        }

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the flashes and the feedback."""
        table = self.table(timeline.n_trials, self.n_inputs)
        table[..., FIXATION] = 1
        table[:, self.places("response"), FIXATION] = 0
        table[:, self.places("stimulus"), 1] = 1
        answer = stacked(conditions, "target_choice", self.n_attempts)
        for choice in (TOWARD, AWAY):
            table[:, self.places("feedback"), 1 + choice] = answer == choice
        return self.over_time(table, timeline)

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step, shape (trial, time)."""
        table = np.full((timeline.n_trials, len(self.epoch_order)), FIXATION)
        table[:, self.places("response")] = stacked(conditions, "target_choice", self.n_attempts)
        return self.over_time(table, timeline)

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: nothing is asked in the first response."""
        mask = timeline.valid.astype(np.float32)
        timeline.fill(mask, 0, "response_1")
        return mask

    def choices_in_turn(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the choice of each attempt, -1 where none is made, shape (trial, attempt)."""
        chosen = []
        for k in range(1, self.n_attempts + 1):
            during = trials.in_epoch(f"response_{k}")[..., None]
            chosen.append(((outputs * during).sum(axis=1) / during.sum(axis=1)).argmax(axis=1))
        turns = np.stack(chosen, axis=1)
        return np.where(turns == FIXATION, NO_CHOICE, turns)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of right choices from the second attempt on, shape (trial,)."""
        right = self.choices_in_turn(outputs, trials) == stacked(
            trials.conditions, "target_choice", self.n_attempts
        )
        return right[:, 1:].mean(axis=1)

    def ideal_answers(self, trials: Trials) -> np.ndarray:
        """Return the ideal observer's choice in each attempt, shape (trial, attempt).

        It reads the intervals and the feedback, and holds a weight for each course of the rule: the first
        rule and the attempt before which it switches. A feedback multiplies each weight by the chance of the
        interval's being short or long, whichever fits the feedback by that course's rule.
        """
        first_rule, switch = (
            np.asarray(own).ravel() for own in np.meshgrid(RULES, self.switches, indexing="ij")
        )
        short_toward = self._is_short_toward(first_rule, switch)
        weight = np.ones((trials.n_trials, len(short_toward)))
        choices = []
        for k in range(self.n_attempts):
            short = self._chance_of_short(trials.in_epoch(f"delay_{k + 1}").sum(axis=1))[:, None]
            toward = np.where(short_toward[:, k], short, 1 - short)
            likely = 2 * (weight * toward).sum(axis=1) > weight.sum(axis=1)
            choices.append(np.where(likely, TOWARD, AWAY))
            told = (trials.inputs[..., 1 + TOWARD] * trials.in_epoch(f"feedback_{k + 1}")).any(axis=1)
            weight = weight * np.where(told[:, None], toward, 1 - toward)
            weight /= weight.sum(axis=1, keepdims=True)
        return np.stack(choices, axis=1)

    def _chance_of_short(self, n_steps: np.ndarray) -> np.ndarray:
        """Return the chance that an interval seen to last so many steps is to be judged short."""
        intervals = np.asarray(self.intervals, float)
        if self.interval_noise == 0:
            likelihood = (self.whole_steps(intervals) == n_steps[:, None]).astype(float)
        else:
            # Everything below two steps is shown as one.
            edges = np.stack([np.where(n_steps == 1, -np.inf, n_steps), n_steps + 1])[..., None] * self.dt
            low, high = normal_cdf((edges / intervals - 1) / self.interval_noise)
            likelihood = high - low + 1e-300
        return likelihood[:, intervals < self.boundary].sum(axis=1) / likelihood.sum(axis=1)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input between flashes."""
        return {"fixation": np.array([1.0, 0.0, 0.0, 0.0])}
