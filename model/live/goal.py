"""Where in the frame the followed cell is kept."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from fgaf.base.errors import SettingError

_CENTRES = ("centre", "center")
_NUMBER = r"\d+(?:\.\d+)?"
_GOAL = re.compile(
    rf"(?:(?P<centre>{'|'.join(_CENTRES)})|(?P<x>{_NUMBER}),(?P<y>{_NUMBER}))"
    rf"(?:@(?P<distance>{_NUMBER})(?P<unit>px|um|µm))?"
)

Pixels = tuple[float, float]
"""y, x in pixels."""


@dataclass(frozen=True)
class Goal:
    """A point of the frame, or all points at a distance from it.

    Attributes
    ----------
    y_px, x_px
        The point; None for the centre of the frame.
    distance
        Distance of the cell from the point, on the side where the cell is.
    in_um
        Whether the distance is in µm of the specimen, else in pixels.
    """

    y_px: float | None = None
    x_px: float | None = None
    distance: float = 0.0
    in_um: bool = False

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Read ``centre``, ``X,Y`` or either with ``@DISTANCEpx`` or ``@DISTANCEum``.

        Parameters
        ----------
        text
            As given to ``--follow``.

        Raises
        ------
        SettingError
            It is none of these.
        """
        found = _GOAL.fullmatch(text)
        if found is None:
            raise SettingError(
                f"--follow {text!r} is not a place in the frame: give centre, a pixel such as "
                "400,300 (x, y), or a distance from one such as 400,300@100px or 400,300@15um"
            )
        y, x = (None if found[axis] is None else float(found[axis]) for axis in "yx")
        unit = found["unit"]
        return cls(y, x, float(found["distance"] or 0), unit is not None and unit != "px")


@dataclass(frozen=True)
class GoalInFrame:
    """A goal in frames of one shape.

    Attributes
    ----------
    point
        The point.
    distance_px
        Distance from it.
    low, high
        The part of the frame in which a cell has a depth.
    """

    point: Pixels
    distance_px: float
    low: Pixels
    high: Pixels

    @classmethod
    def of(
        cls, goal: Goal, shape: tuple[int, int], margin_px: float, pixel_um: float
    ) -> GoalInFrame:
        """Place a goal in a frame.

        Parameters
        ----------
        goal
            The goal.
        shape
            Rows and columns of the frames.
        margin_px
            Least distance of a cell from the border.
        pixel_um
            Side of a pixel.

        Raises
        ------
        SettingError
            The cell would be too near the border, or outside.
        """
        rows, columns = shape
        middle = ((rows - 1) / 2, (columns - 1) / 2)
        point = (
            middle[0] if goal.y_px is None else goal.y_px,
            middle[1] if goal.x_px is None else goal.x_px,
        )
        distance_px = goal.distance / pixel_um if goal.in_um else goal.distance
        low = (min(margin_px, middle[0]), min(margin_px, middle[1]))
        high = (rows - 1 - low[0], columns - 1 - low[1])
        placed = cls(point, distance_px, low, high)
        if distance_px == 0 and placed._inside(point) != point:
            raise SettingError(
                f"--follow: x, y = {point[1]:g}, {point[0]:g} is too near the border of frames of "
                f"{rows} x {columns} px; give x from {low[1]:g} to {high[1]:g} and y from "
                f"{low[0]:g} to {high[0]:g}"
            )
        if not (0 <= point[0] < rows and 0 <= point[1] < columns) or distance_px > max(shape):
            raise SettingError(
                f"--follow: a distance of {distance_px:g} px from x, y = {point[1]:g}, "
                f"{point[0]:g} does not lie in frames of {rows} x {columns} px"
            )
        return placed

    def at(self, point: Pixels) -> GoalInFrame:
        """Make a goal at a point, or at the nearest one where a cell has a depth.

        Parameters
        ----------
        point
            y, x in pixels.
        """
        return replace(self, point=self._inside(point), distance_px=0.0)

    def place(self, y: float, x: float) -> Pixels:
        """Where a cell at y, x belongs.

        Parameters
        ----------
        y, x
            Where it is, pixels.
        """
        if not self.distance_px:
            return self.point
        away = (y - self.point[0], x - self.point[1])
        length = math.hypot(*away)
        turn = (away[0] / length, away[1] / length) if length else (0.0, 1.0)
        return self._inside(
            (
                self.point[0] + self.distance_px * turn[0],
                self.point[1] + self.distance_px * turn[1],
            )
        )

    def _inside(self, place: Pixels) -> Pixels:
        y, x = (
            min(max(at, low), high)
            for at, low, high in zip(place, self.low, self.high, strict=True)
        )
        return y, x
