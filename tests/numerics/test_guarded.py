import numpy as np
import torch

from neurornn.numerics.eigen import eigensystem
from neurornn.numerics.guarded import Factorised, each_alone_on_failure, solve


def matrices(n=5, count=4, seed=0):
    return np.random.default_rng(seed).standard_normal((count, n, n))


def test_a_batch_that_works_is_untouched():
    batch = matrices()
    values, vectors = each_alone_on_failure(eigensystem, batch)
    expected_values, expected_vectors = eigensystem(batch)
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_array_equal(vectors, expected_vectors)


def test_one_bad_matrix_does_not_take_the_others_down():
    batch = matrices()
    batch[2, 1, 3] = np.nan
    values, vectors = each_alone_on_failure(eigensystem, batch)
    assert np.isnan(values[2]).all()
    assert np.isnan(vectors[2]).all()
    for k in (0, 1, 3):
        np.testing.assert_array_equal(values[k], eigensystem(batch[k])[0])


def test_a_library_that_fails_on_batches_is_asked_one_by_one():
    # As MKL's geev does on matrices of exactly low rank.
    def fails_on_batches(batch):
        if len(batch) > 1:
            raise np.linalg.LinAlgError("eigenvalues did not converge")
        return np.linalg.eigvals(batch)

    batch = matrices()
    (values,) = each_alone_on_failure(fails_on_batches, batch)
    np.testing.assert_array_equal(values, np.concatenate([np.linalg.eigvals(own[None]) for own in batch]))


def test_singular_systems_are_nan_and_the_rest_is_solved():
    batch = torch.as_tensor(matrices())
    batch[1] = 0
    right = torch.ones(4, 5, dtype=torch.float64)
    found = solve(batch, right)
    assert bool(torch.isnan(found[1]).all())
    for k in (0, 2, 3):
        torch.testing.assert_close(batch[k] @ found[k], right[k])


def test_one_factorisation_gives_solutions_signs_and_norms():
    batch = torch.as_tensor(matrices(n=6, count=20))
    batch[3], batch[5, 0, 0] = 0, torch.nan
    both = Factorised(batch)
    good = [k for k in range(20) if k not in (3, 5)]
    torch.testing.assert_close(both.sign()[good], torch.linalg.slogdet(batch[good])[0])
    assert both.sign()[3] == 0
    assert bool(torch.isnan(both.sign()[5]))
    torch.testing.assert_close(both.inverse_norm()[good], torch.linalg.inv(batch[good]).norm(dim=(1, 2)))
    assert both.inverse_norm()[[3, 5]].tolist() == [np.inf, np.inf]
    right = torch.ones(20, 6, dtype=torch.float64)
    torch.testing.assert_close(both.solve(right)[good], torch.linalg.solve(batch[good], right[good]))
    assert bool(torch.isnan(both.solve(right)[[3, 5]]).all())
