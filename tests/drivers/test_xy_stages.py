"""X/y stages on serial controllers: moves, velocities, and every fault ends in a stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TIMEOUT_S
from ms2000_peer import ASI_FIELD, ASI_MANUAL, AsiPersonality
from proscan_peer import FIELD, MANUAL, Personality
from serial_peer import SerialPeer, SerialPersonality
from xy_table import TABLE, TablePersonality

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    DeviceError,
    Devices,
    Interrupt,
    Position,
    StackPlan,
    VelocityStage,
    load_rig,
    open_rig,
    record_stacks,
    stack_paths,
)
from fgaf.acquire.commissioning.stage_calibration import Pattern, calibrate_stage
from fgaf.acquire.control.mosaic import mosaic
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import NoRoomError
from fgaf.dataset import RawStack
from fgaf.model.live.servo import Course
from fgaf.model.live.xy_stage import LiveStage

StartPeer = Callable[[SerialPersonality], SerialPeer]
OpenOn = Callable[..., Devices]

EMPTY = (
    "simulation.shape=[32, 48]",
    "simulation.cells=0",
    "simulation.debris=0",
    "simulation.round_cells=0",
)
LIMITS = "xy_stage.x_limits_um=[-1000, 1000]", "xy_stage.y_limits_um=[-1000, 1000]"
BOOKS = {"asi": ASI_MANUAL, "prior": MANUAL}
FIELDS = {"asi": replace(ASI_FIELD, idle_early=False, unknown=frozenset({"V"})), "prior": FIELD}
BOTH = pytest.mark.parametrize("driver", BOOKS)
VALID_S = 0.15
LONG = "xy_stage.velocity_valid_s=5"  # no velocity expires before it is seen to be wrong
PATIENCE_S = 30.0

pytestmark = pytest.mark.long


@pytest.fixture
def open_on() -> Iterator[OpenOn]:
    """Open a rig of a real driver for z, x and y, and the simulated camera."""
    opened: list[Devices] = []

    def open_peer(driver: str, peer: SerialPeer, *more: str) -> Devices:
        settings = (
            f"stage.driver={driver}",
            "stage.limits_um=[-200, 200]",
            "stage.settle_ms=0",
            "stage.timeout_s=1",
            f"stage.options.port={peer.url}",
            f"stage.options.timeout_s={TIMEOUT_S}",
            f"xy_stage.driver={driver}",
            "xy_stage.timeout_s=1",
            f"xy_stage.velocity_valid_s={VALID_S}",
        )
        opened.append(open_rig(load_rig("sim", (*EMPTY, *settings, *more))))
        return opened[-1]

    yield open_peer
    for devices in opened:
        with suppress(DeviceError):
            devices.close()


def stage_of(devices: Devices) -> VelocityStage:
    stage = devices.xy_stage
    assert isinstance(stage, VelocityStage)
    return stage


def arrive(stage: VelocityStage, x_um: float, y_um: float) -> tuple[float, float]:
    stage.move_xy_to(x_um, y_um)
    deadline = time.monotonic() + PATIENCE_S
    while stage.moving_xy():
        assert time.monotonic() < deadline
    return stage.position_xy_um()


def stands(peer: SerialPeer, within_s: float = PATIENCE_S) -> tuple[float, float]:
    """Wait until the table stands; return where."""
    deadline = time.monotonic() + within_s
    while peer.table.moving(0) or peer.table.moving(1):
        assert time.monotonic() < deadline, "it runs on"
    return peer.table.position_um


@dataclass
class Driving:
    """Repeats a velocity as a control loop does, and knows the longest time that it took."""

    stage: VelocityStage
    longest_s: float = 0.0

    def on(self, velocity: tuple[float, float], for_s: float = PATIENCE_S) -> None:
        begun_s = then_s = time.monotonic()
        while then_s < begun_s + for_s:
            try:
                self.stage.move_xy_at(*velocity)
            finally:
                now_s = time.monotonic()
                self.longest_s, then_s = max(self.longest_s, now_s - then_s), now_s


@pytest.mark.parametrize("makes", [BOOKS, FIELDS], ids=["manual", "field"])
@BOTH
def test_goes_where_it_is_told_and_reads_back_where_it_is(
    driver: str, makes: dict[str, SerialPersonality], start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(makes[driver])
    stage = stage_of(open_on(driver, peer, *LIMITS))
    assert stage.position_xy_um() == pytest.approx((100, -50))
    for place in ((-300.0, 40.0), (250.0, -7.0), (250.0, -8.0)):
        assert arrive(stage, *place) == pytest.approx(place)
        assert peer.table.position_um == pytest.approx(place)


@BOTH
def test_z_and_the_stage_move_at_once(driver: str, start_peer: StartPeer, open_on: OpenOn) -> None:
    peer = start_peer(BOOKS[driver])
    devices = open_on(driver, peer, *LIMITS)
    stage = stage_of(devices)
    devices.stage.move_to(20)
    assert arrive(stage, 900, 900) == pytest.approx((900, 900))
    while devices.stage.moving():
        pass
    assert devices.stage.position_um() == pytest.approx(20)


@BOTH
def test_stop_halts_on_the_way_and_the_next_move_works(
    driver: str, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(replace(BOOKS[driver], table=TablePersonality(speed_um_s=200)))
    stage = stage_of(open_on(driver, peer, *LIMITS))
    stage.move_xy_to(900, -50)
    stage.stop()
    x_um, y_um = stands(peer)
    assert 100 <= x_um < 900
    assert arrive(stage, x_um + 5, y_um) == pytest.approx((x_um + 5, y_um), abs=1)


@dataclass(frozen=True)
class Misfit:
    """A stage that cannot be opened, and what its error says."""

    name: str
    personality: SerialPersonality
    says: str
    more: tuple[str, ...] = ()


def prior(**values: Any) -> Personality:
    return replace(MANUAL, **values)


MISFITS = [
    Misfit("no stage", prior(stage="NONE"), "has no x/y stage: connect it"),
    Misfit("refuses", prior(answers={"STAGE": b"E,1\r"}), "no stage is fitted .E,1.; connect it"),
    Misfit("unit 0", prior(stage_unit_um=0), r"\(RES,s\): set unit_um in xy_stage.options \(1 as"),
    Misfit("unit", prior(), "counts in 1 µm, not in 0.1 µm", ("xy_stage.options.unit_um=0.1",)),
    Misfit("torn", prior(answers={"RES,s": b"1.0"}), "answered only '1.0'"),
    Misfit("garbage", prior(answers={"STAGE": b"\xff\r"}), "unreadable bytes"),
    Misfit("no axes", replace(ASI_MANUAL, axes="Z"), r"has no such axis \(:N-2\)"),
    Misfit("no unit", replace(ASI_MANUAL, answers={"UM X?": b":X=0 A\r\n"}), "set UM to 10000"),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: misfit.name)
def test_a_misfit_is_one_line(misfit: Misfit, start_peer: StartPeer, open_on: OpenOn) -> None:
    driver = "asi" if isinstance(misfit.personality, AsiPersonality) else "prior"
    with pytest.raises(DeviceError, match=misfit.says) as caught:
        open_on(driver, start_peer(misfit.personality), *LIMITS, *misfit.more)
    assert "\n" not in str(caught.value)


def test_a_unit_given_helps_where_the_controller_does_not_say(
    start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(prior(stage_unit_um=0, true_unit_um=0.1))
    stage = stage_of(open_on("prior", peer, *LIMITS, "xy_stage.options.unit_um=0.1"))
    assert arrive(stage, 12.5, 30) == pytest.approx((12.5, 30))
    assert "G,125,300" in peer.commands


def test_speeds_of_moves_are_set_named_and_restored(start_peer: StartPeer, open_on: OpenOn) -> None:
    peer = start_peer(MANUAL)
    devices = open_on("prior", peer, *LIMITS, "xy_stage.options.speed=30")
    assert peer.percents == {"SMS": 30, "SAS": 80, "SCS": 60}
    assert "stage H117, 1 µm per unit, SMS 30, SAS 80, SCS 60" in stage_of(devices).name
    devices.close()
    assert peer.percents["SMS"] == 100


def test_a_stage_beside_a_piezo_has_a_controller_of_its_own(
    start_peer: StartPeer, open_on: OpenOn
) -> None:
    piezo, table = start_peer(ASI_MANUAL), start_peer(prior(focus="NONE"))
    more = ("xy_stage.driver=prior", f"xy_stage.options.port={table.url}")
    devices = open_on("asi", piezo, *LIMITS, *more)
    assert arrive(stage_of(devices), 5, 6) == pytest.approx((5, 6))
    assert devices.stage.position_um() == pytest.approx(10)
    with pytest.raises(SettingError, match=r"not on the Prior controller .*set port"):
        open_on("asi", start_peer(ASI_MANUAL), "xy_stage.driver=prior")


@BOTH
def test_nothing_moves_without_limits_or_out_of_them(
    driver: str, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(BOOKS[driver])
    stage = stage_of(open_on(driver, peer, *LIMITS))
    with pytest.raises(DeviceError, match="x = 1001 µm is outside its limits -1000 to 1000"):
        stage.move_xy_to(1001, 0)
    with pytest.raises(DeviceError, match="moves at up to 1000 µm/s, not at 1500, 0"):
        stage.move_xy_at(1500, 0)
    with pytest.raises(DeviceError, match="not at nan, 0"):
        stage.move_xy_at(math.nan, 0)
    other = start_peer(BOOKS[driver])
    stage = stage_of(open_on(driver, other))
    for move in (stage.move_xy_to, stage.move_xy_at):
        with pytest.raises(DeviceError, match=r"no limits in x: set xy_stage\.x_limits_um"):
            move(10, 0)
    moves = ("G,", "M X", "VS,", "VECTOR X=0.0")
    assert not [line for line in peer.commands + other.commands if line.startswith(moves[:-1])]


@BOTH
def test_a_velocity_is_kept_while_it_is_repeated_and_ends_with_zero(
    driver: str, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(BOOKS[driver])
    stage = stage_of(open_on(driver, peer, *LIMITS))
    begun_s = time.monotonic()
    driving = Driving(stage)
    driving.on((400, -200), 3 * VALID_S)
    stage.move_xy_at(0, 0)
    spent_s = time.monotonic() - begun_s
    x_um, y_um = stands(peer, 0.0)
    if driving.longest_s < VALID_S / 2:  # a computer that is busy for longer lets it expire
        assert x_um - 100 > 400 * (3 * VALID_S - 2 * driving.longest_s)
    assert 0 < x_um - 100 < 400 * spent_s
    assert y_um + 50 == pytest.approx(-(x_um - 100) / 2)
    sent = {"prior": "VS,400.0,-200.0", "asi": "VECTOR X=0.400000 Y=-0.200000"}
    assert sent[driver] in peer.commands
    assert arrive(stage, 0, 0) == pytest.approx((0, 0))


@BOTH
def test_a_velocity_that_is_not_repeated_expires(
    driver: str, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(BOOKS[driver])
    stage = stage_of(open_on(driver, peer, *LIMITS))
    begun_s = time.monotonic()
    stage.move_xy_at(500, 0)
    x_um, _ = stands(peer)
    assert 100 + 500 * VALID_S <= x_um < 100 + 500 * (time.monotonic() - begun_s)
    stage.move_xy_at(-500, 0)
    assert stands(peer)[0] < x_um


@pytest.mark.parametrize("makes", [BOOKS, FIELDS], ids=["manual", "field"])
@BOTH
def test_a_velocity_ends_before_the_limits(
    driver: str, makes: dict[str, SerialPersonality], start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(makes[driver])
    limits = "xy_stage.x_limits_um=[-1000, 400]", LIMITS[1], LONG
    stage = stage_of(open_on(driver, peer, *limits))
    driving = Driving(stage)
    with pytest.raises(NoRoomError, match=r"would leave its limits -1000 to 400 µm at 800 µm/s"):
        driving.on((800, 0))
    x_um, _ = stands(peer, 0.0)
    stalled_s = max(driving.longest_s - 0.05, 0.0)  # the guard foresees some
    assert 150 - 800 * 2 * stalled_s < x_um <= 400 + 800 * stalled_s
    stage.move_xy_at(-800, 0)
    stage.stop()
    assert stands(peer, 0.0)[0] < x_um


@dataclass(frozen=True)
class Fault:
    """What goes wrong while the stage moves at a velocity, and what the next call says."""

    name: str
    says: str
    table: TablePersonality = TABLE
    deed: Callable[[SerialPeer], object] = lambda _: None


MOVED = r"moved by .* µm in x in .* s where .* µm were commanded: check .*; it was stopped"
FAULTS = [
    Fault("ten times too fast", MOVED, TablePersonality(velocity_scale=10.0)),
    Fault("backwards", MOVED, TablePersonality(velocity_scale=-1.0)),
    Fault("limit switch", MOVED, TablePersonality(switches_um=((-9e3, 150.0), (-9e3, 9e3)))),
    Fault("hand on the joystick", MOVED, deed=lambda peer: peer.table.push(-240.0, 0.0)),
    Fault("power cycle", MOVED.replace(" x ", " [xy] "), deed=lambda peer: peer.power_cycle()),
    Fault(
        "cable out and in",
        "the connection was lost.*; it was stopped",
        deed=lambda peer: (peer.unplug(), peer.replug()),
    ),
    Fault("cable out", "it COULD NOT BE STOPPED: switch it off", deed=lambda peer: peer.unplug()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@BOTH
def test_every_fault_at_a_velocity_ends_in_a_stop_and_one_line(
    driver: str, fault: Fault, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(replace(BOOKS[driver], table=fault.table))
    stage = stage_of(open_on(driver, peer, *LIMITS, LONG))
    stage.move_xy_at(300, 0)
    fault.deed(peer)
    with pytest.raises(DeviceError, match=fault.says) as caught:
        Driving(stage).on((300, 0))
    assert "\n" not in str(caught.value)
    if "COULD NOT" not in fault.says:
        x_um, _ = stands(peer, 0.0)
        if fault.name in ("hand on the joystick", "cable out and in"):
            stage.move_xy_at(-300, 0)
            while peer.table.position_um[0] >= x_um:
                pass
            stage.stop()
            stands(peer, 0.0)


def test_a_motion_that_expires_before_it_is_looked_at_is_asked_about_at_its_end(
    start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(prior(table=TablePersonality(velocity_scale=10.0)))
    stage = stage_of(open_on("prior", peer, *LIMITS, "xy_stage.velocity_valid_s=0.05"))
    stage.move_xy_at(300, 0)
    stands(peer)
    with pytest.raises(DeviceError, match=MOVED):
        stage.move_xy_at(300, 0)


@BOTH
def test_a_stage_is_calibrated_and_a_mosaic_of_its_fields_visited(
    driver: str, start_peer: StartPeer, open_on: OpenOn, tmp_path: Path
) -> None:
    peer = start_peer(BOOKS[driver])
    detail = (
        "simulation.shape=[160, 240]",
        "simulation.debris=20",
        "simulation.motile=false",
        "simulation.center_um=10",
    )
    devices = open_on(driver, peer, *LIMITS, *detail)
    rig = load_rig("sim", (f"xy_stage.driver={driver}", *LIMITS, *detail))
    travel = XYMover(devices, rig.xy_stage, Interrupt())
    pattern = Pattern.of(devices, rig, travel, None)
    found = calibrate_stage(devices, rig, travel, pattern, Interrupt())
    assert found.pixel_size_um == pytest.approx(0.1465, rel=0.02)
    assert found.stage == stage_of(devices).name
    assert peer.table.position_um == pytest.approx((100, -50))
    places = mosaic(found, devices.camera.shape, peer.table.position_um, 1, 2)
    record(devices, tmp_path, places)
    assert len(list(tmp_path.glob("*.stack.h5"))) == 2


PLAN = StackPlan(0.5, 0.5, 10.0)
PLACES = (Position("a", -300, 40), Position("b", 250, -7))


def record(devices: Devices, folder: Path, places: Sequence[Position] = PLACES) -> None:
    brief = ("xy_stage.timeout_s=0.6", "stage.timeout_s=1", "stage.settle_ms=0")
    rig = load_rig("sim", (*EMPTY, *LIMITS, *brief, "stage.limits_um=[-200, 200]"))
    paths = stack_paths(folder, name="x", positions=places)
    record_stacks(devices, rig, PLAN, paths, positions=places)


@pytest.mark.parametrize("makes", [BOOKS, FIELDS], ids=["manual", "field"])
@BOTH
def test_positions_are_visited_and_x_and_y_come_back(
    driver: str,
    makes: dict[str, SerialPersonality],
    start_peer: StartPeer,
    open_on: OpenOn,
    tmp_path: Path,
) -> None:
    peer = start_peer(makes[driver])
    record(open_on(driver, peer, *LIMITS), tmp_path)
    assert peer.table.position_um == pytest.approx((100, -50))
    with RawStack.open(tmp_path / "x_b.stack.h5") as stack:
        assert (stack.header.position_x_um, stack.header.position_y_um) == (250, -7)


class Deed:
    """Something that happens to a peer when its table is sent to y = -7 µm, the second place."""

    def __init__(self, peer: SerialPeer, deed: Callable[[], object]) -> None:
        self._go, self._deed = peer.table.go, deed
        peer.table.go = self  # type: ignore[method-assign]

    def __call__(self, counter_um: tuple[float, float]) -> float:
        lasts_s = self._go(counter_um)
        if counter_um[1] == pytest.approx(-7):
            self._deed()
        return lasts_s


ELSEWHERE = r"the x/y stage (came to rest at|has not arrived)"
LOST = "the x/y stage was not brought back"
SLOW = TablePersonality(speed_um_s=4000)
AWAY = [
    Fault(
        "obstacle",
        rf"{ELSEWHERE}.*; x, y are back at 100.000, -50.000 µm",
        replace(SLOW, switches_um=((-4e3, 200.0), (-4e3, 4e3))),
    ),
    Fault(
        "hand on the joystick",
        f"{ELSEWHERE}.*{LOST}",
        SLOW,
        lambda peer: peer.table.push(-2000, 0),
    ),
    Fault(
        "power cycle",
        f"did not answer.*{LOST}",
        SLOW,
        lambda peer: (peer.power_cycle(), peer.fall_silent(0.25)),
    ),
    Fault(
        "cable out", "the connection was lost.*could not return", SLOW, lambda peer: peer.unplug()
    ),
    Fault("silence", "did not answer.*could not return", SLOW, lambda peer: peer.fall_silent(9)),
]


@pytest.mark.parametrize("fault", AWAY, ids=lambda fault: fault.name)
@BOTH
def test_x_and_y_that_fail_are_one_line(
    driver: str, fault: Fault, start_peer: StartPeer, open_on: OpenOn, tmp_path: Path
) -> None:
    peer = start_peer(replace(BOOKS[driver], table=fault.table))
    devices = open_on(driver, peer, *LIMITS)
    Deed(peer, lambda: fault.deed(peer))
    with pytest.raises(FgafError, match=rf"position b: .*{fault.says}") as caught:
        record(devices, tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.glob("*.h5*")] == ["x_a.stack.h5"]


@BOTH
def test_the_stage_follows_a_cell_to_its_limit_without_a_fault(
    driver: str, start_peer: StartPeer, open_on: OpenOn
) -> None:
    peer = start_peer(FIELDS[driver])
    limits = "xy_stage.x_limits_um=[-1000, 160]", LIMITS[1]
    devices = open_on(driver, peer, *limits)
    live = LiveStage(XYMover(devices, load_rig("sim", limits).xy_stage, Interrupt()))
    live.start()
    begun_ns = now_ns = then_ns = devices.clock.now_ns()
    cell = Course(begun_ns, (100.0, -50.0), (100.0, -30.0))
    longest_s, x_um, y_um, at_it = 0.0, 100.0, -50.0, False
    with live.stopping():
        while not (at_it and x_um > 145 and abs(y_um - cell.at(now_ns)[1]) < 12):
            assert now_ns - begun_ns < PATIENCE_S * 1e9
            live.follow(Course(now_ns, cell.at(now_ns), cell.velocity_um_s))
            devices.clock.sleep(0.024)
            live.at(now_ns)  # raises what went wrong in the thread
            x_um, y_um = peer.table.position_um
            at_it = live.at_limit
            now_ns, then_ns = devices.clock.now_ns(), now_ns
            longest_s = max(longest_s, (now_ns - then_ns) / 1e9)
    live.stop()
    x_um, _ = stands(peer, 0.0)
    assert x_um <= 160 + 250 * max(0.0, longest_s - 0.2)
