"""What is solved for fixed points: the fewest unknowns y with T(y) = y, freed of leaks and gates.

Every family of networks is one `Equation`. Away from its solutions an equation says nothing of the network's
speed; only the solutions are the same. Minima of speed are sought on the map itself.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from neurornn.analysis.maps import RateForm, StateMap, is_smooth

Memo = tuple[Tensor, ...]
"""What the derivative at some unknowns is made of; all have one row for each."""


class Equation:
    """Unknowns y with T(y) = y, one solution for each fixed point of the network.

    Attributes
    ----------
    box : (Tensor, Tensor) or None
        Bounds that T takes into themselves: all solutions lie within, and the sum of their indices is 1.
    shares_slopes : bool
        Whether all derivatives are one matrix with its rows scaled, smoothly, so that one of them is a good
        preconditioner for the others.
    """

    box: tuple[Tensor, Tensor] | None = None
    shares_slopes = False

    def unknowns(self, states: Tensor) -> Tensor:
        """Return the unknowns that belong to states, shape (state, unknown)."""
        return states

    def states(self, unknowns: Tensor) -> Tensor:
        """Return the states at rest that belong to solutions, shape (solution, state_variable)."""
        return unknowns

    def evaluate(self, unknowns: Tensor) -> tuple[Tensor, Memo]:
        """Return T(y) - y, and what its derivative is made of."""
        raise NotImplementedError

    def matrices(self, memo: Memo, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return I - T'(y), shape (row, unknown, unknown)."""
        raise NotImplementedError


class MapEquation(Equation):
    """Any map, of which the step and its Jacobian are all that is known: T(x) - x = (F(x) - x) / alpha."""

    def __init__(self, system: StateMap) -> None:
        self.system = system
        self.box = system.bounds()

    def evaluate(self, unknowns: Tensor) -> tuple[Tensor, Memo]:
        """Return (F(x) - x) / alpha."""
        return self.system.residual(unknowns), (unknowns,)

    def matrices(self, memo: Memo, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return (I - J) / alpha."""
        return self.system.residual_slope(memo[0]).neg_().to(dtype)


class RateEquation(Equation):
    """Units that rest where r = f(W r + h), whatever the dynamics and the leak."""

    def __init__(self, form: RateForm) -> None:
        self.form = form
        self.weight, self.drive = form.weight, form.drive
        if form.dynamics == "leak_inside" and not form.is_rectified_linear:
            # f((1 - alpha) r + alpha (W r + h)); of a rectified linear unit the leak changes nothing at rest.
            self.weight = form.alpha * self.weight.T
            self.weight = self.weight.T + torch.diag((1 - form.alpha).expand(len(self.drive)))
            self.drive = form.alpha * self.drive
        self.weight = self.weight.contiguous()
        self.weights = {torch.float64: self.weight, torch.float32: self.weight.float()}
        low, high = form.activation.bounds
        if math.isfinite(low) and math.isfinite(high):
            self.box = (torch.full_like(self.drive, low), torch.full_like(self.drive, high))
        self.shares_slopes = is_smooth(form.activation)

    def unknowns(self, states: Tensor) -> Tensor:
        """Return the rates."""
        return self.form.activation(states) if self.form.dynamics == "current" else states

    def states(self, unknowns: Tensor) -> Tensor:
        """Return rates, or the currents that they cause."""
        return linear(unknowns, self.weight, self.drive) if self.form.dynamics == "current" else unknowns

    def evaluate(self, unknowns: Tensor) -> tuple[Tensor, Memo]:
        """Return f(W r + h) - r, and the slopes of f."""
        driven = linear(unknowns, self.weight, self.drive)
        return self.form.activation(driven) - unknowns, (self.form.activation.derivative(driven),)

    def matrices(self, memo: Memo, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return I - D W."""
        return _identity_minus(memo[0].to(dtype)[:, :, None] * self.weights[dtype])


class GRUEquation(Equation):
    """Gated recurrent units rest where h = n(h): the update gate says how fast, not where.

    Far outside the box the gate closes and the map seems at rest; this equation has no zeros there.
    """

    def __init__(self, cell: Any, constant_input: Tensor) -> None:
        self.n = cell.hidden_size
        self.outside = linear(constant_input, cell.weight_ih_l0, cell.bias_ih_l0)
        self.bias = cell.bias_hh_l0
        self.weights = _in_both_precisions(cell.weight_hh_l0)
        one = torch.ones(self.n, dtype=torch.float64)
        self.box = (-one, one)

    def evaluate(self, unknowns: Tensor) -> tuple[Tensor, Memo]:
        """Return n(h) - h."""
        n = self.n
        inside = linear(unknowns, self.weights[torch.float64], self.bias)
        reset = torch.sigmoid(self.outside[:n] + inside[:, :n])
        seen = inside[:, 2 * n :]
        new = torch.tanh(self.outside[2 * n :] + reset * seen)
        slope = 1 - new**2
        return new - unknowns, (slope * seen * reset * (1 - reset), slope * reset)

    def matrices(self, memo: Memo, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return I - n'(h)."""
        by_reset, by_new = (own.to(dtype)[:, :, None] for own in memo)
        weight, n = self.weights[dtype], self.n
        return _identity_minus(by_reset * weight[:n] + by_new * weight[2 * n :])


class LSTMEquation(Equation):
    """Long short-term memory at rest: c = i g / (1 - f) leaves h = o tanh(c), in which h alone is unknown.

    tanh(c) lies within (-1, 1) whatever the cells hold, so that h has a box although c has none. The sum of
    indices is that of the whole map: the cells' part of its determinant, the product of 1 - f, is positive.
    """

    def __init__(self, cell: Any, constant_input: Tensor) -> None:
        self.n = cell.hidden_size
        self.outside = linear(constant_input, cell.weight_ih_l0, cell.bias_ih_l0 + cell.bias_hh_l0)
        self.weights = _in_both_precisions(cell.weight_hh_l0)
        one = torch.ones(self.n, dtype=torch.float64)
        self.box = (-one, one)

    def unknowns(self, states: Tensor) -> Tensor:
        """Return h of states (h, c)."""
        return states[:, : self.n]

    def states(self, unknowns: Tensor) -> Tensor:
        """Return h with the cells that it keeps."""
        come_in, forget, new, _ = self._gates(unknowns)
        return torch.cat([unknowns, self._cells(come_in, forget, new)], dim=1)

    def evaluate(self, unknowns: Tensor) -> tuple[Tensor, Memo]:
        """Return o tanh(c) - h."""
        come_in, forget, new, out = self._gates(unknowns)
        i, f, g, o = torch.sigmoid(come_in), torch.sigmoid(forget), torch.tanh(new), torch.sigmoid(out)
        cell = self._cells(come_in, forget, new)
        squashed = torch.tanh(cell)
        through = o * (1 - squashed**2)
        by_new = through * i * (1 - g**2) / torch.sigmoid(-forget)
        by_gates = through * cell * (1 - i), through * cell * f, by_new, o * (1 - o) * squashed
        return o * squashed - unknowns, by_gates

    def matrices(self, memo: Memo, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return I - T'(h)."""
        parts = zip(memo, self.weights[dtype].split(self.n), strict=True)
        slope = sum(own.to(dtype)[:, :, None] * weight for own, weight in parts)
        assert isinstance(slope, Tensor)
        return _identity_minus(slope)

    def _gates(self, hidden: Tensor) -> tuple[Tensor, ...]:
        return linear(hidden, self.weights[torch.float64], self.outside).split(self.n, dim=1)

    @staticmethod
    def _cells(come_in: Tensor, forget: Tensor, new: Tensor) -> Tensor:
        # sigmoid(-x), not 1 - sigmoid(x), which is 0 already where a gate forgets 1e-17 of a cell.
        return torch.sigmoid(come_in) * torch.tanh(new) / torch.sigmoid(-forget)


def equation_of(system: StateMap) -> Equation:
    """Return what has to be solved for a map: the form with the fewest unknowns that is known of it."""
    if system.form is not None:
        return RateEquation(system.form)
    layers: Any = getattr(system.network, "layers", ())
    cell = getattr(layers[0], "cell", None) if len(layers) == 1 else None
    if isinstance(cell, torch.nn.GRU | torch.nn.LSTM) and cell.num_layers == 1 and not cell.bidirectional:
        kind = GRUEquation if isinstance(cell, torch.nn.GRU) else LSTMEquation
        equation = kind(cell, system.input)
        if _solves(equation, system):
            return equation
    return MapEquation(system)


def _solves(equation: Equation, system: StateMap) -> bool:
    """Return whether an equation is the network's: it and the map then move a state the same ways.

    A cell inside a network that does more would show here.
    """
    assert equation.box is not None
    probe = torch.cos(torch.arange(len(equation.box[0]), dtype=torch.float64))[None] / 2
    states = equation.states(probe)
    if states.shape[1] != getattr(system.network, "state_size", -1):
        return False
    # The gates of the map scale each variable's way by a positive number.
    way, wrong = system.residual(states)[:, : probe.shape[1]], equation.evaluate(probe)[0]
    return bool((way.sign() == wrong.sign()).all())


def _identity_minus(slope: Tensor) -> Tensor:
    slope = slope.neg_()
    slope.diagonal(dim1=1, dim2=2).add_(1)
    return slope


def _in_both_precisions(weight: Tensor) -> dict[torch.dtype, Tensor]:
    return {torch.float64: weight, torch.float32: weight.float()}
