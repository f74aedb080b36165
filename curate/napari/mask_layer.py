"""The layer over the field in which a person draws the mask of a head, with napari's own tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels
from napari.viewer import Viewer

from fgaf.base.errors import FgafError
from fgaf.curate.detection.outline import proposed_head
from fgaf.curate.detection.scale import Scale
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.masks import shift
from fgaf.curate.session.state import CellState, StackRef

MASK: Final = "mask"
_OPACITY: Final = 0.35
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
        self, controller: AnnotationController, ref: StackRef, frame: Image, covering: list[Any]
    ) -> None:
        """Show the mask of the cell in view close up, or a proposal, with the brush in the hand.

        Parameters
        ----------
        controller
            The cell and the plane in view.
        ref
            Its stack.
        frame
            The layer of the frame.
        covering
            Layers that lie over the head; they are hidden meanwhile.

        Raises
        ------
        FgafError
            This pass is blind, the session is read-only, or a picture is missing.
        """
        cell, plane = controller.cell, controller.plane
        if cell is None or controller.queue.blind:
            raise FgafError("masks are not drawn in a blind pass: they are of the first labels")
        if controller.session.read_only:
            raise FgafError("this session is open for reading only: no mask can be drawn")
        self._pixel = np.array(frame.scale[-2:])
        mask, origin = controller.mask(frame.data.shape[-2:]), "of this plane"
        settings, head_um = controller.session.state.settings, controller.session.state.head_um
        if mask is None:
            scale = Scale(ref.pixel_size_um or float(self._pixel[0]), head_um)
            place = float(cell.y[plane]), float(cell.x[plane])
            mask, origin = proposed_head(np.asarray(frame.data[plane]), *place, scale), "proposed"
        elif plane not in cell.masks:
            origin = "moved here from the nearest plane with one"
        self.plane, self.origin, patch_px = plane, origin, settings.patch_px
        layer = Labels(
            mask.astype(np.uint8),
            name=MASK,
            scale=self._pixel,
            units=frame.units[-2:],
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
