"""One person at a session: the current cell and plane, and the actions of the keys.

The logic of the curation window without its display; a script can call the same methods.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.journal import Record
from fgaf.curate.session.manual_cell import cell_at
from fgaf.curate.session.masks import nearest_mask, paint, shift
from fgaf.curate.session.queue import QueueSettings, is_done, neutral_plane, queue_of
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import (
    CellState,
    Decision,
    Purpose,
    StackRef,
    Suggested,
    Verdict,
)
from fgaf.curate.session.status import status
from fgaf.dataset.raw import RawStack

REASONS: Final = (
    "not a sperm",
    "overlaps another cell",
    "cut by the border",
    "no focus in the stack",
    "lost between planes",
    "dead or deformed",
)
"""Reasons of rejection, in the order of the number keys."""
_PAUSE_S: Final = 30.0
"""Maximum time counted without a key: after that the person was away."""


class AnnotationController:
    """A person's view of a session, and actions on it.

    Parameters
    ----------
    session
        Open session.
    annotator
        The person's name.
    queue
        The cells and their order.
    advance
        Whether the next open cell is shown after a decision.
    closeups
        Pictures of the cells; with them a blind pass begins a cell in a plane where it is seen.
    clock
        Seconds; replaced in tests.

    Attributes
    ----------
    names
        The cells of the queue whose raw file can be used, in order.
    name
        The cell in view; None if there is none.
    plane
        The plane in view.
    """

    def __init__(
        self,
        session: Session,
        annotator: str,
        queue: QueueSettings | None = None,
        *,
        advance: bool = True,
        closeups: Closeups | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.annotator = annotator
        self.advance = advance
        self.queue = queue or QueueSettings()
        self._closeups = closeups
        self._clock = clock
        self._touched = clock()
        self._seconds = 0.0
        self._listed: set[str] = set()
        self._open: set[str] = set()
        self._read = 0
        self.names: list[str] = []
        self.name: str | None = None
        self.plane = 0
        self.show(self.queue)

    @property
    def cell(self) -> CellState | None:
        """The cell in view."""
        return None if self.name is None else self.session.state.cells[self.name]

    @property
    def stack(self) -> StackRef | None:
        """The raw stack of the cell in view."""
        cell = self.cell
        return None if cell is None else self.session.state.stacks[cell.stack]

    @property
    def suggestion(self) -> Suggested | None:
        """The suggestion, unless this pass is blind."""
        cell = self.cell
        return None if cell is None or self.queue.blind else cell.suggestion

    @property
    def decision(self) -> Decision | None:
        """The decision that this pass shows: a blind pass shows only its own."""
        cell = self.cell
        if cell is None:
            return None
        return cell.second if self.queue.blind else cell.decision

    @property
    def left(self) -> int:
        """Cells of the queue that are not done."""
        return len(self._to_do())

    def done(self, name: str) -> bool:
        """Whether a cell of the queue is done."""
        return is_done(self.session.state.cells[name], self.queue.task)

    def show(self, queue: QueueSettings) -> None:
        """Start another queue, at its first open cell."""
        self.queue = queue
        self._list()
        self.name = None
        self.first_open()

    def refresh(self) -> None:
        """Add new cells to the queue; the current cell stays in view."""
        self._list()
        if self.name not in self.names:
            self.name = None
            self.first_open()

    def step(self, planes: int) -> None:
        """Go up or down some planes, at most to the end of the stack."""
        if self.cell is not None:
            self.to_plane(self.plane + planes)

    def to_plane(self, plane: int) -> None:
        """Go to a plane, at most to the end of the stack."""
        self._touch()
        if self.cell is not None:
            self.plane = min(max(plane, 0), len(self.cell.y) - 1)

    def go(self, name: str) -> None:
        """Show a cell at the plane of its decision or of its suggestion."""
        state = self.session.state
        if name not in state.cells:
            raise FgafError(f"the session has no cell {name!r}")
        self.name = name
        self._seconds, self._touched = 0.0, self._clock()
        cell, decision = state.cells[name], self.decision
        if decision is not None and decision.focus_um is not None:
            self.plane = state.plane_of(cell, decision.focus_um)
        elif self.suggestion is not None:
            self.plane = state.plane_of(cell, self.suggestion.focus_um)
        else:
            self.plane = neutral_plane(cell, self._seen(cell))
        self.plane = min(max(self.plane, 0), len(cell.y) - 1)

    def show_cell(self, name: str) -> None:
        """Show a cell, also one that is not in the queue: it then comes at its end."""
        self.go(name)
        if name not in self._listed:
            self._enlist(name, len(self.names))

    def next(self) -> str:
        """Go to the next cell of the queue."""
        return self._along(1)

    def previous(self) -> str:
        """Go to the previous cell of the queue."""
        return self._along(-1)

    def progress(self) -> list[str]:
        """Lines on the session; in a blind pass nothing that tells of first labels."""
        if not self.queue.blind:
            return status(self.session.state).lines()
        done = [self.session.state.cells[name].second for name in self.names]
        times = [d.seconds for d in done if d is not None and d.seconds > 0]
        lines = [
            f"blind second pass by {self.annotator}: {count(len(self.names), 'cell')}, "
            f"{len(self.names) - self.left} done, {self.left} to do",
            "first labels and suggestions are hidden until the pass is done",
        ]
        return [*lines, f"{median(times):.1f} s for a cell (median)"] if times else lines

    def first_open(self) -> str:
        """Go to the first cell that is not done; stay if all are done."""
        to_do = self._to_do()
        name = next((name for name in self.names if name in to_do), None)
        if name is None and self.name is None and self.names:
            name = self.names[0]
        if name is not None:
            self.go(name)
        return "" if self.left else self._all_done()

    def accept(self) -> str:
        """Keep the cell with the suggested focus."""
        if self.queue.blind:
            raise FgafError("this pass is blind, without suggestions: set the focus")
        return self._decide("accept")

    def focus_here(self) -> str:
        """Keep the cell with its focus in the plane in view."""
        stack = self._stack()
        return self._decide("focus", focus_um=float(self._z(stack)[self.plane]))

    def reject(self, reason: str = "") -> str:
        """Reject the cell."""
        return self._decide("reject", reason=reason)

    def unsure(self) -> str:
        """Flag the cell: it is not kept, and is shown again in the queue "unsure"."""
        return self._decide("unsure")

    def reject_all(self, names: Sequence[str], reason: str = "") -> str:
        """Reject several cells at once; one undo takes it back.

        Parameters
        ----------
        names
            Names of the cells.
        reason
            Why, for all of them.

        Raises
        ------
        FgafError
            The raw file of one cannot be used, so that nobody sees it.
        """
        state = self.session.state
        unseen = [name for name in names if not state.usable(state.cells[name])]
        if unseen:
            raise FgafError(
                f"the raw files of {count(len(unseen), 'cell')} cannot be used, as of {unseen[0]}: "
                "select the others only"
            )
        for name in names:
            self._require_usable(name)
        self.session.decide_all(
            [
                decision_of(
                    state,
                    name,
                    "reject",
                    self.annotator,
                    reason=reason,
                    purpose=self._purpose(name),
                    blind=self.queue.blind,
                )
                for name in names
            ]
        )
        return f"rejected {count(len(names), 'cell')}{f': {reason}' if reason else ''}"

    def reopen(self, names: Sequence[str]) -> str:
        """Take back the decisions on cells, of "auto" or a person; one undo decides them again.

        Parameters
        ----------
        names
            Names of the cells; those without a decision are left out.
        """
        decided = [name for name in names if self.is_decided(name)]
        if not decided:
            return "there is no decision to take back"
        self.session.reopen(decided, self.annotator, self.queue.purpose)
        self.refresh()
        state = self.session.state
        cut = sum(bool(state.border_reason(state.cells[name])) for name in decided)
        also = f"; {count(cut, 'cell')} cannot be kept, as the border cuts the patch" if cut else ""
        return f"open for a decision again: {count(len(decided), 'cell')}{also}"

    def is_decided(self, name: str) -> bool:
        """Whether a cell has a decision of the kind that this queue makes."""
        cell = self.session.state.cells[name]
        if self.queue.purpose == "label":
            return cell.decision is not None
        return (cell.second if self.queue.purpose == "second" else cell.review) is not None

    def nudge(self, dy: float, dx: float, every: bool) -> str:
        """Move the crop by some pixels in the plane in view, or in every plane.

        Parameters
        ----------
        dy, dx
            How far, pixels.
        every
            Whether to move it in every plane, not only in the current one.
        """
        self._touch()
        name = self._name()
        self.session.nudge(name, dy, dx, self.annotator, None if every else self.plane)
        return "moved in all planes" if every else f"moved in plane {self.plane + 1}"

    def place(self, plane: int, y: float, x: float) -> str:
        """Set the crop's centre in one plane.

        Parameters
        ----------
        plane
            Number of the plane.
        y, x
            The new centre, pixels.
        """
        self._touch()
        cell = self.cell
        if cell is None:
            raise FgafError("no cell is in view")
        dy, dx = y - float(cell.y[plane]), x - float(cell.x[plane])
        self.session.nudge(cell.id, dy, dx, self.annotator, plane)
        return f"moved in plane {plane + 1}"

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """The mask of the head that counts in the plane in view; None without any.

        Parameters
        ----------
        shape
            (Y, X) of the frame, and of the mask.
        """
        cell = self.cell
        if cell is None or (drawn := nearest_mask(cell.masks, self.plane)) is None:
            return None
        dy, dx = shift(cell.y, cell.x, drawn.plane, self.plane)
        frame = np.zeros(shape, np.bool_)
        paint(frame, self.session.folder, drawn, (drawn.top + dy, drawn.left + dx))
        return frame

    def draw(self, mask: npt.NDArray[np.bool_], plane: int) -> str:
        """Store the mask of the cell's head in a plane; an empty one takes it away.

        Parameters
        ----------
        mask
            (Y, X) of the frame, true on the head.
        plane
            Number of the plane in which it was drawn.
        """
        self._touch()
        name = self._name()
        self._require_usable(name)
        self.session.draw(name, plane, mask, self.annotator)
        return f"{name}: mask of plane {plane + 1} {'stored' if mask.any() else 'taken away'}"

    def add(self, y: float, x: float, fingerprint: str | None = None) -> str:
        """Add the cell at a position of a stack (by default that of the current cell), and show it.

        Parameters
        ----------
        y, x
            Position of the cell in the current plane, pixels.
        fingerprint
            Fingerprint of the stack; None for that of the current cell.
        """
        state = self.session.state
        ref = self._stack() if fingerprint is None else state.stacks[fingerprint]
        with RawStack.open(Path(ref.path)) as stack:
            plane = min(self.plane, stack.n_planes - 1)
            cell = cell_at(stack, ref, state, plane, y, x, self.annotator)
        self.session.add_cell(cell)
        where = self.names.index(self.name) + 1 if self.name in self._listed else len(self.names)
        self._enlist(cell.id, where)
        self.go(cell.id)
        return f"added {cell.id}"

    def undo(self) -> str:
        """Undo this person's latest action, and show its cell."""
        return f"undone: {self._back_at(self.session.undo_last(self.annotator))}"

    def redo(self) -> str:
        """Redo the action of the latest undo, and show its cell."""
        return f"redone: {self._back_at(self.session.redo_last(self.annotator))}"

    def _decide(self, verdict: Verdict, focus_um: float | None = None, reason: str = "") -> str:
        self._touch()
        name = self._name()
        self._require_usable(name)
        self.session.decide(
            name,
            verdict,
            self.annotator,
            focus_um=focus_um,
            reason=reason,
            purpose=self.queue.purpose,
            blind=self.queue.blind,
            seconds=self._seconds,
        )
        decision = self.decision
        words = f"{name}: {decision.words if decision is not None else verdict}"
        if self.advance:
            self._on()
        return words if self.left else f"{words}. {self._all_done()}"

    def _require_usable(self, name: str) -> None:
        """Refuse a decision on a cell that cannot be shown."""
        if not self.session.state.usable(self.session.state.cells[name]):
            raise FgafError(f"the raw file of {name} cannot be used: nothing can be decided on it")

    def _list(self) -> None:
        """Make the queue anew."""
        state = self.session.state
        names = queue_of(state, self.queue, self.annotator)
        self.names = [name for name in names if state.usable(state.cells[name])]
        self._listed = set(self.names)
        self._open = {name for name in self.names if not self.done(name)}
        self._read = len(self.session.records)

    def _enlist(self, name: str, at: int) -> None:
        """Put a cell into the queue."""
        self.names.insert(at, name)
        self._listed.add(name)
        if not self.done(name):
            self._open.add(name)

    def _to_do(self) -> set[str]:
        """Cells of the queue that are not done."""
        records = self.session.records
        if self._read != len(records):
            changed = self.session.changed_since(self._read)
            changed = self._listed if changed is None else changed & self._listed
            self._open -= changed
            self._open |= {name for name in changed if not self.done(name)}
            self._read = len(records)
        return self._open

    def _on(self) -> None:
        """Go to the next open cell after this one, else to the first open one."""
        here = self.names.index(self.name) if self.name in self._listed else -1
        to_do = self._to_do()
        later = chain(islice(self.names, here + 1, None), islice(self.names, here + 1))
        if (name := next((name for name in later if name in to_do), None)) is not None:
            self.go(name)

    def _seen(self, cell: CellState) -> npt.NDArray[np.intp] | None:
        """Planes in which a cell is seen; None where no pictures are at hand."""
        if self._closeups is not None:
            with suppress(FgafError, OSError):  # the panel says it
                ref = self.session.state.stacks[cell.stack]
                return self._closeups.of(cell, ref, quick=True).lit()
        return None

    def _along(self, by: int) -> str:
        if not self.names:
            return "there is no cell in this queue"
        here = self.names.index(self.name) if self.name in self._listed else 0
        to = here + by
        if not 0 <= to < len(self.names):
            return "this is the last cell" if by > 0 else "this is the first cell"
        self.go(self.names[to])
        return ""

    def _back_at(self, records: Sequence[Record]) -> str:
        """Show the first cell of some records, and describe the records."""
        first, state = records[0], self.session.state
        kinds = {str(record["record"]) for record in records}
        if kinds & {"cell", "reopen"}:
            self.refresh()
        if (name := str(first["cell"])) in state.cells:
            self.show_cell(name)
        words = {
            "decision": first.get("verdict"),
            "reopen": "reopening",
            "nudge": "move",
            "mask": "mask",
            "cell": "added cell",
        }
        what = name if len(records) == 1 else count(len(records), "cell")
        return f"{words[first['record']]} of {what}"

    def _all_done(self) -> str:
        return "all cells in this queue are done" if self.names else "no cell is in this queue"

    def _purpose(self, name: str) -> Purpose:
        """The purpose of a decision on a cell, which may be outside of the queue."""
        return self.queue.purpose if name in self._listed else "label"

    def _touch(self) -> None:
        now = self._clock()
        self._seconds += min(now - self._touched, _PAUSE_S)
        self._touched = now

    def _name(self) -> str:
        if self.name is None:
            raise FgafError("no cell is in view")
        return self.name

    def _stack(self) -> StackRef:
        stack = self.stack
        if stack is None:
            raise FgafError("no cell is in view")
        return stack

    def _z(self, stack: StackRef) -> tuple[float, ...]:
        if stack.z_um:
            return stack.z_um
        with RawStack.open(Path(stack.path)) as raw:
            return tuple(float(z) for z in raw.z_um)
