"""Tasks: what a network is trained on. One family a file; this file holds the written registry.

To add a task, write a frozen dataclass in the file of its family (or a new one), give it a data-sheet
docstring in the order of the others, and enter it in `TASKS`; the checker `neurornn.testing.check_task`
then runs over it by itself.
"""

if __name__ != "neurornn.tasks":
    raise ImportError(
        "this folder is the package neurornn.tasks: write `from neurornn import tasks`, "
        "because a bare `tasks` would be shadowed by any tasks.py in a notebook's folder"
    )

import dataclasses
from typing import Any

from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.decisions import PerceptualDecisionMaking
from neurornn.tasks.trials import NO_CHOICE, Recipe, Task, TaskProtocol, Trials, describe
from neurornn.tasks.working_memory import DelayedComparison, FlipFlop
from neurornn.vocabulary import InputError, nearest_name, unknown_name

__all__ = [
    "NO_CHOICE",
    "TASKS",
    "ChoiceTask",
    "DelayedComparison",
    "FlipFlop",
    "PerceptualDecisionMaking",
    "Recipe",
    "Task",
    "TaskProtocol",
    "Trials",
    "describe",
    "get",
    "registered_name",
]

TASKS: dict[str, type[Task]] = {
    "delayed_comparison": DelayedComparison,
    "flip_flop": FlipFlop,
    "perceptual_decision_making": PerceptualDecisionMaking,
}
"""Every task by its name."""


def get(name: str, **parameters: Any) -> Task:
    """Return a task by its registered name.

    Parameters
    ----------
    name : str
        A key of `TASKS`, in snake_case.
    **parameters
        Fields of the task's dataclass that differ from the defaults. Lists, as TOML and JSON give them,
        become tuples.

    Returns
    -------
    Task

    Raises
    ------
    InputError
        Where the name or a parameter is unknown; the nearest one is offered.

    Examples
    --------
    >>> get("flip_flop", n_bits=2)
    FlipFlop(n_bits=2, duration=1000.0, pulse_probability=0.05, dt=10.0)
    """
    if name not in TASKS:
        unknown_name("task", name, TASKS)
    task = TASKS[name]
    known = [field.name for field in dataclasses.fields(task)]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            near = nearest_name(key, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(map(repr, known))}"
            raise InputError(f"task {name!r} has no parameter {key!r}: {hint}")
    return task(**{key: _as_tuple(value) for key, value in parameters.items()})


def registered_name(task: TaskProtocol) -> str | None:
    """Return the name under which a task's class is registered, or None for one of a user's own."""
    return next((name for name, kind in TASKS.items() if type(task) is kind), None)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(entry) for entry in value) if isinstance(value, list | tuple) else value
