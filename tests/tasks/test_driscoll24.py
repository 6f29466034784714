"""The 15 tasks against the numbers of the paper's code, written down here once more and independently."""

import math

import numpy as np
import pytest
from scipy import stats

from neurornn import tasks
from neurornn.tasks.driscoll24 import DRISCOLL24, driscoll24_tasks
from neurornn.testing import check_task

TURN = 2 * math.pi
P = 1e-4
DECISION = {
    "fixation": (200, 600),
    "stimulus_1": (200, 1600),
    "delay_1": (200, 1600),
    "stimulus_2": (200, 1600),
    "delay_2": (100, 300),
    "response": (300, 700),
}
MATCH = {"fixation": (200, 600), "stimulus_1": (200, 1600), "delay": (200, 1600), "response": (300, 700)}
DELAY = {"fixation": (300, 700), "stimulus": (200, 1500), "response": (300, 700)}
MEMORY = {"fixation": (300, 700), "stimulus": (200, 1600), "delay": (200, 1600), "response": (300, 700)}
REACT = {"fixation": (500, 2500), "response": (300, 1700)}
TABLE = {
    "DelayPro": DELAY,
    "DelayAnti": DELAY,
    "MemoryPro": MEMORY,
    "MemoryAnti": MEMORY,
    "ReactPro": REACT,
    "ReactAnti": REACT,
    "IntegrationModality1": DECISION,
    "IntegrationModality2": DECISION,
    "ContextIntModality1": DECISION,
    "ContextIntModality2": DECISION,
    "IntegrationMultimodal": DECISION,
    "ReactMatch2Sample": MATCH,
    "ReactNonMatch2Sample": MATCH,
    "ReactCategoryPro": MATCH,
    "ReactCategoryAnti": MATCH,
}
TASKS = {task.paper_name: task for task in driscoll24_tasks(timing="trial")}
INTEGRATIONS = [name for name, epochs in TABLE.items() if epochs is DECISION]


@pytest.fixture(scope="module")
def drawn():
    kept = {}

    def draw(name):
        if name not in kept:
            kept[name] = TASKS[name].draw(3000, np.random.default_rng([5, *map(ord, name)]))
        return kept[name]

    return draw


def test_there_are_15_with_the_papers_names_and_channels():
    assert list(TASKS) == list(TABLE)
    assert [own.paper_name for own in DRISCOLL24] == list(TABLE)
    for task in driscoll24_tasks():
        assert task.input_labels == ("fixation", "ring_1_0", "ring_1_1", "ring_2_0", "ring_2_1")
        assert task.output_labels == ("fixation", "ring_0", "ring_1")
        assert (task.dt, task.timing, task.loss) == (20.0, "batch", "mse")
        assert task.noise_std / math.sqrt(20) == pytest.approx(0.1 * math.sqrt(2 / 0.2))
        assert tasks.registered_name(task) is None


@pytest.mark.parametrize("name", TABLE)
def test_every_task_passes_the_checker(name):
    check_task(next(task for task in driscoll24_tasks() if task.paper_name == name))


@pytest.mark.parametrize("name", TABLE)
def test_durations_are_uniform_over_the_papers_ranges(name, drawn):
    trials = drawn(name)
    assert list(trials.epochs) == list(TABLE[name])
    for epoch, (low, high) in TABLE[name].items():
        start, stop = (np.broadcast_to(edge, (3000,)) for edge in trials.epochs[epoch])
        counts = np.bincount(stop - start, minlength=high // 20)
        assert not counts[: low // 20].any()
        assert len(counts) == high // 20
        assert stats.chisquare(counts[low // 20 :]).pvalue > P


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_strengths_differ_by_any_coherence_of_the_range(name, drawn):
    conditions = drawn(name).conditions
    assert stats.kstest(conditions["coherence"], "uniform", (0.005, 0.795)).pvalue > P
    strength = {
        key: [conditions[f"stimulus_{k}_modality_{key}_strength"] for k in (1, 2)]
        for key in (1, 2)
        if f"stimulus_1_modality_{key}_strength" in conditions
    }
    counting = [2] if name.endswith("2") else [1] if name.endswith("1") else [1, 2]
    assert (len(strength) == 1) == name.startswith("IntegrationModality")
    first, second = (sum(strength[m][k] for m in counting) for k in (0, 1))
    expected = np.where(
        first > second, conditions["stimulus_1_direction"], conditions["stimulus_2_direction"]
    )
    np.testing.assert_array_equal(conditions["target_direction"], expected)
    np.testing.assert_allclose(np.abs(first - second) / 2 / len(counting), conditions["coherence"])
    assert stats.kstest((first + second) / 2 / len(counting), "uniform", (0.8, 0.4)).pvalue > P
    if len(counting) == 2:
        for k in (0, 1):
            share = 2 * (strength[1][k] - strength[2][k]) / (strength[1][k] + strength[2][k])
            assert stats.kstest(np.abs(share), "uniform", (0.005, 0.795)).pvalue > P


@pytest.mark.parametrize("name", ["ReactCategoryPro", "ReactCategoryAnti"])
def test_categories_are_of_any_direction(name, drawn):
    conditions = drawn(name).conditions
    first, second = (conditions[f"stimulus_{k}_direction"] for k in (1, 2))
    for own in (first, second):
        assert stats.kstest(own, "uniform", (0, TURN)).pvalue > P
    match = (first < math.pi) == (second < math.pi)
    np.testing.assert_array_equal(conditions["respond"], match == name.endswith("Pro"))


@pytest.mark.parametrize("name", ["ReactMatch2Sample", "ReactNonMatch2Sample"])
def test_samples_match_in_half_of_the_trials(name, drawn):
    conditions = drawn(name).conditions
    match = conditions["stimulus_1_direction"] == conditions["stimulus_2_direction"]
    assert match.mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(3000))
    np.testing.assert_array_equal(conditions["respond"], match == (name == "ReactMatch2Sample"))


@pytest.mark.parametrize(
    ("name", "turn"), [("MemoryPro", 0), ("MemoryAnti", math.pi), ("ReactAnti", math.pi)]
)
def test_directions_are_cosine_and_sine(name, turn):
    task = next(own for own in driscoll24_tasks(noise_std=0.0) if own.paper_name == name)
    trials = task.draw(40, np.random.default_rng(0))
    start, stop = trials.epochs["response" if "React" in name else "stimulus"]
    direction, modality = trials.conditions["stimulus_direction"], trials.conditions["modality"]
    for i in range(40):
        ring = slice(1, 3) if modality[i] == 1 else slice(3, 5)
        expected = np.zeros((trials.n_steps, 4), np.float32)
        expected[start:stop, ring.start - 1 : ring.stop - 1] = np.cos(direction[i]), np.sin(direction[i])
        np.testing.assert_allclose(trials.inputs[i, :, 1:], expected, atol=1e-6)
    go = trials.epochs["response"][0]
    np.testing.assert_allclose(trials.targets[:, :go], np.tile([0.8, 0, 0], (40, go, 1)))
    answer = np.column_stack([np.zeros(40), np.cos(direction + turn), np.sin(direction + turn)])
    np.testing.assert_allclose(trials.targets[:, -1], answer, atol=1e-6)
    assert set(np.unique(trials.mask)) == {0, 1, 4, 25, 100}


def test_parameters_reach_every_task():
    own = driscoll24_tasks(noise_std=0.3, timing="trial", dt=10.0)
    assert {(task.noise_std, task.timing, task.dt, task.n_ring) for task in own} == {(0.3, "trial", 10.0, 2)}


def test_the_recipe_is_the_papers_network():
    from neurornn import RateRNN
    from neurornn.config import TrainingConfig

    task = driscoll24_tasks()[0]
    network = RateRNN(task.n_inputs, output_size=task.n_outputs, dt=task.dt, **task.recipe.network)
    assert (network.hidden_size, network.alpha) == (128, 0.2)
    TrainingConfig.from_dict(task.recipe.training)
