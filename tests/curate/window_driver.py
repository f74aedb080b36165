"""Drives the curation window as a person would: through key events, in a real napari window."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from fgaf.curate.napari.panel import Panel
from fgaf.curate.napari.start import open_window
from fgaf.curate.session.finding import find_stacks, open_session

PATIENCE_S = 60.0


def opened(folder: Path, raw: Path | None, annotator: str = "ann") -> Panel:
    """Open the window on a session, and wait until its stacks are searched."""
    paths = [] if raw is None else find_stacks([raw])
    session, note = open_session(folder, paths)
    panel = open_window(session, paths=paths, annotator=annotator, note=note)
    window = panel.window()
    assert window is not None
    window.resize(1200, 800)
    window.activateWindow()
    QApplication.setActiveWindow(window)
    wait(lambda: not panel.search.running and window.isActiveWindow())
    return panel


def wait(until: object) -> None:
    """Let the window work until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not until():  # type: ignore[operator]
        QApplication.processEvents()
        if time.monotonic() > end:
            raise TimeoutError
    QApplication.processEvents()


def press(panel: Panel, *keys: str) -> None:
    """Press keys, named as in the table of shortcuts."""
    for key in keys:
        combination = QKeySequence(key)[0]
        QTest.keyClick(panel, combination.key(), combination.keyboardModifiers())
        QApplication.processEvents()


def close(panel: Panel) -> None:
    """Close panel and window."""
    panel.shut()
    panel.viewer.close()
    QApplication.processEvents()


if __name__ == "__main__":
    shown = opened(Path(sys.argv[1]), Path(sys.argv[2]))
    press(shown, "Space", "Right", "Return", "2", "Space", "Ctrl+Z", "U")
    print(shown.controller.name, shown.controller.left, flush=True)
    sys.stdin.read()
