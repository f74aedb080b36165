"""Syringe pumps of New Era: the NE-1000 family, also sold as Aladdin.

The pump works in its safe mode: a thread asks for its status several times within the time-out of
that mode, so that the pump stops by itself when this program dies or the cable is out. Every
setting is read back. After an alarm nothing is set anew: the pump fails until it is opened again.

The flow of a syringe pump is the speed of its plunger times the syringe's section. Its least and
highest flow therefore depend on the syringe, and are found by asking the pump what it takes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field

from fgaf.acquire.device_tables import PumpTable
from fgaf.acquire.devices import DeviceError, EffectiveSettings
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.new_era_line import ALARMS, AlarmError, NewEraLine, OutOfRangeError
from fgaf.acquire.drivers.serial_controller import LineSettings, RefusedError
from fgaf.acquire.drivers.serial_link import SerialLink
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table
from fgaf.base.bounds import Bound

_log = logging.getLogger(__name__)

REQUIRES: Final = ("serial",)

_USUAL_BAUD: Final = (19200, 9600)
_LEAST_MM_H: Final = 0.04205
"""Least speed of an NE-1000's plunger; the pump is asked whether it takes the flow."""
_LIMIT_PRECISION: Final = 1.02
_BEATS: Final = 4
_RUNNING: Final = {"W": 1, "I": -1}
_VERSION: Final = r"([A-Z]+\w*?)V(\d[\w.]*)"
_FLOAT: Final = r"(\d+\.?\d*|\.\d+)"
_NL: Final = {"UL": 1e3, "ML": 1e6}


class NewEraSettings(LineSettings):
    """The `[pump.options]` of a New Era pump.

    Attributes
    ----------
    port
        As `LineSettings.port`; needed.
    syringe_mm
        Inner diameter of the syringe's barrel.
    address
        Address of the pump in its network.
    baud
        As set at the pump.
    timeout_s
        As `LineSettings.timeout_s`.
    safe_timeout_s
        The pump stops after so many seconds without a message. 0 is the basic mode, in which it
        goes on pumping when the program dies.
    """

    port: str = Field(min_length=1)
    syringe_mm: Annotated[float, Bound(0.1, 80, "mm")]
    address: Annotated[int, Bound(0, 99)] = 0
    baud: Literal[300, 1200, 2400, 9600, 19200] = 19200
    timeout_s: Annotated[float, Bound(1e-3, 60, "s")] = 0.6
    safe_timeout_s: Annotated[int, Bound(0, 255, "s")] = 2


@dataclass(frozen=True)
class Rate:
    """A flow as the pump writes it: four digits and a unit.

    Attributes
    ----------
    digits
        The number, at most three digits behind the point.
    unit
        UH, UM, MH or MM: µL or mL, an hour or a minute.
    """

    PER_NL_S: ClassVar[dict[str, float]] = {"UH": 3.6, "UM": 0.06, "MH": 3.6e-3, "MM": 6e-5}

    digits: str
    unit: str

    @classmethod
    def of(cls, flow_nl_s: float, up: bool = False) -> Self:
        """Write a flow in the smallest unit that holds it.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s, above 0.
        up
            Round upwards, not to the nearest.

        Examples
        --------
        >>> Rate.of(1.2), Rate.of(3000)
        (Rate(digits='4.320', unit='UH'), Rate(digits='180.0', unit='UM'))
        """
        for unit, factor in cls.PER_NL_S.items():
            if digits := four_digits(flow_nl_s * factor, up):
                return cls(digits, unit)
        raise DeviceError(f"a flow of {flow_nl_s:g} nL/s is more than any syringe pump can be told")

    @property
    def flow_nl_s(self) -> float:
        """The flow in nL/s."""
        return float(self.digits) / self.PER_NL_S[self.unit]


class NewEraPump:
    """An open pump; implements `fgaf.acquire.devices.Pump`.

    Attributes
    ----------
    name
        Model, firmware and syringe.
    flow_limits_nl_s
        Least and highest flow that the pump takes with this syringe, the highest within that of the
        rig.
    effective
        Settings read back, and what was found when it was opened.
    """

    def __init__(self, line: NewEraLine, settings: NewEraSettings, table: PumpTable) -> None:
        self._line, self._settings, self._table = line, settings, table
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.name = line.name
        try:
            found = line.greet()
        except BaseException:
            line.link.close()
            raise
        try:
            notes = self._set_up(found)
            self.flow_limits_nl_s = self._find_limits()
            for direction in ("INF", "WDR"):
                line.ask(f"CLD{direction}")
        except BaseException:
            with contextlib.suppress(DeviceError):
                self.close()
            raise
        self.effective = EffectiveSettings(
            {
                "syringe_mm": settings.syringe_mm,
                "least_flow_nl_s": self.flow_limits_nl_s[0],
                "safe_timeout_s": settings.safe_timeout_s,
            },
            notes=tuple(notes),
        )
        if settings.safe_timeout_s:
            threading.Thread(target=self._beat, name="new-era", daemon=True).start()

    def flow_nl_s(self) -> float:
        """Flow reported by the pump now, 0 at rest; see `fgaf.acquire.devices.Pump`.

        Raises
        ------
        DeviceError
            An alarm stands or stood, the pump is purged by hand, or it does not answer.
        """
        status, rate = self._read_rate()
        if status == "X":
            raise DeviceError(f"{self.name} is being purged at its keys: release them")
        return _RUNNING.get(status, 0) * rate.flow_nl_s

    def start(self, flow_nl_s: float) -> None:
        """Pump from now on; a pump that runs in the same direction changes its flow as it runs.

        Parameters
        ----------
        flow_nl_s
            Flow of the plunger in nL/s; above 0 withdraws.

        Raises
        ------
        DeviceError
            The flow is out of range, an alarm stands or stood, or a setting is refused. The pump
            does not run then.
        """
        least, most = self.flow_limits_nl_s
        if not least * (1 - 1e-9) <= abs(flow_nl_s) <= most:
            raise DeviceError(
                f"{self.name} pumps {least:.4g} to {most:.4g} nL/s, not {flow_nl_s:g} nL/s"
            )
        wanted, direction = Rate.of(abs(flow_nl_s)), "W" if flow_nl_s > 0 else "I"
        with self._lock:
            try:
                status, before = self._read_rate()
                if status == direction and before.unit == wanted.unit:
                    self._line.ask(f"RAT{wanted.digits}")
                    self._compare("RAT", wanted, self._read_rate()[1])
                    return
                if status != "S":
                    self.stop()
                self._set("DIR", {"W": "WDR", "I": "INF"}[direction])
                self._set_rate(wanted)
                self._line.ask("RUN")
                self._confirm(direction, "RUN")
            except BaseException:
                with contextlib.suppress(DeviceError):
                    self.stop()
                raise

    def stop(self) -> None:
        """Stop pumping, and confirm it; harmless at rest.

        Raises
        ------
        DeviceError
            The pump does not confirm. In safe mode nothing is sent to it any more, so that it stops
            by itself.
        """
        with self._lock:
            problem: DeviceError | None = None
            deadline_s = time.monotonic() + self._table.timeout_s
            while True:
                try:
                    if self._halt():
                        return
                except DeviceError as error:
                    problem = error
                if time.monotonic() > deadline_s:
                    break
            why = f"{problem or f'{self.name} does not stop'}"
            seconds = self._settings.safe_timeout_s
            if seconds and self._line.safe:
                self._line.fault = f"{why}; it stops by itself within {seconds} s; open it again"
            else:
                self._line.fault = f"{why}; switch it off"
            raise DeviceError(self._line.fault) from problem

    def drawn_nl(self) -> float:
        """Volume drawn in since the pump was opened, by its own counters, in nL; below 0 pushed.

        Raises
        ------
        DeviceError
            An alarm stands or stood, or the pump does not answer.
        """
        _, found = self._line.ask("DIS", rf"I{_FLOAT}W{_FLOAT}(UL|ML)")
        infused, withdrawn, unit = found.groups()
        return (float(withdrawn) - float(infused)) * _NL[unit]

    def reopen(self) -> None:
        """Open a lost port again, so that the pump can be stopped; no setting is sent.

        Raises
        ------
        DeviceError
            The port does not open.
        """
        self._line.link.reopen()

    def close(self) -> None:
        """Stop, return to the basic mode, and close the port; harmless when already closed.

        Raises
        ------
        DeviceError
            The pump does not stop.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            self.stop()
            self._line.fault = ""
            with contextlib.suppress(DeviceError):
                _log.info("%s drew %.4g nL by its counters", self.name, self.drawn_nl())
                if self._line.safe:
                    self._line.set_safe(0)
        finally:
            self._line.link.close()

    def _set_up(self, alarms: list[str]) -> list[str]:
        """Bring the pump into a known state; returns what was found."""
        line, settings = self._line, self._settings
        notes = [
            f"the pump {ALARMS[letter][0]} before it was opened (alarm A?{letter})"
            for letter in alarms
        ]
        if line.ask("", "")[0] != "S":
            notes.append("the pump was running a program, and was stopped")
        self.stop()
        if settings.safe_timeout_s or line.safe:
            try:
                line.set_safe(settings.safe_timeout_s)
            except RefusedError as error:
                mend = "without a safe mode set pump.options.safe_timeout_s = 0"
                raise DeviceError(f"{error}; {mend}") from error
        model, firmware = line.ask("VER", _VERSION)[1].groups()
        self.name = line.name = f"New Era {model}, firmware {firmware}, address {line.address}"
        with contextlib.suppress(RefusedError):  # an old pump, which never goes on by itself
            self._set("PF", "0")
        self._set("PHN", "1", int)
        self._set("FUN", "RAT")
        self._set("DIA", four_digits(settings.syringe_mm), float)
        self._set("VOL", "0", _volume)
        self.name += f", syringe of {settings.syringe_mm:g} mm"
        return notes

    def _find_limits(self) -> tuple[float, float]:
        """Ask which flows the pump takes; the last one stays set, at rest."""
        most = self._table.highest_flow_nl_s
        section_mm2 = math.pi / 4 * self._settings.syringe_mm**2
        least = Rate.of(section_mm2 * _LEAST_MM_H / 3.6, up=True).flow_nl_s
        if least > most:
            raise DeviceError(
                f"{self.name} pumps {least:.3g} nL/s at least, and pump.highest_flow_nl_s is "
                f"{most:g}: take a thinner syringe"
            )
        takes_most, takes_least = self._takes(most), self._takes(least)
        if not (takes_most or takes_least):
            raise DeviceError(
                f"{self.name} takes neither {least:.3g} nor {most:g} nL/s: correct "
                "pump.options.syringe_mm or pump.highest_flow_nl_s"
            )
        if not takes_most:
            most = self._boundary(least, most)
        elif not takes_least:
            least = self._boundary(most, least)
        return least, most

    def _boundary(self, taken: float, refused: float) -> float:
        """Find the last flow that is taken between one that is and one that is not."""
        while max(taken, refused) > _LIMIT_PRECISION * min(taken, refused):
            middle = Rate.of(math.sqrt(taken * refused)).flow_nl_s
            if middle in (taken, refused):
                break
            if self._takes(middle):
                taken = middle
            else:
                refused = middle
        return taken

    def _takes(self, flow_nl_s: float) -> bool:
        try:
            self._set_rate(Rate.of(flow_nl_s))
        except OutOfRangeError:
            return False
        return True

    def _read_rate(self) -> tuple[str, Rate]:
        status, found = self._line.ask("RAT", rf"{_FLOAT}(UH|UM|MH|MM)")
        return status, Rate(*found.groups())

    def _set_rate(self, rate: Rate) -> None:
        self._line.ask(f"RAT{rate.digits}{rate.unit}")
        self._compare("RAT", rate, self._read_rate()[1])

    def _set(self, command: str, value: str, kind: Callable[[str], object] = str) -> None:
        """Set what differs, and read it back; the pump writes every change into its memory."""
        if kind(self._line.ask(command, "(.+)")[1][1]) == kind(value):
            return
        self._line.ask(f"{command}{value}")
        found = self._line.ask(command, "(.+)")[1][1]
        if kind(found) != kind(value):
            raise DeviceError(f"{self.name} has {command} {found} after {command}{value} was set")

    def _compare(self, command: str, wanted: Rate, found: Rate) -> None:
        if (float(found.digits), found.unit) != (float(wanted.digits), wanted.unit):
            raise DeviceError(
                f"{self.name} has {command} {found.digits}{found.unit} after {wanted.digits}"
                f"{wanted.unit} was set"
            )

    def _confirm(self, wanted: str, command: str) -> None:
        status, _ = self._line.ask("", "")
        if status != wanted:
            raise DeviceError(f"{self.name} has the status {status} after {command}")

    def _halt(self) -> bool:
        """Send a stop; returns whether the program is at its start, as the first one pauses it."""
        with contextlib.suppress(AlarmError, RefusedError):
            self._line.ask("STP", urgent=True)
        with contextlib.suppress(AlarmError):
            return self._line.ask("", urgent=True)[0] == "S"
        return False

    def _beat(self) -> None:
        """Show the pump that the program lives; an alarm that is found is kept by the line."""
        while not self._closed.wait(self._settings.safe_timeout_s / _BEATS):
            if self._line.fault:
                return
            try:
                self._line.ask("")
            except DeviceError as error:
                _log.info("%s", error)


def open_pump(table: PumpTable, opening: Opening) -> NewEraPump:  # noqa: ARG001
    """Open a pump: the entry point `new-era` of the group `fgaf.pumps`.

    Parameters
    ----------
    table
        The rig's `[pump]`; for its options see `NewEraSettings`.
    opening
        Not used.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, no pump answers, or it refuses a setting.
    """
    checked = parse_table(NewEraSettings, table.options, "pump.options")
    link = checked.open_link("New Era pump")
    return NewEraPump(NewEraLine(link, checked.address), checked, table)


def find_on(port: str) -> list[Found]:
    """Search for a pump of address 0 in the basic mode on a serial port.

    `VER` only reads, but the answer acknowledges an alarm.
    """
    for baud in _USUAL_BAUD:
        link = SerialLink(port, device="probe", baud=baud, stop_bits=1, timeout_s=0.3)
        line = NewEraLine(link, 0)
        try:
            try:
                _, found = line.ask("VER", _VERSION)
            except AlarmError:  # in the place of the answer
                _, found = line.ask("VER", _VERSION, urgent=True)
        except DeviceError:
            continue
        finally:
            link.close()
        name = f"New Era {found[1]}, firmware {found[2]}"
        required = {"syringe_mm": "inner diameter of the syringe in mm"}
        options = {"port": port, "baud": baud}
        return [Found("pump", "new-era", port, name, options, required=required)]
    return []


def four_digits(number: float, up: bool = False) -> str:
    """Write a number with four digits, at most three of them behind the point.

    Parameters
    ----------
    number
        The number.
    up
        Round upwards, not to the nearest.

    Returns
    -------
    str
        Empty if it has more than four digits before the point.

    Examples
    --------
    >>> four_digits(4.32), four_digits(123.456), four_digits(0.0071, up=True), four_digits(1e4)
    ('4.320', '123.5', '0.008', '')
    """
    for places in (3, 2, 1, 0):
        scaled = number * 10**places
        whole = math.ceil(scaled - 1e-9) if up else round(scaled)
        if whole < 10_000:
            return f"{whole / 10**places:.{places}f}"
    return ""


def _volume(text: str) -> float:
    """Read a volume with or without its unit."""
    return float(text.removesuffix("UL").removesuffix("ML"))
