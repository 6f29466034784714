"""What a network does beside its loss and score, measured on the held-out trials of an evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import linear

from neurornn.networks import Network, RateRNN
from neurornn.tasks import Trials
from neurornn.training.losses import Batch, LossFunction, need_loss
from neurornn.vocabulary import MILLISECONDS, TIME, InputError

LARGEST_NUMBER_OF_GROUPS = 24
"""Columns of scores by condition; a condition that has more values than there is room for is left out."""
LARGEST_SPECTRUM = 1000
"""Units of a layer whose eigenvalues take no longer than a few steps of its training."""
N_PROFILE_TRIALS = 4
"""Held-out trials, the first ones, whose gradient is followed through time."""
N_SATURATION_TRIALS = 16
"""Held-out trials, the first ones, on which units are looked at for saturation: what a cache holds."""
SILENT = 1e-6
"""Largest size of a rate that is no activity."""
NEAR_BOUND = 0.02
"""Distance from a bound, as a share of the range between both, within which a rate is at it."""
MOSTLY = 0.95
"""Share of a unit's steps beyond which it is there nearly always."""


class Diagnostics:
    """Measures of a network in training, as columns of ``metrics.csv``.

    ====================== ================================================================================
    column                 meaning
    ====================== ================================================================================
    ``score_NAME_VALUE``   mean score of the held-out trials whose condition NAME has this value, for the
                           conditions in the task's ``accuracy_by``, each by itself, unless it has one value
                           or too many (more than 24); ``score_task_NAME`` of several tasks, each of them
    ``noisy_score_...``    the same with the network's own noise, where it has any
    ``spectral_radius``    largest modulus of an eigenvalue of the recurrent weights of a rate network of at
                           most 1000 units; leak, slopes and feedback are not in it. Of several layers, one
                           each: ``layer_0_spectral_radius``, ``layer_0_backward_spectral_radius``
    ``silent_units``       share of the units whose rate is 0 (at most 1e-6 in size) at all valid steps of all
                           trials: rectified ones that get no gradient any more
    ``saturated_units``    share of the units that are nearly always (more than 95 % of the valid steps of
                           the first 16 trials) within 2 % of a bound of the activation, of the distance
                           between both. The lower bound counts too, so a silent ``"retanh"`` unit is both.
                           Only where there are two bounds; of LSTM and GRU the activity lies between -1 and 1
    ``gradient_early``     mean length of dL/dstate over the first tenth of a trial's steps, the last one
                           being that of the last target; from the first 4 trials, as `gradient_profile`,
                           which tells what to make of it. Not where it would take longer than ten steps of
                           training: of networks with short-term plasticity
    ``gradient_late``      the same over the last tenth
    ====================== ================================================================================

    Rates are those that the readout sees: of several layers those of the last one, of residual ones their
    sum, which has no bounds.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU

    Examples
    --------
    >>> from neurornn.tasks import PerceptualDecisionMaking
    >>> task = PerceptualDecisionMaking(coherences=(0, 25.6))
    >>> net = RateRNN(task.n_inputs, 8, task.n_outputs, seed=0)
    >>> batch = Batch(task.draw(16, np.random.default_rng(0)), net.output_bias)
    >>> outputs, rates = net.eval()(batch.inputs)
    >>> score = task.score(outputs.detach().numpy(), batch.trials)
    >>> list(Diagnostics(net).measure(batch, rates, {"score": score}))[:3]
    ['score_coherence_0', 'score_coherence_25.6', 'spectral_radius']
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._batch: Batch | None = None

    @torch.no_grad()
    def measure(
        self, batch: Batch, rates: Tensor | None, scores: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Return the measures by the names of their columns.

        Parameters
        ----------
        batch : Batch
            The held-out trials. What is asked about them once is remembered until another batch comes.
        rates : Tensor, shape (trial, time, unit), or None
            What the network made of them, without noise; without them units are not looked at.
        scores : mapping of str to ndarray, shape (trial,)
            The score of each trial, by what the columns are to begin with: ``"score"``, ``"noisy_score"``.

        Returns
        -------
        dict of str to float
            The same columns at every evaluation of the same trials; what is no number is left out.
        """
        if batch is not self._batch:
            self._batch = batch
            self._groups = _groups(batch.trials)
            few = batch.trials.select(np.arange(min(N_PROFILE_TRIALS, batch.trials.n_trials)))
            self._few = Batch(few, batch.inputs, batch.normalise, batch.kind)
        values: dict[str, float] = {}
        for beginning, score in scores.items():
            values |= self._groups.means(beginning, np.asarray(score, float))
        values |= _spectral_radii(self._network)
        if rates is not None:
            values |= _units_at_rest_or_bound(self._network, rates, batch.valid)
        plastic = getattr(self._network.layers[0], "plasticity", None) is not None
        if not (plastic or self._network.is_bidirectional):
            norms = _gradient_norms(self._network, self._few)
            values["gradient_early"], values["gradient_late"] = _both_ends(norms, self._few)
        return {name: value for name, value in values.items() if not math.isnan(value)}


# Scores by condition ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    """Which trials are of which value of each condition: labels, and the number of each trial's label.

    A trial whose condition is missing has the number after the last.
    """

    conditions: dict[str, tuple[Sequence[str], np.ndarray]]

    def means(self, beginning: str, score: np.ndarray) -> dict[str, float]:
        """Return the mean score of each group."""
        found = {}
        for name, (labels, numbers) in self.conditions.items():
            sums = np.bincount(numbers, score, minlength=len(labels))
            counts = np.bincount(numbers, minlength=len(labels))
            for k, label in enumerate(labels):
                found[f"{beginning}_{name}_{label}"] = float(sums[k] / counts[k])
        return found


def _groups(trials: Trials) -> _Groups:
    """Return the groups of trials by the conditions in the task's ``accuracy_by``."""
    by = getattr(trials.task, "accuracy_by", ())
    conditions: dict[str, tuple[Sequence[str], np.ndarray]] = {}
    left = LARGEST_NUMBER_OF_GROUPS
    for name in (by,) if isinstance(by, str) else by:
        values = trials.conditions.get(name)
        if values is None:
            continue
        distinct, place = np.unique(values, return_inverse=True)
        labels = [_label(value) for value in distinct]
        # Values that are told by the same word are one group, in the order of the values.
        words = list(dict.fromkeys(word for word in labels if word))
        # Of several tasks each is of interest, however many there are.
        if name != "task":
            of_all = len(words) == 1 and all(labels)
            if of_all or len(words) > left:
                continue
            left -= len(words)
        number = np.array([words.index(word) if word else len(words) for word in labels], int)
        conditions[_word(name)] = words, number[place]
    return _Groups(conditions)


def _label(value: Any) -> str:
    """Return a condition's value as part of a column's name, empty where it is missing."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.integer | np.floating):
        # Minus zero is zero.
        return "" if np.isnan(value) else f"{float(value) + 0.0:g}"
    return _word(str(value))


def _word(text: str) -> str:
    """Return a text without what a name in a netCDF file cannot have, a slash before all."""
    return re.sub(r"[^\w.+-]+", "_", text)


# Weights and units ------------------------------------------------------------------------------------


def _spectral_radii(network: Network) -> dict[str, float]:
    """Return the spectral radius of each layer's recurrent weights, of rate networks that have any."""
    if not isinstance(network, RateRNN) or not network.is_recurrent:
        return {}
    found = {}
    n_directions = 2 if network.is_bidirectional else 1
    for k, layer in enumerate(network.layers):
        weight = layer.recurrent_weight.detach().double().cpu().numpy()
        if len(weight) > LARGEST_SPECTRUM or not np.isfinite(weight).all():
            continue
        number, backward = divmod(k, n_directions)
        place = f"layer_{number}_{'backward_' if backward else ''}" if len(network.layers) > 1 else ""
        found[f"{place}spectral_radius"] = float(np.abs(np.linalg.eigvals(weight)).max())
    return found


def _units_at_rest_or_bound(network: Network, rates: Tensor, valid: Tensor | None) -> dict[str, float]:
    """Return the shares of silent and of saturated units."""
    # Mostly a few trials show every unit at work, and the others need no look.
    some = _samples(rates[:N_SATURATION_TRIALS], None if valid is None else valid[:N_SATURATION_TRIALS])
    silent = _are_silent(some)
    if silent.any() and len(rates) > N_SATURATION_TRIALS:
        silent = _are_silent(_samples(rates, valid))
    found = {"silent_units": silent.double().mean().item()}
    low, high = network.activation.bounds if isinstance(network, RateRNN) else (-1.0, 1.0)
    is_sum = network.is_residual
    if is_sum or not (math.isfinite(low) and math.isfinite(high)):
        return found
    at_bound = (some - (low + high) / 2).abs() >= (0.5 - NEAR_BOUND) * (high - low)
    share = at_bound.to(some.dtype).mean(0)
    found["saturated_units"] = (share > MOSTLY).double().mean().item()
    return found


def _samples(rates: Tensor, valid: Tensor | None) -> Tensor:
    """Return the rates (trial, time, unit) of all valid steps, shape (sample, unit)."""
    # Time first is how they lie in memory, where they come from an engine.
    rates = rates.transpose(0, 1)
    return rates.reshape(-1, rates.shape[2]) if valid is None else rates[valid.t()]


def _are_silent(samples: Tensor) -> Tensor:
    """Return which units have a rate of 0 in every sample, shape (unit,)."""
    if not len(samples):
        return samples.new_ones(samples.shape[1], dtype=torch.bool)
    return torch.maximum(samples.amax(0), -samples.amin(0)) <= SILENT


# Gradients through time -------------------------------------------------------------------------------


def gradient_profile(
    network: Network, trials: Trials, *, loss: str | LossFunction | None = None, normalise: str = "mask"
) -> xr.Dataset:
    """Return how long the gradient of the loss is at each step, as backpropagation reaches it.

    At step t it is the mean over trials of ``|dL/dstate_t|``, the Euclidean norm over the state variables,
    with L the loss times the number of trials: what one trial adds does not depend on how many there are.
    ``dL/dstate_t`` is the whole derivative, through the outputs of step t and through all later steps.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        Run without noise and dropout; its outputs, where they are fed back, are its own. Neither its weights
        nor their gradients are touched.
    trials : Trials
        A few are enough. Their number times their steps is what is held in memory.
    loss : str or callable, optional
        A name in `LOSSES` or a function as in `masked_loss`; the task's own by default.
    normalise : {"mask", "all"}
        Whether the loss is divided by the number of entries that the mask asks for, or of all valid ones.

    Returns
    -------
    xarray.Dataset
        ``gradient_norm (time,)``, NaN at a step that no trial has. Attributes: ``gradient_early`` and
        ``gradient_late``, its means over the first and the last tenth of each trial's steps up to the last
        target, behind which every gradient is 0, NaN where nothing is asked; ``n_trials``.

    Raises
    ------
    InputError
        Where the network is bidirectional, since its state at a step does not decide what follows; where the
        trials do not fit it or the loss does not fit the task.

    Notes
    -----
    The ratio ``gradient_early / gradient_late`` tells vanishing from exploding. Where the loss asks at the
    end of a trial only, the late gradient is what goes in and the early one what arrives: a ratio near 1
    means that steps back change no gradient's length, far below 1 that it vanishes and early inputs cannot be
    learned from, far above 1 that it explodes. Where the loss asks throughout, early steps gather the
    gradients of all later ones too, and a ratio of a few is no explosion.

    Backpropagation that is truncated in training, or teacher forcing, is not seen here. Rate networks without
    layer normalisation and plasticity are followed by the recursion through their weights and slopes, in
    float64; all others by automatic differentiation of `step`, which gives the same and takes longer.

    References
    ----------
    Bengio, Y., Simard, P. & Frasconi, P. (1994). Learning long-term dependencies with gradient descent is
    difficult. IEEE Transactions on Neural Networks 5, 157-166. doi:10.1109/72.279181

    Pascanu, R., Mikolov, T. & Bengio, Y. (2013). On the difficulty of training recurrent neural networks.
    ICML 28, 1310-1318. doi:10.48550/arXiv.1211.5063

    Examples
    --------
    Without recurrent weights only the leak is left: a step back from the answer keeps 0.9 of a gradient.

    >>> from neurornn.tasks import DelayedComparison
    >>> task = DelayedComparison()
    >>> net = RateRNN(task.n_inputs, 8, task.n_outputs, tau=10 * task.dt, dt=task.dt, gain=0.0)
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> norm = gradient_profile(net, trials, loss="cross_entropy_per_trial").gradient_norm
    >>> round(float(norm[0] / norm[1]), 6)
    0.9
    """
    if network.is_bidirectional:
        raise InputError(
            "a gradient profile needs a network that runs in one direction, whose state at a step decides "
            "what follows: build it with bidirectional=False"
        )
    kind = need_loss(loss, trials.task, network)
    batch = Batch(trials, network.output_bias, normalise, kind)
    was_training = network.training
    try:
        with torch.no_grad():
            norms = _gradient_norms(network.eval(), batch)
    finally:
        network.train(was_training)
    counts = trials.valid.sum(0)
    mean = np.where(trials.valid, norms, 0).sum(0) / np.where(counts, counts, np.nan)
    early, late = _both_ends(norms, batch)
    described = {"long_name": "mean length of the loss's gradient by the state"}
    return xr.Dataset(
        {"gradient_norm": (TIME, mean, described)},
        coords={TIME: (TIME, trials.time, {"units": MILLISECONDS})},
        attrs={"gradient_early": early, "gradient_late": late, "n_trials": trials.n_trials},
    )


def _both_ends(norms: np.ndarray, batch: Batch) -> tuple[float, float]:
    """Return the means over the first and last tenth of each trial's steps up to its last target."""
    mask = batch.trials.mask
    asked: np.ndarray = mask.reshape(*mask.shape[:2], -1).max(2, initial=0) > 0
    early, late = [], []
    for norm, at in zip(norms, asked, strict=True):
        if at.any():
            end = int(np.flatnonzero(at).max()) + 1
            tenth = math.ceil(end / 10)
            early.append(norm[:tenth].mean())
            late.append(norm[end - tenth : end].mean())
    return (float(np.mean(early)), float(np.mean(late))) if early else (math.nan, math.nan)


def _gradient_norms(network: Network, batch: Batch) -> np.ndarray:
    """Return the length of dL/dstate_t, L the loss times the number of trials, shape (trial, time)."""
    # A gradient that explodes may well leave the range of numbers, and the next step back makes infinity
    # minus infinity of it: both are told as infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        gradients = (_by_recursion if _has_recursion(network) else _by_autograd)(network, batch)
        norms = len(gradients) * np.sqrt(np.square(gradients).sum(2))
    return np.where(np.isnan(norms), np.inf, norms)


def _by_autograd(network: Network, batch: Batch) -> np.ndarray:
    """Return dL/dstate_t of any network that has a step, shape (trial, time, state_variable)."""
    n_trials, n_steps = batch.inputs.shape[:2]
    if not n_steps:
        return np.zeros((n_trials, 0, network.state_size))
    with torch.enable_grad():
        # A derivative by the first state makes the graph, whether or not the weights ask for gradients.
        state = network.initial_state(n_trials).detach().clone().requires_grad_()
        states = []
        for now in batch.inputs.unbind(1):
            state = network.step(state, now)
            states.append(state)
        outputs = network.readout(network.rates(torch.stack(states, 1)))
        gradients = torch.autograd.grad(batch.loss(outputs), states, materialize_grads=True)
    return torch.stack(gradients, 1).double().cpu().numpy()


def _has_recursion(network: Network) -> bool:
    """Say whether the recursion through weights and slopes is the network's."""
    if not isinstance(network, RateRNN):
        return False
    return network.layers[0].plasticity is None and network.layers[0].norm_gain is None


def _by_recursion(network: Any, batch: Batch) -> np.ndarray:
    """Return dL/dstate_t of a rate network from its weights and slopes, shape (trial, time, state_variable).

    All of time is followed back in one layer after the other, the highest one first: what arrives at a
    layer's inputs is what its lower neighbour's rates hear from above.
    """
    inputs = batch.inputs
    states = network(inputs, return_rates=False, return_states=True)[2]
    first = network.initial_state(len(inputs))[:, None]
    sizes = [layer.state_size for layer in network.layers]
    nows = states.split(sizes, -1)
    befores = torch.cat([first, states[:, :-1]], 1).split(sizes, -1)
    residual = network.is_residual
    seen, inputs_of = inputs, []
    for k, (layer, now) in enumerate(zip(network.layers, nows, strict=True)):
        inputs_of.append(seen)
        seen = layer.rates(now) + (seen if residual and k else 0)
    from_readout = _through_readout(network, network.rates(states), batch)
    silence = np.zeros_like(from_readout)
    found, from_above = [], silence
    for k in reversed(range(len(sizes))):
        heard = from_readout if residual or k == len(sizes) - 1 else silence
        layer = _LayerBack(network, network.layers[k], befores[k], nows[k], inputs_of[k])
        gradient = layer.through_time(heard + from_above)
        # What the layer above makes of a rate in the same step is none of the state's, which holds both.
        found.append(gradient - from_above * layer.out)
        # With residual connections all layers above hear a rate.
        from_above = layer.at_inputs(gradient) + (from_above if residual else 0) if k else silence
    return np.concatenate(found[::-1], 2).swapaxes(0, 1)


def _through_readout(network: Network, rates: Tensor, batch: Batch) -> np.ndarray:
    """Return what the loss hears of the rates through the readout alone, shape (time, trial, unit)."""
    with torch.enable_grad():
        heard = rates.detach().clone().requires_grad_()
        (direct,) = torch.autograd.grad(batch.loss(network.readout(heard)), heard)
    return _time_first(direct)


class _LayerBack:
    """The way back through the steps of one layer of rate units, at the states of one run.

    With G_t the derivative of the loss by the state of step t, D_t what it hears of that step's rates from
    readout and layers above, ``out`` the slope of rates over states and s_t that of f in step t::

        G_t = out_t D_t + stay_{t+1} G_{t+1} + out_t W_r' (gain_{t+1} G_{t+1})

        "rate"         out = 1        stay = 1 - alpha           gain = alpha s
        "current"      out = f'(h)    stay = 1 - alpha           gain = alpha
        "leak_inside"  out = 1        stay = (1 - alpha) s       gain = alpha s

    Parameters
    ----------
    network : RateRNN
    layer : RateLayer
    before, now : Tensor, shape (trial, time, unit)
        Its states before and after each step.
    inputs : Tensor, shape (trial, time, input_channel)
        What it saw.
    """

    def __init__(self, network: Any, layer: Any, before: Tensor, now: Tensor, inputs: Tensor) -> None:
        weight, bias = layer.recurrent_weight, layer.bias
        if layer.feedback_weight is not None:
            # Outputs that are fed back are linear in the rates: recurrent weights by another way.
            weight = weight + layer.feedback_weight @ network.output_weight
            bias = bias + layer.feedback_weight @ network.output_bias
        alpha = torch.as_tensor(layer.alpha, dtype=now.dtype, device=now.device).detach()
        f, dynamics = layer.activation, layer.dynamics
        ones = torch.ones_like(now)
        out, slope, stay = ones, ones, (1 - alpha) * ones
        if dynamics == "current":
            out = f.derivative(now)
        else:
            driven = linear(layer.rates(before), weight) + linear(inputs, layer.input_weight, bias)
            if dynamics == "leak_inside":
                slope = f.derivative((1 - alpha) * before + alpha * driven)
                stay = stay * slope
            else:
                slope = f.derivative(driven)
        self.out, self._stay, self._gain = map(_time_first, (out, stay, alpha * slope))
        self._has_out = dynamics == "current"
        self._weight = weight.detach().double().cpu().numpy()
        self._input_weight = layer.input_weight.detach().double().cpu().numpy()

    def through_time(self, heard: np.ndarray) -> np.ndarray:
        """Return G at all steps from what is heard of the rates, both (time, trial, unit)."""
        found = heard * self.out
        for t in range(len(found) - 1, 0, -1):
            now = found[t]
            back = (self._gain[t] * now) @ self._weight
            if self._has_out:
                back *= self.out[t - 1]
            back += self._stay[t] * now
            found[t - 1] += back
        return found

    def at_inputs(self, gradient: np.ndarray) -> np.ndarray:
        """Return what the loss hears of the layer's inputs, shape (time, trial, input_channel)."""
        return (self._gain * gradient) @ self._input_weight


def _time_first(tensor: Tensor) -> np.ndarray:
    """Return (trial, time, unit) as (time, trial, unit) in float64, each step's numbers side by side."""
    return np.ascontiguousarray(tensor.detach().transpose(0, 1).double().cpu().numpy())
