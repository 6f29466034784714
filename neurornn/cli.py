"""The command line: ``neurornn study flip_flop`` and its parts.

Exit status 0; 2 for a user's mistake, told in one sentence; 1 for a failure.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from neurornn import config as configuration
from neurornn import pipeline, storage
from neurornn.tasks import TASKS, get
from neurornn.training import RunDirectory
from neurornn.vocabulary import VERSION, InputError, RunFailure, unknown_name

app = cyclopts.App(
    name="neurornn",
    help="Train rate recurrent networks on cognitive tasks, record their activity, and take them apart.",
    version=VERSION,
    help_format="plaintext",
)

Table = dict[str, str]


def _whole(kind: object, tokens: Sequence[cyclopts.Token]) -> int:
    """Read a whole number; cyclopts by itself would round 1.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"expected a whole number, got {tokens[0].value!r}") from None


def _number_option(text: str) -> Parameter:
    return Parameter(help=text, converter=_whole, n_tokens=1)


HiddenSize = Annotated[int | None, _number_option("Number of recurrent units.")]
Steps = Annotated[int | None, _number_option("Gradient steps.")]
BatchSize = Annotated[int | None, _number_option("Trials per gradient step.")]
LearningRate = Annotated[float | None, Parameter(help="Adam's step size.")]
Seed = Annotated[int | None, _number_option("Seed of weights, trials and noise; 0 by default.")]
Out = Annotated[Path | None, Parameter(help="Folder of the run; runs/TASK by default.")]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace an earlier run in that folder.")]
ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="TOML file; options given here win over it.")
]
TaskTable = Annotated[Table | None, Parameter(name="--task", help="Parameters of the task: --task.n-bits 2.")]
NetworkTable = Annotated[
    Table | None, Parameter(name="--network", help="Further network settings: --network.activation relu.")
]
TrainingTable = Annotated[
    Table | None, Parameter(name="--training", help="Further training settings: --training.clip-norm 0.")
]
RecordingTable = Annotated[
    Table | None, Parameter(name="--recording", help="Recording settings: --recording.n-trials 200.")
]
RunFolder = Annotated[Path, Parameter(help="Folder of a run.")]


@app.command
def tasks(name: Annotated[str | None, Parameter(help="A task; leave it out for the list.")] = None) -> None:
    """List the tasks, or show one task's data sheet."""
    if name is None:
        width = max(map(len, TASKS))
        for own, kind in TASKS.items():
            print(f"{own:<{width}}  {(kind.__doc__ or '').splitlines()[0]}")
        return
    if name not in TASKS:
        unknown_name("task", name, TASKS)
    print(inspect.getdoc(TASKS[name]))


@app.command
def study(
    task: Annotated[str, Parameter(help="Registered name; `neurornn tasks` lists them.")],
    /,
    *,
    hidden_size: HiddenSize = None,
    n_steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    out: Out = None,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    task_parameters: TaskTable = None,
    network: NetworkTable = None,
    training: TrainingTable = None,
    recording: RecordingTable = None,
) -> None:
    """Train a network on a task, record its activity, analyse it and write a report, by the task's recipe."""
    flat = _flat(hidden_size, n_steps, batch_size, learning_rate)
    tables = {"task": task_parameters, "network": network, "training": training, "recording": recording}
    plan = _plan(task, config, flat, tables, seed)
    findings = pipeline.study(plan, directory=out, overwrite=overwrite)
    print(findings.summary())


@app.command
def train(
    task: Annotated[
        str | None, Parameter(help="Registered name; may stand in the configuration file.")
    ] = None,
    /,
    *,
    hidden_size: HiddenSize = None,
    n_steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    out: Annotated[Path, Parameter(help="Folder of the run.")],
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    task_parameters: TaskTable = None,
    network: NetworkTable = None,
    training: TrainingTable = None,
    recording: RecordingTable = None,
) -> None:
    """Train a network on a task and write its run folder."""
    flat = _flat(hidden_size, n_steps, batch_size, learning_rate)
    tables = {"task": task_parameters, "network": network, "training": training, "recording": recording}
    plan = _plan(task, config, flat, tables, seed)
    run = pipeline.train_run(plan, directory=out, overwrite=overwrite)
    score = float(run.history["evaluation_score"].max())
    print(f"best held-out score {score:.4f}; the run is in {run.directory}")


@app.command
def record(
    directory: RunFolder,
    *,
    trials: Annotated[int | None, _number_option("How many trials; the run's own number by default.")] = None,
    seed: Annotated[int | None, _number_option("Seed of the trials; the run's own by default.")] = None,
    noise: Annotated[bool, Parameter(negative=(), help="Turn the network's own noise on.")] = False,
    out: Annotated[
        Path | None, Parameter(help="File to write; activity.nc in the run's folder by default.")
    ] = None,
) -> None:
    """Record the activity of a trained network."""
    changes = {"n_trials": trials, "seed": seed, "noise": noise or None}
    activity = pipeline.record_run(directory, {k: v for k, v in changes.items() if v is not None})
    path = RunDirectory.open(directory).activity if out is None else out
    storage.save(activity, path)
    print(f"{activity.sizes['trial']} trials, mean score {float(activity['score'].mean()):.4f}, in {path}")


@app.command
def analyze(directory: RunFolder) -> None:
    """Analyse a run: write analysis/*.nc, figures/*.png and report.html into its folder."""
    print(pipeline.analyze(directory).summary())


def _flat(
    hidden_size: int | None, n_steps: int | None, batch_size: int | None, learning_rate: float | None
) -> dict[str, Any]:
    training = {"n_steps": n_steps, "batch_size": batch_size, "learning_rate": learning_rate}
    return {
        "network": {} if hidden_size is None else {"hidden_size": hidden_size},
        "training": {name: value for name, value in training.items() if value is not None},
    }


def _plan(
    name: str | None,
    file: Path | None,
    flat: Mapping[str, Any],
    tables: Mapping[str, Table | None],
    seed: int | None,
) -> configuration.RunConfig:
    """Put the recipe, the configuration file and the options together, each winning over the one before."""
    written = configuration.read_toml(file) if file is not None else {}
    changes = {key: _values(table or {}) for key, table in tables.items()}
    parameters = changes.pop("task")
    from_file = written.get("task", {})
    from_file = from_file if isinstance(from_file, Mapping) else {}
    name = name or from_file.get("name")
    if not name:
        raise InputError(
            "no task was named: give one, as in `neurornn train flip_flop`, or in the file's [task]"
        )
    if from_file.get("name", name) == name:
        parameters = {**from_file.get("parameters", {}), **parameters}
    settings = configuration.merge({k: v for k, v in written.items() if k != "task"}, changes)
    return pipeline.plan(get(name, **parameters), configuration.merge(settings, flat), seed=seed)


def _values(table: Table) -> dict[str, Any]:
    """Read the values of dotted options as TOML would: numbers, true, lists; anything else is a string."""
    values: dict[str, Any] = {}
    for key, text in table.items():
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        values[key.replace("-", "_")] = value
    return values


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``neurornn``; the process's own by default.
    """
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (InputError, cyclopts.CycloptsError) as error:
        print(f"neurornn: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except RunFailure as error:
        print(f"neurornn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("neurornn: interrupted", file=sys.stderr)
        return 130
    return 0


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())
