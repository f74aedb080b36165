import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from fgaf import FgafError, SettingError
from fgaf.acquire import DeviceError, Rig, load_rig, open_rig
from fgaf.acquire.rig import BUILT_IN
from fgaf.acquire.simulation.realistic import draw_settings


@dataclass(frozen=True)
class Wrong:
    override: str
    says: str


WRONG = [
    Wrong("stage.setle_ms=30", r"unknown key stage\.setle_ms; did you mean settle_ms\?"),
    Wrong("simulation.contrst=relief", r"simulation\.contrst; did you mean contrast\?"),
    Wrong("stag.settle_ms=30", r"unknown key stag; did you mean stage\?"),
    Wrong("optics.zzz=1", r"choose from magnification, medium_index"),
    Wrong("simulation.contrast=dark", r"'phase-negative' or 'dic'"),
    Wrong("stage.settle_ms=-1", r"stage\.settle_ms: -1 is out of bounds; give 0 to 600000 ms"),
    Wrong("stage.settle_ms=soon", r"stage\.settle_ms = 'soon'"),
    Wrong("stage.limits_um=[5, -5]", "limits_um must ascend"),
    Wrong("stage.limits_um=[0, nan]", "limits_um must ascend"),
    Wrong("camera.exposure_ms=0", r"camera\.exposure_ms: 0 is out"),
    Wrong("name.first=1", "name is a value, not a table"),
    Wrong("settle_ms", "write KEY=VALUE"),
    Wrong("simulation.numerical_aperture=1.2", "below medium_index"),
]


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_wrong_settings_are_one_line_that_names_the_mend(case: Wrong) -> None:
    with pytest.raises(SettingError, match=case.says) as caught:
        load_rig("sim", [case.override])
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Unopenable:
    override: str
    says: str


UNOPENABLE = [
    Unopenable("camera.driver=simulatd", "did you mean simulated"),
    Unopenable("stage.driver=nikon", "no driver 'nikon'"),
    Unopenable("stage.options.speed=3", r"stage\.options: unknown key speed; did you mean speed_"),
    Unopenable("camera.options.row=3", r"camera\.options: unknown key row; did you mean row_us"),
]


@pytest.mark.parametrize("case", UNOPENABLE, ids=str)
def test_wrong_drivers_and_options_are_named(case: Unopenable) -> None:
    with pytest.raises(FgafError, match=case.says):
        open_rig(load_rig("sim", [case.override]))


def test_a_missing_vendor_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    options = ["stage.driver=prior", "stage.options={port='COM3'}", "stage.limits_um=[0, 100]"]
    with pytest.raises(DeviceError, match=r"pip install 'fgaf\[serial\]'"):
        open_rig(load_rig("sim", options))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rig_written_as_toml_reads_back_the_same(name: str, tmp_path: Path) -> None:
    rig = load_rig(name, ['name="back\\\\slash \\"quoted\\" µ"', "stage.limits_um=[-50, 50]"])
    path = tmp_path / "mine.toml"
    path.write_text(rig.to_toml(), encoding="utf-8")
    assert load_rig(path) == rig
    assert tomllib.loads(rig.to_toml())["stage"]["limits_um"] == [-50.0, 50.0]


def test_overrides_reach_every_depth() -> None:
    rig = load_rig(
        "sim", ["stage.settle_ms=30", "simulation.contrast=relief", "stage.options.start_um=4"]
    )
    assert rig.stage.settle_ms == 30
    assert rig.simulation is not None
    assert rig.simulation.contrast == "relief"
    assert rig.stage.options == {"start_um": 4}


def test_a_simulated_rig_records_the_simulated_optics() -> None:
    assert load_rig("sim").optics.pixel_size_um == pytest.approx(0.1465)
    assert load_rig("sim", ["simulation.magnification=20"]).optics.magnification == 20
    assert load_rig("sim", ["optics.magnification=63"]).optics.magnification == 63


def test_a_realistic_rig_draws_its_field_from_the_seed() -> None:
    rigs = [load_rig("sim-realistic", [f"simulation.seed={seed}"]) for seed in (7, 8)]
    drawn = draw_settings(7)
    assert rigs[0].simulation == drawn
    assert rigs[0].optics == drawn.optics
    assert rigs[1].simulation != drawn
    fixed = load_rig("sim-realistic", ["simulation.seed=7", "simulation.magnification=20"])
    assert fixed.optics.magnification == 20


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("simulation.draw=wild", 'draw is .wild.; give "realistic"'),
        ("simulation.coci=3", "unknown key simulation.coci; did you mean cocci"),
        ("simulation.magnification=-3", "magnification: -3 is out of bounds"),
        ("simulation.condenser_na=1.9", "condenser_na must not exceed"),
    ],
)
def test_what_a_realistic_rig_cannot_draw_is_said_in_one_line(override: str, says: str) -> None:
    with pytest.raises(SettingError, match=says) as caught:
        load_rig("sim-realistic", [override])
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class BadFile:
    content: bytes
    says: str


BAD_FILES = [
    BadFile(b"name = ", "not valid TOML"),
    BadFile(b"\xff\xfe", "UTF-8"),
    BadFile(rb'name = "C:\Users\lab"', "single quotes"),
    BadFile(rb'name = "D:\lab"', "single quotes"),
    BadFile(b"[camera]\ndriver = 'simulated'\n", "key stage is missing"),
    BadFile(rb'name = "C:\new\tables.cfg"', r"'C:\\new\\tables.cfg' contains .* single quotes"),
    BadFile(rb'camera = { options = { load = [{ name = "a\t" }] } }', r"load\.0\.name = 'a.*tab"),
    BadFile(b"[camera]\n[stage]\n", r"key camera\.driver is missing"),
    BadFile(b"[camera]\ndrivr = 'simulated'\n", r"key camera\.drivr; did you mean driver\?"),
]


@pytest.mark.parametrize("case", BAD_FILES, ids=str)
def test_broken_rig_files_are_named(case: BadFile, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(case.content)
    with pytest.raises(SettingError, match=case.says) as caught:
        load_rig(path)
    assert "broken.toml" in str(caught.value)


def test_a_rig_saved_by_notepad_with_a_byte_order_mark_loads(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BUILT_IN["sim"].replace("\n", "\r\n").encode())
    assert load_rig(path) == load_rig("sim")


def test_an_unknown_rig_names_the_built_in_ones() -> None:
    with pytest.raises(SettingError, match="did you mean sim-relief"):
        load_rig("sim-releif")


def test_open_rig_gives_both_devices_and_the_simulated_clock(rig: Rig) -> None:
    with open_rig(rig) as devices:
        before = devices.clock.now_ns()
        devices.clock.sleep(1000)
        assert devices.clock.now_ns() - before == 1_000_000_000_000
        assert devices.camera.shape == (48, 64)
        assert devices.stage.limits_um == (-1000, 1000)
