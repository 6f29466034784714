"""Integration: evidence, a heading and a position, each the running sum of what comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Uniform
from neurornn.tasks.rings import TURN, Direction, angular_distance
from neurornn.tasks.task import Recipe, Task
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice, need_positive

CHANCE_TRIALS = 2000
"""Trials that are drawn to find how well a fixed output can do."""
MOTIONS = ("direction", "velocity")
NEGLIGIBLE = 1e-12
"""Below this, a share of a number is nothing in single precision."""


def _smooth_noise(shape: tuple[int, ...], keep: float, std: float, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian noise along time, the last axis, whose correlation falls by `keep` a step; float32."""
    # In memory time is the first axis, so that a shift along it leaves long rows.
    noise = rng.standard_normal((shape[-1], *shape[:-1]), dtype=np.float32)
    # The first value has the full variance at once, or the noise would have to grow into it.
    noise[0] *= std
    noise[1:] *= std * math.sqrt(1 - keep**2)
    lag, weight = 1, keep
    # Each pass doubles how far back a value reaches, which takes less time than to go step by step.
    while lag < shape[-1] and weight > NEGLIGIBLE:
        noise[lag:] += weight * noise[:-lag]
        lag, weight = 2 * lag, weight**2
    return noise.transpose(*range(1, len(shape)), 0)


def _from_nearest_whole(numbers: np.ndarray) -> np.ndarray:
    """Return how far numbers lie from the nearest whole one, from -1/2 to 1/2."""
    nearest = np.rint(numbers)
    return np.subtract(numbers, nearest, out=nearest)


def _angles(turns: np.ndarray) -> np.ndarray:
    """Return whole turns and parts of them as angles in radians, float32.

    Within half a turn of zero single precision suffices, in which a cosine takes a tenth of the time.
    """
    return _from_nearest_whole(turns).astype(np.float32) * np.float32(TURN)


def _keep(time_constant: float, dt: float) -> float:
    """Return what is left after a step of what decays with a time constant in ms; 0 for none."""
    return math.exp(-dt / time_constant) if time_constant > 0 else 0.0


def _need_steps(task: Task, duration: float) -> None:
    need_positive(task.dt, "dt", "ms")
    need_positive(duration, "duration", "ms")
    if task.steps(duration) < 2:
        raise InputError(
            f"`duration` must hold at least 2 steps of dt = {task.dt} ms, got {duration} ms: lengthen it"
        )


@dataclass(frozen=True)
class EvidenceIntegrator(Task):
    """Tell at every moment the sum of all evidence so far.

    Story
        Noisy evidence flickers around a constant drift, then stops. The output must be its running integral
        at every moment, and hold it once the evidence has stopped: the network has to be a line attractor.
        With a bound, the integral stays where it is as soon as it reaches the bound on either side.

    Inputs
        ============ ==========================================================
        channel      meaning
        ============ ==========================================================
        ``evidence`` the drift plus noise during the stimulus, 0 in the delay
        ============ ==========================================================

        Noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        ``integral``: sum of the evidence so far, this step's included, times dt / ``time_constant``; where
        there is a bound, plus or minus the bound from the step on at which the sum is at it or beyond.

    Epochs
        ``stimulus`` 1000, ``delay`` 500 ms.

    Scoring
        Share of steps at which the output is within ``tolerance`` of the integral. Chance is what the best
        output that is the same in all trials would get: the share of 2000 trials within ``tolerance`` of it,
        step by step.

    Constant inputs
        ``no evidence``: zero, under which every value must be held.

    Recipe
        `RateRNN` of 64 tanh units, tau 100 ms, small input weights at first (gain .1, as evidence is large
        beside what one step adds), 1000 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    drifts : tuple of float
        Means of the evidence, equally likely.
    stimulus, delay : float
        Durations in ms; ``delay`` may be 0.
    time_constant : float
        Time in ms in which evidence of 1 raises the integral by 1.
    bound : float
        Height at which the integral is held for the rest of the trial; 0: none.
    tolerance : float
        Largest error of a right output.
    noise_std : float
        Noise of the evidence in units of sqrt(ms).
    dt : float
        Time step in ms.

    References
    ----------
    Seung, H. S. (1996). How the brain keeps the eyes still. Proceedings of the National Academy of Sciences
    93, 13339-13344. doi:10.1073/pnas.93.23.13339

    Kiani, R., Hanks, T. D. & Shadlen, M. N. (2008). Bounded integration in parietal cortex underlies
    decisions even when viewing duration is dictated by the environment. Journal of Neuroscience 28,
    3017-3029. doi:10.1523/JNEUROSCI.4761-07.2008 (the bound)

    Examples
    --------
    >>> task = EvidenceIntegrator(drifts=(0.5,), noise_std=0)
    >>> trials = task.draw(1, np.random.default_rng(0))
    >>> trials.targets[0, [0, 24, 49, 74], 0].round(3).tolist()
    [0.019999999552965164, 0.5, 1.0, 1.0]
    """

    drifts: tuple[float, ...] = (-0.5, -0.25, 0.0, 0.25, 0.5)
    stimulus: float = 1000.0
    delay: float = 500.0
    time_constant: float = 500.0
    bound: float = 0.0
    tolerance: float = 0.1
    noise_std: float = 5.0
    dt: float = 20.0

    n_inputs = 1
    n_outputs = 1
    average_by = ("drift",)
    accuracy_by = ("drift",)

    def __post_init__(self) -> None:
        need_positive(self.dt, "dt", "ms")
        need_positive(self.stimulus, "stimulus", "ms")
        need_at_least_zero(self.delay, "delay", "ms")
        need_positive(self.time_constant, "time_constant", "ms")
        need_at_least_zero(self.bound, "bound")
        need_positive(self.tolerance, "tolerance")
        need_at_least_zero(self.noise_std, "noise_std")
        if self.steps(self.stimulus) < 1:
            raise InputError(
                f"`stimulus` must last at least 1 step of dt = {self.dt} ms, got {self.stimulus} ms: "
                "lengthen it"
            )
        drifts = np.asarray(self.drifts)
        fits = drifts.ndim == 1 and drifts.size > 0 and drifts.dtype.kind in "iuf"
        if not (fits and np.isfinite(drifts).all()):
            raise InputError(
                f"`drifts` must be finite numbers, got {self.drifts!r}: give a tuple, as (-1, 1)"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("evidence",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("integral",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh", "tau": 100.0, "input_gain": 0.1},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.97,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Mean share of trials within ``tolerance`` of the best output that is the same in all of them."""
        targets = self.draw(CHANCE_TRIALS, np.random.default_rng(0)).targets[..., 0].astype(float)
        ordered = np.sort(targets, axis=0).T
        # The best output has its lowest trial at the window's lower edge.
        within = [np.searchsorted(own, own + 2 * self.tolerance, side="right") for own in ordered]
        return float((np.array(within) - np.arange(CHANCE_TRIALS)).max(axis=1).mean() / CHANCE_TRIALS)

    @property
    def chance_loss(self) -> float | None:
        """Mean variance of the integral, drift and noise together; not known with a bound."""
        if self.bound > 0:
            return None
        n_stimulus = self.steps(self.stimulus)
        summed = np.minimum(np.arange(n_stimulus + self.steps(self.delay)) + 1, n_stimulus)
        per_step = self.noise_std**2 / self.dt
        variance = np.var(self.drifts) * summed**2 + per_step * summed
        return float(variance.mean() * (self.dt / self.time_constant) ** 2)

    def factors(self) -> dict[str, Distribution]:
        """Return the drift."""
        return {"drift": Choice(*map(float, self.drifts))}

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials of the given drifts."""
        n_stimulus = self.steps(self.stimulus)
        n_steps = n_stimulus + self.steps(self.delay)
        inputs = np.zeros((n_trials, n_steps), np.float32)
        evidence = rng.standard_normal((n_trials, n_stimulus), dtype=np.float32)
        evidence *= self.noise_std / math.sqrt(self.dt)
        evidence += conditions["drift"].astype(np.float32)[:, None]
        inputs[:, :n_stimulus] = evidence
        # Summed in double precision, and from what is shown in single.
        integral = np.cumsum(inputs, axis=1, dtype=float)
        integral *= self.dt / self.time_constant
        if self.bound > 0:
            beyond = np.abs(integral) >= self.bound
            first = np.where(beyond.any(axis=1), beyond.argmax(axis=1), n_steps)
            reached = np.sign(integral[np.arange(n_trials), np.minimum(first, n_steps - 1)])
            held = np.arange(n_steps) >= first[:, None]
            integral = np.where(held, self.bound * reached[:, None], integral)
        return Trials(
            self,
            inputs=inputs[..., None],
            targets=integral[..., None],
            mask=np.ones_like(inputs)[..., None],
            conditions={**conditions, "integral": integral[:, -1]},
            epochs={"stimulus": (0, n_stimulus), "delay": (n_stimulus, n_steps)},
        )

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of steps within the tolerance, shape (trial,)."""
        error = np.abs(outputs - trials.targets)[..., 0]
        return (error <= self.tolerance).mean(axis=1)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return no evidence."""
        return {"no evidence": np.zeros(1)}


@dataclass(frozen=True)
class AngleIntegration(Task):
    """Keep track of a heading from its beginning and how fast it turns.

    Story
        An animal is shown its heading once, and from then on only feels how fast its head turns. The output
        must tell the heading at every moment: a ring of memories, and a way to move along it.

    Inputs
        ============== =============================================================
        channel        meaning
        ============== =============================================================
        ``start_cos``  cosine of the first heading in the first step, otherwise 0
        ``start_sin``  its sine in the first step, otherwise 0
        ``velocity``   turn since the step before, divided by dt, in radians per second
        ============== =============================================================

        The velocity is smooth Gaussian noise of mean 0, 0 in the first step; Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` per step may be put on it as it is shown.

    Targets
        ``cos`` and ``sin`` of the heading.

    Epochs
        None.

    Scoring
        Share of steps at which the output's direction is within ``tolerance`` of the heading; an output of
        (0, 0) has no direction and is wrong. Headings are uniform at every step, so that chance is
        ``tolerance`` / pi.

    Constant inputs
        ``standing still``: zero, under which every heading must be held.

    Recipe
        `RateRNN` of 100 tanh units, tau 100 ms, small input weights at first (gain .3), 1500 steps of Adam at
        2e-3 with 64 trials each.

    Parameters
    ----------
    duration : float
        Length of a trial in ms.
    velocity_std : float
        Standard deviation of the turning velocity in radians per second.
    time_constant : float
        Time in ms in which the velocity's correlation falls to 1 / e; 0: each step has a velocity of its own.
    tolerance : float
        Largest error of a right output in radians.
    noise_std : float
        Noise of the shown velocity, in units of sqrt(ms) times radians per second.
    dt : float
        Time step in ms.

    References
    ----------
    Skaggs, W. E., Knierim, J. J., Kudrimoti, H. S. & McNaughton, B. L. (1995). A model of the neural basis of
    the rat's sense of direction. Advances in Neural Information Processing Systems 7, 173-180.

    Cueva, C. J., Wang, P. Y., Chin, M. & Wei, X.-X. (2020). Emergence of functional and structural properties
    of the head direction system by optimization of recurrent neural networks. International Conference on
    Learning Representations. doi:10.48550/arXiv.1912.10189

    Examples
    --------
    >>> trials = AngleIntegration().draw(1, np.random.default_rng(0))
    >>> turned = trials.inputs[0, :, 2].sum() * 20 / 1000
    >>> end = trials.conditions["initial_direction"] + turned
    >>> bool(np.allclose(np.cos(end), trials.targets[0, -1, 0], atol=1e-4))
    True
    """

    duration: float = 2000.0
    velocity_std: float = 2.0
    time_constant: float = 200.0
    tolerance: float = 0.1 * math.pi
    noise_std: float = 0.0
    dt: float = 20.0

    n_inputs = 3
    n_outputs = 2
    chance_loss = 0.5

    def __post_init__(self) -> None:
        _need_steps(self, self.duration)
        need_positive(self.velocity_std, "velocity_std", "radians per second")
        need_at_least_zero(self.time_constant, "time_constant", "ms")
        need_at_least_zero(self.noise_std, "noise_std")
        if need_positive(self.tolerance, "tolerance", "radians") >= math.pi:
            raise InputError(
                f"`tolerance` must be below pi, the largest error there is, got {self.tolerance!r}: lower it"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("start_cos", "start_sin", "velocity")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("cos", "sin")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 100, "activation": "tanh", "tau": 100.0, "input_gain": 0.3},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of the circle that is within ``tolerance`` of any direction."""
        return self.tolerance / math.pi

    def factors(self) -> dict[str, Distribution]:
        """Return the first heading."""
        return {"initial_direction": Direction()}

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials that begin at the given headings."""
        shape = (n_trials, self.steps(self.duration))
        velocity = _smooth_noise(shape, _keep(self.time_constant, self.dt), self.velocity_std, rng)
        velocity[:, 0] = 0
        # Summed in double precision, and from what is shown in single.
        turned = np.cumsum(velocity, axis=1, dtype=float)
        turned *= self.dt / 1000 / TURN
        turned += (conditions["initial_direction"] / TURN)[:, None]
        heading = _angles(turned)
        targets = np.empty((*shape, 2), np.float32)
        targets[..., 0], targets[..., 1] = np.cos(heading), np.sin(heading)
        inputs = np.zeros((*shape, 3), np.float32)
        inputs[:, 0, :2] = targets[:, 0]
        inputs[..., 2] = velocity
        if self.noise_std > 0:
            noise = rng.standard_normal((n_trials, shape[1] - 1), dtype=np.float32)
            inputs[:, 1:, 2] += noise * (self.noise_std / math.sqrt(self.dt))
        return Trials(
            self,
            inputs=inputs,
            targets=targets,
            mask=np.ones_like(targets),
            conditions={**conditions, "final_direction": turned[:, -1] % 1 * TURN},
        )

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of steps that point within the tolerance of the heading, shape (trial,)."""
        outputs = np.asarray(outputs, float)
        pointed = np.arctan2(outputs[..., 1], outputs[..., 0])
        heading = np.arctan2(trials.targets[..., 1], trials.targets[..., 0])
        right = angular_distance(pointed, heading) <= self.tolerance
        return (right & outputs.any(axis=2)).mean(axis=1)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of an animal that stands still."""
        return {"standing still": np.zeros(3)}


@dataclass(frozen=True)
class PathIntegration(Task):
    """Keep track of a position in a box from its beginning and one's own motion.

    Story
        An animal is shown once where it is, and from then on only feels how fast and in which direction it
        moves. The output must tell the position at every moment. It walks smoothly, and a wall sends it back
        as a mirror does light.

    Inputs
        =================== ================================================================
        channel             meaning
        =================== ================================================================
        ``start_x``         first position in the first step, otherwise 0
        ``start_y``         the same along the other side
        ``speed``           way since the step before, divided by dt, in metres per second
        ``direction_cos``   cosine of the direction of that way, 0 where there is none
        ``direction_sin``   its sine
        =================== ================================================================

        With ``motion="velocity"``, ``velocity_x`` and ``velocity_y`` stand in place of the last three.
        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` per step may be put on the velocity.

    Targets
        ``x`` and ``y``: the position in metres, from 0 to ``side``.

    Epochs
        None.

    Scoring
        Share of steps at which the output is within ``tolerance`` times ``side`` of the position. Positions
        are uniform in the box at every step, so that chance is at most pi ``tolerance`` ^ 2.

    Constant inputs
        ``standing still``: zero, under which every position must be held.

    Recipe
        `RateRNN` of 100 relu units, tau 100 ms, small input weights at first (gain .3), 1500 steps of Adam at
        2e-3 with 64 trials each.

    Parameters
    ----------
    duration : float
        Length of a trial in ms.
    side : float
        Side of the square box in metres.
    mean_speed : float
        Mean speed in metres per second; speeds have a Rayleigh distribution.
    turning : float
        How fast the direction of motion wanders: its standard deviation after a second, in radians.
    time_constant : float
        Time in ms in which the memory of the speed fades; 0: each step has a speed of its own.
    motion : {"direction", "velocity"}
        Whether the motion is shown as speed and direction or as velocity along each side.
    tolerance : float
        Largest error of a right output, as a share of the side.
    noise_std : float
        Noise of the shown motion in units of sqrt(ms) times metres per second.
    dt : float
        Time step in ms.

    References
    ----------
    Cueva, C. J. & Wei, X.-X. (2018). Emergence of grid-like representations by training recurrent neural
    networks to perform spatial localization. International Conference on Learning Representations.
    doi:10.48550/arXiv.1803.07770

    Examples
    --------
    >>> task = PathIntegration(motion="velocity")
    >>> trials = task.draw(1, np.random.default_rng(0))
    >>> walked = trials.inputs[0, :, :2].sum(axis=0) + trials.inputs[0, :, 2:].sum(axis=0) * 20 / 1000
    >>> bool(np.allclose(walked, trials.targets[0, -1], atol=1e-5))
    True
    """

    duration: float = 2000.0
    side: float = 1.0
    mean_speed: float = 0.5
    turning: float = 2.0
    time_constant: float = 200.0
    motion: str = "direction"
    tolerance: float = 0.1
    noise_std: float = 0.0
    dt: float = 20.0

    n_outputs = 2

    def __post_init__(self) -> None:
        _need_steps(self, self.duration)
        need_positive(self.side, "side", "metres")
        need_positive(self.mean_speed, "mean_speed", "metres per second")
        need_at_least_zero(self.turning, "turning", "radians")
        need_at_least_zero(self.time_constant, "time_constant", "ms")
        need_choice(self.motion, "motion", MOTIONS)
        need_at_least_zero(self.noise_std, "noise_std")
        if need_positive(self.tolerance, "tolerance") > 0.5:
            raise InputError(
                f"`tolerance` must be at most .5, which is the whole box from its middle to its walls, "
                f"got {self.tolerance!r}: give a share of the side"
            )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels."""
        return len(self.input_labels)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        if self.motion == "velocity":
            return ("start_x", "start_y", "velocity_x", "velocity_y")
        return ("start_x", "start_y", "speed", "direction_cos", "direction_sin")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("x", "y")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 100, "activation": "relu", "tau": 100.0, "input_gain": 0.3},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of the box that is within the tolerance of a place away from the walls."""
        return math.pi * self.tolerance**2

    @property
    def chance_loss(self) -> float:
        """Variance of a position that is uniform along a side."""
        return self.side**2 / 12

    def factors(self) -> dict[str, Distribution]:
        """Return the first position."""
        return {"start_x": Uniform(0.0, self.side), "start_y": Uniform(0.0, self.side)}

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials that begin at the given positions."""
        shape = (n_trials, self.steps(self.duration))
        start = np.array([conditions["start_x"], conditions["start_y"]], float).T
        position = self._walk(start, shape[1], rng)
        velocity = (position[:, 1:] - position[:, :-1]).astype(np.float32)
        velocity *= 1000 / self.dt
        if self.noise_std > 0:
            noise = rng.standard_normal(velocity.shape, dtype=np.float32)
            velocity += noise * (self.noise_std / math.sqrt(self.dt))
        along_x, along_y = velocity[..., 0], velocity[..., 1]
        targets = np.empty((*shape, 2), np.float32)
        inputs = np.zeros((*shape, self.n_inputs), np.float32)
        # Channel by channel, since NumPy takes its time over rows of two numbers.
        targets[..., 0], targets[..., 1] = position[..., 0], position[..., 1]
        inputs[:, 0, :2] = start
        if self.motion == "velocity":
            inputs[:, 1:, 2], inputs[:, 1:, 3] = along_x, along_y
        else:
            speed = np.sqrt(along_x**2 + along_y**2)
            inputs[:, 1:, 2] = speed
            divisor = np.maximum(speed, np.finfo(np.float32).tiny)
            inputs[:, 1:, 3], inputs[:, 1:, 4] = along_x / divisor, along_y / divisor
        return Trials(
            self,
            inputs=inputs,
            targets=targets,
            mask=np.ones_like(targets),
            conditions={**conditions, "final_x": position[:, -1, 0], "final_y": position[:, -1, 1]},
        )

    def _walk(self, start: np.ndarray, n_steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return positions in the box, shape (trial, time, 2)."""
        shape = len(start), n_steps
        # Ways are told in the distance from a wall's image to the next. The length of a vector of two
        # independent normal numbers has a Rayleigh distribution.
        images = 2 * self.side
        std = self.mean_speed * math.sqrt(2 / math.pi) * self.dt / 1000 / images
        pair = _smooth_noise((2, *shape), _keep(self.time_constant, self.dt), std, rng)
        length = np.ascontiguousarray(np.sqrt(pair[0] ** 2 + pair[1] ** 2))
        turns = rng.standard_normal(shape, dtype=np.float32)
        turns *= self.turning * math.sqrt(self.dt / 1000) / TURN
        turns[:, 0] = rng.random(len(start))
        direction = _angles(np.cumsum(turns, axis=1, dtype=float))
        way = np.empty((2, *shape), np.float32)
        np.multiply(np.cos(direction), length, out=way[0])
        np.multiply(np.sin(direction), length, out=way[1])
        way[..., 0] = 0
        free = np.cumsum(way, axis=2, dtype=float)
        free += (start.T / images)[..., None]
        # Folding the plane at the walls is what reflection does, whatever the number of walls met.
        position = _from_nearest_whole(free)
        np.abs(position, out=position)
        position *= images
        return position.transpose(1, 2, 0)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of steps within the tolerance of the position, shape (trial,)."""
        apart = np.asarray(outputs, float) - trials.targets
        return (np.hypot(apart[..., 0], apart[..., 1]) <= self.tolerance * self.side).mean(axis=1)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of an animal that stands still."""
        return {"standing still": np.zeros(self.n_inputs)}
