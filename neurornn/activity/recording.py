"""Recording: a network run on trials, everything it did as one labelled dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from neurornn import seeding
from neurornn.activity.interventions import Intervention, need_interventions
from neurornn.activity.origin import describe_origin, own_dims, weight_variables
from neurornn.activity.runs import Recorder
from neurornn.networks import Network
from neurornn.tasks import TaskProtocol, Trials
from neurornn.training import need_matching
from neurornn.vocabulary import (
    OUTPUT_CHANNEL,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    need_count,
    unknown_name,
)

N_TRIALS = 256
"""Trials of a recording where nothing else is said."""
OF_TRIALS = ("input", "target", "mask")
"""Variables that the trials have, whatever the network does."""
DIMS = {
    "rate": (TRIAL, TIME, UNIT),
    "output": (TRIAL, TIME, OUTPUT_CHANNEL),
    "state": (TRIAL, TIME, STATE_VARIABLE),
    "initial_state": (TRIAL, STATE_VARIABLE),
}


def record(
    network: Network,
    task: TaskProtocol | Trials,
    n_trials: int | None = None,
    *,
    seed: int = 1,
    conditions: str = "random",
    noise: bool = False,
    variables: Iterable[str] | None = None,
    interventions: Sequence[Intervention] = (),
    batch_size: int = 256,
    embed_network: bool = True,
    path: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Run a network on trials and return its activity with every axis labelled.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Left as it was.
    task : Task or Trials
        A task, of which fresh trials are drawn from a stream that training never reads, or trials to use as
        they are.
    n_trials : int, optional
        How many to draw: 256 by default, or of ``"factorial"`` conditions the same number of each, at least
        256 together. Not used where trials are given.
    seed : int
        Seed of the trials and, with ``noise``, of the recurrent noise.
    conditions : {"random", "factorial"}
        Whether trials are drawn as in training, or every combination of the task's factors equally often.
    noise : bool
        Whether the network's own noise is on. Input noise always is: it is stimulus.
    variables : iterable of str, optional
        What is kept, of ``"rate"``, ``"state"``, ``"output"``, ``"input"``, ``"target"``, ``"mask"`` and
        what happens within a step: ``"pre_activation"`` of rate networks, gates and ``"candidate"`` of gated
        ones (`Network.inner_variables`). By default the first six, ``state`` only where it is not the rate.
        ``valid``, the conditions and the scores are always there.
    interventions : sequence of Intervention
        What is done to the network meanwhile: `Lesion`, `Clamp`, `Pulse`, `Stimulation`, `InputPulse`,
        `WeightPerturbation`, `Disconnection`, in this order of application. They are written into the
        recording; the weights in it are the intact ones.
    batch_size : int
        Trials per forward pass, which bounds its memory. With ``noise`` it also decides which noise a trial
        gets, since each pass has a stream of its own.
    embed_network : bool
        Whether the effective weights travel along as variables ``parameter_<name>``.
    path : path-like, optional
        For recordings larger than memory: a Zarr store, ending in ``.zarr``, into which each batch is written
        as soon as it is made. Each is drawn from a stream of its own, so that a recording that was stopped
        goes on by the same call. What comes back reads its values from the store when they are asked for, as
        ``neurornn.load(path, lazy=True)`` does; epochs are told by trial. Batches are drawn once before, for
        the length of the longest trial.
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
        Where network and task do not fit, a variable or an intervention is none of the network's, or there
        is something else at ``path``.

    Examples
    --------
    >>> from neurornn import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> task = FlipFlop(n_bits=2)
    >>> activity = record(RateRNN(2, 16, 2), task, n_trials=4)
    >>> dict(activity.rate.sizes)
    {'trial': 4, 'time': 100, 'unit': 16}
    """
    need_matching(network, task.task if isinstance(task, Trials) else task)
    how = Settings(
        seed=int(seed),
        noise=bool(noise),
        variables=need_variables(variables, network, noise),
        interventions=interventions,
        batch_size=need_count(batch_size, "batch_size"),
        embed_network=embed_network,
    )
    if path is not None:
        from neurornn.activity.streaming import record_blocks

        return record_blocks(network, task, n_trials, conditions, how, path, progress=progress)
    trials = draw_trials(network, task, n_trials, seed, conditions)
    done = need_interventions(interventions, network, trials.task.dt, trials.n_steps)
    recorder = Recorder.of(network, done, trials.task.dt, how.variables)
    arrays = _run(recorder, trials, how, progress)
    variables, coords = labelled(network, trials, arrays, how.variables)
    conditions = "given" if isinstance(task, Trials) else conditions
    weights, attributes = how.origin(network, trials.task, trials.n_trials, conditions)
    return xr.Dataset(variables | weights, coords, attributes)


@dataclass(frozen=True)
class Settings:
    """How a recording is made, whatever the trials.

    Attributes
    ----------
    seed, noise, interventions, batch_size, embed_network
        As for `record`.
    variables : frozenset of str
        What is kept.
    """

    seed: int
    noise: bool
    variables: frozenset[str]
    interventions: Sequence[Intervention]
    batch_size: int
    embed_network: bool

    def noise_generator(self, network: Network, batch: int) -> torch.Generator | None:
        """Return what draws the noise of a batch: of its own, so that batches can be run in any order."""
        if not self.noise:
            return None
        return seeding.torch_stream(self.seed, seeding.NOISE, batch, device=network.output_bias.device)

    def origin(
        self, network: Network, task: TaskProtocol, n_trials: int, conditions: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the network's weights as variables, and the attributes that tell where it all comes from."""
        weights, tensors = weight_variables(network) if self.embed_network else ({}, {})
        recording = {
            "seed": self.seed,
            "noise": self.noise,
            "n_trials": n_trials,
            "conditions": conditions,
            "variables": sorted(self.variables),
            "interventions": [own.describe() for own in self.interventions],
            "batch_size": self.batch_size,
        }
        return weights, describe_origin(network, task, recording, tensors)


def draw_trials(
    network: Network, task: TaskProtocol | Trials, n_trials: int | None, seed: int, conditions: str
) -> Trials:
    """Return the trials of a recording, after refusing what does not fit."""
    need_matching(network, task.task if isinstance(task, Trials) else task)
    kinds = ("random", "factorial")
    if conditions not in kinds:
        unknown_name("value of `conditions`", conditions, kinds)
    if isinstance(task, Trials):
        if (n_trials is not None and n_trials != task.n_trials) or conditions == "factorial":
            raise InputError(
                f"`task` is {task.n_trials} trials, which are used as they are: leave out n_trials and "
                "conditions, or give a task to draw from"
            )
        return task
    if n_trials is not None:
        need_count(n_trials, "n_trials")
    # Of a task with a fixed set of examples, those that training has not seen.
    task, stream = task.held_out(), seeding.numpy_stream(seed, seeding.RECORDING)
    if conditions == "random":
        return task.draw(N_TRIALS if n_trials is None else n_trials, stream)
    factorial = getattr(task, "factorial", None)
    if factorial is None:
        raise InputError(
            f"{type(task).__name__} has no factors to cross: record it with conditions='random', or inherit "
            "from neurornn.Task"
        )
    n_conditions = factorial().n_trials
    n_repeats, left = divmod(N_TRIALS + n_conditions - 1 if n_trials is None else n_trials, n_conditions)
    if n_trials is not None and (left or not n_repeats):
        raise InputError(
            f"{type(task).__name__} has {n_conditions} conditions, and {n_trials} trials are not the same "
            f"number of each: give n_trials={n_conditions * (n_repeats + 1)}, or another multiple"
        )
    return factorial(stream, n_repeats=n_repeats)


def need_variables(variables: Iterable[str] | None, network: Network, noise: bool) -> frozenset[str]:
    """Return the names of what is to be kept."""
    inner = network.inner_variables
    if variables is None:
        own = {"rate", "output", *OF_TRIALS}
        return frozenset(own if network.states_are_rates else own | {"state"})
    names = {variables} if isinstance(variables, str) else set(variables)
    known = ("rate", "state", "output", *OF_TRIALS, *inner)
    for name in names:
        if name not in known:
            unknown_name("variable", name, known)
    of_step = sorted(names & set(inner))
    if of_step and network.is_bidirectional:
        raise InputError(
            f"{of_step[0]!r} is what happens within a step, and a bidirectional network has none: leave it "
            "out"
        )
    if of_step and noise and network.is_noisy:
        raise InputError(
            f"{of_step[0]!r} is recorded without the noise that a step adds, which is not kept: leave it out "
            "or use noise=False"
        )
    return frozenset(names)


def _run(recorder: Recorder, trials: Trials, how: Settings, progress: bool) -> dict[str, np.ndarray]:
    """Run the network batch by batch and collect what it did as arrays."""
    n_trials = trials.n_trials
    collected: dict[str, np.ndarray] = {}
    with tqdm(total=n_trials, desc="record", unit="trial", disable=not progress) as bar:
        for batch, first in enumerate(range(0, n_trials, how.batch_size)):
            last = min(first + how.batch_size, n_trials)
            generator = how.noise_generator(recorder.network, batch)
            found = recorder.run(trials.inputs[first:last], generator)
            if last - first == n_trials:
                return found
            for name, values in found.items():
                if first == 0:
                    # As engines lay it out, time first: each batch is then a few long stretches.
                    shape = n_trials, *values.shape[1:]
                    order = (1, 0, 2) if values.ndim == 3 else (0, 1)
                    collected[name] = np.empty([shape[k] for k in order], values.dtype).transpose(order)
                collected[name][first:last] = values
            bar.update(last - first)
    return collected


def labelled(
    network: Network, trials: Trials, arrays: dict[str, np.ndarray], wanted: frozenset[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a network did on trials: variables and coordinates, each with its dimensions."""
    variables, coords = trials.labelled()
    variables = {name: own for name, own in variables.items() if name in wanted or name not in OF_TRIALS}
    coords[UNIT] = UNIT, np.arange(network.rate_size)
    coords |= {name: (UNIT, values) for name, values in network.unit_labels.items()}
    if "state" in wanted or not network.states_are_rates:
        coords |= {name: (STATE_VARIABLE, values) for name, values in network.state_labels.items()}
    for name, values in arrays.items():
        if name in wanted or name == "initial_state":
            dims = DIMS.get(name, (TRIAL, TIME, *own_dims(name, (UNIT,))))
            variables[name] = (dims, values, {"long_name": "firing rate"} if name == "rate" else {})
    return variables, coords | _scores(trials.task, trials, arrays["output"])


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
