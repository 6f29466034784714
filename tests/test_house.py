"""The house itself: imports run one way, rooms guard their names, the wheel holds what git holds."""

import ast
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "neurornn"

FLOORS = [
    {"vocabulary", "seeding", "config", "files", "numerics"},
    {"storage"},
    {"tasks", "engine"},
    {"networks"},
    {"training"},
    {"activity"},
    {"analysis", "testing"},
    {"plots"},
    {"report"},
    {"pipeline"},
    {"cli"},
    {"__init__", "__main__"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(tree):
    """Rooms that a module imports, in functions too; those for type checkers alone do not count."""
    lazily_typed = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in lazily_typed:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inside = node.module == "neurornn"
            names = [f"neurornn.{alias.name}" for alias in node.names] if inside else [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "neurornn":
                yield parts[1] if len(parts) > 1 else "__init__"


def arrows_the_wrong_way(room, source):
    there = set(imported_rooms(ast.parse(source)))
    return [f"{room} imports {name}" for name in there if HEIGHT[name] > HEIGHT[room]]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    assert not arrows_the_wrong_way(room_of(path), path.read_text())


def test_a_planted_arrow_the_wrong_way_is_caught():
    assert arrows_the_wrong_way("tasks", "from neurornn import analysis")
    assert arrows_the_wrong_way("networks", "def f():\n    import neurornn.training.loop")
    assert not arrows_the_wrong_way("training", "from neurornn.networks import RateRNN")


def test_analysis_knows_networks_by_their_protocol_only():
    for path in (PACKAGE / "analysis").rglob("*.py"):
        assert not {"networks", "engine", "training"} & set(imported_rooms(ast.parse(path.read_text()))), path


def test_every_module_introduces_itself():
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_only_the_checkpoint_calls_torch_load_and_never_with_pickles():
    calls = [
        (path, line)
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.search(r"\btorch\.load\(", line)
    ]
    assert [path.name for path, _ in calls] == ["checkpoint.py"]
    assert all("weights_only=True" in line for _, line in calls)


@pytest.mark.parametrize("room", ["tasks", "analysis"])
def test_a_room_refuses_to_be_imported_by_its_bare_name(room):
    # From the root, where the link of that name lies, as a notebook there would.
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"write `from neurornn import {room}`" in done.stderr
    assert (ROOT / room).is_symlink()
    assert (ROOT / room).resolve() == (PACKAGE / room).resolve()


def test_heavy_libraries_load_on_first_use():
    heavy = ("scipy", "h5netcdf", "sklearn", "matplotlib", "numba", "cyclopts")
    code = f"import sys, neurornn; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_all_there_and_a_near_miss_is_offered():
    import neurornn

    for name in neurornn.__all__:
        assert getattr(neurornn, name) is not None
    assert set(neurornn.__all__) == set(dir(neurornn))
    with pytest.raises(AttributeError, match="did you mean 'record'"):
        neurornn.recrod  # noqa: B018


def test_the_wheel_from_the_sdist_holds_what_git_holds(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("compares with what git holds, and this is no checkout")
    listed = subprocess.run(
        ["git", "ls-files", "neurornn"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = listed.stdout.split()
    assert tracked
    # From a copy of what git holds, so that no leftover of the working tree gets in.
    source = tmp_path / "source"
    subprocess.run(["git", "checkout-index", "-a", f"--prefix={source}/"], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("neurornn/")}
    assert in_wheel == set(tracked)
    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert set(tracked) <= in_sdist
    assert not {name for name in in_wheel | in_sdist if name.startswith(("tasks/", "analysis/"))}
