"""Switching: what is right changes within a trial, with a cue or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import FIXATION
from neurornn.tasks.distributions import Choice, Distribution, Duration, as_distribution
from neurornn.tasks.sequences import AnswersTask, in_turn, numbered, stacked, unstacked
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Trials
from neurornn.vocabulary import InputError, need_count, need_positive

RULES = ("colour", "shape")
TIE = 1e-9
"""How near to one half a belief is that speaks for neither side."""


@dataclass(frozen=True)
class TaskSwitching(AnswersTask):
    """Judge a stimulus by its colour or its shape, as a cue says anew in each round (task switching).

    Story
        A trial is a row of short rounds. In each, a cue names the rule, then a stimulus shows a colour and a
        shape, and each of them speaks for left or right: only the one that the rule names counts. The rule is
        repeated or switched with equal chance. The cue is gone when the stimulus comes, so that the rule must
        be kept, and forgotten at the next cue.

    Inputs
        =============== ===========================================================================
        channel         meaning
        =============== ===========================================================================
        ``fixation``    1, and 0 in the responses
        ``rule_colour`` 1 in a round's cue if the colour counts, otherwise 0
        ``rule_shape``  1 in a round's cue if the shape counts, otherwise 0
        ``colour``      -strength (left) or +strength (right) during a stimulus, otherwise 0
        ``shape``       likewise, drawn by itself
        =============== ===========================================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on ``colour`` and ``shape`` during a
        stimulus.

    Targets
        Classes ``fixate``, and in each response ``left`` or ``right``.

    Epochs
        ``fixation`` 100, then for each round k ``cue_k`` 100, ``stimulus_k`` 100 and ``response_k`` 100 ms.

    Scoring
        Share of the rounds in which the largest output, averaged over the response, is the right class.
        Whoever heeds one dimension only is right in .75 of them.

    Ideal observer
        Sums the dimension that the cue named, and is right in Phi(strength sqrt(T) / noise_std) of the rounds
        after T ms of stimulus: .9996 with the default parameters.

    Constant inputs
        ``fixation``: the fixation cue only, as between cue and stimulus, under which each rule needs a state
        of its own. ``rule colour``, ``rule shape``: the cues.

    Recipe
        `RateRNN` of 64 tanh units without leak, 1500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    n_rounds : int
        Rounds of a trial.
    strength : float
        Size of the stimulus in either dimension.
    fixation, cue, stimulus, response : float or Distribution
        Durations in ms; the last three are those of each round.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Monsell, S. (2003). Task switching. Trends in Cognitive Sciences 7, 134-140.
    doi:10.1016/S1364-6613(03)00028-7

    Rogers, R. D. & Monsell, S. (1995). Costs of a predictible switch between simple cognitive tasks. Journal
    of Experimental Psychology: General 124, 207-231. doi:10.1037/0096-3445.124.2.207

    Examples
    --------
    Whether the last round is a switch, and what is shown in it, are crossed; its conditions carry its number:

    >>> task = TaskSwitching(n_rounds=3)
    >>> conditions = task.factorial().conditions
    >>> conditions["rule_3"][:2].tolist(), conditions["switch_3"][::4].tolist()
    (['colour', 'colour'], [False, True, False, True])
    >>> bool(((conditions["rule_2"] != conditions["rule_3"]) == conditions["switch_3"]).all())
    True
    """

    n_rounds: int = 6
    strength: float = 0.5
    fixation: Duration = 100.0
    cue: Duration = 100.0
    stimulus: Duration = 100.0
    response: Duration = 100.0
    noise_std: float = 1.5
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 5
    n_outputs = 3
    accuracy_by = ("n_switches",)

    def __post_init__(self) -> None:
        need_count(self.n_rounds, "n_rounds", least=2)
        need_positive(self.strength, "strength")
        super().__post_init__()

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial."""
        return ("fixation", *in_turn(("cue", "stimulus", "response"), self.n_rounds))

    @property
    def average_by(self) -> tuple[str, ...]:  # type: ignore[override]
        """The last round's rule, and whether it is a switch."""
        return (f"rule_{self.n_rounds}", f"switch_{self.n_rounds}")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "rule_colour", "rule_shape", "colour", "shape")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "left", "right")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.98,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return what the last round shows, and whether its rule differs from the one before."""
        last = self.n_rounds
        return {
            f"rule_{last}": Choice(*RULES),
            f"switch_{last}": Choice(False, True),
            f"colour_{last}": Choice(-1, 1),
            f"shape_{last}": Choice(-1, 1),
        }

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return rules and stimuli of all rounds, which are switches and which are congruent."""
        last = self.n_rounds
        by_shape = rng.integers(2, size=(n_trials, last)).astype(bool)
        by_shape[:, -1] = conditions[f"rule_{last}"] == "shape"
        by_shape[:, -2] = by_shape[:, -1] ^ conditions[f"switch_{last}"]
        colour, shape = 2 * rng.integers(2, size=(2, n_trials, last)) - 1
        colour[:, -1], shape[:, -1] = conditions[f"colour_{last}"], conditions[f"shape_{last}"]
        switch = by_shape[:, 1:] != by_shape[:, :-1]
        return {
            **conditions,
            **unstacked(np.asarray(RULES)[by_shape.astype(int)], "rule"),
            **unstacked(colour, "colour"),
            **unstacked(shape, "shape"),
            **{f"switch_{k + 2}": switch[:, k] for k in range(last - 1)},
            **unstacked(colour == shape, "congruent"),
            "n_switches": switch.sum(axis=1),
        }

    def due(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the right class of each round, shape (trial, answer)."""
        colour, shape = (stacked(conditions, name, self.n_rounds) for name in RULES)
        return 1 + (np.where(self._by_colour(conditions), colour, shape) > 0)

    def _by_colour(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return in which rounds the colour counts, shape (trial, round)."""
        return stacked(conditions, "rule", self.n_rounds) == "colour"

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the cues and the stimuli in noise."""
        table = self.fixating_table(timeline.n_trials)
        by_colour = self._by_colour(conditions)
        for channel, (name, counts) in enumerate(zip(RULES, (by_colour, ~by_colour), strict=True)):
            table[:, self.columns("cue"), 1 + channel] = counts
            values = stacked(conditions, name, self.n_rounds)
            table[:, self.columns("stimulus"), 3 + channel] = self.strength * values
        inputs = self.over_time(table, timeline)
        self.add_noise_in("stimulus", inputs, slice(3, 5), timeline, rng)
        return inputs

    def ideal_answers(self, trials: Trials) -> np.ndarray:
        """Return the answers of an observer who sums the dimension that counts, shape (trial, answer)."""
        cue = self.mean_over("cue", trials.inputs[..., 1:3], trials)
        stimulus = self.mean_over("stimulus", trials.inputs[..., 3:5], trials)
        counts = np.where(cue[..., 0] > cue[..., 1], stimulus[..., 0], stimulus[..., 1])
        return np.where(counts > 0, 2, 1)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right rounds in trials of these conditions, shape (trial,)."""
        shortest = as_distribution(self.stimulus, "stimulus").bounds()[0]
        shares = []
        for epoch in numbered("stimulus", self.n_rounds):
            shown = np.asarray(conditions.get(f"{epoch}_duration", shortest), float)
            with np.errstate(divide="ignore"):
                z = self.strength * np.sqrt(self.whole_steps(shown) * self.dt) / np.float64(self.noise_std)
            shares.append(normal_cdf(z))
        n_trials = len(np.asarray(conditions["n_switches"]))
        return np.broadcast_to(np.mean(shares, axis=0), (n_trials,))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the fixation cue alone, and with either rule."""
        held = np.array([1.0, 0, 0, 0, 0])
        return {
            "fixation": held,
            "rule colour": held + np.eye(5)[1],
            "rule shape": held + np.eye(5)[2],
        }


@dataclass(frozen=True)
class ReversalLearning(AnswersTask):
    """Track which of two sides is the better one while they change roles unannounced (reversal learning).

    Story
        A trial is a row of rounds. In each, one side is good: it is the rewarded one with the reward
        probability, and otherwise the other side is. Between rounds the sides change roles with the reversal
        probability. The answer is the side that is now the likelier to be good; after it, the side that was
        rewarded is shown, whatever the answer was. Supervised training has no loop from the network's
        choices to its inputs, which is why what would have been rewarded is shown.

    Inputs
        ============== ======================================================================
        channel        meaning
        ============== ======================================================================
        ``fixation``   1, and 0 in the responses
        ``rewarded_1`` 1 in a round's feedback if side 1 was rewarded, otherwise 0
        ``rewarded_2`` 1 in a round's feedback if side 2 was rewarded, otherwise 0
        ============== ======================================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on both channels during feedback.

    Targets
        Classes ``fixate``, and in each response ``side_1`` or ``side_2``: the side that an observer who knows
        both probabilities holds the likelier to be good, given the sides rewarded so far in the trial. This
        is what can be known, and the condition ``target_choice_k``; the side that is truly good is
        ``good_side_k``. The first response, before any feedback, is masked.

    Epochs
        ``fixation`` 100, then for each round k ``response_k`` 100 and ``feedback_k`` 100 ms; none after the
        last response.

    Scoring
        Share of the responses but the first in which the largest output, averaged over the response, is the
        observer's side. With the default parameters, who repeats the side rewarded last gets .834, and an
        observer who gets 1 names the truly good side in .782 of those responses.

    Ideal observer
        The exact Bayesian filter: a belief is multiplied by the likelihood of what was seen and then leaks
        towards one half by the reversal probability. It takes the noise of the feedback into account.

    Constant inputs
        ``fixation``: the fixation cue only. ``response``: nothing.

    Recipe
        `RateRNN` of 64 tanh units without leak, 2000 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    n_rounds : int
        Rounds of a trial.
    reward_probability : float
        Chance, above .5, that the good side is the rewarded one.
    reversal_probability : float
        Chance, below .5, that the sides change roles between two rounds.
    fixation, response, feedback : float or Distribution
        Durations in ms; the last two are those of each round.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Hampton, A. N., Bossaerts, P. & O'Doherty, J. P. (2006). The role of the ventromedial prefrontal cortex in
    abstract state-based inference during decision making in humans. Journal of Neuroscience 26, 8360-8367.
    doi:10.1523/JNEUROSCI.1010-06.2006

    Costa, V. D., Tran, V. L., Turchi, J. & Averbeck, B. B. (2015). Reversal learning and dopamine: a Bayesian
    perspective. Journal of Neuroscience 35, 2407-2416. doi:10.1523/JNEUROSCI.1989-14.2015

    Examples
    --------
    >>> task = ReversalLearning(n_rounds=4, reward_probability=0.8, reversal_probability=0.1)
    >>> seen = {"rewarded_1": np.array([2]), "rewarded_2": np.array([2]), "rewarded_3": np.array([1])}
    >>> task.belief(seen).round(3).tolist()
    [[0.5, 0.74, 0.835, 0.547]]
    """

    n_rounds: int = 12
    reward_probability: float = 0.75
    reversal_probability: float = 0.05
    fixation: Duration = 100.0
    response: Duration = 100.0
    feedback: Duration = 100.0
    noise_std: float = 0.5
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 3
    n_outputs = 3
    accuracy_by = ("n_reversals",)

    def __post_init__(self) -> None:
        need_count(self.n_rounds, "n_rounds", least=2)
        if not 0.5 < need_positive(self.reward_probability, "reward_probability") <= 1:
            raise InputError(
                f"`reward_probability` must be above 0.5 and at most 1, got {self.reward_probability!r}: "
                "the good side is the one rewarded more often"
            )
        if need_positive(self.reversal_probability, "reversal_probability") >= 0.5:
            raise InputError(
                f"`reversal_probability` must be below 0.5, got {self.reversal_probability!r}: "
                "otherwise the past says nothing about the next round"
            )
        super().__post_init__()

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial."""
        return ("fixation", *in_turn(("response", "feedback"), self.n_rounds)[:-1])

    @property
    def average_by(self) -> tuple[str, ...]:  # type: ignore[override]
        """The side that is good in the last round."""
        return (f"good_side_{self.n_rounds}",)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "rewarded_1", "rewarded_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "side_1", "side_2")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.95,
        )

    @property
    def n_unasked(self) -> int:
        """The first answer, before any feedback."""
        return 1

    def factors(self) -> dict[str, Distribution]:
        """Return the side that is good at first."""
        return {"good_side_1": Choice(1, 2)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the good side of every round and the rewarded side of every round but the last."""
        reversed_ = rng.random((n_trials, self.n_rounds)) < self.reversal_probability
        reversed_[:, 0] = conditions["good_side_1"] == 2
        good = 1 + np.logical_xor.accumulate(reversed_, axis=1)
        lucky = rng.random((n_trials, self.n_rounds - 1)) < self.reward_probability
        rewarded = np.where(lucky, good[:, :-1], 3 - good[:, :-1])
        belief = self._filtered(rewarded == 2)
        return {
            **conditions,
            **unstacked(good, "good_side"),
            **unstacked(rewarded, "rewarded"),
            **unstacked(self._sides(belief, neither=FIXATION), "target_choice"),
            "n_reversals": reversed_[:, 1:].sum(axis=1),
        }

    def belief(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the probability that side 2 is good before each response, given the rewarded sides.

        Parameters
        ----------
        conditions : mapping of str to ndarray
            ``rewarded_1``, ``rewarded_2`` and so on, 1 or 2 for each trial.

        Returns
        -------
        ndarray, shape (trial, answer)
        """
        return self._filtered(stacked(conditions, "rewarded", self.n_rounds - 1) == 2)

    def _filtered(self, side_2: np.ndarray) -> np.ndarray:
        """Return beliefs (trial, answer), given how likely each feedback was side 2's (trial, feedback)."""
        # Bayes' rule in terms of P(2) - P(1), which a feedback and a possible reversal change in turn.
        feedback = (2 * self.reward_probability - 1) * (2 * side_2.T - 1)
        lead = np.zeros((self.n_rounds, len(side_2)))
        for k, shown in enumerate(feedback):
            lead[k + 1] = (1 - 2 * self.reversal_probability) * (lead[k] + shown) / (1 + lead[k] * shown)
        return (1 + lead.T) / 2

    def due(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the likelier side before each response, 0 where both are alike, shape (trial, answer)."""
        return stacked(conditions, "target_choice", self.n_rounds)

    def asked(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return for which responses one side is the likelier, shape (trial, answer)."""
        return self.due(conditions) != FIXATION

    @staticmethod
    def _sides(belief: np.ndarray, *, neither: int) -> np.ndarray:
        """Return the side that a belief speaks for, 1 or 2, or another number where it speaks for neither."""
        return np.where(np.abs(belief - 0.5) < TIE, neither, 1 + (belief > 0.5))

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the rewarded sides in noise."""
        table = self.fixating_table(timeline.n_trials)
        rewarded = stacked(conditions, "rewarded", self.n_rounds - 1)
        for side in (1, 2):
            table[:, self.columns("feedback"), side] = rewarded == side
        inputs = self.over_time(table, timeline)
        self.add_noise_in("feedback", inputs, slice(1, 3), timeline, rng)
        return inputs

    def ideal_belief(self, trials: Trials) -> np.ndarray:
        """Return the probability that side 2 is good before each response, given the inputs.

        Returns
        -------
        ndarray, shape (trial, answer)
        """
        from scipy.special import expit

        difference = (trials.inputs[..., 2].astype(float) - trials.inputs[..., 1])[..., None]
        mean = self.mean_over("feedback", difference, trials)[..., 0]
        if self.noise_std == 0:
            return self._filtered((mean > 0).astype(float))
        timeline = trials.timeline
        steps = np.stack([timeline.length(self.epoch_order[k]) for k in self.places("feedback")], axis=1)
        return self._filtered(expit(mean * steps * self.dt / self.noise_std**2))

    def ideal_answers(self, trials: Trials) -> np.ndarray:
        """Return the sides that an observer of the inputs holds the likelier, -1 where both are alike."""
        return self._sides(self.ideal_belief(trials), neither=NO_CHOICE)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the fixation cue alone, and nothing."""
        return {"fixation": np.array([1.0, 0, 0]), "response": np.zeros(3)}
