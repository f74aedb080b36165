"""Smooth spots: things far out of focus, of which only a shadow or a glow is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgaf.acquire.simulation.waves import Patch, WaveImager

_FWHM = 2.3548
_BLUR = 0.35
_REACH = 3.5
_SMEAR_STEPS = 2


@dataclass(frozen=True)
class Spot:
    """A Gaussian shade on the image that widens and pales out of its focus.

    Attributes
    ----------
    y_um, x_um
        Its centre in the field.
    z_um
        The drive's z at which it is narrowest.
    width_um
        Its full width at half maximum there.
    strength
        Change of the relative brightness at its centre there.
    """

    y_um: float
    x_um: float
    z_um: float
    width_um: float
    strength: float
    kind: str = "spot"
    yaw: float = 0.0

    def image(
        self,
        imager: WaveImager,
        focus_um: float,
        shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
        drift_um: tuple[float, float] = (0.0, 0.0),
    ) -> Patch:
        """Image it with the drive at `focus_um`, moved by (y, x, z).

        Parameters
        ----------
        imager
            Gives the pixels and the slope of the rays.
        focus_um
            Drive position, µm.
        shift_um
            Shift in y, x and z, µm.
        drift_um
            Motion (y, x) of the view during the exposure, µm.
        """
        scope, pixel = imager.microscope, imager.pixel_um
        least = self.width_um / _FWHM
        y_um, x_um, away = (
            self.y_um + shift_um[0],
            self.x_um + shift_um[1],
            focus_um - self.z_um - shift_um[2],
        )
        sigma = float(np.hypot(least, _BLUR * scope.marginal_slope * away))
        strength = self.strength * (least / sigma) ** 2 * float(scope.fade(away))
        drift = float(np.hypot(*drift_um))
        reach = int(np.ceil((_REACH * sigma + drift / 2) / pixel))
        top, left = round(y_um / pixel) - reach, round(x_um / pixel) - reach
        count = max(1, int(np.ceil(drift / sigma * _SMEAR_STEPS)))
        part = (np.arange(count) + 0.5) / count - 0.5
        y, x = (
            np.exp(-(((np.arange(2 * reach + 1) + first) * pixel - centre) ** 2) / (2 * sigma**2))
            for first, centre in (
                (top, y_um - part[:, None] * drift_um[0]),
                (left, x_um - part[:, None] * drift_um[1]),
            )
        )
        return Patch(top, left, (1 + strength / count * (y.T @ x)).astype(np.float32))


def draw_spot(rng: np.random.Generator, y_um: float, x_um: float, z_um: float) -> Spot:
    """A spot of 2 to 6 µm, darker than the ground by up to 45 % or brighter by up to 20 %.

    Parameters
    ----------
    rng
        Draws width and strength.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is narrowest, µm.
    """
    strength = float(-rng.uniform(0.05, 0.45) if rng.uniform() < 0.75 else rng.uniform(0.05, 0.2))
    return Spot(y_um, x_um, z_um, float(rng.uniform(2.0, 6.0)), strength)
