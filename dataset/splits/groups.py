"""Groups of cells: cells of one field, or with crops that share pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgaf.base.errors import FgafError

if TYPE_CHECKING:
    from fgaf.dataset.archive import Cells


def fields_of(cells: Cells) -> NDArray[np.intp]:
    """Number the fields of view: (K,) with the same number for cells of one field.

    Cells are of one field if they come from the same source, or if their sources have the same
    field name within one sample (repeats). A name without a sample id means every field of that
    name. A cell with neither source nor field name is a separate field.
    """
    names = np.asarray(cells.field, dtype=str)
    samples = np.asarray(cells.sample_id, dtype=str)
    digests = np.asarray(cells.source_sha256, dtype=str)
    sources = np.asarray(cells.source, dtype=str)

    sets = DisjointCells(len(names))
    sets.join_equal(digests, where=digests != "")
    sets.join_equal(sources, where=(digests == "") & (sources != ""))
    nowhere = set(names[samples == ""].tolist())
    scoped = [("" if n in nowhere else s, n) for s, n in zip(samples, names, strict=True)]
    sets.join_equal(scoped, where=names != "")
    return sets.labels()


def linked_cells(
    cells: Cells, center_y: ArrayLike, center_x: ArrayLike, cell: ArrayLike, patch_px: int
) -> NDArray[np.intp]:
    """Number the sets of cells that no split may divide: (K,) with equal numbers for linked cells.

    Cells of one field are linked if their crops share a pixel, also in different planes or
    repeats. Linked pairs with a common cell form one set.

    Parameters
    ----------
    cells
        K cells.
    center_y, center_x
        (M,) centre of each crop, pixels of the raw frame.
    cell
        (M,) cell of each crop, counted from 0.
    patch_px
        Side of the crops, pixels.

    Raises
    ------
    FgafError
        Crop centres are not finite.
    """
    row_cell = np.asarray(cell, dtype=np.intp)
    y = np.asarray(center_y, dtype=np.float64)
    x = np.asarray(center_x, dtype=np.float64)
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise FgafError(
            "crop centres are not finite, so overlapping crops cannot be found; rebuild the archive"
        )

    sets = DisjointCells(len(cells.id))
    if row_cell.size == 0:
        return sets.labels()
    places = np.unique(np.column_stack([fields_of(cells)[row_cell], row_cell, y, x]), axis=0)
    owner = places[:, 1].astype(np.intp)
    tiles = np.column_stack([places[:, 0], np.floor(places[:, 2:] / patch_px)]).astype(np.int64)
    held, tile_of, count = np.unique(tiles, axis=0, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(tile_of.ravel(), kind="stable"), np.cumsum(count)[:-1])
    tile_at = {(f, i, j): m for (f, i, j), m in zip(held.tolist(), members, strict=True)}

    for (field, i, j), here in tile_at.items():
        # A tile has the size of a crop, so crops centred in one tile always overlap.
        sets.join(owner[here])
        for di, dj in ((0, 1), (1, -1), (1, 0), (1, 1)):
            there = tile_at.get((field, i + di, j + dj))
            if there is None or sets.connected(owner[here[0]], owner[there[0]]):
                continue
            gap = np.abs(places[here, None, 2:] - places[None, there, 2:]).max(axis=-1)
            if (gap < patch_px).any():
                sets.join([owner[here[0]], owner[there[0]]])
    return sets.labels()


def divided_groups(group: NDArray[np.intp], sides: NDArray[np.int8]) -> NDArray[np.intp]:
    """Groups (numbered from 0, one per cell) that have cells on more than one side.

    Parameters
    ----------
    group
        (K,) group of each cell.
    sides
        (K,) side of each cell.
    """
    n = int(group.max(initial=-1)) + 1
    lowest, highest = np.full(n, 3), np.full(n, -1)
    np.minimum.at(lowest, group, sides)
    np.maximum.at(highest, group, sides)
    return np.flatnonzero(highest > lowest)


class DisjointCells:
    """Disjoint sets of the numbers 0 to n - 1."""

    def __init__(self, n: int) -> None:
        from scipy.cluster.hierarchy import DisjointSet

        self._sets = DisjointSet(range(n))

    def connected(self, i: int, j: int) -> bool:
        """Whether two numbers are in one set.

        Parameters
        ----------
        i, j
            The numbers.
        """
        return bool(self._sets.connected(int(i), int(j)))

    def join(self, members: Iterable[int]) -> None:
        """Unite the sets of all members."""
        first, *others = map(int, members)
        for other in others:
            self._sets.merge(first, other)

    def join_equal(self, keys: Iterable[object], where: NDArray[np.bool_] | None = None) -> None:
        """Join the numbers whose keys are equal, among those marked by `where`.

        Parameters
        ----------
        keys
            One for each number.
        where
            Which numbers to join; None for all.
        """
        first: dict[object, int] = {}
        for i, key in enumerate(keys):
            if where is None or where[i]:
                self._sets.merge(first.setdefault(key, i), i)

    def labels(self) -> NDArray[np.intp]:
        """Number the sets 0, 1, ... in the order of their first members."""
        roots = [self._sets[i] for i in self._sets]
        number = {root: n for n, root in enumerate(dict.fromkeys(roots))}
        return np.array([number[root] for root in roots], dtype=np.intp)
