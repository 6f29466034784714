"""Many linear systems of one size solved at once by GMRES, which needs their products with vectors only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gmres(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    *,
    n_steps: int,
    tolerance: float,
    share: float = 0.98,
    check_every: int = 2,
) -> tuple[Tensor, int]:
    """Solve A_k x_k = b_k for every row k by the generalised minimal residual method, without restart.

    Parameters
    ----------
    product : callable
        Row k of ``(system, n)`` times A_k, for all rows at once.
    right : Tensor, shape (system, n)
        The right sides b. A row of zeros has the solution zero.
    n_steps : int
        Most products; the memory is ``system * n_steps * n`` numbers.
    tolerance : float
        Relative residual at which a system counts as solved.
    share : float
        Share of the systems that must be solved before all stop: the last few would cost all the others.
    check_every : int
        Steps between two looks at the residuals.

    Returns
    -------
    solution : Tensor, shape (system, n)
        The best within the subspaces built so far.
    n_steps : int
        How many products were taken for each.

    References
    ----------
    Saad, Y. & Schultz, M. H. (1986). GMRES: a generalized minimal residual algorithm for solving
    nonsymmetric linear systems. SIAM Journal on Scientific and Statistical Computing 7, 856-869.
    doi:10.1137/0907058

    Examples
    --------
    >>> scale = torch.tensor([[2.0, 4.0], [1.0, 8.0]])
    >>> gmres(lambda v: scale * v, torch.ones(2, 2), n_steps=2, tolerance=1e-6)[0].round(decimals=4)
    tensor([[0.5000, 0.2500],
            [1.0000, 0.1250]])
    """
    n_systems, n = right.shape
    n_steps = min(n_steps, n)
    tiny = torch.finfo(right.dtype).tiny
    length = right.norm(dim=1)
    basis = right.new_empty(n_systems, n_steps + 1, n)
    hessenberg = right.new_zeros(n_systems, n_steps + 1, n_steps)
    basis[:, 0] = right / length.clamp_min(tiny)[:, None]
    for step in range(1, n_steps + 1):
        vector = product(basis[:, step - 1])
        known = basis[:, :step]
        # Twice: in float32 one pass of Gram and Schmidt leaves the basis far from orthogonal.
        for _ in range(2):
            overlap = torch.bmm(known, vector[:, :, None])
            vector = vector - torch.bmm(overlap.mT, known)[:, 0]
            hessenberg[:, :step, step - 1] += overlap[..., 0]
        rest = vector.norm(dim=1)
        hessenberg[:, step, step - 1] = rest
        basis[:, step] = vector / rest.clamp_min(tiny)[:, None]
        if step == n_steps or step % check_every == 0:
            rotation, triangle = torch.linalg.qr(hessenberg[:, : step + 1, :step], mode="complete")
            # The right side is `length` times the first basis vector.
            rotated = rotation[:, 0] * length[:, None]
            residual = rotated[:, step].abs()
            if step == n_steps or (residual <= tolerance * length).float().mean() >= share:
                break
    triangle = triangle[:, :step].contiguous()
    diagonal = triangle.diagonal(dim1=1, dim2=2)
    # A basis that is exhausted leaves zeros here, and nothing to be divided by them.
    diagonal.copy_(torch.where(diagonal.abs() < tiny, torch.full_like(diagonal, torch.inf), diagonal))
    weights = torch.linalg.solve_triangular(triangle, rotated[:, :step, None], upper=True)
    return torch.bmm(weights.mT, basis[:, :step])[:, 0], step
