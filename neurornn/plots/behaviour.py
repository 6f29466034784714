"""Plots of behaviour: choices against their stimulus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn.plots.canvas import BLUE, FAINT, INK, axes_for, legend_beside
from neurornn.vocabulary import need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_psychometric(fit: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw how often a choice was made at each stimulus, with intervals, and the fitted curve.

    Parameters
    ----------
    fit : xarray.Dataset
        From `neurornn.analysis.psychometric`: ``fraction_chosen``, ``fraction_lower`` and ``fraction_upper``
        on ``stimulus``; ``curve`` on ``stimulus_grid``; ``estimate``, ``lower`` and ``upper`` on
        ``parameter``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The parameters stand in the legend, with their intervals where there are any.

    Raises
    ------
    InputError
        Where a dimension or variable is missing.

    Examples
    --------
    >>> from neurornn.analysis.psychometric import fit_psychometric
    >>> fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False, n_bootstrap=0)
    >>> plot_psychometric(fit).get_ylabel()
    'fraction chosen'
    """
    need_dims(fit, ("stimulus", "stimulus_grid", "parameter"), "fit")
    fraction, lower, upper, curve = (
        need_variable(fit, name, "fit").to_numpy()
        for name in ("fraction_chosen", "fraction_lower", "fraction_upper", "curve")
    )
    parameters = "\n".join(
        f"{row['parameter']} {row['estimate']}{row['interval']}" for row in parameter_rows(fit)
    )

    ax = axes_for(ax, (6.4, 3.8))
    stimulus = fit["stimulus"].to_numpy()
    ax.axhline(0.5, color=FAINT, linewidth=0.8, zorder=-1)
    name = str(fit.attrs.get("function", "fitted curve")).replace("_", " ")
    ax.plot(fit["stimulus_grid"], curve, color=BLUE, linewidth=1.6, label=f"{name}\n{parameters}")
    # Wilson's interval holds the fraction up to rounding; a bar must not be negative.
    below, above = np.maximum(fraction - lower, 0), np.maximum(upper - fraction, 0)
    label = f"{int(fit['n_trials'].sum())} trials" if "n_trials" in fit else "trials"
    if "confidence" in fit.attrs:
        label += f", {fit.attrs['confidence']:.0%} intervals"
    ax.errorbar(
        stimulus, fraction, yerr=[below, above], fmt="o", color=INK, markersize=5, elinewidth=1.0, label=label
    )
    ax.set(
        xlabel=str(fit.attrs.get("stimulus_name", "stimulus")).replace("_", " "),
        ylabel=f"fraction of choice {fit.attrs['chosen']}" if "chosen" in fit.attrs else "fraction chosen",
        ylim=(-0.03, 1.03),
    )
    legend_beside(ax)
    return ax


def parameter_rows(fit: xr.Dataset) -> list[dict[str, str]]:
    """Return the parameters as text: ``parameter``, ``estimate``, and ``interval``, empty where unknown.

    Parameters
    ----------
    fit : xarray.Dataset
        As for `plot_psychometric`.

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        Where a variable is missing.

    Examples
    --------
    >>> values = {"estimate": [0.5], "lower": [0.1], "upper": [0.9]}
    >>> fit = xr.Dataset({name: ("parameter", value) for name, value in values.items()})
    >>> parameter_rows(fit.assign_coords(parameter=["bias"]))
    [{'parameter': 'bias', 'estimate': '0.5', 'interval': ' [0.1, 0.9]'}]
    """
    estimate, lower, upper = (
        need_variable(fit, name, "fit").to_numpy() for name in ("estimate", "lower", "upper")
    )
    at_bound = fit["at_bound"].to_numpy() if "at_bound" in fit else np.zeros(len(estimate), bool)
    rows = []
    for k, name in enumerate(fit["parameter"].to_numpy()):
        interval = f" [{lower[k]:.3g}, {upper[k]:.3g}]" if np.isfinite([lower[k], upper[k]]).all() else ""
        rows.append(
            {
                "parameter": str(name).replace("_", " "),
                "estimate": f"{estimate[k]:.3g}" + (" (at its bound)" if at_bound[k] else ""),
                "interval": interval,
            }
        )
    return rows
