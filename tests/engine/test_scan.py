import dataclasses

import pytest
import torch

from neurornn import InputError
from neurornn.engine import DYNAMICS, ENGINES, Noise, ScanProblem, scan
from neurornn.networks import get_activation

PER_UNIT = torch.tensor([0.1, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
DOUBLE = [name for name in ENGINES if name != "numba"]
"""Engines that serve float64; the numba engine has tests of its own."""


def make_problem(dynamics="rate", activation="tanh", alpha=0.3, noise=False, n_steps=6, **options):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    if alpha == "per unit":
        alpha = PER_UNIT.clone().requires_grad_()

    return ScanProblem(
        inputs=draw(n_steps, 3, 2),
        initial_state=draw(3, 5),
        input_weight=draw(5, 2),
        recurrent_weight=draw(5, 5),
        bias=draw(5),
        output_weight=draw(4, 5),
        output_bias=draw(4),
        activation=get_activation(activation),
        dynamics=dynamics,
        alpha=alpha,
        noise=Noise(key=2**63 - 5, scale=0.7) if noise else None,
        **options,
    )


def step_loop(p):
    """The equations of the package, one step and one term at a time."""
    f, a, state = p.activation.function, p.alpha, p.initial_state
    drawn = p.materialised_noise()
    outputs, rates, states = [], [], []
    for t in range(len(p.inputs)):
        noise = drawn[t] if drawn is not None else 0
        if p.truncate and t and t % p.truncate == 0:
            state = state.detach()
        drive = p.inputs[t] @ p.input_weight.T + p.bias
        if p.dynamics == "rate":
            state = (1 - a) * state + a * f(state @ p.recurrent_weight.T + drive + noise)
        elif p.dynamics == "current":
            state = (1 - a) * state + a * (f(state) @ p.recurrent_weight.T + drive) + noise
        else:
            state = f((1 - a) * state + a * (state @ p.recurrent_weight.T + drive + noise))
        rate = f(state) if p.dynamics == "current" else state
        states.append(state)
        rates.append(rate)
        outputs.append(rate @ p.output_weight.T + p.output_bias)
    return torch.stack(outputs), torch.stack(rates), torch.stack(states)


@pytest.mark.parametrize("engine", ["auto", *DOUBLE])
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "sigmoid"])
@pytest.mark.parametrize(
    ("alpha", "noise"), [(1.0, False), (0.3, True), ("per unit", False), ("per unit", True)]
)
def test_a_scan_and_its_gradients_are_those_of_the_step_loop(engine, dynamics, activation, alpha, noise):
    assert_same(make_problem(dynamics, activation, alpha, noise), engine)


@pytest.mark.parametrize("engine", DOUBLE)
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("alpha", [1.0, 0.3, "per unit"])
@pytest.mark.parametrize("truncate", [1, 2, 4, 6, 9])
def test_truncation_is_a_loop_that_detaches_between_windows(engine, dynamics, alpha, truncate):
    assert_same(make_problem(dynamics, alpha=alpha, noise=True, truncate=truncate), engine)


@pytest.mark.parametrize("engine", DOUBLE)
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("truncate", [None, 2, 3])
@pytest.mark.parametrize("checkpoint_every", [1, 2, 4, 6, 9])
def test_checkpointing_changes_nothing(engine, dynamics, truncate, checkpoint_every):
    options = {"truncate": truncate, "checkpoint_every": checkpoint_every}
    assert_same(make_problem(dynamics, alpha="per unit", noise=True, **options), engine)


def assert_same(problem, engine):
    """Compare results and gradients with those of the step loop, whatever pulls on which entry."""
    found, wanted = scan(problem, engine), step_loop(problem)
    generator = torch.Generator().manual_seed(1)
    loss = {"found": 0.0, "wanted": 0.0}
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        # Every entry of all three results pulls on the gradient with a weight of its own.
        pull = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
        loss["found"] = loss["found"] + (pull * ours).sum()
        loss["wanted"] = loss["wanted"] + (pull * theirs).sum()
    tensors = problem.tensors
    ours = torch.autograd.grad(loss["found"], tensors.values())
    theirs = torch.autograd.grad(loss["wanted"], tensors.values())
    for name, one, other in zip(tensors, ours, theirs, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-10, atol=1e-11, msg=lambda text, name=name: name + text
        )


@pytest.mark.parametrize("engine", DOUBLE)
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_scan_of_no_steps_is_empty(engine, dynamics):
    outputs, rates, states = scan(make_problem(dynamics, n_steps=0), engine)
    assert (outputs.shape, rates.shape, states.shape) == ((0, 3, 4), (0, 3, 5), (0, 3, 5))


@pytest.mark.parametrize("engine", DOUBLE)
def test_a_result_is_not_overwritten_by_a_later_scan(engine):
    problem = make_problem()
    first = scan(problem, engine)
    kept = [array.clone() for array in first]
    scan(dataclasses.replace(problem, inputs=2 * problem.inputs), engine)
    for array, copy in zip(first, kept, strict=True):
        assert torch.equal(array, copy)


def test_for_rate_dynamics_rates_are_the_states():
    result = scan(make_problem("rate"))
    assert torch.equal(result.rates, result.states)


def test_an_engine_that_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"unknown engine 'referense': .*did you mean 'reference'\?"):
        scan(make_problem(), "referense")
    with pytest.raises(InputError, match=r"unknown engine 'cuda': expected one of 'auto'"):
        scan(make_problem(), "cuda")


def test_a_forced_engine_that_cannot_serve_says_why_and_auto_passes_it_by(monkeypatch):
    class Picky:
        name = "picky"

        def reason_to_refuse(self, problem):
            return "it serves float32 only"

        def scan(self, problem):
            pytest.fail("a refused problem was run")

    monkeypatch.setattr("neurornn.engine.choice.ENGINES", {"picky": Picky(), **ENGINES})
    with pytest.raises(
        InputError,
        match=r"engine 'picky' cannot serve this network: it serves float32 only; use engine='auto'",
    ):
        scan(make_problem(), "picky")
    assert scan(make_problem(), "auto").outputs.shape == (6, 3, 4)


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("inputs", torch.zeros(3, 2), r"`inputs` must be \(time, trial, input_channel\), got \(3, 2\)"),
        ("initial_state", torch.zeros(2, 5), r"`initial_state` must have shape \(3, 5\), got \(2, 5\)"),
        ("input_weight", torch.zeros(2, 5), r"`input_weight` must have shape \(5, 2\), got \(2, 5\)"),
        ("recurrent_weight", torch.zeros(5), r"`recurrent_weight` must have shape \(5, 5\), got \(5,\)"),
        ("bias", torch.zeros(5, 1), r"`bias` must have shape \(5,\), got \(5, 1\)"),
        ("output_weight", torch.zeros(4, 6), r"`output_weight` must have shape \(4, 5\), got \(4, 6\)"),
        ("output_bias", torch.zeros(1, 4), r"`output_bias` must have shape \(4,\), got \(1, 4\)"),
        (
            "bias",
            torch.zeros(5),
            r"`bias` must be torch.float64 on cpu like `inputs`, got torch.float32 on cpu",
        ),
        (
            "output_bias",
            torch.zeros(4, dtype=torch.float64, device="meta"),
            r"like `inputs`, got torch.float64 on meta",
        ),
        ("alpha", torch.ones(4), r"`alpha` must be one number or have shape \(5,\), got \(4,\)"),
        ("alpha", 0.0, r"`alpha` must be above 0 and at most 1, got 0\.0"),
        ("alpha", 1.5, r"`alpha` must be above 0 and at most 1, got 1\.5"),
        ("alpha", float("nan"), r"`alpha` must be above 0 and at most 1, got nan"),
        (
            "alpha",
            torch.tensor([0.5, 0.5, 1.5, 0.5, 0.5]),
            r"`alpha` must be above 0 and at most 1, got 1\.5",
        ),
        ("alpha", torch.tensor(0.0), r"`alpha` must be above 0 and at most 1, got 0\.0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(name, tensor, sentence):
    with pytest.raises(InputError, match=sentence):
        dataclasses.replace(make_problem(), **{name: tensor})


def test_checkpointing_refuses_second_derivatives_in_one_sentence():
    problem = make_problem(checkpoint_every=2)
    loss = scan(problem, "torch").outputs.square().sum()
    with pytest.raises(InputError, match="keeps no graph to differentiate a second time: leave it out"):
        torch.autograd.grad(loss, problem.bias, create_graph=True)
