"""The speed of the loop: rate, latency, drops."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

_FRAMES: Final = 400
_RATE_S: Final = 2.0
_EVERY: Final = 10
_NOW_S: Final = 1.0
_FORGOTTEN_S: Final = 10.0


class Pace:
    """Counts and times frames.

    Attributes
    ----------
    frames, dropped
        Numbers since the start.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.dropped = 0
        self._latencies: deque[float] = deque(maxlen=_FRAMES)
        self._results: deque[int] = deque()
        self._percentiles = (0.0, 0.0)

    def count(self, latency_ms: float, result_ns: int, dropped: int) -> None:
        """Count one frame, and those dropped before it.

        Parameters
        ----------
        latency_ms
            From the frame to its result, ms.
        result_ns
            When the result was there, nanoseconds.
        dropped
            Frames dropped since the one before.
        """
        self.frames += 1
        self.dropped += dropped
        self._latencies.append(latency_ms)
        self._results.append(result_ns)
        while result_ns - self._results[0] > _RATE_S * 1e9:
            self._results.popleft()
        if self.frames % _EVERY == 1:
            p50, p99 = np.percentile(self._latencies, (50, 99))
            self._percentiles = (float(p50), float(p99))

    @property
    def rate_hz(self) -> float:
        """Frames per second of the rig's clock, over two seconds; 0 before there are two."""
        if len(self._results) < 2:
            return 0.0
        span_s = (self._results[-1] - self._results[0]) / 1e9
        return (len(self._results) - 1) / span_s if span_s > 0 else 0.0

    @property
    def latency_ms(self) -> tuple[float, float]:
        """Median and 99th percentile over the last 400 frames, renewed every ten."""
        return self._percentiles


class Rate:
    """Frames per second now, as a person sees them; it falls to 0 when frames stop.

    Parameters
    ----------
    clock_s
        Gives the time, s; by default of this computer, also where the rig's time is simulated.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._times_s: deque[float] = deque()

    def count(self) -> None:
        """Count a frame that came now."""
        self._times_s.append(self._clock_s())
        self._forget()

    @property
    def hz(self) -> float:
        """Mean over the last second, or over the last two frames where they are farther apart."""
        self._forget()
        times_s = self._times_s
        if len(times_s) < 2:
            return 0.0
        interval_s = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
        waiting_s = self._clock_s() - times_s[-1]
        if waiting_s > interval_s:  # the next frame is late
            return len(times_s) / (self._clock_s() - times_s[0])
        return 1 / interval_s if interval_s > 0 else 0.0

    def _forget(self) -> None:
        now_s, times_s = self._clock_s(), self._times_s
        while (len(times_s) > 2 and now_s - times_s[0] > _NOW_S) or (
            times_s and now_s - times_s[-1] > _FORGOTTEN_S
        ):
            times_s.popleft()
