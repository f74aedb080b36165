"""The field in napari's canvas: the raw frame, its cells, and the path of the cell in view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points, Shapes
from napari.viewer import Viewer

from fgaf.curate.napari.boxes import Boxes, state_of
from fgaf.curate.napari.plugin import stack_layer
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.state import CellState, StackRef

FIELD, CELLS, PATH, CENTRES = "field", "cells", "path", "centres"
_BLUE: Final = (0.31, 0.7, 1.0, 1.0)
_ORANGE: Final = (1.0, 0.7, 0.28, 1.0)
_POINT_PX, _JUMP_PX, _HANDLE_PX = 4.0, 7.0, 10.0
"""Size of a centre, of one after a jump (pixels of the frame), and of a handle (of the screen)."""
_CLOSE_UP: Final = 5.0
"""Side of the close view of the cell, in units of a patch."""
_STILL_PX: Final = 3.0
"""Movement of the mouse, pixels of the screen, up to which a press is a click."""


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
    clicked
        Called with y and x (pixels) after a click on the field.
    lost
        Called with the name of a layer that was deleted; `update` makes it anew.

    Attributes
    ----------
    close, editing
        Whether the area near the cell fills the canvas, and whether centres can be dragged.
    hint
        Shown in napari's status bar in place of its own keys.
    """

    def __init__(
        self,
        viewer: Viewer,
        moved: Callable[[int, float, float], None],
        turned: Callable[[int], None],
        clicked: Callable[[float, float], None],
        lost: Callable[[str], None],
    ) -> None:
        self.viewer = viewer
        self.close = False
        self.editing = False
        self.hint = ""
        self._moved, self._turned, self._clicked, self._lost = moved, turned, clicked, lost
        self._layers: dict[str, Any] = {}
        self._boxes: Boxes | None = None
        self._shown = ""
        self._in_view = ""
        self._busy = False
        self._fitted: tuple[Any, ...] = ()
        self._redraw: Callable[[], None] | None = None
        self._way: tuple[Any, ...] = ()
        self._look: dict[str, Any] = {}
        self._events: tuple[tuple[Any, Callable[[Any], None]], ...] = (
            (viewer.dims.events.current_step, self._slid),
            (viewer.layers.events.removed, self._removed),
            (viewer.canvas.events.size, self._resized),
            (viewer.camera.events.zoom, self._zoomed),
            (viewer.events.reset_view, self._reset),
            (viewer.events.help, self._helped),
        )
        for event, answer in self._events:
            event.connect(answer)
        viewer.mouse_drag_callbacks.append(self._pressed)

    def update(
        self, controller: AnnotationController, closeups: Closeups, cell_in_view: bool = True
    ) -> None:
        """Show the controller's cell and plane.

        Parameters
        ----------
        controller
            The cell, stack and plane in view.
        closeups
            Opens the stack's frames.
        cell_in_view
            Whether its box stands out and its path is shown.
        """
        cell, ref = controller.cell, controller.stack
        if cell is None or ref is None or not controller.session.state.usable(cell):
            return
        self._busy = True
        try:
            if ref.fingerprint != self._shown or not self._has(FIELD):
                self._show_stack(ref, closeups)
            self._show_plane(controller.plane)
            self._redraw = lambda: self._show_cells(controller, ref, cell_in_view)
            self._redraw()
            self._show_path(cell, controller.plane, cell_in_view)
            if cell.id != self._in_view:
                self._in_view = cell.id
                if self.close:
                    self._look_at(cell, controller)
        finally:
            self._busy = False

    def cell_at(self, y: float, x: float) -> str | None:
        """Name of the cell whose box holds a position of the frame; None for none.

        Parameters
        ----------
        y, x
            Position, pixels.
        """
        seen = self._has(CELLS) and self._layers[CELLS].visible
        return self._boxes.at(y, x) if seen and self._boxes is not None else None

    def toggle_close(self, controller: AnnotationController) -> None:
        """Show the whole field, or the area near the cell."""
        self.close = not self.close
        if self.close and controller.cell is not None:
            self._look_at(controller.cell, controller)
        else:
            self._fit()

    def toggle_boxes(self) -> bool:
        """Hide or show the boxes, and say whether they are shown now."""
        if not self._has(CELLS):
            return False
        layer = self._layers[CELLS]
        layer.visible = not layer.visible
        return bool(layer.visible)

    def frame(self) -> Image | None:
        """The layer of the frame; None while there is none."""
        return self._layers[FIELD] if self._has(FIELD) else None

    def over_the_head(self) -> list[Any]:
        """The layers that lie over the head of the cell in view."""
        return [self._layers[name] for name in (CELLS, PATH, CENTRES) if self._has(name)]

    def toggle_editing(self) -> None:
        """Start or end dragging of the centres."""
        self.editing = not self.editing
        if self._has(CENTRES):
            self._let_edit(self._layers[CENTRES])

    def leave(self) -> None:
        """Stop following the viewer; may be called again."""
        for event, answer in self._events:
            event.disconnect(answer)
        self._events = ()
        if self._pressed in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._pressed)

    def forget(self) -> None:
        """Remove the layers."""
        self.leave()
        with self.viewer.layers.batched_update():  # napari collects garbage once, not for each
            for layer in self._ours():
                self.viewer.layers.remove(layer)
        self._layers.clear()

    def _show_stack(self, ref: StackRef, closeups: Closeups) -> None:
        data, settings = stack_layer(closeups.stack(ref))
        self._shown = ref.fingerprint
        if self._has(FIELD):
            layer = self._layers[FIELD]
            layer.data = data
            layer.scale = settings["scale"]
            layer.contrast_limits = settings["contrast_limits"]
        else:
            lowest = min((self.viewer.layers.index(it) for it in self._ours()), default=None)
            field = self._add(FIELD, Image(data, **(settings | {"name": FIELD})))
            if lowest is not None:  # it comes back, below the others
                self.viewer.layers.move(self.viewer.layers.index(field), lowest)
        self._fit()

    def _show_plane(self, plane: int) -> None:
        if self._slider() != plane:
            self.viewer.dims.set_current_step(self.viewer.dims.ndim - 3, plane)

    def _show_cells(
        self, controller: AnnotationController, ref: StackRef, cell_in_view: bool
    ) -> None:
        cells = [c for c in controller.session.state.cells.values() if c.stack == ref.fingerprint]
        if self._boxes is None:
            self._boxes = Boxes(controller.session.state.settings.patch_px)
        layer = self._points(CELLS, border_width_is_relative=False, canvas_size_limits=(0, 10000))
        blind = controller.queue.blind
        self._boxes.show(
            layer,
            cells,
            [state_of(cell, blind) for cell in cells],
            controller.plane,
            (controller.name or "") if cell_in_view else "",
            self.viewer.camera.zoom * float(self._layers[FIELD].scale[-1]),
        )

    def _show_path(self, cell: CellState, plane: int, cell_in_view: bool) -> None:
        way = np.column_stack([cell.y, cell.x]) if cell_in_view else np.empty((0, 2))
        if not self._has(PATH):
            scale = self._layers[FIELD].scale[-2:]
            self._add(PATH, Shapes(ndim=2, name=PATH, scale=scale, units=self._units()))
            self._way = ()
        path = self._layers[PATH]
        centres = self._points(CENTRES, symbol="disc")
        drawn = (way.tobytes(), cell.jump, plane, self.editing, centres)
        if self._way == drawn and np.array_equal(centres.data, way):
            return
        if self._way[:1] != drawn[:1]:
            path.selected_data = set()
            if len(way) and path.nshapes:
                path.data = [way]
            elif len(way):
                path.add(way, shape_type="path", edge_color=_BLUE, edge_width=1, face_color="#0000")
            else:
                path.data = []
        if self._way[-1:] != (centres,) or len(centres.data) != len(way):
            self._look = {}
        self._way = drawn
        if not np.array_equal(centres.data, way):
            centres.data = way
        if len(way):
            self._dye_centres(centres, np.isin(np.arange(len(way)), cell.jump), plane)

    def _dye_centres(self, centres: Points, jumps: npt.NDArray[np.bool_], plane: int) -> None:
        """Give the centres their look; what has not changed is left as it is."""
        sizes = np.where(jumps, _JUMP_PX, _POINT_PX)
        sizes[plane] *= 1.5
        look = {
            "face_color": np.where(jumps[:, None], _ORANGE, _BLUE),
            "size": sizes,
            "border_color": "white" if self.editing else "black",
            "border_width": 0.1 if self.editing else 0.05,
            "canvas_size_limits": (_HANDLE_PX if self.editing else 2.0, 10000),
        }
        for name, value in look.items():
            if name not in self._look or not np.array_equal(self._look[name], value):
                setattr(centres, name, value)
        self._look = look

    def _points(self, name: str, **look: Any) -> Points:
        """A layer of points over the field; made if it is not there."""
        if not self._has(name):
            scale = self._layers[FIELD].scale[-2:]
            layer = Points(ndim=2, name=name, scale=scale, units=self._units(), **look)
            self._add(name, layer)
            if name == CENTRES:
                layer.mouse_drag_callbacks.append(self._dragged)
                for key in ("Delete", "Backspace", "1"):  # a path has a point in every plane
                    layer.bind_key(key, lambda _: None)
                self._let_edit(layer)
        points: Points = self._layers[name]
        return points

    def _let_edit(self, centres: Points) -> None:
        centres.editable = True
        self.viewer.layers.selection.active = centres if self.editing else self._layers[FIELD]
        centres.mode = "select" if self.editing else "pan_zoom"

    def _units(self) -> Any:
        return self._layers[FIELD].units[-2:]

    def _has(self, name: str) -> bool:
        return name in self._layers and self._layers[name] in self.viewer.layers

    def _ours(self) -> list[Any]:
        return [layer for layer in self._layers.values() if layer in self.viewer.layers]

    def _add(self, name: str, layer: Any) -> Any:
        self._layers[name] = layer
        self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = self._layers.get(FIELD, layer)
        return layer

    def _fit(self) -> None:
        """Show the whole frame: boxes may reach beyond it, and do not count."""
        if self._has(FIELD):
            was, self._busy = self._busy, True
            self.viewer.reset_view(layers=[self._layers[FIELD]])
            self._busy = was
            self._fitted = self._camera()

    def _camera(self) -> tuple[Any, ...]:
        return self.viewer.camera.zoom, tuple(self.viewer.camera.center)

    def _look_at(self, cell: CellState, controller: AnnotationController) -> None:
        pixel = self._layers[FIELD].scale[-2:]
        y, x = cell.y[controller.plane] * pixel[0], cell.x[controller.plane] * pixel[1]
        self._fit()
        rows, columns = self._layers[FIELD].data.shape[-2:]
        patches = min(rows, columns) / controller.session.state.settings.patch_px
        self.viewer.camera.zoom *= max(1.0, patches / _CLOSE_UP)
        self.viewer.camera.center = (0, y, x)

    def _resized(self, _: Any) -> None:
        """Fit the frame to a canvas of another size, unless a person has moved the camera."""
        if self._fitted == self._camera():
            self._fit()

    def _reset(self, _: Any) -> None:
        """Napari's own button shows all layers: here, the frame."""
        if not self._busy:
            self.close = False
            self._fit()

    def _zoomed(self, _: Any) -> None:
        if self._redraw is not None and self._has(FIELD) and not self._busy:
            self._redraw()

    def _helped(self, _: Any) -> None:
        """Replace napari's hints, whose keys do other things here."""
        ours = any(self.viewer.layers.selection.active is layer for layer in self._ours())
        if ours and self.viewer.help != self.hint:
            self.viewer.help = self.hint

    def _removed(self, event: Any) -> None:
        for name, layer in self._layers.items():
            if layer is event.value:
                self._lost(name)

    def _slid(self, _: Any) -> None:
        plane = self._slider()
        if not self._busy and plane is not None:
            self._turned(plane)

    def _slider(self) -> int | None:
        """Index of the z slider; other layers may have added sliders before it."""
        steps = self.viewer.dims.current_step
        return int(steps[-3]) if len(steps) >= 3 else None

    def _pressed(self, _: Viewer, event: Any) -> Iterator[None]:
        """Follow a press to its end: without a movement it is a click."""
        start, place = np.array(event.pos), event.position
        if event.button != 1 or not self._has(FIELD):
            return
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.array(event.pos) - start).max() <= _STILL_PX:
            y, x = self._layers[FIELD].world_to_data(place)[-2:]
            self._clicked(float(y), float(x))

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
