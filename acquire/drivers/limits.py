"""Limits of stages, from the rig."""

from __future__ import annotations

import math

from fgaf.acquire.devices import DeviceError, LimitsXY, LimitsXYZ, Place3
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
    _require_between("z", z_um, *limits_um, name)


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
        _require_between(axis, at_um, low, high, name)


def require_within_xyz(place_um: Place3, limits_um: LimitsXYZ, name: str) -> None:
    """Refuse a position outside the limits of the manipulator called `name`.

    Parameters
    ----------
    place_um
        Where to, x, y and z in µm.
    limits_um
        Lowest and highest x, y, and z, in µm.
    name
        Name of the manipulator, for the error.

    Raises
    ------
    DeviceError
        It is outside.
    """
    for axis, at_um, (low, high) in zip("xyz", place_um, limits_um, strict=True):
        _require_between(axis, at_um, low, high, name)


def _require_between(axis: str, at_um: float, low: float, high: float, name: str) -> None:
    if not low <= at_um <= high:
        raise DeviceError(
            f"{name}: {axis} = {at_um:g} µm is outside its limits {low:g} to {high:g} µm"
        )
