"""A focus measure on cells: its mean curve over depth, and the error of its peak."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.model.metrics.depth import nearest_class

Floats = NDArray[np.float64]


def mean_curve(
    values: Floats, depth_um: Floats, cell: NDArray[Any], class_depths_um: Floats
) -> dict[str, list[float]]:
    """Average a focus measure over cells, each scaled to 0..1, as in Fig. 6.

    Parameters
    ----------
    values, depth_um, cell
        (N,) measure, depth and cell of each patch.
    class_depths_um
        (C,) the depth classes.

    Returns
    -------
    dict
        `depth_um`, `mean`, `low` and `high` (quartiles) of each depth class that has patches.
    """
    scaled = np.zeros_like(values)
    for number in np.unique(cell):
        here = cell == number
        low, high = values[here].min(), values[here].max()
        scaled[here] = (values[here] - low) / (high - low) if high > low else 0.0
    near = nearest_class(depth_um, class_depths_um)
    seen = np.unique(near)
    held = [scaled[near == k] for k in seen]
    return {
        "depth_um": class_depths_um[seen].tolist(),
        "mean": [float(part.mean()) for part in held],
        "low": [float(np.percentile(part, 25)) for part in held],
        "high": [float(np.percentile(part, 75)) for part in held],
    }


def peak_offsets(values: Floats, depth_um: Floats, cell: NDArray[Any]) -> Floats:
    """Depth of the plane with each cell's largest value, (K,) µm; 0 is the focus.

    Parameters
    ----------
    values
        (N,) focus measure of each patch.
    depth_um
        (N,) depth of each patch, µm.
    cell
        (N,) the cell of each patch; K different ones.
    """
    cells = (np.flatnonzero(cell == number) for number in np.unique(cell))
    return np.array([depth_um[here[values[here].argmax()]] for here in cells], dtype=np.float64)
