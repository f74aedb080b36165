"""What stands still in a part of the frame, taken out of it so that heads are found there.

The glass of a micropipette hides heads from a finder that has learnt heads on even ground. A few
frames before the awaited head comes show the glass without it; in later frames it is seen against
that. All else that lies or passes there fades, but for the surroundings of the head itself.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[Any]

FRAMES: Final = 9
"""Frames from which the ground is learnt."""
_EXCHANGES: Final = (
    *((0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)
"""Exchanges after which the fifth of nine values is their median (J. Smith, in A. Paeth, Graphics
Gems, 1990, p. 171-175)."""
_LEAST: Final = 1.0
_RENEWED: Final = np.float32(0.2)
_MOST: Final = np.float32(0.03)
"""A known ground takes over this share of what is seen from each frame, but changes by no more than
this: what has left fades in half a second, what passes leaves little."""


class Box(NamedTuple):
    """A part of the frame: its first row and column, and those behind the last ones."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, pixels: Image) -> Image:
        """The part of an image."""
        return pixels[self.top : self.bottom, self.left : self.right]


class Circle(NamedTuple):
    """Surroundings of a head: its centre and a radius, pixels of the frame."""

    y: float
    x: float
    radius: float

    def inside(self, box: Box) -> Box:
        """The square around it, counted from a box's first row and column, as far as it is in."""
        rows, columns = box.bottom - box.top, box.right - box.left
        top, bottom = (
            min(max(round(self.y - box.top + off), 0), rows) for off in (-self.radius, self.radius)
        )
        left, right = (
            min(max(round(self.x - box.left + off), 0), columns)
            for off in (-self.radius, self.radius)
        )
        return Box(top, left, bottom, right)


class Ground:
    """Learns what stands in a part of the frame, and takes it out of later frames.

    Parameters
    ----------
    box
        The part.
    weight
        (rows, columns) of the part: how far the ground is taken out of each pixel, 0 to 1. A soft
        border leaves no edge in the frame.
    """

    def __init__(self, box: Box, weight: npt.NDArray[np.float32]) -> None:
        self._box, self._weight = box, weight
        self._frames: list[Image] = []
        self._ground: npt.NDArray[np.float32] | None = None
        self._factor: npt.NDArray[np.float32] | None = None

    @property
    def known(self) -> bool:
        """Whether it has learnt."""
        return self._factor is not None

    def learn(self, pixels: Image, head: Circle | None) -> None:
        """See one more frame; the median of the first ones is the ground, which is then renewed.

        Parameters
        ----------
        pixels
            (Y, X) uint8 or uint16.
        head
            Where the awaited head is, which is not learnt; None where that is unknown, and a known
            ground stays as it is.
        """
        part = self._box.of(pixels)
        if self._ground is not None:
            if head is not None:
                self._renew(self._ground, part, head)
        else:
            self._frames.append(part.copy())
            if len(self._frames) == FRAMES:
                self._ground = _median(self._frames).astype(np.float32)
                self._frames = []
                self._even_out(self._ground)

    def _renew(self, ground: npt.NDArray[np.float32], part: Image, head: Circle) -> None:
        change = part - ground
        change *= _RENEWED
        most = _MOST * ground
        np.clip(change, -most, most, out=change)
        own = head.inside(self._box)
        change[own.top : own.bottom, own.left : own.right] = 0
        ground += change
        self._even_out(ground)

    def _even_out(self, ground: npt.NDArray[np.float32]) -> None:
        np.maximum(ground, np.float32(_LEAST), out=ground)
        factor = ground.mean() / ground
        factor -= 1
        factor *= self._weight
        factor += 1
        self._factor = factor

    def without(self, pixels: Image) -> Image:
        """The frame without the ground; the frame itself before it is known.

        Parameters
        ----------
        pixels
            (Y, X) of the same camera.
        """
        if self._factor is None:
            return pixels
        bare, part = pixels.copy(), self._box.of(pixels) * self._factor
        top = np.iinfo(pixels.dtype).max
        self._box.of(bare)[:] = np.clip(part + np.float32(0.5), 0, top)
        return bare


def _median(frames: list[Image]) -> Image:
    """Median of nine frames, pixel by pixel, some 50 times as fast as that of NumPy."""
    kept = list(frames)
    for low, high in _EXCHANGES:
        a, b = kept[low], kept[high]
        kept[low], kept[high] = np.minimum(a, b), np.maximum(a, b)
    return kept[4]
