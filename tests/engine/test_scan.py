import dataclasses

import pytest
import torch

from neurornn import InputError
from neurornn.engine import DYNAMICS, ENGINES, Feedback, Noise, Plasticity, ScanProblem, scan
from neurornn.networks import get_activation

PER_UNIT = torch.tensor([0.1, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
DOUBLE = [name for name in ENGINES if name != "numba"]
"""Engines that serve float64; the numba engine has tests of its own."""


PARTS = ("selection", "plasticity", "norm_gain", "kept_share", "feedback_weight")
SETS_OF_PARTS = [
    *((part,) for part in PARTS),
    ("selection", "plasticity"),
    ("selection", "kept_share"),
    ("norm_gain", "kept_share", "feedback_weight"),
    PARTS,
]


def make_problem(dynamics="rate", activation="tanh", alpha=0.3, noise=False, n_steps=6, parts=(), **options):
    """A problem of 3 trials, 2 inputs, 5 units and 4 outputs, with the optional parts that are named."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    if alpha == "per unit":
        alpha = PER_UNIT.clone().requires_grad_()

    problem = ScanProblem(
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

    def share(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    changes = {}
    if "selection" in parts:
        changes.update(recurrent_weight=draw(5, 2), selection=draw(2, 5))
    if "plasticity" in parts:
        # Seconds so long, and rates of both signs, that x and u are clipped at either end.
        changes["plasticity"] = Plasticity(share(5), share(5), share(5), seconds=0.8)
        state = torch.cat([problem.initial_state.detach(), share(3, 10)], 1)
        changes["initial_state"] = state.requires_grad_()
    if "norm_gain" in parts:
        changes["norm_gain"] = draw(5)
    if "kept_share" in parts:
        changes["kept_share"] = 2 * (share(3, 5) < 0.5).double()
    if "feedback_weight" in parts:
        teacher = draw(n_steps, 3, 4).detach()
        changes.update(feedback_weight=draw(5, 4), feedback=Feedback(teacher, share(n_steps, 3) < 0.5))
    return dataclasses.replace(problem, **changes)


def step_loop(p):
    """The equations of the package, one step and one term at a time."""
    f, a, n = p.activation.function, p.alpha, len(p.bias)
    state, x, u = p.initial_state[:, :n], p.initial_state[:, n : 2 * n], p.initial_state[:, 2 * n :]
    weight = p.recurrent_weight if p.selection is None else p.recurrent_weight @ p.selection
    kept = 1 if p.kept_share is None else p.kept_share
    drawn = p.materialised_noise()
    outputs, rates, states = [], [], []
    for t in range(len(p.inputs)):
        noise = drawn[t] if drawn is not None else 0
        if p.truncate and t and t % p.truncate == 0:
            state, x, u = state.detach(), x.detach(), u.detach()
        seen = kept * (f(state) if p.dynamics == "current" else state)
        drive = p.inputs[t] @ p.input_weight.T
        if p.feedback is not None:
            put_out = seen @ p.output_weight.T + p.output_bias
            forced = p.feedback.forced[t].double()[:, None]
            drive = drive + (forced * p.feedback.teacher[t] + (1 - forced) * put_out) @ p.feedback_weight.T
        if p.plasticity is not None:
            c, spent = p.plasticity, p.plasticity.seconds * seen
            x, u = (
                (x + c.recovery * (1 - x) - u * x * spent).clip(0, 1),
                (u + c.relaxation * (c.usage - u) + c.usage * (1 - u) * spent).clip(0, 1),
            )
            seen = u * x * seen
        drive = drive + seen @ weight.T
        if p.norm_gain is not None:
            centred = drive - drive.mean(1, keepdim=True)
            drive = p.norm_gain * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        drive = drive + p.bias
        if p.dynamics == "rate":
            state = (1 - a) * state + a * f(drive + noise)
        elif p.dynamics == "current":
            state = (1 - a) * state + a * drive + noise
        else:
            state = f((1 - a) * state + a * (drive + noise))
        rate = f(state) if p.dynamics == "current" else state
        states.append(state if p.plasticity is None else torch.cat([state, x, u], 1))
        rates.append(rate)
        outputs.append((kept * rate) @ p.output_weight.T + p.output_bias)
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


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("parts", SETS_OF_PARTS, ids=" ".join)
@pytest.mark.parametrize(
    ("alpha", "options"),
    [
        (1.0, {}),
        ("per unit", {"noise": True}),
        (0.3, {"noise": True, "truncate": 2}),
        ("per unit", {"noise": True, "checkpoint_every": 4}),
        (0.3, {"truncate": 4, "checkpoint_every": 3}),
    ],
)
def test_every_part_of_the_equation_is_that_of_the_step_loop(dynamics, parts, alpha, options):
    problem = make_problem(dynamics, alpha=alpha, parts=parts, **options)
    for engine in serving(problem):
        assert_same(problem, engine)


@pytest.mark.parametrize("rank", [0, 1, 7])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_a_network_may_be_of_any_rank(rank, activation):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 5, rank, generator=generator, dtype=torch.float64) / 3
    problem = dataclasses.replace(
        make_problem("rate", activation),
        recurrent_weight=weights[0].requires_grad_(),
        selection=weights[1].t().requires_grad_(),
    )
    assert serving(problem) == ["auto", "torch", "reference"]
    for engine in serving(problem):
        assert_same(problem, engine)


def test_x_and_u_are_clipped_at_either_end_in_these_tests():
    states = scan(make_problem(parts=("plasticity",))).states
    for own in states[..., 5:].split(5, dim=-1):
        assert own.min() == 0
        assert own.max() == 1


def serving(problem):
    """Return what to ask for the problem: no engine's name, and each one that serves it."""
    return ["auto", *(name for name in DOUBLE if ENGINES[name].reason_to_refuse(problem) is None)]


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("parts", SETS_OF_PARTS, ids=" ".join)
def test_gradients_of_every_part_are_central_differences(dynamics, parts):
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    problem = make_problem(dynamics, "softplus", alpha, noise=True, parts=parts)
    names = list(problem.tensors)
    for engine in serving(problem):

        def run(*values, engine=engine):
            return tuple(scan(problem.with_tensors(dict(zip(names, values, strict=True))), engine))

        tensors = list(problem.tensors.values())
        assert torch.autograd.gradcheck(run, tensors, eps=1e-6, atol=1e-5, fast_mode=True)


def test_second_derivatives_of_low_rank_and_dropout_are_right_too():
    problem = make_problem(parts=("selection", "kept_share"))
    names = list(problem.tensors)

    def run(*values):
        return scan(problem.with_tensors(dict(zip(names, values, strict=True))), "torch").outputs

    assert torch.autograd.gradgradcheck(
        run, list(problem.tensors.values()), eps=1e-6, atol=1e-4, fast_mode=True
    )


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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"selection": torch.zeros(2, 4)}, r"`selection` must have shape \(2, 5\), got \(2, 4\)"),
        ({"selection": torch.zeros(3, 5)}, r"`recurrent_weight` must have shape \(5, 3\), got \(5, 2\)"),
        ({"initial_state": torch.zeros(3, 5)}, r"`initial_state` must have shape \(3, 15\), got \(3, 5\)"),
        ({"norm_gain": torch.zeros(4)}, r"`norm_gain` must have shape \(5,\), got \(4,\)"),
        ({"kept_share": torch.zeros(5, 3)}, r"`kept_share` must have shape \(3, 5\), got \(5, 3\)"),
        ({"feedback_weight": torch.zeros(4, 5)}, r"`feedback_weight` must have shape \(5, 4\), got \(4, 5\)"),
        (
            {"feedback": Feedback(torch.zeros(6, 3, 5), torch.zeros(6, 3, dtype=torch.bool))},
            r"`teacher` must have shape \(6, 3, 4\), got \(6, 3, 5\)",
        ),
        (
            {"plasticity": Plasticity(*torch.zeros(3, 1, dtype=torch.float64), seconds=0.1)},
            r"`usage` must have shape \(5,\), got \(1,\)",
        ),
        (
            {"norm_gain": torch.zeros(5)},
            r"`norm_gain` must be torch.float64 on cpu like `inputs`, got torch.float32 on cpu",
        ),
    ],
)
def test_optional_parts_that_do_not_fit_are_refused_by_name(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        dataclasses.replace(make_problem(parts=PARTS), **changes)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("plasticity", "short-term plasticity"),
        ("norm_gain", "layer normalisation"),
        ("feedback_weight", "outputs fed back"),
    ],
)
def test_the_torch_engine_says_which_part_it_has_no_gradient_of(part, words):
    problem = make_problem(parts=("selection", part))
    with pytest.raises(InputError, match=f"cannot serve this network: it has no gradient by hand of {words}"):
        scan(problem, "torch")


def test_checkpointing_refuses_second_derivatives_in_one_sentence():
    problem = make_problem(checkpoint_every=2)
    loss = scan(problem, "torch").outputs.square().sum()
    with pytest.raises(InputError, match="keeps no graph to differentiate a second time: leave it out"):
        torch.autograd.grad(loss, problem.bias, create_graph=True)
