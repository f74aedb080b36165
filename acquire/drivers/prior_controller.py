"""A Prior controller: ProScan II/III, or that of the NanoScanZ piezo.

Section numbers are those of the ProScan III manual, V 1.16. Where the manual and real controllers
differ, both are supported: the `R` that marks the end of a move in the manual (4.1) may also come
milliseconds after its start, so a move is over when the `R` has been seen *and* `$` reports that
the axis is at rest. Commands that zero an axis, redefine a position or drive into a limit switch
are never sent: a bare `Z`, `SIZ`, `SIS`, `PZ,n` and `PS,x,y`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.serial_controller import RefusedError, SerialController
from fgaf.acquire.drivers.serial_link import SerialLink

NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

_LONGEST_BLOCK: Final = 100
_BIT_FIELD: Final = re.compile(r"\d{1,5}")
_REASONS: Final = {
    1: "no stage is fitted",
    2: "the axis is not idle",
    3: "no drive is fitted",
    4: "the command cannot be parsed",
    5: "the command is unknown to this controller",
    7: "no focus drive is fitted",
    8: "the value is out of range",
    10: "the first argument is out of range",
    16: "the controller is in the wrong state",
    18: "the queue of moves is full",
    19: "the controller is in compatibility mode",
    21: "the checksum is wrong",
    43: "no encoder is fitted",
}

Model = Literal["proscan", "nanoscanz"]


class PriorController(SerialController):
    """An open controller, in standard mode with numeric errors.

    Parameters
    ----------
    link
        The open line.
    model
        Which controller is expected.

    Raises
    ------
    DeviceError
        It is another device, or does not answer.
    """

    DONE = re.compile(r"0")
    REFUSED = re.compile(r"E,?(\d+)")
    REASONS: ClassVar[Mapping[int, str]] = _REASONS
    HALTS = ("I", "K")

    def __init__(self, link: SerialLink, model: Model) -> None:
        super().__init__(link, "")
        self._pending: list[str] = []
        self._model = model
        self.begin(self._greet)

    def start(self, command: str) -> None:
        """Send a move, and return; its `R` is awaited by `moving`."""
        with self.link.exchange():
            if not self._pending:
                self.link.drop_waiting()
            self._pending.append(command)
            self.link.send(command)

    def order(self, command: str) -> None:
        """Send a command that is answered with `R` at once.

        Raises
        ------
        RefusedError
            The controller refused.
        DeviceError
            It did not answer, or answered something else.
        """
        with self.link.exchange():
            if not self._pending:
                self.link.drop_waiting()
            self.link.send(command)
            answer = self.link.read_line()
            refused = self.REFUSED.fullmatch(answer)
            if not refused and answer != "R":
                raise self._misfit(command, answer)
        if refused:
            raise self._refusal(command, refused)

    def moving(self, axes: int) -> bool:
        """Whether the `R` of a move is still missing or `$` (4.2) shows one of the axes moving.

        Parameters
        ----------
        axes
            Sum of the axes' bits: X is 1, Y is 2, Z is 4.
        """
        status = int(self.ask("$", _BIT_FIELD)[0])
        return bool(status & axes) or bool(self._pending)

    def stop(self) -> None:
        """Halt every axis: controlled (`I`), and at once (`K`) if that is not acknowledged."""
        self._pending = []
        super().stop()

    def ask_block(self, command: str, *, begins: str) -> list[str]:
        """Return the lines of an information block, which ends in `END` (4.2).

        Parameters
        ----------
        command
            The command line.
        begins
            Beginning of its first line.

        Raises
        ------
        RefusedError
            The controller refused.
        DeviceError
            It did not answer, or answered something else.
        """
        with self.link.exchange():
            lines = [self._send(command)]
            refused = self.REFUSED.fullmatch(lines[0])
            if not (refused or lines[0].startswith(begins)):
                raise DeviceError(
                    f"{self.name} is not such a controller: it answered {lines[0]!r} to {command}"
                )
            while not refused and lines[-1] != "END":
                if len(lines) > _LONGEST_BLOCK:
                    raise DeviceError(f"{self.name}: the answer to {command} does not end")
                lines.append(self.link.read_line())
        if refused:
            raise self._refusal(command, refused)
        return lines

    def read_fitted(self, kind: Literal["STAGE", "FOCUS"], mend: str) -> str:
        """Name what is fitted, from the first line of its information block.

        Parameters
        ----------
        kind
            The command.
        mend
            What helps, for the error.

        Raises
        ------
        DeviceError
            Nothing is fitted.
        """
        what = {"STAGE": "x/y stage", "FOCUS": "focus drive"}[kind]
        try:
            first, *_ = self.ask_block(kind, begins=kind)
        except RefusedError as error:
            raise DeviceError(f"{error}; {mend}") from error
        _, _, fitted = (part.strip() for part in first.partition("="))
        if fitted in ("", "NONE"):
            raise DeviceError(f"{self.name} has no {what}: {mend}")
        return fitted

    def read_unit(self, axis: Literal["s", "Z"], wanted: float | None, table: str) -> float:
        """Read the size of the units of an axis (`RES`, 4.3 and 4.4), in µm.

        Parameters
        ----------
        axis
            `s` for the x/y stage, `Z` for the focus drive.
        wanted
            Size from the rig, in µm: taken if the controller reports none, else only checked.
        table
            The rig's table of that size, for the error.

        Raises
        ------
        DeviceError
            The size is unknown, or both differ.
        """
        found = self.ask_optional(f"RES,{axis}", NUMBER)
        reported = float(found[0]) if found else 0.0
        if reported <= 0 and wanted is None:
            usual = {"s": 1, "Z": 0.1}[axis]
            raise DeviceError(
                f"{self.name} does not report the size of its unit (RES,{axis}): set unit_um in "
                f"{table} ({usual} as delivered)"
            )
        if reported > 0 and wanted is not None and abs(reported / wanted - 1) > 0.01:
            raise DeviceError(
                f"{self.name} counts in {reported:g} µm, not in {wanted:g} µm: correct unit_um or "
                "remove it"
            )
        return reported if reported > 0 else float(wanted or 0)

    def _greet(self) -> None:
        self._pending = []
        if self._model == "nanoscanz":
            self.name = f"Prior NanoScanZ on {self.link.port}"
            self._set_mode("COMP")
            self.name = f"Prior NanoScanZ, serial {self.ask_anything('SERIAL')}"
            return
        self.name = f"Prior ProScan on {self.link.port}"
        self._set_mode("ERROR")
        self._set_mode("COMP")
        self.ask_block("?", begins="PROSCAN INFORMATION")
        serial_number, version = self.ask_anything("SERIAL"), self.ask_anything("VERSION")
        self.name = f"Prior ProScan, serial {serial_number}, version {version}"

    def _set_mode(self, mode: str) -> None:
        """Set a mode of the protocol to 0, to be restored later.

        The query before it also ends a command that another program sent incompletely.
        """
        found = self.ask_anything(mode)
        self.ask(f"{mode},0", self.DONE)
        if found == "1":
            self.restore_later(f"{mode},1")

    def _halt(self, command: str) -> None:
        with self.link.exchange(urgent=True):
            self.link.send(command)
            for _ in range(_LONGEST_BLOCK):
                if self.link.read_line() == "R":
                    return
            raise DeviceError(f"{self.name} does not acknowledge {command}")

    def _send(self, command: str) -> str:
        """Send a command and return the first line of its answer.

        An `R` is never the answer to a query: it ends a move. The same holds for a refusal that
        comes while a move's `R` is missing.
        """
        if not self._pending:
            self.link.drop_waiting()
        self.link.send(command)
        for _ in range(_LONGEST_BLOCK):
            answer = self.link.read_line()
            if answer != "R":
                break
            del self._pending[:1]
        refused = self.REFUSED.fullmatch(answer)
        if self._pending and refused:
            raise self._refusal(self._pending.pop(), refused)
        return answer
