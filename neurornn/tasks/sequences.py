"""Sequences: items that follow one another, to be recalled in order, compared or copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from neurornn.tasks.choices import FIXATION
from neurornn.tasks.distributions import Choice, Distribution, Duration, Fixed
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.noise import normals
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Loss, Trials
from neurornn.vocabulary import InputError, need_choice, need_count, need_positive

KINDS = ("continuous", "binary")


@lru_cache
def numbered(name: str, n: int) -> tuple[str, ...]:
    """Return a name with the numbers from 1 to n.

    Examples
    --------
    >>> numbered("item", 3)
    ('item_1', 'item_2', 'item_3')
    """
    return tuple(f"{name}_{k}" for k in range(1, n + 1))


def stacked(conditions: Mapping[str, np.ndarray], name: str, n: int) -> np.ndarray:
    """Return the conditions of a name with the numbers from 1 to n, shape (trial, n)."""
    return np.array([conditions[own] for own in numbered(name, n)]).T


def unstacked(values: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Return the columns of an array (trial, n) as conditions of a name with the numbers from 1 to n."""
    return dict(zip(numbered(name, values.shape[1]), values.T, strict=True))


@lru_cache
def in_turn(names: tuple[str, ...], n: int) -> tuple[str, ...]:
    """Return several names in turn, with the numbers from 1 to n.

    Examples
    --------
    >>> in_turn(("cue", "response"), 2)
    ('cue_1', 'response_1', 'cue_2', 'response_2')
    """
    return tuple(f"{name}_{k}" for k in range(1, n + 1) for name in names)


@lru_cache
def places_of(name: str, epochs: tuple[str, ...]) -> list[int]:
    """Return the places of the epochs of a name, ``name_1``, ``name_2`` and so on."""
    return [k for k, epoch in enumerate(epochs) if epoch.rsplit("_", 1)[0] == name]


@lru_cache
def columns_of(name: str, epochs: tuple[str, ...]) -> slice | list[int]:
    """Return what picks the epochs of a name from a table: a slice, which is fastest, where evenly spaced."""
    places = places_of(name, epochs)
    evenly = range(places[0], places[-1] + 1, places[1] - places[0] if len(places) > 1 else 1)
    return slice(evenly.start, evenly.stop, evenly.step) if places == list(evenly) else places


class SerialTask(EpochTask):
    """A task that is told epoch by epoch, as most that repeat their epochs are.

    What holds throughout an epoch is written into a table (trial, epoch, ...), which `over_time` spreads
    over the steps.
    """

    @cached_property
    def _fixed_epochs(self) -> dict[str, tuple[Any, Any]] | None:
        """The edges of the epochs in steps where no duration varies, else None; many, and found once."""
        lengths: dict[str, Any] = {}
        durations = self.durations({})
        for epoch in self.epoch_order:
            duration = durations[epoch]
            value = duration.value if isinstance(duration, Fixed) else duration
            if isinstance(value, Distribution | np.ndarray):
                return None
            lengths[epoch] = self.steps(value)
        return Timeline.of_lengths(lengths, 1).epochs

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, and the realised durations in ms of those drawn here."""
        if self._fixed_epochs is None:
            return super()._timeline(n_trials, conditions, rng)
        return Timeline(self._fixed_epochs, n_trials, self._fixed_epochs[self.epoch_order[-1]][1]), {}

    @cached_property
    def _fixed_lengths(self) -> np.ndarray | None:
        """The lengths of the epochs in steps where no duration varies, else None; shape (epoch,)."""
        if self._fixed_epochs is None:
            return None
        return np.array([stop - start for start, stop in self._fixed_epochs.values()])

    def _lengths(self, timeline: Timeline) -> np.ndarray:
        """Return the lengths of the epochs in steps, shape (epoch,) where shared, else (trial, epoch)."""
        if self._fixed_lengths is not None:
            return self._fixed_lengths
        return np.array([stop - start for start, stop in timeline.epochs.values()]).T

    def over_time(self, table: np.ndarray, timeline: Timeline) -> np.ndarray:
        """Return what a table (trial, epoch, ...) says of each step, 0 in padding; (trial, time, ...).

        Where all trials share their epochs, a table may have one trial only, and one is returned.
        """
        lengths = self._lengths(timeline)
        if not timeline.valid.all():
            # Padding is one more epoch, in which all is zero.
            padding = timeline.n_steps - lengths.sum(axis=-1, keepdims=True)
            lengths = np.concatenate([lengths, padding], axis=-1)
            table = np.concatenate([table, np.zeros_like(table[:, :1])], axis=1)
        if lengths.ndim == 1:
            return np.repeat(table, lengths, axis=1)
        steps = np.repeat(table.reshape(-1, *table.shape[2:]), lengths.ravel(), axis=0)
        return steps.reshape(timeline.n_trials, timeline.n_steps, *table.shape[2:])

    def table(self, n_trials: int, *more: int) -> np.ndarray:
        """Return a table at zero, shape (trial, epoch, *more), to be filled."""
        return np.zeros((n_trials, len(self.epoch_order), *more), np.float32)

    def places(self, name: str) -> list[int]:
        """Return the places in `epoch_order` of the epochs of a name, ``name_1``, ``name_2`` and so on."""
        return places_of(name, self.epoch_order)

    def columns(self, name: str) -> slice | list[int]:
        """Return what picks the epochs of a name from a table (trial, epoch, ...)."""
        return columns_of(name, self.epoch_order)

    def during_all(self, name: str, timeline: Timeline) -> np.ndarray:
        """Return which steps lie in the epochs of a name, shape (trial, time), or (1, time) where shared."""
        table = np.zeros((1 if timeline.shared else timeline.n_trials, len(self.epoch_order)), bool)
        table[:, self.columns(name)] = True
        return self.over_time(table, timeline)

    def mark_first_steps(self, channel: np.ndarray, name: str, timeline: Timeline) -> None:
        """Set the first step of each epoch of a name to 1 in an array (trial, time), in place."""
        trials = np.arange(timeline.n_trials)
        for k in self.places(name):
            channel[trials, timeline.epochs[self.epoch_order[k]][0]] = 1

    def add_noise_in(
        self, name: str, inputs: np.ndarray, channels: slice, timeline: Timeline, rng: np.random.Generator
    ) -> None:
        """Add Gaussian noise to some channels during the epochs of a name, in place; see `add_noise`."""
        during = self.during_all(name, timeline)
        if not timeline.shared:
            self.add_noise(inputs, during, channels, rng)
            return
        if self.noise_std == 0:
            return
        # Drawn for these steps only, which are a part of the trial.
        steps = np.flatnonzero(during)
        noisy = inputs[..., channels]
        noise = normals((timeline.n_trials, steps.size, noisy.shape[2]), rng, self.step_noise)
        for k in range(noisy.shape[2]):
            noisy[:, steps, k] += noise[..., k]

    def mean_over(self, name: str, values: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the means over the epochs of a name, shape (trial, epoch of the name, ...)."""
        means = []
        for k in self.places(name):
            during = trials.in_epoch(self.epoch_order[k])
            during = during.reshape(*during.shape, *[1] * (values.ndim - 2))
            means.append((values * during).sum(axis=1) / during.sum(axis=1))
        return np.stack(means, axis=1)

    def share_of_steps(self, places: list[int], among: list[int]) -> float | None:
        """Return the share of steps that lie in some epochs, or None where durations are drawn."""
        if self._fixed_lengths is None:
            return None
        steps = self._fixed_lengths.tolist()
        return sum(steps[k] for k in places) / sum(steps[k] for k in among)


class AnswersTask(SerialTask):
    """A task with several answers per trial, one in each of its epochs ``response_k``.

    Class 0 means "no answer yet". A subclass says in `due` which class is right at each answer. The fixation
    cue, input channel 0, is off in every ``response_k``.
    """

    loss: ClassVar[Loss] = "cross_entropy"

    @property
    def n_unasked(self) -> int:
        """How many answers at the beginning are not asked for."""
        return 0

    @property
    def answer_entropy(self) -> float:
        """Entropy in nats of an answer that is asked for, all inputs unknown."""
        return math.log(2)

    @property
    def chance_loss(self) -> float | None:
        """Entropy of the answers times their share of the steps; None where durations are drawn."""
        responses = self.places("response")
        unasked = set(responses[: self.n_unasked])
        weighed = [k for k in range(len(self.epoch_order)) if k not in unasked]
        share = self.share_of_steps(responses[self.n_unasked :], weighed)
        return None if share is None else share * self.answer_entropy

    def due(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the right class of each answer, 0 where none is asked, shape (trial, answer)."""
        raise NotImplementedError(f"{type(self).__name__} must define due(conditions)")

    def asked(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which answers are asked for, shape (trial, answer), or one trial's that stands for all."""
        return (np.arange(len(self.places("response"))) >= self.n_unasked)[None]

    def fixating_table(self, n_trials: int) -> np.ndarray:
        """Return a table of inputs at zero but for the fixation cue."""
        table = self.table(n_trials, self.n_inputs)
        table[..., FIXATION] = 1
        table[:, self.columns("response"), FIXATION] = 0
        return table

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step: the answer in its response, else 0; shape (trial, time)."""
        table = np.zeros((timeline.n_trials, len(self.epoch_order)), np.int64)
        table[:, self.columns("response")] = self.due(conditions)
        return self.over_time(table, timeline)

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: 1 but for responses in which no answer is asked."""
        asked = self.asked(conditions)
        if timeline.shared and (len(asked) == 1 or (asked == asked[:1]).all()):
            # The same in all trials, and held once.
            asked, n_rows = asked[:1], 1
        else:
            n_rows = timeline.n_trials
        table = np.ones((n_rows, len(self.epoch_order)), np.float32)
        table[:, self.columns("response")] = asked
        return np.broadcast_to(self.over_time(table, timeline), (timeline.n_trials, timeline.n_steps))

    def answers(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the class with the largest output over each response, shape (trial, answer).

        Outputs are averaged over a response's steps. Class 0 (fixate) counts as no answer, -1.
        """
        chosen = self.mean_over("response", outputs, trials).argmax(axis=2)
        return np.where(chosen == FIXATION, NO_CHOICE, chosen)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of right answers among those asked for, shape (trial,)."""
        asked = self.asked(trials.conditions)
        right = self.answers(outputs, trials) == self.due(trials.conditions)
        return (right & asked).sum(axis=1) / asked.sum(axis=1)


@lru_cache
def recall_epochs(n_items: int) -> tuple[str, ...]:
    """Return the epochs of a trial that shows items with gaps between, and after a delay asks for all."""
    shown = in_turn(("stimulus", "gap"), n_items)[:-1]
    return ("fixation", *shown, "delay", *numbered("response", n_items))


@dataclass(frozen=True)
class SequenceRecall(AnswersTask):
    """Recall a sequence of items in their order after a delay (serial recall).

    Story
        Items of a small alphabet appear one after another. After a delay the fixation cue goes off, and at
        each go signal the next item is to be named, the first one first.

    Inputs
        ============ =====================================================
        channel      meaning
        ============ =====================================================
        ``fixation`` 1 until the first response, then 0
        ``go``       1 in the first step of each response, otherwise 0
        ``item_k``   1 while item k is shown, otherwise 0
        ============ =====================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on all item channels until the first
        response. Each item is drawn by itself, so that one may come twice.

    Targets
        Classes ``fixate`` until the first response, then ``item_k`` for the item due in each response.

    Epochs
        ``fixation`` 100, ``stimulus_1`` to ``stimulus_n`` 100 each with ``gap_k`` 100 between them,
        ``delay`` 500, ``response_1`` to ``response_n`` 100 ms each.

    Scoring
        Share of the positions in which the largest output, averaged over the response, is the item that was
        shown there. Chance is one over the number of items in the alphabet. An item named in another's
        position counts as wrong.

    Constant inputs
        ``delay``: the fixation cue only. ``recall``: nothing, as in a response after its go signal.

    Recipe
        `RateRNN` of 128 tanh units without leak, orthogonal recurrent weights at the start, 2000 steps of
        Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_items : int
        Length of the sequence.
    alphabet : int
        Number of different items.
    fixation, stimulus, gap, delay, response : float or Distribution
        Durations in ms; ``stimulus``, ``gap`` and ``response`` are those of each item.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Botvinick, M. M. & Plaut, D. C. (2006). Short-term memory for serial order: a recurrent neural network
    model. Psychological Review 113, 201-233. doi:10.1037/0033-295X.113.2.201

    Xie, Y. et al. (2022). Geometry of sequence working memory in macaque prefrontal cortex. Science 375,
    632-639. doi:10.1126/science.abm0204

    Examples
    --------
    >>> task = SequenceRecall(n_items=2, alphabet=3)
    >>> trials = task.factorial()
    >>> trials.conditions["item_2"].tolist()
    [1, 2, 3, 1, 2, 3, 1, 2, 3]
    >>> trials.targets[5, -4:].tolist()
    [2, 2, 3, 3]
    """

    n_items: int = 3
    alphabet: int = 5
    fixation: Duration = 100.0
    stimulus: Duration = 100.0
    gap: Duration = 100.0
    delay: Duration = 500.0
    response: Duration = 100.0
    noise_std: float = 0.5
    timing: str = "trial"
    dt: float = 50.0

    average_by = ("item_1",)
    accuracy_by = ("n_different",)

    def __post_init__(self) -> None:
        need_count(self.n_items, "n_items")
        need_count(self.alphabet, "alphabet", least=2)
        super().__post_init__()

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial."""
        return recall_epochs(self.n_items)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: two cues and one per item of the alphabet."""
        return 2 + self.alphabet

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: fixation and one per item of the alphabet."""
        return 1 + self.alphabet

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "go", *numbered("item", self.alphabet))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", *numbered("item", self.alphabet))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 128, "activation": "tanh", "recurrent_initialisation": "orthogonal"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.97,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """One over the number of items in the alphabet."""
        return 1 / self.alphabet

    @property
    def answer_entropy(self) -> float:
        """Entropy of an item in nats."""
        return math.log(self.alphabet)

    def factors(self) -> dict[str, Distribution]:
        """Return the items, each drawn by itself."""
        return {name: Choice(*range(1, self.alphabet + 1)) for name in numbered("item", self.n_items)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the number of different items beside the items."""
        items = np.sort(self.due(conditions), axis=1)
        return {**conditions, "n_different": 1 + (np.diff(items, axis=1) > 0).sum(axis=1)}

    def due(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the items in their order, shape (trial, answer)."""
        return stacked(conditions, "item", self.n_items)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the cues and the items in noise."""
        table = self.fixating_table(timeline.n_trials)
        items = self.due(conditions)
        table[np.arange(len(items))[:, None], self.places("stimulus"), 1 + items] = 1
        inputs = self.over_time(table, timeline)
        self.mark_first_steps(inputs[..., 1], "response", timeline)
        self.add_noise(inputs, timeline.before("response_1"), slice(2, None), rng)
        return inputs

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs of the delay and of the recall."""
        return {"delay": np.eye(self.n_inputs)[FIXATION], "recall": np.zeros(self.n_inputs)}


@dataclass(frozen=True)
class NBack(AnswersTask):
    """Say of each item of a stream whether it equals the one n items before (n-back).

    Story
        Items of a small alphabet appear one after another. After each of them the fixation cue goes off, and
        the answer is whether it was the same as the item n places before. The memory must be renewed with
        every item.

    Inputs
        ============ ==============================================
        channel      meaning
        ============ ==============================================
        ``fixation`` 1, and 0 in the responses
        ``item_k``   1 while item k is shown, otherwise 0
        ============ ==============================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on all item channels throughout the
        trial.

    Targets
        Classes ``fixate``, and in each response ``non_match`` or ``match``. The first n responses are masked.
        The matches of a trial are as many as ``match_share`` says, at random places; an item that is no match
        is any of the others, so that items which were shown n - 1 or n + 1 places before come too.

    Epochs
        ``fixation`` 100, then for each item ``stimulus_k`` 100 and ``response_k`` 100 ms.

    Scoring
        Mean of the share of matches that were called so and the share of non-matches that were called so;
        answers are the largest outputs, averaged over a response. Who always gives the same answer gets .5,
        whatever the share of matches.

    Constant inputs
        ``response``: nothing, the memory between two items. ``fixation``: the fixation cue only.

    Recipe
        `RateRNN` of 128 tanh units without leak, orthogonal recurrent weights at the start, 2000 steps of
        Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_back : int
        How many items before.
    n_items : int
        Length of the stream.
    alphabet : int
        Number of different items.
    match_share : float
        Share of the matches among the answers asked for, rounded to a whole number of them.
    fixation, stimulus, response : float or Distribution
        Durations in ms; ``stimulus`` and ``response`` are those of each item.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Kirchner, W. K. (1958). Age differences in short-term retention of rapidly changing information. Journal
    of Experimental Psychology 55, 352-358. doi:10.1037/h0043688

    Owen, A. M., McMillan, K. M., Laird, A. R. & Bullmore, E. (2005). N-back working memory paradigm: a
    meta-analysis of normative functional neuroimaging studies. Human Brain Mapping 25, 46-59.
    doi:10.1002/hbm.20131

    Examples
    --------
    >>> task = NBack(n_back=1, n_items=5)
    >>> trials = task.draw(1, np.random.default_rng(0))
    >>> [int(trials.conditions[f"item_{k}"][0]) for k in range(1, 6)]
    [5, 4, 4, 4, 2]
    >>> [bool(trials.conditions[f"match_{k}"][0]) for k in range(2, 6)]
    [False, True, True, False]
    """

    n_back: int = 2
    n_items: int = 10
    alphabet: int = 5
    match_share: float = 0.5
    fixation: Duration = 100.0
    stimulus: Duration = 100.0
    response: Duration = 100.0
    noise_std: float = 0.5
    timing: str = "trial"
    dt: float = 50.0

    average_by = ("item_1",)

    def __post_init__(self) -> None:
        need_count(self.n_back, "n_back")
        need_count(self.n_items, "n_items", least=self.n_back + 2)
        need_count(self.alphabet, "alphabet", least=2)
        need_positive(self.match_share, "match_share")
        if not 0 < self.n_matches < self.n_asked:
            raise InputError(
                f"`match_share` must leave at least one match and one non-match among {self.n_asked} "
                f"answers, got {self.match_share!r}: bring it nearer to 0.5 or lengthen n_items"
            )
        super().__post_init__()

    @property
    def n_asked(self) -> int:
        """How many answers of a trial are asked for."""
        return self.n_items - self.n_back

    @property
    def n_matches(self) -> int:
        """How many of them are matches."""
        return round(self.match_share * self.n_asked)

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial."""
        return ("fixation", *in_turn(("stimulus", "response"), self.n_items))

    n_outputs = 3

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the fixation cue and one per item of the alphabet."""
        return 1 + self.alphabet

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", *numbered("item", self.alphabet))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "non_match", "match")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 128, "activation": "tanh", "recurrent_initialisation": "orthogonal"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    @property
    def n_unasked(self) -> int:
        """The first n answers."""
        return self.n_back

    @property
    def answer_entropy(self) -> float:
        """Entropy of an answer in nats."""
        share = self.n_matches / self.n_asked
        return -share * math.log(share) - (1 - share) * math.log(1 - share)

    def factors(self) -> dict[str, Distribution]:
        """Return the first item; the others depend on one another."""
        return {"item_1": Choice(*range(1, self.alphabet + 1))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the items of the stream, and which of them are matches."""
        match = np.arange(self.n_asked) < self.n_matches
        match = rng.permuted(np.broadcast_to(match, (n_trials, self.n_asked)), axis=1)
        items = rng.integers(self.alphabet, size=(n_trials, self.n_items))
        items[:, 0] = conditions["item_1"] - 1
        # How far a non-match lies from the item n places before, around the alphabet.
        shift = rng.integers(1, self.alphabet, size=match.shape)
        # Row by row of n items, each lies as far from the one above as its shift says.
        n_rows = -(-self.n_items // self.n_back)
        moves = np.zeros((n_trials, n_rows * self.n_back), items.dtype)
        moves[:, : self.n_back] = items[:, : self.n_back]
        moves[:, self.n_back : self.n_items] = np.where(match, 0, shift)
        places = moves.reshape(n_trials, n_rows, self.n_back).cumsum(axis=1).reshape(n_trials, -1)
        items = places[:, : self.n_items] % self.alphabet
        matches = {f"match_{k + 1}": match[:, k - self.n_back] for k in range(self.n_back, self.n_items)}
        return {**conditions, **unstacked(items + 1, "item"), **matches}

    def due(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the right answer to each item, 0 for the first n, shape (trial, answer)."""
        asked = range(self.n_back + 1, self.n_items + 1)
        due = np.zeros((len(conditions["item_1"]), self.n_items), int)
        due[:, self.n_back :] = 1 + np.array([conditions[f"match_{k}"] for k in asked]).T
        return due

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the items in noise."""
        table = self.fixating_table(timeline.n_trials)
        items = stacked(conditions, "item", self.n_items)
        table[np.arange(len(items))[:, None], self.places("stimulus"), items] = 1
        inputs = self.over_time(table, timeline)
        self.add_noise(inputs, timeline.valid, slice(1, None), rng)
        return inputs

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the mean of the shares of matches and of non-matches that were called so, shape (trial,)."""
        due = self.due(trials.conditions)
        right = self.answers(outputs, trials) == due
        shares = [(right & (due == kind)).sum(axis=1) / (due == kind).sum(axis=1) for kind in (1, 2)]
        return np.mean(shares, axis=0)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs between items."""
        return {"response": np.zeros(self.n_inputs), "fixation": np.eye(self.n_inputs)[FIXATION]}


@dataclass(frozen=True)
class DelayedCopy(SerialTask):
    """Reproduce a sequence of vectors after a delay.

    Story
        Vectors of numbers appear one after another on several channels. After a delay they are to be put out
        in the same order, each at its go signal. How many numbers a network can keep, and how exactly, is its
        capacity.

    Inputs
        =========== ====================================================
        channel     meaning
        =========== ====================================================
        ``go``      1 in the first step of each response, otherwise 0
        ``value_k`` component k of the vector while it is shown, else 0
        =========== ====================================================

        Components are drawn evenly from -1 to 1, or from -1 and 1 where ``kind`` is "binary". Gaussian noise
        of standard deviation ``noise_std / sqrt(dt)`` on all value channels while a vector is shown.

    Targets
        ``value_k``: component k of the vector due in each response, 0 before.

    Epochs
        ``fixation`` 50, ``stimulus_1`` to ``stimulus_n`` 100 each with ``gap_k`` 100 between them, ``delay``
        500, ``response_1`` to ``response_n`` 100 ms each.

    Scoring
        Share of the numbers (components of all vectors) whose output, averaged over the response, is less
        than ``tolerance`` away. The best constant outputs reach a share ``tolerance`` of the numbers from -1
        to 1, and half of the binary ones.

    Constant inputs
        Zero, the input of the delay.

    Recipe
        `RateRNN` of 128 tanh units without leak, orthogonal recurrent weights at the start, 2000 steps of
        Adam at 1e-3 with 64 trials each.

    Parameters
    ----------
    n_items : int
        Number of vectors.
    n_channels : int
        Components of a vector.
    kind : {"continuous", "binary"}
        Whether a component is any number from -1 to 1, or one of the two.
    tolerance : float
        Largest error of a number that counts as right.
    fixation, stimulus, gap, delay, response : float or Distribution
        Durations in ms; ``stimulus``, ``gap`` and ``response`` are those of each vector.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    White, O. L., Lee, D. D. & Sompolinsky, H. (2004). Short-term memory in orthogonal neural networks.
    Physical Review Letters 92, 148102. doi:10.1103/PhysRevLett.92.148102

    Graves, A., Wayne, G. & Danihelka, I. (2014). Neural Turing machines. arXiv.
    doi:10.48550/arXiv.1410.5401 (its copy task: binary vectors)

    Examples
    --------
    >>> task = DelayedCopy(n_items=2, n_channels=1, kind="binary", noise_std=0)
    >>> trials = task.draw(1, np.random.default_rng(0))
    >>> trials.inputs[0, :, 1].astype(int).tolist()[:7]
    [0, 1, 1, 0, 0, -1, -1]
    >>> trials.targets[0, -4:, 0].astype(int).tolist()
    [1, 1, -1, -1]
    """

    n_items: int = 3
    n_channels: int = 2
    kind: str = "continuous"
    tolerance: float = 0.2
    fixation: Duration = 50.0
    stimulus: Duration = 100.0
    gap: Duration = 100.0
    delay: Duration = 500.0
    response: Duration = 100.0
    noise_std: float = 0.1
    timing: str = "trial"
    dt: float = 50.0

    def __post_init__(self) -> None:
        need_count(self.n_items, "n_items")
        need_count(self.n_channels, "n_channels")
        need_choice(self.kind, "kind", KINDS)
        if need_positive(self.tolerance, "tolerance") >= 1:
            raise InputError(
                f"`tolerance` must be below 1, or a constant output could be right for all, "
                f"got {self.tolerance!r}"
            )
        super().__post_init__()

    @cached_property
    def epoch_order(self) -> tuple[str, ...]:  # type: ignore[override]
        """The epochs of a trial."""
        return recall_epochs(self.n_items)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the go signal and one per component."""
        return 1 + self.n_channels

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels: one per component."""
        return self.n_channels

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("go", *numbered("value", self.n_channels))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return numbered("value", self.n_channels)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 128, "activation": "tanh", "recurrent_initialisation": "orthogonal"},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.95,
        )

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of the numbers within the tolerance of the best constant."""
        return 0.5 if self.kind == "binary" else self.tolerance

    @property
    def chance_loss(self) -> float | None:
        """Mean square of a component times the responses' share of the steps; None where these are drawn."""
        share = self.share_of_steps(self.places("response"), list(range(len(self.epoch_order))))
        return None if share is None else share * (1.0 if self.kind == "binary" else 1 / 3)

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the components of all vectors, ``value_2_1`` being the first one of the second vector."""
        values = rng.uniform(-1, 1, (n_trials, self.n_items, self.n_channels))
        if self.kind == "binary":
            values = np.where(values < 0, -1.0, 1.0)
        for item in range(self.n_items):
            conditions |= unstacked(values[:, item], f"value_{item + 1}")
        return conditions

    def values(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the vectors in their order, shape (trial, vector, component)."""
        vectors = numbered("value", self.n_items)
        names = [own for vector in vectors for own in numbered(vector, self.n_channels)]
        return np.array([conditions[own] for own in names]).T.reshape(-1, self.n_items, self.n_channels)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the go signals and the vectors in noise."""
        table = self.table(timeline.n_trials, self.n_inputs)
        table[:, self.columns("stimulus"), 1:] = self.values(conditions)
        inputs = self.over_time(table, timeline)
        self.mark_first_steps(inputs[..., 0], "response", timeline)
        self.add_noise_in("stimulus", inputs, slice(1, None), timeline, rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the vector due in each response, else 0, shape (trial, time, output_channel)."""
        table = self.table(timeline.n_trials, self.n_outputs)
        table[:, self.columns("response")] = self.values(conditions)
        return self.over_time(table, timeline)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of the numbers that are reproduced within the tolerance, shape (trial,)."""
        error = np.abs(self.mean_over("response", outputs, trials) - self.values(trials.conditions))
        return (error < self.tolerance).mean(axis=(1, 2))

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay."""
        return {"delay": np.zeros(self.n_inputs)}
