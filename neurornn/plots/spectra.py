"""Plots of spectra: eigenvalues in the complex plane and what theory expects, pseudospectra, variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurornn.plots.canvas import BLUE, GREY, ORANGE, VERMILLION, axes_for, group_points, legend_beside
from neurornn.vocabulary import (
    COMPONENT,
    FIXED_POINT,
    MODE,
    InputError,
    need_count,
    need_dims,
    need_variable,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_eigenvalues(dataset: xr.Dataset, *, fixed_point: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw eigenvalues in the complex plane, with the unit circle that stable modes of a map lie within.

    Parameters
    ----------
    dataset : xarray.Dataset
        A spectrum, ``eigenvalue_real`` and ``eigenvalue_imag`` on ``mode``, or fixed points, with both on
        ``fixed_point`` too, ``kind`` and ``n_unstable``: their modes are coloured by the kind of the point.
        Of a spectrum with ``bulk_radius`` the disc of random matrices is drawn beside, by the circular law
        and, where the kinds of columns differ, by that of Rajan and Abbott, and outliers are ringed.
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
    with_theory = False

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
        with_theory = _draw_discs(ax, dataset)
    ax.set(xlabel="real part", ylabel="imaginary part")
    # Shrinking the axes instead of widening the limits would push the legend out of a laid-out figure.
    ax.set_aspect("equal", adjustable="datalim")
    if groups or with_theory:
        legend_beside(ax)
    return ax


def _draw_discs(ax: Axes, spectrum: xr.Dataset) -> bool:
    """Draw what eigenvalues of random matrices fill, and ring what lies beyond; say whether that is told."""
    if "bulk_radius" not in spectrum or spectrum["bulk_radius"].ndim:
        return False
    bulk, circular = float(spectrum["bulk_radius"]), float(spectrum.get("circular_radius", np.nan))
    differ = abs(bulk - circular) > 0.01 * bulk
    angle = np.linspace(0, 2 * np.pi, 361)
    discs = [(circular, "circular law", ORANGE, "--")]
    if differ:
        discs.append((bulk, "Rajan and Abbott's law", VERMILLION, "-"))
    for radius, name, colour, style in discs:
        if np.isfinite(radius):
            label = f"{name}: radius {radius:.3g}"
            ax.plot(
                radius * np.cos(angle), radius * np.sin(angle), style, color=colour, linewidth=1, label=label
            )
    outside = spectrum["is_outlier"].to_numpy() if "is_outlier" in spectrum else np.zeros(0, bool)
    if outside.any():
        x, y = (spectrum[f"eigenvalue_{part}"].to_numpy()[outside] for part in ("real", "imag"))
        count = int(outside.sum())
        label = f"{count} outlier{'' if count == 1 else 's'}"
        ax.scatter(x, y, s=60, facecolors="none", edgecolors=VERMILLION, linewidths=1, label=label)
    return True


def plot_pseudospectrum(dataset: xr.Dataset, *, n_levels: int = 7, ax: Axes | None = None) -> Axes:
    """Draw how far eigenvalues can move: the borders of pseudospectra, by powers of ten of the change.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `neurornn.analysis.pseudospectrum`.
    n_levels : int
        About how many borders.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With equal scales, and a colour bar in log10 of the change's norm.

    Raises
    ------
    InputError
        Where a dimension or variable is missing.

    Examples
    --------
    >>> from neurornn.analysis import pseudospectrum
    >>> plot_pseudospectrum(pseudospectrum([[-1.0, 10.0], [0.0, -2.0]], n_points=20)).get_ylabel()
    'imaginary part'
    """
    smallest = need_variable(dataset, "smallest_singular_value", "dataset")
    need_dims(smallest, ("real_part", "imaginary_part"), "dataset")
    count = need_count(n_levels, "n_levels")
    smallest = smallest.transpose("imaginary_part", "real_part")
    x, y = smallest["real_part"].to_numpy(), smallest["imaginary_part"].to_numpy()
    values = smallest.to_numpy()
    # At an eigenvalue the logarithm has no end: the smallest that is told is that of the rest.
    positive = values[values > 0]
    logarithm = np.log10(np.maximum(values, positive.min() if positive.size else 1.0))

    ax = axes_for(ax, (6.0, 4.6))
    # The lowest percent is the neighbourhood of single points of the grid.
    low, high = np.quantile(logarithm, [0.01, 1.0])
    if high > low:
        levels = np.linspace(low, high, count + 2)[1:-1]
        lines = ax.contour(x, y, logarithm, levels=levels, cmap="viridis", linewidths=1.1)
        bar = ax.figure.colorbar(lines, ax=ax, fraction=0.04, format="%.2g")
        bar.set_label("log$_{10}$ norm of the change")
    ax.axhline(0, color="#DDDDDD", linewidth=0.6, zorder=-1)
    ax.axvline(0, color="#DDDDDD", linewidth=0.6, zorder=-1)
    if "eigenvalue_real" in dataset:
        ax.scatter(dataset["eigenvalue_real"], dataset["eigenvalue_imag"], s=10, color=GREY, linewidths=0)
    ax.set(xlabel="real part", ylabel="imaginary part", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.set_aspect("equal", adjustable="box")
    return ax


def plot_scree(dataset: xr.Dataset, *, n_components: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the variance of each component, and where it is told the floor that noise alone would reach.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `neurornn.analysis.noise_floor` or `pca`.
    n_components : int, optional
        How many to draw; by default all.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Components from 1, variance on a logarithmic scale.

    Raises
    ------
    InputError
        Where a dimension or variable is missing.

    Examples
    --------
    >>> from neurornn.analysis import noise_floor
    >>> samples = np.random.default_rng(0).standard_normal((50, 6))
    >>> plot_scree(noise_floor(samples, n_surrogates=10)).get_xlabel()
    'component'
    """
    need_dims(dataset, (COMPONENT,), "dataset")
    variance = need_variable(dataset, "explained_variance", "dataset").to_numpy()
    count = len(variance) if n_components is None else need_count(n_components, "n_components")
    number = np.arange(1, len(variance) + 1)[:count]

    ax = axes_for(ax, (5.4, 3.8))

    def draw(values: np.ndarray, **style: Any) -> None:
        # What rounding left of nothing has no place on a logarithmic scale.
        ax.plot(number, np.where(values > 0, values, np.nan)[:count], markersize=3.5, **style)

    draw(variance, marker="o", color=BLUE, linewidth=1.2, label="activity")
    if "noise_variance" in dataset:
        name = {"gavish_donoho": "best threshold in white noise"}.get(
            str(dataset.attrs.get("method")), "noise floor"
        )
        draw(
            dataset["noise_variance"].to_numpy(), color=VERMILLION, linewidth=1.2, linestyle="--", label=name
        )
        if "n_above" in dataset:
            above = int(dataset["n_above"])
            ax.axvline(above + 0.5, color=GREY, linewidth=0.8, linestyle=":", label=f"{above} above it")
        legend_beside(ax)
    ax.locator_params("x", integer=True)
    ax.set(xlabel="component", ylabel="variance", xlim=(0.5, number[-1] + 0.5 if number.size else 1.5))
    if (variance[:count] > 0).any():
        ax.set_yscale("log")
    return ax
