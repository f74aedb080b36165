"""One harmless query to an unknown device on a serial port."""

from __future__ import annotations

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.serial_link import SerialLink

_MOST_LINES = 60


def identify(
    port: str, command: str, *, baud: int, last: str | None = None, timeout_s: float = 0.3
) -> list[str]:
    """Send an identification command to a port and read the answer.

    Parameters
    ----------
    port
        A port name, or a pyserial URL.
    command
        The identification command; it must change nothing on any device.
    baud
        Line speed; 8 data bits, no parity, one stop bit.
    last
        The last line of the answer; by default silence ends it.
    timeout_s
        The silence that ends the answer, and the longest wait for its start.

    Returns
    -------
    list of str
        The lines of the answer; empty when there is no answer, or it is not text.

    Raises
    ------
    DeviceError
        The port cannot be opened: it does not exist, is not permitted, or is in use by another
        program.
    """
    lines: list[str] = []
    link = SerialLink(port, device="probe", baud=baud, stop_bits=1, timeout_s=timeout_s)
    try:
        link.drop_waiting()
        link.send(command)
        while len(lines) < _MOST_LINES and (last is None or last not in lines):
            lines.append(link.read_line())
    except DeviceError:
        return lines
    finally:
        link.close()
    return lines
