"""Plots of training: how the loss fell, and where the best network was met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn.plots.canvas import BLUE, INK, SMALL, VERMILLION, axes_for, legend_above
from neurornn.vocabulary import InputError, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUNNING_SHARE = 1 / 40
"""Width of the running median as a share of all steps: narrow enough to keep a sudden fall sudden."""


def plot_learning_curve(history: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of each training step, its running median, and the losses on held-out trials.

    Parameters
    ----------
    history : xarray.Dataset
        ``loss (step,)`` with the number of each step as coordinate; where there are any, ``evaluation_loss``
        and ``evaluation_score`` on ``evaluation``, whose coordinate is the step. The attribute ``best_step``
        names the evaluation that is marked.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic loss axis; a loss of exactly zero has no place on it.

    Raises
    ------
    InputError
        Where the dataset is no history or has no step.

    Examples
    --------
    >>> history = xr.Dataset({"loss": ("step", 0.9 ** np.arange(50))}, coords={"step": np.arange(1, 51)})
    >>> plot_learning_curve(history).get_xlabel()
    'training step'
    """
    need_dims(history, ("step",), "history")
    loss = need_variable(history, "loss", "history").to_series()
    if loss.empty:
        raise InputError("`history` must have at least one step, got none: train first")
    window = max(5, round(RUNNING_SHARE * len(loss)))
    median = loss.rolling(window, center=True, min_periods=1).median()

    ax = axes_for(ax, (6.4, 3.8))
    ax.plot(loss.index, loss, color=BLUE, alpha=0.3, linewidth=0.8, label="training batch")
    ax.plot(loss.index, median, color=BLUE, linewidth=1.8, label=f"median of {window} steps")
    if history.sizes.get("evaluation", 0):
        steps = history["evaluation"].to_numpy()
        held_out = need_variable(history, "evaluation_loss", "history").to_numpy()
        ax.plot(
            steps,
            held_out,
            "o",
            color=VERMILLION,
            markersize=5.5,
            markeredgecolor="white",
            label="held-out trials",
        )
        best = np.flatnonzero(steps == history.attrs.get("best_step"))
        if best.size:
            score = (
                history["evaluation_score"].to_numpy()[best[0]] if "evaluation_score" in history else np.nan
            )
            label = f"best, step {steps[best[0]]}" + (f": score {score:.3f}" if np.isfinite(score) else "")
            ax.plot(
                steps[best[:1]],
                held_out[best[:1]],
                "o",
                color=INK,
                markersize=9,
                fillstyle="none",
                label=label,
            )
    ax.set_yscale("log", nonpositive="mask")
    ax.set(xlabel="training step", ylabel="loss")
    ax.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    ax.tick_params(which="minor", labelsize=SMALL)
    ax.set_axisbelow(True)
    legend_above(ax)
    return ax
