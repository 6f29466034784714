import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import AntiReach, AntiSaccade, DelayedSaccade, RingMemory
from neurornn.tasks.rings import bump
from neurornn.testing import check_task

TASKS = [RingMemory(), DelayedSaccade(), AntiSaccade(), AntiReach()]
NAMES = ["ring_memory", "delayed_saccade", "anti_saccade", "anti_reach"]
each_task = pytest.mark.parametrize("task", TASKS, ids=NAMES)


def outputs_to(trials, directions):
    """Outputs that hold fixation until the response and then point somewhere."""
    response = trials.timeline.since("response")
    outputs = np.zeros(trials.targets.shape)
    outputs[..., 0] = ~response
    outputs[..., 1:] = bump(directions, trials.task.n_ring)[:, None, :] * response[..., None]
    return outputs


@pytest.mark.parametrize(
    "task",
    [
        *TASKS,
        RingMemory(n_items=2),
        RingMemory(n_ring=2, delay=0),
        AntiSaccade(rules=("pro",), gap=0),
        AntiReach(n_ring=2, rules=("anti",)),
        DelayedSaccade(n_directions=5, tolerance=1.0),
    ],
    ids=repr,
)
def test_the_checker_finds_nothing(task):
    check_task(task)


@each_task
def test_targets_are_fixation_and_then_a_bump(task):
    trials = task.draw(20, np.random.default_rng(0))
    start = trials.timeline.start["response"]
    for k in range(20):
        for step in range(trials.timeline.end[k]):
            expected = np.full(task.n_outputs, 0.05)
            if step < start[k]:
                expected[0] = 0.8
            else:
                expected[1:] += bump(trials.conditions["target_direction"][k], task.n_ring)
            np.testing.assert_allclose(trials.targets[k, step], expected, atol=1e-6)


@each_task
def test_the_right_direction_scores_1_and_others_0(task):
    trials = task.draw(100, np.random.default_rng(1))
    target = trials.conditions["target_direction"]
    for share, right in ((0.0, 1), (0.98, 1), (-0.98, 1), (1.02, 0), (-1.02, 0)):
        outputs = outputs_to(trials, target + share * task.tolerance)
        assert (task.score(outputs, trials) == right).all()
        np.testing.assert_allclose(task.direction_error(outputs, trials), share * task.tolerance, atol=1e-3)
    assert (task.score(outputs_to(trials, target + np.pi), trials) == 0).all()


@each_task
def test_early_and_missing_saccades_score_0(task):
    trials = task.draw(50, np.random.default_rng(2))
    right = outputs_to(trials, trials.conditions["target_direction"])
    early = right.copy()
    early[np.arange(50), trials.timeline.start["response"] - 1, 0] = 0.4
    assert (task.score(early, trials) == 0).all()
    never = right.copy()
    never[..., 0] = 1
    assert (task.score(never, trials) == 0).all()
    assert np.isnan(task.direction_error(never, trials)).all()
    settling = right.copy()
    settling[:, : task.steps(100), 0] = 0  # the first 100 ms are not asked for
    assert (task.score(settling, trials) == 1).all()
    assert (task.score(np.zeros_like(right), trials) == 0).all()


@each_task
def test_one_answer_for_all_has_the_chance_that_is_told(task):
    trials = task.draw(2500, np.random.default_rng(3))
    chance = task.chance_score
    score = task.score(outputs_to(trials, np.full(2500, np.pi / 4)), trials)
    assert score.mean() == pytest.approx(chance, abs=3 * np.sqrt(chance * (1 - chance) / 2500))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 12), tolerance=st.floats(0.05, 3.1))
def test_the_chance_of_places_is_the_best_answers(n, tolerance):
    task = DelayedSaccade(n_directions=n, tolerance=tolerance)
    places = 2 * np.pi * np.arange(n) / n
    answers = np.linspace(0, 2 * np.pi, 2001)
    distance = np.abs((answers[:, None] - places + np.pi) % (2 * np.pi) - np.pi)
    best = (distance < tolerance - 4e-3).sum(axis=1).max()
    at_most = (distance < tolerance + 4e-3).sum(axis=1).max()
    assert best <= round(task.chance_score * n) <= at_most


@each_task
def test_noise_is_on_the_ring_at_every_step(task):
    noisy = dataclasses.replace(task, noise_std=2.0).draw(300, np.random.default_rng(4))
    calm = dataclasses.replace(task, noise_std=0.0).draw(300, np.random.default_rng(4))
    np.testing.assert_array_equal(noisy.conditions["target_direction"], calm.conditions["target_direction"])
    noise = noisy.inputs - calm.inputs
    rings = slice(1, 1 + task.n_ring)
    assert noise[noisy.valid][:, rings].std() == pytest.approx(2 / np.sqrt(task.dt), rel=0.03)
    assert not noise[..., 0].any()
    assert not noise[..., rings.stop :].any()
    assert not noise[~noisy.valid].any()


@pytest.mark.parametrize(
    "task", [RingMemory(), DelayedSaccade(), AntiReach()], ids=lambda own: type(own).__name__
)
def test_the_delay_shows_the_fixation_cue_alone(task):
    trials = dataclasses.replace(task, noise_std=0).draw(30, np.random.default_rng(5))
    during = trials.inputs[trials.in_epoch("delay")]
    np.testing.assert_array_equal(during, np.tile(task.constant_inputs()["fixation cue"], (len(during), 1)))
    assert not trials.inputs[trials.in_epoch("response")].any()
    direction = trials.conditions.get("stimulus_direction", trials.conditions["target_direction"])
    for k in range(30):
        seen = trials.inputs[k][trials.in_epoch("stimulus")[k]]
        np.testing.assert_allclose(
            seen[:, 1 : 1 + task.n_ring], np.tile(bump(direction[k], task.n_ring), (len(seen), 1)), atol=1e-6
        )


def test_directions_are_continuous_or_eight():
    memory = RingMemory().draw(2000, np.random.default_rng(6)).conditions["target_direction"]
    assert len(set(memory.tolist())) == 2000
    saccade = DelayedSaccade().draw(2000, np.random.default_rng(6)).conditions
    np.testing.assert_allclose(np.unique(saccade["target_direction"]), np.arange(8) * np.pi / 4)
    assert set(saccade["delay_duration"].tolist()) == {1500.0, 3000.0, 6000.0}


def test_of_several_items_the_probed_one_is_asked_for():
    task = RingMemory(n_items=3, noise_std=0)
    trials = task.draw(60, np.random.default_rng(7))
    assert task.n_inputs == 1 + 3 * 32 + 3
    assert task.input_labels[1] == "ring_1_0"
    assert task.input_labels[-3:] == ("probe_1", "probe_2", "probe_3")
    for k in range(60):
        probed = trials.conditions["probed"][k]
        assert trials.conditions["target_direction"][k] == trials.conditions[f"direction_{probed}"][k]
        response = trials.in_epoch("response")[k]
        expected = np.zeros(3)
        expected[probed - 1] = 1
        np.testing.assert_array_equal(trials.inputs[k, response, -3:], np.tile(expected, (response.sum(), 1)))
        assert not trials.inputs[k, ~response, -3:].any()
        stimulus = np.flatnonzero(trials.in_epoch("stimulus")[k])
        for item in (1, 2, 3):
            ring = trials.inputs[k, stimulus[0], 1 + 32 * (item - 1) : 1 + 32 * item]
            np.testing.assert_allclose(ring, bump(trials.conditions[f"direction_{item}"][k], 32), atol=1e-6)
    assert set(trials.conditions["probed"].tolist()) == {1, 2, 3}
    assert RingMemory().n_inputs == 33


@pytest.mark.parametrize("task", [AntiSaccade(), AntiReach()], ids=["anti_saccade", "anti_reach"])
def test_anti_trials_go_to_the_place_opposite(task):
    conditions = task.draw(400, np.random.default_rng(8)).conditions
    anti = conditions["rule"] == "anti"
    assert 0.35 < anti.mean() < 0.65
    vector = np.exp(1j * conditions["target_direction"]) * np.exp(-1j * conditions["stimulus_direction"])
    np.testing.assert_allclose(vector, np.where(anti, -1, 1), atol=1e-9)
    assert (conditions["target_direction"] >= 0).all()
    assert (conditions["target_direction"] < 2 * np.pi).all()


def test_the_rule_of_a_saccade_comes_before_and_that_of_a_reach_with_the_stimulus():
    trials = AntiSaccade(noise_std=0).draw(60, np.random.default_rng(9))
    rule = np.where(trials.conditions["rule"][:, None] == ["pro", "anti"], 1.0, 0.0)
    fixation = trials.in_epoch("fixation")
    np.testing.assert_array_equal(trials.inputs[..., -2:], rule[:, None, :] * fixation[..., None])
    np.testing.assert_array_equal(trials.inputs[..., 0], fixation)
    # In the gap nothing is seen, and the spot is there as soon as one must go.
    assert not trials.inputs[trials.in_epoch("gap")].any()
    assert (trials.targets[trials.in_epoch("gap")][:, 0] == np.float32(0.8)).all()
    assert (trials.inputs[trials.in_epoch("response")][:, 1:17].max(axis=1) > 0.5).all()
    assert set(trials.conditions["gap_duration"].tolist()) == {0.0, 200.0}

    trials = AntiReach(noise_std=0).draw(60, np.random.default_rng(9))
    rule = np.where(trials.conditions["rule"][:, None] == ["pro", "anti"], 1.0, 0.0)
    stimulus = trials.in_epoch("stimulus")
    np.testing.assert_array_equal(trials.inputs[..., -2:], rule[:, None, :] * stimulus[..., None])
    assert not trials.inputs[trials.in_epoch("response")].any()


def test_constant_inputs_of_the_anti_saccade_are_seen_in_trials():
    trials = AntiSaccade(noise_std=0, gap=200).draw(20, np.random.default_rng(10))
    shown = trials.inputs[trials.valid]
    for label, constant in AntiSaccade().constant_inputs().items():
        assert (shown == constant).all(axis=1).any(), label


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: RingMemory(n_items=0), "`n_items` must be a whole number of at least 1, got 0"),
        (lambda: RingMemory(tolerance=0), "`tolerance` must be a positive number of radians, got 0"),
        (lambda: RingMemory(tolerance=4.0), r"`tolerance` must be at most pi radians, half a turn, got 4\.0"),
        (lambda: RingMemory(n_ring=1), "`n_ring` must be a whole number of at least 2, got 1"),
        (
            lambda: DelayedSaccade(n_directions=1),
            "`n_directions` must be a whole number of at least 2, got 1",
        ),
        (lambda: AntiSaccade(rules=("pro", "auto")), "`rules` must be a tuple of 'pro' and 'anti', got"),
        (lambda: AntiSaccade(rules=()), r"`rules` must be a tuple of 'pro' and 'anti', got \(\)"),
        (lambda: AntiReach(rules="anti"), "`rules` must be a tuple of 'pro' and 'anti', got 'anti'"),
        (lambda: AntiSaccade(fixation=0), "`fixation` must last at least 1 step"),
    ],
)
def test_wrong_parameters_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
