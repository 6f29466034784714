"""Averages over normal variables, of functions as steep as gain functions of strongly coupled networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

_REACH = 12.0
"""Standard deviations beyond which a normal variable has weight below rounding."""


@cache
def _panel(n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(n_nodes)


def normal_nodes(
    mean: float, deviation: float, *, n_nodes: int = 12, kinks: tuple[float, ...] = (-1.0, 0.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a normal variable and their weights, to average functions that bend near ``kinks``.

    Gauss and Legendre's rule on panels that become finer towards each kink, so that neither a corner nor a
    step that is narrow beside the deviation costs accuracy.

    Parameters
    ----------
    mean, deviation : float
        Of the normal variable; the deviation may be zero.
    n_nodes : int
        In each panel.
    kinks : tuple of float
        Where the function may have a corner.

    Returns
    -------
    points, weights : ndarray
        The weights sum to 1.

    Examples
    --------
    >>> points, weights = normal_nodes(0.0, 2.0)
    >>> bool(np.isclose(weights @ np.abs(points), 2 * np.sqrt(2 / np.pi), rtol=1e-12))
    True
    """
    if deviation == 0:
        return np.array([mean]), np.ones(1)
    centres = [(kink - mean) / deviation for kink in kinks]
    steps = np.r_[-_REACH, -(2.0 ** np.arange(3, -11, -1)), 0, 2.0 ** np.arange(-10, 4), _REACH]
    edges = np.r_[-_REACH, _REACH, *(np.clip(centre + steps, -_REACH, _REACH) for centre in centres)]
    edges = np.unique(np.r_[edges, np.arange(-_REACH, _REACH + 1)])
    node, weight = _panel(n_nodes)
    half = np.diff(edges)[:, None] / 2
    z = ((edges[:-1] + edges[1:])[:, None] / 2 + half * node).ravel()
    weights = (half * weight).ravel() * np.exp(-(z**2) / 2)
    return mean + deviation * z, weights / weights.sum()


def normal_average(function: Function, mean: float, deviation: float) -> float:
    """Return the average of a function of a normal variable.

    Examples
    --------
    >>> round(normal_average(np.square, 1.0, 2.0), 9)
    5.0
    """
    points, weights = normal_nodes(mean, deviation)
    return float(weights @ function(points))


def hermite_weights(function: Function, mean: float, deviation: float, *, n_terms: int = 300) -> np.ndarray:
    """Return how the average of f(x) f(y) depends on the correlation of two normal variables.

    Parameters
    ----------
    function : callable
    mean, deviation : float
        Of both variables.
    n_terms : int
        Terms that are computed. What they leave of the average at correlation 1, which is known, is given
        to one more.

    Returns
    -------
    ndarray, shape (n_terms + 1,)
        At least 0; the average at correlation c is sum_k weights[k] c^k (Mehler's formula).

    Examples
    --------
    >>> hermite_weights(np.square, 0.0, 1.0, n_terms=4).round(9) + 0
    array([1., 0., 2., 0., 0.])
    """
    z, weights = normal_nodes(0.0, 1.0) if deviation == 0 else _standard(mean, deviation)
    values = function(mean + deviation * z)
    result = np.zeros(n_terms + 1)
    before, polynomial = np.zeros_like(z), np.ones_like(z)
    for k in range(n_terms):
        result[k] = (weights @ (values * polynomial)) ** 2
        following = (z * polynomial - np.sqrt(k) * before) / np.sqrt(k + 1)
        before, polynomial = polynomial, following
    result[-1] = max(float(weights @ values**2) - result.sum(), 0.0)
    return result


def _standard(mean: float, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    points, weights = normal_nodes(mean, deviation)
    return (points - mean) / deviation, weights
