"""Do the plots of activity, state space, spectra and choices hold what the data say?"""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from neurornn.activity import condition_average
from neurornn.analysis.psychometric import fit_psychometric
from neurornn.plots import (
    most_modulated_units,
    plot_activity_heatmap,
    plot_condition_averages,
    plot_eigenvalues,
    plot_psychometric,
    plot_trajectories,
)
from neurornn.plots.canvas import colour_values
from neurornn.vocabulary import InputError


@pytest.fixture(autouse=True)
def _close_figures():
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def activity(signed=False, n_trials=8):
    """Return units that peak one after the other, in shuffled order."""
    time = np.arange(0, 400, 10.0)
    peak = np.array([300.0, 100.0, 200.0, 0.0])
    bump = np.exp(-(((time[:, None] - peak) / 50) ** 2))
    rate = np.broadcast_to(bump - (0.5 if signed else 0), (n_trials, 40, 4)).copy()
    cue = np.arange(n_trials) % 2
    rate[cue == 1, :, 2] += 1.0
    return xr.Dataset(
        {
            "rate": (("trial", "time", "unit"), rate),
            "valid": (("trial", "time"), np.ones((n_trials, 40), bool)),
        },
        coords={
            "time": ("time", time, {"units": "ms"}),
            "unit": [10, 11, 12, 13],
            "cue": ("trial", cue),
            "side": ("trial", np.where(cue, "left", "right")),
        },
    )


def projected(n_components=3, n_trials=30):
    rng = np.random.default_rng(0)
    score = rng.standard_normal((n_trials, 25, n_components)).cumsum(axis=1)
    return xr.Dataset(
        {
            "score": (("trial", "time", "component"), score),
            "explained_variance_ratio": ("component", 0.5 ** np.arange(1, n_components + 1)),
        },
        coords={
            "choice": ("trial", np.arange(n_trials) % 2 + 1),
            "coherence": ("trial", np.linspace(-1, 1, n_trials)),
        },
    )


def fixed_points(n_components=3):
    kinds = ["stable", "stable", "saddle", "saddle", "saddle", "unstable", "marginal", "slow"]
    n_unstable = [0, 0, 1, 2, 5, 6, 0, 0]
    rng = np.random.default_rng(1)
    n = len(kinds)
    return xr.Dataset(
        {
            "score": (("fixed_point", "component"), rng.standard_normal((n, n_components))),
            "direction": (
                ("fixed_point", "leading_mode", "component"),
                rng.standard_normal((n, 3, n_components)) / 2,
            ),
            "eigenvalue_real": (("fixed_point", "mode"), rng.standard_normal((n, 6))),
            "eigenvalue_imag": (("fixed_point", "mode"), rng.standard_normal((n, 6))),
        },
        coords={"kind": ("fixed_point", kinds), "n_unstable": ("fixed_point", n_unstable)},
    )


def named(artists):
    return {artist.get_label(): artist for artist in artists if not artist.get_label().startswith("_")}


def test_heatmap_sorts_units_by_the_time_of_their_peak():
    data = activity()
    image = plot_activity_heatmap(data, 2).images[0]
    assert image.get_array().argmax(axis=1).tolist() == [0, 10, 20, 30]
    assert image.get_extent() == [0, 400, 4, 0]
    assert image.get_clim() == (0, 1)
    unsorted = plot_activity_heatmap(data, 2, order_by=None)
    np.testing.assert_array_equal(unsorted.images[0].get_array(), data.rate[2].T)
    assert unsorted.get_ylabel() == "unit"


def test_heatmap_of_signed_rates_is_symmetric_about_zero():
    ax = plot_activity_heatmap(activity(signed=True))
    low, high = ax.images[0].get_clim()
    assert low == -high == pytest.approx(-0.5)
    assert ax.images[0].colorbar.ax.get_ylabel() == "rate"


def test_heatmap_leaves_out_padding():
    data = activity()
    data["valid"][0, 30:] = False
    assert plot_activity_heatmap(data).images[0].get_array().shape == (4, 30)


def test_heatmap_refuses():
    with pytest.raises(InputError, match=r"needs dimension 'unit'.*rename"):
        plot_activity_heatmap(activity().rename(unit="neuron"))
    with pytest.raises(InputError, match="`order_by` must be 'peak' or None, got 'size'"):
        plot_activity_heatmap(activity(), order_by="size")
    with pytest.raises(InputError, match=r"has no variable 'rate'.*did you mean 'rates'"):
        plot_activity_heatmap(activity().rename(rate="rates"))
    assert not plt.get_fignums()


def test_condition_averages_hold_one_line_a_condition():
    averages = condition_average(activity(), "side")
    ax = plot_condition_averages(averages, unit=12)
    lines = named(ax.lines)
    assert list(lines) == ["side=left", "side=right"]
    for label, line in lines.items():
        expected = averages.rate.sel(unit=12).isel(condition=averages.condition.values.tolist().index(label))
        np.testing.assert_array_equal(line.get_ydata(), expected)
    # A step's value is drawn at its middle.
    assert lines["side=left"].get_xdata()[0] == 5
    assert ax.get_xlabel() == "time (ms)"
    assert len({line.get_color() for line in lines.values()}) == 2


def test_conditions_of_one_quantity_are_named_by_it():
    ax = plot_condition_averages(condition_average(activity(signed=True), "cue"), unit=10)
    assert list(named(ax.lines)) == ["0", "1"]
    assert ax.get_legend().get_title().get_text() == "cue"


def test_many_named_conditions_differ_in_colour_or_line():
    rate = np.random.default_rng(0).random((11, 5, 2))
    averages = xr.Dataset(
        {"rate": (("condition", "time", "unit"), rate)}, coords={"condition": [f"c{k}" for k in range(11)]}
    )
    lines = named(plot_condition_averages(averages, unit=0).lines).values()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 11


def test_most_modulated_units_come_first():
    averages = condition_average(activity(), "cue")
    assert most_modulated_units(averages)[0] == 12
    assert len(most_modulated_units(averages)) == 4
    assert most_modulated_units(averages, 1) == [12]


def test_condition_averages_refuse():
    averages = condition_average(activity(), "cue")
    with pytest.raises(InputError, match="`unit` must be one of the 4 units from 10 to 13, got 9"):
        plot_condition_averages(averages, unit=9)
    with pytest.raises(InputError, match="`averages` needs dimension 'condition'"):
        plot_condition_averages(activity(), unit=10)
    with pytest.raises(InputError, match="`n_units` must be a whole number"):
        most_modulated_units(averages, 0)


@pytest.mark.parametrize(("n_components", "name"), [(2, "rectilinear"), (3, "3d"), (5, "3d")])
def test_trajectories_choose_their_dimensions(n_components, name):
    ax = plot_trajectories(projected(n_components), fixed_points(n_components))
    assert ax.name == name
    assert ax.get_xlabel() == "PC 1 (50%)"
    flat = plot_trajectories(projected(n_components), ax=Figure().add_subplot())
    assert flat.name == "rectilinear"


def test_trajectories_are_the_first_trials_on_valid_steps():
    data = projected(2)
    valid = np.ones((30, 25), bool)
    valid[1, 20:] = False
    data["valid"] = (("trial", "time"), valid)
    ax = plot_trajectories(data, n_trials=4)
    paths = [line for line in ax.lines if line.get_label() == "_path"]
    assert [len(path.get_xdata()) for path in paths] == [25, 20, 25, 25]
    np.testing.assert_array_equal(paths[1].get_xydata(), data.score[1, :20])
    assert ax.get_legend() is None


def test_fixed_points_stand_where_the_data_say_each_kind_by_its_own_mark():
    points = fixed_points(2)
    ax = plot_trajectories(projected(2), points)
    groups = named(ax.collections)
    assert list(groups) == [
        "2 stable points",
        "1 saddle, 1 unstable mode",
        "1 saddle, 2 unstable modes",
        "1 saddle, 4 or more unstable modes",
        "1 unstable point",
        "1 marginal point",
        "1 slow point",
    ]
    np.testing.assert_array_equal(groups["2 stable points"].get_offsets(), points.score[:2])
    drawn = np.concatenate([group.get_offsets() for group in groups.values()])
    np.testing.assert_array_equal(drawn, points.score)
    for hollow in ("1 marginal point", "1 slow point"):
        assert len(groups[hollow].get_facecolor()) == 0
    assert len({to_hex(group.get_edgecolor()[0]) for group in groups.values()}) == 7


def test_fixed_points_in_three_dimensions_keep_their_places():
    points = fixed_points(3)
    ax = plot_trajectories(projected(3), points)
    x, y, z = named(ax.collections)["2 stable points"]._offsets3d
    np.testing.assert_allclose(np.c_[x, y, z], points.score[:2])


def test_unstable_directions_are_drawn_for_unstable_modes_only():
    points = fixed_points(2)
    ax = plot_trajectories(projected(2), points)
    segments = [line.get_xydata() for line in ax.lines if line.get_label() == "_direction"]
    # 1 + 2 of the first saddles; three directions are known of the points with 5 and 6 unstable modes.
    assert len(segments) == 1 + 2 + 3 + 3
    np.testing.assert_allclose(segments[0].mean(axis=0), points.score[2])
    along = segments[0][1] - segments[0][0]
    direction = points.direction[2, 0].to_numpy()
    assert np.cross(np.append(along, 0), np.append(direction, 0))[2] == pytest.approx(0, abs=1e-12)


def test_trajectories_are_coloured_by_a_coordinate():
    ax = plot_trajectories(projected(2), color_by="choice")
    assert list(named(ax.lines)) == ["choice 1", "choice 2"]
    ax = plot_trajectories(projected(2), color_by="coherence")
    bars = [other for other in ax.figure.axes if other is not ax]
    assert bars[0].get_ylabel() == "coherence"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_trajectories(activity()), "`projected` has no variable 'score'"),
        (lambda: plot_trajectories(projected().isel(trial=0)), "`score` needs dimension 'trial'"),
        (lambda: plot_trajectories(projected(1)), "`projected` needs at least 2 components, got 1"),
        (lambda: plot_trajectories(projected(), n_trials=0), "`n_trials` must be a whole number"),
        (lambda: plot_trajectories(projected(), color_by="choise"), "did you mean 'choice'"),
        (
            lambda: plot_trajectories(projected(), color_by="explained_variance_ratio"),
            "must name a coordinate on 'trial'",
        ),
        (lambda: plot_trajectories(projected(), xr.Dataset()), "`points` has no variable 'score'"),
        (
            lambda: plot_trajectories(projected(), fixed_points().drop_vars("kind")),
            "`points` has no variable 'kind'",
        ),
        (
            lambda: plot_trajectories(projected(2), ax=Figure().add_subplot(projection="3d")),
            "`ax` has 3 dimensions, `projected` only 2 components",
        ),
    ],
)
def test_trajectories_refuse(call, message):
    with pytest.raises(InputError, match=message):
        call()
    assert not plt.get_fignums()


def test_eigenvalues_stand_in_the_plane_with_the_unit_circle():
    spectrum = xr.Dataset({"eigenvalue_real": ("mode", [1.2, -0.3]), "eigenvalue_imag": ("mode", [0.0, 0.4])})
    ax = plot_eigenvalues(spectrum)
    circle = next(line for line in ax.lines if line.get_label() == "_unit circle")
    np.testing.assert_allclose(np.hypot(*circle.get_xydata().T), 1)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[1.2, 0], [-0.3, 0.4]])
    assert ax.get_aspect() == 1


def test_eigenvalues_of_fixed_points_are_grouped_by_kind():
    points = fixed_points()
    groups = named(plot_eigenvalues(points).collections)
    assert len(groups["2 stable points"].get_offsets()) == 2 * 6
    one = named(plot_eigenvalues(points, fixed_point=3).collections)
    assert list(one) == ["1 saddle, 2 unstable modes"]
    expected = np.c_[points.eigenvalue_real[3], points.eigenvalue_imag[3]]
    np.testing.assert_array_equal(one["1 saddle, 2 unstable modes"].get_offsets(), expected)


def test_eigenvalues_of_no_fixed_points_leave_the_circle():
    ax = plot_eigenvalues(fixed_points().isel(fixed_point=[]))
    assert not ax.collections
    assert ax.get_legend() is None


def test_eigenvalues_refuse():
    spectrum = xr.Dataset({"eigenvalue_real": ("mode", [1.0]), "eigenvalue_imag": ("mode", [0.0])})
    with pytest.raises(InputError, match="`fixed_point` must be below the number of fixed points, 0, got 0"):
        plot_eigenvalues(spectrum, fixed_point=0)
    with pytest.raises(InputError, match="`fixed_point` must be below the number of fixed points, 8, got 8"):
        plot_eigenvalues(fixed_points(), fixed_point=8)
    with pytest.raises(InputError, match="has no variable 'eigenvalue_imag'"):
        plot_eigenvalues(spectrum.drop_vars("eigenvalue_imag"))
    with pytest.raises(InputError, match="`dataset` needs dimension 'mode'"):
        plot_eigenvalues(activity())
    assert not plt.get_fignums()


def test_psychometric_holds_points_intervals_curve_and_parameters():
    fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False, n_bootstrap=20)
    fit.attrs |= {"stimulus_name": "signed_coherence", "chosen": 2}
    ax = plot_psychometric(fit)
    curve, dots = (line for line in ax.lines if len(line.get_xdata()) in (201, 5))
    np.testing.assert_array_equal(curve.get_ydata(), fit.curve)
    np.testing.assert_array_equal(dots.get_xydata(), np.c_[fit.stimulus, fit.fraction_chosen])
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, :, 1], np.c_[fit.fraction_lower, fit.fraction_upper])
    text = ax.get_legend().get_texts()[0].get_text()
    assert f"bias {float(fit.estimate[0]):.3g} [{float(fit.lower[0]):.3g}, {float(fit.upper[0]):.3g}]" in text
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("signed coherence", "fraction of choice 2")
    assert ax.get_legend().get_texts()[1].get_text() == "500 trials, 95% intervals"


def test_psychometric_says_where_a_bound_decided():
    ax = plot_psychometric(fit_psychometric([-1, 0.1, 1], [0, 0, 50], [50] * 3, lapse=False, n_bootstrap=5))
    assert "(at its bound)" in ax.get_legend().get_texts()[0].get_text()


def test_psychometric_refuses():
    with pytest.raises(InputError, match="`fit` needs dimension 'stimulus'"):
        plot_psychometric(activity())
    fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False, n_bootstrap=0)
    with pytest.raises(InputError, match="`fit` has no variable 'curve'"):
        plot_psychometric(fit.rename(curve="line"))
    assert not plt.get_fignums()


def test_colours_of_signed_numbers_are_opposite_and_never_near_white():
    signed = colour_values(np.array([-2.0, 0.0, 0.5, 2.0]))
    assert signed.norm(0.0) == 0.5
    for values in (np.array([-2.0, 0.0, 2.0]), np.linspace(0, 5, 9)):
        for colour in colour_values(values).colours:
            assert np.dot(colour[:3], [0.2126, 0.7152, 0.0722]) < 0.8


def test_more_names_than_colours_are_told_apart_by_line_style():
    names = np.array([f"name {k}" for k in range(14)])
    chosen = colour_values(names)
    assert len(set(zip(chosen.colours, chosen.styles, strict=True))) == 14


def test_importing_the_plots_does_not_load_matplotlib():
    code = "import sys, neurornn.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
