"""Rounds of learning: every cell is read by what was learned from other cells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST
from fgaf.model.refine.estimate import Estimate, Floats, estimate
from fgaf.model.refine.features import features
from fgaf.model.refine.networks import Bar, NetworkReader
from fgaf.model.refine.ridge import RidgeReader
from fgaf.model.refine.settings import RefineSettings
from fgaf.model.training.folds import draw_folds

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """Reads the depth of patches, learned from the labels of other cells."""

    def read(self, label_um: Floats) -> Floats:
        """Depth of each patch, (M,) µm.

        Parameters
        ----------
        label_um
            (M,) to learn from.
        """
        ...


def rounds(
    archive: Archive,
    settings: RefineSettings,
    out: Path,
    progress: Bar,
    say: Callable[[str], None],
) -> Estimate:
    """Estimate the offset and slope of every cell of an archive; resumes what `out` holds.

    The folds are the same in all rounds, and every round corrects the first labels.

    Parameters
    ----------
    archive
        Cells to learn from and to correct.
    settings
        How.
    out
        Folder for networks, reserved by the caller.
    progress
        Wraps epochs or batches, as `fgaf.base.console.progress`.
    say
        Called with a line after each round.

    Raises
    ------
    FgafError
        As `fgaf.model.training.train.train`; `SettingError` if the cells cannot be divided.
    """
    sides = draw_folds(archive, settings.folds, settings.seed)
    labels, cell = archive.depth_um, archive.cell.astype(np.int64)
    reader = _reader(archive, sides, settings, out, progress)
    now = labels
    for number in range(1, settings.rounds + 1):
        found = estimate(reader.read(now), labels, cell, archive.class_depths_um)
        before, now = now, labels + found.change_um(labels, cell)
        moved = float(np.sqrt(np.mean((now - before) ** 2)))
        _log.info("round %d: %s, labels moved by %.4f µm", number, found.spread, moved)
        say(
            f"round {number} of {settings.rounds}: labels of cells are off by "
            f"{found.spread.offset_um:.3f} µm r.m.s.; moved by {moved:.3f} µm"
        )
    return found


def _reader(
    archive: Archive,
    sides: list[npt.NDArray[np.int8]],
    settings: RefineSettings,
    out: Path,
    progress: Bar,
) -> Reader:
    if settings.networks is not None:
        return NetworkReader(archive, sides, settings.networks, out, progress)
    fold = np.argmax(np.stack(sides) == TEST, axis=0)[archive.cell]
    return RidgeReader(features(archive.images, progress), fold)
