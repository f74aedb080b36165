"""A list of cells to look through: what to show of each, filtered, sorted, found by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.curate.focus.suggest import CONFIDENT
from fgaf.curate.session.queue import QueueSettings, neutral_plane, reading_order
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import AUTO, CellState, Decision, State

CellStatus = Literal[
    "open", "kept", "kept by auto", "rejected", "rejected by auto", "unsure", "done", ""
]
Sort = Literal["position", "uncertainty", "name", "focus"]

SORTS: Final[dict[Sort, str]] = {
    "position": "stack by stack, row by row",
    "uncertainty": "the least certain first",
    "name": "cell2 before cell10",
    "focus": "from the lowest focus to the highest",
}
CONFIDENCES: Final = {
    "any confidence": (0.0, 1.0),
    f"below {CONFIDENT:.0%}": (0.0, CONFIDENT - 1e-9),
    f"{CONFIDENT:.0%} to 80%": (CONFIDENT, 0.8 - 1e-9),
    "80% and more": (0.8, 1.0),
}
"""Ranges of confidence to choose from."""
WITH_MASK: Final = "head drawn"
WITHOUT_MASK: Final = "head not drawn"
"""Whether a cell has a mask of its head."""
_DIGITS: Final = re.compile(r"(\d+)")
_LAST: Final = float("inf")


@dataclass(frozen=True)
class Picture:
    """Where the picture of a cell is cut.

    Attributes
    ----------
    source
        Fingerprint of the raw stack.
    plane
        Number of the plane.
    y, x
        Centre, pixels.
    others
        Plane, y and x to take instead, in this order, where the cell is not seen in the plane.
    """

    source: str
    plane: int
    y: float
    x: float
    others: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class Entry:
    """One cell of the list.

    Attributes
    ----------
    name
        Name of the cell.
    status
        How it was decided, or what part of an archive it belongs to.
    reason
        Why it was rejected, or what is in doubt.
    sample
        Sample; empty if unknown.
    confidence
        0 to 1; None where unknown, or hidden.
    focus_um
        Focus that is decided, else suggested; None where unknown, or hidden.
    place
        Sorts by position.
    picture
        Where its picture is found.
    mask
        `WITH_MASK` or `WITHOUT_MASK`; empty where masks are hidden.
    """

    name: str
    status: str
    reason: str
    sample: str
    confidence: float | None
    focus_um: float | None
    place: tuple[float, ...]
    picture: Hashable
    mask: str = ""


@dataclass(frozen=True)
class Filter:
    """Which cells to list; empty for all.

    Attributes
    ----------
    status, reason, sample, mask
        As in `Entry`.
    confidence
        Lowest and highest confidence; an unknown one counts as 0.
    """

    status: str = ""
    reason: str = ""
    sample: str = ""
    confidence: tuple[float, float] = (0.0, 1.0)
    mask: str = ""

    def shows(self, entry: Entry) -> bool:
        """Whether a cell is listed."""
        low, high = self.confidence
        return (
            self.status in ("", entry.status)
            and self.reason in ("", entry.reason)
            and self.sample in ("", entry.sample)
            and self.mask in ("", entry.mask)
            and low <= (entry.confidence or 0.0) <= high
        )


def listed(entries: Iterable[Entry], which: Filter, sort: Sort = "position") -> list[Entry]:
    """Filter and sort the entries.

    Parameters
    ----------
    entries
        All of them.
    which
        Which to list.
    sort
        See `SORTS`; equal ones by position.
    """
    return sorted(filter(which.shows, entries), key=sort_key(sort))


def sort_key(sort: Sort) -> Callable[[Entry], Any]:
    """Key that sorts entries.

    Parameters
    ----------
    sort
        See `SORTS`; equal ones by position.
    """
    keys: dict[Sort, Callable[[Entry], Any]] = {
        "position": lambda entry: entry.place,
        "uncertainty": lambda entry: (entry.confidence or 0.0, entry.place),
        "name": lambda entry: (natural(entry.name), entry.place),
        "focus": lambda entry: (_LAST if entry.focus_um is None else entry.focus_um, entry.place),
    }
    return keys[sort]


def natural(text: str) -> tuple[Any, ...]:
    """Key that sorts numbers in names by their value.

    Examples
    --------
    >>> sorted(["cell10", "cell2"], key=natural)
    ['cell2', 'cell10']
    """
    parts = _DIGITS.split(text.casefold())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))


def named(name: str, names: Collection[str]) -> str:
    """Find the cell that a person means: its name, or the only name that contains it.

    Parameters
    ----------
    name
        As typed; the case does not matter.
    names
        The names of all cells.

    Raises
    ------
    SettingError
        None is meant, or several are.
    """
    typed = name.strip().casefold()
    for known in names:
        if known.casefold() == typed:
            return known
    close = [known for known in names if typed and typed in known.casefold()]
    if len(close) == 1:
        return close[0]
    if close:
        few = ", ".join(sorted(close, key=natural)[:3])
        raise SettingError(f"{len(close)} cells have {name!r} in their name: {few}, …; type more")
    hint = nearest(name, names)
    raise SettingError(
        f"no cell is named {name!r}; {hint if hint.startswith('did') else 'check the name'}"
    )


class Catalogue:
    """The entries of a session; after a change only those of changed cells are made anew.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, Entry] = {}
        self._made_of: tuple[bool, int] | None = None
        self._state: State | None = None
        self._read = 0

    def of(self, queue: QueueSettings, names: Collection[str]) -> list[Entry]:
        """List the cells.

        A blind pass lists only the cells of its queue, each in a neutral plane in which it is
        seen, and of the decisions only its own.

        Parameters
        ----------
        queue
            Which queue is worked on.
        names
            The cells of that queue.
        """
        if self.changes(queue, names) is None:
            state = self._session.state
            listed = (n for n in names if n in state.cells) if queue.blind else state.cells
            self._made = {name: self._entry(name, queue) for name in listed}
            self._made_of, self._state = self._key(queue, names), state
            self._read = len(self._session.records)
        return list(self._made.values())

    def changes(self, queue: QueueSettings, names: Collection[str]) -> list[Entry] | None:
        """Entries that are new since the cells were last listed; None where all must be listed.

        Parameters
        ----------
        queue, names
            As of `of`.
        """
        changed = self._session.changed_since(self._read)
        same = self._state is self._session.state and self._made_of == self._key(queue, names)
        if changed is None or not same:
            return None
        self._read = len(self._session.records)
        new = {name: self._entry(name, queue) for name in changed if name in self._made}
        new = {name: entry for name, entry in new.items() if entry != self._made[name]}
        self._made |= new
        return list(new.values())

    def _key(self, queue: QueueSettings, names: Collection[str]) -> tuple[bool, int]:
        return queue.blind, len(names if queue.blind else self._session.state.cells)

    def _entry(self, name: str, queue: QueueSettings) -> Entry:
        state = self._session.state
        return _entry(state.cells[name], state, queue.blind)


def status_of(cell: CellState, blind: bool = False) -> CellStatus:
    """How a cell was decided.

    Parameters
    ----------
    cell
        The cell.
    blind
        Whether first labels are hidden: only whether the second label is there.
    """
    if blind:
        return "open" if cell.second is None else "done"
    decision = cell.decision
    if decision is None:
        return "open"
    if decision.annotator == AUTO:
        return "kept by auto" if decision.kept else "rejected by auto"
    return "kept" if decision.kept else "unsure" if decision.verdict == "unsure" else "rejected"


def _entry(cell: CellState, state: State, blind: bool) -> Entry:
    decision: Decision | None = cell.second if blind else cell.decision
    suggestion = None if blind else cell.suggestion
    focus_um = None if suggestion is None else suggestion.focus_um
    if decision is not None and decision.focus_um is not None:
        focus_um = decision.focus_um
    if focus_um is None:
        plane = neutral_plane(cell) if blind else len(cell.y) // 2
    else:
        plane = min(max(state.plane_of(cell, focus_um), 0), len(cell.y) - 1)
    others = range(plane + 1 - len(cell.y), plane) if blind and decision is None else ()
    doubt = "" if suggestion is None else suggestion.problem
    return Entry(
        name=cell.id,
        status=status_of(cell, blind),
        reason=doubt if decision is None else decision.reason,
        sample=state.stacks[cell.stack].sample_id,
        confidence=None if suggestion is None else suggestion.confidence,
        focus_um=focus_um,
        place=(list(state.stacks).index(cell.stack), *reading_order(cell, state.settings.patch_px)),
        picture=Picture(
            cell.stack,
            plane,
            float(cell.y[plane]),
            float(cell.x[plane]),
            tuple((p % len(cell.y), float(cell.y[p]), float(cell.x[p])) for p in others),
        ),
        mask="" if blind else WITH_MASK if cell.masks else WITHOUT_MASK,
    )
