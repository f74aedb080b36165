"""The flow at the tip at any time, for a pump whose displacement is known by time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from fgaf.acquire.simulation.aspiration.hydraulics import Hydraulics
from fgaf.base.errors import SettingError

_LOOK_S = 1e-3
_KEPT = 4096


class TipFlow:
    """Follows a pump through a compliant line. Times may go back, but not before the first.

    The pump is asked every millisecond; between its changes the flow is exact.

    Parameters
    ----------
    line
        The line, at rest or under suction.
    pump
        Displacement of the pump in nL/s at a time in s.
    time_s
        Time at which the line is as given.
    """

    def __init__(
        self, line: Hydraulics, pump: Callable[[float], float], time_s: float = 0.0
    ) -> None:
        self._tau_s, self._pump = line.time_constant_s, pump
        self._begun_s = [time_s]
        self._parts = [(line.flow_nl_s, pump(time_s))]
        self._known_s = time_s

    def at(self, time_s: float) -> float:
        """Flow into the tip, nL/s.

        Raises
        ------
        SettingError
            The time is so long ago that it is forgotten.
        """
        while self._known_s < time_s:
            after = min(self._known_s + _LOOK_S, time_s)
            pump = self._pump((self._known_s + after) / 2)
            if pump != self._parts[-1][1]:
                self._parts.append((self._flow(self._known_s), pump))
                self._begun_s.append(self._known_s)
                del self._parts[:-_KEPT], self._begun_s[:-_KEPT]
            self._known_s = after
        if time_s < self._begun_s[0]:
            raise SettingError(
                f"the flow at {time_s:g} s is not known; ask for {self._begun_s[0]:g} s or more"
            )
        return self._flow(time_s)

    def _flow(self, time_s: float) -> float:
        part = bisect_right(self._begun_s, time_s) - 1
        start, pump = self._parts[part]
        return pump + (start - pump) * math.exp(-(time_s - self._begun_s[part]) / self._tau_s)
