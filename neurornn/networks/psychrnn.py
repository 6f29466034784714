"""Networks that PsychRNN saved, to the rounding: their weights are read without running code."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurornn import files
from neurornn.networks.activations import Elementwise, get_activation
from neurornn.networks.connectivity import as_weights
from neurornn.networks.rate import RateRNN
from neurornn.vocabulary import InputError

PSYCHRNN = ("W_in", "W_rec", "W_out", "b_rec", "b_out", "init_state")
"""What PsychRNN's weights must have; the weights are the effective ones."""


def network_from_psychrnn(
    weights: str | os.PathLike[str] | Mapping[str, Any],
    *,
    tau: float | Sequence[float] | None = None,
    dt: float | None = None,
    alpha: float | None = None,
    activation: str | Elementwise = "relu",
    noise_std: float = 0.0,
) -> RateRNN:
    """Build the network of PsychRNN's ``Basic`` and ``BasicScan`` models from its saved weights.

    Parameters
    ----------
    weights : path-like or mapping of str to array
        The ``.npz`` file that ``model.save`` wrote, or what ``model.get_weights()`` returned.
    tau : float or sequence of float, optional
        Time constant in ms, which the file does not hold; together with ``dt``.
    dt : float, optional
        Time step in ms.
    alpha : float, optional
        The leak dt / tau, in place of both.
    activation : str or callable
        PsychRNN's ``transfer_function``, which the file does not hold either; relu is its default.
    noise_std : float
        PsychRNN's ``rec_noise``, which enters its equation as ours: in train mode ``sqrt(2 alpha) * sigma *
        N(0, 1)`` is added to the state.

    Returns
    -------
    RateRNN
        In eval mode, with ``dynamics="current"``: ``h_t = (1 - alpha) h_{t-1} + alpha (W_r f(h_{t-1}) + W_x
        x_t + b)``, rates f(h), outputs ``W_y f(h_t) + b_y``, and the saved state before the first step.
        Missing connections are masks; under PsychRNN's Dale's law units have their signs (``population``) and
        inputs are not negative, so that both hold in further training too. The signs of output weights do
        not.

    Raises
    ------
    InputError
        Where the file is none of PsychRNN's, or of a network with no exact counterpart: its ``LSTM`` squashes
        cells by a sigmoid, and files older than 1.0 do not tell whether Dale's law is in the weights.
    CorruptFile
        Where it is damaged.

    References
    ----------
    Ehrlich, D. B., Stone, J. T., Brandfonbrener, D., Atanasov, A. & Murray, J. D. (2021). PsychRNN: an
    accessible and flexible Python package for training recurrent neural network models on cognitive tasks.
    eNeuro 8, ENEURO.0427-20.2020. doi:10.1523/ENEURO.0427-20.2020

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> saved = {
    ...     "W_rec": rng.standard_normal((5, 5)).astype("f4") / 2, "b_rec": np.zeros(5, "f4"),
    ...     "W_in": np.ones((5, 2), "f4"), "W_out": np.ones((1, 5), "f4"), "b_out": np.zeros(1, "f4"),
    ...     "init_state": np.full((1, 5), 0.1, "f4"), "dale_ratio": None,
    ... }
    >>> net = network_from_psychrnn(saved, tau=100.0, dt=10.0)
    >>> net.dynamics, net.alpha, net.recurrent_weight.dtype
    ('current', 0.1, torch.float32)
    """
    if tau is None and dt is None and alpha is None:
        raise InputError("PsychRNN's files do not hold the leak: give `tau` and `dt` in ms, or `alpha`")
    arrays = dict(weights) if isinstance(weights, Mapping) else _read_npz(weights)
    if "W_f" in arrays:
        raise InputError(
            "these are weights of PsychRNN's LSTM, which squashes its cells by a sigmoid where every other "
            "LSTM has a tanh: it has no exact counterpart here"
        )
    missing = [name for name in PSYCHRNN if name not in arrays]
    if missing:
        raise InputError(
            f"PsychRNN's weights are {', '.join(PSYCHRNN)}, and {', '.join(missing)} is missing: pass the "
            "file that model.save wrote, or what model.get_weights() returned"
        )
    found = {name: as_weights(arrays[name], name) for name in PSYCHRNN}
    sizes = _psychrnn_sizes(found)
    signs = _psychrnn_signs(arrays, sizes["unit"])
    masks: dict[str, Any] = {}
    for option, name, weight in (
        ("input_mask", "input_connectivity", "W_in"),
        ("recurrent_mask", "rec_connectivity", "W_rec"),
        ("output_mask", "output_connectivity", "W_out"),
    ):
        connected = np.asarray(arrays.get(name, 1.0)) != 0
        if not connected.all():
            masks[option] = np.broadcast_to(connected, found[weight].shape).astype(float)
    is_dale = signs is not None and get_activation(activation).is_nonnegative
    network = RateRNN(
        sizes["input"],
        sizes["unit"],
        sizes["output"],
        activation=activation,
        dynamics="current",
        tau=tau,
        dt=dt,
        alpha=alpha,
        noise_std=noise_std,
        initial_state=found["init_state"].flatten().tolist(),
        signs=signs if is_dale else None,
        nonnegative_inputs=is_dale,
        dtype=found["W_rec"].dtype,
        **masks,
    )
    network.input_weight, network.recurrent_weight = found["W_in"], found["W_rec"]
    network.output_weight, network.bias = found["W_out"], found["b_rec"]
    with torch.no_grad():
        network.output_bias.copy_(found["b_out"])
    return network.eval()


def _read_npz(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the arrays of a file; what is no array, which only code could read, is None."""
    path = files.as_path(path, "weights")
    if not path.exists() and path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    data = files.read_bytes(path)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(f"{str(path)!r} is no .npz file: pass the one that PsychRNN's model.save wrote")
    arrays: dict[str, Any] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    arrays[name] = archive[name]
                except ValueError as error:
                    # PsychRNN writes None, and nothing else, as an object; to open it would run its code.
                    if "allow_pickle" not in str(error):
                        raise
                    arrays[name] = None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise files.CorruptFile(f"{str(path)!r} is damaged ({error}): take another copy") from error
    return arrays


def _psychrnn_sizes(found: dict[str, Tensor]) -> dict[str, int]:
    """Return the numbers of units and channels, and refuse shapes that do not agree."""
    n = len(found["W_rec"]) if found["W_rec"].ndim else 0
    n_inputs = found["W_in"].shape[-1] if found["W_in"].ndim else 0
    n_outputs = len(found["W_out"]) if found["W_out"].ndim else 0
    shapes = {
        "W_rec": (n, n),
        "W_in": (n, n_inputs),
        "W_out": (n_outputs, n),
        "b_rec": (n,),
        "b_out": (n_outputs,),
        "init_state": (1, n),
    }
    for name, shape in shapes.items():
        came = tuple(found[name].shape)
        if came != shape and not (name == "init_state" and came == (n,)):
            raise InputError(
                f"`{name}` must have shape {shape} beside a `W_rec` of {tuple(found['W_rec'].shape)}, "
                f"got {came}"
            )
    return {"unit": n, "input": n_inputs, "output": n_outputs}


def _psychrnn_signs(arrays: Mapping[str, Any], n_units: int) -> list[float] | None:
    """Return +1 or -1 for each unit under Dale's law, or None without it."""
    matrix = arrays.get("Dale_rec")
    signs = np.ones(n_units) if matrix is None else np.diag(np.asarray(matrix, dtype=float))
    if "dale_ratio" not in arrays:
        if (signs < 0).any() or any(name.endswith("_Connectivity") for name in arrays):
            raise InputError(
                "these weights were saved by a PsychRNN older than 1.0, whose files do not tell whether "
                "Dale's law is in them: load them into PsychRNN 1.0 with their dale_ratio, and save again"
            )
        return None
    ratio = arrays["dale_ratio"]
    # As PsychRNN asks for it: a ratio of 0 is none.
    if ratio is None or np.asarray(ratio).item() is None or not np.asarray(ratio).item():
        return None
    if len(signs) != n_units or not np.isin(signs, (-1, 1)).all():
        raise InputError(
            "`Dale_rec` must have +1 or -1 on its diagonal for each unit: pass the file as it was saved"
        )
    return signs.tolist()
