"""Do the sentences say what the data say, and no more?"""

import itertools
import re

import numpy as np
import pytest
import torch
import xarray as xr

from neurornn.analysis import find_fixed_points, pca
from neurornn.report import describe_mechanism
from neurornn.vocabulary import InputError

CORNERS = list(itertools.product([-1.0, 1.0], repeat=3))


@pytest.fixture(scope="module")
def describe(activity):
    """Return a function that describes and reads over what it says."""

    def describe(found, data=None):
        data = activity() if data is None else data
        sentences = describe_mechanism(data, pca(data), found)
        for sentence in sentences:
            assert sentence.endswith(".")
            assert "  " not in sentence
            assert "nan" not in sentence
        return sentences

    return describe


def test_several_stable_points_are_discrete_attractors(describe, cube):
    mechanism, evidence, contradiction = describe(cube())
    assert mechanism == (
        'With the input held constant ("zero input"), 8 stable fixed points were found, beside 19 saddles '
        "(12 with 1 unstable mode, 6 with 2, 1 with 3): discrete attractors, each of which can hold one "
        "state."
    )
    assert "27 of 27 starts converged to a fixed point (largest residual 2.0e-15)" in evidence
    assert "the index sum is 1, as expected" in evidence
    assert "the mean score over 10 recorded trials is 0.9500" in evidence
    assert "3 principal components hold 100% of the variance" in evidence
    assert "saddle's unstable direction" in contradiction
    assert "in pairs that leave the index sum as it is" in contradiction
    assert "other seeds" in contradiction


def test_recorded_states_near_and_far_from_the_stable_points_are_told_apart(describe, cube):
    # Noise of .05 in each of 3 units is .08 long in the median, and the cube's corners are sqrt(3) out.
    near = describe(cube())[1]
    assert "recorded states lie at a median distance of 4% of their spread" in near
    far = cube()
    far["rate"] = far.rate * 0 + 1e3
    found = re.search(r"median distance of (\d+)% of their spread", describe(far)[1])
    # 1000 in each of 3 units, against a spread of at most sqrt(3).
    assert int(found[1]) > 90_000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (CORNERS, "each with its own readout"),
        ([(1, 1, z) for z in np.linspace(0, 0.01, 8)], "all with the same readout"),
        ([(x, y, 1) for x, y, _ in CORNERS], "with 4 distinct readouts"),
    ],
)
def test_readouts_are_counted(activity, points, describe, rows, words):
    data = activity()
    data["parameter_output_weight"] = (("output_channel", "unit"), np.eye(3))
    data["parameter_output_bias"] = ("output_channel", np.full(3, 0.2))
    assert words in describe(points(["stable"] * 8, rates=rows), data)[0]


def test_readouts_of_classes_are_the_classes(activity, points, describe):
    data = activity()
    data["target"] = data.target.isel(output_channel=0, drop=True).astype(int)
    data["parameter_output_weight"] = (("output_channel", "unit"), np.eye(3))
    found = points(["stable"] * 3, rates=[(1, 0, 0), (0.4, 0, 0), (0, 1, 0)])
    assert "3 stable fixed points were found, with 2 distinct readouts:" in describe(found, data)[0]


def test_a_slow_mode_that_turns_is_no_integration(points, describe):
    found = points(["stable"], slowest=800.0)
    found["frequency"] = (("fixed_point", "mode"), [[0.4, 0.4, 0.0]], {"units": "Hz"})
    mechanism = describe(found)[0]
    assert "turns at 0.4 Hz while it decays with a time constant of 800 ms" in mechanism
    assert "not with integration along a line" in mechanism


def test_one_slow_stable_point_is_leaky_integration(points, describe):
    mechanism, _, contradiction = describe(points(["stable"], slowest=1500.0))
    assert (
        "one stable fixed point was found, and its slowest mode decays with a time constant of 1500 ms"
        in mechanism
    )
    assert "1.5 times the trial's length" in mechanism
    assert "consistent with leaky integration" in mechanism
    assert "fades much faster or slower" in contradiction


def test_one_fast_stable_point_holds_no_memory(points, describe):
    mechanism, _, contradiction = describe(
        points(["stable", "saddle"], slowest=20.0, index=[0], expected=[np.nan])
    )
    assert "one stable fixed point was found, beside one saddle with 1 unstable mode, to which" in mechanism
    assert (
        "at most 20 ms, 0.02 times the trial's length: memory that outlasts this return is not held"
        in mechanism
    )
    assert "for much longer than that" in contradiction


def test_the_trial_is_measured_in_steps_where_the_points_are(points, describe):
    found = points(["stable"], slowest=60.0)
    found["time_constant"].attrs["units"] = "steps"
    assert "60 steps, 0.6 times the trial's length: consistent with leaky integration" in describe(found)[0]


def test_padding_does_not_lengthen_the_trial(activity, points, describe):
    data = activity()
    data["valid"][:, 40:] = False
    assert "consistent with leaky integration" in describe(points(["stable"], slowest=250.0), data)[0]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["marginal"], "one marginal fixed point was found, with a direction along which the state neither"),
        (
            ["marginal"] * 4 + ["stable"],
            "4 marginal fixed points were found, beside one stable fixed point, with a direction at each",
        ),
    ],
)
def test_marginal_points_are_consistent_with_a_continuous_attractor(points, describe, kinds, words):
    mechanism, evidence, contradiction = describe(points(kinds, index=[np.nan]))
    assert words in mechanism
    assert "consistent with an approximately continuous attractor" in mechanism
    assert "there is no expected index sum to check completeness with" in evidence
    assert contradiction.startswith("Completeness could not be tested; the account would be contradicted by")


def test_saddles_alone_settle_nothing(points, describe):
    mechanism, _, contradiction = describe(points(["saddle", "saddle", "unstable"], index=[-1]))
    assert (
        "no stable fixed point was found, only 2 saddles with 1 unstable mode each and one unstable point"
        in mechanism
    )
    assert "not among the points found" in mechanism
    # Expected 1, found -1: two short.
    assert (
        "the index sum is -1 where 1 is expected, so that at least 2 fixed points are missing"
        in contradiction
    )


def test_slow_points_are_not_fixed_points(points, describe):
    mechanism, evidence, _ = describe(points(["slow", "slow"], index=[0], expected=[np.nan], failed=2))
    assert "no fixed point was found, only 2 slow points, where the speed has a minimum" in mechanism
    assert evidence.startswith("0 of 4 starts converged to a fixed point and 2 to a slow point;")
    beside = describe(points(["stable", "stable", "slow"]))
    assert "2 stable fixed points were found, beside one slow point:" in beside[0]
    assert beside[1].startswith(
        "2 of 3 starts converged to a fixed point and 1 to a slow point (largest residual"
    )


def test_nothing_found_names_no_mechanism(points, describe):
    mechanism, evidence, contradiction = describe(points([], index=[0], expected=[np.nan], failed=5))
    assert mechanism.endswith(
        "no fixed point was found, so that this analysis names no mechanism; the slowest state that any "
        "start reached still moves, by 0.0025 per tau in its fastest variable."
    )
    assert evidence.startswith("0 of 5 starts converged to a fixed point;")
    assert "fixed points that no start led to" in contradiction


def test_how_slow_the_slowest_state_is_is_told_where_it_is_known(describe, points):
    found = points([], failed=3)
    found["speed"].attrs["units"] = "1/step"
    found["start_residual"][0] = np.nan
    assert describe(found)[0].endswith("by 0.005 per step in its fastest variable.")
    for unknown in (found.drop_vars("start_residual"), points([], failed=0)):
        assert describe(unknown)[0].endswith("so that this analysis names no mechanism.")


def test_a_wrong_index_sum_contradicts_completeness_already(points, describe):
    _, evidence, contradiction = describe(points(["stable", "stable"], index=[2]))
    assert "the index sum is 2, where 1 is expected" in evidence
    assert contradiction.startswith(
        "Completeness is contradicted already: the index sum is 2 where 1 is expected, so that at least one "
        "fixed point is missing, and the counts are lower bounds; the account itself would be contradicted by"
    )
    assert "in pairs" not in contradiction


def test_conditions_that_agree_are_told_together(points, describe):
    found = points(["stable", "saddle", "stable"] * 2, conditions=["motion"] * 3 + ["colour"] * 3)
    mechanism, evidence, _ = describe(found)
    assert mechanism.startswith(
        'With the input held constant (at each of "motion" and "colour"), 2 stable fixed points were found, '
    )
    assert "the index sum is the expected one in all 2 conditions" in evidence


def test_conditions_that_differ_are_told_apart(points, describe):
    found = points(
        ["stable", "stable", "stable", "saddle"],
        conditions=["motion", "motion", "colour", "colour"],
        slowest=2000.0,
        index=[2, np.nan],
    )
    mechanism, evidence, contradiction = describe(found)
    assert 'held constant at "motion", 2 stable fixed points' in mechanism
    assert (
        '; at "colour", one stable fixed point was found, beside one saddle with 1 unstable mode, and'
        in mechanism
    )
    assert (
        "the index sum is the expected one in 0 of 2 conditions, and has none to compare with in 1"
        in evidence
    )
    assert 'contradicted already: the index sum at "motion" is 2 where 1 is expected' in contradiction
    assert "settle at none" in contradiction
    assert "fades much faster" in contradiction


def test_many_conditions_are_summed_up(points, describe):
    kinds, conditions = [], []
    for k in range(8):
        kinds += ["stable"] * (k + 1)
        conditions += [f"input {k}"] * (k + 1)
    found = points(kinds, conditions=conditions, index=np.arange(1, 9))
    mechanism, _, contradiction = describe(found)
    assert mechanism == (
        "With the input held constant in turn at each of 8 values, there were several stable fixed points "
        "(discrete attractors) in 7 and one stable fixed point without a slow mode in 1."
    )
    assert "the index sum is not the expected one in 7 conditions" in contradiction


def test_an_ideal_observer_is_named_beside_the_score(activity, describe, cube):
    data = activity().assign_coords(ideal_score=("trial", np.full(10, 0.97)))
    assert "is 0.9500 (an ideal observer's: 0.9700)" in describe(cube(), data)[1]


def test_the_sentences_follow_from_a_real_search(describe):
    # Two decoupled bistable units: 4 stable points, 4 saddles, 1 unstable one.
    rate = np.tanh(np.random.default_rng(0).normal(size=(5, 40, 2)))
    data = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    found = find_fixed_points(lambda x: torch.tanh(2 * x), rate.reshape(-1, 2))
    mechanism, evidence, _ = describe(found, data)
    assert (
        "4 stable fixed points were found, beside 4 saddles with 1 unstable mode each and one unstable"
        in mechanism
    )
    assert "there is no expected index sum" in evidence
    assert "2 principal components hold 100% of the variance" in evidence


def test_describe_mechanism_refuses(activity, cube):
    data = activity()
    with pytest.raises(InputError, match="needs dimension 'unit'"):
        describe_mechanism(data.rename(unit="neuron"), pca(data), cube())
    with pytest.raises(InputError, match="`pcs` has no variable 'explained_variance_ratio'"):
        describe_mechanism(data, data, cube())
    with pytest.raises(InputError, match="`points` needs dimension 'fixed_point'"):
        describe_mechanism(data, pca(data), data)
    with pytest.raises(InputError, match="`points` has no variable 'index_sum'"):
        describe_mechanism(data, pca(data), cube().drop_vars("index_sum"))
    with pytest.raises(InputError, match="`points` must hold every point that its starts led to, 27, got 8"):
        describe_mechanism(data, pca(data), cube().isel(fixed_point=slice(8)))
