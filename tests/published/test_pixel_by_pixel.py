"""Le et al. 2015: read pixel by pixel, a picture asks for gradients that reach far back.

doi:10.48550/arXiv.1504.00941; with scikit-learn's digits of 8 by 8 pixels in place of MNIST, 64 units, and
the pictures of the test, which training never sees. Both networks begin as torch's do, with weights
uniform within 1 / sqrt(64), and train for as many steps, each at a learning rate of its own: the GRU at
5e-3, the tanh units at 1e-3.

A pilot had tanh units .24 behind the GRU. Here they learn better, clipped and with their best weights
kept, and a difference of .1 is not reached: .875 beside .935 with seed 2026, .861 beside .941 of 100 units
each; .790 (seed 1) and, at 3e-3, .864 and .863 (seeds 1 and 2). So only that the GRU is the better one is
claimed. At 3e-3 the GRU had .948 and .946, but .918 with seed 2026; at 5e-3 .940 (seed 1) and .935 (2026),
so that 2026 is no fresh seed for this recipe. Of the fresh seeds 3101 to 3105, two fail one claim: the GRU is
right in .8955 (3103) and .911 (3105) of .92; it is the better one on all five, by .02 to .10.
"""

import math

import pytest

import neurornn as nr

TASK = nr.tasks.SequentialDigits()
N_UNITS = 64
FRESH = range(3101, 3106)


def tanh(seed):
    return nr.RateRNN(
        TASK.n_inputs,
        N_UNITS,
        TASK.n_outputs,
        activation="tanh",
        recurrent_initialisation="uniform",
        gain=math.sqrt(1 / 3),
        input_initialisation="uniform",
        input_gain=math.sqrt(TASK.n_inputs / (3 * N_UNITS)),
        output_initialisation="uniform",
        output_gain=math.sqrt(1 / 3),
        seed=seed,
    )


def study(seed):
    networks = {"GRU": nr.GRU(TASK.n_inputs, N_UNITS, TASK.n_outputs, seed=seed), "tanh": tanh(seed)}
    found = {}
    for name, network in networks.items():
        nr.train(
            network,
            TASK,
            n_steps=2000,
            batch_size=64,
            learning_rate={"GRU": 5e-3, "tanh": 1e-3}[name],
            diagnostics=False,
            seed=seed,
            progress=False,
        )
        found[name] = float(nr.record(network, TASK, n_trials=4000, seed=seed).score.mean())
    print(f"\nseed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


def check(found, claim, seed):
    claim(f"seed {seed}: digits pixel by pixel, GRU right", found["GRU"], at_least=0.92)
    claim(f"seed {seed}: GRU - tanh", found["GRU"] - found["tanh"], above=0)


@pytest.mark.published
def test_gates_read_digits_and_tanh_units_less_well(claim):
    check(study(2026), claim, 2026)


@pytest.mark.slow
@pytest.mark.parametrize("seed", FRESH)
def test_fresh_seeds_read_digits(seed, claim):
    check(study(seed), claim, seed)
