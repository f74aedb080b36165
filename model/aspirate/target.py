"""The chosen cell of a trial, also after the tracker gave it another number."""

from __future__ import annotations

import math
from collections.abc import Callable

from fgaf.model.aspirate.observation import Observation
from fgaf.model.live.message import LiveCell


class Target:
    """Finds the cell in each frame, and knows since when it has not moved.

    Parameters
    ----------
    cell
        The cell.
    seen
        The frame in which it was chosen.

    Attributes
    ----------
    number
        Its present id.
    last
        How it was found last.
    found_ns
        When that was.
    """

    def __init__(self, cell: LiveCell, seen: Observation) -> None:
        self._note(cell, seen)
        self._stood_ns, self._stood = seen.time_ns, (cell.y_px, cell.x_px)

    def find(
        self,
        seen: Observation,
        succeeds: Callable[[LiveCell], bool] = lambda _: False,
        stays: Callable[[LiveCell], bool] = lambda _: True,
    ) -> LiveCell | None:
        """The cell in a frame, None if it was not found.

        Parameters
        ----------
        seen
            The frame.
        succeeds
            Whether a cell that was not seen beside the target in its last frame, and not before,
            may be the target; its track may have taken the head.
        stays
            Whether the cell of the target's track may still be the target; the track may have taken
            the head of another one.
        """
        cell = seen.cell(self.number)
        if cell is not None and not stays(cell):
            cell = None
        if cell is None:
            fresh = (c for c in seen.cells if self._is_fresh(c, seen.time_ns) and succeeds(c))
            cell = min(fresh, key=self._far_px, default=None)
        if cell is None:
            return None
        self._note(cell, seen)
        return cell

    def _note(self, cell: LiveCell, seen: Observation) -> None:
        self.number, self.last = cell.id, cell
        self.found_ns = self._seen_ns = seen.time_ns
        self._beside = {each.id: each.seen for each in seen.cells}

    def _is_fresh(self, cell: LiveCell, time_ns: int) -> bool:
        """Whether a cell is seen that was not when the target was found last."""
        if not cell.seen or cell.id == self.number:
            return False
        if cell.id in self._beside:
            return not self._beside[cell.id]
        return cell.age_s <= (time_ns - self._seen_ns) / 1e9

    def missing_s(self, time_ns: int) -> float:
        """How long it has not been found."""
        return (time_ns - self.found_ns) / 1e9

    def wait(self, time_ns: int) -> None:
        """Do not count the time until now as missing."""
        self.found_ns = time_ns

    def stands(self, time_ns: int) -> None:
        """Count from now on how long it does not move."""
        self._stood_ns, self._stood = time_ns, (self.last.y_px, self.last.x_px)

    def stood_s(self, time_ns: int, far_px: float) -> float:
        """How long it has moved by less than a distance.

        Parameters
        ----------
        time_ns
            Now.
        far_px
            The distance.
        """
        if self._far_px(self.last, self._stood) > far_px:
            self.stands(time_ns)
        return (time_ns - self._stood_ns) / 1e9

    def is_near(self, cell: LiveCell, far_px: float) -> bool:
        """Whether a cell is where this one was found last.

        Parameters
        ----------
        cell
            The cell.
        far_px
            Largest distance.
        """
        return self._far_px(cell) <= far_px

    def _far_px(self, cell: LiveCell, place: tuple[float, float] | None = None) -> float:
        return math.dist((cell.y_px, cell.x_px), place or (self.last.y_px, self.last.x_px))
