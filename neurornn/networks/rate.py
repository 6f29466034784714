"""The rate network: leaky units, recurrent weights under constraints, a readout."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from neurornn import engine as engines
from neurornn import seeding
from neurornn.config import RateConfig
from neurornn.networks.activations import Activation, get_activation
from neurornn.networks.network import Network, checked_arguments
from neurornn.networks.options import need_compatible
from neurornn.networks.rate_layer import RateLayer, need_step_within
from neurornn.networks.running import Running
from neurornn.networks.wiring import draw_connection, wire
from neurornn.vocabulary import InputError, need_choice, need_positive

Matrix = np.ndarray | Tensor | Sequence[Sequence[float]]
"""A matrix of numbers, (to, from)."""


class RateRNN(Network):
    """A recurrent network of rate units.

    With ``alpha = dt / tau`` (1 where no ``tau`` is given), f the activation and s the noise::

        "rate"         r_t = (1 - alpha) r_{t-1} + alpha f(W_r r_{t-1} + W_x x_t + b + s_t)
        "current"      h_t = (1 - alpha) h_{t-1} + alpha (W_r f(h_{t-1}) + W_x x_t + b) + s_t,   r = f(h)
        "leak_inside"  r_t = f((1 - alpha) r_{t-1} + alpha (W_r r_{t-1} + W_x x_t + b + s_t))
        readout        y_t = W_y r_t + b_y

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of input channels, of recurrent units of a layer, and of output channels.
    activation : str or callable
        A name in `neurornn.networks.ACTIVATIONS`, with its parameter where it has one
        (``"power_law(1.5)"``), a name registered with `neurornn.register_activation`, or any elementwise
        function of tensors.
    dynamics : {"rate", "current", "leak_inside"}
        Where the leak stands. ``"leak_inside"`` is the form of the Primer's notebooks.
    tau : float or sequence of float, optional
        Time constant in ms, one for all units or one for each. Given together with ``dt``.
    dt : float, optional
        Time step in ms, which must equal that of the task it is trained on. Without ``tau`` and ``dt`` the
        network has no leak and takes the task's step.
    trainable_tau : bool
        Whether time constants are learned: alpha is the sigmoid of a parameter, so that tau stays above dt.
    alpha : float, optional
        The leak itself, in place of ``tau`` and ``dt``, for a network whose time has no unit.
    noise_std : float
        Sigma of the recurrent noise. With a leak ``sqrt(2 / alpha) * sigma * N(0, 1)`` inside f (the
        convention of Yang et al. 2019), ``sqrt(2 * alpha) * sigma * N(0, 1)`` added in current dynamics;
        without a leak ``sigma * N(0, 1)``. Inside f only small noise is independent of dt, since f rectifies
        it; in current dynamics the limit is a true Ornstein-Uhlenbeck process. No gradient runs through the
        factor where tau is trained.
    input_noise_std, output_noise_std : float
        Sigma of noise on the inputs (with a leak times ``sqrt(2 / alpha)``) and on the outputs. All noise is
        there in train mode only.
    initial_state : sequence of float, optional
        State before the first step, one number per state variable; zero by default (and full synapses).
    trainable_initial_state : bool
        Whether it is learned.
    recurrent_initialisation, input_initialisation, output_initialisation : str or matrix, optional
        A name in `neurornn.networks.INITIALISATIONS` or the weights themselves, (to, from). Gaussian by
        default; recurrent weights under Dale's law are ``"balanced_gamma"``, which has no outlier eigenvalue.
    gain, input_gain, output_gain : float
        Gain of each. Gaussian weights have the standard deviation ``gain / sqrt(number of senders)``: 1 puts
        recurrent ones at the edge between decay and chaos.
    excitatory_fraction : float, optional
        Dale's law: this share of the units, the first ones, is excitatory, the rest inhibitory.
    signs : sequence of +1 and -1, optional
        Dale's law, unit by unit, in place of the share.
    dale : {"absolute", "rectified"}
        Signed weights are made of the raw ones' absolute value or positive part. A rectified weight at 0 has
        no gradient: it is dead, and training reports the share of such. An absolute one that is exactly 0
        stays there too, so do not begin with zeros that are to grow.
    autapses : bool
        Whether units connect to themselves.
    readout_from : {"all", "excitatory"}
        Which units the readout sees.
    nonnegative_inputs : bool
        Whether input weights cannot be negative.
    input_mask, recurrent_mask, output_mask : matrix, optional
        1 where there is a connection and 0 where there is none, (to, from).
    input_fixed, recurrent_fixed, output_fixed : matrix, optional
        Weights held at a value, within signs and masks; NaN where they are free.
    density : float
        Share of the recurrent connections that exist, drawn at random; Gaussian weights grow by its root.
    areas : mapping of str to int, optional
        Names of areas and their numbers of units, in order. Connections within an area are whole, those
        between areas absent, unless ``projections`` says otherwise.
    projections : mapping of str to float, optional
        Densities, ``{"V1 -> PFC": 0.2}``. By Dale's law only excitatory units project to other areas.
    input_areas, output_areas : sequence of str, optional
        Which areas receive the inputs, and which the readout sees; all by default.
    rank : int, optional
        Low rank, ``W_r = m n' / N``.
    plasticity : {"facilitating", "depressing", "mixed"}, optional
        Short-term plasticity of recurrent synapses, with rates in Hz (Mongillo et al. 2008; the constants of
        Masse et al. 2019): resources x and their use u are two more state variables for each unit.
        ``"mixed"``: units take turns.
    feedback : bool
        Whether the outputs of a step come back to the units in the next one; `forward` can replace them by a
        teacher's.
    recurrent : bool
        Whether there are recurrent weights. With feedback alone and a teacher at every step, all steps are
        computed at once, and no gradient crosses time.
    dropout : float
        Probability that a unit is silent for the others and the readout, drawn for each trial, in train mode;
        the rest is scaled up (Gal & Ghahramani 2016). The rates that are returned are whole.
    layer_norm : bool
        Layer normalisation of the weighted sum, before bias and noise.
    weight_norm : bool
        Weight normalisation of input and recurrent weights.
    n_layers : int
        Layers, each of ``hidden_size`` units that see the rates of the layer below.
    bidirectional : bool
        Whether each layer has a second set of units that runs from the last step to the first. Where trials
        are padded, it begins in the padding.
    residual : bool
        Whether what a layer sees is added to its rates, from the second layer on.
    readout : {"linear", "softmax"}
        What the outputs are of the weighted rates. Cross-entropy takes ``"linear"`` ones.
    attention : {"additive", "dot", "scaled", "bilinear"}, optional
        The readout sees a mean of the rates of all steps so far, weighed by this score.
    engine : {"auto", "numba", "torch", "reference"}
        Which implementation of the scan over time; ``"auto"`` takes the fastest that can serve, and
        `neurornn.engine.explain` says which and why. It can be changed later, ``net.engine = "reference"``.
    seed : int
        Seed of the initial weights, of random connections and of the network's own noise stream.
    device, dtype : optional
        As everywhere in torch; the dtype is torch's default where none is given.

    Raises
    ------
    InputError
        For a value out of its range, arrays that do not fit, masks that cut an output off, and options that
        do not go together; the documentation has a table of these.

    Notes
    -----
    ``recurrent_weight[i, j]`` is from unit j to unit i, and is the *effective* weight: after masks, signs and
    held values. Gradients act on what lies under it, so no optimiser can break a constraint. Set weights by
    assigning them, ``net.recurrent_weight = array``: what breaks a constraint is refused.

    The noise is drawn in train mode only, from the network's own stream; in eval mode there is none unless a
    ``generator`` is passed.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks. PLOS Computational Biology 12, e1004792. doi:10.1371/journal.pcbi.1004792

    Mongillo, G., Barak, O. & Tsodyks, M. (2008). Synaptic theory of working memory. Science 319, 1543-1546.
    doi:10.1126/science.1150769

    Masse, N. Y., Yang, G. R., Song, H. F., Wang, X.-J. & Freedman, D. J. (2019). Circuit mechanisms for the
    maintenance and manipulation of information in working memory. Nature Neuroscience 22, 1159-1167.
    doi:10.1038/s41593-019-0414-3

    Gal, Y. & Ghahramani, Z. (2016). A theoretically grounded application of dropout in recurrent neural
    networks. arXiv:1512.05287

    Examples
    --------
    >>> net = RateRNN(3, 64, 2, tau=100.0, dt=20.0, seed=0)
    >>> outputs, rates = net(torch.zeros(5, 50, 3))
    >>> outputs.shape, rates.shape, net.alpha
    (torch.Size([5, 50, 2]), torch.Size([5, 50, 64]), 0.2)

    >>> dale = RateRNN(3, 64, 2, activation="relu", excitatory_fraction=0.75, readout_from="excitatory")
    >>> bool((dale.recurrent_weight[:, :48] >= 0).all()), bool((dale.recurrent_weight[:, 48:] <= 0).all())
    (True, True)
    """

    _config: RateConfig

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        activation: str | Callable[[Tensor], Tensor] = "tanh",
        dynamics: str = "rate",
        tau: float | Sequence[float] | None = None,
        dt: float | None = None,
        trainable_tau: bool = False,
        alpha: float | None = None,
        noise_std: float = 0.0,
        input_noise_std: float = 0.0,
        output_noise_std: float = 0.0,
        initial_state: Sequence[float] | None = None,
        trainable_initial_state: bool = False,
        recurrent_initialisation: str | Matrix | None = None,
        input_initialisation: str | Matrix = "gaussian",
        output_initialisation: str | Matrix = "gaussian",
        gain: float = 1.0,
        input_gain: float = 1.0,
        output_gain: float = 1.0,
        excitatory_fraction: float | None = None,
        signs: Sequence[float] | None = None,
        dale: str = "absolute",
        autapses: bool = True,
        readout_from: str = "all",
        nonnegative_inputs: bool = False,
        input_mask: Matrix | None = None,
        recurrent_mask: Matrix | None = None,
        output_mask: Matrix | None = None,
        input_fixed: Matrix | None = None,
        recurrent_fixed: Matrix | None = None,
        output_fixed: Matrix | None = None,
        density: float = 1.0,
        areas: Mapping[str, int] | None = None,
        projections: Mapping[str, float] | None = None,
        input_areas: Sequence[str] | None = None,
        output_areas: Sequence[str] | None = None,
        rank: int | None = None,
        plasticity: str | None = None,
        feedback: bool = False,
        recurrent: bool = True,
        dropout: float = 0.0,
        layer_norm: bool = False,
        weight_norm: bool = False,
        n_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        readout: str = "linear",
        attention: str | None = None,
        engine: str = "auto",
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        given = checked_arguments(RateConfig, locals())
        chosen = get_activation(activation)
        given["activation"] = chosen.name
        need_choice(dynamics, "dynamics", engines.DYNAMICS)
        given["tau"], given["dt"], given["alpha"] = _need_leak(tau, dt, alpha, hidden_size)
        for name in ("input_areas", "output_areas"):
            given[name] = None if given[name] is None else list(given[name])
        given["projections"] = dict(projections or {})
        given = {name: value for name, value in given.items() if value is not None}
        config = RateConfig.from_dict(given, source="RateRNN")
        need_compatible(config, chosen)
        self.activation_name = chosen.name
        n_directions = config.n_directions
        wirings = [wire(config, k) for k in range(config.n_layers * n_directions)]
        self.wiring = wirings[0]
        stream = seeding.torch_stream(seed, seeding.INITIAL_WEIGHTS)
        size = config.input_size
        layers: list[nn.Module] = []
        for k, wiring in enumerate(wirings):
            if k == n_directions:
                size = config.hidden_size * n_directions
            # Each layer has an activation's own parameters for itself.
            own = get_activation(activation) if isinstance(activation, str) else chosen
            lowest = k < n_directions
            layers.append(RateLayer(size, config, own, wiring, lowest=lowest, generator=stream))
        size = config.hidden_size * n_directions
        output = draw_connection(
            "output", (config.output_size, size), self.wiring, config, signs=None, generator=stream
        )
        self._assemble(config, layers, output, stream, device)

    # What the network is ------------------------------------------------------------------------------

    @property
    def activation(self) -> Activation:
        """The nonlinearity f, of the lowest layer where each has parameters of its own."""
        return self.layers[0].activation

    @property
    def dynamics(self) -> str:
        """Where the leak stands."""
        return self._config.dynamics

    @property
    def noise_std(self) -> float:
        """Sigma of the recurrent noise."""
        return self._config.noise_std

    @property
    def has_leak(self) -> bool:
        """Whether a leak was given, be it 1."""
        return self.layers[0].has_leak

    @property
    def dt(self) -> float | None:
        """Time step in ms; None where the network takes the task's."""
        return self._config.dt

    @property
    def tau(self) -> float | Tensor | None:
        """Time constant in ms, a tensor where units differ or it is trained; None where there is none."""
        layer = self.layers[0]
        if layer.leak_logit is not None:
            return layer.dt / layer.alpha
        return self.output_bias.new_tensor(layer.tau) if isinstance(layer.tau, list) else layer.tau

    @property
    def alpha(self) -> float | Tensor:
        """The leak dt / tau, a tensor where units differ or it is trained; 1 where there is none."""
        return self.layers[0].alpha

    @property
    def noise_scale(self) -> float | Tensor:
        """Standard deviation of the recurrent noise as it enters the equation at one step."""
        return self.layers[0].noise_scale

    @property
    def unit_labels(self) -> dict[str, np.ndarray]:
        """Labels of the units that the readout sees: population, sign, area, direction, where there are."""
        own = {
            name: np.tile(labels, self._config.n_directions) for name, labels in self.wiring.labels.items()
        }
        return {**own, **super().unit_labels}

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
        if self.dt is None:
            raise InputError("with_dt needs a network with `tau`: without one its step has no length")
        other = copy.deepcopy(self)
        other._config = self._config.model_copy(update={"dt": need_positive(dt, "dt", "ms")})
        for layer in other.layers:
            layer.set_dt(other._config.dt)
        return other

    # Running it ---------------------------------------------------------------------------------------

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
        """Return the scan over time that `forward` runs, of the lowest layer where there are several.

        Parameters are those of `forward`.
        """
        starts = self._starts(inputs, initial_state)
        draws = self._draws(generator)
        running = Running(
            self.engine,
            draws,
            kept_share=self._kept_share(draws, len(inputs)),
            truncate=truncate,
            checkpoint_every=checkpoint_every,
            wants_rates=return_rates,
            wants_states=return_states,
            readout=(self.output_weight, self.output_bias) if len(self.layers) == 1 else None,
        )
        signal = self._with_input_noise(inputs.transpose(0, 1), draws)
        return self.layers[0].problem(signal, starts[0], running)

    def _input_noise_factor(self) -> float | Tensor:
        alpha = self.alpha
        if not self.has_leak:
            return 1.0
        return (2 / alpha.detach()).sqrt() if isinstance(alpha, Tensor) else math.sqrt(2 / alpha)

    # One step and its derivative ----------------------------------------------------------------------

    def _lowest_input(self, state: Tensor, input: Tensor) -> Tensor:
        if not self._config.feedback:
            return input
        fed_back = self.readout(self.rates(state))
        leading = torch.broadcast_shapes(fed_back.shape[:-1], input.shape[:-1])
        return torch.cat([own.expand(*leading, -1) for own in (input, fed_back)], dim=-1)

    def _closed_jacobian(self, state: Tensor, input: Tensor) -> Tensor | None:
        return self.layers[0].jacobian(state, self._lowest_input(state, input), self._loop())

    def state_bounds(self, input: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a box that the map takes into itself under a constant input, or None where none is known.

        Parameters
        ----------
        input : Tensor, shape (input_channel,)

        Returns
        -------
        low, high : Tensor, shape (state_variable,)
            Every fixed point lies inside, and the index sum over all of them is +1.
        """
        if self._config.bidirectional:
            return None
        if len(self.layers) == 1:
            constant = torch.cat([input, self.output_bias]) if self._config.feedback else input
            return self.layers[0].state_bounds(constant, self._loop())
        if self.dynamics == "current":
            return None
        # Rates stay in the activation's range whatever comes from below.
        found = [layer.state_bounds(input) for layer in self.layers]
        if found[0] is None:
            return None
        return torch.cat([low for low, _ in found]), torch.cat([high for _, high in found])

    def _loop(self) -> Tensor | None:
        """Return the way from a rate through the readout and back, shape (unit, unit)."""
        return self.layers[0].feedback_weight @ self.output_weight if self._config.feedback else None


def _need_leak(tau: Any, dt: Any, alpha: Any, n_units: int) -> tuple[Any, float | None, float | None]:
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
    taus = tau.tolist() if isinstance(tau, np.ndarray | Tensor) else tau
    dt = need_positive(dt, "dt", "ms")
    if not isinstance(taus, Sequence):
        tau = need_positive(taus, "tau", "ms")
        need_step_within(dt, tau)
        return tau, dt, None
    if len(taus) != n_units:
        raise InputError(f"`tau` must be one number or one for each of {n_units} units, got {len(taus)}")
    checked = [need_positive(own, "tau", "ms") for own in taus]
    need_step_within(dt, min(checked))
    return checked, dt, None
