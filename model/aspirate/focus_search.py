"""Depth from focus: a search for the sharpest plane of a cell at rest."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.model.live.focus import Focus

_STEPS_UM: Final = (1.0, 0.25)
"""Distances of the planes: of the whole range, then around the sharpest."""
_NEAR_UM: Final = 0.1


class FocusSearch:
    """Moves the drive from plane to plane, frame by frame; the sharpest is the cell's height.

    Sharpness is the mean difference of grey levels from pixel to pixel, in both directions, in a
    square around the cell. It is the rival of the network, and works for cells at rest only.

    Parameters
    ----------
    focus
        The drive.
    middle_um
        Middle of the range.
    half_um
        Half of the range.
    side_px
        Side of the square.

    Attributes
    ----------
    found_um
        Height of the cell; None before.
    """

    def __init__(self, focus: Focus, middle_um: float, half_um: float, side_px: int) -> None:
        self._focus, self._side_px = focus, side_px
        self._steps = list(_STEPS_UM)
        self._values: list[tuple[float, float]] = []
        self._planes = self._around(middle_um, half_um)
        self._plane_um: float | None = None
        self.found_um: float | None = None

    def look(self, pixels: npt.NDArray[Any], y_px: float, x_px: float, drive_um: float) -> None:
        """Take a frame, and send the drive to the next plane.

        Parameters
        ----------
        pixels
            The frame.
        y_px, x_px
            The cell.
        drive_um
            Where the drive was in the middle of the exposure.
        """
        if self._plane_um is not None:
            if abs(drive_um - self._plane_um) > _NEAR_UM:
                return
            self._values.append((sharpness(pixels, y_px, x_px, self._side_px), drive_um))
            self._plane_um = None
        while self._plane_um is None and self.found_um is None:
            if self._planes:
                plane_um = self._planes.pop(0)
                self._focus.aim(plane_um)
                if not self._focus.at_limit:
                    self._plane_um = plane_um
            else:
                self._narrow(drive_um)

    def _narrow(self, drive_um: float) -> None:
        """Go on around the sharpest plane, or end there."""
        _, sharpest_um = max(self._values, default=(0.0, drive_um))
        if self._steps:
            self._values = []
            self._planes = self._around(sharpest_um, _STEPS_UM[0])
        else:
            self.found_um = sharpest_um

    def _around(self, middle_um: float, half_um: float) -> list[float]:
        step_um = self._steps.pop(0)
        planes = np.arange(middle_um - half_um, middle_um + half_um + _NEAR_UM, step_um)
        return [float(z) for z in planes]


def sharpness(pixels: npt.NDArray[Any], y_px: float, x_px: float, side_px: int) -> float:
    """Compute the mean difference of grey levels from pixel to pixel around a place.

    Parameters
    ----------
    pixels
        The frame (Y, X).
    y_px, x_px
        The place.
    side_px
        Side of the square; what lies outside the frame is left out.
    """
    top, left = max(0, round(y_px) - side_px // 2), max(0, round(x_px) - side_px // 2)
    part = pixels[top : top + side_px, left : left + side_px].astype(np.float32)
    if min(part.shape) < 2:
        return 0.0
    down, right = np.abs(np.diff(part, axis=0)), np.abs(np.diff(part, axis=1))
    return float(down.mean() + right.mean())
