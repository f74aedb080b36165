"""Common part of serial focus controllers: settings, limits, refusals and closing."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.limits import require_within
from fgaf.acquire.drivers.serial_link import SerialLink
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound

_log = logging.getLogger(__name__)

_ANYTHING: Final = re.compile(r".+")


class SerialSettings(Table):
    """The `[stage.options]` of every serial controller; a subclass lists its baud rates.

    Attributes
    ----------
    port
        `COM3`, `/dev/ttyUSB0`, or a pyserial URL.
    baud
        Baud rate.
    timeout_s
        Longest wait for one line of a reply, in seconds.
    direction
        -1 if larger numbers lower the objective, so that z still increases upwards.
    backlash
        `off` switches the controller's own backlash correction off while the drive is open, because
        it may overshoot by more than a whole stack. `keep` does not change it.
    """

    port: str = Field(min_length=1)
    baud: Annotated[int, Bound(1, 10_000_000, "baud")]
    timeout_s: Annotated[float, Bound(1e-3, 60, "s")] = 1.0
    direction: Literal[1, -1] = 1
    backlash: Literal["off", "keep"] = "off"

    def open_link(self, device: str, stop_bits: int = 1) -> SerialLink:
        """Open the port; see `SerialLink` for the parameters and errors.

        Parameters
        ----------
        device
            Name of the controller, for errors.
        stop_bits
            Stop bits of the line.
        """
        return SerialLink(
            self.port,
            device=device,
            baud=self.baud,
            stop_bits=stop_bits,
            timeout_s=self.timeout_s,
        )


class RefusedError(DeviceError):
    """The controller refused a command."""


class SerialStage:
    """A focus drive on a serial line; a subclass implements the controller's protocol.

    Attributes
    ----------
    name
        Controller, and its settings that are important for a stack.
    limits_um
        Lowest and highest allowed z, in µm, from the rig: these controllers have limit switches
        only.
    """

    DONE: ClassVar[re.Pattern[str]]  # the answer to an accepted command
    REFUSED: ClassVar[
        re.Pattern[str]
    ]  # the answer to a refused command; group 1 is the error number
    REASONS: ClassVar[Mapping[int, str]]
    HALTS: ClassVar[tuple[str, str]]  # commands that stop; the second is sent if the first fails

    name: str

    def __init__(self, link: SerialLink, limits_um: tuple[float, float]) -> None:
        self.limits_um = limits_um
        self._link = link
        self._restore: list[str] = []
        self._usual_speed = ""
        self._ramping = False
        self._closed = False
        try:
            self._greet()
        except BaseException:
            with contextlib.suppress(DeviceError):
                self.close()
            raise

    def move_to(self, z_um: float) -> None:
        """Start an absolute move at the normal speed, and return when it has been sent.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, the controller refuses, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        if self._ramping:
            self._ask(self._usual_speed, self.DONE)
            self._ramping = False
        self._go(z_um)

    def stop(self) -> None:
        """Halt the axis; with the second command if the first is not acknowledged."""
        first, second = self.HALTS
        try:
            self._halt(first)
        except DeviceError:
            self._halt(second)

    def reopen(self) -> None:
        """Reopen a lost link and initialise the controller again: it may have been switched off.

        Raises
        ------
        DeviceError
            The port does not open, or the device is not such a controller.
        """
        self._link.reopen()
        self._greet()

    def close(self) -> None:
        """Restore the settings from before opening, and close the port."""
        if self._closed:
            return
        self._closed = True
        try:
            while self._restore:
                _log.debug("%s: restores its setting with %s", self._link.device, self._restore[-1])
                self._ask(self._restore.pop(), self.DONE)
        finally:
            self._link.close()

    def _greet(self) -> None:
        """Identify the controller, name it and set it up."""
        raise NotImplementedError

    def _go(self, z_um: float) -> None:
        """Send an absolute move."""
        raise NotImplementedError

    def _halt(self, command: str) -> None:
        """Send a halt command, and check that it is acknowledged."""
        raise NotImplementedError

    def _set_speed(self, command: str, find_usual: Callable[[], str]) -> None:
        """Set the speed of a ramp; the normal speed is read first, and restored at the end."""
        if not self._usual_speed:
            self._usual_speed = find_usual()
            self._restore.append(self._usual_speed)
        self._ramping = True
        self._ask(command, self.DONE)

    def _ask(self, command: str, shape: re.Pattern[str]) -> re.Match[str]:
        """Return the one-line answer to a command, which must match the given pattern.

        Raises
        ------
        RefusedError
            The controller refused.
        DeviceError
            It did not answer, or answered something else.
        """
        with self._link.exchange():
            answer = self._send(command)
            refused = self.REFUSED.fullmatch(answer)
            match = refused or shape.fullmatch(answer)
            if not match:
                raise DeviceError(
                    f"{self.name} answered {answer!r} to {command}: check cable and baud rate"
                )
        if refused:
            _log.debug("%s refused %s: %s", self.name, command, answer)
            raise self._refusal(command, refused)
        return match

    def _ask_optional(self, command: str, shape: re.Pattern[str]) -> re.Match[str] | None:
        """Return the answer, or None if the controller does not support the command."""
        try:
            return self._ask(command, shape)
        except RefusedError:
            return None

    def _ask_anything(self, command: str) -> str:
        """Return any answer, or "unknown"."""
        answer = self._ask_optional(command, _ANYTHING)
        return answer[0] if answer else "unknown"

    def _send(self, command: str) -> str:
        """Send a command and return the first line of its answer."""
        self._link.drop_waiting()
        self._link.send(command)
        return self._link.read_line()

    def _refusal(self, command: str, refused: re.Match[str]) -> RefusedError:
        why = self.REASONS.get(int(refused[1]), "an error that is not in the manual")
        return RefusedError(f"{self.name} refused {command}: {why} ({refused[0]})")
