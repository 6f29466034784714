"""LAPACK on many matrices at once, where one bad matrix must not take the others down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_Arrays = np.ndarray | tuple[np.ndarray, ...]


def each_alone_on_failure(
    function: Callable[[np.ndarray], _Arrays], matrices: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Apply a decomposition to a batch; where that fails, to each matrix by itself.

    LAPACK gives up on a whole batch when one matrix does not converge or holds a NaN.

    Parameters
    ----------
    function : callable
        Such as ``numpy.linalg.eig``: matrices ``(matrix, n, n)`` to one array or several, batch first.
    matrices : ndarray, shape (matrix, n, n)

    Returns
    -------
    tuple of ndarray
        What the function returns, NaN for each matrix on which it failed.

    Examples
    --------
    >>> batch = np.stack([np.eye(2), np.full((2, 2), np.nan), 2 * np.eye(2)])
    >>> (values,) = each_alone_on_failure(np.linalg.eigvals, batch)
    >>> values.tolist()
    [[1.0, 1.0], [nan, nan], [2.0, 2.0]]
    """
    try:
        return _as_tuple(function(matrices))
    except (np.linalg.LinAlgError, RuntimeError):
        pass
    blank = _as_tuple(function(np.eye(matrices.shape[-1])[None]))
    rows: list[tuple[np.ndarray, ...]] = []
    for matrix in matrices:
        try:
            rows.append(_as_tuple(function(matrix[None])))
        except (np.linalg.LinAlgError, RuntimeError):
            rows.append(tuple(np.full_like(part, np.nan) for part in blank))
    return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))


def _as_tuple(result: _Arrays) -> tuple[np.ndarray, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve many linear systems; of a singular one the solution is NaN, which the caller catches.

    Parameters
    ----------
    matrices : Tensor, shape (matrix, n, n)
    right : Tensor, shape (matrix, n)

    Returns
    -------
    Tensor, shape (matrix, n)

    Examples
    --------
    >>> solve(torch.stack([2 * torch.eye(2), torch.zeros(2, 2)]), torch.ones(2, 2)).tolist()
    [[0.5, 0.5], [nan, nan]]
    """
    solution, failed = torch.linalg.solve_ex(matrices, right[..., None])
    return torch.where((failed == 0)[..., None], solution[..., 0], torch.nan)


class Factorised:
    """Many matrices factorised once, for solutions, the sign of determinants and the size of inverses.

    Parameters
    ----------
    matrices : Tensor, shape (matrix, n, n)

    Examples
    --------
    >>> both = Factorised(torch.stack([2 * torch.eye(2), torch.zeros(2, 2)]))
    >>> both.sign().tolist(), both.solve(torch.ones(2, 2)).tolist()
    ([1.0, 0.0], [[0.5, 0.5], [nan, nan]])
    >>> both.inverse_norm().tolist()
    [0.7071067690849304, inf]
    """

    def __init__(self, matrices: Tensor) -> None:
        self._factors, self._pivots, failed = torch.linalg.lu_factor_ex(matrices)
        self._usable = (failed == 0) & torch.isfinite(self._factors).flatten(1).all(1)

    def solve(self, right: Tensor) -> Tensor:
        """Return the solutions for right sides ``(matrix, n)``, NaN where a matrix is singular."""
        solution = torch.linalg.lu_solve(self._factors, self._pivots, right[..., None])[..., 0]
        return torch.where(self._usable[:, None], solution, torch.nan)

    def sign(self) -> Tensor:
        """Return the signs of the determinants, 0 where a matrix is singular, NaN where it is not finite."""
        diagonal = self._factors.diagonal(dim1=1, dim2=2)
        n = diagonal.shape[1]
        swaps = (self._pivots != torch.arange(1, n + 1, dtype=self._pivots.dtype)).sum(1)
        sign = diagonal.sign().prod(1) * (1 - 2 * (swaps % 2))
        return torch.where(torch.isfinite(self._factors).flatten(1).all(1), sign, torch.nan)

    def inverse_norm(self) -> Tensor:
        """Return the Frobenius norm of each inverse, which bounds its 2-norm; infinite without an inverse."""
        n_matrices, n = self._factors.shape[:2]
        norm = self._factors.new_full((n_matrices,), torch.inf)
        # One by one: the inverses of all at once would be as large as all the rest.
        identity = torch.eye(n, dtype=self._factors.dtype)
        for k in self._usable.nonzero()[:, 0].tolist():
            inverse = torch.linalg.lu_solve(self._factors[k], self._pivots[k], identity)
            norm[k] = inverse.norm().nan_to_num(torch.inf)
        return norm
