import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import (
    CorruptFile,
    InputError,
    RateRNN,
    build_network,
    load_network,
    network_from_arrays,
    register_activation,
    save_network,
)
from neurornn.networks import ACTIVATIONS, weights_digest


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


options = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(["tanh", "relu", "softplus", "sigmoid"]),
        "dynamics": st.sampled_from(["rate", "current", "leak_inside"]),
        "noise_std": st.floats(0, 1),
        "gain": st.floats(0, 3),
        "trainable_initial_state": st.booleans(),
        "engine": st.sampled_from(["auto", "reference"]),
        "seed": st.integers(0, 2**40),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
    }
)
leaks = st.sampled_from([{}, {"alpha": 0.25}, {"tau": 100.0, "dt": 20.0}])


# From a configuration -----------------------------------------------------------------------------------


@given(options=options, leak=leaks)
def test_a_configuration_rebuilds_the_same_bits(options, leak):
    net = RateRNN(2, 5, 1, **options, **leak)
    for config in (net.config, net.config.to_dict(), json.loads(json.dumps(net.config.to_dict()))):
        twin = build_network(config)
        assert same_weights(twin, net)
        assert twin.config == net.config
        assert twin.alpha == net.alpha
        assert twin.noise_scale == net.noise_scale


def test_a_configuration_with_a_mistake_is_refused():
    good = RateRNN(2, 5, 1).config.to_dict()
    with pytest.raises(InputError, match=r"the network's configuration: unknown key 'hidden': did you mean"):
        build_network({**good, "hidden": 3})
    with pytest.raises(InputError, match=r"'dynamics': input should be 'rate', 'current' or 'leak_inside'"):
        build_network({**good, "dynamics": "chaos"})
    with pytest.raises(InputError, match=r"unknown activation 'tan'"):
        build_network({**good, "activation": "tan"})
    with pytest.raises(InputError, match="`dt` must not be longer than `tau`"):
        build_network({**good, "tau": 5, "dt": 10})


def test_a_network_is_built_on_the_device_that_was_asked_for():
    assert build_network(RateRNN(2, 5, 1).config, device="meta").bias.device.type == "meta"


# From arrays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("as_input", [np.asarray, torch.as_tensor])
def test_foreign_weights_keep_their_values_and_their_dtype(dtype, as_input):
    arrays = [as_input(draw(*shape).astype(dtype)) for shape in ((4, 4), (4, 2), (4,), (3, 4))]
    net = network_from_arrays(*arrays, activation="relu", alpha=0.2, dynamics="leak_inside")
    found = (net.recurrent_weight, net.input_weight, net.bias, net.output_weight)
    for array, tensor in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(tensor.detach().numpy(), np.asarray(array))
        assert tensor.dtype == {"f4": torch.float32, "f8": torch.float64}[dtype]
    assert (net.input_size, net.hidden_size, net.output_size) == (2, 4, 3)
    assert (net.alpha, net.dynamics, net.activation.name, net.training) == (0.2, "leak_inside", "relu", False)
    assert not net.output_bias.any()


def test_what_is_left_out_is_not_there():
    net = network_from_arrays(2 * np.eye(3))
    assert (net.input_size, net.output_size, net.alpha) == (0, 0, 1)
    assert not net.bias.any()
    with torch.no_grad():
        step = net.step(torch.ones(3).double(), torch.zeros(0).double())
    np.testing.assert_allclose(step, np.tanh(2 * np.ones(3)))


def test_the_weights_are_a_copy_however_the_array_lies_in_memory():
    weights = draw(4, 4)
    frozen = weights.copy()
    frozen.flags.writeable = False
    for array in (
        weights[::-1],
        weights.T,
        weights.astype(">f8"),
        frozen,
        weights.tolist(),
        weights[:, ::-1],
    ):
        found = network_from_arrays(array).recurrent_weight.detach().numpy()
        np.testing.assert_array_equal(found, np.asarray(array))
    net = network_from_arrays(weights)
    with torch.no_grad():
        net.recurrent_weight.zero_()
    assert weights.any()


def test_whole_numbers_become_float64():
    assert network_from_arrays(np.eye(3, dtype=int)).recurrent_weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("arrays", "options", "sentence"),
    [
        ((draw(3),), {}, r"`recurrent` must have shape \(unit, unit\), got \(3,\)"),
        ((draw(3, 4),), {}, r"`recurrent` must have shape \(unit, unit\), got \(3, 4\)"),
        ((np.zeros((0, 0)),), {}, r"`recurrent` must have shape \(unit, unit\), got \(0, 0\)"),
        ((np.full((2, 2), np.nan),), {}, r"`recurrent` must be finite, got nan at index \(0, 0\)"),
        ((draw(3, 3), draw(2, 3)), {}, r"`input` must have shape \(3, input_channel\), got \(2, 3\)"),
        ((draw(3, 3), draw(3)), {}, r"`input` must have shape \(3, input_channel\), got \(3,\)"),
        ((draw(3, 3), None, draw(4)), {}, r"`bias` must have shape \(3\), got \(4,\)"),
        ((draw(3, 3), None, None, draw(3, 2)), {}, r"`output` must have shape \(output_channel, 3\), got"),
        ((draw(3, 3), None, [np.inf, 0, 0]), {}, r"`bias` must be finite, got inf"),
        ((1j * draw(3, 3),), {}, "`recurrent` must hold real numbers, got an array of complex128"),
        ((torch.eye(3) * 1j,), {}, "`recurrent` must hold real numbers, got a tensor of torch.complex64"),
        (("weights",), {}, "`recurrent` must hold real numbers"),
        ((draw(3, 3),), {"alpha": 2.0}, "`alpha` must be at most 1"),
        ((draw(3, 3),), {"activation": "tahn"}, "did you mean 'tanh'"),
        ((draw(3, 3),), {"dynamics": "rates"}, "did you mean 'rate'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, options, sentence):
    with pytest.raises(InputError, match=sentence):
        network_from_arrays(*arrays, **options)


# Files --------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    net = RateRNN(2, 6, 3, tau=100.0, dt=20.0, trainable_initial_state=True, seed=4)
    with torch.no_grad():
        net.bias.add_(1)
        net.first_state.add_(0.5)
    net.training_record = {"steps_trained": 7, "note": "ü"}
    save_network(net, tmp_path / "network")
    return net, tmp_path / "network"


@settings(max_examples=20)
@given(options=options, leak=leaks)
def test_a_network_comes_back_from_its_files(options, leak, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "network"
    net = RateRNN(2, 5, 1, **options, **leak)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.from_numpy(draw(*parameter.shape)))
    save_network(net, path)
    again = load_network(path)
    assert same_weights(again, net)
    assert again.config == net.config
    assert weights_digest(again) == weights_digest(net)
    assert not again.training


def test_the_record_of_training_travels_along(saved):
    assert load_network(saved[1]).training_record == {"steps_trained": 7, "note": "ü"}


def test_any_of_the_names_of_a_network_will_do(saved, tmp_path):
    net, path = saved
    for ending in ("", ".json", ".safetensors"):
        assert same_weights(load_network(f"{path}{ending}"), net)
    save_network(net, tmp_path / "v1.5.json")
    assert (tmp_path / "v1.5.safetensors").exists()
    assert same_weights(load_network(tmp_path / "v1.5"), net)


def test_one_network_always_gives_the_same_bytes(saved, tmp_path):
    net, path = saved
    save_network(net, tmp_path / "again")
    save_network(load_network(path), tmp_path / "third")
    for ending in (".json", ".safetensors"):
        first = path.with_suffix(ending).read_bytes()
        assert (
            first == (tmp_path / f"again{ending}").read_bytes() == (tmp_path / f"third{ending}").read_bytes()
        )


def test_the_digest_tells_weights_apart():
    net = RateRNN(2, 6, 3, seed=4)
    before = weights_digest(net)
    with torch.no_grad():
        net.bias[0] += 1e-6
    assert weights_digest(net) != before
    assert weights_digest(RateRNN(2, 6, 3, seed=4)) == before
    assert weights_digest(RateRNN(2, 6, 3, seed=4, dtype=torch.float64)) != before


@pytest.mark.parametrize("ending", [".safetensors", ".json"])
def test_one_flipped_bit_in_either_file_is_refused(saved, ending):
    path = saved[1].with_suffix(ending)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            same = json.loads(damaged) == json.loads(data) if ending == ".json" else False
        except ValueError:
            same = False
        if not same:
            with pytest.raises((CorruptFile, InputError)):
                load_network(saved[1])


def test_what_is_wrong_with_a_file_is_told(saved):
    _, path = saved
    weights, description = path.with_suffix(".safetensors"), path.with_suffix(".json")
    whole = {file: file.read_bytes() for file in (weights, description)}
    weights.write_bytes(whole[weights][:-1])
    with pytest.raises(
        CorruptFile, match=r"network\.safetensors' is damaged: its content does not have the SHA"
    ):
        load_network(path)
    weights.unlink()
    with pytest.raises(InputError, match=r"there is no file '.*network\.safetensors': check the name"):
        load_network(path)
    weights.write_bytes(whole[weights])
    description.write_text(description.read_text().replace('"alpha"', '"beta"').replace("100.0", "90.0"))
    with pytest.raises(CorruptFile, match=r"network\.json' is damaged or was edited"):
        load_network(path)
    description.write_text(json.dumps({"format": 99}))
    with pytest.raises(
        InputError, match=r"has format 99, expected 2: .*another version of neurornn; install"
    ):
        load_network(path)
    description.unlink()
    with pytest.raises(
        InputError, match=r"there is no file '.*network\.json': check the name and the folder"
    ):
        load_network(path)


def test_a_callable_without_a_name_is_refused_and_nothing_is_written(tmp_path):
    net = RateRNN(1, 3, 1, activation=torch.sin)
    with pytest.raises(
        InputError, match=r"callable without a name.*neurornn\.register_activation\(name, func"
    ):
        save_network(net, tmp_path / "network")
    assert list(tmp_path.iterdir()) == []
    assert net(torch.ones(1, 2, 1))[0].shape == (1, 2, 1)


def test_a_registered_callable_round_trips(tmp_path):
    register_activation("sine", torch.sin)
    try:
        net = RateRNN(1, 3, 1, activation="sine")
        save_network(net, tmp_path / "network")
        assert load_network(tmp_path / "network").activation is ACTIVATIONS["sine"]
    finally:
        del ACTIVATIONS["sine"]
    with pytest.raises(InputError, match="unknown activation 'sine'"):
        load_network(tmp_path / "network")


def test_a_network_is_loaded_to_the_device_that_was_asked_for(saved):
    assert load_network(saved[1], device="cpu").bias.device.type == "cpu"
