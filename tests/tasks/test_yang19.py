"""The 20 tasks against the numbers of the paper's code, written down here once more and independently."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from neurornn import InputError, tasks
from neurornn.tasks import Choice, Uniform
from neurornn.tasks.rings import angular_distance, bump, read_direction
from neurornn.tasks.yang19 import YANG19, yang19_tasks
from neurornn.tasks.yang19_matching import category

TURN = 2 * math.pi
DT = 20
GO = {"fixation": range(300, 700, DT), "stimulus": range(500, 1500, DT), "response": [500]}
REACT = {"fixation": range(500, 2500, DT), "response": [500]}
DELAY = {
    "fixation": [300, 500, 700],
    "stimulus": [200, 400, 600],
    "delay": [200, 400, 800, 1600],
    "response": [500],
}
DM = {"fixation": range(100, 400, DT), "stimulus": [400, 800, 1600], "response": [500]}
DELAY_DM = {
    "fixation": [200, 400, 600],
    "stimulus_1": [200, 400, 600],
    "delay_1": [200, 400, 800, 1600],
    "stimulus_2": [200, 400, 600],
    "delay_2": range(100, 300, DT),
    "response": [500],
}
DMS = {
    "fixation": [200, 400, 600],
    "stimulus_1": [200, 400, 600],
    "delay": [200, 400, 800, 1600],
    "response": [500],
}
DMC = {**DMS, "response": [200, 400, 600]}
FINE, COARSE = (0.01, 0.02, 0.04, 0.08), (0.08, 0.16, 0.32)

# Task: the paper's name; epochs, each with the durations in ms that it takes equally often (a Uniform of the
# paper, floored to steps of 20 ms, takes every multiple in its range); whether the cue goes off; coherences,
# and the modalities that see the stimuli and that count.
TABLE = {
    "fdgo": ("Go", GO, True),
    "reactgo": ("RT Go", REACT, False),
    "delaygo": ("Dly Go", DELAY, True),
    "fdanti": ("Anti", GO, True),
    "reactanti": ("RT Anti", REACT, False),
    "delayanti": ("Dly Anti", DELAY, True),
    "dm1": ("DM 1", DM, True, FINE, (1,), (1,)),
    "dm2": ("DM 2", DM, True, FINE, (2,), (2,)),
    "contextdm1": ("Ctx DM 1", DM, True, FINE, (1, 2), (1,)),
    "contextdm2": ("Ctx DM 2", DM, True, FINE, (1, 2), (2,)),
    "multidm": ("MultSen DM", DM, True, FINE, (1, 2), (1, 2)),
    "delaydm1": ("Dly DM 1", DELAY_DM, True, COARSE, (1,), (1,)),
    "delaydm2": ("Dly DM 2", DELAY_DM, True, COARSE, (2,), (2,)),
    "contextdelaydm1": ("Ctx Dly DM 1", DELAY_DM, True, COARSE, (1, 2), (1,)),
    "contextdelaydm2": ("Ctx Dly DM 2", DELAY_DM, True, COARSE, (1, 2), (2,)),
    "multidelaydm": ("MultSen Dly DM", DELAY_DM, True, COARSE, (1, 2), (1, 2)),
    "dmsgo": ("DMS", DMS, False),
    "dmsnogo": ("DNMS", DMS, False),
    "dmcgo": ("DMC", DMC, False),
    "dmcnogo": ("DNMC", DMC, False),
}
GOES = [name for name in TABLE if name.endswith(("go", "anti")) and not name.startswith("dm")]
DECISIONS = [name for name in TABLE if name.rstrip("12").endswith("dm")]
MATCHES = [name for name in TABLE if name.startswith(("dms", "dmc"))]
P = 1e-4
"""How improbable a statistic may be; every test has a fixed seed, so that it passes or fails for good."""


def of(name, **parameters):
    return tasks.get(f"yang19_{name}", **parameters)


def evenly(values, levels):
    """Whether values take every level, and no others, equally often."""
    levels = np.asarray(list(levels), float)
    nearest = np.abs(np.asarray(values, float)[:, None] - levels).argmin(axis=1)
    np.testing.assert_allclose(levels[nearest], values, atol=1e-9)
    counts = np.bincount(nearest, minlength=len(levels))
    return len(levels) == 1 or stats.chisquare(counts).pvalue > P


def uniform(values, low, high):
    return stats.kstest(values, "uniform", (low, high - low)).pvalue > P


@pytest.fixture(scope="module")
def drawn():
    """10 000 trials of each task with few channels, on which neither timing nor conditions depend.

    Of all, the conditions and epochs are kept; of 1000, everything.
    """
    kept = {}

    def draw(name):
        if name not in kept:
            task = of(name, timing="trial", n_ring=2, noise_std=0.0)
            trials = task.draw(10_000, np.random.default_rng([7, *map(ord, name)]))
            few = trials.select(np.arange(1000))
            kept[name] = task, few, trials.conditions, trials.epochs, trials.valid.sum(axis=1)
        return kept[name]

    return draw


def test_there_are_20():
    assert len(TABLE) == len(GOES) + len(DECISIONS) + len(MATCHES) == 20
    assert {f"yang19_{name}" for name in TABLE} <= set(tasks.TASKS)
    assert [own.paper_name for own in YANG19] == [row[0] for row in TABLE.values()]


@pytest.mark.parametrize("name", TABLE)
def test_every_task_has_the_papers_defaults(name):
    task = of(name)
    assert task.paper_name == TABLE[name][0]
    assert (task.dt, task.timing, task.n_ring, task.loss) == (20.0, "batch", 32, "mse")
    # .01 sqrt(2 / alpha) per step, alpha = dt / tau = 20 / 100.
    assert task.noise_std / math.sqrt(task.dt) == pytest.approx(0.01 * math.sqrt(2 / 0.2))
    rings = [f"ring_{ring}_{k}" for ring in (1, 2) for k in range(32)]
    assert task.input_labels == ("fixation", *rings)
    assert task.output_labels == ("fixation", *(f"ring_{k}" for k in range(32)))


@pytest.mark.parametrize("name", TABLE)
def test_epochs_last_as_long_as_the_table_says(name, drawn):
    _, _, conditions, epochs, n_steps = drawn(name)
    table = TABLE[name][1]
    assert list(epochs) == list(table)
    stop = np.zeros(10_000, int)
    for epoch, levels in table.items():
        start = np.broadcast_to(epochs[epoch][0], stop.shape)
        np.testing.assert_array_equal(start, stop)
        stop = np.broadcast_to(epochs[epoch][1], stop.shape)
        assert evenly((stop - start) * DT, levels), epoch
    np.testing.assert_array_equal(n_steps, stop)
    varied = [f"{epoch}_duration" for epoch, levels in table.items() if len(levels) > 1]
    for one, other in itertools.combinations(varied, 2):
        r = np.corrcoef(conditions[one], conditions[other])[0, 1]
        assert abs(r) < 0.05, (one, other)


@pytest.mark.parametrize("name", TABLE)
def test_a_batch_has_one_timing_and_one_modality(name):
    task, rng = of(name, n_ring=2, noise_std=0.0), np.random.default_rng([8, *map(ord, name)])
    batches = [task.draw(2, rng) for _ in range(300)]
    for epoch, levels in TABLE[name][1].items():
        edges = [trials.epochs[epoch] for trials in batches]
        assert all(np.ndim(edge) == 0 for both in edges for edge in both)
        assert evenly([(stop - start) * DT for start, stop in edges], levels)
    for key in ("modality", "stimulus_1_modality", "stimulus_2_modality"):
        if key in batches[0].conditions:
            values = np.array([trials.conditions[key] for trials in batches])
            assert (values[:, 0] == values[:, 1]).all()
            assert evenly(values[:, 0], (1, 2))
    if "stimulus_1_modality" in batches[0].conditions:
        both = [2 * own.conditions["stimulus_1_modality"][0] + own.conditions["stimulus_2_modality"][0]
                for own in batches]  # fmt: skip
        assert evenly(both, (3, 4, 5, 6))


def bump_at(direction):
    apart = np.abs(direction - TURN * np.arange(32) / 32)
    return 0.8 * np.exp(-((np.minimum(apart, TURN - apart) / (math.pi / 8)) ** 2) / 2)


def stimuli(name, conditions, edges, i):
    """Return (start, stop, modality, direction, strength) of all that a trial shows, by the table."""
    end = edges["response"][1]
    if name in GOES:
        start = edges["response" if "react" in name else "stimulus"][0]
        stop = edges["stimulus"][1] if "delay" in name else end
        return [(start, stop, conditions["modality"][i], conditions["stimulus_direction"][i], 1.0)]
    if name in MATCHES:
        shown = ((1, "stimulus_1"), (2, "response"))
        modality, direction = (
            {k: conditions[f"stimulus_{k}_{what}"][i] for k, _ in shown} for what in ("modality", "direction")
        )
        return [(*edges[epoch], modality[k], direction[k], 1.0) for k, epoch in shown]
    return [
        (
            *edges[f"stimulus_{k}" if "delay" in name else "stimulus"],
            modality,
            conditions[f"stimulus_{k}_direction"][i],
            conditions[f"stimulus_{k}_modality_{modality}_strength"][i],
        )
        for k in (1, 2)
        for modality in TABLE[name][4]
    ]


def answer(name, conditions, i):
    """Return where to point in a trial, or None to go on fixating, by the table."""
    if name in GOES:
        return (conditions["stimulus_direction"][i] + (math.pi if "anti" in name else 0)) % TURN
    if name in MATCHES:
        first, second = (conditions[f"stimulus_{k}_direction"][i] for k in (1, 2))
        match = (first < math.pi) == (second < math.pi) if "dmc" in name else first == second
        return second if match != name.endswith("nogo") else None
    sums = [
        sum(conditions[f"stimulus_{k}_modality_{modality}_strength"][i] for modality in TABLE[name][5])
        for k in (1, 2)
    ]
    return conditions[f"stimulus_{1 if sums[0] > sums[1] else 2}_direction"][i]


@pytest.mark.parametrize("name", TABLE)
def test_inputs_targets_and_masks_are_those_of_a_plain_loop(name):
    trials = of(name, timing="trial", noise_std=0.0).draw(150, np.random.default_rng([9, *map(ord, name)]))
    inputs = np.zeros_like(trials.inputs)
    targets, mask = np.full(trials.targets.shape, 0.05), np.zeros(trials.mask.shape)
    for i in range(trials.n_trials):
        edges = {
            epoch: [int(np.broadcast_to(edge, (150,))[i]) for edge in both]
            for epoch, both in trials.epochs.items()
        }
        go, end = edges["response"]
        inputs[i, : go if TABLE[name][2] else end, 0] = 1
        for start, stop, modality, direction, strength in stimuli(name, trials.conditions, edges, i):
            ring = slice(1 + 32 * (modality - 1), 1 + 32 * modality)
            inputs[i, start:stop, ring] += strength * bump_at(direction)
        where = answer(name, trials.conditions, i)
        assert trials.conditions["respond"][i] == (where is not None)
        targets[i, :, 0] = 0.8
        if where is not None:
            assert trials.conditions["target_direction"][i] == pytest.approx(where)
            targets[i, go:, 0] = 0.05
            targets[i, go:end, 1:] += bump_at(where)
        mask[i, 100 // DT : go] = 1
        mask[i, go + 100 // DT : end] = 5
    mask[..., 0] *= 2
    np.testing.assert_allclose(trials.inputs, inputs, atol=2e-6)
    here = trials.valid[..., None]
    np.testing.assert_allclose(trials.targets * here, targets * here, atol=1e-6)
    # The paper weighs before squaring.
    np.testing.assert_array_equal(trials.mask, mask**2)
    assert set(np.unique(trials.mask)) == {0, 1, 4, 25, 100}


@pytest.mark.parametrize("name", ["delaygo", "contextdm1", "dmsgo"])
def test_every_channel_is_noisy_throughout(name):
    task = of(name)
    trials = task.draw(400, np.random.default_rng(10))
    factors = {key: trials.conditions[key] for key in task.factors()}
    # The noise comes last, so that one seed gives the same trials with and without it.
    noisy, silent = (
        own.make(400, factors, np.random.default_rng(11))
        for own in (task, dataclasses.replace(task, noise_std=0.0))
    )
    noise = (noisy.inputs - silent.inputs)[:, :60].astype(float)
    assert noise.shape == (400, 60, 65)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), 0.01 * math.sqrt(10), rtol=0.05)
    assert abs(noise.mean()) < 4 * 0.0316 / math.sqrt(noise.size)
    # White: neither steps nor channels share any.
    for own in (noise.reshape(-1, 65), noise.transpose(0, 2, 1).reshape(-1, 60)):
        correlation = np.corrcoef(own.T)
        assert np.abs(correlation - np.eye(len(correlation))).max() < 5.5 / math.sqrt(len(own))
    spread = of(name, timing="trial").draw(40, np.random.default_rng(12))
    assert not spread.valid.all()
    assert not spread.inputs[~spread.valid].any()


@pytest.mark.parametrize("name", GOES)
def test_go_stimuli_come_from_everywhere_in_either_modality(name, drawn):
    conditions = drawn(name)[2]
    assert uniform(conditions["stimulus_direction"], 0, TURN)
    assert evenly(conditions["modality"], (1, 2))
    assert conditions["respond"].all()


@pytest.mark.parametrize("name", DECISIONS)
def test_strengths_are_drawn_as_the_table_says(name, drawn):
    conditions = drawn(name)[2]
    _, _, _, coherences, modalities, attended = TABLE[name]
    assert uniform(conditions["stimulus_1_direction"], 0, TURN)
    apart = (conditions["stimulus_2_direction"] - conditions["stimulus_1_direction"]) % TURN
    # Beyond pi it is the other way round, so that plus or minus U(.5 pi, 1.5 pi) is the same as plus.
    assert uniform(apart, 0.5 * math.pi, 1.5 * math.pi)
    assert {key for key in conditions if key.endswith("strength")} == {
        f"stimulus_{k}_modality_{m}_strength" for k in (1, 2) for m in modalities
    }
    strength = {(k, m): conditions[f"stimulus_{k}_modality_{m}_strength"] for k in (1, 2) for m in modalities}
    if len(attended) == 1:
        for m in modalities:
            half = (strength[2, m] - strength[1, m]) / 2
            assert evenly(np.abs(half), coherences)
            assert evenly(half > 0, (0, 1))
            assert uniform((strength[1, m] + strength[2, m]) / 2, 0.8, 1.2)
            prefix = "" if m in attended else "distracting_"
            np.testing.assert_allclose(conditions[f"{prefix}signed_coherence"], half, atol=1e-12)
            np.testing.assert_array_equal(conditions[f"{prefix}stronger"], np.where(half > 0, 2, 1))
        if len(modalities) == 2:
            one, other = (strength[2, m] - strength[1, m] for m in modalities)
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
            assert abs(np.corrcoef(strength[1, 1], strength[1, 2])[0, 1]) < 0.05
        return
    mean = {k: (strength[k, 1] + strength[k, 2]) / 2 for k in (1, 2)}
    half = (mean[2] - mean[1]) / 2
    assert evenly(np.abs(half), coherences)
    assert uniform((mean[1] + mean[2]) / 2, 0.8, 1.2)
    shares = [(strength[k, 1] - strength[k, 2]) / mean[k] for k in (1, 2)]
    for share in shares:
        assert uniform(np.abs(share), 0.2, 0.8)
        assert evenly(share > 0, (0, 1))
    assert abs(np.corrcoef(*shares)[0, 1]) < 0.05


@pytest.mark.parametrize("name", DECISIONS)
def test_the_answer_is_the_stronger_stimulus(name, drawn):
    task, few, conditions, *_ = drawn(name)
    first, second = (
        sum(conditions[f"stimulus_{k}_modality_{m}_strength"] for m in TABLE[name][5]) for k in (1, 2)
    )
    stronger = np.where(first > second, 1, 2)
    expected = np.where(stronger == 1, conditions["stimulus_1_direction"], conditions["stimulus_2_direction"])
    np.testing.assert_array_equal(conditions["target_direction"], expected)
    np.testing.assert_array_equal(task.choose(few.targets, few), stronger[:1000])
    np.testing.assert_array_equal(np.sign(conditions["signed_coherence"]), np.where(stronger == 2, 1, -1))
    # Looking at one modality, where both count, or at the distractor, does not do.
    if len(TABLE[name][4]) == 2:
        wrong = [m for m in (1, 2) if m not in TABLE[name][5]] or [1]
        one, other = (conditions[f"stimulus_{k}_modality_{wrong[0]}_strength"] for k in (1, 2))
        assert 0.4 < np.mean((one > other) == (stronger == 1)) < 0.8


def test_a_choice_is_the_nearer_stimulus_and_none_where_it_fixates():
    task = of("dm1", n_ring=2)
    trials = task.draw(3, np.random.default_rng(0))
    outputs = np.zeros_like(trials.targets)
    for i, k in ((0, 1), (1, 2)):
        outputs[i, -1, 1:] = bump(trials.conditions[f"stimulus_{k}_direction"][i] + 0.7, 2)
    outputs[2, -1, 0] = 0.6
    np.testing.assert_array_equal(task.choose(outputs, trials), [1, 2, -1])
    # Near a stimulus, but farther than .2 pi from it.
    assert not task.score(outputs, trials).any()


@pytest.mark.parametrize("name", ["dmsgo", "dmsnogo"])
def test_samples_match_in_half_of_the_trials_and_are_pi_9_apart_in_the_others(name, drawn):
    conditions = drawn(name)[2]
    first, second = (conditions[f"stimulus_{k}_direction"] for k in (1, 2))
    assert uniform(first, 0, TURN)
    assert evenly(first == second, (0, 1))
    np.testing.assert_array_equal(conditions["match"], first == second)
    apart = (second - first)[~conditions["match"]] % TURN
    assert uniform(apart, math.pi / 9, 17 * math.pi / 9)
    np.testing.assert_array_equal(conditions["respond"], conditions["match"] == (name == "dmsgo"))
    both = 2 * conditions["stimulus_1_modality"] + conditions["stimulus_2_modality"]
    assert evenly(both, (3, 4, 5, 6))


@pytest.mark.parametrize("name", ["dmcgo", "dmcnogo"])
def test_categories_are_halves_of_the_ring(name, drawn):
    conditions = drawn(name)[2]
    first, second = (np.rint(conditions[f"stimulus_{k}_direction"] / (math.pi / 10)) for k in (1, 2))
    grid = range(1, 20, 2)
    for k, tenths in ((1, first), (2, second)):
        np.testing.assert_allclose(tenths * math.pi / 10, conditions[f"stimulus_{k}_direction"])
        assert evenly(tenths, grid)
        np.testing.assert_array_equal(conditions[f"stimulus_{k}_category"], np.where(tenths < 10, 1, 2))
    assert evenly(100 * first + second, [100 * a + b for a in grid for b in grid])
    match = (first < 10) == (second < 10)
    np.testing.assert_array_equal(conditions["match"], match)
    np.testing.assert_array_equal(conditions["respond"], match == (name == "dmcgo"))


def test_a_direction_has_the_same_category_as_first_and_second_stimulus():
    # neurogym 2.3.1 puts pi into one category as the sample and into the other as the test.
    task = of("dmcgo")
    directions = np.array([0.0, math.pi - 1e-9, math.pi, 1.9 * math.pi])
    pairs = np.array(list(itertools.product(directions, directions))).T
    ones = np.ones(16, int)
    factors = dict(zip(task.factors(), (*pairs, ones, ones), strict=True))
    trials = task.make(16, factors, np.random.default_rng(0))
    kinds = [trials.conditions[f"stimulus_{k}_category"].reshape(4, 4) for k in (1, 2)]
    np.testing.assert_array_equal(kinds[0][:, 0], [1, 1, 2, 2])
    np.testing.assert_array_equal(kinds[0], kinds[1].T)
    np.testing.assert_array_equal(category(directions), [1, 1, 2, 2])


@pytest.mark.parametrize("name", TABLE)
def test_durations_of_ones_own_are_kept_to(name):
    # neurogym 2.3.1's dlygo and dlyanti drop them.
    task = of(name)
    fields = {epoch: task.duration_field(epoch) for epoch in task.epoch_order}
    own = {name: 1000.0 + 200 * k for k, name in enumerate(dict.fromkeys(fields.values()))}
    trials = dataclasses.replace(task, **own).draw(2, np.random.default_rng(0))
    lasted = {epoch: (stop - start) * DT for epoch, (start, stop) in trials.epochs.items()}
    assert lasted == {epoch: own[name] for epoch, name in fields.items()}


def test_modalities_differ_between_trials_where_timing_does():
    for name in (*GOES, *MATCHES):
        conditions = of(name, timing="trial", n_ring=2).draw(100, np.random.default_rng(0)).conditions
        keys = [key for key in conditions if key.endswith("modality")]
        assert keys
        assert all(len(set(conditions[key].tolist())) == 2 for key in keys)


@pytest.mark.parametrize("name", TABLE)
def test_chance_is_what_the_best_blind_answer_gets(name, drawn):
    task, trials, *_ = drawn(name)
    outputs = np.zeros_like(trials.targets)
    scores = []
    for direction in np.linspace(0, TURN, 41)[:-1] + 0.01:
        outputs[..., 1:] = bump(np.array(direction), 2)
        scores.append(task.score(outputs, trials).mean())
    outputs[..., 0] = 1
    scores.append(task.score(outputs, trials).mean())
    assert task.chance_score == (0.5 if name in MATCHES else 0.2)
    # The best of 41 guesses is luckier than one.
    assert max(scores) == pytest.approx(task.chance_score, abs=4 * 0.4 / math.sqrt(1000))


@pytest.mark.parametrize("name", TABLE)
def test_an_answer_that_is_early_only_or_to_the_wrong_side_is_wrong(name):
    task = of(name)
    trials = task.draw(60, np.random.default_rng(3))
    respond = trials.conditions["respond"]
    outputs = trials.ideal_outputs()
    assert task.score(outputs, trials).all()
    outputs[:, -1] = outputs[:, 0]  # back to fixation at the end
    np.testing.assert_array_equal(task.score(outputs, trials), ~respond)
    turned = trials.ideal_outputs()
    turned[..., 1:] = np.roll(turned[..., 1:], 8, axis=-1)
    np.testing.assert_array_equal(task.score(turned, trials), ~respond)


@pytest.mark.parametrize(
    ("name", "noise"), [("dm1", 8.0), ("contextdm2", 8.0), ("multidm", 11.0), ("delaydm2", 5.0),
                        ("multidelaydm", 6.0)],
)  # fmt: skip
def test_the_ideal_observer_does_as_the_formula_says(name, noise):
    task = of(
        name, timing="trial", fixation=0.0, response=120.0, coherence=Choice(0.1, 0.4), noise_std=noise,
        **({"stimulus": Choice(60.0, 200.0), "delay_1": 0.0, "delay_2": 0.0} if "delay" in name
           else {"stimulus": Choice(60.0, 200.0)}),
    )  # fmt: skip
    n, rng, right, share = 5000, np.random.default_rng([11, *map(ord, name)]), [], []
    for _ in range(4):
        trials = task.draw(n, rng)
        right.append(estimate(task, trials) == trials.conditions["stronger"])
        share.append(task.ideal_accuracy(trials.conditions))
    right, share = np.concatenate(right), np.concatenate(share)
    assert 0.6 < share.mean() < 0.95
    for coherent in (right, ~right):  # both outcomes occur where the formula says so
        assert coherent.any()
    assert right.mean() == pytest.approx(
        share.mean(), abs=3 * math.sqrt((share * (1 - share)).sum()) / len(share)
    )
    low = share < np.median(share)
    error = math.sqrt((share * (1 - share))[low].sum()) / low.sum()
    assert right[low].mean() == pytest.approx(share[low].mean(), abs=3 * error)


def estimate(task, trials):
    """Return the stimulus whose strength, fitted by least squares to the inputs, is the larger."""
    rings = trials.inputs[..., 1:].reshape(*trials.valid.shape, 2, 32)
    seen = sum(rings[..., m - 1, :] for m in task.attended)
    bumps = np.stack([bump(trials.conditions[f"stimulus_{k}_direction"], 32) for k in (1, 2)], axis=-1)
    if "stimulus" in task.epoch_order:
        during = trials.in_epoch("stimulus")
        mean = np.einsum("bt,btk->bk", during, seen) / during.sum(axis=1)[:, None]
        strengths = (np.linalg.pinv(bumps) @ mean[..., None])[..., 0]
    else:
        means = []
        for k in (1, 2):
            during = trials.in_epoch(f"stimulus_{k}")
            mean = np.einsum("bt,btk->bk", during, seen) / during.sum(axis=1)[:, None]
            means.append((mean * bumps[..., k - 1]).sum(axis=1) / (bumps[..., k - 1] ** 2).sum(axis=1))
        strengths = np.stack(means, axis=1)
    return strengths.argmax(axis=1) + 1


def test_the_fine_decisions_can_nearly_always_be_made():
    for name in DECISIONS:
        task = of(name, timing="trial")
        trials = task.draw(100, np.random.default_rng(12))
        assert task.ideal_accuracy(trials.conditions).mean() > 0.999
        silent = dataclasses.replace(task, noise_std=0.0)
        assert (silent.ideal_accuracy(trials.conditions) == 1).all()
    fixed = of("dm1", stimulus=400.0)
    conditions = fixed.draw(5, np.random.default_rng(0)).conditions
    assert "stimulus_duration" not in conditions
    assert (fixed.ideal_accuracy(conditions) > 0.99).all()


def test_an_observer_who_reads_only_the_inputs_does_nearly_as_well():
    task = of("dm1", timing="trial")
    trials = task.draw(300, np.random.default_rng(13))
    everywhere = np.linspace(0, TURN, 361)[:-1]
    seen = np.einsum("bt,btk->bk", trials.in_epoch("stimulus"), trials.inputs[..., 1:33])
    strongest = everywhere[(seen @ bump(everywhere, 32).T).argmax(axis=1)]
    error = angular_distance(strongest, trials.conditions["target_direction"])
    assert np.mean(error < 0.2 * math.pi) > 0.95


@pytest.mark.parametrize("name", ["dm2", "multidm", "delaydm1"])
def test_constant_inputs_are_what_is_seen_without_noise(name):
    constants = of(name).constant_inputs()
    cue = constants["fixation cue"]
    assert (cue[0], cue[1:].any()) == (1, False)
    if "delay" in name:
        assert list(constants) == ["fixation cue"]
        return
    equal = constants["equal stimuli"]
    rings = equal[1:].reshape(2, 32)
    seen = TABLE[name][4]
    for m in (1, 2):
        expected = bump_at(0.0) + bump_at(math.pi) if m in seen else np.zeros(32)
        np.testing.assert_allclose(rings[m - 1], expected)


def test_the_set_has_the_papers_order_and_takes_its_parameters():
    own = yang19_tasks(n_ring=16, noise_std=0.5, timing="trial", dt=10.0)
    assert [task.paper_name for task in own] == [row[0] for row in TABLE.values()]
    assert [tasks.registered_name(task) for task in own] == [f"yang19_{name}" for name in TABLE]
    assert {(task.n_ring, task.noise_std, task.timing, task.dt) for task in own} == {(16, 0.5, "trial", 10.0)}
    assert len({task.input_labels for task in yang19_tasks()}) == 1
    assert len({task.output_labels for task in yang19_tasks()}) == 1


def test_sectors_stand_beside_directions():
    for name in TABLE:
        conditions = of(name, n_ring=2).draw(50, np.random.default_rng(0)).conditions
        expected = np.floor(conditions["target_direction"] / (TURN / 8) + 0.5) % 8
        np.testing.assert_array_equal(conditions["target_sector"], expected)


def test_text_of_a_configuration_file_becomes_the_value():
    task = of("multidm", coherence="Choice(0.1, 0.2)", modality_difference="Uniform(0.1, 0.3)")
    assert task == of("multidm", coherence=Choice(0.1, 0.2), modality_difference=Uniform(0.1, 0.3))
    trials = task.draw(200, np.random.default_rng(0))
    assert set(trials.conditions["coherence"].tolist()) == {0.1, 0.2}
    assert (
        of("dm1", coherence=0.5).draw(2, np.random.default_rng(0)).conditions["coherence"].tolist()
        == [0.5] * 2
    )


def test_at_another_dt_durations_are_the_same_in_ms():
    trials = of("delaygo", dt=10.0, timing="trial").draw(200, np.random.default_rng(0))
    assert set(trials.conditions["delay_duration"].tolist()) == {200.0, 400.0, 800.0, 1600.0}
    first = trials.mask[:, :, 1] > 0
    assert first.argmax(axis=1).max() == 10  # nothing is asked in the first 100 ms
    assert read_direction(trials.targets[0, int(trials.valid[0].sum()) - 1, 1:]) == pytest.approx(
        trials.conditions["target_direction"][0], abs=1e-5
    )


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("fdgo", {"response": 100.0}, r"`response` must last more than 100 ms, .* got 100\.0: lengthen it"),
        ("dmcgo", {"response": Choice(60.0, 400.0)}, r"`response` must last more than 100 ms"),
        (
            "dm1",
            {"coherence": 0.0},
            r"`coherence` must be above 0, as one stimulus must be the stronger, got 0",
        ),
        ("dm1", {"coherence": Choice(0.0, 0.1)}, "`coherence` must be above 0"),
        ("dm2", {"coherence": Uniform(-0.1, 0.1)}, "`coherence` must be above 0"),
        ("dm2", {"coherence": Choice("weak", "strong")}, "`coherence` must be above 0"),
        ("dm2", {"coherence": Choice(True, False)}, "`coherence` must be above 0"),
        ("dm2", {"coherence": (0.1, 0.2)}, "`coherence` must be a number or one of Fixed"),
        ("delaydm1", {"mean_strength": -1.0}, r"`mean_strength` must be at least 0, got -1\.0: give numbers"),
        ("multidm", {"modality_difference": Uniform(-0.2, 0.2)}, "`modality_difference` must be at least 0"),
        ("delaygo", {"delay": -1.0}, "`delay` must be a number of ms of at least 0"),
        ("fdgo", {"n_ring": 1}, "`n_ring` must be a whole number of at least 2"),
        ("fdgo", {"noise_std": -1.0}, "`noise_std` must be a number of at least 0"),
        ("fdgo", {"timing": "batches"}, "timing"),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        of(name, **parameters)


def test_each_family_has_one_recipe():
    recipes = {
        family: {repr(of(name).recipe) for name in names}
        for family, names in {
            "go": GOES,
            "fine": [name for name in DECISIONS if "delay" not in name],
            "delayed": [name for name in DECISIONS if "delay" in name] + MATCHES,
        }.items()
    }
    assert all(len(own) == 1 for own in recipes.values())
    assert len(set.union(*recipes.values())) == 3
