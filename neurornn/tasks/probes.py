"""Probes: random inputs that show what a network remembers and how it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurornn.tasks.task import Recipe, Task
from neurornn.tasks.trials import Trials
from neurornn.vocabulary import InputError, need_count, need_positive


def _squared_correlation(one: np.ndarray, other: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Return the squared correlation along some axes, 0 where either does not vary."""
    one = one - one.mean(axis=axis, keepdims=True)
    other = other - other.mean(axis=axis, keepdims=True)
    shared = (one * other).sum(axis=axis) ** 2
    spread = (one**2).sum(axis=axis) * (other**2).sum(axis=axis)
    return np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0)


@dataclass(frozen=True)
class DelayedReconstruction(Task):
    """Give back the input of 1, 2, ... n steps ago, all at once (memory capacity).

    Story
        Every step brings a new random number, and every output must give back the one of so many steps ago.
        A network of N units can hold N numbers at most, whatever its weights.

    Inputs
        ========= =========================================================================
        channel   meaning
        ========= =========================================================================
        ``value`` uniform from ``-amplitude`` to ``amplitude``, drawn anew at every step
        ========= =========================================================================

    Targets
        ``delay_k``: the input k steps ago, k = 1 ... n. The first n steps are masked, so that all outputs are
        asked over the same steps.

    Epochs
        None.

    Scoring
        Squared correlation of an output with its target over the unmasked steps, averaged over the outputs; 0
        for an output that does not vary. An output that has nothing to do with the input gets 1 / (m - 1) on
        average with m unmasked steps, which is chance. `memory_capacity` is the sum over the outputs, of all
        trials together.

    Constant inputs
        Zero, the mean of the input.

    Recipe
        `RateRNN` of 32 linear units (activation ``identity``) without leak, 1500 steps of Adam at 2e-3 with
        64 trials each. There are fewer outputs than units, so that a linear network can do it without error:
        the criterion is .95 of the capacity asked for.

    Parameters
    ----------
    n_delays : int
        Number of outputs, the longest delay in steps.
    amplitude : float
        Largest input. A nonlinear network remembers less the larger it is.
    duration : float
        Length of a trial in ms.
    dt : float
        Time step in ms.

    References
    ----------
    Jaeger, H. (2001). Short term memory in echo state networks. GMD Report 152, German National Research
    Center for Information Technology.

    Ganguli, S., Huh, D. & Sompolinsky, H. (2008). Memory traces in dynamical systems. Proceedings of the
    National Academy of Sciences 105, 18970-18975. doi:10.1073/pnas.0804451105

    Examples
    --------
    >>> task = DelayedReconstruction(n_delays=3)
    >>> trials = task.draw(2, np.random.default_rng(0))
    >>> bool((trials.targets[0, 50] == trials.inputs[0, [49, 48, 47], 0]).all())
    True
    >>> round(task.memory_capacity(trials.ideal_outputs(), trials), 6)
    3.0
    """

    n_delays: int = 10
    amplitude: float = 0.8
    duration: float = 1000.0
    dt: float = 10.0

    n_inputs = 1

    def __post_init__(self) -> None:
        need_count(self.n_delays, "n_delays")
        need_positive(self.amplitude, "amplitude")
        need_positive(self.dt, "dt", "ms")
        need_positive(self.duration, "duration", "ms")
        if self.steps(self.duration) < self.n_delays + 3:
            raise InputError(
                f"`duration` must hold at least {self.n_delays + 3} steps of dt = {self.dt} ms, three more "
                f"than the longest delay, got {self.duration} ms: lengthen it"
            )

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: one per delay."""
        return self.n_delays

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("value",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(f"delay_{k + 1}" for k in range(self.n_delays))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 32, "activation": "identity"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Mean squared correlation of exchangeable numbers with any fixed ones."""
        return 1 / (self.steps(self.duration) - self.n_delays - 1)

    @property
    def chance_loss(self) -> float:
        """Variance of the input."""
        return self.amplitude**2 / 3

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        shape = (need_count(n_trials, "n_trials"), self.steps(self.duration))
        values = rng.uniform(-self.amplitude, self.amplitude, shape).astype(np.float32)
        targets = np.zeros((*shape, self.n_delays), np.float32)
        for k in range(1, self.n_delays + 1):
            targets[:, k:, k - 1] = values[:, :-k]
        # All trials share one mask.
        mask = np.ones(targets.shape[1:], np.float32)
        mask[: self.n_delays] = 0
        return Trials(
            self, inputs=values[..., None], targets=targets, mask=np.broadcast_to(mask, targets.shape)
        )

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the squared correlation averaged over the outputs, shape (trial,)."""
        return _squared_correlation(*self._asked(outputs, trials), axis=1).mean(axis=1)

    def memory_capacity(self, outputs: np.ndarray, trials: Trials) -> float:
        """Return the sum over the delays of the squared correlation over all trials together.

        Parameters
        ----------
        outputs : ndarray, shape (trial, time, output_channel)
        trials : Trials

        Returns
        -------
        float
            From 0 to ``n_delays``. An output without any memory adds 1 / (number of samples - 1) on average.
        """
        return float(_squared_correlation(*self._asked(outputs, trials), axis=(0, 1)).sum())

    def _asked(self, outputs: np.ndarray, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Return outputs and targets of the steps that are asked for."""
        late = slice(self.n_delays, None)
        return np.asarray(outputs, float)[:, late], trials.targets[:, late].astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the mean of the input."""
        return {"mean input": np.zeros(1)}


@dataclass(frozen=True)
class WhiteNoise(Task):
    """Smooth white noise: drive a network with all frequencies at once.

    Story
        Gaussian white noise arrives on each channel, and each output must be its channel smoothed by an
        exponential filter. The noise holds all frequencies alike, so that what a network does with them can
        be read from a recording (Wiener's analysis, spike-triggered averages, transfer functions); and the
        linear network that solves the task is known.

    Inputs
        ============= ==============================================================
        channel       meaning
        ============= ==============================================================
        ``noise_k``   Gaussian, of standard deviation ``strength / sqrt(dt)`` per step
        ============= ==============================================================

    Targets
        ``smooth_k``: y[t] = d y[t - 1] + sqrt(1 - d^2) x[t], with y = 0 before the trial and d = exp(-dt /
        time_constant). The factor gives it the input's variance once it has settled.

    Epochs
        None.

    Scoring
        1 - (sum of squared errors) / (sum of the squared target) of each trial, or 0 where that is negative.
        A silent network scores 0; one that never looks at its input .05 at most with the default parameters.

    Constant inputs
        Zero, the mean of the input.

    Recipe
        `RateRNN` of 64 tanh units without leak, 500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    n_channels : int
        Number of inputs, and of outputs.
    strength : float
        Strength of the noise in units of sqrt(ms); the default is 1 per step of 20 ms, about.
    time_constant : float
        Time constant of the filter in ms.
    duration : float
        Length of a trial in ms.
    dt : float
        Time step in ms.

    References
    ----------
    Marmarelis, P. Z. & Naka, K.-I. (1972). White-noise analysis of a neuron chain: an application of the
    Wiener theory. Science 175, 1276-1278.

    Chichilnisky, E. J. (2001). A simple white noise analysis of neuronal light responses. Network:
    Computation in Neural Systems 12, 199-213. doi:10.1080/713663221

    Examples
    --------
    >>> task = WhiteNoise(n_channels=1)
    >>> trials = task.draw(1, np.random.default_rng(0))
    >>> x, y, d = trials.inputs[0, :, 0], trials.targets[0, :, 0], np.exp(-20 / 100)
    >>> bool(np.allclose(y[1:], d * y[:-1] + np.sqrt(1 - d**2) * x[1:], atol=1e-5))
    True
    """

    n_channels: int = 2
    strength: float = 4.5
    time_constant: float = 100.0
    duration: float = 2000.0
    dt: float = 20.0

    chance_score = 0.05

    def __post_init__(self) -> None:
        need_count(self.n_channels, "n_channels")
        need_positive(self.strength, "strength")
        need_positive(self.time_constant, "time_constant", "ms")
        need_positive(self.dt, "dt", "ms")
        need_positive(self.duration, "duration", "ms")
        if self.steps(self.duration) < 1:
            raise InputError(
                f"`duration` must hold at least 1 step of dt = {self.dt} ms, got {self.duration} ms: "
                "lengthen it"
            )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels."""
        return self.n_channels

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: one per input."""
        return self.n_channels

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return tuple(f"noise_{k + 1}" for k in range(self.n_channels))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(f"smooth_{k + 1}" for k in range(self.n_channels))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    @property
    def chance_loss(self) -> float:
        """Mean variance of the target, which begins at 0 and grows to the input's."""
        step = np.arange(1, self.steps(self.duration) + 1)
        return float(self.strength**2 / self.dt * (1 - self._keep ** (2 * step)).mean())

    @property
    def _keep(self) -> float:
        """What the filter keeps of its value from one step to the next."""
        return math.exp(-self.dt / self.time_constant)

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        shape = (need_count(n_trials, "n_trials"), self.steps(self.duration), self.n_channels)
        inputs = rng.standard_normal(shape) * (self.strength / math.sqrt(self.dt))
        from scipy.signal import lfilter

        targets = lfilter([math.sqrt(1 - self._keep**2)], [1.0, -self._keep], inputs, axis=1)
        return Trials(self, inputs=inputs, targets=targets, mask=np.ones(shape, np.float32))

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 less the squared error relative to the target's square, at least 0, shape (trial,)."""
        error = ((np.asarray(outputs, float) - trials.targets) ** 2).sum(axis=(1, 2))
        return np.maximum(1 - error / (trials.targets.astype(float) ** 2).sum(axis=(1, 2)), 0)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the mean of the input."""
        return {"mean input": np.zeros(self.n_channels)}
