"""A task's trials as a torch dataset, for a training loop of one's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from neurornn import seeding
from neurornn.tasks.task import TaskProtocol
from neurornn.vocabulary import need_count

STREAM = "batches of a torch dataset"


class TaskDataset(IterableDataset[dict[str, Tensor]]):
    """Batches of trials, each from a random stream of its own.

    Batch k holds the same trials in whatever process it is drawn, so that a `torch.utils.data.DataLoader`
    gives the same batches in the same order with any number of workers: worker w of n draws the batches w,
    w + n, w + 2 n, ...

    Parameters
    ----------
    task : Task
    batch_size : int
        Trials of a batch.
    seed : int
    n_batches : int, optional
        After how many batches it ends; never by default.
    """

    def __init__(
        self, task: TaskProtocol, batch_size: int = 64, seed: int = 0, n_batches: int | None = None
    ) -> None:
        super().__init__()
        self.task = task
        self.batch_size = need_count(batch_size, "batch_size")
        self.seed = need_count(seed, "seed", least=0)
        self.n_batches = None if n_batches is None else need_count(n_batches, "n_batches", least=0)

    def __len__(self) -> int:
        if self.n_batches is None:
            # TypeError is what Python, and torch, expect of something that has no length.
            raise TypeError("this dataset never ends: give n_batches for one that has a length")
        return self.n_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for k in itertools.count(first, every):
            if self.n_batches is not None and k >= self.n_batches:
                return
            yield self.batch(k)

    def batch(self, k: int) -> dict[str, Tensor]:
        """Return batch k: ``inputs``, ``targets``, ``mask`` and ``valid``, trials first."""
        trials = self.task.draw(self.batch_size, seeding.numpy_stream(self.seed, STREAM, k))
        names = ("inputs", "targets", "mask", "valid")
        return {name: torch.tensor(getattr(trials, name)) for name in names}
