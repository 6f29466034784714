"""How arrays lie for the kernel: whole tiles of trials and units, weights in panels, trials in slices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurornn.engine.fused.tiles import FEW_ROWS, LANES, PANEL, ROWS

MOST_SLICES = 16
"""Each slice has a recurrent weight's gradient of its own until they are added."""


def _round_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def padded_trials(n_trials: int) -> int:
    """Return a number of trials, or of rows of a gradient, in whole tiles."""
    return _round_up(n_trials, ROWS)


def padded_units(n_units: int) -> int:
    """Return a number of units in whole registers, and in whole tiles of a gradient's rows."""
    return _round_up(n_units, max(LANES, ROWS))


def padded_channels(n_channels: int) -> int:
    """Return a number of input or output channels in whole tiles of a gradient's rows."""
    return _round_up(n_channels, FEW_ROWS)


def slices(n_trials: int) -> tuple[int, int]:
    """Return into how large slices, and how many, trials in whole tiles are cut: by their number alone."""
    size = ROWS * -(-n_trials // (ROWS * MOST_SLICES))
    return size, -(-n_trials // size)


def padded(tensor: Tensor, *shape: int) -> Tensor:
    """Return the tensor with zeros up to a shape, itself where it has it."""
    if tensor.shape == shape:
        return tensor.contiguous()
    whole = tensor.new_zeros(shape)
    whole[tuple(slice(count) for count in tensor.shape)] = tensor
    return whole


def whole_rows(inputs: Tensor) -> Tensor:
    """Return inputs (time, trial, input_channel) in whole tiles; as they lie where they are that."""
    n_steps, n_trials, n_channels = inputs.shape
    shape = (n_steps, padded_trials(n_trials), padded_channels(n_channels))
    return inputs if inputs.shape == shape and inputs.stride(2) == 1 else padded(inputs, *shape)


def along_units(value: float | Tensor, n_units: int) -> Tensor:
    """Return a number for every unit."""
    whole = torch.zeros(padded_units(n_units), dtype=torch.float32, device="cpu")
    whole[:n_units] = value
    return whole


def panels(matrix: Tensor, columns: int = PANEL) -> Tensor:
    """Return a matrix as (panel, row, column), the last panel filled up with zeros."""
    depth, width = matrix.shape
    count = -(-width // columns)
    whole = padded(matrix, depth, count * columns)
    return whole.view(depth, count, columns).transpose(0, 1).contiguous()


def few_columns(matrix: Tensor) -> Tensor:
    """Return panels of a matrix that often has few columns: no wider than it needs."""
    width = matrix.shape[1]
    return panels(matrix, 4 if width <= 4 else 8 if width <= 8 else 16)


def with_zeros(matrix: Tensor) -> Tensor:
    """Return a matrix with a row of zeros below it, as the bias of a projection that has none."""
    return padded(matrix, len(matrix) + 1, matrix.shape[1])


def projection(matrix: Tensor | None) -> Tensor:
    """Return panels for a product with few columns and nothing added; empty where there is none."""
    if matrix is None:
        return torch.empty(0, 0, 4, dtype=torch.float32, device="cpu")
    return few_columns(with_zeros(matrix))


def width_of(panels: Tensor) -> int:
    """Return the number of columns of panels, with their filling."""
    return len(panels) * panels.shape[2]


def width_of_panels(n_units: int) -> int:
    """Return the number of columns of whole panels of units."""
    return _round_up(n_units, PANEL)


def for_numba(*arguments: Any) -> tuple[Any, ...]:
    """Return tensors as NumPy arrays of the same memory, the rest as it is."""
    return tuple(own.detach().numpy() if isinstance(own, Tensor) else own for own in arguments)
