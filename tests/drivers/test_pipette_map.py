"""Where the tip is seen: the map of a rig, both ways, stored and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgaf import SettingError
from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.rig_map import RigMap
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.devices import Place3
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator

TURNED = (
    "manipulator.options.matrix=[[0.98, -0.2, 0], [0.2, 0.98, 0.05], [0, -0.05, 1]]",
    "manipulator.options.tip_um=[10, -5, 7]",
    "manipulator.options.repeatability_um=0",
)


@pytest.mark.parametrize(
    ("kind", "table"), [(PipetteMap, r"\[manipulator\]"), (StageMap, r"\[xy_stage\]")]
)
def test_a_rig_without_the_devices_is_told_so(kind: type[RigMap], table: str) -> None:
    rig = load_rig("sim-aspiration").model_copy(update={"manipulator": None, "xy_stage": None})
    with pytest.raises(SettingError, match=f"add the table {table}"):
        kind.of("rig.toml", rig)


@pytest.mark.parametrize("place", [(0.0, 0.0, 20.0), (30.0, -12.0, 4.0)])
def test_the_map_of_a_simulated_pipette_is_that_of_its_tip(place: Place3) -> None:
    rig = load_rig("sim-aspiration", TURNED)
    found = PipetteMap.of("sim-aspiration", rig)
    assert rig.simulation is not None
    pixel_um, (rows, columns) = rig.simulation.pixel_size_um, rig.simulation.shape
    with open_rig(rig) as devices:
        arm = devices.manipulator
        assert isinstance(arm, SimulatedManipulator)
        arm.move_xyz_to(*place, 100)
        devices.clock.sleep(10)
        x, y, z = arm.tip_um()
    assert found.pixel_of(place) == pytest.approx(
        (columns / 2 + x / pixel_um, rows / 2 + y / pixel_um)
    )
    assert found.focus_of(place) == pytest.approx(z / 1.335)
    assert found.place_for(*found.pixel_of(place), found.focus_of(place)) == pytest.approx(place)
    move = found.move_for(10.0, 0.0, 2.0)
    there = tuple(float(each) for each in np.add(place, move))
    assert found.focus_of(there) - found.focus_of(place) == pytest.approx(2.0)  # type: ignore[arg-type]
    assert found.pixel_size_um == pytest.approx(pixel_um, rel=0.01)
    assert found.drive_factor == pytest.approx(1 / 1.335, rel=0.01)


def test_a_map_is_stored_and_refused_when_the_rig_changed(tmp_path: Path) -> None:
    rig = load_rig("sim-aspiration")
    found = PipetteMap.simulated(rig)
    assert found is not None
    path = PipetteMap.path_of(tmp_path / "scope.toml")
    assert path == tmp_path / "scope.pipette-map.toml"
    with pytest.raises(SettingError, match=r"there is no .*run `acq calibrate-pipette my\.toml`"):
        PipetteMap.of("my.toml", rig, path)
    found = found.model_copy(update={"dish_um": -3.5})
    found.write(path)
    assert PipetteMap.of("my.toml", rig, path) == found
    for change in (
        "camera.options.row_us=30",
        "stage.options.backlash_um=1",
        "manipulator.options.start_um=[1, 2, 30]",
        "simulation.magnification=20",
    ):
        with pytest.raises(SettingError, match=r"does not hold any more: .* of the rig changed"):
            PipetteMap.of("my.toml", load_rig("sim-aspiration", (change,)), path)


def test_only_a_simulated_pipette_has_a_map_of_its_own() -> None:
    rig = load_rig("sim-aspiration", ("camera.driver=basler",))
    assert PipetteMap.simulated(rig) is None
    assert PipetteMap.simulated(load_rig("sim")) is None
