"""The rig on the hardware page is one that the drivers take."""

from __future__ import annotations

import re
from pathlib import Path

from fgaf.acquire.drivers.basler import BaslerSettings
from fgaf.acquire.drivers.prior import PriorSettings
from fgaf.acquire.rig import load_rig
from fgaf.acquire.tables import parse_table

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"


def test_the_rig_on_the_page_is_valid(tmp_path: Path) -> None:
    (rig_toml,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "rig.toml"
    path.write_text(rig_toml, encoding="utf-8")
    rig = load_rig(path)
    settings = {"exposure_ms": rig.camera.exposure_ms, **rig.camera.options}
    assert parse_table(BaslerSettings, settings, "camera.options").region is not None
    assert parse_table(PriorSettings, rig.stage.options, "stage.options").unit_um is None
    assert rig.optics.depth_of_field_um is not None
