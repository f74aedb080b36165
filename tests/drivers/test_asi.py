"""The ASI driver, unmodified, against controllers that speak the wire protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ms2000_peer import ASI_FIELD, ASI_MANUAL, ASI_TIGER, AsiPersonality, Ms2000Peer
from proscan_peer import MANUAL

from fgaf import FgafError, SettingError
from fgaf.acquire import Devices, Frame, Position, StackPlan, XYStage, record_stacks, stack_paths
from fgaf.acquire.devices import DeviceError, Stage, WallClock
from fgaf.acquire.drivers.asi import AsiStage, find_on, open_stage
from fgaf.acquire.rig import CameraTable, Opening, Rig, StageTable
from fgaf.dataset import RawStack

StartPeer = Callable[[AsiPersonality], Ms2000Peer]
OpenAsi = Callable[..., AsiStage]

PERSONALITIES = pytest.mark.parametrize(
    "personality", [ASI_MANUAL, ASI_FIELD, ASI_TIGER], ids=["manual", "field", "tiger"]
)


def arrive(stage: Stage, z_um: float) -> float:
    """Do what the engine does: move, ask until the drive is there, read the position back."""
    stage.move_to(z_um)
    deadline = time.monotonic() + 5
    while stage.moving() or abs(stage.position_um() - z_um) > 0.06:
        assert time.monotonic() < deadline
    return stage.position_um()


@PERSONALITIES
def test_goes_where_it_is_told_and_reads_back_where_it_is(
    personality: AsiPersonality, start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(personality)
    stage = open_asi(peer)
    assert isinstance(stage, Stage)
    assert stage.position_um() == pytest.approx(10)
    for z_um in (8.0, 8.5, 14.0, 13.9, -3.25):
        arrive(stage, z_um)
        while peer.moving:
            pass
        assert stage.position_um() == pytest.approx(z_um, abs=0.006)
        assert peer.position_um == pytest.approx(z_um, abs=1e-6)


@PERSONALITIES
def test_never_sends_what_moves_zero_or_saves(
    personality: AsiPersonality, start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(personality)
    stage = open_asi(peer)
    arrive(stage, 12)
    stage.stop()
    stage.close()
    names = {line.split(" ")[0] for line in peer.commands}
    assert names <= {"V", "W", "UM", "B", "M", "/", "HALT"}


def test_backlash_is_read_recorded_switched_off_and_restored(
    start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(ASI_FIELD)
    stage = open_asi(peer)
    assert peer.backlash_mm == 0
    assert stage.backlash_um == pytest.approx(40)
    assert "backlash correction of 40 µm switched off" in stage.name
    arrive(stage, 5)
    assert peer.lowest_um == pytest.approx(5)
    stage.close()
    stage.close()
    assert peer.backlash_mm == 0.04


def test_backlash_can_be_kept(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    peer = start_peer(ASI_TIGER)
    stage = open_asi(peer, backlash="keep")
    arrive(stage, 5)
    assert peer.lowest_um == pytest.approx(-5)
    assert "10 µm left on" in stage.name


def test_an_opening_that_fails_restores_too(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    personality = replace(ASI_FIELD, answers={"B Z=0": b"?\r\n"})
    peer = start_peer(personality)
    with pytest.raises(DeviceError, match=r"answered '\?' to B Z=0"):
        open_asi(peer)
    assert peer.backlash_mm == 0.04


def test_counts_in_the_unit_the_controller_reports(
    start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(replace(ASI_MANUAL, unit_um=0.01))
    stage = open_asi(peer)
    arrive(stage, 12.0)
    assert "M Z=1200" in peer.commands
    assert peer.position_um == pytest.approx(12.0)


def test_direction_and_axis(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    peer = start_peer(ASI_MANUAL)
    stage = open_asi(peer, direction=-1, axis="Y")
    assert stage.position_um() == pytest.approx(-10)
    stage.move_to(-12)
    assert peer.commands[-1] == "M Y=120"


def test_is_found_on_its_port_and_disturbs_nothing(start_peer: StartPeer) -> None:
    peer = start_peer(ASI_FIELD)
    found = find_on(peer.url)
    assert found is not None
    assert (found.driver, found.options) == ("asi", {"port": peer.url, "baud": 9600})
    assert peer.commands == ["W Z"]
    assert find_on(start_peer(replace(MANUAL, unknown=frozenset({"W"}))).url) is None


@dataclass(frozen=True)
class Misfit:
    """A controller that cannot be opened, and what its error says."""

    name: str
    personality: AsiPersonality
    says: str
    options: dict[str, Any] = field(default_factory=dict)


MISFITS = [
    Misfit("no such axis", replace(ASI_MANUAL, axes="XY"), r"has no such axis \(:N-2\)"),
    Misfit("another axis", ASI_MANUAL, "has no such axis", {"axis": "F"}),
    Misfit("silent", replace(ASI_MANUAL, answers={"V": b""}), "did not answer within 0.15 s"),
    Misfit("torn", replace(ASI_MANUAL, answers={"W Z": b":A 1"}), "answered only ':A 1'"),
    Misfit("other baud", replace(ASI_MANUAL, answers={"V": b"\xf8\x00\xf1\r"}), "garbage"),
    Misfit("another device", replace(ASI_MANUAL, answers={"V": b"116\r"}), "answered '116' to V"),
    Misfit("unit zero", replace(ASI_MANUAL, answers={"UM Z?": b":Z=0 A\r\n"}), "set UM to 10000"),
    Misfit("odd", replace(ASI_MANUAL, answers={"B Z?": b":X=1 A\r\n"}), "answered ':X=1 A' to B"),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: misfit.name)
def test_a_misfit_is_one_line_and_not_for_ever(
    misfit: Misfit, start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(misfit.personality)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=misfit.says) as caught:
        open_asi(peer, **misfit.options)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 2


def test_a_proscan_is_not_taken_for_one(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    with pytest.raises(DeviceError, match=r"answered 'E,5' to V"):
        open_asi(start_peer(replace(MANUAL, unknown=frozenset({"V"}))))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b":N-4\r\n", r"the value is out of range \(:N-4\)"),
        (b":N-21\r\n", r"the move was halted \(:N-21\)"),
        (b":N-99\r\n", r"an error that is not in the manual \(:N-99\)"),
    ],
    ids=["4", "21", "99"],
)
def test_a_refused_move_is_told_in_words_and_the_link_recovers(
    answer: bytes, says: str, start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    stage = open_asi(start_peer(replace(ASI_FIELD, answers={"M Z=200": answer})))
    with pytest.raises(DeviceError, match=f"refused M Z=200: {says}"):
        stage.move_to(20)
    assert stage.position_um() == pytest.approx(10)
    assert arrive(stage, 11) == pytest.approx(11, abs=0.06)


def test_another_axis_that_moves_counts_as_moving(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    stage = open_asi(start_peer(replace(ASI_MANUAL, others_move=True)))
    assert stage.moving()


@PERSONALITIES
def test_halt_stops_on_the_way_and_the_next_move_works(
    personality: AsiPersonality, start_peer: StartPeer, open_asi: OpenAsi
) -> None:
    peer = start_peer(replace(personality, speed_um_per_s=40))
    stage = open_asi(peer)
    stage.move_to(90)
    stage.stop()
    stands_um = peer.position_um
    assert 10 <= stands_um < 90
    assert stage.position_um() == pytest.approx(stands_um, abs=0.06)
    assert arrive(stage, 10) == pytest.approx(10, abs=0.06)


@pytest.mark.parametrize(
    ("options", "limits_um", "says"),
    [
        ({"prt": "COM3"}, (0, 1), "unknown key prt; did you mean port"),
        ({"port": "COM3", "axis": "z"}, (0, 1), "axis = 'z'"),
        ({"port": "COM3"}, None, r"an ASI drive .* stage\.limits_um"),
    ],
)
def test_wrong_options_are_told_before_any_port_is_opened(
    options: dict[str, Any], limits_um: tuple[float, float] | None, says: str
) -> None:
    stage = StageTable(driver="asi", limits_um=limits_um)
    rig = Rig(camera=CameraTable(driver="basler"), stage=stage)
    with pytest.raises(SettingError, match=says):
        open_stage(options, Opening(rig, WallClock()))


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


def record(peer: Ms2000Peer, target: Path, **series: Any) -> None:
    options = {"port": peer.url, "timeout_s": 0.15}
    table = StageTable(
        driver="asi",
        limits_um=(-100, 100),
        x_limits_um=(-1000, 1000),
        y_limits_um=(-1000, 1000),
        settle_ms=0,
        timeout_s=0.6,
        options=options,
    )
    rig = Rig(camera=CameraTable(driver="noise", exposure_ms=1), stage=table)
    clock = WallClock()
    stage = open_stage(options, Opening(rig, clock))
    with Devices(NoiseCamera(), stage, clock) as devices:
        paths = stack_paths(target.parent, name="one", positions=series.get("positions", ()))
        record_stacks(devices, rig, PLAN, paths, **series)


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


PLACES = (Position("a", -300, 40.5), Position("b", 250, -7))


@PERSONALITIES
def test_positions_are_visited_and_x_and_y_come_back(
    personality: AsiPersonality, start_peer: StartPeer, tmp_path: Path
) -> None:
    peer = start_peer(replace(personality, idle_early=False))
    record(peer, tmp_path / "one", positions=PLACES)
    moves = [line for line in peer.commands if line.startswith("M X")]
    assert moves == ["M X=-3000 Y=405", "M X=2500 Y=-70", "M X=1000 Y=-500"]
    assert peer.xy_um == pytest.approx((100, -50))
    with RawStack.open(tmp_path / "one_b.stack.h5") as stack:
        assert (stack.header.position_x_um, stack.header.position_y_um) == (250, -7)


@pytest.mark.parametrize(
    ("personality", "says"),
    [
        (replace(ASI_MANUAL, axes="Z"), "does not say where x and y are: .*no such axis"),
        (replace(ASI_MANUAL, xy_stalls=True), "position a: the x/y stage (came to rest|has not)"),
    ],
    ids=["no x and y", "obstacle"],
)
def test_x_and_y_that_fail_are_one_line(
    personality: AsiPersonality, says: str, start_peer: StartPeer, tmp_path: Path
) -> None:
    with pytest.raises(FgafError, match=says) as caught:
        record(start_peer(personality), tmp_path / "one", positions=PLACES)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_it_offers_x_and_y(start_peer: StartPeer, open_asi: OpenAsi) -> None:
    assert isinstance(open_asi(start_peer(ASI_MANUAL)), XYStage)
