"""Takes plane by plane: move, confirm arrival, settle, expose, check."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass

from fgaf.acquire.control.drive import Drive, OnDrive
from fgaf.acquire.control.error_context import error_context
from fgaf.acquire.control.frames import FrameCheck, stopping
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import DeviceError, Devices, Frame, IncompleteFrameError
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.plan import StackPlan

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exposure:
    """One plane with its frame.

    Attributes
    ----------
    plane
        Index in the plan.
    z_requested_um, z_measured_um
        Requested and measured drive position. The latter is the mean of the read-backs before and
        after the exposure, or in a sweep the ramp's position in the middle of the exposure.
    frame
        The frame.
    """

    plane: int
    z_requested_um: float
    z_measured_um: float
    frame: Frame


def log_exposure(taken: Exposure, planes: int) -> None:
    """Log one plane.

    Parameters
    ----------
    taken
        The plane.
    planes
        Number of planes in the plan.
    """
    _log.info(
        "plane %d of %d: z = %.3f µm requested, %.3f µm read; frame %d, exposed at %d ns",
        taken.plane + 1,
        planes,
        taken.z_requested_um,
        taken.z_measured_um,
        taken.frame.frame_id,
        taken.frame.time_host_ns,
    )


class Engine(OnDrive):
    """Takes the planes of a plan with an open camera and drive.

    Parameters
    ----------
    devices
        Camera, drive and clock. Every wait uses the clock and is finite.
    camera, stage
        Their settings: exposure, limits, approach, tolerance, settling, time-outs.
    interrupt
        Checked in every wait.
    allow_uneven
        Accept uneven planes from a drive that counts in whole units.

    Attributes
    ----------
    retried
        Number of incomplete frames that were exposed again.
    """

    def __init__(
        self,
        devices: Devices,
        camera: CameraTable,
        stage: StageTable,
        interrupt: Interrupt | None = None,
        *,
        allow_uneven: bool = False,
    ) -> None:
        self.retried = 0
        self._allow_uneven = allow_uneven
        self._camera, self._clock = devices.camera, devices.clock
        self._settings = camera
        self._frames = FrameCheck(devices.camera, camera)
        self._drive = Drive(devices.stage, devices.clock, stage, interrupt or Interrupt())

    def check(self, plan: StackPlan) -> None:
        """Refuse a plan that this rig cannot execute, before anything moves.

        Raises
        ------
        SettingError
            A plane, the approach or the current position is outside the limits, the tolerance is
            too large for the distance of planes, or the step is not a multiple of the drive's unit.
        """
        moves = self._drive.settings
        self._drive.check(plan, below_um=moves.approach_um)
        plan.check_tolerance(moves.tolerance_um, "set stage.tolerance_um")
        if self._drive.unit_um and not self._allow_uneven:
            plan.check_unit(self._drive.unit_um, "; --allow-uneven accepts it")

    def expose(self, plan: StackPlan) -> Generator[Exposure, None, None]:
        """Take every plane of `plan`, each approached from below.

        Yields
        ------
        Exposure
            One for each plane, in the plan's order, without gaps.

        Raises
        ------
        DeviceError
            A plane may be wrong; the message names the plane and the cause.
        InterruptError
            A stop was requested.
        """
        self._frames.begin()
        self._drive.forget()
        with stopping(self._camera):
            with error_context("the camera cannot start"):
                self._camera.start()
            for plane in plan.order:
                z_um = plan.z_um(plane)
                with error_context(f"plane {plane + 1} of {len(plan)} (z = {z_um:.6g} µm)"):
                    taken = self._expose(plane, z_um)
                log_exposure(taken, len(plan))
                yield taken

    def _expose(self, plane: int, z_um: float) -> Exposure:
        before_um = self.move_to(z_um)
        self._drive.settle()
        frame = self._trigger()
        after_um = self.position_um()
        if abs(after_um - z_um) > self._drive.settings.tolerance_um:
            raise DeviceError(
                f"the drive moved during the exposure, from {before_um:.3f} to {after_um:.3f} µm; "
                "do not touch it, or raise stage.settle_ms"
            )
        return Exposure(plane, z_um, (before_um + after_um) / 2, frame)

    def _trigger(self) -> Frame:
        """Expose one complete frame; an incomplete one is exposed again, up to `retries` times."""
        timeout_s = self._settings.exposure_ms / 1e3 + self._settings.timeout_s
        retries = self._settings.retries
        for left in range(retries, -1, -1):
            ready_ns = self._clock.now_ns()
            try:
                frame = self._camera.trigger(timeout_s)
            except IncompleteFrameError as error:
                if left == 0:
                    raise DeviceError(f"{error} (after {retries} more)") from error
                self._frames.skip()
                self.retried += 1
                _log.info("%s; exposed again, retry %d of %d", error, retries - left + 1, retries)
                self._drive.interrupt.check()
            else:
                self._frames.check(frame, ready_ns)
                return frame
        raise AssertionError("the last try returns or raises")
