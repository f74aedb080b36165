"""Estimates z from an image, by comparison with a reference stack of images at known z.

The read-back of most drives counts motor steps and does not show backlash, sticking or ringing of
the objective. The image shows all three.
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
        Mean squared difference of two images due to noise only.
    """

    z_um: Floats
    images: npt.NDArray[np.float32]
    noise: float

    @classmethod
    def of(cls, z_um: npt.ArrayLike, frames: list[Image], noise: float) -> Self:
        """Build a reference stack from at least three frames (Y, X).

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
        """Distance of the planes."""
        return float(self.z_um[1] - self.z_um[0])

    def distances(self, frame: Image) -> Floats:
        """Mean squared difference between a frame and every reference plane; (K,)."""
        image = prepared(frame)
        return np.array([np.mean((image - rung) ** 2) for rung in self.images], float)

    def contrast(self, frame: Image) -> float:
        """Ratio of a frame's difference from most planes to that from the nearest, without noise.

        About 1 if the image changes over time as much as with z, about 0 if it does not change.
        """
        distances = self.distances(frame) - self.noise
        rest = max(float(distances.min()), _LEAST_REST * self.noise, 1e-12)
        return float(np.median(distances)) / rest

    def correlations(self, frame: Image) -> Floats:
        """Pearson correlation between a frame and every reference plane; (K,)."""
        image = prepared(frame)
        image = image - image.mean()
        rungs = self.images - self.images.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(rungs, axis=1) * np.linalg.norm(image)
        return np.asarray(rungs @ image / np.maximum(norms, 1e-12), float)

    def z_of(self, frame: Image) -> float:
        """Estimate the z of a frame, in µm; nan beyond the reference stack.

        Near a reference plane the image is assumed linear in z, with the slope between the two
        neighbours; the noise of the four images then does not bias the estimate.
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
    """Mean squared difference of two frames of one plane due to noise only.

    The median is used, so that motion in less than half of the image does not count.

    Parameters
    ----------
    first, second
        Frames (Y, X) of one plane.
    """
    square = (prepared(first) - prepared(second)) ** 2
    return float(np.median(square)) / _MEDIAN_OF_SQUARE


def prepared(frame: Image) -> npt.NDArray[np.float32]:
    """Return the centre of a frame as one row, prepared for comparison.

    Pixels are averaged two by two to reduce noise, since the optics do not resolve single pixels;
    all are divided by their mean, because lamps flicker.
    """
    rows, columns = (min(side, _LARGEST_SIDE) // 2 for side in frame.shape)
    top, left = (frame.shape[0] - 2 * rows) // 2, (frame.shape[1] - 2 * columns) // 2
    middle = frame[top : top + 2 * rows, left : left + 2 * columns].astype(np.float32)
    binned = middle.reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    return np.ravel(binned / max(float(binned.mean()), 1e-6))
