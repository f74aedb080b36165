"""The outline of a head as the detector sees it: an ellipse, proposed where a mask is drawn."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.draw import ellipse

from fgaf.curate.detection.detect import checked, kind_of
from fgaf.curate.detection.network import shipped
from fgaf.curate.detection.scale import HEAD_UM, Image, Scale

_REACH: Final = 8.0
"""Half the side of the area that is searched, heads."""
_NEAR: Final = 0.6
"""Distance from the place up to which a head is the one asked for, heads."""
_LEAST_SCORE: Final = 0.1


def proposed_head(image: Image, y: float, x: float, scale: Scale) -> npt.NDArray[np.bool_]:
    """Mask of the head at a place: the ellipse that the shipped detector gives it.

    Where the detector sees none, as in many planes at focus, the mask is a disc with the area of a
    usual head.

    Parameters
    ----------
    image
        (Y, X) integer pixels.
    y, x
        The place, pixels.
    scale
        The working grid, with the usual length of a head.

    Returns
    -------
    (Y, X) true on the head.

    Raises
    ------
    FgafError
        The image cannot be searched.
    """
    image = checked(image)
    reach = round(_REACH * scale.head_px)
    top, left = (max(0, round(place) - reach) for place in (y, x))
    part = image[top : round(y) + reach + 1, left : round(x) + reach + 1]
    (heads,) = shipped().heads(scale.contrast(part)[None], _LEAST_SCORE, kind_of(scale))
    rows, columns = (scale.to_image(way.astype(np.float64)) for way in heads[:, :2].T)
    away = np.hypot(rows + top - y, columns + left - x)
    short = HEAD_UM[1] / HEAD_UM[0]
    if len(away) and away.min() <= _NEAR * scale.head_px:
        nearest = int(away.argmin())
        y, x = rows[nearest] + top, columns[nearest] + left
        long, wide, angle = (float(value) for value in heads[nearest, 3:6])
    else:
        long, wide, angle = np.sqrt(short), 1 / np.sqrt(short), 0.0
    mask = np.zeros(image.shape, np.bool_)
    radii = 0.5 * scale.head_px * short * wide, 0.5 * scale.head_px * long
    inside = ellipse(y, x, *radii, shape=mask.shape, rotation=-angle)  # type: ignore[no-untyped-call]
    mask[inside] = True
    return mask
