"""Sensapex manipulators and pressure controllers: the unmodified package, on emulated devices."""

from __future__ import annotations

import math
import random
import signal
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import pytest
from ump_peer import GOTO, HOST, PORT, STOP, UNDEFINED, UmpPeer, UmpPersonality

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.commissioning.rig_template import blanks, rig_template
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.device_tables import ManipulatorTable, PumpTable
from fgaf.acquire.devices import (
    DeviceError,
    Devices,
    Manipulator,
    Place3,
    Pump,
    WallClock,
)
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers import sensapex
from fgaf.acquire.drivers.sensapex_manipulator import SensapexManipulator
from fgaf.acquire.drivers.sensapex_pump import SensapexPump
from fgaf.acquire.drivers.sensapex_session import Session, source_address
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Opening, Rig
from fgaf.base.errors import FgafError, SettingError

package = pytest.importorskip("sensapex")
try:
    package.UMP.get_lib()
except OSError:
    pytest.skip("Sensapex's library is not installed", allow_module_level=True)

FLOOR_UM = -7100.0
QUICK_S = 0.12
"""Wait for a device that does not answer."""

Start = Callable[..., UmpPeer]
Open = Callable[..., SensapexManipulator]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start networks of given personalities; all are switched off after the test."""
    peers: list[UmpPeer] = []

    def begin(**personality: Any) -> UmpPeer:
        peers.append(UmpPeer(UmpPersonality(**personality)))
        return peers[-1]

    yield begin
    for peer in peers:
        peer.switch_off()


@pytest.fixture
def opened() -> Iterator[list[SensapexManipulator | SensapexPump]]:
    """The devices of a test, which are closed after it."""
    devices: list[SensapexManipulator | SensapexPump] = []
    yield devices
    for device in devices:
        with suppress(DeviceError):
            device.close()


@pytest.fixture
def arm_on(opened: list[SensapexManipulator | SensapexPump]) -> Open:
    """Open a manipulator of a network."""

    def open_on(peer: UmpPeer, table: dict[str, Any] | None = None, **more: Any) -> Any:
        opened.append(sensapex.open_manipulator(arm_table(peer, table, **more), opening()))
        return opened[-1]

    return open_on


@pytest.fixture
def pump_on(opened: list[SensapexManipulator | SensapexPump]) -> Callable[..., SensapexPump]:
    """Open a pressure controller of a network."""

    def open_on(peer: UmpPeer, table: dict[str, Any] | None = None, **more: Any) -> Any:
        options = network(peer) | {"device": 30, "kpa_per_nl_s": 10.0} | more
        tables = PumpTable(driver="sensapex", options=options, **table or {})
        opened.append(sensapex.open_pump(tables, opening()))
        return opened[-1]

    return open_on


def opening() -> Opening:
    return Opening(load_rig("sim"), WallClock())


def network(peer: UmpPeer) -> dict[str, Any]:
    return {"address": HOST, "group": peer.group}


def arm_table(peer: UmpPeer, table: dict[str, Any] | None = None, **more: Any) -> ManipulatorTable:
    options = network(peer) | {"device": 4, "z_down": True} | more
    usual: dict[str, Any] = {"floor_um": FLOOR_UM, "poll_ms": 1.0, "timeout_s": 5.0}
    return ManipulatorTable(driver="sensapex", options=options, **usual | (table or {}))


def mover_of(
    arm: SensapexManipulator, peer: UmpPeer, table: dict[str, Any] | None = None
) -> PipetteMover:
    nothing: Any = None
    devices = Devices(nothing, nothing, WallClock(), None, arm)
    return PipetteMover(devices, arm_table(peer, table), Interrupt())


def extremes_um(peer: UmpPeer) -> list[tuple[float, float]]:
    """How far each axis has been, in the device's own coordinates before any restart."""
    where = zip(peer.manipulator.axes, peer.place_um, strict=True)
    return [(min(axis.lowest_um, at), max(axis.highest_um, at)) for axis, at in where]


def test_the_devices_are_as_their_protocols_say(
    start: Start, arm_on: Open, pump_on: Callable[..., SensapexPump]
) -> None:
    peer = start()
    arm, pump = arm_on(peer), pump_on(peer)
    assert isinstance(arm, Manipulator)
    assert isinstance(pump, Pump)
    assert arm.name == "Sensapex manipulator 4, firmware 1.5.2.7"
    assert arm.effective.values == {"axes": 4, "z_down": True}
    assert pump.name == "Sensapex pressure controller 30, channel 1"


@pytest.mark.parametrize(("down", "z_um"), [(True, -7000.0), (False, 7000.0)])
def test_the_position_is_read_and_z_points_up(
    down: bool, z_um: float, start: Start, arm_on: Open
) -> None:
    peer = start()
    arm = arm_on(peer, {"floor_um": None}, z_down=down)
    assert arm.position_xyz_um() == (5000.0, 6000.0, z_um)
    peer.push(0, 3.0)
    assert arm.position_xyz_um() == (5003.0, 6000.0, z_um)
    peer.power_cycle()
    assert arm.position_xyz_um() == (0.0, 0.0, 0.0)


def test_a_move_ends_where_it_was_sent_and_leaves_the_fourth_axis(
    start: Start, arm_on: Open
) -> None:
    peer = start()
    mover = mover_of(arm_on(peer), peer)
    reached = mover.go_to((5010.0, 6005.05, -7002.0), 100.0)
    assert reached == pytest.approx((5010.0, 6005.05, -7002.0), abs=0.003)
    assert peer.place_um == pytest.approx((5010.0, 6005.05, 7002.0, 10000.0), abs=0.003)
    assert peer.manipulator.asked_speeds == [100, 50, 20]
    assert peer.sent(GOTO) == 1


@dataclass(frozen=True)
class Survived:
    """A network that is not perfect, on which a move arrives all the same."""

    name: str
    network: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


SURVIVED = [
    Survived("late", {"delay_s": 0.03}),
    Survived("lost", {"lost_every": 3}, {"answer_s": 0.9}),
    Survived("doubled", {"doubled": True}),
    Survived("out of order", {"out_of_order": True}),
    Survived("answers of others between", {"chatter": True}),
    Survived("no report of the end", {"notifies": False}),
    Survived("a report of the beginning only", {"ends_unreported": True}),
    Survived("deaf within 0.1 µm", {"deaf_within_um": 0.1}),
    Survived(
        "all",
        {
            "delay_s": 0.005,
            "lost_every": 7,
            "doubled": True,
            "out_of_order": True,
            "chatter": True,
            "deaf_within_um": 0.1,
        },
    ),
]


@pytest.mark.parametrize("case", SURVIVED, ids=lambda case: case.name)
def test_imperfect_networks_are_survived(case: Survived, start: Start, arm_on: Open) -> None:
    peer = start(**case.network)
    mover = mover_of(arm_on(peer, **case.options), peer)
    reached = mover.go_to((5003.0, 6000.06, -7001.0))
    assert reached == pytest.approx((5003.0, 6000.06, -7001.0), abs=0.1)
    x, y, z, _ = peer.place_um
    assert reached == pytest.approx((x, y, -z), abs=0.002)


@dataclass(frozen=True)
class Failed:
    """A device that fails in a move, and what is said; `raised_um` is z afterwards."""

    name: str
    says: str
    network: dict[str, Any]
    raised_um: float | None = None
    table: dict[str, Any] = field(default_factory=dict)


FAILED = [
    Failed(
        "stalls",
        "came to rest at .*the pipette was raised",
        {"stalls_after_um": 25.0},
        -7025.0 + 25.0,
        {"retreat_um": 0.0},
    ),
    Failed(
        "deaf",
        "came to rest at .*the pipette was raised",
        {"deaf_within_um": 0.1},
        -7000.0 + 30.0,
        {"tolerance_um": 0.02, "retreat_um": 30.0},
    ),
    Failed("power fails", r"controller was restarted", {"off_at": 1}),
    Failed("does not come back", "does not answer", {"off_at": 1, "back_s": math.inf}),
]


@pytest.mark.parametrize("case", FAILED, ids=lambda case: case.name)
def test_a_failure_is_one_error_and_never_a_wild_move(
    case: Failed, start: Start, arm_on: Open
) -> None:
    peer = start(**case.network)
    mover = mover_of(arm_on(peer, answer_s=QUICK_S), peer, case.table)
    z_um = -7000.05 if case.name == "deaf" else -7050.0
    with pytest.raises(DeviceError, match=case.says) as failure, mover.retreating():
        mover.go_to((5000.0, 6000.0, z_um))
    assert "\n" not in str(failure.value)
    if case.raised_um is None:
        assert peer.sent(GOTO) == 1
    else:
        assert -peer.place_um[2] == pytest.approx(case.raised_um, abs=0.02)
    x, y, z, _ = extremes_um(peer)
    assert x == (5000.0, 5000.0)
    assert y == (6000.0, 6000.0)
    assert z[1] <= 7050.0


def test_a_device_that_falls_silent_in_a_move_is_one_error(start: Start, arm_on: Open) -> None:
    peer = start()
    arm = arm_on(peer, answer_s=QUICK_S)
    arm.move_xyz_to(5000.0, 6000.0, -7050.0, 20.0)
    peer.fall_silent()
    with pytest.raises(DeviceError, match=r"manipulator 4, .* does not answer at 127"):
        arm.moving_xyz()
    with pytest.raises(DeviceError, match="does not answer"):
        arm.stop()


def test_a_late_answer_is_not_taken_for_that_of_the_next_question(
    start: Start, arm_on: Open
) -> None:
    peer = start()
    arm = arm_on(peer, answer_s=QUICK_S)
    peer.delay_s = math.inf
    with pytest.raises(DeviceError, match="does not answer"):
        arm.position_xyz_um()
    peer.push(1, -40.0)
    peer.deliver()
    assert arm.position_xyz_um() == (5000.0, 5960.0, -7000.0)


def test_a_signal_during_a_wait_is_survived(start: Start, arm_on: Open) -> None:
    peer = start()
    arm = arm_on(peer)
    peer.delay_s = 0.1
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    timer = threading.Timer(0.03, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    timer.start()
    try:
        assert arm.position_xyz_um() == (5000.0, 6000.0, -7000.0)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_it_comes_back_after_a_silence(start: Start, arm_on: Open) -> None:
    peer = start()
    arm = arm_on(peer, answer_s=QUICK_S)
    peer.fall_silent()
    with pytest.raises(DeviceError):
        arm.position_xyz_um()
    peer.wake()
    arm.reopen()
    assert arm.position_xyz_um() == (5000.0, 6000.0, -7000.0)


def test_a_stop_ends_a_move(start: Start, arm_on: Open) -> None:
    peer = start()
    arm = arm_on(peer)
    arm.move_xyz_to(5000.0, 6000.0, -6000.0, 100.0)
    assert arm.moving_xyz()
    arm.stop()
    rest = arm.position_xyz_um()
    assert -7000.0 <= rest[2] < -6900.0
    deadline = time.monotonic() + 60
    while arm.moving_xyz():
        assert time.monotonic() < deadline
    assert arm.position_xyz_um() == rest


def test_a_new_move_replaces_the_one_under_way(start: Start, arm_on: Open) -> None:
    peer = start()
    arm = arm_on(peer)
    arm.move_xyz_to(6000.0, 6000.0, -7000.0, 50.0)
    mover = mover_of(arm, peer)
    assert mover.go_to((5000.0, 6000.0, -7000.0)) == pytest.approx((5000.0, 6000.0, -7000.0))
    assert extremes_um(peer)[0][1] < 5100.0


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ((5000.0, 6000.0, -7100.1), "z = -7100.1 µm is outside its limits -7100 to 0"),
        ((5000.0, 6000.0, 1.0), "z = 1 µm"),
        ((20000.5, 6000.0, -7000.0), "x = 20000.5 µm is outside its limits 0 to 20000"),
        ((5000.0, 5899.0, -7000.0), "y = 5899 µm is outside its limits 5900 to 6100"),
        ((math.nan, 6000.0, -7000.0), "x = nan"),
    ],
)
def test_nothing_is_sent_outside_the_limits(
    place: Place3, says: str, start: Start, arm_on: Open
) -> None:
    peer = start()
    arm = arm_on(peer, {"y_limits_um": (5900, 6100)})
    with pytest.raises(DeviceError, match=says):
        arm.move_xyz_to(*place, 100.0)
    assert peer.sent(GOTO) == 0


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(0.2, [1, 1, 1]), (1.9, [1, 1, 1]), (50.0, [50, 1, 25]), (1e4, [200, 1, 100])],
)
def test_speeds_are_neither_too_slow_for_the_device_nor_too_fast_for_the_rig(
    asked: float, sent: list[int], start: Start, arm_on: Open
) -> None:
    peer = start()
    arm_on(peer).move_xyz_to(5100.0, 6000.0, -6950.0, asked)
    assert peer.manipulator.asked_speeds == sent
    assert not peer.manipulator.crashed


def test_devices_share_a_session_and_nothing_is_left(
    start: Start, arm_on: Open, pump_on: Callable[..., SensapexPump]
) -> None:
    threads = threading.active_count()
    for _ in range(3):
        peer = start(manipulators=(4, 5))
        one, two, pump = arm_on(peer), arm_on(peer, device=5), pump_on(peer)
        one.close()
        one.close()
        assert two.position_xyz_um() == (5000.0, 6000.0, -7000.0)
        with pytest.raises(DeviceError, match="is closed"):
            one.position_xyz_um()
        two.close()
        assert pump.flow_nl_s() == 0
        pump.close()
        assert peer.sent(STOP) == 2
        peer.switch_off()
        assert threading.active_count() == threads


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_and_lost_it_stays_inside_and_tells_the_truth(
    seed: int, start: Start, arm_on: Open
) -> None:
    draw = random.Random(seed)
    limits = {"x_limits_um": (4990, 5010), "y_limits_um": (5990, 6010), "floor_um": -7005.0}
    peer = start(lost_every=draw.randint(3, 9), doubled=draw.random() < 0.5, delay_s=0.001)
    arm = arm_on(peer, limits | {"highest_speed_um_s": 2000.0}, answer_s=0.3)
    for _ in range(20):
        place = tuple(at + draw.uniform(-15, 15) for at in (5000.0, 6000.0, -7000.0))
        with suppress(DeviceError):
            arm.move_xyz_to(*place, draw.uniform(0, 5000))
        if draw.random() < 0.3:
            arm.stop()
            x, y, z, _ = peer.place_um
            assert arm.position_xyz_um() == pytest.approx((x, y, -z), abs=0.002)
    edges_um = [(4990, 5010), (5990, 6010), (6985, 7005), (10000, 10000)]
    for been, edges in zip(extremes_um(peer), edges_um, strict=True):
        assert edges[0] - 0.002 <= been[0] <= been[1] <= edges[1] + 0.002
    assert min(peer.manipulator.asked_speeds) >= 1
    assert max(peer.manipulator.asked_speeds) <= 2000


@dataclass(frozen=True)
class Refused:
    """A manipulator that does not open."""

    name: str
    says: str
    kind: type[FgafError] = DeviceError
    network: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)


UNKNOWN = UNDEFINED / 1e3
REFUSED = [
    Refused("another number", "devices that answer there: 4, 30", options={"device": 7}),
    Refused("a serial number", "answer there: 4, 30", options={"device": 11_400_007}),
    Refused("a pump", "manipulator 30 refuses", options={"device": 30}),
    Refused("one axis", "has 1 axes", network={"axes": 1}),
    Refused("no zero", "does not know its y", network={"start_um": (1.0, UNKNOWN, 1.0, 1.0)}),
    Refused("a tilt", "tilted by 30.0 degrees", network={"axes": 3, "tilt_deg": 30.0}),
    Refused("no direction", "z_down is missing", SettingError, options={"z_down": None}),
    Refused("a wrong key", "unknown key z_dwn", SettingError, options={"z_dwn": True}),
    Refused("a wrong group", "group.*0 to 10", SettingError, options={"group": 11}),
    Refused("no address", "address", SettingError, options={"address": "somewhere"}),
    Refused("slow", "moves at 1 µm/s or more", SettingError, table={"highest_speed_um_s": 0.5}),
    Refused(
        "upside down",
        r"z_limits_um .* its z is from -20000 to 0",
        SettingError,
        table={"z_limits_um": (100, 2000), "floor_um": 100},
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_cannot_be_opened_says_why(case: Refused, start: Start, arm_on: Open) -> None:
    peer = start(**case.network)
    with pytest.raises(case.kind, match=case.says):
        arm_on(peer, case.table, **{"answer_s": QUICK_S} | case.options)
    assert IPv4Address(HOST) not in {address for address, _ in Session.opened}


def test_three_axes_may_not_tell_their_tilt(start: Start, arm_on: Open) -> None:
    arm = arm_on(start(axes=3, tilt_deg=None), answer_s=QUICK_S)
    (note,) = arm.effective.notes
    assert "does not report the tilt of x" in note
    told = arm_on(start(axes=3, tilt_deg=1.5)).effective
    assert (told.values["x_tilt_degrees"], told.notes) == (1.5, ())


def test_the_port_of_another_program_is_not_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.78", PORT + 10))
        with pytest.raises(DeviceError, match=r"the UDP port 55565 of .* close the other program"):
            Session.join(IPv4Address("192.0.2.1"), 10)


def test_a_missing_library_names_the_option(
    start: Start, arm_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.UMP, "_lib", None)
    monkeypatch.setattr(package.UMP, "_lib_path", None)
    monkeypatch.setattr("os.path.exists", lambda _: False)
    monkeypatch.setattr("sensapex.sensapex.find_library", lambda _: None)
    with pytest.raises(DeviceError, match=r"nowhere\.so.*options\.library"):
        arm_on(start(), library="nowhere.so")


def test_the_devices_of_a_network_are_listed_and_get_a_rig(start: Start) -> None:
    peer = start(manipulators=(4, 21), controllers=(30,))
    found = sensapex.find_at(IPv4Address(HOST), peer.group)
    simulated = (Found("camera", "simulated", "", ""), Found("stage", "simulated", "", ""))
    text = rig_template(*simulated, None, *found)
    assert list(blanks(text)) == ["manipulator.options.z_down", "pump.options.kpa_per_nl_s"]
    rig = Rig.model_validate(tomllib.loads(text))
    assert rig.manipulator is not None
    with pytest.raises(SettingError, match="z_down is missing: raise the pipette by hand"):
        sensapex.open_manipulator(
            ManipulatorTable(driver="sensapex", options=rig.manipulator.options | network(peer)),
            opening(),
        )
    assert [(each.kind, each.address, each.options) for each in found] == [
        ("manipulator", "sensapex:4", {"device": 4}),
        ("pump", "sensapex:30", {"device": 30}),
    ]


@pytest.mark.parametrize("source", [None, "192.0.2.9", "127.0.0.1"])
def test_a_computer_in_another_network_sends_nothing(
    source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensapex, "source_address", lambda _: source and IPv4Address(source))
    monkeypatch.delattr(Session, "join")
    assert sensapex.find() == []


def test_the_network_of_an_address_is_found() -> None:
    own = source_address(IPv4Address(HOST))
    assert own is not None
    assert own.is_loopback


def test_a_rig_opens_both(start: Start) -> None:
    peer = start()
    where = f"address='{HOST}', group={peer.group}"
    settings = [
        "manipulator.driver=sensapex",
        f"manipulator.options={{{where}, device=4, z_down=true}}",
        "pump.driver=sensapex",
        f"pump.options={{{where}, device=30, channel=2, kpa_per_nl_s=10}}",
    ]
    with open_rig(load_rig("sim", settings)) as devices:
        assert devices.manipulator is not None
        assert devices.manipulator.position_xyz_um() == (5000.0, 6000.0, -7000.0)
        assert devices.pump is not None
        devices.pump.start(0.5)
        assert peer.channels.pascals[1] == -5000
    assert peer.channels.pascals[1] == 0
    assert peer.sent(STOP) == 1


@pytest.mark.parametrize(
    ("flow", "pascals"), [(1.2, -12000), (-0.3, 3000), (1e-4, -1), (0.0029, -29), (5.0, -50000)]
)
def test_a_flow_is_a_pressure_that_draws_in_below_the_atmosphere(
    flow: float, pascals: int, start: Start, pump_on: Callable[..., SensapexPump]
) -> None:
    peer = start()
    pump = pump_on(peer, channel=3)
    assert pump.flow_limits_nl_s == pytest.approx((1e-4, 5.0))
    assert pump.flow_nl_s() == 0
    pump.start(flow)
    assert (peer.channels.pascals[2], peer.channels.valves[2]) == (pascals, 1)
    assert pump.flow_nl_s() == pytest.approx(flow)
    pump.stop()
    pump.stop()
    assert pump.flow_nl_s() == 0
    assert peer.channels.pascals == peer.channels.valves == [0] * 8


def test_the_flow_is_that_of_the_pressure_measured(
    start: Start, pump_on: Callable[..., SensapexPump]
) -> None:
    pump = pump_on(start(pressure_share=0.5))
    pump.start(2.0)
    assert pump.flow_nl_s() == pytest.approx(1.0)


def test_closing_stops_the_pump(start: Start, pump_on: Callable[..., SensapexPump]) -> None:
    peer = start()
    pump = pump_on(peer)
    pump.start(2.0)
    pump.close()
    pump.close()
    assert peer.channels.pascals == peer.channels.valves == [0] * 8


@dataclass(frozen=True)
class Unpumped:
    """A flow that does not begin."""

    name: str
    says: str
    flow: float = 1.0
    network: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)


UNPUMPED = [
    Unpumped("too much for the rig", "out of range, 0.0001 to 5 nL/s", 5.1),
    Unpumped("too much for the device", "to 7 nL/s", -7.5, table={"highest_flow_nl_s": 50}),
    Unpumped("too little", "out of range", 5e-5),
    Unpumped("not a number", "out of range", math.nan),
    Unpumped("cut", "set to -20.000 kPa, but has -8.000 kPa", 2.0, {"highest_pa": 8000}),
    Unpumped("valve", "valve of .* does not turn", network={"stuck_valve": True}),
]


@pytest.mark.parametrize("case", UNPUMPED, ids=lambda case: case.name)
def test_a_flow_that_cannot_be_says_why(
    case: Unpumped, start: Start, pump_on: Callable[..., SensapexPump]
) -> None:
    pump = pump_on(start(**case.network), case.table)
    with pytest.raises(DeviceError, match=case.says):
        pump.start(case.flow)
    assert pump.flow_nl_s() == 0


def test_a_pump_needs_the_resistance_of_its_pipette(
    start: Start, pump_on: Callable[..., SensapexPump]
) -> None:
    with pytest.raises(SettingError, match=r"kpa_per_nl_s is missing: .*8 mu L/\(pi a\^4\)"):
        pump_on(start(), kpa_per_nl_s=None)


def test_a_pump_that_does_not_answer_is_one_error(
    start: Start, pump_on: Callable[..., SensapexPump]
) -> None:
    with pytest.raises(DeviceError, match=r"controller 31, .* answer there: 4, 30"):
        pump_on(start(), {"timeout_s": QUICK_S}, device=31)
