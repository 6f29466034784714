"""Networks from configurations, from arrays and from files, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurornn import files
from neurornn.config import NetworkConfig
from neurornn.networks.activations import Elementwise
from neurornn.networks.connectivity import as_weights
from neurornn.networks.gated import GRU, LSTM
from neurornn.networks.network import Network
from neurornn.networks.rate import RateRNN
from neurornn.vocabulary import VERSION, InputError

FAMILIES: dict[str, type[Network]] = {"RateRNN": RateRNN, "LSTM": LSTM, "GRU": GRU}
"""Every network class by the name that configurations use."""

_FORMAT = 2


def build_network(
    config: NetworkConfig | Mapping[str, Any], *, device: torch.device | str | None = None
) -> Network:
    """Build a network with its initial weights from a configuration.

    Parameters
    ----------
    config : NetworkConfig or mapping
        What ``net.config`` gives, or the same keys in a dictionary.
    device : optional
        As in torch.

    Returns
    -------
    RateRNN, LSTM or GRU
        The same bits as the network that ``config`` was read from had before training.

    Raises
    ------
    InputError
        Where a key is unknown or a value does not fit.

    Examples
    --------
    >>> net = RateRNN(3, 8, 2, seed=4)
    >>> twin = build_network(net.config)
    >>> bool((twin.recurrent_weight == net.recurrent_weight).all())
    True
    """
    if not isinstance(config, NetworkConfig):
        config = NetworkConfig.from_dict(config, source="the network's configuration")
    values = config.model_dump(exclude={"family", "dtype"})
    return FAMILIES[config.family](**values, dtype=getattr(torch, config.dtype), device=device)


def network_from_arrays(
    recurrent: np.ndarray | Tensor,
    input: np.ndarray | Tensor | None = None,
    bias: np.ndarray | Tensor | None = None,
    output: np.ndarray | Tensor | None = None,
    *,
    activation: str | Elementwise = "tanh",
    alpha: float = 1.0,
    dynamics: str = "rate",
    output_bias: np.ndarray | Tensor | None = None,
    tau: float | Sequence[float] | None = None,
    dt: float | None = None,
    initial_state: Sequence[float] | None = None,
    device: torch.device | str | None = None,
) -> RateRNN:
    """Build a network around weights from elsewhere.

    Parameters
    ----------
    recurrent : array, shape (unit, unit)
        Entry [i, j] is from unit j to unit i. Its dtype is kept.
    input : array, shape (unit, input_channel), optional
        No input channels where it is left out.
    bias : array, shape (unit,), optional
        Zero where it is left out.
    output : array, shape (output_channel, unit), optional
        No readout where it is left out.
    activation, dynamics
        As for `RateRNN`.
    alpha : float
        The leak dt / tau.
    output_bias : array, shape (output_channel,), optional
        Zero where it is left out.
    tau, dt : float, optional
        Time constant and step in ms, in place of ``alpha``.
    initial_state : sequence of float, optional
        State before the first step; zero where it is left out.
    device : optional
        As in torch.

    Returns
    -------
    RateRNN
        In eval mode.

    Raises
    ------
    InputError
        Where shapes disagree or a weight is not finite.

    Examples
    --------
    >>> net = network_from_arrays(2 * np.eye(3))
    >>> net.recurrent_weight.dtype, net.hidden_size
    (torch.float64, 3)
    """
    recurrent = as_weights(recurrent, "recurrent")
    n = recurrent.shape[0] if recurrent.ndim == 2 else 0
    if recurrent.ndim != 2 or recurrent.shape != (n, n) or n == 0:
        raise InputError(f"`recurrent` must have shape (unit, unit), got {tuple(recurrent.shape)}")
    given = {
        "input_weight": ("input", input, (n, "input_channel")),
        "bias": ("bias", bias, (n,)),
        "output_weight": ("output", output, ("output_channel", n)),
        "output_bias": ("output_bias", output_bias, (0 if output is None else len(output),)),
    }
    weights: dict[str, Tensor] = {"recurrent_weight": recurrent}
    for parameter, (name, array, shape) in given.items():
        if array is None:
            continue
        tensor = as_weights(array, name).to(recurrent.dtype)
        if tensor.ndim != len(shape) or any(
            size != own for size, own in zip(shape, tensor.shape, strict=True) if isinstance(size, int)
        ):
            raise InputError(
                f"`{name}` must have shape ({', '.join(map(str, shape))}), got {tuple(tensor.shape)}"
            )
        weights[parameter] = tensor
    network = RateRNN(
        weights["input_weight"].shape[1] if "input_weight" in weights else 0,
        n,
        weights["output_weight"].shape[0] if "output_weight" in weights else 0,
        activation=activation,
        dynamics=dynamics,
        alpha=None if alpha == 1 else alpha,
        tau=tau,
        dt=dt,
        initial_state=None if initial_state is None else [float(own) for own in initial_state],
        device=device,
        dtype=recurrent.dtype,
    )
    if "output_bias" in weights:
        with torch.no_grad():
            network.output_bias.copy_(weights.pop("output_bias"))
    for parameter, tensor in weights.items():
        setattr(network, parameter, tensor)
    return network.eval()


def weights_digest(network: torch.nn.Module) -> str:
    """Return the SHA-256 of a network's weights: names, shapes, dtypes and bytes, in the order of names."""
    parts = bytearray()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        parts += f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes()
    return files.digest(bytes(parts))


def save_network(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network as two files, ``<path>.safetensors`` (weights) and ``<path>.json`` (what rebuilds it).

    The files hold no time stamp, so that one network always gives the same bytes; no code runs when they
    are loaded.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        What to save.
    path : path-like
        With or without one of the two endings.

    Raises
    ------
    InputError
        Where the activation has no registered name or the folder cannot be written to; no file is touched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(RateRNN(3, 8, 2, seed=4), f"{folder}/network")
    ...     load_network(f"{folder}/network").hidden_size
    8
    """
    from safetensors.torch import save

    stem = _stem(path)
    config = network.config.to_dict()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = save(weights)
    description = {
        "format": _FORMAT,
        "neurornn_version": VERSION,
        "config": config,
        "training": network.training_record,
        "sha256": files.digest(data),
    }
    description["description_sha256"] = _description_digest(description)
    files.atomic_write(stem.with_name(stem.name + ".safetensors"), data)
    files.write_json(stem.with_name(stem.name + ".json"), description)


def load_network(path: str | os.PathLike[str], *, device: torch.device | str | None = None) -> Network:
    """Read a network that `save_network` wrote.

    Parameters
    ----------
    path : path-like
        With or without one of the two endings.
    device : optional
        As in torch.

    Returns
    -------
    RateRNN, LSTM or GRU
        In eval mode.

    Raises
    ------
    InputError
        Where a file is missing or another neurornn wrote it.
    CorruptFile
        Where one of the files is not what was written.
    """
    from safetensors.torch import load

    stem = _stem(path)
    description_path = stem.with_name(stem.name + ".json")
    description = files.read_json(description_path)
    weights_path = stem.with_name(stem.name + ".safetensors")
    data = files.read_bytes(weights_path)
    if description.get("format") != _FORMAT:
        raise InputError(
            f"{str(stem)!r} has format {description.get('format')!r}, expected {_FORMAT}: "
            "it was written by another version of neurornn; install that one"
        )
    if description.pop("description_sha256", None) != _description_digest(description):
        raise files.CorruptFile(
            f"{str(description_path)!r} is damaged or was edited: its content does not have the SHA-256 that "
            "was written with it; take another copy"
        )
    if files.digest(data) != description["sha256"]:
        raise files.CorruptFile(
            f"{str(weights_path)!r} is damaged: its content does not have the SHA-256 that was written "
            "beside it; take another copy"
        )
    network = build_network(description["config"], device=device)
    network.load_state_dict(load(data))
    network.training_record = description["training"]
    return network.eval()


def _description_digest(description: Mapping[str, Any]) -> str:
    return files.digest(json.dumps(description, sort_keys=True).encode())


def _stem(path: str | os.PathLike[str]) -> Path:
    path = files.as_path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
