"""Dubreuil et al. 2022: recurrent weights of rank one are enough for a perceptual decision.

doi:10.1038/s41593-022-01088-4; here with the task and recipe of the Primer's notebook. In current dynamics
without a leak the state is a sum of inputs, from which what units receive from each other can be read off.

Seeds 1 to 4 chose the recipe; of five fresh ones, 101 to 105, run once, none failed (.993 to .999
of the ideal's).
"""

import numpy as np
import pytest

import neurornn as nr

TASK = nr.tasks.get("perceptual_decision_making")


def study(seed):
    network = nr.RateRNN(
        TASK.n_inputs, 64, TASK.n_outputs, activation="tanh", dynamics="current", rank=1, seed=seed
    )
    nr.train(network, TASK, seed=seed, progress=False)
    activity = nr.record(network, TASK, n_trials=4000, seed=seed)
    from_outside = activity.input.values @ activity.parameter_input_weight.values.T
    received = activity.state.values - from_outside - activity.parameter_bias.values
    m = network.layers[0].recurrent.m.detach().numpy()[:, 0]
    kappa = received @ m / (m @ m)
    accuracy = nr.analysis.accuracy(activity, "coherence")
    share = float(activity.score.mean() / activity.ideal_score.mean())
    choice = activity.choice.values
    ends = [kappa[choice == own, -1] for own in (1, 2)]
    ends = ends if ends[0].mean() < ends[1].mean() else ends[::-1]
    rest = np.abs(received - kappa[..., None] * m).max() / np.abs(received).max()
    print(
        f"\nseed {seed}: {share:.4f} of the ideal's, accuracy {accuracy.accuracy.values.round(3)}, "
        f"{(choice < 0).sum()} trials without choice, kappa of one choice up to {ends[0].max():.4f}, of the "
        f"other from {ends[1].min():.4f}, rest beside m {rest:.1e}"
    )
    return network, accuracy, share, rest, ends


@pytest.fixture(scope="module")
def decision():
    return study(2026)


@pytest.mark.published
def test_rank_one_comes_close_to_the_ideal_observer(decision, claim):
    _, accuracy, share, *_ = decision
    # What the network of full rank must reach.
    claim("seed 2026: share of the ideal's right choices, rank 1", share, at_least=0.97)
    strong = accuracy.accuracy.sel(coherence=[12.8, 25.6, 51.2])
    claim("seed 2026: right at 12.8 % and above", strong.min(), at_least=0.97)


@pytest.mark.published
def test_the_trained_weights_still_have_rank_one(decision, claim):
    network, *_ = decision
    singular = np.linalg.svd(network.recurrent_weight.detach().numpy(), compute_uv=False)
    # The product is rounded to float32 entry by entry: 6e-8 of each, and at most sqrt(64) times that in all.
    claim("seed 2026: second singular value by the first", singular[1] / singular[0], below=1e-6)


@pytest.mark.published
def test_what_units_receive_from_each_other_lies_along_m(decision, claim):
    *_, rest, _ = decision
    # Differences of float32 states, some ten times as large: rounding is of order 1e-6.
    claim("seed 2026: recurrent input beside m", rest, below=1e-5)


@pytest.mark.published
def test_the_place_along_m_is_the_decision(decision, claim):
    *_, (one, other) = decision
    # Nothing comes from outside in the response: the outputs are functions of this number, which rounding
    # leaves uncertain by 1e-6.
    claim("seed 2026: overlap of the choices' kappas", one.max() - other.min(), below=1e-5)
