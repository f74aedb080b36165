"""Every rig on the hardware page is one that its drivers take."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fgaf.acquire.drivers.asi import AsiSettings
from fgaf.acquire.drivers.asi_xy_stage import AsiXYSettings
from fgaf.acquire.drivers.basler_settings import BaslerSettings
from fgaf.acquire.drivers.manual import ManualSettings
from fgaf.acquire.drivers.mmcore_camera import MmcoreCameraSettings
from fgaf.acquire.drivers.mmcore_stage import MmcoreStageSettings
from fgaf.acquire.drivers.mmcore_xy_stage import MmcoreXYSettings
from fgaf.acquire.drivers.new_era import NewEraSettings
from fgaf.acquire.drivers.prior import PriorSettings
from fgaf.acquire.drivers.prior_xy_stage import PriorXYSettings
from fgaf.acquire.drivers.replay import ReplayCameraSettings, ReplayStageSettings
from fgaf.acquire.drivers.sensapex_manipulator import ManipulatorSettings
from fgaf.acquire.drivers.sensapex_pump import PumpSettings
from fgaf.acquire.drivers.simulated_camera import CameraOptions
from fgaf.acquire.drivers.simulated_stage import StageOptions
from fgaf.acquire.rig import load_rig
from fgaf.acquire.tables import parse_table

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"
RIGS = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
CAMERA = '[camera]\ndriver = "simulated"\n'
STAGE = '\n[stage]\ndriver = "simulated"\n'

CAMERAS: dict[str, type[BaseModel]] = {
    "basler": BaslerSettings,
    "mmcore": MmcoreCameraSettings,
    "replay": ReplayCameraSettings,
    "simulated": CameraOptions,
}
STAGES: dict[str, type[BaseModel]] = {
    "asi": AsiSettings,
    "mmcore": MmcoreStageSettings,
    "prior": PriorSettings,
    "replay": ReplayStageSettings,
    "simulated": StageOptions,
}
XY_STAGES: dict[str, type[BaseModel]] = {
    "asi": AsiXYSettings,
    "mmcore": MmcoreXYSettings,
    "prior": PriorXYSettings,
}
MANIPULATORS: dict[str, type[BaseModel]] = {"sensapex": ManipulatorSettings}
PUMPS: dict[str, type[BaseModel]] = {
    "manual": ManualSettings,
    "new-era": NewEraSettings,
    "sensapex": PumpSettings,
}


@pytest.mark.parametrize("text", RIGS, ids=lambda text: text.splitlines()[0])
def test_every_rig_on_the_page_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    whole = (CAMERA if "[camera]" not in text else "") + text
    whole += "" if "[stage]" in text else STAGE
    path.write_text(whole, encoding="utf-8")
    rig = load_rig(path)
    settings = {"exposure_ms": rig.camera.exposure_ms, **rig.camera.options}
    parse_table(CAMERAS[rig.camera.driver], settings, "camera.options")
    parse_table(STAGES[rig.stage.driver], rig.stage.options, "stage.options")
    if rig.manipulator is not None:
        kind = MANIPULATORS[rig.manipulator.driver]
        parse_table(kind, rig.manipulator.options, "manipulator.options")
    if rig.pump is not None:
        parse_table(PUMPS[rig.pump.driver], rig.pump.options, "pump.options")
    if rig.xy_stage is not None:
        kind = XY_STAGES[rig.xy_stage.driver or rig.stage.driver]
        parse_table(kind, rig.xy_stage.options, "xy_stage.options")
        assert all(map(math.isfinite, sum(rig.xy_stage.limits_xy_um, ())))


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (AsiSettings, "port"),
        (PriorSettings, "port"),
        (BaslerSettings, "serial_number"),
        (MmcoreCameraSettings, "device"),
        (MmcoreXYSettings, "device"),
        (MmcoreStageSettings, "speed.property"),
    ],
)
def test_a_number_without_quotes_is_taken_for_text(model: type[BaseModel], key: str) -> None:
    required = {"exposure_ms": 1, "port": "COM3", "model": "proscan"}
    table: dict[str, Any] = {
        name: value for name, value in required.items() if name in model.model_fields
    }
    name, _, inner = key.partition(".")
    table[name] = {inner: 24012345, "um_s": 1} if inner else 24012345
    found = getattr(parse_table(model, table, "options"), name)
    assert (getattr(found, inner) if inner else found) == "24012345"


def test_the_page_shows_a_whole_rig_and_every_driver(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIGS[0], encoding="utf-8")
    assert load_rig(path).optics.depth_of_field_um is not None
    shown = set(re.findall(r'^driver = "([\w-]+)"', "".join(RIGS), re.MULTILINE))
    kinds = (CAMERAS, STAGES, MANIPULATORS, PUMPS)
    assert shown == set().union(*kinds) - {"simulated"}
