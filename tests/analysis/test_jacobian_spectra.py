"""Spectra along trajectories against the Jacobian of each step, and against closed forms."""

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import InputError
from neurornn.analysis import spectrum_along

TASK = nr.tasks.DelayedComparison()


def build(kind="RateRNN", n=6, **options):
    return getattr(nr, kind)(TASK.n_inputs, n, TASK.n_outputs, seed=1, **options)


@pytest.mark.parametrize("kind", ["RateRNN", "GRU", "LSTM", "current", "plastic", "layers"])
def test_each_spectrum_is_that_of_the_jacobian_of_its_step(kind):
    options = {
        "current": {"dynamics": "current", "tau": 100, "dt": TASK.dt},
        "plastic": {"plasticity": "mixed", "activation": "relu", "tau": 100, "dt": TASK.dt},
        "layers": {"n_layers": 2},
    }.get(kind, {})
    net = build(kind if hasattr(nr, kind) else "RateRNN", **options)
    activity = nr.record(net, TASK, 3)
    along = spectrum_along(net, activity)
    states = activity["state"] if "state" in activity else activity["rate"]
    exact = net.double().eval()
    for trial, t in ((0, 0), (1, 5), (2, 9)):
        before = activity.initial_state[trial] if t == 0 else states[trial, t - 1]
        x = torch.as_tensor(activity.input[trial, t].to_numpy(), dtype=torch.float64)
        with torch.no_grad():
            jacobian = exact.jacobian(torch.as_tensor(before.to_numpy(), dtype=torch.float64), x)
        expected = np.linalg.eigvals(jacobian.numpy())
        found = along.eigenvalue_real[trial, t].values + 1j * along.eigenvalue_imag[trial, t].values
        # As sets: the order of equal moduli is rounding's. A defective eigenvalue is known to the root of it.
        distance = np.abs(found[:, None] - expected).min(axis=1)
        assert distance.max() < 1e-6
        assert float(along.spectral_radius[trial, t]) == pytest.approx(np.abs(expected).max(), rel=1e-6)
        assert int(along.n_unstable[trial, t]) == (np.abs(found) > 1).sum()


def test_padded_steps_have_no_spectrum_and_labels_stay():
    activity = nr.record(build(), TASK, 8)
    along = spectrum_along(build(), activity, every=3)
    assert along.sizes["time"] == -(-activity.sizes["time"] // 3)
    np.testing.assert_array_equal(along.time, activity.time[::3])
    valid = activity.valid.values[:, ::3]
    assert np.isnan(along.spectral_radius.values[~valid]).all()
    assert (along.n_unstable.values[~valid] == -1).all()
    assert np.isfinite(along.eigenvalue_real.values[valid]).all()
    np.testing.assert_array_equal(along.delay_duration, activity.delay_duration)
    assert "unit" not in along.coords


def test_a_few_of_many_are_the_largest_of_all():
    task = nr.tasks.FlipFlop(n_bits=1, duration=30)
    net = nr.RateRNN(1, 220, 1, seed=3, gain=1.3)
    activity = nr.record(net, task, 2)
    few, every = spectrum_along(net, activity, n_eigenvalues=4), spectrum_along(net, activity)
    # Arnoldi's method and inverse iteration beside all eigenvalues, in float64.
    moduli = [np.hypot(own.eigenvalue_real, own.eigenvalue_imag) for own in (few, every)]
    np.testing.assert_allclose(moduli[0], moduli[1][..., :4], rtol=1e-8)


def test_a_matrix_on_which_lapack_fails_leaves_the_others(monkeypatch):
    activity = nr.record(build(), TASK, 2)
    whole = spectrum_along(build(), activity)
    eigvals = np.linalg.eigvals
    calls = []

    def failing(matrices):
        calls.append(len(matrices))
        if len(matrices) > 1 or len(calls) == 3:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return eigvals(matrices)

    monkeypatch.setattr(np.linalg, "eigvals", failing)
    along = spectrum_along(build(), activity)
    lost = np.isnan(along.spectral_radius.values) & ~np.isnan(whole.spectral_radius.values)
    assert lost.sum() == 1
    there = ~np.isnan(along.spectral_radius.values)
    np.testing.assert_allclose(along.spectral_radius.values[there], whole.spectral_radius.values[there])


def test_what_does_not_fit_is_refused():
    net = build()
    activity = nr.record(net, TASK, 2)
    with pytest.raises(InputError, match="this network has no step"):
        spectrum_along(build(bidirectional=True), activity)
    with pytest.raises(InputError, match="at most the number of state variables 6, got 7"):
        spectrum_along(net, activity, n_eigenvalues=7)
    with pytest.raises(InputError, match="`every` must be"):
        spectrum_along(net, activity, every=0)
    with pytest.raises(InputError, match=r"6 values of 'rate' .* network 9 state variables"):
        spectrum_along(build(n=9), activity)
    with pytest.raises(InputError, match="'initial_state'"):
        spectrum_along(net, activity.drop_vars("initial_state"))
    other = nr.RateRNN(TASK.n_inputs + 1, 6, 1)
    with pytest.raises(InputError, match="input channels and the network"):
        spectrum_along(other, activity)
