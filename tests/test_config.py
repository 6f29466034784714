import tomllib

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import config as c
from neurornn.vocabulary import InputError

positive = st.floats(1e-6, 1e6)
sizes = st.integers(0, 10**6)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
networks = st.builds(
    c.RateConfig,
    input_size=sizes,
    hidden_size=st.integers(1, 10**6),
    output_size=sizes,
    activation=words,
    dynamics=st.sampled_from(["rate", "current", "leak_inside"]),
    tau=st.none() | positive,
    dt=st.none() | positive,
    alpha=st.none() | st.floats(0.001, 1),
    noise_std=st.floats(0, 10),
    trainable_initial_state=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**63 - 1),
)
runs = st.builds(
    c.RunConfig,
    task=st.builds(c.TaskConfig, name=words, parameters=st.dictionaries(words, plain, max_size=4)),
    network=networks,
    training=st.builds(
        c.TrainingConfig,
        n_steps=sizes,
        learning_rate=positive,
        clip_norm=st.floats(0, 1e6),
        normalise=st.sampled_from(["mask", "all"]),
    ),
    recording=st.builds(c.RecordingConfig, n_trials=st.integers(1, 10**6), noise=st.booleans()),
)


def minimal(**changes):
    base = {
        "task": {"name": "flip_flop"},
        "network": {"input_size": 3, "hidden_size": 8, "output_size": 3},
        "training": {},
    }
    return c.merge(base, changes)


@settings(max_examples=60)
@given(run=runs)
def test_a_run_survives_toml(run, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "config.toml"
    c.write_toml(path, run)
    assert c.read_config(path, c.RunConfig) == run


def test_none_is_left_out_of_the_file_and_comes_back(tmp_path):
    run = c.RunConfig.from_dict(minimal())
    c.write_toml(tmp_path / "run.toml", run)
    written = tomllib.loads((tmp_path / "run.toml").read_text())
    assert "tau" not in written["network"]
    assert c.read_config(tmp_path / "run.toml", c.RunConfig).network.tau is None


def test_a_configuration_is_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        c.TrainingConfig().n_steps = 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trainning": {}}, r"unknown key 'trainning': did you mean 'training'\?"),
        ({"network": {"hiden_size": 3}}, r"unknown key 'network\.hiden_size': did you mean 'hidden_size'\?"),
        ({"training": {"lr": 1.0}}, r"unknown key 'training\.lr': expected one of 'n_steps', 'batch_size'"),
        ({"recording": {"trials": 5}}, r"unknown key 'recording\.trials': did you mean 'n_trials'\?"),
        ({"task": {"nam": "x"}}, r"unknown key 'task\.nam': did you mean 'name'\?"),
        ({"network": {"hidden_size": 0}}, r"'network\.hidden_size': .*greater than or equal to 1, got 0"),
        ({"network": {"hidden_size": -4}}, r"got -4"),
        ({"network": {"hidden_size": 2.5}}, r"'network\.hidden_size': .*integer.*got 2\.5"),
        ({"network": {"hidden_size": "64"}}, r"'network\.hidden_size': .*integer, got '64'"),
        ({"network": {"hidden_size": True}}, r"'network\.hidden_size': .*integer, got True"),
        ({"network": {"tau": float("nan")}}, r"'network\.tau': .*finite.*got nan"),
        ({"network": {"tau": float("inf")}}, r"'network\.tau': .*finite.*got inf"),
        ({"network": {"tau": 0}}, r"'network\.tau': .*greater than 0, got 0"),
        ({"network": {"alpha": 1.5}}, r"'network\.alpha': .*less than or equal to 1, got 1\.5"),
        ({"network": {"dynamics": "rates"}}, r"'network\.dynamics': .*'rate', 'current' or 'leak_inside'"),
        ({"training": {"learning_rate": True}}, r"'training\.learning_rate': .*number, got True"),
        ({"training": {"learning_rate": 0.0}}, r"'training\.learning_rate'"),
        ({"training": {"n_steps": -1}}, r"'training\.n_steps'"),
        ({"training": {"batch_size": 0}}, r"'training\.batch_size'"),
        ({"training": {"normalise": "none"}}, r"'training\.normalise': .*'mask' or 'all', got 'none'"),
        ({"recording": {"noise": 1}}, r"'recording\.noise': .*boolean, got 1"),
        ({"training": 3}, r"'training': .*got 3"),
    ],
)
def test_every_mistake_is_one_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        c.RunConfig.from_dict(minimal(**changes), source="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    assert "pydantic" not in message


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match=r"'network' is missing: add it; 'training' is missing: add it"):
        c.RunConfig.from_dict({"task": {"name": "x"}})
    with pytest.raises(InputError, match="expected a table of keys and values, got list"):
        c.RunConfig.from_dict([1])


def test_numbers_of_numpy_and_whole_floats_fields_are_numbers():
    training = c.TrainingConfig(n_steps=np.int64(5), learning_rate=np.float32(0.5), clip_norm=2)
    assert (training.n_steps, training.learning_rate, training.clip_norm) == (5, 0.5, 2.0)
    assert type(training.n_steps) is int


def test_a_file_that_is_missing_or_no_toml_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.toml"):
        c.read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match=r"bad\.toml' is not a TOML file"):
        c.read_toml(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InputError, match="is not a TOML file"):
        c.read_toml(tmp_path / "bad.toml")


def test_merge_replaces_entries_table_by_table_and_changes_neither_side():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    changes = {"a": {"y": 5, "z": {"q": 1}}, "b": {"c": 1}}
    assert c.merge(base, changes) == {"a": {"x": 1, "y": 5, "z": {"q": 1}}, "b": {"c": 1}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}
    assert c.merge({"a": {"x": 1}}, {"a": 2}) == {"a": 2}


def test_an_infinite_parameter_of_a_task_survives(tmp_path):
    run = c.RunConfig.from_dict(minimal(task={"name": "own", "parameters": {"horizon": float("inf")}}))
    c.write_toml(tmp_path / "run.toml", run)
    assert c.read_config(tmp_path / "run.toml", c.RunConfig) == run
