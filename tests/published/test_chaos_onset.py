"""Sompolinsky et al. 1988, Engelken et al. 2023: random networks become chaotic as their gain passes 1.

doi:10.1103/PhysRevLett.61.259, doi:10.1103/PhysRevResearch.5.043044: x <- W tanh(x) with W Gaussian of
variance g^2 / N. The largest Lyapunov exponent of 400 units, the mean of five networks, beside that of
discrete mean-field theory, lambda = 1/2 ln(g^2 <(1 - tanh^2)^2>). Finite networks lie below it near the
onset: at g = 1.2 nothing is claimed. Below g = 1 the exponent is that of the origin, the logarithm of the
matrix's own spectral radius.
"""

import numpy as np
import pytest

import neurornn as nr

pytestmark = pytest.mark.published
N_UNITS = 400
SEEDS = range(2026, 2031)
THEORY = {1.5: (0.0652, 0.015), 2.0: (0.1547, 0.012), 3.0: (0.3102, 0.012), 5.0: (0.5324, 0.02)}


def network(gain, seed):
    weight = gain * np.random.default_rng(seed).standard_normal((N_UNITS, N_UNITS)) / np.sqrt(N_UNITS)
    return nr.network_from_arrays(weight)


def largest(gain, seed):
    found = nr.analysis.lyapunov(network(gain, seed), n_exponents=1, n_steps=3000, n_warmup=500, seed=seed)
    return float(found.lyapunov_exponent[0])


@pytest.mark.parametrize("gain", list(THEORY))
def test_the_exponent_is_that_of_mean_field_theory(gain, claim):
    theory, margin = THEORY[gain]
    measured = np.mean([largest(gain, seed) for seed in SEEDS])
    claim(
        f"g = {gain}: largest exponent of 400 units ({theory})",
        measured,
        at_least=theory - margin,
        at_most=theory + margin,
    )


@pytest.mark.parametrize("gain", [0.8, 0.9])
def test_below_the_onset_activity_dies_as_the_matrix_says(gain, claim):
    differences = []
    for seed in SEEDS:
        weight = network(gain, seed).recurrent_weight.detach().numpy()
        radius = np.abs(np.linalg.eigvals(weight)).max()
        differences.append(abs(largest(gain, seed) - np.log(radius)))
        assert radius < 1
    claim(f"g = {gain}: largest exponent - ln spectral radius, of five", max(differences), at_most=1e-3)
