"""Counts of successes among trials, and the interval in which their probability lies.

Reads arrays of counts, gives arrays of the same shape. Behaviour and psychometric curves both stand on this.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from neurornn.vocabulary import InputError


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Return the standard normal's probability of a value up to each z.

    Examples
    --------
    >>> normal_cdf(np.array([0.0, np.inf])).tolist()
    [0.5, 1.0]
    """
    from scipy.special import ndtr

    return ndtr(np.asarray(z, float))


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations each side of its mean a normal variable spends a share of its time.

    Parameters
    ----------
    confidence : float
        The share, strictly between 0 and 1.

    Returns
    -------
    float
        1.96 for a confidence of 0.95.

    Raises
    ------
    InputError
        Where the confidence is no number between 0 and 1.

    Examples
    --------
    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    if (
        isinstance(confidence, bool)
        or not isinstance(confidence, int | float | np.number)
        or not 0 < float(confidence) < 1
    ):
        raise InputError(
            f"`confidence` must be a number between 0 and 1, got {confidence!r}: give 0.95 for 95 percent"
        )
    return NormalDist().inv_cdf(0.5 + float(confidence) / 2)


def need_binomial_counts(
    n_success: npt.ArrayLike,
    n: npt.ArrayLike,
    names: tuple[str, str] = ("n_success", "n"),
) -> tuple[np.ndarray, np.ndarray]:
    """Return both counts as float64 arrays of one shape, refusing what cannot be counts.

    Parameters
    ----------
    n_success, n : array_like
        Successes, and trials among which they were counted; shapes that broadcast.
    names : tuple of str, default ("n_success", "n")
        What the caller calls the two, for the sentence.

    Returns
    -------
    n_success, n : numpy.ndarray
        Float64, of the shape to which both broadcast.

    Raises
    ------
    InputError
        Where the shapes disagree, a count is negative or no whole number, or successes exceed trials.

    Examples
    --------
    >>> need_binomial_counts([1, 5], 4)
    Traceback (most recent call last):
    ...
    neurornn.vocabulary.InputError: `n_success` must not exceed `n`, got 5 of 4 at index (1,): \
check that the two are in this order
    """
    arrays = []
    for values, name in zip((n_success, n), names, strict=True):
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise InputError(
                f"`{name}` must be an array of counts, got dtype {array.dtype}: convert it to int"
            )
        array = array.astype(np.float64)
        bad = ~((array >= 0) & (array == np.floor(array)) & np.isfinite(array))
        if bad.any():
            place = tuple(int(k) for k in np.argwhere(bad)[0])
            raise InputError(
                f"`{name}` must hold whole numbers of at least 0, got {array[place]:g} at index {place}: "
                "give counts, not fractions"
            )
        arrays.append(array)
    try:
        success, trials = np.broadcast_arrays(*arrays)
    except ValueError:
        raise InputError(
            f"`{names[0]}` and `{names[1]}` must have the same shape, got {arrays[0].shape} and "
            f"{arrays[1].shape}: give one count of each per condition"
        ) from None
    bad = success > trials
    if bad.any():
        place = tuple(int(k) for k in np.argwhere(bad)[0])
        raise InputError(
            f"`{names[0]}` must not exceed `{names[1]}`, got {success[place]:g} of {trials[place]:g} at "
            f"index {place}: check that the two are in this order"
        )
    return success, trials


def wilson_interval(
    n_success: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's score interval for a binomial probability.

    Unlike the interval from the standard error, it never leaves [0, 1] and keeps its width when all
    trials are successes, which is where trained networks live.

    Parameters
    ----------
    n_success : array_like
        Number of successes, any shape.
    n : array_like
        Number of trials, a shape that broadcasts with ``n_success``.
    confidence : float, default 0.95
        Share of such intervals that hold the true probability; 0.95 is the field's habit.

    Returns
    -------
    lower, upper : numpy.ndarray
        Ends of the interval, float64, of the broadcast shape; NaN where there are no trials.

    Raises
    ------
    InputError
        Where the counts are no counts, or the confidence is not between 0 and 1.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. Journal of
    the American Statistical Association 22(158), 209-212. doi:10.1080/01621459.1927.10502953

    Examples
    --------
    >>> lower, upper = wilson_interval([0, 9, 10], 10)
    >>> lower.round(3), upper.round(3)
    (array([0.   , 0.596, 0.722]), array([0.278, 0.982, 1.   ]))
    """
    success, trials = need_binomial_counts(n_success, n)
    z = normal_quantile(confidence)
    counted = np.where(trials > 0, trials, np.nan)
    centre = (success + z**2 / 2) / (counted + z**2)
    half = z * np.sqrt(success * (counted - success) / counted + z**2 / 4) / (counted + z**2)
    # The ends are exact here; the subtraction would leave a rounding error, negative at times.
    lower = np.where((success == 0) & (trials > 0), 0.0, centre - half)
    upper = np.where((success == trials) & (trials > 0), 1.0, centre + half)
    return lower, upper
