"""Go and anti: point at a direction, or away from it, from sight or from memory.

Six of the 20 tasks of Yang et al. 2019; see `yang19`. Here is also what all of them share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform, as_distribution
from neurornn.tasks.rings import RESPONSE_GRACE, TURN, Direction, RingTask, Shared, sector
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.vocabulary import InputError

TIME_CONSTANT = 100.0
"""Time constant in ms of the paper's units, in which it gives its input noise."""
NOISE = 0.01 * math.sqrt(2 * TIME_CONSTANT)
"""Input noise in units of sqrt(ms): .01 sqrt(2 tau / dt) per step in the paper."""


class Yang19Task(RingTask):
    """What the 20 tasks share: two rings of inputs, the recipe, and what is told of the answer.

    The paper's code floors each duration to whole steps, as this package does, and draws durations and
    modalities once for all trials of a batch.
    """

    response: Duration
    """Duration of the response in ms."""
    recipe_steps: ClassVar[int] = 2000
    """Training steps of the recipe."""
    recipe_score: ClassVar[float] = 0.95
    """Score that the recipe reaches."""
    n_input_rings = 2
    noisy_cue = True
    average_by: ClassVar[tuple[str, ...]] = ("target_sector",)

    def __post_init__(self) -> None:
        super().__post_init__()
        shortest = as_distribution(self.response, "response").bounds()[0]
        if self.steps(shortest) <= self.steps(RESPONSE_GRACE):
            raise InputError(
                f"`response` must last more than {RESPONSE_GRACE:g} ms, in which nothing is asked, "
                f"got {self.response!r}: lengthen it"
            )

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 64,
                "activation": "relu",
                "tau": TIME_CONSTANT,
                "recurrent_initialisation": "identity",
            },
            training={"n_steps": self.recipe_steps, "batch_size": 64, "learning_rate": 3e-3},
            criterion=self.recipe_score,
        )

    def modality(self) -> Distribution:
        """Return by which modality a stimulus is seen, where that is left to chance."""
        either = Choice(1, 2)
        return Shared(either) if self.timing == "batch" else either

    @staticmethod
    def answer(direction: np.ndarray, respond: np.ndarray | bool = True) -> dict[str, np.ndarray]:
        """Return the conditions that say what the right answer is."""
        return {
            "target_direction": direction,
            "target_sector": sector(direction),
            "respond": np.broadcast_to(np.asarray(respond), direction.shape).copy(),
        }


class GoTask(Yang19Task):
    """Point at a stimulus, or away from it."""

    anti: ClassVar[bool] = False
    """Whether the answer is opposite to the stimulus."""
    shown_from: ClassVar[str]
    """Epoch in which the stimulus appears."""
    shown_through: ClassVar[str]
    """Epoch with whose end it goes."""
    recipe_steps = 300
    recipe_score = 0.98
    accuracy_by: ClassVar[tuple[str, ...]] = ("modality",)

    def factors(self) -> dict[str, Distribution]:
        """Return where the stimulus is, and which modality sees it."""
        return {"stimulus_direction": Direction(), "modality": self.modality()}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the right answer beside the factors."""
        target = (conditions["stimulus_direction"] + (math.pi if self.anti else 0.0)) % TURN
        return {**conditions, **self.answer(target)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the stimulus in noise."""
        inputs, ring = self.fixating(timeline, rng), conditions["modality"] - 1
        shown = self.shown_from, self.shown_through
        self.add_direction(inputs, conditions["stimulus_direction"], timeline, *shown, ring=ring)
        return inputs


@dataclass(frozen=True)
class Yang19FdGo(GoTask):
    """Point at a stimulus when the fixation cue goes off, the stimulus still being there.

    Story
        A spot appears in some direction, seen by either of two modalities. Gaze is held until the fixation
        cue goes off and then goes to the spot, which is still there.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` a bump at the stimulus from the stimulus on, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ =================================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stimulus (condition ``target_direction``). Squared errors
        weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the fixation
        output four times as much.

    Epochs
        ``fixation`` 300 to 700, ``stimulus`` 500 to 1500, ``response`` 500 ms; the stimulus stays through the
        response. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19FdGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(gaze, trials.conditions["stimulus_direction"], atol=1e-5))
    True
    """

    fixation: Duration = Uniform(300.0, 700.0)
    stimulus: Duration = Uniform(500.0, 1500.0)
    response: Duration = 500.0
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus", "response")
    shown_from, shown_through = "stimulus", "response"
    paper_name = "Go"


@dataclass(frozen=True)
class Yang19ReactGo(GoTask):
    """Point at a stimulus as soon as it appears.

    Story
        Gaze is held until a spot appears in some direction, seen by either of two modalities, and goes there
        at once; the fixation cue never goes off.

    Inputs
        ============ ============================================================
        channel      meaning
        ============ ============================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` a bump at the stimulus in the response, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ ============================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stimulus (condition ``target_direction``). Squared errors
        weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the fixation
        output four times as much.

    Epochs
        ``fixation`` 500 to 2500, ``response`` 500 ms; the stimulus is there in the response. Durations are
        drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19ReactGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(gaze, trials.conditions["stimulus_direction"], atol=1e-5))
    True
    """

    fixation: Duration = Uniform(500.0, 2500.0)
    response: Duration = 500.0
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "response")
    cue_ends = False
    shown_from, shown_through = "response", "response"
    paper_name = "RT Go"


@dataclass(frozen=True)
class Yang19DelayGo(GoTask):
    """Point at a stimulus when the fixation cue goes off, long after the stimulus.

    Story
        A spot flashes in some direction, seen by either of two modalities. Gaze is held through a delay until
        the fixation cue goes off and then goes where the spot was, from memory.

    Inputs
        ============ ================================================================
        channel      meaning
        ============ ================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` a bump at the stimulus during the stimulus, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ ================================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stimulus (condition ``target_direction``). Squared errors
        weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the fixation
        output four times as much.

    Epochs
        ``fixation`` 300, 500 or 700, ``stimulus`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600,
        ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus and in a delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DelayGo()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(gaze, trials.conditions["stimulus_direction"], atol=1e-5))
    True
    """

    fixation: Duration = Choice(300.0, 500.0, 700.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    response: Duration = 500.0
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus", "delay", "response")
    shown_from, shown_through = "stimulus", "stimulus"
    paper_name = "Dly Go"


@dataclass(frozen=True)
class Yang19FdAnti(Yang19FdGo):
    """Point away from a stimulus when the fixation cue goes off, the stimulus still being there.

    Story
        A spot appears in some direction, seen by either of two modalities. Gaze is held until the fixation
        cue goes off and then goes the opposite way, which is still there.

    Inputs
        ============ =================================================================
        channel      meaning
        ============ =================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` a bump at the stimulus from the stimulus on, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ =================================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction opposite to the stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

    Epochs
        ``fixation`` 300 to 700, ``stimulus`` 500 to 1500, ``response`` 500 ms; the stimulus stays through the
        response. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, stimulus, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19FdAnti()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(np.cos(gaze), -np.cos(trials.conditions["stimulus_direction"]), atol=1e-5))
    True
    """

    anti = True
    paper_name = "Anti"


@dataclass(frozen=True)
class Yang19ReactAnti(Yang19ReactGo):
    """Point away from a stimulus as soon as it appears.

    Story
        Gaze is held until a spot appears in some direction, seen by either of two modalities, and goes the
        opposite way at once; the fixation cue never goes off.

    Inputs
        ============ ============================================================
        channel      meaning
        ============ ============================================================
        ``fixation`` 1 to the end
        ``ring_1_k`` a bump at the stimulus in the response, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ ============================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction opposite to the stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

    Epochs
        ``fixation`` 500 to 2500, ``response`` 500 ms; the stimulus is there in the response. Durations are
        drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19ReactAnti()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(np.cos(gaze), -np.cos(trials.conditions["stimulus_direction"]), atol=1e-5))
    True
    """

    anti = True
    paper_name = "RT Anti"


@dataclass(frozen=True)
class Yang19DelayAnti(Yang19DelayGo):
    """Point away from a stimulus when the fixation cue goes off, long after the stimulus.

    Story
        A spot flashes in some direction, seen by either of two modalities. Gaze is held through a delay until
        the fixation cue goes off and then goes the opposite way, from memory.

    Inputs
        ============ ================================================================
        channel      meaning
        ============ ================================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` a bump at the stimulus during the stimulus, if ``modality`` is 1
        ``ring_2_k`` likewise, if ``modality`` is 2
        ============ ================================================================

        A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction opposite to the stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

    Epochs
        ``fixation`` 300, 500 or 700, ``stimulus`` 200, 400 or 600, ``delay`` 200, 400, 800 or 1600,
        ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target.

    Constant inputs
        ``fixation cue``: the cue alone, before the stimulus and in a delay.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 300
        steps of 64 trials at learning rate .003. The criterion is .98.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms; the response has no weight in its first 100.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations and the modality are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> task = Yang19DelayAnti()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> gaze = task.response_direction(trials.targets, trials)
    >>> bool(np.allclose(np.cos(gaze), -np.cos(trials.conditions["stimulus_direction"]), atol=1e-5))
    True
    """

    anti = True
    paper_name = "Dly Anti"
