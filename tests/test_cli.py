"""The command line as a user meets it: what it writes, what it prints, and how it refuses."""

import csv
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn.cli import run
from neurornn.tasks.listing import families
from neurornn.training.checkpoint import load_checkpoint

# As small as keeps every part of the chain at work.
SMALL = [
    "--n-steps", "30", "--batch-size", "8", "--hidden-size", "12", "--task.n-bits", "2",
    "--task.duration", "200", "--recording.n-trials", "12", "--training.n-evaluation-trials", "16",
]  # fmt: skip


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


CHECKPOINTS = {"checkpoint.pt", "checkpoint.previous.pt"}
CLOCK = {"seconds", "seconds_at_evaluation", "ms_per_step"}
"""What a run tells of the clock, and no run repeats."""


def untimed(folder):
    """All files of a run but what the clock says in two of them: bytes, rows of the metrics, checkpoints."""
    found = contents(folder)
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found["metrics.csv"] = [{name: own for name, own in row.items() if name not in CLOCK} for row in rows]
    for name in CHECKPOINTS & found.keys():
        content = load_checkpoint(folder / name)
        metrics = content.pop("metrics")
        kept = [k for k, column in enumerate(metrics["columns"]) if column not in CLOCK]
        content["metrics"] = [metrics["columns"], metrics["values"][:, kept], metrics["filled"]]
        found[name] = as_plain({key: own for key, own in content.items() if key not in CLOCK})
    return found


def as_plain(value):
    """Turn tensors into what can be compared: dtype, shape and bytes."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: as_plain(own) for key, own in value.items()}
    return [as_plain(own) for own in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert run(["study", "flip_flop", *SMALL, "--out", str(folder)]) == 0
    return folder


def refused(capsys, arguments):
    """Run a command that must be refused; return the sentence."""
    capsys.readouterr()
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.startswith("neurornn: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_a_study_writes_the_whole_run_directory(studied):
    files = set(contents(studied))
    assert {"config.toml", "metrics.csv", "checkpoint.pt", "network.safetensors", "network.json"} <= files
    assert {"activity.nc", "report.html"} <= files
    assert {f"analysis/{name}.nc" for name in ("components", "fixed_points", "spectrum")} <= files
    assert {"figures/learning_curve.png", "figures/trajectories.png", "figures/trial.png"} <= files
    assert not [name for name in files if name.endswith(".tmp")]


def test_the_same_command_with_the_same_seed_writes_the_same_bytes(studied, tmp_path):
    assert run(["study", "flip_flop", *SMALL, "--out", str(tmp_path / "again")]) == 0
    first, second = untimed(studied), untimed(tmp_path / "again")
    assert first.keys() == second.keys() >= CHECKPOINTS
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_writes_other_numbers(studied, tmp_path):
    assert run(["train", "flip_flop", *SMALL, "--seed", "1", "--out", str(tmp_path / "other")]) == 0
    ours, other = nr.load_run(studied), nr.load_run(tmp_path / "other")
    assert not np.array_equal(ours.history.loss, other.history.loss)
    assert other.network.seed == other.config.seed == 1


def test_a_study_closes_with_a_summary(studied, capsys):
    assert run(["analyze", str(studied)]) == 0
    printed = capsys.readouterr().out
    for word in ("score", "variance", "fixed points", "under zero input", "report", "report.html"):
        assert word in printed


def test_analysing_again_writes_the_same_bytes(studied):
    before = contents(studied)
    assert run(["analyze", str(studied)]) == 0
    assert contents(studied) == before


def test_train_record_analyze_are_the_parts_of_a_study(studied, tmp_path, capsys):
    folder = tmp_path / "parts"
    assert run(["train", "flip_flop", *SMALL, "--out", str(folder)]) == 0
    assert run(["record", str(folder)]) == 0
    assert run(["analyze", str(folder)]) == 0
    first, second = untimed(folder), untimed(studied)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_runs_activity_is_exported_and_reproduced(studied, tmp_path, capsys):
    for ending in ("npz", "mat", "csv"):
        out = tmp_path / f"activity.{ending}"
        assert run(["export", str(studied), "--format", ending, "--out", str(out)]) == 0
        assert out.stat().st_size > 0
    assert run(["export", str(studied), "--format", "mtx"]) == 2
    assert "unknown format 'mtx'" in capsys.readouterr().err
    assert run(["export", str(studied), "--format", "npz", "--out", str(tmp_path / "a.mat")]) == 2
    assert "does not end in '.npz'" in capsys.readouterr().err
    assert run(["reproduce", str(studied / "activity.nc")]) == 0
    assert "equal to the bit" in capsys.readouterr().out
    changed = nr.load(studied / "activity.nc")
    changed["rate"].values[0, 0, 0] += 1
    nr.save(changed, tmp_path / "changed.nc")
    assert run(["reproduce", str(tmp_path / "changed.nc")]) == 1
    assert "rate: by at most 1" in capsys.readouterr().err


def test_a_runs_own_configuration_repeats_it(studied, tmp_path):
    folder = tmp_path / "repeated"
    assert run(["train", "--config", str(studied / "config.toml"), "--out", str(folder)]) == 0
    assert (folder / "network.safetensors").read_bytes() == (studied / "network.safetensors").read_bytes()


def test_options_win_over_the_file(studied, tmp_path):
    folder = tmp_path / "shorter"
    config = str(studied / "config.toml")
    assert run(["train", "--config", config, "--n-steps", "3", "--task.n-bits", "1", "--out", str(folder),
                "--network.input-size", "1", "--network.output-size", "1"]) == 0  # fmt: skip
    written = tomllib.loads((folder / "config.toml").read_text())
    assert written["training"]["n_steps"] == 3
    assert written["task"]["parameters"]["n_bits"] == 1
    assert written["task"]["parameters"]["duration"] == 200


def test_recording_to_a_file_of_ones_own(studied, tmp_path):
    file = tmp_path / "more.nc"
    assert run(["record", str(studied), "--trials", "5", "--seed", "9", "--out", str(file)]) == 0
    assert nr.load(file).sizes["trial"] == 5


@pytest.mark.parametrize("columns", [80, 110])
def test_the_tasks_are_listed_by_family_no_wider_than_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["tasks"]) == 0
    listed = capsys.readouterr().out
    lines = listed.splitlines()
    assert max(map(len, lines)) <= columns
    assert "The flip-flop: several bits held at once" in lines
    together = " ".join(listed.split())
    for name, task in nr.tasks.TASKS.items():
        assert f" {name} {task.__doc__.splitlines()[0]} " in f" {together} "


def test_a_task_is_described_and_drawn(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["tasks", "flip_flop"]) == 0
    sheet = capsys.readouterr().out
    assert "Targets" in sheet
    assert "10.1162/NECO_a_00409" in sheet
    assert "Example trials are in flip_flop.png" in sheet
    assert [path.name for path in tmp_path.iterdir()] == ["flip_flop.png"]
    drawn = (tmp_path / "flip_flop.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    other = tmp_path / "figures" / "own.png"
    assert run(["tasks", "flip_flop", "--out", str(other)]) == 0
    assert other.read_bytes() == drawn
    assert str(other) in capsys.readouterr().out


def test_a_task_is_described_without_its_figure(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["tasks", "flip_flop", "--no-figure"]) == 0
    assert "png" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("here")
    assert "cannot write" in refused(
        capsys, ["tasks", "flip_flop", "--out", str(tmp_path / "file" / "a.png")]
    )
    assert "is a folder" in refused(capsys, ["tasks", "flip_flop", "--out", str(tmp_path)])
    assert "name the task too" in refused(capsys, ["tasks", "--out", str(tmp_path / "a.png")])


@pytest.mark.parametrize("command", ["study", "train", "resume", "runs", "record", "analyze", "tasks"])
def test_every_command_has_help(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"Usage: neurornn {command}" in capsys.readouterr().out


# Runs that are stopped --------------------------------------------------------------------------------------


LONG = [*SMALL[2:], "--training.evaluate-every", "10", "--n-steps"]


def began(folder, arguments):
    """Start a training in a process of its own, and wait until it has trained some steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "neurornn", "train", "flip_flop", *arguments, "--out", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for _ in range(1200):
        if (folder / "checkpoint.previous.pt").exists() or process.poll() is not None:
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signals")
def test_a_run_that_is_interrupted_and_killed_is_resumed_to_the_same_bytes(tmp_path, capsys):
    assert run(["train", "flip_flop", *LONG, "400", "--out", str(tmp_path / "whole")]) == 0
    folder = tmp_path / "run"
    process = began(folder, [*LONG, "100000"])
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 1
    assert told.startswith("neurornn: stopped by SIGTERM after step")
    assert f"`neurornn resume {folder}`" in told
    capsys.readouterr()
    assert run(["runs", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    states = {
        own: line.split()[2] for own in ("run", "whole") for line in listed.splitlines() if f"/{own} " in line
    }
    assert states == {"run": "stopped", "whole": "finished"}
    killed = tmp_path / "killed"
    process = began(killed, [*LONG, "400"])
    process.kill()
    process.communicate()
    if not (killed / "network.json").exists():
        assert run(["resume", str(killed)]) == 0
        assert "best held-out score" in capsys.readouterr().out
    first, second = untimed(killed), untimed(tmp_path / "whole")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert run(["runs", str(killed)]) == 0
    assert "400/400" in capsys.readouterr().out


def test_a_finished_run_is_not_resumed_and_nothing_of_it_changes(studied, capsys):
    before = contents(studied)
    assert "is finished: load it with" in refused(capsys, ["resume", str(studied)])
    assert contents(studied) == before


def test_runs_of_a_folder_are_listed(studied, capsys, monkeypatch):
    assert run(["runs", str(studied.parent)]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "task", "state", "step", "best", "score"]
    score = float(nr.load_run(studied).history.evaluation_score.max())
    assert line.split() == [str(studied), "flip_flop", "finished", "30/30", f"{score:.4f}"]
    # Without a name, those in the folder where `study` puts them.
    monkeypatch.chdir(studied.parent.parent)
    studied.parent.rename("runs")
    try:
        assert run(["runs"]) == 0
        assert f"runs/{studied.name}" in capsys.readouterr().out.replace(os.sep, "/")
    finally:
        os.rename("runs", studied.parent)


# What is refused --------------------------------------------------------------------------------------------


def test_an_existing_run_is_refused_and_nothing_is_lost(studied, capsys):
    before = contents(studied)
    message = refused(capsys, ["study", "flip_flop", *SMALL, "--out", str(studied)])
    assert "already holds a run" in message
    assert "--overwrite" in message
    assert contents(studied) == before


def test_a_mistake_loses_nothing_even_with_overwrite(studied, capsys):
    before = contents(studied)
    refused(capsys, ["study", "flip_flop", "--task.n-bits", "0", "--overwrite", "--out", str(studied)])
    refused(capsys, ["study", "flip_flop", "--hidden-size", "-3", "--overwrite", "--out", str(studied)])
    assert contents(studied) == before


def test_overwrite_replaces_a_run(tmp_path):
    folder = tmp_path / "run"
    for seed in ("0", "1"):
        assert run(["train", "flip_flop", *SMALL, "--seed", seed, "--overwrite", "--out", str(folder)]) == 0
    assert nr.load_run(folder).config.seed == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "flipflop"], ["unknown task 'flipflop'", "did you mean 'flip_flop'?"]),
        (["tasks", "flip"], ["unknown task 'flip'", "'flip_flop'"]),
        (["study", "flip_flop", "--network.activation", "tahn"], ["unknown activation 'tahn'", "'tanh'"]),
        (["study", "flip_flop", "--hidden-size", "-3"], ["hidden_size", "greater than or equal to 1", "-3"]),
        (["study", "flip_flop", "--hidden-size", "many"], ["--hidden-size", "many"]),
        (["study", "flip_flop", "--n-steps", "1.5"], ["--n-steps", "expected a whole number, got '1.5'"]),
        (["study", "flip_flop", "--hiden-size", "3"], ["--hiden-size", "--hidden-size"]),
        (["study", "flip_flop", "--network.hiden-size", "3"], ["network.hiden_size", "'hidden_size'"]),
        (["study", "flip_flop", "--training.lr", "3"], ["unknown key 'training.lr'"]),
        (["study", "flip_flop", "--task.bits", "3"], ["no parameter 'bits'", "'n_bits'"]),
        (["study", "flip_flop", "--task.n-bits", "0"], ["`n_bits`", "at least 1", "got 0"]),
        (["study", "flip_flop", "--network.tau", "5"], ["dt = 10.0 ms and tau = 5.0 ms"]),
        (
            ["study", "flip_flop", "--network.tau", "50", "--network.dt", "5"],
            ["network's dt is 5.0 ms", "task's is 10.0 ms"],
        ),
        (["study", "flip_flop", "--network.input-size", "2"], ["input_size is 2", "n_inputs is 3"]),
        (["study", "flip_flop", "--network.engine", "cuda"], ["unknown engine 'cuda'"]),
        (["study", "flip_flop", "--seed", "-1"], ["seed", "-1"]),
        (["study", "flip_flop", "--config", "nowhere.toml"], ["no file 'nowhere.toml'"]),
        (["train", "--out", "x"], ["no task was named"]),
        (["train", "flip_flop"], ["--out"]),
        (["analyze", "nowhere"], ["no run in 'nowhere'"]),
        (["record", "nowhere"], ["no run in 'nowhere'"]),
        (["resume", "nowhere"], ["no run in 'nowhere'"]),
        (["resume"], ["--directory"]),
        (["runs", "nowhere"], ["there is no folder 'nowhere'"]),
        (["runs"], ["there is no folder 'runs'"]),
        (["train", "flip_flop", "--training.optimiser", "adam", "--out", "x"], ["did you mean 'Adam'?"]),
        (["train", "flip_flop", "--training.schedule", "cosin", "--out", "x"], ["schedule", "'cosin'"]),
        (["train", "flip_flop", "--training.loss", "msee", "--out", "x"], ["unknown loss 'msee'", "'mse'"]),
        (["train", "flip_flop", "--training.trainable", "['inputs']", "--out", "x"], ["'input'?"]),
        (["train", "flip_flop", "--training.stages", "[{n_step = 3}]", "--out", "x"], ["'n_steps'"]),
        (["train", "flip_flop", "--training.penalties", "{rates = 1.0}", "--out", "x"], ["unknown penalty"]),
        (["stduy", "flip_flop"], ["stduy"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_sentence_and_touch_nothing(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, arguments)
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_in_a_file_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.toml"
    file.write_text("[training]\nlearing_rate = 1e-3\n")
    message = refused(capsys, ["study", "flip_flop", "--config", str(file)])
    assert "unknown key 'training.learing_rate': did you mean 'learning_rate'?" in message
    file.write_text("[training\n")
    assert "is not a TOML file" in refused(capsys, ["study", "flip_flop", "--config", str(file)])
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_an_unwritable_folder_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("here")
    message = refused(capsys, ["study", "flip_flop", *SMALL, "--out", str(tmp_path / "file" / "run")])
    assert "cannot write to the folder" in message
    message = refused(capsys, ["study", "flip_flop", *SMALL, "--out", str(tmp_path / "file")])
    assert "is a file, expected a folder" in message


def test_a_folder_with_something_else_in_it_is_refused(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    message = refused(capsys, ["study", "flip_flop", *SMALL, "--overwrite", "--out", str(tmp_path)])
    assert "holds no run" in message
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_failure_is_told_in_one_sentence_with_status_1(capsys, tmp_path):
    folder = tmp_path / "run"
    arguments = ["train", "flip_flop", *SMALL, "--learning-rate", "1e30", "--training.clip-norm", "0"]
    assert run([*arguments, "--network.activation", "relu", "--out", str(folder)]) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert "the last good checkpoint is" in message
    assert (folder / "checkpoint.pt").exists()


def test_a_damaged_activity_file_is_told(studied, tmp_path, capsys):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(studied, folder)
    data = bytearray((folder / "activity.nc").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "activity.nc").write_bytes(bytes(data))
    assert run(["analyze", str(folder)]) == 1
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("task", [names[0] for names in families(nr.tasks.TASKS).values()])
def test_a_task_of_every_family_can_be_studied(task, tmp_path):
    findings = nr.study(
        task,
        {
            "network": {"hidden_size": 10},
            "training": {"n_steps": 20, "batch_size": 16, "n_evaluation_trials": 32},
            "recording": {"n_trials": 40},
        },
        directory=tmp_path / task,
        progress=False,
    )
    assert (tmp_path / task / "report.html").stat().st_size > 1e5
    assert isinstance(findings.fixed_points, xr.Dataset)
    assert "score" in findings.summary()


def test_a_task_of_ones_own_can_be_studied(tmp_path):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Copy(nr.Task):
        dt: float = 5.0
        n_inputs = 1
        n_outputs = 1

        def draw(self, n_trials, rng):
            inputs = rng.standard_normal((n_trials, 12, 1))
            return nr.Trials(self, inputs, inputs, np.ones_like(inputs))

        def score(self, outputs, trials):
            return (np.sign(outputs) == np.sign(trials.targets)).mean(axis=(1, 2))

    settings = {"training": {"n_steps": 10}, "recording": {"n_trials": 8}, "network": {"hidden_size": 6}}
    nr.study(Copy(), settings, directory=tmp_path / "copy", progress=False)
    findings = nr.analyze(tmp_path / "copy", task=Copy(), progress=False)
    assert findings.activity.sizes["trial"] == 8


def test_the_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "neurornn", "study", "flipflop"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean 'flip_flop'?" in done.stderr


def test_every_call_printed_in_the_report_can_be_run(studied, monkeypatch):
    import html
    import re

    import matplotlib.pyplot as plt

    page = html.unescape((studied / "report.html").read_text())
    calls = re.findall(r"<code>(neurornn\.plots\.[^<]+)</code>", page)
    setup = re.search(r"<pre>(import neurornn.*?)</pre>", page, re.DOTALL)
    assert len(calls) >= 6
    monkeypatch.chdir(studied)
    names = {}
    exec(setup.group(1), names)
    for call in calls:
        assert eval(call, names) is not None
        plt.close("all")
