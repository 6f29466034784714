import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn.analysis.fixed_points.starts import Visited, draw_starts, mix_points, read_starts, settle
from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import InputError

STATES = np.array([[0.0, 0.0], [1.0, 1.0]])


def test_drawn_starts_lie_between_and_around_the_states():
    drawn = draw_starts(STATES, 400, np.random.default_rng(0))
    assert drawn.shape == (400, 2)
    # The first half are mixtures, on the line of the states but for noise of 5 % of their spread of 1/2.
    mixed = drawn[: 400 - 100 - 75 - 25]
    assert np.abs(mixed[:, 0] - mixed[:, 1]).max() < 0.05 * STATES.std() * 8
    assert 0.3 < mixed.mean() < 0.7
    # The last sixteenth fills the box of the states, half as wide again.
    filled = drawn[-25:]
    assert filled.min() > -0.25 - 0.2
    assert filled.max() < 1.25 + 0.2
    assert np.abs(filled[:, 0] - filled[:, 1]).max() > 0.3


def test_a_known_box_is_filled():
    low, high = np.array([-3.0, -3.0]), np.array([3.0, 3.0])
    filled = draw_starts(STATES, 1600, np.random.default_rng(0), (low, high))[-100:]
    assert filled.min() < -2
    assert filled.max() > 2
    unbounded = draw_starts(STATES, 1600, np.random.default_rng(0), (low, np.full(2, np.inf)))
    assert np.isfinite(unbounded).all()


@pytest.mark.parametrize("count", [0, 1, 3, 16])
def test_as_many_are_drawn_as_are_asked_for(count):
    assert draw_starts(STATES, count, np.random.default_rng(0)).shape == (count, 2)
    assert mix_points(STATES, count, np.random.default_rng(0)).shape == (count, 2)


def test_states_that_are_all_alike_are_left_by_noise_of_the_size_of_tanh_units():
    drawn = draw_starts(np.zeros((5, 3)), 160, np.random.default_rng(0))
    assert 0.03 < drawn.std() < 0.5


def test_mixtures_of_points_reach_between_and_beyond_them():
    # Three corners of a square: the parallelogram's fourth one is the corner that was not known.
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mixed = mix_points(corners, 900, np.random.default_rng(0))
    for goal in ([1, 1], [0.5, 0.5], [1 / 3, 1 / 3]):
        assert np.abs(mixed - goal).max(axis=1).min() < 0.05


def test_every_condition_is_drawn_equally_often():
    group = np.r_[np.zeros(990, int), np.full(10, 7)]
    drawn = Visited(group[:, None].astype(float), group).pick(2000, np.random.default_rng(0))
    # 1000 +- 22.
    assert abs((drawn == 7).sum() - 1000) < 110


def recording(**coords):
    rate = np.arange(4 * 3 * 2, dtype=float).reshape(4, 3, 2)
    data = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    return data.assign_coords({name: ("trial", own) for name, own in coords.items()})


def test_conditions_are_what_labels_of_few_values_say_together():
    data = recording(context=[0, 0, 1, 1], choice=["left", "right", "left", "left"], score=[1, 2, 3, 4])
    visited, given = read_starts(data, 2, None)
    assert len(given) == 0
    assert len(visited.states) == 12
    # Trials 2 and 3 are of one condition; the score is none.
    assert len(np.unique(visited.group)) == 3
    assert len(np.unique(visited.group.reshape(4, 3)[2:])) == 1
    assert read_starts(recording(), 2, None)[0].group is None


def test_only_valid_states_are_visited_ones():
    data = recording(context=[0, 0, 1, 1])
    data["valid"] = (("trial", "time"), np.tile([True, False, False], (4, 1)))
    visited, given = read_starts(data, 2, 3)
    np.testing.assert_array_equal(visited.states, data.rate.values[:, 0])
    np.testing.assert_array_equal(given, data.rate.values[[0, 1, 3], 0])
    assert visited.group.tolist() == [0, 0, 1, 1]


def test_states_are_read_by_the_names_of_their_dimensions():
    array = xr.DataArray(np.zeros((3, 5, 2)), dims=("state_variable", "a", "b"))
    assert read_starts(array, 3, None)[1].shape == (10, 3)
    with pytest.raises(InputError, match="must hold real numbers, got dtype complex128"):
        read_starts(np.zeros((2, 3), complex), 3, None)


def test_orbits_lead_to_what_attracts():
    system = StateMap(nr.network_from_arrays(2 * np.eye(2), alpha=0.1))
    reached = settle(system, np.random.default_rng(0).normal(size=(20, 2)), np.random.default_rng(1))
    assert reached.shape == (160, 2)
    np.testing.assert_allclose(np.abs(reached[-20:]), 0.9575040240772688, atol=1e-6)


def test_orbits_that_leave_every_bound_are_left_out():
    system = StateMap(lambda x: 10 * x)
    reached = settle(system, np.ones((4, 1)), np.random.default_rng(0))
    assert np.isfinite(reached).all()
    nowhere = StateMap(lambda x: torch.full_like(x, torch.nan))
    assert settle(nowhere, np.ones((4, 1)), np.random.default_rng(0)).shape == (0, 1)
