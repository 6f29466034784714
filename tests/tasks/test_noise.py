import numpy as np
import pytest
from scipy.stats import kstest

from neurornn.tasks.noise import MANY_CHANNELS, normals


@pytest.mark.parametrize("n_channels", [1, 3, MANY_CHANNELS - 1, MANY_CHANNELS, 33, 65])
def test_normals_are_normal_and_repeat(n_channels):
    shape = (37, 41, n_channels)
    drawn = normals(shape, np.random.default_rng(0), 0.3)
    assert drawn.shape == shape
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, normals(shape, np.random.default_rng(0), 0.3))
    assert not np.array_equal(drawn, normals(shape, np.random.default_rng(1), 0.3))
    # Once in ten thousand runs by chance, and the seed is fixed.
    assert kstest(drawn.ravel() / 0.3, "norm").pvalue > 1e-4
    # Neighbours of every axis are independent: four standard errors of a correlation.
    for axis, size in enumerate(shape):
        if size > 1:
            one = np.delete(drawn, -1, axis).ravel()
            other = np.delete(drawn, 0, axis).ravel()
            assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(one.size)


@pytest.mark.parametrize("n_channels", [2, MANY_CHANNELS])
def test_each_call_draws_anew(n_channels):
    rng = np.random.default_rng(0)
    one, other = (normals((20, 30, n_channels), rng, 1.0) for _ in range(2))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_many_channels_need_no_compiled_kernel(monkeypatch):
    with_kernel = normals((5, 7, MANY_CHANNELS), np.random.default_rng(0), 1.0)
    monkeypatch.setenv("NEURORNN_ENGINE", "torch")
    without = normals((5, 7, MANY_CHANNELS), np.random.default_rng(0), 1.0)
    # Two ways to round a logarithm and a sine, of normals up to 7.
    np.testing.assert_allclose(with_kernel, without, rtol=0, atol=1e-5)
