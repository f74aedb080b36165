"""A pump that a person works: an injector without an interface, such as a CellTram.

The person is asked at the terminal to begin and to end, and confirms both. The flow is then what
the person was asked for; nothing measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fgaf.acquire.device_tables import PumpTable
from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.person import Person
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import Table, parse_table
from fgaf.base.bounds import Bound

_LEAST_NL_S = 1e-3


class ManualSettings(Table):
    """The `[pump.options]` of a pump that a person works.

    Attributes
    ----------
    name
        What the person works, for the questions.
    confirm_s
        Longest wait for the person.
    """

    name: str = "injector"
    confirm_s: Annotated[float, Bound(0.1, 3600, "s")] = 60.0


class ManualPump:
    """An injector and the person at the terminal; implements `fgaf.acquire.devices.Pump`.

    Parameters
    ----------
    settings, table
        The options, and the rig's `[pump]`.
    interrupt
        Ends the wait for a beginning.

    Attributes
    ----------
    name
        What the person works.
    flow_limits_nl_s
        A small one, and the rig's highest: what a hand can do is not known.
    """

    def __init__(self, settings: ManualSettings, table: PumpTable, interrupt: Interrupt) -> None:
        self.name = f"{settings.name}, by hand"
        self.flow_limits_nl_s = (_LEAST_NL_S, table.highest_flow_nl_s)
        self._person = Person(f"the pump {self.name}")
        self._what, self._within_s = settings.name, settings.confirm_s
        self._interrupt = interrupt
        self._flow_nl_s = 0.0
        self._asked = False

    def flow_nl_s(self) -> float:
        """Flow that the person confirmed, 0 at rest."""
        return self._flow_nl_s

    def start(self, flow_nl_s: float) -> None:
        """Ask the person to begin; returns when that is confirmed.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s; above 0 draws in.

        Raises
        ------
        InterruptError
            A stop was requested meanwhile.
        DeviceError
            The person did not confirm in time.
        """
        self._interrupt.check()
        self._asked = True
        verb = "DRAW" if flow_nl_s > 0 else "EXPEL"
        self._ask(f"{verb} {abs(flow_nl_s):g} nL/s with the {self._what}", self._interrupt.check)
        self._flow_nl_s = flow_nl_s

    def stop(self) -> None:
        """Ask the person to end, if a beginning was asked for; returns when that is confirmed.

        Raises
        ------
        DeviceError
            The person did not confirm in time.
        """
        if self._asked:
            self._ask(f"STOP the {self._what}")
        self._asked, self._flow_nl_s = False, 0.0

    def close(self) -> None:
        """Stop; harmless at rest."""
        self.stop()

    def _ask(self, deed: str, check: Callable[[], None] = lambda: None) -> None:
        if not self._person.confirms(deed, self._within_s, check):
            raise DeviceError(
                f"nobody confirmed within {self._within_s:g} s: {deed}; look at it, and see "
                "pump.options.confirm_s"
            )


def open_pump(table: PumpTable, opening: Opening) -> ManualPump:
    """Open a pump that a person works: the entry point `manual` of the group `fgaf.pumps`.

    Parameters
    ----------
    table
        The rig's `[pump]`; for its options see `ManualSettings`.
    opening
        Gives the request to stop.

    Raises
    ------
    SettingError
        A key is unknown or wrong, or there is no person at a terminal.
    """
    checked = parse_table(ManualSettings, table.options, "pump.options")
    return ManualPump(checked, table, opening.interrupt)
