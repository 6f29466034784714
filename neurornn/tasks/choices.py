"""What tasks with one categorical answer per trial share: when it is asked, how it is read and scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Loss, Trials
from neurornn.vocabulary import InputError, need_at_least_zero

FIXATION = 0
"""The input channel of the fixation cue, and the output class of no answer."""


class ChoiceTask(EpochTask):
    """A task that ends with one answer, class 0 meaning "no answer yet".

    Its first input channel is the fixation cue, 1 until the response; its trials have an epoch ``response``
    and a condition ``target_choice``, the right class, or -1 where none must be given. A task that knows its
    ideal observer defines ``ideal_choices(trials) -> (trial,)``, which reads the inputs only, and, where
    there is a closed form, ``ideal_accuracy(conditions) -> (trial,)``.

    With a field ``catch_probability``, that share of trials shows the fixation cue only, until the end, and
    no answer must be given (condition ``catch``).
    """

    loss: ClassVar[Loss] = "cross_entropy"
    catch_probability: float = 0.0
    """Share of trials without a stimulus."""
    cue_channels: ClassVar[tuple[int, ...]] = (FIXATION,)
    """Input channels that say what to do and when; the others are stimuli."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if need_at_least_zero(self.catch_probability, "catch_probability") >= 1:
            raise InputError(f"`catch_probability` must be in [0, 1), got {self.catch_probability!r}")

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials; see the class for what they hold."""
        trials = super().draw(n_trials, rng)
        if self.catch_probability == 0:
            return trials
        catch = rng.random(trials.n_trials) < self.catch_probability
        conditions = {
            **trials.conditions,
            "target_choice": np.where(catch, NO_CHOICE, trials.conditions["target_choice"]),
            "catch": catch,
        }
        inputs = trials.inputs.copy()
        for channel in set(range(self.n_inputs)) - set(self.cue_channels):
            inputs[catch, :, channel] = 0
        inputs[catch, :, FIXATION] = trials.valid[catch]
        targets = self.ask(conditions, trials.timeline)
        return dataclasses.replace(trials, inputs=inputs, targets=targets, conditions=conditions)

    def fixating(self, timeline: Timeline) -> np.ndarray:
        """Return inputs at zero but for the fixation cue, which is 1 until the response."""
        inputs = self.blank(timeline)
        timeline.fill_before(inputs[..., FIXATION], 1, "response")
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step: the answer in the response, else 0; shape (trial, time)."""
        targets = np.full(timeline.valid.shape, FIXATION)
        answer = np.maximum(conditions["target_choice"], FIXATION)
        timeline.fill(targets, answer, "response", self.epoch_order[-1])
        return targets

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the class with the largest output over the response, shape (trial,).

        Outputs are averaged over the response's steps. Class 0 (fixate) counts as no choice, -1.
        """
        during = trials.in_epoch("response")[..., None]
        mean = (outputs * during).sum(axis=1) / during.sum(axis=1)
        chosen = mean.argmax(axis=1)
        return np.where(chosen == FIXATION, NO_CHOICE, chosen)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with the right choice, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)

    @staticmethod
    def unless_held(choices: np.ndarray, trials: Trials) -> np.ndarray:
        """Return an observer's choices, and none (-1) where the fixation cue never went off."""
        held = (trials.inputs[..., FIXATION] > 0.5) | ~trials.valid
        return np.where(held.all(axis=1), NO_CHOICE, choices)
