"""What every family of networks shares: layers over time, a readout, noise, an initial state, a record.

A family gives the layers; here they are stacked, run and read out. All of a network's state lies in one
vector: layer by layer, and within a layer the forward direction first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from neurornn import engine as engines
from neurornn import seeding
from neurornn.config import NetworkConfig
from neurornn.networks.attention import Attention
from neurornn.networks.connectivity import Connection, WithSettableWeights, as_weights, need_shape, set_values
from neurornn.networks.running import Draws, Running, Teaching
from neurornn.vocabulary import (
    OUTPUT_CHANNEL,
    STATE_VARIABLE,
    UNIT,
    InputError,
    need_at_least_zero,
    need_count,
)


class Layer(Protocol):
    """One layer in one direction: what it must offer to be stacked."""

    size: int
    state_size: int
    states_are_rates: bool
    quantities: np.ndarray
    """What each state variable is, shape (state_variable,)."""
    inner_variables: tuple[str, ...]
    """What `inner` gives, by name."""

    def scan(self, inputs: Tensor, initial_state: Tensor, running: Running) -> engines.ScanResult:
        """Run through all of time; arrays are (time, trial, ·)."""

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the state one step later, without noise."""

    def inner(self, before: Tensor, after: Tensor, input: Tensor) -> dict[str, Tensor]:
        """Return what happens within a step: pre-activations, gates, each (..., unit)."""

    def rates(self, state: Tensor) -> Tensor:
        """Return what the layer above, or the readout, sees of a state."""

    def jacobian(self, state: Tensor, input: Tensor) -> Tensor | None:
        """Return the derivative of `step` by the state, or None where it is not known in closed form."""

    def resting_state(self) -> Tensor:
        """Return the state before the first step, shape (state_variable,), where nothing else is said."""

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None."""

    @property
    def state_leak(self) -> Tensor:
        """Which share of its way each state variable goes in a step, shape (state_variable,)."""

    def weights(self) -> Iterator[tuple[str, tuple[str, ...], Tensor]]:
        """Yield name, dimensions and values of what the layer computes with."""


class Network(WithSettableWeights):
    """A network of layers over time; build one of its families, `RateRNN`, `LSTM` or `GRU`.

    Attributes
    ----------
    layers : torch.nn.ModuleList
        The layers from the lowest up; of a bidirectional network, each layer's forward direction first.
    output_bias : Parameter, shape (output_channel,)
    """

    settable = ("recurrent_weight", "input_weight", "bias", "output_weight")

    layers: Any
    output: Connection
    output_bias: Tensor
    first_state: Tensor | None
    activation_name: str | None = None
    """Registered name of the activation, empty where it has none; None where there is no choice of one."""

    def _assemble(
        self,
        config: NetworkConfig,
        layers: list[nn.Module],
        output: Connection,
        generator: torch.Generator,
        device: torch.device | str | None,
    ) -> None:
        """Put the parts together; the generator draws what weights are still to be drawn."""
        if config.residual and config.n_layers == 1:
            raise InputError(
                "residual connections lead from one layer to the next: give `n_layers` of at least 2"
            )
        self._config = config
        self.engine = engines.need_engine(config.engine)
        self.training_record: dict[str, Any] = {}
        self._noise_generator: torch.Generator | None = None
        self.layers = nn.ModuleList(layers)
        self.output = output
        dtype = output.raw.dtype
        self.output_bias = nn.Parameter(torch.zeros(config.output_size, dtype=dtype))
        self.attention = None
        if config.attention is not None:
            size = self.output.raw.shape[1]
            self.attention = Attention(size, config.attention, generator=generator, dtype=dtype)
        first = self._resting_state()
        if config.initial_state is not None:
            if len(config.initial_state) != len(first):
                raise InputError(
                    f"`initial_state` must have one number for each of {len(first)} state variables, got "
                    f"{len(config.initial_state)}"
                )
            first = torch.tensor(config.initial_state, dtype=torch.float64).to(dtype)
        self.register_parameter("first_state", None)
        if config.trainable_initial_state:
            self.first_state = nn.Parameter(first.clone())
        # An activation's own parameters come in torch's default precision.
        self.to(device, dtype)

    # What the network is ------------------------------------------------------------------------------

    @property
    def input_size(self) -> int:
        """Number of input channels."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Number of units of a layer."""
        return self._config.hidden_size

    @property
    def output_size(self) -> int:
        """Number of output channels."""
        return self._config.output_size

    @property
    def rate_size(self) -> int:
        """Number of rates that the readout sees: those of both directions, where there are two."""
        return self.hidden_size * self._config.n_directions

    @property
    def state_size(self) -> int:
        """Number of state variables."""
        return sum(layer.state_size for layer in self.layers)

    @property
    def dt(self) -> float | None:
        """Time step in ms; None where the network takes the task's."""
        return None

    @property
    def tau(self) -> Any:
        """Time constant in ms; None where there is none."""
        return None

    @property
    def alpha(self) -> Any:
        """The leak dt / tau; 1 where there is none."""
        return 1.0

    @property
    def is_bidirectional(self) -> bool:
        """Whether layers run in both directions of time; such a network has no step."""
        return self._config.bidirectional

    @property
    def is_residual(self) -> bool:
        """Whether what a layer sees is added to its rates, from the second layer on."""
        return self._config.residual

    @property
    def is_recurrent(self) -> bool:
        """Whether there are recurrent weights."""
        return bool(getattr(self._config, "recurrent", True))

    @property
    def has_feedback(self) -> bool:
        """Whether outputs are fed back to the units."""
        return bool(getattr(self._config, "feedback", False))

    @property
    def is_noisy(self) -> bool:
        """Whether there is noise on its inputs, units or outputs, in train mode."""
        names = ("noise_std", "input_noise_std", "output_noise_std")
        return any(getattr(self._config, name, 0) for name in names)

    @property
    def readout_kind(self) -> str:
        """What the outputs are of the weighted rates: ``"linear"`` or ``"softmax"``."""
        return self._config.readout

    @property
    def seed(self) -> int:
        """Seed of the initial weights and of the noise."""
        return self._config.seed

    @property
    def config(self) -> NetworkConfig:
        """Everything that rebuilds the network but its trained weights.

        Raises
        ------
        InputError
            Where the activation is a callable without a registered name.
        """
        if self.activation_name == "":
            raise InputError(
                "this network's activation is a callable without a name, which a file cannot hold: "
                "give it one first with neurornn.register_activation(name, function) and build with the name"
            )
        dtype = str(self.output_bias.dtype).removeprefix("torch.")
        return self._config.model_copy(update={"engine": self.engine, "dtype": dtype})

    @property
    def unit_labels(self) -> dict[str, np.ndarray]:
        """Labels of the units that the readout sees, each of shape (unit,)."""
        if not self._config.bidirectional:
            return {}
        return {"direction": np.repeat(["forward", "backward"], self.hidden_size)}

    @property
    def state_labels(self) -> dict[str, np.ndarray]:
        """Labels of the state variables, each of shape (state_variable,): what each is, of which layer."""
        found = {"quantity": np.concatenate([layer.quantities for layer in self.layers])}
        if len(self.layers) > self._config.n_directions:
            sizes = [layer.state_size for layer in self.layers]
            found["layer"] = np.repeat(np.arange(len(sizes)) // self._config.n_directions, sizes)
        return found

    def weights(self) -> dict[str, tuple[tuple[str, ...], Tensor]]:
        """Return what the network computes with, by name: dimensions and effective values.

        Of a network of several layers, a layer's names begin with ``layer_0_``, and those of its second
        direction with ``layer_0_backward_``.
        """
        found: dict[str, tuple[tuple[str, ...], Tensor]] = {}
        for k, layer in enumerate(self.layers):
            for name, dims, values in layer.weights():
                found[self._prefix(k) + name] = dims, values
        found["output_weight"] = (OUTPUT_CHANNEL, UNIT), self.output_weight
        found["output_bias"] = (OUTPUT_CHANNEL,), self.output_bias
        if self.first_state is not None:
            found["first_state"] = (STATE_VARIABLE,), self.first_state
        if self.attention is not None:
            for name, values in self.attention.named_parameters():
                dims = tuple(f"attention_{name}_{k}" for k in range(values.ndim))
                found[f"attention_{name}"] = dims, values
        return found

    def _prefix(self, k: int) -> str:
        """Return what the names of a layer's own variables begin with: nothing where there is one layer."""
        if len(self.layers) == 1:
            return ""
        number, backward = divmod(k, self._config.n_directions)
        return f"layer_{number}_{'backward_' if backward else ''}"

    def violations(self) -> int:
        """Return how many effective weights break a sign, a mask or a held value: always 0."""
        return sum(part.violations() for part in self.modules() if isinstance(part, Connection))

    def dead_share(self) -> float | None:
        """Return the largest share of rectified weights that are 0 in any connection; None without such."""
        shares = [part.dead_share() for part in self.modules() if isinstance(part, Connection)]
        return max((share for share in shares if share is not None), default=None)

    # Its weights --------------------------------------------------------------------------------------

    @property
    def _only_layer(self) -> Any:
        if len(self.layers) > 1:
            raise InputError(
                f"this network has {len(self.layers)} layers and directions with weights of their own: take "
                "network.layers[k].recurrent_weight"
            )
        return self.layers[0]

    @property
    def recurrent_weight(self) -> Tensor:
        """Effective recurrent weights, entry [i, j] from unit j to unit i; settable."""
        return self._only_layer.recurrent_weight

    @recurrent_weight.setter
    def recurrent_weight(self, value: Any) -> None:
        self._only_layer.recurrent_weight = self._like(value, "recurrent_weight")

    @property
    def input_weight(self) -> Tensor:
        """Effective input weights, shape (unit, input_channel); settable."""
        return self._only_layer.input_weight

    @input_weight.setter
    def input_weight(self, value: Any) -> None:
        self._only_layer.input_weight = self._like(value, "input_weight")

    @property
    def bias(self) -> Tensor:
        """Bias of the units; settable."""
        return self._only_layer.bias

    @bias.setter
    def bias(self, value: Any) -> None:
        set_values(self._only_layer.bias, self._like(value, "bias"), "bias")

    @property
    def output_weight(self) -> Tensor:
        """Effective output weights, shape (output_channel, unit); settable."""
        return self.output.weight

    @output_weight.setter
    def output_weight(self, value: Any) -> None:
        weight = self._like(value, "output_weight")
        need_shape(weight, self.output.raw, "output_weight")
        self.output.set(weight)

    def _like(self, value: Any, name: str) -> Tensor:
        return as_weights(value, name).to(self.output_bias)

    # Its state ----------------------------------------------------------------------------------------

    def _resting_state(self) -> Tensor:
        return torch.cat([layer.resting_state() for layer in self.layers])

    def initial_state(self, n_trials: int) -> Tensor:
        """Return the state before the first step, shape (trial, state_variable)."""
        if self.first_state is not None:
            first = self.first_state
        elif self._config.initial_state is not None:
            first = self.output_bias.new_tensor(self._config.initial_state)
        else:
            first = self._resting_state()
        return first.expand(n_trials, -1)

    def _states(self, state: Tensor) -> tuple[Tensor, ...]:
        """Return the state of each layer."""
        return state.split([layer.state_size for layer in self.layers], dim=-1)

    @property
    def states_are_rates(self) -> bool:
        """Whether the state is nothing but the rates that the readout sees."""
        return len(self.layers) == 1 and self.layers[0].states_are_rates

    @property
    def state_leak(self) -> Tensor:
        """Which share of its way each state variable goes in a step, shape (state_variable,)."""
        return torch.cat([layer.state_leak for layer in self.layers])

    def rates(self, state: Tensor) -> Tensor:
        """Return what the readout sees of a state, shape (..., unit)."""
        rates = [layer.rates(own) for layer, own in zip(self.layers, self._states(state), strict=True)]
        two = self._config.n_directions
        levels = [torch.cat(rates[k : k + two], dim=-1) for k in range(0, len(rates), two)]
        return torch.stack(levels).sum(0) if self._config.residual else levels[-1]

    def readout(self, rates: Tensor) -> Tensor:
        """Return the outputs of rates, shape (..., output_channel).

        With attention the rates must be those of a whole trial, shape (..., time, unit).
        """
        seen = rates if self.attention is None else self.attention(rates)
        return self._finished(linear(seen, self.output_weight, self.output_bias))

    def _finished(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1) if self._config.readout == "softmax" else outputs

    # Running it ---------------------------------------------------------------------------------------

    @property
    def noise_generator(self) -> torch.Generator:
        """The network's own noise stream, made from its seed: it gives each run of the network a key."""
        if self._noise_generator is None:
            self._noise_generator = seeding.torch_stream(self.seed, seeding.NOISE)
        return self._noise_generator

    def forward(
        self,
        inputs: Tensor,
        initial_state: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        teacher: Tensor | None = None,
        teacher_probability: float = 1.0,
        return_rates: bool = True,
        return_states: bool = False,
        truncate: int | None = None,
        checkpoint_every: int | None = None,
    ) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]:
        """Run the network over time.

        Parameters
        ----------
        inputs : Tensor, shape (trial, time, input_channel)
        initial_state : Tensor, shape (trial, state_variable), optional
            State before the first step; the network's own by default.
        generator : torch.Generator, optional
            Draws the noise, in eval mode too. By default train mode draws from the network's own stream and
            eval mode has no noise.
        teacher : Tensor, shape (trial, time, output_channel), optional
            Teacher forcing of a network with output feedback: the outputs that are wanted, fed back one step
            later in place of the network's own.
        teacher_probability : float
            Share of steps at which the teacher is fed back, drawn for each trial and step (scheduled
            sampling); 1: always, 0: never.
        return_rates : bool
            Whether the rates are wanted; without them, and without a gradient, nothing of (trial, time, unit)
            is held in memory.
        return_states : bool
            Whether the states come third.
        truncate : int, optional
            Truncated backpropagation: time is cut into windows of so many steps, and no gradient goes back
            from one into the one before.
        checkpoint_every : int, optional
            Hold the activity of so many steps only, and compute it again for the gradient: for sequences that
            memory would not hold, at the price of one more forward pass. The gradient is the same. Leave the
            rates out too, or they are held whole.

        Returns
        -------
        outputs : Tensor, shape (trial, time, output_channel)
        rates : Tensor, shape (trial, time, unit)
            None where they are not wanted.
        states : Tensor, shape (trial, time, state_variable)
            Only where asked for.

        Raises
        ------
        InputError
            Where a shape, the dtype or the device does not fit, an input is not a finite number, or the
            engine that was asked for cannot serve.

        References
        ----------
        Bengio, S., Vinyals, O., Jaitly, N. & Shazeer, N. (2015). Scheduled sampling for sequence prediction
        with recurrent neural networks. arXiv:1506.03099
        """
        for name, count in (("truncate", truncate), ("checkpoint_every", checkpoint_every)):
            if count is not None:
                need_count(count, name)
        starts = self._starts(inputs, initial_state)
        draws = self._draws(generator)
        teaching = self._teaching(teacher, teacher_probability, inputs, generator)
        signal = self._with_input_noise(inputs.transpose(0, 1), draws)
        running = Running(
            self.engine,
            draws,
            teaching,
            truncate=truncate,
            checkpoint_every=checkpoint_every,
            wants_states=return_states,
        )
        outputs, rates, states = self._run(signal, starts, running, return_rates)
        outputs = self._with_output_noise(outputs, draws)
        found = outputs.transpose(0, 1), rates.transpose(0, 1) if rates is not None else None
        return (*found, states.transpose(0, 1)) if states is not None else found

    def _run(
        self, signal: Tensor, starts: tuple[Tensor, ...], running: Running, return_rates: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Run layer after layer; the readout is taken along in the scan of the last one where it can be."""
        two, residual = self._config.n_directions, self._config.residual
        alone = two == 1 and self.attention is None and not residual
        states: list[Tensor | None] = []
        # What is heard of the layers so far, and what it would be if none of it were dropped.
        whole = signal
        for first in range(0, len(self.layers), two):
            fused = alone and first + two == len(self.layers)
            own = dataclasses.replace(
                running,
                readout=(self.output_weight, self.output_bias) if fused else None,
                wants_rates=return_rates or not fused,
            )
            found, heard = [], []
            for direction in range(two):
                kept = self._kept_share(running.draws, signal.shape[1])
                seen = signal.flip(0) if direction else signal
                layer = self.layers[first + direction]
                result = layer.scan(
                    seen, starts[first + direction], dataclasses.replace(own, kept_share=kept)
                )
                result = result.map(lambda array: array.flip(0)) if direction else result
                found.append(result)
                heard.append(result.rates if kept is None or fused else result.rates * kept)
            states += [result.states for result in found]
            if fused:
                outputs, rates = self._finished(found[0].outputs), found[0].rates
                break
            below, whole_below = signal, whole
            signal, whole = torch.cat(heard, dim=-1), torch.cat([own.rates for own in found], dim=-1)
            if residual and first:
                signal, whole = signal + below, whole + whole_below
            rates = whole
        else:
            outputs = self.readout(signal.transpose(0, 1)).transpose(0, 1)
        every = torch.cat([own for own in states if own is not None], -1) if running.wants_states else None
        return outputs, rates if return_rates else None, every

    def _kept_share(self, draws: Draws, n_trials: int) -> Tensor | None:
        """Draw the dropout of a layer's rates, in train mode."""
        if not (self._config.dropout and self.training and draws):
            return None
        return draws.kept_share((n_trials, self.hidden_size), self._config.dropout, self.output_bias)

    def _starts(self, inputs: Tensor, initial_state: Tensor | None) -> tuple[Tensor, ...]:
        """Check what the network is to run on and return the state of each layer before the first step."""
        self._need_tensor(inputs, "inputs", ("trial", "time", self.input_size))
        if initial_state is None:
            initial_state = self.initial_state(len(inputs))
        else:
            self._need_tensor(initial_state, "initial_state", (len(inputs), self.state_size))
        return self._states(initial_state)

    def _draws(self, generator: torch.Generator | None) -> Draws:
        """Return where the noise of a run comes from: nowhere in eval mode, unless a generator is passed."""
        if generator is None and self.training:
            return Draws(lambda: self.noise_generator)
        return Draws(None if generator is None else lambda: generator)

    def _teaching(
        self,
        teacher: Tensor | None,
        probability: float,
        inputs: Tensor,
        generator: torch.Generator | None,
    ) -> Teaching | None:
        """Return what is fed back in place of the outputs, one step later, and where."""
        number = probability if isinstance(probability, int | float) else math.nan
        if not 0 <= number <= 1:
            raise InputError(f"`teacher_probability` must be from 0 to 1, got {probability!r}")
        if teacher is None:
            return None
        if not self.has_feedback:
            raise InputError(
                "`teacher` needs a network with output feedback, which this one does not have: build it with "
                "feedback=True"
            )
        self._need_tensor(teacher, "teacher", (*inputs.shape[:2], self.output_size))
        if probability == 0:
            return None
        forced = None
        if probability < 1:
            coins = generator or self.noise_generator
            drawn = torch.rand(inputs.shape[1], len(inputs), generator=coins, device=coins.device)
            forced = (drawn < probability).to(inputs.device)
        return Teaching(teacher.transpose(0, 1), forced)

    def _with_input_noise(self, signal: Tensor, draws: Draws) -> Tensor:
        if self._config.input_noise_std and draws:
            scale = self._config.input_noise_std * self._input_noise_factor()
            return signal + engines.Noise(draws.key(), scale).materialise(signal.shape, 0, signal)
        return signal

    def _input_noise_factor(self) -> float | Tensor:
        """Return what sigma is multiplied with to be the standard deviation of a step's input noise."""
        return 1.0

    def _with_output_noise(self, outputs: Tensor, draws: Draws) -> Tensor:
        if self._config.output_noise_std and draws:
            noise = engines.Noise(draws.key(), self._config.output_noise_std)
            return outputs + noise.materialise(outputs.shape, 0, outputs)
        return outputs

    def example_inputs(self) -> Tensor:
        """Return inputs of one trial and one step, shape (1, 1, input_channel)."""
        return self.output_bias.new_zeros((1, 1, self.input_size))

    # One step and its derivative ----------------------------------------------------------------------

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the state one step later, without noise.

        Parameters
        ----------
        state : Tensor, shape (..., state_variable)
        input : Tensor, shape (..., input_channel)

        Returns
        -------
        Tensor, shape (..., state_variable)

        Raises
        ------
        InputError
            Where a size does not fit, or the network is bidirectional and has no step.
        """
        self._need_step(state, input)
        after: list[Tensor] = []
        seen = self._lowest_input(state, input)
        for k, (layer, own) in enumerate(zip(self.layers, self._states(state), strict=True)):
            after.append(layer.step(own, seen))
            above = layer.rates(after[-1])
            seen = above + seen if self._config.residual and k else above
        return torch.cat(after, dim=-1)

    @property
    def inner_variables(self) -> tuple[str, ...]:
        """Names of what happens within a step beside the states: pre-activations, gates.

        Of a network of several layers, a layer's names begin as those of its `weights` do.
        """
        return tuple(
            self._prefix(k) + name for k, layer in enumerate(self.layers) for name in layer.inner_variables
        )

    def inner(self, before: Tensor, after: Tensor, input: Tensor) -> dict[str, Tensor]:
        """Return what happens within a step, without noise, by the names in `inner_variables`.

        Parameters
        ----------
        before, after : Tensor, shape (..., state_variable)
            The state before the step and after it.
        input : Tensor, shape (..., input_channel)

        Returns
        -------
        dict of str to Tensor, shape (..., unit)
        """
        self._need_step(before, input)
        found: dict[str, Tensor] = {}
        seen = self._lowest_input(before, input)
        both = zip(self._states(before), self._states(after), strict=True)
        for k, (layer, (own_before, own_after)) in enumerate(zip(self.layers, both, strict=True)):
            inner = layer.inner(own_before, own_after, seen)
            found |= {self._prefix(k) + name: values for name, values in inner.items()}
            above = layer.rates(own_after)
            seen = above + seen if self._config.residual and k else above
        return found

    def jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the derivative of `step` with respect to the state.

        In closed form for one layer, unless it normalises or has plastic synapses; by automatic
        differentiation otherwise.

        Parameters
        ----------
        state : Tensor, shape (..., state_variable)
        input : Tensor, shape (..., input_channel)

        Returns
        -------
        Tensor, shape (..., state_variable, state_variable)
            Entry [..., i, j] is the derivative of new variable i with respect to old variable j.
        """
        self._need_step(state, input)
        known = self._closed_jacobian(state, input) if len(self.layers) == 1 else None
        if known is not None:
            return known
        n = state.shape[-1]
        leading = torch.broadcast_shapes(state.shape[:-1], input.shape[:-1])
        with torch.enable_grad():
            point = state.detach().expand(*leading, n).clone().requires_grad_()
            after = self.step(point, input.detach())
        pulls = torch.eye(n, dtype=state.dtype, device=state.device).view(n, *[1] * len(leading), n)
        (rows,) = torch.autograd.grad(after, point, pulls.expand(n, *leading, n), is_grads_batched=True)
        return rows.movedim(0, -2)

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None where none is known.

        Parameters
        ----------
        input : Tensor, shape (input_channel,)

        Returns
        -------
        low, high : Tensor, shape (state_variable,)
            Every fixed point lies inside, and the index sum over all of them is +1.
        """
        return self.layers[0].state_bounds(input) if len(self.layers) == 1 else None

    def _lowest_input(self, state: Tensor, input: Tensor) -> Tensor:
        """Return all that the lowest layer sees in a step from a state."""
        return input

    def _closed_jacobian(self, state: Tensor, input: Tensor) -> Tensor | None:
        """Return the Jacobian of a network of one layer, or None where it is not known in closed form."""
        return self.layers[0].jacobian(state, input)

    def _need_step(self, state: Tensor, input: Tensor) -> None:
        if self._config.bidirectional:
            raise InputError(
                "a bidirectional network has no step: its rates depend on what is still to come; run it over "
                "a whole trial"
            )
        for name, tensor, size in (("state", state, self.state_size), ("input", input, self.input_size)):
            if tensor.shape[-1:] != (size,):
                raise InputError(f"`{name}` must have shape (..., {size}), got {tuple(tensor.shape)}")

    def _need_tensor(self, tensor: Tensor, name: str, shape: tuple[str | int, ...]) -> None:
        like = self.output_bias
        if not isinstance(tensor, Tensor):
            raise InputError(
                f"`{name}` must be a torch tensor, got {type(tensor).__name__}: use torch.as_tensor"
            )
        fits = tensor.ndim == len(shape) and all(
            isinstance(size, str) or size == own for size, own in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, shape))
            raise InputError(f"`{name}` must have shape ({wanted}), got {tuple(tensor.shape)}")
        if tensor.dtype != like.dtype or tensor.device != like.device:
            raise InputError(
                f"`{name}` must be {like.dtype} on {like.device} like the network, got {tensor.dtype} on "
                f"{tensor.device}: move one of them with .to(...)"
            )
        engines.need_finite(tensor, name)

    def __repr__(self) -> str:
        """Return the call that makes such a network: sizes, and the options that are no defaults."""
        sizes = ("input_size", "hidden_size", "output_size")
        shown = [str(getattr(self, name)) for name in sizes]
        for name, field in type(self._config).model_fields.items():
            value = getattr(self._config, name)
            if name in (*sizes, "family", "dtype", "engine") or value == field.default:
                continue
            text = "callable" if name == "activation" and not value else value
            shown.append(f"{name}={text!r}" if len(repr(text)) < 60 else f"{name}=...")
        return f"{type(self).__name__}({', '.join(shown)})"


def checked_arguments(kind: type[NetworkConfig], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a constructor's arguments its configuration holds, after what every family needs.

    Raises
    ------
    InputError
        For sizes, standard deviations, gains, an engine or a seed out of range.
    """
    given = {name: value for name, value in arguments.items() if name in kind.model_fields}
    for name, least in (("input_size", 0), ("hidden_size", 1), ("output_size", 0)):
        need_count(given[name], name, least=least)
    for name in ("noise_std", "input_noise_std", "output_noise_std", "gain", "input_gain", "output_gain"):
        if name in given:
            need_at_least_zero(given[name], name)
    engines.need_engine(given["engine"])
    seeding.stream_sequence(given["seed"], seeding.INITIAL_WEIGHTS)
    given["dtype"] = str(given["dtype"] or torch.get_default_dtype()).removeprefix("torch.")
    return given
