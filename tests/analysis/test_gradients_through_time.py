"""Gradients through time against closed forms, automatic differentiation and what training measures."""

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import InputError
from neurornn.analysis import gradient_flow
from neurornn.training.diagnostics import gradient_profile

TASK = nr.tasks.DelayedComparison()
FLIP = nr.tasks.FlipFlop(n_bits=1, duration=200)


def data(task=FLIP, n=4):
    return task.draw(n, np.random.default_rng(0))


@pytest.mark.parametrize(
    "task", [TASK, FLIP, nr.tasks.PerceptualDecisionMaking()], ids=lambda own: type(own).__name__
)
@pytest.mark.parametrize("kind", ["RateRNN", "GRU", "LSTM", "current", "plastic"])
def test_the_mean_gradient_is_what_training_measures(kind, task):
    options = {
        "current": {"dynamics": "current", "tau": 100, "dt": task.dt},
        "plastic": {"plasticity": "mixed", "activation": "relu", "tau": 100, "dt": task.dt},
    }.get(kind, {})
    make = getattr(nr, kind, nr.RateRNN)
    net = make(task.n_inputs, 6, task.n_outputs, seed=1, dtype=torch.float64, **options)
    trials = data(task)
    flow = gradient_flow(net, trials.to_dataset())
    expected = gradient_profile(net, trials).gradient_norm
    # Two ways to one number in float64; trials' inputs are float32 in both.
    np.testing.assert_allclose(flow.mean_gradient_norm, expected, rtol=1e-6, atol=1e-12)


def test_products_are_those_of_automatic_differentiation():
    net = nr.RateRNN(1, 5, 1, seed=2, gain=1.3, dtype=torch.float64).eval()
    trials = data(n=2)
    inputs = torch.as_tensor(trials.inputs, dtype=torch.float64)
    flow = gradient_flow(net, trials.to_dataset())
    for t in (0, 7, 19):

        def last(state, t=t):
            for k in range(t + 1, 20):
                state = net.step(state, inputs[0, k])
            return state

        state = net.initial_state(1)[0]
        for k in range(t + 1):
            state = net.step(state, inputs[0, k])
        jacobian = torch.autograd.functional.jacobian(last, state)
        expected = float(jacobian.norm()) / 5**0.5
        assert float(flow.product_norm[0, t]) == pytest.approx(expected, rel=1e-10)


def test_orthogonal_weights_keep_every_length():
    """A linear network of random orthogonal weights, 50 units, 500 steps: 1 +- 1e-9."""
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((50, 50)))
    net = nr.network_from_arrays(basis, np.ones((50, 1)), None, np.ones((1, 50)), activation="identity")
    trials = data(nr.tasks.FlipFlop(n_bits=1, duration=5000), 1)
    flow = gradient_flow(net, trials.to_dataset())
    np.testing.assert_allclose(flow.product_norm, 1, atol=1e-9)
    assert abs(flow.growth_per_step) < 1e-10


def test_random_linear_weights_grow_with_their_largest_eigenvalue():
    """The slope of the logarithm is ln |lambda_max| to .05, for 200 units and 300 steps."""
    for gain in (0.8, 1.2):
        weight = gain * np.random.default_rng(3).standard_normal((200, 200)) / np.sqrt(200)
        net = nr.network_from_arrays(
            weight, np.ones((200, 1)), None, np.ones((1, 200)), activation="identity"
        )
        trials = data(nr.tasks.FlipFlop(n_bits=1, duration=3000), 1)
        flow = gradient_flow(net, trials.to_dataset())
        radius = np.abs(np.linalg.eigvals(weight)).max()
        assert flow.growth_per_step == pytest.approx(np.log(radius), abs=0.05)


def test_what_under_and_overflows_is_told_by_its_logarithm():
    for scale in (1e-3, 1e3):
        net = nr.network_from_arrays(
            scale * np.eye(3), np.zeros((3, 1)), None, np.ones((1, 3)), activation="identity"
        )
        flow = gradient_flow(net, data(nr.tasks.FlipFlop(n_bits=1, duration=2000), 1).to_dataset())
        np.testing.assert_allclose(
            flow.log_product_norm[0], np.log(scale) * np.arange(199, -1, -1), rtol=1e-12
        )
        assert flow.growth_per_step == pytest.approx(np.log(scale))
    dead = nr.network_from_arrays(
        -np.eye(2), np.zeros((2, 1)), [-1.0, -1.0], np.ones((1, 2)), activation="relu"
    )
    flow = gradient_flow(dead, data(n=1).to_dataset())
    assert float(flow.product_norm[0, 0]) == 0


def test_padded_trials_end_at_their_own_last_step():
    net = nr.RateRNN(TASK.n_inputs, 6, TASK.n_outputs, seed=1)
    trials = data(TASK, 8)
    assert not trials.valid.all()
    flow = gradient_flow(net, trials.to_dataset())
    for k in range(8):
        n_steps = int(trials.valid[k].sum())
        alone = nr.Trials(
            TASK,
            trials.inputs[k : k + 1, :n_steps],
            trials.targets[k : k + 1, :n_steps],
            trials.mask[k : k + 1, :n_steps],
        )
        own = gradient_flow(net, alone.to_dataset())
        np.testing.assert_allclose(flow.product_norm[k, :n_steps], own.product_norm[0], rtol=1e-9)
        assert np.isnan(flow.gradient_norm[k, n_steps:]).all()


def test_a_loss_of_ones_own():
    net = nr.RateRNN(1, 5, 1, seed=2)
    trials = data()
    zero = gradient_flow(net, trials.to_dataset(), loss=lambda outputs: 0 * outputs.sum())
    assert float(zero.gradient_norm.max()) == 0
    last = gradient_flow(net, trials.to_dataset(), loss=lambda outputs: outputs[:, -1].sum(), n_trials=2)
    assert last.sizes["trial"] == 2
    np.testing.assert_allclose(last.gradient_norm[:, -1], float(net.output_weight.detach().norm()), rtol=1e-6)
    with pytest.raises(
        InputError, match=r"must return one number that depends on the outputs, got shape \(4, 20, 1\)"
    ):
        gradient_flow(net, trials.to_dataset(), loss=lambda outputs: outputs)


def test_what_does_not_fit_is_refused():
    trials = data()
    with pytest.raises(InputError, match="this network has none"):
        gradient_flow(nr.RateRNN(1, 4, 1, bidirectional=True), trials.to_dataset())
    with pytest.raises(InputError, match="'mask'"):
        gradient_flow(nr.RateRNN(1, 4, 1), trials.to_dataset().drop_vars("mask"))
    with pytest.raises(InputError, match="needs dimension 'trial'"):
        gradient_flow(nr.RateRNN(1, 4, 1), trials.to_dataset().isel(trial=0))
