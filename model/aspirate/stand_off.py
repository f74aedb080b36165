"""The place before the mouth at which the stage keeps the chosen cell."""

from __future__ import annotations

import math
from typing import Final

from fgaf.model.aspirate.heading import (
    Direction,
    angle_deg,
    place_before,
    speed_um_s,
    turned,
)
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation
from fgaf.model.live.message import LiveCell

_TURN_S: Final = 0.5
"""The place follows the heading of a cell with this delay: heads swing."""
_AWAY_S: Final = 0.5
"""A cell that heads elsewhere is judged after so long,"""
_BACK_S: Final = 1.0
"""and is given up unless it will be back in so long, as it turns."""


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
    turned_away
        Whether the cell heads elsewhere, and does not turn back.
    """

    def __init__(self, mouth: Mouth) -> None:
        self._mouth = mouth
        self.goal_px: tuple[float, float] | None = None
        self.turned_away = False
        self._away: tuple[int, float] | None = None
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
        swims = speed_um_s(cell) >= settings.still_um_s
        off_deg = angle_deg(cell, (tip.into_y, tip.into_x)) - settings.heading_deg
        self._judge(off_deg if swims else 0.0, seen.time_ns)

    def _judge(self, off_deg: float, time_ns: int) -> None:
        """See how far a heading is off what is allowed, and how fast that changes."""
        if off_deg <= 0 or self._away is None:
            self._away = (time_ns, off_deg) if off_deg > 0 else None
            return
        since_ns, first_deg = self._away
        lasted_s = (time_ns - since_ns) / 1e9
        if lasted_s >= _AWAY_S:
            self.turned_away = off_deg > (first_deg - off_deg) / lasted_s * _BACK_S
            self._away = time_ns, off_deg

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
