"""Focus measures: the sharpness of an image as a number.

The first five are those of Fig. 6 of the FGAF paper; `band_power` finds the focus of sperm more
often than all five (docs/motility.md lists others that were tried). All take images (..., H, W) of
uint8, uint16 or float and return float64 (...). Differences are taken inside the image only,
without wrap-around, padding or overflow. A measure is a mean per pixel, so images of different size
can be compared.

A measure's maximum is the focus plane only for objects with contrast in focus. A phase object in
bright field has its *minimum* contrast there: see `fgaf.curate.focus.suggest`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import SettingError

Images = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
FocusMeasure = Callable[[Images], Values]
Kind = type[np.float32] | type[np.float64]
Local = Callable[[Images, int, Kind], Images]

_FLOAT_BINS: Final = 256
_PIXELS_AT_ONCE: Final = 1 << 16
"""Pixels per block: few enough that results stay in the processor's cache."""
_BAND: Final = (0.1, 0.175)
_LEVELS: Final = 256


def entropy(images: Images) -> Values:
    """Shannon entropy of the grey levels, in bits.

    Integer images are counted by grey level, float images in 256 equal bins over each image's own
    range.
    """
    images = _checked(images)
    flat = images.reshape(-1, images.shape[-2] * images.shape[-1])
    if images.dtype.itemsize == 1:
        levels = flat.view(np.uint8)
        counts = [np.bincount(pixels, minlength=_LEVELS) for pixels in levels]
        values = _bits(np.array(counts, dtype=np.int64).reshape(-1, _LEVELS), flat.shape[1])
    else:
        values = np.array([float(_bits(_counts(pixels), pixels.size)) for pixels in flat])
    return values.reshape(images.shape[:-2])


def tenengrad(images: Images) -> Values:
    """Mean squared Sobel gradient, both directions."""

    def squared_gradient(x: Images, width: int, kind: Kind) -> Images:
        x = _signed(x)
        smooth = x[: -2 * width] + x[2 * width :]
        smooth += 2 * x[width:-width]
        slope = x[2 * width :] - x[: -2 * width]
        gy = slope[:-2] + slope[2:]
        gy += 2 * slope[1:-1]
        total = _squared(smooth[2:] - smooth[:-2], kind)
        total += _squared(gy, kind)
        return total

    return _mean_of(squared_gradient, images, 2, 2)


def laplacian(images: Images) -> Values:
    """Mean squared 4-neighbour Laplacian (the energy of the Laplacian)."""

    def squared_laplacian(x: Images, width: int, kind: Kind) -> Images:
        x = _signed(x)
        centre = slice(width + 1, -width - 1)
        total = x[1 : -2 * width - 1] + x[2 * width + 1 : -1]
        total += x[width : -width - 2]
        total += x[width + 2 : -width]
        total -= 4 * x[centre]
        return _squared(total, kind)

    return _mean_of(squared_laplacian, images, 2, 2)


def gray_level_gradient(images: Images) -> Values:
    """Mean absolute difference to the next pixel, summed over both directions."""

    def differences(x: Images, width: int, kind: Kind) -> Images:
        down: Any = _apart(x, width).astype(kind)
        down += _apart(x, 1)[: down.size].astype(kind)
        return np.asarray(down)

    return _mean_of(differences, images, 1, 1)


def brenner(images: Images) -> Values:
    """Mean squared difference two pixels apart, along the rows only, as Brenner defined it."""
    return _mean_of(lambda x, _width, kind: _squared(_apart(x, 2), kind), images, 0, 2)


def band_power(images: Images) -> Values:
    """Mean power of detail between 0.1 and 0.175 cycles per pixel, under a Hann window.

    The window gives the centre of the image the most weight. With the pixels of a 40x objective
    (0.15 µm) the band is just below the coherent resolution limit of an aperture of 0.65.
    """
    images = _checked(images)
    height, width = images.shape[-2:]
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    inside = (radius >= _BAND[0]) & (radius < _BAND[1])
    if not inside.any():
        raise SettingError(f"{height} x {width} pixels are too few for the power of a band")
    half = inside[:, : width // 2 + 1]
    # A column of the half spectrum counts for two of the full one, except the first and the middle.
    twice = np.full(width // 2 + 1, 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    weight = np.broadcast_to(twice, half.shape)[half] / (inside.sum() * height * width)
    exact = np.float32 if images.dtype.itemsize <= 2 else np.float64
    stack = images.reshape(-1, height, width)
    values = np.empty(len(stack), dtype=np.float64)
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    for i in range(0, len(stack), at_once):
        part: Any = stack[i : i + at_once].astype(exact)
        part -= part.mean(axis=(-2, -1), keepdims=True)
        part *= window.astype(exact)
        spectrum = np.fft.rfft2(part)[:, half]
        power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
        values[i : i + at_once] = power @ weight
    return values.reshape(images.shape[:-2])


PAPER_MEASURES: Final[dict[str, FocusMeasure]] = {
    "entropy": entropy,
    "tenengrad": tenengrad,
    "laplacian": laplacian,
    "gray_level_gradient": gray_level_gradient,
    "brenner": brenner,
}
"""The five measures of the paper's Fig. 6, by name."""
MEASURES: Final[dict[str, FocusMeasure]] = {
    **PAPER_MEASURES,
    "band_power": band_power,
}
"""Every measure by name."""


def _checked(images: Images) -> Images:
    images = np.asarray(images)
    if images.ndim < 2 or min(images.shape[-2:]) < 3:
        raise SettingError(
            f"a focus measure needs images of at least 3 x 3 pixels, not {images.shape}"
        )
    if images.dtype.kind not in "uif":
        raise SettingError(
            f"a focus measure needs integer or float pixels, not {images.dtype}; convert first"
        )
    return images


def _signed(x: Images) -> Images:
    """Widen integers so that sums of eight differences of them fit; floats become float64."""
    wider = {1: np.int16, 2: np.int32}.get(x.dtype.itemsize) if x.dtype.kind in "ui" else None
    return x.astype(wider or np.float64)


def _apart(x: Images, distance: int) -> Images:
    """Absolute difference of pixels at an offset in the flat array, without overflow."""
    if x.dtype.kind != "u":
        x = _signed(x)
    a, b = x[distance:], x[:-distance]
    return np.asarray(np.maximum(a, b) - np.minimum(a, b))


def _squared(x: Images, kind: Kind) -> Images:
    y: Any = x.astype(kind)
    y *= y
    return np.asarray(y)


def _mean_of(local: Local, images: Images, rows: int, columns: int) -> Values:
    """Mean over each image of a local quantity.

    Images are processed as one flat array, a few at a time together with the first pixels of the
    next: long runs of numbers make this fast. A quantity of several pixels is stored at the first
    of them; in the last rows and columns of an image it would mix opposite borders, and is left
    out.

    Parameters
    ----------
    local
        Computes the quantity from flat images, their width and the float type.
    images
        (..., H, W)
    rows, columns
        Number of rows and columns left out at the end.
    """
    images = _checked(images)
    height, width = images.shape[-2:]
    # Differences of 8 and 16 bit pixels are exact in float32, and sums are taken row by row.
    kind: Kind = np.float32 if images.dtype.itemsize <= 2 else np.float64
    size, flat = height * width, images.reshape(-1)
    beyond = rows * width + columns
    ones = np.ones(width - columns, dtype=kind)
    values = np.empty(flat.size // size, dtype=np.float64)
    at_once = max(1, _PIXELS_AT_ONCE // size)
    for i in range(0, len(values), at_once):
        of_these = values[i : i + at_once]
        pixels = flat[i * size : (i + len(of_these)) * size + beyond]
        missing = len(of_these) * size + beyond - pixels.size
        found = local(np.pad(pixels, (0, missing)) if missing else pixels, width, kind)
        whole = found[: len(of_these) * size].reshape(-1, height, width)
        of_rows = whole[:, : height - rows, : width - columns] @ ones
        of_these[:] = of_rows.sum(axis=1, dtype=np.float64)
    means = values / ((height - rows) * (width - columns))
    return np.asarray(means.reshape(images.shape[:-2]))


def _bits(counts: npt.NDArray[np.int64], n_pixels: int) -> Values:
    """Entropy of grey-level counts (N, levels)."""
    share = counts / n_pixels
    return np.asarray(-(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=-1))


def _counts(pixels: Images) -> npt.NDArray[np.int64]:
    """How often each grey level occurs in an image (pixels,)."""
    if pixels.dtype.kind == "f":
        return np.asarray(np.histogram(pixels, bins=_FLOAT_BINS)[0], dtype=np.int64)
    if pixels.dtype.itemsize <= 2:
        return np.asarray(np.bincount(pixels.astype(np.int64) - int(pixels.min())))
    return np.asarray(np.unique(pixels, return_counts=True)[1])
