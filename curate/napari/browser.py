"""View an archive, cell by cell, in napari."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.curate.napari.colours import Colours
from fgaf.curate.napari.dock import show_step_numbers
from fgaf.curate.napari.gallery import Gallery
from fgaf.curate.napari.plugin import settings_of
from fgaf.curate.napari.views import FilmStrip
from fgaf.curate.session.catalogue import Entry
from fgaf.curate.session.closeup import Closeup
from fgaf.curate.session.thumbnails import Thumbnails
from fgaf.dataset.archive import DEFAULT_SPLIT, FORMAT as ARCHIVE, Archive, write_archive
from fgaf.dataset.derive.subset import Selection, subset
from fgaf.dataset.splits.split import SIDES

_MARKS: Final = {
    side: (colour, "")
    for side, colour in zip(SIDES, ("#95b0e6", "#ffe14d", "#e69973"), strict=True)
}


class Browser(QWidget):
    """The cells of an archive as a gallery; the patches of one cell in the canvas, by depth."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.archive: Archive | None = None
        self._lifetime = ExitStack()
        self._layer: Any = None
        self._napari_window: QWidget | None = None
        colours = Colours.of(napari_viewer.theme)
        choose = QPushButton("Open archive…")
        choose.clicked.connect(self._choose)
        self.gallery = Gallery(colours, _MARKS, kind="split")
        self.gallery.reason.everything = "all labels"
        self.gallery.opened.connect(self.show_cell)
        self.gallery.entered.connect(self.show_cell)
        self.film = FilmStrip(colours)
        self.film.picked.connect(self._turn)
        self.film.turned.connect(lambda planes: self._turn(self.film.plane + planes))
        self._save = QPushButton("Save without the selected…")
        self._save.setToolTip("Write another archive that lacks the selected cells")
        self._save.clicked.connect(self._ask_save)
        self._line = QLabel("no archive is open")
        self._line.setWordWrap(True)
        self._line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(self)
        layout.addWidget(choose)
        layout.addWidget(self.gallery, 3)
        layout.addWidget(self._save)
        layout.addWidget(self.film, 1)
        layout.addWidget(self._line)
        napari_viewer.dims.events.current_step.connect(self._slid)
        napari_viewer.events.theme.connect(self._themed)
        self.destroyed.connect(self._lifetime.close)
        opened = [lay for lay in self.viewer.layers if lay.metadata.get("format") == ARCHIVE]
        if opened:
            self.open(Path(opened[-1].metadata["path"]))

    def open(self, path: Path) -> None:
        """Show the cells of an archive; errors are shown in the line below."""
        lifetime = ExitStack()
        try:
            archive = lifetime.enter_context(Archive.open(path))
        except FgafError as error:
            self._line.setText(str(error))
            return
        self._lifetime.close()
        thumbnails = Thumbnails(ArchiveCut(archive))
        lifetime.callback(thumbnails.close)
        self._lifetime.push(lifetime.pop_all())
        self.archive = archive
        self.gallery.show_pictures(thumbnails)
        self.gallery.clear_filter()
        entries = entries_of(archive)
        self.gallery.show_entries(entries)
        self._line.setText(
            f"{count(archive.n_cells, 'cell')} x {archive.n_classes} depths of "
            f"{archive.header.patch_px} pixels"
        )
        if entries:
            self.show_cell(entries[0].name)

    def show_cell(self, name: str) -> None:
        """Show the patches of a cell.

        Parameters
        ----------
        name
            Its name.
        """
        archive = self.archive
        if archive is None:
            return
        cell = int(np.flatnonzero(archive.cells.id == name)[0])
        rows = archive.rows_of(cell)
        patches, depth = archive.images[rows], archive.depth_um[rows]
        settings = settings_of(
            patches, archive.header.optics, (archive.header.step_um, "um", "depth")
        )
        settings["translate"] = (float(depth[0]), 0.0, 0.0)
        if self._layer is not None and self._layer in self.viewer.layers:
            self._layer.data = patches
            self._layer.contrast_limits = settings["contrast_limits"]
            self._layer.translate = settings["translate"]
        else:
            for layer in self.viewer.layers:  # open layers would lie below and beside this one
                layer.visible = False
            self._layer = Image(patches, **settings)
            self.viewer.add_layer(self._layer)
            self.viewer.reset_view()
        self._layer.name = name
        self.gallery.show_in_view(name)
        self._napari_window = self.window()
        self._number_steps(shown=False)  # the line below counts from 1
        unknown = np.full(len(depth), np.nan)
        closeup = Closeup(patches, settings["contrast_limits"], depth, unknown)
        middle = int(np.argmin(np.abs(depth)))
        self.film.show_cell(closeup, middle, None, None, ())
        self._turn(middle)

    def save_without(self, names: Sequence[str], path: Path, overwrite: bool = False) -> None:
        """Write another archive without some cells.

        Parameters
        ----------
        names
            Cells to leave out.
        path
            The archive to write.
        overwrite
            Replace a file that is there.

        Raises
        ------
        FgafError
            No cell is left, or the file cannot be written.
        """
        if self.archive is None:
            return
        part = subset(self.archive, Selection(without=tuple(names)))
        write_archive(path, part, overwrite)
        self._line.setText(f"wrote {path}: {count(part.n_cells, 'cell')}")

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Leave the viewer with the widget."""
        self._leave()
        super().closeEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Leave the viewer when napari takes the widget out of a dock widget to close it."""
        super().changeEvent(event)
        taken = event is not None and event.type() == QEvent.Type.ParentChange
        if taken and self.parentWidget() is None:
            self._leave()

    def _leave(self) -> None:
        """Close the file, and leave the viewer as it was; may be called again."""
        self.viewer.dims.events.current_step.disconnect(self._slid)
        self.viewer.events.theme.disconnect(self._themed)
        if self._layer is not None and self._layer in self.viewer.layers:
            self.viewer.layers.remove(self._layer)
        self._number_steps(shown=True)
        self.gallery.show_pictures(None)
        self._lifetime.close()

    def _number_steps(self, shown: bool) -> None:
        if self._napari_window is not None:
            show_step_numbers(self._napari_window, shown)

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Dataset archive", "", "*.h5")
        if name:
            self.open(Path(name))

    def _ask_save(self) -> None:
        names = self.gallery.selected()
        if not names or self.archive is None:
            self.gallery.say("select the cells to leave out first")
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Archive without the selected cells", "", "*.h5"
        )
        if name:
            try:
                self.save_without(names, Path(name), overwrite=True)  # the dialog has asked
            except FgafError as error:
                self._line.setText(str(error))

    def _turn(self, plane: int) -> None:
        """Go to a plane with the viewer's slider."""
        if self._layer is None or self._layer not in self.viewer.layers:
            return
        plane = min(max(plane, 0), len(self._layer.data) - 1)
        z_um = self._layer.data_to_world((plane, 0, 0))[0]
        self.viewer.dims.set_point(self.viewer.dims.ndim - 3, z_um)
        self._tell()

    def _slid(self, _: Any) -> None:
        self._tell()

    def _tell(self) -> None:
        """Say which plane is in view, as the slider stands."""
        archive, closeup = self.archive, self.film.closeup
        if archive is None or closeup is None or self._layer not in self.viewer.layers:
            return
        at = np.array(self.viewer.dims.point)[-3:]
        plane = min(max(round(float(self._layer.world_to_data(at)[0])), 0), len(closeup.z_um) - 1)
        self.film.show_cell(closeup, plane, None, None, ())
        cell = int(np.flatnonzero(archive.cells.id == self._layer.name)[0])
        number = int(archive.depth_class[archive.rows_of(cell)][plane])
        cells = archive.cells
        by = _by(str(cells.annotator[cell]), str(cells.method[cell]))
        self._line.setText(
            f"{cells.id[cell]}: depth {closeup.z_um[plane]:+.2f} µm, class {number + 1} of "
            f"{archive.n_classes}; focus at {cells.focus_um[cell]:+.2f} µm in "
            f"{cells.source[cell]}, {by}"
        )

    def _themed(self, _: Any) -> None:
        self.gallery.colours = self.film.colours = Colours.of(self.viewer.theme)
        self.film.update()


class ArchiveCut:
    """Cuts the pictures of an open archive: patches by their row.

    Parameters
    ----------
    archive
        Closed by its owner.
    """

    def __init__(self, archive: Archive) -> None:
        self._images = archive.images

    def __call__(self, picture: int) -> npt.NDArray[Any]:
        """Read a patch."""
        return np.asarray(self._images[picture])

    def close(self) -> None:
        """Nothing is to be closed."""


def entries_of(archive: Archive) -> list[Entry]:
    """List the cells of an archive for a gallery, each at the plane nearest to its focus.

    Parameters
    ----------
    archive
        The archive.
    """
    sides, cells = archive.splits.get(DEFAULT_SPLIT), archive.cells
    entries = []
    for cell in range(archive.n_cells):
        rows = archive.rows_of(cell)
        nearest = int(np.argmin(np.abs(archive.depth_um[rows])))
        entries.append(
            Entry(
                name=str(cells.id[cell]),
                status="" if sides is None else SIDES[sides[cell]],
                reason=_by(str(cells.annotator[cell]), str(cells.method[cell])),
                sample=str(cells.sample_id[cell]),
                confidence=float(cells.confidence[cell]),
                focus_um=float(cells.focus_um[cell]),
                place=(cell,),
                picture=rows.start + nearest,
            )
        )
    return entries


def _by(annotator: str, method: str) -> str:
    return f"by {annotator}" if method == "person" and annotator else f"by {method}"
