import time

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis.fixed_points import newton
from neurornn.analysis.fixed_points.equations import MapEquation, equation_of
from neurornn.analysis.maps import StateMap


def cube(n=120, noise=0.3, seed=1):
    """Return weights of three blocks of units that excite themselves, beside random ones."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(np.eye(3), np.full((n // 3, n // 3), 6 / n))
    return blocks + noise * rng.standard_normal((n, n)) / np.sqrt(n)


def around(n, count=300, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(
        rng.choice([-1.0, 1.0], size=(count, 3)).repeat(n // 3, axis=1) * rng.random((count, 1))
    )


@pytest.mark.parametrize("n", [30, 120])
def test_directions_of_both_solvers_are_newtons(n):
    # 30 units are factorised, 120 solved by GMRES.
    equation = equation_of(StateMap(nr.network_from_arrays(cube(n))))
    residual, memo = equation.evaluate(around(n, 20))
    directions = newton.Directions(equation)
    exact = torch.linalg.solve(equation.matrices(memo), residual)
    torch.testing.assert_close(directions.exact(residual, memo), exact)
    rough = directions(residual, memo)
    accurate = directions(residual, memo, accuracy=1e-5)
    right = residual.norm(dim=1)

    def wrong(found):
        return (torch.bmm(equation.matrices(memo), found[..., None])[..., 0] - residual).norm(dim=1) / right

    # Almost all within the accuracy asked for, and float32's own at best.
    assert float(wrong(rough).quantile(0.9)) < 0.06
    assert float(wrong(accurate).quantile(0.9)) < 1e-4


def test_a_preconditioner_that_is_singular_is_done_without():
    # At the origin I - W is singular, and it is the mean.
    equation = equation_of(StateMap(nr.network_from_arrays(np.eye(100))))
    residual, memo = equation.evaluate(torch.zeros(30, 100, dtype=torch.float64))
    assert bool(torch.isfinite(newton.Directions(equation)(residual, memo)).all())


@pytest.mark.parametrize("n", [30, 120])
def test_each_start_ends_at_the_zero_that_it_led_to_by_itself(n):
    equation = equation_of(StateMap(nr.network_from_arrays(cube(n))))
    starts = around(n)
    together = newton.find_zeros(equation, starts)
    assert float((together.owner >= 0).float().mean()) > 0.99
    residual, _ = equation.evaluate(together.unknowns)
    assert float(residual.abs().max()) < 1e-14
    # One start alone has no group that it could be put into wrongly.
    for k in range(0, 300, 30):
        alone = newton.find_zeros(equation, starts[k : k + 1])
        if together.owner[k] >= 0 and alone.owner[0] >= 0:
            apart = (together.unknowns[together.owner[k]] - alone.unknowns[0]).abs().max()
            assert float(apart) < 1e-9


def test_polish_reaches_the_floor_and_says_where_it_does_not():
    equation = MapEquation(StateMap(lambda x: x + torch.cos(x)))
    start = torch.tensor([[1.5], [0.0]], dtype=torch.float64)
    found, converged = newton.polish(equation, newton.Directions(equation), start)
    assert converged.tolist() == [True, False]
    assert float(found[0]) == pytest.approx(np.pi / 2, abs=1e-15)


def test_a_double_zero_is_reached_although_only_linearly():
    # At a gain of 1 the origin is where two more zeros are about to leave it.
    zeros = newton.find_zeros(
        equation_of(StateMap(nr.network_from_arrays(np.eye(1)))), torch.linspace(-1, 1, 9)[:, None].double()
    )
    assert bool((zeros.owner >= 0).all())
    assert float(zeros.unknowns.abs().max()) < 1e-3


def test_nothing_begins_after_the_deadline():
    equation = equation_of(StateMap(nr.network_from_arrays(cube(30))))
    found = newton.find_zeros(equation, around(30), deadline=time.monotonic() - 1)
    assert len(found.unknowns) == 0
    assert (found.owner == -1).all()


def test_no_starts_have_no_zeros():
    equation = equation_of(StateMap(nr.network_from_arrays(cube(30))))
    found = newton.find_zeros(equation, torch.empty(0, 30, dtype=torch.float64))
    assert found.unknowns.shape == (0, 30)
    assert found.owner.shape == (0,)


def test_leaders_are_the_first_of_their_groups():
    points = torch.tensor([[0.0], [1.0], [1e-9], [1.0 + 1e-9], [torch.nan]], dtype=torch.float64)
    first, group = newton.leaders(points, 1e-6)
    assert first.tolist() == [0, 1, 4]
    assert group.tolist() == [0, 1, 0, 1, 2]
