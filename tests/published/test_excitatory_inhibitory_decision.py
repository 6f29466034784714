"""Song, Yang & Wang 2016: excitatory and inhibitory units decide as psychophysical observers do.

doi:10.1371/journal.pcbi.1004792; their network and stopping rule, a mean of five validations above 85 %, with
steps of 20 ms and Adam. What makes choices uncertain is the units' own noise: recordings have it on.

Seeds 1 to 14 chose the recipe; of five fresh ones, 101 to 105, run once, none failed (sigma .94 to 1.26 %,
bias -.7 to .4 %).
"""

import dataclasses

import numpy as np
import pytest
import torch

import neurornn as nr

BATCH = 64
BASELINE, HIGH, LOW = 0.2, 1.0, 0.2
TAU = 100.0


@dataclasses.dataclass(frozen=True)
class Discrimination(nr.Task):
    """Say which of two inputs is the larger, once they are over; in catch trials nothing comes."""

    coherences: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    stimulus: float = 800.0
    catch_share: float = 1 / 11
    dt: float = 20.0
    n_inputs = 2
    n_outputs = 2

    def draw(self, n_trials, rng):
        on, off, end = np.cumsum([self.steps(duration) for duration in (100, self.stimulus, 300)]).tolist()
        right = rng.integers(1, 3, size=n_trials)
        coherence = rng.choice(self.coherences, size=n_trials)
        signed = np.where(right == 2, coherence, -coherence)
        caught = rng.random(n_trials) < self.catch_share
        noise = 0.01 * np.sqrt(2 * TAU / self.dt) * rng.standard_normal((n_trials, end, 2))
        inputs = BASELINE + noise
        evidence = (1 + 3.2 * signed[:, None] / 100 * np.array([-1, 1])) / 2
        inputs[:, on:off] += np.where(caught[:, None], 0, evidence)[:, None]
        targets = np.full((n_trials, end, 2), LOW)
        answer = ~caught[:, None] & (np.array([1, 2]) == right[:, None])
        targets[:, off:] = np.where(answer, HIGH, LOW)[:, None]
        mask = np.ones((n_trials, end))
        # Nothing is asked while a stimulus is on.
        mask[:, on:off] = caught[:, None]
        return nr.Trials(
            self,
            inputs=np.maximum(inputs, 0),
            targets=targets,
            mask=mask,
            conditions={
                "coherence": coherence,
                "signed_coherence": signed,
                "target_choice": np.where(caught, nr.tasks.NO_CHOICE, right),
            },
            epochs={"fixation": (0, on), "stimulus": (on, off), "response": (off, end)},
        )

    def choose(self, outputs, trials):
        return outputs[:, -1].argmax(axis=1) + 1

    def score(self, outputs, trials):
        right = trials.conditions["target_choice"]
        silent = outputs[:, -1].max(axis=1) < (HIGH + LOW) / 2
        return np.where(right > 0, self.choose(outputs, trials) == right, silent).astype(float)


TASK = Discrimination()
SHOWN = dataclasses.replace(TASK, catch_share=0.0)


def build(seed):
    return nr.RateRNN(
        TASK.n_inputs,
        100,
        TASK.n_outputs,
        activation="relu",
        tau=TAU,
        dt=TASK.dt,
        noise_std=0.15,
        gain=1.5,
        excitatory_fraction=0.8,
        dale="rectified",
        autapses=False,
        readout_from="excitatory",
        nonnegative_inputs=True,
        seed=seed,
    )


def train(seed):
    """Train until the mean of five validations is above 85 %; return the network, steps and dead shares."""
    network, validations, dead = build(seed), [], []
    while len(validations) < 5 or np.mean(validations[-5:]) <= 0.85:
        # The paper's rule needs validations with noise, which those of `train` are not.
        run = nr.train(
            network, TASK, n_steps=100, batch_size=BATCH, learning_rate=2e-3, seed=seed, progress=False
        )
        dead += run.history.dead_weights.values.tolist()
        validations.append(float(recorded(network, SHOWN, 1000, seed + 1).score.mean()))
        assert len(validations) < 16, f"not trained after 1500 steps: {validations}"
    return network, 100 * len(validations), dead


def recorded(network, task, n_trials, seed):
    return nr.record(network, task, n_trials, seed=seed, noise=True, embed_network=False)


def contrasts(network, activity):
    """Return how much stronger weights are between units of one preference: E to E, and I to E."""
    shown = activity.rate.isel(time=(activity.epoch == "stimulus").values).mean("time").values
    right = activity.signed_coherence.values > 0
    preference = shown[right].mean(axis=0) - shown[~right].mean(axis=0)
    # Most units prefer next to nothing, and which sign that has says nothing.
    selective = np.abs(preference) > 0.05 * np.abs(preference).max()
    same = np.sign(preference)[:, None] == np.sign(preference)
    weight = np.abs(network.recurrent_weight.detach().numpy())
    there = selective[:, None] & selective & ~np.eye(len(weight), dtype=bool)
    excitatory = activity.sign.values > 0
    there &= excitatory[:, None]
    return tuple(
        float(weight[there & sender & same].mean() - weight[there & sender & ~same].mean())
        for sender in (excitatory, ~excitatory)
    )


def study(seed):
    network, n_steps, dead = train(seed)
    activity = recorded(network, SHOWN, 4000, seed)
    fit = nr.analysis.psychometric(activity, "signed_coherence", function="cumulative_gaussian", lapse=False)
    accuracy = nr.analysis.accuracy(activity, "coherence").accuracy
    weak = dataclasses.replace(SHOWN, coherences=(2.0,))
    brief, long = (
        float(recorded(network, dataclasses.replace(weak, stimulus=stimulus), 2000, seed).score.mean())
        for stimulus in (100.0, 800.0)
    )
    excitation, inhibition = contrasts(network, activity)
    found = {
        "trials": n_steps * BATCH,
        "R2": float(fit.r_squared),
        "sigma": float(fit.estimate.sel(parameter="width")),
        "bias": float(fit.estimate.sel(parameter="bias")),
        "at 16 %": float(accuracy.sel(coherence=16)),
        "at 2 % after 100 ms": brief,
        "at 2 % after 800 ms": long,
        "E to E, same - other": excitation,
        "I to E, same - other": inhibition,
        "dead": dead[-1],
    }
    print(f"\nseed {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    return network, dead, found


@pytest.fixture(scope="module")
def decision():
    return study(2026)


@pytest.mark.published
def test_it_learns_within_the_papers_order_of_trials(decision, claim):
    _, dead, found = decision
    claim("seed 2026: trials to the criterion", found["trials"], at_most=100_000)
    assert all(0 <= share < 1 for share in dead)


@pytest.mark.published
def test_choices_follow_a_cumulative_gaussian(decision, claim):
    _, _, found = decision
    claim("seed 2026: R2 of a cumulative Gaussian", found["R2"], at_least=0.98)
    # The development seeds had 0.95 to 1.5 % and biases of -1.3 to 0.7 %.
    claim("seed 2026: its sigma, % coherence", found["sigma"], at_least=0.8, at_most=4)
    claim("seed 2026: its bias, % coherence", found["bias"], at_least=-1.5, at_most=1.5)
    claim("seed 2026: right at 16 % coherence", found["at 16 %"], at_least=0.98)


@pytest.mark.published
def test_more_time_makes_better_choices(decision, claim):
    _, _, found = decision
    gain = found["at 2 % after 800 ms"] - found["at 2 % after 100 ms"]
    claim("seed 2026: gain at 2 % from 100 to 800 ms", gain, at_least=0.12)


@pytest.mark.published
def test_like_excites_like_and_inhibits_the_other(decision, claim):
    _, _, found = decision
    claim("seed 2026: E to E, same - other preference", found["E to E, same - other"], above=0)
    claim("seed 2026: I to E, same - other preference", found["I to E, same - other"], below=0)


@pytest.mark.published
def test_no_constraint_is_broken_after_training(decision, claim):
    network, _, _ = decision
    claim("seed 2026: weights that break a constraint", network.violations(), exactly=0)
    assert not network.recurrent_weight.diagonal().any()


@pytest.mark.published
def test_no_constraint_is_broken_at_any_step():
    network = build(0).train()
    # A large step: many weights try to change their sign.
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    rng = np.random.default_rng(0)
    for _ in range(50):
        trials = TASK.draw(16, rng)
        outputs = network(torch.as_tensor(trials.inputs))[0]
        loss = (torch.as_tensor(trials.mask) * (outputs - torch.as_tensor(trials.targets)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert network.violations() == 0
        weight = network.recurrent_weight
        assert not weight.diagonal().any()
        assert (weight[:, :80] >= 0).all()
        assert (weight[:, 80:] <= 0).all()
        assert (network.input_weight >= 0).all()
        assert not network.output_weight[:, 80:].any()
