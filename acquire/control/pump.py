"""Suction through the micropipette: a flow within its limits, that always ends in a stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fgaf.acquire.control.error_context import ending
from fgaf.acquire.device_tables import PumpTable
from fgaf.acquire.devices import Devices
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_ATTEMPTS = 3


class PumpControl:
    """Works the pump of an open rig.

    Parameters
    ----------
    devices
        The open rig, with its pump.
    settings
        The highest flow; None if the rig has no such table.
    tell
        Called with every command, before it is sent.
    go
        Whether anything is pumped. Else commands are checked and told.

    Raises
    ------
    SettingError
        The rig has no pump.
    """

    def __init__(
        self,
        devices: Devices,
        settings: PumpTable | None,
        tell: Callable[[str], None] = lambda _: None,
        go: bool = True,
    ) -> None:
        pump = devices.pump
        if pump is None or settings is None:
            raise SettingError(
                "the rig does not draw liquid: add the table [pump] of its pump, or driver = "
                '"manual"'
            )
        self.pump, self.settings = pump, settings
        self._tell, self._go = tell, go
        self._planned_nl_s = 0.0

    @property
    def name(self) -> str:
        """Name of the pump."""
        return self.pump.name

    @property
    def flow_limits_nl_s(self) -> tuple[float, float]:
        """Smallest and largest flow in either direction: the pump's within the rig's."""
        least, most = self.pump.flow_limits_nl_s
        return least, min(most, self.settings.highest_flow_nl_s)

    def flow_nl_s(self) -> float:
        """Flow that the pump reports; above 0 it draws in. Without `go`, what it would be.

        Raises
        ------
        DeviceError
            It does not answer, or reports an alarm.
        """
        return self.pump.flow_nl_s() if self._go else self._planned_nl_s

    def check(self, flow_nl_s: float) -> None:
        """Refuse a flow that the pump cannot make, or that the rig does not allow.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s, in either direction.

        Raises
        ------
        SettingError
            It is too small or too large.
        """
        least, most = self.flow_limits_nl_s
        if not least <= abs(flow_nl_s) <= most:
            advice = (
                "give a higher flow, or use a syringe of smaller diameter"
                if abs(flow_nl_s) < least
                else "see pump.highest_flow_nl_s"
            )
            raise SettingError(
                f"a flow of {flow_nl_s:g} nL/s is outside what {self.name} may pump, {least:g} to "
                f"{most:g} nL/s; {advice}"
            )

    def start(self, flow_nl_s: float) -> None:
        """Pump from now on.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s; above 0 draws in.

        Raises
        ------
        SettingError
            See `check`.
        DeviceError
            The pump refuses it, or reports an alarm.
        """
        self.check(flow_nl_s)
        self._tell(f"the pump {'draws' if flow_nl_s > 0 else 'expels'} {abs(flow_nl_s):g} nL/s")
        if self._go:
            self.pump.start(flow_nl_s)
        self._planned_nl_s = flow_nl_s

    def stop(self) -> None:
        """Stop pumping.

        Raises
        ------
        DeviceError
            The pump does not stop.
        """
        if self._planned_nl_s:
            self._tell("the pump stops")
        self._planned_nl_s = 0.0
        if self._go:
            self.pump.stop()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Stop the pump after the block, also after an error.

        Raises
        ------
        FgafError
            The error that ended the block; or the pump does not stop.
        """
        with ending(self._end):
            yield

    def _end(self) -> str:
        """Stop the pump, over a new link if needed; returns the problem, empty if there is none."""
        reopen = getattr(self.pump, "reopen", None)
        problem = ""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt and reopen is not None:
                    reopen()
                self.stop()
                return ""
            except Exception as error:  # drivers are external code
                _log.info("%s does not stop", self.name, exc_info=True)
                problem = str(error)
        return f"{self.name} COULD NOT BE STOPPED ({problem}): switch it off"
