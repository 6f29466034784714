"""What the plots share: axes to draw on, colours that colour-blind readers tell apart, labels with units.

Nothing here reads or changes matplotlib's settings; matplotlib is loaded by the first plot that is drawn.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurornn.vocabulary import FIXED_POINT, TIME, InputError, need_count, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

# Okabe and Ito's palette without its yellow, which is too faint for lines on white.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
CATEGORICAL = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
LINE_STYLES = ("-", "--", ":", "-.")
INK, GREY, FAINT = "#222222", "#777777", "#DDDDDD"

SMALL = 8.5
"""Font size in points of everything that is neither an axis label nor a tick."""
LETTER = 0.56
"""Mean width of a letter in font sizes."""
LINE = 1.5
"""Room that a slanted line takes along the axis, in font sizes."""


_LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": SMALL,
    "title_fontsize": SMALL,
    "borderaxespad": 0.2,
    "alignment": "left",
}


def axes_for(ax: Axes | None, size: tuple[float, float], *, projection: str | None = None) -> Axes:
    """Return the given axes, or those of a new pyplot figure of ``size`` inches.

    A plot calls this after it has checked its data, so that a refusal leaves no empty figure behind.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=size, layout="constrained", subplot_kw={"projection": projection})
    if getattr(ax, "name", "") != "3d":
        ax.spines[["top", "right"]].set_visible(False)
    return ax


def legend_beside(ax: Axes, title: str | None = None) -> None:
    """Draw a long legend to the right of the axes, where it covers no data."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), title=title and title.replace("_", " "), **_LEGEND
    )


def legend_above(ax: Axes) -> None:
    """Draw a short legend above the axes, where it covers no data and costs no width, in rows of two."""
    handles, labels = ax.get_legend_handles_labels()
    # Matplotlib fills column by column, the first one with one more where they do not come out even.
    ax.legend(
        handles[::2] + handles[1::2],
        labels[::2] + labels[1::2],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        columnspacing=1.2,
        handletextpad=0.4,
        labelspacing=0.3,
        **_LEGEND,
    )


def label_with_units(name: str, variable: xr.DataArray | None = None) -> str:
    """Return ``"name (units)"`` where the variable's attributes tell units, else the name."""
    units = "" if variable is None else str(variable.attrs.get("units", ""))
    return f"{name} ({units})" if units else name


def time_axis(data: xr.Dataset | xr.DataArray) -> tuple[np.ndarray, float, str]:
    """Return the start of each step, the length of a step, and the axis's label."""
    if TIME not in data.coords:
        return np.arange(data.sizes[TIME], dtype=float), 1.0, "time (steps)"
    start = data[TIME].to_numpy().astype(float)
    step = float(np.median(np.diff(start))) if start.size > 1 else 1.0
    return start, step, label_with_units("time", data[TIME])


def one_trial(activity: xr.Dataset, trial: int) -> xr.Dataset:
    """Return one trial, by its position, without the steps that only pad it.

    Raises
    ------
    InputError
        Where there is no such trial, or it has no step.
    """
    n_trials = activity.sizes["trial"]
    if need_count(trial, "trial", least=0) >= n_trials:
        raise InputError(
            f"`trial` must be below the number of trials, {n_trials}, got {trial}: trials count from 0"
        )
    one = activity.isel(trial=trial)
    if "valid" in one:
        one = one.isel({TIME: one["valid"].to_numpy().astype(bool)})
    if one.sizes[TIME] == 0:
        raise InputError(f"`activity` must have valid steps in trial {trial}, got none: choose another trial")
    return one


@dataclass(frozen=True)
class Colouring:
    """How values become colours: a few values by name, many by a colour map.

    Attributes
    ----------
    colours : list
        One colour for each value.
    styles : list of str
        One line style for each value, which tells named values apart once the colours have run out.
    legend : dict
        Label and colour of each value that is named; empty where a colour bar is called for.
    colour_map, norm
        Of the colour bar.
    """

    colours: list[Any]
    styles: list[str]
    legend: dict[str, Any]
    colour_map: Colormap | None = None
    norm: Normalize | None = None


def colour_values(values: np.ndarray) -> Colouring:
    """Choose colours: a diverging map for numbers of both signs, a sequential one else, names for words."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    values = np.asarray(values)
    distinct = list(dict.fromkeys(values.tolist()))
    few_whole = values.dtype.kind in "iub" and len(distinct) <= len(CATEGORICAL)
    if few_whole or values.dtype.kind not in "iubf":
        order = [str(value) for value in (sorted(distinct) if few_whole else distinct)]
        legend = {name: CATEGORICAL[k % len(CATEGORICAL)] for k, name in enumerate(order)}
        cycle = {name: LINE_STYLES[k // len(CATEGORICAL) % len(LINE_STYLES)] for k, name in enumerate(order)}
        names = [str(value) for value in values.tolist()]
        return Colouring([legend[name] for name in names], [cycle[name] for name in names], legend)
    numbers = values.astype(float)
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    # Left out is what would vanish on white: a pale middle, and the pale end of viridis.
    if low < 0 < high:
        ends = max(-low, high)
        low, high = -ends, ends
        colour_map = LinearSegmentedColormap.from_list("signed", [BLUE, "#A8A8A8", VERMILLION])
    else:
        colour_map = LinearSegmentedColormap.from_list(
            "amount", colormaps["viridis_r"](np.linspace(0.15, 1, 64))
        )
    norm = Normalize(low, high)
    colours = [colour_map(norm(value)) for value in numbers]
    return Colouring(colours, ["-"] * len(colours), {}, colour_map, norm)


@dataclass(frozen=True)
class PointGroup:
    """Fixed points that are drawn alike.

    Attributes
    ----------
    members : ndarray of bool, shape (fixed_point,)
    label : str
        With their number, for the legend.
    style : dict
        Keywords of ``scatter``.
    """

    members: np.ndarray
    label: str
    style: dict[str, Any]


def group_points(points: xr.Dataset, name: str = "points") -> list[PointGroup]:
    """Group fixed points by kind, and saddles by their number of unstable modes.

    Shape and colour both differ between groups; what is no attractor to the precision reached is hollow.
    """
    need_dims(points, (FIXED_POINT,), name)
    kind = need_variable(points, "kind", name).to_numpy().astype(str)
    n_unstable = need_variable(points, "n_unstable", name).to_numpy()
    groups = []

    def add(
        members: np.ndarray, noun: str, more: str, marker: str, colour: str, *, hollow: bool = False
    ) -> None:
        count = int(members.sum())
        if count:
            style = {"marker": marker, "edgecolors": colour, "facecolors": "none" if hollow else colour}
            label = f"{count} {noun}{'' if count == 1 else 's'}{more}"
            groups.append(PointGroup(members, label, style))

    add(kind == "stable", "stable point", "", "o", INK)
    saddle = kind == "saddle"
    add(saddle & (n_unstable == 1), "saddle", ", 1 unstable mode", "^", VERMILLION)
    add(saddle & (n_unstable == 2), "saddle", ", 2 unstable modes", "s", SKY)
    add(saddle & (n_unstable == 3), "saddle", ", 3 unstable modes", "D", GREEN)
    add(saddle & (n_unstable >= 4), "saddle", ", 4 or more unstable modes", "P", PURPLE)
    add(kind == "unstable", "unstable point", "", "X", ORANGE)
    add(kind == "marginal", "marginal point", "", "o", BLUE, hollow=True)
    add(kind == "slow", "slow point", "", "D", GREY, hollow=True)
    return groups


def mark_epochs(ax: Axes, data: xr.Dataset) -> None:
    """Mark the epochs of a trial, or those that all trials share, by bands and their names above the axes.

    A name that would be written over the one before it is left out: of many short epochs some stand for all.
    """
    start, step, _ = time_axis(data)
    end = start[-1] + step
    spans = [(name, a, min(b, end)) for name, a, b in _epochs(data, start, step) if a < min(b, end)]
    points_per_ms = ax.get_window_extent().width / ax.figure.dpi * 72 / (end - start[0])
    written = -np.inf
    for k, (name, a, b) in enumerate(spans):
        if k % 2 == 0:
            ax.axvspan(a, b, color="#F3F3F3", linewidth=0, zorder=-2)
        # The bar tells where an epoch lies even where data cover the band.
        gap = 0.004 * (end - start[0])
        bar = [a + gap, b - gap]
        above = ax.get_xaxis_transform()
        ax.plot(bar, [1.01, 1.01], color=GREY, linewidth=1.2, transform=above, clip_on=False, label="_epoch")
        narrow = (b - a) * points_per_ms < LETTER * SMALL * len(name)
        if narrow and ((a + b) / 2 - written) * points_per_ms < LINE * SMALL:
            continue
        written = (a + b) / 2
        ax.annotate(
            name.replace("_", " "),
            ((a + b) / 2, 1.01),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left" if narrow else "center",
            va="bottom",
            rotation=35 if narrow else 0,
            rotation_mode="anchor",
            fontsize=SMALL,
            color=GREY,
        )


def _epochs(data: xr.Dataset, start: np.ndarray, step: float) -> list[tuple[str, float, float]]:
    """Return each epoch's name, beginning and end, in order of time."""
    if "epoch" in data.coords and data["epoch"].dims == (TIME,):
        names = data["epoch"].to_numpy().astype(str)
        edges = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True])
        runs = itertools.pairwise(edges)
        return [(str(names[a]), start[a], start[b - 1] + step) for a, b in runs if names[a]]
    spans = []
    for key in map(str, data.coords):
        name = key.removesuffix("_start")
        if name != key and f"{name}_stop" in data.coords and data[key].ndim == 0:
            spans.append((name, float(data[key]), float(data[f"{name}_stop"])))
    return sorted(spans, key=lambda span: span[1])
