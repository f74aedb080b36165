"""Motion of a cell in the frame: position and velocity, predicted from one frame to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from fgaf.model.live.constant_velocity import ConstantVelocity

SWING_UM: Final = 0.7
"""Deviation of a head from its mean path, r.m.s.: from the beat and from localisation."""
TURNING: Final = 800.0
"""Spectral density of the mean path's acceleration, µm²/s³."""
CARRIED: Final = 20_000.0
"""The same of a cell in a flow: it is twice as fast within 0.2 s, and stands when the flow ends."""
_CALMS_S: Final = 0.03
"""The expected velocity of a cell in a flow dies away so fast while the cell is not found: whether
the flow goes on or has ended, the head is then near the expected place."""
FASTEST_UM_S: Final = 60.0
"""Standard deviation of an unknown velocity, along each axis."""


@dataclass
class Motion(ConstantVelocity):
    """A constant-velocity Kalman filter; both axes share their covariance.

    Attributes
    ----------
    y, x
        Position in pixels.
    vy, vx
        Velocity in pixels per second.
    time_ns
        When.
    """

    y: float
    x: float
    vy: float
    vx: float
    time_ns: int
    _pixel_um: float

    @classmethod
    def begin(cls, y: float, x: float, time_ns: int, pixel_um: float) -> Self:
        """Start at the position of a found head, in pixels of `pixel_um`.

        Parameters
        ----------
        y, x
            Place of the head, pixels.
        time_ns
            Time of the frame, nanoseconds.
        pixel_um
            Side of a pixel in the specimen, µm.
        """
        swing, fastest = SWING_UM / pixel_um, FASTEST_UM_S / pixel_um
        return cls(swing**2, 0.0, fastest**2, y, x, 0.0, 0.0, time_ns, pixel_um)

    @property
    def error_px(self) -> float:
        """Standard error of the next measurement against the predicted position, per axis."""
        return math.sqrt(self.pp + (SWING_UM / self._pixel_um) ** 2)

    def predict(self, time_ns: int, carried: bool = False, found: bool = True) -> None:
        """Predict to a time; an earlier time changes nothing.

        Parameters
        ----------
        time_ns
            The time, nanoseconds.
        carried
            Whether a flow carries the cell.
        found
            Whether it was found at the last time.
        """
        dt = (time_ns - self.time_ns) / 1e9
        if dt <= 0:
            return
        self.time_ns = time_ns
        if carried and not found:
            left = math.exp(-dt / _CALMS_S)
            self.vy, self.vx = self.vy * left, self.vx * left
        self.y += self.vy * dt
        self.x += self.vx * dt
        self.grow(dt, (CARRIED if carried else TURNING) / self._pixel_um**2)

    def shift(self, y: float, x: float) -> None:
        """Move the position by a shift of the image that is no motion of the cell.

        Parameters
        ----------
        y, x
            The shift, pixels.
        """
        self.y += y
        self.x += x

    def correct(self, y: float, x: float) -> None:
        """Update with the position of a found head.

        Parameters
        ----------
        y, x
            Place of the head, pixels.
        """
        gain_p, gain_v = self.shrink(self.error_px**2)
        off_y, off_x = y - self.y, x - self.x
        self.y += gain_p * off_y
        self.x += gain_p * off_x
        self.vy += gain_v * off_y
        self.vx += gain_v * off_x
