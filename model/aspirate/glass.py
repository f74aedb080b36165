"""How the glass around the mouth looks, learnt while the cell is kept before it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from fgaf.model.aspirate.observation import Tip
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.ground import Box, Circle, Ground
from fgaf.model.live.message import LiveFrame

_BEFORE_UM: Final = 8.0
"""What is learnt begins so far before the mouth: the glass, out of focus, is seen there too. The
cell, kept at its stand-off, is farther away."""
_BESIDE_UM: Final = 8.0
"""It reaches so far beyond the walls of the bore, and beyond its part in view."""
_AROUND: Final = 1.2
"""Around the head so many of its lengths are not learnt."""
_FADES_UM: Final = 3.0
"""At its border it passes softly into the rest of the frame."""
_SAME_PX, _SAME_UM = 0.5, 0.15
"""A tip, and a focus drive, that move by more look different."""


class Glass:
    """Learns how the glass looks as long as tip and drive stand.

    Parameters
    ----------
    settings
        The bore.
    pixel_um
        Side of a pixel.
    shape
        Rows and columns of the frames.
    """

    def __init__(
        self, settings: AspirationSettings, pixel_um: float, shape: tuple[int, int]
    ) -> None:
        self._settings, self._pixel_um, self._shape = settings, pixel_um, shape
        self._ground: Ground | None = None
        self._tip: Tip | None = None
        self._drive_um = math.nan

    @property
    def ground(self) -> Ground | None:
        """The glass, to be taken out of the frames; None while there is none."""
        return self._ground

    @property
    def known(self) -> bool:
        """Whether it has been learnt."""
        return self._ground is not None and self._ground.known

    def look(self, stands: bool, frame: LiveFrame, tip: Tip, target: int | None) -> None:
        """See a frame.

        Parameters
        ----------
        stands
            Whether the drive is to stand. Else what was learnt is forgotten.
        frame
            The frame, with the place of the drive.
        tip
            The tip in it.
        target
            Id of the cell that is to be drawn in.
        """
        if not stands:
            self._ground = None
            return
        if self._ground is None or not self._is_same(frame.drive_um, tip):
            self._ground, self._tip = self._ground_at(tip), tip
            self._drive_um = frame.drive_um
        cell = next((each for each in frame.cells if each.id == target and each.seen), None)
        around_px = self._settings.head_um * _AROUND / self._pixel_um
        self._ground.learn(
            frame.pixels, None if cell is None else Circle(cell.y_px, cell.x_px, around_px)
        )

    def _is_same(self, drive_um: float, tip: Tip) -> bool:
        """Whether the glass looks as in the first frame."""
        first = self._tip
        return (
            first is not None
            and math.dist((first.y_px, first.x_px), (tip.y_px, tip.x_px)) < _SAME_PX
            and abs(first.z_um - tip.z_um) < _SAME_UM
            and abs(self._drive_um - drive_um) < _SAME_UM
        )

    def _ground_at(self, tip: Tip) -> Ground:
        """A ground around the bore in view; where the cell is kept it does not reach."""
        settings, pixel = self._settings, self._pixel_um
        half, length = settings.bore_um / 2 + _BESIDE_UM, settings.view_um + _BESIDE_UM
        before = min(_BEFORE_UM, settings.stand_off_px * pixel / 2)
        sides = [(along, aside) for along in (-before, length) for aside in (-half, half)]
        y = [tip.y_px + (a * tip.into_y + b * tip.into_x) / pixel for a, b in sides]
        x = [tip.x_px + (a * tip.into_x - b * tip.into_y) / pixel for a, b in sides]
        rows, columns = self._shape
        top, bottom = (min(max(round(at), 0), rows) for at in (min(y), max(y)))
        left, right = (min(max(round(at), 0), columns) for at in (min(x), max(x)))
        grid_y = (np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(tip.y_px)) * pixel
        grid_x = (np.arange(left, right, dtype=np.float32) - np.float32(tip.x_px)) * pixel
        along = grid_y * tip.into_y + grid_x * tip.into_x
        aside = np.abs(grid_y * tip.into_x - grid_x * tip.into_y)
        inside = np.minimum(np.minimum(along + before, length - along), half - aside)
        weight = np.clip(inside / _FADES_UM, 0, 1).astype(np.float32)
        return Ground(Box(top, left, bottom, right), weight)
