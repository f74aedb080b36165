"""Detection of heads in a single plane, for any kind of contrast.

A head may be a dark or a bright disc, a ring, a shaded relief, or almost invisible (a phase object
in focus). A small network (`network.py`) that has seen all of them, and what is mistaken for them,
gives each head's centre, size, axis and score.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgaf.base.errors import FgafError
from fgaf.curate.detection.network import Kind, shipped
from fgaf.curate.detection.scale import HEAD_UM, Floats, Image, Scale, upright_box

DEFAULT_SCORE: Final = 0.7
"""Heads of a single plane with a lower score are left out unless asked for."""
SPERM_WITHIN: Final = 0.1
"""Relative difference from the usual head length up to which only sperm are searched for."""
RESOLVED_PX: Final = 6.0
"""Minimum length of a head, image pixels, for its shape to be visible; else any spot counts."""
_LEAST_SPOT: Final = 0.1
"""Spots with a lower score are of no use to anyone."""
_WINDOW: Final = 9
"""Half the side of the window for a head's contrast, working pixels."""
_WINDOW_WIDTH: Final = 4.5
"""Standard deviation of its weights."""
_SMOOTHED: Final = 2.0
"""Standard deviation of the smoothing before contrasts are compared, working pixels."""
_LEAST_SEEN: Final = 0.008
"""Smoothed contrast below which the eye finds nothing."""
ABOVE_GROUND: Final = 1.7
"""Smoothed contrast of a head that can be seen, relative to the quietest tenth of the ground."""


@dataclass(frozen=True)
class Detections:
    """Heads found in one plane, best first; one array (N,) per column.

    Attributes
    ----------
    y, x
        Centre of the head, in pixels of the image, sub-pixel.
    height, width
        Upright box around the head, centred at (y, x), in pixels.
    score
        Probability that the spot is a head, 0 to 1.
    length
        Length of the head, relative to the length it is searched with.
    angle
        Direction of its long axis, rad from x towards y, modulo pi.
    contrast
        Root mean square contrast of the spot relative to the background's grey level.
    looks
        (N, L) how the network sees the spot, for the judge of tracks; see `HeadNetwork`.
    """

    y: Floats
    x: Floats
    height: Floats
    width: Floats
    score: Floats
    length: Floats
    angle: Floats
    contrast: Floats
    looks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Any) -> Self:
        """The detections in `index`."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def detect(
    image: Image,
    pixel_size_um: float,
    *,
    head_um: float = HEAD_UM[0],
    least_score: float = DEFAULT_SCORE,
) -> Detections:
    """Find the heads in one plane.

    With a head length that differs by more than a tenth from a human sperm's, any compact object of
    about that length counts as a head: beads, yeast, blood cells, heads of other species. The same
    holds where a head has fewer than 6 pixels.

    Parameters
    ----------
    image
        (Y, X) integer pixels.
    pixel_size_um
        Pixel in the specimen, µm.
    head_um
        Length of a head, µm; the scale of the search.
    least_score
        Detections with a lower score are left out.

    Raises
    ------
    SettingError
        The pixel size is not positive.
    FgafError
        Not a two-dimensional image of integers, or smaller than a head.
    """
    scale = Scale(pixel_size_um, head_um)
    return spots(scale.contrast(checked(image)), scale, least_score)


def checked(image: Image) -> Image:
    """Return the image if it can be searched: (Y, X) integers.

    Raises
    ------
    FgafError
        It cannot be searched; the message says how to fix it.
    """
    image = np.asarray(image)
    if image.ndim != 2:
        raise FgafError(f"an image of shape {image.shape} is not one grey plane; pass (Y, X)")
    if image.dtype.kind not in "ui":
        raise FgafError(
            f"the image holds {image.dtype}, not whole grey levels; convert it to 8 or 16 bit"
        )
    if min(image.shape) < 8:
        raise FgafError(f"an image of {image.shape[0]} x {image.shape[1]} pixels is too small")
    return image


def spots(
    contrast: npt.NDArray[np.float32], scale: Scale, least_score: float = _LEAST_SPOT
) -> Detections:
    """Find the heads in a plane on the working grid.

    Parameters
    ----------
    contrast
        (y, x) contrast, from `Scale.contrast`.
    scale
        The working grid.
    least_score
        Detections with a lower score are left out.
    """
    least = max(least_score, _LEAST_SPOT)
    (found,) = shipped(looks=True).heads(contrast[None], least, kind_of(scale))
    y, x, score, length, width, angle = found[:, :6].astype(np.float64).T
    long, short = length * scale.head_px, width * scale.head_px * HEAD_UM[1] / HEAD_UM[0]
    height_px, width_px = upright_box(long, short, angle)
    return Detections(
        y=scale.to_image(y),
        x=scale.to_image(x),
        height=height_px,
        width=width_px,
        score=score,
        length=length,
        angle=angle,
        contrast=strength(contrast, y, x),
        looks=found[:, 6:],
    )


def kind_of(scale: Scale) -> Kind:
    """What a search is for: sperm, or compact objects of any kind."""
    usual = abs(scale.head_um / HEAD_UM[0] - 1) <= SPERM_WITHIN
    return "sperm" if usual and scale.head_px >= RESOLVED_PX else "object"


def strength(contrast: npt.NDArray[np.float32], y: Floats, x: Floats) -> Floats:
    """Weighted deviation of the contrast around places.

    Parameters
    ----------
    contrast
        (y, x) contrast on the working grid.
    y, x
        (N,) places, working pixels.

    Returns
    -------
    (N,) root mean square contrast, less the mean around the place.
    """
    around = np.arange(-_WINDOW, _WINDOW + 1)
    rows = np.clip(np.rint(y).astype(int)[:, None] + around, 0, contrast.shape[0] - 1)
    columns = np.clip(np.rint(x).astype(int)[:, None] + around, 0, contrast.shape[1] - 1)
    window = contrast[rows[:, :, None], columns[:, None, :]].astype(np.float64)
    line = np.exp(-0.5 * (around / _WINDOW_WIDTH) ** 2)
    weight = np.outer(line, line) / line.sum() ** 2
    mean = (weight * window).sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.sqrt((weight * (window - mean) ** 2).sum(axis=(1, 2))))


def can_be_seen(
    contrast: npt.NDArray[np.float32], y: Floats, x: Floats, above_ground: float = ABOVE_GROUND
) -> npt.NDArray[np.bool_]:
    """Whether heads are clear enough to be found, for the fit and for benchmarks.

    Parameters
    ----------
    contrast
        (y, x) contrast on the working grid.
    y, x
        (N,) true centres of the heads, working pixels.
    above_ground
        Least contrast, relative to that of the quietest tenth of the ground; both smoothed.

    Returns
    -------
    (N,) bool.
    """
    smooth = ndimage.gaussian_filter(contrast, _SMOOTHED)
    rows, columns = (
        grid.ravel().astype(np.float64)
        for grid in np.mgrid[: contrast.shape[0] : _WINDOW, : contrast.shape[1] : _WINDOW]
    )
    ground = float(np.percentile(strength(smooth, rows, columns), 10))
    return np.asarray(strength(smooth, y, x) >= max(_LEAST_SEEN, above_ground * ground))
