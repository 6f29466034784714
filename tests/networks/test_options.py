"""The table of options that go together: every pair is built and checked, or refused with its sentence."""

import itertools
import pathlib
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurornn as nr
from neurornn import InputError, RateRNN, load_network, save_network
from neurornn.config import RunConfig, TaskConfig, TrainingConfig, read_config, write_toml
from neurornn.engine import ENGINES, explain
from neurornn.networks import weights_digest
from neurornn.networks.options import OPTIONS, REFUSALS, table
from neurornn.testing import check_network

TABLE = pathlib.Path(__file__).parents[2] / "docs" / "networks.md"
NEGATIVE = "an activation that can be negative"


def options_of(*names):
    """Return the options of a network that has all of these."""
    chosen = {}
    for name in names:
        chosen |= OPTIONS[name].example
    if NEGATIVE in names:
        chosen["activation"] = "tanh"
    if "initial_state" in chosen:
        n_layers = chosen.get("n_layers", 1) * (2 if chosen.get("bidirectional") else 1)
        chosen["initial_state"] = [0.1] * 8 * n_layers * (3 if chosen.get("plasticity") else 1)
    return chosen


def refusal(one, other):
    return REFUSALS.get((one, other)) or REFUSALS.get((other, one))


def sentences_for(names):
    return {refusal(*pair) for pair in itertools.combinations(names, 2)} - {None}


@pytest.mark.parametrize(
    "pair",
    list(itertools.combinations_with_replacement(OPTIONS, 2)),
    ids=lambda pair: " + ".join(pair),
)
def test_every_pair_is_sound_or_refused_with_its_sentence(pair):
    sentence = refusal(*pair)
    if sentence is None:
        check_network(RateRNN(3, 8, 2, seed=1, **options_of(*pair)), n_trials=2, n_steps=4)
    else:
        with pytest.raises(InputError) as caught:
            RateRNN(3, 8, 2, **options_of(*pair))
        # Options that bring others along may be refused for these.
        assert str(caught.value) in {*sentences_for(on(options_of(*pair)))}


def on(options):
    """Return the names of the options that a set of arguments turns on."""
    from neurornn.config import RateConfig
    from neurornn.networks import get_activation

    config = RateConfig.from_dict({"input_size": 3, "hidden_size": 8, "output_size": 2, **options})
    activation = get_activation(options.get("activation", "tanh"))
    return [name for name, option in OPTIONS.items() if option.is_on(config, activation)]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_example_turns_its_option_on(name):
    assert name in on(options_of(name))


def test_the_table_in_the_documentation_is_this_one():
    assert table() in TABLE.read_text(), "docs/networks.md lacks neurornn.networks.options.table()"


def test_every_option_that_changes_a_network_is_in_the_table():
    from neurornn.config import RateConfig

    without_partners = {
        *("family", "input_size", "hidden_size", "output_size", "engine", "dtype", "seed", "dt"),
        *("gain", "input_gain", "output_gain", "dale", "readout_from"),
        *("recurrent_initialisation", "input_initialisation", "output_initialisation"),
        *("projections", "input_areas", "output_areas"),
    }
    named = {name for option in OPTIONS.values() for name in option.example}
    masks = {f"{which}_{what}" for which in ("input", "recurrent", "output") for what in ("mask", "fixed")}
    assert set(RateConfig.model_fields) - without_partners - named - masks == {"alpha", "signs"}


combinations = st.lists(st.sampled_from(list(OPTIONS)), min_size=3, max_size=7, unique=True)


@settings(max_examples=60)
@given(names=combinations, seed=st.integers(0, 1000))
def test_drawn_combinations_are_sound_or_refused(names, seed):
    options = options_of(*names)
    if sentences_for(on(options)):
        with pytest.raises(InputError):
            RateRNN(3, 8, 2, seed=seed, **options)
    else:
        check_network(RateRNN(3, 8, 2, seed=seed, **options), n_trials=2, n_steps=3)


# Gradients ----------------------------------------------------------------------------------------------

SMOOTH = {"relu": "softplus"}
"""Central differences step over a kink now and then, so rectifiers are tried by their smooth relatives."""


def smooth_network(options, seed=3):
    options = {**options, "activation": SMOOTH.get(options.get("activation", "tanh"), "tanh")}
    if any(name in options for name in ("excitatory_fraction", "signs", "plasticity")):
        options["activation"] = "softplus"
    net = RateRNN(3, 8, 2, seed=seed, dtype=torch.float64, **options)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in net.parameters():
            if parameter.ndim == 1:
                drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(0.1 * drawn)
        if net.first_state is not None and options.get("plasticity"):
            # Off the edges of what is clipped.
            net.first_state.copy_(torch.tensor([0.2] * 8 + [0.7] * 8 + [0.3] * 8))
    return net


def loss_of(net, inputs, teacher, **options):
    """Return a loss that every output, rate and state pulls on, with the same noise each time."""
    generator = torch.Generator().manual_seed(5)
    extra = {"teacher": teacher, "teacher_probability": 0.5} if net.has_feedback else {}
    results = net(inputs, generator=generator, return_states=True, **extra, **options)
    pulls = torch.Generator().manual_seed(6)
    return sum(
        (torch.randn(own.shape, generator=pulls, dtype=torch.float64).to(own) * own).sum() for own in results
    )


def assert_gradients_are_those_of_differences(net):
    net.train()
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 5, 2, generator=generator, dtype=torch.float64)
    parameters = dict(net.named_parameters())
    found = torch.autograd.grad(loss_of(net, inputs, teacher), list(parameters.values()), allow_unused=True)
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        flat = parameter.data.view(-1)
        wanted = torch.zeros_like(flat)
        if net.noise_std and name.endswith("leak_logit"):
            continue  # The noise's scale follows tau, and by design no gradient runs through it.
        for k in range(len(flat)):
            before, ends = float(flat[k]), []
            for sign in (1, -1):
                flat[k] = before + sign * 1e-5
                ends.append(float(loss_of(net, inputs, teacher).detach()))
            flat[k] = before
            wanted[k] = (ends[0] - ends[1]) / 2e-5
        own = torch.zeros_like(parameter) if gradient is None else gradient
        # Differences of 1e-5 err by about 1e-10 of the third derivative and 1e-10 by rounding.
        torch.testing.assert_close(
            own.reshape(-1), wanted, rtol=1e-6, atol=1e-6, msg=lambda text, name=name: name + text
        )


@pytest.mark.parametrize("name", OPTIONS)
def test_the_gradients_of_every_option_are_those_of_differences(name):
    assert_gradients_are_those_of_differences(smooth_network(options_of(name)))


def drawn_combinations(count):
    """Draw combinations that go together, the same ones each time."""
    import random

    draw, found = random.Random(20), []
    while len(found) < count:
        names = draw.sample(list(OPTIONS), draw.randint(3, 6))
        options = options_of(*names)
        smooth = {**options, "activation": "softplus"} if "plasticity" in options else options
        if not sentences_for(on(smooth)):
            found.append(names)
    return found


@pytest.mark.parametrize("names", drawn_combinations(30), ids=lambda names: " + ".join(names))
def test_the_gradients_of_thirty_combinations_are_those_of_differences(names):
    assert_gradients_are_those_of_differences(smooth_network(options_of(*names)))


# Engines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_engines_that_serve_an_option_give_the_same_numbers(name):
    options = options_of(name)
    nets = {engine: RateRNN(3, 8, 2, seed=2, engine=engine, **options).train() for engine in ENGINES}
    inputs = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(1))
    truth = gradients_of(RateRNN(3, 8, 2, seed=2, engine="reference", **options).double(), inputs.double())
    for net in nets.values():
        if explain(net).engine is None:
            continue
        for own, wanted in zip(gradients_of(net, inputs), truth, strict=True):
            # float32: the tolerance of the engines' own tests.
            torch.testing.assert_close(own.double(), wanted, rtol=1e-4, atol=1e-4)


def gradients_of(net, inputs):
    outputs, rates, *_ = net(inputs, generator=torch.Generator().manual_seed(8))
    loss = outputs.square().sum() + rates.square().sum()
    return [
        outputs.detach(),
        *(
            torch.zeros_like(own) if found is None else found
            for own, found in zip(
                net.parameters(),
                torch.autograd.grad(loss, list(net.parameters()), allow_unused=True),
                strict=True,
            )
        ),
    ]


# Mistakes of single options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"residual": True}, "residual connections lead from one layer to the next: give `n_layers` of at"),
        ({"plasticity": "mixed", "activation": "relu"}, "short-term plasticity runs in ms: give `tau` and"),
        ({"plasticity": "strong"}, r"'plasticity': input should be 'facilitating', 'depressing' or 'mixed'"),
        ({"trainable_tau": True}, "`trainable_tau` needs what it begins with: give `tau` and `dt`"),
        ({"trainable_tau": True, "tau": 20.0, "dt": 20.0}, "must begin above dt"),
        ({"rank": 9}, "`rank` must be at most hidden_size = 8, got 9"),
        ({"rank": 0}, "'rank': input should be greater than or equal to 1, got 0"),
        ({"rank": 2, "recurrent_initialisation": "orthogonal"}, "weights of low rank begin with Gaussian"),
        ({"tau": [100.0] * 7, "dt": 20.0}, "`tau` must be one number or one for each of 8 units, got 7"),
        ({"tau": [100.0] * 7 + [10.0], "dt": 20.0}, "`dt` must not be longer than `tau`, got dt = 20"),
        ({"tau": [100.0] * 7 + [-1.0], "dt": 20.0}, "`tau` must be a positive number of ms, got -1"),
        ({"initial_state": [0.0] * 7}, "`initial_state` must have one number for each of 8 state variables"),
        ({"dropout": 1.0}, "'dropout': input should be less than 1, got 1"),
        ({"readout": "logistic"}, "'readout': input should be 'linear' or 'softmax'"),
        ({"attention": "cosine"}, "'attention': input should be 'additive', 'dot', 'scaled' or 'bilinear'"),
        ({"n_layers": 0}, "'n_layers': input should be greater than or equal to 1, got 0"),
        (
            {"recurrent_initialisation": "gausian"},
            r"unknown recurrent_initialisation 'gausian'.*'gaussian'\?",
        ),
        ({"recurrent_initialisation": [[1.0, 2.0]]}, r"`recurrent_initialisation` must have shape \(8, 8\)"),
        ({"recurrent_initialisation": [["a"]]}, "input should be a matrix of real numbers"),
        ({"recurrent_initialisation": "balanced_gamma"}, "'balanced_gamma' balances excitation"),
        (
            {"input_mask": [[1.0] * 3] * 7},
            r"`input_mask` must have shape \(8, 3\) \(to, from\), got \(7, 3\)",
        ),
        ({"recurrent_fixed": [[float("inf")] * 8] * 8}, "`recurrent_fixed` must be finite, got inf"),
        ({"recurrent_mask": "x"}, "'recurrent_mask': input should be a matrix: rows of numbers, or an array"),
        ({"areas": ["V1", "V2"]}, "'areas': input should be a table of names and numbers of units, such as"),
        ({"areas": {"V1": 4.5, "V2": 3.5}}, "'areas': input should give 'V1' a whole number of units"),
        ({"dale": "rectified"}, "`dale` = 'rectified' needs Dale's law"),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        RateRNN(3, 8, 2, **options)
    assert "\n" not in str(caught.value)
    assert not re.search(r"[A-Za-z0-9+/]{40}", str(caught.value)), "an array as text is no sentence"


def test_the_repr_of_a_network_with_matrices_stays_short():
    net = RateRNN(3, 8, 2, recurrent_mask=torch.ones(8, 8), excitatory_fraction=0.75, activation="relu")
    assert repr(net) == ("RateRNN(3, 8, 2, activation='relu', excitatory_fraction=0.75, recurrent_mask=...)")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_with_any_option_comes_back_from_its_files(name, tmp_path):
    net = RateRNN(3, 8, 2, seed=4, **options_of(name)).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_network(net, tmp_path / "network")
    again = load_network(tmp_path / "network")
    assert again.config == net.config
    assert weights_digest(again) == weights_digest(net)
    inputs = torch.randn(2, 4, 3, generator=generator)
    assert torch.equal(again(inputs)[0], net(inputs)[0])


# The gated families -------------------------------------------------------------------------------------

GATED = {
    "layers": {"n_layers": 2},
    "residual": {"n_layers": 3, "residual": True},
    "directions": {"bidirectional": True},
    "softmax": {"readout": "softmax"},
    "attention": {"attention": "additive"},
    "dropout": {"dropout": 0.3},
    "input noise": {"input_noise_std": 0.1},
    "output noise": {"output_noise_std": 0.1},
    "trainable initial state": {"trainable_initial_state": True},
}


@pytest.mark.parametrize("family", [nr.LSTM, nr.GRU])
@pytest.mark.parametrize(
    "pair", list(itertools.combinations_with_replacement(GATED, 2)), ids=lambda pair: " + ".join(pair)
)
def test_every_pair_of_options_of_gated_networks_is_sound(family, pair):
    options = {**GATED[pair[0]], **GATED[pair[1]]}
    if "residual" in options:
        options["n_layers"] = 3
    check_network(family(3, 5, 2, seed=1, **options), n_trials=2, n_steps=4)


@pytest.mark.parametrize("family", [nr.LSTM, nr.GRU])
@pytest.mark.parametrize("option", GATED)
def test_the_gradients_of_gated_networks_are_those_of_differences(family, option):
    net = family(3, 4, 2, seed=2, dtype=torch.float64, **GATED[option])
    inputs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    parameters = dict(net.train().named_parameters())
    found = torch.autograd.grad(loss_of(net, inputs, None), list(parameters.values()))
    with torch.no_grad():
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
            wanted = torch.zeros_like(parameter)
            flat, slots = parameter.view(-1), wanted.view(-1)
            for k in range(len(flat)):
                before = float(flat[k])
                flat[k] = before + 1e-5
                above = float(loss_of(net, inputs, None))
                flat[k] = before - 1e-5
                slots[k] = (above - float(loss_of(net, inputs, None))) / 2e-5
                flat[k] = before
            # As above: rounding of the loss over the nudge, and the third derivative times its square.
            torch.testing.assert_close(
                gradient, wanted, rtol=1e-6, atol=1e-6, msg=lambda text, name=name: name + text
            )


@pytest.mark.parametrize(
    "network",
    [
        *(lambda name=name: RateRNN(3, 8, 2, **options_of(name)) for name in OPTIONS),
        lambda: nr.LSTM(3, 8, 2, forget_bias=1.0),
        lambda: nr.GRU(3, 8, 2, attention="dot"),
    ],
    ids=[*OPTIONS, "LSTM", "GRU"],
)
def test_a_run_with_any_option_is_repeated_by_its_configuration_file(network, tmp_path):
    net = network()
    run = RunConfig(task=TaskConfig(name="flip_flop"), network=net.config, training=TrainingConfig())
    write_toml(tmp_path / "config.toml", run)
    again = read_config(tmp_path / "config.toml", RunConfig)
    assert again == run
    assert weights_digest(nr.build_network(again.network)) == weights_digest(net)
