"""Is non-normality measured as defined, on matrices whose values are known and by brute force?"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from neurornn.analysis import nonnormality
from neurornn.vocabulary import InputError

CASCADE = np.array([[-1.0, 10.0], [0.0, -2.0]])


def gaussian(n, seed, gain=1.0):
    return gain * np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)


def triangle(found):
    return found.schur_triangle_real.values + 1j * found.schur_triangle_imag.values


def test_the_textbook_cascade():
    found = nonnormality(CASCADE, "flow")
    # Closed forms: the departure is the one link; the symmetric part's eigenvalues are -1.5 +- sqrt(.25 +
    # 25).
    assert float(found.henrici_departure) == pytest.approx(10, abs=1e-12)
    assert float(found.numerical_abscissa) == pytest.approx(-1.5 + np.sqrt(25.25), abs=1e-12)
    assert float(found.transient_peak) == pytest.approx(2.5635, abs=5e-5)
    assert float(found.kreiss_constant) == pytest.approx(1.86536, abs=5e-6)
    assert float(found.kreiss_real) == pytest.approx(1.675, abs=5e-4)
    assert float(found.kreiss_imag) == pytest.approx(0, abs=1e-3)
    # What is amplified is nearly all in the second unit, and comes out in the first.
    assert abs(found.amplified_vector.values[1]) > 0.95
    assert abs(found.response_vector.values[0]) > 0.95
    carried = expm(float(found.peak_time) * CASCADE) @ found.amplified_vector.values
    np.testing.assert_allclose(carried, float(found.transient_peak) * found.response_vector, atol=1e-9)
    np.testing.assert_allclose(np.abs(triangle(found)), [[1, 10], [0, 2]], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.sampled_from(["map", "flow"]))
def test_kreiss_theorem_and_the_schur_form_hold_for_any_matrix(n, seed, system):
    matrix = gaussian(n, seed)
    if system == "map":
        matrix *= 0.9 / np.abs(np.linalg.eigvals(matrix)).max()
    else:
        matrix -= (0.1 + np.linalg.eigvals(matrix).real.max()) * np.eye(n)
    found = nonnormality(matrix, system)
    constant, peak = float(found.kreiss_constant), float(found.transient_peak)
    assert 1 <= constant <= peak * (1 + 1e-9)
    assert peak <= np.e * n * constant
    upper, basis = triangle(found), (found.schur_vector_real + 1j * found.schur_vector_imag).values.T
    np.testing.assert_allclose(basis @ upper @ basis.conj().T, matrix, atol=1e-12 * n)
    assert np.abs(np.tril(upper, -1)).max() == 0
    size = np.abs if system == "map" else np.real
    assert (np.diff(size(upper.diagonal())) <= 1e-9).all()
    strict = np.linalg.norm(np.triu(upper, 1))
    assert float(found.henrici_departure) == pytest.approx(strict, abs=1e-10)


def test_peak_and_constant_of_a_flow_against_brute_force():
    matrix = gaussian(12, 3) - 1.05 * np.linalg.eigvals(gaussian(12, 3)).real.max() * np.eye(12)
    found = nonnormality(matrix, "flow")
    norms = [np.linalg.norm(expm(t * matrix), 2) for t in np.linspace(0, 30, 3001)]
    assert float(found.transient_peak) == pytest.approx(max(norms), rel=1e-4)
    assert float(found.transient_peak) >= max(norms) - 1e-12
    x, y = np.meshgrid(np.geomspace(1e-3, 10, 120), np.linspace(0, 3, 90))
    z = (x + 1j * y)[..., None, None]
    smallest = np.linalg.svd(z * np.eye(12) - matrix, compute_uv=False)[..., -1]
    assert float(found.kreiss_constant) == pytest.approx((x / smallest).max(), rel=2e-3)
    assert float(found.kreiss_constant) >= (x / smallest).max() - 1e-12


def test_peak_and_constant_of_a_map_against_brute_force():
    matrix = gaussian(70, 4)
    matrix *= 0.95 / np.abs(np.linalg.eigvals(matrix)).max()
    found = nonnormality(matrix)
    power, norms = np.eye(70), []
    for _ in range(200):
        norms.append(np.linalg.norm(power, 2))
        power = power @ matrix
    assert float(found.transient_peak) == pytest.approx(max(norms), rel=1e-12)
    assert int(found.peak_time) == int(np.argmax(norms))
    assert float(found["norm"]) == pytest.approx(norms[1], rel=1e-12)
    distance, angle = np.meshgrid(np.geomspace(1e-2, 10, 30), np.linspace(0, np.pi, 40))
    z = ((1 + distance) * np.exp(1j * angle))[..., None, None]
    smallest = np.linalg.svd(z * np.eye(70) - matrix, compute_uv=False)[..., -1]
    assert float(found.kreiss_constant) == pytest.approx((distance / smallest).max(), rel=0.02)
    assert float(found.kreiss_constant) >= (distance / smallest).max() * (1 - 1e-9)


def test_the_numerical_radius_of_a_jordan_block_is_a_cosine():
    # Of the n x n shift: cos(pi / (n + 1)).
    found = nonnormality(np.diag(np.ones(5), 1))
    assert float(found.numerical_radius) == pytest.approx(np.cos(np.pi / 7), abs=1e-10)
    assert float(found.relative_departure) == pytest.approx(1)


def test_random_weights_are_half_feedforward():
    # The relative departure of the Ginibre ensemble tends to sqrt(1 / 2).
    assert float(nonnormality(gaussian(200, 0, gain=0.5)).relative_departure) == pytest.approx(
        0.7071, abs=0.01
    )


@pytest.mark.parametrize("system", ["map", "flow"])
def test_a_normal_matrix_amplifies_nothing(system):
    rotation = np.array([[0.0, -0.6], [0.6, 0.0]]) - (system == "flow") * 0.1 * np.eye(2)
    found = nonnormality(rotation, system)
    assert float(found.henrici_departure) == 0
    assert float(found.transient_peak) == pytest.approx(1, abs=1e-12)
    assert float(found.kreiss_constant) == 1
    assert float(found.peak_time) == 0


@pytest.mark.parametrize(
    ("matrix", "system"),
    [
        ([[1.1]], "map"),
        ([[0.1]], "flow"),
        # On the boundary, and defective: it grows for ever, slowly.
        ([[1.0, 1.0], [0.0, 1.0]], "map"),
        ([[0.0, 1.0], [0.0, 0.0]], "flow"),
    ],
)
def test_what_is_unstable_has_no_peak(matrix, system):
    found = nonnormality(matrix, system)
    assert float(found.transient_peak) == np.inf
    assert float(found.kreiss_constant) == np.inf
    assert np.isnan(found.amplified_vector).all()


def test_an_integrator_that_is_fed_has_a_peak_all_the_same():
    # Powers of [[1, 1], [0, 1/2]] tend to [[1, 2], [0, 0]], of norm sqrt(5).
    found = nonnormality([[1.0, 1.0], [0.0, 0.5]])
    assert float(found.transient_peak) == pytest.approx(np.sqrt(5), abs=1e-9)
    assert float(found.kreiss_constant) == pytest.approx(np.sqrt(5), rel=1e-3)


def test_scale_and_type_of_the_entries_do_not_matter():
    small = nonnormality(CASCADE, "flow")
    for given_as in (CASCADE.astype(int), torch.tensor(CASCADE, dtype=torch.float32), CASCADE.tolist()):
        assert float(nonnormality(given_as, "flow").kreiss_constant) == float(small.kreiss_constant)
    huge = nonnormality(1e200 * CASCADE, "flow")
    assert float(huge.henrici_departure) == pytest.approx(1e201)
    assert float(huge.transient_peak) == pytest.approx(float(small.transient_peak))
    assert float(huge.peak_time) == pytest.approx(1e-200 * float(small.peak_time))


@pytest.mark.parametrize(
    ("matrix", "system", "message"),
    [
        (np.zeros((2, 3)), "map", r"must be square, shape \(unit, unit\), got \(2, 3\)"),
        (np.zeros((0, 0)), "map", "must be square"),
        ([[np.nan]], "map", "must be finite, got nan"),
        ([[1.0], [1.0, 2.0]], "map", "must be one array of numbers, got rows of unlike lengths"),
        (np.eye(2), "flows", "unknown system 'flows'.*did you mean 'flow'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(matrix, system, message):
    with pytest.raises(InputError, match=message):
        nonnormality(matrix, system)
