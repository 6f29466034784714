"""Plots of growth along trajectories: Lyapunov spectra, and gradients on their way back through time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn.plots.canvas import BLUE, FAINT, GREY, SMALL, VERMILLION, axes_for
from neurornn.vocabulary import MODE, TIME, TRIAL, InputError, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_lyapunov_spectrum(spectrum: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw Lyapunov exponents in descending order with their standard errors.

    Parameters
    ----------
    spectrum : xarray.Dataset
        From `neurornn.analysis.lyapunov`. Exponents of -inf are counted below the axis.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        Where the dataset is no Lyapunov spectrum.

    Examples
    --------
    >>> exponents = {"lyapunov_exponent": ("mode", [0.1, -0.3]), "standard_error": ("mode", [0.01, 0.02])}
    >>> spectrum = xr.Dataset(exponents)
    >>> plot_lyapunov_spectrum(spectrum).get_ylabel()
    'Lyapunov exponent (1/step)'
    """
    need_dims(spectrum, (MODE,), "spectrum")
    exponents = need_variable(spectrum, "lyapunov_exponent", "spectrum").to_numpy()
    errors = (
        spectrum["standard_error"].to_numpy() if "standard_error" in spectrum else np.zeros_like(exponents)
    )
    finite = np.isfinite(exponents)
    places = np.arange(1, len(exponents) + 1)
    ax = axes_for(ax, (5.0, 3.6))
    ax.axhline(0, color=GREY, linewidth=0.8)
    shown = np.nan_to_num(np.where(finite, errors, 0))
    few = finite.sum() <= 60
    ax.errorbar(
        places[finite],
        exponents[finite],
        yerr=shown[finite],
        fmt="o" if few else "-",
        color=BLUE,
        markersize=4,
        linewidth=1.4,
        elinewidth=1.0,
    )
    told = []
    if "dimension" in spectrum and np.isfinite(spectrum["dimension"]):
        told.append(f"dimension {float(spectrum['dimension']):.2f}")
    if not finite.all():
        told.append(f"{int((~finite).sum())} of -∞")
    if told:
        ax.set_title(", ".join(told), loc="left", fontsize=SMALL, color=GREY)
    ax.set_xlabel("number")
    ax.set_ylabel("Lyapunov exponent (1/step)")
    return ax


def plot_gradient_flow(flow: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw by how much gradients grow on their way back from the end of each trial.

    Parameters
    ----------
    flow : xarray.Dataset
        From `neurornn.analysis.gradient_flow`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Each trial as a faint line, the mean of the logarithms in colour, on a logarithmic axis; a horizontal
        line is a gradient that neither vanishes nor explodes.

    Raises
    ------
    InputError
        Where the dataset is none of gradients through time, or all of them are zero.

    Examples
    --------
    >>> logs = np.log(0.9) * np.arange(19, -1, -1)
    >>> flow = xr.Dataset({"log_product_norm": (("trial", "time"), logs[None]),
    ...                    "mean_log_product_norm": ("steps_back", logs[::-1])})
    >>> plot_gradient_flow(flow).get_xlabel()
    'steps before the end of the trial'
    """
    logs = need_variable(flow, "log_product_norm", "flow")
    need_dims(logs, (TRIAL, TIME), "flow")
    mean = need_variable(flow, "mean_log_product_norm", "flow").to_numpy()
    values = logs.transpose(TRIAL, TIME).to_numpy()
    if not np.isfinite(values).any():
        raise InputError("every gradient in `flow` is zero or missing: there is nothing to draw")
    ax = axes_for(ax, (5.0, 3.6))
    ax.axhline(1, color=GREY, linewidth=0.8)
    for row in values:
        own = row[~np.isnan(row)][::-1]
        ax.plot(np.arange(len(own)), _numbers(own), color=FAINT, linewidth=0.8)
    ax.plot(np.arange(len(mean)), _numbers(mean), color=BLUE, linewidth=1.8, label="mean")
    growth = flow.attrs.get("growth_per_step", np.nan)
    if np.isfinite(growth):
        there = np.arange(len(mean))
        middle = np.nanmean(np.where(np.isfinite(mean), mean, np.nan)) - growth * there.mean()
        ax.plot(there, _numbers(middle + growth * there), "--", color=VERMILLION, linewidth=1.0)
        ax.set_title(f"factor {np.exp(growth):.4f} per step", loc="left", fontsize=SMALL, color=GREY)
    ax.set_yscale("log")
    ax.set_xlabel("steps before the end of the trial")
    ax.set_ylabel("length of a gradient")
    return ax


def _numbers(logs: np.ndarray) -> np.ndarray:
    """Return numbers of their logarithms, those beyond float64 left out."""
    return np.exp(np.where(np.abs(logs) < 690, logs, np.nan))
