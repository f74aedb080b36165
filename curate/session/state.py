"""State of a session, computed from the records of its journal. Nothing else is stored.

Records, in the order they may appear:

``session``     format, version, settings; the first line
``cell``        a cell of a stack: its centre in every plane, its box; `annotator` added by hand
``suggestion``  an unconfirmed focus, and who or what suggests it
``stack``       a raw file: path, content fingerprint, sample, field, planes; its cells, written
                before it, count from here on
``place``       where a raw file was found after it was moved or renamed
``field``       stacks found to show one field
``nudge``       moves a cell's centre, in one plane or in all
``decision``    accept, focus (set by hand), reject (with a reason) or unsure; by whom, for what
                purpose, what was suggested to them, and how long they took
``reopen``      takes back the decisions on a cell, of whomever; it waits for a decision again
``mask``        the head as drawn in one plane: a picture in the folder `masks`, and its corner in
                the frame; an empty `sha256` takes the mask of that plane away
``undo``        takes back the record `of`; undoing an undo is a redo
``repair``      the line before was torn by a crash, and does not count

Records with the same `step` were made at once, and are undone at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import numpy as np

from fgaf.base.errors import FormatError
from fgaf.curate.detection.crop import AT_BORDER, OFF_STACK, PatchSettings, fits, planes_round
from fgaf.curate.detection.scale import HEAD_UM, Floats
from fgaf.curate.session.history import History
from fgaf.curate.session.journal import JOURNAL, Record
from fgaf.curate.session.masks import Mask
from fgaf.curate.session.places import file_name, place_of, read_path, written_path
from fgaf.dataset.raw import SUFFIX, RawStack

Verdict = Literal["accept", "focus", "reject", "unsure"]
Purpose = Literal["label", "second", "review"]
"""A first label, a blind second label that only measures agreement, or the final decision."""

AUTO: Final = "auto"
"""The annotator of decisions that no person made."""
_KINDS: Final = (
    "session",
    "cell",
    "suggestion",
    "stack",
    "place",
    "field",
    "nudge",
    "decision",
    "reopen",
    "mask",
    "undo",
    "repair",
)


@dataclass(frozen=True)
class StackRef:
    """A raw file of the session, at the time it was added.

    `path` is where it is now, as far as known, and `source` its name when it was added. `z_um` are
    its planes' drive positions, `shape` the (Y, X) of its frames, `pixel_size_um` the pixel used in
    the search for its cells, `cutoff_per_um` NA / wavelength, and `vote` what its cells vote on the
    case of the focus rule, see `fgaf.curate.session.votes`; old journals lack them.
    """

    name: str
    path: str
    fingerprint: str
    sample_id: str
    field: str
    step_um: float = 0.0
    pixel_size_um: float = 0.0
    z_um: tuple[float, ...] = ()
    shape: tuple[int, int] = (0, 0)
    source: str = ""
    cutoff_per_um: float | None = None
    vote: float = 0.0

    @classmethod
    def of(cls, stack: RawStack, pixel_size_um: float | None = None) -> Self:
        """Refer to an open stack; `pixel_size_um` overrides the stack's own.

        Parameters
        ----------
        stack
            An open raw stack.
        pixel_size_um
            Used instead of the stack's own, µm.
        """
        header = stack.header
        return cls(
            name=stack.path.name.removesuffix(SUFFIX),
            path=str(place_of(stack.path)),
            fingerprint=stack.fingerprint,
            sample_id=header.sample_id,
            field=header.field,
            step_um=header.step_um,
            pixel_size_um=pixel_size_um or header.optics.pixel_size_um or 0.0,
            z_um=tuple(float(z) for z in stack.z_um),
            shape=stack.shape[1:],
            source=stack.path.name,
            cutoff_per_um=header.optics.cutoff_per_um,
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
    """A decision on a cell, by whom and when.

    Attributes
    ----------
    verdict, reason
        The decision, and the reason of a rejection.
    focus_um
        Drive position of the focus; None unless the cell is kept.
    annotator, time_utc, number
        Person, time and number of the record.
    purpose
        See `Purpose`.
    suggested_um, suggested_by
        The suggestion that was shown; None and empty if none was shown.
    seconds
        How long the cell was shown before; 0 where unknown.
    """

    verdict: Verdict
    focus_um: float | None
    reason: str
    annotator: str
    time_utc: str
    number: int
    purpose: Purpose = "label"
    suggested_um: float | None = None
    suggested_by: str = ""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the cell goes into the archive."""
        return self.verdict in ("accept", "focus")

    @property
    def words(self) -> str:
        """Describe it in a few words."""
        at = "" if self.focus_um is None else f" at {self.focus_um:+.2f} µm"
        return {
            "accept": f"suggestion accepted{at}",
            "focus": f"focus set{at}",
            "reject": f"rejected: {self.reason or 'no reason given'}",
            "unsure": "unsure",
        }[self.verdict]


_SUGGESTED: Final = tuple(field.name for field in fields(Suggested))
_DECIDED: Final = frozenset(field.name for field in fields(Decision))
_DRAWN: Final = tuple(field.name for field in fields(Mask))


@dataclass
class CellState:
    """State of a cell; y, x are (P,) centres in pixels of the raw frame.

    Attributes
    ----------
    jump
        Planes at which the path has a jump that nobody corrected.
    suggestion
        The latest.
    label, second, review
        The latest decision of each purpose.
    added_by
        Who added it by hand; empty for a cell that was found.
    masks
        Of its head, by the plane in which they were drawn.
    """

    id: str
    stack: str
    y: Floats
    x: Floats
    height: float
    width: float
    score: float
    jump: tuple[int, ...] = ()
    suggestion: Suggested | None = None
    label: Decision | None = None
    second: Decision | None = None
    review: Decision | None = None
    added_by: str = ""
    masks: dict[int, Mask] = field(default_factory=dict)

    @property
    def decision(self) -> Decision | None:
        """The decision that counts: the latest label or review, never a blind second pass."""
        label, review = self.label, self.review
        if label is None or (review is not None and review.number > label.number):
            return review
        return label

    @property
    def reviewed(self) -> bool:
        """Whether a review settled it, and neither label was made anew since."""
        labels = [d.number for d in (self.label, self.second) if d is not None]
        return self.review is not None and self.review.number > max(labels, default=0)

    @property
    def by_person(self) -> bool:
        """Whether a person has decided on it."""
        decision = self.decision
        return decision is not None and decision.annotator != AUTO


@dataclass
class State:
    """State of a session.

    Attributes
    ----------
    pixel_size_um
        None where each stack's own is used.
    pending
        Cells of stacks whose search did not finish.
    folder, begun_in
        Folder of the session now, and when it began (empty in old journals).
    problems
        What is wrong with the raw files that cannot be used, by fingerprint; not in the journal.
    """

    settings: PatchSettings
    uuid: str
    pixel_size_um: float | None = None
    head_um: float = HEAD_UM[0]
    stacks: dict[str, StackRef] = field(default_factory=dict)
    cells: dict[str, CellState] = field(default_factory=dict)
    pending: dict[str, CellState] = field(default_factory=dict)
    folder: Path = Path()
    begun_in: str = ""
    problems: dict[str, str] = field(default_factory=dict)

    def usable(self, cell: CellState) -> bool:
        """Whether a cell's raw file is there and unchanged."""
        return cell.stack not in self.problems

    def first_place(self, stack: StackRef) -> Path:
        """Where a raw file was when the session began, if the session's folder alone was moved."""
        written = written_path(Path(stack.path), self.folder)
        return Path(read_path(written, Path(self.begun_in)))

    def kept(self) -> list[tuple[CellState, Decision]]:
        """Cells with a focus, in the order they were found, with their decision."""
        return [
            (cell, decision)
            for cell in self.cells.values()
            if (decision := cell.decision) is not None and decision.kept
        ]

    def counts(self) -> dict[str, int]:
        """Cells by decision: kept, unsure, open, and each reason of rejection."""
        counts: dict[str, int] = {"found": len(self.cells), "kept": len(self.kept())}
        for cell in self.cells.values():
            if cell.decision is None:
                counts["open"] = counts.get("open", 0) + 1
            elif not cell.decision.kept:
                reason = cell.decision.reason or cell.decision.verdict
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def plane_of(self, cell: CellState, focus_um: float) -> int:
        """Plane nearest to a focus; in steps from 0 µm where the session lacks the planes.

        Parameters
        ----------
        cell
            The cell, whose stack gives the planes.
        focus_um
            Drive position, µm.
        """
        z = self.stacks[cell.stack].z_um
        if not z:
            return round(focus_um / self.settings.step_um)
        return int(np.argmin(np.abs(np.array(z) - focus_um)))

    def border_reason(self, cell: CellState) -> str:
        """`AT_BORDER` where the border cuts the cell at every possible focus; else empty."""
        reasons = {self.focus_rejection_reason(cell, z) for z in self.stacks[cell.stack].z_um}
        return AT_BORDER if AT_BORDER in reasons and "" not in reasons else ""

    def focus_rejection_reason(self, cell: CellState, focus_um: float) -> str:
        """Why a cell cannot be kept with a focus; see the function `focus_rejection_reason`.

        Parameters
        ----------
        cell
            The cell.
        focus_um
            Drive position of the focus, µm.
        """
        return focus_rejection_reason(cell, self.stacks[cell.stack], self.settings, focus_um)


def focus_rejection_reason(
    cell: CellState, ref: StackRef, settings: PatchSettings, focus_um: float
) -> str:
    """Why a cell cannot be kept with a focus; empty where all its patches can be cut.

    Parameters
    ----------
    cell
        The cell, with its centre in each plane.
    ref
        Its stack.
    settings
        Size, step and range of the patches.
    focus_um
        Drive position of the focus, µm.
    """
    if not ref.z_um:
        return ""
    stride = max(1, round(settings.step_um / ref.step_um))
    planes = planes_round(focus_um, np.array(ref.z_um), stride, settings.steps)
    if planes is None:
        return OFF_STACK
    return "" if fits(cell.y, cell.x, planes, settings.patch_px, ref.shape) else AT_BORDER


def read_state(records: Sequence[Record], folder: Path = Path()) -> State:
    """Compute the state from the records of a journal, or from its first records.

    Parameters
    ----------
    records
        Lines of the journal, in order.
    folder
        Folder of the session, to which the paths of raw files are relative.

    Raises
    ------
    FormatError
        A record is incomplete, or of a kind that this program does not know.
    """
    try:
        history = History(records)
        head = records[0]
        state = State(
            PatchSettings(**head["settings"]),
            head["uuid"],
            head.get("pixel_size_um"),
            head.get("head_um", HEAD_UM[0]),
            folder=folder.resolve(),
            begun_in=head.get("folder", ""),
        )
        for record in records:
            if record["record"] != "undo" and history.counts(record):
                apply(state, record)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{folder / JOURNAL}: a record cannot be read ({error})") from error
    return state


def read_again(state: State, history: History, names: Iterable[str]) -> None:
    """Compute some cells of a state once more, as after an undo.

    Parameters
    ----------
    state
        It is changed.
    history
        The records that count.
    names
        Cells that the state has.
    """
    for name in names:
        for record in history.of_cell(name):
            if record["record"] == "cell":
                state.cells[name] = _cell(record)
            else:
                _apply_to_cell(state.cells[name], record)


def apply(state: State, record: Record) -> None:
    """Apply one record, which is not an undo, to the state.

    Parameters
    ----------
    state
        It is changed.
    record
        One line of the journal.
    """
    kind = record["record"]
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r}; update this program")
    if kind == "stack":
        _apply_stack(state, record)
    elif kind == "place":
        old = state.stacks[record["stack"]]
        path = read_path(record["path"], state.folder)
        state.stacks[old.fingerprint] = replace(old, path=path)
        state.problems.pop(old.fingerprint, None)
    elif kind == "field":
        for fingerprint in record["stacks"]:
            old = state.stacks[fingerprint]
            state.stacks[fingerprint] = replace(old, field=record["field"])
    elif kind == "cell":
        cells = state.cells if record["stack"] in state.stacks else state.pending
        cells[record["cell"]] = _cell(record)
    elif kind in ("suggestion", "decision", "reopen", "nudge", "mask"):
        name = record["cell"]
        cell = state.cells.get(name) or state.pending.get(name)
        if cell is not None:  # else the cell was added by hand and undone
            _apply_to_cell(cell, record)


def cell_records(cell: CellState) -> list[Record]:
    """Make the records of a cell and its suggestion."""
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
    if cell.added_by:
        found["annotator"] = cell.added_by
    if cell.suggestion is None:
        return [found]
    return [found, suggestion_record(cell.id, cell.suggestion)]


def stack_record(stack: StackRef, folder: Path) -> Record:
    """Make the record of a raw file.

    Parameters
    ----------
    stack
        The raw file.
    folder
        Folder of the session.
    """
    path = written_path(Path(stack.path), folder)
    return {"record": "stack"} | asdict(stack) | {"path": path}


def place_record(stack: str, path: Path, folder: Path) -> Record:
    """Make the record of a raw file found in another place.

    Parameters
    ----------
    stack
        Fingerprint of the file.
    path
        Where it is.
    folder
        Folder of the session.
    """
    return {"record": "place", "stack": stack, "path": written_path(path, folder)}


def suggestion_record(cell: str, suggestion: Suggested) -> Record:
    """Make the record of a suggestion.

    Parameters
    ----------
    cell
        Name of the cell.
    suggestion
        Its focus and confidence.
    """
    return {"record": "suggestion", "cell": cell} | asdict(suggestion)


def _apply_stack(state: State, record: Record) -> None:
    known = {f.name for f in fields(StackRef)}
    values: dict[str, Any] = {name: value for name, value in record.items() if name in known}
    values["z_um"] = tuple(values.get("z_um", ()))
    values["shape"] = tuple(values.get("shape", (0, 0)))
    values["source"] = values.get("source") or file_name(values["path"])
    values["path"] = read_path(values["path"], state.folder)
    ref = StackRef(**values)
    state.stacks[ref.fingerprint] = ref
    mine = [cell for cell in state.pending.values() if cell.stack == ref.fingerprint]
    for cell in mine:
        state.cells[cell.id] = state.pending.pop(cell.id)


def _cell(record: Record) -> CellState:
    return CellState(
        id=record["cell"],
        stack=record["stack"],
        y=np.array(record["y"], dtype=np.float64),
        x=np.array(record["x"], dtype=np.float64),
        height=record["height"],
        width=record["width"],
        score=record["score"],
        jump=tuple(record["jump"]),
        added_by=record.get("annotator", ""),
    )


def _apply_to_cell(cell: CellState, record: Record) -> None:
    if record["record"] == "suggestion":
        cell.suggestion = Suggested(**{name: record[name] for name in _SUGGESTED})
    elif record["record"] == "nudge":
        plane = record["plane"]
        where = slice(None) if plane is None else plane
        cell.y[where] += record["dy"]
        cell.x[where] += record["dx"]
        cell.jump = tuple(p for p in cell.jump if p != plane)
    elif record["record"] == "reopen":
        setattr(cell, record["purpose"], None)
        if record["purpose"] == "label":  # else the review would still count
            cell.review = None
    elif record["record"] == "mask":
        if record["sha256"]:
            cell.masks[record["plane"]] = Mask(**{name: record[name] for name in _DRAWN})
        else:
            cell.masks.pop(record["plane"], None)
    else:
        decision = Decision(**{k: v for k, v in record.items() if k in _DECIDED})
        if decision.purpose not in get_args(Purpose):
            raise ValueError(f"purpose {decision.purpose!r}; update this program")
        setattr(cell, decision.purpose, decision)
