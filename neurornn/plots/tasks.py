"""Plots of tasks: a few example trials side by side, for one who has never seen the task."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurornn.plots.canvas import BLUE, GREY, SMALL, VERMILLION, axes_for, mark_epochs, one_trial, time_axis
from neurornn.plots.trials import Rows, asked_entries
from neurornn.tasks import TaskProtocol, Trials, registered_name
from neurornn.vocabulary import InputError, need_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 8
"""Channels of one kind from which on they are shown as colours, not each by a line of its own."""
MOST_CONDITIONS = 1024
"""Balanced batches beyond this size are not made for the sake of a few examples."""
N_TO_CHOOSE_FROM = 64
MOST_BATCHES = 8
"""Trials of a batch, and batches, in which different ones are looked for where there are none to cross."""
MOST_LINES = 4
"""Conditions that are told above a trial."""
NOT_ASKED = 0.25
"""Opacity of targets that carry no weight."""


def plot_task(
    task: TaskProtocol, *, seed: int = 0, n_trials: int = 3, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Draw example trials of a task side by side, of conditions that differ.

    In the upper rows what is asked: the right class shaded, or the targets as lines; faint where nothing is
    asked. Below it, where some steps count more than others, the weight in the loss, and then the inputs.
    Many channels of one kind, such as a ring of 32, are shown as colours. One scale for all targets and one
    for all inputs, told at the right; times are drawn to one scale too.

    Parameters
    ----------
    task : Task
    seed : int
        Of the trials that are drawn.
    n_trials : int
        How many; fewer where the task has fewer conditions.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each trial; by default those of a new figure, which bears the task's name.

    Returns
    -------
    list of matplotlib.axes.Axes

    Raises
    ------
    InputError
        Where there are fewer axes than trials.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> axes = plot_task(FlipFlop(n_bits=2))
    >>> [label.get_text() for label in axes[0].get_yticklabels()]
    ['bit_0', 'bit_1', 'bit_0', 'bit_1']
    """
    n_trials = need_count(n_trials, "n_trials")
    examples, names = _examples(task, n_trials, np.random.default_rng(need_count(seed, "seed", least=0)))
    parts = [_Part(own) for own in examples]
    if axes is not None and len(axes) < len(parts):
        raise InputError(f"`axes` must be one for each of the {len(parts)} trials, got {len(axes)}")
    axes = _new_axes(task, parts) if axes is None else [axes_for(ax, (0, 0)) for ax in axes[: len(parts)]]
    for k, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        mark_epochs(ax, part.one)
        rows = Rows(ax, part.start, part.step, first=k == 0, last=k == len(parts) - 1)
        rows.begin(_heading(parts), np.concatenate([own.targets for own in parts]), part.classes)
        _draw(rows, task.output_labels, part.targets, part.asked, VERMILLION, part.classes)
        if _is_weighed(parts):
            rows.begin("weight in the loss, mean over outputs", np.concatenate([own.weight for own in parts]))
            rows.next("weight")
            rows.fill(part.weight, np.ones(part.weight.shape, bool), GREY)
        rows.begin("input", np.concatenate([own.inputs for own in parts]))
        _draw(rows, task.input_labels, part.inputs, np.ones(part.inputs.shape, bool), BLUE, False)
        rows.finish()
        ax.set_xlabel(time_axis(part.one)[2])
        ax.locator_params(axis="x", nbins=max(2, round(ax.get_window_extent().width / ax.figure.dpi * 1.9)))
    # Where an epoch's name is written at a slant, it stands higher.
    slanted = any(text.get_rotation() for ax in axes for text in ax.texts)
    pad = 46 if slanted else 20 if any(len(ax.patches) for ax in axes) else 6
    for ax, part in zip(axes, parts, strict=True):
        told = [f"{name.replace('_', ' ')} = {_value(part.conditions[name])}" for name in names]
        ax.set_title("\n".join(told), fontsize=SMALL, loc="left", pad=pad)
    return list(axes)


class _Part:
    """What is shown of one trial, which comes as a batch of one."""

    def __init__(self, trials: Trials) -> None:
        self.one = one_trial(trials.to_dataset(), 0)
        self.conditions = {name: values[0] for name, values in trials.conditions.items()}
        self.start, self.step, _ = time_axis(self.one)
        self.duration = len(self.start) * self.step
        steps = trials.valid[0]
        self.inputs = trials.inputs[0, steps].astype(float)
        self.classes = trials.task.loss == "cross_entropy"
        self.targets = trials.targets[0, steps].astype(float)
        if self.classes:
            self.targets = np.eye(trials.task.n_outputs)[trials.targets[0, steps]]
        self.asked = asked_entries(self.one, self.targets)
        weight = trials.mask[0, steps].astype(float)
        self.levels = set(weight[weight > 0].tolist())
        """Weights of what is asked."""
        self.weight = weight if weight.ndim == 1 else weight.mean(axis=1)


def _examples(task: TaskProtocol, n_trials: int, rng: np.random.Generator) -> tuple[list[Trials], list[str]]:
    """Return trials that differ, each by itself, and the names of the conditions in which they do."""
    factors = task.factors() if hasattr(task, "factors") else {}
    sizes = [len(own.levels()) for own in factors.values()]
    if sizes and np.prod(sizes) <= MOST_CONDITIONS:
        balanced = task.factorial(rng)  # type: ignore[attr-defined]
        examples = [balanced.select(np.array([k])) for k in _spread(sizes, n_trials)]
        names = [*factors, getattr(task, "psychometric_stimulus", None)]
    else:
        names = list(getattr(task, "average_by", ()))
        examples = _different(task, names, n_trials, rng)
    varied = [
        name
        for name in dict.fromkeys(names)
        if name in examples[0].conditions and len({str(own.conditions[name][0]) for own in examples}) > 1
    ]
    return examples, varied[:MOST_LINES]


def _different(task: TaskProtocol, names: list[str], n_trials: int, rng: np.random.Generator) -> list[Trials]:
    """Return drawn trials, those first that differ from all before in some of these conditions."""
    fresh: dict[str, Trials] = {}
    alike: list[Trials] = []
    for _ in range(MOST_BATCHES):
        # A batch may be all of one kind, where a task draws what it is about once a batch.
        batch = task.draw(N_TO_CHOOSE_FROM, rng)
        for k in range(batch.n_trials):
            kind = str([batch.conditions[name][k] for name in names if name in batch.conditions])
            if kind not in fresh:
                fresh[kind] = batch.select(np.array([k]))
            elif len(alike) < n_trials:
                alike.append(batch.select(np.array([k])))
            if len(fresh) >= n_trials:
                return list(fresh.values())
        if not names:
            break
    return [*fresh.values(), *alike][:n_trials]


def _spread(sizes: list[int], n_trials: int) -> np.ndarray:
    """Return which conditions of a balanced batch to show: few levels combined, many spread out.

    Examples
    --------
    >>> np.unravel_index(_spread([9, 2, 2], 3), (9, 2, 2))
    (array([0, 4, 8]), array([0, 1, 1]), array([0, 0, 1]))
    """
    n_trials = min(n_trials, int(np.prod(sizes)))
    at = np.linspace(0, 1, n_trials) if n_trials > 1 else np.zeros(1)
    few = [size if size <= n_trials else 1 for size in sizes]
    combined = np.unravel_index(np.round(at * (np.prod(few) - 1)).astype(int), few)
    levels = [
        own if size <= n_trials else np.round(at * (size - 1)).astype(int)
        for size, own in zip(sizes, combined, strict=True)
    ]
    return np.unique(np.ravel_multi_index(levels, sizes))


def _new_axes(task: TaskProtocol, parts: list[_Part]) -> list[Axes]:
    import matplotlib.pyplot as plt

    longest = max(part.duration for part in parts)
    # A very short trial beside a long one keeps enough room for its names.
    widths = [max(part.duration / longest, 0.5) for part in parts]
    groups = [
        channels for labels in (task.input_labels, task.output_labels) for _, channels in _groups(labels)
    ]
    rows = sum(_n_rows(channels) for channels in groups) + 1.6 + 1.8 * _is_weighed(parts)
    size = (2.2 + 3.0 * sum(widths), float(np.clip(1.9 + 0.37 * rows, 3.2, 12.0)))
    figure, row = plt.subplots(
        1, len(parts), figsize=size, layout="constrained", squeeze=False, width_ratios=widths
    )
    sheet = (type(task).__doc__ or "").strip().splitlines()
    title = f"{registered_name(task) or type(task).__name__}: {sheet[0] if sheet else ''}".rstrip(": ")
    figure.suptitle(textwrap.fill(title, int(size[0] * 12)), fontsize=10.5, x=0.01, ha="left")
    return [axes_for(ax, (0, 0)) for ax in row[0]]


def _heading(parts: list[_Part]) -> str:
    told = "target: the right class" if parts[0].classes else "target"
    return told if all(part.asked.all() for part in parts) else f"{told}, faint where not asked"


def _is_weighed(parts: list[_Part]) -> bool:
    """Return whether some of what is asked counts more than the rest."""
    return len(set().union(*(part.levels for part in parts))) > 1


def _n_rows(channels: slice) -> int:
    """Return how many rows' room a group of channels takes."""
    count = channels.stop - channels.start
    return 1 if count < WIDE else 2 if count <= 2 * WIDE else 3


def _groups(labels: Sequence[str]) -> list[tuple[str, slice]]:
    """Return runs of channels that are shown together, with a name: single ones, and many of one kind.

    Examples
    --------
    >>> _groups(["cue", *(f"ring_{k}" for k in range(32))])
    [('cue', slice(0, 1, None)), ('ring (32)', slice(1, 33, None))]
    """
    found, place = [], 0
    for stem, run in itertools.groupby(labels, lambda label: label.rsplit("_", 1)[0]):
        own = list(run)
        if len(own) >= WIDE:
            found.append((f"{stem} ({len(own)})", slice(place, place + len(own))))
        else:
            found += [(label, slice(place + k, place + k + 1)) for k, label in enumerate(own)]
        place += len(own)
    return found


def _draw(
    rows: Rows, labels: Sequence[str], values: np.ndarray, asked: np.ndarray, colour: str, shaded: bool
) -> None:
    """Draw channels, each as a line or a shade in its row, those of a large group as colours."""
    for name, channels in _groups(labels):
        own, counts = values[:, channels], asked[:, channels]
        if own.shape[1] > 1:
            scale = f"{rows.low:.2g}\nto\n{rows.high:.2g}"
            rows.image(name, _colours(own, counts, rows, colour), _n_rows(channels), scale)
            continue
        rows.next(name)
        if shaded:
            rows.fill(own[:, 0], counts[:, 0], colour)
        elif counts.all():
            rows.line(own[:, 0], color=colour, linewidth=1.0)
        else:
            rows.line(own[:, 0], color=colour, linewidth=1.0, alpha=NOT_ASKED)
            rows.line(np.where(counts[:, 0], own[:, 0], np.nan), color=colour, linewidth=1.2)


def _colours(values: np.ndarray, asked: np.ndarray, rows: Rows, colour: str) -> np.ndarray:
    """Return values as colours: from white at 0 to one colour above it, and to grey below."""
    from matplotlib.colors import to_rgb

    largest = max(rows.high, -rows.low)
    share = np.abs(values)[..., None] / largest
    ends = np.where(values[..., None] >= 0, to_rgb(colour), to_rgb(GREY))
    opacity = np.where(asked[..., None], 1.0, NOT_ASKED)
    return np.concatenate([1 - share * (1 - ends), opacity], axis=2)


def _value(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
