"""Curation without a person: every cell's suggestion is accepted, or rejected for a reason."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.detection.detect import HEAD_UM
from fgaf.curate.session.finding import Found, find_cells, note_repeats, require_workable
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import AUTO, State

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackReport:
    """Result for the cells of one stack."""

    name: str
    found: int
    kept: int
    rules: dict[str, int]
    dropped: dict[str, int]

    @classmethod
    def of(cls, found: Found) -> StackReport:
        """Count the cells of a stack."""
        rules = Counter(c.suggestion.rule for c in found.cells if c.suggestion is not None)
        dropped = Counter(reason for reason in found.rejection_reasons if reason)
        kept = len(found.cells) - dropped.total()
        return cls(found.ref.name, len(found.cells), kept, dict(rules), dict(dropped))

    def line(self) -> str:
        """Format it as one line."""
        parts = [f"{self.name}: {self.found} found, {self.kept} kept"]
        parts += [f"{n} {reason}" for reason, n in sorted(self.dropped.items())]
        return ", ".join(parts)


@dataclass(frozen=True)
class AutoReport:
    """Result for all stacks, stacks with the same field, and the state of the session."""

    stacks: list[StackReport]
    repeats: list[list[str]]
    state: State

    @property
    def found(self) -> int:
        """Cells found in all stacks."""
        return sum(stack.found for stack in self.stacks)

    @property
    def kept(self) -> int:
        """Cells kept in all stacks."""
        return sum(stack.kept for stack in self.stacks)


def auto(
    paths: Sequence[Path],
    folder: Path,
    settings: PatchSettings,
    pixel_size_um: float | None = None,
    *,
    head_um: float = HEAD_UM[0],
    overwrite: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> AutoReport:
    """Find, follow, check and decide on the cells of some stacks, in a new session.

    Parameters
    ----------
    paths
        Raw stack files.
    folder
        Folder of the new session.
    settings
        Patch size, step and half range.
    pixel_size_um
        Pixel in the specimen, µm; None for each stack's own.
    head_um
        Length of a head, µm.
    overwrite
        Whether the journal of an earlier session is renamed.
    progress
        Wraps the paths.

    Raises
    ------
    SettingError
        The step is not a multiple of a stack's step, or a pixel size is unknown.
    FormatError
        A file is not a raw stack.
    ExistsError
        The folder holds a session.
    """
    require_workable(paths, settings, pixel_size_um)
    reports = []
    with Session.create(
        folder, settings, pixel_size_um=pixel_size_um, head_um=head_um, overwrite=overwrite
    ) as session:
        for path in progress(paths):
            found = find_cells(path, session.state)
            if found is not None:
                session.begin([found.ref], found.cells)
                _decide(session, found)
                reports.append(StackReport.of(found))
                _log.info("%s", reports[-1].line())
        repeats = note_repeats(session)
        return AutoReport(reports, repeats, session.state)


def _decide(session: Session, found: Found) -> None:
    state = session.state
    session.decide_all(
        decision_of(state, cell.id, "reject" if reason else "accept", AUTO, reason=reason)
        for cell, reason in zip(found.cells, found.rejection_reasons, strict=True)
    )
