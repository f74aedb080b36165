"""Small inputs of a gallery: a choice among the values that cells have, and a name to go to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qtpy.QtCore import QEvent, QStringListModel, Qt, QTimer, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QComboBox, QCompleter, QLineEdit

from fgaf.curate.napari.cell_list import NOT_HELD
from fgaf.curate.session.catalogue import natural


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
        self._counts: Counter[str] = Counter()
        self._offered: list[tuple[str, int]] = []

    @property
    def value(self) -> str:
        """What is chosen; empty for all."""
        return str(self.currentData() or "")

    def offer(self, values: Iterable[str]) -> None:
        """Offer the values with their numbers; what is chosen stays.

        Parameters
        ----------
        values
            The value of every cell; empty ones are not offered.
        """
        self._counts = Counter(values)
        self._show()

    def exchange(self, old: str, new: str) -> None:
        """Count one cell under another value.

        Parameters
        ----------
        old, new
            Its value before and now.
        """
        if old != new:
            self._counts.subtract([old])
            self._counts.update([new])
            self._show()

    def _show(self) -> None:
        chosen = self.value
        counts = {value: n for value, n in self._counts.items() if n or value == chosen}
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
            if held in (NOT_HELD, Qt.KeyboardModifier.KeypadModifier):
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
