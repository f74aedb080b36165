"""The line of a New Era pump: commands, packets with a checksum, and replies with a status.

In the basic mode a command is a line and a reply stands between STX and ETX. In the safe mode both
are packets: STX, the number of bytes that follow, the text, its CRC-16 (CCITT, from 0) and ETX. The
pump then also stops, with an alarm, when no valid packet comes for a set time. Sources: section 10
of the NE-1000 manual, firmware 3.9.

The reply that reports an alarm also acknowledges it. The first alarm is therefore kept: every later
command fails with it until the pump is opened again.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.serial_controller import RefusedError
from fgaf.acquire.drivers.serial_link import SerialLink

ALARMS: Final = {
    "R": ("was switched off and on", "check its power and its settings"),
    "S": ("stalled", "check syringe, plunger and tube for a blockage"),
    "T": ("heard nothing for the time-out of its safe mode", "look why the computer was busy"),
    "E": ("has an error in its pumping program", "clear the program at the pump"),
    "O": ("has a phase of its pumping program out of range", "clear the program at the pump"),
}
"""Causes of an alarm, and what to do, by its letter."""

_STX, _ETX = b"\x02", b"\x03"
_PACKET_BYTES: Final = range(7, 65)
_LONGEST_TEXT: Final = 64
_REPLY: Final = re.compile(r"(\d\d)(?:A\?([RSTEO])|([IWSPTUX]))(.*)")
_REASONS: Final = {
    "": "the command is unknown to this pump",
    "NA": "not possible now",
    "OOR": "the value is out of range",
    "COM": "the packet arrived damaged",
    "IGN": "a new phase of its program began at the same time",
}


class AlarmError(DeviceError):
    """The pump reported an alarm, and has stopped.

    Parameters
    ----------
    name
        Name of the pump.
    letter
        Which alarm, of `ALARMS`.
    """

    def __init__(self, name: str, letter: str) -> None:
        cause, mend = ALARMS[letter]
        super().__init__(f"{name} {cause} (alarm A?{letter}): {mend}, then open it again")
        self.letter = letter


class OutOfRangeError(RefusedError):
    """The pump cannot have a setting of this value."""


class NewEraLine:
    """The line to one pump.

    Parameters
    ----------
    link
        The open port.
    address
        Address of the pump in its network, 0 to 99.

    Attributes
    ----------
    name
        Name of the pump, for errors.
    safe
        Whether it is in the safe mode.
    fault
        Why it is not used any more; empty while it is.
    """

    def __init__(self, link: SerialLink, address: int) -> None:
        self.link, self.address = link, address
        self.name = link.device
        self.safe = False
        self.fault = ""

    def ask(
        self, command: str, shape: str = "", *, urgent: bool = False, either: bool = False
    ) -> tuple[str, re.Match[str]]:
        """Return the status letter and the data of the answer to a command.

        Parameters
        ----------
        command
            The command; empty for the status alone.
        shape
            Pattern of the data.
        urgent
            Do not wait until a broken line is silent, and ask in spite of an earlier fault.
        either
            The answer may be in either mode.

        Raises
        ------
        AlarmError
            An alarm stands.
        RefusedError
            The pump refused.
        DeviceError
            It did not answer, or answered something else, or is not used any more.
        """
        if self.fault and not urgent:
            raise DeviceError(self.fault)
        with self.link.exchange(urgent=urgent):
            self.link.drop_waiting()
            self.link.write(packed(f"{self.address or ''}{command}", self.safe))
            text = self._read(None if either else self.safe)
            reply = _REPLY.fullmatch(text)
            if not reply or int(reply[1]) != self.address:
                raise self._misfit(command, text)
            _, alarm, status, data = reply.groups()
            refused = data.startswith("?")
            match = re.fullmatch(shape, data)
            if match is None and not (alarm or refused):
                raise self._misfit(command, text)
        if alarm:
            found = AlarmError(self.name, alarm)
            self.fault = self.fault or str(found)
            raise found
        if refused or match is None:
            why = _REASONS.get(data[1:], "an error that is not in the manual")
            kind = OutOfRangeError if data == "?OOR" else RefusedError
            raise kind(f"{self.name} refused {command}: {why} ({data})")
        return status, match

    def greet(self) -> list[str]:
        """Find out in which mode the pump is, and acknowledge what alarms stand.

        Returns
        -------
        list of str
            Letters of the alarms.

        Raises
        ------
        DeviceError
            No pump answers.
        """
        try:
            return self._acknowledge()
        except DeviceError as error:
            self.safe = True
            try:
                return self._acknowledge()
            except DeviceError:
                raise DeviceError(f"{error}, and its address {self.address}") from error

    def set_safe(self, timeout_s: int) -> None:
        """Change to the safe mode, or back.

        Parameters
        ----------
        timeout_s
            The pump stops after so many seconds without a packet; 0 is the basic mode.

        Raises
        ------
        DeviceError
            It stays as it was.
        """
        self.ask(f"SAF{timeout_s}", either=True)
        self.safe = timeout_s > 0
        found = int(self.ask("SAF", r"(\d+)")[1][1])
        if found != timeout_s:
            raise DeviceError(f"{self.name} has SAF {found} after SAF{timeout_s} was set")

    def _acknowledge(self) -> list[str]:
        """Ask for the status until no alarm stands."""
        found: list[str] = []
        while True:
            try:
                self.ask("")
            except AlarmError as error:
                if error.letter in found:
                    raise
                found.append(error.letter)
                self.fault = ""
            else:
                return found

    def _read(self, safe: bool | None) -> str:
        """Read a reply; in either mode for None, where its second byte tells which."""
        link = self.link
        noise = bytearray()
        while (byte := link.read(1, bytes(noise))) != _STX:
            noise += byte
            if len(noise) > _LONGEST_TEXT:
                raise link.garbage(noise)
        second = link.read(1, _STX)
        if safe is None:
            safe = not second.isdigit()
        raw = self._read_packet(second) if safe else self._read_basic(second)
        if not raw.isascii():
            raise link.garbage(raw)
        return raw.decode("ascii")

    def _read_basic(self, text: bytes) -> bytes:
        while (byte := self.link.read(1, _STX + text)) != _ETX:
            text += byte
            if len(text) > _LONGEST_TEXT:
                raise self.link.garbage(text)
        return text

    def _read_packet(self, length: bytes) -> bytes:
        if length[0] not in _PACKET_BYTES:
            raise self.link.garbage(length)
        rest = self.link.read(length[0] - 1, _STX + length)
        text, checksum, end = rest[:-3], rest[-3:-1], rest[-1:]
        if end != _ETX or checksum != _checksum(text):
            raise self.link.garbage(rest)
        return text

    def _misfit(self, command: str, text: str) -> DeviceError:
        asked = command or "the question for its status"
        return DeviceError(
            f"{self.name} answered {text!r} to {asked}: check cable, baud rate and address"
        )


def packed(text: str, safe: bool) -> bytes:
    r"""Frame the text of a command.

    Parameters
    ----------
    text
        Address and command.
    safe
        As a packet of the safe mode; else as a line.

    Examples
    --------
    The packet that ends the safe mode, as the manual gives it:

    >>> packed("SAF0", safe=True)
    b'\x02\x08SAF0UC\x03'
    """
    raw = text.encode("ascii")
    if not safe:
        return raw + b"\r"
    return _STX + bytes([len(raw) + 4]) + raw + _checksum(raw) + _ETX


def _checksum(raw: bytes) -> bytes:
    return binascii.crc_hqx(raw, 0).to_bytes(2, "big")
