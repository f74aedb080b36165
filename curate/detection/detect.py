"""Detection of heads in a single plane, for any kind of contrast.

A head may be a dark or a bright disc, a ring, a shaded relief, or almost invisible (a phase object
in focus), so neither its sign nor its pattern is used. The detector searches for spots of *contrast
energy* of the size of a head. Energy is the square of the band-passed image, averaged over a head's
area. Tails, droplet edges and pipettes have energy along a line, debris in a smaller spot and in
finer detail, clumps in a larger spot. Measures of the energy around each spot distinguish them
(`heads.py`).

All lengths scale with the head, and all images are binned to a working pixel of about `WORKING_UM`,
so that 20x and 40x look similar.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max

from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.detection.heads import Measures, head_scores
from fgaf.curate.detection.parabola import peak_offset

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

HEAD_UM: Final = (4.7, 3.0)
"""Length and width of a human sperm head, µm (WHO laboratory manual, 6th edition)."""

WORKING_UM: Final = 0.3
_LEAST_HEAD_PX, _RESOLVED_PX = 4.0, 6.0
"""Minimum length of a head for detection, and for its shape to be visible, pixels."""
_BACKGROUND, _COARSE, _FINE, _AREA = 1.7, 0.43, 0.085, 0.26
"""Standard deviations of the filters, in head lengths."""
_COARSER: Final = (0.15, 0.26)
"""Standard deviations of the filters for coarse detail, of which debris has little."""
_STRONGEST: Final = 40.0
"""Signal-to-noise ratio above which more gives no information."""
_APART: Final = 0.5
"""Minimum distance of two spots, in head lengths."""
_WINDOW: Final = 0.55
"""Standard deviation of the window for a spot's moments, in head lengths."""
_ABOVE_NOISE: Final = 3.0
_LEAST_NOISE: Final = 1e-4
_USUAL_SIZE: Final = 0.26
"""Root mean square radius of a head's energy, in head lengths."""


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
        Similarity of the spot to one head, 0 to 1.
    energy
        Contrast energy, as an amplitude divided by its noise level.
    contrast
        The same amplitude relative to the background's grey level.
    size
        Root mean square radius of the energy, in head lengths.
    """

    y: Floats
    x: Floats
    height: Floats
    width: Floats
    score: Floats
    energy: Floats
    contrast: Floats
    size: Floats

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Any) -> Self:
        """The detections in `index`."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class Scale:
    """The working grid of a field: `binning` image pixels per grid pixel, heads `head_px` long."""

    pixel_size_um: float
    binning: int
    head_px: float

    @classmethod
    def of(cls, pixel_size_um: float, head_um: float = HEAD_UM[0]) -> Self:
        """Choose the working grid for a pixel size and head length, both in µm.

        Parameters
        ----------
        pixel_size_um
            Side of a pixel in the specimen, µm.
        head_um
            Length of a head, µm.

        Raises
        ------
        SettingError
            Either is not a positive number.
        """
        if not (np.isfinite(pixel_size_um) and pixel_size_um > 0 and head_um > 0):
            raise SettingError(
                f"the pixel size is {pixel_size_um} µm and the head {head_um} µm: "
                "both must be above 0; give --pixel-size"
            )
        working = WORKING_UM * head_um / HEAD_UM[0]
        binning = max(1, round(working / pixel_size_um))
        return cls(pixel_size_um, binning, max(head_um / (pixel_size_um * binning), _LEAST_HEAD_PX))

    @property
    def working_um(self) -> float:
        """Side of a working pixel, µm."""
        return self.pixel_size_um * self.binning

    def to_image(self, working: Floats) -> Floats:
        """Coordinates on the working grid in image pixels: centres of pixels are whole numbers."""
        return working * self.binning + (self.binning - 1) / 2

    def to_working(self, image: Floats) -> Floats:
        """Image pixels in coordinates on the working grid."""
        return (image - (self.binning - 1) / 2) / self.binning


def contrast_of(image: Image, scale: Scale) -> npt.NDArray[np.float32]:
    """Bin an image to the working grid and convert it to contrast against the background.

    The background, a smooth mean over almost two head lengths, removes uneven illumination.

    Parameters
    ----------
    image
        (Y, X) grey values.
    scale
        The working grid.

    Returns
    -------
    (Y // binning, X // binning) float32: (image - background) / median of the image.
    """
    binned = block_sums(image, scale.binning)
    binned /= scale.binning**2
    background = _smooth(binned, _BACKGROUND * scale.head_px)
    level = max(float(np.median(background)), 1.0)
    return np.asarray((binned - background) / level, dtype=np.float32)


def _energy(
    contrast: npt.NDArray[np.float32], surround: npt.NDArray[np.float32], finest: float, head: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Squared band-passed contrast, and its mean over a head's area: both (y, x).

    The band-pass subtracts the smoothed surround and removes the finest detail.
    """
    band = _smooth(contrast, finest) - surround
    squared = band * band
    return squared, _smooth(squared, _AREA * head)


def block_sums(images: Image, binning: int) -> npt.NDArray[np.float32]:
    """Sum square blocks of pixels.

    Parameters
    ----------
    images
        (..., Y, X); incomplete blocks at the right and the bottom are cut off.
    binning
        Side of a block.

    Returns
    -------
    (..., Y // binning, X // binning) float32
    """
    rows, columns = (n // binning for n in images.shape[-2:])
    total = np.zeros((*images.shape[:-2], rows, columns), np.float32)
    for i in range(binning):
        for j in range(binning):
            total += images[..., i : rows * binning : binning, j : columns * binning : binning]
    return total


def _smooth(image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian smoothing; a wide one as three running means, at constant cost."""
    if sigma < 2.5:
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=3.0, mode="reflect"))
    # Three boxes of width w have the variance (w**2 - 1) / 4.
    width = 2 * round((np.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1
    for _ in range(3):
        image = ndimage.uniform_filter(image, width, mode="reflect")
    return image


def detect(
    image: Image, pixel_size_um: float, *, head_um: float = HEAD_UM[0], least_score: float = 0.5
) -> Detections:
    """Find the heads in one plane.

    Parameters
    ----------
    image
        (Y, X) integer pixels.
    pixel_size_um
        Pixel in the specimen, µm.
    head_um
        Length of a head, µm; boxes and filters scale with it.
    least_score
        Detections with a lower score are left out; 0 gives every spot.

    Raises
    ------
    SettingError
        The pixel size is not positive.
    FgafError
        Not a two-dimensional image of integers, or smaller than a head.
    """
    image = checked(image)
    scale = Scale.of(pixel_size_um, head_um)
    found = spots(contrast_of(image, scale), scale)
    return found.take(found.score >= least_score)


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


def spots(contrast: npt.NDArray[np.float32], scale: Scale) -> Detections:
    """Find every spot of contrast energy above the noise, with its score as a head.

    Parameters
    ----------
    contrast
        (Y, X) contrast on the working grid, from `contrast_of`.
    scale
        The working grid.
    """
    found, measures = measured(contrast, scale)
    return replace(found, score=head_scores(measures, scale.head_px >= _RESOLVED_PX))


def measured(contrast: npt.NDArray[np.float32], scale: Scale) -> tuple[Detections, Measures]:
    """Find every spot above the noise, with score 0, and the measures that distinguish heads.

    Parameters
    ----------
    contrast
        (Y, X) contrast on the working grid, from `contrast_of`.
    scale
        The working grid.
    """
    head = scale.head_px
    surround = _smooth(contrast, _COARSE * head)
    squared, energy = _energy(contrast, surround, _FINE * head, head)
    noise = max(float(np.median(energy)), _LEAST_NOISE**2)
    apart = max(1, round(_APART * head))
    least = _ABOVE_NOISE**2 * noise
    places = peak_local_max(energy, apart, least, exclude_border=False)  # type: ignore[no-untyped-call]
    rows, columns = places.T
    shapes = _shapes(squared, energy, rows, columns, head)
    amplitude = np.sqrt(energy[rows, columns].astype(np.float64))
    coarse = [
        _energy(contrast, surround, sigma * head, head)[1][rows, columns] / energy[rows, columns]
        for sigma in _COARSER
    ]
    strength = amplitude / np.sqrt(noise)
    measures = Measures(
        alone=np.column_stack(
            [
                np.log(np.minimum(strength, _STRONGEST)),
                shapes.size,
                np.log(shapes.long / np.maximum(shapes.short, 1e-3)),
                *(np.log(part + 0.05) for part in (shapes.around, shapes.strongest_around)),
                np.log(shapes.through + 0.05),
                *(np.log(np.maximum(part, 1e-6)) for part in coarse),
            ]
        ),
        contrast=np.log(amplitude),
    )
    height, width = _boxes(shapes, head)
    unit = float(scale.binning)
    found = Detections(
        y=scale.to_image(shapes.y),
        x=scale.to_image(shapes.x),
        height=height * unit,
        width=width * unit,
        score=np.zeros(len(rows)),
        energy=strength,
        contrast=amplitude,
        size=shapes.size,
    )
    return found, measures


@dataclass(frozen=True)
class _Shapes:
    """Moments of the energy around each spot, (N,); lengths in head lengths except y and x.

    `around`, `strongest_around` and `through` are amplitudes one head length away, relative to
    the spot's: the median, the strongest, and the strongest that lies on both sides. A tail is on
    one side, an edge on both sides.
    """

    y: Floats
    x: Floats
    long: Floats
    short: Floats
    angle: Floats
    around: Floats
    strongest_around: Floats
    through: Floats

    @property
    def size(self) -> Floats:
        """Root mean square radius."""
        return np.sqrt(self.long * self.short)


def _shapes(
    squared: npt.NDArray[np.float32],
    energy: npt.NDArray[np.float32],
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    head: float,
) -> _Shapes:
    reach = round(1.2 * head)
    gy, gx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    radius = np.hypot(gy, gx) / head
    window = np.exp(-0.5 * (radius / _WINDOW) ** 2)
    ring = (radius > 0.85) & (radius < 1.15)
    local = np.pad(_smooth(squared, 1.0), reach)
    wide = np.pad(energy, reach, mode="reflect" if min(energy.shape) > reach else "edge")
    place = (
        rows[:, None, None] + (gy + reach).astype(int),
        columns[:, None, None] + (gx + reach).astype(int),
    )
    weight = local[place] * window
    total = weight.sum(axis=(1, 2)) + np.finfo(np.float32).tiny

    def mean(values: Floats) -> Floats:
        return np.asarray((weight * values).sum(axis=(1, 2)) / total)

    my, mx = mean(gy), mean(gx)
    yy, xx, xy = mean(gy**2) - my**2, mean(gx**2) - mx**2, mean(gy * gx) - my * mx
    middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    peak = energy[rows, columns].astype(np.float64)
    patches = wide[place]
    on_ring = patches[:, ring]
    turn = np.arange(16) * np.pi / 8
    circle = patches[
        :,
        np.rint(reach + head * np.sin(turn)).astype(int),
        np.rint(reach + head * np.cos(turn)).astype(int),
    ]
    both_sides = np.minimum(circle[:, :8], circle[:, 8:])
    dy, dx = _sub_pixel(energy, rows, columns)
    return _Shapes(
        y=rows + dy,
        x=columns + dx,
        long=np.sqrt(middle + spread) / head,
        short=np.sqrt(np.maximum(middle - spread, 0)) / head,
        angle=0.5 * np.arctan2(2 * xy, xx - yy),
        around=np.sqrt(np.median(on_ring, axis=1) / peak) if len(rows) else peak,
        strongest_around=np.sqrt(on_ring.max(axis=1) / peak) if len(rows) else peak,
        through=np.sqrt(both_sides.max(axis=1) / peak) if len(rows) else peak,
    )


def _sub_pixel(
    energy: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Offset of each maximum from its pixel, at most half a pixel."""
    padded = np.pad(energy, 1, mode="edge").astype(np.float64)
    here = padded[rows + 1, columns + 1]
    dy = peak_offset(padded[rows, columns + 1], here, padded[rows + 2, columns + 1])
    dx = peak_offset(padded[rows + 1, columns], here, padded[rows + 1, columns + 2])
    return np.clip(dy, -0.5, 0.5), np.clip(dx, -0.5, 0.5)


def _boxes(shapes: _Shapes, head: float) -> tuple[Floats, Floats]:
    """Upright boxes around ellipses of a head's proportions, oriented along the energy."""
    grown = np.clip(shapes.size / _USUAL_SIZE, 0.85, 1.3)
    length, width = head * grown, head * grown * HEAD_UM[1] / HEAD_UM[0]
    cos, sin = np.cos(shapes.angle), np.sin(shapes.angle)
    return np.hypot(length * sin, width * cos), np.hypot(length * cos, width * sin)
