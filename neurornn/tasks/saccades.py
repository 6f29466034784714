"""Saccades and reaches to a direction on a ring: remembered, or opposite to what is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform
from neurornn.tasks.rings import START_GRACE, TURN, Direction, RingTask, sector
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_count, need_positive

RULES = ("pro", "anti")
HELD = 0.5
"""Fixation output above which the gaze is held."""


class SaccadeTask(RingTask):
    """One saccade a trial: fixation is held until the response, then left for the target's direction.

    A subclass has a field ``tolerance``, and fields ``n_ring`` and durations as `RingTask` says. Unlike that
    class's own score, this one asks for fixation too, and for a precision that the user sets.
    """

    tolerance: float = math.pi / 8
    """Largest angular error in radians of a right saccade."""
    average_by: ClassVar[tuple[str, ...]] = ("target_sector",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if need_positive(self.tolerance, "tolerance", "radians") > math.pi:
            raise InputError(f"`tolerance` must be at most pi radians, half a turn, got {self.tolerance!r}")

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of all directions that lie within the tolerance of a fixed one."""
        return self.tolerance / math.pi

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the target beside the factors, and that it must be looked at in every trial."""
        direction = self.target_direction(conditions)
        return {
            **conditions,
            "target_direction": direction,
            "target_sector": sector(direction),
            "respond": np.ones(n_trials, bool),
        }

    def target_direction(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return where the saccade must go, in radians, shape (trial,)."""
        return conditions["target_direction"]

    def held_fixation(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return in which trials fixation is held from 100 ms after the start to the response, (trial,)."""
        step = np.arange(trials.n_steps)
        asked = trials.timeline.before("response") & (step >= self.steps(START_GRACE))
        return np.asarray(((outputs[..., 0] > HELD) | ~asked).all(axis=1))

    def direction_error(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return how far the saccade lands from its target, from -pi to pi, shape (trial,).

        Counter-clockwise errors are positive. NaN where there is no saccade: where the fixation output is
        above .5 at the last step.
        """
        landed = self.response_direction(outputs, trials)
        return (landed - trials.conditions["target_direction"] + math.pi) % TURN - math.pi

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with fixation held and a saccade within the tolerance, else 0."""
        near = np.abs(self.direction_error(outputs, trials)) < self.tolerance
        return (near & self.held_fixation(outputs, trials)).astype(float)


@dataclass(frozen=True)
class RingMemory(SaccadeTask):
    """Hold a direction, any direction, in mind, and report it as precisely as possible.

    Story
        A direction is shown for a moment, or several at once in different colours. After a delay of varying
        length the remembered one must be reported; of several, a probe of the same colour tells which one.
        As any direction can come, the memory is a continuum, a ring of states (a bump of activity in the
        models cited), and noise lets it drift. `DelayedSaccade` is the experiment behind it: eight fixed
        places, which eight separate memories would serve, and delays of seconds.

    Inputs
        ============= ==========================================================================
        channel       meaning
        ============= ==========================================================================
        ``fixation``  1 until the response, then 0
        ``ring_k``    bump of height .8 at the direction during the stimulus, otherwise 0
        ``probe_k``   1 in the response if item k is asked for; only where there are several items
        ============= ==========================================================================

        Several items have a ring each, ``ring_1_k``, ``ring_2_k`` and so on. Ring channels have noise of
        standard deviation ``noise_std / sqrt(dt)`` per step throughout the trial.

    Targets
        ``fixation``: .8 until the response, then .05. ``ring_k``: .05 until the response, then .05 and a bump
        of height .8 at the remembered direction. The squared error weighs nothing in the first 100 ms of
        the trial and of the response, 25 in the rest of the response, else 1; that of the fixation output
        4 times as much.

    Epochs
        ``fixation`` 300, ``stimulus`` 300, ``delay`` 500 to 2500, ``response`` 400 ms.

    Scoring
        1 where the fixation output stays above .5 from 100 ms after the start until the response, is at most
        .5 at the last step, and the direction of the ring's population vector is then less than
        ``tolerance`` from the target. One fixed answer has a chance of tolerance / pi, 1 in 18 by default.
        `direction_error` tells the signed error of each report, whose spread grows with a drifting memory.

    Constant inputs
        ``fixation cue``: what is seen in the delay.

    Recipe
        `RateRNN` of 96 relu units without leak whose recurrent weights begin as the identity, so that what
        comes in stays, 1000 steps of Adam at 1e-3 with 64 trials each. Tanh units with the default
        weights learned nothing of the direction in as many steps.

    Parameters
    ----------
    n_items : int
        How many directions are shown at once.
    n_ring : int
        Units of each ring.
    tolerance : float
        Largest angular error of a right report in radians.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Compte, A., Brunel, N., Goldman-Rakic, P. S. & Wang, X.-J. (2000). Synaptic mechanisms and network
    dynamics underlying spatial working memory in a cortical network model. Cerebral Cortex 10, 910-923.
    doi:10.1093/cercor/10.9.910

    Wimmer, K., Nykamp, D. Q., Constantinidis, C. & Compte, A. (2014). Bump attractor dynamics in prefrontal
    cortex explains behavioral precision in spatial working memory. Nature Neuroscience 17, 431-439.
    doi:10.1038/nn.3645

    Examples
    --------
    >>> task = RingMemory()
    >>> trials = task.draw(3, np.random.default_rng(0))
    >>> trials.inputs.shape[2], trials.targets.shape[2]
    (33, 33)
    >>> bool(np.abs(task.direction_error(trials.ideal_outputs(), trials)).max() < 1e-4)
    True
    """

    n_items: int = 1
    n_ring: int = 32
    tolerance: float = math.pi / 18
    fixation: Duration = 300.0
    stimulus: Duration = 300.0
    delay: Duration = Uniform(500.0, 2500.0)
    response: Duration = 400.0
    noise_std: float = 0.3
    timing: str = "trial"
    dt: float = 50.0

    epoch_order = ("fixation", "stimulus", "delay", "response")

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_items, "n_items")

    @property
    def n_input_rings(self) -> int:  # type: ignore[override]
        """Rings of inputs: one for each item."""
        return self.n_items

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue, the rings and, of several items, a probe for each."""
        return 1 + self.n_items * self.n_ring + self._n_probes

    @property
    def _n_probes(self) -> int:
        return self.n_items if self.n_items > 1 else 0

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return (*super().input_labels, *(f"probe_{k}" for k in range(1, self._n_probes + 1)))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 96, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the items' directions and which item is asked for, from 1."""
        items = range(1, self.n_items + 1)
        directions: dict[str, Distribution] = {f"direction_{item}": Direction() for item in items}
        return {**directions, "probed": Choice(*items)}

    def target_direction(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the direction of the item that is asked for, in radians, shape (trial,)."""
        directions = [conditions[f"direction_{item}"] for item in range(1, self.n_items + 1)]
        return np.choose(conditions["probed"] - 1, directions)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue, the items and the probe."""
        inputs = self.fixating(timeline, rng)
        for ring in range(self.n_items):
            direction = conditions[f"direction_{ring + 1}"]
            self.add_direction(inputs, direction, timeline, "stimulus", ring=ring)
        for probe in range(self._n_probes):
            asked = conditions["probed"] == probe + 1
            inputs[..., probe - self._n_probes] = timeline.since("response") & asked[:, None]
        return inputs


@dataclass(frozen=True)
class DelayedSaccade(SaccadeTask):
    """Look, after a delay, at the place where a spot was flashed (memory-guided saccade).

    Story
        While the gaze is held at the centre, a spot is flashed at one of eight places around it. When the
        fixation point goes off, seconds later, the eyes must go where the spot was.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_k``   bump of height .8 at the place during the stimulus, otherwise 0
        ============ ===============================================================

        Ring channels have noise of standard deviation ``noise_std / sqrt(dt)`` per step throughout the trial.

    Targets
        ``fixation``: .8 until the response, then .05. ``ring_k``: .05 until the response, then .05 and a bump
        of height .8 at the place. The squared error weighs nothing in the first 100 ms of the trial and of
        the response, 25 in the rest of the response, else 1; that of the fixation output 4 times as much.

    Epochs
        ``fixation`` 500, ``stimulus`` 500, ``delay`` 1500, 3000 or 6000, ``response`` 500 ms.

    Scoring
        1 where the fixation output stays above .5 from 100 ms after the start until the response, is at most
        .5 at the last step, and the direction of the ring's population vector is then less than
        ``tolerance`` from the place: by default half the distance of two places, so that it counts which
        one is the nearest, and one fixed answer has a chance of 1 in 8.

    Constant inputs
        ``fixation cue``: what is seen in the delay.

    Recipe
        `RateRNN` of 64 tanh units without leak, 1000 steps of Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_directions : int
        Number of places, evenly spaced from 0 radians on; for any direction see `RingMemory`.
    n_ring : int
        Units of each ring.
    tolerance : float
        Largest angular error of a right saccade in radians.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Funahashi, S., Bruce, C. J. & Goldman-Rakic, P. S. (1989). Mnemonic coding of visual space in the monkey's
    dorsolateral prefrontal cortex. Journal of Neurophysiology 61, 331-349. doi:10.1152/jn.1989.61.2.331

    Examples
    --------
    >>> task = DelayedSaccade()
    >>> task.chance_score
    0.125
    >>> trials = task.factorial()
    >>> trials.n_trials, np.degrees(trials.conditions["target_direction"][:3]).round().tolist()
    (8, [0.0, 45.0, 90.0])
    """

    n_directions: int = 8
    n_ring: int = 16
    tolerance: float = math.pi / 8
    fixation: Duration = 500.0
    stimulus: Duration = 500.0
    delay: Duration = Choice(1500.0, 3000.0, 6000.0)
    response: Duration = 500.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 100.0

    epoch_order = ("fixation", "stimulus", "delay", "response")
    average_by = ("target_direction",)
    accuracy_by = ("delay_duration",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_directions, "n_directions", least=2)

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Largest share of the places that lie within the tolerance of one direction."""
        # An open arc of w spacings holds at most w places, rounded up; exactly w must not become w + 1.
        n_near = math.ceil(self.tolerance * self.n_directions / math.pi - 1e-9)
        return min(n_near, self.n_directions) / self.n_directions

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the place of the spot."""
        return {"target_direction": Choice(*Direction(self.n_directions).levels())}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the spot."""
        inputs = self.fixating(timeline, rng)
        self.add_direction(inputs, conditions["target_direction"], timeline, "stimulus")
        return inputs


class RuleSaccadeTask(SaccadeTask):
    """Go to the stimulus or to the place opposite, as one of two rule channels says.

    A subclass has a field ``rules``; the rule channels come last.
    """

    rules: tuple[str, ...] = RULES
    """Which rules there are trials of."""
    average_by = ("rule", "target_sector")
    accuracy_by = ("rule",)

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = isinstance(self.rules, tuple) and len(self.rules) > 0 and set(self.rules) <= set(RULES)
        if not fits:
            raise InputError(
                f"`rules` must be a tuple of {' and '.join(map(repr, RULES))}, got {self.rules!r}"
            )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue, the ring and the two rules."""
        return 1 + self.n_ring + len(RULES)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return (*super().input_labels, *RULES)

    def factors(self) -> dict[str, Distribution]:
        """Return the rule and where the stimulus is."""
        return {"rule": Choice(*self.rules), "stimulus_direction": Direction()}

    def target_direction(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the stimulus's direction or the opposite one, in radians, shape (trial,)."""
        turned = np.where(conditions["rule"] == "anti", math.pi, 0.0)
        return (conditions["stimulus_direction"] + turned) % TURN

    def show_rule(self, inputs: np.ndarray, conditions: Mapping[str, np.ndarray], during: np.ndarray) -> None:
        """Set the channel of the trial's rule to 1 in some steps, in place."""
        for channel, rule in enumerate(RULES, start=-len(RULES)):
            inputs[..., channel] = during & (conditions["rule"] == rule)[:, None]


@dataclass(frozen=True)
class AntiSaccade(RuleSaccadeTask):
    """Look at a spot at once or, by the rule shown before, away from it.

    Story
        The colour of the fixation point tells the rule. The point goes off, in some trials a moment (the gap)
        before the spot appears. The spot itself is the signal to go: a saccade must be made at once, to it
        (pro) or to the place opposite (anti). The rule is no longer visible by then, so that the answer to a
        stimulus yet unseen has to be prepared. In `AntiReach` the stimulus and the rule come together and
        the movement waits for a signal.

    Inputs
        ============ ==============================================================
        channel      meaning
        ============ ==============================================================
        ``fixation`` 1 until the gap, or the response where there is none, then 0
        ``ring_k``   bump of height .8 at the spot during the response, otherwise 0
        ``pro``      1 with the fixation cue in pro trials, otherwise 0
        ``anti``     1 with the fixation cue in anti trials, otherwise 0
        ============ ==============================================================

        Ring channels have noise of standard deviation ``noise_std / sqrt(dt)`` per step throughout the trial.

    Targets
        ``fixation``: .8 until the response, through the gap too, then .05. ``ring_k``: .05 until the
        response, then .05 and a bump of height .8 where the eyes must go. The squared error weighs nothing
        in the first 100 ms of the trial and of the response, 25 in the rest of the response, else 1; that
        of the fixation output 4 times as much.

    Epochs
        ``fixation`` 300 to 700, ``gap`` 0 or 200, ``response`` 400 ms.

    Scoring
        1 where the fixation output stays above .5 from 100 ms after the start until the response, is at most
        .5 at the last step, and the direction of the ring's population vector is then less than
        ``tolerance`` from the target. One fixed answer has a chance of tolerance / pi, 1 in 8 by default.

    Constant inputs
        ``pro`` and ``anti``: the fixation cue with the rule. ``gap``: nothing.

    Recipe
        `RateRNN` of 64 relu units without leak, whose recurrent weights begin as the identity, 1000 steps of
        Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    rules : tuple of str
        Which rules there are trials of.
    n_ring : int
        Units of each ring.
    tolerance : float
        Largest angular error of a right saccade in radians.
    fixation, gap, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Hallett, P. E. (1978). Primary and secondary saccades to goals defined by instructions. Vision Research
    18, 1279-1296. doi:10.1016/0042-6989(78)90218-3

    Munoz, D. P. & Everling, S. (2004). Look away: the anti-saccade task and the voluntary control of eye
    movement. Nature Reviews Neuroscience 5, 218-228. doi:10.1038/nrn1345

    Examples
    --------
    >>> task = AntiSaccade()
    >>> trials = task.draw(50, np.random.default_rng(0))
    >>> turned = trials.conditions["target_direction"] - trials.conditions["stimulus_direction"]
    >>> np.degrees(np.abs(turned[trials.conditions["rule"] == "anti"])).round().tolist()[:3]
    [180.0, 180.0, 180.0]
    """

    rules: tuple[str, ...] = RULES
    n_ring: int = 16
    tolerance: float = math.pi / 8
    fixation: Duration = Uniform(300.0, 700.0)
    gap: Duration = Choice(0.0, 200.0)
    response: Duration = 400.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 20.0

    epoch_order = ("fixation", "gap", "response")
    # Without a step that shows the rule there would be none.
    empty_epochs = ("gap",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue in the rule's colour and then, perhaps after a gap, the spot."""
        inputs, fixation = self.fixating(timeline, rng), timeline.during("fixation")
        inputs[..., 0] = fixation
        self.show_rule(inputs, conditions, fixation)
        self.add_direction(inputs, conditions["stimulus_direction"], timeline, "response")
        return inputs

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the fixation cue with each rule, and the empty input of the gap."""
        cue = super().constant_inputs()["fixation cue"]
        pro, anti = cue.copy(), cue.copy()
        pro[-2] = anti[-1] = 1
        return {"pro": pro, "anti": anti, "gap": np.zeros(self.n_inputs)}


@dataclass(frozen=True)
class AntiReach(RuleSaccadeTask):
    """Reach, after a delay, towards a cue or opposite to it, as the cue's colour says.

    Story
        A cue appears in some direction; its colour tells whether to reach there (pro) or to the opposite
        place (anti). Cue and colour vanish, and the reach must wait until the fixation cue goes off. In the
        delay either the cue or the goal of the reach can be held in mind: recordings show activity moving
        from the one to the other. In `AntiSaccade` the rule comes first and the stimulus is answered at
        once.

    Inputs
        ============ ==============================================================
        channel      meaning
        ============ ==============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_k``   bump of height .8 at the cue during the stimulus, otherwise 0
        ``pro``      1 during the stimulus in pro trials, otherwise 0
        ``anti``     1 during the stimulus in anti trials, otherwise 0
        ============ ==============================================================

        Ring channels have noise of standard deviation ``noise_std / sqrt(dt)`` per step throughout the trial.

    Targets
        ``fixation``: .8 until the response, then .05. ``ring_k``: .05 until the response, then .05 and a bump
        of height .8 where the reach must go. The squared error weighs nothing in the first 100 ms of the
        trial and of the response, 25 in the rest of the response, else 1; that of the fixation output 4
        times as much.

    Epochs
        ``fixation`` 500, ``stimulus`` 500, ``delay`` 500 to 1500, ``response`` 500 ms.

    Scoring
        1 where the fixation output stays above .5 from 100 ms after the start until the response, is at most
        .5 at the last step, and the direction of the ring's population vector is then less than
        ``tolerance`` from the target. One fixed answer has a chance of tolerance / pi, 1 in 8 by default.

    Constant inputs
        ``fixation cue``: what is seen in the delay.

    Recipe
        `RateRNN` of 96 relu units without leak whose recurrent weights begin as the identity, so that what
        comes in stays, 1000 steps of Adam at 1e-3 with 64 trials each. Tanh units with the default
        weights learned nothing of the direction in as many steps.

    Parameters
    ----------
    rules : tuple of str
        Which rules there are trials of; with ``("anti",)`` alone all reaches are opposite, as in the
        task of that name in NeuroGym (which has no rule channels).
    n_ring : int
        Units of each ring.
    tolerance : float
        Largest angular error of a right reach in radians.
    fixation, stimulus, delay, response : float or Distribution
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Crammond, D. J. & Kalaska, J. F. (1994). Modulation of preparatory neuronal activity in dorsal premotor
    cortex due to stimulus-response compatibility. Journal of Neurophysiology 71, 1281-1284.
    doi:10.1152/jn.1994.71.3.1281

    Examples
    --------
    >>> task = AntiReach()
    >>> task.n_inputs, task.n_outputs, task.input_labels[-2:]
    (35, 33, ('pro', 'anti'))
    """

    rules: tuple[str, ...] = RULES
    n_ring: int = 32
    tolerance: float = math.pi / 8
    fixation: Duration = 500.0
    stimulus: Duration = 500.0
    delay: Duration = Uniform(500.0, 1500.0)
    response: Duration = 500.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 50.0

    epoch_order = ("fixation", "stimulus", "delay", "response")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 96, "activation": "relu", "recurrent_initialisation": "identity"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the coloured cue."""
        inputs = self.fixating(timeline, rng)
        self.add_direction(inputs, conditions["stimulus_direction"], timeline, "stimulus")
        self.show_rule(inputs, conditions, timeline.during("stimulus"))
        return inputs
