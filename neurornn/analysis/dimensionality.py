"""How many dimensions activity has: by its variances, by prediction of what was held out, against noise.

Reads rates (..., unit). Gives the participation ratio, a cross-validated dimensionality, and a noise floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.matrices import real_array, samples_of
from neurornn.numerics.covariance import covariance
from neurornn.vocabulary import COMPONENT, UNIT, InputError, need_choice, need_count

METHODS = ("shift", "shuffle", "gavish_donoho")


def participation_ratio(data: xr.Dataset | xr.DataArray | np.ndarray, *, center: bool = True) -> float:
    """Return the effective number of dimensions, (sum of variances)^2 / sum of squared variances.

    Parameters
    ----------
    data : xarray object or ndarray
        A recording (``rate``, or any array with ``unit``); a plain array of samples x units; the dataset of a
        whole `pca`; or the variances themselves, shape (component,).
    center : bool
        Whether the mean of each unit is taken off samples.

    Returns
    -------
    float
        Between 1, all variance along one direction, and the number of units, alike along all.

    Raises
    ------
    InputError
        Where variances are negative or none is positive, there are fewer than two samples, or the PCA holds
        only part of its components.

    Notes
    -----
    Of few samples it comes out too small: at most one less than there are samples.

    In Methods: "The dimensionality of activity was the participation ratio of the eigenvalues of its
    covariance, (sum lambda)^2 / sum lambda^2 (Gao et al., 2017)."

    References
    ----------
    Gao, P., Trautmann, E., Yu, B., Santhanam, G., Ryu, S., Shenoy, K. & Ganguli, S. (2017). A theory of
    multineuronal dimensionality, dynamics and measurement. bioRxiv 214262. doi:10.1101/214262

    Examples
    --------
    >>> participation_ratio(np.array([1.0, 1.0, 1.0, 0.0]))
    3.0
    >>> round(participation_ratio(np.array([2.0, 1.0])), 6)
    1.8
    """
    variances = _variances(data)
    if variances is None:
        samples = samples_of(data, "data", UNIT)
        _need_samples(samples)
        _, spread = covariance(samples, center=center)
        # Of the matrix both sums are at hand, without its eigenvalues.
        total, squares = float(np.trace(spread)), float((spread**2).sum())
    else:
        if (variances < 0).any():
            raise InputError(f"`data` must hold variances of at least 0, got {variances.min()}")
        total, squares = float(variances.sum()), float((variances**2).sum())
    if not total > 0:
        raise InputError("`data` must vary, but every variance is zero")
    return total**2 / squares


def _variances(data: Any) -> np.ndarray | None:
    """Return the variances where that is what came, None for samples."""
    if isinstance(data, xr.Dataset) and "explained_variance" in data:
        variances = real_array(data["explained_variance"], "data")
        if "total_variance" in data and variances.sum() < (1 - 1e-9) * float(data["total_variance"]):
            raise InputError(
                f"the PCA holds {variances.size} components and not all of the variance: pass one of all "
                "components, pca(activity)"
            )
        return variances
    if not isinstance(data, xr.Dataset) and np.ndim(data) == 1:
        if isinstance(data, xr.DataArray) and data.dims == (UNIT,):
            raise InputError(
                "`data` has no samples, only 'unit': pass a recording, or variances by 'component'"
            )
        return real_array(data, "data")
    return None


def _need_samples(samples: np.ndarray) -> None:
    if len(samples) < 2:
        raise InputError(
            f"`activity` needs at least 2 samples, got {len(samples)}: record more trials or steps"
        )


def cross_validated_dimensionality(
    activity: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    max_components: int | None = None,
    n_folds: int = 5,
    n_unit_folds: int = 4,
    seed: int = 0,
) -> xr.Dataset:
    """Find how many components predict best what was held out: of other units, in other samples.

    Some of the units in some of the samples are held out at a time; the leading components of the other
    units, fitted to the other samples, predict them by least squares. Components of noise predict nothing,
    and add error.

    Parameters
    ----------
    activity : xarray object or ndarray
        A recording, or samples x units. Folds of samples are contiguous, so that neighbours in time, which
        are alike, do not predict each other.
    max_components : int, optional
        Most components to try; by default as many as the units and samples that are held in allow.
    n_folds, n_unit_folds : int
        Into how many parts samples and units are divided; units at random.
    seed : int
        Of the division of the units.

    Returns
    -------
    xarray.Dataset
        ``held_out_error (n_components,)``, the squared error by the squared size of what was held out, for 0,
        1, ... components; ``dimensionality``, the least number of components with the least error.

    Raises
    ------
    InputError
        Where there are fewer samples or units than folds, or than components.

    Notes
    -----
    Components that are weaker than the noise of one sample block are not found: the count is that of
    components worth predicting with.

    In Methods: "The number of components was chosen by bi-cross-validation, leaving out a fifth of the
    samples of a quarter of the units at a time (Owen & Perry, 2009)."

    References
    ----------
    Owen, A. B. & Perry, P. O. (2009). Bi-cross-validation of the SVD and the nonnegative matrix
    factorization. The Annals of Applied Statistics 3, 564-594. doi:10.1214/08-AOAS227

    Examples
    --------
    Three shared signals among 40 units, each with noise of its own:

    >>> rng = np.random.default_rng(0)
    >>> signals = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 40))
    >>> noisy = signals + 0.5 * rng.standard_normal((500, 40))
    >>> int(cross_validated_dimensionality(noisy).dimensionality)
    3
    """
    samples = samples_of(activity, "activity", UNIT)
    n_samples, n_units = samples.shape
    folds, unit_folds = (
        need_count(n_folds, "n_folds", least=2),
        need_count(n_unit_folds, "n_unit_folds", least=2),
    )
    if n_samples < 2 * folds or n_units < unit_folds:
        raise InputError(
            f"`activity` needs at least 2 samples for each of {folds} folds and a unit for each of "
            f"{unit_folds}, got {n_samples} samples of {n_units} units: record more, or take fewer folds"
        )
    groups = np.array_split(np.random.default_rng(seed).permutation(n_units), unit_folds)
    most = min(n_units - max(map(len, groups)), n_samples - -(-n_samples // folds) - 1)
    if max_components is not None:
        wanted = need_count(max_components, "max_components")
        if wanted > most:
            raise InputError(
                f"`max_components` must be at most {most}, what the units and samples held in allow, got "
                f"{wanted}: record more, or take more folds"
            )
        most = wanted
    # Everything follows from sums of products in each block of samples.
    blocks = np.array_split(samples, folds)
    counts = np.array([len(block) for block in blocks])
    centre = samples.mean(axis=0)
    sums = np.array([(block - centre).sum(axis=0) for block in blocks])
    products = np.array([(block - centre).T @ (block - centre) for block in blocks])
    error, size = np.zeros(most + 1), 0.0
    for k in range(folds):
        others = [own for own in range(folds) if own != k]
        mean = sums[others].sum(axis=0) / counts[others].sum()
        # About the mean of the samples held in, which is all that may be known.
        inside = products[others].sum(axis=0) - counts[others].sum() * np.outer(mean, mean)
        shared = np.outer(sums[k], mean)
        outside = products[k] - shared - shared.T + counts[k] * np.outer(mean, mean)
        for out in groups:
            held_in = np.setdiff1d(np.arange(n_units), out)
            error += _prediction_errors(inside, outside, held_in, out, most)
            size += float(np.trace(outside[np.ix_(out, out)]))
    if not size > 0:
        raise InputError("`activity` must vary, but every unit is constant")
    error = error.clip(min=0) / size
    # Of activity without noise all components beyond the last true one predict alike, up to rounding.
    best = int(np.flatnonzero(error <= error.min() + 1e-9)[0])
    return xr.Dataset(
        {"held_out_error": ("n_components", error), "dimensionality": best},
        coords={"n_components": np.arange(most + 1)},
        attrs={"n_folds": folds, "n_unit_folds": unit_folds, "seed": seed},
    )


def _prediction_errors(
    inside: np.ndarray, outside: np.ndarray, held_in: np.ndarray, out: np.ndarray, most: int
) -> np.ndarray:
    """Return the squared error of predicting units from the 0, 1, ... leading components of others."""
    variance, vectors = np.linalg.eigh(inside[np.ix_(held_in, held_in)])
    variance, vectors = variance[::-1][:most], vectors[:, ::-1][:, :most]
    # What is below rounding holds no component.
    usable = variance > len(held_in) * np.finfo(float).eps * max(variance[0], 0.0)
    weights = vectors.T @ inside[np.ix_(held_in, out)] / np.where(usable, variance, 1)[:, None]
    weights[~usable] = 0
    cross = vectors.T @ outside[np.ix_(held_in, out)]
    own = vectors.T @ outside[np.ix_(held_in, held_in)] @ vectors
    # |A - B_k W_k|^2 = |A|^2 - 2 tr(W_k^T B_k^T A) + tr(W_k^T B_k^T B_k W_k), component by component.
    gained = 2 * (weights * cross).sum(axis=1)
    quadratic = own * (weights @ weights.T)
    added = 2 * np.tril(quadratic, -1).sum(axis=1) + quadratic.diagonal()
    return np.trace(outside[np.ix_(out, out)]) - np.r_[0, np.cumsum(gained - added)]


def noise_floor(
    activity: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    method: str = "shift",
    n_surrogates: int = 100,
    quantile: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Tell which components have more variance than units that know nothing of each other would give.

    Parameters
    ----------
    activity : xarray object or ndarray
        A recording, or samples x units.
    method : {"shift", "shuffle", "gavish_donoho"}
        How units are made independent: each one's series, trial after trial, is shifted round by a random
        time, which keeps how slowly it changes; or its samples are shuffled, which suits samples that are
        independent and makes too low a floor for others (parallel analysis). Or no surrogates, but the
        singular value below which, of a signal in white noise of unknown size, leaving a component out is
        better than keeping it.
    n_surrogates : int
        Surrogates of the first two methods.
    quantile : float
        Share of surrogates that stay below the floor.
    seed : int
        Of the surrogates.

    Returns
    -------
    xarray.Dataset
        ``explained_variance (component,)`` of the activity, largest first; ``noise_variance (component,)``,
        the floor of each; ``n_above``, the number of leading components above theirs.

    Raises
    ------
    InputError
        Where there are fewer than two samples, no such method, or a quantile not between 0 and 1.

    Notes
    -----
    In Methods: "Components counted as signal whose variance was above the 95th percentile of surrogates in
    which the series of each unit was shifted by a random time (parallel analysis; Horn, 1965)."

    References
    ----------
    Horn, J. L. (1965). A rationale and test for the number of factors in factor analysis. Psychometrika 30,
    179-185. doi:10.1007/BF02289447

    Gavish, M. & Donoho, D. L. (2014). The optimal hard threshold for singular values is 4/sqrt(3). IEEE
    Transactions on Information Theory 60, 5040-5053. doi:10.1109/TIT.2014.2323359

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signals = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 20))
    >>> noisy = signals + rng.standard_normal((400, 20))
    >>> [int(noise_floor(noisy, method=own).n_above) for own in ("shift", "shuffle", "gavish_donoho")]
    [2, 2, 2]
    """
    need_choice(method, "method", METHODS)
    count = need_count(n_surrogates, "n_surrogates")
    if not 0 < float(quantile) < 1:
        raise InputError(f"`quantile` must be between 0 and 1, got {quantile!r}")
    samples = samples_of(activity, "activity", UNIT)
    _need_samples(samples)
    n_samples, n_units = samples.shape
    samples = samples - samples.mean(axis=0)
    n_components = min(n_samples - 1, n_units)

    def variances(values: np.ndarray) -> np.ndarray:
        own = np.linalg.eigvalsh(values.T @ values)[::-1][:n_components]
        return own.clip(min=0) / (n_samples - 1)

    observed = variances(samples)
    if method == "gavish_donoho":
        singular = np.sqrt(observed * (n_samples - 1))
        threshold = _hard_threshold(n_units / n_samples) * float(np.median(singular))
        floor = np.full(n_components, threshold**2 / (n_samples - 1))
    else:
        rng = np.random.default_rng(seed)
        surrogates = np.empty((count, n_components))
        for k in range(count):
            if method == "shuffle":
                changed = rng.permuted(samples, axis=0)
            else:
                places = np.arange(n_samples)[:, None] + rng.integers(0, n_samples, n_units)
                changed = np.take_along_axis(samples, places % n_samples, axis=0)
            surrogates[k] = variances(changed)
        floor = np.quantile(surrogates, float(quantile), axis=0)
    below = np.flatnonzero(observed <= floor)
    return xr.Dataset(
        {
            "explained_variance": (COMPONENT, observed),
            "noise_variance": (COMPONENT, floor),
            "n_above": int(below[0]) if below.size else n_components,
        },
        coords={COMPONENT: np.arange(n_components)},
        attrs={"method": method, "quantile": float(quantile), "seed": seed},
    )


def _hard_threshold(aspect: float) -> float:
    """Return the best threshold for singular values by their median, in white noise of unknown size.

    Examples
    --------
    For square matrices 4 / sqrt(3) by the median of noise, as published:

    >>> round(_hard_threshold(1.0), 3)
    2.858
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq

    beta = min(aspect, 1 / aspect)
    best = np.sqrt(2 * (beta + 1) + 8 * beta / ((beta + 1) + np.sqrt(beta**2 + 14 * beta + 1)))
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2

    def share_below(x: float) -> float:
        # Of Marchenko and Pastur's law; in this angle its ends are smooth.
        def density(angle: float) -> float:
            own = low + (high - low) * np.sin(angle) ** 2
            root = (high - low) * np.sin(angle) * np.cos(angle)
            return (
                float(2 * root**2 / (2 * np.pi * beta * own))
                if own > 0
                else float((high - low) / np.pi / beta)
            )

        return float(quad(density, 0, np.arcsin(np.sqrt((x - low) / (high - low))))[0])

    median = brentq(lambda x: share_below(x) - 0.5, low, high)
    return float(best / np.sqrt(median))
