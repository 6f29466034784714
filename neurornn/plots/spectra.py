"""Plots of spectra: eigenvalues in the complex plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn.plots.canvas import BLUE, GREY, axes_for, group_points, legend_beside
from neurornn.vocabulary import FIXED_POINT, MODE, InputError, need_count, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_eigenvalues(dataset: xr.Dataset, *, fixed_point: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw eigenvalues in the complex plane, with the unit circle that stable modes of a map lie within.

    Parameters
    ----------
    dataset : xarray.Dataset
        A spectrum, ``eigenvalue_real`` and ``eigenvalue_imag`` on ``mode``, or fixed points, with both on
        ``fixed_point`` too, ``kind`` and ``n_unstable``: their modes are coloured by the kind of the point.
    fixed_point : int, optional
        Position of the one fixed point to draw; by default all.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With equal scales.

    Raises
    ------
    InputError
        Where a dimension or variable is missing, or there is no such fixed point.

    Examples
    --------
    >>> values = {"eigenvalue_real": [0.9, -0.2], "eigenvalue_imag": [0.0, 0.0]}
    >>> spectrum = xr.Dataset({name: ("mode", value) for name, value in values.items()})
    >>> plot_eigenvalues(spectrum).get_xlabel()
    'real part'
    """
    need_dims(dataset, (MODE,), "dataset")
    real = need_variable(dataset, "eigenvalue_real", "dataset")
    imaginary = need_variable(dataset, "eigenvalue_imag", "dataset")
    of_points = FIXED_POINT in real.dims
    if fixed_point is not None:
        n_points = dataset.sizes.get(FIXED_POINT, 0) if of_points else 0
        if need_count(fixed_point, "fixed_point", least=0) >= n_points:
            raise InputError(
                f"`fixed_point` must be below the number of fixed points, {n_points}, got {fixed_point}"
            )
        dataset = dataset.isel({FIXED_POINT: [fixed_point]})
        real, imaginary = dataset["eigenvalue_real"], dataset["eigenvalue_imag"]
    groups = group_points(dataset, "dataset") if of_points else []

    ax = axes_for(ax, (6.8, 4.2))
    angle = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color=GREY, linewidth=1.0, label="_unit circle")
    ax.axhline(0, color="#DDDDDD", linewidth=0.6, zorder=-1)
    ax.axvline(0, color="#DDDDDD", linewidth=0.6, zorder=-1)
    if of_points:
        x, y = (part.transpose(FIXED_POINT, MODE).to_numpy() for part in (real, imaginary))
        # The rare and telling kinds come last in the list, and so on top.
        for group in groups:
            members = group.members
            ax.scatter(
                x[members], y[members], s=12, linewidths=0.8, alpha=0.8, label=group.label, **group.style
            )
    else:
        ax.scatter(real.to_numpy(), imaginary.to_numpy(), s=12, color=BLUE, linewidths=0, alpha=0.9)
    ax.set(xlabel="real part", ylabel="imaginary part")
    # Shrinking the axes instead of widening the limits would push the legend out of a laid-out figure.
    ax.set_aspect("equal", adjustable="datalim")
    if groups:
        legend_beside(ax)
    return ax
