"""Masse et al. 2019: with short-term plasticity a memory is held by synapses too.

doi:10.1038/s41593-019-0414-3; their units (a fifth inhibitory, half facilitating and half depressing) on a
delayed comparison, and their test: at the end of the delay the synapses, or the rates, are those of other
trials.

Seeds 1 to 4 chose the recipe. Of five fresh ones, 101 to 105, run once, 101 failed what was claimed at first,
that others' synapses leave at most .8 right and others' rates cost at most .06: there each holds half of the
memory. The claim was weakened to a part of the memory, and of five seeds fresh again, 201 to 205, run once,
none failed it (nor the first one).
"""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import neurornn as nr

N_UNITS = 100
TASK = nr.tasks.get(
    "delayed_comparison", fixation=200.0, delay=nr.tasks.Choice(200.0, 500.0, 1000.0), dt=20.0
)
LONGEST = nr.tasks.get("delayed_comparison", fixation=200.0, delay=1000.0, dt=20.0)
SECOND_ALONE = 0.7
"""Share right of one who has forgotten the first stimulus: four of the ten orders have a second of 10, 14, 30
or 34, which gives the answer away."""


def train(seed):
    # The default scales bring rates to some 3 Hz, at which the use of a facilitating synapse goes from .15 to
    # .15 (1 + 3 * 1.5) / (1 + .15 * 3 * 1.5) = .49: enough for a memory. With half of this noise the rates
    # hold a part of it in some networks, since nothing disturbs them.
    network = nr.RateRNN(
        TASK.n_inputs,
        N_UNITS,
        TASK.n_outputs,
        activation="relu",
        tau=100.0,
        dt=TASK.dt,
        noise_std=0.2,
        plasticity="mixed",
        excitatory_fraction=0.8,
        readout_from="excitatory",
        seed=seed,
    )
    nr.train(network, TASK, n_steps=1000, batch_size=64, learning_rate=2e-3, seed=seed, progress=False)
    return network


def decoded(features, large):
    """Return the share of trials, held out of the fit, in which a linear classifier tells `large`."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    return cross_val_score(classifier, features, large, cv=5).mean()


def study(seed):
    network = train(seed)
    overall = nr.analysis.accuracy(
        nr.record(network, TASK, 1000, seed=seed, noise=True), "delay_duration"
    ).accuracy
    trials = LONGEST.draw(1000, np.random.default_rng(seed))
    activity = nr.record(network, trials, seed=seed, noise=True)
    go_on = int(trials.timeline.stop["delay"][0])
    at_end = torch.as_tensor(activity.state.values[:, go_on - 1])
    rates, resources, use = at_end.split(N_UNITS, dim=1)

    @torch.no_grad()
    def right_from(state):
        generator = torch.Generator().manual_seed(seed)
        rest = torch.as_tensor(trials.inputs[:, go_on:])
        outputs = network(rest, state, generator=generator)[0].numpy()
        # The task scores whole trials: what came before is put in front.
        return LONGEST.score(np.concatenate([activity.output.values[:, :go_on], outputs], 1), trials).mean()

    other = np.random.default_rng(seed).permutation(len(at_end))
    large = activity["first"].values > 20
    found = {
        "accuracy": float(activity.score.mean()),
        "least accuracy of a delay": float(overall.min()),
        "rate": float(rates.mean()),
        "decoded from synapses": decoded((use * resources).numpy(), large),
        "decoded from rates": decoded(rates.numpy(), large),
        "right": right_from(at_end),
        "right with others' synapses": right_from(torch.cat([rates, at_end[other, N_UNITS:]], 1)),
        "right with others' rates": right_from(torch.cat([rates[other], at_end[:, N_UNITS:]], 1)),
    }
    print(f"\nseed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


@pytest.mark.published
def test_a_part_of_the_memory_is_in_the_synapses(claim):
    found = study(2026)
    claim("seed 2026: right at the worst delay", found["least accuracy of a delay"], at_least=0.9)
    # The majority is .6, and the noise of the stimulus leaves .93 to an ideal decoder.
    claim("seed 2026: first stimulus decoded from synapses", found["decoded from synapses"], at_least=0.8)
    claim("seed 2026: right with its own state", found["right"], at_least=0.9)
    # All that the memory is worth are the .2 to .28 above SECOND_ALONE. A part of it at least is lost.
    lost = found["right"] - found["right with others' synapses"]
    claim("seed 2026: lost with other trials' synapses", lost, at_least=0.1)
