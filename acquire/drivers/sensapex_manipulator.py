"""A Sensapex uMp manipulator: positions that are read, moves along three axes, and stops."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from ctypes import byref, c_float, c_int
from typing import Annotated, Any, Final

from fgaf.acquire.device_tables import ManipulatorTable
from fgaf.acquire.devices import DeviceError, EffectiveSettings, LimitsXYZ, Place3
from fgaf.acquire.drivers.limits import require_within_xyz
from fgaf.acquire.drivers.sensapex_session import BLANK, NetworkSettings, Session
from fgaf.base.bounds import Bound
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_TRAVEL_UM: Final = 20_000.0
_LEAST_SPEED_UM_S: Final = 1.0
_ASK_DEVICE: Final = -1
_UNKNOWN_UM: Final = 2e6
"""libum gives more than this where the device does not know its position."""
_STILL_UM: Final = 0.1
_STILL_S: Final = 1.0
_TOGETHER: Final = 1
_OWN_ACCELERATION: Final = 0


class ManipulatorSettings(NetworkSettings):
    """The `[manipulator.options]` of a uMp, with those of `NetworkSettings`.

    Attributes
    ----------
    z_down
        Whether the z that the device shows grows downwards. It depends on the model and its mount.
    tilt_deg
        Largest tilt accepted of the x axis of a model with three axes: the tip goes down while it
        goes forward along a tilted axis.
    answer_s
        Longest wait for an answer, in seconds.
    """

    z_down: Annotated[bool | None, BLANK] = None
    tilt_deg: Annotated[float, Bound(0, 90, "degrees")] = 2.0
    answer_s: Annotated[float, Bound(0.01, 60, "s")] = 1.2


class SensapexManipulator:
    """An open manipulator; implements `fgaf.acquire.devices.Manipulator`.

    x and y are those of the device. z is that of the device, with a minus where it grows downwards.
    A fourth axis is left where it is.

    Parameters
    ----------
    session
        The session, which is left on closing.
    settings, table
        The options, and the rig's table.

    Attributes
    ----------
    name
        Number and firmware.
    limits_xyz_um
        Limits from the rig and its floor, inside the travel of the device.
    effective
        Axes, direction of z, and tilt of x in degrees where it is reported.

    Raises
    ------
    SettingError
        `z_down` is not given, or nothing is left of the limits.
    DeviceError
        The device does not answer, or has no three axes.
    """

    def __init__(
        self, session: Session, settings: ManipulatorSettings, table: ManipulatorTable
    ) -> None:
        if settings.z_down is None:
            raise SettingError(
                "manipulator.options.z_down is missing: raise the pipette by hand; set z_down = "
                "true if the z on the touch screen falls, z_down = false if it grows"
            )
        if table.highest_speed_um_s < _LEAST_SPEED_UM_S:
            raise SettingError(
                f"manipulator.highest_speed_um_s is {table.highest_speed_um_s:g}; a Sensapex moves "
                f"at {_LEAST_SPEED_UM_S:g} µm/s or more"
            )
        self.name = f"Sensapex manipulator {settings.device}"
        self._settings, self._session, self._open = settings, session, True
        self._highest_um_s = table.highest_speed_um_s
        self._up = -1.0 if settings.z_down else 1.0
        self.limits_xyz_um = _limits(table, self._up)
        session.greet(self.name, settings.device, settings.answer_s)
        self._seen, self._seen_s = self._read(), time.monotonic()
        self.name = f"{self.name}, firmware {self._version()}"
        self.effective = self._read_settings(len(self._seen), settings.z_down)

    def position_xyz_um(self) -> Place3:
        """Read x, y and z, in µm."""
        x, y, z, *_ = self._read()
        return x, y, self._up * z

    def move_xyz_to(self, x_um: float, y_um: float, z_um: float, speed_um_s: float) -> None:
        """Start a move of all three axes to a position, each at its part of the speed.

        The device takes whole µm/s, and is not given less than 1, which makes it fail.

        Parameters
        ----------
        x_um, y_um, z_um
            Where to, in µm.
        speed_um_s
            Speed of the axis that goes furthest, in µm/s; at most the rig's.

        Raises
        ------
        DeviceError
            The position is outside the limits, or the device does not answer.
        """
        require_within_xyz((x_um, y_um, z_um), self.limits_xyz_um, self.name)
        target = x_um, y_um, self._up * z_um
        here = self._read()
        ways = [abs(to - at) for to, at in zip(target, here, strict=False)]
        speed_um_s = min(speed_um_s, self._highest_um_s)
        speeds = [math.floor(speed_um_s * way / (max(ways) or 1)) for way in ways]
        self._call(
            "um_goto_position_ext",
            *map(c_float, (*target, math.nan)),
            *(c_float(max(_LEAST_SPEED_UM_S, speed)) for speed in (*speeds, 0)),
            c_int(_TOGETHER),
            c_int(_OWN_ACCELERATION),
        )
        self._seen, self._seen_s = here, time.monotonic()

    def moving_xyz(self) -> bool:
        """Whether the device has not reported the end of the move, and its axes do not stand.

        Reports arrive with the answer to a question for the position. The one of the end can be
        lost, and does not come when the power failed.
        """
        here, now_s = self._read(), time.monotonic()
        if self._session.drive_status(self._settings.device) <= 0:
            return False
        if any(abs(a - b) > _STILL_UM for a, b in zip(here, self._seen, strict=True)):
            self._seen, self._seen_s = here, now_s
        return now_s - self._seen_s < _STILL_S

    def stop(self) -> None:
        """Stop all axes."""
        self._call("um_stop")

    def reopen(self) -> None:
        """Search the device anew in the network, and read its position."""
        self._session.forget_addresses()
        self._read()

    def close(self) -> None:
        """Stop, and leave the session."""
        if not self._open:
            return
        try:
            self.stop()
        finally:
            self._open = False
            self._session.leave()

    def _call(self, function: str, *arguments: Any) -> int:
        if not self._open:
            raise DeviceError(f"{self.name} is closed")
        settings = self._settings
        return self._session.call(
            self.name, settings.device, settings.answer_s, function, *arguments
        )

    def _read(self) -> Sequence[float]:
        """Ask the device for the positions of its axes, in its own coordinates."""
        places = [c_float(math.nan) for _ in range(4)]
        count = self._call("um_get_positions", c_int(_ASK_DEVICE), *map(byref, places), None)
        read = [place.value for place in places[:count]]
        if len(read) < 3:
            raise DeviceError(f"{self.name} has {len(read)} axes, a manipulator has 3 or 4")
        for axis, at in zip("xyz", read, strict=False):
            if not abs(at) < _UNKNOWN_UM:
                raise DeviceError(
                    f"{self.name} does not know its {axis}: let it find its zero position by the "
                    "touch screen"
                )
        return read

    def _version(self) -> str:
        parts = (c_int * 5)()
        count = self._call("um_read_version", parts, c_int(len(parts)))
        return ".".join(str(part) for part in parts[:count])

    def _read_settings(self, axes: int, z_down: bool) -> EffectiveSettings:
        """Read the tilt of the x axis of three, and refuse one that is too large."""
        values: dict[str, bool | int | float | str] = {"axes": axes, "z_down": z_down}
        if axes > 3:
            return EffectiveSettings(values)
        degrees = c_float()
        try:
            self._call("ump_get_axis_angle", byref(degrees))
        except DeviceError:
            _log.info("%s does not report the tilt of its x axis", self.name, exc_info=True)
            note = f"{self.name} does not report the tilt of x: the floor holds only if x is level"
            return EffectiveSettings(values, notes=(note,))
        if abs(degrees.value) > self._settings.tilt_deg:
            raise DeviceError(
                f"the x axis of {self.name} is tilted by {degrees.value:.1f} degrees: the tip "
                "would go down while it goes forward, and no floor holds; set the axis level, or "
                "raise manipulator.options.tilt_deg"
            )
        return EffectiveSettings(values | {"x_tilt_degrees": degrees.value})


def _limits(table: ManipulatorTable, up: float) -> LimitsXYZ:
    """Intersect the travel of the device with the rig's limits and floor."""
    travel = (0.0, _TRAVEL_UM)
    turned = travel if up > 0 else (-_TRAVEL_UM, 0.0)
    found = []
    for axis, own, rig in zip("xyz", (travel, travel, turned), table.limits_xyz_um, strict=True):
        low, high = max(own[0], rig[0]), min(own[1], rig[1])
        if axis == "z" and table.floor_um is not None:
            low = max(low, table.floor_um)
        if not low < high:
            raise SettingError(
                f"nothing is left of manipulator.{axis}_limits_um inside the travel of a Sensapex, "
                f"{own[0]:g} to {own[1]:g} µm"
                + ("; with z_down = true its z is from -20000 to 0" if axis == "z" else "")
            )
        found.append((low, high))
    return found[0], found[1], found[2]
