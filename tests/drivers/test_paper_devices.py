"""From a rig file to the first trial, with the paper's devices: drivers unmodified, peers emulated.

Prior ProScan with drive and x/y stage, Sensapex manipulator, New Era pump; the camera is simulated
on them. The commands are those of docs/aspiration.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner, Result
from conftest import TIMEOUT_S
from new_era_peer import PUMP, NewEraPeer
from proscan_peer import FIELD, ProScanPeer
from ump_peer import GOTO, HOST, UmpPeer, UmpPersonality

from fgaf.acquire import load_rig
from fgaf.acquire.commands.main import main as acq
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.model.commands.aspirate import aspirate

package = pytest.importorskip("sensapex")
try:
    package.UMP.get_lib()
except OSError:
    pytest.skip("Sensapex's library is not installed", allow_module_level=True)

pytestmark = pytest.mark.long

SHAPE = (160, 240)
PIXEL_UM = 0.1465
RIG = """
name = "paper"

[camera]
driver = "simulated"
exposure_ms = 2

[stage]
driver = "prior"
limits_um = [-200, 200]
settle_ms = 0
[stage.options]
port = "{prior}"
timeout_s = {timeout}

[xy_stage]
x_limits_um = [-1000, 1000]
y_limits_um = [-1000, 1000]

[manipulator]
driver = "sensapex"
x_limits_um = [4000, 6000]
y_limits_um = [5000, 7000]
z_limits_um = [-7500, -500]
floor_um = -7100
highest_speed_um_s = 2000
[manipulator.options]
device = 4
z_down = true
group = {group}
address = "{host}"
answer_s = 0.3

[pump]
driver = "new-era"
[pump.options]
port = "{pump}"
syringe_mm = 0.485
safe_timeout_s = 200
timeout_s = {timeout}

[simulation]
shape = [160, 240]
cells = 2
motile = false
debris = 8
round_cells = 0
center_um = 10
"""


class Lab:
    """The devices, their rig file, and a person at the keyboard."""

    def __init__(self, folder: Path, prior: ProScanPeer, ump: UmpPeer, pump: NewEraPeer) -> None:
        self.prior, self.ump, self.pump = prior, ump, pump
        self.rig = folder / "rig.toml"
        self.rig.write_text(
            RIG.format(
                prior=prior.url, group=ump.group, host=HOST, pump=pump.url, timeout=TIMEOUT_S
            )
        )

    def run(self, command: Any, *arguments: Any) -> Result:
        return CliRunner().invoke(command, [str(each) for each in arguments])

    @property
    def pipette_moves(self) -> int:
        return sum(kind == GOTO for kind, _ in self.ump.commands)

    def map_pipette(self) -> None:
        """What `acq calibrate-pipette` would store: the tip is in the middle of the frame."""
        rig = load_rig(self.rig)
        PipetteMap(
            created="2026-11-30T08:00:00Z",
            camera="simulated",
            rig=PipetteMap.settings_of(rig),
            x_px_per_um=(1 / PIXEL_UM, 0.0, 0.0),
            y_px_per_um=(0.0, 1 / PIXEL_UM, 0.0),
            drive_um_per_um=(0.0, 0.0, 1 / 1.335),
            place_um=(5000.0, 6000.0, -7000.0),
            tip_px=(SHAPE[1] / 2, SHAPE[0] / 2),
            tip_drive_um=10.0,
            residual_px=0.2,
            residual_um=0.1,
            moves=9,
            manipulator="uMp 4",
        ).write(PipetteMap.path_of(self.rig))


@pytest.fixture
def lab(start_peer: Callable[[Any], Any], peers: list[Any], tmp_path: Path) -> Any:
    prior = start_peer(replace(FIELD, speed_um_per_s=1000.0))
    pump = NewEraPeer(PUMP)
    peers.append(pump)
    ump = UmpPeer(UmpPersonality(start_um=(5000.0, 6000.0, 7000.0, 10000.0)))
    yield Lab(tmp_path, prior, ump, pump)
    ump.switch_off()
    pump.switch_off()


def test_the_paper_s_devices_go_from_a_rig_file_to_a_first_trial(lab: Lab, tmp_path: Path) -> None:
    checked = lab.run(acq, "check", lab.rig, "--range", 3, "--xy-range", 20, "--seconds", 0.1)
    for device in ("x/y stage", "manipulator", "pump"):
        assert device in checked.output
    assert lab.pipette_moves == 0
    assert lab.pump.drawn_nl == 0

    missing = lab.run(aspirate, lab.rig, "--depth", "sim")
    assert missing.exit_code == 2
    assert "acq calibrate-" in missing.output

    measured = lab.run(acq, "calibrate-stage", lab.rig, "--json")
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)["pixel_size_um"] == pytest.approx(PIXEL_UM, rel=0.05)
    lab.map_pipette()

    dry = lab.run(aspirate, lab.rig, "--depth", "sim", "--frames", 6, "--force")
    assert "dry run: nothing moves" in dry.stderr
    assert lab.pipette_moves == 0
    assert lab.pump.drawn_nl == 0

    out = tmp_path / "trials.h5"
    heights = lab.ump.manipulator.axes[2]
    options = ("--depth", "sim", "--force", "--go", "--frames", 16, "--out", out)
    done = lab.run(aspirate, lab.rig, *options)
    assert done.exit_code == 0, done.output
    assert lab.pump.flow_nl_s == 0
    assert lab.pipette_moves >= 1
    assert heights.highest_um <= 7100
    assert heights.at(1e12) == pytest.approx(6900, abs=1)
    with h5py.File(out) as file:
        assert len(file["frames/time_ns"]) > 0
