"""Raw stacks into a session: which they are, whether they go together, and the cells of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.folder_lock import LockedError
from fgaf.curate.candidates import Candidate, find_candidates, pixel_size_of, rejection_reason
from fgaf.curate.detection.crop import AT_BORDER, PatchSettings, stride_of
from fgaf.curate.detection.detect import HEAD_UM
from fgaf.curate.focus.suggest import Suggestion
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
from fgaf.dataset.raw import SUFFIX, RawStack

FOCUS_CURVE = "focus-curve"


@dataclass(frozen=True)
class Found:
    """The cells of one stack, and why each should not be taken unseen (empty: nothing)."""

    ref: StackRef
    cells: list[CellState]
    rejection_reasons: list[str]


def find_stacks(sources: Iterable[Path]) -> list[Path]:
    """List the raw stack files among files and folders, sorted within each folder.

    Raises
    ------
    FgafError
        A source is missing, is no raw stack, or a folder holds none.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(source.glob(f"*{SUFFIX}"))
            if not inside:
                raise FgafError(
                    f"{source} holds no raw stacks (*{SUFFIX}); make some with `acq stack` or "
                    "`fgaf-data import`"
                )
            found += inside
        elif not source.exists():
            raise FgafError(f"{source} does not exist")
        elif not source.name.endswith(SUFFIX):
            raise FgafError(f"{source} is no raw stack (*{SUFFIX}); see `fgaf-data import`")
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def require_workable(
    paths: Sequence[Path], settings: PatchSettings, pixel_size_um: float | None = None
) -> None:
    """Refuse stacks that the settings cannot be applied to, before anything is begun.

    Parameters
    ----------
    paths
        Raw stack files.
    settings
        Patch size, step and half range.
    pixel_size_um
        Pixel in the specimen, µm; None to take each stack's own.

    Raises
    ------
    SettingError
        The step is no multiple of a stack's, or a pixel size is not known.
    FgafError
        A patch is larger than a frame, or stacks differ in pixel size or depth.
    FormatError
        A file is no raw stack.
    """
    first: tuple[str, float, np.dtype[np.generic]] | None = None
    for path in paths:
        with RawStack.open(path) as stack:
            stride_of(settings, stack.header.step_um, path.name)
            pixel = pixel_size_of(stack, pixel_size_um)
            kind = stack.frames.dtype
            if settings.patch_px > min(stack.shape[1:]):
                rows, columns = stack.shape[1:]
                raise FgafError(
                    f"a patch of {settings.patch_px} pixels does not fit {path.name} "
                    f"({rows} x {columns}); take a smaller --patch"
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


def open_session(
    folder: Path,
    paths: Sequence[Path] = (),
    settings: PatchSettings | None = None,
    *,
    pixel_size_um: float | None = None,
    head_um: float | None = None,
    read_only: bool = False,
) -> tuple[Session, str]:
    """Reopen the session of a folder, or begin one for some raw stacks.

    Parameters
    ----------
    folder
        Where its journal lies, or will.
    paths
        Raw stacks that it is to hold; their cells are found later, with `find_cells`.
    settings, pixel_size_um, head_um
        Of a new session; None for the defaults. A session that exists keeps its own.
    read_only
        Only look at it.

    Returns
    -------
    The session, and a line to tell the person: another window has it, so it is read-only; empty
    where all is well.

    Raises
    ------
    SettingError
        Settings other than the session's, or that cannot be applied to the stacks.
    FormatError
        The session or a raw file is damaged or changed.
    FgafError
        No session and no stacks, or the folder cannot be written.
    """
    if not begun(folder):
        if read_only or not paths:
            raise FgafError(f"{folder} holds no session yet; name raw stacks to begin one")
        require_workable(paths, settings or PatchSettings(), pixel_size_um)
        session = Session.create(
            folder,
            settings or PatchSettings(),
            pixel_size_um=pixel_size_um,
            head_um=head_um or HEAD_UM[0],
        )
        return session, ""
    with Session.look(folder) as session:
        state = session.state
    if settings is not None and settings != state.settings:
        own = state.settings
        raise SettingError(
            f"{folder} is a session with --patch {own.patch_px} --step {own.step_um:g} "
            f"--half-range {own.half_range_um:g}; leave them out, or begin another session"
        )
    for name, given, kept in (
        ("--pixel-size", pixel_size_um, state.pixel_size_um),
        ("--head-length", head_um, state.head_um),
    ):
        if given is not None and given != kept:
            raise SettingError(f"{folder} is a session with another {name} ({kept}); leave it out")
    known = [Path(ref.path) for ref in state.stacks.values()]
    require_workable([*known, *paths], state.settings, state.pixel_size_um)
    if read_only:
        return Session.look(folder), "open for reading only, as asked"
    try:
        return Session.open(folder), ""
    except LockedError as error:
        return Session.look(folder), str(error)


def find_cells(path: Path, state: State) -> Found | None:
    """Find the cells of a raw stack; None where the session has its content already.

    Parameters
    ----------
    path
        Raw stack file.
    state
        The session so far: its settings, and the names that are taken.

    Raises
    ------
    SettingError
        The step is no multiple of the stack's, or its pixel size is not known.
    FormatError
        The file is no raw stack, or a checksum differs.
    """
    with RawStack.open(path, whole=True) as stack:
        pixel = pixel_size_of(stack, state.pixel_size_um)
        ref = StackRef.of(stack, pixel)
        if ref.fingerprint in state.stacks:
            return None
        ref = replace(ref, name=_unique(ref.name, {s.name for s in state.stacks.values()}))
        candidates = find_candidates(stack, pixel, head_um=state.head_um)
        rejection_reasons = [
            rejection_reason(
                candidate,
                candidates,
                stack.z_um,
                stack.header.step_um,
                stack.shape[1:],
                state.settings,
                path.name,
            )
            for candidate in candidates
        ]
    cells = [_cell(f"{ref.name}-{i:03d}", ref, c) for i, c in enumerate(candidates, start=1)]
    for i, cell in enumerate(cells):
        focus_um = candidates[i].suggestion.focus_um
        rejection_reasons[i] = rejection_reasons[i] or focus_rejection_reason(
            cell, ref, state.settings, focus_um
        )
        if cell.suggestion is not None and not cell.suggestion.problem:
            cell.suggestion = replace(cell.suggestion, problem=rejection_reasons[i])
    return Found(ref, cells, rejection_reasons)


def take_in(session: Session, found: Found) -> None:
    """Put a stack and its cells into a session, ready for a person.

    Cells that are cut by the border at every focus the stack could have are rejected by "auto",
    so that nobody need look at them.

    Parameters
    ----------
    session
        Gets the stack and its cells.
    found
        What was found in one stack.
    """
    session.begin([found.ref], found.cells)
    state = session.state
    hopeless = [
        cell
        for cell in found.cells
        if AT_BORDER in (reasons := {state.focus_rejection_reason(cell, z) for z in found.ref.z_um})
        and "" not in reasons
    ]
    session.decide_all(
        [decision_of(state, cell.id, "reject", AUTO, reason=AT_BORDER) for cell in hopeless]
    )


def note_repeats(session: Session) -> list[list[str]]:
    """Find stacks that show one field, and note it in the session; returns their names."""
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
    """A suggestion of the focus curve as the journal holds it."""
    return Suggested(
        focus_um=round(suggestion.focus_um, 4),
        confidence=round(suggestion.confidence, 4),
        rule=suggestion.rule,
        problem=suggestion.problem,
        by=FOCUS_CURVE,
    )


def _unique(name: str, taken: set[str]) -> str:
    """A stack's name, numbered where another folder's stack has it too."""
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}~{n}"
    return unique
