"""Provenance that runs: a recording made again from what it tells of itself, and compared bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from neurornn.activity.interventions import of_description
from neurornn.activity.origin import machine, read_origin, rebuild_network, rebuild_task, versions
from neurornn.activity.recording import Settings, record
from neurornn.activity.streaming import BLOCKS, Blocks
from neurornn.networks import Network
from neurornn.numerics.threads import intra_op_threads
from neurornn.tasks import TaskProtocol, Trials
from neurornn.vocabulary import TIME, TRIAL, InputError


@dataclass(frozen=True)
class Reproduction:
    """What came of making a recording again.

    Attributes
    ----------
    activity : xarray.Dataset or None
        The new recording; of one that was made batch by batch, which may be larger than memory, None.
    n_variables : int
        How many variables were compared.
    differences : dict of str to float
        Largest absolute difference of each variable and coordinate that is not equal to the bit; infinite
        where its shape, kind or missing numbers differ.
    changed : dict of str to (object, object)
        What of versions and machine is another now: then, and now.
    """

    activity: xr.Dataset | None
    n_variables: int
    differences: dict[str, float]
    changed: dict[str, tuple[Any, Any]]

    @property
    def is_exact(self) -> bool:
        """Whether every variable is equal to the bit."""
        return not self.differences

    def summary(self) -> str:
        """Return a few lines that say what is equal, what differs by how much, and what may be the reason."""
        if self.is_exact:
            lines = [f"reproduced: all {self.n_variables} variables are equal to the bit"]
        else:
            lines = [f"not the same: {len(self.differences)} of {self.n_variables} variables differ"]
            for name, size in sorted(self.differences.items(), key=lambda own: -own[1]):
                lines.append(f"  {name}: " + (f"by at most {size:.3g}" if np.isfinite(size) else "wholly"))
        lines += [f"  {name} was {then}, is {now}" for name, (then, now) in self.changed.items()]
        return "\n".join(lines)


def reproduce(
    activity: xr.Dataset, *, task: TaskProtocol | None = None, progress: bool = False
) -> Reproduction:
    """Make a recording again from what it holds, and compare.

    The network is built from its configuration and weights, whose SHA-256 must be the recorded one; the task
    is built and its trials are drawn again from their seed, or, where trials were given, taken from the
    recording; then it is recorded again, noise and interventions included, on as many threads as it was.

    Parameters
    ----------
    activity : xarray.Dataset
        As `neurornn.record` or `neurornn.load` gives it.
    task : Task, optional
        Of a recording made on a task that is not registered.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Reproduction
        On the machine and with the versions that recorded it, equal to the bit.

    Raises
    ------
    InputError
        Where the recording does not tell its origin, does not hold its weights, or they were changed.

    Examples
    --------
    >>> import neurornn as nr
    >>> task = nr.tasks.FlipFlop(n_bits=1)
    >>> activity = nr.record(nr.RateRNN(1, 8, 1, seed=3), task, n_trials=5)
    >>> reproduce(activity).is_exact
    True
    """
    origin = read_origin(activity)
    network = rebuild_network(activity)
    own = origin["recording"]
    if activity.sizes.get(TRIAL) != own["n_trials"] or "time_offset" in activity.coords:
        raise InputError(
            f"this is a part of a recording of {own['n_trials']} trials, chosen or cut: reproduce the whole "
            "recording"
        )
    task = rebuild_task(activity) if task is None else task
    with intra_op_threads(origin.get("machine", {}).get("threads") or 1):
        if own.get("conditions") == BLOCKS:
            return _reproduce_blocks(network, activity, origin, task, progress)
        given = own.get("conditions") == "given"
        again = record(
            network,
            Trials.of_dataset(activity, task) if given else task,
            None if given else own["n_trials"],
            conditions="random" if given else own.get("conditions", "random"),
            progress=progress,
            **_arguments(own),
        )
    differences: dict[str, float] = {}
    _compare(activity, again, differences)
    return Reproduction(again, len(again.variables), differences, _changed(origin))


def _reproduce_blocks(
    network: Network, activity: xr.Dataset, origin: dict[str, Any], task: TaskProtocol, progress: bool
) -> Reproduction:
    """Make a recording that is larger than memory again, block by block, and compare each."""
    own = origin["recording"]
    arguments = _arguments(own)
    how = Settings(embed_network=False, **arguments | {"variables": frozenset(arguments["variables"])})
    blocks = Blocks(network, task, own["n_trials"], how).of_length(activity.sizes[TIME])
    recorder = blocks.recorder()
    differences: dict[str, float] = {}
    n_variables = 0
    for block in tqdm(range(len(blocks)), desc="reproduce", unit="block", disable=not progress):
        again = blocks.record(block, recorder)
        first = block * how.batch_size
        its = activity.isel({TRIAL: slice(first, first + how.batch_size)})
        _compare(its, again, differences)
        n_variables = len(again.variables)
    return Reproduction(None, n_variables, differences, _changed(origin))


def _arguments(recording: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `record` that a recording tells."""
    return {
        "seed": recording["seed"],
        "noise": recording["noise"],
        "variables": recording.get("variables"),
        "interventions": [of_description(own) for own in recording.get("interventions", ())],
        "batch_size": recording.get("batch_size", 256),
    }


def _compare(then: xr.Dataset, now: xr.Dataset, differences: dict[str, float]) -> None:
    """Take in by how much each variable differs, where that is more than so far."""
    for name, variable in now.variables.items():
        size = _difference(then.variables.get(name), variable)
        if size:
            differences[str(name)] = max(size, differences.get(str(name), 0.0))


def _difference(then: xr.Variable | None, now: xr.Variable) -> float:
    """Return the largest difference: 0 where both are equal to the bit, infinite where they are no match."""
    if then is None or then.dims != now.dims or then.shape != now.shape or then.dtype.kind != now.dtype.kind:
        return np.inf
    ours, its = now.to_numpy(), then.to_numpy()
    if ours.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(ours, its) else np.inf
    if ours.dtype == its.dtype and ours.tobytes() == its.tobytes():
        return 0.0
    if ours.dtype.kind == "f":
        if not np.array_equal(np.isfinite(ours), np.isfinite(its)):
            return np.inf
        ours, its = np.nan_to_num(ours), np.nan_to_num(its)
    size = float(np.abs(ours.astype(float) - its.astype(float)).max(initial=0.0))
    # Other bits of the same numbers: the sign of a zero.
    return size or np.nextafter(0, 1)


def _changed(origin: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what of versions and machine is another now."""
    found = {}
    for then, now in ((origin.get("versions", {}), versions()), (origin.get("machine", {}), machine())):
        for name, value in now.items():
            # The number of threads is taken over from the recording.
            if name != "threads" and then.get(name) not in (None, value):
                found[name] = then[name], value
    return found
