"""The field in napari's canvas: the raw frame, its cells, and the path of the cell in view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from napari.layers import Image, Points, Shapes
from napari.viewer import Viewer

from fgaf.curate.napari.plugin import stack_layer
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.state import CellState, StackRef

FIELD, CELLS, PATH, CENTRES = "field", "cells", "path", "centres"
COLOURS: Final[dict[str, str]] = {
    "open": "#ffd24d",
    "kept": "#5ad17a",
    "rejected": "#9a9a9a",
    "unsure": "#ffb347",
    "auto": "#4fb3ff",
}
_BLUE: Final = (0.31, 0.7, 1.0, 1.0)
_ORANGE: Final = (1.0, 0.7, 0.28, 1.0)
_THIN, _THICK = 0.02, 0.06
"""Width of the squares' borders, as a fraction of their side."""
_CLOSE_UP: Final = 5.0
"""Side of the close view of the cell, in units of a patch."""


class Field:
    """Layers of a viewer that follow an annotation controller.

    Parameters
    ----------
    viewer
        napari's.
    moved
        Called with plane, y and x (pixels) after a centre was dragged.
    turned
        Called with a plane when napari's slider was moved.
    """

    def __init__(
        self,
        viewer: Viewer,
        moved: Callable[[int, float, float], None],
        turned: Callable[[int], None],
    ) -> None:
        self.viewer = viewer
        self.close = False
        self.editing = False
        self._moved, self._turned = moved, turned
        self._layers: dict[str, Any] = {}
        self._shown = ""
        self._in_view = ""
        self._busy = False
        self._looks: tuple[Any, Any] = np.empty(0), np.empty(0)
        self._way: tuple[bytes, tuple[int, ...]] = b"", ()
        viewer.dims.events.current_step.connect(self._slid)

    def update(self, controller: AnnotationController, closeups: Closeups) -> None:
        """Show the controller's cell and plane.

        Parameters
        ----------
        controller
            The cell, stack and plane in view.
        closeups
            Opens the stack's frames.
        """
        cell, ref = controller.cell, controller.stack
        self._busy = True
        try:
            if cell is None or ref is None:
                return
            if ref.fingerprint != self._shown:
                self._show_stack(ref, closeups)
            self._show_plane(controller.plane)
            self._show_cells(controller, ref)
            self._show_path(cell)
            if cell.id != self._in_view:
                self._in_view = cell.id
                if self.close:
                    self._look_at(cell, controller)
        finally:
            self._busy = False

    def toggle_close(self, controller: AnnotationController) -> None:
        """Show the whole field, or the area near the cell."""
        self.close = not self.close
        if self.close and controller.cell is not None:
            self._look_at(controller.cell, controller)
        else:
            self.viewer.reset_view()

    def toggle_editing(self) -> None:
        """Start or end dragging of the centres."""
        self.editing = not self.editing
        centres = self._layers.get(CENTRES)
        if centres is not None:
            centres.editable = True
            self.viewer.layers.selection.active = centres if self.editing else self._layers[FIELD]
            centres.mode = "select" if self.editing else "pan_zoom"

    def place_of(self, position: tuple[float, ...]) -> tuple[float, float] | None:
        """Pixels (y, x) of the raw frame at a position of the canvas; None without a field."""
        layer = self._layers.get(FIELD)
        if layer is None:
            return None
        data = layer.world_to_data(position)
        return float(data[-2]), float(data[-1])

    def leave(self) -> None:
        """Stop following the viewer's slider."""
        self.viewer.dims.events.current_step.disconnect(self._slid)

    def forget(self) -> None:
        """Remove the layers."""
        self.leave()
        for layer in self._layers.values():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self._layers.clear()

    def _show_stack(self, ref: StackRef, closeups: Closeups) -> None:
        data, settings = stack_layer(closeups.stack(ref))
        self._shown = ref.fingerprint
        if FIELD in self._layers and self._layers[FIELD] in self.viewer.layers:
            layer = self._layers[FIELD]
            layer.data = data
            layer.scale = settings["scale"]
            layer.contrast_limits = settings["contrast_limits"]
        else:
            self._layers[FIELD] = self._add(Image(data, **(settings | {"name": FIELD})))
        self.viewer.reset_view()

    def _show_plane(self, plane: int) -> None:
        if self._slider() != plane:
            self.viewer.dims.set_current_step(self.viewer.dims.ndim - 3, plane)

    def _show_cells(self, controller: AnnotationController, ref: StackRef) -> None:
        """One square per cell and plane; napari shows those of the current plane."""
        cells = [c for c in controller.session.state.cells.values() if c.stack == ref.fingerprint]
        ways = [np.column_stack([np.arange(len(c.y)), c.y, c.x]) for c in cells]
        places = np.concatenate([np.empty((0, 3)), *ways])
        planes = [len(way) for way in ways]
        colours = np.repeat([COLOURS[_what(c, controller)] for c in cells], planes)
        widths = np.repeat([_THICK if c.id == controller.name else _THIN for c in cells], planes)
        layer = self._points(CELLS, 3, symbol="square", face_color="transparent", border_color="k")
        if not np.array_equal(layer.data, places):
            layer.data = places
            layer.size = controller.session.state.settings.patch_px
        elif self._looks[0].tolist() == colours.tolist():
            if not np.array_equal(self._looks[1], widths):
                layer.border_width = widths
                self._looks = colours, widths
            return
        layer.border_width = widths
        layer.border_color = colours
        self._looks = colours, widths

    def _show_path(self, cell: CellState) -> None:
        way = np.column_stack([cell.y, cell.x])
        path = self._layers.get(PATH)
        if path is None or path not in self.viewer.layers:
            scale = self._layers[FIELD].scale[-2:]
            path = self._layers[PATH] = self._add(
                Shapes(ndim=2, name=PATH, scale=scale, units=self._units(2))
            )
        centres = self._points(CENTRES, 2, symbol="disc")
        key = (way.tobytes(), cell.jump)
        if self._way == key:
            return
        self._way = key
        path.selected_data = set()
        path.data = []
        path.add(way, shape_type="path", edge_color=_BLUE, edge_width=1, face_color="#0000")
        jumps = np.isin(np.arange(len(way)), cell.jump)
        centres.data = way
        centres.face_color = np.where(jumps[:, None], _ORANGE, _BLUE)
        centres.size = np.where(jumps, 7, 4)

    def _points(self, name: str, ndim: int, **look: Any) -> Points:
        layer = self._layers.get(name)
        if layer is None or layer not in self.viewer.layers:
            scale = self._layers[FIELD].scale[-ndim:]
            layer = Points(ndim=ndim, name=name, scale=scale, units=self._units(ndim), **look)
            self._layers[name] = self._add(layer)
            if name == CENTRES:
                layer.mouse_drag_callbacks.append(self._dragged)
        return layer

    def _units(self, ndim: int) -> Any:
        return self._layers[FIELD].units[-ndim:]

    def _add(self, layer: Any) -> Any:
        self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = self._layers.get(FIELD, layer)
        return layer

    def _look_at(self, cell: CellState, controller: AnnotationController) -> None:
        pixel = self._layers[FIELD].scale[-2:]
        y, x = cell.y[controller.plane] * pixel[0], cell.x[controller.plane] * pixel[1]
        self.viewer.reset_view()  # zoom until the frame fits
        rows, columns = self._layers[FIELD].data.shape[-2:]
        patches = min(rows, columns) / controller.session.state.settings.patch_px
        self.viewer.camera.zoom *= max(1.0, patches / _CLOSE_UP)
        self.viewer.camera.center = (0, y, x)

    def _slid(self, _: Any) -> None:
        plane = self._slider()
        if not self._busy and plane is not None:
            self._turned(plane)

    def _slider(self) -> int | None:
        """Index of the z slider; other layers may have added sliders before it."""
        steps = self.viewer.dims.current_step
        return int(steps[-3]) if len(steps) >= 3 else None

    def _dragged(self, layer: Points, event: Any) -> Iterator[None]:
        """Follow a drag to its end, and then report the moved centres."""
        before = np.array(layer.data)
        yield
        while event.type == "mouse_move":
            yield
        after = np.array(layer.data)
        if self.editing and after.shape == before.shape:
            for plane in np.flatnonzero((after != before).any(axis=1)):
                self._moved(int(plane), float(after[plane, 0]), float(after[plane, 1]))


def _what(cell: CellState, controller: AnnotationController) -> str:
    if controller.queue.blind:
        return "kept" if cell.second is not None else "open"
    decision = cell.decision
    if decision is None:
        return "open"
    if not cell.by_person:
        return "auto"
    return "kept" if decision.kept else "unsure" if decision.verdict == "unsure" else "rejected"
