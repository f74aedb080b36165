"""Moves of the micropipette and of its pump: limits, floor, dry runs, retreats and stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pump import PumpControl
from fgaf.acquire.device_tables import ManipulatorTable, PumpTable
from fgaf.acquire.devices import (
    DeviceError,
    Devices,
    LimitsXYZ,
    Manipulator,
    Place3,
    Pump,
    WallClock,
)
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.base.errors import FgafError, SettingError

START = (1000.0, 2000.0, 500.0)


@dataclass
class Arm:
    """A manipulator that arrives at once, and records where it was sent."""

    at: Place3 = START
    limits_xyz_um: LimitsXYZ = ((0, 20000), (0, 20000), (0, 20000))
    name: str = "arm 1"
    sent: list[Place3] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    stops: int = 0
    fails: bool = False
    stuck: bool = False

    def position_xyz_um(self) -> Place3:
        if self.fails:
            raise DeviceError("the arm does not answer")
        return self.at

    def move_xyz_to(self, x_um: float, y_um: float, z_um: float, speed_um_s: float) -> None:
        self.sent.append((x_um, y_um, z_um))
        self.speeds.append(speed_um_s)
        if not self.stuck:
            self.at = (x_um, y_um, z_um)

    def moving_xyz(self) -> bool:
        return False

    def stop(self) -> None:
        self.stops += 1

    def reopen(self) -> None:
        self.fails = False

    def close(self) -> None:
        self.stop()


@dataclass
class Plunger:
    """A pump that can refuse to stop."""

    name: str = "pump 1"
    flow_limits_nl_s: tuple[float, float] = (0.002, 50.0)
    flow: float = 0.0
    refuses: int = 0

    def flow_nl_s(self) -> float:
        return self.flow

    def start(self, flow_nl_s: float) -> None:
        self.flow = flow_nl_s

    def stop(self) -> None:
        if self.refuses:
            self.refuses -= 1
            raise DeviceError("the pump does not answer")
        self.flow = 0.0

    def close(self) -> None:
        self.stop()


def devices_of(arm: Arm | None = None, plunger: Plunger | None = None) -> Devices:
    nothing: Any = None
    return Devices(nothing, nothing, WallClock(), None, arm, plunger)


def mover_of(arm: Arm, go: bool = True, **settings: Any) -> tuple[PipetteMover, list[str]]:
    told: list[str] = []
    table = ManipulatorTable(driver="arm", **{"floor_um": 300.0, "poll_ms": 0.1} | settings)
    return PipetteMover(devices_of(arm), table, Interrupt(), told.append, go), told


def test_the_devices_are_as_their_protocols_say() -> None:
    assert isinstance(Arm(), Manipulator)
    assert isinstance(Plunger(), Pump)


def test_a_move_ends_at_its_place_at_no_more_than_its_speed() -> None:
    arm = Arm()
    mover, told = mover_of(arm)
    assert mover.go_to((1010.0, 2000.0, 320.0), 20.0) == (1010.0, 2000.0, 320.0)
    assert arm.speeds == [20.0]
    assert told == ["the pipette goes to 1010.000, 2000.000, 320.000 µm at 20 µm/s"]


@dataclass(frozen=True)
class Refused:
    """A move that is refused before anything moves."""

    name: str
    says: str
    place: Place3 = START
    speed: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


REFUSED = [
    Refused("under the floor", r"z = 299\.9 µm.*floor_um", (1000.0, 2000.0, 299.9)),
    Refused("over the top", r"z = 25000\.0 µm.*z_limits_um", (1000.0, 2000.0, 25000.0)),
    Refused(
        "beside",
        r"x = 900\.0 µm, outside 950",
        (900.0, 2000.0, 500.0),
        settings={"x_limits_um": (950, 1100)},
    ),
    Refused("not a number", "y = nan", (1000.0, math.nan, 500.0)),
    Refused("too fast", "highest_speed_um_s is 200", speed=201.0),
    Refused("no speed", "highest_speed_um_s", speed=0.0),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
@pytest.mark.parametrize("go", [True, False])
def test_a_move_that_leaves_its_bounds_is_refused(case: Refused, go: bool) -> None:
    arm = Arm()
    mover, told = mover_of(arm, go, **case.settings)
    for move in (mover.go_to, mover.send):
        with pytest.raises(SettingError, match=case.says):
            move(case.place, case.speed)
    assert arm.sent == []
    assert told == []


@dataclass(frozen=True)
class Unready:
    """A rig whose pipette may not move."""

    name: str
    says: str
    arm: Callable[[], Arm] = Arm
    settings: dict[str, Any] = field(default_factory=dict)


UNREADY = [
    Unready("no floor", "set manipulator.floor_um", settings={"floor_um": None}),
    Unready(
        "no limits",
        "set manipulator.x_limits_um",
        lambda: Arm(limits_xyz_um=((-math.inf, math.inf), (0, 1), (0, 1000))),
    ),
    Unready("nothing left", "nothing is left", settings={"floor_um": 21000.0}),
]


@pytest.mark.parametrize("case", UNREADY, ids=lambda case: case.name)
def test_a_pipette_without_bounds_does_not_move(case: Unready) -> None:
    with pytest.raises(SettingError, match=case.says):
        mover_of(case.arm(), **case.settings)


def test_a_pipette_that_stands_under_the_floor_is_refused() -> None:
    mover, _ = mover_of(Arm(at=(1000.0, 2000.0, 200.0)))
    with pytest.raises(SettingError, match=r"z = 200\.0 µm, outside its limits 300"):
        mover.check_here()


def test_a_dry_run_tells_every_move_and_makes_none() -> None:
    arm = Arm()
    mover, told = mover_of(arm, go=False)
    with mover.retreating():
        mover.send((1000.0, 2000.0, 400.0), 5.0)
        assert mover.position_um() == (1000.0, 2000.0, 400.0)
        mover.go_to((1001.0, 2000.0, 400.0))
        mover.halt()
    assert len(told) == 2
    assert (arm.sent, arm.stops) == ([], 0)


@pytest.mark.parametrize("z_um", [310.0, 600.0, 700.0])
def test_a_rise_is_told_where_there_is_one(z_um: float) -> None:
    arm = Arm()
    mover, told = mover_of(arm)
    with mover.retreating():
        mover.go_to((1000.0, 2000.0, z_um))
    assert told[1:] == (["the pipette is raised to z = 600.0 µm"] if z_um < 600 else [])
    assert arm.at[2] == max(z_um, 600.0)


def unplugged(arm: Arm) -> None:
    arm.fails = True
    raise DeviceError("the cable is out")


def pushed(arm: Arm) -> None:
    arm.at = (1000.0, 2000.0, 0.0)
    raise DeviceError("somebody came near")


def interrupted(_: Arm) -> None:
    raise InterruptError("stopped by Ctrl-C")


@pytest.mark.parametrize(
    ("deed", "says", "raised"),
    [
        pytest.param(lambda _: None, "", True, id="end"),
        pytest.param(unplugged, "the cable is out; the pipette was raised", True, id="lost link"),
        pytest.param(interrupted, "Ctrl-C; the pipette was raised", True, id="Ctrl-C"),
        pytest.param(pushed, r"was not raised to z = 600\.000 µm", False, id="moved by hand"),
    ],
)
def test_the_pipette_is_raised_whatever_happens(
    deed: Callable[[Arm], None], says: str, raised: bool
) -> None:
    arm = Arm()
    mover, _ = mover_of(arm)

    def work() -> None:
        with mover.retreating():
            mover.go_to((1020.0, 2000.0, 310.0))
            deed(arm)

    if says:
        with pytest.raises(FgafError, match=says):
            work()
    else:
        work()
    assert arm.stops >= 1
    assert arm.sent[-1] == ((1020.0, 2000.0, 600.0) if raised else (1020.0, 2000.0, 310.0))


def test_a_retreat_that_is_blocked_is_said() -> None:
    arm = Arm()
    mover, _ = mover_of(arm, timeout_s=0.05)

    def work() -> None:
        with mover.retreating():
            arm.stuck = True

    with pytest.raises(DeviceError, match=r"could not be raised.*it is at 1000\.000"):
        work()


FLOWS = [(0.001, False), (0.002, True), (5.0, True), (5.1, False), (-1.2, True), (-6.0, False)]


@pytest.mark.parametrize(("flow", "allowed"), FLOWS)
def test_a_flow_stays_within_the_pump_and_the_rig(flow: float, allowed: bool) -> None:
    plunger = Plunger()
    suction = PumpControl(devices_of(plunger=plunger), PumpTable(driver="plunger"))
    if allowed:
        suction.start(flow)
        assert plunger.flow == flow
    else:
        with pytest.raises(
            SettingError, match=r"0\.002 to 5 nL/s; (see pump.highest_flow|give a hi)"
        ):
            suction.start(flow)
        assert plunger.flow == 0


@pytest.mark.parametrize(
    "error", [None, DeviceError("alarm"), InterruptError("Ctrl-C"), KeyError()]
)
@pytest.mark.parametrize(("refuses", "stops"), [(0, True), (2, True), (3, False)])
def test_the_pump_is_stopped_whatever_happens(
    error: Exception | None, refuses: int, stops: bool
) -> None:
    plunger = Plunger()
    suction = PumpControl(devices_of(plunger=plunger), PumpTable(driver="plunger"))

    def work() -> None:
        with suction.stopping():
            suction.start(1.2)
            plunger.refuses = refuses
            if error is not None:
                raise error

    if error is None and stops:
        work()
    else:
        with pytest.raises(type(error) if error else DeviceError) as caught:
            work()
        said = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
        assert ("COULD NOT BE STOPPED" in said) == (not stops)
    assert (plunger.flow == 0) == stops


def test_a_dry_run_pumps_nothing() -> None:
    plunger, told = Plunger(), list[str]()
    suction = PumpControl(devices_of(plunger=plunger), PumpTable(driver="x"), told.append, go=False)
    with suction.stopping():
        suction.start(1.2)
        assert suction.flow_nl_s() == 1.2
    assert plunger.flow == 0
    assert told == ["the pump draws 1.2 nL/s", "the pump stops"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PipetteMover(devices_of(), None, Interrupt()),
        lambda: PumpControl(devices_of(), None),
    ],
)
def test_a_rig_without_them_says_which_table_is_missing(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match=r"add the table \[(manipulator|pump)\]"):
        make()
