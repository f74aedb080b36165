"""Simple drawings of heads, and of what is not a head, on even ground.

They share no code with the simulated microscope or with the fields that the detector learned from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]

PIXEL_UM = 0.1465
FINER = 3
GROUND = 160.0
HEAD_UM = (4.7, 3.0)
ALL = (slice(None), slice(None))


class Drawing:
    """A square field; places are (y, x) in µm from its centre, angles in degrees.

    Parameters
    ----------
    side_um
        Side of the field.
    """

    def __init__(self, side_um: float = 60.0) -> None:
        n = FINER * round(side_um / PIXEL_UM)
        axis = ((np.arange(n) + 0.5) / n - 0.5) * (n * PIXEL_UM / FINER)
        self.y, self.x = axis[:, None], axis[None, :]
        self.contrast = np.zeros((n, n))
        self.side_um = n * PIXEL_UM / FINER
        self.heads: list[tuple[float, float]] = []

    def _turned(
        self, place: tuple[float, float], angle: float, part: tuple[slice, slice] = ALL
    ) -> tuple[Array, Array]:
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        dy, dx = self.y[part[0]] - place[0], self.x[:, part[1]] - place[1]
        return cos * dx + sin * dy, cos * dy - sin * dx

    def _around(self, reach_um: float, *places: tuple[float, float]) -> tuple[slice, slice]:
        """The part of the field with places and what is within a reach of them."""
        low = np.searchsorted(self.y[:, 0], np.min(places, axis=0) - reach_um)
        high = np.searchsorted(self.y[:, 0], np.max(places, axis=0) + reach_um)
        return slice(low[0], high[0]), slice(low[1], high[1])

    def head(
        self,
        place: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        contrast: float = -0.31,
        length: float = HEAD_UM[0],
        width: float = HEAD_UM[1],
        tail: float = 0.4,
    ) -> Drawing:
        """An even ellipse with a straight tail of 25 µm; `tail` is its relative contrast."""
        far = length / 2 + 25
        turn = np.deg2rad(angle)
        end = (place[0] - far * float(np.sin(turn)), place[1] - far * float(np.cos(turn)))
        part = self._around(1.0, place, end)
        along, across = self._turned(place, angle, part)
        behind = (along < -length / 2) & (along > -far) & (np.abs(across) < 0.3)
        self.contrast[part][behind] = tail * contrast
        part = self._around(length + width, place)
        along, across = self._turned(place, angle, part)
        self.contrast[part][np.hypot(2 * along / length, 2 * across / width) < 1] = contrast
        self.heads.append(place)
        return self

    def edge(self, away_um: float, angle: float = 0.0, contrast: float = -0.35) -> Drawing:
        """A half plane whose border is `away_um` from the centre."""
        along, _ = self._turned((0.0, 0.0), angle)
        self.contrast = self.contrast + contrast * (along > away_um)
        return self

    def cocci(self, count: int, angle: float = 0.0, contrast: float = -0.31) -> Drawing:
        """A chain of balls of 0.8 µm."""
        for number in range(count):
            along, across = self._turned((0.0, 0.0), angle)
            ball = np.hypot(along - 0.9 * (number - (count - 1) / 2), across) < 0.4
            self.contrast = np.where(ball, contrast, self.contrast)
        return self

    def spot(self, fwhm: float, contrast: float = -0.31) -> Drawing:
        """A smooth round spot."""
        square = self.y**2 + self.x**2
        self.contrast = self.contrast + contrast * np.exp(-4 * np.log(2) * square / fwhm**2)
        return self

    def rimmed(self, diameter: float, contrast: float = -0.31) -> Drawing:
        """A round body, paler inside, with a dark rim of 0.5 µm."""
        r = np.hypot(self.y, self.x)
        body = np.where(r < diameter / 2 - 0.5, 0.3 * contrast, contrast)
        self.contrast = np.where(r < diameter / 2, body, self.contrast)
        return self

    def loop(self, diameter: float, contrast: float = -0.31) -> Drawing:
        """A coiled tail: a closed line of 0.5 µm."""
        ring = np.abs(np.hypot(self.y, self.x) - diameter / 2) < 0.25
        self.contrast = np.where(ring, contrast, self.contrast)
        return self

    def tail(self, angle: float = 0.0, contrast: float = -0.31) -> Drawing:
        """A straight line of 25 x 0.6 µm."""
        along, across = self._turned((0.0, 0.0), angle)
        line = (np.abs(along) < 12.5) & (np.abs(across) < 0.3)
        self.contrast = np.where(line, 0.4 * contrast, self.contrast)
        return self

    def disc(self, place: tuple[float, float], diameter: float, contrast: float = -0.2) -> Drawing:
        """An even disc with a darker rim."""
        r = np.hypot(self.y - place[0], self.x - place[1]) * 2 / diameter
        self.contrast = np.where(r < 1, np.where(r < 0.85, contrast, 2 * contrast), self.contrast)
        return self

    def grain(self, rms: float, size_um: float, seed: int = 0) -> Drawing:
        """Texture as relief contrast shows on glass."""
        noise = np.random.default_rng([seed, 1]).standard_normal(self.contrast.shape)
        fine = size_um / (PIXEL_UM / FINER) / 2.355
        noise = ndimage.gaussian_filter(noise, fine, mode="wrap")
        self.contrast = self.contrast + noise * (rms / noise.std())
        return self

    def image(self, noise: float = 1.0, seed: int = 0) -> npt.NDArray[np.uint8]:
        """The camera's image, with optics of about 0.25 µm and noise in grey levels."""
        width = 0.25 / (PIXEL_UM / FINER) / 2.355
        binned = self.contrast
        for _ in range(2):  # along y, then along x
            soft = ndimage.gaussian_filter1d(binned, width, axis=0)
            binned = soft.reshape(-1, FINER, soft.shape[1]).mean(axis=1).T
        levels = GROUND * (1 + binned)
        levels = levels + noise * np.random.default_rng(seed).standard_normal(levels.shape)
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)

    def places_px(self) -> Array:
        """Heads as (y, x) in pixels."""
        return (np.reshape(self.heads, (-1, 2)) + self.side_um / 2) / PIXEL_UM - 0.5


def crowd(count: int, side_um: float = 117.0, seed: int = 0) -> Drawing:
    """Heads at random, none nearer to another than 5 µm (or what room is left)."""
    rng = np.random.default_rng([seed, 2])
    drawing = Drawing(side_um)
    apart = 5.0
    while len(drawing.heads) < count:
        place = rng.uniform(-side_um / 2 + 3, side_um / 2 - 3, 2)
        if all(np.hypot(*(place - other)) > apart for other in np.reshape(drawing.heads, (-1, 2))):
            drawing.head((float(place[0]), float(place[1])), float(rng.uniform(0, 360)))
        else:
            apart = max(4.0, apart * 0.9995)
    return drawing
