"""A controller on a serial line: its questions and answers, refusals, stopping and closing.

The axes of one controller are devices of their own, which share it: a focus drive and an x/y stage.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Final

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.serial_link import SerialLink
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_ANYTHING: Final = re.compile(r".+")


class LineSettings(Table):
    """The options of every serial controller; a subclass lists its baud rates.

    Attributes
    ----------
    port
        `COM3`, `/dev/ttyUSB0`, or a pyserial URL.
    baud
        Baud rate.
    stop_bits
        Stop bits of the line.
    timeout_s
        Longest silence of the controller before or within its reply, in seconds.
    """

    port: str | None = None
    baud: Annotated[int, Bound(1, 10_000_000, "baud")]
    stop_bits: Annotated[int, Bound(1, 2)] = 1
    timeout_s: Annotated[float, Bound(1e-3, 60, "s")] = 1.0

    def open_link(self, device: str) -> SerialLink:
        """Open the port, which must be given; see `SerialLink` for the errors.

        Parameters
        ----------
        device
            Name of the controller, for errors.
        """
        return SerialLink(
            self.port or "",
            device=device,
            baud=self.baud,
            stop_bits=self.stop_bits,
            timeout_s=self.timeout_s,
        )


def require_port(settings: LineSettings, maker: str) -> None:
    """Refuse the options of an x/y stage without a port, where it cannot share a controller.

    Parameters
    ----------
    settings
        The options.
    maker
        Maker of the stage, for the error.

    Raises
    ------
    SettingError
        They name no port.
    """
    if not settings.port:
        raise SettingError(
            f"the focus drive is not on the {maker} controller of the x/y stage: set port in "
            "xy_stage.options"
        )


class RefusedError(DeviceError):
    """The controller refused a command."""


class SerialController:
    """An open controller; a subclass implements its protocol.

    Attributes
    ----------
    name
        Name of the controller, for errors.
    link
        The serial line.
    """

    DONE: ClassVar[re.Pattern[str]]  # the answer to an accepted command
    REFUSED: ClassVar[
        re.Pattern[str]
    ]  # the answer to a refused command; group 1 is the error number
    REASONS: ClassVar[Mapping[int, str]]
    HALTS: ClassVar[tuple[str, str]]  # commands that stop; the second is sent if the first fails

    def __init__(self, link: SerialLink, name: str) -> None:
        self.link, self.name = link, name
        self._restore: list[str] = []
        self._set_ups: list[Callable[[], None]] = []
        self._closed = False

    def begin(self, set_up: Callable[[], None]) -> None:
        """Set up one of its devices, now and whenever the link is reopened.

        When that fails, the controller is left as it was found and closed.
        """
        self._set_ups.append(set_up)
        try:
            set_up()
        except BaseException:
            with contextlib.suppress(DeviceError):
                self.close()
            raise

    def stop(self) -> None:
        """Halt every axis; with the second command if the first is not acknowledged."""
        first, second = self.HALTS
        try:
            self._halt(first)
        except DeviceError:
            self._halt(second)

    def reopen(self) -> None:
        """Reopen a lost link and set everything up again: it may have been switched off.

        Raises
        ------
        DeviceError
            The port does not open, or the device is not such a controller.
        """
        self.link.reopen()
        for set_up in self._set_ups:
            set_up()

    def restore_later(self, command: str) -> None:
        """Send a command on closing, before the ones that were given earlier."""
        self._restore.append(command)

    def close(self) -> None:
        """Restore the settings from before opening, and close the port."""
        if self._closed:
            return
        self._closed = True
        try:
            while self._restore:
                _log.debug("%s: restores its setting with %s", self.link.device, self._restore[-1])
                self.ask(self._restore.pop(), self.DONE)
        finally:
            self.link.close()

    def ask(self, command: str, shape: re.Pattern[str]) -> re.Match[str]:
        """Return the one-line answer to a command, which must match the given pattern.

        Parameters
        ----------
        command
            The command line.
        shape
            Pattern of a whole answer.

        Raises
        ------
        RefusedError
            The controller refused.
        DeviceError
            It did not answer, or answered something else.
        """
        with self.link.exchange():
            answer = self._send(command)
            refused = self.REFUSED.fullmatch(answer)
            match = refused or shape.fullmatch(answer)
            if not match:
                raise self._misfit(command, answer)
        if refused:
            _log.debug("%s refused %s: %s", self.name, command, answer)
            raise self._refusal(command, refused)
        return match

    def ask_optional(self, command: str, shape: re.Pattern[str]) -> re.Match[str] | None:
        """Return the answer as `ask`, or None if the controller does not support the command.

        Parameters
        ----------
        command
            The command line.
        shape
            Pattern of a whole answer.
        """
        try:
            return self.ask(command, shape)
        except RefusedError:
            return None

    def ask_anything(self, command: str) -> str:
        """Return any answer, or "unknown"."""
        answer = self.ask_optional(command, _ANYTHING)
        return answer[0] if answer else "unknown"

    def _halt(self, command: str) -> None:
        """Send a halt command, and check that it is acknowledged."""
        raise NotImplementedError

    def _send(self, command: str) -> str:
        """Send a command and return the first line of its answer."""
        self.link.drop_waiting()
        self.link.send(command)
        return self.link.read_line()

    def _misfit(self, command: str, answer: str) -> DeviceError:
        return DeviceError(
            f"{self.name} answered {answer!r} to {command}: check cable and baud rate"
        )

    def _refusal(self, command: str, refused: re.Match[str]) -> RefusedError:
        why = self.REASONS.get(int(refused[1]), "an error that is not in the manual")
        return RefusedError(f"{self.name} refused {command}: {why} ({refused[0]})")
