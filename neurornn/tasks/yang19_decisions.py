"""Decisions on rings: point at the stronger of two stimuli, shown together or one after the other.

Ten of the 20 tasks of Yang et al. 2019; see `yang19`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform, as_distribution
from neurornn.tasks.rings import TURN, Direction, Separation, angular_distance, bump
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Trials
from neurornn.tasks.yang19_go import NOISE, Yang19Task
from neurornn.vocabulary import InputError

STIMULI = (1, 2)


class DecisionTask(Yang19Task):
    """Point at the stronger of two stimuli.

    Both are shown in the epoch ``stimulus``, or, where there is none, in ``stimulus_1`` and ``stimulus_2``.
    """

    stimulus: Duration
    """Duration of a stimulus in ms."""
    coherence: float | Distribution
    """Half the difference of the two strengths."""
    mean_strength: float | Distribution
    """Mean of the two strengths."""
    modality_difference: float | Distribution
    """How far a stimulus's strengths in two modalities that count lie apart, as a share of their mean."""
    modalities: ClassVar[tuple[int, ...]]
    """The modalities that see the stimuli."""
    attended: ClassVar[tuple[int, ...]]
    """Those that count, added up."""
    strength_fields: ClassVar[tuple[str, ...]] = ("coherence", "mean_strength")
    """Parameters that say from where strengths are drawn."""
    nearest: ClassVar[float] = TURN / 4
    """Smallest angle between the stimuli, in radians."""
    accuracy_by: ClassVar[tuple[str, ...]] = ("coherence",)
    psychometric_stimulus: ClassVar[str | None] = "signed_coherence"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.strength_fields:
            value = getattr(self, name)
            own = as_distribution(value, name)
            if isinstance(value, str):
                # Text, as configuration files give it, becomes the value, so that the two are equal.
                object.__setattr__(self, name, own)
            levels = own.levels()
            fits = not any(isinstance(level, str | bool | np.bool_) for level in levels)
            if not fits or min(*levels, *own.bounds()) < 0 or (name == "coherence" and min(levels) == 0):
                least = (
                    "above 0, as one stimulus must be the stronger" if name == "coherence" else "at least 0"
                )
                raise InputError(
                    f"`{name}` must be {least}, got {value!r}: give numbers, or Uniform(0.2, 0.8)"
                )

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion; differences of some percent take longer."""
        own = super().recipe
        if self.delayed:
            return own
        network = {**own.network, "recurrent_initialisation": "orthogonal", "input_gain": 3.0}
        return Recipe(network, {**own.training, "n_steps": 2500, "schedule": "cosine"}, criterion=0.9)

    @property
    def delayed(self) -> bool:
        """Whether the stimuli are shown one after the other."""
        return self.epoch_of(1) != self.epoch_of(2)

    @property
    def distracting(self) -> tuple[int, ...]:
        """The modalities that see the stimuli and do not count."""
        return tuple(own for own in self.modalities if own not in self.attended)

    def factors(self) -> dict[str, Distribution]:
        """Return where the stimuli are, which is the stronger and by how much, for the distractor too."""
        coherence, either = as_distribution(self.coherence, "coherence"), Choice(*STIMULI)
        factors = {
            "stimulus_1_direction": Direction(),
            "separation": Separation(self.nearest),
            "coherence": coherence,
            "stronger": either,
        }
        if self.distracting:
            factors |= {"distracting_coherence": coherence, "distracting_stronger": either}
        return factors

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return directions, strengths and the right answer beside the factors."""
        first = conditions["stimulus_1_direction"]
        second = (first + conditions["separation"]) % TURN
        conditions = {**conditions, "stimulus_2_direction": second}
        for modality in self.modalities:
            # Modalities that count together show the same strengths, of which each may have more or less.
            if modality not in self.attended or modality == self.attended[0]:
                prefix = "" if modality in self.attended else "distracting_"
                pair = self._pair(n_trials, conditions, prefix, rng)
            conditions |= {_strength(stimulus, modality): pair[stimulus - 1] for stimulus in STIMULI}
        if len(self.attended) == 2:
            self._tell_apart(n_trials, conditions, rng)
        target = np.where(conditions["stronger"] == 1, first, second)
        return {**conditions, **self.answer(target)}

    def _pair(
        self, n_trials: int, conditions: dict[str, np.ndarray], prefix: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the strengths of both stimuli, and enter their difference with its sign."""
        mean = as_distribution(self.mean_strength, "mean_strength").draw(n_trials, rng)
        sign = np.where(conditions[f"{prefix}stronger"] == 2, 1, -1)
        signed = sign * conditions[f"{prefix}coherence"]
        conditions[f"{prefix}signed_coherence"] = signed
        return mean - signed, mean + signed

    def _tell_apart(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        """Make each stimulus stronger in one modality and weaker in the other, in place; its sum stays."""
        difference = as_distribution(self.modality_difference, "modality_difference")
        for stimulus in STIMULI:
            share = difference.draw(n_trials, rng) * rng.choice((-1, 1), n_trials) / 2
            for modality, sign in zip(self.attended, (1, -1), strict=True):
                conditions[_strength(stimulus, modality)] = conditions[_strength(stimulus, modality)] * (
                    1 + sign * share
                )

    def epoch_of(self, stimulus: int) -> str:
        """Return the epoch in which a stimulus is shown."""
        return "stimulus" if "stimulus" in self.epoch_order else f"stimulus_{stimulus}"

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and both stimuli in noise."""
        inputs = self.fixating(timeline, rng)
        bumps = [bump(conditions[f"stimulus_{stimulus}_direction"], self.n_ring) for stimulus in STIMULI]
        for modality in self.modalities:
            heights = [
                (conditions[_strength(stimulus, modality)][:, None] * own).astype(np.float32)
                for stimulus, own in zip(STIMULI, bumps, strict=True)
            ]
            ring = inputs[..., self.ring(modality - 1)]
            if self.delayed:
                for stimulus, height in zip(STIMULI, heights, strict=True):
                    timeline.add(ring, height, self.epoch_of(stimulus))
            else:
                timeline.add(ring, sum(heights), self.epoch_of(1))
        return inputs

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return which stimulus (1 or 2) the response is nearer to, -1 for fixation, shape (trial,)."""
        response = self.response_direction(outputs, trials)
        first, second = (
            angular_distance(response, trials.conditions[f"stimulus_{stimulus}_direction"])
            for stimulus in STIMULI
        )
        return np.where(np.isnan(response), NO_CHOICE, np.where(first <= second, 1, 2))

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        With g a bump's squared length and o the product of the two bumps, the estimated difference of two
        strengths seen together for n steps of noise s has variance 2 s^2 / (n (g - o)); of two seen apart,
        s^2 / g (1 / n_1 + 1 / n_2). It is 2 c, and modalities that count together multiply both.
        """
        bumps = [bump(conditions[f"stimulus_{stimulus}_direction"], self.n_ring) for stimulus in STIMULI]
        steps = [self._steps_shown(conditions, self.epoch_of(stimulus)) for stimulus in STIMULI]
        length = (bumps[0] ** 2).sum(axis=-1)
        if self.delayed:
            variance = (1 / steps[0] + 1 / steps[1]) / length
        else:
            variance = 2 / (steps[0] * (length - (bumps[0] * bumps[1]).sum(axis=-1)))
        variance = variance * self.noise_std**2 / self.dt
        with np.errstate(divide="ignore"):
            z = 2 * np.asarray(conditions["coherence"]) * np.sqrt(len(self.attended) / variance)
        return normal_cdf(z)

    def _steps_shown(self, conditions: Mapping[str, np.ndarray], epoch: str) -> np.ndarray:
        fixed = as_distribution(self.stimulus, "stimulus").bounds()[0]
        return self.whole_steps(np.asarray(conditions.get(f"{epoch}_duration", fixed)))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the fixation cue alone, and with two stimuli of equal strength, where they come together."""
        inputs = super().constant_inputs()
        if self.delayed:
            return inputs
        equal = inputs["fixation cue"].copy()
        for modality in self.modalities:
            ring = slice(1 + (modality - 1) * self.n_ring, 1 + modality * self.n_ring)
            equal[ring] = bump(np.array([0.0, TURN / 2]), self.n_ring).sum(axis=0)
        return {**inputs, "equal stimuli": equal}


def _strength(stimulus: int, modality: int) -> str:
    """Return the condition with a stimulus's strength in a modality."""
    return f"stimulus_{stimulus}_modality_{modality}_strength"


@dataclass(frozen=True)
class Yang19DM1(DecisionTask):
    """Point at the stronger of two stimuli in modality 1.

    Story
        Two spots appear in different directions, at the same time, seen by modality 1. Their strengths differ
        by little, so that noise must be averaged over the whole stimulus. When the fixation cue goes off,
        gaze goes to the stronger one.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, during the stimulus, times their strengths
        ``ring_2_k`` noise only
        ============ =================================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction,
        2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on
        every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation`` 100 to 400, ``stimulus`` 400, 800 or 1600, ``response`` 500 ms. Durations are drawn once
        a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is right in
        .9996 of the trials of the smallest coherence, and practically always above.

    Constant inputs
        ``fixation cue``: the cue alone. ``equal stimuli``: the cue, and both stimuli at strength 1, in
        directions 0 and pi.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as an orthogonal
        matrix and input weights three times as large as usual; 2500 steps of 64 trials, the
        learning rate falling from .003 along half a cosine. The criterion is .9.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .01, .02, .04 or .08; the paper's easy version has
        ten times as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DM1()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Uniform(100.0, 400.0)
    stimulus: Duration = Choice(400.0, 800.0, 1600.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.01, 0.02, 0.04, 0.08)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus", "response")
    modalities = (1,)
    attended = (1,)
    paper_name = "DM 1"


@dataclass(frozen=True)
class Yang19DM2(Yang19DM1):
    """Point at the stronger of two stimuli in modality 2.

    Story
        Two spots appear in different directions, at the same time, seen by modality 2. Their strengths differ
        by little, so that noise must be averaged over the whole stimulus. When the fixation cue goes off,
        gaze goes to the stronger one.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` noise only
        ``ring_2_k`` bumps at both stimuli, during the stimulus, times their strengths
        ============ =================================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction,
        2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on
        every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation`` 100 to 400, ``stimulus`` 400, 800 or 1600, ``response`` 500 ms. Durations are drawn once
        a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is right in
        .9996 of the trials of the smallest coherence, and practically always above.

    Constant inputs
        ``fixation cue``: the cue alone. ``equal stimuli``: the cue, and both stimuli at strength 1, in
        directions 0 and pi.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as an orthogonal
        matrix and input weights three times as large as usual; 2500 steps of 64 trials, the
        learning rate falling from .003 along half a cosine. The criterion is .9.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .01, .02, .04 or .08; the paper's easy version has
        ten times as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DM2()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    modalities = (2,)
    attended = (2,)
    paper_name = "DM 2"


@dataclass(frozen=True)
class Yang19ContextDM1(DecisionTask):
    """Point at the stronger of two stimuli in modality 1, whatever modality 2 shows.

    Story
        Two spots appear in different directions, at the same time. Both modalities see them, with strengths
        of their own; modality 1 counts and modality 2 distracts. Their strengths differ by little, so that
        noise must be averaged over the whole stimulus. When the fixation cue goes off, gaze goes to the
        stronger one.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, during the stimulus, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ =================================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``, drawn for each modality by itself. A bump is .8 exp(-d^2 / 2 (pi /
        8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2; those of modality
        2, the distractor, are called ``distracting_coherence`` and so on.

    Epochs
        ``fixation`` 100 to 400, ``stimulus`` 400, 800 or 1600, ``response`` 500 ms. Durations are drawn once
        a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps of modality 1;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is right in
        .9996 of the trials of the smallest coherence, and practically always above.

    Constant inputs
        ``fixation cue``: the cue alone. ``equal stimuli``: the cue, and both stimuli at strength 1, in
        directions 0 and pi.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as an orthogonal
        matrix and input weights three times as large as usual; 2500 steps of 64 trials, the
        learning rate falling from .003 along half a cosine. The criterion is .9.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .01, .02, .04 or .08; the paper's easy version has
        ten times as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19ContextDM1()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Uniform(100.0, 400.0)
    stimulus: Duration = Choice(400.0, 800.0, 1600.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.01, 0.02, 0.04, 0.08)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus", "response")
    modalities = (1, 2)
    attended = (1,)
    paper_name = "Ctx DM 1"


@dataclass(frozen=True)
class Yang19ContextDM2(Yang19ContextDM1):
    """Point at the stronger of two stimuli in modality 2, whatever modality 1 shows.

    Story
        Two spots appear in different directions, at the same time. Both modalities see them, with strengths
        of their own; modality 2 counts and modality 1 distracts. Their strengths differ by little, so that
        noise must be averaged over the whole stimulus. When the fixation cue goes off, gaze goes to the
        stronger one.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, during the stimulus, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ =================================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``, drawn for each modality by itself. A bump is .8 exp(-d^2 / 2 (pi /
        8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2; those of modality
        1, the distractor, are called ``distracting_coherence`` and so on.

    Epochs
        ``fixation`` 100 to 400, ``stimulus`` 400, 800 or 1600, ``response`` 500 ms. Durations are drawn once
        a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps of modality 2;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is right in
        .9996 of the trials of the smallest coherence, and practically always above.

    Constant inputs
        ``fixation cue``: the cue alone. ``equal stimuli``: the cue, and both stimuli at strength 1, in
        directions 0 and pi.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as an orthogonal
        matrix and input weights three times as large as usual; 2500 steps of 64 trials, the
        learning rate falling from .003 along half a cosine. The criterion is .9.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .01, .02, .04 or .08; the paper's easy version has
        ten times as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19ContextDM2()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    attended = (2,)
    paper_name = "Ctx DM 2"


@dataclass(frozen=True)
class Yang19MultiDM(DecisionTask):
    """Point at the stronger of two stimuli, both modalities together.

    Story
        Two spots appear in different directions, at the same time. Both modalities see them; a spot that is
        strong in one may be weak in the other, and what counts is the sum. Their strengths differ by little,
        so that noise must be averaged over the whole stimulus. When the fixation cue goes off, gaze goes to
        the stronger one.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, during the stimulus, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ =================================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``; a stimulus's strength s becomes s (1 + q) in one modality and s (1
        - q) in the other, 2 q being ``modality_difference``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the
        unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard deviation
        ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation`` 100 to 400, ``stimulus`` 400, 800 or 1600, ``response`` 500 ms. Durations are drawn once
        a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps, adding up the
        modalities; `ideal_accuracy` is its share of right choices in closed form. With the default noise it
        is practically always right.

    Constant inputs
        ``fixation cue``: the cue alone. ``equal stimuli``: the cue, and both stimuli at strength 1, in
        directions 0 and pi.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as an orthogonal
        matrix and input weights three times as large as usual; 2500 steps of 64 trials, the
        learning rate falling from .003 along half a cosine. The criterion is .9.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .01, .02, .04 or .08; the paper's easy version has
        ten times as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    modality_difference : float or Distribution
        Difference between a stimulus's strengths in the two modalities, as a share of its mean strength; by
        default from .2 to .8, either being the stronger.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19MultiDM()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Uniform(100.0, 400.0)
    stimulus: Duration = Choice(400.0, 800.0, 1600.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.01, 0.02, 0.04, 0.08)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    modality_difference: float | Distribution = Uniform(0.2, 0.8)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus", "response")
    modalities = (1, 2)
    attended = (1, 2)
    strength_fields = ("coherence", "mean_strength", "modality_difference")
    paper_name = "MultSen DM"
