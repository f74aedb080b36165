"""The working grid: every field is resampled so that a head has the same length in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgaf.base.errors import SettingError
from fgaf.curate.detection.resample import resampled

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

HEAD_UM: Final = (4.7, 3.0)
"""Length and width of a human sperm head, µm (WHO laboratory manual, 6th edition)."""

WORKING_UM: Final = 0.3
"""Side of a working pixel for heads of `HEAD_UM`, µm; it grows in proportion with the head."""
_GROUND: Final = 65
"""Side of the mean filter for the background, working pixels."""


@dataclass(frozen=True)
class Scale:
    """The working grid of a field.

    Attributes
    ----------
    pixel_size_um
        Side of an image pixel in the specimen, µm.
    head_um
        Length of a head, µm.
    """

    pixel_size_um: float
    head_um: float = HEAD_UM[0]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.pixel_size_um) and self.pixel_size_um > 0 and self.head_um > 0):
            raise SettingError(
                f"the pixel size is {self.pixel_size_um} µm and the head {self.head_um} µm: "
                "both must be above 0; give --pixel-size"
            )

    @property
    def working_um(self) -> float:
        """Side of a working pixel, µm."""
        return WORKING_UM * self.head_um / HEAD_UM[0]

    @property
    def zoom(self) -> float:
        """Image pixels per working pixel."""
        return self.working_um / self.pixel_size_um

    @property
    def head_px(self) -> float:
        """Length of a head, image pixels."""
        return self.head_um / self.pixel_size_um

    def to_image(self, working: Floats) -> Floats:
        """Coordinates on the working grid in image pixels: centres of pixels are whole numbers."""
        return (working + 0.5) * self.zoom - 0.5

    def to_working(self, image: Floats) -> Floats:
        """Image pixels in coordinates on the working grid."""
        return (image + 0.5) / self.zoom - 0.5

    def shape_of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the working grid of an image of `shape`."""
        rows, columns = (max(1, int(side / self.zoom + 1e-6)) for side in shape)
        return rows, columns

    def contrast(self, image: Image) -> npt.NDArray[np.float32]:
        """Resample images to the working grid, relative to the local background.

        The background is the mean over about 4 head lengths, which removes uneven illumination.

        Parameters
        ----------
        image
            (Y, X) grey values, or a stack of such images (N, Y, X).

        Returns
        -------
        (y, x) or (N, y, x) float32: image / background - 1.
        """
        small = np.asarray(image, dtype=np.float32)
        shape = self.shape_of((small.shape[-2], small.shape[-1]))
        for axis, count in zip((-2, -1), shape, strict=True):
            small = resampled(small, axis, count, min(count * self.zoom, small.shape[axis]))
        ground = ndimage.uniform_filter(small, _GROUND, mode="reflect", axes=(-2, -1))
        np.maximum(ground, np.float32(0.5), out=ground)
        small /= ground
        small -= 1
        return small


def upright_box(length: Floats, width: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Height and width of the upright box around an ellipse.

    Parameters
    ----------
    length, width
        Axes of the ellipse.
    angle
        Direction of the longer one, rad from x towards y.
    """
    sin, cos = np.sin(angle), np.cos(angle)
    return np.hypot(length * sin, width * cos), np.hypot(length * cos, width * sin)
