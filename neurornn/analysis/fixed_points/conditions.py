"""The constant inputs under which a network is searched, by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from neurornn.vocabulary import INPUT_CHANNEL, InputError, need_dims, need_finite


def read_conditions(source: Any, inputs: Any, starts: Any) -> dict[str, np.ndarray | None]:
    """Return the constant inputs by label; None stands for zero, and for a function, which has no input.

    Raises
    ------
    InputError
        Where an input is not finite or has no fitting shape, or is left out for a recording whose inputs
        never vanish.
    """
    if inputs is None:
        if isinstance(starts, xr.Dataset) and "input" in starts and starts["input"].size:
            quiet = (starts["input"] == 0).all(INPUT_CHANNEL)
            if "valid" in starts:
                quiet = quiet & starts["valid"]
            if not bool(quiet.any()):
                raise InputError(
                    "`inputs` was left out, which means zero, but the recording's inputs never vanish: pass "
                    "the constant inputs that matter, for example inputs=task.constant_inputs()"
                )
        return {"zero input" if hasattr(source, "step") else "map": None}
    if isinstance(inputs, Mapping):
        if not inputs:
            raise InputError(
                "`inputs` is an empty dictionary: give at least one constant input, or None for zero"
            )
        return {str(label): _input(value, str(label)) for label, value in inputs.items()}
    if isinstance(inputs, xr.DataArray) and inputs.ndim == 2:
        need_dims(inputs, (INPUT_CHANNEL,), "inputs")
        inputs = inputs.transpose(..., INPUT_CHANNEL)
    values = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs, float)
    if values.ndim == 1:
        return {"constant input": _input(values, "inputs")}
    if values.ndim != 2 or not len(values):
        raise InputError(
            f"`inputs` must have shape (input_channel,) or (condition, input_channel), got {values.shape}"
        )
    return {f"input {k}": _input(value, "inputs") for k, value in enumerate(values)}


def _input(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, float)
    need_finite(array, name)
    return array
