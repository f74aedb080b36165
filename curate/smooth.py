"""Where a head is in the planes that hardly show it.

A phase object fades near its focus, where its place matters most: there the spot found may be
the midpiece, one head length away. Places are believed as far as the head is seen; the others
are drawn from their neighbours in time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_REACH: Final = 5.5
"""Planes on either side that tell where a head is."""
_SURE, _UNSURE = 0.65, 0.35
"""Contrasts, relative to the track's usual one, believed entirely and not at all."""
_ROUNDS: Final = 3


def smoothed(y: Floats, x: Floats, contrast: Floats, head_px: float) -> tuple[Floats, Floats]:
    """Places of a head through the planes.

    Parameters
    ----------
    y, x
        (P,) places as found, pixels.
    contrast
        (P,) contrast of the spot found in each plane, 0 where none was.
    head_px
        Length of a head, pixels.

    Returns
    -------
    (P,) y and x: as found where the contrast is high, from the neighbours where it is low.
    """
    shown = contrast > 0
    relative = contrast / np.percentile(contrast[shown], 75)
    belief = np.clip((relative - _UNSURE) / (_SURE - _UNSURE), 0, 1)
    weight = np.where(shown, np.clip(relative, 0.02, 1.0) ** 3, 0.0)
    places = np.column_stack([y, x])
    drawn = places
    for _ in range(_ROUNDS):
        drawn = _drawn(places, weight)
        away = np.hypot(*(places - drawn).T) / (0.5 * head_px)
        trust = np.where(belief < 1, 1 / np.maximum(away, 1.0) ** 2, 1.0)
        weight = np.where(shown, np.clip(relative, 0.02, 1.0) ** 3 * trust, 0.0)
    result = belief[:, None] * places + (1 - belief[:, None]) * drawn
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
