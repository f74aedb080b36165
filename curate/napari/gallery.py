"""A gallery of cells: small pictures to filter, sort, select and go to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from qtpy.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.console import count
from fgaf.base.errors import SettingError
from fgaf.curate.napari.cell_list import CellDelegate, CellModel, CellView
from fgaf.curate.napari.choices import Choice, JumpLine
from fgaf.curate.napari.colours import Colours
from fgaf.curate.session.catalogue import (
    CONFIDENCES,
    SORTS,
    Entry,
    Filter,
    Sort,
    listed,
    named,
    sort_key,
)
from fgaf.curate.session.thumbnails import Thumbnails

_POLL_MS: Final = 40
_SCROLL_MS: Final = 60
"""Delay until the list scrolls to the cell in view, so that keys in quick succession need not."""
_FEW: Final = 20
"""Changed cells that are put into the list one by one; for more it is made anew."""


class Gallery(QWidget):
    """Small pictures of cells, with what was decided on each.

    Parameters
    ----------
    colours
        Of napari's theme.
    marks
        Colour and sign of each status.
    reasons
        Reasons of rejection to offer; None where nothing can be decided, as in an archive.
    keys
        Actions by their keys, which work on the selected cells: "reject" and "reject_1", ... of
        the reasons, "reopen". Other actions are refused.
    kind
        What a status is called.

    Signals
    -------
    opened
        A cell to show: it was clicked.
    entered
        A cell to decide on: it was clicked twice, or Enter pressed on it, or its name typed.
    rejected
        Names of cells to reject, and the reason.
    reopened
        Names of cells whose decision is taken back.
    left
        Escape was pressed.
    """

    opened = Signal(str)
    entered = Signal(str)
    left = Signal()
    rejected = Signal(object, str)
    reopened = Signal(object)

    def __init__(
        self,
        colours: Colours,
        marks: Mapping[str, tuple[str, str]],
        reasons: Sequence[str] | None = None,
        keys: Mapping[str, str] | None = None,
        kind: str = "state",
    ) -> None:
        super().__init__()
        self._reasons = reasons
        self._entries: dict[str, Entry] = {}
        self._thumbnails: Thumbnails | None = None
        self.model = CellModel()
        self.view = CellView(keys or {})
        self.view.setModel(self.model)
        self.delegate = CellDelegate(self.picture, colours, marks)
        self.view.setItemDelegate(self.delegate)
        self.view.opened.connect(self.opened.emit)
        self.view.chosen.connect(self.entered.emit)
        self.view.left.connect(self.left.emit)
        self.view.acted.connect(self.act)
        selection = self.view.selectionModel()
        if selection is not None:
            selection.selectionChanged.connect(lambda *_: self._tell())
        self.jump = JumpLine()
        self.jump.named.connect(self.go_to)
        self.jump.left.connect(self.left.emit)
        self.status, self.reason, self.sample = Choice(f"all {kind}s"), Choice(), Choice()
        self.reason.everything, self.sample.everything = "all reasons", "all samples"
        self.drawn = Choice("drawn or not")
        self.confidence = QComboBox()
        for words, bounds in CONFIDENCES.items():
            self.confidence.addItem(words, bounds)
        self.sort = QComboBox()
        for name, meaning in SORTS.items():
            self.sort.addItem(f"by {name}", name)
            self.sort.setItemData(self.sort.count() - 1, meaning, Qt.ItemDataRole.ToolTipRole)
        self.sort.setToolTip("Order of the cells")
        for choice in self._lists():
            choice.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            choice.currentIndexChanged.connect(self._fill)
        self.line = QLabel()
        self.line.setWordWrap(True)
        self._buttons = self._make_buttons()
        self._lay_out()
        self._poll = QTimer(self)
        self._poll.setInterval(_POLL_MS)
        self._poll.timeout.connect(self._look)
        self._scroll_soon = QTimer(self)
        self._scroll_soon.setSingleShot(True)
        self._scroll_soon.setInterval(_SCROLL_MS)
        self._scroll_soon.timeout.connect(lambda: self._scroll_to(self.in_view))

    @property
    def in_view(self) -> str:
        """Name of the cell that the panel shows."""
        return self.delegate.in_view

    @property
    def colours(self) -> Colours:
        """Colours of napari's theme."""
        return self.delegate.colours

    @colours.setter
    def colours(self, colours: Colours) -> None:
        self.delegate.colours = colours
        self._repaint()

    def show_pictures(self, thumbnails: Thumbnails | None) -> None:
        """Take the pictures from another source; the caller closes the one before.

        Parameters
        ----------
        thumbnails
            The pictures; None for none.
        """
        self._thumbnails = thumbnails

    def show_entries(self, entries: Iterable[Entry]) -> None:
        """Show cells; filters, selection and place stay.

        Parameters
        ----------
        entries
            All cells, before the filter.
        """
        before, self._entries = self._entries, {entry.name: entry for entry in entries}
        if before.keys() != self._entries.keys():
            self.jump.offer(self._entries)
        for choice, value in self._values():
            choice.offer(value(entry) for entry in self._entries.values())
        some = len({entry.confidence for entry in self._entries.values()}) > 1
        if not some:
            self.confidence.setCurrentIndex(0)
        self.confidence.setHidden(not some)
        self._arrange()
        self._fill()

    def renew(self, entries: Collection[Entry]) -> None:
        """Show what changed of some cells; the work is in proportion to their number.

        Parameters
        ----------
        entries
            The cells that changed, of those that are shown or filtered out.
        """
        if len(entries) > _FEW or any(
            entry.confidence != self._entries[entry.name].confidence for entry in entries
        ):
            self.show_entries((self._entries | {e.name: e for e in entries}).values())
            return
        which, key, chosen = self._filter(), sort_key(self._sort()), self.selected()
        for entry in entries:
            before, self._entries[entry.name] = self._entries[entry.name], entry
            for choice, value in self._values():
                choice.exchange(value(before), value(entry))
            if which.shows(entry):
                self.model.put(entry, key)
            else:
                self.model.take(entry.name)
        self._arrange()
        if any(entry.name in chosen for entry in entries):
            self.select(chosen)
        self._tell()

    def show_in_view(self, name: str) -> None:
        """Frame the cell that is shown elsewhere, and bring it into view.

        Parameters
        ----------
        name
            Name of the cell; empty for none.
        """
        before, self.delegate.in_view = self.in_view, name
        if name != before:
            for other in (before, name):
                if (row := self.model.row_of(other)) is not None:
                    self.view.update(self.model.index(row))
            if not self.view.hasFocus():
                self._scroll_soon.start()

    def selected(self) -> list[str]:
        """Names of the selected cells, in the order shown."""
        rows = sorted(index.row() for index in self.view.selectedIndexes())
        return [self.model.entries[row].name for row in rows]

    def select(self, names: Collection[str]) -> None:
        """Select cells that are shown.

        Parameters
        ----------
        names
            Their names; others are left out.
        """
        chosen = QItemSelection()
        wanted = set(names)
        for row, entry in enumerate(self.model.entries):
            if entry.name in wanted:
                index = self.model.index(row)
                chosen.select(index, index)
        selection = self.view.selectionModel()
        if selection is not None:
            selection.select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def go_to(self, typed: str) -> None:
        """Show the cell of a name, also one that the filter hides.

        Parameters
        ----------
        typed
            The name, or a part that no other name has.
        """
        try:
            name = named(typed, self._entries)
        except SettingError as error:
            self.say(str(error))
            return
        if self.model.row_of(name) is None:
            self.clear_filter()
        self.select([name])
        self._scroll_to(name)
        self.view.setFocus()
        self.entered.emit(name)

    def clear_filter(self) -> None:
        """Show all cells."""
        for choice in self._lists()[:-1]:
            choice.setCurrentIndex(0)

    def act(self, action: str) -> None:
        """Do what a key stands for with the selected cells.

        Parameters
        ----------
        action
            Name of the action.
        """
        names = self.selected()
        if self._reasons is None:
            return
        kind, _, number = action.partition("_")
        if not names:
            self.say("select cells first: click, Ctrl+click, Shift+click, drag, or Ctrl+A")
        elif action == "reopen":
            self.reopened.emit(names)
        elif kind == "reject":
            self.rejected.emit(names, self._reasons[int(number) - 1] if number else "")
        else:
            self.say("here keys reject and take back; Enter goes to the cell to decide there")

    def say(self, words: str) -> None:
        """Put a line below the pictures, until the selection changes."""
        self.line.setText(words)

    def picture(self, entry: Entry) -> np.ndarray[Any, Any] | str | None:
        """Picture of a cell; None while it is made, a text where there is none."""
        if self._thumbnails is None:
            return None
        made = self._thumbnails.get(entry.picture)
        if made is None and not self._poll.isActive():
            self._poll.start()
        return made

    def _make_buttons(self) -> list[QPushButton]:
        if self._reasons is None:
            return []
        reject, back = QPushButton("Reject"), QPushButton("Take back")
        reject.setToolTip("Reject the selected cells, for a reason")
        menu = QMenu(reject)
        for number, reason in enumerate(self._reasons, start=1):
            menu.addAction(reason, lambda n=number: self.act(f"reject_{n}"))
        menu.addAction("no reason", lambda: self.act("reject"))
        reject.setMenu(menu)
        back.setToolTip("Take back the decisions on the selected cells, also those of “auto”")
        back.clicked.connect(lambda: self.act("reopen"))
        for button in (reject, back):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return [reject, back]

    def _lay_out(self) -> None:
        self._top = QGridLayout()
        self._top.setSpacing(4)
        self._top.addWidget(self.jump, 0, 0, 1, 2)
        for choice in self._lists():
            self._top.addWidget(choice)
        bottom = QHBoxLayout()
        for button in self._buttons:
            bottom.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addLayout(self._top)
        layout.addWidget(self.view, 1)
        layout.addLayout(bottom)
        layout.addWidget(self.line)

    def _arrange(self) -> None:
        """Put the lists that are shown in rows of two, without holes."""
        shown = [choice for choice in self._lists() if not choice.isHidden()]
        for at, choice in enumerate(shown):
            last = at == len(shown) - 1 and at % 2 == 0
            self._top.addWidget(choice, 1 + at // 2, at % 2, 1, 2 if last else 1)

    def _lists(self) -> tuple[QComboBox, ...]:
        """The lists above the pictures: filters, and the order as the last."""
        return self.status, self.reason, self.confidence, self.sample, self.drawn, self.sort

    def _values(self) -> tuple[tuple[Choice, Callable[[Entry], str]], ...]:
        return (
            (self.status, lambda entry: entry.status),
            (self.reason, lambda entry: entry.reason),
            (self.sample, lambda entry: entry.sample),
            (self.drawn, lambda entry: entry.mask),
        )

    def _filter(self) -> Filter:
        return Filter(
            self.status.value,
            self.reason.value,
            self.sample.value,
            self.confidence.currentData() or (0.0, 1.0),
            self.drawn.value,
        )

    def _sort(self) -> Sort:
        sort: Sort = self.sort.currentData() or "position"
        return sort

    def _fill(self) -> None:
        """Make the list anew; selection and place stay."""
        chosen, at = self.selected(), self._scroll()
        self.model.replace(listed(self._entries.values(), self._filter(), self._sort()))
        self.select(chosen)
        bar = self.view.verticalScrollBar()
        if bar is not None:
            bar.setValue(at)
        self._tell()

    def _tell(self) -> None:
        chosen = len(self.view.selectedIndexes())
        also = f", {chosen} selected" if chosen else ""
        shown, every = len(self.model.entries), len(self._entries)
        of = "" if shown == every else f"{shown} of "
        self.say(f"{of}{count(every, 'cell')}{also}")

    def _scroll(self) -> int:
        bar = self.view.verticalScrollBar()
        return 0 if bar is None else bar.value()

    def _scroll_to(self, name: str) -> None:
        row = self.model.row_of(name)
        if row is not None:
            self.view.scrollTo(self.model.index(row))

    def _look(self) -> None:
        """Paint pictures that were made meanwhile."""
        thumbnails = self._thumbnails
        if thumbnails is None or not thumbnails.busy:
            self._poll.stop()
        if thumbnails is not None and thumbnails.news():
            self._repaint()

    def _repaint(self) -> None:
        port = self.view.viewport()
        if port is not None:
            port.update()
