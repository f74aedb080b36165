"""The settings of a Basler camera: their table in the rig, how they are set and read back."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from fgaf.acquire.devices import DeviceError, EffectiveSettings
from fgaf.acquire.drivers.basler_features import Features
from fgaf.acquire.drivers.basler_pixels import FORMATS, PixelFormat
from fgaf.acquire.drivers.region import Region
from fgaf.acquire.tables import Property, Table
from fgaf.base.bounds import Bound, ExposureMs

_RESIZING: Final = (
    "DecimationHorizontal",
    "DecimationVertical",
    "ScalingHorizontal",
    "ScalingHorizontalAbs",
    "BslScalingFactor",
)
"""Other features that change the size of a pixel; a value of 1 does not."""
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
"""Features that the driver sets itself, and the key of the rig for each."""
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
        Sensor pixels along each side of one image pixel.
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


def apply(settings: BaslerSettings, features: Features) -> float:
    """Set the camera as `settings` says; returns the exposure time in µs, read back.

    Parameters
    ----------
    settings
        What to set.
    features
        Of the open camera.

    Raises
    ------
    DeviceError
        The camera refuses one of them.
    """
    for feature, value in settings.features.items():
        features.set(feature, value)
    features.set("PixelFormat", settings.pixel_format)
    _set_binning(features, settings.binning)
    _set_region(features, settings.region)
    features.set_if_there("ExposureAuto", "Off")
    features.set_if_there("GainAuto", "Off")
    exposure = features.first_of("ExposureTime", "ExposureTimeAbs")
    features.set(exposure, settings.exposure_ms * 1e3)
    if settings.gain is not None:
        gain = features.first_of("Gain", "GainRaw")
        features.set(gain, settings.gain if gain == "Gain" else round(settings.gain))
    return float(features.get(exposure))


def read_back(
    settings: BaslerSettings, features: Features, exposure_us: float
) -> EffectiveSettings:
    """Read the camera's settings back, and note where they differ from the requested ones.

    Parameters
    ----------
    settings
        The requested settings.
    features
        Of the open camera.
    exposure_us
        Exposure time, read back.
    """
    binning = settings.binning
    values = {"exposure_us": exposure_us, "binning": binning}
    values |= {name: features.get(name) for name in _RECORDED if features.has(name)}
    notes = []
    asked_us = 1e3 * settings.exposure_ms
    if abs(exposure_us - asked_us) > _EXPOSURE_TOLERANCE * asked_us:
        notes.append(
            f"the camera exposes for {exposure_us / 1e3:g} ms, not for "
            f"{settings.exposure_ms:g} ms as requested"
        )
    if binning > 1:
        notes.append(f"binning {binning} x {binning}: pixels are {binning} times as large")
    if PixelFormat(settings.pixel_format).is_colour:
        notes.append(f"colours of {settings.pixel_format} are converted to grey by pylon")
    flipped = [name for name in ("ReverseX", "ReverseY") if values.get(name)]
    if flipped:
        notes.append(f"the camera mirrors its images ({', '.join(flipped)})")
    return EffectiveSettings(values, binning, notes=tuple(notes))


def _set_binning(features: Features, binning: int) -> None:
    """Set the binning, whatever another program left, and read it back.

    Decimation, which excludes binning, and scaling are switched off first.

    Raises
    ------
    DeviceError
        The camera cannot bin, keeps another binning or one that differs along y and x, or another
        feature changes the size of a pixel.
    """
    for feature in _RESIZING:
        features.set_if_there(feature, 1)
        if features.has(feature) and (left := features.get(feature)) != 1:
            raise DeviceError(
                f"{features.name} keeps {feature} = {left:g}, which changes the size of a "
                "pixel; set it to 1 in pylon Viewer"
            )
    sides = ("BinningHorizontal", "BinningVertical")
    for side in sides:
        features.set_if_there(side, binning)
    found = [int(features.get(side)) if features.has(side) else 1 for side in sides]
    if found != [binning, binning]:
        raise DeviceError(
            f"{features.name} has binning {found[0]} x {found[1]}, not {binning} x {binning} "
            "as camera.options.binning says; choose a binning that the camera supports"
        )


def _set_region(features: Features, region: Region | None) -> None:
    """Set the region; the offset is first set to zero, as size and offset limit each other."""
    for offset in ("OffsetY", "OffsetX"):
        features.set_if_there(offset, 0)
    for size, offset, pixels, begin in (
        ("Height", "OffsetY", region and region.height, region and region.y),
        ("Width", "OffsetX", region and region.width, region and region.x),
    ):
        with features.explained(f"has no feature {size}"):
            largest = int(getattr(features.device, size).Max)
        features.set(size, pixels or largest)
        if begin:
            features.set(offset, begin)
