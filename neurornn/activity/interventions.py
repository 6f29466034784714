"""What is done to a network while it is recorded: lesions, clamps, pulses, stimulation, changed weights.

An intervention acts on the weights, on the inputs, or on the state between two steps. The network that is
recorded is a copy: the caller's is never touched.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurornn import seeding
from neurornn.networks import Network
from neurornn.networks.connectivity import Connection
from neurornn.networks.rate_layer import RateLayer
from neurornn.vocabulary import InputError, need_at_least_zero, need_count, unknown_name

Units = str | int | Sequence[int]
"""Positions of units, or the label that they have in common: ``"excitatory"``, an area."""

WEIGHTS = ("recurrent_weight", "input_weight", "output_weight")
"""What `WeightPerturbation` and `Disconnection` can change."""


@dataclass(frozen=True)
class Intervention:
    """Base of all interventions; one of your own overrides what it needs.

    A subclass is a frozen dataclass of plain values, which is how it is written into the recording.
    """

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network or lies outside the trials."""

    def change_network(self, network: Network) -> None:
        """Change a copy of the network in place."""

    def change_inputs(self, inputs: Tensor, dt: float) -> Tensor:
        """Return the inputs as the network is to see them, shape (trial, time, input_channel)."""
        return inputs

    def steps(self, dt: float, n_steps: int) -> range:
        """Return the steps after which the state is changed."""
        return range(0)

    def change_state(self, network: Network, state: Tensor) -> Tensor:
        """Return the state after one of `steps`, shape (trial, state_variable)."""
        return state

    def hide(self, network: Network, rates: Tensor) -> Tensor:
        """Return the rates as the others hear them, shape (trial, time, unit)."""
        return rates

    def describe(self) -> dict[str, Any]:
        """Return the record of it: its kind and its fields, as plain values."""
        fields = {entry.name: _plain(getattr(self, entry.name)) for entry in dataclasses.fields(self)}
        return {"kind": type(self).__name__, **fields}


@dataclass(frozen=True)
class Lesion(Intervention):
    """Silence units, or take a direction out of the activity: nobody hears it any more.

    The columns of the lesioned units are removed from the recurrent weights, the readout and, of a lower
    layer, the input weights of the layer above. They go on hearing others, and are recorded with rate 0. Of
    modes V, orthonormal, the activity that the others hear is ``r - V V' r``.

    Parameters
    ----------
    units : int, sequence of int, or str, optional
        Positions, or a label such as ``"inhibitory"``.
    modes : array, shape (mode, unit), optional
        Directions in rate space, such as ``pcs.component_vector[:2]``; made orthonormal first.
    layer : int
        Of several; the last one, which the readout sees, by default.

    Examples
    --------
    >>> import neurornn as nr
    >>> task = nr.tasks.FlipFlop(n_bits=1)
    >>> lesion = nr.activity.Lesion([0, 3])
    >>> activity = nr.record(nr.RateRNN(1, 4, 1), task, 2, interventions=[lesion])
    >>> float(abs(activity.rate[..., [0, 3]]).max())
    0.0
    """

    units: Units | None = None
    modes: Any = None
    layer: int = -1

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network."""
        if (self.units is None) == (self.modes is None):
            raise InputError("a Lesion needs `units` or `modes`, one of both")
        _need_whole(network, "a Lesion")
        _place(network, self.layer)
        self._kept(network)

    def change_network(self, network: Network) -> None:
        """Remove what the others hear of it."""
        kept, place = self._kept(network), _place(network, self.layer)
        layer = network.layers[place]
        _set_weight(layer, "recurrent_weight", layer.recurrent_weight @ kept)
        if place + 1 < len(network.layers):
            above = network.layers[place + 1]
            _set_weight(above, "input_weight", above.input_weight @ kept)
        else:
            _set_weight(network, "output_weight", network.output_weight @ kept)

    def hide(self, network: Network, rates: Tensor) -> Tensor:
        """Return the rates without what is lesioned."""
        if _place(network, self.layer) + 1 < len(network.layers):
            return rates
        return rates @ self._kept(network)

    def _kept(self, network: Network) -> Tensor:
        """Return the projection on what is left, symmetric, shape (unit, unit)."""
        like, size = network.output_bias.detach(), network.hidden_size
        if self.modes is None:
            kept = like.new_ones(size)
            kept[_positions(network, self.units, _place(network, self.layer))] = 0
            return torch.diag(kept)
        modes = np.atleast_2d(np.asarray(self.modes, float))
        if modes.ndim != 2 or modes.shape[1] != size or not np.isfinite(modes).all():
            raise InputError(
                f"`modes` of a Lesion must be finite directions of shape (mode, unit={size}), got "
                f"{modes.shape}"
            )
        basis, sizes, _ = np.linalg.svd(modes.T, full_matrices=False)
        basis = basis[:, sizes > 1e-10 * max(sizes.max(), 1e-300)]
        return torch.as_tensor(np.eye(size) - basis @ basis.T).to(like)


@dataclass(frozen=True)
class Clamp(Intervention):
    """Hold the state of some units at a value for a while.

    The state of a unit is its rate, of current dynamics its current h, of an LSTM its hidden activity.

    Parameters
    ----------
    units : int, sequence of int, or str
        Positions, or a label.
    value : float
    start, stop : float, optional
        From when to when in ms, a half-open range; throughout by default.
    layer : int
        Of several; the last one by default.

    Examples
    --------
    >>> import neurornn as nr
    >>> task = nr.tasks.FlipFlop(n_bits=1, duration=500)
    >>> clamp = nr.activity.Clamp(0, 0.5, start=100, stop=300)
    >>> held = nr.record(nr.RateRNN(1, 4, 1), task, 2, interventions=[clamp])
    >>> held.rate.sel(unit=0, time=slice(100, 290)).values.tolist() == [[0.5] * 20] * 2
    True
    """

    units: Units
    value: float = 0.0
    start: float | None = None
    stop: float | None = None
    layer: int = -1

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network or lies outside the trials."""
        _need_finite(self.value, "value", "a Clamp")
        _need_steps(network, "a Clamp")
        _need_window(self.start, self.stop, dt, n_steps, "a Clamp")
        _positions(network, self.units, _place(network, self.layer))

    def steps(self, dt: float, n_steps: int) -> range:
        """Return the steps of the window."""
        return _window(self.start, self.stop, dt, n_steps)

    def change_state(self, network: Network, state: Tensor) -> Tensor:
        """Return the state with the units held."""
        state = state.clone()
        state[:, _variables(network, self.units, self.layer)] = self.value
        return state


@dataclass(frozen=True)
class Pulse(Intervention):
    """Kick the state once, at a time.

    Parameters
    ----------
    amplitude : float
        What is added to the state of each unit, or the length of the kick along ``direction``.
    at : float
        When, in ms: after the step that begins then.
    units : int, sequence of int, or str, optional
        Positions, or a label; all units of the layer by default.
    direction : array, shape (state_variable,), optional
        In place of units: a direction in state space, made of length 1 first.
    layer : int
        Of several, for ``units``; the last one by default.
    """

    amplitude: float
    at: float
    units: Units | None = None
    direction: Any = None
    layer: int = -1

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network or lies outside the trials."""
        _need_finite(self.amplitude, "amplitude", "a Pulse")
        _need_steps(network, "a Pulse")
        _need_window(self.at, None, dt, n_steps, "a Pulse")
        if self.units is not None and self.direction is not None:
            raise InputError("a Pulse takes `units` or `direction`, not both")
        self._kick(network)

    def steps(self, dt: float, n_steps: int) -> range:
        """Return the one step."""
        first = _step(self.at, dt)
        return range(first, first + 1)

    def change_state(self, network: Network, state: Tensor) -> Tensor:
        """Return the state after the kick."""
        return state + self._kick(network).to(state)

    def _kick(self, network: Network) -> Tensor:
        if self.direction is None:
            kick = torch.zeros(network.state_size, dtype=torch.float64)
            kick[_variables(network, self.units, self.layer)] = self.amplitude
            return kick
        direction = np.asarray(self.direction, float)
        length = np.linalg.norm(direction)
        if direction.shape != (network.state_size,) or not (np.isfinite(length) and length > 0):
            raise InputError(
                f"`direction` of a Pulse must be a finite vector other than zero of shape "
                f"(state_variable={network.state_size},), got {direction.shape}"
            )
        return torch.as_tensor(self.amplitude * direction / length)


@dataclass(frozen=True)
class Stimulation(Intervention):
    """Drive units from outside for a while, as light or an electrode does: inside f, beside their inputs.

    Parameters
    ----------
    units : int, sequence of int, or str
        Positions, or a label, in the lowest layer of a rate network.
    amplitude : float
        What is added to what f is applied to.
    start, stop : float, optional
        From when to when in ms, a half-open range; throughout by default.

    Examples
    --------
    >>> import neurornn as nr
    >>> task, network = nr.tasks.FlipFlop(n_bits=1), nr.RateRNN(1, 4, 1, gain=0.0)
    >>> light = nr.activity.Stimulation(2, 9.0, start=500)
    >>> driven = nr.record(network, task, 1, interventions=[light])
    >>> (driven.rate.sel(unit=2).mean("trial") > 0.99).values.tolist() == [False] * 50 + [True] * 50
    True
    """

    units: Units
    amplitude: float
    start: float | None = None
    stop: float | None = None

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network or lies outside the trials."""
        _need_finite(self.amplitude, "amplitude", "a Stimulation")
        _need_steps(network, "a Stimulation")
        if not isinstance(network.layers[0], RateLayer):
            raise InputError(
                f"a Stimulation drives rate networks, whose units have one drive each, got "
                f"{type(network).__name__}: use a Pulse or Clamp on its state"
            )
        _need_window(self.start, self.stop, dt, n_steps, "a Stimulation")
        _positions(network, self.units, 0)

    def change_network(self, network: Network) -> None:
        """Add an input channel that reaches these units alone."""
        layer = network.layers[0]
        column = layer.bias.new_zeros(layer.size, 1)
        column[_positions(network, self.units, 0)] = 1
        # Outputs that are fed back come behind the inputs, in weights of their own.
        layer.input = Connection(torch.cat([layer.input_weight, column], 1).detach(), name="input_weight")
        network._config = network._config.model_copy(update={"input_size": network.input_size + 1})

    def change_inputs(self, inputs: Tensor, dt: float) -> Tensor:
        """Add what the channel carries."""
        channel = inputs.new_zeros(*inputs.shape[:2], 1)
        window = _window(self.start, self.stop, dt, inputs.shape[1])
        channel[:, window.start : window.stop] = self.amplitude
        return torch.cat([inputs, channel], -1)


@dataclass(frozen=True)
class InputPulse(Intervention):
    """Add to input channels for a while.

    Parameters
    ----------
    channels : int or sequence of int
        Positions of input channels.
    amplitude : float
    start, stop : float, optional
        From when to when in ms, a half-open range; throughout by default.
    """

    channels: int | Sequence[int]
    amplitude: float
    start: float | None = None
    stop: float | None = None

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network or lies outside the trials."""
        _need_finite(self.amplitude, "amplitude", "an InputPulse")
        _need_window(self.start, self.stop, dt, n_steps, "an InputPulse")
        _need_positions(self.channels, network.input_size, "channels")

    def change_inputs(self, inputs: Tensor, dt: float) -> Tensor:
        """Add the pulse."""
        inputs = inputs.clone()
        window = _window(self.start, self.stop, dt, inputs.shape[1])
        channels = np.atleast_1d(self.channels).tolist()
        inputs[:, window.start : window.stop, channels] += self.amplitude
        return inputs


@dataclass(frozen=True)
class WeightPerturbation(Intervention):
    """Add Gaussian noise to weights that are there; those that are 0 stay 0.

    Parameters
    ----------
    std : float
        Standard deviation, as a share of the root mean square of the weights that are not 0.
    weight : {"recurrent_weight", "input_weight", "output_weight"}
    layer : int
        Of several, for weights of units; the last one by default.
    seed : int
        Seed of the noise.
    """

    std: float
    weight: str = "recurrent_weight"
    layer: int = -1
    seed: int = 0

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network."""
        need_at_least_zero(self.std, "std")
        need_count(self.seed, "seed", least=0)
        if self.weight not in WEIGHTS:
            unknown_name("weight of a WeightPerturbation", self.weight, WEIGHTS)
        _place(network, self.layer)

    def change_network(self, network: Network) -> None:
        """Add the noise."""
        owner = network if self.weight == "output_weight" else network.layers[_place(network, self.layer)]
        weight = getattr(owner, self.weight).detach()
        there = weight != 0
        if there.any():
            rng = seeding.numpy_stream(self.seed, seeding.INTERVENTION)
            noise = torch.as_tensor(rng.standard_normal(tuple(weight.shape))).to(weight)
            size = weight[there].square().mean().sqrt()
            weight = torch.where(there, weight + self.std * size * noise, weight)
        _set_weight(owner, self.weight, weight)


@dataclass(frozen=True)
class Disconnection(Intervention):
    """Cut the recurrent weights from some units to others.

    Parameters
    ----------
    source, target : int, sequence of int, or str, optional
        Units whose outgoing, and units whose incoming weights are cut: positions, or a label. All by default.
    layer : int
        Of several; the last one by default.
    """

    source: Units | None = None
    target: Units | None = None
    layer: int = -1

    def check(self, network: Network, dt: float, n_steps: int) -> None:
        """Refuse what does not fit the network."""
        place = _place(network, self.layer)
        for units in (self.source, self.target):
            _positions(network, units, place)

    def change_network(self, network: Network) -> None:
        """Cut the weights, of all gates where there are several."""
        place = _place(network, self.layer)
        layer = network.layers[place]
        weight = layer.recurrent_weight.detach().clone()
        columns, rows = (_positions(network, units, place) for units in (self.source, self.target))
        for first in range(0, len(weight), layer.size):
            weight[np.ix_(first + rows, columns)] = 0
        _set_weight(layer, "recurrent_weight", weight)


INTERVENTIONS: dict[str, type[Intervention]] = {
    own.__name__: own
    for own in (Lesion, Clamp, Pulse, Stimulation, InputPulse, WeightPerturbation, Disconnection)
}
"""Every intervention by the name under which a recording holds it."""


def of_description(described: Mapping[str, Any]) -> Intervention:
    """Return the intervention that a recording describes.

    Raises
    ------
    InputError
        Where it is none of the package's own.
    """
    fields = dict(described)
    kind = fields.pop("kind", "")
    if kind not in INTERVENTIONS:
        unknown_name("intervention", kind, INTERVENTIONS)
    return INTERVENTIONS[kind](**fields)


def need_interventions(
    interventions: Sequence[Intervention], network: Network, dt: float, n_steps: int
) -> tuple[Intervention, ...]:
    """Return the interventions, refusing what is none or does not fit.

    Raises
    ------
    InputError
        Before anything is run.
    """
    if isinstance(interventions, Intervention):
        interventions = (interventions,)
    for own in interventions:
        if not isinstance(own, Intervention):
            raise InputError(
                f"`interventions` must be a list of interventions such as Lesion([0, 1]), got "
                f"{type(own).__name__} in it"
            )
        own.check(network, dt, n_steps)
    return tuple(interventions)


def changed_copy(network: Network, interventions: Sequence[Intervention]) -> Network:
    """Return a copy of a network whose weights are those that the interventions leave, in eval mode."""
    with torch.no_grad():
        changed = copy.deepcopy(network).eval().requires_grad_(False)
        for own in interventions:
            own.change_network(changed)
    return changed


# Units, weights, times --------------------------------------------------------------------------------


def _place(network: Network, layer: int) -> int:
    """Return the number of a layer, counted from the first."""
    n_layers = len(network.layers)
    if (
        isinstance(layer, bool)
        or not isinstance(layer, int | np.integer)
        or not -n_layers <= layer < n_layers
    ):
        raise InputError(f"`layer` must be from 0 to {n_layers - 1}, or -1 for the last, got {layer!r}")
    return int(layer) % n_layers


def _positions(network: Network, units: Units | None, place: int) -> np.ndarray:
    """Return the positions of units within a layer."""
    size = network.layers[place].size
    if units is None:
        return np.arange(size)
    if isinstance(units, str):
        labels = network.unit_labels if place == len(network.layers) - 1 else {}
        known = sorted({str(value) for own in labels.values() for value in own})
        found: np.ndarray = np.zeros(size, bool)
        for own in labels.values():
            found |= own.astype(str) == units
        if not found.any():
            if known:
                unknown_name("label of units", units, known)
            raise InputError(
                f"the units of this layer have no labels, got {units!r}: give their positions, "
                f"from 0 to {size - 1}"
            )
        return np.flatnonzero(found)
    return _need_positions(units, size, "units")


def _need_positions(positions: Any, size: int, name: str) -> np.ndarray:
    found = np.atleast_1d(np.asarray(positions))
    if found.dtype == bool and found.shape == (size,):
        return np.flatnonzero(found)
    fits = found.ndim == 1 and found.dtype.kind in "iu" and found.size
    if not fits or found.min() < -size or found.max() >= size:
        raise InputError(
            f"`{name}` must be positions from 0 to {size - 1}, at least one, got {_shown(positions)}"
        )
    return np.unique(found % size)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _variables(network: Network, units: Units | None, layer: int) -> np.ndarray:
    """Return where the states of units lie in the state of the network."""
    place = _place(network, layer)
    first = sum(own.state_size for own in network.layers[:place])
    return first + _positions(network, units, place)


def _set_weight(owner: Any, name: str, weight: Tensor) -> None:
    """Give a layer or network these effective weights, whatever constraints the old ones had."""
    place = name.removesuffix("_weight")
    if isinstance(getattr(owner, place, None), torch.nn.Module):
        setattr(owner, place, Connection(weight.detach().clone(), name=name))
    else:
        setattr(owner, name, weight)


def _need_steps(network: Network, what: str) -> None:
    """Refuse networks whose outputs at a step do not follow from the state at that step."""
    for is_there, name in (
        (network.is_bidirectional, "a second direction of time"),
        (network.attention is not None, "attention over all steps"),
    ):
        if is_there:
            raise InputError(
                f"{what} needs outputs that follow from the state of a step, and this network has {name}: "
                "build it without"
            )


def _need_whole(network: Network, what: str) -> None:
    """Refuse networks in which a rate reaches others by a way that has no weights."""
    _need_steps(network, what)
    if network.is_residual:
        raise InputError(
            f"{what} cannot silence units of a network with residual connections, which pass rates on "
            "without weights: hold them with Clamp(units, 0)"
        )


def _need_finite(value: Any, name: str, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise InputError(f"`{name}` of {what} must be a finite number, got {value!r}")


def _need_window(start: float | None, stop: float | None, dt: float, n_steps: int, what: str) -> None:
    """Refuse a time that is no number, or a window in which no step begins."""
    for name, value in (("start", start), ("stop", stop)):
        if value is not None:
            _need_finite(value, name, what)
    if not (start is None or start >= 0) or not len(_window(start, stop, dt, n_steps)):
        raise InputError(
            f"{what} from {start} to {stop} ms holds no step of these trials, which last from 0 to "
            f"{n_steps * dt:g} ms in steps of {dt:g} ms: change start or stop"
        )


def _step(moment: float, dt: float) -> int:
    """Return the step that contains a moment; one that is a multiple of dt but for rounding is that."""
    return int(np.floor(moment / dt + 1e-9))


def _window(start: float | None, stop: float | None, dt: float, n_steps: int) -> range:
    first = 0 if start is None else _step(start, dt)
    last = n_steps if stop is None else min(_step(stop, dt), n_steps)
    return range(min(first, n_steps), max(last, min(first, n_steps)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "to_numpy"):
        return np.asarray(value).tolist()
    if isinstance(value, Tensor):
        return value.detach().cpu().tolist()
    return list(value) if isinstance(value, tuple | range) else value
