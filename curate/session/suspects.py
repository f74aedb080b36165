"""Cells whose labels `fgaf-refine` doubts, for a person to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from fgaf.base.errors import FgafError
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import Suggested
from fgaf.dataset.archive import Archive

RULE: Final = "refined"
_MOST: Final = 0.1
"""Confidence below which all of them lie: they come first in order of uncertainty."""


def suspects(archive: Path) -> dict[str, Suggested]:
    """The doubtful cells of a refined archive, with the focus that was found, the worst first.

    Parameters
    ----------
    archive
        File that `fgaf-refine` wrote.

    Raises
    ------
    FgafError
        It was not refined, or no cell in it is doubtful.
    """
    with Archive.open(archive) as opened:
        table, cells = opened.refinement, opened.cells
    if table is None:
        raise FgafError(f"{archive} was not refined; give an archive that fgaf-refine wrote")
    doubtful = np.flatnonzero(table.suspect != "")
    if not len(doubtful):
        raise FgafError(f"{archive} names no cell to look at; leave out --suspects")
    worst_first = doubtful[np.argsort(-np.abs(table.change_um[doubtful]), kind="stable")]
    by = f"fgaf-refine {archive.stem}"
    return {
        str(cells.id[cell]): Suggested(
            focus_um=round(float(cells.focus_um[cell]), 4),
            confidence=round(_MOST * place / len(doubtful), 4),
            rule=RULE,
            problem=str(table.suspect[cell]),
            by=by,
        )
        for place, cell in enumerate(worst_first)
    }


def suggest(session: Session, doubts: dict[str, Suggested]) -> list[str]:
    """Write the foci of doubtful cells into a session as suggestions; returns the cells it has.

    Cells that were suggested so before stay as they are.

    Parameters
    ----------
    session
        Its cells; one that is read-only is not changed.
    doubts
        From `suspects`.

    Raises
    ------
    FgafError
        The session has none of these cells.
    """
    known = [name for name in doubts if name in session.state.cells]
    if not known:
        raise FgafError(
            "the session has none of the cells to look at; give the session that the archive was "
            "made from"
        )
    new = {
        name: doubts[name]
        for name in known
        if (held := session.state.cells[name].suggestion) is None or held.by != doubts[name].by
    }
    if new and not session.read_only:
        session.suggest(new)
    return known
