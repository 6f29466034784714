import copy
import csv
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import InputError, RateRNN, load_run, seeding, train
from neurornn.config import RecordingConfig, RunConfig, read_config
from neurornn.tasks import DelayedComparison, FlipFlop, PerceptualDecisionMaking, Task, Trials
from neurornn.training import DivergedTraining, RunDirectory, masked_loss
from neurornn.training.checkpoint import load_checkpoint

QUICK = {
    "n_steps": 8,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "evaluate_every": 3,
    "n_evaluation_trials": 16,
    "progress": False,
}


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def untimed_rows(path):
    """The rows of metrics.csv without how long steps took, which no run repeats."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: own for name, own in row.items() if name != "ms_per_step"} for row in rows]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def network(flip_flop):
    return RateRNN(flip_flop.n_inputs, 8, flip_flop.n_outputs, seed=0)


@pytest.fixture
def watched(flip_flop):
    """A flip-flop that keeps what it drew, and can be told to fail at one of its draws."""
    drawn = []

    @dataclass(frozen=True)
    class Watched(FlipFlop):
        def draw(self, n_trials, rng):
            trials = super().draw(n_trials, rng)
            if self.fault is not None and len(drawn) == self.fault[0]:
                self.fault[1](trials)
            drawn.append(trials)
            return trials

    Watched.drawn = drawn
    Watched.fault = None
    return Watched(n_bits=2, duration=300)


# What training does -------------------------------------------------------------------------------------


def test_training_improves_the_network(trained):
    history = trained.history
    assert history.evaluation_loss[-1] < 0.5 * history.evaluation_loss[0]
    assert history.evaluation_score[-1] > history.evaluation_score[0]
    assert history.loss[-10:].mean() < history.loss[:10].mean()


def test_a_step_is_adam_on_the_clipped_gradient_of_fresh_trials(flip_flop, network):
    wanted = copy.deepcopy(network)
    train(network, flip_flop, **{**QUICK, "n_steps": 3, "clip_norm": 0.05, "seed": 5})
    stream = seeding.numpy_stream(5, seeding.TRIALS)
    optimizer = torch.optim.Adam(wanted.parameters(), lr=1e-2)
    for _ in range(3):
        trials = flip_flop.draw(4, stream)
        inputs, targets, mask = map(torch.from_numpy, (trials.inputs, trials.targets, trials.mask))
        loss = masked_loss(wanted(inputs)[0], targets, mask, "mse")
        optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in wanted.parameters()))
        assert norm > 0.05
        for parameter in wanted.parameters():
            parameter.grad *= 0.05 / norm
        optimizer.step()
    for ours, theirs in zip(network.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_history_holds_the_gradient_norm_before_clipping(flip_flop, network):
    free = train(copy.deepcopy(network), flip_flop, **{**QUICK, "n_steps": 1, "clip_norm": 0})
    clipped = train(network, flip_flop, **{**QUICK, "n_steps": 1, "clip_norm": 1e-3})
    assert float(free.history.gradient_norm[0]) == float(clipped.history.gradient_norm[0]) > 1e-3


def test_the_same_seed_gives_the_same_bits_twice(flip_flop, tmp_path):
    runs = []
    for name in ("one", "two"):
        net = RateRNN(2, 8, 2, noise_std=0.1, seed=3)
        runs.append(train(net, flip_flop, **QUICK, seed=2, directory=tmp_path / name))
    assert same(weights(runs[0].network), weights(runs[1].network))
    one, two = (run.history.drop_vars("ms_per_step") for run in runs)
    xr.testing.assert_identical(one, two)
    for file in ("config.toml", "network.safetensors", "network.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    one, two = (untimed_rows(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    assert one == two


def test_another_seed_gives_other_trials(flip_flop, network):
    twin = copy.deepcopy(network)
    one, other = (train(net, flip_flop, **QUICK, seed=seed) for net, seed in ((network, 0), (twin, 1)))
    assert not np.array_equal(one.history.loss, other.history.loss)
    assert one.history.evaluation_loss[0] != other.history.evaluation_loss[0]


def test_evaluating_more_often_changes_nothing_of_the_steps(flip_flop, network):
    twin = copy.deepcopy(network)
    often = train(network, flip_flop, **{**QUICK, "evaluate_every": 1})
    seldom = train(twin, flip_flop, **{**QUICK, "evaluate_every": 8, "n_evaluation_trials": 5})
    np.testing.assert_array_equal(often.history.loss, seldom.history.loss)


def test_no_global_generator_is_read_or_advanced(flip_flop, random_states):
    before = random_states()
    train(RateRNN(2, 8, 2, noise_std=0.1), flip_flop, **QUICK)
    assert random_states() == before


def test_the_best_weights_are_left_in_the_network(flip_flop):
    # A step so long that the loss goes up and down: the last weights are not the best.
    net = RateRNN(2, 8, 2, seed=1)
    run = train(net, flip_flop, **{**QUICK, "n_steps": 30, "evaluate_every": 2, "learning_rate": 0.3})
    losses = run.history.evaluation_loss
    assert float(losses[-1]) > float(losses.min())
    trials = flip_flop.draw(16, seeding.numpy_stream(0, seeding.EVALUATION))
    with torch.no_grad():
        outputs = net(torch.from_numpy(trials.inputs))[0]
    loss = masked_loss(outputs, torch.from_numpy(trials.targets), torch.from_numpy(trials.mask), "mse")
    assert float(loss) == float(losses.min())
    assert run.history.attrs["best_step"] == int(losses.idxmin("evaluation"))
    assert not net.training


def test_history_says_after_which_step_everything_was_measured(flip_flop, network):
    history = train(network, flip_flop, **QUICK).history
    assert history.step.values.tolist() == list(range(1, 9))
    assert history.evaluation.values.tolist() == [0, 3, 6, 8]
    assert {name for name, own in history.items() if own.dims == ("step",)} == {
        *("loss", "gradient_norm", "gradient_norm_clipped", "learning_rate", "stage", "trials"),
    }
    assert {"evaluation_loss", "evaluation_score", "ms_per_step"} <= set(history)
    assert history.trials.values.tolist() == [4 * step for step in range(1, 9)]
    assert history.attrs["stopped_by"] == "steps"


def test_evaluation_is_without_recurrent_noise(flip_flop):
    quiet, noisy = (RateRNN(2, 8, 2, noise_std=sigma, seed=0) for sigma in (0.0, 0.5))
    first = [float(train(net, flip_flop, **QUICK).history.evaluation_loss[0]) for net in (quiet, noisy)]
    assert first[0] == first[1]


def test_training_again_counts_on_and_sees_fresh_trials(watched, network):
    train(network, watched, **QUICK)
    second = train(network, watched, **QUICK)
    assert second.history.step.values.tolist() == list(range(9, 17))
    assert second.history.evaluation.values.tolist() == [8, 11, 14, 16]
    assert network.training_record["steps_trained"] == 16
    held_out_1, *fresh_1 = watched.drawn[:9]
    held_out_2, *fresh_2 = watched.drawn[9:]
    np.testing.assert_array_equal(held_out_1.inputs, held_out_2.inputs)
    seen = {trials.inputs.tobytes() for trials in (*fresh_1, *fresh_2)}
    assert len(seen) == 16


def test_training_again_never_makes_it_worse(flip_flop, network):
    first = train(network, flip_flop, **QUICK)
    second = train(network, flip_flop, **{**QUICK, "learning_rate": 1.0})
    assert float(second.history.evaluation_loss[0]) == float(first.history.evaluation_loss.min())
    assert float(second.history.evaluation_loss.min()) <= float(first.history.evaluation_loss.min())


def test_no_steps_are_an_evaluation(flip_flop, network):
    before = weights(network)
    history = train(network, flip_flop, **{**QUICK, "n_steps": 0}).history
    assert history.sizes == {"step": 0, "evaluation": 1}
    assert same(weights(network), before)


def test_what_is_left_out_comes_from_the_recipe_and_then_from_the_defaults(flip_flop, network):
    config = train(network, flip_flop, n_steps=1, n_evaluation_trials=4, progress=False).config
    assert (config.batch_size, config.learning_rate) == (64, 2e-3)
    assert (config.clip_norm, config.evaluate_every, config.normalise) == (1.0, 100, "mask")


@pytest.mark.parametrize("task", [PerceptualDecisionMaking(), DelayedComparison(delay=200.0)])
@pytest.mark.parametrize("normalise", ["mask", "all"])
def test_tasks_with_classes_train(task, normalise):
    net = RateRNN(task.n_inputs, 8, task.n_outputs, tau=200.0, dt=task.dt, trainable_initial_state=True)
    run = train(net, task, **{**QUICK, "n_steps": 20, "evaluate_every": 10}, normalise=normalise)
    assert run.history.evaluation_loss[-1] < run.history.evaluation_loss[0]
    assert net.first_state.any()


def test_a_task_of_ones_own_in_twenty_lines_trains_and_records_unregistered():
    from neurornn import record

    # <= 20 lines
    @dataclass(frozen=True)
    class Average(Task):
        dt: float = 10.0
        n_inputs = 1
        n_outputs = 1

        def draw(self, n_trials, rng):
            level = rng.choice([-1.0, 1.0], n_trials)
            inputs = level[:, None, None] + rng.standard_normal((n_trials, 20, 1))
            targets = np.tile(level[:, None, None], (1, 20, 1))
            mask = np.arange(20)[None, :, None] >= 15
            mask = np.tile(mask, (n_trials, 1, 1))
            return Trials(self, inputs, targets, mask, conditions={"level": level})

        def score(self, outputs, trials):
            return (np.sign(outputs[:, 15:, 0]) == trials.targets[:, 15:, 0]).mean(axis=1)

    net = RateRNN(1, 16, 1, tau=50.0, dt=10.0)
    train(net, Average(), **{**QUICK, "n_steps": 60, "batch_size": 32})
    activity = record(net, Average(), 50)
    assert float(activity.score.mean()) > 0.85
    assert set(activity.level.values) == {-1, 1}


def test_a_float64_network_trains_in_float64(flip_flop):
    net = RateRNN(2, 8, 2, dtype=torch.float64)
    run = train(net, flip_flop, **QUICK)
    assert net.bias.dtype == torch.float64
    assert run.history.evaluation_loss[-1] < run.history.evaluation_loss[0]


# Divergence and interruption ----------------------------------------------------------------------------


def blow_up(trials):
    trials.targets[...] = 1e30


def interrupt(trials):
    raise KeyboardInterrupt


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(watched, network, tmp_path):
    type(watched).fault = (6, blow_up)  # draw 0 is held out, so this is step 6
    with pytest.raises(
        DivergedTraining, match=r"the loss became inf at step 6: the weights of step \d, the best"
    ) as e:
        train(network, watched, **QUICK, directory=tmp_path / "run")
    assert f"last good checkpoint is {str(tmp_path / 'run' / 'checkpoint.pt')!r}" in str(e.value)
    assert "smaller learning_rate" in str(e.value)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint["step"] == 3
    assert same(weights(network), checkpoint["best_network"])
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert not network.training
    history = load_run(tmp_path / "run", task=watched).history
    assert history.step.values.tolist() == [1, 2, 3]
    assert np.isfinite(history.loss).all()


def test_a_huge_learning_rate_diverges_and_the_first_weights_are_restored(flip_flop):
    net = RateRNN(2, 8, 2, activation="relu", seed=0)
    before = weights(net)
    with pytest.raises(DivergedTraining, match=r"became (nan|inf) at step [12]: the weights of step 0"):
        train(net, flip_flop, **{**QUICK, "learning_rate": 1e25})
    assert same(weights(net), before)


def test_a_held_out_loss_that_is_no_number_names_the_step_it_was_measured_after(flip_flop):
    net = RateRNN(2, 8, 2, activation="relu", seed=0)
    with pytest.raises(DivergedTraining, match=r"the held-out loss became (nan|inf) at step 1:"):
        train(net, flip_flop, **{**QUICK, "learning_rate": 1e25, "evaluate_every": 1})


def test_a_network_that_is_no_number_from_the_start_names_no_checkpoint(flip_flop, network, tmp_path):
    with torch.no_grad():
        network.bias[0] = math.nan
    with pytest.raises(DivergedTraining, match="the held-out loss became nan at step 0") as caught:
        train(network, flip_flop, **QUICK, directory=tmp_path / "run")
    assert "checkpoint" not in str(caught.value)


def test_the_configuration_and_a_step_0_checkpoint_exist_before_the_first_step(watched, network, tmp_path):
    type(watched).fault = (1, interrupt)
    before = weights(network)
    with pytest.raises(KeyboardInterrupt):
        train(network, watched, **QUICK, directory=tmp_path / "run")
    assert read_config(tmp_path / "run" / "config.toml", RunConfig).training.n_steps == 8
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint["step"] == 0
    assert same(checkpoint["network"], before)


def test_an_interrupted_run_loads_with_its_best_weights(watched, network, tmp_path):
    type(watched).fault = (8, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(network, watched, **QUICK, directory=tmp_path / "run")
    assert not (tmp_path / "run" / "network.json").exists()
    run = load_run(tmp_path / "run", task=watched)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint["step"] == 6
    assert same(weights(run.network), checkpoint["best_network"])
    assert run.history.step.values.tolist() == list(range(1, 7))
    assert not run.network.training


# The folder of a run ------------------------------------------------------------------------------------


def test_a_run_writes_its_folder(trained):
    names = {path.name for path in trained.directory.iterdir()}
    checkpoints = {"checkpoint.pt", "checkpoint.previous.pt"}
    assert names == {"config.toml", "metrics.csv", "network.safetensors", "network.json"} | checkpoints
    config = read_config(trained.directory / "config.toml", RunConfig)
    assert config.task.name == "flip_flop"
    assert config.task.parameters["n_bits"] == 2
    assert config.training == trained.config
    assert config.network == trained.network.config


def test_metrics_are_the_history(trained):
    history = trained.history
    with open(trained.directory / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:10] == [
        *("step", "stage", "trials", "learning_rate", "loss", "gradient_norm", "gradient_norm_clipped"),
        *("evaluation_loss", "evaluation_score", "ms_per_step"),
    ]
    steps = {int(row["step"]): row for row in rows}
    assert sorted(steps) == list(range(61))
    for step in history.step.values:
        assert float(steps[step]["loss"]) == float(history.loss.sel(step=step))
        assert float(steps[step]["gradient_norm"]) == float(history.gradient_norm.sel(step=step))
    evaluated = [step for step, row in steps.items() if row["evaluation_loss"]]
    assert evaluated == history.evaluation.values.tolist() == [0, 20, 40, 60]
    for step in evaluated:
        assert float(steps[step]["evaluation_loss"]) == float(history.evaluation_loss.sel(evaluation=step))


def test_a_run_comes_back_from_its_folder(trained):
    again = load_run(trained.directory)
    assert same(weights(again.network), weights(trained.network))
    assert again.network.training_record == trained.network.training_record
    assert again.task == trained.task
    assert again.config == trained.config
    assert again.directory == trained.directory
    xr.testing.assert_identical(again.history, trained.history)


def test_a_checkpoint_holds_everything_that_training_needs(trained):
    checkpoint = load_checkpoint(trained.directory / "checkpoint.pt")
    assert checkpoint["step"] == 60
    assert set(checkpoint) >= {
        "network",
        "optimizer",
        "best_network",
        "trial_stream",
        "noise_stream",
        "metrics",
    }
    stream = np.random.default_rng()
    stream.bit_generator.state = checkpoint["trial_stream"]
    fresh = seeding.numpy_stream(0, seeding.TRIALS)
    for _ in range(60):
        trained.task.draw(16, fresh)
    assert stream.random() == fresh.random()


def test_settings_of_the_recording_are_kept_in_the_configuration(flip_flop, network, tmp_path):
    recording = RecordingConfig(n_trials=7, seed=9)
    train(network, flip_flop, **QUICK, directory=tmp_path / "run", recording=recording)
    assert read_config(tmp_path / "run" / "config.toml", RunConfig).recording == recording


@pytest.fixture
def occupied(flip_flop, network, tmp_path):
    folder = tmp_path / "run"
    train(network, flip_flop, **QUICK, directory=folder)
    (folder / "notes.txt").write_text("mine")
    for inside in ("figures/pca.png", "figures/mine.svg", "analysis/pca.nc", "activity.nc", "report.html"):
        (folder / inside).parent.mkdir(exist_ok=True)
        (folder / inside).write_text("earlier")
    return folder


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_existing_run_is_refused_and_nothing_of_it_is_lost(occupied, flip_flop, network):
    files, before = everything(occupied), weights(network)
    with pytest.raises(
        InputError, match=r"already holds a run: choose another folder, or .*--overwrite.*overwrite=T"
    ):
        train(network, flip_flop, **QUICK, directory=occupied)
    assert everything(occupied) == files
    assert same(weights(network), before)


@pytest.mark.parametrize(
    "mistake",
    [{"n_steps": -1}, {"learning_rate": math.nan}, {"task": FlipFlop(n_bits=3)}, {"activation": torch.sin}],
)
def test_a_mistake_is_found_before_an_earlier_run_is_overwritten(occupied, flip_flop, mistake):
    files = everything(occupied)
    net = RateRNN(2, 8, 2, activation=mistake.pop("activation", "tanh"))
    settings = {**QUICK, "task": flip_flop, **mistake}
    with pytest.raises(InputError):
        train(net, directory=occupied, overwrite=True, **settings)
    assert everything(occupied) == files


def test_overwriting_removes_an_earlier_run_and_keeps_what_is_not_a_runs(occupied, flip_flop, network):
    train(network, flip_flop, **QUICK, directory=occupied, overwrite=True)
    left = {path.relative_to(occupied).as_posix() for path in everything(occupied)}
    assert left == {
        "config.toml",
        "metrics.csv",
        "checkpoint.pt",
        "checkpoint.previous.pt",
        "network.safetensors",
        "network.json",
        "notes.txt",
        "figures/mine.svg",
    }
    assert load_run(occupied).network.training_record["steps_trained"] == 16


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_no_run_is_never_written_into(flip_flop, network, tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        InputError, match=r"is not empty and holds no run \(no config\.toml\): choose another"
    ):
        train(network, flip_flop, **QUICK, directory=tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_will_do(flip_flop, network, tmp_path):
    train(network, flip_flop, **QUICK, directory=tmp_path)
    assert load_run(tmp_path).directory == tmp_path


def test_a_folder_that_cannot_be_made_is_told(flip_flop, network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"is a file, expected a folder for the run: choose another name"):
        train(network, flip_flop, **QUICK, directory=tmp_path / "file")
    with pytest.raises(
        InputError, match=r"cannot write to the folder .*: choose a folder that you may write to"
    ):
        train(network, flip_flop, **QUICK, directory=tmp_path / "file" / "run")
    with pytest.raises(InputError, match="`directory` must be a file path, got int"):
        train(network, flip_flop, **QUICK, directory=3)


def test_without_a_folder_nothing_is_written(flip_flop, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(network, flip_flop, **QUICK).directory is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_task_of_ones_own_loads_when_the_task_is_passed(echo_class, tmp_path):
    net = RateRNN(1, 4, 1)
    train(net, echo_class(gain=0.5), **QUICK, directory=tmp_path / "run")
    with pytest.raises(
        InputError, match=r"trained on 'Echo', which is not registered: pass the task itself, task="
    ):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run", task=echo_class(gain=0.5)).task.gain == 0.5


def test_where_there_is_no_run_it_is_told(tmp_path):
    with pytest.raises(
        InputError, match=r"there is no run in .* \(no config\.toml\): check the folder's name"
    ):
        load_run(tmp_path)
    with pytest.raises(InputError, match="there is no run"):
        RunDirectory.open(tmp_path / "gone")


# Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_steps": -1}, r"the training settings: 'n_steps': .*greater than or equal to 0, got -1"),
        ({"batch_size": 0}, r"'batch_size': .*greater than or equal to 1, got 0"),
        ({"batch_size": True}, r"'batch_size': .*integer, got True"),
        ({"learning_rate": 0}, r"'learning_rate': .*greater than 0, got 0"),
        ({"learning_rate": math.nan}, r"'learning_rate': .*finite number, got nan"),
        ({"clip_norm": -1.0}, r"'clip_norm': .*greater than or equal to 0"),
        ({"normalise": "mean"}, r"'normalise': .*'mask' or 'all', got 'mean'"),
        ({"evaluate_every": 0}, r"'evaluate_every'"),
        ({"n_evaluation_trials": 0}, r"'n_evaluation_trials'"),
        ({"seed": -1}, r"'seed': .*got -1"),
    ],
)
def test_settings_out_of_range_are_refused(flip_flop, network, settings, sentence):
    before = weights(network)
    with pytest.raises(InputError, match=sentence):
        train(network, flip_flop, **{**QUICK, **settings})
    assert same(weights(network), before)


def test_a_network_that_does_not_fit_the_task_is_refused(flip_flop):
    with pytest.raises(
        InputError, match=r"input_size is 3 but the task's n_inputs is 2: .*input_size=task\.n_inputs"
    ):
        train(RateRNN(3, 4, 2), flip_flop)
    with pytest.raises(InputError, match=r"output_size is 1 but the task's n_outputs is 2"):
        train(RateRNN(2, 4, 1), flip_flop)
    with pytest.raises(
        InputError, match=r"dt is 5\.0 ms but the task's is 10\.0 ms: there is one dt.*with_dt"
    ):
        train(RateRNN(2, 4, 2, tau=100.0, dt=5.0), flip_flop)
    with pytest.raises(
        InputError, match=r"`task` must be a task, got str: take one with neurornn\.tasks\.get"
    ):
        train(RateRNN(2, 4, 2), "flip_flop")
    with pytest.raises(InputError, match=r"`network` must be a network, got FlipFlop"):
        train(flip_flop, RateRNN(2, 4, 2))


def test_truncation_and_checkpointing_are_settings_of_training(flip_flop):
    weights = {}
    for name, options in {
        "whole": {},
        "segments": {"checkpoint_every": 7},
        "windows": {"truncate": 5},
    }.items():
        network = RateRNN(2, 8, 2, seed=0)
        run = train(network, flip_flop, **{**QUICK, "n_steps": 5, **options})
        assert {key: getattr(run.config, key) for key in options} == options
        weights[name] = network.recurrent_weight.detach()
    # Float32, summed in another order, then divided by its own size by Adam.
    torch.testing.assert_close(weights["segments"], weights["whole"], rtol=0, atol=1e-4)
    assert not torch.allclose(weights["windows"], weights["whole"], rtol=0, atol=1e-3)
    with pytest.raises(InputError, match=r"'truncate': .*greater than or equal to 1, got 0"):
        train(RateRNN(2, 8, 2), flip_flop, truncate=0)


# Networks with options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [nr.LSTM, nr.GRU])
@pytest.mark.parametrize("options", [{}, {"n_layers": 2, "bidirectional": True}])
def test_gated_networks_train_and_come_back_from_their_folder(flip_flop, tmp_path, family, options):
    net = family(2, 8, 2, **options)
    run = nr.train(net, flip_flop, n_steps=30, batch_size=16, directory=tmp_path / "run", progress=False)
    assert float(run.history.evaluation_loss[-1]) < float(run.history.evaluation_loss[0])
    again = load_run(tmp_path / "run")
    assert type(again.network) is family
    assert same(weights(again.network), weights(net))
    assert again.network.config == net.config


def test_a_teacher_is_fed_back_and_both_errors_are_reported(flip_flop, tmp_path):
    net = RateRNN(2, 16, 2, feedback=True, seed=1)
    options = {"n_steps": 40, "batch_size": 16, "progress": False}
    run = nr.train(net, flip_flop, teacher=1.0, directory=tmp_path / "run", **options)
    history = run.history
    assert history.evaluation_loss_forced.dims == ("evaluation",)
    # Forced, the network is told what it has to hold: the task is easier, and the open loop worse.
    assert float(history.evaluation_loss_forced[-1]) < float(history.evaluation_loss[-1])
    again = load_run(tmp_path / "run")
    assert history.equals(again.history)
    assert again.config.teacher == 1.0
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert "evaluation_loss_forced" in header.split(",")


def test_the_forced_gradient_is_that_of_the_forced_outputs(flip_flop):
    def first_loss(teacher):
        net = RateRNN(2, 16, 2, feedback=True, seed=1)
        run = nr.train(net, flip_flop, n_steps=1, batch_size=16, teacher=teacher, progress=False)
        return float(run.history.loss[0])

    net = RateRNN(2, 16, 2, feedback=True, seed=1)
    trials = flip_flop.draw(16, seeding.numpy_stream(0, seeding.TRIALS))
    from neurornn.training.losses import Batch

    batch = Batch(trials, net.output_bias)
    open_loop, forced = (
        float(batch.loss(net(batch.inputs, teacher=teacher)[0]).detach())
        for teacher in (None, torch.as_tensor(trials.ideal_outputs(), dtype=torch.float32))
    )
    assert first_loss(0.0) == pytest.approx(open_loop, rel=1e-5)
    assert first_loss(1.0) == pytest.approx(forced, rel=1e-5)
    # Mixed step by step, the loss is neither of them.
    assert first_loss(0.5) not in (pytest.approx(open_loop, rel=1e-5), pytest.approx(forced, rel=1e-5))


def test_a_teacher_that_nobody_listens_to_is_refused_before_anything_is_done(flip_flop, tmp_path):
    with pytest.raises(InputError, match=r"`teacher` = 0\.5 needs a network with output feedback"):
        nr.train(RateRNN(2, 4, 2), flip_flop, teacher=0.5, directory=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="'teacher': input should be less than or equal to 1"):
        nr.train(RateRNN(2, 4, 2, feedback=True), flip_flop, teacher=2.0, progress=False)


def test_a_softmax_readout_does_not_meet_the_cross_entropy(tmp_path):
    task = nr.tasks.PerceptualDecisionMaking()
    net = RateRNN(task.n_inputs, 4, task.n_outputs, readout="softmax")
    with pytest.raises(InputError, match=r"the cross-entropy takes the softmax itself: .*readout='linear'"):
        nr.train(net, task, directory=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("form", ["absolute", "rectified"])
def test_the_share_of_dead_weights_is_reported_where_weights_can_die(flip_flop, form):
    net = RateRNN(2, 16, 2, activation="relu", excitatory_fraction=0.75, dale=form)
    run = nr.train(
        net, flip_flop, n_steps=40, batch_size=16, learning_rate=3e-2, evaluate_every=20, progress=False
    )
    if form == "absolute":
        assert "dead_weights" not in run.history
        return
    shares = run.history.dead_weights
    assert shares.dims == ("evaluation",)
    assert float(shares[0]) == 0
    assert 0 < float(shares[-1]) < 1
    assert net.violations() == 0


@pytest.mark.parametrize(
    ("network", "options", "sentence"),
    [
        (
            nr.GRU(2, 4, 2),
            {"truncate": 5},
            "`truncate` and `checkpoint_every` are there for rate networks only",
        ),
        (nr.LSTM(2, 4, 2, engine="numba"), {}, "engine 'numba' cannot serve this network: it runs rate"),
        (
            RateRNN(2, 4, 2, feedback=True, engine="numba"),
            {"teacher": 0.5},
            "engine 'numba' cannot serve this network: its kernel has no",
        ),
        (
            RateRNN(2, 4, 2, tau=30.0, dt=10.0, trainable_tau=True, engine="numba"),
            {},
            "its kernel has no gradient of the leak",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_a_folder_is_made(flip_flop, tmp_path, network, options, sentence):
    noise = network.noise_generator.get_state()
    with pytest.raises(InputError, match=sentence):
        nr.train(network, flip_flop, directory=tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()
    assert torch.equal(network.noise_generator.get_state(), noise)


def test_training_within_no_grad_trains(flip_flop):
    plain, within = (RateRNN(2, 8, 2, seed=0) for _ in range(2))
    train(plain, flip_flop, **QUICK)
    with torch.no_grad():
        train(within, flip_flop, **QUICK)
    assert same(weights(plain), weights(within))
