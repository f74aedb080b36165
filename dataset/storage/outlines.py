"""Outlines of heads: closed polygons in the pixels of an image, and the pixels inside them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SAMPLES: Final = 8
"""Samples along each side of a pixel."""
_MOST_SAMPLES: Final = 1 << 26


def fill(labels: NDArray[Any], outline: ArrayLike, value: int) -> None:
    """Set the pixels of which at least half lies inside an outline.

    Half is judged on 8 x 8 samples in each pixel, on fewer in outlines of over 1000 px. Of an
    outline that crosses itself the parts that are enclosed an odd number of times are inside.

    Parameters
    ----------
    labels
        (Y, X), changed in place; parts of the outline outside it are cut off.
    outline
        (N, 2) corners (y, x), pixels with centres at whole numbers.
    value
        What the pixels become.
    """
    from skimage.draw import polygon

    corners = np.asarray(outline, np.float64).reshape(-1, 2)
    if not len(corners):
        return
    low = np.clip(np.floor(corners.min(axis=0) + 0.5), 0, labels.shape).astype(int)
    high = np.clip(np.floor(corners.max(axis=0) + 1.5), 0, labels.shape).astype(int)
    rows, columns = (high - low).tolist()
    if rows < 1 or columns < 1:
        return
    samples = int(np.clip(np.sqrt(_MOST_SAMPLES / (rows * columns)), 1, _SAMPLES))
    fine = (corners - low + 0.5) * samples - 0.5
    inside = np.zeros((rows * samples, columns * samples), np.bool_)
    rows_in, columns_in = polygon(fine[:, 0], fine[:, 1], inside.shape)  # type: ignore[no-untyped-call]
    inside[rows_in, columns_in] = True
    share = inside.reshape(rows, samples, columns, samples).mean(axis=(1, 3))
    labels[low[0] : high[0], low[1] : high[1]][share >= 0.5] = value


def clipped(
    outline: NDArray[np.float64], low: tuple[float, float], high: tuple[float, float]
) -> NDArray[np.float64]:
    """Cut off the parts of an outline outside a rectangle; (0, 2) if nothing is left.

    Source: I. E. Sutherland and G. W. Hodgman, Communications of the ACM 17 (1974), 32.

    Parameters
    ----------
    outline
        (N, 2) corners (y, x).
    low, high
        (y, x) of the rectangle's corners.
    """
    for axis, limit, sign in ((0, low[0], 1), (0, high[0], -1), (1, low[1], 1), (1, high[1], -1)):
        kept: list[NDArray[np.float64]] = []
        beyond = sign * (outline[:, axis] - limit)
        for here, there, at, to in zip(
            outline, np.roll(outline, -1, axis=0), beyond, np.roll(beyond, -1), strict=True
        ):
            if at >= 0:
                kept.append(here)
            if at * to < 0:
                kept.append(here + (there - here) * (at / (at - to)))
        outline = np.array(kept).reshape(-1, 2)
    return outline
