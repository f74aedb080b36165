"""Drives the curation window as a person would: through key events, in a real napari window."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

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
    activate(panel)
    wait(lambda: not panel.search.running and window.isActiveWindow())
    return panel


def activate(panel: Panel) -> None:
    """Give the window the keys: tests that run at the same time have windows on the same screen."""
    window = panel.window()
    if window is not None:
        window.activateWindow()
        QApplication.setActiveWindow(window)


def wait(until: Callable[[], object]) -> None:
    """Let the window work until something holds; its threads have the processor meanwhile."""
    end = time.monotonic() + PATIENCE_S
    QApplication.processEvents()
    while not until():
        QTest.qWait(2)
        if time.monotonic() > end:
            raise TimeoutError
    QApplication.processEvents()


def press(panel: Panel, *keys: str, on: QWidget | None = None) -> None:
    """Press keys, named as in the table of shortcuts; the next when the cell is seen."""
    for key in keys:
        combination = QKeySequence(key)[0]
        activate(panel)
        QTest.keyClick(on or panel, combination.key(), combination.keyboardModifiers())
        QApplication.processEvents()
        wait(lambda: not panel.loading)


def go(panel: Panel, name: str) -> None:
    """Show a cell, and wait until it is seen."""
    panel.go(name)
    wait(lambda: not panel.loading)


def canvas_of(panel: Panel) -> QWidget:
    """The widget that napari draws the field on."""
    return panel.viewer.window._qt_viewer.canvas.native


def place_of(panel: Panel, y: float, x: float) -> QPoint:
    """Where a pixel of the frame is on the canvas."""
    layer, camera = panel.viewer.layers["field"], panel.viewer.camera
    size = panel.viewer.canvas.size
    world = layer.data_to_world((0, y, x))[-2:]
    down, right = (
        (w - c) * camera.zoom + side / 2
        for w, c, side in zip(world, camera.center[-2:], size, strict=True)
    )
    return QPoint(round(right), round(down))


def click(panel: Panel, y: float, x: float) -> None:
    """Click a pixel of the frame with the mouse."""
    QTest.mouseClick(canvas_of(panel), Qt.MouseButton.LeftButton, pos=place_of(panel, y, x))
    QApplication.processEvents()
    wait(lambda: not panel.loading)


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
