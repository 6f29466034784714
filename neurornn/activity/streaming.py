"""Recordings larger than memory: made and written batch by batch, taken up again where they were stopped."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from neurornn import files, seeding, storage
from neurornn.activity.interventions import need_interventions
from neurornn.activity.origin import ORIGIN
from neurornn.activity.recording import N_TRIALS, Settings, labelled
from neurornn.activity.runs import Recorder
from neurornn.networks import Network
from neurornn.tasks import TaskProtocol, Trials
from neurornn.vocabulary import TIME, TRIAL, InputError, need_count

BLOCKS = "blocks"
"""What such a recording says of its conditions: drawn batch by batch."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a long recording, each of which can be made by itself.

    Attributes
    ----------
    network : Network
    task : Task
    n_trials : int
        Of all blocks.
    how : Settings
        With the interventions that were checked.
    n_steps : int
        Length of the longest trial of all, to which each block is padded.
    """

    network: Network
    task: TaskProtocol
    n_trials: int
    how: Settings
    n_steps: int = 0

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return -(-self.n_trials // self.how.batch_size)

    def trials(self, block: int) -> Trials:
        """Draw the trials of a block, as long as its own longest one, from a stream of its own."""
        count = min(self.how.batch_size, self.n_trials - block * self.how.batch_size)
        return self.task.draw(count, seeding.numpy_stream(self.how.seed, seeding.RECORDING, block))

    def of_length(self, n_steps: int | None = None) -> Blocks:
        """Return the blocks at the length of the longest trial, which is looked for where it is not told."""
        if n_steps is None:
            n_steps = max(self.trials(block).n_steps for block in range(len(self)))
        done = need_interventions(self.how.interventions, self.network, self.task.dt, n_steps)
        return replace(self, n_steps=n_steps, how=replace(self.how, interventions=done))

    def recorder(self) -> Recorder:
        """Return what runs the blocks."""
        return Recorder.of(self.network, self.how.interventions, self.task.dt, self.how.variables)

    def record(self, block: int, recorder: Recorder) -> xr.Dataset:
        """Return what the network did on the trials of a block."""
        trials = self.trials(block).padded(self.n_steps)
        arrays = recorder.run(trials.inputs, self.how.noise_generator(self.network, block))
        # One block may share its epochs, and another not: all are told by trial.
        epochs = {
            name: (np.broadcast_to(start, trials.n_trials), np.broadcast_to(stop, trials.n_trials))
            for name, (start, stop) in trials.epochs.items()
        }
        trials = replace(trials, epochs=epochs)
        return xr.Dataset(*labelled(self.network, trials, arrays, self.how.variables))


def record_blocks(
    network: Network,
    task: TaskProtocol | Trials,
    n_trials: int | None,
    conditions: str,
    how: Settings,
    path: str | os.PathLike[str],
    *,
    progress: bool,
) -> xr.Dataset:
    """Record into a Zarr store batch by batch, or go on with one, and open it; see `neurornn.record`."""
    from neurornn.storage.zarr import BlockStore

    if not isinstance(task, TaskProtocol) or conditions != "random":
        raise InputError(
            "with `path`, trials are drawn batch by batch, at random: give a task and conditions='random', "
            "or record without path and use neurornn.save"
        )
    path = files.as_path(path)
    if path.suffix != ".zarr":
        raise InputError(
            f"`path` must end in '.zarr', got {str(path)!r}: only Zarr stores are written batch by batch"
        )
    n_trials = N_TRIALS if n_trials is None else need_count(n_trials, "n_trials")
    how = replace(how, batch_size=min(how.batch_size, n_trials))
    blocks = Blocks(network, task.held_out(), n_trials, how)
    weights, attributes = how.origin(network, blocks.task, n_trials, BLOCKS)
    fingerprint = _fingerprint(attributes)
    if path.exists():
        store = BlockStore.open(path, fingerprint)
        stored = storage.load(path, verify=False, lazy=True)
        blocks = blocks.of_length(int(stored.sizes[TIME]))
        recorder = blocks.recorder()
    else:
        blocks = blocks.of_length()
        recorder = blocks.recorder()
        first = blocks.record(0, recorder).assign(weights).assign_attrs(attributes)
        store = BlockStore.create(path, first, n_trials, how.batch_size, fingerprint)
        store.write(0, first)
    missing = store.missing
    left = sum(store.trials(block).stop - store.trials(block).start for block in missing)
    done = n_trials - left
    with tqdm(total=n_trials, initial=done, desc="record", unit="trial", disable=not progress) as bar:
        for block in missing:
            content = blocks.record(block, recorder)
            store.write(block, content)
            bar.update(content.sizes[TRIAL])
    store.finish()
    opened = storage.load(path, lazy=True)
    assert isinstance(opened, xr.Dataset)
    return opened


def _fingerprint(attributes: dict[str, Any]) -> str:
    """Return what tells one recording from another, whatever machine goes on with it."""
    origin: dict[str, Any] = json.loads(attributes[ORIGIN])
    origin.pop("machine")
    return files.digest(json.dumps(origin, sort_keys=True).encode())
