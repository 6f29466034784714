"""The numba engine against the reference engine in float64, at every size, form and way of use."""

import dataclasses
import itertools
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurornn import InputError, RateRNN, train
from neurornn.engine import ENGINES, Feedback, Noise, Plasticity, ScanProblem, fused, scan
from neurornn.networks import get_activation
from neurornn.numerics.threads import intra_op_threads

ACTIVATIONS = ["tanh", "relu", "softplus", "sigmoid"]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
"""What the engines must agree within in float32; rounding grows with the steps and units that are summed."""


def make_problem(
    dynamics="rate",
    activation="tanh",
    alpha=0.3,
    sizes=(7, 5, 3, 21, 2),
    noise=True,
    seed=0,
    rank=None,
    plastic=False,
    **options,
):
    """A problem of (time, trial, input, unit, output) sizes whose every tensor needs a gradient."""
    n_steps, n_trials, n_inputs, n_units, n_outputs = sizes
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, spread=1.0):
        return (spread * torch.randn(shape, generator=generator)).requires_grad_()

    if alpha == "per unit":
        alpha = 0.05 + 0.95 * torch.rand(n_units, generator=generator)
    problem = ScanProblem(
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
        noise=Noise(key=seed, scale=0.3) if noise else None,
        **options,
    )
    changes = {}
    if rank is not None:
        changes["recurrent_weight"] = draw(n_units, rank)
        changes["selection"] = draw(rank, n_units, spread=1 / (n_units * max(rank, 1)) ** 0.5)
    if plastic:
        # Seconds so long, and rates of both signs, that x and u are clipped at either end.
        constants = 0.05 + 0.5 * torch.rand(3, n_units, generator=generator)
        synapses = torch.rand(n_trials, 2 * n_units, generator=generator)
        changes["plasticity"] = Plasticity(*constants, seconds=0.4)
        changes["initial_state"] = torch.cat([problem.initial_state.detach(), synapses], 1).requires_grad_()
    return dataclasses.replace(problem, **changes)


def in_double(problem):
    """Return the same problem in float64, on leaves of its own."""
    tensors = {
        name: own.detach().double().requires_grad_(own.requires_grad) for name, own in problem.tensors.items()
    }
    plasticity = problem.plasticity
    if plasticity is not None:
        constants = {name: getattr(plasticity, name).double() for name in ("usage", "recovery", "relaxation")}
        plasticity = dataclasses.replace(plasticity, **constants)
    return dataclasses.replace(problem, **tensors, plasticity=plasticity)


def pulls(result, which=("outputs", "rates", "states")):
    """Return a sum in which every entry of some results has a weight of its own."""
    generator = torch.Generator().manual_seed(9)
    total = 0.0
    for name in which:
        array = getattr(result, name)
        weight = torch.randn(array.shape, generator=generator, dtype=torch.float64).to(array.dtype)
        total = total + (weight * array).sum()
    # Gradients of the size of one, whatever the number of entries.
    return total / math.sqrt(sum(getattr(result, name).numel() for name in which) or 1)


def gradients(problem, result, **options):
    asked = {name: own for name, own in problem.tensors.items() if own.requires_grad}
    found = torch.autograd.grad(pulls(result, **options), asked.values(), allow_unused=True)
    return dict(zip(asked, found, strict=True))


def assert_same(problem, **options):
    truth = in_double(problem)
    found, wanted = scan(problem, "numba"), scan(truth, "reference")
    for name in ("outputs", "rates", "states"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one.double(), other, **TOLERANCE)
    theirs = gradients(truth, wanted, **options)
    for name, one in gradients(problem, found, **options).items():
        other = theirs[name]
        if one is None or other is None:
            assert all(own is None or not own.any() for own in (one, other)), name
        else:
            torch.testing.assert_close(
                one.double(), other, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}"
            )


sizes = st.tuples(
    st.integers(1, 40), st.integers(1, 21), st.integers(0, 20), st.integers(1, 70), st.integers(0, 18)
)


@settings(max_examples=120)
@given(
    sizes=sizes,
    dynamics=st.sampled_from(["rate", "current"]),
    activation=st.sampled_from(ACTIVATIONS),
    alpha=st.sampled_from([1.0, 0.3, "per unit"]),
    noise=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example((3, 300, 2, 5, 1), "rate", "tanh", 0.3, True, 0)
@example((70, 3, 2, 5, 1), "current", "tanh", 0.3, True, 0)
@example((2, 9, 85, 33, 33), "rate", "softplus", 0.3, True, 0)
def test_results_and_gradients_agree_at_every_size(sizes, dynamics, activation, alpha, noise, seed):
    assert_same(make_problem(dynamics, activation, alpha, sizes, noise, seed))


@settings(max_examples=60)
@given(
    sizes=sizes,
    dynamics=st.sampled_from(["rate", "current"]),
    rank=st.integers(0, 70),
    window=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@example((70, 3, 2, 5, 1), "current", 2, 50, 0)
@example((3, 300, 2, 33, 1), "rate", 4, 50, 0)
def test_low_rank_agrees_at_every_size(sizes, dynamics, rank, window, seed):
    assert_same(make_problem(dynamics, sizes=sizes, rank=rank, truncate=window, seed=seed))


PLASTIC = {
    "rate": {"dynamics": "rate", "activation": "relu", "alpha": 0.3, "plastic": True},
    "current": {"dynamics": "current", "activation": "tanh", "alpha": "per unit", "plastic": True},
    "no leak": {"dynamics": "rate", "activation": "tanh", "alpha": 1.0, "noise": False, "plastic": True},
}
"""Few forms, since each takes seconds to compile."""


@settings(max_examples=60)
@given(
    sizes=sizes,
    form=st.sampled_from(list(PLASTIC)),
    rank=st.none() | st.integers(0, 9),
    window=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@example((70, 3, 2, 5, 1), "current", None, 50, 0)
@example((3, 300, 2, 33, 1), "rate", 3, 50, 0)
def test_plastic_synapses_agree_at_every_size(sizes, form, rank, window, seed):
    assert_same(make_problem(**PLASTIC[form], sizes=sizes, rank=rank, truncate=window, seed=seed))


PARTS = {
    "low rank": {"dynamics": "rate", "rank": 3},
    "low rank, current": {"dynamics": "current", "rank": 3},
    "plastic": PLASTIC["rate"],
    "plastic, current": PLASTIC["current"],
    "plastic, low rank": {**PLASTIC["rate"], "rank": 3},
}
each_part = pytest.mark.parametrize("options", PARTS.values(), ids=list(PARTS))


@each_part
@pytest.mark.parametrize("which", [("outputs",), ("rates",), ("states",), ("outputs", "states")])
def test_gradients_of_every_part_are_right_whatever_carries_them(options, which):
    assert_same(make_problem(**options), which=which)


@each_part
@pytest.mark.parametrize(("truncate", "checkpoint_every"), [(1, None), (3, None), (None, 4), (3, 4), (2, 1)])
def test_windows_and_segments_of_every_part(options, truncate, checkpoint_every):
    cut = {"truncate": truncate, "checkpoint_every": checkpoint_every}
    assert_same(make_problem(**options, sizes=(41, 9, 3, 21, 2), **cut))


@each_part
def test_every_tensor_of_every_part_can_be_the_only_one_with_a_gradient(options):
    base = make_problem(**options)
    for needing in [name for name, own in base.tensors.items() if own.requires_grad]:
        frozen = {name: own.detach() for name, own in base.tensors.items() if name != needing}
        assert_same(base.with_tensors(frozen), which=("outputs",))


@each_part
def test_without_gradient_every_part_gives_the_same_bits(options):
    problem = make_problem(**options)
    whole = scan(problem, "numba")
    for wants in itertools.product([False, True], repeat=2):
        with torch.no_grad():
            bare = scan(dataclasses.replace(problem, wants_rates=wants[0], wants_states=wants[1]), "numba")
        assert torch.equal(bare.outputs, whole.outputs)
        assert bare.rates is None or torch.equal(bare.rates, whole.rates)
        assert bare.states is None or torch.equal(bare.states, whole.states)


@each_part
def test_any_number_of_threads_gives_the_same_bits_of_every_part(options):
    problem = make_problem(**options, sizes=(20, 150, 3, 40, 2))
    found = []
    for count in (1, 2, 4):
        with intra_op_threads(count):
            result = scan(problem, "numba")
            found.append([*result, *gradients(problem, result).values()])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_a_gradient_passes_synapses_that_rest_at_their_bound():
    base = make_problem(**PLASTIC["rate"])
    # Units that are silent at first: x stays exactly 1 until the rate rises.
    rest = torch.cat([torch.zeros(5, 21), torch.ones(5, 21), base.plasticity.usage.expand(5, 21)], 1)
    problem = dataclasses.replace(base, initial_state=rest.requires_grad_())
    assert (scan(problem, "numba").states[2, :, 21:42] == 1).any()
    assert_same(problem)


def test_of_every_part_only_a_gradient_to_come_keeps_the_activity():
    problem = make_problem(**PARTS["plastic, low rank"], sizes=(50, 5, 3, 21, 2))
    engine = ENGINES["numba"]
    with torch.no_grad():
        _, kept = engine.forward(problem, keep=True)
        bare = dataclasses.replace(problem, wants_rates=False, wants_states=False)
        _, dropped = engine.forward(bare, keep=False)
    # Rates, what the slope is told, what was selected, and x, u and what they let through.
    assert [len(own) for own in kept[2:]] == [50, 50, 50, 51]
    assert [len(own) for own in dropped[2:]] == [2, 1, 1, 2]


@pytest.mark.parametrize("dynamics", ["rate", "current"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("which", [("outputs",), ("rates",), ("states",), ("outputs", "states")])
def test_gradients_are_right_whatever_carries_them(dynamics, alpha, which):
    assert_same(make_problem(dynamics, alpha=alpha), which=which)


@pytest.mark.parametrize("dynamics", ["rate", "current"])
@pytest.mark.parametrize(
    ("truncate", "checkpoint_every"), [(1, None), (3, None), (50, None), (None, 4), (3, 4), (2, 1)]
)
def test_windows_and_segments(dynamics, truncate, checkpoint_every):
    assert_same(
        make_problem(dynamics, sizes=(41, 9, 3, 21, 2), truncate=truncate, checkpoint_every=checkpoint_every)
    )


@pytest.mark.parametrize("needing", list(make_problem().tensors)[:-1])
def test_only_what_needs_a_gradient_gets_one(needing):
    base = make_problem("current")
    problem = base.with_tensors({name: own.detach() for name, own in base.tensors.items() if name != needing})
    assert_same(problem, which=("outputs",))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_slopes_over_all_of_float32(activation):
    # Without recurrence a rate is f(u) and the gradient of u is f'(u).
    points = torch.cat(
        [torch.linspace(-120, 120, 4001), torch.linspace(-1, 1, 2001), torch.logspace(-30, 30, 301)]
    )
    inputs = torch.cat([points, -points]).requires_grad_()
    problem = ScanProblem(
        inputs=inputs[None, :, None],
        initial_state=torch.zeros(len(inputs), 1),
        input_weight=torch.ones(1, 1),
        recurrent_weight=torch.zeros(1, 1),
        bias=torch.zeros(1),
        output_weight=torch.ones(1, 1),
        output_bias=torch.zeros(1),
        activation=get_activation(activation),
        dynamics="rate",
        alpha=1.0,
    )
    outputs = scan(problem, "numba").outputs
    (slope,) = torch.autograd.grad(outputs.sum(), inputs)
    exact = inputs.detach().double().requires_grad_()
    wanted = get_activation(activation)(exact)
    (wanted_slope,) = torch.autograd.grad(wanted.sum(), exact)
    # A few units in the last place, 6e-8 each; what is below float32's normal numbers may be zero.
    torch.testing.assert_close(outputs.flatten().double(), wanted, rtol=6e-7, atol=1e-37)
    # The slope is made of f(u), which rounds where f is flat: tanh stays 2.4e-7 below 1.
    torch.testing.assert_close(slope.double(), wanted_slope, rtol=2e-6, atol=5e-7)


def test_nan_comes_out_where_it_went_in():
    for activation, dynamics in itertools.product(ACTIVATIONS, ["rate", "current"]):
        problem = make_problem(dynamics, activation, noise=False)
        bias = problem.bias.detach().clone()
        bias[3] = torch.nan
        result = scan(problem.with_tensors({"bias": bias}), "numba")
        assert result.rates[..., 3].isnan().all()
        assert result.outputs.isnan().all()


def test_a_gradient_without_bounds_is_no_warning():
    problem = make_problem(sizes=(3, 20, 2, 5, 1), noise=False)
    outputs = scan(problem, "numba").outputs
    huge = torch.full_like(outputs, 3e38)
    (found,) = torch.autograd.grad(outputs, problem.output_bias, huge)
    assert found.isinf().all()


def test_arrays_may_lie_in_memory_as_they_like():
    base = make_problem(sizes=(6, 16, 4, 32, 4))
    strange = {
        "inputs": base.inputs.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_(),
        "initial_state": torch.zeros(1, 32).expand(16, 32),
        "recurrent_weight": base.recurrent_weight.detach().t().contiguous().t().requires_grad_(),
        "output_weight": base.output_weight.detach()[::2, ::1].repeat_interleave(2, 0).requires_grad_(),
        "bias": torch.zeros(()).expand(32),
    }
    assert_same(base.with_tensors(strange))
    still = base.inputs.detach()[:1].expand(6, 16, 4)
    assert_same(base.with_tensors({"inputs": still}))


@pytest.mark.parametrize("dynamics", ["rate", "current"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_without_gradient_and_rates_the_outputs_are_the_same_bits(dynamics, alpha):
    problem = make_problem(dynamics, alpha=alpha)
    whole = scan(problem, "numba")
    bare = dataclasses.replace(problem, wants_rates=False, wants_states=False)
    with torch.no_grad():
        result = scan(bare, "numba")
        with_rates = scan(dataclasses.replace(bare, wants_rates=True), "numba")
    assert result.rates is None
    assert result.states is None
    assert not result.outputs.requires_grad
    assert torch.equal(result.outputs, whole.outputs)
    assert torch.equal(with_rates.rates, whole.rates)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("dynamics", ["rate", "current"])
def test_only_a_gradient_to_come_keeps_the_activity(monkeypatch, dynamics, grad):
    from neurornn.engine.fused import layout

    sizes, width = [], layout.padded_units(21)
    empty = torch.Tensor.new_empty

    def spy(self, *shape):
        result = empty(self, *shape)
        sizes.append(result.shape[0] if result.ndim == 3 and result.shape[2] == width else 0)
        return result

    problem = make_problem(dynamics, sizes=(50, 5, 3, 21, 2), wants_rates=False, wants_states=False)
    monkeypatch.setattr(torch.Tensor, "new_empty", spy)
    with torch.set_grad_enabled(grad):
        scan(problem, "numba")
        # Nor does a problem without anything to differentiate, whatever the mode.
        scan(problem.with_tensors({name: own.detach() for name, own in problem.tensors.items()}), "numba")
    wanted = {("rate", True): [50, 50], ("current", True): [50, 1]}.get((dynamics, grad), [2, 1])
    assert [size for size in sizes if size] == [*wanted, 2, 1]


@pytest.mark.parametrize("dynamics", ["rate", "current"])
@pytest.mark.parametrize("n_trials", [3, 64, 150])
def test_any_number_of_threads_gives_the_same_bits(dynamics, n_trials):
    problem = make_problem(dynamics, sizes=(20, n_trials, 3, 40, 2))
    found = []
    for count in (1, 2, 4):
        with intra_op_threads(count):
            result = scan(problem, "numba")
            found.append([*result, *gradients(problem, result).values()])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_training_gives_the_same_bits_on_any_number_of_threads(flip_flop):
    weights = []
    for count in (1, 2, 4):
        network = RateRNN(2, 48, 2, tau=50.0, dt=10.0, noise_std=0.05, engine="numba", seed=0)
        with intra_op_threads(count):
            train(network, flip_flop, n_steps=8, batch_size=40, clip_norm=0.01, seed=0, progress=False)
        weights.append(network.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)


def test_a_graph_can_be_gone_through_twice_and_two_live_side_by_side():
    one, other = make_problem(seed=1), make_problem(seed=2)
    losses = [pulls(scan(problem, "numba")) for problem in (one, other)]
    twice = [torch.autograd.grad(losses[0], one.tensors.values(), retain_graph=True) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*twice, strict=True))
    late = torch.autograd.grad(losses[1], other.tensors.values())
    alone = gradients(other, scan(other, "numba"))
    assert all(torch.equal(*pair) for pair in zip(late, alone.values(), strict=True))


@pytest.mark.parametrize("dynamics", ["rate", "current"])
def test_what_arrives_is_never_written_to(dynamics):
    problem = make_problem(dynamics, sizes=(7, 8, 3, 32, 4))
    result = scan(problem, "numba")
    results = [getattr(result, name) for name in problem.results]
    arriving = [torch.randn_like(array) for array in results]
    kept = [array.clone() for array in arriving]
    torch.autograd.grad(results, list(problem.tensors.values()), arriving)
    assert all(torch.equal(*pair) for pair in zip(arriving, kept, strict=True))


def test_changing_a_result_in_place_is_noticed():
    result = scan(make_problem(), "numba")
    loss = result.outputs.square().sum()
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation|modified inplace"):  # noqa: PT012
        with torch.no_grad():
            result.rates.zero_()
        loss.backward()


def test_second_derivatives_are_those_of_autograd():
    problem = make_problem(sizes=(3, 2, 1, 3, 1))
    truth = in_double(problem)
    found = []
    for engine, own in (("numba", problem), ("reference", truth)):
        loss = pulls(scan(own, engine), which=("outputs",))
        (first,) = torch.autograd.grad(loss, own.recurrent_weight, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), own.recurrent_weight)[0].double())
    torch.testing.assert_close(*found, **TOLERANCE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dynamics": "leak_inside"}, "its kernel has the dynamics 'rate' and 'current', not 'leak_inside'"),
        ({"activation": get_activation(torch.sin)}, "'sigmoid', not a callable"),
        (
            {"alpha": torch.full((21,), 0.5, requires_grad=True)},
            "no gradient of the leak, which is trainable",
        ),
        ({"norm_gain": torch.ones(21)}, "its kernel has no layer normalisation"),
        ({"kept_share": torch.ones(5, 21)}, "its kernel has no dropout of rates"),
        (
            {
                "feedback_weight": torch.ones(21, 2),
                "feedback": Feedback(torch.zeros(7, 5, 2), torch.ones(7, 5, dtype=torch.bool)),
            },
            "its kernel has no outputs fed back",
        ),
    ],
)
def test_what_it_cannot_do_it_refuses_and_auto_goes_on(change, reason):
    problem = dataclasses.replace(make_problem(), **change)
    with pytest.raises(InputError, match=f"engine 'numba' cannot serve this network: .*{reason}"):
        scan(problem, "numba")
    assert scan(problem).outputs.shape == (7, 5, 2)


def test_torch_s_defaults_change_nothing():
    problem = make_problem()
    plain = scan(problem, "numba").outputs
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = scan(problem, "numba")
            gradients_too = torch.autograd.grad(found.outputs.sum(), problem.bias)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found.outputs, plain)
    assert gradients_too[0].dtype == torch.float32


def test_float64_is_refused_by_the_array_s_name():
    with pytest.raises(InputError, match="it serves float32 only, and `inputs` is float64"):
        scan(in_double(make_problem()), "numba")


def test_autocast_is_left_to_the_reference_engine():
    problem = make_problem()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(InputError, match="autocast chooses the precision"):
            scan(problem, "numba")
        assert scan(problem).outputs.dtype == torch.bfloat16


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_compilation_is_announced_once_and_kept_on_the_disk(tmp_path):
    code = (
        "import torch, neurornn\n"
        "net = neurornn.RateRNN(2, 5, 1, engine='numba')\n"
        "print(net(torch.ones(3, 4, 2))[0].sum().item())\n"
    )
    first, second = (run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    lines = first.stderr.splitlines()
    assert lines == [
        f"neurornn: compiling {what} for this CPU; it takes seconds, once"
        for what in (
            "the random numbers of recurrent noise",
            "the forward pass of tanh networks with rate dynamics",
        )
    ]
    assert second.stderr == ""
    assert first.stdout == second.stdout


AGREE = """
import sys
sys.path.insert(0, {folder!r})
from test_numba_engine import assert_same, make_problem
from neurornn.engine.fused.tiles import LANES, ROWS
print(ROWS, LANES)
for sizes in ((9, 5, 3, 21, 2), (40, 13, 6, 34, 9), (4, 8, 1, 3, 17)):
    for dynamics in ("rate", "current"):
        assert_same(make_problem(dynamics, sizes=sizes))
    for rank in (2, 5, 18):
        assert_same(make_problem("rate", sizes=sizes, rank=rank))
        assert_same(make_problem("rate", "relu", sizes=sizes, rank=rank, plastic=True))
    assert_same(make_problem("rate", "relu", sizes=sizes, plastic=True))
"""


@pytest.mark.parametrize(
    ("environment", "tile"),
    [
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2,+bmi,+bmi2"}, "4 8"),
        ({"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"}, "8 4"),
    ],
)
def test_tiles_of_other_cpus_compute_the_same(environment, tile, tmp_path):
    if os.uname().machine != "x86_64":
        pytest.skip("the features named here are those of x86")
    code = AGREE.format(folder=os.path.dirname(__file__))
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path), **environment).stdout.strip() == tile


def test_where_numba_is_missing_the_torch_engine_serves_and_says_so_once(monkeypatch):
    reason = "numba cannot be used here (ImportError: No module named 'numba')"
    monkeypatch.setattr(fused, "reason_not_to_compile", lambda: reason)
    problem = make_problem()
    with pytest.warns(RuntimeWarning, match=r"the torch engine serves .*No module named 'numba'"):
        first = scan(problem)
    # A second warning would be an error here.
    second = scan(problem)
    assert torch.equal(first.outputs, second.outputs)
    torch.testing.assert_close(first.outputs, scan(problem, "torch").outputs, rtol=0, atol=0)
    with pytest.raises(
        InputError, match="engine 'numba' cannot serve this network: numba cannot be used here"
    ):
        scan(problem, "numba")


def test_a_broken_numba_is_a_reason_and_not_a_crash(monkeypatch):
    monkeypatch.delattr(fused, "kernels", raising=False)
    monkeypatch.setitem(sys.modules, "neurornn.engine.fused.kernels", None)
    fused.reason_not_to_compile.cache_clear()
    try:
        assert fused.reason_not_to_compile().startswith("numba cannot be used here (ModuleNotFoundError: ")
    finally:
        monkeypatch.undo()
        fused.reason_not_to_compile.cache_clear()
    assert fused.reason_not_to_compile() is None


def test_a_kernel_that_computes_wrongly_is_not_used(monkeypatch):
    from neurornn.engine.fused import kernels

    monkeypatch.setattr(kernels, "normals", lambda shape, key: torch.zeros(shape))
    assert kernels.reason_not_to_compile() == "the kernel that numba compiles here gives wrong numbers"

    def fail(shape, key):
        raise RuntimeError("LLVM ran out")

    monkeypatch.setattr(kernels, "normals", fail)
    assert kernels.reason_not_to_compile() == (
        "numba cannot compile the kernel here (RuntimeError: LLVM ran out)"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own():
    code = (
        "import os, torch, neurornn\n"
        "torch.set_num_threads(2)\n"
        "net = neurornn.RateRNN(2, 5, 1, engine='numba')\n"
        "with torch.no_grad():\n"
        "    before = net(torch.ones(64, 4, 2))[0]\n"
        "    if child := os.fork():\n"
        "        print(os.waitpid(child, 0)[1])\n"
        "    else:\n"
        "        os._exit(0 if torch.equal(before, net(torch.ones(64, 4, 2))[0]) else 1)\n"
    )
    # A child that waits for threads it does not have would wait for ever.
    assert (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout.strip()
        == "0"
    )


@pytest.mark.parametrize("part", ["none", "low rank", "plastic"])
def test_trials_that_only_fill_a_tile_up_may_grow_beyond_all_bounds(part):
    # Three trials are held at zero by their input; the filling has none, and grows at every step.
    ones = torch.ones(1, 1)
    changes = {}
    if part == "low rank":
        changes = {"selection": ones.clone().requires_grad_()}
    if part == "plastic":
        half = torch.full((1,), 0.5)
        # In no time x and u are what they recover to, and let half of the rate through.
        changes = {
            "plasticity": Plasticity(half, half, half, seconds=0.0),
            "initial_state": torch.zeros(3, 3),
            "recurrent_weight": (40 * ones).requires_grad_(),
            "alpha": 0.3,
            "noise": Noise(key=0, scale=0.0),
        }
    problem = ScanProblem(
        inputs=torch.full((200, 3, 1), -10.0),
        initial_state=torch.zeros(3, 1),
        input_weight=ones,
        recurrent_weight=(2 * ones).requires_grad_(),
        bias=torch.ones(1, requires_grad=True),
        output_weight=ones,
        output_bias=torch.zeros(1),
        activation=get_activation("relu"),
        dynamics="rate",
        alpha=1.0,
    )
    problem = dataclasses.replace(problem, **changes)
    result = scan(problem, "numba")
    asked = [own for own in problem.tensors.values() if own.requires_grad]
    found = torch.autograd.grad(result.outputs.sum(), asked)
    assert not result.rates.any()
    assert all(own.eq(0).all() for own in found)


def test_without_a_folder_to_write_to_kernels_are_compiled_all_the_same(monkeypatch):
    from neurornn.engine.fused import kernels

    compiler = kernels.njit

    def without_cache(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'fill': no locator available")
        return compiler(*arguments, **options)

    wanted = kernels.normals((2, 3, 4), (1, 2, 3))
    monkeypatch.setattr(kernels, "njit", without_cache)
    kernels._normals_kernel.cache_clear()
    try:
        assert torch.equal(kernels.normals((2, 3, 4), (1, 2, 3)), wanted)
    finally:
        kernels._normals_kernel.cache_clear()
