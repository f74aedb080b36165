"""The simulated clock."""

import time


class SimulatedClock:
    """Time that advances only in `sleep`; with `realtime`, `sleep` also waits in real time."""

    def __init__(self, realtime: bool = False) -> None:
        self._start_ns = time.time_ns()
        self._start_s = time.perf_counter()
        self._elapsed_ns = 0
        self._realtime = realtime

    def now_ns(self) -> int:
        """Nanoseconds since the epoch: time of construction plus the simulated time."""
        return self._start_ns + self._elapsed_ns

    def sleep(self, seconds: float) -> None:
        """Advance the simulated time."""
        self._elapsed_ns += max(0, round(seconds * 1e9))
        if self._realtime:
            ahead = self._start_s + self._elapsed_ns / 1e9 - time.perf_counter()
            time.sleep(max(0.0, ahead))
