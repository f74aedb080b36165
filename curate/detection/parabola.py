"""Position of a maximum between samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def peak_offset(
    before: Floats,
    here: Floats,
    after: Floats,
    gap_before: float = 1.0,
    gap_after: float = 1.0,
) -> Floats:
    """Vertex of the parabola through a sample and its two neighbours.

    Parameters
    ----------
    before, here, after
        Values, of one shape, float64; `here` is the largest of the three.
    gap_before, gap_after
        Distances of the neighbours.

    Returns
    -------
    ndarray of float64
        Distance of the vertex from the middle sample, towards `after`; 0 where the three lie on a
        line, or curve upwards.
    """
    rise, fall = (here - before) / gap_before, (after - here) / gap_after
    bend = np.asarray(fall - rise)
    slope = (rise * gap_after + fall * gap_before) / 2
    return np.asarray(np.divide(-slope, bend, out=np.zeros_like(bend), where=bend < 0))
