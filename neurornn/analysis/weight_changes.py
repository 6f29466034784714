"""What learning changed: along how many directions weights moved, and what the leading ones recover.

Reads weights before and after. Gives singular values and vectors of the difference, its rank and overlaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.matrices import Matrix, real_array, samples_of
from neurornn.vocabulary import MODE, UNIT, InputError, need_count

CUT_RANK = "cut_rank"


def weight_change(
    before: Matrix | Any,
    after: Matrix | Any,
    *,
    ranks: Sequence[int] | None = None,
    activity: xr.Dataset | xr.DataArray | np.ndarray | None = None,
    score: Callable[[np.ndarray], float] | None = None,
) -> xr.Dataset:
    """Take a change of weights apart: its rank, its overlap with what was there, what few directions recover.

    Parameters
    ----------
    before, after : array or network, shape (unit, presynaptic_unit)
        Weights before and after learning, of networks the recurrent ones; any two matrices of one shape.
    ranks : sequence of int, optional
        Ranks k that the change is cut to, its k largest singular values; by default 0, 1, 2, 4, 8, ... and
        all.
    activity : xarray object or ndarray, optional
        Rates of the presynaptic units, samples x units: adds what share of the change of their effect W r
        each rank recovers.
    score : callable, optional
        Weights -> number, such as the loss or accuracy of a network with these recurrent weights: adds its
        value for ``before`` plus the change of each rank.

    Returns
    -------
    xarray.Dataset
        ``singular_value (mode,)`` of the change, ``left_vector (mode, unit)`` (what it drives) and
        ``right_vector (mode, presynaptic_unit)`` (what it listens to); ``participation_ratio``, (sum s^2)^2 /
        sum s^4, and ``stable_rank``, sum s^2 / max s^2; ``relative_change``, its Frobenius norm by that of
        ``before``; ``overlap``, the cosine of the angle between the change and ``before``, as vectors of all
        entries, of which chance makes about 1 / N.

        ``recovered_norm (cut_rank,)``, the share of the change's squared norm in its leading directions;
        ``recovered_effect (cut_rank,)`` with ``activity``: 1 - |(change - cut change) r|^2 / |change r|^2;
        with ``score``, ``score (cut_rank,)`` and ``recovered_score (cut_rank,)``, (score - score before) /
        (score after - score before), NaN where they are equal.

    Raises
    ------
    InputError
        Where shapes do not agree, an entry is not finite, nothing has changed, or a rank is out of range.

    Notes
    -----
    In Methods: "The change of the recurrent weights, W - W_0, was cut to its k largest singular values, and
    the network with W_0 plus this was tested (Schuessler et al., 2020); its rank was the participation ratio
    of its squared singular values."

    References
    ----------
    Schuessler, F., Mastrogiuseppe, F., Dubreuil, A., Ostojic, S. & Barak, O. (2020). The interplay between
    randomness and structure during learning in RNNs. Advances in Neural Information Processing Systems 33.
    arXiv:2006.11036

    Examples
    --------
    >>> random = np.random.default_rng(0).standard_normal((50, 50)) / 7
    >>> learned = random + 0.3 * np.outer(np.ones(50), np.eye(50)[0])
    >>> change = weight_change(random, learned, ranks=[0, 1])
    >>> round(float(change.participation_ratio), 6), change.recovered_norm.values.round(6).tolist()
    (1.0, [0.0, 1.0])
    """
    first, last = _weights(before, "before"), _weights(after, "after")
    if first.shape != last.shape:
        raise InputError(f"`before` and `after` must have one shape, got {first.shape} and {last.shape}")
    change = last - first
    size = float(np.linalg.norm(change))
    if size == 0:
        raise InputError(
            "`after` must differ from `before`, but every weight is the same: nothing was learned"
        )
    left, singular, right = np.linalg.svd(change, full_matrices=False)
    sign = np.sign(np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1))[:, 0]
    sign = np.where(sign == 0, 1.0, sign)
    most = len(singular)
    cuts = _ranks(ranks, most)
    squares = singular**2
    initial = float(np.linalg.norm(first))
    result = xr.Dataset(
        {
            "singular_value": (MODE, singular),
            "left_vector": ((MODE, UNIT), (left * sign).T),
            "right_vector": ((MODE, "presynaptic_unit"), right * sign[:, None]),
            "participation_ratio": float(squares.sum() ** 2 / (squares**2).sum()),
            "stable_rank": float(squares.sum() / squares[0]),
            "relative_change": size / initial if initial else np.inf,
            "overlap": float((change * first).sum() / (size * initial)) if initial else np.nan,
            "recovered_norm": (CUT_RANK, np.r_[0, np.cumsum(squares) / squares.sum()][cuts]),
        },
        coords={CUT_RANK: cuts},
    )
    if activity is not None:
        rates = samples_of(activity, "activity", UNIT)
        if rates.shape[1] != change.shape[1]:
            raise InputError(
                f"`activity` must have the {change.shape[1]} presynaptic units of the weights, got "
                f"{rates.shape[1]}"
            )
        # The left vectors are orthogonal: each direction's share of the effect is its own.
        effect = squares * ((rates @ right.T) ** 2).sum(axis=0)
        total = effect.sum()
        shares = np.r_[0, np.cumsum(effect)] / total if total > 0 else np.full(most + 1, np.nan)
        result["recovered_effect"] = (CUT_RANK, shares[cuts])
    if score is not None:
        scores = np.array([float(score(first + (left[:, :k] * singular[:k]) @ right[:k])) for k in cuts])
        ends = [float(score(own)) for own in (first, last)]
        gained = ends[1] - ends[0]
        result["score"] = (CUT_RANK, scores)
        result["recovered_score"] = (
            CUT_RANK,
            (scores - ends[0]) / gained if gained else np.full(len(cuts), np.nan),
        )
    return result


def _weights(source: Any, name: str) -> np.ndarray:
    weights = real_array(getattr(source, "recurrent_weight", source), name)
    if weights.ndim != 2 or not weights.size:
        raise InputError(f"`{name}` must be a matrix, shape (unit, presynaptic_unit), got {weights.shape}")
    return weights


def _ranks(ranks: Sequence[int] | None, most: int) -> np.ndarray:
    if ranks is None:
        doubled = [0] + [2**k for k in range(most.bit_length()) if 2**k < most] + [most]
        return np.array(doubled)
    cuts = [need_count(rank, "ranks", least=0) for rank in ranks]
    if not cuts or max(cuts) > most:
        raise InputError(f"`ranks` must be numbers from 0 to {most}, got {list(ranks)}")
    return np.array(cuts)
