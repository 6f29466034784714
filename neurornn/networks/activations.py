"""Activation functions by name: value, derivative, and the range that they map into."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurornn.vocabulary import InputError, unknown_name

Elementwise = Callable[[Tensor], Tensor]

UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity.

    Attributes
    ----------
    name : str
        Its registered name, with its parameter where that is not the default; a callable that was never
        registered has none (the empty string).
    function : callable
        Tensor -> tensor of the same shape, differentiable by torch.
    bounds : (float, float)
        Smallest and largest value it can take or come near to, -inf and inf where there is none.
    closed_form_derivative : callable or None
        Tensor -> tensor of the same shape; None leaves the derivative to automatic differentiation.
    """

    name: str
    function: Elementwise
    bounds: tuple[float, float] = UNBOUNDED
    # One function has one derivative: it tells nothing apart.
    closed_form_derivative: Elementwise | None = field(default=None, compare=False)

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

    @property
    def is_bounded(self) -> bool:
        """Whether its values have both a smallest and a largest bound."""
        return all(map(math.isfinite, self.bounds))

    @property
    def is_nonnegative(self) -> bool:
        """Whether no value is below zero, as of a firing rate."""
        return self.bounds[0] >= 0

    @property
    def module(self) -> torch.nn.Module | None:
        """The function where it is a module, which may have parameters to train and to save; else None."""
        return self.function if isinstance(self.function, torch.nn.Module) else None


@dataclass(frozen=True)
class _Told:
    """A function of u that is told what else it needs.

    Unlike a closure it can be pickled, and its copy is told the copy of a module; unlike
    `functools.partial` two of one function and one number are equal.
    """

    function: Callable[[Tensor, Any], Tensor]
    parameter: Any

    def __call__(self, u: Tensor) -> Tensor:
        return self.function(u, self.parameter)


def _tanh_derivative(u: Tensor) -> Tensor:
    return 1 - torch.tanh(u) ** 2


def _relu_derivative(u: Tensor) -> Tensor:
    return (u > 0).to(u.dtype)


def _softplus_derivative(u: Tensor) -> Tensor:
    # torch's softplus is linear above 20, where its derivative 1 and sigmoid(20) differ by 2e-9: below
    # what float64 analysis resolves of a fixed point, and the threshold is torch's, so it is followed.
    return torch.where(u > 20, torch.ones_like(u), torch.sigmoid(u))


def _sigmoid_derivative(u: Tensor) -> Tensor:
    value = torch.sigmoid(u)
    return value * (1 - value)


def _identity(u: Tensor) -> Tensor:
    # A tensor of its own, as from every other activation: writing into it leaves the input as it is.
    return u.clone()


def _hard_tanh_derivative(u: Tensor) -> Tensor:
    return (u.abs() < 1).to(u.dtype)


def _softsign_derivative(u: Tensor) -> Tensor:
    return (1 + u.abs()) ** -2


def _bent_identity(u: Tensor) -> Tensor:
    # sqrt(u^2 + 1) - 1 = u^2 / (sqrt(u^2 + 1) + 1), which near zero does not cancel.
    return u + u * (u / (2 * (torch.hypot(u, torch.ones_like(u)) + 1)))


def _bent_identity_derivative(u: Tensor) -> Tensor:
    return 1 + u / (2 * torch.hypot(u, torch.ones_like(u)))


def _retanh(u: Tensor) -> Tensor:
    return torch.relu(torch.tanh(u))


def _retanh_derivative(u: Tensor) -> Tensor:
    return torch.where(u > 0, _tanh_derivative(u), 0)


def _leaky_relu_derivative(u: Tensor, slope: float) -> Tensor:
    return torch.where(u > 0, torch.ones_like(u), slope)


def _elu_derivative(u: Tensor, alpha: float) -> Tensor:
    # The branch that is not taken must stay finite too, or its gradient would be NaN.
    return torch.where(u > 0, torch.ones_like(u), alpha * torch.exp(u.clamp(max=0)))


def _swish(u: Tensor, beta: float) -> Tensor:
    return u * torch.sigmoid(beta * u)


def _swish_derivative(u: Tensor, beta: float) -> Tensor:
    value = torch.sigmoid(beta * u)
    # 1 - value without cancellation, and multiplied in an order in which nothing overflows.
    return value + u * (beta * (value * torch.sigmoid(-beta * u)))


def _power_law(u: Tensor, exponent: float) -> Tensor:
    # Through [u]_+^n itself a second derivative would be 0 times infinity where u <= 0 and n < 2.
    silent = u <= 0
    return torch.where(silent, 0, torch.where(silent, 1, u) ** exponent)


def _power_law_derivative(u: Tensor, exponent: float) -> Tensor:
    return torch.where(u <= 0, 0, exponent * _power_law(u, exponent - 1))


def _parametric_relu_derivative(u: Tensor, module: torch.nn.PReLU) -> Tensor:
    return torch.where(u > 0, torch.ones_like(u), module.weight.squeeze())


def _parametric_relu(module: torch.nn.PReLU) -> Activation:
    derivative = _Told(_parametric_relu_derivative, module)
    return Activation("parametric_relu", module, UNBOUNDED, derivative)


# The minimum of u sigmoid(u) is -0.278464542761073795...; the last digits leave room for rounding.
_SWISH_MINIMUM = -0.2784645427610741


@dataclass(frozen=True)
class _Family:
    """Activations that differ by one number, which the name holds in parentheses.

    ``plain`` is torch's own function of the default, where it has one, so that it is known by itself.
    """

    default: float
    needs: str
    allows: Callable[[float], bool]
    function: Callable[[Tensor, Any], Tensor]
    derivative: Callable[[Tensor, Any], Tensor]
    bounds: Callable[[float], tuple[float, float]]
    plain: Elementwise | None = None

    def member(self, name: str, parameter: float) -> Activation:
        """Return the activation of one parameter, named as it is written for short."""
        function: Elementwise = _Told(self.function, parameter)
        if parameter == self.default:
            function = self.plain or function
        else:
            name = f"{name}({repr(parameter).removesuffix('.0')})"
        return Activation(name, function, self.bounds(parameter), _Told(self.derivative, parameter))


_FAMILIES = {
    "leaky_relu": _Family(
        default=0.01,
        needs="a slope of at least 0 and below 1",
        allows=lambda slope: 0 <= slope < 1,
        function=functional.leaky_relu,
        derivative=_leaky_relu_derivative,
        bounds=lambda slope: UNBOUNDED if slope > 0 else (0.0, math.inf),
        plain=functional.leaky_relu,
    ),
    "elu": _Family(
        default=1.0,
        needs="an alpha above 0",
        allows=lambda alpha: 0 < alpha < math.inf,
        function=functional.elu,
        derivative=_elu_derivative,
        bounds=lambda alpha: (-alpha, math.inf),
        plain=functional.elu,
    ),
    "swish": _Family(
        default=1.0,
        needs="a beta above 0",
        allows=lambda beta: 0 < beta < math.inf,
        function=_swish,
        derivative=_swish_derivative,
        bounds=lambda beta: (_SWISH_MINIMUM / beta, math.inf),
        plain=functional.silu,
    ),
    "power_law": _Family(
        default=2.0,
        needs="an exponent of at least 1, below which the slope at 0 is infinite",
        allows=lambda exponent: 1 <= exponent < math.inf,
        function=_power_law,
        derivative=_power_law_derivative,
        bounds=lambda exponent: (0.0, math.inf),
    ),
}


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("tanh", torch.tanh, (-1.0, 1.0), _tanh_derivative),
        Activation("relu", torch.relu, (0.0, math.inf), _relu_derivative),
        Activation("softplus", functional.softplus, (0.0, math.inf), _softplus_derivative),
        Activation("sigmoid", torch.sigmoid, (0.0, 1.0), _sigmoid_derivative),
        Activation("identity", _identity, UNBOUNDED, torch.ones_like),
        Activation("hard_tanh", functional.hardtanh, (-1.0, 1.0), _hard_tanh_derivative),
        *(family.member(name, family.default) for name, family in _FAMILIES.items()),
        Activation("softsign", functional.softsign, (-1.0, 1.0), _softsign_derivative),
        Activation("bent_identity", _bent_identity, UNBOUNDED, _bent_identity_derivative),
        Activation("retanh", _retanh, (0.0, 1.0), _retanh_derivative),
        _parametric_relu(torch.nn.PReLU()),
    )
}
"""Every activation by its name, those with a parameter at its default; `get_activation` has the formulas.

What has a module of its own, such as ``parametric_relu``, is here as a template: take it by
`get_activation`, which copies it.
"""


def get_activation(activation: str | Elementwise | Activation) -> Activation:
    """Return an activation by name, or wrap a callable.

    ===================== =========================================== ======================
    name                  f(u)                                        bounds
    ===================== =========================================== ======================
    ``tanh``              tanh(u)                                     (-1, 1)
    ``relu``              max(u, 0)                                   (0, inf)
    ``softplus``          log(1 + exp(u))                             (0, inf)
    ``sigmoid``           1 / (1 + exp(-u))                           (0, 1)
    ``identity``          u                                           (-inf, inf)
    ``hard_tanh``         min(max(u, -1), 1)                          (-1, 1)
    ``leaky_relu(0.01)``  u above 0, slope u below                    (-inf, inf)
    ``elu(1)``            u above 0, alpha (exp(u) - 1) below         (-alpha, inf)
    ``swish(1)``          u / (1 + exp(-beta u))                      (-0.2785 / beta, inf)
    ``power_law(2)``      max(u, 0)^exponent                          (0, inf)
    ``softsign``          u / (1 + abs(u))                            (-1, 1)
    ``bent_identity``     (sqrt(u^2 + 1) - 1) / 2 + u                 (-inf, inf)
    ``retanh``            max(tanh(u), 0)                             (0, 1)
    ``parametric_relu``   u above 0, a trained slope (0.25) u below   (-inf, inf)
    ===================== =========================================== ======================

    The number in parentheses is the default of a parameter, and the plain name stands for it. At a kink the
    derivative is the one that torch takes.

    Parameters
    ----------
    activation : str, callable or Activation
        A name of the table or of `register_activation`, with another parameter in parentheses where the
        table has one; or any function of tensors that acts on each entry by itself.

    Returns
    -------
    Activation
        The registered one where the function is known. One whose function is a registered module, such as
        ``parametric_relu``, comes with a fresh copy of that module, so that no two networks train the same
        parameters.

    Raises
    ------
    InputError
        Where the name is unknown, and then the nearest one is offered, or the parameter is out of range.

    References
    ----------
    Ahmadian, Y., Rubin, D. B. & Miller, K. D. (2013). Analysis of the stabilized supralinear network. Neural
    Computation 25, 1994-2037 (``power_law``). doi:10.1162/NECO_a_00472

    Clevert, D.-A., Unterthiner, T. & Hochreiter, S. (2016). Fast and accurate deep network learning by
    exponential linear units (ELUs). ICLR (``elu``). doi:10.48550/arXiv.1511.07289

    Elfwing, S., Uchibe, E. & Doya, K. (2018). Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning. Neural Networks 107, 3-11 (``swish``).
    doi:10.1016/j.neunet.2017.12.012

    He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification. ICCV, 1026-1034 (``parametric_relu``). doi:10.1109/ICCV.2015.123

    Examples
    --------
    >>> get_activation("power_law(1.5)")(torch.tensor([-1.0, 4.0])).tolist()
    [0.0, 8.0]
    >>> get_activation("power_law(2.0)").name
    'power_law'
    >>> get_activation("parametric_relu").module
    PReLU(num_parameters=1)
    """
    if isinstance(activation, str):
        found = ACTIVATIONS.get(activation) or _with_parameter(activation)
    elif isinstance(activation, Activation):
        found = activation
    elif callable(activation):
        known = (own for own in ACTIVATIONS.values() if own.function is activation)
        found = next(known, None) or _wrapped(activation)
    else:
        raise InputError(f"`activation` must be a name or a callable, got {type(activation).__name__}")
    if found.module is not None and found is ACTIVATIONS.get(found.name):
        return copy.deepcopy(found)
    return found


def _wrapped(function: Elementwise) -> Activation:
    """Return the activation of a function that is not registered."""
    if type(function) is torch.nn.PReLU and function.num_parameters == 1:
        return _parametric_relu(function)
    return Activation("", function)


def _split(name: str) -> tuple[str, str] | None:
    """Return a name's word and what is in its parentheses, or None where it has none."""
    parts = re.fullmatch(r"\s*([^()]*[^()\s])\s*\(([^()]*)\)\s*", name)
    return None if parts is None else (parts[1], parts[2].strip())


def _with_parameter(text: str) -> Activation:
    """Return the activation of a name such as "elu(0.5)".

    Raises
    ------
    InputError
        Where there is no such activation, or it takes no such parameter.
    """
    split = _split(text)
    if split is None or split[0] not in ACTIVATIONS:
        unknown_name("activation", text, ACTIVATIONS)
    name, given = split
    if name not in _FAMILIES:
        raise InputError(f"activation {name!r} takes no parameter, got {text!r}: write {name!r}")
    try:
        # Minus zero is the same slope as zero.
        parameter = float(given) + 0.0
    except ValueError:
        parameter = math.nan
    family = _FAMILIES[name]
    if not family.allows(parameter):
        example = f"{name}({family.default:g})"
        raise InputError(f"activation {name!r} needs {family.needs}, got {text!r}: write it as {example!r}")
    return ACTIVATIONS[name] if parameter == family.default else _member(name, parameter)


@functools.lru_cache(maxsize=256)
def _member(name: str, parameter: float) -> Activation:
    return _FAMILIES[name].member(name, parameter)


def register_activation(
    name: str, function: Elementwise, *, bounds: tuple[float, float] | None = None
) -> None:
    """Give a callable a name, so that networks with it can be saved and rebuilt.

    Parameters
    ----------
    name : str
        A new name.
    function : callable
        Tensor -> tensor of the same shape, acting on each entry by itself, differentiable by torch. Of a
        torch module every network gets a copy of its own.
    bounds : (float, float), optional
        Smallest and largest value it can take, -inf or inf where there is none on that side. Fixed-point
        analysis then knows the box that the network's state cannot leave.

    Raises
    ------
    InputError
        Where the name is taken by another function, the bounds are no pair of a lower and a higher number,
        or the function does not keep its input's shape.

    Examples
    --------
    >>> register_activation("cubed_tanh", lambda u: torch.tanh(u) ** 3, bounds=(-1.0, 1.0))
    >>> float(get_activation("cubed_tanh")(torch.tensor(0.0)))
    0.0
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"an activation's name must be a word, got {name!r}")
    taken, split = ACTIVATIONS.get(name), _split(name)
    if (taken is not None and taken.function is not function) or (split and split[0] in _FAMILIES):
        raise InputError(f"the activation name {name!r} is taken: choose another")
    pair = UNBOUNDED if bounds is None else _as_bounds(name, bounds)
    probe = torch.linspace(-1, 1, 6).reshape(2, 3)
    result = function(probe)
    if not isinstance(result, Tensor) or result.shape != probe.shape:
        raise InputError(f"activation {name!r} must return a tensor of its input's shape")
    ACTIVATIONS[name] = Activation(name, function, pair)


def _as_bounds(name: str, bounds: Any) -> tuple[float, float]:
    """Return bounds as two floats, refusing what is no pair of a lower and a higher number."""

    def refuse() -> NoReturn:
        raise InputError(
            f"the bounds of activation {name!r} must be a pair (low, high) of numbers with low < high, got "
            f"{bounds!r}: use -inf or inf where there is no bound"
        )

    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        refuse()
    low, high = bounds
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            refuse()
    if not low < high:
        refuse()
    return float(low), float(high)
