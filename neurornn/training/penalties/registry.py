"""The penalties by their names in the literature, and those of one training with their coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from neurornn.networks import Network
from neurornn.training.losses import Batch
from neurornn.training.penalties.anchors import ElasticWeightConsolidation, InitialWeightsL2, L2Anchor
from neurornn.training.penalties.gradients import GradientFlossing, VanishingGradient
from neurornn.training.penalties.penalty import Penalty
from neurornn.training.penalties.rates import Dimensionality, RateL1, RateL2, RateSmoothness
from neurornn.training.penalties.weights import InputL1, InputL2, OutputL1, OutputL2, RecurrentL1, RecurrentL2
from neurornn.vocabulary import InputError, need_at_least_zero, unknown_name

PENALTIES: dict[str, type[Penalty]] = {
    "recurrent_l1": RecurrentL1,
    "recurrent_l2": RecurrentL2,
    "input_l1": InputL1,
    "input_l2": InputL2,
    "output_l1": OutputL1,
    "output_l2": OutputL2,
    "rate_l2": RateL2,
    "rate_l1": RateL1,
    "rate_smoothness": RateSmoothness,
    "dimensionality": Dimensionality,
    "vanishing_gradient": VanishingGradient,
    "initial_weights_l2": InitialWeightsL2,
    "l2_anchor": L2Anchor,
    "elastic_weight_consolidation": ElasticWeightConsolidation,
    "gradient_flossing": GradientFlossing,
}
"""Every penalty by its name; the classes say what they are and where they come from."""


class Penalties:
    """The penalties of one training.

    Parameters
    ----------
    coefficients : mapping of str to float
        What each penalty is multiplied with, by its name in `PENALTIES`. Those of 0 are left out.
    network : Network
        As it is when training begins.

    Attributes
    ----------
    coefficients : dict of str to float
        Those above 0.

    Raises
    ------
    InputError
        For an unknown name, a coefficient that is negative or no finite number, a network that a penalty is
        not for.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from neurornn.networks import RateRNN
    >>> from neurornn.tasks import FlipFlop
    >>> task, net = FlipFlop(n_bits=1, duration=200), RateRNN(1, 8, 1, seed=0)
    >>> terms = Penalties({"recurrent_l2": 0.5, "rate_l2": 0.1}, net)
    >>> batch = Batch(task.draw(4, np.random.default_rng(0)), net.output_bias)
    >>> outputs, rates = net(batch.inputs)
    >>> found = terms(batch, outputs, rates)
    >>> list(found), torch.equal(found["recurrent_l2"], 0.5 * net.recurrent_weight.square().sum())
    (['recurrent_l2', 'rate_l2'], True)
    >>> (batch.loss(outputs) + sum(found.values())).backward()
    """

    def __init__(self, coefficients: Mapping[str, float], network: Network) -> None:
        self.coefficients: dict[str, float] = {}
        self._terms: dict[str, Penalty] = {}
        for name, coefficient in coefficients.items():
            if name not in PENALTIES:
                unknown_name("penalty", name, PENALTIES)
            number = need_at_least_zero(coefficient, name)
            if number == 0:
                continue
            needed = PENALTIES[name].reason_to_refuse(network)
            if needed is not None:
                raise InputError(f"penalty {name!r} needs {needed}: leave it out")
            self.coefficients[name] = number
        # Only now, when nothing is refused any more, are weights copied.
        for name in self.coefficients:
            self._terms[name] = PENALTIES[name](network)

    @property
    def needs_rates(self) -> bool:
        """Whether a term is made of the rates."""
        return any(term.needs_rates for term in self._terms.values())

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> dict[str, Tensor]:
        """Return what each penalty adds to the loss.

        Parameters
        ----------
        batch : Batch
            What the network was run on.
        outputs : Tensor, shape (trial, time, output_channel)
        rates : Tensor, shape (trial, time, unit), or None
            As the network returned them, where `needs_rates`.

        Returns
        -------
        dict of str to Tensor, each of shape ()
            Times their coefficients, differentiable.
        """
        return {
            name: self.coefficients[name] * term(batch, outputs, rates) for name, term in self._terms.items()
        }

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Take anchors and importances from a finished stage, as continual learning needs them.

        Parameters
        ----------
        batches : iterable of Batch
            Trials of the finished stage. They are drawn only where a term looks at them, and each trial is
            then one pass forward and back.

        Raises
        ------
        InputError
            Where elastic weight consolidation is given no trial.
        """
        for term in self._terms.values():
            term.end_stage(batches)

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what a training needs to go on: tensors and plain values, by the penalties' names."""
        return {name: term.state() for name, term in self._terms.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what `state` returned.

        Raises
        ------
        InputError
            Where it belongs to other penalties.
        """
        if set(state) != set(self._terms):
            raise InputError(
                f"the state is that of the penalties {sorted(state)}, but these are {sorted(self._terms)}: "
                "go on with the same ones"
            )
        for name, term in self._terms.items():
            term.restore(state[name])
