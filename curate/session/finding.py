"""Adds raw stacks to a session: finds them, checks that they match, and finds their cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.base.folder_lock import LockedError
from fgaf.curate.candidates import (
    Candidate,
    find_in_cases,
    pixel_size_of,
    rejection_reason,
    vote_of,
)
from fgaf.curate.detection.crop import AT_BORDER, PatchSettings, stride_of
from fgaf.curate.detection.doubts import doubts
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.curate.focus.suggest import CONFIDENT, LIKELY, UNDECIDED, Rule, Suggestion, rule_for
from fgaf.curate.session.fields import same_fields
from fgaf.curate.session.journal import begun
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import (
    AUTO,
    CellState,
    StackRef,
    State,
    Suggested,
    focus_rejection_reason,
)
from fgaf.curate.session.votes import Votes
from fgaf.dataset.raw import SUFFIX, RawStack

FOCUS_CURVE = "focus-curve"


@dataclass(frozen=True)
class Found:
    """The cells of one stack.

    Attributes
    ----------
    ref
        The stack.
    cells
        Its cells, best first.
    rejection_reasons
        Why a person must check each cell; empty: no reason.
    doubts
        What is in doubt about the whole search, see `fgaf.curate.detection.doubts`.
    otherwise
        The same in the other case of the focus rule; None where the cells leave no doubt.
    """

    ref: StackRef
    cells: list[CellState]
    rejection_reasons: list[str]
    doubts: list[str]
    otherwise: Found | None = None

    def by(self, rule: Rule | None) -> Found:
        """The cells in one case of the focus rule.

        Parameters
        ----------
        rule
            The case; None where it is in doubt, so that a person must check every cell.
        """
        if self.otherwise is None:
            return self
        if rule is None:
            return self._in_doubt()
        likely = rule == rule_for(self.ref.vote)
        return replace(self if likely else self.otherwise, otherwise=None)

    def _in_doubt(self) -> Found:
        doubtful = [
            replace(
                cell,
                suggestion=replace(
                    cell.suggestion,
                    confidence=min(cell.suggestion.confidence, round(0.9 * CONFIDENT, 4)),
                    problem=cell.suggestion.problem or UNDECIDED,
                ),
            )
            for cell in self.cells
            if cell.suggestion is not None
        ]
        reasons = [reason or UNDECIDED for reason in self.rejection_reasons]
        return replace(self, cells=doubtful, rejection_reasons=reasons, otherwise=None)


def find_stacks(sources: Iterable[Path]) -> list[Path]:
    """List the raw stack files among files and folders, sorted within each folder.

    Raises
    ------
    FgafError
        A source is missing, is not a raw stack, or a folder has no raw stacks.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(source.glob(f"*{SUFFIX}"))
            if not inside:
                raise FgafError(
                    f"{source} contains no raw stacks (*{SUFFIX}); make some with `acq stack` or "
                    "`fgaf-data import`"
                )
            found += inside
        elif not source.exists():
            raise FgafError(f"{source} does not exist")
        elif not source.name.endswith(SUFFIX):
            raise FgafError(
                f"{source} is not a raw stack (*{SUFFIX}); convert it with `fgaf-data import`"
            )
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def require_workable(
    paths: Sequence[Path], settings: PatchSettings, pixel_size_um: float | None = None
) -> dict[str, Path]:
    """Refuse stacks that do not fit the settings, before anything is started.

    Parameters
    ----------
    paths
        Raw stack files.
    settings
        Patch size, step and half range.
    pixel_size_um
        Pixel in the specimen, µm; None for each stack's own.

    Returns
    -------
    dict
        The stacks by the fingerprint of their content; of files with equal content the first.

    Raises
    ------
    SettingError
        The step is not a multiple of a stack's step, or a pixel size is unknown.
    FgafError
        A patch is larger than a frame, or stacks differ in pixel size or depth.
    FormatError
        A file is not a raw stack.
    """
    first: tuple[str, float, np.dtype[np.generic]] | None = None
    by_content: dict[str, Path] = {}
    for path in paths:
        with RawStack.open(path) as stack:
            stride_of(settings, stack.header.step_um, path.name)
            pixel = pixel_size_of(stack, pixel_size_um)
            kind = stack.frames.dtype
            by_content.setdefault(stack.fingerprint, path)
            if settings.patch_px > min(stack.shape[1:]):
                rows, columns = stack.shape[1:]
                raise FgafError(
                    f"a patch of {settings.patch_px} pixels is larger than the images of "
                    f"{path.name} ({rows} x {columns}); take a smaller --patch"
                )
        first = first or (path.name, pixel, kind)
        if not np.isclose(pixel, first[1], rtol=1e-3):
            raise FgafError(
                f"{path.name} has pixels of {pixel:g} µm, {first[0]} of {first[1]:g} µm: curate "
                "them in separate sessions"
            )
        if kind != first[2]:
            raise FgafError(
                f"{path.name} is {kind}, {first[0]} {first[2]}: curate them in separate sessions"
            )
    return by_content


def open_session(
    folder: Path,
    paths: Sequence[Path] = (),
    settings: PatchSettings | None = None,
    *,
    pixel_size_um: float | None = None,
    head_um: float | None = None,
    read_only: bool = False,
    raw: Sequence[Path] = (),
) -> tuple[Session, str]:
    """Reopen the session of a folder, or create one for some raw stacks.

    Parameters
    ----------
    folder
        Folder of its journal.
    paths
        Its raw stacks; their cells are found later, with `find_cells`.
    settings, pixel_size_um, head_um
        Settings of a new session; None for the defaults. An existing session keeps its own.
    read_only
        Open it for reading only.
    raw
        Files and folders in which moved raw files of the session are looked for, besides `paths`.

    Returns
    -------
    The session, and a message for the user when it is read-only because another window has it; else
    empty.

    Raises
    ------
    SettingError
        The settings differ from the session's, or do not fit the stacks.
    FormatError
        The session or a raw file to add is damaged.
    FgafError
        There is no session and no stacks, or the folder cannot be written.
    """
    if not begun(folder):
        if read_only or not paths:
            raise FgafError(f"{folder} contains no session; give raw stacks to start one")
        require_workable(paths, settings or PatchSettings(), pixel_size_um)
        session = Session.create(
            folder,
            settings or PatchSettings(),
            pixel_size_um=pixel_size_um,
            head_um=head_um or HEAD_UM[0],
        )
        return session, ""
    places = [*raw, *paths]
    with Session.look(folder, places) as session:
        state = session.state
    if settings is not None and settings != state.settings:
        raise SettingError(
            f"{folder} is a session with {_as_options(state.settings)}, not "
            f"{_as_options(settings)}; leave them out, or start another session"
        )
    for name, given, kept in (
        ("--pixel-size", pixel_size_um, state.pixel_size_um),
        ("--head-length", head_um, state.head_um),
    ):
        if given is not None and given != kept:
            raise SettingError(
                f"{folder} is a session with {name} {kept or 'of each stack'}, not {given:g}; "
                "leave it out, or start another session"
            )
    known = [Path(ref.path) for f, ref in state.stacks.items() if f not in state.problems]
    require_workable([*known, *paths], state.settings, state.pixel_size_um)
    if read_only:
        return Session.look(folder, places), "open for reading only, as requested"
    try:
        return Session.open(folder, places), ""
    except LockedError as error:
        return Session.look(folder, places), str(error)
    except FormatError:
        raise
    except FgafError as error:
        raise FgafError(f"{error}; --read-only opens the session without writing") from error


def read_session(folder: Path, raw: Sequence[Path] = ()) -> Session:
    """Open a session for reading; new places of raw files are kept in its journal if possible.

    Parameters
    ----------
    folder
        Folder of its journal.
    raw
        Files and folders in which moved raw files are looked for.

    Raises
    ------
    FormatError
        There is no session, or it is of another version or damaged.
    FgafError
        A place in `raw` does not exist.
    """
    torn = None
    if raw:
        with (
            suppress(FgafError),  # in use, or not to be written: the places hold for this time
            Session.open(folder, raw) as written,
        ):
            torn = written.torn
    session = Session.look(folder, raw)
    session.torn = session.torn or torn
    return session


@dataclass(frozen=True)
class StackSearch:
    """All that the cells found in a raw stack depend on, except the file.

    Attributes
    ----------
    settings
        Patch size, step and half range.
    pixel_size_um
        Pixel in the specimen, µm; None for the stack's own.
    head_um
        Length of a head, µm.
    """

    settings: PatchSettings
    pixel_size_um: float | None = None
    head_um: float = HEAD_UM[0]

    @classmethod
    def of(cls, state: State) -> Self:
        """The search of a session."""
        return cls(state.settings, state.pixel_size_um, state.head_um)

    def __call__(self, path: Path) -> Found:
        """Find the cells of a raw stack, with one thread of linear algebra.

        Sums depend on the number of threads in their last digits.

        Raises
        ------
        SettingError
            The step is not a multiple of the stack's step, or its pixel size is unknown.
        FormatError
            The file is not a raw stack, or a checksum differs.
        """
        with threadpool_limits(1), RawStack.open(path, whole=True) as stack:
            pixel = pixel_size_of(stack, self.pixel_size_um)
            cases = find_in_cases(stack, pixel, head_um=self.head_um)
            ref = replace(StackRef.of(stack, pixel), vote=vote_of(cases[0]))
            likely, *other = [self._found(stack, ref, candidates) for candidates in cases]
            return replace(likely, otherwise=other[0] if other else None)

    def _found(self, stack: RawStack, ref: StackRef, candidates: list[Candidate]) -> Found:
        """Decide what a person must check."""
        said = doubts(
            stack.path.name,
            np.array([candidate.track.length for candidate in candidates]),
            stack.shape[1:],
            Scale(ref.pixel_size_um, self.head_um),
        )
        rejection_reasons = [
            rejection_reason(
                candidate,
                candidates,
                stack.z_um,
                stack.header.step_um,
                stack.shape[1:],
                self.settings,
                stack.path.name,
            )
            for candidate in candidates
        ]
        cells = [_cell(f"{ref.name}-{i:03d}", ref, c) for i, c in enumerate(candidates, start=1)]
        for i, cell in enumerate(cells):
            focus_um = candidates[i].suggestion.focus_um
            rejection_reasons[i] = rejection_reasons[i] or focus_rejection_reason(
                cell, ref, self.settings, focus_um
            )
            if cell.suggestion is not None and not cell.suggestion.problem:
                cell.suggestion = replace(cell.suggestion, problem=rejection_reasons[i])
        return Found(ref, cells, rejection_reasons, said)


def find_cells(path: Path, state: State) -> Found | None:
    """Find the cells of a raw stack; None if the session already has its content.

    Parameters
    ----------
    path
        Raw stack file.
    state
        State of the session: its settings, and the used names.

    Raises
    ------
    SettingError
        The step is not a multiple of the stack's step, or its pixel size is unknown.
    FormatError
        The file is not a raw stack, or a checksum differs.
    """
    with RawStack.open(path) as stack:
        if stack.fingerprint in state.stacks:
            return None
    found = StackSearch.of(state)(path)
    rule = Votes([*state.stacks.values(), found.ref]).rule_of(found.ref, LIKELY)
    return named(found.by(rule), state)


def named(found: Found, state: State) -> Found:
    """Give a stack and its cells names that the session does not use yet.

    Parameters
    ----------
    found
        The cells of a stack, named after its file.
    state
        State of the session.
    """
    name = _unique(found.ref.name, {stack.name for stack in state.stacks.values()})
    cells = [replace(cell, id=f"{name}-{i:03d}") for i, cell in enumerate(found.cells, start=1)]
    return replace(found, ref=replace(found.ref, name=name), cells=cells)


def take_in(session: Session, found: Found) -> None:
    """Add a stack and its cells to a session.

    Cells that are cut by the border at every possible focus are rejected by "auto", so that nobody
    needs to check them.

    Parameters
    ----------
    session
        Session to add to.
    found
        The cells found in one stack.
    """
    session.begin([found.ref], found.cells)
    state = session.state
    hopeless = [cell for cell in found.cells if state.border_reason(cell)]
    session.decide_all(
        [decision_of(state, cell.id, "reject", AUTO, reason=AT_BORDER) for cell in hopeless]
    )


def note_repeats(session: Session) -> list[list[str]]:
    """Find stacks of the same field, and record it in the session; returns their names."""
    state = session.state
    refs = list(state.stacks.values())
    places, tolerances = [], []
    for ref in refs:
        cells = [cell for cell in state.cells.values() if cell.stack == ref.fingerprint]
        middle = len(ref.z_um) // 2
        places.append(np.array([(c.y[middle], c.x[middle]) for c in cells]).reshape(-1, 2))
        tolerances.append(max(3.0, 0.4 * state.head_um / (ref.pixel_size_um or np.inf)))
    repeats = same_fields(places, [ref.shape for ref in refs], tolerances)
    for members in repeats:
        stacks = [refs[i] for i in members]
        given = [stack.field for stack in stacks if stack.field]
        label = given[0] if given else f"field of {stacks[0].name}"
        if any(stack.field != label for stack in stacks):
            session.add_field([stack.fingerprint for stack in stacks], label)
    return [[refs[i].name for i in members] for members in repeats]


def _cell(cell_id: str, ref: StackRef, candidate: Candidate) -> CellState:
    track, suggestion = candidate.track, candidate.suggestion
    return CellState(
        id=cell_id,
        stack=ref.fingerprint,
        y=np.round(track.y, 2),
        x=np.round(track.x, 2),
        height=track.height,
        width=track.width,
        score=track.score,
        jump=tuple(int(p) for p in np.flatnonzero(track.jump)),
        suggestion=by_focus_curve(suggestion),
    )


def by_focus_curve(suggestion: Suggestion) -> Suggested:
    """A suggestion of the focus curve as a journal record."""
    return Suggested(
        focus_um=round(suggestion.focus_um, 4),
        confidence=round(suggestion.confidence, 4),
        rule=suggestion.rule,
        problem=suggestion.problem,
        by=FOCUS_CURVE,
    )


def _as_options(settings: PatchSettings) -> str:
    return (
        f"--patch {settings.patch_px} --step {settings.step_um:g} "
        f"--half-range {settings.half_range_um:g}"
    )


def _unique(name: str, taken: set[str]) -> str:
    """A stack's name, with a number if another folder's stack has the same name."""
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}~{n}"
    return unique
