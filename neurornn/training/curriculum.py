"""Stages of a training: which task, which weights are trained, and when the next stage begins."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from neurornn.config import StageConfig, TrainingConfig
from neurornn.networks import Network
from neurornn.tasks import TASKS, TaskProtocol, get, registered_name
from neurornn.tasks.task import describe
from neurornn.vocabulary import InputError, nearest_name, unknown_name

KINDS: dict[str, tuple[str, ...]] = {
    "input": ("layers.*.input.*", "layers.*.cell.weight_ih_*"),
    "recurrent": ("layers.*.recurrent.*", "layers.*.cell.weight_hh_*"),
    "low_rank": ("layers.*.recurrent.m", "layers.*.recurrent.n"),
    "output": ("output.*",),
    "bias": ("layers.*.bias", "layers.*.cell.bias_*"),
    "output_bias": ("output_bias",),
    "feedback": ("layers.*.feedback_weight",),
    "time_constants": ("layers.*.leak_logit",),
    "initial_state": ("first_state",),
    "attention": ("attention.*",),
}
"""Kinds of weights that can be trained alone, and the names of their parameters."""


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes
    ----------
    task : Task
    n_steps : int or None
        Gradient steps at most.
    score : float or None
        Mean held-out score that ends it.
    trainable : list of str or None
        Names of the parameters that are trained; None: all that ask for a gradient.
    """

    task: TaskProtocol
    n_steps: int | None = None
    score: float | None = None
    trainable: tuple[str, ...] | None = None


def build_stages(
    config: TrainingConfig, task: TaskProtocol, network: Network, own: Sequence[TaskProtocol | None] = ()
) -> list[Stage]:
    """Return the stages that a configuration tells.

    Parameters
    ----------
    config : TrainingConfig
    task : Task
        The run's own.
    network : RateRNN, LSTM or GRU
    own : sequence of Task or None
        A task for each stage that is not registered, and None for the others.

    Raises
    ------
    InputError
        Where a task or a parameter is unknown, nothing would be trained, or a stage would never end.
    """
    trained = parameters_of(network, config.trainable, "trainable")
    if not config.stages:
        return [Stage(task, trainable=trained)]
    stages = []
    for number, entry in enumerate(config.stages, start=1):
        given = own[number - 1] if number <= len(own) else None
        chosen = _task(entry, task, given, number)
        where = f"stages[{number}].trainable"
        names = trained if entry.trainable is None else parameters_of(network, entry.trainable, where)
        if number < len(config.stages) and entry.n_steps is None and entry.score is None:
            raise InputError(
                f"stage {number} of {len(config.stages)} would never end: give it `n_steps` or a `score`"
            )
        stages.append(Stage(chosen, entry.n_steps, entry.score, names))
    return stages


def _task(entry: StageConfig, task: TaskProtocol, given: TaskProtocol | None, number: int) -> TaskProtocol:
    if given is not None:
        return given
    base = describe(task)
    name = entry.task or registered_name(task)
    if entry.task is not None and entry.task not in TASKS:
        unknown_name(f"task of stage {number}", entry.task, TASKS)
    if name is None:
        if not entry.parameters:
            return task
        # A task of one's own is changed as the dataclass that it is.
        known = list(base["parameters"])
        for field in entry.parameters:
            if field not in known:
                unknown_name(f"parameter of {base['class']}", field, known)
        return dataclasses.replace(task, **entry.parameters)  # type: ignore[type-var]
    same = entry.task is None or entry.task == registered_name(task)
    return get(name, **({**base["parameters"], **entry.parameters} if same else entry.parameters))


def take_tasks(
    stages: Sequence[Mapping[str, Any] | StageConfig],
) -> tuple[list[dict[str, Any]], list[TaskProtocol | None]]:
    """Take tasks that are given as objects out of stages, so that a configuration can hold the rest.

    Returns
    -------
    stages : list of dict
        With a registered task's name and parameters in its place, or its class's name.
    tasks : list of Task or None
        Those that are not registered.
    """
    plain: list[dict[str, Any]] = []
    tasks: list[TaskProtocol | None] = []
    for number, entry in enumerate(stages, start=1):
        stage = entry.model_dump() if isinstance(entry, StageConfig) else entry
        if not isinstance(stage, Mapping):
            raise InputError(
                f"stage {number} must be a table such as {{'n_steps': 500, 'score': 0.9}}, got {entry!r}"
            )
        stage, own = dict(stage), stage.get("task")
        tasks.append(None)
        if isinstance(own, TaskProtocol):
            if stage.get("parameters"):
                raise InputError(
                    f"stage {number} gives a task and `parameters` too: put them into the task itself"
                )
            name, record = registered_name(own), describe(own)
            tasks[-1] = own if name is None else None
            stage |= {"task": name or record["class"], "parameters": record["parameters"]}
        plain.append(stage)
    return plain, tasks


def parameters_of(network: nn.Module, wanted: Sequence[str] | None, where: str) -> tuple[str, ...] | None:
    """Return the names of the parameters that kinds, names or patterns stand for.

    Raises
    ------
    InputError
        Where one stands for no parameter of the network; the sentence offers the nearest.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> parameters_of(RateRNN(1, 4, 1, seed=0), ["recurrent", "output_bias"], "trainable")
    ('output_bias', 'layers.0.recurrent.raw')
    """
    if wanted is None:
        return None
    names = [name for name, own in network.named_parameters() if own.requires_grad]
    chosen: set[str] = set()
    for entry in wanted:
        patterns = KINDS.get(entry, (entry,))
        found = {name for name in names for pattern in patterns if fnmatch.fnmatchcase(name, pattern)}
        if not found:
            known = [kind for kind, own in KINDS.items() if any(fnmatch.filter(names, one) for one in own)]
            near = nearest_name(entry, [*known, *names])
            hint = f"did you mean {near!r}?" if near else f"expected some of {', '.join(map(repr, known))}"
            raise InputError(f"`{where}`: this network has no trained weights {entry!r}: {hint}")
        chosen |= found
    if not chosen:
        raise InputError(f"`{where}` is empty, so that nothing would be trained: name some weights")
    return tuple(name for name in names if name in chosen)
