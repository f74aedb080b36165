"""Marks on the sensor: what looks like a head, stays in its place, and does not change with focus.

A cell changes with the drive's position, a mark on the sensor or its window does not. So a mark is
told from a cell that lies still as soon as the drive has moved by some micrometres; while the drive
stands, it cannot be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.fixed import is_fixed
from fgaf.curate.detection.scale import Scale

_APART_UM, _SPAN_UM = 0.5, 2.0
"""Least distance of the drive positions that are compared, and least distance of the outermost."""
_LEAST, _MOST = 4, 8
"""Numbers of drive positions that are compared."""
_STILL: Final = 0.15
"""How far a mark may seem to move, and how near to a mark a head counts as it, in head lengths."""


@dataclass
class Watch:
    """A spot at its first place, and what was seen there at several drive positions.

    Attributes
    ----------
    y, x
        The place, pixels.
    planes
        Contrast around it.
    drives_um
        Position of the drive for each.
    """

    y: float
    x: float
    planes: list[npt.NDArray[np.float32]] = field(default_factory=list)
    drives_um: list[float] = field(default_factory=list)


class Marks:
    """Finds marks among what is followed.

    Parameters
    ----------
    scale
        Pixel size and length of a head.

    Attributes
    ----------
    places
        Centres (y, x) of the marks found so far, pixels.
    """

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._half = max(2, round(0.8 * scale.head_px))
        self.places: list[tuple[float, float]] = []

    def at(self, y: float, x: float) -> bool:
        """Whether a place is that of a mark.

        Parameters
        ----------
        y, x
            The place, pixels.
        """
        reach = _STILL * self._scale.head_px
        return any(math.hypot(y - own_y, x - own_x) < reach for own_y, own_x in self.places)

    def moved(self, seen: Watch, y: float, x: float) -> bool:
        """Whether a spot left its first place.

        Parameters
        ----------
        seen
            The spot at its first place.
        y, x
            Its place now, pixels.
        """
        return math.hypot(y - seen.y, x - seen.x) > _STILL * self._scale.head_px

    def look(self, seen: Watch, pixels: npt.NDArray[Any], drive_um: float) -> bool:
        """Look at a spot in one frame; return whether it is now known to be a mark.

        Parameters
        ----------
        seen
            The spot, still at its first place.
        pixels
            (Y, X) the frame.
        drive_um
            Position of the drive.
        """
        if len(seen.planes) == _MOST or any(
            abs(drive_um - other) < _APART_UM for other in seen.drives_um
        ):
            return False
        top, left = round(seen.y) - self._half, round(seen.x) - self._half
        side = 2 * self._half + 1
        if not (0 <= top <= pixels.shape[0] - side and 0 <= left <= pixels.shape[1] - side):
            return False
        window = pixels[top : top + side, left : left + side].astype(np.float32)
        seen.planes.append(window / max(float(window.mean()), 0.5) - 1)
        seen.drives_um.append(drive_um)
        if len(seen.planes) < _LEAST or np.ptp(seen.drives_um) < _SPAN_UM:
            return False
        if not is_fixed(np.stack(seen.planes)):
            return False
        self.places.append((seen.y, seen.x))
        return True
