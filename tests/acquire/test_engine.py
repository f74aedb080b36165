"""The engine against devices that misbehave in the ways real ones do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    Camera,
    Clock,
    DeviceError,
    Devices,
    Engine,
    Exposure,
    Frame,
    Interrupt,
    InterruptError,
    Rig,
    StackPlan,
    Stage,
    load_rig,
    open_rig,
)
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_stage import SimulatedStage

START_UM = 7.0


class PlainStage:
    """A drive that takes 10 ms for every move."""

    name = "plain stage"
    limits_um = (-100.0, 100.0)

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.origin = self.target = START_UM
        self.arrival_ns = 0
        self.moves: list[float] = []
        self.moving_s = 0.01

    def position_um(self) -> float:
        return self.target if self.clock.now_ns() >= self.arrival_ns else self.origin

    def move_to(self, z_um: float) -> None:
        self.origin, self.target = self.position_um(), z_um
        self.arrival_ns = self.clock.now_ns() + round(self.moving_s * 1e9)
        self.moves.append(z_um)

    def moving(self) -> bool:
        return self.clock.now_ns() < self.arrival_ns

    def stop(self) -> None:
        self.target = self.position_um()
        self.arrival_ns = 0

    def close(self) -> None:
        pass


class PlainCamera:
    """A camera of noise."""

    name = "plain camera"
    shape = (6, 8)
    bit_depth = 8

    def __init__(self, clock: Clock, stage: PlainStage) -> None:
        self.clock, self.stage = clock, stage
        self.random = np.random.default_rng(0)
        self.frame_id = -1
        self.exposed_at: list[float] = []

    def start(self) -> None:
        self.frame_id = -1

    def trigger(self, timeout_s: float) -> Frame:
        if timeout_s < 0.005:
            raise DeviceError(f"no frame within {timeout_s:g} s")
        self.clock.sleep(0.005)
        self.frame_id += 1
        self.exposed_at.append(self.stage.position_um())
        pixels = self.random.integers(0, 255, self.shape, dtype=np.uint8)
        now = self.clock.now_ns()
        return Frame(pixels, self.frame_id, now, now - 2_500_000, 5000.0)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class NeverArrives(PlainStage):
    def move_to(self, z_um: float) -> None:
        super().move_to(z_um)
        if len(self.moves) == 3:
            self.arrival_ns = 10**30


class ArrivesElsewhere(PlainStage):
    def move_to(self, z_um: float) -> None:
        super().move_to(z_um + (0.3 if len(self.moves) == 4 else 0.0))


class NeverMoves(PlainStage):
    def move_to(self, z_um: float) -> None:
        self.moves.append(z_um)


class IdleTooEarly(PlainStage):
    """Says after no time at all that it has arrived; its position tells the truth."""

    def moving(self) -> bool:
        return False


class NoNumber(PlainStage):
    def position_um(self) -> float:
        return math.nan if len(self.moves) == 4 else super().position_um()


class MovedByHand(PlainStage):
    """Somebody turns the knob while plane 3 is exposed."""

    def position_um(self) -> float:
        turned = len(self.moves) == 4 and self.clock.now_ns() > self.arrival_ns + 22_000_000
        return super().position_um() + (0.25 if turned else 0.0)


class Unplugged(PlainStage):
    def moving(self) -> bool:
        if len(self.moves) >= 4:
            raise OSError("device disconnected")
        return super().moving()


class SameFrameTwice(PlainCamera):
    last: Frame | None = None

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        self.last = self.last if self.frame_id == 2 and self.last else frame
        return self.last if self.frame_id == 2 else frame


class SameIdTwice(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        return replace(super().trigger(timeout_s), frame_id=min(self.frame_id, 1))


class SamePixelsTwice(PlainCamera):
    pixels: np.ndarray[Any, Any] | None = None

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        if self.frame_id == 1:
            self.pixels = frame.pixels
        return replace(frame, pixels=self.pixels) if self.frame_id == 2 else frame


class OneBufferForAll(PlainCamera):
    """Writes every image into the same memory."""

    buffer = np.zeros((6, 8), np.uint8)

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        self.buffer[:] = frame.pixels
        return replace(frame, pixels=self.buffer)


class SkipsAnId(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        return replace(super().trigger(timeout_s), frame_id=self.frame_id + (self.frame_id >= 2))


class NoFrame(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        if self.frame_id == 1:
            self.clock.sleep(timeout_s)
            raise DeviceError(f"no frame within {timeout_s:g} s; check the cable")
        return super().trigger(timeout_s)


class WrongShape(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        return replace(frame, pixels=frame.pixels[:4]) if self.frame_id == 2 else frame


class Colour(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        return replace(frame, pixels=np.dstack([frame.pixels] * 3))


class WrongType(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        return replace(frame, pixels=frame.pixels.astype(float))


class ShiftedBits(PlainCamera):
    bit_depth = 12

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        return replace(frame, pixels=frame.pixels.astype(np.uint16) << 8)


class StaleFrame(PlainCamera):
    """Delivers what it took before the drive had settled."""

    def trigger(self, timeout_s: float) -> Frame:
        frame = super().trigger(timeout_s)
        return replace(frame, time_host_ns=frame.time_host_ns - 20_000_000)


class ClockStandsStill(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        return replace(super().trigger(timeout_s), time_device_ns=12345)


class DriverBug(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        raise KeyError(f"grab {timeout_s}")


class CannotStart(PlainCamera):
    def start(self) -> None:
        raise RuntimeError("the device is controlled by another application")


class UnpluggedCamera(PlainCamera):
    def trigger(self, timeout_s: float) -> Frame:
        if self.frame_id == 1:
            raise DeviceError("the camera was removed")
        return super().trigger(timeout_s)

    def stop(self) -> None:
        raise DeviceError("cannot stop a removed camera")


def devices_of(
    stage: Callable[[Clock], PlainStage] = PlainStage,
    camera: Callable[[Clock, PlainStage], PlainCamera] = PlainCamera,
) -> tuple[Devices, PlainStage, PlainCamera]:
    clock = SimulatedClock()
    made = stage(clock)
    pictures = camera(clock, made)
    return Devices(pictures, made, clock), made, pictures


def engine_of(devices: Devices, interrupt: Interrupt | None = None, **stage: Any) -> Engine:
    return Engine(
        devices,
        CameraTable(driver="test"),
        StageTable(driver="test", **{"timeout_s": 3.0, **stage}),
        interrupt,
    )


PLAN = StackPlan(0.5, 1.0, 10.0)


def test_the_test_devices_speak_the_protocols() -> None:
    devices, stage, camera = devices_of()
    assert isinstance(stage, Stage)
    assert isinstance(camera, Camera)
    assert isinstance(devices.clock, Clock)


def test_every_plane_comes_once_in_order_and_the_drive_goes_back() -> None:
    devices, stage, camera = devices_of()
    engine = engine_of(devices)
    with engine.returning():
        taken = list(engine.expose(PLAN))
    assert [exposure.plane for exposure in taken] == [0, 1, 2, 3, 4]
    assert [exposure.z_requested_um for exposure in taken] == list(PLAN)
    assert [exposure.z_measured_um for exposure in taken] == list(PLAN)
    assert camera.exposed_at == list(PLAN)
    assert stage.position_um() == START_UM


def test_arrives_from_below_with_one_overshoot_at_the_start_and_one_at_the_return() -> None:
    devices, stage, _ = devices_of()
    engine = engine_of(devices, approach_um=2.0)
    with engine.returning():
        list(engine.expose(PLAN))
    assert stage.moves == [7.0, *PLAN, START_UM - 2.0, START_UM]


def test_downwards_every_plane_is_approached_from_below() -> None:
    devices, stage, camera = devices_of()
    engine = engine_of(devices, approach_um=2.0)
    plan = StackPlan(0.5, 0.5, 10.0, downwards=True)
    taken = list(engine.expose(plan))
    assert [exposure.plane for exposure in taken] == [2, 1, 0]
    assert camera.exposed_at == [10.5, 10.0, 9.5]
    assert stage.moves == [8.5, 10.5, 8.0, 10.0, 7.5, 9.5]


def test_every_stack_of_a_series_approaches_anew() -> None:
    devices, stage, _ = devices_of()
    engine = engine_of(devices, approach_um=2.0)
    list(engine.expose(PLAN))
    list(engine.expose(PLAN))
    assert stage.moves == [7.0, *PLAN] * 2


def test_settles_before_each_exposure() -> None:
    devices, stage, _ = devices_of()
    for exposure in engine_of(devices, settle_ms=40.0).expose(PLAN):
        begun_ns = exposure.frame.time_host_ns - 2_500_000
        assert begun_ns - stage.arrival_ns >= 40_000_000


def test_waits_for_a_drive_that_reports_idle_too_early() -> None:
    devices, _, camera = devices_of(stage=IdleTooEarly)
    list(engine_of(devices).expose(PLAN))
    assert camera.exposed_at == list(PLAN)


@dataclass(frozen=True)
class Fault:
    says: str
    planes: int
    stage: type[PlainStage] = PlainStage
    camera: type[PlainCamera] = PlainCamera
    stays: str = ""


FAULTS = [
    Fault(r"plane 2 of 5 .*not arrived at 9.5 µm after 3 s.*still moving", 1, stage=NeverArrives),
    Fault(
        r"plane 4 of 5 .*came to rest at 10.800 µm",
        3,
        stage=ArrivesElsewhere,
        stays="not brought back to 7.000 µm (the drive stands at 10.800 µm, but 10.000 µm was last",
    ),
    Fault(
        r"plane 3 of 5 .*gives nan as its position",
        2,
        stage=NoNumber,
        stays="could not return to 7.000 µm (the drive gives nan as its position; check its "
        "connection); its position cannot be read",
    ),
    Fault(
        r"plane 3 of 5 .*moved during the exposure",
        2,
        stage=MovedByHand,
        stays="µm, but 10.000 µm was last read",
    ),
    Fault(r"plane 3 of 5 .*frame 1 twice", 2, camera=SameFrameTwice),
    Fault(r"plane 3 of 5 .*frame 1 twice", 2, camera=SameIdTwice),
    Fault(r"plane 3 of 5 .*same image twice", 2, camera=SamePixelsTwice),
    Fault(r"plane 2 of 5 .*same image twice", 1, camera=OneBufferForAll),
    Fault(r"plane 3 of 5 .*frame 3 came after frame 1", 2, camera=SkipsAnId),
    Fault(r"plane 3 of 5 .*no frame within 2.005 s", 2, camera=NoFrame),
    Fault(r"plane 3 of 5 .*uint8\[4, 8\], not uint8\[6, 8\]", 2, camera=WrongShape),
    Fault(r"plane 1 of 5 .*uint8\[6, 8, 3\], not uint8\[6, 8\]", 0, camera=Colour),
    Fault(r"plane 1 of 5 .*float64\[6, 8\], not uint8", 0, camera=WrongType),
    Fault(r"plane 1 of 5 .*more than 12 bits hold", 0, camera=ShiftedBits),
    Fault(r"plane 1 of 5 .*20.0 ms before the drive had settled", 0, camera=StaleFrame),
    Fault(r"plane 2 of 5 .*clock did not advance", 1, camera=ClockStandsStill),
    Fault(r"plane 1 of 5 .*KeyError: 'grab 2.005'", 0, camera=DriverBug),
    Fault(r"cannot start: RuntimeError: the device is controlled", 0, camera=CannotStart),
    Fault(r"plane 3 of 5 .*the camera was removed", 2, camera=UnpluggedCamera),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.stage.__name__}-{f.camera.__name__}")
def test_a_fault_stops_the_run_names_the_plane_and_the_drive_goes_back(fault: Fault) -> None:
    devices, stage, _ = devices_of(fault.stage, fault.camera)
    engine = engine_of(devices)
    taken: list[Exposure] = []
    with pytest.raises(DeviceError, match=fault.says) as caught, engine.returning():
        taken.extend(engine.expose(PLAN))
    assert len(taken) == fault.planes
    assert "\n" not in str(caught.value)
    if fault.stays:
        assert fault.stays in str(caught.value)
        assert min(stage.moves[1:]) > START_UM
    else:
        assert "the drive is back at 7.000 µm" in str(caught.value)
        assert stage.position_um() == START_UM


def displaced(stage: PlainStage, by_um: float) -> None:
    """Let the position read so much more: by a new count, or by a hand."""
    stage.origin = stage.target = stage.position_um() + by_um


@pytest.mark.parametrize("by_um", [-10.0, 1.5, 0.15])
def test_a_position_that_jumps_between_two_planes_stops_the_run(by_um: float) -> None:
    devices, stage, _ = devices_of()
    engine = engine_of(devices)
    taken: list[Exposure] = []

    def run() -> None:
        with engine.returning():
            for exposure in engine.expose(PLAN):
                taken.append(exposure)
                if exposure.plane == 2:
                    displaced(stage, by_um)

    with pytest.raises(DeviceError) as caught:
        run()
    assert len(taken) == 3
    assert str(caught.value) == (
        f"plane 4 of 5 (z = 10.5 µm): the drive stands at {10 + by_um:.3f} µm, but 10.000 µm was "
        "last read: its controller was restarted, its counter was set, or it was moved by hand; "
        "the drive was not brought back to 7.000 µm; check its real position before anything "
        "moves"
    )
    assert stage.moves[-1] == 10.0


def test_drift_and_noise_within_the_tolerance_stop_nothing() -> None:
    class Noisy(PlainStage):
        noise = np.random.default_rng(0)

        def position_um(self) -> float:
            return super().position_um() + float(self.noise.normal(scale=0.035))

    devices, stage, _ = devices_of(stage=Noisy)
    engine = engine_of(devices)
    with engine.returning():
        for exposure in engine.expose(StackPlan(0.5, 30.0, 10.0)):
            if exposure.plane % 4 == 0:
                stage.origin = stage.target = stage.target + 0.04


def test_a_drive_moved_after_the_last_plane_stays_there() -> None:
    devices, stage, _ = devices_of()
    engine = engine_of(devices)
    says = r"all planes were taken, but the drive was not brought back .*at 14.000 µm, but 11.000"

    def run() -> None:
        with engine.returning():
            list(engine.expose(PLAN))
            displaced(stage, 3.0)

    with pytest.raises(DeviceError, match=says):
        run()
    assert stage.moves[-1] == 11.0


def test_the_way_back_is_direct_where_the_approach_is_closed() -> None:
    class Floor(PlainStage):
        """Its controller has a lower limit that it does not tell."""

        def move_to(self, z_um: float) -> None:
            if z_um < START_UM - 1:
                raise DeviceError("refused: the value is out of range")
            super().move_to(z_um)

    devices, stage, _ = devices_of(stage=Floor)
    engine = engine_of(devices)
    with engine.returning():
        list(engine.expose(PLAN))
    assert stage.position_um() == START_UM


def test_a_drive_that_began_a_little_outside_its_limits_goes_back_to_the_limit() -> None:
    devices, stage, _ = devices_of()
    engine = engine_of(devices, limits_um=(START_UM + 0.06, 50.0), approach_um=1.0)
    engine.check(PLAN)
    with engine.returning():
        list(engine.expose(PLAN))
    assert stage.position_um() == pytest.approx(START_UM + 0.06)


def test_a_drive_that_does_not_move_is_an_error() -> None:
    devices, *_ = devices_of(stage=NeverMoves)
    with pytest.raises(DeviceError, match=r"plane 1 of 5 .*came to rest at 7.000 µm"):
        list(engine_of(devices).expose(PLAN))


def test_a_drive_that_cannot_be_brought_back_is_reported_where_it_is() -> None:
    devices, *_ = devices_of(stage=Unplugged)
    engine = engine_of(devices)
    says = r"OSError: device disconnected; the drive could not return to 7.000 µm .*it is at 9.500"
    with pytest.raises(DeviceError, match=says), engine.returning():
        list(engine.expose(PLAN))


def test_every_fault_ends_within_its_time_outs() -> None:
    devices, *_ = devices_of(stage=NeverArrives)
    begun = devices.clock.now_ns()
    with pytest.raises(DeviceError):
        list(engine_of(devices, timeout_s=3.0).expose(PLAN))
    assert devices.clock.now_ns() - begun < 3.5e9


def test_constant_images_are_no_duplicates() -> None:
    class Dark(PlainCamera):
        def trigger(self, timeout_s: float) -> Frame:
            return replace(super().trigger(timeout_s), pixels=np.zeros(self.shape, np.uint8))

    devices, *_ = devices_of(camera=Dark)
    assert len(list(engine_of(devices).expose(PLAN))) == 5


def test_a_camera_without_noise_can_be_allowed() -> None:
    devices, *_ = devices_of(camera=SamePixelsTwice)
    engine = Engine(
        devices, CameraTable(driver="test", allow_identical=True), StageTable(driver="test")
    )
    assert len(list(engine.expose(PLAN))) == 5


@dataclass(frozen=True)
class Refused:
    says: str
    plan: StackPlan = PLAN
    stage: tuple[tuple[str, Any], ...] = ()


REFUSED = [
    Refused("leave the drive's limits -100 to 100", StackPlan(0.5, 1.0, 99.5)),
    Refused("leave the drive's limits -100 to 100", StackPlan(0.5, 1.0, -98.0)),
    Refused("leave the drive's limits 8 to 20", stage=(("limits_um", (8.0, 20.0)),)),
    Refused("outside its limits 7.5 to 20", stage=(("limits_um", (7.5, 20.0)), ("approach_um", 1))),
    Refused("lies outside the drive's", stage=(("limits_um", (200.0, 300.0)),)),
    Refused("is too large for planes 0.5 µm apart", stage=(("tolerance_um", 0.25),)),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_impossible_plans_are_refused_before_the_first_move(case: Refused) -> None:
    devices, stage, _ = devices_of()
    with pytest.raises(SettingError, match=case.says):
        engine_of(devices, **dict(case.stage)).check(case.plan)
    assert stage.moves == []


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupt_ends_the_run_and_the_drive_goes_back(after: int) -> None:
    devices, stage, _ = devices_of()
    interrupt = Interrupt()
    engine = engine_of(devices, interrupt)
    taken: list[Exposure] = []

    def run() -> None:
        with engine.returning() as start_um:
            assert start_um == START_UM
            if after == 0:
                interrupt.request()
            for exposure in engine.expose(PLAN):
                taken.append(exposure)
                if len(taken) == after:
                    interrupt.request()

    with pytest.raises(InterruptError, match="stopped by SIGINT at plane") as caught:
        run()
    assert len(taken) == after
    assert caught.value.exit_code == 130
    assert str(caught.value).endswith("the drive is back at 7.000 µm")
    assert stage.position_um() == START_UM


def test_a_drive_that_cannot_return_after_a_good_run_is_an_error() -> None:
    class Sticks(PlainStage):
        def move_to(self, z_um: float) -> None:
            super().move_to(z_um if len(self.moves) < 6 else self.position_um())

    devices, *_ = devices_of(stage=Sticks)
    engine = engine_of(devices)
    says = r"all planes were taken, but .*it is at 11.000 µm"
    with pytest.raises(FgafError, match=says), engine.returning():
        list(engine.expose(PLAN))


class TestSimulatedDevices:
    def test_the_approach_takes_the_play_out(self, small: tuple[str, ...]) -> None:
        """The read-back sees the motor only: without the approach the objective hangs behind."""
        errors = {}
        for approach_um in (0.0, 2.0):
            with open_rig(load_rig("sim", (*small, f"stage.approach_um={approach_um}"))) as devices:
                assert isinstance(devices.stage, SimulatedStage)
                engine = engine_of_rig(devices, load_rig("sim", small), approach_um)
                errors[approach_um] = [
                    abs(devices.stage.objective_um(exposure.frame.time_host_ns - 1) - z)
                    for z, exposure in zip(
                        StackPlan(0.1, 0.2, -5), engine.expose(StackPlan(0.1, 0.2, -5)), strict=True
                    )
                ]
        assert max(errors[0.0]) > 0.3
        assert max(errors[2.0]) < 0.06

    def test_the_same_seed_gives_the_same_stack(self, rig: Rig) -> None:
        stacks = []
        for _ in range(2):
            with open_rig(rig) as devices:
                engine = Engine(devices, rig.camera, rig.stage)
                stacks.append(list(engine.expose(StackPlan(0.5, 1.0))))
        for first, second in zip(*stacks, strict=True):
            np.testing.assert_array_equal(first.frame.pixels, second.frame.pixels)
            assert first.z_measured_um == second.z_measured_um

    def test_truth_moves_with_the_cells_and_time_with_the_drive(
        self, small: tuple[str, ...]
    ) -> None:
        rig = load_rig("sim", (*small, "simulation.shape=[400, 400]", "simulation.margin_um=25"))
        with open_rig(rig) as devices:
            taken = list(Engine(devices, rig.camera, rig.stage).expose(StackPlan(0.5, 1.0)))
        times = np.diff([exposure.frame.time_host_ns for exposure in taken]) / 1e6
        assert np.all((times > 40) & (times < 60))
        truths = [exposure.frame.truth for exposure in taken]
        assert all(truth is not None and truth.cells for truth in truths)
        assert len({truth.cells[0].y_px for truth in truths if truth is not None}) == 5

    def test_realtime_keeps_pace_with_the_wall_clock(self) -> None:
        import time

        clock = SimulatedClock(realtime=True)
        begun = time.perf_counter()
        clock.sleep(0.05)
        assert time.perf_counter() - begun >= 0.045

    def test_outside_its_travel_the_drive_refuses(self, rig: Rig) -> None:
        with open_rig(rig) as devices, pytest.raises(DeviceError, match="outside the drive's"):
            devices.stage.move_to(2000.0)


def engine_of_rig(devices: Devices, rig: Rig, approach_um: float) -> Engine:
    stage = rig.stage.model_copy(update={"approach_um": approach_um, "tolerance_um": 0.04})
    return Engine(devices, rig.camera, stage)
