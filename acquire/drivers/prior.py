"""Prior focus drives: the focus axis of a ProScan II/III controller, and the NanoScanZ piezo.

Section numbers are those of the ProScan III manual, V 1.16. Where the manual and real controllers
differ, the driver supports both: the `R` that marks the end of a move in the manual (4.1) may also
come milliseconds after its start, so a move is over when the `R` has been seen *and* `$` reports
that the axis is at rest. The engine checks the final position with `PZ`. Three commands are never
sent: a bare `Z` (zeroes every axis), `SIZ` (drives into the hard limits) and `PZ,n` (redefines the
position).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import model_validator

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.limits import limits_of, require_within
from fgaf.acquire.drivers.serial_link import SerialLink
from fgaf.acquire.drivers.serial_probe import identify
from fgaf.acquire.drivers.serial_stage import RefusedError, SerialSettings, SerialStage
from fgaf.acquire.ramp import Ramp, Reading
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table
from fgaf.acquire.units import whole
from fgaf.base.bounds import UnitUm

REQUIRES: Final = ("serial",)
ASK_FIRST: Final = True

_Z_MOVING: Final = 4
_LONGEST_BLOCK: Final = 100
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_BIT_FIELD: Final = re.compile(r"\d{1,5}")
_PERCENT: Final = re.compile(r"\d{1,3}")
_FULL_SPEED: Final = 100
_TRIAL_PERCENTS: Final = (10, 1)
_LONGEST_TRIAL_S: Final = 10.0
_FEWEST_READINGS: Final = 6
_LONG_ENOUGH_NS: Final = 300_000_000
_BACKLASH: Final = re.compile(r"([01]),(\d+)")
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


class PriorSettings(SerialSettings):
    """The `[stage.options]` of a Prior drive, with those of every `SerialSettings`.

    Attributes
    ----------
    model
        `proscan` for the focus axis of a ProScan, `nanoscanz` for the piezo's own controller.
    baud, stop_bits
        Line settings; some ProScan III need two stop bits.
    unit_um
        Size of the controller's unit in µm. A ProScan reports it (`RES,Z`, 4.4): then it is only
        checked; else it is needed. The NanoScanZ counts in µm.
    """

    model: Literal["proscan", "nanoscanz"] = "proscan"
    baud: Literal[9600, 19200, 38400, 115200] = 9600
    stop_bits: Literal[1, 2] = 1
    unit_um: UnitUm | None = None

    @model_validator(mode="after")
    def _unit_fits_model(self) -> Self:
        if self.model == "nanoscanz" and self.unit_um is not None:
            raise ValueError("unit_um: a NanoScanZ counts in µm; remove the key")
        return self


class PriorStage(SerialStage):
    """An open focus drive; implements `fgaf.acquire.devices.TrialRampStage`.

    Attributes
    ----------
    name
        Controller, serial number, unit and state of its backlash correction.
    backlash
        `BLZH` at opening (4.4): whether it was on, and its size in microsteps; None if the
        controller does not report it.
    """

    DONE = re.compile(r"0")
    REFUSED = re.compile(r"E,?(\d+)")
    REASONS: ClassVar[Mapping[int, str]] = _REASONS
    HALTS = ("I", "K")

    def __init__(
        self, link: SerialLink, settings: PriorSettings, limits_um: tuple[float, float]
    ) -> None:
        self._settings = settings
        self._move = ""
        self._um_s_per_percent = 0.0
        self.backlash: tuple[bool, int] | None = None
        super().__init__(link, limits_um)

    @property
    def unit_um(self) -> float | None:
        """Size of a ProScan's unit; None for a NanoScanZ, which accepts any µm."""
        return self._unit_um if self._settings.model == "proscan" else None

    def position_um(self) -> float:
        """Read the position of the axis (`PZ`), in µm."""
        return float(self._ask("PZ", _NUMBER)[0]) * self._unit_um * self._settings.direction

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start an absolute move at a speed (`SMZ`); the next move has the normal speed again.

        The controller takes the speed in whole percent of its motor's speed (4.4).

        Raises
        ------
        DeviceError
            The speed is out of range, `try_speed` has not measured it, `z_um` is outside the
            limits, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        if not self._um_s_per_percent:
            raise DeviceError(f"{self.name} has no measured speed; call try_speed first")
        percent = round(speed_um_s / self._um_s_per_percent)
        if not 1 <= percent <= _FULL_SPEED:
            low_um_s, high_um_s = self._um_s_per_percent, _FULL_SPEED * self._um_s_per_percent
            raise DeviceError(
                f"{self.name} moves at {low_um_s:.3g} to {high_um_s:.3g} µm/s, not at "
                f"{speed_um_s:.3g}; change --step or --frames-per-plane, or use acq stack"
            )
        self._set_percent(percent)
        self._go(z_um)

    def try_speed(self, z_um: float) -> None:
        """Measure once, by read-backs on the way to `z_um`, how many µm/s one percent is.

        Raises
        ------
        DeviceError
            The distance is too short, or too long, to measure it.
        """
        if self._um_s_per_percent:
            return
        require_within(z_um, self.limits_um, self.name)
        here_um = self.position_um()
        for percent in _TRIAL_PERCENTS:
            self._set_percent(percent)
            readings = self._watch(z_um)
            self._ask(self._usual_speed, self.DONE)
            self._watch(here_um)
            edge_um = (z_um - here_um) / 5
            inner = [each for each in readings if here_um + edge_um < each.z_um < z_um - edge_um]
            if len(inner) < _FEWEST_READINGS or inner[-1].z_um - inner[0].z_um < edge_um:
                continue
            self._um_s_per_percent = Ramp.fit(inner).speed_um_s / percent
            if inner[-1].time_ns - inner[0].time_ns > _LONG_ENOUGH_NS:
                return
        if self._um_s_per_percent:
            return
        raise DeviceError(
            f"{self.name} crosses {z_um - here_um:.3g} µm too fast to measure its speed; "
            "take a larger range, or use acq stack"
        )

    def moving(self) -> bool:
        """Whether the move's `R` is still missing or `$` (4.2) shows the axis moving."""
        status = int(self._ask("$", _BIT_FIELD)[0])
        return bool(status & _Z_MOVING) or bool(self._move)

    def stop(self) -> None:
        """Halt the axis: controlled (`I`), and at once (`K`) if that is not acknowledged."""
        self._move = ""
        super().stop()

    def _go(self, z_um: float) -> None:
        units = z_um * self._settings.direction / self._unit_um
        command = f"GZ,{whole(units)}" if self._settings.model == "proscan" else f"V {units:.3f}"
        with self._link.exchange():
            if not self._move:
                self._link.drop_waiting()
            self._move = command
            self._link.send(command)

    def _set_percent(self, percent: int) -> None:
        self._set_speed(f"SMZ,{percent}", lambda: f"SMZ,{self._ask('SMZ', _PERCENT)[0]}")

    def _watch(self, z_um: float) -> list[Reading]:
        """Go to `z_um` at the set speed, and read the position during the move."""
        readings: list[Reading] = []
        self._go(z_um)
        begun_s = time.monotonic()
        while self.moving():
            asked_ns = time.perf_counter_ns()
            here_um = self.position_um()
            readings.append(Reading(asked_ns, time.perf_counter_ns(), here_um))
            if time.monotonic() - begun_s > _LONGEST_TRIAL_S:
                self.stop()
                raise DeviceError(
                    f"{self.name} has not reached {z_um:.6g} µm in {_LONGEST_TRIAL_S:g} s, to "
                    "measure its speed; check it, or use acq stack"
                )
        return readings

    def _greet(self) -> None:
        self._move = ""
        proscan = self._settings.model == "proscan"
        self._unit_um = self._greet_proscan() if proscan else self._greet_nanoscanz()

    def _greet_proscan(self) -> float:
        self.name = f"Prior ProScan on {self._link.port}"
        self._set_mode("ERROR")
        self._set_mode("COMP")
        self._ask_block("?", begins="PROSCAN INFORMATION")
        focus = self._read_focus()
        unit_um = self._read_unit()
        serial_number = self._ask_anything("SERIAL")
        version = self._ask_anything("VERSION")
        backlash = self._settle_backlash()
        self.name = (
            f"Prior ProScan, serial {serial_number}, version {version}, focus {focus}, "
            f"{unit_um:g} µm per unit, {backlash}"
        )
        return unit_um

    def _greet_nanoscanz(self) -> float:
        self.name = f"Prior NanoScanZ on {self._link.port}"
        self._set_mode("COMP")
        self._ask("PZ", _NUMBER)
        serial_number = self._ask_anything("SERIAL")
        self.name = f"Prior NanoScanZ, serial {serial_number}"
        return 1.0

    def _set_mode(self, mode: str) -> None:
        """Set a mode of the protocol to 0, to be restored later.

        The query before it also ends a command that another program sent incompletely.
        """
        found = self._ask_anything(mode)
        self._ask(f"{mode},0", self.DONE)
        if found == "1":
            self._restore.append(f"{mode},1")

    def _read_focus(self) -> str:
        try:
            first, *_ = self._ask_block("FOCUS", begins="FOCUS")
        except RefusedError as error:
            raise DeviceError(f"{self.name}: {error}; connect the focus motor") from error
        _, _, fitted = (part.strip() for part in first.partition("="))
        if fitted in ("", "NONE"):
            raise DeviceError(
                f"{self.name} has no focus drive: connect its motor and switch it off and on"
            )
        return fitted

    def _read_unit(self) -> float:
        wanted = self._settings.unit_um
        reported = 0.0
        with contextlib.suppress(RefusedError):
            reported = float(self._ask("RES,Z", _NUMBER)[0])
        if reported <= 0 and wanted is None:
            raise DeviceError(
                f"{self.name} does not report the size of its unit (RES,Z): set unit_um in "
                "stage.options (0.1 as delivered)"
            )
        if reported > 0 and wanted is not None and abs(reported / wanted - 1) > 0.01:
            raise DeviceError(
                f"{self.name} counts in {reported:g} µm, not in {wanted:g} µm: correct unit_um or "
                "remove it"
            )
        return reported if reported > 0 else float(wanted or 0)

    def _settle_backlash(self) -> str:
        found = self._ask_optional("BLZH", _BACKLASH)
        if found is None:
            return "backlash correction not reported"
        on, microsteps = (int(part) for part in found.groups())
        self.backlash = (bool(on), microsteps)
        if not on:
            return "backlash correction off"
        if self._settings.backlash == "keep":
            return f"backlash correction of {microsteps} microsteps left on"
        self._ask(f"BLZH,0,{microsteps}", self.DONE)
        self._restore.append(f"BLZH,1,{microsteps}")
        return f"backlash correction of {microsteps} microsteps switched off"

    def _halt(self, command: str) -> None:
        with self._link.exchange(urgent=True):
            self._link.send(command)
            for _ in range(_LONGEST_BLOCK):
                if self._link.read_line() == "R":
                    return
            raise DeviceError(f"{self.name} does not acknowledge {command}")

    def _ask_block(self, command: str, *, begins: str) -> list[str]:
        """Return the lines of an information block, which ends in `END` (4.2)."""
        with self._link.exchange():
            lines = [self._send(command)]
            refused = self.REFUSED.fullmatch(lines[0])
            if not (refused or lines[0].startswith(begins)):
                raise DeviceError(
                    f"{self.name} is not such a controller: it answered {lines[0]!r} to {command}"
                )
            while not refused and lines[-1] != "END":
                if len(lines) > _LONGEST_BLOCK:
                    raise DeviceError(f"{self.name}: the answer to {command} does not end")
                lines.append(self._link.read_line())
        if refused:
            raise self._refusal(command, refused)
        return lines

    def _send(self, command: str) -> str:
        """Send a command and return the first line of its answer.

        An `R` is never the answer to a query: it ends the previous move. The same holds for a
        refusal that comes while the move's `R` is missing.
        """
        if not self._move:
            self._link.drop_waiting()
        self._link.send(command)
        for _ in range(_LONGEST_BLOCK):
            answer = self._link.read_line()
            if answer != "R":
                break
            self._move = ""
        refused = self.REFUSED.fullmatch(answer)
        if self._move and refused:
            move, self._move = self._move, ""
            raise self._refusal(move, refused)
        return answer


def open_stage(settings: Mapping[str, Any], opening: Opening) -> PriorStage:
    """Open a Prior drive: the entry point `prior` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `PriorSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no focus drive.
    """
    checked = parse_table(PriorSettings, settings, "stage.options")
    limits_um = limits_of(opening, "a Prior")
    link = checked.open_link("Prior controller", checked.stop_bits)
    return PriorStage(link, checked, limits_um)


def find_on(port: str) -> Found | None:
    """Recognise a ProScan by its information block (`?`, 4.2), which changes nothing.

    An incomplete command of another program spoils the first query; it is then repeated.
    """
    for _ in range(2):
        lines = identify(port, "?", baud=9600, last="END")
        if "PROSCAN INFORMATION" in lines:
            focus = next((line for line in lines if line.startswith("FOCUS")), "FOCUS = unknown")
            _, _, fitted = (part.strip() for part in focus.partition("="))
            return Found(
                kind="stage",
                driver="prior",
                where=port,
                name=f"Prior ProScan, focus {fitted}",
                options={"port": port},
                problem="no focus drive is fitted" if fitted == "NONE" else "",
            )
        if not lines or not lines[0].startswith("E"):
            return None
    return None
