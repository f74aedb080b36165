"""The Basler cameras that pylon finds."""

from __future__ import annotations

from typing import Any

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.basler_features import import_pypylon


def find() -> list[Found]:
    """List the cameras that pylon finds, without opening them; Basler's emulator is one of them."""
    factory = import_pypylon("pypylon.pylon").TlFactory.GetInstance()
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


def choose(found: list[Any], serial_number: str | None) -> Any:
    """Choose the camera with a serial number, or the only one.

    Parameters
    ----------
    found
        pylon's descriptions of the cameras.
    serial_number
        Which; None for the only one.

    Raises
    ------
    DeviceError
        There is none, or several and no number, or none with this number.
    """
    serials = [str(info.GetSerialNumber()) for info in found]
    if not found:
        raise DeviceError(
            "no Basler camera was found: check its cable and power, and whether pylon Viewer finds "
            "it"
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
