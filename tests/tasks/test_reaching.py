import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from neurornn import InputError
from neurornn.tasks import DelayedReach, Reaching1D, Uniform
from neurornn.tasks.reaching import minimum_jerk
from neurornn.tasks.rings import bump
from neurornn.testing import check_task


@pytest.mark.parametrize(
    "task",
    [
        DelayedReach(),
        DelayedReach(kinematics="position", remembered=True),
        DelayedReach(n_targets=3, tolerance=0.9, go=0, hold=0),
        Reaching1D(),
        Reaching1D(n_ring=2, response=400),
    ],
    ids=repr,
)
def test_the_checker_finds_nothing(task):
    check_task(task)


def test_the_minimum_jerk_course_starts_and_ends_at_rest_and_its_jerk_is_that_of_a_parabola():
    t = np.linspace(0, 1, 11)
    course = Polynomial.fit(t, minimum_jerk(t), 7).convert()
    np.testing.assert_allclose(course(t), minimum_jerk(t), atol=1e-12)
    np.testing.assert_allclose(course([0, 1]), [0, 1], atol=1e-9)
    for order in (1, 2):
        np.testing.assert_allclose(course.deriv(order)([0, 1]), 0, atol=1e-7)
    assert course.deriv(1)(0.5) == pytest.approx(1.875)
    np.testing.assert_allclose(course.deriv(3)(t), 60 - 360 * t + 360 * t**2, atol=1e-5)


@given(share=st.floats(-2, 3))
def test_the_course_is_symmetric_and_stays_between_its_ends(share):
    done = float(minimum_jerk(np.array(share)))
    assert 0 <= done <= 1 + 1e-12
    assert done + float(minimum_jerk(np.array(1 - share))) == pytest.approx(1)


@pytest.mark.parametrize("dt", [20.0, 10.0, 25.0])
def test_the_hand_follows_the_course_step_by_step(dt):
    velocity = DelayedReach(dt=dt)
    position = DelayedReach(dt=dt, kinematics="position")
    moved, placed = (own.draw(30, np.random.default_rng(0)) for own in (velocity, position))
    np.testing.assert_array_equal(moved.inputs, placed.inputs)
    n_moving = int(500 / dt)
    for k in range(30):
        angle, start = moved.conditions["target_direction"][k], moved.timeline.start["response"][k]
        hand = np.zeros(2)
        for step in range(moved.timeline.end[k]):
            t = min(max((step + 1 - start) / n_moving, 0), 1)
            where = 10 * t**3 - 15 * t**4 + 6 * t**5
            hand += moved.targets[k, step] / n_moving
            expected = [where * np.cos(angle), where * np.sin(angle)]
            np.testing.assert_allclose(hand, expected, atol=1e-5)
            np.testing.assert_allclose(placed.targets[k, step], expected, atol=1e-6)
    assert np.abs(moved.targets).max() < 1.875
    assert np.linalg.norm(moved.targets, axis=2).max() == pytest.approx(1.875, rel=0.01)


def test_what_is_shown_in_a_reach():
    for remembered in (False, True):
        task = DelayedReach(noise_std=0, remembered=remembered)
        trials = task.draw(40, np.random.default_rng(1))
        timeline = trials.timeline
        np.testing.assert_array_equal(trials.inputs[..., 0], timeline.during("fixation", "delay"))
        last = "stimulus" if remembered else "hold"
        shown = timeline.during("stimulus", last)
        angle = trials.conditions["target_direction"][:, None]
        np.testing.assert_allclose(trials.inputs[..., 1], np.cos(angle) * shown, atol=1e-6)
        np.testing.assert_allclose(trials.inputs[..., 2], np.sin(angle) * shown, atol=1e-6)
        # A reaction time passes between the signal and the movement.
        assert (timeline.start["response"] - timeline.start["go"] == 5).all()
    noisy = DelayedReach(noise_std=2.0).draw(300, np.random.default_rng(1))
    calm = DelayedReach(noise_std=0.0).draw(300, np.random.default_rng(1))
    noise = (noisy.inputs - calm.inputs)[noisy.valid]
    assert not noise[:, 0].any()
    assert noise[:, 1:].std() == pytest.approx(2 / np.sqrt(20), rel=0.02)


@pytest.mark.parametrize("kinematics", ["velocity", "position"])
def test_right_wrong_and_early_reaches(kinematics):
    task = DelayedReach(kinematics=kinematics)
    trials = task.draw(60, np.random.default_rng(2))
    right = trials.ideal_outputs()
    assert (task.score(right, trials) == 1).all()
    assert (task.score(1.19 * right, trials) == 1).all()
    assert (task.score(1.21 * right, trials) == 0).all()
    assert (task.score(0.81 * right, trials) == 1).all()
    assert (task.score(0.79 * right, trials) == 0).all()
    assert (task.score(-right, trials) == 0).all()
    assert (task.score(np.zeros_like(right), trials) == 0).all()
    assert (task.score(np.roll(right, -5, axis=1), trials) == 0).all()  # at the signal: 100 ms too early
    turned = np.stack([-right[..., 1], right[..., 0]], axis=2)
    assert (task.score(turned, trials) == 0).all()
    # What is put out after a trial's end is not counted.
    beyond = right + 50 * ~trials.valid[..., None]
    assert (task.score(beyond, trials) == 1).all()


def test_a_hand_that_moves_at_the_right_time_to_one_target_has_the_chance_that_is_told():
    task = DelayedReach()
    trials = task.draw(6000, np.random.default_rng(3))
    fixed = {**trials.conditions, "target_direction": np.full(6000, np.pi / 4)}
    score = task.score(task.ask(fixed, trials.timeline), trials)
    assert score.mean() == pytest.approx(1 / 8, abs=3 * np.sqrt(7 / 64 / 6000))
    assert task.chance_score == 1 / 8


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 12), tolerance=st.floats(0.05, 0.95))
def test_the_chance_of_targets_is_no_less_than_the_best_place(n, tolerance):
    angles = 2 * np.pi * np.arange(n) / n
    targets = np.exp(1j * angles)
    radius, angle = np.meshgrid(np.linspace(0, 1.2, 61), np.linspace(0, 2 * np.pi, 241))
    places = (radius * np.exp(1j * angle)).ravel()
    best = (np.abs(places[:, None] - targets) < tolerance - 1e-9).sum(axis=1).max()
    assert best <= round(DelayedReach(n_targets=n, tolerance=tolerance).chance_score * n)


def test_the_one_dimensional_reach_step_by_step():
    task = Reaching1D(noise_std=0)
    trials = task.draw(60, np.random.default_rng(4))
    start, target = trials.conditions["start_direction"], trials.conditions["target_direction"]
    for k in range(60):
        hand = start[k]
        for step in range(trials.n_steps):
            resting, seen = step < 25, step >= 10
            expected = [float(resting), *(bump(start[k], 16) * resting), *(bump(target[k], 16) * seen)]
            np.testing.assert_allclose(trials.inputs[k, step], expected, atol=1e-6)
            gap = (target[k] - hand + np.pi) % (2 * np.pi) - np.pi
            # A greedy hand goes nearer as long as a move of .1 radians brings it nearer.
            move = 0 if resting or abs(gap) <= 0.05 else (1 if gap > 0 else 2)
            assert trials.targets[k, step] == move
            hand += {0: 0, 1: 0.1, 2: -0.1}[move]
    reached = task.reached(trials.ideal_outputs(), trials)
    error = np.abs((reached - target + np.pi) % (2 * np.pi) - np.pi)
    assert error.max() <= 0.05 + 1e-9
    np.testing.assert_array_equal(trials.conditions["side"] == "left", trials.conditions["way"] >= 0)


def test_half_a_turn_goes_left_whatever_the_rounding():
    trials = Reaching1D().factorial()
    half = np.isclose(np.abs(trials.conditions["way"]), np.pi)
    assert half.sum() == 8
    assert (trials.conditions["way"][half] > 0).all()
    start = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
    opposite = {"start_direction": start, "target_direction": (start + np.pi) % (2 * np.pi)}
    completed = Reaching1D().complete(1000, opposite, np.random.default_rng(0))
    assert (completed["way"] > 0).all()
    assert (completed["side"] == "left").all()


def logits(moves):
    """Outputs whose largest is the move: 0 none, 1 left, 2 right."""
    return np.eye(3)[moves]


def test_moves_are_carried_out_and_early_ones_not_forgiven():
    task = Reaching1D()
    trials = task.draw(200, np.random.default_rng(5))
    right = trials.targets.copy()
    assert (task.score(logits(right), trials) == 1).all()
    mirrored = np.where(right == 0, 0, 3 - right)
    far = (np.abs(trials.conditions["way"]) > 0.4) & (np.abs(trials.conditions["way"]) < 2.7)
    assert (task.score(logits(mirrored), trials)[far] == 0).all()
    # There and back again before the response ends at the target, but is no rest.
    early = right.copy()
    early[:, 3], early[:, 4] = 1, 2
    np.testing.assert_allclose(
        np.cos(task.reached(logits(early), trials)), np.cos(task.reached(logits(right), trials)), atol=1e-9
    )
    assert (task.score(logits(early), trials) == 0).all()
    # What is put out after a trial's end moves nothing.
    varied = Reaching1D(response=Uniform(700, 1000)).draw(200, np.random.default_rng(5))
    assert not varied.valid.all()
    beyond = np.where(varied.valid, varied.targets, 1)
    assert (task.score(logits(beyond), varied) == 1).all()
    short = right.copy()
    moving = np.cumsum(short != 0, axis=1)
    short[moving > np.maximum(moving[:, -1:] - 6, 0)] = 0
    assert (task.score(logits(short), trials)[far & (np.abs(trials.conditions["way"]) > 0.7)] == 0).all()


@pytest.mark.parametrize(("response", "n_left"), [(800, 0), (800, 20), (400, 17), (60, 0)])
def test_the_same_moves_for_all_have_no_more_than_chance(response, n_left):
    task = Reaching1D(response=response)
    trials = task.draw(6000, np.random.default_rng(6))
    moves = np.zeros(trials.targets.shape, int)
    moves[:, 25 : 25 + n_left] = 1
    chance, score = task.chance_score, task.score(logits(moves), trials).mean()
    # The best place for a hand lies between two moves; one move is worth .1 / (2 pi).
    slack = 3 * np.sqrt(chance * (1 - chance) / 6000) + 1e-9
    assert chance - slack - (0.016 if response == 400 else 0) <= score <= chance + slack


def test_noise_is_on_both_rings():
    task = Reaching1D(noise_std=2.0)
    noisy = task.draw(200, np.random.default_rng(7))
    calm = dataclasses.replace(task, noise_std=0.0).draw(200, np.random.default_rng(7))
    noise = noisy.inputs - calm.inputs
    assert not noise[..., 0].any()
    for ring in (slice(1, 17), slice(17, 33)):
        assert noise[..., ring].std() == pytest.approx(2 / np.sqrt(20), rel=0.02)


@pytest.mark.parametrize("task", [DelayedReach(noise_std=0), Reaching1D(noise_std=0)], ids=["2", "1"])
def test_constant_inputs_are_seen_in_trials(task):
    trials = task.factorial()
    shown = trials.inputs[trials.valid]
    for label, constant in task.constant_inputs().items():
        assert (np.abs(shown - constant) < 1e-6).all(axis=1).any(), label


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DelayedReach(kinematics="force"), "unknown kinematics 'force': expected one of"),
        (lambda: DelayedReach(n_targets=1), "`n_targets` must be a whole number of at least 2, got 1"),
        (
            lambda: DelayedReach(tolerance=1.0),
            r"`tolerance` must be below 1 target distance, got 1\.0: a hand",
        ),
        (lambda: DelayedReach(tolerance=0.0), r"`tolerance` must be a positive number, got 0\.0"),
        (lambda: DelayedReach(remembered="yes"), "`remembered` must be True or False, got 'yes'"),
        (lambda: DelayedReach(go=Uniform(0, 100)), r"`go` must be the same in every trial.* give a number"),
        (lambda: DelayedReach(response=Uniform(300, 500)), "`response` must be the same in every trial"),
        (lambda: Reaching1D(speed=0), "`speed` must be a positive number of radians per second, got 0"),
        (lambda: Reaching1D(tolerance=0.05), r"`tolerance` must be above half a move of .* = 0\.1 radians"),
        (lambda: Reaching1D(tolerance=4.0), r"`tolerance` must be at most pi radians, half a turn, got 4\.0"),
        (lambda: Reaching1D(n_ring=1), "`n_ring` must be a whole number of at least 2, got 1"),
    ],
)
def test_wrong_parameters_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
