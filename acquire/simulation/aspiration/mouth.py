"""The mouth of a micropipette: its place over the dish, its axis and its glass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Mouth:
    """Tip of a micropipette over the dish. All vectors are (y, x, z), µm in the specimen.

    Attributes
    ----------
    place_um
        Centre of the mouth; z is its height over the dish.
    direction
        Unit vector along the axis, out of the mouth.
    inner_um, outer_um
        Radii of the glass at the tip.
    slope
        Growth of both radii per length behind it.
    """

    place_um: Vector
    direction: Vector
    inner_um: float
    outer_um: float
    slope: float = 0.0

    @cached_property
    def centre(self) -> Array:
        """The place as an array."""
        return np.array(self.place_um, float)

    @cached_property
    def axis(self) -> Array:
        """The direction as an array."""
        return np.array(self.direction, float)

    def ahead(self, points_um: Array) -> Array:
        """Distance (...) of points (..., 3) before the plane of the mouth; negative behind it."""
        distance: Array = (points_um - self.centre) @ self.axis
        return distance

    def along(self, points_um: Array) -> tuple[Array, Array, Array]:
        """Coordinates of points along the axis and away from it.

        Parameters
        ----------
        points_um
            (..., 3) places.

        Returns
        -------
        ahead
            (...) distance before the plane of the mouth; negative behind it.
        aside
            (..., 3) vector from the axis.
        radius
            (...) its length.
        """
        away = points_um - self.centre
        ahead = away @ self.axis
        aside = away - ahead[..., None] * self.axis
        return ahead, aside, np.sqrt(np.einsum("...i,...i", aside, aside))

    def gap(self, ahead: Array, radius: Array) -> tuple[Array, Array, Array]:
        """Distance from the glass, negative within it, and the direction away from it.

        Parameters
        ----------
        ahead, radius
            From `along`.

        Returns
        -------
        distance, along, outward
            Distance, and the components of the unit vector along the axis and away from it.
        """
        deep = np.minimum(ahead, 0.0) * -self.slope
        half = (self.outer_um - self.inner_um) / 2
        offset = radius - deep - (self.outer_um + self.inner_um) / 2
        beside, before = np.abs(offset) - half, ahead
        side = np.where(offset < 0, -1.0, 1.0)
        corner = (beside > 0) & (before > 0)
        length = np.hypot(beside, before)
        distance = np.where(corner, length, np.maximum(beside, before))
        safe = np.where(length > 0, length, 1.0)
        wall = beside > before
        along = np.where(corner, before / safe, np.where(wall, 0.0, 1.0))
        outward = side * np.where(corner, beside / safe, np.where(wall, 1.0, 0.0))
        return distance, along, outward
