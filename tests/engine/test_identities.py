"""Gradients through time against closed forms: products of Jacobians that can be written down."""

import numpy as np
import pytest
import torch

from neurornn import network_from_arrays
from neurornn.engine import ENGINES

# The numba engine has neither float64 nor the identity as an activation.
pytestmark = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "numba"])


def linear_network(weights, engine, activation=lambda u: 1.0 * u):
    network = network_from_arrays(weights, np.eye(len(weights)), activation=activation)
    network.engine = engine
    return network


def state_gradient_norms(network, n_steps, first=None):
    """Norms of the gradient of a projection of the last state with respect to the state at each step."""
    n = network.hidden_size
    generator = torch.Generator().manual_seed(0)
    # A pulse of input at each step is a nudge of the state there: its gradient is that of the state.
    inputs = torch.zeros(1, n_steps, n, dtype=torch.float64, requires_grad=True)
    initial = None if first is None else torch.as_tensor(first)[None]
    _, rates = network(inputs, initial)
    pull = torch.randn(n, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((rates[0, -1] * pull).sum(), inputs)
    return gradient[0].norm(dim=1).numpy()


@pytest.mark.parametrize(
    ("weight", "power", "slope"),
    [(1.01, 20959.155, 2.0752e7), (0.99, 4.3171247e-5, 0.043607), (1.0, 1.0, 1000.0)],
)
def test_a_thousand_steps_of_one_linear_unit(engine, weight, power, slope):
    network = linear_network(np.array([[weight]]), engine)
    start = torch.ones(1, 1, dtype=torch.float64)
    _, rates = network(torch.zeros(1, 1000, 1, dtype=torch.float64), start)
    (gradient,) = torch.autograd.grad(rates[0, -1, 0], network.recurrent_weight)
    # y = w^n and dy/dw = n w^(n - 1): a thousand roundings of 1e-16 each.
    assert rates[0, -1, 0].item() == pytest.approx(weight**1000, rel=1e-12)
    assert gradient.item() == pytest.approx(1000 * weight**999, rel=1e-12)
    assert rates[0, -1, 0].item() == pytest.approx(power, rel=1e-7)
    assert gradient.item() == pytest.approx(slope, rel=1e-4)


def test_orthogonal_weights_keep_the_gradients_length(engine):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 50)))
    norms = state_gradient_norms(linear_network(rotation, engine), 500)
    np.testing.assert_allclose(norms / norms[-1], 1, atol=1e-9)


def test_identity_weights_with_relu_keep_it_where_units_are_active(engine):
    network = linear_network(np.eye(20), engine, "relu")
    norms = state_gradient_norms(network, 500, np.ones(20))
    np.testing.assert_allclose(norms / norms[-1], 1, atol=1e-12)


@pytest.mark.parametrize("gain", [0.8, 1.2])
def test_gaussian_weights_shrink_or_stretch_it_by_the_spectral_radius(engine, gain):
    weights = gain * np.random.default_rng(3).standard_normal((200, 200)) / np.sqrt(200)
    norms = state_gradient_norms(linear_network(weights, engine), 300)
    steps = np.arange(100, 300)
    slope = np.polyfit(steps[::-1], np.log(norms[steps[0] - 100 : steps[-1] - 99]), 1)[0]
    radius = np.abs(np.linalg.eigvals(weights)).max()
    # A finite stretch of a product of matrices: the paper's own pilots differ by .02.
    assert slope == pytest.approx(np.log(radius), abs=0.05)


def test_tanh_gradients_vanish_at_least_as_fast_as_the_largest_singular_value_allows(engine):
    weights = np.random.default_rng(4).standard_normal((30, 30))
    weights *= 0.9 / np.linalg.norm(weights, 2)
    norms = state_gradient_norms(linear_network(weights, engine, "tanh"), 60)
    # |dr_T / dr_t| <= (sigma_max max f')^(T - t), max f' = 1.
    assert (norms[:-1] <= 0.9 * norms[1:] * (1 + 1e-12)).all()
