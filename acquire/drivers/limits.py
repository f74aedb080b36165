"""Limits of drives without their own limits, from the rig."""

from __future__ import annotations

from fgaf.acquire.devices import DeviceError
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
