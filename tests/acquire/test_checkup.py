"""A rig's check finds what is built into the simulated rig, and what is wrong with bad devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fgaf import SettingError
from fgaf.acquire import DeviceError, Devices, Frame, Interrupt, InterruptError, load_rig, open_rig
from fgaf.acquire.commissioning.check_plan import Bounds, CheckPlan
from fgaf.acquire.commissioning.checkup import check_rig
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.drivers.simulated_camera import SimulatedCamera
from fgaf.acquire.drivers.simulated_stage import SimulatedStage

FIXED = (
    "simulation.motile=false",
    "simulation.shape=[64, 96]",
    "simulation.cells=1",
    "simulation.debris=0",
    "simulation.round_cells=0",
)

Change = Callable[[Devices], None]


def check(
    tmp_path: Path, *overrides: str, change: Change = lambda _: None, **plan: Any
) -> tuple[Report, list[float]]:
    """Check the simulated rig; return the report and every z that the drive was sent to."""
    rig = load_rig("sim", (*FIXED, *overrides))
    sent: list[float] = []
    with open_rig(rig) as devices:
        change(devices)
        move_to = devices.stage.move_to

        def record(z_um: float) -> None:
            sent.append(z_um)
            move_to(z_um)

        devices.stage.move_to = record  # type: ignore[method-assign]
        chosen = CheckPlan(folder=tmp_path, **{"seconds": 1e-3, "disk_megabytes": 4, **plan})
        bounds = Bounds.of(devices, rig, chosen)
        report = check_rig(devices, rig, chosen, bounds)
        assert all(bounds.low_um <= z_um <= bounds.high_um for z_um in sent)
    return report, sent


def level_of(report: Report, name: str) -> str:
    return next(verdict.level for verdict in report.verdicts if verdict.name == name)


def text_of(report: Report, name: str) -> str:
    return next(verdict.line() for verdict in report.verdicts if verdict.name == name)


@dataclass(frozen=True)
class Built:
    """What is built into the drive, and between which bounds the check must find it."""

    name: str
    overrides: tuple[str, ...]
    level: str
    backlash_um: tuple[float, float] = (0.3, 0.5)
    settle_ms: tuple[float, float] = (0, 15)
    speed_um_s: tuple[float, float] = (190, 201)
    error_um: tuple[float, float] = (0.005, 0.02)
    round_trip_ms: float = 1.0
    tolerance_um: tuple[float, float] = (0.03, 0.08)
    approach_um: tuple[float, float] | None = None


BUILT = [
    Built("as it comes", (), "ok"),
    Built("much play", ("stage.options.backlash_um=2.6",), "bad", (2.4, 2.8), approach_um=(3, 5)),
    Built("less play", ("stage.options.backlash_um=1.2",), "ok", (1.05, 1.35)),
    Built(
        "loose and slow",
        (
            "stage.options.ringing_um=0.5",
            "stage.options.ringing_ms=25",
            "stage.options.speed_um_s=50",
            "stage.options.repeatability_um=0",
            "stage.options.reply_ms=4",
        ),
        "warning",
        settle_ms=(30, 80),
        speed_um_s=(48, 51),
        error_um=(0, 1e-6),
        round_trip_ms=4.0,
        tolerance_um=(0.02, 0.02),
    ),
    Built(
        "coarse",
        ("stage.options.repeatability_um=0.04",),
        "warning",
        error_um=(0.03, 0.05),
        tolerance_um=(0.12, 0.2),
    ),
    Built("in relief", ("simulation.contrast=relief", "camera.exposure_ms=3"), "ok"),
]


@pytest.mark.parametrize("built", BUILT, ids=lambda built: built.name)
def test_finds_what_is_built_in(built: Built, tmp_path: Path) -> None:
    report, sent = check(tmp_path, *built.overrides)
    found = report.measured
    assert report.level == built.level, [verdict.line() for verdict in report.verdicts]
    assert built.backlash_um[0] <= found["backlash_um"] <= built.backlash_um[1]
    assert built.settle_ms[0] <= found["settle_ms"] <= built.settle_ms[1]
    assert built.speed_um_s[0] <= found["speed_um_s"] <= built.speed_um_s[1]
    assert built.error_um[0] <= found["error_um"] <= built.error_um[1]
    assert found["round_trip_ms"] == pytest.approx(built.round_trip_ms, rel=0.01)
    low, high = built.tolerance_um
    assert low <= report.recommended["tolerance_um"] <= high
    assert report.recommended["settle_ms"] >= max(5, found["settle_ms"])
    if built.approach_um is None:
        assert "approach_um" not in report.recommended
    else:
        low, high = built.approach_um
        assert low <= report.recommended["approach_um"] <= high
    assert sent[-1] == 0.0
    assert (min(sent), max(sent)) == (-5, 5)


def test_the_advice_makes_a_rig_that_passes(tmp_path: Path) -> None:
    wrong = ("stage.options.backlash_um=2.6", "stage.options.ringing_um=0.4")
    report, _ = check(tmp_path, *wrong, "stage.settle_ms=0")
    advised = [f"stage.{key}={value}" for key, value in report.recommended.items()]
    assert report.level == "bad"
    again, _ = check(tmp_path, *wrong, *advised)
    assert again.level == "ok", [verdict.line() for verdict in again.verdicts]


def test_the_course_of_a_step_rises_to_its_target(tmp_path: Path) -> None:
    step = check(tmp_path)[0].step
    assert step is not None
    course = step.at([0.0, 0.01, 0.1])
    assert course[0] == pytest.approx(step.from_um)
    assert course[0] < course[1] < course[2] == pytest.approx(0.5, abs=0.05)


class Sticky(SimulatedStage):
    """Stops short now and then, and says so."""

    moves = 0

    def move_to(self, z_um: float) -> None:
        self.moves += 1
        super().move_to(z_um - 0.6 if self.moves % 5 == 0 and z_um > 0 else z_um)


class Dead(SimulatedStage):
    """Counts its steps, but the objective does not move."""

    def objective_um(self, time_ns: int) -> float:
        return 0.3 if time_ns else 0.0


class Slipping(SimulatedStage):
    """Counts its steps, but the objective slips now and then."""

    moves, lost_um = 0, 0.0

    def move_to(self, z_um: float) -> None:
        self.moves += 1
        self.lost_um = 0.8 if self.moves % 4 == 0 else 0.0
        super().move_to(z_um)

    def objective_um(self, time_ns: int) -> float:
        return super().objective_um(time_ns) - self.lost_um


class NeverIdle(SimulatedStage):
    def moving(self) -> bool:
        super().moving()
        return True


class Disconnected(SimulatedStage):
    moves = 0

    def move_to(self, z_um: float) -> None:
        self.moves += 1
        if self.moves == 9:
            raise OSError("device disconnected")
        super().move_to(z_um)


class RunsAway(SimulatedStage):
    moves = 0

    def move_to(self, z_um: float) -> None:
        self.moves += 1
        super().move_to(z_um + (100 if self.moves == 4 else 0))


class IdleTooEarly(SimulatedStage):
    def moving(self) -> bool:
        super().moving()
        return False


class Drops(SimulatedCamera):
    """Skips a number now and then, as a camera that lost a frame does."""

    skipped = 0

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        self.skipped += frame.frame_id % 2 == 1
        return replace(frame, frame_id=frame.frame_id + self.skipped)


class Torn(SimulatedCamera):
    """Fails every other frame."""

    frames = 0

    def trigger(self, timeout_s: float) -> Frame:
        self.frames += 1
        if self.frames % 2 == 0:
            raise DeviceError("incompletely grabbed")
        return super().trigger(timeout_s)


class Silent(SimulatedCamera):
    def trigger(self, timeout_s: float) -> Frame:
        raise DeviceError(f"no frame within {timeout_s:g} s")


def becomes(kind: type[Any]) -> Change:
    def change(devices: Devices) -> None:
        device = devices.stage if issubclass(kind, SimulatedStage) else devices.camera
        device.__class__ = kind

    return change


@dataclass(frozen=True)
class Bad:
    kind: type[Any]
    name: str
    says: str
    level: str = "bad"
    returns: bool = True


BAD = [
    Bad(Sticky, "arrival", "look for friction"),
    Bad(Dead, "image and z", "does not follow z", "warning"),
    Bad(Slipping, "image and z", "does not always move the objective"),
    Bad(NeverIdle, "step", "still moving", returns=False),
    Bad(Disconnected, "backlash", "OSError: device disconnected"),
    Bad(
        RunsAway, "step", "outside the range -5 to 5 µm of the check, and was halted", returns=False
    ),
    Bad(IdleTooEarly, "step", "it reports idle", "warning"),
    Bad(Drops, "frames", "check cable"),
    Bad(Torn, "frames", "incompletely grabbed"),
    Bad(Silent, "frames", "the camera gave no frame: no frame within 2.005 s"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.kind.__name__)
def test_a_bad_device_is_named_and_the_drive_goes_back(bad: Bad, tmp_path: Path) -> None:
    report, sent = check(tmp_path, change=becomes(bad.kind))
    line = text_of(report, bad.name)
    assert bad.says in line, line
    assert level_of(report, bad.name) == bad.level
    assert report.level == bad.level
    assert level_of(report, "return") == ("ok" if bad.returns else "bad")
    assert sent[-1] == 0.0 or not bad.returns


def test_moving_cells_are_no_fixed_specimen(tmp_path: Path) -> None:
    swimming = (
        "simulation.motile=true",
        "simulation.cells=8",
        "simulation.shape=[120, 160]",
        "simulation.separation_um=0",
    )
    report, _ = check(tmp_path, *swimming)
    assert level_of(report, "image and z") == "warning"
    assert "focus a fixed specimen" in text_of(report, "image and z")
    assert "backlash_um" not in report.measured
    assert report.recommended["settle_ms"] == 20


def test_light_that_is_too_strong_or_too_weak_is_told(tmp_path: Path) -> None:
    dark, _ = check(tmp_path, "camera.exposure_ms=0.05")
    bright, _ = check(tmp_path, "camera.exposure_ms=20")
    assert "raise camera.exposure_ms" in text_of(dark, "exposure")
    assert "lower camera.exposure_ms" in text_of(bright, "exposure")


def test_the_range_is_cut_at_the_limits(tmp_path: Path) -> None:
    report, sent = check(tmp_path, "stage.limits_um=[-3, 20]")
    assert level_of(report, "limits") == "warning"
    assert min(sent) == -3
    assert report.measured["backlash_um"] == pytest.approx(0.4, abs=0.1)


@dataclass(frozen=True)
class Refused:
    says: str
    overrides: tuple[str, ...] = ()
    plan: tuple[tuple[str, float], ...] = ()


REFUSED = [
    Refused("less than 1.5 µm from its limit", ("stage.limits_um=[-1, 50]",)),
    Refused("outside its limits 1 to 50", ("stage.limits_um=[1, 50]",)),
    Refused("give --range 1.5 or more", plan=(("half_range_um", 1.0),)),
    Refused("step_um: 0 is out", plan=(("step_um", 0.0),)),
    Refused("half_range_um: nan is out", plan=(("half_range_um", float("nan")),)),
    Refused("seconds: -1 is out", plan=(("seconds", -1.0),)),
    Refused("is not filled in", ("stage.limits_um=[nan, nan]",)),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_what_cannot_be_checked_is_refused_before_the_first_move(
    case: Refused, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=case.says):
        check(tmp_path, *case.overrides, **dict(case.plan))


@pytest.mark.parametrize("after", ["frames", "step", "arrival"])
def test_an_interrupt_brings_the_drive_back(after: str, tmp_path: Path) -> None:
    rig = load_rig("sim", FIXED)
    interrupt = Interrupt()
    with open_rig(rig) as devices:
        plan = CheckPlan(seconds=1e-3, folder=tmp_path, disk_megabytes=4)
        bounds = Bounds.of(devices, rig, plan)
        with pytest.raises(InterruptError, match="stopped by SIGINT"):
            check_rig(
                devices,
                rig,
                plan,
                bounds,
                interrupt,
                lambda verdict: interrupt.request() if verdict.name == after else None,
            )
        assert devices.stage.position_um() == pytest.approx(0, abs=0.05)
