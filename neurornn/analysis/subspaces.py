"""Subspaces of activity compared, and how far an embedding keeps neighbours together.

Reads axes (component, unit), or points. Gives principal angles, the alignment index, trustworthiness,
continuity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.matrices import real_array, samples_of
from neurornn.numerics.covariance import covariance
from neurornn.vocabulary import (
    COMPONENT,
    UNIT,
    InputError,
    need_choice,
    need_count,
    need_dims,
    need_variable,
)

METRICS = ("euclidean", "cosine")
_BLOCK_BYTES = 2**26


def subspace_angles(first: Any, second: Any) -> xr.Dataset:
    """Return the principal angles between two subspaces.

    Parameters
    ----------
    first, second : xarray object or ndarray
        Axes that span each: a dataset of `pca`, an array with ``component`` and ``unit``, or a plain array of
        shape (component, unit) or (unit,). They need not be orthogonal, nor as many.

    Returns
    -------
    xarray.Dataset
        ``principal_angle (component,)`` in radians, the smallest first, as many as the smaller subspace has
        dimensions: 0 for directions that both share, pi / 2 for a direction at right angles to all of the
        other; ``overlap``, the mean of the squared cosines.

    Raises
    ------
    InputError
        Where units disagree, or axes depend on each other and so span less than they are.

    Notes
    -----
    In Methods: "Subspaces were compared by their principal angles (Björck & Golub, 1973)."

    References
    ----------
    Björck, A. & Golub, G. H. (1973). Numerical methods for computing angles between linear subspaces.
    Mathematics of Computation 27, 579-594. doi:10.2307/2005662

    Examples
    --------
    >>> found = subspace_angles([[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]])
    >>> np.degrees(found.principal_angle.values).round(6).tolist(), round(float(found.overlap), 6)
    ([0.0, 45.0], 0.75)
    """
    from scipy.linalg import subspace_angles as angles_of

    one, other = _axes(first, "first"), _axes(second, "second")
    _need_same_units(one, other)
    angles = angles_of(one.T, other.T)[::-1]
    return xr.Dataset(
        {
            "principal_angle": (COMPONENT, angles, {"units": "rad"}),
            "overlap": float((np.cos(angles) ** 2).mean()),
        }
    )


def alignment_index(activity: xr.Dataset | xr.DataArray | np.ndarray, axes: Any) -> xr.Dataset:
    """Return how much of its variance activity has in a subspace, by the most that so many can hold.

    Parameters
    ----------
    activity : xarray object or ndarray
        A recording, or samples x units: of one condition or epoch.
    axes : xarray object or ndarray
        Axes that span the subspace, such as the `pca` of another condition: as for `subspace_angles`.

    Returns
    -------
    xarray.Dataset
        ``alignment_index``, between 0 (at right angles) and 1 (the activity's own leading components);
        ``expected_at_random``, its mean over subspaces of as many dimensions in any direction.

    Raises
    ------
    InputError
        Where units disagree, activity has fewer samples than the subspace dimensions, or does not vary.

    Notes
    -----
    In Methods: "The alignment index of two epochs was tr(D^T C D) / sum_k sigma_k, D the leading components
    of one, C the covariance of the other and sigma_k the largest eigenvalues of C (Elsayed et al., 2016)."

    References
    ----------
    Elsayed, G. F., Lara, A. H., Kaufman, M. T., Churchland, M. M. & Cunningham, J. P. (2016). Reorganization
    between preparatory and movement population responses in motor cortex. Nature Communications 7, 13239.
    doi:10.1038/ncomms13239

    Examples
    --------
    >>> samples = np.array([[2.0, 0], [-2.0, 0], [0, 1.0], [0, -1.0]])
    >>> found = alignment_index(samples, [0.0, 1.0])
    >>> float(found.alignment_index), float(found.expected_at_random)
    (0.25, 0.625)
    """
    samples, basis = samples_of(activity, "activity", UNIT), _axes(axes, "axes")
    _need_same_units(samples, basis)
    n_axes, n_units = basis.shape
    if len(samples) <= n_axes:
        raise InputError(
            f"`activity` needs more samples than the subspace has dimensions, {n_axes}, got {len(samples)}: "
            "record more, or compare fewer components"
        )
    _, spread = covariance(samples)
    orthonormal = np.linalg.qr(basis.T)[0]
    variance = np.linalg.eigvalsh(spread)[::-1]
    most = float(variance[:n_axes].sum())
    if not most > 0:
        raise InputError("`activity` must vary, but every unit is constant")
    within = float(np.trace(orthonormal.T @ spread @ orthonormal))
    return xr.Dataset(
        {
            # Of its own components rounding must not make more than all.
            "alignment_index": min(within / most, 1.0),
            "expected_at_random": n_axes / n_units * float(variance.sum()) / most,
        }
    )


def _axes(axes: Any, name: str) -> np.ndarray:
    """Return axes as rows, shape (component, unit), refusing those that depend on each other."""
    if isinstance(axes, xr.Dataset):
        axes = need_variable(axes, "component_vector", name)
    if isinstance(axes, xr.DataArray):
        need_dims(axes, (UNIT,), name)
        axes = axes.transpose(..., UNIT)
    rows = np.atleast_2d(real_array(axes, name))
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"`{name}` must have shape (component, unit), got {rows.shape}")
    rank = int(np.linalg.matrix_rank(rows))
    if rank < len(rows):
        raise InputError(
            f"`{name}` must be independent axes, but {len(rows)} of {rows.shape[1]} units span {rank} "
            "dimensions: pass as many components as there are"
        )
    return rows


def _need_same_units(one: np.ndarray, other: np.ndarray) -> None:
    if one.shape[1] != other.shape[1]:
        raise InputError(f"both must have the same units, got {one.shape[1]} and {other.shape[1]}")


def trustworthiness(
    original: Any,
    embedding: Any,
    n_neighbors: int = 5,
    *,
    metric: str = "euclidean",
    max_samples: int = 5000,
    seed: int = 0,
) -> float:
    """Return how far neighbours in an embedding are neighbours in truth, not strangers put together.

    Parameters
    ----------
    original, embedding : xarray object or ndarray
        The same points: a recording (``rate``), the dataset of a `pca` (``score``), an array with ``unit`` or
        ``component``, or a plain one of samples x variables.
    n_neighbors : int
        How many make a neighbourhood, less than half of the points.
    metric : {"euclidean", "cosine"}
        What is near, in both.
    max_samples : int
        Of more points that many are drawn at random: the time goes with the square.
    seed : int
        Of that draw.

    Returns
    -------
    float
        1 where nobody has a false neighbour, and so exactly for the points themselves; about 0.5 for an
        embedding at random.

    Raises
    ------
    InputError
        Where numbers of points differ or are too few, or there is no such metric.

    Notes
    -----
    As scikit-learn's, but for the metric, which here holds in the embedding too, and for points at equal
    distances, as in recordings many are, none of which counts as farther than another.

    In Methods: "Trustworthiness and continuity of the embedding were computed with k nearest neighbours
    (Venna & Kaski, 2001)."

    References
    ----------
    Venna, J. & Kaski, S. (2001). Neighborhood preservation in nonlinear projection methods: an experimental
    study. Artificial Neural Networks, ICANN 2001, 485-491. doi:10.1007/3-540-44668-0_68

    Examples
    --------
    Points on a line, two of which an embedding has exchanged:

    >>> line = np.arange(6.0)[:, None]
    >>> trustworthiness(line, line, 1)
    1.0
    >>> round(trustworthiness(line, np.array([0.0, 5.0, 2.3, 3.6, 1.1, 6.5])[:, None], 1), 4)
    0.4167
    """
    return _preservation(original, embedding, n_neighbors, metric, max_samples, seed)


def continuity(
    original: Any,
    embedding: Any,
    n_neighbors: int = 5,
    *,
    metric: str = "euclidean",
    max_samples: int = 5000,
    seed: int = 0,
) -> float:
    """Return how far true neighbours are neighbours in an embedding, not torn apart.

    Parameters
    ----------
    original, embedding, n_neighbors, metric, max_samples, seed
        As for `trustworthiness`, of which this is the mirror image.

    Returns
    -------
    float
        1 where nobody has lost a neighbour.

    Raises
    ------
    InputError
        As `trustworthiness`.

    Notes
    -----
    In Methods: "Trustworthiness and continuity of the embedding were computed with k nearest neighbours
    (Venna & Kaski, 2001)."

    References
    ----------
    Venna, J. & Kaski, S. (2001). Neighborhood preservation in nonlinear projection methods: an experimental
    study. Artificial Neural Networks, ICANN 2001, 485-491. doi:10.1007/3-540-44668-0_68

    Examples
    --------
    Folding a line makes false neighbours, but tears none apart:

    >>> line = np.arange(-4.0, 4.0)[:, None] + 0.25
    >>> folded = np.abs(line)
    >>> continuity(line, folded, 2) > trustworthiness(line, folded, 2)
    True
    """
    return _preservation(embedding, original, n_neighbors, metric, max_samples, seed)


def _preservation(
    ranked: Any, near: Any, n_neighbors: int, metric: str, max_samples: int, seed: int
) -> float:
    """Return 1 less the normalised sum of how far, by rank, neighbours in ``near`` are away in ``ranked``."""
    from scipy.spatial.distance import cdist

    need_choice(metric, "metric", METRICS)
    k, limit = need_count(n_neighbors, "n_neighbors"), need_count(max_samples, "max_samples", least=3)
    one, other = samples_of(ranked, "original"), samples_of(near, "embedding")
    if len(one) != len(other):
        raise InputError(f"both must have the same points, got {len(one)} and {len(other)}")
    if len(one) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(len(one), limit, replace=False))
        one, other = one[kept], other[kept]
    n = len(one)
    if 2 * k >= n:
        raise InputError(f"`n_neighbors` must be less than half of the {n} points, got {k}")
    if metric == "cosine" and not ((one != 0).any(axis=1).all() and (other != 0).any(axis=1).all()):
        raise InputError("a point at the origin has no direction: leave it out, or use metric='euclidean'")
    penalty = 0
    rows = max(1, _BLOCK_BYTES // (8 * n))
    for first in range(0, n, rows):
        members = np.arange(first, min(first + rows, n))
        distance = cdist(other[members], other, metric)
        distance[np.arange(len(members)), members] = np.inf
        neighbours = np.argsort(distance, axis=1, kind="stable")[:, :k]
        distance = cdist(one[members], one, metric)
        distance[np.arange(len(members)), members] = np.inf
        ordered = np.sort(distance, axis=1)
        for row, own in enumerate(neighbours):
            # How many are nearer: of equals none is.
            rank = np.searchsorted(ordered[row], distance[row, own], side="left") + 1
            penalty += int((rank - k).clip(min=0).sum())
    return 1 - penalty * 2 / (n * k * (2 * n - 3 * k - 1))
