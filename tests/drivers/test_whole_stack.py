"""The real engine with a ProScan on the wire and Basler's emulator: a stack, or one line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TIMEOUT_S
from PIL import Image
from proscan_peer import FIELD, MANUAL, NANOSCANZ, Personality, ProScanPeer
from pylon_fake import FakeCamera, Shot, install

from fgaf import FgafError
from fgaf.acquire import Frame, Rig, StackPlan, load_rig, open_rig, record_stacks
from fgaf.acquire.commands.main import main
from fgaf.dataset import RawStack, recover

pytest.importorskip("pypylon", reason="pypylon is not installed")

PLAN = StackPlan(0.5, 2.0, 10.0)
SHAPE = (48, 64)
StartPeer = Callable[[Personality], ProScanPeer]

RIG = """
name = "Basler and Prior"

[camera]
driver = "basler"
exposure_ms = 1.0

[camera.options]
serial_number = "0815-0000"
region = {{ height = 48, width = 64 }}

[camera.options.features]
TestImageSelector = "Off"
ImageFilename = '{images}'
ImageFileMode = "On"

[stage]
driver = "prior"
limits_um = [-100, 100]
settle_ms = 0
timeout_s = 0.6

[stage.options]
port = "{port}"
timeout_s = {timeout_s}

[optics]
pixel_size_um = 0.1465
numerical_aperture = 0.65
magnification = 40
medium_index = 1.0
wavelength_um = 0.55
"""


@pytest.fixture
def images(tmp_path: Path) -> list[np.ndarray]:
    """Nine different images, which the emulator plays in this order."""
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(3)
    made = [noise.integers(0, 255, SHAPE, dtype=np.uint8) for _ in PLAN]
    for number, image in enumerate(made):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return made


def rig_file(tmp_path: Path, peer: ProScanPeer) -> Path:
    path = tmp_path / "rig.toml"
    text = RIG.format(images=tmp_path / "images", port=peer.url, timeout_s=TIMEOUT_S)
    path.write_text(text, encoding="utf-8")
    return path


def record(rig: Rig, target: Path, change: Callable[[Any], Any] = lambda camera: camera) -> None:
    with open_rig(rig) as devices:
        devices.camera = change(devices.camera)
        record_stacks(devices, rig, PLAN, [target])


@pytest.mark.parametrize("personality", [MANUAL, FIELD], ids=["manual", "field"])
def test_a_stack_holds_every_image_at_its_height(
    personality: Personality, start_peer: StartPeer, images: list[np.ndarray], tmp_path: Path
) -> None:
    peer = start_peer(personality)
    target = tmp_path / "one.stack.h5"
    record(load_rig(rig_file(tmp_path, peer)), target)
    with RawStack.open(target) as stack:
        stack.verify()
        np.testing.assert_array_equal(stack.frames[:], images)
        np.testing.assert_allclose(stack.z_um, list(PLAN), atol=1e-6)
        assert "Prior ProScan" in stack.header.stage
        assert "0815-0000" in stack.header.camera
        assert stack.header.complete
    assert peer.position_um == pytest.approx(10)
    assert peer.backlash == personality.backlash


def test_the_command_says_what_it_wrote(
    start_peer: StartPeer, images: list[np.ndarray], tmp_path: Path
) -> None:
    peer = start_peer(FIELD)
    arguments = ["stack", "--rig", str(rig_file(tmp_path, peer)), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--name", "one"])
    assert result.exit_code == 0, result.output
    with RawStack.open(tmp_path / "out" / "one.stack.h5") as stack:
        assert stack.n_planes == len(images)


def test_a_drive_that_stalls_at_night_leaves_its_story_in_the_log(
    start_peer: StartPeer, images: list[np.ndarray], tmp_path: Path
) -> None:
    assert images
    peer = start_peer(replace(FIELD, stalls_after_um=0.3))
    words = ["stack", "--rig", str(rig_file(tmp_path, peer)), "--out", str(tmp_path / "out")]
    log = tmp_path / "night.log"
    failed = CliRunner().invoke(main, [*words, "--log", str(log)])
    assert failed.exit_code == 1
    assert "Traceback" not in failed.output
    text = log.read_text(encoding="utf-8")
    story = [
        f"Prior controller: port {peer.url} is open at 9600 baud",
        "stage opened by the driver prior: Prior ProScan, serial unknown, version 116",
        "stage: through the package serial, version 3",
        "camera opened by the driver basler: Basler Emulation",
        "camera: exposure_us = 1000.0, read back",
        "the drive is at 10.000 µm and will return there",
        "the drive is at 10.000 µm, goes to 6.000 µm",
        "the stack is broken: no plane was kept",
        "the drive goes back to 10.000 µm",
        "the drive is at 9.700 µm, goes to 8.000 µm",
        "the way back from below failed; the drive returns directly",
        "the drive is at 9.400 µm, goes to 10.000 µm",
        "the drive could not return",
        "Prior controller: restores its setting with BLZH,1,2500",
        "stack failed after",
        "the drive has not arrived at 6 µm after 0.6 s and is idle at 9.700 µm",
        "it is at 9.700 µm",
        "Traceback (most recent call last)",
        "in arrive",
    ]
    assert re.search(".*".join(map(re.escape, story)), text, re.DOTALL), text


def test_a_step_that_the_drive_cannot_do_is_refused_or_taken_as_it_is(
    start_peer: StartPeer, images: list[np.ndarray], tmp_path: Path
) -> None:
    peer = start_peer(MANUAL)
    arguments = ["stack", "--rig", str(rig_file(tmp_path, peer)), "--out", str(tmp_path / "out")]
    arguments += ["--step", "0.25", "--range", "1", "--name", "one"]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 2
    assert "the nearest that fit: 0.2 and 0.3 µm; --allow-uneven accepts it" in refused.stderr
    assert not [line for line in peer.commands if line.startswith("GZ")]
    taken = CliRunner().invoke(main, [*arguments, "--allow-uneven"])
    assert taken.exit_code == 0, taken.output
    with RawStack.open(tmp_path / "out" / "one.stack.h5") as stack:
        assert stack.n_planes == len(images)
        np.testing.assert_allclose(np.diff(stack.z_um), [0.3, 0.2] * 4, atol=1e-6)


@dataclass(frozen=True)
class Meddling:
    """What is done, with the camera and the drive's controller, before which exposure."""

    exposure: int
    deed: Callable[[Any, ProScanPeer], None]


def break_the_next_buffer(camera: Any) -> None:
    """Let Basler's emulator fail."""
    camera.device.ForceFailedBufferCount.Value = 1
    camera.device.ForceFailedBuffer.Execute()


@dataclass(frozen=True)
class Fault:
    """What goes wrong, what the line says, how many planes are kept, whether z is restored."""

    name: str
    says: str
    kept: int
    personality: Personality = FIELD
    shots: tuple[Shot, ...] = ()
    overrides: tuple[str, ...] = field(default=())
    returns: bool = True
    meddle: Meddling | None = None


FAULTS = [
    Fault(
        "hand",
        r"moved during the exposure.*not brought back to 10.000 µm .*at 8.900 µm, but 8.500",
        1,
        meddle=Meddling(2, lambda _, peer: peer.push(0.4)),
        returns=False,
    ),
    Fault("refused move", r"out of range \(E,8\)", 3, replace(MANUAL, answers={"GZ,95": b"E,8\r"})),
    Fault("garbage", "unreadable bytes", 3, replace(MANUAL, answers={"GZ,95": b"\xff\xff\r"})),
    Fault("mute", "has not arrived at 9.5", 3, replace(MANUAL, answers={"GZ,95": b""})),
    Fault(
        "obstacle",
        "came to rest at 9.000 µm",
        3,
        replace(FIELD, answers={"GZ,95": b"R\r"}),
        overrides=("stage.timeout_s=3",),
    ),
    Fault("slow drive", "has not arrived", 0, replace(FIELD, speed_um_per_s=1), returns=False),
    Fault("power cut", "did not answer", 3, replace(FIELD, off_at=5), returns=False),
    Fault(
        "display set to zero elsewhere",
        "came to rest at 1.000 µm, not within",
        0,
        replace(NANOSCANZ, display_zero_um=5.0),
        overrides=("stage.options.model=nanoscanz", "stage.timeout_s=3"),
        returns=False,
    ),
    Fault(
        "broken frame",
        "incompletely grabbed",
        4,
        overrides=("camera.retries=0",),
        meddle=Meddling(5, lambda camera, _: break_the_next_buffer(camera)),
    ),
    Fault("lost frame", "a frame was lost", 3, FIELD, (Shot(0), Shot(1), Shot(2), Shot(4))),
    Fault("unplugged", "was unplugged", 1, MANUAL, (Shot(0), Shot(None, removed=True))),
]


class MeddledCamera:
    """The driver's camera, with something done as an exposure is asked for."""

    def __init__(self, camera: Any, peer: ProScanPeer, meddling: Meddling) -> None:
        self._camera, self._peer, self._meddling, self._asked = camera, peer, meddling, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def trigger(self, timeout_s: float) -> Frame:
        self._asked += 1
        if self._asked == self._meddling.exposure:
            self._meddling.deed(self._camera, self._peer)
        return self._camera.trigger(timeout_s)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.usefixtures("images")
def test_a_fault_is_one_line_and_publishes_nothing(
    fault: Fault, start_peer: StartPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start_peer(fault.personality)
    overrides = list(fault.overrides)
    if fault.shots:
        install(monkeypatch, FakeCamera(list(fault.shots), serial_number="0815-0000"))
        overrides += ["camera.options={exposure_ms=1}", "camera.allow_identical=true"]
    rig = load_rig(rig_file(tmp_path, peer), overrides)
    target = tmp_path / "one.stack.h5"
    meddle = fault.meddle

    def change(camera: Any) -> Any:
        return camera if meddle is None else MeddledCamera(camera, peer, meddle)

    begun = time.monotonic()
    with pytest.raises(FgafError, match=fault.says) as caught:
        record(rig, target, change)
    assert time.monotonic() - begun < 60
    assert "\n" not in str(caught.value)
    assert not target.exists()
    part = target.with_name(target.name + ".part")
    assert part.exists() == bool(fault.kept)
    if fault.kept:
        assert recover(part).planes == fault.kept
    if fault.returns:
        assert "the drive is back at 10.000 µm" in str(caught.value)
        assert peer.position_um == pytest.approx(10)
        assert peer.backlash == fault.personality.backlash
