"""The figures of the report, each with its caption and the call that draws it again."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from neurornn import plots
from neurornn.analysis.components import project
from neurornn.plots.trials import trial_height
from neurornn.vocabulary import COMPONENT, FIXED_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 150
"""Sharp on a dense screen and in print."""


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes
    ----------
    name : str
        Stem of its file, should it be saved beside the report.
    figure : matplotlib.figure.Figure
    caption : str
        What it shows.
    call : str
        The Python expression that draws it.
    """

    name: str
    figure: Figure
    caption: str
    call: str

    def png(self) -> bytes:
        """Return the figure as a PNG file whose bytes depend on the figure only."""
        # A layout found anew at every drawing begins where the last one ended, and moves by a hair.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer, format="png", dpi=PIXELS_PER_INCH, facecolor="white", metadata={"Software": None}
        )
        return buffer.getvalue()


def draw_figures(
    activity: xr.Dataset,
    *,
    history: xr.Dataset | None = None,
    pcs: xr.Dataset | None = None,
    points: xr.Dataset | None = None,
    spectrum: xr.Dataset | None = None,
    averages: xr.Dataset | None = None,
    psychometric: xr.Dataset | None = None,
    color_by: str | None = None,
) -> list[ReportFigure]:
    """Draw the figures of the report, those that the given datasets allow.

    Each caption names the call that draws it, in terms of the names of these arguments.

    Parameters
    ----------
    activity : xarray.Dataset
        As for `neurornn.plots.plot_trial`.
    history, pcs, points, spectrum, averages, psychometric : xarray.Dataset, optional
        From `neurornn.train`, `neurornn.analysis.pca`, `find_fixed_points`, `eigenspectrum`,
        `neurornn.condition_average` and `neurornn.analysis.psychometric`.
    color_by : str, optional
        Coordinate on ``trial`` that colours the trajectories.

    Returns
    -------
    list of ReportFigure
        Unknown to pyplot, so that none needs to be closed.

    Raises
    ------
    InputError
        Where a dataset lacks what its plot needs.

    Examples
    --------
    >>> import numpy as np
    >>> from neurornn.tasks import FlipFlop
    >>> activity = FlipFlop().draw(3, np.random.default_rng(0)).to_dataset()
    >>> activity["output"] = activity.target
    >>> activity["rate"] = activity.input.rename(input_channel="unit")
    >>> [figure.name for figure in draw_figures(activity)]
    ['trial', 'activity']
    """
    figures = []

    def add(name: str, ax: Axes, caption: str, call: str) -> None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        figures.append(ReportFigure(name, figure, caption, f"neurornn.plots.{call}"))

    if history is not None and history.sizes.get("step", 0):
        add(
            "learning_curve",
            plots.plot_learning_curve(history, ax=_axes(7.0, 3.6)),
            "Loss of each training step, its running median, and the loss on held-out trials.",
            "plot_learning_curve(history)",
        )
    add(
        "trial",
        plots.plot_trial(activity, ax=_axes(7.0, trial_height(activity))),
        "One trial: what the network put out, what was asked, and what it was shown.",
        "plot_trial(activity)",
    )
    if points is not None and not points.sizes[FIXED_POINT]:
        points = None
    if pcs is not None and pcs.sizes[COMPONENT] >= 2:
        spatial = pcs.sizes[COMPONENT] >= 3
        call, caption = "plot_trajectories(pcs", "Trials along the first principal components"
        if points is not None:
            call += ", neurornn.analysis.project(points, pcs)"
            unstable = bool((points["n_unstable"] > 0).any())
            caption += ", with the fixed points" + (" and their unstable directions" if unstable else "")
        add(
            "trajectories",
            plots.plot_trajectories(
                pcs,
                project(points, pcs) if points is not None else None,
                color_by=color_by,
                ax=_axes(7.0, 5.2 if spatial else 4.6, projection="3d" if spatial else None),
            ),
            caption + "; each path begins at its dot.",
            call + (f", color_by={color_by!r})" if color_by else ")"),
        )
    if points is not None:
        add(
            "eigenvalues",
            plots.plot_eigenvalues(points, ax=_axes(7.0, 4.2)),
            "Eigenvalues of the map at its fixed points; modes outside the unit circle grow.",
            "plot_eigenvalues(points)",
        )
    if spectrum is not None:
        add(
            "recurrent_spectrum",
            plots.plot_eigenvalues(spectrum, ax=_axes(7.0, 4.2)),
            "Eigenvalues of the recurrent weights, the unit circle, and the disc that random weights of the "
            "same variances would fill; outliers are ringed.",
            "plot_eigenvalues(spectrum)",
        )
    add(
        "activity",
        plots.plot_activity_heatmap(activity, ax=_axes(7.0, 4.2)),
        "Rates of all units in one trial, sorted by the time of their peak in that very trial.",
        "plot_activity_heatmap(activity)",
    )
    if averages is not None:
        units = plots.most_modulated_units(averages)
        add(
            "condition_averages",
            _draw_averages(averages, units),
            "Mean rate in each condition of the units that differ most between conditions.",
            f"plot_condition_averages(averages, unit={units[0]!r})",
        )
    if psychometric is not None:
        add(
            "psychometric",
            plots.plot_psychometric(psychometric, ax=_axes(7.0, 3.8)),
            "How often the choice was made at each stimulus, with intervals, and the fitted curve.",
            "plot_psychometric(psychometric)",
        )
    return figures


def _axes(width: float, height: float, projection: str | None = None) -> Axes:
    """Return axes of a figure that pyplot does not know of, so that none is left open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot(projection=projection)


def _draw_averages(averages: xr.Dataset, units: list[int | str]) -> Axes:
    """Draw one unit a panel, three panels a row, with one legend for all."""
    from matplotlib.figure import Figure

    n_rows = -(-len(units) // 3)
    figure = Figure(figsize=(10.0, 0.8 + 2.3 * n_rows), layout="constrained")
    panels = [figure.add_subplot(n_rows, min(3, len(units)), k + 1) for k in range(len(units))]
    for k, (panel, unit) in enumerate(zip(panels, units, strict=True)):
        plots.plot_condition_averages(averages, unit=unit, ax=panel)
        legend = panel.get_legend()
        if legend is not None and k != min(2, len(units) - 1):
            legend.remove()
        if k < len(units) - 3:
            panel.set_xlabel("")
    return panels[0]
