"""Common part of focus drives on serial controllers: settings, limits, and speeds of ramps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from pydantic import Field

from fgaf.acquire.drivers.limits import require_within
from fgaf.acquire.drivers.serial_controller import LineSettings, SerialController

Controller = TypeVar("Controller", bound=SerialController)


class SerialSettings(LineSettings):
    """The `[stage.options]` of every focus drive on a serial controller.

    Attributes
    ----------
    port
        As `LineSettings.port`; needed.
    direction
        -1 if larger numbers lower the objective, so that z still increases upwards.
    backlash
        `off` switches the controller's own backlash correction off while the drive is open, because
        it may overshoot by more than a whole stack. `keep` does not change it.
    """

    port: str = Field(min_length=1)
    direction: Literal[1, -1] = 1
    backlash: Literal["off", "keep"] = "off"


class SerialStage(Generic[Controller]):
    """A focus drive on a serial controller; a subclass implements its commands.

    Attributes
    ----------
    name
        Controller, and its settings that are important for a stack.
    limits_um
        Lowest and highest allowed z, in µm, from the rig: these controllers have limit switches
        only.
    controller
        The controller, which an x/y stage may share.
    """

    name: str

    def __init__(self, controller: Controller, limits_um: tuple[float, float]) -> None:
        self.limits_um = limits_um
        self.controller = controller
        self.name = controller.name
        self._usual_speed = ""
        self._ramping = False
        controller.begin(self._set_up)

    def move_to(self, z_um: float) -> None:
        """Start an absolute move at the normal speed, and return when it has been sent.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, the controller refuses, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        if self._ramping:
            self.controller.ask(self._usual_speed, self.controller.DONE)
            self._ramping = False
        self._go(z_um)

    def stop(self) -> None:
        """Halt every axis of the controller; see `SerialController.stop`."""
        self.controller.stop()

    def reopen(self) -> None:
        """Reopen a lost link; see `SerialController.reopen`."""
        self.controller.reopen()

    def close(self) -> None:
        """Restore the settings from before opening, and close the port."""
        self.controller.close()

    def _set_up(self) -> None:
        """Check the axis, read its unit, and name it."""
        raise NotImplementedError

    def _go(self, z_um: float) -> None:
        """Send an absolute move."""
        raise NotImplementedError

    def _set_speed(self, command: str, find_usual: Callable[[], str]) -> None:
        """Set the speed of a ramp; the normal speed is read first, and restored at the end."""
        if not self._usual_speed:
            self._usual_speed = find_usual()
            self.controller.restore_later(self._usual_speed)
        self._ramping = True
        self.controller.ask(command, self.controller.DONE)
