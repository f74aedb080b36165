"""The covariance of a Kalman filter of constant velocity: its prediction and its correction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ConstantVelocity:
    """What is unsure of a position and its velocity, along one axis.

    Attributes
    ----------
    pp, pv, vv
        Variance of the position, its covariance with the velocity, variance of the velocity.
    """

    pp: float
    pv: float
    vv: float

    def grow(self, dt: float, agitation: float) -> None:
        """Predict the covariance.

        Parameters
        ----------
        dt
            Seconds to go on, not negative.
        agitation
            Spectral density of the acceleration, squared length per s³.
        """
        self.pp += 2 * dt * self.pv + dt**2 * self.vv + agitation * dt**3 / 3
        self.pv += dt * self.vv + agitation * dt**2 / 2
        self.vv += agitation * dt

    def shrink(self, variance: float) -> tuple[float, float]:
        """Correct the covariance by a measurement of the position.

        Parameters
        ----------
        variance
            Of the measurement against the prediction: `pp` and the measurement's own.

        Returns
        -------
        float, float
            The shares of the departure by which position and velocity move.
        """
        gain_p, gain_v = self.pp / variance, self.pv / variance
        self.vv -= gain_v * self.pv
        self.pv -= gain_v * self.pp
        self.pp -= gain_p * self.pp
        return gain_p, gain_v
