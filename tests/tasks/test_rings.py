import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import Choice, Timeline
from neurornn.tasks.distributions import Duration, Uniform
from neurornn.tasks.rings import (
    TURN,
    Direction,
    RingTask,
    Separation,
    Shared,
    angular_distance,
    bump,
    preferred_directions,
    read_direction,
    sector,
)


@dataclass(frozen=True)
class Look(RingTask):
    """Point where a spot appeared, in some trials; in the others go on fixating."""

    fixation: Duration = Uniform(100.0, 300.0)
    response: Duration = 240.0
    n_ring: int = 16
    noise_std: float = 0.0
    timing: str = "trial"
    dt: float = 20.0

    epoch_order = ("fixation", "response")
    n_input_rings = 2

    def factors(self):
        return {"direction": Direction(), "ring": Choice(0, 1), "respond": Choice(False, True)}

    def complete(self, n_trials, conditions, rng):
        return {**conditions, "target_direction": conditions["direction"]}

    def show(self, conditions, timeline, rng):
        inputs = self.fixating(timeline, rng)
        half, shown = np.full(timeline.n_trials, 0.5), conditions["respond"]
        self.add_direction(
            *(inputs, conditions["direction"], timeline, "response"),
            **{"strength": half, "ring": conditions["ring"], "trials": shown},
        )
        return inputs


@pytest.fixture(scope="module")
def looked():
    task = Look()
    return task, task.draw(200, np.random.default_rng(0))


def height(direction, k, n_units):
    """A bump's height in unit k, by the formula of Yang et al. 2019."""
    apart = abs(direction - TURN * k / n_units)
    return 0.8 * math.exp(-((min(apart, TURN - apart) / (math.pi / 8)) ** 2) / 2)


def test_a_bump_has_the_papers_formula():
    directions = np.linspace(0, TURN, 37)[:-1]
    expected = [[height(direction, k, 32) for k in range(32)] for direction in directions]
    np.testing.assert_allclose(bump(directions, 32), expected, atol=1e-14)


def test_two_units_are_cosine_and_sine():
    np.testing.assert_allclose(bump(np.array([0.3]), 2), [[math.cos(0.3), math.sin(0.3)]])


@given(st.floats(0, TURN, exclude_max=True), st.sampled_from([2, 8, 16, 32, 33]))
def test_the_population_vector_reads_a_bump_back(direction, n_units):
    # Eight units, two standard deviations of the bump apart, sample it coarsely.
    error = angular_distance(read_direction(bump(np.array(direction), n_units)), np.array(direction))
    assert error < (0.03 if n_units == 8 else 1e-6)


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_angular_distance_is_the_shorter_way(one, other):
    distance = angular_distance(np.array(one), np.array(other))
    expected = math.acos(max(-1.0, min(1.0, math.cos(one - other))))
    assert 0 <= distance <= math.pi
    assert distance == pytest.approx(expected, abs=1e-6)


def test_preferred_directions_begin_at_0_and_are_even():
    np.testing.assert_allclose(np.diff(preferred_directions(32)), TURN / 32)
    assert preferred_directions(32)[0] == 0


def test_a_sector_is_an_eighth_of_the_turn_about_its_direction():
    degrees = np.array([0, 22, 23, 67, 68, 180, 337, 338, 359])
    np.testing.assert_array_equal(sector(np.radians(degrees)), [0, 0, 1, 1, 2, 4, 7, 0, 0])


def test_directions_are_drawn_evenly():
    drawn = Direction().draw(20_000, np.random.default_rng(1))
    counts = np.histogram(drawn, 20, (0, TURN))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square of 19 degrees of freedom at .001
    np.testing.assert_allclose(Direction(4).levels(), [0, math.pi / 2, math.pi, 1.5 * math.pi])
    assert Direction().bounds() == (0, TURN)


def test_separations_keep_their_least_angle_either_way_and_match_as_often_as_asked():
    drawn = Separation(math.pi / 9, share_of_matches=0.25).draw(20_000, np.random.default_rng(2))
    same = drawn == 0
    assert same.mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000))
    apart = drawn[~same]
    assert angular_distance(apart, np.array(0.0)).min() >= math.pi / 9
    counts = np.histogram(apart, 20, (math.pi / 9, 17 * math.pi / 9))[0]
    expected = len(apart) / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8
    assert Separation(1.0).levels() == (math.pi,)
    assert Separation(1.0).bounds() == (1.0, TURN - 1)
    assert Separation(1.0, 0.5).bounds() == (0.0, TURN - 1)


def test_a_shared_value_is_one_for_a_batch_and_all_for_a_balanced_one():
    shared, rng = Shared(Choice(1, 2)), np.random.default_rng(3)
    batches = [shared.draw(7, rng) for _ in range(400)]
    assert all((own == own[0]).all() and own.shape == (7,) for own in batches)
    assert np.mean([own[0] for own in batches]) == pytest.approx(1.5, abs=4 * 0.5 / 20)
    assert (shared.levels(), shared.bounds()) == ((1, 2), (1, 2))


def test_channels_are_labelled_by_ring_and_unit():
    task = Look()
    assert task.input_labels[:2] == ("fixation", "ring_1_0")
    assert task.input_labels[-1] == "ring_2_15"
    assert task.output_labels == ("fixation", *(f"ring_{k}" for k in range(16)))
    assert (task.n_inputs, task.n_outputs) == (33, 17)

    class One(Look):
        n_input_rings = 1

    assert One().input_labels[1] == "ring_0"


def test_the_inputs_are_those_of_a_plain_loop(looked):
    _, trials = looked
    expected = np.zeros_like(trials.inputs)
    start, _ = trials.epochs["response"]
    for i in range(trials.n_trials):
        expected[i, : start[i], 0] = 1
        if trials.conditions["respond"][i]:
            for k in range(16):
                channel = 1 + 16 * trials.conditions["ring"][i] + k
                expected[i, start[i] : start[i] + 12, channel] = 0.5 * height(
                    trials.conditions["direction"][i], k, 16
                )
    np.testing.assert_allclose(trials.inputs, expected, atol=1e-6)


def test_targets_and_weights_are_those_of_a_plain_loop(looked):
    _, trials = looked
    targets = np.full(trials.targets.shape, 0.05)
    mask = np.zeros_like(trials.mask)
    start, _ = trials.epochs["response"]
    for i in range(trials.n_trials):
        targets[i, :, 0] = 0.8
        mask[i, 5 : start[i]] = 1
        mask[i, start[i] + 5 : start[i] + 12] = 25
        if trials.conditions["respond"][i]:
            targets[i, start[i] : start[i] + 12, 0] = 0.05
            for k in range(16):
                answer = height(trials.conditions["direction"][i], k, 16)
                targets[i, start[i] : start[i] + 12, 1 + k] += answer
    mask[..., 0] *= 4
    valid = trials.valid[..., None]
    np.testing.assert_allclose(trials.targets * valid, targets * valid, atol=1e-6)
    np.testing.assert_array_equal(trials.mask, mask)


def test_a_cue_that_does_not_end_stays_to_the_end():
    class Held(Look):
        cue_ends = False

    trials = Held().draw(20, np.random.default_rng(0))
    np.testing.assert_array_equal(trials.inputs[..., 0], trials.valid)


def test_the_last_step_decides_and_only_it(looked):
    task, trials = looked
    last = trials.valid.sum(axis=1) - 1
    every = np.arange(trials.n_trials)
    respond = trials.conditions["respond"]
    outputs = np.zeros_like(trials.targets)

    def point(turned, fixation):
        outputs[every, last, 0] = fixation
        outputs[every, last, 1:] = bump(trials.conditions["direction"] + turned, 16)
        return task.score(outputs, trials)

    np.testing.assert_array_equal(point(0.0, 0.1), respond)
    np.testing.assert_array_equal(point(0.199 * math.pi, 0.5), respond)
    np.testing.assert_array_equal(point(-0.199 * math.pi, 0.5), respond)
    np.testing.assert_array_equal(point(0.201 * math.pi, 0.5), np.zeros(200))
    np.testing.assert_array_equal(point(0.0, 0.51), ~respond)
    assert np.isnan(task.response_direction(outputs, trials)).all()


def test_two_units_rest_at_0_and_hold_fixation_at_the_papers_height():
    task = dataclasses.replace(Look(), n_ring=2)
    trials = task.draw(50, np.random.default_rng(0))
    respond = trials.conditions["respond"]
    np.testing.assert_allclose(trials.targets[:, 0], np.tile([0.8, 0, 0], (50, 1)))
    last = trials.targets[np.arange(50), trials.valid.sum(axis=1) - 1]
    direction = trials.conditions["direction"][respond]
    answer = np.column_stack([np.zeros_like(direction), np.cos(direction), np.sin(direction)])
    np.testing.assert_allclose(last[respond], answer, atol=1e-6)
    assert task.score(trials.ideal_outputs(), trials).all()


def test_a_direction_that_is_shown_nowhere_changes_nothing():
    task = Look()
    inputs = np.zeros((3, 4, task.n_inputs), np.float32)
    timeline = Timeline.of_lengths({"stimulus": 4, "delay": 0}, 3)
    task.add_direction(inputs, np.zeros(3), timeline, "delay")
    task.add_direction(inputs, np.zeros(3), timeline, "stimulus", trials=np.zeros(3, bool))
    assert not inputs.any()


def test_the_delay_is_the_cue_alone():
    held = Look().constant_inputs()["fixation cue"]
    assert held[0] == 1
    assert held.sum() == 1


@pytest.mark.parametrize("n_ring", [1, 0, 2.5, True])
def test_a_ring_needs_two_units(n_ring):
    with pytest.raises(InputError, match="`n_ring` must be a whole number of at least 2"):
        Look(n_ring=n_ring)
