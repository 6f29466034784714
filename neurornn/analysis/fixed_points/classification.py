"""What is known of points found: stability, modes and their vectors, and how sure all of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurornn.analysis.maps import StateMap
from neurornn.numerics.arnoldi import SPARE, leading_modes, without_cut
from neurornn.numerics.eigen import eigensystem
from neurornn.numerics.guarded import Factorised, each_alone_on_failure

N_DIRECTIONS = 3
"""How many modes, the largest modulus first, have their vectors kept."""

LARGEST_FULL_SPECTRUM = 200
"""State variables up to which every mode is computed. Beyond, all modes of a point take longer than finding
it; the leading ones take a tenth of that."""

N_LEADING = 4
"""Modes that are computed at least beyond that size; all that are unstable are."""

_MOST_DEFECTIVE = 0.2
"""Rounding moves the eigenvalues of a block of ten equal ones by some hundredths: beyond, they are safe."""


@dataclass
class Spectra:
    """Modes of several matrices, the largest modulus first, NaN where fewer were computed.

    Attributes
    ----------
    eigenvalues : ndarray of complex, shape (fixed_point, mode)
    condition : ndarray, shape (fixed_point, mode)
        How far a small change of the matrix moves each at most.
    right, left : ndarray of complex, shape (fixed_point, leading_mode, state_variable)
        The first modes' vectors, the right ones of length 1 and the left ones scaled to unit overlap with
        them; NaN where a matrix is defective.
    """

    eigenvalues: np.ndarray
    condition: np.ndarray
    right: np.ndarray
    left: np.ndarray


@torch.no_grad()
def describe_points(
    system: StateMap,
    points: Tensor,
    is_zero: Tensor,
    n_modes: int | None = None,
    seen_from: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Measure everything about points at the points themselves.

    Parameters
    ----------
    system : StateMap
    points : Tensor, shape (fixed_point, state_variable)
    is_zero : Tensor of bool, shape (fixed_point,)
    n_modes : int, optional
        How many modes at least; all up to 200 state variables where it is left out, else 4.
    seen_from : Tensor, shape (fixed_point, state_variable), optional
        Where the derivative is taken, for points on a kink: the states themselves where it is left out.

    Returns
    -------
    dict of str to ndarray
        The variables of `find_fixed_points` on ``fixed_point``, and ``index``, the sign of det(I - J).
    """
    n = points.shape[1]
    residual = system.residual(points)
    slope = system.jacobian(points if seen_from is None else seen_from)
    flow = (slope - torch.eye(n, dtype=slope.dtype)) / system.alpha[..., None]
    speed = residual.norm(dim=1)
    rounding = n**0.5 * torch.finfo(points.dtype).eps * (1 + points.abs().amax(1))
    factors = Factorised(flow)
    position_error = (speed + rounding) * factors.inverse_norm()
    newton_step = -factors.solve(residual)
    spectra = _spectra(slope.numpy(), n_modes)
    moved = system.jacobian(torch.where(torch.isfinite(newton_step), points + newton_step, points))
    marginal = _is_marginal(spectra, slope, moved if seen_from is None else slope)
    n_unstable = (np.abs(spectra.eigenvalues) > 1).sum(axis=1)
    unknown = np.isnan(spectra.eigenvalues[:, :1]).any(axis=1)
    kind = np.select(
        [~is_zero.numpy(), marginal | unknown, n_unstable == 0, n_unstable == n],
        ["slow", "marginal", "stable", "unstable"],
        "saddle",
    )
    return {
        "state": points.numpy(),
        "rate": system.rates(points).numpy(),
        "residual": residual.abs().amax(1).numpy(),
        "speed": speed.numpy(),
        "position_error": position_error.numpy(),
        "eigenvalue": spectra.eigenvalues,
        "state_direction": spectra.right,
        "selection_vector": spectra.left,
        "rate_direction": _rate_directions(system, points, spectra.right),
        "reactivity": _reactivity(flow.numpy()),
        "kind": kind,
        "n_unstable": n_unstable,
        # det(I - J), of which a leak only scales the rows.
        "index": ((-1) ** n * factors.sign()).numpy(),
    }


def _spectra(jacobians: np.ndarray, n_modes: int | None) -> Spectra:
    """Return all modes of small matrices, and the leading ones of large ones, the unstable all among them."""
    n = jacobians.shape[1]
    wanted = n_modes or (n if n <= LARGEST_FULL_SPECTRUM else N_LEADING)
    if n <= LARGEST_FULL_SPECTRUM or wanted > n // 8:
        return _full_spectra(jacobians)
    rows = [_leading(own, wanted) for own in jacobians]
    count = max((len(own.eigenvalues[0]) for own in rows), default=wanted)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, ((0, 0), (0, count - values.shape[1])), constant_values=np.nan)

    vectors = np.empty((0, min(N_DIRECTIONS, n), n), complex)
    return Spectra(
        np.concatenate([np.empty((0, count), complex), *(padded(own.eigenvalues) for own in rows)]),
        np.concatenate([np.empty((0, count)), *(padded(own.condition) for own in rows)]),
        np.concatenate([vectors, *(own.right for own in rows)]),
        np.concatenate([vectors, *(own.left for own in rows)]),
    )


def _leading(jacobian: np.ndarray, n_modes: int) -> Spectra:
    n = len(jacobian)
    # Where very many modes are unstable all of them together take no longer.
    while n_modes <= n // 8:
        found = leading_modes(jacobian, n_modes + SPARE)
        if found is None:
            break
        # Where the smallest that is kept lies within the circle, and so do those behind it, none is missed.
        kept = without_cut(found[0], n_modes)
        eigenvalues, right, left = (part[:kept] for part in found)
        if abs(eigenvalues[-1]) < 0.99 and len(found[0]) >= n_modes:
            condition = np.linalg.norm(left, axis=1)
            return _kept(eigenvalues[None], condition[None], right[None], left[None])
        n_modes *= 4
    return _full_spectra(jacobian[None])


def _full_spectra(jacobians: np.ndarray) -> Spectra:
    eigenvalues, vectors = each_alone_on_failure(eigensystem, jacobians)
    left, condition = np.full_like(vectors, np.nan), np.full(eigenvalues.shape, np.inf)
    n = jacobians.shape[1]
    for k, own in enumerate(vectors):
        try:
            inverse = np.linalg.inv(own)
        except np.linalg.LinAlgError:
            continue
        # Beyond this the vectors span less than the space to working precision: there is no left basis.
        if np.linalg.norm(own) * np.linalg.norm(inverse) < 1 / (n * np.finfo(float).eps):
            left[k], condition[k] = inverse, np.linalg.norm(inverse, axis=1)
    return _kept(eigenvalues, condition, vectors.transpose(0, 2, 1), left)


def _kept(eigenvalues: np.ndarray, condition: np.ndarray, right: np.ndarray, left: np.ndarray) -> Spectra:
    """Keep the first modes' vectors, turned so that the largest entry of each right one is positive."""
    count = min(N_DIRECTIONS, right.shape[2])
    right, left = right[:, :count], left[:, :count]
    missing = count - right.shape[1]
    right, left = (
        np.pad(own, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan) for own in (right, left)
    )
    if right.size:
        largest = np.take_along_axis(right, np.abs(right).argmax(axis=2)[..., None], axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            turn = largest / np.abs(largest)
            right, left = right / turn, left * turn
    return Spectra(eigenvalues, condition, right, left)


def _is_marginal(spectra: Spectra, slope: Tensor, moved: Tensor) -> np.ndarray:
    """Return which points have a mode nearer to the unit circle than ten times its error.

    By Bauer and Fike the error is at most the eigenvalue's condition number times the error of the Jacobian:
    rounding, and what the Jacobian changes over the Newton step that is still left to the true zero. Where a
    matrix is defective there is no such number: then the question is whether an error of that size can put an
    eigenvalue on the circle, which the smallest singular value of the difference to the circle tells.
    """
    n = slope.shape[-1]
    norm = slope.flatten(1).norm(dim=1)
    wrong = ((moved - slope).flatten(1).norm(dim=1) + n * torch.finfo(slope.dtype).eps * norm).numpy()
    modulus = np.abs(spectra.eigenvalues)
    off = np.abs(modulus - 1)
    with np.errstate(invalid="ignore"):
        marginal = (off < 10 * spectra.condition * wrong[:, None]) & np.isfinite(spectra.condition)
    for point, mode in np.argwhere(~np.isfinite(spectra.condition) & (off < _MOST_DEFECTIVE)):
        on_circle = spectra.eigenvalues[point, mode] / modulus[point, mode]
        (smallest,) = each_alone_on_failure(
            lambda own: np.linalg.svd(own, compute_uv=False)[:, -1],
            (on_circle * np.eye(n) - slope[point].numpy())[None],
        )
        marginal[point, mode] = not smallest[0] > 10 * wrong[point]
    return marginal.any(axis=1)


def _rate_directions(system: StateMap, points: Tensor, right: np.ndarray) -> np.ndarray:
    """Return the leading modes' real directions in rate space, length 1, shape (fixed_point, mode, unit)."""
    # A difference, not a derivative: it is exact where rates are states, and else good to 1e-10.
    nudge = 1e-5 * torch.as_tensor(np.ascontiguousarray(right.real))
    moved = system.rates(points[:, None] + nudge) - system.rates(points[:, None] - nudge)
    return (moved / moved.norm(dim=2, keepdim=True).clamp_min(1e-300)).numpy()


def _reactivity(flow: np.ndarray) -> np.ndarray:
    """Return the largest rate at which a small deviation can grow at first, shape (fixed_point,)."""
    symmetric = (flow + flow.transpose(0, 2, 1)) / 2
    n = symmetric.shape[1]
    if n <= LARGEST_FULL_SPECTRUM:
        return each_alone_on_failure(np.linalg.eigvalsh, symmetric)[0][:, -1]
    from scipy.sparse.linalg import ArpackError, eigsh

    first = np.cos(np.arange(1, n + 1, dtype=float))
    largest = []
    for own in symmetric:
        try:
            largest.append(float(eigsh(own, 1, which="LA", v0=first, return_eigenvectors=False)[0]))
        except (ArpackError, np.linalg.LinAlgError, ValueError):
            largest.append(float(each_alone_on_failure(np.linalg.eigvalsh, own[None])[0][0, -1]))
    return np.array(largest)
