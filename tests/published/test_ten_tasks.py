"""Yang et al. 2019: one network learns many tasks, and clusters of its units serve some of them.

doi:10.1038/s41593-018-0310-2; scaled down to ten of their tasks (Go, RT Go and Dly Go, the same away from the
stimulus, DM 1 and 2, Ctx DM 1 and 2) with steps of 50 ms, rings of 16 units, their easier coherences and 128
rectified units. Clusters are of units alike in their task variance, by k-means with the number that has the
best silhouette; a lesion silences one.

Seed 1 was run before.
"""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

import neurornn as nr

COHERENCE = nr.tasks.Choice(0.1, 0.2, 0.4, 0.8)
DECISIONS = ("DM1", "DM2", "ContextDM1", "ContextDM2")
CLASSES = ("FdGo", "ReactGo", "DelayGo", "FdAnti", "ReactAnti", "DelayAnti", *DECISIONS)
TASK = nr.tasks.MultiTask(
    tuple(
        getattr(nr.tasks, f"Yang19{name}")(
            n_ring=16, dt=50.0, **({"coherence": COHERENCE} if name in DECISIONS else {})
        )
        for name in CLASSES
    ),
    batches="blocked",
    names=CLASSES,
)
SIBLINGS = [
    *(("FdGo", "FdAnti"), ("ReactGo", "ReactAnti"), ("DelayGo", "DelayAnti")),
    *(("DM1", "DM2"), ("ContextDM1", "ContextDM2")),
]
N_STEPS, EVALUATE_EVERY, LAST = 8000, 500, 3
FRESH = range(3101, 3106)


def trials_of_all(seed, n_each=400):
    """Return as many trials of each task, with timings of their own, as the tasks of one network."""
    rng = np.random.default_rng(seed)
    mixed = nr.tasks.MultiTask(
        tuple(type(own)(**{**vars_of(own), "timing": "trial"}) for own in TASK.tasks), names=CLASSES
    )
    return mixed.draw(n_each * len(CLASSES), rng)


def vars_of(task):
    return nr.tasks.describe(task)["parameters"]


@torch.no_grad()
def accuracies(network, trials):
    """Return the share of right trials of each task, shape (task,)."""
    outputs = network.eval()(torch.as_tensor(trials.inputs), return_rates=False)[0].numpy()
    score = trials.task.score(outputs, trials)
    return np.array([score[trials.conditions["task"] == name].mean() for name in CLASSES])


def task_variance(network, trials):
    """Return the variance of rates over a task's trials, averaged over time, shape (unit, task)."""
    activity = nr.record(network, trials, embed_network=False)
    rates = np.where(activity.valid.values[..., None], activity.rate.values, np.nan)
    columns = []
    for name in CLASSES:
        own = rates[(activity.task == name).values]
        # Late steps that a few long trials alone have say nothing of the task's variance.
        kept = np.isfinite(own[..., 0]).sum(axis=0) >= 20
        columns.append(np.nanvar(own[:, kept], axis=0).mean(axis=0))
    return np.stack(columns, axis=1)


def clusters_of(variance):
    """Return each unit's cluster by its variances beside its largest one, shape (unit,)."""
    relative = variance / variance.max(axis=1, keepdims=True)
    fits = [KMeans(k, n_init=10, random_state=0).fit(relative).labels_ for k in range(2, 30)]
    return max(fits, key=lambda labels: silhouette_score(relative, labels))


def silenced(network, units):
    """Return a copy whose units neither act on others nor on the outputs."""
    copy = nr.build_network(network.config)
    copy.load_state_dict(network.state_dict())
    for name in ("recurrent_weight", "output_weight"):
        weight = getattr(copy, name).detach().clone()
        weight[:, units] = 0
        setattr(copy, name, weight)
    return copy.eval()


def train(seed):
    network = nr.RateRNN(
        TASK.n_inputs,
        128,
        TASK.n_outputs,
        activation="relu",
        tau=100.0,
        dt=TASK.dt,
        noise_std=0.05,
        recurrent_initialisation="orthogonal",
        gain=0.9,
        seed=seed,
    )
    validation, kept = trials_of_all(seed + 1, 100), []

    def look(state):
        least = accuracies(state.network, validation).min()
        weights = {name: own.clone() for name, own in state.network.state_dict().items()}
        kept.append((least, weights))

    nr.train(
        network,
        TASK,
        n_steps=N_STEPS,
        batch_size=48,
        learning_rate=3e-3,
        evaluate_every=EVALUATE_EVERY,
        callbacks=[look],
        seed=seed,
        progress=False,
    )
    print("\nleast accuracy at evaluations", [round(float(least), 3) for least, _ in kept])
    network.load_state_dict(max(kept[-LAST:], key=lambda own: own[0])[1])
    return network.eval()


def study(seed):
    network = train(seed)
    trials = trials_of_all(seed)
    whole = accuracies(network, trials)
    variance = task_variance(network, trials)
    active = np.flatnonzero(variance.sum(axis=1) > 1e-3)
    labels = clusters_of(variance[active])
    place = {name: k for k, name in enumerate(CLASSES)}
    best = (0.0, "")
    for cluster in np.unique(labels):
        lost = whole - accuracies(silenced(network, active[labels == cluster]), trials)
        for pair in SIBLINGS:
            one, other = sorted(pair, key=lambda name: lost[place[name]], reverse=True)
            costs = lost[place[one]], lost[place[other]]
            best = max(best, (costs[0] - costs[1], f"{one} -{costs[0]:.2f}, {other} {-costs[1]:+.2f}"))
    first, second = variance[active][:, [place["ContextDM1"], place["ContextDM2"]]].T
    used = first + second > 1e-3 * (first + second).max()
    fraction = (first - second)[used] / (first + second)[used]
    found = {
        "least accuracy": whole.min(),
        "worst task": CLASSES[whole.argmin()],
        "active units": len(active),
        "clusters": len(np.unique(labels)),
        "specificity of a lesion": best[0],
        "lesion": best[1],
        "share of |FTV| > .6": (np.abs(fraction) > 0.6).mean(),
    }
    print(f"seed {seed}: {found}\n{dict(zip(CLASSES, whole.round(3).tolist(), strict=True))}")
    return found


def check(found, claim, seed):
    claim(f"seed {seed}: accuracy in the worst of ten tasks", found["least accuracy"], at_least=0.9)
    claim(
        f"seed {seed}: a lesion costs one task more than its sibling, by",
        found["specificity of a lesion"],
        at_least=0.2,
    )
    claim(
        f"seed {seed}: share of units with |FTV(Ctx 1, Ctx 2)| > .6",
        found["share of |FTV| > .6"],
        at_least=0.15,
    )


@pytest.mark.published
def test_ten_tasks_in_one_network_with_clusters(claim):
    check(study(2026), claim, 2026)


@pytest.mark.slow
@pytest.mark.parametrize("seed", FRESH)
def test_fresh_seeds_learn_ten_tasks_with_clusters(seed, claim):
    check(study(seed), claim, seed)
