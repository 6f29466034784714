"""Gain functions of theories: by name, from a network, or any torch function; values and slopes of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurornn.vocabulary import InputError, unknown_name

_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "erf": torch.erf,
    "hard_tanh": lambda u: u.clamp(-1, 1),
    "identity": lambda u: 1.0 * u,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "tanh": torch.tanh,
}

_LOG_SLOPE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "erf": lambda u: np.log(2 / np.sqrt(np.pi)) - u**2,
    "sigmoid": lambda u: -np.logaddexp(0, u) - np.logaddexp(0, -u),
    "softplus": lambda u: -np.logaddexp(0, -u),
    "tanh": lambda u: 2 * (np.log(2) - np.abs(u) - np.log1p(np.exp(-2 * np.abs(u)))),
}
"""ln f', where f' itself is beyond float64: units far in saturation weigh most in its mean."""


class GainFunction:
    """An elementwise function with its slope, on arrays in float64.

    Parameters
    ----------
    activation : str or callable
        A name ("tanh", "relu", ...), a network's ``activation``, or a torch function.

    Raises
    ------
    InputError
        Where there is no such name, or it is not a function.

    Examples
    --------
    >>> relu = GainFunction("relu")
    >>> relu(np.array([-1.0, 2.0])), relu.slope(np.array([-1.0, 2.0]))
    (array([0., 2.]), array([0., 1.]))
    """

    def __init__(self, activation: str | Callable[[Tensor], Tensor] | Any) -> None:
        if isinstance(activation, str):
            if activation not in _BY_NAME:
                unknown_name("activation", activation, _BY_NAME)
            self.name = activation
            self._function = _BY_NAME[activation]
        elif callable(activation):
            self.name = str(getattr(activation, "name", "") or getattr(activation, "__name__", "function"))
            self._function = activation
        else:
            raise InputError(
                "`activation` must be a name, a network's activation or a torch function, got "
                f"{type(activation).__name__}"
            )
        self._slope = getattr(activation, "derivative", None)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Return f(u)."""
        with torch.no_grad():
            return self._function(torch.as_tensor(np.asarray(u, float))).numpy()

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Return f'(u), by automatic differentiation where it is not told."""
        point = torch.as_tensor(np.asarray(u, float))
        if self._slope is not None:
            with torch.no_grad():
                return self._slope(point).numpy()
        with torch.enable_grad():
            point = point.clone().requires_grad_()
            value = self._function(point).sum()
        return torch.autograd.grad(value, point)[0].numpy()

    def log_slope(self, u: np.ndarray) -> np.ndarray:
        """Return ln |f'(u)|, minus infinity where the function is flat."""
        known = _LOG_SLOPE.get(self.name)
        if known is not None:
            return known(np.asarray(u, float))
        with np.errstate(divide="ignore"):
            return np.log(np.abs(self.slope(u)))
