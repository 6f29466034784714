"""Yang & Wang's primer (2020): a ReLU network comes close to the ideal observer of a decision.

doi:10.1016/j.neuron.2020.09.005; their notebook's definition and recipe, the fixation cue on until the
response.

    pytest -s -m "published or slow" tests/published/test_perceptual_decision.py

prints the table of all five seeds.
"""

import numpy as np
import pytest

import neurornn as nr

TASK = nr.tasks.PerceptualDecisionMaking()


def study(seed):
    network = nr.RateRNN(TASK.n_inputs, 64, TASK.n_outputs, activation="relu", seed=seed)
    nr.train(network, TASK, seed=seed, progress=False)
    activity = nr.record(network, TASK, n_trials=4000, seed=seed)
    accuracy = nr.analysis.accuracy(activity, "coherence")
    share = float(activity.score.mean() / activity.ideal_score.mean())
    beside = ", ".join(
        f"{c:g} %: {own:.3f} ({ideal:.3f})"
        for c, own, ideal in zip(
            accuracy.coherence.values, accuracy.accuracy.values, accuracy.ideal_accuracy.values, strict=True
        )
        if c >= 6.4
    )
    print(f"\nseed {seed}: accuracy {float(activity.score.mean()):.4f}, {share:.4f} of the ideal's; {beside}")
    return share, accuracy


@pytest.mark.published
def test_one_network_comes_close_to_the_ideal_observer(claim):
    share, accuracy = study(2026)
    claim("seed 2026: share of the ideal's right choices", share, at_least=0.97)
    strong = accuracy.sel(coherence=[12.8, 25.6, 51.2])
    claim("seed 2026: right at 12.8 % and above", strong.accuracy.min(), at_least=0.97)
    # The observer's own accuracy on these trials is that of the formula, within 4 standard errors.
    exact = TASK.ideal_accuracy({"coherence": accuracy.coherence.values})
    error = np.sqrt(exact * (1 - exact) / accuracy.n_trials.values)
    assert (np.abs(accuracy.ideal_accuracy.values - exact) <= 4 * error + 1e-3).all()


@pytest.mark.slow
def test_the_median_of_five_networks_reaches_097_of_the_ideal(claim):
    shares = [study(seed)[0] for seed in range(2026, 2031)]
    claim("seeds 2026 to 2030: median share of the ideal's", np.median(shares), at_least=0.97)
