"""Where a recording comes from: written into it as one JSON text, and read back as a network and a task."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn import tasks
from neurornn.networks import Network, build_network, weights_digest
from neurornn.tasks import TaskProtocol, describe
from neurornn.vocabulary import SCHEMA_VERSION, VERSION, InputError

ORIGIN = "neurornn"
"""The attribute that holds the text."""
RAW = "parameter_raw_"
"""What variables are called that hold weights before their constraints."""


def describe_origin(
    network: Network, task: TaskProtocol, recording: Mapping[str, Any], tensors: Mapping[str, str]
) -> dict[str, str]:
    """Return the attributes of a recording.

    Parameters
    ----------
    network, task
    recording : mapping
        How it was recorded, as plain values.
    tensors : mapping of str to str
        Which variable of the dataset holds which tensor of the network.
    """
    config: Any
    try:
        config = network.config.to_dict()
    except InputError:
        config = repr(network)
    origin = {
        "schema": SCHEMA_VERSION,
        "task": {
            **describe(task),
            "name": tasks.registered_name(task),
            "dt": float(task.dt),
            "loss": task.loss,
        },
        "network": config,
        "tensors": dict(tensors),
        "training": network.training_record,
        "recording": dict(recording),
        "weights_sha256": weights_digest(network),
        "machine": machine(),
        "versions": versions(),
    }
    return {"Conventions": "CF-1.11", ORIGIN: json.dumps(origin, sort_keys=True)}


def versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    return {
        "neurornn": VERSION,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "xarray": xr.__version__,
    }


def machine() -> dict[str, Any]:
    """Return what of the machine the last bits may depend on."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def read_origin(activity: xr.Dataset) -> dict[str, Any]:
    """Return what a recording tells of where it came from.

    Raises
    ------
    InputError
        Where it tells nothing.
    """
    text = activity.attrs.get(ORIGIN)
    try:
        origin = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        origin = None
    if not isinstance(origin, dict) or "recording" not in origin:
        raise InputError(
            "this dataset does not tell where it came from (no attribute 'neurornn' of a recording): record "
            "the activity with neurornn.record"
        )
    return origin


def weight_variables(network: Network) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a network's weights as variables of a dataset, and which variable holds which tensor.

    The effective weights, which are what one wants to look at, under ``parameter_<name>``; and the raw ones
    behind a constraint (Dale's law, normalisation, a trained leak), where they are other numbers.
    """
    variables: dict[str, Any] = {}
    effective: dict[str, torch.Tensor] = {}
    for name, (dims, tensor) in network.weights().items():
        effective[f"parameter_{name}"] = tensor.detach()
        variables[f"parameter_{name}"] = own_dims(name, dims), tensor.detach().cpu().numpy()
    tensors = {}
    for name, tensor in network.state_dict().items():
        same = [own for own, values in effective.items() if _is_same(values, tensor)]
        if not same:
            same = [RAW + name.replace(".", "_")]
            dims = tuple(f"{same[0]}_{axis}" for axis in range(tensor.ndim))
            variables[same[0]] = dims, tensor.detach().cpu().numpy()
        tensors[name] = same[0]
    return variables, tensors


def _is_same(values: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Say whether two tensors have the same bits; minus zero is not zero here."""
    if values.shape != tensor.shape or values.dtype != tensor.dtype:
        return False
    return torch.equal(values, tensor) and torch.equal(values.signbit(), tensor.signbit())


def own_dims(name: str, dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return dimensions that do not clash with those of the activity: a lower layer's units are others."""
    place = re.match(r"layer_\d+_(backward_)?", name)
    if place is None or dims == ():
        return dims
    return tuple(f"{place[0]}{dim}" for dim in dims)


def rebuild_network(activity: xr.Dataset) -> Network:
    """Build the network that a recording came from, to the bit.

    Parameters
    ----------
    activity : xarray.Dataset
        As `neurornn.record` gives it, with its weights (``embed_network=True``).

    Returns
    -------
    RateRNN, LSTM or GRU
        In eval mode.

    Raises
    ------
    InputError
        Where the recording does not hold the network, or its weights are not those that were recorded.
    """
    origin = read_origin(activity)
    tensors = origin.get("tensors")
    if tensors is None:
        raise InputError(
            "this recording was made by an earlier version of neurornn, which does not tell how its network "
            "is built anew: load the run with neurornn.load_run and record again"
        )
    if not tensors:
        raise InputError(
            "the weights did not travel with this recording: record with embed_network=True, or load the run "
            "with neurornn.load_run"
        )
    if isinstance(origin["network"], str):
        raise InputError(
            f"the recorded network cannot be built anew ({origin['network']}): its activation has no "
            "registered name; give it one with neurornn.register_activation before recording"
        )
    network = build_network(origin["network"])
    missing = sorted({own for own in tensors.values() if own not in activity})
    if missing:
        raise InputError(
            f"the recording lacks its weights {', '.join(map(repr, missing))}: take another copy"
        )
    state = {
        name: torch.from_numpy(np.ascontiguousarray(activity[own].to_numpy()))
        for name, own in tensors.items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(
            f"the recording's weights do not fit its network ({reason}): take another copy"
        ) from error
    network.training_record = origin["training"]
    found, recorded = weights_digest(network), origin["weights_sha256"]
    if found != recorded:
        raise InputError(
            f"the recording's weights have the SHA-256 {found[:12]}..., but {recorded[:12]}... was recorded: "
            "they were changed since, take another copy"
        )
    return network.eval()


def rebuild_task(activity: xr.Dataset) -> TaskProtocol:
    """Build the task that a recording was made on.

    Raises
    ------
    InputError
        Where the task has no registered name, so that only its own code can make it.
    """
    recorded = read_origin(activity)["task"]
    name = recorded.get("name")
    if not name:
        raise InputError(
            f"the recording was made on {recorded['class']}, a task that is not registered: pass it as task="
        )
    return tasks.get(name, **recorded["parameters"])
