"""A driver from another package works as soon as that package is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fgaf.dataset import RawStack

DRIVER = '''
"""A drive on paper, by somebody who knows only fgaf.acquire.devices."""


class PaperStage:
    name = "paper drive"

    def __init__(self, limits_um):
        self.limits_um = limits_um
        self._z_um = 0.0

    def position_um(self):
        return self._z_um

    def move_to(self, z_um):
        self._z_um = z_um

    def moving(self):
        return False

    def stop(self):
        pass

    def close(self):
        pass


def open_stage(settings, opening):
    return PaperStage((-settings["reach_um"], settings["reach_um"]))
'''
METADATA = """\
Metadata-Version: 2.1
Name: paper-drive
Version: 1.2
"""
ENTRY_POINTS = """\
[fgaf.stages]
paper = paper_drive:open_stage
"""
FILES = {
    "paper_drive.py": DRIVER,
    "paper_drive-1.2.dist-info/METADATA": METADATA,
    "paper_drive-1.2.dist-info/entry_points.txt": ENTRY_POINTS,
}
RIG = """
[camera]
driver = "simulated"
exposure_ms = 1.0

[stage]
driver = "paper"
settle_ms = 0

[stage.options]
reach_um = 50.0

[simulation]
shape = [64, 64]
cells = 1
debris = 0
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder that the other package is installed in, with what an installer leaves there."""
    target = tmp_path / "site"
    for name, text in FILES.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return target


def acq(installed: Path, *arguments: str) -> str:
    command = [
        sys.executable,
        "-c",
        "from fgaf.acquire.commands.main import main; main()",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_driver_is_listed_and_takes_a_stack(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(acq(installed, "devices", "--no-probe", "--json"))["drivers"]
    (row,) = [row for row in listed if row["driver"] == "paper"]
    assert (row["kind"], row["package"], row["state"]) == ("stage", "paper-drive 1.2", "ready")

    rig = tmp_path / "rig.toml"
    rig.write_text(RIG, encoding="utf-8")
    acq(installed, "stack", "--rig", str(rig), "--out", str(tmp_path), "--name", "one")
    with RawStack.open(tmp_path / "one.stack.h5") as stack:
        assert stack.header.stage == "paper drive"
        assert list(stack.z_um) == [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
