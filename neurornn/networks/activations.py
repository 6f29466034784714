"""Activation functions by name: value, derivative, and the range that they map into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurornn.vocabulary import InputError, unknown_name

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity.

    Attributes
    ----------
    name : str
        Its registered name; a callable that was never registered has none (the empty string).
    function : callable
        Tensor -> tensor of the same shape, differentiable by torch.
    bounds : (float, float) or None
        Smallest and largest value it can take, None where it is unbounded.
    """

    name: str
    function: Elementwise
    bounds: tuple[float, float] | None = None
    closed_form_derivative: Elementwise | None = None

    def __call__(self, preactivation: Tensor) -> Tensor:
        """Return f(u)."""
        return self.function(preactivation)

    def derivative(self, preactivation: Tensor) -> Tensor:
        """Return f'(u), in closed form where known and by automatic differentiation otherwise."""
        if self.closed_form_derivative is not None:
            return self.closed_form_derivative(preactivation)
        with torch.enable_grad():
            point = preactivation.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.function(point).sum(), point)
        return slope


def _tanh_derivative(u: Tensor) -> Tensor:
    return 1 - torch.tanh(u) ** 2


def _relu_derivative(u: Tensor) -> Tensor:
    return (u > 0).to(u.dtype)


def _sigmoid_derivative(u: Tensor) -> Tensor:
    value = torch.sigmoid(u)
    return value * (1 - value)


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("tanh", torch.tanh, (-1.0, 1.0), _tanh_derivative),
        Activation("relu", torch.relu, None, _relu_derivative),
        # torch's softplus is linear above 20, where its derivative 1 and sigmoid(20) differ by 2e-9: below
        # what float64 analysis resolves of a fixed point, and the threshold is torch's, so it is followed.
        Activation(
            "softplus",
            torch.nn.functional.softplus,
            None,
            lambda u: torch.where(u > 20, torch.ones_like(u), torch.sigmoid(u)),
        ),
        Activation("sigmoid", torch.sigmoid, (0.0, 1.0), _sigmoid_derivative),
    )
}
"""Every activation by its name."""


def get_activation(activation: str | Elementwise | Activation) -> Activation:
    """Return an activation by name, or wrap a callable.

    Raises
    ------
    InputError
        Where the name is unknown; the nearest one is offered.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            unknown_name("activation", activation, ACTIVATIONS)
        return ACTIVATIONS[activation]
    if callable(activation):
        known = (own for own in ACTIVATIONS.values() if own.function is activation)
        return next(known, Activation("", activation))
    raise InputError(f"`activation` must be a name or a callable, got {type(activation).__name__}")


def register_activation(
    name: str, function: Elementwise, *, bounds: tuple[float, float] | None = None
) -> None:
    """Give a callable a name, so that networks with it can be saved and rebuilt.

    Parameters
    ----------
    name : str
        A new name.
    function : callable
        Tensor -> tensor of the same shape, acting on each entry by itself, differentiable by torch.
    bounds : (float, float), optional
        Smallest and largest value it can take. Fixed-point analysis then knows the box that the network's
        state cannot leave.

    Raises
    ------
    InputError
        Where the name is taken by another function, or the function does not keep its input's shape.

    Examples
    --------
    >>> register_activation("cubed_tanh", lambda u: torch.tanh(u) ** 3, bounds=(-1.0, 1.0))
    >>> float(get_activation("cubed_tanh")(torch.tensor(0.0)))
    0.0
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"an activation's name must be a word, got {name!r}")
    taken = ACTIVATIONS.get(name)
    if taken is not None and taken.function is not function:
        raise InputError(f"the activation name {name!r} is taken: choose another")
    probe = torch.linspace(-1, 1, 6).reshape(2, 3)
    result = function(probe)
    if not isinstance(result, Tensor) or result.shape != probe.shape:
        raise InputError(f"activation {name!r} must return a tensor of its input's shape")
    ACTIVATIONS[name] = Activation(name, function, bounds)
