"""Recording: a network run on trials, everything it did as one labelled dataset."""

from __future__ import annotations

import json
import platform
import re
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from neurornn import seeding
from neurornn.networks import Network, weights_digest
from neurornn.tasks import TaskProtocol, Trials, describe
from neurornn.training import need_matching
from neurornn.vocabulary import (
    OUTPUT_CHANNEL,
    SCHEMA_VERSION,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    UNIT,
    VERSION,
    InputError,
    need_count,
)


@torch.no_grad()
def record(
    network: Network,
    task: TaskProtocol | Trials,
    n_trials: int = 256,
    *,
    seed: int = 1,
    noise: bool = False,
    batch_size: int = 256,
    embed_network: bool = True,
    progress: bool = False,
) -> xr.Dataset:
    """Run a network on trials and return its activity with every axis labelled.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Left in the mode it was in.
    task : Task or Trials
        A task, of which fresh trials are drawn from a stream that training never reads, or trials to use as
        they are.
    n_trials : int
        How many to draw; not used where trials are given.
    seed : int
        Seed of the trials and, with ``noise``, of the recurrent noise.
    noise : bool
        Whether the network's own noise is on. Input noise always is: it is stimulus.
    batch_size : int
        Trials per forward pass, which bounds its memory. With ``noise`` it also decides which noise a trial
        gets, since the stream is drawn pass by pass.
    embed_network : bool
        Whether the effective weights travel along as variables ``parameter_<name>``.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        ``rate (trial, time, unit)``; ``state (trial, time, state_variable)`` where it differs from the rate;
        ``initial_state (trial, state_variable)``; ``input``, ``output``, ``target``, ``mask``, ``valid``.
        On ``unit``, where the network has such: ``population``, ``sign``, ``area``, ``direction``. On
        ``state_variable``, where states are not the rates: ``quantity`` (rate, current, resources, use,
        hidden, cell) and, of several, the ``layer``. On ``trial``: the conditions, ``score``, and, where the
        task has them, ``choice`` and ``ideal_score`` (how an ideal observer scored on the very same trial).
        The JSON text in ``attrs["neurornn"]`` tells where it all came from.

    Raises
    ------
    InputError
        Where network and task do not fit.

    Examples
    --------
    >>> from neurornn import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> task = FlipFlop(n_bits=2)
    >>> activity = record(RateRNN(2, 16, 2), task, n_trials=4)
    >>> dict(activity.rate.sizes)
    {'trial': 4, 'time': 100, 'unit': 16}
    """
    trials = task if isinstance(task, Trials) else None
    if trials is not None:
        task = trials.task
    elif isinstance(task, TaskProtocol):
        need_matching(network, task)
        need_count(n_trials, "n_trials")
        # Of a task with a fixed set of examples, those that training has not seen.
        task = task.held_out()
        trials = task.draw(n_trials, seeding.numpy_stream(seed, seeding.RECORDING))
    else:
        raise InputError(f"`task` must be a task or trials, got {type(task).__name__}")
    need_matching(network, task)
    need_count(batch_size, "batch_size")

    arrays = _run(network, trials, seed, noise, batch_size, progress)
    dataset = trials.to_dataset()
    labels = {name: (UNIT, values) for name, values in network.unit_labels.items()}
    dataset = dataset.assign_coords({UNIT: np.arange(network.rate_size), **labels})
    dataset["rate"] = ((TRIAL, TIME, UNIT), arrays["rate"])
    dataset["output"] = ((TRIAL, TIME, OUTPUT_CHANNEL), arrays["output"])
    dataset["initial_state"] = ((TRIAL, STATE_VARIABLE), arrays["initial_state"])
    if "state" in arrays:
        dataset["state"] = ((TRIAL, TIME, STATE_VARIABLE), arrays["state"])
        named = {name: (STATE_VARIABLE, values) for name, values in network.state_labels.items()}
        dataset = dataset.assign_coords(named)
    dataset = dataset.assign_coords(_scores(task, trials, arrays["output"]))
    dataset["rate"].attrs["long_name"] = "firing rate"
    if embed_network:
        for name, (dims, tensor) in network.weights().items():
            dataset[f"parameter_{name}"] = (_own_dims(name, dims), tensor.detach().cpu().numpy())
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "neurornn": json.dumps(_origin(network, task, trials, seed, noise), sort_keys=True),
    }
    return dataset


def _own_dims(name: str, dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return dimensions that do not clash with those of the activity: a lower layer's units are others."""
    place = re.match(r"layer_\d+_(backward_)?", name)
    if place is None or dims == ():
        return dims
    return tuple(f"{place[0]}{dim}" for dim in dims)


def _run(
    network: Network, trials: Trials, seed: int, noise: bool, batch_size: int, progress: bool
) -> dict[str, np.ndarray]:
    """Run the network batch by batch and collect what it did as arrays."""
    like = network.output_bias
    generator = seeding.torch_stream(seed, seeding.NOISE, device=like.device) if noise else None
    collected: dict[str, list[np.ndarray]] = {"rate": [], "output": [], "initial_state": []}
    separate = not network.states_are_rates
    if separate:
        collected["state"] = []
    was_training = network.training
    network.eval()
    try:
        with tqdm(total=trials.n_trials, desc="record", unit="trial", disable=not progress) as bar:
            for first in range(0, trials.n_trials, batch_size):
                inputs = torch.as_tensor(trials.inputs[first : first + batch_size])
                inputs = inputs.to(like.device, like.dtype)
                begin = network.initial_state(len(inputs))
                outputs, rates, states = network(inputs, begin, generator=generator, return_states=True)
                collected["rate"].append(rates.cpu().numpy())
                collected["output"].append(outputs.cpu().numpy())
                collected["initial_state"].append(begin.cpu().numpy())
                if separate:
                    collected["state"].append(states.cpu().numpy())
                bar.update(len(inputs))
    finally:
        network.train(was_training)
    return {name: np.concatenate(parts) for name, parts in collected.items()}


def _scores(task: TaskProtocol, trials: Trials, outputs: np.ndarray) -> dict[str, Any]:
    coordinates: dict[str, Any] = {"score": (TRIAL, np.asarray(task.score(outputs, trials), float))}
    choose = getattr(task, "choose", None)
    if choose is not None:
        coordinates["choice"] = (TRIAL, np.asarray(choose(outputs, trials)))
    ideal_choices = getattr(task, "ideal_choices", None)
    if ideal_choices is not None:
        right = ideal_choices(trials) == trials.conditions["target_choice"]
        coordinates["ideal_score"] = (TRIAL, right.astype(float))
    return coordinates


def _origin(network: Network, task: TaskProtocol, trials: Trials, seed: int, noise: bool) -> dict[str, Any]:
    """Return everything that describes where the activity came from, as plain values."""
    config: Any
    try:
        config = network.config.to_dict()
    except InputError:
        config = repr(network)
    return {
        "schema": SCHEMA_VERSION,
        "task": {**describe(task), "dt": float(task.dt), "loss": task.loss},
        "network": config,
        "training": network.training_record,
        "recording": {"seed": int(seed), "noise": bool(noise), "n_trials": trials.n_trials},
        "weights_sha256": weights_digest(network),
        "versions": {
            "neurornn": VERSION,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "xarray": xr.__version__,
        },
    }
