"""A Basler camera: one frame for each software trigger, or a stream of frames.

A trigger is sent only when the camera reports that it waits for one, and the camera is armed again
after every error. A returned frame therefore always belongs to the requested exposure. Every wait
is divided into short ones; between them the driver checks that the camera is still connected,
because pylon's own callback is not always called.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from fgaf.acquire.devices import Clock, DeviceError, Frame, IncompleteFrameError
from fgaf.acquire.drivers.basler_blocks import Blocks
from fgaf.acquire.drivers.basler_features import Features, import_pypylon, one_line
from fgaf.acquire.drivers.basler_pixels import PixelFormat
from fgaf.acquire.drivers.basler_settings import BaslerSettings, apply, read_back
from fgaf.acquire.drivers.basler_stamps import LATCHES, CameraStamps

_log = logging.getLogger(__name__)

_SLICE_S: Final = 0.1
_STREAM_BUFFERS: Final = 32


class BaslerCamera:
    """An open camera; implements `fgaf.acquire.devices.StreamingCamera`.

    Attributes
    ----------
    name
        Model and serial number.
    shape
        Rows and columns (Y, X) of the frames.
    bit_depth
        Significant bits of a pixel.
    frame_interval_s
        Time between two frames of a stream, as the camera computes it.
    effective
        Its settings, read back.
    device
        The `pypylon.pylon.InstantCamera`, for features that this driver does not use.
    """

    def __init__(self, device: Any, settings: BaslerSettings, clock: Clock) -> None:
        self._pylon = pylon = import_pypylon("pypylon.pylon")
        self._clock = clock
        self._genicam = import_pypylon("pypylon.genicam")
        self._started = self._armed = self._closed = self._latest = False
        self._streaming = False
        self._count = 0
        self.device = device
        info = device.GetDeviceInfo()
        self.name = f"Basler {info.GetModelName()}, serial {info.GetSerialNumber()}"
        form = PixelFormat(settings.pixel_format)
        self.bit_depth = form.bits
        self._grey = form.reader(pylon)
        self._features = Features(device, self.name)
        self._blocks = Blocks(info.GetDeviceClass(), self.name)
        with self._features.explained(
            "cannot be opened; close pylon Viewer and any other program using it"
        ):
            device.RegisterConfiguration(
                pylon.SoftwareTriggerConfiguration(),
                pylon.RegistrationMode_ReplaceAll,
                pylon.Cleanup_Delete,
            )
            device.Open()
        try:
            self._configure(settings)
        except BaseException:
            device.Close()
            raise

    def start(self) -> None:
        """Arm the camera with empty buffers; frame numbers start again."""
        self.stop()
        self._latest = False
        self._count = 0
        self._arm()
        self._started = True

    def trigger(self, timeout_s: float) -> Frame:
        """Expose one frame and return a copy of it.

        Raises
        ------
        DeviceError
            The camera is not started or was unplugged, was not ready or gave no frame in time, gave
            a broken frame, or lost one; it is armed again before the next trigger.
        """
        if not self._started:
            raise DeviceError(f"{self.name} is not started")
        deadline = time.monotonic() + timeout_s
        if not self._armed:
            self._arm()
        self._armed = False
        with self._features.explained("failed"):
            self._wait_until_ready(deadline, timeout_s)
            begun_ns = self._clock.now_ns()
            self._count += 1
            self.device.ExecuteSoftwareTrigger()
            frame = self._retrieve(begun_ns, deadline, timeout_s)
        self._armed = True
        return frame

    @property
    def stamp_error_s(self) -> float:
        """Maximum error of streamed time stamps: a frame time without a readable camera clock."""
        return self._stamps.error_s if self._stamps else self.frame_interval_s

    def stream(self, latest: bool = False) -> None:
        """Run free, with empty buffers; keep every frame, or only the latest one."""
        self.stop()
        self._features.set("TriggerMode", "Off")
        self._count = 0
        self._blocks.restart()
        self._latest = latest
        strategy = "GrabStrategy_LatestImageOnly" if latest else "GrabStrategy_OneByOne"
        with self._features.explained("cannot start"):
            if self._stamps:
                self._stamps.synchronise()
            self.device.MaxNumBuffer.Value = _STREAM_BUFFERS
            self._streaming = True
            self.device.StartGrabbing(getattr(self._pylon, strategy))

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame of the stream, or None when none comes in time.

        Raises
        ------
        IncompleteFrameError
            The frame is broken; the stream goes on.
        DeviceError
            The camera is not streaming or was unplugged, or a frame was lost or came twice.
        """
        if not self._streaming:
            raise DeviceError(f"{self.name} is not streaming; start its stream first")
        quietly = self._pylon.TimeoutHandling_Return
        with self._features.explained("failed"):
            for slice_ms in self._slices(time.monotonic() + timeout_s, least_ms=0):
                result = self.device.RetrieveResult(slice_ms, quietly)
                if result.IsValid():
                    self._count += 1
                    try:
                        return self._streamed(result)
                    finally:
                        result.Release()
        return None

    def stop(self) -> None:
        """Stop the exposures; harmless when there are none."""
        self._started = self._armed = False
        with self._features.explained("cannot stop"):
            self.device.StopGrabbing()
            if self._streaming:
                self._streaming = False
                self._features.set("TriggerMode", "On")

    def close(self) -> None:
        """Close the camera; harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        self._started = self._armed = False
        try:
            self.device.Close()
        except self._genicam.GenericException as error:
            if not self.device.IsCameraDeviceRemoved():
                raise DeviceError(f"{self.name} cannot be closed: {one_line(error)}") from error

    def _configure(self, settings: BaslerSettings) -> None:
        self._exposure_us = apply(settings, self._features)
        self._ticks_per_s = 1_000_000_000
        if self._features.has("GevTimestampTickFrequency"):
            self._ticks_per_s = int(self._features.get("GevTimestampTickFrequency"))
        latch = next((names for names in LATCHES if self._features.has(names[1])), None)
        self._stamps: CameraStamps | None = None
        if latch is not None:
            with self._features.explained(f"cannot {latch[0]}"):
                self._stamps = CameraStamps(self.device, latch, self._ticks_per_s, self._clock)
        self.shape = (int(self._features.get("Height")), int(self._features.get("Width")))
        self.frame_interval_s = self._exposure_us / 1e6
        if rate := self._features.known("ResultingFrameRate", "ResultingFrameRateAbs"):
            self.frame_interval_s = 1 / float(self._features.get(rate))
        self.effective = read_back(settings, self._features, self._exposure_us)
        _log.info(
            "pylon %s; a frame every %.4g s",
            self._pylon.GetPylonVersionString(),
            self.frame_interval_s,
        )

    def _arm(self) -> None:
        """Restart grabbing, which empties the buffers and restarts the block numbers."""
        with self._features.explained("cannot start"):
            if self.device.IsGrabbing():
                self.device.StopGrabbing()
            self.device.StartGrabbing(self._pylon.GrabStrategy_OneByOne)
        self._blocks.restart()
        self._armed = True
        _log.debug("%s is armed", self.name)

    def _wait_until_ready(self, deadline: float, timeout_s: float) -> None:
        if not self.device.CanWaitForFrameTriggerReady():
            return
        quietly = self._pylon.TimeoutHandling_Return
        for slice_ms in self._slices(deadline):
            if self.device.WaitForFrameTriggerReady(slice_ms, quietly):
                return
        raise DeviceError(
            f"{self.name} was not ready for a trigger within {timeout_s:g} s; check its frame rate "
            "limit and exposure time"
        )

    def _retrieve(self, begun_ns: int, deadline: float, timeout_s: float) -> Frame:
        quietly = self._pylon.TimeoutHandling_Return
        for slice_ms in self._slices(deadline):
            result = self.device.RetrieveResult(slice_ms, quietly)
            if result.IsValid():
                try:
                    return self._checked(result, begun_ns)
                finally:
                    result.Release()
        raise DeviceError(
            f"{self.name} gave no frame within {timeout_s:g} s of its trigger; check cable, hub "
            "and power"
        )

    def _checked(self, result: Any, begun_ns: int) -> Frame:
        """Convert the result of a trigger to a frame."""
        return self._frame(result, self._pixels(result), begun_ns)

    def _streamed(self, result: Any) -> Frame:
        """Convert a result of the stream to a frame, with the camera's time if it has a clock."""
        arrived_ns = self._clock.now_ns()
        pixels = self._pixels(result)
        ticks = int(result.GetTimeStamp())
        if self._stamps and ticks:
            return self._frame(result, pixels, self._stamps.host_ns(ticks))
        return self._frame(result, pixels, arrived_ns - round(self._exposure_us * 1e3))

    def _frame(self, result: Any, pixels: np.ndarray[Any, Any], begun_ns: int) -> Frame:
        half_ns = round(self._exposure_us * 500)
        ticks = int(result.GetTimeStamp())
        return Frame(
            pixels=pixels,
            frame_id=self._count,
            time_device_ns=ticks * 1_000_000_000 // self._ticks_per_s + half_ns if ticks else 0,
            time_host_ns=begun_ns + half_ns,
            exposure_us=self._exposure_us,
        )

    def _pixels(self, result: Any) -> np.ndarray[Any, Any]:
        """Copy the image of a complete result; an incomplete one is an error."""
        if not result.GrabSucceeded():
            self._features.require_present()
            self._blocks.skip()
            why = one_line(result.GetErrorDescription()) or "no reason given"
            raise IncompleteFrameError(
                f"{self.name} gave a broken frame: {why} (error 0x{result.GetErrorCode():08x}); "
                "check cable and bandwidth"
            )
        if not self._latest:
            self._blocks.require_next(int(result.GetBlockID()))
        pixels = self._grey.read(result)
        kind = np.uint8 if self.bit_depth == 8 else np.uint16
        if pixels.shape != self.shape or pixels.dtype != kind:
            self._features.require_present()
            raise DeviceError(
                f"{self.name} gave {pixels.dtype}{list(pixels.shape)} instead of "
                f"{np.dtype(kind)}{list(self.shape)}; another program may have changed its settings"
            )
        return pixels

    def _slices(self, deadline: float, least_ms: int = 1) -> Iterator[int]:
        """Yield waiting times in ms until the deadline; check for a removed camera between them."""
        while True:
            rest_s = deadline - time.monotonic()
            yield max(least_ms, round(1e3 * min(rest_s, _SLICE_S)))
            self._features.require_present()
            if time.monotonic() >= deadline:
                return
