"""Hochreiter & Schmidhuber 1997, Le et al. 2015: gates, or an identity at first, carry what tanh forgets.

doi:10.1162/neco.1997.9.8.1735, doi:10.48550/arXiv.1504.00941: two marked numbers of 50 are added; who always
says their mean has an error of 1/6, the variance. Arjovsky et al. 2016, doi:10.48550/arXiv.1511.06464: ten
letters are said again after 20 steps; who has no memory has a loss of 10 ln 8 / (T + 20).

Seed 1 was run before, and seed 2 too with tanh units that add. Of the fresh seeds 3101 to 3105, four fail
one claim: tanh units that copy end at .4945, .4971, .4992 and .4982, a little below what no memory has (.5199
+- .01), and at .5206 with 3105. All other claims hold on all five.
"""

import math

import numpy as np
import pytest
import torch

import neurornn as nr

ADDING = nr.tasks.Adding()
COPY = nr.tasks.Copy(delay=20.0)
FRESH = range(3101, 3106)
EITHER = [
    pytest.param(2026, marks=pytest.mark.published),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in FRESH),
]


def lstm(task, seed):
    return nr.LSTM(task.n_inputs, 64, task.n_outputs, forget_bias=1.0, seed=seed)


def tanh(task, seed):
    # All weights uniform within 1 / sqrt(64), as torch draws those of its networks and so of the LSTM above.
    # From Gaussian weights of gain 1, at the edge of chaos, tanh units learned T = 50 to an error of .02 in
    # as many steps (seed 1): what is claimed is of the smaller ones.
    return nr.RateRNN(
        task.n_inputs,
        64,
        task.n_outputs,
        activation="tanh",
        recurrent_initialisation="uniform",
        gain=math.sqrt(1 / 3),
        input_initialisation="uniform",
        input_gain=math.sqrt(task.n_inputs / (3 * 64)),
        output_initialisation="uniform",
        output_gain=math.sqrt(1 / 3),
        seed=seed,
    )


def identity(task, seed):
    return nr.RateRNN(
        task.n_inputs,
        64,
        task.n_outputs,
        activation="relu",
        recurrent_initialisation="identity",
        seed=seed,
    )


def gru(task, seed):
    return nr.GRU(task.n_inputs, 100, task.n_outputs, seed=seed)


def tanh_100(task, seed):
    return nr.RateRNN(task.n_inputs, 100, task.n_outputs, activation="tanh", seed=seed)


def loss_after(build, task, seed, **settings):
    """Train a network and return the loss of its best weights on fresh trials."""
    network = build(task, seed)
    nr.train(network, task, seed=seed, progress=False, diagnostics=False, batch_size=64, **settings)
    trials = task.draw(4000, np.random.default_rng(seed))
    with torch.no_grad():
        outputs = network(torch.as_tensor(trials.inputs), return_rates=False)[0]
    targets, mask = torch.as_tensor(trials.targets), torch.as_tensor(trials.mask)
    loss = nr.training.masked_loss(outputs, targets, mask, task.loss).item()
    print(f"\nseed {seed}, {build.__name__}: {loss:.5f}")
    return loss


@pytest.mark.published
def test_a_constant_has_the_variance_as_error(claim):
    trials = ADDING.draw(200_000, np.random.default_rng(2026))
    error = np.mean((trials.targets[:, -1, 0].astype(float) - 1) ** 2)
    # The standard error is .0004 / 2.
    claim("adding: squared error of always saying the mean (1/6)", error, at_least=0.1637, at_most=0.1697)


@pytest.mark.parametrize("seed", EITHER)
def test_an_lstm_adds(seed, claim):
    loss = loss_after(lstm, ADDING, seed, n_steps=2000, learning_rate=5e-3)
    claim(f"seed {seed}: adding, T = 50, LSTM after 2000 steps", loss, at_most=0.005)


@pytest.mark.parametrize("seed", EITHER)
def test_rectified_units_from_the_identity_add(seed, claim):
    loss = loss_after(identity, ADDING, seed, n_steps=2500, learning_rate=1e-3)
    claim(f"seed {seed}: adding, T = 50, IRNN after 2500 steps", loss, at_most=0.06)


@pytest.mark.parametrize("seed", EITHER)
def test_tanh_units_do_not_add(seed, claim):
    loss = loss_after(tanh, ADDING, seed, n_steps=1500, learning_rate=1e-3)
    claim(f"seed {seed}: adding, T = 50, tanh after 1500 steps", loss, at_least=0.15)


@pytest.mark.parametrize("seed", EITHER)
def test_tanh_units_copy_no_better_than_without_a_memory(seed, claim):
    loss = loss_after(tanh_100, COPY, seed, n_steps=1000, learning_rate=1e-3, optimiser="RMSprop")
    claim(
        f"seed {seed}: copy, T = 20, tanh after 1000 steps (10 ln 8 / 40 = .5199)",
        loss,
        at_least=COPY.chance_loss - 0.01,
        at_most=COPY.chance_loss + 0.01,
    )


@pytest.mark.parametrize("seed", EITHER)
def test_gated_units_copy_a_part(seed, claim):
    loss = loss_after(gru, COPY, seed, n_steps=2000, learning_rate=2e-3)
    claim(f"seed {seed}: copy, T = 20, GRU after 2000 steps", loss, at_most=0.45)
