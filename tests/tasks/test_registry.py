import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurornn import InputError, tasks
from neurornn.tasks import TASKS, DelayedComparison, FlipFlop, PerceptualDecisionMaking
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
    assert {"Story", "Inputs", "Targets", "Epochs", "Scoring", "Constant inputs"} <= set(headings)
    assert "References" in TASKS[name].__doc__


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_condition_that_a_report_splits_by_exists(name):
    task = tasks.get(name)
    conditions = task.draw(4, np.random.default_rng(0)).conditions
    asked = {*task.average_by, *task.accuracy_by, task.psychometric_stimulus} - {None}
    assert asked <= set(conditions)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_recipe_is_made_of_known_settings(name):
    from neurornn import RateRNN
    from neurornn.config import TrainingConfig

    task = tasks.get(name)
    recipe = task.recipe
    TrainingConfig.from_dict(recipe.training)
    RateRNN(task.n_inputs, output_size=task.n_outputs, **recipe.network)
    assert 0 < recipe.criterion <= 1


def test_lists_of_a_configuration_file_become_tuples():
    task = tasks.get("delayed_comparison", pairs=[[18, 10], [22, 14]], delays=[200.0])
    assert task.pairs == ((18, 10), (22, 14))
    assert task == DelayedComparison(pairs=((18, 10), (22, 14)), delays=(200.0,))
    assert hash(task) == hash(DelayedComparison(pairs=((18, 10), (22, 14)), delays=(200.0,)))


def test_an_unknown_task_or_parameter_offers_the_nearest():
    with pytest.raises(InputError, match=r"unknown task 'flipflop'.*did you mean 'flip_flop'\?"):
        tasks.get("flipflop")
    with pytest.raises(
        InputError, match=r"unknown task 'xyzzy'.*'delayed_comparison', 'flip_flop'.*choose one"
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
