"""Gradients by hand where they differ from autograd's loop: what is kept, shared, refused and passed on."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import RateRNN
from neurornn.engine import DYNAMICS, ENGINES, Noise, ScanProblem, scan
from neurornn.networks import get_activation


def make_problem(
    dynamics="rate", activation="tanh", alpha=0.3, sizes=(4, 3, 2, 5, 2), dtype=torch.float64, seed=0
):
    """A problem of (time, trial, input, unit, output) sizes whose every tensor needs a gradient."""
    n_steps, n_trials, n_inputs, n_units, n_outputs = sizes
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, spread=1.0):
        values = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.to(dtype).requires_grad_()

    return ScanProblem(
        inputs=draw(n_steps, n_trials, n_inputs),
        initial_state=draw(n_trials, n_units),
        input_weight=draw(n_units, n_inputs),
        recurrent_weight=draw(n_units, n_units, spread=n_units**-0.5),
        bias=draw(n_units),
        output_weight=draw(n_outputs, n_units, spread=n_units**-0.5),
        output_bias=draw(n_outputs),
        activation=get_activation(activation),
        dynamics=dynamics,
        alpha=alpha,
    )


def tensors(problem):
    return list(problem.tensors.values())


def gradients(problem, engine, loss=lambda result: result.outputs.square().sum()):
    return torch.autograd.grad(loss(scan(problem, engine)), tensors(problem), allow_unused=True)


def assert_same(ours, theirs, **tolerance):
    for name, one, other in zip(NAMES, ours, theirs, strict=True):
        if one is None or other is None:
            # A gradient that is nothing and one that is zero say the same.
            assert all(own is None or not own.any() for own in (one, other)), name
        else:
            torch.testing.assert_close(one, other, **tolerance, msg=lambda text, name=name: name + text)


NAMES = list(make_problem().tensors)
EXACT = {"rtol": 1e-10, "atol": 1e-11}
"""float64 after a few steps: sums in another order, nothing else."""

LOSSES = {
    "outputs": lambda result: result.outputs.square().sum(),
    "rates": lambda result: result.rates.pow(3).sum(),
    "states": lambda result: result.states.pow(3).sum(),
    "outputs and rates": lambda result: result.outputs.square().sum() + result.rates.pow(3).sum(),
    "last output": lambda result: result.outputs[-1].square().sum(),
    "a plain sum": lambda result: result.rates.sum() + result.outputs.sum(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_gradients_are_those_of_autograd_whatever_carries_them(loss, dynamics, alpha):
    problem = make_problem(dynamics, alpha=alpha)
    assert_same(gradients(problem, "torch", loss), gradients(problem, "reference", loss), **EXACT)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_any_elementwise_function_serves(dynamics, alpha):
    problem = make_problem(dynamics, lambda u: torch.sin(u) + 0.1 * u, alpha)
    assert_same(gradients(problem, "torch"), gradients(problem, "reference"), **EXACT)


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("alpha", [1.0, 0.3, "per unit"])
def test_gradients_are_central_differences(engine, dynamics, alpha):
    base = make_problem(dynamics, "softplus", 1.0)
    if alpha == "per unit":
        alpha = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.95], dtype=torch.float64, requires_grad=True)
    problem = dataclasses.replace(base, alpha=alpha, noise=Noise(key=7, scale=0.5))
    weight = torch.linspace(0, 5, 4 * 3 * 2, dtype=torch.float64).reshape(4, 3, 2)
    names = list(problem.tensors)

    def run(*values):
        result = scan(problem.with_tensors(dict(zip(names, values, strict=True))), engine)
        # The loss of the package too: weights after squaring, over what is not masked.
        return *result, (weight * (result.outputs - 0.3).square()).sum() / (weight > 0).sum()

    assert torch.autograd.gradcheck(run, tensors(problem), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_second_derivatives_are_right_too(dynamics):
    problem = make_problem(dynamics, "tanh", sizes=(3, 2, 1, 3, 1))

    def run(*values):
        return scan(problem.with_tensors(dict(zip(NAMES, values, strict=True))), "torch").outputs

    assert torch.autograd.gradgradcheck(run, tensors(problem), eps=1e-6, atol=1e-5)


def test_second_derivatives_count_shared_tensors_once():
    # The input weight is made of the recurrent one: its gradient must not be counted along both ways.
    def second(engine):
        base = make_problem(sizes=(3, 2, 5, 5, 2))
        weight = base.recurrent_weight
        problem = dataclasses.replace(base, input_weight=weight.square())
        loss = scan(problem, engine).outputs.square().sum()
        (first,) = torch.autograd.grad(loss, weight, create_graph=True)
        return torch.autograd.grad(first.square().sum(), weight)[0]

    torch.testing.assert_close(second("torch"), second("reference"), **EXACT)


def test_torch_func_transforms_run_on_the_reference_engine():
    problem = make_problem()

    def loss(weight, engine):
        return scan(dataclasses.replace(problem, recurrent_weight=weight), engine).outputs.square().sum()

    weight = problem.recurrent_weight.detach()
    expected = gradients(problem, "reference")[3]
    torch.testing.assert_close(torch.func.grad(loss)(weight, "auto"), expected, **EXACT)
    several = torch.stack([weight, 2 * weight])
    found = torch.func.vmap(lambda own: loss(own, "auto"))(several)
    torch.testing.assert_close(found, torch.stack([loss(own, "torch") for own in several]).detach(), **EXACT)
    with pytest.raises(ValueError, match=r"cannot serve this network: torch\.func transforms the scan"):
        torch.func.grad(loss)(weight, "torch")


def test_an_activation_with_parameters_of_its_own_runs_on_the_reference_engine():
    slope = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    problem = make_problem(activation=lambda u: torch.where(u > 0, u, slope * u))
    (found,) = torch.autograd.grad(scan(problem, "auto").outputs.sum(), slope)
    (wanted,) = torch.autograd.grad(scan(problem, "reference").outputs.sum(), slope)
    assert found == wanted
    assert found != 0
    with pytest.raises(ValueError, match="the activation has trainable parameters of its own"):
        scan(problem, "torch")


def test_softplus_is_exact_where_torch_makes_it_linear():
    problem = make_problem("rate", "softplus")
    high = dataclasses.replace(problem, bias=(problem.bias + 25).detach().requires_grad_())
    assert_same(gradients(high, "torch"), gradients(high, "reference"), rtol=1e-13, atol=1e-12)


def test_a_graph_can_be_gone_through_twice():
    problem = make_problem()
    loss = LOSSES["outputs and rates"](scan(problem, "torch"))
    first = torch.autograd.grad(loss, tensors(problem), retain_graph=True)
    second = torch.autograd.grad(loss, tensors(problem))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_two_graphs_live_side_by_side():
    one, other = make_problem(seed=1), make_problem(seed=2)
    losses = [scan(problem, "torch").outputs.square().sum() for problem in (one, other)]
    late = [torch.autograd.grad(loss, tensors(p)) for loss, p in zip(losses, (one, other), strict=True)]
    for problem, found in zip((one, other), late, strict=True):
        assert_same(found, gradients(problem, "torch"), rtol=0, atol=0)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_what_arrives_is_never_written_to(dynamics):
    problem = make_problem(dynamics)
    result = scan(problem, "torch")
    arriving = [torch.randn_like(array) for array in result]
    kept = [array.clone() for array in arriving]
    # For rate dynamics the third result is the second one.
    distinct = 3 if dynamics == "current" else 2
    torch.autograd.grad(list(result)[:distinct], tensors(problem), arriving[:distinct])
    for array, copy in zip(arriving, kept, strict=True):
        assert torch.equal(array, copy)


def test_changing_a_result_in_place_is_noticed():
    problem = make_problem()
    result = scan(problem, "torch")
    loss = result.outputs.square().sum()
    with torch.no_grad():
        result.rates.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("needing", NAMES)
def test_only_what_needs_a_gradient_gets_one(needing):
    base = make_problem()
    frozen = {name: getattr(base, name).detach() for name in NAMES if name != needing}
    problem = dataclasses.replace(base, **frozen)
    loss = scan(problem, "torch").outputs.square().sum()
    (found,) = torch.autograd.grad(loss, getattr(problem, needing))
    torch.testing.assert_close(found, gradients(base, "reference")[NAMES.index(needing)], **EXACT)


def test_without_gradients_nothing_is_recorded():
    problem = make_problem()
    with torch.no_grad():
        assert not scan(problem, "torch").outputs.requires_grad
    assert scan(problem, "torch").outputs.requires_grad


@settings(max_examples=40)
@given(
    sizes=st.tuples(
        st.integers(1, 12), st.integers(1, 9), st.integers(0, 5), st.integers(1, 37), st.integers(0, 5)
    ),
    dynamics=st.sampled_from(DYNAMICS),
    activation=st.sampled_from(["tanh", "relu", "softplus", "sigmoid"]),
    alpha=st.sampled_from([1.0, 0.7, 0.05]),
    seed=st.integers(0, 2**31),
)
def test_in_float32_every_engine_agrees_with_float64(sizes, dynamics, activation, alpha, seed):
    problem = make_problem(dynamics, activation, alpha, sizes, torch.float32, seed)
    truth = problem.with_tensors(
        {name: own.detach().double().requires_grad_() for name, own in problem.tensors.items()}
    )
    loss = LOSSES["outputs and rates"]
    exact, wanted = scan(truth, "reference"), gradients(truth, "reference", loss)
    for name, engine in ENGINES.items():
        if engine.reason_to_refuse(problem) is not None:
            continue
        pairs = [*zip(scan(problem, name), exact, strict=True)]
        pairs += zip(gradients(problem, name, loss), wanted, strict=True)
        for found, right in pairs:
            if found is None or right is None:
                assert all(own is None or not own.any() for own in (found, right))
            else:
                # Of the whole array: single entries may be small differences of large numbers.
                assert (found.double() - right).norm().item() <= 1e-4 * (right.norm().item() + 1e-3)


def test_a_network_learns_alike_on_both_engines():
    trained = []
    for engine in ("torch", "reference"):
        network = RateRNN(2, 20, 1, tau=100.0, dt=20.0, engine=engine, seed=0, dtype=torch.float64)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        inputs = torch.randn(8, 30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(20):
            optimizer.zero_grad()
            (network(inputs)[0] - inputs[..., :1].cumsum(1)).square().mean().backward()
            optimizer.step()
        trained.append(network.recurrent_weight.detach())
    # Adam divides small gradients by small numbers, which magnifies rounding.
    torch.testing.assert_close(*trained, rtol=0, atol=1e-8)
