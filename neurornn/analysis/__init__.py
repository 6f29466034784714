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
from neurornn.analysis.dimensionality import cross_validated_dimensionality, noise_floor, participation_ratio
from neurornn.analysis.fixed_points import find_cycles, find_fixed_points, find_manifold
from neurornn.analysis.gradients_through_time import gradient_flow
from neurornn.analysis.jacobian_spectra import spectrum_along
from neurornn.analysis.lesions import lesion_table
from neurornn.analysis.low_rank import low_rank_fixed_points, low_rank_mean_field
from neurornn.analysis.lyapunov_exponents import flow_map, lyapunov
from neurornn.analysis.mean_field import mean_field
from neurornn.analysis.memory import fisher_memory, memory_capacity
from neurornn.analysis.nonnormality import nonnormality
from neurornn.analysis.pseudospectra import pseudospectrum
from neurornn.analysis.psychometric import fit_psychometric, psychometric, psychometric_function
from neurornn.analysis.random_matrices import radial_law
from neurornn.analysis.spectra import eigenspectrum
from neurornn.analysis.subspaces import alignment_index, continuity, subspace_angles, trustworthiness
from neurornn.analysis.weight_changes import weight_change

__all__ = [
    "accuracy",
    "alignment_index",
    "choice_probability",
    "continuity",
    "cross_validated_dimensionality",
    "eigenspectrum",
    "find_cycles",
    "find_fixed_points",
    "find_manifold",
    "fisher_memory",
    "fit_psychometric",
    "flow_map",
    "gradient_flow",
    "lesion_table",
    "low_rank_fixed_points",
    "low_rank_mean_field",
    "lyapunov",
    "mean_field",
    "memory_capacity",
    "noise_floor",
    "nonnormality",
    "participation_ratio",
    "pca",
    "project",
    "pseudospectrum",
    "psychometric",
    "psychometric_function",
    "radial_law",
    "spectrum_along",
    "subspace_angles",
    "svd",
    "trustworthiness",
    "weight_change",
]
