"""Observed moves of a focus drive: position against time, arrival, error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.control.drive import Drive
from fgaf.acquire.devices import DeviceError

_STANDS_S = 0.06
_STANDING_READS = 4
_PEAK_READS = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RoundTrip:
    """Position queries to a drive at rest.

    Attributes
    ----------
    median_s, longest_s
        Time from a position query to its answer.
    noise_um
        Spread of the answers, r.m.s.
    """

    median_s: float
    longest_s: float
    noise_um: float


@dataclass(frozen=True)
class Travel:
    """One move, observed until the drive is at rest.

    Attributes
    ----------
    from_um, target_um
        Start position and target.
    times_s, positions_um
        Positions read back, and their times from the command; (N,) each.
    idle_s
        When the drive first reported that it does not move.
    """

    from_um: float
    target_um: float
    times_s: Floats
    positions_um: Floats
    idle_s: float

    @property
    def final_um(self) -> float:
        """Final position."""
        return float(np.median(self.positions_um[-_STANDING_READS:]))

    @property
    def error_um(self) -> float:
        """Signed distance of the final position from the target."""
        return self.final_um - self.target_um

    @property
    def peak_um_s(self) -> float:
        """Highest speed, over a few reads."""
        if len(self.times_s) <= _PEAK_READS:
            return 0.0
        way = self.positions_um[_PEAK_READS:] - self.positions_um[:-_PEAK_READS]
        time = self.times_s[_PEAK_READS:] - self.times_s[:-_PEAK_READS]
        return float(np.max(np.abs(way) / np.maximum(time, 1e-9)))

    def settled_s(self, tolerance_um: float) -> float:
        """Time from which the position stayed within `tolerance_um` of the final position.

        Its uncertainty is the time between two reads; the later one is used.
        """
        outside = np.flatnonzero(np.abs(self.positions_um - self.final_um) > tolerance_um)
        first = int(outside[-1]) + 1 if len(outside) else 0
        return float(self.times_s[min(first, len(self.times_s) - 1)])

    def at(self, times_s: Sequence[float] | Floats) -> Floats:
        """Return positions at given times, interpolated between the reads."""
        known_s, known_um = [0.0, *self.times_s], [self.from_um, *self.positions_um]
        return np.asarray(np.interp(times_s, known_s, known_um), float)


class DriveTrial:
    """A drive under test; it is never sent outside the given bounds.

    Parameters
    ----------
    drive
        The drive; every wait uses its clock and checks its interrupt.
    bounds_um
        Lowest and highest z that may be visited.

    Attributes
    ----------
    errors_um
        Final error of each `travel` so far.
    """

    def __init__(self, drive: Drive, bounds_um: tuple[float, float]) -> None:
        self._drive, self._clock, self._settings = drive, drive.clock, drive.settings
        self.bounds_um = bounds_um
        self.errors_um: list[float] = []

    def round_trip(self, questions: int = 20) -> RoundTrip:
        """Read the position of a drive at rest several times."""
        times_s, positions_um = [], []
        for _ in range(questions):
            self._drive.interrupt.check()
            begun_ns = self._clock.now_ns()
            positions_um.append(self._drive.position_um())
            times_s.append((self._clock.now_ns() - begun_ns) / 1e9)
        return RoundTrip(float(np.median(times_s)), max(times_s), float(np.std(positions_um)))

    def travel(self, z_um: float) -> Travel:
        """Go to `z_um` and observe until the drive reports idle and its position is constant.

        Raises
        ------
        DeviceError
            It did not come to rest within the time-out, or left the bounds.
        """
        travel = self._move(z_um, self._stands)
        self.errors_um.append(travel.error_um)
        return travel

    def arrive(self, z_um: float, tolerance_um: float) -> Travel:
        """Go to `z_um` as in a stack: until the drive is idle and reads back a position near it.

        Parameters
        ----------
        z_um
            Where to, µm.
        tolerance_um
            Maximum distance of the position read back, µm.
        """
        return self._move(
            z_um,
            lambda travel: (
                abs(travel.positions_um[-1] - z_um) <= tolerance_um or self._stands(travel)
            ),
        )

    def _move(self, z_um: float, ended: Callable[[Travel], Any]) -> Travel:
        low, high = self.bounds_um
        if not low - 1e-9 <= z_um <= high + 1e-9:
            raise DeviceError(
                f"{z_um:g} µm is outside the range {low:g} to {high:g} µm of the check"
            )
        from_um = self._drive.position_um()
        begun_ns = self._clock.now_ns()
        self._drive.send(min(max(z_um, low), high), seen_um=from_um)
        times_s: list[float] = []
        positions_um: list[float] = []
        idle_s = math.inf
        while True:
            self._drive.interrupt.check()
            asked_ns = self._clock.now_ns()
            moving = self._drive.moving()
            positions_um.append(self._drive.position_um())
            now_s = (self._clock.now_ns() - begun_ns) / 1e9
            times_s.append(now_s)
            self._check_bounds(positions_um[-1], from_um)
            if moving:
                idle_s = math.inf
            else:
                idle_s = min(idle_s, (asked_ns - begun_ns) / 1e9)
                travel = Travel(from_um, z_um, np.array(times_s), np.array(positions_um), idle_s)
                if ended(travel):
                    self._rest(travel)
                    return travel
            if now_s > self._settings.timeout_s:
                raise DeviceError(
                    f"the drive was {'still moving' if moving else 'not at rest'} at "
                    f"{positions_um[-1]:.3f} µm, {self._settings.timeout_s:g} s after it was sent "
                    f"to {z_um:.3f} µm"
                )
            self._clock.sleep(self._settings.poll_ms / 1e3)

    def _stands(self, travel: Travel) -> bool:
        recent = travel.times_s > max(travel.times_s[-1] - _STANDS_S, travel.idle_s)
        if travel.times_s[-1] - travel.idle_s < _STANDS_S or recent.sum() < _STANDING_READS:
            return False
        return bool(np.ptp(travel.positions_um[recent]) <= self._settings.tolerance_um / 2)

    def _rest(self, travel: Travel) -> None:
        """Accept the final position of a move: its error is what is measured."""
        if abs(travel.error_um) <= self._spare_um:
            self._drive.accept(float(travel.positions_um[-1]))

    @property
    def _spare_um(self) -> float:
        low, high = self.bounds_um
        return max(0.2 * (high - low), self._settings.tolerance_um)

    def _check_bounds(self, here_um: float, from_um: float) -> None:
        (low, high), spare = self.bounds_um, self._spare_um
        if not min(low, from_um) - spare <= here_um <= max(high, from_um) + spare:
            with suppress(DeviceError):  # where it stands is said here, and asked again at the end
                self._drive.halt()
            raise DeviceError(
                f"the drive moved to {here_um:.3f} µm, outside the range {low:g} to {high:g} µm of "
                "the check, and was halted"
            )
