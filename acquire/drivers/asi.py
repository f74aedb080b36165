"""ASI focus drives and x/y stages: the axes of an MS-2000 or Tiger controller.

A controller that reports too early that it is not busy does no harm: the code that asked for a move
checks the final position (`W`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.asi_controller import NUMBER, AsiController, plain, setting
from fgaf.acquire.drivers.asi_xy_stage import PLACE, AsiXYSettings, AsiXYStage
from fgaf.acquire.drivers.limits import limits_of, require_within
from fgaf.acquire.drivers.serial_controller import require_port
from fgaf.acquire.drivers.serial_probe import identify
from fgaf.acquire.drivers.serial_stage import SerialSettings, SerialStage
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table

REQUIRES: Final = ("serial",)

_USUAL_BAUD: Final = (9600, 115200)
_POSITION: Final = re.compile(rf":A {NUMBER}")


class AsiSettings(SerialSettings):
    """The `[stage.options]` of an ASI drive, with those of every `SerialSettings`.

    Attributes
    ----------
    axis
        Letter of the focus axis.
    baud
        Set by the controller's switches.
    """

    axis: Annotated[str, Field(pattern=r"^[A-Z]$")] = "Z"
    baud: Literal[9600, 19200, 28800, 115200] = 9600


class AsiStage(SerialStage[AsiController]):
    """An open focus drive; implements `fgaf.acquire.devices.RampStage`.

    Attributes
    ----------
    name
        Controller, version, unit and state of its backlash correction.
    backlash_um
        Length of its anti-backlash moves (`B`) at opening, in µm, 0 if off; None if the controller
        does not report it.
    """

    def __init__(
        self, controller: AsiController, settings: AsiSettings, limits_um: tuple[float, float]
    ) -> None:
        self._settings = settings
        self._axis = settings.axis
        self.backlash_um: float | None = None
        super().__init__(controller, limits_um)

    def position_um(self) -> float:
        """Read the position of the axis (`W`), in µm."""
        units = float(self.controller.ask(f"W {self._axis}", _POSITION)[1])
        return units * self._unit_um * self._settings.direction

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start a move at a speed (`S`, in mm/s); the next move has the normal speed again.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, the controller refuses, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        self._set_speed(f"S {self._axis}={speed_um_s / 1e3:.6f}", self._find_speed)
        self._go(z_um)

    def moving(self) -> bool:
        """Whether any axis of the controller moves."""
        return self.controller.moving()

    def _find_speed(self) -> str:
        normal = self.controller.ask(f"S {self._axis}?", setting(self._axis))[1]
        return f"S {self._axis}={normal}"

    def _go(self, z_um: float) -> None:
        units = z_um * self._settings.direction / self._unit_um
        self.controller.ask(f"M {self._axis}={plain(units)}", self.controller.DONE)

    def _set_up(self) -> None:
        controller = self.controller
        controller.ask(f"W {self._axis}", _POSITION)
        self._unit_um = controller.read_unit(self._axis)
        self.name = (
            f"{controller.name}, axis {self._axis}, {self._unit_um:g} µm per unit, "
            f"{self._settle_backlash()}"
        )

    def _settle_backlash(self) -> str:
        found = self.controller.ask_optional(f"B {self._axis}?", setting(self._axis))
        if found is None:
            return "backlash correction not reported"
        self.backlash_um = 1e3 * float(found[1])
        if self.backlash_um == 0:
            return "backlash correction off"
        if self._settings.backlash == "keep":
            return f"backlash correction of {self.backlash_um:g} µm left on"
        self.controller.ask(f"B {self._axis}=0", self.controller.DONE)
        self.controller.restore_later(f"B {self._axis}={found[1]}")
        return f"backlash correction of {self.backlash_um:g} µm switched off"


def open_stage(settings: Mapping[str, Any], opening: Opening) -> AsiStage:
    """Open an ASI drive: the entry point `asi` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `AsiSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no such axis.
    """
    checked = parse_table(AsiSettings, settings, "stage.options")
    limits_um = limits_of(opening, "an ASI")
    controller = AsiController(checked.open_link("ASI controller"))
    return AsiStage(controller, checked, limits_um)


def open_xy_stage(table: XYStageTable, opening: Opening) -> AsiXYStage:
    """Open an ASI x/y stage: the entry point `asi` of the group `fgaf.xy_stages`.

    Parameters
    ----------
    table
        The rig's `[xy_stage]`; for its options see `AsiXYSettings`.
    opening
        Gives the focus drive, whose controller is shared if the options name no port.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no such axes.
    """
    checked = parse_table(AsiXYSettings, table.options, "xy_stage.options")
    drive = opening.stage
    if checked.port is None and isinstance(drive, AsiStage):
        controller = drive.controller
    else:
        require_port(checked, "ASI")
        controller = AsiController(checked.open_link("ASI controller"))
    return AsiXYStage(controller, table)


def find_on(port: str) -> list[Found]:
    """Search for a controller on a serial port, at both common baud rates: `W` only reads."""
    for baud in _USUAL_BAUD:
        for answer in identify(port, "W Z", baud=baud):
            if _POSITION.fullmatch(answer) or AsiController.REFUSED.fullmatch(answer):
                name, options = f"ASI controller at {baud} baud", {"port": port, "baud": baud}
                found = [Found("stage", "asi", port, name, options)]
                if any(map(PLACE.fullmatch, identify(port, "W X Y", baud=baud))):
                    found.append(Found("xy stage", "asi", port, f"{name}, axes X and Y", options))
                return found
    return []
