"""What part of the specimen an exposure sees: one view, or several while the stage moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

Place = tuple[float, float]
"""(y, x) in µm."""

LONGEST_DRIFT_UM = 10.0
_MOST_VIEWS = 4


@dataclass(frozen=True)
class View:
    """The part of the specimen before the camera in an exposure, or in a part of it.

    Attributes
    ----------
    corner_um
        Place (y, x) of the frame's first pixel in the specimen, in the middle of the time.
    drift_um
        Its motion (y, x) during the time, on a straight line.
    time_s, exposure_s
        Middle and length of the time, on the simulated clock.
    """

    corner_um: Place
    drift_um: Place
    time_s: float
    exposure_s: float

    @property
    def moves(self) -> bool:
        """Whether the stage moves."""
        return self.drift_um != (0.0, 0.0)

    @property
    def drift_length_um(self) -> float:
        """Length of the drift."""
        return math.hypot(*self.drift_um)


FIRST_VIEW = View((0.0, 0.0), (0.0, 0.0), 0.0, 0.0)
"""The first field, at rest."""


def along(drift_um: Place, step_um: float) -> tuple[Place, ...]:
    """Divide a drift evenly, for what cannot be smeared in one go.

    Parameters
    ----------
    drift_um
        The drift (y, x).
    step_um
        Largest distance of two places.

    Returns
    -------
    tuple of (y, x)
        Places relative to the middle.
    """
    count = max(1, math.ceil(math.hypot(*drift_um) / step_um))
    parts = [(k + 0.5) / count - 0.5 for k in range(count)]
    return tuple((part * drift_um[0], part * drift_um[1]) for part in parts)


def split_exposure(
    place: Callable[[float], Place], time_s: float, exposure_s: float
) -> tuple[View, ...]:
    """Split an exposure into views whose drift is straight and short.

    There are at most four, which bounds the cost: of a path over four times `LONGEST_DRIFT_UM`,
    evenly spaced parts of that length are seen.

    Parameters
    ----------
    place
        Place of the frame's first pixel at a time.
    time_s, exposure_s
        Start and length of the exposure.
    """
    moments = [time_s + exposure_s * k / _MOST_VIEWS for k in range(_MOST_VIEWS + 1)]
    path = [place(moment) for moment in moments]
    length = sum(math.dist(a, b) for a, b in pairwise(path))
    count = min(max(1, math.ceil(length / LONGEST_DRIFT_UM)), _MOST_VIEWS)
    part_s = exposure_s / count
    views = []
    for number in range(count):
        begin = time_s + number * part_s
        middle = begin + part_s / 2
        (y0, x0), (y1, x1) = place(begin), place(begin + part_s)
        drift = (y1 - y0, x1 - x0)
        shown = LONGEST_DRIFT_UM / max(math.hypot(*drift), LONGEST_DRIFT_UM)
        views.append(View(place(middle), (shown * drift[0], shown * drift[1]), middle, part_s))
    return tuple(views)
