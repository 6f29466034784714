"""Huang et al. 2017, Izmailov et al. 2018: does the mean of several networks do better than one?

arXiv:1704.00109, arXiv:1803.05407. A decision between streams in noise, by the task's own recipe; the same
number of steps for all: one network at a constant learning rate, its best weights kept; the same with the
mean of the weights of the second half; and the ensemble of the snapshots at the ends of five cycles, beside
its own last snapshot. Scores are told beside those of the ideal observer on the same fresh trials.

    pytest -s -m slow tests/published/test_averaging.py

prints the table of five seeds, 3101 to 3105, run once: the mean of weights gained 0, .0143, 0, -.0029 and 0
in score (where it is 0 its held-out loss was not the lowest, and the single network was kept), the ensemble
-.0038, .0180, .0005, .0002 and .0015. Most of both is of seed 3102, whose single network was a poor one. The
last snapshot alone gained -.0049, .0181, .0017, -.0005 and .0017, and its loss was below the ensemble's in
all five: it is the falling learning rate that pays here, not the mean.
"""

import numpy as np
import pytest
import torch

import neurornn as nr

TASK = nr.tasks.PerceptualDecisionMaking()
N_TRIALS = 20_000
FRESH = range(3101, 3106)


@torch.no_grad()
def measured(trials, predict):
    """Return loss and score on trials that training has not seen, predicted in parts for their memory."""
    outputs = torch.cat([predict(part) for part in torch.as_tensor(trials.inputs).split(1000)])
    targets, mask = torch.as_tensor(trials.targets), torch.as_tensor(trials.mask)
    loss = nr.training.masked_loss(outputs, targets, mask, TASK.loss).item()
    return loss, float(TASK.score(outputs.numpy(), trials).mean())


def train(seed, **settings):
    network = nr.RateRNN(TASK.n_inputs, 64, TASK.n_outputs, activation="relu", seed=seed)
    # With the usual 256 held-out trials chance decides which of two good networks is kept.
    held_out = {"n_evaluation_trials": 2000, "diagnostics": False}
    return nr.train(network, TASK, seed=seed, progress=False, **held_out, **settings)


def of(network):
    return lambda inputs: network.eval()(inputs, return_rates=False)[0]


def study(seed):
    """Return loss and score of each way, and print them."""
    snapshots = train(seed, averaging="snapshots", schedule="cyclic").ensemble
    ways = {
        "single": of(train(seed).network),
        "mean of weights": of(train(seed, averaging="weights").network),
        "last snapshot": of(snapshots.networks[-1]),
        "ensemble": snapshots.predict,
    }
    trials = TASK.draw(N_TRIALS, np.random.default_rng(seed))
    found = {way: measured(trials, predict) for way, predict in ways.items()}
    ideal = np.mean(TASK.ideal_choices(trials) == trials.conditions["target_choice"])
    print(f"\nseed {seed}, ideal score {ideal:.4f}")
    for way, (loss, score) in found.items():
        print(f"    {way:16} loss {loss:.5f}, score {score:.4f}")
    return found


@pytest.fixture(scope="module")
def studies():
    return [study(seed) for seed in FRESH]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mean of weights", "ensemble"])
def test_the_mean_of_several_scores_no_less_than_one(studies, way, claim):
    gains = [found[way][1] - found["single"][1] for found in studies]
    losses = [found[way][0] / found["single"][0] for found in studies]
    print(f"\n{way}: gains in score {np.round(gains, 4)}, loss by the single one's {np.round(losses, 3)}")
    claim(f"5 seeds: mean gain in score, {way}", np.mean(gains), at_least=0)
