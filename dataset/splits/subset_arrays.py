"""One side of an archive's split as numpy arrays, from a file or an address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.splits.batches import BlockCache, CachedImages
from fgaf.dataset.splits.split import SIDES
from fgaf.dataset.storage.url import Location, location


@dataclass(frozen=True)
class Side:
    """Patches of one side in memory.

    Attributes
    ----------
    images
        (n, S, S) uint8 or uint16.
    masks
        (n, S, S) uint8, see `Archive`; None where the archive has none.
    depth_class
        (n,) labels, 0 the lowest plane.
    depth_um
        (n,) labels in µm.
    cell
        (n,) index into the archive's table of cells.
    sample_id
        (n,) sample of each patch, str.
    """

    images: NDArray[Any]
    depth_class: NDArray[np.int64]
    depth_um: NDArray[np.float64]
    cell: NDArray[np.int32]
    sample_id: NDArray[Any]
    masks: NDArray[np.uint8] | None


def rows_of_side(archive: Archive, side: str, split: str = DEFAULT_SPLIT) -> NDArray[np.intp]:
    """Rows of the patches on one side, ascending.

    Parameters
    ----------
    archive
        The archive.
    side
        "train", "validation" or "test".
    split
        Name of the split.

    Raises
    ------
    SettingError
        There is no such side.
    FgafError
        There is no such split.
    """
    if side not in SIDES:
        raise SettingError(f"no side {side!r}; {nearest(side, SIDES)}")
    return np.flatnonzero(archive.split_of_rows(split) == SIDES.index(side))


def load_side(where: Location, side: str = "train", split: str = DEFAULT_SPLIT) -> Side:
    """Read one side of an archive's split.

    From an address only the blocks with patches of that side are fetched.
    `fgaf.dataset.splits.batches.shuffled_batches` reads archives larger than memory.

    Parameters
    ----------
    where
        The archive's file or address.
    side
        "train", "validation" or "test".
    split
        Name of the split.

    Raises
    ------
    FormatError
        It is not an archive, or damaged: checksums are compared for files, not for addresses.
    SettingError
        No such side.
    FgafError
        No such split.

    Examples
    --------
    >>> train = load_side("dataset.h5")  # doctest: +SKIP
    >>> train.images.shape, train.depth_class.shape  # doctest: +SKIP
    """
    where = location(where)
    with Archive.open(where, whole=isinstance(where, Path)) as archive:
        rows = rows_of_side(archive, side, split)
        cell, masks = archive.cell[rows], archive.masks
        return Side(
            images=CachedImages(BlockCache(archive.images), rows)[:],
            depth_class=archive.depth_class[rows],
            depth_um=archive.depth_um[rows],
            cell=cell,
            sample_id=archive.cells.sample_id[cell],
            masks=None if masks is None else CachedImages(BlockCache(masks), rows)[:],
        )
