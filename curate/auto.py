"""Curation without a person: every cell's suggestion is accepted, or rejected for a reason."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fgaf.base.console import count
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.folder_lock import LockedError
from fgaf.base.lock import is_written
from fgaf.base.workers.files import on_files
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.focus.suggest import LIKELY, SURE
from fgaf.curate.session.finding import (
    Found,
    StackSearch,
    named,
    note_repeats,
    open_session,
    require_workable,
)
from fgaf.curate.session.journal import LOCK, begun
from fgaf.curate.session.places import place_of
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import AUTO, CellState, State
from fgaf.curate.session.votes import Votes
from fgaf.dataset.storage.header import software

_log = logging.getLogger(__name__)

SESSION: Final = ".session"
"""Suffix of the folder of a session beside its archive."""


@dataclass(frozen=True)
class StackReport:
    """Result for the cells of one stack."""

    name: str
    found: int
    kept: int
    rules: dict[str, int]
    dropped: dict[str, int]

    @classmethod
    def of(cls, name: str, cells: Sequence[CellState]) -> StackReport:
        """Count the cells of a stack, after the decisions on them.

        Parameters
        ----------
        name
            Name of the stack.
        cells
            All its cells.
        """
        rules = Counter(c.suggestion.rule for c in cells if c.suggestion is not None)
        decisions = [cell.decision for cell in cells if cell.decision is not None]
        dropped = Counter(d.reason or d.verdict for d in decisions if not d.kept)
        kept = sum(decision.kept for decision in decisions)
        return cls(name, len(cells), kept, dict(rules), dict(dropped))

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

    @property
    def dropped(self) -> Counter[str]:
        """Number of cells of all stacks that were dropped, by reason."""
        return sum((Counter(stack.dropped) for stack in self.stacks), Counter())


def _plain(paths: Sequence[Path]) -> Generator[Path, None, None]:
    yield from paths


def auto(
    paths: Sequence[Path],
    folder: Path,
    settings: PatchSettings | None = None,
    pixel_size_um: float | None = None,
    *,
    head_um: float | None = None,
    overwrite: bool = False,
    resume: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[Sequence[Path]], Generator[Path, None, None]] = _plain,
    say: Callable[[str], None] = lambda _line: None,
) -> AutoReport:
    """Find, follow, check and decide on the cells of some stacks, in a session of their own.

    Stacks are searched by several processes and written in their order, so that the session is the
    same for any number of them. What is in the session when this is stopped stays there. Where the
    few cells of a stack leave doubt of the case of the focus rule, it waits for the votes of the
    stacks after it.

    Parameters
    ----------
    paths
        Raw stack files.
    folder
        Folder of the session.
    settings
        Patch size, step and half range; None for the defaults, or for those of the session that is
        resumed.
    pixel_size_um
        Pixel in the specimen, µm; None for each stack's own.
    head_um
        Length of a head, µm; None as for `settings`.
    overwrite
        Whether the journal of an earlier session is renamed.
    resume
        Whether an earlier session goes on with the stacks that are not in it yet.
    workers
        Processes on this machine; one is this process. More need a script that starts under
        ``if __name__ == "__main__"``.
    scheduler
        Address of a Dask scheduler whose workers search instead, see
        `fgaf.base.workers.cluster.on_cluster`.
    progress
        Wraps the paths that are searched.
    say
        Called with a line when it waits for a worker, when it stops before the end, and for
        what is in doubt about a stack, see `fgaf.curate.detection.doubts`.

    Raises
    ------
    SettingError
        The step is not a multiple of a stack's step, a pixel size is unknown, or the session to
        resume has other settings, stacks or software.
    FormatError
        A file is not a raw stack, or changed.
    ExistsError
        The folder holds a session.
    LockedError
        Another program uses the session.
    LostWorkerError
        A process that searched a stack died; the message names the stack.
    """
    if resume:
        session = _reopened(folder, paths, settings, pixel_size_um, head_um)
    else:
        settings = settings or PatchSettings()
        require_workable(paths, settings, pixel_size_um)
        session = Session.create(
            folder,
            settings,
            pixel_size_um=pixel_size_um,
            head_um=head_um or HEAD_UM[0],
            overwrite=overwrite,
        )
    with session:
        search = StackSearch.of(session.state)
        given = require_workable(paths, search.settings, search.pixel_size_um)
        _require_resumable(session, given)
        todo = [path for content, path in given.items() if content not in session.state.stacks]
        results = on_files(search, todo, workers=workers, scheduler=scheduler, say=say)
        ballot = _Ballot(session)
        try:
            with closing(results), closing(progress(todo)) as bar:
                for path, found in zip(bar, results, strict=True):
                    if given.get(found.ref.fingerprint) != path:
                        raise FormatError(
                            f"{path} is another file where it was searched than here, or changed; "
                            "give all workers the same file"
                        )
                    ballot.add(found, path)
                    for line in found.doubts:
                        say(line)
                ballot.close()
        except BaseException:
            if done := len(session.state.stacks):
                say(
                    f"{done} of {count(len(given), 'stack')} are in {folder}; "
                    "add --resume to go on with the others"
                )
            raise
        repeats = note_repeats(session)
        return AutoReport(_reports(session.state), repeats, session.state)


def unfinished_session(archive: Path) -> Path:
    """Find the only session of an archive's default names that has no archive yet.

    A session that another program uses does not count.

    Parameters
    ----------
    archive
        Its default name.

    Raises
    ------
    SettingError
        There is none, or there are several; the message lists them.
    """
    usual = re.compile(rf"{re.escape(archive.stem)}(-\d+)?{re.escape(SESSION)}")
    found = [
        folder
        for folder in sorted(archive.parent.iterdir())
        if usual.fullmatch(folder.name)
        and begun(folder)
        and not folder.with_suffix(archive.suffix).exists()
        and not is_written(folder / LOCK)
    ]
    if len(found) != 1:
        there = (
            f"are several unfinished sessions ({', '.join(map(str, found))})"
            if found
            else f"is no unfinished session named {archive.stem}{SESSION} or the like"
        )
        raise SettingError(f"there {there} in this folder; say which with --out or --session")
    return found[0]


def _reopened(
    folder: Path,
    paths: Sequence[Path],
    settings: PatchSettings | None,
    pixel_size_um: float | None,
    head_um: float | None,
) -> Session:
    session, refusal = open_session(
        folder, paths, settings, pixel_size_um=pixel_size_um, head_um=head_um
    )
    if refusal:
        session.close()
        raise LockedError(refusal)
    return session


def _require_resumable(session: Session, given: Mapping[str, Path]) -> None:
    """Refuse a session that does not give what a new one would give."""
    folder, state = session.folder, session.state
    begun_by = session.records[0].get("software")
    if begun_by != software():
        raise SettingError(
            f"{folder} was begun by {begun_by}, and this is {software()}: go on with that version, "
            "or begin another --session"
        )
    if strange := next((ref for c, ref in state.stacks.items() if c not in given), None):
        raise SettingError(
            f"{folder} holds the stack {strange.name}, which was not given; give it too, or choose "
            "another --session folder"
        )
    if undecided := next((c.id for c in state.cells.values() if c.decision is None), ""):
        raise SettingError(
            f"{folder} is curated by hand, cell {undecided} is not decided; choose another "
            "--session folder"
        )


class _Ballot:
    """Writes stacks in their order, each when votes leave no doubt of its case of the focus rule.

    The case of a stack is that of the first moment at which it is beyond doubt, so that a run that
    stops and goes on decides the same.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._votes = Votes(session.state.stacks.values())
        self._waiting: list[tuple[Found, Path]] = []

    def add(self, found: Found, path: Path) -> None:
        """Count the votes of a stack."""
        self._votes.add(found.ref)
        self._waiting.append((found, path))
        self._settle(SURE)
        while self._waiting and self._waiting[0][0].otherwise is None:
            _take_in(self._session, *self._waiting.pop(0))

    def close(self) -> None:
        """Write the stacks that wait: no more votes are to come."""
        self._settle(LIKELY)
        for found, path in self._waiting:
            _take_in(self._session, found.by(None), path)

    def _settle(self, least: float) -> None:
        for number, (found, path) in enumerate(self._waiting):
            rule = self._votes.rule_of(found.ref, least)
            if rule is not None:
                self._waiting[number] = found.by(rule), path


def _take_in(session: Session, found: Found, path: Path) -> None:
    """Write a stack, its cells and the decisions on them in one step."""
    ref = replace(found.ref, path=str(place_of(path)))  # of this machine
    found = named(replace(found, ref=ref), session.state)
    state = replace(
        session.state,
        stacks={found.ref.fingerprint: found.ref},
        cells={cell.id: cell for cell in found.cells},
    )
    decisions = [
        decision_of(state, cell.id, "reject" if reason else "accept", AUTO, reason=reason)
        for cell, reason in zip(found.cells, found.rejection_reasons, strict=True)
    ]
    session.begin([found.ref], found.cells, decisions)
    taken = [session.state.cells[cell.id] for cell in found.cells]
    _log.info("%s", StackReport.of(found.ref.name, taken).line())


def _reports(state: State) -> list[StackReport]:
    cells: dict[str, list[CellState]] = {content: [] for content in state.stacks}
    for cell in state.cells.values():
        cells[cell.stack].append(cell)
    return [StackReport.of(ref.name, cells[content]) for content, ref in state.stacks.items()]
