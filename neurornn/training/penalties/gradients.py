"""Penalties on how gradients run through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurornn.networks import Network, RateRNN
from neurornn.networks.activations import Activation
from neurornn.networks.connectivity import LowRank
from neurornn.training.losses import Batch
from neurornn.training.penalties.penalty import Penalty
from neurornn.training.penalties.rates import existing


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
        rates = existing(rates, valid).detach()
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
