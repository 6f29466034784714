import numpy as np
import pytest
from scipy.linalg import expm

from neurornn.numerics.transients import flow_kreiss, flow_peak, map_kreiss, map_peak


def reactivity(matrix):
    return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])


@pytest.mark.parametrize("rate", [1.0, 1e-3])
def test_a_critical_cascade_peaks_at_one_over_its_rate(rate):
    # exp(A t) of [[-r, 1], [0, -r]] is e^(-r t) [[1, t], [0, 1]], for small r of norm near t e^(-r t).
    matrix = np.array([[-rate, 1.0], [0.0, -rate]])
    time, propagator = flow_peak(matrix, reactivity(matrix))
    times = np.linspace(0, 5 / rate, 20_001)
    norms = np.exp(-rate * times) * (times + np.sqrt(times**2 + 4)) / 2
    peak = np.linalg.norm(propagator, 2)
    assert peak == pytest.approx(norms.max(), rel=1e-6)
    assert time == pytest.approx(times[norms.argmax()], rel=1e-2, abs=1e-3)
    np.testing.assert_allclose(propagator, expm(time * matrix), atol=1e-9 * peak)


def test_a_peak_among_fast_oscillations_is_not_missed():
    # A fast rotation, stretched: the norm beats at twice its frequency for many turns.
    turn = np.array([[-0.01, -25.0], [1.0, -0.01]])
    time, propagator = flow_peak(turn, reactivity(turn))
    norms = [np.linalg.norm(expm(t * turn), 2) for t in np.linspace(0, 2, 4001)]
    assert np.linalg.norm(propagator, 2) == pytest.approx(max(norms), rel=1e-5)
    assert 0 < time < 2


def test_a_slow_map_is_looked_at_to_its_end():
    matrix = np.array([[0.9995, 1.0], [0.0, 0.9995]])
    step, power = map_peak(matrix)
    # k 0.9995^(k - 1) is highest at k = -1 / ln 0.9995.
    assert step == pytest.approx(-1 / np.log(0.9995), rel=2e-3)
    assert np.linalg.norm(power, 2) == pytest.approx(-1 / np.log(0.9995) / np.e / 0.9995, rel=1e-3)


def test_what_never_amplifies():
    contraction = np.array([[-1.0, 0.5], [0.0, -2.0]])
    assert flow_kreiss(contraction, reactivity(contraction)) == (1.0, complex(np.inf))
    time, propagator = flow_peak(contraction, reactivity(contraction))
    assert time == 0
    np.testing.assert_array_equal(propagator, np.eye(2))
    step, power = map_peak(0.5 * np.eye(3))
    assert step == 0
    np.testing.assert_array_equal(power, np.eye(3))
    assert map_kreiss(0.5 * np.eye(3), 0.5) == (1.0, complex(np.inf))


def test_a_resonance_away_from_the_real_axis_is_found():
    # Two cascades: a weak one at rest, a strong one that turns with frequency 7.
    slow, fast = np.array([[-0.5, 2.0], [0.0, -0.5]]), np.array([[-0.2, -7.0], [7.0, -0.2]])
    matrix = np.zeros((6, 6))
    matrix[:2, :2] = slow
    matrix[2:4, 2:4] = matrix[4:, 4:] = fast
    matrix[2:4, 4:] = 5 * np.eye(2)
    constant, place = flow_kreiss(matrix, reactivity(matrix))
    x = np.geomspace(1e-2, 10, 400)
    along = [own / np.linalg.svd((own + 7j) * np.eye(6) - matrix, compute_uv=False)[-1] for own in x]
    assert constant == pytest.approx(max(along), rel=1e-3)
    assert place.imag == pytest.approx(7, abs=1e-2)
