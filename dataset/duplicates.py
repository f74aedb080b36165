"""Patches that are there twice: copies, and the same exposure in another guise."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive
from fgaf.dataset.look import correlation
from fgaf.dataset.patch_survey import PatchSurvey

Pairs = NDArray[np.int64]
"""(N, 2) rows of an archive."""

SAME_EXPOSURE: Final = 0.95
"""Two exposures of one cell agree less than this, by their noise."""
_COMPONENTS: Final = 8
_NEAR: Final = 0.4
_NEIGHBOURS: Final = 8
_MOST_PAIRS: Final = 4000


def copies(seen: PatchSurvey) -> Pairs:
    """Pair each copy with the first patch of the same pixels; constant patches are left out."""
    first, second = seen.digest.T
    order = np.lexsort((np.arange(len(first)), second, first))
    new = np.ones(len(order), bool)
    new[1:] = (seen.digest[order][1:] != seen.digest[order][:-1]).any(axis=1)
    original = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    pairs = np.column_stack([original, order])[~new].astype(np.int64)
    return pairs[seen.darkest[pairs[:, 0]] < seen.brightest[pairs[:, 0]]]


def near_copies(archive: Archive, seen: PatchSurvey, linked: NDArray[np.intp]) -> Pairs:
    """Pair patches of different cells that show the same exposure.

    Changes of brightness and contrast, noise, mirroring, quarter turns and shifts of a few
    pixels are seen through. Looked at are the first, middle and last plane of every cell.

    Parameters
    ----------
    archive
        Open archive.
    seen
        What one pass over it showed.
    linked
        (K,) as of `fgaf.dataset.split.linked_cells`: cells whose crops are known to overlap.

    Returns
    -------
    (N, 2) int64
        Rows; exact copies are not among them. Where more than 4000 look alike, the 4000 that do
        most are compared.
    """
    pairs = _alike(seen)
    cells = archive.cell[pairs]
    known = linked[cells[:, 0]] == linked[cells[:, 1]]
    equal = (seen.digest[pairs[:, 0]] == seen.digest[pairs[:, 1]]).all(axis=1)
    flat = (seen.darkest[pairs] == seen.brightest[pairs]).any(axis=1)
    pairs = pairs[~(known | equal | flat)][:_MOST_PAIRS]
    same = [
        correlation(archive.images[int(a)], archive.images[int(b)]) >= SAME_EXPOSURE
        for a, b in pairs
    ]
    return np.asarray(pairs[np.array(same, bool)])


def _alike(seen: PatchSurvey) -> Pairs:
    """Pair the rows that look alike, the likest first."""
    from scipy.spatial import cKDTree

    centred = seen.look - seen.look.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
    keep = values > 1e-6 * max(values.max(initial=0), 1e-12)
    vectors = (vectors / np.sqrt(np.where(keep, values, 1)))[:, keep][:, -_COMPONENTS:]
    if len(centred) < 2 or not vectors.size:
        return np.zeros((0, 2), np.int64)
    places = centred @ vectors
    distance, index = cKDTree(places).query(
        places, min(_NEIGHBOURS, len(places)), distance_upper_bound=_NEAR, workers=-1
    )
    here, nth = np.nonzero(np.isfinite(distance))
    there = index[here, nth]
    once = here < there
    order = np.argsort(distance[here, nth][once], kind="stable")
    return np.column_stack([seen.looked[here[once]], seen.looked[there[once]]])[order]
