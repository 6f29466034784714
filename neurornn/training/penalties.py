"""Penalties that are added to a loss, by their names in the literature, and the max-norm constraint.

A penalty is one class with its source. `Penalties` holds those of a training with their coefficients, what
they remember of earlier stages included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurornn.networks import Network, RateRNN
from neurornn.networks.activations import Activation
from neurornn.networks.connectivity import Connection, LowRank
from neurornn.training.losses import Batch
from neurornn.vocabulary import InputError, need_at_least_zero, need_positive, unknown_name


class Penalty:
    """One term beside the loss, as yet without its coefficient.

    Parameters
    ----------
    network : Network
        As it is when training begins.
    """

    needs_rates: ClassVar[bool] = False

    def __init__(self, network: Network) -> None:
        self.network = network

    @classmethod
    def reason_to_refuse(cls, network: Network) -> str | None:
        """Say which network the penalty needs that this one is not, or None where it serves."""
        return None

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the term, shape (), differentiable."""
        raise NotImplementedError

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Take over what the term needs to know of a finished stage."""

    def state(self) -> dict[str, Any]:
        """Return what has to be kept for a training to go on."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""


# Weights ----------------------------------------------------------------------------------------------


class _OfWeights(Penalty):
    """Sum of a power of the effective weights of one kind."""

    matrices: ClassVar[str]
    power: ClassVar[int]

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the sum over every layer and direction."""
        if self.matrices == "output":
            weights = [self.network.output_weight]
        else:
            weights = [getattr(layer, f"{self.matrices}_weight") for layer in self.network.layers]
        sums = [own.abs().sum() if self.power == 1 else own.square().sum() for own in weights]
        return torch.stack(sums).sum()


class RecurrentL1(_OfWeights):
    """L1 penalty (lasso) on recurrent weights: the sum of ``|w|``, which makes them sparse.

    Weights are the effective ones, after masks, signs and held values, of all layers; of LSTM and GRU those
    of all gates. The program of Song et al. (2016) takes the mean in place of the sum.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792
    """

    matrices, power = "recurrent", 1


class RecurrentL2(_OfWeights):
    """L2 penalty (ridge, Tikhonov) on recurrent weights: the sum of ``w^2``, without a factor of 1/2.

    Weights are the effective ones, of all layers; of LSTM and GRU those of all gates.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "recurrent", 2


class InputL1(_OfWeights):
    """L1 penalty on input weights: the sum of ``|w|``, of upper layers on what they see of the layer below.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x
    """

    matrices, power = "input", 1


class InputL2(_OfWeights):
    """L2 penalty on input weights: the sum of ``w^2``, of upper layers on what they see of the layer below.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "input", 2


class OutputL1(_OfWeights):
    """L1 penalty on output weights: the sum of ``|w|``.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
    Society B 58, 267-288. doi:10.1111/j.2517-6161.1996.tb02080.x
    """

    matrices, power = "output", 1


class OutputL2(_OfWeights):
    """L2 penalty on output weights: the sum of ``w^2``.

    References
    ----------
    Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems.
    Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
    """

    matrices, power = "output", 2


# Rates ------------------------------------------------------------------------------------------------


class RateL2(Penalty):
    """Metabolic cost: the mean of ``r^2`` over units and the steps that exist, as in Song et al. (2016).

    Rates are those that the readout sees. Being a mean, it does not grow with the number of units.

    References
    ----------
    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792

    Sussillo, D., Churchland, M. M., Kaufman, M. T. & Shenoy, K. V. (2015). A neural network that finds a
    naturalistic solution for the production of muscle activity. Nature Neuroscience 18, 1025-1033.
    doi:10.1038/nn.4042
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean square."""
        return _valid_mean(_existing(rates, batch.valid).square(), batch.valid)


class RateL1(Penalty):
    """Metabolic cost: the mean of ``|r|`` over units and the steps that exist; it makes activity sparse.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean absolute rate."""
        return _valid_mean(_existing(rates, batch.valid).abs(), batch.valid)


class RateSmoothness(Penalty):
    """Temporal activation regularisation: the mean of ``(r_{t+1} - r_t)^2`` over units and pairs of steps.

    Both steps of a pair exist. The difference is that of one step, not per ms: with half the dt it is about a
    quarter.

    References
    ----------
    Merity, S., McCann, B. & Socher, R. (2017). Revisiting activation regularization for language RNNs.
    doi:10.48550/arXiv.1708.01009
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the mean squared difference, 0 for trials of one step."""
        valid = batch.valid
        pairs = None if valid is None else valid[:, 1:] & valid[:, :-1]
        return _valid_mean(_existing(rates, valid).diff(dim=1).square(), pairs)


class Dimensionality(Penalty):
    """Participation ratio of the rates, ``(sum lambda)^2 / sum lambda^2``: from 1 to the number of units.

    The lambda are the eigenvalues of the covariance between units, over all trials and steps that exist; they
    are not computed, since their sum is the trace of the covariance and that of their squares its squared
    Frobenius norm. Where nothing varies it is 0.

    References
    ----------
    Gao, P. et al. (2017). A theory of multineuronal dimensionality, dynamics and measurement. bioRxiv.
    doi:10.1101/214262
    """

    needs_rates = True

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the participation ratio; the number of samples that a covariance is divided by cancels."""
        rates = _existing(rates, batch.valid)
        samples = rates.flatten(0, 1) if batch.valid is None else rates[batch.valid]
        centred = samples - samples.mean(0)
        spread = centred.t() @ centred / max(len(samples), 1)
        return spread.trace() ** 2 / spread.square().sum().clamp_min(torch.finfo(spread.dtype).tiny)


# Gradients through time -------------------------------------------------------------------------------


class VanishingGradient(Penalty):
    """Pascanu's Omega: steps back in time are to change no gradient's length.

    With x_t the state and L the loss without penalties::

        Omega = mean over trials and t of (|dL/dx_{t+1} dx_{t+1}/dx_t| / |dL/dx_{t+1}| - 1)^2

    As in both papers, dL/dx and the slopes of f are constants: what is differentiated is the immediate
    dependence of dx_{t+1}/dx_t on the recurrent weights, and nothing else gets a gradient. Pairs of steps
    whose dL/dx_{t+1} is shorter than 1e-10 are left out.

    Notes
    -----
    The papers print a sum over t; their programs divide it by the number of pairs that count, and so does
    this, or its coefficient would depend on the length of trials. They also compare squared lengths, which
    the formula does not: near 1 that is four times as much, so the 2 of Song et al. corresponds to 8 here.

    Slopes are taken from the rates themselves, so that they are those of the run, noise included. Truncated
    backpropagation is not seen: dL/dx goes back through the whole trial.

    References
    ----------
    Pascanu, R., Mikolov, T. & Bengio, Y. (2013). On the difficulty of training recurrent neural networks.
    ICML 28, 1310-1318. doi:10.48550/arXiv.1211.5063

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792
    """

    needs_rates = True
    shortest: ClassVar[float] = 1e-10
    """Length of dL/dx below which a step does not count."""

    @classmethod
    def reason_to_refuse(cls, network: Network) -> str | None:
        """Say what is more than one layer of a plain rate network, or an activation that hides its slope."""
        if not isinstance(network, RateRNN):
            return f"a rate network, got {type(network).__name__}"
        if len(network.layers) > 1:
            return f"one layer and one direction, got {len(network.layers)}"
        if _kind(network.activation) not in SLOPES:
            return (
                f"an activation whose slope follows from its value ({', '.join(SLOPES)}), got "
                f"{network.activation_name or 'a callable'!r}"
            )
        config: Any = network.config
        for option in ("feedback", "plasticity", "layer_norm", "dropout"):
            if getattr(config, option):
                return f"a network without {option}"
        return None if config.recurrent else "recurrent weights"

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return Omega, 0 where no gradient crosses a step."""
        valid = batch.valid
        rates = _existing(rates, valid).detach()
        direct = self._direct(batch, outputs, rates)
        back = _StepBack(self.network, rates.transpose(0, 1))
        with torch.no_grad():
            arriving = back.through_time(direct.transpose(0, 1))
            if valid is not None:
                arriving = torch.where(valid.t()[1:, :, None], arriving, 0)
            length = arriving.norm(dim=-1)
            counts = length >= self.shortest
        ratio = torch.where(counts, back(arriving).norm(dim=-1) / length.clamp_min(self.shortest), 1)
        return (ratio - 1).square().sum() / counts.sum().clamp_min(1)

    def _direct(self, batch: Batch, outputs: Tensor, rates: Tensor) -> Tensor:
        """Return what the loss hears of each step's rates through the readout alone, (trial, time, unit)."""
        with torch.enable_grad():
            put_out, heard = outputs.detach().requires_grad_(), rates.detach().requires_grad_()
            (pull,) = torch.autograd.grad(batch.loss(put_out), put_out)
            (direct,) = torch.autograd.grad(self.network.readout(heard), heard, pull)
        return direct


class _StepBack:
    """From dL/dx_{t+1} to dL/dx_{t+1} dx_{t+1}/dx_t in the network's dynamics, at the rates of one run.

    With s the slopes f', D(.) a diagonal matrix and W' = D(alpha) W, the matrix dx_{t+1}/dx_t is::

        "rate"         D(1 - alpha) + D(s_{t+1}) W'
        "current"      D(1 - alpha) + W' D(s_t)
        "leak_inside"  D(s_{t+1}) (D(1 - alpha) + W')

    Parameters
    ----------
    network : RateRNN
    rates : Tensor, shape (time, trial, unit)
    """

    def __init__(self, network: Any, rates: Tensor) -> None:
        self.dynamics = network.dynamics
        alpha = torch.as_tensor(network.alpha, dtype=rates.dtype, device=rates.device).detach()
        self.stays = 1 - alpha
        self.weight = alpha.reshape(-1, 1) * network.recurrent_weight
        with torch.no_grad():
            values = rates
            if self.dynamics == "rate":
                # What f put out in step t + 1: the rate without what stayed of the one before. What is left
                # of that by rounding is no activity, or a silent unit would seem to have a slope.
                kept = self.stays * rates[:-1]
                new = rates[1:] - kept
                rounding = 4 * torch.finfo(rates.dtype).eps * (rates[1:].abs() + kept.abs())
                values = torch.where(new.abs() <= rounding, 0, new) / alpha
            slopes = SLOPES[_kind(network.activation)](values, network.activation)
            self.own_slopes = slopes
            self.slopes = {"rate": slopes, "current": slopes[:-1], "leak_inside": slopes[1:]}[self.dynamics]

    def __call__(self, arriving: Tensor) -> Tensor:
        """Return what has gone back one step; ``arriving`` is at all steps but the first."""
        return self._back(arriving, self.slopes)

    def _back(self, arriving: Tensor, slopes: Tensor) -> Tensor:
        if self.dynamics == "rate":
            return self.stays * arriving + (arriving * slopes) @ self.weight
        if self.dynamics == "current":
            return self.stays * arriving + (arriving @ self.weight) * slopes
        through = arriving * slopes
        return self.stays * through + through @ self.weight

    def through_time(self, direct: Tensor) -> Tensor:
        """Return dL/dx at all steps but the first; ``direct`` is what the readout hears of each rate."""
        if self.dynamics == "current":
            direct = direct * self.own_slopes
        now, found = torch.zeros_like(direct[0]), []
        for own, slopes in zip(direct[1:].flip(0), self.slopes.flip(0), strict=True):
            now = now + own
            found.append(now)
            now = self._back(now, slopes)
        return torch.stack(found[::-1]) if found else direct[1:]


def _slack(value: Tensor) -> float:
    """Return by how much a value may be off that was divided by a leak of 1/100."""
    return 400 * torch.finfo(value.dtype).eps


def _sign_slope(value: Tensor, f: Activation) -> Tensor:
    return torch.where(value > 0, 1, -f(value.new_tensor(-1.0)))


def _power_slope(value: Tensor, f: Activation) -> Tensor:
    # u^n has the slope n f^(1 - 1/n), and n is the slope at 1.
    exponent = f.derivative(value.new_tensor(1.0))
    return torch.where(value > 0, exponent * value.clamp_min(0) ** (1 - 1 / exponent), 0)


SLOPES: dict[str, Callable[[Tensor, Activation], Tensor]] = {
    "tanh": lambda value, f: (1 - value**2).clamp_min(0),
    "relu": lambda value, f: (value > 0).to(value.dtype),
    "softplus": lambda value, f: -torch.expm1(-value.clamp_min(0)),
    "sigmoid": lambda value, f: value * (1 - value),
    "identity": lambda value, f: torch.ones_like(value),
    "hard_tanh": lambda value, f: (value.abs() < 1 - _slack(value)).to(value.dtype),
    "leaky_relu": _sign_slope,
    # Below zero f = alpha (exp(u) - 1), and alpha is how low it can come.
    "elu": lambda value, f: torch.where(value > 0, 1, value - f.bounds[0]),
    "power_law": _power_slope,
    "softsign": lambda value, f: (1 - value.abs()) ** 2,
    "retanh": lambda value, f: torch.where(value > 0, (1 - value**2).clamp_min(0), 0),
}
"""The slope f'(u) as a function of the value f(u), of the activations that tell it."""


def _kind(activation: Activation) -> str:
    """Return an activation's name without its parameter, empty where it has none."""
    return activation.name.partition("(")[0]


class GradientFlossing(Penalty):
    """Sum of the squared leading Lyapunov exponents, which pulls them to 0, where gradients keep their size.

    The exponents, per step, are those of the network driven by the batch's inputs, without noise: tangent
    vectors are carried along the trajectory and made orthogonal by a QR decomposition at each step. Gradients
    run through all of it, the trajectory included.

    Notes
    -----
    The cost is bounded by what is looked at: the first `n_trials` of a batch, fresh ones at each training
    step, the first `n_steps` of them after `n_warm_up` in which the tangents turn to where they grow, and
    the `n_exponents` largest exponents of all state variables. The tangents begin the same each time. The
    paper flosses in phases of their own, before and between the training on the task; here it is one more
    term, and a stage with the loss's weight at 0 is such a phase. It takes the mean over exponents where this
    takes the sum.

    A direction that a step extinguishes altogether (every unit of a network without leak silent) counts as
    shrinking by `least`, so that neither the exponent nor the gradient is infinite.

    References
    ----------
    Engelken, R. (2023). Gradient flossing: improving gradient descent through dynamic control of Jacobians.
    NeurIPS 36. doi:10.48550/arXiv.2312.17306
    """

    n_exponents: ClassVar[int] = 8
    n_trials: ClassVar[int] = 2
    n_warm_up: ClassVar[int] = 10
    n_steps: ClassVar[int] = 40
    least: ClassVar[float] = 1e-6

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.k = max(1, min(self.n_exponents, sum(_free_rank(layer) for layer in network.layers)))

    @classmethod
    def reason_to_refuse(cls, network: Network) -> str | None:
        """Say that a bidirectional network has no step."""
        return "a network that runs in one direction, which has a step" if network.is_bidirectional else None

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the sum over exponents, averaged over trials."""
        return self.exponents(batch).square().sum(-1).mean()

    def exponents(self, batch: Batch) -> Tensor:
        """Return the leading exponents of the first trials.

        Parameters
        ----------
        batch : Batch

        Returns
        -------
        Tensor, shape (trial, mode)
            In natural units per step, about in descending order.
        """
        network = self.network
        inputs = batch.inputs[: self.n_trials, : self.n_warm_up + self.n_steps]
        n_trials, n_steps = inputs.shape[:2]
        # Short trials are warmed up for a fifth of what they have.
        n_warm_up = min(self.n_warm_up, n_steps // 5)
        counted = inputs.new_ones(n_trials, n_steps)
        if batch.valid is not None:
            counted = batch.valid[:n_trials, :n_steps].to(inputs.dtype)
        counted[:, :n_warm_up] = 0
        state = network.initial_state(n_trials)
        tangents = self._first_tangents(state)
        grown = inputs.new_zeros(n_trials, self.k)
        for t, now in enumerate(inputs.unbind(1)):
            state, carried = _carry(network, state, now, tangents)
            columns, triangle = torch.linalg.qr((carried + self.least * tangents).permute(1, 2, 0))
            tangents = columns.permute(2, 0, 1)
            sizes = triangle.diagonal(dim1=-2, dim2=-1).abs()
            # The padding after a trial's end does not count.
            grown = grown + torch.where(counted[:, t, None] > 0, sizes.log(), 0)
        return grown / counted.sum(1, keepdim=True).clamp_min(1)

    def _first_tangents(self, state: Tensor) -> Tensor:
        """Return orthonormal directions, the same each time, shape (mode, trial, state_variable)."""
        stream = torch.Generator().manual_seed(0)
        drawn = torch.randn(state.shape[-1], self.k, generator=stream, dtype=torch.float64)
        columns = torch.linalg.qr(drawn)[0].to(state)
        return columns.t()[:, None].expand(self.k, *state.shape)


def _carry(network: Network, state: Tensor, input: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state one step later and the step's Jacobian applied to tangents, both differentiable.

    Parameters
    ----------
    network : Network
    state : Tensor, shape (trial, state_variable)
    input : Tensor, shape (trial, input_channel)
    tangents : Tensor, shape (mode, trial, state_variable)
    """
    with torch.enable_grad():
        copies = state.expand(tangents.shape)
        copies = copies if copies.requires_grad else copies.clone().requires_grad_()
        after = network.step(copies, input)
        # J'u is linear in u, and its derivative by u applied to v is J v: backwards twice is forwards, for
        # any step that can be differentiated twice.
        probe = torch.zeros_like(after, requires_grad=True)
        (pulled,) = torch.autograd.grad(after, copies, probe, create_graph=True)
        (carried,) = torch.autograd.grad(pulled, probe, tangents, create_graph=True)
    return after[0], carried


def _free_rank(layer: Any) -> int:
    """Return how many directions of its state a layer's next one depends on: its rank, without leak."""
    recurrent = getattr(layer, "recurrent", None)
    if isinstance(recurrent, LowRank) and not layer.has_leak:
        back = 0 if layer.feedback_weight is None else layer.feedback_weight.shape[1]
        return recurrent.m.shape[1] + back
    return layer.state_size


# Weights at earlier moments ---------------------------------------------------------------------------


class _Anchored(Penalty):
    """A pull of every parameter to where it was; nothing while there is no anchor."""

    factor: ClassVar[float] = 1.0

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.anchor: dict[str, Tensor] = {}
        self.importance: dict[str, Tensor] = {}

    def __call__(self, batch: Batch, outputs: Tensor, rates: Tensor | None) -> Tensor:
        """Return the weighed sum of the squared distances."""
        if not self.anchor:
            return outputs.new_zeros(())
        sums = []
        for name, parameter in self.network.named_parameters():
            distance = (parameter - self.anchor[name]).square()
            sums.append((distance * self.importance[name] if self.importance else distance).sum())
        return self.factor * torch.stack(sums).sum()

    def take_anchor(self) -> None:
        self.anchor = {name: own.detach().clone() for name, own in self.network.named_parameters()}

    def state(self) -> dict[str, Any]:
        """Return the anchor, and the importance where there is one."""
        return {"anchor": dict(self.anchor), "importance": dict(self.importance)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, beside the network."""
        parameters = dict(self.network.named_parameters())
        for part in ("anchor", "importance"):
            kept = {name: values.to(parameters[name]) for name, values in state[part].items()}
            setattr(self, part, kept)


class InitialWeightsL2(_Anchored):
    """L2 distance from where training began: the sum of ``(p - p_0)^2`` over all parameters (L2-SP).

    Parameters are the raw ones that the optimiser changes; those that are not trained add nothing, since they
    stay. It keeps a network in the lazy regime, or near the weights that it was given.

    References
    ----------
    Li, X., Grandvalet, Y. & Davoine, F. (2018). Explicit inductive bias for transfer learning with
    convolutional networks. ICML 80, 2825-2834. doi:10.48550/arXiv.1802.01483
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.take_anchor()


class L2Anchor(_Anchored):
    """Continual learning: ``1/2 sum (p - p*)^2`` to the parameters p* at the end of the stage before.

    Until a first stage has ended it is 0. It is what elastic weight consolidation is compared with: the same
    pull on all parameters.

    References
    ----------
    Kirkpatrick, J. et al. (2017). Overcoming catastrophic forgetting in neural networks. Proceedings of the
    National Academy of Sciences 114, 3521-3526. doi:10.1073/pnas.1611835114
    """

    factor = 0.5

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Let the present parameters be those that are pulled to; no trial is looked at."""
        self.take_anchor()


class ElasticWeightConsolidation(_Anchored):
    """Continual learning: ``1/2 sum F (p - p*)^2``, F the importance of each parameter for earlier stages.

    F is the diagonal of the empirical Fisher information at the end of a stage: the mean over trials of the
    squared gradient of a trial's own loss, for all parameters, be they trained in that stage or not. Where
    that loss is the mean over the steps that are asked for, so is the likelihood that F belongs to. The
    gradients are those of the loss alone, without noise and penalties.

    The pulls of several stages are kept as one, which is exact but for a constant: importances add up, and
    the anchor is the mean of the stages' parameters, weighed by their importances.

    References
    ----------
    Kirkpatrick, J. et al. (2017). Overcoming catastrophic forgetting in neural networks. Proceedings of the
    National Academy of Sciences 114, 3521-3526. doi:10.1073/pnas.1611835114
    """

    factor = 0.5

    def end_stage(self, batches: Iterable[Batch]) -> None:
        """Measure the importances on trials of the finished stage, one pass for each trial.

        Raises
        ------
        InputError
            Where there is no trial.
        """
        fisher = self._fisher(batches)
        before, weighed = self.anchor, self.importance
        self.take_anchor()
        if before:
            for name, own in fisher.items():
                total = own + weighed[name]
                # Where no stage needs a parameter the anchor holds nothing, and is the last one.
                share = own / torch.where(total > 0, total, 1)
                share = torch.where(total > 0, share, 1)
                self.anchor[name] = torch.lerp(before[name], self.anchor[name], share)
                fisher[name] = total
        self.importance = fisher

    def _fisher(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        network, was_training = self.network, self.network.training
        parameters = dict(network.named_parameters())
        were_trained = {name: own.requires_grad for name, own in parameters.items()}
        sums = {name: torch.zeros_like(own) for name, own in parameters.items()}
        n_trials = 0
        try:
            network.eval().requires_grad_(True)
            for batch in batches:
                for trial in batch.each_trial():
                    # cuDNN gives no gradient in eval mode.
                    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                        loss = trial.loss(network(trial.inputs, return_rates=False)[0])
                        pulls = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                    for total, pull in zip(sums.values(), pulls, strict=True):
                        if pull is not None:
                            total += pull.square()
                    n_trials += 1
        finally:
            network.train(was_training)
            for name, own in parameters.items():
                own.requires_grad_(were_trained[name])
        if not n_trials:
            raise InputError(
                "elastic weight consolidation needs trials of the finished stage, got none: give at least "
                "one batch"
            )
        return {name: own / n_trials for name, own in sums.items()}


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


@torch.no_grad()
def apply_max_norm(network: Network, limit: float) -> None:
    """Shrink each unit's incoming recurrent weights to at most a length, after a step of the optimiser.

    What is rescaled are rows of the effective weights, each as a whole, so that signs, masks and ranks stay;
    of LSTM and GRU each gate of a unit has a row. Held weights count but do not change.

    Parameters
    ----------
    network : Network
        Changed in place, all of its layers.
    limit : float
        The largest Euclidean norm of a row; infinity leaves everything as it is.

    Raises
    ------
    InputError
        Where `need_max_norm` refuses.

    References
    ----------
    Srebro, N. & Shraibman, A. (2005). Rank, trace-norm and max-norm. COLT, 545-560.
    doi:10.1007/11503415_37

    Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I. & Salakhutdinov, R. (2014). Dropout: a simple
    way to prevent neural networks from overfitting. Journal of Machine Learning Research 15, 1929-1958.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> net = RateRNN(1, 8, 1, seed=0)
    >>> apply_max_norm(net, 0.5)
    >>> bool((net.recurrent_weight.norm(dim=1) <= 0.5 + 1e-6).all())
    True
    """
    need_max_norm(network, limit)
    for layer in network.layers:
        recurrent, weight, held = getattr(layer, "recurrent", None), layer.recurrent_weight, _held(layer)
        length, most = weight.norm(dim=1), weight.new_tensor(limit)
        if held is not None:
            length, most = (weight - held).norm(dim=1), (limit**2 - held.square().sum(1)).clamp_min(0).sqrt()
        # A row without weights stays as it is.
        share = (most / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        # Effective rows are proportional to what lies under them, so that this is scaled.
        if isinstance(recurrent, LowRank):
            recurrent.m.mul_(share[:, None])
        elif isinstance(recurrent, Connection) and recurrent.normalised:
            recurrent.scale.mul_(share)
        elif isinstance(recurrent, Connection):
            recurrent.raw.mul_(share[:, None])
        else:
            weight.mul_(share[:, None])


@torch.no_grad()
def need_max_norm(network: Network, limit: float) -> None:
    """Refuse a limit that `apply_max_norm` cannot keep; nothing is changed.

    Parameters
    ----------
    network : Network
    limit : float

    Raises
    ------
    InputError
        Where the limit is not above 0, or held weights alone are longer.

    Examples
    --------
    >>> from neurornn.networks import RateRNN
    >>> need_max_norm(RateRNN(1, 8, 1), 0.0)
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: `max_norm` must be a positive number, got 0.0
    """
    if limit != math.inf:
        need_positive(limit, "max_norm")
    for layer in network.layers:
        held = _held(layer)
        if held is not None and (held.norm(dim=1) > limit).any():
            length, unit = held.norm(dim=1).max(0)
            raise InputError(
                f"`max_norm` = {limit:g} is less than the {length.item():g} of held recurrent weights into "
                f"unit {unit.item()}: take a larger one"
            )


def _held(layer: Any) -> Tensor | None:
    """Return a layer's recurrent weights that are held, 0 where they are free; None where all of them are."""
    recurrent = getattr(layer, "recurrent", None)
    if not isinstance(recurrent, Connection) or recurrent.fixed is None:
        return None
    return torch.where(recurrent.fixed.isnan(), 0, recurrent.weight)


def _existing(rates: Tensor | None, valid: Tensor | None) -> Tensor:
    """Return the rates, 0 beyond a trial's end, where they may be no numbers."""
    if rates is None:
        raise InputError("these penalties need the rates: run the network with return_rates=True")
    return rates if valid is None else torch.where(valid[..., None], rates, 0)


def _valid_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of (trial, time, unit) over units and valid steps, 0 where there are none."""
    if valid is None:
        return values.sum() / max(values.numel(), 1)
    n = valid.sum() * values.shape[-1]
    return torch.where(valid[..., None], values, 0).sum() / n.clamp_min(1)
