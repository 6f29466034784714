"""Gated networks: LSTM and GRU, weight for weight those of torch, on torch's own kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from neurornn import engine as engines
from neurornn import seeding
from neurornn.config import GRUConfig, LSTMConfig, NetworkConfig
from neurornn.networks.connectivity import Connection, WithSettableWeights, set_values
from neurornn.networks.initialisation import gaussian
from neurornn.networks.network import Network, checked_arguments
from neurornn.networks.running import Running
from neurornn.vocabulary import GATED_UNIT, INPUT_CHANNEL, UNIT, InputError, need_count


class GatedLayer(WithSettableWeights):
    """One layer and direction of gated units, around torch's own ``torch.nn.LSTM`` or ``torch.nn.GRU``.

    Parameters
    ----------
    input_size, size : int
    config : LSTMConfig or GRUConfig
    generator : torch.Generator
        Draws the initial weights, uniform within 1 / sqrt(size) as torch's are.

    Attributes
    ----------
    cell : torch.nn.LSTM or torch.nn.GRU
        Holds the weights, under torch's names.
    """

    kind: type[nn.LSTM] | type[nn.GRU]

    def __init__(self, input_size: int, config: NetworkConfig, generator: torch.Generator) -> None:
        super().__init__()
        n = self.size = config.hidden_size
        # Made without memory first: torch would draw the weights from its global generator.
        self.cell: Any = self.kind(input_size, n, device="meta").to_empty(device="cpu")
        self.cell.to(getattr(torch, config.dtype))
        for parameter in self.cell.parameters():
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                parameter.copy_((2 * drawn - 1) / n**0.5)

    @property
    def recurrent_weight(self) -> Tensor:
        """Recurrent weights of all gates, shape (gated_unit, unit), in torch's order of gates."""
        return self.cell.weight_hh_l0

    @recurrent_weight.setter
    def recurrent_weight(self, value: Tensor) -> None:
        set_values(self.cell.weight_hh_l0, value, "recurrent_weight")

    @property
    def input_weight(self) -> Tensor:
        """Input weights of all gates, shape (gated_unit, input_channel)."""
        return self.cell.weight_ih_l0

    @input_weight.setter
    def input_weight(self, value: Tensor) -> None:
        set_values(self.cell.weight_ih_l0, value, "input_weight")

    @property
    def bias(self) -> Tensor:
        """Bias that comes with the inputs, shape (gated_unit,)."""
        return self.cell.bias_ih_l0

    @property
    def recurrent_bias(self) -> Tensor:
        """Bias that comes with the recurrent weights, shape (gated_unit,)."""
        return self.cell.bias_hh_l0

    def weights(self) -> Iterator[tuple[str, tuple[str, ...], Tensor]]:
        """Yield name, dimensions and values of what the layer computes with."""
        yield "recurrent_weight", (GATED_UNIT, UNIT), self.recurrent_weight
        yield "input_weight", (GATED_UNIT, INPUT_CHANNEL), self.input_weight
        yield "bias", (GATED_UNIT,), self.bias
        yield "recurrent_bias", (GATED_UNIT,), self.recurrent_bias

    def resting_state(self) -> Tensor:
        """Return the state before the first step: zero."""
        return self.bias.new_zeros(self.state_size)

    @property
    def state_leak(self) -> Tensor:
        """Return 1 for each state variable: gates, not a leak, hold a state."""
        return self.bias.new_ones(self.state_size)

    @property
    def state_size(self) -> int:
        """Number of state variables."""
        raise NotImplementedError

    @property
    def quantities(self) -> np.ndarray:
        """What each state variable is: hidden activity, or the cell of a unit."""
        return np.repeat(["hidden", "cell"], self.size)[: self.state_size]

    @property
    def states_are_rates(self) -> bool:
        """Whether the state is nothing but the rates."""
        return self.state_size == self.size

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the state one step later."""
        raise NotImplementedError

    def rates(self, state: Tensor) -> Tensor:
        """Return what others see of a state: the hidden activity h."""
        return state[..., : self.size]

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None."""
        return None

    def scan(self, inputs: Tensor, initial_state: Tensor, running: Running) -> engines.ScanResult:
        """Run through all of time; arrays are (time, trial, ·)."""
        # torch's kernels give no memory cells but the last: whoever wants all steps' states gets a loop.
        alone = running.wants_states and self.state_size > self.size
        if alone or running.engine == "reference" or not inputs.numel() or not len(inputs):
            states = self._loop(inputs, initial_state)
            rates = self.rates(states)
        else:
            rates = self._fused(inputs, initial_state)
            states = rates
        seen = rates if running.kept_share is None else rates * running.kept_share
        weight, bias = (
            running.readout if running.readout is not None else (rates.new_zeros(0, self.size), None)
        )
        return engines.ScanResult(linear(seen, weight, bias), rates, states if running.wants_states else None)

    def _loop(self, inputs: Tensor, state: Tensor) -> Tensor:
        states = []
        for input in inputs.unbind(0):
            state = self.step(state, input)
            states.append(state)
        return torch.stack(states) if states else state.new_empty((0, *state.shape))

    def _fused(self, inputs: Tensor, initial_state: Tensor) -> Tensor:
        return self.cell(inputs, initial_state[None].contiguous())[0]

    def _gates(self, seen: Tensor, input: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return what comes to each gate from the inputs, and from the units."""
        n_gates = len(self.bias) // self.size
        outside = linear(input, self.input_weight, self.bias).chunk(n_gates, dim=-1)
        inside = linear(seen, self.recurrent_weight, self.recurrent_bias).chunk(n_gates, dim=-1)
        return outside, inside


class LSTMLayer(GatedLayer):
    """Long short-term memory: hidden activity h and memory cells c."""

    kind = nn.LSTM
    inner_variables = ("input_gate", "forget_gate", "output_gate", "candidate")

    def __init__(self, input_size: int, config: LSTMConfig, generator: torch.Generator) -> None:
        super().__init__(input_size, config, generator)
        if config.forget_bias is not None:
            with torch.no_grad():
                self.cell.bias_ih_l0[self.size : 2 * self.size] = config.forget_bias
                self.cell.bias_hh_l0[self.size : 2 * self.size] = 0

    @property
    def state_size(self) -> int:
        """Number of state variables: h and c of each unit."""
        return 2 * self.size

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return h and c one step later."""
        hidden, cell = state.split(self.size, dim=-1)
        come_in, forget, new, out = (a + b for a, b in zip(*self._gates(hidden, input), strict=True))
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(come_in) * torch.tanh(new)
        return torch.cat([torch.sigmoid(out) * torch.tanh(cell), cell], dim=-1)

    def inner(self, before: Tensor, after: Tensor, input: Tensor) -> dict[str, Tensor]:
        """Return the gates of a step, and the candidate that the input gate lets in."""
        hidden = before[..., : self.size]
        come_in, forget, new, out = (a + b for a, b in zip(*self._gates(hidden, input), strict=True))
        gates = torch.sigmoid(come_in), torch.sigmoid(forget), torch.sigmoid(out), torch.tanh(new)
        return dict(zip(self.inner_variables, gates, strict=True))

    def jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the derivative of `step` with respect to h and c."""
        n = self.size
        hidden, cell = state.split(n, dim=-1)
        come_in, forget, new, out = (a + b for a, b in zip(*self._gates(hidden, input), strict=True))
        i, f, g, o = torch.sigmoid(come_in), torch.sigmoid(forget), torch.tanh(new), torch.sigmoid(out)
        w_i, w_f, w_g, w_o = self.recurrent_weight.split(n)
        squashed = torch.tanh(f * cell + i * g)

        def rows(slope: Tensor, weight: Tensor) -> Tensor:
            return slope[..., :, None] * weight

        cell_by_hidden = (
            rows(f * (1 - f) * cell, w_f) + rows(i * (1 - i) * g, w_i) + rows(i * (1 - g**2), w_g)
        )
        through = o * (1 - squashed**2)
        hidden_by_hidden = rows(o * (1 - o) * squashed, w_o) + through[..., :, None] * cell_by_hidden
        cell_by_cell, hidden_by_cell = (
            torch.diag_embed(own.expand(cell_by_hidden.shape[:-1])) for own in (f, through * f)
        )
        above = torch.cat([hidden_by_hidden, hidden_by_cell], dim=-1)
        return torch.cat([above, torch.cat([cell_by_hidden, cell_by_cell], dim=-1)], dim=-2)

    def _fused(self, inputs: Tensor, initial_state: Tensor) -> Tensor:
        hidden, cell = (own[None].contiguous() for own in initial_state.split(self.size, dim=-1))
        return self.cell(inputs, (hidden, cell))[0]


class GRULayer(GatedLayer):
    """Gated recurrent units; the reset gate acts after the recurrent weights, as in torch."""

    kind = nn.GRU
    inner_variables = ("reset_gate", "update_gate", "candidate")

    @property
    def state_size(self) -> int:
        """Number of state variables: h of each unit."""
        return self.size

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return h one step later."""
        _, keep, new = self.inner(state, state, input).values()
        return (1 - keep) * new + keep * state

    def inner(self, before: Tensor, after: Tensor, input: Tensor) -> dict[str, Tensor]:
        """Return the gates of a step, and the candidate of which the update gate keeps out a share."""
        outside, inside = self._gates(before, input)
        reset = torch.sigmoid(outside[0] + inside[0])
        keep = torch.sigmoid(outside[1] + inside[1])
        new = torch.tanh(outside[2] + reset * inside[2])
        return dict(zip(self.inner_variables, (reset, keep, new), strict=True))

    def jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the derivative of `step` with respect to h."""
        outside, inside = self._gates(state, input)
        reset = torch.sigmoid(outside[0] + inside[0])
        keep = torch.sigmoid(outside[1] + inside[1])
        new = torch.tanh(outside[2] + reset * inside[2])
        w_reset, w_keep, w_new = self.recurrent_weight.split(self.size)

        def rows(slope: Tensor, weight: Tensor) -> Tensor:
            return slope[..., :, None] * weight

        inner = rows(reset * (1 - reset) * inside[2], w_reset) + rows(reset, w_new)
        gated = ((1 - keep) * (1 - new**2))[..., :, None] * inner
        moved = rows((state - new) * keep * (1 - keep), w_keep) + gated
        return moved + torch.diag_embed(keep.expand(moved.shape[:-1]))

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return the box from -1 to 1: a mean of the state and a tanh."""
        one = self.bias.new_ones(self.size)
        return -one, one


class _Gated(Network):
    """What both gated families share: how they are put together, and what torch's kernels do not do."""

    layer_kind: type[GatedLayer]

    def _run(
        self, signal: Tensor, starts: tuple[Tensor, ...], running: Running, return_rates: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if running.engine == "numba":
            raise InputError(
                "engine 'numba' cannot serve this network: it runs rate networks only; use engine='auto'"
            )
        if running.truncate or running.checkpoint_every:
            raise InputError(
                "`truncate` and `checkpoint_every` are there for rate networks only: leave them out"
            )
        return super()._run(signal, starts, running, return_rates)

    def _build(self, config: NetworkConfig, device: torch.device | str | None) -> None:
        stream = seeding.torch_stream(config.seed, seeding.INITIAL_WEIGHTS)
        size = config.input_size
        layers: list[nn.Module] = []
        for _ in range(config.n_layers):
            layers += [self.layer_kind(size, config, stream) for _ in range(config.n_directions)]
            size = config.hidden_size * config.n_directions
        weight = gaussian(
            config.output_size, size, gain=1.0, generator=stream, dtype=getattr(torch, config.dtype)
        )
        self._assemble(config, layers, Connection(weight, name="output_weight"), stream, device)


class LSTM(_Gated):
    """A network of long short-term memory cells, weight for weight ``torch.nn.LSTM``.

    With i, f, g, o, in torch's order, each of ``W x_t + b + W_r h_{t-1} + b_r``::

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)
        h_t = sigmoid(o) tanh(c_t),   y_t = W_y h_t + b_y

    Rates are h; the state is h and c.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of input channels, of units of a layer, and of output channels.
    forget_bias : float, optional
        Initial bias of the forget gate; drawn like the rest, as torch does, where it is left out. 1 keeps
        memories from the start, which long delays need (Jozefowicz et al. 2015).
    n_layers : int
        Layers, each of ``hidden_size`` units that see the activity of the layer below.
    bidirectional : bool
        Whether each layer has a second set of units that runs from the last step to the first. Where trials
        are padded, it begins in the padding.
    residual : bool
        Whether what a layer sees is added to its activity, from the second layer on.
    readout : {"linear", "softmax"}
        What the outputs are of the weighted activity. Cross-entropy takes ``"linear"`` ones.
    attention : {"additive", "dot", "scaled", "bilinear"}, optional
        The readout sees a mean of the activity of all steps so far, weighed by this score.
    dropout : float
        Probability that a unit is silent for the readout and the layer above, drawn for each trial, in train
        mode; the rest is scaled up.
    input_noise_std, output_noise_std : float
        Sigma of noise on the inputs and the outputs, in train mode.
    initial_state : sequence of float, optional
        State before the first step, one number per state variable; zero by default.
    trainable_initial_state : bool
        Whether it is learned.
    engine : {"auto", "torch", "reference"}
        Torch's own fused kernels, or a plain loop of `step`.
    seed : int
        Seed of the initial weights and of the network's own noise stream.
    device, dtype : optional
        As everywhere in torch; the dtype is torch's default where none is given.

    Raises
    ------
    InputError
        For a value out of its range.

    References
    ----------
    Hochreiter, S. & Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9, 1735-1780.
    doi:10.1162/neco.1997.9.8.1735

    Jozefowicz, R., Zaremba, W. & Sutskever, I. (2015). An empirical exploration of recurrent network
    architectures. ICML 37, 2342-2350.

    Examples
    --------
    >>> net = LSTM(3, 16, 2, seed=0)
    >>> outputs, rates = net(torch.zeros(5, 50, 3))
    >>> outputs.shape, rates.shape, net.state_size
    (torch.Size([5, 50, 2]), torch.Size([5, 50, 16]), 32)
    """

    layer_kind = LSTMLayer

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        forget_bias: float | None = None,
        n_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        readout: str = "linear",
        attention: str | None = None,
        dropout: float = 0.0,
        input_noise_std: float = 0.0,
        output_noise_std: float = 0.0,
        initial_state: Sequence[float] | None = None,
        trainable_initial_state: bool = False,
        engine: str = "auto",
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._build(_config_of(LSTMConfig, locals()), device)


class GRU(_Gated):
    """A network of gated recurrent units, weight for weight ``torch.nn.GRU``.

    With the reset gate r acting after the recurrent weights, in torch's order r, z, n::

        n_t = tanh(W_n x_t + b_n + sigmoid(r) (W_rn h_{t-1} + b_rn))
        h_t = (1 - sigmoid(z)) n_t + sigmoid(z) h_{t-1},   y_t = W_y h_t + b_y

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of input channels, of units of a layer, and of output channels.
    n_layers : int
        Layers, each of ``hidden_size`` units that see the activity of the layer below.
    bidirectional : bool
        Whether each layer has a second set of units that runs from the last step to the first. Where trials
        are padded, it begins in the padding.
    residual : bool
        Whether what a layer sees is added to its activity, from the second layer on.
    readout : {"linear", "softmax"}
        What the outputs are of the weighted activity. Cross-entropy takes ``"linear"`` ones.
    attention : {"additive", "dot", "scaled", "bilinear"}, optional
        The readout sees a mean of the activity of all steps so far, weighed by this score.
    dropout : float
        Probability that a unit is silent for the readout and the layer above, drawn for each trial, in train
        mode; the rest is scaled up.
    input_noise_std, output_noise_std : float
        Sigma of noise on the inputs and the outputs, in train mode.
    initial_state : sequence of float, optional
        State before the first step, one number per state variable; zero by default.
    trainable_initial_state : bool
        Whether it is learned.
    engine : {"auto", "torch", "reference"}
        Torch's own fused kernels, or a plain loop of `step`.
    seed : int
        Seed of the initial weights and of the network's own noise stream.
    device, dtype : optional
        As everywhere in torch; the dtype is torch's default where none is given.

    Raises
    ------
    InputError
        For a value out of its range.

    References
    ----------
    Cho, K. et al. (2014). Learning phrase representations using RNN encoder-decoder for statistical machine
    translation. EMNLP, 1724-1734. doi:10.3115/v1/D14-1179

    Examples
    --------
    >>> net = GRU(3, 16, 2, seed=0)
    >>> outputs, rates = net(torch.zeros(5, 50, 3))
    >>> outputs.shape, rates.shape, net.state_size
    (torch.Size([5, 50, 2]), torch.Size([5, 50, 16]), 16)
    """

    layer_kind = GRULayer

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        n_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        readout: str = "linear",
        attention: str | None = None,
        dropout: float = 0.0,
        input_noise_std: float = 0.0,
        output_noise_std: float = 0.0,
        initial_state: Sequence[float] | None = None,
        trainable_initial_state: bool = False,
        engine: str = "auto",
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._build(_config_of(GRUConfig, locals()), device)


def _config_of(kind: type[NetworkConfig], arguments: dict[str, Any]) -> NetworkConfig:
    """Check a constructor's arguments and return the configuration that they make."""
    # Torch's cells do not run on nothing.
    need_count(arguments["input_size"], "input_size")
    return kind.from_dict(checked_arguments(kind, arguments), source=kind.__name__.removesuffix("Config"))
