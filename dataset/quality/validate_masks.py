"""Checks of masks: each patch has its own head, whole, in one piece and where the patch is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.dataset.archive import Archive
from fgaf.dataset.findings import Finding, some
from fgaf.dataset.quality.patch_statistics import BLOCK, Bar
from fgaf.dataset.storage.masks import OTHER_HEAD, OWN_HEAD

_LOOK = "look at them with `fgaf-data info --image`, and correct the masks"


@dataclass(frozen=True)
class _Seen:
    """What the masks show, one value per patch.

    Attributes
    ----------
    highest
        (M,) largest value.
    area
        (M,) pixels of the own head.
    pieces
        (M,) number of parts of the own head that do not touch.
    at_border
        (M,) whether the own head reaches the patch's border.
    away_px
        (M,) distance of its middle from the patch's centre; NaN without one.
    """

    highest: NDArray[np.uint8]
    area: NDArray[np.int64]
    pieces: NDArray[np.int64]
    at_border: NDArray[np.bool_]
    away_px: NDArray[np.float64]


def mask_findings(archive: Archive, progress: Bar = iter) -> Iterator[Finding]:
    """Check the masks of an open archive, if it has any.

    Parameters
    ----------
    archive
        An open archive.
    progress
        Wraps the blocks of masks.
    """
    if archive.masks is None:
        return
    seen = _survey(archive.masks, progress)
    above = seen.highest > OTHER_HEAD
    if above.any():
        yield Finding(
            "mask-values",
            "error",
            f"masks hold values up to {seen.highest.max()}, of cell {_ids(archive, above)}",
            "use 0 for the background, 1 for the own head and 2 for other heads",
        )
    empty = seen.highest == 0
    if empty.any():
        yield Finding(
            "mask-empty",
            "warning",
            f"no head in {_masks(empty)}, of cell {_ids(archive, empty)}",
            _LOOK,
        )
    missing = (seen.area == 0) & ~empty
    if missing.any():
        yield Finding(
            "mask-own-missing",
            "warning",
            f"other heads but not the own one in {_masks(missing)}, of cell "
            f"{_ids(archive, missing)}",
            "give the cell's own head the value 1",
        )
    pieces = seen.pieces > 1
    if pieces.any():
        yield Finding(
            "mask-pieces",
            "warning",
            f"the own head is in several pieces in {_masks(pieces)}, of cell "
            f"{_ids(archive, pieces)}",
            _LOOK,
        )
    away = seen.away_px > 2 * np.sqrt(seen.area / np.pi)
    if away.any():
        yield Finding(
            "mask-off-centre",
            "warning",
            f"the own head lies more than its size from the patch's centre in {_masks(away)}, of "
            f"cell {_ids(archive, away)}",
            "check that masks and patches are of the same cells",
        )
    cut = seen.at_border
    if cut.any():
        yield Finding(
            "mask-at-border",
            "warning",
            f"the own head reaches the patch's border in {_masks(cut)}, of cell "
            f"{_ids(archive, cut)}",
            "cut larger patches",
        )


def _survey(masks: Any, progress: Bar) -> _Seen:
    starts = range(0, len(masks), BLOCK)
    parts = [
        _look(np.asarray(masks[start : start + BLOCK]))
        for start in (progress(starts) if len(starts) > 1 else starts)
    ]
    return _Seen(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _look(masks: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
    """The fields of `_Seen` of some masks (n, S, S)."""
    from scipy.ndimage import label

    own = masks == OWN_HEAD
    n, side, _ = own.shape
    area = own.sum(axis=(1, 2))
    touching = np.zeros((3, 3, 3), np.bool_)
    touching[1] = True
    # Parts are numbered mask by mask, so the largest number so far counts those so far.
    numbered = label(own, touching)[0].reshape(n, -1).max(axis=1)
    pieces = np.diff(np.maximum.accumulate(numbered), prepend=0)
    border = own.copy()
    border[:, 1:-1, 1:-1] = False
    at = np.arange(side) - side // 2
    with np.errstate(invalid="ignore"):
        y, x = (own.sum(axis=axis) @ at / area for axis in (2, 1))
    return masks.max(axis=(1, 2)), area, pieces, border.any(axis=(1, 2)), np.hypot(y, x)


def _masks(which: NDArray[np.bool_]) -> str:
    return count(int(which.sum()), "patch")


def _ids(archive: Archive, rows: NDArray[np.bool_]) -> str:
    return some(dict.fromkeys(archive.cells.id[archive.cell[rows]].tolist()))
