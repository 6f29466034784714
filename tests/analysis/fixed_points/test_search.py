import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.analysis.fixed_points.search import ENDINGS, Search
from neurornn.analysis.fixed_points.starts import Visited
from neurornn.analysis.maps import StateMap


def search(source, n, tolerance=1e-12):
    return Search(StateMap(source), n, tolerance)


def cubic_roots(*roots):
    """Return a map of one variable with given fixed points."""

    def step(x):
        product = torch.ones_like(x)
        for root in roots:
            product = product * (x - root)
        return x - 0.1 * product

    return step


def test_numbers_of_points_never_change_while_more_are_found():
    found = search(nr.network_from_arrays(2 * np.eye(2)), 2)
    found.follow(np.array([[0.9, 0.9], [0.0, 0.0]]), to_minima=False)
    first = found.points.clone()
    found.follow(np.array([[-0.9, 0.9], [0.9, 0.9], [0.01, 0.01]]), to_minima=False)
    torch.testing.assert_close(found.points[: len(first)], first, rtol=0, atol=0)
    _, label, residual = found.starts()
    assert label.tolist() == [0, 1, 2, 0, 1]
    assert float(residual.max()) < 1e-15


def test_the_index_sum_is_that_of_what_is_found():
    found = search(nr.network_from_arrays(2 * np.eye(1)), 1)
    found.follow(np.array([[0.9]]), to_minima=False)
    assert found.index_sum() == 1
    found.follow(np.array([[0.01]]), to_minima=False)
    assert found.index_sum() == 0
    found.follow(np.array([[-0.9]]), to_minima=False)
    assert found.index_sum() == found.index_expected == 1
    assert np.isnan(search(lambda x: x / 2, 1).index_expected)


def test_the_unseen_share_counts_points_that_were_met_once():
    found = search(nr.network_from_arrays(2 * np.eye(1)), 1)
    assert np.isnan(found.unseen_share())
    found.follow(np.array([[0.9], [0.8], [-0.9], [0.0]]), to_minima=False)
    # Two of four starts led to a point of their own.
    assert found.unseen_share() == 0.5


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_points_that_are_near_are_two_as_long_as_their_errors_are_smaller(gap):
    found = search(cubic_roots(-1.0, 0.0, gap), 1)
    found.follow(np.array([[-1.1], [-0.1 * gap], [1.1 * gap]]), to_minima=False)
    assert len(found.points) == 3
    np.testing.assert_allclose(np.sort(found.points[:, 0]), [-1, 0, gap], atol=1e-8)


def test_a_search_between_points_finds_what_the_starts_missed():
    found = search(nr.network_from_arrays(3 * np.eye(3)), 3)
    found.follow(np.array([[0.9, 0.9, 0.9], [-0.9, -0.9, -0.9]]), to_minima=False)
    found.reseed(Visited(found.points.numpy()), 128, np.random.default_rng(0))
    assert len(found.points) == 27
    assert found.ending == "settled"
    assert found.n_rounds >= 1


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        (lambda: nr.network_from_arrays(2 * np.eye(2)), "settled"),
        (lambda: nr.network_from_arrays(np.eye(2) / 2, activation="relu"), "exhaustive"),
        (lambda: lambda x: 1.0 * x, "continuum"),
        # Thousands of points, each reached by few starts.
        (lambda: lambda x: x + 0.3 * torch.sin(40 * x), "many points"),
    ],
    ids=["settled", "exhaustive", "continuum", "many points"],
)
def test_how_a_search_ended_is_told(source, ending):
    starts = np.random.default_rng(0).normal(size=(40, 2)) * 2
    points = find_fixed_points(source(), starts, n_starts=64)
    assert points.search_ending.item() == ending
    assert ending in ENDINGS
    assert find_fixed_points(source(), starts, seeding="none").search_ending.item() in (
        "given starts",
        "exhaustive",
    )
