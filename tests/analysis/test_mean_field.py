"""Does the theory give its published values, closed forms, and what large networks do?"""

import numpy as np
import pytest
from scipy.special import erf

from neurornn import RateRNN
from neurornn.analysis import mean_field
from neurornn.analysis.gain_functions import GainFunction
from neurornn.numerics.gaussian import normal_average
from neurornn.vocabulary import InputError

# Largest and mean exponent of x <- W tanh(x), of an implementation that is not this one.
TABLE = {
    1.2: (0.0165, None),
    1.5: (0.06522, -0.71435),
    2.0: (0.15472, -1.14902),
    3.0: (0.31025, -2.27281),
    5.0: (0.53243, -4.90677),
    10.0: (0.85644, -12.16097),
}


@pytest.mark.parametrize("gain", TABLE)
def test_exponents_of_the_map(gain):
    theory = mean_field(gain)
    largest, mean = TABLE[gain]
    assert float(theory.lyapunov_exponent) == pytest.approx(largest, abs=5.1e-5 if mean is None else 5.1e-6)
    if mean is not None:
        assert float(theory.mean_exponent) == pytest.approx(mean, abs=1.1e-5)
    assert float(theory.onset_gain) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("system", ["map", "flow"])
def test_below_the_onset_activity_dies_out(system):
    theory = mean_field(0.8, system=system)
    assert float(theory.variance) == 0
    expected = np.log(0.8) if system == "map" else 0.8 - 1
    assert float(theory.lyapunov_exponent) == pytest.approx(expected, abs=1e-9)


def test_closed_forms_of_the_error_function():
    theory = mean_field(3.0, "erf")
    variance = float(theory.variance)
    # <erf^2> and <erf'^2> over a normal variable.
    assert variance == pytest.approx(9 * 2 / np.pi * np.arcsin(2 * variance / (1 + 2 * variance)), rel=1e-12)
    growth = 9 * 4 / np.pi / np.sqrt(1 + 4 * variance)
    assert float(theory.lyapunov_exponent) == pytest.approx(np.log(growth) / 2, rel=1e-11)
    assert float(theory.onset_gain) == pytest.approx(np.sqrt(np.pi) / 2, abs=1e-8)
    mean = np.log(3) - 0.5 + np.log(2 / np.sqrt(np.pi)) - variance
    assert float(theory.mean_exponent) == pytest.approx(mean, rel=1e-12)


def test_rectified_units_have_the_same_exponent_at_any_size():
    driven = mean_field(1.0, "relu", input_std=1.0)
    # D = g^2 D / 2 + s^2; half the slopes are 1.
    assert float(driven.variance) == pytest.approx(2, rel=1e-12)
    assert float(driven.lyapunov_exponent) == pytest.approx(-np.log(2) / 2, abs=1e-12)
    assert float(driven.mean_exponent) == -np.inf
    silent = mean_field(1.0, "relu")
    assert float(silent.variance) == 0
    assert float(silent.lyapunov_exponent) == pytest.approx(-np.log(2) / 2, abs=1e-6)
    assert float(mean_field(2.0, "relu").variance) == np.inf
    assert float(silent.onset_gain) == pytest.approx(np.sqrt(2), abs=1e-8)


def test_linear_units():
    theory = mean_field(0.5, "identity", input_std=0.3)
    assert float(theory.variance) == pytest.approx(0.09 / (1 - 0.25), rel=1e-12)
    assert float(theory.lyapunov_exponent) == pytest.approx(np.log(0.5), abs=1e-12)


def test_inputs_delay_the_onset():
    onsets = [float(mean_field(2.0, input_std=own).onset_gain) for own in (0.0, 0.2, 0.5)]
    assert onsets[0] == pytest.approx(1, abs=1e-8)
    assert onsets[0] < onsets[1] < onsets[2]
    assert float(mean_field(2.0, bias=1.0).onset_gain) > 1.5


def test_a_network_s_activation_and_any_function_will_do():
    network = RateRNN(1, 4, 1, activation="tanh", seed=0)
    expected = float(mean_field(2.0).lyapunov_exponent)
    assert float(mean_field(2.0, network.activation).lyapunov_exponent) == pytest.approx(expected, abs=1e-12)
    shifted = mean_field(2.0, lambda u: (2 * u).sigmoid() * 2 - 1)
    assert float(shifted.lyapunov_exponent) == pytest.approx(expected, abs=1e-12)


def test_a_large_map_has_the_variance_of_the_theory():
    rng = np.random.default_rng(0)
    n, gain = 1000, 2.0
    weights = gain * rng.standard_normal((n, n)) / np.sqrt(n)
    x, squares = rng.standard_normal(n), []
    for step in range(200):
        x = weights @ np.tanh(x) + 0.5 * rng.standard_normal(n)
        squares += [np.mean(x**2)] * (step >= 50)
    # 150 steps of 1000 units, and the weights' own deviation of order 1 / sqrt(N).
    assert np.mean(squares) == pytest.approx(float(mean_field(gain, input_std=0.5).variance), rel=0.03)


@pytest.mark.parametrize(("gain", "share"), [(1.02, 0.95), (1.05, 0.85), (1.1, 0.7)])
def test_near_the_onset_the_exponent_of_the_flow_is_that_of_the_first_paper(gain, share):
    # Sompolinsky, Crisanti and Sommers: (g - 1)^2 / 2 to leading order; the next one takes off the more, the
    # farther.
    found = float(mean_field(gain, system="flow").lyapunov_exponent) / ((gain - 1) ** 2 / 2)
    assert share * 0.97 < found < 1


def test_the_exponent_of_the_flow_at_a_moderate_gain():
    # An independent solver of the pilot study gave .047.
    assert float(mean_field(1.5, system="flow").lyapunov_exponent) == pytest.approx(0.047, abs=5e-4)


@pytest.mark.parametrize("options", [{}, {"bias": 0.4}, {"input_std": 0.4}])
def test_the_autocovariance_of_a_flow_obeys_its_equation(options):
    gain = 2.5
    theory = mean_field(gain, "erf", system="flow", **options)
    lag, covariance = theory.lag.values, theory.autocovariance.values
    variance, bias = float(theory.variance), options.get("bias", 0.0)
    assert covariance[0] == pytest.approx(variance, rel=1e-9)
    assert (np.diff(covariance) <= 1e-9).all()

    def product(own):
        # By its shared and its own part, an average of an average, which for erf is known.
        outside = np.sqrt(max(variance - own, 0))

        def averaged(z):
            return erf((bias + np.sqrt(own) * z) / np.sqrt(1 + 2 * outside**2))

        return normal_average(lambda z: averaged(z) ** 2, 0.0, 1.0)

    for k in range(20, 200, 30):
        step = lag[1] - lag[0]
        bend = (covariance[k + 1] - 2 * covariance[k] + covariance[k - 1]) / step**2
        force = covariance[k] - gain**2 * product(covariance[k]) - options.get("input_std", 0.0) ** 2
        # Second differences at the lags that are told.
        assert bend == pytest.approx(force, abs=2e-3 * variance)
    at_rest = covariance[-1]
    expected = gain**2 * product(at_rest) + options.get("input_std", 0.0) ** 2
    assert at_rest == pytest.approx(expected, abs=1e-5)


def test_slopes_and_their_logarithms_agree():
    u = np.linspace(-5, 5, 41)
    for name in ("erf", "hard_tanh", "identity", "relu", "sigmoid", "softplus", "tanh"):
        function = GainFunction(name)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(function.log_slope(u), np.log(function.slope(u)), atol=1e-6)
        difference = (function(u + 1e-6) - function(u - 1e-6)) / 2e-6
        away = np.abs(np.abs(u) - 1) > 1e-3
        away &= np.abs(u) > 1e-3
        np.testing.assert_allclose(function.slope(u)[away], difference[away], atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "`gain` must be a number of at least 0, got -1.0"),
        ((1.0, "tahn"), "unknown activation 'tahn'.*did you mean 'tanh'"),
        ((1.0, 3), "`activation` must be a name, a network's activation or a torch function, got int"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        mean_field(*arguments)
    with pytest.raises(InputError, match=r"unknown system 'maps'.*did you mean 'map'"):
        mean_field(1.0, system="maps")
    with pytest.raises(InputError, match="`bias` must be a finite number, got nan"):
        mean_field(1.0, bias=np.nan)
    with pytest.raises(InputError, match="`bias` must be a finite number, got 'high'"):
        mean_field(1.0, bias="high")
