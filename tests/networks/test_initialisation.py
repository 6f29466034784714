import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from neurornn import InputError
from neurornn.networks.initialisation import (
    INITIALISATIONS,
    balanced_gamma,
    diagonal,
    gaussian,
    glorot,
    identity,
    orthogonal,
    spectral_radius,
    uniform,
)

EYE = torch.eye(40, dtype=torch.float64)


def draw(scheme, rows, columns, *, gain=1.0, seed=0, dtype=torch.float64):
    return scheme(rows, columns, gain=gain, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def radius_of(weights):
    return float(torch.linalg.eigvals(weights).abs().max())


def signs_of(n_excitatory, n_inhibitory):
    return torch.tensor([1.0] * n_excitatory + [-1.0] * n_inhibitory)


def balanced(signs, *, gain=1.0, seed=0, dtype=torch.float64, mask=None):
    generator = torch.Generator().manual_seed(seed)
    return balanced_gamma(signs, gain=gain, generator=generator, dtype=dtype, mask=mask)


def test_the_names_are_those_of_the_functions_in_their_order():
    schemes = (gaussian, uniform, orthogonal, identity, diagonal, spectral_radius, glorot)
    assert tuple(INITIALISATIONS.values()) == schemes
    assert [*INITIALISATIONS] == [
        *("gaussian", "uniform", "orthogonal", "identity", "diagonal", "spectral_radius", "glorot")
    ]


@pytest.mark.parametrize("name", INITIALISATIONS)
@pytest.mark.parametrize("shape", [(5, 5), (1, 1), (3, 7), (7, 3), (4, 0), (0, 0)])
def test_a_float32_matrix_is_the_float64_one_rounded_and_seeds_decide(name, shape):
    if name == "spectral_radius" and shape[0] != shape[1]:
        return
    wide, narrow, other = (
        draw(INITIALISATIONS[name], *shape, gain=1.3, seed=seed, dtype=dtype)
        for seed, dtype in [(4, torch.float64), (4, torch.float32), (5, torch.float64)]
    )
    assert (wide.shape, wide.dtype, narrow.dtype) == (shape, torch.float64, torch.float32)
    assert wide.is_contiguous()
    assert torch.equal(wide.float(), narrow)
    assert torch.equal(wide, draw(INITIALISATIONS[name], *shape, gain=1.3, seed=4))
    if min(shape) > 1 and name != "identity":
        assert not torch.equal(wide, other)
    assert torch.equal(draw(INITIALISATIONS[name], *shape, gain=2.6, seed=4), 2 * wide)


def test_the_global_generator_is_left_alone(random_states):
    before = random_states()
    for scheme in INITIALISATIONS.values():
        draw(scheme, 4, 4)
    balanced(signs_of(3, 1))
    assert random_states() == before


def test_gaussian_draws_the_same_numbers_as_ever():
    numbers = torch.randn(3, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    assert torch.equal(draw(gaussian, 3, 4, gain=1.5, seed=7), numbers * (1.5 / 2))


@pytest.mark.parametrize(
    ("scheme", "variance"), [(gaussian, 4 / 500), (uniform, 4 / 500), (glorot, 2 * 4 / 800)]
)
def test_mean_and_variance_are_those_of_the_law(scheme, variance):
    weights = draw(scheme, 300, 500, gain=2.0)
    # Four standard errors; the fourth moment of a Gaussian bounds that of the uniform law.
    n = weights.numel()
    assert abs(float(weights.mean())) < 4 * math.sqrt(variance / n)
    assert float(weights.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / n))


@pytest.mark.parametrize(
    ("scheme", "bound"), [(uniform, 2 * math.sqrt(3 / 500)), (glorot, 2 * math.sqrt(6 / 800))]
)
def test_a_uniform_law_fills_its_bounds_evenly(scheme, bound):
    weights = draw(scheme, 300, 500, gain=2.0)
    assert float(weights.max()) == pytest.approx(bound, rel=1e-3)
    assert float(weights.min()) == pytest.approx(-bound, rel=1e-3)
    assert weights.abs().max() <= bound
    share = torch.histc(weights, 10, -bound, bound) / weights.numel()
    # Five standard errors of a share of a tenth.
    assert (share - 0.1).abs().max() < 5 * math.sqrt(0.09 / weights.numel())


@pytest.mark.parametrize("scheme", [gaussian, uniform])
def test_independent_weights_fill_a_disc_of_the_gain(scheme):
    eigenvalues = torch.linalg.eigvals(draw(scheme, 400, 400, gain=1.5)).abs()
    assert float(eigenvalues.max()) == pytest.approx(1.5, rel=0.1)
    # Of an even disc half of the area lies within 1 / sqrt(2) of the radius.
    assert float((eigenvalues < 1.5 / math.sqrt(2)).double().mean()) == pytest.approx(0.5, abs=0.03)


@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    gain=st.floats(0.01, 10),
    seed=st.integers(0, 2**32),
)
def test_orthogonal_rows_or_columns(rows, columns, gain, seed):
    weights = draw(orthogonal, rows, columns, gain=gain, seed=seed) / gain
    product = weights @ weights.T if rows <= columns else weights.T @ weights
    assert (product - EYE[: len(product), : len(product)]).abs().max() < 1e-12


def test_orthogonal_matrices_have_the_moments_of_the_haar_measure():
    # Of a Haar matrix the trace has mean 0 and variance 1, every entry mean 0 and variance 1 / n, and a
    # determinant of -1 is as likely as 1. A plain QR factor has a first entry that is never positive.
    many = torch.stack([draw(orthogonal, 4, 4, seed=seed) for seed in range(2000)])
    traces = many.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(float(traces.mean())) < 4 / math.sqrt(2000)
    assert float(traces.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / 2000))
    assert many.mean(0).abs().max() < 4 * 0.5 / math.sqrt(2000)
    assert (many.var(0) - 0.25).abs().max() < 4 * 0.25 * math.sqrt(2 / 2000)
    assert abs(float(torch.linalg.det(many).mean())) < 4 / math.sqrt(2000)


def test_identity_is_a_multiple_of_ones_on_the_diagonal():
    assert draw(identity, 2, 3, gain=0.5).tolist() == [[0.5, 0, 0], [0, 0.5, 0]]
    assert torch.equal(draw(identity, 40, 40), EYE)


def test_diagonal_entries_are_uniform_from_zero_to_the_gain():
    weights = draw(diagonal, 2000, 1500, gain=0.8)
    entries = weights.diagonal().clone()
    weights.diagonal().zero_()
    assert not weights.any()
    assert (float(entries.min()), float(entries.max())) == (
        pytest.approx(0, abs=2e-3),
        pytest.approx(0.8, abs=2e-3),
    )
    share = torch.histc(entries, 5, 0, 0.8) / 1500
    assert (share - 0.2).abs().max() < 4 * math.sqrt(0.16 / 1500)


@given(n_units=st.integers(1, 40), gain=st.floats(0.01, 10), seed=st.integers(0, 2**32))
def test_the_spectral_radius_is_the_gain(n_units, gain, seed):
    weights = draw(spectral_radius, n_units, n_units, gain=gain, seed=seed)
    assert radius_of(weights) == pytest.approx(gain, rel=1e-10)
    # Nothing but the scale differs from a Gaussian matrix.
    plain = draw(gaussian, n_units, n_units, seed=seed)
    assert (weights / weights[0, 0] - plain / plain[0, 0]).abs().max() < 1e-9 * plain.abs().max() / abs(
        plain[0, 0]
    )


def test_a_matrix_that_is_not_square_has_no_spectral_radius():
    with pytest.raises(InputError) as raised:
        draw(spectral_radius, 3, 4)
    assert str(raised.value) == (
        "the initialisation 'spectral_radius' needs a square matrix, got 3 rows and 4 columns: choose "
        "'gaussian' or 'orthogonal'"
    )


@given(
    n_excitatory=st.integers(1, 30),
    n_inhibitory=st.integers(1, 30),
    gain=st.floats(0.01, 10),
    seed=st.integers(0, 2**32),
)
def test_balanced_rows_sum_to_zero_with_signs_by_column(n_excitatory, n_inhibitory, gain, seed):
    signs = signs_of(n_excitatory, n_inhibitory)
    weights = balanced(signs, gain=gain, seed=seed)
    assert ((weights * signs) >= 0).all()
    assert radius_of(weights) == pytest.approx(gain, rel=1e-6)
    size = float(weights.abs().sum(1).max())
    assert weights.sum(1).abs().max() < 1e-14 * size


def test_a_masked_matrix_is_balanced_over_what_is_left():
    signs, n_units = signs_of(80, 20), 100
    mask = torch.rand(n_units, n_units, generator=torch.Generator().manual_seed(1)) < 0.3
    mask.fill_diagonal_(False)
    weights = balanced(signs, gain=1.5, mask=mask)
    assert torch.equal(weights != 0, mask)
    assert ((weights * signs) >= 0).all()
    assert weights.sum(1).abs().max() < 1e-12
    assert radius_of(weights) == pytest.approx(1.5, rel=1e-12)
    # The mask takes away and moves nothing: within a row excitation keeps its proportions.
    ratio = (weights / balanced(signs))[:, :80]
    row = ratio[0][mask[0, :80]]
    torch.testing.assert_close(row, row[:1].expand_as(row), rtol=1e-12, atol=0)
    assert torch.equal(balanced(signs, gain=1.5, mask=mask, dtype=torch.float32), weights.float())


def test_a_row_of_one_kind_is_left_as_drawn():
    signs, mask = signs_of(3, 2), torch.ones(5, 5, dtype=torch.bool)
    mask[1, 3:] = False
    mask[2, :3] = False
    whole, weights = balanced(signs), balanced(signs, mask=mask)
    # Excitation is scaled with all of the matrix, and so is the row without inhibition.
    scale = weights[0, 0] / whole[0, 0]
    torch.testing.assert_close(weights[1, :3], scale * whole[1, :3], rtol=1e-12, atol=0)
    assert (weights[2, :3] == 0).all()
    assert (weights[2, 3:] < 0).all()
    # The row without excitation keeps its magnitudes, which balancing had changed.
    generator = torch.Generator().manual_seed(0)
    drawn = -torch.log1p(-torch.rand(2, 5, 5, generator=generator, dtype=torch.float64)).sum(0)
    torch.testing.assert_close(weights[2, 3:] / weights[1, 0], -drawn[2, 3:] / drawn[1, 0])
    assert weights[[0, 3, 4]].sum(1).abs().max() < 1e-12


def test_units_of_one_kind_only_are_left_unbalanced():
    weights = balanced(signs_of(6, 0), gain=0.9)
    assert (weights > 0).all()
    assert radius_of(weights) == pytest.approx(0.9, rel=1e-12)


def test_magnitudes_have_the_moments_of_a_gamma_law_of_shape_two():
    weights = balanced(signs_of(300, 0)).flatten()
    n = len(weights)
    scaled = weights * (2 / weights.mean())
    # Mean 2, variance 2, third central moment 4 and fourth 24, whence the standard errors.
    assert float(scaled.var()) == pytest.approx(2, abs=4 * math.sqrt(20 / n))
    assert float(((scaled - 2) ** 3).mean()) == pytest.approx(4, abs=0.3)
    # 1 - exp(-x) (1 + x) is the distribution function.
    for x in (0.5, 1.0, 2.0, 5.0):
        below = 1 - math.exp(-x) * (1 + x)
        assert float((scaled < x).double().mean()) == pytest.approx(below, abs=5 * math.sqrt(0.25 / n))


def bulk_radius(weights):
    """Return the radius of the disc that eigenvalues fill: every column's entries have their own variance."""
    return math.sqrt(float(weights.var(dim=0).sum()))


def bulk_edge(weights):
    """Return where on the positive axis the eigenvalues of a matrix without self-connections end.

    Beside the means, which balance takes away, such a matrix has on the diagonal d_j, minus the mean of the
    column; the edge is where sum_j var_j / |z - d_j|^2 = 1 (Ahmadian, Fumarola & Miller 2015,
    doi:10.1103/PhysRevE.91.012820).
    """
    n_units = len(weights)
    mean = weights.sum(0) / (n_units - 1)
    off_diagonal = ~torch.eye(n_units, dtype=torch.bool)
    variance = ((weights - mean) ** 2 * off_diagonal).sum(0) / (n_units - 2)
    start = float((-mean).max()) + 1e-6
    return brentq(lambda z: float((variance / (z + mean) ** 2).sum()) - 1, start, 10.0)


SIGNS = signs_of(320, 80)
SEEDS = range(101, 111)


def need_no_outlier(ratios):
    # Four fifths of the variance lie in 80 columns, so that the outermost eigenvalue of a Gaussian matrix
    # without any mean, of the same column variances, scatters as much: by 0.05, up to 1.18 in 40 seeds.
    assert sum(ratios) / len(ratios) < 1.15
    assert max(ratios) < 1.25


def test_balance_takes_the_outlier_away():
    every = [balanced(SIGNS, seed=seed) for seed in SEEDS]
    need_no_outlier([radius_of(weights) / bulk_radius(weights) for weights in every])
    # Rows that sum to zero make the columns' means, which would give the outlier, act on no eigenvalue.
    for weights in every[:3]:
        assert radius_of(weights - weights.mean(0)) == pytest.approx(radius_of(weights), rel=1e-9)
        assert weights.sum(1).abs().max() < 1e-12


def test_balance_takes_the_outlier_away_without_self_connections():
    mask = ~torch.eye(400, dtype=torch.bool)
    every = [balanced(SIGNS, seed=seed, mask=mask) for seed in SEEDS]
    need_no_outlier([radius_of(weights) / bulk_edge(weights) for weights in every])
    assert max(float(weights.sum(1).abs().max()) for weights in every) < 1e-12


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_without_balance_there_is_an_outlier(seed):
    # Units of one kind are not balanced: these are the magnitudes of one Gamma law.
    unbalanced = balanced(torch.ones(400), seed=seed) * SIGNS
    assert radius_of(unbalanced) / bulk_radius(unbalanced) > 1.5
    assert radius_of(unbalanced) == pytest.approx(abs(float(unbalanced.mean(0).sum())), rel=0.05)


@pytest.mark.parametrize("mask", [torch.zeros(4, 4), torch.ones(4, 4).tril(-1)])
def test_connections_without_a_loop_cannot_be_scaled(mask):
    with pytest.raises(InputError) as raised:
        balanced(signs_of(3, 1), gain=1.2, mask=mask.bool())
    assert str(raised.value) == (
        "weights need a loop of connections to be scaled to a spectral radius of 1.2, got only eigenvalues "
        "of 0: allow more connections"
    )


def test_a_loopless_mask_in_any_order_of_the_units_is_refused():
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(30, 30).tril(-1).bool()[order][:, order]
    with pytest.raises(InputError, match="weights need a loop of connections"):
        balanced(signs_of(24, 6), mask=mask)


@pytest.mark.parametrize(
    ("signs", "sentence"),
    [
        (
            torch.tensor([1.0, 0.0]),
            r"`signs` must hold one \+1 or -1 for each unit, got \[1\.0, 0\.0\] of shape \(2,\): give every",
        ),
        (torch.ones(2, 2), r"`signs` must hold one \+1 or -1 for each unit, got .* of shape \(2, 2\)"),
    ],
)
def test_signs_of_another_kind_are_refused(signs, sentence):
    with pytest.raises(InputError, match=sentence):
        balanced(signs)


@pytest.mark.parametrize("mask", [torch.ones(3, 3), torch.ones(3, 2, dtype=torch.bool)])
def test_a_mask_of_another_shape_or_dtype_is_refused(mask):
    with pytest.raises(InputError, match=r"`mask` must be bool of shape \(3, 3\), got torch\.\w+ of shape"):
        balanced(signs_of(2, 1), mask=mask)


def test_no_units_have_no_weights():
    assert balanced(torch.ones(0)).shape == (0, 0)
