"""Are the figures drawn that the data allow, and the same each time?"""

import matplotlib.pyplot as plt

from neurornn.analysis import pca
from neurornn.report import draw_figures


def test_figures_are_drawn_for_what_is_given_and_none_stays_open(everything):
    figures, _ = everything
    assert [figure.name for figure in figures] == [
        "learning_curve",
        "trial",
        "trajectories",
        "eigenvalues",
        "recurrent_spectrum",
        "activity",
        "condition_averages",
        "psychometric",
    ]
    assert not plt.get_fignums()
    assert len(figures[-2].figure.axes) == 3
    calls = {figure.name: figure.call for figure in figures}
    assert (
        calls["trajectories"]
        == "neurornn.plots.plot_trajectories(pcs, neurornn.analysis.project(points, pcs), color_by='side')"
    )
    captions = {figure.name: figure.caption for figure in figures}
    assert "with the fixed points and their unstable directions" in captions["trajectories"]
    for call in calls.values():
        compile(call, "call", "eval")


def test_without_points_the_figures_do_without(activity, points):
    names = [figure.name for figure in draw_figures(activity(), points=points([]), pcs=pca(activity(), 2))]
    assert names == ["trial", "trajectories", "activity"]


def test_a_figure_gives_the_same_bytes_twice(everything):
    assert everything[0][1].png() == everything[0][1].png()
