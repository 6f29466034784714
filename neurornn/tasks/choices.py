"""What tasks with one categorical answer per trial share: how a choice is read and scored."""

from __future__ import annotations

import numpy as np

from neurornn.tasks.trials import NO_CHOICE, Task, Trials
from neurornn.vocabulary import InputError, need_at_least_zero, need_positive


class ChoiceTask(Task):
    """A task that ends with one answer, class 0 meaning "no answer yet".

    Its trials have an epoch ``response`` and a condition ``target_choice`` (the right class). A task that
    knows its ideal observer defines ``ideal_choices(trials) -> (trial,)``.
    """

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the class with the largest output over the response, shape (trial,).

        Outputs are averaged over the response's steps. Class 0 (fixate) counts as no choice, -1.
        """
        during = trials.in_epoch("response")[..., None]
        mean = (outputs * during).sum(axis=1) / during.sum(axis=1)
        chosen = mean.argmax(axis=1)
        return np.where(chosen == 0, NO_CHOICE, chosen)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with the right choice, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)

    def need_durations(self, *, least_steps: int = 0, **durations: float) -> None:
        """Refuse durations that are negative, or shorter than ``least_steps`` steps.

        Raises
        ------
        InputError
            The sentence names the duration and dt.
        """
        need_positive(self.dt, "dt", "ms")
        for name, duration in durations.items():
            need_at_least_zero(duration, name, "ms")
            if self.steps(duration) < least_steps:
                raise InputError(
                    f"`{name}` must last at least {least_steps} step of dt = {self.dt} ms, "
                    f"got {duration} ms: lengthen it or choose a smaller dt"
                )
