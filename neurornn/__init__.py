"""neurornn: train rate networks on cognitive tasks, record their activity with labels, and take them apart.

The whole chain: task -> network -> training -> activity -> analysis -> figures, report, files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neurornn.activity import record
from neurornn.networks import RateRNN
from neurornn.tasks import Trials
from neurornn.training import train
from neurornn.vocabulary import VERSION as __version__

if TYPE_CHECKING:
    from neurornn import activity, analysis, engine, plots, storage, tasks, testing
    from neurornn.activity import (
        activity_from_arrays,
        activity_from_nwb,
        align,
        condition_average,
        epoch,
        population,
        reproduce,
    )
    from neurornn.files import CorruptFile
    from neurornn.networks import (
        GRU,
        LSTM,
        build_network,
        load_network,
        network_from_arrays,
        network_from_psychrnn,
        network_from_torch,
        register_activation,
        save_network,
    )
    from neurornn.pipeline import analyze, study
    from neurornn.storage import load, save
    from neurornn.tasks import Task
    from neurornn.training import load_run, resume
    from neurornn.vocabulary import InputError

__all__ = [
    "GRU",
    "LSTM",
    "CorruptFile",
    "InputError",
    "RateRNN",
    "Task",
    "Trials",
    "__version__",
    "activity",
    "activity_from_arrays",
    "activity_from_nwb",
    "align",
    "analysis",
    "analyze",
    "build_network",
    "condition_average",
    "engine",
    "epoch",
    "load",
    "load_network",
    "load_run",
    "network_from_arrays",
    "network_from_psychrnn",
    "network_from_torch",
    "plots",
    "population",
    "record",
    "register_activation",
    "reproduce",
    "resume",
    "save",
    "save_network",
    "storage",
    "study",
    "tasks",
    "testing",
    "train",
]

# What is looked up when it is first asked for, so that importing the package costs little more than torch.
_ROOMS = ("activity", "analysis", "engine", "plots", "storage", "tasks", "testing")
_HOMES = {
    "CorruptFile": "files",
    "GRU": "networks",
    "LSTM": "networks",
    "InputError": "vocabulary",
    "Task": "tasks",
    "activity_from_arrays": "activity",
    "activity_from_nwb": "activity",
    "align": "activity",
    "analyze": "pipeline",
    "build_network": "networks",
    "condition_average": "activity",
    "epoch": "activity",
    "load": "storage",
    "load_network": "networks",
    "load_run": "training",
    "network_from_arrays": "networks",
    "network_from_psychrnn": "networks",
    "network_from_torch": "networks",
    "population": "activity",
    "register_activation": "networks",
    "reproduce": "activity",
    "resume": "training",
    "save": "storage",
    "save_network": "networks",
    "study": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"neurornn.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"neurornn.{_HOMES[name]}"), name)
    from neurornn.vocabulary import nearest_name

    near = nearest_name(name, __all__)
    hint = f"; did you mean {near!r}?" if near else ""
    raise AttributeError(f"module 'neurornn' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted(__all__)
