"""Do matrices and samples come in as what they are, whoever holds them?"""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from neurornn import RateRNN
from neurornn.analysis import pca
from neurornn.analysis.matrices import real_array, samples_of, scaled, square_matrix
from neurornn.vocabulary import InputError


@given(st.floats(1e-300, 1e300), st.integers(0, 2**32 - 1))
def test_scaling_by_a_power_of_two_costs_no_digit(size, seed):
    matrix = size * np.random.default_rng(seed).uniform(-1, 1, (3, 3))
    small, scale = scaled(matrix)
    assert 0.5 <= np.abs(small).max() <= 1
    np.testing.assert_array_equal(small * scale, matrix)
    assert np.log2(scale) == np.round(np.log2(scale))


def test_the_ends_of_what_float64_holds():
    np.testing.assert_array_equal(scaled(np.zeros((2, 2)))[0], 0)
    largest, scale = scaled(np.full((1, 1), np.finfo(float).max))
    assert np.isfinite(scale)
    assert largest[0, 0] * scale == np.finfo(float).max


def test_a_network_and_any_array_will_do():
    network = RateRNN(1, 3, 1, seed=0)
    expected = network.recurrent_weight.detach().double().numpy()
    for given_as in (
        network,
        network.recurrent_weight,
        xr.DataArray(expected, dims=("unit", "presynaptic_unit")),
    ):
        np.testing.assert_array_equal(square_matrix(given_as), expected)
    assert square_matrix([[True]]).dtype == np.float64
    np.testing.assert_array_equal(real_array(torch.ones(2, dtype=torch.float16), "x"), [1, 1])


def test_samples_by_name_whatever_the_order_of_the_axes():
    rate = np.arange(24.0).reshape(2, 3, 4)
    activity = xr.Dataset({"rate": (("trial", "time", "unit"), rate)})
    expected = rate.reshape(6, 4)
    for data in (activity, activity.rate, rate, torch.as_tensor(rate)):
        np.testing.assert_array_equal(samples_of(data, "activity"), expected)
    turned = samples_of(activity.rate.transpose("unit", "time", "trial"), "activity")
    np.testing.assert_array_equal(turned, rate.transpose(1, 0, 2).reshape(6, 4))
    activity["valid"] = (("time", "trial"), np.array([[True, True], [True, False], [False, False]]))
    np.testing.assert_array_equal(samples_of(activity, "activity"), rate[[0, 0, 1], [0, 1, 0]])
    pcs = pca(activity.drop_vars("valid"), 2)
    np.testing.assert_array_equal(samples_of(pcs, "embedding"), pcs.score.values.reshape(6, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: square_matrix(np.zeros(3)), r"`matrix` must be square, shape \(unit, unit\), got \(3,\)"),
        (lambda: square_matrix(np.eye(2) * 1j), "`matrix` must hold real numbers, got complex128"),
        (lambda: square_matrix(torch.eye(2) * 1j), "`matrix` must hold real numbers, got complex64"),
        (lambda: square_matrix("weights"), "`matrix` must hold real numbers"),
        (lambda: square_matrix(None), "`matrix` must hold real numbers, got object"),
        (
            lambda: samples_of(xr.Dataset({"rat": ("unit", [1.0])}), "activity"),
            "no variable 'rate'.*mean 'rat'",
        ),
        (lambda: samples_of(xr.DataArray([1.0], dims="neuron"), "activity"), r"rename\(neuron='unit'\)"),
        (lambda: samples_of(np.zeros((0, 3)), "activity"), "`activity` has no samples: record more"),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
