"""Losses over masked entries: sum(mask * l) / sum(mask > 0), the mask weighing after l is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurornn.tasks import TaskProtocol, Trials
from neurornn.tasks.trials import shared_by_all
from neurornn.vocabulary import InputError, unknown_name

if TYPE_CHECKING:
    from neurornn.networks import Network

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A loss of one's own: outputs and targets to the loss of each entry (the mask's shape), or to one number."""

Entries = tuple[Tensor, Tensor]
"""The loss of each entry, and its weight, 0 where nothing is asked; an entry is a channel, step or trial."""

CLASSES = "cross_entropy"
"""What a task's loss is called whose targets are classes; all others have real ones."""


def mean_squared_error(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``(y - t)^2`` of each channel, the default of real targets."""
    return _error(outputs, targets, mask) ** 2, mask


def half_squares(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``1/2 sum_k (y_k - t_k)^2``, the sum over the channels of a step; entries are steps.

    With K channels that are all asked for, it is K / 2 times the mean squared error.
    """
    per_channel = mask * _error(outputs, targets, mask) ** 2
    return 0.5 * per_channel.sum(-1), (mask > 0).any(-1).to(mask.dtype)


def huber(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``e^2 / 2`` of an error e of at most 1 and ``|e| - 1/2`` of a larger one, for each channel.

    References
    ----------
    Huber, P. J. (1964). Robust estimation of a location parameter. Annals of Mathematical Statistics 35,
    73-101. doi:10.1214/aoms/1177703732
    """
    error = _error(outputs, targets, mask)
    return functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=1.0), mask


def hinge(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``max(0, 1 - sign(t) y)`` of each channel: an output has to be on the target's side, by 1.

    A target of 0 has no side: it adds 1, whatever the output, and moves nothing.
    """
    side = torch.where(mask > 0, targets, 0).sign()
    return (1 - side * torch.where(mask > 0, outputs, 0)).relu(), mask


def cross_entropy(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``-log softmax(y)_c`` of each step's class c, the default of classes."""
    outputs = _put_aside(outputs, mask)
    per_step = functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return per_step.view_as(mask), mask


def cross_entropy_per_trial(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return one ``-log softmax(y)_c`` for each trial, y its outputs averaged over the steps of its answer.

    A trial's answer c is the class other than 0 that it asks for, and the steps of the answer are those at
    which it does; a trial that asks for class 0 alone (no answer: a no-go or catch trial) is averaged over
    all of the steps that it asks for. The mask weighs steps within the average, not trials. Nothing holds a
    network to class 0 before the response: where it must not answer early, take ``"cross_entropy"``.
    """
    answering = mask * (targets != 0)
    answers = (answering > 0).any(1, keepdim=True)
    weight = torch.where(answers, answering, mask)
    total = weight.sum(1)
    mean = (weight[..., None] * _put_aside(outputs, mask)).sum(1) / total.clamp_min(1e-30)[:, None]
    classes = torch.where(weight > 0, targets, 0).amax(1)
    return functional.cross_entropy(mean, classes, reduction="none"), (total > 0).to(mask.dtype)


def negative_log_likelihood(outputs: Tensor, targets: Tensor, mask: Tensor) -> Entries:
    """Return ``-log y_c`` of each step's class c, for outputs that are probabilities (a softmax readout).

    A probability below the smallest normal number of the dtype counts as that number: even one of 0 has a
    finite loss (87 in float32), but no gradient.
    """
    of_class = _put_aside(outputs, mask).gather(-1, targets[..., None])[..., 0]
    return -of_class.clamp_min(torch.finfo(outputs.dtype).tiny).log(), mask


@dataclass(frozen=True)
class Loss:
    """One entry of `LOSSES`.

    Attributes
    ----------
    entries : callable
        ``(outputs, targets, mask)`` to the loss of each entry and its weight.
    classes : bool
        Whether targets are classes, (trial, time), or real numbers, (trial, time, output_channel).
    """

    entries: Callable[[Tensor, Tensor, Tensor], Entries]
    classes: bool = False


LOSSES = {
    "mse": Loss(mean_squared_error),
    "half_squares": Loss(half_squares),
    "huber": Loss(huber),
    "hinge": Loss(hinge),
    "cross_entropy": Loss(cross_entropy, classes=True),
    "cross_entropy_per_trial": Loss(cross_entropy_per_trial, classes=True),
    "negative_log_likelihood": Loss(negative_log_likelihood, classes=True),
}
"""Every loss by its name; a task's own is ``"mse"`` or ``"cross_entropy"``."""


def masked_loss(
    outputs: Tensor,
    targets: Tensor,
    mask: Tensor,
    kind: str | LossFunction,
    *,
    n_entries: Tensor | None = None,
) -> Tensor:
    """Return the mean loss of the entries that the mask asks for.

    Parameters
    ----------
    outputs : Tensor, shape (trial, time, output_channel)
    targets : Tensor
        Shape of ``outputs`` for a loss of real targets; classes, shape (trial, time), for the others.
    mask : Tensor, shape of ``targets``
        Weight of each entry, applied to the squared error or the cross-entropy (so a weight of 5 on the error
        before squaring is 25 here).
    kind : str or callable
        A name in `LOSSES`, or a function ``(outputs, targets)`` that returns the loss of each entry, of the
        mask's shape, which is weighed and averaged like the others; or one number, which is taken as it is.
        Where nothing is asked such a function is shown a target of 0 and an output that meets it (of classes,
        the same output for each).
    n_entries : Tensor, optional
        What the sum is divided by; the number of entries with ``mask > 0`` by default.

    Returns
    -------
    Tensor, shape ()

    Raises
    ------
    InputError
        For an unknown name, and for a function that returns another shape.

    Examples
    --------
    >>> outputs, targets = torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 2, 1)
    >>> masked_loss(outputs, targets, torch.tensor([[[4.0], [0.0]]]), "mse")
    tensor(4.)

    >>> masked_loss(outputs, targets, torch.ones(1, 2, 1), lambda y, t: (y - t).abs())
    tensor(2.)
    """
    # A padded step may hold anything: where nothing is asked, the outputs are put aside before the loss is
    # taken, so that an infinite one adds neither 0 * inf to the sum nor NaN to the gradient.
    if callable(kind):
        per_entry = _of_function(kind, outputs, targets, mask)
        if per_entry.ndim == 0:
            return per_entry
        weight = mask
    else:
        if kind not in LOSSES:
            unknown_name("loss", kind, LOSSES)
        per_entry, weight = LOSSES[kind].entries(outputs, targets, mask)
    return (weight * per_entry).sum() / ((weight > 0).sum() if n_entries is None else n_entries).clamp_min(1)


def need_loss(loss: str | LossFunction | None, task: TaskProtocol, network: Network) -> str | LossFunction:
    """Return the loss that a task is trained with, refusing one that its targets or the readout are not for.

    Parameters
    ----------
    loss : str, callable or None
        A name in `LOSSES`, a function as in `masked_loss`, or None: the task's own.
    task : Task
    network : Network

    Returns
    -------
    str or callable

    Raises
    ------
    InputError
        For an unknown name, a loss of classes where the targets are real numbers or the other way round, a
        cross-entropy of outputs that are probabilities, a likelihood of those that are none.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> need_loss("huber", FlipFlop(), RateRNN(3, 4, 3))
    'huber'
    >>> need_loss("cross_entropy", FlipFlop(), RateRNN(3, 4, 3))
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: loss 'cross_entropy' needs targets that are classes, but those of \
FlipFlop are real numbers: use one of 'mse', 'half_squares', 'huber', 'hinge'
    """
    loss = task.loss if loss is None else loss
    if callable(loss):
        return loss
    if not isinstance(loss, str):
        raise InputError(
            f"`loss` must be a name or a function of outputs and targets, got {type(loss).__name__}: "
            f"take one of {', '.join(map(repr, LOSSES))}"
        )
    if loss not in LOSSES:
        unknown_name("loss", loss, LOSSES)
    classes = task.loss == CLASSES
    if LOSSES[loss].classes != classes:
        kinds = "real numbers", "classes"
        fitting = [repr(name) for name, own in LOSSES.items() if own.classes == classes]
        raise InputError(
            f"loss {loss!r} needs targets that are {kinds[not classes]}, but those of {type(task).__name__} "
            f"are {kinds[classes]}: use one of {', '.join(fitting)}"
        )
    if LOSSES[loss].classes:
        probabilities = network.readout_kind == "softmax"
        if loss == "negative_log_likelihood" and not probabilities:
            raise InputError(
                "the negative log-likelihood takes outputs that are probabilities: build the network with "
                "readout='softmax', or use loss='cross_entropy'"
            )
        if loss != "negative_log_likelihood" and probabilities:
            raise InputError(
                "the cross-entropy takes the softmax itself: build the network with readout='linear', or use "
                "loss='negative_log_likelihood'"
            )
    return loss


class Batch:
    """A batch of trials as tensors beside a network, and the loss of outputs on it.

    Parameters
    ----------
    trials : Trials
    like : Tensor
        Whose device and dtype the tensors get.
    normalise : {"mask", "all"}
        Whether a loss is divided by the number of entries that the mask asks for, or of all valid ones.
    loss : str or callable, optional
        A name in `LOSSES` or a function as in `masked_loss`; the task's own by default.

    Attributes
    ----------
    trials : Trials
    inputs : Tensor, shape (trial, time, input_channel)
    targets : Tensor, shape (trial, time, output_channel) or (trial, time)
    mask : Tensor, shape of ``targets``

    Raises
    ------
    InputError
        Where ``"cross_entropy_per_trial"`` meets a trial with several answers.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> trials = FlipFlop(n_bits=1, duration=200).draw(4, np.random.default_rng(0))
    >>> batch = Batch(trials, torch.zeros(1), loss="huber")
    >>> float(batch.loss(batch.teacher()))
    0.0
    """

    def __init__(
        self,
        trials: Trials,
        like: Tensor,
        normalise: str = "mask",
        loss: str | LossFunction | None = None,
    ) -> None:
        self.trials, self.normalise = trials, normalise
        self.kind: str | LossFunction = trials.task.loss if loss is None else loss
        if self.kind == "cross_entropy_per_trial":
            _need_one_answer(trials)
        self._like = like.new_empty(0)

        def tensor(array: np.ndarray) -> Tensor:
            # What all trials share is held once here too.
            shared = shared_by_all(array)
            moved = torch.as_tensor(array[:1].copy() if shared else array)
            moved = moved.to(like.device, like.dtype if moved.is_floating_point() else None)
            return moved.expand(array.shape) if shared else moved

        self.inputs = tensor(trials.inputs)
        self.targets = tensor(trials.targets)
        self.mask = tensor(trials.mask)
        self._tensor = tensor
        self.n_entries = None
        if normalise == "all":
            self.n_entries = torch.as_tensor(self._n_valid_entries(), device=like.device)

    @cached_property
    def valid(self) -> Tensor | None:
        """Which steps exist, shape (trial, time); None where all of them do, as of trials of one length."""
        return None if self.trials.valid.all() else self._tensor(self.trials.valid)

    def teacher(self) -> Tensor:
        """Return what a perfect network puts out, shape (trial, time, output_channel)."""
        return self._tensor(self.trials.ideal_outputs())

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the loss of outputs, shape ()."""
        return masked_loss(outputs, self.targets, self.mask, self.kind, n_entries=self.n_entries)

    def each_trial(self) -> Iterator[Batch]:
        """Yield the trials one by one, each a batch with the same loss."""
        for k in range(self.trials.n_trials):
            yield Batch(self.trials.select(np.array([k])), self._like, self.normalise, self.kind)

    def _n_valid_entries(self) -> int:
        valid = self.trials.valid
        if self.kind == "cross_entropy_per_trial":
            return int(valid.any(1).sum())
        per_step = self.trials.targets.shape[2] if self.trials.targets.ndim == 3 else 1
        return int(valid.sum()) * (1 if self.kind == "half_squares" else per_step)


def _error(outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return what outputs are off by, and 0 where nothing is asked, whatever stands there."""
    return torch.where(mask > 0, outputs - targets, 0)


def _put_aside(outputs: Tensor, mask: Tensor) -> Tensor:
    """Return outputs of classes, all classes alike where nothing is asked: finite as scores and in logs."""
    return torch.where((mask > 0)[..., None], outputs, 1 / max(outputs.shape[-1], 1))


def _of_function(function: LossFunction, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return what a loss of one's own makes of outputs, refusing a shape that the mask has not."""
    if targets.is_floating_point():
        asked = mask > 0
        outputs, targets = torch.where(asked, outputs, 0), torch.where(asked, targets, 0)
    else:
        outputs = _put_aside(outputs, mask)
    found = function(outputs, targets)
    if not isinstance(found, Tensor) or found.shape not in ((), mask.shape):
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"the loss function must return a tensor of the mask's shape {tuple(mask.shape)}, one loss for "
            f"each entry, or of shape (), got {got}: take no mean, or one over all"
        )
    return found


def _need_one_answer(trials: Trials) -> None:
    """Refuse trials that ask for several classes other than 0, of which none is the answer."""
    asked = np.where(trials.mask > 0, trials.targets, 0)
    most = asked.max(1, initial=0)
    least = np.where(asked > 0, asked, most[:, None]).min(1, initial=most.max(initial=0))
    several = np.flatnonzero(least != most)
    if len(several):
        k = several[0]
        raise InputError(
            f"loss 'cross_entropy_per_trial' needs trials with one answer each, but one of "
            f"{type(trials.task).__name__} asks for classes {least[k]} and {most[k]}: use 'cross_entropy'"
        )
