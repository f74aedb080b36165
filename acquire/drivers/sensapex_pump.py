"""One channel of a Sensapex uMc pressure controller as a pump."""

from __future__ import annotations

import math
from ctypes import byref, c_float, c_int
from typing import Annotated, Any, Final

from fgaf.acquire.device_tables import PumpTable
from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.sensapex_session import BLANK, NetworkSettings, Session
from fgaf.base.bounds import Bound
from fgaf.base.errors import SettingError

_HIGHEST_KPA: Final = 70.0
_UNIT_KPA: Final = 1e-3
_ATMOSPHERE, _REGULATOR = 0, 1

Resistance = Annotated[float, Bound(1e-3, 1e6, "kPa s/nL")]


class PumpSettings(NetworkSettings):
    """The `[pump.options]` of a uMc, with those of `NetworkSettings`.

    Attributes
    ----------
    channel
        Its output.
    kpa_per_nl_s
        Resistance of the micropipette: kPa for a flow of 1 nL/s.
    """

    channel: Annotated[int, Bound(1, 8)] = 1
    kpa_per_nl_s: Annotated[Resistance | None, BLANK] = None


class SensapexPump:
    """An open pressure channel; implements `fgaf.acquire.devices.Pump`.

    The flow is the pressure divided by the resistance of the pipette. A pressure below that of the
    atmosphere draws liquid in.

    Parameters
    ----------
    session
        The session, which is left on closing.
    settings, table
        The options, and the rig's table.

    Attributes
    ----------
    name
        Number and channel.
    flow_limits_nl_s
        Flow at 1 Pa, and that at 70 kPa or the rig's highest.

    Raises
    ------
    SettingError
        The resistance is not given, or too high for any flow.
    DeviceError
        The device does not answer.
    """

    def __init__(self, session: Session, settings: PumpSettings, table: PumpTable) -> None:
        if settings.kpa_per_nl_s is None:
            raise SettingError(
                "pump.options.kpa_per_nl_s is missing: give the resistance of the pipette, "
                "8 mu L/(pi a^4) + 3 mu/a^3 for the viscosity mu, the bore's radius a and its "
                "length L, in kPa for 1 nL/s"
            )
        self._resistance = settings.kpa_per_nl_s
        self._device, self._channel = settings.device, settings.channel
        self._session, self._answer_s, self._open = session, table.timeout_s, True
        self.flow_limits_nl_s = (
            _UNIT_KPA / self._resistance,
            min(table.highest_flow_nl_s, _HIGHEST_KPA / self._resistance),
        )
        self.name = f"Sensapex pressure controller {self._device}, channel {self._channel}"
        session.greet(self.name, self._device, self._answer_s)
        self.flow_nl_s()

    def flow_nl_s(self) -> float:
        """Measure the pressure, and give it as a flow in nL/s; 0 while the valve is vented."""
        if self._call("umc_get_valve") == _ATMOSPHERE:
            return 0.0
        return -self._pressure("umc_measure_pressure") / self._resistance

    def start(self, flow_nl_s: float) -> None:
        """Set the pressure of a flow, and lead it to the pipette.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s; above 0 draws in.

        Raises
        ------
        DeviceError
            It is out of range, the controller has another setting afterwards, or does not answer.
        """
        least, most = self.flow_limits_nl_s
        if not least <= abs(flow_nl_s) <= most:
            raise DeviceError(
                f"{self.name}: a flow of {flow_nl_s:g} nL/s is out of range, {least:g} to {most:g} "
                "nL/s in either direction"
            )
        self._set(-flow_nl_s * self._resistance)
        self._turn(_REGULATOR)

    def stop(self) -> None:
        """Lead the pipette to the atmosphere, and set the pressure to 0."""
        self._turn(_ATMOSPHERE)
        self._set(0.0)

    def close(self) -> None:
        """Stop, and leave the session."""
        if not self._open:
            return
        try:
            self.stop()
        finally:
            self._open = False
            self._session.leave()

    def _set(self, kpa: float) -> None:
        pascals = round(kpa / _UNIT_KPA)
        half = math.copysign(0.5, pascals)  # libum cuts off the fraction
        self._call("umc_set_pressure_setting", c_float((pascals + half) * _UNIT_KPA))
        found = self._pressure("umc_get_pressure_setting")
        if round(found / _UNIT_KPA) != pascals:
            raise DeviceError(
                f"{self.name} was set to {pascals * _UNIT_KPA:.3f} kPa, but has {found:.3f} kPa; "
                "check its range"
            )

    def _turn(self, valve: int) -> None:
        self._call("umc_set_valve", c_int(valve))
        if self._call("umc_get_valve") != valve:
            raise DeviceError(f"the valve of {self.name} does not turn; check the controller")

    def _pressure(self, function: str) -> float:
        kpa = c_float(math.nan)
        self._call(function, byref(kpa))
        return kpa.value

    def _call(self, function: str, *arguments: Any) -> int:
        if not self._open:
            raise DeviceError(f"{self.name} is closed")
        channel = c_int(self._channel)
        return self._session.call(
            self.name, self._device, self._answer_s, function, channel, *arguments
        )
