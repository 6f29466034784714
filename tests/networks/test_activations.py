import pytest
import torch

from neurornn import InputError, register_activation
from neurornn.networks import ACTIVATIONS, get_activation

SHIPPED = ("tanh", "relu", "softplus", "sigmoid")


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    copied = dict(ACTIVATIONS)
    monkeypatch.setattr("neurornn.networks.activations.ACTIVATIONS", copied)
    return copied


@pytest.mark.parametrize("name", SHIPPED)
def test_a_derivative_is_that_of_automatic_differentiation(name):
    u = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([0.003, 19.99, 20.0, 20.01])]).double()
    u = u[u != 0] if name == "relu" else u
    (wanted,) = torch.autograd.grad(ACTIVATIONS[name](u.requires_grad_()).sum(), u)
    torch.testing.assert_close(ACTIVATIONS[name].derivative(u.detach()), wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", SHIPPED)
def test_bounds_hold_every_value_and_are_reached(name):
    values = ACTIVATIONS[name](torch.linspace(-1e3, 1e3, 1001).double())
    bounds = ACTIVATIONS[name].bounds
    if bounds is None:
        assert values.max() == 1e3
    else:
        assert (float(values.min()), float(values.max())) == bounds


def test_a_name_or_a_known_function_is_the_registered_activation():
    assert get_activation("tanh") is ACTIVATIONS["tanh"]
    assert get_activation(torch.tanh).name == "tanh"
    assert get_activation(ACTIVATIONS["relu"]) is ACTIVATIONS["relu"]


def test_an_unregistered_callable_has_no_name_and_a_derivative_all_the_same():
    activation = get_activation(torch.sin)
    u = torch.linspace(-3, 3, 7).double()
    assert activation.name == ""
    torch.testing.assert_close(activation.derivative(u), torch.cos(u))
    with torch.no_grad():
        torch.testing.assert_close(activation.derivative(u), torch.cos(u))


def test_a_registered_activation_is_found_by_its_name(registry):
    register_activation("sine", torch.sin, bounds=(-1.0, 1.0))
    assert get_activation("sine").bounds == (-1.0, 1.0)
    assert get_activation(torch.sin).name == "sine"
    register_activation("sine", torch.sin, bounds=(-1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "function", "sentence"),
    [
        ("tanh", torch.sin, "the activation name 'tanh' is taken: choose another"),
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
    with pytest.raises(InputError, match="`activation` must be a name or a callable, got NoneType"):
        get_activation(None)
