import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from neurornn import InputError, register_activation
from neurornn.networks import ACTIVATIONS, RateRNN, get_activation
from neurornn.networks.activations import Activation

INF = math.inf
SHIPPED = tuple(ACTIVATIONS)


def _sigmoid(u):
    return np.exp(-np.logaddexp(0, -u))


# Each from its definition, in numpy's long double where cancellation would cost digits of the test's own.
FORMULAS = {
    "tanh": lambda u: 1 - 2 / (1 + np.exp(2 * u)),
    "relu": lambda u: (u + abs(u)) / 2,
    "softplus": lambda u: np.logaddexp(0, u),
    "sigmoid": _sigmoid,
    "identity": lambda u: u,
    "hard_tanh": lambda u: np.clip(u, -1, 1),
    "leaky_relu": lambda u: np.maximum(u, 0.01 * u),
    "leaky_relu(0.25)": lambda u: np.maximum(u, 0.25 * u),
    "leaky_relu(0)": lambda u: np.maximum(u, 0),
    "elu": lambda u: np.where(u > 0, u, np.expm1(np.minimum(u, 0))),
    "elu(0.5)": lambda u: np.where(u > 0, u, 0.5 * np.expm1(np.minimum(u, 0))),
    "swish": lambda u: u * _sigmoid(u),
    "swish(2.5)": lambda u: u * _sigmoid(2.5 * u),
    "power_law": lambda u: np.maximum(u, 0) ** 2,
    "power_law(1)": lambda u: np.maximum(u, 0),
    "power_law(1.5)": lambda u: np.where(u > 0, abs(u) * np.sqrt(abs(u)), 0),
    "softsign": lambda u: u / (1 + abs(u)),
    "bent_identity": lambda u: (np.sqrt(u**2 + 1) - 1) / 2 + u,
    "retanh": lambda u: np.where(u > 0, 1 - 2 / (1 + np.exp(2 * u)), 0),
    "parametric_relu": lambda u: np.maximum(u, 0.25 * u),
}
# Beside 0. torch's softplus goes over to a straight line.
KINKS = {"hard_tanh": (-1.0, 1.0), "softplus": (20.0,)}
# Lowest and highest value on [-1000, 1000], where that is not a bound itself.
REACHED = {
    "softsign": (-1000 / 1001, 1000 / 1001),
    "leaky_relu": (-10, 1000),
    "leaky_relu(0.25)": (-250, 1000),
    "parametric_relu": (-250, 1000),
    "power_law": (0, 1e6),
    "power_law(1.5)": (0, 1000**1.5),
    "bent_identity": ((math.sqrt(1e6 + 1) - 1) / 2 - 1000, (math.sqrt(1e6 + 1) - 1) / 2 + 1000),
}


def activation_of(name):
    """Return it in float64, which a network would do with a module."""
    activation = get_activation(name)
    if activation.module is not None:
        activation.module.double()
    return activation


def wide_range():
    """Return points in [-1000, 1000]: even, close to zero, and on and beside every kink."""
    close = torch.logspace(-12, 0, 61).double()
    kinks = torch.tensor([0.0, -0.0, 1.0, -1.0, 19.99, 20.0, 20.01, -1.2784645427610738]).double()
    return torch.cat([torch.linspace(-1e3, 1e3, 2001).double(), close, -close, 30 * close, kinks])


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    copied = dict(ACTIVATIONS)
    monkeypatch.setattr("neurornn.networks.activations.ACTIVATIONS", copied)
    return copied


def test_every_shipped_activation_is_tried_here():
    assert {name.split("(")[0] for name in FORMULAS} == set(SHIPPED)
    assert all(name == activation.name for name, activation in ACTIVATIONS.items() if name in SHIPPED)


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_the_formula(name):
    u = wide_range()
    # The far tail of exp overflows on the way to the right limit.
    with np.errstate(over="ignore"):
        wanted = FORMULAS[name](u.numpy().astype(np.longdouble)).astype(float)
    # softplus: torch's straight line above 20 leaves out exp(-20).
    atol = 2.1e-9 if name == "softplus" else 5e-16
    torch.testing.assert_close(
        activation_of(name)(u).detach(), torch.from_numpy(wanted), rtol=1e-14, atol=atol
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_a_derivative_is_that_of_automatic_differentiation_at_kinks_too(name):
    activation, u = activation_of(name), wide_range().requires_grad_()
    (wanted,) = torch.autograd.grad(activation(u).sum(), u)
    # Relative above 1 only: the square has slopes of 2000.
    torch.testing.assert_close(activation.derivative(u).detach(), wanted, rtol=1e-14, atol=1e-14)
    assert torch.isfinite(wanted).all()


@pytest.mark.parametrize("name", FORMULAS)
@example(u=-1.5)
@given(u=st.floats(-1e3, 1e3))
def test_a_derivative_is_that_of_central_differences(name, u):
    h = 1e-5 * max(abs(u), 0.01)
    assume(all(abs(u - kink) > 100 * h for kink in (0, *KINKS.get(name, ()))))
    activation = activation_of(name)
    low, high = activation(torch.tensor([u - h, u + h], dtype=torch.float64)).tolist()
    slope = activation.derivative(torch.tensor(u, dtype=torch.float64)).item()
    assert slope == pytest.approx((high - low) / (2 * h), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_stay_and_nothing_is_nan(name, dtype):
    activation = get_activation(name)
    if activation.module is not None:
        activation.module.to(dtype)
    for u in (torch.tensor(0.5, dtype=dtype), wide_range().to(dtype)[:2000].reshape(2, 5, 200)):
        for result in (activation(u), activation.derivative(u)):
            assert (result.shape, result.dtype) == (u.shape, dtype)
            assert torch.isfinite(result).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_a_second_derivative_is_finite(name):
    activation, u = activation_of(name), wide_range().requires_grad_()
    slope = activation.derivative(u)
    if slope.requires_grad:
        (second,) = torch.autograd.grad(slope.sum(), u, allow_unused=True, materialize_grads=True)
        assert torch.isfinite(second).all()


def test_a_value_is_never_the_input_itself():
    u = torch.ones(3)
    for name in FORMULAS:
        get_activation(name)(u).detach().zero_()
    assert u.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", FORMULAS)
def test_bounds_hold_every_value_and_are_approached(name):
    activation = activation_of(name)
    # Around its minimum, to which thousands of numbers are mapped, swish comes by rounding below it.
    beta = float(name[6:-1]) if name.startswith("swish(") else 1.0
    minimum = (-1.278464542761074 + torch.linspace(-1e-7, 1e-7, 20001, dtype=torch.float64)) / beta
    values = activation(torch.cat([wide_range(), minimum])).detach()
    low, high = activation.bounds
    assert low <= values.min()
    assert values.max() <= high
    reached_low, reached_high = REACHED.get(name, (max(low, -1000.0), min(high, 1000.0)))
    assert float(values.min()) == pytest.approx(reached_low, rel=1e-13, abs=1e-300)
    assert float(values.max()) == pytest.approx(reached_high, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        *((name, (-1, 1)) for name in ("tanh", "hard_tanh", "softsign")),
        *((name, (0, 1)) for name in ("sigmoid", "retanh")),
        *((name, (0, INF)) for name in ("relu", "softplus", "power_law", "power_law(3)", "leaky_relu(0)")),
        *((name, (-INF, INF)) for name in ("identity", "leaky_relu", "bent_identity", "parametric_relu")),
        *(("elu", (-1, INF)), ("elu(0.5)", (-0.5, INF))),
    ],
)
def test_bounds_are_the_tightest(name, bounds):
    activation = get_activation(name)
    assert activation.bounds == bounds
    assert activation.is_bounded == (INF not in bounds)
    assert activation.is_nonnegative == (bounds[0] == 0)


@pytest.mark.parametrize("beta", [0.1, 1, 3.0, 1e3])
def test_swish_has_its_minimum_where_its_derivative_is_zero(beta):
    swish = get_activation(f"swish({beta})")
    lowest = torch.tensor(-1.2784645427610738 / beta, dtype=torch.float64)
    assert abs(float(swish.derivative(lowest))) < 1e-15
    assert float(swish(lowest)) * beta == pytest.approx(-0.27846454276107379, rel=1e-15)
    assert swish.bounds == (pytest.approx(float(swish(lowest)), rel=2e-15), INF)


@given(u=st.floats(-300, 300))
def test_the_slope_of_tanh_is_four_times_that_of_sigmoid_at_twice_the_place(u):
    u = torch.tensor(u, dtype=torch.float64)
    tanh, sigmoid = ACTIVATIONS["tanh"], ACTIVATIONS["sigmoid"]
    assert float(tanh.derivative(u)) == pytest.approx(4 * float(sigmoid.derivative(2 * u)), abs=1e-15)


def test_a_name_or_a_known_function_is_the_registered_activation():
    assert get_activation("tanh") is ACTIVATIONS["tanh"]
    assert get_activation(torch.tanh).name == "tanh"
    assert get_activation(torch.nn.functional.silu) is ACTIVATIONS["swish"]
    assert get_activation(ACTIVATIONS["relu"]) is ACTIVATIONS["relu"]
    assert ACTIVATIONS["relu"].module is None


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("power_law(1.5)", "power_law(1.5)"),
        ("power_law(2)", "power_law"),
        (" power_law ( 2.0 ) ", "power_law"),
        ("power_law(3.0)", "power_law(3)"),
        ("leaky_relu(1e-2)", "leaky_relu"),
        ("leaky_relu(-0.0)", "leaky_relu(0)"),
        ("leaky_relu(0.30000000000000004)", "leaky_relu(0.30000000000000004)"),
        ("elu(.5)", "elu(0.5)"),
        ("swish(2)", "swish(2)"),
        ("swish(1e-30)", "swish(1e-30)"),
    ],
)
def test_a_parameter_in_the_name_has_one_spelling_that_rebuilds_it(written, canonical):
    activation = get_activation(written)
    assert activation.name == canonical
    assert get_activation(activation.name) is activation
    assert get_activation(activation) is activation
    assert (activation is ACTIVATIONS.get(canonical)) == ("(" not in canonical)


@given(family=st.sampled_from(["power_law", "elu", "swish"]), parameter=st.floats(1, 1e300))
def test_every_parameter_comes_back_from_its_name(family, parameter):
    activation = get_activation(f"{family}({parameter!r})")
    again = get_activation(activation.name)
    assert again == activation
    assert activation.name in (
        family,
        f"{family}({parameter!r})",
        f"{family}({parameter!r})".replace(".0)", ")"),
    )


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("way", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])  # noqa: S301
def test_a_copy_computes_the_same(name, way):
    activation, u = get_activation(name), torch.linspace(-3, 3, 13)
    twin = way(activation)
    assert (twin == activation) == (activation.module is None)
    torch.testing.assert_close(twin(u), activation(u), rtol=0, atol=0)
    torch.testing.assert_close(twin.derivative(u), activation.derivative(u), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "power_law(0.5)",
            "activation 'power_law' needs an exponent of at least 1, below which the slope at 0 is infinite, "
            "got 'power_law(0.5)': write it as 'power_law(2)'",
        ),
        (
            "leaky_relu(1)",
            "activation 'leaky_relu' needs a slope of at least 0 and below 1, got 'leaky_relu(1)': write it "
            "as 'leaky_relu(0.01)'",
        ),
        (
            "leaky_relu(-0.1)",
            "activation 'leaky_relu' needs a slope of at least 0 and below 1, got 'leaky_relu(-0.1)': write "
            "it as 'leaky_relu(0.01)'",
        ),
        ("elu(0)", "activation 'elu' needs an alpha above 0, got 'elu(0)': write it as 'elu(1)'"),
        ("swish(-1)", "activation 'swish' needs a beta above 0, got 'swish(-1)': write it as 'swish(1)'"),
        ("swish(inf)", "activation 'swish' needs a beta above 0, got 'swish(inf)': write it as 'swish(1)'"),
        ("elu(nan)", "activation 'elu' needs an alpha above 0, got 'elu(nan)': write it as 'elu(1)'"),
        ("elu(big)", "activation 'elu' needs an alpha above 0, got 'elu(big)': write it as 'elu(1)'"),
        ("elu()", "activation 'elu' needs an alpha above 0, got 'elu()': write it as 'elu(1)'"),
        ("elu(1, 2)", "activation 'elu' needs an alpha above 0, got 'elu(1, 2)': write it as 'elu(1)'"),
        ("tanh(2)", "activation 'tanh' takes no parameter, got 'tanh(2)': write 'tanh'"),
        (
            "parametric_relu(0.1)",
            "activation 'parametric_relu' takes no parameter, got 'parametric_relu(0.1)': write "
            "'parametric_relu'",
        ),
    ],
)
def test_a_parameter_out_of_range_or_place_is_refused(name, sentence):
    with pytest.raises(InputError) as raised:
        get_activation(name)
    assert str(raised.value) == sentence


def test_every_parametric_relu_has_a_slope_of_its_own_to_train():
    first, second = get_activation("parametric_relu"), get_activation("parametric_relu")
    modules = [first.module, second.module, ACTIVATIONS["parametric_relu"].module]
    assert len({id(module) for module in modules}) == 3
    assert get_activation(ACTIVATIONS["parametric_relu"]).module not in modules
    assert get_activation(ACTIVATIONS["parametric_relu"].function).module not in modules
    # An activation that a caller holds is the caller's to share.
    assert get_activation(first) is first
    u = torch.tensor([-2.0, 3.0])
    first(u).sum().backward()
    assert first.module.weight.grad.tolist() == [-2]
    assert second.module.weight.grad is None
    assert isinstance(first.module, torch.nn.PReLU)
    with torch.no_grad():
        first.module.weight.fill_(0.5)
    assert (first(u).tolist(), first.derivative(u).tolist()) == ([-1, 3], [0.5, 1])
    assert second(u).tolist() == [-0.5, 3]


def test_a_copied_parametric_relu_takes_its_slope_along_and_trains_it_alone():
    activation, u = get_activation("parametric_relu"), torch.tensor([-2.0])
    twin = copy.deepcopy(activation)
    with torch.no_grad():
        twin.module.weight.fill_(0.5)
    assert (twin(u).item(), twin.derivative(u).item()) == (-1, 0.5)
    assert (activation(u).item(), activation.derivative(u).item()) == (-0.5, 0.25)


def test_a_module_of_torch_with_one_slope_is_known_and_kept():
    module = torch.nn.PReLU(init=0.1)
    activation = get_activation(module)
    assert (activation.name, activation.module) == ("parametric_relu", module)
    assert activation.derivative(torch.tensor([-1.0])).item() == pytest.approx(0.1)
    assert get_activation(torch.nn.PReLU(3)).name == ""
    assert get_activation(torch.nn.GELU()).name == ""


def test_a_registered_module_is_copied_for_every_network(registry):
    module = torch.nn.PReLU(3)
    register_activation("slopes", module)
    found = get_activation("slopes")
    assert found.name == "slopes"
    assert isinstance(found.module, torch.nn.PReLU)
    assert found.module is not module


def test_an_unregistered_callable_has_no_name_and_a_derivative_all_the_same():
    activation = get_activation(torch.sin)
    u = torch.linspace(-3, 3, 7).double()
    assert activation == Activation("", torch.sin)
    assert activation.bounds == (-INF, INF)
    torch.testing.assert_close(activation.derivative(u), torch.cos(u))
    with torch.no_grad():
        torch.testing.assert_close(activation.derivative(u), torch.cos(u))


def test_a_registered_activation_is_found_by_its_name(registry):
    register_activation("sine", torch.sin, bounds=(-1.0, 1.0))
    assert get_activation("sine").bounds == (-1.0, 1.0)
    assert get_activation(torch.sin).name == "sine"
    register_activation("sine", torch.sin, bounds=(-1.0, 1.0))


def test_bounds_of_a_registered_activation_may_be_open_or_left_out(registry):
    register_activation("square", torch.square, bounds=[0, INF])
    register_activation("sinh", torch.sinh)
    assert get_activation("square").bounds == (0, INF)
    assert get_activation("square").is_nonnegative
    assert get_activation("sinh").bounds == (-INF, INF)
    assert not get_activation("sinh").is_bounded


@pytest.mark.parametrize(
    "bounds", [(1, 0), (1, 1), (INF, INF), (math.nan, 1), (0,), (0, 1, 2), 3, "01", ("0", "1"), (False, True)]
)
def test_bounds_that_are_no_pair_of_rising_numbers_are_refused(registry, bounds):
    with pytest.raises(InputError) as raised:
        register_activation("sine", torch.sin, bounds=bounds)
    assert str(raised.value) == (
        "the bounds of activation 'sine' must be a pair (low, high) of numbers with low < high, got "
        f"{bounds!r}: use -inf or inf where there is no bound"
    )
    assert "sine" not in registry


@pytest.mark.parametrize(
    ("name", "function", "sentence"),
    [
        ("tanh", torch.sin, "the activation name 'tanh' is taken: choose another"),
        ("elu(0.5)", torch.sin, r"the activation name 'elu\(0\.5\)' is taken: choose another"),
        ("", torch.sin, "an activation's name must be a word, got ''"),
        (3, torch.sin, "an activation's name must be a word, got 3"),
        ("total", torch.sum, "activation 'total' must return a tensor of its input's shape"),
        ("none", lambda u: None, "activation 'none' must return a tensor of its input's shape"),
    ],
)
def test_what_cannot_be_registered_is_refused(registry, name, function, sentence):
    with pytest.raises(InputError, match=sentence):
        register_activation(name, function)
    assert registry == ACTIVATIONS


def test_an_unknown_name_or_another_thing_is_refused():
    with pytest.raises(InputError, match=r"unknown activation 'ReLu6': .*did you mean 'relu'\?"):
        get_activation("ReLu6")
    with pytest.raises(InputError, match=r"unknown activation 'powerlaw\(3\)': .*did you mean 'power_law'\?"):
        get_activation("powerlaw(3)")
    with pytest.raises(InputError, match="`activation` must be a name or a callable, got NoneType"):
        get_activation(None)


def test_an_activation_with_a_parameter_has_the_networks_precision():
    net = RateRNN(2, 4, 1, activation="parametric_relu", dtype=torch.float64, seed=0)
    assert {own.dtype for own in net.parameters()} == {torch.float64}
    assert net(torch.zeros(1, 3, 2, dtype=torch.float64))[0].dtype == torch.float64
