"""Working memory: tasks in which something must be held while it is no longer there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.trials import Loss, Recipe, Task, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_count, need_positive


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
        need_count(self.n_bits, "n_bits")
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

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        shape = (need_count(n_trials, "n_trials"), self.steps(self.duration), self.n_bits)
        pulse = rng.random(shape, dtype=np.float32) < self.pulse_probability
        pulse[:, 0] = True
        sign = 2 * rng.integers(2, size=shape, dtype=np.int8) - 1
        step = np.arange(shape[1])[None, :, None]
        last_pulse = np.maximum.accumulate(np.where(pulse, step, 0), axis=1)
        # One character per bit, glued to one string per trial by looking at the same bytes another way.
        first = np.where(sign[:, 0] > 0, "+", "-").view(f"<U{self.n_bits}")[:, 0]
        mask = ~pulse
        mask[:, 1:] &= ~pulse[:, :-1]
        return Trials(
            self,
            inputs=np.where(pulse, sign, 0),
            targets=np.take_along_axis(sign, last_pulse, axis=1),
            mask=mask,
            conditions={"first_pattern": first},
        )

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of unmasked entries with the right sign, shape (trial,)."""
        asked = trials.mask > 0
        right = (np.sign(outputs) == trials.targets) & asked
        return right.sum(axis=(1, 2)) / np.maximum(asked.sum(axis=(1, 2)), 1)


@dataclass(frozen=True)
class DelayedComparison(ChoiceTask):
    """Compare two stimuli that are separated by a delay (parametric working memory).

    Story
        A vibration is felt, remembered through a delay of varying length, and compared with a second one:
        was the first or the second the larger?

    Inputs
        ============ ==============================================================
        channel      meaning
        ============ ==============================================================
        ``fixation`` 1 until the response, then 0
        ``stimulus`` (1 + (v - 10) / 24) / 2 while a stimulus of value v is on
        ============ ==============================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on both channels while a stimulus is on.

    Targets
        Classes ``fixate`` until the response, then ``first_larger`` or ``second_larger``.

    Epochs
        ``fixation`` 500, ``stimulus_1`` 500, ``delay`` drawn per trial, ``stimulus_2`` 500, ``response``
        100 ms. Trials are padded to the longest of their batch.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Knows the pairs and the noise, averages each stimulus and takes the likelier answer.

    Constant inputs
        The delay: fixation on, no stimulus.

    Parameters
    ----------
    pairs : tuple of (float, float)
        The two values of a trial, shown in either order.
    fixation, stimulus, response : float
        Durations in ms.
    delays : tuple of float
        Durations of the delay in ms, drawn with equal chance for each trial.
    noise_std : float
        Input noise in units of sqrt(ms).
    dt : float
        Time step in ms.

    References
    ----------
    Romo, R., Brody, C. D., Hernandez, A. & Lemus, L. (1999). Neuronal correlates of parametric working
    memory in the prefrontal cortex. Nature 399, 470-473. doi:10.1038/20939

    Yang, G. R. & Wang, X.-J. (2020). Artificial neural networks for neuroscientists: a primer. Neuron 107,
    1048-1070. doi:10.1016/j.neuron.2020.09.005

    Examples
    --------
    >>> task = DelayedComparison()
    >>> trials = task.draw(100, np.random.default_rng(0))
    >>> sorted(set(trials.conditions["delay"].tolist()))
    [200.0, 400.0, 800.0, 1600.0, 3200.0]
    """

    pairs: tuple[tuple[float, float], ...] = ((18, 10), (22, 14), (26, 18), (30, 22), (34, 26))
    fixation: float = 500.0
    stimulus: float = 500.0
    delays: tuple[float, ...] = (200.0, 400.0, 800.0, 1600.0, 3200.0)
    response: float = 100.0
    noise_std: float = 1.0
    dt: float = 100.0

    n_inputs = 2
    n_outputs = 3
    loss: ClassVar[Loss] = "cross_entropy"
    average_by = ("first",)
    accuracy_by = ("delay",)
    psychometric_stimulus = "difference"

    def __post_init__(self) -> None:
        self.need_durations(fixation=self.fixation)
        self.need_durations(stimulus=self.stimulus, response=self.response, least_steps=1)
        need_at_least_zero(self.noise_std, "noise_std")
        if not isinstance(self.delays, tuple | list) or not self.delays:
            raise InputError(f"`delays` must be a tuple of at least one duration in ms, got {self.delays!r}")
        for delay in self.delays:
            self.need_durations(delays=delay)
        pairs = np.asarray(self.pairs)
        fits = pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs) > 0 and pairs.dtype.kind in "iuf"
        if not (fits and np.isfinite(pairs).all() and (pairs[:, 0] != pairs[:, 1]).all()):
            raise InputError(f"`pairs` must hold pairs of two different values, got {self.pairs!r}")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "stimulus")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "first_larger", "second_larger")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 2000, "batch_size": 32, "learning_rate": 1e-3},
            criterion=0.95,
        )

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        n_trials = need_count(n_trials, "n_trials")
        pair = np.asarray(self.pairs, float)[rng.integers(len(self.pairs), size=n_trials)]
        pair = np.where(rng.integers(2, size=(n_trials, 1)) == 0, pair, pair[:, ::-1])
        delay_steps = np.array([self.steps(delay) for delay in self.delays])
        delay_steps = delay_steps[rng.integers(len(delay_steps), size=n_trials)]
        first_on = self.steps(self.fixation)
        first_off = first_on + self.steps(self.stimulus)
        second_on = first_off + delay_steps
        second_off = second_on + self.steps(self.stimulus)
        end = second_off + self.steps(self.response)
        step = np.arange(end.max())[None, :]
        in_first = (step >= first_on) & (step < first_off)
        in_second = (step >= second_on[:, None]) & (step < second_off[:, None])
        before_response = step < second_off[:, None]
        inputs = np.zeros((n_trials, step.size, 2))
        inputs[..., 0] = before_response
        inputs[..., 1] = self.scaled(pair[:, :1]) * in_first + self.scaled(pair[:, 1:]) * in_second
        noise = rng.standard_normal(inputs.shape) * self.noise_std / np.sqrt(self.dt)
        inputs += noise * (in_first | in_second)[..., None]
        right = np.where(pair[:, 0] > pair[:, 1], 1, 2)
        valid = step < end[:, None]
        return Trials(
            self,
            inputs=inputs * valid[..., None],
            targets=np.where(before_response | ~valid, 0, right[:, None]),
            mask=valid,
            valid=valid,
            conditions={
                "first": pair[:, 0],
                "second": pair[:, 1],
                "difference": pair[:, 1] - pair[:, 0],
                "delay": delay_steps * self.dt,
                "target_choice": right,
            },
            epochs={
                "fixation": (0, first_on),
                "stimulus_1": (first_on, first_off),
                "delay": (first_off, second_on),
                "stimulus_2": (second_on, second_off),
                "response": (second_off, end),
            },
        )

    @staticmethod
    def scaled(value: np.ndarray) -> np.ndarray:
        """Return the input that stands for a stimulus value."""
        return (1 + (value - 10) / 24) / 2

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who knows the pairs and the noise, shape (trial,)."""
        seen = []
        for epoch in ("stimulus_1", "stimulus_2"):
            during = trials.in_epoch(epoch)
            seen.append((trials.inputs[..., 1] * during).sum(axis=1) / during.sum(axis=1))
        pairs = self.scaled(np.asarray(self.pairs, float))
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        distance = (np.stack(seen, axis=1)[:, None, :] - pairs) ** 2
        if self.noise_std == 0:
            return np.where(seen[0] > seen[1], 1, 2)
        variance = self.noise_std**2 / self.dt / self.steps(self.stimulus)
        log_likelihood = -distance.sum(axis=2) / (2 * variance)
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        first_larger = likelihood[:, pairs[:, 0] > pairs[:, 1]].sum(axis=1)
        return np.where(2 * first_larger > likelihood.sum(axis=1), 1, 2)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay."""
        return {"delay": np.array([1.0, 0.0])}
