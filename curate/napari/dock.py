"""The dock widget around the panel: its share of the window, and its end."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


class Dock(QObject):
    """Gives a panel a share of the window's width, and notices when it is closed.

    The share stays the same when the window is resized; a person changes it with the splitter.

    Parameters
    ----------
    panel
        The panel; found in its dock widget by `settle`.
    share
        Its share of the window's width, from 0 to 1.
    changed
        Called with the share that a person has chosen.
    closed
        Called when the dock widget was closed in an open window.
    """

    def __init__(
        self,
        panel: QWidget,
        share: float,
        changed: Callable[[float], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(panel)
        self._panel = panel
        self._share = share
        self._changed, self._closed = changed, closed
        self._dock: QDockWidget | None = None
        self._window: QMainWindow | None = None
        self._content: QWidget | None = None
        self._pressed_at: int | None = None

    @property
    def field(self) -> QWidget | None:
        """The widget with napari's canvas; None before the panel is in a window."""
        return None if self._window is None else self._window.centralWidget()

    def settle(self) -> None:
        """Find the dock widget and the window, once the panel is in them."""
        if self._window is not None:
            return
        above = self._panel.parentWidget()
        while above is not None and not isinstance(above, QMainWindow):
            if isinstance(above, QDockWidget):
                self._dock = above
            above = above.parentWidget()
        if above is not None and self._dock is not None:
            self._window = above
            self._content = self._dock.widget()
            for watched in (self._window, self._content):
                if watched is not None:
                    watched.installEventFilter(self)
            self._place()

    def show_step_numbers(self, shown: bool) -> None:
        """Show or hide the numbers beside napari's sliders, which count planes from 0.

        Parameters
        ----------
        shown
            Whether they are shown.
        """
        if self._window is not None:
            show_step_numbers(self._window, shown)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Keep the share when the window is resized; take a new one from the splitter.

        Parameters
        ----------
        watched, event
            As of Qt's `QObject.eventFilter`.
        """
        kind = None if event is None else event.type()
        if watched is self._window and self._dock is not None:
            if kind == QEvent.Type.Resize:
                QTimer.singleShot(0, self._place)
            elif kind == QEvent.Type.MouseButtonPress:
                self._pressed_at = self._dock.width()
            elif kind == QEvent.Type.MouseButtonRelease:
                self._released()
        elif watched is self._content and kind == QEvent.Type.ParentChange:
            self._taken_out()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        if self._window is not None and self._dock is not None:
            give_share(self._dock, self._share)

    def _released(self) -> None:
        before, self._pressed_at = self._pressed_at, None
        if self._window is None or self._dock is None or before in (None, self._dock.width()):
            return
        self._share = self._dock.width() / max(self._window.width(), 1)
        self._changed(self._share)

    def _taken_out(self) -> None:
        """Napari takes the content out of a dock widget to close it."""
        if self._content is not None and self._content.parentWidget() is None:
            self.show_step_numbers(True)
            self._dock = self._window = None
            self._closed()


def show_step_numbers(window: QWidget, shown: bool) -> None:
    """Show or hide the numbers beside napari's sliders, which count from 0.

    Parameters
    ----------
    window
        napari's.
    shown
        Whether they are shown.
    """
    for number in window.findChildren(QWidget, "slice_label"):
        number.setVisible(shown)


def give_share(dock: QDockWidget, share: float) -> None:
    """Give a dock widget a share of its window's width.

    Parameters
    ----------
    dock
        The dock widget, in a main window.
    share
        From 0 to 1.
    """
    window = dock.window()
    if isinstance(window, QMainWindow):
        width = round(share * window.width())
        window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
