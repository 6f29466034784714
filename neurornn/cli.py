"""The command line: ``neurornn study flip_flop`` and its parts.

Exit status 0; 2 for a user's mistake, told in one sentence; 1 for a failure.
"""

from __future__ import annotations

import inspect
import math
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from neurornn import activity, files, pipeline, storage, training
from neurornn.config import RunConfig, merge, read_toml
from neurornn.tasks import TASKS, get
from neurornn.tasks.listing import families, summary
from neurornn.training import RunDirectory
from neurornn.training.listing import list_runs
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


def _count(text: str) -> Parameter:
    return Parameter(help=text, converter=_whole, n_tokens=1)


def _table(name: str, example: str) -> Parameter:
    return Parameter(name=f"--{name}", help=f"Any other setting of the {name}, as in --{name}.{example}.")


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """What `study` and `train` can be told; the recipe fills in the rest."""

    hidden_size: Annotated[int | None, _count("Number of recurrent units.")] = None
    n_steps: Annotated[int | None, _count("Gradient steps.")] = None
    batch_size: Annotated[int | None, _count("Trials per gradient step.")] = None
    learning_rate: Annotated[float | None, Parameter(help="The optimiser's step size.")] = None
    seed: Annotated[int | None, _count("Seed of weights, trials and noise.")] = None
    config: Annotated[Path | None, Parameter(help="TOML file; options given here win over it.")] = None
    task: Annotated[Table | None, _table("task", "n-bits 2")] = None
    network: Annotated[Table | None, _table("network", "activation relu")] = None
    training: Annotated[Table | None, _table("training", "clip-norm 0")] = None
    recording: Annotated[Table | None, _table("recording", "n-trials 200")] = None

    def plan(self, name: str | None) -> RunConfig:
        """Put the recipe, the configuration file and the options together, each over the one before."""
        written = read_toml(self.config) if self.config is not None else {}
        in_file = written.pop("task", {})
        in_file = in_file if isinstance(in_file, Mapping) else {}
        name = name or in_file.get("name")
        if not name:
            raise InputError(
                "no task was named: give one, as in `neurornn train flip_flop`, or in the file's [task]"
            )
        parameters = in_file.get("parameters", {}) if in_file.get("name", name) == name else {}
        if not isinstance(parameters, Mapping):
            raise InputError(f"'task.parameters' must be a table of settings, got {parameters!r}")
        options = {
            "network": _values(self.network) | _given(hidden_size=self.hidden_size),
            "training": _values(self.training)
            | _given(n_steps=self.n_steps, batch_size=self.batch_size, learning_rate=self.learning_rate),
            "recording": _values(self.recording),
        }
        task = get(name, **{**parameters, **_values(self.task)})
        return pipeline.plan(task, merge(written, options), seed=self.seed)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _values(table: Table | None) -> dict[str, Any]:
    """Read the values of dotted options as TOML would: numbers, true, lists; anything else is a string."""
    values: dict[str, Any] = {}
    for key, text in (table or {}).items():
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        values[key.replace("-", "_")] = value
    return values


TaskName = Annotated[str, Parameter(help="Registered name; `neurornn tasks` lists them.")]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace an earlier run in that folder.")]
RunFolder = Annotated[Path, Parameter(help="Folder of a run.")]


@app.command
def tasks(
    name: Annotated[str | None, Parameter(help="A task; leave it out for the list.")] = None,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="PNG file of the figure; NAME.png in the working folder by default.")
    ] = None,
    figure: Annotated[bool, Parameter(help="Whether to draw example trials.")] = True,
) -> None:
    """List the tasks; or show one task's data sheet, and write a figure of example trials."""
    if name is None:
        if out is not None:
            raise InputError(f"`--out` = {str(out)!r} is for the figure of one task: name the task too")
        _list_tasks()
        return
    if name not in TASKS:
        unknown_name("task", name, TASKS)
    if figure:
        # Before anything is printed, so that a file that cannot be written is all that is told of.
        path = Path(f"{name}.png") if out is None else out
        files.atomic_write(path, _picture(name))
    print(inspect.getdoc(TASKS[name]))
    if figure:
        print(f"\nExample trials are in {path}")


def _list_tasks() -> None:
    """Print the names and summaries, family by family, no wider than the terminal."""
    indent, name_width = "    ", max(map(len, TASKS)) + 2
    width = max(shutil.get_terminal_size((110, 24)).columns, len(indent) + name_width + 30)
    hanging = " " * (len(indent) + name_width)
    for heading, names in families(TASKS).items():
        print(textwrap.fill(heading, width))
        for own in names:
            line = f"{indent}{own:<{name_width}}{summary(TASKS[own])}"
            print(textwrap.fill(line, width, subsequent_indent=hanging))
        print()
    print(f"{len(TASKS)} tasks; `neurornn tasks NAME` shows one of them")


def _picture(name: str) -> bytes:
    """Return the figure of a task's example trials as a PNG file."""
    # Imported here, because the list of tasks needs no plots.
    import matplotlib.pyplot as plt

    from neurornn.plots import plot_task
    from neurornn.report.figures import ReportFigure

    drawn = plot_task(get(name))[0].get_figure()
    try:
        return ReportFigure(name, drawn, caption="", call="plot_task(task)").png()  # type: ignore[arg-type]
    finally:
        plt.close(drawn)  # type: ignore[arg-type]


@app.command
def study(
    task: TaskName,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder of the run; runs/TASK by default.")] = None,
    overwrite: Overwrite = False,
    settings: Settings = Settings(),
) -> None:
    """Train a network on a task, record its activity, analyse it and write a report, by the task's recipe."""
    print(pipeline.study(settings.plan(task), directory=out, overwrite=overwrite).summary())


@app.command
def train(
    task: Annotated[str | None, Parameter(help="Registered name; may stand in the file.")] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder of the run.")],
    overwrite: Overwrite = False,
    settings: Settings = Settings(),
) -> None:
    """Train a network on a task and write its run folder."""
    run = pipeline.train_run(settings.plan(task), directory=out, overwrite=overwrite)
    score = float(run.history["evaluation_score"].max())
    print(f"best held-out score {score:.4f}; the run is in {run.directory}")


@app.command
def resume(directory: RunFolder) -> None:
    """Go on with a training that was interrupted, to the same bits as if it had not been."""
    run = training.resume(directory)
    score = float(run.history["evaluation_score"].max())
    print(f"best held-out score {score:.4f}; the run is in {run.directory}")


@app.command
def runs(
    directory: Annotated[Path, Parameter(help="Folder with runs in it or below.")] = Path("runs"), /
) -> None:
    """List the runs in a folder and below, each with its state and its best held-out score."""
    found = list_runs(directory)
    if not found:
        print(f"there are no runs in {directory}")
        return
    width = max(len(str(own.path)) for own in found) + 2
    print(f"{'run':<{width}}{'task':<32}{'state':<12}{'step':>14}{'best score':>12}")
    for own in found:
        steps = f"{own.step}/{own.n_steps}" if own.n_steps else ""
        score = "" if math.isnan(own.best_score) else f"{own.best_score:.4f}"
        print(f"{own.path!s:<{width}}{own.task:<32}{own.state:<12}{steps:>14}{score:>12}")
        if own.note:
            print(f"    {own.note}")


@app.command
def record(
    directory: RunFolder,
    *,
    trials: Annotated[int | None, _count("How many trials; the run's own number by default.")] = None,
    seed: Annotated[int | None, _count("Seed of the trials; the run's own by default.")] = None,
    conditions: Annotated[
        str | None, Parameter(help="random, or factorial: every combination of factors equally often.")
    ] = None,
    noise: Annotated[bool, Parameter(negative=(), help="Turn the network's own noise on.")] = False,
    out: Annotated[
        Path | None, Parameter(help="File to write; activity.nc in the run's folder by default.")
    ] = None,
) -> None:
    """Record the activity of a trained network."""
    changes = _given(n_trials=trials, seed=seed, conditions=conditions, noise=noise or None)
    recorded = pipeline.record_run(directory, changes)
    path = RunDirectory.open(directory).activity if out is None else out
    storage.save(recorded, path)
    print(f"{recorded.sizes['trial']} trials, mean score {float(recorded['score'].mean()):.4f}, in {path}")


@app.command
def export(
    directory: RunFolder,
    *,
    format: Annotated[str, Parameter(help="nwb, mat, npz, zarr, nc, or csv (the trials' conditions).")],
    out: Annotated[
        Path | None, Parameter(help="File to write; activity.FORMAT in the run's folder by default.")
    ] = None,
) -> None:
    """Write a run's recorded activity as colleagues' tools read it."""
    ending = f".{format.removeprefix('.')}"
    if ending not in storage.FORMATS:
        unknown_name("format", format, [own.removeprefix(".") for own in storage.FORMATS])
    recorded = RunDirectory.open(directory).activity
    path = recorded.with_suffix(ending) if out is None else out
    if path.suffix != ending:
        raise InputError(f"--out {str(path)!r} does not end in {ending!r}: name it so, or change --format")
    storage.save(storage.load(recorded), path)
    print(f"the activity is in {path}")


@app.command
def reproduce(
    file: Annotated[Path, Parameter(help="A recording: activity.nc of a run, or any that was saved.")], /
) -> None:
    """Make a recording again from what it tells of itself, and say whether it is equal to the bit."""
    found = activity.reproduce(storage.load(file))
    if not found.is_exact:
        raise RunFailure(found.summary())
    print(found.summary())


@app.command
def analyze(directory: RunFolder) -> None:
    """Analyse a run: write analysis/*.nc, figures/*.png and report.html into its folder."""
    print(pipeline.analyze(directory).summary())


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
