"""A gallery of cells: small pictures to filter, sort, select and go to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from qtpy.QtCore import (
    QAbstractListModel,
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    QStringListModel,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import (
    QColor,
    QFont,
    QImage,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPen,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QCompleter,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QMenu,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.console import count
from fgaf.base.errors import SettingError
from fgaf.curate.napari.colours import Colours
from fgaf.curate.napari.views import put_label
from fgaf.curate.session.catalogue import (
    CONFIDENCES,
    SORTS,
    Entry,
    Filter,
    listed,
    named,
    natural,
)
from fgaf.curate.session.thumbnails import Thumbnails

_SIDE: Final = 88
"""Side of a picture, pixels of the screen."""
_PAD: Final = 8
_LINE: Final = 14
_CELL: Final = QSize(_SIDE + 2 * _PAD, _SIDE + 2 * _PAD + 3 * _LINE)
"""Least room for a picture and the three lines below it."""
_POLL_MS: Final = 40
_ENTRY: Final = Qt.ItemDataRole.UserRole
_NAVIGATION: Final = frozenset(
    (
        *(Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right),
        *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown),
        *(Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape),
    )
)
_CHOSEN: Final = 110
"""Opacity of the ground of a selected cell, of 255."""
_NOT_HELD: Final = Qt.KeyboardModifier.NoModifier

Index = QModelIndex | QPersistentModelIndex


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

    Attributes
    ----------
    in_view
        Name of the cell that the panel shows.

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
        self.in_view = ""
        self._reasons = reasons
        self._entries: list[Entry] = []
        self._thumbnails: Thumbnails | None = None
        self.model = CellModel()
        self.view = CellView(keys or {})
        self.view.setModel(self.model)
        self.delegate = CellDelegate(self, colours, marks)
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
        self.confidence = QComboBox()
        for words, bounds in CONFIDENCES.items():
            self.confidence.addItem(words, bounds)
        self.sort = QComboBox()
        for name, meaning in SORTS.items():
            self.sort.addItem(f"by {name}", name)
            self.sort.setItemData(self.sort.count() - 1, meaning, Qt.ItemDataRole.ToolTipRole)
        self.sort.setToolTip("Order of the cells")
        for choice in (self.status, self.reason, self.sample, self.confidence, self.sort):
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
        entries = list(entries)
        if [e.name for e in entries] != [e.name for e in self._entries]:
            self.jump.offer(e.name for e in entries)
        self._entries = entries
        for choice, values in (
            (self.status, [e.status for e in entries]),
            (self.reason, [e.reason for e in entries]),
            (self.sample, [e.sample for e in entries]),
        ):
            choice.offer(values)
        some = len({e.confidence for e in entries}) > 1
        if not some:
            self.confidence.setCurrentIndex(0)
        self.confidence.setVisible(some)
        self._fill()

    def show_in_view(self, name: str) -> None:
        """Frame the cell that is shown elsewhere, and bring it into view.

        Parameters
        ----------
        name
            Name of the cell; empty for none.
        """
        if name != self.in_view:
            self.in_view = name
            self._repaint()
            if not self.view.hasFocus():
                self._scroll_to(name)

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
            name = named(typed, [entry.name for entry in self._entries])
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
        for choice in (self.status, self.reason, self.sample, self.confidence):
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
        top = QGridLayout()
        top.setSpacing(4)
        top.addWidget(self.jump, 0, 0, 1, 2)
        top.addWidget(self.status, 1, 0)
        top.addWidget(self.reason, 1, 1)
        top.addWidget(self.confidence, 2, 0)
        top.addWidget(self.sort, 2, 1)
        top.addWidget(self.sample, 3, 0, 1, 2)
        bottom = QHBoxLayout()
        for button in self._buttons:
            bottom.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.view, 1)
        layout.addLayout(bottom)
        layout.addWidget(self.line)

    def _fill(self) -> None:
        which = Filter(
            self.status.value,
            self.reason.value,
            self.sample.value,
            self.confidence.currentData() or (0.0, 1.0),
        )
        shown = listed(self._entries, which, self.sort.currentData() or "position")
        if not self.model.refresh(shown):
            chosen, at = self.selected(), self._scroll()
            self.model.replace(shown)
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


class CellModel(QAbstractListModel):
    """The cells shown, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._rows: dict[str, int] = {}

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 - Qt's name
        """How many."""
        return 0 if parent is not None and parent.isValid() else len(self.entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Name, entry or tool tip of a cell.

        Parameters
        ----------
        index, role
            As of Qt's `QAbstractItemModel.data`.
        """
        entry = self.entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.name
        if role == _ENTRY:
            return entry
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            at = "" if entry.focus_um is None else f", {entry.focus_um:+.2f} µm"
            sure = "" if entry.confidence is None else f"confidence {entry.confidence:.0%}"
            sample = f"sample {entry.sample}" if entry.sample else ""
            return "\n".join(
                filter(None, (entry.name, entry.status + at, entry.reason, sure, sample))
            )
        return None

    def row_of(self, name: str) -> int | None:
        """Row of a cell; None if it is not shown."""
        return self._rows.get(name)

    def refresh(self, entries: list[Entry]) -> bool:
        """Take changed entries of the same cells; False if there are other cells."""
        if [e.name for e in entries] != [e.name for e in self.entries]:
            return False
        changed = [
            row
            for row, (new, old) in enumerate(zip(entries, self.entries, strict=True))
            if new is not old and new != old
        ]
        self.entries = entries
        for row in changed:
            self.dataChanged.emit(self.index(row), self.index(row))
        return True

    def replace(self, entries: list[Entry]) -> None:
        """Show other cells."""
        self.beginResetModel()
        self.entries = entries
        self._rows = {entry.name: row for row, entry in enumerate(entries)}
        self.endResetModel()


class CellView(QListView):
    """The pictures in rows; keys of decisions work on the selected cells.

    Parameters
    ----------
    keys
        Actions by their keys.

    Signals
    -------
    opened
        A cell was clicked without a modifier.
    chosen
        A cell was clicked twice, or Enter pressed on it.
    acted
        An action of the keys.
    left
        Escape was pressed.
    """

    opened = Signal(str)
    chosen = Signal(str)
    left = Signal()
    acted = Signal(str)

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = {QKeySequence(key).toString(): action for key, action in keys.items()}
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionRectVisible(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setMinimumSize(120, 120)
        self.clicked.connect(self._clicked)
        self.doubleClicked.connect(lambda index: self.chosen.emit(str(index.data())))

    def event(self, event: QEvent | None) -> bool:
        """Take the keys that work here before the window's shortcuts do."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and self._mine(event)
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move, select, go to a cell, or act on the selected ones."""
        if event is None:
            return
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.currentIndex().isValid():
                self.chosen.emit(str(self.currentIndex().data()))
        elif event.key() == Qt.Key.Key_Escape:
            self.clearSelection()
            self.left.emit()
        elif (action := self._action(event)) is not None:
            self.acted.emit(action)
        elif event.key() in _NAVIGATION or event.matches(QKeySequence.StandardKey.SelectAll):
            super().keyPressEvent(event)
        else:
            event.ignore()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Share the width among as many pictures as fit."""
        port, delegate = self.viewport(), self.itemDelegate()
        if port is not None and isinstance(delegate, CellDelegate):
            across = max(1, (port.width() - 2) // _CELL.width())
            delegate.size = QSize((port.width() - 2) // across, _CELL.height())
        super().resizeEvent(event)

    def _mine(self, event: QKeyEvent) -> bool:
        return (
            event.key() in _NAVIGATION
            or event.matches(QKeySequence.StandardKey.SelectAll)
            or self._action(event) is not None
        )

    def _action(self, event: QKeyEvent) -> str | None:
        return self._keys.get(QKeySequence(event.keyCombination()).toString())

    def _clicked(self, index: QModelIndex) -> None:
        if QApplication.keyboardModifiers() == _NOT_HELD:
            self.opened.emit(str(index.data()))


class CellDelegate(QStyledItemDelegate):
    """Paints a cell: its picture, what was decided, and why.

    Parameters
    ----------
    gallery
        Gives the pictures.
    colours
        Of napari's theme.
    marks
        Colour and sign of each status.
    """

    def __init__(
        self, gallery: Gallery, colours: Colours, marks: Mapping[str, tuple[str, str]]
    ) -> None:
        super().__init__(gallery)
        self.colours = colours
        self._gallery, self._marks = gallery, marks
        self._font = QFont(gallery.font())
        self._font.setPixelSize(11)
        self.size = _CELL

    def sizeHint(self, _: QStyleOptionViewItem, __: Index) -> QSize:  # noqa: N802 - Qt's name
        """The same for all."""
        return self.size

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: Index) -> None:
        """Paint the picture of a cell, and the lines under it.

        Parameters
        ----------
        painter, option, index
            As of Qt's `QStyledItemDelegate.paint`.
        """
        entry: Entry = index.data(_ENTRY)
        if painter is None or entry is None:
            return
        painter.save()
        painter.setFont(self._font)
        frame = option.rect.adjusted(1, 1, -1, -1)
        if option.state & QStyle.StateFlag.State_Selected:
            chosen = QColor(self.colours.suggested)
            chosen.setAlpha(_CHOSEN)
            painter.fillRect(frame, chosen)
        if entry.name == self._gallery.in_view:
            painter.setPen(QPen(self.colours.here, 2))
            painter.drawRect(frame)
        corner = QPoint(option.rect.center().x() - _SIDE // 2, option.rect.top() + _PAD)
        place = QRect(corner, QSize(_SIDE, _SIDE))
        self._paint_picture(painter, place, entry)
        colour, sign = self._marks.get(entry.status, ("", ""))
        if colour:
            painter.setPen(QPen(QColor(colour), 2))
            painter.drawRect(place.adjusted(1, 1, -1, -1))
        if entry.focus_um is not None:
            put_label(painter, place, f"{entry.focus_um:+.2f} µm", QColor("white"))
        text = QRect(frame.left() + 2, place.bottom() + 3, frame.width() - 4, _LINE)
        for line, ink, elided in (
            (entry.name, self.colours.text, Qt.TextElideMode.ElideLeft),
            (f"{sign} {entry.status}".strip(), self.colours.text, Qt.TextElideMode.ElideRight),
            (entry.reason, self.colours.faint, Qt.TextElideMode.ElideRight),
        ):
            painter.setPen(ink)
            shown = painter.fontMetrics().elidedText(line, elided, text.width())
            painter.drawText(text, Qt.AlignmentFlag.AlignHCenter, shown)
            text.translate(0, _LINE)
        painter.restore()

    def _paint_picture(self, painter: QPainter, place: QRect, entry: Entry) -> None:
        made = self._gallery.picture(entry)
        if isinstance(made, np.ndarray):
            rows, columns = made.shape
            image = QImage(made.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
            painter.drawImage(place, image)
            return
        painter.fillRect(place, self.colours.frame)
        painter.setPen(self.colours.text)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(place, flags, "no picture" if made else "…")


class Choice(QComboBox):
    """Chooses one of the values that cells have, or all; hidden where there is no choice.

    Parameters
    ----------
    everything
        Words for all.
    """

    def __init__(self, everything: str = "") -> None:
        super().__init__()
        self.everything = everything
        self._offered: list[tuple[str, int]] = []

    @property
    def value(self) -> str:
        """What is chosen; empty for all."""
        return str(self.currentData() or "")

    def offer(self, values: Sequence[str]) -> None:
        """Offer the values with their numbers; what is chosen stays.

        Parameters
        ----------
        values
            The value of every cell; empty ones are not offered.
        """
        chosen, counts = self.value, Counter(values)
        if chosen:
            counts.setdefault(chosen, 0)
        offered = sorted(counts.items(), key=lambda item: natural(item[0]))
        if offered == self._offered and self.count():
            return
        self._offered = offered
        self.blockSignals(True)
        self.clear()
        self.addItem(self.everything, "")
        for value, number in offered:
            if value:
                self.addItem(f"{value} ({number})", value)
        self.setCurrentIndex(max(self.findData(chosen), 0))
        self.blockSignals(False)
        self.setVisible(len(offered) > 1)


class JumpLine(QLineEdit):
    """Takes the name of a cell, with completion.

    Signals
    -------
    named
        What was typed or chosen, after Enter.
    left
        Escape was pressed.
    """

    named = Signal(str)
    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setPlaceholderText("Go to a cell by its name")
        self.setClearButtonEnabled(True)
        self._names = QStringListModel()
        completer = QCompleter(self._names, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.activated.connect(self._chosen)
        self.setCompleter(completer)

    def offer(self, names: Iterable[str]) -> None:
        """Complete these names.

        Parameters
        ----------
        names
            The names of all cells.
        """
        ordered = sorted(names, key=natural)
        self._names.setStringList(ordered)

    def event(self, event: QEvent | None) -> bool:
        """Take all keys without Ctrl and Alt before the window's shortcuts do."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride:
            held = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
            if held in (_NOT_HELD, Qt.KeyboardModifier.KeypadModifier):
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go to the cell on Enter."""
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._chosen(self.text())
        elif event is not None and event.key() == Qt.Key.Key_Escape:
            self.clear()
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def _chosen(self, name: str) -> None:
        if name.strip():
            self.named.emit(name)
            QTimer.singleShot(0, self.clear)  # after the completer has put the name here
