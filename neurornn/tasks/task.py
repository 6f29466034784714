"""What a task must offer to be trained, recorded and scored.

A task is a frozen dataclass, so that its ``repr`` is its record. It draws batches of trials as labelled
numpy arrays, axis order (trial, time, channel), and says how outputs are scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from neurornn.tasks.distributions import Distribution
from neurornn.tasks.trials import Loss, Trials
from neurornn.vocabulary import InputError, need_count

if TYPE_CHECKING:
    from neurornn.tasks.torch_data import TaskDataset

MOST_STEPS = 10**9


@dataclass(frozen=True)
class Recipe:
    """Network and training that reach a task's criterion.

    Attributes
    ----------
    network : mapping
        Keyword arguments of the network, without the sizes that the task sets.
    training : mapping
        Keyword arguments of `neurornn.train`.
    criterion : float
        Mean score on held-out trials that the recipe reaches.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    criterion: float = 0.0


@runtime_checkable
class TaskProtocol(Protocol):
    """What the package asks of a task; inheriting from `Task` supplies most of it."""

    @property
    def n_inputs(self) -> int: ...  # noqa: D102
    @property
    def n_outputs(self) -> int: ...  # noqa: D102
    @property
    def dt(self) -> float: ...  # noqa: D102
    @property
    def loss(self) -> str: ...  # noqa: D102
    @property
    def input_labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def output_labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def recipe(self) -> Recipe: ...  # noqa: D102
    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials: ...  # noqa: D102
    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray: ...  # noqa: D102
    def constant_inputs(self) -> dict[str, np.ndarray]: ...  # noqa: D102
    def held_out(self, part: str = "test") -> TaskProtocol: ...  # noqa: D102


class Task:
    """Base of the package's tasks and of those written in a notebook.

    A subclass is a frozen dataclass with fields ``dt`` (ms) and its own parameters, the two sizes, `draw`
    and `score`; everything else has a default. One that tells its `factors` and defines `make` in place of
    `draw` can give balanced batches too (`factorial`).

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Echo(Task):
    ...     dt: float = 20.0
    ...     n_inputs = 1
    ...     n_outputs = 1
    ...
    ...     def draw(self, n_trials, rng):
    ...         inputs = rng.standard_normal((n_trials, 30, 1))
    ...         targets = np.roll(inputs, 1, axis=1)
    ...         mask = np.ones_like(targets)
    ...         mask[:, 0] = 0
    ...         return Trials(self, inputs, targets, mask)
    ...
    ...     def score(self, outputs, trials):
    ...         return (np.sign(outputs) == np.sign(trials.targets))[:, 1:].mean(axis=(1, 2))
    >>> Echo().draw(8, np.random.default_rng(0)).inputs.shape
    (8, 30, 1)
    """

    n_inputs: int
    n_outputs: int
    dt: float
    loss: ClassVar[Loss] = "mse"
    average_by: ClassVar[tuple[str, ...]] = ()
    """Conditions by which a report averages the units' rates."""
    accuracy_by: ClassVar[tuple[str, ...]] = ()
    """Conditions by which a report splits the score."""
    psychometric_stimulus: ClassVar[str | None] = None
    """Condition with the signed stimulus of a psychometric curve, above 0 where choice 2 is right."""
    paper_name: ClassVar[str | None] = None
    """What the paper calls the task, where that differs from its name here."""
    chance_score: ClassVar[float] = 0.5
    """Best mean score of a network that answers without having seen the trial."""

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return tuple(f"input_{k}" for k in range(self.n_inputs))

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(f"output_{k}" for k in range(self.n_outputs))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the task's criterion."""
        return Recipe()

    @property
    def chance_loss(self) -> float | None:
        """Loss of the best outputs that do not depend on the inputs, where it is known in closed form."""
        return None

    def factors(self) -> dict[str, Distribution]:
        """Return what a trial draws, each by itself; every combination of their levels is a condition."""
        return {}

    @cached_property
    def _factors(self) -> dict[str, Distribution]:
        """The factors, made once: a task does not change."""
        return self.factors()

    def make(self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator) -> Trials:
        """Make trials of the factors' values, arrays (trial,); chance decides the rest."""
        raise NotImplementedError(
            f"{type(self).__name__} must define draw(n_trials, rng) -> Trials, "
            "or make(n_trials, conditions, rng)"
        )

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials.

        Parameters
        ----------
        n_trials : int
        rng : numpy.random.Generator
            The only source of chance.

        Returns
        -------
        Trials
        """
        n_trials = need_count(n_trials, "n_trials")
        conditions = {name: own.draw(n_trials, rng) for name, own in self._factors.items()}
        return self.make(n_trials, conditions, rng)

    def factorial(self, rng: np.random.Generator | None = None, *, n_repeats: int = 1) -> Trials:
        """Return a balanced batch: every combination of the factors' levels equally often.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Source of what is no factor (noise, durations); one of seed 0 by default.
        n_repeats : int
            Trials per condition.

        Returns
        -------
        Trials
            In the order of `factors`, the last one running fastest, repeats of a condition side by side. A
            continuous factor is shown at its levels; there are no catch trials.

        Raises
        ------
        InputError
            Where the task has no conditions to cross.

        Examples
        --------
        >>> from neurornn.tasks import PerceptualDecisionMaking
        >>> trials = PerceptualDecisionMaking(coherences=(0, 10)).factorial()
        >>> trials.conditions["signed_coherence"].tolist()
        [0.0, 0.0, -10.0, 10.0]
        """
        n_repeats = need_count(n_repeats, "n_repeats")
        levels = {name: own.levels() for name, own in self._factors.items()}
        if not levels:
            raise InputError(
                f"{type(self).__name__} has no conditions to cross, every trial is drawn anew: use "
                "draw(n_trials, rng)"
            )
        index = np.indices([len(own) for own in levels.values()]).reshape(len(levels), -1)
        index = np.repeat(index, n_repeats, axis=1)
        conditions = {
            name: np.asarray(own)[place] for (name, own), place in zip(levels.items(), index, strict=True)
        }
        return self.make(index.shape[1], conditions, np.random.default_rng(0) if rng is None else rng)

    def held_out(self, part: str = "test") -> Self:
        """Return the task that draws trials which no training has seen.

        By default the task itself, whose every draw is new; one with a fixed set of examples overrides it.

        Parameters
        ----------
        part : {"validation", "test"}
            Trials by which training chooses its best weights, or those for the score after it.

        Returns
        -------
        Task
        """
        return self

    def to_torch_dataset(
        self, batch_size: int = 64, seed: int = 0, n_batches: int | None = None
    ) -> TaskDataset:
        """Return the trials as a torch dataset, for a training loop of one's own.

        Parameters
        ----------
        batch_size : int
            Trials of a batch.
        seed : int
            The same seed gives the same batches at every pass, with any number of a loader's workers.
        n_batches : int, optional
            After how many batches a pass ends; never by default.

        Returns
        -------
        torch.utils.data.IterableDataset
            Of dictionaries of tensors, trials first: ``inputs``, ``targets``, ``mask``, ``valid``. They are
            batches already: ``DataLoader(dataset, batch_size=None, num_workers=2)``.

        Examples
        --------
        >>> from neurornn.tasks import FlipFlop
        >>> batches = FlipFlop(n_bits=2).to_torch_dataset(batch_size=8, n_batches=5)
        >>> len(batches), next(iter(batches))["inputs"].shape
        (5, torch.Size([8, 100, 2]))
        """
        # Imported here, because torch's data loading is for those who ask for it.
        from neurornn.tasks.torch_data import TaskDataset

        return TaskDataset(self, batch_size, seed, n_batches)

    def score(self, outputs: np.ndarray, trials: Trials) -> np.ndarray:
        """Return one score per trial, 1 for a perfect one."""
        raise NotImplementedError(f"{type(self).__name__} must define score(outputs, trials) -> (trial,)")

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs under which fixed points mean something; by default all channels at zero."""
        return {"zero input": np.zeros(self.n_inputs)}

    def steps(self, duration: float) -> int:
        """Return how many whole steps fit into a duration in ms.

        A duration that is no multiple of dt is floored; a hair's breadth (1e-9 steps) is forgiven, because
        300 ms / 0.1 ms is 2999.9999... in floating point.
        """
        n_steps = duration / self.dt
        if n_steps > MOST_STEPS:
            raise InputError(
                f"{duration} ms hold {n_steps:.3g} steps of dt = {self.dt} ms, more than a memory does: "
                "shorten the duration or lengthen dt"
            )
        return math.floor(n_steps + 1e-9)


def describe(task: TaskProtocol) -> dict[str, Any]:
    """Return a task's record in plain values: its class, its ``repr`` and the fields of its dataclass."""
    fields: tuple[dataclasses.Field[Any], ...] = ()
    if dataclasses.is_dataclass(task):
        fields = dataclasses.fields(task)
    parameters = {entry.name: _plain(getattr(task, entry.name)) for entry in fields}
    return {"class": type(task).__name__, "repr": repr(task), "parameters": parameters}


def _plain(value: Any) -> Any:
    """Return a value as JSON and TOML can hold it; what they cannot becomes its ``repr``."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value if isinstance(value, str | int | float) else repr(value)
