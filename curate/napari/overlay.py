"""A sheet of text over the field: the keys, or the status of the session."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from fgaf.curate.napari.colours import Colours


class Overlay(QScrollArea):
    """Lies over a widget, at its right edge, until it is hidden again.

    Parameters
    ----------
    beside
        The widget below: the field, so that the cell in the panel stays in view.

    Attributes
    ----------
    shown
        Name of the sheet that is shown; empty when it is hidden.
    text
        The label that holds the text.
    """

    def __init__(self, beside: QWidget) -> None:
        super().__init__(beside)
        self.shown = ""
        self.text = QLabel()
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setMargin(12)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidgetResizable(True)
        self.setWidget(self.text)
        self.hide()
        beside.installEventFilter(self)

    def show_sheet(self, name: str, html: str, colours: Colours) -> None:
        """Show a sheet.

        Parameters
        ----------
        name
            Its name, see `shown`.
        html
            Its text.
        colours
            Colours of the theme.
        """
        self.shown = name
        self.text.setText(html)
        self.dye(colours)
        self._place()
        self.show()
        self.raise_()

    def hide_sheet(self) -> None:
        """Show what is below again."""
        self.shown = ""
        self.hide()

    def dye(self, colours: Colours) -> None:
        """Take the colours of a theme."""
        ground, text = colours.ground.name(), colours.text.name()
        self.setStyleSheet(f"background: {ground}; color: {text}")

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Follow the size of the widget below.

        Parameters
        ----------
        watched, event
            As of Qt's `QObject.eventFilter`.
        """
        if self.shown and event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        below = self.parentWidget()
        if below is not None:
            width = min(self.text.sizeHint().width() + 24, below.width())
            self.setGeometry(below.width() - width, 0, width, below.height())
