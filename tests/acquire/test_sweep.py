"""Sweeps: every plane has its frame near it, its z is right, and anything doubtful is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    DeviceError,
    Devices,
    Exposure,
    Frame,
    IncompleteFrameError,
    Interrupt,
    InterruptError,
    RampStage,
    Rig,
    StackPlan,
    StreamingCamera,
    Sweep,
    SweepSettings,
    load_rig,
    open_rig,
    record_stacks,
)
from fgaf.acquire.commands.main import main
from fgaf.acquire.drivers.simulated_stage import SimulatedStage
from fgaf.acquire.ramp import Ramp, Reading
from fgaf.dataset import RawStack

PLAN = StackPlan(0.5, 2.0, 3.0)
TALL = ("simulation.shape=[1200, 16]", "simulation.cells=0", "simulation.debris=0")
EMPTY = (*TALL, "simulation.round_cells=0")


@pytest.fixture
def rig() -> Rig:
    """The simulated rig at its full 41 frames per second, with a narrow, empty field."""
    return load_rig("sim", EMPTY)


class Around:
    """A device with some of its members replaced."""

    def __init__(self, device: Any, **instead: Any) -> None:
        self._device = device
        self.__dict__.update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def sweep_of(devices: Devices, rig: Rig, interrupt: Interrupt | None = None, **how: Any) -> Sweep:
    return Sweep(devices, rig.camera, rig.stage, SweepSettings(**how), interrupt)


def test_the_simulated_devices_can_sweep(rig: Rig) -> None:
    with open_rig(rig) as devices:
        assert isinstance(devices.camera, StreamingCamera)
        assert isinstance(devices.stage, RampStage)


@dataclass(frozen=True)
class Drive:
    name: str
    overrides: tuple[str, ...] = ()
    frames_per_plane: int = 1


DRIVES = [
    Drive("as built"),
    Drive("slow answers", ("stage.options.reply_ms=8",)),
    Drive("slow to start", ("stage.options.acceleration_um_s2=150",)),
    Drive("ends anywhere", ("stage.options.repeatability_um=0.03",)),
    Drive("long exposure", ("camera.exposure_ms=24",)),
    Drive("denser", (), 3),
]


@pytest.mark.parametrize("drive", DRIVES, ids=lambda drive: drive.name)
def test_every_plane_has_a_frame_near_it_whose_z_is_right(drive: Drive) -> None:
    rig = load_rig("sim", (*EMPTY, *drive.overrides))
    with open_rig(rig) as devices:
        sweep = sweep_of(devices, rig, frames_per_plane=drive.frames_per_plane)
        sweep.check(PLAN)
        with sweep.returning():
            taken = list(sweep.expose(PLAN))
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        true = [stage.objective_um(exposure.frame.time_host_ns) for exposure in taken]
        assert abs(stage.position_um()) < 0.2
    measured = np.array([exposure.z_measured_um for exposure in taken])
    assert [exposure.plane for exposure in taken] == list(range(9))
    assert [exposure.z_requested_um for exposure in taken] == list(PLAN)
    assert np.abs(measured - list(PLAN)).max() <= 0.125
    assert np.abs(measured - true).max() < 0.02
    ids = np.diff([exposure.frame.frame_id for exposure in taken])
    assert (ids == drive.frames_per_plane).all()


def test_nine_planes_take_nine_frame_times(rig: Rig) -> None:
    with open_rig(rig) as devices:
        taken = list(sweep_of(devices, rig).expose(PLAN))
        interval_s = devices.camera.frame_interval_s  # type: ignore[attr-defined]
    took_s = (taken[-1].frame.time_host_ns - taken[0].frame.time_host_ns) / 1e9
    assert interval_s == pytest.approx(0.024)
    assert took_s + 0.005 <= 1.1 * 9 * interval_s


def test_the_next_sweep_meets_the_planes_better(rig: Rig) -> None:
    with open_rig(rig) as devices:
        sweep = sweep_of(devices, rig)
        off = []
        for _ in range(2):
            taken = list(sweep.expose(PLAN))
            off.append(max(abs(each.z_measured_um - each.z_requested_um) for each in taken))
    assert off[1] < 0.02 < off[0]


@dataclass(frozen=True)
class Refused:
    says: str
    plan: StackPlan = PLAN
    how: tuple[tuple[str, Any], ...] = ()
    overrides: tuple[str, ...] = ()


REFUSED = [
    Refused("and passed up to 1002.* leave the drive's limits", StackPlan(0.5, 1.0, 999)),
    Refused("approached from -1002", StackPlan(0.5, 1.0, -999)),
    Refused("give one below 0.25", how=(("tolerance_um", 0.3),)),
    Refused("tolerance_um: 0 is out", how=(("tolerance_um", 0.0),)),
    Refused("a sweep goes upwards", StackPlan(0.5, 1.0, downwards=True)),
    Refused("frames_per_plane: 0 is out", how=(("frames_per_plane", 0),)),
    Refused(
        "GB in memory",
        StackPlan(0.01, 400, 0),
        overrides=("simulation.shape=[1200, 1920]",),
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_impossible_sweeps_are_refused_before_the_first_move(case: Refused) -> None:
    rig = load_rig("sim", (*EMPTY, *case.overrides))
    with open_rig(rig) as devices:
        before = devices.clock.now_ns()
        with pytest.raises(SettingError, match=case.says):
            sweep_of(devices, rig, **dict(case.how)).check(case.plan)
        assert devices.clock.now_ns() - before < 5_000_000


@pytest.mark.parametrize(
    ("missing", "says"),
    [("stage", "cannot keep a set speed; use acq stack"), ("camera", "cannot run free")],
)
def test_a_rig_that_cannot_sweep_is_told_in_one_line(missing: str, says: str, rig: Rig) -> None:
    members = ("name", "shape", "bit_depth", "limits_um", "position_um", "move_to", "trigger")
    with open_rig(rig) as devices:
        plain = type("Plain", (), {})()
        for member in members:
            if hasattr(getattr(devices, missing), member):
                setattr(plain, member, getattr(getattr(devices, missing), member))
        with pytest.raises(SettingError, match=says):
            sweep_of(replace(devices, **{missing: plain}), rig)


def test_stamps_that_are_too_vague_are_refused(rig: Rig) -> None:
    with open_rig(rig) as devices:
        vague = replace(devices, camera=Around(devices.camera, stamp_error_s=0.024))
        with pytest.raises(
            SettingError,
            match=r"an error of up to 24 ms, which is 0.5 µm "
            ".*-per-plane 4",
        ):
            sweep_of(vague, rig).check(PLAN)
        sweep_of(vague, rig, frames_per_plane=4).check(PLAN)


class Lossy(Around):
    """Its n-th frame of all is not what it should be."""

    def __init__(self, camera: Any, number: int, change: Callable[[Frame], Frame | None]) -> None:
        super().__init__(camera)
        self._left, self._change = number, change

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame: Frame | None = self._device.next_frame(timeout_s)
        if frame is None:
            return None
        self._left -= 1
        return self._change(frame) if self._left == 0 else frame


def incomplete(_frame: Frame) -> Frame:
    raise IncompleteFrameError("half a frame came")


def unplugged(_frame: Frame) -> Frame:
    raise DeviceError("the camera was removed")


@dataclass(frozen=True)
class Fault:
    name: str
    says: str
    change: Callable[[Frame], Frame | None] | None = None
    stage: dict[str, Any] | None = None


class Stray:
    """Answers that stray from the ramp, as when a hand turns the knob."""

    def __init__(self, stage: SimulatedStage) -> None:
        self._stage, self._asked = stage, 0

    def __call__(self) -> float:
        self._asked += 1
        return self._stage.position_um() + (0.3 if self._asked > 150 else 0.0)


FAULTS = [
    Fault("skipped", "frame 7 came after frame 5", lambda frame: replace(frame, frame_id=7)),
    Fault("repeated", "frame 5 twice", lambda frame: replace(frame, frame_id=5)),
    Fault("shape", r"uint8\[4, 16\], not", lambda frame: replace(frame, pixels=frame.pixels[:4])),
    Fault("unplugged", "the camera was removed", unplugged),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_stream_stops_the_sweep(fault: Fault, rig: Rig) -> None:
    assert fault.change is not None
    with open_rig(rig) as devices:
        broken = replace(devices, camera=Lossy(devices.camera, 7, fault.change))
        sweep = sweep_of(broken, rig)
        taken: list[Exposure] = []
        with pytest.raises(DeviceError, match=fault.says) as caught, sweep.returning():
            taken.extend(sweep.expose(PLAN))
    assert taken == []
    assert "the drive is back at 0.000 µm" in str(caught.value)


def test_an_incomplete_frame_repeats_the_ramp(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "fgaf")
    with open_rig(rig) as devices:
        sweep = sweep_of(replace(devices, camera=Lossy(devices.camera, 7, incomplete)), rig)
        taken = list(sweep.expose(PLAN))
    assert sweep.retried == 1
    story = [
        r"ramp 1: from \S+ to \S+ µm at \S+ µm/s",
        "the sweep is repeated",
        "ramp 2: from",
        r"ramp 2: \d+ frames, \d+ positions; \S+ µm/s, up to \S+ µm",
        r"frame \d+, exposed at \d+ ns",
        "plane 1 of 9",
        "plane 9 of 9",
    ]
    assert re.search(".*".join(story), caplog.text, re.DOTALL), caplog.text
    assert np.diff([exposure.frame.frame_id for exposure in taken]).tolist() == [1] * 8


def test_incomplete_frames_without_end_are_an_error(rig: Rig) -> None:
    class AllIncomplete(Around):
        def next_frame(self, timeout_s: float) -> Frame | None:
            frame: Frame | None = self._device.next_frame(timeout_s)
            return incomplete(frame) if frame is not None else None

    with open_rig(rig) as devices:
        sweep = sweep_of(replace(devices, camera=AllIncomplete(devices.camera)), rig)
        with pytest.raises(DeviceError, match=r"half a frame came \(after 2 more ramps\)"):
            list(sweep.expose(PLAN))


@pytest.mark.parametrize("late_s", [0.008, 0.08], ids=["vague", "few answers"])
def test_a_ramp_in_which_the_computer_was_busy_is_replaced(late_s: float, rig: Rig) -> None:
    """One whose answers all came late; without end it is an error that says so."""
    with open_rig(rig) as devices:
        ramps: list[float] = []

        def ramp_to(z_um: float, speed_um_s: float) -> None:
            ramps.append(z_um)
            devices.stage.ramp_to(z_um, speed_um_s)  # type: ignore[attr-defined]

        def position_um() -> float:
            wait_s = late_s if 0 < len(ramps) <= busy_ramps else 0.0
            devices.clock.sleep(wait_s)
            here = devices.stage.position_um()
            devices.clock.sleep(wait_s)
            return here

        late = replace(
            devices, stage=Around(devices.stage, position_um=position_um, ramp_to=ramp_to)
        )
        busy_ramps = 1
        sweep = sweep_of(late, rig)
        assert len(list(sweep.expose(PLAN))) == len(PLAN)
        assert sweep.ramps >= 2
        busy_ramps = 99
        with pytest.raises(DeviceError, match=r"was read \d times|the drive answers in"):
            list(sweep_of(late, rig, ramps=2).expose(PLAN))


def test_a_stalled_camera_ends_the_sweep(rig: Rig) -> None:
    with open_rig(rig) as devices:
        silent = Around(devices.camera, next_frame=lambda timeout_s: devices.clock.sleep(timeout_s))
        begun = devices.clock.now_ns()
        with pytest.raises(DeviceError, match="gave no frame for"):
            list(sweep_of(replace(devices, camera=silent), rig).expose(PLAN))
        assert devices.clock.now_ns() - begun < 4e9


def test_a_hand_on_the_drive_ends_the_sweep(rig: Rig) -> None:
    with open_rig(rig) as devices:
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        turned = Around(stage, position_um=Stray(stage))
        sweep = sweep_of(replace(devices, stage=turned), rig)
        says = r"0\.\d+ µm from a constant speed.*not brought back to 0.000 µm; check"
        with pytest.raises(DeviceError, match=says), sweep.returning():
            list(sweep.expose(PLAN))


def test_a_counter_that_is_set_during_a_ramp_ends_the_sweep(rig: Rig) -> None:
    """The new count lies between the ramp's ends, so only the jump itself shows."""
    with open_rig(rig) as devices:
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        sent: list[float] = []

        def ramp_to(z_um: float, speed_um_s: float) -> None:
            sent.append(z_um)
            stage.ramp_to(z_um, speed_um_s)

        def position_um() -> float:
            here = stage.position_um()
            return here - 1.5 if sent and here > 4.0 else here

        counting = Around(stage, position_um=position_um, ramp_to=ramp_to)
        sweep = sweep_of(replace(devices, stage=counting), rig)
        says = (
            r"stands at 2\.\d+ µm, but \d\.\d+ µm was last read.*not brought back to 0.000 µm; "
            "check"
        )
        with pytest.raises(DeviceError, match=says), sweep.returning():
            list(sweep.expose(PLAN))
        assert stage.objective_um(devices.clock.now_ns()) > 4.0


def test_a_drive_that_stops_half_way_ends_the_sweep(rig: Rig) -> None:
    with open_rig(rig) as devices:
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        stuck = Around(stage, ramp_to=lambda _z, speed: stage.ramp_to(2.5, speed))
        begun = devices.clock.now_ns()
        with pytest.raises(DeviceError, match=r"has not passed 6 µm"):
            list(sweep_of(replace(devices, stage=stuck), rig).expose(PLAN))
        assert devices.clock.now_ns() - begun < 12e9


def test_slow_answers_are_refused_with_the_mend(rig: Rig) -> None:
    rig = load_rig("sim", (*EMPTY, "stage.options.reply_ms=20"))
    with open_rig(rig) as devices:
        with pytest.raises(DeviceError, match=r"known to 0.21 µm only; give --frames-per-plane 2"):
            list(sweep_of(devices, rig).expose(PLAN))
        assert len(list(sweep_of(devices, rig, frames_per_plane=2).expose(PLAN))) == 9


def test_a_drive_that_keeps_another_speed_is_corrected(rig: Rig) -> None:
    with open_rig(rig) as devices:
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        fast = Around(stage, ramp_to=lambda z, speed: stage.ramp_to(z, 1.3 * speed))
        sweep = sweep_of(replace(devices, stage=fast), rig)
        taken = list(sweep.expose(PLAN))
    assert sweep.ramps == 2
    assert max(abs(each.z_measured_um - each.z_requested_um) for each in taken) < 0.05


def test_a_plane_that_is_never_met_is_an_error(rig: Rig) -> None:
    with open_rig(rig) as devices:
        stage = devices.stage
        assert isinstance(stage, SimulatedStage)
        hasty = Around(stage, ramp_to=lambda z, _speed: stage.ramp_to(z, 60.0))
        with pytest.raises(DeviceError, match=r"has no frame within 0.125 µm in 4 ramps"):
            list(sweep_of(replace(devices, stage=hasty), rig).expose(PLAN))


def test_an_interrupt_ends_a_sweep(rig: Rig) -> None:
    interrupt = Interrupt()

    def stop(frame: Frame) -> Frame:
        interrupt.request()
        return frame

    with open_rig(rig) as devices:
        pressing = replace(devices, camera=Lossy(devices.camera, 7, stop))
        sweep = sweep_of(pressing, rig, interrupt)
        says = r"stopped by SIGINT at sweep from 1 to 5 µm; the drive is back at 0.000"
        with pytest.raises(InterruptError, match=says), sweep.returning():
            list(sweep.expose(PLAN))


def test_a_ramp_needs_answers() -> None:
    readings = [Reading(n, n, float(n)) for n in range(3)]
    with pytest.raises(DeviceError, match="position was read 3 times"):
        Ramp.fit(readings)
    with pytest.raises(DeviceError, match="did not move up"):
        Ramp.fit([Reading(n * 1000, n * 1000, -float(n)) for n in range(5)])


def test_a_swept_file_is_a_stack_like_any_other(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "x.stack.h5"
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [path], method=sweep_of(devices, rig))
    with RawStack.open(path) as stack:
        stack.verify()
        assert stack.header.complete
        assert stack.n_planes == 9
        assert np.all(np.diff(stack.z_um) > 0)
        assert stack.truth() is not None


def test_a_broken_sweep_leaves_nothing(rig: Rig, tmp_path: Path) -> None:
    with open_rig(rig) as devices:
        broken = replace(devices, camera=Lossy(devices.camera, 7, unplugged))
        with pytest.raises(FgafError, match="no plane was kept; the drive is back"):
            record_stacks(
                broken, rig, PLAN, [tmp_path / "x.stack.h5"], method=sweep_of(broken, rig)
            )
    assert list(tmp_path.iterdir()) == []


def test_the_command_sweeps_and_keeps_all_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in EMPTY for word in ("--set", setting)]
    words = ["sweep", *settings, "--out", ".", "--name", "x", "--range", "1", "--keep", "all"]
    done = CliRunner().invoke(main, [*words, "--frames-per-plane", "2"])
    assert done.exit_code == 0, done.stderr
    first, planes, how, wrote, _ = done.stdout.splitlines()
    assert first == "writing x.stack.h5"
    assert planes.startswith("9 planes, 0.25 µm apart")
    assert how.startswith("in one ramp of 10.42 µm/s, a frame every 24 ms")
    assert wrote == "wrote 1 stack of 9 planes: x.stack.h5"
    with RawStack.open(Path("x.stack.h5")) as stack:
        assert np.diff(stack.planes["frame_id"]).tolist() == [1] * 8
