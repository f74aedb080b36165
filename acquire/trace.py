"""Positions of a device over time, as they were read."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from typing import Final

_REMEMBERED: Final = 256

Place = tuple[float, ...]


class Trace:
    """The last positions read from a device; may be used by several threads."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Place]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def add(self, time_ns: int, place: Place) -> None:
        """Add a position.

        Parameters
        ----------
        time_ns
            When it was read; not before the last one.
        place
            The position, µm along each axis.
        """
        with self._lock:
            self._seen.append((time_ns, place))

    def at(self, time_ns: int) -> Place:
        """Position at a time, interpolated between the two readings around it, else the nearest.

        Parameters
        ----------
        time_ns
            When.
        """
        with self._lock:
            seen = list(self._seen)
        after = bisect_left(seen, time_ns, key=lambda reading: reading[0])
        if after in (0, len(seen)):
            return seen[min(after, len(seen) - 1)][1]
        (t0, before), (t1, behind) = seen[after - 1], seen[after]
        share = (time_ns - t0) / max(1, t1 - t0)
        return tuple(a + (b - a) * share for a, b in zip(before, behind, strict=True))
