"""The layer over the field in which a person draws the mask of a head, with napari's own tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels
from napari.viewer import Viewer

from fgaf.curate.session.masks import shift
from fgaf.curate.session.state import CellState

MASK: Final = "mask"
_OPACITY: Final = 0.45
_BRUSH: Final = 0.04
"""Width of the brush at first, in patches."""
_CLOSE_UP: Final = 1.2
"""Side of the view, in patches."""


class MaskLayer:
    """A Labels layer for one head in one plane; it moves with the path where planes are turned.

    Parameters
    ----------
    viewer
        napari's.
    lost
        Called with the name of the layer when it was deleted; `follow` puts it back.

    Attributes
    ----------
    plane
        Number of the plane whose mask is drawn.
    origin
        Where the mask came from at first, in words.
    """

    def __init__(self, viewer: Viewer, lost: Callable[[str], None]) -> None:
        self.plane = 0
        self.origin = ""
        self._viewer, self._lost = viewer, lost
        self._layer: Labels | None = None
        self._pixel: npt.NDArray[Any] = np.ones(2)
        self._camera: tuple[float, Any] = (1.0, ())
        self._hidden: list[Any] = []
        viewer.layers.events.removed.connect(self._removed)

    @property
    def drawing(self) -> bool:
        """Whether a mask is drawn."""
        return self._layer is not None

    @property
    def drawn(self) -> npt.NDArray[np.bool_]:
        """(Y, X) of the frame, true where any label was painted."""
        return np.zeros((0, 0), np.bool_) if self._layer is None else self._layer.data > 0

    def begin(
        self,
        mask: npt.NDArray[np.bool_],
        cell: CellState,
        plane: int,
        patch_px: int,
        field: Image,
        covering: list[Any],
        origin: str,
    ) -> None:
        """Show a mask close up, with the brush in the hand.

        Parameters
        ----------
        mask
            (Y, X) of the frame.
        cell, plane
            The cell, and the plane in view.
        patch_px
            Side of a patch, pixels.
        field
            The layer of the frame.
        covering
            Layers that lie over the head; they are hidden meanwhile.
        origin
            See the attribute.
        """
        self.plane, self.origin = plane, origin
        self._pixel = np.array(field.scale[-2:])
        layer = Labels(
            mask.astype(np.uint8),
            name=MASK,
            scale=self._pixel,
            units=field.units[-2:],
            opacity=_OPACITY,
        )
        layer.brush_size = max(1, round(_BRUSH * patch_px))
        self._hidden = [it for it in covering if it.visible]
        for it in self._hidden:
            it.visible = False
        camera = self._viewer.camera
        self._camera = camera.zoom, tuple(camera.center)
        self._layer = layer
        self.follow(cell, plane)
        side = float(self._pixel[0]) * patch_px * _CLOSE_UP
        camera.zoom = min(self._viewer.canvas.size) / side
        camera.center = (0, *(self._pixel * (cell.y[plane], cell.x[plane])))

    def follow(self, cell: CellState, plane: int) -> None:
        """Move the layer with the cell's path, and put it back if it was deleted.

        Parameters
        ----------
        cell, plane
            The cell, and the plane in view.
        """
        layer = self._layer
        if layer is None:
            return
        if layer not in self._viewer.layers:
            self._viewer.add_layer(layer)
            self._viewer.layers.selection.active = layer
            layer.mode = "paint"
        translate = self._pixel * shift(cell.y, cell.x, self.plane, plane)
        if not np.array_equal(layer.translate, translate):
            layer.translate = translate

    def undo(self) -> str:
        """Take back the latest stroke."""
        if self._layer is not None:
            self._layer.undo()
        return ""

    def redo(self) -> str:
        """Draw the stroke again."""
        if self._layer is not None:
            self._layer.redo()
        return ""

    def end(self) -> None:
        """Remove the layer, and show the field as before; may be called again."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        for it in self._hidden:
            it.visible = True
        self._viewer.camera.zoom, self._viewer.camera.center = self._camera

    def leave(self) -> None:
        """Stop following the viewer; may be called again."""
        self.end()
        self._viewer.layers.events.removed.disconnect(self._removed)

    def _removed(self, event: Any) -> None:
        if event.value is self._layer:
            self._lost(MASK)
