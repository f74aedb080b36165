"""A stack in one ramp: the drive moves, the camera runs free, and z follows from time stamps."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from fgaf.acquire.control.drive import Drive, OnDrive
from fgaf.acquire.control.engine import Exposure, log_exposure
from fgaf.acquire.control.error_context import error_context
from fgaf.acquire.control.frames import FrameCheck, stopping
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import (
    Camera,
    DeviceError,
    Devices,
    Frame,
    IncompleteFrameError,
    RampStage,
    Stage,
    StreamingCamera,
    TrialRampStage,
)
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.plan import StackPlan
from fgaf.acquire.ramp import FewReadingsError, Ramp, Reading
from fgaf.base.bounds import FramesPerPlane, Repeats, ToleranceUm, require_bounded
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_LARGEST_BYTES = 2 << 30
_SAME_SPEED = 2e-3
_FASTEST = 5.0


@dataclass(frozen=True)
class SweepSettings:
    """Settings of a sweep.

    Attributes
    ----------
    frames_per_plane
        Frames exposed per step of the drive: 1 is fastest, more is slower and closer to the planes.
    tolerance_um
        Largest distance between a plane and its frame; None for a quarter of a step.
    ramps
        Maximum number of ramps until every plane has its frame. The first one measures how long the
        drive takes to start and its real speed; the next ones start at the right moment. They also
        replace one in which the computer was busy.
    """

    frames_per_plane: FramesPerPlane = 1
    tolerance_um: ToleranceUm | None = None
    ramps: Repeats = 4

    def __post_init__(self) -> None:
        require_bounded(self)


class Sweep(OnDrive):
    """Takes the planes of a plan in one ramp of the drive, with open devices.

    Parameters
    ----------
    devices
        Camera, drive and clock. Every wait uses the clock and is finite.
    camera, stage
        Their settings.
    settings
        Settings of the sweep.
    interrupt
        Checked in every wait.

    Attributes
    ----------
    retried
        Number of ramps repeated because of an incomplete frame.
    ramps
        Number of ramps so far.
    last
        The ramp that the last stack came from.

    Raises
    ------
    SettingError
        The camera cannot run free, or the drive cannot move at a set speed.
    """

    def __init__(
        self,
        devices: Devices,
        camera: CameraTable,
        stage: StageTable,
        settings: SweepSettings,
        interrupt: Interrupt | None = None,
    ) -> None:
        if not isinstance(devices.camera, StreamingCamera):
            raise SettingError(f"{_unfit(devices.camera, 'cannot run free')}; use acq stack")
        if not isinstance(devices.stage, RampStage):
            raise SettingError(f"{_unfit(devices.stage, 'cannot keep a set speed')}; use acq stack")
        self.retried = self.ramps = 0
        self.last: Ramp | None = None
        self._camera, self._stage, self._clock = devices.camera, devices.stage, devices.clock
        self._settings, self._shots = settings, camera
        self._frames = FrameCheck(devices.camera, camera)
        self._drive = Drive(devices.stage, devices.clock, stage, interrupt or Interrupt())
        self._interval_s = devices.camera.frame_interval_s
        self._lag_s = 0.0
        self._faster = self._expected = 1.0

    def speed_um_s(self, plan: StackPlan) -> float:
        """Speed at which the camera takes the requested number of frames per step."""
        return plan.step_um / (self._interval_s * self._settings.frames_per_plane)

    def describe(self, plan: StackPlan) -> str:
        """Describe the speed and its effect on z in one line."""
        speed = self.speed_um_s(plan)
        return (
            f"in one ramp of {speed:.4g} µm/s, a frame every "
            f"{self._interval_s * 1e3:.3g} ms; each spans "
            f"{speed * self._shots.exposure_ms / 1e3:.2g} µm of z and lies within "
            f"{self._tolerance_um(plan):.2g} µm of its plane"
        )

    def check(self, plan: StackPlan) -> None:
        """Refuse a plan that this rig cannot sweep, before anything moves.

        Raises
        ------
        SettingError
            The ramp would leave the limits or go downwards, its frames would not fit into memory,
            or their z would be too uncertain.
        """
        if plan.downwards:
            raise SettingError("a sweep goes upwards only, because of backlash; use acq stack")
        run_um = self._run_um(plan)
        self._drive.check(plan, below_um=run_um, above_um=run_um)
        tolerance_um = self._tolerance_um(plan)
        plan.check_tolerance(tolerance_um, "give one")
        unsure_um = self.speed_um_s(plan) * self._camera.stamp_error_s
        if unsure_um > tolerance_um:
            raise SettingError(
                f"the camera's time stamps have an error of up to "
                f"{self._camera.stamp_error_s * 1e3:.2g} ms, which is {unsure_um:.2g} µm of z; "
                f"{self._slower(unsure_um, tolerance_um)}"
            )
        per_um = self._settings.frames_per_plane / plan.step_um
        frames = (2 * plan.half_range_um + 2 * run_um) * per_um
        n_bytes = frames * math.prod(self._camera.shape) * (1 + (self._camera.bit_depth > 8))
        if n_bytes > _LARGEST_BYTES:
            raise SettingError(
                f"a sweep of {frames:.0f} frames keeps {n_bytes / 1e9:.1f} GB in memory, at most "
                f"{_LARGEST_BYTES / 1e9:.1f} GB are allowed; choose a smaller range or region"
            )

    def expose(self, plan: StackPlan) -> Generator[Exposure, None, None]:
        """Take every plane of `plan`, lowest first, from a ramp with a frame at each plane.

        Yields
        ------
        Exposure
            One for each plane, in order, without gaps.

        Raises
        ------
        DeviceError
            No ramp has a frame at every plane, or frames or their z may be wrong.
        InterruptError
            A stop was requested.
        """
        incomplete = 0
        missed = ""
        for _ in range(self._settings.ramps + self._shots.retries):
            try:
                with error_context(
                    f"sweep from {plan.z_um(0):.6g} to {plan.z_um(len(plan) - 1):.6g} µm"
                ):
                    try:
                        frames, ramp = self._take(plan)
                        chosen, missed = self._choose(plan, frames, ramp)
                    except FewReadingsError as error:
                        missed = str(error)
            except DeviceError as error:
                if not isinstance(error.__cause__, IncompleteFrameError):
                    raise
                incomplete += 1
                if incomplete > self._shots.retries:
                    raise DeviceError(
                        f"{error} (after {self._shots.retries} more ramps)"
                    ) from error
                self.retried += 1
                _log.info("%s; the sweep is repeated", error)
                continue
            if not missed:
                self.last = ramp
                for plane, number in enumerate(chosen):
                    frame = frames[number]
                    z_um = ramp.z_um(frame.time_host_ns)
                    taken = Exposure(plane, plan.z_um(plane), z_um, frame)
                    log_exposure(taken, len(plan))
                    yield taken
                return
            _log.info("ramp %d: %s", self.ramps, missed)
            if self.ramps - incomplete >= self._settings.ramps:
                break
        raise DeviceError(missed)

    def _take(self, plan: StackPlan) -> tuple[list[Frame], Ramp]:
        """Ramp once through the plan: collect the frames and the drive's positions."""
        self.ramps += 1
        run_um, speed = self._run_um(plan), self.speed_um_s(plan)
        tolerance_um = max(self._drive.settings.tolerance_um, run_um / 4)
        here_um = self._drive.go_to(plan.z_um(0) - run_um, tolerance_um)
        end_um = plan.z_um(len(plan) - 1) + run_um
        if isinstance(stage := self._stage, TrialRampStage):
            self._drive.send(end_um, lambda: stage.try_speed(end_um))
            here_um = self._drive.go_to(plan.z_um(0) - run_um, tolerance_um)
        self._drive.settle()
        self._frames.begin()
        with stopping(self._camera):
            self._camera.stream()
            way_s = (plan.center_um - here_um) / (speed * self._expected)
            begun_ns = self._wait_to_begin(way_s + self._lag_s)
            pace = speed * self._faster
            _log.info(
                "ramp %d: from %.3f to %.3f µm at %.4g µm/s (%.4g requested)",
                *(self.ramps, here_um, end_um, speed, pace),
            )
            self._drive.send(end_um, lambda: self._stage.ramp_to(end_um, pace))
            frames, readings = self._follow(end_um - run_um / 2, (end_um - here_um) / speed, pace)
        self._drive.halt()
        half_way_um = plan.z_um(0) - run_um / 2
        ramp = Ramp.fit([each for each in readings if half_way_um <= each.z_um])
        _log.info(
            "ramp %d: %d frames, %d positions; %.4g µm/s, up to %.3f µm from a line, answers "
            "within %.2g ms",
            *(self.ramps, len(frames), len(readings), ramp.speed_um_s, ramp.residual_um),
            1e3 * ramp.error_s,
        )
        for frame in frames:
            _log.debug("frame %d, exposed at %d ns", frame.frame_id, frame.time_host_ns)
        self._learn(ramp, frames, plan, here_um, begun_ns)
        return frames, ramp

    def _wait_to_begin(self, lead_s: float) -> int:
        """Wait until a frame will be exposed `lead_s` after the return, and return the time."""
        first = self._next_frame(self._shots.timeout_s)
        begin_s = (first.time_host_ns - self._clock.now_ns()) / 1e9 - lead_s
        self._clock.sleep(begin_s % self._interval_s)
        self._drive.interrupt.check()
        return self._clock.now_ns()

    def _follow(
        self, pass_um: float, ramp_s: float, speed_um_s: float
    ) -> tuple[list[Frame], list[Reading]]:
        """Collect frames, and read the drive between them, until a frame is past the end."""
        frames: list[Frame] = []
        readings: list[Reading] = []
        deadline_ns = self._clock.now_ns() + round(
            (2 * ramp_s + self._drive.settings.timeout_s) * 1e9
        )
        patience_ns = round(
            (self._interval_s + self._shots.exposure_ms / 1e3 + self._shots.timeout_s) * 1e9
        )
        last_ns = self._clock.now_ns()
        while True:
            self._drive.interrupt.check()
            if (frame := self._camera.next_frame(0)) is not None:
                self._frames.check(frame)
                frames.append(frame)
                last_ns = self._clock.now_ns()
                continue
            asked_ns = self._clock.now_ns()
            z_um = self._drive.position_um()
            answered_ns = self._clock.now_ns()
            passed = z_um >= pass_um
            if not passed:
                reading = Reading(asked_ns, answered_ns, z_um)
                if readings and not self._can_follow(readings[-1], reading, speed_um_s):
                    raise self._drive.displacement(z_um, readings[-1].z_um)
                readings.append(reading)
            elif frames and readings and frames[-1].time_host_ns > readings[-1].time_ns:
                return frames, readings
            if answered_ns > deadline_ns:
                raise DeviceError(
                    f"the drive is at {z_um:.3f} µm and has not passed {pass_um:.6g} µm; check it "
                    "or raise stage.timeout_s"
                )
            if answered_ns - last_ns > patience_ns:
                raise DeviceError(f"the camera gave no frame for {patience_ns / 1e9:.3g} s")
            self._clock.sleep(self._drive.settings.poll_ms / 1e3)

    def _can_follow(self, before: Reading, after: Reading, speed_um_s: float) -> bool:
        """Whether these successive answers are possible for a drive that moves up."""
        tolerance_um = self._drive.settings.tolerance_um
        longest_s = (after.answered_ns - before.asked_ns) / 1e9
        way_um = after.z_um - before.z_um
        return -tolerance_um <= way_um <= tolerance_um + _FASTEST * speed_um_s * longest_s

    def _next_frame(self, timeout_s: float) -> Frame:
        frame = self._camera.next_frame(
            self._interval_s + self._shots.exposure_ms / 1e3 + timeout_s
        )
        if frame is None:
            raise DeviceError(f"the camera gave no frame for {timeout_s:g} s; check its cable")
        self._frames.check(frame)
        return frame

    def _learn(
        self, ramp: Ramp, frames: list[Frame], plan: StackPlan, here_um: float, begun_ns: int
    ) -> None:
        """Correct start time and speed of the next ramp, so that a frame is at the centre."""
        took_s = (frames[-1].time_host_ns - frames[0].time_host_ns) / 1e9
        if len(frames) > len(plan):
            self._interval_s = took_s / (frames[-1].frame_id - frames[0].frame_id)
        wanted, expected = self.speed_um_s(plan), ramp.speed_um_s
        if abs(expected / wanted - 1) > _SAME_SPEED:
            self._faster *= wanted / expected
            expected = wanted
        self._expected = expected / wanted
        self._lag_s = (ramp.time_ns(here_um) - begun_ns) / 1e9

    def _choose(self, plan: StackPlan, frames: list[Frame], ramp: Ramp) -> tuple[list[int], str]:
        """Find the frame nearest to each plane, or report what the ramp lacks."""
        tolerance_um = self._tolerance_um(plan)
        straight_um = self._drive.settings.tolerance_um
        if ramp.residual_um > straight_um:
            self._drive.distrust()
            raise DeviceError(
                f"the drive was up to {ramp.residual_um:.3f} µm from a constant speed, "
                f"{straight_um:g} µm are allowed; do not touch it, or raise stage.tolerance_um"
            )
        unsure_um = ramp.speed_um_s * (ramp.error_s + self._camera.stamp_error_s)
        if unsure_um > tolerance_um:
            return [], (
                f"the drive answers in {2e3 * ramp.error_s:.2g} ms, so that z is known to "
                f"{unsure_um:.2g} µm only; {self._slower(unsure_um, tolerance_um)}"
            )
        z_um = np.array([ramp.z_um(frame.time_host_ns) for frame in frames])
        away_um = np.abs(z_um[None, :] - np.array(list(plan))[:, None])
        nearest = away_um.argmin(axis=1)
        worst = int(away_um.min(axis=1).argmax())
        off_um = float(away_um[worst, nearest[worst]])
        if off_um <= tolerance_um and len(set(nearest.tolist())) == len(plan):
            return nearest.tolist(), ""
        return [], (
            f"plane {worst + 1} of {len(plan)} (z = {plan.z_um(worst):.6g} µm) has no frame within "
            f"{tolerance_um:.3g} µm in {self._settings.ramps} ramps, the nearest is {off_um:.3f} "
            "µm away; give --frames-per-plane 2, or a larger --tolerance"
        )

    def _tolerance_um(self, plan: StackPlan) -> float:
        return self._settings.tolerance_um or plan.step_um / 4

    def _run_um(self, plan: StackPlan) -> float:
        """Distance before the first and after the last plane, for backlash and acceleration."""
        return max(self._drive.settings.approach_um, 2 * plan.step_um)

    def _slower(self, unsure_um: float, tolerance_um: float) -> str:
        count = math.ceil(self._settings.frames_per_plane * unsure_um / tolerance_um)
        return f"give --frames-per-plane {count}, or a larger --tolerance"


def _unfit(device: Camera | Stage, what: str) -> str:
    """State what a device cannot do, with the reason if its driver gives one (`not_for_sweeps`)."""
    why = getattr(device, "not_for_sweeps", "")
    return f"{device.name} {what}{f' ({why})' if why else ''}"
