"""Curation without a person: every cell's suggestion is accepted, or rejected for a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fgaf.curate.candidates import Candidate, find_candidates, objection, pixel_size_of
from fgaf.curate.compile import AUTO
from fgaf.curate.crop import PatchSettings, stride_of
from fgaf.curate.detect import HEAD_UM
from fgaf.curate.fields import same_fields
from fgaf.curate.session import CellState, Record, Session, StackRef, Suggested, decision_of
from fgaf.dataset.errors import FgafError
from fgaf.dataset.raw import SUFFIX, RawStack


@dataclass
class StackReport:
    """What became of the cells of one stack."""

    name: str
    found: int = 0
    kept: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """Say it in one line."""
        parts = [f"{self.name}: {self.found} found, {self.kept} kept"]
        parts += [f"{n} {reason}" for reason, n in sorted(self.dropped.items())]
        return ", ".join(parts)


@dataclass(frozen=True)
class AutoReport:
    """What became of all stacks, and which of them were found to show one field."""

    stacks: list[StackReport]
    repeats: list[list[str]]

    @property
    def kept(self) -> int:
        """Cells kept in all stacks."""
        return sum(stack.kept for stack in self.stacks)


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
        A patch is larger than a frame.
    FormatError
        A file is no raw stack.
    """
    for path in paths:
        with RawStack.open(path) as stack:
            stride_of(settings, stack.header.step_um, path.name)
            pixel_size_of(stack, pixel_size_um)
            if settings.patch_px > min(stack.shape[1:]):
                rows, columns = stack.shape[1:]
                raise FgafError(
                    f"a patch of {settings.patch_px} pixels does not fit {path.name} "
                    f"({rows} x {columns}); take a smaller --patch"
                )


def auto(
    paths: Sequence[Path],
    session: Session,
    pixel_size_um: float | None = None,
    *,
    head_um: float = HEAD_UM[0],
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> AutoReport:
    """Find, follow, judge and decide on the cells of some stacks; all goes into the session.

    Parameters
    ----------
    paths
        Raw stack files.
    session
        A fresh session.
    pixel_size_um
        Pixel in the specimen, µm; None to take each stack's own.
    head_um
        Length of a head, µm.
    progress
        Wraps the paths while they are worked on.

    Raises
    ------
    SettingError
        The step is no multiple of a stack's, or a pixel size is not known.
    FormatError
        A file is no raw stack.
    """
    settings = session.state.settings
    require_workable(paths, settings, pixel_size_um)
    reports, places, shapes, tolerances, prints = [], [], [], [], []
    taken: set[str] = set()
    for path in progress(paths):
        with RawStack.open(path) as stack:
            ref = StackRef.of(stack)
            if ref.fingerprint in prints:
                continue
            pixel = pixel_size_of(stack, pixel_size_um)
            candidates = find_candidates(stack, pixel, head_um=head_um)
            session.add_stacks([ref])
            name = _unique(ref.name, taken)
            reports.append(_decide(session, stack, name, ref, candidates, settings))
            prints.append(ref.fingerprint)
            middle = stack.n_planes // 2
            places.append(
                np.array([(c.track.y[middle], c.track.x[middle]) for c in candidates]).reshape(
                    -1, 2
                )
            )
            shapes.append(stack.shape[1:])
            tolerances.append(max(3.0, 0.4 * head_um / pixel))
    repeats = same_fields(places, shapes, tolerances)
    stacks = session.state.stacks
    for members in repeats:
        given = [stacks[prints[i]].field for i in members if stacks[prints[i]].field]
        label = given[0] if given else f"field of {reports[members[0]].name}"
        session.add_field([prints[i] for i in members], label)
    return AutoReport(reports, [[reports[i].name for i in members] for members in repeats])


def _decide(
    session: Session,
    stack: RawStack,
    name: str,
    ref: StackRef,
    candidates: list[Candidate],
    settings: PatchSettings,
) -> StackReport:
    report = StackReport(name, found=len(candidates))
    cells = [_cell(f"{name}-{i:03d}", ref, c) for i, c in enumerate(candidates, start=1)]
    session.add_cells(cells)
    state = session.state
    decisions: list[Record] = []
    for cell, candidate in zip(cells, candidates, strict=True):
        rule = candidate.suggestion.rule
        report.rules[rule] = report.rules.get(rule, 0) + 1
        reason = objection(
            candidate,
            candidates,
            stack.z_um,
            stack.header.step_um,
            stack.shape[1:],
            settings,
            stack.path.name,
        )
        if reason:
            report.dropped[reason] = report.dropped.get(reason, 0) + 1
            decisions.append(decision_of(state, cell.id, "reject", AUTO, reason=reason))
        else:
            report.kept += 1
            decisions.append(decision_of(state, cell.id, "accept", AUTO))
    session.append(decisions)
    return report


def _cell(cell_id: str, ref: StackRef, candidate: Candidate) -> CellState:
    track, suggestion = candidate.track, candidate.suggestion
    return CellState(
        id=cell_id,
        stack=ref.fingerprint,
        y=track.y,
        x=track.x,
        height=track.height,
        width=track.width,
        score=track.score,
        jump=tuple(int(p) for p in np.flatnonzero(track.jump)),
        suggestion=Suggested(
            focus_um=round(suggestion.focus_um, 4),
            confidence=round(suggestion.confidence, 4),
            rule=suggestion.rule,
            problem=suggestion.problem,
            by="focus-curve",
        ),
    )


def _unique(name: str, taken: set[str]) -> str:
    """A stack's name, numbered where another folder's stack has it too."""
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}~{n}"
    taken.add(unique)
    return unique
