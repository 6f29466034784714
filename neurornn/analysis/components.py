"""Principal components and singular vectors of hidden activity.

Reads rates (..., unit). Gives axes, variances and scores. Maths: the eigenvectors of the units' covariance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn.numerics.covariance import MANY, Scatter
from neurornn.vocabulary import (
    COMPONENT,
    CONDITION,
    MODE,
    TIME,
    UNIT,
    InputError,
    need_count,
    need_dims,
    need_finite,
    need_variable,
)

CENTERS = ("unit", "time", "condition", None)
SLAB_BYTES = 32 * 2**20
"""How much of a recording is looked at at once, in float64."""


def pca(
    activity: xr.Dataset | xr.DataArray,
    n_components: int | None = None,
    *,
    center: str | None = "unit",
    average_over: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Find the directions in which the units' rates vary most.

    Parameters
    ----------
    activity : xarray.Dataset or DataArray
        A dataset with ``rate``, or an array; any dimensions, in any order, of which one is ``unit``. Steps
        that are not ``valid`` do not count.
    n_components : int, optional
        How many to keep; all by default.
    center : {"unit", "time", "condition", None}
        What is subtracted first: each unit's mean over everything; its mean at each time (what all trials
        share in time goes); its mean in each condition (needs a dimension or a trial coordinate
        ``condition``); or nothing.
    average_over : str or sequence of str, optional
        Dimensions to average over before anything else, for example ``"trial"``.

    Returns
    -------
    xarray.Dataset
        ``component_vector (component, unit)`` of length 1, the entry of largest magnitude positive;
        ``score (..., component)``; ``explained_variance (component,)`` (divided by the number of samples
        less 1), ``explained_variance_ratio``; ``mean``, what was subtracted; ``total_variance``. The trials'
        own coordinate ``score`` is called ``trial_score`` here. ``valid`` where trials are padded.

    Raises
    ------
    InputError
        Where ``unit`` is missing, a rate is not finite, or fewer than two samples are left.

    References
    ----------
    Jolliffe, I. T. & Cadima, J. (2016). Principal component analysis: a review and recent developments.
    Philosophical Transactions of the Royal Society A 374, 20150202. doi:10.1098/rsta.2015.0202

    Examples
    --------
    >>> line = xr.DataArray(np.outer(np.arange(5.0), [3.0, 4.0]), dims=("time", "unit"))
    >>> pcs = pca(line)
    >>> pcs.component_vector[0].values.round(6), pcs.explained_variance.values.round(6)
    (array([0.6, 0.8]), array([62.5,  0. ]))
    """
    if center not in CENTERS:
        raise InputError(f"`center` must be one of {CENTERS}, got {center!r}")
    rate, valid = _rates(activity)
    if average_over is not None:
        over = [average_over] if isinstance(average_over, str) else list(average_over)
        need_dims(rate, over)
        rate = rate.where(valid).mean(over, keep_attrs=True)
        valid = valid.any([dim for dim in over if dim in valid.dims])
    *dims, _ = rate.dims
    counts = valid.variable.set_dims({dim: rate.sizes[dim] for dim in dims}).transpose(*dims)
    n_samples = int(counts.sum())
    if n_samples < 2:
        raise InputError(f"pca needs at least 2 samples, got {n_samples}: record more trials or steps")
    limit = rate.sizes[UNIT]
    kept = limit if n_components is None else need_count(n_components, "n_components")
    if kept > limit:
        raise InputError(f"`n_components` must be at most the number of units {limit}, got {kept}")
    # A mean of each unit comes out of the same sums as the covariance.
    mean = None if center in ("unit", None) else _mean(rate, valid, center)
    offset = None if mean is None else mean.sel(_lookup(rate, mean)).variable
    spread, means = _spread(rate.variable, counts, offset, n_samples, center)
    variance, vectors = np.linalg.eigh(spread)
    # Descending; what rounding leaves below zero is zero.
    variance, vectors = variance[::-1].clip(min=0), _positive_peaks(vectors[:, ::-1].T)
    total = variance.sum()
    if mean is None:
        offset = xr.Variable(UNIT, means if center == "unit" else np.zeros(limit))
    scores = np.empty((*rate.shape[:-1], kept))
    # As precise as the rates are: of many float32 ones the products are float32's too.
    dtype = np.float32 if n_samples >= MANY and rate.dtype == np.float32 else np.float64
    axes = vectors[:kept].T.astype(dtype)
    for place, values, its_offset in _slabs(rate.variable, offset):
        scores[place] = np.subtract(values, its_offset, dtype=dtype) @ axes
    share = variance[:kept] / total if total > 0 else variance[:kept]
    variables = {
        "component_vector": ((COMPONENT, UNIT), vectors[:kept]),
        "score": ((*dims, COMPONENT), scores),
        "explained_variance": (COMPONENT, variance[:kept]),
        "explained_variance_ratio": (COMPONENT, share),
        "total_variance": total,
        "mean": offset if mean is None else mean,
    }
    if not bool(counts.all()):
        variables["valid"] = valid.variable
    return xr.Dataset(
        variables,
        coords={**_coordinates(rate), COMPONENT: np.arange(kept)},
        attrs={"center": center or "none", "n_samples": n_samples},
    )


def project(data: xr.Dataset | xr.DataArray, pcs: xr.Dataset, *, center: bool = True) -> xr.Dataset:
    """Look at other data along the axes of a PCA.

    Parameters
    ----------
    data : xarray.Dataset or DataArray
        A recording, fixed points, or any array with ``unit``. Of fixed points the directions are projected
        too, without the offset.
    pcs : xarray.Dataset
        From `pca`, centred by ``"unit"`` or not at all.
    center : bool
        Whether the PCA's mean is subtracted: False for vectors, which have no origin.

    Returns
    -------
    xarray.Dataset
        ``score (..., component)``; of fixed points also ``direction (fixed_point, leading_mode,
        component)``.

    Raises
    ------
    InputError
        Where units disagree or the mean depends on more than the unit.

    Examples
    --------
    >>> line = xr.DataArray(np.outer(np.arange(5.0), [3.0, 4.0]), dims=("time", "unit"))
    >>> origin = xr.DataArray([[0.0, 0.0]], dims=("sample", "unit"))
    >>> project(origin, pca(line, 1)).score.values
    array([[-10.]])
    """
    need_dims(need_variable(pcs, "component_vector", "pcs"), (COMPONENT, UNIT), "pcs")
    rate, _ = _rates(data, "data")
    if rate.sizes[UNIT] != pcs.sizes[UNIT]:
        raise InputError(
            f"`data` has {rate.sizes[UNIT]} units, the PCA has {pcs.sizes[UNIT]}: they must agree"
        )
    if center:
        if pcs["mean"].dims != (UNIT,):
            raise InputError(
                f"the PCA was centred by {pcs.attrs.get('center')!r}, so that its mean depends on more "
                "than the unit: project onto one centred by 'unit', or pass center=False"
            )
        rate = rate - pcs["mean"].to_numpy()
    axes = pcs["component_vector"].transpose(COMPONENT, UNIT).to_numpy()

    def along(array: xr.DataArray) -> xr.DataArray:
        dims = [dim for dim in array.dims if dim != UNIT]
        coords = {name: own for name, own in _coordinates(array).items() if UNIT not in own.dims}
        values = array.transpose(*dims, UNIT).to_numpy() @ axes.T
        return xr.DataArray(values, dims=(*dims, COMPONENT), coords=coords)

    result = xr.Dataset({"score": along(rate)}).assign_coords({COMPONENT: pcs[COMPONENT]})
    if isinstance(data, xr.Dataset) and "rate_direction" in data:
        result["direction"] = along(data["rate_direction"])
    return result


def svd(
    activity_or_matrix: xr.Dataset | xr.DataArray | np.ndarray | torch.Tensor, center: bool = False
) -> xr.Dataset:
    """Take the singular value decomposition of a weight matrix, or of activity as samples x units.

    Parameters
    ----------
    activity_or_matrix : xarray object, ndarray or Tensor
        Two-dimensional; of activity, ``unit`` makes the columns and everything else the rows.
    center : bool
        Whether each column's mean is taken off first. Of activity, the uncentred decomposition is not a PCA.

    Returns
    -------
    xarray.Dataset
        ``left_vector (..., mode)``, ``singular_value (mode,)`` descending, ``right_vector (mode, column)``,
        the entry of largest magnitude of each right vector positive.

    Raises
    ------
    InputError
        Where the array has not two dimensions or an entry is not finite.

    Examples
    --------
    >>> svd(np.diag([3.0, -5.0])).singular_value.values
    array([5., 3.])
    """
    if isinstance(activity_or_matrix, xr.Dataset | xr.DataArray) and UNIT in activity_or_matrix.dims:
        array, valid = _rates(activity_or_matrix)
        array = array.where(valid, 0)
    elif isinstance(activity_or_matrix, xr.DataArray):
        array = activity_or_matrix
    else:
        values = _as_array(activity_or_matrix)
        if values.ndim != 2:
            raise InputError(
                f"svd needs a matrix, got an array of shape {values.shape}: label its axes as xarray"
            )
        array = xr.DataArray(values, dims=("row", "column"))
    if array.ndim < 2:
        raise InputError(f"svd needs a matrix, got dimensions {array.dims}")
    *rows, column = array.dims
    matrix = array.to_numpy().reshape(-1, array.sizes[column]).astype(np.float64)
    need_finite(matrix, "activity_or_matrix")
    if center:
        matrix = matrix - matrix.mean(axis=0)
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    sign = _peak_signs(right)
    shape = (*(array.sizes[row] for row in rows), len(singular))
    return xr.Dataset(
        {
            "left_vector": ((*rows, MODE), (left * sign).reshape(shape)),
            "singular_value": (MODE, singular),
            "right_vector": ((MODE, column), right * sign[:, None]),
        },
        coords={**array.coords, MODE: np.arange(len(singular))},
        attrs={"center": int(center)},
    )


def _as_array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def _rates(data: xr.Dataset | xr.DataArray, name: str = "activity") -> tuple[xr.DataArray, xr.DataArray]:
    """Return the rates with ``unit`` last, and which entries count."""
    if isinstance(data, xr.Dataset):
        need_dims(data, (UNIT,), name)
        rate = need_variable(data, "rate", name)
        valid = data["valid"] if "valid" in data else None
    else:
        need_dims(data, (UNIT,), name)
        rate, valid = data, None
    rate = rate.transpose(..., UNIT)
    if valid is None:
        dims = rate.dims[:-1]
        valid = xr.DataArray(np.ones(rate.shape[:-1], bool), dims=dims)
    return rate, valid


def _coordinates(rate: xr.DataArray) -> dict[str, xr.Variable]:
    """Return the coordinates, the trials' ``score`` renamed: a component's scores are called so here."""
    return {
        "trial_score" if name == "score" else str(name): rate.coords[name].variable for name in rate.coords
    }


def _slabs(
    rate: xr.Variable, offset: xr.Variable | None
) -> Iterator[tuple[slice, np.ndarray, np.ndarray | float]]:
    """Go through rates piece by piece along their first dimension, each with what is to be subtracted.

    What is read from a file piece by piece is never in memory as a whole.
    """
    along = rate.dims[0]
    rows = max(1, SLAB_BYTES // max(8 * rate.size // max(rate.shape[0], 1), 1))
    for first in range(0, rate.shape[0], rows):
        place = slice(first, first + rows)
        part = rate.isel({along: place})
        if offset is None:
            yield place, part.to_numpy(), 0.0
            continue
        own = offset.isel({along: place}) if along in offset.dims else offset
        spread = own.set_dims(dict(part.sizes)).transpose(*part.dims)
        yield place, part.to_numpy(), spread.to_numpy()


def _spread(
    rate: xr.Variable, counts: xr.Variable, offset: xr.Variable | None, n_samples: int, center: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance of the valid samples, or their second moments, and the mean of each unit."""
    n_units = rate.sizes[UNIT]
    for single in (n_samples >= MANY, False):
        scatter = Scatter(n_units, single=single)
        for place, values, its_offset in _slabs(rate, offset):
            samples = (values if offset is None else values - its_offset).reshape(-1, n_units)
            wanted = counts[place].to_numpy().ravel()
            samples = samples if wanted.all() else samples[wanted]
            scatter.add(samples)
            if not scatter.is_finite:
                need_finite(samples, "activity")
                break
        # Finite samples whose squares are beyond float32 are taken again.
        if scatter.is_finite:
            break
    return scatter.covariance(center=center == "unit"), scatter.mean


def _mean(rate: xr.DataArray, valid: xr.DataArray, center: str) -> xr.DataArray:
    """Return the mean of each unit at each time, or in each condition."""
    counted = rate.where(valid).astype(np.float64)
    if center == "time":
        need_dims(rate, (TIME,))
        return counted.mean([dim for dim in rate.dims if dim not in (UNIT, TIME)])
    if CONDITION in rate.dims:
        return counted.mean([dim for dim in rate.dims if dim not in (UNIT, CONDITION)])
    if CONDITION not in rate.coords:
        raise InputError(
            "center='condition' needs a dimension or a trial coordinate 'condition': "
            "add one with activity.assign_coords(condition=('trial', labels))"
        )
    return counted.groupby(CONDITION).mean([dim for dim in rate.dims if dim != UNIT])


def _lookup(rate: xr.DataArray, mean: xr.DataArray) -> dict[str, Any]:
    """Return how to spread a mean per condition over the trials of that condition."""
    if CONDITION in mean.dims and CONDITION not in rate.dims:
        return {CONDITION: rate[CONDITION]}
    return {}


def _peak_signs(vectors: np.ndarray) -> np.ndarray:
    """Return the sign of each row's entry of largest magnitude (1 for a row of zeros)."""
    peak = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(peak < 0, -1.0, 1.0)


def _positive_peaks(vectors: np.ndarray) -> np.ndarray:
    return vectors * _peak_signs(vectors)[:, None]
