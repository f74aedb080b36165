"""Conversion of a Basler camera's clock to the run's clock."""

from __future__ import annotations

from typing import Any, Final

from fgaf.acquire.devices import Clock

LATCHES: Final = (
    ("TimestampLatch", "TimestampLatchValue"),
    ("GevTimestampControlLatch", "GevTimestampValue"),
)
_TRIES: Final = 5


class CameraStamps:
    """Converts a camera's time stamps to the run's time.

    Parameters
    ----------
    device
        The open camera.
    latch
        Names of the command that latches the camera's clock, and of the value to read.
    ticks_per_s
        Clock ticks of the camera per second.
    clock
        The run's clock.

    Attributes
    ----------
    error_s
        Maximum error of a converted stamp: half the shortest latching time.
    """

    def __init__(self, device: Any, latch: tuple[str, str], ticks_per_s: int, clock: Clock) -> None:
        self._device, self._latch = device, latch
        self._ticks_per_s, self._clock = ticks_per_s, clock
        self.synchronise()

    def synchronise(self) -> None:
        """Read both clocks together, a few times, and keep the closest pair, since they drift."""
        command, value = (getattr(self._device, name) for name in self._latch)
        pairs = []
        for _ in range(_TRIES):
            before_ns = self._clock.now_ns()
            command.Execute()
            after_ns = self._clock.now_ns()
            pairs.append((after_ns - before_ns, (before_ns + after_ns) // 2, int(value.Value)))
        took_ns, self._host_ns, self._ticks = min(pairs)
        self.error_s = took_ns / 2e9

    def host_ns(self, ticks: int) -> int:
        """Return a stamp as the run's time, in ns since the epoch."""
        return self._host_ns + (ticks - self._ticks) * 1_000_000_000 // self._ticks_per_s
