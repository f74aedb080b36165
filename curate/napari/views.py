"""Pictures of a cell: the current patch, the strip of all planes, the focus curve."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from fgaf.curate.napari.colours import Colours
from fgaf.curate.session.closeup import Closeup

_GAP: Final = 4


class View(QWidget):
    """A painted view of the current cell; `marks` are highlighted planes.

    Signals
    -------
    picked
        A plane was clicked.
    chosen
        A plane was clicked twice.
    turned
        The wheel was turned by some planes.
    """

    picked = Signal(int)
    chosen = Signal(int)
    turned = Signal(int)
    smallest = QSize(110, 60)

    def __init__(self, colours: Colours) -> None:
        super().__init__()
        self.colours = colours
        self.closeup: Closeup | None = None
        self.plane = 0
        self.suggested: float | None = None
        self.decided: float | None = None
        self.jumps: tuple[int, ...] = ()
        self._images: list[QImage] = []
        self._imaged: Closeup | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(self.smallest)

    def show_cell(
        self,
        closeup: Closeup | None,
        plane: int,
        suggested: float | None,
        decided: float | None,
        jumps: tuple[int, ...],
    ) -> None:
        """Show a cell, or nothing; `suggested` and `decided` are drive positions, µm.

        Parameters
        ----------
        closeup
            The cell's pictures; None for nothing.
        plane
            Number of the plane in view.
        suggested, decided
            Focus, drive µm; None if there is none.
        jumps
            Numbers of the planes at which the track jumps.
        """
        self.closeup, self.plane = closeup, plane
        self.suggested, self.decided, self.jumps = suggested, decided, jumps
        self.update()

    def images(self) -> list[QImage]:
        """The patches, each as an 8-bit image."""
        if self.closeup is not None and self._imaged is not self.closeup:
            self._images = [_image(patch, self.closeup.limits) for patch in self.closeup.patches]
            self._imaged = self.closeup
        return self._images

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go through the planes."""
        if event is not None and event.angleDelta().y():
            self.turned.emit(1 if event.angleDelta().y() > 0 else -1)

    def plane_near(self, z_um: float) -> int:
        """Plane nearest a drive position."""
        z = np.zeros(1) if self.closeup is None else self.closeup.z_um
        return int(np.argmin(np.abs(z - z_um)))


class PatchView(View):
    """The patch of the current plane, as large as possible."""

    smallest = QSize(120, 120)

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint."""
        painter = QPainter(self)
        if self.closeup is None:
            return
        side = min(self.width(), self.height()) - 2
        place = QRect((self.width() - side) // 2, (self.height() - side) // 2, side, side)
        painter.drawImage(place, self.images()[self.plane])
        painter.setPen(QPen(self.colours.frame, 1))
        painter.drawRect(place)
        painter.setPen(QPen(QColor(255, 255, 255, 110), 1))
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):  # ticks that do not cover the cell
            painter.drawLine(
                place.center().x() + round(dx * 0.5 * side),
                place.center().y() + round(dy * 0.5 * side),
                place.center().x() + round(dx * 0.44 * side),
                place.center().y() + round(dy * 0.44 * side),
            )


class FilmStrip(View):
    """Thumbnails of all planes in rows; the current plane is framed."""

    smallest = QSize(160, 90)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go to the plane under the mouse."""
        plane = self._under(event)
        if plane is not None:
            self.picked.emit(plane)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose the plane under the mouse."""
        plane = self._under(event)
        if plane is not None:
            self.chosen.emit(plane)

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint."""
        if self.closeup is None:
            return
        painter = QPainter(self)
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        suggested = None if self.suggested is None else self.plane_near(self.suggested)
        decided = None if self.decided is None else self.plane_near(self.decided)
        for plane, place in enumerate(self._places()):
            painter.drawImage(place, self.images()[plane])
            label = f"{self.closeup.z_um[plane]:+.2f}".rstrip("0").rstrip(".")
            put_label(painter, place, label, QColor("white"))
            if plane in self.jumps:
                put_label(
                    painter, place.translated(0, place.height() - 14), "jump", QColor("#ffb347")
                )
            for marked, colour, style, inset in (
                (decided, self.colours.decided, Qt.PenStyle.SolidLine, 4),
                (suggested, self.colours.suggested, Qt.PenStyle.DashLine, 2),
                (self.plane, self.colours.here, Qt.PenStyle.SolidLine, 0),
            ):
                if plane == marked:
                    painter.setPen(QPen(colour, 2, style))
                    painter.drawRect(place.adjusted(inset, inset, -inset - 1, -inset - 1))
            if plane == decided:
                put_label(
                    painter, place.translated(place.width() - 16, 0), "✔", self.colours.decided
                )

    def _under(self, event: QMouseEvent | None) -> int | None:
        """The plane under the mouse."""
        if event is None or self.closeup is None:
            return None
        at = event.position().toPoint()
        return next((p for p, place in enumerate(self._places()) if place.contains(at)), None)

    def _places(self) -> list[QRect]:
        """The largest squares that hold all planes in rows."""
        n = 0 if self.closeup is None else len(self.closeup.z_um)
        best, across = 0, 1
        for columns in range(1, n + 1):
            rows = -(-n // columns)
            side = min(self.width() // columns, self.height() // rows) - _GAP
            if side > best:
                best, across = side, columns
        pitch = best + _GAP
        left = max(0, (self.width() - across * pitch) // 2)
        return [
            QRect(left + (p % across) * pitch, (p // across) * pitch, best, best) for p in range(n)
        ]


class CurveView(View):
    """Contrast over the planes, with the suggestion, the decision and the current plane."""

    smallest = QSize(160, 64)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go to the plane under the mouse."""
        if event is not None and self.closeup is not None:
            z = self.closeup.z_um
            at = (event.position().x() - self._box().left()) / max(self._box().width(), 1)
            self.picked.emit(self.plane_near(float(z[0] + at * (z[-1] - z[0]))))

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint."""
        if self.closeup is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        box, z, contrast = self._box(), self.closeup.z_um, self.closeup.contrast
        painter.setPen(QPen(self.colours.frame, 1))
        painter.drawRect(box)

        def across(z_um: float) -> float:
            share = (z_um - z[0]) / max(float(z[-1] - z[0]), 1e-9)
            return float(box.left() + min(max(share, 0.0), 1.0) * box.width())

        for z_um, colour, style in (
            (float(z[self.plane]), self.colours.here, Qt.PenStyle.DotLine),
            (self.suggested, self.colours.suggested, Qt.PenStyle.DashLine),
            (self.decided, self.colours.decided, Qt.PenStyle.SolidLine),
        ):
            if z_um is not None:
                painter.setPen(QPen(colour, 2, style))
                painter.drawLine(
                    QPointF(across(z_um), box.top()), QPointF(across(z_um), box.bottom())
                )
        known = np.flatnonzero(np.isfinite(contrast))
        points = [
            QPointF(across(float(z[p])), box.bottom() - 4 - float(contrast[p]) * (box.height() - 8))
            for p in known
        ]
        painter.setPen(QPen(self.colours.text, 1.5))
        painter.drawPolyline(QPolygonF(points))
        painter.setBrush(self.colours.text)
        for point in points:
            painter.drawEllipse(point, 2, 2)
        painter.setPen(self.colours.faint)
        under = QRectF(box.left(), box.bottom() + 1, box.width(), 14)
        painter.drawText(under, Qt.AlignmentFlag.AlignLeft, f"{z[0]:+.1f} µm")
        painter.drawText(under, Qt.AlignmentFlag.AlignRight, f"{z[-1]:+.1f} µm")
        words = "contrast" if points else "no focus curve: too near the border"
        painter.drawText(under, Qt.AlignmentFlag.AlignHCenter, words)

    def _box(self) -> QRectF:
        return QRectF(8, 4, self.width() - 16, self.height() - 22)


class Pictures(QWidget):
    """Patch, strip and curve of one cell; signals as those of `View`.

    The strip is beside the patch where there is more width than height, else below it.

    Parameters
    ----------
    colours
        Colours of the theme.
    """

    picked = Signal(int)
    chosen = Signal(int)
    turned = Signal(int)

    def __init__(self, colours: Colours) -> None:
        super().__init__()
        self.patch, self.film = PatchView(colours), FilmStrip(colours)
        self.curve = CurveView(colours)
        self._views = (self.patch, self.film, self.curve)
        self.setMinimumSize(160, 290)
        for view in self._views:
            view.setParent(self)
            view.picked.connect(self.picked)
            view.chosen.connect(self.chosen)
            view.turned.connect(self.turned)
        self._label = QLabel(self)
        self._label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._label.setWordWrap(True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Arrange the views."""
        super().resizeEvent(event)
        width, height = self.width(), self.height()
        curve = min(max(height // 6, self.curve.smallest.height()), 140)
        above = height - curve - _GAP
        if width > above:
            side = min(above, width // 2)
            patch = QRect(0, 0, side, above)
            film = QRect(side + _GAP, 0, width - side - _GAP, above)
        else:
            part = above * 6 // 11
            patch, film = QRect(0, 0, width, part), QRect(0, part + _GAP, width, above - part)
        self.patch.setGeometry(patch)
        self.film.setGeometry(film)
        self.curve.setGeometry(0, height - curve, width, curve)
        self._label.setGeometry(self.rect())

    @property
    def empty(self) -> bool:
        """Whether no cell is shown."""
        return self.patch.closeup is None

    @property
    def words(self) -> str:
        """The words that are shown instead of a cell."""
        return self._label.text()

    def show_cell(self, closeup: Closeup | None, *about: Any) -> None:
        """Show a cell, or nothing.

        Parameters
        ----------
        closeup, *about
            As of `View.show_cell`.
        """
        self._label.setText("")
        for view in self._views:
            view.show_cell(closeup, *about)

    def show_words(self, words: str) -> None:
        """Show a few words instead of a cell.

        Parameters
        ----------
        words
            Why no cell is shown.
        """
        self.show_cell(None, 0, None, None, ())
        self._label.setText(words)

    def dye(self, colours: Colours) -> None:
        """Take the colours of another theme."""
        for view in self._views:
            view.colours = colours
            view.update()


def _image(patch: npt.NDArray[Any], limits: tuple[float, float]) -> QImage:
    low, high = limits
    grey = np.clip((patch.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    pixels = np.ascontiguousarray(grey.astype(np.uint8))
    side = pixels.shape[0]
    return QImage(pixels.tobytes(), side, side, side, QImage.Format.Format_Grayscale8).copy()


def put_label(painter: QPainter, place: QRect, text: str, colour: QColor) -> None:
    """Write into the upper left corner of a picture.

    Parameters
    ----------
    painter
        Paints it.
    place
        The picture.
    text, colour
        The words, and their colour.
    """
    width = painter.fontMetrics().horizontalAdvance(text) + 4
    box = QRect(place.left() + 2, place.top() + 1, width, 13)
    painter.fillRect(box, QColor(0, 0, 0, 150))
    painter.setPen(colour)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
