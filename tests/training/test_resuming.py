"""Runs that are interrupted or killed, and go on to the bits of a run that never was."""

import csv
import pathlib
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import CorruptFile, InputError, files
from neurornn.config import RunConfig, read_config
from neurornn.pipeline import train_run
from neurornn.training import DivergedTraining, RunDirectory
from neurornn.training import trainer as trainer_module
from neurornn.training.checkpoint import load_checkpoint, save_checkpoint
from neurornn.training.trainer import InterruptedTraining, Trainer

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
TIMED = ("ms_per_step", "seconds", "seconds_at_evaluation")
N_STEPS = 7
SMALL = {
    "n_steps": N_STEPS,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "evaluate_every": 3,
    "n_evaluation_trials": 8,
    "progress": False,
}
# The first stage ends between two evaluations that are due, and asks for other trials and weights.
STAGES = [{"parameters": {"pulse_probability": 0.2}, "n_steps": 4, "trainable": ["recurrent"]}, {}]
KINDS = {
    "plain": ({}, {}),
    "noise": ({"noise_std": 0.1, "tau": 50.0, "dt": 10.0}, {"evaluate_with_noise": True}),
    "dropout": ({"dropout": 0.2, "input_noise_std": 0.1, "output_noise_std": 0.1}, {}),
    "lstm": ({"family": "LSTM"}, {"optimiser": "RMSprop", "optimiser_options": {"momentum": 0.5}}),
    "gru": ({"family": "GRU", "n_layers": 2}, {"optimiser": "AdamW", "clip_norm": 0.0}),
    "cosine": ({}, {"schedule": "cosine", "warmup_steps": 2, "clip_value": 0.01}),
    "plateau": (
        {},
        {"schedule": "plateau", "schedule_options": {"patience": 0}, "warmup_steps": 2, "learning_rate": 1.0},
    ),
    "curriculum": ({}, {"stages": STAGES}),
    "score": ({}, {"stages": [{"score": 0.0}, {"n_steps": 3}], "stop_after": 2, "evaluate_every": 1}),
    "weights": ({"noise_std": 0.1}, {"averaging": "weights", "averaging_start": 0.25}),
    "snapshots": ({}, {"averaging": "snapshots", "schedule": "cyclic", "n_snapshots": 3}),
    "importance": ({}, {"stages": STAGES, "penalties": {"elastic_weight_consolidation": 10.0}}),
    "anchor": (
        {"trainable_initial_state": True},
        {"stages": STAGES, "penalties": {"l2_anchor": 0.1, "rate_l2": 0.1}, "max_norm": 1.0},
    ),
    "prefetch": ({"noise_std": 0.1}, {"prefetch": True, "stages": STAGES}),
    "several looks": ({}, {"optimiser": "LBFGS", "optimiser_options": {"max_iter": 2}}),
    "momentum": (
        {"excitatory_fraction": 0.75, "activation": "relu", "dale": "rectified"},
        {"optimiser": "SGD", "optimiser_options": {"momentum": 0.9, "nesterov": True}},
    ),
    "teacher": ({"feedback": True}, {"teacher": 0.5, "truncate": 5}),
    "patience": ({}, {"patience": 1, "learning_rate": 3.0, "evaluate_every": 2}),
    "trials": ({}, {"max_trials": 18}),
}


class Killed(BaseException):
    """What nothing in the package catches, as nothing catches a kill."""


@contextmanager
def ended(*, after=None, within=None):
    """Ask training to stop after a step, or end it within one."""
    plain = Trainer.advance

    def advance(self):
        if self.step == within:
            raise Killed
        plain(self)
        if self.step == after:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "advance", advance)
        yield


def begin(kind, task, folder):
    of_network, of_training = KINDS[kind]
    network = nr.build_network({"input_size": 2, "hidden_size": 6, "output_size": 2, **of_network})
    return nr.train(network, task, directory=folder, **{**SMALL, **of_training})


def go_on(folder, **again):
    return nr.resume(folder, progress=False, **again)


def rows_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: own for name, own in row.items() if name not in TIMED} for row in rows]


def result(folder):
    """All that a finished run leaves on the disk, without what the clock said."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".csv", ".pt")
    }
    content = load_checkpoint(folder / "checkpoint.pt")
    assert set(TIMED[1:]) <= set(content)
    # The metrics are compared as the file has them.
    del content["metrics"]
    found["checkpoint"] = {name: own for name, own in content.items() if name not in TIMED}
    found["metrics"] = rows_of(folder)
    return found


def assert_same(one, other, place="run"):
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            assert_same(one[name], other[name], f"{place}/{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, (own, its) in enumerate(zip(one, other, strict=True)):
            assert_same(own, its, f"{place}/{number}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, place
        assert torch.equal(one, other), place
    else:
        assert one == other, place


@pytest.fixture(scope="module")
def task():
    return nr.tasks.FlipFlop(n_bits=2, duration=100)


@pytest.fixture(scope="module", params=list(KINDS))
def whole(request, task, tmp_path_factory):
    """The kind of a run, and what is left of one that nothing came between."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run = begin(request.param, task, folder)
    return request.param, run, result(folder)


# Whatever comes between ---------------------------------------------------------------------------------


def test_a_run_that_is_stopped_after_every_step_ends_in_the_same_bits(whole, task, tmp_path):
    kind, run, wanted = whole
    folder, last = tmp_path / "run", int(run.history.step[-1])
    for step in range(1, last + 1):
        proceed = (lambda: begin(kind, task, folder)) if step == 1 else (lambda: go_on(folder))
        stops = pytest.raises(InterruptedTraining, match=f"stopped by SIGTERM after step {step} of")
        with ended(after=step), stops if step < last else nullcontext():
            again = proceed()
    assert_same(result(folder), wanted)
    drop = [name for name in TIMED if name in run.history]
    xr.testing.assert_identical(again.history.drop_vars(drop), run.history.drop_vars(drop))
    assert again.config == run.config


@pytest.mark.parametrize("first", range(3))
def test_a_run_that_is_killed_in_every_third_step_ends_in_the_same_bits(whole, task, tmp_path, first):
    # Three such runs are killed in every step there is; each loses up to three steps and takes them again.
    kind, run, wanted = whole
    folder, last = tmp_path / "run", int(run.history.step[-1])
    kills = list(range(first, last, 3)) or [0]
    for number, step in enumerate(kills):
        with ended(within=step), pytest.raises(Killed):
            begin(kind, task, folder) if number == 0 else go_on(folder)
    go_on(folder)
    assert_same(result(folder), wanted)


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL") or sys.platform == "darwin", reason="kills forked processes"
)
def test_ten_kills_at_random_moments_change_no_bit():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "kill_resume.py", "10", "--kinds", "curriculum", "snapshots"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("all ")]
    _, runs, kills, _, *faults = map(int, ["0", *line.split()[1:]])
    assert kills >= 10
    assert runs >= 1
    unreadable, differing, gaps, _, orphans = faults
    assert unreadable == differing == gaps == orphans == 0


# The metrics --------------------------------------------------------------------------------------------


def test_metrics_have_no_gap_and_no_repeat_at_any_time(task, tmp_path):
    folder = tmp_path / "run"
    for step in range(1, N_STEPS):
        with ended(after=step), pytest.raises(InterruptedTraining):
            begin("noise", task, folder) if step == 1 else go_on(folder)
        assert [int(row["step"]) for row in rows_of(folder)] == list(range(step + 1))
        assert nr.load_run(folder).history.step.values.tolist() == list(range(1, step + 1))


def test_metrics_that_are_ahead_of_the_checkpoint_are_taken_back(task, tmp_path):
    begin("plain", task, tmp_path / "whole")
    folder = tmp_path / "run"
    with ended(within=5), pytest.raises(Killed):
        begin("plain", task, folder)
    # Killed between the metrics and the checkpoint, in the middle of a line.
    files.append_text(folder / "metrics.csv", "4,1,16,0.01,0.5,0.25,0.25,,,\n5,1,20,0.0")
    history = nr.load_run(folder).history
    assert history.step.values.tolist() == [1, 2, 3]
    assert history.evaluation.values.tolist() == [0, 3]
    go_on(folder)
    assert_same(result(folder), result(tmp_path / "whole"))


def test_the_clock_runs_on_where_a_run_is_taken_up(task, tmp_path, monkeypatch):
    # A clock that strikes a second with every step, and stands still between.
    class Clock:
        now = 0.0

    plain = Trainer.advance

    def advance(self):
        plain(self)
        Clock.now += 1

    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(Trainer, "advance", advance)
    folder = tmp_path / "run"
    for step in range(1, N_STEPS):
        with ended(after=step), pytest.raises(InterruptedTraining):
            begin("plain", task, folder) if step == 1 else go_on(folder)
        # Nobody trains meanwhile.
        Clock.now += 100
    run = go_on(folder)
    assert run.history.ms_per_step.values[1:].tolist() == [1000.0] * 3
    assert load_checkpoint(folder / "checkpoint.pt")["seconds"] == N_STEPS


def test_seconds_before_a_resumption_count(task, tmp_path, monkeypatch):
    class Clock:
        now = 0.0

    plain = Trainer.advance

    def advance(self):
        plain(self)
        Clock.now += 1

    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(Trainer, "advance", advance)
    settings = {**SMALL, "n_steps": 50, "max_seconds": 5.0}
    network = nr.RateRNN(2, 6, 2, seed=0)
    with ended(after=2), pytest.raises(InterruptedTraining):
        nr.train(network, task, directory=tmp_path / "run", **settings)
    run = go_on(tmp_path / "run")
    assert run.history.attrs["stopped_by"] == "seconds"
    assert int(run.history.step[-1]) == 5


# Where a run stands -------------------------------------------------------------------------------------


def test_a_run_that_has_its_first_checkpoint_only_is_resumed(task, tmp_path):
    begin("noise", task, tmp_path / "whole")
    folder = tmp_path / "run"
    with ended(within=0), pytest.raises(Killed):
        begin("noise", task, folder)
    assert load_checkpoint(folder / "checkpoint.pt")["step"] == 0
    assert not (folder / "checkpoint.previous.pt").exists()
    go_on(folder)
    assert_same(result(folder), result(tmp_path / "whole"))


def test_a_run_without_any_checkpoint_is_begun_anew(task, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", lambda self: signal.raise_signal(signal.SIGTERM) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begin("plain", task, folder)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]
    sentence = r"has no checkpoint \(it was stopped before the first one\): train it again with --overwrite"
    for read in (nr.resume, nr.load_run):
        with pytest.raises(InputError, match=sentence):
            read(folder)
    nr.train(nr.RateRNN(2, 6, 2), task, directory=folder, overwrite=True, **SMALL)
    assert nr.load_run(folder).history.attrs["stopped_by"] == "steps"


def test_a_kill_in_the_first_write_does_not_block_the_folder(task, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".config.toml.x1y2.tmp").write_text("[task]\nna")
    begin("plain", task, folder)
    assert not list(folder.glob(".*"))


def test_a_kill_while_a_run_is_overwritten_leaves_a_run(task, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    begin("plain", task, folder)
    (folder / "figures").mkdir()
    (folder / "figures" / "mine.svg").write_text("")
    monkeypatch.setattr("neurornn.training.loop.write_toml", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        nr.train(nr.RateRNN(2, 6, 2), task, directory=folder, overwrite=True, **SMALL)
    monkeypatch.undo()
    assert not RunDirectory(folder).is_finished
    nr.train(nr.RateRNN(2, 6, 2), task, directory=folder, overwrite=True, **SMALL)


def test_a_kill_while_the_final_weights_are_written_is_made_good(task, tmp_path):
    begin("snapshots", task, tmp_path / "whole")
    folder = tmp_path / "run"
    begin("snapshots", task, folder)
    (folder / "network.json").unlink()
    (folder / "network.safetensors").write_bytes(b"half")
    (folder / "snapshots" / "snapshot_3.json").unlink()
    (folder / "snapshots" / ".snapshot_3.json.a1b2.tmp").write_bytes(b"half")
    (folder / ".network.safetensors.a1b2.tmp").write_bytes(b"half")
    again = go_on(folder)
    assert again.history.attrs["stopped_by"] == "steps"
    assert len(again.ensemble) == 3
    assert_same(result(folder), result(tmp_path / "whole"))


def test_a_finished_run_is_refused_and_left_alone(task, tmp_path):
    begin("plain", task, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(InputError, match=r"is finished: load it with neurornn\.load_run and train it on, or"):
        nr.resume(tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_where_there_is_no_run_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(
        InputError, match=r"there is no run in .* \(no config\.toml\): check the folder's name"
    ):
        nr.resume(tmp_path)
    with pytest.raises(InputError, match=r"`directory` must be a file path, got int"):
        nr.resume(3)


def test_temporary_files_of_a_killed_process_are_swept(task, tmp_path):
    folder = tmp_path / "run"
    with ended(within=4), pytest.raises(Killed):
        begin("plain", task, folder)
    (folder / ".checkpoint.pt.abcd.tmp").write_bytes(b"half a checkpoint")
    (folder / ".mine").write_text("kept")
    go_on(folder)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".mine"]


def test_a_kill_between_the_two_renames_leaves_the_previous_checkpoint(task, tmp_path):
    begin("plain", task, tmp_path / "whole")
    folder = tmp_path / "run"
    with ended(within=5), pytest.raises(Killed):
        begin("plain", task, folder)
    (folder / "checkpoint.pt").replace(folder / "checkpoint.previous.pt")
    assert nr.load_run(folder).history.step.values.tolist() == [1, 2, 3]
    go_on(folder)
    assert_same(result(folder), result(tmp_path / "whole"))


# Damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def killed(task, tmp_path):
    """A run that was killed in its seventh step, after checkpoints at steps 0, 3 and 6."""
    with ended(within=6), pytest.raises(Killed):
        begin("noise", task, tmp_path / "run")
    return tmp_path / "run"


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(task, tmp_path, killed):
    begin("noise", task, tmp_path / "whole")
    damage(killed / "checkpoint.pt")
    told = r"checkpoint\.pt' is damaged: .*; the one before it, of step 3, is used"
    with pytest.warns(UserWarning, match=told):
        assert nr.load_run(killed).history.step.values.tolist() == [1, 2, 3]
    with pytest.warns(UserWarning, match=told):
        go_on(killed)
    assert_same(result(killed), result(tmp_path / "whole"))


def test_where_both_checkpoints_are_damaged_it_is_told(killed):
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        damage(killed / name)
    before = {path: path.read_bytes() for path in killed.iterdir()}
    for read in (nr.resume, nr.load_run):
        with pytest.raises(CorruptFile, match=r"checkpoint\.previous\.pt' is damaged"):
            read(killed)
    assert {path: path.read_bytes() for path in killed.iterdir()} == before


def test_a_checkpoint_of_another_network_is_told_in_one_sentence(killed):
    config = killed / "config.toml"
    config.write_text(config.read_text().replace("hidden_size = 6", "hidden_size = 5"))
    sentence = r"the checkpoint in '.*run' does not fit the run's config\.toml \(.+\): take back the config"
    for read in (nr.resume, nr.load_run):
        with pytest.raises(CorruptFile, match=sentence) as caught:
            read(killed)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["optimizer", "metrics", "trial_stream", "penalties", "best_network", "seconds"]
)
def test_a_checkpoint_that_lacks_something_is_told_in_one_sentence(killed, name):
    content = load_checkpoint(killed / "checkpoint.pt")
    del content[name]
    save_checkpoint(killed / "checkpoint.pt", content)
    with pytest.raises(CorruptFile, match=rf"does not fit the run's config\.toml \('{name}'\)"):
        nr.resume(killed)
    content[name] = "nonsense"
    save_checkpoint(killed / "checkpoint.pt", content)
    if name != "seconds":
        with pytest.raises(CorruptFile, match=r"does not fit the run's config\.toml"):
            nr.resume(killed)


def test_a_checkpoint_of_another_version_is_told(killed):
    content = load_checkpoint(killed / "checkpoint.pt")
    save_checkpoint(killed / "checkpoint.pt", {**content, "format": 99})
    with pytest.raises(
        InputError, match=r"is of another version of neurornn \(0\.1\.0\): resume it with that"
    ):
        nr.resume(killed)


# What a file cannot hold ----------------------------------------------------------------------------------


def test_a_loss_of_ones_own_is_asked_for(task, tmp_path):
    def absolute(outputs, targets):
        return (outputs - targets).abs()

    def start(folder):
        nr.train(nr.RateRNN(2, 6, 2, seed=0), task, loss=absolute, directory=folder, **SMALL)

    start(tmp_path / "whole")
    folder = tmp_path / "run"
    with ended(after=4), pytest.raises(InterruptedTraining):
        start(folder)
    for given in ({}, {"loss": "mse"}):
        with pytest.raises(InputError, match=r"with a loss of your own, 'absolute': pass it, resume\(dir"):
            go_on(folder, **given)
    go_on(folder, loss=absolute)
    assert_same(result(folder), result(tmp_path / "whole"))
    with pytest.raises(InputError, match=r"`loss` = 'own: absolute' is a function, which no file can hold"):
        train_run(read_config(folder / "config.toml", RunConfig), directory=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_task_of_ones_own_is_asked_for(echo_class, tmp_path):
    def start(folder):
        nr.train(nr.RateRNN(1, 6, 1, seed=0), echo_class(gain=0.5), directory=folder, **SMALL)

    start(tmp_path / "whole")
    folder = tmp_path / "run"
    with ended(after=4), pytest.raises(InterruptedTraining):
        start(folder)
    with pytest.raises(InputError, match=r"trained on 'Echo', which is not registered: pass the task itself"):
        go_on(folder)
    go_on(folder, task=echo_class(gain=0.5))
    assert_same(result(folder), result(tmp_path / "whole"))


def test_stages_of_ones_own_are_asked_for(echo_class, tmp_path):
    # The second stage is the run's own task with another parameter; the third a task of another class.
    class Louder(echo_class):
        pass

    stages = [{"n_steps": 2}, {"parameters": {"gain": 2.0}, "n_steps": 2}, {"task": Louder(gain=3.0)}]

    def start(folder):
        network = nr.RateRNN(1, 6, 1, seed=0)
        return nr.train(network, echo_class(gain=0.5), stages=stages, directory=folder, **SMALL)

    assert start(tmp_path / "whole").task == Louder(gain=3.0)
    for step in (1, 3, 5):
        folder = tmp_path / f"run {step}"
        with ended(after=step), pytest.raises(InterruptedTraining):
            start(folder)
        told = r"stage 3 .* on 'Louder', which is not registered: pass .*, stages="
        with pytest.raises(InputError, match=told):
            go_on(folder, task=echo_class(gain=0.5))
        go_on(folder, task=echo_class(gain=0.5), stages=stages)
        assert_same(result(folder), result(tmp_path / "whole"))


def test_callbacks_are_called_again_and_their_faults_lose_nothing(task, tmp_path):
    begin("noise", task, tmp_path / "whole")
    folder, seen = tmp_path / "run", []

    def fault(state):
        seen.append(state.step)
        if state.step == 6 and seen.count(6) == 1:
            raise ZeroDivisionError

    network = nr.RateRNN(2, 6, 2, noise_std=0.1, tau=50.0, dt=10.0)
    settings = {**SMALL, **KINDS["noise"][1]}
    with pytest.raises(ZeroDivisionError):
        nr.train(network, task, directory=folder, callbacks=[fault], **settings)
    go_on(folder, callbacks=[fault])
    assert seen == [0, 3, 6, 6, 7]
    assert_same(result(folder), result(tmp_path / "whole"))


def test_a_run_can_be_resumed_to_be_stopped_by_a_callback(task, tmp_path):
    folder = tmp_path / "run"
    with ended(after=2), pytest.raises(InterruptedTraining):
        begin("plain", task, folder)
    run = go_on(folder, callbacks=[lambda state: state.stop() if state.step == 3 else None])
    assert run.history.attrs["stopped_by"] == "callback"
    assert int(run.history.step[-1]) == 3


def test_a_diverged_run_can_be_resumed_and_says_so_again(task, tmp_path):
    network = nr.RateRNN(2, 6, 2, activation="relu", seed=0)
    settings = {**SMALL, "learning_rate": 1e25, "clip_norm": 0.0}
    with pytest.raises(DivergedTraining):
        nr.train(network, task, directory=tmp_path / "run", **settings)
    assert files.read_json(tmp_path / "run" / "failure.json")["step"] in (1, 2)
    with pytest.raises(DivergedTraining, match="the last good checkpoint is"):
        go_on(tmp_path / "run")


def test_no_global_generator_is_read_or_advanced_by_resuming(killed, random_states):
    before = random_states()
    go_on(killed)
    assert random_states() == before


def test_the_sentence_of_an_interruption_is_a_command_that_works(task, tmp_path, capsys):
    from neurornn.cli import run

    with ended(after=2), pytest.raises(InterruptedTraining) as caught:
        begin("plain", task, tmp_path / "run")
    command = re.search(r"`neurornn (resume .*)`", str(caught.value)).group(1)
    assert run(command.split()) == 0
    assert "best held-out score" in capsys.readouterr().out
    assert np.isfinite(nr.load_run(tmp_path / "run").history.loss).all()
