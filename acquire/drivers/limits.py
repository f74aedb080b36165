"""Limits of stages, from the rig."""

from __future__ import annotations

import math

from fgaf.acquire.devices import DeviceError, LimitsXY
from fgaf.acquire.rig import Opening
from fgaf.base.errors import SettingError


def limits_of(opening: Opening, maker: str) -> tuple[float, float]:
    """Return the rig's `stage.limits_um`.

    Parameters
    ----------
    opening
        Gives the rig.
    maker
        Maker of the drive, with an article, for the error: "a Prior".

    Raises
    ------
    SettingError
        The rig has none.
    """
    if opening.rig.stage.limits_um is None:
        raise SettingError(
            f"{maker} drive has no limits of its own: set stage.limits_um in the rig"
        )
    return opening.rig.stage.limits_um


def require_within(z_um: float, limits_um: tuple[float, float], name: str) -> None:
    """Refuse a position outside the limits of the drive called `name`.

    Parameters
    ----------
    z_um
        Where to, µm.
    limits_um
        Lowest and highest z, µm.
    name
        Name of the drive, for the error.

    Raises
    ------
    DeviceError
        It is outside.
    """
    low, high = limits_um
    if not low <= z_um <= high:
        raise DeviceError(f"{name}: z = {z_um:g} µm is outside its limits {low:g} to {high:g} µm")


def require_within_xy(place_um: tuple[float, float], limits_um: LimitsXY, name: str) -> None:
    """Refuse a position outside the limits of the x/y stage called `name`.

    Parameters
    ----------
    place_um
        Where to, x and y in µm.
    limits_um
        Lowest and highest x, and y, in µm.
    name
        Name of the stage, for the error.

    Raises
    ------
    DeviceError
        It is outside, or the limits are infinite.
    """
    for axis, at_um, (low, high) in zip("xy", place_um, limits_um, strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DeviceError(
                f"{name} has no limits in {axis}: set xy_stage.{axis}_limits_um in the rig"
            )
        if not low <= at_um <= high:
            raise DeviceError(
                f"{name}: {axis} = {at_um:g} µm is outside its limits {low:g} to {high:g} µm"
            )
