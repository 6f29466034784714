"""Whether a file that is being replaced is the old one or the new one after a kill at any moment.

    python benchmarks/kill_export.py [kills] [--backends .nc .zarr ...] [--seed N]

For every format that is there, a process of its own writes one dataset over another, and SIGKILL ends it at
a random moment of its life. What is there is then read: it must be the one dataset or the other, whole. The
kind `blocks` fills a Zarr store block by block and is killed while it does; after each kill every block
whose flag is set must hold its data, and no block that had been written may be missing. Exit status 0 where
nothing was torn, lost or unreadable.

Columns: kills (while the process was at work), unkilled (it had come to its end), old and new (what was
found after a kill; of `blocks`, those missing and those new, after all kills), torn (neither, unreadable,
or a block lost), left (temporary files and folders that kills left; `neurornn.files.sweep` removes them),
ms (how long it takes a process that is not killed).
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import xarray as xr
from import_time import processor
from killed_processes import child, ended_within

import neurornn as nr
from neurornn import files, storage
from neurornn.storage.zarr import BlockStore

BLOCKS = "blocks"
N_TRIALS = 32
TRIALS_PER_BLOCK = 4


@dataclass
class Tally:
    """What was seen of one format."""

    kills: int = 0
    unkilled: int = 0
    old: int = 0
    new: int = 0
    torn: int = 0
    left: int = 0
    ms: float = 0.0

    COLUMNS = ("kills", "unkilled", "old", "new", "torn", "left", "ms")

    def row(self) -> str:
        return "".join(f"{getattr(self, name):>10.0f}" for name in self.COLUMNS)


def activity(seed: int) -> xr.Dataset:
    """Return the activity of a random network on a task, of another one for each seed."""
    task = nr.tasks.FlipFlop(n_bits=2, duration=400)
    network = nr.RateRNN(2, 32, 2, seed=seed, engine="reference")
    return nr.record(network, task, N_TRIALS, seed=seed)


def seconds_of(work: Any, *arguments: Any) -> float:
    """Return how long a process of its own takes, the median of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        _, status = os.waitpid(child(work, *arguments), 0)
        if status:
            raise SystemExit(f"an unkilled process failed with status {os.waitstatus_to_exitcode(status)}")
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def content(path: Path) -> Any:
    """Return what is in a file; its bytes where the format is written only."""
    return path.read_bytes() if path.suffix == ".csv" else nr.load(path)


def equal(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, bytes) else bool(one.identical(other))


def sweep(folder: Path) -> int:
    """Remove what a kill left, and return how much that was."""
    n_left = len(files.sweep(folder))
    still = [own for own in folder.rglob(f"*{files.TEMPORARY}") if own.name.startswith(".")]
    if still:
        raise SystemExit(f"not swept: {still}")
    return n_left


def kill_while_replacing(suffix: str, folder: Path, kills: int, rng: np.random.Generator) -> Tally:
    """Write one dataset over the other, again and again, and kill each writer."""
    datasets = [activity(seed) for seed in (0, 1)]
    wanted = []
    for number, dataset in enumerate(datasets):
        nr.save(dataset, folder / f"{number}{suffix}")
        wanted.append(content(folder / f"{number}{suffix}"))
    if equal(*wanted):
        raise SystemExit(f"{suffix} does not tell the two datasets apart")
    path = folder / f"activity{suffix}"
    nr.save(datasets[0], path)
    seconds = seconds_of(nr.save, datasets[0], path)
    tally, there = Tally(ms=1e3 * seconds), 0
    while tally.kills < kills:
        ended = ended_within(child(nr.save, datasets[1 - there], path), rng.uniform(0, 1.1 * seconds))
        if ended is not None:
            # How long it takes, as other work on the machine has it now.
            seconds = 0.9 * seconds + 0.1 * ended
            there = 1 - there
            tally.unkilled += 1
            tally.torn += not equal(content(path), wanted[there])
            continue
        tally.kills += 1
        try:
            found = content(path)
        except Exception:
            traceback.print_exc()
            found = None
        if found is not None and equal(found, wanted[1 - there]):
            tally.new += 1
            there = 1 - there
        elif found is not None and equal(found, wanted[there]):
            tally.old += 1
        else:
            tally.torn += 1
            nr.save(datasets[there], path)
        tally.left += sweep(folder)
    return tally


def fill(path: Path, dataset: xr.Dataset) -> None:
    """Go on with a store to its end."""
    if path.exists():
        store = BlockStore.open(path, "seed 0")
    else:
        store = BlockStore.create(path, dataset.isel(trial=[0]), N_TRIALS, TRIALS_PER_BLOCK, "seed 0")
    for block in store.missing:
        store.write(block, dataset.isel(trial=store.trials(block)))
    store.finish()


def kill_while_filling(folder: Path, kills: int, rng: np.random.Generator) -> Tally:
    """Fill stores block by block; each is taken up again after a kill until it is whole."""
    dataset = activity(0)
    path = folder / "blocks.zarr"
    seconds = timed_fill(folder / "unkilled.zarr", dataset)
    tally, before = Tally(ms=1e3 * seconds), set()
    while tally.kills < kills:
        ended = ended_within(child(fill, path, dataset), rng.uniform(0, 0.7 * seconds))
        tally.unkilled += ended is not None
        tally.kills += ended is None
        if path.exists():
            try:
                store = BlockStore.open(path, "seed 0")
                done = set(range(store.n_blocks)) - set(store.missing)
                there = nr.load(path, verify=False)
                wrong = [
                    block
                    for block in done
                    if not there.isel(trial=store.trials(block)).identical(
                        dataset.isel(trial=store.trials(block))
                    )
                ]
                tally.torn += bool(wrong or before - done)
                tally.old += store.n_blocks - len(done)
                tally.new += len(done - before)
                before = done
                if len(done) == store.n_blocks:
                    tally.torn += not nr.load(path).identical(dataset)
                    # The next one from the beginning.
                    os.rename(path, folder / f".done.zarr.{tally.kills + tally.unkilled}{files.TEMPORARY}")
                    tally.left -= 1
                    before = set()
            except Exception:
                traceback.print_exc()
                tally.torn += 1
        elif before:
            tally.torn += 1
        tally.left += sweep(folder)
    return tally


def timed_fill(path: Path, dataset: xr.Dataset) -> float:
    start = time.perf_counter()
    fill(path, dataset)
    return time.perf_counter() - start


def available() -> list[str]:
    """Return the formats whose module and library are here."""
    found = []
    for suffix, module in storage.FORMATS.items():
        try:
            importlib.import_module(f"neurornn.storage.{module}")
            with tempfile.TemporaryDirectory() as folder:
                nr.save(activity(0), Path(folder) / f"x{suffix}")
        except (ImportError, nr.InputError) as error:
            print(f"{suffix}: left out, {error}", file=sys.stderr)
            continue
        found.append(suffix)
    return [*found, BLOCKS] if ".zarr" in found else found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kills", nargs="?", type=int, default=200, help="for each format")
    parser.add_argument("--backends", nargs="*", default=None, metavar="ENDING", help="formats, and `blocks`")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args()
    begun = time.perf_counter()
    tallies = {}
    for backend in options.backends or available():
        rng = np.random.default_rng(options.seed)
        with tempfile.TemporaryDirectory(prefix="neurornn-kills-") as scratch:
            folder = Path(scratch)
            if backend == BLOCKS:
                tallies[backend] = kill_while_filling(folder, options.kills, rng)
            else:
                tallies[backend] = kill_while_replacing(backend, folder, options.kills, rng)
    print(f"{processor()}; {time.perf_counter() - begun:.0f} s")
    print(f"{'':<9}" + "".join(f"{name:>10}" for name in Tally.COLUMNS))
    for backend, tally in tallies.items():
        print(f"{backend:<9}{tally.row()}")
    return int(any(tally.torn for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
