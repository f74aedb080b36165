"""A sheet of text over the panel: the keys, or the status of the session."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QWidget


class Overlay(QScrollArea):
    """Covers a widget with text until it is hidden again.

    Parameters
    ----------
    parent
        The widget that is covered.

    Attributes
    ----------
    shown
        Name of the sheet that is shown; empty when it is hidden.
    text
        The label that holds the text.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.shown = ""
        self.text = QLabel()
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setWordWrap(True)
        self.text.setMargin(12)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setWidget(self.text)
        self.hide()

    def show_sheet(self, name: str, html: str, ground: QColor) -> None:
        """Show a sheet.

        Parameters
        ----------
        name
            Its name, see `shown`.
        html
            Its text.
        ground
            Colour behind the text.
        """
        self.shown = name
        self.text.setText(html)
        self.paint_ground(ground)
        self.show()
        self.raise_()

    def hide_sheet(self) -> None:
        """Show what is below again."""
        self.shown = ""
        self.hide()

    def paint_ground(self, ground: QColor) -> None:
        """Set the colour behind the text."""
        self.setStyleSheet(f"background: {ground.name()}")
