"""An ASI controller: MS-2000 or Tiger.

Commands are those of ASI's serial command directory. A move is acknowledged with `:A` when it
starts, so its end is polled (`/`); some controllers report too early that they are not busy.
Nothing is saved in the controller's memory (`SS`), and its zero is never changed (`Z`, `H`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.serial_controller import SerialController
from fgaf.acquire.drivers.serial_link import SerialLink

NUMBER: Final = r"([+-]?\d+(?:\.\d*)?)"

_UNITS_PER_MM: Final = 10_000
_HALTED: Final = (":A", ":N-21")
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


class AsiController(SerialController):
    """An open controller.

    Parameters
    ----------
    link
        The open line.

    Raises
    ------
    DeviceError
        It is another device, or does not answer.
    """

    DONE = re.compile(r":A")
    REFUSED = re.compile(r":N-?(\d+)")
    REASONS: ClassVar[Mapping[int, str]] = _REASONS
    HALTS = ("HALT", "\\")  # of every axis

    def __init__(self, link: SerialLink) -> None:
        super().__init__(link, f"ASI controller on {link.port}")
        self.begin(self._greet)

    def moving(self) -> bool:
        """Whether any axis moves (`/`)."""
        return self.ask("/", _STATUS)[0] == "B"

    def read_unit(self, axis: str) -> float:
        """Read the size of an axis' units in µm (`UM`), 0.1 by default.

        Raises
        ------
        DeviceError
            It is not a size.
        """
        found = self.ask_optional(f"UM {axis}?", setting(axis))
        units_per_mm = float(found[1]) if found else _UNITS_PER_MM
        if units_per_mm == 0:
            raise DeviceError(f"{self.name} reports units of size 0 (UM): set UM to 10000")
        return 1e3 / units_per_mm

    def _greet(self) -> None:
        version = self.ask_optional("V", _VERSION)
        self.name = f"ASI, {version[1] if version else 'version unknown'}"

    def _halt(self, command: str) -> None:
        """Halt: answered with `:N-21` if it ends a move, else with `:A`."""
        with self.link.exchange(urgent=True):
            answer = self._send(command)
            if answer not in _HALTED:
                raise self._misfit(command, answer)


def setting(axis: str) -> re.Pattern[str]:
    """Shape of a setting's value: `:Z=0.04 A` of an MS-2000, `:A Z=0.04` of a Tiger."""
    return re.compile(rf":(?:A )?{axis}={NUMBER}(?: A)?")


def plain(number: float) -> str:
    """Format a number of units without exponent and trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
