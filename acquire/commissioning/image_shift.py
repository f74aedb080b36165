"""Shifts between images of a specimen that was moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FINE = 20
_BLUR_PX, _GROUND_PX = 1.5, 12.0

LEAST_LIKENESS = 0.4
"""Correlation below which two images do not show the same."""

Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """Shift of one image against another.

    Attributes
    ----------
    x_px, y_px
        To the right, and downwards.
    likeness
        Correlation of the parts that show the same.
    """

    x_px: float
    y_px: float
    likeness: float


def details_of(
    frames: Sequence[npt.NDArray[Any]], apart: Sequence[npt.NDArray[Any]]
) -> list[Image]:
    """Remove from images what does not move with the specimen (dust, shading), blur and ground.

    Parameters
    ----------
    frames
        Images of one specimen, (Y, X) each.
    apart
        Images of the specimen at places far from each other: what they share does not move with it.
    """
    from scipy.ndimage import gaussian_filter

    stack = np.stack(frames).astype(float) - np.median(np.stack(apart).astype(float), axis=0)
    return [gaussian_filter(each, _BLUR_PX) - gaussian_filter(each, _GROUND_PX) for each in stack]


def shift_between(first: Image, other: Image) -> Shift:
    """Find the shift of an image against another by cross-correlation.

    Parameters
    ----------
    first, other
        From `details_of`.
    """
    from skimage.registration import phase_cross_correlation

    rows, columns = first.shape
    window = np.outer(np.hanning(rows), np.hanning(columns))
    back, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        first * window, other * window, upsample_factor=_FINE, normalization=None
    )
    y, x = (-float(value) for value in back)
    return Shift(x, y, _likeness(first, other, round(y), round(x)))


def _likeness(first: Image, other: Image, y: int, x: int) -> float:
    rows, columns = first.shape
    if abs(y) >= rows // 2 or abs(x) >= columns // 2:
        return 0.0
    here = first[max(-y, 0) : rows - max(y, 0), max(-x, 0) : columns - max(x, 0)]
    there = other[max(y, 0) : rows - max(-y, 0), max(x, 0) : columns - max(-x, 0)]
    spread = float(here.std() * there.std())
    if not spread:
        return 0.0
    return float(np.mean((here - here.mean()) * (there - there.mean()))) / spread
