import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import AngleIntegration, EvidenceIntegrator, PathIntegration
from neurornn.testing import check_task


@pytest.mark.parametrize(
    "task",
    [
        EvidenceIntegrator(bound=0.5),
        EvidenceIntegrator(drifts=(0.3,), delay=0, dt=50.0),
        AngleIntegration(time_constant=0.0, noise_std=3.0),
        AngleIntegration(dt=100.0, duration=200.0),
        PathIntegration(motion="velocity", noise_std=0.5),
        PathIntegration(side=0.3, mean_speed=4.0, turning=0.0, time_constant=0.0, dt=50.0),
    ],
)
def test_variants_keep_to_what_every_task_must(task):
    check_task(task)


@given(
    bound=st.sampled_from([0.0, 0.2, 0.7]),
    noise_std=st.floats(0, 20),
    time_constant=st.floats(50, 2000),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_the_integral_is_that_of_a_plain_loop_which_stops_at_the_bound(bound, noise_std, time_constant, seed):
    task = EvidenceIntegrator(bound=bound, noise_std=noise_std, time_constant=time_constant)
    trials = task.draw(3, np.random.default_rng(seed))
    assert not trials.inputs[:, 50:].any()
    for evidence, target in zip(trials.inputs[..., 0], trials.targets[..., 0], strict=True):
        total, stopped = 0.0, False
        for step in range(75):
            if not stopped:
                total += float(evidence[step]) * 20 / time_constant
            if bound > 0 and abs(total) >= bound:
                total, stopped = math.copysign(bound, total), True
            assert target[step] == pytest.approx(total, abs=1e-5)


def test_the_evidence_has_the_drift_and_the_noise_that_were_asked_for():
    task = EvidenceIntegrator()
    trials = task.draw(5000, np.random.default_rng(0))
    assert trials.epochs == {"stimulus": (0, 50), "delay": (50, 75)}
    for drift in task.drifts:
        own = trials.conditions["drift"] == drift
        assert own.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 5000))
        evidence = trials.inputs[own, :50, 0]
        per_step = 5 / np.sqrt(20)
        assert evidence.mean() == pytest.approx(drift, abs=4 * per_step / np.sqrt(evidence.size))
        assert evidence.std() == pytest.approx(per_step, rel=4 / np.sqrt(2 * evidence.size))
    np.testing.assert_allclose(trials.conditions["integral"], trials.targets[:, -1, 0], atol=1e-6)


def test_the_integrals_variance_does_not_depend_on_the_step():
    ends = [
        EvidenceIntegrator(drifts=(0.0,), dt=dt).draw(8000, np.random.default_rng(1)).conditions["integral"]
        for dt in (5.0, 50.0)
    ]
    for end in ends:
        # Noise of s per sqrt(ms), summed over T, is s sqrt(T).
        assert end.std() == pytest.approx(5 * math.sqrt(1000) / 500, rel=4 / np.sqrt(2 * 8000))


def test_the_chance_loss_of_the_integral_is_its_variance():
    task = EvidenceIntegrator()
    targets = task.draw(20_000, np.random.default_rng(2)).targets.astype(float)
    assert task.chance_loss == pytest.approx(targets.var(axis=0).mean(), rel=0.02)
    assert EvidenceIntegrator(bound=1.0).chance_loss is None


@pytest.mark.parametrize("bound", [0.0, 0.4])
def test_chance_is_the_best_output_that_is_the_same_in_all_trials(bound):
    task = EvidenceIntegrator(bound=bound)
    trials = task.draw(4000, np.random.default_rng(3))
    targets = trials.targets[..., 0]
    guesses = np.linspace(-1.5, 1.5, 301)
    share = np.stack([(np.abs(guess - targets) <= 0.1).mean(axis=0) for guess in guesses])
    best = guesses[share.argmax(axis=0)]
    score = task.score(np.broadcast_to(best[None, :, None], trials.targets.shape), trials)
    assert score.mean() == pytest.approx(task.chance_score, abs=0.02)


def test_a_step_counts_within_the_tolerance():
    task = EvidenceIntegrator()
    trials = task.draw(2, np.random.default_rng(4))
    outputs = trials.targets.copy()
    outputs[0, :30] += 0.09
    outputs[1, :30] -= 0.11
    np.testing.assert_allclose(task.score(outputs, trials), [1, 45 / 75])


def test_the_heading_is_that_of_a_plain_loop():
    task = AngleIntegration()
    trials = task.draw(4, np.random.default_rng(5))
    for k in range(4):
        heading = trials.conditions["initial_direction"][k]
        np.testing.assert_allclose(trials.inputs[k, 0], [math.cos(heading), math.sin(heading), 0], atol=1e-6)
        assert not trials.inputs[k, 1:, :2].any()
        for step in range(100):
            heading += float(trials.inputs[k, step, 2]) * 0.02
            np.testing.assert_allclose(
                trials.targets[k, step], [math.cos(heading), math.sin(heading)], atol=1e-5
            )
        assert trials.conditions["final_direction"][k] == pytest.approx(heading % (2 * math.pi), abs=1e-4)


def test_the_turning_velocity_is_stationary_and_forgets_exponentially():
    velocity = AngleIntegration().draw(8000, np.random.default_rng(6)).inputs[:, 1:, 2]
    for step in (0, 1, 50, 98):
        assert velocity[:, step].std() == pytest.approx(2, rel=4 / np.sqrt(2 * 8000))
        assert abs(velocity[:, step].mean()) < 4 * 2 / np.sqrt(8000)
    for lag in (1, 5, 20):
        correlation = np.corrcoef(velocity[:, 10], velocity[:, 10 + lag])[0, 1]
        assert correlation == pytest.approx(math.exp(-20 * lag / 200), abs=4 / np.sqrt(8000))
    white = AngleIntegration(time_constant=0).draw(8000, np.random.default_rng(6)).inputs[:, 1:, 2]
    assert white.std() == pytest.approx(2, rel=0.01)
    assert abs(np.corrcoef(white[:, 10], white[:, 11])[0, 1]) < 4 / np.sqrt(8000)


def test_noise_is_on_the_shown_velocity_only():
    noisy, plain = (
        AngleIntegration(noise_std=own).draw(2000, np.random.default_rng(7)) for own in (3.0, 0.0)
    )
    np.testing.assert_array_equal(noisy.targets, plain.targets)
    noise = noisy.inputs - plain.inputs
    assert not noise[:, 0].any()
    assert not noise[..., :2].any()
    assert noise[:, 1:, 2].std() == pytest.approx(3 / np.sqrt(20), rel=4 / np.sqrt(2 * 2000 * 99))


def test_a_direction_counts_within_the_tolerance_whatever_its_length():
    task = AngleIntegration(tolerance=0.2)
    trials = task.draw(3, np.random.default_rng(8))
    heading = np.arctan2(trials.targets[..., 1], trials.targets[..., 0])
    for error, score in ((0.19, 1), (-0.19, 1), (0.21, 0), (-0.21, 0), (math.pi, 0)):
        off = heading + error
        outputs = 7 * np.stack([np.cos(off), np.sin(off)], axis=2)
        assert (task.score(outputs, trials) == score).all()
    assert not task.score(np.zeros_like(trials.targets), trials).any()


def test_chance_of_the_heading_is_the_share_of_the_circle_at_every_step():
    task = AngleIntegration()
    trials = task.draw(20_000, np.random.default_rng(9))
    assert task.chance_score == pytest.approx(0.1)
    same = np.broadcast_to(np.array([0.6, -0.8]), trials.targets.shape)
    score = task.score(same, trials)
    assert score.mean() == pytest.approx(0.1, abs=4 * score.std() / np.sqrt(20_000))
    assert task.chance_loss == pytest.approx((trials.targets**2).mean(), abs=0.01)


@pytest.mark.parametrize("motion", ["direction", "velocity"])
@pytest.mark.parametrize("speed", [0.5, 8.0])
def test_the_position_is_the_sum_of_what_is_shown(motion, speed):
    task = PathIntegration(motion=motion, mean_speed=speed, side=2.0)
    trials = task.draw(5, np.random.default_rng(10))
    for k in range(5):
        position = np.array([trials.conditions["start_x"][k], trials.conditions["start_y"][k]])
        np.testing.assert_allclose(trials.inputs[k, 0, :2], position, atol=1e-6)
        assert not trials.inputs[k, 1:, :2].any()
        for step in range(100):
            shown = trials.inputs[k, step].astype(float)
            position = position + 0.02 * (shown[2:] if motion == "velocity" else shown[2] * shown[3:])
            np.testing.assert_allclose(trials.targets[k, step], position, atol=1e-4)
        np.testing.assert_allclose(
            [trials.conditions["final_x"][k], trials.conditions["final_y"][k]], position, atol=1e-4
        )


def test_folding_is_reflection_at_each_wall_in_its_turn():
    task = PathIntegration(mean_speed=20.0, side=0.7)
    folded = task._walk(np.full((6, 2), 0.3), 40, np.random.default_rng(12))
    wide = PathIntegration(mean_speed=20.0, side=1e6)
    free = wide._walk(np.full((6, 2), 5e5), 40, np.random.default_rng(12)) - 5e5 + 0.3
    for k in range(6):
        for axis in range(2):
            for step in range(40):
                x = free[k, step, axis]
                while not 0 <= x <= 0.7:
                    x = -x if x < 0 else 1.4 - x
                assert folded[k, step, axis] == pytest.approx(x, abs=1e-6)


def test_speeds_have_a_rayleigh_distribution_and_turns_the_wandering_asked_for():
    task = PathIntegration(side=1e6, mean_speed=0.5, turning=2.0)
    position = task._walk(np.full((5000, 2), 5e5), 100, np.random.default_rng(13))
    way = np.diff(position, axis=1)
    speed = np.hypot(way[..., 0], way[..., 1]) / 0.02
    for step in (0, 50, 98):
        assert speed[:, step].mean() == pytest.approx(0.5, rel=4 * 0.523 / np.sqrt(5000))
        # Of a Rayleigh distribution, standard deviation and mean are in a fixed ratio.
        assert speed[:, step].std() / speed[:, step].mean() == pytest.approx(
            math.sqrt(4 / math.pi - 1), rel=0.05
        )
    angle = np.arctan2(way[..., 1], way[..., 0])
    # The cosine of a normal angle of variance s^2 has mean exp(-s^2 / 2); 50 steps are a second.
    for n_steps in (10, 25):
        expected = math.exp(-(2.0**2) * n_steps * 0.02 / 2)
        apart = np.cos(angle[:, 20 + n_steps] - angle[:, 20])
        assert apart.mean() == pytest.approx(expected, abs=4 * apart.std() / np.sqrt(5000))


def test_positions_are_uniform_at_every_step_so_that_chance_is_a_disc():
    task = PathIntegration()
    trials = task.draw(10_000, np.random.default_rng(14))
    for step in (0, 10, 99):
        for axis in range(2):
            counts = np.histogram(trials.targets[:, step, axis], bins=10, range=(0, 1))[0]
            assert np.abs(counts - 1000).max() < 4.5 * math.sqrt(900)
    score = task.score(np.full(trials.targets.shape, 0.4), trials)
    assert task.chance_score == pytest.approx(math.pi / 100)
    assert score.mean() == pytest.approx(task.chance_score, abs=4 * score.std() / np.sqrt(10_000))
    assert task.chance_loss == pytest.approx(trials.targets.var(axis=0).mean(), rel=0.02)


def test_a_position_counts_within_a_tenth_of_the_side():
    task = PathIntegration(side=3.0)
    trials = task.draw(2, np.random.default_rng(15))
    for distance, score in ((0.29, 1), (0.31, 0)):
        off = distance * np.array([math.cos(1.0), math.sin(1.0)])
        assert (task.score(trials.targets + off, trials) == score).all()


def test_path_noise_is_on_the_shown_motion_only():
    noisy, plain = (
        PathIntegration(noise_std=own, motion="velocity").draw(1000, np.random.default_rng(16))
        for own in (2.0, 0.0)
    )
    np.testing.assert_array_equal(noisy.targets, plain.targets)
    noise = (noisy.inputs - plain.inputs)[:, 1:, 2:]
    assert noise.std() == pytest.approx(2 / np.sqrt(20), rel=4 / np.sqrt(2 * noise.size))
    shown = PathIntegration(noise_std=2.0).draw(100, np.random.default_rng(16)).inputs
    np.testing.assert_allclose(np.hypot(shown[:, 1:, 3], shown[:, 1:, 4]), 1, atol=1e-5)


def test_an_animal_without_way_has_no_direction():
    task = PathIntegration()
    assert not task.draw(3, np.random.default_rng(17)).inputs[:, 0, 2:].any()


@pytest.mark.parametrize("kind", [EvidenceIntegrator, AngleIntegration, PathIntegration])
def test_constant_inputs_are_zero(kind):
    task = kind()
    (constant,) = task.constant_inputs().values()
    np.testing.assert_array_equal(constant, np.zeros(task.n_inputs))


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (EvidenceIntegrator, {"dt": 0.0}, "`dt` must be a positive number of ms"),
        (EvidenceIntegrator, {"stimulus": 10.0}, r"`stimulus` must last at least 1 step of dt = 20\.0 ms"),
        (EvidenceIntegrator, {"stimulus": -10.0}, "`stimulus` must be a positive number of ms"),
        (EvidenceIntegrator, {"delay": -1.0}, "`delay` must be a number of ms of at least 0"),
        (EvidenceIntegrator, {"time_constant": 0.0}, "`time_constant` must be a positive number of ms"),
        (EvidenceIntegrator, {"bound": -1.0}, "`bound` must be a number of at least 0"),
        (EvidenceIntegrator, {"tolerance": 0.0}, "`tolerance` must be a positive number"),
        (EvidenceIntegrator, {"noise_std": -1.0}, "`noise_std` must be a number of at least 0"),
        (EvidenceIntegrator, {"drifts": ()}, r"`drifts` must be finite numbers, got \(\): give a tuple"),
        (EvidenceIntegrator, {"drifts": (float("nan"),)}, "`drifts` must be finite numbers"),
        (EvidenceIntegrator, {"drifts": 0.5}, "`drifts` must be finite numbers"),
        (EvidenceIntegrator, {"drifts": ("up",)}, "`drifts` must be finite numbers"),
        (AngleIntegration, {"dt": -1.0}, "`dt` must be a positive number of ms"),
        (AngleIntegration, {"duration": 20.0}, r"`duration` must hold at least 2 steps of dt = 20\.0 ms"),
        (AngleIntegration, {"velocity_std": 0.0}, "`velocity_std` must be a positive number of radians per"),
        (AngleIntegration, {"time_constant": -1.0}, "`time_constant` must be a number of ms of at least 0"),
        (AngleIntegration, {"noise_std": -1.0}, "`noise_std` must be a number of at least 0"),
        (AngleIntegration, {"tolerance": 4.0}, r"`tolerance` must be below pi, .* got 4\.0: lower it"),
        (AngleIntegration, {"tolerance": 0.0}, "`tolerance` must be a positive number of radians"),
        (PathIntegration, {"duration": float("inf")}, "`duration` must be a positive number of ms"),
        (PathIntegration, {"side": 0.0}, "`side` must be a positive number of metres"),
        (PathIntegration, {"mean_speed": 0.0}, "`mean_speed` must be a positive number of metres per second"),
        (PathIntegration, {"turning": -1.0}, "`turning` must be a number of radians of at least 0"),
        (PathIntegration, {"time_constant": -1.0}, "`time_constant` must be a number of ms of at least 0"),
        (PathIntegration, {"motion": "velocities"}, "unknown motion 'velocities'.*did you mean 'velocity'"),
        (
            PathIntegration,
            {"tolerance": 0.6},
            r"`tolerance` must be at most \.5, .* give a share of the side",
        ),
        (PathIntegration, {"tolerance": 0.0}, "`tolerance` must be a positive number"),
        (PathIntegration, {"noise_std": -1.0}, "`noise_std` must be a number of at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        kind(**parameters)
