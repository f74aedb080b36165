"""Comparison of an export with its checkpoint on the same test patches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgaf.base import console
from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.depth import DepthModel, Readings
from fgaf.model.inference.predict import Predictor

WORSE_UM = 0.01
"""An export is refused when its mean error is larger by this, µm."""
STRANGE = 0.02
"""An export is refused when its share of out-of-range test patches is larger by this."""

_STRANGE_PATCHES = 2.5  # with few patches, two more may be out of range by chance
_BATCH = 64
Bar = Callable[[Iterable[int], str, int], Iterator[int]]


@dataclass(frozen=True)
class Verdict:
    """An export and its checkpoint on the same test patches.

    Attributes
    ----------
    mae_um, checkpoint_mae_um
        Mean error of the expected depth; the checkpoint uses the same views as the export.
    run_mae_um
        Mean error of the checkpoint with the run's own setting of the eight symmetries.
    largest_um
        Largest change of a depth.
    out_of_range, checkpoint_out_of_range
        Share of the patches that are out of range; None where the checkpoint cannot judge it.
    patches
        How many.
    """

    mae_um: float
    checkpoint_mae_um: float
    run_mae_um: float
    largest_um: float
    out_of_range: float | None
    checkpoint_out_of_range: float | None
    patches: int

    def check(self) -> None:
        """Refuse an export that is worse than its checkpoint.

        Raises
        ------
        FgafError
            Its mean error, or its share out of range, is too large; the message gives both figures.
        """
        if not self.mae_um <= self.checkpoint_mae_um + WORSE_UM:
            raise FgafError(
                f"not exported: the mean error on the test cells is {self.mae_um:.4f} µm and the "
                f"checkpoint's {self.checkpoint_mae_um:.4f} µm, worse by more than {WORSE_UM} µm; "
                "choose a higher --precision"
            )
        if self.out_of_range is None or self.checkpoint_out_of_range is None:
            return
        allowed = max(STRANGE, _STRANGE_PATCHES / self.patches)
        if not self.out_of_range <= self.checkpoint_out_of_range + allowed:
            raise FgafError(
                f"not exported: {100 * self.out_of_range:.1f} % of the test patches are called "
                f"out of range and {100 * self.checkpoint_out_of_range:.1f} % by the checkpoint; "
                "choose a higher --precision"
            )

    def summary(self) -> str:
        """The comparison in a few words."""
        views = (
            ""
            if self.run_mae_um == self.checkpoint_mae_um
            else f" ({self.run_mae_um:.4f} µm with the run's own setting of --tta)"
        )
        strange = (
            ", and cannot detect patches out of range"
            if self.out_of_range is None
            else f"; out of range {100 * self.out_of_range:.1f} %"
        )
        return (
            f"mean error {self.mae_um:.4f} µm on {self.patches} test patches, the checkpoint's "
            f"{self.checkpoint_mae_um:.4f} µm{views}{strange}"
        )


def verify(
    model: DepthModel,
    checkpoint: Checkpoint,
    archive: Archive,
    judged: npt.NDArray[np.bool_],
    progress: Bar = console.progress,
) -> Verdict:
    """Evaluate an export beside its checkpoint.

    Parameters
    ----------
    model
        The export.
    checkpoint
        The checkpoint it was made from.
    archive
        Holds the patches.
    judged
        (M,) rows to evaluate.
    progress
        Wraps the batches.
    """
    rows = np.flatnonzero(judged)
    alike = Predictor(checkpoint, model.card.tta)
    as_run = Predictor(checkpoint)
    parts: list[tuple[Readings, Readings, Readings]] = []
    starts = range(0, len(rows), _BATCH)
    for start in progress(starts, "verifying", len(starts)):
        patches = archive.images[rows[start : start + _BATCH]]
        reference = alike.read(patches)
        run = reference if as_run.tta == alike.tta else as_run.read(patches)
        parts.append((model.read(patches), reference, run))
    mine, its, runs = (
        np.concatenate([r.depth_um for r in column]) for column in zip(*parts, strict=True)
    )
    truth = archive.depth_um if archive.true_depth_um is None else archive.true_depth_um
    strange = [
        float(1 - np.concatenate([part[k].in_range for part in parts]).mean())
        if model.card.tells_range
        else None
        for k in (0, 1)
    ]
    return Verdict(
        mae_um=float(np.abs(mine - truth[rows]).mean()),
        checkpoint_mae_um=float(np.abs(its - truth[rows]).mean()),
        run_mae_um=float(np.abs(runs - truth[rows]).mean()),
        largest_um=float(np.abs(mine - its).max()),
        out_of_range=strange[0],
        checkpoint_out_of_range=strange[1],
        patches=len(rows),
    )
