"""Romo et al. 1999, in the primer's form: a network compares two stimuli across delays of .2 to 3.2 s.

doi:10.1038/20939, doi:10.1016/j.neuron.2020.09.005.
"""

import pytest

import neurornn as nr


@pytest.mark.published
def test_a_network_compares_across_every_delay(claim):
    task = nr.tasks.DelayedComparison()
    network = nr.RateRNN(task.n_inputs, 64, task.n_outputs, activation="relu", seed=2026)
    nr.train(network, task, seed=2026, progress=False)
    activity = nr.record(network, task, n_trials=2000, seed=2026)
    accuracy = nr.analysis.accuracy(activity, "delay_duration")
    print(f"\n{accuracy.accuracy.to_series().to_string()}")
    claim("seed 2026: comparisons right, delays of .2 to 3.2 s", activity.score.mean(), at_least=0.95)
    claim("seed 2026: at the worst delay", accuracy.accuracy.min(), at_least=0.9)
