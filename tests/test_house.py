"""The house rules: rooms one way, heavy imports in their room, commands that answer."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
HEAVY = {
    *("torch", "torchvision", "onnx", "onnxruntime", "openvino"),
    *("napari", "qtpy", "PyQt6", "matplotlib", "serial", "pypylon"),
}

COMMANDS = sorted(
    entry.name for entry in entry_points(group="console_scripts") if entry.value.startswith("fgaf.")
)


def modules_loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter imports while it runs `code`."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.parametrize("room", ["dataset", "acquire", "curate"])
def test_a_room_loads_no_heavy_library(room: str) -> None:
    assert not modules_loaded_by(f"import fgaf.{room}") & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_and_stays_light(command: str) -> None:
    (entry,) = entry_points(group="console_scripts", name=command)
    loaded = modules_loaded_by(f"from {entry.module} import {entry.attr} as run; run(['--help'])")
    assert not loaded & (HEAVY | {"scipy", "skimage"})


def test_rooms_import_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=HERE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_napari_manifest_is_valid() -> None:
    npe2 = Path(sys.executable).with_name("npe2")
    done = subprocess.run([npe2, "validate", "fgaf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
