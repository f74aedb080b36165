"""ASI focus drives: the Z axis of an MS-2000 or Tiger controller, with X and Y if present.

Commands are those of ASI's serial command directory. A move is acknowledged with `:A` when it
starts, so its end is polled (`/`). Some controllers report too early that they are not busy, so the
engine checks the final position with `W Z`. Nothing is saved in the controller's memory (`SS`), and
its zero is never changed (`Z`, `H`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.limits import limits_of, require_within
from fgaf.acquire.drivers.serial_link import SerialLink
from fgaf.acquire.drivers.serial_probe import identify
from fgaf.acquire.drivers.serial_stage import SerialSettings, SerialStage
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table

REQUIRES: Final = ("serial",)

_USUAL_BAUD: Final = (9600, 115200)
_UNITS_PER_MM: Final = 10_000
_HALTED: Final = (":A", ":N-21")
_NUMBER: Final = r"([+-]?\d+(?:\.\d*)?)"
_POSITION: Final = re.compile(rf":A {_NUMBER}")
_PLACE: Final = re.compile(rf":A {_NUMBER} {_NUMBER}")
_UNLIMITED: Final = (-math.inf, math.inf)
_STATUS: Final = re.compile(r"[BN]")
_VERSION: Final = re.compile(r":A (.+)")
_REASONS: Final = {
    1: "the command is unknown to this controller",
    2: "it has no such axis",
    3: "a parameter is missing",
    4: "the value is out of range",
    5: "the operation failed",
    6: "the controller is in an undefined state",
    21: "the move was halted",
}


class AsiSettings(SerialSettings):
    """The `[stage.options]` of an ASI drive, with those of every `SerialSettings`.

    Attributes
    ----------
    axis
        Letter of the focus axis.
    baud
        Set by the controller's switches.
    """

    axis: Annotated[str, Field(pattern=r"^[A-Z]$")] = "Z"
    baud: Literal[9600, 19200, 28800, 115200] = 9600


class AsiStage(SerialStage):
    """An open focus drive; implements `fgaf.acquire.devices.XYStage` and `RampStage`.

    Attributes
    ----------
    name
        Controller, version, unit and state of its backlash correction.
    backlash_um
        Length of its anti-backlash moves (`B`) at opening, in µm, 0 if off; None if the controller
        does not report it.
    """

    DONE = re.compile(r":A")
    REFUSED = re.compile(r":N-?(\d+)")
    REASONS: ClassVar[Mapping[int, str]] = _REASONS
    HALTS = ("HALT", "\\")  # of every axis

    def __init__(
        self, link: SerialLink, settings: AsiSettings, limits_um: tuple[float, float]
    ) -> None:
        self._settings = settings
        self._axis = settings.axis
        self.backlash_um: float | None = None
        super().__init__(link, limits_um)

    def position_um(self) -> float:
        """Read the position of the axis (`W`), in µm."""
        units = float(self._ask(f"W {self._axis}", _POSITION)[1])
        return units * self._unit_um * self._settings.direction

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start a move at a speed (`S`, in mm/s); the next move has the normal speed again.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, the controller refuses, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        self._set_speed(f"S {self._axis}={speed_um_s / 1e3:.6f}", self._find_speed)
        self._go(z_um)

    def moving(self) -> bool:
        """Whether any axis of the controller moves (`/`)."""
        return self._ask("/", _STATUS)[0] == "B"

    @property
    def limits_xy_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """None: the controller has limit switches only, so the rig must give the limits."""
        return _UNLIMITED, _UNLIMITED

    def position_xy_um(self) -> tuple[float, float]:
        """Read the positions of X and Y (`W`), in µm."""
        x, y = self._ask("W X Y", _PLACE).groups()
        x_um, y_um = self._units_xy_um
        return float(x) * x_um, float(y) * y_um

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start a move of X and Y (`M`), and return when it is accepted.

        Raises
        ------
        DeviceError
            The controller refuses, or the link is lost.
        """
        units = zip((x_um, y_um), self._units_xy_um, strict=True)
        x, y = (_plain(round(at / unit, 2)) for at, unit in units)
        self._ask(f"M X={x} Y={y}", self.DONE)

    def moving_xy(self) -> bool:
        """Whether any axis of the controller moves (`/`)."""
        return self.moving()

    def _find_speed(self) -> str:
        normal = self._ask(f"S {self._axis}?", _setting(self._axis))[1]
        return f"S {self._axis}={normal}"

    def _go(self, z_um: float) -> None:
        units = round(z_um * self._settings.direction / self._unit_um, 2)
        self._ask(f"M {self._axis}={_plain(units)}", self.DONE)

    def _greet(self) -> None:
        self.name = f"ASI controller on {self._link.port}"
        version = self._ask_optional("V", _VERSION)
        self._ask(f"W {self._axis}", _POSITION)
        self._unit_um = self._read_unit(self._axis)
        backlash = self._settle_backlash()
        self.name = (
            f"ASI, {version[1] if version else 'version unknown'}, axis {self._axis}, "
            f"{self._unit_um:g} µm per unit, {backlash}"
        )

    @cached_property
    def _units_xy_um(self) -> tuple[float, float]:
        return self._read_unit("X"), self._read_unit("Y")

    def _read_unit(self, axis: str) -> float:
        """Read the units per millimetre (`UM`), 10 000 by default."""
        found = self._ask_optional(f"UM {axis}?", _setting(axis))
        units_per_mm = float(found[1]) if found else _UNITS_PER_MM
        if units_per_mm == 0:
            raise DeviceError(f"{self.name} reports units of size 0 (UM): set UM to 10000")
        return 1e3 / units_per_mm

    def _settle_backlash(self) -> str:
        found = self._ask_optional(f"B {self._axis}?", _setting(self._axis))
        if found is None:
            return "backlash correction not reported"
        self.backlash_um = 1e3 * float(found[1])
        if self.backlash_um == 0:
            return "backlash correction off"
        if self._settings.backlash == "keep":
            return f"backlash correction of {self.backlash_um:g} µm left on"
        self._ask(f"B {self._axis}=0", self.DONE)
        self._restore.append(f"B {self._axis}={found[1]}")
        return f"backlash correction of {self.backlash_um:g} µm switched off"

    def _halt(self, command: str) -> None:
        """Halt: answered with `:N-21` if it ends a move, else with `:A`."""
        with self._link.exchange(urgent=True):
            answer = self._send(command)
            if answer not in _HALTED:
                raise DeviceError(f"{self.name} answered {answer!r} to {command}")


def open_stage(settings: Mapping[str, Any], opening: Opening) -> AsiStage:
    """Open an ASI drive: the entry point `asi` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `AsiSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no such axis.
    """
    checked = parse_table(AsiSettings, settings, "stage.options")
    limits_um = limits_of(opening, "an ASI")
    return AsiStage(checked.open_link("ASI controller"), checked, limits_um)


def find_on(port: str) -> Found | None:
    """Search for a controller on a serial port, at both common baud rates: `W Z` only reads."""
    for baud in _USUAL_BAUD:
        for answer in identify(port, "W Z", baud=baud):
            if _POSITION.fullmatch(answer) or AsiStage.REFUSED.fullmatch(answer):
                options = {"port": port, "baud": baud}
                return Found("stage", "asi", port, f"ASI controller at {baud} baud", options)
    return None


def _setting(axis: str) -> re.Pattern[str]:
    """Shape of a setting's value: `:Z=0.04 A` of an MS-2000, `:A Z=0.04` of a Tiger."""
    return re.compile(rf":(?:A )?{axis}={_NUMBER}(?: A)?")


def _plain(number: float) -> str:
    """Format a number without exponent and trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
