"""Initial weights, drawn on the CPU from a named stream so that every device begins alike.

Every function draws in float64 and rounds at the end, so that a float32 and a float64 network of one seed are
the same network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from neurornn.vocabulary import InputError


def gaussian(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return independent Gaussian weights of variance gain^2 / columns, shape (rows, columns).

    With ``columns`` the number of presynaptic units, the summed input of a unit has variance gain^2 times
    the mean square of what it receives, whatever the network's size; for a recurrent matrix the
    eigenvalues fill a disc of radius ``gain`` (Girko's law).

    References
    ----------
    Sompolinsky, H., Crisanti, A. & Sommers, H. J. (1988). Chaos in random neural networks. Physical Review
    Letters 61, 259-262. doi:10.1103/PhysRevLett.61.259
    """
    # Drawn in float64 and rounded, so that a float32 and a float64 network of one seed are the same network.
    weights = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return (weights * (gain / math.sqrt(max(columns, 1)))).to(dtype)


def uniform(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return independent weights of variance gain^2 / columns, shape (rows, columns), from a uniform law.

    They lie between -b and b with ``b = gain sqrt(3 / columns)``, so that none is far larger than the
    others; mean and variance, and with them the disc of eigenvalues, are those of `gaussian`.
    """
    return _symmetric_uniform(rows, columns, gain * math.sqrt(3 / max(columns, 1)), generator).to(dtype)


def orthogonal(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return ``gain`` times a random orthogonal matrix, shape (rows, columns).

    A square matrix is drawn from the Haar measure, under which every rotation and reflection is as likely
    as any other; all its eigenvalues lie on the circle of radius ``gain``. Of a matrix that is not square
    the shorter rows or columns are orthogonal to each other, each of length ``gain``.

    References
    ----------
    Mezzadri, F. (2007). How to generate random matrices from the classical compact groups. Notices of the
    AMS 54, 592-604. doi:10.48550/arXiv.math-ph/0609050

    Saxe, A. M., McClelland, J. L. & Ganguli, S. (2014). Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks. ICLR. doi:10.48550/arXiv.1312.6120

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(1)
    >>> weights = orthogonal(3, 3, gain=2.0, generator=generator, dtype=torch.float64)
    >>> torch.allclose(weights @ weights.T, 4 * torch.eye(3, dtype=torch.float64))
    True
    """
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    basis, triangle = torch.linalg.qr(tall)
    # Which sign a QR algorithm gives to each column is its own affair and not Haar distributed; with the
    # triangle's diagonal made positive the factor is unique, and Haar.
    basis = basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
    return (gain * (basis.T if rows < columns else basis)).to(dtype).contiguous()


def identity(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return ``gain`` on the main diagonal and zeros elsewhere, shape (rows, columns); nothing is drawn.

    With ReLU units every unit then keeps or leaks its own activity at first, and gradients reach far into
    the past.

    References
    ----------
    Le, Q. V., Jaitly, N. & Hinton, G. E. (2015). A simple way to initialize recurrent networks of rectified
    linear units. doi:10.48550/arXiv.1504.00941
    """
    return (gain * torch.eye(rows, columns, dtype=torch.float64)).to(dtype)


def diagonal(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return independent entries on the main diagonal, uniform in [0, gain], and zeros elsewhere.

    Every unit begins with a memory of its own, of a length that differs from unit to unit, and without
    connections to the others. The shape is (rows, columns).
    """
    weights = torch.zeros(rows, columns, dtype=torch.float64)
    entries = weights.diagonal()
    entries.copy_(gain * torch.rand(len(entries), generator=generator, dtype=torch.float64))
    return weights.to(dtype)


def spectral_radius(
    rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return Gaussian weights whose largest absolute eigenvalue is ``gain``, shape (rows, columns).

    In a small network of `gaussian` weights that eigenvalue differs from seed to seed; here it does not.

    Raises
    ------
    InputError
        Where the matrix is not square: then it has no eigenvalues.

    References
    ----------
    Jaeger, H. & Haas, H. (2004). Harnessing nonlinearity: predicting chaotic systems and saving energy in
    wireless communication. Science 304, 78-80. doi:10.1126/science.1091277
    """
    if rows != columns:
        raise InputError(
            f"the initialisation 'spectral_radius' needs a square matrix, got {rows} rows and {columns} "
            "columns: choose 'gaussian' or 'orthogonal'"
        )
    weights = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return with_spectral_radius(weights, gain).to(dtype)


def glorot(rows: int, columns: int, *, gain: float, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Return independent weights of variance 2 gain^2 / (rows + columns), shape (rows, columns).

    They are uniform between -b and b with ``b = gain sqrt(6 / (rows + columns))``, a compromise between
    keeping the variance of what goes forward and of the gradients that come back.

    References
    ----------
    Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks.
    AISTATS, PMLR 9, 249-256. https://proceedings.mlr.press/v9/glorot10a.html
    """
    return _symmetric_uniform(rows, columns, gain * math.sqrt(6 / max(rows + columns, 1)), generator).to(
        dtype
    )


INITIALISATIONS: dict[str, Callable[..., Tensor]] = {
    scheme.__name__: scheme
    for scheme in (gaussian, uniform, orthogonal, identity, diagonal, spectral_radius, glorot)
}
"""Every initialisation by its name: (rows, columns, *, gain, generator, dtype) -> (rows, columns)."""


def balanced_gamma(
    signs: Tensor,
    *,
    gain: float,
    generator: torch.Generator,
    dtype: torch.dtype,
    mask: Tensor | None = None,
) -> Tensor:
    """Return recurrent weights of excitatory and inhibitory units in balance, shape (unit, unit).

    Magnitudes are independent draws from a Gamma law of shape 2. In every row the inhibitory weights are
    then scaled until excitation and inhibition sum to the same, and at last the whole matrix until its
    largest absolute eigenvalue is ``gain``. A row whose connections are all of one kind has nothing to
    balance and is left as drawn.

    Weights that all have the sign of their presynaptic unit have column means other than zero, which gives
    one eigenvalue far outside of the disc that the others fill: scaled to ``gain`` by it, the network would
    have one mode, common to all units, and nothing else. Balanced rows sum to zero, which takes that
    eigenvalue away; every column has a variance of its own, and the others fill a disc of radius the square
    root of their sum. A mask without the diagonal moves the disc by about the weight that is missing there.

    Parameters
    ----------
    signs : Tensor, shape (unit,)
        +1 for an excitatory unit and -1 for an inhibitory one: the sign of its outgoing weights, a column.
    gain : float
        Largest absolute eigenvalue.
    generator : torch.Generator
        On the CPU. As many numbers are drawn with a mask as without, and the same.
    dtype : torch.dtype
        What the weights are rounded to; in float32 a row sums to zero within rounding.
    mask : Tensor of bool, shape (unit, unit), optional
        True where a connection may be, from unit j to unit i at [i, j]. All by default, those of a unit to
        itself included.

    Raises
    ------
    InputError
        Where a sign is neither +1 nor -1, the mask has another shape or dtype, or the connections form no
        loop, so that every eigenvalue is zero.

    References
    ----------
    Rajan, K. & Abbott, L. F. (2006). Eigenvalue spectra of random matrices for neural networks. Physical
    Review Letters 97, 188104. doi:10.1103/PhysRevLett.97.188104

    Song, H. F., Yang, G. R. & Wang, X.-J. (2016). Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks: a simple and flexible framework. PLOS Computational Biology 12, e1004792.
    doi:10.1371/journal.pcbi.1004792

    Examples
    --------
    >>> signs = torch.tensor([1, 1, 1, -1])
    >>> generator = torch.Generator().manual_seed(0)
    >>> weights = balanced_gamma(signs, gain=1.0, generator=generator, dtype=torch.float64)
    >>> bool((weights * signs >= 0).all()), bool((weights.sum(1).abs() < 1e-12).all())
    (True, True)
    """
    signs = signs.detach().to("cpu", torch.float64)
    if signs.ndim != 1 or not bool((signs.abs() == 1).all()):
        raise InputError(
            f"`signs` must hold one +1 or -1 for each unit, got {signs.tolist()!r:.60} of shape "
            f"{tuple(signs.shape)}: give every unit one of the two"
        )
    n_units = len(signs)
    # The sum of two exponential draws has the Gamma law of shape 2; 1 - u is never 0, unlike u.
    draws = torch.rand(2, n_units, n_units, generator=generator, dtype=torch.float64)
    weights = -torch.log1p(-draws).sum(0) * signs
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != weights.shape:
            raise InputError(
                f"`mask` must be bool of shape {tuple(weights.shape)}, got {mask.dtype} of shape "
                f"{tuple(mask.shape)}: give one entry for each connection, from column to row"
            )
        # Not by a product: what is not there is plain zero, without a sign.
        weights = torch.where(mask.cpu(), weights, 0)
    excitation, inhibition = weights.clamp(min=0).sum(1), -weights.clamp(max=0).sum(1)
    both = (excitation > 0) & (inhibition > 0)
    factor = torch.where(both, excitation / torch.where(both, inhibition, 1), 1)
    weights = torch.where(signs < 0, weights * factor[:, None], weights)
    return with_spectral_radius(weights, gain).to(dtype)


def _symmetric_uniform(rows: int, columns: int, bound: float, generator: torch.Generator) -> Tensor:
    """Return float64 draws between -bound and bound, shape (rows, columns)."""
    return bound * (2 * torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 1)


def with_spectral_radius(weights: Tensor, radius: float) -> Tensor:
    """Return a square float64 matrix scaled so that its largest absolute eigenvalue is ``radius``.

    Raises
    ------
    InputError
        Where all eigenvalues are zero.
    """
    if not weights.numel():
        return weights
    found = float(torch.linalg.eigvals(weights).abs().max())
    # What rounding alone leaves of an eigenvalue that is zero must not be scaled up.
    if found <= len(weights) * torch.finfo(weights.dtype).eps * float(weights.norm()):
        raise InputError(
            f"weights need a loop of connections to be scaled to a spectral radius of {radius}, got only "
            "eigenvalues of 0: allow more connections"
        )
    return weights * (radius / found)
