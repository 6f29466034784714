from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurornn import InputError, RateRNN
from neurornn.tasks import Copy, DelayedComparison, FlipFlop, GoNoGo, Trials
from neurornn.training import masked_loss
from neurornn.training.losses import LOSSES, Batch, need_loss


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


def absolute(outputs, targets):
    return (outputs - targets).abs()


def log_of_first(outputs, targets):
    return -outputs[..., 0].abs().log()


OF_ONES_OWN = {"absolute": absolute, "log_of_first": log_of_first}
KINDS = [*LOSSES, *OF_ONES_OWN]


def case(kind, seed, n_classes=3):
    """Outputs, targets, mask and the weight of each step for a loss, as tensors of float64."""
    values, real, classes, steps = draw(seed, n_classes)
    if kind == "negative_log_likelihood":
        values = np.exp(log_softmax(values))
    if kind == "cross_entropy_per_trial":
        classes = np.where(np.arange(6) < 3, 0, classes[:, -1:])
    of_classes = kind == "log_of_first" or (kind in LOSSES and LOSSES[kind].classes)
    targets = classes if of_classes else real
    mask = steps if of_classes else np.repeat(steps[..., None], n_classes, axis=2)
    return *map(torch.from_numpy, (values, targets, mask)), torch.from_numpy(steps)


def loss_of(kind):
    return OF_ONES_OWN.get(kind, kind)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), filler=st.sampled_from([np.inf, -np.inf, np.nan, 1e30, 0.0]))
def test_where_nothing_is_asked_outputs_touch_neither_loss_nor_gradient(kind, seed, filler):
    values, targets, mask, steps = case(kind, seed)
    found = []
    for padding in (0.5, filler):
        outputs = torch.where(steps[..., None] > 0, values, padding).requires_grad_()
        loss = masked_loss(outputs, targets, mask, loss_of(kind))
        loss.backward()
        found.append((loss.item(), outputs.grad))
    assert np.isfinite(found[1][0])
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert not found[1][1][steps == 0].any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("log_of_first",)])
@pytest.mark.parametrize("filler", [np.inf, np.nan])
def test_real_targets_that_are_not_asked_for_may_be_anything_too(kind, filler):
    values, targets, mask, _ = case(kind, 3)
    if targets.is_floating_point():
        outputs = values.clone().requires_grad_()
        masked_loss(outputs, torch.where(mask > 0, targets, filler), mask, loss_of(kind)).backward()
        assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_central_differences(kind):
    values, targets, mask, _ = case(kind, 5)
    # gradcheck's own tolerances, for float64 and steps of 1e-6.
    assert torch.autograd.gradcheck(
        lambda outputs: masked_loss(outputs, targets, mask, loss_of(kind)), values.requires_grad_()
    )


@pytest.mark.parametrize("n_asked", [1, 6])
def test_half_squares_are_summed_over_channels_and_averaged_over_steps(n_asked):
    outputs, targets = torch.full((2, 6, 3), 2.0), torch.zeros(2, 6, 3)
    mask = torch.zeros(2, 6, 3)
    mask[:, :n_asked] = 1
    assert masked_loss(outputs, targets, mask, "half_squares") == 0.5 * 3 * 2.0**2
    # A step of which one channel is asked for is a step all the same.
    mask[..., 1:] = 0
    assert masked_loss(outputs, targets, mask, "half_squares") == 0.5 * 2.0**2


@given(seed=st.integers(0, 10**6))
def test_half_squares_are_so_many_mean_squares(seed):
    outputs, targets, mask, _ = case("mse", seed)
    half, mean = (float(masked_loss(outputs, targets, mask, kind)) for kind in ("half_squares", "mse"))
    # Sums of the same numbers in another order: a few roundings of float64.
    assert half == pytest.approx(3 / 2 * mean, rel=1e-12)


@given(seed=st.integers(0, 10**6))
def test_huber_is_torchs(seed):
    outputs, targets, mask, _ = case("huber", seed)
    wanted = (mask * functional.huber_loss(outputs, targets, reduction="none")).sum() / max(
        (mask > 0).sum(), 1
    )
    assert float(masked_loss(outputs, targets, mask, "huber")) == pytest.approx(float(wanted), rel=1e-12)


def test_huber_bends_at_an_error_of_one():
    for error, wanted in ((0.5, 0.125), (1.0, 0.5), (-3.0, 2.5)):
        outputs = torch.full((1, 1, 1), error)
        assert masked_loss(outputs, torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "huber") == wanted


@pytest.mark.parametrize(
    ("target", "output", "wanted"),
    [(1.0, 2.0, 0.0), (0.3, 0.25, 0.75), (-5.0, 0.5, 1.5), (-0.1, -1.0, 0.0), (0.0, 9.0, 1.0)],
)
def test_hinge_asks_for_the_side_of_the_target(target, output, wanted):
    outputs, targets = (torch.full((1, 1, 1), value) for value in (output, target))
    assert masked_loss(outputs, targets, torch.ones(1, 1, 1), "hinge") == wanted


@given(seed=st.integers(0, 10**6))
def test_the_likelihood_of_a_softmax_is_the_cross_entropy_of_its_scores(seed):
    values, _, classes, mask = map(torch.from_numpy, draw(seed))
    likelihood = masked_loss(values.softmax(-1), classes, mask, "negative_log_likelihood")
    # exp and log of float64 one after the other: some roundings.
    assert float(likelihood) == pytest.approx(
        float(masked_loss(values, classes, mask, "cross_entropy")), rel=1e-10
    )


def test_a_probability_of_zero_has_a_finite_likelihood():
    outputs = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]], requires_grad=True)
    loss = masked_loss(outputs, torch.tensor([[0, 0]]), torch.ones(1, 2), "negative_log_likelihood")
    loss.backward()
    assert float(loss.detach()) == pytest.approx((87.3365 + np.log(2)) / 2, rel=1e-5)
    # 1/p at p = 0.5, over two entries; none where p = 0.
    assert outputs.grad.tolist() == [[[0.0, 0.0], [-1.0, 0.0]]]


def test_the_cross_entropy_of_a_trial_is_that_of_its_mean_answer():
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.standard_normal((4, 5, 3)))
    classes = torch.tensor([[0, 0, 2, 2, 2], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    mask = torch.tensor([[1, 0, 1, 3, 0], [1, 1, 0, 0, 2], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).double()
    # An answer; none (all asked steps); an answer that is not asked for, so none; nothing asked at all.
    means = [
        ((outputs[0, 2] + 3 * outputs[0, 3]) / 4, 2),
        ((outputs[1, 0] + outputs[1, 1] + 2 * outputs[1, 4]) / 4, 0),
        (outputs[2, :3].mean(0), 0),
    ]
    wanted = sum(-log_softmax(mean.numpy())[right] for mean, right in means) / 3
    found = masked_loss(outputs, classes, mask, "cross_entropy_per_trial")
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("task", [DelayedComparison(), GoNoGo()])
def test_the_ideal_outputs_have_next_to_no_loss_per_trial(task):
    batch = Batch(task.draw(32, np.random.default_rng(0)), torch.zeros(1), loss="cross_entropy_per_trial")
    # The right class stands 10 above the others: log(1 + n e^-10).
    assert float(batch.loss(batch.teacher())) < 1e-3
    assert float(batch.loss(-batch.teacher())) > 5


def test_trials_with_several_answers_have_no_loss_per_trial():
    trials = Copy().draw(4, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"one answer each, but one of Copy asks for classes 1 and \d: use"):
        Batch(trials, torch.zeros(1), loss="cross_entropy_per_trial")


def test_a_function_of_ones_own_is_weighed_or_taken_as_it_is():
    outputs, targets, mask, _ = case("absolute", 2)
    wanted = (mask * (outputs - targets).abs()).sum() / (mask > 0).sum()
    assert float(masked_loss(outputs, targets, mask, absolute)) == pytest.approx(float(wanted), rel=1e-12)
    assert (
        masked_loss(outputs, targets, mask, lambda y, t: (y - t).abs().max())
        == (outputs - targets)[mask > 0].abs().max()
    )


@pytest.mark.parametrize(
    ("function", "got"),
    [(lambda y, t: (y - t).sum(-1), r"\(4, 6\)"), (lambda y, t: 0.0, "float")],
)
def test_a_function_that_returns_another_shape_is_refused(function, got):
    outputs, targets, mask, _ = case("absolute", 2)
    with pytest.raises(InputError, match=rf"mask's shape \(4, 6, 3\).*got {got}: take no mean"):
        masked_loss(outputs, targets, mask, function)


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


@dataclass(frozen=True)
class Padded(FlipFlop):
    """Trials of which the second half is padding."""

    def draw(self, n_trials, rng):
        trials = super().draw(n_trials, rng)
        valid = trials.valid.copy()
        valid[n_trials // 2 :, trials.n_steps // 2 :] = False
        return Trials(self, trials.inputs, trials.targets, trials.mask, valid)


def test_all_valid_entries_are_channels_steps_or_trials():
    outputs = torch.zeros(8, 20, 2)
    trials = Padded(n_bits=2, duration=200).draw(8, np.random.default_rng(0))
    trials.mask[:, 3:] = 0
    sizes = {"mse": 2 * trials.valid.sum(), "half_squares": trials.valid.sum()}
    for kind, size in sizes.items():
        by_mask, by_all = (Batch(trials, torch.zeros(1), how, kind).loss(outputs) for how in ("mask", "all"))
        asked = {"mse": (trials.mask > 0).sum(), "half_squares": (trials.mask > 0).any(-1).sum()}[kind]
        # float32: a few roundings.
        assert float(by_all) == pytest.approx(float(by_mask) * asked / size, rel=1e-5)
    choices = DelayedComparison().draw(8, np.random.default_rng(0))
    found = [
        Batch(choices, torch.zeros(1), how, "cross_entropy_per_trial").loss(
            torch.zeros(8, choices.n_steps, 3)
        )
        for how in ("mask", "all")
    ]
    assert float(found[0]) == float(found[1]) == pytest.approx(np.log(3), rel=1e-6)


def test_which_steps_exist_is_told_where_not_all_do():
    like = torch.zeros(1)
    assert Batch(FlipFlop(duration=200).draw(4, np.random.default_rng(0)), like).valid is None
    trials = Padded(duration=200).draw(4, np.random.default_rng(0))
    assert np.array_equal(Batch(trials, like).valid.numpy(), trials.valid)


def test_the_losses_of_trials_one_by_one_have_the_loss_of_all_as_mean():
    task = FlipFlop(n_bits=1, duration=200)
    trials = task.draw(5, np.random.default_rng(0))
    batch = Batch(trials, torch.zeros(1, dtype=torch.float64), loss="huber")
    outputs = torch.from_numpy(np.random.default_rng(1).standard_normal((5, trials.n_steps, 1)))
    n_asked = (trials.mask > 0).sum((1, 2))
    each = [float(own.loss(outputs[k : k + 1])) for k, own in enumerate(batch.each_trial())]
    assert np.average(each, weights=n_asked) == pytest.approx(float(batch.loss(outputs)), rel=1e-12)


def test_every_loss_is_for_some_task_and_readout():
    for kind, loss in LOSSES.items():
        task = DelayedComparison() if loss.classes else FlipFlop(n_bits=2)
        readout = "softmax" if kind == "negative_log_likelihood" else "linear"
        net = RateRNN(task.n_inputs, 4, task.n_outputs, readout=readout)
        assert need_loss(kind, task, net) == kind
        trials = task.draw(4, np.random.default_rng(0))
        batch = Batch(trials, net.output_bias, loss=kind)
        assert torch.isfinite(batch.loss(net(batch.inputs)[0]))


def test_without_a_loss_it_is_the_tasks():
    task, own = FlipFlop(n_bits=2), DelayedComparison()
    assert need_loss(None, task, RateRNN(2, 4, 2)) == "mse"
    assert need_loss(None, own, RateRNN(own.n_inputs, 4, 3)) == "cross_entropy"
    assert need_loss(absolute, task, RateRNN(2, 4, 2)) is absolute


@pytest.mark.parametrize(
    ("loss", "task", "readout", "sentence"),
    [
        ("hubert", FlipFlop(), "linear", r"unknown loss 'hubert'.*did you mean 'huber'"),
        (
            3,
            FlipFlop(),
            "linear",
            r"`loss` must be a name or a function of outputs and targets, got int: take",
        ),
        (
            "cross_entropy_per_trial",
            FlipFlop(),
            "linear",
            r"needs targets that are classes, but those of FlipFlop are real numbers: use one of 'mse', ",
        ),
        (
            "huber",
            DelayedComparison(),
            "linear",
            r"needs targets that are real numbers, but those of DelayedComparison are classes: use one of",
        ),
        (
            None,
            DelayedComparison(),
            "softmax",
            r"takes the softmax itself: build the network with readout='linear', or use loss='negative_log",
        ),
        ("cross_entropy_per_trial", DelayedComparison(), "softmax", r"takes the softmax itself"),
        (
            "negative_log_likelihood",
            DelayedComparison(),
            "linear",
            r"outputs that are probabilities: build the network with readout='softmax', or use loss='cross_e",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(loss, task, readout, sentence):
    net = RateRNN(task.n_inputs, 4, task.n_outputs, readout=readout)
    with pytest.raises(InputError, match=sentence):
        need_loss(loss, task, net)
