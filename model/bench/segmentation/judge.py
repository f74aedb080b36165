"""Judge methods of segmentation on the test patches of an archive, and compare them in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TRAIN
from fgaf.dataset.storage.masks import OWN_HEAD
from fgaf.model.bench.segmentation.methods import Method
from fgaf.model.bench.statistics import paired
from fgaf.model.metrics.heads import PatchResult, compare
from fgaf.model.networks.augment import AugmentSettings, augment_with_masks

Rows = npt.NDArray[np.intp]
Progress = Callable[[Sequence[Any]], Iterable[Any]]

COMPARED: Final = {"iou": True, "recall": True, "centre_px": False}
"""What is compared in pairs, and whether more is better."""


def least_area(archive: Archive, split: str, share: float) -> int:
    """Pixels of the smallest region that is a head: a share of the median head of training.

    Parameters
    ----------
    archive
        With masks, in memory.
    split
        Name of its split.
    share
        The setting `least_area` of the training.

    Raises
    ------
    FgafError
        No training patch shows the head of its cell.
    """
    rows = np.flatnonzero(archive.split_of_rows(split) == TRAIN)
    area = (archive.masks[rows] == OWN_HEAD).sum(axis=(1, 2))
    if not area.any():
        raise FgafError("no training patch shows the head of its cell; check the masks")
    return max(1, round(share * float(np.median(area[area > 0]))))


def moved(archive: Archive, shift_px: int, seed: int) -> Archive:
    """The archive with its patches and masks moved by up to some pixels, the border mirrored.

    Parameters
    ----------
    archive
        With masks, in memory.
    shift_px
        Largest move; 0 leaves all as it is.
    seed
        Seed of the moves.
    """
    if not shift_px:
        return archive
    moves = AugmentSettings(turns=False, shift_px=shift_px, gain=0, offset=0, noise=0)
    images = torch.from_numpy(archive.images.astype(np.float32))[:, None]
    generator = torch.Generator().manual_seed(seed)
    patches, masks = augment_with_masks(images, torch.from_numpy(archive.masks), moves, generator)
    pixels = patches[:, 0].numpy().astype(archive.images.dtype)
    return replace(archive, images=pixels, masks=masks.numpy())


def outcomes(
    method: Method, archive: Archive, rows: Rows, least_px: int, progress: Progress = iter
) -> list[PatchResult]:
    """Segment patches and compare them with their masks.

    Parameters
    ----------
    method
        The method.
    archive
        With masks.
    rows
        (N,) rows of the patches.
    least_px
        Smaller regions and heads count neither way.
    progress
        Wraps the list of rows.
    """
    return [
        compare(method.segment(archive.images[row]), archive.masks[row], least_px)
        for row in progress(rows.tolist())
    ]


def differences(
    results: Sequence[PatchResult], reference: Sequence[PatchResult], cell: npt.NDArray[Any]
) -> dict[str, dict[str, float | None] | None]:
    """Differences of two methods on the same patches.

    Parameters
    ----------
    results, reference
        (N,) of two methods.
    cell
        (N,) the cell of each patch.

    Returns
    -------
    dict
        Of `iou`, over the patches with a head, of `recall`, over the heads, and of `centre_px`,
        the error of the centre of heads that both find, `fgaf.model.bench.statistics.paired`:
        `results` minus `reference`, with interval and p-value over cells; None where there is
        nothing to compare.
    """
    shown = np.array([result.true_px > 0 for result in reference])
    overlap, other = (
        np.array([r.overlap_px / max(r.union_px, 1) for r in rows]) for rows in (results, reference)
    )
    off, off_other = (
        np.array([px for r in rows for px in r.off_px]) for rows in (results, reference)
    )
    of_head = np.repeat(cell, [len(result.off_px) for result in reference])
    found, found_other = np.isfinite(off), np.isfinite(off_other)
    both = found & found_other
    return {
        "iou": _paired(overlap[shown], other[shown], cell[shown]),
        "recall": _paired(found.astype(np.float64), found_other.astype(np.float64), of_head),
        "centre_px": _paired(off[both], off_other[both], of_head[both]),
    }


def _paired(
    scores: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], cell: npt.NDArray[Any]
) -> dict[str, float | None] | None:
    return paired(scores, reference, cell) if len(scores) else None
