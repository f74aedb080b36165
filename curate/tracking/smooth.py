"""Position of a head in planes where it is almost invisible.

A phase object fades near its focus, where its position is most important: there the detected spot
may be the midpiece, one head length away. The weight of a position depends on how well the head is
visible; positions with little weight are interpolated from their neighbours in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_REACH: Final = 8.0
"""Number of planes on either side used for a head's position."""
_SURE, _UNSURE = 0.65, 0.35
"""Contrasts, relative to the track's typical one, for weight 1 and weight 0."""
CLEAR_UM: Final = 1.4
"""Distance from the focus of a phase object from which its head is clearly visible."""
_FAINT_UM: Final = 0.6
"""Distance up to which its position has very small weight."""
_NEAR: Final = 0.5
"""Largest distance from the path of a spot that belongs to the head, in head lengths."""
_LEAST_BELIEF: Final = 0.02
_ASTRAY: Final = 0.25
"""Distance from the smoothed path, in head lengths, from which a position has less weight."""
_ROUNDS: Final = 4


@dataclass(frozen=True)
class Places:
    """Detected positions of a head; arrays are (P,).

    Attributes
    ----------
    y, x
        Positions, pixels; arbitrary where it was not found.
    contrast
        Contrast of the spot, 0 where none was found.
    head_px
        Length of a head, pixels.
    """

    y: Floats
    x: Floats
    contrast: Floats
    head_px: float

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Where there was a spot."""
        return self.contrast > 0

    @property
    def relative(self) -> Floats:
        """Contrast relative to the typical one."""
        return np.asarray(self.contrast / np.percentile(self.contrast[self.found], 75))

    def near(self, y: Floats, x: Floats) -> npt.NDArray[np.bool_]:
        """Where a spot was found on a path.

        Parameters
        ----------
        y, x
            (P,) the path, pixels.
        """
        away = np.hypot(self.y - y, self.x - x)
        return np.asarray(self.found & (away < _NEAR * self.head_px))


def by_contrast(places: Places) -> Floats:
    """Weight of each position, from its contrast: (P,), 0 to 1."""
    return np.clip((places.relative - _UNSURE) / (_SURE - _UNSURE), 0, 1)


def by_focus(places: Places, z_um: Floats, focus_um: float) -> Floats:
    """Weight of each position of a phase object whose focus is roughly known: (P,).

    Parameters
    ----------
    places
        Detected positions.
    z_um
        (P,) drive positions, µm.
    focus_um
        Drive position of its focus, µm.
    """
    away = np.abs(z_um - focus_um)
    near = np.clip((away - _FAINT_UM) / (CLEAR_UM - _FAINT_UM), _LEAST_BELIEF, 1)
    return np.asarray(near * places.found)


def smoothed(places: Places, belief: Floats) -> tuple[Floats, Floats]:
    """Positions of a head in all planes.

    Parameters
    ----------
    places
        Detected positions.
    belief
        (P,) weight of each position.

    Returns
    -------
    (P,) y and x: as detected where the weight is high and they lie on the path, else from the
    neighbours.
    """
    given = np.column_stack([places.y, places.x])
    base = np.where(places.found, np.clip(places.relative, 0.02, 1.0) ** 3 * belief, 0.0)
    astray = np.ones(len(given))
    for _ in range(_ROUNDS):
        drawn = _drawn(given, base / astray**2)
        astray = np.maximum(np.hypot(*(given - drawn).T) / (_ASTRAY * places.head_px), 1.0)
    kept = (belief * np.clip(3 - astray, 0, 1) * places.found)[:, None]
    result = kept * given + (1 - kept) * drawn
    return result[:, 0], result[:, 1]


def _drawn(places: Floats, weight: Floats) -> Floats:
    """Line fit through the neighbours of every plane; near and reliable ones weigh more."""
    index = np.arange(len(places), dtype=np.float64)
    drawn = places.copy()
    for plane in range(len(places)):
        near = np.clip(1 - np.abs((index - plane) / _REACH) ** 3, 0, 1) ** 3 * weight
        if np.count_nonzero(near) < 3:
            continue
        offset = index - plane
        total = near.sum()
        mean = (near * offset).sum() / total
        centre = (near[:, None] * places).sum(axis=0) / total
        spread = (near * (offset - mean) ** 2).sum()
        slope = (near[:, None] * (offset - mean)[:, None] * (places - centre)).sum(axis=0)
        drawn[plane] = centre - mean * slope / max(spread, 1e-9)
    return drawn
