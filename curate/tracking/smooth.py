"""Where a head is in the planes that hardly show it.

A phase object fades near its focus, where its place matters most: there the spot found may be
the midpiece, one head length away. Places are believed as far as the head is seen; the others
are drawn from their neighbours in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_REACH: Final = 8.0
"""Planes on either side that tell where a head is."""
_SURE, _UNSURE = 0.65, 0.35
"""Contrasts, relative to the track's usual one, believed entirely and not at all."""
_CLEAR_UM, _FAINT_UM = 1.4, 0.6
"""Distances from the focus of a phase object, believed entirely and hardly at all."""
_LEAST_BELIEF: Final = 0.02
_ASTRAY: Final = 0.25
"""Distance from the drawn way, in head lengths, from which a place is believed less."""
_ROUNDS: Final = 4


@dataclass(frozen=True)
class Places:
    """Where a head was found; arrays are (P,).

    Attributes
    ----------
    y, x
        Places, pixels; anything where it was not found.
    contrast
        Contrast of the spot found, 0 where none was.
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
        """Contrast relative to the usual one."""
        return np.asarray(self.contrast / np.percentile(self.contrast[self.found], 75))


def by_contrast(places: Places) -> Floats:
    """How far each place is believed, from its contrast: (P,), 0 to 1."""
    return np.clip((places.relative - _UNSURE) / (_SURE - _UNSURE), 0, 1)


def by_focus(places: Places, z_um: Floats, focus_um: float) -> Floats:
    """How far each place of a phase object is believed whose focus is about known: (P,).

    Parameters
    ----------
    places
        Where it was found.
    z_um
        (P,) drive positions, µm.
    focus_um
        Drive position of its focus, µm.
    """
    away = np.abs(z_um - focus_um)
    near = np.clip((away - _FAINT_UM) / (_CLEAR_UM - _FAINT_UM), _LEAST_BELIEF, 1)
    return np.asarray(near * places.found)


def smoothed(places: Places, belief: Floats) -> tuple[Floats, Floats]:
    """Places of a head through the planes.

    Parameters
    ----------
    places
        Where it was found.
    belief
        (P,) how far each is believed.

    Returns
    -------
    (P,) y and x: as found where they are believed and lie on the way, else from the neighbours.
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
    """Straight line through the neighbours of every plane, near ones and sure ones first."""
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
