"""What is printed is run: the examples, the notebook and the README's block."""

import ast
import pathlib
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def statements(source):
    """Statements without docstring, as syntax: comments and spacing do not count."""
    body = ast.parse(source).body
    return [
        ast.dump(node)
        for node in body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def cells(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def quickstart_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "quickstart.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_the_quickstart_finds_the_cube(quickstart_folder):
    printed = (quickstart_folder / "printed.txt").read_text()
    assert dict(line.split() for line in printed.splitlines()[1:]) == {"saddle": "19", "stable": "8"}
    assert (quickstart_folder / "flip_flop.png").read_bytes().startswith(b"\x89PNG")
    assert (quickstart_folder / "flip_flop.nc").stat().st_size > 1e5


def test_the_readme_shows_the_quickstart():
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    own = statements((EXAMPLES / "quickstart.py").read_text())
    assert statements(block) == own[: len(statements(block))]


def test_the_notebook_is_the_quickstart_and_runs(tmp_path):
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    assert statements("\n".join(cells(notebook))) == statements((EXAMPLES / "quickstart.py").read_text())
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert (tmp_path / "flip_flop.nc").exists()
    printed = [
        out.text for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name") == "stdout"
    ]
    assert "stable" in "".join(printed)


def test_a_task_of_ones_own_takes_at_most_twenty_lines_and_trains(tmp_path):
    source = (EXAMPLES / "own_task.py").read_text()
    (definition,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    lines = ast.get_source_segment(source, definition).splitlines()
    assert len([line for line in lines if line.strip()]) + 1 <= 20  # the decorator's line too
    done = subprocess.run(
        [sys.executable, EXAMPLES / "own_task.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split("%")[0]) > 97


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_code_in_the_documentation_prints_what_it_says(page, tmp_path):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        # A line of comment alone is what the line above it prints.
        wanted = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("# ")]
        assert done.stdout.splitlines() == wanted
