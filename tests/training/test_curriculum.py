import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import InputError
from neurornn.config import StageConfig, TrainingConfig
from neurornn.training.curriculum import KINDS, Stage, build_stages, parameters_of, take_tasks

SMALL = {"batch_size": 4, "n_evaluation_trials": 8, "evaluate_every": 2, "progress": False}


@pytest.fixture
def task():
    return nr.tasks.FlipFlop(n_bits=2, duration=100)


def network(**options):
    return nr.build_network({"input_size": 2, "hidden_size": 6, "output_size": 2, **options})


def stages_of(task, stages, **settings):
    plain, own = take_tasks(stages)
    config = TrainingConfig.from_dict({"stages": plain, **settings})
    return build_stages(config, task, network(), own)


# Which weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "names"),
    [
        ({}, "input", {"layers.0.input.raw"}),
        ({}, "recurrent", {"layers.0.recurrent.raw"}),
        ({}, "output", {"output.raw"}),
        ({}, "bias", {"layers.0.bias"}),
        ({}, "output_bias", {"output_bias"}),
        ({"rank": 2}, "low_rank", {"layers.0.recurrent.m", "layers.0.recurrent.n"}),
        ({"rank": 2}, "recurrent", {"layers.0.recurrent.m", "layers.0.recurrent.n"}),
        ({"feedback": True}, "feedback", {"layers.0.feedback_weight"}),
        ({"tau": 50.0, "dt": 10.0, "trainable_tau": True}, "time_constants", {"layers.0.leak_logit"}),
        ({"trainable_initial_state": True}, "initial_state", {"first_state"}),
        ({"n_layers": 2}, "recurrent", {"layers.0.recurrent.raw", "layers.1.recurrent.raw"}),
    ],
)
def test_a_kind_of_weights_is_the_parameters_that_make_them(options, kind, names):
    assert set(parameters_of(network(**options), [kind], "trainable")) == names


def test_every_kind_is_found_in_some_network():
    zoo = [
        network(tau=50.0, dt=10.0, trainable_tau=True, trainable_initial_state=True),
        network(rank=1, feedback=True),
        network(attention="bilinear"),
        network(family="LSTM"),
    ]
    for kind in KINDS:
        found = []
        for net in zoo:
            try:
                found += parameters_of(net, [kind], "trainable")
            except InputError:
                continue
        assert found, kind


def test_a_gated_networks_kinds_are_its_cells_weights():
    net = network(family="LSTM")
    for kind, word in (("input", "ih"), ("recurrent", "hh"), ("bias", "bias")):
        names = parameters_of(net, [kind], "trainable")
        assert names
        assert all(word in name for name in names)


def test_names_and_patterns_do_as_well_and_keep_the_networks_order():
    net = network(n_layers=2)
    assert parameters_of(net, ["layers.1.bias", "output_bias"], "trainable") == (
        "output_bias",
        "layers.1.bias",
    )
    assert len(parameters_of(net, ["layers.1.*"], "trainable")) == 3
    assert parameters_of(net, None, "trainable") is None
    assert set(parameters_of(net, ["*"], "trainable")) == {name for name, _ in net.named_parameters()}


def test_what_is_held_by_the_user_is_no_trained_weight():
    net = network()
    net.output_bias.requires_grad_(False)
    with pytest.raises(InputError, match="this network has no trained weights 'output_bias'"):
        parameters_of(net, ["output_bias"], "trainable")
    assert "output_bias" not in parameters_of(net, ["*"], "trainable")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            ["recurent"],
            r"`trainable`: this network has no trained weights 'recurent': did you mean 'recurrent'\?",
        ),
        (["low_rank"], r"no trained weights 'low_rank'"),
        (["zzz"], r"expected some of 'input', 'recurrent', 'output', 'bias', 'output_bias'"),
        ([], r"`trainable` is empty, so that nothing would be trained: name some weights"),
    ],
)
def test_weights_that_are_not_there_are_refused_before_anything_is_done(task, wanted, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        nr.train(network(), task, trainable=wanted, directory=tmp_path / "run", **SMALL)
    with pytest.raises(InputError, match=r"`stages\[1\]\.trainable`"):
        nr.train(network(), task, stages=[{"trainable": wanted}], directory=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


def changed(before, net):
    return {name for name, own in net.named_parameters() if not torch.equal(own, before[name])}


def copies(net):
    return {name: own.detach().clone() for name, own in net.named_parameters()}


@pytest.mark.parametrize("optimiser", ["Adam", "SGD"])
def test_only_the_named_weights_change(task, optimiser):
    net, seen = network(), []
    before = copies(net)
    options = {"optimiser_options": {"momentum": 0.9}} if optimiser == "SGD" else {}
    nr.train(
        net, task, n_steps=4, trainable=["input", "output_bias"], optimiser=optimiser, learning_rate=1e-2,
        callbacks=[lambda state: seen.append(changed(before, state.network))], **options, **SMALL,
    )  # fmt: skip
    assert seen == [set(), *[{"layers.0.input.raw", "output_bias"}] * 2]
    assert all(own.requires_grad for own in net.parameters())


@pytest.mark.parametrize("optimiser", ["Adam", "SGD"])
def test_each_stage_trains_its_own_weights(task, optimiser):
    # Momentum from the first stage must not move weights in the second.
    net, seen = network(), []
    before = copies(net)

    def look(state):
        nonlocal before
        seen.append((state.step, changed(before, state.network)))
        before = copies(state.network)

    options = {"optimiser_options": {"momentum": 0.9}} if optimiser == "SGD" else {}
    nr.train(
        net, task, n_steps=4, learning_rate=1e-2, optimiser=optimiser, callbacks=[look], **options, **SMALL,
        stages=[{"n_steps": 2, "trainable": ["input"]}, {"trainable": ["recurrent"]}],
    )  # fmt: skip
    assert seen == [(0, set()), (2, {"layers.0.input.raw"}), (4, {"layers.0.recurrent.raw"})]
    assert all(own.requires_grad for own in net.parameters())


# Stages -----------------------------------------------------------------------------------------------------


def test_without_stages_there_is_one():
    task = nr.tasks.FlipFlop(n_bits=2)
    assert build_stages(TrainingConfig(), task, network()) == [Stage(task)]
    (one,) = build_stages(TrainingConfig(trainable=["output"]), task, network())
    assert one.trainable == ("output.raw",)


def test_a_stage_is_the_runs_task_with_what_differs(task):
    first, second, third = stages_of(
        task,
        [
            {"parameters": {"pulse_probability": 0.2}, "n_steps": 5, "score": 0.9},
            {"task": "flip_flop", "parameters": {"duration": 300.0}, "n_steps": 3},
            {},
        ],
        trainable=["recurrent"],
    )
    assert first.task == nr.tasks.FlipFlop(n_bits=2, duration=100, pulse_probability=0.2)
    assert (first.n_steps, first.score) == (5, 0.9)
    assert second.task == nr.tasks.FlipFlop(n_bits=2, duration=300)
    assert third == Stage(task, None, None, ("layers.0.recurrent.raw",))


def test_another_task_begins_with_its_own_defaults():
    task = nr.tasks.get("yang19_fdgo")
    other = [name for name in nr.tasks.TASKS if name.startswith("yang19_")][1]
    (first, _) = stages_of(task, [{"task": other, "n_steps": 1}, {}])
    assert first.task == nr.tasks.get(other)


def test_a_task_is_given_as_an_object_or_by_name(echo_class):
    plain, own = take_tasks(
        [{"task": nr.tasks.FlipFlop(n_bits=2), "n_steps": 3}, {"task": echo_class(gain=2.0)}, StageConfig()]
    )
    assert plain[0]["task"] == "flip_flop"
    assert plain[0]["parameters"]["n_bits"] == 2
    assert (plain[1]["task"], plain[1]["parameters"]) == ("Echo", {"gain": 2.0, "dt": 20.0})
    assert own == [None, echo_class(gain=2.0), None]


def test_a_task_of_ones_own_is_changed_as_a_dataclass(echo_class):
    config = TrainingConfig.from_dict({"stages": [{"parameters": {"gain": 3.0}, "n_steps": 1}, {}]})
    net = nr.RateRNN(1, 4, 1)
    first, second = build_stages(config, echo_class(gain=0.5), net)
    assert (first.task, second.task) == (echo_class(gain=3.0), echo_class(gain=0.5))
    config = TrainingConfig.from_dict({"stages": [{"parameters": {"gian": 3.0}}]})
    with pytest.raises(InputError, match=r"unknown parameter of Echo 'gian': .*did you mean 'gain'\?"):
        build_stages(config, echo_class(), net)


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([{"task": "flipflop"}], r"unknown task of stage 1 'flipflop': .*did you mean 'flip_flop'\?"),
        ([{"parameters": {"bits": 3}}], r"task 'flip_flop' has no parameter 'bits': did you mean 'n_bits'\?"),
        ([{"parameters": {"duration": -1.0}}], r"duration"),
        ([{"n_steps": 0}], r"'stages\.0\.n_steps': .*greater than or equal to 1, got 0"),
        ([{"n_step": 3}], r"unknown key 'stages\.0\.n_step': did you mean 'n_steps'\?"),
        ([{}, {"n_steps": 3}], r"stage 1 of 2 would never end: give it `n_steps` or a `score`"),
        ([{"parameters": {"n_bits": 3}}], r"input_size is 2 but the task's n_inputs is 3"),
        ([{"task": "perceptual_decision_making"}], r"the task's n_inputs is"),
        ([3], r"stage 1 must be a table such as \{'n_steps': 500, 'score': 0\.9\}, got 3"),
        (
            [{"task": nr.tasks.FlipFlop(n_bits=2), "parameters": {"n_bits": 2}}],
            r"stage 1 gives a task and `parameters` too: put them into the task itself",
        ),
        ([{"score": "high"}], r"'stages\.0\.score': .*number, got 'high'"),
        ([{"trainable": "input"}], r"'stages\.0\.trainable': .*list, got 'input'"),
    ],
)
def test_mistakes_in_stages_are_told_before_anything_is_done(task, stages, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence) as caught:
        nr.train(network(), task, n_steps=4, stages=stages, directory=tmp_path / "run", **SMALL)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# The way through ------------------------------------------------------------------------------------------


def stage_numbers(run):
    return run.history.stage.values.astype(int).tolist()


def test_a_stage_ends_with_its_steps_wherever_evaluations_are_due(task):
    run = nr.train(
        network(),
        task,
        n_steps=9,
        stages=[{"n_steps": 3}, {"n_steps": 3}, {}],
        **{**SMALL, "evaluate_every": 4},
    )
    assert stage_numbers(run) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert run.history.evaluation.values.tolist() == [0, 3, 4, 6, 8, 9]
    assert run.history.attrs["stopped_by"] == "steps"


def test_a_stage_ends_with_its_score_sustained(task):
    stages = [{"score": 0.0}, {"score": 2.0, "n_steps": 5}, {"score": 0.0}]
    run = nr.train(network(), task, n_steps=50, stages=stages, stop_after=2, **{**SMALL, "evaluate_every": 1})
    # The evaluation before the first step counts as one; a score of 2 is never reached.
    assert stage_numbers(run) == [1, 2, 2, 2, 2, 2, 3, 3]
    assert run.history.attrs["stopped_by"] == "score"


def test_the_last_stage_may_end_the_training_with_its_own_steps(task):
    run = nr.train(network(), task, n_steps=50, stages=[{"n_steps": 2}, {"n_steps": 3}], **SMALL)
    assert stage_numbers(run) == [1, 1, 2, 2, 2]
    assert run.history.attrs["stopped_by"] == "stages"


def test_the_best_weights_are_those_of_the_last_stage(task):
    # Easy first: the lower loss of the first stage is no measure of the second.
    easy = {"parameters": {"pulse_probability": 0.0}, "n_steps": 4}
    run = nr.train(network(), task, n_steps=8, stages=[easy, {}], learning_rate=1e-2, **SMALL)
    assert run.history.attrs["best_step"] > 4
    assert run.task == task


def test_each_stage_has_its_own_trials_and_held_out_trials():
    drawn = []

    class Watched(nr.tasks.FlipFlop):
        def draw(self, n_trials, rng):
            drawn.append(super().draw(n_trials, rng))
            return drawn[-1]

    stages = [{"n_steps": 2}, {}]
    nr.train(network(), Watched(n_bits=2, duration=100), n_steps=4, stages=stages, **SMALL)
    held_out = [own.inputs for own in drawn if own.n_trials == 8]
    batches = [own.inputs for own in drawn if own.n_trials == 4]
    assert len(held_out) == 2
    assert not np.array_equal(*held_out)
    assert len({own.tobytes() for own in batches}) == len(batches) == 4


def test_stages_are_in_the_configuration_that_repeats_the_run(task, tmp_path):
    stages = [
        {"parameters": {"pulse_probability": 0.2}, "n_steps": 2, "trainable": ["input"]},
        {"n_steps": 2},
    ]
    one = nr.train(network(), task, n_steps=9, stages=stages, directory=tmp_path / "one", **SMALL)
    from neurornn.cli import run

    arguments = ["train", "--config", str(tmp_path / "one" / "config.toml"), "--out", str(tmp_path / "two")]
    assert run(arguments) == 0
    for name in ("network.safetensors", "network.json", "config.toml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert one.config.stages == nr.load_run(tmp_path / "two").config.stages
