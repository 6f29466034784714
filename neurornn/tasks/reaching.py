"""Reaching: a hand is brought smoothly, or step by step, to where a target is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurornn.tasks.distributions import (
    Choice,
    Distribution,
    Duration,
    Uniform,
    as_distribution,
)
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.noise import normals
from neurornn.tasks.rings import TURN, Direction, angular_distance, bump
from neurornn.tasks.sequences import SerialTask
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_choice, need_count, need_positive

KINEMATICS = ("velocity", "position")
STAY, LEFT, RIGHT = 0, 1, 2
"""Classes of the one-dimensional reach; left is counter-clockwise."""


def minimum_jerk(share: np.ndarray) -> np.ndarray:
    """Return which share of the way is done after a share of the time of the smoothest movement.

    The movement from rest to rest that has the least squared jerk, the third derivative of position, in its
    course: 10 t^3 - 15 t^4 + 6 t^5. Its speed is bell-shaped with a peak of 1.875 in the middle.

    Parameters
    ----------
    share : ndarray
        Time since the movement began in units of its duration; at rest below 0 and above 1.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> minimum_jerk(np.array([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0])).round(4).tolist()
    [0.0, 0.0, 0.1035, 0.5, 1.0, 1.0]
    """
    t = np.clip(share, 0.0, 1.0)
    return t**3 * (10 - 15 * t + 6 * t**2)


def need_fixed(value: object, name: str) -> None:
    """Refuse a duration that varies, which nothing that is shown would tell."""
    shortest, longest = as_distribution(value, name).bounds()
    if shortest != longest:
        raise InputError(
            f"`{name}` must be the same in every trial, as no input tells how long it lasts, got {value!r}: "
            "give a number"
        )


@dataclass(frozen=True)
class DelayedReach(EpochTask):
    """Reach from the centre to a target, after a delay and a signal to go, in a smooth movement.

    Story
        A hand rests at the centre while one of eight targets around it is shown. The movement may be planned
        but must wait for the go signal, after an unforeseeable delay. Then, a reaction time later, the hand
        moves straight to the target on the course with the least jerk. The network must make this brief,
        bell-shaped pulse of velocity by itself, as nothing that it sees changes during the movement.

    Inputs
        ============ =========================================================================
        channel      meaning
        ============ =========================================================================
        ``fixation`` 1 until the go signal, then 0
        ``target_x`` cosine of the target's direction while it is shown, otherwise 0, plus noise
        ``target_y`` sine of it, the same way
        ============ =========================================================================

        The target is shown from ``stimulus`` to the end of the trial or, with ``remembered=True``, during
        ``stimulus`` only. Its channels have noise of standard deviation ``noise_std / sqrt(dt)`` per step
        throughout the trial.

    Targets
        ``hand_x`` and ``hand_y``: the hand's velocity (in target distances per duration of the movement, so
        that the peak is 1.875 at any dt) or its position (in target distances). The position is p(t) =
        10 t^3 - 15 t^4 + 6 t^5 of the way at the end of a step, t running from 0 to 1 over the epoch
        ``response``; the velocity of a step is that which leads from one p(t) to the next. Every step counts
        alike.

    Epochs
        ``fixation`` 200, ``stimulus`` 200, ``delay`` 0 to 600, ``go`` (the reaction time, from the go signal
        to the movement) 100, ``response`` (the movement) 500, ``hold`` (at the target) 200 ms.

    Scoring
        1 where the hand is less than ``tolerance`` target distances from where it should be at the end of
        every step, from the first to the last: resting, moving and holding. Velocities are summed up from
        the centre. One fixed end of the movement lies within the tolerance of one target of eight, so that
        no network that ignores the target does better than 1 in 8, even if it moves at the right time.

    Constant inputs
        ``no target``: fixation alone. ``target k``, for each of the targets: fixation and the target.

    Recipe
        `RateRNN` of 64 tanh units without leak, 1500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    n_targets : int
        Number of targets, evenly spaced from 0 radians on.
    kinematics : {"velocity", "position"}
        What the outputs mean.
    remembered : bool
        Whether the target is hidden after the stimulus.
    tolerance : float
        Largest distance from the wanted position, in target distances; below 1.
    fixation, stimulus, delay, go, response, hold : float or Distribution
        Durations in ms. ``go`` and ``response`` must not vary, as nothing would tell how long they last.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Flash, T. & Hogan, N. (1985). The coordination of arm movements: an experimentally confirmed mathematical
    model. Journal of Neuroscience 5, 1688-1703. doi:10.1523/JNEUROSCI.05-07-01688.1985

    Churchland, M. M., Cunningham, J. P., Kaufman, M. T., Foster, J. D., Nuyujukian, P., Ryu, S. I. & Shenoy,
    K. V. (2012). Neural population dynamics during reaching. Nature 487, 51-56. doi:10.1038/nature11129

    Examples
    --------
    >>> task = DelayedReach()
    >>> trials = task.factorial()
    >>> end = task.positions(trials.ideal_outputs())[:3, -1]
    >>> (end + 0.0).round(3).tolist() == [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    True
    """

    n_targets: int = 8
    kinematics: str = "velocity"
    remembered: bool = False
    tolerance: float = 0.2
    fixation: Duration = 200.0
    stimulus: Duration = 200.0
    delay: Duration = Uniform(0.0, 600.0)
    go: Duration = 100.0
    response: Duration = 500.0
    hold: Duration = 200.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 20.0

    n_inputs = 3
    n_outputs = 2
    epoch_order = ("fixation", "stimulus", "delay", "go", "response", "hold")
    empty_epochs = ("fixation", "delay", "go", "hold")
    average_by = ("target_direction",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_targets, "n_targets", least=2)
        need_choice(self.kinematics, "kinematics", KINEMATICS)
        if not isinstance(self.remembered, bool):
            raise InputError(f"`remembered` must be True or False, got {self.remembered!r}")
        if need_positive(self.tolerance, "tolerance") >= 1:
            raise InputError(
                f"`tolerance` must be below 1 target distance, got {self.tolerance!r}: a hand that never "
                "moves would be right"
            )
        need_fixed(self.go, "go")
        need_fixed(self.response, "response")

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Largest share of the targets that lie within the tolerance of one place.

        Of a disc of radius r anywhere, an arc of at most 2 asin(r) lies on the circle of the targets.
        """
        n_near = math.ceil(math.asin(self.tolerance) * self.n_targets / math.pi - 1e-9)
        return min(n_near, self.n_targets) / self.n_targets

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "target_x", "target_y")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("hand_x", "hand_y")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the target's direction."""
        return {"target_direction": Choice(*Direction(self.n_targets).levels())}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, which goes off as the go signal, and the target."""
        inputs = self.blank(timeline)
        inputs[..., 0] = timeline.before("go")
        shown = timeline.during("stimulus", "stimulus" if self.remembered else "hold")
        for channel, along in enumerate(self._unit(conditions).T, start=1):
            np.copyto(inputs[..., channel], along[:, None], where=shown)
        # Noise in the padding is taken away with whatever else stands there.
        self.add_noise(inputs, np.ones_like(timeline.valid), slice(1, 3), rng)
        return inputs

    @staticmethod
    def _unit(conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return where the target is, in target distances, shape (trial, 2)."""
        direction = conditions["target_direction"]
        return np.array([np.cos(direction), np.sin(direction)], np.float32).T

    @cached_property
    def _movement_steps(self) -> int:
        """How many steps the movement lasts, in every trial."""
        return self.steps(as_distribution(self.response, "response").bounds()[0])

    @cached_property
    def _course(self) -> np.ndarray:
        """The hand's velocity or position along its way, before, in each step of and after the movement."""
        share = np.arange(-1, self._movement_steps + 2) / self._movement_steps
        course = minimum_jerk(share)[1:]
        if self.kinematics == "velocity":
            course = np.diff(minimum_jerk(share)) * self._movement_steps
        return course.astype(np.float32)

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the hand's velocity or position in each step of the smoothest movement."""
        passed = timeline.step - (timeline.start["response"] - 1)[:, None]
        course = self._course.take(passed, mode="clip")
        targets = np.empty((*course.shape, 2), np.float32)
        for channel, along in enumerate(self._unit(conditions).T):
            np.multiply(course, along[:, None], out=targets[..., channel])
        return targets

    def positions(self, outputs: np.ndarray) -> np.ndarray:
        """Return where outputs bring the hand at the end of each step, in target distances.

        Parameters
        ----------
        outputs : ndarray, shape (trial, time, 2)

        Returns
        -------
        ndarray, shape (trial, time, 2)
        """
        if self.kinematics == "position":
            return outputs
        return np.cumsum(outputs, axis=1, dtype=float) / self._movement_steps

    def distance(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return how far the hand is from where it should be at the end of each step, shape (trial, time)."""
        return np.linalg.norm(self.positions(outputs) - self.positions(trials.targets), axis=2)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial in which the hand is never off by the tolerance or more, else 0."""
        near = self.distance(outputs, trials) < self.tolerance
        return (near | ~trials.valid).all(axis=1).astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return fixation alone, and with each of the targets: what is seen before the go signal."""
        directions = np.array(Direction(self.n_targets).levels())
        places = self._unit({"target_direction": directions})
        targets = {f"target {k}": np.array([1.0, *place]) for k, place in enumerate(places)}
        return {"no target": np.array([1.0, 0.0, 0.0]), **targets}


@dataclass(frozen=True)
class Reaching1D(SerialTask):
    """Move along a circle to a target, left or right by the shorter way, and stop there.

    Story
        A hand can go left or right around a circle at one speed. First its place is shown, then the target
        too. When the fixation cue goes off the hand is hidden, and at each step the network says whether to
        go left, right or nowhere, until the target is reached. It must remember where it started and keep
        count of how far it has come. In the NeuroGym task of this name the hand is shown wherever the
        agent's own moves have brought it; trials that are drawn beforehand cannot do that, so that this
        version is the same reach without sight of the hand.

    Inputs
        ============ =============================================================================
        channel      meaning
        ============ =============================================================================
        ``fixation`` 1 until the response, then 0
        ``self_k``   bump of height .8 at the hand's place until the response, otherwise 0
        ``target_k`` bump of height .8 at the target from the stimulus to the trial's end, otherwise 0
        ============ =============================================================================

        The rings have noise of standard deviation ``noise_std / sqrt(dt)`` per step throughout the trial.

    Targets
        Classes ``stay`` until the response; then ``left`` (counter-clockwise, to larger angles) or ``right``
        for the number of steps that brings the hand nearest to the target, then ``stay``. At half a turn
        both ways are as short; the task goes left.

    Epochs
        ``fixation`` 200 (the hand alone), ``stimulus`` 300 (hand and target), ``response`` 800 ms.

    Scoring
        The largest output of each step is carried out, one move of ``speed * dt`` left, right or none, from
        the hand's place on. 1 where no move is made before the response and the hand ends less than
        ``tolerance`` from the target; from the nearest place within reach, should the response be too short
        for half a turn. As start and target are drawn independently, a network that ignores them has a
        chance of tolerance / pi, 1 in 8 by default.

    Constant inputs
        ``response, target at 0``: the target alone, as during the movement.

    Recipe
        `RateRNN` of 96 tanh units without leak, 1500 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_ring : int
        Units of each of the two rings.
    speed : float
        Speed of the hand in radians per second.
    tolerance : float
        Largest angular error in radians at the end of a right reach.
    fixation, stimulus, response : float or Distribution
        Durations in ms. By default half a turn takes 630 ms of the response.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Georgopoulos, A. P., Schwartz, A. B. & Kettner, R. E. (1986). Neuronal population coding of movement
    direction. Science 233, 1416-1419. doi:10.1126/science.3749885

    Examples
    --------
    >>> task = Reaching1D()
    >>> trials = task.draw(2, np.random.default_rng(0))
    >>> trials.inputs.shape, task.score(trials.ideal_outputs(), trials).tolist()
    ((2, 65, 33), [1.0, 1.0])
    """

    n_ring: int = 16
    speed: float = 5.0
    tolerance: float = math.pi / 8
    fixation: Duration = 200.0
    stimulus: Duration = 300.0
    response: Duration = 800.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 20.0

    loss = "cross_entropy"
    n_outputs = 3
    epoch_order = ("fixation", "stimulus", "response")
    average_by = ("side",)
    accuracy_by = ("side",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_ring, "n_ring", least=2)
        need_positive(self.speed, "speed", "radians per second")
        if need_positive(self.tolerance, "tolerance", "radians") > math.pi:
            raise InputError(f"`tolerance` must be at most pi radians, half a turn, got {self.tolerance!r}")
        if self.tolerance <= self._move / 2:
            raise InputError(
                f"`tolerance` must be above half a move of speed * dt = {self._move:.3g} radians, got "
                f"{self.tolerance!r}: choose a smaller dt or speed"
            )

    @property
    def _move(self) -> float:
        """How far the hand moves in a step, in radians."""
        return self.speed * self.dt / 1000

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of the wanted displacements that lie within the tolerance of a fixed one.

        All from minus to plus half a turn are equally likely; those beyond reach are cut to the ends of it.
        """
        shortest = self.steps(as_distribution(self.response, "response").bounds()[0])
        reach = min(math.pi, shortest * self._move)
        if self.tolerance >= reach:
            return 1.0
        return min(1.0, self.tolerance / math.pi + (math.pi - reach) / TURN)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and two rings."""
        return 1 + 2 * self.n_ring

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *(f"{ring}_{k}" for ring in ("self", "target") for k in range(self.n_ring)))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("stay", "left", "right")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 96, "activation": "tanh"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.9,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return where the hand starts and where the target is."""
        return {"start_direction": Direction(), "target_direction": Direction()}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the shorter way, signed, and its side beside the factors."""
        back = conditions["start_direction"] - conditions["target_direction"]
        way = math.pi - (back + math.pi) % TURN
        # Rounding must not turn half a turn to the left into one to the right.
        way = np.where(way < 1e-9 - math.pi, way + TURN, way)
        return {**conditions, "way": way, "side": np.where(way < 0, "right", "left")}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the hand until it moves and the target from the stimulus on."""
        places = np.array([conditions["start_direction"], conditions["target_direction"]])
        hand, target = bump(places, self.n_ring).astype(np.float32)
        table = self.table(timeline.n_trials, self.n_inputs)
        table[:, :2, 0] = 1
        table[:, :2, 1 : 1 + self.n_ring] = hand[:, None]
        table[:, 1:, 1 + self.n_ring :] = target[:, None]
        inputs = self.over_time(table, timeline)
        if self.noise_std > 0:
            # Noise for all channels in one piece, as the rings are nearly all of them.
            noise = normals(inputs.shape, rng, self.step_noise)
            noise[..., 0] = 0
            inputs += noise
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return each step's move: to the shorter side until the hand is nearest, shape (trial, time)."""
        way = conditions["way"]
        begin = timeline.start["response"]
        stop = np.minimum(begin + np.rint(np.abs(way) / self._move).astype(int), timeline.end)
        targets = np.full((timeline.n_trials, timeline.n_steps), STAY)
        moves = zip(targets, begin.tolist(), stop.tolist(), np.where(way < 0, RIGHT, LEFT), strict=True)
        for own, first, last, side in moves:
            own[first:last] = side
        return targets

    def moves(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the moves that outputs make: 1 left, -1 right, 0 none, shape (trial, time)."""
        chosen = outputs.argmax(axis=2)
        return ((chosen == LEFT).astype(int) - (chosen == RIGHT)) * trials.valid

    def reached(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return where the hand is at the end of the trial, in radians, shape (trial,)."""
        travelled = self.moves(outputs, trials).sum(axis=1) * self._move
        return (trials.conditions["start_direction"] + travelled) % TURN

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial in which the hand rests, then moves and ends at the target, else 0."""
        timeline = trials.timeline
        reach = timeline.length("response") * self._move
        goal = trials.conditions["start_direction"] + np.clip(trials.conditions["way"], -reach, reach)
        near = angular_distance(self.reached(outputs, trials), goal) < self.tolerance
        early = (self.moves(outputs, trials) != 0) & timeline.before("response")
        return (near & ~early.any(axis=1)).astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the target alone, at 0 radians, as during the movement."""
        inputs = np.zeros(self.n_inputs)
        inputs[1 + self.n_ring :] = bump(np.array(0.0), self.n_ring)
        return {"response, target at 0": inputs}
