"""Keeps the followed cell in its place in the frame: the stage's course from the cell's motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fgaf.acquire.control.stage_map import StageMap
from fgaf.model.live.goal import GoalInFrame, Pixels
from fgaf.model.live.servo import Course, Pair
from fgaf.model.live.tracker import Track
from fgaf.model.live.xy_stage import LiveStage

_LOST_S: Final = 0.2
"""A cell that was not found for this long is not followed until it is found again."""
_FAR_UM: Final = 40.0
_STILL_UM: Final = 1.0
_AWAY_UM: Final = 4.0
"""What stays in the image while the stage goes so far, so far from its place, is no cell."""


@dataclass(frozen=True)
class Offset:
    """How far the followed cell is from its place.

    Attributes
    ----------
    place
        Where it is to be kept, y and x in pixels.
    off_um
        Its distance from there.
    """

    place: Pixels
    off_um: float


class Following:
    """Gives the stage its course after each frame.

    Parameters
    ----------
    stage
        The stage.
    stage_map
        How its moves shift the image.
    goal
        Where the cell is kept.
    pixel_um
        Side of a pixel.

    Attributes
    ----------
    stage
        The stage.
    """

    def __init__(
        self, stage: LiveStage, stage_map: StageMap, goal: GoalInFrame, pixel_um: float
    ) -> None:
        self.stage = stage
        self._map, self._pixel_um = stage_map, pixel_um
        self._goal: GoalInFrame | None = goal
        self._any_goal = goal
        self._last_um: Pair | None = None
        self._begun: tuple[int, Pixels, Pair] | None = None

    def shift_px(self, time_ns: int) -> Pixels:
        """Shift of the image by the stage since the last call, y and x in pixels.

        Parameters
        ----------
        time_ns
            Middle of an exposure.
        """
        here = self.stage.at(time_ns)
        before, self._last_um = self._last_um or here, here
        x, y = self._map.shift_px((here[0] - before[0], here[1] - before[1]))
        return y, x

    def keep_at(self, place: Pixels | None) -> None:
        """Keep the cell elsewhere from the next frame on.

        Parameters
        ----------
        place
            Where, y and x in pixels, or the nearest place with a depth; None: the stage stands, and
            stops now.
        """
        if place is None:
            self._goal = None
            self.stage.stay()
        else:
            self._goal = self._any_goal.at(place)

    def follow(self, track: Track | None, time_ns: int) -> Offset | None:
        """Send the stage after a cell, or stop it.

        Parameters
        ----------
        track
            The cell; None where there is none.
        time_ns
            Middle of the exposure.

        Returns
        -------
        How far the cell is from its place; None when it is not followed.
        """
        goal = self._goal
        if goal is None or track is None or time_ns - track.found_ns > _LOST_S * 1e9:
            self.stage.stay()
            self._begun = None
            return None
        motion, here = track.motion, self.stage.at(time_ns)
        y, x = goal.place(motion.y, motion.x)
        to_x, to_y = self._map.move_um((x - motion.x, y - motion.y))
        velocity = self._map.move_um((-motion.vx, -motion.vy))
        self.stage.follow(Course(time_ns, (here[0] + to_x, here[1] + to_y), velocity))
        return Offset((y, x), self._pixel_um * math.hypot(y - track.y, x - track.x))

    def is_mark(self, track: Track, time_ns: int) -> bool:
        """Whether a followed spot does not move with the specimen: a mark on the sensor.

        Parameters
        ----------
        track
            The spot.
        time_ns
            Middle of the exposure.
        """
        if self._goal is None:
            return False
        here, spot = self.stage.at(time_ns), (track.y, track.x)
        if self._begun is not None and self._begun[0] == track.number:
            _, first, begun_um = self._begun
            if self._pixel_um * math.dist(first, spot) < _STILL_UM:
                away_um = self._pixel_um * math.dist(self._goal.place(*spot), spot)
                return math.dist(begun_um, here) > _FAR_UM and away_um > _AWAY_UM
        self._begun = (track.number, spot, here)
        return False
