"""Lesion tables: what the loss of a unit, a population or a cluster of units costs in each task.

Reads a network and one or several tasks. Gives the score with each lesion beside that of the intact network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from neurornn.activity import Lesion
from neurornn.activity.interventions import need_interventions
from neurornn.activity.recording import draw_trials
from neurornn.activity.runs import Recorder
from neurornn.tasks import TaskProtocol, Trials
from neurornn.vocabulary import LESION, UNIT, InputError, unknown_name

TASK = "task"
BATCH = 256


def lesion_table(
    network: Any,
    task: TaskProtocol | Trials | Mapping[str, TaskProtocol | Trials],
    by: str | Sequence[Any] | Mapping[str, Any] = UNIT,
    *,
    n_trials: int | None = None,
    seed: int = 1,
    progress: bool = False,
) -> xr.Dataset:
    """Return the score of a network with each of its parts silenced, on the same trials.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Left as it was.
    task : Task, Trials, or mapping of str to them
        Several tasks by name, or one that is a mixture of tasks (`MultiTask`), whose trials say of which
        task they are: one column each.
    by : str, sequence or mapping
        What is silenced, one part after the other: ``"unit"``, each unit; a label of units, such as
        ``"population"`` or ``"area"``, each of its values; one label per unit, shape (unit,), such as the
        numbers of clusters, each value but negative ones; or names and the positions of units.
    n_trials : int, optional
        Trials of each task, 256 by default.
    seed : int
        Seed of the trials.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        ``score (lesion, task)``, ``intact_score (task,)`` and ``change (lesion, task)``, their difference:
        means over trials, without noise. ``lesion`` is labelled; ``n_units (lesion,)`` and ``n_trials
        (task,)`` count.

    Raises
    ------
    InputError
        Where ``by`` names nothing, or the network cannot be lesioned.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2

    Examples
    --------
    >>> import neurornn as nr
    >>> task = nr.tasks.FlipFlop(n_bits=1)
    >>> table = lesion_table(nr.RateRNN(1, 4, 1), task, {"first two": [0, 1], "all": range(4)}, n_trials=8)
    >>> table.score.dims, table.lesion.values.tolist(), table.n_units.values.tolist()
    (('lesion', 'task'), ['first two', 'all'], [2, 4])
    """
    given = task if isinstance(task, Mapping) else {"": task}
    if not given:
        raise InputError("`task` is an empty mapping: give at least one task")
    trials = {name: draw_trials(network, own, n_trials, seed, "random") for name, own in given.items()}
    parts = _parts(network, by)
    lesions = {name: Lesion(units.tolist()) for name, units in parts.items()}
    first = next(iter(trials.values()))
    need_interventions(list(lesions.values()), network, first.task.dt, first.n_steps)
    columns = _columns(trials)
    if isinstance(task, Mapping):
        columns = {(name, own): f"{name}: {own}" if own else name for name, own in columns}

    def scores(interventions: Sequence[Lesion]) -> list[float]:
        found = {}
        for name, own in trials.items():
            recorder = Recorder.of(network, interventions, own.task.dt, frozenset())
            found[name] = np.asarray(own.task.score(_outputs(recorder, own), own), float)
        return [float(found[name][_is_of(trials[name], label)].mean()) for name, label in columns]

    intact = np.array(scores(()))
    rows = [scores([own]) for own in tqdm(lesions.values(), desc="lesions", disable=not progress)]
    score = np.array(rows).reshape(len(rows), len(columns))
    return xr.Dataset(
        {
            "score": ((LESION, TASK), score),
            "change": ((LESION, TASK), score - intact),
            "intact_score": (TASK, intact),
        },
        coords={
            LESION: list(lesions),
            TASK: list(columns.values()),
            "n_units": (LESION, [len(units) for units in parts.values()]),
            "n_trials": (TASK, [int(_is_of(trials[name], label).sum()) for name, label in columns]),
        },
        attrs={"seed": int(seed)},
    )


def _columns(trials: Mapping[str, Trials]) -> dict[tuple[str, str], str]:
    """Return the tasks that are told apart: by the name that was given, and within a mixture of tasks."""
    found = {}
    for name, own in trials.items():
        mixed = own.conditions.get(TASK)
        if mixed is None:
            found[name, ""] = name or type(own.task).__name__
        else:
            found |= {(name, str(label)): str(label) for label in dict.fromkeys(np.unique(mixed).tolist())}
    return found


def _is_of(trials: Trials, label: str) -> np.ndarray:
    """Return which trials are of a task."""
    if not label:
        return np.ones(trials.n_trials, bool)
    return trials.conditions[TASK].astype(str) == label


def _outputs(recorder: Recorder, trials: Trials) -> np.ndarray:
    parts = [
        recorder.run(trials.inputs[first : first + BATCH], None)["output"]
        for first in range(0, trials.n_trials, BATCH)
    ]
    return np.concatenate(parts)


def _parts(network: Any, by: Any) -> dict[str, np.ndarray]:
    """Return the units of each part, by its label."""
    size = network.rate_size
    if isinstance(by, Mapping):
        parts = {str(name): np.atleast_1d(np.asarray(units)) for name, units in by.items()}
    elif isinstance(by, str) and by == UNIT:
        parts = {str(k): np.array([k]) for k in range(size)}
    else:
        labels = network.unit_labels
        if isinstance(by, str):
            if by not in labels:
                unknown_name("kind of part in `by`", by, [UNIT, *labels])
            values = np.asarray(labels[by])
        else:
            values = np.asarray(by)
            if values.shape != (size,):
                raise InputError(f"`by` needs one label for each of {size} units, got shape {values.shape}")
        distinct = [
            own for own in np.unique(values) if isinstance(own, str) or isinstance(by, str) or own >= 0
        ]
        parts = {str(own): np.flatnonzero(values == own) for own in distinct}
    if not parts:
        raise InputError("`by` names no part of the network: give a label, positions, or 'unit'")
    return parts
