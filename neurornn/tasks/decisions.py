"""Decisions: tasks in which noisy evidence is gathered and one answer given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.trials import Loss, Recipe, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_count


@dataclass(frozen=True)
class PerceptualDecisionMaking(ChoiceTask):
    """Say which of two noisy streams is the stronger (random-dot motion).

    Story
        Two streams of evidence flicker around nearly the same mean; their difference, the coherence, is
        small beside the noise of one step, so that only integration over the stimulus tells which is
        the stronger. The answer is given when the fixation cue goes off.

    Inputs
        ============== ============================================================
        channel        meaning
        ============== ============================================================
        ``fixation``   1 until the response, then 0
        ``evidence_1`` (1 - c / 100) / 2 plus noise during the stimulus, otherwise 0
        ``evidence_2`` (1 + c / 100) / 2 plus noise during the stimulus, otherwise 0
        ============== ============================================================

        c is the signed coherence in percent; noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response, then ``choice_1`` (c < 0) or ``choice_2`` (c > 0); at c = 0
        either, with equal chance.

    Epochs
        ``fixation`` 100, ``stimulus`` 2000, ``delay`` 0, ``response`` 100 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Sums the difference of the streams without loss. With the default parameters it is right in .8957 of
        the trials (.5 at coherence 0, .978 at 6.4, practically 1 above).

    Constant inputs
        ``zero evidence``: the stimulus at coherence 0 without noise.

    Parameters
    ----------
    coherences : tuple of float
        Strengths of evidence in percent, each shown in both directions.
    fixation, stimulus, delay, response : float
        Durations in ms.
    noise_std : float
        Input noise in units of sqrt(ms); the default 1 is .1 per step of 100 ms.
    dt : float
        Time step in ms.

    References
    ----------
    Britten, K. H., Shadlen, M. N., Newsome, W. T. & Movshon, J. A. (1992). The analysis of visual motion: a
    comparison of neuronal and psychophysical performance. Journal of Neuroscience 12, 4745-4765.
    doi:10.1523/JNEUROSCI.12-12-04745.1992

    Yang, G. R. & Wang, X.-J. (2020). Artificial neural networks for neuroscientists: a primer. Neuron 107,
    1048-1070. doi:10.1016/j.neuron.2020.09.005 (its notebook's definition, the fixation cue on until the
    response)

    Examples
    --------
    >>> task = PerceptualDecisionMaking()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.targets[:, -1].tolist() == trials.conditions["target_choice"].tolist()
    ((4, 22, 3), True)
    >>> round(float(np.mean([task.ideal_accuracy(c) for c in task.coherences])), 4)
    0.8957
    """

    coherences: tuple[float, ...] = (0.0, 6.4, 12.8, 25.6, 51.2)
    fixation: float = 100.0
    stimulus: float = 2000.0
    delay: float = 0.0
    response: float = 100.0
    noise_std: float = 1.0
    dt: float = 100.0

    n_inputs = 3
    n_outputs = 3
    loss: ClassVar[Loss] = "cross_entropy"
    average_by = ("signed_coherence",)
    accuracy_by = ("coherence",)
    psychometric_stimulus = "signed_coherence"

    def __post_init__(self) -> None:
        self.need_durations(fixation=self.fixation, delay=self.delay)
        self.need_durations(stimulus=self.stimulus, response=self.response, least_steps=1)
        need_at_least_zero(self.noise_std, "noise_std")
        strengths = np.asarray(self.coherences)
        fits = strengths.ndim == 1 and strengths.size > 0 and strengths.dtype.kind in "iuf"
        if not (fits and np.isfinite(strengths).all() and (strengths >= 0).all()):
            raise InputError(
                f"`coherences` must be strengths in percent of at least 0, got {self.coherences!r}: "
                "give a tuple; directions are drawn for you"
            )

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "evidence_1", "evidence_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "choice_1", "choice_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training of the Primer's notebook."""
        return Recipe(
            network={"hidden_size": 64, "activation": "relu"},
            training={"n_steps": 1000, "batch_size": 64, "learning_rate": 1e-2},
            criterion=0.97 * 0.8957,
        )

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        n_trials = need_count(n_trials, "n_trials")
        coherence = np.asarray(self.coherences, float)[rng.integers(len(self.coherences), size=n_trials)]
        right = rng.integers(1, 3, size=n_trials)
        # Zero has no sign, which would be printed.
        signed = np.where(right == 2, coherence, -coherence) + 0.0
        durations = (self.fixation, self.stimulus, self.delay, self.response)
        on, off, go, end = np.cumsum([self.steps(duration) for duration in durations]).tolist()
        inputs = np.zeros((n_trials, end, 3), dtype=np.float32)
        inputs[:, :go, 0] = 1
        stimulus = rng.standard_normal((n_trials, off - on, 2), dtype=np.float32)
        stimulus *= self.noise_std / math.sqrt(self.dt)
        stimulus += 0.5 * (1 + signed[:, None] / 100 * np.array([-1, 1]))[:, None, :].astype(np.float32)
        inputs[:, on:off, 1:] = stimulus
        targets = np.zeros((n_trials, end), dtype=np.int64)
        targets[:, go:] = right[:, None]
        return Trials(
            self,
            inputs=inputs,
            targets=targets,
            mask=np.ones(targets.shape),
            conditions={"coherence": coherence, "signed_coherence": signed, "target_choice": right},
            epochs={"fixation": (0, on), "stimulus": (on, off), "delay": (off, go), "response": (go, end)},
        )

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums all evidence without loss, shape (trial,)."""
        during = trials.in_epoch("stimulus")
        difference = trials.inputs[..., 2].astype(float) - trials.inputs[..., 1]
        return np.where((difference * during).sum(axis=1) > 0, 2, 1)

    def ideal_accuracy(self, coherence: float) -> float:
        """Return the ideal observer's share of right choices at one coherence in percent.

        The summed difference has mean n c / 100 and variance 2 n s^2 over the n steps of the stimulus,
        s being the noise of one step, so that the share is Phi(c / 100 * sqrt(n / 2) / s).
        """
        if coherence == 0 or self.noise_std == 0:
            return 0.5 if coherence == 0 else 1.0
        per_step = self.noise_std / math.sqrt(self.dt)
        z = coherence / 100 * math.sqrt(self.steps(self.stimulus) / 2) / per_step
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the stimulus at coherence 0 without noise."""
        return {"zero evidence": np.array([1.0, 0.5, 0.5])}
