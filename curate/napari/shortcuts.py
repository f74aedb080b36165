"""The keys of the curation window: one table for the bindings, the help and the docs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fgaf.base.names import nearest
from fgaf.curate.session.annotation_controller import REASONS


@dataclass(frozen=True)
class Shortcut:
    """One action of the keys.

    Attributes
    ----------
    action
        Stable name, also in the preferences.
    keys
        The keys of the action, with their names in Qt.
    words
        Description of the action.
    scope
        Its heading.
    """

    action: str
    keys: tuple[str, ...]
    words: str
    scope: str


_WAYS: Final = ("up", "down", "left", "right")
FAR_PX: Final = 5
"""Step of the larger nudges, pixels."""


def _nudges(name: str, keys: str, words: str) -> tuple[Shortcut, ...]:
    return tuple(
        Shortcut(f"{name}_{way}", (f"{keys}+{way.capitalize()}",), f"crop {way}{words}", "place")
        for way in _WAYS
    )


SHORTCUTS: Final = (
    Shortcut("accept", ("Space",), "accept the suggested focus", "decide"),
    Shortcut("focus_here", ("Return", "F"), "the focus is in this plane", "decide"),
    Shortcut("focus_down", ("Ctrl+Left", "Q"), "the focus is one plane down", "decide"),
    Shortcut("focus_up", ("Ctrl+Right", "W"), "the focus is one plane up", "decide"),
    *(
        Shortcut(f"reject_{n}", (str(n),), f"reject: {reason}", "decide")
        for n, reason in enumerate(REASONS, start=1)
    ),
    Shortcut("reject", ("X",), "reject without a reason", "decide"),
    Shortcut("unsure", ("U",), "flag as unsure", "decide"),
    Shortcut("reopen", ("T",), "take back the decision", "decide"),
    Shortcut("undo", ("Ctrl+Z",), "undo the latest action", "go"),
    Shortcut("redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "redo", "go"),
    Shortcut("next", ("Down", "N"), "next cell", "go"),
    Shortcut("previous", ("Up", "P"), "previous cell", "go"),
    Shortcut("first_open", ("Home",), "first cell that is not done", "go"),
    Shortcut("gallery", ("G",), "show or hide all cells", "go"),
    Shortcut("jump", ("J",), "to a cell by its name", "go"),
    Shortcut("plane_down", ("Left", "A"), "one plane down", "planes"),
    Shortcut("plane_up", ("Right", "D"), "one plane up", "planes"),
    Shortcut("plane_suggested", ("S",), "to the suggested plane", "planes"),
    *_nudges("nudge", "Shift", ", this plane"),
    *_nudges("nudge_far", "Ctrl+Shift", f" {FAR_PX} pixels, this plane"),
    *_nudges("nudge_all", "Alt", ", all planes"),
    *_nudges("nudge_all_far", "Alt+Shift", f" {FAR_PX} pixels, all planes"),
    Shortcut("edit_path", ("E",), "drag the path, or end it", "place"),
    Shortcut("add_cell", ("C",), "add a cell: click it in the field", "field"),
    Shortcut("zoom", ("Z",), "whole field, or close to the cell", "field"),
    Shortcut("boxes", ("B",), "hide or show the boxes", "field"),
    Shortcut("mask", ("M",), "draw the mask of the head", "mask"),
    Shortcut("store_mask", ("Return", "Space"), "store the mask that is drawn", "mask"),
    Shortcut("status", ("I",), "show the progress of the session", "window"),
    Shortcut("help", ("H", "F1"), "show or hide these keys", "window"),
    Shortcut("leave", ("Escape",), "end adding, dragging, a mask or help", "window"),
)
DECIDE: Final = frozenset(s.action for s in SHORTCUTS if s.scope == "decide")
"""Actions that decide on the cell in view."""
NEED_A_CELL: Final = frozenset(
    s.action for s in SHORTCUTS if s.scope in ("decide", "planes", "place", "mask")
)
"""Actions on the cell in view, which do nothing while none is seen."""
ONLY_DRAWING: Final = frozenset({"store_mask"})
"""Actions whose keys work only while a mask is drawn."""
WHILE_DRAWING: Final = ONLY_DRAWING | {
    *(s.action for s in SHORTCUTS if s.scope == "planes"),
    *("mask", "undo", "redo", "boxes", "status", "help", "leave"),
}
"""Actions whose keys work while a mask is drawn; all other keys are napari's then."""


def with_keys(mapping: Mapping[str, str]) -> tuple[tuple[Shortcut, ...], list[str]]:
    """The table with other keys for some actions: "X, Del"; empty removes the keys.

    A change that would give two actions one key is left out, and the action keeps its own keys.

    Parameters
    ----------
    mapping
        Keys by action.

    Returns
    -------
    The table, and a line for each change that is left out.
    """
    known = {shortcut.action for shortcut in SHORTCUTS}
    wrong = {
        action: f"there is no action {action!r}: {nearest(action, known)}"
        for action in mapping
        if action not in known
    }
    while True:
        table = tuple(
            replace(shortcut, keys=_keys(mapping[shortcut.action]))
            if shortcut.action in mapping and shortcut.action not in wrong
            else shortcut
            for shortcut in SHORTCUTS
        )
        changed = mapping.keys() - wrong.keys()
        clash = _clash((s for s in table if s.action not in ONLY_DRAWING), changed) or _clash(
            (s for s in table if s.action in WHILE_DRAWING), changed
        )
        if clash is None:
            return table, list(wrong.values())
        key, mine, other = clash
        wrong[mine] = (
            f"the key {key} is used for {other} already: {mine} keeps its default keys; change "
            "one of them"
        )


def _clash(table: Iterable[Shortcut], changed: Collection[str]) -> tuple[str, str, str] | None:
    """A key of two actions: the key, the one of them whose keys were changed, and the other."""
    taken: dict[str, str] = {}
    for shortcut in table:
        for key in shortcut.keys:
            other = taken.setdefault(key.casefold(), shortcut.action)
            if other != shortcut.action:
                mine = shortcut.action
                return (key, mine, other) if mine in changed else (key, other, mine)
    return None


def as_html(table: Iterable[Shortcut] = SHORTCUTS) -> str:
    """The table for the help, in two columns."""
    scopes: dict[str, list[str]] = {}
    for shortcut in table:
        keys = " or ".join(shortcut.keys) or "no key"
        row = f"<tr><td>{keys}&nbsp;&nbsp;</td><td>{shortcut.words}</td></tr>"
        scopes.setdefault(shortcut.scope, []).append(row)
    columns: tuple[list[str], list[str]] = ([], [])
    for scope, rows in scopes.items():
        shorter = min(columns, key=len)
        shorter += [f'<tr><td colspan="2"><b>{scope}</b></td></tr>', *rows]
    cells = (f"<td><table>{''.join(rows)}</table>&nbsp;&nbsp;</td>" for rows in columns)
    return f"<table><tr>{''.join(cells)}</tr></table>"


def as_markdown(table: Iterable[Shortcut] = SHORTCUTS) -> str:
    """The table for the docs."""
    rows = [
        f"| {' or '.join(f'`{key}`' for key in s.keys)} | {s.words} | {s.scope} | `{s.action}` |"
        for s in table
    ]
    return "\n".join(["| keys | description | scope | action |", "|---|---|---|---|", *rows])


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(", ") if key.strip())
