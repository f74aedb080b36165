"""Any focus drive and camera that Micro-Manager knows, through pymmcore-plus.

Some drives say too early that they are not busy (Nikon's Ti2 among them), so a drive counts as
moving until its position has also stood still. Continuous focus (PFS and its like) would fight
every move: it is off while the drive is open and on again after it, or the drive is refused.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator

from fgaf.acquire.devices import Clock, DeviceError, EffectiveSettings, Frame
from fgaf.acquire.drivers.limits import limits_of, require_within
from fgaf.acquire.drivers.mmcore_found import find as find
from fgaf.acquire.drivers.mmcore_session import Session, SessionSettings
from fgaf.acquire.drivers.mmcore_stamps import TRIAL_FRAMES, Arrivals, Latency, Pace
from fgaf.acquire.drivers.region import Region
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import Property, Table, parse_table
from fgaf.base.bounds import BitDepth, Bound, ExposureMs, WaitMs
from fgaf.base.errors import SettingError

REQUIRES: Final = ("pymmcore_plus",)

_CAMERA: Final = 2
_STAGE: Final = 5
_XY_STAGE: Final = 6
_UNLIMITED: Final = (-math.inf, math.inf)
_LOOK_S: Final = 5e-4
_Values = dict[str, Property]
_FLIPS: Final = ("TransposeMirrorX", "TransposeMirrorY", "TransposeXY")
_RECORDED: Final = (
    *("Binning", "PixelType", "BitDepth", "Gain", "Offset", "ReadoutMode"),
    *("TransposeCorrection", *_FLIPS),
)


class SpeedProperty(Table):
    """The property of a drive that holds its speed.

    Attributes
    ----------
    property
        Its name, as Micro-Manager's device property browser shows it.
    um_s
        What 1 of it is in µm/s: 1000 where it counts in mm/s.
    """

    property: str
    um_s: Annotated[float, Bound(1e-9, 1e9, "µm/s")]


class MmcoreStageSettings(SessionSettings):
    """The `[stage.options]` of a Micro-Manager drive, with those of `SessionSettings`.

    Attributes
    ----------
    device
        Label of the drive; by default the focus drive of the configuration.
    xy_device
        Label of the x/y stage; by default that of the configuration, if it has one.
    properties
        Properties of the drive, set in this order when it is opened.
    direction
        -1 where growing numbers lower the objective, so that z still grows upwards; by default as
        Micro-Manager's configuration says, where +1 is towards the sample: upwards on an inverted
        microscope.
    continuous_focus
        `off` switches continuous focus off when it is on, and on again when the drive is closed;
        `refuse` does not open the drive then.
    still_ms
        The position must not have changed for so long before the drive counts as standing.
    speed
        The drive's property for its speed, for sweeps; drives without one cannot be swept.
    """

    device: str | None = None
    xy_device: str | None = None
    properties: _Values = Field(default_factory=dict)
    direction: Literal[1, -1] | None = None
    continuous_focus: Literal["off", "refuse"] = "off"
    still_ms: WaitMs = 10.0
    speed: SpeedProperty | None = None


class MmcoreCameraSettings(SessionSettings):
    """The `[camera.options]` of a Micro-Manager camera, with those of `SessionSettings`.

    Attributes
    ----------
    exposure_ms
        Exposure time; the rig gives it.
    device
        Label of the camera; by default that of the configuration.
    properties
        Properties of the camera, set in this order before all else, such as ``{Gain = 1}``.
    binning
        Pixels of the sensor along each side of one of the image's; None leaves what is set.
    region
        Part of the sensor; None is all of it.
    bit_depth
        Significant bits of a pixel, where Micro-Manager does not know them.
    latency
        Of streamed frames, for sweeps; None is up to two frame times.
    """

    exposure_ms: ExposureMs
    device: str | None = None
    properties: _Values = Field(default_factory=dict)
    binning: Annotated[int, Bound(1, 16)] | None = None
    region: Region | None = None
    bit_depth: BitDepth | None = None
    latency: Latency | None = None

    @field_validator("properties")
    @classmethod
    def _not_its_own(cls, properties: _Values) -> _Values:
        for name, instead in (("Binning", "binning"), ("Exposure", "exposure_ms of [camera]")):
            if name in properties:
                raise ValueError(f"{name} is set by {instead}; give that instead")
        return properties


class MmcoreStage:
    """An open focus drive; implements `fgaf.acquire.devices.XYStage`.

    Attributes
    ----------
    name
        Label, adapter and device, and what became of continuous focus.
    limits_um
        Lowest and highest z that may be asked for, in µm: the rig's.
    effective
        What became of continuous focus and of the direction.
    session
        The core, which the camera may share.
    """

    not_for_sweeps = (
        "Micro-Manager has no command for a speed; name the drive's property for it and its unit: "
        'speed = { property = "Speed", um_s = 1000 }'
    )

    def __init__(
        self,
        session: Session,
        settings: MmcoreStageSettings,
        limits_um: tuple[float, float],
        still_um: float,
        clock: Clock,
    ) -> None:
        self.session = session
        self.limits_um = limits_um
        self._core = session.core
        self._focus_was_on = False
        self._still_um, self._still_ns = still_um, round(settings.still_ms * 1e6)
        self._clock = clock
        self._closed = False
        self._label = _choose(session, settings.device, _STAGE, "focus drive")
        self.name = _describe(session, self._label)
        _set_all(session, self._label, settings.properties)
        self._direction, notes = self._find_direction(settings.direction)
        if self._end_continuous_focus(settings.continuous_focus):
            self._focus_was_on = True
            self.name += ", continuous focus switched off"
            notes.append("continuous focus is off until the drive is given back, then on again")
        self.effective = EffectiveSettings(
            {"direction": self._direction, "continuous_focus_switched_off": self._focus_was_on},
            notes=tuple(notes),
        )
        self._stood_ns, self._stood_um = clock.now_ns(), self.position_um()
        self._xy = settings.xy_device
        if self._xy is not None:
            self._xy = _choose(session, self._xy, _XY_STAGE, "x/y stage")

    def position_um(self) -> float:
        """Ask the drive where it is, in µm."""
        z_um = self.session.call(
            f"read the position of {self._label}", lambda: self._core.getPosition(self._label)
        )
        return float(z_um) * self._direction

    def move_to(self, z_um: float) -> None:
        """Start an absolute move.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, continuous focus is on again, or the drive refuses.
        """
        require_within(z_um, self.limits_um, self.name)
        if self._continuous_focus():
            raise DeviceError(f"{self.name}: continuous focus was switched on; switch it off")
        self.session.call(
            f"move {self._label}",
            lambda: self._core.setPosition(self._label, z_um * self._direction),
        )
        self._stood_ns, self._stood_um = self._clock.now_ns(), self.position_um()

    def moving(self) -> bool:
        """Whether the drive says that it is busy, or its position has changed of late."""
        busy = self.session.call(
            f"ask whether {self._label} is busy", lambda: self._core.deviceBusy(self._label)
        )
        here_um, now_ns = self.position_um(), self._clock.now_ns()
        if busy or abs(here_um - self._stood_um) > self._still_um:
            self._stood_ns, self._stood_um = now_ns, here_um
            return True
        return now_ns - self._stood_ns < self._still_ns

    @property
    def limits_xy_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """None: Micro-Manager knows none, so the rig must say."""
        return _UNLIMITED, _UNLIMITED

    def position_xy_um(self) -> tuple[float, float]:
        """Ask the x/y stage where it is, in µm.

        Raises
        ------
        DeviceError
            There is none, or it does not say.
        """
        label = self._xy_label()
        x_um, y_um = self.session.call(
            f"read the position of {label}",
            lambda: (self._core.getXPosition(label), self._core.getYPosition(label)),
        )
        return float(x_um), float(y_um)

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start an absolute move of the x/y stage.

        Raises
        ------
        DeviceError
            There is none, or it refuses.
        """
        label = self._xy_label()
        self.session.call(f"move {label}", lambda: self._core.setXYPosition(label, x_um, y_um))

    def moving_xy(self) -> bool:
        """Whether the x/y stage says that it is busy."""
        label = self._xy_label()
        return bool(
            self.session.call(f"ask whether {label} is busy", lambda: self._core.deviceBusy(label))
        )

    def stop(self) -> None:
        """Halt the drive, and the x/y stage once it was used, where they are."""
        for label in filter(None, (self._label, self._xy)):
            self.session.call(f"stop {label}", partial(self._core.stop, label))

    def close(self) -> None:
        """Give the core back; harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._focus_was_on:
                self.session.call(
                    "switch continuous focus on again",
                    lambda: self._core.enableContinuousFocus(True),
                )
        finally:
            self.session.release()

    def _find_direction(self, given: int | None) -> tuple[int, list[str]]:
        """Find which way z grows: as the rig says, else as the configuration does."""
        known = int(
            self.session.call(
                f"read the direction of {self._label}",
                lambda: self._core.getFocusDirection(self._label),
            )
        )
        if given is None:
            return known or 1, []
        if known and known != given:
            return given, [
                f"direction is {given} by the rig and {known} (towards the sample is +1) by "
                f"Micro-Manager's configuration: the rig's counts"
            ]
        return given, []

    def _xy_label(self) -> str:
        if self._xy is None:
            self._xy = _choose(self.session, None, _XY_STAGE, "x/y stage")
        return self._xy

    def _continuous_focus(self) -> bool:
        return bool(
            self.session.call(
                "ask for continuous focus", lambda: self._core.isContinuousFocusEnabled()
            )
        )

    def _end_continuous_focus(self, policy: str) -> bool:
        """Switch continuous focus off; returns whether it was on."""
        if not self._continuous_focus():
            return False
        if policy == "refuse":
            raise DeviceError(
                f"{self.name}: continuous focus is on and would fight every move; switch it off"
            )
        self.session.call(
            "switch continuous focus off", lambda: self._core.enableContinuousFocus(False)
        )
        if self._continuous_focus():
            raise DeviceError(f"{self.name}: continuous focus does not go off; switch it off")
        return True


class MmcoreRampStage(MmcoreStage):
    """A drive whose speed is a property; implements `fgaf.acquire.devices.RampStage`."""

    def __init__(
        self,
        session: Session,
        settings: MmcoreStageSettings,
        speed: SpeedProperty,
        limits_um: tuple[float, float],
        still_um: float,
        clock: Clock,
    ) -> None:
        super().__init__(session, settings, limits_um, still_um, clock)
        self._speed = speed
        self._ramping = False
        self._usual = str(
            session.call(
                f"read {speed.property} of {self._label}",
                lambda: self._core.getProperty(self._label, speed.property),
            )
        )

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start an absolute move at a speed; the next move has the usual one again.

        Raises
        ------
        DeviceError
            The drive does not take the speed, or as `move_to`.
        """
        self._set_speed(f"{speed_um_s / self._speed.um_s:.6g}")
        self._ramping = True
        super().move_to(z_um)

    def move_to(self, z_um: float) -> None:
        """Start an absolute move at the usual speed; see `MmcoreStage.move_to`."""
        self._end_ramp()
        super().move_to(z_um)

    def close(self) -> None:
        """Set the usual speed again, and give the core back."""
        try:
            self._end_ramp()
        finally:
            super().close()

    def _end_ramp(self) -> None:
        if self._ramping:
            self._ramping = False
            self._set_speed(self._usual)

    def _set_speed(self, value: str) -> None:
        _set_all(self.session, self._label, {self._speed.property: value})


class MmcoreCamera:
    """An open camera; implements `fgaf.acquire.devices.StreamingCamera`.

    Micro-Manager has no time stamps of single exposures: `time_host_ns` is half an exposure after
    the command, or the latency and half an exposure before a streamed frame's arrival, and
    `time_device_ns` is 0.

    Attributes
    ----------
    name
        Label, adapter and device.
    shape
        Rows and columns (Y, X) of the frames.
    bit_depth
        Significant bits of a pixel.
    effective
        What it works with, read back; with pace and latency once it has run free.
    """

    def __init__(
        self, session: Session, settings: MmcoreCameraSettings, clock: Clock, timeout_s: float
    ) -> None:
        self.session = session
        self._core = session.core
        self._clock, self._timeout_s = clock, timeout_s
        self._started = self._streaming = self._latest = self._closed = False
        self._count = 0
        self._pace: Pace | None = None
        self._latency = settings.latency
        self._label = _choose(session, settings.device, _CAMERA, "camera")
        self.name = _describe(session, self._label)
        session.call(f"use {self._label}", lambda: self._core.setCameraDevice(self._label))
        _set_all(session, self._label, settings.properties)
        if settings.binning is not None:
            _set_all(session, self._label, {"Binning": settings.binning})
        session.call(f"set the region of {self._label}", lambda: self._set_region(settings.region))
        session.call(
            f"set the exposure of {self._label}",
            lambda: self._core.setExposure(self._label, settings.exposure_ms),
        )
        self._exposure_us, form, components, bits = session.call(
            f"read the settings of {self._label}", self._read_form
        )
        if components != 1:
            raise DeviceError(
                f"{self.name} gives {components} images or colours at once; set it to one grey one"
            )
        self.shape, pixel_bytes = form[:2], form[2]
        if pixel_bytes not in (1, 2):
            raise DeviceError(f"{self.name} gives pixels of {pixel_bytes} bytes; set 8 or 16 bits")
        bits = settings.bit_depth or bits
        self.bit_depth = min(bits, 8) if pixel_bytes == 1 else max(bits, 9)
        self.effective = session.call(
            f"read the settings of {self._label}", lambda: self._read_back(settings)
        )

    def start(self) -> None:
        """End a live view and drop what it left; frame numbers start again at 0."""
        self._streaming = False
        self.session.call(f"end the live view of {self._label}", self._end_sequence)
        self._started = True
        self._count = 0

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame and return a copy of it.

        Raises
        ------
        DeviceError
            Not started, or no frame came in time.
        """
        if not self._started:
            raise DeviceError(f"{self.name} is not started")
        begun_ns = self._clock.now_ns()
        frame_id, self._count = self._count, self._count + 1
        pixels = self.session.call(f"expose {self._label}", self._snap, timeout_s)
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            time_device_ns=0,
            time_host_ns=begun_ns + round(self._exposure_us * 500),
            exposure_us=self._exposure_us,
        )

    @property
    def frame_interval_s(self) -> float:
        """Measured in a short stream when it is first asked for."""
        return self._measured()[0].interval_s

    @property
    def stamp_error_s(self) -> float:
        """Of streamed frames: what their latency and their arrivals leave open."""
        pace, latency = self._measured()
        return latency.error_ms / 1e3 + pace.scatter_s

    def stream(self, latest: bool = False) -> None:
        """Run free with an empty buffer; before the first time, the pace is measured."""
        pace, _ = self._measured()
        self._begin_stream(None if latest else pace, latest)

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame of the stream, or None when none comes in time.

        Raises
        ------
        IncompleteFrameError
            The frame came out of turn: one before it may be lost.
        DeviceError
            The camera does not run free, or a frame was lost.
        """
        _, latency = self._measured()
        if (image := self._next_image(timeout_s)) is None:
            return None
        pixels, number, arrived_ns = image
        before_us = 1e3 * latency.ms + self._exposure_us / 2
        return Frame(
            pixels=pixels,
            frame_id=number,
            time_device_ns=0,
            time_host_ns=arrived_ns - round(before_us * 1e3),
            exposure_us=self._exposure_us,
        )

    def stop(self) -> None:
        """End the exposures; harmless when there are none."""
        self._started = False
        if self._streaming:
            self._streaming = False
            self.session.call(f"stop {self._label}", self._end_sequence)

    def close(self) -> None:
        """Give the core back; harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        try:
            self.stop()
        finally:
            self.session.release()

    def _set_region(self, region: Region | None) -> None:
        self._core.clearROI()
        if region is not None:
            self._core.setROI(self._label, region.x, region.y, region.width, region.height)

    def _read_form(self) -> tuple[float, tuple[int, int, int], int, int]:
        core = self._core
        form = (core.getImageHeight(), core.getImageWidth(), core.getBytesPerPixel())
        images = core.getNumberOfComponents() * core.getNumberOfCameraChannels()
        exposure_us = 1e3 * float(core.getExposure(self._label))
        return exposure_us, form, int(images), int(core.getImageBitDepth())

    def _read_back(self, settings: MmcoreCameraSettings) -> EffectiveSettings:
        core, label = self._core, self._label
        values: dict[str, bool | int | float | str] = {"exposure_us": self._exposure_us}
        values |= {
            name: str(core.getProperty(label, name))
            for name in _RECORDED
            if core.hasProperty(label, name)
        }
        binning = _binning_of(self.name, str(values.get("Binning") or "1"))
        if settings.binning is not None and binning != settings.binning:
            raise DeviceError(
                f"{self.name} has binning {binning}, not {settings.binning} as "
                "camera.options.binning says; give one that it has"
            )
        values["binning"] = binning
        notes = []
        if abs(self._exposure_us - 1e3 * settings.exposure_ms) > 10 * settings.exposure_ms:
            notes.append(
                f"the camera exposes for {self._exposure_us / 1e3:g} ms, not for "
                f"{settings.exposure_ms:g} ms as asked"
            )
        if binning > 1:
            notes.append(f"binning {binning} x {binning}: pixels are {binning} times as large")
        turned = [name for name in _FLIPS if values.get(name) not in (None, "0")]
        if turned and values.get("TransposeCorrection", "1") != "0":
            notes.append(f"Micro-Manager turns the camera's images ({', '.join(turned)})")
        pixel_um = float(core.getPixelSizeUm())
        return EffectiveSettings(values, binning, pixel_um or None, tuple(notes))

    def _end_sequence(self) -> None:
        if self._core.isSequenceRunning(self._label):
            self._core.stopSequenceAcquisition(self._label)
        self._core.clearCircularBuffer()

    def _measured(self) -> tuple[Pace, Latency]:
        """Return pace and latency of the stream; the first time, run one for them."""
        if self._pace is None or self._latency is None:
            self._pace = Pace.of(self._trial())
            self._latency = self._latency or self._pace.latency()
            found = {
                "frame_interval_ms": self._pace.interval_s * 1e3,
                "latency_ms": self._latency.ms,
                "latency_error_ms": self._latency.error_ms,
            }
            self.effective = replace(self.effective, values={**self.effective.values, **found})
        return self._pace, self._latency

    def _trial(self) -> list[int]:
        """Run free for a few frames: when they arrived, in ns."""
        arrivals_ns: list[int] = []
        self._begin_stream(None)
        try:
            while len(arrivals_ns) < TRIAL_FRAMES:
                if (image := self._next_image(self._timeout_s)) is None:
                    raise DeviceError(
                        f"{self.name} gave no frame for {self._timeout_s:g} s; raise "
                        "camera.timeout_s if it is so slow"
                    )
                arrivals_ns.append(image[2])
        finally:
            self.stop()
        return arrivals_ns

    def _begin_stream(self, pace: Pace | None, latest: bool = False) -> None:
        self.start()
        self._started, self._streaming, self._latest = False, True, latest
        self._last_number: int | None = None
        self._arrivals = Arrivals(self._clock, pace)
        self.session.call(f"start {self._label}", self._core.startContinuousSequenceAcquisition)

    def _next_image(self, timeout_s: float) -> tuple[np.ndarray[Any, Any], int, int] | None:
        """Take an image of the stream: its pixels, its number and its arrival in ns."""
        if not self._streaming:
            raise DeviceError(f"{self.name} does not run free")
        deadline = time.monotonic() + timeout_s
        while (image := self.session.call(f"stream from {self._label}", self._pop)) is None:
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return None
            time.sleep(min(rest_s, _LOOK_S))
        pixels, number, told = image
        last, self._last_number = self._last_number, number
        if not self._latest and last is not None and number != last + 1:
            raise DeviceError(
                f"{self.name} gave frame {number} after {last}: a frame was lost; end other "
                "programs, or choose a smaller region"
            )
        return pixels, number, self._arrivals.next_ns(told)

    def _pop(self) -> tuple[np.ndarray[Any, Any], int, str] | None:
        core = self._core
        running, waiting = core.isSequenceRunning(self._label), core.getRemainingImageCount()
        if not waiting:
            if not running:
                raise RuntimeError("the camera ended its stream; check it")
            return None
        if self._latest:
            for _ in range(waiting - 1):
                core.popNextImage()
        elif core.isBufferOverflowed():
            raise RuntimeError(
                "its buffer ran over, so that frames were lost; end other programs, or choose a "
                "smaller region"
            )
        pixels, told = core.popNextImageAndMD()
        number, arrived = (told.get(key, None) for key in ("ImageNumber", "TimeReceivedByCore"))
        if number is None or arrived is None:
            raise RuntimeError("it does not tell when frames arrive; update it, or use acq stack")
        return np.array(pixels, order="C"), int(number), str(arrived)

    def _snap(self) -> np.ndarray[Any, Any]:
        self._core.snapImage()
        return np.array(self._core.getImage(), order="C")


def open_stage(settings: Mapping[str, Any], opening: Opening) -> MmcoreStage:
    """Open a Micro-Manager drive: the entry point `mmcore` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `MmcoreStageSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed, and the clock.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pymmcore-plus is missing, or a device cannot be loaded or set.
    """
    checked = parse_table(MmcoreStageSettings, settings, "stage.options")
    limits_um = limits_of(opening, "a Micro-Manager")
    session = Session(_session_part(checked))
    try:
        still_um = opening.rig.stage.tolerance_um / 4
        if checked.speed is None:
            return MmcoreStage(session, checked, limits_um, still_um, opening.clock)
        return MmcoreRampStage(session, checked, checked.speed, limits_um, still_um, opening.clock)
    except BaseException:
        session.release()
        raise


def open_camera(settings: Mapping[str, Any], opening: Opening) -> MmcoreCamera:
    """Open a Micro-Manager camera: the entry point `mmcore` of the group `fgaf.cameras`.

    It shares the core of the rig's drive, where that is one of Micro-Manager and the camera's
    options name no other devices.

    Parameters
    ----------
    settings
        The rig's `[camera.options]` with `exposure_ms`, see `MmcoreCameraSettings`.
    opening
        Gives the run's clock and the drive.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pymmcore-plus is missing, or a device cannot be loaded or set.
    """
    checked = parse_table(MmcoreCameraSettings, settings, "camera.options")
    wanted, stage = _session_part(checked), opening.stage
    if isinstance(stage, MmcoreStage) and wanted in (SessionSettings(), stage.session.settings):
        session = stage.session.share()
    else:
        session = Session(wanted)
    try:
        return MmcoreCamera(session, checked, opening.clock, opening.rig.camera.timeout_s)
    except BaseException:
        session.release()
        raise


def _session_part(settings: SessionSettings) -> SessionSettings:
    return SessionSettings(
        **{name: getattr(settings, name) for name in SessionSettings.model_fields}
    )


def _binning_of(name: str, text: str) -> int:
    """Read a binning, which some adapters write as 2x2.

    Raises
    ------
    DeviceError
        It differs along y and x, or is no number.
    """
    sides = {int(side) for side in re.findall(r"\d+", text)}
    if len(sides) != 1:
        raise DeviceError(f"{name} has binning {text!r}; set one that is equal along y and x")
    return sides.pop()


def _choose(session: Session, label: str | None, kind: int, what: str) -> str:
    """Return the device asked for, or the one that the configuration has for this part."""
    core = session.core
    found = [str(name) for name in session.call("list its devices", core.getLoadedDevices)]
    known = [
        name
        for name in found
        if session.call("list its devices", partial(core.getDeviceType, name)) == kind
    ]
    current = {
        _CAMERA: core.getCameraDevice,
        _STAGE: core.getFocusDevice,
        _XY_STAGE: core.getXYStageDevice,
    }[kind]
    chosen = label or str(session.call(f"name its {what}", current))
    if not chosen and len(known) == 1:
        return known[0]
    if chosen not in known:
        raise SettingError(
            f"Micro-Manager has no {what} {chosen!r}; give device, one of {', '.join(known)}"
            if known
            else f"Micro-Manager's configuration has no {what}; add one with its hardware wizard"
        )
    return chosen


def _describe(session: Session, label: str) -> str:
    core = session.core
    library, name = session.call(
        f"describe {label}", lambda: (core.getDeviceLibrary(label), core.getDeviceName(label))
    )
    return f"{label} ({library} {name}) through Micro-Manager"


def _set_all(session: Session, label: str, properties: Mapping[str, Any]) -> None:
    for name, value in properties.items():
        text = str(int(value)) if isinstance(value, bool) else value
        session.call(
            f"set {name} of {label} to {value}",
            partial(session.core.setProperty, label, name, text),
        )
