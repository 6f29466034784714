"""Every example in a docstring runs and prints what it says, and every public name has one."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil

import matplotlib.pyplot as plt
import pytest

import neurornn
from neurornn import analysis, plots, report, tasks, testing

MODULES = ["neurornn"] + [
    info.name
    for info in pkgutil.walk_packages(neurornn.__path__, "neurornn.")
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    # Not importlib's attribute: some functions have the name of the module that they come from.
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    plt.close("all")
    assert result.failed == 0


def public_functions():
    rooms = {"neurornn": neurornn, "analysis": analysis, "plots": plots, "report": report, "testing": testing}
    for room, module in rooms.items():
        for name in getattr(module, "__all__", ["check_task", "check_network"]):
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield pytest.param(thing, id=f"{room}.{name}")


# What needs a run's folder, or is shown by the example of what it undoes.
SHOWN_ELSEWHERE = {"analyze", "load_run", "load_network", "load", "study"}


@pytest.mark.parametrize("function", list(public_functions()))
def test_public_functions_say_what_comes_in_and_out(function):
    text = inspect.getdoc(function)
    assert "Parameters\n---" in text
    if function.__name__ not in SHOWN_ELSEWHERE:
        assert "Examples\n---" in text
        assert ">>> " in text


@pytest.mark.parametrize("task", list(tasks.TASKS.values()), ids=list(tasks.TASKS))
def test_tasks_have_a_data_sheet(task):
    sheet = inspect.getdoc(task)
    places = [sheet.index(f"{heading}\n") for heading in ("Story", "Inputs", "Targets", "Epochs", "Scoring")]
    assert places == sorted(places)
    for heading in ("Constant inputs\n", "Parameters\n---", "References\n---", "doi:10.", "Examples\n---"):
        assert heading in sheet
    for field in dataclasses.fields(task):
        assert field.name in sheet, f"the data sheet does not tell of {field.name}"
