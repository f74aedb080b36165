"""The simulated camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from fgaf.acquire.devices import Clock, DeviceError, Frame, Manipulator, Pump, Stage, XYStage
from fgaf.acquire.drivers.mount import Mount
from fgaf.acquire.drivers.simulated_stage import SimulatedStage
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound, ExposureMs, WaitMs
from fgaf.dataset.truth import FrameTruth

if TYPE_CHECKING:
    from fgaf.acquire.drivers.simulated_suction import SimulatedSuction
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.simulation.scene import Scene
    from fgaf.acquire.simulation.view import Place


class CameraOptions(Table):
    """``[camera.options]`` of the simulated camera, and the rig's exposure time.

    Attributes
    ----------
    exposure_ms
        Exposure time.
    row_us
        Time to read out one row: 20 µs times 1200 rows make 41 frames per second.
    latency_ms
        Time from the trigger to the exposure.
    mount
        Where a manipulator of another driver has the tip of the micropipette in the image.
    """

    exposure_ms: ExposureMs
    row_us: Annotated[float, Bound(0, 1e6, "µs")] = 20.0
    latency_ms: WaitMs = 0.2
    mount: Mount = Mount()


class SimulatedCamera:
    """Images the simulated scene at the drive's focus in the middle of the exposure.

    Any devices can be used: of simulated ones the true positions of objective, specimen and tip and
    the true flow are used, of any others those read back. The image shows the part of the specimen
    that lies at x, y, blurred while it moves, and the micropipette of a rig with a manipulator. A
    plane far out of focus takes seconds, so a request to stop is checked before each of its cells.
    """

    name = "simulated camera"

    def __init__(
        self,
        options: CameraOptions,
        settings: SimulationSettings,
        clock: Clock,
        stage: Stage,
        xy_stage: XYStage | None,
        interrupt: Interrupt,
        manipulator: Manipulator | None = None,
        pump: Pump | None = None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._clock = clock
        self._stage = stage
        self._xy_stage = xy_stage
        self._interrupt = interrupt
        self._manipulator, self._pump = manipulator, pump
        self._opened_ns = clock.now_ns()
        self._armed = False
        self._frame_id = 0
        self._begun_ns = 0
        self._latest = False
        self._path: Callable[[float], Place] = lambda _: (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._settings.shape

    @property
    def bit_depth(self) -> int:
        """8 or 12."""
        return self._settings.bit_depth

    @property
    def frame_interval_s(self) -> float:
        """The longer of exposure and readout, since they overlap."""
        return max(self._exposure_s, self._readout_s)

    @property
    def stamp_error_s(self) -> float:
        """Zero: both time stamps are the simulated time."""
        return 0.0

    def start(self) -> None:
        """Arm; the frame counter begins again at 0."""
        self._armed = True
        self._frame_id = 0

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame.

        Raises
        ------
        DeviceError
            Not started, or exposure and readout take longer than `timeout_s`.
        """
        if not self._armed:
            raise DeviceError(
                "the simulated camera was triggered before it was started; start it first"
            )
        latency_s = self._options.latency_ms / 1e3
        if latency_s + self._exposure_s + self._readout_s > timeout_s:
            raise DeviceError(f"no frame within {timeout_s:g} s; raise camera.timeout_s")
        self._clock.sleep(latency_s + self._exposure_s / 2)
        frame = self._image(self._clock.now_ns())
        self._clock.sleep(self._exposure_s / 2 + self._readout_s)
        return frame

    def stream(self, latest: bool = False) -> None:
        """Run free from now on; a frame is drawn when requested, for the time of its exposure."""
        self.start()
        self._latest = latest
        self._begun_ns = self._clock.now_ns() + round(self._options.latency_ms * 1e6)

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame of the stream, or None.

        Raises
        ------
        DeviceError
            Not started.
        """
        if not self._armed:
            raise DeviceError("the simulated camera is not streaming; start its stream first")
        now_ns = self._clock.now_ns()
        if self._latest:
            self._frame_id = max(self._frame_id, self._newest(now_ns))
        ready_s = (self._middle_ns(self._frame_id) - now_ns) / 1e9 + (
            self._exposure_s / 2 + self._readout_s
        )
        self._clock.sleep(min(max(ready_s, 0.0), timeout_s))
        return self._image(self._middle_ns(self._frame_id)) if ready_s <= timeout_s else None

    def stop(self) -> None:
        """Disarm."""
        self._armed = False

    def close(self) -> None:
        """Release the scene."""
        self._armed = False
        self.__dict__.pop("_scene", None)

    @cached_property
    def _scene(self) -> Scene:
        from fgaf.acquire.simulation.scene import Scene

        if self._suction is None:
            return Scene(self._settings)
        return Scene(self._settings, self._suction.holder(self._settings, self._corner))

    @cached_property
    def _suction(self) -> SimulatedSuction | None:
        """The micropipette, if the rig has a manipulator."""
        if self._manipulator is None:
            return None
        from fgaf.acquire.drivers.simulated_suction import SimulatedSuction

        return SimulatedSuction(
            self._manipulator, self._pump, self._options.mount, self._clock, self._opened_ns
        )

    def _time_ns(self, time_s: float) -> int:
        return self._opened_ns + round(time_s * 1e9)

    def _corner(self, time_s: float) -> Place:
        """Place (y, x) on the specimen of the first pixel of the frame that is imaged."""
        return self._path(time_s)

    def _find_path(self) -> Callable[[float], Place]:
        """Place (y, x) on the specimen of the frame's first pixel, by the simulated time."""
        stage = self._xy_stage
        if isinstance(stage, SimulatedXYStage):
            return lambda time_s: stage.specimen_um(self._time_ns(time_s))[::-1]
        place = (0.0, 0.0) if stage is None else stage.position_xy_um()[::-1]
        return lambda _: place

    @property
    def _exposure_s(self) -> float:
        return self._options.exposure_ms / 1e3

    @property
    def _readout_s(self) -> float:
        return self.shape[0] * self._options.row_us / 1e6

    def _middle_ns(self, frame_id: int) -> int:
        """Time of the middle of an exposure of the stream."""
        since_s = frame_id * self.frame_interval_s + self._exposure_s / 2
        return self._begun_ns + round(since_s * 1e9)

    def _newest(self, now_ns: int) -> int:
        """Number of the last frame of the stream that was read out."""
        since_s = (now_ns - self._begun_ns) / 1e9 - self._exposure_s - self._readout_s
        return math.floor(since_s / self.frame_interval_s)

    def _image(self, middle_ns: int) -> Frame:
        self._path = self._find_path()
        if self._suction is not None:
            self._suction.read()
        begun_s = (middle_ns - self._opened_ns) / 1e9 - self._exposure_s / 2
        pixels, cells = self._scene.expose(
            begun_s,
            self._exposure_s,
            self._focus_um(middle_ns),
            self._interrupt.check,
            self._path,
        )
        frame_id, self._frame_id = self._frame_id, self._frame_id + 1
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            time_device_ns=middle_ns,
            time_host_ns=middle_ns,
            exposure_us=self._options.exposure_ms * 1e3,
            truth=FrameTruth(time_ns=middle_ns, cells=cells),
        )

    def _focus_um(self, time_ns: int) -> float:
        if isinstance(self._stage, SimulatedStage):
            return self._stage.objective_um(time_ns)
        return self._stage.position_um()
