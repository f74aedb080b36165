"""Comparison of an exported network for heads with its checkpoint on the same test patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgaf.base import console
from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.deploy.verify import Bar
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.heads import HeadModel
from fgaf.model.inference.segment import Segmenter
from fgaf.model.metrics.heads import PatchResult, compare, judge

WORSE = 0.01
"""An export is refused when its intersection over union is smaller by this."""

_BATCH = 64


@dataclass(frozen=True)
class HeadsVerdict:
    """An export and its checkpoint on the same test patches, with the same views.

    Attributes
    ----------
    iou, checkpoint_iou
        Mean intersection over union.
    largest_change
        Largest change of a pixel's probability.
    patches
        How many.
    """

    iou: float
    checkpoint_iou: float
    largest_change: float
    patches: int

    def check(self) -> None:
        """Refuse an export that is worse than its checkpoint.

        Raises
        ------
        FgafError
            Its masks overlap less with the true ones; the message gives both figures.
        """
        if not self.iou >= self.checkpoint_iou - WORSE:
            raise FgafError(
                f"not exported: the intersection over union on the test cells is {self.iou:.4f} "
                f"and the checkpoint's {self.checkpoint_iou:.4f}, worse by more than {WORSE}; "
                "choose a higher --precision"
            )

    def summary(self) -> str:
        """The comparison in a few words."""
        return (
            f"IoU {self.iou:.4f} on {self.patches} test patches, the checkpoint's "
            f"{self.checkpoint_iou:.4f}; largest change of a probability {self.largest_change:.2g}"
        )


def verify_heads(
    model: HeadModel,
    checkpoint: Checkpoint,
    archive: Archive,
    judged: npt.NDArray[np.bool_],
    progress: Bar = console.progress,
) -> HeadsVerdict:
    """Evaluate an export beside its checkpoint.

    Parameters
    ----------
    model
        The export.
    checkpoint
        The checkpoint it was made from.
    archive
        Holds the patches and their masks.
    judged
        (M,) rows to evaluate.
    progress
        Wraps the batches.

    Raises
    ------
    FgafError
        The archive has no masks, or no test patch shows a head.
    """
    if archive.masks is None:
        raise FgafError("the archive has no masks of heads; give the one that the run learned from")
    rows = np.flatnonzero(judged)
    alike = Segmenter(checkpoint, model.card.tta)
    threshold, change = model.card.threshold, 0.0
    results: tuple[list[PatchResult], list[PatchResult]] = ([], [])
    starts = range(0, len(rows), _BATCH)
    for start in progress(starts, "verifying", len(starts)):
        some = rows[start : start + _BATCH]
        patches, truth = archive.images[some], archive.masks[some]
        both = model.shares(patches), alike.shares(patches)
        change = max(change, float(np.abs(both[0] - both[1]).max()))
        for shares, found in zip(both, results, strict=True):
            found += (compare(s >= threshold, t) for s, t in zip(shares, truth, strict=True))
    mine, its = (judge(found, archive, rows)["iou"] for found in results)
    if its is None:
        raise FgafError("no test patch of the archive shows a head; make another split")
    return HeadsVerdict(mine, its, change, len(rows))
