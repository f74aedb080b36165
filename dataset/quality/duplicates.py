"""Duplicate patches: copies, and altered versions of the same exposure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive
from fgaf.dataset.quality.patch_descriptor import correlation
from fgaf.dataset.quality.patch_statistics import PatchStatistics

Pairs = NDArray[np.int64]
"""(N, 2) rows of an archive."""

SAME_EXPOSURE: Final = 0.95
"""Two exposures of one cell correlate less than this, because of noise. Where a camera smooths its
images, those of one cell may correlate more, and single planes of two cells too."""
_LEAST_PLANES: Final = 2
"""Planes of two cells that show the same, from which a chance likeness is excluded."""
_ASKED_CELLS: Final = 20
_LIKE: Final = 95
"""Percentile of the correlation of neighbouring planes that a single plane must exceed."""
_COMPONENTS: Final = 8
_NEAR: Final = 0.4
_NEIGHBOURS: Final = 8
_MOST_PAIRS: Final = 4000


def copies(seen: PatchStatistics) -> Pairs:
    """Pair each copy with the first patch with the same pixels, without constant patches."""
    first, second = seen.digest.T
    order = np.lexsort((np.arange(len(first)), second, first))
    new = np.ones(len(order), bool)
    new[1:] = (seen.digest[order][1:] != seen.digest[order][:-1]).any(axis=1)
    original = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    pairs = np.column_stack([original, order])[~new].astype(np.int64)
    return pairs[seen.darkest[pairs[:, 0]] < seen.brightest[pairs[:, 0]]]


def near_copies(archive: Archive, seen: PatchStatistics, linked: NDArray[np.intp]) -> Pairs:
    """Pair patches of different cells that show the same exposure.

    The comparison ignores changes of brightness and contrast, noise, mirroring, rotations by 90°
    and shifts of a few pixels. It uses the first, middle and last plane of every cell. A likeness
    in one plane alone counts if it is closer than that of neighbouring planes of one cell.

    Parameters
    ----------
    archive
        Open archive.
    seen
        Statistics from one pass over it.
    linked
        (K,) as of `fgaf.dataset.splits.split.linked_cells`: cells whose crops are known to overlap.

    Returns
    -------
    (N, 2) int64
        Rows, without exact copies. If more than 4000 pairs are similar, the 4000 most similar
        are compared.
    """
    pairs = _alike(seen)
    cells = archive.cell[pairs]
    pairs = pairs[linked[cells[:, 0]] != linked[cells[:, 1]]][:_MOST_PAIRS]
    likeness = np.array([_likeness(archive, a, b) for a, b in pairs])
    pairs, likeness = pairs[likeness >= SAME_EXPOSURE], likeness[likeness >= SAME_EXPOSURE]
    if not len(pairs):
        return np.zeros((0, 2), np.int64)
    usual = _usual_likeness(archive)
    planes = {
        (one, other): _common_planes(archive, seen, one, other)
        for one, other in np.unique(archive.cell[pairs], axis=0).tolist()
    }
    common = np.array([planes[one, other] for one, other in archive.cell[pairs].tolist()])
    return np.asarray(pairs[(likeness > usual) | (common >= _LEAST_PLANES)])


def _likeness(archive: Archive, a: int, b: int) -> float:
    """Correlation of two rows."""
    return correlation(archive.images[int(a)], archive.images[int(b)])


def _usual_likeness(archive: Archive) -> float:
    """How much neighbouring planes of one cell correlate at most, but for a few."""
    same = np.flatnonzero(np.diff(archive.cell) == 0)
    if not len(same):
        return 0.0
    some = same[:: 1 + len(same) // _ASKED_CELLS]
    return float(np.percentile([_likeness(archive, row, row + 1) for row in some], _LIKE))


def _common_planes(archive: Archive, seen: PatchStatistics, one: int, other: int) -> int:
    """Number of planes of a cell that show the same exposure as some plane of another."""
    of_one, of_other = (seen.looked[archive.cell[seen.looked] == cell] for cell in (one, other))
    return sum(any(_likeness(archive, a, b) >= SAME_EXPOSURE for b in of_other) for a in of_one)


def _alike(seen: PatchStatistics) -> Pairs:
    """Pair similar rows, the most similar first; only the first of several copies is used."""
    from scipy.spatial import cKDTree

    _, first = np.unique(seen.digest[seen.looked], axis=0, return_index=True)
    rows = seen.looked[first]
    picture = seen.darkest[rows] < seen.brightest[rows]
    rows, look = rows[picture], seen.look[first[picture]]
    if len(rows) < 2:
        return np.zeros((0, 2), np.int64)
    centred = look - look.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
    keep = values > 1e-6 * max(values.max(initial=0), 1e-12)
    vectors = (vectors / np.sqrt(np.where(keep, values, 1)))[:, keep][:, -_COMPONENTS:]
    if not vectors.size:
        return np.zeros((0, 2), np.int64)
    places = centred @ vectors
    distance, index = cKDTree(places).query(
        places, min(_NEIGHBOURS, len(places)), distance_upper_bound=_NEAR, workers=-1
    )
    here, nth = np.nonzero(np.isfinite(distance))
    pairs = np.sort(np.column_stack([rows[here], rows[index[here, nth]]]), axis=1)
    order = np.argsort(distance[here, nth], kind="stable")
    order = order[pairs[order, 0] < pairs[order, 1]]
    _, once = np.unique(pairs[order], axis=0, return_index=True)
    return np.asarray(pairs[order[np.sort(once)]])
