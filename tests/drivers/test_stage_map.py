"""How the stage moves the image: measured, stored, refused, and used for mosaics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from slide import PIXEL_UM, Slide

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    DeviceError,
    Devices,
    Interrupt,
    Rig,
    load_rig,
    open_rig,
    read_positions,
)
from fgaf.acquire.commands.main import main
from fgaf.acquire.commissioning.stage_calibration import Pattern, calibrate_stage, fit_matrix
from fgaf.acquire.control.mosaic import mosaic
from fgaf.acquire.control.positions import Position, write_positions
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage


def calibrate(
    options: dict[str, Any] | None = None,
    wrong: dict[str, Any] | None = None,
    step_um: float | None = None,
    limits: tuple[str, ...] = (),
) -> tuple[StageMap, Rig]:
    words = [f"xy_stage.options.{key}={value}" for key, value in (options or {}).items()]
    words = [word.replace("True", "true") for word in words]
    rig = load_rig("sim", (*words, *limits, f"optics.pixel_size_um={PIXEL_UM}"))
    with open_rig(rig) as devices:
        stage = devices.xy_stage
        assert isinstance(stage, SimulatedXYStage)
        slide = replace(Slide(stage), **(wrong or {}))
        on_slide = Devices(slide, devices.stage, devices.clock, stage)
        interrupt = Interrupt()
        travel = XYMover(on_slide, rig.xy_stage, interrupt)
        pattern = Pattern.of(on_slide, rig, travel, step_um)
        try:
            return calibrate_stage(on_slide, rig, travel, pattern, interrupt), rig
        finally:
            assert stage.position_xy_um() == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("angle_deg", "mirrored", "backlash_um"), [(0, False, 0.0), (2.5, False, 3.0), (93, True, 0.0)]
)
def test_the_matrix_is_measured(angle_deg: float, mirrored: bool, backlash_um: float) -> None:
    options = {"angle_deg": angle_deg, "mirrored": mirrored, "backlash_um": backlash_um}
    found, _ = calibrate(options)
    turn, flip = math.radians(angle_deg), -1 if mirrored else 1
    wanted = np.array(
        [[math.cos(turn), -flip * math.sin(turn)], [math.sin(turn), flip * math.cos(turn)]]
    )
    np.testing.assert_allclose([found.x_px_per_um, found.y_px_per_um], wanted / PIXEL_UM, atol=0.02)
    assert found.residual_px < 0.3
    assert found.pixel_size_um == pytest.approx(PIXEL_UM, rel=0.01)
    assert ("mirrored" in found.describe()) == mirrored
    assert found.move_um(found.shift_px((3.0, -4.0))) == pytest.approx((3.0, -4.0))


@dataclass(frozen=True)
class Refused:
    """A calibration that is refused, and why."""

    name: str
    says: str
    wrong: dict[str, Any] = field(default_factory=dict)
    step_um: float | None = None
    limits: tuple[str, ...] = ()


REFUSED = [
    Refused("no detail", "too little fixed detail", {"detail": 0.0}),
    Refused("a slide that swims", "does not resemble the first", {"changing": True}),
    Refused("saturated", "pixels are saturated: lower", {"level": 250.0}),
    Refused("dark", "the image is dark", {"level": 0.0, "detail": 1.0}),
    Refused("drift", "px off: the specimen drifts", {"drift_px": 1.0}),
    Refused("pixel size", r"gives 0\.40\d* µm per pixel, but the rig 0\.5", {"pixel_um": 0.4}),
    Refused("does not move", "too little .*or the stage does not move", {"pixel_um": 1e6}),
    Refused("step too large", "frames of 80 µm must overlap; give 20 or less", step_um=30.0),
    Refused(
        "limits", "outside the stage's limits -5 to 5", limits=("xy_stage.x_limits_um=[-5, 5]",)
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_does_not_fit_is_refused_in_one_line_and_the_stage_is_back(case: Refused) -> None:
    with pytest.raises(FgafError, match=case.says) as caught:
        calibrate(None, case.wrong, case.step_um, case.limits)
    assert "\n" not in str(caught.value)


MOVES = np.array([(20, 0), (0, 20), (-20, 0), (0, -20), (20, 20), (-20, -20), (0, 0)], float)


@pytest.mark.parametrize(
    ("matrix", "error_px", "says"),
    [
        (((2, 0), (0, 2)), 3.0, "do not fit the moves"),
        (((2, 0), (0, 0)), 0.0, "an axis does not move"),
        (((2, 2), (2, 2)), 0.0, "an axis does not move"),
        (((2, 0), (0, 20)), 0.0, "its units are wrong"),
        (((0.01, 0), (0, 0.01)), 0.0, "moved by at most 0.3 px"),
    ],
)
def test_shifts_without_a_matrix_are_refused(matrix: Any, error_px: float, says: str) -> None:
    shifts = MOVES @ np.array(matrix, float).T
    shifts[::2] += error_px * np.array([(1, 1), (1, 1), (1, 1), (0, 0)])
    with pytest.raises(DeviceError, match=says):
        fit_matrix(MOVES, shifts)


def test_a_map_is_stored_beside_its_rig_and_refused_when_the_rig_changed(tmp_path: Path) -> None:
    found, rig = calibrate()
    path = StageMap.path_of(tmp_path / "scope.toml")
    assert path == tmp_path / "scope.stage-map.toml"
    assert StageMap.path_of("sim") == Path("sim.stage-map.toml")
    with pytest.raises(SettingError, match=r"there is no .*run `acq calibrate-stage my\.toml`"):
        StageMap.read(path, rig, "my.toml")
    found.write(path)
    assert StageMap.read(path, rig) == found
    changed = load_rig("sim", ("camera.options.row_us=30", "optics.pixel_size_um=0.5"))
    with pytest.raises(SettingError, match=r"does not hold any more: camera\.options of the rig"):
        StageMap.read(path, changed)
    path.write_text("version = 1\nmatrix = 3\n", encoding="utf-8")
    with pytest.raises(SettingError, match="unknown key matrix"):
        StageMap.read(path, rig)
    path.write_text("version = [\n", encoding="utf-8")
    with pytest.raises(SettingError, match=r"cannot be read .*calibrate-stage RIG` anew"):
        StageMap.read(path, rig)


def test_fields_of_a_mosaic_join_also_when_the_camera_is_turned(tmp_path: Path) -> None:
    found, _ = calibrate({"angle_deg": 90, "mirrored": True})
    tiles = mosaic(found, (100, 200), (10.0, 20.0), rows=2, columns=3, overlap=0.1)
    assert [tile.name for tile in tiles] == [
        *("r01c01", "r01c02", "r01c03"),
        *("r02c03", "r02c02", "r02c01"),
    ]
    at = {tile.name: np.array((tile.x_um, tile.y_um)) for tile in tiles}
    right = found.shift_px(tuple(at["r01c02"] - at["r01c01"]))
    down = found.shift_px(tuple(at["r02c01"] - at["r01c01"]))
    assert right == pytest.approx((-180, 0), abs=0.1)
    assert down == pytest.approx((0, -90), abs=0.1)
    np.testing.assert_allclose(np.mean(list(at.values()), axis=0), (10, 20), atol=0.01)
    path = tmp_path / "m.csv"
    write_positions(path, (*tiles, Position("own", 1.5, 2, 3.25)))
    assert read_positions(path) == (*tiles, Position("own", 1.5, 2, 3.25))
    with pytest.raises(SettingError, match="--overlap: 1 is out of bounds"):
        mosaic(found, (100, 200), (0, 0), 1, 1, 1)


def acq(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_lists_a_mosaic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    without = acq("mosaic", "sim", "--rows", 2, "--columns", 2)
    assert without.exit_code == 2
    assert "run `acq calibrate-stage sim`" in without.stderr
    found, _ = calibrate()
    ours = found.model_copy(update={"rig": StageMap.settings_of(load_rig("sim"))})
    ours.write(StageMap.path_of("sim"))
    done = acq("mosaic", "sim", "--rows", 2, "--columns", 2, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["positions"]) == 4
    assert len(read_positions(Path("mosaic.csv"))) == 4
    far = acq("mosaic", "sim", "--rows", 1000, "--columns", 1, "--out", "far.csv")
    assert far.exit_code == 2
    assert "outside the stage's limits" in far.stderr
    assert not Path("far.csv").exists()
