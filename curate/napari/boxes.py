"""The boxes around the cells of a plane: one layer of points, with a symbol for each state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from napari.layers import Points

from fgaf.curate.napari.colours import EDGE, MARKS
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

    Parameters
    ----------
    side_px
        Side of a box: that of a patch, pixels of the raw frame.
    """

    def __init__(self, side_px: int) -> None:
        self.side_px = side_px
        self._names: list[str] = []
        self._centres = np.empty((0, 2))
        self._drawn: tuple[Any, ...] = ()

    def show(
        self,
        layer: Points,
        cells: Sequence[CellState],
        states: Sequence[str],
        plane: int,
        in_view: str,
        zoom: float,
    ) -> None:
        """Draw the boxes of one plane, the one in view last.

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
        order = sorted(range(len(cells)), key=lambda i: cells[i].id == in_view)
        self._names = [cells[i].id for i in order]
        self._centres = np.array([(cells[i].y[plane], cells[i].x[plane]) for i in order])
        self._centres = self._centres.reshape(-1, 2)
        step = round(4 * np.log2(max(zoom, 1e-6)))  # lines follow the zoom in steps
        drawn = (layer, [states[i] for i in order], in_view, step, self._names)
        places = self._places()
        if drawn != self._drawn or len(layer.data) != len(places):
            self._drawn = drawn
            self._dress(layer, places, drawn[1], 2.0 ** (step / 4))
        elif not np.array_equal(layer.data, places):
            layer.data = places

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

    def _places(self) -> npt.NDArray[np.float64]:
        corner = self._centres - self.side_px / 2
        return np.concatenate([self._centres, self._centres, corner])

    def _dress(
        self, layer: Points, places: npt.NDArray[np.float64], states: Sequence[str], zoom: float
    ) -> None:
        n = len(states)
        chosen = np.array([name == self._drawn[2] for name in self._names], dtype=bool)
        thin, thick = (
            max(share * self.side_px, pixels / zoom)
            for share, pixels in zip(_LINE, _LINE_PX, strict=True)
        )
        line = np.where(chosen, thick, thin)
        edge = _EDGE_PX / zoom
        marks = [MARKS[state] for state in states]
        colours = [mark.colour for mark in marks]
        square = np.full(n, float(self.side_px))
        symbol = max(_SYMBOL * self.side_px, _SYMBOL_PX / zoom)
        layer.data = places
        if n == 0:
            return
        layer.symbol = ["square"] * (2 * n) + [mark.symbol or "disc" for mark in marks]
        layer.size = np.concatenate(
            [square, square, [symbol if mark.symbol else 0.0 for mark in marks]]
        )
        layer.border_width = np.concatenate(
            [line + 2 * edge, line, [edge if mark.symbol else 0.0 for mark in marks]]
        )
        layer.border_color = [EDGE] * n + colours + [EDGE] * n
        layer.face_color = ["transparent"] * (2 * n) + [
            mark.colour if mark.symbol else "transparent" for mark in marks
        ]


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
