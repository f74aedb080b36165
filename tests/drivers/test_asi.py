"""The ASI driver, unmodified, against controllers that speak the wire protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TIMEOUT_S
from ms2000_peer import ASI_FIELD, ASI_MANUAL, ASI_TIGER, AsiPersonality, Ms2000Peer
from proscan_peer import MANUAL
from serial_peer import arrive

from fgaf import FgafError
from fgaf.acquire import Devices, Frame, StackPlan, record_stacks
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import DeviceError, WallClock
from fgaf.acquire.drivers.asi import AsiStage, find_on, open_stage
from fgaf.acquire.rig import Opening, Rig
from fgaf.dataset import RawStack

StartPeer = Callable[[AsiPersonality], Ms2000Peer]
OpenAsi = Callable[..., AsiStage]

PERSONALITIES = pytest.mark.parametrize(
    "personality", [ASI_MANUAL, ASI_FIELD, ASI_TIGER], ids=["manual", "field", "tiger"]
)


def test_backlash_is_read_recorded_switched_off_and_restored(
    start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(ASI_FIELD)
    stage = open_asi(peer)
    assert peer.backlash_mm == 0
    assert stage.backlash_um == pytest.approx(40)
    assert "backlash correction of 40 µm switched off" in stage.name
    arrive(stage, 5, 0.06)
    assert peer.lowest_um == pytest.approx(5)
    stage.close()
    stage.close()
    assert peer.backlash_mm == 0.04


def test_backlash_can_be_kept(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    peer = start_peer(ASI_TIGER)
    stage = open_asi(peer, backlash="keep")
    arrive(stage, 5, 0.06)
    assert peer.lowest_um == pytest.approx(-5)
    assert "10 µm left on" in stage.name


def test_is_found_on_its_port_and_disturbs_nothing(start_peer: StartPeer) -> None:
    peer = start_peer(ASI_FIELD)
    found, across = find_on(peer.url)
    assert (across.kind, across.options) == ("xy stage", found.options)
    assert (found.driver, found.options) == ("asi", {"port": peer.url, "baud": 9600})
    assert peer.commands == ["W Z", "W X Y"]
    assert [each.kind for each in find_on(start_peer(replace(ASI_FIELD, axes="Z")).url)] == [
        "stage"
    ]
    assert find_on(start_peer(replace(MANUAL, unknown=frozenset({"W"}))).url) == []


def test_a_proscan_is_not_taken_for_one(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    with pytest.raises(DeviceError, match=r"answered 'E,5' to V"):
        open_asi(start_peer(replace(MANUAL, unknown=frozenset({"V"}))))


def test_another_axis_that_moves_counts_as_moving(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    stage = open_asi(start_peer(replace(ASI_MANUAL, others_move=True)))
    assert stage.moving()


PLAN = StackPlan(0.5, 1.0, 10.0)


class NoiseCamera:
    """A camera that sees only noise, at once."""

    name, shape, bit_depth = "noise", (8, 8), 8

    def __init__(self) -> None:
        self._noise, self._clock = np.random.default_rng(1), WallClock()
        self._count = 0

    def start(self) -> None:
        self._count = 0

    def trigger(self, timeout_s: float) -> Frame:  # noqa: ARG002
        self._count += 1
        pixels = self._noise.integers(0, 255, self.shape, dtype=np.uint8)
        return Frame(pixels, self._count, 0, self._clock.now_ns(), 0.0)

    def stop(self) -> None: ...

    def close(self) -> None: ...


def record(peer: Ms2000Peer, target: Path) -> None:
    options = {"port": peer.url, "timeout_s": TIMEOUT_S}
    table = StageTable(
        driver="asi",
        limits_um=(-100, 100),
        settle_ms=0,
        timeout_s=0.6,
        options=options,
    )
    rig = Rig(camera=CameraTable(driver="noise", exposure_ms=1), stage=table)
    clock = WallClock()
    stage = open_stage(options, Opening(rig, clock))
    with Devices(NoiseCamera(), stage, clock) as devices:
        record_stacks(devices, rig, PLAN, [target])


@pytest.mark.parametrize(
    "personality",
    [ASI_MANUAL, ASI_FIELD, replace(ASI_FIELD, joystick=(3, 0.4))],
    ids=["manual", "busy too short", "hand between two planes"],
)
def test_a_stack_is_taken_and_the_drive_goes_home(
    personality: AsiPersonality, start_peer: StartPeer, tmp_path: Path
) -> None:
    peer = start_peer(personality)
    record(peer, tmp_path / "one.stack.h5")
    with RawStack.open(tmp_path / "one.stack.h5") as stack:
        stack.verify()
        np.testing.assert_allclose(stack.z_um, list(PLAN), atol=0.1)
        assert stack.header.stage.startswith("ASI, ")
    assert peer.position_um == pytest.approx(10, abs=0.1)
    assert peer.backlash_mm == personality.backlash_mm


@pytest.mark.parametrize(
    ("personality", "says"),
    [
        (replace(ASI_FIELD, answers={"M Z=100": b":N-5\r\n"}), "the operation failed"),
        (replace(ASI_MANUAL, answers={"M Z=100": b""}), "did not answer"),
        (replace(ASI_FIELD, stalls_after_um=0.2), "has not arrived|came to rest"),
        (replace(ASI_FIELD, off_at=4), "did not answer"),
    ],
    ids=["refused", "mute", "obstacle", "power cut"],
)
def test_a_fault_is_one_line_and_publishes_nothing(
    personality: AsiPersonality, says: str, start_peer: StartPeer, tmp_path: Path
) -> None:
    with pytest.raises(FgafError, match=says) as caught:
        record(start_peer(personality), tmp_path / "one.stack.h5")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "one.stack.h5").exists()
