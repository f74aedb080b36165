"""Basler cameras through pypylon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fgaf.acquire.drivers.basler_camera import BaslerCamera
from fgaf.acquire.drivers.basler_features import import_pypylon
from fgaf.acquire.drivers.basler_found import choose, find as find
from fgaf.acquire.drivers.basler_settings import BaslerSettings
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table

REQUIRES: Final = ("pypylon",)


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
        pypylon is missing, no camera or more than one matches, or the camera refuses a setting.
    """
    checked = parse_table(BaslerSettings, settings, "camera.options")
    pylon = import_pypylon("pypylon.pylon")
    factory = pylon.TlFactory.GetInstance()
    chosen = choose(list(factory.EnumerateDevices()), checked.serial_number)
    device = pylon.InstantCamera(factory.CreateDevice(chosen))
    return BaslerCamera(device, checked, opening.clock)
