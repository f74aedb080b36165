"""View an archive, cell by cell, in napari."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.errors import FgafError
from fgaf.curate.napari.plugin import settings_of
from fgaf.dataset.archive import FORMAT as ARCHIVE, Archive

_SIDES: Final = ("train", "validation", "test")
_COLUMNS: Final = ("cell", "sample", "focus µm", "by", "method", "split")
_ALL: Final = "all"


class Browser(QWidget):
    """The cells of an archive in a table; the patches of the selected cell in the canvas, by z."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.archive: Archive | None = None
        self._lifetime = ExitStack()
        self._layer: Any = None
        choose = QPushButton("Open archive…")
        choose.clicked.connect(self._choose)
        self._side, self._sample = QComboBox(), QComboBox()
        for choice in (self._side, self._sample):
            choice.currentTextChanged.connect(self._filter)
        self._line = QLabel("no archive is open")
        self._line.setWordWrap(True)
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSortingEnabled(True)
        self.table.itemSelectionChanged.connect(self._selected)
        filters = QWidget()
        row = QHBoxLayout(filters)
        row.setContentsMargins(0, 0, 0, 0)
        for item in (QLabel("split"), self._side, QLabel("sample"), self._sample):
            row.addWidget(item)
        layout = QVBoxLayout(self)
        for widget in (choose, filters, self.table, self._line):
            layout.addWidget(widget)
        opened = [lay for lay in self.viewer.layers if lay.metadata.get("format") == ARCHIVE]
        if opened:
            self.open(Path(opened[0].metadata["path"]))

    def open(self, path: Path) -> None:
        """Show the cells of an archive; errors are shown in the line below."""
        lifetime = ExitStack()
        try:
            archive = lifetime.enter_context(Archive.open(path))
        except FgafError as error:
            self._line.setText(str(error))
            return
        self._lifetime.close()
        self._lifetime, self.archive = lifetime, archive
        for choice, names in (
            (self._side, (_ALL, *_SIDES)),
            (self._sample, (_ALL, *sorted({str(name) for name in archive.cells.sample_id}))),
        ):
            choice.blockSignals(True)
            choice.clear()
            choice.addItems(list(names))
            choice.blockSignals(False)
        self._filter()

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Close the file with the widget."""
        if self._layer is not None and self._layer in self.viewer.layers:
            self.viewer.layers.remove(self._layer)
        self._lifetime.close()
        super().closeEvent(event)

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Dataset archive", "", "*.h5")
        if name:
            self.open(Path(name))

    def _filter(self, _: str = "") -> None:
        archive = self.archive
        if archive is None:
            return
        sides = archive.splits.get("default")
        shown = [
            cell
            for cell in range(archive.n_cells)
            if self._sample.currentText() in (_ALL, str(archive.cells.sample_id[cell]))
            and (sides is None or self._side.currentText() in (_ALL, _SIDES[sides[cell]]))
        ]
        self.table.setSortingEnabled(False)
        self.table.setRowCount(len(shown))
        for row, cell in enumerate(shown):
            cells = archive.cells
            side = "" if sides is None else _SIDES[sides[cell]]
            values = (cells.id, cells.sample_id, cells.focus_um, cells.annotator, cells.method)
            for column, value in enumerate([*(v[cell] for v in values), side]):
                item = QTableWidgetItem()
                number = isinstance(value, float | np.floating)
                item.setData(
                    Qt.ItemDataRole.DisplayRole, round(float(value), 2) if number else str(value)
                )
                item.setData(Qt.ItemDataRole.UserRole, cell)
                self.table.setItem(row, column, item)
        self.table.setSortingEnabled(True)
        self.table.resizeColumnsToContents()
        self._line.setText(
            f"{len(shown)} of {archive.n_cells} cells x {archive.n_classes} depths of "
            f"{archive.header.patch_px} pixels"
        )
        if shown:
            self.table.selectRow(0)

    def _selected(self) -> None:
        rows = self.table.selectedItems()
        if self.archive is None or not rows:
            return
        cell = int(rows[0].data(Qt.ItemDataRole.UserRole))
        archive = self.archive
        patches = archive.images[archive.rows_of(cell)]
        depth = archive.depth_um[archive.rows_of(cell)]
        settings = settings_of(
            patches, archive.header.optics, (archive.header.step_um, "um", "depth")
        )
        if self._layer is not None and self._layer in self.viewer.layers:
            self._layer.data = patches
            self._layer.contrast_limits = settings["contrast_limits"]
        else:
            self._layer = Image(patches, **settings)
            self.viewer.add_layer(self._layer)
            self.viewer.reset_view()
        self._layer.name = f"{archive.cells.id[cell]}"
        self._line.setText(
            f"{archive.cells.id[cell]}: depths {depth[0]:+.2f} to {depth[-1]:+.2f} µm, from "
            f"{archive.cells.source[cell]}"
        )
