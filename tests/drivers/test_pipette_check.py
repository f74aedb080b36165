"""`acq check` reads the micropipette and its pump; with consent it moves one, starts the other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from click.testing import CliRunner

from fgaf.acquire import Interrupt, InterruptError, load_rig, open_rig
from fgaf.acquire.commands.main import main
from fgaf.acquire.commissioning.pipette_checkup import check_pipette, check_pump
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.devices import DeviceError, EffectiveSettings, Place3
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import SimulatedPump

START = (0.0, 0.0, 20.0)
REACH_UM = 20.0
SMALL = ("simulation.shape=[64, 96]", "simulation.cells=1", "simulation.debris=0")


class Arm(SimulatedManipulator):
    """The simulated manipulator, with faults; `places` are all that were read."""

    part = 1.0
    play_um = 0.0
    slower = 1.0
    deaf = False
    answers = 10**9

    def move_xyz_to(self, x_um: float, y_um: float, z_um: float, speed_um_s: float) -> None:
        at = self._motor_um()
        x, y, z = (
            a + self.part * (b - a) + self.play_um * ((b < a - 1) - (b > a + 1)) / 2
            for a, b in zip(at, (x_um, y_um, z_um), strict=True)
        )
        super().move_xyz_to(x, y, z, self.slower * speed_um_s)

    def position_xyz_um(self) -> Place3:
        self.answers -= 1
        if self.answers < 0:
            raise DeviceError("the arm does not answer")
        self.places = [*getattr(self, "places", ()), super().position_xyz_um()]
        return self.places[-1]

    def stop(self) -> None:
        if not self.deaf:
            super().stop()


class Plunger(SimulatedPump):
    """The simulated pump, with faults; `starts` counts how often it was started."""

    factor = 1.0
    leak = 0.0
    deaf = False
    starts = 0
    effective = EffectiveSettings()

    def start(self, flow_nl_s: float) -> None:
        self.starts += 1
        super().start(flow_nl_s)

    def flow_nl_s(self) -> float:
        return self.factor * super().flow_nl_s() + self.leak

    def stop(self) -> None:
        if not self.deaf:
            super().stop()


def check(
    go: bool = True,
    options: tuple[str, ...] = (),
    arm: dict[str, Any] | None = None,
    plunger: dict[str, Any] | None = None,
    interrupt: Interrupt | None = None,
) -> tuple[Report, Arm, Plunger]:
    rig = load_rig("sim-aspiration", (*SMALL, *options))
    report = Report()
    with open_rig(rig) as devices:
        manipulator: Any = devices.manipulator
        pump: Any = devices.pump
        manipulator.__class__, pump.__class__ = Arm, Plunger
        vars(manipulator).update(arm or {})
        vars(pump).update(plunger or {})
        check_pipette(devices, rig, REACH_UM, go, interrupt or Interrupt(), report)
        check_pump(devices, rig, go, report)
        pump.deaf = False
    return report, manipulator, pump


def lines_of(report: Report) -> str:
    return "\n".join(verdict.line() for verdict in report.verdicts)


def test_a_good_pipette_is_measured_over_its_start_and_comes_back() -> None:
    report, arm, plunger = check()
    assert report.level == "ok", lines_of(report)
    assert arm.places[-1] == pytest.approx(START, abs=0.2)
    low, high = (tuple(edge(axis) for axis in zip(*arm.places, strict=True)) for edge in (min, max))
    assert low == pytest.approx((-REACH_UM, -REACH_UM, START[2]), abs=0.2)
    assert high == pytest.approx((REACH_UM, REACH_UM, START[2] + 100), abs=0.2)
    first = next(at for at in arm.places if abs(at[0]) > 0.2 or abs(at[1]) > 0.2)
    assert first[2] == pytest.approx(START[2] + REACH_UM, abs=0.2)
    assert report.measured["pipette_speed_um_s"] == pytest.approx(40, rel=0.1)
    assert report.measured["pipette_ran_on_um"] < 1
    assert report.measured["pump_flow_nl_s"] == pytest.approx(0.002)
    assert plunger.starts == 1


def test_without_consent_nothing_moves_and_all_is_told() -> None:
    report, arm, plunger = check(go=False)
    assert (arm.moves, plunger.starts) == (0, 0)
    assert report.level == "ok"
    said = lines_of(report)
    assert "with --go the pipette will rise by up to 20 µm from 0, 0, 20 µm" in said
    assert "it never goes below z = 20 µm" in said
    assert "would draw 0.002 nL/s for 1 s; not started without --go" in said


@dataclass(frozen=True)
class Finding:
    """A pipette or a pump that is not as it should be, and what the check says."""

    name: str
    level: str
    says: str
    options: tuple[str, ...] = ()
    arm: dict[str, Any] = field(default_factory=dict)
    plunger: dict[str, Any] = field(default_factory=dict)


NOTE = EffectiveSettings(notes=("the pump was switched off and on",))
TILT = EffectiveSettings(notes=("the tilt of x is not reported",))
FINDINGS = [
    Finding(
        "limits apart", "warning", "nothing is left", ("manipulator.x_limits_um=[-9e5, -8e5]",)
    ),
    Finding("too low", "warning", "outside its limits", ("manipulator.floor_um=30",)),
    Finding("no room", "warning", "from a limit", ("manipulator.x_limits_um=[-140, 3]",)),
    Finding("stuck", "bad", "came to rest at .*could not be raised", arm={"part": 0.5}),
    Finding("tilt", "warning", "tilt of x is not reported", arm={"effective": TILT}),
    Finding("silent", "bad", "manipulator .*does not answer", arm={"answers": 5}),
    Finding("dies", "bad", "pipette moves .*does not answer", arm={"answers": 60}),
    Finding("play", "warning", "look for play", arm={"play_um": 0.8}),
    Finding("slow", "warning", r"lower manipulator\.highest_speed", arm={"slower": 0.3}),
    Finding("does not stop", "bad", "do not work near the dish", arm={"deaf": True}),
    Finding("pump runs", "bad", "at rest; stop it at its keys", plunger={"leak": 0.3}),
    Finding("pump stalls", "bad", "has stalled", ("pump.options.stalls_after_s=0.5",)),
    Finding("pump is wrong", "bad", "it ignores commands", plunger={"factor": 1.3}),
    Finding(
        "pump does not stop",
        "bad",
        "and 0.002 when stopped",
        ("pump.timeout_s=0.3",),
        plunger={"deaf": True},
    ),
    Finding(
        "pump is too weak",
        "warning",
        r"set pump\.highest_flow_nl_s = 2",
        ("pump.options.highest_flow_nl_s=2",),
    ),
    Finding(
        "pump is not allowed to draw",
        "bad",
        r"raise pump\.highest_flow_nl_s",
        ("pump.highest_flow_nl_s=0.001",),
    ),
    Finding("pump had an alarm", "warning", "switched off and on", plunger={"effective": NOTE}),
]


@pytest.mark.parametrize("case", FINDINGS, ids=lambda case: case.name)
def test_what_is_wrong_is_said(case: Finding) -> None:
    report, *_ = check(True, case.options, case.arm, case.plunger)
    assert report.level == case.level, lines_of(report)
    said = [verdict.line() for verdict in report.verdicts if verdict.level == case.level]
    assert len(said) == 1, said
    assert re.search(case.says, said[0]), said


def test_a_pipette_without_a_floor_is_read_and_not_moved() -> None:
    rig = load_rig("sim-aspiration", SMALL)
    assert rig.manipulator is not None
    table = rig.manipulator.model_copy(update={"floor_um": None})
    rig = rig.model_copy(update={"manipulator": table})
    report = Report()
    with open_rig(rig) as devices:
        check_pipette(devices, rig, REACH_UM, True, Interrupt(), report)
    assert [verdict.level for verdict in report.verdicts] == ["ok", "warning"]
    assert "set manipulator.floor_um" in lines_of(report)


def test_an_interrupt_raises_it() -> None:
    interrupt = Interrupt()
    interrupt.request()
    with pytest.raises(InterruptError, match="the pipette was raised"):
        check(interrupt=interrupt)


@pytest.mark.parametrize("go", [True, False])
def test_the_command_checks_them(go: bool) -> None:
    specimen = ("simulation.motile=false", "simulation.round_cells=0", *SMALL)
    sets = [word for setting in specimen for word in ("--set", setting)]
    words = ["check", "sim-aspiration", *sets, "--seconds", "0.1", *(["--go"] if go else [])]
    done = CliRunner().invoke(main, words)
    assert "ok       pump " in done.output
    assert ("ok       pipette stop" in done.output) == go
    assert ("not moved; with --go" in done.output) == (not go)
