"""Non-normality: what a matrix does that its eigenvalues do not tell, such as to amplify before it decays.

Reads (unit, unit), of a map or a flow. Gives Henrici's departure, the growth at the start, the Kreiss
constant, the transient peak and what it amplifies, and the Schur form with its feedforward links.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurornn.analysis.matrices import Matrix, scaled, square_matrix
from neurornn.numerics.schur import ordered_schur
from neurornn.numerics.transients import flow_kreiss, flow_peak, map_kreiss, map_peak
from neurornn.vocabulary import MODE, UNIT, need_choice

SYSTEMS = ("map", "flow")


def nonnormality(matrix: Matrix | Any, system: str = "map") -> xr.Dataset:
    """Measure how far a matrix is from normal, and how much it amplifies before it decays.

    Parameters
    ----------
    matrix : ndarray, Tensor, DataArray or network, shape (unit, unit)
        A Jacobian or weights; entry [i, j] is from unit j to unit i. Computed in float64.
    system : {"map", "flow"}
        Whether it makes the next state, x <- A x (the Jacobian of a network's step), or the rate of change,
        x' = A x (in units of one over time).

    Returns
    -------
    xarray.Dataset
        ``henrici_departure``, sqrt(|A|^2 - sum |lambda|^2) in Frobenius norms, the size of all feedforward
        links; ``relative_departure``, by |A|, between 0 (normal) and 1 (feedforward only).

        ``numerical_abscissa``, the largest eigenvalue of (A + A^T) / 2: the fastest growth of a flow at its
        start (its reactivity). ``numerical_radius``, the largest |x^H A x|; ``norm``, the largest growth in
        one step of a map; ``spectral_abscissa``, ``spectral_radius``.

        ``kreiss_constant``, over z beyond the stable region, of the distance of z from it times the norm of
        (z - A)^-1, with the z where that is largest in ``kreiss_real/_imag``; ``transient_peak``, the largest
        norm of exp(A t) or of A^k, at ``peak_time`` (steps, or the unit of time of the flow); of the peak,
        ``amplified_vector`` and ``response_vector (unit,)``, of length 1: which state is amplified most, and
        into what. Peak and constant are 1 for what never amplifies, infinite (the vectors NaN) for what is
        unstable.

        ``schur_triangle_real/_imag (mode, source_mode)``: entry [i, j] is the link from Schur mode j to
        mode i <= j, the eigenvalues on its diagonal, the slowest first; ``schur_vector_real/_imag
        (mode, unit)``.

    Raises
    ------
    InputError
        Where the matrix is not square or an entry is not finite, or there is no such ``system``.

    Notes
    -----
    Kreiss' theorem: constant <= peak <= e N constant. The constant is the best of a grid, refined, and
    thereby, as any search, strictly a lower bound.

    In Methods: "Non-normality of the Jacobian A was measured by Henrici's departure (relative to |A|_F), its
    numerical abscissa, its Kreiss constant and the largest norm of exp(A t) (Trefethen & Embree, 2005)."

    References
    ----------
    Trefethen, L. N. & Embree, M. (2005). Spectra and Pseudospectra. Princeton University Press.

    Henrici, P. (1962). Bounds for iterates, inverses, spectral variation and fields of values of non-normal
    matrices. Numerische Mathematik 4, 24-40. doi:10.1007/BF01386294

    Murphy, B. K. & Miller, K. D. (2009). Balanced amplification: a new mechanism of selective amplification
    of neural activity patterns. Neuron 61, 635-648. doi:10.1016/j.neuron.2009.02.005

    Goldman, M. S. (2009). Memory without feedback in a neural network. Neuron 61, 621-634.
    doi:10.1016/j.neuron.2008.12.012

    Mitchell, T. (2020). Computing the Kreiss constant of a matrix. arXiv:1907.06537

    Examples
    --------
    Two modes that both decay, one of which feeds the other:

    >>> found = nonnormality([[-1.0, 10.0], [0.0, -2.0]], system="flow")
    >>> round(float(found.henrici_departure), 6), round(float(found.numerical_abscissa), 5)
    (10.0, 3.52494)
    >>> round(float(found.transient_peak), 4), round(float(found.kreiss_constant), 5)
    (2.5635, 1.86536)
    """
    values = square_matrix(matrix)
    need_choice(system, "system", SYSTEMS)
    n = len(values)
    # Of a flow everything scales with its matrix; of a map only the norms do.
    small, scale = scaled(values)
    triangle, basis = ordered_schur(small, np.real if system == "flow" else np.abs)
    eigenvalues = triangle.diagonal()
    departure = float(np.linalg.norm(np.triu(triangle, 1)))
    size = float(np.linalg.norm(small))
    abscissa = float(np.linalg.eigvalsh((small + small.T) / 2)[-1])
    # Rounding, so that of a normal matrix the departure is zero.
    departure = departure if departure > n * np.finfo(float).eps * size else 0.0
    radius = _numerical_radius(small)
    excess = eigenvalues.real.max() if system == "flow" else np.abs(eigenvalues).max() - 1 / scale
    # An eigenvalue of a mode on the boundary, such as an integrator's, is off by this much.
    is_stable = bool(excess <= 1e-10 * max(size, 1e-300))
    normal_and_stable = departure == 0 and is_stable
    kreiss, place, peak, time = np.inf, complex(np.nan, np.nan), np.inf, np.inf
    amplified = response = np.full(n, np.nan)
    if is_stable:
        with np.errstate(over="ignore", invalid="ignore"):
            if normal_and_stable:
                kreiss, place, time, propagator = 1.0, complex(np.inf), 0.0, np.eye(n)
            elif system == "flow":
                kreiss, place = flow_kreiss(small, abscissa)
                time, propagator = flow_peak(small, abscissa)
                time, place = time / scale, complex(place.real * scale, place.imag * scale)
            else:
                kreiss, place = map_kreiss(values, radius * scale)
                time, propagator = map_peak(values)
        if np.isfinite(time):
            left, singular, right = np.linalg.svd(propagator)
            peak = float(singular[0])
            sign = np.sign(right[0][np.abs(right[0]).argmax()])
            amplified, response = right[0] * sign, left[:, 0] * sign
        else:
            # By Kreiss' theorem both are finite, or neither.
            kreiss, place = np.inf, complex(np.nan, np.nan)
    scalars = {
        "henrici_departure": departure * scale,
        "relative_departure": departure / size if size else 0.0,
        "numerical_abscissa": abscissa * scale,
        "numerical_radius": radius * scale,
        "norm": float(np.linalg.norm(small, 2)) * scale,
        "spectral_abscissa": float(eigenvalues.real.max()) * scale,
        "spectral_radius": float(np.abs(eigenvalues).max()) * scale,
        "kreiss_constant": kreiss,
        "kreiss_real": place.real,
        "kreiss_imag": place.imag,
        "transient_peak": peak,
        "peak_time": time,
    }
    return xr.Dataset(
        {
            **scalars,
            "amplified_vector": (UNIT, amplified),
            "response_vector": (UNIT, response),
            "schur_triangle_real": ((MODE, "source_mode"), triangle.real * scale),
            "schur_triangle_imag": ((MODE, "source_mode"), triangle.imag * scale),
            "schur_vector_real": ((MODE, UNIT), basis.real.T),
            "schur_vector_imag": ((MODE, UNIT), basis.imag.T),
        },
        attrs={"system": system},
    )


def _numerical_radius(matrix: np.ndarray) -> float:
    """Return the largest modulus of x^H A x over unit vectors: the reach of the numerical range."""
    from scipy.linalg import eigh
    from scipy.optimize import minimize_scalar

    last = len(matrix) - 1

    def support(angle: float) -> float:
        turned = np.exp(1j * angle) * matrix
        part = (turned + turned.conj().T) / 2
        return float(eigh(part, eigvals_only=True, subset_by_index=(last, last))[0])

    # Of a real matrix the range is alike above and below the real axis.
    angles = np.linspace(0, np.pi, 25)
    heights = np.array([support(angle) for angle in angles])
    best = int(heights.argmax())
    step = angles[1]
    fine = minimize_scalar(
        lambda angle: -support(angle),
        bounds=(angles[best] - step, angles[best] + step),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(max(-fine.fun, heights.max()))
