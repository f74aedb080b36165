"""Checks before training: cells on the sides of the split, patches with content."""

from __future__ import annotations

from collections.abc import Callable

from fgaf.base.console import command_line
from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.dataset.quality.validate_archive import training_findings
from fgaf.dataset.splits.split import TEST, TRAIN


def require_cells(archive: Archive, split: str) -> None:
    """Refuse an archive without cells to train on or to test on.

    Parameters
    ----------
    archive
        In memory or open.
    split
        Name of the split that divides it.

    Raises
    ------
    FgafError
        Too few cells, an empty side, or no such split.
    """
    where = archive.path or "the archive"
    if archive.n_cells == 0:
        raise FgafError(f"{where} has no cells; curate some first")
    if archive.n_cells == 1:
        raise FgafError(f"{where} has one cell; training and testing need two or more: add cells")
    sides = archive.split_of_rows(split)
    for side, name in ((TRAIN, "training"), (TEST, "test")):
        if not (sides == side).any():
            raise FgafError(
                f"split {split!r} of {where} has no {name} cells; "
                "make another with `fgaf-data split`"
            )
    if (sides == TRAIN).sum() < 2:
        raise FgafError(f"{where} has one training patch; add cells")


def require_masks(archive: Archive) -> None:
    """Refuse an archive without masks of heads.

    Parameters
    ----------
    archive
        In memory or open.

    Raises
    ------
    FgafError
        It has none; the message says how to get them.
    """
    if archive.masks is None:
        raise FgafError(
            f"{archive.path or 'the archive'} has no masks of heads: outline heads and use "
            "`fgaf-data import-masks`, or simulate them with `acq simulate-cells --masks`, or "
            "with `acq stack --masks` and `fgaf-curate`"
        )


def require_fit(archive: Archive, say: Callable[[str], None] = lambda _: None) -> None:
    """Refuse patches with errors that `fgaf-data validate` finds; one pass over all patches.

    Parameters
    ----------
    archive
        In memory or open.
    say
        Called with each warning, one line each.

    Raises
    ------
    FgafError
        Patches without content; the message names the cell and how to fix it.
    """
    where = archive.path or "the archive"
    for finding in training_findings(archive):
        if finding.severity == "error":
            see = (
                f", or see `{command_line('fgaf-data', 'validate', where)}`" if archive.path else ""
            )
            raise FgafError(f"{where}: {finding.message}; {finding.mend}{see}")
        say(str(finding))
