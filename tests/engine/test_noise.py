"""The noise: Philox's published words, normals of the right distribution, nothing shared between any two."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from neurornn import RateRNN
from neurornn.engine import Noise, fused
from neurornn.engine.philox import normals_by_torch, philox

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_authors_words(counter, key, words):
    # The known answers that Random123 is distributed with.
    assert tuple(int(word) for word in philox([torch.tensor([part]) for part in counter], key)) == words


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (4, 8, 16), (2, 33, 65), (0, 3, 4), (2, 0, 4)])
@pytest.mark.parametrize("key", [0, 1, 2**32 + 7, 2**63 - 2])
def test_the_kernel_and_torch_make_the_same_numbers(shape, key):
    noise = Noise(key, 1.0)
    found = noise.normals(shape, 11, CPU)
    wanted = normals_by_torch(shape, (*noise.key_words, 11), CPU)
    assert found.shape == shape
    # A logarithm and a sine, rounded in two ways, of normals up to 6.8.
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_number_depends_on_its_step_trial_and_unit_alone():
    noise = Noise(5, 1.0)
    whole = noise.normals((9, 13, 37), 0, CPU)
    assert torch.equal(noise.normals((4, 6, 20), 3, CPU), whole[3:7, :6, :20])


def test_another_key_gives_other_noise():
    one, other = (Noise(key, 1.0).normals((50, 20, 30), 0, CPU).flatten() for key in (1, 2))
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / math.sqrt(len(one))


def test_the_scale_may_differ_between_units_and_takes_no_gradient():
    scale = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    noise = Noise(3, scale)
    found = noise.materialise((4, 5, 3), 0, scale)
    assert not found.requires_grad
    torch.testing.assert_close(found, noise.normals((4, 5, 3), 0, CPU).double() * scale.detach())


def test_a_network_draws_a_new_key_for_every_run_from_its_own_stream():
    keys = [
        RateRNN(1, 4, 1, noise_std=0.1, seed=s).train().scan_problem(torch.zeros(1, 1, 1)).noise.key
        for s in (0, 1)
    ]
    net = RateRNN(1, 4, 1, noise_std=0.1, seed=0).train()
    again = [net.scan_problem(torch.zeros(1, 1, 1)).noise.key for _ in range(3)]
    assert again[0] == keys[0]
    assert len({*keys, *again}) == 4


def test_without_numba_the_noise_is_the_same(monkeypatch):
    net = RateRNN(1, 8, 1, noise_std=0.3, seed=0)
    inputs = torch.zeros(3, 5, 1)
    with_numba = net(inputs, generator=torch.Generator().manual_seed(1))[0]
    monkeypatch.setenv("NEURORNN_ENGINE", "torch")
    assert "switches it off" in fused.reason_to_do_without()
    without = net(inputs, generator=torch.Generator().manual_seed(1))[0]
    torch.testing.assert_close(with_numba, without, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["kernel", "torch"])
def test_forty_seeds_of_a_million_normals(source, capsys):
    p_values, pairs = [], []
    for seed in range(8100, 8140):
        key = (*Noise(seed * 2_654_435_761, 1.0).key_words, 0)
        make = Noise(seed * 2_654_435_761, 1.0).normals if source == "kernel" else None
        shape = (100, 100, 100)
        drawn = make(shape, 0, CPU) if make else normals_by_torch(shape, key, CPU)
        p_values.append(stats.kstest(drawn.double().flatten().numpy(), "norm").pvalue)
        following = Noise((seed + 1) * 2_654_435_761, 1.0).normals(shape, 0, CPU)
        neighbours = {
            "steps": (drawn[:-1], drawn[1:]),
            "trials": (drawn[:, :-1], drawn[:, 1:]),
            "trials four apart": (drawn[:, :-4], drawn[:, 4:]),
            "units": (drawn[..., :-1], drawn[..., 1:]),
            "training steps": (drawn, following),
            "squares of steps": (drawn[:-1].square() - 1, drawn[1:].square() - 1),
            "squares of trials": (drawn[:, :-1].square() - 1, drawn[:, 1:].square() - 1),
            "squares of units": (drawn[..., :-1].square() - 1, drawn[..., 1:].square() - 1),
        }
        for name, (one, other) in neighbours.items():
            product = (one * other).double().flatten()
            pairs.append((name, float(product.mean() / product.std() * math.sqrt(len(product)))))
    uniform = stats.kstest(p_values, "uniform").pvalue
    with capsys.disabled():
        print(
            f"\n{source}: 40 seeds of 1e6; smallest p {min(p_values):.4f}, p-values uniform: p {uniform:.3f}"
        )
        for name in dict.fromkeys(name for name, _ in pairs):
            scores = np.array([score for own, score in pairs if own == name])
            normal = stats.kstest(scores, "norm").pvalue
            print(f"    {name:<18} largest |z| {abs(scores).max():.2f}, z-scores normal: p {normal:.3f}")
            # 16 rows of 40 scores: a true generator passes both bounds 99 times in 100.
            assert normal > 1e-3 / 2
            assert abs(scores).max() < 4.8
    assert uniform > 1e-3


@pytest.mark.slow
def test_deviation_and_mean_against_dt(capsys):
    """One unit without weights, tau 100 ms, sigma 0.05: what its noise does at each dt."""
    rows = []
    for dynamics, activation in (
        ("current", "tanh"),
        ("rate", "tanh"),
        ("rate", "relu"),
        ("rate", "softplus"),
    ):
        for dt in (50.0, 20.0, 10.0, 5.0, 1.0):
            net = RateRNN(0, 1, 0, activation=activation, dynamics=dynamics, tau=100.0, dt=dt, noise_std=0.05)
            with torch.no_grad():
                net.recurrent_weight.zero_()
                steps = int(3000 / dt)
                generator = torch.Generator().manual_seed(77)
                last = net(torch.zeros(4000, steps, 0), generator=generator, return_states=True)[2][:, -1]
            rows.append((dynamics, activation, dt, float(last.std()), float(last.mean())))
    with capsys.disabled():
        print("\ndynamics  activation  dt (ms)  deviation      mean")
        for row in rows:
            print("{:<9} {:<10} {:>8.0f} {:>10.5f} {:>9.5f}".format(*row))
    for dynamics, activation, dt, deviation, mean in rows:
        alpha = dt / 100
        exact = 0.05 / math.sqrt(1 - alpha / 2)
        # Of 4000 draws a deviation errs by 1.1 %, a mean by 0.0008; four of them are allowed.
        if dynamics == "current":
            assert deviation == pytest.approx(exact, rel=0.045)
            assert abs(mean) < 0.0034
        elif activation == "tanh" and dt >= 10:
            # Inside f small noise is the same, but for what tanh takes away of sqrt(2 / alpha) sigma.
            assert deviation == pytest.approx(exact, rel=0.045 + 1.5 * 2 / alpha * 0.05**2)
            assert abs(mean) < 0.0034
        elif activation == "relu":
            # f rectifies it: the mean of half a Gaussian of deviation sqrt(2 / alpha) sigma, ever larger.
            assert mean == pytest.approx(math.sqrt(2 / alpha) * 0.05 / math.sqrt(2 * math.pi), rel=0.1)
