import pytest
import torch

from neurornn.numerics.krylov import gmres


def systems(n=30, count=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, n, n, generator=generator, dtype=torch.float64) / n**0.5
    right = torch.randn(count, n, generator=generator, dtype=torch.float64)
    return (torch.eye(n, dtype=torch.float64) + 0.5 * noise).to(dtype), right.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_all_systems_are_solved(dtype, tolerance):
    matrices, right = systems(dtype=dtype)
    found, _ = gmres(
        lambda v: torch.bmm(matrices, v[..., None])[..., 0], right, n_steps=30, tolerance=tolerance
    )
    wrong = torch.bmm(matrices, found[..., None])[..., 0] - right
    assert bool((wrong.norm(dim=1) <= 10 * tolerance * right.norm(dim=1)).all())


def test_it_stops_when_most_are_solved():
    matrices, right = systems()
    calls = []

    def product(vectors):
        calls.append(1)
        return torch.bmm(matrices, vectors[..., None])[..., 0]

    found, n_steps = gmres(product, right, n_steps=30, tolerance=0.05)
    assert len(calls) == n_steps < 15
    wrong = torch.bmm(matrices, found[..., None])[..., 0] - right
    assert bool((wrong.norm(dim=1) <= 0.05 * right.norm(dim=1)).all())


def test_the_residual_is_the_least_within_the_subspace():
    # By least squares over the same Krylov space.
    matrices, right = systems(count=2)
    found, _ = gmres(lambda v: torch.bmm(matrices, v[..., None])[..., 0], right, n_steps=4, tolerance=0.0)
    for matrix, own, solution in zip(matrices, right, found, strict=True):
        space = torch.stack([torch.linalg.matrix_power(matrix, k) @ own for k in range(4)], dim=1)
        best = torch.linalg.lstsq(matrix @ space, own[:, None]).solution
        least = (matrix @ (space @ best))[:, 0] - own
        assert float((matrix @ solution - own).norm()) == pytest.approx(float(least.norm()), rel=1e-8)


def test_a_right_side_of_zero_and_a_subspace_that_is_exhausted_are_no_trouble():
    scale = torch.tensor([[2.0, 2.0, 2.0], [1.0, 3.0, 5.0]], dtype=torch.float64)
    right = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    # The first row is an eigenvector: one step says all there is.
    found, _ = gmres(lambda v: scale * v, right, n_steps=3, tolerance=1e-12, share=2.0)
    torch.testing.assert_close(found, right / scale)
