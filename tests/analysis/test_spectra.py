"""Are modes, their condition numbers and the bulk right, one by one, in batches and for the leading few?"""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn.analysis.spectra as module
from neurornn import RateRNN
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


def test_only_the_defective_modes_of_a_matrix_lack_left_vectors():
    # One Jordan block, and a mode beside it that is as sure as any.
    spectrum = eigenspectrum(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]))
    np.testing.assert_array_equal(spectrum.condition_number, [np.inf, np.inf, 1])
    np.testing.assert_array_equal(vectors(spectrum, "left")[2], [0, 0, 1])
    assert np.isnan(spectrum.left_vector_real[:2]).all()


def test_repeated_eigenvalues_that_are_not_defective_have_a_left_basis():
    spectrum = eigenspectrum(2 * np.eye(4, dtype=int))
    np.testing.assert_allclose(vectors(spectrum, "left") @ vectors(spectrum, "right").T, np.eye(4))
    np.testing.assert_array_equal(spectrum.condition_number, 1)


def test_condition_numbers_bound_what_small_changes_do():
    matrix = np.array([[1.0, 30.0], [0.0, 0.5]])
    condition = float(eigenspectrum(matrix).condition_number[0])
    # 1 / |l . r| with vectors of length 1.
    assert condition == pytest.approx(np.hypot(1, 60))
    left, right = np.array([1.0, 60.0]) / condition, np.array([1.0, 0.0])
    worst = 1e-7 * np.outer(left, right)
    moved = np.abs(np.linalg.eigvals(matrix + worst)).max() - 1
    assert moved == pytest.approx(1e-7 * condition, rel=1e-3)


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


def test_structure_beside_random_weights_is_told_as_an_outlier():
    n = 400
    matrix = 1.5 * np.random.default_rng(2).standard_normal((n, n)) / np.sqrt(n) + 3 / n
    spectrum = eigenspectrum(matrix)
    assert float(spectrum.bulk_radius) == pytest.approx(1.5, rel=0.02)
    assert float(spectrum.bulk_radius) == pytest.approx(float(spectrum.circular_radius))
    # n v^T u = 3, shifted by the random part by something of order 1.5 / sqrt(n).
    assert np.flatnonzero(spectrum.is_outlier).tolist() == [0]
    assert float(spectrum.eigenvalue_real[0]) == pytest.approx(3, abs=0.25)
    assert not eigenspectrum(matrix - 3 / n).is_outlier.any()
    # Without any spread what rounding makes of a zero is no outlier.
    assert eigenspectrum(np.ones((5, 5))).is_outlier.values.tolist() == [True] + [False] * 4


def test_batches_keep_their_dimensions_and_are_what_single_matrices_are():
    matrices = np.random.default_rng(3).standard_normal((2, 3, 5, 5))
    labelled = xr.DataArray(
        matrices, dims=("trial", "time", "unit", "presynaptic_unit"), coords={"time": [0.0, 10.0, 20.0]}
    )
    spectra = eigenspectrum(labelled)
    assert spectra.eigenvalue_real.dims == ("trial", "time", "mode")
    np.testing.assert_array_equal(spectra.time, [0, 10, 20])
    one = eigenspectrum(matrices[1, 2])
    for name, expected in one.data_vars.items():
        np.testing.assert_allclose(spectra[name][1, 2], expected, atol=1e-12)
    assert float(spectra.spectral_radius[1, 2]) == pytest.approx(one.attrs["spectral_radius"])
    assert eigenspectrum(matrices[0]).sizes["matrix"] == 3


def test_a_matrix_on_which_lapack_fails_takes_no_other_down(monkeypatch):
    matrices = np.random.default_rng(4).standard_normal((4, 3, 3))
    expected = eigenspectrum(matrices)
    whole = module.eigensystem

    def failing(given):
        # As it comes, in its own power of two.
        if (given == module.scaled(matrices[2])[0]).all(axis=(-1, -2)).any():
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return whole(given)

    monkeypatch.setattr(module, "eigensystem", failing)
    found = eigenspectrum(matrices)
    assert np.isnan(found.eigenvalue_real[2]).all()
    assert np.isnan(found.condition_number[2]).all()
    others = [0, 1, 3]
    np.testing.assert_array_equal(found.eigenvalue_real[others], expected.eigenvalue_real[others])
    np.testing.assert_array_equal(found.left_vector_imag[others], expected.left_vector_imag[others])


@pytest.mark.parametrize("n", [60, 320])
def test_leading_modes_are_those_of_the_whole_spectrum(n):
    matrix = np.random.default_rng(5).standard_normal((n, n)) / np.sqrt(n)
    whole = eigenspectrum(matrix)
    for n_wanted in (1, 2, 3, 6):
        leading = eigenspectrum(matrix, n_wanted)
        kept = leading.sizes["mode"]
        assert n_wanted <= kept <= n_wanted + 1
        # A conjugate pair is whole.
        assert float(leading.eigenvalue_imag.sum()) == pytest.approx(0, abs=1e-10)
        np.testing.assert_allclose(eigenvalues(leading), eigenvalues(whole)[:kept], atol=1e-10)
        np.testing.assert_allclose(leading.condition_number, whole.condition_number[:kept], rtol=1e-8)
        np.testing.assert_allclose(leading.singular_value, whole.singular_value[:n_wanted], rtol=1e-9)
        left, right = vectors(leading, "left"), vectors(leading, "right")
        np.testing.assert_allclose((left * right).sum(axis=1), 1, atol=1e-9)
        np.testing.assert_allclose(left @ matrix, eigenvalues(leading)[:, None] * left, atol=1e-8)
        assert leading.attrs["spectral_radius"] == pytest.approx(whole.attrs["spectral_radius"])


def test_where_arnoldi_fails_more_is_asked_for_and_then_everything(monkeypatch):
    matrix = np.random.default_rng(6).standard_normal((240, 240)) / 15
    expected, asked = eigenspectrum(matrix), []
    monkeypatch.setattr(module, "leading_modes", lambda matrix, n_modes: asked.append(n_modes))
    found = eigenspectrum(matrix, 4)
    assert asked == [8, 18, 36]
    kept = found.sizes["mode"]
    np.testing.assert_array_equal(eigenvalues(found), eigenvalues(expected)[:kept])


def test_a_network_and_any_kind_of_number_will_do():
    network = RateRNN(1, 7, 1, seed=0)
    by_weights = eigenspectrum(network.recurrent_weight)
    assert eigenspectrum(network).identical(by_weights)
    whole = np.arange(9).reshape(3, 3)
    for held in (whole, whole.tolist(), torch.tensor(whole), torch.tensor(whole, dtype=torch.bfloat16)):
        np.testing.assert_allclose(
            eigenspectrum(held).eigenvalue_real, eigenspectrum(1.0 * whole).eigenvalue_real
        )
    huge = eigenspectrum(1e300 * whole)
    np.testing.assert_allclose(huge.eigenvalue_real[:2], 1e300 * eigenspectrum(whole).eigenvalue_real[:2])
    assert float(huge.bulk_radius) == pytest.approx(1e300 * float(eigenspectrum(whole).bulk_radius))


def test_netcdf_holds_a_spectrum(tmp_path):
    import neurornn as nr

    spectrum = eigenspectrum(np.random.default_rng(7).standard_normal((4, 4)))
    nr.save(spectrum, tmp_path / "spectrum.nc")
    assert nr.load(tmp_path / "spectrum.nc").equals(spectrum)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_eigenvalues": 0}, "`n_eigenvalues` must be a whole number of at least 1, got 0"),
        ({"n_eigenvalues": 4}, "`n_eigenvalues` must be at most the number of units 3, got 4"),
        ({"signs": [1, -1]}, r"`signs` must have shape \(unit=3,\), got \(2,\)"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        eigenspectrum(np.eye(3), **options)
    with pytest.raises(InputError, match="`n_eigenvalues` is for one matrix"):
        eigenspectrum(np.zeros((2, 3, 3)), 1)
    with pytest.raises(InputError, match=r"units as its last two dimensions.*rename 'unit'"):
        eigenspectrum(xr.DataArray(np.zeros((2, 2, 2)), dims=("unit", "to", "source")))


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
