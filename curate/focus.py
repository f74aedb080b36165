"""How sharp an image is: focus measures, each a number per image.

The first five are those of Fig. 6 of the FGAF paper. All take images (..., H, W) of uint8, uint16
or float and return float64 (...). Differences are taken inside the image only: nothing wraps
round or is padded at its border, and nothing overflows. A measure is a mean per pixel, so that
images of different size compare.

A measure's maximum is the focus plane only for objects with contrast in focus. A phase object in
bright field has its *least* contrast there: see `fgaf.curate.suggest`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.dataset.errors import SettingError

Images = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
FocusMeasure = Callable[[Images], Values]

_FLOAT_BINS: Final = 256
_PIXELS_AT_ONCE: Final = 1 << 22


def entropy(images: Images) -> Values:
    """Shannon entropy of the grey levels, in bits.

    Integer images are counted by grey level. Float images have no levels: they are counted in 256
    equal bins over each image's own range.
    """
    images = _checked(images)
    flat = images.reshape(-1, images.shape[-2] * images.shape[-1])
    values = np.array([_entropy_of(pixels) for pixels in flat], dtype=np.float64)
    return values.reshape(images.shape[:-2])


def tenengrad(images: Images) -> Values:
    """Mean squared Sobel gradient, both directions."""

    def squared_gradient(f: Images) -> Images:
        across_rows = f[..., :-2, :] + 2 * f[..., 1:-1, :] + f[..., 2:, :]
        across_columns = f[..., :-2] + 2 * f[..., 1:-1] + f[..., 2:]
        gx = across_rows[..., 2:] - across_rows[..., :-2]
        gy = across_columns[..., 2:, :] - across_columns[..., :-2, :]
        return np.asarray(gx**2 + gy**2)

    return _mean_of(squared_gradient, images)


def laplacian(images: Images) -> Values:
    """Mean squared 4-neighbour Laplacian (the energy of the Laplacian)."""

    def squared_laplacian(f: Images) -> Images:
        centre = f[..., 1:-1, 1:-1]
        rows = f[..., :-2, 1:-1] + f[..., 2:, 1:-1]
        columns = f[..., 1:-1, :-2] + f[..., 1:-1, 2:]
        return np.asarray((rows + columns - 4 * centre) ** 2)

    return _mean_of(squared_laplacian, images)


def gray_level_gradient(images: Images) -> Values:
    """Mean absolute difference to the next pixel, both directions added."""

    def differences(f: Images) -> Images:
        right = np.abs(f[..., :-1, 1:] - f[..., :-1, :-1])
        down = np.abs(f[..., 1:, :-1] - f[..., :-1, :-1])
        return np.asarray(right + down)

    return _mean_of(differences, images)


def brenner(images: Images) -> Values:
    """Mean squared difference two pixels apart, along the rows only, as Brenner defined it."""
    return _mean_of(lambda f: (f[..., 2:] - f[..., :-2]) ** 2, images)


def normalized_variance(images: Images) -> Values:
    """Variance over mean squared: the contrast, whatever the lamp; 0 where the mean is 0."""
    images = _checked(images)
    mean = images.mean(axis=(-2, -1), dtype=np.float64)
    variance = images.var(axis=(-2, -1), dtype=np.float64)
    return np.asarray(np.divide(variance, mean**2, out=np.zeros_like(variance), where=mean != 0))


MEASURES: Final[dict[str, FocusMeasure]] = {
    "entropy": entropy,
    "tenengrad": tenengrad,
    "laplacian": laplacian,
    "gray_level_gradient": gray_level_gradient,
    "brenner": brenner,
}
"""The five measures of the paper's Fig. 6, by name."""


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


def _mean_of(local: Callable[[Images], Images], images: Images) -> Values:
    """Mean over (H, W) of a local quantity, a few images at a time to spare memory."""
    images = _checked(images)
    # 8 and 16 bit pixels, their differences and Sobel sums are exact in float32.
    exact = np.float32 if images.dtype.itemsize <= 2 else np.float64
    stack = images.reshape(-1, *images.shape[-2:])
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))
    means = [
        local(stack[i : i + at_once].astype(exact)).mean(axis=(-2, -1), dtype=np.float64)
        for i in range(0, len(stack), at_once)
    ]
    return np.concatenate(means or [np.empty(0)]).reshape(images.shape[:-2])


def _entropy_of(pixels: Images) -> float:
    if pixels.dtype.kind == "f":
        counts = np.histogram(pixels, bins=_FLOAT_BINS)[0]
    elif pixels.dtype.itemsize <= 2:
        counts = np.bincount(pixels.astype(np.int64) - int(pixels.min()))
    else:
        counts = np.unique(pixels, return_counts=True)[1]
    share = counts[counts > 0] / pixels.size
    return float(-(share * np.log2(share)).sum())
