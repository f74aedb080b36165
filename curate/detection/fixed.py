"""What stays fixed through the planes of a stack: dust on the sensor and its window.

A cell or a speck in the specimen changes with focus; a mark on the sensor is the same in every
plane. It is removed where it is clear and the planes differ by little more than noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Contrast = npt.NDArray[np.float32]

_LEAST_PLANES: Final = 5
_COMPARED: Final = 5
"""Number of planes that are compared."""
_AREA: Final = 9
"""Side of the area over which marks and changes are averaged, working pixels."""
_CLEAR: Final = 4.0
"""Minimum power of a mark, in units of the noise."""
_CHANGE: Final = 0.02
"""Maximum power of the change through the planes, relative to the mark."""
_NOISE: Final = 1.6
"""Change that noise alone gives at most, relative to its median."""
_SOFT: Final = 3.0


def is_fixed(planes: npt.NDArray[np.float32]) -> bool:
    """Whether a spot is the same at several drive positions, apart from noise.

    Parameters
    ----------
    planes
        (P, y, x) contrast around the spot at each position.
    """
    mark = np.median(planes, axis=0)
    power = float((mark * mark).mean())
    change = float(((planes - mark) ** 2).mean())
    fine = np.diff(planes, axis=2)
    noise = float(np.median(np.abs(fine - np.median(fine)))) * 1.4826
    return bool(_is_mark(power, change, noise**2 / 2))


def without_fixed(planes: Sequence[Contrast]) -> list[Contrast]:
    """Remove what is the same in all planes.

    Parameters
    ----------
    planes
        (P,) contrasts (y, x) of the planes; fewer than five are returned as they are.
    """
    if len(planes) < _LEAST_PLANES:
        return list(planes)
    chosen = np.linspace(0, len(planes) - 1, _COMPARED).round().astype(int)
    some = np.stack([planes[k] for k in chosen])
    mark = np.median(some, axis=0)
    some -= mark
    change = ndimage.uniform_filter((some * some).mean(axis=0), _AREA)
    power = ndimage.uniform_filter(mark * mark, _AREA)
    noise = float(np.median(change))
    fixed = _is_mark(power, change, noise)
    if not fixed.any():
        return list(planes)
    mark *= np.clip(_SOFT * ndimage.uniform_filter(fixed.astype(np.float32), _AREA), 0, 1)
    return [plane - mark for plane in planes]


def _is_mark(power: Any, change: Any, noise: float) -> Any:
    """Whether a pattern is clear and changes by little more than noise; all three are powers."""
    return (power > _CLEAR * noise) & (change < _NOISE * noise + _CHANGE * power)
