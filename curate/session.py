"""A curation session: decisions on cells, in a journal that only ever grows.

The journal ``journal.jsonl`` holds one JSON record per line. Each decision is on the disk
(fsync) before `Session.decide` returns. What the session *is*, now or at any earlier line, is
a reading of the journal: nothing else is stored, so nothing can disagree with it.

Records, in the order they may appear:

``session``     format, version, settings; the first line
``stack``       a raw file: path, content fingerprint, sample, field
``field``       stacks found to show one field
``cell``        a cell of a stack: its centre in every plane, its box
``suggestion``  a focus nobody has confirmed, and who or what suggests it
``decision``    accept, focus (set by hand), reject (with a reason) or unsure, and by whom
``undo``        takes back the record `of`; undoing an undo is a redo
``repair``      the line before was torn by a crash, and does not count
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np

from fgaf.curate.crop import PatchSettings
from fgaf.curate.detect import Floats
from fgaf.dataset.errors import ExistsError, FgafError, FormatError
from fgaf.dataset.files import cannot_write
from fgaf.dataset.header import software
from fgaf.dataset.raw import RawStack

FORMAT: Final = "fgaf-session"
FORMAT_VERSION: Final = 1
JOURNAL: Final = "journal.jsonl"

Verdict = Literal["accept", "focus", "reject", "unsure"]
Record = dict[str, Any]


@dataclass(frozen=True)
class StackRef:
    """A raw file of the session, as it was when it was added."""

    name: str
    path: str
    fingerprint: str
    sample_id: str
    field: str

    @classmethod
    def of(cls, stack: RawStack) -> Self:
        """Refer to an open stack."""
        header = stack.header
        return cls(
            name=stack.path.name.removesuffix(".stack.h5"),
            path=str(stack.path.resolve()),
            fingerprint=stack.fingerprint,
            sample_id=header.sample_id,
            field=header.field,
        )


@dataclass(frozen=True)
class Suggested:
    """A focus that nobody has confirmed."""

    focus_um: float
    confidence: float
    rule: str
    problem: str
    by: str


@dataclass(frozen=True)
class Decision:
    """What was decided on a cell, by whom and when; `focus_um` is None unless it is kept."""

    verdict: Verdict
    focus_um: float | None
    reason: str
    annotator: str
    time_utc: str
    number: int


@dataclass
class CellState:
    """A cell as the journal leaves it; y, x are (P,) centres in pixels of the raw frame."""

    id: str
    stack: str
    y: Floats
    x: Floats
    height: float
    width: float
    score: float
    jump: tuple[int, ...] = ()
    suggestion: Suggested | None = None
    decision: Decision | None = None


@dataclass
class State:
    """What a journal says."""

    settings: PatchSettings
    uuid: str
    stacks: dict[str, StackRef] = field(default_factory=dict)
    cells: dict[str, CellState] = field(default_factory=dict)

    def kept(self) -> list[tuple[CellState, Decision]]:
        """Cells with a focus, in the order they were found, with the decision that gave it."""
        return [
            (cell, decision)
            for cell in self.cells.values()
            if (decision := cell.decision) is not None and decision.verdict in ("accept", "focus")
        ]

    def counts(self) -> dict[str, int]:
        """Cells by what was decided: kept, unsure, open, and each reason of rejection."""
        counts: dict[str, int] = {"found": len(self.cells), "kept": len(self.kept())}
        for cell in self.cells.values():
            if cell.decision is None:
                counts["open"] = counts.get("open", 0) + 1
            elif cell.decision.verdict in ("reject", "unsure"):
                reason = cell.decision.reason or cell.decision.verdict
                counts[reason] = counts.get(reason, 0) + 1
        return counts


class Session:
    """A session open for decisions.

    Use `create` or `open`, and ``with``, or `close` it.

    Attributes
    ----------
    folder
        Where the journal lies.
    records
        Every record so far, torn lines left out.
    torn
        Number of the torn last line that was found when opening; None where there was none.
    """

    def __init__(self, folder: Path, records: list[Record], torn: int | None) -> None:
        self.folder = folder
        self.records = records
        self.torn = torn
        self._lines = len(records) + (torn is not None)
        try:
            self._handle = (folder / JOURNAL).open("ab")
        except OSError as error:
            raise cannot_write(folder / JOURNAL, error) from error

    @classmethod
    def create(cls, folder: Path, settings: PatchSettings) -> Self:
        """Begin a session in a folder, which is made when missing.

        Raises
        ------
        ExistsError
            There is a session already.
        FgafError
            The folder cannot be written.
        """
        journal = folder / JOURNAL
        if journal.exists():
            raise ExistsError(f"{folder} holds a session already; choose another --session folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        session = cls(folder, [], None)
        session.append(
            [
                {
                    "record": "session",
                    "format": FORMAT,
                    "format_version": FORMAT_VERSION,
                    "uuid": str(uuid.uuid4()),
                    "software": software(),
                    "settings": asdict(settings),
                }
            ]
        )
        return session

    @classmethod
    def open(cls, folder: Path, check_stacks: bool = True) -> Self:
        """Reopen a session where it was left.

        Parameters
        ----------
        folder
            Where its journal lies.
        check_stacks
            Whether to refuse raw files that are missing or have changed.

        Raises
        ------
        FormatError
            No session, one of a newer version, a damaged one, or a raw file that changed.
        """
        records, torn = read_journal(folder)
        state = read_state(records, folder)
        if check_stacks:
            for stack in state.stacks.values():
                require_unchanged(stack)
        session = cls(folder, records, torn)
        if torn is not None:
            session._handle.write(b"\n")
            session.append([{"record": "repair", "torn_line": torn}])
        return session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal; nothing is lost without it."""
        self._handle.close()

    @property
    def state(self) -> State:
        """What the journal says now."""
        return read_state(self.records, self.folder)

    def append(self, records: Iterable[Record]) -> list[int]:
        """Write records, and return their numbers once they are on the disk.

        Raises
        ------
        FgafError
            The disk is full or the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        numbered = [
            {"number": self._lines + i + 1, "time_utc": now} | record
            for i, record in enumerate(records)
        ]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in numbered)
        try:
            self._handle.write(lines.encode())
            self._handle.flush()
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise cannot_write(self.folder / JOURNAL, error) from error
        self.records += numbered
        self._lines += len(numbered)
        return list(range(self._lines - len(numbered) + 1, self._lines + 1))

    def add_stacks(self, stacks: Sequence[StackRef]) -> None:
        """Take raw files into the session; those of the same content only once."""
        known = self.state.stacks
        fresh = {stack.fingerprint: stack for stack in stacks if stack.fingerprint not in known}
        self.append({"record": "stack"} | asdict(stack) for stack in fresh.values())

    def add_field(self, fingerprints: Sequence[str], name: str) -> None:
        """Note that some stacks show one field."""
        self.append([{"record": "field", "stacks": list(fingerprints), "field": name}])

    def add_cells(self, cells: Sequence[CellState]) -> None:
        """Take cells, with their suggestions, into the session."""
        self.append(record for cell in cells for record in _cell_records(cell))

    def decide(
        self,
        cell: str,
        verdict: Verdict,
        annotator: str,
        focus_um: float | None = None,
        reason: str = "",
    ) -> int:
        """Decide on a cell; on the disk when this returns. Returns the record's number.

        Raises
        ------
        FgafError
            No such cell, or nothing to accept.
        """
        return self.append([decision_of(self.state, cell, verdict, annotator, focus_um, reason)])[0]

    def undo(self, number: int, annotator: str) -> int:
        """Take back a record by its number; taking back an undo is a redo.

        Raises
        ------
        FgafError
            There is no decision or undo of that number.
        """
        kinds = {record["number"]: record["record"] for record in self.records}
        if kinds.get(number) not in ("decision", "undo"):
            raise FgafError(f"record {number} is no decision: nothing to undo")
        return self.append([{"record": "undo", "of": number, "annotator": annotator}])[0]


def decision_of(
    state: State,
    cell: str,
    verdict: Verdict,
    annotator: str,
    focus_um: float | None = None,
    reason: str = "",
) -> Record:
    """Make the record of a decision.

    Raises
    ------
    FgafError
        No such cell, nothing suggested to accept, or no focus to set.
    """
    if cell not in state.cells:
        raise FgafError(f"the session has no cell {cell!r}")
    if verdict == "accept":
        suggestion = state.cells[cell].suggestion
        if suggestion is None:
            raise FgafError(f"nothing is suggested for cell {cell!r}: set its focus instead")
        focus_um = suggestion.focus_um
    if verdict == "focus" and focus_um is None:
        raise FgafError(f"no focus was given for cell {cell!r}")
    return {
        "record": "decision",
        "cell": cell,
        "verdict": verdict,
        "focus_um": focus_um if verdict in ("accept", "focus") else None,
        "reason": reason,
        "annotator": annotator,
    }


def read_journal(folder: Path) -> tuple[list[Record], int | None]:
    """Read the records of a session, and the number of a torn last line, if any.

    Raises
    ------
    FormatError
        There is no session, it is of another version, or a line in its middle is damaged.
    """
    journal = folder / JOURNAL
    try:
        lines = journal.read_bytes().split(b"\n")
    except OSError as error:
        raise FormatError(f"{folder} holds no session ({JOURNAL} is missing)") from error
    whole, tail = lines[:-1], lines[-1]
    records: list[Record] = []
    broken: int | None = None
    for number, line in enumerate(whole, start=1):
        record = _parsed(line)
        if broken is not None and not (record and record.get("torn_line") == broken):
            raise FormatError(f"{journal}: line {broken} is damaged; restore it from a copy")
        broken = None if record else number
        if record:
            records.append(record)
    if broken is not None:
        raise FormatError(f"{journal}: line {broken} is damaged; restore it from a copy")
    torn = len(whole) + 1 if tail else None
    head = records[0] if records else {}
    if head.get("format") != FORMAT:
        raise FormatError(f"{journal} is not the journal of a session")
    if head.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"{journal} is of version {head.get('format_version')}, this program reads "
            f"{FORMAT_VERSION}; update it"
        )
    return records, torn


def read_state(records: Sequence[Record], folder: Path = Path()) -> State:
    """Read what a journal, or the beginning of one, says.

    Raises
    ------
    FormatError
        A record lacks something.
    """
    undone: set[int] = set()
    for record in reversed(records):
        if record["record"] == "undo" and int(record["number"]) not in undone:
            undone.add(int(record["of"]))
    try:
        head = records[0]
        state = State(PatchSettings(**head["settings"]), head["uuid"])
        for record in records:
            if int(record["number"]) not in undone:
                _apply(state, record)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{folder / JOURNAL}: a record is not understood ({error})") from error
    return state


def require_unchanged(stack: StackRef) -> None:
    """Refuse a raw file that is not what it was when the session began.

    Raises
    ------
    FormatError
        It is missing or its content changed; the line names it.
    """
    path = Path(stack.path)
    if not path.exists():
        raise FormatError(f"{path} of this session is missing; put it back where it was")
    with RawStack.open(path) as raw:
        if raw.fingerprint != stack.fingerprint:
            raise FormatError(
                f"{path} changed since this session began; put the old file back or begin anew"
            )


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "record" in record else None


def _apply(state: State, record: Record) -> None:
    match record["record"]:
        case "stack":
            ref = StackRef(**{name: record[name] for name in StackRef.__dataclass_fields__})
            state.stacks[ref.fingerprint] = ref
        case "field":
            for fingerprint in record["stacks"]:
                old = state.stacks[fingerprint]
                state.stacks[fingerprint] = StackRef(**(asdict(old) | {"field": record["field"]}))
        case "cell":
            state.cells[record["cell"]] = CellState(
                id=record["cell"],
                stack=record["stack"],
                y=np.array(record["y"], dtype=np.float64),
                x=np.array(record["x"], dtype=np.float64),
                height=record["height"],
                width=record["width"],
                score=record["score"],
                jump=tuple(record["jump"]),
            )
        case "suggestion":
            names = Suggested.__dataclass_fields__
            state.cells[record["cell"]].suggestion = Suggested(**{n: record[n] for n in names})
        case "decision":
            state.cells[record["cell"]].decision = Decision(
                **{name: record[name] for name in Decision.__dataclass_fields__}
            )


def _cell_records(cell: CellState) -> list[Record]:
    found: Record = {
        "record": "cell",
        "cell": cell.id,
        "stack": cell.stack,
        "y": np.round(cell.y, 2).tolist(),
        "x": np.round(cell.x, 2).tolist(),
        "height": round(cell.height, 2),
        "width": round(cell.width, 2),
        "score": round(cell.score, 3),
        "jump": list(cell.jump),
    }
    if cell.suggestion is None:
        return [found]
    return [found, {"record": "suggestion", "cell": cell.id} | asdict(cell.suggestion)]
