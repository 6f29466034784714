"""Lyapunov exponents: how fast neighbouring trajectories part, direction by direction.

Reads a network, cell or function, alone or driven. Gives exponents with errors, dimension and entropy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurornn import seeding
from neurornn.analysis.maps import StateMap
from neurornn.numerics.exponents import Orthonormal, batch_error, dimension, interval, stretches
from neurornn.vocabulary import INPUT_CHANNEL, MODE, InputError, need_count, need_finite, need_positive

LONGEST_INTERVAL = 50
N_FIRST_LOOK = 60
"""Steps before the first that counts, from which the interval between orthonormalisations is chosen."""


@torch.no_grad()
def lyapunov(
    network_or_map: Any,
    *,
    inputs: Any = None,
    initial_state: Any = None,
    n_exponents: int | None = None,
    n_steps: int = 3000,
    n_warmup: int = 500,
    dt: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return the Lyapunov exponents along one trajectory.

    Orthonormal directions are carried along by the derivative of every step, and made orthonormal again
    before the slowest is lost in the rounding of the fastest (Benettin et al. 1980): as often as the spread
    of the exponents asks for, which is measured before the first step that counts.

    Parameters
    ----------
    network_or_map : network or callable
        With ``step`` and, where known, ``jacobian``; or a torch function ``state (..., n) -> next state``. Of
        a flow pass its map, such as `flow_map(f, dt)`.
    inputs : array, optional
        Of a network: zero by default; one constant input ``(input_channel,)``; or a drive ``(time,
        input_channel)`` of at least ``n_warmup + n_steps`` steps.
    initial_state : array, shape (state_variable,), optional
        Where the trajectory begins; drawn from a normal distribution, within the bounds of the state, by
        default. Of a function it says how many variables there are.
    n_exponents : int, optional
        How many of the largest; all by default. A few of a large network cost little.
    n_steps : int
        Steps that count. 3000 give a network of 400 units in chaos its largest exponent to about .003.
    n_warmup : int
        Steps before, for the trajectory to reach its attractor and the directions to settle.
    dt : float, optional
        Length of a step in ms, for exponents per ms; the network's own by default.
    seed : int
        Seed of the initial state and directions.

    Returns
    -------
    xarray.Dataset
        ``lyapunov_exponent (mode,)`` per step, descending, -inf where the map is singular along the
        trajectory; ``standard_error``, from the means of 20 stretches; ``lyapunov_exponent_per_ms`` where dt
        is known; ``dimension``, of Kaplan and Yorke, NaN where more exponents are needed; ``entropy``, the
        sum of the positive ones, an upper bound of the metric entropy (Pesin), per step;
        ``final_state (state_variable,)``. Attributes: ``n_steps``, ``n_warmup``, ``interval``, ``seed``.

    Raises
    ------
    InputError
        Where sizes do not fit, or the trajectory leaves the range of numbers.

    Notes
    -----
    In Methods: "Lyapunov exponents were computed from the derivatives of the update along a trajectory of
    3000 steps after 500 steps of transient, with repeated QR decomposition (Benettin et al. 1980)."

    A positive exponent is chaos in the map as simulated. Near its onset finite networks are not those of
    mean-field theory: of 256 units at g = 1.1 the largest exponent can be negative.

    References
    ----------
    Benettin, G., Galgani, L., Giorgilli, A. & Strelcyn, J.-M. (1980). Lyapunov characteristic exponents for
    smooth dynamical systems and for Hamiltonian systems. Meccanica 15, 9-30. doi:10.1007/BF02128237

    Engelken, R., Wolf, F. & Abbott, L. F. (2023). Lyapunov spectra of chaotic recurrent neural networks.
    Physical Review Research 5, 043044. doi:10.1103/PhysRevResearch.5.043044

    Examples
    --------
    A linear map grows along its eigenvectors.

    >>> grow = torch.diag(torch.tensor([1.1, 0.8], dtype=torch.float64))
    >>> found = lyapunov(lambda state: state @ grow, initial_state=[0.0, 0.0], n_steps=200)
    >>> bool(np.allclose(found.lyapunov_exponent, np.log([1.1, 0.8])))
    True
    """
    n_steps, n_warmup = need_count(n_steps, "n_steps"), need_count(n_warmup, "n_warmup", least=0)
    path = Path.of(network_or_map, inputs, n_warmup + n_steps)
    rng = seeding.numpy_stream(seed, seeding.LYAPUNOV)
    state = path.first_state(initial_state, rng)
    n = len(state)
    kept = n if n_exponents is None else need_count(n_exponents, "n_exponents")
    if kept > n:
        raise InputError(f"`n_exponents` must be at most the number of state variables {n}, got {kept}")
    dt = path.dt if dt is None else need_positive(dt, "dt", "ms")

    carried = Orthonormal(torch.as_tensor(rng.standard_normal((n, kept))))
    first_look = min(N_FIRST_LOOK, n_warmup)
    state, _ = path.along(state, range(n_warmup - first_look), carried.directions[:, :0])
    logs = []
    for t in range(n_warmup - first_look, n_warmup):
        state, carried.directions = path.along(state, range(t, t + 1), carried.directions)
        logs.append(carried.grown())
    # Directions need some steps to settle; without any to look at, none is trusted to.
    length = interval(np.array(logs[len(logs) // 2 :]), LONGEST_INTERVAL) if logs else 1
    grown, taken = [], []
    for stretch in stretches(n_steps, length):
        steps = range(n_warmup + stretch.start, n_warmup + stretch.stop)
        state, carried.directions = path.along(state, steps, carried.directions)
        grown.append(carried.grown())
        taken.append(len(stretch))
        if not bool(torch.isfinite(state).all()):
            raise InputError(
                f"the trajectory left the range of numbers after {n_warmup + stretch.stop} steps: it has no "
                "exponents; start elsewhere, or look at a network whose states are bounded"
            )
    exponents = np.sum(grown, 0) / n_steps
    # Stretches of unequal length (the last one) would weigh too much in an error of rates.
    rates = np.array(grown)[np.array(taken) == length] / length
    order = np.argsort(-exponents, kind="stable")
    exponents, errors = exponents[order], batch_error(rates)[order]
    whole = kept == n
    found = xr.Dataset(
        {
            "lyapunov_exponent": (MODE, exponents, {"units": "1/step"}),
            "standard_error": (MODE, errors, {"units": "1/step"}),
            "dimension": _dimension(exponents, whole),
            "entropy": ((), float(exponents[exponents > 0].sum()), {"units": "1/step"}),
            "final_state": ("state_variable", state.numpy()),
        },
        coords={MODE: np.arange(kept)},
        attrs={"n_steps": n_steps, "n_warmup": n_warmup, "interval": length, "seed": int(seed)},
    )
    if dt is not None:
        found["lyapunov_exponent_per_ms"] = MODE, exponents / dt, {"units": "1/ms"}
        found.attrs["dt"] = float(dt)
    return found


def _dimension(exponents: np.ndarray, whole: bool) -> float:
    """Return the dimension; all directions where no volume shrinks."""
    found = dimension(exponents)
    return float(len(exponents)) if whole and np.isnan(found) else found


def flow_map(flow: Callable[[Tensor], Tensor], dt: float) -> Callable[[Tensor], Tensor]:
    """Return the map that takes a state of a flow one step on, by Runge and Kutta's method of fourth order.

    Parameters
    ----------
    flow : callable
        A torch function ``state (..., n) -> dstate/dt``.
    dt : float
        Length of a step, in the flow's own unit of time.

    Returns
    -------
    callable
        For `lyapunov`, `find_fixed_points` and others that take a map.

    Examples
    --------
    >>> decay = flow_map(lambda state: -0.9 * state, 0.01)
    >>> found = lyapunov(decay, initial_state=[1.0], n_steps=100, n_warmup=0, dt=0.01)
    >>> round(float(found.lyapunov_exponent_per_ms[0]), 6)
    -0.9
    """
    need_positive(dt, "dt", "the flow's unit of time")

    def step(state: Tensor) -> Tensor:
        one = flow(state)
        two = flow(state + dt / 2 * one)
        three = flow(state + dt / 2 * two)
        four = flow(state + dt * three)
        return state + dt / 6 * (one + 2 * two + 2 * three + four)

    return step


class Path:
    """A map of states in float64 with the inputs of every step, and the products of its derivative."""

    def __init__(self, system: StateMap, drive: Tensor | None) -> None:
        self._system, self._drive = system, drive
        self._network = cast(Any, system.network)
        self.dt = system.dt
        form = self._form = system.form
        self._leaky = system.has_leak
        self._alpha = system.alpha if form is None else form.alpha.expand(len(form.drive))
        if form is not None and drive is not None:
            # What comes to the units from outside, for all steps at once; the constant input was zero.
            outside = drive @ self._network.input_weight.t()
            self._outside: Tensor | None = form.drive + outside
        else:
            self._outside = None

    @classmethod
    def of(cls, network_or_map: Any, inputs: Any, n_needed: int) -> Path:
        """Read a network or function, and its inputs."""
        if inputs is None:
            return cls(StateMap(network_or_map), None)
        if not hasattr(network_or_map, "step"):
            raise InputError("`inputs` has no meaning for a function of the state alone: leave it out")
        values = inputs.transpose(..., INPUT_CHANNEL) if isinstance(inputs, xr.DataArray) else inputs
        values = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, float)
        need_finite(values, "inputs")
        if values.ndim == 1:
            return cls(StateMap(network_or_map, values), None)
        size = int(network_or_map.input_size)
        if values.ndim != 2 or values.shape[1] != size:
            raise InputError(
                f"`inputs` must have shape (input_channel={size},), or (time, input_channel={size}) for a "
                f"drive, got {values.shape}"
            )
        if len(values) < n_needed:
            raise InputError(
                f"`inputs` drives for {len(values)} steps, and n_warmup + n_steps are {n_needed}: give a "
                "longer drive, or take fewer steps"
            )
        return cls(StateMap(network_or_map), torch.as_tensor(values))

    def first_state(self, given: Any, rng: np.random.Generator) -> Tensor:
        """Return the state that the trajectory begins at."""
        size = getattr(self._system.network, "state_size", None)
        if given is None:
            if size is None:
                raise InputError(
                    "`initial_state` is needed for a function, which does not tell how many variables it "
                    "has: give one state"
                )
            state = torch.as_tensor(rng.standard_normal(int(size)))
            bounds = self._system.bounds()
            return state if bounds is None else state.clamp(*bounds)
        values = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
        state = torch.as_tensor(np.array(values, float))
        if state.ndim != 1 or (size is not None and len(state) != size) or not len(state):
            wanted = "state_variable" if size is None else f"state_variable={size}"
            raise InputError(f"`initial_state` must have shape ({wanted},), got {tuple(state.shape)}")
        need_finite(state.numpy(), "initial_state")
        return state

    def step(self, state: Tensor, t: int) -> Tensor:
        """Return the state after step t."""
        if self._drive is None:
            return self._system.step(state[None])[0]
        return self._network.step(state[None], self._drive[t])[0]

    def along(self, state: Tensor, steps: range, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after some steps, and where they take directions (variable, direction)."""
        form = self._form
        if form is None:
            for t in steps:
                if directions.shape[1]:
                    directions = self._jacobian(state, t) @ directions
                state = self.step(state, t)
            return state, directions
        # The states first, and the slopes of all of them at once. Then one product with the weights a step
        # takes the directions on: no derivative of (unit, unit) is ever made.
        f, weight, dynamics, leaky = form.activation, form.weight, form.dynamics, self._leaky
        if not len(steps):
            return state, directions
        arguments = []
        for t in steps:
            drive = form.drive if self._outside is None else self._outside[t]
            if dynamics == "current":
                arguments.append(state)
                state = torch.lerp(state, torch.addmv(drive, weight, f(state)), self._alpha)
                continue
            driven = torch.addmv(drive, weight, state)
            if dynamics == "leak_inside":
                driven = torch.lerp(state, driven, self._alpha)
            arguments.append(driven)
            on = f(driven)
            state = torch.lerp(state, on, self._alpha) if leaky and dynamics == "rate" else on
        slopes = f.derivative(torch.stack(arguments))[:, :, None] if directions.shape[1] else ()
        for slope in slopes:
            if dynamics == "current":
                moved = weight @ (slope * directions)
            elif dynamics == "rate":
                moved = (weight @ directions).mul_(slope)
            else:
                moved = weight @ directions
            directions = torch.lerp(directions, moved, self._alpha[:, None]) if leaky else moved
            if dynamics == "leak_inside":
                directions = slope * directions
        return state, directions

    def _jacobian(self, state: Tensor, t: int) -> Tensor:
        if self._drive is None:
            return self._system.jacobian(state[None])[0]
        system = copy.copy(self._system)
        system.input = self._drive[t]
        if not hasattr(system.network, "jacobian"):
            system._step = lambda states: self._network.step(states, system.input)
        return system.jacobian(state[None])[0]
