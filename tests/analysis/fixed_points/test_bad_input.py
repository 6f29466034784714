"""What no search can solve: a labelled result or a sentence, never a crash or an endless loop."""

import time

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn.analysis import find_fixed_points
from neurornn.vocabulary import InputError


def starts(n_variables, n=32, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_variables))


WILD = {
    "drifts": lambda x: x + 1.0,
    "grows without bound": lambda x: torch.exp(x**2),
    "overflows at once": lambda x: x + torch.exp(1e3 * (1 + x**2)),
    "is nowhere a number": lambda x: torch.full_like(x, torch.nan),
    "is no number in half of the space": lambda x: torch.sqrt(x - 0.5) - 3,
    "is infinitely steep": lambda x: torch.sign(x) * torch.sqrt(torch.abs(x)) + 3 * torch.sign(x) + x,
    "jumps": lambda x: x + torch.where(x > 0.1234, 1.0, -1.0).to(x.dtype),
}


@pytest.mark.parametrize("name", WILD)
def test_maps_without_fixed_points_give_failures(name):
    points = find_fixed_points(WILD[name], starts(2), n_starts=64)
    zeros = points.isel(fixed_point=(points.kind != "slow").values)
    assert zeros.sizes["fixed_point"] == 0
    assert (points.start_label[points.start_label >= 0] < points.sizes["fixed_point"]).all()
    assert points.sizes["start"] >= 96


def test_a_result_without_points_survives_a_file(tmp_path):
    points = find_fixed_points(WILD["drifts"], starts(2), n_starts=0)
    assert points.sizes["fixed_point"] == 0
    nr.save(points, tmp_path / "points.nc")
    assert nr.load(tmp_path / "points.nc").sizes["start"] == 32


def test_a_map_at_rest_everywhere_is_marginal_everywhere():
    points = find_fixed_points(lambda x: 1.0 * x, starts(2, 20), n_starts=32)
    assert (points.kind == "marginal").all()
    assert points.sizes["fixed_point"] >= 20
    assert (points.start_label >= 0).all()


def test_a_plain_line_of_zeros_is_sampled_not_merged():
    # Not a network of known form: the line is a set of marginal points, as many as starts.
    projection = torch.tensor([[1.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    points = find_fixed_points(lambda x: x @ projection, starts(2, 20), seeding="none")
    assert (points.kind == "marginal").all()
    assert points.sizes["fixed_point"] == 20
    np.testing.assert_allclose(points.state[:, 1], 0, atol=1e-11)


def test_jacobians_on_which_lapack_fails_do_not_take_the_rest_down(monkeypatch):
    # Of low rank, as those on which MKL gives up; here numpy is made to give up on every batch.
    eig = np.linalg.eig

    def fails_on_batches(matrices):
        if len(matrices) > 1:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return eig(matrices)

    pattern = np.random.default_rng(0).choice([-1.0, 1.0], size=(2, 16))
    network = nr.network_from_arrays(2 * pattern.T @ pattern / 16)
    whole = find_fixed_points(network, starts(16))
    monkeypatch.setattr(np.linalg, "eig", fails_on_batches)
    points = find_fixed_points(network, starts(16))
    assert points.kind.values.tolist() == whole.kind.values.tolist()
    np.testing.assert_array_equal(points.eigenvalue_real, whole.eigenvalue_real)


def test_a_chaotic_network_ends_and_every_start_has_a_label():
    weights = 2.5 * np.random.default_rng(0).standard_normal((50, 50)) / np.sqrt(50)
    given = np.concatenate([np.zeros((1, 50)), starts(50)])
    points = find_fixed_points(nr.network_from_arrays(weights), given, n_starts=64)
    zeros = points.isel(fixed_point=(points.kind != "slow").values)
    assert (zeros.residual <= 1e-12 * 2).all()
    assert 0 in np.abs(zeros.state).max("state_variable").values.round(9)
    assert points.start_label.min() >= -1
    assert np.isfinite(points.start_residual).all()
    assert points.search_ending.item() in ("many points", "round limit", "settled")


@pytest.mark.parametrize("limit", [0.05, 0.5])
def test_the_time_limit_is_kept_and_told(limit):
    weights = 2.5 * np.random.default_rng(0).standard_normal((60, 60)) / np.sqrt(60)
    network = nr.network_from_arrays(weights)
    # What loads on first use is loaded.
    find_fixed_points(network, starts(60, 1), seeding="none")
    began = time.monotonic()
    points = find_fixed_points(network, starts(60, 200), n_starts=4000, max_seconds=limit)
    # One iteration of all starts, and what is known of the points, may still follow; the machine is shared.
    assert time.monotonic() - began < limit + 4
    assert points.attrs["complete"] == 0
    assert points.search_ending.item() == "time limit"
    assert points.sizes["start"] == 4200


def test_a_search_that_ran_out_of_time_begins_no_other_condition():
    network = nr.network_from_arrays(2 * np.eye(3), input=np.eye(3))
    points = find_fixed_points(network, starts(3), inputs={"a": [0, 0, 0], "b": [1, 0, 0]}, max_seconds=1e-9)
    assert points.search_ending.values.tolist() == ["time limit", "time limit"]
    assert (points.start_label == -1).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x @ torch.eye(3, dtype=torch.float64), r"failed on states of shape \(2, 2\)"),
        (lambda x: x[:, :1], r"must return next states like those it is given, \(2, 2\) torch.float64"),
        (lambda x: x.float(), "got .2, 2. torch.float32"),
        (lambda x: x.numpy(), "got ndarray"),
    ],
)
def test_functions_of_other_states_are_refused(function, message):
    with pytest.raises(InputError, match=message):
        find_fixed_points(function, starts(2))


def test_no_starts_are_refused_and_one_is_enough():
    network = nr.network_from_arrays(2 * np.eye(3))
    with pytest.raises(InputError, match="at least one state"):
        find_fixed_points(network, np.empty((0, 3)))
    assert find_fixed_points(network, np.zeros((1, 3))).index_sum.item() == 1


def test_progress_counts_the_starts(capsys):
    find_fixed_points(nr.network_from_arrays(2 * np.eye(2)), starts(2), n_starts=16, progress=True)
    assert "fixed points" in capsys.readouterr().err
