"""Protocols of the devices of a rig, and of a clock.

A driver is any object with these members; it needs no base class. z is in micrometres of the
drive, x and y in micrometres of the stage, time stamps in nanoseconds since the epoch, images are
indexed (y, x). Sweeps need a camera that can run free and a drive that can move at a set speed,
with additional members. A stage that can also move at a velocity can follow a swimming cell. A
manipulator and a pump hold and work a micropipette.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from fgaf.base.errors import FgafError

if TYPE_CHECKING:
    import numpy.typing as npt

    from fgaf.dataset.truth import FrameTruth

_log = logging.getLogger(__name__)


_WATCH_S = 1e-3

LimitsXY = tuple[tuple[float, float], tuple[float, float]]
"""Lowest and highest x, and y."""
Place3 = tuple[float, float, float]
"""x, y, z."""
LimitsXYZ = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Lowest and highest x, y, and z."""


class DeviceError(FgafError):
    """A camera or drive failed, or behaved in a way that makes the data unreliable."""


class IncompleteFrameError(DeviceError):
    """One frame was lost in transfer, but the camera works: it can be exposed again."""


class NoRoomError(DeviceError):
    """A velocity would have led out of the limits, as far as is known: the stage stands."""


@dataclass(frozen=True)
class Frame:
    """One frame from the camera.

    Attributes
    ----------
    pixels
        Image (Y, X), uint8 or uint16; the frame owns it, the driver never writes to it again.
    frame_id
        The device's own counter: grows by exactly one per exposure since `Camera.start`.
    time_device_ns
        Middle of the exposure by the camera's clock in ns, from that clock's own zero; 0 if the
        camera has no clock.
    time_host_ns
        Middle of the exposure by the run's `Clock`, ns since the epoch.
    exposure_us
        Exposure time in microseconds.
    truth
        True cell data of a simulated camera; None for real cameras.
    """

    pixels: npt.NDArray[Any]
    frame_id: int
    time_device_ns: int
    time_host_ns: int
    exposure_us: float
    truth: FrameTruth | None = None


@dataclass(frozen=True)
class EffectiveSettings:
    """Settings of a camera or drive, read back from it after everything was set.

    Attributes
    ----------
    values
        Recorded settings by name: exposure, pixel format, binning, flips.
    binning
        Sensor pixels along each side of one image pixel.
    pixel_size_um
        Side of an image pixel in the specimen, including binning, if the device's configuration has
        it.
    notes
        Messages for the user, such as an exposure that differs from the requested one.
    """

    values: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    binning: int = 1
    pixel_size_um: float | None = None
    notes: tuple[str, ...] = ()


def effective_settings(device: object) -> EffectiveSettings:
    """Settings of a camera or drive: its attribute `effective`, if it has one."""
    effective = getattr(device, "effective", None)
    return effective if isinstance(effective, EffectiveSettings) else EffectiveSettings()


@runtime_checkable
class Camera(Protocol):
    """A camera that takes one frame per software trigger.

    It may also have an attribute `effective`, see `EffectiveSettings`.
    """

    @property
    def name(self) -> str:
        """Model and serial number, as recorded in the file."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns (Y, X) of the frames."""
        ...

    @property
    def bit_depth(self) -> int:
        """Significant bits: 8 gives uint8 frames, 9 to 16 give uint16."""
        ...

    def start(self) -> None:
        """Arm for one frame per trigger and drop old frames in the buffers."""
        ...

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame, starting after this call, and return it.

        Raises
        ------
        IncompleteFrameError
            Part of the frame is missing; the next one may be complete. It has used a `frame_id`.
        DeviceError
            No frame came within `timeout_s` seconds, or the camera failed.
        """
        ...

    def stop(self) -> None:
        """Undo `start`; harmless when not started."""
        ...

    def close(self) -> None:
        """Release the device; harmless when already closed."""
        ...


@runtime_checkable
class StreamingCamera(Camera, Protocol):
    """A camera that can also run free: one exposure after another at its own pace."""

    @property
    def frame_interval_s(self) -> float:
        """Time from one exposure to the next when it runs free, in seconds."""
        ...

    @property
    def stamp_error_s(self) -> float:
        """Maximum error of `Frame.time_host_ns` of a free-running frame, in seconds."""
        ...

    def stream(self, latest: bool = False) -> None:
        """Run free until `stop`; old frames in the buffers are dropped.

        Parameters
        ----------
        latest
            Keep only the newest frame, for display; `frame_id` may skip. Else every frame is kept
            until requested, up to the size of the driver's buffers.
        """
        ...

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame of the stream, or None when there is none within `timeout_s`.

        Parameters
        ----------
        timeout_s
            Longest wait in seconds; 0 returns at once.

        Raises
        ------
        IncompleteFrameError
            Part of a frame is missing.
        DeviceError
            A frame was lost or came twice, or the camera failed.
        """
        ...


@runtime_checkable
class Stage(Protocol):
    """A focus drive.

    A driver may have two more members. ``reopen()`` reopens a lost link, so that the position can
    be read after an error before anything moves. ``unit_um`` is the size of the drive's units, if
    it stops only at whole units: uneven planes are then refused. None, or no such member, means
    that the drive can stop at any position.
    """

    @property
    def name(self) -> str:
        """Model and serial number, as recorded in the file."""
        ...

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z the drive may be sent to, in micrometres."""
        ...

    def position_um(self) -> float:
        """Position read back from the device now, in micrometres; never a remembered target."""
        ...

    def move_to(self, z_um: float) -> None:
        """Start a move to an absolute z in micrometres; may return before the drive is there."""
        ...

    def moving(self) -> bool:
        """Whether the drive reports that it is moving."""
        ...

    def stop(self) -> None:
        """Halt the drive at its position; harmless when it is at rest."""
        ...

    def close(self) -> None:
        """Release the device; harmless when already closed."""
        ...


@runtime_checkable
class RampStage(Stage, Protocol):
    """A focus drive that can move at a constant speed."""

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start a move to an absolute z at a speed; may return before the drive is there.

        The speed is for this move only, and is approximate; positions read back give the real
        speed.

        Parameters
        ----------
        z_um
            Where to, in micrometres.
        speed_um_s
            Speed in micrometres per second, above 0.

        Raises
        ------
        DeviceError
            The drive cannot move at this speed, or `z_um` is outside its limits.
        """
        ...


@runtime_checkable
class TrialRampStage(RampStage, Protocol):
    """A drive whose speed in µm/s must first be measured."""

    def try_speed(self, z_um: float) -> None:
        """Measure the speed by moves from here to `z_um` and back, unless it was measured before.

        Raises
        ------
        DeviceError
            It cannot be measured on this distance.
        """
        ...


@runtime_checkable
class XYStage(Protocol):
    """A stage that moves the specimen in x and y.

    It is a device of its own, or shares its controller with the focus drive; `stop` may then halt
    both. Like a `Stage` it may have a method ``reopen()``.
    """

    @property
    def name(self) -> str:
        """Model and serial number."""
        ...

    @property
    def limits_xy_um(self) -> LimitsXY:
        """Lowest and highest x, and y, in micrometres; infinite where none are known."""
        ...

    def position_xy_um(self) -> tuple[float, float]:
        """Position read back from the device now, x and y in micrometres."""
        ...

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start a move to an absolute position; may return before the stage is there.

        Parameters
        ----------
        x_um, y_um
            Where to, in micrometres.

        Raises
        ------
        DeviceError
            The position is outside the limits, or there are none.
        """
        ...

    def moving_xy(self) -> bool:
        """Whether the device reports that it moves in x or y."""
        ...

    def stop(self) -> None:
        """Halt the stage at its position; harmless when it is at rest."""
        ...

    def close(self) -> None:
        """Stop and release the device; harmless when already closed."""
        ...


@runtime_checkable
class VelocityStage(XYStage, Protocol):
    """An x/y stage that can also move at a velocity.

    A velocity is a command with an end: the stage stops `velocity_valid_s` after the last call of
    `move_xy_at`, and before it would leave its limits, as predicted from positions that were read.
    """

    @property
    def velocity_valid_s(self) -> float:
        """How long a velocity is valid, in seconds."""
        ...

    @property
    def highest_velocity_um_s(self) -> float:
        """Highest velocity along each axis, in micrometres per second."""
        ...

    def move_xy_at(self, vx_um_s: float, vy_um_s: float) -> None:
        """Move at a velocity from now on, or stop with 0, 0; returns at once.

        Parameters
        ----------
        vx_um_s, vy_um_s
            Velocity in micrometres per second.

        Raises
        ------
        NoRoomError
            The velocity leads out of the limits before the position can be read again. It does not
            move then.
        DeviceError
            The velocity is too high, or the stage was stopped since the last call; the message says
            why. It does not move then.
        """
        ...


@runtime_checkable
class Manipulator(Protocol):
    """A manipulator that moves a micropipette in x, y and z, in micrometres of the specimen.

    z grows away from the dish: a driver whose device counts the other way turns the sign. On its
    way to a position no axis leaves the range between its start and its end. Like a `Stage` it may
    have a method ``reopen()``.
    """

    @property
    def name(self) -> str:
        """Model and serial number."""
        ...

    @property
    def limits_xyz_um(self) -> LimitsXYZ:
        """Lowest and highest x, y and z, in micrometres; infinite where none are known."""
        ...

    def position_xyz_um(self) -> Place3:
        """Position read back from the device now, in micrometres; never a remembered target."""
        ...

    def move_xyz_to(self, x_um: float, y_um: float, z_um: float, speed_um_s: float) -> None:
        """Start a move to an absolute position; may return before the manipulator is there.

        Parameters
        ----------
        x_um, y_um, z_um
            Where to, in micrometres.
        speed_um_s
            Highest speed of an axis, in micrometres per second.

        Raises
        ------
        DeviceError
            The position is outside the limits.
        """
        ...

    def moving_xyz(self) -> bool:
        """Whether the device reports that it moves."""
        ...

    def stop(self) -> None:
        """Halt at the present position; harmless at rest."""
        ...

    def close(self) -> None:
        """Stop and release the device; harmless when already closed."""
        ...


@runtime_checkable
class Pump(Protocol):
    """A pump that draws liquid into the micropipette (flow above 0), or out of it (below 0).

    Its flow is what it displaces. The flow at the tip follows later, because the liquid, the tube
    and the oil are compliant.
    """

    @property
    def name(self) -> str:
        """Model and serial number."""
        ...

    @property
    def flow_limits_nl_s(self) -> tuple[float, float]:
        """Smallest and largest flow besides 0, in either direction, in nanolitres per second."""
        ...

    def flow_nl_s(self) -> float:
        """Flow that the device reports now, in nanolitres per second; 0 at rest.

        Raises
        ------
        DeviceError
            It does not answer, or reports an alarm.
        """
        ...

    def start(self, flow_nl_s: float) -> None:
        """Pump from now on.

        Parameters
        ----------
        flow_nl_s
            Flow in nanolitres per second; above 0 draws in.

        Raises
        ------
        DeviceError
            The device refuses it, or reports an alarm.
        """
        ...

    def stop(self) -> None:
        """Stop pumping; harmless at rest."""
        ...

    def close(self) -> None:
        """Stop and release the device; harmless when already closed."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Clock for time and waits, so that simulated time can be faster than real time."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never runs backwards within a run."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let at least `seconds` pass on this clock."""
        ...


class WallClock:
    """The computer's clock: epoch time at construction, advanced by the monotonic counter.

    A change of the system clock during a run therefore does not affect time stamps or time-outs.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.perf_counter_ns()

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._offset_ns + time.perf_counter_ns()

    def sleep(self, seconds: float) -> None:
        """Wait in real time; the end of longer waits is polled, because systems wake late."""
        end_s = time.perf_counter() + seconds
        if seconds > 2 * _WATCH_S:
            time.sleep(seconds - _WATCH_S)
            while time.perf_counter() < end_s:
                time.sleep(0)
        elif seconds > 0:
            time.sleep(seconds)


@dataclass
class Devices:
    """The opened devices and the clock of one rig; closes them when its `with` block ends.

    `xy_stage` is None where nothing moves the specimen, `manipulator` and `pump` where there is no
    micropipette.
    """

    camera: Camera
    stage: Stage
    clock: Clock
    xy_stage: XYStage | None = None
    manipulator: Manipulator | None = None
    pump: Pump | None = None

    def close(self) -> None:
        """Close all devices, the pump first; each is tried even when another one fails."""
        with ExitStack() as closing:
            for device in (self.camera, self.stage, self.xy_stage, self.manipulator, self.pump):
                if device is not None:
                    closing.callback(device.close)
        _log.info("the devices are closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception:
            if error is None:  # the error of the run is more important than one of closing
                raise
            _log.info("a device could not be closed", exc_info=True)
