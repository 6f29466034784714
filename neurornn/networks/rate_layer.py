"""One layer of rate units: the weights that it receives, its step, and the scan that engines run."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from neurornn import engine as engines
from neurornn.config import RateConfig
from neurornn.networks.activations import Activation
from neurornn.networks.connectivity import Connection, LowRank, WithSettableWeights, need_shape
from neurornn.networks.feedback import has_memory, scan_at_once, with_feedback
from neurornn.networks.initialisation import gaussian
from neurornn.networks.running import Running
from neurornn.networks.wiring import Wiring, draw_connection
from neurornn.vocabulary import INPUT_CHANNEL, OUTPUT_CHANNEL, PRESYNAPTIC_UNIT, UNIT, InputError

PLASTICITY = {"facilitating": (200.0, 1500.0, 0.15), "depressing": (1500.0, 200.0, 0.45)}
"""Time constants of the resources x and of their use u in ms, and the use U at rest (Masse et al. 2019)."""

_LARGEST_LOGIT = 14.0


class RateLayer(WithSettableWeights):
    """The units of one layer and one direction, and the weights that they receive.

    Parameters
    ----------
    input_size : int
        Number of channels that the layer sees.
    config : RateConfig
        Options of the whole network.
    activation : Activation
    wiring : Wiring
        Signs, masks and held weights.
    lowest : bool
        Whether the layer sees the network's inputs, or the rates of a layer below.
    generator : torch.Generator
        Draws the initial weights.
    """

    inner_variables = ("pre_activation",)

    norm_gain: Tensor | None
    feedback_weight: Tensor | None
    leak_logit: Tensor | None

    def __init__(
        self,
        input_size: int,
        config: RateConfig,
        activation: Activation,
        wiring: Wiring,
        *,
        lowest: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        n = self.size = config.hidden_size
        self.dynamics, self.noise_std, self.plasticity = config.dynamics, config.noise_std, config.plasticity
        self.tau, self.dt, self._alpha = config.tau, config.dt, config.alpha
        self.activation = activation
        if activation.module is not None:
            # A part of the layer, so that parameters of its own are trained and saved.
            self.nonlinearity = activation.module
        dtype = getattr(torch, config.dtype)

        def vectors(columns: int, gain: float) -> Tensor:
            return gaussian(n, columns, gain=gain, generator=generator, dtype=dtype)

        if config.rank is not None:
            # Entries of unit variance, as in the theory of low-rank networks.
            unit = math.sqrt(config.rank)
            self.recurrent: Connection | LowRank = LowRank(
                vectors(config.rank, unit), vectors(config.rank, config.gain * unit)
            )
        elif config.recurrent:
            self.recurrent = draw_connection(
                "recurrent", (n, n), wiring, config, signs=wiring.signs, generator=generator
            )
        else:
            self.recurrent = LowRank(torch.zeros(n, 0, dtype=dtype), torch.zeros(n, 0, dtype=dtype))
        if lowest:
            signs = torch.ones(input_size, dtype=torch.float64) if config.nonnegative_inputs else None
        else:
            # What lies below are units, in one direction or two.
            signs = None if wiring.signs is None else wiring.signs.repeat(input_size // n)
        self.input = draw_connection(
            "input", (n, input_size), wiring if lowest else None, config, signs=signs, generator=generator
        )
        self.bias = nn.Parameter(torch.zeros(n, dtype=dtype))
        gain = nn.Parameter(torch.ones(n, dtype=dtype)) if config.layer_norm else None
        self.register_parameter("norm_gain", gain)
        # What comes back is one more input.
        back = nn.Parameter(vectors(config.output_size, config.input_gain)) if config.feedback else None
        self.register_parameter("feedback_weight", back)
        self.register_parameter("leak_logit", None)
        if config.trainable_tau and config.dt is not None:
            share = config.dt / torch.as_tensor(config.tau, dtype=torch.float64)
            logit = torch.logit(share)
            if (logit.abs() > _LARGEST_LOGIT).any():
                raise InputError(
                    "a `trainable_tau` must begin above dt and below a million of dt, where it can move both "
                    "ways: take another tau or dt"
                )
            self.leak_logit = nn.Parameter(logit.to(dtype))

    # What it computes with ------------------------------------------------------------------------------

    @property
    def state_size(self) -> int:
        """Number of state variables."""
        return self.size if self.plasticity is None else 3 * self.size

    @property
    def states_are_rates(self) -> bool:
        """Whether the state is nothing but the rates."""
        return self.dynamics != "current" and self.plasticity is None

    @property
    def quantities(self) -> np.ndarray:
        """What each state variable is: a rate or current, and the resources and use of a unit's synapses."""
        own = "current" if self.dynamics == "current" else "rate"
        return np.repeat([own] if self.plasticity is None else [own, "resources", "use"], self.size)

    @property
    def has_leak(self) -> bool:
        """Whether a leak was given, be it 1."""
        return self.tau is not None or self._alpha is not None

    @property
    def alpha(self) -> float | Tensor:
        """The leak dt / tau: a number, or a tensor where units differ or it is trained."""
        if self.leak_logit is not None:
            # Held where a float32 is neither 0 nor 1: no step of an optimiser can stop or undo the leak.
            return torch.sigmoid(self.leak_logit.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT))
        if isinstance(self.tau, list):
            return self.bias.new_tensor([self.dt / tau for tau in self.tau])
        if self.tau is not None:
            return self.dt / self.tau
        return 1.0 if self._alpha is None else self._alpha

    @torch.no_grad()
    def set_dt(self, dt: float) -> None:
        """Take steps of another length, with the same time constants."""
        assert self.dt is not None
        tau = torch.as_tensor(self.tau, dtype=torch.float64)
        if self.leak_logit is not None:
            tau = self.dt / torch.as_tensor(self.alpha).double()
        need_step_within(dt, float(tau.min()))
        if self.leak_logit is not None:
            self.leak_logit.copy_(torch.logit(dt / tau))
        self.dt = dt

    @property
    def noise_scale(self) -> float | Tensor:
        """Standard deviation of the noise as it enters the equation at one step."""
        if not self.has_leak:
            return self.noise_std
        alpha = self.alpha
        factor = 2 * alpha if self.dynamics == "current" else 2 / alpha
        # No gradient runs through it, or training would shrink the noise by way of tau.
        root = factor.detach().sqrt() if isinstance(factor, Tensor) else math.sqrt(factor)
        return self.noise_std * root

    @property
    def recurrent_weight(self) -> Tensor:
        """Effective recurrent weights, shape (unit, unit)."""
        return self.recurrent.weight

    @recurrent_weight.setter
    def recurrent_weight(self, value: Tensor) -> None:
        need_shape(value, self.recurrent.weight, "recurrent_weight")
        self.recurrent.set(value)

    @property
    def input_weight(self) -> Tensor:
        """Effective input weights, shape (unit, input_channel)."""
        return self.input.weight

    @input_weight.setter
    def input_weight(self, value: Tensor) -> None:
        need_shape(value, self.input.raw, "input_weight")
        self.input.set(value)

    def synapses(self) -> engines.Plasticity | None:
        """Return the constants of the short-term plasticity, or None without it."""
        if self.plasticity is None or self.dt is None:
            return None
        kinds = ["facilitating", "depressing"] if self.plasticity == "mixed" else [self.plasticity]
        # Units in turn: of excitatory and inhibitory ones, half are of each kind.
        constants = np.array([PLASTICITY[kinds[k % len(kinds)]] for k in range(self.size)])
        recovery, relaxation, usage = (
            self.bias.new_tensor(own.tolist())
            for own in (self.dt / constants[:, 0], self.dt / constants[:, 1], constants[:, 2])
        )
        return engines.Plasticity(usage, recovery, relaxation, self.dt / 1000)

    def weights(self) -> Iterator[tuple[str, tuple[str, ...], Tensor]]:
        """Yield name, dimensions and values of what the layer computes with."""
        yield "recurrent_weight", (UNIT, PRESYNAPTIC_UNIT), self.recurrent_weight
        yield "input_weight", (UNIT, INPUT_CHANNEL), self.input_weight
        yield "bias", (UNIT,), self.bias
        if isinstance(self.recurrent, LowRank) and self.recurrent.m.shape[1]:
            yield "m", (UNIT, "rank"), self.recurrent.m
            yield "n", (UNIT, "rank"), self.recurrent.n
        if self.norm_gain is not None:
            yield "norm_gain", (UNIT,), self.norm_gain
        if self.feedback_weight is not None:
            yield "feedback_weight", (UNIT, OUTPUT_CHANNEL), self.feedback_weight
        if self.leak_logit is not None:
            yield "alpha", (UNIT,) * self.leak_logit.ndim, torch.as_tensor(self.alpha)
        if hasattr(self, "nonlinearity"):
            for name, values in self.nonlinearity.named_parameters():
                dims = tuple(f"activation_{name}_{k}" for k in range(values.ndim))
                yield f"activation_{name}", dims, values

    # Running it -----------------------------------------------------------------------------------------

    def resting_state(self) -> Tensor:
        """Return the state before the first step: silence, and full synapses."""
        zero = self.bias.new_zeros(self.size)
        synapses = self.synapses()
        return zero if synapses is None else torch.cat([zero, torch.ones_like(zero), synapses.usage])

    @property
    def state_leak(self) -> Tensor:
        """Which share of its way each state variable goes in a step."""
        leak = torch.ones_like(self.bias) * self.alpha
        synapses = self.synapses()
        return leak if synapses is None else torch.cat([leak, synapses.recovery, synapses.relaxation])

    def scan(self, inputs: Tensor, initial_state: Tensor, running: Running) -> engines.ScanResult:
        """Run through all of time; arrays are (time, trial, ·)."""
        problem = self.problem(inputs, initial_state, running)
        return engines.scan(problem, running.engine) if has_memory(problem) else scan_at_once(problem)

    def problem(self, inputs: Tensor, initial_state: Tensor, running: Running) -> engines.ScanProblem:
        """Return the scan over time that an engine is given."""
        noise = None
        if self.noise_std and running.draws:
            noise = engines.Noise(running.draws.key(), self.noise_scale)
        nothing = self.bias.new_zeros(0, self.size), self.bias.new_zeros(0)
        output_weight, output_bias = nothing if running.readout is None else running.readout
        recurrent_weight, selection = self.recurrent.factors
        problem = engines.ScanProblem(
            inputs=inputs,
            initial_state=initial_state,
            input_weight=self.input_weight,
            recurrent_weight=recurrent_weight,
            bias=self.bias,
            output_weight=output_weight,
            output_bias=output_bias,
            activation=self.activation,
            dynamics=self.dynamics,
            alpha=self.alpha,
            noise=noise,
            selection=selection,
            plasticity=self.synapses(),
            norm_gain=self.norm_gain,
            kept_share=running.kept_share,
            truncate=running.truncate,
            checkpoint_every=running.checkpoint_every,
            wants_rates=running.wants_rates,
            wants_states=running.wants_states,
        )
        if self.feedback_weight is None:
            return problem
        return with_feedback(problem, self.feedback_weight, running.teaching)

    # One step and its derivative ------------------------------------------------------------------------

    def rates(self, state: Tensor) -> Tensor:
        """Return what others see of a state, shape (..., unit)."""
        own = state[..., : self.size]
        return self.activation(own) if self.dynamics == "current" else own

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the state one step later, without noise; what is fed back comes after the inputs."""
        f, alpha, own = self.activation, self.alpha, state[..., : self.size]
        driven, after = self._driven(state, input)
        if self.dynamics == "leak_inside":
            new = f((1 - alpha) * own + alpha * driven)
        else:
            new = (1 - alpha) * own + alpha * (f(driven) if self.dynamics == "rate" else driven)
        return torch.cat([new, *after], dim=-1) if after else new

    def inner(self, before: Tensor, after: Tensor, input: Tensor) -> dict[str, Tensor]:
        """Return what f is applied to in a step, without noise."""
        if self.dynamics == "current":
            return {"pre_activation": after[..., : self.size]}
        driven, _ = self._driven(before, input)
        if self.dynamics == "leak_inside":
            driven = (1 - self.alpha) * before[..., : self.size] + self.alpha * driven
        return {"pre_activation": driven}

    def _driven(self, state: Tensor, input: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what comes to the units in a step, and the synaptic variables after it."""
        seen, synapses = self.rates(state), self.synapses()
        if synapses is None:
            return self._drive(seen, input), []
        _, resources, use = state.split(self.size, dim=-1)
        after = [*synapses.step(resources, use, seen)]
        return self._drive(after[0] * after[1] * seen, input), after

    def jacobian(self, state: Tensor, input: Tensor, loop: Tensor | None = None) -> Tensor | None:
        """Return the derivative of `step`, or None where it is not known in closed form.

        ``loop``, of shape (unit, unit), is the way from a rate through the readout and back.
        """
        if self.norm_gain is not None or self.plasticity is not None:
            return None
        slope, alpha, weight = self.activation.derivative, self.alpha, self.recurrent_weight
        weight = weight if loop is None else weight + loop
        driven = self._drive(self.rates(state), input)
        each = torch.ones_like(self.bias) * alpha
        leak = torch.diag(1 - each)
        if self.dynamics == "rate":
            return leak + (each * slope(driven))[..., :, None] * weight
        if self.dynamics == "current":
            return leak + each[:, None] * weight * slope(state)[..., None, :]
        inside = (1 - alpha) * state + alpha * driven
        return slope(inside)[..., :, None] * (leak + each[:, None] * weight)

    def state_bounds(self, input: Tensor, loop: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None."""
        if not self.activation.is_bounded or (self.norm_gain is not None and self.dynamics == "current"):
            return None
        low, high = (self.bias.new_full((self.size,), bound) for bound in self.activation.bounds)
        if self.dynamics == "current":
            weight = self.recurrent_weight if loop is None else self.recurrent_weight + loop
            # Plastic synapses pass on from nothing to all of a rate, which is not negative then.
            least = low if self.plasticity is None else torch.zeros_like(low)
            constant = linear(input, self._all_input_weights(), self.bias)
            reach = torch.stack([weight * least, weight * high])
            low, high = constant + reach.amin(0).sum(1), constant + reach.amax(0).sum(1)
        # A leaky average of r and f stays in f's range only where r began there: rates do.
        if self.plasticity is None:
            return low, high
        none, all_of_it = low.new_zeros(2 * self.size), low.new_ones(2 * self.size)
        return torch.cat([low, none]), torch.cat([high, all_of_it])

    def _all_input_weights(self) -> Tensor:
        """Return the weights of the inputs, and after them of what is fed back."""
        if self.feedback_weight is None:
            return self.input_weight
        return torch.cat([self.input_weight, self.feedback_weight], dim=1)

    def _drive(self, seen: Tensor, input: Tensor) -> Tensor:
        recurrent, selection = self.recurrent.factors
        seen = seen if selection is None else linear(seen, selection)
        summed = linear(seen, recurrent) + linear(input, self._all_input_weights())
        if self.norm_gain is None:
            return summed + self.bias
        return layer_norm(summed, (self.size,), self.norm_gain, self.bias)


def need_step_within(dt: float, tau: float) -> None:
    """Refuse a step that is longer than the time constant.

    Raises
    ------
    InputError
        The sentence names both.
    """
    if dt > tau:
        raise InputError(
            f"`dt` must not be longer than `tau`, got dt = {dt} ms and tau = {tau} ms: "
            "choose a smaller dt or a larger tau"
        )
