"""Schuessler et al. 2020: learning changes recurrent weights along few directions, whatever they were before.

"The interplay between randomness and structure during learning in RNNs", NeurIPS 33, arXiv:2006.11036; their
two-bit flip-flop with 128 units in current dynamics, random weights of g = .9, of which the recurrent ones
alone are trained. The measure of rank is the participation ratio of the squared singular values,
(sum s^2)^2 / sum s^4: the number of directions that hold most of the change.

Seeds 1 and 2 chose the recipe. Of five fresh ones, 3101 to 3105, run once, 3104 failed one claim: rank 10
recovers .9897 of what was learned (the others .9971 to .9990).
"""

import dataclasses

import numpy as np
import pytest
import torch

import neurornn as nr

N_UNITS = 128
GRACE = 5
"""Steps after a pulse in which nothing is asked: with a leak of two steps no state gets there at once."""
RANK = 10
FRESH = range(3101, 3106)


@dataclasses.dataclass(frozen=True)
class FlipFlop(nr.tasks.FlipFlop):
    """The flip-flop, with more time to flip."""

    def make(self, n_trials, conditions, rng):
        trials = super().make(n_trials, conditions, rng)
        mask = trials.mask.copy()
        for late in range(2, GRACE + 1):
            mask[:, late:][trials.inputs[:, :-late] != 0] = 0
        return dataclasses.replace(trials, mask=mask)


TASK = FlipFlop(n_bits=2, duration=500.0)


def study(seed):
    network = nr.RateRNN(
        TASK.n_inputs,
        N_UNITS,
        TASK.n_outputs,
        activation="tanh",
        dynamics="current",
        tau=20.0,
        dt=TASK.dt,
        gain=0.9,
        # Inputs of variance 1, readouts of 1 / N.
        input_gain=np.sqrt(2),
        seed=seed,
    )
    before = network.recurrent_weight.detach().clone()
    nr.train(
        network,
        TASK,
        n_steps=800,
        batch_size=32,
        learning_rate=0.05 / N_UNITS,
        trainable=["recurrent"],
        clip_norm=0.0,
        seed=seed,
        progress=False,
    )
    after = network.recurrent_weight.detach().clone()
    u, s, v = torch.linalg.svd((after - before).double())
    trials = TASK.draw(1000, np.random.default_rng(seed))
    inputs, targets, mask = map(torch.as_tensor, (trials.inputs, trials.targets, trials.mask))

    @torch.no_grad()
    def loss_with(rank):
        change = (u[:, :rank] * s[:rank]) @ v[:rank]
        network.recurrent_weight = before + change.float()
        return nr.training.masked_loss(network(inputs)[0], targets, mask, "mse").item()

    ranks = [0, 1, 2, 4, 6, 8, RANK, 20, N_UNITS]
    loss = {rank: loss_with(rank) for rank in ranks}
    found = {
        "participation ratio": float((s**2).sum() ** 2 / (s**4).sum()),
        "participation ratio of s": float(s.sum() ** 2 / (s**2).sum()),
        "change": float((after - before).norm() / before.norm()),
        "recovered": (loss[0] - loss[RANK]) / (loss[0] - loss[N_UNITS]),
    }
    print(f"\nseed {seed}: {found}, loss by rank " + ", ".join(f"{k}: {own:.2g}" for k, own in loss.items()))
    return found


def check(found, claim, seed):
    claim(
        f"seed {seed}: participation ratio of the change's squared singular values",
        found["participation ratio"],
        at_most=8,
    )
    claim(f"seed {seed}: share of learning in rank {RANK} of the change", found["recovered"], at_least=0.99)


@pytest.mark.published
def test_learning_is_of_low_rank(claim):
    check(study(2026), claim, 2026)


@pytest.mark.slow
@pytest.mark.parametrize("seed", FRESH)
def test_fresh_seeds_learn_in_low_rank(seed, claim):
    check(study(seed), claim, seed)
