"""Runs as they are seen from outside: who holds a folder, how a signal ends a training, what a list says."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import neurornn as nr
from neurornn import InputError, files
from neurornn.cli import run as command
from neurornn.training import DivergedTraining, RunDirectory
from neurornn.training import run_directory as run_directory_module
from neurornn.training.listing import list_runs, summary
from neurornn.training.trainer import InterruptedTraining, Trainer

SMALL = {"batch_size": 4, "n_evaluation_trials": 8, "evaluate_every": 2, "progress": False}
locks = pytest.mark.skipif(run_directory_module.fcntl is None, reason="this system has no such locks")


@pytest.fixture
def task():
    return nr.tasks.FlipFlop(n_bits=1, duration=100)


def train(task, folder, **settings):
    network = nr.RateRNN(1, 4, 1, seed=0, activation=settings.pop("activation", "tanh"))
    return nr.train(network, task, directory=folder, **{**SMALL, "n_steps": 4, **settings})


def stop_after(monkeypatch, step, signals=(signal.SIGTERM,)):
    """Let signals come in a step of training."""
    plain = Trainer.advance

    def advance(self):
        plain(self)
        if self.step == step:
            for own in signals:
                signal.raise_signal(own)

    monkeypatch.setattr(Trainer, "advance", advance)


# Signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_the_sentence_says_how_to_go_on(task, tmp_path, monkeypatch, own):
    stop_after(monkeypatch, 3, [own])
    before = signal.getsignal(own)
    folder = str(tmp_path / "run")
    with pytest.raises(InterruptedTraining) as caught:
        train(task, folder)
    assert str(caught.value) == (
        f"stopped by {own.name} after step 3 of 4; everything is in the checkpoint: go on with "
        f"`neurornn resume {folder}` (in Python: neurornn.resume({folder!r}))"
    )
    assert nr.load_run(folder).history.step.values.tolist() == [1, 2, 3]
    assert signal.getsignal(own) == before
    assert not RunDirectory(Path(folder)).is_finished


def test_the_network_is_left_with_its_best_weights_when_a_signal_comes(task, tmp_path, monkeypatch):
    import torch

    stop_after(monkeypatch, 3)
    network = nr.RateRNN(1, 4, 1, seed=0)
    with pytest.raises(InterruptedTraining):
        nr.train(network, task, directory=tmp_path / "run", **{**SMALL, "n_steps": 9})
    best = nr.load_run(tmp_path / "run").network.state_dict()
    assert all(torch.equal(own, best[name]) for name, own in network.state_dict().items())
    assert not network.training
    assert all(own.requires_grad for own in network.parameters())


def test_a_second_signal_interrupts_at_once(task, tmp_path, monkeypatch):
    stop_after(monkeypatch, 3, [signal.SIGINT, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "run")
    monkeypatch.undo()
    # The checkpoint of the last evaluation is what there is.
    assert nr.load_run(tmp_path / "run").history.step.values.tolist() == [1, 2]
    assert nr.resume(tmp_path / "run", progress=False).history.step.values.tolist() == [1, 2, 3, 4]


def test_a_signal_in_the_last_step_changes_nothing(task, tmp_path, monkeypatch):
    stop_after(monkeypatch, 4)
    assert train(task, tmp_path / "run").history.attrs["stopped_by"] == "steps"
    assert RunDirectory(tmp_path / "run").is_finished


def test_without_a_folder_ctrl_c_interrupts_as_ever(task, monkeypatch, ctrl_c):
    stop_after(monkeypatch, 3, [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        train(task, None)


def wait_for(condition, process):
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


@locks
def test_a_process_that_trains_is_listed_and_ends_well_at_a_signal(tmp_path, capsys):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "neurornn", "train", "flip_flop", "--n-steps", "1000000", "--batch-size", "4",
         "--hidden-size", "8", "--task.duration", "100", "--training.evaluate-every", "5", "--out", folder],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        run = RunDirectory(folder)
        wait_for(run.previous_checkpoint.exists, process)
        assert run.is_training
        (listed,) = list_runs(tmp_path)
        assert (listed.state, listed.n_steps) == ("training", 1000000)
        assert listed.step > 0
        told = r"a process is training in .* now: wait for it, stop it, or choose another folder"
        with pytest.raises(InputError, match=told):
            nr.resume(folder)
        network, task = nr.RateRNN(3, 4, 3), nr.tasks.FlipFlop()
        with pytest.raises(InputError, match=told):
            nr.train(network, task, n_steps=1, directory=folder, overwrite=True, progress=False)
        assert command(["resume", str(folder)]) == 2
        assert "a process is training" in capsys.readouterr().err
        assert run.checkpoint.exists()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    last = told.splitlines()[-1]
    assert last.startswith("neurornn: stopped by SIGTERM after step")
    assert f"`neurornn resume {folder}`" in last
    assert "Traceback" not in told
    (listed,) = list_runs(tmp_path)
    assert listed.state == "stopped"
    assert listed.step == int(nr.load_run(folder).history.step[-1])


# Locks --------------------------------------------------------------------------------------------------


@locks
def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    run = RunDirectory(tmp_path)
    assert not run.is_training
    with run.hold():
        assert run.is_training
        with pytest.raises(InputError, match="a process is training in"):
            run.need_idle()
        with pytest.raises(InputError, match="a process is training in"), run.hold():
            pass
    run.need_idle()
    with pytest.raises(ZeroDivisionError), run.hold():
        raise ZeroDivisionError
    run.need_idle()


@locks
def test_a_run_is_held_while_it_trains_and_free_afterwards(task, tmp_path):
    seen = []
    folder = tmp_path / "run"
    train(task, folder, callbacks=[lambda state: seen.append(RunDirectory(folder).is_training)])
    assert seen == [True] * 3
    assert not RunDirectory(folder).is_training


@locks
def test_the_system_lets_a_folder_go_when_its_process_is_killed(tmp_path):
    code = (
        "import sys, time, pathlib\n"
        "from neurornn.training import RunDirectory\n"
        "with RunDirectory(pathlib.Path(sys.argv[1])).hold():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert RunDirectory(tmp_path).is_training
    finally:
        process.kill()
        process.communicate()
    assert not RunDirectory(tmp_path).is_training


def test_where_there_are_no_locks_nobody_is_kept_out(tmp_path, monkeypatch):
    monkeypatch.setattr(run_directory_module, "fcntl", None)
    with RunDirectory(tmp_path).hold():
        RunDirectory(tmp_path).need_idle()
    assert not RunDirectory(tmp_path / "missing").is_training


@locks
def test_a_file_system_without_locks_is_no_reason_to_refuse(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_directory_module.fcntl, "flock", refuse)
    n_open = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    with RunDirectory(tmp_path).hold():
        pass
    if n_open is not None:
        assert len(os.listdir("/proc/self/fd")) == n_open


@locks
def test_training_in_a_thread_holds_its_folder_too(task, tmp_path):
    folder, states = tmp_path / "run", []

    def look(state):
        states.append(summary(RunDirectory(folder)).state)

    thread = threading.Thread(target=lambda: train(task, folder, callbacks=[look]))
    thread.start()
    thread.join()
    assert set(states) == {"training"}
    assert RunDirectory(folder).is_finished


# The list -----------------------------------------------------------------------------------------------


@pytest.fixture
def zoo(task, tmp_path):
    """A folder with a run in every state."""
    train(task, tmp_path / "a finished one")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(InterruptedTraining):
            train(task, tmp_path / "deeper" / "stopped", n_steps=9)
    with pytest.raises(DivergedTraining):
        train(task, tmp_path / "diverged", learning_rate=1e25, clip_norm=0.0, activation="relu")
    broken = tmp_path / "wrong"
    broken.mkdir()
    (broken / "config.toml").write_text("[trainning]\n")
    (tmp_path / "no run").mkdir()
    return tmp_path


def test_runs_are_listed_with_their_state_and_score(zoo):
    found = {str(own.path.relative_to(zoo)): own for own in list_runs(zoo)}
    assert list(found) == sorted(found) == ["a finished one", "deeper/stopped", "diverged", "wrong"]
    states = {name: (own.state, own.step, own.n_steps) for name, own in found.items()}
    assert states["a finished one"] == ("finished", 4, 4)
    assert states["deeper/stopped"] == ("stopped", 3, 9)
    assert states["diverged"][0] == "diverged"
    assert states["wrong"] == ("unreadable", 0, 0)
    history = nr.load_run(zoo / "a finished one").history
    assert found["a finished one"].best_score == float(history.evaluation_score.max())
    assert found["a finished one"].task == "flip_flop"
    assert found["diverged"].note.startswith(
        ("the loss became", "the gradient norm became", "the held-out loss")
    )
    assert "unknown key 'trainning'" in found["wrong"].note


def test_the_command_prints_the_list(zoo, capsys):
    assert command(["runs", str(zoo)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "task", "state", "step", "best", "score"]
    (finished,) = [line for line in lines if "a finished one" in line]
    assert "finished" in finished
    assert "4/4" in finished
    assert len([line for line in lines if line.startswith("    ")]) == 2


def test_a_resumed_run_is_no_failure_any_more(zoo):
    files.write_json(zoo / "deeper" / "stopped" / "failure.json", {"step": 1, "what": "loss", "value": "inf"})
    own = summary(RunDirectory(zoo / "deeper" / "stopped"))
    assert (own.state, own.note) == ("diverged", "the loss became inf at step 1")
    nr.resume(zoo / "deeper" / "stopped", progress=False)
    assert summary(RunDirectory(zoo / "deeper" / "stopped")).state == "finished"
    assert not (zoo / "deeper" / "stopped" / "failure.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"step": 1}'])
def test_an_unreadable_note_of_a_failure_is_told(zoo, content):
    (zoo / "diverged" / "failure.json").write_text(content)
    assert summary(RunDirectory(zoo / "diverged")).note == "failure.json cannot be read"


@pytest.mark.parametrize("content", [b"step,loss\n1,many\n", b"\xff\n\n", b"loss\n1\n"])
def test_unreadable_metrics_are_told_and_not_raised(zoo, content):
    (zoo / "a finished one" / "metrics.csv").write_bytes(content)
    own = summary(RunDirectory(zoo / "a finished one"))
    assert (own.state, own.note) == ("unreadable", "metrics.csv cannot be read")


def test_metrics_whose_last_line_is_being_written_are_read_without_it(zoo):
    path = zoo / "deeper" / "stopped" / "metrics.csv"
    files.append_text(path, "4,1,16,0.0")
    own = summary(RunDirectory(path.parent))
    assert (own.state, own.step) == ("stopped", 3)


def test_a_run_that_has_not_begun_is_listed(zoo):
    (zoo / "a finished one" / "metrics.csv").unlink()
    (zoo / "a finished one" / "network.json").unlink()
    own = summary(RunDirectory(zoo / "a finished one"))
    assert (own.state, own.step) == ("stopped", 0)


def test_a_folder_without_runs_or_no_folder_is_told(tmp_path, capsys):
    assert list_runs(tmp_path) == []
    assert command(["runs", str(tmp_path)]) == 0
    assert "there are no runs in" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"there is no folder '.*gone': check its name"):
        list_runs(tmp_path / "gone")
    with pytest.raises(InputError, match="`folder` must be a file path, got int"):
        list_runs(3)
    assert command(["runs", str(tmp_path / "gone")]) == 2
