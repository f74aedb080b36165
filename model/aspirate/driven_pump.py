"""The pump during trials: the flow that it reports, and the flow that is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fgaf.acquire.control.error_context import failures_of
from fgaf.acquire.control.pump import PumpControl
from fgaf.acquire.devices import Clock
from fgaf.model.live.polled import Attached

_REST_S: Final = 0.02
_SILENT_S: Final = 1.0
"""Without news from the loop for this long, the pump stops."""


class DrivenPump(Attached):
    """Makes the newest wanted flow, and asks the pump for its flow and its alarms.

    It stops when nobody renews the wanted flow for a second, whatever the cause.

    Parameters
    ----------
    suction
        The pump, with its limits.
    clock
        Clock of the pauses.
    """

    def __init__(self, suction: PumpControl, clock: Clock) -> None:
        super().__init__("pump", clock, _REST_S)
        self._suction = suction
        self._commands = threading.Lock()
        self._wanted_nl_s = self._made_nl_s = self._reported_nl_s = 0.0
        self._renewed_ns = 0
        self._closed = False

    def draw(self, flow_nl_s: float) -> None:
        """Take the wanted flow, 0 to stop; returns at once, call it for every frame.

        Parameters
        ----------
        flow_nl_s
            Flow in nL/s; above 0 draws in.

        Raises
        ------
        SettingError
            The pump cannot make it.
        """
        if flow_nl_s:
            self._suction.check(flow_nl_s)
        self._wanted_nl_s, self._renewed_ns = flow_nl_s, self._clock.now_ns()

    @property
    def flow_nl_s(self) -> float:
        """Flow that the pump reported last.

        Raises
        ------
        DeviceError
            It does not answer, or has an alarm.
        """
        self._require_well()
        return self._reported_nl_s

    def look(self) -> None:
        """Begin or stop the flow if it has changed, and ask for the flow.

        Raises
        ------
        DeviceError
            The pump does not answer, refuses, or has an alarm; it was stopped if that was possible.
        """
        with self._commands:
            if self._closed:
                return
            with failures_of("the pump"):
                late = self._clock.now_ns() - self._renewed_ns > _SILENT_S * 1e9
                wanted = 0.0 if late else self._wanted_nl_s
                if wanted != self._made_nl_s:
                    self._made_nl_s = wanted
                    if wanted:
                        self._suction.start(wanted)
                    else:
                        self._suction.stop()
                self._reported_nl_s = self._suction.flow_nl_s()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Make the block in which it pumps; after it, it has stopped.

        Raises
        ------
        FgafError
            See `PumpControl.stopping`.
        """
        with self._suction.stopping():
            try:
                yield
            finally:
                with self._commands:
                    self._closed = True
