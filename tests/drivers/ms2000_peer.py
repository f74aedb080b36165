"""An ASI MS-2000 (or Tiger) controller that speaks the wire protocol.

Written from ASI's serial command directory and from what was seen in the field.
"""

from __future__ import annotations

from dataclasses import dataclass

from serial_peer import SerialPeer, SerialPersonality


@dataclass(frozen=True)
class AsiPersonality(SerialPersonality):
    """What a controller is like, besides what all controllers are like.

    Attributes
    ----------
    backlash_mm
        Length of the anti-backlash moves.
    tiger
        Replies to questions in the newer wording.
    unknown
        Commands that this firmware does not have.
    axes
        Letters of its axes.
    others_move
        Another axis carries out a move all the time.
    """

    backlash_mm: float = 0.0
    tiger: bool = False
    unknown: frozenset[str] = frozenset()
    axes: str = "XYZ"
    others_move: bool = False


ASI_MANUAL = AsiPersonality()
ASI_FIELD = AsiPersonality(
    delay_s=0.002,
    pieces=3,
    backlash_mm=0.04,
    idle_early=True,
    unknown=frozenset({"V", "UM"}),
)
ASI_TIGER = AsiPersonality(tiger=True, backlash_mm=0.01)


class Ms2000Peer(SerialPeer):
    """A controller that is switched on when it is made."""

    LINE_END = " \r\n"

    def __init__(self, personality: AsiPersonality) -> None:
        self._is = personality
        self.restart()
        self._axis = ""
        super().__init__(personality)

    def restart(self) -> None:
        """Take the settings that hold when it is switched on."""
        self.backlash_mm = self._is.backlash_mm

    def obey(self, line: str) -> None:
        """Carry out one command line and answer it."""
        name, _, argument = line.strip().upper().partition(" ")
        if "X" in self._is.axes and argument.startswith("X") and " Y" in argument:
            self._across(name, argument)
            return
        verbs = {
            "V": lambda _: self.say(":A Version: USB-9.2n"),
            "W": self._where,
            "M": self._move,
            "B": self._backlash,
            "UM": self._units,
            "S": self._speed,
            "/": self._status,
            "HALT": self._halt,
            "\\": self._halt,
        }
        if name in self._is.unknown or name not in verbs:
            self.say(":N-1")
        elif name in ("W", "M", "B", "UM", "S") and argument[:1] not in self._is.axes:
            self.say(":N-2")
        else:
            self._axis = argument[:1]
            verbs[name](argument[1:])

    def _across(self, name: str, argument: str) -> None:
        """Tell where X and Y are, or move both: to a place, by a way, or at a velocity."""
        if name in self._is.unknown or name not in ("W", "M", "R", "VECTOR"):
            self.say(":N-1")
            return
        here, unit_um = self.table.counter_um, self._is.unit_um
        if name == "W":
            self.say(f":A {' '.join(f'{at / unit_um:.1f}' for at in here)}")
            return
        x, y = (float(part.partition("=")[2]) for part in argument.split())
        if name == "VECTOR":
            self.table.drive((1e3 * x, 1e3 * y))
        elif name == "M":
            self.table.go((x * unit_um, y * unit_um))
        else:
            self.table.go((here[0] + x * unit_um, here[1] + y * unit_um))
        self.say(":A")

    def _where(self, _: str) -> None:
        self.say(f":A {self.counter_um / self._is.unit_um:.1f}")

    def _move(self, argument: str) -> None:
        target_um = self.zero_um + float(argument.removeprefix("=") or 0) * self._is.unit_um
        if not self.reaches(target_um):
            self.say(":N-4")
            return
        below_um = target_um - 1e3 * self.backlash_mm if self.backlash_mm else None
        self.go(target_um, below_um)
        self.say(":A")

    def _backlash(self, argument: str) -> None:
        if argument == "?":
            self._tell(f"{self.backlash_mm:.6f}")
        else:
            self.backlash_mm = float(argument.removeprefix("="))
            self.say(":A")

    def _units(self, argument: str) -> None:
        if argument != "?":
            raise AssertionError("UM changes the scale of every later command")
        self._tell(f"{1e3 / self._is.unit_um:.6f}")

    def _speed(self, argument: str) -> None:
        if argument == "?":
            self._tell(f"{self.speed_um_per_s / 1e3:.6f}")
        else:
            self.speed_um_per_s = 1e3 * float(argument.removeprefix("="))
            self.say(":A")

    def _tell(self, value: str) -> None:
        told = f"{self._axis}={value}"
        self.say(f":A {told}" if self._is.tiger else f":{told} A")

    def _status(self, _: str) -> None:
        across = self.table.moving(0) or self.table.moving(1)
        self.say("B" if self.shows_moving or self._is.others_move or across else "N")

    def _halt(self, _: str) -> None:
        moved = self.moving or self.table.moving(0) or self.table.moving(1)
        self.halt()
        self.table.halt()
        self.say(":N-21" if moved else ":A")
