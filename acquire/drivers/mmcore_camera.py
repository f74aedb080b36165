"""A camera that Micro-Manager supports: one exposure at a time, or a stream."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, field_validator

from fgaf.acquire.devices import Clock, DeviceError, EffectiveSettings, Frame
from fgaf.acquire.drivers.mmcore_device import (
    CAMERA,
    choose_device,
    describe_device,
    set_properties,
)
from fgaf.acquire.drivers.mmcore_session import Session, SessionSettings
from fgaf.acquire.drivers.mmcore_stamps import TRIAL_FRAMES, Arrivals, Latency, Pace
from fgaf.acquire.drivers.region import Region
from fgaf.acquire.tables import Property
from fgaf.base.bounds import BitDepth, Bound, ExposureMs

_LOOK_S: Final = 5e-4
_FLIPS: Final = ("TransposeMirrorX", "TransposeMirrorY", "TransposeXY")
_RECORDED: Final = (
    *("Binning", "PixelType", "BitDepth", "Gain", "Offset", "ReadoutMode"),
    *("TransposeCorrection", *_FLIPS),
)


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
        Sensor pixels along each side of one image pixel; None does not change it.
    region
        Part of the sensor; None is all of it.
    bit_depth
        Significant bits of a pixel, if Micro-Manager reports a wrong number.
    latency
        Latency of streamed frames, for sweeps; None assumes up to two frame times.
    """

    exposure_ms: ExposureMs
    device: str | None = None
    properties: dict[str, Property] = Field(default_factory=dict)
    binning: Annotated[int, Bound(1, 16)] | None = None
    region: Region | None = None
    bit_depth: BitDepth | None = None
    latency: Latency | None = None

    @field_validator("properties")
    @classmethod
    def _not_its_own(cls, properties: dict[str, Property]) -> dict[str, Property]:
        for name, instead in (("Binning", "binning"), ("Exposure", "exposure_ms of [camera]")):
            if name in properties:
                raise ValueError(f"{name} is set by {instead}; give that instead")
        return properties


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
        Its settings, read back, with frame interval and latency after the first stream.
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
        self._label = choose_device(session, settings.device, CAMERA, "camera")
        self.name = describe_device(session, self._label)
        session.call(f"use {self._label}", lambda: self._core.setCameraDevice(self._label))
        set_properties(session, self._label, settings.properties)
        if settings.binning is not None:
            set_properties(session, self._label, {"Binning": settings.binning})
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
                f"{self.name} gives {components} images or colours at once; set it to a single "
                "grey image"
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
        """End a live view and drop its frames; frame numbers start again at 0."""
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
        """Time between two streamed frames; measured in a short stream at the first call."""
        return self._measured()[0].interval_s

    @property
    def stamp_error_s(self) -> float:
        """Maximum error of streamed time stamps, from the latency and the scatter of arrivals."""
        pace, latency = self._measured()
        return latency.error_ms / 1e3 + pace.scatter_s

    def stream(self, latest: bool = False) -> None:
        """Run free with an empty buffer; the first call measures the frame interval before."""
        pace, _ = self._measured()
        self._begin_stream(None if latest else pace, latest)

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame of the stream, or None when none comes in time.

        Raises
        ------
        IncompleteFrameError
            The frame did not come at its expected time: one before it may be lost.
        DeviceError
            The camera is not streaming, or a frame was lost.
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
        """Stop the exposures; harmless when there are none."""
        self._started = False
        if self._streaming:
            self._streaming = False
            self.session.call(f"stop {self._label}", self._end_sequence)

    def close(self) -> None:
        """Release the core; harmless when already closed."""
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
                "camera.options.binning says; choose a binning that the camera supports"
            )
        values["binning"] = binning
        notes = []
        if abs(self._exposure_us - 1e3 * settings.exposure_ms) > 10 * settings.exposure_ms:
            notes.append(
                f"the camera exposes for {self._exposure_us / 1e3:g} ms, not for "
                f"{settings.exposure_ms:g} ms as requested"
            )
        if binning > 1:
            notes.append(f"binning {binning} x {binning}: pixels are {binning} times as large")
        turned = [name for name in _FLIPS if values.get(name) not in (None, "0")]
        if turned and values.get("TransposeCorrection", "1") != "0":
            notes.append(
                f"Micro-Manager flips or transposes the camera's images ({', '.join(turned)})"
            )
        pixel_um = float(core.getPixelSizeUm())
        return EffectiveSettings(values, binning, pixel_um or None, tuple(notes))

    def _end_sequence(self) -> None:
        if self._core.isSequenceRunning(self._label):
            self._core.stopSequenceAcquisition(self._label)
        self._core.clearCircularBuffer()

    def _measured(self) -> tuple[Pace, Latency]:
        """Return pace and latency of the stream; the first call measures them in a short one."""
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
        """Run free for a few frames, and return their arrival times in ns."""
        arrivals_ns: list[int] = []
        self._begin_stream(None)
        try:
            while len(arrivals_ns) < TRIAL_FRAMES:
                if (image := self._next_image(self._timeout_s)) is None:
                    raise DeviceError(
                        f"{self.name} gave no frame for {self._timeout_s:g} s; raise "
                        "camera.timeout_s if the camera is that slow"
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
        """Take an image from the stream: its pixels, its number and its arrival in ns."""
        if not self._streaming:
            raise DeviceError(f"{self.name} is not streaming; start its stream first")
        deadline = time.monotonic() + timeout_s
        while (image := self.session.call(f"stream from {self._label}", self._pop)) is None:
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return None
            time.sleep(min(rest_s, _LOOK_S))
        pixels, number, stamp = image
        last, self._last_number = self._last_number, number
        if not self._latest and last is not None and number != last + 1:
            raise DeviceError(
                f"{self.name} gave frame {number} after {last}: a frame was lost; close other "
                "programs, or choose a smaller region"
            )
        return pixels, number, self._arrivals.next_ns(stamp)

    def _pop(self) -> tuple[np.ndarray[Any, Any], int, str] | None:
        core = self._core
        running, waiting = core.isSequenceRunning(self._label), core.getRemainingImageCount()
        if not waiting:
            if not running:
                raise RuntimeError("the camera ended its stream; check its connection and power")
            return None
        if self._latest:
            for _ in range(waiting - 1):
                core.popNextImage()
        elif core.isBufferOverflowed():
            raise RuntimeError(
                "its buffer overflowed and frames were lost; close other programs, or choose a "
                "smaller region"
            )
        pixels, metadata = core.popNextImageAndMD()
        number, arrived = (metadata.get(key, None) for key in ("ImageNumber", "TimeReceivedByCore"))
        if number is None or arrived is None:
            raise RuntimeError(
                "it gives no arrival times of frames; update Micro-Manager, or use acq stack"
            )
        return np.array(pixels, order="C"), int(number), str(arrived)

    def _snap(self) -> np.ndarray[Any, Any]:
        self._core.snapImage()
        return np.array(self._core.getImage(), order="C")


def _binning_of(name: str, text: str) -> int:
    """Read a binning, which some adapters write as 2x2.

    Raises
    ------
    DeviceError
        It differs along y and x, or is not a number.
    """
    sides = {int(side) for side in re.findall(r"\d+", text)}
    if len(sides) != 1:
        raise DeviceError(
            f"{name} has binning {text!r}; set one that is a whole number, equal along y and x"
        )
    return sides.pop()
