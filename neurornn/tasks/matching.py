"""Match to sample: whether what is shown now is, or goes with, what was shown before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import FIXATION, ChoiceTask
from neurornn.tasks.distributions import Choice, Distribution, Duration, as_distribution
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.noise import normals
from neurornn.tasks.rings import TURN, bump
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Loss, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_count

MATCH, NON_MATCH = 1, 2
"""The output classes of the two answers."""
LEAST_VARIANCE = 1e-9
"""Noise that an observer assumes where there is none: the nearest stimulus is then by far the likeliest."""


def spread_directions(n_directions: int) -> np.ndarray:
    """Return evenly spaced directions in radians, from 0 on."""
    return TURN * np.arange(n_directions) / n_directions


def places(directions: np.ndarray, n_directions: int) -> np.ndarray:
    """Return which of the evenly spaced directions these are, from 0 on."""
    return np.rint(np.asarray(directions) * n_directions / TURN).astype(int) % n_directions


def draw_among(allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one of the allowed places of each trial, all equally likely.

    Examples
    --------
    >>> allowed = np.array([[False, True, False], [False, False, True]])
    >>> draw_among(allowed, np.random.default_rng(0)).tolist()
    [1, 2]
    """
    return np.where(allowed, rng.random(allowed.shape), -1).argmax(axis=1)


Block = tuple[slice | np.ndarray, slice]
"""Trials, and the steps that an epoch lasts in all of them."""


def blocks(timeline: Timeline, epoch: str, among: np.ndarray | None = None) -> list[Block]:
    """Return an epoch as blocks of trials and steps, one for all trials in which it begins and ends alike.

    Trials in which it lasts no step are in none of them, nor those that are not ``among`` (bool, (trial,)).

    Examples
    --------
    >>> timeline = Timeline.of_lengths({"delay": np.array([2, 3, 2]), "stimulus": 4}, n_trials=3)
    >>> [(trials.tolist(), steps.start, steps.stop) for trials, steps in blocks(timeline, "stimulus")]
    [([0, 2], 2, 6), ([1], 3, 7)]
    """
    if timeline.shared:
        return [(slice(None) if among is None else np.flatnonzero(among), slice(*timeline.epochs[epoch]))]
    alike: dict[tuple[int, int], list[int]] = {}
    edges = list(zip(timeline.start[epoch].tolist(), timeline.stop[epoch].tolist(), strict=True))
    for trial in range(timeline.n_trials) if among is None else np.flatnonzero(among).tolist():
        alike.setdefault(edges[trial], []).append(trial)
    return [(np.array(trials), slice(*own)) for own, trials in alike.items() if own[0] < own[1]]


def show_in_noise(
    inputs: np.ndarray,
    channels: slice,
    stimuli: Sequence[tuple[np.ndarray, Sequence[Block]]],
    std: float,
    rng: np.random.Generator,
) -> None:
    """Set channels to the means of stimuli plus noise while these are on, in place.

    Parameters
    ----------
    inputs : ndarray, shape (trial, time, input_channel)
    channels : slice
    stimuli : sequence of (means, blocks)
        The means of each stimulus, shape (trial, channel), and when it is on, as `blocks` returns it.
    std : float
        Standard deviation of the noise of one step, each channel's its own.
    rng : numpy.random.Generator
    """
    parts = [(means[trials], trials, steps) for means, own in stimuli for trials, steps in own]
    if not parts:
        return
    n_steps = [steps.stop - steps.start for _, _, steps in parts]
    # All stimuli as the steps of one array: NumPy takes its time over rows as short as channels are few.
    means = np.concatenate([own for own, _, _ in parts]).astype(np.float32)
    shown = np.repeat(means, np.repeat(n_steps, [len(own) for own, _, _ in parts]), axis=0)
    if std and shown.size:
        shown += normals(shown.shape, rng, std)
    first = 0
    for (own, trials, steps), length in zip(parts, n_steps, strict=True):
        last = first + len(own) * length
        inputs[trials, steps, channels] = shown[first:last].reshape(len(own), length, shown.shape[1])
        first = last


def likelihoods(
    inputs: np.ndarray, during: np.ndarray, templates: np.ndarray, noise_variance: float
) -> np.ndarray:
    """Return how likely each of several stimuli made the inputs of an epoch, but for a factor of each trial.

    Parameters
    ----------
    inputs : ndarray, shape (trial, time, channel)
        Of the stimulus's channels.
    during : ndarray of bool, shape (trial, time)
        When it was shown.
    templates : ndarray, shape (stimulus, channel)
        What each stimulus looks like without noise.
    noise_variance : float
        Of one step in one channel.

    Returns
    -------
    ndarray, shape (trial, stimulus)
        1 for the likeliest.
    """
    n_steps = during.sum(axis=1)[:, None]
    mean = np.einsum("itk,it->ik", inputs, during, dtype=float) / n_steps
    distance = ((mean[:, None, :] - templates) ** 2).sum(axis=2)
    log = -distance * n_steps / (2 * max(noise_variance, LEAST_VARIANCE))
    return np.exp(log - log.max(axis=1, keepdims=True))


def likelier_a_match(sample: np.ndarray, test: np.ndarray, matching: np.ndarray) -> np.ndarray:
    """Return whether a match is the likelier, where both are drawn equally often.

    Parameters
    ----------
    sample, test : ndarray, shape (trial, stimulus)
        Likelihoods of what each of them was.
    matching : ndarray of bool, shape (stimulus, stimulus)
        Which test (column) matches which sample (row); all tests that do are equally likely.

    Returns
    -------
    ndarray of bool, shape (trial,)
    """
    match, non_match = (table / table.sum(axis=1, keepdims=True) for table in (matching, ~matching))
    return ((sample @ match) * test).sum(axis=1) > ((sample @ non_match) * test).sum(axis=1)


class MatchTask(ChoiceTask):
    """A task with one sample and one test on a ring, answered by ``match`` or ``non_match``.

    A subclass has fields ``n_directions``, ``n_ring`` and those of the epochs, and says which directions
    match which (`matching`); what is drawn, shown, asked and ideal follows.
    """

    n_directions: int
    n_ring: int

    n_outputs = 3
    epoch_order = ("fixation", "stimulus_1", "delay", "stimulus_2", "response")
    average_by = ("sample_direction",)
    accuracy_by = ("match",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_directions, "n_directions", least=2)
        need_count(self.n_ring, "n_ring", least=2)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and the ring."""
        return 1 + self.n_ring

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *(f"ring_{k}" for k in range(self.n_ring)))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "match", "non_match")

    @cached_property
    def _directions(self) -> np.ndarray:
        return spread_directions(self.n_directions)

    @cached_property
    def matching(self) -> np.ndarray:
        """Which test direction (column) matches which sample direction (row)."""
        raise NotImplementedError(f"{type(self).__name__} must define matching -> (direction, direction)")

    def factors(self) -> dict[str, Distribution]:
        """Return the direction of the sample, and whether the test matches."""
        return {"sample_direction": Choice(*self._directions.tolist()), "match": Choice(True, False)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return a test direction drawn from those that match, or from the others, and the right answer."""
        sample, match = places(conditions["sample_direction"], self.n_directions), conditions["match"]
        test = draw_among(self.matching[sample] == match[:, None], rng)
        return {
            **conditions,
            "test_direction": self._directions[test],
            "target_choice": np.where(match, MATCH, NON_MATCH),
        }

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, and the sample and the test in noise."""
        inputs = self.fixating(timeline)
        directions = np.array([conditions["sample_direction"], conditions["test_direction"]])
        sample, test = bump(directions, self.n_ring)
        stimuli = [(sample, blocks(timeline, "stimulus_1")), (test, blocks(timeline, "stimulus_2"))]
        show_in_noise(inputs, slice(1, None), stimuli, self.step_noise, rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the likelier answer given both stimuli, shape (trial,)."""
        templates = bump(self._directions, self.n_ring)
        sample, test = (
            likelihoods(
                trials.inputs[..., 1:], trials.in_epoch(epoch), templates, self.noise_std**2 / self.dt
            )
            for epoch in ("stimulus_1", "stimulus_2")
        )
        match = likelier_a_match(sample, test, self.matching)
        return self.unless_held(np.where(match, MATCH, NON_MATCH), trials)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay: the fixation cue alone."""
        return {"delay": np.eye(self.n_inputs)[FIXATION]}


@dataclass(frozen=True)
class DelayedMatchToSample(MatchTask):
    """Say whether the second of two stimuli is the same as the first.

    Story
        A direction of motion is shown, remembered through a delay, and compared with a second one: were they
        the same?

    Inputs
        ============ ====================================================================
        channel      meaning
        ============ ====================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_k``   a Gaussian bump of peak .8 around the direction while a stimulus is on
        ============ ====================================================================

        The ring's units stand for evenly spaced directions from 0 on; a bump has a standard deviation of
        pi / 8. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the ring while a stimulus is
        on.

    Targets
        Classes ``fixate`` until the response, then ``match`` or ``non_match``, in half of the trials each. A
        test that does not match has any of the other directions. Conditions ``sample_direction``,
        ``test_direction`` (radians) and ``match``.

    Epochs
        ``fixation`` 300, ``stimulus_1`` (sample) 500, ``delay`` 1000, ``stimulus_2`` (test) 500, ``response``
        500 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Knows the directions and the noise, averages each stimulus and takes the likelier answer. With the
        default parameters it is practically never wrong: what limits a network is its memory.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_directions : int
        Evenly spaced directions that a stimulus can have.
    n_ring : int
        Input channels that stand for direction; 2 are its cosine and sine.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of the test.
    noise_std : float
        Input noise in units of sqrt(ms).
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Miller, E. K., Erickson, C. A. & Desimone, R. (1996). Neural mechanisms of visual working memory in
    prefrontal cortex of the macaque. Journal of Neuroscience 16, 5154-5167.
    doi:10.1523/JNEUROSCI.16-16-05154.1996

    Masse, N. Y., Yang, G. R., Song, H. F., Wang, X.-J. & Freedman, D. J. (2019). Circuit mechanisms for the
    maintenance and manipulation of information in working memory. Nature Neuroscience 22, 1159-1167.
    doi:10.1038/s41593-019-0414-3 (eight directions of motion)

    Examples
    --------
    >>> task = DelayedMatchToSample()
    >>> trials = task.draw(100, np.random.default_rng(0))
    >>> same = trials.conditions["sample_direction"] == trials.conditions["test_direction"]
    >>> bool((same == (trials.conditions["target_choice"] == 1)).all())
    True
    """

    n_directions: int = 8
    n_ring: int = 8
    fixation: Duration = 300.0
    stimulus: Duration = 500.0
    delay: Duration = 1000.0
    response: Duration = 500.0
    noise_std: float = 1.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 50.0

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    @cached_property
    def matching(self) -> np.ndarray:
        """Which test direction (column) matches which sample direction (row): the same one."""
        return np.eye(self.n_directions, dtype=bool)


@dataclass(frozen=True)
class DelayedMatchToCategory(MatchTask):
    """Say whether two stimuli belong to the same category.

    Story
        A boundary through the circle of directions makes two categories. A direction is shown and, after a
        delay, another: are they of the same category? Which direction it was need not be remembered.

    Inputs
        ============ ====================================================================
        channel      meaning
        ============ ====================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_k``   a Gaussian bump of peak .8 around the direction while a stimulus is on
        ============ ====================================================================

        The ring's units stand for evenly spaced directions from 0 on; a bump has a standard deviation of
        pi / 8. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the ring while a stimulus is
        on.

    Targets
        Classes ``fixate`` until the response, then ``match`` or ``non_match``, in half of the trials each;
        the test has any direction of its category, the sample's own included. Category 1 is the half turn
        from the boundary on, category 2 the other. Conditions ``sample_direction``, ``test_direction``
        (radians), ``sample_category``, ``test_category`` and ``match``.

    Epochs
        ``fixation`` 500, ``stimulus_1`` (sample) 650, ``delay`` 1000, ``stimulus_2`` (test) 650, ``response``
        250 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Knows the directions, the boundary and the noise, averages each stimulus and takes the likelier
        answer. With the default parameters it is practically never wrong.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_directions : int
        Evenly spaced directions that a stimulus can have; an even number, half of them in each category.
    boundary : float
        Angle in radians at which category 1 begins; no direction may lie on it.
    n_ring : int
        Input channels that stand for direction; 2 are its cosine and sine.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of the test.
    noise_std : float
        Input noise in units of sqrt(ms).
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Freedman, D. J. & Assad, J. A. (2006). Experience-dependent representation of visual categories in
    parietal cortex. Nature 443, 85-88. doi:10.1038/nature05078

    Examples
    --------
    >>> task = DelayedMatchToCategory()
    >>> conditions = task.draw(100, np.random.default_rng(0)).conditions
    >>> same = conditions["sample_category"] == conditions["test_category"]
    >>> bool((same == conditions["match"]).all())
    True
    """

    n_directions: int = 12
    boundary: float = 3 * np.pi / 4
    n_ring: int = 12
    fixation: Duration = 500.0
    stimulus: Duration = 650.0
    delay: Duration = 1000.0
    response: Duration = 250.0
    noise_std: float = 1.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_directions % 2:
            raise InputError(
                f"`n_directions` must be even, half of them in each category, got {self.n_directions}: "
                f"choose {self.n_directions + 1}"
            )
        boundary = self.boundary
        fits = isinstance(boundary, int | float | np.integer | np.floating) and not isinstance(boundary, bool)
        if not (fits and np.isfinite(boundary)):
            raise InputError(f"`boundary` must be an angle in radians, got {boundary!r}")
        half = TURN / 2
        gap = (spread_directions(self.n_directions) - boundary + half / 2) % half - half / 2
        if np.abs(gap).min() < 1e-6:
            raise InputError(
                f"`boundary` must lie between two directions, which are {TURN / self.n_directions:.4g} "
                f"radians apart from 0 on, got {boundary!r}: add half of that"
            )

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def category(self, directions: np.ndarray) -> np.ndarray:
        """Return the category of directions in radians, 1 or 2."""
        return np.where((np.asarray(directions) - self.boundary) % TURN < TURN / 2, 1, 2)

    @cached_property
    def matching(self) -> np.ndarray:
        """Which test direction (column) matches which sample direction (row): those of its category."""
        category = self.category(spread_directions(self.n_directions))
        return category[:, None] == category

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return a test direction, both categories and the right answer."""
        conditions = super().complete(n_trials, conditions, rng)
        sample, test = self.category(np.array([conditions["sample_direction"], conditions["test_direction"]]))
        return conditions | {"sample_category": sample, "test_category": test}


@dataclass(frozen=True)
class DelayedPairedAssociation(ChoiceTask):
    """Act if two stimuli are a pair, and keep still if they are not.

    Story
        One of two samples (odours) is given and, after a delay, one of two tests. Sample 1 goes with test 1
        and sample 2 with test 2: respond after a pair, not otherwise.

    Inputs
        ============ ==================================================================
        channel      meaning
        ============ ==================================================================
        ``fixation`` 1 until the response, then 0
        ``sample_k`` 1 while sample k is on
        ``test_k``   1 while test k is on
        ============ ==================================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on all channels but the first while a
        stimulus is on.

    Targets
        Classes ``fixate`` until the response, then ``go`` after a pair, and ``fixate`` still where there was
        none. Conditions ``sample``, ``test`` (1 or 2) and ``paired``; ``target_choice`` is 1, or -1 where one
        must keep still.

    Epochs
        ``fixation`` 500, ``stimulus_1`` (sample) 1000, ``delay_1`` 4000, ``stimulus_2`` (test) 1000,
        ``delay_2`` 1000, ``response`` 500 ms. The paper's first delay is 13000.

    Scoring
        1 where the largest output in the response is the right class; to keep still is right in half of the
        trials.

    Ideal observer
        Takes each stimulus by the sign of the summed difference between its two channels. Where p and q are
        its chances to be right about the sample and the test, p q + (1 - p) (1 - q) of its answers are
        right, two mistakes making a right answer; with the default parameters practically all.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of the test.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Zhang, X., Yan, W., Wang, W., Fan, H., Hou, R., Chen, Y., Chen, Z., Ge, C., Duan, S., Compte, A. & Li,
    C. T. (2019). Active information maintenance in working memory by a sensory cortex. eLife 8, e43191.
    doi:10.7554/eLife.43191

    Examples
    --------
    >>> conditions = DelayedPairedAssociation().factorial().conditions
    >>> [conditions[name].tolist() for name in ("sample", "test", "target_choice")]
    [[1, 1, 2, 2], [1, 2, 1, 2], [1, -1, -1, 1]]
    """

    fixation: Duration = 500.0
    stimulus: Duration = 1000.0
    delay_1: Duration = 4000.0
    delay_2: Duration = 1000.0
    response: Duration = 500.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 100.0

    n_inputs = 5
    n_outputs = 2
    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    average_by = ("sample", "test")
    accuracy_by = ("paired",)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "sample_1", "sample_2", "test_1", "test_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "go")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return which sample and which test are shown."""
        return {"sample": Choice(1, 2), "test": Choice(1, 2)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return whether they are a pair, and the right answer."""
        paired = conditions["sample"] == conditions["test"]
        return {**conditions, "paired": paired, "target_choice": np.where(paired, 1, NO_CHOICE)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, and the sample and the test in noise."""
        inputs, trial = self.fixating(timeline), np.arange(timeline.n_trials)
        sample, test = np.zeros((2, timeline.n_trials, 4))
        sample[trial, conditions["sample"] - 1] = 1
        test[trial, 2 + conditions["test"] - 1] = 1
        stimuli = [(sample, blocks(timeline, "stimulus_1")), (test, blocks(timeline, "stimulus_2"))]
        show_in_noise(inputs, slice(1, None), stimuli, self.step_noise, rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums each stimulus without loss, shape (trial,)."""
        signs = []
        for channel, epoch in ((1, "stimulus_1"), (3, "stimulus_2")):
            difference = trials.inputs[..., channel + 1].astype(float) - trials.inputs[..., channel]
            signs.append((difference * trials.in_epoch(epoch)).sum(axis=1) > 0)
        return np.where(signs[0] == signs[1], 1, NO_CHOICE)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        The summed difference has mean n and variance 2 n s^2 over the n steps of a stimulus, s being the
        noise of one step, so that it tells the stimulus with probability Phi(sqrt(n / 2) / s).
        """
        n_trials = len(conditions["sample"])
        known = []
        for epoch in ("stimulus_1", "stimulus_2"):
            shortest = as_distribution(self.stimulus, "stimulus").bounds()[0]
            shown = np.broadcast_to(conditions.get(f"{epoch}_duration", shortest), (n_trials,))
            with np.errstate(divide="ignore"):
                z = np.sqrt(self.whole_steps(shown) / 2 * self.dt) / self.noise_std
            known.append(normal_cdf(z))
        return known[0] * known[1] + (1 - known[0]) * (1 - known[1])

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay: the fixation cue alone."""
        return {"delay": np.eye(self.n_inputs)[FIXATION]}


@dataclass(frozen=True)
class DualDelayedMatchToSample(EpochTask):
    """Hold two stimuli, and compare one test after another with the one that is asked for.

    Story
        Two directions are shown at two locations. A cue says which of them the first test is about; after it,
        a second cue says the same of a second test. As the second cue may name either location, the stimulus
        that was not asked for first must be kept.

    Inputs
        ====================== =====================================================================
        channel                meaning
        ====================== =====================================================================
        ``fixation``           1, and 0 in both responses
        ``location_1_ring_k``  a Gaussian bump around the direction at location 1 in a stimulus
        ``location_2_ring_k``  the same at location 2
        ``cue_1``              1 from a cue that names location 1 through its test
        ``cue_2``              1 from a cue that names location 2 through its test
        ====================== =====================================================================

        Bumps have peak .8 and a standard deviation of pi / 8. Sample and test are shown at both locations;
        the direction of a test at the location that is not asked for is any. Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` on the rings while a stimulus is on.

    Targets
        Classes ``fixate`` and, in each response, ``match`` or ``non_match``. The locations are asked for, and
        tests match, independently of each other. Conditions (directions in radians): ``sample_direction_1``
        and ``_2`` by location; for the first and the second test ``cue_1`` and ``cue_2`` (location asked
        for), ``match_1`` and ``_2``, ``test_direction_1`` and ``_2`` (where asked for), ``other_direction_1``
        and ``_2`` (where not); ``switched`` (whether the cues differ). ``target_choice`` is 1, 2, 3 or 4 for
        match and match, match and non-match, non-match and match, non-match and non-match.

    Epochs
        ``fixation`` 300, ``stimulus_1`` (samples) 500, ``delay_1`` 500, ``cue_1`` 300, ``stimulus_2`` (first
        test) 500, ``response_1`` 300, ``delay_2`` 500, ``cue_2`` 300, ``stimulus_3`` (second test) 500,
        ``response_2`` 300 ms.

    Scoring
        1 where the largest output is the right class in both responses, else 0: chance is one quarter.

    Ideal observer
        Knows the directions and the noise, averages each stimulus and takes the likelier answer, to each test
        by itself. With the default parameters it is practically never wrong.

    Constant inputs
        ``delay``: fixation on, nothing else; ``cue_1`` and ``cue_2``: a cue is on too.

    Recipe
        `RateRNN` of 128 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start, and input weights twice as large as usual; 3000 steps of Adam at 1e-3 with
        64 trials each.

    Parameters
    ----------
    n_directions : int
        Evenly spaced directions that a stimulus can have.
    n_ring : int
        Input channels that stand for direction at each location; 2 are its cosine and sine.
    fixation, stimulus, delay, cue, response : float or Distribution
        Durations in ms; each serves all epochs of its name.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Masse, N. Y., Yang, G. R., Song, H. F., Wang, X.-J. & Freedman, D. J. (2019). Circuit mechanisms for the
    maintenance and manipulation of information in working memory. Nature Neuroscience 22, 1159-1167.
    doi:10.1038/s41593-019-0414-3

    Rose, N. S., LaRocque, J. J., Riggall, A. C., Gosseries, O., Starrett, M. J., Meyering, E. E. & Postle, B.
    R. (2016). Reactivation of latent working memories with transcranial magnetic stimulation. Science 354,
    1136-1139. doi:10.1126/science.aah7011

    Examples
    --------
    >>> task = DualDelayedMatchToSample()
    >>> trials = task.draw(8, np.random.default_rng(0))
    >>> first = trials.targets[trials.in_epoch("response_1")].reshape(8, -1)[:, 0]
    >>> bool((first == np.where(trials.conditions["match_1"], 1, 2)).all())
    True
    """

    n_directions: int = 8
    n_ring: int = 8
    fixation: Duration = 300.0
    stimulus: Duration = 500.0
    delay: Duration = 500.0
    cue: Duration = 300.0
    response: Duration = 300.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    n_outputs = 3
    loss: ClassVar[Loss] = "cross_entropy"
    chance_score = 0.25
    epoch_order = (
        *("fixation", "stimulus_1", "delay_1"),
        *("cue_1", "stimulus_2", "response_1", "delay_2"),
        *("cue_2", "stimulus_3", "response_2"),
    )
    average_by = ("sample_direction_1", "cue_1")
    accuracy_by = ("switched",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_directions, "n_directions", least=2)
        need_count(self.n_ring, "n_ring", least=2)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue, two rings and two cues."""
        return 3 + 2 * self.n_ring

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        rings = (f"location_{place}_ring_{k}" for place in (1, 2) for k in range(self.n_ring))
        return ("fixation", *rings, "cue_1", "cue_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "match", "non_match")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 128,
                "activation": "relu",
                "recurrent_initialisation": "identity",
                "input_gain": 2.0,
            },
            training={"n_steps": 3000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    @cached_property
    def _directions(self) -> np.ndarray:
        return spread_directions(self.n_directions)

    @cached_property
    def _matching(self) -> np.ndarray:
        return np.eye(self.n_directions, dtype=bool)

    def factors(self) -> dict[str, Distribution]:
        """Return both samples, and of both tests which location is asked for and whether it matches."""
        directions = Choice(*self._directions.tolist())
        return {
            "sample_direction_1": directions,
            "sample_direction_2": directions,
            "cue_1": Choice(1, 2),
            "cue_2": Choice(1, 2),
            "match_1": Choice(True, False),
            "match_2": Choice(True, False),
        }

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the directions of the tests at both locations, and the right answers."""
        samples = np.array([conditions["sample_direction_1"], conditions["sample_direction_2"]])
        # Both tests at once, the first one's trials before the second one's.
        cue = np.concatenate([conditions["cue_1"], conditions["cue_2"]])
        match = np.concatenate([conditions["match_1"], conditions["match_2"]])
        asked = places(samples, self.n_directions)[cue - 1, np.tile(np.arange(n_trials), 2)]
        tested = draw_among(self._matching[asked] == match[:, None], rng)
        other = rng.integers(self.n_directions, size=len(tested))
        for name, drawn in (("test", tested), ("other", other)):
            first, second = self._directions[drawn].reshape(2, n_trials)
            conditions |= {f"{name}_direction_1": first, f"{name}_direction_2": second}
        return {
            **conditions,
            "switched": conditions["cue_1"] != conditions["cue_2"],
            "target_choice": self.both(*np.where(match, MATCH, NON_MATCH).reshape(2, n_trials)),
        }

    @staticmethod
    def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return one number for two answers: 1 to 4, or -1 where one of them is none."""
        given = (first != FIXATION) & (second != FIXATION)
        return np.where(given, 2 * (first - 1) + second, NO_CHOICE)

    def ring(self, place: int) -> slice:
        """Return the input channels of a location, 1 or 2."""
        return slice(1 + (place - 1) * self.n_ring, 1 + place * self.n_ring)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the stimuli at both locations in noise, and the cues."""
        inputs = self.blank(timeline)
        inputs[..., FIXATION] = 1
        shown = [[conditions[f"sample_direction_{place}"] for place in (1, 2)]]
        for k in (1, 2):
            timeline.fill(inputs[..., FIXATION], 0, f"response_{k}")
            directions = conditions[f"test_direction_{k}"], conditions[f"other_direction_{k}"]
            here = [conditions[f"cue_{k}"] == place for place in (1, 2)]
            for channel, cued in zip((-2, -1), here, strict=True):
                timeline.fill(inputs[..., channel], cued, f"cue_{k}", f"stimulus_{k + 1}")
            shown.append([np.where(cued, *directions) for cued in here])
        heights = bump(np.array(shown), self.n_ring)
        stimuli = [
            (np.concatenate(own, axis=1), blocks(timeline, f"stimulus_{k}"))
            for k, own in enumerate(heights, start=1)
        ]
        show_in_noise(inputs, slice(1, -2), stimuli, self.step_noise, rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step: the answers in the responses, else 0; shape (trial, time)."""
        targets = np.full(timeline.valid.shape, FIXATION)
        for k in (1, 2):
            answer = np.where(conditions[f"match_{k}"], MATCH, NON_MATCH)
            timeline.fill(targets, answer, f"response_{k}")
        return targets

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return both answers as one number, shape (trial,).

        Outputs are averaged over the steps of each response, and the largest is its answer. 1 to 4 as
        ``target_choice``; -1 where the network fixates in either response.
        """
        answers = []
        for epoch in ("response_1", "response_2"):
            during = trials.in_epoch(epoch)[..., None]
            answers.append(((outputs * during).sum(axis=1) / during.sum(axis=1)).argmax(axis=1))
        return self.both(*answers)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with both answers right, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the likelier answer to each test as one number, shape (trial,)."""
        templates = bump(self._directions, self.n_ring)
        variance = self.noise_std**2 / self.dt
        answers = []
        for k in (1, 2):
            cued = (trials.inputs[..., -2] > 0.5) & trials.in_epoch(f"cue_{k}")
            location = np.where(cued.any(axis=1), 0, 1)
            # Both locations' likelihoods, of which the one that is asked for is taken.
            sample, test = (
                np.where(
                    (location == 0)[:, None],
                    *(
                        likelihoods(
                            trials.inputs[..., self.ring(place)], trials.in_epoch(epoch), templates, variance
                        )
                        for place in (1, 2)
                    ),
                )
                for epoch in ("stimulus_1", f"stimulus_{k + 1}")
            )
            match = likelier_a_match(sample, test, self._matching)
            answers.append(np.where(match, MATCH, NON_MATCH))
        return self.both(*answers)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay, and those with a cue."""
        identity = np.eye(self.n_inputs)
        delay = identity[FIXATION]
        return {"delay": delay, "cue_1": delay + identity[-2], "cue_2": delay + identity[-1]}


def fresh_offsets(n_trials: int, n_tests: int, n_directions: int, rng: np.random.Generator) -> np.ndarray:
    """Return numbers from 1 to n_directions - 1, no two alike in a trial, shape (trial, test)."""
    return 1 + rng.random((n_trials, n_directions - 1)).argsort(axis=1)[:, :n_tests]


class MatchSequence(EpochTask):
    """A task with one sample and several tests, of which one at most matches and is to be answered.

    Inputs are a fixation cue, which is off in each test, and a ring. A subclass has fields ``n_tests``,
    ``n_directions``, ``n_ring``, ``reaction`` and those of the epochs, and draws the tests that do not match
    (`distractors`).
    """

    n_tests: int
    n_directions: int
    n_ring: int
    stimulus: Duration
    reaction: float
    ends_with_match: ClassVar[bool] = False
    """Whether nothing comes after the test that matches."""

    n_outputs = 2
    loss: ClassVar[Loss] = "cross_entropy"
    # Two tests without a gap could not be told from one, so that no delay may be empty.
    empty_epochs = ("fixation",)
    average_by = ("sample_direction",)
    accuracy_by: ClassVar[tuple[str, ...]] = ("match_position",)

    def __post_init__(self) -> None:
        need_count(self.n_tests, "n_tests")
        super().__post_init__()
        need_count(self.n_directions, "n_directions", least=2)
        need_count(self.n_ring, "n_ring", least=2)
        need_at_least_zero(self.reaction, "reaction", "ms")
        shortest = as_distribution(self.stimulus, "stimulus").bounds()[0]
        if self.steps(self.reaction) >= self.steps(shortest):
            raise InputError(
                f"`reaction` must end before a test does, which lasts {shortest} ms or more, "
                f"got {self.reaction!r} ms: shorten it"
            )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and the ring."""
        return 1 + self.n_ring

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *(f"ring_{k}" for k in range(self.n_ring)))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "match")

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial in the order in which they happen: a delay before each test."""
        tests = ((f"delay_{k}", f"stimulus_{k + 1}") for k in range(1, self.n_tests + 1))
        return ("fixation", "stimulus_1", *(epoch for pair in tests for epoch in pair))

    @cached_property
    def test_epochs(self) -> tuple[str, ...]:
        """The epochs of the tests."""
        return tuple(f"stimulus_{k + 1}" for k in range(1, self.n_tests + 1))

    @cached_property
    def _directions(self) -> np.ndarray:
        return spread_directions(self.n_directions)

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of trials in which the match stands at one given place."""
        return 1 / (self.n_tests + 1)

    def distractors(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return how many directions each test is from the sample if it does not match, (trial, test)."""
        raise NotImplementedError(f"{type(self).__name__} must define distractors(n_trials, rng)")

    def factors(self) -> dict[str, Distribution]:
        """Return the direction of the sample, and which test matches, 0 standing for none."""
        return {
            "sample_direction": Choice(*self._directions.tolist()),
            "match_position": Choice(*range(1, self.n_tests + 1), 0),
        }

    def n_shown(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return how many tests each trial has, shape (trial,)."""
        position = conditions["match_position"]
        ends = (position > 0) & self.ends_with_match
        return np.where(ends, position, self.n_tests)

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the directions of the tests, whether one was shown twice in a row, and the right answer."""
        sample = places(conditions["sample_direction"], self.n_directions)
        position = conditions["match_position"]
        number = np.arange(1, self.n_tests + 1)
        offset = np.where(number == position[:, None], 0, self.distractors(n_trials, rng))
        shown = number <= self.n_shown(conditions)[:, None]
        again = (offset[:, 1:] == offset[:, :-1]) & shown[:, 1:]
        directions = self._directions[(sample[:, None] + offset) % self.n_directions]
        directions[~shown] = -1.0
        return {
            **conditions,
            **{f"test_direction_{k}": own for k, own in enumerate(directions.T, start=1)},
            "repeated": again.any(axis=1),
            "target_choice": np.where(position > 0, position, NO_CHOICE),
        }

    @classmethod
    def duration_field(cls, epoch: str) -> str | None:
        """Return the field with the duration of an epoch, or None for one that not every trial has."""
        number = epoch.rpartition("_")[2]
        always = 2 if epoch.startswith("stimulus") else 1
        if cls.ends_with_match and number.isdigit() and int(number) > always:
            return None
        return super().duration_field(epoch)

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch in ms: a number or a distribution, were all of them to happen."""
        return {epoch: getattr(self, epoch.partition("_")[0]) for epoch in self.epoch_order}

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, those after the last test lasting no step."""
        timeline, varied = super()._timeline(n_trials, conditions, rng)
        if not self.ends_with_match:
            return timeline, varied
        n_shown, lengths = self.n_shown(conditions), {}
        for place, (epoch, (start, stop)) in enumerate(timeline.epochs.items()):
            lengths[epoch] = stop - start
            # The delay before test k and the test itself stand at 2 k and 2 k + 1; every trial has the first.
            if place >= 4:
                happens = n_shown >= place // 2
                lengths[epoch] = lengths[epoch] * happens
                if f"{epoch}_duration" in varied:
                    varied[f"{epoch}_duration"] = varied[f"{epoch}_duration"] * happens
        return Timeline.of_lengths(lengths, n_trials), varied

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, and the sample and the tests in noise."""
        inputs = self.blank(timeline)
        inputs[..., FIXATION] = 1
        names = ["sample_direction", *(f"test_direction_{k}" for k in range(1, self.n_tests + 1))]
        heights = bump(np.array([conditions[name] for name in names]), self.n_ring)
        parts = [blocks(timeline, epoch) for epoch in ("stimulus_1", *self.test_epochs)]
        for own in parts[1:]:
            for trials, steps in own:
                inputs[trials, steps, FIXATION] = 0
        stimuli = list(zip(heights, parts, strict=True))
        show_in_noise(inputs, slice(1, None), stimuli, self.step_noise, rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step: 1 while the test that matches is on, else 0."""
        targets = np.zeros((timeline.n_trials, timeline.n_steps), int)
        for k, epoch in enumerate(self.test_epochs, start=1):
            matching = (conditions["match_position"] == k)[:, None]
            for trials, steps in blocks(timeline, epoch):
                targets[trials, steps] = matching[trials]
        return targets

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: 0 for the reaction time from the beginning of each test on, else 1."""
        wait = self.steps(self.reaction)
        # Where all trials share their timing, they share one mask.
        mask = (timeline.valid[:1] if timeline.shared else timeline.valid).astype(np.float32)
        for epoch in self.test_epochs:
            for trials, steps in blocks(timeline, epoch):
                mask[trials, steps.start : steps.start + wait] = 0
        return np.broadcast_to(mask, (timeline.n_trials, timeline.n_steps))

    def _answered(self, timeline: Timeline) -> np.ndarray:
        """Return in which steps each test's answer is read, shape (test, trial, time)."""
        wait = self.steps(self.reaction)
        return np.array(
            [timeline.during(epoch) & (timeline.steps_since(epoch) >= wait) for epoch in self.test_epochs]
        )

    def answers(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return whether each test was answered, shape (trial, test); no for those that were not shown.

        Outputs are averaged over a test's steps after the reaction time; ``match`` must be the larger.
        """
        difference = outputs[..., 1] - outputs[..., FIXATION]
        return np.einsum("kit,it->ik", self._answered(trials.timeline), difference) > 0

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the number of the first test that was answered, from 1 on; -1 where none was."""
        answered = self.answers(outputs, trials)
        return np.where(answered.any(axis=1), answered.argmax(axis=1) + 1, NO_CHOICE)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial in which the match was answered and no other test, else 0, (trial,)."""
        position = trials.conditions["match_position"][:, None]
        right = self.answers(outputs, trials) == (np.arange(1, self.n_tests + 1) == position)
        return right.all(axis=1).astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delays: the fixation cue alone."""
        return {"delay": np.eye(self.n_inputs)[FIXATION]}

    def _need_fresh_distractors(self) -> None:
        """Refuse fewer directions than a trial may show."""
        if self.n_tests >= self.n_directions:
            raise InputError(
                f"`n_tests` must be below n_directions = {self.n_directions}, for tests that differ from the "
                f"sample and from each other, got {self.n_tests}: choose more directions"
            )


@dataclass(frozen=True)
class DelayedMatchWithDistractors(MatchSequence):
    """Answer the one test of several that is the same as the sample, and no other.

    Story
        A direction of motion is shown; tests follow one after another. Answer the one that is the same as the
        sample, and let the others pass, whether they come before or after it and repeat each other or not.

    Inputs
        ============ ==========================================================================
        channel      meaning
        ============ ==========================================================================
        ``fixation`` 1, and 0 in each test
        ``ring_k``   a Gaussian bump of peak .8 around the direction while a stimulus is on
        ============ ==========================================================================

        The ring's units stand for evenly spaced directions from 0 on; a bump has a standard deviation of
        pi / 8. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the ring while a stimulus is
        on.

    Targets
        Class ``match`` while the test that matches is on, else ``fixate``. The match stands at each place, or
        nowhere, equally often (condition ``match_position``, 0 for none; ``target_choice`` has -1 in its
        stead); every other test has any direction but the sample's. The first ``reaction`` ms of each test
        are masked. Conditions ``sample_direction``, ``test_direction_1`` ... (radians) and ``repeated``:
        whether a test is the same as the one before it.

    Epochs
        ``fixation`` 300, ``stimulus_1`` (sample) 400, and thrice ``delay_k`` 400 and ``stimulus_2`` ...
        (tests) 400 ms. All tests are shown in every trial.

    Scoring
        1 where, averaged over each test after its reaction time, ``match`` is the larger output in the test
        that matches and in no other. Never to answer is right in a quarter of the trials. The choice is the
        number of the first test that is answered.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_tests : int
        Tests in a trial.
    n_directions : int
        Evenly spaced directions that a stimulus can have.
    n_ring : int
        Input channels that stand for direction; 2 are its cosine and sine.
    fixation, stimulus, delay : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of each test, ``delay`` comes before each
        test.
    reaction : float
        Time in ms from the beginning of a test on in which nothing is asked.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Miller, E. K., Li, L. & Desimone, R. (1993). Activity of neurons in anterior inferior temporal cortex
    during a short-term memory task. Journal of Neuroscience 13, 1460-1478.
    doi:10.1523/JNEUROSCI.13-04-01460.1993

    Miller, E. K., Erickson, C. A. & Desimone, R. (1996). Neural mechanisms of visual working memory in
    prefrontal cortex of the macaque. Journal of Neuroscience 16, 5154-5167.
    doi:10.1523/JNEUROSCI.16-16-05154.1996

    Examples
    --------
    >>> trials = DelayedMatchWithDistractors().draw(100, np.random.default_rng(0))
    >>> trials.n_steps, sorted(set(trials.conditions["match_position"].tolist()))
    (62, [0, 1, 2, 3])
    """

    n_tests: int = 3
    n_directions: int = 8
    n_ring: int = 8
    fixation: Duration = 300.0
    stimulus: Duration = 400.0
    delay: Duration = 400.0
    reaction: float = 100.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def distractors(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return directions of their own for all tests, as steps from the sample's, shape (trial, test)."""
        return rng.integers(1, self.n_directions, size=(n_trials, self.n_tests))


@dataclass(frozen=True)
class ABCA(MatchSequence):
    """Answer the test that is the same as the sample; the tests before it all differ (A B C A).

    Story
        A sample A is followed by tests that differ from it and from each other, until A comes again, which is
        to be answered. As nothing else is ever shown twice, it is enough to tell that something was.

    Inputs
        ============ ==========================================================================
        channel      meaning
        ============ ==========================================================================
        ``fixation`` 1, and 0 in each test
        ``ring_k``   a Gaussian bump of peak .8 around the direction while a stimulus is on
        ============ ==========================================================================

        The ring's units stand for evenly spaced directions from 0 on; a bump has a standard deviation of
        pi / 8. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the ring while a stimulus is
        on.

    Targets
        Class ``match`` while the test that matches is on, else ``fixate``. The match stands at each place, or
        nowhere, equally often (condition ``match_position``, 0 for none; ``target_choice`` has -1 in its
        stead). The first ``reaction`` ms of each test are masked. Conditions ``sample_direction``,
        ``test_direction_1`` ... (radians, -1 for tests that are not shown), and ``repeated``, which is never
        true here.

    Epochs
        ``fixation`` 300, ``stimulus_1`` (sample) 400, and up to three times ``delay_k`` 400 and
        ``stimulus_2`` ... (tests) 400 ms. A trial ends with its match; the epochs after it are empty, and
        trials are padded to the longest of their batch.

    Scoring
        1 where, averaged over each test after its reaction time, ``match`` is the larger output in the test
        that matches and in no other. Never to answer is right in a quarter of the trials. The choice is the
        number of the first test that is answered.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_tests : int
        Most tests in a trial.
    n_directions : int
        Evenly spaced directions that a stimulus can have; more than there are tests.
    n_ring : int
        Input channels that stand for direction; 2 are its cosine and sine.
    fixation, stimulus, delay : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of each test, ``delay`` comes before each
        test.
    reaction : float
        Time in ms from the beginning of a test on in which nothing is asked.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Masse, N. Y., Yang, G. R., Song, H. F., Wang, X.-J. & Freedman, D. J. (2019). Circuit mechanisms for the
    maintenance and manipulation of information in working memory. Nature Neuroscience 22, 1159-1167.
    doi:10.1038/s41593-019-0414-3 (stimuli and delays of 400 ms, up to three tests; there each test matches
    with probability .5)

    Miller, E. K., Li, L. & Desimone, R. (1991). A neural mechanism for working and recognition memory in
    inferior temporal cortex. Science 254, 1377-1379. doi:10.1126/science.1962197

    Examples
    --------
    >>> trials = ABCA().factorial()
    >>> trials.conditions["match_position"][:4].tolist(), trials.valid.sum(axis=1)[:4].tolist()
    ([1, 2, 3, 0], [30, 46, 62, 62])
    """

    n_tests: int = 3
    n_directions: int = 8
    n_ring: int = 8
    fixation: Duration = 300.0
    stimulus: Duration = 400.0
    delay: Duration = 400.0
    reaction: float = 100.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    ends_with_match = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_fresh_distractors()

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def distractors(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return different directions for all tests, as steps from the sample's, shape (trial, test)."""
        return fresh_offsets(n_trials, self.n_tests, self.n_directions, rng)


@dataclass(frozen=True)
class ABBA(MatchSequence):
    """Answer the test that is the same as the sample, not one that repeats another test (A B B A).

    Story
        A sample A is followed by tests that differ from it, until A comes again, which is to be answered. A
        test may be shown twice in a row: to notice a repetition is not enough, the sample itself must be
        kept.

    Inputs
        ============ ==========================================================================
        channel      meaning
        ============ ==========================================================================
        ``fixation`` 1, and 0 in each test
        ``ring_k``   a Gaussian bump of peak .8 around the direction while a stimulus is on
        ============ ==========================================================================

        The ring's units stand for evenly spaced directions from 0 on; a bump has a standard deviation of
        pi / 8. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on the ring while a stimulus is
        on.

    Targets
        Class ``match`` while the test that matches is on, else ``fixate``. The match stands at each place, or
        nowhere, equally often (condition ``match_position``, 0 for none; ``target_choice`` has -1 in its
        stead). Every test but the first that does not match repeats the one before it with the probability
        ``repeat_probability``; otherwise it is one that the trial has not shown yet. The first ``reaction``
        ms of each test are masked. Conditions ``sample_direction``, ``test_direction_1`` ... (radians, -1 for
        tests that are not shown), and ``repeated``: whether a test was the same as the one before it.

    Epochs
        ``fixation`` 300, ``stimulus_1`` (sample) 400, and up to three times ``delay_k`` 400 and
        ``stimulus_2`` ... (tests) 400 ms. A trial ends with its match; the epochs after it are empty, and
        trials are padded to the longest of their batch.

    Scoring
        1 where, averaged over each test after its reaction time, ``match`` is the larger output in the test
        that matches and in no other. Never to answer is right in a quarter of the trials. The choice is the
        number of the first test that is answered.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 relu units without leak whose recurrent weights begin as the identity, so that it
        remembers from the start; 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_tests : int
        Most tests in a trial.
    n_directions : int
        Evenly spaced directions that a stimulus can have; more than there are tests.
    n_ring : int
        Input channels that stand for direction; 2 are its cosine and sine.
    repeat_probability : float
        Chance that a test which does not match repeats the one before it.
    fixation, stimulus, delay : float or Distribution
        Durations in ms; ``stimulus`` is that of the sample and of each test, ``delay`` comes before each
        test.
    reaction : float
        Time in ms from the beginning of a test on in which nothing is asked.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Miller, E. K. & Desimone, R. (1994). Parallel neuronal mechanisms for short-term memory. Science 263,
    520-522. doi:10.1126/science.8290960

    Masse, N. Y., Yang, G. R., Song, H. F., Wang, X.-J. & Freedman, D. J. (2019). Circuit mechanisms for the
    maintenance and manipulation of information in working memory. Nature Neuroscience 22, 1159-1167.
    doi:10.1038/s41593-019-0414-3 (stimuli and delays of 400 ms, up to three tests; there each test matches
    with probability .5)

    Examples
    --------
    >>> conditions = ABBA(repeat_probability=1.0).factorial().conditions
    >>> last = conditions["match_position"] == 3
    >>> bool((conditions["test_direction_1"] == conditions["test_direction_2"])[last].all())
    True
    """

    n_tests: int = 3
    n_directions: int = 8
    n_ring: int = 8
    repeat_probability: float = 0.5
    fixation: Duration = 300.0
    stimulus: Duration = 400.0
    delay: Duration = 400.0
    reaction: float = 100.0
    noise_std: float = 1.0
    timing: str = "trial"
    dt: float = 50.0

    ends_with_match = True
    accuracy_by = ("match_position", "repeated")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_fresh_distractors()
        if need_at_least_zero(self.repeat_probability, "repeat_probability") > 1:
            raise InputError(f"`repeat_probability` must be in [0, 1], got {self.repeat_probability!r}")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def distractors(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return directions for all tests, some like the one before, as steps from the sample's."""
        offsets = fresh_offsets(n_trials, self.n_tests, self.n_directions, rng)
        repeated = rng.random(offsets.shape) < self.repeat_probability
        for k in range(1, self.n_tests):
            np.copyto(offsets[:, k], offsets[:, k - 1], where=repeated[:, k])
        return offsets
