"""A curation session: decisions on cells, each on disk before the next.

The state of the session, now or at any earlier line, is read from its journal
(`fgaf.curate.session.state`). Nothing else is stored.

Raw files are found again when they were moved or renamed (`fgaf.curate.session.places`); the cells
of a file that is not found wait, and the others go on.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import ExistsError, FgafError
from fgaf.base.files import make_folder, require_new
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.session.history import ACTIONS, History
from fgaf.curate.session.journal import (
    FORMAT,
    FORMAT_VERSION,
    Journal,
    Record,
    begun,
    read_journal,
    set_aside,
)
from fgaf.curate.session.masks import box_of, write_mask
from fgaf.curate.session.places import beside, file_name, find_files, problem_of
from fgaf.curate.session.state import (
    CellState,
    Purpose,
    StackRef,
    State,
    Suggested,
    Verdict,
    apply,
    cell_records,
    place_record,
    read_again,
    read_state,
    stack_record,
    suggestion_record,
)
from fgaf.dataset.storage.header import software

_ON_A_CELL: Final = ("decision", "reopen", "nudge", "mask", "suggestion")
"""Kinds of records that change one cell."""


class Details(TypedDict, total=False):
    """Optional parts of a decision, see `decision_of`."""

    focus_um: float | None
    reason: str
    purpose: Purpose
    blind: bool
    seconds: float


class Session:
    """A session open for decisions, or, with `look`, for reading only.

    Use `create`, `open` or `look`, and ``with``, or `close` it.

    Attributes
    ----------
    folder
        Folder of the journal.
    records
        Every record so far, without torn lines.
    torn
        Number of a torn last line found at opening; None if there was none.
    """

    def __init__(
        self, folder: Path, journal: Journal | None, records: list[Record], torn: int | None
    ) -> None:
        self.folder = folder
        self.records = records
        self.torn = torn
        self._journal = journal
        self._state: State | None = None
        self._history: History | None = None
        self._problems: dict[str, str] = {}

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: PatchSettings,
        *,
        pixel_size_um: float | None = None,
        head_um: float = HEAD_UM[0],
        overwrite: bool = False,
    ) -> Self:
        """Create a session in a folder, which is made if missing.

        Parameters
        ----------
        folder
            Folder for its journal.
        settings
            Patch size, step and half range.
        pixel_size_um
            Pixel in the specimen, µm, for all stacks; None for each stack's own.
        head_um
            Length of a head, µm.
        overwrite
            Whether the journal of an earlier session is renamed.

        Raises
        ------
        ExistsError
            There is a session already.
        LockedError
            Another window or program is creating one, or has the earlier one open.
        SettingError
            The folder's name is not allowed; see `fgaf.base.files.require_new`.
        FgafError
            The folder cannot be written.
        """
        require_new(folder, overwrite=True)
        if begun(folder):
            if not overwrite:
                raise ExistsError(
                    f"{folder} already contains a session; choose another --session folder, or "
                    "pass --resume or --overwrite"
                )
            set_aside(folder)
        make_folder(folder)
        journal = Journal(folder)
        session = cls(folder, journal, journal.records, None)
        try:
            session._append(
                [
                    {
                        "record": "session",
                        "format": FORMAT,
                        "format_version": FORMAT_VERSION,
                        "uuid": str(uuid.uuid4()),
                        "folder": str(folder.resolve()),
                        "software": software(),
                        "settings": asdict(settings),
                        "pixel_size_um": pixel_size_um,
                        "head_um": head_um,
                    }
                ]
            )
        except FgafError:
            session.close()
            raise
        return session

    @classmethod
    def open(cls, folder: Path, raw: Sequence[Path] = ()) -> Self:
        """Reopen a session; new places of its raw files are written into the journal.

        Parameters
        ----------
        folder
            Folder of its journal.
        raw
            Files and folders in which moved raw files are looked for, see `relink`.

        Raises
        ------
        LockedError
            Another window or program has it open; use `look` instead.
        FormatError
            There is no session, or it is of another version or damaged.
        FgafError
            The folder cannot be written, or a place in `raw` does not exist.
        """
        read_state(read_journal(folder)[0], folder)  # before anything is locked or written
        journal = Journal(folder)
        session = cls(folder, journal, journal.records, journal.torn)
        try:
            session.relink(raw)
        except FgafError:
            session.close()
            raise
        return session

    @classmethod
    def look(cls, folder: Path, raw: Sequence[Path] = ()) -> Self:
        """Open a session for reading only: nothing is written or locked.

        Parameters
        ----------
        folder, raw
            As for `open`, also for the errors.
        """
        session = cls(folder, None, *read_journal(folder))
        session.relink(raw)
        return session

    def relink(self, raw: Sequence[Path] = ()) -> list[str]:
        """Look for the raw files that are not where the journal says; returns those found.

        They are looked for in `raw`, then where they were when the session began, then beside the
        session. What is wrong with the others is in `state.problems`.

        Parameters
        ----------
        raw
            Files, and folders that are searched with all folders inside them.

        Raises
        ------
        FgafError
            A place in `raw` does not exist, or the journal cannot be written.
        """
        state = self.state
        self._problems.clear()
        self._problems.update(
            (content, problem)
            for content, ref in state.stacks.items()
            if (problem := problem_of(ref.path, content))
        )
        lost = [state.stacks[content] for content in self._problems]
        wanted = {ref.fingerprint: (ref.source, file_name(ref.path)) for ref in lost}
        first = [state.first_place(ref) for ref in lost]
        found = find_files(wanted, raw, [*first, *beside(state.folder)])
        records = [place_record(content, path, state.folder) for content, path in found.items()]
        if self._journal is None:
            for record in records:
                apply(state, record)
        elif records:
            self._append(records)
        return [state.stacks[content].source for content in found]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal and release the session; no data are lost without it."""
        if self._journal is not None:
            self._journal.close()

    @property
    def read_only(self) -> bool:
        """Whether the session is read-only."""
        return self._journal is None

    @property
    def state(self) -> State:
        """The current state of the journal; read it again after every change."""
        if self._state is None:
            self._state = read_state(self.records, self.folder)
            self._state.problems = self._problems
        return self._state

    def changed_since(self, read: int) -> set[str] | None:
        """Names of the cells that the records after the first `read` are about.

        Parameters
        ----------
        read
            How many records were known.

        Returns
        -------
        The names; None where more changed, such as the list of cells.
        """
        changed = {
            str(origin["cell"]) if origin["record"] in _ON_A_CELL else None
            for origin in map(self._origin, self.records[read:])
        }
        names = {name for name in changed if name is not None}
        return names if len(names) == len(changed) else None

    def begin(
        self,
        stacks: Sequence[StackRef],
        cells: Sequence[CellState],
        decisions: Iterable[Record] = (),
    ) -> None:
        """Add raw files with their cells to the session; files with the same content only once.

        The cells and decisions count when the last line is on disk: a search interrupted by a crash
        is repeated.

        Parameters
        ----------
        stacks
            The raw files.
        cells
            Cells found in them.
        decisions
            Decisions on these cells, see `decision_of`.
        """
        known = self.state.stacks
        fresh = {stack.fingerprint: stack for stack in stacks if stack.fingerprint not in known}
        self._append(
            [record for cell in cells for record in cell_records(cell)]
            + list(decisions)
            + [stack_record(stack, self.state.folder) for stack in fresh.values()]
        )

    def add_field(self, fingerprints: Sequence[str], name: str) -> None:
        """Record that some stacks show the same field.

        Parameters
        ----------
        fingerprints
            Fingerprints of the stacks.
        name
            Name of the field.
        """
        self._append([{"record": "field", "stacks": list(fingerprints), "field": name}])

    def add_cell(self, cell: CellState) -> int:
        """Add a cell by hand; its `added_by` names the person. Returns the record's number.

        Raises
        ------
        FgafError
            There is already a cell of that name.
        """
        if cell.id in self.state.cells:
            raise FgafError(f"the session has a cell {cell.id!r} already")
        return self._append(cell_records(cell))[0]

    def suggest(self, suggestions: dict[str, Suggested]) -> None:
        """Replace suggestions, by cell."""
        for cell in suggestions:
            self._require(cell)
        self._append(suggestion_record(cell, s) for cell, s in suggestions.items())

    def decide(
        self, cell: str, verdict: Verdict, annotator: str, **details: Unpack[Details]
    ) -> int:
        """Decide on a cell; it is on disk when this returns. Returns the record's number.

        Parameters
        ----------
        cell, verdict, annotator, **details
            As for `decision_of`, also for the errors.
        """
        return self._append([decision_of(self.state, cell, verdict, annotator, **details)])[0]

    def decide_all(self, decisions: Sequence[Record]) -> None:
        """Write decisions made with `decision_of`, in one step that is undone at once."""
        self._append(self._in_one_step(decisions))

    def reopen(self, cells: Sequence[str], annotator: str, purpose: Purpose = "label") -> None:
        """Take back the decisions on cells, of whomever, in one step that is undone at once.

        Parameters
        ----------
        cells
            Names of the cells.
        annotator
            Who takes them back.
        purpose
            Which decisions; with the first label its review goes, too.

        Raises
        ------
        FgafError
            No such cell.
        """
        for cell in cells:
            self._require(cell)
        self._append(
            self._in_one_step(
                [
                    {"record": "reopen", "cell": cell, "purpose": purpose, "annotator": annotator}
                    for cell in cells
                ]
            )
        )

    def nudge(
        self, cell: str, dy: float, dx: float, annotator: str, plane: int | None = None
    ) -> int:
        """Move a cell's centre by (dy, dx) pixels in one plane, or in all (None).

        Parameters
        ----------
        cell
            Name of the cell.
        dy, dx
            Distance, pixels.
        annotator
            Who moves it.
        plane
            Number of the plane; None for all.

        Raises
        ------
        FgafError
            No such cell or plane.
        """
        about = self._require(cell)
        if plane is not None:
            self._require_plane(about, plane)
        record: Record = {"record": "nudge", "cell": cell, "plane": plane}
        record |= {"dy": round(dy, 2), "dx": round(dx, 2), "annotator": annotator}
        return self._append([record])[0]

    def draw(self, cell: str, plane: int, mask: npt.NDArray[np.bool_], annotator: str) -> int:
        """Store the mask of a cell's head in one plane; both are on disk when this returns.

        Parameters
        ----------
        cell
            Name of the cell.
        plane
            Number of the plane in which it was drawn.
        mask
            (Y, X) of the frame, true on the head. An empty one takes the plane's own mask away.
        annotator
            Who draws it.

        Returns
        -------
        The record's number.

        Raises
        ------
        FgafError
            No such cell or plane, a mask of another size, an empty one where there is none to take
            away, or the session cannot be written.
        """
        about = self._require(cell)
        self._require_plane(about, plane)
        frame = self.state.stacks[about.stack].shape
        if frame != (0, 0) and mask.shape != frame:
            raise FgafError(f"the mask is {mask.shape}, a frame {frame}: draw it on the frame")
        record: Record = {"record": "mask", "cell": cell, "plane": plane, "annotator": annotator}
        if not mask.any() and plane in about.masks:
            return self._append([record | {"sha256": ""}])[0]
        self._require_writable()
        rows, columns = box_of(mask)
        drawn = mask[rows, columns]
        record |= {"top": int(rows.start), "left": int(columns.start)}
        record |= {"height": drawn.shape[0], "width": drawn.shape[1]}
        return self._append([record | {"sha256": write_mask(self.folder, drawn)}])[0]

    def undo(self, number: int, annotator: str) -> int:
        """Undo a record by its number; undoing an undo is a redo.

        Parameters
        ----------
        number
            Number of the record to undo.
        annotator
            Who undoes it.

        Raises
        ------
        FgafError
            No action of a person has that number.
        """
        if self._record(number)["record"] not in (*ACTIONS, "undo"):
            raise FgafError(f"record {number} is not a decision: nothing to undo")
        return self._undo([number], annotator)[0]

    def undo_last(self, annotator: str) -> list[Record]:
        """Undo an annotator's latest step, also after a long time. Returns its records.

        Raises
        ------
        FgafError
            There is none.
        """
        done = self._follow().to_undo(annotator)
        if not done:
            raise FgafError(f"there is no action of {annotator} left to undo")
        numbers = list(done[-1].numbers)
        self._undo(numbers, annotator)
        return [self._record(number) for number in numbers]

    def redo_last(self, annotator: str) -> list[Record]:
        """Redo the step of an annotator's latest undo. Returns the records of that step.

        Raises
        ------
        FgafError
            There is none.
        """
        back = self._follow().to_redo(annotator)
        if not back:
            raise FgafError("nothing to redo")
        numbers = list(back[-1].numbers)
        self._undo(numbers, annotator)
        return [self._origin(self._record(number)) for number in numbers]

    def _undo(self, numbers: Sequence[int], annotator: str) -> list[int]:
        return self._append(
            self._in_one_step(
                [{"record": "undo", "of": number, "annotator": annotator} for number in numbers]
            )
        )

    def _in_one_step(self, records: Sequence[Record]) -> list[Record]:
        """Mark records, if there are several, with the number that the first of them will get."""
        if len(records) < 2:
            return list(records)
        return [record | {"step": int(self.records[-1]["number"]) + 1} for record in records]

    def _require_writable(self) -> Journal:
        if self._journal is None:
            raise FgafError(
                f"{self.folder} is open for reading only, because of --read-only or because it is "
                "open in another window; close that window and open this session again"
            )
        return self._journal

    def _append(self, records: Iterable[Record]) -> list[int]:
        journal = self._require_writable()
        state = self.state if self.records else None
        numbered = journal.append(records)
        self._state = state
        undone = [self._origin(record) for record in numbered if record["record"] == "undo"]
        if state is None or any(record["record"] == "cell" for record in undone):
            self._state = None
        elif undone:
            names = {str(record["cell"]) for record in undone} & state.cells.keys()
            read_again(state, self._follow(), names)
        else:
            for record in numbered:
                apply(state, record)
        return [int(record["number"]) for record in numbered]

    def _follow(self) -> History:
        if self._history is None:
            self._history = History(self.records)
        return self._history.follow()

    def _record(self, number: int) -> Record:
        at = bisect_left(self.records, number, key=lambda record: int(record["number"]))
        if at == len(self.records) or self.records[at]["number"] != number:
            raise FgafError(f"there is no record {number}: nothing to undo")
        return self.records[at]

    def _origin(self, record: Record) -> Record:
        """The action that a chain of undos is about."""
        while record["record"] == "undo":
            record = self._record(record["of"])
        return record

    def _require(self, cell: str) -> CellState:
        return _cell_of(self.state, cell)

    def _require_plane(self, cell: CellState, plane: int) -> None:
        if not 0 <= plane < len(cell.y):
            raise FgafError(f"cell {cell.id!r} has no plane {plane + 1}: there are {len(cell.y)}")


def _cell_of(state: State, cell: str) -> CellState:
    if cell not in state.cells:
        raise FgafError(f"the session has no cell {cell!r}")
    return state.cells[cell]


def decision_of(
    state: State,
    cell: str,
    verdict: Verdict,
    annotator: str,
    focus_um: float | None = None,
    reason: str = "",
    *,
    purpose: Purpose = "label",
    blind: bool = False,
    seconds: float = 0.0,
) -> Record:
    """Make the record of a decision.

    Parameters
    ----------
    state
        State of the session.
    cell
        Name of the cell.
    verdict
        "accept" the suggestion, set the "focus" to `focus_um`, "reject" with a `reason`, or
        "unsure".
    annotator
        The person, or `fgaf.curate.session.state.AUTO`.
    focus_um
        Drive position of the focus, µm, if the verdict is "focus".
    reason
        Reason, for example of a rejection.
    purpose
        Whether it is the first label, a second one or a review.
    blind
        Whether the suggestion was hidden.
    seconds
        How long the cell was shown.

    Raises
    ------
    FgafError
        No such cell, no suggestion to accept, no focus to set, patches that cannot be cut, or a
        second label without a first one.
    """
    about = _cell_of(state, cell)
    suggestion = None if blind else about.suggestion
    if verdict == "accept":
        if suggestion is None:
            raise FgafError(f"nothing is suggested for cell {cell!r}: set its focus instead")
        focus_um = suggestion.focus_um
    if verdict == "focus" and focus_um is None:
        raise FgafError(f"no focus was given for cell {cell!r}")
    if purpose != "label" and about.label is None:
        raise FgafError(f"cell {cell!r} has no first label: give it one before the second label")
    if verdict in ("accept", "focus") and focus_um is not None:
        reason = state.focus_rejection_reason(about, focus_um)
        if reason:
            raise FgafError(f"cell {cell!r} cannot be kept at {focus_um:.2f} µm: {reason}")
    return {
        "record": "decision",
        "cell": cell,
        "verdict": verdict,
        "focus_um": focus_um if verdict in ("accept", "focus") else None,
        "reason": reason,
        "annotator": annotator,
        "purpose": purpose,
        "suggested_um": None if suggestion is None else suggestion.focus_um,
        "suggested_by": "" if suggestion is None else suggestion.by,
        "seconds": round(seconds, 2),
    }
