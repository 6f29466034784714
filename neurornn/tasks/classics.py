"""Classics of the learning of long dependencies: one thing must be kept through many steps.

Their papers count steps and know no milliseconds: here a step lasts ``dt`` = 1 ms by convention, so that a
duration in ms is a number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from neurornn.numerics.binomial import normal_cdf
from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform, as_distribution
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Loss, Trials
from neurornn.vocabulary import InputError, need_choice, need_count, need_positive

FORMS = ("unit", "original")
FIRST_MARKER_WITHIN = 10
"""In the original adding problem, the first marker stands at one of so many first steps."""
DISTRACTORS = ("a", "b", "c", "d")
RELEVANT = ("X", "Y")
TARGET = 0.8
"""Size of the latching problem's targets, within reach of a tanh unit."""


class FinalAnswerTask(EpochTask):
    """A task that asks once, in the last step of a trial.

    Where the loss is the cross-entropy, there is a class for every answer, none for "no answer", and the
    condition ``target_choice`` is the right one; the largest output of the last step is the choice.
    """

    def weigh(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the mask: 1 in the last step."""
        return self.at_the_end(1, timeline)

    @staticmethod
    def at_the_end(values: np.ndarray | float, timeline: Timeline) -> np.ndarray:
        """Return values, one or an array (trial,), in the last step and 0 before, shape (trial, time)."""
        steps = np.zeros((timeline.n_trials, timeline.n_steps), np.float32)
        last = timeline.end - 1
        if timeline.shared:
            steps[:, last[0]] = values
        else:
            steps[np.arange(timeline.n_trials), last] = values
        return steps

    @staticmethod
    def last_outputs(outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the outputs of the last step, shape (trial, output_channel)."""
        return outputs[np.arange(trials.n_trials), trials.timeline.end - 1]

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class, shape (trial, time), at all steps, because no class means "no answer"."""
        return np.repeat(conditions["target_choice"][:, None], timeline.n_steps, axis=1)

    def choose(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the class with the largest output in the last step, shape (trial,)."""
        return self.last_outputs(outputs, trials).argmax(axis=1)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial with the right class in the last step, else 0, shape (trial,)."""
        return (self.choose(outputs, trials) == trials.conditions["target_choice"]).astype(float)


def place(phase: np.ndarray, n_places: Any) -> np.ndarray:
    """Return which of several places a number in [0, 1) stands for."""
    return np.floor(phase * n_places).astype(int)


@dataclass(frozen=True)
class Adding(FinalAnswerTask):
    """Add the two marked numbers of a long sequence (adding problem).

    Story
        Random numbers stream in, and a second channel marks two of them. At the end their sum must be
        said, so that each has to be kept, exactly, from its marker on.

    Inputs
        ========== =========================================
        channel    meaning
        ========== =========================================
        ``value``  a random number at every step
        ``marker`` 1 at the two steps that count, otherwise 0
        ========== =========================================

        In the form ``unit``, that of Le, Jaitly and Hinton, numbers are uniform in [0, 1), and one marker
        stands in each half of the sequence. In the form ``original`` numbers are uniform in [-1, 1); the
        first marker stands at one of the first 10 steps, the second at one of the first T / 2 - 1 unmarked
        ones of the T steps; the marker channel is -1 in the first and the last step, and where one of the
        two markers falls on the first step, that number is 0.

    Targets
        ``sum``, asked in the last step only: X1 + X2 in the form ``unit``, .5 + (X1 + X2) / 4 in the form
        ``original``.

    Epochs
        ``stimulus`` 50 ms. The paper counts steps: one lasts ``dt`` = 1 ms by convention. The conditions
        ``first_time`` and ``second_time`` tell when the markers come, in ms; they follow from
        ``first_phase`` and ``second_phase``, where in their ranges they stand, from 0 to 1.

    Scoring
        1 where the output of the last step is less than ``tolerance`` from the target. By chance, always
        saying the mean: .0784 in the form ``unit``, .154 in the form ``original``.

    Constant inputs
        ``no marker``: the mean number, not marked.

    Recipe
        `LSTM` of 64 units with a forget bias of 1, 2000 steps of Adam at 5e-3 with 64 trials each. A
        `RateRNN` of 64 tanh units (Adam at 1e-3) had a fifth of the trials right after as many steps.

    Parameters
    ----------
    form : {"unit", "original"}
        Range of the numbers, places of the markers and scale of the target.
    tolerance : float
        Largest error of a right answer, .04 as in the original form; the same number is the stricter beside
        the larger targets of the form ``unit``.
    stimulus : float or Distribution
        Length of a sequence in ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Hochreiter, S. & Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9, 1735-1780.
    doi:10.1162/neco.1997.9.8.1735

    Le, Q. V., Jaitly, N. & Hinton, G. E. (2015). A simple way to initialize recurrent networks of rectified
    linear units. arXiv 1504.00941. doi:10.48550/arXiv.1504.00941

    Examples
    --------
    >>> task = Adding()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.inputs[..., 1].sum(axis=1).tolist()
    ((4, 50, 2), [2.0, 2.0, 2.0, 2.0])
    >>> round(task.chance_loss, 4)
    0.1667
    """

    form: str = "unit"
    tolerance: float = 0.04
    stimulus: Duration = 50.0
    timing: str = "trial"
    dt: float = 1.0

    n_inputs = 2
    n_outputs = 1
    epoch_order = ("stimulus",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_choice(self.form, "form", FORMS)
        need_positive(self.tolerance, "tolerance")
        _need_steps(self, "stimulus", 2 if self.form == "unit" else 4)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("value", "marker")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("sum",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"family": "LSTM", "hidden_size": 64, "forget_bias": 1.0},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 5e-3},
            criterion=0.95,
        )

    @property
    def chance_loss(self) -> float | None:
        """The target's variance: 1/6 in the form ``unit``, below 1/24 in the other (a number can be 0)."""
        if self.form == "unit":
            return 1 / 6
        blanked = self._share_blanked()
        return None if blanked is None else (2 - blanked) / 48

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """Share of targets closer than the tolerance to their mean, or its bound where lengths vary."""
        if self.form == "unit":
            return _triangular(self.tolerance)
        blanked = self._share_blanked()
        # One number alone is uniform, and lies near the mean more often than the sum of two.
        alone = min(4 * self.tolerance, 1.0)
        return alone if blanked is None else (1 - blanked) * _triangular(2 * self.tolerance) + blanked * alone

    def _share_blanked(self) -> float | None:
        """Return the share of trials of which a marker falls on the first step; None where lengths vary."""
        shortest, longest = as_distribution(self.stimulus, "stimulus").bounds()
        if shortest != longest:
            return None
        half = self.steps(shortest) // 2
        first = 1 / min(FIRST_MARKER_WITHIN, half)
        return first + (1 - first) / (half - 1)

    def factors(self) -> dict[str, Distribution]:
        """Return the two numbers that count."""
        numbers = Uniform(0.0 if self.form == "unit" else -1.0, 1.0)
        return {"first_value": numbers, "second_value": numbers}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the numbers and where in their ranges the markers stand."""
        return {**conditions, "first_phase": rng.random(n_trials), "second_phase": rng.random(n_trials)}

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, and when the markers come in ms."""
        timeline, varied = super()._timeline(n_trials, conditions, rng)
        first, second = self.places(conditions, timeline)
        times = {"first_time": first * float(self.dt), "second_time": second * float(self.dt)}
        return timeline, {**varied, **times}

    def places(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps of the two markers, each of shape (trial,)."""
        half = timeline.end // 2
        phases = conditions["first_phase"], conditions["second_phase"]
        if self.form == "unit":
            return place(phases[0], half), half + place(phases[1], timeline.end - half)
        first = place(phases[0], np.minimum(FIRST_MARKER_WITHIN, half))
        second = place(phases[1], half - 1)
        # Counted among the steps that the first marker has left.
        return first, second + (second >= first)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the numbers and the markers."""
        inputs, trial = self.blank(timeline), np.arange(timeline.n_trials)
        numbers = rng.random((timeline.n_trials, timeline.n_steps), dtype=np.float32)
        inputs[..., 0] = numbers if self.form == "unit" else 2 * numbers - 1
        for name, step in zip(("first", "second"), self.places(conditions, timeline), strict=True):
            inputs[trial, step, 0] = conditions[f"{name}_value"]
            inputs[trial, step, 1] = 1
        if self.form == "original":
            inputs[inputs[:, 0, 1] == 1, 0, 0] = 0
            inputs[:, 0, 1] = inputs[trial, timeline.end - 1, 1] = -1
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the target, in the last step, shape (trial, time, 1)."""
        values = [conditions["first_value"], conditions["second_value"]]
        if self.form == "unit":
            answer = values[0] + values[1]
        else:
            places = self.places(conditions, timeline)
            counted = [np.where(step == 0, 0, own) for own, step in zip(values, places, strict=True)]
            answer = 0.5 + (counted[0] + counted[1]) / 4
        return self.at_the_end(answer, timeline)[..., None]

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial whose answer is within the tolerance, else 0, shape (trial,)."""
        error = self.last_outputs(outputs, trials) - self.last_outputs(trials.targets, trials)
        return (np.abs(error[:, 0]) < self.tolerance).astype(float)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the mean number without a marker."""
        return {"no marker": np.array([0.5 if self.form == "unit" else 0.0, 0.0])}


def _triangular(share: float) -> float:
    """Return the mass of a triangular density within a share of its half-width from its peak."""
    return 1 - (1 - min(share, 1.0)) ** 2


def _need_steps(task: EpochTask, name: str, least: int) -> None:
    """Refuse a duration that can be shorter than so many steps."""
    value = getattr(task, name)
    shortest = as_distribution(value, name).bounds()[0]
    if task.steps(shortest) < least:
        raise InputError(
            f"`{name}` must last at least {least} steps of dt = {task.dt} ms, got {value!r} ms: lengthen it "
            "or choose a smaller dt"
        )


@dataclass(frozen=True)
class Copy(EpochTask):
    """Say a list of letters again after a delay (copy memory problem).

    Story
        Letters come in one by one; then nothing for a long time, until a delimiter asks for them, and they
        must be said again in their order. The network cannot know the answer without holding all of them.

    Inputs
        ============= ================================================================
        channel       meaning
        ============= ================================================================
        ``blank``     1 in the delay and the response, but not with the delimiter
        ``letter_k``  1 at each step of the stimulus that shows letter k, from 1 on
        ``delimiter`` 1 in the last step of the delay
        ============= ================================================================

    Targets
        Classes ``blank`` until the response, then the letters ``letter_k`` in their order, one a step. All
        steps count in the loss. Always saying blank, and in the response all letters alike, has a loss of
        10 ln 8 / (T + 20) with 10 of 8 letters and a delay of T steps.

    Epochs
        ``stimulus`` and ``response``, as many steps as letters; ``delay`` 20 ms between them. The paper
        counts steps: one lasts ``dt`` = 1 ms by convention. The conditions ``letter_1``, ``letter_2``, ...
        tell which letter stands at each place.

    Scoring
        Share of letters said right: steps of the response whose largest output is the right letter. What is
        said before does not count. By chance 1/8.

    Constant inputs
        ``delay``: blank.

    Recipe
        `GRU` of 128 units, 2500 steps of Adam at 1e-2 with 64 trials each. A `RateRNN` of 128 tanh units
        from orthogonal weights (Adam at 1e-3) was still at chance after 2000 steps.

    Parameters
    ----------
    n_letters : int
        Number of different letters.
    sequence_length : int
        Number of letters that are shown.
    delay : float or Distribution
        Time from the last letter to the response in ms, the delimiter included.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Arjovsky, M., Shah, A. & Bengio, Y. (2016). Unitary evolution recurrent neural networks. Proceedings of
    the 33rd International Conference on Machine Learning, 1120-1128. doi:10.48550/arXiv.1511.06464

    Hochreiter, S. & Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9, 1735-1780.
    doi:10.1162/neco.1997.9.8.1735

    Examples
    --------
    >>> task = Copy(sequence_length=3, delay=4)
    >>> trials = task.draw(5, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.targets[:, :7].any()
    ((5, 10, 10), np.False_)
    >>> bool((trials.inputs.argmax(axis=-1)[:, :3] == trials.targets[:, 7:]).all())
    True
    >>> round(Copy().chance_loss, 4)
    0.5199
    """

    n_letters: int = 8
    sequence_length: int = 10
    delay: Duration = 20.0
    timing: str = "trial"
    dt: float = 1.0

    loss: ClassVar[Loss] = "cross_entropy"
    epoch_order = ("stimulus", "delay", "response")
    # The delimiter needs a step.
    empty_epochs = ()
    average_by = ("letter_1",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_count(self.n_letters, "n_letters", least=2)
        need_count(self.sequence_length, "sequence_length")

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: the letters, blank and delimiter."""
        return self.n_letters + 2

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of classes: the letters and blank."""
        return self.n_letters + 1

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return (*self.output_labels, "delimiter")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("blank", *(f"letter_{k}" for k in range(1, self.n_letters + 1)))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"family": "GRU", "hidden_size": 128},
            training={"n_steps": 2500, "batch_size": 64, "learning_rate": 1e-2},
            criterion=0.9,
        )

    @property
    def chance_loss(self) -> float | None:
        """That of saying all letters alike, and blank for sure, where the delay is fixed."""
        shortest, longest = as_distribution(self.delay, "delay").bounds()
        if shortest != longest:
            return None
        n_steps = self.steps(shortest) + 2 * self.sequence_length
        return self.sequence_length * math.log(self.n_letters) / n_steps

    @property
    def chance_score(self) -> float:  # type: ignore[override]
        """One letter in so many."""
        return 1 / self.n_letters

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration of each epoch in ms: a step for each letter."""
        letters = self.sequence_length * float(self.dt)
        return {"stimulus": letters, "delay": self.delay, "response": letters}

    def factors(self) -> dict[str, Distribution]:
        """Return the first letter; to cross all places would be too many."""
        return {"letter_1": Choice(*range(1, self.n_letters + 1))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return all letters."""
        others = rng.integers(1, self.n_letters + 1, size=(self.sequence_length - 1, n_trials))
        return {**conditions, **{f"letter_{k}": own for k, own in enumerate(others, start=2)}}

    def letters(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the letters in their order, shape (trial, place)."""
        return np.stack([conditions[f"letter_{k}"] for k in range(1, self.sequence_length + 1)], axis=1)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return letters, blanks and delimiter, one channel being 1 at each step."""
        symbol = np.zeros((timeline.n_trials, timeline.n_steps), int)
        symbol[:, : self.sequence_length] = self.letters(conditions)
        symbol[np.arange(timeline.n_trials), timeline.stop["delay"] - 1] = self.n_letters + 1
        # `take` copies rows several times as fast as an index in brackets.
        return np.eye(self.n_inputs, dtype=np.float32).take(symbol, axis=0)

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the right class at each step: blank, then the letters; shape (trial, time)."""
        targets = np.zeros((timeline.n_trials, timeline.n_steps), int)
        # Trials come in order and have equally many letters, so that the entries run as the letters do.
        targets[timeline.during("response")] = self.letters(conditions).ravel()
        return targets

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the share of letters said right, shape (trial,)."""
        right = (outputs.argmax(axis=-1) == trials.targets) & trials.in_epoch("response")
        return right.sum(axis=1) / self.sequence_length

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delay."""
        return {"delay": np.eye(self.n_inputs)[0]}


@dataclass(frozen=True)
class TemporalOrder(FinalAnswerTask):
    """Say in which order two symbols came, far apart among many others (temporal order problem).

    Story
        A stream of symbols, all but two of them without meaning. The two that matter, each X or Y, come
        early and in the middle; at the end one of four classes says which they were, and in what order.

    Inputs
        ================== =========================================================
        channel            meaning
        ================== =========================================================
        ``X``, ``Y``       1 at one of the two steps that count, if that symbol is shown
        ``a`` to ``d``     1 at the other steps, one of the four by chance
        ``start``, ``end`` 1 in the first and in the last step (only with ``framed``)
        ================== =========================================================

        Of T steps, the first symbol that counts stands at any from T / 10 through 2 T / 10, the second at
        any from 5 T / 10 through 6 T / 10.

    Targets
        Classes ``XX``, ``XY``, ``YX``, ``YY``, asked in the last step only.

    Epochs
        ``stimulus`` 30 ms. The paper counts steps, 100 to 110 of them: one lasts ``dt`` = 1 ms by
        convention. The conditions ``first_time`` and ``second_time`` tell when the two symbols come, in ms;
        they follow from ``first_phase`` and ``second_phase``, where in their ranges they stand, from 0 to 1.

    Scoring
        1 where the largest output of the last step is the right class; by chance 1/4. (The paper asks every
        output to be within .3 of its target.)

    Constant inputs
        ``symbol a`` to ``symbol d``: one of the symbols without meaning, for ever.

    Recipe
        `RateRNN` of 64 tanh units without leak, from orthogonal weights, 1500 steps of Adam at 1e-3 with 64
        trials each.

    Parameters
    ----------
    framed : bool
        Whether there are symbols for the start and the end, as in Hochreiter and Schmidhuber's task 6a (they
        call them E and B); without them it is that of Pascanu, Mikolov and Bengio, 6 symbols.
    stimulus : float or Distribution
        Length of a sequence in ms.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Hochreiter, S. & Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9, 1735-1780.
    doi:10.1162/neco.1997.9.8.1735

    Pascanu, R., Mikolov, T. & Bengio, Y. (2013). On the difficulty of training recurrent neural networks.
    Proceedings of the 30th International Conference on Machine Learning, 1310-1318.
    doi:10.48550/arXiv.1211.5063

    Examples
    --------
    >>> trials = TemporalOrder().factorial()
    >>> trials.inputs.shape, trials.conditions["order"].tolist()
    ((4, 30, 8), ['XX', 'XY', 'YX', 'YY'])
    """

    framed: bool = True
    stimulus: Duration = 30.0
    timing: str = "trial"
    dt: float = 1.0

    loss: ClassVar[Loss] = "cross_entropy"
    chance_score = 0.25
    n_outputs = 4
    epoch_order = ("stimulus",)
    average_by = ("order",)
    accuracy_by = ("order",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.framed, bool):
            raise InputError(f"`framed` must be True or False, got {self.framed!r}")
        _need_steps(self, "stimulus", 4)

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels: one per symbol."""
        return len(self.input_labels)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return (*RELEVANT, *DISTRACTORS, *(("start", "end") if self.framed else ()))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(map("".join, product(RELEVANT, repeat=2)))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 64,
                "activation": "tanh",
                "recurrent_initialisation": "orthogonal",
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 1e-3},
            criterion=0.98,
        )

    @property
    def chance_loss(self) -> float | None:
        """The logarithm of 4: four classes equally often."""
        return math.log(4)

    def factors(self) -> dict[str, Distribution]:
        """Return the two symbols that count."""
        return {"first_symbol": Choice(*RELEVANT), "second_symbol": Choice(*RELEVANT)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the order, the class and where in their ranges the two symbols stand."""
        right = 2 * (conditions["first_symbol"] == "Y") + (conditions["second_symbol"] == "Y")
        return {
            **conditions,
            # The classes are called by the order of the symbols.
            "order": np.array(self.output_labels)[right],
            "target_choice": right,
            "first_phase": rng.random(n_trials),
            "second_phase": rng.random(n_trials),
        }

    def _timeline(
        self, n_trials: int, conditions: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[Timeline, dict[str, np.ndarray]]:
        """Return when the epochs happen, and when the two symbols come in ms."""
        timeline, varied = super()._timeline(n_trials, conditions, rng)
        first, second = self.places(conditions, timeline)
        times = {"first_time": first * float(self.dt), "second_time": second * float(self.dt)}
        return timeline, {**varied, **times}

    @staticmethod
    def places(conditions: Mapping[str, np.ndarray], timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps of the two symbols that count, each of shape (trial,)."""
        n_steps, chosen = timeline.end, []
        for name, tenth in (("first", 1), ("second", 5)):
            # The first step is that of the start, in the shortest sequences too.
            low = np.maximum(tenth * n_steps // 10, 1)
            high = np.maximum((tenth + 1) * n_steps // 10, low)
            chosen.append(low + place(conditions[f"{name}_phase"], high - low + 1))
        return chosen[0], chosen[1]

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the symbols, one channel being 1 at each step."""
        trial, labels = np.arange(timeline.n_trials), self.input_labels
        size = timeline.n_trials, timeline.n_steps
        symbol = rng.integers(len(RELEVANT), len(RELEVANT) + len(DISTRACTORS), size=size)
        for name, step in zip(("first", "second"), self.places(conditions, timeline), strict=True):
            symbol[trial, step] = conditions[f"{name}_symbol"] == "Y"
        if self.framed:
            symbol[:, 0] = labels.index("start")
            symbol[trial, timeline.end - 1] = labels.index("end")
        # `take` copies rows several times as fast as an index in brackets.
        return np.eye(self.n_inputs, dtype=np.float32).take(symbol, axis=0)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return each of the symbols without meaning."""
        channels = np.eye(self.n_inputs)
        return {f"symbol {own}": channels[self.input_labels.index(own)] for own in DISTRACTORS}


@dataclass(frozen=True)
class Latching(FinalAnswerTask):
    """Hold a bit, shown in the first steps, through noise (the two-sequence problem).

    Story
        The first few steps say which of two classes the sequence is of; all that follows is noise. At the
        end the class must be said. What keeps a bit safe from noise, an attractor, also makes gradients
        vanish on their way back to the steps that told it.

    Inputs
        ========= =========================================================================
        channel   meaning
        ========= =========================================================================
        ``input`` ``bit`` times ``strength`` during the stimulus, then Gaussian noise of standard
                  deviation ``noise_std / sqrt(dt)`` per step
        ========= =========================================================================

        In the paper the network is one unit whose state starts at 0, and the values of the first L = 3
        steps are themselves learned, one set for each class, and enter it without a weight. Here they are
        given, the same for both classes but for their sign, and noise and bit pass the same learned input
        weights, so that the network cannot make the bit larger beside the noise.

    Targets
        ``bit``, asked in the last step only: .8 or -.8 as in the paper.

    Epochs
        ``stimulus`` 3, ``delay`` 17 ms, together the paper's T = 20 steps: one lasts ``dt`` = 1 ms by
        convention.

    Scoring
        1 where the output of the last step has the sign of the bit.

    Constant inputs
        ``zero input``: the mean of the delay.

    Recipe
        `RateRNN` of 64 tanh units without leak, 500 steps of Adam at 2e-3 with 64 trials each.

    Parameters
    ----------
    strength : float
        Size of the input that shows the bit.
    stimulus, delay : float or Distribution
        Durations in ms: of the steps that tell the bit, and of the noise after them.
    noise_std : float
        Input noise in units of sqrt(ms); the default is a variance of .2 per step of 1 ms, as in the paper.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Bengio, Y., Simard, P. & Frasconi, P. (1994). Learning long-term dependencies with gradient descent is
    difficult. IEEE Transactions on Neural Networks 5, 157-166. doi:10.1109/72.279181

    Examples
    --------
    >>> trials = Latching(noise_std=0, delay=2).factorial()
    >>> trials.inputs[..., 0].tolist()
    [[-1.0, -1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0, 0.0]]
    """

    strength: float = 1.0
    stimulus: Duration = 3.0
    delay: Duration = 17.0
    noise_std: float = math.sqrt(0.2)
    timing: str = "trial"
    dt: float = 1.0

    n_inputs = 1
    n_outputs = 1
    epoch_order = ("stimulus", "delay")
    average_by = ("bit",)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self.strength, "strength")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("input",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("bit",)

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"hidden_size": 64, "activation": "tanh"},
            training={"n_steps": 500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.98,
        )

    @property
    def chance_loss(self) -> float | None:
        """The square of the target, whose mean is 0."""
        return TARGET**2

    def factors(self) -> dict[str, Distribution]:
        """Return the bit."""
        return {"bit": Choice(-1, 1)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the bit, then noise."""
        inputs = self.blank(timeline)
        timeline.fill(inputs[..., 0], self.strength * conditions["bit"], "stimulus")
        self.add_noise(inputs, timeline.during("delay"), slice(0, 1), rng)
        return inputs

    def ask(self, conditions: Mapping[str, np.ndarray], timeline: Timeline) -> np.ndarray:
        """Return the target, in the last step, shape (trial, time, 1)."""
        return self.at_the_end(TARGET * conditions["bit"], timeline)[..., None]

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return 1 for each trial whose last output has the sign of the bit, else 0, shape (trial,)."""
        return (np.sign(self.last_outputs(outputs, trials)[:, 0]) == trials.conditions["bit"]).astype(float)


@dataclass(frozen=True)
class DelayedXOR(ChoiceTask):
    """Say whether two stimuli, a delay between them, had the same sign (temporal exclusive or).

    Story
        Two stimuli come one after the other, each positive or negative. After a second delay the answer is
        asked: same or different? Neither stimulus alone says anything about it, so that the first must be
        held and put together with the second.

    Inputs
        ============== ==============================================
        channel        meaning
        ============== ==============================================
        ``fixation``   1 until the response, then 0
        ``stimulus_1`` +1 or -1 plus noise during the first stimulus
        ``stimulus_2`` +1 or -1 plus noise during the second stimulus
        ============== ==============================================

        Noise has standard deviation ``noise_std / sqrt(dt)`` per step.

    Targets
        Classes ``fixate`` until the response, then ``same`` or ``different``.

    Epochs
        ``fixation`` 250, ``stimulus_1`` 250, ``delay_1`` 500, ``stimulus_2`` 250, ``delay_2`` 250,
        ``response`` 250 ms. In the paper's code both delays are 50 ms, there is no fixation cue, and one
        output is +1 (same) or -1 for 500 ms.

    Scoring
        1 where the largest output in the response is the right class.

    Ideal observer
        Takes the sign of each stimulus's sum. It reads a stimulus of duration t right with probability p =
        Phi(sqrt(t) / noise_std), and is right where both or neither are: practically always by default.

    Constant inputs
        ``delay``: fixation on, no stimulus.

    Recipe
        `RateRNN` of 64 tanh units without leak, from orthogonal weights, 1500 steps of Adam at 2e-3 with 64
        trials each.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is that of both stimuli.
    noise_std : float
        Input noise in units of sqrt(ms).
    catch_probability : float
        Share of trials with the fixation cue only, to its end, in which no answer must be given.
    timing : {"trial", "batch"}
        Whether varied durations are drawn for each trial or once a batch.
    dt : float
        Time step in ms.

    References
    ----------
    Kim, R., Li, Y. & Sejnowski, T. J. (2019). Simple framework for constructing functional spiking recurrent
    neural networks. Proceedings of the National Academy of Sciences 116, 22811-22820.
    doi:10.1073/pnas.1905926116

    Examples
    --------
    >>> trials = DelayedXOR(noise_std=0).factorial()
    >>> [trials.conditions[name].tolist() for name in ("first", "second", "target_choice")]
    [[-1, -1, 1, 1], [-1, 1, -1, 1], [1, 2, 2, 1]]
    """

    fixation: Duration = 250.0
    stimulus: Duration = 250.0
    delay_1: Duration = 500.0
    delay_2: Duration = 250.0
    response: Duration = 250.0
    noise_std: float = 1.0
    catch_probability: float = 0.0
    timing: str = "trial"
    dt: float = 50.0

    n_inputs = 3
    n_outputs = 3
    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    average_by = ("first", "second")
    accuracy_by = ("first", "second")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("fixation", "stimulus_1", "stimulus_2")

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("fixate", "same", "different")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 64,
                "activation": "tanh",
                "recurrent_initialisation": "orthogonal",
            },
            training={"n_steps": 1500, "batch_size": 64, "learning_rate": 2e-3},
            criterion=0.98,
        )

    def factors(self) -> dict[str, Distribution]:
        """Return the signs of the two stimuli."""
        return {"first": Choice(-1, 1), "second": Choice(-1, 1)}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the signs and the right answer."""
        return {**conditions, "target_choice": np.where(conditions["first"] == conditions["second"], 1, 2)}

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the fixation cue and the two stimuli in noise."""
        inputs = self.fixating(timeline)
        for channel, name in ((1, "first"), (2, "second")):
            epoch = f"stimulus_{channel}"
            timeline.fill(inputs[..., channel], conditions[name], epoch)
            self.add_noise(inputs, timeline.during(epoch), slice(channel, channel + 1), rng)
        return inputs

    def ideal_choices(self, trials: Trials) -> np.ndarray:
        """Return the choices of an observer who sums each stimulus without loss, shape (trial,)."""
        sums = trials.inputs[..., 1:].sum(axis=1, dtype=float)
        return self.unless_held(np.where(sums[:, 0] * sums[:, 1] > 0, 1, 2), trials)

    def ideal_accuracy(self, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the ideal observer's share of right choices in trials of these conditions, shape (trial,).

        A stimulus of n steps sums to n with variance n s^2, s being the noise of one step, so that its sign
        is read right with probability Phi(sqrt(n) / s).
        """
        least = as_distribution(self.stimulus, "stimulus").bounds()[0]
        both = []
        for name in ("stimulus_1", "stimulus_2"):
            shown = np.asarray(conditions.get(f"{name}_duration", least))
            with np.errstate(divide="ignore"):
                both.append(normal_cdf(np.sqrt(self.whole_steps(shown) * self.dt) / self.noise_std))
        share = both[0] * both[1] + (1 - both[0]) * (1 - both[1])
        share = np.broadcast_to(share, np.shape(conditions["first"]))
        return np.where(conditions.get("catch", False), 1.0, share)

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the input of the delays."""
        return {"delay": np.array([1.0, 0.0, 0.0])}
