"""Lesion tables against recordings with one lesion each."""

import numpy as np
import pytest

import neurornn as nr
from neurornn import InputError
from neurornn.activity import Lesion
from neurornn.analysis import lesion_table

TASK = nr.tasks.FlipFlop(n_bits=2, duration=300)


@pytest.fixture(scope="module")
def network():
    return nr.RateRNN(2, 6, 2, excitatory_fraction=0.5, activation="relu", seed=2)


def test_each_row_is_the_score_of_a_recording_with_that_lesion(network):
    table = lesion_table(network, TASK, n_trials=300)
    assert table.score.dims == ("lesion", "task")
    assert table.lesion.values.tolist() == ["0", "1", "2", "3", "4", "5"]
    assert table.task.values.tolist() == ["FlipFlop"]
    assert table.n_trials.item() == 300
    whole = nr.record(network, TASK, 300).score.mean()
    np.testing.assert_allclose(table.intact_score, whole, atol=1e-12)
    for k in range(6):
        own = nr.record(network, TASK, 300, interventions=[Lesion([k])]).score.mean()
        np.testing.assert_allclose(table.score[k, 0], own, atol=1e-12)
    np.testing.assert_allclose(table.change, table.score - table.intact_score)


def test_populations_clusters_and_named_parts(network):
    by_population = lesion_table(network, TASK, "population", n_trials=50)
    assert by_population.lesion.values.tolist() == ["excitatory", "inhibitory"]
    assert by_population.n_units.values.tolist() == [3, 3]
    clusters = lesion_table(network, TASK, np.array([0, 0, 1, -1, 1, 1]), n_trials=50)
    assert clusters.lesion.values.tolist() == ["0", "1"]
    assert clusters.n_units.values.tolist() == [2, 3]
    named = lesion_table(network, TASK, {"pair": [0, 1], "one": 4}, n_trials=50)
    np.testing.assert_array_equal(named.score[0], clusters.score[0])
    assert named.n_units.values.tolist() == [2, 1]


def test_several_tasks_are_columns():
    mixture = nr.tasks.get("yang19")
    network = nr.RateRNN(mixture.n_inputs, 6, mixture.n_outputs, tau=100, dt=mixture.dt)
    table = lesion_table(network, mixture, {"half": [0, 1, 2]}, n_trials=60)
    activity = nr.record(network, mixture, 60)
    assert table.sizes["task"] == len(np.unique(activity.task))
    means = activity.score.groupby("task").mean()
    np.testing.assert_allclose(table.intact_score, means.sel(task=table.task.values), atol=1e-12)
    assert int(table.n_trials.sum()) == 60
    two = {"short": TASK, "long": nr.tasks.FlipFlop(n_bits=2, duration=600)}
    both = lesion_table(nr.RateRNN(2, 6, 2), two, {"half": [0, 1, 2]}, n_trials=20)
    assert both.task.values.tolist() == ["short", "long"]


def test_a_unit_that_carries_all_costs_all():
    """One unit holds the answer, the other is not read: silencing the first leaves chance."""
    network = nr.network_from_arrays(np.diag([3.0, 0.0]), [[5.0], [1.0]], None, [[1.0, 0.0]])
    task = nr.tasks.FlipFlop(n_bits=1, duration=300)
    table = lesion_table(network, task, n_trials=100)
    assert table.intact_score.item() == pytest.approx(1.0)
    assert table.change[1].item() == 0
    assert table.score[0].item() < 0.2


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("popultion", "did you mean 'population'"),
        ([0, 1], r"one label for each of 6 units, got shape \(2,\)"),
        ({}, "names no part of the network"),
        ({"far": [9]}, r"positions from 0 to 5, at least one, got \[9\]"),
    ],
)
def test_parts_that_are_none_are_refused(network, by, sentence):
    with pytest.raises(InputError, match=sentence):
        lesion_table(network, TASK, by)
    with pytest.raises(InputError, match="empty mapping"):
        lesion_table(network, {})
