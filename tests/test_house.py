"""The house rules: rooms one way, heavy imports in their room, commands that answer."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points, packages_distributions
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parents[1]
HEAVY = {
    *("torch", "torchvision", "onnx", "onnxruntime", "openvino"),
    *("napari", "qtpy", "PyQt6", "matplotlib", "serial", "pypylon"),
}

COMMANDS = [
    entry for entry in entry_points(group="console_scripts") if entry.value.startswith("fgaf.")
]


def modules_loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter imports while it runs `code`."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


def test_no_room_below_model_loads_a_heavy_library() -> None:
    below = ("base", "dataset", "acquire", "curate")
    loaded = modules_loaded_by("\n".join(f"import fgaf.{room}" for room in below))
    assert "fgaf" in loaded
    assert not loaded & HEAVY


def test_help_of_every_command_answers_and_stays_light() -> None:
    """In one process: what the first loads shows with the second, too."""
    code = "from click.testing import CliRunner\n"
    for entry in COMMANDS:
        code += f"from {entry.module} import {entry.attr} as run\n"
        code += "assert CliRunner().invoke(run, ['--help']).output.startswith('Usage: ')\n"
    assert not modules_loaded_by(code) & (HEAVY | {"scipy", "skimage"})


ROOMS = ("base", "dataset", "acquire", "curate", "model")


def test_imports_run_one_way(tmp_path: Path) -> None:
    """Between rooms and inside them, as `pyproject.toml` says; on a tree as it is installed."""
    package = shutil.copytree(HERE / "fgaf", tmp_path / "fgaf")
    for room in ROOMS:
        shutil.copytree(HERE / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), HERE / "pyproject.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports anywhere."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(str(node.module))
    return {name.partition(".")[0] for name in names}


def distribution(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = {
        distribution(line) for lines in (project["dependencies"], *extras) for line in lines
    }
    by_module = packages_distributions()
    ours = {*sys.stdlib_module_names, "fgaf", "_typeshed"}
    for path in (path for room in ROOMS for path in (HERE / room).rglob("*.py")):
        for package in imported(path) - ours:
            assert {distribution(name) for name in by_module[package]} & declared, (path, package)


def test_a_napari_without_a_qt_is_told_how_to_get_one(tmp_path: Path) -> None:
    """Python finds no package that `sys.modules` maps to None."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('PyQt6', 'PySide6', 'PyQt5', 'PySide2')))\n"
        "from fgaf.curate.commands.main import main; main(['open', 'raw'])"
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.stack.h5").touch()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("is missing: pip install 'fgaf[napari]' 'napari[pyqt6]'\n")


def test_a_room_has_few_boxes() -> None:
    for room in ROOMS:
        boxes = {path.stem for path in (HERE / room).glob("*") if path.suffix in ("", ".py")}
        assert len(boxes - {"__init__", "__pycache__"}) <= 16, room


def test_public_names_are_there() -> None:
    for package in ("fgaf", *(f"fgaf.{room}" for room in ROOMS[1:]), "fgaf.model.live"):
        module = import_module(package)
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_messages_count_planes_from_1() -> None:
    """A number after the word "plane" in a text adds 1 to an index."""
    told, wrong = 0, []
    for path in (path for room in ROOMS for path in (HERE / room).rglob("*.py")):
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(text, ast.JoinedStr):
                continue
            for before, value in pairwise(text.values):
                if (
                    isinstance(before, ast.Constant)
                    and isinstance(value, ast.FormattedValue)
                    and re.search(r"(?<![-\w])(?<!focus )plane $", str(before.value))
                ):
                    told += 1
                    if not re.search(r"\+ \d", ast.unparse(value.value)):
                        wrong.append(f"{path.relative_to(HERE)}:{value.lineno}")
    assert not wrong, "say plane + 1; an index is for files and arrays"
    assert told > 15
