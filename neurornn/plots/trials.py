"""Plots of trials: what one trial showed, asked for and got."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurornn.plots.canvas import (
    BLUE,
    FAINT,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    axes_for,
    mark_epochs,
    one_trial,
    time_axis,
)
from neurornn.vocabulary import INPUT_CHANNEL, OUTPUT_CHANNEL, TIME, TRIAL, need_dims, need_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.8
"""Height of a channel's range, in units of the distance between two rows."""

MOST_NAMES = 30
"""Rows beyond which not every channel is named."""


def trial_height(activity: xr.Dataset) -> float:
    """Return a height in inches that leaves each channel of `plot_trial` room."""
    rows = activity.sizes[INPUT_CHANNEL] + activity.sizes[OUTPUT_CHANNEL]
    return float(np.clip(1.4 + 0.45 * rows, 3.0, 9.0))


def plot_trial(activity: xr.Dataset, trial: int = 0, *, ax: Axes | None = None) -> Axes:
    """Draw one trial: outputs over their targets in the upper rows, inputs in the lower ones.

    One row a channel, one scale for all inputs and one for all outputs, told by a bar at the right. Targets
    are dashed, and faint where the mask is zero. Where the targets are classes, the rows are the
    probabilities (softmax of the outputs), and the right class is shaded. Every value is drawn over its
    whole step; only valid steps are drawn.

    Parameters
    ----------
    activity : xarray.Dataset
        ``input (trial, time, input_channel)``, ``output (trial, time, output_channel)`` and ``target``, which
        is ``(trial, time)`` for classes; ``mask`` and ``valid`` where there are any. Epochs are marked where
        there is a coordinate ``epoch`` on time, or ``<epoch>_start`` and ``<epoch>_stop`` on ``trial``.
    trial : int
        Position of the trial, from 0.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        Where a dimension, variable or the trial is missing, or the trial has no valid step.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> trials = FlipFlop(n_bits=2).draw(3, np.random.default_rng(0))
    >>> activity = trials.to_dataset()
    >>> activity["output"] = activity.target + 0.1
    >>> [label.get_text() for label in plot_trial(activity).get_yticklabels()]
    ['bit_0', 'bit_1', 'bit_0', 'bit_1']
    """
    need_dims(activity, (TRIAL, TIME, INPUT_CHANNEL, OUTPUT_CHANNEL))
    for name in ("input", "output", "target"):
        need_variable(activity, name)
    one = one_trial(activity, trial)
    inputs = one["input"].transpose(TIME, INPUT_CHANNEL).to_numpy().astype(float)
    outputs = one["output"].transpose(TIME, OUTPUT_CHANNEL).to_numpy().astype(float)
    classes = OUTPUT_CHANNEL not in one["target"].dims
    if classes:
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
        targets = np.eye(outputs.shape[1])[one["target"].to_numpy().astype(int)]
        asked = asked_entries(one, targets)
        heading = "output (softmax); shaded: the right class"
    else:
        targets = one["target"].transpose(TIME, OUTPUT_CHANNEL).to_numpy().astype(float)
        asked = asked_entries(one, targets)
        heading = "output; dashed: target"
    heading += "" if asked.all() else ", faint where nothing is asked"

    ax = axes_for(ax, (6.4, trial_height(activity)))
    start, step, time_label = time_axis(one)
    mark_epochs(ax, one)
    rows = Rows(ax, start, step)
    rows.begin(heading, np.stack([outputs, targets]), classes)
    for channel in range(outputs.shape[1]):
        rows.next(_name(one, OUTPUT_CHANNEL, channel))
        if classes:
            rows.fill(targets[:, channel], asked[:, channel])
            rows.line(outputs[:, channel], color=INK, linewidth=1.3)
        else:
            rows.line(outputs[:, channel], color=INK, linewidth=1.3)
            for shown, alpha in ((asked[:, channel], 1.0), (~asked[:, channel], 0.25)):
                rows.line(
                    np.where(shown, targets[:, channel], np.nan),
                    color=VERMILLION, linewidth=1.3, linestyle=(0, (3, 2)), alpha=alpha,
                )  # fmt: skip
    rows.begin("input", inputs)
    for channel in range(inputs.shape[1]):
        rows.next(_name(one, INPUT_CHANNEL, channel))
        rows.line(inputs[:, channel], color=BLUE, linewidth=0.9)
    rows.finish()
    ax.set_xlabel(time_label)
    return ax


def asked_entries(one: xr.Dataset, targets: np.ndarray) -> np.ndarray:
    """Return which targets count, in the targets' shape."""
    if "mask" not in one:
        return np.ones(targets.shape, bool)
    mask = one["mask"].transpose(TIME, ...).to_numpy() > 0
    return np.broadcast_to(mask if mask.ndim == 2 else mask[:, None], targets.shape)


def _name(one: xr.Dataset, dim: str, position: int) -> str:
    return (
        str(one[dim].values[position]) if dim in one.coords else f"{dim.removesuffix('_channel')} {position}"
    )


class Rows:
    """Channels stacked from top to bottom; each value is drawn over the whole of its step.

    Where several stand side by side with the same rows, the first says what they are and the last how large.
    """

    def __init__(
        self, ax: Axes, start: np.ndarray, step: float, *, first: bool = True, last: bool = True
    ) -> None:
        self.ax, self.first, self.last = ax, first, last
        self.edges = np.stack([start, start + step], axis=1).ravel()
        self.top = 0.0
        self.names: list[tuple[float, str]] = []

    def begin(self, heading: str, values: np.ndarray, probability: bool = False) -> None:
        """Begin a group of rows with one scale, its heading in the gap above."""
        low, high = (0.0, 1.0) if probability else (min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values)))
        self.low, self.high = (low, high) if high > low else (low, low + 1.0)
        self.scale = ROW / (self.high - self.low)
        self.at_begin = True
        if self.first:
            self.ax.annotate(
                heading, (0, self.top - 0.5), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=SMALL, color=GREY,
            )  # fmt: skip
        self.top -= 0.8

    def scale_bar(self) -> None:
        """Draw how long a round number is, beside the next row."""
        if not self.last:
            return
        length = _round_length(self.high - self.low)
        middle = self.top - 0.1 - ROW / 2
        bar = np.array([-0.5, 0.5]) * length * self.scale + middle
        beside = self.ax.get_yaxis_transform()
        self.ax.plot([1.015, 1.015], bar, color=INK, linewidth=1.5, transform=beside, clip_on=False)
        self.ax.text(1.03, middle, f"{length:g}", transform=beside, va="center", fontsize=SMALL)

    def next(self, name: str) -> None:
        """Go down to the next row and draw its zero line; the first one of its group has the scale bar."""
        if self.at_begin:
            self.scale_bar()
            self.at_begin = False
        self.zero = self.top - 0.1 - ROW - self.low * self.scale
        self.ax.axhline(self.zero, color=FAINT, linewidth=0.6, zorder=-1)
        self.names.append((self.top - 0.1 - ROW / 2, name))
        self.top -= 1.0

    def line(self, values: np.ndarray, **style: object) -> None:
        """Draw a line; the style is matplotlib's."""
        self.ax.plot(self.edges, self.zero + self.scale * np.repeat(values, 2), **style)  # type: ignore[arg-type]

    def fill(self, values: np.ndarray, asked: np.ndarray, colour: str = VERMILLION) -> None:
        """Shade from zero to the values, fainter where nothing is asked."""
        tops = self.zero + self.scale * np.repeat(values, 2)
        for shown, alpha in ((asked, 0.45), (~asked, 0.12)):
            self.ax.fill_between(
                self.edges, self.zero, tops, where=np.repeat(shown & (values > 0), 2).tolist(),
                color=colour, alpha=alpha, linewidth=0,
            )  # fmt: skip

    def image(self, name: str, colours: np.ndarray, n_rows: int, scale: str) -> None:
        """Draw many channels as colours (time, channel, rgba), the first one at the top, over some rows."""
        height = n_rows - 1.0 + ROW
        middle = self.top - 0.1 - height / 2
        self.ax.imshow(
            colours.transpose(1, 0, 2), aspect="auto", interpolation="nearest", zorder=0,
            extent=(self.edges[0], self.edges[-1], middle - height / 2, middle + height / 2),
        )  # fmt: skip
        self.names.append((middle, name))
        if self.last:
            self.ax.text(
                1.03, middle, scale, transform=self.ax.get_yaxis_transform(), va="center", fontsize=SMALL
            )
        self.top -= n_rows

    def finish(self) -> None:
        """Name the rows and fit the axes around them."""
        every = -(-len(self.names) // MOST_NAMES)
        shown = self.names[::every] if self.first else []
        self.ax.set_yticks([middle for middle, _ in shown], [name for _, name in shown])
        self.ax.tick_params(axis="y", length=0)
        self.ax.spines["left"].set_visible(False)
        self.ax.set_ylim(self.top - 0.1, -0.1)
        self.ax.set_xlim(self.edges[0], self.edges[-1])


def _round_length(extent: float) -> float:
    """Return the length of a scale bar: 1, 2 or 5 times a power of ten, and at most 3/4 of the extent.

    An extent that is such a number itself is taken whole: 1 for probabilities.
    """
    power = 10.0 ** np.floor(np.log10(extent))
    candidates = [digit * power for digit in (0.5, 1.0, 2.0, 5.0)]
    if any(np.isclose(extent, candidate) for candidate in candidates):
        return float(extent)
    return float(max(candidate for candidate in candidates if candidate <= 0.75 * extent))
