"""A focus drive and a camera for pymmcore-plus's core of devices written in Python."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike
from pymmcore_plus.experimental.unicore import (
    SimpleCameraDevice,
    StageDevice,
    XYStageDevice,
)


class Drive(StageDevice):
    """A drive that takes its time.

    Its properties say what it is like: speed of the moves to come in µm/s, whether it never says
    that it is busy (as a Ti2 does), and how far into every move it stalls. `made` is the one loaded
    last.
    """

    made: ClassVar[Drive]

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Speed", default_value=500.0)
        self.register_property("NeverBusy", default_value=0)
        self.register_property("StallsAfter", default_value=1e9)
        self.moves: list[float] = []
        self._from_um = self._to_um = 10.0
        self._begun_s, self._speed = time.monotonic(), 500.0
        type(self).made = self

    def get_position_um(self) -> float:
        return self.position_at(time.monotonic())

    def position_at(self, time_s: float) -> float:
        """Where it is at a time of its last move."""
        way = self._to_um - self._from_um
        gone = max(0.0, time_s - self._begun_s) * self._speed
        gone = min(gone, abs(way), float(self.get_property_value("StallsAfter")))
        return self._from_um + (gone if way > 0 else -gone)

    def set_position_um(self, val: float) -> None:
        self._from_um, self._begun_s, self._to_um = self.get_position_um(), time.monotonic(), val
        self._speed = float(self.get_property_value("Speed"))
        self.moves.append(val)

    def busy(self) -> bool:
        if int(self.get_property_value("NeverBusy")):
            return False
        return self.get_position_um() != self._to_um

    def push(self, by_um: float) -> None:
        """Move the drive by hand."""
        self._from_um = self._to_um = self.get_position_um() + by_um

    def stop(self) -> None:
        self.push(0.0)

    def home(self) -> None:
        raise AssertionError("nobody asked to go home")

    def set_origin(self) -> None:
        raise AssertionError("nobody asked to move the origin")


class Table(XYStageDevice):
    """An x/y stage that takes 20 ms for every move."""

    made: ClassVar[Table]

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[tuple[float, float]] = []
        self._at = (0.0, 0.0)
        self._until_s = 0.0
        type(self).made = self

    def get_position_um(self) -> tuple[float, float]:
        return self._at

    def set_position_um(self, x: float, y: float) -> None:
        self._at, self._until_s = (x, y), time.monotonic() + 0.02
        self.moves.append((x, y))

    def busy(self) -> bool:
        return time.monotonic() < self._until_s

    def stop(self) -> None:
        self._until_s = 0.0

    def home(self) -> None:
        raise AssertionError("nobody asked to go home")

    def set_origin_x(self) -> None:
        raise AssertionError("nobody asked to move the origin")

    def set_origin_y(self) -> None:
        raise AssertionError("nobody asked to move the origin")


class Eye(SimpleCameraDevice):
    """A camera whose pixels tell the exposure's number; it hangs while `stuck` is set.

    Its properties say how it runs free: the time from one exposure to the next, how long after its
    end a frame arrives, and after how many frames one is lost, one comes late, or it ends.
    `focus_um` is where the drive was in the middle of each of those exposures, by their numbers.
    """

    made: ClassVar[Eye]

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Gain", default_value=1)
        self.register_property("Bytes", default_value=2)
        self.register_property("Interval_ms", default_value=20.0)
        self.register_property("Latency_ms", default_value=0.0)
        for fault in ("LostAfter", "LateAfter", "EndsAfter"):
            self.register_property(fault, default_value=0)
        self.focus_um: dict[int, float] = {}
        self.stuck = threading.Event()
        self.freed = threading.Event()
        self.shots = 0
        self._exposure_ms = 10.0
        self._binning = 1
        type(self).made = self

    def get_binning(self) -> int:
        return self._binning

    def set_binning(self, value: int) -> None:
        self._binning = int(value)

    def get_exposure(self) -> float:
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        self._exposure_ms = round(exposure)

    def sensor_shape(self) -> tuple[int, int]:
        return (24, 32)

    def dtype(self) -> type[np.unsignedinteger]:
        return np.uint16 if int(self.get_property_value("Bytes")) == 2 else np.uint8

    def start_sequence(
        self,
        n: int | None,
        get_buffer: Callable[[Sequence[int], DTypeLike], np.ndarray],
    ) -> Iterator[Mapping[str, str]]:
        if n is not None:
            yield from super().start_sequence(n, get_buffer)
            return
        interval_s, latency_s = (
            float(self.get_property_value(name)) / 1e3 for name in ("Interval_ms", "Latency_ms")
        )
        lost, late, ends = (
            int(self.get_property_value(name)) for name in ("LostAfter", "LateAfter", "EndsAfter")
        )
        exposure_s, begun_s = self._exposure_ms / 1e3, time.monotonic()
        frame = iter(super().start_sequence(None, get_buffer))
        for number in itertools.count():
            if ends and number == ends:
                return
            if lost and number == lost:
                continue
            end_s = begun_s + number * interval_s + exposure_s
            delay_s = 0.4 * interval_s if late and number == late else 0.0
            time.sleep(max(0.0, end_s + latency_s + delay_s - time.monotonic()))
            told = next(frame)
            self.focus_um[self.shots] = Drive.made.position_at(end_s - exposure_s / 2)
            yield told

    def snap(self, buffer: np.ndarray) -> Mapping[str, str]:
        if self.stuck.is_set():
            self.freed.wait(30)
        self.shots += 1
        buffer[:] = np.arange(32) + self.shots
        return {}


class Colours(Eye):
    """A camera of three colours."""

    def sensor_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return (24, 32, 3)
