"""Analyses: array functions at the bottom, labelled datasets on top.

To add an analysis, write the mathematics as a function of arrays, a function of labelled data on top of it,
a test against a known truth, and enter its name below.
"""

if __name__ != "neurornn.analysis":
    raise ImportError(
        "this folder is the package neurornn.analysis: write `from neurornn import analysis`, "
        "because a bare `analysis` would be shadowed by any analysis.py in a notebook's folder"
    )

from neurornn.analysis.behaviour import accuracy, choice_probability
from neurornn.analysis.components import pca, project, svd
from neurornn.analysis.fixed_points import find_fixed_points
from neurornn.analysis.psychometric import fit_psychometric, psychometric, psychometric_function
from neurornn.analysis.spectra import eigenspectrum

__all__ = [
    "accuracy",
    "choice_probability",
    "eigenspectrum",
    "find_fixed_points",
    "fit_psychometric",
    "pca",
    "project",
    "psychometric",
    "psychometric_function",
    "svd",
]
