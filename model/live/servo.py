"""The velocity of the x/y stage that keeps a swimming cell at its place in the frame.

The stage must go the way of the cell. That way is known from frames some 40 ms old: it is predicted
at constant velocity to the time at which a command takes effect. The velocity of the cell is fed
forward, and the distance from the way is corrected in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fgaf.acquire.devices import LimitsXY

DELAY_S: Final = 0.015
"""Time from a command to its effect."""
GAIN_PER_S: Final = 12.0
"""Correction of the velocity per distance from the way."""
FASTEST_UM_S: Final = 250.0
"""Highest speed along each axis: faster images are blurred."""
ACCELERATION_UM_S2: Final = 2500.0
"""Highest change of the velocity along each axis."""
BRAKING_S: Final = 0.5
"""At its velocity the stage is always at least so long from its limits: longer than stages take to
stop and than their drivers foresee (0.15 s and two readings)."""
_CREEP_UM_S: Final = 0.5
"""Slower velocities towards a limit are none."""
_LONGEST_STEP_S: Final = 0.1

Pair = tuple[float, float]
"""x, y."""


@dataclass(frozen=True)
class Course:
    """The way of the stage on which a cell is at its place in the frame.

    Attributes
    ----------
    time_ns
        Middle of the exposure from which it was computed.
    place_um
        Position of the stage, x and y, at which the cell would have been at its place then.
    velocity_um_s
        Velocity that keeps it there.
    """

    time_ns: int
    place_um: Pair
    velocity_um_s: Pair

    def at(self, time_ns: int) -> Pair:
        """Predict the position of the stage.

        Parameters
        ----------
        time_ns
            When.
        """
        dt = (time_ns - self.time_ns) / 1e9
        (x, y), (vx, vy) = self.place_um, self.velocity_um_s
        return x + vx * dt, y + vy * dt


class Servo:
    """Computes the velocity of a stage on its course.

    Parameters
    ----------
    limits_um
        Limits in x and y, which the stage approaches ever more slowly.
    fastest_um_s
        Highest velocity of the stage along each axis.
    """

    def __init__(self, limits_um: LimitsXY, fastest_um_s: float) -> None:
        self._limits_um = limits_um
        self._fastest_um_s = min(fastest_um_s, FASTEST_UM_S)
        self._last: tuple[int, Pair] = (0, (0.0, 0.0))

    def rest(self, now_ns: int) -> None:
        """Note that the stage stands.

        Parameters
        ----------
        now_ns
            The time.
        """
        self._last = (now_ns, (0.0, 0.0))

    def velocity(self, course: Course, here_um: Pair, now_ns: int) -> Pair:
        """Compute the velocity from now on.

        Parameters
        ----------
        course
            Where the stage must go.
        here_um
            Where it is now.
        now_ns
            The time.

        Returns
        -------
        tuple of float
            x and y, in µm/s.
        """
        last_ns, last = self._last
        step_s = min(max((now_ns - last_ns) / 1e9, 0.0), _LONGEST_STEP_S)
        there = course.at(now_ns + round(DELAY_S * 1e9))
        found = []
        for axis in range(2):
            off_um = there[axis] - (here_um[axis] + last[axis] * DELAY_S)
            wanted = _within(course.velocity_um_s[axis] + GAIN_PER_S * off_um, self._fastest_um_s)
            change = _within(wanted - last[axis], ACCELERATION_UM_S2 * step_s)
            found.append(self._room(axis, here_um[axis], last[axis] + change))
        self._last = (now_ns, (found[0], found[1]))
        return found[0], found[1]

    def beyond(self, place_um: Pair) -> bool:
        """Whether a position is outside the limits."""
        return self.inside(place_um) != place_um

    def inside(self, place_um: Pair) -> Pair:
        """Nearest position within the limits."""
        x, y = (
            min(max(at, low), high)
            for at, (low, high) in zip(place_um, self._limits_um, strict=True)
        )
        return x, y

    def _room(self, axis: int, here_um: float, velocity: float) -> float:
        """Velocity at which the limits stay `BRAKING_S` away."""
        low, high = self._limits_um[axis]
        least, most = min(low - here_um, 0.0) / BRAKING_S, max(high - here_um, 0.0) / BRAKING_S
        slowed = min(max(velocity, least), most)
        return 0.0 if slowed != velocity and abs(slowed) < _CREEP_UM_S else slowed


def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)
