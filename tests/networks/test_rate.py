import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import InputError, RateRNN, seeding
from neurornn.engine import Noise
from neurornn.networks import ACTIVATIONS

DYNAMICS = ["rate", "current", "leak_inside"]
SHIPPED = ["tanh", "relu", "softplus", "sigmoid"]
NUMPYS = {
    "tanh": np.tanh,
    "relu": lambda u: np.maximum(u, 0),
    "softplus": lambda u: np.logaddexp(0, u),
    "sigmoid": lambda u: 1 / (1 + np.exp(-u)),
}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scalar_loop(net, inputs, noise=None):
    """The design's equations, one unit, one connection and one step at a time, in plain floats."""
    f, a, n = NUMPYS[net.activation.name], net.alpha, net.hidden_size
    weights = {name: tensor.detach().numpy() for name, (_, tensor) in net.weights().items()}
    recurrent, drive = weights["recurrent_weight"], weights["input_weight"]
    outputs, rates = [], []
    for trial in range(len(inputs)):
        state = [float(s) for s in weights.get("first_state", np.zeros(n))]
        for t in range(inputs.shape[1]):
            new = []
            for i in range(n):
                total = weights["bias"][i]
                for k in range(net.input_size):
                    total += drive[i, k] * inputs[trial, t, k]
                for j in range(n):
                    total += recurrent[i, j] * (f(state[j]) if net.dynamics == "current" else state[j])
                xi = 0.0 if noise is None else noise[t, trial, i]
                if net.dynamics == "rate":
                    new.append((1 - a) * state[i] + a * f(total + xi))
                elif net.dynamics == "current":
                    new.append((1 - a) * state[i] + a * total + xi)
                else:
                    new.append(f((1 - a) * state[i] + a * (total + xi)))
            state = new
            rate = [f(s) for s in state] if net.dynamics == "current" else state
            rates.append(rate)
            outputs.append(
                [
                    weights["output_bias"][o]
                    + sum(weights["output_weight"][o, i] * rate[i] for i in range(n))
                    for o in range(net.output_size)
                ]
            )
    shape = inputs.shape[:2]
    return np.reshape(outputs, (*shape, -1)), np.reshape(rates, (*shape, -1))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_without_leak_it_is_torchs_rnn_in_outputs_and_in_every_gradient(nonlinearity):
    net = RateRNN(3, 12, 2, activation=nonlinearity, seed=5)
    theirs = torch.nn.RNN(3, 12, nonlinearity=nonlinearity, batch_first=True)
    readout = torch.nn.Linear(12, 2)
    pairs = [
        (net.input_weight, theirs.weight_ih_l0),
        (net.recurrent_weight, theirs.weight_hh_l0),
        (net.bias, theirs.bias_ih_l0),
        (net.output_weight, readout.weight),
        (net.output_bias, readout.bias),
    ]
    with torch.no_grad():
        net.bias.copy_(draw(12, seed=3))
        theirs.bias_hh_l0.zero_()
        for ours, other in pairs:
            other.copy_(ours)
    inputs, begin = draw(4, 15, 3, dtype=torch.float32), draw(4, 12, seed=1, dtype=torch.float32)
    outputs, rates = net(inputs, begin)
    their_rates, _ = theirs(inputs, begin[None])
    torch.testing.assert_close(rates, their_rates, rtol=0, atol=1e-6)
    torch.testing.assert_close(outputs, readout(their_rates), rtol=1e-6, atol=1e-6)
    outputs.square().mean().backward()
    readout(their_rates).square().mean().backward()
    for ours, other in pairs:
        torch.testing.assert_close(ours.grad, other.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("activation", SHIPPED)
@pytest.mark.parametrize("leak", [{}, {"alpha": 0.3}, {"tau": 100.0, "dt": 20.0}])
@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_every_dynamics_is_the_equation_of_the_design(dynamics, activation, leak, noise_std):
    net = RateRNN(
        2,
        4,
        3,
        activation=activation,
        dynamics=dynamics,
        noise_std=noise_std,
        trainable_initial_state=True,
        dtype=torch.float64,
        **leak,
    )
    with torch.no_grad():
        for name in ("bias", "output_bias", "first_state"):
            getattr(net, name).copy_(draw(*getattr(net, name).shape, seed=7))
    inputs = draw(2, 5, 2)
    scale = noise_std
    if leak:
        scale *= np.sqrt(2 * net.alpha) if dynamics == "current" else np.sqrt(2 / net.alpha)
    # The generator gives a run its key; the numbers are the engine's.
    key = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(9)))
    noise = Noise(key, scale).materialise((5, 2, 4), 0, inputs).numpy()
    outputs, rates = net(inputs, generator=torch.Generator().manual_seed(9))
    wanted = scalar_loop(net, inputs.numpy(), noise)
    np.testing.assert_allclose(outputs.detach(), wanted[0], atol=1e-12)
    np.testing.assert_allclose(rates.detach(), wanted[1], atol=1e-12)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("activation", SHIPPED)
def test_gradients_are_those_of_finite_differences(dynamics, activation):
    net = RateRNN(2, 3, 2, activation=activation, dynamics=dynamics, alpha=0.6, dtype=torch.float64)
    names, weights = zip(*net.named_parameters(), strict=True)

    def run(inputs, begin, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (inputs, begin))

    arguments = [draw(2, 3, 2), draw(2, 3, seed=1), *(w.detach().clone() for w in weights)]
    assert torch.autograd.gradcheck(run, [a.requires_grad_() for a in arguments])


def test_the_trainable_initial_state_gets_its_gradient():
    net = RateRNN(1, 3, 1, trainable_initial_state=True, dtype=torch.float64)

    def run(first):
        return torch.func.functional_call(net, {"first_state": first}, (torch.ones(2, 3, 1).double(),))[0]

    assert torch.autograd.gradcheck(run, [draw(3).requires_grad_()])
    assert torch.equal(net.initial_state(4), net.first_state.expand(4, 3))
    assert "first_state" in dict(net.named_parameters())


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("activation", SHIPPED)
@pytest.mark.parametrize("alpha", [None, 0.2])
def test_the_jacobian_is_that_of_automatic_differentiation(dynamics, activation, alpha):
    net = RateRNN(2, 5, 1, activation=activation, dynamics=dynamics, alpha=alpha, dtype=torch.float64, gain=2)
    states, inputs = draw(6, 5), draw(6, 2, seed=1)
    wanted = torch.stack(
        [torch.func.jacrev(net.step)(state, input) for state, input in zip(states, inputs, strict=True)]
    )
    torch.testing.assert_close(net.jacobian(states, inputs), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.jacobian(states[0], inputs[0]), wanted[0], rtol=0, atol=1e-12)
    assert net.jacobian(states.view(2, 3, 5), inputs.view(2, 3, 2)).shape == (2, 3, 5, 5)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_step_is_one_step_of_forward_and_makes_no_noise(dynamics):
    net = RateRNN(2, 5, 3, dynamics=dynamics, tau=50.0, dt=10.0, noise_std=1.0, dtype=torch.float64)
    inputs, state = draw(4, 8, 2), draw(4, 5, seed=1)
    outputs, rates, states = net.eval()(inputs, state, return_states=True)
    for t in range(8):
        state = net.train().step(state, inputs[:, t])
        torch.testing.assert_close(state, states[:, t], rtol=0, atol=1e-13)
        torch.testing.assert_close(net.rates(state), rates[:, t], rtol=0, atol=1e-13)
    torch.testing.assert_close(net.readout(rates), outputs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dynamics", ["rate", "current"])
def test_eulers_method_converges_at_first_order(dynamics):
    coarse = RateRNN(1, 6, 1, dynamics=dynamics, tau=100.0, dt=10.0, gain=1.5, dtype=torch.float64)

    @torch.no_grad()
    def after_200_ms(dt):
        inputs = torch.ones(1, round(200 / dt), 1).double()
        return coarse.with_dt(dt)(inputs, draw(1, 6), return_states=True)[2][:, -1]

    limit = 2 * after_200_ms(0.1) - after_200_ms(0.2)
    errors = [float((after_200_ms(dt) - limit).norm()) for dt in (4.0, 2.0, 1.0)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_with_dt_is_the_same_network_on_another_step():
    net = RateRNN(1, 4, 1, tau=100.0, dt=20.0, seed=3)
    finer = net.with_dt(5.0)
    assert (finer.alpha, finer.dt, net.dt) == (0.05, 5.0, 20.0)
    assert torch.equal(finer.recurrent_weight, net.recurrent_weight)
    assert finer.recurrent_weight is not net.recurrent_weight
    with pytest.raises(InputError, match="`dt` must not be longer than `tau`, got dt = 200"):
        net.with_dt(200)
    with pytest.raises(InputError, match="with_dt needs a network with `tau`"):
        RateRNN(1, 4, 1, alpha=0.5).with_dt(1.0)


@settings(max_examples=25)
@given(
    dynamics=st.sampled_from(DYNAMICS),
    activation=st.sampled_from(["tanh", "sigmoid"]),
    alpha=st.floats(0.05, 1),
    gain=st.floats(0, 8),
    seed=st.integers(0, 50),
)
def test_the_state_never_leaves_its_bounds(dynamics, activation, alpha, gain, seed):
    net = RateRNN(
        2,
        7,
        1,
        activation=activation,
        dynamics=dynamics,
        alpha=alpha,
        gain=gain,
        seed=seed,
        dtype=torch.float64,
    )
    with torch.no_grad():
        net.bias.copy_(draw(7, seed=seed))
    held = 3 * draw(2, seed=seed)
    low, high = net.state_bounds(held)
    # From all corners' worth of starts inside the box, edges included, one step stays inside.
    share = torch.rand(200, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    state = low + (high - low) * torch.cat([share, (share > 0.5).double()])
    for _ in range(5):
        state = net.step(state, held.expand(len(state), 2))
        assert (state >= low - 1e-12).all()
        assert (state <= high + 1e-12).all()


def test_an_unbounded_activation_has_no_bounds():
    assert RateRNN(1, 3, 1, activation="relu").state_bounds(torch.zeros(1)) is None


# Noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dynamics", "leak", "scale"),
    [
        ("rate", {}, 1.0),
        ("current", {}, 1.0),
        ("rate", {"tau": 100.0, "dt": 20.0}, np.sqrt(2 / 0.2)),
        ("leak_inside", {"tau": 100.0, "dt": 20.0}, np.sqrt(2 / 0.2)),
        ("current", {"tau": 100.0, "dt": 20.0}, np.sqrt(2 * 0.2)),
        ("rate", {"alpha": 0.5}, 2.0),
    ],
)
def test_the_noise_has_the_scale_of_the_design(dynamics, leak, scale):
    net = RateRNN(1, 5, 1, dynamics=dynamics, noise_std=0.05, **leak)
    assert net.noise_scale == pytest.approx(0.05 * scale)


@pytest.mark.parametrize("dt", [2.0, 20.0])
def test_current_noise_is_an_ornstein_uhlenbeck_process_of_variance_sigma_squared(dt):
    # Without weights, h is the Euler-Maruyama scheme of OU: variance sigma^2 / (1 - alpha / 2) exactly.
    net = RateRNN(0, 50, 0, dynamics="current", tau=20.0 * dt, dt=dt, noise_std=0.3, gain=0)
    states = net(torch.zeros(40, 600, 0), return_states=True)[2][:, 200:].detach().numpy()
    alpha = 1 / 20
    assert states.var() == pytest.approx(0.09 / (1 - alpha / 2), rel=0.02)
    correlation = (states[:, 1:] * states[:, :-1]).mean() / states.var()
    assert correlation == pytest.approx(1 - alpha, abs=0.005)


def test_noise_inside_a_linear_region_has_variance_sigma_squared_too():
    # relu far above its kink is linear: r relaxes to the bias with the same OU fluctuations.
    net = RateRNN(0, 50, 0, activation="relu", tau=100.0, dt=5.0, noise_std=0.05, gain=0)
    with torch.no_grad():
        net.bias.fill_(20.0)
    rates = net(torch.zeros(40, 600, 0))[1][:, 300:].detach()
    assert float(rates.mean()) == pytest.approx(20, abs=0.01)
    assert float(rates.var()) == pytest.approx(0.05**2 / (1 - 0.05 / 2), rel=0.05)


def test_train_mode_has_noise_of_the_networks_own_stream_and_eval_mode_none():
    net, inputs = RateRNN(1, 4, 1, noise_std=0.5, seed=2), torch.zeros(3, 6, 1)
    key = int(torch.randint(2**63 - 1, (), generator=seeding.torch_stream(2, seeding.NOISE)))
    wanted = Noise(key, 0.5).materialise((6, 3, 4), 0, inputs)
    first = net(inputs)[1]
    torch.testing.assert_close(first[:, 0], torch.tanh(wanted[0]))
    assert not torch.equal(net(inputs)[1], first)
    assert torch.equal(RateRNN(1, 4, 1, noise_std=0.5, seed=2)(inputs)[1], first)
    assert not net.eval()(inputs)[1].any()


def test_a_generator_overrides_in_both_modes_and_leaves_the_own_stream_alone():
    net, inputs = RateRNN(1, 4, 1, noise_std=0.5), torch.zeros(3, 6, 1)
    own = net.noise_generator.get_state()

    def run():
        return net(inputs, generator=torch.Generator().manual_seed(4))[1]

    trained, evaluated = run(), (net.eval(), run())[1]
    assert torch.equal(trained, evaluated)
    assert trained.any()
    assert torch.equal(net.noise_generator.get_state(), own)


def test_building_and_running_advances_no_global_generator(random_states):
    before = random_states()
    net = RateRNN(2, 8, 2, noise_std=0.1, trainable_initial_state=True)
    net(torch.zeros(2, 3, 2))[0].sum().backward()
    assert random_states() == before


def test_a_copy_has_a_noise_stream_of_its_own_at_the_same_place():
    net, inputs = RateRNN(1, 4, 1, noise_std=0.5), torch.zeros(2, 3, 1)
    net(inputs)
    twin = copy.deepcopy(net)
    first = net(inputs)[1]
    assert torch.equal(twin(inputs)[1], first)


# Initial weights and the form of the module ------------------------------------------------------------


def test_initial_weights_have_the_gain_and_follow_the_seed():
    net = RateRNN(20, 400, 10, gain=1.5, seed=1, dtype=torch.float64).requires_grad_(False)
    assert float(net.recurrent_weight.std()) == pytest.approx(1.5 / 20, rel=0.01)
    radius = np.abs(np.linalg.eigvals(net.recurrent_weight)).max()
    assert radius == pytest.approx(1.5, rel=0.1)
    assert float(net.input_weight.std()) == pytest.approx(1 / np.sqrt(20), rel=0.03)
    assert float(net.output_weight.std()) == pytest.approx(1 / np.sqrt(400), rel=0.05)
    assert not net.bias.any()
    assert not net.output_bias.any()
    assert not torch.equal(RateRNN(20, 400, 10, seed=2).recurrent_weight, net.recurrent_weight.float())


def test_one_seed_is_one_network_in_both_precisions():
    single, double = (RateRNN(2, 9, 1, seed=3, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert torch.equal(double.recurrent_weight.float(), single.recurrent_weight)
    assert RateRNN(2, 9, 1).recurrent_weight.dtype == torch.get_default_dtype()


def test_effective_weights_are_differentiable_with_the_designs_shapes():
    net = RateRNN(2, 5, 3)
    shapes = {name: tuple(values.shape) for name, (_, values) in net.weights().items()}
    assert shapes == {
        "recurrent_weight": (5, 5),
        "input_weight": (5, 2),
        "bias": (5,),
        "output_weight": (3, 5),
        "output_bias": (3,),
    }
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert (net.input_size, net.hidden_size, net.output_size, net.state_size) == (2, 5, 3, 5)


def test_weight_i_j_is_from_unit_j_to_unit_i():
    net = RateRNN(0, 3, 0, activation="relu", gain=0)
    with torch.no_grad():
        net.recurrent_weight[2, 0] = 1
    after = net.step(torch.tensor([5.0, 0.0, 0.0]), torch.zeros(0))
    assert after.tolist() == [0, 0, 5]


def test_a_network_without_inputs_or_outputs_runs_on_its_own():
    net = RateRNN(0, 4, 0)
    outputs, rates = net(torch.zeros(2, 3, 0), torch.ones(2, 4))
    assert outputs.shape == (2, 3, 0)
    torch.testing.assert_close(rates[:, 0], torch.tanh(torch.ones(2, 4) @ net.recurrent_weight.T))


def test_forward_returns_states_where_asked_and_runs_without_trials_or_steps():
    net = RateRNN(1, 4, 2, dynamics="current")
    assert len(net(torch.zeros(2, 3, 1))) == 2
    assert [tuple(a.shape) for a in net(torch.zeros(2, 0, 1), return_states=True)] == [
        (2, 0, 2),
        (2, 0, 4),
        (2, 0, 4),
    ]
    assert net(torch.zeros(0, 3, 1))[0].shape == (0, 3, 2)


def test_a_later_call_does_not_overwrite_an_earlier_result():
    net = RateRNN(1, 4, 2)
    first = net(torch.ones(2, 3, 1))
    kept = [array.clone() for array in first]
    net(torch.zeros(2, 3, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_the_device_is_passed_through():
    net = RateRNN(2, 4, 1, device="meta")
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
    assert net(torch.zeros(2, 3, 2, device="meta"))[0].device.type == "meta"
    assert RateRNN(2, 4, 1, device=torch.device("cpu")).bias.device.type == "cpu"


def test_the_repr_tells_the_options():
    assert "tau=100.0, dt=20.0" in repr(RateRNN(1, 2, 3, tau=100.0, dt=20.0))
    assert "alpha=0.5" in repr(RateRNN(1, 2, 3, alpha=0.5))
    assert "activation='callable'" in repr(RateRNN(1, 2, 3, activation=torch.sin))


# Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"tau": 10.0, "dt": 20.0},
            r"`dt` must not be longer than `tau`, got dt = 20\.0 ms and tau = 10\.0 ms",
        ),
        ({"tau": 10.0}, r"`tau` = 10\.0 was given without `dt`: give the task's step too, dt=task\.dt"),
        ({"dt": 10.0}, r"`dt` = 10\.0 was given without `tau`: give both in ms, or neither"),
        ({"alpha": 0.5, "tau": 10.0, "dt": 5.0}, "either as `alpha` or as `tau` with `dt`, got both"),
        ({"alpha": 0.5, "dt": 5.0}, "either as `alpha` or as `tau` with `dt`, got both"),
        ({"alpha": 0}, "`alpha` must be a positive number, got 0"),
        ({"alpha": 1.5}, r"`alpha` must be at most 1, got 1\.5"),
        ({"alpha": float("nan")}, "`alpha` must be a positive number, got nan"),
        ({"alpha": True}, "`alpha` must be a positive number, got True"),
        ({"tau": -1.0, "dt": 1.0}, r"`tau` must be a positive number of ms, got -1\.0"),
        ({"tau": 10.0, "dt": 0.0}, r"`dt` must be a positive number of ms, got 0\.0"),
        ({"tau": float("inf"), "dt": 1.0}, "`tau` must be a positive number of ms, got inf"),
        ({"tau": 10.0, "dt": float("nan")}, "`dt` must be a positive number of ms, got nan"),
        ({"noise_std": -0.1}, r"`noise_std` must be a number of at least 0, got -0\.1"),
        ({"noise_std": float("nan")}, "`noise_std` must be a number of at least 0, got nan"),
        ({"noise_std": None}, "`noise_std` must be a number of at least 0, got None"),
        ({"gain": -1}, "`gain` must be a number of at least 0, got -1"),
        ({"gain": float("inf")}, "`gain` must be a number of at least 0, got inf"),
        ({"activation": "tahn"}, r"unknown activation 'tahn': .*did you mean 'tanh'\?"),
        ({"activation": 3}, "`activation` must be a name or a callable, got int"),
        ({"dynamics": "rates"}, r"unknown dynamics 'rates': .*did you mean 'rate'\?"),
        ({"dynamics": "curent"}, r"did you mean 'current'\?"),
        ({"engine": "refrence"}, r"unknown engine 'refrence': .*did you mean 'reference'\?"),
        ({"engine": "cuda"}, r"unknown engine 'cuda'"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0, got -1"),
        ({"seed": 1.5}, "`seed` must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        RateRNN(2, 4, 1, **options)


@pytest.mark.parametrize("size", [-1, 2.0, True, "3", None])
@pytest.mark.parametrize("place", range(3))
def test_a_size_that_is_no_count_is_refused(size, place):
    sizes = [2, 4, 1]
    sizes[place] = size
    name = ("input_size", "hidden_size", "output_size")[place]
    with pytest.raises(InputError, match=rf"`{name}` must be a whole number of at least [01], got"):
        RateRNN(*sizes)
    with pytest.raises(InputError, match="`hidden_size` must be a whole number of at least 1, got 0"):
        RateRNN(1, 0, 1)


def test_what_forward_cannot_run_on_is_refused():
    net = RateRNN(2, 4, 1)
    good = torch.zeros(3, 5, 2)
    refused = [
        ((good.numpy(),), {}, r"`inputs` must be a torch tensor, got ndarray: use torch\.as_tensor"),
        ((good[0],), {}, r"`inputs` must have shape \(trial, time, 2\), got \(5, 2\)"),
        ((torch.zeros(3, 5, 4),), {}, r"`inputs` must have shape \(trial, time, 2\), got \(3, 5, 4\)"),
        ((good.double(),), {}, r"`inputs` must be torch\.float32 on cpu .* got torch\.float64 on cpu: move"),
        ((good, torch.zeros(2, 4)), {}, r"`initial_state` must have shape \(3, 4\), got \(2, 4\)"),
        ((good, torch.zeros(3, 4).double()), {}, r"`initial_state` must be torch\.float32"),
        ((good,), {"teacher": good}, "`teacher` needs a network with output feedback"),
    ]
    for arguments, options, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            net(*arguments, **options)
    net.engine = "nowhere"
    with pytest.raises(InputError, match="unknown engine 'nowhere'"):
        net(good)


def test_every_shipped_activation_is_tried_here():
    assert set(SHIPPED) <= set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("state", "input", "words"), [(4, 2, "`state` must have"), (5, 3, "`input` must have")]
)
def test_a_step_from_a_state_of_another_size_is_refused(state, input, words):
    network = RateRNN(2, 5, 1)
    for method in (network.step, network.jacobian):
        with pytest.raises(InputError, match=words):
            method(torch.zeros(state), torch.zeros(input))


def test_without_rates_the_outputs_are_the_same_and_none_takes_their_place():
    net, inputs = RateRNN(2, 8, 1, seed=0), draw(3, 6, 2).float()
    outputs, rates = net(inputs, return_rates=False)
    assert rates is None
    assert torch.equal(outputs, net(inputs)[0])
    outputs, rates, states = net(inputs, return_rates=False, return_states=True)
    assert rates is None
    assert torch.equal(states, net(inputs)[1])


@pytest.mark.parametrize("engine", ["auto", "torch", "reference"])
def test_truncation_and_checkpointing_reach_the_engine(engine):
    net, inputs = RateRNN(2, 8, 1, alpha=0.5, engine=engine, seed=0), draw(3, 7, 2).float()

    def gradient(**options):
        (found,) = torch.autograd.grad(net(inputs, **options)[0].sum(), net.recurrent_weight)
        return found

    whole = gradient()
    # Rounding of float32, summed in another order.
    torch.testing.assert_close(gradient(checkpoint_every=2), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient(truncate=7), whole)
    assert not torch.allclose(gradient(truncate=2), whole, rtol=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused_by_their_place(bad):
    net, inputs = RateRNN(2, 4, 1), torch.zeros(3, 5, 2)
    inputs[1, 4, 0] = bad
    with pytest.raises(
        InputError, match=rf"`inputs` must hold finite numbers, got {bad} at \[1, 4, 0\]: clean"
    ):
        net(inputs)
    with pytest.raises(InputError, match=r"`initial_state` must hold finite numbers, got .* at \[0, 3\]"):
        net(torch.zeros(3, 5, 2), torch.tensor([0, 0, 0, bad]).expand(3, 4))
    # A sum beyond float32's range is no reason to refuse numbers within it.
    assert net(torch.full((3, 5, 2), 3e38))[0].isfinite().all()


@pytest.mark.parametrize("name", ["truncate", "checkpoint_every"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_lengths_of_windows_and_segments_are_whole_numbers(name, value):
    with pytest.raises(InputError, match=rf"`{name}` must be a whole number of at least 1, got {value}"):
        RateRNN(1, 4, 1)(torch.zeros(1, 2, 1), **{name: value})
