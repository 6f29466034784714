"""Romo et al. 1999, in the primer's form: a network compares two stimuli across delays of .2 to 3.2 s.

doi:10.1038/20939, doi:10.1016/j.neuron.2020.09.005.
"""

import pytest

import neurornn as nr

FRESH = range(3101, 3106)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(2026, marks=pytest.mark.published),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in FRESH),
    ],
)
def test_a_network_compares_across_every_delay(seed, claim):
    task = nr.tasks.DelayedComparison()
    network = nr.RateRNN(task.n_inputs, 64, task.n_outputs, activation="relu", seed=seed)
    nr.train(network, task, seed=seed, progress=False)
    activity = nr.record(network, task, n_trials=2000, seed=seed)
    accuracy = nr.analysis.accuracy(activity, "delay_duration")
    print(f"\n{accuracy.accuracy.to_series().to_string()}")
    claim(f"seed {seed}: comparisons right, delays of .2 to 3.2 s", activity.score.mean(), at_least=0.95)
    claim(f"seed {seed}: at the worst delay", accuracy.accuracy.min(), at_least=0.9)
