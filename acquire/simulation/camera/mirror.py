"""Images padded by mirroring: bands at the border that repeat what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.dataset.truth import CellTruth

Array = npt.NDArray[Any]

KIND = "mirrored"
"""Kind of the second image of a sperm in the truth; other objects keep only their first."""


def pad(pixels: Array, band_px: int) -> Array:
    """Replace a band at each border by the mirror image of the pixels next to it.

    Parameters
    ----------
    pixels
        (Y, X).
    band_px
        Width of the band.
    """
    inner = pixels[band_px : len(pixels) - band_px, band_px : pixels.shape[1] - band_px]
    return np.pad(inner, band_px, "symmetric")


def mirror_truth(
    cells: Iterable[CellTruth], shape: tuple[int, int], band_px: int
) -> Iterator[CellTruth]:
    """Give what is seen: objects outside the band, and sperm that the band shows again.

    Parameters
    ----------
    cells
        All objects of the field.
    shape
        (Y, X) of the frame.
    band_px
        Width of the band.
    """
    low = band_px - 0.5
    high = [side - band_px - 0.5 for side in shape]
    for cell in cells:
        if not (low <= cell.y_px < high[0] and low <= cell.x_px < high[1]):
            continue
        yield cell
        if cell.kind not in ("sperm",):
            continue
        flips = [
            [(place, 1)] + [(2 * edge - place, -1) for edge in (low, top)]
            for place, top in zip((cell.y_px, cell.x_px), high, strict=True)
        ]
        for y, sign_y in flips[0]:
            for x, sign_x in flips[1]:
                seen = -0.5 <= y < shape[0] - 0.5 and -0.5 <= x < shape[1] - 0.5
                if seen and (sign_y, sign_x) != (1, 1):
                    yaw = np.arctan2(sign_y * np.sin(cell.yaw_rad), sign_x * np.cos(cell.yaw_rad))
                    yield cell.model_copy(
                        update={"kind": KIND, "y_px": y, "x_px": x, "yaw_rad": float(yaw)}
                    )
