"""Position of a moving drive: a line fit to its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fgaf.acquire.devices import DeviceError

_FEWEST = 4
_SHORTEST_S = 1e-5


class FewReadingsError(DeviceError):
    """The position was not read often enough during a ramp: it was fast, or the computer busy."""


@dataclass(frozen=True)
class Reading:
    """One answer of a moving drive.

    Attributes
    ----------
    asked_ns, answered_ns
        Time of the question and of the answer, by the run's clock.
    z_um
        The answer: the drive's position at some time in between.
    """

    asked_ns: int
    answered_ns: int
    z_um: float

    @property
    def time_ns(self) -> int:
        """The middle, as the best estimate."""
        return (self.asked_ns + self.answered_ns) // 2

    @property
    def error_s(self) -> float:
        """Maximum error of the middle."""
        return (self.answered_ns - self.asked_ns) / 2e9


@dataclass(frozen=True)
class Ramp:
    """A move at constant speed, fitted to the drive's answers.

    Attributes
    ----------
    origin_ns, origin_um
        A time and the drive's position then.
    speed_um_s
        Its speed.
    residual_um
        Largest distance of an answer from the line, beyond the effect of its own delay.
    error_s
        Maximum time error of the line: half the shortest time between a query and its answer.
    """

    origin_ns: int
    origin_um: float
    speed_um_s: float
    residual_um: float
    error_s: float

    @classmethod
    def fit(cls, readings: Sequence[Reading]) -> Self:
        """Fit a line by least squares to answers during constant speed.

        An answer with a longer delay is less certain in time, and has less weight.

        Raises
        ------
        FewReadingsError
            Fewer than four answers.
        DeviceError
            The drive did not go up.
        """
        if len(readings) < _FEWEST:
            raise FewReadingsError(
                f"the drive's position was read {len(readings)} times during the ramp, {_FEWEST} "
                "are needed; sweep slower (raise --frames-per-plane)"
            )
        origin_ns = readings[0].time_ns
        seconds = np.array([(each.time_ns - origin_ns) / 1e9 for each in readings])
        z_um = np.array([each.z_um for each in readings])
        errors_s = np.array([max(each.error_s, _SHORTEST_S) for each in readings])
        speed, start = np.polyfit(seconds, z_um, 1, w=errors_s.min() / errors_s)
        if not speed > 0:
            raise DeviceError("the drive did not move up during the sweep; check it")
        error_s = min(each.error_s for each in readings)
        delayed_um = speed * (errors_s - errors_s.min())
        off_um = np.abs(start + speed * seconds - z_um) - delayed_um
        residual = max(0.0, float(off_um.max()))
        return cls(origin_ns, float(start), float(speed), residual, error_s)

    def z_um(self, time_ns: int) -> float:
        """Position of the drive at a time."""
        return self.origin_um + self.speed_um_s * (time_ns - self.origin_ns) / 1e9

    def time_ns(self, z_um: float) -> int:
        """Time when the drive was at a position."""
        return self.origin_ns + round((z_um - self.origin_um) / self.speed_um_s * 1e9)
