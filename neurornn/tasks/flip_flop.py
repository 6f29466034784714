"""The flip-flop: several bits held at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from neurornn.tasks.distributions import Choice, Distribution
from neurornn.tasks.task import Recipe, Task
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_count, need_positive

MOST_BITS = 10_000
"""More would not fit into memory, where two numbers are stored for each step."""


@dataclass(frozen=True)
class FlipFlop(Task):
    """Hold the sign of the last pulse on each of several channels.

    Story
        Brief pulses of +1 or -1 arrive at random on each channel; the output of a channel must stay at the
        sign of its last pulse until another one comes. With n bits the network needs 2^n memories.

    Inputs
        ========== ============================================
        channel    meaning
        ========== ============================================
        ``bit_k``  +1 or -1 for one step at a pulse, otherwise 0
        ========== ============================================

    Targets
        ``bit_k``: the sign of the last pulse on input ``bit_k``. The pulse's own step and the next one are
        masked, so that the network has one step to flip.

    Epochs
        None: the whole trial is memory. Every channel has a pulse in the first step; the condition
        ``first_pattern`` names their signs, as in ``"+-+"``.

    Scoring
        Share of unmasked entries whose output has the target's sign.

    Constant inputs
        Zero, the input between pulses.

    Recipe
        `RateRNN` of 64 tanh units without leak, 1500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    n_bits : int
        Number of channels; 3 as in the paper.
    duration : float
        Length of a trial in ms.
    pulse_probability : float
        Chance of a pulse per channel and step; .05 gives a memory of 20 steps on average.
    dt : float
        Time step in ms.

    References
    ----------
    Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in high-dimensional
    recurrent neural networks. Neural Computation 25, 626-649. doi:10.1162/NECO_a_00409

    Examples
    --------
    >>> task = FlipFlop(n_bits=3)
    >>> trials = task.draw(5, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.targets.shape
    ((5, 100, 3), (5, 100, 3))
    >>> float(task.score(trials.ideal_outputs(), trials).min())
    1.0
    """

    n_bits: int = 3
    duration: float = 1000.0
    pulse_probability: float = 0.05
    dt: float = 10.0

    def __post_init__(self) -> None:
        if need_count(self.n_bits, "n_bits") > MOST_BITS:
            raise InputError(f"`n_bits` must be at most {MOST_BITS}, got {self.n_bits}: choose fewer")
        need_positive(self.dt, "dt", "ms")
        need_positive(self.duration, "duration", "ms")
        if self.steps(self.duration) < 3:
            raise InputError(
                f"`duration` must hold at least 3 steps of dt = {self.dt} ms (two are masked after a pulse), "
                f"got {self.duration} ms: lengthen it"
            )
        if need_at_least_zero(self.pulse_probability, "pulse_probability") >= 1:
            raise InputError(f"`pulse_probability` must be in [0, 1), got {self.pulse_probability!r}")

    average_by = ("first_pattern",)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: one per bit."""
        return self.n_bits

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: one per bit."""
        return self.n_bits

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return tuple(f"bit_{k}" for k in range(self.n_bits))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return self.input_labels

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.9999,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the signs of the first pulses."""
        return {"first_pattern": Choice(*map("".join, product("+-", repeat=self.n_bits)))}

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        return self.make(need_count(n_trials, "n_trials"), {}, rng)

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials; the first pulses have the signs that are given, or any."""
        n_steps = self.steps(self.duration)
        # Time last, so that the steps of a channel lie in a row and start with a pulse.
        pulse = rng.random((self.n_bits, n_trials, n_steps), dtype=np.float32) < self.pulse_probability
        pulse[..., 0] = True
        at = np.flatnonzero(pulse)
        sign = (2 * rng.integers(2, size=at.size, dtype=np.int8) - 1).astype(np.float32)
        starts = np.arange(0, pulse.size, n_steps).reshape(self.n_bits, n_trials)
        first = np.ascontiguousarray(np.searchsorted(at, starts).T)
        if conditions:
            given = conditions["first_pattern"].astype(f"<U{self.n_bits}")
            sign[first] = np.where(given.view("<U1").reshape(first.shape) == "+", 1, -1)
        # One character per bit, glued to one string per trial by looking at the same bytes another way.
        pattern = np.where(sign[first] > 0, "+", "-").view(f"<U{self.n_bits}")[:, 0]
        shown, asked = np.zeros(pulse.size, np.float32), np.ones(pulse.size, np.float32)
        shown[at] = sign
        # The step after a channel's last one is the next channel's first, which has a pulse of its own.
        asked[at] = asked[np.minimum(at + 1, pulse.size - 1)] = 0
        held = np.repeat(sign, np.diff(at, append=pulse.size))
        rows = [own.reshape(pulse.shape) for own in (shown, held, asked)]
        inputs, targets, mask = np.empty((3, n_trials, n_steps, self.n_bits), np.float32)
        for array, own in zip((inputs, targets, mask), rows, strict=True):
            for bit in range(self.n_bits):
                array[..., bit] = own[bit]
        return Trials(self, inputs=inputs, targets=targets, mask=mask, conditions={"first_pattern": pattern})

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of unmasked entries with the right sign, shape (trial,)."""
        asked = trials.mask > 0
        right = (np.sign(outputs) == trials.targets) & asked
        return right.sum(axis=(1, 2)) / np.maximum(asked.sum(axis=(1, 2)), 1)
