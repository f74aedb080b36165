"""The covariance of a Kalman filter of constant velocity: its prediction and its correction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ConstantVelocity:
    """Covariance of a position and its velocity along one axis.

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
            Time step in seconds, not negative.
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
            Variance of the residual: `pp` plus that of the measurement.

        Returns
        -------
        float, float
            Gains: the corrections of position and velocity per unit of the residual.
        """
        gain_p, gain_v = self.pp / variance, self.pv / variance
        self.vv -= gain_v * self.pv
        self.pv -= gain_v * self.pp
        self.pp -= gain_p * self.pp
        return gain_p, gain_v
