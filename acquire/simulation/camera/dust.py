"""Dust on the sensor and on the glass before it: the same pixels in every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import SimulationSettings

Array = npt.NDArray[Any]

_RINGS = 0.4


@dataclass(frozen=True)
class Grain:
    """One grain: a dark speck, or the rings of one that lies before the sensor.

    Attributes
    ----------
    y_px, x_px
        Its place on the sensor.
    radius_px
        Of the speck, or of the outer dark ring.
    strength
        Relative brightness taken from its darkest place; negative for rings about a dark middle.
    ring
        Whether it shows rings.
    """

    y_px: float
    x_px: float
    radius_px: float
    strength: float
    ring: bool

    def multiply(self, image: Array) -> None:
        """Darken an image (Y, X) in place."""
        reach = int(3 * self.radius_px) + 3
        y0, x0 = max(int(self.y_px) - reach, 0), max(int(self.x_px) - reach, 0)
        part = image[y0 : int(self.y_px) + reach + 1, x0 : int(self.x_px) + reach + 1]
        y, x = np.indices(part.shape, dtype=np.float32)
        away = np.hypot(y + y0 - self.y_px, x + x0 - self.x_px) / self.radius_px
        if self.ring:
            shade = -np.cos(np.pi * away**2) * np.exp(-((away / 1.3) ** 4))
        else:
            shade = np.clip((1 - away) * self.radius_px / 1.5 + 0.5, 0, 1)
        part *= 1 - np.float32(self.strength) * shade.astype(np.float32)


def draw_dust(settings: SimulationSettings) -> tuple[Grain, ...]:
    """Grains anywhere on the sensor: specks of 1 to 4 px, and rings of 3 to 14 px.

    Parameters
    ----------
    settings
        Number of grains and their seed.
    """
    seed = settings.seed if settings.dust_seed is None else settings.dust_seed
    rng = np.random.default_rng([seed, 8])
    rows, columns = settings.shape
    grains = []
    for _ in range(settings.dust):
        ring = bool(rng.uniform() < _RINGS)
        grains.append(
            Grain(
                y_px=float(rng.uniform(0, rows)),
                x_px=float(rng.uniform(0, columns)),
                radius_px=float(rng.uniform(3, 14) if ring else rng.uniform(0.8, 4.0)),
                strength=float(
                    rng.uniform(0.03, 0.2) * rng.choice((-1, 1)) if ring else rng.uniform(0.1, 0.8)
                ),
                ring=ring,
            )
        )
    return tuple(grains)
