"""Opens the curation window, from the command line or from napari's menu."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QDockWidget,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.errors import FgafError
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.napari.panel import Panel
from fgaf.curate.napari.preferences import read_preferences
from fgaf.curate.session.finding import find_stacks, open_session
from fgaf.curate.session.journal import begun
from fgaf.curate.session.network import Network
from fgaf.curate.session.queue import QueueSettings
from fgaf.curate.session.session import Session
from fgaf.dataset.raw import FORMAT as RAW

_log = logging.getLogger(__name__)

TITLE = "Curate focus stacks"


def open_window(
    session: Session,
    queue: QueueSettings | None = None,
    paths: Sequence[Path] = (),
    *,
    annotator: str = "",
    note: str = "",
    network: Network | None = None,
    show: bool = True,
) -> Panel:
    """Open a napari window with the curation panel beside the field.

    Parameters
    ----------
    session
        Open session; closed with the panel (`Panel.shut`).
    queue
        The cells to show; None for all in the preferred order.
    paths
        Raw stacks to search for cells first.
    annotator
        The person; empty for the one in the preferences.
    note
        A line to show at the start.
    network
        Suggests focus for searched stacks; None for the focus curve.
    show
        Whether the window is shown.
    """
    viewer = napari.Viewer(title=TITLE, show=show)
    preferences = read_preferences()
    if annotator:
        preferences = replace(preferences, annotator=annotator)
    panel = Panel(viewer, session, preferences, queue, paths, note, network)
    viewer.window.add_dock_widget(panel, name=TITLE, area="right")
    window = panel.window()
    for dock in [] if window is None else window.findChildren(QDockWidget):
        if dock.objectName() in ("layer controls", "layer list"):
            dock.hide()  # room for the field; napari's Window menu brings them back
    panel.setFocus()
    return panel


def run() -> None:
    """Run the windows until the last one is closed."""
    napari.run()


class Start(QWidget):
    """napari's menu entry: asks for raw stacks and a session folder, then shows the panel."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.panel: Panel | None = None
        preferences = read_preferences()
        self._paths: list[Path] = _opened(napari_viewer)
        self._stacks = QLabel()
        self._stacks.setWordWrap(True)
        self._folder = QLineEdit()
        self._annotator = QLineEdit(preferences.name)
        self._patch = QSpinBox()
        self._patch.setRange(8, 1024)
        self._patch.setValue(PatchSettings().patch_px)
        self._step = _micrometres(PatchSettings().step_um)
        self._half_range = _micrometres(PatchSettings().half_range_um)
        self._pixel = _micrometres(0.0)
        self._pixel.setRange(0.0, 100.0)
        self._pixel.setDecimals(4)
        self._pixel.setSpecialValueText("that of the stacks")
        self._pixel.setValue(0.0)
        self._look = QCheckBox("Only look")
        self._look.setToolTip("Open the session for reading only, as --read-only does")
        self._line = QLabel()
        self._line.setWordWrap(True)
        files, folder = QPushButton("Files…"), QPushButton("Folder…")
        files.clicked.connect(self._choose_files)
        folder.clicked.connect(self._choose_folder)
        place = QPushButton("Choose…")
        place.clicked.connect(self._choose_session)
        begin = QPushButton("Start or continue")
        begin.clicked.connect(self.begin)

        self._form = QWidget()
        form = QFormLayout(self._form)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow("Raw stacks", self._stacks)
        form.addRow("", _beside(files, folder))
        form.addRow("Session folder", _beside(self._folder, place))
        form.addRow("Annotator", self._annotator)
        form.addRow("Patch, pixels", self._patch)
        form.addRow("Step, µm", self._step)
        form.addRow("Half range, µm", self._half_range)
        form.addRow("Pixel, µm", self._pixel)
        form.addRow("", self._look)
        form.addRow(begin)
        form.addRow(self._line)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._form, 0, Qt.AlignmentFlag.AlignTop)
        self._list()

    def begin(self) -> None:
        """Open or create the session, and replace the form by the panel."""
        if not self._folder.text().strip():
            self._line.setText("choose a session folder: one to continue, or a new one")
            self._folder.setFocus()
            return
        folder = Path(self._folder.text().strip())
        try:
            settings = None
            if not begun(folder):
                settings = PatchSettings(
                    self._patch.value(), self._step.value(), self._half_range.value()
                )
            pixel = None if settings is None else self._pixel.value() or None
            session, note = open_session(
                folder,
                self._paths,
                settings,
                pixel_size_um=pixel,
                read_only=self._look.isChecked(),
            )
        except (FgafError, OSError) as error:
            _log.info("%s cannot be opened", folder, exc_info=True)
            self._line.setText(str(error))
            return
        for layer in self.viewer.layers:  # open layers would lie under the field
            layer.visible = False
        preferences = read_preferences()
        name = self._annotator.text().strip() or preferences.name
        self.panel = Panel(
            self.viewer,
            session,
            replace(preferences, annotator=name),
            paths=self._paths,
            note=note,
        )
        self._layout.removeWidget(self._form)
        self._layout.insertWidget(0, self.panel, 1)  # above the stretch that napari has added
        self._form.hide()

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Close the session with the widget."""
        if self.panel is not None:
            self.panel.shut()
        super().closeEvent(event)

    def _choose_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Raw stacks", "", "*.stack.h5")
        self._take([Path(name) for name in names])

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of raw stacks")
        self._take([Path(name)] if name else [])

    def _take(self, sources: list[Path]) -> None:
        try:
            self._paths = find_stacks(sources) if sources else self._paths
            self._line.setText("")
        except FgafError as error:
            self._line.setText(str(error))
        self._list()

    def _choose_session(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of the session")
        if name:
            self._folder.setText(name)

    def _list(self) -> None:
        names = ", ".join(path.name for path in self._paths[:3])
        more = f" and {len(self._paths) - 3} more" if len(self._paths) > 3 else ""
        self._stacks.setText(f"{names}{more}" if names else "none chosen")
        if self._paths and not self._folder.text():
            self._folder.setText(str(self._paths[0].parent / "session"))


def _opened(viewer: Any) -> list[Path]:
    """Raw stacks that are open in the viewer already."""
    about = [layer.metadata for layer in viewer.layers if layer.metadata.get("format") == RAW]
    return [Path(name) for a in about for name in a.get("paths", [a.get("path")])]


def _micrometres(value: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.01, 100)
    box.setDecimals(2)
    box.setSingleStep(0.1)
    box.setValue(value)
    return box


def _beside(*widgets: QWidget) -> QWidget:
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return holder
