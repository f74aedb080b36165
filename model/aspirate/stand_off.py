"""The place before the mouth at which the stage keeps the chosen cell."""

from __future__ import annotations

import math
from typing import Final

from fgaf.model.aspirate.heading import Direction, place_before, turned
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation
from fgaf.model.live.message import LiveCell

_TURN_S: Final = 0.5
"""The place follows the heading of a cell with this delay: heads swing."""


class StandOff:
    """Follows the heading of a cell, and knows since when the cell is in its place.

    Parameters
    ----------
    mouth
        The mouth.

    Attributes
    ----------
    goal_px
        The place in the frame, y and x; None: the stage stands still.
    """

    def __init__(self, mouth: Mouth) -> None:
        self._mouth = mouth
        self.goal_px: tuple[float, float] | None = None
        self._before: Direction | None = None
        self._placed_ns: int | None = None

    def keep(self, seen: Observation, cell: LiveCell, frame_s: float) -> None:
        """Set the place for a frame.

        Parameters
        ----------
        seen
            The frame.
        cell
            The cell.
        frame_s
            Time since the last frame.
        """
        tip, settings = seen.tip, self._mouth.settings
        wanted = place_before(tip, cell, settings)
        if self._before is not None:
            wanted = turned(self._before, wanted, frame_s / (frame_s + _TURN_S))
        self._before = wanted
        off_px = settings.stand_off_px
        self.goal_px = (tip.y_px + off_px * wanted[0], tip.x_px + off_px * wanted[1])

    def let_go(self) -> None:
        """Let the stage stand still."""
        self.goal_px = None

    def has(self, cell: LiveCell, time_ns: int) -> bool:
        """Whether a cell has been in the place long enough.

        Parameters
        ----------
        cell
            The cell.
        time_ns
            Time of the frame.
        """
        settings = self._mouth.settings
        near_px = settings.near_um / self._mouth.setup.pixel_um
        if self.goal_px is None or math.dist(self.goal_px, (cell.y_px, cell.x_px)) > near_px:
            self._placed_ns = None
            return False
        self._placed_ns = self._placed_ns or time_ns
        return (time_ns - self._placed_ns) / 1e9 >= settings.hold_s
