"""From an empty folder to the first trial, with the paper's devices, emulated; drivers unmodified.

Prior ProScan with drive and x/y stage, Sensapex manipulator, New Era pump. The simulated camera
images what they do. The commands are those of docs/aspiration.md, in its order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomlkit
from click.testing import CliRunner, Result
from new_era_peer import PUMP, NewEraPeer
from proscan_peer import FIELD, ProScanPeer
from ump_peer import GOTO, HOST, Axis, UmpPeer, UmpPersonality

from fgaf.acquire import load_rig
from fgaf.acquire.commands.main import main as acq
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.drivers import sensapex
from fgaf.model.aspirate.command import Outcome
from fgaf.model.commands.aspirate import aspirate

package = pytest.importorskip("sensapex")
try:
    package.UMP.get_lib()
except OSError:
    pytest.skip("Sensapex's library is not installed", allow_module_level=True)

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SHAPE = (160, 240)
PIXEL_UM = 0.1465
TURNED = np.array([[0.98, -0.2, 0.0], [0.2, 0.98, 0.0], [0.0, 0.0, 1.0]])
"""How the emulated manipulator moves the tip in the image."""
WAITS_UM = (5000.0, 6000.0, -7000.0)
"""The place of the manipulator with the tip in the middle of the image, over the cells."""
OVER_UM = 80.0
"""Height of the tip there, over where the drive is at 0."""
FILLED_IN = {
    "stage": {"limits_um": [-200, 200], "settle_ms": 0, "options": {"timeout_s": 2}},
    "xy_stage": {"x_limits_um": [-1000, 1000], "y_limits_um": [-1000, 1000]},
    "manipulator": {
        "x_limits_um": [4000, 6000],
        "y_limits_um": [5000, 7000],
        "z_limits_um": [-7500, -500],
        "floor_um": -7064,
        "highest_speed_um_s": 2000,
        "options": {"z_down": True, "address": HOST, "answer_s": 2},
    },
    "pump": {"options": {"syringe_mm": 0.485, "timeout_s": 2}},
    "simulation": {
        "shape": list(SHAPE),
        "cells": 1,
        "motile": False,
        "debris": 5,
        "round_cells": 0,
        "center_um": 10,
        "quick": True,
        "aspiration": {"inner_diameter_um": 10, "outer_diameter_um": 12},
    },
}
"""What a person adds to the file that `acq rig new` has written."""


FIRST_TRIAL = (
    *("--depth", "sim", "--depth-by", "truth", "--force", "--procedure", "choose_s=5"),
    *("--procedure", "stand_off_px=60", "--procedure", "approach_s=5", "--page", "0"),
)


def merge(table: Any, more: dict[str, Any]) -> None:
    """Set the values of a table and of those in it."""
    for key, value in more.items():
        if isinstance(value, dict) and key in table:
            merge(table[key], value)
        else:
            table[key] = value


class Lab:
    """The devices, their rig file, and a person at the keyboard."""

    def __init__(self, folder: Path, prior: ProScanPeer, ump: UmpPeer, pump: NewEraPeer) -> None:
        self.prior, self.ump, self.pump = prior, ump, pump
        self.rig = folder / "rig.toml"

    def fill_in(self) -> None:
        """As a person does, in an editor."""
        tip = np.array((0.0, 0.0, OVER_UM)) - TURNED @ WAITS_UM
        mount = {"matrix": TURNED.tolist(), "tip_um": tip.tolist()}
        text = tomlkit.parse(self.rig.read_text())
        merge(text, {**FILLED_IN, "camera": {"exposure_ms": 2, "options": {"mount": mount}}})
        merge(text, {"manipulator": {"options": {"group": self.ump.group}}})
        self.rig.write_text(tomlkit.dumps(text))

    def run(self, command: Any, *arguments: Any) -> Result:
        return CliRunner().invoke(command, [str(each) for each in arguments])

    @property
    def pipette_moves(self) -> int:
        return sum(kind == GOTO for kind, _ in self.ump.commands)

    def bring_tip_into_view(self) -> None:
        """As a person does, with the wheel of the manipulator."""
        x, y, z = WAITS_UM
        self.ump.manipulator.axes[:3] = [Axis(at) for at in (x, y, -z)]


@pytest.fixture
def lab(
    start_peer: Callable[[Any], Any],
    peers: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    prior = start_peer(replace(FIELD, speed_um_per_s=1000.0))
    pump = NewEraPeer(PUMP)
    peers.append(pump)
    ump = UmpPeer(UmpPersonality(start_um=(5300.0, 6000.0, 6800.0, 10000.0)))
    network = partial(sensapex.find_at, IPv4Address(HOST), ump.group)
    monkeypatch.setattr(sensapex, "find", network)  # the emulated one is not link-local
    yield Lab(tmp_path, prior, ump, pump)
    ump.switch_off()
    pump.switch_off()


def test_the_paper_s_devices_go_from_an_empty_folder_to_a_first_trial(
    lab: Lab, tmp_path: Path
) -> None:
    ports = ("--port", lab.prior.url, "--port", lab.pump.url)
    listed = lab.run(acq, "devices", *ports)
    for device in ("Prior", "New Era", "Sensapex manipulator 4"):
        assert device in listed.output
    words = ("rig", "new", lab.rig, "--camera", "simulated", *ports)
    two = lab.run(acq, *words)
    assert two.exit_code == 2
    assert f"give --pump sensapex:30 or new-era:{lab.pump.url}" in two.output
    written = lab.run(acq, *words, "--pump", "new-era")
    assert written.exit_code == 0, written.output
    blank = lab.run(acq, "check", lab.rig)
    assert blank.exit_code != 0
    assert "limits_um" in blank.output
    lab.fill_in()

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

    lab.bring_tip_into_view()
    told = lab.run(acq, "calibrate-pipette", lab.rig, "--step", 3)
    assert told.exit_code == 0, told.output
    assert told.output.count("the pipette goes to") == 6
    assert lab.pipette_moves == 0
    found = lab.run(acq, "calibrate-pipette", lab.rig, "--step", 3, "--go", "--json")
    assert found.exit_code == 0, found.output
    pipette = PipetteMap.read(PipetteMap.path_of(lab.rig), load_rig(lab.rig))
    assert pipette.pixel_of(WAITS_UM) == pytest.approx((SHAPE[1] / 2, SHAPE[0] / 2), abs=2)
    assert pipette.focus_of(WAITS_UM) == pytest.approx(OVER_UM / 1.335, abs=0.7)
    in_plane = np.array((pipette.x_px_per_um, pipette.y_px_per_um))
    np.testing.assert_allclose(in_plane * PIXEL_UM, TURNED[:2], atol=0.03)
    heights = lab.ump.manipulator.axes[2]
    assert heights.at(1e12) == pytest.approx(6900, abs=1), "the pipette was raised"

    lab.bring_tip_into_view()
    moves = lab.pipette_moves
    dry = lab.run(aspirate, lab.rig, "--depth", "sim", "--frames", 5, "--force", "--page", 0)
    assert "dry run: nothing moves" in dry.stderr
    assert lab.pipette_moves == moves
    assert lab.pump.drawn_nl == 0

    out = tmp_path / "trials.h5"
    heights = lab.ump.manipulator.axes[2]
    done = lab.run(aspirate, lab.rig, *FIRST_TRIAL, "--go", "--json", "--out", out)
    assert done.exit_code == 0, done.output
    trial = json.loads(done.stdout.splitlines()[0])
    assert trial["outcome"] not in (Outcome.FAULT, Outcome.STOPPED)
    assert lab.pump.flow_nl_s == 0
    assert lab.pump.drawn_nl == 0 or trial["drawn_ns"] is not None
    assert lab.pipette_moves > moves
    assert heights.highest_um <= 7064
    assert heights.at(1e12) == pytest.approx(6900, abs=1)
    with h5py.File(out) as file:
        assert len(file["frames/time_ns"]) > 0
        assert len(file["trials/outcome"]) == 1
