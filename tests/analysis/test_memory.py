"""Is memory what theory says: closed forms of delay lines, bounds of any matrix, N for linear networks?"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurornn import RateRNN
from neurornn.analysis import fisher_memory, memory_capacity
from neurornn.vocabulary import InputError


def random_weights(n, radius, seed=0, symmetric=False):
    weights = np.random.default_rng(seed).standard_normal((n, n))
    weights = weights + weights.T if symmetric else weights
    return weights * radius / np.abs(np.linalg.eigvals(weights)).max()


@pytest.mark.parametrize(("gain", "total"), [(1.0, 5.18738), (1.05, 12.0873), (1.2, 31.9602)])
def test_the_delay_line_has_its_closed_form(gain, total):
    n, delay = 100, np.arange(100)
    found = fisher_memory(gain * np.diag(np.ones(n - 1), -1), np.eye(n)[0])
    s = gain**2
    # Signal grows as s^k, noise as the sum of all that was added on the way.
    expected = 1 / (delay + 1) if gain == 1 else s**delay * (s - 1) / (s ** (delay + 1) - 1)
    np.testing.assert_allclose(found.fisher_memory[:n], expected, rtol=1e-11)
    np.testing.assert_array_equal(found.fisher_memory[n:], 0)
    assert float(found.total_memory) == pytest.approx(total, abs=6e-5)
    assert float(found.total_memory) == pytest.approx(expected.sum(), rel=1e-11)


@given(st.integers(1, 12), st.floats(0.1, 0.98), st.integers(0, 2**32 - 1))
def test_normal_networks_remember_one_sample_and_no_network_more_than_its_units(n, radius, seed):
    vector = np.random.default_rng(seed).standard_normal(n)
    vector /= np.linalg.norm(vector)
    normal = fisher_memory(random_weights(n, radius, seed, symmetric=True), vector)
    assert float(normal.total_memory) == pytest.approx(1, abs=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    assert float(fisher_memory(radius * rotation, vector).total_memory) == pytest.approx(1, abs=1e-9)
    found = fisher_memory(random_weights(n, radius, seed), vector)
    assert float(found.total_memory) <= float(found.best_total_memory) * (1 + 1e-9)
    assert float(found.best_total_memory) <= n * (1 + 1e-9)


def test_memory_is_the_information_of_the_definition():
    weights, vector = random_weights(6, 0.9), np.arange(1.0, 7.0)
    covariance = sum(
        np.linalg.matrix_power(weights, k) @ np.linalg.matrix_power(weights, k).T for k in range(400)
    )
    found = fisher_memory(weights, vector, noise_std=0.5, n_delays=400)
    for k in (0, 3, 10):
        signal = np.linalg.matrix_power(weights, k) @ vector
        expected = signal @ np.linalg.solve(covariance, signal) / 0.25
        assert float(found.fisher_memory[k]) == pytest.approx(expected, rel=1e-9)
    assert float(found.fisher_memory.sum()) == pytest.approx(float(found.total_memory), rel=1e-9)
    # The best input has what is promised; over any orthonormal inputs the totals sum to the number of units.
    best = fisher_memory(weights, found.best_input.values, noise_std=0.5)
    assert float(best.total_memory) == pytest.approx(float(found.best_total_memory), rel=1e-9)
    totals = [float(fisher_memory(weights, own).total_memory) for own in np.eye(6)]
    assert sum(totals) == pytest.approx(6, rel=1e-9)


def test_memory_without_end_is_summed_to_its_end():
    slow = fisher_memory(np.diag([0.9999, 0.5]), [1.0, 0.0])
    assert float(slow.total_memory) == pytest.approx(1, abs=1e-9)
    assert float(slow.fisher_memory.sum()) < 0.01


def test_linear_capacity_is_the_number_of_units_and_drive_takes_from_it():
    weights = random_weights(20, 0.9)
    vector = np.random.default_rng(1).standard_normal(20) / np.sqrt(20)
    linear = memory_capacity(weights, vector, input_gain=0.8)
    assert float(linear.memory_capacity) == pytest.approx(20, rel=0.03)
    driven = [
        float(
            memory_capacity(weights, vector, activation="tanh", input_gain=own, n_steps=6000).memory_capacity
        )
        for own in (0.1, 0.5, 2.0)
    ]
    assert float(linear.memory_capacity) > driven[0] > driven[1] > driven[2] > 1


def test_a_network_is_stepped_by_itself():
    weights, vector = random_weights(8, 0.8, 2), np.random.default_rng(3).standard_normal(8)
    network = RateRNN(2, 8, 1, activation="tanh", dtype=torch.float64)
    with torch.no_grad():
        network.recurrent_weight = torch.as_tensor(weights)
        network.input_weight = torch.as_tensor(np.stack([np.zeros(8), vector], axis=1))
        network.bias.zero_()
    options = {"n_steps": 500, "n_warmup": 50, "n_delays": 10, "seed": 4}
    alone = memory_capacity(weights, vector, activation="tanh", **options)
    found = memory_capacity(network, channel=1, **options)
    np.testing.assert_allclose(found.capacity, alone.capacity, atol=1e-9)
    # Nothing comes in by the other channel.
    silent = memory_capacity(network, channel=0, **options)
    assert float(silent.memory_capacity) == pytest.approx(0, abs=1e-9)


def test_noise_on_the_readout_takes_memory():
    line = np.diag(np.ones(5), -1)
    clean, noisy = (
        memory_capacity(line, np.eye(6)[0], noise_std=own, n_steps=4000, n_delays=6) for own in (0.0, 0.5)
    )
    np.testing.assert_allclose(clean.capacity, 1, atol=1e-9)
    # Signal variance 1/3 beside noise variance 1/4.
    np.testing.assert_allclose(noisy.capacity, (1 / 3) / (1 / 3 + 1 / 4), atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fisher_memory(1.1 * np.eye(2), [1, 0]),
            "piles up without end.*got 1.1: scale the matrix down",
        ),
        (
            lambda: fisher_memory(np.eye(2) / 2, [1, 0, 0]),
            r"`input_weight` must have shape \(unit=2,\), got \(3,\)",
        ),
        (lambda: fisher_memory(np.ones((2, 3)), [1, 0]), "`matrix` must be square"),
        (lambda: fisher_memory(np.eye(2) / 2, [1, 0], noise_std=0), "`noise_std` must be a positive number"),
        (lambda: memory_capacity(np.eye(2) / 2), "`input_weight` is needed with a matrix"),
        (
            lambda: memory_capacity(np.eye(2) / 2, [1, 0], n_steps=4),
            "`n_steps` must be at least 4 times the 2",
        ),
        (lambda: memory_capacity(9 * np.eye(2), [1, 0], n_steps=900), "must stay finite under random input"),
        (lambda: memory_capacity(np.eye(2) / 2, [1, 0], distribution="even"), "unknown distribution 'even'"),
        (lambda: memory_capacity(RateRNN(1, 3, 1), channel=1), "`channel` must be below the number of input"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
