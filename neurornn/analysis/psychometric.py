"""The psychometric curve: how often a choice is made as its stimulus grows, and what that says.

Reads counts per stimulus, or an activity dataset whose trials carry a stimulus and a choice. Gives bias,
width and lapses with confidence intervals, and the curve. Maths: maximum likelihood of binomial counts,
parametric bootstrap.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from neurornn.analysis.behaviour import trial_choices, trial_values
from neurornn.numerics.binomial import need_binomial_counts, wilson_interval
from neurornn.seeding import BOOTSTRAP, numpy_stream
from neurornn.vocabulary import InputError, need_choice, need_count, need_finite

if TYPE_CHECKING:
    from scipy import optimize

PARAMETERS = ("bias", "width", "lapse_low", "lapse_high")

Function = Literal["logistic", "cumulative_gaussian"]

SMALLEST_WIDTH = 1 / 20
"""In units of the smallest spacing of the stimuli; a narrower curve is a step to any realistic data."""

LARGEST_WIDTH = 10.0
"""In units of the stimuli's range; a wider curve is flat over them."""

LARGEST_LAPSE = 0.2
"""Above this a lapse would explain what bias and width are there to explain."""

N_GRID = 201
"""Points at which the fitted curve is drawn."""


def psychometric_function(
    stimulus: npt.ArrayLike,
    bias: npt.ArrayLike,
    width: npt.ArrayLike,
    lapse_low: npt.ArrayLike = 0.0,
    lapse_high: npt.ArrayLike = 0.0,
    *,
    function: Function = "logistic",
) -> np.ndarray:
    """Return the probability of a choice, ``lapse_low + (1 - lapse_low - lapse_high) F((x - bias) / width)``.

    Parameters
    ----------
    stimulus : array_like
        Stimulus x, in any unit; all arguments broadcast.
    bias : array_like
        Stimulus at which F is one half, in the stimulus's unit; without lapses both choices are equally
        likely there.
    width : array_like
        How slowly the curve rises, in the stimulus's unit, above 0: the standard deviation for
        ``"cumulative_gaussian"``, the scale for ``"logistic"`` (whose slope at the bias is
        ``(1 - lapse_low - lapse_high) / (4 width)``).
    lapse_low, lapse_high : array_like, default 0.0
        Distance of the lower asymptote from 0 and of the upper one from 1.
    function : {"logistic", "cumulative_gaussian"}, default "logistic"
        F: ``1 / (1 + exp(-u))``, or the standard normal's distribution function. The logistic is the
        usual one, and what an ideal observer with logit-linear evidence has.

    Returns
    -------
    numpy.ndarray
        Probabilities, float64, of the broadcast shape.

    Raises
    ------
    InputError
        Where the width is not above 0, or the function is unknown.

    Examples
    --------
    >>> psychometric_function([-1.0, 0.0, 1.0], bias=0.0, width=0.5, lapse_low=0.1).round(3)
    array([0.207, 0.55 , 0.893])
    """
    cumulative, _ = _distribution(need_choice(function, "function", get_args(Function)))
    x, bias, width, low, high = (
        np.asarray(values, dtype=np.float64) for values in (stimulus, bias, width, lapse_low, lapse_high)
    )
    if not (width > 0).all():
        raise InputError(
            f"`width` must be above 0, got {width.min()}: for a falling curve fit the other choice"
        )
    return np.asarray(low + (1 - low - high) * cumulative((x - bias) / width))


def fit_psychometric(
    stimulus: npt.ArrayLike,
    n_chosen: npt.ArrayLike,
    n_trials: npt.ArrayLike,
    *,
    function: Function = "logistic",
    lapse: bool = True,
    confidence: float = 0.95,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Fit a rising psychometric curve to counts, by maximum likelihood.

    The curve is that of `psychometric_function`. The fit starts from a step and from the best points of a
    coarse grid, one for each of nine pairs of lapses, and keeps the likeliest end. Its bounds scale with the
    stimuli, so that neither their unit nor their origin matters: the bias may lie one range beyond them on
    either side, the width between 1/20 of their smallest spacing and 10 of their ranges.

    Where the data are a step (any narrow enough curve is as likely), the width is set to its lower bound
    and flagged. Where they do not depend on the stimulus or fall with it, bias or width ends at a bound
    and is flagged too: fit the other choice if they fall.

    Parameters
    ----------
    stimulus : array_like, shape (level,)
        Stimulus of each level, in any unit. Levels that are equal are merged, those without trials left
        out; at least 3 must remain, 2 without lapses.
    n_chosen : array_like, shape (level,)
        How often the choice was made at each level.
    n_trials : array_like, shape (level,)
        Number of trials of each level.
    function : {"logistic", "cumulative_gaussian"}, default "logistic"
        Shape of the curve; see `psychometric_function`.
    lapse : bool, default True
        Whether both lapses are fitted, each in [0, 0.2]; otherwise both are 0. Fitted by default, because
        a few lapses taken for stimulus-driven errors make the width wrong [1]_.
    confidence : float, default 0.95
        Of every interval in the result.
    n_bootstrap : int, default 200
        Number of synthetic data sets for the parameters' intervals: enough to see their size; give 2000 to
        publish them. 0 leaves the intervals NaN.
    seed : int, default 0
        Seed of the bootstrap.

    Returns
    -------
    xarray.Dataset
        Along ``parameter`` (``bias``, ``width``, ``lapse_low``, ``lapse_high``): ``estimate``; ``lower`` and
        ``upper``, quantiles of the estimates from data drawn from the fitted curve (parametric percentile
        bootstrap [2]_, each search beginning at ``estimate``), NaN for bias and width where either is at a
        bound, for there the fitted curve stands for too many others; ``at_bound``, true where the data do
        not determine the value and a bound of the fit does (a lapse of 0 is a finding, and not flagged).
        Bias and width are in the stimulus's unit.
        Along ``stimulus``: ``n_trials``, ``fraction_chosen`` and its Wilson interval ``fraction_lower``,
        ``fraction_upper``, and ``fitted``, the curve there. Along ``stimulus_grid``, 201 points over the
        stimuli's range: ``curve``.
        Scalars: ``log_likelihood`` of the single choices (without binomial coefficients, so that it does
        not depend on how trials are grouped), ``deviance`` from the model with one probability per level,
        ``r_squared``, the share of the fractions' variance, weighted by trials, that the curve explains
        (NaN where they do not vary), and ``converged``.
        Attributes: ``function``, ``confidence``, ``n_bootstrap``, ``seed``.

    Raises
    ------
    InputError
        Where lengths differ, a stimulus is not finite, counts are no counts, there are too few levels, or
        an option is out of range.

    References
    ----------
    .. [1] Wichmann, F. A. and Hill, N. J. (2001). The psychometric function: I. Fitting, sampling, and
       goodness of fit. Perception & Psychophysics 63, 1293-1313. doi:10.3758/BF03194544
    .. [2] Wichmann, F. A. and Hill, N. J. (2001). The psychometric function: II. Bootstrap-based confidence
       intervals and sampling. Perception & Psychophysics 63, 1314-1329. doi:10.3758/BF03194545

    Examples
    --------
    >>> fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False)
    >>> fit["estimate"].sel(parameter="bias").round(2).item()
    -0.21
    >>> fit["estimate"].sel(parameter="width").round(2).item()
    0.6
    >>> bool(fit["lower"].sel(parameter="width") < 0.6 < fit["upper"].sel(parameter="width"))
    True
    """
    need_choice(function, "function", get_args(Function))
    if not isinstance(lapse, bool):
        raise InputError(f"`lapse` must be True (fit both lapses) or False (both are 0), got {lapse!r}")
    n_bootstrap = need_count(n_bootstrap, "n_bootstrap", least=0)
    rng = numpy_stream(seed, BOOTSTRAP)
    levels, chosen, trials = _merge_levels(stimulus, n_chosen, n_trials, least=3 if lapse else 2)
    fraction_lower, fraction_upper = wilson_interval(chosen, trials, confidence)

    # In units of the stimuli's range about its middle, the same data in another unit are the same problem.
    middle, span = (levels[0] + levels[-1]) / 2, levels[-1] - levels[0]
    problem = _Problem.from_levels((levels - middle) / span, trials, function, lapse)
    point, converged = problem.maximise(chosen)
    at_bound = problem.at_bound(point)

    estimate = _in_stimulus_units(point, middle, span)
    fitted = psychometric_function(levels, *estimate, function=function)
    lower = upper = np.full(len(PARAMETERS), np.nan)
    if n_bootstrap:
        draws = rng.binomial(trials.astype(int), fitted, (n_bootstrap, levels.size))
        replicates = np.array([problem.maximise(draw, near=point)[0] for draw in draws])
        tail = (1 - confidence) / 2
        lower, upper = np.quantile(_in_stimulus_units(replicates, middle, span), (tail, 1 - tail), axis=0)
        if at_bound[:2].any():
            lower[:2] = upper[:2] = np.nan

    fraction = chosen / trials
    spread = np.sum(trials * (fraction - chosen.sum() / trials.sum()) ** 2)
    log_likelihood = _log_likelihood(chosen, trials, fitted, problem.complement(point))
    saturated = _log_likelihood(chosen, trials, fraction, 1 - fraction)
    grid = np.linspace(levels[0], levels[-1], N_GRID)
    return xr.Dataset(
        {
            "estimate": ("parameter", estimate),
            "lower": ("parameter", lower),
            "upper": ("parameter", upper),
            "at_bound": ("parameter", at_bound),
            "n_trials": ("stimulus", trials.astype(np.int64)),
            "fraction_chosen": ("stimulus", fraction),
            "fraction_lower": ("stimulus", fraction_lower),
            "fraction_upper": ("stimulus", fraction_upper),
            "fitted": ("stimulus", fitted),
            "curve": ("stimulus_grid", psychometric_function(grid, *estimate, function=function)),
            "log_likelihood": log_likelihood,
            "deviance": max(2 * (saturated - log_likelihood), 0.0),
            "r_squared": 1 - np.sum(trials * (fraction - fitted) ** 2) / spread if spread > 0 else np.nan,
            "converged": converged,
        },
        coords={"parameter": list(PARAMETERS), "stimulus": levels, "stimulus_grid": grid},
        attrs={
            "function": function,
            "confidence": float(confidence),
            "n_bootstrap": n_bootstrap,
            "seed": int(seed),
        },
    )


def psychometric(
    activity: xr.Dataset,
    stimulus: str,
    *,
    choice: str = "choice",
    chosen: int | None = None,
    function: Function = "logistic",
    lapse: bool = True,
    confidence: float = 0.95,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Fit the psychometric curve of recorded trials.

    Parameters
    ----------
    activity : xarray.Dataset
        Recorded activity; only its coordinates on ``trial`` are read.
    stimulus : str
        Coordinate on ``trial`` with the signed stimulus, such as ``"signed_coherence"``.
    choice : str, default "choice"
        Coordinate on ``trial`` with the choice, a whole number; -1 means that none was made, and such trials
        are left out.
    chosen : int, optional
        The choice whose probability is fitted, against all others. By default the largest one that occurs,
        since tasks number their choices in the stimulus's direction.
    function, lapse, confidence, n_bootstrap, seed
        As for `fit_psychometric`.

    Returns
    -------
    xarray.Dataset
        As from `fit_psychometric`, with the scalar ``n_without_choice``, the number of trials left out; the
        attributes ``stimulus_name``, ``choice_name`` and ``chosen`` say what was fitted.

    Raises
    ------
    InputError
        Where a coordinate is missing or does not fit, no trial has a choice, or only one choice occurs and
        ``chosen`` does not say whether that is the one; and as `fit_psychometric` does.

    See Also
    --------
    fit_psychometric : The fit itself, on arrays.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> coherence = rng.choice([-0.5, -0.1, 0.0, 0.1, 0.5], 2000)
    >>> choices = (rng.random(2000) < psychometric_function(coherence, 0.0, 0.1)).astype(int)
    >>> activity = xr.Dataset(
    ...     coords={"signed_coherence": ("trial", coherence), "choice": ("trial", choices)}
    ... )
    >>> curve = psychometric(activity, "signed_coherence", lapse=False)
    >>> curve["estimate"].sel(parameter="width").round(1).item()
    0.1
    """
    values = trial_values(activity, stimulus)
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"`stimulus` must name a coordinate of numbers, got {stimulus!r} of dtype {values.dtype}: "
            "name one with signed values, such as 'signed_coherence'"
        )
    choices = trial_choices(activity, choice)
    made = choices >= 0
    occurring = np.unique(choices[made])
    if occurring.size == 0:
        raise InputError(
            f"`activity` must have trials with a choice, got -1 in all of {choice!r}: score it first"
        )
    if chosen is None:
        if occurring.size == 1:
            raise InputError(
                f"`chosen` must be given where only one choice occurs, got {int(occurring[0])} in all "
                "trials: say which choice's probability to fit"
            )
        chosen = int(occurring[-1])
    chosen = need_count(chosen, "chosen", least=0)
    fit = fit_psychometric(
        values[made],
        choices[made] == chosen,
        np.ones(made.sum(), dtype=int),
        function=function,
        lapse=lapse,
        confidence=confidence,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    fit["n_without_choice"] = int((~made).sum())
    return fit.assign_attrs(stimulus_name=stimulus, choice_name=choice, chosen=chosen)


_Point: TypeAlias = np.ndarray | tuple[np.ndarray, np.ndarray, float, float]
"""Bias, log width, lapse_low, lapse_high: one value each, or arrays that broadcast with the levels."""


@dataclass(frozen=True)
class _Problem:
    """The likelihood of counts at given levels, and where its parameters may go.

    A point is (bias, log width, lapse_low, lapse_high), with stimuli in units of their range about its
    middle. The width is fitted as its logarithm, in which the likelihood is closest to a parabola.
    """

    levels: np.ndarray
    trials: np.ndarray
    function: Function
    bounds: np.ndarray
    """Lowest and highest value of each parameter, shape (parameter, 2)."""

    @classmethod
    def from_levels(
        cls,
        levels: np.ndarray,
        trials: np.ndarray,
        function: Function,
        lapse: bool,
    ) -> _Problem:
        narrowest = SMALLEST_WIDTH * np.diff(levels).min()
        highest_lapse = LARGEST_LAPSE if lapse else 0.0
        bounds = [
            (levels[0] - 1, levels[-1] + 1),
            (np.log(narrowest), np.log(LARGEST_WIDTH)),
            (0.0, highest_lapse),
            (0.0, highest_lapse),
        ]
        return cls(levels, trials, function, np.array(bounds))

    def probability(self, point: _Point) -> np.ndarray:
        """Return the probability of the choice at each level."""
        bias, log_width, low, high = point
        cumulative, _ = _distribution(self.function)
        return low + (1 - low - high) * cumulative((self.levels - bias) / np.exp(log_width))

    def complement(self, point: _Point) -> np.ndarray:
        """Return 1 - probability, precise where that is tiny."""
        bias, log_width, low, high = point
        cumulative, _ = _distribution(self.function)
        return high + (1 - low - high) * cumulative((bias - self.levels) / np.exp(log_width))

    def at_bound(self, point: np.ndarray) -> np.ndarray:
        """Tell for each parameter whether its bound, rather than the data, decides its value."""
        low, high = self.bounds.T
        near = (np.abs(point - self.bounds.T) < 1e-6) & (low < high)
        near[0, 2:] = False
        return near.any(axis=0)

    def starts(self, chosen: np.ndarray) -> list[np.ndarray]:
        """Return, for each pair of lapses, the likeliest point of a coarse grid of bias and width."""
        # A stimulus that is new in every trial has as many levels as trials: more than the grid needs.
        n_levels = min(self.levels.size, 40)
        first = np.arange(n_levels) * self.levels.size // n_levels
        trials = np.add.reduceat(self.trials, first)
        levels = np.add.reduceat(self.levels * self.trials, first) / trials
        coarse = replace(self, levels=levels, trials=trials)
        chosen = np.add.reduceat(chosen, first)

        # Several biases within a gap: a narrow curve that is a little off has another, worse summit.
        gaps = np.diff(levels)[:, np.newaxis] * np.arange(6) / 6
        bias = np.concatenate(((levels[:-1, np.newaxis] + gaps).ravel(), [-0.75, 0.5, 0.75]))
        log_width = np.linspace(self.bounds[1, 0], 0.5, 16)
        bias, log_width = (axis.reshape(-1, 1) for axis in np.meshgrid(bias, log_width))
        lapses = (0.0, 0.01, 0.1) if self.bounds[2, 1] > 0 else (0.0,)
        found = []
        for low, high in itertools.product(lapses, lapses):
            point = (bias, log_width, low, high)
            fit = _log_likelihood(chosen, trials, coarse.probability(point), coarse.complement(point))
            best = np.argmax(fit)
            found.append(np.array([bias[best, 0], log_width[best, 0], low, high]))
        return found

    def step(self, chosen: np.ndarray) -> np.ndarray:
        """Return the narrowest curve in the gap between levels where it errs least, with the lapses there."""
        chosen_below, trials_below = (np.concatenate(([0.0], np.cumsum(n))) for n in (chosen, self.trials))
        errors_above = (trials_below[-1] - trials_below) - (chosen_below[-1] - chosen_below)
        gap = np.argmin(chosen_below + errors_above)
        (lowest, highest), narrowest, largest_lapse = self.bounds[0], self.bounds[1, 0], self.bounds[2, 1]
        middles = np.concatenate(([lowest], (self.levels[:-1] + self.levels[1:]) / 2, [highest]))
        low = chosen_below[gap] / max(trials_below[gap], 1)
        high = errors_above[gap] / max(trials_below[-1] - trials_below[gap], 1)
        return np.array([middles[gap], narrowest, min(low, largest_lapse), min(high, largest_lapse)])

    def narrowed(self, point: np.ndarray) -> np.ndarray:
        """Return the narrowest curve that keeps its probability at the level nearest to the bias."""
        bias, log_width, low, high = point
        narrowest = self.bounds[1, 0]
        nearest = self.levels[np.argmin(np.abs(self.levels - bias))]
        return np.array([nearest - (nearest - bias) * np.exp(narrowest - log_width), narrowest, low, high])

    def maximise(self, chosen: np.ndarray, near: np.ndarray | None = None) -> tuple[np.ndarray, bool]:
        """Return the likeliest point, and whether the search for it converged.

        With ``near``, a point known to be close, the search starts there only.
        """
        from scipy import optimize

        def search(start: np.ndarray, bounds: np.ndarray) -> optimize.OptimizeResult:
            for _ in range(3):
                result = optimize.minimize(
                    self.cost,
                    start,
                    args=(chosen,),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=bounds,
                    options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500},
                )
                # A lapse that touched 0 can leave a curvature so steep that the line search gives up; a
                # fresh start where it stopped has forgotten that.
                if result.success:
                    break
                start = result.x
            return result

        if near is not None:
            result = search(near, self.bounds)
            return result.x, bool(result.success)
        result = min((search(start, self.bounds) for start in self.starts(chosen)), key=_cost_of)
        narrow = self.bounds.copy()
        narrow[1, 1] = narrow[1, 0]
        narrow_starts = (self.step(chosen), self.narrowed(result.x))
        as_step = min((search(start, narrow) for start in narrow_starts), key=_cost_of)
        # Where a step is as likely, nothing but the search's path chose among the narrower curves.
        if as_step.fun * self.trials.sum() <= result.fun * self.trials.sum() + 1e-5:
            result = as_step
        return result.x, bool(result.success)

    def cost(self, point: np.ndarray, chosen: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean negative log likelihood of a trial, and its gradient."""
        bias, log_width, low, high = point
        cumulative, density = _distribution(self.function)
        width = np.exp(log_width)
        u = (self.levels - bias) / width
        probability, complement = self.probability(point), self.complement(point)
        n = self.trials.sum()
        by_probability = -(
            chosen / np.maximum(probability, _TINY) - (self.trials - chosen) / np.maximum(complement, _TINY)
        )
        by_u = by_probability * (1 - low - high) * density(u)
        gradient = np.array(
            [
                -by_u.sum() / width,
                -(by_u * u).sum(),
                (by_probability * cumulative(-u)).sum(),
                -(by_probability * cumulative(u)).sum(),
            ]
        )
        return -float(_log_likelihood(chosen, self.trials, probability, complement)) / n, gradient / n


_TINY = 1e-300
"""Stands for a probability that underflowed, so that its logarithm is finite and a search can leave it."""


def _log_likelihood(
    chosen: np.ndarray, trials: np.ndarray, probability: np.ndarray, complement: np.ndarray
) -> np.ndarray:
    """Return the log likelihood of the choices, summed over the last axis; 0 log 0 is 0."""
    return np.sum(
        chosen * np.log(np.maximum(probability, _TINY))
        + (trials - chosen) * np.log(np.maximum(complement, _TINY)),
        axis=-1,
    )


def _cost_of(result: optimize.OptimizeResult) -> float:
    return float(result.fun)


def _distribution(
    function: str,
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Return F and its derivative."""
    from scipy import special

    if function == "logistic":
        return special.expit, lambda u: special.expit(u) * special.expit(-u)
    return special.ndtr, lambda u: np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)


def _in_stimulus_units(points: np.ndarray, middle: float, span: float) -> np.ndarray:
    """Turn points of a `_Problem`, shape (..., parameter), into parameters in the stimulus's own unit."""
    bias, log_width, low, high = np.moveaxis(points, -1, 0)
    return np.stack([middle + span * bias, span * np.exp(log_width), low, high], axis=-1)


def _merge_levels(
    stimulus: npt.ArrayLike, n_chosen: npt.ArrayLike, n_trials: npt.ArrayLike, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct levels that have trials, ascending, with their counts; refuse what has no fit."""
    values = np.asarray(stimulus)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise InputError(
            f"`stimulus` must be a one-dimensional array of numbers, got shape {values.shape} and dtype "
            f"{values.dtype}: give one number per level"
        )
    values = values.astype(np.float64)
    need_finite(values, "stimulus")
    chosen, trials = need_binomial_counts(n_chosen, n_trials, ("n_chosen", "n_trials"))
    if chosen.shape != values.shape:
        raise InputError(
            f"`stimulus`, `n_chosen` and `n_trials` must be equally long, got {values.size} stimuli and "
            f"counts of shape {chosen.shape}: give one count of each per stimulus"
        )
    present = trials > 0
    levels, index = np.unique(values[present], return_inverse=True)
    if levels.size < least:
        raise InputError(
            f"`stimulus` must have at least {least} different levels with trials, got {levels.size}: "
            + ("add levels, or fit with lapse=False" if levels.size == 2 else "add levels")
        )
    return levels, np.bincount(index, chosen[present]), np.bincount(index, trials[present])
