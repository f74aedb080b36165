"""What is attached: a ProScan on the wire, Basler's emulator, and drivers of third parties."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from proscan_peer import FIELD, MANUAL, NANOSCANZ, Personality, ProScanPeer

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.commands.main import main
from fgaf.acquire.discovery import find_devices

StartPeer = Callable[[Personality], ProScanPeer]

IDENTIFICATIONS = {"?", "/", "W Z", "WHO", "N", "V", "VER"}


def acq(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("personality", [MANUAL, FIELD], ids=["manual", "field"])
def test_a_proscan_is_recognised_and_only_asked_who_it_is(
    personality: Personality, start_peer: StartPeer
) -> None:
    peer = start_peer(personality)
    drive, table = (each for each in find_devices([peer.url]) if each.kind != "camera")
    assert (table.kind, table.address, table.problem) == ("xy stage", f"prior:{peer.url}", "")
    assert "stage H117" in table.name
    assert (drive.kind, drive.driver, drive.options) == ("stage", "prior", {"port": peer.url})
    assert "focus NORMAL" in drive.name
    assert drive.problem == ""
    assert set(peer.commands) <= IDENTIFICATIONS
    assert peer.commands[-1] == "?"
    assert peer.position_um == personality.start_um
    assert (peer.compatibility, peer.backlash) == (personality.compatibility, personality.backlash)


def test_the_port_can_be_opened_afterwards(start_peer: StartPeer) -> None:
    peer = start_peer(MANUAL)
    find_devices([peer.url])
    options = [f"stage.options={{port='{peer.url}'}}", "stage.limits_um=[-50, 50]"]
    with open_rig(load_rig("sim", ["stage.driver=prior", *options])) as devices:
        assert devices.stage.position_um() == 10


@dataclass(frozen=True)
class Answer:
    """What comes back from the port, and what is said about it."""

    name: str
    says: str
    answers: dict[str, bytes] = field(default_factory=dict)
    focus: str = "NORMAL"


SILENCE = dict.fromkeys(IDENTIFICATIONS, b"")
ANSWERS = [
    Answer("nothing", "no device of", SILENCE),
    Answer("another device", "no device of", SILENCE | {"?": b"MODEM V2\rREADY\r"}),
    Answer("garbage", "no device of", SILENCE | {"?": b"\xff\x00\xfe\r"}),
    Answer("no focus drive", "no focus drive is fitted", focus="NONE"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_what_cannot_be_used_says_why(answer: Answer, start_peer: StartPeer) -> None:
    peer = start_peer(replace(MANUAL, answers=answer.answers, focus=answer.focus, stage="NONE"))
    (found,) = (each for each in find_devices([peer.url]) if each.kind != "camera")
    assert answer.says in found.problem


def test_no_probe_opens_nothing(start_peer: StartPeer) -> None:
    peer = start_peer(NANOSCANZ)
    listed = acq("devices", "--no-probe", "--port", peer.url)
    assert "(not probed)" in listed.stdout
    assert peer.commands == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_port_in_use_is_said_so() -> None:
    import serial

    controller, terminal = os.openpty()
    port = os.ttyname(terminal)
    with serial.Serial(port, exclusive=True):
        (found,) = (each for each in find_devices([port]) if each.kind == "port")
    os.close(controller)
    os.close(terminal)
    assert f"{port} is in use by another program" in found.problem


def test_a_port_that_is_not_there_is_said_so() -> None:
    listed = acq("devices", "--port", "/dev/ttyNONE")
    assert listed.exit_code == 0
    assert "there is no port /dev/ttyNONE" in listed.stdout


def test_cameras_of_basler_are_listed() -> None:
    pytest.importorskip("pypylon", reason="pypylon is not installed")
    listed = json.loads(acq("devices", "--no-probe", "--json").stdout)
    cameras = [each for each in listed["found"] if each["driver"] == "basler"]
    assert cameras[0]["address"] == "basler:0815-0000"
    assert cameras[0]["options"] == {"serial_number": "0815-0000"}
    assert cameras[0]["problem"] == ""


DRIVER = """
from fgaf.acquire.discovery import Found

def open_stage(settings, opening):
    raise NotImplementedError

def find():
    {body}
"""


def third_party(folder: Path, body: str) -> None:
    """Install a package with a driver into a folder."""
    (folder / "acme_focus.py").write_text(DRIVER.format(body=body), encoding="utf-8")
    info = folder / "acme_focus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-focus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fgaf.stages]\nacme = acme_focus:open_stage\n")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [Found('stage', 'acme', '7', 'Acme focus', {'address': 7})]", "Acme focus"),
        (
            "raise RuntimeError('no\\nluck')",
            "the driver cannot search for devices: RuntimeError: no luck",
        ),
    ],
)
def test_a_third_party_driver_can_look_too(
    body: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(tmp_path, body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_focus", raising=False)
    listed = acq("devices", "--no-probe", "--port", "x")
    assert listed.exit_code == 0
    assert "acme-focus 1.0" in listed.stdout
    assert says in listed.stdout
    monkeypatch.delitem(sys.modules, "acme_focus", raising=False)


def test_a_rig_file_from_what_is_attached(start_peer: StartPeer, tmp_path: Path) -> None:
    pytest.importorskip("pypylon", reason="pypylon is not installed")
    peer = start_peer(FIELD)
    path = tmp_path / "mine.toml"
    done = acq("rig", "new", path, "--port", peer.url, "--camera", "basler:0815-0000")
    assert done.exit_code == 0, done.output
    text = path.read_text(encoding="utf-8")
    rig = load_rig(path)
    assert rig.name == "mine"
    assert rig.stage.options == {"port": peer.url}
    assert rig.camera.options == {"serial_number": "0815-0000"}
    number = next(n for n, line in enumerate(text.splitlines(), 1) if "limits_um" in line)
    assert f"fill in stage.limits_um (line {number})" in done.stdout
    refused = acq("stack", "--rig", path, "--out", tmp_path, "--dry-run")
    assert refused.exit_code == 2
    assert "stage.limits_um is not filled in" in refused.stderr
    filled = text.replace("[nan, nan]", "[-50, 50]")
    path.write_text(filled, encoding="utf-8")
    ready = acq("stack", "--rig", path, "--out", tmp_path, "--dry-run")
    assert ready.exit_code == 0, ready.output


def test_a_proscan_is_checked(start_peer: StartPeer, tmp_path: Path) -> None:
    peer = start_peer(replace(FIELD, early_reply_s=0.002, delay_s=0.0, speed_um_per_s=1000))
    path = tmp_path / "mine.toml"
    words = ("--camera", "simulated", "--no-probe", "--stage", "prior")
    assert acq("rig", "new", path, *words).exit_code == 0
    specimen = ("motile=false", "shape=[64, 96]", "cells=1", "debris=0", "round_cells=0")
    settings = (
        f"stage.options={{port='{peer.url}'}}",
        "stage.limits_um=[5, 40]",
        "simulation.center_um=10",
        *(f"simulation.{setting}" for setting in specimen),
    )
    sets = [word for setting in settings for word in ("--set", setting)]
    words = ("--seconds", 0.1, "--out", tmp_path, "--write", tmp_path / "advised.toml")
    done = acq("check", path, *sets, *words)
    assert done.exit_code == 0, done.output
    assert "the drive will move between 5 and 15 µm (limits 5 to 40 µm)" in done.stdout
    assert "Prior ProScan" in done.stdout
    assert peer.position_um == pytest.approx(10)
    assert peer.lowest_um >= 5 - 1e-6
    assert peer.backlash == FIELD.backlash
    advised = load_rig(tmp_path / "advised.toml")
    assert advised.stage.tolerance_um == pytest.approx(0.07, abs=0.02)
    assert advised.stage.limits_um == (5, 40)


def test_configurations_of_micro_manager_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pymmcore_plus", reason="pymmcore-plus is not installed")
    from fgaf.acquire.drivers.mmcore_found import find

    (tmp_path / "Ti2.cfg").write_text("# a configuration\n", encoding="utf-8")
    monkeypatch.setenv("MICROMANAGER_PATH", str(tmp_path))
    remembered = "pymmcore_plus._discovery._DISCOVERED_MMS"  # else for every test that follows
    monkeypatch.setattr(remembered, {}, raising=False)
    found = [each for each in find() if each.where == "Ti2"]
    assert [each.kind for each in found] == ["camera", "stage", "xy stage"]
    assert found[0].options == {"config": str(tmp_path / "Ti2.cfg")}
