import matplotlib.pyplot as plt
import numpy as np
import pytest

import neurornn as nr
from neurornn import InputError


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_lyapunov_spectrum_shows_its_exponents_and_its_dimension():
    net = nr.RateRNN(1, 30, 1, gain=2.0, seed=1)
    found = nr.analysis.lyapunov(net, n_steps=200)
    ax = nr.plots.plot_lyapunov_spectrum(found)
    (points,) = [line for line in ax.lines if len(line.get_xdata()) == 30]
    np.testing.assert_allclose(points.get_ydata(), found.lyapunov_exponent)
    assert ax.get_title(loc="left") == f"dimension {float(found.dimension):.2f}"
    few = nr.plots.plot_lyapunov_spectrum(found.isel(mode=slice(0, 2)).assign(dimension=np.nan))
    assert few.get_title(loc="left") == ""
    lost = found.copy(deep=True)
    lost["lyapunov_exponent"].values[-2:] = -np.inf
    assert "2 of -∞" in nr.plots.plot_lyapunov_spectrum(lost).get_title(loc="left")


def test_gradients_are_drawn_back_from_the_end_of_their_trial():
    task = nr.tasks.DelayedComparison()
    net = nr.RateRNN(task.n_inputs, 6, task.n_outputs)
    flow = nr.analysis.gradient_flow(net, task.draw(4, np.random.default_rng(0)).to_dataset())
    ax = nr.plots.plot_gradient_flow(flow)
    assert ax.get_yscale() == "log"
    lines = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) > 2]
    assert all(own[0] == pytest.approx(1) for own in lines[:4])
    factor = np.exp(flow.growth_per_step)
    assert ax.get_title(loc="left") == f"factor {factor:.4f} per step"


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="'mode'"):
        nr.plots.plot_lyapunov_spectrum(nr.tasks.FlipFlop().draw(2, np.random.default_rng(0)).to_dataset())
    dead = nr.network_from_arrays(np.zeros((2, 2)), np.zeros((2, 1)), None, np.ones((1, 2)))
    task = nr.tasks.FlipFlop(n_bits=1, duration=100)
    flow = nr.analysis.gradient_flow(dead, task.draw(1, np.random.default_rng(0)).to_dataset())
    flow["log_product_norm"] = flow.log_product_norm * np.nan
    with pytest.raises(InputError, match="every gradient in `flow` is zero or missing"):
        nr.plots.plot_gradient_flow(flow)
