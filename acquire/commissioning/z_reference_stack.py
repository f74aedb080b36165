"""Telling z from an image: a ladder of images at known z, to which another one is compared.

The read-back of most drives counts motor steps and sees neither play, nor sticking, nor the ringing
of the objective. The image sees all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_LARGEST_SIDE = 2048
_MEDIAN_OF_SQUARE = 0.4549  # of a normal variable of unit variance
_LEAST_REST = 0.05

Image = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceStack:
    """Images of one specimen at known z.

    Attributes
    ----------
    z_um
        (K,) in µm, ascending in equal steps.
    images
        (K, N), prepared.
    noise
        Mean squared difference that noise alone makes between two images.
    """

    z_um: Floats
    images: npt.NDArray[np.float32]
    noise: float

    @classmethod
    def of(cls, z_um: npt.ArrayLike, frames: list[Image], noise: float) -> Self:
        """Build a ladder of frames (Y, X), three at least.

        Parameters
        ----------
        z_um
            (P,) position of each frame, µm.
        frames
            P frames (Y, X).
        noise
            Mean squared difference of two frames of one plane, see `noise_between`.
        """
        return cls(np.asarray(z_um, float), np.stack([prepared(frame) for frame in frames]), noise)

    @property
    def step_um(self) -> float:
        """Distance of the rungs."""
        return float(self.z_um[1] - self.z_um[0])

    def distances(self, frame: Image) -> Floats:
        """Mean squared difference between a frame and every rung; (K,)."""
        image = prepared(frame)
        return np.array([np.mean((image - rung) ** 2) for rung in self.images], float)

    def contrast(self, frame: Image) -> float:
        """How much more a frame differs from most rungs than from the nearest, noise taken off.

        About 1 where the image changes by itself as much as with z, about 0 where it changes with
        neither.
        """
        distances = self.distances(frame) - self.noise
        rest = max(float(distances.min()), _LEAST_REST * self.noise, 1e-12)
        return float(np.median(distances)) / rest

    def correlations(self, frame: Image) -> Floats:
        """Pearson correlation between a frame and every rung; (K,)."""
        image = prepared(frame)
        image = image - image.mean()
        rungs = self.images - self.images.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(rungs, axis=1) * np.linalg.norm(image)
        return np.asarray(rungs @ image / np.maximum(norms, 1e-12), float)

    def z_of(self, frame: Image) -> float:
        """Estimate the z of a frame, in µm; nan where it lies beyond the ladder.

        Near a rung the image is taken as linear in z, with the slope between the two neighbours:
        the noise of none of the four images then pushes the estimate to either side.
        """
        nearest = int(np.argmin(self.distances(frame)))
        rung = min(max(nearest, 1), len(self.z_um) - 2)
        below, here, above = self.images[rung - 1 : rung + 2]
        slope = (above - below) / 2
        steps = float((prepared(frame) - here) @ slope / max(float(slope @ slope), 1e-12))
        if abs(steps) > 1:
            return float("nan")
        return float(self.z_um[rung] + steps * self.step_um)


def noise_between(first: Image, second: Image) -> float:
    """Mean squared difference that noise alone makes between two frames of one plane.

    By the median, so that what moved in between does not count where it covers less than half.

    Parameters
    ----------
    first, second
        Frames (Y, X) of one plane.
    """
    square = (prepared(first) - prepared(second)) ** 2
    return float(np.median(square)) / _MEDIAN_OF_SQUARE


def prepared(frame: Image) -> npt.NDArray[np.float32]:
    """Return the middle of a frame as one row, ready to be compared.

    Pixels are averaged two by two, as optics spread light wider than one and noise is less; all are
    divided by their mean, as lamps flicker.
    """
    rows, columns = (min(side, _LARGEST_SIDE) // 2 for side in frame.shape)
    top, left = (frame.shape[0] - 2 * rows) // 2, (frame.shape[1] - 2 * columns) // 2
    middle = frame[top : top + 2 * rows, left : left + 2 * columns].astype(np.float32)
    binned = middle.reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    return np.ravel(binned / max(float(binned.mean()), 1e-6))
