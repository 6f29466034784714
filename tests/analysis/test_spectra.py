import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn.analysis import eigenspectrum
from neurornn.vocabulary import InputError


def vectors(spectrum, side):
    return spectrum[f"{side}_vector_real"].values + 1j * spectrum[f"{side}_vector_imag"].values


def eigenvalues(spectrum):
    return spectrum.eigenvalue_real.values + 1j * spectrum.eigenvalue_imag.values


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_left_and_right_vectors_diagonalise_the_matrix(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    spectrum = eigenspectrum(matrix)
    left, right, values = vectors(spectrum, "left"), vectors(spectrum, "right"), eigenvalues(spectrum)
    # Rounding, magnified by how far the vectors are from orthogonal.
    tolerance = 1e-11 * float(spectrum.condition_number.max()) * n
    np.testing.assert_allclose(matrix @ right.T, right.T * values, atol=tolerance)
    np.testing.assert_allclose(left @ matrix, values[:, None] * left, atol=tolerance)
    np.testing.assert_allclose((left * right).sum(1), 1, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 1, atol=1e-12)
    assert (np.diff(np.abs(values)) <= 1e-9).all()


def test_selection_vector_of_a_shear():
    spectrum = eigenspectrum(np.array([[1.0, 5.0], [0.0, 0.5]]))
    np.testing.assert_allclose(spectrum.eigenvalue_real, [1, 0.5])
    # The leading right vector is (1, 0) up to sign; its left vector is (1, 10), at 84.289 degrees to it.
    left, right = vectors(spectrum, "left")[0].real, vectors(spectrum, "right")[0].real
    np.testing.assert_allclose(left * np.sign(right[0]), [1, 10], atol=1e-12)
    angle = np.degrees(np.arccos(abs(left @ right) / np.linalg.norm(left)))
    assert angle == pytest.approx(84.289, abs=5e-4)
    assert float(spectrum.condition_number[0]) == pytest.approx(np.sqrt(101))


def test_a_rotation_has_a_conjugate_pair():
    spectrum = eigenspectrum(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(eigenvalues(spectrum), [1j, -1j])
    assert spectrum.attrs["spectral_radius"] == pytest.approx(1)
    assert spectrum.attrs["spectral_abscissa"] == pytest.approx(0)


def test_a_defective_matrix_has_no_left_basis():
    spectrum = eigenspectrum(np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert np.isnan(spectrum.left_vector_real).all()
    assert np.isinf(spectrum.condition_number).all()


def test_singular_values_are_those_of_numpy():
    matrix = np.random.default_rng(0).standard_normal((6, 6))
    np.testing.assert_allclose(
        eigenspectrum(matrix).singular_value, np.linalg.svd(matrix, compute_uv=False), rtol=1e-12
    )


def test_gaussian_weights_fill_a_disc_uniformly():
    gain, n = 1.5, 600
    matrix = gain * np.random.default_rng(1).standard_normal((n, n)) / np.sqrt(n)
    modulus = np.abs(eigenvalues(eigenspectrum(matrix)))
    # Girko's circular law: a radius of g (edge fluctuations of order n^-1/2), a quarter inside half of it.
    assert modulus.max() == pytest.approx(gain, rel=0.06)
    assert (modulus < gain / 2).mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), r"must be square, shape \(unit, unit\), got \(2, 3\)"),
        (np.zeros((0, 0)), "must be square"),
        (np.array([[np.inf]]), "must be finite, got inf at index"),
        (1j * np.eye(2), "must hold real numbers, got complex128"),
    ],
)
def test_mistakes_are_told_in_one_sentence(matrix, message):
    with pytest.raises(InputError, match=message):
        eigenspectrum(matrix)
