"""Exposure times of the frames of a Micro-Manager stream, estimated from their arrival.

The core stamps a frame when the camera's adapter hands it over: after its exposure, its read-out
and its transfer. The tag `ElapsedTime-ms` is from the camera for some adapters and from the
computer for others, with an unknown zero, so it is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

import numpy as np

from fgaf.acquire.devices import Clock, DeviceError, IncompleteFrameError
from fgaf.acquire.tables import Table
from fgaf.base.bounds import WaitMs

TRIAL_FRAMES: Final = 22
_UNEVEN_FRAMES: Final = 2
_CATCH_UP: Final = 1.01
_EPOCH: Final = datetime(1970, 1, 1)


class Latency(Table):
    """Measured time from the end of a frame's exposure to its arrival.

    Attributes
    ----------
    ms
        The time.
    error_ms
        Its maximum error.
    """

    ms: WaitMs
    error_ms: WaitMs


@dataclass(frozen=True)
class Pace:
    """Regularity of a stream's arrivals.

    Attributes
    ----------
    interval_s
        Time from one frame to the next.
    scatter_s
        Median distance of an arrival from its expected time.
    """

    interval_s: float
    scatter_s: float

    @classmethod
    def of(cls, arrivals_ns: Sequence[int]) -> Self:
        """Find the frame interval as the median over all pairs; late arrivals do not count.

        Parameters
        ----------
        arrivals_ns
            Arrivals of successive frames, ns; the first ones may be uneven and are not used.

        Raises
        ------
        DeviceError
            The frames came at the same time, or in wrong order.
        """
        since_s = (np.array(arrivals_ns[_UNEVEN_FRAMES:]) - arrivals_ns[0]) / 1e9
        first, second = np.triu_indices(len(since_s), 1)
        interval_s = float(np.median((since_s[second] - since_s[first]) / (second - first)))
        if interval_s <= 0:
            raise DeviceError("frames of a stream have the same or decreasing times; use acq stack")
        turns_s = since_s - interval_s * np.arange(len(since_s))
        return cls(interval_s, float(np.median(np.abs(turns_s - np.median(turns_s)))))

    def latency(self) -> Latency:
        """Bound an unmeasured delay: read-out and transfer take at most one frame time each.

        A camera that needs longer for one of them could not keep the frame rate.
        """
        return Latency(ms=self.interval_s * 1e3, error_ms=self.interval_s * 1e3)


class Arrivals:
    """Arrival times of one stream by the run's clock, without delays of a busy computer.

    Parameters
    ----------
    clock
        The run's.
    pace
        Regularity of the stream; None for unchanged arrivals.
    """

    def __init__(self, clock: Clock, pace: Pace | None = None) -> None:
        self._pace = pace
        self._count = 0
        self._last_ns = 0
        self._offset_ns = _system_offset_ns(clock)

    def next_ns(self, stamp: str) -> int:
        """Return the arrival of the next frame in ns since the epoch.

        A frame never arrives early, so a late frame is assigned its expected time.

        Parameters
        ----------
        stamp
            The core's time stamp, `TimeReceivedByCore`: local time of the system's clock.

        Raises
        ------
        IncompleteFrameError
            It is half a frame time or more from its expected time.
        """
        since = datetime.fromisoformat(stamp) - _EPOCH
        arrived_ns = since // timedelta(microseconds=1) * 1000 + self._offset_ns
        self._count += 1
        if self._pace is not None and self._count > _UNEVEN_FRAMES:
            interval_ns = self._pace.interval_s * 1e9
            late_ns = arrived_ns - self._last_ns - interval_ns
            if abs(late_ns) > interval_ns / 2:
                raise IncompleteFrameError(
                    f"a frame of the stream came {late_ns / 1e6:+.3g} ms from its expected time: a "
                    "frame was lost, or the computer is too busy; close other programs, or expose "
                    "longer"
                )
            arrived_ns = min(arrived_ns, self._last_ns + round(interval_ns * _CATCH_UP))
        self._last_ns = arrived_ns
        return arrived_ns


def _system_offset_ns(clock: Clock) -> int:
    """Read both clocks when the system clock advances: on Windows it may stand still for 16 ms."""
    begun = now = datetime.now()
    while now == begun:
        now = datetime.now()
    return clock.now_ns() - (now - _EPOCH) // timedelta(microseconds=1) * 1000
