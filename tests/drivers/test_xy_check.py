"""`acq check` measures the x/y stage: moves, velocity and backlash, inside its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from slide import PIXEL_UM, Slide

from fgaf.acquire import Devices, Interrupt, InterruptError, load_rig, open_rig
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.commissioning.xy_checkup import check_xy
from fgaf.acquire.commissioning.xy_trial import XYBounds
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage

REACH_UM = 20.0


class Spied(SimulatedXYStage):
    """The simulated stage, with faults; `furthest_um` is the farthest it was from 0."""

    furthest_um = 0.0
    part = 1.0
    faster = 1.0

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        super().move_xy_to(self.part * x_um, self.part * y_um)

    def move_xy_at(self, vx_um_s: float, vy_um_s: float) -> None:
        super().move_xy_at(self.faster * vx_um_s, self.faster * vy_um_s)

    def position_xy_um(self) -> tuple[float, float]:
        here = super().position_xy_um()
        self.furthest_um = max(self.furthest_um, *map(abs, here))
        return here


def check(
    options: tuple[str, ...] = (),
    faults: dict[str, Any] | None = None,
    slide: dict[str, Any] | None = None,
    interrupt: Interrupt | None = None,
) -> tuple[Report, Spied]:
    rig = load_rig("sim", (*options, f"optics.pixel_size_um={PIXEL_UM}"))
    report, interrupt = Report(), interrupt or Interrupt()
    with open_rig(rig) as opened:
        stage: Any = opened.xy_stage
        stage.__class__ = Spied
        vars(stage).update(faults or {})
        camera = replace(Slide(stage), **(slide or {}))
        devices = Devices(camera, opened.stage, opened.clock, stage)
        travel = XYMover(devices, rig.xy_stage, interrupt)
        bounds = XYBounds.of(travel, REACH_UM)
        try:
            check_xy(devices, rig, travel, bounds, report)
        finally:
            assert stage.position_xy_um() == pytest.approx((0, 0), abs=0.5)
    return report, stage


def lines_of(report: Report) -> str:
    return "\n".join(verdict.line() for verdict in report.verdicts)


def test_a_good_stage_is_measured_and_stays_in_its_range() -> None:
    report, stage = check(("xy_stage.options.backlash_um=1.5",))
    assert report.level == "ok", lines_of(report)
    assert report.measured["xy_backlash_um"] == pytest.approx([1.5, 1.5], abs=0.15)
    assert report.measured["xy_velocity_error"] < 0.1
    assert 100 < report.measured["xy_speed_um_s"] < 5000
    assert REACH_UM / 2 < stage.furthest_um <= REACH_UM + 0.01


@dataclass(frozen=True)
class Finding:
    """A stage or specimen that is not as it should be, and what the check says."""

    name: str
    level: str
    says: str
    options: tuple[str, ...] = ()
    faults: dict[str, Any] = field(default_factory=dict)
    slide: dict[str, Any] = field(default_factory=dict)


FINDINGS = [
    Finding("play", "warning", "look for play", ("xy_stage.options.backlash_um=4",)),
    Finding("velocity", "warning", r"wrong by up to (99|100)%", faults={"faster": 2.0}),
    Finding("no detail", "warning", "the images do not tell it", slide={"detail": 0.0}),
    Finding("stuck", "bad", "came to rest at .*x, y are back", faults={"part": 0.5}),
    Finding("no room", "warning", "from a limit", ("xy_stage.x_limits_um=[-300, 3]",)),
]


@pytest.mark.parametrize("case", FINDINGS, ids=lambda case: case.name)
def test_what_is_wrong_is_said(case: Finding) -> None:
    report, _ = check(case.options, case.faults, case.slide)
    assert report.level == case.level
    said = [verdict.line() for verdict in report.verdicts if verdict.level == case.level]
    assert len(said) == 1
    assert re.search(case.says, said[0]), said


def test_an_interrupt_brings_it_back() -> None:
    interrupt = Interrupt()
    interrupt.request()
    with pytest.raises(InterruptError, match=r"x, y are back at 0\.000, 0\.000"):
        check(interrupt=interrupt)
