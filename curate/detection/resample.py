"""Resampling of images along one axis, as a product with a sparse matrix.

Every sample is a weighted mean of those that a window around it covers. The weights depend only on
the lengths, so that one matrix serves all frames, and all windows of a frame at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]


def resampled(stack: Singles, axis: int, count: int, span: float) -> Singles:
    """Resample the first part of an axis.

    Parameters
    ----------
    stack
        Values, of any shape.
    axis
        Along which to resample.
    count
        Number of samples wanted.
    span
        Length of the part that they cover, in old samples, from the edge of the first.

    Returns
    -------
    float32, `count` long along the axis.
    """
    lines = np.ascontiguousarray(np.moveaxis(stack, axis, 0))
    new = _weights(len(lines), count, span) @ lines.reshape(len(lines), -1)
    return np.moveaxis(new.reshape(count, *lines.shape[1:]), 0, axis)


@lru_cache(maxsize=64)
def _weights(length: int, count: int, span: float) -> Any:
    """Weights of the old samples in each new one: sparse (count, length).

    A sinc under a Hamming window that ends at its first zero; where samples get closer, it is as
    wide as an old sample, else as a new one.
    """
    from scipy.sparse import csr_array

    step = span / count
    width = max(step, 1.0)
    centre = (np.arange(count)[:, None] + 0.5) * step
    sample = np.floor(centre - width).astype(int) + np.arange(int(2 * width) + 3)
    away = (sample + 0.5 - centre) / width
    weights = np.sinc(away) * (0.54 + 0.46 * np.cos(np.pi * away))
    weights[(np.abs(away) >= 1) | (sample < 0) | (sample >= length)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    row, column = np.nonzero(weights)
    values = weights[row, column].astype(np.float32)
    return csr_array((values, (row, sample[row, column])), shape=(count, length))
