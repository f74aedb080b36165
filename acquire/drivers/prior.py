"""Prior focus drives and x/y stages: ProScan II/III controllers, and the NanoScanZ piezo.

A move is over when the controller says so; where it really ended is read back with `PZ` (4.4) and
`PS` (4.3) by the code that asked for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.devices import DeviceError
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.limits import limits_of, require_within
from fgaf.acquire.drivers.prior_controller import NUMBER, Model, PriorController
from fgaf.acquire.drivers.prior_xy_stage import PriorXYSettings, PriorXYStage
from fgaf.acquire.drivers.serial_controller import require_port
from fgaf.acquire.drivers.serial_probe import identify
from fgaf.acquire.drivers.serial_stage import SerialSettings, SerialStage
from fgaf.acquire.ramp import Ramp, Reading
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table
from fgaf.acquire.units import whole
from fgaf.base.bounds import UnitUm

REQUIRES: Final = ("serial",)
ASK_FIRST: Final = True

_Z: Final = 4
_PERCENT: Final = re.compile(r"\d{1,3}")
_FULL_SPEED: Final = 100
_TRIAL_PERCENTS: Final = (10, 1)
_LONGEST_TRIAL_S: Final = 10.0
_FEWEST_READINGS: Final = 6
_LONG_ENOUGH_NS: Final = 300_000_000
_BACKLASH: Final = re.compile(r"([01]),(\d+)")


class PriorSettings(SerialSettings):
    """The `[stage.options]` of a Prior drive, with those of every `SerialSettings`.

    Attributes
    ----------
    model
        `proscan` for the focus axis of a ProScan, `nanoscanz` for the piezo's own controller.
    baud
        Baud rate. Some ProScan III need two `stop_bits`.
    unit_um
        Size of the controller's unit in µm. A ProScan reports it (`RES,Z`, 4.4): then it is only
        checked; else it is needed. The NanoScanZ counts in µm.
    """

    model: Model = "proscan"
    baud: Literal[9600, 19200, 38400, 115200] = 9600
    unit_um: UnitUm | None = None

    @model_validator(mode="after")
    def _unit_fits_model(self) -> Self:
        if self.model == "nanoscanz" and self.unit_um is not None:
            raise ValueError("unit_um: a NanoScanZ counts in µm; remove the key")
        return self


class PriorStage(SerialStage[PriorController]):
    """An open focus drive; implements `fgaf.acquire.devices.TrialRampStage`.

    Attributes
    ----------
    name
        Controller, serial number, unit and state of its backlash correction.
    backlash
        `BLZH` at opening (4.4): whether it was on, and its size in microsteps; None if the
        controller does not report it.
    """

    def __init__(
        self,
        controller: PriorController,
        settings: PriorSettings,
        limits_um: tuple[float, float],
    ) -> None:
        self._settings = settings
        self._um_s_per_percent = 0.0
        self.backlash: tuple[bool, int] | None = None
        super().__init__(controller, limits_um)

    @property
    def unit_um(self) -> float | None:
        """Size of a ProScan's unit; None for a NanoScanZ, which accepts any µm."""
        return self._unit_um if self._settings.model == "proscan" else None

    def position_um(self) -> float:
        """Read the position of the axis (`PZ`), in µm."""
        units = float(self.controller.ask("PZ", NUMBER)[0])
        return units * self._unit_um * self._settings.direction

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start an absolute move at a speed (`SMZ`); the next move has the normal speed again.

        The controller takes the speed in whole percent of its motor's speed (4.4).

        Raises
        ------
        DeviceError
            The speed is out of range, `try_speed` has not measured it, `z_um` is outside the
            limits, or the link is lost.
        """
        require_within(z_um, self.limits_um, self.name)
        if not self._um_s_per_percent:
            raise DeviceError(f"{self.name} has no measured speed; call try_speed first")
        percent = round(speed_um_s / self._um_s_per_percent)
        if not 1 <= percent <= _FULL_SPEED:
            low_um_s, high_um_s = self._um_s_per_percent, _FULL_SPEED * self._um_s_per_percent
            raise DeviceError(
                f"{self.name} moves at {low_um_s:.3g} to {high_um_s:.3g} µm/s, not at "
                f"{speed_um_s:.3g}; change --step or --frames-per-plane, or use acq stack"
            )
        self._set_percent(percent)
        self._go(z_um)

    def try_speed(self, z_um: float) -> None:
        """Measure once, by read-backs on the way to `z_um`, how many µm/s one percent is.

        Raises
        ------
        DeviceError
            The distance is too short, or too long, to measure it.
        """
        if self._um_s_per_percent:
            return
        require_within(z_um, self.limits_um, self.name)
        here_um = self.position_um()
        for percent in _TRIAL_PERCENTS:
            self._set_percent(percent)
            readings = self._watch(z_um)
            self.controller.ask(self._usual_speed, self.controller.DONE)
            self._watch(here_um)
            edge_um = (z_um - here_um) / 5
            inner = [each for each in readings if here_um + edge_um < each.z_um < z_um - edge_um]
            if len(inner) < _FEWEST_READINGS or inner[-1].z_um - inner[0].z_um < edge_um:
                continue
            self._um_s_per_percent = Ramp.fit(inner).speed_um_s / percent
            if inner[-1].time_ns - inner[0].time_ns > _LONG_ENOUGH_NS:
                return
        if self._um_s_per_percent:
            return
        raise DeviceError(
            f"{self.name} crosses {z_um - here_um:.3g} µm too fast to measure its speed; "
            "take a larger range, or use acq stack"
        )

    def moving(self) -> bool:
        """Whether a move has not ended; see `PriorController.moving`."""
        return self.controller.moving(_Z)

    def _go(self, z_um: float) -> None:
        units = z_um * self._settings.direction / self._unit_um
        proscan = self._settings.model == "proscan"
        self.controller.start(f"GZ,{whole(units)}" if proscan else f"V {units:.3f}")

    def _set_percent(self, percent: int) -> None:
        ask = self.controller.ask
        self._set_speed(f"SMZ,{percent}", lambda: f"SMZ,{ask('SMZ', _PERCENT)[0]}")

    def _watch(self, z_um: float) -> list[Reading]:
        """Go to `z_um` at the set speed, and read the position during the move."""
        readings: list[Reading] = []
        self._go(z_um)
        begun_s = time.monotonic()
        while self.moving():
            asked_ns = time.perf_counter_ns()
            here_um = self.position_um()
            readings.append(Reading(asked_ns, time.perf_counter_ns(), here_um))
            if time.monotonic() - begun_s > _LONGEST_TRIAL_S:
                self.stop()
                raise DeviceError(
                    f"{self.name} has not reached {z_um:.6g} µm in {_LONGEST_TRIAL_S:g} s, to "
                    "measure its speed; check it, or use acq stack"
                )
        return readings

    def _set_up(self) -> None:
        controller, settings = self.controller, self._settings
        self.name = controller.name
        if settings.model == "nanoscanz":
            controller.ask("PZ", NUMBER)
            self._unit_um = 1.0
            return
        focus = controller.read_fitted("FOCUS", "connect its motor and switch it off and on")
        self._unit_um = controller.read_unit("Z", settings.unit_um, "stage.options")
        self.name += f", focus {focus}, {self._unit_um:g} µm per unit, {self._settle_backlash()}"

    def _settle_backlash(self) -> str:
        found = self.controller.ask_optional("BLZH", _BACKLASH)
        if found is None:
            return "backlash correction not reported"
        on, microsteps = (int(part) for part in found.groups())
        self.backlash = (bool(on), microsteps)
        if not on:
            return "backlash correction off"
        if self._settings.backlash == "keep":
            return f"backlash correction of {microsteps} microsteps left on"
        self.controller.ask(f"BLZH,0,{microsteps}", self.controller.DONE)
        self.controller.restore_later(f"BLZH,1,{microsteps}")
        return f"backlash correction of {microsteps} microsteps switched off"


def open_stage(settings: Mapping[str, Any], opening: Opening) -> PriorStage:
    """Open a Prior drive: the entry point `prior` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `PriorSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no focus drive.
    """
    checked = parse_table(PriorSettings, settings, "stage.options")
    limits_um = limits_of(opening, "a Prior")
    link = checked.open_link("Prior controller")
    return PriorStage(PriorController(link, checked.model), checked, limits_um)


def open_xy_stage(table: XYStageTable, opening: Opening) -> PriorXYStage:
    """Open a Prior x/y stage: the entry point `prior` of the group `fgaf.xy_stages`.

    Parameters
    ----------
    table
        The rig's `[xy_stage]`; for its options see `PriorXYSettings`.
    opening
        Gives the focus drive, whose controller is shared if the options name no port.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The port does not open, or the controller has no x/y stage.
    """
    checked = parse_table(PriorXYSettings, table.options, "xy_stage.options")
    drive = opening.stage
    if checked.port is None and isinstance(drive, PriorStage) and drive.unit_um is not None:
        controller = drive.controller
    else:
        require_port(checked, "Prior")
        controller = PriorController(checked.open_link("Prior controller"), "proscan")
    return PriorXYStage(controller, checked, table)


def find_on(port: str) -> list[Found]:
    """Recognise a ProScan by its information block (`?`, 4.2), which changes nothing.

    An incomplete command of another program spoils the first query; it is then repeated.
    """
    for _ in range(2):
        lines = identify(port, "?", baud=9600, last="END")
        if "PROSCAN INFORMATION" in lines:
            return _fitted(port, lines)
        if not lines or not lines[0].startswith("E"):
            return []
    return []


def _fitted(port: str, lines: list[str]) -> list[Found]:
    """List the focus drive, and the x/y stage if there is one."""
    fitted = {}
    for key in ("FOCUS", "STAGE"):
        line = next((each for each in lines if each.startswith(key)), "= unknown")
        fitted[key] = line.partition("=")[2].strip()
    focus, stage = fitted["FOCUS"], fitted["STAGE"]
    problem = "no focus drive is fitted" if focus == "NONE" else ""
    options = {"port": port}
    found = [Found("stage", "prior", port, f"Prior ProScan, focus {focus}", options, problem)]
    if stage not in ("NONE", "unknown"):
        found.append(Found("xy stage", "prior", port, f"Prior ProScan, stage {stage}", options))
    return found
