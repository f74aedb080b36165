"""The boxes around the cells of a plane: one layer of points, with a symbol for each state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from napari.layers import Points

from fgaf.curate.napari.colours import EDGE, MARKS, Mark
from fgaf.curate.session.state import CellState

_LINE: Final = (0.02, 0.05)
"""Width of a box's line, and of that of the box in view, as a fraction of its side."""
_LINE_PX: Final = (1.6, 4.0)
"""The same, at least, in pixels of the screen."""
_EDGE_PX: Final = 1.2
"""Width of the dark edge on either side of a line, pixels of the screen."""
_SYMBOL: Final = 0.17
"""Size of a symbol, as a fraction of the side of a box."""
_SYMBOL_PX: Final = 11.0


class Boxes:
    """Squares around cells; each is three points: a dark square, a coloured one and a symbol.

    Two more points, the last, are the square of the cell in view.

    Parameters
    ----------
    side_px
        Side of a box: that of a patch, pixels of the raw frame.
    """

    def __init__(self, side_px: int) -> None:
        self.side_px = side_px
        self._names: list[str] = []
        self._centres = np.empty((0, 2))
        self._looks: dict[str, list[Any]] = {}
        self._layer: Any = None

    def show(
        self,
        layer: Points,
        cells: Sequence[CellState],
        states: Sequence[str],
        plane: int,
        in_view: str,
        zoom: float,
    ) -> None:
        """Draw the boxes of one plane; what has not changed is left as it is.

        Parameters
        ----------
        layer
            A layer of points in two dimensions.
        cells, states
            The cells of the stack, and the state of each, a key of `MARKS`.
        plane
            Number of the plane.
        in_view
            Name of the cell in view; empty for none.
        zoom
            Pixels of the screen for a pixel of the raw frame.
        """
        self._names = [cell.id for cell in cells]
        self._centres = np.array([(cell.y[plane], cell.x[plane]) for cell in cells])
        self._centres = self._centres.reshape(-1, 2)
        chosen = [i for i, name in enumerate(self._names) if name == in_view]
        places = np.concatenate(
            [
                self._centres,
                self._centres,
                self._centres - self.side_px / 2,
                self._centres[chosen],
                self._centres[chosen],
            ]
        )
        if layer is not self._layer or len(layer.data) != len(places):
            self._looks = {}
        self._layer = layer
        if not np.array_equal(layer.data, places):
            layer.data = places
        if len(places):
            zoom = 2 ** (round(4 * np.log2(max(zoom, 1e-6))) / 4)  # lines follow it in steps
            marks = [MARKS[state] for state in states]
            for look, values in self._look(marks, chosen, zoom).items():
                if self._looks.get(look) != values:
                    setattr(layer, look, values)
                    self._looks[look] = values

    def at(self, y: float, x: float) -> str | None:
        """Name of the cell whose box holds a position of the raw frame, the nearest of several.

        Parameters
        ----------
        y, x
            The position, pixels.
        """
        if not self._names:
            return None
        away = np.abs(self._centres - (y, x)).max(axis=1)
        nearest = int(np.argmin(away))
        return self._names[nearest] if away[nearest] <= self.side_px / 2 else None

    def _look(
        self, marks: Sequence[Mark], chosen: Sequence[int], zoom: float
    ) -> dict[str, list[Any]]:
        """Look of all points, as napari names it."""
        n, of_chosen = len(marks), len(chosen)
        side, edge = float(self.side_px), _EDGE_PX / zoom
        thin, thick = (
            max(share * side, pixels / zoom) for share, pixels in zip(_LINE, _LINE_PX, strict=True)
        )
        symbol = max(_SYMBOL * side, _SYMBOL_PX / zoom)
        signed = [bool(mark.symbol) for mark in marks]
        colours = [mark.colour for mark in marks]
        squares = ["square"] * (2 * n)
        bare = ["transparent"] * (2 * n)
        return {
            "symbol": squares
            + [mark.symbol or "disc" for mark in marks]
            + ["square"] * (2 * of_chosen),
            "size": [side] * (2 * n) + [symbol * sign for sign in signed] + [side] * 2 * of_chosen,
            "border_width": [thin + 2 * edge] * n
            + [thin] * n
            + [edge * sign for sign in signed]
            + [thick + 2 * edge] * of_chosen
            + [thick] * of_chosen,
            "border_color": [EDGE] * n
            + colours
            + [EDGE] * (n + of_chosen)
            + [colours[i] for i in chosen],
            "face_color": bare
            + [mark.colour if mark.symbol else "transparent" for mark in marks]
            + ["transparent"] * (2 * of_chosen),
        }


def state_of(cell: CellState, blind: bool) -> str:
    """State of a cell for its box; a blind pass tells only what was done in it.

    Parameters
    ----------
    cell
        The cell.
    blind
        Whether earlier decisions are hidden.
    """
    if blind:
        return "kept" if cell.second is not None else "open"
    decision = cell.decision
    if decision is None:
        return "open"
    if not cell.by_person:
        return "auto"
    return "kept" if decision.kept else "unsure" if decision.verdict == "unsure" else "rejected"
