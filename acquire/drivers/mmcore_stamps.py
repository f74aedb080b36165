"""When the frames of a Micro-Manager stream were exposed, as far as their arrival tells it.

The core stamps a frame when the camera's adapter hands it over: after its exposure, its read-out
and its transfer. What adapters say besides (`ElapsedTime-ms`) is of the camera with some of them,
of the computer with others, and counts from a time that nobody tells, so it is not used.
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
    """How long frames take from the end of their exposure to their arrival, as somebody measured.

    Attributes
    ----------
    ms
        The time.
    error_ms
        How far it may be off.
    """

    ms: WaitMs
    error_ms: WaitMs


@dataclass(frozen=True)
class Pace:
    """How evenly frames of a stream arrive.

    Attributes
    ----------
    interval_s
        From one frame to the next.
    scatter_s
        How far an arrival usually (the median) lies from its turn.
    """

    interval_s: float
    scatter_s: float

    @classmethod
    def of(cls, arrivals_ns: Sequence[int]) -> Self:
        """Find the pace that a few late arrivals do not change: the median of all pairs.

        Parameters
        ----------
        arrivals_ns
            Of successive frames, ns; the first ones may be uneven and do not count.

        Raises
        ------
        DeviceError
            The frames came at once, or the later ones earlier.
        """
        since_s = (np.array(arrivals_ns[_UNEVEN_FRAMES:]) - arrivals_ns[0]) / 1e9
        first, second = np.triu_indices(len(since_s), 1)
        interval_s = float(np.median((since_s[second] - since_s[first]) / (second - first)))
        if interval_s <= 0:
            raise DeviceError("frames of a stream came without time between them; use acq stack")
        turns_s = since_s - interval_s * np.arange(len(since_s))
        return cls(interval_s, float(np.median(np.abs(turns_s - np.median(turns_s)))))

    def latency(self) -> Latency:
        """Bound what nobody measured: read-out and transfer take at most a frame time each.

        A camera for which one of them took longer could not keep the pace.
        """
        return Latency(ms=self.interval_s * 1e3, error_ms=self.interval_s * 1e3)


class Arrivals:
    """Arrival times of one stream by the run's clock; a busy computer's delays are taken out.

    Parameters
    ----------
    clock
        The run's.
    pace
        What the stream keeps; None takes every arrival as it is.
    """

    def __init__(self, clock: Clock, pace: Pace | None = None) -> None:
        self._pace = pace
        self._count = 0
        self._last_ns = 0
        self._offset_ns = _system_offset_ns(clock)

    def next_ns(self, told: str) -> int:
        """Return the arrival of the next frame in ns since the epoch.

        A frame never arrives before its turn, so one that is late counts as in its turn.

        Parameters
        ----------
        told
            The core's stamp, `TimeReceivedByCore`: local time of the system's clock.

        Raises
        ------
        IncompleteFrameError
            It is half a frame time or more from its turn.
        """
        since = datetime.fromisoformat(told) - _EPOCH
        arrived_ns = since // timedelta(microseconds=1) * 1000 + self._offset_ns
        self._count += 1
        if self._pace is not None and self._count > _UNEVEN_FRAMES:
            interval_ns = self._pace.interval_s * 1e9
            late_ns = arrived_ns - self._last_ns - interval_ns
            if abs(late_ns) > interval_ns / 2:
                raise IncompleteFrameError(
                    f"a frame of the stream came {late_ns / 1e6:+.3g} ms from its turn: one was "
                    "lost, or the computer is too busy; end other programs, or expose longer"
                )
            arrived_ns = min(arrived_ns, self._last_ns + round(interval_ns * _CATCH_UP))
        self._last_ns = arrived_ns
        return arrived_ns


def _system_offset_ns(clock: Clock) -> int:
    """Read both clocks together as the system's advances: on Windows it may stand for 16 ms."""
    begun = now = datetime.now()
    while now == begun:
        now = datetime.now()
    return clock.now_ns() - (now - _EPOCH) // timedelta(microseconds=1) * 1000
