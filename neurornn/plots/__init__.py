"""Plots: a dataset in, matplotlib's Axes out. One subject a file.

Every plot draws on the axes it is given or on those of a new figure, never shows a figure and never changes
matplotlib's settings; matplotlib is loaded by the first plot that is drawn.
"""

from neurornn.plots.activity import most_modulated_units, plot_activity_heatmap, plot_condition_averages
from neurornn.plots.behaviour import plot_psychometric
from neurornn.plots.growth import plot_gradient_flow, plot_lyapunov_spectrum
from neurornn.plots.spectra import plot_eigenvalues, plot_pseudospectrum, plot_scree
from neurornn.plots.state_space import plot_trajectories
from neurornn.plots.tasks import plot_task
from neurornn.plots.training import plot_learning_curve
from neurornn.plots.trials import plot_trial

__all__ = [
    "most_modulated_units",
    "plot_activity_heatmap",
    "plot_condition_averages",
    "plot_eigenvalues",
    "plot_gradient_flow",
    "plot_learning_curve",
    "plot_lyapunov_spectrum",
    "plot_pseudospectrum",
    "plot_psychometric",
    "plot_scree",
    "plot_task",
    "plot_trajectories",
    "plot_trial",
]
