import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurornn import InputError, tasks
from neurornn.tasks import TASKS, Choice, DelayedComparison, FlipFlop, PerceptualDecisionMaking
from neurornn.testing import check_task

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_registered_task_passes_the_checker(name):
    check_task(tasks.get(name))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_registered_task_is_told_by_a_snake_case_name_and_its_class(name):
    task = tasks.get(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert tasks.registered_name(task) == name
    assert type(task) is TASKS[name]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_data_sheet_has_the_same_order(name):
    headings = re.findall(r"^    ([A-Z][a-z ]+)\n        ", TASKS[name].__doc__, flags=re.MULTILINE)
    order = ["Story", "Inputs", "Targets", "Epochs", "Scoring", "Ideal observer", "Constant inputs", "Recipe"]
    assert [heading for heading in order if heading in headings] == headings
    assert {*order} - {"Ideal observer"} <= set(headings)
    assert "References" in TASKS[name].__doc__


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_condition_that_a_report_splits_by_exists(name):
    task = tasks.get(name)
    conditions = task.draw(4, np.random.default_rng(0)).conditions
    asked = {*task.average_by, *task.accuracy_by, task.psychometric_stimulus} - {None}
    assert asked <= set(conditions)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_recipe_is_made_of_known_settings(name):
    from neurornn import pipeline
    from neurornn.networks import build_network

    task = tasks.get(name)
    plan = pipeline.plan(name)
    network = build_network(plan.network)
    assert (network.input_size, network.output_size) == (task.n_inputs, task.n_outputs)
    assert task.recipe.training, "a recipe says how long to train"
    assert task.chance_score < task.recipe.criterion <= 1


@pytest.mark.parametrize("name", [name for name in sorted(TASKS) if hasattr(TASKS[name], "ideal_choices")])
def test_every_ideal_observer_does_as_well_as_its_closed_form(name):
    task = tasks.get(name)
    trials = task.draw(20_000, np.random.default_rng(20_260_001))
    right = task.ideal_choices(trials) == trials.conditions["target_choice"]
    assert right.mean() > task.chance_score
    if hasattr(task, "ideal_accuracy"):
        expected = np.asarray(task.ideal_accuracy(trials.conditions))
        assert expected.shape == (20_000,)
        # The sum of independent answers, each right with its own probability.
        error = np.sqrt((expected * (1 - expected)).sum()) / 20_000
        assert abs(right.mean() - expected.mean()) <= 3 * error + 1e-9


@pytest.mark.parametrize("name", [name for name in sorted(TASKS) if hasattr(TASKS[name], "ideal_choices")])
def test_every_ideal_observer_reads_the_inputs_only(name):
    task = tasks.get(name)
    trials = task.draw(50, np.random.default_rng(0))
    blind = dataclasses.replace(trials, conditions={}, targets=np.zeros_like(trials.targets))
    np.testing.assert_array_equal(task.ideal_choices(blind), task.ideal_choices(trials))


def test_every_task_has_a_name_of_its_own_in_the_papers():
    named = [name for name in TASKS if name.startswith("yang19_")]
    assert len({tasks.get(name).paper_name for name in named} - {None}) == len(named)


def test_the_battery_is_whole():
    assert len(TASKS) >= 60
    assert list(TASKS) == sorted(TASKS)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_comes_back_from_a_configuration_file(name, tmp_path):
    from neurornn.config import TaskConfig, read_config, write_toml

    task = tasks.get(name)
    written = TaskConfig(name=name, parameters=tasks.describe(task)["parameters"])
    write_toml(tmp_path / "task.toml", written)
    read = read_config(tmp_path / "task.toml", TaskConfig)
    assert tasks.get(read.name, **read.parameters) == task


def test_the_documentation_lists_every_task():
    table = tasks.table()
    assert table in (ROOT / "docs" / "tasks.md").read_text(), "docs/tasks.md lacks tasks.table()"
    for name in TASKS:
        assert f"| `{name}` |" in table


def test_lists_of_a_configuration_file_become_tuples():
    task = tasks.get("delayed_comparison", pairs=[[18, 10], [22, 14]], delay="Choice(200.0)")
    assert task.pairs == ((18, 10), (22, 14))
    assert task == DelayedComparison(pairs=((18, 10), (22, 14)), delay=Choice(200.0))
    assert hash(task) == hash(DelayedComparison(pairs=((18, 10), (22, 14)), delay=Choice(200.0)))


def test_an_unknown_task_or_parameter_offers_the_nearest():
    with pytest.raises(InputError, match=r"unknown task 'flipflop'.*did you mean 'flip_flop'\?"):
        tasks.get("flipflop")
    with pytest.raises(
        InputError, match=r"unknown task 'xyzzy'.*'delayed_comparison', .*'flip_flop'.*choose one"
    ):
        tasks.get("xyzzy")
    with pytest.raises(InputError, match=r"task 'flip_flop' has no parameter 'nbits': did you mean 'n_bits'"):
        tasks.get("flip_flop", nbits=2)
    with pytest.raises(InputError, match=r"no parameter 'qqq': it has 'n_bits', 'duration'"):
        tasks.get("flip_flop", qqq=2)


def test_a_task_of_ones_own_has_no_registered_name(echo_class):
    assert tasks.registered_name(echo_class()) is None

    class Harder(FlipFlop):
        pass

    assert tasks.registered_name(Harder()) is None


@pytest.mark.parametrize("room", ["tasks", "analysis"])
def test_a_bare_import_of_a_linked_room_says_what_to_write(room):
    run = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert f"write `from neurornn import {room}`" in run.stderr


def test_tasks_are_hashable_frozen_values():
    assert len({FlipFlop(), FlipFlop(n_bits=3), PerceptualDecisionMaking()}) == 2


def test_what_is_no_field_is_no_parameter():
    with pytest.raises(InputError, match="task 'delayed_comparison' has no parameter 'loss'"):
        tasks.get("delayed_comparison", loss="mse")
