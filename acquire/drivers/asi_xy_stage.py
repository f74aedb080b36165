"""X and Y of an ASI controller."""

from __future__ import annotations

import re
from typing import Final, Literal

from fgaf.acquire.drivers.asi_controller import NUMBER, AsiController, plain
from fgaf.acquire.drivers.serial_controller import LineSettings
from fgaf.acquire.drivers.serial_xy_stage import SerialXYStage

PLACE: Final = re.compile(rf":A {NUMBER} {NUMBER}")


class AsiXYSettings(LineSettings):
    """The `[xy_stage.options]` of an ASI stage, with those of `LineSettings`.

    Attributes
    ----------
    port
        Port of the controller, if it is not that of the focus drive.
    baud
        Set by the controller's switches.
    """

    baud: Literal[9600, 19200, 28800, 115200] = 9600


class AsiXYStage(SerialXYStage[AsiController]):
    """An open x/y stage; implements `fgaf.acquire.devices.VelocityStage`."""

    def moving_xy(self) -> bool:
        """Whether any axis of the controller moves."""
        return self.controller.moving()

    def _set_up(self) -> None:
        self._units_um = self.controller.read_unit("X"), self.controller.read_unit("Y")
        self.position_xy_um()
        x_um, y_um = self._units_um
        self.name = f"{self.controller.name}, axes X and Y, {x_um:g} and {y_um:g} µm per unit"

    def position_xy_um(self) -> tuple[float, float]:
        """Read the position of the stage, in µm."""
        x, y = self.controller.ask("W X Y", PLACE).groups()
        x_um, y_um = self._units_um
        return float(x) * x_um, float(y) * y_um

    def _go(self, x_um: float, y_um: float) -> None:
        x, y = (plain(at / unit) for at, unit in zip((x_um, y_um), self._units_um, strict=True))
        self.controller.ask(f"M X={x} Y={y}", self.controller.DONE)

    def _drive(self, vx_um_s: float, vy_um_s: float) -> None:
        """Send a velocity (`VECTOR`), in mm/s whatever the units of positions are."""
        x, y = (f"{each / 1e3:.6f}" for each in (vx_um_s, vy_um_s))
        self.controller.ask(f"VECTOR X={x} Y={y}", self.controller.DONE)
