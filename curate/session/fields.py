"""Finds stacks of the same field, by cells at the same positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from fgaf.dataset.splits.groups import DisjointCells

_LEAST_CELLS = 3
_LEAST_SHARE = 0.5


def coincide(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], within_px: float
) -> bool:
    """Whether two sets of cells match: at least half of the cells, and at least three.

    Parameters
    ----------
    first, second
        (N, 2) and (M, 2) positions of the cells, pixels.
    within_px
        Maximum distance of two positions of one cell.
    """
    fewer = min(len(first), len(second))
    if fewer < _LEAST_CELLS:
        return False
    there = cKDTree(second).query(first)
    back = cKDTree(first).query(second)[1]
    mutual = (back[there[1]] == np.arange(len(first))) & (there[0] <= within_px)
    return int(mutual.sum()) >= max(_LEAST_CELLS, _LEAST_SHARE * fewer)


def same_fields(
    places: Sequence[npt.NDArray[np.float64]],
    shapes: Sequence[tuple[int, int]],
    within_px: Sequence[float],
) -> list[list[int]]:
    """Sets of stacks (their indices) that show the same field; single stacks are left out.

    Parameters
    ----------
    places
        For every stack the (N, 2) positions of its cells, pixels.
    shapes
        (Y, X) of every stack's frames; only equal ones are compared.
    within_px
        Tolerance for every stack, pixels.
    """
    sets = DisjointCells(len(places))
    for i in range(len(places)):
        for j in range(i):
            if shapes[i] == shapes[j] and coincide(places[i], places[j], within_px[i]):
                sets.join((i, j))
    labels = sets.labels()
    groups = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    return [members for members in groups if len(members) > 1]
