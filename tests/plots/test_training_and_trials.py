"""Do the plots of training and of single trials hold what the data say?"""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from neurornn.plots import plot_learning_curve, plot_trial
from neurornn.tasks import DelayedComparison, FlipFlop, PerceptualDecisionMaking
from neurornn.vocabulary import InputError


@pytest.fixture(autouse=True)
def _close_figures():
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def history(n_steps=200, evaluations=(100, 200), best=200):
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "loss": ("step", 0.97 ** np.arange(n_steps) * rng.lognormal(0, 0.3, n_steps)),
            "gradient_norm": ("step", np.ones(n_steps)),
            "evaluation_loss": ("evaluation", np.linspace(0.5, 0.1, len(evaluations))),
            "evaluation_score": ("evaluation", np.linspace(0.6, 0.987, len(evaluations))),
        },
        coords={"step": np.arange(1, n_steps + 1), "evaluation": np.array(evaluations, dtype=int)},
        attrs={"best_step": best},
    )


def recorded(task, n_trials=6):
    trials = task.draw(n_trials, np.random.default_rng(0))
    activity = trials.to_dataset()
    activity["output"] = (("trial", "time", "output_channel"), trials.ideal_outputs() * 0.9)
    return activity


def labels(ax):
    return [label for label in ax.get_legend_handles_labels()[1] if not label.startswith("_")]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_learning_curve_holds_every_loss_and_names_the_best():
    data = history()
    ax = plot_learning_curve(data)
    raw, median, held_out, best = ax.lines
    np.testing.assert_array_equal(raw.get_xdata(), data.step)
    np.testing.assert_array_equal(raw.get_ydata(), data.loss)
    # Far from the ends the running median is the median of that many neighbours.
    assert median.get_ydata()[100] == pytest.approx(np.median(data.loss[98:103]))
    np.testing.assert_array_equal(held_out.get_xydata(), np.c_[data.evaluation, data.evaluation_loss])
    assert best.get_xydata().tolist() == [[200, pytest.approx(0.1)]]
    assert best.get_label() == "best, step 200: score 0.987"
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "training step", "loss")


def test_learning_curve_without_evaluations_and_with_a_loss_of_zero():
    data = history(evaluations=(), best=0)
    data["loss"][5] = 0.0
    ax = plot_learning_curve(data)
    ax.figure.canvas.draw()
    assert labels(ax) == ["training batch", "median of 5 steps"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (xr.Dataset({"loss": ("trial", [1.0])}), "`history` needs dimension 'step'"),
        (xr.Dataset({"los": ("step", [1.0])}), "`history` has no variable 'loss'.*did you mean 'los'"),
        (history(0, ()), "`history` must have at least one step"),
        (np.ones(3), "`history` must be an xarray"),
    ],
)
def test_learning_curve_refuses(data, message):
    with pytest.raises(InputError, match=message):
        plot_learning_curve(data)
    assert not plt.get_fignums()


def test_a_plot_draws_on_the_axes_it_is_given_and_opens_no_figure():
    own = Figure().add_subplot()
    assert plot_learning_curve(history(), ax=own) is own
    assert not plt.get_fignums()


def test_trial_rows_are_the_channels_outputs_above_inputs():
    activity = recorded(FlipFlop(n_bits=2))
    ax = plot_trial(activity, 3)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["bit_0", "bit_1", "bit_0", "bit_1"]
    heights = ax.get_yticks()
    assert (np.diff(heights) < 0).all()
    assert ax.get_xlabel() == "time (ms)"
    # Two values for each of the 100 steps; outputs, two targets (asked and not), inputs; zero lines and bars.
    traces = [line for line in ax.lines if len(line.get_xdata()) == 200]
    assert len(traces) == 2 + 2 * 2 + 2
    output, asked, not_asked, *_ = traces
    assert output.get_xdata()[[0, 1, 2, -1]].tolist() == [0, 10, 10, 1000]
    shown = activity.output[3, :, 0].to_numpy()
    assert np.corrcoef(output.get_ydata()[::2], shown)[0, 1] == pytest.approx(1)
    mask = activity.mask[3, :, 0].to_numpy() > 0
    np.testing.assert_array_equal(np.isfinite(asked.get_ydata()[::2]), mask)
    np.testing.assert_array_equal(np.isfinite(not_asked.get_ydata()[::2]), ~mask)
    assert not_asked.get_alpha() < 0.5
    assert asked.get_linestyle() == "--"
    assert "output; dashed: target, faint where nothing is asked" in texts(ax)


def test_outputs_and_targets_share_one_scale():
    activity = recorded(FlipFlop(n_bits=1))
    activity["mask"][:] = 1
    ax = plot_trial(activity)
    output, target = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 200][:2]
    # Outputs are 0.9 times their targets about the zero line, which is drawn.
    zero = next(line.get_ydata()[0] for line in ax.lines if line.get_color() == "#DDDDDD")
    np.testing.assert_allclose(output - zero, 0.9 * (target - zero))
    assert "output; dashed: target" in texts(ax)


def test_classes_are_drawn_as_probabilities_with_the_right_one_shaded():
    activity = recorded(PerceptualDecisionMaking())
    ax = plot_trial(activity, 1)
    assert "output (softmax); shaded: the right class" in texts(ax)
    traces = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 44][:3]
    total = np.sum(traces, axis=0)
    # Rows are 1 apart and a probability of 1 is 0.8 high: where the probabilities sum to 1, so do the rows.
    np.testing.assert_allclose(total, total[0])
    np.testing.assert_allclose(np.ptp(traces[0]), 0.8, atol=1e-3)
    right = int(activity.target_choice[1])
    shaded = [area.get_paths()[0].vertices for area in ax.collections if area.get_paths()]
    tallest_late = [area for area in shaded if area[:, 0].min() >= 2000]
    assert len(tallest_late) == 1
    assert tallest_late[0][:, 1].min() == pytest.approx(ax.get_yticks()[right] - 0.4)


def test_shared_epochs_are_named_and_placed():
    ax = plot_trial(recorded(PerceptualDecisionMaking(delay=300)))
    assert {"fixation", "stimulus", "delay", "response"} <= set(texts(ax))
    stimulus = next(text for text in ax.texts if text.get_text() == "stimulus")
    assert stimulus.xy[0] == pytest.approx(100 + 2000 / 2)


def test_only_valid_steps_are_drawn_with_the_trials_own_epochs():
    activity = recorded(DelayedComparison(), 20)
    trial = int(np.argmin(activity.delay_duration.to_numpy()))
    n_valid = int(activity.valid[trial].sum())
    assert n_valid < activity.sizes["time"]
    ax = plot_trial(activity, trial)
    assert ax.get_xlim() == (0, n_valid * 100)
    second = next(text for text in ax.texts if text.get_text() == "stimulus 2")
    begin, end = float(activity.stimulus_2_start[trial]), float(activity.stimulus_2_stop[trial])
    assert second.xy[0] == pytest.approx((begin + end) / 2)


def test_many_channels_are_not_all_named():
    # Stacked from one bit, because what matters is the number of rows.
    channels = {"input_channel": [0] * 40, "output_channel": [0] * 40}
    wide = recorded(FlipFlop(n_bits=1, duration=100)).isel(channels)
    activity = wide
    assert len(plot_trial(activity).get_yticks()) <= 30


@pytest.mark.parametrize("scale", [1e-6, 0.3, 7.0, 1e5])
def test_the_scale_bar_is_a_round_length_within_a_row(scale):
    activity = recorded(FlipFlop(n_bits=1))
    activity["input"] = activity.input * scale
    ax = plot_trial(activity)
    bars = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] > 1]
    assert len(bars) == 2
    assert np.ptp(bars[1].get_ydata()) <= 0.8 + 1e-9
    length = float(ax.texts[-1].get_text())
    assert f"{length:e}"[0] in "125"
    assert length == pytest.approx(np.ptp(bars[1].get_ydata()) / 0.8 * 2 * scale)


def test_a_silent_trial_draws():
    activity = recorded(FlipFlop(n_bits=1))
    for name in ("input", "output", "target"):
        activity[name] = activity[name] * 0
    plot_trial(activity).figure.canvas.draw()


@pytest.mark.parametrize(
    ("change", "trial", "message"),
    [
        (lambda a: a.rename(time="step"), 0, "needs dimension 'time'"),
        (lambda a: a.drop_vars("output"), 0, "needs dimension 'output_channel'|has no variable 'output'"),
        (lambda a: a.drop_vars("target"), 0, "has no variable 'target'"),
        (lambda a: a, 6, "`trial` must be below the number of trials, 6, got 6"),
        (lambda a: a, -1, "`trial` must be a whole number of at least 0"),
        (lambda a: a.assign(valid=a.valid & False), 0, "must have valid steps in trial 0"),
    ],
)
def test_trial_refuses(change, trial, message):
    with pytest.raises(InputError, match=message):
        plot_trial(change(recorded(FlipFlop(n_bits=2))), trial)
    assert not plt.get_fignums()
