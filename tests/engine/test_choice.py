"""Which engine is chosen, what is said about the others, and that the documentation's table is true."""

import dataclasses
import pathlib

import pytest
import torch

import neurornn as nr
from neurornn import InputError, RateRNN
from neurornn.engine import ENGINES, Feedback, Plasticity, explain

TABLE = pathlib.Path(__file__).parents[2] / "docs" / "engines.md"


def test_the_fastest_engine_is_chosen_and_nothing_needs_a_reason():
    found = explain(RateRNN(1, 4, 1))
    assert (found.engine, found.refusals) == ("numba", {})
    assert str(found) == "numba runs this network"
    assert nr.engine.explain is explain


def test_every_faster_engine_gets_its_reason():
    net = RateRNN(1, 4, 1, activation=torch.nn.PReLU(dtype=torch.float64), dtype=torch.float64)
    found = explain(net)
    assert found.engine == "reference"
    assert "numba does not: its kernel has the activations" in str(found)
    assert "torch does not: the activation has trainable parameters of its own" in str(found)


def test_an_engine_that_was_asked_for_is_explained_too():
    assert str(explain(RateRNN(1, 4, 1, engine="torch"))) == "torch runs this network"
    found = explain(RateRNN(1, 4, 1, engine="numba", dtype=torch.float64))
    assert found.engine is None
    assert str(found) == (
        "no engine runs this network\nnumba does not: it serves float32 only, and `inputs` is float64"
    )


def test_it_is_asked_with_the_inputs_that_are_meant():
    net = RateRNN(2, 4, 1)
    assert explain(net, torch.zeros(3, 5, 2), return_states=True).engine == "numba"
    with pytest.raises(InputError, match=r"`inputs` must have shape \(trial, time, 2\), got \(3, 5, 1\)"):
        explain(net, torch.zeros(3, 5, 1))


@pytest.mark.parametrize(
    ("switch", "chosen"), [("torch", "torch"), ("reference", "reference"), ("auto", "numba"), ("", "numba")]
)
def test_the_environment_switches_faster_engines_off(monkeypatch, switch, chosen):
    monkeypatch.setenv("NEURORNN_ENGINE", switch)
    found = explain(RateRNN(1, 4, 1))
    assert found.engine == chosen
    for reason in found.refusals.values():
        assert reason == f"the environment variable NEURORNN_ENGINE={switch} switches it off"


def test_what_is_switched_off_cannot_be_forced(monkeypatch):
    monkeypatch.setenv("NEURORNN_ENGINE", "torch")
    net = RateRNN(1, 4, 1, engine="numba")
    with pytest.raises(
        InputError, match=r"cannot serve this network: the environment variable NEURORNN_ENGINE=torch"
    ):
        net(torch.zeros(1, 2, 1))


def test_an_unknown_name_in_the_environment_is_told(monkeypatch):
    monkeypatch.setenv("NEURORNN_ENGINE", "tirch")
    with pytest.raises(
        InputError, match=r"environment variable NEURORNN_ENGINE.*'tirch'.*did you mean 'torch'\?"
    ):
        RateRNN(1, 4, 1)(torch.zeros(1, 2, 1))


def problem_for(option):
    """Return the scan of a network with the option of a row of the table."""
    float32, inputs = {"dtype": torch.float32}, torch.zeros(2, 3, 1)
    networks = {
        "tanh, ReLU, softplus, sigmoid": {},
        "any other elementwise activation": {"activation": torch.sin},
        "an activation with parameters of its own": {"activation": torch.nn.PReLU()},
        'dynamics "rate", "current"': {"dynamics": "current"},
        'dynamics "leak_inside"': {"dynamics": "leak_inside"},
        "leak, recurrent noise": {"alpha": 0.2, "noise_std": 0.1},
        "float32 on the CPU": {},
        "float64": {"dtype": torch.float64},
        "truncation, checkpointing": {},
    }
    if option == "a leak for each unit":
        base = RateRNN(1, 4, 1).scan_problem(inputs)
        return dataclasses.replace(base, alpha=torch.rand(4))
    if option == "a trainable leak":
        base = RateRNN(1, 4, 1).scan_problem(inputs)
        return dataclasses.replace(base, alpha=torch.rand(4, requires_grad=True))
    parts = {
        "low rank": {"recurrent_weight": torch.rand(4, 2), "selection": torch.rand(2, 4)},
        "short-term plasticity": {
            "plasticity": Plasticity(*torch.rand(3, 4), seconds=0.02),
            "initial_state": torch.rand(2, 12),
        },
        "layer normalisation": {"norm_gain": torch.ones(4)},
        "dropout of rates": {"kept_share": torch.ones(2, 4)},
        "fed-back outputs mixed with a teacher's": {
            "feedback_weight": torch.rand(4, 1),
            "feedback": Feedback(torch.rand(3, 2, 1), torch.ones(3, 2, dtype=torch.bool)),
        },
    }
    if option in parts:
        return dataclasses.replace(RateRNN(1, 4, 1).scan_problem(inputs), **parts[option])
    if option == "CUDA and other devices":
        net = RateRNN(1, 4, 1, device="meta")
        return net.scan_problem(torch.zeros(2, 3, 1, device="meta"))
    net = RateRNN(1, 4, 1, **{**float32, **networks[option]}).train()
    extra = {"truncate": 2} if option.startswith("truncation") else {}
    return net.scan_problem(inputs.to(net.bias.dtype), **extra)


def rows():
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and set(cells[1:]) <= {"yes", "no"}:
            yield cells


@pytest.mark.parametrize(
    "row",
    [row for row in rows() if not row[0].startswith(("torch.func", "autocast"))],
    ids=lambda row: row[0],
)
def test_the_table_of_options_and_engines_is_true(row):
    option, *answers = row
    problem = problem_for(option)
    for name, answer in zip(("numba", "torch", "reference"), answers, strict=True):
        assert (ENGINES[name].reason_to_refuse(problem) is None) == (answer == "yes"), name


def test_the_table_has_the_rows_that_only_the_reference_engine_serves():
    found = {row[0]: row[1:] for row in rows()}
    assert len(found) == 19
    assert found["torch.func, vmap"] == ["no", "no", "yes"]
    assert found["autocast"] == ["no", "no", "yes"]


def test_a_question_does_not_move_the_networks_noise_on():
    net = RateRNN(1, 4, 1, noise_std=0.1).train()
    before = net.noise_generator.get_state()
    assert explain(net).engine == "numba"
    assert torch.equal(net.noise_generator.get_state(), before)


def test_only_a_network_can_be_explained():
    with pytest.raises(InputError, match="`network` must be a rate network, got int: build a RateRNN"):
        explain(3)


def test_training_refuses_an_engine_before_an_earlier_run_is_touched(tmp_path, monkeypatch, flip_flop):
    options = {"n_steps": 1, "batch_size": 4, "directory": tmp_path / "run", "progress": False}
    nr.train(RateRNN(2, 4, 2), flip_flop, **options)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    cannot = RateRNN(2, 4, 2, dynamics="leak_inside", alpha=0.5, engine="numba")
    with pytest.raises(InputError, match="engine 'numba' cannot serve this network: its kernel"):
        nr.train(cannot, flip_flop, overwrite=True, **options)
    monkeypatch.setenv("NEURORNN_ENGINE", "tirch")
    with pytest.raises(InputError, match="did you mean 'torch'"):
        nr.train(RateRNN(2, 4, 2), flip_flop, overwrite=True, **options)
    assert kept == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("options", "engine", "reason"),
    [
        ({"excitatory_fraction": 0.8, "activation": "relu"}, "numba", None),
        ({"rank": 2}, "numba", None),
        ({"plasticity": "mixed", "activation": "relu", "tau": 100.0, "dt": 20.0}, "numba", None),
        ({"feedback": True}, "numba", None),
        ({"weight_norm": True}, "numba", None),
        ({"tau": [30.0, 40.0, 50.0, 60.0], "dt": 20.0}, "numba", None),
        ({"tau": 30.0, "dt": 20.0, "trainable_tau": True}, "torch", "no gradient of the leak"),
        ({"dropout": 0.1}, "torch", "its kernel has no dropout"),
        ({"layer_norm": True}, "reference", "layer normalisation"),
        ({"activation": "parametric_relu"}, "reference", "trainable parameters of its own"),
    ],
)
def test_the_options_of_a_rate_network_run_where_the_documentation_says(options, engine, reason):
    found = explain(RateRNN(1, 4, 1, **options).train())
    assert found.engine == engine
    assert reason is None or any(reason in own for own in found.refusals.values())


def test_gated_networks_run_on_torchs_own_kernels():
    with pytest.raises(
        InputError, match="`network` must be a rate network, got GRU: others run on torch's own"
    ):
        explain(nr.GRU(1, 4, 1))
