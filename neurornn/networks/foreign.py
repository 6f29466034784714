"""Networks made of torch's own recurrent modules and their state dicts, to the rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurornn.networks.connectivity import as_weights
from neurornn.networks.gated import GRU, LSTM
from neurornn.networks.network import Network
from neurornn.networks.rate import RateRNN
from neurornn.vocabulary import InputError, need_choice, unknown_name

KINDS: dict[type[nn.Module], str] = {
    nn.RNN: "rnn",
    nn.RNNCell: "rnn",
    nn.GRU: "gru",
    nn.GRUCell: "gru",
    nn.LSTM: "lstm",
    nn.LSTMCell: "lstm",
}
"""Torch's recurrent modules, and which of three kinds each is."""
N_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
"""How many blocks of rows the weights of each kind have."""
FAMILIES: dict[str, Any] = {"rnn": RateRNN, "gru": GRU, "lstm": LSTM}
_PARAMETER = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+)(_reverse)?)?")
_AGREEMENT = 1e-4


class _Recurrent(NamedTuple):
    """A recurrent module: its kind, and for each layer and direction the weights by torch's names."""

    kind: str
    layers: list[dict[str, Tensor]]
    n_directions: int


def network_from_torch(
    module: nn.Module | Mapping[str, Tensor],
    readout: nn.Linear | str | None = None,
    *,
    kind: str | None = None,
    activation: str | None = None,
    initial_state: Sequence[float] | None = None,
) -> Network:
    """Build a network with the weights of a recurrent module of torch.

    Parameters
    ----------
    module : torch.nn.Module or mapping of str to Tensor
        ``torch.nn.RNN``, ``GRU`` or ``LSTM``, one of their cells, a module that holds one of these and
        a ``torch.nn.Linear`` that reads it out, or the state dict of any of them.
    readout : torch.nn.Linear or str, optional
        What reads the units out; of a state dict, what its names begin with (``"fc"``). By default the one
        linear layer that is there, and no outputs where there is none.
    kind : {"rnn", "gru", "lstm"}, optional
        What a state dict is of; its shapes tell too, and are compared with this.
    activation : {"tanh", "relu"}, optional
        Of the state dict of an RNN, which does not tell. Torch's default, tanh, where nothing is said.
    initial_state : sequence of float, optional
        State before the first step, of a module that is not started from zero: layer by layer, of each the
        forward direction first, of an LSTM's layer h before c.

    Returns
    -------
    RateRNN, GRU or LSTM
        In eval mode, in the module's precision and on its device, with copies of the weights.

    Raises
    ------
    InputError
        Where the module cannot be represented exactly, or it is not clear what is meant.

    Notes
    -----
    An RNN becomes ``r_t = f(W_r r_{t-1} + W_x x_t + b)``, a network without leak; torch's two biases are
    summed into one, which rounds in another order. GRU and LSTM keep both, and run on torch's own kernels.
    In the GRU the reset gate acts after the recurrent weights, as everywhere in torch. Whether a module is
    batch-first does not matter. Dropout between layers acts in training only and is left out. An LSTM with
    projections (``proj_size``) has no counterpart here and is refused.

    What a module does between its parts cannot be read from them. So a module that holds the parts is run
    on random inputs, in eval mode, and some output of it must be that of the network, at all steps or the
    last. Where it does something else, or does not run on an array (trial, time, input) or (time, trial,
    input), pass the parts themselves: ``network_from_torch(module.rnn, readout=module.fc)``.

    Examples
    --------
    >>> cell, fc = torch.nn.GRU(3, 8, batch_first=True), torch.nn.Linear(8, 2)
    >>> net = network_from_torch(cell, readout=fc)
    >>> inputs = torch.randn(4, 10, 3)
    >>> bool(torch.allclose(net(inputs)[0], fc(cell(inputs)[0]), atol=1e-6))
    True
    """
    if isinstance(module, nn.Module):
        for name, value in (("kind", kind), ("activation", activation)):
            if value is not None:
                raise InputError(f"`{name}` is for state dicts, and a module tells its own: leave it out")
        cell, linear = _recurrent_part(module), _readout_of(module, readout)
        affine = None if linear is None else (linear.weight, linear.bias)
        activation = str(getattr(cell, "nonlinearity", "tanh"))
        network = _build(_recurrent_of_module(cell), affine, activation, initial_state)
        if cell is not module:
            _need_same_outputs(module, network)
        return network
    if not isinstance(module, Mapping):
        raise InputError(
            f"`module` must be a torch module or a state dict, got {type(module).__name__}: give plain "
            "arrays to neurornn.network_from_arrays"
        )
    weights, others = _split_state(module)
    source = _recurrent_of_state(weights)
    if kind is not None and need_choice(kind, "kind", N_GATES) != source.kind:
        raise InputError(
            f"`kind` is {kind!r}, but the weights have the shapes of {source.kind!r}: correct it, or leave "
            "it out"
        )
    if activation is not None:
        need_choice(activation, "activation", ("tanh", "relu"))
        if source.kind != "rnn":
            raise InputError(
                f"`activation` is for an RNN, and that of {source.kind!r} is fixed: leave it out"
            )
    return _build(source, _affine_of_state(others, readout), activation or "tanh", initial_state)


def _recurrent_part(module: nn.Module) -> Any:
    """Return the one recurrent module in a module, which may be itself."""
    found = [own for own in module.modules() if isinstance(own, tuple(KINDS))]
    if len(found) != 1:
        came = "none" if not found else f"{len(found)}: {', '.join(type(own).__name__ for own in found)}"
        raise InputError(
            f"`module` must hold one RNN, GRU or LSTM of torch, or one of their cells, got {came}; pass the "
            "one that is meant, or give its arrays to neurornn.network_from_arrays"
        )
    return found[0]


def _readout_of(module: nn.Module, readout: nn.Linear | str | None) -> nn.Linear | None:
    if isinstance(readout, str):
        named = dict(module.named_modules())
        if readout not in named:
            unknown_name("part of the module:", readout, [name for name in named if name])
        readout = named[readout]
    if readout is not None:
        if not isinstance(readout, nn.Linear):
            raise InputError(f"`readout` must be a torch.nn.Linear, got {type(readout).__name__}")
        return readout
    linear = {name: own for name, own in module.named_modules() if isinstance(own, nn.Linear)}
    if len(linear) > 1:
        raise InputError(
            f"`module` has {len(linear)} linear layers, {', '.join(map(repr, linear))}: say with `readout` "
            "which one reads out the units"
        )
    return next(iter(linear.values()), None)


def _recurrent_of_module(cell: Any) -> _Recurrent:
    """Return what a recurrent module is, and the weights of its layers and directions."""
    kind = next(kind for own, kind in KINDS.items() if isinstance(cell, own))
    if getattr(cell, "proj_size", 0):
        raise InputError(
            f"an LSTM with projections (proj_size = {cell.proj_size}) has no counterpart here: train it "
            "without"
        )
    ends, directions = [""], ("", "_reverse") if getattr(cell, "bidirectional", False) else ("",)
    if hasattr(cell, "num_layers"):
        ends = [f"_l{k}{direction}" for k in range(cell.num_layers) for direction in directions]
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if cell.bias else ()))
    # By attribute, not by parameter, so that weights under a parametrisation are the effective ones.
    layers = [{name: getattr(cell, name + end) for name in names} for end in ends]
    return _Recurrent(kind, layers, len(directions))


def _split_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the one recurrent module in a state dict by torch's names, and the rest."""
    parts: dict[str, dict[str, Tensor]] = {}
    others = {}
    for name, own in state.items():
        if not isinstance(name, str) or not isinstance(own, Tensor):
            raise InputError(
                f"a state dict maps names to tensors, and {name!r} does not: pass module.state_dict()"
            )
        head, _, tail = name.rpartition(".")
        if _PARAMETER.fullmatch(tail):
            parts.setdefault(head, {})[tail] = own
        else:
            others[name] = own
    if len(parts) != 1:
        came = "none" if not parts else f"{len(parts)}, {', '.join(map(repr, parts))}"
        raise InputError(
            f"the state dict must hold one RNN, GRU or LSTM of torch (weight_hh_l0, ...), got {came}: pass "
            "the entries of one, or give arrays to neurornn.network_from_arrays"
        )
    return next(iter(parts.values())), others


def _recurrent_of_state(weights: Mapping[str, Tensor]) -> _Recurrent:
    """Return what the weights of a recurrent module are of, and those of each layer and direction."""
    found: dict[tuple[int, bool], dict[str, Tensor]] = {}
    for name, own in weights.items():
        match = _PARAMETER.fullmatch(name)
        assert match is not None
        found.setdefault((int(match[2] or 0), match[3] is not None), {})[match[1]] = own
    layers = [found[place] for place in sorted(found)]
    n_layers = 1 + max(layer for layer, _ in found)
    if any("weight_hr" in own for own in layers):
        raise InputError("an LSTM with projections (weight_hr) has no counterpart here: train it without")
    lacks = len(layers) not in (n_layers, 2 * n_layers)
    if lacks or any(not {"weight_ih", "weight_hh"} <= set(own) or len(own) % 2 for own in layers):
        raise InputError(
            f"the state dict lacks weights of a layer, got {', '.join(map(repr, weights))}: pass all of them"
        )
    rows, n_units = layers[0]["weight_hh"].shape if layers[0]["weight_hh"].ndim == 2 else (0, 1)
    kinds = [kind for kind, n_gates in N_GATES.items() if rows == n_gates * n_units]
    if not kinds:
        raise InputError(
            f"recurrent weights of shape {tuple(layers[0]['weight_hh'].shape)} are those of no RNN, GRU or "
            "LSTM: they have 1, 3 or 4 rows for each column"
        )
    return _Recurrent(kinds[0], layers, len(layers) // n_layers)


def _affine_of_state(others: dict[str, Tensor], readout: Any) -> tuple[Tensor, Tensor | None] | None:
    """Return weight and bias of what reads the units out, and refuse what has no place."""
    if isinstance(readout, nn.Module):
        raise InputError(
            "the readout in a state dict is told by what its names begin with, such as readout='fc'"
        )
    heads = sorted({name.rpartition(".")[0] for name in others})
    if readout is None:
        if not heads:
            return None
        if len(heads) > 1 or not set(others) <= {f"{heads[0]}.weight", f"{heads[0]}.bias"}:
            raise InputError(
                f"the state dict holds more than an RNN and a readout, {', '.join(map(repr, others))}: say "
                "which one reads out the units, such as readout='fc'; other parts are left out then"
            )
        readout = heads[0]
    if f"{readout}.weight" not in others:
        unknown_name("readout", readout, heads)
    return others[f"{readout}.weight"], others.get(f"{readout}.bias")


def _build(
    source: _Recurrent,
    affine: tuple[Tensor, Tensor | None] | None,
    activation: str,
    initial_state: Sequence[float] | None,
) -> Network:
    """Build the network and copy the weights into it."""
    kind, layers, n_directions = source
    like = layers[0]["weight_hh"]
    n_units = like.shape[1]
    weight, bias = affine or (like.new_zeros(0, n_units * n_directions), None)
    tensors = [
        *(own for layer in layers for own in layer.values()),
        weight,
        *([] if bias is None else [bias]),
    ]
    if like.dtype not in (torch.float32, torch.float64) or any(own.dtype != like.dtype for own in tensors):
        came = ", ".join(sorted({str(own.dtype) for own in tensors}))
        raise InputError(
            f"all weights must be float32, or all float64, got {came}: convert with module.float()"
        )
    if any(own.device != like.device for own in tensors):
        raise InputError(
            "all weights must lie on one device: move the module and its readout with .to(device)"
        )
    if weight.ndim != 2 or weight.shape[1] != n_units * n_directions:
        raise InputError(
            f"the readout must see the {n_units * n_directions} units of the last layer, got weights of "
            f"shape {tuple(weight.shape)}: pass the linear layer that reads them out"
        )
    options: dict[str, Any] = {} if kind != "rnn" else {"activation": activation}
    network: Network = FAMILIES[kind](
        layers[0]["weight_ih"].shape[1],
        n_units,
        len(weight),
        n_layers=len(layers) // n_directions,
        bidirectional=n_directions == 2,
        initial_state=None if initial_state is None else [float(own) for own in initial_state],
        dtype=like.dtype,
        device=like.device,
        **options,
    )
    with torch.no_grad():
        for layer, own in zip(network.layers, layers, strict=True):
            values = {name: as_weights(tensor, name) for name, tensor in own.items()}
            layer.input_weight, layer.recurrent_weight = values["weight_ih"], values["weight_hh"]
            none = torch.zeros_like(values["weight_ih"][:, 0])
            inputs, units = (values.get(name, none) for name in ("bias_ih", "bias_hh"))
            if kind == "rnn":
                layer.bias.copy_(inputs + units)
            else:
                layer.bias.copy_(inputs)
                layer.recurrent_bias.copy_(units)
        network.output_weight = weight
        network.output_bias.copy_(
            torch.zeros_like(weight[:, 0]) if bias is None else as_weights(bias, "bias")
        )
    return network.eval()


@torch.no_grad()
def _need_same_outputs(module: nn.Module, network: Network) -> None:
    """Run a module and the network made of its parts, and refuse where they give different outputs."""
    like = network.output_bias
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 5, network.input_size, generator=generator).to(like)
    outputs, rates = network(inputs)
    wanted = outputs if network.output_size else rates
    assert wanted is not None
    forms = [wanted, wanted.transpose(0, 1), wanted[:, -1]]
    modes, has_run = {part: part.training for part in module.modules()}, False
    module.eval()
    try:
        # Whatever the module draws, the caller's random numbers stay what they are.
        with torch.random.fork_rng(devices=[]):
            for signal in (inputs, inputs.transpose(0, 1)):
                try:
                    found = list(_tensors(module(signal)))
                except Exception:
                    continue
                has_run = True
                for own in found:
                    if any(own.shape == form.shape and _agree(own.to(form), form) for form in forms):
                        return
    finally:
        for part, was_training in modes.items():
            part.training = was_training
    problem = (
        "gives other outputs than its recurrent part and its readout alone"
        if has_run
        else "could not be run on an array (trial, time, input) or (time, trial, input)"
    )
    raise InputError(
        f"{type(module).__name__} {problem}, so that its parts may not be all it does: pass those that you "
        "mean, network_from_torch(module.rnn, readout=module.fc), and compare the outputs"
    )


def _agree(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _AGREEMENT * (1 + other.abs().max()))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in what a module returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for own in value.values():
            yield from _tensors(own)
    elif isinstance(value, list | tuple):
        for own in value:
            yield from _tensors(own)
