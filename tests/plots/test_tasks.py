"""Does the picture of a task hold what its trials do?"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from neurornn.plots import plot_task
from neurornn.plots.canvas import VERMILLION
from neurornn.tasks import TASKS, DelayedComparison, FlipFlop, Task, Trials, from_arrays, get
from neurornn.vocabulary import InputError


@pytest.fixture(autouse=True)
def _close_figures():
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def steps_of(ax, colour):
    """The drawn lines of one colour, as values per step."""
    lines = [line for line in ax.lines if line.get_color() == colour and line.get_alpha() is None]
    return [line.get_ydata()[::2] for line in lines]


# One of each kind of channels, losses and masks; drawing all 70 would take a minute.
@pytest.mark.parametrize(
    "name",
    ["copy", "go_no_go", "latching", "path_integration", "yang19", "sine_generator", "white_noise",
     "sequential_digits", "ring_memory", "driscoll24"],
)  # fmt: skip
def test_tasks_of_every_kind_are_drawn(name):
    task = get(name)
    axes = plot_task(task)
    assert 2 <= len(axes) <= 3
    figure = axes[0].figure
    figure.canvas.draw()
    assert name in figure.get_suptitle()
    assert type(task).__doc__.splitlines()[0] in " ".join(figure.get_suptitle().split())
    assert all(ax.get_xlabel() == "time (ms)" for ax in axes)


def test_every_task_has_distinct_examples():
    from neurornn.plots.tasks import _examples

    for name in TASKS:
        examples, told = _examples(get(name), 3, np.random.default_rng(0))
        assert 1 < len(examples) <= 3, name
        shown = [own.inputs.tobytes() for own in examples]
        assert len(set(shown)) == len(shown), name
        for condition in told:
            assert len({str(own.conditions[condition][0]) for own in examples}) > 1, (name, condition)


def test_the_lines_are_the_trials_own():
    task = FlipFlop(n_bits=2, duration=300)
    axes = plot_task(task, n_trials=2)
    trials = task.factorial(np.random.default_rng(0))
    for ax, k in zip(axes, (0, 3), strict=True):
        assert ax.get_title(loc="left") == f"first pattern = {trials.conditions['first_pattern'][k]}"
        drawn = steps_of(ax, "#0072B2")
        assert len(drawn) == 2
        for bit, line in enumerate(drawn):
            # The row's height, 0.8, is the range from -1 to 1.
            own = trials.inputs[k, :, bit]
            np.testing.assert_allclose((line - line[own == 0][0]) / 0.4, own, atol=1e-6)
        asked = [np.isfinite(own) for own in steps_of(ax, VERMILLION)]
        for bit, own in enumerate(asked):
            np.testing.assert_array_equal(own, trials.mask[k, :, bit] > 0)
    assert names(axes[0]) == ["bit_0", "bit_1"] * 2
    assert names(axes[1]) == []
    assert "target, faint where not asked" in texts(axes[0])


def test_classes_are_shaded_where_they_are_right():
    axes = plot_task(DelayedComparison(delay=200.0), n_trials=2)
    assert names(axes[0]) == ["fixate", "first_larger", "second_larger", "fixation", "stimulus"]
    assert "target: the right class" in texts(axes[0])
    shades = {
        round(float(path.get_extents().y0), 6) for own in axes[0].collections for path in own.get_paths()
    }
    assert len(shades) == 2
    assert {"fixation", "stimulus 1", "delay", "stimulus 2", "response"} <= set(texts(axes[0]))


def test_a_ring_is_shown_as_colours_and_a_weighted_loss_as_a_shade():
    task = get("yang19_fdgo")
    axes = plot_task(task, n_trials=2)
    assert names(axes[0]) == ["fixation", "ring (32)", "weight", "fixation", "ring_1 (32)", "ring_2 (32)"]
    target, *inputs = axes[0].images
    trials = task.factorial(np.random.default_rng(0))
    assert target.get_array().shape == (32, int(trials.valid[0].sum()), 4)
    assert len(inputs) == 2
    colours = np.asarray(target.get_array())
    step = int(trials.valid[0].sum()) - 1
    # White stands for zero, the full colour for the largest target of all that are shown.
    ring = trials.targets[0, step, 1:]
    share = (1 - colours[:, step, :3]) / (1 - np.array(to_rgb(VERMILLION)))
    np.testing.assert_allclose(share.mean(axis=1), ring / trials.targets[[0, -1]].max(), atol=1e-6)
    asked = trials.mask[0, : step + 1, 1:].T > 0
    np.testing.assert_array_equal(colours[..., 3] == 1, asked)


def test_trials_of_one_kind_a_batch_are_still_of_several_kinds():
    axes = plot_task(get("yang19"))
    titles = [ax.get_title(loc="left") for ax in axes]
    assert all(title.startswith("task = ") for title in titles)
    assert len(set(titles)) == 3


def test_the_seed_decides_what_is_drawn():
    drawn = [steps_of(plot_task(FlipFlop(n_bits=1), seed=seed)[0], "#0072B2")[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_given_axes_are_drawn_on():
    figure, row = plt.subplots(1, 3)
    axes = plot_task(FlipFlop(n_bits=1), n_trials=2, axes=row)
    assert axes == list(row[:2])
    assert len(plt.get_fignums()) == 1
    assert figure.get_suptitle() == ""
    with pytest.raises(InputError, match="`axes` must be one for each of the 2 trials, got 1"):
        plot_task(FlipFlop(n_bits=1), axes=row[:1])
    with pytest.raises(InputError, match="`n_trials` must be a whole number of at least 1, got 0"):
        plot_task(FlipFlop(n_bits=1), n_trials=0)


def test_tasks_of_ones_own_are_drawn(echo_class):
    axes = plot_task(echo_class())
    assert axes[0].figure.get_suptitle().startswith("Echo: A user's own task")
    inputs = np.random.default_rng(0).standard_normal((20, 9, 2))
    axes = plot_task(from_arrays(inputs, inputs[..., :1] > 0, dt=5.0), n_trials=2)
    assert [ax.get_title(loc="left") for ax in axes] == ["", ""]


@dataclass(frozen=True)
class Flat(Task):
    dt: float = 1.0
    n_inputs = 9
    n_outputs = 1
    input_labels = tuple(f"x_{k}" for k in range(9))

    def draw(self, n_trials, rng):
        inputs = np.zeros((n_trials, 1, 9))
        return Trials(self, inputs, inputs[..., :1], np.ones((n_trials, 1, 1)))


def test_a_single_step_of_nothing_can_be_drawn():
    axes = plot_task(Flat(), n_trials=1)
    axes[0].figure.canvas.draw()
    assert names(axes[0]) == ["output_0", "x (9)"]


def test_names_of_many_short_epochs_are_not_written_over_each_other():
    axes = plot_task(get("hierarchical_reasoning"))
    for ax in np.ravel(axes):
        names = [text for text in ax.texts if text.get_rotation() == 35]
        places = sorted(text.xy[0] for text in names)
        points_per_ms = ax.get_window_extent().width / ax.figure.dpi * 72 / np.diff(ax.get_xlim())[0]
        # Slanted lines of 1.5 font sizes stand side by side; a little less where the axes were widened since.
        assert len(names) > 3
        assert np.diff(places).min() * points_per_ms > 1.2 * names[0].get_fontsize()
