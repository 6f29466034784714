"""The whole chain by one call: train, record, analyse, draw, report.

Reads a task and settings, or a run's folder. Gives a run's folder with everything in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from neurornn import analysis, files, report, storage
from neurornn.activity import condition_average, record
from neurornn.config import FAMILY_CONFIGS, NetworkConfig, RecordingConfig, RunConfig, merge, read_config
from neurornn.networks import Network, build_network
from neurornn.tasks import TaskProtocol, describe, get, registered_name
from neurornn.training import RunDirectory, TrainingRun, load_run, train
from neurornn.vocabulary import FIXED_POINT_KINDS, VERSION, InputError, need_count

N_COMPONENTS = 10
"""Principal components that are kept in a run's folder."""


def plan(
    task: TaskProtocol | str, settings: Mapping[str, Any] | None = None, *, seed: int | None = None
) -> RunConfig:
    """Put a task's recipe and your own settings together.

    Parameters
    ----------
    task : Task or str
        A task, or a registered name.
    settings : mapping, optional
        Tables ``network``, ``training`` and ``recording`` with the entries of
        `neurornn.config.RunConfig` that differ from the recipe.
    seed : int, optional
        One seed for weights, trials, noise and recording; each has a stream of its own.

    Returns
    -------
    RunConfig

    Raises
    ------
    InputError
        Where a key is unknown or a value does not fit.

    Examples
    --------
    >>> plan("flip_flop", {"network": {"hidden_size": 32}}).network.hidden_size
    32
    """
    task = get(task) if isinstance(task, str) else task
    if not isinstance(task, TaskProtocol):
        raise InputError(
            f"`task` must be a task or a registered name, got {type(task).__name__}: `neurornn tasks` "
            "lists them"
        )
    if seed is not None:
        need_count(seed, "seed", least=0)
    record_of_task = describe(task)
    base: dict[str, Any] = {
        "task": {
            "name": registered_name(task) or record_of_task["class"],
            "parameters": record_of_task["parameters"],
        },
        "network": {"input_size": task.n_inputs, "output_size": task.n_outputs, "hidden_size": 64},
        "training": dict(task.recipe.training),
        "recording": {},
        "neurornn_version": VERSION,
    }
    base["network"] |= _recipe_for(task, settings or {})
    merged = merge(base, settings or {})
    for table in ("network", "training", "recording"):
        if not isinstance(merged[table], dict):
            raise InputError(f"{table!r} must be a table of settings, got {merged[table]!r}")
        if seed is not None:
            merged[table]["seed"] = seed
    if "tau" in merged["network"]:
        # There is one dt, the task's.
        merged["network"].setdefault("dt", task.dt)
    return RunConfig.from_dict(merged)


def _recipe_for(task: TaskProtocol, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe's network, or what of it another family of networks knows, where one is asked for."""
    recipe = dict(task.recipe.network)
    asked = settings.get("network")
    family = asked.get("family") if isinstance(asked, Mapping) else None
    if (
        not isinstance(family, str)
        or family not in FAMILY_CONFIGS
        or family == recipe.get("family", "RateRNN")
    ):
        return recipe
    known = FAMILY_CONFIGS[family].model_fields
    return {name: value for name, value in recipe.items() if name in known}


def train_run(
    config: RunConfig,
    *,
    directory: str | os.PathLike[str],
    task: TaskProtocol | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> TrainingRun:
    """Train as a configuration says and write the run's folder."""
    task = _task(config, task)
    network = build_network(config.network)
    settings = config.training.model_dump()
    return train(
        network,
        task,
        **settings,
        directory=directory,
        overwrite=overwrite,
        recording=config.recording,
        progress=progress,
    )


def record_run(
    directory: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    *,
    task: TaskProtocol | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Record the activity of a run's network as its configuration says, or with changes to that."""
    return _record(load_run(directory, task=task), changes, progress)


def _record(run: TrainingRun, changes: Mapping[str, Any] | None, progress: bool) -> xr.Dataset:
    """Record a run that is at hand."""
    own = read_config(_paths(run).config, RunConfig).recording
    config = RecordingConfig.from_dict(
        {**own.model_dump(), **(changes or {})}, source="the recording settings"
    )
    return record(run.network, run.task, **config.model_dump(), progress=progress)


def study(
    task: TaskProtocol | str | RunConfig,
    settings: Mapping[str, Any] | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Findings:
    """Train a network on a task by the task's recipe, record it, analyse it, and write figures and a report.

    Parameters
    ----------
    task : Task, str or RunConfig
        A task, a registered name, or a whole plan.
    settings : mapping, optional
        What differs from the recipe; see `plan`.
    directory : path-like, optional
        Folder of the run, ``runs/<task>`` by default.
    seed : int, optional
        One seed for all.
    overwrite : bool
        Whether an earlier run in the folder is replaced.
    progress : bool
        Whether to show a progress bar per stage.

    Returns
    -------
    Findings

    Raises
    ------
    InputError
        For a wrong setting, a bidirectional network, or a folder that holds a run or cannot be written to.
    DivergedTraining
        Where training fails.
    """
    config = task if isinstance(task, RunConfig) else plan(task, settings, seed=seed)
    _need_step(config.network)
    own = None if isinstance(task, RunConfig | str) else task
    directory = Path("runs") / config.task.name if directory is None else Path(directory)
    run = train_run(config, directory=directory, task=own, overwrite=overwrite, progress=progress)
    activity = _record(run, None, progress)
    storage.save(activity, _paths(run).activity)
    return _analyze(run, activity, progress)


def analyze(
    directory: str | os.PathLike[str], *, task: TaskProtocol | None = None, progress: bool = True
) -> Findings:
    """Analyse a trained run and write its ``analysis/*.nc``, ``figures/*.png`` and ``report.html``.

    Parameters
    ----------
    directory : path-like
        Folder of the run. Its activity is recorded first where that was not done.
    task : Task, optional
        The task, where it is one of your own.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Findings
    """
    run = load_run(directory, task=task)
    _need_step(run.network.config)
    paths = _paths(run)
    if paths.activity.exists():
        activity = storage.load(paths.activity)
    else:
        activity = _record(run, None, progress)
        storage.save(activity, paths.activity)
    return _analyze(run, activity, progress)


def _need_step(config: NetworkConfig) -> None:
    """Refuse a network that cannot be analysed as a dynamical system."""
    if config.bidirectional:
        raise InputError(
            "a bidirectional network has no step to find fixed points of: use `neurornn train` and `neurornn "
            "record`, and analyse the activity"
        )


@dataclass(frozen=True)
class Findings:
    """What was found of a run.

    Attributes
    ----------
    run : TrainingRun
    activity : xarray.Dataset
    components : xarray.Dataset
        From `neurornn.analysis.pca`.
    fixed_points : xarray.Dataset
        Under the task's constant inputs.
    spectrum : xarray.Dataset or None
        Of the recurrent weights, where they are one square matrix.
    accuracy : xarray.Dataset
        By the task's conditions, or overall.
    psychometric : xarray.Dataset or None
    averages : xarray.Dataset or None
        Rates by condition.
    """

    run: TrainingRun
    activity: xr.Dataset
    components: xr.Dataset
    fixed_points: xr.Dataset
    spectrum: xr.Dataset | None
    accuracy: xr.Dataset
    psychometric: xr.Dataset | None
    averages: xr.Dataset | None

    def summary(self) -> str:
        """Return the lines that close a study on the terminal."""
        score = self.activity["score"]
        share = self.components["explained_variance_ratio"].to_numpy()[:3]
        score_line = f"score         {float(score.mean()):.4f} on {score.size} fresh trials"
        if "ideal_score" in self.activity.coords:
            score_line += f" (an ideal observer's: {float(self.activity['ideal_score'].mean()):.4f})"
        lines = [
            score_line,
            f"perfect       {float((score == 1).mean()):.1%} of the trials",
            f"variance      {share.sum():.1%} in {len(share)} principal components",
        ]
        for name in self.fixed_points["condition_name"].to_numpy():
            lines.append(f"fixed points  {_count_kinds(self.fixed_points, str(name))}, under {name}")
        if self.run.directory is not None:
            lines.append(f"report        {RunDirectory(self.run.directory).report}")
        return "\n".join(lines)


def _count_kinds(points: xr.Dataset, condition: str) -> str:
    """Return how many points of each kind there are, as in "27 (8 stable, 18 saddle, 1 unstable)"."""
    kinds = points["kind"].to_numpy()[(points["condition"] == condition).to_numpy()]
    if not len(kinds):
        return "none found"
    counts = [f"{int((kinds == kind).sum())} {kind}" for kind in FIXED_POINT_KINDS if (kinds == kind).any()]
    return f"{len(kinds)} ({', '.join(counts)})"


def _paths(run: TrainingRun) -> RunDirectory:
    """Return the files of a run, which those of this file all have."""
    assert run.directory is not None
    return RunDirectory(run.directory)


def _conditions(activity: xr.Dataset, task: TaskProtocol) -> list[str]:
    """Return by which of its conditions the task's rates are averaged and coloured."""
    return [name for name in getattr(task, "average_by", ()) if name in activity.coords]


def _task(config: RunConfig, task: TaskProtocol | None) -> TaskProtocol:
    return get(config.task.name, **config.task.parameters) if task is None else task


def _analyze(run: TrainingRun, activity: xr.Dataset, progress: bool) -> Findings:
    """Run every analysis that the task calls for; write the results, the figures and the report."""
    paths = _paths(run)
    task, network = run.task, run.network
    n_components = min(N_COMPONENTS, network.rate_size)
    conditions = _conditions(activity, task)
    stimulus = getattr(task, "psychometric_stimulus", None)
    stages: dict[str, Callable[[], xr.Dataset | None]] = {
        "components": lambda: analysis.pca(activity, n_components),
        "fixed_points": lambda: analysis.find_fixed_points(network, activity, inputs=task.constant_inputs()),
        "spectrum": lambda: _spectrum(network),
        "accuracy": lambda: analysis.accuracy(activity, list(getattr(task, "accuracy_by", ())) or None),
        "psychometric": lambda: _psychometric(activity, stimulus),
        "averages": lambda: condition_average(activity, conditions) if conditions else None,
    }
    results: dict[str, Any] = {}
    with tqdm(stages.items(), desc="analyze", unit="analysis", disable=not progress) as bar:
        for name, compute in bar:
            bar.set_postfix_str(name.replace("_", " "))
            results[name] = compute()
            if results[name] is not None:
                # How long a search took is no result: without it, one seed gives one file.
                results[name].attrs.pop("seconds", None)
                storage.save(results[name], paths.analysis / f"{name}.nc")
    findings = Findings(run, activity, **results)
    _write_report(findings, progress)
    return findings


def _spectrum(network: Network) -> xr.Dataset | None:
    """Return the spectrum of the recurrent weights, where they are one matrix from units to units."""
    if len(network.layers) > 1 or network.recurrent_weight.shape != (network.hidden_size,) * 2:
        return None
    return analysis.eigenspectrum(network.recurrent_weight)


def _write_report(findings: Findings, progress: bool) -> None:
    """Draw the figures, write each as a file, and all of them into the report."""
    run, activity = findings.run, findings.activity
    paths = _paths(run)
    conditions = _conditions(activity, run.task)
    with tqdm(total=2, desc="report", unit="part", disable=not progress) as bar:
        figures = report.draw_figures(
            activity,
            history=run.history,
            pcs=findings.components,
            points=findings.fixed_points,
            spectrum=findings.spectrum,
            averages=findings.averages,
            psychometric=findings.psychometric,
            color_by=conditions[0] if conditions else None,
        )
        for figure in figures:
            files.atomic_write(paths.figures / f"{figure.name}.png", figure.png())
        bar.update()
        config = files.read_bytes(paths.config).decode()
        origin = json.loads(activity.attrs["neurornn"])
        report.write_report(
            paths.report,
            title=f"{type(run.task).__name__}: what the network found",
            mechanism=report.describe_mechanism(activity, findings.components, findings.fixed_points),
            figures=figures,
            tables=report.make_tables(
                activity,
                pcs=findings.components,
                points=findings.fixed_points,
                accuracy=findings.accuracy,
                psychometric=findings.psychometric,
            ),
            facts={
                "Task": repr(run.task),
                "Network": repr(run.network).replace("\n", " "),
                "Training": f"{run.config.n_steps} steps of {run.config.batch_size} trials, best held-out "
                f"loss after step {run.history.attrs['best_step']}, seed {run.config.seed}",
                "Recording": f"{activity.sizes['trial']} fresh trials, "
                f"recurrent noise {'on' if origin['recording']['noise'] else 'off'}",
            },
            setup=_setup(findings),
            settings=config,
            versions=origin["versions"],
        )
        bar.update()


_LOADED = {
    "pcs": "components",
    "points": "fixed_points",
    "spectrum": "spectrum",
    "averages": "averages",
    "psychometric": "psychometric",
}


def _setup(findings: Findings) -> str:
    """Return the lines of Python after which a figure's call can be run in the run's folder."""
    lines = [
        "import neurornn  # in the run's folder",
        'history = neurornn.load_run(".").history',
        'activity = neurornn.load("activity.nc")',
    ]
    lines += [
        f'{name} = neurornn.load("analysis/{result}.nc")'
        for name, result in _LOADED.items()
        if getattr(findings, result) is not None
    ]
    return "\n".join(lines)


def _psychometric(activity: xr.Dataset, stimulus: str | None) -> xr.Dataset | None:
    """Fit the psychometric curve, where the task has one and there are choices at three stimuli at least."""
    if stimulus is None:
        return None
    made = activity["choice"] >= 0
    if len(np.unique(activity[stimulus][made.to_numpy()])) < 3:
        return None
    return analysis.psychometric(activity, stimulus, chosen=2)
