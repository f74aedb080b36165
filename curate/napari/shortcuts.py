"""The keys of the curation window: one table for the bindings, the help and the docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fgaf.base.errors import SettingError
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


SHORTCUTS: Final = (
    Shortcut("accept", ("Space",), "accept the suggested focus", "decide"),
    Shortcut("focus_here", ("Return", "F"), "the focus is in this plane", "decide"),
    *(
        Shortcut(f"reject_{n}", (str(n),), f"reject: {reason}", "decide")
        for n, reason in enumerate(REASONS, start=1)
    ),
    Shortcut("reject", ("X",), "reject without a reason", "decide"),
    Shortcut("unsure", ("U",), "flag as unsure", "decide"),
    Shortcut("undo", ("Ctrl+Z",), "undo the latest action", "decide"),
    Shortcut("redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "redo", "decide"),
    Shortcut("plane_down", ("Left", "A"), "one plane down", "look"),
    Shortcut("plane_up", ("Right", "D"), "one plane up", "look"),
    Shortcut("plane_suggested", ("S",), "to the suggested plane", "look"),
    Shortcut("next", ("Down", "N"), "next cell", "look"),
    Shortcut("previous", ("Up", "P"), "previous cell", "look"),
    Shortcut("first_open", ("Home",), "first cell that is not done", "look"),
    Shortcut("zoom", ("Z",), "field: whole, or close to the cell", "look"),
    Shortcut("nudge_up", ("Shift+Up",), "crop up, in this plane", "place"),
    Shortcut("nudge_down", ("Shift+Down",), "crop down, in this plane", "place"),
    Shortcut("nudge_left", ("Shift+Left",), "crop left, in this plane", "place"),
    Shortcut("nudge_right", ("Shift+Right",), "crop right, in this plane", "place"),
    Shortcut("nudge_all_up", ("Alt+Up",), "crop up, in all planes", "place"),
    Shortcut("nudge_all_down", ("Alt+Down",), "crop down, in all planes", "place"),
    Shortcut("nudge_all_left", ("Alt+Left",), "crop left, in all planes", "place"),
    Shortcut("nudge_all_right", ("Alt+Right",), "crop right, in all planes", "place"),
    Shortcut("add_cell", ("C",), "add a cell: then click it in the field", "place"),
    Shortcut("edit_path", ("E",), "drag the points of the path; again to end", "place"),
    Shortcut("status", ("I",), "show the progress of the session", "window"),
    Shortcut("help", ("H", "F1"), "show or hide these keys", "window"),
)


def with_keys(mapping: Mapping[str, str]) -> tuple[Shortcut, ...]:
    """The table with other keys for some actions: "X, Del"; empty removes the keys.

    Raises
    ------
    SettingError
        No such action, or two actions would have the same key.
    """
    known = {shortcut.action for shortcut in SHORTCUTS}
    for action in mapping:
        if action not in known:
            raise SettingError(f"there is no action {action!r}: {nearest(action, known)}")
    table = tuple(
        replace(shortcut, keys=_keys(mapping[shortcut.action]))
        if shortcut.action in mapping
        else shortcut
        for shortcut in SHORTCUTS
    )
    taken: dict[str, str] = {}
    for shortcut in table:
        for key in shortcut.keys:
            other = taken.setdefault(key.casefold(), shortcut.action)
            if other != shortcut.action:
                raise SettingError(
                    f"the key {key} is used for {other} and for {shortcut.action}; change one of "
                    "them"
                )
    return table


def as_html(table: Iterable[Shortcut] = SHORTCUTS) -> str:
    """The table for the help overlay."""
    rows, scope = [], ""
    for shortcut in table:
        if shortcut.scope != scope:
            scope = shortcut.scope
            rows.append(f'<tr><td colspan="2"><b>{scope}</b></td></tr>')
        keys = " or ".join(shortcut.keys) or "no key"
        rows.append(f"<tr><td>{keys}&nbsp;&nbsp;</td><td>{shortcut.words}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def as_markdown(table: Iterable[Shortcut] = SHORTCUTS) -> str:
    """The table for the docs."""
    rows = [
        f"| {' or '.join(f'`{key}`' for key in s.keys)} | {s.words} | {s.scope} | `{s.action}` |"
        for s in table
    ]
    return "\n".join(["| keys | description | scope | action |", "|---|---|---|---|", *rows])


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(", ") if key.strip())
