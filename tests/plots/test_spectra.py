"""Do the plots of spectra hold the data, and the theory that they are held against?"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from neurornn.analysis import eigenspectrum, noise_floor, pca, pseudospectrum
from neurornn.plots import plot_eigenvalues, plot_pseudospectrum, plot_scree
from neurornn.vocabulary import InputError


@pytest.fixture(autouse=True)
def _close_figures():
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def labels(ax):
    return [label for label in ax.get_legend_handles_labels()[1] if not label.startswith("_")]


def circles(ax):
    return {
        line.get_label().partition(":")[0]: np.hypot(*line.get_xydata().T).mean()
        for line in ax.lines
        if len(line.get_xdata()) == 361
    }


def test_the_circular_law_is_drawn_and_the_outlier_ringed():
    n = 100
    matrix = np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n) + 3 / n
    spectrum = eigenspectrum(matrix)
    ax = plot_eigenvalues(spectrum)
    assert circles(ax)["circular law"] == pytest.approx(float(spectrum.circular_radius))
    assert "Rajan and Abbott's law" not in circles(ax)
    rings = ax.collections[1]
    np.testing.assert_allclose(rings.get_offsets(), [[float(spectrum.eigenvalue_real[0]), 0]], atol=1e-9)
    assert labels(ax) == [f"circular law: radius {float(spectrum.circular_radius):.3g}", "1 outlier"]
    ax.figure.canvas.draw()


def test_columns_of_two_kinds_have_a_disc_of_their_own():
    rng = np.random.default_rng(1)
    signs = np.where(np.arange(60) < 48, 1.0, -4.0)
    spectrum = eigenspectrum(np.abs(rng.standard_normal((60, 60))) * signs)
    drawn = circles(plot_eigenvalues(spectrum))
    assert drawn["Rajan and Abbott's law"] == pytest.approx(float(spectrum.bulk_radius))
    assert drawn["circular law"] == pytest.approx(float(spectrum.circular_radius))


def test_several_spectra_are_drawn_without_theory():
    assert "circular law" not in circles(plot_eigenvalues(eigenspectrum(np.zeros((3, 4, 4)) + np.eye(4))))


def test_pseudospectra_are_contours_of_the_logarithm():
    found = pseudospectrum([[-1.0, 10.0], [0.0, -2.0]], n_points=30)
    own = Figure().add_subplot()
    ax = plot_pseudospectrum(found, n_levels=5, ax=own)
    assert ax is own
    assert not plt.get_fignums()
    lines, points = ax.collections[:2]
    assert len(lines.levels) == 5
    logarithm = np.log10(found.smallest_singular_value.values)
    assert logarithm.min() <= lines.levels[0] < lines.levels[-1] < logarithm.max()
    np.testing.assert_allclose(np.sort(points.get_offsets()[:, 0]), [-2, -1])
    assert (ax.get_xlim(), ax.get_aspect()) == ((found.real_part[0], found.real_part[-1]), 1)
    assert "norm of the change" in ax.figure.axes[1].get_ylabel()


def test_a_point_of_the_grid_on_an_eigenvalue_is_no_trouble():
    plot_pseudospectrum(pseudospectrum(np.eye(2), extent=(0, 2, -1, 1), n_points=5)).figure.canvas.draw()


def test_a_scree_holds_variances_floor_and_count():
    rng = np.random.default_rng(2)
    samples = rng.standard_normal((100, 2)) @ rng.standard_normal((2, 8)) + rng.standard_normal((100, 8))
    found = noise_floor(samples, n_surrogates=20)
    ax = plot_scree(found)
    variance, floor, count = ax.lines
    np.testing.assert_array_equal(variance.get_ydata(), found.explained_variance)
    np.testing.assert_array_equal(floor.get_ydata(), found.noise_variance)
    assert variance.get_xdata().tolist() == list(range(1, 9))
    assert count.get_xdata()[0] == int(found.n_above) + 0.5
    assert labels(ax) == ["activity", "noise floor", f"{int(found.n_above)} above it"]
    assert ax.get_yscale() == "log"
    threshold = plot_scree(noise_floor(samples, method="gavish_donoho"), n_components=3)
    assert "best threshold in white noise" in labels(threshold)
    assert len(threshold.lines[0].get_xdata()) == 3


def test_a_scree_of_components_without_variance():
    rate = xr.DataArray(np.outer(np.arange(5.0), [3.0, 4.0, 0.0]), dims=("time", "unit"))
    ax = plot_scree(pca(rate))
    assert ax.get_legend() is None
    assert np.isnan(ax.lines[0].get_ydata()[-1])
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_scree(xr.Dataset()), "`dataset` needs dimension 'component'"),
        (lambda: plot_pseudospectrum(eigenspectrum(np.eye(2))), "has no variable 'smallest_singular_value'"),
        (
            lambda: plot_pseudospectrum(pseudospectrum(np.eye(2), n_points=3), n_levels=0),
            "`n_levels` must be",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
    assert not plt.get_fignums()
