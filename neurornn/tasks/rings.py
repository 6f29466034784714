"""Angles on rings of units: how they are drawn, shown, asked for, read and scored.

What the 20-task set and every task with a continuous direction share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurornn.tasks.distributions import Distribution
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.noise import normals
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import need_count

TURN = 2 * math.pi
"""A whole turn in radians."""
PEAK = 0.8
"""Height of a bump above its ring's rest, and the fixation output while nothing is to be done."""
REST = 0.05
"""Output of every unit that has nothing to say."""
WIDTH = math.pi / 8
"""Standard deviation of a bump in radians."""
START_GRACE = RESPONSE_GRACE = 100.0
"""Time in ms after the trial's and the response's beginning in which nothing is asked."""
RESPONSE_WEIGHT = 25.0
"""Weight of the response's squared error; 5 before squaring in the paper."""
FIXATION_WEIGHT = 4.0
"""Weight of the fixation output's squared error beside a ring unit's; 2 before squaring in the paper."""
TOLERANCE = 0.2 * math.pi
"""Largest angular error in radians of a right response."""
N_SECTORS = 8
"""Into how many sectors directions are sorted where trials are averaged by them."""


@dataclass(frozen=True)
class Direction(Distribution):
    """Any direction, in radians from 0 to 2 pi.

    Parameters
    ----------
    n_levels : int
        How many evenly spaced directions, from 0 on, stand for all in a balanced batch.

    Examples
    --------
    >>> Direction(4).levels() == (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)
    True
    """

    n_levels: int = 8

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one direction per trial, shape (trial,)."""
        return rng.uniform(0, TURN, n_trials)

    def levels(self) -> tuple[Any, ...]:
        """Return evenly spaced directions."""
        return tuple(TURN * k / self.n_levels for k in range(self.n_levels))

    def bounds(self) -> tuple[float, float]:
        """Return the ends of the range."""
        return 0.0, TURN


@dataclass(frozen=True)
class Separation(Distribution):
    """The angle from one direction to another, in radians from 0 to 2 pi; either way round is as likely.

    Parameters
    ----------
    nearest : float
        Smallest angle between two different directions, either way round.
    share_of_matches : float
        How often the two are the same.

    Examples
    --------
    >>> drawn = Separation(np.pi / 2).draw(1000, np.random.default_rng(0))
    >>> bool(drawn.min() >= np.pi / 2), bool(drawn.max() < 3 * np.pi / 2)
    (True, True)
    >>> Separation(np.pi / 9, share_of_matches=0.5).levels() == (0.0, np.pi)
    True
    """

    nearest: float
    share_of_matches: float = 0.0

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one angle per trial, shape (trial,)."""
        angle = rng.uniform(self.nearest, TURN - self.nearest, n_trials)
        if self.share_of_matches:
            angle[rng.random(n_trials) < self.share_of_matches] = 0
        return angle

    def levels(self) -> tuple[Any, ...]:
        """Return opposite directions, and the same one where that can be."""
        return (0.0, math.pi) if self.share_of_matches else (math.pi,)

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest angle."""
        return (0.0 if self.share_of_matches else self.nearest), TURN - self.nearest


@dataclass(frozen=True)
class Shared(Distribution):
    """One value for all trials of a batch, drawn from another distribution.

    Parameters
    ----------
    of : Distribution

    Examples
    --------
    >>> from neurornn.tasks import Choice
    >>> len(set(Shared(Choice(1, 2)).draw(50, np.random.default_rng(0)).tolist()))
    1
    """

    of: Distribution

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return the same value for each trial, shape (trial,)."""
        return np.repeat(self.of.draw(1, rng), n_trials)

    def levels(self) -> tuple[Any, ...]:
        """Return the values that stand for all in a balanced batch, which holds each."""
        return self.of.levels()

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest value."""
        return self.of.bounds()


def angular_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far two directions are apart, in radians from 0 to pi.

    Examples
    --------
    >>> round(float(angular_distance(np.array(0.1), np.array(2 * np.pi - 0.1))), 6)
    0.2
    """
    return np.abs((np.asarray(one) - other + math.pi) % TURN - math.pi)


def sector(directions: np.ndarray) -> np.ndarray:
    """Return in which of eight sectors directions lie; sector k is centred on k pi / 4.

    Examples
    --------
    >>> sector(np.array([0.1, np.pi / 2, 2 * np.pi - 0.1])).tolist()
    [0, 2, 0]
    """
    return np.rint(np.asarray(directions) * N_SECTORS / TURN).astype(int) % N_SECTORS


def preferred_directions(n_units: int) -> np.ndarray:
    """Return the directions that a ring's units stand for, in radians from 0 on, shape (unit,)."""
    return TURN * np.arange(n_units) / n_units


def bump(directions: np.ndarray, n_units: int) -> np.ndarray:
    """Return a ring's activity for a direction: a Gaussian of standard deviation pi / 8 and peak .8.

    Parameters
    ----------
    directions : ndarray
        In radians.
    n_units : int
        Units of the ring; two stand for cosine and sine, as a bump over two units could not tell a direction
        from its mirror image.

    Returns
    -------
    ndarray, shape (*directions.shape, n_units)

    Examples
    --------
    >>> bump(np.array([0.0]), 4).round(4).tolist()
    [[0.8, 0.0003, 0.0, 0.0003]]
    """
    directions = np.asarray(directions)[..., None]
    if n_units == 2:
        return np.concatenate([np.cos(directions), np.sin(directions)], axis=-1)
    # As `angular_distance`, but with one remainder for each direction, not for each unit.
    one_way = np.abs(directions % TURN - preferred_directions(n_units))
    distance = np.minimum(one_way, TURN - one_way)
    return PEAK * np.exp(-0.5 * (distance / WIDTH) ** 2)


def read_direction(activity: np.ndarray) -> np.ndarray:
    """Return the direction of the population vector, in radians from 0 to 2 pi.

    Parameters
    ----------
    activity : ndarray, shape (..., unit)
        Activity of a ring; of two units, cosine and sine.

    Returns
    -------
    ndarray, shape (...)

    Examples
    --------
    >>> round(float(read_direction(bump(np.array(2.0), 32))), 6)
    2.0
    """
    if activity.shape[-1] == 2:
        return np.arctan2(activity[..., 1], activity[..., 0]) % TURN
    preferred = preferred_directions(activity.shape[-1])
    return np.arctan2(activity @ np.sin(preferred), activity @ np.cos(preferred)) % TURN


class RingTask(EpochTask):
    """A task answered by a direction: hold fixation, then let a ring of outputs point there.

    Inputs are the fixation cue and one or more rings; outputs the fixation and one ring. Trials have an epoch
    ``response`` and the conditions ``respond`` (whether one must) and ``target_direction`` (where to). A
    subclass has a field ``n_ring`` and defines `show`; `ask`, `weigh` and `score` are those of Yang et al.
    2019.
    """

    n_ring: int = 32
    """Units of each ring."""
    n_input_rings: ClassVar[int] = 1
    """Rings of inputs: places or modalities."""
    cue_ends: ClassVar[bool] = True
    """Whether the fixation cue goes off when the response is due, or stays on to the end."""
    noisy_cue: ClassVar[bool] = False
    """Whether the fixation cue is as noisy as the rings."""
    chance_score = TOLERANCE / math.pi
    average_by: ClassVar[tuple[str, ...]] = ("target_direction",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_ring, "n_ring", least=2)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and the rings."""
        return 1 + self.n_input_rings * self.n_ring

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: fixation and one ring."""
        return 1 + self.n_ring

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        if self.n_input_rings == 1:
            return ("fixation", *(f"ring_{k}" for k in range(self.n_ring)))
        rings = range(1, self.n_input_rings + 1)
        return ("fixation", *(f"ring_{ring}_{k}" for ring in rings for k in range(self.n_ring)))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixation", *(f"ring_{k}" for k in range(self.n_ring)))

    def fixating(self, timeline: Timeline, rng: np.random.Generator) -> np.ndarray:
        """Return inputs of a fixation cue, 1 until the response, or the end, and of noise at every step.

        The rings have noise of standard deviation ``noise_std / sqrt(dt)``, and so has the cue where
        ``noisy_cue`` says so; channels after the rings are at zero.
        """
        cue = timeline.before("response") if self.cue_ends else timeline.valid
        if self.noise_std == 0:
            inputs = self.blank(timeline)
        else:
            # The noise is by far the largest part, so that the rest is added to it, not it to the rest.
            inputs = normals((*cue.shape, self.n_inputs), rng, self.step_noise)
            inputs[..., 1 + self.n_input_rings * self.n_ring :] = 0
            if not self.noisy_cue:
                inputs[..., 0] = 0
        inputs[..., 0] += cue
        return inputs

    def add_direction(
        self,
        inputs: np.ndarray,
        directions: np.ndarray,
        timeline: Timeline,
        epoch: str,
        last: str | None = None,
        *,
        strength: np.ndarray | float = 1.0,
        ring: np.ndarray | int = 0,
        trials: np.ndarray | None = None,
    ) -> None:
        """Add a bump to a ring of inputs during an epoch, or from one through another, in place.

        Parameters
        ----------
        inputs : ndarray, shape (trial, time, input_channel)
        directions : ndarray, shape (trial,)
            In radians.
        timeline : Timeline
        epoch, last : str
            The epoch in which it is shown, and the last one where there are several.
        strength : float or ndarray, shape (trial,)
            Factor on the bump.
        ring : int or ndarray of int, shape (trial,)
            Which ring, from 0.
        trials : ndarray of bool, shape (trial,), optional
            In which trials; in all by default.
        """
        height = (np.asarray(strength)[..., None] * bump(directions, self.n_ring)).astype(np.float32)
        if isinstance(ring, int):
            timeline.add(inputs[..., self.ring(ring)], height, epoch, last, trials=trials)
            return
        for place in set(ring.tolist()):
            here = ring == place if trials is None else (ring == place) & trials
            timeline.add(inputs[..., self.ring(place)], height, epoch, last, trials=here)

    def ring(self, place: int) -> slice:
        """Return the input channels of a ring, counted from 0."""
        return slice(1 + place * self.n_ring, 1 + (place + 1) * self.n_ring)

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return fixation until the response and, where one must respond, a bump from then on."""
        # Cosine and sine know no rest above zero; the fixation output is the same for either ring.
        fixating = np.full(self.n_outputs, 0 if self.n_ring == 2 else REST, np.float32)
        answer = np.tile(fixating, (timeline.n_trials, 1))
        answer[:, 1:] += bump(conditions["target_direction"], self.n_ring)
        fixating[0] = PEAK
        answer[~conditions["respond"]] = fixating
        targets = np.empty((timeline.n_trials, timeline.n_steps, self.n_outputs), np.float32)
        timeline.turn(targets, fixating, answer, "response")
        return targets

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return 0 in the first 100 ms, 1 until the response, 0 for 100 ms, then 25; fixation times 4."""
        before, after = self._weights(timeline.n_steps)
        starts, ends = timeline.start["response"].tolist(), timeline.end.tolist()
        if timeline.shared:
            # Where all trials share their timing, they share one mask.
            mask = np.concatenate([before[: starts[0]], after[: ends[0] - starts[0]]])
            return np.broadcast_to(mask, (timeline.n_trials, *mask.shape))
        mask = np.zeros((timeline.n_trials, *before.shape), np.float32)
        for own, start, end in zip(mask, starts, ends, strict=True):
            own[:start] = before[:start]
            own[start:end] = after[: end - start]
        return mask

    def _weights(self, n_steps: int) -> np.ndarray:
        """Return the mask of a trial without response, and of a response without end."""
        weights = np.ones((2, n_steps, self.n_outputs), np.float32)
        weights[1] = RESPONSE_WEIGHT
        weights[0, : self.steps(START_GRACE)] = 0
        weights[1, : self.steps(RESPONSE_GRACE)] = 0
        weights[..., 0] *= FIXATION_WEIGHT
        return weights

    def response_direction(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return where outputs point at the last step, in radians, shape (trial,); NaN for fixation."""
        last = trials.valid.sum(axis=1) - 1
        final = outputs[np.arange(trials.n_trials), last]
        return np.where(final[:, 0] > 0.5, np.nan, read_direction(final[:, 1:]))

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial that ends in fixation, or within .2 pi of the target, as is right."""
        response = self.response_direction(outputs, trials)
        error = angular_distance(response, trials.conditions["target_direction"])
        right = np.where(trials.conditions["respond"], error < TOLERANCE, np.isnan(response))
        return right.astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the fixation cue alone: what is seen in a delay."""
        delay = np.zeros(self.n_inputs)
        delay[0] = 1
        return {"fixation cue": delay}
