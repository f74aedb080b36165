"""What was done and undone in a session: the records of each cell, and the steps of each person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fgaf.curate.session.journal import Record

ACTIONS: Final = ("decision", "reopen", "nudge", "mask", "cell")
"""Kinds of records that a person makes, and can undo."""


@dataclass
class Step:
    """Records of one person that are undone, or redone, at once.

    Attributes
    ----------
    numbers
        Numbers of the records, in order.
    mark
        Their `step`; None for a record on its own.
    """

    numbers: list[int]
    mark: int | None = None


class History:
    """Reads the records of a journal once each, however often it is asked.

    Parameters
    ----------
    records
        Lines of the journal, in order; `follow` reads those that were added since.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._read = 0
        self._of: dict[int, int] = {}
        self._undos: Counter[int] = Counter()
        self._cells: defaultdict[str, list[Record]] = defaultdict(list)
        self._done: defaultdict[str, list[Step]] = defaultdict(list)
        self._back: defaultdict[str, list[Step]] = defaultdict(list)
        self._origin: dict[int, int] = {}
        self.follow()

    def follow(self) -> History:
        """Read the lines that were added."""
        for at in range(self._read, len(self._records)):
            record = self._records[at]
            if record["record"] == "undo":
                self._of[int(record["number"])] = int(record["of"])
                self._count(int(record["of"]))
            elif "cell" in record:
                self._cells[record["cell"]].append(record)
            if "annotator" in record:
                self._note_step(record)
        self._read = len(self._records)
        return self

    def counts(self, record: Record) -> bool:
        """Whether a record is not undone, or redone."""
        return not self._undos[int(record["number"])]

    def of_cell(self, name: str) -> list[Record]:
        """The records on a cell that are not undone, in order.

        Parameters
        ----------
        name
            Name of the cell.
        """
        return [record for record in self._cells[name] if self.counts(record)]

    def to_undo(self, annotator: str) -> list[Step]:
        """Steps that a person can undo; the next one last.

        Parameters
        ----------
        annotator
            The person whose records are used.
        """
        return self._done[annotator]

    def to_redo(self, annotator: str) -> list[Step]:
        """Undos that a person can take back; the next one last.

        Parameters
        ----------
        annotator
            The person whose records are used.
        """
        return self._back[annotator]

    def _count(self, of: int) -> None:
        """Count an undo; if it is of an undo, the one before has or loses its effect in turn."""
        change = 1
        while True:
            before = self._undos[of]
            self._undos[of] += change
            if bool(before) == bool(self._undos[of]) or of not in self._of:
                return
            of, change = self._of[of], -change

    def _note_step(self, record: Record) -> None:
        number, annotator = int(record["number"]), record["annotator"]
        done, back = self._done[annotator], self._back[annotator]
        if record["record"] in ACTIONS:
            _put(done, number, record)
            back.clear()
        elif record["record"] == "undo":
            of = int(record["of"])
            self._origin[number] = self._origin.get(of, of)
            if _taken(done, of):
                _put(back, number, record)
            elif _taken(back, of):
                _put(done, self._origin[number], record)


def _put(steps: list[Step], number: int, record: Record) -> None:
    """Add a number to the latest step if the record belongs to it, else as a step of its own."""
    mark = record.get("step")
    if mark is not None and steps and steps[-1].mark == mark:
        steps[-1].numbers.append(number)
    else:
        steps.append(Step([number], mark))


def _taken(steps: list[Step], number: int) -> bool:
    """Take a number out of its step, and say whether it was in one."""
    for at in range(len(steps) - 1, -1, -1):
        if number in steps[at].numbers:
            steps[at].numbers.remove(number)
            if not steps[at].numbers:
                del steps[at]
            return True
    return False
