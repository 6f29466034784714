import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError, RateRNN
from neurornn.tasks import DelayedComparison, FlipFlop
from neurornn.training import masked_loss
from neurornn.training.losses import Batch


def draw(seed, n_classes=3):
    rng = np.random.default_rng(seed)
    outputs = rng.standard_normal((4, 6, n_classes))
    mask = rng.choice([0, 0, 0.5, 1, 5], (4, 6))
    return outputs, rng.standard_normal(outputs.shape), rng.integers(n_classes, size=(4, 6)), mask


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@given(seed=st.integers(0, 10**6))
def test_the_squared_error_is_weighed_after_squaring(seed):
    outputs, targets, _, steps = draw(seed)
    mask = np.repeat(steps[..., None], 3, axis=2)
    mask[..., 1] *= 2
    wanted = (mask * (outputs - targets) ** 2).sum() / max((mask > 0).sum(), 1)
    found = masked_loss(*map(torch.from_numpy, (outputs, targets, mask)), "mse")
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@given(seed=st.integers(0, 10**6))
def test_the_cross_entropy_is_that_of_the_right_classes(seed):
    outputs, _, classes, mask = draw(seed)
    right = np.take_along_axis(log_softmax(outputs), classes[..., None], axis=2)[..., 0]
    wanted = -(mask * right).sum() / max((mask > 0).sum(), 1)
    found = masked_loss(*map(torch.from_numpy, (outputs, classes, mask)), "cross_entropy")
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("kind", ["mse", "cross_entropy"])
@pytest.mark.parametrize("filler", [np.inf, -np.inf, np.nan, 1e30])
def test_where_nothing_is_asked_outputs_touch_neither_loss_nor_gradient(kind, filler):
    values, targets, classes, steps = draw(1)
    targets = classes if kind == "cross_entropy" else targets
    mask = steps if kind == "cross_entropy" else np.repeat(steps[..., None], 3, axis=2)
    targets, mask = torch.from_numpy(targets), torch.from_numpy(mask)
    found = []
    for padding in (0.0, filler):
        outputs = torch.from_numpy(np.where(steps[..., None] > 0, values, padding)).requires_grad_()
        loss = masked_loss(outputs, targets, mask, kind)
        loss.backward()
        found.append((loss.item(), outputs.grad))
    assert np.isfinite(found[1][0])
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert not found[1][1][steps == 0].any()


def test_a_mask_that_asks_for_nothing_gives_zero():
    zeros = torch.zeros(2, 3, 1)
    assert masked_loss(zeros + 5, zeros, zeros, "mse") == 0


def test_an_unknown_loss_offers_the_nearest():
    zeros = torch.zeros(1, 1, 1)
    with pytest.raises(InputError, match=r"unknown loss 'cross-entropy'.*did you mean 'cross_entropy'"):
        masked_loss(zeros, zeros, zeros, "cross-entropy")


@pytest.mark.parametrize("task", [FlipFlop(n_bits=2, duration=200), DelayedComparison()])
@pytest.mark.parametrize("normalise", ["mask", "all"])
def test_a_batch_is_divided_by_unmasked_or_by_all_valid_entries(task, normalise):
    trials = task.draw(8, np.random.default_rng(0))
    trials.mask[:, :2] = 0
    net = RateRNN(task.n_inputs, 4, task.n_outputs)
    batch = Batch(trials, net.recurrent_weight, normalise)
    outputs = np.random.default_rng(1).standard_normal((8, trials.n_steps, task.n_outputs))
    if task.loss == "mse":
        per_entry, valid = (outputs - trials.targets) ** 2, trials.valid.sum() * task.n_outputs
    else:
        right = np.take_along_axis(log_softmax(outputs), trials.targets[..., None], axis=2)
        per_entry, valid = -right[..., 0], trials.valid.sum()
    n = (trials.mask > 0).sum() if normalise == "mask" else valid
    wanted = (trials.mask * per_entry).sum() / n
    assert float(batch.loss(torch.from_numpy(outputs).float())) == pytest.approx(wanted, rel=1e-5)


def test_a_batch_lies_beside_the_network():
    task = DelayedComparison()
    batch = Batch(task.draw(2, np.random.default_rng(0)), torch.zeros(1, dtype=torch.float64))
    assert batch.inputs.dtype == batch.mask.dtype == torch.float64
    assert batch.targets.dtype == torch.int64
