"""Basler cameras through pypylon: one software trigger, one frame; or a stream of all of them.

A trigger is sent only once the camera says that it waits for one, and the camera is armed anew
after anything that went wrong, so that the frame returned is always of the exposure asked for.
Every wait is cut in slices, between which a removed camera is noticed: pylon's own callback does
not always fire.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, field_validator

from fgaf.acquire.devices import Clock, DeviceError, EffectiveSettings, Frame, IncompleteFrameError
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.basler_pixels import FORMATS, PixelFormat
from fgaf.acquire.drivers.basler_stamps import LATCHES, CameraStamps
from fgaf.acquire.drivers.region import Region
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import Property, Table, parse_table, vendor_module
from fgaf.base.bounds import Bound, ExposureMs

_log = logging.getLogger(__name__)

REQUIRES: Final = ("pypylon",)

_SLICE_S: Final = 0.1
_FIRST_BLOCKS: Final = {"BaslerUsb": (0,), "BaslerGigE": (1,)}
_LAST_GIGE_BLOCK: Final = 65535
_STREAM_BUFFERS: Final = 32
_RESIZING: Final = (
    "DecimationHorizontal",
    "DecimationVertical",
    "ScalingHorizontal",
    "ScalingHorizontalAbs",
    "BslScalingFactor",
)
"""What else changes the size of a pixel: 1 where it does not."""
_OWN_SETTINGS: Final = {
    "PixelFormat": "pixel_format",
    "BinningHorizontal": "binning",
    "BinningVertical": "binning",
    **dict.fromkeys(_RESIZING, "binning"),
    "ExposureTime": "exposure_ms of [camera]",
    "ExposureTimeAbs": "exposure_ms of [camera]",
    "Width": "region",
    "Height": "region",
    "OffsetX": "region",
    "OffsetY": "region",
    "Gain": "gain",
    "GainRaw": "gain",
}
"""Features that the driver sets itself, and the setting that is for each."""
_RECORDED: Final = (
    "PixelFormat",
    "BinningHorizontalMode",
    "BinningVerticalMode",
    "ReverseX",
    "ReverseY",
    "Gain",
    "GainRaw",
    "BlackLevel",
    "BlackLevelRaw",
    "Gamma",
)
_EXPOSURE_TOLERANCE: Final = 0.01


class BaslerSettings(Table):
    """The `[camera.options]` of a Basler camera.

    Attributes
    ----------
    exposure_ms
        Exposure time; the rig gives it.
    serial_number
        Which camera; needed only when there are several.
    pixel_format
        `Mono8` gives uint8 frames, `Mono10`, `Mono12` and `Mono16` uint16. Packed forms
        (`Mono12p`, `Mono12Packed`) and Bayer patterns (`BayerRG8`, ...) are converted to grey by
        pylon.
    binning
        Pixels of the sensor along each side of one of the image's.
    gain
        In dB; in the camera's own steps for older GigE models. None leaves it as it is.
    region
        Part of the sensor; None is all of it.
    features
        Any other feature of the camera by its name, set in this order before all else, such as
        ``{GammaEnable = false, BlackLevel = 0.0}``.
    """

    exposure_ms: ExposureMs
    serial_number: str | None = None
    pixel_format: Annotated[str, Field(pattern=f"^{FORMATS}$")] = "Mono8"
    binning: Annotated[int, Bound(1, 8)] = 1
    gain: Annotated[float, Bound(-1000, 1e5)] | None = None
    region: Region | None = None
    features: dict[str, Property] = Field(default_factory=dict)

    @field_validator("features")
    @classmethod
    def _not_its_own(cls, features: dict[str, Any]) -> dict[str, Any]:
        for name in features:
            if name in _OWN_SETTINGS:
                raise ValueError(f"{name} is set by {_OWN_SETTINGS[name]}; give that instead")
        return features


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
        What it works with, read back.
    device
        The `pypylon.pylon.InstantCamera`, for features this driver does not know.
    """

    def __init__(self, device: Any, settings: BaslerSettings, clock: Clock) -> None:
        self._pylon = pylon = _import("pypylon.pylon")
        self._clock = clock
        self._genicam = _import("pypylon.genicam")
        self._started = self._armed = self._closed = self._latest = False
        self._streaming = False
        self._count = 0
        self._last_block: int | None = None
        self.device = device
        info = device.GetDeviceInfo()
        self.name = f"Basler {info.GetModelName()}, serial {info.GetSerialNumber()}"
        form = PixelFormat(settings.pixel_format)
        self.bit_depth = form.bits
        self._grey = form.reader(pylon)
        self._is_gige = info.GetDeviceClass() == "BaslerGigE"
        self._first_blocks = _FIRST_BLOCKS.get(info.GetDeviceClass(), (0, 1))
        with self._explained("cannot be opened; close pylon Viewer and any other program using it"):
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
            The camera is not started or was unplugged, was not ready or gave no frame in time,
            gave a broken frame, or lost one; it is armed anew before the next trigger.
        """
        if not self._started:
            raise DeviceError(f"{self.name} is not started")
        deadline = time.monotonic() + timeout_s
        if not self._armed:
            self._arm()
        self._armed = False
        with self._explained("failed"):
            self._wait_until_ready(deadline, timeout_s)
            begun_ns = self._clock.now_ns()
            self._count += 1
            self.device.ExecuteSoftwareTrigger()
            frame = self._retrieve(begun_ns, deadline, timeout_s)
        self._armed = True
        return frame

    @property
    def stamp_error_s(self) -> float:
        """Of streamed frames: a frame time where the camera has no clock that can be latched."""
        return self._stamps.error_s if self._stamps else self.frame_interval_s

    def stream(self, latest: bool = False) -> None:
        """Run free, with empty buffers; every frame is kept unless only the latest is wanted."""
        self.stop()
        self._set("TriggerMode", "Off")
        self._count = 0
        self._last_block = None
        self._latest = latest
        strategy = "GrabStrategy_LatestImageOnly" if latest else "GrabStrategy_OneByOne"
        with self._explained("cannot start"):
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
            The camera does not run free or was unplugged, or a frame was lost or came twice.
        """
        if not self._streaming:
            raise DeviceError(f"{self.name} does not run free")
        quietly = self._pylon.TimeoutHandling_Return
        with self._explained("failed"):
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
        """End the exposures; harmless when there are none."""
        self._started = self._armed = False
        with self._explained("cannot stop"):
            self.device.StopGrabbing()
            if self._streaming:
                self._streaming = False
                self._set("TriggerMode", "On")

    def close(self) -> None:
        """Give the camera back; harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        self._started = self._armed = False
        try:
            self.device.Close()
        except self._genicam.GenericException as error:
            if not self.device.IsCameraDeviceRemoved():
                raise DeviceError(f"{self.name} cannot be closed: {_one_line(error)}") from error

    def _configure(self, settings: BaslerSettings) -> None:
        for feature, value in settings.features.items():
            self._set(feature, value)
        self._set("PixelFormat", settings.pixel_format)
        binning = self._set_binning(settings.binning)
        self._set_region(settings.region)
        self._set_if_there("ExposureAuto", "Off")
        self._set_if_there("GainAuto", "Off")
        exposure = self._first_of("ExposureTime", "ExposureTimeAbs")
        self._set(exposure, settings.exposure_ms * 1e3)
        if settings.gain is not None:
            gain = self._first_of("Gain", "GainRaw")
            self._set(gain, settings.gain if gain == "Gain" else round(settings.gain))
        self._exposure_us = float(self._get(exposure))
        self._ticks_per_s = 1_000_000_000
        if self._has("GevTimestampTickFrequency"):
            self._ticks_per_s = int(self._get("GevTimestampTickFrequency"))
        latch = next((names for names in LATCHES if self._has(names[1])), None)
        self._stamps: CameraStamps | None = None
        if latch is not None:
            with self._explained(f"cannot {latch[0]}"):
                self._stamps = CameraStamps(self.device, latch, self._ticks_per_s, self._clock)
        self.shape = (int(self._get("Height")), int(self._get("Width")))
        self.frame_interval_s = self._exposure_us / 1e6
        if rate := self._known("ResultingFrameRate", "ResultingFrameRateAbs"):
            self.frame_interval_s = 1 / float(self._get(rate))
        self.effective = self._read_back(settings, binning)
        _log.info(
            "pylon %s; a frame every %.4g s",
            self._pylon.GetPylonVersionString(),
            self.frame_interval_s,
        )

    def _set_binning(self, binning: int) -> int:
        """Set the binning, also that which another program left; it is read back.

        Decimation, which excludes binning, and scaling are switched off before.

        Raises
        ------
        DeviceError
            The camera has none, or keeps another one, one that differs along y and x, or another
            feature that changes the size of a pixel.
        """
        for feature in _RESIZING:
            self._set_if_there(feature, 1)
            if self._has(feature) and (left := self._get(feature)) != 1:
                raise DeviceError(
                    f"{self.name} keeps {feature} = {left:g}, which changes the size of a pixel; "
                    "set it to 1 in pylon Viewer"
                )
        sides = ("BinningHorizontal", "BinningVertical")
        for side in sides:
            self._set_if_there(side, binning)
        found = [int(self._get(side)) if self._has(side) else 1 for side in sides]
        if found != [binning, binning]:
            raise DeviceError(
                f"{self.name} has binning {found[0]} x {found[1]}, not {binning} x {binning} as "
                "camera.options.binning says; set it to one that it has"
            )
        return binning

    def _read_back(self, settings: BaslerSettings, binning: int) -> EffectiveSettings:
        values = {"exposure_us": self._exposure_us, "binning": binning}
        values |= {name: self._get(name) for name in _RECORDED if self._has(name)}
        notes = []
        asked_us = 1e3 * settings.exposure_ms
        if abs(self._exposure_us - asked_us) > _EXPOSURE_TOLERANCE * asked_us:
            notes.append(
                f"the camera exposes for {self._exposure_us / 1e3:g} ms, not for "
                f"{settings.exposure_ms:g} ms as asked"
            )
        if binning > 1:
            notes.append(f"binning {binning} x {binning}: pixels are {binning} times as large")
        if PixelFormat(settings.pixel_format).is_colour:
            notes.append(f"colours of {settings.pixel_format} are converted to grey by pylon")
        flipped = [name for name in ("ReverseX", "ReverseY") if values.get(name)]
        if flipped:
            notes.append(f"the camera mirrors its images ({', '.join(flipped)})")
        return EffectiveSettings(values, binning, notes=tuple(notes))

    def _set_region(self, region: Region | None) -> None:
        """Set the region, by way of offset zero: size and offset limit each other."""
        for offset in ("OffsetY", "OffsetX"):
            self._set_if_there(offset, 0)
        for size, offset, pixels, begin in (
            ("Height", "OffsetY", region and region.height, region and region.y),
            ("Width", "OffsetX", region and region.width, region and region.x),
        ):
            with self._explained(f"has no feature {size}"):
                largest = int(getattr(self.device, size).Max)
            self._set(size, pixels or largest)
            if begin:
                self._set(offset, begin)

    def _arm(self) -> None:
        """Start grabbing anew, which empties the buffers and begins the block numbers again."""
        with self._explained("cannot start"):
            if self.device.IsGrabbing():
                self.device.StopGrabbing()
            self.device.StartGrabbing(self._pylon.GrabStrategy_OneByOne)
        self._last_block = None
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
        """Turn the result of a trigger into a frame, or say what is wrong with it."""
        return self._frame(result, self._pixels(result), begun_ns)

    def _streamed(self, result: Any) -> Frame:
        """Turn a result of the stream into a frame, stamped by the camera's clock if it has one."""
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
        """Copy the image of a whole result, or say what is wrong with it."""
        if not result.GrabSucceeded():
            self._check_presence()
            self._last_block = self._block_after(self._last_block)
            why = _one_line(result.GetErrorDescription()) or "no reason given"
            raise IncompleteFrameError(
                f"{self.name} gave a broken frame: {why} (error 0x{result.GetErrorCode():08x}); "
                "check cable and bandwidth"
            )
        if not self._latest:
            self._check_block(int(result.GetBlockID()))
        pixels = self._grey.read(result)
        kind = np.uint8 if self.bit_depth == 8 else np.uint16
        if pixels.shape != self.shape or pixels.dtype != kind:
            self._check_presence()
            raise DeviceError(
                f"{self.name} gave {pixels.dtype}{list(pixels.shape)} instead of "
                f"{np.dtype(kind)}{list(self.shape)}; another program may have changed its settings"
            )
        return pixels

    def _check_block(self, block: int) -> None:
        """Refuse a gap or a repeat in the camera's own numbers.

        They begin at 0 on USB and at 1 on GigE, where they may go round at 65535 and where 0 says
        that the camera does not count.
        """
        if self._is_gige and block == 0:
            return
        last, self._last_block = self._last_block, block
        follows = block in self._first_blocks if last is None else block == self._block_after(last)
        if not (follows or (last is not None and block == last + 1)):
            raise DeviceError(
                f"{self.name} gave block {block} after {'the start' if last is None else last}: a "
                "frame was lost or came twice; check cable and bandwidth"
            )

    def _block_after(self, block: int | None) -> int | None:
        if block is None:
            return None
        return 1 if self._is_gige and block == _LAST_GIGE_BLOCK else block + 1

    def _slices(self, deadline: float, least_ms: int = 1) -> Iterator[int]:
        """Yield waiting times in ms until the deadline, noticing a removed camera in between."""
        while True:
            rest_s = deadline - time.monotonic()
            yield max(least_ms, round(1e3 * min(rest_s, _SLICE_S)))
            self._check_presence()
            if time.monotonic() >= deadline:
                return

    def _check_presence(self) -> None:
        if self.device.IsCameraDeviceRemoved():
            raise DeviceError(f"{self.name} was unplugged; plug it in and start again")

    def _has(self, feature: str) -> bool:
        node = self.device.GetNodeMap().GetNode(feature)
        return node is not None and bool(self._genicam.IsReadable(node))

    def _known(self, *features: str) -> str | None:
        """Return the first feature the camera has, if any: names differ between generations."""
        return next((feature for feature in features if self._has(feature)), None)

    def _first_of(self, *features: str) -> str:
        """Return the first feature the camera has."""
        if found := self._known(*features):
            return found
        raise DeviceError(f"{self.name} has none of the features {', '.join(features)}")

    def _get(self, feature: str) -> Any:
        with self._explained(f"does not tell {feature}"):
            return getattr(self.device, feature).Value

    def _set(self, feature: str, value: bool | int | float | str) -> None:
        with self._explained(f"does not take {feature} = {value}"):
            getattr(self.device, feature).Value = value

    def _set_if_there(self, feature: str, value: int | str) -> None:
        node = self.device.GetNodeMap().GetNode(feature)
        if node is not None and self._genicam.IsWritable(node):
            self._set(feature, value)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._genicam.GenericException as error:
            if self.device.IsCameraDeviceRemoved():
                raise DeviceError(
                    f"{self.name} was unplugged; plug it in and start again"
                ) from error
            raise DeviceError(f"{self.name} {what}: {_one_line(error)}") from error


def open_camera(settings: Mapping[str, Any], opening: Opening) -> BaslerCamera:
    """Open a Basler camera: the entry point `basler` of the group `fgaf.cameras`.

    Parameters
    ----------
    settings
        The rig's `[camera.options]` with `exposure_ms`, see `BaslerSettings`.
    opening
        Gives the run's clock.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pypylon is missing, no camera or no single one fits, or it does not take a setting.
    """
    checked = parse_table(BaslerSettings, settings, "camera.options")
    pylon = _import("pypylon.pylon")
    factory = pylon.TlFactory.GetInstance()
    chosen = _choose(list(factory.EnumerateDevices()), checked.serial_number)
    device = pylon.InstantCamera(factory.CreateDevice(chosen))
    return BaslerCamera(device, checked, opening.clock)


def find() -> list[Found]:
    """List the cameras that pylon sees, without opening them; Basler's emulator is one of them."""
    factory = _import("pypylon.pylon").TlFactory.GetInstance()
    return [
        Found(
            kind="camera",
            driver="basler",
            where=str(info.GetSerialNumber()),
            name=f"Basler {info.GetModelName()}, serial {info.GetSerialNumber()}",
            options={"serial_number": str(info.GetSerialNumber())},
            problem=""
            if factory.IsDeviceAccessible(info)
            else "in use by another program: close it and try again",
        )
        for info in factory.EnumerateDevices()
    ]


def _import(module: str) -> ModuleType:
    """Import a module of pypylon with its warnings off.

    Its generated code warns while it loads, and crashes the interpreter where a warning is an
    error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return vendor_module(module)


def _choose(found: list[Any], serial_number: str | None) -> Any:
    serials = [str(info.GetSerialNumber()) for info in found]
    if not found:
        raise DeviceError(
            "no Basler camera was found: check cable and power, and that pylon Viewer sees it"
        )
    if serial_number is None:
        if len(found) == 1:
            return found[0]
        raise DeviceError(
            f"{len(found)} Basler cameras were found: give camera.options.serial_number, one of "
            f"{', '.join(serials)}"
        )
    if serial_number not in serials:
        raise DeviceError(f"there is no Basler camera {serial_number}; found {', '.join(serials)}")
    return found[serials.index(serial_number)]


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
