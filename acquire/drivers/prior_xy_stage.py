"""The x/y stage of a ProScan II/III controller; sections are those of the manual, V 1.16."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.drivers.prior_controller import PriorController
from fgaf.acquire.drivers.serial_controller import LineSettings
from fgaf.acquire.drivers.serial_xy_stage import SerialXYStage
from fgaf.acquire.units import whole
from fgaf.base.bounds import Bound, UnitUm

_X_OR_Y: Final = 1 | 2
_PLACE: Final = re.compile(r"([+-]?\d+),([+-]?\d+)")
_PERCENT: Final = re.compile(r"\d{1,3}")

Percent = Annotated[int, Bound(1, 100, "%")]


class PriorXYSettings(LineSettings):
    """The `[xy_stage.options]` of a Prior stage, with those of `LineSettings`.

    Attributes
    ----------
    port
        Port of the controller, if it is not that of the focus drive.
    baud
        Baud rate.
    unit_um
        Size of the controller's unit in µm, 1 as delivered. Some controllers do not report it
        (`RES,s` gives 0): then it is needed; else it is only checked.
    speed, acceleration, curve
        Percent of the highest speed (`SMS`), acceleration (`SAS`) and S-curve (`SCS`) of moves;
        left out: what is set. Restored on closing.
    """

    baud: Literal[9600, 19200, 38400, 115200] = 9600
    unit_um: UnitUm | None = None
    speed: Percent | None = None
    acceleration: Percent | None = None
    curve: Percent | None = None


class PriorXYStage(SerialXYStage[PriorController]):
    """An open x/y stage; implements `fgaf.acquire.devices.VelocityStage`.

    Parameters
    ----------
    controller
        Its controller, which a focus drive may share.
    settings, table
        The options, and the rig's table.
    """

    def __init__(
        self, controller: PriorController, settings: PriorXYSettings, table: XYStageTable
    ) -> None:
        self._settings = settings
        self._unit_um = 0.0
        super().__init__(controller, table)

    def moving_xy(self) -> bool:
        """Whether a move has not ended; see `PriorController.moving`."""
        return self.controller.moving(_X_OR_Y)

    def _set_up(self) -> None:
        controller, settings = self.controller, self._settings
        fitted = controller.read_fitted("STAGE", "connect it and switch the controller off and on")
        self._unit_um = controller.read_unit("s", settings.unit_um, "xy_stage.options")
        percents = [
            self._settle_percent(command, wanted)
            for command, wanted in (
                ("SMS", settings.speed),
                ("SAS", settings.acceleration),
                ("SCS", settings.curve),
            )
        ]
        self.name = (
            f"{controller.name}, stage {fitted}, {self._unit_um:g} µm per unit, "
            f"{', '.join(percents)}"
        )

    def _settle_percent(self, command: str, wanted: int | None) -> str:
        """Set a percentage of moves, if the rig gives one; names the one that holds."""
        found = self.controller.ask_anything(command)
        if wanted is None or found == str(wanted):
            return f"{command} {found}"
        self.controller.ask(f"{command},{wanted}", self.controller.DONE)
        if _PERCENT.fullmatch(found):
            self.controller.restore_later(f"{command},{found}")
        return f"{command} {wanted}"

    def position_xy_um(self) -> tuple[float, float]:
        """Read the position of the stage, in µm."""
        x, y = self.controller.ask("PS", _PLACE).groups()
        return int(x) * self._unit_um, int(y) * self._unit_um

    def _go(self, x_um: float, y_um: float) -> None:
        x, y = (whole(at / self._unit_um) for at in (x_um, y_um))
        self.controller.start(f"G,{x},{y}")

    def _drive(self, vx_um_s: float, vy_um_s: float) -> None:
        self.controller.order(f"VS,{vx_um_s:.1f},{vy_um_s:.1f}")
