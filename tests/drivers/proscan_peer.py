"""A ProScan controller (or a NanoScanZ) that speaks the wire protocol.

Written from the manual (ProScan III, V 1.16) and from what was seen in the field.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from serial_peer import SerialPeer, SerialPersonality

MICROSTEPS_PER_UM = 500


@dataclass(frozen=True)
class Personality(SerialPersonality):
    """What a controller is like, besides what all controllers are like.

    Attributes
    ----------
    early_reply_s
        None: `R` at the end of the move (manual 4.1). Else `R` this long after the command.
    other_axes
        Bits other than Z's that `$` shows all the time (a filter wheel that turns).
    refusal, unknown
        The error code for commands the controller does not know, and some more of those.
    percent, percents
        Of the motor's speed, as somebody has set it (`SMZ`), and of the stage's speed, acceleration
        and S-curve.
    stage, stage_unit_um
        The stage that is fitted, and the size of its unit as `RES,s` reports it; `true_unit_um` is
        what it really is.
    display_zero_um
        Where the display of a NanoScanZ, and with it `PZ`, has been set to zero.
    """

    model: str = "proscan"
    early_reply_s: float | None = None
    other_axes: int = 0
    refusal: int = 5
    unknown: frozenset[str] = frozenset()
    focus: str = "NORMAL"
    backlash: tuple[int, int] = (0, 2500)
    compatibility: int = 0
    readable_errors: int = 0
    display_zero_um: float = 0.0
    percent: int = 100
    percents: tuple[int, int, int] = (100, 80, 60)
    stage: str = "H117"
    stage_unit_um: float = 1.0
    true_unit_um: float = 1.0


MANUAL = Personality()
FIELD = Personality(
    early_reply_s=0.02,
    other_axes=8,
    refusal=128,
    unknown=frozenset({"SERIAL"}),
    delay_s=0.002,
    pieces=3,
    backlash=(1, 2500),
    compatibility=1,
    readable_errors=1,
)
NANOSCANZ = Personality(model="nanoscanz", start_um=50.0, travel_um=(0.0, 100.0), delay_s=0.002)


class ProScanPeer(SerialPeer):
    """A controller that is switched on when it is made."""

    def __init__(self, personality: Personality) -> None:
        self.model = personality.model
        self._is = personality
        self._owed_until_s = 0.0
        self.restart()
        super().__init__(personality)

    def restart(self) -> None:
        """Take the settings that hold when it is switched on."""
        self.backlash = self._is.backlash
        self.compatibility = self._is.compatibility
        self.readable_errors = self._is.readable_errors
        self.percent = self._is.percent
        self.percents = dict(zip(("SMS", "SAS", "SCS"), self._is.percents, strict=True))

    def obey(self, line: str) -> None:
        """Carry out one command line and answer it."""
        name, *arguments = [part for part in re.split(r"[,;:\s]+", line) if part] or ["P"]
        name = name.upper()
        verbs = {
            "?": self._information,
            "$": self._status,
            "P": self._all_positions,
            "PZ": self._position_z,
            "I": self._stop,
            "K": self._stop,
            "COMP": self._compatibility,
            "SERIAL": lambda _: self.say("1216304"),
        }
        if self._is.model == "proscan":
            verbs |= {
                "ERROR": self._errors,
                "FOCUS": self._focus,
                "RES": self._resolution,
                "BLZH": self._backlash,
                "SMZ": self._speed,
                "GZ": self._go,
                "V": self._go,
                "STAGE": self._stage,
                "PS": self._position_xy,
                "G": self._go_xy,
                "GR": self._go_xy_by,
                "VS": self._drive_xy,
                "SMS": lambda arguments: self._percent("SMS", arguments),
                "SAS": lambda arguments: self._percent("SAS", arguments),
                "SCS": lambda arguments: self._percent("SCS", arguments),
                "VERSION": lambda _: self.say("116"),
            }
        else:
            verbs |= {"V": self._go}
        verb = verbs.get(name)
        if verb is None or name in self._is.unknown:
            self._error(self._is.refusal)
            return
        verb(arguments)

    def _error(self, code: int) -> None:
        self.say(f"ERROR {code}" if self.readable_errors else f"E,{code}")

    def _information(self, _: list[str]) -> None:
        self.say(
            "PROSCAN INFORMATION",
            "DSP_1 IS 3-AXIS STEPPER VERSION 0.0",
            "DRIVE CHIPS 000111",
            "JOYSTICK ACTIVE",
            f"STAGE = {self._is.stage}",
            f"FOCUS = {self._is.focus}",
            "END",
        )

    def _focus(self, _: list[str]) -> None:
        self.say(f"FOCUS = {self._is.focus}", "TYPE = 0", "MICRONS/REV = 100", "END")

    def _stage(self, _: list[str]) -> None:
        self.say(f"STAGE = {self._is.stage}", "TYPE = 1", "SIZE_X = 108 MM", "END")

    def _position_xy(self, arguments: list[str]) -> None:
        if arguments:
            raise AssertionError("PS,x,y redefines the position")
        unit_um = self._is.true_unit_um
        self.say(",".join(str(round(at / unit_um)) for at in self.table.counter_um))

    def _go_xy(self, arguments: list[str]) -> None:
        if self._is.stage == "NONE":
            self._error(1)
            return
        x, y = (float(each) * self._is.true_unit_um for each in arguments)
        lasts_s = self.table.go((x, y))
        early_s = self._is.early_reply_s
        self._owed_until_s = time.monotonic() + lasts_s
        self.say("R", after_s=lasts_s if early_s is None else early_s)

    def _go_xy_by(self, arguments: list[str]) -> None:
        here = self.table.counter_um
        units = (
            str(at / self._is.true_unit_um + float(by))
            for at, by in zip(here, arguments, strict=True)
        )
        self._go_xy(list(units))

    def _drive_xy(self, arguments: list[str]) -> None:
        x, y = (float(each) for each in arguments)
        self.table.drive((x, y))
        self.say("R")

    def _percent(self, name: str, arguments: list[str]) -> None:
        if arguments:
            self.percents[name] = int(arguments[0])
            self.say("0")
        else:
            self.say(str(self.percents[name]))

    def _resolution(self, arguments: list[str]) -> None:
        if arguments == ["s"]:
            self.say(f"{self._is.stage_unit_um:g}")
            return
        self.say("0" if self._is.focus == "NONE" else f"{self._is.unit_um:g}")

    def _compatibility(self, arguments: list[str]) -> None:
        if arguments:
            self.compatibility = int(arguments[0])
            self.say("0")
        else:
            self.say(str(self.compatibility))

    def _errors(self, arguments: list[str]) -> None:
        if arguments:
            self.readable_errors = int(arguments[0])
            self.say("0")
        else:
            self.say(str(self.readable_errors))

    def _backlash(self, arguments: list[str]) -> None:
        if arguments:
            on, size = int(arguments[0]), int(arguments[1])
            self.backlash = (on, size)
            self.say("0")
        else:
            self.say(f"{self.backlash[0]},{self.backlash[1]}")

    def _speed(self, arguments: list[str]) -> None:
        if arguments:
            self.percent = int(arguments[0])
            self.speed_um_per_s = self._is.speed_um_per_s * self.percent / self._is.percent
            self.say("0")
        else:
            self.say(str(self.percent))

    def _status(self, arguments: list[str]) -> None:
        if arguments:
            self.say(str(int(self.shows_moving)))
        elif self._is.model == "nanoscanz":
            self.say("4" if self.shows_moving else "00000")
        else:
            across = sum(1 << axis for axis in (0, 1) if self.table.moving(axis))
            self.say(str(self._is.other_axes | across | (4 if self.shows_moving else 0)))

    def _all_positions(self, _: list[str]) -> None:
        x, y = (round(at / self._is.true_unit_um) for at in self.table.counter_um)
        self.say(f"{x},{y},{self._units()}")

    def _position_z(self, arguments: list[str]) -> None:
        if arguments:
            raise AssertionError("PZ,n redefines the position")
        self.say(self._units())

    def _units(self) -> str:
        here = self.counter_um - self._is.display_zero_um
        return f"{here:.3f}" if self._is.model == "nanoscanz" else str(round(here / self._unit()))

    def _unit(self) -> float:
        return 1.0 if self._is.model == "nanoscanz" else self._is.unit_um

    def _stop(self, _: list[str]) -> None:
        across = time.monotonic() < self._owed_until_s
        owed = (self.moving or across) and self._is.early_reply_s is None
        self.take_back(b"R\r")
        self.halt()
        self.table.halt()
        self._owed_until_s = 0.0
        self.say(*(["R", "R"] if owed else ["R"]))

    def _go(self, arguments: list[str]) -> None:
        target = self.zero_um + float(arguments[0]) * self._unit()
        if not self.reaches(target):
            self._error(8)
            return
        on, microsteps = self.backlash
        here = self.target_um if self.moving else self.position_um
        below = target - microsteps / MICROSTEPS_PER_UM if on and target < here else None
        lasts_s = self.go(target, below)
        early_s = self._is.early_reply_s
        self.say("R", after_s=lasts_s if early_s is None else early_s)
