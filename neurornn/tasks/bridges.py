"""What tasks share whose trials were made elsewhere: a general score, and what chance reaches of it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from neurornn.tasks.task import Task
from neurornn.tasks.trials import Trials

MOST_EXAMPLES = 256
"""Trials, spread over all that are there, on which chance is measured."""


class BridgedTask(Task):
    """A task whose trials come from other hands, so that its score is one that suits any.

    For classes it is the share of scored steps at which the largest output is the right class; for squared
    errors 1 - error / variance of the targets (R squared), and 0 where that is below 0.
    """

    @property
    def examples(self) -> Trials:
        """Trials that stand for all: the targets' variance and what chance reaches are measured on them."""
        raise NotImplementedError

    def scored(self, trials: Trials) -> np.ndarray:
        """Return which entries count in the score, shape of the targets; by default those asked for."""
        return trials.mask > 0

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return one score per trial, 1 for a perfect one, shape (trial,)."""
        counts = self.scored(trials)
        if self.loss == "cross_entropy":
            right = (outputs.argmax(axis=2) == trials.targets) & counts
            return right.sum(axis=1) / counts.sum(axis=1)
        difference = np.where(counts, np.asarray(outputs, float) - trials.targets, 0)
        error = (difference**2).sum(axis=(1, 2))
        unexplained = (counts * self.target_variance).sum(axis=(1, 2))
        # Targets that never vary leave nothing to explain: right or not.
        share = error / np.where(unexplained > 0, unexplained, 1)
        return np.where(unexplained > 0, np.clip(1 - share, 0, 1), error == 0)

    @cached_property
    def target_variance(self) -> np.ndarray:
        """Variance of each output channel's targets over all scored entries, shape (output_channel,)."""
        trials = self.examples
        counts = self.scored(trials)
        number = np.maximum(counts.sum(axis=(0, 1)), 1)
        targets = trials.targets.astype(float)
        mean = np.where(counts, targets, 0).sum(axis=(0, 1)) / number
        return np.where(counts, (targets - mean) ** 2, 0).sum(axis=(0, 1)) / number

    @cached_property
    def chance_score(self) -> float:  # type: ignore[override]
        """Best mean score, over example trials, of several outputs that are the same in every trial.

        For classes the most frequent one at each step, and each class throughout; for squared errors zero,
        and the targets' mean and median at each step. They are fitted to the very trials that they are
        measured on, so that chance is rather overstated than understated.
        """
        trials = self.examples
        trials = trials.select(np.unique(np.linspace(0, trials.n_trials - 1, MOST_EXAMPLES).astype(int)))
        counts = self.scored(trials)
        if self.loss == "cross_entropy":
            said = np.eye(self.n_outputs)
            frequent = (said[trials.targets] * counts[..., None]).sum(axis=0)
            candidates = [frequent, *np.broadcast_to(said[:, None], (len(said), *frequent.shape))]
        else:
            targets = np.ma.masked_array(trials.targets, ~counts)
            averages = [np.ma.filled(own(targets, axis=0), 0) for own in (np.ma.mean, np.ma.median)]
            candidates = [np.zeros(targets.shape[1:]), *averages]
        shape = (*trials.valid.shape, self.n_outputs)
        return max(float(self.score(np.broadcast_to(own, shape), trials).mean()) for own in candidates)
