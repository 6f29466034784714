"""The rate network: leaky units, one matrix of recurrent weights, a linear readout."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from neurornn import engine as engines
from neurornn import seeding
from neurornn.config import NetworkConfig
from neurornn.networks.activations import Activation, get_activation
from neurornn.networks.initialisation import gaussian
from neurornn.vocabulary import InputError, need_at_least_zero, need_choice, need_count, need_positive


class RateRNN(nn.Module):
    """A recurrent network of rate units.

    With ``alpha = dt / tau`` (1 where no ``tau`` is given), f the activation and s the noise::

        "rate"         r_t = (1 - alpha) r_{t-1} + alpha f(W_r r_{t-1} + W_x x_t + b + s_t)
        "current"      h_t = (1 - alpha) h_{t-1} + alpha (W_r f(h_{t-1}) + W_x x_t + b) + s_t,   r = f(h)
        "leak_inside"  r_t = f((1 - alpha) r_{t-1} + alpha (W_r r_{t-1} + W_x x_t + b + s_t))
        readout        y_t = W_y r_t + b_y

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of input channels, recurrent units and output channels.
    activation : str or callable
        ``"tanh"``, ``"relu"``, ``"softplus"``, ``"sigmoid"``, a name registered with
        `neurornn.register_activation`, or any elementwise function of tensors.
    dynamics : {"rate", "current", "leak_inside"}
        Where the leak stands. ``"leak_inside"`` is the form of the Primer's notebooks.
    tau, dt : float, optional
        Time constant and step in ms, given together. The step must equal that of the task it is trained on.
        Without them the network has no leak and takes the task's step.
    alpha : float, optional
        The leak itself, in place of ``tau`` and ``dt``, for a network whose time has no unit.
    noise_std : float
        Sigma of the recurrent noise. With a leak ``sqrt(2 / alpha) * sigma * N(0, 1)`` inside f (the
        convention of Yang et al. 2019), ``sqrt(2 * alpha) * sigma * N(0, 1)`` added in current dynamics;
        without a leak ``sigma * N(0, 1)``. Inside f only small noise is independent of dt, since f rectifies
        it; in current dynamics the limit is a true Ornstein-Uhlenbeck process.
    gain : float
        Recurrent weights begin Gaussian with standard deviation ``gain / sqrt(hidden_size)``; 1 puts them
        at the edge between decay and chaos.
    trainable_initial_state : bool
        Whether the state before the first step is learned; otherwise it is zero.
    engine : {"auto", "numba", "torch", "reference"}
        Which implementation of the scan over time; ``"auto"`` takes the fastest that can serve, and
        `neurornn.engine.explain` says which and why. It can be changed later, ``net.engine = "reference"``.
    seed : int
        Seed of the initial weights and of the network's own noise stream.
    device, dtype : optional
        As everywhere in torch; the dtype is torch's default where none is given.

    Raises
    ------
    InputError
        For a size below its least, ``dt > tau``, one of ``tau`` and ``dt`` without the other, a negative
        noise or an unknown name.

    Notes
    -----
    ``recurrent_weight[i, j]`` is from unit j to unit i. The recurrent noise is drawn in train mode only, from
    the network's own stream; in eval mode there is none unless a ``generator`` is passed.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2

    Examples
    --------
    >>> net = RateRNN(3, 64, 2, tau=100.0, dt=20.0, seed=0)
    >>> outputs, rates = net(torch.zeros(5, 50, 3))
    >>> outputs.shape, rates.shape, net.alpha
    (torch.Size([5, 50, 2]), torch.Size([5, 50, 64]), 0.2)
    """

    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor
    output_weight: Tensor
    output_bias: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        activation: str | Callable[[Tensor], Tensor] = "tanh",
        dynamics: str = "rate",
        tau: float | None = None,
        dt: float | None = None,
        alpha: float | None = None,
        noise_std: float = 0.0,
        gain: float = 1.0,
        trainable_initial_state: bool = False,
        engine: str = "auto",
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = need_count(input_size, "input_size", least=0)
        self.hidden_size = need_count(hidden_size, "hidden_size")
        self.output_size = need_count(output_size, "output_size", least=0)
        self.activation: Activation = get_activation(activation)
        self.dynamics = need_choice(dynamics, "dynamics", engines.DYNAMICS)
        self.tau, self.dt, self._alpha = _need_leak(tau, dt, alpha)
        self.noise_std = need_at_least_zero(noise_std, "noise_std")
        self.gain = need_at_least_zero(gain, "gain")
        self.trainable_initial_state = bool(trainable_initial_state)
        self.engine = engines.need_engine(engine)
        self.seed = seed
        self.training_record: dict[str, Any] = {}
        self._noise_generator: torch.Generator | None = None

        dtype = torch.get_default_dtype() if dtype is None else dtype
        stream = seeding.torch_stream(seed, seeding.INITIAL_WEIGHTS)

        def weight(rows: int, columns: int, spread: float) -> nn.Parameter:
            drawn = gaussian(rows, columns, gain=spread, generator=stream, dtype=dtype)
            return nn.Parameter(drawn.to(device))

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=dtype, device=device))

        n = self.hidden_size
        self.recurrent_weight = weight(n, n, self.gain)
        self.input_weight = weight(n, self.input_size, 1.0)
        self.bias = zeros(n)
        self.output_weight = weight(self.output_size, n, 1.0)
        self.output_bias = zeros(self.output_size)
        self.first_state = zeros(n) if self.trainable_initial_state else None

    # What the network is ------------------------------------------------------------------------------

    @property
    def state_size(self) -> int:
        """Number of state variables."""
        return self.hidden_size

    @property
    def has_leak(self) -> bool:
        """Whether a leak was given, be it 1."""
        return self.tau is not None or self._alpha is not None

    @property
    def alpha(self) -> float:
        """The leak dt / tau; 1 where there is none."""
        if self.tau is not None and self.dt is not None:
            return self.dt / self.tau
        return 1.0 if self._alpha is None else self._alpha

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise as it enters the equation at one step."""
        if not self.has_leak:
            return self.noise_std
        return self.noise_std * math.sqrt(2 * self.alpha if self.dynamics == "current" else 2 / self.alpha)

    @property
    def config(self) -> NetworkConfig:
        """Everything that rebuilds the network but its weights.

        Raises
        ------
        InputError
            Where the activation is a callable without a registered name.
        """
        if not self.activation.name:
            raise InputError(
                "this network's activation is a callable without a name, which a file cannot hold: "
                "give it one first with neurornn.register_activation(name, function) and build with the name"
            )
        return NetworkConfig.from_dict(
            {
                "family": type(self).__name__,
                "input_size": self.input_size,
                "hidden_size": self.hidden_size,
                "output_size": self.output_size,
                "activation": self.activation.name,
                "dynamics": self.dynamics,
                "tau": self.tau,
                "dt": self.dt,
                "alpha": self._alpha,
                "noise_std": self.noise_std,
                "gain": self.gain,
                "trainable_initial_state": self.trainable_initial_state,
                "engine": self.engine,
                "dtype": str(self.recurrent_weight.dtype).removeprefix("torch."),
                "seed": self.seed,
            },
            source="the network",
        )

    def with_dt(self, dt: float) -> Self:
        """Return a copy that takes steps of another length: the same continuous network.

        A result that changes with a finer step is an artefact of Euler's method.

        Parameters
        ----------
        dt : float
            New step in ms, at most tau.

        Raises
        ------
        InputError
            Where the network has no ``tau`` in ms, or ``dt > tau``.
        """
        if self.tau is None:
            raise InputError("with_dt needs a network with `tau`: without one its step has no length")
        finer = copy.deepcopy(self)
        _, finer.dt, _ = _need_leak(self.tau, dt, None)
        return finer

    # Running it ---------------------------------------------------------------------------------------

    @property
    def noise_generator(self) -> torch.Generator:
        """The network's own noise stream, made from its seed: it gives each run of the network a key."""
        if self._noise_generator is None:
            self._noise_generator = seeding.torch_stream(self.seed, seeding.NOISE)
        return self._noise_generator

    def initial_state(self, n_trials: int) -> Tensor:
        """Return the state before the first step, shape (trial, state_variable)."""
        if self.first_state is not None:
            return self.first_state.expand(n_trials, -1)
        return self.recurrent_weight.new_zeros((n_trials, self.state_size))

    def forward(
        self,
        inputs: Tensor,
        initial_state: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        teacher: Tensor | None = None,
        return_rates: bool = True,
        return_states: bool = False,
        truncate: int | None = None,
        checkpoint_every: int | None = None,
    ) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]:
        """Run the network over time.

        Parameters
        ----------
        inputs : Tensor, shape (trial, time, input_channel)
        initial_state : Tensor, shape (trial, state_variable), optional
            State before the first step; the network's own by default.
        generator : torch.Generator, optional
            Draws the recurrent noise, in eval mode too. By default train mode draws from the network's own
            stream and eval mode has no noise.
        teacher : None
            Teacher forcing needs output feedback, which this network does not have.
        return_rates : bool
            Whether the rates are wanted; without them, and without a gradient, nothing of (trial, time, unit)
            is held in memory.
        return_states : bool
            Whether the states come third.
        truncate : int, optional
            Truncated backpropagation: time is cut into windows of so many steps, and no gradient goes back
            from one into the one before.
        checkpoint_every : int, optional
            Hold the activity of so many steps only, and compute it again for the gradient: for sequences that
            memory would not hold, at the price of one more forward pass. The gradient is the same. Leave the
            rates out too, or they are held whole.

        Returns
        -------
        outputs : Tensor, shape (trial, time, output_channel)
        rates : Tensor, shape (trial, time, unit)
            None where they are not wanted.
        states : Tensor, shape (trial, time, state_variable)
            Only where asked for.

        Raises
        ------
        InputError
            Where a shape, the dtype or the device does not fit, an input is not a finite number, or the
            engine that was asked for cannot serve.
        """
        if teacher is not None:
            raise InputError("`teacher` needs a network with output feedback, which this one does not have")
        problem = self.scan_problem(
            inputs,
            initial_state,
            generator=generator,
            return_rates=return_rates,
            return_states=return_states,
            truncate=truncate,
            checkpoint_every=checkpoint_every,
        )
        outputs, rates, states = engines.scan(problem, self.engine)
        found = (
            outputs.transpose(0, 1),
            rates.transpose(0, 1) if return_rates and rates is not None else None,
        )
        return (*found, states.transpose(0, 1)) if return_states and states is not None else found

    def scan_problem(
        self,
        inputs: Tensor,
        initial_state: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        return_rates: bool = True,
        return_states: bool = False,
        truncate: int | None = None,
        checkpoint_every: int | None = None,
    ) -> engines.ScanProblem:
        """Return the scan over time that `forward` runs: what an engine is given.

        Parameters are those of `forward`.
        """
        self._need_tensor(inputs, "inputs", ("trial", "time", self.input_size))
        n_trials = len(inputs)
        if initial_state is None:
            initial_state = self.initial_state(n_trials)
        else:
            self._need_tensor(initial_state, "initial_state", (n_trials, self.state_size))
        for name, count in (("truncate", truncate), ("checkpoint_every", checkpoint_every)):
            if count is not None:
                need_count(count, name)
        return engines.ScanProblem(
            inputs=inputs.transpose(0, 1),
            initial_state=initial_state,
            input_weight=self.input_weight,
            recurrent_weight=self.recurrent_weight,
            bias=self.bias,
            output_weight=self.output_weight,
            output_bias=self.output_bias,
            activation=self.activation,
            dynamics=self.dynamics,  # type: ignore[arg-type]
            alpha=self.alpha,
            noise=self._draw_noise(generator),
            truncate=truncate,
            checkpoint_every=checkpoint_every,
            wants_rates=return_rates,
            wants_states=return_states,
        )

    def example_inputs(self) -> Tensor:
        """Return inputs of one trial and one step, shape (1, 1, input_channel)."""
        return self.recurrent_weight.new_zeros((1, 1, self.input_size))

    def _draw_noise(self, generator: torch.Generator | None) -> engines.Noise | None:
        """Draw the key of a run's noise; the engine makes the numbers of it."""
        if self.noise_std == 0 or (generator is None and not self.training):
            return None
        generator = self.noise_generator if generator is None else generator
        key = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
        return engines.Noise(int(key), self.noise_scale)

    # One step and its derivative ----------------------------------------------------------------------

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the state one step later, without noise.

        Parameters
        ----------
        state : Tensor, shape (..., state_variable)
        input : Tensor, shape (..., input_channel)

        Returns
        -------
        Tensor, shape (..., state_variable)
        """
        f, alpha = self.activation, self.alpha
        driven = self._preactivation(state, input)
        if self.dynamics == "leak_inside":
            return f((1 - alpha) * state + alpha * driven)
        return (1 - alpha) * state + alpha * (f(driven) if self.dynamics == "rate" else driven)

    def jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        """Return the derivative of `step` with respect to the state, in closed form.

        Parameters
        ----------
        state : Tensor, shape (..., state_variable)
        input : Tensor, shape (..., input_channel)

        Returns
        -------
        Tensor, shape (..., state_variable, state_variable)
            Entry [..., i, j] is the derivative of new variable i with respect to old variable j.
        """
        slope, alpha, weight = self.activation.derivative, self.alpha, self.recurrent_weight
        leak = (1 - alpha) * torch.eye(self.state_size, dtype=state.dtype, device=state.device)
        if self.dynamics == "rate":
            return leak + alpha * slope(self._preactivation(state, input))[..., :, None] * weight
        if self.dynamics == "current":
            return leak + alpha * weight * slope(state)[..., None, :]
        driven = (1 - alpha) * state + alpha * self._preactivation(state, input)
        return slope(driven)[..., :, None] * (leak + alpha * weight)

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None where there is none.

        Parameters
        ----------
        input : Tensor, shape (input_channel,)

        Returns
        -------
        low, high : Tensor, shape (state_variable,)
            Every fixed point lies inside, and the index sum over all of them is +1.
        """
        if self.activation.bounds is None:
            return None
        low, high = (self.bias.new_full((self.state_size,), bound) for bound in self.activation.bounds)
        if self.dynamics != "current":
            # A leaky average of r and f stays in f's range only where r began there: rates do.
            return low, high
        constant = linear(input, self.input_weight, self.bias)
        reach = torch.stack([self.recurrent_weight * low, self.recurrent_weight * high])
        return constant + reach.amin(0).sum(1), constant + reach.amax(0).sum(1)

    def rates(self, state: Tensor) -> Tensor:
        """Return what the readout sees of a state, shape (..., unit)."""
        return self.activation(state) if self.dynamics == "current" else state

    def readout(self, rates: Tensor) -> Tensor:
        """Return the outputs of rates, shape (..., output_channel)."""
        return linear(rates, self.output_weight, self.output_bias)

    def _preactivation(self, state: Tensor, input: Tensor) -> Tensor:
        for name, tensor, size in (("state", state, self.state_size), ("input", input, self.input_size)):
            if tensor.shape[-1:] != (size,):
                raise InputError(f"`{name}` must have shape (..., {size}), got {tuple(tensor.shape)}")
        seen = self.rates(state)
        return linear(seen, self.recurrent_weight, self.bias) + linear(input, self.input_weight)

    def _need_tensor(self, tensor: Tensor, name: str, shape: tuple[str | int, ...]) -> None:
        weight = self.recurrent_weight
        if not isinstance(tensor, Tensor):
            raise InputError(
                f"`{name}` must be a torch tensor, got {type(tensor).__name__}: use torch.as_tensor"
            )
        fits = tensor.ndim == len(shape) and all(
            isinstance(size, str) or size == own for size, own in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, shape))
            raise InputError(f"`{name}` must have shape ({wanted}), got {tuple(tensor.shape)}")
        if tensor.dtype != weight.dtype or tensor.device != weight.device:
            raise InputError(
                f"`{name}` must be {weight.dtype} on {weight.device} like the network, got {tensor.dtype} on "
                f"{tensor.device}: move one of them with .to(...)"
            )
        engines.need_finite(tensor, name)

    def extra_repr(self) -> str:
        """Return the options that torch prints between the parentheses."""
        name = self.activation.name or "callable"
        leak = f", tau={self.tau}, dt={self.dt}" if self.tau is not None else ""
        leak = f", alpha={self._alpha}" if self._alpha is not None else leak
        return (
            f"{self.input_size}, {self.hidden_size}, {self.output_size}, activation={name!r}, "
            f"dynamics={self.dynamics!r}{leak}, noise_std={self.noise_std}"
        )


def _need_leak(
    tau: float | None, dt: float | None, alpha: float | None
) -> tuple[float | None, float | None, float | None]:
    """Check the three ways to speak of the leak against each other."""
    if alpha is not None:
        if tau is not None or dt is not None:
            raise InputError("give the leak either as `alpha` or as `tau` with `dt`, got both")
        alpha = need_positive(alpha, "alpha")
        if alpha > 1:
            raise InputError(f"`alpha` must be at most 1, got {alpha}: a step must not be longer than tau")
        return None, None, alpha
    if tau is None and dt is None:
        return None, None, None
    if tau is None:
        raise InputError(
            f"`dt` = {dt} was given without `tau`: give both in ms, or neither, to take the task's step"
        )
    if dt is None:
        raise InputError(f"`tau` = {tau} was given without `dt`: give the task's step too, dt=task.dt")
    tau, dt = need_positive(tau, "tau", "ms"), need_positive(dt, "dt", "ms")
    if dt > tau:
        raise InputError(
            f"`dt` must not be longer than `tau`, got dt = {dt} ms and tau = {tau} ms: "
            "choose a smaller dt or a larger tau"
        )
    return tau, dt, None
