"""A serial link to a device: port, lock and framing.

Commands and replies are lines of ASCII that end in a carriage return, or bytes that a driver frames
itself. A late reply, an incomplete line or an
interrupted wait leaves bytes that would be read as the next answer. The link therefore tracks
whether it is synchronised with the device; if not, it first waits until the line has been silent
for one time-out.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.tables import vendor_module

_log = logging.getLogger(__name__)

_LONGEST_LINE = 256
_LOUDEST = 10
"""Longest time that a device may keep on sending, in time-outs."""
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")


class SerialLink:
    """An open port, with exclusive access where the platform supports it.

    Parameters
    ----------
    port
        A port name (`COM3`, `/dev/ttyUSB0`) or a pyserial URL (`socket://host:port`).
    device
        Name of the expected device; begins every error message.
    baud, stop_bits
        Line settings; always 8 data bits, no parity, no handshake.
    timeout_s
        Longest silence of a device that answers, and the silence needed to synchronise again.

    Raises
    ------
    DeviceError
        pyserial is missing, or the port does not exist, is in use, or is not permitted.
    """

    def __init__(
        self, port: str, *, device: str, baud: int, stop_bits: int, timeout_s: float
    ) -> None:
        self.port = port
        self.device = device
        self.baud = baud
        self.timeout_s = timeout_s
        self._lock = threading.RLock()
        self._in_step = True
        self._open = partial(_open, port, device, baud, stop_bits, timeout_s)
        self._serial = self._open()
        _log.debug("%s: port %s is open at %d baud", device, port, baud)

    def reopen(self) -> None:
        """Close and reopen the port, after a cable was reconnected.

        Raises
        ------
        DeviceError
            The port does not open.
        """
        with self._lock:
            with contextlib.suppress(OSError):
                self._serial.close()
            self._serial = self._open()
            self._in_step = False
        _log.info("%s: port %s was opened again", self.device, self.port)

    @contextmanager
    def exchange(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the line for one command and its whole reply.

        After an exchange with an exception the link is not synchronised; the next one waits for
        silence first, unless it is `urgent` (a stop must not wait). After an urgent one it is not
        synchronised either, because it may have read an older answer.
        """
        with self._lock:
            if not (self._in_step or urgent):
                self._settle()
            trusted = self._in_step or not urgent
            self._in_step = False
            yield
            self._in_step = trusted

    def send(self, command: str) -> None:
        """Write one command line.

        An empty line is refused: for a ProScan it is a command, which would shift every later reply
        by one.
        """
        line = command.encode("ascii")
        if not line or not _PRINTABLE.fullmatch(line):
            raise ValueError(f"not a command: {command!r}")
        self.write(line + b"\r")

    def write(self, raw: bytes) -> None:
        """Write bytes as they are."""
        with self._failing_as_lost():
            self._serial.write(raw)

    def read(self, count: int, heard: bytes = b"") -> bytes:
        """Return the next bytes.

        Parameters
        ----------
        count
            How many.
        heard
            What came before in the same reply, for the error.

        Raises
        ------
        DeviceError
            The device was silent before they were complete.
        """
        raw = b""
        while len(raw) < count:
            byte = self._read_byte()
            if not byte:
                raise self._silence(heard + raw)
            raw += byte
        return raw

    def read_line(self) -> str:
        """Return the next line that is not empty, without its terminator.

        Raises
        ------
        DeviceError
            The device was silent before its line was complete, or the line is not text.
        """
        deadline = time.monotonic() + _LOUDEST * self.timeout_s
        line = bytearray()
        while True:
            byte = self._read_byte()
            if byte == b"\r" and line.strip():
                break
            line += byte.strip(b"\r\n")
            if len(line) > _LONGEST_LINE:
                raise self.garbage(line)
            if not byte or time.monotonic() > deadline:
                raise self._silence(line)
        if not _PRINTABLE.fullmatch(bytes(line)):
            raise self.garbage(line)
        return line.decode("ascii").strip()

    def drop_waiting(self) -> None:
        """Discard unexpected input."""
        with self._failing_as_lost():
            while self._serial.in_waiting:
                self._serial.read(self._serial.in_waiting)

    def garbage(self, heard: bytes | bytearray) -> DeviceError:
        """Make the error for bytes that cannot be read.

        Parameters
        ----------
        heard
            The bytes.
        """
        return DeviceError(
            f"{self.device} on {self.port} sent unreadable bytes ({_quote(heard[:24])}): check the "
            f"cable and that the baud rate is {self.baud}"
        )

    def close(self) -> None:
        """Close the port; harmless when already closed."""
        with self._lock:
            self._serial.close()

    def _read_byte(self) -> bytes:
        with self._failing_as_lost():
            return bytes(self._serial.read(1))

    def _settle(self) -> None:
        deadline = time.monotonic() + _LOUDEST * self.timeout_s
        _log.info("%s: the last exchange was broken; waits for silence", self.device)
        self.drop_waiting()
        while self._read_byte():
            self.drop_waiting()
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"{self.device} on {self.port} does not stop sending: close other programs "
                    "that use it, and check the baud rate"
                )

    @contextmanager
    def _failing_as_lost(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeviceError(
                f"{self.device} on {self.port}: the connection was lost ({_one_line(error)}); "
                "check the cable and open it again"
            ) from error

    def _silence(self, heard: bytes | bytearray) -> DeviceError:
        answered = f"answered only {_quote(heard)}" if heard else "did not answer"
        return DeviceError(
            f"{self.device} on {self.port} {answered} within {self.timeout_s:g} s: check power, "
            f"cable and that the baud rate is {self.baud}"
        )


def _open(port: str, device: str, baud: int, stop_bits: int, timeout_s: float) -> Any:
    serial = vendor_module("serial")
    try:
        return serial.serial_for_url(
            port,
            baudrate=baud,
            stopbits=stop_bits,
            timeout=timeout_s,
            write_timeout=timeout_s,
            exclusive=True,
        )
    except ValueError as error:
        raise DeviceError(f"{device}: {port!r} is not a port: {_one_line(error)}") from error
    except OSError as error:
        raise DeviceError(f"{device}: {_why_closed(port, error)}") from error


def _why_closed(port: str, error: OSError) -> str:
    """Explain why a port does not open; Windows gives the reason only in the error's text."""
    text = str(error)
    if error.errno in (errno.EAGAIN, errno.EBUSY) or "PermissionError(13" in text:
        return f"{port} is in use by another program: close it and try again"
    if error.errno == errno.EACCES:
        return f"no permission to open {port}: add yourself to the group that owns it (dialout)"
    if error.errno == errno.ENOENT or "FileNotFoundError" in text:
        return f"there is no port {port}; {_ports_here()}"
    return f"cannot open {port}: {_one_line(error)}"


def _ports_here() -> str:
    from serial.tools.list_ports import comports

    names = sorted(str(found.device) for found in comports())
    return f"found: {', '.join(names)}" if names else "this computer has no serial port"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _quote(line: bytes | bytearray) -> str:
    return repr(bytes(line))[1:]
