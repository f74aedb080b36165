"""The simulated pump, which draws liquid into the micropipette."""

from __future__ import annotations

import math
from typing import Annotated

from fgaf.acquire.devices import Clock, DeviceError
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound, FlowNlS, WaitMs


class PumpOptions(Table):
    """``[pump.options]`` of the simulated pump.

    Attributes
    ----------
    least_flow_nl_s, highest_flow_nl_s
        Smallest and largest flow besides 0, in either direction.
    delay_ms
        Time from a command until the flow changes.
    reply_ms
        Time from a command to its reply.
    stalls_after_s
        The pump stalls when it has run this long, and reports an alarm; by default it never does.
    """

    least_flow_nl_s: FlowNlS = 0.002
    highest_flow_nl_s: FlowNlS = 1000.0
    delay_ms: WaitMs = 20.0
    reply_ms: WaitMs = 1.0
    stalls_after_s: Annotated[float, Bound(0, 1e7, "s")] | None = None


class SimulatedPump:
    """Displaces liquid; implements `fgaf.acquire.devices.Pump`.

    Parameters
    ----------
    options
        Its properties.
    clock
        The simulated clock.

    Attributes
    ----------
    changes
        Time in ns and new flow in nL/s of each change.
    """

    name = "simulated pump"

    def __init__(self, options: PumpOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self.changes: list[tuple[int, float]] = [(clock.now_ns(), 0.0)]

    @property
    def longest_s(self) -> float:
        """How long it runs before it stalls."""
        limit_s = self._options.stalls_after_s
        return math.inf if limit_s is None else limit_s

    @property
    def flow_limits_nl_s(self) -> tuple[float, float]:
        """Smallest and largest flow besides 0, in either direction."""
        return self._options.least_flow_nl_s, self._options.highest_flow_nl_s

    def flow_nl_s(self) -> float:
        """Flow of the pump now.

        Raises
        ------
        DeviceError
            It has stalled.
        """
        self._reply()
        self._require_running()
        return self.displaced_nl_s()

    def start(self, flow_nl_s: float) -> None:
        """Pump from now on, after the delay.

        Raises
        ------
        DeviceError
            The flow is out of range, or the pump has stalled.
        """
        least, most = self.flow_limits_nl_s
        if not least <= abs(flow_nl_s) <= most:
            raise DeviceError(
                f"{self.name} makes {least:g} to {most:g} nL/s, not {abs(flow_nl_s):g}"
            )
        self._reply()
        self._require_running()
        self._change(flow_nl_s)

    def stop(self) -> None:
        """Stop pumping, after the delay; an alarm is over then."""
        self._reply()
        self._change(0.0)

    def close(self) -> None:
        """Stop."""
        self.stop()

    def displaced_nl_s(self, time_ns: int | None = None) -> float:
        """True flow of the pump; that at the tip follows later.

        Parameters
        ----------
        time_ns
            A recent time; by default now.
        """
        at_ns = self._clock.now_ns() if time_ns is None else time_ns
        begun_ns, flow = next(
            (each for each in reversed(self.changes) if each[0] <= at_ns), self.changes[0]
        )
        return 0.0 if flow and self._stalled(begun_ns, at_ns) else flow

    def _change(self, flow_nl_s: float) -> None:
        begun_ns = self._clock.now_ns() + round(self._options.delay_ms * 1e6)
        self.changes.append((begun_ns, flow_nl_s))

    def _require_running(self) -> None:
        begun_ns, flow = self.changes[-1]
        if flow and self._stalled(begun_ns, self._clock.now_ns()):
            raise DeviceError(f"{self.name} has stalled; stop it, and look for a blocked line")

    def _stalled(self, begun_ns: int, at_ns: int) -> bool:
        return (at_ns - begun_ns) / 1e9 > self.longest_s

    def _reply(self) -> None:
        self._clock.sleep(self._options.reply_ms / 1e3)
