"""Images padded by mirroring: bands at the border that repeat what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.dataset.storage.outlines import clipped
from fgaf.dataset.truth import HIDDEN, MIRRORED, CellTruth, as_outline

Array = npt.NDArray[Any]


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

    Outlines end at the band. Of a head whose centre the band hides only the part outside it is
    seen.

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
        outline = clipped(np.array(cell.outline_px).reshape(-1, 2), (low, low), (high[0], high[1]))
        if low <= cell.y_px < high[0] and low <= cell.x_px < high[1]:
            kind, copies = cell.kind, MIRRORED
        elif len(outline):
            kind = copies = HIDDEN
        else:
            continue
        yield cell.model_copy(update={"kind": kind, "outline_px": as_outline(outline)})
        if kind not in ("sperm", HIDDEN):
            continue
        flips = [
            [(place, (0, 1))] + [(2 * edge - place, (2 * edge, -1)) for edge in (low, top)]
            for place, top in zip((cell.y_px, cell.x_px), high, strict=True)
        ]
        for y, (from_y, sign_y) in flips[0]:
            for x, (from_x, sign_x) in flips[1]:
                if (sign_y, sign_x) == (1, 1):
                    continue
                flipped = outline * (sign_y, sign_x) + (from_y, from_x)
                if _in_frame(np.array([[y, x]]), shape):
                    kind = copies
                elif _in_frame(flipped, shape):
                    kind = HIDDEN
                else:
                    continue
                yaw = np.arctan2(sign_y * np.sin(cell.yaw_rad), sign_x * np.cos(cell.yaw_rad))
                yield cell.model_copy(
                    update={
                        "kind": kind,
                        "y_px": y,
                        "x_px": x,
                        "yaw_rad": float(yaw),
                        "outline_px": as_outline(flipped),
                    }
                )


def _in_frame(places: Array, shape: tuple[int, int]) -> bool:
    """Whether any of (N, 2) places (y, x) lies on a pixel."""
    return bool(((places >= -0.5) & (places < np.array(shape) - 0.5)).all(axis=1).any())
