"""Common part of x/y stages on serial controllers: limits, moves and velocities."""

from __future__ import annotations

from typing import Generic

from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.devices import LimitsXY
from fgaf.acquire.drivers.limits import require_within_xy
from fgaf.acquire.drivers.serial_stage import Controller
from fgaf.acquire.drivers.velocity_guard import Handle, VelocityGuard


class SerialXYStage(Generic[Controller]):
    """An x/y stage on a serial controller; implements `fgaf.acquire.devices.VelocityStage`.

    A subclass implements the commands.

    Attributes
    ----------
    name
        Controller, and its settings that are important for moves.
    limits_xy_um
        Limits from the rig, infinite where it gives none: these controllers have limit switches
        only. Without limits the stage is not moved.
    velocity_valid_s, highest_velocity_um_s
        From the rig.
    controller
        The controller, which a focus drive may share.
    """

    def __init__(self, controller: Controller, table: XYStageTable) -> None:
        self.controller = controller
        self.limits_xy_um: LimitsXY = table.limits_xy_um
        self.velocity_valid_s = table.velocity_valid_s
        self.highest_velocity_um_s = table.highest_velocity_um_s
        self.name = f"{controller.name}, x/y stage"
        self._driven = False
        handle = Handle(
            lambda: self.name, self.position_xy_um, self._start, self._halt, self.reopen
        )
        self._guard = VelocityGuard(
            handle, self.limits_xy_um, self.velocity_valid_s, self.highest_velocity_um_s
        )
        controller.begin(self._set_up)

    def position_xy_um(self) -> tuple[float, float]:
        """Read the position of the stage, in µm."""
        raise NotImplementedError

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start an absolute move, and return when it has been sent.

        Raises
        ------
        DeviceError
            The position is outside the limits, or there are none; the controller refuses, or the
            link is lost.
        """
        require_within_xy((x_um, y_um), self.limits_xy_um, self.name)
        self._guard.move_at(0.0, 0.0)
        self._go(x_um, y_um)

    def move_xy_at(self, vx_um_s: float, vy_um_s: float) -> None:
        """Move at a velocity; see `fgaf.acquire.devices.VelocityStage`.

        Raises
        ------
        DeviceError
            The velocity is too high, leads out of the limits, or the stage was stopped meanwhile
            because it did not move as commanded.
        """
        self._guard.move_at(vx_um_s, vy_um_s)

    def moving_xy(self) -> bool:
        """Whether the controller reports motion."""
        raise NotImplementedError

    def stop(self) -> None:
        """Halt every axis of the controller."""
        self._guard.stop()

    def reopen(self) -> None:
        """Reopen a lost link; see `SerialController.reopen`."""
        self.controller.reopen()

    def close(self) -> None:
        """Stop a motion at a velocity, and close the controller."""
        try:
            self._guard.move_at(0.0, 0.0)
        finally:
            self.controller.close()

    def _set_up(self) -> None:
        """Read the units, and name the stage."""
        raise NotImplementedError

    def _go(self, x_um: float, y_um: float) -> None:
        """Send an absolute move."""
        raise NotImplementedError

    def _drive(self, vx_um_s: float, vy_um_s: float) -> None:
        """Send a velocity."""
        raise NotImplementedError

    def _start(self, vx_um_s: float, vy_um_s: float) -> None:
        self._driven = True
        self._drive(vx_um_s, vy_um_s)

    def _halt(self) -> None:
        """Stop at once: a velocity, if one was ever sent, and every axis of the controller."""
        try:
            if self._driven:
                self._drive(0.0, 0.0)
        finally:
            self.controller.stop()
