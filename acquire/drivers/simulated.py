"""The simulated microscope as camera, focus drive and clock."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fgaf.acquire.devices import Camera, Clock, DeviceError, Frame, Opening, Stage
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.tables import parse_table
from fgaf.dataset.truth import FrameTruth

if TYPE_CHECKING:
    from fgaf.acquire.simulation.scene import Scene

_Positive = Annotated[float, Field(gt=0)]
_NonNegative = Annotated[float, Field(ge=0)]


class StageOptions(BaseModel):
    """``[stage.options]`` of the simulated drive.

    Attributes
    ----------
    start_um
        Where the drive stands when opened.
    travel_um
        Its limits.
    speed_um_s, acceleration_um_s2
        Of its trapezoidal moves.
    backlash_um
        The objective follows the motor only after this much play when the direction turns.
    ringing_um, ringing_hz, ringing_ms
        Largest first swing of the objective after a move (short moves swing less), its frequency,
        and the time in which it falls to 1/e. The read-back does not see it.
    repeatability_um
        Spread of where a move ends, r.m.s.; the read-back sees it.
    reply_ms
        Time of one question and its answer.
    realtime
        Whether simulated time waits for real time; else it runs as fast as the computer can.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_um: float = 0.0
    travel_um: tuple[float, float] = (-1000.0, 1000.0)
    speed_um_s: _Positive = 200.0
    acceleration_um_s2: _Positive = 5000.0
    backlash_um: _NonNegative = 0.4
    ringing_um: _NonNegative = 0.1
    ringing_hz: _Positive = 90.0
    ringing_ms: _Positive = 6.0
    repeatability_um: _NonNegative = 0.01
    reply_ms: _NonNegative = 1.0
    realtime: bool = False


class CameraOptions(BaseModel):
    """``[camera.options]`` of the simulated camera, and the rig's exposure time.

    Attributes
    ----------
    exposure_ms
        Exposure time.
    row_us
        Time to read out one row: 20 µs times 1200 rows make 41 frames per second.
    latency_ms
        Time from the trigger to the exposure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exposure_ms: _Positive
    row_us: _NonNegative = 20.0
    latency_ms: _NonNegative = 0.2


class SimulatedClock:
    """Time that passes only when somebody sleeps; with `realtime` it keeps pace with real time."""

    def __init__(self, realtime: bool = False) -> None:
        self._start_ns = time.time_ns()
        self._start_s = time.perf_counter()
        self._elapsed_ns = 0
        self._realtime = realtime

    def now_ns(self) -> int:
        """Nanoseconds since the epoch: the moment of construction plus the simulated time."""
        return self._start_ns + self._elapsed_ns

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._elapsed_ns += max(0, round(seconds * 1e9))
        if self._realtime:
            ahead = self._start_s + self._elapsed_ns / 1e9 - time.perf_counter()
            time.sleep(max(0.0, ahead))


class SimulatedStage:
    """A stepper drive with acceleration, play, ringing and moves that end a little off."""

    name = "simulated focus drive"

    def __init__(self, options: StageOptions, clock: Clock, seed: int = 0) -> None:
        self._options = options
        self._clock = clock
        self._random = np.random.default_rng((seed, 1))
        self._from_um = self._to_um = self._engaged_um = options.start_um
        self._begun_ns = clock.now_ns()

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z."""
        return self._options.travel_um

    def position_um(self) -> float:
        """Read the motor's position back."""
        self._clock.sleep(self._options.reply_ms / 1e3)
        return self._motor_um(self._clock.now_ns())

    def move_to(self, z_um: float) -> None:
        """Start a move; it may begin during another one.

        Raises
        ------
        DeviceError
            `z_um` is outside the travel.
        """
        low, high = self.limits_um
        if not low <= z_um <= high:
            raise DeviceError(f"{z_um:g} µm is outside the drive's travel {low:g} to {high:g} µm")
        self._clock.sleep(self._options.reply_ms / 1e3)
        self._turn_to(z_um + self._random.normal(scale=self._options.repeatability_um))

    def moving(self) -> bool:
        """Whether the motor runs."""
        self._clock.sleep(self._options.reply_ms / 1e3)
        return self._seconds(self._clock.now_ns()) < self._duration_s()

    def stop(self) -> None:
        """Stand still here."""
        self._turn_to(self._motor_um(self._clock.now_ns()))

    def close(self) -> None:
        """Nothing to give back."""

    def objective_um(self, time_ns: int) -> float:
        """Where the objective really is at a time since the last command, in µm."""
        options = self._options
        z_um = self._played_um(self._motor_um(time_ns))
        rest = self._seconds(time_ns) - self._duration_s()
        if rest <= 0:
            return z_um
        travel = self._to_um - self._from_um
        swing = math.copysign(min(options.ringing_um, abs(travel)), travel)
        fall = math.exp(-rest / (options.ringing_ms / 1e3))
        return z_um + swing * fall * math.sin(math.tau * options.ringing_hz * rest)

    def _turn_to(self, z_um: float) -> None:
        now = self._clock.now_ns()
        here = self._motor_um(now)
        self._engaged_um = self._played_um(here)
        self._from_um, self._to_um, self._begun_ns = here, z_um, now

    def _played_um(self, motor_um: float) -> float:
        """Follow the motor with play: pushed from below, left behind when it turns down."""
        return min(max(self._engaged_um, motor_um), motor_um + self._options.backlash_um)

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._begun_ns) / 1e9

    def _duration_s(self) -> float:
        travel = abs(self._to_um - self._from_um)
        speed, acceleration = self._options.speed_um_s, self._options.acceleration_um_s2
        if travel < speed**2 / acceleration:
            return 2 * math.sqrt(travel / acceleration)
        return travel / speed + speed / acceleration

    def _motor_um(self, time_ns: int) -> float:
        """Position on the trapezoidal profile: the way still to go mirrors the way gone."""
        travel = self._to_um - self._from_um
        duration = self._duration_s()
        gone = min(max(self._seconds(time_ns), 0.0), duration)
        if gone <= duration / 2:
            return self._from_um + math.copysign(self._ramp_um(gone), travel)
        return self._to_um - math.copysign(self._ramp_um(duration - gone), travel)

    def _ramp_um(self, seconds: float) -> float:
        speed, acceleration = self._options.speed_um_s, self._options.acceleration_um_s2
        rise = min(seconds, speed / acceleration)
        return acceleration * rise**2 / 2 + speed * (seconds - rise)


class SimulatedCamera:
    """Images the simulated scene at the focus the drive has in the middle of the exposure.

    The drive may be any: of a simulated one the true position of the objective counts, of another
    one the position it reads back.
    """

    name = "simulated camera"

    def __init__(
        self, options: CameraOptions, settings: SimulationSettings, clock: Clock, stage: Stage
    ) -> None:
        self._options = options
        self._settings = settings
        self._clock = clock
        self._stage = stage
        self._opened_ns = clock.now_ns()
        self._scene: Scene | None = None
        self._armed = False
        self._frame_id = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._settings.shape

    @property
    def bit_depth(self) -> int:
        """8 or 12."""
        return self._settings.bit_depth

    def start(self) -> None:
        """Arm; the frame counter begins again at 0."""
        from fgaf.acquire.simulation.scene import Scene

        self._scene = self._scene or Scene(self._settings)
        self._armed = True
        self._frame_id = 0

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame.

        Raises
        ------
        DeviceError
            Not started, or exposure and readout take longer than `timeout_s`.
        """
        if self._scene is None or not self._armed:
            raise DeviceError("the simulated camera was triggered before it was started")
        exposure_s = self._options.exposure_ms / 1e3
        latency_s = self._options.latency_ms / 1e3
        readout_s = self.shape[0] * self._options.row_us / 1e6
        if latency_s + exposure_s + readout_s > timeout_s:
            raise DeviceError(f"no frame within {timeout_s:g} s; raise camera.timeout_s")
        self._clock.sleep(latency_s + exposure_s / 2)
        middle_ns = self._clock.now_ns()
        pixels, cells = self._scene.expose(
            (middle_ns - self._opened_ns) / 1e9, exposure_s, self._focus_um(middle_ns)
        )
        self._clock.sleep(exposure_s / 2 + readout_s)
        frame_id, self._frame_id = self._frame_id, self._frame_id + 1
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            time_device_ns=middle_ns,
            time_host_ns=middle_ns,
            exposure_us=self._options.exposure_ms * 1e3,
            truth=FrameTruth(time_ns=middle_ns, cells=cells),
        )

    def stop(self) -> None:
        """Disarm."""
        self._armed = False

    def close(self) -> None:
        """Forget the scene."""
        self._armed = False
        self._scene = None

    def _focus_um(self, time_ns: int) -> float:
        if isinstance(self._stage, SimulatedStage):
            return self._stage.objective_um(time_ns)
        return self._stage.position_um()


def open_stage(settings: Mapping[str, Any], opening: Opening) -> Stage:
    """Open the simulated drive; the rig's time becomes the simulated one."""
    options = parse_table(StageOptions, settings, "stage.options")
    clock = SimulatedClock(options.realtime)
    opening.clock = clock
    return SimulatedStage(options, clock, _simulation(opening).seed)


def open_camera(settings: Mapping[str, Any], opening: Opening) -> Camera:
    """Open the simulated camera before the rig's drive, simulated or real."""
    options = parse_table(CameraOptions, settings, "camera.options")
    if opening.stage is None:
        raise DeviceError("the simulated camera needs the rig's drive for its focus; open it first")
    return SimulatedCamera(options, _simulation(opening), opening.clock, opening.stage)


def _simulation(opening: Opening) -> SimulationSettings:
    return opening.rig.simulation or SimulationSettings()
