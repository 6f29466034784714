"""Plots of the state space: trajectories along principal components, and the fixed points among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurornn.plots.canvas import (
    GREY,
    INK,
    SMALL,
    PointGroup,
    axes_for,
    colour_values,
    group_points,
    legend_above,
)
from neurornn.vocabulary import (
    COMPONENT,
    FIXED_POINT,
    TIME,
    TRIAL,
    InputError,
    need_count,
    need_dims,
    need_variable,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIRECTION_LENGTH = 0.12
"""Half the length of an unstable direction that lies in the drawn space, as a share of the first axis."""

ZOOM = 1.15
"""How much of its axes the three-dimensional box fills: with more, labels are cut off."""


def plot_trajectories(
    projected: xr.Dataset,
    points: xr.Dataset | None = None,
    *,
    n_trials: int = 20,
    color_by: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw trials as paths along the first principal components, with the fixed points among them.

    Parameters
    ----------
    projected : xarray.Dataset
        From `neurornn.analysis.pca` or `project`: ``score (trial, time, component)`` with at least two
        components; ``valid (trial, time)`` where trials are padded; ``explained_variance_ratio`` where known.
    points : xarray.Dataset, optional
        Fixed points along the same components: ``score (fixed_point, component)``, ``kind`` and
        ``n_unstable``. With ``direction (fixed_point, leading_mode, component)``, the unstable directions of
        each point are drawn as segments; a short one points mostly out of the drawn space.
    n_trials : int, default 20
        How many trials to draw, the first ones; more than that is a tangle.
    color_by : str, optional
        Coordinate on ``trial`` that colours the paths.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on, in three dimensions or two; by default those of a new figure, in three dimensions
        where there are three components.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        Where a dimension or variable is missing, there is but one component, or the axes have more dimensions
        than there are components.

    Examples
    --------
    >>> score = np.random.default_rng(0).standard_normal((5, 40, 3)).cumsum(axis=1)
    >>> projected = xr.Dataset({"score": (("trial", "time", "component"), score)})
    >>> plot_trajectories(projected).name
    '3d'
    """
    score = need_variable(projected, "score", "projected")
    need_dims(score, (TRIAL, TIME, COMPONENT), "score")
    score = score.transpose(TRIAL, TIME, COMPONENT)
    n_components = score.sizes[COMPONENT]
    if n_components < 2:
        raise InputError(f"`projected` needs at least 2 components, got {n_components}: ask pca for more")
    score = score.isel({TRIAL: slice(need_count(n_trials, "n_trials"))})
    n_axes = min(3, n_components) if ax is None else 3 if ax.name == "3d" else 2
    if n_axes > n_components:
        raise InputError(
            f"`ax` has 3 dimensions, `projected` only {n_components} components: give axes with 2"
        )
    if points is not None:
        need_dims(need_variable(points, "score", "points"), (FIXED_POINT, COMPONENT), "points")
        groups = group_points(points)
    values = None
    if color_by is not None:
        column = need_variable(projected, color_by, "projected")
        if column.dims != (TRIAL,):
            raise InputError(
                f"`color_by` must name a coordinate on 'trial', got {color_by!r} on {column.dims}"
            )
        values = column.to_numpy()[: score.sizes[TRIAL]]

    ax = axes_for(ax, (6.8, 5.2), projection="3d" if n_axes == 3 else None)
    _draw_paths(ax, projected, score.to_numpy()[..., :n_axes], values, color_by)
    if points is not None:
        place = points["score"].transpose(FIXED_POINT, COMPONENT).to_numpy()[:, :n_axes]
        _draw_directions(ax, points, place)
        _draw_points(ax, groups, place)
    _name_axes(ax, projected, n_axes)
    if ax.get_legend_handles_labels()[1]:
        legend_above(ax)
    return ax


def _draw_paths(
    ax: Axes, projected: xr.Dataset, paths: np.ndarray, values: np.ndarray | None, color_by: str | None
) -> None:
    colouring = None if values is None else colour_values(values)
    valid = np.ones(paths.shape[:2], bool)
    if "valid" in projected:
        valid = projected["valid"].transpose(TRIAL, TIME).to_numpy().astype(bool)[: len(paths)]
    named: set[str] = set()
    for k, path in enumerate(paths):
        path = path[valid[k]]
        colour, style = (GREY, "-") if colouring is None else (colouring.colours[k], colouring.styles[k])
        label = "_path"
        if colouring is not None and values is not None and colouring.legend and str(values[k]) not in named:
            label = f"{color_by} {values[k]}".replace("_", " ")
            named.add(str(values[k]))
        ax.plot(*path.T, color=colour, linestyle=style, linewidth=0.8, alpha=0.55, label=label)
        ax.plot(*path[:1].T, ".", color=colour, markersize=4, label="_start")
    if colouring is not None and colouring.colour_map is not None:
        from matplotlib.cm import ScalarMappable

        scale = ScalarMappable(colouring.norm, colouring.colour_map)
        ax.get_figure(root=True).colorbar(  # type: ignore[union-attr]
            scale, ax=ax, label=(color_by or "").replace("_", " "), shrink=0.6, pad=0.1
        )


def _draw_directions(ax: Axes, points: xr.Dataset, place: np.ndarray) -> None:
    """Draw each point's unstable directions, the shorter the more they point out of the drawn space."""
    if "direction" not in points:
        return
    length = DIRECTION_LENGTH * float(np.ptp(ax.get_xlim()))
    direction = points["direction"].transpose(FIXED_POINT, "leading_mode", COMPONENT).to_numpy()
    for centre, modes, count in zip(place, direction, points["n_unstable"].to_numpy(), strict=True):
        for mode in modes[: int(count), : place.shape[1]]:
            if np.isfinite(mode).all():
                ends = centre + length * np.outer([-1, 1], mode)
                ax.plot(*ends.T, color=INK, linewidth=0.9, alpha=0.8, label="_direction")


def _draw_points(ax: Any, groups: list[PointGroup], place: np.ndarray) -> None:
    # In three dimensions the distance decides what covers what, and must not pale the colours.
    above = {"depthshade": False} if place.shape[1] == 3 else {"zorder": 5}
    for group in groups:
        ax.scatter(*place[group.members].T, s=38, linewidths=1.2, label=group.label, **group.style, **above)


def _name_axes(ax: Any, projected: xr.Dataset, n_axes: int) -> None:
    labels = [f"PC {k + 1}" for k in range(n_axes)]
    if "explained_variance_ratio" in projected:
        share = projected["explained_variance_ratio"].to_numpy()
        labels = [f"{label} ({share[k]:.0%})" for k, label in enumerate(labels)]
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.locator_params(nbins=5)
    if n_axes == 3:
        ax.set_zlabel(labels[2])
        # Matplotlib leaves room on all sides, of which the labels need but a part.
        ax.set_box_aspect(None, zoom=ZOOM)
        # Pale panes without a grid of their own leave the eye to the paths.
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.set_pane_color((0.97, 0.97, 0.97, 1.0))
        ax.tick_params(labelsize=SMALL)
        ax.grid(False)
