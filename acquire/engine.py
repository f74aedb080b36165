"""One plane after another: move, arrive, settle, expose, check; nothing is taken on trust."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgaf.acquire.devices import DeviceError, Devices, Frame
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.plan import StackPlan
from fgaf.acquire.rig import CameraTable, StageTable
from fgaf.dataset.errors import FgafError, SettingError

_STANDSTILL_S = 1.0


@dataclass(frozen=True)
class Exposure:
    """One plane as taken.

    Attributes
    ----------
    plane
        Index in the plan.
    z_requested_um, z_measured_um
        Drive position asked for, and the mean of those read back before and after the exposure.
    frame
        The frame.
    """

    plane: int
    z_requested_um: float
    z_measured_um: float
    frame: Frame


class Engine:
    """Takes the planes of a plan with a camera and a drive that are open.

    Parameters
    ----------
    devices
        Camera, drive and clock. Every wait goes through the clock and is finite.
    camera, stage
        How they are to be used: exposure, limits, approach, tolerance, settling, time-outs.
    interrupt
        Looked at in every wait.
    """

    def __init__(
        self,
        devices: Devices,
        camera: CameraTable,
        stage: StageTable,
        interrupt: Interrupt | None = None,
    ) -> None:
        self._camera, self._stage, self._clock = devices.camera, devices.stage, devices.clock
        self._frames, self._moves = camera, stage
        self._interrupt = interrupt or Interrupt()
        self._from_below_um = math.inf
        self._last: Frame | None = None

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z allowed: the device's limits within those of the rig.

        Raises
        ------
        SettingError
            They have nothing in common.
        """
        low, high = self._stage.limits_um
        if self._moves.limits_um is not None:
            low, high = max(low, self._moves.limits_um[0]), min(high, self._moves.limits_um[1])
        if not low < high:
            raise SettingError(
                f"stage.limits_um of the rig lies outside the drive's {self._stage.limits_um}; "
                "correct the rig"
            )
        return low, high

    def position_um(self) -> float:
        """Where the drive stands.

        Raises
        ------
        DeviceError
            The drive does not say, or says no number.
        """
        z_um = self._stage.position_um()
        if not math.isfinite(z_um):
            raise DeviceError(f"the drive gives {z_um} as its position; check its connection")
        return z_um

    def check(self, plan: StackPlan) -> None:
        """Refuse, before anything moves, a plan that this rig cannot carry out.

        Raises
        ------
        SettingError
            A plane, the approach or the present position is outside the limits, or the tolerance
            could not tell neighbouring planes apart.
        """
        plan.check_limits(self.limits_um, self._moves.approach_um)
        low, high = self.limits_um
        here = self.position_um()
        if not low - self._moves.tolerance_um <= here <= high + self._moves.tolerance_um:
            raise SettingError(
                f"the drive stands at {here:.3f} µm, outside its limits {low:g} to {high:g} µm; "
                "move it inside or correct stage.limits_um"
            )
        if self._moves.tolerance_um >= plan.step_um / 2:
            raise SettingError(
                f"a tolerance of {self._moves.tolerance_um:g} µm cannot tell planes "
                f"{plan.step_um:g} µm apart; set stage.tolerance_um below {plan.step_um / 2:g}"
            )

    @contextmanager
    def returning(self) -> Iterator[float]:
        """Bring the drive back to where it stands now, whatever happens in the block.

        Yields
        ------
        float
            Where it stands, in µm.

        Raises
        ------
        FgafError
            What ended the block, with what became of the drive; or the drive could not go back.
        """
        start_um = self.position_um()
        try:
            yield start_um
        except FgafError as error:
            fate = self._fate(start_um)
            if isinstance(error, InterruptError):
                raise InterruptError(f"{error}; {fate}", error.exit_code) from error
            raise DeviceError(f"{error}; {fate}") from error
        except BaseException as error:
            error.add_note(self._fate(start_um))
            raise
        if lost := self._not_returned(start_um):
            raise DeviceError(f"all planes were taken, but {lost}")

    def expose(self, plan: StackPlan) -> Generator[Exposure, None, None]:
        """Take every plane of `plan`, lowest first.

        Yields
        ------
        Exposure
            One for each plane, in order, none left out.

        Raises
        ------
        DeviceError
            Anything that makes a plane doubtful; the line names the plane and the cause.
        InterruptError
            A stop was asked for.
        """
        self._last = None
        self._from_below_um = math.inf
        try:
            with _named("the camera cannot start"):
                self._camera.start()
            for plane, z_um in enumerate(plan):
                with _named(f"plane {plane + 1} of {len(plan)} (z = {z_um:.6g} µm)"):
                    taken = self._expose(plane, z_um)
                yield taken
        except BaseException:
            with suppress(Exception):  # a broken camera cannot stop either, and the cause matters
                self._camera.stop()
            raise
        with _named("the camera cannot stop"):
            self._camera.stop()

    def move_to(self, z_um: float) -> float:
        """Go to `z_um`, at the end from below, and wait until the drive is really there.

        Returns
        -------
        float
            The position read back, in µm.

        Raises
        ------
        DeviceError
            It did not arrive within the time-out, or came to rest elsewhere.
        """
        approach_um = self._moves.approach_um
        if z_um < self._from_below_um and approach_um > 0:
            below_um = max(z_um - approach_um, self.limits_um[0])
            self._arrive(below_um, max(self._moves.tolerance_um, approach_um / 2))
        here_um = self._arrive(z_um, self._moves.tolerance_um)
        self._from_below_um = z_um
        return here_um

    def _expose(self, plane: int, z_um: float) -> Exposure:
        before_um = self.move_to(z_um)
        self._clock.sleep(self._moves.settle_ms / 1e3)
        self._interrupt.check()
        ready_ns = self._clock.now_ns()
        exposure_s = self._frames.exposure_ms / 1e3
        frame = self._camera.trigger(exposure_s + self._frames.timeout_s)
        self._check_frame(frame, ready_ns)
        after_um = self.position_um()
        if abs(after_um - z_um) > self._moves.tolerance_um:
            raise DeviceError(
                f"the drive moved during the exposure, from {before_um:.3f} to {after_um:.3f} µm; "
                "keep hands off it, or raise stage.settle_ms"
            )
        self._last = frame
        return Exposure(plane, z_um, (before_um + after_um) / 2, frame)

    def _arrive(self, z_um: float, tolerance_um: float) -> float:
        """Start a move and wait until the drive reports no motion and reads back `z_um`.

        A drive may report its end too early, so a wrong position is an error only once it has not
        changed for `_STANDSTILL_S`.
        """
        self._stage.move_to(z_um)
        deadline_ns = self._clock.now_ns() + round(self._moves.timeout_s * 1e9)
        stood_ns, stood_um = deadline_ns, math.inf
        while True:
            self._interrupt.check()
            moving = self._stage.moving()
            if not moving:
                here_um = self.position_um()
                if abs(here_um - z_um) <= tolerance_um:
                    return here_um
                if abs(here_um - stood_um) > self._moves.tolerance_um / 4:
                    stood_ns, stood_um = self._clock.now_ns(), here_um
                elif self._clock.now_ns() - stood_ns > _STANDSTILL_S * 1e9:
                    raise DeviceError(
                        f"the drive came to rest at {here_um:.3f} µm, not within {tolerance_um:g} "
                        f"µm of {z_um:.6g} µm; look for an obstacle or raise stage.tolerance_um"
                    )
            if self._clock.now_ns() > deadline_ns:
                doing = "still moving" if moving else "idle"
                raise DeviceError(
                    f"the drive has not arrived at {z_um:.6g} µm after {self._moves.timeout_s:g} s "
                    f"and is {doing} at {self.position_um():.3f} µm; check it or raise "
                    "stage.timeout_s"
                )
            self._clock.sleep(self._moves.poll_ms / 1e3)

    def _check_frame(self, frame: Frame, ready_ns: int) -> None:
        pixels, bits = frame.pixels, self._camera.bit_depth
        kind = np.dtype(np.uint8 if bits <= 8 else np.uint16)
        if pixels.shape != self._camera.shape or pixels.dtype != kind:
            raise DeviceError(
                f"the camera gave {_kind(pixels)}, not {kind}{list(self._camera.shape)}; "
                "check its pixel format and region"
            )
        if bits not in (8, 16) and int(pixels.max()) >> bits:
            raise DeviceError(
                f"the camera gave a value of {int(pixels.max())}, more than {bits} bits hold; "
                "check its pixel format"
            )
        if self._last is not None:
            self._check_next(self._last, frame)
        begun_ns = frame.time_host_ns - round(frame.exposure_us * 1e3 / 2)
        if begun_ns < ready_ns:
            raise DeviceError(
                f"the frame was exposed {(ready_ns - begun_ns) / 1e6:.1f} ms before the drive had "
                "settled; the camera must wait for its trigger"
            )

    def _check_next(self, last: Frame, frame: Frame) -> None:
        if frame.frame_id == last.frame_id:
            raise DeviceError(f"the camera gave frame {frame.frame_id} twice; restart it")
        if frame.frame_id != last.frame_id + 1:
            raise DeviceError(
                f"frame {frame.frame_id} came after frame {last.frame_id}: the camera lost or "
                "mixed frames; check its cable and bandwidth"
            )
        if last.time_device_ns and frame.time_device_ns <= last.time_device_ns:
            raise DeviceError("the camera's clock did not advance between two frames; restart it")
        if not self._frames.allow_identical and _identical(last.pixels, frame.pixels):
            raise DeviceError(
                "the camera gave the same image twice; restart it, or set camera.allow_identical "
                "if it makes no noise"
            )

    def _fate(self, start_um: float) -> str:
        return self._not_returned(start_um) or f"the drive is back at {start_um:.3f} µm"

    def _not_returned(self, start_um: float) -> str | None:
        """Bring the drive back; say what went wrong, or None.

        The cause that led here may have left the drive moving, so it is halted first. Drivers are
        foreign code and may raise anything, which must not hide that first cause.
        """
        self._interrupt = Interrupt()
        self._from_below_um = math.inf
        try:
            self._stage.stop()
            self.move_to(start_um)
        except Exception as error:
            return f"the drive could not return to {start_um:.3f} µm ({error}); {self._where()}"
        return None

    def _where(self) -> str:
        try:
            return f"it is at {self.position_um():.3f} µm"
        except Exception:
            return "and where it is cannot be read"


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Begin every error of the block with `what`: drivers are foreign code, any may come."""
    try:
        yield
    except InterruptError as error:
        raise InterruptError(f"{error} at {what}", error.exit_code) from error
    except FgafError as error:
        raise DeviceError(f"{what}: {error}") from error
    except Exception as error:
        raise DeviceError(f"{what}: {type(error).__name__}: {error}") from error


def _identical(last: np.ndarray[Any, Any], now: np.ndarray[Any, Any]) -> bool:
    """Compare every 64th row first: two exposures differ there already by their noise.

    Images of one value (no light, or too much) say nothing.
    """
    if not np.array_equal(last[::64], now[::64]) or not np.array_equal(last, now):
        return False
    return bool(now.min() != now.max())


def _kind(pixels: object) -> str:
    if isinstance(pixels, np.ndarray):
        return f"{pixels.dtype}{list(pixels.shape)}"
    return type(pixels).__name__
