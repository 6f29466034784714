"""A task's trials as a torch dataset: the same batches in any process, none twice."""

import itertools
import operator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from neurornn import InputError
from neurornn.tasks import TASKS, DelayedComparison, FlipFlop, get

TASK = FlipFlop(n_bits=2, duration=100)


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(left, right, strict=True)
    )


def loaded(dataset, n_workers):
    return list(DataLoader(dataset, batch_size=None, num_workers=n_workers))


def test_a_batch_holds_a_draws_arrays():
    (batch,) = TASK.to_torch_dataset(batch_size=8, n_batches=1)
    trials = TASK.draw(8, np.random.default_rng(0))
    assert set(batch) == {"inputs", "targets", "mask", "valid"}
    for name, tensor in batch.items():
        assert tensor.shape == getattr(trials, name).shape
        assert tensor.numpy().dtype == getattr(trials, name).dtype


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_tasks_trials_become_tensors(name):
    batch = next(iter(get(name).to_torch_dataset(batch_size=2)))
    assert batch["inputs"].dtype == batch["mask"].dtype == torch.float32
    assert batch["targets"].dtype == (torch.float32 if get(name).loss == "mse" else torch.int64)
    assert batch["valid"].dtype == torch.bool
    assert batch["targets"].shape == batch["mask"].shape
    # Writing into a batch must be nobody else's concern.
    batch["inputs"].zero_()


def test_the_same_seed_gives_the_same_batches_and_another_one_others():
    first = list(TASK.to_torch_dataset(4, seed=5, n_batches=3))
    assert same(first, list(TASK.to_torch_dataset(4, seed=5, n_batches=3)))
    dataset = TASK.to_torch_dataset(4, seed=5, n_batches=3)
    assert same(list(dataset), list(dataset))
    assert not torch.equal(first[0]["inputs"], next(iter(TASK.to_torch_dataset(4, seed=6)))["inputs"])


@pytest.mark.parametrize("n_batches", [1, 5, 6])
def test_workers_share_the_batches_in_their_order(n_batches):
    # Trials of varying length, whose batches differ in shape.
    dataset = DelayedComparison().to_torch_dataset(4, seed=1, n_batches=n_batches)
    alone = list(dataset)
    assert len(alone) == len(dataset) == n_batches
    for n_workers in (0, 1, 2):
        assert same(loaded(dataset, n_workers), alone)


def test_no_trial_comes_twice():
    dataset = get("white_noise").to_torch_dataset(8, n_batches=6)
    trials = torch.cat([batch["inputs"] for batch in loaded(dataset, 2)]).flatten(1)
    assert len(torch.unique(trials, dim=0)) == 48


def test_without_a_number_of_batches_it_never_ends():
    dataset = TASK.to_torch_dataset(2)
    assert len(list(itertools.islice(dataset, 50))) == 50
    with pytest.raises(TypeError, match="this dataset never ends"):
        len(dataset)
    assert operator.length_hint(dataset, 7) == 7
    assert list(TASK.to_torch_dataset(2, n_batches=0)) == []


def test_no_global_generator_is_advanced(random_states):
    before = random_states()
    list(TASK.to_torch_dataset(2, n_batches=3))
    assert random_states() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0, got -1"),
        ({"n_batches": 1.5}, "`n_batches` must be a whole number of at least 0, got 1.5"),
    ],
)
def test_mistakes_are_told_at_once(options, sentence):
    with pytest.raises(InputError, match=sentence):
        TASK.to_torch_dataset(**options)
