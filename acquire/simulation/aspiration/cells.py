"""Cells that are carried, and what became of them: arrays with a row for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass
class Cells:
    """M cells that are carried; vectors are (y, x, z), µm in the specimen, z over the dish.

    Attributes
    ----------
    place_um
        (M, 3) centres of the heads, on the mean path without the beat.
    axis
        (M, 3) unit vectors along which they swim.
    speed_um_s, turn_rad_s
        (M,) own speed, and rate at which the heading turns in the image.
    wander
        (M, K, 3) amplitude in µm, frequency in Hz and phase of own slow changes of height.
    stuck
        (M,) whether they adhere to the dish.
    """

    place_um: Array
    axis: Array
    speed_um_s: Array
    turn_rad_s: Array
    wander: Array
    stuck: Array

    @classmethod
    def starting(
        cls,
        place_um: Array,
        yaw: Array,
        speed_um_s: Array | float,
        turn_rad_s: Array | float = 0.0,
        stuck: Array | bool = False,
    ) -> Cells:
        """Cells on level courses.

        Parameters
        ----------
        place_um
            (M, 3) centres of the heads.
        yaw
            (M,) headings in the image, from +x towards +y.
        speed_um_s, turn_rad_s, stuck
            Of all, or of each.
        """
        count = len(place_um)
        return cls(
            np.array(place_um, float),
            np.stack([np.sin(yaw), np.cos(yaw), np.zeros(count)], axis=1),
            np.broadcast_to(np.asarray(speed_um_s, float), count).copy(),
            np.broadcast_to(np.asarray(turn_rad_s, float), count).copy(),
            np.zeros((count, 0, 3)),
            np.broadcast_to(np.asarray(stuck, bool), count).copy(),
        )


@dataclass
class Entries:
    """What became of cells: NaN before it happens. Each array has the length M.

    Attributes
    ----------
    time_s
        When the centre of the head passed the plane of the mouth within its inner radius.
    radius_um, z_um
        Its distance from the axis then, and its height less that of the mouth.
    speed_um_s
        Its speed then.
    left_s
        When it was farther up the bore than can be seen.
    rim_touches, dish_touches
        How often a contact with glass or dish began.
    """

    time_s: Array
    radius_um: Array
    z_um: Array
    speed_um_s: Array
    left_s: Array
    rim_touches: Array
    dish_touches: Array

    @classmethod
    def none(cls, count: int) -> Entries:
        """Nothing has happened to any."""
        never, zero = np.full(count, np.nan), np.zeros(count, int)
        return cls(
            time_s=never,
            radius_um=never.copy(),
            z_um=never.copy(),
            speed_um_s=never.copy(),
            left_s=never.copy(),
            rim_touches=zero,
            dish_touches=zero.copy(),
        )


Arrays = TypeVar("Arrays", Cells, Entries)


def joined(one: Arrays, other: Arrays) -> Arrays:
    """The cells, or entries, of both, one after the other; waves that only one has get size 0.

    Parameters
    ----------
    one, other
        Both of a kind.
    """
    parts = []
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        if a.ndim == 3:
            most = max(a.shape[1], b.shape[1])
            a, b = (np.pad(each, ((0, 0), (0, most - each.shape[1]), (0, 0))) for each in (a, b))
        parts.append(np.concatenate([a, b]))
    return type(one)(*parts)
