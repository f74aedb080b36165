"""The calibration of the micropipette: tip and focus found, map recovered, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf import FgafError
from fgaf.acquire import DeviceError, Interrupt, load_rig, open_rig
from fgaf.acquire.commands.main import main
from fgaf.acquire.commissioning.dish_contact import find_dish
from fgaf.acquire.commissioning.pipette_calibration import (
    Eye,
    calibrate_pipette,
    doubt_of,
    fit_map,
    pattern_of,
)
from fgaf.acquire.commissioning.tip_finder import find_tip
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator
from fgaf.base.errors import SettingError

FIELD = (
    "simulation.shape=[300, 500]",
    "simulation.cells=4",
    "simulation.debris=5",
    "simulation.round_cells=0",
    "simulation.quick=true",
    "simulation.aspiration.inner_diameter_um=5",
    "simulation.aspiration.outer_diameter_um=7",
    "manipulator.options.start_um=[0, 0, 3]",
)
TURNED = "manipulator.options.matrix=[[0.98, -0.2, 0], [0.2, 0.98, 0.05], [0, -0.05, 1]]"


WIDE = ("simulation.aspiration.inner_diameter_um=10", "simulation.aspiration.outer_diameter_um=12")
SMALL = ("simulation.shape=[160, 240]",)


@pytest.mark.parametrize("overrides", [("simulation.seed=1",), WIDE, (*WIDE, *SMALL)])
def test_the_tip_is_found_beside_cells(overrides: tuple[str, ...]) -> None:
    rig = load_rig("sim-aspiration", (*FIELD, *overrides))
    with open_rig(rig) as devices:
        devices.camera.start()
        for focus_um in (2.25, 1.5, 3.5):
            devices.stage.move_to(focus_um)
            devices.clock.sleep(1.0)
            frame = devices.camera.trigger(5.0)
            assert frame.truth is not None
            (true,) = (each for each in frame.truth.cells if each.kind == "pipette")
            tip = find_tip(frame.pixels)
            assert tip is not None
            assert (tip.x_px, tip.y_px) == pytest.approx((true.x_px, true.y_px), abs=1.0)
            assert abs(np.angle(np.exp(1j * (tip.yaw - true.yaw_rad)))) < 0.01


def test_no_tip_is_found_among_cells_alone() -> None:
    with open_rig(load_rig("sim", FIELD[:-1])) as devices:
        devices.camera.start()
        assert find_tip(devices.camera.trigger(5.0).pixels) is None


@pytest.mark.parametrize("away_um", [45.0, 58.0])
def test_a_tip_far_out_of_focus_is_found(away_um: float) -> None:
    place = f"manipulator.options.start_um=[0, 0, {3 + 1.335 * away_um}]"
    rig = load_rig("sim-aspiration", (*FIELD, *SMALL, place, "simulation.cells=0"))
    with open_rig(rig) as devices:
        devices.camera.start()
        sight = Eye(devices, rig, Interrupt()).focus(0.0, 60.0)
    assert sight.drive_um == pytest.approx(3 / 1.335 + away_um, abs=0.5)
    assert (sight.tip.x_px, sight.tip.y_px) == pytest.approx((120, 80), abs=1.0)


def calibrate(*overrides: str) -> tuple[PipetteMap, PipetteMap | None]:
    rig = load_rig("sim-aspiration", (*FIELD, *overrides))
    with open_rig(rig) as devices:
        mover = PipetteMover(devices, rig.manipulator, Interrupt())
        places = pattern_of(mover, 8.0)
        arm, told = devices.manipulator, [place[2] for place in places]
        assert min(told) == pytest.approx(3.0, abs=0.1)
        try:
            found = calibrate_pipette(devices, rig, mover, places, 5.0, Interrupt())
        finally:
            assert isinstance(arm, SimulatedManipulator)
            assert arm.position_xyz_um()[2] > 50
            assert devices.stage.position_um() == pytest.approx(0, abs=0.1)
    return found, PipetteMap.simulated(rig)


@pytest.mark.slow
def test_the_hidden_matrix_is_recovered() -> None:
    found, true = calibrate(TURNED)
    assert true is not None
    for name, error in (("x_px_per_um", 0.05), ("y_px_per_um", 0.05), ("drive_um_per_um", 0.02)):
        np.testing.assert_allclose(getattr(found, name), getattr(true, name), atol=error)
    assert found.pixel_of(found.place_um) == pytest.approx(true.pixel_of(found.place_um), abs=1.0)
    assert found.focus_of(found.place_um) == pytest.approx(true.focus_of(found.place_um), abs=0.5)
    assert found.drive_factor == pytest.approx(1 / 1.335, rel=0.03)
    assert doubt_of(found, 1.0) == ""
    assert "refraction in water gives 1.138" in doubt_of(found, 1.518 + 0.001)


STILL = "manipulator.options.matrix=[[0, 0, 0], [0, 0, 0], [0, 0, 0]]"
LARGE = "manipulator.options.matrix=[[1.5, 0, 0], [0, 1.5, 0], [0, 0, 1]]"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (STILL, r"the tip moved by at most .* px: the manipulator does not move"),
        pytest.param(LARGE, r"µm per pixel, but the rig 0\.1465: correct", marks=pytest.mark.slow),
        ("manipulator.options.tip_um=[0, 0, 60]", "no tip of a pipette is seen"),
        ("manipulator.floor_um=5", "outside its limits 5 to 200"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(override: str, says: str) -> None:
    rig = load_rig("sim-aspiration", (*FIELD, override))
    with open_rig(rig) as devices:
        mover = PipetteMover(devices, rig.manipulator, Interrupt())
        with pytest.raises(FgafError, match=says) as caught:
            calibrate_pipette(devices, rig, mover, pattern_of(mover, 8.0), 5.0, Interrupt())
    assert "\n" not in str(caught.value)


def test_a_step_that_is_too_large_is_named_and_nothing_moves() -> None:
    rig = load_rig("sim-aspiration", FIELD)
    with open_rig(rig) as devices:
        with pytest.raises(SettingError, match=r"x = 150\.0 µm, outside .*give a smaller --step"):
            pattern_of(PipetteMover(devices, rig.manipulator, Interrupt()), 150.0)
        arm = devices.manipulator
        assert isinstance(arm, SimulatedManipulator)
        assert arm.moves == 0


def test_a_tip_that_a_step_takes_out_of_the_image_is_not_looked_for_farther() -> None:
    rig = load_rig("sim-aspiration", (*FIELD, "simulation.cells=0", "simulation.debris=0"))
    with open_rig(rig) as devices:
        mover = PipetteMover(devices, rig.manipulator, Interrupt())
        with pytest.raises(DeviceError, match="give a smaller --step"):
            calibrate_pipette(devices, rig, mover, pattern_of(mover, 80.0), 5.0, Interrupt())


@dataclass(frozen=True)
class Unfit:
    """Places of the tip that no map explains."""

    matrix: Any
    scatter: float
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Unfit(np.diag([6.8, 6.8, 0.75]), 8.0, "do not fit the moves"),
        Unfit(np.diag([6.8, 6.8, 0.0]), 0.0, "its units are wrong"),
        Unfit(np.diag([6.8, 6.8, 750.0]), 0.0, "its units are wrong"),
        Unfit(np.diag([6.8, 0.0, 0.75]), 0.0, "its units are wrong"),
    ],
    ids=lambda case: case.says,
)
def test_places_without_a_map_are_refused(case: Unfit) -> None:
    moves = 8.0 * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, -1, 0), (0, 0, 1), (1, 1, 1)])
    seen = moves @ case.matrix.T
    seen[::2, 0] += case.scatter
    with pytest.raises(DeviceError, match=case.says):
        fit_map(moves, seen)


DEEP = ("manipulator.z_limits_um=[-40, 200]", "simulation.cells=0", "simulation.debris=0")


@pytest.mark.parametrize(("floor_um", "touches"), [(-30, True), (2, False)])
def test_the_dish_is_found_by_a_touch_and_the_floor_is_not_crossed(
    floor_um: float, touches: bool
) -> None:
    floor = f"manipulator.floor_um={floor_um}"
    rig = load_rig("sim-aspiration", (*FIELD, *DEEP, floor, "simulation.aspiration.dish_um=6"))
    field = rig.simulation
    assert field is not None
    assert field.aspiration is not None
    true_um = field.dish_um / field.reduction + field.aspiration.outer_diameter_um / 2
    known = PipetteMap.simulated(rig)
    assert known is not None
    with open_rig(rig) as devices:
        mover = PipetteMover(devices, rig.manipulator, Interrupt())
        found = known.model_copy(update={"place_um": (0.0, 0.0, 3.0)} | _seen_at(known, 3.0))
        if touches:
            dish_um = find_dish(devices, rig, mover, found, Interrupt())
            assert true_um - 1 <= dish_um <= true_um + 1.5
        else:
            with pytest.raises(DeviceError, match=r"floor of the rig is 2 µm.*was raised"):
                find_dish(devices, rig, mover, found, Interrupt())
        arm = devices.manipulator
        assert arm is not None
        assert arm.position_xyz_um()[2] > 50


def _seen_at(known: PipetteMap, z_um: float) -> dict[str, Any]:
    place = (0.0, 0.0, z_um)
    return {"tip_px": known.pixel_of(place), "tip_drive_um": known.focus_of(place)}


def test_without_go_nothing_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sent: list[Any] = []
    monkeypatch.setattr(SimulatedManipulator, "move_xyz_to", lambda *place: sent.append(place))
    words = [word for each in FIELD for word in ("--set", each)]
    done = CliRunner().invoke(main, ["calibrate-pipette", "sim-aspiration", *words, "--json"])
    assert done.exit_code == 0, done.output
    assert not sent
    assert len(json.loads(done.stdout)["places"]) == 7
    assert done.stderr.count("the pipette goes to") == 6
    assert not list(tmp_path.iterdir())
