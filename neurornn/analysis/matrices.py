"""Matrices and samples as they come in, from networks, tensors, labelled or plain arrays, made float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.vocabulary import COMPONENT, UNIT, InputError, need_dims, need_finite, need_variable

Matrix = np.ndarray | torch.Tensor | xr.DataArray


def real_array(values: Any, name: str) -> np.ndarray:
    """Return finite real numbers in float64, whatever holds them.

    Raises
    ------
    InputError
        Where they are not real numbers, or one is not finite.

    Examples
    --------
    >>> real_array(torch.ones(2, dtype=torch.bfloat16), "matrix")
    array([1., 1.])
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # numpy has no name for some of torch's types, such as bfloat16.
        values = values.numpy() if values.is_complex() else values.double().numpy()
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"`{name}` must be one array of numbers, got rows of unlike lengths") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"`{name}` must hold real numbers, got {array.dtype}")
    need_finite(array, name)
    return array.astype(np.float64)


def square_matrix(matrix: Any, name: str = "matrix") -> np.ndarray:
    """Return a square matrix in float64, of a network its recurrent weights.

    Parameters
    ----------
    matrix : array, Tensor, DataArray or network, shape (unit, unit)
        A network is anything with ``recurrent_weight``.
    name : str
        What the caller calls it, for the sentence.

    Returns
    -------
    ndarray, shape (unit, unit)

    Raises
    ------
    InputError
        Where it is not square, is empty, or has an entry that is not a finite real number.

    Examples
    --------
    >>> square_matrix(np.eye(2, dtype=int)).dtype
    dtype('float64')
    """
    array = real_array(getattr(matrix, "recurrent_weight", matrix), name)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise InputError(f"`{name}` must be square, shape (unit, unit), got {array.shape}")
    return array


def scaled(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a matrix whose largest entry is near 1, and the power of two that it was divided by.

    Squares of very large or very small entries are beyond float64; a power of two costs no digit.

    Examples
    --------
    >>> scaled(np.array([[6e200, 0.0]]))[0].round(2)
    array([[0.98, 0.  ]])
    """
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest == 0:
        return matrix, 1.0
    # One less at the very top, where the next power of two is infinite.
    exponent = min(int(np.frexp(largest)[1]), 1023)
    return np.ldexp(matrix, -exponent), float(np.ldexp(1.0, exponent))


def samples_of(data: Any, name: str, last: str | None = None) -> np.ndarray:
    """Return points as rows: rates by ``unit``, scores by ``component``, valid steps only.

    Parameters
    ----------
    data : xarray object, ndarray or Tensor
        A recording with ``rate``, a dataset of `pca` with ``score``, an array with ``unit`` or ``component``,
        or a plain array whose last axis is that of the variables.
    name : str
        What the caller calls it, for the sentence.
    last : {"unit", "component"}, optional
        The one that it must have; by default either.

    Returns
    -------
    ndarray, shape (sample, variable)

    Raises
    ------
    InputError
        Where the dimension is missing, there is no sample, or a valid one is not finite.

    Examples
    --------
    >>> samples_of(xr.DataArray(np.ones((2, 3, 4)), dims=("unit", "trial", "time")), "activity").shape
    (12, 2)
    """
    if not isinstance(data, xr.Dataset | xr.DataArray):
        array = real_array(data, name)
        if array.ndim < 2:
            raise InputError(
                f"`{name}` needs samples and variables, at least 2 axes, got an array of shape {array.shape}"
            )
        array = array.reshape(-1, array.shape[-1])
    else:
        along = last or (COMPONENT if COMPONENT in data.dims and UNIT not in _own_dims(data) else UNIT)
        need_dims(data, (along,), name)
        values = data
        if isinstance(data, xr.Dataset):
            values = need_variable(data, "score" if along == COMPONENT else "rate", name)
            need_dims(values, (along,), name)
        values = values.transpose(..., along)
        rows = values.to_numpy().reshape(-1, values.sizes[along])
        if isinstance(data, xr.Dataset) and "valid" in data:
            others = values.isel({along: 0}, drop=True)
            rows = rows[data["valid"].broadcast_like(others).transpose(*others.dims).to_numpy().ravel()]
        array = real_array(rows, name)
    if not array.size:
        raise InputError(f"`{name}` has no samples: record more trials or steps")
    return array


def _own_dims(data: xr.Dataset | xr.DataArray) -> tuple[Any, ...]:
    """Return the dimensions of the samples: a dataset of `pca` has ``unit`` too, but its scores do not."""
    if isinstance(data, xr.Dataset) and "score" in data and COMPONENT in data["score"].dims:
        return data["score"].dims
    return tuple(data.dims)
