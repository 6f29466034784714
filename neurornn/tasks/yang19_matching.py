"""Matching on rings: point at the second of two stimuli if it matches the first, or if it does not.

Four of the 20 tasks of Yang et al. 2019; see `yang19`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Duration
from neurornn.tasks.rings import TURN, Direction, Separation, sector
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.yang19_go import NOISE, Yang19Task


class MatchTask(Yang19Task):
    """Point at the second stimulus if it matches the first, or if it does not; else go on fixating."""

    matches_respond: ClassVar[bool] = True
    """Whether to respond to a match, or to what is none."""
    categories: ClassVar[bool] = False
    """Whether directions match that belong to the same half of the ring, or only the same direction."""
    category_directions: ClassVar[Distribution] = Choice(*(math.pi * k / 10 for k in range(1, 20, 2)))
    """Directions that are sorted into categories."""
    cue_ends = False
    epoch_order = ("fixation", "stimulus_1", "delay", "response")
    chance_score = 0.5
    average_by = ("match", "stimulus_1_sector")
    accuracy_by = ("match",)

    def factors(self) -> dict[str, Distribution]:
        """Return where both stimuli are, and which modality sees each."""
        modalities = {"stimulus_1_modality": self.modality(), "stimulus_2_modality": self.modality()}
        if self.categories:
            own = self.category_directions
            return {"stimulus_1_direction": own, "stimulus_2_direction": own, **modalities}
        separation = Separation(TURN / 18, share_of_matches=0.5)
        return {"stimulus_1_direction": Direction(), "separation": separation, **modalities}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return whether the stimuli match, and the right answer, beside the factors."""
        first = conditions["stimulus_1_direction"]
        if self.categories:
            second = conditions["stimulus_2_direction"]
            kinds = [category(own) for own in (first, second)]
            told = {"stimulus_1_category": kinds[0], "stimulus_2_category": kinds[1]}
            match = kinds[0] == kinds[1]
        else:
            second = (first + conditions["separation"]) % TURN
            told = {"stimulus_2_direction": second}
            match = conditions["separation"] == 0
        told |= {"stimulus_1_sector": sector(first), "match": match}
        return {**conditions, **told, **self.answer(second, match == self.matches_respond)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and both stimuli in noise."""
        inputs = self.fixating(timeline, rng)
        for stimulus, epoch in (("stimulus_1", "stimulus_1"), ("stimulus_2", "response")):
            direction, modality = conditions[f"{stimulus}_direction"], conditions[f"{stimulus}_modality"]
            self.add_direction(inputs, direction, timeline, epoch, ring=modality - 1)
        return inputs


def category(directions: np.ndarray) -> np.ndarray:
    """Return the category of directions: 1 below pi, 2 from there on.

    Examples
    --------
    >>> category(np.array([0.0, 3.1, np.pi, 6.2])).tolist()
    [1, 1, 2, 2]
    """
    return np.where(directions < math.pi, 1, 2)


@dataclass(frozen=True)
class Yang19DMSGo(MatchTask):
    """Point at the second of two stimuli if they are in the same direction, else go on fixating.

    Story
        A spot flashes in some direction and is remembered through a delay, at whose end a second one appears.
        If the two are in the same direction, gaze goes to the second at once; otherwise it stays. Each is
        seen by either of two modalities. The fixation cue never goes off.

    Inputs
        ============ =======================================================================================
        channel      meaning
        ============ =======================================================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` bumps at stimuli of modality 1, the first in ``stimulus_1``, the second in ``response``
        ``ring_2_k`` likewise those of modality 2
        ============ =======================================================================================

        Directions match in half of the trials, and otherwise are at least pi / 9 apart. A bump is .8 exp(-d^2
        / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of
        standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8, and .05 in the response of trials whose stimuli are in the same direction
        (condition ``respond``). The ring is at .05, and there has a bump of height .8 on top, in the
        direction of the second stimulus (``target_direction``). Squared errors weigh 1 before the response
        and 25 in it, and 0 in the first 100 ms of either; those of the fixation output four times as much.

        Conditions hold both directions and modalities, the angle from the first to the second
        (``separation``) and ``match``.

    Epochs
        ``fixation`` and ``stimulus_1`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600, ``response`` 500 ms;
        the second stimulus is there in the response. Durations are drawn once a batch.

    Scoring
        At the last step: where gaze must go, 1 if the fixation output is at most .5 and the population vector
        of the output ring lies within .2 pi of the target; where it must stay, 1 if the fixation output is
        above .5. Always fixating scores .5.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the first, the second lasts as long as the response. This has
        no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modalities are drawn once a batch, as in the paper, or for each
        trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DMSGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> first, second = (trials.conditions[f"stimulus_{k}_direction"] for k in (1, 2))
    >>> bool(((first == second) == trials.conditions["respond"]).all())
    True
    """

    fixation: Duration = Choice(200.0, 400.0, 600.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    response: Duration = 500.0
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    paper_name = "DMS"


@dataclass(frozen=True)
class Yang19DMSNoGo(Yang19DMSGo):
    """Point at the second of two stimuli if they differ, else go on fixating.

    Story
        A spot flashes in some direction and is remembered through a delay, at whose end a second one appears.
        If the two differ, gaze goes to the second at once; otherwise it stays. Each is seen by either of two
        modalities. The fixation cue never goes off.

    Inputs
        ============ =======================================================================================
        channel      meaning
        ============ =======================================================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` bumps at stimuli of modality 1, the first in ``stimulus_1``, the second in ``response``
        ``ring_2_k`` likewise those of modality 2
        ============ =======================================================================================

        Directions match in half of the trials, and otherwise are at least pi / 9 apart. A bump is .8 exp(-d^2
        / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of
        standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8, and .05 in the response of trials whose stimuli differ (condition ``respond``).
        The ring is at .05, and there has a bump of height .8 on top, in the direction of the second stimulus
        (``target_direction``). Squared errors weigh 1 before the response and 25 in it, and 0 in the first
        100 ms of either; those of the fixation output four times as much.

        Conditions hold both directions and modalities, the angle from the first to the second
        (``separation``) and ``match``.

    Epochs
        ``fixation`` and ``stimulus_1`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600, ``response`` 500 ms;
        the second stimulus is there in the response. Durations are drawn once a batch.

    Scoring
        At the last step: where gaze must go, 1 if the fixation output is at most .5 and the population vector
        of the output ring lies within .2 pi of the target; where it must stay, 1 if the fixation output is
        above .5. Always fixating scores .5.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the first, the second lasts as long as the response. This has
        no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modalities are drawn once a batch, as in the paper, or for each
        trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DMSNoGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> first, second = (trials.conditions[f"stimulus_{k}_direction"] for k in (1, 2))
    >>> bool(((first != second) == trials.conditions["respond"]).all())
    True
    """

    matches_respond = False
    paper_name = "DNMS"


@dataclass(frozen=True)
class Yang19DMCGo(MatchTask):
    """Point at the second of two stimuli if they belong to the same category, else go on fixating.

    Story
        A spot flashes in some direction and is remembered through a delay, at whose end a second one appears.
        Directions below pi belong to category 1, the others to category 2. If the two belong to the same
        category, gaze goes to the second at once; otherwise it stays. Each is seen by either of two
        modalities. The fixation cue never goes off.

    Inputs
        ============ =======================================================================================
        channel      meaning
        ============ =======================================================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` bumps at stimuli of modality 1, the first in ``stimulus_1``, the second in ``response``
        ``ring_2_k`` likewise those of modality 2
        ============ =======================================================================================

        Directions are .1 pi, .3 pi, up to 1.9 pi. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose
        direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std /
        sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8, and .05 in the response of trials whose stimuli belong to the same category
        (condition ``respond``). The ring is at .05, and there has a bump of height .8 on top, in the
        direction of the second stimulus (``target_direction``). Squared errors weigh 1 before the response
        and 25 in it, and 0 in the first 100 ms of either; those of the fixation output four times as much.

        Conditions hold both directions and modalities, both categories (1 or 2) and ``match``.

    Epochs
        ``fixation`` and ``stimulus_1`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600, ``response`` 200,
        400 or 600 ms; the second stimulus is there in the response. Durations are drawn once a batch.

    Scoring
        At the last step: where gaze must go, 1 if the fixation output is at most .5 and the population vector
        of the output ring lies within .2 pi of the target; where it must stay, 1 if the fixation output is
        above .5. Always fixating scores .5.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the first, the second lasts as long as the response. This has
        no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modalities are drawn once a batch, as in the paper, or for each
        trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DMCGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> first, second = (trials.conditions[f"stimulus_{k}_category"] for k in (1, 2))
    >>> bool(((first == second) == trials.conditions["respond"]).all())
    True
    """

    fixation: Duration = Choice(200.0, 400.0, 600.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    response: Duration = Choice(200.0, 400.0, 600.0)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    categories = True
    paper_name = "DMC"


@dataclass(frozen=True)
class Yang19DMCNoGo(Yang19DMCGo):
    """Point at the second of two stimuli if they belong to different categories, else go on fixating.

    Story
        A spot flashes in some direction and is remembered through a delay, at whose end a second one appears.
        Directions below pi belong to category 1, the others to category 2. If the two belong to different
        categories, gaze goes to the second at once; otherwise it stays. Each is seen by either of two
        modalities. The fixation cue never goes off.

    Inputs
        ============ =======================================================================================
        channel      meaning
        ============ =======================================================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` bumps at stimuli of modality 1, the first in ``stimulus_1``, the second in ``response``
        ``ring_2_k`` likewise those of modality 2
        ============ =======================================================================================

        Directions are .1 pi, .3 pi, up to 1.9 pi. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose
        direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std /
        sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8, and .05 in the response of trials whose stimuli belong to different categories
        (condition ``respond``). The ring is at .05, and there has a bump of height .8 on top, in the
        direction of the second stimulus (``target_direction``). Squared errors weigh 1 before the response
        and 25 in it, and 0 in the first 100 ms of either; those of the fixation output four times as much.

        Conditions hold both directions and modalities, both categories (1 or 2) and ``match``.

    Epochs
        ``fixation`` and ``stimulus_1`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600, ``response`` 200,
        400 or 600 ms; the second stimulus is there in the response. Durations are drawn once a batch.

    Scoring
        At the last step: where gaze must go, 1 if the fixation output is at most .5 and the population vector
        of the output ring lies within .2 pi of the target; where it must stay, 1 if the fixation output is
        above .5. Always fixating scores .5.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; ``stimulus`` is that of the first, the second lasts as long as the response. This has
        no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modalities are drawn once a batch, as in the paper, or for each
        trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DMCNoGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> first, second = (trials.conditions[f"stimulus_{k}_category"] for k in (1, 2))
    >>> bool(((first != second) == trials.conditions["respond"]).all())
    True
    """

    matches_respond = False
    paper_name = "DNMC"
