"""What the engine may ask of a camera, of a focus drive and of a clock: three small protocols.

A driver is any object with these members; it needs no base class. z is in micrometres of the
drive, time stamps in nanoseconds since the epoch, images are indexed (y, x).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from fgaf.dataset.errors import FgafError

if TYPE_CHECKING:
    import numpy.typing as npt

    from fgaf.acquire.rig import Rig
    from fgaf.dataset.truth import FrameTruth


class DeviceError(FgafError):
    """A camera or drive failed, or did something that a careful run cannot accept."""


@dataclass(frozen=True)
class Frame:
    """One exposure as the camera delivered it.

    Attributes
    ----------
    pixels
        Image (Y, X), uint8 or uint16; the frame owns it, the driver never writes to it again.
    frame_id
        The device's own counter: grows by exactly one per exposure since `Camera.start`.
    time_device_ns
        Middle of the exposure by the camera's clock in ns, since whatever that clock counts from;
        0 where the camera has none.
    time_host_ns
        Middle of the exposure by the run's `Clock`, ns since the epoch.
    exposure_us
        Exposure time in microseconds.
    truth
        What a simulated camera knows of the cells it drew; None on real cameras.
    """

    pixels: npt.NDArray[Any]
    frame_id: int
    time_device_ns: int
    time_host_ns: int
    exposure_us: float
    truth: FrameTruth | None = None


@runtime_checkable
class Camera(Protocol):
    """A camera that takes one frame per software trigger."""

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
        """Arm for one frame per trigger and drop whatever an earlier run left in the buffers."""
        ...

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame, which begins after this call, and return it.

        Raises
        ------
        DeviceError
            No whole frame came within `timeout_s` seconds.
        """
        ...

    def stop(self) -> None:
        """End what `start` began; harmless when not started."""
        ...

    def close(self) -> None:
        """Give the device back; harmless when already closed."""
        ...


@runtime_checkable
class Stage(Protocol):
    """A focus drive."""

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
        """Halt the drive where it is; harmless when it stands."""
        ...

    def close(self) -> None:
        """Give the device back; harmless when already closed."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Where the engine reads time and waits, so that simulated time can outrun real time."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never runs backwards within a run."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let at least `seconds` pass on this clock."""
        ...


class WallClock:
    """The computer's clock: epoch time at construction, advanced by the monotonic counter.

    Setting the system clock during a run therefore neither shifts stamps nor breaks time-outs.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.perf_counter_ns()

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._offset_ns + time.perf_counter_ns()

    def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        if seconds > 0:
            time.sleep(seconds)


@dataclass
class Opening:
    """What a driver finds while a rig is being opened, besides its own settings.

    Attributes
    ----------
    rig
        The rig being opened.
    clock
        The run's clock. A driver that brings its own time (a simulation) replaces it.
    stage
        The drive, for the camera's driver: the stage is opened first.
    """

    rig: Rig
    clock: Clock
    stage: Stage | None = None


@dataclass
class Devices:
    """The opened camera, stage and clock of one rig; closes both when its `with` block ends."""

    camera: Camera
    stage: Stage
    clock: Clock

    def close(self) -> None:
        """Close the stage and the camera; both are tried even when the first one fails."""
        try:
            self.stage.close()
        finally:
            self.camera.close()

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
            if error is None:  # what broke the run also breaks the closing, and matters more
                raise
