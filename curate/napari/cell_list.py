"""The list of a gallery: its cells in order, how each is painted, and what keys and clicks do."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from qtpy.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
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
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from fgaf.curate.napari.colours import Colours
from fgaf.curate.napari.views import put_label
from fgaf.curate.session.catalogue import WITH_MASK, Entry

_SIDE: Final = 88
"""Side of a picture, pixels of the screen."""
_PAD: Final = 8
_LINE: Final = 14
_CELL: Final = QSize(_SIDE + 2 * _PAD, _SIDE + 2 * _PAD + 3 * _LINE)
"""Least room for a picture and the three lines below it."""
_ENTRY: Final = Qt.ItemDataRole.UserRole
_NAVIGATION: Final = frozenset(
    (
        *(Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right),
        *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown),
        *(Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape),
    )
)
_DRAWN: Final = "✎"
"""Sign of a cell whose head is drawn."""
_CHOSEN: Final = 110
"""Opacity of the ground of a selected cell, of 255."""
NOT_HELD: Final = Qt.KeyboardModifier.NoModifier

Index = QModelIndex | QPersistentModelIndex


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
            lines = (entry.name, entry.status + at, entry.reason, sure, sample, entry.mask)
            return "\n".join(filter(None, lines))
        return None

    def row_of(self, name: str) -> int | None:
        """Row of a cell; None if it is not shown."""
        if not self._rows:
            self._rows = {entry.name: row for row, entry in enumerate(self.entries)}
        return self._rows.get(name)

    def replace(self, entries: list[Entry]) -> None:
        """Show other cells."""
        self.beginResetModel()
        self.entries, self._rows = entries, {}
        self.endResetModel()

    def put(self, entry: Entry, key: Callable[[Entry], Any]) -> None:
        """Show what changed of a cell, at its place in the order; the others stay as they are.

        Parameters
        ----------
        entry
            The cell; it may be new in the list.
        key
            Sorts the cells.
        """
        row = self.row_of(entry.name)
        if row is not None and key(self.entries[row]) == key(entry):
            self.entries[row] = entry
            self.dataChanged.emit(self.index(row), self.index(row))
            return
        # A cell that moves leaves the list first: its own place would spoil the search.
        self.take(entry.name)
        to = bisect(self.entries, key(entry), key=key)
        self.beginInsertRows(QModelIndex(), to, to)
        self.entries.insert(to, entry)
        self._rows = {}
        self.endInsertRows()

    def take(self, name: str) -> None:
        """Take a cell out of the list, if it is there.

        Parameters
        ----------
        name
            Name of the cell.
        """
        row = self.row_of(name)
        if row is not None:
            self.beginRemoveRows(QModelIndex(), row, row)
            del self.entries[row]
            self._rows = {}
            self.endRemoveRows()


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

    def dataChanged(self, first: QModelIndex, last: QModelIndex, _: Any = ()) -> None:  # noqa: N802 - Qt's name
        """Paint the changed cells; Qt would lay out all of them, which have one size.

        Parameters
        ----------
        first, last
            As of Qt's `QAbstractItemView.dataChanged`.
        """
        for row in range(first.row(), last.row() + 1):
            self.update(first.siblingAtRow(row))

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
        if QApplication.keyboardModifiers() == NOT_HELD:
            self.opened.emit(str(index.data()))


class CellDelegate(QStyledItemDelegate):
    """Paints a cell: its picture, what was decided, and why.

    Parameters
    ----------
    picture
        Gives the picture of a cell: None while it is made, a text where there is none.
    colours
        Of napari's theme.
    marks
        Colour and sign of each status.

    Attributes
    ----------
    in_view
        Name of the cell that is framed.
    """

    def __init__(
        self,
        picture: Callable[[Entry], np.ndarray[Any, Any] | str | None],
        colours: Colours,
        marks: Mapping[str, tuple[str, str]],
    ) -> None:
        super().__init__()
        self.colours = colours
        self.in_view = ""
        self._picture, self._marks = picture, marks
        self._font = QFont(QApplication.font())
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
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected:
            chosen = QColor(self.colours.suggested)
            chosen.setAlpha(_CHOSEN)
            painter.fillRect(frame, chosen)
        if entry.name == self.in_view:
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
        if entry.mask == WITH_MASK:
            put_label(painter, place.translated(_SIDE - 18, 0), _DRAWN, QColor("white"))
        text = QRect(frame.left() + 2, place.bottom() + 3, frame.width() - 4, _LINE)
        for line, ink, elided in (
            (entry.name, self.colours.text, Qt.TextElideMode.ElideLeft),
            (f"{sign} {entry.status}".strip(), self.colours.text, Qt.TextElideMode.ElideRight),
            (
                entry.reason,
                self.colours.text if selected else self.colours.faint,
                Qt.TextElideMode.ElideRight,
            ),
        ):
            painter.setPen(ink)
            shown = painter.fontMetrics().elidedText(line, elided, text.width())
            painter.drawText(text, Qt.AlignmentFlag.AlignHCenter, shown)
            text.translate(0, _LINE)
        painter.restore()

    def _paint_picture(self, painter: QPainter, place: QRect, entry: Entry) -> None:
        made = self._picture(entry)
        if isinstance(made, np.ndarray):
            rows, columns = made.shape
            image = QImage(made.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
            painter.drawImage(place, image)
            return
        painter.fillRect(place, self.colours.frame)
        painter.setPen(self.colours.text)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(place, flags, "no picture" if made else "…")
