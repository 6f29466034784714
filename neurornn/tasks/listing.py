"""The list of all tasks, by family: a family is a file, and its first line says what it holds."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping

from neurornn.tasks.task import Task


def families(tasks: Mapping[str, type[Task]]) -> dict[str, list[str]]:
    """Return the tasks' names under the first line of the file in which each is written, in its order."""
    homes: dict[str, list[str]] = {}
    for name, kind in tasks.items():
        homes.setdefault(kind.__module__, []).append(name)
    found = {}
    for module, names in sorted(homes.items()):
        heading = (sys.modules[module].__doc__ or module).splitlines()[0].rstrip(".")
        found[heading] = sorted(names, key=lambda name: inspect.getsourcelines(tasks[name])[1])
    return found


def summary(kind: type[Task]) -> str:
    """Return the first line of a task's data sheet."""
    return (inspect.getdoc(kind) or "").splitlines()[0]


def table_of(tasks: Mapping[str, type[Task]]) -> str:
    """Return all tasks as Markdown: name, what it is, channels and loss."""
    lines = []
    for heading, names in families(tasks).items():
        lines += [f"### {heading}", "", "| name | task | in | out | loss |", "|---|---|---|---|---|"]
        for name in names:
            task = tasks[name]()
            loss = task.loss.replace("_", "-")
            lines.append(
                f"| `{name}` | {summary(tasks[name])} | {task.n_inputs} | {task.n_outputs} | {loss} |"
            )
        lines.append("")
    return "\n".join(lines)
